//! One job on one group as a state machine: which script is next (spec/resources.md 4.1, 4.2). Starts nothing itself.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::script::Ending;
use crate::config::{Config, Group, OnStopFailure};
use crate::core::ids::{GroupId, JobId};
use crate::core::{JobOutcome, Order};

/// A group and what is known of its members between jobs.
#[derive(Debug)]
pub struct Member {
    /// As in haresources.
    pub group: Group,
    /// Of each resource: a start was tried or it was seen running, and it has not been stopped since.
    pub is_touched: Vec<Cell<bool>>,
    /// It was started here and nothing has been asked of it since.
    pub is_up: Cell<bool>,
    /// A job has left some of it running here, as far as this process knows by itself.
    pub is_left: Cell<bool>,
    /// Of each resource: that text and exit code of its `status` disagree has been said.
    pub has_disagreed: Vec<Cell<bool>>,
}

impl Member {
    /// Nothing known.
    pub fn new(group: &Group) -> Rc<Self> {
        let cells = || group.resources.iter().map(|_| Cell::new(false)).collect();
        let (is_up, is_left) = (Cell::new(false), Cell::new(false));
        Rc::new(Self { group: group.clone(), is_touched: cells(), has_disagreed: cells(), is_up, is_left })
    }

    /// As logged: node and words.
    fn text(&self) -> String {
        format!("{} {}", self.group.node, self.group.text)
    }

    fn word(&self, at: usize) -> &str {
        self.group.resources.get(at).map_or("", |resource| resource.word.as_str())
    }
}

/// What the configuration and the tests say about stopping.
#[derive(Debug, Clone, Copy)]
pub struct StopRules {
    /// Further tries after a failed one; zero: for ever.
    pub retries: u32,
    /// Between two tries.
    pub pause: Duration,
    /// What happens afterwards. The run loop does it; with `Reboot` it is told at once.
    pub on_failure: OnStopFailure,
}

impl StopRules {
    /// From the configuration, with Heartbeat's second between tries.
    pub fn new(config: &Config) -> Self {
        Self { retries: config.stop_retries, pause: Duration::from_secs(1), on_failure: config.on_stop_failure }
    }
}

/// What a script is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `start`
    Start,
    /// `stop`
    Stop,
    /// `status`, `monitor` for OCF agents
    Status,
}

impl Action {
    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Status => "status",
        }
    }
}

/// What came of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `status`: it runs.
    Running,
    /// `status`: it does not.
    NotRunning,
    /// `monitor` of an OCF agent said neither.
    Unclear,
    /// `start` or `stop` ended, or `status` did not in time.
    Ended(Ending),
    /// There is no such script, or none that can be executed; said in the log already.
    Missing,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Run the script of the resource at this place.
    Run(usize, Action),
    /// Nothing until [`Job::paused_until`].
    Pause,
    /// Over.
    End(JobOutcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Asking {
        at: usize,
    },
    Starting {
        at: usize,
    },
    Stopping {
        at: usize,
        tries: u32,
    },
    Pausing {
        at: usize,
        tries: u32,
        until: Instant,
    },
    /// All stops failed: does it run?
    Doubting {
        at: usize,
    },
}

/// One order for one group.
#[derive(Debug)]
pub struct Job {
    /// Whom to report to; `None`: nobody, the engine is gone.
    pub id: Option<JobId>,
    /// Number of the group when it was asked for.
    pub number: GroupId,
    /// The group as it was then.
    pub member: Rc<Member>,
    /// What.
    pub order: Order,
    /// When.
    pub requested: Instant,
    /// Time limit of each script, where that of all scripts does not hold.
    pub limit: Option<Duration>,
    stage: Stage,
    start_failed: Option<usize>,
    stop_failed: Option<usize>,
    running: usize,
    is_unclear: bool,
    is_recalled: bool,
    /// The stops of a restart, which end before the resource at place `floor`.
    is_restarting: bool,
    floor: usize,
    first_down: Option<usize>,
}

impl Job {
    /// Not begun.
    pub fn new(now: Instant, id: Option<JobId>, number: GroupId, member: Rc<Member>, order: Order) -> Self {
        Self {
            id,
            number,
            member,
            order,
            requested: now,
            limit: None,
            stage: Stage::Queued,
            start_failed: None,
            stop_failed: None,
            running: 0,
            is_unclear: false,
            is_recalled: false,
            is_restarting: false,
            floor: 0,
            first_down: None,
        }
    }

    /// Whether the group runs, asked by nobody but the guardian itself.
    pub fn question(now: Instant, number: GroupId, member: Rc<Member>, limit: Duration) -> Self {
        Self { limit: Some(limit), ..Self::new(now, None, number, member, Order::Probe) }
    }

