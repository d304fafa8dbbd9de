//! Asking for what is missing, and answering those who ask (spec/wire.md 8.4).

use super::asking::Next;
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
const REQUESTS_MAX: usize = 32;
/// A copy sent again this much before the asker's next request is on its way already.
const RESEND_SLACK: Duration = Duration::from_millis(10);

impl Comms {
    /// Something is missing: asks for it after a random delay, unless a request is pending anyway. The delay gives a
    /// copy that was overtaken the time to come in, and keeps several nodes from asking at once.
    pub(super) fn schedule_request(&mut self, settings: &Settings, now: Instant, node: NodeId) {
        let longest = u64::try_from(pause(settings).as_millis()).unwrap_or(u64::MAX);
        let shortest = u64::try_from(shortest_delay(settings).as_millis()).unwrap_or(0);
        let delay = Duration::from_millis(shortest + self.random.below(longest - shortest + 1));
        self.state_mut(node).rexmit_at.get_or_insert(now + delay);
    }

    /// Asks every peer whose time has come for what it owes us, the lowest numbers first, as [`asking`](super::asking)
    /// says: again after `max_rexmit_delay`, then less and less often until something comes.
    pub(super) fn request_missing(&mut self, settings: &Settings, at: Stamp, outbox: &mut Outbox) {
        let share = (REQUESTS_MAX / self.peers.len()).max(1);
        for node in self.others() {
            let state = self.state_mut(node);
            if state.rexmit_at.is_none_or(|due| at.now < due) {
                continue;
            }
            let Some(lowest) = state.tracker.lowest_missing() else {
                state.rexmit_at = None;
                continue;
            };
            if !matches!(state.peer.status, NodeStatus::Up | NodeStatus::Active) {
                state.rexmit_at = Some(at.now + pause(settings));
                continue;
            }
            let pause = pause(settings);
            let trip = state.round_trips.quickest().min(settings.deadtime);
            let (numbers, patience) = match state.asking.look(lowest, at.now, (pause, trip)) {
                Next::Wait => (0, pause),
                Next::Ask { numbers, patience } => (numbers, patience),
            };
            state.rexmit_at = Some(at.now + patience);
            let runs = first_numbers(state.tracker.missing_runs().take(share), numbers);
            if let Some((_, last)) = runs.last() {
                state.asking.asked(*last);
            }
            for (first, last) in runs {
                self.counters.rexmit_requested += last.0 - first.0 + 1;
                self.send(settings, at, Some(node), Body::RexmitRequest { first, last }, outbox);
            }
        }
    }

    /// A number that was missing has come. The last of a round lets the next one begin, after the shortest delay that the
    /// first one has.
    pub(super) fn note_filled(&mut self, settings: &Settings, now: Instant, node: NodeId, seq: Seq) {
        let next = now + shortest_delay(settings);
        let state = self.state_mut(node);
        let came = state.asking.came(seq, state.tracker.lowest_missing(), now);
        if let Some(trip) = came.trip {
            state.round_trips.note(trip);
        }
        if came.has_ended {
            state.rexmit_at = state.rexmit_at.map(|due| due.min(next));
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
        self.lanes.note_asked(first, last, at.now, self.beats.announced());
        let acked = self.peer(node).acked;
        let wanted = first.0.max(acked.0 + 1)..=last.0;
        let trip = self.state(node).round_trips.quickest().min(settings.deadtime);
        let patience = pause(settings).max(trip).saturating_sub(RESEND_SLACK);
        let mut refused = 0;
        for number in wanted.take(REXMIT_BURST) {
            match self.ring.resend(Seq(number), at.now, patience) {
                Resend::Packet(packet) => {
                    self.counters.rexmit_sent += 1;
                    self.transmit(packet, self.open_links, outbox);
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

/// The first so many numbers of these runs.
fn first_numbers(
    runs: impl Iterator<Item = (Seq, Seq)>,
    mut numbers: usize,
) -> heapless::Vec<(Seq, Seq), REQUESTS_MAX> {
    let mut cut = heapless::Vec::new();
    for (first, last) in runs {
        let length = usize::try_from(last.0 - first.0 + 1).unwrap_or(usize::MAX).min(numbers);
        if length == 0 || cut.push((first, Seq(first.0 + length as u64 - 1))).is_err() {
            break;
        }
        numbers -= length;
    }
    cut
}

/// How long a gap is left alone at least: a copy may only have been overtaken.
fn shortest_delay(settings: &Settings) -> Duration {
    if pause(settings) < Duration::from_millis(100) { Duration::ZERO } else { Duration::from_millis(50) }
}

fn pause(settings: &Settings) -> Duration {
    settings.max_rexmit_delay.max(PAUSE_MIN)
}
