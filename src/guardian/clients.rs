//! The guardian's long-lived children in one table: the programs of `respawn` and `failfast`, and its own services.
//!
//! Single thread, never blocks: the owner waits for [`Clients::as_fd`] or [`Clients::next_deadline`] and calls
//! [`Clients::turn`]. A child that dies is started again by Heartbeat's rules (spec/resources.md section 16):
//!
//! ```text
//!             communication_up             ends                        a second later after a short life
//!   resting ──────────────────▶ running ────────▶ exit code 100? ────▶ waiting ──────────▶ running
//!      ▲                           │                    │ or too many short lives (services: never)
//!      └───── stop: TERM, KILL ────┘                    ▼
//!                                                     done
//! ```
//!
//! The guardian's own services are never given up: after each short life they rest longer, up to a minute, and
//! meanwhile [`Clients::is_service_down`] says so.
//!
//! Stopping goes from the last to the first, each awaited. While one is being stopped no other is started, so that
//! there is never a second one of a kind, not even after another guardian ([`Clients::end_leftover`]).

use std::ffi::{CStr, CString};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2, read, setpgid, write};

use super::channel::Channel;
use super::directory::{self, Existing};
use super::lease::ProcessKey;
use super::lookup::c_path;
use crate::config::names::User;
use crate::config::{ClientLine, Config};
use crate::core::limits::CHILDREN_MAX;
use crate::sys::child_setup::{Identity, LongProgram, become_program};
use crate::sys::process::{Child, fork_child};

/// Shorter lives are counted.
const SHORT_LIFE: Duration = Duration::from_secs(30);
/// So many in a row are too many.
const SHORT_LIVES_MAX: u32 = 10;
/// Pause after a short life; of a service after the first of a row.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of a service, which is never given up.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A service with so many short lives in a row counts as down, until it has lived long enough again.
const DOWN_AFTER: u32 = 3;
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);
/// By this code a client says that it is not to be started again.
const DO_NOT_RESPAWN: i32 = 100;
/// Exit code of a child that could not become its program, as shells have it.
const NOT_STARTED: i32 = 127;

/// A process of our own program that the guardian keeps alive from its begin to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What the log calls it, and what it finds as its own name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Whom it runs as; `None`: as the guardian.
    pub user: Option<User>,
    /// A group that it is in beside that user's.
    pub group: Option<u32>,
    /// Whether it finds one end of a [`Channel`] as its standard input; the other one comes by
    /// [`Clients::poll_channel`], anew with each start.
    pub has_channel: bool,
}

/// A `failfast` program has died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its command.
    pub name: String,
}

/// What a row stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Line(ClientLine),
    Service(Service),
}

#[derive(Debug)]
enum State {
    /// Not wanted now.
    Resting,
    /// To be started then.
    Waiting { start_at: Instant },
    /// Runs.
    Running {
        child: Child,
        started: Instant,
        /// Where a child that could not become its program has written why.
        excuse: OwnedFd,
    },
    /// Not to be started again.
    Done,
}

#[derive(Debug)]
struct Row {
    origin: Origin,
    name: String,
    arguments: Vec<CString>,
    identity: Option<Identity>,
    directory: CString,
    state: State,
    short_lives: u32,
}

/// A process that has just been started.
#[derive(Debug)]
struct Spawned {
    child: Child,
    channel: Option<Channel>,
    excuse: OwnedFd,
}

/// A process that is to end.
#[derive(Debug)]
struct Leaving {
    name: String,
    child: Child,
    /// TERM has been sent; KILL follows then.
    kill_at: Option<Instant>,
    is_killed: bool,
}

/// The table.
#[derive(Debug)]
pub struct Clients {
    epoll: Epoll,
    rows: Vec<Row>,
    environment: Vec<CString>,
    /// In order of their start: the last one ends first.
    leaving: Vec<Leaving>,
    /// Whether the programs of ha.cf are to run.
    is_wanted: bool,
    /// Since when the services are to run.
    services_since: Option<Instant>,
    is_debugging: bool,
    failure: Option<Failure>,
    channels: Vec<(&'static str, Channel)>,
}

impl Clients {
    /// For the lines of `config`; nothing runs yet. `environment` is what every program gets.
    ///
    /// # Errors
    /// When the process cannot even have an epoll descriptor.
    pub fn new(config: &Config, services: Vec<Service>, environment: &[CString]) -> io::Result<Self> {
        let mut clients = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            rows: Vec::new(),
            environment: Vec::new(),
            leaving: Vec::new(),
            is_wanted: false,
            services_since: None,
            is_debugging: false,
            failure: None,
            channels: Vec::new(),
        };
        clients.replace_table(config, services, environment);
        Ok(clients)
    }

