//! UDP: to one address, to all of a network, to a group (spec/wire.md 11.1, 11.2).
//!
//! | medium | socket | to |
//! |---|---|---|
//! | `ucast` | any address, on the interface | the peer |
//! | `bcast` | any address, on the interface | the interface's broadcast address, told when it is opened |
//! | `mcast` | the group, joined on the interface | the group |
//! | `ucast6` | any address, on the interface | the peer |
//! | `mcast6` | the group, joined on the interface | the group |
//!
//! An interface that vanishes takes its sockets with it: they stay bound to a number that nothing has any more. Sending
//! says so for IPv4; for the rest, and for a broadcast address that has changed, a link that hears nobody is opened anew
//! (see `LinkTable`).

pub mod open;
mod words;

use std::io;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendto};

use crate::config::Medium;

/// Write errors in a row that are logged before silence.
const ERRORS_LOGGED: u32 = 10;
/// Write errors in a row after which logging begins again.
const ERRORS_CYCLE: u32 = 1000;

/// Room for the one control message that is asked for, aligned as the kernel's structure asks for.
#[repr(align(8))]
struct ControlBuffer([u8; 64]);

/// What a datagram was addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This node.
    One,
    /// Everybody on the network, or in a group.
    Many,
}

/// A datagram that has been put into the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes.
    pub len: usize,
    /// Who sent it.
    pub sender: IpAddr,
    /// Whom it was sent to.
    pub reach: Reach,
}

/// The engine's side of a socket. It survives the loss of the interface.
#[derive(Debug)]
pub struct UdpSocket {
    medium: Medium,
    to: SockaddrStorage,
    socket: Option<OwnedFd>,
    errors_in_row: u32,
    /// Datagrams that left.
    pub sent: u64,
    /// Datagrams that did not.
    pub dropped: u64,
}

impl UdpSocket {
    /// A socket that is not open yet.
    pub fn new(medium: &Medium) -> Self {
        Self {
            medium: medium.clone(),
            to: target(medium, 0).into(),
            socket: None,
            errors_in_row: 0,
            sent: 0,
            dropped: 0,
        }
    }

    /// Takes what [`open`] has made. Returns the descriptor that it replaces.
    pub fn attach(&mut self, socket: OwnedFd, detail: u32) -> Option<OwnedFd> {
        self.to = target(&self.medium, detail).into();
        self.socket.replace(socket)
    }

    /// Says that it is open, as the original does.
    pub fn tell_open(&self) {
        words::tell_open(&self.medium);
    }

    /// Gives the descriptor up.
    pub const fn detach(&mut self) -> Option<OwnedFd> {
        self.errors_in_row = 0;
        self.socket.take()
    }

    /// The descriptor, while there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// The line of ha.cf.
    pub const fn medium(&self) -> &Medium {
        &self.medium
    }

    /// The one peer that datagrams go to.
    pub const fn peer(&self) -> Option<IpAddr> {
        match self.medium {
            Medium::Ucast { peer, .. } => Some(IpAddr::V4(peer)),
            Medium::Ucast6 { peer, .. } => Some(IpAddr::V6(peer)),
            _ => None,
        }
    }

    /// Whether what is sent comes back here.
    pub const fn is_looped(&self) -> bool {
        match self.medium {
            Medium::Mcast { is_looped, .. } | Medium::Mcast6 { is_looped, .. } => is_looped,
            Medium::Bcast { .. } => true,
            _ => false,
        }
    }

    /// The next datagram, put into `buffer`; `None` when there is nothing more. A datagram longer than the buffer is cut,
    /// and fails to authenticate.
    ///
    /// # Errors
    /// The interface is lost.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        let mut reach = if self.peer().is_some() { Reach::One } else { Reach::Many };
        let mut control = ControlBuffer([0; 64]);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control.0), flags) {
            Ok(received) => {
                for message in received.cmsgs().into_iter().flatten() {
                    if let ControlMessageOwned::Ipv4PacketInfo(info) = message {
                        // Where it went, and the address of ours that an answer would come from.
                        let is_one = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
                        reach = if is_one { Reach::One } else { Reach::Many };
                    }
                }
                let sender = received.address.and_then(|address| ip(&address));
                let sender = sender.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                Ok(Some(Datagram { len: received.bytes, sender, reach }))
            }
            Err(error @ (Errno::ENODEV | Errno::ENXIO)) => Err(error.into()),
            // An error that an earlier datagram left behind says nothing about the next one.
            Err(_) => Ok(None),
        }
    }

    /// Sends one datagram or drops it.
    ///
    /// # Errors
    /// The interface is lost: the socket belongs to one that is no more and must be opened again.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        match sendto(socket.as_raw_fd(), datagram, &self.to, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => {
                self.sent += 1;
                self.errors_in_row = 0;
                Ok(())
            }
            Err(error) => {
                self.dropped += 1;
                self.complain(error, datagram.len());
                if matches!(error, Errno::ENODEV | Errno::ENXIO) { Err(error.into()) } else { Ok(()) }
            }
        }
    }

    fn complain(&mut self, error: Errno, len: usize) {
        self.errors_in_row += 1;
        if self.errors_in_row <= ERRORS_LOGGED {
            words::tell_failure(&self.medium, &self.to, len, error);
        }
        if self.errors_in_row == ERRORS_LOGGED {
            words::tell_silence(&self.medium);
        }
        if self.errors_in_row >= ERRORS_CYCLE {
            self.errors_in_row = 0;
        }
    }
}

