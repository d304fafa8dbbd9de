//! The network: UDP on loopback, through this process, so that it can be cut without root.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use super::board::Side;

/// Longest datagram.
const DATAGRAM: usize = 65_536;
/// Ports that are tried.
const ATTEMPTS: usize = 50;

/// Two sockets, one facing each node. While it is cut, datagrams vanish.
#[derive(Debug)]
pub(super) struct Network {
    sockets: [UdpSocket; 2],
    /// The UDP port of both nodes and of both sockets.
    pub(super) port: u16,
    /// Whether it is pulled.
    pub(super) is_cut: bool,
    spoke_at: [Option<Instant>; 2],
    buffer: Vec<u8>,
}

impl Network {
    /// A new one, plugged in, on a port that is free on all four addresses.
    ///
    /// # Errors
    /// When there is no such port, or no loopback.
    pub(super) fn new() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..ATTEMPTS {
            match free_port() {
                Ok((port, sockets)) => {
                    let buffer = vec![0; DATAGRAM];
                    return Ok(Self { sockets, port, is_cut: false, spoke_at: [None; 2], buffer });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// When a node last sent something into the network.
    pub(super) const fn spoke_at(&self, side: Side) -> Option<Instant> {
        self.spoke_at[side.index()]
    }

    /// Both sockets, to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(UdpSocket::as_fd)
    }

    /// Forwards what has arrived.
    pub(super) fn carry(&mut self, now: Instant) {
        for side in Side::BOTH {
            // That a datagram met nobody comes back as an error of the next call, which says nothing about that one.
            loop {
                match self.sockets[side.index()].recv(&mut self.buffer) {
                    Ok(count) => self.forward(side, count, now),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(_) => break,
                }
            }
        }
    }

    fn forward(&mut self, from: Side, count: usize, now: Instant) {
        self.spoke_at[from.index()] = Some(now);
        if !self.is_cut {
            let to = from.other();
            let address = SocketAddrV4::new(to.address(), self.port);
            let _ = self.sockets[to.index()].send_to(&self.buffer[..count], address);
        }
    }
}

/// A port that is free for both nodes, and our sockets on it.
fn free_port() -> io::Result<(u16, [UdpSocket; 2])> {
    let alpha = UdpSocket::bind((Side::Alpha.address(), 0))?;
    let port = alpha.local_addr()?.port();
    let _beta = UdpSocket::bind((Side::Beta.address(), port))?;
    let facing = |side: Side| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((side.relay_address(), port))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    Ok((port, [facing(Side::Alpha)?, facing(Side::Beta)?]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn node(network: &Network, side: Side) -> UdpSocket {
        let socket = UdpSocket::bind((side.address(), network.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    fn wait(network: &Network, side: Side) {
        let descriptor = network.descriptors().nth(side.index()).unwrap();
        let ready = poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], PollTimeout::from(10_000u16)).unwrap();
        assert_eq!(ready, 1);
    }

    #[test]
    fn network_forwards_until_it_is_cut_and_hides_the_other_node() {
        let mut network = Network::new().unwrap();
        let (alpha, beta) = (node(&network, Side::Alpha), node(&network, Side::Beta));
        let now = Instant::now();
        let mut buffer = [0; 16];
        for (text, is_cut) in [(b"one", false), (b"two", true), (b"six", false)] {
            network.is_cut = is_cut;
            alpha.send_to(text, (Side::Alpha.relay_address(), network.port)).unwrap();
            wait(&network, Side::Alpha);
            network.carry(now);
        }
        let (count, from) = beta.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count], from.ip()), (&b"one"[..], Side::Beta.relay_address().into()));
        assert_eq!(beta.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"six", "what was sent while it was cut is lost");
        assert_eq!((network.spoke_at(Side::Alpha), network.spoke_at(Side::Beta)), (Some(now), None));
    }

    #[test]
    fn network_survives_that_nobody_is_there() {
        let mut network = Network::new().unwrap();
        let alpha = node(&network, Side::Alpha);
        for _ in 0..3 {
            alpha.send_to(b"x", (Side::Alpha.relay_address(), network.port)).unwrap();
            wait(&network, Side::Alpha);
            network.carry(Instant::now());
        }
        let beta = node(&network, Side::Beta);
        alpha.send_to(b"y", (Side::Alpha.relay_address(), network.port)).unwrap();
        wait(&network, Side::Alpha);
        network.carry(Instant::now());
        let mut buffer = [0; 4];
        assert_eq!((beta.recv(&mut buffer).unwrap(), buffer[0]), (1, b'y'));
    }
}
