//! What can go wrong, and what operators do at a bad moment.

use crate::core::ids::{GroupSet, LinkSet};
use crate::core::message::{Body, Holds};
use crate::core::{InputLine, LineLevel, Request};

/// One thing that is done to the world. Times are microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The board is off at once, with everything on it, and gets power again after `off_for`.
    PowerLoss {
        /// Which board.
        node: usize,
        /// Until power returns; booting comes on top.
        off_for: u64,
    },
    /// The same, and the file of the generation comes back from an old copy: the other node has heard higher numbers. Of an
    /// even `by` both files are lost: the engine knows that it guesses. Of every eighth the guess is above what was used.
    GenerationLost {
        /// Which board.
        node: usize,
        /// Until power returns.
        off_for: u64,
        /// By how much the copy, or the guess, is behind.
        by: u32,
    },
    /// A node says a word of a hand-over or of a start out of turn.
    Word {
        /// Which node.
        node: usize,
        /// What.
        word: Body<'static>,
    },
    /// The board is off in the middle of the next script that runs there.
    PowerLossInScript {
        /// Which board.
        node: usize,
        /// Until power returns.
        off_for: u64,
    },
    /// The engine dies; its guardian has a new one ready after `respawn_after`.
    EngineCrash {
        /// Which board.
        node: usize,
        /// From death to the new engine's first turn.
        respawn_after: u64,
    },
    /// The engine is not scheduled; guardian and scripts are.
    EngineStall {
        /// Which board.
        node: usize,
        /// How long.
        lasts: u64,
    },
    /// Nothing on the board is scheduled.
    Freeze {
        /// Which board.
        node: usize,
        /// How long.
        lasts: u64,
        /// The board's clock goes on meanwhile (a busy kernel) or stands still with it (a paused virtual machine).
        is_clock_running: bool,
        /// What arrives meanwhile waits in buffers, as far as these reach; else it is lost.
        keeps_arrivals: bool,
    },
    /// Guardian, engine and logger die together, services run on.
    KillAll {
        /// Which board.
        node: usize,
        /// Until the daemon is started again.
        back_after: u64,
        /// The service manager's stop action releases the groups (`ExecStopPost`).
        has_stop_action: bool,
    },
    /// The guardian does not run jobs.
    GuardianGone {
        /// Which board.
        node: usize,
        /// How long.
        lasts: u64,
    },
    /// Links carry nothing.
    Cut {
        /// Which links.
        links: LinkSet,
        /// Only what this node sends is lost; `None`: both directions.
        from: Option<usize>,
        /// How long.
        lasts: u64,
    },
    /// A link goes up and down.
    Flap {
        /// Which.
        links: LinkSet,
        /// Length of one down or up time.
        period: u64,
        /// How long altogether.
        lasts: u64,
    },
    /// A link is bad.
    Noise {
        /// Which.
        links: LinkSet,
        /// How.
        noise: Noise,
        /// How long.
        lasts: u64,
    },
    /// The descriptor behind a link is gone at one node.
    DeviceLost {
        /// Where.
        node: usize,
        /// Which.
        links: LinkSet,
        /// How long.
        lasts: u64,
    },
    /// Somebody sends authentic messages of the past again, towards this node.
    Replay {
        /// Victim.
        to: usize,
        /// How many of those recorded last under an older generation, in their old order; when there was none, of any.
        count: usize,
    },
    /// Scripts misbehave.
    Scripts {
        /// Where.
        node: usize,
        /// Which group; `None`: all.
        group: Option<usize>,
        /// How.
        kind: ScriptFault,
        /// How long.
        lasts: u64,
    },
    /// The wall clock is set.
    WallStep {
        /// Where.
        node: usize,
        /// By so many seconds.
        by: i64,
    },
    /// New files: the engine is replaced, groups with other words are stopped and started again.
    Reload {
        /// Where.
        node: usize,
        /// Groups with other words.
        changed: GroupSet,
    },
    /// A node does not reach the ping nodes; its links are whole.
    UpstreamLost {
        /// Which board.
        node: usize,
        /// How long.
        lasts: u64,
    },
    /// A service dies while its group runs, and after each start again until this is over.
    ServiceDies {
        /// On which board.
        node: usize,
        /// Of which group; `None`: all.
        group: Option<usize>,
        /// How long a restart does not help.
        lasts: u64,
    },
    /// What the nodes' services need is not there.
    UpstreamDead {
        /// For which board; `None`: for both.
        node: Option<usize>,
        /// How long.
        lasts: u64,
    },
    /// A check says that something fails although it does not.
    CheckLies {
        /// Where.
        node: usize,
        /// Which group's; `None`: the node's.
        group: Option<usize>,
        /// It changes its mind so often; zero: never.
        period: u64,
        /// How long.
        lasts: u64,
    },
    /// Nobody asks the checks of a node.
    CheckerGone {
        /// Where.
        node: usize,
        /// How long.
        lasts: u64,
    },
    /// The devices by which a node fences the other misbehave.
    Device {
        /// Whose.
        node: usize,
        /// Which, by its place in the list; `None`: all.
        method: Option<u8>,
        /// How.
        kind: DeviceFault,
        /// How long.
        lasts: u64,
    },
    /// What a node reads from a line stays the same, whatever the other board does. A cut wire is such a fault, with the level
    /// of its bias: active for `peer-owner` and `peer-power`, inactive for the others.
    Line {
        /// Who reads.
        node: usize,
        /// Which.
        line: InputLine,
        /// What it reads.
        level: LineLevel,
        /// How long.
        lasts: u64,
    },
    /// An operator asks a node for something.
    Operator {
        /// Whom.
        node: usize,
        /// What.
        request: Request,
        /// After `Stop`: the daemon is started again so much later.
        back_after: u64,
    },
}

