//! Socket options of multicast links that `nix` wraps not at all, or by address where an interface number is wanted.

use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Passes `value` as it lies in memory.
fn set<T: Copy>(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the value is borrowed for the call with its true length, and is one of the plain structures below.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn request(group: Ipv4Addr, interface: u32) -> libc::ip_mreqn {
    libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: u32::from(group).to_be() },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: interface.cast_signed(),
    }
}

/// Datagrams to IPv4 groups leave through the interface with this number, from whatever address it has then.
///
/// # Errors
/// What setsockopt(2) says.
pub fn send_groups_through(socket: impl AsFd, interface: u32) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request(Ipv4Addr::UNSPECIFIED, interface))
}

/// Hears an IPv4 group on the interface with this number.
///
/// # Errors
/// What setsockopt(2) says.
pub fn join_group(socket: impl AsFd, group: Ipv4Addr, interface: u32) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request(group, interface))
}

/// Hears no IPv4 group that it has not joined itself. The default is to hear what any process here has joined.
///
/// # Errors
/// What setsockopt(2) says.
pub fn hear_own_groups_only(socket: impl AsFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, &0_i32)
}

/// Datagrams to IPv6 groups leave through the interface with this number.
///
/// # Errors
/// What setsockopt(2) says.
pub fn send_groups6_through(socket: impl AsFd, interface: u32) -> io::Result<()> {
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &interface.cast_signed())
}

/// Hears an IPv6 group on the interface with this number.
///
/// # Errors
/// What setsockopt(2) says.
pub fn join_group6(socket: impl AsFd, group: Ipv6Addr, interface: u32) -> io::Result<()> {
    let request =
        libc::ipv6_mreq { ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() }, ipv6mr_interface: interface };
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &request)
}

/// As [`hear_own_groups_only`], for IPv6 groups. Kernels before 4.20 do not know it: nothing is changed then.
///
/// # Errors
/// What setsockopt(2) says.
pub fn hear_own_groups6_only(socket: impl AsFd) -> io::Result<()> {
    /// linux/in6.h; not in every libc's headers.
    const IPV6_MULTICAST_ALL: libc::c_int = 29;
    match set(socket, libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL, &0_i32) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        result => result,
    }
}

/// The routers that IPv6 datagrams to groups may pass, and whether this machine hears them.
///
/// # Errors
/// What setsockopt(2) says.
pub fn set_group6_reach(socket: impl AsFd, hops: u8, is_looped: bool) -> io::Result<()> {
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &i32::from(hops))?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &i32::from(is_looped))
}

/// The routers that IPv4 datagrams to groups may pass, and whether this machine hears them.
///
/// # Errors
/// What setsockopt(2) says.
pub fn set_group_reach(socket: impl AsFd, ttl: u8, is_looped: bool) -> io::Result<()> {
    set(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &i32::from(ttl))?;
    set(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &i32::from(is_looped))
}
