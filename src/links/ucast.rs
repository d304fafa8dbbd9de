//! UDP to one address (spec/wire.md 11.1, 11.2). One socket for both directions: the peer of old does not look at the
//! sender's port.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{BindToDevice, Ipv4Tos, ReuseAddr, ReusePort};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, recvfrom, sendto, setsockopt, socket,
};

/// `IPTOS_LOWDELAY`.
const LOW_DELAY: i32 = 0x10;
/// Write errors in a row that are logged before silence.
const ERRORS_LOGGED: u32 = 10;
/// Write errors in a row after which logging begins again.
const ERRORS_CYCLE: u32 = 1000;

/// Opens a socket on `interface`, bound to `address` (or any) and `port`, non-blocking.
///
/// Binding to the interface needs a privilege on older kernels; without it a warning is logged once and the routing
/// table decides.
///
/// # Errors
/// An errno: `ENODEV` when there is no such interface, `EADDRINUSE`, `EADDRNOTAVAIL`, …
pub fn open(interface: &str, address: Option<Ipv4Addr>, port: u16, peer: Ipv4Addr) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, SockProtocol::Udp)?;
    setsockopt(&socket, Ipv4Tos, &LOW_DELAY)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    // Several `ucast` lines may share an interface; the kernel then gives each datagram to one of the sockets.
    setsockopt(&socket, ReusePort, &true)?;
    match setsockopt(&socket, BindToDevice, &OsString::from(interface)) {
        Err(Errno::EPERM) => warn_unbound(interface),
        result => result?,
    }
    let local = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    bind(socket.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(local, port)))?;
    log::info!("glib: ucast: started on port {port} interface {interface} to {peer}");
    Ok(socket)
}

fn warn_unbound(interface: &str) {
    static IS_WARNED: AtomicBool = AtomicBool::new(false);
    if !IS_WARNED.swap(true, Ordering::Relaxed) {
        log::warn!("Not permitted to bind a socket to interface {interface}: the routing table picks the way");
    }
}

/// The engine's side of a socket. It survives the loss of the interface.
#[derive(Debug)]
pub struct UcastSocket {
    interface: String,
    peer: SockaddrIn,
    socket: Option<OwnedFd>,
    errors_in_row: u32,
    /// Datagrams that left.
    pub sent: u64,
    /// Datagrams that did not.
    pub dropped: u64,
}

impl UcastSocket {
    /// A socket that is not open yet.
    pub fn new(interface: &str, peer: Ipv4Addr, port: u16) -> Self {
        Self {
            interface: interface.to_owned(),
            peer: std::net::SocketAddrV4::new(peer, port).into(),
            socket: None,
            errors_in_row: 0,
            sent: 0,
            dropped: 0,
        }
    }

    /// Takes a descriptor from [`open`].
    pub fn attach(&mut self, socket: OwnedFd) {
        self.errors_in_row = 0;
        self.socket = Some(socket);
    }

    /// Gives the descriptor up.
    pub const fn detach(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    /// The descriptor, while there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Where datagrams go.
    pub const fn peer(&self) -> Ipv4Addr {
        self.peer.ip()
    }

    /// The next datagram: its length in `buffer` and its sender, `None` when there is nothing more. A datagram longer
    /// than the buffer is cut, and fails to authenticate.
    ///
    /// # Errors
    /// The interface is lost.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<(usize, Ipv4Addr)>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        match recvfrom::<SockaddrIn>(socket.as_raw_fd(), buffer) {
            Ok((count, source)) => Ok(Some((count, source.map_or(Ipv4Addr::UNSPECIFIED, |source| source.ip())))),
            Err(error @ Errno::ENODEV) => Err(error.into()),
            // An error that an earlier datagram left behind says nothing about the next one.
            Err(_) => Ok(None),
        }
    }

    /// Sends one datagram or drops it.
    ///
    /// # Errors
    /// The interface is lost: the socket is bound to one that is no more and must be opened again.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        match sendto(socket.as_raw_fd(), datagram, &self.peer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => {
                self.sent += 1;
                self.errors_in_row = 0;
                Ok(())
            }
            Err(error) => {
                self.dropped += 1;
                self.complain(error, datagram.len());
                if error == Errno::ENODEV { Err(error.into()) } else { Ok(()) }
            }
        }
    }

    fn complain(&mut self, error: Errno, len: usize) {
        self.errors_in_row += 1;
        if self.errors_in_row <= ERRORS_LOGGED {
            let (interface, reason) = (&self.interface, error.desc());
            log::error!(
                "glib: ucast_write: Unable to send HBcomm packet {interface} {} len={len} [-1]: {reason}",
                self.peer
            );
            log::error!("write_child: write failure on ucast {interface}.: {reason}");
        }
        if self.errors_in_row == ERRORS_LOGGED {
            log::warn!("Temporarily Suppressing write error messages");
            log::warn!("Is a cable unplugged on ucast {}?", self.interface);
        }
        if self.errors_in_row >= ERRORS_CYCLE {
            self.errors_in_row = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    /// Two nodes on one loopback: the same port on two addresses.
    fn pair() -> (UcastSocket, UcastSocket) {
        let (a, b) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
        // A port that was free a moment ago on both.
        for _ in 0..50 {
            let probe = std::net::UdpSocket::bind((a, 0)).unwrap();
            let port = probe.local_addr().unwrap().port();
            drop(probe);
            if let (Ok(one), Ok(other)) = (open("lo", Some(a), port, b), open("lo", Some(b), port, a)) {
                let (mut here, mut there) = (UcastSocket::new("lo", b, port), UcastSocket::new("lo", a, port));
                here.attach(one);
                there.attach(other);
                return (here, there);
            }
        }
        panic!("no free port");
    }

    fn receive(socket: &mut UcastSocket, buffer: &mut [u8]) -> (usize, Ipv4Addr) {
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
        assert_eq!(receive(&mut there, &mut buffer), (3, Ipv4Addr::new(127, 0, 0, 1)));
        assert_eq!(&buffer[..3], b"one");
        assert_eq!(receive(&mut there, &mut buffer).0, 3);
        assert_eq!(there.receive(&mut buffer).unwrap(), None);
        there.send(b"back").unwrap();
        assert_eq!(receive(&mut here, &mut buffer), (4, Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!((here.sent, here.dropped), (2, 0));
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
    fn interface_missing_is_an_errno() {
        let error = open("nonexistent0", None, 0, Ipv4Addr::LOCALHOST).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(code) if code == Errno::ENODEV as i32));
    }

    #[test]
    fn socket_that_is_not_open_swallows() {
        let mut closed = UcastSocket::new("lo", Ipv4Addr::LOCALHOST, 694);
        closed.send(b"x").unwrap();
        assert_eq!(closed.receive(&mut [0; 8]).unwrap(), None);
        assert!(closed.descriptor().is_none());
    }
}
