//! The connections: taken, served in turn, dropped.

mod words;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use self::words::signon_reply;
use super::authority::Authority;
use super::session::{End, Session, Stage};
use super::{Facts, Hearing, Sent};
use crate::api::ipc::{
    BODY_MAX as FRAME_MAX, Connection, Cut, HEADER_LEN, Peer, QUEUE_MAX, Refusals, Rooms, Taken, accept, has_its_share,
    header, process_of,
};
use crate::core::ids::NodeId;
use crate::core::limits::{CLIENTS_MAX, RELAYED_LEN_MAX};
use crate::core::message::{ClientName, Holds};
use crate::core::time::{Duration, Instant};
use crate::sys::memory;
use crate::wire::heartbeat::{ClientMessage, PACKET_MAX};

/// What the daemon adds to a client's message, at the most.
const ADDED_MAX: usize = 128;
/// The longest body taken from a client: more than anything that is passed on. A longer one ends the connection.
const BODY_MAX: usize = 64 * 1024;
/// Bytes that wait for a client beside what the system keeps for it: one of the longest messages, and shorter ones.
const OUTPUT_MAX: usize = 96 * 1024;
/// A packet in either form for clients.
const FRAME_ROOM: usize = PACKET_MAX + 64;
const _: () = assert!(FRAME_ROOM >= BODY_MAX && OUTPUT_MAX > FRAME_ROOM + HEADER_LEN);
/// Connections taken in one turn and in one second. What comes then waits in the system's queue.
const ACCEPTS_PER_TURN: usize = 4;
const ACCEPTS_PER_SECOND: u32 = 200;
/// Frames taken in one turn, over all clients, and of one client before the next one's turn.
const FRAMES_PER_TURN: u32 = 16;
const FRAMES_PER_CLIENT: u32 = 4;
/// How often it is looked whether the clients' processes are there.
const AUDIT: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
/// The listener's number among the events; clients have their slot's.
const LISTENER: u64 = u64::MAX;
/// The longest reply to a sign-on, and the like.
const REPLY_MAX: usize = 8192;

/// What happened at the socket, for `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCounters {
    /// Connections taken.
    pub accepted: u64,
    /// Sign-ons that were granted.
    pub signed_on: u64,
    /// Sign-ons that were refused.
    pub refused: u64,
    /// Refused: too many at a time.
    pub crowded: u64,
    /// Dropped: a frame or message that is none.
    pub garbage: u64,
    /// Dropped: the client did not read.
    pub unread: u64,
    /// Messages passed on to the cluster.
    pub relayed: u64,
    /// Messages not passed on: longer than a message to the cluster may be. Their clients are dropped.
    pub too_long: u64,
    /// Messages not passed on: what a client may not say, or what not every node can take. Their clients are dropped.
    pub unfit: u64,
    /// Messages to a node that nobody knows, and so to nobody. Their clients are not told, as in the original.
    pub unknown_node: u64,
    /// The most frames that have ever waited for one client to read.
    pub queue_max: usize,
}

/// A client that is signed on, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedOn<'a> {
    /// Its name, or its number.
    pub name: &'a str,
    /// The process at the other end; 0 when it cannot be seen from here.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Frames that wait for it to read.
    pub queue: usize,
    /// The most that have.
    pub queue_max: usize,
}

/// What the caller shall do because of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Somebody has signed on under a name: tell the core, relay [`Server::lines`], then call [`Server::welcome`].
    Join {
        /// Where.
        slot: usize,
        /// Under which name.
        name: ClientName,
    },
    /// Somebody with a name is gone, or was refused: tell the core that the slot is free, relay [`Server::lines`].
    Leave {
        /// Where; `None`: it had not been granted.
        slot: Option<usize>,
    },
    /// Relay [`Server::lines`]; call [`Server::refuse`] when that cannot be done.
    Relay {
        /// Whose words they are; `None`: the daemon's own, because of a client.
        slot: Option<usize>,
        /// To this node; `None`: to all.
        to: Option<NodeId>,
    },
    /// The same, and the core answers for this node.
    Ask {
        /// Which client it is about.
        client: ClientName,
        /// Who asks.
        asker: ClientName,
    },
    /// A client asks its own daemon to give these up.
    Standby(Holds),
}

