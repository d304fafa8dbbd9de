//! What the core is told at its start: plain data, built by `config` from the three files.

use super::ids::{Generation, GroupId, GroupSet, KeyNumber, LinkId, LinkName, NodeId, NodeName, Seq, ShotId, Uuid};
use super::limits::{CHECKS_MAX, FENCE_METHODS_MAX, GROUPS_MAX, LINKS_MAX, NODES_MAX, PING_NODES_MAX};
use super::message::{GroupState, Holds};
use super::time::{Duration, Instant};

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

/// One health check: a `check` or `monitor` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSettings {
    /// For people.
    pub name: NodeName,
    /// The group whose service it looks at while it runs here; `None`: it looks at what this node needs, always.
    pub group: Option<GroupId>,
    /// `restarts`: how often the group is restarted in place within an hour before it is handed over.
    pub restarts: u8,
    /// `watchdog on`: once it was healthy, the watchdogs are kicked no more while it fails.
    pub is_vital: bool,
}

/// Health checks, and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// In the order of ha.cf.
    pub checks: heapless::Vec<CheckSettings, CHECKS_MAX>,
    /// How long the partner's node checks must have been better before anything moves: at least as long as the two nodes may
    /// be apart in noticing the same fault.
    pub holdoff: Duration,
}

impl HealthSettings {
    /// No checks.
    pub const NONE: Self = Self { checks: heapless::Vec::new(), holdoff: Duration::ZERO };
}

/// What stands behind one way to fence the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FenceKind {
    /// Something that the guardian runs or drives: a GPIO line, a plugin, an agent, a script.
    Device,
    /// A person switches it off and says so ([`Request::ConfirmFence`](super::Request::ConfirmFence)).
    Manual,
    /// No device: the partner has announced that its watchdog resets it when it hears nothing of us.
    WatchdogLease,
}

/// One way to fence the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceMethod {
    /// What it is.
    pub kind: FenceKind,
    /// Time after which the guardian gives it up, retries of its own included; without meaning for the kinds that it
    /// does not run.
    pub limit: Duration,
    /// The line `peer-power`, where there is one, tells whether it worked.
    pub is_sensed: bool,
}

/// How the partner is fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceSettings {
    /// In the order in which they are tried. Empty: no fencing.
    pub methods: heapless::Vec<FenceMethod, FENCE_METHODS_MAX>,
    /// `fence_settle`: silence after a shot whose result is lost or unknown, before the next one.
    pub settle: Duration,
    /// Fencings in an hour, each a round through the list, then none before an operator resumes; zero: no limit. At most
    /// [`FENCINGS_MAX`](super::limits::FENCINGS_MAX).
    pub per_hour_max: u8,
    /// What [`Action::NoteFencings`](super::Action::NoteFencings) has left on disk: they count as if they had just been.
    /// So two boards that reset each other do not do so for ever.
    pub fencings_before: u8,
}

/// A shot that an earlier engine has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarriedShot {
    /// What came of it nobody knows.
    Lost,
    /// The guardian is at it and will say what comes of it ([`Input::FenceDone`](super::Input::FenceDone)).
    Pending {
        /// Its number.
        shot: ShotId,
        /// By which method.
        method: u8,
        /// The run of the partner at which it is aimed.
        generation: Generation,
    },
}

impl FenceSettings {
    /// No fencing.
    pub const NONE: Self =
        Self { methods: heapless::Vec::new(), settle: Duration::from_secs(60), per_hour_max: 3, fencings_before: 0 };

    /// Time that each of two nodes which lost each other has for its shots before the other may begin: all devices' limits
    /// and two keepalives, by which they may have noticed it at different times.
    pub fn slot(&self, keepalive: Duration) -> Duration {
        let devices = self.methods.iter().filter(|method| method.kind == FenceKind::Device);
        devices.map(|method| method.limit).fold(keepalive.saturating_mul(2), Duration::saturating_add)
    }

    /// Whether a takeover from a dead partner waits for a confirmation.
    pub fn is_configured(&self) -> bool {
        !self.methods.is_empty()
    }
}

/// `interlock gpio`: the lines between the boards gate acquiring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterlockSettings {
    /// `interlock_settle`: from the own `owner` line's being set to reading the partner's.
    pub settle: Duration,
}

