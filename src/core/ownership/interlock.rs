//! The interlock: the lines between the boards gate acquiring.
//!
//! ```text
//!   Down ──wanted: raise `owner`──▶ Raising ──set──▶ Settling ──`peer-owner` inactive──▶ Open: groups may start
//!    ▲                                                  │  active: the preferred node waits here
//!    └── pause over ── BackingOff ◀── active, not preferred: lower ──┘
//! ```
//!
//! Both boards raise their line before they read the other's, so of two that want the service at the same time at least
//! one sees the other. An open or unpowered wire reads as "the partner owns": it is no permission. What the line says is
//! not believed while it contradicts what a living partner says of itself ([`Alarm::LineStuck`]).

use super::{Context, Group, Ownership};
use crate::core::ids::{GroupId, GroupSet};
use crate::core::message::{GroupState, NodeStatus};
use crate::core::planted::{Bug, is_planted};
use crate::core::time::{Duration, Instant};
use crate::core::{Action, Alarm, Event, InputLine, LineLevel};

/// First pause of a node that is not preferred and found the line active; doubled each time.
const BACK_OFF_FIRST: Duration = Duration::from_millis(500);
/// Longest pause.
const BACK_OFF_LAST: Duration = Duration::from_secs(30);
/// When an unanswered or failed request to set the line is repeated.
const SET_AGAIN: Duration = Duration::from_secs(2);

/// How far this node has come with its own line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gate {
    /// The own line is low.
    #[default]
    Down,
    /// The guardian is to raise it.
    Raising {
        /// When it was asked.
        since: Instant,
    },
    /// It is up.
    Settling {
        /// When the partner's line is read.
        until: Instant,
    },
    /// It is up, and the partner's was low after that: groups may be started.
    Open,
    /// It is low again, for the partner's was active.
    BackingOff {
        /// Until then.
        until: Instant,
    },
}

/// What this node does about its own line, and how far it believes the partner's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Interlock {
    gate: Gate,
    /// Something would be started if the gate were open.
    is_wanted: bool,
    /// When that was so last, nothing having been in use here since.
    wanted_at: Option<Instant>,
    back_offs: u8,
    /// When the guardian was last asked to set the line low.
    lowered_at: Option<Instant>,
}

impl Ownership {
    /// How far this node has come with its own line.
    pub const fn gate(&self) -> Gate {
        self.interlock.gate
    }

    /// A line has this level.
    pub(in crate::core) fn line_changed(&mut self, cx: &mut Context<'_>, line: InputLine, level: LineLevel) {
        if self.lines.set(line, level) {
            log::info!("line {}: {level:?}", line.name());
            cx.act(Action::Event(Event::Line { line, level }));
        }
        if line == InputLine::Maintenance {
            self.raise(cx, Alarm::Maintenance, level == LineLevel::Active);
            self.wants_extension = true;
        }
    }

    /// The guardian has set the line `owner`, or could not.
    pub(in crate::core) fn owner_set(&mut self, cx: &mut Context<'_>, is_owner: bool, is_ok: bool) {
        self.lines.set_owner(is_owner, is_ok);
        self.raise(cx, Alarm::OwnerLineFailed, !is_ok);
        self.wants_extension = true;
        if matches!(self.interlock.gate, Gate::Raising { .. }) && is_owner && is_ok {
            self.interlock.gate = match cx.settings.interlock {
                Some(interlock) => Gate::Settling { until: cx.at.now + interlock.settle },
                None => Gate::Open,
            };
        }
    }

    /// Something is about to be started. Without an interlock the line gates nothing: it only tells, and does so first.
    pub(super) fn show_owner(&mut self, cx: &mut Context<'_>) {
        if cx.settings.interlock.is_none() && cx.settings.has_owner_line && self.interlock.gate == Gate::Down {
            self.raise_line(cx);
        }
    }

    /// Keeps a line that gates nothing up while anything is in use here.
    fn show_step(&mut self, cx: &mut Context<'_>) {
        let holds = self.holds_any();
        match self.interlock.gate {
            Gate::Down if holds => self.raise_line(cx),
            Gate::Down => self.keep_low(cx),
            Gate::Raising { since } if holds && since + SET_AGAIN <= cx.at.now => self.raise_line(cx),
            Gate::Raising { .. } | Gate::Open if !holds => self.lower_line(cx, Gate::Down),
            Gate::Raising { .. } | Gate::Open | Gate::Settling { .. } | Gate::BackingOff { .. } => {}
        }
    }

