//! What a forked child does before its own work: it puts aside everything that is the guardian's.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{
    Gid, Pid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, setgid, setgroups, setpgid, setuid,
};

use super::process::close_descriptors_but;

/// The protection from the out-of-memory killer of the process that looks.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// Whom a child becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// A program for a forked child.
#[derive(Debug)]
pub struct LongProgram<'a> {
    /// Path of the program; not searched for.
    pub path: &'a CStr,
    /// All arguments, the zeroth included.
    pub arguments: &'a [CString],
    /// The whole environment, `NAME=value`.
    pub environment: &'a [CString],
    /// Working directory; the root directory when it cannot be entered.
    pub directory: &'a CStr,
    /// Whom it runs as; `None`: as this process.
    pub identity: Option<&'a Identity>,
    /// Becomes descriptor 0; without it that is /dev/null.
    pub stdin: Option<RawFd>,
    /// Stays open until the program is there: closed on exec.
    pub kept: Option<RawFd>,
}

/// Becomes `program`. For a freshly forked child only: own process group, default signals with none blocked (SIGALRM is
/// ignored, as Heartbeat's clients have it), no protection from the out-of-memory killer, nothing open but descriptors
/// 0 to 2 and `kept`. Returns only when it failed.
pub fn become_program(program: &LongProgram<'_>) -> io::Error {
    match settle(program) {
        Ok(()) => match execve(program.path, program.arguments, program.environment) {
            Err(error) => error.into(),
        },
        Err(error) => error,
    }
}

fn settle(program: &LongProgram<'_>) -> io::Result<()> {
    // The parent does the same; whoever is first.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    drop_protection();
    standard_descriptors(program.stdin)?;
    // The owners of what is closed are never touched again in this process.
    close_descriptors_but(program.kept.as_slice().to_owned().as_mut_slice())?;
    if let Some(identity) = program.identity {
        become_user(identity)?;
    }
    if chdir(program.directory).is_err() {
        chdir(c"/")?;
    }
    default_signals()
}

/// What keeps the guardian alive is not for what it starts; what the administrator has set for the whole service stays.
fn drop_protection() {
    if fs::read_to_string(OOM_SCORE).is_ok_and(|score| score.starts_with('-')) {
        let _ = fs::write(OOM_SCORE, "0");
    }
}

fn standard_descriptors(stdin: Option<RawFd>) -> io::Result<()> {
    let null = fs::File::options().read(true).write(true).open("/dev/null")?;
    match stdin {
        // SAFETY: the caller owns it, and it stays open until `close_descriptors_but`.
        Some(stdin) => dup2_stdin(unsafe { std::os::fd::BorrowedFd::borrow_raw(stdin) })?,
        None => dup2_stdin(&null)?,
    }
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    if null.as_raw_fd() <= 2 {
        // It has become one of the three.
        std::mem::forget(null);
    }
    Ok(())
}

fn become_user(identity: &Identity) -> io::Result<()> {
    if !Uid::effective().is_root() && Uid::effective().as_raw() == identity.uid {
        return Ok(());
    }
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    setgroups(&groups)?;
    setgid(Gid::from_raw(identity.gid))?;
    setuid(Uid::from_raw(identity.uid))?;
    Ok(())
}

fn default_signals() -> io::Result<()> {
    for number in Signal::iterator() {
        let handler = if number == Signal::SIGALRM { SigHandler::SigIgn } else { SigHandler::SigDfl };
        // SAFETY: neither default nor ignoring installs a handler.
        match unsafe { signal(number, handler) } {
            // These two have no other action.
            Err(Errno::EINVAL) if matches!(number, Signal::SIGKILL | Signal::SIGSTOP) => {}
            result => {
                result?;
            }
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Whether this process and its children from now on leave core files: the limit as high as it may be, or zero.
///
/// # Errors
/// What setrlimit(2) says.
pub fn allow_core_dumps(is_allowed: bool) -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, if is_allowed { most } else { 0 }, most)?)
}

/// After this process has become another user the kernel takes it for one that must not be looked into: it may dump
/// all the same.
///
/// # Errors
/// What prctl(2) says.
pub fn stay_dumpable() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(true)?)
}
