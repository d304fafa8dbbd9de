//! The null-modem cable: two pseudo-terminals, and this process carries the bytes between them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::fcntl::OFlag;
use nix::libc;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::board::Side;

/// Bytes taken at once; a pseudo-terminal holds no more.
const CHUNK: usize = 4096;

/// The cable. While it is cut, bytes vanish.
#[derive(Debug)]
pub(super) struct Cable {
    ends: [End; 2],
    /// Whether it is pulled.
    pub(super) is_cut: bool,
}

#[derive(Debug)]
struct End {
    master: PtyMaster,
    path: PathBuf,
    /// Open for as long as the cable is there: without it the other end hangs up when a node ends.
    _slave: File,
    /// When the node there last sent something.
    spoke_at: Option<Instant>,
}

impl Cable {
    /// A new one, plugged in.
    ///
    /// # Errors
    /// When there are no pseudo-terminals.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { ends: [End::new()?, End::new()?], is_cut: false })
    }

    /// The serial device of a board.
    pub(super) fn device(&self, side: Side) -> &Path {
        &self.ends[side.index()].path
    }

    /// When a node last sent something into the cable.
    pub(super) const fn spoke_at(&self, side: Side) -> Option<Instant> {
        self.ends[side.index()].spoke_at
    }

    /// Both ends, to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ends.iter().map(|end| end.master.as_fd())
    }

    /// Carries what has arrived. A board without power (`is_on`) takes nothing.
    pub(super) fn carry(&mut self, now: Instant, is_on: [bool; 2]) {
        for side in Side::BOTH {
            let mut chunk = [0; CHUNK];
            while let Ok(count @ 1..) = self.ends[side.index()].master.read(&mut chunk) {
                self.ends[side.index()].spoke_at = Some(now);
                let to = side.other().index();
                if !self.is_cut && is_on[to] {
                    // What does not fit is lost, as on a line whose receiver is too slow.
                    let _ = self.ends[to].master.write(&chunk[..count]);
                }
            }
        }
    }
}

impl End {
    fn new() -> io::Result<Self> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname_r(&master)?);
        let slave = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&path)?;
        // From the first moment on: an echo would be a message to oneself.
        let mut settings = tcgetattr(&slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
        Ok(Self { master, path, _slave: slave, spoke_at: None })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn open(cable: &Cable, side: Side) -> File {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(cable.device(side)).unwrap()
    }

    fn wait(descriptor: BorrowedFd<'_>, limit_ms: u16) -> bool {
        poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], PollTimeout::from(limit_ms)).unwrap() == 1
    }

    #[test]
    fn cable_carries_raw_bytes_both_ways_until_it_is_cut() {
        let mut cable = Cable::new().unwrap();
        let (mut alpha, mut beta) = (open(&cable, Side::Alpha), open(&cable, Side::Beta));
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut buffer = [0; 16];

        alpha.write_all(b"\x03\n\r\x04").unwrap();
        assert!(wait(cable.descriptors().next().unwrap(), 10_000));
        cable.carry(start, [true, true]);
        assert!(wait(beta.as_fd(), 10_000));
        assert_eq!(beta.read(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"\x03\n\r\x04");
        assert_eq!((cable.spoke_at(Side::Alpha), cable.spoke_at(Side::Beta)), (Some(start), None));

        cable.is_cut = true;
        beta.write_all(b"lost").unwrap();
        assert!(wait(cable.descriptors().nth(1).unwrap(), 10_000));
        cable.carry(later, [true, true]);
        assert_eq!(cable.spoke_at(Side::Beta), Some(later));

        cable.is_cut = false;
        beta.write_all(b"late").unwrap();
        assert!(wait(cable.descriptors().nth(1).unwrap(), 10_000));
        cable.carry(later, [true, true]);
        assert!(wait(alpha.as_fd(), 10_000));
        assert_eq!((alpha.read(&mut buffer).unwrap(), &buffer[..4]), (4, &b"late"[..]), "and nothing of what was lost");
    }

    #[test]
    fn cable_to_a_board_without_power_takes_everything() {
        let mut cable = Cable::new().unwrap();
        let mut alpha = open(&cable, Side::Alpha);
        for _ in 0..100 {
            alpha.write_all(&[b'x'; 1000]).unwrap();
            assert!(wait(cable.descriptors().next().unwrap(), 10_000));
            cable.carry(Instant::now(), [true, false]);
        }
        let beta = open(&cable, Side::Beta);
        assert!(!wait(beta.as_fd(), 0));
    }
}
