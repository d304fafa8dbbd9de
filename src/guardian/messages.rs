//! Messages for a site's own `rc.d` scripts, from engine to guardian: a pair of sockets of their own, so that no flood of
//! messages can stand in the way of a job.
//!
//! ```text
//!   digest of the table, 8 bytes │ type NUL │ name=value NUL …
//! ```
//!
//! The engine hands on only types that it was told somebody wants, and nothing waits: what the socket does not take is
//! dropped and counted. The guardian looks the type up in its own list, and judges the names of the fields.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

/// Bytes of a message with all its fields; longer ones are dropped.
pub const MESSAGE_MAX: usize = 4096;
/// Where the type begins.
const TEXT_AT: usize = 8;

/// The engine's end.
#[derive(Debug, Default)]
pub struct MessageOutlet {
    socket: Option<OwnedFd>,
    types: Vec<String>,
    digest: u64,
}

/// The guardian's end.
#[derive(Debug)]
pub struct MessageInlet {
    socket: OwnedFd,
}

/// A message as the guardian reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteMessage {
    /// The digest of the table that the engine has read.
    pub digest: u64,
    /// `t`.
    pub kind: String,
    /// String fields, as they came.
    pub fields: Vec<(String, String)>,
}

/// Both ends. The engine's takes messages of these types.
///
/// # Errors
/// What socketpair(2) says.
pub fn pair(types: Vec<String>, digest: u64) -> io::Result<(MessageOutlet, MessageInlet)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    Ok((MessageOutlet { socket: Some(one), types, digest }, MessageInlet { socket: other }))
}

impl MessageOutlet {
    /// Whether a script of this name is there.
    pub fn wants(&self, kind: &str) -> bool {
        self.types.iter().any(|wanted| wanted == kind)
    }

    /// The descriptor, for whoever closes all others.
    pub fn descriptor(&self) -> Option<i32> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Sends one message whose fields `each` passes on. False: it is too long, or the guardian does not read.
    pub fn send(&self, kind: &str, each: impl FnOnce(&mut dyn FnMut(&str, &str))) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut record = Writer { bytes: [0; MESSAGE_MAX], length: 0, is_whole: true };
        record.put(&self.digest.to_le_bytes());
        record.put(kind.as_bytes());
        record.put(&[0]);
        each(&mut |name, value| {
            for part in [name.as_bytes(), b"=", value.as_bytes(), &[0]] {
                record.put(part);
            }
        });
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        record.is_whole && send(socket.as_raw_fd(), &record.bytes[..record.length], flags).is_ok()
    }
}

struct Writer {
    bytes: [u8; MESSAGE_MAX],
    length: usize,
    is_whole: bool,
}

impl Writer {
    fn put(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        match self.bytes.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(part);
                self.length = end;
            }
            None => self.is_whole = false,
        }
    }
}

impl MessageInlet {
    /// The next message; `None` when there is none, `Some(None)` for bytes that are none.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other end is gone; else what recv(2) says.
    pub fn receive(&self) -> io::Result<Option<Option<SiteMessage>>> {
        // One byte more, so that a longer record is noticed.
        let mut bytes = [0; MESSAGE_MAX + 1];
        match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => Ok(Some(read(&bytes[..length]))),
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for MessageInlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The message in one record.
pub(crate) fn read(bytes: &[u8]) -> Option<SiteMessage> {
    if bytes.len() > MESSAGE_MAX {
        return None;
    }
    let digest = u64::from_le_bytes(*bytes.first_chunk::<TEXT_AT>()?);
    let text = std::str::from_utf8(&bytes[TEXT_AT..]).ok()?.strip_suffix('\0')?;
    let mut parts = text.split('\0');
    let kind = parts.next()?.to_owned();
    let fields = parts.map(|field| field.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    Some(SiteMessage { digest, kind, fields: fields.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(each: &[(&str, &str)]) -> Vec<(String, String)> {
        each.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn message_arrives_with_its_fields() {
        let (outlet, inlet) = pair(vec!["mytype".to_owned()], 7).unwrap();
        assert!(outlet.wants("mytype") && !outlet.wants("my") && !outlet.wants("MYTYPE"));
        assert!(outlet.send("mytype", |field| {
            field("src", "beta");
            field("x", "a=b c\n");
        }));
        let message =
            SiteMessage { digest: 7, kind: "mytype".to_owned(), fields: fields(&[("src", "beta"), ("x", "a=b c\n")]) };
        assert_eq!(inlet.receive().unwrap(), Some(Some(message)));
        assert_eq!(inlet.receive().unwrap(), None);
        drop(outlet);
        assert_eq!(inlet.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn message_too_long_or_to_a_sleeping_guardian_is_not_sent() {
        let (outlet, _inlet) = pair(vec!["x".to_owned()], 7).unwrap();
        assert!(!outlet.send("x", |field| field("a", &"y".repeat(MESSAGE_MAX))));
        assert!(!outlet.send("x", |field| (0..MESSAGE_MAX).for_each(|_| field("a", "y"))));
        assert!((0..100_000).any(|_| !outlet.send("x", |_| {})), "a full socket says so");
        assert!(!MessageOutlet::default().send("x", |_| {}));
    }

    #[test]
    fn bytes_that_are_no_message_are_none() {
        for bytes in [&b""[..], b"1234567", b"12345678", b"12345678x", b"12345678x\0novalue\0", b"12345678\xff\0"] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
        assert_eq!(read(b"12345678x\0").unwrap().fields, []);
        assert_eq!(read(&[b'x'; MESSAGE_MAX + 1]), None);
    }
}
