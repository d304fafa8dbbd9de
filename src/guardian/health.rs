//! The guardian's part in health checks: knows which groups run here, asks `status` of those that are monitored, takes what
//! the checker finds, and hands it all to the engine, which decides.
//!
//! A monitored group has a lane of its own, so that a `status` that hangs delays no start or stop of any group; when its own
//! group is to be started or stopped, the `status` that runs is killed and what it said does not count.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::job::{Job, Member, StopRules};
use super::lane::{Lane, LaneReport};
use super::launcher::Launcher;
use super::protocol::ToEngine;
use crate::checks::schedule::{Pace, Timetable};
use crate::checks::{ToChecker, Trouble};
use crate::config::{CheckConfig, CheckKind, Config};
use crate::core::ids::{CheckId, CheckSet, GroupId, GroupSet};
use crate::core::{Health, JobOutcome, Order};

/// What one check has found is logged so often at most: a checker in other hands finds as much as it likes.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// One check as the engine is told of it.
#[derive(Debug)]
struct Row {
    name: String,
    group: Option<GroupId>,
    health: Health,
    /// Place of the first resource that a restart takes along.
    from: u8,
    /// Asked here.
    monitor: Option<Monitor>,
    /// When a failure was logged last.
    logged: Option<Instant>,
    /// Failures since then that were not.
    unlogged: u32,
}

/// `status` of one group now and then.
#[derive(Debug)]
struct Monitor {
    lane: Lane,
    table: Timetable,
    limit: Duration,
}

/// All checks.
#[derive(Debug, Default)]
pub struct HealthDesk {
    rows: Vec<Row>,
    running: GroupSet,
    /// Of each change of `running` another number: what was found before it does not count.
    epoch: u32,
    epochs: Vec<(GroupId, u32)>,
    orders: VecDeque<ToChecker>,
    /// What the engine has not been told yet.
    news: CheckSet,
    reports: Vec<LaneReport>,
}

impl Row {
    fn new(config: &CheckConfig) -> Self {
        let monitor = (config.kind == CheckKind::Monitor).then(|| Monitor {
            lane: Lane::new(&config.name),
            table: Timetable::new(Pace::from(config)),
            limit: config.timeout,
        });
        Self {
            name: config.name.clone(),
            group: config.group.and_then(|group| u8::try_from(group).ok()).map(GroupId),
            health: Health::Unknown,
            from: config.from,
            monitor,
            logged: None,
            unlogged: 0,
        }
    }

    fn log_failure(&mut self, now: Instant, trouble: Trouble) {
        if self.logged.is_some_and(|at| now < at + LOG_PAUSE) {
            self.unlogged = self.unlogged.saturating_add(1);
            return;
        }
        self.logged = Some(now);
        match std::mem::take(&mut self.unlogged) {
            0 => log::warn!("health check {}: {trouble}", self.name),
            count => log::warn!("health check {}: {trouble} ({count} times more in between)", self.name),
        }
    }
}

impl Monitor {
    /// Asked from now on, or no more. A script that runs ends at once and does not count.
    fn set_on(&mut self, now: Instant, is_on: bool) {
        self.table.set_on(now, is_on);
        self.lane.jobs_mut().for_each(Job::recall);
        self.lane.kill();
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.lane.is_idle() { self.table.next_deadline() } else { self.lane.next_deadline() }
    }
}

impl HealthDesk {
    /// For the checks of `config`; `running` are its groups that run here now.
    pub fn replace_table(&mut self, now: Instant, config: &Config, running: GroupSet) {
        for monitor in self.rows.iter_mut().filter_map(|row| row.monitor.as_mut()) {
            monitor.set_on(now, false);
        }
        let old = std::mem::replace(&mut self.rows, config.checks.iter().map(Row::new).collect());
        // A checker tells what changes: what it has said of this node stands while it lives.
        for (row, old) in self.rows.iter_mut().zip(old).filter(|(row, old)| row.group.is_none() && row.name == old.name)
        {
            row.health = old.health;
        }
        (self.running, self.epochs, self.orders) = (GroupSet::EMPTY, Vec::new(), VecDeque::new());
        self.forget_engine();
        for group in running.iter() {
            self.set_running(now, group, true);
        }
    }

    /// A group runs here from now on, or is about to be started, stopped or restarted.
    pub fn set_running(&mut self, now: Instant, group: GroupId, is_running: bool) {
        if self.running.contains(group) == is_running {
            return;
        }
        if is_running {
            self.running.insert(group);
        } else {
            self.running.remove(group);
        }
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.epochs.retain(|(other, _)| *other != group);
        self.epochs.push((group, self.epoch));
        for index in 0..self.rows.len() {
            if self.rows[index].group != Some(group) {
                continue;
            }
            self.set_health(index, Health::Unknown);
            if let Some(monitor) = &mut self.rows[index].monitor {
                monitor.set_on(now, is_running);
            }
        }
        if self.rows.iter().any(|row| row.group == Some(group) && row.monitor.is_none()) {
            self.orders.push_back(ToChecker::Watch { group: group.0, is_running, epoch: self.epoch });
        }
    }

