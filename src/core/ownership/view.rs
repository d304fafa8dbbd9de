//! What ownership tells others: the partner by the extension, people by `status`, the caller by the next deadline.

use super::{Context, Group, Handover, Ownership, Phase};
use crate::core::ids::{GroupId, GroupSet};
use crate::core::limits::{GROUPS_MAX, LINKS_MAX};
use crate::core::message::{Extension, GroupState, Holds, LinkEcho};
use crate::core::time::{Instant, soonest};
use crate::core::{Alarms, Cause, InputLine, LineLevel};

/// The last time that groups came here, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastMove {
    /// Why.
    pub cause: Cause,
    /// The partner's last beat before it.
    pub last_heard: Option<Instant>,
    /// When the decision fell.
    pub decided: Instant,
    /// When the last of its groups ran; `None` while it is under way.
    pub finished: Option<Instant>,
}

impl Ownership {
    /// The groups in the order of haresources.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// One group.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(usize::from(id.0))
    }

    /// How far the negotiation has come.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The hand-over under way.
    pub const fn handover(&self) -> &Handover {
        &self.handover
    }

    /// The alarms that stand.
    pub const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Whether an operator, or the switch `maintenance`, holds decisions.
    pub fn is_held(&self) -> bool {
        self.is_held || self.lines.level(InputLine::Maintenance) == LineLevel::Active
    }

    /// Groups this node has the right to run.
    pub fn claims(&self) -> GroupSet {
        self.groups.iter().filter(|group| group.is_claimed()).map(Group::id).collect()
    }

    /// Groups that a successor of this engine must take for claimed, for [`Carried::claims`]: beside ours those that an earlier
    /// one held, and of which nobody has found out yet whether they run.
    ///
    /// [`Carried::claims`]: crate::core::settings::Carried::claims
    pub fn claims_to_carry(&self) -> GroupSet {
        self.groups.iter().filter(|group| group.is_claimed() || group.is_inherited).map(Group::id).collect()
    }

    /// Groups of the partner's that go home by themselves when it is back, for [`Carried::guests`].
    ///
    /// [`Carried::guests`]: crate::core::settings::Carried::guests
    pub fn guests(&self) -> GroupSet {
        self.groups.iter().filter(|group| group.is_guest && group.is_claimed()).map(Group::id).collect()
    }

    /// Whether this node yields to other holders, for [`Carried::is_yielding`].
    ///
    /// [`Carried::is_yielding`]: crate::core::settings::Carried::is_yielding
    pub const fn is_yielding(&self) -> bool {
        self.is_yielding
    }

    /// Holdings as the two bits of the wire: what `cl_status rscstatus` tells when [`Self::is_settled`].
    pub fn holds(&self) -> Holds {
        self.wire_holds()
    }

    /// What the partner says it holds, in its words.
    pub const fn partner_announced(&self) -> Holds {
        self.partner.holds
    }

    /// Whether the partner has said goodbye.
    pub const fn partner_has_left(&self) -> bool {
        self.partner.has_left
    }

    /// The last time that groups came here.
    pub const fn last_move(&self) -> Option<&LastMove> {
        self.last_move.as_ref()
    }

    pub(super) fn note_decision(&mut self, cx: &Context<'_>, cause: Cause) {
        let last_heard = cx.settings.partner.and_then(|partner| cx.comms.peer(partner).last_status);
        self.last_move = Some(LastMove { cause, last_heard, decided: cx.at.now, finished: None });
    }

    /// Closes the record of the last move when nothing of it is under way any more.
    pub(in crate::core) fn note_finish(&mut self, now: Instant) {
        let is_busy = self.groups.iter().any(Group::is_busy);
        if let Some(last) = self.last_move.as_mut().filter(|last| last.finished.is_none() && !is_busy) {
            last.finished = Some(now);
        }
    }

    /// Whether the extension should go out at once; asking clears it.
    pub(in crate::core) fn take_wants_extension(&mut self) -> bool {
        core::mem::take(&mut self.wants_extension)
    }

    /// What the partner is told with the next beat.
    pub(in crate::core) fn extension(&self, cx: &Context<'_>) -> Extension {
        let mut extension = Extension {
            group_count: u8::try_from(self.groups.len()).unwrap_or(u8::MAX),
            claims: self.claims(),
            is_stable: self.is_settled(),
            is_held: self.is_held(),
            is_yielding: self.is_yielding,
            is_asking: self.is_asking(cx),
            link_count: u8::try_from(cx.settings.links.len()).unwrap_or(u8::MAX),
            config_digest: cx.settings.config_digest,
            resources_digest: cx.settings.resources_digest,
            lease_ms: self.lease_ms(cx),
            owner_line: cx.settings.interlock.map_or(LineLevel::Unknown, |_| self.lines.owner()),
            health: self.health_report(cx),
            ..Extension::EMPTY
        };
        let mut states = [GroupState::Unknown; GROUPS_MAX];
        for (state, group) in states.iter_mut().zip(&self.groups) {
            *state = group.state();
        }
        extension.groups = states;
        if let Some(partner) = cx.settings.partner {
            let peer = cx.comms.peer(partner);
            (extension.echo_generation, extension.echo_seq) = cx.comms.echo_of(partner);
            extension.hears_partner = cx.comms.is_alive(partner);
            let mut links = [LinkEcho { age_ms: u32::MAX }; LINKS_MAX];
            for (echo, link) in links.iter_mut().zip(&peer.links).take(cx.settings.links.len()) {
                let age = link.last_heard.map(|heard| cx.at.now.since(heard).as_millis());
                echo.age_ms = age.and_then(|ms| u32::try_from(ms).ok()).unwrap_or(u32::MAX);
            }
            extension.links = links;
        }
        extension
    }

    /// When to look again at the latest, apart from what communication needs.
    pub(in crate::core) fn next_deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        let mut next = match self.phase {
            Phase::Starting { again_at: at } | Phase::Settling { take_at: at } => Some(at),
            _ => None,
        };
        // What stands against a retry that is due ends with some other input.
        let due = |group: &&Group| !group.is_busy() && group.retry_at().is_some_and(|at| at > cx.at.now);
        let retry = self.groups.iter().filter(due).filter_map(Group::retry_at).min();
        let failback = self
            .partner_stable_since
            .filter(|_| self.groups.iter().any(|group| group.is_guest && group.is_claimed()))
            .map(|since| since + cx.settings.failback_delay)
            .filter(|at| *at > cx.at.now);
        for deadline in [
            retry,
            failback,
            self.handover.deadline(),
            self.leaving_deadline(),
            self.legacy_deadline(cx),
            self.requests_deadline(),
            self.upstream_deadline(cx),
            self.health_deadline(cx),
            self.fence_deadline(cx),
            self.gate_deadline(cx),
        ] {
            next = soonest(next, deadline);
        }
        next
    }
}
