//! The engine's process: started, watched, killed, replaced.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::{CHANNEL, ENGINE, Guarding, KEEPER, MESSAGES, REFILL, REFILL_PAUSE, RETRY_PAUSE, Stage, Then, in_use};
use crate::config::Config;
use crate::core::ids::Generation;
use crate::core::message::GroupState;
use crate::core::settings::{Carried, CarriedShot};
use crate::core::time::Instant;
use crate::daemon::engine::{self, EngineContext};
use crate::daemon::history::Entry;
use crate::daemon::host_files;
use crate::daemon::identity::state_directory;
use crate::daemon::log_pipe;
use crate::daemon::move_page::MovePage;
use crate::daemon::watch::nanos;
use crate::guardian::channel::Channel;
use crate::guardian::fence::ShotOrder;
use crate::guardian::lease::{self, Lease, ProcessKey};
use crate::guardian::messages::{self, MessageInlet};
use crate::guardian::protocol::ToEngine;
use crate::sys::memory;
use crate::sys::process::{Child, close_descriptors_but, fork_child};

/// The engine as the guardian knows it.
#[derive(Debug)]
pub(super) struct Engine {
    child: Child,
    pub(super) channel: Channel,
    pub(super) messages: MessageInlet,
    /// A stamp after this is its own.
    born: u64,
    /// Until it has beaten: when it must have.
    pub(super) first_beat_by: Option<u64>,
    /// A report did not fit: its channel is watched for room.
    pub(super) is_waiting_to_write: bool,
}

impl Guarding {
    /// Forks an engine that goes on with `carried`.
    ///
    /// # Errors
    /// Without a generation, a descriptor or a process.
    pub(super) fn spawn_engine(&mut self, carried: Option<Carried>, first_beat_by: u64) -> io::Result<()> {
        let is_generation_guessed = self.identity.take_guess();
        let identity = self.identity.take_next()?;
        log::info!("Heartbeat generation: {}", identity.generation.0);
        self.watchdogs.set(&mut self.config, may_kick(&self.lease));
        self.untold.emit(Entry::new("engine").field("to", "started").field("generation", identity.generation.0));
        self.lease.set_table(&self.config, carried.as_ref());
        self.lease.set_generation(identity.generation);
        self.lease.set_deadtime(self.config.announced_deadtime());
        // A stamp of the last engine that is still to come would pass for this one's first beat.
        self.lease.stamp_engine(self.lease.engine_stamp());
        let (channel, theirs) = Channel::pair()?;
        let (outlet, messages) = messages::pair(self.runner.message_types(), self.digest)?;
        let context = EngineContext {
            guardian: OwnedFd::from(theirs),
            messages: outlet,
            lease: self.lease.share(),
            last_move: self.open_last_move(),
            roster: self.roster.clone(),
            carried,
            fencings_before: self.fencings.count(),
            identity,
            is_generation_guessed,
            table_digest: self.digest,
            timer: self.timer.clone(),
            watchdogs: self.watchdogs.copies()?,
            untold: self.untold.clone(),
        };
        let born = lease::now();
        let (config, logs) = (&self.config, self.logs.writer());
        let child = fork_child(|| engine_process(config, context, logs))?;
        self.lease.set_engine(ProcessKey::of(child.pid).ok());
        let watched = self.reactor.add(&channel, CHANNEL).and_then(|()| self.reactor.add(&child.pidfd, ENGINE));
        let watched = watched.and_then(|()| self.reactor.add(&messages, MESSAGES));
        let first_beat_by = Some(first_beat_by);
        self.engine = Some(Engine { child, channel, messages, born, first_beat_by, is_waiting_to_write: false });
        if let Err(error) = watched {
            // It would beat, and nobody would see its end.
            self.kill_engine();
            return Err(error);
        }
        self.untold.clear();
        self.stage = Stage::Guarding;
        if self.is_stop_wanted() {
            // Its predecessor was told, and is gone.
            self.begin_stop_anew();
            self.send(ToEngine::StopRequested);
        }
        // Whatever was said while there was none is said again.
        self.runner.health().forget_engine();
        self.is_service_down_told = false;
        self.begin_refill(born);
        // What reading the files and making tables of them has brought back into memory.
        memory::give_back_cold_text();
        Ok(())
    }

