//! One end of the pair of sockets between engine and guardian: whole records, never blocking, now and then a
//! descriptor beside a record (SCM_RIGHTS).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, send, sendmsg, socketpair,
};

use super::protocol::{RECORD_LEN, Record};
use crate::sys::socket::receive_with_descriptor;

/// One end. Records keep their borders and their order.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// One record as it came, still to be decoded.
#[derive(Debug)]
pub struct Incoming {
    // One byte more than a record has, so that a longer one is noticed instead of being cut to size.
    bytes: [u8; RECORD_LEN + 1],
    len: usize,
    /// What came with it.
    pub descriptor: Option<OwnedFd>,
}

impl Incoming {
    /// For [`ToGuardian::decode`](super::protocol::ToGuardian::decode) or
    /// [`ToEngine::decode`](super::protocol::ToEngine::decode), which refuse a wrong length.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Channel {
    /// Both ends of a new pair: non-blocking, closed on exec.
    ///
    /// # Errors
    /// What socketpair(2) says.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// Sends one record.
    ///
    /// # Errors
    /// `WouldBlock` when the other end does not read, `BrokenPipe` when it is gone.
    pub fn send(&self, record: &Record) -> io::Result<()> {
        send(self.socket.as_raw_fd(), record, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// Sends one record and a copy of `descriptor`.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_with(&self, record: &Record, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        sendmsg::<UnixAddr>(
            self.socket.as_raw_fd(),
            &[io::IoSlice::new(record)],
            &[ControlMessage::ScmRights(&[descriptor.as_raw_fd()])],
            MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        Ok(())
    }

    /// The next record, `None` when there is none at the moment.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other end is gone; else what recvmsg(2) says.
    pub fn receive(&self) -> io::Result<Option<Incoming>> {
        let mut bytes = [0; RECORD_LEN + 1];
        match receive_with_descriptor(self.socket.as_fd(), &mut bytes) {
            Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((len, descriptor)) => Ok(Some(Incoming { bytes, len, descriptor })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl From<OwnedFd> for Channel {
    /// The socket shall be SOCK_SEQPACKET of the Unix family.
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.socket
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;
    use crate::core::ids::LinkId;
    use crate::guardian::protocol::{BadRecord, ToEngine, ToGuardian};

    #[test]
    fn channel_records_arrive_in_order_then_nothing() {
        let (engine, guardian) = Channel::pair().unwrap();
        for link in 0..3 {
            engine.send(&ToGuardian::OpenLink { link: LinkId(link) }.encode(7)).unwrap();
        }
        for link in 0..3 {
            let incoming = guardian.receive().unwrap().unwrap();
            assert_eq!(ToGuardian::decode(incoming.bytes()), Ok((ToGuardian::OpenLink { link: LinkId(link) }, 7)));
            assert!(incoming.descriptor.is_none());
        }
        assert!(guardian.receive().unwrap().is_none());
    }

    #[test]
    fn channel_descriptor_travels_with_its_record() {
        let (engine, guardian) = Channel::pair().unwrap();
        let mut file = std::fs::File::from(
            nix::sys::memfd::memfd_create(c"channel-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap(),
        );
        let answer = ToEngine::Link { link: LinkId(2), errno: 0, detail: 0 };
        guardian.send_with(&answer.encode(), file.as_fd()).unwrap();
        let incoming = engine.receive().unwrap().unwrap();
        assert_eq!(ToEngine::decode(incoming.bytes()), Ok(answer));
        let mut copy = std::fs::File::from(incoming.descriptor.unwrap());
        file.write_all(b"same file").unwrap();
        copy.rewind().unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "same file");
    }

    #[test]
    fn channel_other_end_gone_is_told_both_ways() {
        let (engine, guardian) = Channel::pair().unwrap();
        drop(guardian);
        assert_eq!(engine.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(engine.send(&ToGuardian::Ready.encode(0)).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn channel_reader_asleep_says_would_block() {
        let (engine, _guardian) = Channel::pair().unwrap();
        let record = ToGuardian::Ready.encode(0);
        let error = (0..1_000_000).find_map(|_| engine.send(&record).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn channel_record_too_long_is_noticed() {
        let (engine, guardian) = Channel::pair().unwrap();
        let mut long = ToGuardian::Ready.encode(0).to_vec();
        long.push(0);
        send(engine.as_fd().as_raw_fd(), &long, MsgFlags::MSG_NOSIGNAL).unwrap();
        let incoming = guardian.receive().unwrap().unwrap();
        assert_eq!(ToGuardian::decode(incoming.bytes()), Err(BadRecord));
    }
}