    /// Of a probe: place of the first resource that does not run, for all that is known.
    pub const fn first_down(&self) -> Option<usize> {
        self.first_down
    }

    /// Whether nothing has been done yet.
    pub fn is_queued(&self) -> bool {
        self.stage == Stage::Queued
    }

    /// The end of a pause that it is in.
    pub fn paused_until(&self) -> Option<Instant> {
        match self.stage {
            Stage::Pausing { until, .. } => Some(until),
            _ => None,
        }
    }

    /// A start that runs shall begin no further resource: the group is going to be stopped anyway. Of a probe nobody wants
    /// to know any more.
    pub fn recall(&mut self) {
        self.is_recalled = true;
    }

    /// Place of the resource at which it failed; 255: none.
    pub fn failed_at(&self) -> u8 {
        self.stop_failed.or(self.start_failed).map_or(u8::MAX, |at| u8::try_from(at).unwrap_or(u8::MAX))
    }

    /// The first step.
    pub fn begin(&mut self) -> Step {
        match self.order {
            Order::Start => {
                log::info!("Acquiring resource group: {}", self.member.text());
                self.ask(0)
            }
            Order::Probe => self.ask(0),
            Order::Restart { from } => {
                log::info!("Restarting resource group: {}", self.member.text());
                self.is_restarting = true;
                self.floor = usize::from(from).min(self.member.group.resources.len());
                self.stop_before(self.member.group.resources.len())
            }
            Order::Stop => self.release(),
            Order::Announce => Step::End(JobOutcome::Done),
        }
    }

    /// After a pause.
    pub fn resume(&mut self) -> Step {
        let Stage::Pausing { at, tries, .. } = self.stage else { return Step::Pause };
        log::info!("Retrying failed stop operation [{}]", self.member.word(at));
        self.stage = Stage::Stopping { at, tries };
        Step::Run(at, Action::Stop)
    }

    /// The script of the last [`Step::Run`] has ended (or could not be run).
    pub fn advance(&mut self, now: Instant, verdict: Verdict, rules: &StopRules) -> Step {
        match self.stage {
            Stage::Asking { at } if self.order == Order::Probe => self.note(at, verdict),
            Stage::Asking { at } => self.after_status(at, verdict),
            Stage::Starting { at } => match verdict {
                Verdict::Ended(Ending::Code(0)) => self.ask(at + 1),
                _ => self.give_up(at),
            },
            Stage::Stopping { at, tries } => self.after_stop(now, at, tries, verdict, rules),
            Stage::Doubting { at } => self.after_doubt(at, verdict, rules),
            Stage::Queued | Stage::Pausing { .. } => Step::Pause,
        }
    }

    fn ask(&mut self, at: usize) -> Step {
        if self.is_recalled && self.order == Order::Probe {
            return Step::End(JobOutcome::Cancelled);
        }
        if at >= self.member.group.resources.len() {
            return Step::End(self.end_of_questions());
        }
        if self.is_recalled && self.is_start() {
            self.start_failed = Some(at);
            return self.release();
        }
        self.stage = Stage::Asking { at };
        Step::Run(at, Action::Status)
    }

    /// Whether it is to end with everything running.
    pub const fn is_start(&self) -> bool {
        matches!(self.order, Order::Start | Order::Restart { .. })
    }

    fn end_of_questions(&self) -> JobOutcome {
        match self.order {
            Order::Probe if self.is_unclear => JobOutcome::Failed,
            Order::Probe if self.running == 0 => JobOutcome::NoneRunning,
            Order::Probe if self.running == self.member.group.resources.len() => JobOutcome::AllRunning,
            Order::Probe => JobOutcome::SomeRunning,
            _ => JobOutcome::Done,
        }
    }

    /// A probe only counts.
    fn note(&mut self, at: usize, verdict: Verdict) -> Step {
        if verdict != Verdict::Running {
            self.first_down.get_or_insert(at);
        }
        match verdict {
            Verdict::Running => {
                self.running += 1;
                self.member.is_touched[at].set(true);
            }
            Verdict::Missing if self.member.is_touched[at].get() => self.is_unclear = true,
            Verdict::NotRunning | Verdict::Missing => {}
            Verdict::Unclear | Verdict::Ended(_) => self.is_unclear = true,
        }
        self.ask(at + 1)
    }

    fn after_status(&mut self, at: usize, verdict: Verdict) -> Step {
        match verdict {
            Verdict::Running => {
                self.member.is_touched[at].set(true);
                self.ask(at + 1)
            }
            // An agent's error is `stopped` to Heartbeat's wrapper, and often is mended by a start.
            Verdict::NotRunning | Verdict::Unclear => {
                self.member.is_touched[at].set(true);
                self.stage = Stage::Starting { at };
                Step::Run(at, Action::Start)
            }
            // Nobody knows whether it runs: a start on top could do harm, and would hang as well.
            Verdict::Ended(_) | Verdict::Missing => self.give_up(at),
        }
    }

