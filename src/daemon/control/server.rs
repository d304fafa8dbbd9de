//! The engine's end of the control socket. Hostile or slow clients cost a bounded amount of work per turn and nothing else.
//!
//! * at most [`CONNECTIONS_MAX`] connections, [`STRANGERS_MAX`] of them from users who may only read, so that these
//!   cannot lock out an operator; one more is told to try again and closed;
//! * a connection that has not sent its line after [`IDLE_LIMIT`] is closed; the limit counts from the start, so drip
//!   feeding does not help;
//! * an answer leaves in one non-blocking write and the connection is closed; what the kernel does not take at once is lost
//!   for a client that does not read;
//! * each turn answers at most one report; the others wait for the next turn;
//! * after [`CONNECTIONS_PER_SECOND`] connections the rest of the second is the engine's own: what comes then waits in
//!   the kernel's queue.
//!
//! Nothing is allocated after [`ControlServer::new`].

use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::sockopt::{PeerCredentials, SndBuf};
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, setsockopt};

use crate::core::Outcome;
use crate::core::ids::{GroupId, RequestId};
use crate::core::time::Instant;

use super::{Command, ControlRequest, Query, REQUEST_MAX, Sheet, outcome_answer};

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 8;
/// Of these, from users who may not give orders.
pub const STRANGERS_MAX: usize = 4;
/// How long a client may take over its request line.
pub const IDLE_LIMIT: Duration = Duration::from_secs(5);
/// Connections taken in a second.
pub const CONNECTIONS_PER_SECOND: u32 = 100;
/// Request numbers of this server are below; callers that have requests of their own number them from here.
pub const FOREIGN_REQUESTS: u32 = 1 << 31;

const SECOND: Duration = Duration::from_secs(1);
/// Bytes of the longest answer.
const ANSWER_MAX: usize = 64 * 1024;
/// Connections taken in one turn.
const ACCEPTS_PER_TURN: usize = 4;
/// The listener's number among the events; connections have their slot's.
const LISTENER: u64 = u64::MAX;

/// What happened at the socket, for `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ControlCounters {
    /// Connections taken.
    pub accepted: u64,
    /// Refused: too many at a time.
    pub crowded: u64,
    /// Refused: an order from somebody who may only read.
    pub denied: u64,
    /// Dropped: no request that is known, or a line too long.
    pub garbage: u64,
    /// Dropped: no whole request within the limit.
    pub idle: u64,
    /// Dropped: the client did not take its answer.
    pub unread: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// A command is with the engine.
    Waiting,
}

#[derive(Debug)]
struct Connection {
    socket: UnixStream,
    serial: u32,
    is_operator: bool,
    line: [u8; REQUEST_MAX],
    len: usize,
    since: Instant,
    stage: Stage,
}

/// The server half. Nest [`as_fd`](AsFd::as_fd) in an epoll and call [`turn`](Self::turn) when it is readable or
/// [`next_deadline`](Self::next_deadline) has come; then drain [`poll_request`](Self::poll_request).
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    epoll: Epoll,
    owner: u32,
    connections: [Option<Connection>; CONNECTIONS_MAX],
    requests: heapless::Deque<(RequestId, Command), CONNECTIONS_MAX>,
    serial: u32,
    /// Beginning of the second in which connections are counted, and how many it has seen.
    second: (Instant, u32),
    /// The listener is not looked at until the second is over.
    is_paused: bool,
    body: Sheet,
    answer: Sheet,
    counters: ControlCounters,
}

