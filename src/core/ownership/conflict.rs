//! Two holders meet (design.md rule 1): who lets go.

use super::{Context, Group, Ownership};
use crate::core::ids::{GroupId, GroupSet, Seq};
use crate::core::message::{Extension, GroupState, Holds};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::SplitBrainLoser;
use crate::core::time::{Duration, Instant};
use crate::core::{Alarm, Cause};

/// How long a Heartbeat that comes back after a partition may take to begin dropping its resources: it does so 2 s
/// after the heal (spec/resources.md section 13); then it did not see the partition, and we are the ones to let go.
const HEARTBEAT_DROP_TIME: Duration = Duration::from_secs(10);
/// Shortest time for which a partner may claim without hearing us before we let go (rule 1b).
const DEAF_TIME_MIN: Duration = Duration::from_millis(500);

/// What has to last before it counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Conflict {
    /// Since when the partner claims what we claim, without hearing us.
    deaf_since: Option<Instant>,
    /// Since when the bits of a Heartbeat claim what we claim.
    bits_since: Option<Instant>,
}

impl Conflict {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What one comparison with the partner's claims says.
enum Verdict {
    Keep,
    Release,
}

impl Ownership {
    /// Looks for groups that both nodes claim, and lets go of those that are ours to let go.
    pub(super) fn resolve_conflicts(&mut self, cx: &mut Context<'_>) {
        if !self.is_partner_alive(cx) || self.partner.has_left {
            self.conflict.clear();
            if self.partner.has_left {
                self.note_let_go(cx, Holds::NONE);
            }
            return;
        }
        match self.partner_extension(cx) {
            Some(extension) => {
                let is_heard = extension.hears_partner && extension.echo_generation == cx.identity.generation;
                self.resolve_claims(cx, extension.claims, is_heard.then_some(extension.echo_seq));
            }
            None => self.resolve_bits(cx),
        }
    }

    /// Between nullbeats: per group. `heard`: the last of our numbers that the partner has heard, if it hears this run.
    fn resolve_claims(&mut self, cx: &mut Context<'_>, theirs: GroupSet, heard: Option<Seq>) {
        self.conflict.bits_since = None;
        // What an earlier daemon left running waits for a partner that hears us; a deaf one that claims it too keeps it.
        let left: GroupSet = self.groups.iter().filter(|group| group.is_left_over()).map(Group::id).collect();
        let is_ours = |group: &&Group| group.is_announced() || left.contains(group.id());
        let ours: GroupSet = self.groups.iter().filter(is_ours).map(Group::id).collect();
        let both = ours & theirs;
        if both.is_empty() || heard.is_some() {
            self.conflict.deaf_since = None;
        } else if self.conflict.deaf_since.is_none() {
            self.conflict.deaf_since = Some(cx.at.now);
        }
        let is_deaf = self.deaf_deadline(cx).is_some_and(|at| self.is_heard_since(cx, at));
        // What is announced already is not announced again.
        let is_fresh = !self.unannounced.is_empty() && self.is_heard_fresh(cx);
        for id in ours.iter() {
            let index = usize::from(id.0);
            let is_there = both.contains(id);
            // The partner said it after having heard of our claim: it is no echo of a hand-over that has just ended.
            let is_confirmed =
                is_there && !left.contains(id) && heard.is_some_and(|heard| heard >= self.claim_seq[index]);
            if is_confirmed || (is_there && is_deaf) {
                self.meet(cx, id, is_deaf);
            } else if !is_there {
                self.note_ours_alone(cx, id, is_fresh);
            }
        }
        // What it had said before we slept does not end it, and as long as we tell of a claim it must know who lets go.
        let is_contested = !(self.claims() & theirs).is_empty();
        if both.is_empty() && !is_contested && self.is_yielding && self.is_heard_fresh(cx) {
            self.is_yielding = false;
            self.wants_extension = true;
        }
    }

    fn meet(&mut self, cx: &mut Context<'_>, id: GroupId, is_deaf: bool) {
        let Some(extension) = self.partner_extension(cx).copied() else { return };
        if self.raise(cx, Alarm::SplitBrain(id), true) {
            log::error!("Both machines own our resources! (group {})", id.0);
            self.unannounced.insert(id);
            // The partner cannot be sure of it before it knows that we have heard its claim.
            self.wants_extension = true;
        }
        // It lets go already: if both did, nobody would run the group.
        let is_leaving = extension.groups[usize::from(id.0)] == GroupState::Stopping;
        let verdict = if is_leaving {
            Verdict::Keep
        } else if is_deaf {
            Verdict::Release
        } else if self.is_yielding != extension.is_yielding {
            if self.is_yielding { Verdict::Release } else { Verdict::Keep }
        } else if self.is_fixed_loser(cx, id, &extension) {
            Verdict::Release
        } else {
            Verdict::Keep
        };
        if matches!(verdict, Verdict::Release) && self.line_agrees(cx) && !is_planted(Bug::NeverLetGo) {
            log::error!(target: "CRIT", "group {}: releasing it, {} keeps it", id.0, cx.partner_name());
            self.unannounced.remove(id);
            let group = &mut self.groups[usize::from(id.0)];
            group.is_inherited = false;
            group.release(cx, Cause::SplitBrain);
            self.wants_extension = true;
        }
    }

