//! One child process with a time limit: TERM to its group, then KILL, then given up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::sys;

/// Most that is left to a script between TERM and KILL; a tenth of a shorter time limit.
pub(super) const GRACE_MAX: Duration = Duration::from_secs(5);
/// What even a killed process may need until the kernel has taken it apart. One that takes longer is stuck in the
/// kernel (state D) and is not waited for.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, or by a signal that we did not send: the code as a shell would say it (128 + signal).
    Code(i32),
    /// It outlived its time limit and was killed.
    OverTime,
    /// It outlived its time limit and SIGKILL as well: it may still be at work in the kernel.
    Unkillable,
}

/// A running script, the leader of its own process group.
#[derive(Debug)]
pub struct Script {
    pid: Pid,
    pidfd: OwnedFd,
    started: Instant,
    limit: Duration,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Within its time limit.
    Running,
    /// TERM has been sent.
    Asked { kill_at: Instant },
    /// KILL has been sent.
    Killed { give_up_at: Instant },
    /// Counted as stuck; only to be reaped.
    GivenUp,
}

impl Script {
    /// Takes over the child `pid`, started at `now`.
    ///
    /// # Errors
    /// When there is no pidfd to be had: nobody could watch the child, so it has been killed.
    pub fn watch(pid: Pid, now: Instant, limit: Duration) -> io::Result<Self> {
        match sys::pidfd::open(pid) {
            Ok(pidfd) => Ok(Self { pid, pidfd, started: now, limit, phase: Phase::Running }),
            Err(error) => {
                end_unwatched(pid);
                Err(error)
            }
        }
    }

    /// Ends it here and now: it was started a moment ago, and nobody can watch it.
    pub fn end(self) {
        end_unwatched(self.pid);
    }

    /// Its process number, also that of its group.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// When [`check`](Self::check) wants to be called even if the pidfd is quiet.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => self.started.checked_add(self.limit),
            Phase::Asked { kill_at } => Some(kill_at),
            Phase::Killed { give_up_at } => Some(give_up_at),
            Phase::GivenUp => None,
        }
    }

    /// Reaps it if it has ended, else sees to its time limit. After [`Ending::Unkillable`] only
    /// [`is_gone`](Self::is_gone) is of use.
    pub fn check(&mut self, now: Instant) -> Option<Ending> {
        if self.phase != Phase::Running && self.has_ended() {
            // What it left in its group is no service but the rest of a script that failed. The number is still ours:
            // the leader has not been reaped yet.
            self.signal(Signal::SIGKILL);
        }
        if let Some(code) = self.reap() {
            return Some(if self.phase == Phase::Running { Ending::Code(code) } else { Ending::OverTime });
        }
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        self.phase = match self.phase {
            Phase::Running => {
                self.signal(Signal::SIGTERM);
                Phase::Asked { kill_at: now + self.grace() }
            }
            Phase::Asked { .. } => {
                self.signal(Signal::SIGKILL);
                Phase::Killed { give_up_at: now + KILL_WAIT }
            }
            Phase::Killed { .. } | Phase::GivenUp => Phase::GivenUp,
        };
        (self.phase == Phase::GivenUp).then_some(Ending::Unkillable)
    }

    /// Whether it has ended and been reaped by this very call.
    pub fn is_gone(&mut self) -> bool {
        self.reap().is_some()
    }

    /// Its time is up: asks it to end.
    pub fn cut(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            self.signal(Signal::SIGTERM);
            self.phase = Phase::Asked { kill_at: now + self.grace() };
        }
    }

    fn grace(&self) -> Duration {
        GRACE_MAX.min(self.limit / 10)
    }

    /// Kills the whole group.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// To the group, and to its leader, who may have gone over to another group. Both may be gone already: nothing to
    /// do about that.
    fn signal(&self, signal: Signal) {
        for result in [killpg(self.pid, signal), kill(self.pid, signal)] {
            if let Err(error) = result
                && error != Errno::ESRCH
            {
                log::warn!("cannot send {signal} to process {}: {error}", self.pid);
            }
        }
    }

    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::PIDFd(self.pidfd.as_fd()), flags).is_ok_and(|status| status != WaitStatus::StillAlive)
    }

    /// The exit code, once.
    fn reap(&self) -> Option<i32> {
        match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
            Ok(WaitStatus::Exited(_, code)) => Some(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(128 + signal as i32),
            // Not a child any more: somebody else reaped it. How it ended is unknown, so it did not end well.
            Err(Errno::ECHILD) => Some(127),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Kills a child that nobody can watch, with what it has started, and collects it.
fn end_unwatched(pid: Pid) {
    let _ = killpg(pid, Signal::SIGKILL);
    let _ = kill(pid, Signal::SIGKILL);
    let _ = waitpid(pid, None);
}

impl AsFd for Script {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
