//! The log of a service beside the daemon: the service writes into a pipe and never waits for a disk, a process of its own
//! writes the files. As with the daemon ([`log_pipe`]), what does not fit is dropped, counted and said.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::unistd::pipe2;

use super::log_pipe;
use super::logger::{self, Destinations};
use crate::config::LogConfig;
use crate::sys::process::{Child, close_descriptors_but, fork_child};

/// What the process may take to write out the last lines: a slow disk, not a dead one.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// The pipe and the process at its end.
#[derive(Debug)]
pub struct ServiceLog {
    /// Kept, so that lines wait in the pipe while there is no process.
    reader: OwnedFd,
    child: Child,
    to: Destinations,
    name: &'static std::ffi::CStr,
}

impl ServiceLog {
    /// Forks the process, called `name` in lists of processes, and sends this process's log lines to it; `debug` as
    /// [`log_pipe::set_debug`] has it. To be called before this process becomes real-time.
    ///
    /// # Errors
    /// What pipe2(2) and fork(2) say.
    pub fn start(to: Destinations, name: &'static std::ffi::CStr, debug: u8) -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        let child = fork(&to, name, &reader)?;
        log_pipe::install(writer, "service", &LogConfig { debug, ..LogConfig::default() });
        Ok(Self { reader, child, to, name })
    }

    /// Readable when the process has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// The process has ended: forks another one, which goes on with what waits in the pipe.
    ///
    /// # Errors
    /// What fork(2) says; it may be tried again.
    pub fn revive(&mut self) -> io::Result<()> {
        let _ = self.child.try_wait();
        self.child = fork(&self.to, self.name, &self.reader)?;
        Ok(())
    }

    /// Closes the pipe and waits until everything is written, or for two seconds.
    pub fn end(self) {
        if let Ok(null) = File::options().write(true).open("/dev/null") {
            log_pipe::install(null.into(), "service", &LogConfig::default());
        }
        let timeout = PollTimeout::try_from(DRAIN_LIMIT).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN)], timeout);
        let _ = self.child.try_wait();
    }
}

fn fork(to: &Destinations, name: &'static std::ffi::CStr, reader: &OwnedFd) -> io::Result<Child> {
    let reader = reader.try_clone()?;
    fork_child(move || {
        let _ = prctl::set_name(name);
        let Ok(null) = File::options().write(true).open("/dev/null") else { return 1 };
        let mut keep = [reader.as_raw_fd(), null.as_raw_fd()];
        // Its own end of the pipe must not keep it open.
        log_pipe::install(null.into(), "logger", &LogConfig::default());
        if close_descriptors_but(&mut keep).is_err() {
            return 1;
        }
        logger::run_service(to, reader)
    })
}
