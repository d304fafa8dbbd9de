//! The guardian's loop: runs what the engine asks for, watches that the engine lives, and when it does not, replaces it
//! or sees to it that its groups are stopped before the peer may start them (design.md section 3).
//!
//! ```text
//!            engine dies or hangs          replaced, beats within deadtime/2
//!   Guarding ────────────────────▶ (kill) ───────────────────────────────────▶ Guarding
//!      │                              │ too late, or too often
//!      │ Exit                         ▼                 all stopped
//!      ▼                          Releasing ──────────────────────────────────▶ Guarding or Pausing
//!   Leaving                           │ not stopped in time, or a stop failed
//!                                     ▼
//!                                 Resetting
//! ```

mod beside;
mod clients;
mod engine;
mod fencing;
mod health;
mod lines;
mod log_process;
mod reload;
mod requests;
mod stopping;
mod testing;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::history::Entry;
use super::history::news::Untold;
use super::host_files;
use super::identity::{IdentityStore, state_directory};
use super::log_pipe;
use super::reactor::{Reactor, Token};
use super::reset::{Reason, ResetPath};
use super::run::RunOptions;
use super::run_directory::RunDirectory;
use super::service::ServiceManager;
use super::watch::{Limits, Respawns, Watch, nanos};
use super::watchdogs::Watchdogs;
use crate::api::ipc::Refusals;
use crate::config::{Config, FileStamps, OnStopFailure};
use crate::core::ids::{GroupId, GroupSet};
use crate::core::message::GroupState;
use crate::core::settings::{Autojoin, Carried};
use crate::core::time;
use crate::guardian::clients::Clients;
use crate::guardian::jobs::Runner;
use crate::guardian::lease::{self, Lease};
use crate::guardian::lease_timer::LeaseTimer;
use crate::guardian::protocol::ToEngine;
use crate::guardian::roster::Roster;
use crate::links;
use crate::sys::memory;
use crate::sys::process::{Child, is_interrupt_ignored};
use beside::OwnBeats;
use engine::Engine;
use fencing::FenceCount;
use health::Checkers;
pub use lines::BoardLines;
pub use log_process::LogProcess;
use reload::{BinaryCheck, Reload};
use stopping::Stopping;

const CHANNEL: Token = Token(0);
const ENGINE: Token = Token(1);
const LOGGER: Token = Token(2);
const SCRIPTS: Token = Token(3);
const SIGNALS: Token = Token(4);
const REFILL: Token = Token(5);
const CHECK: Token = Token(6);
const KEEPER: Token = Token(9);
const SILENCE: Token = Token(7);
const MESSAGES: Token = Token(8);
const FENCE_COUNT: Token = Token(20);
const CLIENTS: Token = Token(21);
/// The first of as many as there are checkers.
const CHECKERS: Token = Token(24);

/// Between two tries of an engine that keeps failing.
const RETRY_PAUSE: Duration = Duration::from_secs(20);
/// Between two tries of a reset that did not happen.
const RESET_PAUSE: Duration = Duration::from_secs(10);
/// Between two tries to set generations aside: a disk that was full may have room again.
const REFILL_PAUSE: Duration = Duration::from_secs(10);
/// What an engine that has said `Exit` may take to end.
const LEAVE_LIMIT: Duration = Duration::from_millis(200);
/// What a new engine that holds nothing may take to its first beat, at least.
const START_LIMIT: Duration = Duration::from_secs(5);
/// What the programs of `notify` may take at the end.
const NEWS_LIMIT: Duration = Duration::from_secs(1);

/// What follows when all groups are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// A new engine, which holds nothing.
    Respawn,
    /// The end, with this exit code.
    Exit(u8),
}

/// What the guardian is at.
#[derive(Debug)]
enum Stage {
    /// An engine decides.
    Guarding,
    /// An engine decides; groups that the new files do not have are being stopped.
    Reloading(Box<Reload>),
    /// An engine decides; the new program is asked whether it can work with the files.
    Checking(BinaryCheck),
    /// No engine. What is not stopped by `stop_by` resets the board.
    Releasing { stop_by: u64, then: Then },
    /// No engine, nothing held.
    Pausing { until: u64 },
    /// No engine; the reset was asked for.
    Resetting { reason: Reason, again_at: u64 },
    /// The engine has said `Exit`.
    Leaving { until: u64 },
    /// Over.
    Over(u8),
}

