//! Starting a program: posix_spawn(3) with everything of ours reset.
//!
//! `std::process::Command` hands our blocked signals down and `nix` cannot set the directory. With posix_spawn the C
//! library uses `CLONE_VFORK`, so that the cost does not grow with our locked memory.

use std::ffi::{CStr, c_char};
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2};

/// What to start. Descriptors other than 0, 1 and 2 must be close-on-exec already.
#[derive(Debug)]
pub struct Program<'a> {
    /// Path of the program; not searched for.
    pub path: &'a CStr,
    /// All arguments, the zeroth included.
    pub arguments: &'a [&'a CStr],
    /// The whole environment, `NAME=value`.
    pub environment: &'a [&'a CStr],
    /// Working directory.
    pub directory: &'a CStr,
    /// Becomes descriptor 0; without it that is /dev/null.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Becomes descriptor 1.
    pub stdout: BorrowedFd<'a>,
    /// Becomes descriptor 2.
    pub stderr: BorrowedFd<'a>,
}

/// Starts `program` in a process group of its own, with no blocked signal, and all signals at
/// their default.
///
/// # Errors
/// What the C library says; ENOENT may mean the program, its interpreter or the directory.
pub fn spawn(program: &Program<'_>) -> io::Result<Pid> {
    let attributes = Attributes::new()?;
    let mut actions = Actions::new()?;
    actions.prepare(program)?;
    let arguments = pointers(program.arguments);
    let environment = pointers(program.environment);
    let mut pid: libc::pid_t = 0;
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call; attributes and actions
    // were initialised above.
    let code = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    check(code)?;
    Ok(Pid::from_raw(pid))
}

/// The same, and the program is killed when the thread that has started it dies, which for the daemon is the process.
/// Not so what the program starts in its turn. posix_spawn(3) cannot do that.
///
/// # Errors
/// What the system calls say; ENOENT may mean the program, its interpreter or the directory.
pub fn spawn_bound(program: &Program<'_>) -> io::Result<Pid> {
    let arguments = pointers(program.arguments);
    let environment = pointers(program.environment);
    let parent = getpid();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the child makes system calls only until it executes the program or ends: it takes no lock and allocates
    // nothing, whatever other threads were doing.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let errno = become_bound(program, parent, &arguments, &environment).to_ne_bytes();
            // SAFETY: writes a live array and ends the process at once. The parent reads less than a pipe takes.
            unsafe {
                libc::write(writer.as_raw_fd(), errno.as_ptr().cast(), errno.len());
                libc::_exit(127)
            }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut errno = Vec::new();
            // Ends when the child has executed the program, or is dead.
            File::from(reader).read_to_end(&mut errno)?;
            match <[u8; 4]>::try_from(errno) {
                Ok(errno) => {
                    let _ = waitpid(child, None);
                    Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
                }
                Err(_) => Ok(child),
            }
        }
    }
}

/// In the child. Returns the errno of what failed.
fn become_bound(program: &Program<'_>, parent: Pid, arguments: &[*mut c_char], environment: &[*mut c_char]) -> i32 {
    match settle_bound(program, parent) {
        Ok(()) => {
            // SAFETY: both arrays end with a null pointer and point to strings that live.
            unsafe { libc::execve(program.path.as_ptr(), arguments.as_ptr().cast(), environment.as_ptr().cast()) };
            Errno::last_raw()
        }
        Err(errno) => errno as i32,
    }
}

fn settle_bound(program: &Program<'_>, parent: Pid) -> Result<(), Errno> {
    // SAFETY: plain numbers, a C string and descriptors that are open; no memory of ours is written.
    unsafe {
        Errno::result(libc::setpgid(0, 0))?;
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != parent {
            // It died before that.
            libc::_exit(127);
        }
        let null;
        let stdin = match program.stdin {
            Some(stdin) => stdin.as_raw_fd(),
            None => {
                null = Errno::result(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC))?;
                null
            }
        };
        for (from, to) in [(program.stdout.as_raw_fd(), 1), (program.stderr.as_raw_fd(), 2), (stdin, 0)] {
            put(from, to)?;
        }
        Errno::result(libc::chdir(program.directory.as_ptr()))?;
        let mut none = MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        for signal in Signal::iterator() {
            // These two have no other action, and the C library refuses to try.
            if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
                libc::signal(signal as libc::c_int, libc::SIG_DFL);
            }
        }
        Errno::result(libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()))?;
    }
    Ok(())
}

