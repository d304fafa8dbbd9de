//! Standing alarms, and the count of moves that latches.

use super::{Context, Ownership};
use crate::core::ids::LinkId;
use crate::core::limits::MOVES_MAX;
use crate::core::message::{GroupState, NodeStatus};
use crate::core::settings::{Settings, TakeoverPolicy};
use crate::core::time::{Duration, Instant};
use crate::core::{Action, Alarm, Alarms, Cause, Event, InputLine};

const HOUR: Duration = Duration::from_secs(3600);

/// When groups moved lately without an operator's word.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    at: heapless::Deque<Instant, MOVES_MAX>,
}

impl Moves {
    fn note(&mut self, now: Instant) {
        if self.at.is_full() {
            self.at.pop_front();
        }
        let is_full = self.at.push_back(now).is_err();
        debug_assert!(!is_full);
    }

    pub(super) fn is_latched(&self, settings: &Settings, now: Instant) -> bool {
        let limit = usize::from(settings.moves_per_hour).min(MOVES_MAX);
        limit != 0 && self.at.iter().filter(|at| now.since(**at) < HOUR).count() >= limit
    }

    pub(super) fn forget(&mut self) {
        self.at.clear();
    }
}

impl Alarms {
    /// Whether this alarm stands.
    #[inline]
    pub fn contains(&self, alarm: Alarm) -> bool {
        match alarm {
            Alarm::OneWayLink(link) => self.one_way.contains(link),
            Alarm::SplitBrain(group) => self.split_brain.contains(group),
            Alarm::StartFailed(group) => self.start_failed.contains(group),
            Alarm::StopFailed(group) => self.stop_failed.contains(group),
            Alarm::LineStuck(line) => self.stuck_lines & 1 << line as u8 != 0,
            Alarm::CheckFailed(check) => self.failed_checks.contains(check),
            Alarm::Unhealthy(group) => self.unhealthy.contains(group),
            plain => self.plain & plain_bit(plain) != 0,
        }
    }

    fn set(&mut self, alarm: Alarm, is_raised: bool) {
        macro_rules! change {
            ($set:expr, $id:expr) => {
                if is_raised { $set.insert($id) } else { $set.remove($id) }
            };
        }
        match alarm {
            Alarm::OneWayLink(link) => change!(self.one_way, link),
            Alarm::SplitBrain(group) => change!(self.split_brain, group),
            Alarm::StartFailed(group) => change!(self.start_failed, group),
            Alarm::StopFailed(group) => change!(self.stop_failed, group),
            Alarm::CheckFailed(check) => change!(self.failed_checks, check),
            Alarm::Unhealthy(group) => change!(self.unhealthy, group),
            Alarm::LineStuck(line) if is_raised => self.stuck_lines |= 1 << line as u8,
            Alarm::LineStuck(line) => self.stuck_lines &= !(1 << line as u8),
            plain if is_raised => self.plain |= plain_bit(plain),
            plain => self.plain &= !plain_bit(plain),
        }
    }

    /// All that stand.
    pub fn iter(&self) -> impl Iterator<Item = Alarm> + '_ {
        const PLAIN: [Alarm; 17] = [
            Alarm::LastLink,
            Alarm::ConfigDiffers,
            Alarm::ResourcesDiffer,
            Alarm::Unfenced,
            Alarm::NeedsOperator,
            Alarm::MovesLatched,
            Alarm::Held,
            Alarm::NoGuardian,
            Alarm::MessagesLost,
            Alarm::Maintenance,
            Alarm::FencePending,
            Alarm::FenceFailed,
            Alarm::FenceLatched,
            Alarm::FenceLied,
            Alarm::OwnerLineFailed,
            Alarm::Interlocked,
            Alarm::ServiceDown,
        ];
        PLAIN
            .into_iter()
            .filter(|alarm| self.contains(*alarm))
            .chain(self.one_way.iter().map(Alarm::OneWayLink))
            .chain(self.split_brain.iter().map(Alarm::SplitBrain))
            .chain(self.start_failed.iter().map(Alarm::StartFailed))
            .chain(self.stop_failed.iter().map(Alarm::StopFailed))
            .chain(self.unhealthy.iter().map(Alarm::Unhealthy))
            .chain(self.failed_checks.iter().map(Alarm::CheckFailed))
            .chain(InputLine::ALL.into_iter().map(Alarm::LineStuck).filter(|alarm| self.contains(*alarm)))
    }
}

