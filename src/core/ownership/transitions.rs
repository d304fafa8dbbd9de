//! Which events may come in which state: the two transition tables, of the node and of one group, as pairs.
//!
//! A debug build asserts that no other pair comes, and remembers which ones came, so that the simulator can tell what its
//! seeds have never tried. What ships has nothing of that. What the partner says is not in this node's hands: there the
//! tables tell what a node that keeps the protocol never says, and only the simulator insists.

use super::{Handover, Ownership, Phase};
use crate::core::comms::Happening;
use crate::core::ids::NodeId;
use crate::core::message::{Body, GroupState, StandbyWord};
use crate::core::{FenceOutcome, Input, JobOutcome, Order, Request};

/// An enumeration with a name for each of its values.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $type {
            $(#[doc = $name] $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// For people.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

named!(
    /// State of a node: its phase, and in a stable one how far a hand-over is.
    Stage {
        Waiting = "waiting",
        Starting = "starting",
        Settling = "settling",
        Stable = "stable",
        Asked = "asked",
        Releasing = "releasing",
        Released = "released",
        Agreed = "agreed",
        Acquiring = "acquiring",
        Leaving = "leaving",
    }
);

named!(
    /// What a node meets: words of its partner, what communication tells, answers of its own processes, its operators.
    Event {
        SaysStarting = "partner says starting",
        SaysResource = "partner says resource",
        SaysShutdone = "partner says shutdone",
        AsksMe = "partner says standby me",
        AsksOther = "partner says standby other",
        AsksDone = "partner says standby done",
        WantsTakeover = "partner says takeover",
        SaysIpfail = "partner says ipfail",
        AsksIp = "partner says ip-request",
        AnswersIp = "partner says ip-request-resp",
        CommUp = "communication up",
        Died = "partner dead",
        Restarted = "partner started anew",
        Returned = "partner back",
        Told = "partner's extension",
        Overslept = "overslept",
        JobDone = "job ended",
        ShotConfirmed = "shot confirmed",
        ShotFailed = "shot failed",
        LineRead = "line changed",
        OwnerSet = "line owner set",
        CheckTold = "health check changed",
        GuardianGone = "guardian gone",
        GuardianThere = "guardian there",
        Standby = "operator: standby",
        Takeover = "operator: takeover",
        Obtain = "operator: obtain",
        Failback = "operator: failback",
        ConfirmFence = "operator: fence --confirm",
        Hold = "operator: hold",
        Resume = "operator: resume",
        Stop = "operator: stop",
    }
);

named!(
    /// What happens to one group.
    Step {
        Probe = "is probed",
        ProbedNone = "probe: none runs",
        ProbedSome = "probe: something runs",
        Adopt = "is adopted",
        Acquire = "is acquired",
        Release = "is released",
        Retry = "is tried again",
        Restart = "is restarted",
        Started = "start done",
        NotStarted = "start failed",
        StartStuck = "start failed, not stopped",
        StartCancelled = "start cancelled",
        Restarted = "restart done",
        NotRestarted = "restart failed",
        RestartStuck = "restart failed, not stopped",
        RestartCancelled = "restart cancelled",
        Stopped = "stop done",
        NotStopped = "stop failed",
    }
);

impl Stage {
    fn of(phase: Phase, handover: &Handover) -> Self {
        match (phase, handover) {
            (Phase::Waiting, _) => Self::Waiting,
            (Phase::Starting { .. }, _) => Self::Starting,
            (Phase::Settling { .. }, _) => Self::Settling,
            (Phase::Leaving(_), _) => Self::Leaving,
            (Phase::Stable, Handover::None) => Self::Stable,
            (Phase::Stable, Handover::Asked(_)) => Self::Asked,
            (Phase::Stable, Handover::Releasing(_)) => Self::Releasing,
            (Phase::Stable, Handover::Released(_)) => Self::Released,
            (Phase::Stable, Handover::Agreed(_)) => Self::Agreed,
            (Phase::Stable, Handover::Acquiring(_)) => Self::Acquiring,
        }
    }

    /// Why `event` cannot come in this state; `None`: it can.
    pub const fn forbids(self, event: Event) -> Option<&'static str> {
        match (self, event) {
            (Self::Waiting | Self::Leaving, Event::CommUp) => None,
            (_, Event::CommUp) => Some("communication comes up once, and nothing else ends the waiting"),
            (Self::Asked | Self::Releasing | Self::Released | Self::Acquiring, Event::Returned) => {
                Some("a hand-over is with a living partner, which is heard before it can give, and its death ends it")
            }
            _ => None,
        }
    }
}

