//! The logger's second duty: when engine and guardian are *both* gone or silent, it is the only process left that can
//! stop their groups before the peer may start them (design.md rule 3).
//!
//! A guardian alone is watched by nobody: the engine goes on without it. An engine alone is watched by the guardian.
//!
//! It stays root for that: it may have to run stop scripts, and whatever confines a process confines these as well. What it
//! keeps of root's rights is in [`capabilities::keep_for_the_end`](crate::sys::capabilities::keep_for_the_end).
//!
//! With a hardware watchdog two that are silent are left to it (`Sentinel::silent_after`): nobody kicks, so that it resets
//! this board in time. To kill them would close the device, and then the kernel restarts the countdown. Two that are dead
//! have closed it already; what was theirs is stopped at once.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::prctl;
use nix::unistd::Pid;

use super::log_pipe;
use super::logger::Aside;
use super::release::{end_leftovers, let_peer_go, log_all, stop_groups};
use super::reset::{Reason, ResetPath};
use super::run_directory::{LockError, RunDirectory};
use super::watch::{Limits, nanos};
use crate::config::Config;
use crate::guardian::lease::{self, Lease, ProcessKey};
use crate::guardian::lease_timer::LeaseTimer;
use crate::sys::process::{Child, fork_child};

/// What a list of processes shows for the child that stops the groups: it is no second logger.
const RESCUE_NAME: &std::ffi::CStr = c"nullbeat:rescue";
/// How long at a time a dying process is waited for.
const END_PAUSE: Duration = Duration::from_millis(100);

/// Who shall not come back while the groups are stopped: guardian and engine.
type Victims = [Option<ProcessKey>; 2];

/// Another guardian has the run directory: the groups are in its care.
#[derive(Debug)]
struct AnotherGuardian;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Somebody else looks after the groups, or there are none.
    Quiet,
    /// This process slept itself: look again soon.
    LookAgain,
    /// Nobody does.
    Orphaned,
}

/// Watches both stamps.
#[derive(Debug)]
pub struct Sentinel<'a> {
    config: &'a Config,
    lease: Lease,
    timer: LeaseTimer,
    limits: Limits,
    reset: ResetPath,
    /// This process.
    own: Option<ProcessKey>,
    /// The logger's end of the log pipe.
    pipe: i32,
    /// When it meant to look again, by the lease's clock.
    planned: Cell<u64>,
    has_been_late: bool,
    /// When the last writer of the pipe was gone and one of them had not ended yet.
    dying_since: Option<u64>,
    rescue: Option<Child>,
}

impl<'a> Sentinel<'a> {
    /// For the logger process that reads `pipe`, which stays open under its number for the process's whole life.
    ///
    /// # Errors
    /// Without a lease, or when the way to reset the board cannot be prepared.
    pub fn new(config: &'a Config, timer: LeaseTimer, pipe: BorrowedFd<'_>) -> io::Result<Self> {
        let limits = Limits::new(config.keepalive, config.deadtime);
        Ok(Self {
            config,
            lease: Lease::open_or_create(&config.paths.run)?,
            timer,
            limits,
            reset: ResetPath::prepare_without_watchdog(&config.reset_with)?,
            own: ProcessKey::of(Pid::this()).ok(),
            pipe: pipe.as_raw_fd(),
            planned: Cell::new(lease::now().saturating_add(limits.silent_after())),
            has_been_late: false,
            dying_since: None,
            rescue: None,
        })
    }

    fn processes(&self) -> Victims {
        [self.lease.guardian(), self.lease.engine()]
    }

    /// The age of both stamps at which nobody but this process is left to act.
    fn silent_after(&self) -> u64 {
        let ordinary = self.limits.silent_after();
        self.config.reset_by_watchdog().map_or(ordinary, |after| nanos(after).max(ordinary))
    }

    fn last_stamp(&self) -> u64 {
        // Else one in other hands would have this process wait for ever, dead or alive.
        let engine = if self.lease.is_stamp_forged() { 0 } else { self.lease.engine_stamp() };
        engine.max(self.lease.guardian_stamp())
    }

    /// A dying process closes its descriptors before it counts as ended; on a busy board, or held up by a driver, long before.
    /// It is waited for until it would count as silent. That no pipe is left of one that lives is told by its stamps.
    fn are_dying(&mut self, processes: Victims) -> bool {
        if processes.into_iter().flatten().all(|process| process.ends_within(END_PAUSE)) {
            self.dying_since = None;
            return false;
        }
        let now = lease::now();
        let since = *self.dying_since.get_or_insert(now);
        self.last_stamp() <= since && now < self.last_stamp().saturating_add(self.limits.silent_after())
    }