    /// A peer that has heard a later run of this node is deaf to this one: the next engine's generation is above it. This
    /// one's role is kept.
    pub(super) fn begin_anew_above(&mut self, now: u64, known: Generation) {
        if let Err(error) = self.identity.raise_above(known) {
            log::error!("no generation above {}: {error}", known.0);
            return;
        }
        log::warn!("The file of the generation was lost or is an old one: going on above {}.", known.0);
        self.untold.emit(Entry::new("engine").field("to", "replaced").field("above", known.0));
        self.kill_engine();
        self.engine_lost(now);
    }

    /// Only convenience: an engine without it begins a new one.
    fn open_last_move(&self) -> Option<MovePage> {
        let opened = MovePage::open(self.directory.path());
        opened.inspect_err(|error| log::warn!("the last move is not kept: {error}")).ok()
    }

    /// Sets generations aside in a process of its own: this one waits for no disk.
    fn begin_refill(&mut self, now: u64) {
        let (None, Some(target)) = (&self.refill, self.identity.refill_target()) else { return };
        let identity = &self.identity;
        let started = fork_child(|| {
            // Whatever it kept open would outlive its owner here.
            let _ = close_descriptors_but(&mut []);
            i32::from(identity.write_reserve(target).is_err())
        });
        match started {
            Ok(child) if self.reactor.add(&child.pidfd, REFILL).is_ok() => self.refill = Some((child, target)),
            Ok(_) => self.refill_failed(now),
            Err(error) => {
                log::debug!("fork: {error}");
                self.refill_failed(now);
            }
        }
    }

    /// Tries again what has failed, when it is time.
    pub(super) fn retry_refill(&mut self, now: u64) {
        if self.refill_again_at.is_none_or(|at| now < at) {
            return;
        }
        let is_needed = self.refill.is_some() || self.identity.refill_target().is_some();
        self.refill_again_at = is_needed.then(|| now.saturating_add(nanos(REFILL_PAUSE)));
        self.begin_refill(now);
    }

    /// Said once, and tried on.
    fn refill_failed(&mut self, now: u64) {
        if self.refill_again_at.is_none() {
            log::warn!("no generation could be set aside; trying on every {} s", REFILL_PAUSE.as_secs());
        }
        self.refill_again_at = Some(now.saturating_add(nanos(REFILL_PAUSE)));
    }

    pub(super) fn refill_ended(&mut self, now: u64) {
        let Some((child, target)) = &self.refill else { return };
        let (status, target) = (child.try_wait(), *target);
        if matches!(status, Ok(None)) {
            return;
        }
        let _ = self.reactor.remove(&child.pidfd);
        self.refill = None;
        if !matches!(status, Ok(Some(WaitStatus::Exited(_, 0)))) {
            return self.refill_failed(now);
        }
        self.identity.note_refill(target);
        if self.refill_again_at.take().is_some() {
            log::info!("generations are set aside again");
        }
    }

    /// Writes hostcache and delhostcache, in a process of its own; what changes meanwhile is written after it.
    pub(super) fn keep_nodes(&mut self) {
        if self.keeper.is_some() {
            self.is_roster_old = true;
            return;
        }
        self.is_roster_old = false;
        let Some(texts) = self.roster.read() else { return };
        let directory = state_directory(&self.config.paths);
        let started = fork_child(|| {
            let _ = close_descriptors_but(&mut []);
            i32::from(host_files::write(&directory, &texts).is_err())
        });
        match started {
            Ok(child) if self.reactor.add(&child.pidfd, KEEPER).is_ok() => self.keeper = Some(child),
            Ok(_) => {}
            Err(error) => log::warn!("the list of nodes cannot be kept: {error}"),
        }
    }

    pub(super) fn keeper_ended(&mut self) {
        let Some(child) = &self.keeper else { return };
        match child.try_wait() {
            Ok(None) => return,
            Ok(Some(WaitStatus::Exited(_, 0))) => {}
            _ => log::warn!("the list of nodes could not be kept in {}", state_directory(&self.config.paths).display()),
        }
        let _ = self.reactor.remove(&child.pidfd);
        self.keeper = None;
        if self.is_roster_old {
            self.keep_nodes();
        }
    }

