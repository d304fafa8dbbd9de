//! ICMP echo to ping nodes (spec/wire.md 11.6): asks each host of one node, and takes the answers.
//!
//! A socket of the kernel's own ping kind is used where `net.ipv4.ping_group_range` allows one, else a raw one. The
//! kernel then gives the number that tells our echoes from others'; a raw socket hears everybody's, and we compare.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, getsockopt, recvfrom, sendto, socket,
};

use super::{Opened, Received};
use crate::core::message::PingKind;
use crate::sys::socket::hear_echo_replies_only;
use crate::wire::heartbeat::Reject;

/// Type, code, checksum, number, sequence.
const HEADER: usize = 8;
/// Longest data: a signed packet with the longest name is far shorter.
const DATA_MAX: usize = 1024;
/// Rounds whose answers are still taken.
const ROUNDS: u16 = 64;
/// Send errors in a row that are logged before silence, and after which logging begins again.
const ERRORS_LOGGED: u32 = 1;
const ERRORS_CYCLE: u32 = 1000;

/// Numbers of the two protocols.
struct Words {
    request: u8,
    reply: u8,
}

const V4: Words = Words { request: 8, reply: 0 };
const V6: Words = Words { request: 128, reply: 129 };

/// Opens a socket for these hosts, which are of one family; non-blocking.
///
/// # Errors
/// An errno: `EPERM` when the kernel grants neither kind.
pub fn open(hosts: &[IpAddr], kind: PingKind) -> io::Result<Opened> {
    let (family, protocol) = match hosts.first() {
        Some(IpAddr::V6(_)) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        _ => (AddressFamily::Inet, SockProtocol::Icmp),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let opened = match socket(family, SockType::Datagram, flags, protocol) {
        Ok(socket) => socket,
        Err(_) => {
            let socket = socket(family, SockType::Raw, flags, protocol)?;
            hear_echo_replies_only(socket.as_fd(), family == AddressFamily::Inet6)?;
            socket
        }
    };
    log::info!("glib: {} heartbeat started.", kind.word().replace('_', " "));
    Ok(Opened { descriptor: opened, detail: 0 })
}

/// The engine's side: one ping node.
#[derive(Debug)]
pub struct PingSocket {
    name: String,
    kind: PingKind,
    hosts: Vec<Host>,
    socket: Option<OwnedFd>,
    is_raw: bool,
    /// Tells our echoes from those of other programs, on a raw socket.
    number: u16,
    /// Of the round to come.
    sequence: u16,
    errors_in_row: u32,
    /// Requests that left.
    pub sent: u64,
    /// Requests that did not.
    pub dropped: u64,
}

#[derive(Debug)]
struct Host {
    address: SockaddrStorage,
    ip: IpAddr,
    /// Of the last [`ROUNDS`], those that were asked and are not answered; bit 0 is the newest.
    open: u64,
}

impl PingSocket {
    /// A socket that is not open yet.
    pub fn new(name: &str, kind: PingKind, hosts: &[IpAddr]) -> Self {
        let host = |ip: &IpAddr| Host { address: SocketAddr::new(*ip, 0).into(), ip: *ip, open: 0 };
        Self {
            name: name.to_owned(),
            kind,
            hosts: hosts.iter().map(host).collect(),
            socket: None,
            is_raw: false,
            number: 0,
            sequence: 0,
            errors_in_row: 0,
            sent: 0,
            dropped: 0,
        }
    }

    /// The ping node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is asked.
    pub const fn kind(&self) -> PingKind {
        self.kind
    }

    /// Takes a descriptor from [`open`]. Returns the one that it replaces.
    pub fn attach(&mut self, socket: OwnedFd) -> Option<OwnedFd> {
        self.is_raw = getsockopt(&socket, sockopt::SockType).is_ok_and(|kind| kind == SockType::Raw);
        // Another one on each socket: two ping nodes may share a host.
        let number = std::process::id().wrapping_mul(64).wrapping_add(socket.as_raw_fd().unsigned_abs());
        self.number = u16::try_from(number & 0xffff).unwrap_or_default();
        self.errors_in_row = 0;
        self.socket.replace(socket)
    }

    /// Gives the descriptor up.
    pub const fn detach(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    /// The descriptor, while there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    fn words(&self) -> &'static Words {
        if self.kind == PingKind::Ping6 { &V6 } else { &V4 }
    }

    /// Asks every host; what cannot be sent is dropped and counted.
    pub fn ask(&mut self, data: &[u8]) {
        let mut packet = [0; HEADER + DATA_MAX];
        let len = HEADER + data.len();
        let Some(socket) = &self.socket else { return };
        let Some(room) = packet.get_mut(HEADER..len) else { return };
        room.copy_from_slice(data);
        packet[0] = self.words().request;
        packet[4..6].copy_from_slice(&self.number.to_ne_bytes());
        packet[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        if self.kind != PingKind::Ping6 {
            // The kernel computes that of IPv6, and on its own ping sockets.
            let sum = checksum(&packet[..len]);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        self.sequence = self.sequence.wrapping_add(1);
        let mut failure = None;
        for host in &mut self.hosts {
            host.open <<= 1;
            match sendto(socket.as_raw_fd(), &packet[..len], &host.address, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => {
                    self.sent += 1;
                    host.open |= 1;
                }
                Err(error) => {
                    self.dropped += 1;
                    failure = Some((host.ip, error));
                }
            }
        }
        match failure {
            None => self.errors_in_row = 0,
            Some((host, error)) => self.complain(host, error),
        }
    }

    fn complain(&mut self, host: IpAddr, error: Errno) {
        self.errors_in_row += 1;
        if self.errors_in_row <= ERRORS_LOGGED {
            log::error!("glib: Error sending packet to ping node {} at {host}: {}", self.name, error.desc());
        }
        if self.errors_in_row >= ERRORS_CYCLE {
            self.errors_in_row = 0;
        }
    }

    /// Takes one packet: an answer's data, or something that is none.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Received {
        let Some(socket) = &self.socket else { return Received::Nothing };
        match recvfrom::<SockaddrStorage>(socket.as_raw_fd(), buffer) {
            Ok((count, Some(source))) => self.look_at(&buffer[..count.min(buffer.len())], &source),
            Ok((_, None)) => Received::Foreign,
            Err(Errno::EAGAIN) => Received::Nothing,
            // An unreachable host is told of by what it does not answer.
            Err(_) => Received::Foreign,
        }
    }

    pub(crate) fn look_at(&mut self, packet: &[u8], source: &SockaddrStorage) -> Received {
        let Some((reply, data)) = self.unwrap(packet) else { return Received::Foreign };
        let from = source
            .as_sockaddr_in()
            .map(|address| IpAddr::V4(address.ip()))
            .or_else(|| source.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())));
        let age = self.sequence.wrapping_sub(1).wrapping_sub(reply.sequence);
        let Some(host) = self.hosts.iter_mut().find(|host| Some(host.ip) == from) else {
            return Received::Refused(packet.len(), Reject::Stranger);
        };
        if age >= ROUNDS || host.open & (1 << age) == 0 {
            return Received::Refused(packet.len(), Reject::Unasked);
        }
        host.open &= !(1 << age);
        Received::Echo { start: data.start, end: data.end }
    }

    /// An echo reply with our number, and where its data is.
    fn unwrap(&self, packet: &[u8]) -> Option<(Reply, Range<usize>)> {
        // A raw socket of IPv4 shows the IP header, too.
        let start =
            if self.is_raw && self.kind != PingKind::Ping6 { usize::from(packet.first()? & 0xf) * 4 } else { 0 };
        let header = packet.get(start..start + HEADER)?;
        let number = u16::from_ne_bytes([header[4], header[5]]);
        let is_ours = header[0] == self.words().reply && header[1] == 0 && (!self.is_raw || number == self.number);
        let reply = Reply { sequence: u16::from_be_bytes([header[6], header[7]]) };
        is_ours.then_some((reply, start + HEADER..packet.len()))
    }
}

