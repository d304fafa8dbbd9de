//! Whole Ethernet frames out of an interface (packet(7)).

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;

#[expect(clippy::cast_possible_truncation, reason = "17 and 20")]
const FAMILY: libc::c_ushort = libc::AF_PACKET as libc::c_ushort;
#[expect(clippy::cast_possible_truncation, reason = "17 and 20")]
const LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// A socket that only sends.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Non-blocking, close-on-exec; receives nothing.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        const KIND: libc::c_int = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: three integers go in. Protocol 0: nothing is delivered to it.
        let raw = unsafe { libc::socket(libc::AF_PACKET, KIND, 0) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// Sends `frame`, Ethernet header included, out of the interface with number `interface`.
    ///
    /// # Errors
    /// What sendto(2) says; `WouldBlock` when the queue of the interface is full.
    pub fn send(&self, interface: i32, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the structure is plain integers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = FAMILY;
        if let Some(&[high, low]) = frame.get(12..14) {
            // In network byte order, as in the frame.
            address.sll_protocol = u16::from_ne_bytes([high, low]);
        }
        address.sll_ifindex = interface;
        address.sll_halen = 6;
        // SAFETY: frame and address are borrowed for the call, with their true lengths.
        let sent = unsafe {
            libc::sendto(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const address).cast(), LENGTH)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
