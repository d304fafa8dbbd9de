//! Moves bytes between descriptors and peers. Never decides.
//!
//! A link has two halves. [`open`] is called by the guardian, which may: it makes a descriptor and passes it on. A
//! [`Link`] lives in the engine: it receives into a buffer that it is lent, sends without ever blocking, and lives on
//! without a descriptor when its device vanishes.

pub mod cable;
mod latency;
pub mod lock;
pub mod output;
pub mod ping;
pub mod probe;
pub mod serial;
pub mod udp;

use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::config::Medium;
use crate::core::time::Instant;
use crate::wire::heartbeat::Reject;
use ping::PingSocket;
use serial::SerialLine;
use udp::{Datagram, UdpSocket};

/// What [`open`] has made.
#[derive(Debug)]
pub struct Opened {
    /// Non-blocking, closed on exec.
    pub descriptor: OwnedFd,
    /// What sending needs and only the opening could find out: the broadcast address of a `bcast` link, the interface's
    /// number of an IPv6 link, else zero.
    pub detail: u32,
}

/// Opens what a media line names, ready to be passed to the engine.
///
/// # Errors
/// Always with an errno ([`io::Error::raw_os_error`]).
pub fn open(medium: &Medium) -> io::Result<Opened> {
    open_with_locks(medium, Path::new(lock::DEFAULT_DIRECTORY))
}

/// The same with another directory for the lock files of serial lines.
///
/// # Errors
/// As [`open`].
pub fn open_with_locks(medium: &Medium, lock_directory: &Path) -> io::Result<Opened> {
    match medium {
        Medium::Serial { device, baud, is_rtscts } => {
            let descriptor = serial::open(device, *baud, *is_rtscts, lock_directory)?;
            Ok(Opened { descriptor, detail: 0 })
        }
        Medium::Ucast { interface, bind, port, .. } => udp::open::ucast(interface, *bind, *port),
        Medium::Bcast { interface, port } => udp::open::bcast(interface, *port),
        Medium::Mcast { interface, group, port, ttl, is_looped } => {
            udp::open::mcast(interface, *group, *port, *ttl, *is_looped)
        }
        Medium::Ucast6 { interface, port, .. } => udp::open::ucast6(interface, *port),
        Medium::Mcast6 { interface, group, port, hops, is_looped } => {
            udp::open::mcast6(interface, *group, *port, *hops, *is_looped)
        }
        Medium::Ping { kind, hosts, .. } => ping::open(hosts, *kind),
    }
}

/// Removes the lock files that this process holds: when the guardian ends in good order.
pub fn release_locks(media: &[Medium]) {
    for medium in media {
        if let Medium::Serial { device, .. } = medium {
            lock::release(Path::new(lock::DEFAULT_DIRECTORY), device);
        }
    }
}

/// What [`Link::receive`] has put into the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Nothing is there at the moment.
    Nothing,
    /// So many bytes of a stream.
    Bytes(usize),
    /// A datagram.
    Datagram(Datagram),
    /// A ping node's answer: its data is these bytes.
    Echo {
        /// First one.
        start: usize,
        /// The one behind the last.
        end: usize,
    },
    /// An answer of so many bytes that is not taken.
    Refused(usize, Reject),
    /// Something that is not for us; there may be more.
    Foreign,
}

/// What a message is to a link that cannot take it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cargo {
    /// "I am alive, and so" in the compact format: goes first; only the newest counts.
    ShortBeat,
    /// A call or an answer of the compact format; only the newest counts.
    Call,
    /// "I am alive, and so" in Heartbeat's format; only the newest counts.
    Beat,
    /// A request for what is missing: it is repeated as long as that is so, and only the newest few count.
    Request,
    /// What daemons say to each other.
    Daemon,
    /// What clients do: goes last.
    Client,
}

/// The engine's side of one medium.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful of links, made once and never moved")]
pub enum Link {
    /// Text over a line.
    Serial(SerialLine),
    /// Datagrams.
    Udp(UdpSocket),
    /// Questions to a ping node: no messages pass.
    Ping(PingSocket),
}

impl Link {
    /// A link that is not open yet.
    pub fn new(medium: &Medium) -> Self {
        match medium {
            Medium::Serial { device, baud, .. } => Self::Serial(SerialLine::new(device, *baud)),
            Medium::Ping { name, kind, hosts } => Self::Ping(PingSocket::new(name, *kind, hosts)),
            _ => Self::Udp(UdpSocket::new(medium)),
        }
    }

