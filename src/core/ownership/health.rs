//! Health checks: what follows when a service that should run does not, or when this node lacks what its services need.
//!
//! ```text
//!   check of a group fails ─▶ restart in place, up to `restarts` in an hour ─▶ spent: hand the group over, if the partner
//!                                                                              is better off; else it stays, with an alarm
//!   check of the node fails ─▶ the partner fails fewer, for the whole hold-off ─▶ hand everything over
//! ```
//!
//! The partner is told what fails here ([`HealthReport`]), so that both come to the same opinion from facts that stand. What
//! cannot be counted on counts for whoever has the groups: checks that say nothing are held against the node that would
//! get something. So a fault that both see, or a check that is not there, moves nothing.
//!
//! | for group g, the partner is better off when | partner |
//! |---|---|
//! | g is spent here and not there, and no more checks of the node are doubtful there than fail here | nullbeat |
//! | g is spent here: it is offered as after a failed start | Heartbeat, or a nullbeat without checks |
//! | fewer checks of the node are doubtful there than fail here, and g is not spent there | nullbeat with checks |
//!
//! The count of ping nodes comes first (`upstream`): nothing goes to a node that reaches fewer.

use core::cmp::Ordering;

use super::{Context, Ownership};
use crate::core::ids::{CheckId, GroupId, GroupSet};
use crate::core::limits::{CHECKS_MAX, GROUPS_MAX};
use crate::core::message::{GroupState, HealthReport};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::{Carried, CheckSettings, GroupHealth, Settings};
use crate::core::time::{Duration, Instant};
use crate::core::{Alarm, Cause, Health};

/// How long restarts in place are counted after the last one, and how long a node where they did not help is not tried
/// again.
const MEMORY: Duration = Duration::from_secs(3600);

/// What one check said last.
#[derive(Debug, Clone, Copy, Default)]
struct Finding {
    health: Health,
    /// Place of the first resource that a restart takes along.
    from: u8,
    /// It has been healthy since this engine began.
    was_healthy: bool,
}

/// Everything about health that has to be remembered.
#[derive(Debug, Clone)]
pub(super) struct Checks {
    findings: [Finding; CHECKS_MAX],
    /// One for each group.
    records: heapless::Vec<GroupHealth, GROUPS_MAX>,
    /// How the partner's doubtful checks stand to our failing ones, and since when.
    standing: Option<(Ordering, Instant)>,
}

impl Checks {
    /// What an earlier engine of this boot remembered of so many groups.
    pub(super) fn new(groups: usize, carried: Option<&Carried>) -> Self {
        let before = |group: usize| carried.map_or_else(GroupHealth::default, |carried| carried.health[group]);
        let records = (0..groups.min(GROUPS_MAX)).map(before).collect();
        Self { findings: [Finding::default(); CHECKS_MAX], records, standing: None }
    }

    /// The group begins anew here.
    pub(super) fn forgive(&mut self, id: GroupId) {
        let record = &mut self.records[usize::from(id.0)];
        *record = GroupHealth { handed_at: record.handed_at, ..GroupHealth::default() };
    }

    /// Whether an operator can make it forget something.
    pub(super) fn has_grudge(&self) -> bool {
        self.records.iter().any(|record| record.restarts > 0 || record.spent_at.is_some() || record.handed_at.is_some())
    }

    /// These are on their way to the partner.
    pub(super) fn note_handed(&mut self, groups: GroupSet, now: Instant) {
        for id in (groups & self.spent()).iter() {
            self.records[usize::from(id.0)].handed_at = Some(now);
        }
    }

    /// An operator has repaired something.
    pub(super) fn forgive_all(&mut self) {
        for record in &mut self.records {
            *record = GroupHealth { is_retried: record.spent_at.is_some(), ..GroupHealth::default() };
        }
    }

    /// Groups whose service failed here for good.
    pub(super) fn spent(&self) -> GroupSet {
        let spent = |(id, record): (u8, &GroupHealth)| record.spent_at.map(|_| GroupId(id));
        (0..).zip(&self.records).filter_map(spent).collect()
    }

    /// Since when the partner has stood to us like this.
    fn since(&self, wanted: Ordering) -> Option<Instant> {
        self.standing.and_then(|(standing, since)| (standing == wanted).then_some(since))
    }
}

