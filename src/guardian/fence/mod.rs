//! Fires the shots that the core asks for, one at a time, and looks now and then whether the devices answer.
//!
//! ```text
//!   Fence ──▶ run (or drive a line) ──▶ verify, where the agent can ──▶ FenceDone
//!                 │ limit: TERM, KILL          │ says that it is on
//!   CancelFence ──┴────────────────────────────┴─────────────────────▶ FenceDone failed, or lost when it was killed, or
//!                                                                      when the agent cannot say what came of it
//! ```
//!
//! What can be run stands in the files; a request is an index. Nothing here waits: every program is a child with a time
//! limit, and its output goes into the log within a budget. A shot whose engine dies goes on: the next engine takes it
//! over. A confirmation is kept for that one, together with the run of the partner that it is about, until the partner is
//! heard again.

mod checks;
mod command;
mod pins;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use self::checks::Checks;
use self::command::{FenceCommand, Task, command};
use self::pins::PinShot;
pub use self::pins::{FencePins, HalPins, PinFault};
use super::launcher::{Ended, Launch, Launcher, Run};
use super::protocol::ToEngine;
use super::script::Ending;
use crate::config::{Config, FenceHow, FenceMethod};
use crate::core::FenceOutcome;
use crate::core::ids::{Generation, ShotId};

/// Exit code of `stonith` when its device does not know the host (spec/resources.md 14.4).
const BAD_HOST: i32 = 4;
/// Exit code of an agent's `status` when the node is on; any other one but that for "off" says that it does not know.
const IS_ON: i32 = 0;
/// What a shell adds to the number of the signal that ended a program.
const OF_A_SIGNAL: i32 = 128;

/// What the engine asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShotOrder {
    /// Comes back.
    pub shot: ShotId,
    /// Index of the fence line.
    pub method: u8,
    /// The run of the partner that is to end.
    pub generation: Generation,
}

/// Fires shots.
#[derive(Debug)]
pub struct Fencer {
    /// The partner; without one nothing is ever fenced.
    target: Option<String>,
    /// Its place among the nodes.
    target_index: Option<u8>,
    methods: Vec<FenceMethod>,
    pins: Option<Box<dyn FencePins>>,
    shot: Option<Shot>,
    /// Waits until a shot that was broken off is over, and when it was asked for.
    waiting: Option<(ShotOrder, Instant)>,
    checks: Checks,
    confirmed: Option<ShotOrder>,
    reports: VecDeque<ToEngine>,
}

#[derive(Debug)]
struct Shot {
    order: ShotOrder,
    /// As it was when it was fired: it is judged by that, whatever the files say by now.
    method: FenceMethod,
    target: String,
    /// The files know this method no more: nobody waits for what comes of it.
    is_orphan: bool,
    /// When it was asked for: its time limit counts from there, however long it had to wait.
    asked_at: Instant,
    phase: Phase,
    /// What came of it is known; a line may still be driven.
    has_ended: bool,
    is_cancelled: bool,
}

#[derive(Debug)]
enum Phase {
    Running(Option<Run>, i32),
    Verifying(Option<Run>, i32),
    Driving(PinShot),
}

impl Fencer {
    /// For the fence lines of `config`.
    pub fn new(config: &Config) -> Self {
        let mut fencer = Self {
            target: None,
            target_index: None,
            methods: Vec::new(),
            pins: None,
            shot: None,
            waiting: None,
            checks: Checks::default(),
            confirmed: None,
            reports: VecDeque::new(),
        };
        fencer.replace_config(config);
        fencer
    }

    /// Other files, other methods. A shot under way goes on as it was begun; its order has the new number of its method.
    pub fn replace_config(&mut self, config: &Config) {
        let methods = &self.methods;
        let renumber = |order: &mut ShotOrder| -> bool {
            let old = methods.get(usize::from(order.method));
            let place = old.and_then(|old| config.fence.methods.iter().position(|new| new == old));
            let place = place.and_then(|place| u8::try_from(place).ok());
            order.method = place.unwrap_or(order.method);
            place.is_some()
        };
        if let Some(shot) = &mut self.shot {
            shot.is_orphan |= !renumber(&mut shot.order);
        }
        self.confirmed.take_if(|order| !renumber(order));
        self.waiting.take_if(|(order, _)| !renumber(order));
        self.methods.clone_from(&config.fence.methods);
        self.target = config.partner().map(str::to_owned);
        let place = config.nodes.iter().position(|name| Some(name.as_str()) == config.partner());
        self.target_index = place.and_then(|place| u8::try_from(place).ok());
    }

