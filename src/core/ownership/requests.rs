//! What operators ask for, and what they are answered (weakness 24: always the outcome).

use super::handover::ANSWER_TIME;
use super::leaving::Leaving;
use super::{Context, Group, Ownership, Phase};
use crate::core::ids::{GroupId, GroupSet, RequestId};
use crate::core::message::{Body, GroupState, Holds, NodeStatus};
use crate::core::planted::{Bug, is_planted};
use crate::core::time::{Duration, Instant};
use crate::core::{Action, Alarm, Cause, Failure, Outcome, Refusal, Request};

/// How long the scripts of a takeover may take before the operator is told that it did not happen.
const START_TIME: Duration = Duration::from_secs(3600);

/// A request whose outcome is not known yet; those of hand-overs travel with the hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// We have asked the partner to give: done when the groups run here.
    Take { id: RequestId, groups: GroupSet, until: Instant },
    /// The groups start here without a hand-over.
    Start { id: RequestId, groups: GroupSet, until: Instant },
    /// The daemon ends.
    Stop { id: RequestId },
}

impl Ownership {
    /// Takes a request. Every request is answered exactly once, now or later.
    pub(in crate::core) fn request(&mut self, cx: &mut Context<'_>, id: RequestId, request: Request) {
        // One place is kept for `Stop`: it is never refused for want of room.
        let room = self.waiting.capacity() - self.waiting.len();
        match (request, room) {
            (Request::Stop, 0) => {
                self.leave(cx);
                return reply(cx, id, Outcome::Refused(Refusal::ShuttingDown));
            }
            (Request::Stop, _) | (_, 2..) => {}
            _ => return reply(cx, id, Outcome::Refused(Refusal::Busy)),
        }
        match request {
            Request::Standby(set) => self.request_standby(cx, id, set),
            Request::Takeover(set) => self.request_takeover(cx, id, set),
            Request::Obtain(group) => self.request_obtain(cx, id, group),
            Request::Failback(set) => self.request_failback(cx, id, set),
            Request::ConfirmFence => self.request_confirm_fence(cx, id),
            Request::Hold => {
                let outcome = if self.is_held { Outcome::Nothing } else { Outcome::Done };
                self.hold(cx, true);
                reply(cx, id, outcome);
            }
            Request::Resume => {
                let outcome = if self.is_held
                    || self.has_grudge()
                    || self.has_fence_grudge()
                    || self.moves.is_latched(cx.settings, cx.at.now)
                    || [Alarm::MovesLatched, Alarm::MessagesLost].iter().any(|alarm| self.alarms.contains(*alarm))
                {
                    Outcome::Done
                } else {
                    Outcome::Nothing
                };
                self.hold(cx, false);
                self.resume(cx);
                reply(cx, id, outcome);
            }
            Request::Stop => {
                self.wait(Waiting::Stop { id });
                self.leave(cx);
            }
        }
    }

    fn wait(&mut self, waiting: Waiting) {
        let is_full = self.waiting.push(waiting).is_err();
        assert!(!is_full, "fullness was checked when the request came in");
    }

    fn hold(&mut self, cx: &mut Context<'_>, is_held: bool) {
        if self.is_held != is_held {
            log::info!("Decisions are {}", if is_held { "held by an operator" } else { "resumed" });
            self.is_held = is_held;
            self.raise(cx, Alarm::Held, is_held);
            self.wants_extension = true;
        }
    }

    fn has_grudge(&self) -> bool {
        let is_grave = |group: &Group| matches!(group.state(), GroupState::StartFailed | GroupState::StopFailed);
        self.groups.iter().any(is_grave) || self.health.has_grudge()
    }

    /// An operator has repaired something: pauses and the latch begin anew.
    fn resume(&mut self, cx: &mut Context<'_>) {
        self.moves.forget();
        self.forgive_fence();
        self.health.forgive_all();
        self.offer_not_before = None;
        self.forget_losses(cx);
        self.raise(cx, Alarm::MovesLatched, false);
        for group in &mut self.groups {
            group.forgive();
            group.retry_soon(cx.at.now);
        }
    }

    fn request_standby(&mut self, cx: &mut Context<'_>, id: RequestId, set: Holds) {
        let groups = self.groups_of(cx, set);
        let has_some = self.groups.iter().any(|group| groups.contains(group.id()) && group.is_claimed());
        if let Some(refusal) = self.refusal(cx) {
            return reply(cx, id, Outcome::Refused(refusal));
        }
        if !has_some {
            return reply(cx, id, Outcome::Nothing);
        }
        self.offer(cx, set, groups, Cause::Operator, Some(id));
    }

    fn request_takeover(&mut self, cx: &mut Context<'_>, id: RequestId, set: Holds) {
        let wanted = self.groups_of(cx, set);
        let has_all = self.groups.iter().all(|group| !wanted.contains(group.id()) || group.is_claimed());
        if cx.settings.partner.is_none() {
            return reply(cx, id, Outcome::Refused(Refusal::NoPart));
        }
        if matches!(self.phase, Phase::Leaving(_)) {
            return reply(cx, id, Outcome::Refused(Refusal::ShuttingDown));
        }
        if has_all {
            return reply(cx, id, Outcome::Nothing);
        }
        if !self.has_guardian {
            return reply(cx, id, Outcome::Refused(Refusal::NoGuardian));
        }
        if self.phase == Phase::Stable && self.partner_status(cx) == Some(NodeStatus::Dead) {
            log::warn!("An operator vouches for {} being off", cx.partner_name());
            self.partner.vouched = self.partner.vouched | wanted;
            self.raise(cx, Alarm::NeedsOperator, false);
            self.wait(Waiting::Start { id, groups: wanted, until: cx.at.now + START_TIME });
            return;
        }
        if let Some(refusal) = self.refusal(cx) {
            return reply(cx, id, Outcome::Refused(refusal));
        }
        cx.send(None, Body::Takeover { set: Some(set) });
        self.wait(Waiting::Take { id, groups: wanted, until: cx.at.now + ANSWER_TIME });
    }

