//! New files, or a new program, without a move: the engine is replaced and goes on with what it held.
//!
//! All or nothing: with an error in the new files, or while scripts run, nothing changes. Groups that the new files do
//! not have in the same words are stopped by the old ones first; those that only changed are started again by the new
//! engine.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::{CHECK, Guarding, LOGGER, Stage, clients, health, in_use};
use crate::cli::exit;
use crate::config::{Change, Config, FileStamps, Group, Severity, spoken};
use crate::core::ids::{GroupId, GroupSet, JobId, RequestId};
use crate::core::limits::GROUPS_MAX;
use crate::core::message::GroupState;
use crate::core::settings::{Carried, CarriedShot};
use crate::core::{JobOutcome, Order};
use crate::daemon::guarding::testing::tell_test_losses;
use crate::daemon::reset::ResetPath;
use crate::daemon::run::{INHERIT, ONLY_CHECK, allow_core_dumps};
use crate::daemon::watch::{Limits, Watch, nanos};
use crate::daemon::watchdogs::Opened;
use crate::guardian::lease::{self, group_digest};
use crate::guardian::protocol::ToEngine;
use crate::sys::pidfd;
use crate::sys::process::Child;

/// What the new program may take to read the files at most; less with a shorter dead time, because it reads them once more
/// while nobody beats.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// A reload that waits for groups to stop.
#[derive(Debug)]
pub(super) struct Reload {
    config: Config,
    stamps: FileStamps,
    request: Option<RequestId>,
    /// By the old table's numbers.
    stopping: GroupSet,
}

/// The new program reads the files.
#[derive(Debug)]
pub(super) struct BinaryCheck {
    child: Child,
    request: RequestId,
    pub(super) until: u64,
}

/// Jobs of the guardian's own have the highest numbers; the engine counts from the lowest.
fn own_job(group: GroupId) -> JobId {
    JobId(u32::MAX - u32::from(group.0))
}

impl Guarding {
    /// SIGHUP (spec/config.md section 5): only what has changed counts.
    pub(super) fn reload_what_changed(&mut self, now: u64) {
        match FileStamps::of(&self.config.paths).change_since(&self.stamps) {
            Change::None => return log::info!("Configuration unchanged."),
            Change::Keys => log::info!("Rereading authentication file."),
            Change::Testing => log::info!("Rereading test options."),
            Change::Configuration => log::info!("Heartbeat restart triggered."),
        }
        self.begin_reload(now, None);
    }

    /// After SIGHUP, or on an operator's request.
    pub(super) fn begin_reload(&mut self, now: u64, request: Option<RequestId>) {
        if !self.can_reload() {
            return self.refuse_for_now(request);
        }
        self.service.reloading();
        let stamps = FileStamps::of(&self.config.paths);
        let loaded = self.options.load();
        for finding in &loaded.findings {
            match finding.severity {
                Severity::Error => log::error!("{finding}"),
                Severity::Warning => log::warn!("{finding}"),
                Severity::Note => log::info!("{finding}"),
            }
        }
        let Some(config) = loaded.config else { return self.refuse(request, exit::CONFIGURATION) };
        if config.gpio != self.config.gpio {
            log::error!("The GPIO lines have changed: they are opened at the start only. Restart nullbeat.");
            return self.refuse(request, exit::FAILURE);
        }
        if !self.is_heard_in_time(&config) {
            return self.refuse(request, exit::FAILURE);
        }
        let stopping = self.vanishing(&config);
        for group in stopping.iter() {
            let text = &self.config.groups[usize::from(group.0)].text;
            log::warn!("Reload: the group `{text}` is changed or gone: it is stopped");
            self.lease.set_group(group, GroupState::Stopping);
            self.runner.request(Instant::now(), own_job(group), group, Order::Stop);
        }
        let reload = Reload { config, stamps, request, stopping };
        if !stopping.is_empty() {
            self.stage = Stage::Reloading(Box::new(reload));
        } else if let Some(watchdogs) = self.open_watchdogs(&reload) {
            self.complete_reload(now, reload, watchdogs);
        } else {
            self.refuse(request, exit::FAILURE);
        }
    }