/// What [`Guarding::begin`] starts from.
#[derive(Debug)]
pub struct Start {
    /// How this process was called.
    pub options: RunOptions,
    /// The files.
    pub config: Config,
    /// Their state before they were read.
    pub stamps: FileStamps,
    /// Locked.
    pub directory: RunDirectory,
    /// Mapped.
    pub lease: Lease,
    /// Open.
    pub identity: IdentityStore,
    /// Ready.
    pub reset: ResetPath,
    /// Armed.
    pub watchdogs: Watchdogs,
    /// For the partner's history.
    pub untold: Untold,
    /// The log pipe, already installed in this process.
    pub logs: LogProcess,
    /// Open.
    pub lines: BoardLines,
    /// What an earlier engine of this boot left.
    pub carried: Option<Carried>,
}

/// The guardian.
#[derive(Debug)]
pub struct Guarding {
    options: RunOptions,
    config: Config,
    stamps: FileStamps,
    /// SIGHUP came at a moment at which nothing can be reloaded.
    is_reload_wanted: bool,
    digest: u64,
    directory: RunDirectory,
    lease: Lease,
    /// Goes off when the engine has not stamped in time.
    timer: LeaseTimer,
    identity: IdentityStore,
    fifo: Option<OwnedFd>,
    runner: Runner,
    fencings: FenceCount,
    clients: Clients,
    checkers: Checkers,
    beats: OwnBeats,
    /// The engine waits to hear that the programs of ha.cf have ended.
    is_end_of_clients_awaited: bool,
    reset: Option<ResetPath>,
    watchdogs: Watchdogs,
    /// Events that the next engine tells the partner.
    untold: Untold,
    service: ServiceManager,
    service_due: Option<u64>,
    logs: LogProcess,
    lines: BoardLines,
    reactor: Reactor,
    signals: SignalFd,
    engine: Option<Engine>,
    /// Killed, but stuck in the kernel: no other one before it is gone.
    doomed: Option<Child>,
    stage: Stage,
    watch: Watch,
    respawns: Respawns,
    refill: Option<(Child, u32)>,
    roster: Roster,
    /// Writes the roster's files.
    keeper: Option<Child>,
    is_roster_old: bool,
    /// The last one failed: when the next is tried.
    refill_again_at: Option<u64>,
    /// Nobody can have heard an engine of ours after this and [`Lease::engine_stamp`].
    silent_since: u64,
    /// SIGTERM, or the engine's own word.
    stopping: Option<Stopping>,
    /// What engines have sent that makes no sense.
    refusals: Refusals,
    /// What checkers have sent that makes none.
    checker_refusals: Refusals,
    unsent: Option<ToEngine>,
    /// Which scripts the lease says run.
    noted: Vec<(GroupId, Pid)>,
    /// Which fence program it says is shooting.
    noted_fence: Option<Pid>,
    /// Which long-lived children it says that there are.
    noted_children: Vec<Pid>,
    /// The engine has been told that a service is down.
    is_service_down_told: bool,
}

/// Signals that reach the guardian through a descriptor.
fn wanted_signals() -> SigSet {
    let mut set = SigSet::empty();
    set.extend([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM]);
    set
}

/// Blocks the signals that the guardian reads from a descriptor, before the first child is forked.
///
/// # Errors
/// What sigprocmask(2) says.
pub fn block_signals() -> io::Result<()> {
    Ok(wanted_signals().thread_block()?)
}

