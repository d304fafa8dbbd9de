//! Socket calls whose safe wrapping needs a raw descriptor turned into an owned one.

use std::io;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

/// Room for the control message of a few descriptors, aligned as the kernel's structure asks for.
#[repr(align(8))]
struct ControlBuffer([u8; 64]);

/// One record from a Unix socket and the descriptor that came with it (SCM_RIGHTS, close-on-exec set).
///
/// Returns the number of bytes, zero at the end of the connection. Of several descriptors the first is returned and
/// the others are closed. Does not block on a non-blocking socket.
///
/// # Errors
/// What recvmsg(2) says, `WouldBlock` when nothing is there.
pub fn receive_with_descriptor(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = ControlBuffer([0; 64]);
    let mut slices = [IoSliceMut::new(buffer)];
    let received = recvmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control.0),
        MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT,
    )?;
    let mut first = None;
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = message {
            for descriptor in descriptors {
                // SAFETY: the kernel has just installed this descriptor for us alone; nothing else knows its number.
                let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
                first.get_or_insert(owned);
            }
        }
    }
    Ok((received.bytes, first))
}

/// Numbers of linux/icmp.h and RFC 3542 that `libc` does not have for every target.
const ICMP_FILTER: libc::c_int = 1;
const ICMPV6_FILTER: libc::c_int = 1;
const ECHO_REPLY: u32 = 0;
const ECHO_REPLY_V6: u32 = 129;

/// Lets the kernel drop everything but echo replies on a raw ICMP socket.
///
/// # Errors
/// What setsockopt(2) says.
pub fn hear_echo_replies_only(socket: BorrowedFd<'_>, is_v6: bool) -> io::Result<()> {
    // A set bit drops the type of its number.
    let mut dropped = [u32::MAX; 8];
    let (level, name, words, passed) = if is_v6 {
        (libc::IPPROTO_ICMPV6, ICMPV6_FILTER, 8, ECHO_REPLY_V6)
    } else {
        (libc::SOL_RAW, ICMP_FILTER, 1, ECHO_REPLY)
    };
    dropped[(passed / 32) as usize] &= !(1 << (passed % 32));
    let length = libc::socklen_t::try_from(words * size_of::<u32>()).unwrap_or(0);
    // SAFETY: the kernel reads `length` bytes, which `dropped` has, and keeps no pointer to them.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, dropped.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