    /// Other files. Programs of ha.cf have been stopped before ([`stop_clients`](Self::stop_clients)); services that the
    /// new files have in the same words run on, others end and begin.
    pub fn replace_table(&mut self, config: &Config, services: Vec<Service>, environment: &[CString]) {
        self.stop_clients();
        self.environment = environment.to_vec();
        self.is_debugging = config.log.debug > 0;
        let mut old = std::mem::take(&mut self.rows);
        let origins = services.into_iter().map(Origin::Service);
        let origins = origins.chain(config.clients.iter().cloned().map(Origin::Line)).take(CHILDREN_MAX);
        for origin in origins {
            let kept = old.iter().position(|row| matches!(row.origin, Origin::Service(_)) && row.origin == origin);
            let row = kept.map(|at| old.remove(at)).map_or_else(|| Row::new(origin, config), Ok);
            match row {
                Ok(mut row) => {
                    if let Some(since) = self.services_since.filter(|_| row.is_service()) {
                        row.want(since);
                    }
                    self.rows.push(row);
                }
                Err(error) => log::error!("a client cannot be started: {error}"),
            }
        }
        for row in old {
            self.leaving.extend(row.into_leaving());
        }
    }

    /// Starts the services; to be called once the guardian is at work.
    pub fn start_services(&mut self, now: Instant) {
        self.services_since = Some(now);
        for row in self.rows.iter_mut().filter(|row| matches!(row.origin, Origin::Service(_))) {
            row.want(now);
        }
        self.turn(now);
    }

    /// Communication is up: the programs of ha.cf are started.
    pub fn communication_up(&mut self, now: Instant) {
        self.is_wanted = true;
        for row in self.rows.iter_mut().filter(|row| matches!(row.origin, Origin::Line(_))) {
            row.want(now);
        }
        self.turn(now);
    }

    /// Begins to stop the programs of ha.cf, the last one first. Then look at [`is_stopped`](Self::is_stopped).
    pub fn stop_clients(&mut self) {
        self.is_wanted = false;
        for row in self.rows.iter_mut().filter(|row| matches!(row.origin, Origin::Line(_))) {
            self.leaving.extend(row.take_leaving());
        }
    }

    /// Begins to stop everything.
    pub fn stop_all(&mut self) {
        self.services_since = None;
        let services = self.rows.iter_mut().filter(|row| matches!(row.origin, Origin::Service(_)));
        // The last to go: clients may use them.
        let first: Vec<Leaving> = services.filter_map(Row::take_leaving).collect();
        self.leaving.splice(0..0, first);
        self.stop_clients();
    }

    /// Whether nothing is on its way out any more.
    pub fn is_stopped(&self) -> bool {
        self.leaving.is_empty()
    }

    /// A process that an earlier guardian of this boot has left: it is stopped before another one is started.
    pub fn end_leftover(&mut self, process: ProcessKey) {
        let Some(pidfd) = process.open() else {
            // After an exec of the guardian it is still a child of this process, which may have ended meanwhile.
            let _ = waitpid(process.pid, Some(WaitPidFlag::WNOHANG));
            return;
        };
        let child = Child { pid: process.pid, pidfd };
        if self.watch(&child).is_ok() {
            let name = "a client of an earlier guardian".to_owned();
            self.leaving.push(Leaving { name, child, kill_at: None, is_killed: false });
        }
    }

    /// All processes, for whoever comes after a killed guardian.
    pub fn processes(&self) -> impl Iterator<Item = Pid> {
        let running = self.rows.iter().filter_map(|row| match &row.state {
            State::Running { child, .. } => Some(child.pid),
            _ => None,
        });
        running.chain(self.leaving.iter().map(|leaving| leaving.child.pid))
    }

    /// The next `failfast` program that has died.
    pub fn poll_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// The guardian's end of the channel of a service that has just been started.
    pub fn poll_channel(&mut self) -> Option<(&'static str, Channel)> {
        self.channels.pop()
    }

    /// Readable when [`turn`](Self::turn) has something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Whether one of the guardian's own services does not stay alive.
    pub fn is_service_down(&self) -> bool {
        self.rows.iter().any(|row| row.is_service() && row.short_lives >= DOWN_AFTER)
    }

