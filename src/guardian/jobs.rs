//! Runs jobs on resource groups for the guardian process.
//!
//! Single thread, never blocks: whoever owns a [`Runner`] waits for [`Runner::as_fd`] or
//! [`Runner::next_deadline`], calls [`Runner::turn`], and drains [`Runner::poll_report`]. Groups of the same preferred
//! node share a lane, in which jobs run strictly one after another in the order asked for; lanes run side by side.
//! Dropping a `Runner` leaves running scripts alone.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::announce::Announcer;
use super::fence::{FencePins, Fencer, ShotOrder};
use super::health::HealthDesk;
use super::job::{Job, Member, StopRules};
use super::lane::{Lane, LaneReport};
use super::launcher::Launcher;
use super::lookup::Places;
use super::messages::SiteMessage;
use super::notify::Notifier;
use super::protocol::ToEngine;
use super::reassert::Reasserter;
use crate::config::Config;
use crate::core::ids::{GroupId, GroupSet, JobId, LinkId, PingId, ShotId};
use crate::core::message::GroupState;
use crate::core::{Cause, JobOutcome, Order};

/// Reports that wait to be polled. Of more, steps are dropped; the ends of jobs never are.
const STEPS_MAX: usize = 1024;

/// How late a busy board may be with what was due.
const OVERDUE_MAX: Duration = Duration::from_secs(1);

/// What can be moved for tests and unusual machines.
#[derive(Debug, Clone, Default)]
pub struct Adjust {
    /// Instead of `/etc/init.d`.
    pub init_d: Option<PathBuf>,
    /// Instead of `/usr/lib/ocf`.
    pub ocf_root: Option<PathBuf>,
    /// Instead of `/usr/bin/systemctl`.
    pub systemctl: Option<PathBuf>,
    /// Instead of one second between two tries to stop.
    pub stop_pause: Option<Duration>,
}

/// Runs jobs.
#[derive(Debug)]
pub struct Runner {
    table: Vec<Rc<Member>>,
    lanes: Vec<Lane>,
    rules: StopRules,
    launcher: Launcher,
    announcer: Announcer,
    reasserter: Reasserter,
    notifier: Notifier,
    fencer: Fencer,
    health: HealthDesk,
    adjust: Adjust,
    reports: VecDeque<ToEngine>,
    /// Of the groups of [`stop_all`](Self::stop_all), those not yet stopped.
    unstopped: GroupSet,
    stop_failures: GroupSet,
    news: Vec<LaneReport>,
}

impl Runner {
    /// For the groups of `config`.
    ///
    /// # Errors
    /// When the process cannot even have an epoll descriptor.
    pub fn new(config: &Config) -> io::Result<Self> {
        Self::with(config, Adjust::default())
    }

    /// Like [`new`](Self::new), with other places and pauses.
    ///
    /// # Errors
    /// As `new`.
    pub fn with(config: &Config, adjust: Adjust) -> io::Result<Self> {
        let mut places = Places::new(&config.paths);
        if let Some(init_d) = &adjust.init_d {
            places.init_d.clone_from(init_d);
        }
        if let Some(systemctl) = &adjust.systemctl {
            places.systemctl.clone_from(systemctl);
        }
        if let Some(ocf_root) = &adjust.ocf_root {
            places.ocf_root.clone_from(ocf_root);
        }
        let launcher = Launcher::new(config, places, Instant::now())?;
        let mut runner = Self {
            table: Vec::new(),
            lanes: Vec::new(),
            rules: StopRules::new(config),
            launcher,
            announcer: Announcer::default(),
            reasserter: Reasserter::new(config),
            notifier: Notifier::new(config),
            fencer: Fencer::new(config),
            health: HealthDesk::default(),
            adjust,
            reports: VecDeque::new(),
            unstopped: GroupSet::EMPTY,
            stop_failures: GroupSet::EMPTY,
            news: Vec::new(),
        };
        runner.set_table(config);
        Ok(runner)
    }

