//! The logger's process and the pipe that leads to it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::unistd::{Uid, pipe2};

use super::{Guarding, LOGGER};
use crate::config::Config;
use crate::daemon::log_pipe;
use crate::daemon::logger;
use crate::daemon::reactor::{Reactor, Token};
use crate::daemon::sentinel::Sentinel;
use crate::daemon::watch::nanos;
use crate::guardian::lease::ProcessKey;
use crate::guardian::lease_timer::LeaseTimer;
use crate::sys::capabilities;
use crate::sys::process::{Child, close_descriptors_but, fork_child};

/// What a list of processes shows.
const PROCESS_NAME: &std::ffi::CStr = c"nullbeat:logger";
/// What the logger may take to write out the last lines: a slow disk, not a dead one.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// From one logger's end to the next one's start: one that cannot live must not keep the guardian busy.
const REVIVE_PAUSE: Duration = Duration::from_secs(1);

/// The pipe, kept open at both ends so that lines wait in it while there is no logger, and the logger.
#[derive(Debug)]
pub struct LogProcess {
    reader: OwnedFd,
    writer: OwnedFd,
    child: Option<Child>,
    /// Of an earlier pipe, still writing out what was in it.
    leaving: Option<Child>,
    /// When the next logger is to be started.
    revive_at: Option<u64>,
    is_on_stderr: bool,
}

impl LogProcess {
    /// A new pipe, installed as this process's log. Lines wait in it until `LogProcess::start`.
    ///
    /// # Errors
    /// What pipe2(2) says.
    pub fn open(config: &Config, is_on_stderr: bool) -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        log_pipe::install(writer.try_clone()?, "guardian", &config.log);
        Ok(Self { reader, writer, child: None, leaving: None, revive_at: None, is_on_stderr })
    }

    /// Where lines go in; for a child's copy.
    pub(super) fn writer(&self) -> &OwnedFd {
        &self.writer
    }

    /// Which process it is.
    pub(super) fn key(&self) -> Option<ProcessKey> {
        self.child.as_ref().and_then(|child| ProcessKey::of(child.pid).ok())
    }

    /// When [`Guarding::revive_logger`] has something to do.
    pub(super) fn due(&self) -> Option<u64> {
        self.revive_at
    }

    /// Forks the logger.
    ///
    /// # Errors
    /// What fork(2) says.
    pub(super) fn start(
        &mut self,
        config: &Config,
        timer: &LeaseTimer,
        reactor: &Reactor,
        token: Token,
    ) -> io::Result<()> {
        let (reader, is_on_stderr) = (self.reader.try_clone()?, self.is_on_stderr);
        let child = fork_child(move || logger_process(config, timer, reader, is_on_stderr))?;
        reactor.add(&child.pidfd, token)?;
        self.child = Some(child);
        self.revive_at = None;
        Ok(())
    }

    /// A new pipe and a new logger, for new files or after a failed exec. The old logger sees the end of its pipe once
    /// its last writer, the old engine, is gone.
    ///
    /// # Errors
    /// What pipe2(2) and fork(2) say.
    pub(super) fn restart(
        &mut self,
        config: &Config,
        timer: &LeaseTimer,
        reactor: &Reactor,
        token: Token,
    ) -> io::Result<()> {
        let new = Self::open(config, self.is_on_stderr)?;
        let old = std::mem::replace(self, new);
        self.leaving = old.child;
        self.start(config, timer, reactor, token)
    }

    /// Collects loggers that have ended. Returns whether the present one has.
    fn has_ended(&mut self, reactor: &Reactor) -> bool {
        let collect = |slot: &mut Option<Child>| {
            let is_over = slot.as_ref().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if is_over && let Some(child) = slot.take() {
                let _ = reactor.remove(&child.pidfd);
            }
            is_over
        };
        collect(&mut self.leaving);
        collect(&mut self.child)
    }

    /// Closes the pipe here and waits until the logger has written out what is in it.
    pub(super) fn end(&mut self, config: &Config) {
        if let Ok(null) = File::options().write(true).open("/dev/null") {
            // The pipe's last writers: this process's log, and the one kept for children.
            self.writer = null.into();
            if let Ok(copy) = self.writer.try_clone() {
                log_pipe::install(copy, "guardian", &config.log);
            }
        }
        if let Some(child) = self.child.take() {
            let timeout = PollTimeout::try_from(DRAIN_LIMIT).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], timeout);
            let _ = child.try_wait();
        }
    }
}

impl Guarding {
    /// A logger has ended; if it was the present one another one goes on where it stopped.
    pub(super) fn logger_ended(&mut self, now: u64) {
        if self.logs.has_ended(&self.reactor) {
            log::error!("The logger process has ended.");
            self.logs.revive_at = Some(now.saturating_add(nanos(REVIVE_PAUSE)));
        }
    }

    /// Starts the next logger when it is due.
    pub(super) fn revive_logger(&mut self, now: u64) {
        if self.logs.revive_at.is_none_or(|at| now < at) {
            return;
        }
        if let Err(error) = self.logs.start(&self.config, &self.timer, &self.reactor, LOGGER) {
            log::error!("No logger can be started: {error}");
            self.logs.revive_at = Some(now.saturating_add(nanos(REVIVE_PAUSE)));
        }
        self.lease.set_logger(self.logs.key());
    }
}

/// The child's whole life.
fn logger_process(config: &Config, timer: &LeaseTimer, reader: OwnedFd, is_on_stderr: bool) -> i32 {
    // Only for people who look at a list of processes.
    let _ = prctl::set_name(PROCESS_NAME);
    let Ok(null) = File::options().write(true).open("/dev/null") else { return 1 };
    let mut keep = [reader.as_raw_fd(), null.as_raw_fd(), timer.as_raw_fd()];
    // Its own lines do not go through the pipe: it would never see the end of it.
    log_pipe::install(null.into(), "logger", &config.log);
    if close_descriptors_but(&mut keep).is_err() {
        return 1;
    }
    match Sentinel::new(config, timer.clone(), reader.as_fd()) {
        Ok(mut sentinel) => {
            // What comes through the pipe may be an attacker's. That it stays root: see `daemon::sentinel`.
            if Uid::effective().is_root() && capabilities::keep_for_the_end().is_err() {
                return 1;
            }
            logger::run(config, reader, is_on_stderr, Some(&mut sentinel))
        }
        Err(_) => logger::run(config, reader, is_on_stderr, None),
    }
}