    /// When [`turn`](Self::turn) is due even if the descriptor is quiet.
    pub fn next_deadline(&self) -> Option<Instant> {
        let can_start = self.leaving.is_empty();
        let starts = self.rows.iter().filter_map(move |row| match row.state {
            State::Waiting { start_at } if can_start => Some(start_at),
            State::Running { started, .. } if row.is_service() && row.short_lives > 0 => Some(started + SHORT_LIFE),
            _ => None,
        });
        starts.chain(self.leaving.iter().filter_map(|leaving| leaving.kill_at)).min()
    }

    /// Does what can be done now: deaths, starts that are due, the next one to be stopped, time limits.
    pub fn turn(&mut self, now: Instant) {
        for index in 0..self.rows.len() {
            self.look_at(now, index);
        }
        self.see_off(now);
        if !self.leaving.is_empty() {
            return;
        }
        for index in 0..self.rows.len() {
            if matches!(self.rows[index].state, State::Waiting { start_at } if start_at <= now) {
                self.start(now, index);
            }
        }
    }

    fn watch(&self, child: &Child) -> nix::Result<()> {
        self.epoll.add(&child.pidfd, EpollEvent::new(EpollFlags::EPOLLIN, 0))
    }

    /// Whether the row's process has ended, and what comes of it.
    fn look_at(&mut self, now: Instant, index: usize) {
        let row = &mut self.rows[index];
        let State::Running { child, started, excuse } = &row.state else { return };
        let status = match child.try_wait() {
            Ok(None) => {
                if now.saturating_duration_since(*started) >= SHORT_LIFE {
                    row.short_lives = 0;
                }
                return;
            }
            Ok(status) => status,
            Err(_) => None,
        };
        if let Some(WaitStatus::Exited(_, NOT_STARTED)) = status
            && let Some(excuse) = read_excuse(excuse)
        {
            log::error!("Client {} cannot be started: {excuse}", row.name);
        }
        tell_end(&row.name, child.pid, status);
        let (pid, life) = (child.pid, now.saturating_duration_since(*started));
        if self.is_debugging {
            match status {
                Some(WaitStatus::Exited(_, code)) => log::error!("Client {} exited with return code {code}.", row.name),
                Some(WaitStatus::Signaled(_, signal, _)) => {
                    log::error!("Client {} (pid={pid}) killed by signal {}.", row.name, signal as i32);
                }
                _ => {}
            }
        }
        row.short_lives = if life < SHORT_LIFE { row.short_lives.saturating_add(1) } else { 0 };
        if row.is_failfast() && !matches!(status, Some(WaitStatus::Exited(_, 0))) {
            self.failure = Some(Failure { name: row.name.clone() });
        }
        if matches!(status, Some(WaitStatus::Exited(_, DO_NOT_RESPAWN))) && !row.is_service() {
            row.state = State::Done;
        } else if row.short_lives > SHORT_LIVES_MAX && !row.is_service() {
            log::error!("Client {} \"respawning too fast\"", row.name);
            row.state = State::Done;
        } else {
            log::error!("Respawning client \"{}\":", row.name);
            row.state = State::Waiting { start_at: now + row.pause() };
        }
    }

    fn start(&mut self, now: Instant, index: usize) {
        let row = &mut self.rows[index];
        if let Origin::Line(line) = &row.origin {
            log::info!("Starting child client \"{}\" ({},{})", row.name, line.user.uid, line.user.gid);
            if !is_executable(line.program()) {
                log::error!("Client child command [{}] is not executable", row.name);
                row.state = State::Done;
                return;
            }
        }
        match row.spawn(&self.environment) {
            Ok(Spawned { child, channel, excuse }) => {
                if let Origin::Line(line) = &row.origin {
                    let User { uid, gid, .. } = line.user;
                    log::info!("Starting \"{}\" as uid {uid}  gid {gid} (pid {})", row.name, child.pid);
                }
                if let (Origin::Service(service), Some(channel)) = (&row.origin, channel) {
                    self.channels.push((service.name, channel));
                }
                if let Err(error) = self.epoll.add(&child.pidfd, EpollEvent::new(EpollFlags::EPOLLIN, 0)) {
                    log::error!("the end of client {} will not be noticed at once: {error}", row.name);
                }
                row.state = State::Running { child, started: now, excuse };
            }
            Err(error) => {
                log::error!("Client {} cannot be started: {error}", row.name);
                row.short_lives += u32::from(row.is_service());
                row.state = State::Waiting { start_at: now + SHORT_LIFE };
            }
        }
    }