    /// After a reload. Jobs under way keep the group as it was when they were asked for.
    pub fn replace_table(&mut self, config: &Config) {
        self.launcher.replace_config(config);
        self.notifier.replace_config(config);
        self.reasserter.replace_config(config);
        self.fencer.replace_config(config);
        self.set_table(config);
    }

    fn set_table(&mut self, config: &Config) {
        self.rules = StopRules::new(config);
        if let Some(pause) = self.adjust.stop_pause {
            self.rules.pause = pause;
        }
        let old = std::mem::take(&mut self.table);
        for group in &config.groups {
            let known = old.iter().find(|member| member.group == *group);
            self.table.push(known.map_or_else(|| Member::new(group), Rc::clone));
            if !self.lanes.iter().any(|lane| lane.node == group.node) {
                self.lanes.push(Lane::new(&group.node));
            }
        }
        let running = (0..).map(GroupId).zip(&self.table).filter(|(_, member)| member.is_up.get());
        let running = running.map(|(group, _)| group).collect();
        self.health.replace_table(Instant::now(), config, running);
    }

    /// Health checks: of groups that run here, and what is known of them.
    pub fn health(&mut self) -> &mut HealthDesk {
        &mut self.health
    }

    /// An earlier guardian left these running, completely: they are checked from now on.
    pub fn assume_running(&mut self, now: Instant, groups: GroupSet) {
        for group in groups.iter() {
            self.note_up(now, group, true);
            if let Some(member) = self.table.get(usize::from(group.0)) {
                member.is_left.set(true);
            }
        }
    }

    fn note_up(&mut self, now: Instant, group: GroupId, is_up: bool) {
        if let Some(member) = self.table.get(usize::from(group.0)) {
            member.is_up.set(is_up);
            self.health.set_running(now, group, is_up);
        }
    }

    /// An earlier guardian left these running (the lease says so): they count as started here.
    pub fn assume_started(&mut self, groups: GroupSet) {
        for group in groups.iter() {
            for is_touched in self.table.get(usize::from(group.0)).into_iter().flat_map(|member| &member.is_touched) {
                is_touched.set(true);
            }
        }
    }

    /// Queues a job and begins it if its lane is free. A `Stop` takes back every `Start` of the group that has not
    /// begun.
    pub fn request(&mut self, now: Instant, job: JobId, group: GroupId, order: Order) {
        self.enqueue(now, Some(job), group, order);
        self.turn(now);
    }

    /// Tells whoever wants to know that a group changed here.
    pub fn notify_group(&mut self, now: Instant, id: GroupId, old: GroupState, new: GroupState, cause: Cause) {
        if let Some(member) = self.table.get(usize::from(id.0)) {
            self.notifier.group(&member.group, old, new, cause);
            self.notifier.turn(now, &mut self.launcher);
        }
    }

    /// Fires a shot at the partner.
    pub fn fence(&mut self, now: Instant, order: ShotOrder, asked_at: Instant) {
        self.fencer.fire(now, order, asked_at, &mut self.launcher);
    }

    /// Breaks one off.
    pub fn cancel_fence(&mut self, now: Instant, shot: ShotId) {
        self.fencer.cancel(now, shot, &mut self.launcher);
    }

    /// Communication is up: fence devices are asked whether they answer, now and every hour.
    pub fn check_fences(&mut self, now: Instant) {
        self.fencer.begin_checks(now);
    }

    /// The lines for `fence gpio`.
    pub fn set_fence_pins(&mut self, pins: Box<dyn FencePins>) {
        self.fencer.set_pins(pins);
    }

    /// The shot that has ended a run of the partner for sure, until the partner is heard again.
    pub fn confirmed_fence(&self) -> Option<ShotOrder> {
        self.fencer.confirmed()
    }

    /// The shot under way.
    pub fn pending_fence(&self) -> Option<ShotOrder> {
        self.fencer.pending()
    }