/// Where a medium's datagrams go, with what only its opening could tell.
fn target(medium: &Medium, detail: u32) -> SocketAddr {
    match *medium {
        // Never asked for.
        Medium::Serial { .. } | Medium::Ping { .. } => SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
        Medium::Ucast { peer, port, .. } => SocketAddrV4::new(peer, port).into(),
        Medium::Bcast { port, .. } => SocketAddrV4::new(Ipv4Addr::from(detail), port).into(),
        Medium::Mcast { group, port, .. } => SocketAddrV4::new(group, port).into(),
        Medium::Ucast6 { peer: address, port, .. } | Medium::Mcast6 { group: address, port, .. } => {
            // Only a link-local address has a scope.
            let scope = if address.is_unicast_link_local() || address.is_multicast() { detail } else { 0 };
            SocketAddrV6::new(address, port, 0, scope).into()
        }
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    four.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn ucast(peer: Ipv4Addr, bind: Ipv4Addr, port: u16) -> Medium {
        Medium::Ucast { interface: "lo".into(), peer, bind: Some(bind), port }
    }

    fn free_port() -> u16 {
        std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    fn opened(medium: &Medium) -> UdpSocket {
        let mut socket = UdpSocket::new(medium);
        let opened = crate::links::open(medium).unwrap();
        assert!(socket.attach(opened.descriptor, opened.detail).is_none());
        socket
    }

    /// Two nodes on one loopback: the same port on two addresses.
    fn pair() -> (UdpSocket, UdpSocket) {
        let (a, b, port) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2), free_port());
        (opened(&ucast(b, a, port)), opened(&ucast(a, b, port)))
    }

    fn receive(socket: &mut UdpSocket, buffer: &mut [u8]) -> Datagram {
        let descriptor = socket.descriptor().unwrap();
        let ready = poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], PollTimeout::from(10_000u16)).unwrap();
        assert_eq!(ready, 1, "nothing within ten seconds");
        socket.receive(buffer).unwrap().unwrap()
    }

    #[test]
    fn datagrams_pass_between_two_nodes_on_one_loopback() {
        let (mut here, mut there) = pair();
        let mut buffer = [0; 2048];
        here.send(b"one").unwrap();
        here.send(b"two").unwrap();
        let sender = Ipv4Addr::new(127, 0, 0, 1).into();
        assert_eq!(receive(&mut there, &mut buffer), Datagram { len: 3, sender, reach: Reach::One });
        assert_eq!(&buffer[..3], b"one");
        assert_eq!(receive(&mut there, &mut buffer).len, 3);
        assert_eq!(there.receive(&mut buffer).unwrap(), None);
        there.send(b"back").unwrap();
        assert_eq!(receive(&mut here, &mut buffer).len, 4);
        assert_eq!((here.sent, here.dropped), (2, 0));
    }

    #[test]
    fn broadcast_is_told_from_what_is_for_us_alone() {
        let port = free_port();
        let mut all = opened(&Medium::Bcast { interface: "lo".into(), port });
        let mut one = opened(&Medium::Ucast { interface: "lo".into(), peer: Ipv4Addr::LOCALHOST, bind: None, port });
        let mut buffer = [0; 64];
        all.send(b"all").unwrap();
        // Every socket of the port hears it; so does the sender.
        assert_eq!(receive(&mut all, &mut buffer).reach, Reach::Many);
        assert_eq!(receive(&mut one, &mut buffer).reach, Reach::Many);
        drop(all);
        one.send(b"one").unwrap();
        assert_eq!(receive(&mut one, &mut buffer).reach, Reach::One);
    }

    #[test]
    fn datagram_that_cannot_be_sent_is_counted_and_complaints_end() {
        let (mut here, _there) = pair();
        let huge = vec![0; 70_000];
        for _ in 0..ERRORS_CYCLE {
            here.send(&huge).unwrap();
        }
        assert_eq!(here.dropped, u64::from(ERRORS_CYCLE));
        assert_eq!(here.errors_in_row, 0, "a new cycle of complaints begins");
        here.send(b"fits").unwrap();
        assert_eq!(here.sent, 1);
    }

    #[test]
    fn scope_goes_with_addresses_that_need_one() {
        let ucast6 = |peer: &str| Medium::Ucast6 { interface: "lo".into(), peer: peer.parse().unwrap(), port: 694 };
        let to = |medium: &Medium| target(medium, 7).to_string();
        assert_eq!(to(&ucast6("fe80::1")), "[fe80::1%7]:694");
        assert_eq!(to(&ucast6("2001:db8::1")), "[2001:db8::1]:694");
        assert_eq!(to(&Medium::Bcast { interface: "lo".into(), port: 694 }), "0.0.0.7:694");
    }

    #[test]
    fn socket_that_is_not_open_swallows() {
        let mut closed = UdpSocket::new(&ucast(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, 694));
        closed.send(b"x").unwrap();
        assert_eq!(closed.receive(&mut [0; 8]).unwrap(), None);
        assert!(closed.descriptor().is_none());
    }
}
