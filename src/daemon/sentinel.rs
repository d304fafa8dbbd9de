//! The logger's second duty: when engine and guardian are *both* gone or silent, it is the only process left that can
//! stop their groups before the peer may start them (design.md rule 3).
//!
//! A guardian alone is watched by nobody: the engine goes on without it. An engine alone is watched by the guardian.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::libc;

use super::log_pipe;
use super::logger::Aside;
use super::release::{end_leftovers, stop_groups};
use super::reset::{Reason, ResetPath};
use super::run_directory::{LockError, RunDirectory};
use super::watch::Limits;
use crate::config::Config;
use crate::guardian::lease::{self, Lease, ProcessKey};
use crate::sys::process::{Child, fork_child};

/// How long a killed or dying process is waited for.
const KILL_LIMIT: Duration = Duration::from_millis(100);

/// Who shall not come back while the groups are stopped.
type Victims = [Option<ProcessKey>; 2];

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Somebody else looks after the groups, or there are none.
    Quiet,
    /// This process slept itself: look again soon.
    LookAgain,
    /// Nobody does.
    Orphaned,
}

/// Watches both stamps.
#[derive(Debug)]
pub struct Sentinel<'a> {
    config: &'a Config,
    lease: Lease,
    limits: Limits,
    reset: ResetPath,
    /// The logger's end of the log pipe.
    pipe: i32,
    /// When it meant to look again, by the lease's clock.
    planned: Cell<u64>,
    has_been_late: bool,
    rescue: Option<Child>,
}

impl<'a> Sentinel<'a> {
    /// For the logger process that reads `pipe`, which stays open under its number for the process's whole life.
    ///
    /// # Errors
    /// Without a lease, or when the way to reset the board cannot be prepared.
    pub fn new(config: &'a Config, pipe: BorrowedFd<'_>) -> io::Result<Self> {
        let limits = Limits::new(config.keepalive, config.deadtime);
        Ok(Self {
            config,
            lease: Lease::open_or_create(&config.paths.run)?,
            limits,
            reset: ResetPath::prepare(&config.reset_with)?,
            pipe: pipe.as_raw_fd(),
            planned: Cell::new(lease::now().saturating_add(limits.silent_after())),
            has_been_late: false,
            rescue: None,
        })
    }

    fn processes(&self) -> Victims {
        [self.lease.guardian(), self.lease.engine()]
    }

    fn last_stamp(&self) -> u64 {
        self.lease.engine_stamp().max(self.lease.guardian_stamp())
    }

    fn judge(&mut self, now: u64) -> Verdict {
        if self.rescue.is_some() || now < self.last_stamp().saturating_add(self.limits.silent_after()) {
            self.has_been_late = false;
            return Verdict::Quiet;
        }
        // Late itself: the others slept through the same, and get one tick to stamp again; but once only.
        let is_late = now > self.planned.get().saturating_add(self.limits.tick());
        if is_late && !self.has_been_late {
            self.has_been_late = true;
            return Verdict::LookAgain;
        }
        if self.lease.in_use().is_empty() { Verdict::Quiet } else { Verdict::Orphaned }
    }

    /// Forks the process that stops the groups; its lines go into the log pipe like everybody's.
    fn begin_rescue(&mut self, victims: Victims) {
        let logs = reopen_for_writing(self.pipe);
        let child = fork_child(|| {
            if let Ok(logs) = logs {
                log_pipe::install(logs, "sentinel", &self.config.log);
            }
            i32::from(!self.save(victims))
        });
        match child {
            Ok(child) => self.rescue = Some(child),
            // Nothing can be logged; the groups matter more.
            Err(_) => {
                self.save(victims);
            }
        }
    }

    /// Stops the groups or resets the board. Returns whether nothing is left running here.
    fn save(&mut self, victims: Victims) -> bool {
        log::error!(target: "EMERG", "Engine and guardian are gone or silent: giving up all HA resources.");
        let stop_by = self.limits.stop_by(self.lease.engine_stamp());
        for process in victims.into_iter().flatten() {
            process.kill(KILL_LIMIT);
        }
        let _directory = match RunDirectory::lock(&self.config.paths.run) {
            Ok(directory) => Some(directory),
            // Another guardian was faster.
            Err(LockError::Held(_)) => return true,
            Err(LockError::Io(_)) => None,
        };
        end_leftovers(&self.lease);
        match stop_groups(self.config, &self.lease, Some(stop_by)) {
            Ok(left) if left.is_empty() => {
                log::info!("All HA resources relinquished.");
                true
            }
            result => {
                log::error!(target: "EMERG", "Not stopped in time ({result:?}): resetting this board.");
                if let Err(error) = self.reset.reset(Reason::NotStopped) {
                    log::error!(target: "CRIT", "Unable to force reboot. ({error})");
                }
                false
            }
        }
    }
}

impl Aside for Sentinel<'_> {
    fn next_check(&self) -> Option<Instant> {
        let now = lease::now();
        let at = match (&self.rescue, self.has_been_late) {
            // Ended by the rescue's end of the pipe.
            (Some(_), _) => return None,
            (None, true) => now.saturating_add(self.limits.tick()),
            (None, false) => {
                let due = self.last_stamp().saturating_add(self.limits.silent_after());
                // Silent but holding nothing: look again at leisure.
                if due > now { due } else { now.saturating_add(self.limits.silent_after()) }
            }
        };
        self.planned.set(at);
        Some(Instant::now() + Duration::from_nanos(at - now))
    }

    fn check(&mut self, _now: Instant) {
        let now = lease::now();
        // Read before the stamps are judged: a guardian that starts at this moment stamps before it writes its name.
        let victims = self.processes();
        match self.judge(now) {
            Verdict::Orphaned => self.begin_rescue(victims),
            Verdict::Quiet | Verdict::LookAgain => {}
        }
    }

    fn writers_gone(&mut self) -> bool {
        if self.rescue.is_some() {
            return false;
        }
        // A dying process closes its descriptors before it counts as ended.
        let processes = self.processes();
        let is_somebody_left = !processes.into_iter().flatten().all(|process| process.ends_within(KILL_LIMIT));
        if is_somebody_left || self.lease.in_use().is_empty() {
            // A reload, a new program, or an orderly end.
            return false;
        }
        self.begin_rescue(processes);
        self.rescue.is_some()
    }
}

/// A new writing end of the pipe whose reading end is `reader`.
fn reopen_for_writing(reader: i32) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{reader}");
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    Ok(file.into())
}