    /// Sees to those that are on their way out: one of them at a time is asked to end.
    fn see_off(&mut self, now: Instant) {
        while let Some(last) = self.leaving.last_mut() {
            if last.has_ended() {
                log::debug!("client {} (process {}) has ended", last.name, last.child.pid);
                // Its descriptor leaves the epoll set by itself.
                self.leaving.pop();
                continue;
            }
            match last.kill_at {
                None => {
                    log::info!("killing {} process group {} with signal 15", last.name, last.child.pid);
                    last.signal(Signal::SIGTERM);
                    last.kill_at = Some(now + GRACE);
                }
                Some(at) if at <= now && last.is_killed => {
                    log::error!("{} process {} will not die!", last.name, last.child.pid);
                    self.leaving.pop();
                    continue;
                }
                Some(at) if at <= now => {
                    log::warn!("killing {} process group {} with signal 9", last.name, last.child.pid);
                    last.signal(Signal::SIGKILL);
                    last.is_killed = true;
                    last.kill_at = Some(now + PAUSE);
                }
                Some(_) => {}
            }
            return;
        }
    }
}

impl Row {
    fn new(origin: Origin, config: &Config) -> io::Result<Self> {
        let (name, arguments, user) = match &origin {
            Origin::Line(line) => {
                let words = ["sh".to_owned(), "-c".to_owned(), format!("exec {}", line.command)];
                (line.command.clone(), words.to_vec(), Some((&line.user, line.groups.clone())))
            }
            Origin::Service(service) => {
                let words = [service.name.to_owned()].into_iter().chain(service.arguments.iter().cloned());
                let groups = |user: &User| [Some(user.gid), service.group].into_iter().flatten().collect();
                (service.name.to_owned(), words.collect(), service.user.as_ref().map(|user| (user, groups(user))))
            }
        };
        let identity =
            user.as_ref().map(|(user, groups)| Identity { uid: user.uid, gid: user.gid, groups: groups.clone() });
        let directory = core_directory(config, user.map(|(user, _)| user));
        let arguments = arguments.into_iter().map(CString::new).collect::<Result<_, _>>()?;
        Ok(Self { origin, name, arguments, identity, directory, state: State::Resting, short_lives: 0 })
    }

    const fn is_service(&self) -> bool {
        matches!(self.origin, Origin::Service(_))
    }

    const fn is_failfast(&self) -> bool {
        matches!(self.origin, Origin::Line(ClientLine { is_failfast: true, .. }))
    }

    /// How long it rests after its last life: a line of ha.cf as in the original, a service ever longer, up to a bound.
    fn pause(&self) -> Duration {
        match self.short_lives.checked_sub(1) {
            None => Duration::ZERO,
            Some(more) if self.is_service() => PAUSE.saturating_mul(2_u32.saturating_pow(more)).min(PAUSE_MAX),
            Some(_) => PAUSE,
        }
    }

    fn want(&mut self, now: Instant) {
        if matches!(self.state, State::Resting) {
            self.state = State::Waiting { start_at: now };
        }
    }

    /// Not wanted any more: what runs is to be stopped. What was given up stays so.
    fn take_leaving(&mut self) -> Option<Leaving> {
        match std::mem::replace(&mut self.state, State::Resting) {
            State::Running { child, .. } => {
                Some(Leaving { name: self.name.clone(), child, kill_at: None, is_killed: false })
            }
            State::Done => {
                log::info!("client [{}] is not running.", self.name);
                self.state = State::Done;
                None
            }
            State::Resting | State::Waiting { .. } => None,
        }
    }

    fn into_leaving(mut self) -> Option<Leaving> {
        self.take_leaving()
    }

