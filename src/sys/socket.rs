//! Socket calls whose safe wrapping needs a raw descriptor turned into an owned one.

use std::io;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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
