//! What becomes of a message: the order of acceptance (spec/wire.md 8.3).

use super::complaints::Complaint;
use super::identity::{is_for_our_name, name_of};
use super::liveness::{Rebirth, Said};
use super::sending::is_unsequenced;
use super::sequence::Arrival;
use super::{Comms, Happenings, Outbox, Reception};
use crate::core::ids::{LinkId, NodeId, Seq};
use crate::core::message::{Body, Message, NodeStatus};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::Settings;
use crate::core::time::{Instant, Stamp};

impl Comms {
    /// Takes in one authenticated message. `Some(node)`: it came from that peer, for the first time, is meant for us,
    /// and its body goes on to ownership. What communication settles by itself (acknowledgements, retransmission, lists
    /// of nodes) ends here.
    pub fn receive(
        &mut self,
        settings: &Settings,
        at: Stamp,
        link: LinkId,
        message: &Message<'_>,
        outbox: &mut Outbox,
        happenings: &mut Happenings,
    ) -> Option<NodeId> {
        self.reception = Reception::Dropped;
        let node = self.identify(settings, at.now, message)?;
        if self.is_replay(settings, at.now, node, message) {
            return None;
        }
        if is_unsequenced(&message.body) {
            return self.receive_unsequenced(settings, at, (node, link), message, outbox);
        }
        let Some(seq) = message.seq.filter(|seq| seq.0 > 0) else {
            self.complain_bad_seq(at.now);
            return None;
        };
        let said = said(seq, message);
        if self.is_from_before_death(node, seq, message, said.is_some()) {
            self.counters.stale += 1;
            return None;
        }
        let rebirth = match said {
            Some(_) => self.notice_rebirth(settings, at.now, (node, message.generation), happenings),
            None => Rebirth::None,
        };
        self.learn_uuid(settings, at.now, node, message);
        let arrival = self.track(settings, at.now, node, seq, message);
        self.count_for_link(settings, at.now, (node, link), (seq, arrival), outbox);
        // The first statuses of a new run may have been overtaken by other messages of it, at which tracking began: they
        // count all the same, as signs of life.
        let is_news = said.as_ref().is_some_and(|said| said.seq > self.state(node).status_seq);
        if !arrival.is_accepted() && rebirth == Rebirth::None && !is_news {
            self.reception = Reception::Copy;
            return None;
        }
        self.reception = Reception::Taken;
        self.acknowledge(at, node, outbox);
        if let Some(said) = &said {
            self.follow(settings, at.now, node);
            if !self.apply_status(settings, at, node, (said, rebirth), outbox, happenings) {
                return None;
            }
            self.check_comm_up(settings, at, outbox, happenings);
        }
        self.deliver(settings, at, node, message, outbox)
    }

    /// What became of the message that was taken in last.
    pub const fn reception(&self) -> Reception {
        self.reception
    }

    /// Whether messages of this node before that number are still missing, and may come.
    pub fn is_missing_before(&self, node: NodeId, seq: Seq) -> bool {
        self.state(node).tracker.lowest_missing().is_some_and(|missing| missing < seq)
    }

    /// Whether messages of this node after that number are missing.
    pub(in crate::core) fn is_missing_after(&self, node: NodeId, seq: Seq) -> bool {
        let tracker = &self.state(node).tracker;
        tracker.has_missing() && tracker.missing_runs().any(|(_, last)| last > seq)
    }

    /// The newest message of this node, while older ones are still missing.
    pub fn newest_beyond_gap(&self, node: NodeId) -> Option<Seq> {
        let tracker = &self.state(node).tracker;
        tracker.last().filter(|_| tracker.has_missing())
    }

    /// Messages without number: no tracking. Only the generation guards them.
    fn receive_unsequenced(
        &mut self,
        settings: &Settings,
        at: Stamp,
        (node, link): (NodeId, LinkId),
        message: &Message<'_>,
        outbox: &mut Outbox,
    ) -> Option<NodeId> {
        self.state_mut(node).is_heard = true;
        self.learn_uuid(settings, at.now, node, message);
        self.refresh_link(settings, at.now, (node, link), false, outbox);
        let is_for_us = is_for_our_name(settings, message);
        if is_for_us {
            let is_other = matches!(message.body, Body::Other { .. });
            self.reception = if is_other { Reception::Taken } else { Reception::Protocol };
        }
        match message.body {
            Body::Ack { acked } if is_for_us => self.take_ack(at.now, node, acked),
            Body::RexmitRequest { first, last } if is_for_us => {
                self.answer_request(settings, at, node, (first, last), outbox);
            }
            Body::RexmitNak { first, .. } => self.take_refusal(settings, node, first, is_for_us),
            Body::Other { .. } if is_for_us => return Some(node),
            _ => {}
        }
        None
    }

    /// A generation below the highest heard of. The original checks only sequenced messages; here the `NS_` types too, or an
    /// old acknowledgement would speak for a node that has started anew.
    fn is_replay(&mut self, settings: &Settings, now: Instant, node: NodeId, message: &Message<'_>) -> bool {
        let state = self.state(node);
        let known = state.peer.generation.max(state.tracked);
        if message.generation >= known || is_planted(Bug::AcceptOldGeneration) {
            return false;
        }
        self.counters.replays += 1;
        self.state_mut(node).has_fallen_back = true;
        if let Some(swallowed) = self.complaints.admit(Complaint::Replay, now) {
            let (name, got) = (name_of(settings, node), message.generation.0);
            log::error!(
                "should_drop_message: attempted replay attack [{name}]? [gen = {got}, curgen = {}]{swallowed}",
                known.0
            );
        }
        true
    }

