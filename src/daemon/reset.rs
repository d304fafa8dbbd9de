//! Resetting this board: the one place that can, by the one way that the configuration names (`reset_with`).
//!
//! The path from the decision to the reset needs no fork, no allocation and no open: what it uses is made at start.
//! For `hook PATH` that is a process which was forked then and does nothing but wait for one byte; it becomes the hook
//! by exec.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigSet, Signal};

use super::watchdogs::HeldWatchdog;
use crate::config::ResetWith;
use crate::hardware::watchdog::{Device, Watchdog};
use crate::sys::process::{Child, close_descriptors_but, fork_child};

/// What a list of processes shows of the waiting hook.
const PROCESS_NAME: &std::ffi::CStr = c"nullbeat:reset";

/// Why the board is reset. The word is the hook's first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The engine is gone and groups could not be stopped before the peer may start them.
    NotStopped,
    /// A group's stop failed and `on_stop_failure reboot` is in force.
    StopFailed,
    /// A program of `failfast` has died.
    ClientDied,
    /// An application that has asked for it (`apphb_setreboot`) has failed.
    ApplicationFailed,
}

impl Reason {
    const fn code(self) -> u8 {
        match self {
            Self::NotStopped => 1,
            Self::StopFailed => 2,
            Self::ClientDied => 3,
            Self::ApplicationFailed => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [Self::NotStopped, Self::StopFailed, Self::ClientDied, Self::ApplicationFailed];
        all.into_iter().find(|reason| reason.code() == code)
    }

    /// `not-stopped`, `stop-failed`, `client-died` or `application-failed`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotStopped => "not-stopped",
            Self::StopFailed => "stop-failed",
            Self::ClientDied => "client-died",
            Self::ApplicationFailed => "application-failed",
        }
    }
}

/// A way to reset the board, ready for use.
#[derive(Debug)]
pub struct ResetPath(Means);

#[derive(Debug)]
enum Means {
    Reboot,
    Sysrq(File),
    Hook {
        path: CString,
        trigger: PipeWriter,
        child: Child,
    },
    /// Used once: setting the timeout again would be a kick.
    Watchdog(Vec<HeldWatchdog<Device>>),
}

impl ResetPath {
    /// Makes everything ready. Call it before the process becomes real-time: the hook's process shall be ordinary.
    /// `watchdogs`: copies for `watchdog`; without any the end of the kicks is all that resets the board.
    ///
    /// # Errors
    /// When the hook is not an executable file, or what opening or fork(2) say.
    pub fn prepare(with: &ResetWith, watchdogs: Vec<HeldWatchdog<Device>>) -> io::Result<Self> {
        Ok(Self(match with {
            ResetWith::Reboot => Means::Reboot,
            ResetWith::Sysrq => Means::Sysrq(OpenOptions::new().write(true).open("/proc/sysrq-trigger")?),
            ResetWith::Hook(path) => waiting_hook(path)?,
            ResetWith::Watchdog => Means::Watchdog(watchdogs),
        }))
    }

    /// The same for a process that holds no watchdog: the end of the kicks alone may come too late, since the kernel restarts
    /// the countdown when the last holder dies. Sysrq is in the place of `watchdog`: it asks no driver either.
    ///
    /// # Errors
    /// As [`ResetPath::prepare`].
    pub fn prepare_without_watchdog(with: &ResetWith) -> io::Result<Self> {
        match with {
            ResetWith::Watchdog => Self::prepare(&ResetWith::Sysrq, Vec::new()).or(Ok(Self(Means::Reboot))),
            other => Self::prepare(other, Vec::new()),
        }
    }

    /// Resets the board. With `hook` it returns while the hook is at work, with `watchdog` while the countdown runs: the
    /// engine, which kicks, must be gone; its last beat left `silence` ago. Else it returns only when the reset was refused.
    /// May be called again.
    ///
    /// # Errors
    /// What the kernel says; `BrokenPipe` when the hook's process is gone or has been used up.
    pub fn reset(&mut self, reason: Reason, silence: Duration) -> io::Result<()> {
        match &mut self.0 {
            Means::Reboot => match reboot(RebootMode::RB_AUTOBOOT) {
                Err(error) => Err(error.into()),
            },
            Means::Sysrq(trigger) => trigger.write_all(b"b"),
            Means::Hook { trigger, .. } => trigger.write_all(&[reason.code()]),
            Means::Watchdog(watchdogs) => {
                hurry(&std::mem::take(watchdogs), silence);
                Ok(())
            }
        }
    }

    /// For a hook whose process has ended (it ran, or was killed): makes a new one ready.
    ///
    /// # Errors
    /// As [`ResetPath::prepare`].
    pub fn rearm(&mut self) -> io::Result<()> {
        if let Means::Hook { path, child, .. } = &self.0
            && child.try_wait()?.is_some()
        {
            self.0 = waiting_hook(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())))?;
        }
        Ok(())
    }

    /// Ends the hook's process, when there is one, and collects it. For the orderly end and before an exec.
    pub fn disarm(self) {
        if let Means::Hook { child, trigger, .. } = self.0 {
            drop(trigger);
            let _ = child.signal(Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(child.pid, None);
        }
    }
}

/// The last timeout of each: the shortest that the device takes. To set it begins a new countdown, so it is left alone where
/// the one that runs may be over sooner: that began with the last kick, which came about when the last beat left.
fn hurry<W: Watchdog>(watchdogs: &[HeldWatchdog<W>], silence: Duration) {
    for held in watchdogs {
        let shortest = held.shortest.unwrap_or(1);
        if silence.saturating_add(Duration::from_secs(shortest.into())) < held.timeout() {
            // When it is refused the timeout in force resets the board.
            let _ = held.device.set_timeout(shortest);
        }
    }
}

