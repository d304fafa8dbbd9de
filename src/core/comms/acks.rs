//! Acknowledgements (spec/wire.md 8.5).

use super::Comms;
use super::complaints::Complaint;
use crate::core::ids::{NodeId, Seq};
use crate::core::limits::REXMIT_SLOTS;
use crate::core::message::{Body, Packet};
use crate::core::time::{Instant, Stamp};

use super::Outbox;

/// Unacknowledged messages at which a warning, then an error is logged.
const FILLING: u64 = 375;
const NEARLY_FULL: u64 = 450;

impl Comms {
    /// The number up to which every live peer has everything: the minimum over those that are heard, not dead and
    /// take part in flow control. Without any, our own highest.
    pub fn global_ack(&self) -> Seq {
        let taking_part = self.others().map(|node| self.state(node)).filter(|s| s.is_alive() && s.has_flow_control);
        taking_part.map(|state| state.peer.acked.max(state.joined_at)).min().unwrap_or(self.own_seq())
    }

    /// How many of our messages some live peer has not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        (self.own_seq().0 - self.global_ack().0).min(REXMIT_SLOTS as u64)
    }

    /// Acknowledges what is complete now, every tenth number.
    pub(super) fn acknowledge(&mut self, at: Stamp, node: NodeId, outbox: &mut Outbox) {
        let state = self.state_mut(node);
        if let Some(acked) = state.tracker.poll_ack()
            && state.has_flow_control
        {
            let links = self.quick_links(at.now);
            let (to, body) = (Some(node), Body::Ack { acked });
            self.transmit(Packet { to, seq: None, ts: at.wall, body, about: None, group: None }, links, outbox);
        }
    }

    /// A peer acknowledges our messages. A number that is not higher than its last one is old news.
    pub(super) fn take_ack(&mut self, now: Instant, node: NodeId, acked: Seq) {
        let highest = self.own_seq();
        if acked > highest {
            if let Some(swallowed) = self.complaints.admit(Complaint::CorruptAck, now) {
                let (h, a) = (highest.0, acked.0);
                log::error!(
                    "HBDoMsg_T_ACK: corrupted ackseq current hiseq = {h:x} ackseq ={a:x} in this message{swallowed}"
                );
            }
            return;
        }
        let peer = &mut self.state_mut(node).peer;
        if acked > peer.acked {
            peer.acked = acked;
            peer.acked_at = Some(now);
        }
    }

    /// Says when a live peer does not acknowledge. Nothing stops for it: the ring overwrites.
    pub(super) fn warn_if_unacknowledged(&mut self, now: Instant) {
        let waiting = self.unacknowledged();
        if waiting > NEARLY_FULL {
            if let Some(swallowed) = self.complaints.admit(Complaint::QueueNearlyFull, now) {
                log::error!("Message hist queue is filling up ({waiting} messages in queue){swallowed}");
            }
        } else if waiting > FILLING
            && let Some(swallowed) = self.complaints.admit(Complaint::QueueFilling, now)
        {
            log::warn!("Message hist queue is filling up ({waiting} messages in queue){swallowed}");
        }
    }
}
