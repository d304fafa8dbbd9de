//! Going down: release everything, say so, end (spec/resources.md section 12).

use super::{Context, Group, Ownership, Phase};
use crate::core::ids::Seq;
use crate::core::message::{Body, GroupState, ResourceInfo};
use crate::core::planted::{Bug, is_planted};
use crate::core::time::{Duration, Instant};
use crate::core::{Action, Cause};

/// A Heartbeat may ask for lost messages up to half a second later (spec/wire.md 8.4): stay that long.
const FAREWELL_HEARTBEAT: Duration = Duration::from_millis(600);
/// A nullbeat tells at once that it has heard `shutdone`; a deaf one is not waited for longer than this.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// How often `shutdone` is said again meanwhile to a nullbeat. A Heartbeat would take over anew for each, and start groups
/// for seconds after we are back; it asks for what it has missed.
const FAREWELL_REPEAT: Duration = Duration::from_millis(50);

/// How far the shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Stop scripts run.
    Releasing,
    /// `shutdone` is said; the partner may need to hear it again.
    Saying {
        /// Its first number.
        seq: Seq,
        /// When to say it again.
        again_at: Instant,
        /// When to go in any case.
        until: Instant,
    },
    /// Nothing more to do.
    Gone,
}

impl Ownership {
    /// Begins the shutdown. Does nothing when it has begun.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Leaving(_)) {
            log::info!("Heartbeat shutdown already underway.");
            return;
        }
        log::info!("Heartbeat shutdown in progress.");
        self.cancel_handover(cx);
        let has_negotiated = !matches!(self.phase, Phase::Waiting);
        self.phase = Phase::Leaving(Leaving::Releasing);
        self.fence_step(cx);
        if has_negotiated {
            self.send_resource(cx, ResourceInfo::Shutdown);
        }
        if self.groups.iter().any(Group::is_held) {
            log::info!("Giving up all HA resources.");
        }
        self.wants_extension = true;
        self.leaving_step(cx, Leaving::Releasing);
    }

    pub(super) fn leaving_step(&mut self, cx: &mut Context<'_>, leaving: Leaving) {
        match leaving {
            Leaving::Releasing => self.releasing_all(cx),
            Leaving::Saying { seq, again_at, until } => self.saying(cx, seq, again_at, until),
            Leaving::Gone => {}
        }
    }

    fn releasing_all(&mut self, cx: &mut Context<'_>) {
        self.retry_failed(cx);
        let mut is_held = false;
        for group in &mut self.groups {
            let is_probing = group.state() == GroupState::Unknown && group.is_busy();
            let is_stuck = group.state() == GroupState::StopFailed;
            if !is_probing && !is_stuck {
                group.release(cx, Cause::Shutdown);
            }
            is_held |= group.is_held();
        }
        self.requests_step(cx);
        if is_held && !is_planted(Bug::LeaveInUse) {
            return;
        }
        log::info!("All HA resources relinquished.");
        self.forget_confirmation();
        let seq = Seq(cx.comms.own_seq().0 + 1);
        if cx.takes_part() {
            cx.send(None, Body::ShutDone);
        }
        let is_nullbeat = self.partner_extension(cx).is_some();
        let is_alive = self.is_partner_alive(cx) && !self.partner.has_left;
        let (repeat, wait) = match (is_alive, is_nullbeat) {
            (false, _) => (Duration::ZERO, Duration::ZERO),
            (true, true) => (FAREWELL_REPEAT, FAREWELL_MAX),
            (true, false) => (FAREWELL_HEARTBEAT, FAREWELL_HEARTBEAT),
        };
        let now = cx.at.now;
        self.phase = Phase::Leaving(Leaving::Saying { seq, again_at: now + repeat, until: now + wait });
        self.wants_extension = true;
        self.saying(cx, seq, now + repeat, now + wait);
    }

    fn saying(&mut self, cx: &mut Context<'_>, seq: Seq, again_at: Instant, until: Instant) {
        let has_heard = self
            .partner_extension(cx)
            .is_some_and(|extension| extension.echo_generation == cx.identity.generation && extension.echo_seq >= seq);
        if has_heard || until <= cx.at.now || !self.is_partner_alive(cx) || self.partner.has_left {
            self.phase = Phase::Leaving(Leaving::Gone);
            self.requests_step(cx);
            log::info!("{} Heartbeat shutdown complete.", cx.local_name());
            cx.act(Action::Exit);
        } else if again_at <= cx.at.now {
            cx.send(None, Body::ShutDone);
            let again_at = cx.at.now + FAREWELL_REPEAT;
            self.phase = Phase::Leaving(Leaving::Saying { seq, again_at, until });
        }
    }

    pub(super) fn leaving_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Leaving(Leaving::Saying { again_at, until, .. }) => Some(again_at.min(until)),
            _ => None,
        }
    }
}