fn waiting_hook(path: &Path) -> io::Result<Means> {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK)?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (reader, trigger) = io::pipe()?;
    let child = fork_child(|| wait_and_become(&path, reader))?;
    Ok(Means::Hook { path, trigger, child })
}

/// The hook's process: ends when the guardian does.
fn wait_and_become(path: &CString, mut reader: io::PipeReader) -> i32 {
    // Only for people who look at a list of processes.
    let _ = prctl::set_name(PROCESS_NAME);
    // The log pipe and the lock above all must not be kept open by this process.
    if close_descriptors_but(&mut [reader.as_raw_fd()]).is_err() {
        return 1;
    }
    let _ = SigSet::all().thread_unblock();
    let mut code = [0];
    let Ok(()) = reader.read_exact(&mut code) else { return 0 };
    let Some(reason) = Reason::from_code(code[0]) else { return 1 };
    let Ok(word) = CString::new(reason.word()) else { return 1 };
    let _ = nix::unistd::execv(path, &[path.as_c_str(), &word]);
    1
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use nix::sys::wait::waitpid;

    use super::*;
    use crate::hardware::watchdog::fake::FakeWatchdog;
    use crate::hardware::watchdog::{Armed, ResetCause};

    struct Scratch(PathBuf);

    impl Scratch {
        fn with_hook(body: &str) -> Self {
            let root = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-reset-XXXXXX")).unwrap();
            let hook = root.join("hook");
            fs::write(&hook, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
            Self(root)
        }

        fn prepare(&self) -> ResetPath {
            ResetPath::prepare(&ResetWith::Hook(self.0.join("hook")), Vec::new()).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn ended(path: &ResetPath) {
        let Means::Hook { child, .. } = &path.0 else { panic!("only hooks in tests") };
        // Not collected here: `rearm` and `disarm` want to see it.
        let id = nix::sys::wait::Id::Pid(child.pid);
        nix::sys::wait::waitid(id, nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT)
            .unwrap();
    }

    #[test]
    fn reset_hook_runs_once_with_the_reason() {
        let scratch = Scratch::with_hook(r#"echo "$@" >> "$(dirname "$0")/ran""#);
        let mut path = scratch.prepare();
        path.reset(Reason::StopFailed, Duration::ZERO).unwrap();
        ended(&path);
        assert_eq!(fs::read_to_string(scratch.0.join("ran")).unwrap(), "stop-failed\n");
        path.rearm().unwrap();
        path.reset(Reason::NotStopped, Duration::ZERO).unwrap();
        ended(&path);
        assert_eq!(fs::read_to_string(scratch.0.join("ran")).unwrap(), "stop-failed\nnot-stopped\n");
        path.disarm();
    }

    /// What is set when a watchdog with this timeout, of which the kernel tells this shortest one, has to reset the board after
    /// so many seconds of silence.
    fn hurried(timeout: u32, shortest: Option<u32>, silence: u64) -> u32 {
        let device = FakeWatchdog { timeout: timeout.into(), ..FakeWatchdog::default() };
        let armed = Armed { identity: "fake".into(), timeout, cause: ResetCause::default(), has_magic_close: true };
        let held = HeldWatchdog { path: "/dev/watchdog".into(), device, armed, shortest, is_nowayout: false };
        let held = [held];
        hurry(&held, Duration::from_secs(silence));
        held[0].device.timeout.get()
    }

    #[test]
    fn reset_by_watchdog_takes_the_shortest_time_and_never_more_than_is_left() {
        assert_eq!(hurried(27, None, 0), 1, "a stop has failed, and the last beat has just left");
        assert_eq!(hurried(27, Some(10), 16), 10);
        assert_eq!(hurried(27, Some(10), 17), 27, "what runs is over as soon as a new one");
        assert_eq!(hurried(27, Some(10), 28), 27);
        assert_eq!(hurried(1, Some(1), 0), 1);
    }

    #[test]
    fn reset_without_a_watchdog_of_its_own_goes_another_way_at_once() {
        let path = ResetPath::prepare_without_watchdog(&ResetWith::Watchdog).unwrap();
        assert!(matches!(path.0, Means::Sysrq(_) | Means::Reboot), "{path:?}");
        let scratch = Scratch::with_hook("exit 0");
        let path = ResetPath::prepare_without_watchdog(&ResetWith::Hook(scratch.0.join("hook"))).unwrap();
        assert!(matches!(path.0, Means::Hook { .. }), "{path:?}");
        path.disarm();
    }

    #[test]
    fn reset_hook_not_needed_ends_without_running() {
        let scratch = Scratch::with_hook(r#"echo ran > "$(dirname "$0")/ran""#);
        let path = scratch.prepare();
        let Means::Hook { child, .. } = &path.0 else { panic!("only hooks in tests") };
        let pid = child.pid;
        path.disarm();
        assert!(waitpid(pid, None).is_err(), "collected already");
        assert!(!scratch.0.join("ran").exists());
    }

    #[test]
    fn reset_hook_that_cannot_be_run_is_refused_at_start() {
        let scratch = Scratch::with_hook("exit 0");
        fs::set_permissions(scratch.0.join("hook"), fs::Permissions::from_mode(0o644)).unwrap();
        // The superuser passes the check only when somebody may execute it.
        assert!(ResetPath::prepare(&ResetWith::Hook(scratch.0.join("hook")), Vec::new()).is_err());
        assert!(ResetPath::prepare(&ResetWith::Hook(scratch.0.join("none")), Vec::new()).is_err());
    }
}