#[inline]
const fn plain_bit(alarm: Alarm) -> u32 {
    match alarm {
        Alarm::LastLink => 1,
        Alarm::ConfigDiffers => 1 << 1,
        Alarm::ResourcesDiffer => 1 << 2,
        Alarm::Unfenced => 1 << 3,
        Alarm::NeedsOperator => 1 << 4,
        Alarm::MovesLatched => 1 << 5,
        Alarm::Held => 1 << 6,
        Alarm::NoGuardian => 1 << 7,
        Alarm::MessagesLost => 1 << 8,
        Alarm::Maintenance => 1 << 9,
        Alarm::FencePending => 1 << 10,
        Alarm::FenceFailed => 1 << 11,
        Alarm::FenceLatched => 1 << 12,
        Alarm::FenceLied => 1 << 13,
        Alarm::OwnerLineFailed => 1 << 14,
        Alarm::Interlocked => 1 << 15,
        Alarm::ServiceDown => 1 << 16,
        Alarm::OneWayLink(_)
        | Alarm::SplitBrain(_)
        | Alarm::StartFailed(_)
        | Alarm::StopFailed(_)
        | Alarm::CheckFailed(_)
        | Alarm::Unhealthy(_)
        | Alarm::LineStuck(_) => 0,
    }
}

impl core::fmt::Display for Alarm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::LastLink => write!(f, "only one link to the partner is left"),
            Self::OneWayLink(link) => write!(f, "the partner does not hear us on link {}", link.0),
            Self::ConfigDiffers => write!(f, "the two ha.cf files differ where they must not"),
            Self::ResourcesDiffer => write!(f, "the two haresources files differ"),
            Self::SplitBrain(group) => write!(f, "both nodes held group {} when they met", group.0),
            Self::StartFailed(group) => write!(f, "group {} could not be started", group.0),
            Self::StopFailed(group) => write!(f, "group {} could not be stopped and may be running", group.0),
            Self::CheckFailed(check) => write!(f, "health check {} fails", check.0),
            Self::Unhealthy(group) => write!(f, "group {} fails its health checks, restarted or not", group.0),
            Self::Unfenced => write!(f, "we own without knowing that the partner is off"),
            Self::NeedsOperator => write!(f, "groups are down until somebody vouches for the partner being off"),
            Self::MovesLatched => {
                write!(f, "too many moves in an hour: none by choice until there are fewer, or `nullbeat resume`")
            }
            Self::Held => write!(f, "an operator holds decisions"),
            Self::ServiceDown => write!(f, "a program of our own dies again and again: what it looks at is not known"),
            Self::NoGuardian => write!(f, "scripts cannot be run: the guardian does not answer"),
            Self::Maintenance => write!(f, "the switch `maintenance` holds decisions"),
            Self::FencePending => write!(f, "the partner must be fenced before anything of it is taken"),
            Self::FenceFailed => write!(f, "fencing the partner failed"),
            Self::FenceLatched => write!(f, "too many fencings in an hour: none until `nullbeat resume`"),
            Self::FenceLied => write!(f, "fencing was confirmed, and the partner still beats: check the fence device"),
            Self::OwnerLineFailed => write!(f, "the line `owner` cannot be set: nothing is started here"),
            Self::Interlocked => write!(f, "the line `peer-owner` forbids to start what nobody seems to run"),
            Self::LineStuck(line) => write!(f, "the line `{}` says what cannot be: it is not believed", line.name()),
            Self::MessagesLost => write!(f, "messages between the nodes were lost for good"),
        }
    }
}

impl Ownership {
    /// Raises or clears an alarm; returns whether that changed anything.
    #[inline]
    pub(in crate::core) fn raise(&mut self, cx: &mut Context<'_>, alarm: Alarm, is_raised: bool) -> bool {
        // Asked after every input; a change is rare.
        let is_change = self.alarms.contains(alarm) != is_raised;
        if is_change {
            self.change_alarm(cx, alarm, is_raised);
        }
        is_change
    }

    #[cold]
    fn change_alarm(&mut self, cx: &mut Context<'_>, alarm: Alarm, is_raised: bool) {
        self.alarms.set(alarm, is_raised);
        if is_raised {
            log::warn!("alarm: {alarm}");
        } else {
            log::info!("alarm over: {alarm}");
        }
        cx.act(Action::Event(Event::Alarm { alarm, is_raised }));
    }

    /// Counts a move that no operator has asked for. Deaths and goodbyes count, but are never held back. Of a group that
    /// comes home nobody here knows who has asked for it: it counts.
    pub(super) fn note_move(&mut self, cx: &Context<'_>, cause: Cause) {
        if matches!(
            cause,
            Cause::Failback | Cause::StartFailure | Cause::Death | Cause::Goodbye | Cause::Upstream | Cause::Health
        ) {
            self.moves.note(cx.at.now);
        }
    }