    /// Whether a group may be taken here now; if not, the line is raised for it.
    pub(super) fn may_take(&mut self, cx: &Context<'_>) -> bool {
        let is_open = cx.settings.interlock.is_none()
            || (self.interlock.gate == Gate::Open && (self.is_line_free(cx) || self.holds_beside_living(cx)));
        self.interlock.is_wanted |= !is_open;
        is_open
    }

    /// Whether this board holds a part while the partner lives and tells what it holds itself. A silent one may hold the
    /// rest, and then only its line tells.
    fn holds_beside_living(&self, cx: &Context<'_>) -> bool {
        self.holds_any() && self.partner_status(cx) != Some(NodeStatus::Dead)
    }

    /// Whether beats and line agree that the partner holds the service: without that a running group is not released.
    pub(super) fn line_agrees(&self, cx: &Context<'_>) -> bool {
        cx.settings.interlock.is_none()
            || self.is_stuck_line(InputLine::PeerOwner)
            || self.lines.level(InputLine::PeerOwner) != LineLevel::Inactive
    }

    /// Whether anything is in use here, or may be: an earlier daemon of this boot had left it running.
    pub(super) fn holds_any(&self) -> bool {
        let is_used = |group: &Group| match group.state() {
            GroupState::Starting | GroupState::Running | GroupState::Stopping | GroupState::StopFailed => true,
            GroupState::Unknown => group.is_inherited,
            GroupState::Stopped | GroupState::StartFailed => false,
        };
        self.groups.iter().any(|group| group.is_claimed() || is_used(group))
    }

    /// The same of a living nullbeat, by its last word.
    pub(super) fn partner_holds_any(&self, cx: &Context<'_>) -> bool {
        self.partner_extension(cx).is_some_and(|extension| {
            let states = &extension.groups[..self.groups.len()];
            !extension.claims.is_empty() || states.iter().any(|state| state.is_in_use())
        })
    }

    /// What is to be given to the partner, of what could be: one board holds all or nothing, so when one group may not move,
    /// none does.
    pub(super) fn all_or_nothing(&self, cx: &Context<'_>, groups: GroupSet, movable: GroupSet) -> GroupSet {
        match cx.settings.interlock {
            Some(_) if !groups.is_empty() && movable == self.claims() => movable,
            Some(_) => GroupSet::EMPTY,
            None => groups,
        }
    }

    /// Whether the partner's line, or what stands in for it, lets this node start something.
    fn is_line_free(&self, cx: &Context<'_>) -> bool {
        let is_stuck = self.is_stuck_line(InputLine::PeerOwner);
        let is_low = self.lines.level(InputLine::PeerOwner) == LineLevel::Inactive && !is_stuck;
        let Some(partner) = cx.settings.partner else { return true };
        if is_planted(Bug::IgnorePeerOwner) || self.partner.has_left || is_low {
            return true;
        }
        if self.partner_status(cx) == Some(NodeStatus::Dead) {
            // A cut wire is no permission.
            return self.has_partner_no_power();
        }
        // What a living partner says of itself is judged with the permit; a Heartbeat drives no line.
        is_stuck || !cx.comms.peer(partner).is_nullbeat
    }

    /// Whether the dead partner's board is known to be off: then nobody drives its line, and it reads as high.
    fn has_partner_no_power(&self) -> bool {
        let is_low = self.lines.level(InputLine::PeerPower) == LineLevel::Inactive;
        is_low && !self.is_stuck_line(InputLine::PeerPower) || self.is_partner_off()
    }

    /// Whether the partner's line says that it holds the service, as far as it is to be believed.
    pub(super) fn is_line_taken(&self, cx: &Context<'_>) -> bool {
        let is_high = self.lines.level(InputLine::PeerOwner) == LineLevel::Active;
        let is_off = self.partner_status(cx) == Some(NodeStatus::Dead) && self.has_partner_no_power();
        cx.settings.interlock.is_some() && is_high && !self.is_stuck_line(InputLine::PeerOwner) && !is_off
    }

