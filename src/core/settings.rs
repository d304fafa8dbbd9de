//! What the core is told at its start: plain data, built by `config` from the three files.

use super::ids::{Generation, GroupSet, KeyNumber, LinkName, NodeId, NodeName, Uuid};
use super::limits::{GROUPS_MAX, LINKS_MAX, NODES_MAX, PING_NODES_MAX};
use super::message::GroupState;
use super::time::Duration;

/// What to do about a silent peer of which nobody knows whether it is off (`takeover_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TakeoverPolicy {
    /// Take over: Heartbeat's behaviour without STONITH. Both may own while every path is cut.
    Available,
    /// Wait for proof: the peer's own goodbye, a fence, an operator's word.
    Safe,
}

/// `autojoin` (spec/wire.md 10.3): whether nodes join that nobody has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Autojoin {
    /// They are refused.
    #[default]
    None,
    /// They join.
    Other,
    /// They join, and this node need not be named itself.
    Any,
}

/// `auto_failback` (spec/config.md 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AutoFailback {
    /// Groups go back to their preferred node when it returns.
    On,
    /// They stay.
    Off,
    /// Heartbeat's default; towards a nullbeat the same as `On`.
    Legacy,
}

/// Which of two holders lets go when they meet (`split_brain_loser`, design.md rule 1d).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SplitBrainLoser {
    /// Of each group, the node that is not preferred.
    NotPreferred,
    /// Always this node.
    Node(NodeId),
}

/// One resource group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSettings {
    /// The node named first on its haresources line.
    pub preferred: NodeId,
}

/// Hosts outside of the cluster that tell whether a node has its network, and what follows from their answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Names of the ping nodes in the order of ha.cf; a group of hosts is one.
    pub ping_nodes: heapless::Vec<NodeName, PING_NODES_MAX>,
    /// `deadping`: silence after which a ping node is dead.
    pub deadping: Duration,
    /// `upstream_failover`: groups go to the node that reaches more ping nodes, as with Heartbeat's `ipfail`.
    pub has_failover: bool,
    /// `upstream_holdoff`: how long one node must have been ahead before anything moves.
    pub holdoff: Duration,
}

impl UpstreamSettings {
    /// No ping nodes.
    pub const NONE: Self = Self {
        ping_nodes: heapless::Vec::new(),
        deadping: Duration::ZERO,
        has_failover: false,
        holdoff: Duration::ZERO,
    };

    /// Whether this node compares ping nodes with its partner.
    pub fn is_compared(&self) -> bool {
        self.has_failover && !self.ping_nodes.is_empty()
    }
}

/// Everything that a node is told about itself and its cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// All nodes in the order of ha.cf.
    pub nodes: heapless::Vec<NodeName, NODES_MAX>,
    /// This node.
    pub local: NodeId,
    /// The one node that groups are exchanged with; `None` on a node that takes no part in ownership.
    pub partner: Option<NodeId>,
    /// Names of the links, in the order of ha.cf.
    pub links: heapless::Vec<LinkName, LINKS_MAX>,
    /// Groups in the order of haresources.
    pub groups: heapless::Vec<GroupSettings, GROUPS_MAX>,
    /// `keepalive`.
    pub keepalive: Duration,
    /// `warntime`.
    pub warntime: Duration,
    /// `deadtime`.
    pub deadtime: Duration,
    /// `initdead`.
    pub initdead: Duration,
    /// `max_rexmit_delay`.
    pub max_rexmit_delay: Duration,
    /// The key on the `auth` line of authkeys.
    pub signing_key: KeyNumber,
    /// `auto_failback`.
    pub auto_failback: AutoFailback,
    /// `failback_delay`: how long the returned node must be up and stable first.
    pub failback_delay: Duration,
    /// `moves_per_hour`: moves that are not forced by a death or an operator, before they latch; zero: no latch.
    pub moves_per_hour: u16,
    /// `takeover_policy`.
    pub takeover_policy: TakeoverPolicy,
    /// `split_brain_loser`.
    pub split_brain_loser: SplitBrainLoser,
    /// Ping nodes.
    pub upstream: UpstreamSettings,
    /// Digest of what must be equal in both ha.cf files.
    pub config_digest: u32,
    /// Digest of haresources after normalisation.
    pub resources_digest: u32,
    /// Groups are managed here. Without, this node only communicates and says nothing about resources.
    pub has_resources: bool,
    /// `autojoin`; without resources only.
    pub autojoin: Autojoin,
    /// Seed of the random delays (spec/wire.md 8.2, 8.4).
    pub random_seed: u64,
}

/// Who this daemon is in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The node's uuid.
    pub uuid: Uuid,
    /// This run's generation, already on disk.
    pub generation: Generation,
}

/// What an earlier engine of the same boot knew of the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CarriedPartner {
    /// It counted as dead.
    pub is_dead: bool,
    /// It had said goodbye.
    pub has_left: bool,
}

/// What an earlier engine of the same boot was holding (design.md section 3): from the guardian's memory when only the
/// engine was replaced, from the run directory when everything was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Which groups it had claimed.
    pub claims: GroupSet,
    /// The state of each group; `Unknown` where a job was under way.
    pub states: [GroupState; GROUPS_MAX],
    /// The scripts' states are known for sure (the guardian lived on); else every group is probed with `status`.
    pub is_certain: bool,
    /// The operator's hold was on.
    pub is_held: bool,
    /// Groups that a reload has stopped because their words changed, to be started again at once.
    pub to_restart: GroupSet,
    /// What it knew of the partner, once it had heard it or counted it dead.
    pub partner: Option<CarriedPartner>,
}