    fn is_fixed_loser(&self, cx: &Context<'_>, id: GroupId, extension: &Extension) -> bool {
        match cx.settings.split_brain_loser {
            // Files that differ may name different losers, or each the other: the default is the same for both.
            _ if extension.config_digest != cx.settings.config_digest => !self.is_preferred(cx, id),
            SplitBrainLoser::NotPreferred => !self.is_preferred(cx, id),
            SplitBrainLoser::Node(node) => node == cx.settings.local,
        }
    }

    /// Towards a Heartbeat: it drops everything by itself when it had lost us too (rule 1a). Towards a nullbeat that
    /// reads another haresources: by side, the fixed loser at once.
    fn resolve_bits(&mut self, cx: &mut Context<'_>) {
        self.conflict.deaf_since = None;
        let theirs = self.partner.holds.swapped();
        let ours = self.wire_holds();
        let is_meeting = self.handover.is_none()
            && self.partner.is_known
            && !self.is_partner_mute(cx)
            && ((ours.local && theirs.local) || (ours.foreign && theirs.foreign));
        if self.partner.is_known && !self.is_partner_mute(cx) {
            self.note_let_go(cx, theirs);
        }
        let nullbeat = cx.settings.partner.and_then(|partner| cx.comms.peer(partner).extension);
        if !is_meeting {
            self.conflict.bits_since = None;
            // What a nullbeat said before it has told what it claims may be older than our sleep.
            self.is_yielding &= !self.partner.is_known || self.is_partner_mute(cx);
            return;
        }
        if self.conflict.bits_since.is_none() {
            self.conflict.bits_since = Some(cx.at.now);
            let whose = if ours.local && theirs.local { "our" } else { "foreign" };
            log::error!("Both machines own {whose} resources!");
        }
        let patience = if nullbeat.is_some() { cx.settings.keepalive * 2 } else { HEARTBEAT_DROP_TIME };
        let is_over = self.conflict.bits_since.is_some_and(|since| self.is_heard_since(cx, since + patience));
        for index in 0..self.groups.len() {
            let id = self.groups[index].id();
            if !self.groups[index].is_announced() || !self.is_in(cx, theirs, id) {
                continue;
            }
            if self.raise(cx, Alarm::SplitBrain(id), true) {
                self.unannounced.insert(id);
            }
            let is_loser = nullbeat.is_none_or(|extension| self.is_fixed_loser(cx, id, &extension));
            if is_over && is_loser && self.line_agrees(cx) {
                log::error!(target: "CRIT", "group {}: releasing it, {} keeps it", id.0, cx.partner_name());
                self.unannounced.remove(id);
                self.groups[index].release(cx, Cause::SplitBrain);
            }
        }
    }

    /// What both held and the bits of the wire claim no more is ours alone again.
    fn note_let_go(&mut self, cx: &mut Context<'_>, theirs: Holds) {
        for index in 0..self.groups.len() {
            let id = self.groups[index].id();
            let is_ours_alone = self.groups[index].is_announced() && !self.is_in(cx, theirs, id);
            if is_ours_alone {
                self.note_ours_alone(cx, id, true);
            }
        }
    }

    /// The partner does not claim this group of ours, or not any more. Unless that `is_sure`, it only ends a split brain.
    fn note_ours_alone(&mut self, cx: &mut Context<'_>, id: GroupId, is_sure: bool) {
        let is_over = self.raise(cx, Alarm::SplitBrain(id), false);
        if (is_over || is_sure) && self.unannounced.contains(id) {
            self.unannounced.remove(id);
            self.groups[usize::from(id.0)].announce(cx);
        }
    }

    /// Whether the partner goes on claiming what we claim: something of it has come at `at` or later. Its last words alone
    /// say nothing then. Links that heal and are cut again at once bring "I do not hear you" here, and not that it has heard
    /// us after all and lets go; whoever let go as well would leave the group to nobody.
    ///
    /// Nor does what lay in a queue while this node slept. And where something of the partner's is missing, or what has come
    /// had been kept back somewhere, newer words may be on their way: for a dead time they are waited for.
    fn is_heard_since(&mut self, cx: &Context<'_>, at: Instant) -> bool {
        let Some(partner) = cx.settings.partner else { return false };
        let is_heard = cx.comms.peer(partner).last_status.is_some_and(|heard| heard >= at && cx.comms.may_judge(heard));
        let is_awaited = cx.comms.is_missing_after(partner, self.extension_seq) || cx.comms.is_heaped(partner);
        if !is_heard || (is_awaited && cx.at.now < at + cx.comms.announced_deadtime()) {
            return false;
        }
        self.waits_for_tick |= !cx.has_read_all;
        cx.has_read_all
    }

    fn deaf_deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        self.conflict.deaf_since.map(|since| since + cx.settings.keepalive.saturating_mul(3).max(DEAF_TIME_MIN))
    }
}
