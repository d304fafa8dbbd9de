//! The null-modem cable: two pseudo-terminals, and this process carries the bytes between them, at the speed of the line.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::libc;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::board::Side;

/// Bytes taken at once; a pseudo-terminal holds no more.
const CHUNK: usize = 4096;
/// On the line, for each byte: start, eight, stop.
const BITS_PER_BYTE: u32 = 10;

/// The cable. While it is cut, bytes vanish.
#[derive(Debug)]
pub(super) struct Cable {
    ends: [End; 2],
    /// Whether it is pulled.
    pub(super) is_cut: bool,
    /// Bits a second.
    pub(super) baud: u32,
}

#[derive(Debug)]
struct End {
    master: PtyMaster,
    path: PathBuf,
    /// Open for as long as the cable is there: without it the other end hangs up when a node ends.
    _slave: File,
    /// When the node there last sent something.
    spoke_at: Option<Instant>,
    /// What the node there has sent, with the moment at which its last bit arrives.
    under_way: VecDeque<(Instant, Vec<u8>)>,
}

impl Cable {
    /// A new one, plugged in.
    ///
    /// # Errors
    /// When there are no pseudo-terminals.
    pub(super) fn new(baud: u32) -> io::Result<Self> {
        Ok(Self { ends: [End::new()?, End::new()?], is_cut: false, baud })
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

    /// When the next bytes arrive.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ends.iter().filter_map(|end| end.under_way.front()).map(|(arrives_at, _)| *arrives_at).min()
    }

    /// Carries what was sent, and delivers what has arrived. A board without power (`is_on`) takes nothing.
    pub(super) fn carry(&mut self, now: Instant, is_on: [bool; 2]) {
        for side in Side::BOTH {
            let (from, to) = (side.index(), side.other().index());
            let mut chunk = [0; CHUNK];
            while let Ok(count @ 1..) = self.ends[from].master.read(&mut chunk) {
                let time =
                    Duration::from_secs(1) * BITS_PER_BYTE * u32::try_from(count).unwrap_or(u32::MAX) / self.baud;
                let end = &mut self.ends[from];
                end.spoke_at = Some(now);
                let free_at = end.under_way.back().map_or(now, |(arrives_at, _)| (*arrives_at).max(now));
                end.under_way.push_back((free_at + time, chunk[..count].to_vec()));
            }
            while self.ends[from].under_way.front().is_some_and(|(arrives_at, _)| *arrives_at <= now) {
                let bytes = self.ends[from].under_way.pop_front().map(|(_, bytes)| bytes).unwrap_or_default();
                if !self.is_cut && is_on[to] {
                    // What does not fit is lost, as on a line whose receiver is too slow.
                    let _ = self.ends[to].master.write(&bytes);
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
        Ok(Self { master, path, _slave: slave, spoke_at: None, under_way: VecDeque::new() })
    }
}

#[cfg(test)]
mod tests {
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
        let mut cable = Cable::new(115_200).unwrap();
        let (mut alpha, mut beta) = (open(&cable, Side::Alpha), open(&cable, Side::Beta));
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut buffer = [0; 16];

        alpha.write_all(b"\x03\n\r\x04").unwrap();
        assert!(wait(cable.descriptors().next().unwrap(), 10_000));
        cable.carry(start, [true, true]);
        assert!(!wait(beta.as_fd(), 0));
        let arrives_at = cable.deadline().unwrap();
        assert_eq!((arrives_at - start).as_micros(), 347, "four bytes");
        cable.carry(arrives_at, [true, true]);
        assert!(wait(beta.as_fd(), 10_000));
        assert_eq!(beta.read(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"\x03\n\r\x04");
        assert_eq!((cable.spoke_at(Side::Alpha), cable.spoke_at(Side::Beta)), (Some(start), None));

        cable.is_cut = true;
        beta.write_all(b"lost").unwrap();
        assert!(wait(cable.descriptors().nth(1).unwrap(), 10_000));
        cable.carry(later, [true, true]);
        assert_eq!(cable.spoke_at(Side::Beta), Some(later));
        let later = later + Duration::from_secs(1);
        cable.carry(later, [true, true]);

        cable.is_cut = false;
        beta.write_all(b"late").unwrap();
        assert!(wait(cable.descriptors().nth(1).unwrap(), 10_000));
        cable.carry(later, [true, true]);
        cable.carry(later + Duration::from_secs(1), [true, true]);
        assert!(wait(alpha.as_fd(), 10_000));
        assert_eq!((alpha.read(&mut buffer).unwrap(), &buffer[..4]), (4, &b"late"[..]), "and nothing of what was lost");
    }

    #[test]
    fn cable_to_a_board_without_power_takes_everything() {
        let mut cable = Cable::new(115_200).unwrap();
        let mut alpha = open(&cable, Side::Alpha);
        let start = Instant::now();
        for second in 0..100 {
            alpha.write_all(&[b'x'; 1000]).unwrap();
            assert!(wait(cable.descriptors().next().unwrap(), 10_000));
            cable.carry(start + Duration::from_secs(second), [true, false]);
        }
        let beta = open(&cable, Side::Beta);
        assert!(!wait(beta.as_fd(), 0));
    }
}