    /// Looks at the stamps.
    pub(super) fn watch_engine(&mut self, now: u64) {
        let Some(engine) = &mut self.engine else { return };
        let stamp = self.lease.engine_stamp();
        if let Some(by) = engine.first_beat_by {
            if stamp > engine.born {
                engine.first_beat_by = None;
            } else if now >= by {
                log::error!("the new engine did not beat in time");
                self.kill_engine();
                self.engine_lost(now);
            }
        } else if self.watch.is_stale(now, stamp) {
            let age = Duration::from_nanos(now.saturating_sub(stamp)).as_millis();
            log::error!(target: "CRIT", "The engine has not stamped for {age} ms: killing it.");
            self.untold.emit(Entry::new("engine").field("to", "killed").field("cause", "silent").field("ms", age));
            self.kill_engine();
            self.engine_lost(now);
        }
    }

    /// Its descriptor says that it has ended.
    pub(super) fn engine_ended(&mut self, now: u64) {
        if let Some(doomed) = &self.doomed
            && matches!(doomed.try_wait(), Ok(Some(_)))
        {
            let _ = self.reactor.remove(&doomed.pidfd);
            self.doomed = None;
        }
        let Some(engine) = &self.engine else { return };
        let status = match engine.child.try_wait() {
            Ok(Some(status)) => status,
            Ok(None) | Err(_) => return,
        };
        let pid = engine.child.pid;
        self.forget_engine();
        let is_finished = matches!(status, WaitStatus::Exited(_, engine::FINISHED));
        if matches!(self.stage, Stage::Leaving { .. }) {
            return;
        }
        if is_finished {
            // Its `Exit` did not fit into the channel.
            return self.leave(now, now);
        }
        log::error!(target: "CRIT", "Engine process {pid} {}.", how(status));
        if matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)) {
            log::error!(
                target: "CRIT",
                "It tried to start a program or to look into another process, which no engine does: it was attacked. \
                 The kernel's log has the number of the call (`dmesg`, type=1326)."
            );
        }
        self.untold.emit(Entry::new("engine").field("to", how(status)));
        self.engine_lost(now);
    }

    fn forget_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            let _ = self.reactor.remove(&engine.channel);
            let _ = self.reactor.remove(&engine.messages);
            let _ = self.reactor.remove(&engine.child.pidfd);
        }
        self.lease.set_engine(None);
        self.unsent = None;
    }

    /// SIGKILL, so that a thawed engine never beats again, and waits for its end. One that is stuck in the kernel will
    /// not come back from there either; it only keeps its descriptors.
    pub(super) fn kill_engine(&mut self) {
        let Some(engine) = &self.engine else { return };
        let _ = engine.child.signal(Signal::SIGKILL);
        let timeout = PollTimeout::try_from(self.watch.limits().end_limit()).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(engine.child.pidfd.as_fd(), PollFlags::POLLIN)], timeout);
        if matches!(engine.child.try_wait(), Ok(Some(_))) {
            self.forget_engine();
            return;
        }
        log::error!(target: "CRIT", "Engine process {} is stuck in the kernel.", engine.child.pid);
        if let Some(engine) = self.engine.take() {
            let _ = self.reactor.remove(&engine.channel);
            let _ = self.reactor.remove(&engine.messages);
            self.doomed = Some(engine.child);
        }
        self.unsent = None;
    }

    /// There is no engine any more. Its scripts run on; its role is kept when a new one can beat in time.
    pub(super) fn engine_lost(&mut self, now: u64) {
        // They have lost what they talk to, and are started anew when the next engine is up.
        self.clients.stop_clients();
        let carried = self.carried(now);
        let reload = self.take_reload();
        self.runner.forget_engine();
        self.fencings.forget_engine();
        let is_holding = !in_use(&carried, self.config.groups.len()).is_empty();
        let role_kept_until = self.watch.limits().role_kept_until(self.lease.engine_stamp().max(self.silent_since));
        if self.is_stop_wanted() {
            // Not a failure: a service manager that starts failed services again must not undo the stop.
            self.release(now, Then::Exit(0));
        } else if self.doomed.is_none() && (!is_holding || now < role_kept_until) && self.respawns.allow(now) {
            log::warn!("Starting a new engine.");
            if let Some(reload) = reload {
                // It waited for groups to stop: their stops go on, and whatever is to be started waits behind them.
                return self.finish_reload(now, *reload);
            }
            let first_beat_by = if is_holding { role_kept_until } else { now + self.start_limit() };
            if let Err(error) = self.spawn_engine(Some(carried), first_beat_by) {
                log::error!(target: "CRIT", "No engine can be started: {error}");
                self.release(now, Then::Respawn);
            }
        } else {
            self.release(now, Then::Respawn);
        }
    }

    /// The engine says that everything is released: the end, unless this process knows better. One that somebody has taken
    /// over might leave the groups to run while the partner starts them.
    pub(super) fn leave(&mut self, now: u64, until: u64) {
        let left = self.runner.held();
        if left.is_empty() {
            self.stage = Stage::Leaving { until };
            return;
        }
        log::error!(target: "CRIT", "The engine ends and has {} resource groups left: it does not do as it should.", left.len());
        self.kill_engine();
        self.release(now, Then::Exit(0));
    }

    /// What the engine held, with certainty: this process has run all scripts. Where one is under way nobody knows.
    pub(super) fn carried(&self, now: u64) -> Carried {
        let mut carried = self.lease.carried(&self.config).unwrap_or(Carried {
            partner: self.lease.partner(&self.config),
            kicks_until: self.lease.kicks_until(),
            ..Carried::nothing()
        });
        let busy = self.runner.busy();
        for group in self.runner.held().iter() {
            let state = &mut carried.states[usize::from(group.0)];
            // The other case is one of an engine that has not told the truth.
            if busy.contains(group) || !state.is_in_use() {
                *state = GroupState::Unknown;
            }
        }
        carried.is_certain = true;
        self.carry_fencing(now, &mut carried);
        carried
    }

    /// A shot goes on over a new engine. The answer may be there and unread: then it is about the very shot that the engine
    /// was waiting for. Any other one it had taken in, and perhaps heard the partner since.
    fn carry_fencing(&self, now: u64, carried: &mut Carried) {
        let asked = self.lease.shot();
        let is_asked = |order: &ShotOrder| asked == Some(order.shot);
        if let Some(order) = self.runner.pending_fence().filter(is_asked) {
            let ShotOrder { shot, method, generation } = order;
            carried.shot = Some(CarriedShot::Pending { shot, method, generation });
        } else if let Some(order) = self.runner.confirmed_fence().filter(is_asked) {
            (carried.confirmed, carried.shot) = (Some(order.generation), None);
            carried.fencing.confirmed_by = Some(order.method);
        }
        let last = self.lease.engine_stamp().max(self.silent_since);
        if now >= self.watch.limits().role_kept_until(last) {
            carried.note_silence();
        }
    }

    /// Nothing is held; an engine that holds nothing may try, unless engines keep failing or nobody wants one.
    pub(super) fn try_again(&mut self, now: u64) {
        if self.is_stop_wanted() {
            self.stage = Stage::Over(0);
            return;
        }
        let is_pause_over = matches!(self.stage, Stage::Pausing { .. });
        if self.doomed.is_none() && (self.respawns.allow(now) || is_pause_over) {
            let carried = self.carried(now);
            match self.spawn_engine(Some(carried), now + self.start_limit()) {
                Ok(()) => return,
                Err(error) => log::error!(target: "CRIT", "No engine can be started: {error}"),
            }
        }
        log::error!(target: "EMERG", "Engines keep failing: this node gives no service. Next try in {} s.", RETRY_PAUSE.as_secs());
        self.service.status("engines keep failing: no service");
        self.stage = Stage::Pausing { until: now.saturating_add(nanos(RETRY_PAUSE)) };
    }
}

