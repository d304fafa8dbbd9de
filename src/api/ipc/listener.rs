//! The listening side, and the first step of the other one.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use super::Connection;
use crate::core::time::{Duration, Instant};
use crate::sys::pidfd;

/// How often refused connections are mentioned.
const REFUSALS_PAUSE: Duration = Duration::from_secs(60);
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
/// What socket(2), bind(2), listen(2) and unlink(2) say; a missing old file is none.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind_with_mode(&listener, path, mode)?;
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

/// The file has its mode from the beginning: a chmod(2) of the path afterwards could be led to another file by whoever owns
/// the directory. The mask is the whole process's, which has one thread.
fn bind_with_mode(listener: &OwnedFd, path: &Path, mode: u32) -> nix::Result<()> {
    let before = umask(Mode::from_bits_truncate(!mode & 0o777));
    let bound = UnixAddr::new(path).and_then(|address| bind(listener.as_raw_fd(), &address));
    umask(before);
    bound
}

/// Whether a user has taken its share of so many `places` for connections: half of them, so that nobody but root can keep
/// everybody else out.
pub fn has_its_share<'c>(connections: impl Iterator<Item = &'c Connection>, places: usize, uid: u32) -> bool {
    let taken = connections.filter(|connection| connection.peer().uid == uid).count();
    uid != 0 && taken >= places / 2
}

/// Counts connections that were refused, or something else that is not worth a line each time.
#[derive(Debug, Default)]
pub struct Refusals {
    count: u64,
    quiet_until: Option<Instant>,
}

impl Refusals {
    /// One more. All of them, when it is time to say so: at once, and then once a minute while there are more.
    pub fn note(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        let is_quiet = self.quiet_until.is_some_and(|until| now < until);
        (!is_quiet).then(|| {
            self.quiet_until = Some(now + REFUSALS_PAUSE);
            self.count
        })
    }
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

/// The process at the other end, to be asked for as soon as the connection has been taken: its number may be another's soon.
/// `None`: it is not visible from here (another PID namespace), or has gone.
pub fn process_of(socket: &OwnedFd, peer: Peer) -> Option<OwnedFd> {
    if peer.pid <= 0 {
        return None;
    }
    match getsockopt(socket, PeerPidfd) {
        Ok(process) => Some(process),
        // Before Linux 6.5.
        Err(Errno::ENOPROTOOPT) => pidfd::open(Pid::from_raw(peer.pid)).ok(),
        Err(_) => None,
    }
}