impl Event {
    /// That of an input, if ownership has one for it. Words of the partner are told apart by [`Event::of_message`].
    pub(in crate::core) const fn of_input(input: &Input<'_>) -> Option<Self> {
        Some(match input {
            Input::JobDone { .. } => Self::JobDone,
            Input::FenceDone { outcome: FenceOutcome::Confirmed, .. } => Self::ShotConfirmed,
            Input::FenceDone { outcome: FenceOutcome::Failed | FenceOutcome::BadHost | FenceOutcome::Lost, .. } => {
                Self::ShotFailed
            }
            Input::Line { .. } => Self::LineRead,
            Input::OwnerSet { .. } => Self::OwnerSet,
            Input::Health { .. } => Self::CheckTold,
            Input::Guardian { is_present: false } => Self::GuardianGone,
            Input::Guardian { is_present: true } => Self::GuardianThere,
            Input::Request { request, .. } => match request {
                Request::Standby(_) => Self::Standby,
                Request::Takeover(_) => Self::Takeover,
                Request::Obtain(_) => Self::Obtain,
                Request::Failback(_) => Self::Failback,
                Request::ConfirmFence => Self::ConfirmFence,
                Request::Hold => Self::Hold,
                Request::Resume => Self::Resume,
                Request::Stop => Self::Stop,
            },
            _ => return None,
        })
    }

    /// Whether it is a word of the partner.
    pub const fn is_said_by_partner(self) -> bool {
        self as u8 <= Self::AnswersIp as u8
    }

    /// That of a word of the partner.
    pub(super) const fn of_message(body: &Body<'_>) -> Option<Self> {
        Some(match body {
            Body::Starting => Self::SaysStarting,
            Body::Resource { .. } => Self::SaysResource,
            Body::ShutDone => Self::SaysShutdone,
            Body::AskResources { word: StandbyWord::Me, .. } => Self::AsksMe,
            Body::AskResources { word: StandbyWord::Other, .. } => Self::AsksOther,
            Body::AskResources { word: StandbyWord::Done, .. } => Self::AsksDone,
            Body::Takeover { .. } => Self::WantsTakeover,
            Body::Ipfail(_) => Self::SaysIpfail,
            Body::IpRequest { .. } => Self::AsksIp,
            Body::IpRequestResp { .. } => Self::AnswersIp,
            _ => return None,
        })
    }

    /// That of what communication tells of the partner or of this node.
    pub(super) fn of_happening(happening: Happening, partner: Option<NodeId>) -> Option<Self> {
        let is_partner = |node: NodeId| partner == Some(node);
        Some(match happening {
            Happening::CommUp => Self::CommUp,
            Happening::Dead { node, .. } if is_partner(node) => Self::Died,
            Happening::Restarted { node, .. } if is_partner(node) => Self::Restarted,
            Happening::Returned { node } if is_partner(node) => Self::Returned,
            Happening::Extension { node } if is_partner(node) => Self::Told,
            Happening::Overslept => Self::Overslept,
            _ => return None,
        })
    }
}

impl Step {
    /// The end of a job.
    pub(super) const fn of_end(order: Order, outcome: JobOutcome) -> Option<Self> {
        Some(match (order, outcome) {
            (Order::Probe, JobOutcome::NoneRunning) => Self::ProbedNone,
            (Order::Probe, _) => Self::ProbedSome,
            (Order::Start, JobOutcome::Done) => Self::Started,
            (Order::Start, JobOutcome::StopFailed) => Self::StartStuck,
            (Order::Start, JobOutcome::Cancelled) => Self::StartCancelled,
            (Order::Start, _) => Self::NotStarted,
            (Order::Restart { .. }, JobOutcome::Done) => Self::Restarted,
            (Order::Restart { .. }, JobOutcome::StopFailed) => Self::RestartStuck,
            (Order::Restart { .. }, JobOutcome::Cancelled) => Self::RestartCancelled,
            (Order::Restart { .. }, _) => Self::NotRestarted,
            (Order::Stop, JobOutcome::Done) => Self::Stopped,
            (Order::Stop, _) => Self::NotStopped,
            (Order::Announce, _) => return None,
        })
    }