    /// The lines for `fence gpio`.
    pub fn set_pins(&mut self, pins: Box<dyn FencePins>) {
        self.pins = Some(pins);
    }

    /// Fires, as soon as a shot that is being broken off is over. The two boards take turns that are as long as the limits:
    /// so the limit counts from `asked_at`, when the engine has asked for the shot.
    pub fn fire(&mut self, now: Instant, order: ShotOrder, asked_at: Instant, launcher: &mut Launcher) {
        self.confirmed = None;
        self.checks.give_way();
        if let Some((other, asked_at)) = self.waiting.replace((order, asked_at)) {
            self.answer(now, other, asked_at, FenceOutcome::Failed);
        }
        self.turn(now, launcher);
    }

    /// Breaks a shot off. It is answered all the same.
    pub fn cancel(&mut self, now: Instant, shot: ShotId, launcher: &mut Launcher) {
        self.confirmed = None;
        if let Some((order, asked_at)) = self.waiting.take_if(|(order, _)| order.shot == shot) {
            self.answer(now, order, asked_at, FenceOutcome::Failed);
        }
        if let Some(current) = self.shot.as_mut().filter(|current| current.order.shot == shot && !current.is_cancelled)
        {
            current.is_cancelled = true;
            match &mut current.phase {
                Phase::Running(run, _) | Phase::Verifying(run, _) => {
                    if let Some(run) = run {
                        log::warn!("STONITH process {} is broken off", run.pid());
                        run.cut(now);
                    }
                }
                Phase::Driving(_) => self.let_go(),
            }
        }
        self.turn(now, launcher);
    }

    /// The partner was heard: what was confirmed is about an earlier run of it, or was a lie.
    pub fn heard_node(&mut self, node: u8) {
        if Some(node) == self.target_index {
            self.confirmed = None;
        }
    }

    /// The engine is gone: a shot under way goes on for the next one, one that waits is not fired.
    pub fn forget_engine(&mut self) {
        self.reports.clear();
        self.waiting = None;
    }

    /// The last shot, if it was confirmed and the partner was not heard since.
    pub fn confirmed(&self) -> Option<ShotOrder> {
        self.confirmed
    }

    /// The shot under way of which nobody knows yet what comes of it, unless it is being broken off.
    pub fn pending(&self) -> Option<ShotOrder> {
        self.shot
            .as_ref()
            .filter(|shot| !shot.has_ended && !shot.is_cancelled && !shot.is_orphan)
            .map(|shot| shot.order)
    }

    /// Communication is up: the devices are asked whether they answer, now and from time to time.
    pub fn begin_checks(&mut self, now: Instant) {
        self.checks.begin(now);
    }

    /// The next thing that the engine is to be told.
    pub fn poll_report(&mut self) -> Option<ToEngine> {
        self.reports.pop_front()
    }

    /// Lets a driven line go.
    fn let_go(&mut self) {
        if let (Some(Shot { phase: Phase::Driving(drive), .. }), Some(pins)) = (&mut self.shot, &mut self.pins) {
            drive.let_go(pins.as_mut());
        }
    }

    /// The process group of the shot's program, while that runs.
    pub fn program(&self) -> Option<Pid> {
        match &self.shot.as_ref()?.phase {
            Phase::Running(run, _) | Phase::Verifying(run, _) => run.as_ref().map(Run::pid),
            Phase::Driving(_) => None,
        }
    }

    /// Kills what runs.
    pub fn kill(&self) {
        if let Some(Shot { phase: Phase::Running(Some(run), _) | Phase::Verifying(Some(run), _), .. }) = &self.shot {
            run.kill();
        }
        self.checks.kill();
    }