/// Bad behaviour of a link, in thousandths of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noise {
    /// Lost.
    pub loss: u64,
    /// Delivered twice.
    pub duplicate: u64,
    /// Damaged on the way.
    pub corrupt: u64,
    /// Overtaken: delayed by up to `delay`.
    pub reorder: u64,
    /// Microseconds.
    pub delay: u64,
}

/// Bad behaviour of a group's scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptFault {
    /// `start` fails.
    StartFails,
    /// `stop` fails and the resource runs on.
    StopFails,
    /// `start` hangs until its time limit.
    StartHangs,
    /// `stop` hangs until its time limit.
    StopHangs,
    /// Everything takes five times as long.
    Slow,
}

/// Bad behaviour of a fence device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// It says so and does nothing.
    Fails,
    /// It hangs until its time limit and does nothing.
    Hangs,
    /// It confirms and does nothing.
    Lies,
    /// It hangs until its time limit, and resets the other board some time later.
    Late,
}

/// Names of the kinds of faults, for the coverage table: [`Fault::kind`] is an index.
pub const KINDS: [&str; 48] = [
    "power loss",
    "power loss in a script",
    "engine crash",
    "engine stall",
    "freeze",
    "clock freeze",
    "all killed, stop action",
    "all killed, left running",
    "guardian gone",
    "link cut",
    "all links cut",
    "one-way link",
    "all links one-way",
    "flapping link",
    "loss",
    "duplicates",
    "reordering",
    "corruption",
    "device lost",
    "replay",
    "start fails",
    "stop fails",
    "script hangs",
    "slow scripts",
    "wall clock step",
    "standby",
    "takeover",
    "failback",
    "hold",
    "stop and restart",
    "reload",
    "upstream lost",
    "fence fails",
    "fence hangs",
    "fence lies",
    "fence shoots late",
    "fence confirmed by hand",
    "peer-owner stuck active",
    "peer-owner stuck inactive",
    "peer-power stuck",
    "another line stuck",
    "service dies",
    "upstream dead",
    "check lies",
    "check flaps",
    "checker gone",
    "generation lost",
    "word out of turn",
];

/// Index of reloads in [`KINDS`]: they are drawn apart.
pub const RELOAD: usize = 30;
/// Index of lost upstreams in [`KINDS`]: so are they.
pub const UPSTREAM: usize = 31;
/// Index of the first kind that only worlds with a fence have: all from here on are drawn apart.
pub const FENCE: usize = 32;
/// Index of the first kind that only worlds with lines between the boards have.
pub const LINES: usize = 37;

/// Index of the first kind that only worlds with health checks have.
pub const HEALTH: usize = 41;
/// Index of lost generations, which are drawn apart too.
pub const LOST: usize = 46;
/// Index of words out of turn: so are they.
pub const WORD: usize = 47;