impl ControlServer {
    /// Serves a listening socket. Orders are taken from root and from the user who called listen(2).
    ///
    /// # Errors
    /// What epoll, fcntl or getsockopt say.
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        // The kernel notes who listens; later this process may be somebody else.
        let owner = getsockopt(&listener, PeerCredentials)?.uid();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Self {
            listener,
            epoll,
            owner,
            connections: [const { None }; CONNECTIONS_MAX],
            requests: heapless::Deque::new(),
            serial: 0,
            second: (Instant::ZERO, 0),
            is_paused: false,
            body: Sheet::new(ANSWER_MAX),
            answer: Sheet::new(ANSWER_MAX + 64),
            counters: ControlCounters::default(),
        })
    }

    /// What happened so far.
    pub const fn counters(&self) -> ControlCounters {
        self.counters
    }

    /// When [`turn`](Self::turn) is due although nothing is readable.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.connections
            .iter()
            .flatten()
            .filter(|connection| connection.stage == Stage::Reading)
            .map(|connection| connection.since + IDLE_LIMIT)
            .chain(self.is_paused.then(|| self.second.0 + SECOND))
            .min()
    }

    /// Takes what has arrived. `write_report` writes the answer to a query.
    pub fn turn(&mut self, now: Instant, write_report: &mut dyn FnMut(Query, &mut Sheet)) {
        self.drop_idle(now);
        if self.is_paused && now >= self.second.0 + SECOND {
            self.set_paused(false);
        }
        let mut events = [EpollEvent::empty(); CONNECTIONS_MAX + 1];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.accept(now);
                continue;
            }
            let Ok(slot) = usize::try_from(event.data()) else { continue };
            if self.serve(slot, event.events(), write_report) {
                // One report is work enough; epoll will name the others again.
                break;
            }
        }
    }

    /// The next order from an operator. Each is to be answered once, with [`reply`](Self::reply) or
    /// [`reply_outcome`](Self::reply_outcome).
    pub fn poll_request(&mut self) -> Option<(RequestId, Command)> {
        self.requests.pop_front()
    }

    /// Answers an order with an exit code and a sentence (empty: none). Unknown numbers, such as those of clients that
    /// have gone, are ignored.
    pub fn reply(&mut self, id: RequestId, code: u8, text: fmt::Arguments<'_>) {
        if let Some(slot) = self.slot_of(id) {
            self.body.clear();
            let _ = self.body.write_fmt(text);
            self.finish(slot, code);
        }
    }

    /// Answers an order with what the core says about it; `key` names a group.
    pub fn reply_outcome<'a>(&mut self, id: RequestId, outcome: Outcome, key: impl Fn(GroupId) -> &'a str) {
        if let Some(slot) = self.slot_of(id) {
            self.body.clear();
            let code = outcome_answer(outcome, key, &mut self.body);
            self.finish(slot, code);
        }
    }

    fn slot_of(&self, id: RequestId) -> Option<usize> {
        self.connections.iter().position(|connection| {
            connection
                .as_ref()
                .is_some_and(|connection| connection.stage == Stage::Waiting && connection.serial == id.0)
        })
    }

    fn drop_idle(&mut self, now: Instant) {
        for connection in &mut self.connections {
            let is_idle = |open: &Connection| open.stage == Stage::Reading && now.since(open.since) >= IDLE_LIMIT;
            if connection.as_ref().is_some_and(is_idle) {
                self.counters.idle += 1;
                *connection = None;
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        if now >= self.second.0 + SECOND {
            self.second = (now, 0);
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if self.second.1 == CONNECTIONS_PER_SECOND {
                return self.set_paused(true);
            }
            let Ok((socket, _)) = self.listener.accept() else { return };
            self.second.1 += 1;
            self.counters.accepted += 1;
            self.welcome(socket, now);
        }
    }

    fn set_paused(&mut self, is_paused: bool) {
        let interest = if is_paused { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
        // Cannot fail for a descriptor that is in the set; if it did, the listener would only be looked at too often.
        let _ = self.epoll.modify(&self.listener, &mut EpollEvent::new(interest, LISTENER));
        self.is_paused = is_paused;
    }

    fn welcome(&mut self, socket: UnixStream, now: Instant) {
        let uid = getsockopt(&socket, PeerCredentials).map_or(u32::MAX, |credentials| credentials.uid());
        let is_operator = uid == 0 || uid == self.owner;
        let strangers = self.connections.iter().flatten().filter(|open| !open.is_operator).count();
        let free = self.connections.iter().position(Option::is_none);
        let slot = free.filter(|_| is_operator || strangers < STRANGERS_MAX);
        let event = |slot| EpollEvent::new(EpollFlags::EPOLLIN, slot);
        let slot = slot.filter(|slot| self.epoll.add(&socket, event(*slot as u64)).is_ok());
        let Some(slot) = slot else {
            self.counters.crowded += 1;
            let _ = send(socket.as_raw_fd(), CROWDED, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
            return;
        };
        // Room for the whole answer, or as much as the system allows.
        let _ = setsockopt(&socket, SndBuf, &ANSWER_MAX);
        self.serial = (self.serial + 1) % FOREIGN_REQUESTS;
        self.connections[slot] = Some(Connection {
            socket,
            serial: self.serial,
            is_operator,
            line: [0; REQUEST_MAX],
            len: 0,
            since: now,
            stage: Stage::Reading,
        });
    }

    /// Looks after one connection; tells whether that took a report.
    fn serve(&mut self, slot: usize, events: EpollFlags, write_report: &mut dyn FnMut(Query, &mut Sheet)) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return false };
        if connection.stage == Stage::Waiting {
            // Interest is off: this can only be the end of the client.
            if events.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                self.connections[slot] = None;
            }
            return false;
        }
        let room = &mut connection.line[connection.len..];
        match recv(connection.socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT) {
            Ok(count @ 1..) => connection.len += count,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return false,
            Ok(0) | Err(_) => {
                self.connections[slot] = None;
                return false;
            }
        }
        let taken = &connection.line[..connection.len];
        let Some(end) = taken.iter().position(|byte| *byte == b'\n') else {
            if connection.len == REQUEST_MAX {
                self.refuse_garbage(slot);
            }
            return false;
        };
        let request = std::str::from_utf8(&taken[..end]).ok().and_then(ControlRequest::parse);
        match request {
            None => self.refuse_garbage(slot),
            Some(ControlRequest::Query(query)) => {
                self.body.clear();
                write_report(query, &mut self.body);
                self.finish(slot, 0);
                return true;
            }
            Some(ControlRequest::Command(command)) if connection.is_operator => self.enqueue(slot, command),
            Some(ControlRequest::Command(_)) => self.deny(slot),
        }
        false
    }

    fn deny(&mut self, slot: usize) {
        self.counters.denied += 1;
        self.body.clear();
        let _ = self.body.write_str("only root, or the user who started the daemon, may ask for this\n");
        self.finish(slot, 77);
    }

    fn enqueue(&mut self, slot: usize, command: Command) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        connection.stage = Stage::Waiting;
        // No interest: nothing more is read. That the client has gone is told all the same.
        let mut event = EpollEvent::new(EpollFlags::empty(), slot as u64);
        let _ = self.epoll.modify(&connection.socket, &mut event);
        let id = RequestId(connection.serial);
        if self.requests.push_back((id, command)).is_err() {
            self.reply(id, 75, format_args!("too many requests are waiting; try again\n"));
        }
    }

    fn refuse_garbage(&mut self, slot: usize) {
        self.counters.garbage += 1;
        self.body.clear();
        let _ = self.body.write_str("this request is not known here\n");
        self.finish(slot, 64);
    }

    /// Sends the body under `code` and closes.
    fn finish(&mut self, slot: usize, code: u8) {
        let Some(connection) = self.connections[slot].take() else { return };
        self.answer.clear();
        let _ = write!(self.answer, "code {code}\n{}end\n", self.body.finish());
        let bytes = self.answer.finish().as_bytes();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        if send(connection.socket.as_raw_fd(), bytes, flags) != Ok(bytes.len()) {
            self.counters.unread += 1;
        }
        self.answer.give_back();
        self.body.give_back();
    }
}