#[derive(Debug)]
struct Slot {
    session: Option<Session>,
    /// Of no connection at present.
    rooms: Option<Rooms>,
}

/// The server. Nest [`as_fd`](AsFd::as_fd) in an epoll and call [`Server::turn`] when it is readable or
/// [`Server::next_deadline`] has come, then drain [`Server::poll`].
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    epoll: Epoll,
    authority: Authority,
    /// The name of a client that is built in.
    reserved: Option<&'static str>,
    slots: [Slot; CLIENTS_MAX],
    /// Which has something to read, as far as is known.
    is_readable: [bool; CLIENTS_MAX],
    /// Whose turn it is, and how much it may still say in it.
    next_slot: usize,
    allowance: u32,
    /// Who comes first in the next turn: the one behind the last that was served.
    first_slot: usize,
    frames_left: u32,
    serial: u32,
    generation: u32,
    second: (Instant, u32),
    is_listener_paused: bool,
    audit_at: Instant,
    /// When the turn began.
    now: Instant,
    /// Words to nodes that nobody knows.
    astray: Refusals,
    is_held: bool,
    /// Where a frame stands while it is served, and a message for all while it is written.
    frame: Box<[u8]>,
    out: Box<[u8]>,
    lines: Box<[u8]>,
    lines_len: usize,
    counters: ClientCounters,
}