/// The open descriptor `from` as `to`, over exec(2) as well.
///
/// # Safety
/// Nobody else may own `to`.
unsafe fn put(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe {
        let result = if from == to { libc::fcntl(from, libc::F_SETFD, 0) } else { libc::dup2(from, to) };
        Errno::result(result).map(drop)
    }
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

fn pointers(strings: &[&CStr]) -> Vec<*mut c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    /// Own group, empty mask, default signals.
    fn new() -> io::Result<Self> {
        const FLAGS: libc::c_int =
            libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let mut raw = MaybeUninit::uninit();
        // SAFETY: init fills the structure, which is only taken as initialised when it succeeded.
        let mut this = unsafe {
            check(libc::posix_spawnattr_init(raw.as_mut_ptr()))?;
            Self(raw.assume_init())
        };
        let mut none = MaybeUninit::uninit();
        let mut all = MaybeUninit::uninit();
        #[expect(clippy::cast_possible_truncation, reason = "three flags below 0x40 in a C short")]
        // SAFETY: the signal sets are filled before they are read; the attributes are initialised.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigfillset(all.as_mut_ptr());
            // These two cannot be set, and glibc refuses to try.
            libc::sigdelset(all.as_mut_ptr(), libc::SIGKILL);
            libc::sigdelset(all.as_mut_ptr(), libc::SIGSTOP);
            check(libc::posix_spawnattr_setflags(&raw mut this.0, FLAGS as libc::c_short))?;
            check(libc::posix_spawnattr_setpgroup(&raw mut this.0, 0))?;
            check(libc::posix_spawnattr_setsigmask(&raw mut this.0, none.as_ptr()))?;
            check(libc::posix_spawnattr_setsigdefault(&raw mut this.0, all.as_ptr()))?;
        }
        Ok(this)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, destroyed once.
        unsafe {
            libc::posix_spawnattr_destroy(&raw mut self.0);
        }
    }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: init fills the structure, which is only taken as initialised when it succeeded.
        unsafe {
            check(libc::posix_spawn_file_actions_init(raw.as_mut_ptr()))?;
            Ok(Self(raw.assume_init()))
        }
    }

    fn prepare(&mut self, program: &Program<'_>) -> io::Result<()> {
        // SAFETY: the actions are initialised; the C library copies the path strings.
        unsafe {
            let actions = &raw mut self.0;
            check(libc::posix_spawn_file_actions_adddup2(actions, program.stdout.as_raw_fd(), 1))?;
            check(libc::posix_spawn_file_actions_adddup2(actions, program.stderr.as_raw_fd(), 2))?;
            match program.stdin {
                Some(stdin) => check(libc::posix_spawn_file_actions_adddup2(actions, stdin.as_raw_fd(), 0))?,
                None => {
                    check(libc::posix_spawn_file_actions_addopen(
                        actions,
                        0,
                        c"/dev/null".as_ptr(),
                        libc::O_RDONLY,
                        0,
                    ))?;
                }
            }
            check(libc::posix_spawn_file_actions_addchdir_np(actions, program.directory.as_ptr()))
        }
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, destroyed once.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&raw mut self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    fn run(path: &CStr, arguments: &[&CStr], directory: &CStr) -> io::Result<WaitStatus> {
        let (one, other) = (run_by(spawn, path, arguments, directory), run_by(spawn_bound, path, arguments, directory));
        let fate = |result: &io::Result<WaitStatus>| match result {
            Ok(WaitStatus::Exited(_, code)) => Ok(*code),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.raw_os_error()),
        };
        assert_eq!(fate(&one), fate(&other), "both ways do the same");
        one
    }

    fn run_by(
        way: fn(&Program<'_>) -> io::Result<Pid>,
        path: &CStr,
        arguments: &[&CStr],
        directory: &CStr,
    ) -> io::Result<WaitStatus> {
        let null = File::options().write(true).open("/dev/null")?;
        let program = Program {
            path,
            arguments,
            environment: &[c"NAME=value"],
            directory,
            stdin: None,
            stdout: null.as_fd(),
            stderr: null.as_fd(),
        };
        Ok(waitpid(way(&program)?, None)?)
    }

    #[test]
    fn child_gets_arguments_environment_and_directory() {
        let script = c"test \"$1$2$NAME\" = abvalue && test \"$PWD\" = /tmp && exit 7";
        let status = run(c"/bin/sh", &[c"sh", c"-c", script, c"zero", c"a", c"b"], c"/tmp").unwrap();
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }

    #[test]
    fn bound_program_dies_with_the_thread_that_has_started_it() {
        let started = std::thread::spawn(|| {
            let null = File::options().write(true).open("/dev/null").unwrap();
            spawn_bound(&Program {
                path: c"/bin/sleep",
                arguments: &[c"sleep", c"1000"],
                environment: &[],
                directory: c"/",
                stdin: None,
                stdout: null.as_fd(),
                stderr: null.as_fd(),
            })
        });
        let pid = started.join().unwrap().unwrap();
        let status = waitpid(pid, None).unwrap();
        assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{status:?}");
    }

    #[test]
    fn missing_program_and_directory_are_errors() {
        assert_eq!(run(c"/nonexistent", &[c"x"], c"/").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(run(c"/bin/true", &[c"x"], c"/nonexistent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