    /// The same of a node: its place in ha.cf and the first letter of its status.
    pub fn notify_node(&mut self, now: Instant, node: u8, status: u8) {
        if status != b'd' {
            self.fencer.heard_node(node);
        }
        self.notifier.node(node, status);
        self.launcher.set_alone(!self.notifier.is_anybody_active());
        self.notifier.turn(now, &mut self.launcher);
    }

    /// The same of a link to a node.
    pub fn notify_link(&mut self, now: Instant, node: u8, link: LinkId, is_up: bool) {
        self.notifier.link(node, link, is_up);
        self.notifier.turn(now, &mut self.launcher);
    }

    /// Runs the `rc.d` script for a ping node that has come back or died.
    pub fn notify_ping(&mut self, now: Instant, ping: PingId, is_alive: bool) {
        self.notifier.ping(ping, is_alive);
        self.notifier.turn(now, &mut self.launcher);
    }

    /// Runs the `rc.d` script for a message of another node, if there is one.
    pub fn notify_message(&mut self, now: Instant, message: &SiteMessage) {
        self.notifier.message(message, &self.launcher);
        self.notifier.turn(now, &mut self.launcher);
    }

    /// Types of messages that [`notify_message`](Self::notify_message) has scripts for.
    pub fn message_types(&self) -> Vec<String> {
        self.notifier.message_types()
    }

    /// Whether every notification has been given.
    pub fn has_notified(&self) -> bool {
        self.notifier.is_idle()
    }

    /// Notifications dropped because too many waited.
    pub fn notifications_dropped(&self) -> u64 {
        self.notifier.dropped()
    }

