//! One client.

use nix::errno::Errno;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::authority::Authority;
use super::{Hearing, Sent};
use crate::api::ipc::{Connection, Peer};
use crate::core::Node;
use crate::core::ids::NodeId;
use crate::core::limits::NODES_MAX;
use crate::core::message::ClientName;
use crate::sys::pidfd;
use crate::wire::heartbeat::ClientMessage;

/// Longest name of a client.
pub(super) const NAME_MAX: usize = 31;
/// The filter of a client that has set none.
const KEEP: u64 = 0x01;

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not signed on.
    New,
    /// It has, without a name.
    Casual,
    /// It has, under its name.
    Named,
}

/// One client. Until it has signed on nothing is known but who is at the other end.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Its process, when that is visible from here.
    process: Option<OwnedFd>,
    pub(super) stage: Stage,
    /// Its name, or its number in decimal.
    pub(super) id: ClientName,
    pub(super) filter: u64,
    /// It may hear everything.
    pub(super) is_trusted: bool,
    /// What it gets after each frame.
    pub(super) signal: Option<Signal>,
    /// Counts sign-ons, over all clients.
    pub(super) generation: u32,
    /// It is to be dropped, for this reason.
    pub(super) end: Option<End>,
    /// epoll tells when it can be written to.
    pub(super) is_output_watched: bool,
    /// The other side has gone, and epoll knows it no more.
    pub(super) is_hung_up: bool,
    /// Counts connections: the oldest has the lowest.
    pub(super) serial: u32,
    /// The most frames that have waited for it to read.
    pub(super) queue_max: usize,
    /// Of each node of which messages were missing when it signed on: its newest one then. What is older and comes after all
    /// is not for this client.
    pub(super) since: [Option<Sent>; NODES_MAX],
}

/// Why a client is dropped: `info` of what others, and it itself, are told (spec/api.md 2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It said so.
    Signoff,
    /// It has closed the connection, or the connection has failed.
    Eof,
    /// Its process is gone, noticed when there was something to tell it.
    Died,
    /// The same, noticed by looking for it.
    DiedAudit,
    /// It does not read: so many frames wait, of so many that may.
    Unread { waiting: usize, max: usize },
    /// It broke a rule.
    BadClient,
    /// It said something to others that is too long.
    TooLong,
    /// It said something to others that is not for a client to say, or that cannot be passed on.
    Unfit,
    /// It was refused.
    Refused(&'static str),
}

impl Session {
    pub(super) fn new(connection: Connection, process: Option<OwnedFd>, serial: u32) -> Self {
        Self {
            connection,
            process,
            stage: Stage::New,
            id: empty(),
            filter: KEEP,
            is_trusted: false,
            signal: None,
            generation: 0,
            end: None,
            is_output_watched: false,
            is_hung_up: false,
            serial,
            queue_max: 0,
            since: [None; NODES_MAX],
        }
    }

    /// It begins to listen: notes what is missing by now (spec/api.md 2.8).
    pub(super) fn note_missing(&mut self, node: &Node) {
        let comms = node.comms();
        let nodes = (0..).map(NodeId).take(node.settings().nodes.len());
        for (node, since) in nodes.zip(&mut self.since) {
            let generation = comms.peer(node).generation;
            *since = comms.newest_beyond_gap(node).map(|seq| Sent { node, generation, seq });
        }
    }

    /// Whether this had been sent before it signed on, and was missing then.
    pub(super) fn is_too_old(&self, sent: Sent) -> bool {
        let since = self.since.get(usize::from(sent.node.0)).copied().flatten();
        since.is_some_and(|since| since.generation == sent.generation && sent.seq < since.seq)
    }

    /// Whether it hears what goes on.
    pub(super) fn is_listening(&self) -> bool {
        self.stage != Stage::New && self.end.is_none()
    }

    /// Whether it hears what everybody may hear of this kind.
    pub(super) fn wants(&self, hearing: Hearing) -> bool {
        self.is_listening() && self.filter & hearing.bit() != 0
    }

    /// Sends a body; one that cannot be sent is the client's end.
    pub(super) fn say(&mut self, body: &[u8]) {
        if self.end.is_some() {
            return;
        }
        match self.connection.send(body) {
            Ok(()) => {
                self.queue_max = self.queue_max.max(self.connection.frames());
                if self.signal.is_some() && self.send_signal(self.signal).is_err_and(|error| is_gone(&error)) {
                    self.end = Some(End::Died);
                }
            }
            Err(crate::api::ipc::Full::Queue(waiting)) => {
                self.queue_max = self.queue_max.max(waiting);
                self.end = Some(End::Unread { waiting, max: self.connection.frames_max() });
            }
            Err(crate::api::ipc::Full::Failed(_)) => self.end = Some(End::Eof),
        }
    }

