//! The application heartbeat daemon (spec/api.md section 7): programs linked with Heartbeat's library register here and
//! beat; who stays away is logged, and the board is reset for one that has asked for it.
//!
//! One thread. Who has failed is asked only when everything that had arrived is read: a daemon that was not scheduled
//! itself blames nobody for it.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::User;

use super::clock;
use super::logger::Destinations;
use super::pid_file;
use super::places::Places;
use super::reactor::{Reactor, Ready, Token};
use super::reset::{Reason, ResetPath};
use super::run_directory::make_socket_directory;
use super::service_log::ServiceLog;
use crate::api::apphb::message;
use crate::api::apphb::needs::Needs;
use crate::api::apphb::supervisor::{Application, CLIENTS_MAX, Event, Peer, Slot, Supervisor};
use crate::api::ipc::{self, Connection, Refusals, Rooms, Taken};
use crate::config::ResetWith;
use crate::config::services::apphbd::ApphbdConfig;
use crate::core::time::{Duration, Instant};
use crate::hardware::watchdog::{Device, Watchdog as _};
use crate::sys::process::ignore_interrupt;
use crate::sys::{memory, scheduler};

/// The name of the service and of its process.
pub const NAME: &str = "apphbd";
/// What the process that writes its log is called.
const LOGGER_NAME: &std::ffi::CStr = c"apphbd:logger";
/// Heartbeat's own user, who may have the board reset.
const HEARTBEAT_USER: &str = "hacluster";

/// Longest body that is received; the longest one that means anything has 788 bytes.
const BODY_MAX: usize = 1024;
/// Bytes and frames of replies that wait for a client. One that sends and does not read is dropped.
const OUTPUT: usize = 1024;
const REPLIES_MAX: usize = 64;
/// Frames of one client, and new clients, in one turn.
const FRAMES: usize = 32;
/// Turns without a rest before somebody is judged although more arrives all the time.
const ROUNDS_MAX: u32 = 64;
/// How long nobody is let in when the system has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

const LISTENER: Token = Token(0);
const SIGNALS: Token = Token(1);
const LOGGER: Token = Token(2);
const CLIENTS: u32 = 16;

/// The running service.
pub struct Apphbd {
    config: ApphbdConfig,
    places: Places,
    reactor: Reactor,
    listener: UnixListener,
    /// When the listener is looked at again.
    deaf_until: Option<Instant>,
    signals: SignalFd,
    supervisor: Supervisor,
    connections: Vec<Option<Connection>>,
    rooms: Vec<Rooms>,
    refusals: Refusals,
    /// Clients with frames that epoll does not tell about.
    is_more: bool,
    watchdog: Option<Device>,
    next_kick: Instant,
    needs: Needs,
    /// That nothing is kicked has been said.
    is_withheld: bool,
    reset: ResetPath,
    /// The end of the kicks is what resets the board.
    is_resetting: bool,
    reset_user: Option<u32>,
    log: ServiceLog,
}

impl Apphbd {
    /// Opens everything and takes over the pid file. From here on clients can connect.
    ///
    /// # Errors
    /// One sentence.
    pub fn open(config: ApphbdConfig, places: Places) -> Result<Self, String> {
        let _ = prctl::set_name(c"apphbd");
        ignore_interrupt();
        let reset = ResetPath::prepare(&config.reset_with, Vec::new())
            .map_err(|error| format!("Cannot make ready to reset the board: {error}"))?;
        let log = ServiceLog::start(destinations(&config), LOGGER_NAME, config.debug.min(2))
            .map_err(|error| format!("Cannot start the process that writes the log: {error}"))?;
        let watchdog = config.watchdog.as_deref().map(open_watchdog).transpose()?;
        let started = Self::start(&config, &places, &log);
        let (reactor, listener, signals) = started.map_err(|error| format!("Cannot start: {error}"))?;
        pid_file::write(&places.pid_file)
            .map_err(|error| format!("Cannot write {}: {error}", places.pid_file.display()))?;
        if config.is_realtime {
            enter_realtime();
        } else {
            log::info!("Request to set pid {} to realtime ignored.", std::process::id());
        }
        log::info!("Starting {NAME}");
        Ok(Self {
            reactor,
            listener,
            deaf_until: None,
            signals,
            supervisor: Supervisor::new(),
            connections: (0..CLIENTS_MAX).map(|_| None).collect(),
            rooms: (0..CLIENTS_MAX).map(|_| Rooms::new(BODY_MAX, OUTPUT)).collect(),
            refusals: Refusals::default(),
            is_more: false,
            watchdog,
            next_kick: Instant::ZERO,
            needs: Needs::new(config.watchdog_needs.clone()),
            is_withheld: false,
            reset,
            is_resetting: false,
            reset_user: User::from_name(HEARTBEAT_USER).ok().flatten().map(|user| user.uid.as_raw()),
            log,
            config,
            places,
        })
    }