#[cfg(any(test, fuzzing))]
impl PingSocket {
    /// As one is that has asked its host twice, rounds 0 and 1, on a raw socket with this number.
    pub(crate) fn asked_twice(host: IpAddr, kind: PingKind, number: u16) -> Self {
        let mut socket = Self::new("gw", kind, &[host]);
        (socket.is_raw, socket.number, socket.sequence, socket.hosts[0].open) = (true, number, 2, 0b11);
        socket
    }
}

struct Reply {
    sequence: u16,
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0_u32, |sum, pair| {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        sum + u32::from(word)
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn await_packet(socket: &mut PingSocket, buffer: &mut [u8]) -> Received {
        loop {
            let descriptor = socket.descriptor().unwrap();
            let ready = poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], PollTimeout::from(10_000u16)).unwrap();
            assert_eq!(ready, 1, "nothing within ten seconds");
            match socket.receive(buffer) {
                Received::Foreign | Received::Nothing => {}
                received => return received,
            }
        }
    }

    fn echoes(kind: PingKind, hosts: &[IpAddr]) {
        let mut socket = PingSocket::new("here", kind, hosts);
        socket.attach(open(hosts, kind).unwrap().descriptor);
        let mut buffer = [0; 2048];
        for round in 0..70_u8 {
            let data = [b"round ", &[round][..]].concat();
            socket.ask(&data);
            for _ in hosts {
                let Received::Echo { start, end } = await_packet(&mut socket, &mut buffer) else { panic!("no echo") };
                assert_eq!(buffer[start..end], data);
            }
        }
        assert_eq!((socket.sent, socket.dropped), (70 * hosts.len() as u64, 0));
    }

    #[test]
    fn hosts_on_the_loopback_answer() {
        echoes(PingKind::Ping, &[Ipv4Addr::LOCALHOST.into()]);
        echoes(PingKind::Group, &[Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into()]);
        echoes(PingKind::Ping6, &[Ipv6Addr::LOCALHOST.into()]);
    }

    #[test]
    fn two_nodes_with_one_host_take_each_its_own_answers() {
        let host = [Ipv4Addr::LOCALHOST.into()];
        let mut sockets = [PingKind::Ping, PingKind::Group].map(|kind| {
            let mut socket = PingSocket::new("here", kind, &host);
            socket.attach(open(&host, kind).unwrap().descriptor);
            socket
        });
        assert_ne!(sockets[0].number, sockets[1].number);
        let mut buffer = [0; 2048];
        for socket in &mut sockets {
            socket.ask(socket.kind.word().as_bytes());
        }
        for socket in &mut sockets {
            let Received::Echo { start, end } = await_packet(socket, &mut buffer) else { panic!("no echo of its own") };
            assert_eq!(&buffer[start..end], socket.kind.word().as_bytes());
        }
    }

    /// What a raw socket of IPv4 would hand over.
    fn reply(number: u16, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x45; 20];
        packet.extend([0, 0, 0, 0]);
        packet.extend(number.to_ne_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend(b"data");
        packet
    }

    #[test]
    fn answers_are_taken_once_from_whom_was_asked() {
        let host = Ipv4Addr::new(10, 0, 0, 1);
        let mut socket = PingSocket::asked_twice(host.into(), PingKind::Ping, 7);
        let from = |last| SockaddrStorage::from(SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 0)));
        assert_eq!(socket.look_at(&reply(8, 1), &from(1)), Received::Foreign, "another program's");
        assert_eq!(socket.look_at(&reply(7, 1), &from(9)), Received::Refused(32, Reject::Stranger));
        assert_eq!(socket.look_at(&reply(7, 2), &from(1)), Received::Refused(32, Reject::Unasked));
        assert_eq!(socket.look_at(&reply(7, 1), &from(1)), Received::Echo { start: 28, end: 32 });
        assert_eq!(socket.look_at(&reply(7, 1), &from(1)), Received::Refused(32, Reject::Unasked), "a second time");
        assert_eq!(
            socket.look_at(&reply(7, 0), &from(1)),
            Received::Echo { start: 28, end: 32 },
            "the late one before it"
        );
        let mut request = reply(7, 1);
        request[20] = 8;
        for cut in 0..28 {
            assert_eq!(socket.look_at(&request[..cut], &from(1)), Received::Foreign);
            assert_eq!(socket.look_at(&reply(7, 0)[..cut], &from(1)), Received::Foreign);
        }
        assert_eq!(socket.look_at(&request, &from(1)), Received::Foreign, "a request is no reply");
    }

    #[test]
    fn checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), !0xff00);
        assert_eq!(checksum(&vec![0xff; 1032]), 0);
    }
}