    fn request_obtain(&mut self, cx: &mut Context<'_>, id: RequestId, group: GroupId) {
        let Some(known) = self.groups.get(usize::from(group.0)) else {
            return reply(cx, id, Outcome::Refused(Refusal::NoPart));
        };
        if known.is_claimed() {
            return reply(cx, id, Outcome::Nothing);
        }
        if !self.is_partner_alive(cx) {
            // A script does not vouch for the partner being off.
            return reply(cx, id, Outcome::Refused(Refusal::PartnerAbsent));
        }
        let side = if self.is_preferred(cx, group) { Holds::LOCAL } else { Holds::FOREIGN };
        self.request_takeover(cx, id, side);
    }

    fn request_failback(&mut self, cx: &mut Context<'_>, id: RequestId, set: Holds) {
        let abroad: GroupSet = self
            .groups
            .iter()
            .filter(|group| group.is_claimed() && set.foreign && !self.is_preferred(cx, group.id()))
            .map(Group::id)
            .collect();
        if !abroad.is_empty() {
            return match self.refusal(cx) {
                Some(refusal) => reply(cx, id, Outcome::Refused(refusal)),
                None => self.offer(cx, Holds::FOREIGN, abroad, Cause::Failback, Some(id)),
            };
        }
        let is_away = set.local && self.groups.iter().any(|g| self.is_preferred(cx, g.id()) && !g.is_claimed());
        match self.refusal(cx) {
            _ if !is_away => reply(cx, id, Outcome::Nothing),
            // Of a silent partner only `takeover` says that it is off.
            Some(refusal) => reply(cx, id, Outcome::Refused(refusal)),
            None => self.request_takeover(cx, id, Holds::LOCAL),
        }
    }

    /// Answers what can be answered by now.
    pub(super) fn requests_step(&mut self, cx: &mut Context<'_>) {
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index).copied() {
            match self.outcome_of(cx, waiting) {
                Some((id, outcome)) => {
                    self.waiting.swap_remove(index);
                    reply(cx, id, outcome);
                }
                None => index += 1,
            }
        }
    }

    fn outcome_of(&mut self, cx: &Context<'_>, waiting: Waiting) -> Option<(RequestId, Outcome)> {
        let is_leaving = matches!(self.phase, Phase::Leaving(_));
        match waiting {
            Waiting::Take { id, .. } | Waiting::Start { id, .. } if is_leaving => {
                Some((id, Outcome::Failed(Failure::Cancelled)))
            }
            Waiting::Take { id, groups, until } => self.started(groups).map(|outcome| (id, outcome)).or_else(|| {
                if !self.handover.is_none() || self.groups.iter().any(|g| groups.contains(g.id()) && g.is_busy()) {
                    return None;
                }
                if !self.is_partner_alive(cx) {
                    return Some((id, Outcome::Failed(Failure::PartnerDied)));
                }
                (until <= cx.at.now).then_some((id, Outcome::Refused(Refusal::NoAnswer)))
            }),
            Waiting::Start { id, groups, until } => self.started(groups).map(|outcome| (id, outcome)).or_else(|| {
                // The partner came back and has what is not here, or the scripts have not run within an hour.
                let is_over = until <= cx.at.now || self.is_partner_alive(cx);
                (is_over && !self.groups.iter().any(|g| groups.contains(g.id()) && g.is_busy()))
                    .then_some((id, Outcome::Refused(Refusal::PartnerInFlux)))
            }),
            Waiting::Stop { id } => match self.phase {
                Phase::Leaving(Leaving::Gone) => Some((id, Outcome::Done)),
                Phase::Leaving(Leaving::Releasing) => {
                    let stuck = self.groups.iter().find(|group| group.state() == GroupState::StopFailed)?;
                    Some((id, Outcome::Failed(Failure::Stop(stuck.id()))))
                }
                _ => None,
            },
        }
    }

    /// Whether all of these have come to an end here.
    fn started(&self, groups: GroupSet) -> Option<Outcome> {
        let mut outcome = Outcome::Done;
        for group in self.groups.iter().filter(|group| groups.contains(group.id())) {
            match group.state() {
                GroupState::Running if group.is_claimed() => {}
                GroupState::StartFailed if group.is_claimed() => outcome = Outcome::Failed(Failure::Start(group.id())),
                GroupState::StopFailed => outcome = Outcome::Failed(Failure::Stop(group.id())),
                _ => return None,
            }
        }
        Some(outcome)
    }

    pub(super) fn end_request(&self, cx: &mut Context<'_>, id: Option<RequestId>, outcome: Outcome) {
        if let Some(id) = id {
            reply(cx, id, outcome);
        }
    }

    pub(super) fn requests_deadline(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .filter_map(|waiting| match waiting {
                Waiting::Take { until, .. } | Waiting::Start { until, .. } => Some(*until),
                Waiting::Stop { .. } => None,
            })
            .min()
    }
}

pub(super) fn reply(cx: &mut Context<'_>, id: RequestId, outcome: Outcome) {
    if matches!(outcome, Outcome::Refused(_)) && is_planted(Bug::ForgetAnswer) {
        return;
    }
    if outcome == Outcome::Done && is_planted(Bug::AnswerTwice) {
        cx.act(Action::Reply { id, outcome });
    }
    cx.act(Action::Reply { id, outcome });
}
