//! `auto_failback legacy` towards a Heartbeat (spec/resources.md 9.1, 10, 21 L): no `starting`, no `resource`, no
//! standby. Each node owns its own groups while it is up. One that comes back asks for each of them by `ip-request`; the
//! other stops what runs there and says `ip-request-resp`.
//!
//! The original asks once, and takes its groups unasked when the other node is not `active` yet; we ask again until we
//! are answered. It knows nothing of what the other node holds, and neither do we: nothing of a living one is taken.

use super::{Context, Ownership, Partner};
use crate::core::ids::{GroupId, GroupSet};
use crate::core::message::{Body, Holds, NodeStatus};
use crate::core::settings::AutoFailback;
use crate::core::time::{Duration, Instant};
use crate::core::{Alarm, Cause};

/// A partner that has said neither what only a nullbeat says nor what `auto_failback on|off` brings, for so long since
/// it was first heard, is in legacy mode.
const RECOGNITION: Duration = Duration::from_secs(2);
/// How often an unanswered `ip-request` is said again: a Heartbeat queues it behind its scripts.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What is between us and a partner in legacy mode.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Legacy {
    /// Since when the partner is alive.
    alive_since: Option<Instant>,
    /// It has said something that legacy mode has no words for.
    is_nice: bool,
    /// Our groups that the partner has let go at our request.
    granted: GroupSet,
    /// When to ask for the others.
    ask_at: Option<Instant>,
    /// The partner's groups that it wants back.
    wanted: GroupSet,
}

impl Ownership {
    /// Whether the hand-over of `auto_failback on|off` is spoken: by everybody but two that are configured for `legacy`
    /// and have not found out that they are both nullbeats.
    pub(super) fn speaks_nicely(&self, cx: &Context<'_>) -> bool {
        let is_nullbeat = cx.settings.partner.is_some_and(|partner| {
            let peer = cx.comms.peer(partner);
            peer.is_nullbeat || peer.extension.is_some()
        });
        cx.settings.auto_failback != AutoFailback::Legacy || is_nullbeat || self.legacy.is_nice
    }

    /// Whether the partner is a living Heartbeat in legacy mode.
    pub(super) fn is_legacy(&self, cx: &Context<'_>) -> bool {
        !self.speaks_nicely(cx)
            && !self.partner.has_left
            && self.is_partner_alive(cx)
            && self.legacy.alive_since.is_some_and(|since| cx.at.now >= since + RECOGNITION)
    }

    /// Keeps since when the partner is alive.
    pub(super) fn note_legacy(&mut self, cx: &Context<'_>) {
        if self.is_partner_alive(cx) && !self.partner.has_left {
            self.legacy.alive_since.get_or_insert(cx.at.now);
        } else {
            self.legacy = Legacy::default();
        }
    }

    /// The partner has said a word that legacy mode does not have.
    pub(super) fn heard_nice_word(&mut self, cx: &Context<'_>) {
        if cx.settings.auto_failback == AutoFailback::Legacy && !self.legacy.is_nice {
            self.legacy.is_nice = true;
            if !self.speaks_nicely(cx) {
                log::warn!("{} is not in legacy mode: auto_failback differs in the two ha.cf files", cx.partner_name());
            }
        }
    }

    /// The partner starts anew, or is back.
    pub(super) fn restart_legacy(&mut self, cx: &Context<'_>) {
        self.legacy = Legacy { alive_since: Some(cx.at.now), ..Legacy::default() };
    }

    /// A partner in legacy mode is back after a partition: it holds everything until it drops it (rule 1a), and if it
    /// does not, its own groups are its.
    pub(super) fn returned_legacy(&mut self, cx: &Context<'_>) {
        if !self.speaks_nicely(cx) {
            self.partner = Partner { holds: Holds::LOCAL, is_known: true, ..self.partner };
        }
    }