    fn judge(&mut self, now: u64) -> Verdict {
        if self.rescue.is_some() || now < self.last_stamp().saturating_add(self.silent_after()) {
            self.has_been_late = false;
            return Verdict::Quiet;
        }
        // Late itself: the others slept through the same, and get one tick to stamp again; but once only.
        let is_late = now > self.planned.get().saturating_add(self.limits.tick());
        if is_late && !self.has_been_late {
            self.has_been_late = true;
            return Verdict::LookAgain;
        }
        if self.lease.in_use().is_empty() { Verdict::Quiet } else { Verdict::Orphaned }
    }

    /// Forks the process that stops the groups; its lines go into the log pipe like everybody's.
    fn begin_rescue(&mut self, victims: Victims) {
        let logs = reopen_for_writing(self.pipe);
        let child = fork_child(|| {
            let _ = prctl::set_name(RESCUE_NAME);
            if let Ok(logs) = logs {
                log_pipe::install(logs, "sentinel", &self.config.log);
            }
            i32::from(!self.save(victims))
        });
        match child {
            Ok(child) => self.rescue = Some(child),
            // Nothing can be logged; the groups matter more.
            Err(_) => {
                self.save(victims);
            }
        }
    }

    /// Ends them, for good: whatever a killed process is held up by, it does nothing of its own any more. Then takes the run
    /// directory, `None` where that cannot be had.
    fn end(&self, victims: Victims) -> Result<Option<RunDirectory>, AnotherGuardian> {
        for process in victims.into_iter().flatten() {
            process.kill(Duration::ZERO);
        }
        // No longer: what is left of the dead time is for the stops.
        let until = Instant::now() + self.limits.end_limit() / 2;
        for process in victims.into_iter().flatten() {
            process.ends_within(until.saturating_duration_since(Instant::now()));
        }
        let [guardian, _] = victims;
        loop {
            let is_gone = guardian.is_none_or(|guardian| guardian.ends_within(Duration::ZERO));
            match RunDirectory::lock(&self.config.paths.run) {
                Ok(directory) => return Ok(Some(directory)),
                Err(LockError::Io(_)) => return Ok(None),
                Err(LockError::Held(_)) if is_gone => return Err(AnotherGuardian),
                // The lock is its own.
                Err(LockError::Held(_)) if guardian.is_some_and(|guardian| guardian.open().is_some()) => {
                    log::error!(target: "CRIT", "The killed guardian is stuck in the kernel: going on without its lock.");
                    return Ok(None);
                }
                // It has ended between the two looks.
                Err(LockError::Held(_)) => {}
            }
        }
    }

    /// Stops the groups or resets the board. Returns whether nothing is left running here.
    fn save(&mut self, victims: Victims) -> bool {
        log::error!(target: "EMERG", "Engine and guardian are gone or silent: giving up all HA resources.");
        let stop_by = self.limits.stop_by(self.lease.engine_stamp());
        let Ok(_directory) = self.end(victims) else { return true };
        // A guardian has come, and gone again, and left an engine that beats: the groups are in its care.
        let is_new = |process: &ProcessKey| !victims.contains(&Some(*process)) && process.open().is_some();
        if self.processes().iter().flatten().any(is_new) {
            log::info!("Another engine is at work: giving up nothing.");
            return true;
        }
        end_leftovers(&self.lease);
        log_all(let_peer_go(self.config));
        match stop_groups(self.config, &self.lease, Some(stop_by)) {
            Ok(left) if left.is_empty() => {
                log::info!("All HA resources relinquished.");
                true
            }
            result => {
                log::error!(target: "EMERG", "Not stopped in time ({result:?}): resetting this board.");
                if let Err(error) = self.reset.reset(Reason::NotStopped, Duration::MAX) {
                    log::error!(target: "CRIT", "Unable to force reboot. ({error})");
                }
                false
            }
        }
    }
}

