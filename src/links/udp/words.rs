//! What the original says about its media in the log (spec/wire.md 11.1, 11.2).

use std::net::Ipv6Addr;

use nix::errno::Errno;
use nix::sys::socket::SockaddrStorage;

use crate::config::Medium;

/// The link has been opened.
pub(super) fn tell_open(medium: &Medium) {
    match medium {
        Medium::Serial { .. } | Medium::Ping { .. } => {}
        Medium::Ucast { interface, peer, port, .. } => {
            log::info!("glib: ucast: started on port {port} interface {interface} to {peer}");
        }
        Medium::Bcast { interface, port } => {
            log::info!("glib: UDP Broadcast heartbeat started on port {port} ({port}) interface {interface}");
        }
        Medium::Mcast { interface, group, port, ttl, is_looped } => {
            let looped = u8::from(*is_looped);
            log::info!(
                "glib: UDP multicast heartbeat started for group {group} port {port} interface {interface} (ttl={ttl} loop={looped})"
            );
        }
        Medium::Ucast6 { interface, peer, port } => {
            let scope = Scope(*peer, interface);
            log::info!("glib: ucast6: heartbeat started for [{peer}{scope}]:{port} on interface {interface}");
        }
        Medium::Mcast6 { interface, group, port, hops, is_looped } => {
            let looped = u8::from(*is_looped);
            log::info!(
                "glib: UDP multicast heartbeat started for [{group}]:{port} on interface {interface} (hops={hops} loop={looped})"
            );
        }
    }
}

/// A datagram to `to` was not sent.
pub(super) fn tell_failure(medium: &Medium, to: &SockaddrStorage, len: usize, error: Errno) {
    let (word, interface, reason) = (medium.word(), medium.interface(), error.desc());
    match medium {
        // No blank, as in the original.
        Medium::Ucast6 { peer: address, port, .. } | Medium::Mcast6 { group: address, port, .. } => {
            let to = Scope(*address, interface);
            log::error!(
                "glib: {word}_write: Unable to send HBcomm packet {interface}[{address}{to}]:{port} len={len} [-1]: {reason}"
            );
        }
        _ => log::error!("glib: {word}_write: Unable to send HBcomm packet {interface} {to} len={len} [-1]: {reason}"),
    }
    log::error!("write_child: write failure on {word} {interface}.: {reason}");
}

/// No more is said about a while's failures.
pub(super) fn tell_silence(medium: &Medium) {
    log::warn!("Temporarily Suppressing write error messages");
    log::warn!("Is a cable unplugged on {} {}?", medium.word(), medium.interface());
}

/// The scope of an address that needs one.
struct Scope<'a>(Ipv6Addr, &'a str);

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_unicast_link_local() { write!(f, "%{}", self.1) } else { Ok(()) }
    }
}