/// Whether the watchdog lease, if this board owes one, allows kicks: the partner rests a takeover on their end.
fn may_kick(lease: &Lease) -> bool {
    let now = Instant::from_micros(lease::now() / 1000);
    lease.kicks_until().is_none_or(|until| now < until)
}

/// The child's whole life.
fn engine_process(config: &Config, context: EngineContext, logs: &OwnedFd) -> i32 {
    let Ok(logs) = logs.try_clone() else { return 1 };
    let mut keep: Vec<RawFd> = vec![context.guardian.as_raw_fd(), logs.as_raw_fd(), context.timer.as_raw_fd()];
    keep.extend(context.messages.descriptor());
    keep.extend(context.watchdogs.iter().map(|held| held.device.as_raw_fd()));
    log_pipe::install(logs, "engine", &config.log);
    // While the descriptor for that is open.
    if let Err(error) = context.lease.leave_to_guardian() {
        log::error!("the guardian's page of the lease stays writable: {error}");
        return 1;
    }
    if let Err(error) = close_descriptors_but(&mut keep) {
        log::error!("descriptors cannot be closed: {error}");
        return 1;
    }
    engine::run(config, context)
}

fn how(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exited with code {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("was killed by {signal}"),
        other => format!("ended ({other:?})"),
    }
}
