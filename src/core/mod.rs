//! Decides: who is alive, who owns what, what to say, what to run. Does nothing else.
//!
//! The core is a state machine without I/O. It reads no clock, opens nothing, allocates nothing. Whoever drives it
//! (the daemon's engine, the simulator) keeps this contract:
//!
//! ```text
//!   loop {
//!       node.handle(stamp, input)                 one input, or Input::Tick when a deadline has come
//!       while let Some(action) = node.poll_action() { perform(action) }   drain all of it
//!       sleep until node.poll_timeout() or the next input
//!   }
//! ```
//!
//! Being called early is harmless. Being called *late* is noticed: the core compares `stamp.now` with the deadline it
//! had asked for, and a node that was late itself does not judge its peer until it has heard out one keepalive more
//! (design.md rule 4). For this to work the driver hands over everything that has already arrived *before* it sends
//! `Input::Tick`.
//!
//! ```text
//!            bytes                         scripts
//!              │ wire                         ▲ guardian
//!   Received ──▼──────────── Node ────────────┴─ Run
//!             comms  ── Happening ──▶ ownership
//!      (links, peers, sequence,      (groups, negotiation, hand-over,
//!       retransmission, acks)         death, heal, shutdown)
//! ```

pub mod comms;
pub mod ids;
pub mod limits;
pub mod message;
pub mod node;
pub mod ownership;
pub mod planted;
pub mod quorum;
pub mod settings;
pub mod time;

use ids::{
    CheckId, CheckSet, Generation, GroupId, GroupSet, JobId, LinkId, LinkSet, NodeId, PingId, RelayId, RequestId,
    ShotId,
};
use message::{ClientName, GroupState, Holds, Message, NodeStatus, Packet};

pub use node::members::{MemberChange, Members, Remembered};
pub use node::{Node, members};

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Nothing but the passing of time: a deadline from [`Node::poll_timeout`] has come.
    Tick,
    /// An authenticated message arrived on `link`.
    Received {
        /// Where.
        link: LinkId,
        /// What.
        message: &'a Message<'a>,
    },
    /// The descriptor behind a link could not be opened, failed, or was lost (`false`), or works (`true`).
    LinkDevice {
        /// Which.
        link: LinkId,
        /// Whether it can be written to.
        is_open: bool,
    },
    /// A ping node has answered; the answer has been checked.
    PingAnswer {
        /// Which.
        ping: PingId,
    },
    /// A job that [`Action::Run`] asked for has ended. Every job is answered exactly once.
    JobDone {
        /// Which.
        job: JobId,
        /// How.
        outcome: JobOutcome,
    },
    /// A shot that [`Action::Fence`] asked for has ended. Every shot is answered once, a cancelled one too.
    FenceDone {
        /// Which.
        shot: ShotId,
        /// How.
        outcome: FenceOutcome,
    },
    /// A line has the level it has: told at the start, and when it changes.
    Line {
        /// Which.
        line: InputLine,
        /// What is read, by the polarity and bias of the board file.
        level: LineLevel,
    },
    /// The guardian has set the line `owner` as [`Action::SetOwner`] asked, or could not.
    OwnerSet {
        /// As asked.
        is_owner: bool,
        /// Whether it worked.
        is_ok: bool,
    },
    /// A health check says something else than before, or says it again to a new engine.
    Health {
        /// Which.
        check: CheckId,
        /// What.
        health: Health,
        /// Place in the group of the first resource that a restart in place takes along; of a check of the node 0.
        from: u8,
    },
    /// Programs that the guardian keeps alive for this node, such as those that ask health checks.
    Services {
        /// One of them does not stay alive.
        is_down: bool,
    },
    /// The watchdog is armed and will reset this board unless it is kicked, or is no longer.
    Watchdog {
        /// Whether it is.
        is_armed: bool,
    },
    /// The guardian can (or can no longer) run jobs. While it cannot, nothing is handed over or taken, claims stand.
    Guardian {
        /// Whether it answers.
        is_present: bool,
    },
    /// An administrator changes the list of nodes; answered as a request.
    Members {
        /// Returned with the reply.
        id: RequestId,
        /// What.
        change: MemberChange<'a>,
    },
    /// A client has signed on to this node, or is gone.
    Client {
        /// Its place, below [`CLIENTS_MAX`](limits::CLIENTS_MAX), or [`BUILT_IN`](node::clients::BUILT_IN).
        slot: u8,
        /// Its name, or nothing from now on. Clients without a name are nobody's business.
        name: Option<ClientName>,
    },
    /// A client of this node asks all nodes whether a client is signed on: this one's answer.
    ClientQuery {
        /// Which.
        client: ClientName,
        /// Who asks.
        asker: ClientName,
    },
    /// A client of this node has said something to other nodes, or to this one.
    Relay {
        /// Addressee; `None`: everybody.
        to: Option<NodeId>,
        /// Where the caller keeps it, until a number comes that is higher by [`RELAYED_MAX`](limits::RELAYED_MAX). Numbers
        /// may be left out: a long message takes several.
        id: RelayId,
    },
    /// An operator asks for something.
    Request {
        /// Returned with the reply.
        id: RequestId,
        /// What.
        request: Request,
    },
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobOutcome {
    /// `Start`: every resource of the group runs. `Stop`: none does. `Announce`: done.
    Done,
    /// `Start`: a resource did not start; the whole group has been stopped again, successfully.
    /// `Announce`, `Probe`: could not be done; a failed probe counts as `SomeRunning`.
    Failed,
    /// `Start` or `Stop`: some resource could not be stopped and may still be in use here.
    StopFailed,
    /// `Probe`: nothing of the group is running.
    NoneRunning,
    /// `Probe`: at least one resource is running.
    SomeRunning,
    /// `Probe`: every resource is running.
    AllRunning,
    /// `Start`: taken back by a later `Stop` of the same group before any script ran.
    Cancelled,
}

