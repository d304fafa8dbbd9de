//! The process that has the clients.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, setsockopt, socketpair};

use super::super::apphbd::{block_signals, listen};
use super::super::places::Places;
use super::writer::{self, REOPEN};
use crate::api::ipc::{self, BODY_MAX, Connection, Refusals, Rooms, Taken};
use crate::api::logd::backlog::{Backlog, CLIENTS_MAX, Slot};
use crate::api::logd::message::Message;
use crate::config::services::logd::LogdConfig;
use crate::core::time::{Duration, Instant};
use crate::daemon::clock;
use crate::daemon::log_pipe::Level;
use crate::daemon::logger::Destinations;
use crate::daemon::pid_file;
use crate::daemon::reactor::{Reactor, Ready, Token};
use crate::sys::process::{Child, ignore_interrupt};

/// Frames of one client, and new clients, in one turn.
const FRAMES: usize = 32;
/// How long nobody is let in, and no writer started, after it has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// What the last lines may take at the end: a slow disk, not a dead one.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

const LISTENER: Token = Token(0);
const SIGNALS: Token = Token(1);
const WRITER: Token = Token(2);
const WRITER_ENDED: Token = Token(3);
const CLIENTS: u32 = 16;

/// The running service.
pub struct Logd {
    config: LogdConfig,
    places: Places,
    reactor: Reactor,
    listener: UnixListener,
    /// When the listener is looked at again.
    deaf_until: Option<Instant>,
    signals: SignalFd,
    backlog: Backlog,
    /// Where its own lines wait: a client that is always there.
    own: Slot,
    /// By the client's place in the backlog.
    connections: Vec<Option<Connection>>,
    rooms: Vec<Rooms>,
    refusals: Refusals,
    /// Clients with frames that epoll does not tell about.
    is_more: bool,
    to_writer: OwnedFd,
    /// Kept, so that lines wait in the socket while there is no writer.
    writers_end: OwnedFd,
    writer: Option<Child>,
    /// When the next writer is started.
    revive_at: Option<Instant>,
    /// The files are to be opened anew, and the writer does not know it yet.
    is_reopening: bool,
    /// It is waited for that the writer has room.
    is_waiting: bool,
    /// SIGTERM has come: everything is to be written by then.
    end_by: Option<Instant>,
}

impl Logd {
    /// Opens everything, forks the writer and takes over the pid file. From here on clients can connect.
    ///
    /// # Errors
    /// One sentence.
    pub fn open(config: LogdConfig, places: Places) -> Result<Self, String> {
        let _ = prctl::set_name(c"ha_logd");
        ignore_interrupt();
        let this = Self::start(config, places).map_err(|error| format!("Cannot start: {error}"))?;
        pid_file::write(&this.places.pid_file)
            .map_err(|error| format!("Cannot write {}: {error}", this.places.pid_file.display()))?;
        Ok(this)
    }

