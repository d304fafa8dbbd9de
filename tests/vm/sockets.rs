//! Sockets to which QEMU connects when a board is switched on.

use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::PATIENCE;

/// A place where a board's QEMU calls.
pub(crate) struct Socket {
    pub(crate) path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let path = directory.join(name);
        let listener = UnixListener::bind(&path).expect("a socket");
        Self { path, listener }
    }

    /// The connection of a QEMU that has just been started.
    pub(crate) fn accept(&self, qemu: &mut Child) -> UnixStream {
        let start = Instant::now();
        loop {
            let mut fds = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(100u8)).expect("poll") > 0 {
                return self.listener.accept().expect("a connection").0;
            }
            if let Some(status) = qemu.try_wait().expect("a child") {
                panic!(
                    "QEMU ended at once ({status}); its words are in {}",
                    self.path.with_extension("qemu").display()
                );
            }
            assert!(start.elapsed() < PATIENCE, "QEMU does not call at {}", self.path.display());
        }
    }
}