    /// Alarms that follow from what can be seen at any moment.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) {
        self.watch_files(cx);
        self.watch_links(cx);
        let is_fenced = cx.settings.fence.is_configured() || cx.settings.interlock.is_some();
        let needs_operator = !is_fenced
            && self.fence.confirmed().is_none()
            && cx.settings.takeover_policy == TakeoverPolicy::Safe
            && self.partner_status(cx) == Some(NodeStatus::Dead)
            && !self.partner.has_left
            && self.groups.iter().any(|group| {
                !group.is_claimed()
                    && !self.partner.vouched.contains(group.id())
                    && group.state() != GroupState::Unknown
            });
        let needs_person = self.fence.need().is_some_and(|need| need.needs_person);
        self.raise(cx, Alarm::NeedsOperator, needs_operator || needs_person);
        let is_unfenced = !is_fenced
            && self.fence.confirmed().is_none()
            && cx.settings.takeover_policy == TakeoverPolicy::Available
            && self.partner_status(cx) == Some(NodeStatus::Dead)
            && !self.partner.has_left
            && self.partner.vouched.is_empty()
            && self.groups.iter().any(super::Group::is_claimed);
        self.raise(cx, Alarm::Unfenced, is_unfenced);
        self.raise(cx, Alarm::MessagesLost, cx.comms.lost_for_good() > self.lost_before);
        self.watch_losers(cx);
    }

    /// Who has let go is no holder any more. What it was is in the history.
    fn watch_losers(&mut self, cx: &mut Context<'_>) {
        for id in self.alarms.split_brain.iter() {
            let has_let_go = |group: &super::Group| !group.is_claimed() && group.state() == GroupState::Stopped;
            if self.groups.get(usize::from(id.0)).is_none_or(has_let_go) {
                self.raise(cx, Alarm::SplitBrain(id), false);
            }
        }
    }

    /// From now on only further losses count.
    pub(super) fn forget_losses(&mut self, cx: &Context<'_>) {
        self.lost_before = cx.comms.lost_for_good();
    }

    fn watch_files(&mut self, cx: &mut Context<'_>) {
        let Some(partner) = cx.settings.partner else { return };
        let Some(extension) = cx.comms.peer(partner).extension.as_ref() else { return };
        let config_differs = extension.config_digest != cx.settings.config_digest;
        let resources_differ = extension.resources_digest != cx.settings.resources_digest;
        self.raise(cx, Alarm::ConfigDiffers, config_differs);
        self.raise(cx, Alarm::ResourcesDiffer, resources_differ);
    }

    fn watch_links(&mut self, cx: &mut Context<'_>) {
        let Some(partner) = cx.settings.partner else { return };
        let (is_alive, up) = (cx.comms.is_alive(partner), cx.comms.links_up(partner));
        let is_judged = self.partner_stable_since.is_some_and(|since| cx.at.now.since(since) >= cx.settings.deadtime);
        if is_alive && !is_judged {
            // Right after a start or a heal the slower links have not had their chance.
            return;
        }
        self.raise(cx, Alarm::LastLink, is_alive && cx.settings.links.len() > 1 && up.len() == 1);
        let heard_there = cx.comms.peer(partner).extension.as_ref().filter(|extension| {
            // Without the same number of links nobody can tell which belongs to which.
            usize::from(extension.link_count) == cx.settings.links.len()
        });
        let said = heard_there.filter(|_| is_alive).map(|extension| (extension.links, extension.hears_partner));
        let Some((links, is_heard)) = said else {
            for id in self.alarms.one_way.iter() {
                self.raise(cx, Alarm::OneWayLink(id), false);
            }
            return;
        };
        // What the partner tells of a link may be as old as its last telling, ten beats ago, before the link came up.
        let patience = cx.settings.deadtime + cx.settings.keepalive.saturating_mul(11);
        let dead_ms = u32::try_from(cx.settings.deadtime.as_millis()).unwrap_or(u32::MAX);
        for (id, link) in (0..).map(LinkId).zip(links.iter().take(cx.settings.links.len())) {
            let is_said = up.contains(id) && link.age_ms > dead_ms && is_heard;
            let since = &mut self.one_way_since[usize::from(id.0)];
            *since = is_said.then(|| since.unwrap_or(cx.at.now));
            let is_one_way = since.is_some_and(|since| cx.at.now.since(since) >= patience);
            self.raise(cx, Alarm::OneWayLink(id), is_one_way);
        }
    }
}
