//! The FIFO by which the package's own shell tools speak to the daemon (spec/api.md section 5): made and opened by the
//! guardian, read by the engine.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::control::Sheet;
use crate::core::time::{Duration, Instant};
use crate::wire::heartbeat::{FifoCounters, FifoStream};

/// Its name in the state directory.
pub const FIFO_NAME: &str = "fifo";
/// Bytes read in one turn.
const READ_MAX: usize = 4096;
/// Bytes read in a second: the tools write fifty for each command. What comes beyond waits in the pipe, and then its
/// writer does.
const BYTES_PER_SECOND: usize = 64 * 1024;
/// Messages that are logged in a minute; the rest is counted.
const LINES_PER_MINUTE: u32 = 60;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Makes the FIFO unless it is there, for root alone, and opens it. What is no FIFO in its place is replaced: a tool
/// that ran before the first daemon has left a file there (spec/resources.md section 20).
///
/// # Errors
/// What mkfifo(2), open(2) and the like say.
pub fn open(directory: &Path) -> io::Result<OwnedFd> {
    let path = directory.join(FIFO_NAME);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.file_type().is_fifo() => {
            if found.mode() & 0o7777 != 0o600 {
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            }
        }
        Ok(_) => {
            fs::remove_file(&path)?;
            make(directory, &path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(directory, &path)?,
        Err(error) => return Err(error),
    }
    // For both: the end of a writer shall never be the end of the file.
    Ok(fs::OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(&path)?.into())
}

fn make(directory: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    Ok(mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?)
}

/// The engine's end.
#[derive(Debug)]
pub struct Fifo {
    file: File,
    stream: Box<FifoStream>,
    /// Beginning of the second in which bytes are counted, and how many it has seen.
    second: (Instant, usize),
}

/// What the log is told about the FIFO, as far as there is room in a minute.
#[derive(Debug)]
pub struct FifoLog {
    minute: (Instant, u32),
    /// Words of an outcome.
    pub words: Sheet,
}

impl Default for FifoLog {
    fn default() -> Self {
        Self { minute: (Instant::ZERO, 0), words: Sheet::new(160) }
    }
}

impl FifoLog {
    /// Whether one more line may go to the log.
    pub fn may_log(&mut self, now: Instant) -> bool {
        if now >= self.minute.0 + MINUTE {
            self.minute = (now, 0);
        }
        self.minute.1 = self.minute.1.saturating_add(1);
        self.minute.1 <= LINES_PER_MINUTE
    }
}

impl Fifo {
    /// Reads from what [`open`] has opened.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self { file: File::from(descriptor), stream: Box::default(), second: (Instant::ZERO, 0) }
    }

    /// Where messages are found.
    pub fn stream(&mut self) -> &mut FifoStream {
        &mut self.stream
    }

    /// What has come so far.
    pub fn counters(&self) -> FifoCounters {
        self.stream.counters()
    }

    /// Takes what is there, at most a portion, into `buffer`; nothing once a second has had enough.
    pub fn read(&mut self, now: Instant, buffer: &mut [u8]) -> usize {
        if now >= self.second.0 + SECOND {
            self.second = (now, 0);
        }
        let room = READ_MAX.min(BYTES_PER_SECOND - self.second.1).min(buffer.len());
        let count = if room > 0 { self.file.read(&mut buffer[..room]).unwrap_or(0) } else { 0 };
        self.second.1 += count;
        count
    }

    /// When it shall be looked at again, if it has brought too much to be looked at now.
    pub fn paused_until(&self) -> Option<Instant> {
        (self.second.1 >= BYTES_PER_SECOND).then(|| self.second.0 + SECOND)
    }
}

impl AsFd for Fifo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn scratch() -> std::path::PathBuf {
        nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-fifo-XXXXXX")).unwrap()
    }

    #[test]
    fn fifo_is_made_for_its_owner_alone_and_replaces_a_file() {
        let directory = scratch();
        let path = directory.join(FIFO_NAME);
        fs::write(&path, "left by a tool").unwrap();
        open(&directory).unwrap();
        let is_right = || {
            let found = fs::symlink_metadata(&path).unwrap();
            found.file_type().is_fifo() && found.mode() & 0o7777 == 0o600
        };
        assert!(is_right());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        open(&directory).unwrap();
        assert!(is_right());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn fifo_gives_no_more_than_its_share_of_a_second_and_never_waits() {
        let directory = scratch();
        let descriptor = open(&directory).unwrap();
        let mut writer =
            fs::OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(directory.join(FIFO_NAME)).unwrap();
        let mut fifo = Fifo::new(descriptor);
        let mut buffer = [0; 2 * READ_MAX];
        let start = Instant::from_millis(5000);
        assert_eq!(fifo.read(start, &mut buffer), 0);
        let mut taken = 0;
        while fifo.paused_until().is_none() {
            let _ = writer.write(&[b'x'; READ_MAX]);
            taken += fifo.read(start, &mut buffer);
        }
        assert_eq!((taken, fifo.paused_until()), (BYTES_PER_SECOND, Some(start + SECOND)));
        writer.write_all(b"more").unwrap();
        assert_eq!(fifo.read(start, &mut buffer), 0);
        assert_eq!(fifo.read(start + SECOND, &mut buffer), 4);
        assert_eq!(fifo.paused_until(), None);
        fs::remove_dir_all(directory).unwrap();
    }
}
