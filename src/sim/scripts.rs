//! One board's guardian as far as scripts go, and the truth about what is in use there.

use std::collections::VecDeque;

use super::fault::ScriptFault;
use super::plan::{GroupPlan, Plan};
use super::rng::Rng;
use crate::core::ids::{GroupId, GroupSet, JobId};
use crate::core::{JobOutcome, Order};

/// One job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The core's number; `None`: the guardian's own.
    pub id: Option<JobId>,
    /// Which life of the engine asked.
    pub engine: u32,
    /// Which group.
    pub group: usize,
    /// What.
    pub order: Order,
    /// When it was asked for, true time.
    pub ordered_at: u64,
    /// Nodes that the asking node could at that moment not help taking for dead, one bit each.
    pub excused: u8,
}

/// The truth about one group on one board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Use {
    /// From the moment in which the first `start` script begins until the end of `stop`, or the loss of power.
    pub is_in_use: bool,
    /// Every resource runs.
    pub is_complete: bool,
    /// Every resource was started, whatever has become of it.
    pub is_up: bool,
    /// A stop has failed since it began.
    pub is_stuck: bool,
    /// When the order that led to it was given.
    pub ordered_at: u64,
    /// See [`Job::excused`].
    pub excused: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Status,
    Start { fails: bool },
    Undo { fails: bool },
    Stop { fails: bool },
    Probe { fails: bool },
    Announce,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    job: Job,
    phase: Phase,
    until: u64,
    /// Something stood against its scripts when the job began.
    is_hampered: bool,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    queue: VecDeque<Job>,
    running: Option<Running>,
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A job's first script begins.
    Began(Job),
    /// The group is in use from now on.
    UseBegan(usize),
    /// It no longer is.
    UseEnded(usize),
    /// A job has ended.
    Finished(Job, JobOutcome),
}

/// All jobs and groups of one board.
#[derive(Debug)]
pub struct Scripts {
    plan: Vec<GroupPlan>,
    limit: u64,
    lanes: Vec<Lane>,
    uses: Vec<Use>,
    /// The use of each group that ended last.
    ended: Vec<Use>,
    /// What stands against them: a name, a group or all, and how.
    faults: Vec<(usize, Option<usize>, ScriptFault)>,
    rng: Rng,
}

impl Scripts {
    /// The scripts of `node` in `plan`: nothing runs.
    pub fn new(plan: &Plan, node: usize) -> Self {
        Self {
            plan: plan.groups.clone(),
            limit: plan.script_limit,
            lanes: vec![Lane::default(); plan.nodes],
            uses: vec![Use::default(); plan.groups.len()],
            ended: vec![Use::default(); plan.groups.len()],
            faults: Vec::new(),
            rng: Rng::new(plan.seed, 10 + node as u64),
        }
    }

    /// The truth, group by group.
    pub fn uses(&self) -> &[Use] {
        &self.uses
    }

    /// The use of a group that ended last.
    pub fn ended(&self, group: usize) -> Use {
        self.ended[group]
    }

    /// Lets scripts misbehave until [`Self::mend`].
    pub fn break_down(&mut self, id: usize, group: Option<usize>, fault: ScriptFault) {
        self.faults.push((id, group, fault));
    }

    /// Ends what stands under the name `id`.
    pub fn mend(&mut self, id: usize) {
        self.faults.retain(|(name, ..)| *name != id);
    }

    fn has(&self, group: usize, fault: ScriptFault) -> bool {
        self.faults.iter().any(|(_, only, kind)| only.is_none_or(|only| only == group) && *kind == fault)
    }

    /// Takes a job into its lane. Returns the starts that it takes back.
    pub fn ask(&mut self, job: Job) -> Vec<Job> {
        let lane = &mut self.lanes[self.plan[job.group].preferred];
        let mut cancelled = Vec::new();
        if job.order == Order::Stop {
            lane.queue.retain(|waiting| {
                let is_taken_back =
                    waiting.group == job.group && matches!(waiting.order, Order::Start | Order::Restart { .. });
                if is_taken_back {
                    cancelled.push(*waiting);
                }
                !is_taken_back
            });
        }
        lane.queue.push_back(job);
        cancelled
    }