    /// Whether an engine with these files is heard before the role is lost that it goes on with: with `protocol compact` on a
    /// slow line it may not be, and the groups would be stopped.
    fn is_heard_in_time(&self, config: &Config) -> bool {
        let is_alive = self.lease.partner(config).is_some_and(|known| !known.is_dead && !known.has_left);
        let limit = config.deadtime / 2 - config.deadtime / 8;
        let Some(time) = config.session_time().filter(|time| *time > limit) else { return true };
        if !is_alive || self.lease.in_use().is_empty() {
            return true;
        }
        log::error!(
            "With `protocol compact` the partner hears a new engine only after a call and its answer, which take {} on \
             the fastest line; with a deadtime of {} it has {}. The groups would be stopped: stop and start nullbeat, or \
             raise deadtime or baud.",
            spoken(time),
            spoken(config.deadtime),
            spoken(limit)
        );
        false
    }

    /// Opens the watchdogs that were not there before. Nobody kicks them before the next engine: so at the last moment.
    fn open_watchdogs(&self, reload: &Reload) -> Option<Opened> {
        match self.watchdogs.open_further(&reload.config) {
            Ok(opened) => Some(opened),
            Err(error) if self.options.is_unfenced => {
                log::error!("{error}; going without it, because of --unfenced");
                Some(Opened::default())
            }
            Err(error) => {
                log::error!("{error}");
                None
            }
        }
    }

    /// Whether an engine could be replaced now. Not in the middle of a hand-over: the next engine would go on with it, but
    /// whoever has asked for it would get no answer.
    pub(super) fn can_reload(&self) -> bool {
        matches!(self.stage, Stage::Guarding)
            && self.runner.is_idle()
            && !self.is_stop_wanted()
            && self.lease.handover().is_none()
    }

    fn refuse_for_now(&mut self, request: Option<RequestId>) {
        if self.lease.handover().is_some() {
            log::warn!("A hand-over with the other node is under way: no reload before its end.");
        } else if !self.runner.is_idle() {
            log::warn!("Scripts run: no reload before their end.");
        }
        self.refuse(request, exit::TRY_AGAIN);
    }

    fn refuse(&mut self, request: Option<RequestId>, code: u8) {
        log::error!("Reload refused ({code}); everything stays as it was.");
        self.service.ready();
        if let Some(request) = request {
            self.send(ToEngine::ReloadRefused { request, code });
        }
    }

    /// Groups in use that the new files do not have in the same words.
    fn vanishing(&self, new: &Config) -> GroupSet {
        let is_kept = |old: &Group| new.groups.iter().any(|group| group_digest(group) == group_digest(old));
        self.lease
            .in_use()
            .iter()
            .filter(|group| self.config.groups.get(usize::from(group.0)).is_some_and(|old| !is_kept(old)))
            .collect()
    }

    /// Whether a report is about a job of the guardian's own.
    pub(super) fn take_own_report(&mut self, now: u64, report: ToEngine) -> bool {
        let (job, outcome) = match report {
            ToEngine::JobDone { job, outcome, .. } => (job, Some(outcome)),
            ToEngine::JobStep { job, .. } => (job, None),
            _ => return false,
        };
        let Some(group) = GroupSet::first(GROUPS_MAX).iter().find(|&group| own_job(group) == job) else { return false };
        if let Some(outcome) = outcome {
            self.stopped_for_reload(now, group, outcome);
        }
        true
    }

    fn stopped_for_reload(&mut self, now: u64, group: GroupId, outcome: JobOutcome) {
        let Some(mut reload) = self.take_reload() else { return };
        if self.is_stop_wanted() {
            // The engine is about to stop everything, by the old files; it was not told of this stop and asks for its own.
            return self.refuse(reload.request, exit::TRY_AGAIN);
        }
        if outcome != JobOutcome::Done {
            // The engine still believes that the group runs: it is replaced all the same, with the old files.
            self.lease.set_group(group, GroupState::StopFailed);
            return self.give_reload_up(now, reload.request);
        }
        self.lease.set_group(group, GroupState::Stopped);
        reload.stopping.remove(group);
        if reload.stopping.is_empty() {
            self.finish_reload(now, *reload);
        } else {
            self.stage = Stage::Reloading(reload);
        }
    }

