//! Stopping what the lease says is in use here, when no daemon is left to do it: for the sentinel, and for the service
//! manager after everything was killed (`nullbeat release`).

use std::io;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};

use super::reset::{Reason, ResetPath};
use super::run::{RunOptions, tell};
use super::run_directory::{LockError, RunDirectory};
use super::watch::Limits;
use crate::cli::exit;
use crate::config::{self, Config, OutputLine, Purpose, ResetWith};
use crate::core::ids::GroupSet;
use crate::core::message::GroupState;
use crate::guardian::jobs::Runner;
use crate::guardian::lease::{self, Lease, ProcessKey};
use crate::hardware::gpio::{LineError, Lines};

/// The option, with its value behind it.
const SERVICE_RESULT: &str = "--service-result=";

/// What `nullbeat help release` says.
pub const HELP: &str = "\
nullbeat release [--service-result=RESULT] [--node NAME] [--config-dir DIR] [--run-dir DIR] [--state-dir DIR]

Stops what a killed daemon has left running on this board, as the lease in the run directory tells. For the service
manager to call after the daemon's end (ExecStopPost); does nothing after an orderly stop.

  --service-result=RESULT   how systemd says that the daemon ended ($SERVICE_RESULT). When it was killed or has failed,
                            and its engine still beats, nothing is stopped: the engine keeps what it holds, and the
                            next `nullbeat run` takes over from it

Exit codes: 0 nothing is left running, 1 something is, 75 the daemon runs.
";

/// Ends of a service that its manager did not ask for: a restart follows (systemd.exec(5), `$SERVICE_RESULT`). Not
/// `timeout`: then a stop was asked for.
const FAILURES: [&str; 5] = ["exit-code", "signal", "core-dump", "watchdog", "oom-kill"];

/// What a program of `respawn` may take to end.
const CHILD_LIMIT: Duration = Duration::from_secs(5);
/// How long a killed process is waited for.
const KILL_LIMIT: Duration = Duration::from_secs(1);

/// Ends what an earlier guardian's death has left running: the engine, and scripts in the middle of their work. Only
/// with the run directory's lock. Returns whether all of it is gone.
pub fn end_leftovers(lease: &Lease) -> bool {
    let is_gone = lease.engine().is_none_or(|engine| engine.kill(KILL_LIMIT));
    if is_gone {
        lease.set_engine(None);
    }
    for group in GroupSet::first(lease.group_count()).iter() {
        if let Some(script) = lease.script(group) {
            log::warn!("a script of an earlier guardian is still at work for group {}: killing it", group.0);
            let _ = killpg(script, Signal::SIGKILL);
        }
    }
    if lease.fence_program().is_some_and(ProcessKey::kill_group) {
        log::warn!("a fence program of an earlier guardian was still at work: killed");
    }
    lease.set_fence_program(None);
    is_gone
}

