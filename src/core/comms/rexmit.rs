//! Asking for what is missing, and answering those who ask (spec/wire.md 8.4).

use super::complaints::Complaint;
use super::identity::name_of;
use super::ring::Resend;
use super::{Comms, Outbox};
use crate::core::ids::{NodeId, Seq};
use crate::core::limits::REXMIT_BURST;
use crate::core::message::{Body, NodeStatus};
use crate::core::settings::Settings;
use crate::core::time::{Duration, Instant, Stamp};

/// A shorter `max_rexmit_delay` would ask without pause.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Requests that one tick sends, over all peers. A request names a run of neighbouring numbers.
const REQUESTS_MAX: usize = 16;
/// A number that does not come is asked for after twice the pause each time, this often: over a slow line whose queue
/// is full an answer takes seconds, and asking meanwhile would only keep it full.
const DOUBLINGS_MAX: u32 = 3;
/// A copy sent again this much before the asker's next request is on its way already.
const RESEND_SLACK: Duration = Duration::from_millis(10);

impl Comms {
    /// Something is missing: asks for it after a random delay, unless a request is pending anyway. The delay gives a
    /// copy that was overtaken the time to come in, and keeps several nodes from asking at once.
    pub(super) fn schedule_request(&mut self, settings: &Settings, now: Instant, node: NodeId) {
        let longest = u64::try_from(pause(settings).as_millis()).unwrap_or(u64::MAX);
        let shortest = if longest < 100 { 0 } else { 50 };
        let delay = Duration::from_millis(shortest + self.random.below(longest - shortest + 1));
        self.state_mut(node).rexmit_at.get_or_insert(now + delay);
    }

    /// Asks every peer whose time has come for what it owes us, the lowest numbers first, and again after
    /// `max_rexmit_delay`, then less and less often until something comes.
    pub(super) fn request_missing(&mut self, settings: &Settings, at: Stamp, outbox: &mut Outbox) {
        let share = (REQUESTS_MAX / self.peers.len()).max(1);
        for node in self.others() {
            let state = self.state_mut(node);
            if state.rexmit_at.is_none_or(|due| at.now < due) {
                continue;
            }
            if !state.tracker.has_missing() {
                state.rexmit_at = None;
                continue;
            }
            if !matches!(state.peer.status, NodeStatus::Up | NodeStatus::Active) {
                state.rexmit_at = Some(at.now + pause(settings));
                continue;
            }
            let runs: heapless::Vec<_, REQUESTS_MAX> = state.tracker.missing_runs().take(share).collect();
            let lowest = runs.first().map_or(Seq(0), |(first, _)| *first);
            let (asked, times) = state.rexmit_asked;
            let times = if asked == lowest { (times + 1).min(DOUBLINGS_MAX) } else { 0 };
            state.rexmit_asked = (lowest, times);
            state.rexmit_at = Some(at.now + pause(settings).saturating_mul(1 << times));
            for (first, last) in runs {
                self.counters.rexmit_requested += last.0 - first.0 + 1;
                self.send(settings, at, Some(node), Body::RexmitRequest { first, last }, outbox);
            }
        }
    }

    /// Sends again what a peer asks for, at most [`REXMIT_BURST`] numbers of one request; what is gone is refused.
    pub(super) fn answer_request(
        &mut self,
        settings: &Settings,
        at: Stamp,
        node: NodeId,
        (first, last): (Seq, Seq),
        outbox: &mut Outbox,
    ) {
        if first.0 == 0 || first > last {
            if let Some(swallowed) = self.complaints.admit(Complaint::BadRexmit, at.now) {
                log::error!("Invalid rexmit seqnos{swallowed}");
            }
            return;
        }
        self.beats.notice_lost(first, last);
        let acked = self.peer(node).acked;
        let wanted = first.0.max(acked.0 + 1)..=last.0;
        let patience = pause(settings).saturating_sub(RESEND_SLACK);
        let mut refused = 0;
        for number in wanted.take(REXMIT_BURST) {
            match self.ring.resend(Seq(number), at.now, patience) {
                Resend::Packet(packet) => {
                    self.counters.rexmit_sent += 1;
                    self.transmit(packet, outbox);
                }
                Resend::JustSent => {}
                Resend::TooLow => {
                    self.refuse(settings, at, node, Seq(number), refused == 0, outbox);
                    refused += 1;
                }
                Resend::TooHigh => {
                    self.complain_too_high(at.now, number);
                    break;
                }
            }
        }
    }

    /// A peer cannot send a number again, whomever it tells: nobody waits for it any longer.
    pub(super) fn take_refusal(&mut self, settings: &Settings, node: NodeId, seq: Seq, is_for_us: bool) {
        let tracker = &mut self.state_mut(node).tracker;
        if !tracker.give_up(seq) {
            return;
        }
        let is_complete = !tracker.has_missing();
        let name = name_of(settings, node);
        if is_complete {
            log::info!("No pkts missing from {name}!");
        }
        if is_for_us {
            log::error!("Irretrievably lost packet: node {name} seq {}", seq.0);
        }
    }

    /// A request has no sequence number: whoever has recorded one can play it back as often as he likes, and what
    /// answers it would push the beats off a slow line. So, unlike the original, at most [`REXMIT_BURST`] refusals leave in
    /// the time after which a peer asks again.
    fn refuse(&mut self, settings: &Settings, at: Stamp, node: NodeId, seq: Seq, is_first: bool, outbox: &mut Outbox) {
        self.counters.rexmit_refused += 1;
        let (since, count) = &mut self.state_mut(node).refusals;
        if at.now.since(*since) >= pause(settings) {
            (*since, *count) = (at.now, 0);
        }
        *count += 1;
        if *count > REXMIT_BURST {
            return;
        }
        self.send(settings, at, Some(node), Body::RexmitNak { first: seq, too_low: true }, outbox);
        if !is_first {
            return;
        }
        if let Some(swallowed) = self.complaints.admit(Complaint::CannotRexmit, at.now) {
            let name = name_of(settings, node);
            let acked = self.peer(node).acked.0;
            let (highest, lowest) = (self.own_seq().0, self.ring.lowest().0 - 1);
            let newest = self.ring.newest_slot();
            log::error!("Cannot rexmit pkt {} for {name}: seqno too low{swallowed}", seq.0);
            log::info!("fromnode ={name}, fromnode's ackseq = {acked}");
            log::info!("hist information:");
            log::info!("hiseq ={highest}, lowseq={lowest},ackseq={},lastmsg={newest}", self.global_ack().0);
        }
    }

    fn complain_too_high(&mut self, now: Instant, number: u64) {
        if let Some(swallowed) = self.complaints.admit(Complaint::RexmitTooHigh, now) {
            log::warn!("Rexmit of seq {number} requested. {} is max.{swallowed}", self.own_seq().0);
        }
    }
}

fn pause(settings: &Settings) -> Duration {
    settings.max_rexmit_delay.max(PAUSE_MIN)
}