    /// The reload that waits, if there is one; an engine decides until it goes on.
    pub(super) fn take_reload(&mut self) -> Option<Box<Reload>> {
        match std::mem::replace(&mut self.stage, Stage::Guarding) {
            Stage::Reloading(reload) => Some(reload),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// All groups that it waited for are stopped.
    pub(super) fn finish_reload(&mut self, now: u64, reload: Reload) {
        match self.open_watchdogs(&reload) {
            Some(watchdogs) => self.complete_reload(now, reload, watchdogs),
            None => self.give_reload_up(now, reload.request),
        }
    }

    fn complete_reload(&mut self, now: u64, reload: Reload, watchdogs: Opened) {
        let carried = self.carried_into(now, &reload.config);
        if reload.stamps.change_since(&self.stamps) == Change::Configuration {
            // In the original it is one.
            log::info!("Performing heartbeat restart exec.");
        }
        self.stamps = reload.stamps;
        log::info!("Configuration reloaded.");
        self.replace_engine(now, reload.config, carried, watchdogs);
    }

    /// Groups have been stopped, and the new files cannot be had: the old ones stay in force. The engine was not told of
    /// these stops, so there is a new one; what was stopped it starts again.
    fn give_reload_up(&mut self, now: u64, request: Option<RequestId>) {
        self.refuse(request, exit::FAILURE);
        let mut carried = self.carried(now);
        let is_stopped = |group: &GroupId| carried.states[usize::from(group.0)] == GroupState::Stopped;
        carried.to_restart = carried.claims.iter().filter(is_stopped).collect();
        let config = self.config.clone();
        self.replace_engine(now, config, carried, Opened::default());
    }

    /// What is held, by the numbers of `new`'s groups. A group that is the same in node and key but not in its words
    /// stays claimed: it was stopped, and the new engine starts it again.
    fn carried_into(&self, now: u64, new: &Config) -> Carried {
        let old = self.carried(now);
        let mut carried = self.lease.carried(new).unwrap_or(old);
        carried.is_certain = true;
        if carried.partner.is_some() {
            // Methods by their new numbers; of a shot by one that is gone nobody waits for the end.
            let place = |method: u8| {
                let old = self.config.fence.methods.get(usize::from(method))?;
                let place = new.fence.methods.iter().position(|new| new == old)?;
                u8::try_from(place).ok()
            };
            carried.confirmed = old.confirmed;
            carried.fencing = old.fencing.renumbered(place);
            carried.shot = old.shot.map(|shot| match shot {
                CarriedShot::Pending { shot, method, generation } => match place(method) {
                    Some(method) => CarriedShot::Pending { shot, method, generation },
                    None => CarriedShot::Lost,
                },
                CarriedShot::Lost => CarriedShot::Lost,
            });
        }
        let claimed = self.lease.claims();
        for (index, group) in new.groups.iter().enumerate().take(GROUPS_MAX) {
            let before = self.config.groups.iter().position(|old| old.node == group.node && old.key() == group.key());
            let (Some(Ok(before)), Ok(id)) = (before.map(u8::try_from), u8::try_from(index)) else { continue };
            if group_digest(&self.config.groups[usize::from(before)]) != group_digest(group) {
                carried.states[index] = GroupState::Stopped;
                if claimed.contains(GroupId(before)) {
                    carried.claims.insert(GroupId(id));
                    carried.to_restart.insert(GroupId(id));
                }
                if old.guests.contains(GroupId(before)) {
                    carried.guests.insert(GroupId(id));
                }
            }
        }
        carried
    }

    /// The old engine ends, one with `config` goes on within milliseconds: the peer sees a quick restart (spec/wire.md
    /// 14.1).
    fn replace_engine(&mut self, now: u64, config: Config, carried: Carried, watchdogs: Opened) {
        self.kill_engine();
        tell_test_losses(self.config.test_losses.as_ref(), config.test_losses.as_ref());
        allow_core_dumps(&config);
        let is_same = config.reset_with == self.config.reset_with && config.watchdog == self.config.watchdog;
        self.watchdogs.replace(&config, watchdogs);
        if !is_same && let Err(error) = self.replace_reset(&config) {
            log::error!("reset_with: {error}; the old way stays in force");
        }
        self.runner.forget_engine();
        if health::services(&self.config) != health::services(&config) {
            self.forget_checkers();
        }
        self.runner.replace_table(&config);
        self.clients.replace_table(&config, clients::services(&config), self.runner.environment());
        self.watch = Watch::new(Limits::new(config.keepalive, config.deadtime), now);
        self.digest = lease::table_digest(&config);
        self.config = config;
        self.replace_logger();
        let role_kept_until = self.watch.limits().role_kept_until(self.lease.engine_stamp().max(self.silent_since));
        let is_holding = !in_use(&carried, self.config.groups.len()).is_empty();
        let first_beat_by = if is_holding { role_kept_until } else { now + self.start_limit() };
        if let Err(error) = self.spawn_engine(Some(carried), first_beat_by) {
            log::error!(target: "CRIT", "No engine can be started: {error}");
            self.engine_lost(now);
        }
    }

    fn replace_reset(&mut self, config: &Config) -> io::Result<()> {
        let new = ResetPath::prepare(&config.reset_with, self.watchdogs.copies()?)?;
        if let Some(old) = self.reset.replace(new) {
            old.disarm();
        }
        Ok(())
    }

    fn replace_logger(&mut self) {
        self.lease.dismiss_logger();
        if let Err(error) = self.logs.restart(&self.config, &self.timer, &self.reactor, LOGGER) {
            log::error!("No logger can be started: {error}");
        }
        self.lease.set_logger(self.logs.key());
    }

    /// `reload --binary`: the new program first shows that it starts and takes the files.
    pub(super) fn begin_binary_reload(&mut self, now: u64, request: RequestId) {
        if !self.can_reload() {
            return self.refuse_for_now(Some(request));
        }
        if !self.is_heard_in_time(&self.config) {
            return self.refuse(Some(request), exit::FAILURE);
        }
        self.service.reloading();
        match self.start_check() {
            Ok(child) => {
                let until = now.saturating_add(nanos(CHECK_LIMIT.min(self.config.deadtime * 3 / 4)));
                self.stage = Stage::Checking(BinaryCheck { child, request, until });
            }
            Err(error) => {
                log::error!("{} cannot be started: {error}", self.options.program.display());
                self.refuse(Some(request), exit::FAILURE);
            }
        }
    }

    fn start_check(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.options.program);
        // By the command line that it will have, and as strictly as it will be: what `check` only warns about (a device
        // or a host that cannot be had at this moment) would end it after the exec. A program that does not know the
        // option refuses.
        command.args(&self.options.arguments[1..]).arg(ONLY_CHECK);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pid = Pid::from_raw(i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?);
        let child = Child { pid, pidfd: pidfd::open(pid)? };
        self.reactor.add(&child.pidfd, CHECK)?;
        Ok(child)
    }

    /// The check has ended, or has taken too long.
    pub(super) fn check_ended(&mut self, now: u64) {
        let Stage::Checking(check) = &self.stage else { return };
        let is_over_time = now >= check.until;
        if is_over_time {
            let _ = check.child.signal(Signal::SIGKILL);
        }
        let status = match check.child.try_wait() {
            Ok(None) if !is_over_time => return,
            status => status,
        };
        let _ = self.reactor.remove(&check.child.pidfd);
        let request = check.request;
        if is_over_time {
            let deadtime = spoken(self.config.deadtime);
            log::error!(
                "The new program takes too long to read the files: at a deadtime of {deadtime} the peer would take over."
            );
        }
        self.stage = Stage::Guarding;
        match status {
            Ok(Some(WaitStatus::Exited(_, 0))) if self.can_reload() => self.execute_program(now),
            Ok(Some(WaitStatus::Exited(_, 0))) => self.refuse(Some(request), exit::TRY_AGAIN),
            Ok(Some(WaitStatus::Exited(_, code))) if code == i32::from(exit::CONFIGURATION) => {
                log::error!("The new program would not start with these files: `nullbeat check` says why.");
                self.refuse(Some(request), exit::CONFIGURATION);
            }
            status => {
                log::error!("{} run {ONLY_CHECK}: {status:?}", self.options.program.display());
                self.refuse(Some(request), exit::FAILURE);
            }
        }
    }

    /// Becomes the new program: same process, same lock, same service manager. What was held it reads from the lease,
    /// as after a guardian's death. Returns only when it could not be executed.
    fn execute_program(&mut self, now: u64) {
        log::info!("Executing {}.", self.options.program.display());
        self.kill_engine();
        if let Some(reset) = self.reset.take() {
            reset.disarm();
        }
        self.lease.dismiss_logger();
        self.logs.end(&self.config);
        let error = self.execute();
        // Still here: the old program goes on, with a new pipe to a new logger.
        self.replace_logger();
        log::error!("{} cannot be executed: {error}", self.options.program.display());
        let copies = self.watchdogs.copies().unwrap_or_default();
        self.reset = ResetPath::prepare(&self.config.reset_with, copies).ok();
        self.engine_lost(now);
    }

    /// Returns why it did not happen.
    fn execute(&self) -> io::Error {
        let result = self.try_execute();
        self.directory.keep();
        match result {
            Err(error) => error,
        }
    }

    fn try_execute(&self) -> io::Result<Infallible> {
        let left = self.directory.bequeath()?;
        let words = self.options.arguments.iter().cloned().chain([format!("{INHERIT}={left}")]);
        let arguments = words.map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let program = CString::new(self.options.program.as_os_str().as_bytes())?;
        // Not std's exec: that would unblock our signals, and a SIGTERM would end the new program before it listens.
        Ok(nix::unistd::execv(&program, &arguments)?)
    }
}
