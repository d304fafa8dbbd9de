//! A null-modem cable at the true speed of its line: a process of the real-time class between two pseudo-terminals.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::ttyname;

use super::board::now;
use super::lab::NAMES;
use super::tap::is_compact_beat;

/// The word by which this program knows that it is a null-modem cable.
pub(crate) const WORD: &str = "--cable";
/// On the line, for each byte: start, eight, stop.
const BITS_PER_BYTE: u32 = 10;
/// Bytes handed over at once: a FIFO's worth.
const PORTION: usize = 16;

/// The line that names a serial link, once the cable has told its ends.
pub(crate) fn serial<const BAUD: u32>(node: usize, _: usize) -> String {
    let end = fs::read_to_string(file(BAUD, NAMES[node])).unwrap_or_default();
    format!("baud {BAUD}\nserial {}\n", end.trim())
}

/// There is one cable of each speed.
fn file(baud: u32, name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bench-cable-{}-{baud}-{name}", std::process::id()))
}

/// This program in another role; killed when dropped.
pub(crate) struct Helper(Child);

impl Helper {
    pub(crate) fn start(words: &[&str]) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self(Command::new(program).args(words).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The cable's process and what it left.
pub(crate) struct Cable {
    _helper: Helper,
    baud: u32,
}

impl Cable {
    /// A cable does not wait for a processor: it runs above everything else.
    pub(crate) fn lay(baud: u32) -> io::Result<Self> {
        let files = [NAMES[0], NAMES[1], "beats"].map(|name| file(baud, name));
        files.iter().for_each(|file| drop(fs::remove_file(file)));
        let program = std::env::current_exe()?;
        let child = Command::new("chrt")
            .args(["--fifo", "60"])
            .arg(program)
            .arg(WORD)
            .args(&files)
            .arg(baud.to_string())
            .stdin(Stdio::null())
            .spawn()?;
        let cable = Self { _helper: Helper(child), baud };
        let start = Instant::now();
        while !files[2].exists() {
            if start.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("no pseudo-terminals"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(cable)
    }

    /// The moments at which a beat left alpha, in nanoseconds since 1970.
    pub(crate) fn beats(&self) -> io::Result<Vec<u64>> {
        let text = fs::read_to_string(file(self.baud, "beats"))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in [NAMES[0], NAMES[1], "beats"] {
            let _ = fs::remove_file(file(self.baud, name));
        }
    }
}

/// A null-modem cable of so many baud between two pseudo-terminals whose names go into two files; into the third go the
/// moments at which a status left alpha.
pub(crate) fn carry(files: &[String]) -> io::Result<()> {
    let [alpha, beta, beats, baud] = files else { return Err(io::Error::other("--cable ALPHA BETA BEATS BAUD")) };
    let speed = baud.parse::<u32>().map_err(io::Error::other)? / BITS_PER_BYTE;
    let (left, right) = (openpty(None, None)?, openpty(None, None)?);
    // The slaves stay open here, so that a daemon's absence is silence and no hang-up.
    for (slave, file) in [(&left.slave, alpha), (&right.slave, beta)] {
        let mut settings = tcgetattr(slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(slave, SetArg::TCSANOW, &settings)?;
        fs::write(file, ttyname(slave.as_fd())?.display().to_string())?;
    }
    let beats = File::create(beats)?;
    let (from_right, to_left) = (right.master.try_clone()?, left.master.try_clone()?);
    thread::spawn(move || direction(from_right, to_left, None, speed));
    direction(left.master, right.master, Some(beats), speed)
}

/// Whether a status begins in these bytes: Heartbeat's, or a compact beat, whose first byte stands behind a delimiter and the
/// first code of its stuffing.
fn is_beat(bytes: &[u8]) -> bool {
    let is_compact = |window: &[u8]| matches!(window, [0, code, kind] if *code > 0 && is_compact_beat(*kind));
    bytes.windows(8).any(|bytes| bytes == b"t=status") || bytes.windows(3).any(is_compact)
}

/// `speed`: bytes a second.
fn direction(from: OwnedFd, to: OwnedFd, mut beats: Option<File>, speed: u32) -> io::Result<()> {
    let (mut from, mut to) = (File::from(from), File::from(to));
    let mut buffer = [0; 4096];
    let mut free_at = Instant::now();
    loop {
        let count = from.read(&mut buffer)?;
        if let Some(beats) = &mut beats
            && is_beat(&buffer[..count])
        {
            writeln!(beats, "{}", now())?;
        }
        for portion in buffer[..count].chunks(PORTION) {
            let bytes = u32::try_from(portion.len()).map_err(io::Error::other)?;
            free_at = free_at.max(Instant::now()) + Duration::from_secs(1) * bytes / speed;
            sleep(free_at.saturating_duration_since(Instant::now()));
            to.write_all(portion)?;
        }
    }
}