/// Answer to a connection for which there is no place.
const CROWDED: &[u8] = b"code 75\ntoo many clients at a time; try again\nend\n";

impl AsFd for ControlServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::core::message::Holds;
    use crate::core::{Refusal, Request};

    struct Place {
        path: PathBuf,
        server: ControlServer,
        now: Instant,
    }

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nullbeat-control-{}-{name}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            Self { path, server: ControlServer::new(listener.into()).unwrap(), now: Instant::from_millis(1000) }
        }

        fn connect(&self) -> UnixStream {
            let stream = UnixStream::connect(&self.path).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        }

        /// Turns until nothing is left to do.
        fn settle(&mut self) -> usize {
            let mut turns = 0;
            while self.is_readable() {
                self.server.turn(self.now, &mut |query, sheet| {
                    let _ = writeln!(sheet, "{query:?}");
                });
                turns += 1;
                assert!(turns < 1000, "the server is never satisfied");
            }
            turns
        }

        fn is_readable(&self) -> bool {
            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
            poll(&mut [PollFd::new(self.server.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
        }

        fn open(&self) -> usize {
            self.server.connections.iter().flatten().count()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// What has arrived; `None` while the connection is open and nothing is there.
    fn answer(stream: &mut UnixStream) -> Option<String> {
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Ok(_) => Some(String::from_utf8(bytes).unwrap()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // Closed with input of ours unread: what was said came through first.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(String::from_utf8(bytes).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_query_is_answered_in_one_go() {
        let mut place = Place::new("query");
        let mut client = place.connect();
        client.write_all(b"status\n").unwrap();
        place.settle();
        assert_eq!(answer(&mut client).unwrap(), "code 0\nStatus\nend\n");
        assert_eq!((place.open(), place.server.next_deadline()), (0, None));
    }

    #[test]
    fn one_report_a_turn() {
        let mut place = Place::new("turns");
        let mut clients: Vec<_> = (0..4).map(|_| place.connect()).collect();
        for client in &mut clients {
            client.write_all(b"status\n").unwrap();
        }
        assert!(place.settle() >= 4);
        for client in &mut clients {
            assert_eq!(answer(client).unwrap(), "code 0\nStatus\nend\n");
        }
    }

    #[test]
    fn an_order_waits_for_its_outcome() {
        let mut place = Place::new("order");
        let mut client = place.connect();
        client.write_all(b"standby lo").unwrap();
        place.settle();
        client.write_all(b"cal\nand more").unwrap();
        place.settle();
        let (id, command) = place.server.poll_request().unwrap();
        assert_eq!(command, Command::Node(Request::Standby(Holds::LOCAL)));
        assert_eq!(place.server.poll_request(), None);
        assert_eq!((answer(&mut client), place.server.next_deadline()), (None, None));
        place.now = place.now + IDLE_LIMIT + IDLE_LIMIT;
        assert_eq!(place.settle(), 0, "waiting costs nothing");
        place.server.reply_outcome(RequestId(id.0 + 1), Outcome::Done, |_| "");
        assert_eq!(answer(&mut client), None);
        place.server.reply_outcome(id, Outcome::Refused(Refusal::PartnerAbsent), |_| "");
        let text = answer(&mut client).unwrap();
        assert!(text.starts_with("code 75\nthe partner is dead") && text.ends_with("\nend\n"), "{text}");
        assert!(id.0 < FOREIGN_REQUESTS);
    }

    #[test]
    fn a_client_that_leaves_while_waiting_frees_its_place() {
        let mut place = Place::new("leave");
        let mut client = place.connect();
        client.write_all(b"hold\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        place.settle();
        assert_eq!(place.open(), 1, "half closed is still listening");
        let (id, _) = place.server.poll_request().unwrap();
        drop(client);
        place.settle();
        assert_eq!(place.open(), 0);
        place.server.reply(id, 0, format_args!("to nobody"));
        assert_eq!(place.open(), 0);
    }

    #[test]
    fn garbage_oversize_and_silence_are_dropped_and_counted() {
        let mut place = Place::new("garbage");
        for junk in [&b"GET / HTTP/1.1\r\n"[..], &[b'x'; 500], b"\xff\xfe\n", b"\n"] {
            let mut client = place.connect();
            client.write_all(junk).unwrap();
            place.settle();
            assert!(answer(&mut client).unwrap().starts_with("code 64\n"), "{junk:?}");
        }
        assert_eq!(place.server.counters().garbage, 4);
        let mut slow = place.connect();
        place.settle();
        let deadline = place.server.next_deadline().unwrap();
        assert_eq!(deadline, place.now + IDLE_LIMIT);
        for _ in 0..5 {
            slow.write_all(b"s").unwrap();
            place.now = place.now + Duration::from_secs(1);
            place.settle();
        }
        place.server.turn(place.now, &mut |_, _| panic!("nothing was asked"));
        assert_eq!((place.open(), place.server.counters().idle), (0, 1));
        assert!(answer(&mut slow).unwrap().is_empty());
    }

    #[test]
    fn a_hundred_connections_are_told_to_come_back() {
        let mut place = Place::new("crowd");
        let mut clients: Vec<_> = (0..100)
            .map(|_| {
                let client = place.connect();
                place.settle();
                client
            })
            .collect();
        assert_eq!(place.open(), CONNECTIONS_MAX);
        let refused = clients.iter_mut().filter_map(answer).filter(|text| text.starts_with("code 75\n")).count();
        assert_eq!(refused, 100 - CONNECTIONS_MAX);
        assert_eq!(place.server.counters().crowded, 92);
        drop(clients);
        place.settle();
        assert_eq!(place.open(), 0);
    }

    #[test]
    fn a_storm_of_questions_leaves_most_of_each_second_to_the_engine() {
        let mut place = Place::new("storm");
        let mut served = 0;
        for _ in 0..CONNECTIONS_PER_SECOND + 20 {
            let mut client = place.connect();
            client.write_all(b"status\n").unwrap();
            place.settle();
            served += u32::from(answer(&mut client).is_some());
        }
        assert_eq!(served, CONNECTIONS_PER_SECOND);
        assert_eq!(place.server.next_deadline(), Some(place.now + SECOND));
        place.now = place.now + SECOND;
        place.server.turn(place.now, &mut |_, _| {});
        let mut client = place.connect();
        client.write_all(b"status\n").unwrap();
        place.settle();
        assert!(answer(&mut client).is_some(), "a new second");
    }

    #[test]
    fn who_does_not_read_loses_only_its_own_answer() {
        let mut place = Place::new("unread");
        let mut client = place.connect();
        client.write_all(b"status\n").unwrap();
        drop(client);
        place.settle();
        assert_eq!((place.open(), place.server.counters().unread), (0, 1));
        // The longest answer fits into the socket although nobody reads yet.
        let mut client = place.connect();
        client.write_all(b"status\n").unwrap();
        while place.is_readable() {
            place.server.turn(place.now, &mut |_, sheet| {
                for _ in 0..5000 {
                    let _ = writeln!(sheet, "a line of a long report");
                }
            });
        }
        let text = answer(&mut client).unwrap();
        assert!(text.len() > 60_000 && text.ends_with("truncated\nend\n"), "{}", text.len());
        assert_eq!(place.server.counters().unread, 1);
    }
}