    fn give_up(&mut self, at: usize) -> Step {
        log::error!(target: "CRIT", "Giving up resources due to failure of {}", self.member.word(at));
        self.start_failed = Some(at);
        self.release()
    }

    /// Stops the whole group, also members never started.
    fn release(&mut self) -> Step {
        (self.is_restarting, self.floor) = (false, 0);
        log::info!("Releasing resource group: {}", self.member.text());
        self.stop_before(self.member.group.resources.len())
    }

    /// Stops what is left of place `end`.
    fn stop_before(&mut self, end: usize) -> Step {
        if end > self.floor {
            let at = end - 1;
            self.stage = Stage::Stopping { at, tries: 0 };
            return Step::Run(at, Action::Stop);
        }
        if std::mem::take(&mut self.is_restarting) && self.stop_failed.is_none() {
            // `status` of those before tells whether they run, and starts what does not.
            return self.ask(0);
        }
        Step::End(match self.stop_failed {
            Some(_) => JobOutcome::StopFailed,
            None if self.is_start() => JobOutcome::Failed,
            None => JobOutcome::Done,
        })
    }

    fn after_stop(&mut self, now: Instant, at: usize, tries: u32, verdict: Verdict, rules: &StopRules) -> Step {
        match verdict {
            Verdict::Ended(Ending::Code(0)) => {
                self.member.is_touched[at].set(false);
                self.stop_before(at)
            }
            // The script is gone, and so is the only way to stop what it may have started. What was never started
            // does not run; trying ten times (Heartbeat) changes neither.
            Verdict::Missing if self.member.is_touched[at].get() => self.fail_stop(at, rules),
            Verdict::Missing => self.stop_before(at),
            Verdict::Ended(Ending::Unkillable) => self.fail_stop(at, rules),
            // It has had its time: another ten time limits would keep the service down on both boards.
            Verdict::Ended(Ending::OverTime) => self.doubt(at),
            _ if rules.retries == 0 || tries < rules.retries => {
                self.stage = Stage::Pausing { at, tries: tries.saturating_add(1), until: now + rules.pause };
                Step::Pause
            }
            _ => self.doubt(at),
        }
    }

    fn doubt(&mut self, at: usize) -> Step {
        self.stage = Stage::Doubting { at };
        Step::Run(at, Action::Status)
    }

    fn after_doubt(&mut self, at: usize, verdict: Verdict, rules: &StopRules) -> Step {
        let is_stopped = match verdict {
            Verdict::NotRunning => true,
            Verdict::Missing => !self.member.is_touched[at].get(),
            Verdict::Running | Verdict::Unclear | Verdict::Ended(_) => false,
        };
        if !is_stopped {
            return self.fail_stop(at, rules);
        }
        let word = self.member.word(at);
        log::error!("Resource script for {word} probably not LSB-compliant.");
        log::warn!("it ({word}) MUST succeed on a stop when already stopped");
        log::warn!("Machine reboot narrowly avoided!");
        self.member.is_touched[at].set(false);
        self.stop_before(at)
    }