/// How a shot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FenceOutcome {
    /// The device, or the sense line where there is one, says that the partner is off or was reset.
    Confirmed,
    /// It did not work, and nothing of it is under way any more.
    Failed,
    /// It failed, and nobody knows what it has done or will do: its program had to be ended, or has never answered.
    Lost,
    /// It failed: the device does not know the partner's name.
    BadHost,
}

/// A GPIO line that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputLine {
    /// The partner's daemon is healthy.
    PeerAlive,
    /// The partner holds the service. An open or unpowered wire reads as active.
    PeerOwner,
    /// The partner's board has power.
    PeerPower,
    /// A switch: hold.
    Maintenance,
}

impl InputLine {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PeerAlive, Self::PeerOwner, Self::PeerPower, Self::Maintenance];

    /// The name in board files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerAlive => "peer-alive",
            Self::PeerOwner => "peer-owner",
            Self::PeerPower => "peer-power",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What is read from a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LineLevel {
    /// What the line's name says holds.
    Active,
    /// It does not.
    Inactive,
    /// There is no such line, or it cannot be read.
    #[default]
    Unknown,
}

/// What a health check says, after so many answers in a row as ha.cf asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Health {
    /// Nothing (yet): it has not been asked often enough, the group does not run here, or whoever asks is gone.
    #[default]
    Unknown,
    /// All is well.
    Healthy,
    /// It is not.
    Failed,
}

impl Health {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Healthy, Self::Failed];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
        }
    }
}

/// What the guardian is asked to do with one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// `status` of each resource, then `start` of those that do not run, left to right. On a failure the whole group is
    /// stopped again before the job ends. Jobs of groups with the same preferred node run one after another in the
    /// order asked for, others side by side.
    Start,
    /// `stop` of each resource, right to left, with the retries of spec/resources.md 4.2. A `Start` of the same group
    /// that has not begun is cancelled; one that runs is waited for.
    Stop,
    /// The group runs, a part of it is ill: `stop` of the resources from place `from` on, right to left, then what `Start`
    /// does. A `Stop` of the same group takes it back as it does a `Start`.
    Restart {
        /// Place of the first resource that is stopped.
        from: u8,
    },
    /// `status` of each resource; changes nothing.
    Probe,
    /// Tell the neighbourhood again where the group's addresses live (gratuitous ARP, unsolicited NA).
    Announce,
}