    /// Why it cannot happen to a group in this state; `None`: it can.
    pub const fn forbidden_in(self, state: GroupState) -> Option<&'static str> {
        use GroupState::{Running, StartFailed, Starting, StopFailed, Stopped, Stopping, Unknown};
        let (is_possible, reason) = match self {
            Self::Probe | Self::ProbedNone | Self::ProbedSome | Self::Adopt => {
                (matches!(state, Unknown), "what was left running is looked for at the start, before anything is known")
            }
            Self::Retry => (matches!(state, StartFailed | StopFailed), "only a failure is followed by a pause"),
            Self::Restart => (matches!(state, Running), "only what runs is restarted in place"),
            Self::StartCancelled | Self::RestartCancelled => {
                (false, "a start is cancelled by a stop only, and then it is the stop's end that counts")
            }
            Self::Started
            | Self::NotStarted
            | Self::StartStuck
            | Self::Restarted
            | Self::NotRestarted
            | Self::RestartStuck => (matches!(state, Starting), "the state is that of the job that was asked for last"),
            Self::Stopped | Self::NotStopped => {
                (matches!(state, Stopping), "the state is that of the job that was asked for last")
            }
            Self::Acquire => (
                matches!(state, Stopped | StopFailed),
                "what is not claimed does not run; a start that failed stays claimed until it is released",
            ),
            Self::Release => {
                (!matches!(state, Stopped), "what is stopped is not claimed, unless a start was cancelled")
            }
        };
        if is_possible { None } else { Some(reason) }
    }
}

impl Ownership {
    /// An event is about to be handled.
    pub(in crate::core) fn witness(&self, event: Option<Event>) {
        if cfg!(debug_assertions)
            && let Some(event) = event
        {
            let stage = Stage::of(self.phase, &self.handover);
            let is_idle = matches!(self.phase, Phase::Stable) || self.handover.is_none();
            assert!(is_idle, "a hand-over in the phase {}", self.phase.name());
            let reason = stage.forbids(event).filter(|_| !event.is_said_by_partner());
            assert!(reason.is_none(), "{} while {}: {reason:?}", event.name(), stage.name());
            seen::note_event(stage, event);
        }
    }
}

/// A step of a group is about to be made.
pub(super) fn witness_step(state: GroupState, step: Option<Step>) {
    if cfg!(debug_assertions)
        && let Some(step) = step
    {
        // Whether a start was cancelled is for the guardian to say, and it leaves a claim on what is stopped.
        let is_said = matches!(
            (state, step),
            (_, Step::StartCancelled | Step::RestartCancelled) | (GroupState::Stopped, Step::Release | Step::Retry)
        );
        let reason = step.forbidden_in(state).filter(|_| !is_said);
        assert!(reason.is_none(), "a group that is {} {}: {reason:?}", state.name(), step.name());
        seen::note_step(state, step);
    }
}

/// Which pairs came in this process, in debug builds.
pub mod seen {
    use core::sync::atomic::{AtomicU32, Ordering};

    use super::{Event, GroupState, Stage, Step};

    static EVENTS: [AtomicU32; Stage::ALL.len()] = [const { AtomicU32::new(0) }; Stage::ALL.len()];
    static STEPS: [AtomicU32; GroupState::ALL.len()] = [const { AtomicU32::new(0) }; GroupState::ALL.len()];

    const _: () = assert!(Event::ALL.len() <= 32 && Step::ALL.len() <= 32, "a bit for each");

    pub(super) fn note_event(stage: Stage, event: Event) {
        note(&EVENTS[stage as usize], event as u8);
    }

    pub(super) fn note_step(state: GroupState, step: Step) {
        note(&STEPS[state as usize], step as u8);
    }

    /// Written once only: the simulator's threads share these words.
    fn note(word: &AtomicU32, bit: u8) {
        if word.load(Ordering::Relaxed) & (1 << bit) == 0 {
            word.fetch_or(1 << bit, Ordering::Relaxed);
        }
    }

    /// Whether this event came in this state.
    pub fn has_event(stage: Stage, event: Event) -> bool {
        EVENTS[stage as usize].load(Ordering::Relaxed) & (1 << event as u8) != 0
    }

    /// Whether this step was made in this state.
    pub fn has_step(state: GroupState, step: Step) -> bool {
        STEPS[state as usize].load(Ordering::Relaxed) & (1 << step as u8) != 0
    }
}
