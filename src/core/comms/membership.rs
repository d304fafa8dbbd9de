//! Nodes that come and go while this one runs. Which of them, and whether they may, is decided in
//! [`members`](crate::core::members).

use super::{Comms, PeerState};
use crate::core::ids::{NodeId, NodeSet, Uuid};
use crate::core::settings::Settings;
use crate::core::time::Instant;

impl Comms {
    /// Whether the node belongs to the cluster: it was not deleted.
    pub fn is_member(&self, node: NodeId) -> bool {
        usize::from(node.0) < self.peers.len() && self.members.contains(node)
    }

    /// All nodes of the cluster, this one too.
    pub const fn members(&self) -> NodeSet {
        self.members
    }

    /// Counts the node in from now on, or out. One that was out begins afresh; its generation stays known, so that
    /// nothing which it said before can be played back. `node` is a known one or the next.
    pub(in crate::core) fn set_member(&mut self, settings: &Settings, now: Instant, node: NodeId, is_member: bool) {
        let own_highest = self.own_seq();
        let was_member = self.is_member(node);
        let fresh = PeerState::new(settings, &mut self.random, now);
        let state = match self.peers.get_mut(usize::from(node.0)) {
            Some(state) if is_member && !was_member => {
                let (generation, uuid) = (state.peer.generation, state.peer.uuid);
                *state = fresh;
                (state.peer.generation, state.peer.uuid, state.tracked) = (generation, uuid, generation);
                state
            }
            Some(state) => state,
            None => {
                let is_full = self.peers.push(fresh).is_err();
                assert!(!is_full, "there are as many peers as names");
                &mut self.peers[usize::from(node.0)]
            }
        };
        state.joined_at = own_highest;
        if is_member {
            self.members.insert(node);
        } else {
            self.members.remove(node);
        }
    }

    /// Takes over a uuid that an earlier daemon has learnt, as far as it says something and is nobody else's.
    pub(in crate::core) fn recall_uuid(&mut self, node: NodeId, uuid: Uuid) {
        if node != self.local && !uuid.is_nil() && uuid != self.identity.uuid && !self.knows_uuid(uuid) {
            self.state_mut(node).peer.uuid = uuid;
        }
    }

    /// Whether some node has this uuid.
    pub(in crate::core) fn knows_uuid(&self, uuid: Uuid) -> bool {
        self.identity.uuid == uuid || self.peers.iter().any(|state| state.peer.uuid == uuid)
    }
}
