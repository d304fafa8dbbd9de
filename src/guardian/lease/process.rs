//! One process of this boot, told apart from another one that has been given its number since.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::now;
use crate::sys::pidfd;
use crate::sys::process::{process_start, signal_process};

/// After so long the number of a process that is gone may have been that of another group, which has lost its leader too.
const LEADERLESS_MAX: Duration = Duration::from_secs(3600);

/// One process of this boot: a number alone may have been given to another one since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessKey {
    /// Its number.
    pub pid: Pid,
    /// When it was started ([`process_start`]).
    pub start: u64,
}

impl ProcessKey {
    /// The key of a process that lives.
    ///
    /// # Errors
    /// As [`process_start`].
    pub fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, start: process_start(pid)? })
    }

    /// A descriptor for just this process, or `None` when it is gone. One that has ended is gone, even while its
    /// parent has not collected it.
    pub fn open(self) -> Option<OwnedFd> {
        // Opened before it is looked at: from here on the number cannot be given to somebody else unnoticed.
        let process = pidfd::open(self.pid).ok()?;
        let is_same = process_start(self.pid).ok()? == self.start;
        (is_same && !has_ended(&process, Duration::ZERO)).then_some(process)
    }

    /// Whether it is gone, or gone within `limit`.
    pub fn ends_within(self, limit: Duration) -> bool {
        self.open().is_none_or(|process| has_ended(&process, limit))
    }

    /// Kills the whole process group that it leads or, if it is gone, has led. Returns whether there was one.
    pub fn kill_group(self) -> bool {
        let is_its_own = match process_start(self.pid) {
            Ok(start) => start == self.start,
            // While somebody is left in the group the kernel gives the number to nobody else. After a long time it may
            // have done so, and that one's group be without a leader as well.
            Err(_) => ticks_since(self.start).is_some_and(|age| age < LEADERLESS_MAX),
        };
        is_its_own && killpg(self.pid, Signal::SIGKILL).is_ok()
    }

    /// Ends it, if it lives, and waits until it has ended, for at most `limit`. Returns whether it is gone.
    pub fn kill(self, limit: Duration) -> bool {
        let Some(process) = self.open() else { return true };
        // ESRCH: it has ended in the meantime.
        let _ = signal_process(process.as_fd(), Signal::SIGKILL);
        has_ended(&process, limit)
    }
}

/// How long before now that was, `start` being that of a [`ProcessKey`].
fn ticks_since(start: u64) -> Option<Duration> {
    let rate = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    Some(Duration::from_nanos(now()).saturating_sub(Duration::from_millis(start.saturating_mul(1000) / rate)))
}

fn has_ended(process: &OwnedFd, limit: Duration) -> bool {
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout), Ok(1))
}