impl Fault {
    /// Index into [`KINDS`]; `links` is the number of links of the world.
    pub fn kind(&self, links: usize) -> usize {
        match self {
            Self::PowerLoss { .. } => 0,
            Self::PowerLossInScript { .. } => 1,
            Self::EngineCrash { .. } => 2,
            Self::EngineStall { .. } => 3,
            Self::Freeze { is_clock_running, .. } => 4 + usize::from(!is_clock_running),
            Self::KillAll { has_stop_action, .. } => 6 + usize::from(!has_stop_action),
            Self::GuardianGone { .. } => 8,
            Self::Cut { links: cut, from, .. } => 9 + usize::from(cut.len() == links) + 2 * usize::from(from.is_some()),
            Self::Flap { .. } => 13,
            Self::Noise { noise, .. } if noise.corrupt > 0 => 17,
            Self::Noise { noise, .. } if noise.reorder > 0 => 16,
            Self::Noise { noise, .. } if noise.duplicate > 0 => 15,
            Self::Noise { .. } => 14,
            Self::DeviceLost { .. } => 18,
            Self::Replay { .. } => 19,
            Self::Scripts { kind, .. } => match kind {
                ScriptFault::StartFails => 20,
                ScriptFault::StopFails => 21,
                ScriptFault::StartHangs | ScriptFault::StopHangs => 22,
                ScriptFault::Slow => 23,
            },
            Self::WallStep { .. } => 24,
            Self::Operator { request, .. } => match request {
                Request::Standby(_) => 25,
                Request::Takeover(_) | Request::Obtain(_) => 26,
                Request::Failback(_) => 27,
                Request::Hold | Request::Resume => 28,
                Request::Stop => 29,
                Request::ConfirmFence => FENCE + 4,
            },
            Self::Line { line: InputLine::PeerOwner, level: LineLevel::Active, .. } => LINES,
            Self::Line { line: InputLine::PeerOwner, .. } => LINES + 1,
            Self::Line { line: InputLine::PeerPower, .. } => LINES + 2,
            Self::Line { .. } => LINES + 3,
            Self::Device { kind, .. } => match kind {
                DeviceFault::Fails => FENCE,
                DeviceFault::Hangs => FENCE + 1,
                DeviceFault::Lies => FENCE + 2,
                DeviceFault::Late => FENCE + 3,
            },
            Self::ServiceDies { .. } => HEALTH,
            Self::UpstreamDead { .. } => HEALTH + 1,
            Self::CheckLies { period: 0, .. } => HEALTH + 2,
            Self::CheckLies { .. } => HEALTH + 3,
            Self::CheckerGone { .. } => HEALTH + 4,
            Self::Reload { .. } => RELOAD,
            Self::UpstreamLost { .. } => UPSTREAM,
            Self::GenerationLost { .. } => LOST,
            Self::Word { .. } => WORD,
        }
    }

    /// How long its effect stands after it began; zero: it is over at once (what follows from it is the world's affair).
    pub fn lasts(&self) -> u64 {
        match *self {
            Self::EngineStall { lasts, .. }
            | Self::Freeze { lasts, .. }
            | Self::GuardianGone { lasts, .. }
            | Self::Cut { lasts, .. }
            | Self::Flap { lasts, .. }
            | Self::Noise { lasts, .. }
            | Self::DeviceLost { lasts, .. }
            | Self::UpstreamLost { lasts, .. }
            | Self::ServiceDies { lasts, .. }
            | Self::UpstreamDead { lasts, .. }
            | Self::CheckLies { lasts, .. }
            | Self::CheckerGone { lasts, .. }
            | Self::Device { lasts, .. }
            | Self::Line { lasts, .. }
            | Self::Scripts { lasts, .. } => lasts,
            Self::KillAll { back_after, .. } => back_after,
            Self::EngineCrash { respawn_after, .. } => respawn_after,
            Self::PowerLoss { .. }
            | Self::PowerLossInScript { .. }
            | Self::GenerationLost { .. }
            | Self::Word { .. }
            | Self::Replay { .. }
            | Self::WallStep { .. }
            | Self::Reload { .. }
            | Self::Operator { .. } => 0,
        }
    }

    /// Operator's request, restart after a second.
    pub const fn operator(node: usize, request: Request) -> Self {
        Self::Operator { node, request, back_after: 1_000_000 }
    }

    /// `hb_standby all`.
    pub const fn standby(node: usize) -> Self {
        Self::operator(node, Request::Standby(Holds::ALL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_after_what_they_do() {
        let cut = |links, from| KINDS[Fault::Cut { links: LinkSet(links), from, lasts: 1 }.kind(2)];
        assert_eq!(cut(1, None), "link cut");
        assert_eq!(cut(3, None), "all links cut");
        assert_eq!(cut(2, Some(0)), "one-way link");
        assert_eq!(cut(3, Some(1)), "all links one-way");
        assert_eq!(KINDS[Fault::operator(0, Request::Stop).kind(1)], "stop and restart");
        assert_eq!(KINDS[Fault::WallStep { node: 0, by: 1 }.kind(1)], "wall clock step");
        let noise = Noise { reorder: 10, delay: 5, ..Noise::default() };
        assert_eq!(KINDS[Fault::Noise { links: LinkSet(1), noise, lasts: 1 }.kind(1)], "reordering");
    }
}