    fn spawn(&self, environment: &[CString]) -> io::Result<Spawned> {
        let has_channel = matches!(self.origin, Origin::Service(Service { has_channel: true, .. }));
        let pair = has_channel.then(Channel::pair).transpose()?;
        let (ours, theirs) = pair.map(|(ours, theirs)| (ours, OwnedFd::from(theirs))).unzip();
        let (excuse, childs) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let path: &CStr = if self.is_service() { c"/proc/self/exe" } else { c"/bin/sh" };
        let program = LongProgram {
            path,
            arguments: &self.arguments,
            environment,
            directory: &self.directory,
            identity: self.identity.as_ref(),
            stdin: theirs.as_ref().map(AsRawFd::as_raw_fd),
            kept: Some(childs.as_raw_fd()),
        };
        let child = fork_child(|| {
            let error = become_program(&program);
            // The way to the log is closed by now.
            let _ = write(&childs, error.to_string().as_bytes());
            NOT_STARTED
        })?;
        // Whoever is first, parent or child: it can be signalled as a group from here on.
        let _ = setpgid(child.pid, child.pid);
        Ok(Spawned { child, channel: ours, excuse })
    }
}

impl Leaving {
    fn has_ended(&self) -> bool {
        match self.child.try_wait() {
            Ok(None) => false,
            Ok(Some(_)) => true,
            // Not a child of this process.
            Err(_) => poll(&mut [PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1),
        }
    }

    /// To the group, and to its leader, who may have gone over to another group.
    fn signal(&self, signal: Signal) {
        for result in [killpg(self.child.pid, signal), kill(self.child.pid, signal)] {
            if let Err(error) = result
                && error != Errno::ESRCH
            {
                log::warn!("cannot send {signal} to process {}: {error}", self.child.pid);
            }
        }
    }
}

/// Why a child that has ended could not become its program.
fn read_excuse(excuse: &OwnedFd) -> Option<String> {
    let mut bytes = [0; 256];
    let count = read(excuse, &mut bytes).ok().filter(|count| *count > 0)?;
    Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

fn is_executable(program: &Path) -> bool {
    std::fs::metadata(program).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The directory in which a user's processes run and leave their core files, without one those of root. It is made when
/// it is absent.
pub fn core_directory(config: &Config, user: Option<&User>) -> CString {
    let root: PathBuf = config.core_root.clone().unwrap_or_else(|| config.paths.state.join("cores"));
    let path = root.join(user.map_or("root", |user| user.name.as_str()));
    if DirBuilder::new().recursive(true).mode(0o755).create(&root).is_ok() {
        // A client without it runs in the root directory.
        let _ = directory::make(&path, 0o700, user.map(|user| (user.uid, user.gid)), Existing::Kept);
    }
    c_path(&path)
}

/// Says how a process has ended, in the words of the original.
fn tell_end(name: &str, pid: Pid, status: Option<WaitStatus>) {
    match status {
        Some(WaitStatus::Exited(_, 0)) => log::info!("Managed {name} process {pid} exited with return code 0."),
        Some(WaitStatus::Exited(_, code)) => {
            log::warn!("Managed {name} process {pid} exited with return code {code}.");
        }
        Some(WaitStatus::Signaled(_, signal, has_dumped)) => {
            let number = signal as i32;
            log::warn!("Managed {name} process {pid} killed by signal {number} [{signal} - {}].", meaning(signal));
            if has_dumped {
                log::error!("Managed {name} process {pid} dumped core");
            }
        }
        _ => log::warn!("Managed {name} process {pid} ended, nobody knows how."),
    }
}

/// What the original says that a signal means (seen).
const fn meaning(signal: Signal) -> &'static str {
    match signal {
        Signal::SIGHUP => "Hangup",
        Signal::SIGINT => "Interrupt (ANSI)",
        Signal::SIGQUIT => "Quit",
        Signal::SIGILL => "Illegal instruction",
        Signal::SIGTRAP => "Trace",
        Signal::SIGABRT => "Abort",
        Signal::SIGBUS => "BUS error",
        Signal::SIGFPE => "Floating-point exception",
        Signal::SIGKILL => "Kill, unblockable",
        Signal::SIGUSR1 => "User-defined signal 1",
        Signal::SIGSEGV => "Segmentation violation",
        Signal::SIGUSR2 => "User-defined signal 2",
        Signal::SIGPIPE => "Broken pipe",
        Signal::SIGALRM => "Alarm clock",
        Signal::SIGTERM => "Termination (ANSI)",
        Signal::SIGXCPU => "CPU limit exceeded",
        Signal::SIGXFSZ => "File size limit exceeded",
        Signal::SIGVTALRM => "Virtual alarm clock",
        Signal::SIGPROF => "Profiling alarm clock",
        Signal::SIGIO => "Pollable event occurred",
        Signal::SIGSYS => "Bad system call",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests;