    /// A message that a dead peer had sent before it died, delayed or played back: it neither wakes the peer nor speaks
    /// for it. (Tracking was reset at its death, so it would be taken for new.)
    fn is_from_before_death(&self, node: NodeId, seq: Seq, message: &Message<'_>, is_status: bool) -> bool {
        let state = self.state(node);
        let is_old = seq <= state.died_at_seq || (is_status && seq <= state.status_seq);
        state.peer.status == NodeStatus::Dead && message.generation == state.peer.generation && is_old
    }

    fn complain_bad_seq(&mut self, now: Instant) {
        self.counters.bad_seq += 1;
        if let Some(swallowed) = self.complaints.admit(Complaint::BadSeq, now) {
            log::error!("should_drop_message: bad sequence number{swallowed}");
        }
    }

    /// Steps 6 to 9: where the number stands among those that have come.
    fn track(&mut self, settings: &Settings, now: Instant, node: NodeId, seq: Seq, message: &Message<'_>) -> Arrival {
        let name = name_of(settings, node);
        let state = self.state_mut(node);
        state.is_heard = true;
        state.track_generation(message.generation);
        let arrival = state.tracker.note(seq);
        if message.generation == state.peer.generation {
            state.peer.highest_seq = state.peer.highest_seq.max(seq);
        }
        if matches!(arrival, Arrival::Filled { .. }) {
            self.note_filled(settings, now, node, seq);
        }
        match arrival {
            Arrival::InSequence | Arrival::Copy | Arrival::Filled { was_last: false } => {}
            Arrival::Filled { was_last: true } => log::info!("No pkts missing from {name}!"),
            Arrival::Gap { last, lost } => {
                log::warn!("{lost} lost packet(s) for [{name}] [{}:{}]", last.0, seq.0);
                self.counters.lost = self.counters.lost.saturating_add(lost);
                self.schedule_request(settings, now, node);
            }
            Arrival::TooLarge { last, lost } => {
                log::warn!("{lost} lost packet(s) for [{name}] [{}:{}]", last.0, seq.0);
                log::error!("lost a lot of packets!");
                self.counters.lost = self.counters.lost.saturating_add(lost);
                let own_highest = self.own_seq();
                let state = self.state_mut(node);
                state.rexmit_at = None;
                state.peer.acked = Seq(0);
                state.joined_at = own_highest;
            }
        }
        arrival
    }

    /// Every copy counts for the link it came on, as long as it is newer than what that link had brought.
    fn count_for_link(
        &mut self,
        settings: &Settings,
        now: Instant,
        (node, link): (NodeId, LinkId),
        (seq, arrival): (Seq, Arrival),
        outbox: &mut Outbox,
    ) {
        if self.is_news_on_link(node, link, seq) {
            self.refresh_link(settings, now, (node, link), !arrival.is_accepted(), outbox);
        } else if !arrival.is_accepted() {
            self.counters.stale += 1;
        }
    }

    /// What remains when a message is accepted: is it ours to answer, ownership's to read, or for somebody else?
    fn deliver(
        &mut self,
        settings: &Settings,
        at: Stamp,
        node: NodeId,
        message: &Message<'_>,
        outbox: &mut Outbox,
    ) -> Option<NodeId> {
        if !self.is_for_us(settings, message) {
            self.counters.not_for_us += 1;
            self.reception = Reception::Dropped;
            return None;
        }
        match message.body {
            Body::ReqNodes => {
                self.send(settings, at, Some(node), Body::RepNodes { nodes: "", deleted: "" }, outbox);
                None
            }
            Body::RepNodes { nodes, .. } if settings.has_resources => {
                self.compare_nodes(settings, at.now, node, nodes);
                None
            }
            _ => Some(node),
        }
    }

    /// The peer's list of nodes should be ours. It is not taken over: ownership needs a configured peer.
    fn compare_nodes(&mut self, settings: &Settings, now: Instant, node: NodeId, theirs: &str) {
        let is_same = theirs.split_ascii_whitespace().count() == settings.nodes.len()
            && theirs.split_ascii_whitespace().all(|name| settings.nodes.iter().any(|known| known == name));
        if is_same {
            return;
        }
        if let Some(swallowed) = self.complaints.admit(Complaint::NodeList, now) {
            let name = name_of(settings, node);
            log::warn!("the node lists differ: {name} has [{}]{swallowed}", theirs.trim_ascii_end());
        }
    }
}

fn said<'a>(seq: Seq, message: &'a Message<'_>) -> Option<Said<'a>> {
    match message.body {
        Body::Status { status, dead_ms, has_protocol, is_nullbeat, ref extension } => {
            let extension = extension.as_ref();
            Some(Said { seq, status, dead_ms, has_protocol, is_nullbeat, extension, key: message.key })
        }
        _ => None,
    }
}
