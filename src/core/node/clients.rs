//! Clients of this node: programs that other nodes can ask about (spec/api.md 2.7). What they say to each other passes
//! through unread.

use super::Node;
use crate::core::ids::NodeId;
use crate::core::limits::CLIENTS_MAX;
use crate::core::message::{Body, ClientName};
use crate::core::time::Stamp;

/// The place of the client that the daemon is itself: the membership service.
#[expect(clippy::cast_possible_truncation, reason = "24")]
pub const BUILT_IN: u8 = CLIENTS_MAX as u8;
/// The client whose judgement is built in.
const IPFAIL: &str = "ipfail";

/// Who is signed on, by place; the last place is that of [`BUILT_IN`].
#[derive(Debug, Clone)]
pub struct Clients {
    names: [Option<ClientName>; CLIENTS_MAX + 1],
}

impl Default for Clients {
    fn default() -> Self {
        Self { names: [None; CLIENTS_MAX + 1] }
    }
}

impl Clients {
    /// Whether a client of this name is signed on.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().flatten().any(|known| known.as_str() == name)
    }

    pub(super) fn set(&mut self, slot: u8, name: Option<ClientName>) {
        if let Some(place) = self.names.get_mut(usize::from(slot)) {
            *place = name;
        }
    }
}

impl Node {
    /// Who is signed on here.
    pub const fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Whether a client is signed on here, or is built in.
    pub fn is_client_online(&self, name: &str) -> bool {
        self.clients.has(name) || (name == IPFAIL && self.settings.upstream.is_compared())
    }

    /// Whether the other nodes are behind with acknowledging, so that clients had better wait with what they want to say.
    /// Far more than this is still kept for retransmission.
    pub fn is_congested(&self) -> bool {
        self.comms.unacknowledged() > CLIENTS_WAIT
    }

    /// The library of Heartbeat's clients takes no answer for a long one.
    pub(super) fn answer_client_query(&mut self, at: Stamp, node: NodeId, (client, asker): (&str, &str)) {
        let (Some(name), Some(asker)) = (ClientName::new(client), ClientName::new(asker)) else { return };
        let body = Body::ClientAnswer { client: name, asker, is_online: self.is_client_online(client) };
        self.comms.send(&self.settings, at, Some(node), body, &mut self.outbox);
    }
}

/// Messages that peers have not acknowledged at which clients wait.
const CLIENTS_WAIT: u64 = 64;