    /// Whether the partner has let this group of ours go. Asks, if it was not asked just now.
    pub(super) fn has_grant(&mut self, cx: &mut Context<'_>, id: GroupId) -> bool {
        if self.legacy.granted.contains(id) {
            return true;
        }
        let is_active = self.partner_status(cx) == Some(NodeStatus::Active);
        if is_active && self.legacy.ask_at.is_none_or(|at| at <= cx.at.now) {
            for group in self.groups_of(cx, Holds::LOCAL).iter() {
                if !self.groups[usize::from(group.0)].is_claimed() && !self.legacy.granted.contains(group) {
                    let body = Body::IpRequest { key: "", group: None };
                    cx.comms.send_about(cx.settings, cx.at, None, body, (None, Some(group)), cx.outbox);
                }
            }
            self.legacy.ask_at = Some(cx.at.now + ASK_AGAIN);
        }
        false
    }

    /// It is spent: the group starts.
    pub(super) fn spend_grant(&mut self, id: GroupId) {
        self.legacy.granted.remove(id);
    }

    pub(super) fn heard_ip_request_resp(&mut self, cx: &Context<'_>, group: Option<GroupId>, is_ok: bool) {
        let Some(id) = group.filter(|id| is_ok && self.is_legacy(cx) && self.is_preferred(cx, *id)) else { return };
        if !self.groups[usize::from(id.0)].is_claimed() {
            log::info!("received ip-request-resp {} OK", id.0);
            self.legacy.granted.insert(id);
        }
    }

    pub(super) fn heard_ip_request(&mut self, cx: &Context<'_>, group: Option<GroupId>) {
        if self.speaks_nicely(cx) {
            return;
        }
        match group {
            Some(id) if !self.is_preferred(cx, id) => self.legacy.wanted.insert(id),
            _ => log::warn!("{} asks for a group that is not its: not given", cx.partner_name()),
        }
    }

    /// Gives back what the partner wants, and says so when it is stopped. An operator's hold lets it wait, and so do
    /// `failback_delay` and the latch after many moves: a Heartbeat waits for its answer as long as it takes.
    pub(super) fn legacy_step(&mut self, cx: &mut Context<'_>) {
        if self.is_held() || !self.has_guardian {
            return;
        }
        let is_latched = self.moves.is_latched(cx.settings, cx.at.now);
        if self.is_legacy(cx) {
            self.raise(cx, Alarm::MovesLatched, is_latched);
        }
        let is_due = !is_latched && self.failback_at(cx).is_some_and(|at| cx.at.now >= at);
        let mut is_moving = false;
        for id in self.legacy.wanted.iter() {
            let index = usize::from(id.0);
            let group = &mut self.groups[index];
            if group.is_held() {
                if is_due && group.is_announced() && !group.is_stuck() {
                    group.release(cx, Cause::Failback);
                    is_moving = true;
                }
                continue;
            }
            self.legacy.wanted.remove(id);
            let body = Body::IpRequestResp { key: "", group: None, is_ok: true };
            cx.comms.send_about(cx.settings, cx.at, cx.settings.partner, body, (None, Some(id)), cx.outbox);
        }
        if is_moving {
            // Groups that go together are one move, as in a hand-over.
            self.note_move(cx, Cause::Failback);
            self.note_decision(cx, Cause::Failback);
        }
    }

    /// When the partner has been back for `failback_delay`.
    fn failback_at(&self, cx: &Context<'_>) -> Option<Instant> {
        self.legacy.alive_since.map(|since| since + cx.settings.failback_delay)
    }

    pub(super) fn legacy_deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        if self.speaks_nicely(cx) {
            return None;
        }
        let recognised = self.legacy.alive_since.map(|since| since + RECOGNITION);
        let failback = self.failback_at(cx).filter(|_| !self.legacy.wanted.is_empty());
        recognised.into_iter().chain(self.legacy.ask_at).chain(failback).filter(|at| *at > cx.at.now).min()
    }
}
