//! Communication: links, peers, sequence numbers, retransmission, acknowledgements, liveness. Knows nothing of groups.

use super::Action;
use super::ids::{Generation, LinkId, LinkSet, NodeId, Seq, Uuid};
use super::limits::{ACTIONS_MAX, LINKS_MAX};
use super::message::{Body, Extension, Message, NodeStatus};
use super::settings::{Identity, Settings};
use super::time::{Duration, Instant, Stamp};

/// Actions waiting for [`Node::poll_action`](super::Node::poll_action).
pub type Outbox = heapless::Deque<Action, ACTIONS_MAX>;

/// What communication tells ownership, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Every configured node has been heard or was declared dead: negotiation may begin. Once per run.
    CommUp,
    /// A node's status word changed. `Dead` never comes this way.
    Status {
        /// Which.
        node: NodeId,
        /// The new word.
        status: NodeStatus,
    },
    /// A node was silent for its announced dead time.
    Dead {
        /// Which.
        node: NodeId,
        /// Whether any packet of it was received since it was last declared dead, or since our start.
        was_heard: bool,
    },
    /// A node started again: higher generation. `was_dead`: after having been declared dead, or never heard before.
    Restarted {
        /// Which.
        node: NodeId,
        /// It had been dead to us (or unknown).
        was_dead: bool,
    },
    /// A node that we had declared dead is heard again in the same generation: a partition has healed.
    Returned {
        /// Which.
        node: NodeId,
    },
    /// A node's extension arrived (it may be equal to the last one).
    Extension {
        /// Which.
        node: NodeId,
    },
    /// We were not scheduled for longer than the dead time that we had announced: peers may have taken over.
    Overslept,
    /// We were late, less than that.
    Late {
        /// By how much.
        by: Duration,
    },
}

/// Happenings of one input.
pub type Happenings = heapless::Vec<Happening, 64>;

/// What is known of one node.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Last status word, or `Dead`.
    pub status: NodeStatus,
    /// Its uuid, nil until heard.
    pub uuid: Uuid,
    /// Highest generation seen in a status.
    pub generation: Generation,
    /// Highest sequence number accepted in that generation.
    pub highest_seq: Seq,
    /// The dead time it announced; the local `deadtime` before its first status.
    pub deadtime: Duration,
    /// When its last status arrived.
    pub last_status: Option<Instant>,
    /// Its last extension in this generation: present means it is a nullbeat.
    pub extension: Option<Extension>,
    /// Highest of our sequence numbers that it has acknowledged.
    pub acked: Seq,
    /// When `acked` last grew.
    pub acked_at: Option<Instant>,
    /// The same on each link.
    pub links: [LinkHealth; LINKS_MAX],
}

/// One link as seen from one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkHealth {
    /// Heard within the dead time.
    pub is_up: bool,
    /// Newest packet.
    pub last_heard: Option<Instant>,
    /// Packets that counted for the link.
    pub received: u64,
    /// Of these, copies of what another link had brought first.
    pub duplicates: u64,
    /// Times the link was declared dead.
    pub deaths: u32,
}

/// Counters over all peers, for `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages dropped: unknown node.
    pub unknown_node: u64,
    /// Messages dropped: generation lower than one seen before.
    pub replays: u64,
    /// Sequence numbers found missing.
    pub lost: u64,
    /// Retransmissions we asked for.
    pub rexmit_requested: u64,
    /// Retransmissions we sent.
    pub rexmit_sent: u64,
    /// Retransmissions that we had to refuse.
    pub rexmit_refused: u64,
    /// Times we were late by more than half a keepalive.
    pub late: u64,
    /// Longest lateness, milliseconds.
    pub late_max_ms: u32,
}