    fn start(config: LogdConfig, places: Places) -> io::Result<Self> {
        let (to_writer, writers_end) = pair(config.send_queue)?;
        let signals = block_signals()?;
        let reactor = Reactor::new()?;
        let writer = writer::fork(&destinations(&config), &writers_end)?;
        let listener = listen(&places.socket)?;
        reactor.add(&listener, LISTENER)?;
        reactor.add(signals.as_fd(), SIGNALS)?;
        reactor.add(&to_writer, WRITER)?;
        reactor.add(&writer.pidfd, WRITER_ENDED)?;
        let pid = std::process::id().cast_signed();
        let mut backlog = Backlog::new(config.receive_queue, config.entity.as_bytes(), pid);
        let own = backlog.connect().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            config,
            places,
            reactor,
            listener,
            deaf_until: None,
            signals,
            backlog,
            own,
            connections: (0..CLIENTS_MAX).map(|_| None).collect(),
            rooms: Vec::new(),
            refusals: Refusals::default(),
            is_more: false,
            to_writer,
            writers_end,
            writer: Some(writer),
            revive_at: None,
            is_reopening: false,
            is_waiting: false,
            end_by: None,
        })
    }

    /// A line of its own.
    pub fn say(&mut self, level: Level, text: &str) {
        self.backlog.say(self.own, wall_seconds(), level as u8, text);
    }

    /// Serves until SIGTERM; gives the exit code.
    pub fn serve(mut self) -> u8 {
        let result = self.turns();
        let _ = fs::remove_file(&self.places.socket);
        // The end of the pair: the writer writes what is in it and ends.
        let (writer, to_writer) = (self.writer.take(), self.to_writer);
        drop(to_writer);
        if let Some(writer) = writer {
            await_end(&writer);
        }
        pid_file::remove(&self.places.pid_file);
        u8::from(result.is_err())
    }

    fn turns(&mut self) -> io::Result<()> {
        // Everything that had arrived is taken.
        let mut is_drained = false;
        loop {
            self.pump()?;
            if self.end_by.is_some_and(|end| is_drained && self.backlog.is_empty() || now() >= end) {
                return Ok(());
            }
            let is_look = self.is_more || self.end_by.is_some() && !is_drained;
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
                self.react(ready)?;
            }
            is_drained = is_look && is_quiet && !self.is_more;
            self.do_what_is_due();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.deaf_until, self.revive_at, self.end_by].into_iter().flatten().min()
    }

    fn react(&mut self, ready: Ready) -> io::Result<()> {
        match ready.token {
            LISTENER => self.accept(),
            SIGNALS => {
                while let Some(signal) = self.signals.read_signal()? {
                    if signal.ssi_signo == Signal::SIGTERM as u32 {
                        self.begin_end();
                    } else if signal.ssi_signo == Signal::SIGHUP as u32 {
                        self.is_reopening = true;
                    }
                }
            }
            // The next turn begins with it.
            WRITER => {}
            WRITER_ENDED => self.writer_ended(),
            Token(token) => {
                if let Some(index) = token.checked_sub(CLIENTS).and_then(|index| usize::try_from(index).ok()) {
                    self.hear(index);
                }
            }
        }
        Ok(())
    }

    fn do_what_is_due(&mut self) {
        let now = now();
        if self.deaf_until.is_some_and(|at| at <= now) {
            self.deaf_until = self.reactor.add(&self.listener, LISTENER).err().map(|_| now + PAUSE);
        }
        if self.revive_at.is_some_and(|at| at <= now) {
            let forked = writer::fork(&destinations(&self.config), &self.writers_end);
            let watched = forked.and_then(|writer| {
                self.reactor.add(&writer.pidfd, WRITER_ENDED)?;
                self.writer = Some(writer);
                Ok(())
            });
            self.revive_at = watched.err().map(|_| now + PAUSE);
        }
    }

    fn writer_ended(&mut self) {
        let is_over = self.writer.as_ref().is_some_and(|writer| !matches!(writer.try_wait(), Ok(None)));
        if is_over && let Some(writer) = self.writer.take() {
            let _ = self.reactor.remove(&writer.pidfd);
            self.say(Level::Error, "The write process has ended; another one goes on.");
            self.revive_at = Some(now() + PAUSE);
        }
    }

    /// SIGTERM: what has arrived is still taken, nobody who comes later is.
    fn begin_end(&mut self) {
        if self.end_by.is_some() {
            return;
        }
        self.accept();
        let _ = self.reactor.remove(&self.listener);
        self.deaf_until = None;
        self.say(Level::Info, "logd_term_action: received SIGTERM");
        self.end_by = Some(now() + DRAIN_LIMIT);
    }

    fn accept(&mut self) {
        for _ in 0..FRAMES {
            match ipc::accept(&self.listener) {
                Ok(Some((socket, peer))) => {
                    let has_its_share =
                        ipc::has_its_share(self.connections.iter().flatten(), self.connections.len(), peer.uid);
                    let slot = if has_its_share { None } else { self.backlog.connect() };
                    let Some(Slot(index)) = slot else {
                        self.refuse(peer);
                        continue;
                    };
                    let rooms = self.rooms.pop().unwrap_or_else(|| Rooms::new(BODY_MAX, 0));
                    let connection = Connection::new(socket, peer, rooms, 0);
                    let is_watched = self.reactor.add(&connection, token_of(index)).is_ok();
                    self.connections[index] = Some(connection);
                    if !is_watched {
                        self.close(index);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    self.say(Level::Warn, &format!("Nobody can be let in for a second: {error}"));
                    let _ = self.reactor.remove(&self.listener);
                    self.deaf_until = Some(now() + PAUSE);
                    return;
                }
            }
        }
        self.is_more = true;
    }

    fn refuse(&mut self, peer: ipc::Peer) {
        if let Some(count) = self.refusals.note(now()) {
            let ipc::Peer { pid, uid, .. } = peer;
            let text = format!(
                "connections refused so far: {count}, the last one to process {pid} of user {uid}: \
                 there is room for {CLIENTS_MAX} clients, half of them of one user"
            );
            self.say(Level::Warn, &text);
        }
    }

    /// Goes on with the lines that the turn before has left in the rooms: epoll knows nothing of them.
    fn hear_left(&mut self) {
        for index in 0..self.connections.len() {
            if self.connections[index].as_ref().is_some_and(Connection::has_frame) {
                self.hear(index);
            }
        }
    }

    /// Takes lines of a client, up to a number of them. What is no line is ignored.
    fn hear(&mut self, index: usize) {
        for _ in 0..FRAMES {
            let Some(connection) = &mut self.connections[index] else { return };
            match connection.take() {
                Taken::Frame(body) => {
                    if let Some(message) = Message::decode(body) {
                        self.backlog.put(Slot(index), &message);
                    }
                }
                Taken::Nothing => return,
                Taken::End(_) => return self.close(index),
            }
        }
        self.is_more |= self.connections[index].as_ref().is_some_and(Connection::has_frame);
    }

    fn close(&mut self, index: usize) {
        self.backlog.disconnect(Slot(index));
        let Some(connection) = self.connections[index].take() else { return };
        let _ = self.reactor.remove(&connection);
        let mut rooms = connection.close();
        rooms.give_back();
        self.rooms.push(rooms);
    }

    /// Hands lines to the writer until it has no more room.
    fn pump(&mut self) -> io::Result<()> {
        let mut is_full = false;
        if self.is_reopening {
            is_full = !hand_over(&self.to_writer, REOPEN)?;
            self.is_reopening = is_full;
        }
        let seconds = wall_seconds();
        while !is_full && let Some(body) = self.backlog.next(seconds) {
            if hand_over(&self.to_writer, body)? {
                self.backlog.written();
            } else {
                is_full = true;
            }
        }
        if self.is_waiting != is_full {
            self.is_waiting = is_full;
            self.reactor.watch_writable(&self.to_writer, WRITER, is_full)?;
        }
        Ok(())
    }
}

