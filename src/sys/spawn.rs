//! Starting a program: posix_spawn(3) with everything of ours reset.
//!
//! `std::process::Command` hands our blocked signals down and `nix` cannot set the directory. With posix_spawn the C
//! library uses `CLONE_VFORK`, so that the cost does not grow with our locked memory.

use std::ffi::{CStr, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::libc;
use nix::unistd::Pid;

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
        Ok(waitpid(spawn(&program)?, None)?)
    }

    #[test]
    fn child_gets_arguments_environment_and_directory() {
        let script = c"test \"$1$2$NAME\" = abvalue && test \"$PWD\" = /tmp && exit 7";
        let status = run(c"/bin/sh", &[c"sh", c"-c", script, c"zero", c"a", c"b"], c"/tmp").unwrap();
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }

    #[test]
    fn missing_program_and_directory_are_errors() {
        assert_eq!(run(c"/nonexistent", &[c"x"], c"/").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(run(c"/bin/true", &[c"x"], c"/nonexistent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
