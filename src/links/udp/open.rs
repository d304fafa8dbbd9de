//! The guardian's half: sockets as the original has them (spec/wire.md 11.1), but one for both directions. The peer of old
//! does not look at the sender's port.
//!
//! Where the original tries to bind for up to fifty seconds before it goes on, here the first attempt tells, and the
//! engine asks again: a link that is not there does not keep the others waiting.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{
    BindToDevice, Broadcast, DontRoute, Ipv4PacketInfo, Ipv4Tos, Ipv6V6Only, RcvBuf, ReuseAddr, ReusePort, SndBuf,
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, bind, setsockopt, socket,
};

use crate::links::Opened;
use crate::sys::udp;

/// `IPTOS_LOWDELAY`.
const LOW_DELAY: i32 = 0x10;
/// What the original asks for on IPv6 sockets; the kernel gives what it allows.
const BUFFER: usize = 1 << 20;

fn new(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, SockProtocol::Udp)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    if family == AddressFamily::Inet6 {
        // IPv4 datagrams belong to IPv4 sockets, whichever was bound first.
        setsockopt(&socket, Ipv6V6Only, &true)?;
        setsockopt(&socket, RcvBuf, &BUFFER)?;
        setsockopt(&socket, SndBuf, &BUFFER)?;
        udp::hear_own_groups6_only(&socket)?;
    } else {
        udp::hear_own_groups_only(&socket)?;
    }
    Ok(socket)
}

/// Binding to the interface needs a privilege on kernels before 5.7; without it a warning is logged once and the routing
/// table decides.
fn bind_to(socket: &OwnedFd, interface: &str) -> io::Result<()> {
    static IS_WARNED: AtomicBool = AtomicBool::new(false);
    match setsockopt(socket, BindToDevice, &OsString::from(interface)) {
        Err(Errno::EPERM) => {
            if !IS_WARNED.swap(true, Ordering::Relaxed) {
                log::warn!("Not permitted to bind a socket to interface {interface}: the routing table picks the way");
            }
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Bound to `address` (or any) and `port` on `interface`.
///
/// # Errors
/// An errno: `ENODEV` when there is no such interface, `EADDRINUSE`, `EADDRNOTAVAIL`, …
pub fn ucast(interface: &str, address: Option<Ipv4Addr>, port: u16) -> io::Result<Opened> {
    let socket = new(AddressFamily::Inet)?;
    setsockopt(&socket, Ipv4Tos, &LOW_DELAY)?;
    // Several `ucast` lines may share an interface; the kernel then gives each datagram to one of the sockets.
    setsockopt(&socket, ReusePort, &true)?;
    bind_to(&socket, interface)?;
    setsockopt(&socket, Ipv4PacketInfo, &true)?;
    let local = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(local, port)))?;
    Ok(Opened { descriptor: socket, detail: 0 })
}

/// Bound to any address and `port` on `interface`; the detail is its broadcast address.
///
/// # Errors
/// An errno: `ENODEV` when there is no such interface, `EADDRNOTAVAIL` while it has no address, …
pub fn bcast(interface: &str, port: u16) -> io::Result<Opened> {
    let socket = new(AddressFamily::Inet)?;
    setsockopt(&socket, Broadcast, &true)?;
    setsockopt(&socket, DontRoute, &true)?;
    bind_to(&socket, interface)?;
    let address = broadcast_address(interface)?;
    setsockopt(&socket, Ipv4PacketInfo, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    Ok(Opened { descriptor: socket, detail: address.into() })
}

/// Bound to `group` and `port`, a member of the group on `interface`.
///
/// # Errors
/// As [`bcast`].
pub fn mcast(interface: &str, group: Ipv4Addr, port: u16, ttl: u8, is_looped: bool) -> io::Result<Opened> {
    let index = if_nametoindex(interface)?;
    // Datagrams would leave with another interface's address.
    address_of(interface)?;
    let socket = new(AddressFamily::Inet)?;
    udp::send_groups_through(&socket, index)?;
    udp::set_group_reach(&socket, ttl, is_looped)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(group, port)))?;
    udp::join_group(&socket, group, index)?;
    Ok(Opened { descriptor: socket, detail: 0 })
}

/// Bound to any address and `port` on `interface`; the detail is its number.
///
/// # Errors
/// An errno: `ENODEV` when there is no such interface, …
pub fn ucast6(interface: &str, port: u16) -> io::Result<Opened> {
    let index = if_nametoindex(interface)?;
    let socket = new(AddressFamily::Inet6)?;
    setsockopt(&socket, ReusePort, &true)?;
    bind_to(&socket, interface)?;
    bind(socket.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)))?;
    Ok(Opened { descriptor: socket, detail: index })
}

/// Bound to `group` and `port`, a member of the group on `interface`; the detail is its number.
///
/// # Errors
/// As [`ucast6`].
pub fn mcast6(interface: &str, group: Ipv6Addr, port: u16, hops: u8, is_looped: bool) -> io::Result<Opened> {
    let index = if_nametoindex(interface)?;
    let socket = new(AddressFamily::Inet6)?;
    udp::send_groups6_through(&socket, index)?;
    udp::set_group6_reach(&socket, hops, is_looped)?;
    bind(socket.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(group, port, 0, index)))?;
    udp::join_group6(&socket, group, index)?;
    Ok(Opened { descriptor: socket, detail: index })
}

/// The first IPv4 address of an interface, its netmask, and its broadcast address when one was given to it.
fn address_of(interface: &str) -> io::Result<(Ipv4Addr, Ipv4Addr, Option<Ipv4Addr>)> {
    let ip = |address: Option<nix::sys::socket::SockaddrStorage>| Some(address?.as_sockaddr_in()?.ip());
    getifaddrs()?
        .filter(|known| known.interface_name == interface)
        .find_map(|known| Some((ip(known.address)?, ip(known.netmask)?, ip(known.broadcast))))
        .ok_or_else(|| Errno::EADDRNOTAVAIL.into())
}

fn broadcast_address(interface: &str) -> io::Result<Ipv4Addr> {
    let (address, mask, given) = address_of(interface)?;
    let computed = Ipv4Addr::from(u32::from(address) | !u32::from(mask));
    match given.filter(|given| !given.is_unspecified()) {
        Some(given) => Ok(given),
        // The kernel takes the last address of a network for its broadcast address even when none was given, unless the
        // network has one or two addresses only.
        None if u32::from(mask) < u32::MAX - 1 => Ok(computed),
        None => Err(Errno::EADDRNOTAVAIL.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_missing_is_an_errno() {
        let v6 = "ff02::694".parse().unwrap();
        let attempts = [
            ucast("nonexistent0", None, 0),
            bcast("nonexistent0", 0),
            mcast("nonexistent0", Ipv4Addr::new(225, 0, 0, 1), 0, 1, false),
            ucast6("nonexistent0", 0),
            mcast6("nonexistent0", v6, 0, 1, false),
        ];
        for attempt in attempts {
            assert_eq!(attempt.unwrap_err().raw_os_error(), Some(Errno::ENODEV as i32));
        }
    }

    #[test]
    fn broadcast_address_is_that_of_the_network() {
        assert_eq!(broadcast_address("lo").unwrap(), Ipv4Addr::new(127, 255, 255, 255));
        assert!(broadcast_address("nonexistent0").is_err());
    }
}