    /// When [`turn`](Self::turn) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let shot = self.shot.as_ref().and_then(|shot| match &shot.phase {
            Phase::Running(run, _) | Phase::Verifying(run, _) => run.as_ref().and_then(Run::next_deadline),
            Phase::Driving(drive) => Some(drive.next_deadline()),
        });
        [shot, self.checks.next_deadline(!self.may_check())].into_iter().flatten().min()
    }

    /// Does what can be done now.
    pub fn turn(&mut self, now: Instant, launcher: &mut Launcher) {
        self.turn_shot(now, launcher);
        if self.shot.is_none()
            && let Some((order, asked_at)) = self.waiting.take()
        {
            self.begin(now, order, asked_at, launcher);
            self.turn_shot(now, launcher);
        }
        match &self.target {
            Some(target) if self.may_check() => {
                self.checks.turn(now, &self.methods, target, self.pins.as_deref(), launcher, &mut self.reports);
            }
            _ => self.checks.pause(now, launcher),
        }
    }

    /// Many devices serve one at a time; without a partner there is none.
    fn may_check(&self) -> bool {
        self.shot.is_none() && self.target.is_some()
    }

    fn begin(&mut self, now: Instant, order: ShotOrder, asked_at: Instant, launcher: &mut Launcher) {
        let (Some(method), Some(target)) = (self.methods.get(usize::from(order.method)), &self.target) else {
            log::error!("a shot by fence line {}, of which the files know nothing", order.method);
            return self.answer(now, order, asked_at, FenceOutcome::Failed);
        };
        let left = method.limit.saturating_sub(now.saturating_duration_since(asked_at));
        if left < method.least_time() {
            log::error!("[{}]: the time for the shot was over before it could begin", method.name);
            return self.answer(now, order, asked_at, FenceOutcome::Failed);
        }
        log::info!("Resetting node {target} with [{}]", method.name);
        let phase = match method.how {
            FenceHow::Gpio { line, pulse, is_sensed } => {
                let driven =
                    self.pins.as_mut().map(|pins| PinShot::begin(pins.as_mut(), line, now, pulse, left, is_sensed));
                match driven {
                    Some(Ok(drive)) => Some(Phase::Driving(drive)),
                    _ => {
                        log::error!("the line fence-{} cannot be driven", line.word());
                        None
                    }
                }
            }
            _ => start(now, method, Task::Shoot, target, within(left), launcher)
                .map(|(run, success)| Phase::Running(Some(run), success)),
        };
        match phase {
            Some(phase) => {
                let (method, target) = (method.clone(), target.clone());
                self.shot = Some(Shot {
                    order,
                    method,
                    target,
                    is_orphan: false,
                    asked_at,
                    phase,
                    has_ended: false,
                    is_cancelled: false,
                });
            }
            None => self.answer(now, order, asked_at, FenceOutcome::Failed),
        }
    }

    fn turn_shot(&mut self, now: Instant, launcher: &mut Launcher) {
        let Some(shot) = &mut self.shot else { return };
        match &mut shot.phase {
            Phase::Driving(drive) => {
                let Some(pins) = &mut self.pins else { return };
                let outcome = drive.turn(pins.as_mut(), now);
                let is_over = drive.is_over();
                if let Some(outcome) = outcome {
                    self.tell(now, outcome);
                }
                if is_over {
                    self.shot = None;
                }
            }
            Phase::Running(run, success) => {
                let success = *success;
                let pid = run.as_ref().map(Run::pid);
                let Some(ended) = launcher.check(now, run) else { return };
                match self.log_end(pid.map_or(0, Pid::as_raw), &ended) {
                    Some(code) if code == success => self.verify(now, launcher),
                    Some(BAD_HOST) if self.is_stonith() => self.end(now, FenceOutcome::BadHost),
                    Some(code) if !is_of_a_signal(code) => self.end(now, FenceOutcome::Failed),
                    _ => self.end(now, FenceOutcome::Lost),
                }
            }
            Phase::Verifying(run, success) => {
                let success = *success;
                let Some(ended) = launcher.check(now, run) else { return };
                let outcome = match ended.ending {
                    Ending::Code(code) if code == success => FenceOutcome::Confirmed,
                    Ending::Code(IS_ON) => FenceOutcome::Failed,
                    Ending::Code(_) | Ending::OverTime | Ending::Unkillable => FenceOutcome::Lost,
                };
                match outcome {
                    FenceOutcome::Confirmed => {}
                    FenceOutcome::Failed => log::error!("the device says that the node is not off"),
                    _ => log::error!("the device does not say whether the node is off ({:?})", ended.ending),
                }
                self.end(now, outcome);
            }
        }
    }

    /// Asks the agent whether the peer is off, where it can be asked.
    fn verify(&mut self, now: Instant, launcher: &mut Launcher) {
        let Some(shot) = &mut self.shot else { return };
        if shot.is_cancelled {
            return self.end(now, FenceOutcome::Failed);
        }
        let method = &shot.method;
        if !matches!(method.how, FenceHow::Agent { is_off: true, .. }) {
            return self.end(now, FenceOutcome::Confirmed);
        }
        let left = within(method.limit).saturating_sub(now.saturating_duration_since(shot.asked_at));
        if left < method.least_time() {
            log::error!("no time is left to ask [{}] whether the node is off", method.name);
            return self.end(now, FenceOutcome::Lost);
        }
        match start(now, method, Task::Verify, &shot.target, left, launcher) {
            Some((run, success)) => shot.phase = Phase::Verifying(Some(run), success),
            // The device says that it has fired, and cannot be asked any more.
            None => {
                log::error!("[{}] cannot be asked whether the node is off", method.name);
                self.end(now, FenceOutcome::Lost);
            }
        }
    }

    fn method_in_use(&self) -> Option<&FenceMethod> {
        self.shot.as_ref().map(|shot| &shot.method)
    }

    /// Only the packaged program's exit codes have a meaning of their own.
    fn is_stonith(&self) -> bool {
        self.method_in_use().is_some_and(|method| matches!(method.how, FenceHow::Stonith { .. }))
    }

    /// Says how a program has ended; the exit code, if it came to one.
    fn log_end(&self, pid: i32, ended: &Ended) -> Option<i32> {
        let target = self.shot.as_ref().map_or("", |shot| &shot.target);
        match ended.ending {
            Ending::Code(0) => log::info!("Managed STONITH {target} process {pid} exited with return code 0."),
            Ending::Code(code) => {
                log::warn!("Managed STONITH {target} process {pid} exited with return code {code}.");
                if let Some(FenceMethod { how: FenceHow::Stonith { kind, .. }, .. }) = self.method_in_use()
                    && code == BAD_HOST
                {
                    log::error!("Device {kind} cannot reset host {target}.");
                }
            }
            Ending::OverTime => {
                let is_cancelled = self.shot.as_ref().is_some_and(|shot| shot.is_cancelled);
                let why = if is_cancelled { "was broken off" } else { "took too long: killed" };
                log::warn!("Managed STONITH {target} process {pid} {why}");
            }
            Ending::Unkillable => {
                log::error!("Managed STONITH {target} process {pid} took too long and cannot be killed");
            }
        }
        match ended.ending {
            Ending::Code(code) => Some(code),
            Ending::OverTime | Ending::Unkillable => None,
        }
    }

    /// The shot is over.
    fn end(&mut self, now: Instant, outcome: FenceOutcome) {
        self.tell(now, outcome);
        self.shot = None;
    }

    fn tell(&mut self, now: Instant, outcome: FenceOutcome) {
        let Some(shot) = &mut self.shot else { return };
        let (order, asked_at) = (shot.order, shot.asked_at);
        let outcome = if shot.is_cancelled && outcome != FenceOutcome::Lost { FenceOutcome::Failed } else { outcome };
        shot.has_ended = true;
        if outcome == FenceOutcome::Confirmed && !shot.is_orphan {
            self.confirmed = Some(order);
        }
        self.answer(now, order, asked_at, outcome);
    }

    fn answer(&mut self, now: Instant, order: ShotOrder, asked_at: Instant, outcome: FenceOutcome) {
        let ms = u32::try_from(now.saturating_duration_since(asked_at).as_millis()).unwrap_or(u32::MAX);
        self.reports.push_back(ToEngine::FenceDone { shot: order.shot, outcome, ms });
    }
}