    fn set_health(&mut self, index: usize, health: Health) {
        let row = &mut self.rows[index];
        if row.health != health {
            row.health = health;
            self.news.insert(CheckId(u8::try_from(index).unwrap_or(u8::MAX)));
        }
    }

    /// A checker tells what it has found.
    pub fn found(&mut self, now: Instant, check: u8, health: Health, trouble: Trouble, epoch: u32) {
        let Some(row) = self.rows.get_mut(usize::from(check)).filter(|row| row.monitor.is_none()) else { return };
        let is_current =
            row.group.is_none_or(|group| self.epochs.contains(&(group, epoch)) && self.running.contains(group));
        if !is_current {
            return;
        }
        if health == Health::Failed {
            row.log_failure(now, trouble);
        }
        self.set_health(usize::from(check), health);
    }

    /// Nobody asks these checks at the moment.
    pub fn lost(&mut self, checks: CheckSet) {
        for check in checks.iter().map(|check| usize::from(check.0)) {
            if self.rows.get(check).is_some_and(|row| row.monitor.is_none()) {
                self.set_health(check, Health::Unknown);
            }
        }
    }

    /// What a checker that has just been started must know: which groups run.
    pub fn orders_for_new(&self) -> impl Iterator<Item = ToChecker> {
        let running = self.epochs.iter().filter(|(group, _)| self.running.contains(*group));
        running.map(|(group, epoch)| ToChecker::Watch { group: group.0, is_running: true, epoch: *epoch })
    }

    /// What all checkers are to be told, oldest first.
    pub fn poll_order(&mut self) -> Option<ToChecker> {
        self.orders.pop_front()
    }

    /// The next engine has been told nothing.
    pub fn forget_engine(&mut self) {
        let known = (0..).map(CheckId).zip(&self.rows).filter(|(_, row)| row.health != Health::Unknown);
        self.news = known.map(|(check, _)| check).collect();
    }

    /// What the engine is to be told.
    pub fn poll_report(&mut self) -> Option<ToEngine> {
        let check = self.news.iter().next()?;
        self.news.remove(check);
        let row = self.rows.get(usize::from(check.0))?;
        Some(ToEngine::Health { check, health: row.health, from: row.from })
    }

    /// When [`turn`](Self::turn) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.rows.iter().filter_map(|row| row.monitor.as_ref()?.next_deadline()).min()
    }

    /// Asks what is due, looks at what has ended.
    pub fn turn(&mut self, now: Instant, table: &[Rc<Member>], launcher: &mut Launcher, rules: &StopRules) {
        for index in 0..self.rows.len() {
            let row = &mut self.rows[index];
            let (Some(monitor), Some(group)) = (&mut row.monitor, row.group) else { continue };
            if monitor.lane.is_idle()
                && monitor.table.begin(now)
                && let Some(member) = table.get(usize::from(group.0))
            {
                let job = Job::question(now, group, Rc::clone(member), monitor.limit);
                // It is empty: there is room.
                let _ = monitor.lane.push(job);
            }
            monitor.lane.turn(now, launcher, rules, &mut self.reports);
            for report in std::mem::take(&mut self.reports) {
                if let LaneReport::Ended(job, outcome) = report {
                    self.asked(now, index, &job, outcome);
                }
            }
        }
    }

    fn asked(&mut self, now: Instant, index: usize, job: &Job, outcome: JobOutcome) {
        debug_assert_eq!(job.order, Order::Probe);
        let row = &mut self.rows[index];
        let Some(monitor) = &mut row.monitor else { return };
        if outcome == JobOutcome::Cancelled {
            return;
        }
        let is_good = outcome == JobOutcome::AllRunning;
        if let Some(at) = job.first_down() {
            row.from = u8::try_from(at).unwrap_or(u8::MAX);
        }
        if let Some(health) = monitor.table.answer(now, is_good) {
            if health == Health::Failed {
                let word = job.first_down().and_then(|at| job.member.group.resources.get(at));
                log::warn!("health check {}: {} does not run", row.name, word.map_or("", |resource| &resource.word));
            }
            self.set_health(index, health);
        }
    }

    /// Kills every script that runs.
    pub fn kill(&self) {
        for monitor in self.rows.iter().filter_map(|row| row.monitor.as_ref()) {
            monitor.lane.kill();
        }
    }
}