/// Stops every group that may be in use, at the latest until `stop_by` (a stamp of the lease's clock). Returns the
/// groups that were not stopped, by the numbers of `config`.
///
/// # Errors
/// When the process cannot have the descriptors that it needs.
pub fn stop_groups(config: &Config, lease: &Lease, stop_by: Option<u64>) -> io::Result<GroupSet> {
    // The lease's table may be that of older files. What they named and these do not cannot be stopped.
    let carried = lease.carried(config);
    lease.set_table(config, carried.as_ref());
    let groups = lease.in_use();
    let mut runner = Runner::new(config)?;
    // A daemon that is started after this process has been killed must neither believe that they run nor run beside a
    // script of ours.
    for group in groups.iter() {
        lease.set_group(group, GroupState::Stopping);
    }
    runner.assume_started(groups);
    runner.stop_all(Instant::now(), groups);
    loop {
        for (group, script) in runner.scripts() {
            lease.set_script(group, ProcessKey::of(script).ok());
        }
        let left = runner.unstopped();
        for group in (groups - left).iter() {
            lease.set_group(group, GroupState::Stopped);
        }
        lease.set_claims(lease.claims() & left);
        lease.set_left(lease.left() & left);
        let is_over_time = stop_by.is_some_and(|at| lease::now() >= at);
        if left.is_empty() || runner.is_idle() || is_over_time {
            if left.is_empty() {
                // Nothing is in use here any more.
                log_all(lower(config, &[OutputLine::Owner]));
            }
            return Ok(left);
        }
        let until = runner.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let left = stop_by.map(|at| Duration::from_nanos(at.saturating_sub(lease::now())));
        let wait = [until, left].into_iter().flatten().min();
        let timeout = wait.map_or(PollTimeout::NONE, |wait| {
            PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let _ = poll(&mut [PollFd::new(runner.as_fd(), PollFlags::POLLIN)], timeout);
        runner.turn(Instant::now());
    }
}

/// Whoever drove these lines is dead: a pin keeps its level then. Returns what could not be lowered.
fn lower(config: &Config, outputs: &[OutputLine]) -> Vec<LineError> {
    Lines::open_outputs(&config.gpio, outputs, |_| false).err().unwrap_or_default()
}

/// Lets the peer go: it may have been held off at the moment at which this board's guardian died, whatever that held.
/// Returns what could not be lowered.
pub fn let_peer_go(config: &Config) -> Vec<LineError> {
    lower(config, &[OutputLine::FenceReset, OutputLine::FencePower])
}

/// Says what is wrong with lines.
pub fn log_all(errors: Vec<LineError>) {
    for error in errors {
        log::error!("{error}");
    }
}

/// `nullbeat release`: stops what killed daemons left running. For `ExecStopPost` of the service manager.
pub fn main(args: &[String]) -> u8 {
    let (results, own): (Vec<String>, Vec<String>) =
        args.iter().cloned().partition(|word| word.starts_with(SERVICE_RESULT));
    let is_failure = results.iter().any(|word| FAILURES.contains(&&word[SERVICE_RESULT.len()..]));
    let options = match RunOptions::parse(&own) {
        Ok(options) => options,
        Err(misuse) => return misuse.report("release"),
    };
    let directory = match RunDirectory::lock(&options.paths.run) {
        Ok(directory) => directory,
        Err(LockError::Held(_)) => {
            tell(format_args!("nullbeat release: the daemon runs; ask it with `nullbeat stop`"));
            return exit::TRY_AGAIN;
        }
        Err(LockError::Io(error)) => {
            tell(format_args!("nullbeat release: {}: {error}", options.paths.run.display()));
            return exit::FAILURE;
        }
    };
    if is_failure && is_engine_alive(&directory) {
        tell(format_args!(
            "nullbeat release: the engine beats on and keeps what it holds; `nullbeat run` takes over from it"
        ));
        return exit::OK;
    }
    match release(&options, &directory) {
        Ok(left) if left.is_empty() => exit::OK,
        Ok(left) => {
            tell(format_args!("nullbeat release: {} resource groups could not be stopped", left.len()));
            exit::FAILURE
        }
        Err(error) => {
            tell(format_args!("nullbeat release: {error}"));
            exit::FAILURE
        }
    }
}

fn is_engine_alive(directory: &RunDirectory) -> bool {
    let lease = Lease::open_or_create(directory.path());
    lease.is_ok_and(|lease| lease.engine().is_some_and(|engine| engine.open().is_some()))
}

fn release(options: &RunOptions, directory: &RunDirectory) -> io::Result<GroupSet> {
    let lease = Lease::open_or_create(directory.path())?;
    if !end_leftovers(&lease) {
        return Err(io::Error::other("the old engine does not end"));
    }
    let left = release_groups(options, directory, &lease, None);
    end_children(&lease);
    left
}

/// Programs of `respawn` and services that the guardian has left: asked to end, then killed.
fn end_children(lease: &Lease) {
    let signal = |process: ProcessKey, signal| {
        if process.open().is_some() {
            let _ = killpg(process.pid, signal);
        }
    };
    for process in lease.children() {
        signal(process, Signal::SIGTERM);
    }
    for process in lease.children() {
        if !process.ends_within(CHILD_LIMIT) {
            signal(process, Signal::SIGKILL);
        }
    }
    lease.set_children(&[]);
}

fn release_groups(
    options: &RunOptions,
    directory: &RunDirectory,
    lease: &Lease,
    stop_by: Option<u64>,
) -> io::Result<GroupSet> {
    let config = load_leniently(options);
    for error in config.as_ref().map(let_peer_go).into_iter().flatten() {
        eprintln!("nullbeat release: {error}");
    }
    if lease.in_use().is_empty() {
        directory.clear();
        return Ok(GroupSet::EMPTY);
    }
    let config = config.ok_or_else(|| io::Error::other("the configuration has errors; see `nullbeat check`"))?;
    let lost = lease.unmatched(&config).len();
    if lost > 0 {
        tell(format_args!(
            "nullbeat release: {lost} resource groups are not in haresources any more: stop them by hand"
        ));
    }
    let left = stop_groups(&config, lease, stop_by)?;
    if left.is_empty() && lost == 0 {
        directory.clear();
    }
    if lost > 0 { Err(io::Error::other("not everything could be stopped")) } else { Ok(left) }
}

/// With `check`'s leniency: an interface that is gone must not keep a service from being stopped.
fn load_leniently(options: &RunOptions) -> Option<Config> {
    config::load(&options.paths, &config::LoadOptions { purpose: Purpose::Check, ..options.load_options() }).config
}

/// For a program that was to go on with what an earlier one held (`reload --binary`) and cannot: stops what the lease
/// says is in use before the peer may start it, else resets this board (design.md rule 3). No engine, guardian or
/// sentinel is left to do it. What it says goes to standard error; there may be no log.
pub fn abandon(options: &RunOptions) {
    let lease = match Lease::open_or_create(&options.paths.run) {
        Ok(lease) if lease.in_use().is_empty() => {
            if RunDirectory::lock(&options.paths.run).is_ok() {
                for error in load_leniently(options).as_ref().map(let_peer_go).into_iter().flatten() {
                    tell(format_args!("nullbeat run: {error}"));
                }
                end_children(&lease);
            }
            return;
        }
        Ok(lease) => lease,
        Err(error) => {
            tell(format_args!("nullbeat run: the lease: {error}"));
            return force_reset(options);
        }
    };
    let stop_by = Limits::new(Duration::ZERO, lease.deadtime()).stop_by(lease.engine_stamp());
    tell(format_args!("nullbeat run: giving up all HA resources"));
    end_leftovers(&lease);
    let left = match RunDirectory::lock(&options.paths.run) {
        Ok(directory) => release_groups(options, &directory, &lease, Some(stop_by)),
        // Another guardian, or the sentinel, was faster.
        Err(LockError::Held(_)) => return,
        Err(LockError::Io(error)) => Err(error),
    };
    end_children(&lease);
    match left {
        Ok(left) if left.is_empty() => tell(format_args!("nullbeat run: all HA resources relinquished")),
        Ok(left) => {
            tell(format_args!(
                "nullbeat run: {} resource groups were not stopped in time: resetting this board",
                left.len()
            ));
            force_reset(options);
        }
        Err(error) => {
            tell(format_args!("nullbeat run: {error}: resetting this board"));
            force_reset(options);
        }
    }
}

/// By the way that ha.cf names, or the built-in one when it cannot be read.
fn force_reset(options: &RunOptions) {
    let with = load_leniently(options).map_or(ResetWith::Reboot, |config| config.reset_with);
    // Watchdogs that were armed go unkicked since the exec: they reset the board, too.
    let reset =
        ResetPath::prepare_without_watchdog(&with).and_then(|mut path| path.reset(Reason::NotStopped, Duration::MAX));
    if let Err(error) = reset {
        tell(format_args!("nullbeat run: unable to force a reset ({error})"));
    }
}
