//! One board's scripts: which job is under way, and the truth about what is in use there.

use std::collections::VecDeque;

use nullbeat::core::ids::{GroupId, JobId};
use nullbeat::core::{JobOutcome, Order};

/// The truth about one group on one board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Use {
    /// From the moment in which a `start` may have begun until the end of a `stop` that succeeded.
    pub(crate) is_in_use: bool,
    pub(crate) is_complete: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) group: usize,
    pub(crate) order: Order,
}

/// Jobs one after another, as with all groups at home on one node.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    queue: VecDeque<Job>,
    /// When the first of the queue began.
    began: u64,
    pub(crate) uses: Vec<Use>,
}

impl Jobs {
    pub(crate) fn new(groups: usize) -> Self {
        Self { queue: VecDeque::new(), began: 0, uses: vec![Use::default(); groups] }
    }

    /// The job under way and since when.
    pub(crate) fn current(&self) -> Option<(Job, u64)> {
        self.queue.front().map(|job| (*job, self.began))
    }

    /// Takes a job. Returns the starts that it takes back.
    pub(crate) fn ask(&mut self, now: u64, id: JobId, group: GroupId, order: Order) -> Vec<Job> {
        let group = usize::from(group.0);
        let is_taken_back = |place: usize, job: &Job| place > 0 && job.group == group && job.order == Order::Start;
        let mut cancelled = Vec::new();
        if order == Order::Stop {
            let places = self.queue.iter().enumerate();
            cancelled = places.filter(|(place, job)| is_taken_back(*place, job)).map(|(_, job)| *job).collect();
            self.queue.retain(|job| !cancelled.iter().any(|other| other.id == job.id));
        }
        self.queue.push_back(Job { id, group, order });
        if self.queue.len() == 1 {
            self.begin(now);
        }
        cancelled
    }

    fn begin(&mut self, now: u64) {
        self.began = now;
        if let Some(job) = self.queue.front() {
            match job.order {
                Order::Start => self.uses[job.group].is_in_use = true,
                Order::Stop => self.uses[job.group].is_complete = false,
                Order::Probe | Order::Announce => {}
                Order::Restart { .. } => panic!("restarts in place need health checks, which this model has not"),
            }
        }
    }

    /// How the job under way may end: at its best, and when something goes wrong.
    pub(crate) fn outcomes(&self, job: Job) -> [JobOutcome; 2] {
        match job.order {
            Order::Start => [JobOutcome::Done, JobOutcome::Failed],
            Order::Stop => [JobOutcome::Done, JobOutcome::StopFailed],
            Order::Probe => [self.found(job.group), self.found(job.group)],
            Order::Announce | Order::Restart { .. } => [JobOutcome::Done, JobOutcome::Done],
        }
    }

    fn found(&self, group: usize) -> JobOutcome {
        match self.uses[group] {
            Use { is_complete: true, .. } => JobOutcome::AllRunning,
            Use { is_in_use: true, .. } => JobOutcome::SomeRunning,
            Use { .. } => JobOutcome::NoneRunning,
        }
    }

    /// The job under way ends like this, and the next one begins.
    pub(crate) fn end(&mut self, now: u64, outcome: JobOutcome) {
        let job = self.queue.pop_front().expect("a job is under way");
        let place = &mut self.uses[job.group];
        match (job.order, outcome) {
            (Order::Start, JobOutcome::Done) => place.is_complete = true,
            (Order::Start, JobOutcome::Failed) | (Order::Stop, JobOutcome::Done) => *place = Use::default(),
            _ => {}
        }
        self.begin(now);
    }
}
