//! A late node does not judge (design.md rule 4).
//!
//! Somebody who was asleep hears nothing. Before such a node takes the silence of another for death it lets pass one
//! keepalive more, counted from the moment at which it found out, and hears who speaks up.

use super::complaints::Complaint;
use super::{Comms, Happening, Happenings, tell};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::Settings;
use crate::core::time::{Duration, Instant, Stamp};

/// Delays below this are ordinary scheduling, whatever the keepalive.
const TOLERANCE_MIN: Duration = Duration::from_millis(20);

/// What is known of our own punctuality.
#[derive(Debug, Clone, Default)]
pub(super) struct Lateness {
    judge_not_before: Instant,
    /// The last input found us late. One delay makes one happening, however many packets that arrived meanwhile are
    /// handled before the missed deadline has its turn.
    is_late: bool,
    /// When the last input was handled: a pause after it is a new delay. Before the first one nothing was asked for.
    handled: Option<Instant>,
    /// The beat after which we overslept, told once.
    overslept: Option<Instant>,
}

impl Lateness {
    /// Whether silence may be taken for death.
    pub(super) fn may_judge(&self, now: Instant) -> bool {
        now >= self.judge_not_before || is_planted(Bug::JudgeWhileLate)
    }

    /// The moment at which a verdict that would fall at `verdict` may be spoken.
    pub(super) fn postpone(&self, verdict: Instant) -> Instant {
        if is_planted(Bug::JudgeWhileLate) { verdict } else { verdict.max(self.judge_not_before) }
    }
}

impl Comms {
    /// The first thing with every input: compares the clock with `asked`, the deadline of before it. A deadline missed by
    /// more than half a keepalive (at least 20 ms) is [`Happening::Late`] and suspends every judgement for one
    /// keepalive; more than the dead time that we had announced since our last beat is [`Happening::Overslept`].
    pub fn notice_lateness(&mut self, settings: &Settings, at: Stamp, asked: Instant, happenings: &mut Happenings) {
        let by = at.now.since(asked);
        // Nearly always: what is within every tolerance needs no closer look.
        let is_punctual = by <= TOLERANCE_MIN;
        let tolerance = if is_punctual { TOLERANCE_MIN } else { self.tolerance(at.now) };
        let handled = self.lateness.handled.replace(at.now);
        let was_late = core::mem::replace(&mut self.lateness.is_late, by > tolerance);
        if by <= tolerance {
            return;
        }
        let grace = settings.keepalive;
        self.lateness.judge_not_before = at.now + grace;
        let Some(handled) = handled else { return };
        let ms = u32::try_from(by.as_millis()).unwrap_or(u32::MAX);
        self.counters.late_max_ms = self.counters.late_max_ms.max(ms);
        if !was_late || at.now.since(handled) > tolerance {
            self.counters.late += 1;
            if let Some(swallowed) = self.complaints.admit(Complaint::Late, at.now) {
                let wait = grace.as_millis();
                log::warn!("this node was late by {ms} ms: judging nobody for {wait} ms{swallowed}");
            }
            tell(happenings, Happening::Late { by });
        }
        self.notice_oversleeping(at.now, happenings);
    }

    fn tolerance(&self, now: Instant) -> Duration {
        (self.beat_interval(now) / 2).max(TOLERANCE_MIN)
    }

    fn notice_oversleeping(&mut self, now: Instant, happenings: &mut Happenings) {
        let Some((last, announced)) = self.beats.last_said() else { return };
        if now.since(last) < announced || self.lateness.overslept == Some(last) {
            return;
        }
        self.lateness.overslept = Some(last);
        let silent_ms = now.since(last).as_millis();
        let announced_ms = announced.as_millis();
        log::error!("this node was silent for {silent_ms} ms, longer than its dead time of {announced_ms} ms");
        tell(happenings, Happening::Overslept);
    }
}