/// What an operator can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// Give these to the partner (`hb_standby`); sets from our view.
    Standby(Holds),
    /// Take these from the partner (`hb_takeover`); sets from our view. With the partner dead and `takeover_policy
    /// safe` this is the operator's word that it is off.
    Takeover(Holds),
    /// This group is wanted here (`req_resource`). The wire knows whole sides only, so its side comes with it.
    Obtain(GroupId),
    /// Send these home: groups running away from their preferred node.
    Failback(Holds),
    /// The operator's word that the partner is off (`nullbeat fence --confirm`): as good as a device's.
    ConfirmFence,
    /// Freeze decisions: beats go on, nothing moves but on request.
    Hold,
    /// End of `Hold`, clears the latches of `moves_per_hour` and of fencings in an hour, retries failed starts at once.
    Resume,
    /// Release everything, say goodbye, end.
    Stop,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As asked, and finished.
    Done,
    /// Nothing had to be done.
    Nothing,
    /// Cannot be done now: try again (exit code 75).
    Refused(Refusal),
    /// It was begun and did not succeed (exit code 1).
    Failed(Failure),
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The partner is dead or not yet a full member.
    PartnerAbsent,
    /// The partner is alive: nobody can vouch for its being off.
    PartnerAlive,
    /// The partner is in the middle of something.
    PartnerInFlux,
    /// We are.
    LocalInFlux,
    /// We are shutting down.
    ShuttingDown,
    /// This node takes no part in ownership.
    NoPart,
    /// Too many requests are waiting.
    Busy,
    /// The guardian cannot run scripts at the moment.
    NoGuardian,
    /// The partner is a Heartbeat with `auto_failback legacy`, which hands nothing over.
    Legacy,
    /// The partner did not answer the hand-over within ten seconds.
    NoAnswer,
    /// With haresources the nodes are those of the `node` lines.
    FixedNodes,
    /// The table of nodes is full.
    TooManyNodes,
    /// This can be no name of a node or site.
    BadName,
    /// There is no such node.
    UnknownNode,
    /// The node to be deleted is not dead.
    NodeAlive,
    /// Another node than those to be deleted is not there to hear of it.
    NodesMissing,
}

/// What went wrong with a request that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// A group did not start.
    Start(GroupId),
    /// A group did not stop.
    Stop(GroupId),
    /// The partner died on the way.
    PartnerDied,
    /// A later request or a shutdown put an end to it.
    Cancelled,
}

/// What the caller shall do.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "fixed size on purpose: actions live in a fixed queue")]
pub enum Action {
    /// Sign and send on each of these links. With no link open what is said for the first time comes all the same, without
    /// a link: this node's own clients hear it. Beats do not.
    Transmit {
        /// Where.
        links: LinkSet,
        /// What.
        packet: Packet,
    },
    /// Ask every ping node whether it is there.
    Ping {
        /// `ts` of the question.
        ts: u32,
    },
    /// Ask the guardian.
    Run {
        /// Comes back with [`Input::JobDone`].
        job: JobId,
        /// Which group.
        group: GroupId,
        /// What to do with it.
        order: Order,
    },
    /// Fence the partner.
    Fence {
        /// Comes back with [`Input::FenceDone`].
        shot: ShotId,
        /// Index into [`FenceSettings::methods`](settings::FenceSettings::methods).
        method: u8,
    },
    /// Keep this number on disk: it comes back as
    /// [`FenceSettings::fencings_before`](settings::FenceSettings::fencings_before) after a reset of this board too.
    NoteFencings {
        /// Fencings of the last hour.
        count: u8,
    },
    /// The partner is back, or the shot is no longer wanted: break it off. It is answered all the same.
    CancelFence {
        /// Which.
        shot: ShotId,
    },
    /// A peer has heard a run of this node with a higher generation, and drops whatever this one says as older: start again
    /// above it. What was lost is the file of the generation. Said once in a run; nothing else follows from it here.
    Outrun {
        /// The highest generation that the peer knows.
        known: Generation,
    },
    /// Set the line `owner`; answered by [`Input::OwnerSet`].
    SetOwner {
        /// This node holds, or wants to hold, the service.
        is_owner: bool,
    },
    /// Something that history, notifications and alarms want to know. The log line has been written already.
    Event(Event),
    /// Answer to an operator.
    Reply {
        /// As given.
        id: RequestId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Everything is released and said: end the daemon.
    Exit,
}

/// A change worth remembering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A group changed its state here.
    Group {
        /// Which.
        group: GroupId,
        /// From.
        old: GroupState,
        /// To.
        new: GroupState,
        /// Why.
        cause: Cause,
    },
    /// A peer's status changed.
    Node {
        /// Which.
        node: NodeId,
        /// To.
        status: NodeStatus,
    },
    /// A peer's link came up or died.
    Link {
        /// Whose.
        node: NodeId,
        /// Which of our links.
        link: LinkId,
        /// Up?
        is_up: bool,
    },
    /// A ping node answers again, or no more.
    Ping {
        /// Which.
        ping: PingId,
        /// Answers?
        is_alive: bool,
    },
    /// An alarm was raised or cleared.
    Alarm {
        /// Which.
        alarm: Alarm,
        /// Raised?
        is_raised: bool,
    },
    /// Something about fencing the partner.
    Fence {
        /// Index into [`FenceSettings::methods`](settings::FenceSettings::methods); of an operator's word `u8::MAX`.
        method: u8,
        /// What.
        step: FenceStep,
    },
    /// A line has changed its level.
    Line {
        /// Which.
        line: InputLine,
        /// To.
        level: LineLevel,
    },
    /// The list of nodes, a weight or a site has changed. What follows may name nodes that were not there before.
    Members,
    /// This node noticed that it had not been scheduled.
    Late {
        /// By how much, milliseconds.
        ms: u32,
    },
}