/// A pin keeps its level when nobody drives it any more: the peer would stay without power.
impl Drop for Fencer {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Whether a program with this exit code, or the last one that it ran, was ended by a signal: what it had done by then nobody
/// knows.
fn is_of_a_signal(code: i32) -> bool {
    (OF_A_SIGNAL + 1..=OF_A_SIGNAL + 64).contains(&code)
}

/// The time after which TERM is sent, so that KILL comes at the limit at the latest (see [`super::script`]).
fn within(limit: Duration) -> Duration {
    (limit * 10 / 11).max(limit.saturating_sub(super::script::GRACE_MAX))
}

/// Starts a program of a method; with it comes the exit code that means yes.
fn start(
    now: Instant,
    method: &FenceMethod,
    task: Task,
    target: &str,
    limit: Duration,
    launcher: &mut Launcher,
) -> Option<(Run, i32)> {
    let started = command(method, task, target, launcher.base_environment()).and_then(|command| {
        let Some(command) = command else { return Ok(None) };
        launch(now, &command, &method.name, limit, launcher).map(|run| Some((run, command.success)))
    });
    started.unwrap_or_else(|error| {
        log::error!("[{}] cannot be started: {error}", method.name);
        None
    })
}

fn launch(
    now: Instant,
    command: &FenceCommand,
    name: &str,
    limit: Duration,
    launcher: &mut Launcher,
) -> std::io::Result<Run> {
    let arguments: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
    let variables: &[CString] = &command.variables;
    launcher.launch(
        now,
        &Launch {
            path: &command.path,
            arguments: &arguments,
            variables,
            is_acquiring: false,
            is_unasked: false,
            is_status: false,
            name,
            input: command.input.as_ref().map(AsFd::as_fd),
            is_bound: true,
            limit: Some(limit),
        },
    )
}