/// The checks of the node (`None`) or of one group.
fn checks_of<'c>(
    cx: &'c Context<'_>,
    group: Option<GroupId>,
) -> impl Iterator<Item = (CheckId, &'c CheckSettings)> + 'c {
    let all = (0..).map(CheckId).zip(&cx.settings.health.checks);
    all.filter(move |(_, check)| check.group == group)
}

impl Ownership {
    /// What a check says.
    pub fn check_health(&self, check: CheckId) -> Health {
        self.health.findings.get(usize::from(check.0)).map_or(Health::Unknown, |finding| finding.health)
    }

    /// What was done about each group, for [`Carried::health`].
    pub fn health_records(&self) -> &[GroupHealth] {
        &self.health.records
    }

    /// How often a group has been restarted in place, as far as it counts.
    pub fn restarts(&self, id: GroupId) -> u8 {
        self.health.records.get(usize::from(id.0)).map_or(0, |record| record.restarts)
    }

    /// A check says something.
    pub(in crate::core) fn health_changed(&mut self, cx: &mut Context<'_>, check: CheckId, health: Health, from: u8) {
        if usize::from(check.0) >= cx.settings.health.checks.len() {
            return;
        }
        let finding = &mut self.health.findings[usize::from(check.0)];
        let is_new = finding.health != health;
        let was_healthy = finding.was_healthy || health == Health::Healthy;
        *finding = Finding { health, from, was_healthy };
        if is_new {
            let name = cx.settings.health.checks[usize::from(check.0)].name.as_str();
            log::info!("health check {name}: {}", health.name());
            self.raise(cx, Alarm::CheckFailed(check), health == Health::Failed);
            self.wants_extension = true;
        }
    }

    /// The first check that the watchdogs wait for and that fails. One that never was healthy is not waited for: a board
    /// that comes up without it would be reset for ever.
    pub(in crate::core) fn vital_check_failed(&self, settings: &Settings) -> Option<CheckId> {
        let known = (0..).map(CheckId).zip(settings.health.checks.iter().zip(&self.health.findings));
        let mut failed = known
            .filter(|(_, (check, finding))| check.is_vital && finding.was_healthy && finding.health == Health::Failed);
        failed.next().map(|(check, _)| check)
    }

    fn count(&self, cx: &Context<'_>, wanted: Health) -> u8 {
        let count = checks_of(cx, None).filter(|(id, _)| self.check_health(*id) == wanted).count();
        u8::try_from(count).unwrap_or(u8::MAX)
    }

    /// What the partner is told.
    pub(super) fn health_report(&self, cx: &Context<'_>) -> Option<HealthReport> {
        (!cx.settings.health.checks.is_empty()).then(|| HealthReport {
            failing: self.count(cx, Health::Failed),
            unknown: self.count(cx, Health::Unknown),
            spent: self.health.spent(),
        })
    }

    fn partner_health(&self, cx: &Context<'_>) -> Option<HealthReport> {
        self.partner_extension(cx).filter(|_| self.is_partner_alive(cx)).and_then(|extension| extension.health)
    }

    /// Whether the group's service failed at the partner lately, restarted or not.
    pub(super) fn is_spent_there(&self, cx: &Context<'_>, id: GroupId) -> bool {
        self.partner_health(cx).is_some_and(|health| health.spent.contains(id))
    }

    /// Whether more checks of the node fail at the partner than here.
    pub(super) fn is_partner_unwell(&self, cx: &Context<'_>) -> bool {
        self.partner_health(cx).is_some_and(|health| health.failing > self.count(cx, Health::Failed))
    }

    /// Notes how both stand, and which groups are beyond help here.
    pub(super) fn compare_health(&mut self, cx: &mut Context<'_>) {
        if cx.settings.health.checks.is_empty() {
            return;
        }
        let ours = self.count(cx, Health::Failed);
        let standing = self.partner_health(cx).map(|theirs| theirs.doubtful().cmp(&ours));
        if self.health.standing.map(|(standing, _)| standing) != standing {
            self.health.standing = standing.map(|standing| (standing, cx.at.now));
        }
        for index in 0..self.groups.len() {
            self.note_spent(cx, self.groups[index].id());
        }
    }

    fn note_spent(&mut self, cx: &mut Context<'_>, id: GroupId) {
        let now = cx.at.now;
        let is_over = |at: Option<Instant>| at.is_some_and(|at| now >= at + MEMORY);
        let worst = self.worst_check(cx, id);
        let is_running = self.groups[usize::from(id.0)].state() == GroupState::Running;
        let is_held = self.is_held();
        let record = &mut self.health.records[usize::from(id.0)];
        if is_over(record.handed_at) {
            record.handed_at = None;
        }
        if is_over(record.restarted_at) {
            (record.restarts, record.restarted_at) = (0, None);
        }
        let was_spent = record.spent_at.is_some();
        match worst {
            Some((_, allowed)) if record.restarts >= allowed && !record.is_retried && !is_held => {
                record.spent_at.get_or_insert(now);
            }
            // Well again, whoever helped.
            None if is_running
                && was_spent
                && checks_of(cx, Some(id))
                    .all(|(id, _)| self.health.findings[usize::from(id.0)].health == Health::Healthy) =>
            {
                self.health.records[usize::from(id.0)].spent_at = None;
            }
            _ if is_over(record.spent_at) => record.spent_at = None,
            _ => {}
        }
        let is_spent = self.health.records[usize::from(id.0)].spent_at.is_some();
        self.wants_extension |= is_spent != was_spent;
        self.raise(cx, Alarm::Unhealthy(id), is_spent && is_running);
    }

    /// Of the checks of a group that runs here and fails: where to begin a restart, and how many are allowed.
    fn worst_check(&self, cx: &Context<'_>, id: GroupId) -> Option<(u8, u8)> {
        if self.groups[usize::from(id.0)].state() != GroupState::Running {
            return None;
        }
        let failed = checks_of(cx, Some(id)).filter(|(id, _)| self.check_health(*id) == Health::Failed);
        let worst =
            failed.map(|(check, settings)| (self.health.findings[usize::from(check.0)].from, settings.restarts));
        worst.reduce(|one, other| (one.0.min(other.0), one.1.min(other.1)))
    }

    /// Restarts in place what fails. As with everything else that is started, nothing happens to a group that the partner
    /// may have taken meanwhile.
    pub(super) fn restart_failed(&mut self, cx: &mut Context<'_>) {
        if self.is_held() || cx.settings.health.checks.is_empty() {
            return;
        }
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            let id = group.id();
            let Some((from, allowed)) = self.worst_check(cx, id) else { continue };
            let is_free = group.is_announced() && !group.is_busy();
            let is_contested = self.is_partner_alive(cx) && self.partner_may_use(cx, id) || self.is_line_taken(cx);
            let is_allowed = self.restarts(id) < allowed || self.health.records[index].is_retried;
            if !is_free || !is_allowed || is_contested || !cx.comms.may_judge(cx.at.now) {
                continue;
            }
            if !self.may_start(cx, true) {
                continue;
            }
            let record = &mut self.health.records[index];
            record.is_retried = false;
            record.restarts = record.restarts.saturating_add(1);
            record.restarted_at = Some(cx.at.now);
            log::warn!("group {}: a health check fails: restart in place, {} of {allowed}", id.0, record.restarts);
            for check in 0..cx.settings.health.checks.len() {
                if cx.settings.health.checks[check].group == Some(id) {
                    let check = CheckId(u8::try_from(check).unwrap_or(u8::MAX));
                    self.health_changed(cx, check, Health::Unknown, 0);
                }
            }
            self.groups[index].restart(cx, from);
            self.wants_extension = true;
        }
    }

    /// When everything is given up for checks of the node, if nothing changes.
    fn leave_at(&self, cx: &Context<'_>) -> Option<Instant> {
        let since = self.health.since(Ordering::Less);
        let since = match self.health.since(Ordering::Equal) {
            Some(equal) if is_planted(Bug::MoveToNoBetter) && self.count(cx, Health::Failed) > 0 => Some(equal),
            _ => since,
        };
        since.map(|since| since + cx.settings.health.holdoff)
    }

    /// Whether the partner may get a group whose service fails here for good.
    fn is_better_there(&self, cx: &Context<'_>, id: GroupId) -> bool {
        let is_as_well = match self.partner_health(cx) {
            Some(theirs) => theirs.doubtful() <= self.count(cx, Health::Failed),
            // Nothing tells whether it failed there too: once.
            None => self.health.records[usize::from(id.0)].handed_at.is_none(),
        };
        is_as_well && self.worst_check(cx, id).is_some()
    }

    /// Offers what runs badly here to a partner that is better off.
    pub(super) fn give_up_for_health(&mut self, cx: &mut Context<'_>) -> bool {
        if cx.settings.health.checks.is_empty() || self.upstream.is_partner_behind() {
            return false;
        }
        let mut groups = self.movable(cx);
        let is_due = self.leave_at(cx).is_some_and(|at| at <= cx.at.now);
        if !is_due {
            let is_wanted = |id: &GroupId| self.is_better_there(cx, *id);
            groups = (groups & self.health.spent()).iter().filter(is_wanted).collect();
        }
        let groups = self.all_or_nothing(cx, groups, self.movable(cx));
        if groups.is_empty() {
            return false;
        }
        log::info!("Giving up because our health checks fail.");
        self.offer(cx, self.sides_of(cx, groups), groups, Cause::Health, None);
        true
    }

    /// Whether the partner's node checks let a group go home: they are no worse, and have been for a while.
    pub(super) fn is_home_as_healthy(&self, cx: &Context<'_>) -> bool {
        self.healthy_home_at(cx).is_some_and(|at| at <= cx.at.now)
    }

    fn healthy_home_at(&self, cx: &Context<'_>) -> Option<Instant> {
        match self.health.standing {
            None => Some(Instant::ZERO),
            Some((Ordering::Greater, _)) => None,
            Some((_, since)) => Some(since + cx.settings.health.holdoff.max(cx.settings.failback_delay)),
        }
    }

    /// When to look again at the latest.
    pub(super) fn health_deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        if cx.settings.health.checks.is_empty() {
            return None;
        }
        let memories =
            self.health.records.iter().flat_map(|record| [record.restarted_at, record.spent_at, record.handed_at]);
        let memory = memories.flatten().min().map(|at| at + MEMORY);
        [memory, self.leave_at(cx), self.healthy_home_at(cx)].into_iter().flatten().filter(|at| *at > cx.at.now).min()
    }
}
