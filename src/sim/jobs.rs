//! Scripts that engines and guardians ask for, and what comes of them.

use super::board::{Arrived, Daemon};
use super::happening::Happening;
use super::plan::MS;
use super::scripts::{Effect, Job, Use};
use super::world::World;
use crate::core::ids::{GroupId, JobId};
use crate::core::message::GroupState;
use crate::core::{JobOutcome, Order};

impl World {
    pub(super) fn run_job(&mut self, node: usize, job: JobId, id: GroupId, order: Order) {
        let group = usize::from(id.0);
        self.note(node, format_args!("asks for {order:?} of group {group} (job {})", job.0));
        let (own, is_misled) = (self.boards[node].own(self.now), self.is_misled(node));
        let board = &mut self.boards[node];
        match order {
            Order::Start | Order::Restart { .. } => board.lease.set_group(group, GroupState::Starting),
            Order::Stop => board.lease.set_group(group, GroupState::Stopping),
            Order::Probe | Order::Announce => {}
        }
        let engine = board.engine_life;
        let is_restart = board.restarting.contains(id) && order == Order::Start;
        board.restarting.remove(id);
        let (ended, current) = (board.scripts.ended(group), board.scripts.uses()[group]);
        // Who restarts in place what it never gave up, and cannot know that somebody else has taken it, orders nothing new.
        let is_in_place = matches!(order, Order::Restart { .. }) && current.is_in_use;
        let (ordered_at, excused) = if is_restart {
            (ended.ordered_at, ended.excused)
        } else if is_in_place && self.oracle.is_deaf(node, 1 - node, own) {
            (current.ordered_at, current.excused)
        } else {
            (self.now, self.oracle.excused(node, own, is_misled))
        };
        let job = Job { id: Some(job), engine, group, order, ordered_at, excused };
        let cancelled = board.scripts.ask(job);
        if !matches!(order, Order::Probe | Order::Announce) {
            self.forget_findings(node, group);
        }
        for cancelled in cancelled {
            self.job_ended(node, cancelled, JobOutcome::Cancelled);
        }
        self.after(self.plan.boot.min(500), Happening::Script { node });
    }

    /// Lets the scripts of a board go on.
    pub(super) fn run_scripts(&mut self, node: usize) {
        let board = &mut self.boards[node];
        if !board.is_powered || board.freeze.is_some() {
            return;
        }
        let is_manager_at_work = board.is_releasing && board.daemon != Daemon::Runs;
        if !board.has_guardian && !is_manager_at_work {
            return;
        }
        for effect in board.scripts.turn(self.now) {
            self.take_effect(node, effect);
        }
        self.after_release(node);
        if let Some(next) = self.boards[node].scripts.next() {
            self.at(next.max(self.now + 1), Happening::Script { node });
        }
    }

    fn take_effect(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Began(job) => {
                if let Some(off_for) = self.boards[node].power_trap.take() {
                    let life = self.boards[node].life;
                    let longest = self.plan.groups[job.group].start.max(2);
                    let delay = self.rng.below(longest);
                    self.spring_trap(node, life, off_for, delay);
                }
            }
            Effect::UseBegan(group) => {
                self.note(node, format_args!("group {group} comes into use"));
                self.recover(node, group);
                let boards: Vec<&[Use]> = self.boards.iter().map(|board| board.scripts.uses()).collect();
                self.oracle.use_began(self.now, node, group, &boards);
            }
            Effect::UseEnded(group) => self.note(node, format_args!("group {group} is no longer in use")),
            Effect::Finished(job, outcome) => self.job_ended(node, job, outcome),
        }
    }

    fn job_ended(&mut self, node: usize, job: Job, outcome: JobOutcome) {
        self.note(node, format_args!("{:?} of group {} ends: {outcome:?}", job.order, job.group));
        if matches!(job.order, Order::Start | Order::Restart { .. }) && outcome == JobOutcome::Done {
            self.started(node, job.group);
        }
        if outcome == JobOutcome::StopFailed && self.plan.is_reset_on_stop_failure {
            self.note(node, "stop failure resets the board");
            self.lose_power(node, MS);
            return;
        }
        if job.id.is_none() {
            return self.own_stop_ended(node, job.group, outcome);
        }
        let board = &mut self.boards[node];
        if let (Some(id), true) = (job.id, job.engine == board.engine_life) {
            board.receive(Arrived::Job(id, outcome));
            self.turn(node);
        }
    }
}

/// The guardian's own stop of a group.
pub(super) fn own_stop(group: usize, now: u64) -> Job {
    Job { id: None, engine: 0, group, order: Order::Stop, ordered_at: now, excused: 0 }
}