impl Aside for Sentinel<'_> {
    fn next_check(&self) -> Option<Instant> {
        if self.alert().is_some() {
            return None;
        }
        let now = lease::now();
        let at = match (&self.rescue, self.has_been_late) {
            // Ended by the rescue's end of the pipe.
            (Some(_), _) => return None,
            (None, true) => now.saturating_add(self.limits.tick()),
            (None, false) => {
                let due = self.last_stamp().saturating_add(self.silent_after());
                // Silent but holding nothing: look again at leisure.
                if due > now { due } else { now.saturating_add(self.silent_after()) }
            }
        };
        self.planned.set(at);
        Some(Instant::now() + Duration::from_nanos(at - now))
    }

    /// While an engine keeps setting the timer there is nothing to look at.
    fn alert(&self) -> Option<BorrowedFd<'_>> {
        (self.rescue.is_none() && self.timer.is_armed()).then(|| self.timer.as_fd())
    }

    fn check(&mut self, _now: Instant) {
        let now = lease::now();
        // Read before the stamps are judged: a guardian that starts at this moment stamps before it writes its name.
        let victims = self.processes();
        match self.judge(now) {
            Verdict::Orphaned => self.begin_rescue(victims),
            Verdict::Quiet | Verdict::LookAgain => {}
        }
    }

    fn writers_gone(&mut self) -> bool {
        let is_dismissed = self.own.is_some() && self.lease.dismissed_logger() == self.own;
        if is_dismissed || self.rescue.is_some() {
            return false;
        }
        let processes = self.processes();
        if self.are_dying(processes) {
            return true;
        }
        if self.last_stamp() > self.dying_since.unwrap_or(u64::MAX) {
            // Somebody lives who has no pipe.
            return false;
        }
        if self.lease.in_use().is_empty() {
            // Nothing to stop; but they may have been killed in the middle of a shot.
            if let Ok(_directory) = self.end(processes) {
                log_all(let_peer_go(self.config));
            }
            return false;
        }
        self.begin_rescue(processes);
        self.rescue.is_some()
    }
}