    fn fail_stop(&mut self, at: usize, rules: &StopRules) -> Step {
        self.stop_failed.get_or_insert(at);
        match rules.on_failure {
            OnStopFailure::Reboot => {
                log::error!(target: "CRIT", "Resource STOP failure. Reboot required!");
                Step::End(JobOutcome::StopFailed)
            }
            OnStopFailure::Hold => {
                log::error!(target: "CRIT", "Resource STOP failure: {} may still be running here", self.member.word(at));
                self.stop_before(at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::sample;

    fn job(order: Order) -> Job {
        let config = sample::config(Path::new("/nonexistent"), &[("alpha", "a b")]);
        Job::new(Instant::now(), None, GroupId(0), Member::new(&config.groups[0]), order)
    }

    const RULES: StopRules = StopRules { retries: 2, pause: Duration::from_secs(1), on_failure: OnStopFailure::Hold };

    #[test]
    fn script_stuck_in_the_kernel_is_a_failure_without_further_tries() {
        let now = Instant::now();
        let mut stop = job(Order::Stop);
        assert_eq!(stop.begin(), Step::Run(1, Action::Stop));
        let stuck = Verdict::Ended(Ending::Unkillable);
        assert_eq!(stop.advance(now, stuck, &RULES), Step::Run(0, Action::Stop));
        let done = Verdict::Ended(Ending::Code(0));
        assert_eq!(stop.advance(now, done, &RULES), Step::End(JobOutcome::StopFailed));
        assert_eq!(stop.failed_at(), 1);

        let mut start = job(Order::Start);
        assert_eq!(start.begin(), Step::Run(0, Action::Status));
        assert_eq!(start.advance(now, stuck, &RULES), Step::Run(1, Action::Stop));
        assert_eq!(start.advance(now, done, &RULES), Step::Run(0, Action::Stop));
        assert_eq!(start.advance(now, stuck, &RULES), Step::End(JobOutcome::StopFailed));
    }

    #[test]
    fn tries_are_a_pause_apart_and_counted() {
        let now = Instant::now();
        let mut stop = job(Order::Stop);
        stop.begin();
        let failed = Verdict::Ended(Ending::Code(1));
        for _ in 0..2 {
            assert_eq!(stop.advance(now, failed, &RULES), Step::Pause);
            assert_eq!(stop.paused_until(), Some(now + Duration::from_secs(1)));
            assert_eq!(stop.resume(), Step::Run(1, Action::Stop));
        }
        assert_eq!(stop.advance(now, failed, &RULES), Step::Run(1, Action::Status));
    }

    #[test]
    fn zero_retries_means_for_ever() {
        let now = Instant::now();
        let rules = StopRules { retries: 0, ..RULES };
        let mut stop = job(Order::Stop);
        stop.begin();
        for _ in 0..1000 {
            assert_eq!(stop.advance(now, Verdict::Ended(Ending::Code(1)), &rules), Step::Pause);
            stop.resume();
        }
    }

    #[test]
    fn restart_stops_from_a_place_on_and_starts_what_does_not_run() {
        let (now, done) = (Instant::now(), Verdict::Ended(Ending::Code(0)));
        let mut restart = job(Order::Restart { from: 1 });
        assert_eq!(restart.begin(), Step::Run(1, Action::Stop));
        assert_eq!(restart.advance(now, done, &RULES), Step::Run(0, Action::Status));
        assert_eq!(restart.advance(now, Verdict::Running, &RULES), Step::Run(1, Action::Status));
        assert_eq!(restart.advance(now, Verdict::NotRunning, &RULES), Step::Run(1, Action::Start));
        assert_eq!(restart.advance(now, done, &RULES), Step::End(JobOutcome::Done));
    }

    #[test]
    fn restart_that_fails_stops_everything() {
        let (now, done) = (Instant::now(), Verdict::Ended(Ending::Code(0)));
        let mut restart = job(Order::Restart { from: 1 });
        restart.begin();
        restart.advance(now, done, &RULES);
        restart.advance(now, Verdict::Running, &RULES);
        restart.advance(now, Verdict::NotRunning, &RULES);
        assert_eq!(restart.advance(now, Verdict::Ended(Ending::Code(1)), &RULES), Step::Run(1, Action::Stop));
        assert_eq!(restart.advance(now, done, &RULES), Step::Run(0, Action::Stop));
        assert_eq!(restart.advance(now, done, &RULES), Step::End(JobOutcome::Failed));
    }

    #[test]
    fn restart_whose_stop_fails_starts_nothing() {
        let now = Instant::now();
        let mut restart = job(Order::Restart { from: 0 });
        assert_eq!(restart.begin(), Step::Run(1, Action::Stop));
        assert_eq!(restart.advance(now, Verdict::Ended(Ending::Unkillable), &RULES), Step::Run(0, Action::Stop));
        let done = Verdict::Ended(Ending::Code(0));
        assert_eq!(restart.advance(now, done, &RULES), Step::End(JobOutcome::StopFailed));
    }

    #[test]
    fn recalled_start_begins_no_further_resource() {
        let now = Instant::now();
        let mut start = job(Order::Start);
        start.begin();
        start.recall();
        assert_eq!(start.advance(now, Verdict::NotRunning, &RULES), Step::Run(0, Action::Start));
        assert_eq!(start.advance(now, Verdict::Ended(Ending::Code(0)), &RULES), Step::Run(1, Action::Stop));
    }

    #[test]
    fn agent_that_cannot_tell_is_started_but_not_believed_stopped() {
        let now = Instant::now();
        let mut start = job(Order::Start);
        start.begin();
        assert_eq!(start.advance(now, Verdict::Unclear, &RULES), Step::Run(0, Action::Start));
        let mut stop = job(Order::Stop);
        stop.begin();
        assert_eq!(stop.advance(now, Verdict::Ended(Ending::OverTime), &RULES), Step::Run(1, Action::Status));
        assert_eq!(stop.advance(now, Verdict::Unclear, &RULES), Step::Run(0, Action::Stop));
        assert_eq!(stop.failed_at(), 1);
    }
}
