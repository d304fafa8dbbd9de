//! Whether the devices answer: asked one after another when communication comes up, and an hour after each round
//! (spec/resources.md 14.2). A shot comes first.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::launcher::{Launcher, Run};
use super::super::protocol::ToEngine;
use super::super::script::Ending;
use super::command::Task;
use super::pins::FencePins;
use crate::config::{FenceHow, FenceMethod};

/// From the end of one round to the next.
const ROUND: Duration = Duration::from_secs(3600);
/// How long a round waits after a shot, or after it was broken off by one.
const AFTER_SHOT: Duration = Duration::from_secs(60);

/// The round.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// The next method to be asked about, and when.
    next: Option<(usize, Instant)>,
    run: Option<Run>,
    /// It is killed because of a shot: its end says nothing.
    is_broken_off: bool,
    success: i32,
}

impl Checks {
    /// A round begins, unless one is under way or planned.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next.get_or_insert((0, now));
    }

    /// A shot is coming: many devices serve one at a time.
    pub(super) fn give_way(&mut self) {
        if let Some(run) = &self.run {
            run.kill();
            self.is_broken_off = true;
        }
    }

    pub(super) fn kill(&self) {
        if let Some(run) = &self.run {
            run.kill();
        }
    }

    /// When [`turn`](Self::turn) is due, or during a shot (`is_paused`) [`pause`](Self::pause).
    pub(super) fn next_deadline(&self, is_paused: bool) -> Option<Instant> {
        match &self.run {
            Some(run) => run.next_deadline(),
            None => self.next.map(|(_, at)| at).filter(|_| !is_paused),
        }
    }

    /// Nothing is to be asked now: sees to the end of a question that was broken off. Its process, ended and not waited
    /// for, would keep the guardian awake.
    pub(super) fn pause(&mut self, now: Instant, launcher: &mut Launcher) {
        if launcher.check(now, &mut self.run).is_some() {
            self.next = Some((0, now + AFTER_SHOT));
        }
    }

    pub(super) fn turn(
        &mut self,
        now: Instant,
        methods: &[FenceMethod],
        target: &str,
        pins: Option<&dyn FencePins>,
        launcher: &mut Launcher,
        reports: &mut VecDeque<ToEngine>,
    ) {
        while let Some((index, at)) = self.next {
            let Some(method) = methods.get(index) else {
                self.next = Some((0, now + ROUND));
                return;
            };
            let answer = if self.run.is_some() {
                match launcher.check(now, &mut self.run) {
                    None => return,
                    Some(_) if std::mem::take(&mut self.is_broken_off) => {
                        self.next = Some((0, now + AFTER_SHOT));
                        return;
                    }
                    Some(ended) => Some(ended.ending == Ending::Code(self.success)),
                }
            } else if now < at {
                return;
            } else if let FenceHow::Gpio { line, .. } = method.how {
                Some(pins.is_some_and(|pins| pins.has(line)))
            } else {
                self.ask(now, method, target, launcher)
            };
            if self.run.is_some() {
                return;
            }
            if let Some(is_ok) = answer {
                report(method, index, is_ok, reports);
            }
            self.next = Some((index + 1, now));
        }
    }

    /// Starts the question, where the method has one; an answer, when that fails.
    fn ask(&mut self, now: Instant, method: &FenceMethod, target: &str, launcher: &mut Launcher) -> Option<bool> {
        if !matches!(method.how, FenceHow::External { .. } | FenceHow::Agent { .. } | FenceHow::Stonith { .. }) {
            return None;
        }
        log::info!("Checking status of STONITH device [{}]", method.name);
        match super::start(now, method, Task::Check, target, super::within(method.limit), launcher) {
            Some((run, success)) => {
                (self.run, self.success, self.is_broken_off) = (Some(run), success, false);
                None
            }
            None => Some(false),
        }
    }
}

fn report(method: &FenceMethod, index: usize, is_ok: bool, reports: &mut VecDeque<ToEngine>) {
    if !is_ok {
        log::error!("STONITH device {} not operational!", method.name);
        log::error!("STONITH status operation failed.");
        log::info!("This may mean that the STONITH device has failed!");
    }
    let method = u8::try_from(index).unwrap_or(u8::MAX);
    reports.push_back(ToEngine::FenceChecked { method, is_ok });
}
