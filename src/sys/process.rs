//! Processes: fork without exec, descriptors, and how to tell one process from another.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::AssertUnwindSafe;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::pidfd;

/// Exit code of a forked child that panicked (Rust's own).
const PANIC_CODE: i32 = 101;

/// A child process of ours. Nothing happens when it is dropped: the process lives on.
#[derive(Debug)]
pub struct Child {
    /// Its number; valid until it has been waited for.
    pub pid: Pid,
    /// Readable once it has ended.
    pub pidfd: OwnedFd,
}

impl Child {
    /// Sends a signal. It reaches this very process or nobody.
    ///
    /// # Errors
    /// What pidfd_send_signal(2) says, `NotFound`-like ESRCH when it has been waited for.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        signal_process(self.pidfd.as_fd(), signal)
    }

    /// How it ended, or `None` while it runs. Collects the zombie.
    ///
    /// # Errors
    /// What waitid(2) says.
    pub fn try_wait(&self) -> io::Result<Option<WaitStatus>> {
        match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)? {
            WaitStatus::StillAlive => Ok(None),
            status => Ok(Some(status)),
        }
    }
}

/// Runs `run` in a forked child, which shares nothing that is written later and ends with the code that `run` returns.
///
/// The child has every descriptor of this process: see [`close_descriptors_but`]. Its signals and their mask are
/// inherited, its scheduling class as SCHED_RESET_ON_FORK says. Call it while this process has one thread only: what
/// another thread holds locked stays locked in the child for ever.
///
/// # Errors
/// What fork(2) and pidfd_open(2) say; then no child is left.
pub fn fork_child(run: impl FnOnce() -> i32) -> io::Result<Child> {
    // SAFETY: the daemon has one thread, so no lock can be held across the fork and the child may do what it likes.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let code = std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(PANIC_CODE);
            // SAFETY: ends the process at once; no destructor or exit handler of the parent's state runs twice.
            unsafe { libc::_exit(code) }
        }
        // Nobody else waits for our children by number, so this one cannot be collected before it is opened.
        ForkResult::Parent { child } => match pidfd::open(child) {
            Ok(pidfd) => Ok(Child { pid: child, pidfd }),
            Err(error) => {
                // Nobody could watch it, so it must not live.
                let _ = kill(child, Signal::SIGKILL);
                let _ = waitpid(child, None);
                Err(error)
            }
        },
    }
}

/// Ignores SIGINT from now on, also in a program that this process executes.
pub fn ignore_interrupt() {
    // SAFETY: ignoring installs no handler. It cannot fail for this signal.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGINT, nix::sys::signal::SigHandler::SigIgn) };
}

/// Whether SIGINT is ignored, as whoever started this program wished.
pub fn is_interrupt_ignored() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action the call only fills the old one, of which every bit pattern is valid.
    unsafe {
        libc::sigaction(libc::SIGINT, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Sends a signal to the process behind a descriptor of [`pidfd::open`].
///
/// # Errors
/// What pidfd_send_signal(2) says, ESRCH when it has ended and been waited for.
pub fn signal_process(process: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    let nothing: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: plain numbers and a null pointer, which stands for the information that kill(2) would send.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal as libc::c_int, nothing, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor above the three standard ones but those in `keep`. For a freshly forked child whose parent's
/// values are never touched again: the owners of what is closed here must not be dropped in this process.
///
/// # Errors
/// What close_range(2) says.
pub fn close_descriptors_but(keep: &mut [RawFd]) -> io::Result<()> {
    crate::order::sort(keep, |a, b| a < b);
    let mut from: libc::c_uint = 3;
    for descriptor in keep.iter().filter_map(|fd| libc::c_uint::try_from(*fd).ok()) {
        if descriptor > from {
            close_range(from, descriptor - 1)?;
        }
        from = from.max(descriptor + 1);
    }
    close_range(from, libc::c_uint::MAX)
}

fn close_range(first: libc::c_uint, last: libc::c_uint) -> io::Result<()> {
    // SAFETY: the caller says that nobody owns these descriptors in this process any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes over a descriptor that was left open for this program by whoever executed it. To be called once for a number.
///
/// # Errors
/// EBADF when there is none of that number.
pub fn inherited_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only asked whether it is open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the caller says that nothing in this program owns it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// When a process was started: clock ticks since the board's start (field 22 of `/proc/PID/stat`). Together with its
/// number it names one process of this boot; exec(2) does not change it.
///
/// # Errors
/// What reading says, `NotFound` when there is no such process; `InvalidData` when the kernel writes another format.
pub fn process_start(pid: Pid) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in brackets, which may contain blanks and brackets.
    let after_name = text.rfind(')').map(|at| &text[at + 1..]).ok_or(io::ErrorKind::InvalidData)?;
    let field = after_name.split_ascii_whitespace().nth(19).ok_or(io::ErrorKind::InvalidData)?;
    field.parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn wait_for(child: &Child) -> WaitStatus {
        let mut fds = [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).unwrap();
        child.try_wait().unwrap().unwrap()
    }

    #[test]
    fn process_child_ends_with_the_code_of_its_work() {
        let child = fork_child(|| 7).unwrap();
        assert_eq!(wait_for(&child), WaitStatus::Exited(child.pid, 7));
    }

    #[test]
    fn process_killed_child_is_noticed_once() {
        let child = fork_child(|| {
            loop {
                nix::unistd::pause();
            }
        })
        .unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.signal(Signal::SIGKILL).unwrap();
        assert_eq!(wait_for(&child), WaitStatus::Signaled(child.pid, Signal::SIGKILL, false));
        assert!(child.signal(Signal::SIGKILL).is_err(), "it has been waited for");
    }

    #[test]
    fn process_start_names_this_process() {
        let own = process_start(Pid::this()).unwrap();
        assert!(own > 0);
        assert_eq!(process_start(Pid::this()).unwrap(), own);
        let child = fork_child(|| 0).unwrap();
        assert!(process_start(child.pid).unwrap() >= own, "a zombie still has its line");
        wait_for(&child);
        assert_eq!(process_start(child.pid).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn process_child_closes_all_but_what_it_keeps() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (other_reader, other_writer) = io::pipe().unwrap();
        let (kept, dropped) = (writer.as_raw_fd(), other_writer.as_raw_fd());
        let child = fork_child(|| {
            close_descriptors_but(&mut [kept]).unwrap();
            let is_closed = nix::fcntl::fcntl(
                // SAFETY: only asked whether it is open.
                unsafe { BorrowedFd::borrow_raw(dropped) },
                nix::fcntl::FcntlArg::F_GETFD,
            )
            .is_err();
            (&writer).write_all(&[u8::from(is_closed)]).unwrap();
            0
        })
        .unwrap();
        wait_for(&child);
        drop((writer, other_reader, other_writer));
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [1]);
    }
}