    fn enqueue(&mut self, now: Instant, id: Option<JobId>, number: GroupId, order: Order) {
        let Some(member) = self.table.get(usize::from(number.0)).map(Rc::clone) else {
            log::error!("job for group {}, of which the table knows nothing", number.0);
            self.refuse(id, order);
            return;
        };
        if !matches!(order, Order::Probe | Order::Announce) {
            self.note_up(now, number, false);
        }
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.node == member.group.node) else { return };
        if order == Order::Stop {
            self.announcer.withdraw(&member);
            self.reasserter.withdraw(now, &member);
            for job in lane.cancel(|job| job.is_start() && Rc::ptr_eq(&job.member, &member)) {
                self.reports.extend(done(&job, JobOutcome::Cancelled));
            }
        }
        if lane.push(Job::new(now, id, number, member, order)).is_err() {
            log::error!("too many jobs are waiting");
            self.refuse(id, order);
        }
    }

    fn refuse(&mut self, id: Option<JobId>, order: Order) {
        let outcome = if order == Order::Stop { JobOutcome::StopFailed } else { JobOutcome::Failed };
        self.reports.extend(id.map(|job| ToEngine::JobDone { job, outcome, resource: u8::MAX, ms: 0 }));
    }

    /// The engine that asked for the jobs is gone: nobody waits for their reports. What has not begun is dropped
    /// except stops; what runs goes on.
    pub fn forget_engine(&mut self) {
        self.reports.clear();
        self.fencer.forget_engine();
        self.health.forget_engine();
        for lane in &mut self.lanes {
            lane.cancel(|job| job.order != Order::Stop);
            for job in lane.jobs_mut() {
                job.id = None;
            }
        }
    }

    /// Stops `groups` without an engine: queued work is dropped, a start under way begins no further resource. Then
    /// look at [`unstopped`](Self::unstopped).
    pub fn stop_all(&mut self, now: Instant, groups: GroupSet) {
        self.forget_engine();
        for job in self.lanes.iter_mut().flat_map(Lane::jobs_mut) {
            job.recall();
        }
        self.unstopped = groups;
        for group in groups.iter() {
            if !self.is_being_stopped(group) {
                self.enqueue(now, None, group, Order::Stop);
            }
        }
        self.turn(now);
    }

    /// Whether a stop runs or waits; no start can be waiting behind it.
    fn is_being_stopped(&self, group: GroupId) -> bool {
        let Some(member) = self.table.get(usize::from(group.0)) else { return false };
        let is_stop = |job: &Job| job.order == Order::Stop && Rc::ptr_eq(&job.member, member);
        self.lanes.iter().flat_map(Lane::jobs).any(is_stop)
    }

    /// Of the groups given to [`stop_all`](Self::stop_all), those that have not been stopped (yet).
    pub fn unstopped(&self) -> GroupSet {
        self.unstopped
    }

    /// Groups whose last stop failed: with `on_stop_failure reboot` this board is to be reset.
    pub fn stop_failures(&self) -> GroupSet {
        self.stop_failures
    }

    /// Whether no job runs or waits.
    pub fn is_idle(&self) -> bool {
        self.lanes.iter().all(Lane::is_idle)
    }

    /// Groups that are being started or stopped, or are waiting for it: what state they are in nobody knows.
    pub fn busy(&self) -> GroupSet {
        let moves = |job: &&Job| job.is_start() || job.order == Order::Stop;
        self.lanes.iter().flat_map(Lane::jobs).filter(moves).map(|job| self.number_of(job)).collect()
    }

    /// Groups that a job has left running here, in part at least, and those that are [busy](Self::busy): what this process
    /// knows by itself, whatever an engine says. What could not be stopped is not among them.
    pub fn held(&self) -> GroupSet {
        let left = (0..).map(GroupId).zip(&self.table).filter(|(_, member)| member.is_left.get());
        left.map(|(group, _)| group).collect::<GroupSet>() | self.busy()
    }

    /// Whether anything is under way that a stop of this board has to wait for: a job from before `asked`, or a stop of what
    /// a job has left running. Not what is asked for later on without need: that might never end.
    pub fn is_stopping_since(&self, asked: Instant) -> bool {
        let is_needed = |job: &Job| job.requested <= asked || job.order == Order::Stop && job.member.is_left.get();
        self.lanes.iter().flat_map(Lane::jobs).any(is_needed)
    }

    /// The script that runs for each busy lane: its group and process group, for the lease.
    pub fn scripts(&self) -> impl Iterator<Item = (GroupId, Pid)> {
        self.lanes.iter().filter_map(|lane| lane.script().map(|(job, pid)| (self.number_of(job), pid)))
    }

    /// The group's number in the table as it is now; a group that is gone keeps its old one.
    fn number_of(&self, job: &Job) -> GroupId {
        let place = self.table.iter().position(|member| Rc::ptr_eq(member, &job.member));
        place.and_then(|place| u8::try_from(place).ok()).map_or(job.number, GroupId)
    }

    /// The process group of the fence program that is shooting, for the lease.
    pub fn fence_program(&self) -> Option<Pid> {
        self.fencer.program()
    }

    /// Kills every script that runs, with its process group.
    pub fn kill_scripts(&self) {
        for lane in &self.lanes {
            lane.kill();
        }
        self.notifier.kill();
        self.reasserter.kill();
        self.fencer.kill();
        self.health.kill();
    }

    /// What every program gets: `NAME=value`.
    pub fn environment(&self) -> &[CString] {
        self.launcher.base_environment()
    }

    /// Readable when [`turn`](Self::turn) has something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.launcher.as_fd()
    }

    /// When [`turn`](Self::turn) is due even if the descriptor is quiet.
    pub fn next_deadline(&self) -> Option<Instant> {
        let others = [
            self.launcher.next_deadline(),
            self.announcer.next_deadline(),
            self.notifier.next_deadline(),
            self.reasserter.next_deadline(),
            self.fencer.next_deadline(),
            self.health.next_deadline(),
        ];
        self.lanes.iter().map(Lane::next_deadline).chain(others).flatten().min()
    }

    /// Whether everything that was due has been seen to. A script that takes long within its time limit is not late; a
    /// time limit over which nobody watches is.
    pub fn is_on_time(&self, now: Instant) -> bool {
        self.next_deadline().is_none_or(|due| now <= due + OVERDUE_MAX)
    }

    /// Does what can be done now: scripts that have ended, time limits, pauses, output.
    pub fn turn(&mut self, now: Instant) {
        self.launcher.turn(now);
        for index in 0..self.lanes.len() {
            self.lanes[index].turn(now, &mut self.launcher, &self.rules, &mut self.news);
            for report in std::mem::take(&mut self.news) {
                self.take_report(now, report);
            }
        }
        self.fencer.turn(now, &mut self.launcher);
        self.health.turn(now, &self.table, &mut self.launcher, &self.rules);
        self.announcer.turn(now);
        self.notifier.turn(now, &mut self.launcher);
        self.reasserter.turn(now, &mut self.launcher);
    }

    fn take_report(&mut self, now: Instant, report: LaneReport) {
        match report {
            LaneReport::Ended(job, outcome) => {
                self.note_end(&job, outcome);
                self.note_health(now, &job, outcome);
                if (job.is_start() || job.order == Order::Announce) && outcome == JobOutcome::Done {
                    self.announcer.announce(now, &self.launcher.places, &job.member);
                }
                if job.order == Order::Announce && outcome == JobOutcome::Done {
                    self.reasserter.reassert(now, &job.member, &mut self.launcher);
                }
                self.reports.extend(done(&job, outcome));
            }
            LaneReport::Step { id, at, took } if self.reports.len() < STEPS_MAX => {
                self.reports.push_back(ToEngine::JobStep {
                    job: id,
                    resource: u8::try_from(at).unwrap_or(u8::MAX),
                    micros: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
                });
            }
            LaneReport::Step { .. } => {}
        }
    }

    /// A group that runs and is not about to be moved is checked.
    fn note_health(&mut self, now: Instant, job: &Job, outcome: JobOutcome) {
        let is_complete = job.is_start() && outcome == JobOutcome::Done || outcome == JobOutcome::AllRunning;
        let moves = |other: &Job| other.order != Order::Probe && other.order != Order::Announce;
        let is_next = |other: &Job| Rc::ptr_eq(&other.member, &job.member) && moves(other);
        let is_known = self.table.iter().any(|member| Rc::ptr_eq(member, &job.member));
        if is_complete && is_known && !self.lanes.iter().flat_map(Lane::jobs).any(is_next) {
            self.note_up(now, self.number_of(job), true);
        }
    }

    fn note_end(&mut self, job: &Job, outcome: JobOutcome) {
        let number = self.number_of(job);
        if outcome == JobOutcome::StopFailed {
            self.stop_failures.insert(number);
        } else if job.order == Order::Stop || job.is_start() {
            self.stop_failures.remove(number);
        }
        if job.order == Order::Stop && outcome == JobOutcome::Done {
            self.unstopped.remove(number);
        }
        note_left(job, outcome);
    }

    /// What the engine is to be told, oldest first.
    pub fn poll_report(&mut self) -> Option<ToEngine> {
        self.reports.pop_front().or_else(|| self.fencer.poll_report()).or_else(|| self.health.poll_report())
    }
}

/// Whether anything of the group runs after that job; nothing new where the job does not tell.
fn note_left(job: &Job, outcome: JobOutcome) {
    let is_left = match outcome {
        JobOutcome::Done | JobOutcome::Failed if matches!(job.order, Order::Probe | Order::Announce) => return,
        JobOutcome::Cancelled if !job.is_start() => return,
        JobOutcome::AllRunning | JobOutcome::SomeRunning | JobOutcome::Cancelled => true,
        JobOutcome::Done => job.is_start(),
        JobOutcome::Failed | JobOutcome::StopFailed | JobOutcome::NoneRunning => false,
    };
    job.member.is_left.set(is_left);
}

fn done(job: &Job, outcome: JobOutcome) -> Option<ToEngine> {
    Some(ToEngine::JobDone {
        job: job.id?,
        outcome,
        resource: job.failed_at(),
        ms: u32::try_from(job.requested.elapsed().as_millis()).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
mod tests;