/// The watchdog lease: this node lets its armed watchdog reset it when nobody acknowledges its beats any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSettings {
    /// How long the watchdog is kicked after the newest own beat that the partner has acknowledged was sent.
    pub kick_for: Duration,
    /// After so long this board is surely reset: `kick_for`, the watchdog's timeout, and what the device adds. Announced,
    /// so that the partner can rest a takeover on it.
    pub reset_within: Duration,
}

/// How often a link is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkPace {
    /// From one beat to the next, while all is well: [`Settings::keepalive`] at the most.
    pub keepalive: Duration,
    /// From one copy of a beat to the next while the partner is hard to hear, or we are; not less than the keepalive: nothing
    /// is repeated there.
    pub repeat: Duration,
}

impl LinkPace {
    /// Copies of a beat in a keepalive, the first one counted: the budget of a link that has room for them.
    pub const COPIES: u32 = 8;

    /// That of a link without a limit of its own.
    pub fn of(keepalive: Duration) -> Self {
        Self { keepalive, repeat: keepalive / Self::COPIES }
    }

    /// Whether beats are repeated there.
    pub fn has_room(self) -> bool {
        self.repeat < self.keepalive
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
    /// The pace of each link; of those that are not named here [`LinkPace::of`] `keepalive`.
    pub paces: heapless::Vec<LinkPace, LINKS_MAX>,
    /// Groups in the order of haresources.
    pub groups: heapless::Vec<GroupSettings, GROUPS_MAX>,
    /// Longest time from one beat to the next: that of the slowest link.
    pub keepalive: Duration,
    /// `warntime`.
    pub warntime: Duration,
    /// `deadtime`.
    pub deadtime: Duration,
    /// By how much our beats announce more than `deadtime`: what our own watchdog needs before the peer may take over.
    pub announced_extra: Duration,
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
    /// `moves_per_hour`: moves in the last hour, deaths and goodbyes counted and operators' left out, from which on none
    /// is made by choice; zero: no latch.
    pub moves_per_hour: u16,
    /// `takeover_policy`.
    pub takeover_policy: TakeoverPolicy,
    /// `split_brain_loser`.
    pub split_brain_loser: SplitBrainLoser,
    /// Ping nodes.
    pub upstream: UpstreamSettings,
    /// Health checks.
    pub health: HealthSettings,
    /// How the partner is fenced.
    pub fence: FenceSettings,
    /// The lines between the boards, when they gate acquiring.
    pub interlock: Option<InterlockSettings>,
    /// The board has a line `owner`, which tells whoever looks that this board holds the service.
    pub has_owner_line: bool,
    /// The watchdog lease, when the configuration asks for it. It is in force while the watchdog is armed
    /// ([`Input::Watchdog`](super::Input::Watchdog)).
    pub lease: Option<LeaseSettings>,
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
    /// Nobody knows what generations this node has used, and its present one is a guess: it says nothing until its partner has
    /// told what it knows of us, at most for half of `initdead`.
    pub is_generation_guessed: bool,
}

impl Settings {
    /// The pace of a link.
    pub fn pace(&self, link: LinkId) -> LinkPace {
        self.paces.get(usize::from(link.0)).copied().unwrap_or_else(|| LinkPace::of(self.keepalive))
    }
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

/// What fencing remembers over engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CarriedFencing {
    /// By which method the partner was confirmed to be off; `None`: an operator vouched for it.
    pub confirmed_by: Option<u8>,
    /// A result was lost: no shot before; the clock is that of the boot.
    pub settled_at: Option<Instant>,
    /// Methods that have confirmed what was not so, one bit each.
    pub lied: u8,
}

impl CarriedFencing {
    /// The same for another list of methods; `place`: where a method stands in it, if at all.
    #[must_use]
    pub fn renumbered(self, place: impl Fn(u8) -> Option<u8>) -> Self {
        let lied = (0..8_u8).filter(|method| self.lied & 1 << method != 0).filter_map(&place);
        Self { confirmed_by: self.confirmed_by.and_then(&place), lied: lied.fold(0, |lied, at| lied | 1 << at), ..self }
    }
}

/// What was done about a group's health checks. The clock is that of the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupHealth {
    /// Restarts in place that count.
    pub restarts: u8,
    /// When the last one was.
    pub restarted_at: Option<Instant>,
    /// Since when restarts do not help any more.
    pub spent_at: Option<Instant>,
    /// When it was handed over for that.
    pub handed_at: Option<Instant>,
    /// An operator has repaired something: one restart more than allowed.
    pub is_retried: bool,
}

