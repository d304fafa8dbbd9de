//! Moves bytes between descriptors and peers. Never decides.
//!
//! A link has two halves. [`open`] is called by the guardian, which may: it makes a descriptor and passes it on. A
//! [`Link`] lives in the engine: it receives into a buffer that it is lent, sends without ever blocking, and lives on
//! without a descriptor when its device vanishes.

pub mod lock;
pub mod output;
pub mod serial;
pub mod ucast;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::config::Medium;
use crate::core::time::Instant;
use serial::SerialLine;
use ucast::UcastSocket;

/// Opens what a media line names: non-blocking, closed on exec, ready to be passed to the engine.
///
/// # Errors
/// Always with an errno ([`io::Error::raw_os_error`]).
pub fn open(medium: &Medium) -> io::Result<OwnedFd> {
    open_with_locks(medium, Path::new(lock::DEFAULT_DIRECTORY))
}

/// The same with another directory for the lock files of serial lines.
///
/// # Errors
/// As [`open`].
pub fn open_with_locks(medium: &Medium, lock_directory: &Path) -> io::Result<OwnedFd> {
    match medium {
        Medium::Serial { device, baud, is_rtscts } => serial::open(device, *baud, *is_rtscts, lock_directory),
        Medium::Ucast { interface, peer, bind, port } => ucast::open(interface, *bind, *port, *peer),
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
    /// A datagram of so many bytes from this address.
    Datagram(usize, Ipv4Addr),
}

/// The engine's side of one medium.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful of links, made once and never moved")]
pub enum Link {
    /// Text over a line.
    Serial(SerialLine),
    /// Datagrams.
    Ucast(UcastSocket),
}

impl Link {
    /// A link that is not open yet.
    pub fn new(medium: &Medium) -> Self {
        match medium {
            Medium::Serial { device, .. } => Self::Serial(SerialLine::new(device)),
            Medium::Ucast { interface, peer, port, .. } => Self::Ucast(UcastSocket::new(interface, *peer, *port)),
        }
    }

    /// Whether messages travel as text, not as datagrams.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Serial(_))
    }

    /// Takes a descriptor from [`open`].
    pub fn attach(&mut self, descriptor: OwnedFd) {
        match self {
            Self::Serial(line) => line.attach(descriptor),
            Self::Ucast(socket) => socket.attach(descriptor),
        }
    }

    /// Gives the descriptor up.
    pub fn detach(&mut self) -> Option<OwnedFd> {
        match self {
            Self::Serial(line) => line.detach(),
            Self::Ucast(socket) => socket.detach(),
        }
    }

    /// The descriptor, while there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Serial(line) => line.descriptor(),
            Self::Ucast(socket) => socket.descriptor(),
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
            Self::Ucast(socket) => Ok(match socket.receive(buffer)? {
                None => Received::Nothing,
                Some((count, source)) => Received::Datagram(count, source),
            }),
        }
    }

    /// Sends one message; what cannot be sent is dropped and counted, never waited for.
    ///
    /// # Errors
    /// The device is lost.
    pub fn send(&mut self, message: &[u8], is_beat: bool, now: Instant) -> io::Result<()> {
        match self {
            Self::Serial(line) => line.send(message, is_beat, now),
            Self::Ucast(socket) => socket.send(message),
        }
    }

    /// Writes what waits: when the descriptor became writable, and at [`Link::deadline`].
    ///
    /// # Errors
    /// The device is lost.
    pub fn flush(&mut self, now: Instant) -> io::Result<()> {
        match self {
            Self::Serial(line) => line.flush(now),
            Self::Ucast(_) => Ok(()),
        }
    }

    /// Whether output waits for the descriptor to become writable.
    pub fn is_output_waiting(&self) -> bool {
        match self {
            Self::Serial(line) => line.is_output_waiting(),
            Self::Ucast(_) => false,
        }
    }

    /// Bytes on their way inside this machine.
    pub fn backlog(&self) -> usize {
        match self {
            Self::Serial(line) => line.backlog(),
            Self::Ucast(_) => 0,
        }
    }

    /// When to call [`Link::flush`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Serial(line) => line.deadline(),
            Self::Ucast(_) => None,
        }
    }

    /// Messages sent.
    pub const fn sent(&self) -> u64 {
        match self {
            Self::Serial(line) => line.sent,
            Self::Ucast(socket) => socket.sent,
        }
    }

    /// Messages that could not be sent.
    pub const fn dropped(&self) -> u64 {
        match self {
            Self::Serial(line) => line.dropped(),
            Self::Ucast(socket) => socket.dropped,
        }
    }

    /// The address that datagrams go to.
    pub const fn peer(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Serial(_) => None,
            Self::Ucast(socket) => Some(socket.peer()),
        }
    }
}
