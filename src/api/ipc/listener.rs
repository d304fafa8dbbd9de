//! The listening side, and the first step of the other one.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, socket};

/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Who is at the other end, as of connect(2) (SO_PEERCRED).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process; zero when it is not visible from here (another PID namespace).
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group; others that it belongs to are not told.
    pub gid: u32,
}

/// A listening socket at `path`, non-blocking and closed on exec. What is left of an earlier one is removed before; the
/// permissions are `mode`, 0777 for most of Heartbeat's sockets: who may do what is decided by [`Peer`], not by the file.
///
/// Who closes it for good removes the file.
///
/// # Errors
/// What socket(2), bind(2), chmod(2), listen(2) and unlink(2) say; a missing old file is none.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    nix::sys::socket::listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(UnixListener::from(listener))
}

/// A connection to the service at `path`, non-blocking and closed on exec. It keeps nobody waiting, not even until it is made.
///
/// # Errors
/// What socket(2) and connect(2) say: nobody listens, or so many wait already that there is no room for one more.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// The next connection that waits, non-blocking and closed on exec; `None` when there is none.
///
/// # Errors
/// What accept(2) says beyond that: out of descriptors, mostly. A connection that has gone meanwhile is none.
pub fn accept(listener: &UnixListener) -> io::Result<Option<(OwnedFd, Peer)>> {
    let socket = match listener.accept() {
        Ok((socket, _)) => socket,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => Ok(None),
                _ => Err(error),
            };
        }
    };
    socket.set_nonblocking(true)?;
    let credentials = getsockopt(&socket, PeerCredentials)?;
    let peer = Peer { pid: credentials.pid(), uid: credentials.uid(), gid: credentials.gid() };
    Ok(Some((socket.into(), peer)))
}