    /// Whether its process is there, as far as can be seen from here.
    pub(super) fn is_alive(&self) -> bool {
        !self.send_signal(None).is_err_and(|error| is_gone(&error))
    }

    /// To the very process that has connected, never to a number.
    fn send_signal(&self, signal: Option<Signal>) -> io::Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| pidfd::send_signal(process, signal))
    }

    /// Takes a sign-on: the checks in the original's order.
    ///
    /// # Errors
    /// The reason, as the original words it. The name is stored when it is reached before the failing check.
    pub(super) fn sign_on(
        &mut self,
        message: &ClientMessage<'_>,
        authority: &Authority,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<(), &'static str> {
        let peer = self.connection.peer();
        let pid = message.get("pid").and_then(leading_number).filter(|pid| *pid > 0 && is_process(*pid));
        let pid = pid.ok_or("bad pid")?;
        let mut digits = heapless::String::<20>::new();
        let _ = core::fmt::write(&mut digits, format_args!("{pid}"));
        let given = message.get("from_id").unwrap_or(&digits);
        let is_casual = leading_number(given) == Some(pid);
        if is_taken(given) {
            return Err("duplicate add request");
        }
        let name = ClientName::new(given).filter(|name| name.as_str().len() <= NAME_MAX).ok_or("cannot add client")?;
        self.id = name;
        self.stage = if is_casual { Stage::Casual } else { Stage::Named };
        let id = |field| message.decimal(field).and_then(|id| u32::try_from(id).ok());
        let (uid, gid) = id("uid").zip(id("gid")).ok_or("invalid id info")?;
        if (uid, gid) != (peer.uid, peer.gid) {
            return Err("incorrect/false credentials");
        }
        self.is_trusted = authority.may_read_along(peer);
        authority.check((!is_casual).then_some(given), peer)?;
        if pid == i64::from(peer.pid) || is_hidden(peer) { Ok(()) } else { Err("pid mismatch") }
    }

    /// Whether a request with this number and name is this client's own.
    pub(super) fn is_meant(&self, message: &ClientMessage<'_>) -> bool {
        let pid = message.get("pid").and_then(leading_number);
        pid == Some(i64::from(self.connection.peer().pid)) || message.get("from_id") == Some(self.id.as_str())
    }
}

/// From another PID namespace a client's own number means nothing here, and the kernel tells none.
const fn is_hidden(peer: Peer) -> bool {
    peer.pid <= 0
}

fn empty() -> ClientName {
    ClientName::new("").unwrap_or_else(|| unreachable!("it fits"))
}

/// The number that a text begins with, as C reads it.
pub(super) fn leading_number(text: &str) -> Option<i64> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let number: i64 = digits.get(..end)?.parse().ok()?;
    Some(if digits.len() == text.len() { number } else { -number })
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ESRCH as i32)
}

fn is_process(pid: i64) -> bool {
    // Without the right to send it a signal it is there all the same.
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signoff => f.write_str("signoff"),
            Self::Eof => f.write_str("EOF"),
            Self::Died => f.write_str("died"),
            Self::DiedAudit => f.write_str("died-audit"),
            Self::Unread { .. } => f.write_str("send failed"),
            Self::BadClient => f.write_str("badclient"),
            Self::TooLong => f.write_str("message too long"),
            Self::Unfit => f.write_str("message not passed on"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_by_c() {
        for (text, number) in [
            ("47", Some(47)),
            ("47x", Some(47)),
            (" -3", Some(-3)),
            ("x", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(leading_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn signal_goes_to_the_process_that_connected_and_to_no_number() {
        use std::os::unix::net::UnixStream;
        use std::os::unix::process::ExitStatusExt as _;
        use std::process::Command;

        use crate::api::ipc::Rooms;

        let sleeper = || Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let (mut connected, mut other) = (sleeper(), sleeper());
        let number = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        let process = pidfd::open(Pid::from_raw(number(&connected))).unwrap();
        let session = |pid: i32, process: Option<OwnedFd>| {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let connection = Connection::new(near.into(), Peer { pid, uid: 0, gid: 0 }, Rooms::new(100, 100), 10);
            let mut session = Session::new(connection, process, 0);
            session.signal = Some(Signal::SIGTERM);
            (session, far)
        };
        // The number has been given to another process meanwhile.
        let (mut client, _far) = session(number(&other), Some(process));
        client.say(b"hello");
        assert_eq!(connected.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
        assert!(!client.is_alive());
        client.say(b"hello");
        assert_eq!(client.end, Some(End::Died));
        assert!(other.try_wait().unwrap().is_none());
        // Zero would be all of ourselves: this test would not see its end.
        let (mut hidden, _far) = session(0, None);
        hidden.say(b"hello");
        assert!(hidden.is_alive() && hidden.end.is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn processes_are_seen() {
        assert!(is_process(i64::from(std::process::id())) && is_process(1));
        assert!(!is_process(i64::MAX) && !is_process(0x7fff_fff0));
    }
}