impl Server {
    /// Serves a listening socket. All that clients will ever need is made here.
    ///
    /// # Errors
    /// What epoll or fcntl say.
    pub fn new(listener: OwnedFd, rooms: ClientRooms, authority: Authority) -> io::Result<Self> {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Self {
            listener,
            epoll,
            authority,
            reserved: None,
            slots: rooms.slots,
            is_readable: [false; CLIENTS_MAX],
            next_slot: 0,
            allowance: FRAMES_PER_CLIENT,
            first_slot: 0,
            frames_left: 0,
            serial: 0,
            generation: 0,
            second: (Instant::ZERO, 0),
            is_listener_paused: false,
            audit_at: Instant::ZERO,
            now: Instant::ZERO,
            astray: Refusals::default(),
            is_held: false,
            frame: rooms.frame,
            out: rooms.out,
            lines: rooms.lines,
            lines_len: 0,
            counters: ClientCounters::default(),
        })
    }

    /// Nobody else signs on under this name.
    pub const fn reserve(&mut self, name: &'static str) {
        self.reserved = Some(name);
    }

    /// What happened so far.
    pub fn counters(&self) -> ClientCounters {
        let waited = self.sessions().map(|session| session.queue_max).max().unwrap_or(0);
        ClientCounters { queue_max: self.counters.queue_max.max(waited), ..self.counters }
    }

    /// Connections at present.
    pub fn connected(&self) -> usize {
        self.sessions().count()
    }

    /// Who is signed on.
    pub fn clients(&self) -> impl Iterator<Item = SignedOn<'_>> {
        self.sessions().filter(|session| session.is_listening()).map(|session| SignedOn {
            name: session.id.as_str(),
            pid: session.connection.peer().pid,
            uid: session.connection.peer().uid,
            queue: session.connection.frames(),
            queue_max: session.queue_max,
        })
    }

    fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(|slot| slot.session.as_ref())
    }

    /// When [`Server::turn`] is due although nothing is readable.
    pub fn next_deadline(&self) -> Option<Instant> {
        let has_more = |session: &Session| session.is_hung_up || session.connection.has_frame();
        let is_due = |session: &Session| session.end.is_some() || (!self.is_held && has_more(session));
        if self.sessions().any(is_due) {
            return Some(Instant::ZERO);
        }
        let audit = self.sessions().next().map(|_| self.audit_at);
        audit.into_iter().chain(self.is_listener_paused.then(|| self.second.0 + SECOND)).min()
    }

    /// Takes connections and notes who has something to say. While `is_held` nobody is read from.
    pub fn turn(&mut self, now: Instant, is_held: bool) {
        self.now = now;
        self.hold(is_held);
        self.audit(now);
        if self.is_listener_paused && now >= self.second.0 + SECOND {
            self.pause_listener(false);
        }
        let mut events = [EpollEvent::empty(); CLIENTS_MAX + 1];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.accept(now);
                continue;
            }
            let Some(slot) = usize::try_from(event.data()).ok().filter(|slot| *slot < CLIENTS_MAX) else { continue };
            if event.events().contains(EpollFlags::EPOLLOUT)
                && let Some(session) = &mut self.slots[slot].session
                && session.connection.flush().is_err()
            {
                session.end.get_or_insert(End::Eof);
            }
            if event.events().intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                self.note_hang_up(slot);
            }
            self.is_readable[slot] = true;
        }
        self.frames_left = FRAMES_PER_TURN;
    }

    /// Nothing more will come of a client, and epoll would say so for ever, whatever is asked of it: also while nobody is
    /// read from. What it said before waits in the system.
    fn note_hang_up(&mut self, slot: usize) {
        let Some(session) = &mut self.slots[slot].session else { return };
        session.is_hung_up = true;
        let _ = self.epoll.delete(&session.connection);
    }

    /// Whether nobody is read from.
    pub const fn is_held(&self) -> bool {
        self.is_held
    }

    /// The next order; drain until `None`.
    pub fn poll(&mut self, facts: &Facts<'_>) -> Option<Order> {
        for _ in 0..CLIENTS_MAX {
            let slot = self.next_slot;
            while self.allowance > 0 {
                if self.slots[slot].session.as_ref().is_some_and(|session| session.end.is_some()) {
                    if let Some(order) = self.drop_session(slot) {
                        return Some(order);
                    }
                    break;
                }
                if self.is_held || self.frames_left == 0 || !self.has_more(slot) {
                    break;
                }
                self.frames_left -= 1;
                self.allowance -= 1;
                self.first_slot = (slot + 1) % CLIENTS_MAX;
                if let Some(order) = self.serve(slot, facts) {
                    return Some(order);
                }
            }
            self.next_slot = (slot + 1) % CLIENTS_MAX;
            self.allowance = FRAMES_PER_CLIENT;
        }
        self.next_slot = self.first_slot;
        self.watch_output();
        None
    }

    /// The fields that an order is about.
    pub fn lines(&self) -> &[u8] {
        &self.lines[..self.lines_len]
    }

    /// After [`Order::Join`]: the client has heard of itself, and gets its reply.
    pub fn welcome(&mut self, slot: usize, facts: &Facts<'_>) {
        let Some(session) = self.slots.get_mut(slot).and_then(|slot| slot.session.as_mut()) else { return };
        if let Some(len) = signon_reply(&mut self.out, facts, None) {
            session.say(&self.out[..len]);
        }
    }

    /// Hands a message in the clients' form to those that want it: only to the client `to`, if that is given. `sent`: it came
    /// from the cluster, and whoever signed on after it hears nothing of it.
    pub fn deliver(&mut self, body: &[u8], to: Option<&str>, hearing: Hearing, sent: Option<Sent>) {
        let wanted = |session: &&mut Session| {
            session.is_listening()
                && !sent.is_some_and(|sent| session.is_too_old(sent))
                && match to {
                    Some(id) => session.id.as_str() == id,
                    None => session.wants(hearing),
                }
        };
        for session in self.slots.iter_mut().filter_map(|slot| slot.session.as_mut()).filter(wanted) {
            session.say(body);
        }
    }

    /// Whether somebody wants what is heard as `hearing`.
    pub fn is_wanted(&self, hearing: Hearing) -> bool {
        self.sessions().any(|session| session.wants(hearing))
    }

    /// Where the caller writes a message for [`Server::deliver_written`].
    pub fn paper(&mut self) -> &mut [u8] {
        &mut self.frame
    }

    /// Delivers what was written on the first `len` bytes of [`Server::paper`].
    pub fn deliver_written(&mut self, len: usize, hearing: Hearing, sent: Option<Sent>) {
        let frame = std::mem::take(&mut self.frame);
        // Whoever watches what is dropped or comes twice sees all of it; nobody hears twice what is meant for him.
        let to = (hearing == Hearing::News).then(|| ClientMessage::parse(&frame[..len]).ok());
        let to = to.flatten().and_then(|message| message.get("to_id"));
        self.deliver(&frame[..len], to, hearing, sent);
        self.frame = frame;
        if len > memory::PAGE {
            memory::give_back(&mut self.frame);
        }
    }

    fn accept(&mut self, now: Instant) {
        if now >= self.second.0 + SECOND {
            self.second = (now, 0);
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if self.second.1 == ACCEPTS_PER_SECOND {
                return self.pause_listener(true);
            }
            let (socket, peer) = match accept(&self.listener) {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(error) => {
                    // Out of descriptors: looked at again when the second is over, not at once and for ever.
                    log::warn!("api: no connection can be taken: {error}");
                    return self.pause_listener(true);
                }
            };
            self.second.1 += 1;
            self.counters.accepted += 1;
            self.admit(socket, peer);
        }
    }

    fn pause_listener(&mut self, is_paused: bool) {
        let interest = if is_paused { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
        // Cannot fail for a descriptor that is in the set; if it did, the listener would only be looked at too often.
        let _ = self.epoll.modify(&self.listener, &mut EpollEvent::new(interest, LISTENER));
        self.is_listener_paused = is_paused;
    }

    pub(super) fn admit(&mut self, socket: OwnedFd, peer: Peer) {
        let has_share = self.has_its_share(peer.uid);
        if has_share || self.slots.iter().all(|slot| slot.session.is_some()) {
            // Nobody makes room for a user who has more than enough but that user.
            let newcomers = (0..CLIENTS_MAX).filter_map(|slot| {
                let session = self.slots[slot].session.as_ref()?;
                let is_in_question = !has_share || session.connection.peer().uid == peer.uid;
                (session.stage == Stage::New && is_in_question).then_some((session.serial, slot))
            });
            if let Some((_, oldest)) = newcomers.min() {
                self.free(oldest);
            }
        }
        let is_granted = !self.has_its_share(peer.uid);
        let Some(slot) = self.slots.iter().position(|slot| slot.session.is_none() && is_granted) else {
            self.counters.crowded += 1;
            return refuse_crowded(&socket);
        };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
        if self.epoll.add(&socket, event).is_err() {
            return;
        }
        if let Some(rooms) = self.slots[slot].rooms.take() {
            self.serial = self.serial.wrapping_add(1);
            let process = process_of(&socket, peer);
            let connection = Connection::new(socket, peer, rooms, QUEUE_MAX);
            self.slots[slot].session = Some(Session::new(connection, process, self.serial));
        }
    }

    fn has_its_share(&self, uid: u32) -> bool {
        has_its_share(self.sessions().map(|session| &session.connection), CLIENTS_MAX, uid)
    }

    /// Ends a session and keeps its memory.
    fn free(&mut self, slot: usize) {
        let Some(mut session) = self.slots[slot].session.take() else { return };
        // Closing forgets it as well, unless the client has been handed a copy by somebody.
        let _ = self.epoll.delete(&session.connection);
        self.counters.queue_max = self.counters.queue_max.max(session.queue_max);
        self.is_readable[slot] = false;
        let _ = session.connection.flush();
        let mut rooms = session.connection.close();
        rooms.give_back();
        self.slots[slot].rooms = Some(rooms);
    }

    fn has_more(&self, slot: usize) -> bool {
        let session = self.slots[slot].session.as_ref();
        session.is_some_and(|session| self.is_readable[slot] || session.connection.has_frame())
    }

    /// Takes one frame.
    fn serve(&mut self, slot: usize, facts: &Facts<'_>) -> Option<Order> {
        let session = self.slots[slot].session.as_mut()?;
        let len = match session.connection.take() {
            Taken::Frame(body) => {
                self.frame[..body.len()].copy_from_slice(body);
                body.len()
            }
            Taken::Nothing => {
                self.is_readable[slot] = false;
                return None;
            }
            Taken::End(cut) => {
                let is_sound = |len: i32| usize::try_from(len).is_ok_and(|len| len <= FRAME_MAX);
                if let Cut::Length(len) = cut
                    && is_sound(len)
                    && session.stage == Stage::Named
                {
                    self.counters.too_long += 1;
                    session.end = Some(End::TooLong);
                    return None;
                }
                if matches!(cut, Cut::Magic(_) | Cut::Length(_)) {
                    self.counters.garbage += 1;
                    log::warn!("api: a connection of process {} is dropped: {cut}", session.connection.peer().pid);
                }
                session.end = Some(End::Eof);
                return None;
            }
        };
        let frame = std::mem::take(&mut self.frame);
        let order = match ClientMessage::parse(&frame[..len]) {
            Ok(message) => {
                if message.kind() == "hbapi-req" && self.is_wanted(Hearing::Request) {
                    self.show_request(slot, &frame[..len]);
                }
                self.take_message(slot, &message, facts)
            }
            Err(_) if len == 0 => None,
            Err(reject) => {
                self.counters.garbage += 1;
                log::debug!("api: no message: {reject}");
                None
            }
        };
        self.frame = frame;
        order
    }

    /// Stops or goes on reading, all clients at once.
    fn hold(&mut self, is_held: bool) {
        if std::mem::replace(&mut self.is_held, is_held) == is_held {
            return;
        }
        log::info!("all clients are now {}", if is_held { "paused" } else { "resumed" });
        for slot in 0..CLIENTS_MAX {
            self.watch(slot);
        }
    }

    /// Looks after connections that wait to be written to.
    fn watch_output(&mut self) {
        for slot in 0..CLIENTS_MAX {
            let Some(session) = self.slots[slot].session.as_mut() else { continue };
            let is_wanted = session.connection.is_output_waiting();
            if is_wanted != session.is_output_watched {
                session.is_output_watched = is_wanted;
                self.watch(slot);
            }
        }
    }

    fn watch(&self, slot: usize) {
        let Some(session) = self.slots[slot].session.as_ref() else { return };
        let mut interest = EpollFlags::empty();
        interest.set(EpollFlags::EPOLLIN, !self.is_held);
        interest.set(EpollFlags::EPOLLOUT, session.is_output_watched);
        let _ = self.epoll.modify(&session.connection, &mut EpollEvent::new(interest, slot as u64));
    }

    fn audit(&mut self, now: Instant) {
        if now < self.audit_at {
            return;
        }
        self.audit_at = now + AUDIT;
        for session in self.slots.iter_mut().filter_map(|slot| slot.session.as_mut()) {
            if session.end.is_none() && !session.is_alive() {
                session.end = Some(End::DiedAudit);
            }
        }
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// The memory of a [`Server`], to be made before memory is locked.
#[derive(Debug)]
pub struct ClientRooms {
    slots: [Slot; CLIENTS_MAX],
    frame: Box<[u8]>,
    out: Box<[u8]>,
    lines: Box<[u8]>,
}

impl Default for ClientRooms {
    fn default() -> Self {
        let slot = |_| Slot { session: None, rooms: Some(Rooms::new(BODY_MAX, OUTPUT_MAX)) };
        Self {
            slots: std::array::from_fn(slot),
            frame: vec![0; FRAME_ROOM].into(),
            out: vec![0; REPLY_MAX].into(),
            lines: vec![0; RELAYED_LEN_MAX].into(),
        }
    }
}

impl ClientRooms {
    /// Gives back what is not used yet; it comes again when it is.
    pub fn give_back(&mut self) {
        for rooms in self.slots.iter_mut().filter_map(|slot| slot.rooms.as_mut()) {
            rooms.give_back();
        }
        for room in [&mut self.frame, &mut self.out, &mut self.lines] {
            memory::give_back(room);
        }
    }
}

/// There is no place: said before it asks, which its library takes for the answer.
fn refuse_crowded(socket: &OwnedFd) {
    const REFUSAL: &[u8] = b">>>\nt=hbapi-resp\nreqtype=signon\ninfo=too many clients\nresult=badreq\ndeadtime=0\n\
        keepalive=0\nnode=\nhbversion=\npacemaker=false\nlogfacility=-1\n<<<\n\0";
    let mut frame = [0; 256];
    let len = HEADER_LEN + REFUSAL.len();
    frame[..HEADER_LEN].copy_from_slice(&header(REFUSAL.len()));
    frame[HEADER_LEN..len].copy_from_slice(REFUSAL);
    let _ = nix::unistd::write(socket, &frame[..len]);
}