/// One record for the writer; false when there is no room for it.
fn hand_over(to_writer: &OwnedFd, body: &[u8]) -> io::Result<bool> {
    match send(to_writer.as_raw_fd(), body, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The pair between the processes, with room as the original gives a queue of `length` (spec/api.md 1.4).
fn pair(length: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (here, there) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let bytes = match length {
        0 => 4096,
        1..512 => (32 + length) * 1024,
        _ => length * 1024,
    };
    // The system may allow less.
    let _ = setsockopt(&here, SndBuf, &bytes);
    Ok((here, there))
}

fn destinations(config: &LogdConfig) -> Destinations {
    let mut to = Destinations::of_service(&config.entity, config.is_syslog_format);
    to.logfile = config.logfile.clone();
    to.debugfile = config.debugfile.clone();
    to.facility = config.facility.clone();
    to.syslog_prefix = config.syslog_prefix.clone();
    to.mode = config.mode;
    to
}

fn await_end(writer: &Child) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let timeout = PollTimeout::try_from(DRAIN_LIMIT).unwrap_or(PollTimeout::MAX);
    let _ = poll(&mut [PollFd::new(writer.pidfd.as_fd(), PollFlags::POLLIN)], timeout);
    let _ = writer.try_wait();
}

fn now() -> Instant {
    clock::stamp().now
}

fn wall_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn token_of(index: usize) -> Token {
    Token(u32::try_from(index).unwrap_or(u32::MAX - CLIENTS) + CLIENTS)
}