/// What happened to a shot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FenceStep {
    /// It is asked for, or waited for.
    Begun,
    /// The partner is off.
    Confirmed,
    /// It failed, or nobody knows.
    Failed,
    /// The partner was heard: it is broken off.
    Cancelled,
    /// It was confirmed, and the partner was heard in the same run.
    Lied,
}

impl FenceStep {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Begun, Self::Confirmed, Self::Failed, Self::Cancelled, Self::Lied];
}

/// Why a group moves. Recorded with each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// First acquisition after start, or what was found running then.
    Startup,
    /// The partner died.
    Death,
    /// The partner said goodbye.
    Goodbye,
    /// The group goes back to its preferred node.
    Failback,
    /// An operator asked here or there.
    Operator,
    /// A start failed, here or there.
    StartFailure,
    /// Two holders met.
    SplitBrain,
    /// We shut down.
    Shutdown,
    /// A script ended; no decision of ours.
    Script,
    /// The other node reaches more ping nodes.
    Upstream,
    /// Health checks failed here or there.
    Health,
}

/// Standing alarms: raised once, cleared once, shown by `status` all the while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// Only one link to the partner is left, of several configured.
    LastLink,
    /// The partner hears us on no link although we hear it, or on fewer links than we hear it.
    OneWayLink(LinkId),
    /// The ha.cf files differ where they must not.
    ConfigDiffers,
    /// The haresources files differ.
    ResourcesDiffer,
    /// Both nodes held a group when they met.
    SplitBrain(GroupId),
    /// A group could not be started.
    StartFailed(GroupId),
    /// A group could not be stopped and may be running here.
    StopFailed(GroupId),
    /// We own without knowing that the partner is off (`takeover_policy available`, every path silent).
    Unfenced,
    /// `takeover_policy safe`: groups are down until somebody vouches for the partner being off.
    NeedsOperator,
    /// As many moves in the last hour as `moves_per_hour`: no voluntary move until the oldest is an hour old, or `resume`.
    MovesLatched,
    /// An operator holds decisions.
    Held,
    /// The switch `maintenance` holds decisions.
    Maintenance,
    /// The partner is to be fenced, and it is not confirmed yet that it is off.
    FencePending,
    /// The last shot failed. Nothing of the partner's is taken before one succeeds.
    FenceFailed,
    /// More shots in an hour than allowed: none before an operator resumes.
    FenceLatched,
    /// A shot was confirmed, and the partner was heard in the same run: the device cannot be trusted.
    FenceLied,
    /// The own line `owner` cannot be set: nothing is started here.
    OwnerLineFailed,
    /// The line `peer-owner` forbids to start what nobody else seems to run.
    Interlocked,
    /// What this line says contradicts what the partner says: it is not believed.
    LineStuck(InputLine),
    /// A health check fails.
    CheckFailed(CheckId),
    /// Checks of this group fail although it was restarted as often as allowed.
    Unhealthy(GroupId),
    /// A program that the guardian keeps alive for this node, such as the one that asks health checks, dies again and again.
    ServiceDown,
    /// The guardian cannot run scripts.
    NoGuardian,
    /// The two nodes' messages cannot be reconciled: the partner asked for a message that is gone, or more than
    /// 250 were lost.
    MessagesLost,
}

/// All alarms that can stand, as a set with a number each; see [`Alarm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alarms {
    /// The alarms that are about nothing in particular, by discriminant.
    pub plain: u32,
    /// [`Alarm::OneWayLink`].
    pub one_way: LinkSet,
    /// [`Alarm::SplitBrain`].
    pub split_brain: GroupSet,
    /// [`Alarm::StartFailed`].
    pub start_failed: GroupSet,
    /// [`Alarm::StopFailed`].
    pub stop_failed: GroupSet,
    /// [`Alarm::LineStuck`], by discriminant.
    pub stuck_lines: u8,
    /// [`Alarm::CheckFailed`].
    pub failed_checks: CheckSet,
    /// [`Alarm::Unhealthy`].
    pub unhealthy: GroupSet,
}
