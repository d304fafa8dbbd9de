//! What is taken, and by which right.

use super::permit::Permit;
use super::{Context, LEFT_TIME, Ownership};
use crate::core::Cause;
use crate::core::ids::{GroupId, Seq};
use crate::core::message::{GroupState, NodeStatus};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::TakeoverPolicy;
use crate::core::time::Duration;

impl Ownership {
    /// Takes what nobody claims and a permit allows. A node that was late first hears what became of its permit.
    pub(super) fn acquire_unclaimed(&mut self, cx: &mut Context<'_>) {
        if !cx.comms.may_judge(cx.at.now) {
            return;
        }
        let cause = self.acquisition_cause(cx);
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            let is_free = matches!(group.state(), GroupState::Stopped | GroupState::StartFailed);
            let is_frozen = self.is_held() && !self.partner.vouched.contains(group.id());
            if group.is_claimed() || group.is_busy() || !is_free || is_frozen {
                continue;
            }
            let id = group.id();
            if self.is_legacy(cx) {
                if self.is_preferred(cx, id) && self.has_grant(cx, id) && self.may_start(cx, false) && self.may_take(cx)
                {
                    self.spend_grant(id);
                    self.acquire(cx, id, Permit::released_by_partner(), cause);
                }
                continue;
            }
            if let Some(permit) = self.permit_for(cx, id) {
                // Asked while the line settles, too: what the partner says must be young when it has.
                let may_start = self.may_start(cx, permit.is_by_partners_word());
                if self.may_take(cx) && may_start {
                    self.acquire(cx, id, permit, cause);
                }
            }
        }
        self.acquire_phantoms(cx);
    }

    /// Whether something may be started now. Our clock may have stood still together with the board (a paused virtual
    /// machine): then nothing tells that what has arrived is old, and that the partner has taken over meanwhile. So
    /// everything that has arrived is read first; and what a living nullbeat has said counts only when it says so once
    /// more, in answer to something of ours that left after it was to be acted on.
    pub(super) fn may_start(&mut self, cx: &Context<'_>, is_by_partners_word: bool) -> bool {
        if is_by_partners_word && !self.has_answer(cx) {
            return false;
        }
        self.waits_for_tick |= !cx.has_read_all;
        cx.has_read_all
    }

    pub(super) fn has_answer(&mut self, cx: &Context<'_>) -> bool {
        if !self.is_partner_alive(cx) || self.partner.has_left {
            return true;
        }
        let Some(extension) = self.partner_extension(cx) else { return !self.is_partner_mute(cx) };
        self.needs_answer = true;
        let Some(asked) = self.asked_seq else {
            self.asked_seq = Some(Seq(cx.comms.own_seq().0 + 1));
            self.wants_extension = true;
            return false;
        };
        self.is_heard_fresh(cx) && extension.echo_seq >= asked
    }

    /// Whether the partner shall answer at once.
    pub(in crate::core) fn is_asking(&self, cx: &Context<'_>) -> bool {
        self.asked_seq.is_some()
            || self.handover.waits_for_proof()
            || self.is_in_doubt
            || self.is_lease_asking(cx.settings, cx.at.now)
    }

    /// Whether the next tick is wanted as soon as nothing else has arrived.
    pub(in crate::core) const fn waits_for_tick(&self) -> bool {
        self.waits_for_tick
    }

    pub(super) fn acquisition_cause(&self, cx: &Context<'_>) -> Cause {
        match self.partner_status(cx) {
            _ if !self.partner.vouched.is_empty() => Cause::Operator,
            _ if self.partner.has_left => Cause::Goodbye,
            Some(NodeStatus::Dead) => Cause::Death,
            _ => Cause::Startup,
        }
    }

    pub(super) fn acquire(&mut self, cx: &mut Context<'_>, id: GroupId, permit: Permit, cause: Cause) {
        let index = usize::from(id.0);
        let is_foreign = cx.settings.groups[index].preferred != cx.settings.local;
        self.show_owner(cx);
        let group = &mut self.groups[index];
        group.acquire(cx, permit, cause);
        group.is_guest = is_foreign && matches!(cause, Cause::Death | Cause::Goodbye | Cause::Upstream | Cause::Health);
        group.is_refugee = cause == Cause::StartFailure;
        self.claim_seq[index] = Seq(cx.comms.own_seq().0 + 1);
        self.health.forgive(id);
        self.wants_extension = true;
    }

    /// The permit that the facts give for a group that nobody here claims.
    pub(super) fn permit_for(&self, cx: &Context<'_>, id: GroupId) -> Option<Permit> {
        let is_preferred = self.is_preferred(cx, id);
        let Some(status) = self.partner_status(cx) else {
            return is_preferred.then(Permit::no_partner);
        };
        if self.partner.has_left {
            return Some(Permit::released_by_partner());
        }
        if status == NodeStatus::Dead {
            let is_fenced = cx.settings.fence.is_configured() && !is_planted(Bug::SkipFence);
            return match (self.fence_proof(cx), cx.settings.takeover_policy) {
                _ if self.partner.vouched.contains(id) => Some(Permit::operator_word()),
                (Some(proof), _) => Some(Permit::fenced(proof)),
                (None, _) if !is_fenced && cx.settings.interlock.is_some() => Some(Permit::interlocked()),
                (None, TakeoverPolicy::Available) if !is_fenced => Some(Permit::availability()),
                (None, TakeoverPolicy::Safe) if !is_fenced && is_planted(Bug::TakeWithoutProof) => {
                    Some(Permit::availability())
                }
                (None, TakeoverPolicy::Available | TakeoverPolicy::Safe) => None,
            };
        }
        if self.is_partner_mute(cx) || self.partner_may_use(cx, id) {
            return None;
        }
        let is_current = match self.partner_extension(cx) {
            Some(_) => self.is_heard_fresh(cx) && self.extension_seq > self.outdated_seq,
            None => self.partner.is_known,
        };
        // A Heartbeat takes nothing of a side that we announce: what of it does not run here would run nowhere.
        let (ours, is_heartbeat) = (self.wire_holds(), self.partner_extension(cx).is_none());
        if is_heartbeat && is_current && if is_preferred { ours.local } else { ours.foreign } {
            return Some(Permit::never_given_away());
        }
        if !is_preferred && is_current && self.rests(cx, LEFT_TIME) {
            return Some(Permit::left_by_partner());
        }
        if !is_current || cx.settings.interlock.is_none() || is_heartbeat {
            return (is_preferred && is_current).then(Permit::unclaimed_by_partner);
        }
        // The line between the boards knows no groups: who holds a part takes the rest.
        match (self.holds_any(), self.partner_holds_any(cx)) {
            (true, false) if !is_preferred => Some(Permit::held_in_part()),
            (false, true) => None,
            _ => is_preferred.then(Permit::unclaimed_by_partner),
        }
    }

    /// Whether the partner is a Heartbeat that has called itself stable for `time`, with nobody's decisions held here.
    pub(in crate::core) fn rests(&self, cx: &Context<'_>, time: Duration) -> bool {
        let is_old = |since| cx.at.now.since(since) >= time;
        self.is_partner_heartbeat(cx) && self.partner_rests_since.is_some_and(is_old)
    }

    /// Sides without groups follow the same rules; there is nothing to start.
    pub(super) fn acquire_phantoms(&mut self, cx: &Context<'_>) {
        let partner_is_gone = self.partner.has_left
            || match self.partner_status(cx) {
                None => true,
                Some(status) => status == NodeStatus::Dead,
            };
        let holds = self.partner_holds();
        self.phantom.local = partner_is_gone || !holds.foreign;
        if partner_is_gone {
            self.phantom.foreign = true;
        } else if self.partner_extension(cx).is_some() {
            // Between two nullbeats an empty side needs no hand-over.
            self.phantom.foreign = false;
        }
    }

    /// Starts again what failed, or stops again what did not stop, when the pause is over. Nothing is started that the
    /// partner claims too: first one of the two lets go. Nor is it while a silent partner's line says that it holds the
    /// service: in the pause it may have taken it. Nor does a node that was late start anything.
    pub(super) fn retry_failed(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            if group.retry_at().is_none_or(|at| at > cx.at.now) {
                continue;
            }
            let is_contested = self.is_partner_alive(cx) && self.partner_may_use(cx, group.id());
            let (may_judge, is_stuck) = (cx.comms.may_judge(cx.at.now) && !is_contested, group.is_stuck());
            if is_stuck || (may_judge && self.may_take(cx) && self.may_start(cx, true)) {
                self.groups[index].retry(cx, Cause::StartFailure);
            }
        }
    }
}
