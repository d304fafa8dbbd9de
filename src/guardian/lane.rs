//! A lane: the groups of one preferred node, whose jobs run strictly one after another.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::Pid;

use super::job::{Action, Job, Member, Step, StopRules, Verdict};
use super::launcher::{Ended, Launch, Launcher, Run};
use super::lookup::{self, Dialect, Program};
use super::ocf::{self, Monitor};
use super::script::Ending;
use super::status_text::says_running;
use crate::config::spoken;
use crate::core::ids::JobId;
use crate::core::{JobOutcome, Order};

/// Jobs that wait in one lane. The engine has at most a few per group under way; one more is refused.
const JOBS_MAX: usize = 256;

/// There is no room for another job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneFull;

/// What a lane has to say.
#[derive(Debug)]
pub enum LaneReport {
    /// A job is over.
    Ended(Job, JobOutcome),
    /// A resource of a job was dealt with well.
    Step {
        /// Of which.
        id: JobId,
        /// Place in the group.
        at: usize,
        /// All its scripts together.
        took: Duration,
    },
}

/// One lane.
#[derive(Debug)]
pub struct Lane {
    /// Preferred node.
    pub node: String,
    jobs: VecDeque<Job>,
    current: Option<Current>,
}

/// The script that runs for the job at the head.
#[derive(Debug)]
struct Current {
    run: Option<Run>,
    at: usize,
    action: Action,
    program: Program,
    /// When the first script for this resource was started.
    since: Instant,
}

impl Lane {
    /// Empty.
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), jobs: VecDeque::new(), current: None }
    }

    /// Queues a job, if there is room.
    ///
    /// # Errors
    /// When there is none.
    pub fn push(&mut self, job: Job) -> Result<(), LaneFull> {
        if self.jobs.len() >= JOBS_MAX {
            return Err(LaneFull);
        }
        self.jobs.push_back(job);
        Ok(())
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes out what has not begun and fits.
    pub fn cancel(&mut self, is_unwanted: impl Fn(&Job) -> bool) -> Vec<Job> {
        let (cancelled, rest) = self.jobs.drain(..).partition(|job| job.is_queued() && is_unwanted(job));
        self.jobs = rest;
        Vec::from_iter::<VecDeque<Job>>(cancelled)
    }

    /// All jobs, the one under way first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// The same, to change them.
    pub fn jobs_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.jobs.iter_mut()
    }

    /// The script that runs: for which job, and its process group.
    pub fn script(&self) -> Option<(&Job, Pid)> {
        Some((self.jobs.front()?, self.run()?.pid()))
    }

    /// Kills the script that runs.
    pub fn kill(&self) {
        if let Some(run) = self.run() {
            run.kill();
        }
    }

    fn run(&self) -> Option<&Run> {
        self.current.as_ref()?.run.as_ref()
    }

    /// When [`turn`](Self::turn) is due even if no script ends.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.run() {
            Some(run) => run.next_deadline(),
            None => self.jobs.front()?.paused_until(),
        }
    }

    /// Does what can be done now.
    pub fn turn(&mut self, now: Instant, launcher: &mut Launcher, rules: &StopRules, report: &mut Vec<LaneReport>) {
        while let Some(job) = self.jobs.front_mut() {
            let step = match &mut self.current {
                Some(current) => {
                    let Some(ended) = launcher.check(now, &mut current.run) else { return };
                    let verdict = judge(current, &ended, &job.member, job.limit.unwrap_or(launcher.limit()));
                    if let Some(id) = job.id.filter(|_| is_step(current.action, verdict, job.order)) {
                        report.push(LaneReport::Step { id, at: current.at, took: current.since.elapsed() });
                    }
                    job.advance(now, verdict, rules)
                }
                None if job.is_queued() => job.begin(),
                None if job.paused_until().is_none_or(|until| until <= now) => job.resume(),
                None => return,
            };
            self.perform(now, step, launcher, rules, report);
            if self.current.is_some() {
                // Even if it has ended already: whoever drives us has other things to see to as well.
                return;
            }
        }
    }

    /// Carries out a step; scripts that cannot be started end at once.
    fn perform(
        &mut self,
        now: Instant,
        mut step: Step,
        launcher: &mut Launcher,
        rules: &StopRules,
        report: &mut Vec<LaneReport>,
    ) {
        let Some(job) = self.jobs.front_mut() else { return };
        let before = self.current.take();
        while let Step::Run(at, action) = step {
            let since =
                before.as_ref().filter(|before| before.at == at).map_or_else(Instant::now, |before| before.since);
            match start(now, job, at, action, launcher) {
                Ok((run, program)) => {
                    self.current = Some(Current { run: Some(run), at, action, program, since });
                    return;
                }
                Err(verdict) => step = job.advance(now, verdict, rules),
            }
        }
        if let Step::End(outcome) = step
            && let Some(job) = self.jobs.pop_front()
        {
            report.push(LaneReport::Ended(job, outcome));
        }
    }
}