/// How far a hand-over had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandoverStep {
    /// It had asked to give.
    Asked,
    /// Its stops ran.
    Releasing,
    /// It had said `done`.
    Released,
    /// It was to take, and waited for the giver's `done`.
    Agreed,
    /// It had that `done` and had not begun.
    Given,
    /// Its starts ran.
    Acquiring,
}

/// A hand-over that was under way. A Heartbeat does not break it off when this node starts anew, and knows no word to ask
/// for how far it has come; a nullbeat does, and tells per group what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarriedHandover {
    /// How far it had come.
    pub step: HandoverStep,
    /// What is handed over, from the view of the node that gives.
    pub set: Holds,
    /// It is because a group did not start.
    pub after_failure: bool,
    /// The run of the partner with which it was agreed upon.
    pub generation: Generation,
    /// The partner's last message in that run that had been heard: what came since is asked for.
    pub heard: Seq,
}

impl CarriedHandover {
    /// What is left of it when nobody has beaten for so long that a Heartbeat may have taken this node for dead, and everything
    /// over: nothing may be started by its last word any more.
    #[must_use]
    pub(in crate::core) fn after_silence(self) -> Self {
        let is_given = matches!(self.step, HandoverStep::Given | HandoverStep::Acquiring);
        Self { step: if is_given { HandoverStep::Agreed } else { self.step }, ..self }
    }
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
    /// Groups of the partner's that go home by themselves when it is back.
    pub guests: GroupSet,
    /// The hand-over that was under way.
    pub handover: Option<CarriedHandover>,
    /// It had overslept its dead time and had not heard since what the partner holds (design.md rule 1c).
    pub is_yielding: bool,
    /// Lines that were not believed, one bit each ([`Alarms::stuck_lines`](super::Alarms::stuck_lines)).
    pub stuck_lines: u8,
    /// Groups that a reload has stopped because their words changed, to be started again at once.
    pub to_restart: GroupSet,
    /// What it knew of the partner, once it had heard it or counted it dead.
    pub partner: Option<CarriedPartner>,
    /// The partner's fencing had been confirmed: the run of the partner that is off. Zero: of one never heard.
    pub confirmed: Option<Generation>,
    /// A shot whose outcome it had not taken in.
    pub shot: Option<CarriedShot>,
    /// What else it remembered of fencing.
    pub fencing: CarriedFencing,
    /// What it had done about the health of each group.
    pub health: [GroupHealth; GROUPS_MAX],
    /// From when on it counted the turns in which the two nodes may shoot; the clock is that of the boot.
    pub turns_from: Option<Instant>,
    /// Until when the watchdog lease allowed kicks ([`Node::kicks_until`](super::Node::kicks_until)); the clock is that of
    /// the boot.
    pub kicks_until: Option<Instant>,
}

impl Carried {
    /// Of an engine that held nothing and of which nothing else is known: every group is probed.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            claims: GroupSet::EMPTY,
            states: [GroupState::Unknown; GROUPS_MAX],
            is_certain: false,
            is_held: false,
            guests: GroupSet::EMPTY,
            handover: None,
            is_yielding: false,
            stuck_lines: 0,
            to_restart: GroupSet::EMPTY,
            partner: None,
            confirmed: None,
            shot: None,
            fencing: CarriedFencing::default(),
            health: [GroupHealth::default(); GROUPS_MAX],
            turns_from: None,
            kicks_until: None,
        }
    }

    /// What is left of it when nobody has been there for so long that the partner may have come back unheard, and taken
    /// everything: neither that it was off nor that it had said goodbye permits anything now.
    pub fn note_silence(&mut self) {
        self.confirmed = None;
        self.handover = self.handover.map(CarriedHandover::after_silence);
        if let Some(partner) = &mut self.partner {
            partner.has_left = false;
        }
    }
}
