//! A descriptor that stands for one process, whatever becomes of its number, and becomes readable when it ends
//! (pidfd_open(2), Linux 5.3).

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd, OwnedFd};

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A pidfd for `pid`, close-on-exec.
///
/// There is no race with a reused number as long as `pid` is a child of this process that nobody has reaped yet.
///
/// # Errors
/// What pidfd_open(2) says: `NotFound`-like ESRCH when there is no such process, ENOSYS before Linux 5.3.
pub fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: two integers go in; no memory of ours is touched.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let raw = i32::try_from(result).unwrap_or(-1);
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Sends the process a signal (pidfd_send_signal(2)); `None` only looks whether one could be sent.
///
/// # Errors
/// What the call says: ESRCH when it has ended, EPERM when we may not.
pub fn send_signal(process: impl AsFd, signal: Option<Signal>) -> io::Result<()> {
    let number = signal.map_or(0, |signal| signal as libc::c_int);
    let no_info: *const libc::siginfo_t = std::ptr::null();
    let raw = process.as_fd().as_raw_fd();
    // SAFETY: integers go in, and a null pointer, which the call allows; no memory of ours is touched.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, raw, number, no_info, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A copy of descriptor `number` of the process (pidfd_getfd(2), Linux 5.6): by it a test speaks in the place of an engine.
///
/// # Errors
/// What the call says: EPERM unless we may look into the process, EBADF when it has none of that number.
pub fn copy_descriptor(process: impl AsFd, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: three integers go in; no memory of ours is touched.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_fd().as_raw_fd(), number, 0) };
    let raw = i32::try_from(result).unwrap_or(-1);
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn child_that_ends_makes_its_pidfd_readable() {
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let pidfd = open(Pid::from_raw(i32::try_from(child.id()).unwrap())).unwrap();
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)).unwrap(), 1);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn signal_reaches_the_process_while_it_lives() {
        let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let pidfd = open(Pid::from_raw(i32::try_from(child.id()).unwrap())).unwrap();
        send_signal(&pidfd, None).unwrap();
        send_signal(&pidfd, Some(Signal::SIGTERM)).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        for signal in [None, Some(Signal::SIGTERM)] {
            assert_eq!(send_signal(&pidfd, signal).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        }
    }

    #[test]
    fn process_that_does_not_exist_is_an_error() {
        // The largest pid is 4194304.
        assert_eq!(open(Pid::from_raw(4_194_305)).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