/// A new writing end of the pipe whose reading end is `reader`.
fn reopen_for_writing(reader: i32) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{reader}");
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::config::sample;
    use crate::config::watchdog::WatchdogTimeout;
    use crate::core::ids::GroupSet;

    const MS: u64 = 1_000_000;

    /// keepalive 200 ms, deadtime 1 s: silent after 500 ms, a tick is 125 ms.
    struct Place(PathBuf, Config);

    impl Place {
        fn new() -> Self {
            let root = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-sentinel-XXXXXX")).unwrap();
            fs::create_dir(root.join("run")).unwrap();
            fs::write(root.join("reset"), "#!/bin/sh\n").unwrap();
            fs::set_permissions(root.join("reset"), fs::Permissions::from_mode(0o755)).unwrap();
            let config = sample::config(&root, &[("alpha", "a")]);
            Self(root, config)
        }

        /// With a dead time that no busy machine exceeds.
        fn patient() -> Self {
            let mut place = Self::new();
            place.1.deadtime = Duration::from_secs(3600);
            place
        }

        /// A sentinel in whose lease the group is claimed and both stamps are at 1 s.
        fn sentinel(&self) -> Sentinel<'_> {
            let null = fs::File::open("/dev/null").unwrap();
            let sentinel = Sentinel::new(&self.1, LeaseTimer::new().unwrap(), null.as_fd()).unwrap();
            sentinel.lease.set_table(&self.1, None);
            sentinel.lease.set_claims(GroupSet::first(1));
            sentinel.lease.stamp_engine(1000 * MS);
            sentinel.lease.stamp_guardian(1000 * MS);
            sentinel.planned.set(1500 * MS);
            sentinel
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn sentinel_one_fresh_stamp_is_enough() {
        let place = Place::new();
        let mut sentinel = place.sentinel();
        assert_eq!(sentinel.judge(1499 * MS), Verdict::Quiet);
        sentinel.lease.stamp_guardian(1400 * MS);
        assert_eq!(sentinel.judge(1500 * MS), Verdict::Quiet, "the guardian looks after a silent engine");
        sentinel.lease.stamp_engine(1800 * MS);
        sentinel.planned.set(2000 * MS);
        assert_eq!(sentinel.judge(2000 * MS), Verdict::Quiet, "the engine goes on without a guardian");
    }

    #[test]
    fn sentinel_both_silent_is_an_orphan() {
        let place = Place::new();
        assert_eq!(place.sentinel().judge(1500 * MS), Verdict::Orphaned);
    }

    #[test]
    fn sentinel_does_not_believe_a_stamp_that_never_becomes_old() {
        let place = Place::new();
        let mut sentinel = place.sentinel();
        sentinel.lease.stamp_engine(u64::MAX);
        assert_eq!(sentinel.judge(1499 * MS), Verdict::Quiet, "the guardian looks after it");
        assert_eq!(sentinel.judge(1500 * MS), Verdict::Orphaned);
    }

    #[test]
    fn sentinel_both_silent_with_nothing_in_use_is_quiet() {
        let place = Place::new();
        let mut sentinel = place.sentinel();
        sentinel.lease.set_claims(GroupSet::EMPTY);
        assert_eq!(sentinel.judge(1500 * MS), Verdict::Quiet);
    }

    #[test]
    fn sentinel_leaves_silent_ones_to_the_watchdog_while_that_is_in_time() {
        let mut place = Place::new();
        // 200 ms, 4 s and a second after the last stamp the board has been reset, before the peer takes over.
        place.1.watchdog.in_force = Some(Duration::from_secs(4));
        assert!(place.1.reset_by_watchdog().unwrap() < place.1.announced_deadtime());
        let mut sentinel = place.sentinel();
        assert_eq!(sentinel.judge(1500 * MS), Verdict::Quiet);
        sentinel.next_check().unwrap();
        sentinel.planned.set(6200 * MS);
        assert_eq!(sentinel.judge(6199 * MS), Verdict::Quiet);
        assert_eq!(sentinel.judge(6200 * MS), Verdict::Orphaned, "that watchdog does not work");
        place.1.watchdog.timeout = WatchdogTimeout::Heartbeat;
        assert_eq!(place.sentinel().judge(1500 * MS), Verdict::Orphaned, "the peer takes over before that one's reset");
    }

    #[test]
    fn sentinel_late_itself_looks_again_once() {
        let place = Place::new();
        let mut sentinel = place.sentinel();
        assert_eq!(sentinel.judge(9000 * MS), Verdict::LookAgain);
        sentinel.next_check().unwrap();
        sentinel.planned.set(9125 * MS);
        assert_eq!(sentinel.judge(9125 * MS), Verdict::Orphaned);
        let mut sentinel = place.sentinel();
        assert_eq!(sentinel.judge(9000 * MS), Verdict::LookAgain);
        assert_eq!(sentinel.judge(9900 * MS), Verdict::Orphaned, "late again: no second grace");
    }

    #[test]
    fn sentinel_waits_for_the_timer_while_it_is_set() {
        let place = Place::new();
        let sentinel = place.sentinel();
        assert!(sentinel.alert().is_none() && sentinel.next_check().is_some(), "nobody has set it");
        sentinel.timer.arm(Duration::from_secs(3600));
        assert!(sentinel.alert().is_some() && sentinel.next_check().is_none());
        sentinel.timer.arm(Duration::from_nanos(1));
        while sentinel.timer.is_armed() {}
        assert!(sentinel.alert().is_none() && sentinel.next_check().is_some(), "it has gone off");
    }

    #[test]
    fn sentinel_end_of_the_pipe_with_living_processes_is_no_death() {
        let place = Place::patient();
        let mut sentinel = place.sentinel();
        sentinel.lease.set_guardian(sentinel.own);
        sentinel.lease.stamp_guardian(lease::now());
        assert!(sentinel.writers_gone(), "it may be dying");
        sentinel.lease.stamp_guardian(lease::now());
        assert!(!sentinel.writers_gone(), "it lives");
        sentinel.lease.set_guardian(None);
        sentinel.lease.set_logger(sentinel.own);
        sentinel.lease.dismiss_logger();
        assert!(!sentinel.writers_gone(), "dismissed");
    }

    #[test]
    fn sentinel_waits_for_writers_that_are_slow_to_end() {
        let place = Place::patient();
        let mut sentinel = place.sentinel();
        sentinel.lease.set_claims(GroupSet::EMPTY);
        let mut guardian = Command::new("sleep").arg("1000").spawn().unwrap();
        let key = ProcessKey::of(Pid::from_raw(i32::try_from(guardian.id()).unwrap())).unwrap();
        sentinel.lease.set_guardian(Some(key));
        sentinel.lease.stamp_guardian(lease::now());
        for _ in 0..3 {
            assert!(sentinel.writers_gone(), "whatever they leave behind is still to be looked after");
        }
        guardian.kill().unwrap();
        guardian.wait().unwrap();
        assert!(!sentinel.writers_gone(), "nothing was in use");
        assert!(sentinel.rescue.is_none());
    }
}