/// Whether this was the last script for its resource and went well.
fn is_step(action: Action, verdict: Verdict, order: Order) -> bool {
    match (order, action) {
        (Order::Start | Order::Restart { .. }, Action::Status) => verdict == Verdict::Running,
        (Order::Start | Order::Restart { .. }, Action::Start) | (Order::Stop, Action::Stop) => {
            verdict == Verdict::Ended(Ending::Code(0))
        }
        _ => false,
    }
}

/// Starts one script. The error is what the job has to make of it.
fn start(
    now: Instant,
    job: &Job,
    at: usize,
    action: Action,
    launcher: &mut Launcher,
) -> Result<(Run, Program), Verdict> {
    let resource = &job.member.group.resources[at];
    let program = lookup::locate(&launcher.places, resource).map_err(|error| {
        log::error!("{error}");
        Verdict::Missing
    })?;
    let is_question = action == Action::Status;
    let (word, variables) = match &program.dialect {
        Dialect::Systemd if is_question => ("is-active", [].as_slice()),
        Dialect::Systemd => (action.word(), [].as_slice()),
        Dialect::Heartbeat => (action.word(), [].as_slice()),
        Dialect::Ocf { variables } if is_question => ("monitor", variables.as_slice()),
        Dialect::Ocf { variables } => (action.word(), variables.as_slice()),
    };
    let mut arguments: Vec<&str> = program.arguments.iter().map(String::as_str).chain([word]).collect();
    if program.dialect == Dialect::Systemd {
        arguments.reverse();
        arguments.insert(0, "--no-ask-password");
    }
    if !is_question {
        log::info!("Running {} {}", program.path.display(), arguments.join(" "));
    }
    let launch = Launch {
        path: &program.path,
        arguments: &arguments,
        variables,
        is_acquiring: job.is_start(),
        is_unasked: is_question && job.order == Order::Start && at == 0 && launcher.is_unasked(&job.member.group.node),
        is_status: is_question && matches!(program.dialect, Dialect::Heartbeat | Dialect::Systemd),
        name: &resource.script,
        input: None,
        is_bound: false,
        limit: job.limit,
    };
    match launcher.launch(now, &launch) {
        Ok(run) => Ok((run, program)),
        Err(error) => {
            log::error!("cannot run {}: {error}", program.path.display());
            Err(if is_lasting(&error) { Verdict::Missing } else { Verdict::Ended(Ending::Code(126)) })
        }
    }
}

/// Whether the file itself is at fault (no interpreter, no permission, a wrong format), so that no try will ever work
/// and none has; other errors (no memory, no process) pass.
fn is_lasting(error: &io::Error) -> bool {
    let of_the_file = [libc::ENOENT, libc::ENOTDIR, libc::EACCES, libc::EPERM, libc::ENOEXEC, libc::ELOOP];
    error.raw_os_error().is_some_and(|code| of_the_file.contains(&code))
}

fn judge(current: &Current, ended: &Ended, member: &Rc<Member>, limit: Duration) -> Verdict {
    let path = current.program.path.display();
    let code = match ended.ending {
        Ending::Code(code) => code,
        Ending::OverTime | Ending::Unkillable => {
            let fate = if ended.ending == Ending::OverTime { "killed" } else { "cannot be killed, not waited for" };
            log::error!("{path} {} took more than {}: {fate}", current.action.word(), spoken(limit));
            124
        }
    };
    if current.action != Action::Status {
        if code != 0 {
            log::error!("Return code {code} from {path}");
        }
        return Verdict::Ended(ended.ending);
    }
    match (&current.program.dialect, ended.ending) {
        (_, Ending::OverTime | Ending::Unkillable) => Verdict::Ended(ended.ending),
        (Dialect::Ocf { .. }, _) => judge_agent(code, current),
        (Dialect::Systemd, _) => judge_unit(&ended.text),
        (Dialect::Heartbeat, _) => {
            let is_running = says_running(&ended.text);
            if is_running != (code == 0) && !member.has_disagreed[current.at].replace(true) {
                let text = if is_running { "running" } else { "not running" };
                log::warn!("{path} status: the text says {text}, the exit code {code}; the text counts");
            }
            if is_running { Verdict::Running } else { Verdict::NotRunning }
        }
    }
}

/// What `is-active` says. A unit on its way is neither here nor there: it may be in use, and a start waits for it.
fn judge_unit(text: &[u8]) -> Verdict {
    match text.trim_ascii() {
        b"active" | b"reloading" | b"refreshing" => Verdict::Running,
        b"inactive" | b"failed" | b"unknown" => Verdict::NotRunning,
        _ => Verdict::Unclear,
    }
}

fn judge_agent(code: i32, current: &Current) -> Verdict {
    match ocf::judge(code) {
        Monitor::Running => Verdict::Running,
        Monitor::NotRunning => Verdict::NotRunning,
        Monitor::Unclear => {
            log::warn!(
                "{} monitor: exit code {code} says neither running (0) nor stopped (7)",
                current.program.path.display()
            );
            Verdict::Unclear
        }
    }
}