    /// Forgets what the engine of life `engine` asked for and has not begun.
    pub fn forget(&mut self, engine: u32) {
        for lane in &mut self.lanes {
            lane.queue.retain(|job| job.id.is_none() || job.engine != engine);
        }
    }

    /// Everything that runs scripts is gone; the groups stay as they are.
    pub fn abandon(&mut self) {
        for lane in &mut self.lanes {
            *lane = Lane::default();
        }
    }

    /// The board is off: nothing is in use.
    pub fn lose_power(&mut self) {
        self.abandon();
        self.uses.fill(Use::default());
    }

    /// Whether a job is under way that misbehaving scripts have delayed.
    pub fn is_hampered(&self) -> bool {
        self.lanes.iter().any(|lane| lane.running.is_some_and(|running| running.is_hampered))
    }

    /// Whether no job is under way or waits.
    pub fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.running.is_none() && lane.queue.is_empty())
    }

    /// Groups with a job that is under way or waits.
    pub fn busy(&self) -> GroupSet {
        let jobs = |lane: &Lane| lane.running.map(|running| running.job).into_iter().chain(lane.queue.clone());
        let group = |job: Job| GroupId(u8::try_from(job.group).expect("few groups"));
        self.lanes.iter().flat_map(jobs).map(group).collect()
    }

    /// When [`Self::turn`] has something to do.
    pub fn next(&self) -> Option<u64> {
        if self.lanes.iter().any(|lane| lane.running.is_none() && !lane.queue.is_empty()) {
            return Some(0);
        }
        self.lanes.iter().filter_map(|lane| lane.running.map(|running| running.until)).min()
    }

    /// Carries on until nothing more happens at `now`.
    pub fn turn(&mut self, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for index in 0..self.lanes.len() {
            while self.advance(index, now, &mut effects) {}
        }
        effects
    }

    /// One step of one lane; whether there was one.
    fn advance(&mut self, index: usize, now: u64, effects: &mut Vec<Effect>) -> bool {
        match self.lanes[index].running {
            Some(running) if running.until > now => false,
            Some(running) => {
                self.lanes[index].running = self.step(running, now, effects);
                true
            }
            None => match self.lanes[index].queue.pop_front() {
                None => false,
                Some(job) => {
                    effects.push(Effect::Began(job));
                    let (phase, lasts) = self.begin(job);
                    let is_hampered = self.faults.iter().any(|(_, only, _)| only.is_none_or(|only| only == job.group));
                    self.lanes[index].running = Some(Running { job, phase, until: now + lasts, is_hampered });
                    true
                }
            },
        }
    }

    fn begin(&mut self, job: Job) -> (Phase, u64) {
        let status = self.draw(job.group, |plan| plan.status);
        let hangs = self.has(job.group, ScriptFault::StartHangs);
        match job.order {
            Order::Start => (Phase::Status, status),
            Order::Restart { .. } if !self.uses[job.group].is_in_use => (Phase::Status, status),
            Order::Stop | Order::Restart { .. } if self.uses[job.group].is_in_use => {
                (self.uses[job.group].is_complete, self.uses[job.group].is_up) = (false, false);
                let (fails, lasts) = self.draw_stop(job.group);
                (Phase::Stop { fails }, lasts)
            }
            Order::Stop | Order::Restart { .. } => (Phase::Stop { fails: false }, status),
            Order::Probe if hangs => (Phase::Probe { fails: true }, self.limit),
            Order::Probe => (Phase::Probe { fails: false }, status),
            Order::Announce => (Phase::Announce, status),
        }
    }

    /// What follows when a phase is over; `None`: the job has ended.
    fn step(&mut self, running: Running, now: u64, effects: &mut Vec<Effect>) -> Option<Running> {
        let Running { job, phase, is_hampered, .. } = running;
        let finish = |outcome, effects: &mut Vec<Effect>| {
            effects.push(Effect::Finished(job, outcome));
            None
        };
        match phase {
            Phase::Status if self.uses[job.group].is_complete => finish(JobOutcome::Done, effects),
            Phase::Status => {
                if !self.uses[job.group].is_in_use {
                    self.uses[job.group] =
                        Use { is_in_use: true, ordered_at: job.ordered_at, excused: job.excused, ..Use::default() };
                    effects.push(Effect::UseBegan(job.group));
                }
                let (fails, lasts) = self.draw_start(job.group);
                Some(Running { phase: Phase::Start { fails }, until: now + lasts, job, is_hampered })
            }
            Phase::Start { fails: false } => {
                (self.uses[job.group].is_complete, self.uses[job.group].is_up) = (true, true);
                self.uses[job.group].is_stuck = false;
                finish(JobOutcome::Done, effects)
            }
            Phase::Start { fails: true } => {
                let (fails, lasts) = self.draw_stop(job.group);
                Some(Running { phase: Phase::Undo { fails }, until: now + lasts, job, is_hampered })
            }
            Phase::Undo { fails: true } | Phase::Stop { fails: true } => {
                self.uses[job.group].is_stuck = true;
                finish(JobOutcome::StopFailed, effects)
            }
            Phase::Undo { fails: false } | Phase::Stop { fails: false } => {
                let ended = std::mem::take(&mut self.uses[job.group]);
                if ended.is_in_use {
                    self.ended[job.group] = ended;
                    effects.push(Effect::UseEnded(job.group));
                }
                if let (Order::Restart { .. }, Phase::Stop { .. }) = (job.order, phase) {
                    return Some(Running { phase: Phase::Status, until: now, job, is_hampered });
                }
                let outcome = if job.order == Order::Stop { JobOutcome::Done } else { JobOutcome::Failed };
                effects.push(Effect::Finished(job, outcome));
                None
            }
            Phase::Probe { fails: true } => finish(JobOutcome::Failed, effects),
            Phase::Probe { fails: false } => {
                let found = match self.uses[job.group] {
                    Use { is_complete: true, .. } => JobOutcome::AllRunning,
                    Use { is_in_use: true, .. } => JobOutcome::SomeRunning,
                    Use { .. } => JobOutcome::NoneRunning,
                };
                finish(found, effects)
            }
            Phase::Announce => finish(JobOutcome::Done, effects),
        }
    }

    /// Whether every resource of the group runs, and no job moves it.
    pub fn is_up(&self, group: usize) -> bool {
        let moves =
            |job: &Job| job.group == group && matches!(job.order, Order::Start | Order::Stop | Order::Restart { .. });
        let is_moving =
            |lane: &Lane| lane.running.is_some_and(|running| moves(&running.job)) || lane.queue.iter().any(moves);
        self.uses[group].is_up && !self.lanes.iter().any(is_moving)
    }

    /// A part of the group does not run any more.
    pub fn sicken(&mut self, group: usize) {
        self.uses[group].is_complete = false;
    }

    fn draw_start(&mut self, group: usize) -> (bool, u64) {
        if self.has(group, ScriptFault::StartHangs) {
            return (true, self.limit);
        }
        (self.has(group, ScriptFault::StartFails), self.draw(group, |plan| plan.start))
    }

    fn draw_stop(&mut self, group: usize) -> (bool, u64) {
        if self.has(group, ScriptFault::StopHangs) {
            return (true, self.limit);
        }
        (self.has(group, ScriptFault::StopFails), self.draw(group, |plan| plan.stop))
    }

    fn draw(&mut self, group: usize, longest: fn(&GroupPlan) -> u64) -> u64 {
        let longest = longest(&self.plan[group]);
        let factor = if self.has(group, ScriptFault::Slow) { 5 } else { 1 };
        factor * self.rng.range(longest / 4, longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan::MS;

    fn job(id: u32, group: usize, order: Order) -> Job {
        Job { id: Some(JobId(id)), engine: 1, group, order, ordered_at: 0, excused: 0 }
    }

    fn scripts() -> Scripts {
        let group = Plan::quiet().groups[0];
        Scripts::new(&Plan { groups: vec![group; 2], ..Plan::quiet() }, 0)
    }

    /// Runs until all is done; returns what ended, in order, and when.
    fn drain(scripts: &mut Scripts) -> Vec<(u32, JobOutcome)> {
        let mut now = 0;
        let mut ended = Vec::new();
        while let Some(next) = scripts.next() {
            now = now.max(next);
            for effect in scripts.turn(now) {
                if let Effect::Finished(job, outcome) = effect {
                    ended.push((job.id.unwrap().0, outcome));
                }
            }
        }
        ended
    }

    #[test]
    fn groups_of_one_node_start_in_order() {
        let mut scripts = scripts();
        scripts.ask(job(1, 0, Order::Start));
        scripts.ask(job(2, 1, Order::Start));
        assert_eq!(drain(&mut scripts), [(1, JobOutcome::Done), (2, JobOutcome::Done)]);
        assert!(scripts.uses().iter().all(|group| group.is_complete));
    }

    #[test]
    fn group_is_in_use_from_start_until_end_of_stop() {
        let mut scripts = scripts();
        scripts.ask(job(1, 0, Order::Start));
        scripts.turn(0);
        assert!(!scripts.uses()[0].is_in_use, "status is asked first");
        let begun = scripts.turn(10 * MS);
        assert!(begun.contains(&Effect::UseBegan(0)));
        scripts.turn(100 * MS);
        scripts.ask(job(2, 0, Order::Stop));
        scripts.turn(100 * MS);
        assert!(scripts.uses()[0].is_in_use && !scripts.uses()[0].is_complete);
        assert!(scripts.turn(200 * MS).contains(&Effect::UseEnded(0)));
    }

    #[test]
    fn stop_takes_back_a_start_that_has_not_begun() {
        let mut scripts = scripts();
        scripts.ask(job(1, 0, Order::Start));
        scripts.turn(0);
        scripts.ask(job(2, 1, Order::Start));
        assert_eq!(scripts.ask(job(3, 1, Order::Stop)), [job(2, 1, Order::Start)]);
        assert_eq!(scripts.ask(job(4, 0, Order::Stop)), []);
        let outcomes = drain(&mut scripts);
        assert_eq!(outcomes, [(1, JobOutcome::Done), (3, JobOutcome::Done), (4, JobOutcome::Done)]);
    }

    #[test]
    fn failed_start_is_undone_and_failed_stop_stays_in_use() {
        let mut scripts = scripts();
        scripts.break_down(1, Some(0), ScriptFault::StartFails);
        scripts.ask(job(1, 0, Order::Start));
        assert_eq!(drain(&mut scripts), [(1, JobOutcome::Failed)]);
        assert!(!scripts.uses()[0].is_in_use);
        scripts.break_down(2, None, ScriptFault::StopFails);
        scripts.ask(job(2, 0, Order::Start));
        assert_eq!(drain(&mut scripts), [(2, JobOutcome::StopFailed)]);
        assert!(scripts.uses()[0].is_in_use && scripts.uses()[0].is_stuck);
        scripts.mend(1);
        scripts.mend(2);
        scripts.ask(job(3, 0, Order::Stop));
        assert_eq!(drain(&mut scripts), [(3, JobOutcome::Done)]);
        assert_eq!(scripts.uses()[0], Use::default());
    }

    #[test]
    fn probe_tells_the_truth_and_fails_when_it_hangs() {
        let mut scripts = scripts();
        scripts.ask(job(1, 0, Order::Probe));
        scripts.ask(job(2, 0, Order::Start));
        scripts.ask(job(3, 0, Order::Probe));
        assert_eq!(
            drain(&mut scripts),
            [(1, JobOutcome::NoneRunning), (2, JobOutcome::Done), (3, JobOutcome::AllRunning)]
        );
        scripts.break_down(1, None, ScriptFault::StartHangs);
        scripts.ask(job(4, 0, Order::Probe));
        assert_eq!(drain(&mut scripts), [(4, JobOutcome::Failed)]);
        scripts.lose_power();
    }
}