impl Guarding {
    /// Starts the logger and the first engine.
    ///
    /// # Errors
    /// When a descriptor cannot be had or a child cannot be forked.
    pub fn begin(start: Start) -> io::Result<Self> {
        let now = lease::now();
        let Start {
            options,
            config,
            stamps,
            directory,
            lease,
            identity,
            reset,
            watchdogs,
            untold,
            mut logs,
            mut lines,
            carried,
        } = start;
        let reactor = Reactor::new()?;
        let signals = SignalFd::with_flags(&wanted_signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        reactor.add(signals.as_fd(), SIGNALS)?;
        let fencings = FenceCount::read(&state_directory(&config.paths));
        testing::tell_test_losses(None, config.test_losses.as_ref());
        let mut runner = Runner::new(&config)?;
        reactor.add(runner.as_fd(), SCRIPTS)?;
        runner.set_fence_pins(lines.take_fence_pins());
        let clients = clients::open(&config, &runner, &lease, &reactor)?;
        let limits = Limits::new(config.keepalive, config.deadtime);
        let roster = Roster::new()?;
        if !config.has_resources && config.autojoin != Autojoin::None {
            host_files::read(&state_directory(&config.paths), &roster);
        }
        let is_certain = carried.is_some_and(|carried| carried.is_certain);
        if let Some(carried) = &carried {
            runner.assume_started(in_use(carried, config.groups.len()));
            if is_certain {
                runner.assume_running(Instant::now(), running(carried, config.groups.len()));
            }
        }
        let timer = LeaseTimer::new()?;
        reactor.add_edge(&timer, SILENCE)?;
        logs.start(&config, &timer, &reactor, LOGGER)?;
        lease.set_logger(logs.key());
        let service = ServiceManager::from_environment();
        let service_due = service.watchdog_interval().map(|_| now);
        let mut guarding = Self {
            digest: lease::table_digest(&config),
            options,
            config,
            stamps,
            is_reload_wanted: false,
            directory,
            identity,
            fifo: None,
            runner,
            fencings,
            clients,
            checkers: Checkers::default(),
            beats: OwnBeats::default(),
            is_end_of_clients_awaited: false,
            reset: Some(reset),
            watchdogs,
            untold,
            service,
            service_due,
            logs,
            lines,
            reactor,
            signals,
            engine: None,
            doomed: None,
            stage: Stage::Guarding,
            watch: Watch::new(limits, now),
            respawns: Respawns::default(),
            refill: None,
            roster,
            keeper: None,
            is_roster_old: false,
            refill_again_at: None,
            silent_since: if is_certain { 0 } else { now },
            stopping: None,
            refusals: Refusals::default(),
            checker_refusals: Refusals::default(),
            unsent: None,
            noted: Vec::new(),
            noted_fence: None,
            noted_children: Vec::new(),
            is_service_down_told: false,
            lease,
            timer,
        };
        // What has been made ready took its time on a slow board.
        let ready = lease::now();
        guarding.lease.stamp_guardian(ready);
        guarding.lease.stamp_runner(ready);
        guarding.clients.start_services(Instant::now());
        let first_beat_by = if is_certain { limits.role_kept_until(guarding.lease.engine_stamp()) } else { 0 };
        guarding.spawn_engine(carried, first_beat_by.max(now + guarding.start_limit() * u64::from(!is_certain)))?;
        Ok(guarding)
    }

    fn start_limit(&self) -> u64 {
        nanos(START_LIMIT.max(self.config.deadtime))
    }

    /// Until the end; returns the exit code.
    ///
    /// # Errors
    /// When the kernel refuses to wait: nothing can be guarded then.
    // Not into `run::main`, which is among the code that is given back.
    #[inline(never)]
    pub fn run(&mut self) -> io::Result<u8> {
        // Starting is over.
        memory::give_back_cold_text();
        loop {
            self.sleep()?;
            let now = lease::now();
            self.lease.stamp_guardian(now);
            self.turn(now);
            if self.runner.is_on_time(Instant::now()) {
                self.lease.stamp_runner(now);
            }
            if let Stage::Over(code) = self.stage {
                self.finish();
                return Ok(code);
            }
        }
    }

    fn sleep(&mut self) -> io::Result<()> {
        let now = lease::now();
        let at = self.deadline(now);
        self.watch.plan(at);
        // Rounded up: the reactor counts microseconds, and waking early would spin.
        self.reactor.wait(Some(time::Instant::from_micros(at / 1000 + 1)))
    }

    fn deadline(&self, now: u64) -> u64 {
        let limits = self.watch.limits();
        let look = if self.is_engine_steady() && self.timer.is_armed() {
            now.saturating_add(limits.rest())
        } else {
            limits.next_look(now, self.lease.engine_stamp())
        };
        let scripts = self.runner.next_deadline().map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            now.saturating_add(nanos(left))
        });
        let stage = match &self.stage {
            Stage::Releasing { stop_by, .. } => Some(*stop_by),
            Stage::Pausing { until } | Stage::Leaving { until } => Some(*until),
            Stage::Resetting { again_at, .. } => Some(*again_at),
            Stage::Checking(check) => Some(check.until),
            Stage::Guarding | Stage::Reloading(_) | Stage::Over(_) => None,
        };
        let first_beat = self.engine.as_ref().and_then(|engine| engine.first_beat_by);
        let clients = self
            .clients
            .next_deadline()
            .map(|at| now.saturating_add(nanos(at.saturating_duration_since(Instant::now()))));
        let beats = self.config.has_apphbd.then(|| self.beats.due());
        let chores = [clients, beats, self.service_due, self.logs.due(), self.refill_again_at, self.fencings.due()];
        [scripts, stage, first_beat, self.stop_due()].into_iter().chain(chores).flatten().fold(look, u64::min)
    }

    /// An engine has beaten and decides.
    fn is_engine_steady(&self) -> bool {
        let is_guarding = matches!(self.stage, Stage::Guarding | Stage::Reloading(_) | Stage::Checking(_));
        is_guarding && self.engine.as_ref().is_some_and(|engine| engine.first_beat_by.is_none())
    }

    fn turn(&mut self, now: u64) {
        let mut is_engine_ended = false;
        for ready in self.reactor.ready() {
            match ready.token {
                CHANNEL => self.serve_engine(now),
                ENGINE => is_engine_ended = true,
                LOGGER => self.logger_ended(now),
                SIGNALS => self.take_signals(now),
                KEEPER => self.keeper_ended(),
                REFILL => self.refill_ended(now),
                CHECK => self.check_ended(now),
                MESSAGES => self.take_messages(),
                FENCE_COUNT => self.fencings_kept(),
                token => self.hear_checker(token),
            }
        }
        // Always: a deadline of the runner may have come without its descriptor.
        self.runner.turn(Instant::now());
        if is_engine_ended {
            // What it had said before it ended comes first: it may have been `Exit`.
            self.serve_engine(now);
            self.engine_ended(now);
        }
        self.turn_clients(now);
        self.beat_for_apphbd(now);
        self.note_scripts();
        self.relay_reports(now);
        if self.is_reload_wanted && self.can_reload() {
            self.is_reload_wanted = false;
            self.reload_what_changed(now);
        }
        self.judge(now);
        self.watch_stop(now);
        self.tell_alive(now);
        self.revive_logger(now);
        self.retry_refill(now);
        self.fire_overdue(now);
        self.feed_service_manager(now);
    }

    /// What the stage wants now.
    fn judge(&mut self, now: u64) {
        if self.config.on_stop_failure == OnStopFailure::Reboot
            && !self.runner.stop_failures().is_empty()
            && !matches!(self.stage, Stage::Resetting { .. } | Stage::Over(_))
        {
            log::error!(target: "CRIT", "Killing heartbeat ungracefully!");
            self.reset_board(now, Reason::StopFailed);
        }
        match &self.stage {
            Stage::Guarding | Stage::Reloading(_) => self.watch_engine(now),
            Stage::Checking(check) if now >= check.until => self.check_ended(now),
            Stage::Checking(_) => self.watch_engine(now),
            Stage::Releasing { stop_by, then } => self.watch_release(now, *stop_by, *then),
            Stage::Pausing { until } if now >= *until => self.try_again(now),
            Stage::Resetting { reason, again_at } => self.watch_reset(now, *reason, *again_at),
            Stage::Leaving { until } => {
                let is_over_time = now >= *until;
                if is_over_time {
                    self.kill_engine();
                }
                if self.engine.is_none() || is_over_time {
                    self.stage = Stage::Over(0);
                }
            }
            Stage::Pausing { .. } | Stage::Over(_) => {}
        }
    }

    /// What the engine says is in use here, and what this process knows to be: an engine that somebody has taken over can
    /// write anything into its page.
    fn in_use(&self) -> GroupSet {
        self.lease.in_use() | self.runner.held()
    }

    /// Stops everything that may be in use here, without an engine.
    fn release(&mut self, now: u64, then: Then) {
        let groups = self.in_use();
        let last = self.lease.engine_stamp().max(self.silent_since);
        let stop_by = self.watch.limits().stop_by(last);
        if !groups.is_empty() {
            log::error!(target: "CRIT", "No engine: giving up all HA resources.");
            self.untold.emit(Entry::new("no engine").field("to", "giving up all groups"));
            self.service.status("no engine: giving up all resources");
            for group in groups.iter() {
                self.lease.set_group(group, GroupState::Stopping);
            }
        }
        self.directory.close_control();
        self.runner.stop_all(Instant::now(), groups);
        self.stage = Stage::Releasing { stop_by, then };
        self.watch_release(now, stop_by, then);
    }

    fn watch_release(&mut self, now: u64, stop_by: u64, then: Then) {
        if self.is_all_stopped() {
            self.lower_owner();
            match then {
                Then::Respawn => self.try_again(now),
                Then::Exit(code) => self.stage = Stage::Over(code),
            }
        } else if now >= stop_by {
            let count = self.runner.unstopped().len();
            log::error!(target: "EMERG", "{count} resource groups could not be stopped in time");
            self.reset_board(now, Reason::NotStopped);
        }
    }

    /// Notes in the lease what has been stopped; whether that is everything.
    fn is_all_stopped(&self) -> bool {
        let left = self.runner.unstopped();
        let stopped = self.lease.in_use() - left;
        for group in stopped.iter() {
            self.lease.set_group(group, GroupState::Stopped);
        }
        self.lease.set_claims(self.lease.claims() & left);
        self.lease.set_left(self.runner.held());
        if left.is_empty() && !stopped.is_empty() {
            log::info!("All HA resources relinquished.");
        }
        left.is_empty()
    }

    /// The reset was asked for and has not happened (yet): it is asked for again now and then, and so are the stops.
    fn watch_reset(&mut self, now: u64, reason: Reason, again_at: u64) {
        // A client's death is no matter of the groups.
        let is_moot = reason != Reason::ClientDied || now >= again_at;
        if self.is_all_stopped() && is_moot {
            log::warn!("Everything is stopped after all.");
            self.lower_owner();
            self.try_again(now);
        } else if now >= again_at {
            self.runner.stop_all(Instant::now(), self.runner.unstopped());
            self.reset_board(now, reason);
        }
    }

    /// The board's last act: the engine falls silent first, so that the peer counts from its last beat.
    fn reset_board(&mut self, now: u64, reason: Reason) {
        self.kill_engine();
        log::error!(target: "EMERG", "Resetting this board ({}).", reason.word());
        self.untold.emit(Entry::new("reset").field("to", "asked").field("cause", reason.word()));
        self.service.status("resetting this board");
        if !matches!(self.stage, Stage::Releasing { .. } | Stage::Resetting { .. }) {
            // Whatever the reset does, this board must not keep them.
            self.runner.stop_all(Instant::now(), self.in_use());
        }
        self.stage = Stage::Resetting { reason, again_at: now.saturating_add(nanos(RESET_PAUSE)) };
        let Some(reset) = &mut self.reset else { return };
        let silence = Duration::from_nanos(now.saturating_sub(self.lease.engine_stamp()));
        let result = reset.rearm().and_then(|()| reset.reset(reason, silence));
        if let Err(error) = result {
            log::error!(target: "CRIT", "Unable to force reboot. ({error})");
        }
    }

    fn take_signals(&mut self, now: u64) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                // A blocked signal arrives here even when it is ignored.
                Some(Signal::SIGINT) if is_interrupt_ignored() => {}
                Some(Signal::SIGHUP) => self.is_reload_wanted = true,
                Some(Signal::SIGUSR1) => self.set_debug(self.config.log.debug.saturating_add(1)),
                Some(Signal::SIGUSR2) => self.set_debug(self.config.log.debug.saturating_sub(1)),
                Some(Signal::SIGALRM) => log::error!("Unexpected alarm in process {}", std::process::id()),
                _ => self.stop_wanted(now),
            }
        }
    }

    /// The debug level from now on, here and in the engine; the next reload brings back that of ha.cf.
    fn set_debug(&mut self, level: u8) {
        self.config.log.debug = level;
        // Said by whichever of the two levels shows it.
        if level > 0 {
            log_pipe::set_debug(level);
        }
        log::debug!("debug now set to {level} [pid {}]", std::process::id());
        log_pipe::set_debug(level);
        self.send(ToEngine::Debug { level });
    }

    /// SIGTERM: the engine ends everything in good order; without one the guardian does.
    fn stop_wanted(&mut self, now: u64) {
        self.service.stopping();
        self.want_stop(now);
        Entry::new("daemon").field("to", "asked to stop").emit();
        if self.engine.is_some() {
            self.send(ToEngine::StopRequested);
            return;
        }
        match self.stage {
            Stage::Leaving { .. } | Stage::Over(_) => {}
            // The end comes when everything is stopped after all, see `watch_reset`.
            Stage::Resetting { .. } => self.runner.stop_all(Instant::now(), self.runner.unstopped()),
            _ => self.release(now, Then::Exit(0)),
        }
    }

    fn feed_service_manager(&mut self, now: u64) {
        if let (Some(due), Some(interval)) = (self.service_due, self.service.watchdog_interval())
            && now >= due
        {
            self.service.alive();
            self.service_due = Some(now.saturating_add(nanos(interval)));
        }
    }

    /// The last news are those of the stop: given a moment, they reach the programs of `notify`.
    fn await_notified(&mut self) {
        let limit = Instant::now() + NEWS_LIMIT;
        while !self.runner.has_notified() && Instant::now() < limit {
            self.lease.stamp_guardian(lease::now());
            let tick = Instant::now() + Duration::from_nanos(self.watch.limits().tick());
            let at = self.runner.next_deadline().into_iter().chain([limit, tick]).min().unwrap_or(limit);
            let _ = poll(&mut [PollFd::new(self.runner.as_fd(), PollFlags::POLLIN)], poll_time(at));
            self.runner.turn(Instant::now());
        }
    }

    /// Orderly end: the log is written out, and nothing of ours is left in the run directory.
    fn finish(&mut self) {
        self.kill_engine();
        self.lower_owner();
        self.lines.set_alive(false);
        if let Some(reset) = self.reset.take() {
            reset.disarm();
        }
        self.beats.end();
        // Not sooner: until here the engine has kicked them.
        self.watchdogs.end(&self.lease);
        self.end_clients();
        self.await_notified();
        links::release_locks(&self.config.media);
        if self.lease.in_use().is_empty() {
            self.directory.clear();
        }
        Entry::new("daemon").field("to", "stopped").emit();
        self.lease.dismiss_logger();
        self.logs.end(&self.config);
    }
}

/// The time from now until `at`, as poll(2) takes it: rounded up, or it would spin.
fn poll_time(at: Instant) -> PollTimeout {
    let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

/// Groups of which it says that they run and were not about to be moved.
fn running(carried: &Carried, count: usize) -> GroupSet {
    let runs = |group: &GroupId| carried.states[usize::from(group.0)] == GroupState::Running;
    GroupSet::first(count).iter().filter(runs).collect()
}

/// Groups of which `carried` says that part of them may be in use.
fn in_use(carried: &Carried, count: usize) -> GroupSet {
    GroupSet::first(count)
        .iter()
        .filter(|&group| carried.claims.contains(group) || carried.states[usize::from(group.0)].is_in_use())
        .collect()
}