    /// Raises and lowers the own line as what was just decided calls for.
    pub(super) fn gate_step(&mut self, cx: &mut Context<'_>) {
        let is_wanted = core::mem::take(&mut self.interlock.is_wanted);
        self.note_contradictions(cx);
        match (cx.settings.interlock, cx.settings.has_owner_line) {
            (Some(_), _) => {}
            (None, true) => return self.show_step(cx),
            (None, false) => return,
        }
        let (now, holds) = (cx.at.now, self.holds_any());
        self.interlock.wanted_at = match self.interlock.wanted_at {
            _ if holds => None,
            // An answer that is waited for may take a slow line longer than two keepalives.
            _ if is_wanted || self.needs_answer => Some(now),
            // What the partner says comes and goes: the line does not follow each word.
            before => before.filter(|at| now < *at + cx.settings.keepalive.saturating_mul(2)),
        };
        let is_needed = holds || self.interlock.wanted_at.is_some();
        match self.interlock.gate {
            Gate::Down if is_needed => self.raise_line(cx),
            Gate::BackingOff { until } if holds || is_wanted && (until <= now || self.is_line_free(cx)) => {
                self.raise_line(cx);
            }
            Gate::Raising { since } if is_needed && since + SET_AGAIN <= now => self.raise_line(cx),
            Gate::Settling { until } if is_needed && (holds || until <= now) => self.read_line(cx, holds),
            Gate::Open if is_wanted && !holds => {
                self.interlock.gate = Gate::Settling { until: now };
                self.read_line(cx, holds);
            }
            Gate::Raising { .. } | Gate::Settling { .. } | Gate::Open if !is_needed => {
                self.lower_line(cx, Gate::Down);
            }
            Gate::Down | Gate::BackingOff { .. } => self.keep_low(cx),
            Gate::Raising { .. } | Gate::Settling { .. } | Gate::Open => {}
        }
        let is_dead = self.partner_status(cx) == Some(NodeStatus::Dead);
        let is_blocked = is_wanted && is_dead && !self.is_line_free(cx);
        self.raise(cx, Alarm::Interlocked, is_blocked);
    }

    fn raise_line(&mut self, cx: &mut Context<'_>) {
        self.interlock.gate = Gate::Raising { since: cx.at.now };
        if self.has_guardian {
            cx.act(Action::SetOwner { is_owner: true });
        }
    }

    fn lower_line(&mut self, cx: &mut Context<'_>, gate: Gate) {
        self.interlock.gate = gate;
        self.interlock.lowered_at = None;
        self.keep_low(cx);
    }

    /// Nobody knows how the line was left before the start, and a guardian that is away sets nothing: the partner must not
    /// wait for ever for a line that is up without reason.
    fn keep_low(&mut self, cx: &mut Context<'_>) {
        if self.keep_low_at().is_some_and(|at| at <= cx.at.now) {
            self.interlock.lowered_at = Some(cx.at.now);
            cx.act(Action::SetOwner { is_owner: false });
        }
    }

    /// When the line is to be set low (again), as far as is known.
    fn keep_low_at(&self) -> Option<Instant> {
        let is_up = self.lines.owner() != LineLevel::Inactive || self.interlock.lowered_at.is_none();
        (is_up && self.has_guardian).then(|| self.interlock.lowered_at.map_or(Instant::ZERO, |at| at + SET_AGAIN))
    }

    /// The own line is up for long enough. What is in use here already does not wait for the partner's.
    fn read_line(&mut self, cx: &mut Context<'_>, holds: bool) {
        if !holds && !cx.has_read_all {
            self.waits_for_tick = true;
        } else if holds || self.is_line_free(cx) {
            self.interlock.gate = Gate::Open;
            self.interlock.back_offs = 0;
            self.waits_for_tick = true;
        } else if !self.is_preferred(cx, GroupId(0)) {
            let pause = BACK_OFF_FIRST.saturating_mul(1 << self.interlock.back_offs.min(6)).min(BACK_OFF_LAST);
            self.interlock.back_offs = self.interlock.back_offs.saturating_add(1);
            self.lower_line(cx, Gate::BackingOff { until: cx.at.now + pause });
        }
    }

    /// When the interlock has something to do.
    pub(super) fn gate_deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        let gate = match self.interlock.gate {
            Gate::Raising { since } => Some(since + SET_AGAIN),
            Gate::BackingOff { until } => Some(self.keep_low_at().map_or(until, |at| at.min(until))),
            Gate::Settling { until } => Some(until),
            Gate::Down => self.keep_low_at(),
            Gate::Open => None,
        };
        gate.into_iter().chain(self.doubts_deadline(cx)).filter(|at| *at > cx.at.now).min()
    }
}