    fn start(
        config: &ApphbdConfig,
        places: &Places,
        log: &ServiceLog,
    ) -> io::Result<(Reactor, UnixListener, SignalFd)> {
        if config.reset_with == ResetWith::Watchdog {
            log::info!("The board is reset by the end of the watchdog's kicks.");
        }
        let signals = block_signals()?;
        let reactor = Reactor::new()?;
        let listener = listen(&places.socket)?;
        reactor.add(&listener, LISTENER)?;
        reactor.add(signals.as_fd(), SIGNALS)?;
        reactor.add(log.ended(), LOGGER)?;
        Ok((reactor, listener, signals))
    }

    /// Serves until SIGTERM; gives the exit code.
    pub fn serve(mut self) -> u8 {
        let code = match self.turns() {
            Ok(()) => 0,
            Err(error) => {
                log::error!("{NAME} ends: {error}");
                1
            }
        };
        if let Some(watchdog) = self.watchdog.as_ref().filter(|_| !self.is_resetting) {
            let _ = watchdog.disarm();
        }
        let _ = fs::remove_file(&self.places.socket);
        pid_file::remove(&self.places.pid_file);
        self.reset.disarm();
        log::info!("[{NAME}] stopped");
        self.log.end();
        code
    }

    fn turns(&mut self) -> io::Result<()> {
        let mut rounds = 0;
        loop {
            // A wait that a signal has ended tells nothing of what has arrived: after each one it is looked again.
            let is_look = self.is_more || rounds > 0;
            if is_look {
                self.reactor.look()?;
            } else {
                self.reactor.wait(self.deadline())?;
            }
            if std::mem::take(&mut self.is_more) {
                self.hear_left();
            }
            let mut is_quiet = true;
            for ready in self.reactor.ready() {
                is_quiet = false;
                if self.react(ready)? {
                    return Ok(());
                }
            }
            self.kick();
            // Only who has nothing more to say can have missed something.
            rounds += 1;
            if (is_look && is_quiet && !self.is_more) || rounds > ROUNDS_MAX {
                rounds = 0;
                self.judge();
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let kick = self.watchdog.as_ref().map(|_| self.next_kick);
        [self.supervisor.deadline(), kick, self.deaf_until].into_iter().flatten().min()
    }

    /// Something is ready. Returns whether the service is to end.
    fn react(&mut self, ready: Ready) -> io::Result<bool> {
        match ready.token {
            LISTENER => self.accept(),
            SIGNALS => {
                while let Some(signal) = self.signals.read_signal()? {
                    if signal.ssi_signo == Signal::SIGTERM as u32 {
                        return Ok(true);
                    }
                }
            }
            LOGGER => {
                let _ = self.reactor.remove(self.log.ended());
                self.log.revive()?;
                self.reactor.add(self.log.ended(), LOGGER)?;
            }
            Token(token) => {
                if let Some(index) = token.checked_sub(CLIENTS).and_then(|index| usize::try_from(index).ok()) {
                    self.hear(index, ready.is_writable);
                }
            }
        }
        Ok(false)
    }

    fn accept(&mut self) {
        for _ in 0..FRAMES {
            match ipc::accept(&self.listener) {
                Ok(Some((socket, peer))) => self.admit(socket, peer),
                Ok(None) => return,
                Err(error) => {
                    log::warn!("Nobody can be let in for a second: {error}");
                    let _ = self.reactor.remove(&self.listener);
                    self.deaf_until = Some(now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
        self.is_more = true;
    }

    /// Takes a client in, or closes its connection when the table is full.
    fn admit(&mut self, socket: std::os::fd::OwnedFd, peer: ipc::Peer) {
        if ipc::has_its_share(self.connections.iter().flatten(), self.connections.len(), peer.uid) {
            return self.refuse(peer);
        }
        let may_reset = peer.uid == 0 || self.reset_user == Some(peer.uid);
        let who = Peer { pid: peer.pid, uid: peer.uid, gid: peer.gid, may_reset };
        let Some(slot) = self.supervisor.connect(now(), who) else {
            return self.refuse(peer);
        };
        let rooms = self.rooms.pop().unwrap_or_else(|| Rooms::new(BODY_MAX, OUTPUT));
        let connection = Connection::new(socket, peer, rooms, REPLIES_MAX);
        let is_watched = self.reactor.add(&connection, token_of(slot.0)).is_ok();
        self.connections[slot.0] = Some(connection);
        log::debug!("apphb_client_new: client: {:#x} pid={}", slot.0, peer.pid);
        if !is_watched {
            self.drop_client(slot.0);
        }
    }

    fn refuse(&mut self, peer: ipc::Peer) {
        let ipc::Peer { pid, uid, .. } = peer;
        log::debug!("apphb_client_new: pid={pid} refused");
        if let Some(count) = self.refusals.note(now()) {
            log::warn!(
                "connections refused so far: {count}, the last one to process {pid} of user {uid}: \
                 there is room for {CLIENTS_MAX} clients, half of them of one user"
            );
        }
    }

    /// Goes on with the frames that the turn before has left in the rooms: epoll knows nothing of them.
    fn hear_left(&mut self) {
        for index in 0..self.connections.len() {
            if self.connections[index].as_ref().is_some_and(Connection::has_frame) {
                self.hear(index, false);
            }
        }
    }

    /// Reads what a client says, up to a number of frames.
    fn hear(&mut self, index: usize, is_writable: bool) {
        let mut is_over = false;
        if is_writable && let Some(connection) = &mut self.connections[index] {
            is_over = connection.flush().is_err();
        }
        let mut left = FRAMES;
        while !is_over {
            let Some(connection) = &mut self.connections[index] else { return };
            if left == 0 {
                self.is_more |= connection.has_frame();
                break;
            }
            left -= 1;
            let body = match connection.take() {
                Taken::Frame(body) => body,
                Taken::Nothing => break,
                Taken::End(cut) => {
                    if cut != ipc::Cut::Closed {
                        log::debug!("The connection of client {index:#x} ends: {cut}");
                    }
                    is_over = true;
                    break;
                }
            };
            let name = message::name(body);
            if self.config.debug > 1 {
                log::debug!("apphb_process_msg: client: {index:#x} type={name}");
            }
            let mut is_fatal = false;
            let needs = &mut self.needs;
            let mut tell = |who: &Application, event| is_fatal |= told(needs, who, event);
            let outcome = self.supervisor.handle(now(), Slot(index), body, &mut tell);
            if let Some(reply) = outcome.reply {
                log::debug!("apphb_process_msg: client: {index:#x} type={name}, rc={}", reply.number());
                is_over = outcome.is_over;
                // Who does not read its replies is dropped; one that says goodbye is not told twice.
                is_over |= connection.send(&reply.bytes()).is_err();
            }
            if is_over && outcome.is_over {
                self.close(index, true);
                return;
            }
            if is_fatal {
                self.reset_board();
            }
        }
        if is_over {
            self.drop_client(index);
        } else if let Some(connection) = &self.connections[index] {
            let _ = self.reactor.watch_writable(connection, token_of(index), connection.is_output_waiting());
        }
    }

    /// The connection has ended without a word.
    fn drop_client(&mut self, index: usize) {
        let (mut is_fatal, mut was_registered) = (false, false);
        self.supervisor.hang_up(Slot(index), &mut |who, event| {
            was_registered = true;
            is_fatal |= told(&mut self.needs, who, event);
        });
        self.close(index, was_registered);
        if is_fatal {
            self.reset_board();
        }
    }

    /// Closes a connection that the supervisor has forgotten. Told once, and only of who had registered.
    fn close(&mut self, index: usize, was_registered: bool) {
        let Some(connection) = self.connections[index].take() else { return };
        let _ = self.reactor.remove(&connection);
        if was_registered {
            log::info!("apphb_client_remove: client: {}", connection.peer().pid);
        }
        self.rooms.push(connection.close());
    }

    /// Everything that has arrived is read: who has failed?
    fn judge(&mut self) {
        let now = now();
        if self.deaf_until.is_some_and(|at| at <= now) {
            self.deaf_until = None;
            if self.reactor.add(&self.listener, LISTENER).is_err() {
                self.deaf_until = Some(now + ACCEPT_PAUSE);
            }
        }
        let mut is_fatal = false;
        let strangers = self.supervisor.expire(now, &mut |who, event| is_fatal |= told(&mut self.needs, who, event));
        for slot in strangers {
            self.close(slot.0, false);
        }
        if is_fatal {
            self.reset_board();
        }
    }

    /// The end of a turn.
    fn kick(&mut self) {
        let now = now();
        if self.is_resetting || now < self.next_kick {
            return;
        }
        if let Some(watchdog) = &self.watchdog {
            self.next_kick = now + self.config.watchdog_interval;
            let missing = self.needs.missing();
            if self.is_withheld != missing.is_some() {
                self.is_withheld = missing.is_some();
                match missing {
                    Some((name, instance)) => log::error!(
                        target: "EMERG",
                        "No more kicks for the watchdog: '{name}' / '{instance}' is missing. It resets this board."
                    ),
                    None => log::info!("The watchdog is kicked again."),
                }
            }
            if self.is_withheld {
                return;
            }
            if let Err(error) = watchdog.kick() {
                log::error!(target: "CRIT", "Watchdog write failure: {error}");
            }
        }
    }

    /// An application that asked for it has failed.
    fn reset_board(&mut self) {
        self.next_kick = Instant::ZERO;
        self.kick();
        self.is_resetting |= self.config.reset_with == ResetWith::Watchdog;
        if let Err(error) = self.reset.reset(Reason::ApplicationFailed, Duration::ZERO) {
            log::error!(target: "EMERG", "The board cannot be reset: {error}");
        }
        // Only after a hook there is anything after it.
        if let Err(error) = self.reset.rearm() {
            log::error!("The hook for the next reset cannot be made ready: {error}");
        }
    }
}

/// Logs an event. Returns whether the board is to be reset for it.
fn told(needs: &mut Needs, who: &Application, event: Event) -> bool {
    needs.note(who, event);
    let Application { name, instance, pid, .. } = who;
    let client = format_args!("apphb client '{name}' / '{instance}' (pid {pid})").to_string();
    let failure = match event {
        Event::Failed => "failed to heartbeat",
        Event::HungUp => "hangup",
        Event::Late(ms) => {
            log::info!("{client} late heartbeat: {ms} ms");
            return false;
        }
        Event::Resumed => {
            log::info!("{client} resumed heartbeats");
            return false;
        }
        Event::Registered => {
            let (uid, gid) = who.ids;
            log::debug!("apphb_client_register: client: [{name}]/[{instance}] pid {pid} (uid,gid) = ({uid},{gid})");
            return false;
        }
        Event::Unregistered => return false,
    };
    if who.is_critical {
        log::error!(target: "EMERG", "Critical {client} {failure}");
    } else {
        log::warn!("{client} {failure}");
    }
    who.is_critical
}

fn now() -> Instant {
    clock::stamp().now
}

fn token_of(index: usize) -> Token {
    Token(u32::try_from(index).unwrap_or(u32::MAX - CLIENTS) + CLIENTS)
}

/// Where its lines go: files only with a debug level, as in the original; syslog where there is one, or where there is
/// nothing else.
fn destinations(config: &ApphbdConfig) -> Destinations {
    let is_written = config.debug > 0;
    let mut to = Destinations::of_service(NAME, true);
    to.logfile = config.logfile.clone().filter(|_| is_written);
    to.debugfile = config.debugfile.clone().filter(|_| is_written);
    let has_file = to.logfile.is_some() || to.debugfile.is_some();
    to.facility = (to.syslog_socket.exists() || !has_file).then(|| "user".to_owned());
    to
}

fn open_watchdog(path: &Path) -> Result<Device, String> {
    Device::open(path).map_err(|error| format!("Cannot open watchdog_device [{}]: {error}", path.display()))
}

/// The socket, in a directory that is made when a start script has not done it.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        make_socket_directory(directory)?;
    }
    ipc::listen(path, 0o777)
}

/// SIGTERM and SIGHUP come as events, broken pipes not at all.
pub(super) fn block_signals() -> io::Result<SignalFd> {
    let mut caught = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE] {
        caught.add(signal);
    }
    caught.thread_block()?;
    Ok(SignalFd::with_flags(&caught, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// One real-time step: below the engine, which must not wait for applications.
fn enter_realtime() {
    if let Err(error) = memory::lock() {
        log::warn!("Memory is not locked: {error}");
    }
    let entered = scheduler::priority_range().and_then(|range| scheduler::set_real_time(*range.start()));
    if let Err(error) = entered {
        log::warn!("No real-time class: {error}");
    }
}