    /// Whether messages travel as text, not as datagrams.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Serial(_))
    }

    /// The serial line, when it is one.
    pub const fn line(&self) -> Option<&SerialLine> {
        match self {
            Self::Serial(line) => Some(line),
            Self::Udp(_) | Self::Ping(_) => None,
        }
    }

    /// The questions to a ping node, when it is none that messages pass on.
    pub const fn ping(&mut self) -> Option<&mut PingSocket> {
        match self {
            Self::Ping(socket) => Some(socket),
            Self::Serial(_) | Self::Udp(_) => None,
        }
    }

    /// Takes what [`open`] has made. Returns the descriptor that it replaces.
    pub fn attach(&mut self, descriptor: OwnedFd, detail: u32) -> Option<OwnedFd> {
        match self {
            Self::Serial(line) => {
                line.attach(descriptor);
                None
            }
            Self::Udp(socket) => socket.attach(descriptor, detail),
            Self::Ping(socket) => socket.attach(descriptor),
        }
    }

    /// Says that it is open, as the original does.
    pub fn tell_open(&self) {
        match self {
            // It has been said by whoever opened it.
            Self::Serial(_) | Self::Ping(_) => {}
            Self::Udp(socket) => socket.tell_open(),
        }
    }

    /// Gives the descriptor up.
    pub fn detach(&mut self) -> Option<OwnedFd> {
        match self {
            Self::Serial(line) => line.detach(),
            Self::Udp(socket) => socket.detach(),
            Self::Ping(socket) => socket.detach(),
        }
    }

    /// The descriptor, while there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Serial(line) => line.descriptor(),
            Self::Udp(socket) => socket.descriptor(),
            Self::Ping(socket) => socket.descriptor(),
        }
    }

    /// Takes what has arrived, at most one datagram or one buffer full.
    ///
    /// # Errors
    /// The device is lost.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match self {
            Self::Serial(line) => Ok(match line.receive(buffer)? {
                0 => Received::Nothing,
                count => Received::Bytes(count),
            }),
            Self::Udp(socket) => Ok(match socket.receive(buffer)? {
                None => Received::Nothing,
                Some(datagram) => Received::Datagram(datagram),
            }),
            Self::Ping(socket) => Ok(socket.receive(buffer)),
        }
    }

    /// Sends one message; what cannot be sent is dropped and counted, never waited for.
    ///
    /// # Errors
    /// The device is lost.
    pub fn send(&mut self, message: &[u8], cargo: Cargo, now: Instant) -> io::Result<()> {
        match self {
            Self::Serial(line) => line.send(message, cargo, now),
            Self::Udp(socket) => socket.send(message),
            Self::Ping(_) => Ok(()),
        }
    }

    /// Writes what waits: when the descriptor became writable, and at [`Link::deadline`].
    ///
    /// # Errors
    /// The device is lost.
    pub fn flush(&mut self, now: Instant) -> io::Result<()> {
        match self {
            Self::Serial(line) => line.flush(now),
            Self::Udp(_) | Self::Ping(_) => Ok(()),
        }
    }

    /// Whether output waits for the descriptor to become writable.
    pub fn is_output_waiting(&self) -> bool {
        match self {
            Self::Serial(line) => line.is_output_waiting(),
            Self::Udp(_) | Self::Ping(_) => false,
        }
    }

    /// Bytes on their way inside this machine.
    pub fn backlog(&self) -> usize {
        match self {
            Self::Serial(line) => line.backlog(),
            Self::Udp(_) | Self::Ping(_) => 0,
        }
    }

    /// When to call [`Link::flush`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Serial(line) => line.deadline(),
            Self::Udp(_) | Self::Ping(_) => None,
        }
    }

    /// Messages sent.
    pub const fn sent(&self) -> u64 {
        match self {
            Self::Serial(line) => line.sent,
            Self::Udp(socket) => socket.sent,
            Self::Ping(socket) => socket.sent,
        }
    }

    /// Messages that could not be sent.
    pub const fn dropped(&self) -> u64 {
        match self {
            Self::Serial(line) => line.dropped(),
            Self::Udp(socket) => socket.dropped,
            Self::Ping(socket) => socket.dropped,
        }
    }

    /// The one peer that datagrams go to.
    pub const fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Serial(_) | Self::Ping(_) => None,
            Self::Udp(socket) => socket.peer(),
        }
    }

    /// Whether what is sent comes back here.
    pub const fn is_looped(&self) -> bool {
        match self {
            Self::Serial(_) | Self::Ping(_) => false,
            Self::Udp(socket) => socket.is_looped(),
        }
    }

    /// The line of ha.cf, of a link of datagrams.
    pub const fn network(&self) -> Option<&Medium> {
        match self {
            Self::Serial(_) | Self::Ping(_) => None,
            Self::Udp(socket) => Some(socket.medium()),
        }
    }
}
