//! The places a log line can go to. None of them keeps the logger waiting longer than a disk does.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::services::logd::FACILITIES;
use crate::daemon::log_pipe::{Level, LogLine};

use super::line::Writer;

/// How often a file's place is looked at for rotation, and a failed open or connect is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// Number of a facility; `none` and what is unknown have no number.
pub(in crate::daemon) fn facility_number(name: &str) -> Option<u8> {
    FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// One place.
pub(super) enum Outlet {
    File(FileOutlet),
    Syslog(SyslogOutlet),
    Stderr(StderrOutlet),
}

impl Outlet {
    /// Takes a line, to be written by [`flush`](Self::flush) at the latest.
    pub(super) fn put(&mut self, writer: &mut Writer, line: &LogLine<'_>) {
        match self {
            Self::File(file) if line.level <= file.least => writer.file_line(line, &mut file.pending),
            Self::File(_) => {}
            Self::Syslog(syslog) => syslog.put(writer, line),
            Self::Stderr(stderr) => stderr.put(writer, line),
        }
    }

    /// Opens a file anew before the next line.
    pub(super) fn reopen(&mut self) {
        if let Self::File(file) = self {
            file.file = None;
            file.next_look = None;
        }
    }

    /// Writes what is pending. Tells when trouble begins and when it is over.
    pub(super) fn flush(&mut self, now: Instant) -> Option<(Level, String)> {
        match self {
            Self::File(file) => file.flush(now),
            Self::Syslog(syslog) => syslog.losses.news("syslog"),
            Self::Stderr(stderr) => stderr.losses.news("standard error"),
        }
    }
}

/// Lines that a place could not take.
#[derive(Default)]
struct Losses {
    lines: u64,
    error: Option<io::Error>,
    is_told: bool,
}

impl Losses {
    fn count(&mut self, lines: u64, error: io::Error) {
        self.lines += lines;
        self.error = Some(error);
    }

    /// The last write worked.
    fn end(&mut self) {
        self.error = None;
    }

    /// What has changed since the last call, for the log.
    fn news(&mut self, place: &str) -> Option<(Level, String)> {
        match &self.error {
            Some(error) if !self.is_told => {
                self.is_told = true;
                Some((Level::Error, format!("cannot write the log to {place}: {error}")))
            }
            None if self.is_told => {
                self.is_told = false;
                let lines = std::mem::take(&mut self.lines);
                Some((Level::Warn, format!("{lines} log lines could not be written to {place}; writing again")))
            }
            _ => None,
        }
    }
}

/// A file, opened anew when it was rotated away.
pub(super) struct FileOutlet {
    path: PathBuf,
    /// The least important level that goes here.
    least: Level,
    /// Permissions of a new one.
    mode: u32,
    file: Option<File>,
    next_look: Option<Instant>,
    pending: String,
    /// The last write ended in mid-line.
    is_torn: bool,
    losses: Losses,
}

impl FileOutlet {
    pub(super) fn new(path: PathBuf, least: Level, mode: u32) -> Self {
        Self {
            path,
            least,
            mode,
            file: None,
            next_look: None,
            pending: String::new(),
            is_torn: false,
            losses: Losses::default(),
        }
    }

    fn flush(&mut self, now: Instant) -> Option<(Level, String)> {
        if self.pending.is_empty() {
            return None;
        }
        let opened = self.look_after(now);
        let result = opened.and_then(|()| self.write_pending());
        match result {
            Ok(()) => self.losses.end(),
            Err(error) => {
                let lines = self.pending.bytes().filter(|byte| *byte == b'\n').count();
                self.losses.count(u64::try_from(lines).unwrap_or(u64::MAX), error);
            }
        }
        self.pending.clear();
        self.losses.news(&self.path.display().to_string())
    }

    /// Opens the file when there is none, or when the path names another one by now. At most once a second.
    fn look_after(&mut self, now: Instant) -> io::Result<()> {
        if self.next_look.is_some_and(|next| now < next) {
            return if self.file.is_some() { Ok(()) } else { Err(self.last_error()) };
        }
        self.next_look = Some(now + RETRY);
        if self.file.as_ref().is_some_and(|file| self.is_current(file)) {
            return Ok(());
        }
        // Non-blocking: the path may name a FIFO or a terminal.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened =
            OpenOptions::new().append(true).create(true).mode(self.mode).custom_flags(flags.bits()).open(&self.path);
        match opened {
            Ok(file) => {
                self.file = Some(file);
                self.is_torn = false;
                Ok(())
            }
            // Better in the old file than nowhere.
            Err(_) if self.file.is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_current(&self, file: &File) -> bool {
        match (std::fs::metadata(&self.path), file.metadata()) {
            (Ok(named), Ok(open)) => named.dev() == open.dev() && named.ino() == open.ino(),
            _ => false,
        }
    }

    fn last_error(&self) -> io::Error {
        self.losses
            .error
            .as_ref()
            .map_or_else(|| io::ErrorKind::NotFound.into(), |error| io::Error::new(error.kind(), error.to_string()))
    }

    /// Writes the pending lines and takes from them what was written.
    fn write_pending(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if self.is_torn {
            self.pending.insert(0, '\n');
        }
        let mut written = 0;
        let result = loop {
            match file.write(&self.pending.as_bytes()[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) if written + count == self.pending.len() => {
                    written += count;
                    break Ok(());
                }
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if written > 0 {
            self.is_torn = self.pending.as_bytes()[written - 1] != b'\n';
        } else if self.is_torn {
            // The newline that was to end the torn line is not a lost line.
            written = 1;
        }
        let rest = self.pending.as_bytes()[written..].to_vec();
        self.pending = String::from_utf8_lossy(&rest).into_owned();
        result
    }
}

/// The system's log daemon, over its datagram socket.
pub(super) struct SyslogOutlet {
    path: PathBuf,
    facility: u8,
    socket: Option<UnixDatagram>,
    next_try: Option<Instant>,
    datagram: String,
    losses: Losses,
}

impl SyslogOutlet {
    pub(super) fn new(path: PathBuf, facility: u8) -> Self {
        Self { path, facility, socket: None, next_try: None, datagram: String::new(), losses: Losses::default() }
    }

    fn put(&mut self, writer: &mut Writer, line: &LogLine<'_>) {
        self.datagram.clear();
        writer.syslog_line(line, self.facility, &mut self.datagram);
        match self.send() {
            Ok(()) => self.losses.end(),
            Err(error) => self.losses.count(1, error),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(self.datagram.as_bytes()) {
                Ok(_) => return Ok(()),
                // Its queue is full: this line is lost, the connection is good.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // It went away, perhaps it was restarted: a new connection helps, at once for the first time.
                Err(_) => self.socket = None,
            }
        }
        let now = Instant::now();
        if self.next_try.is_some_and(|next| now < next) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.next_try = Some(now + RETRY);
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        socket.send(self.datagram.as_bytes())?;
        self.socket = Some(socket);
        self.next_try = None;
        Ok(())
    }
}

/// Standard error: a terminal, the service manager's journal, a file. Shared with others, so its flags are not ours to
/// change: a line is written only when there is room for it.
pub(super) struct StderrOutlet {
    line: String,
    losses: Losses,
}

impl StderrOutlet {
    pub(super) fn new() -> Self {
        Self { line: String::new(), losses: Losses::default() }
    }

    fn put(&mut self, writer: &mut Writer, line: &LogLine<'_>) {
        self.line.clear();
        writer.file_line(line, &mut self.line);
        let stderr = io::stderr();
        let mut descriptors = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        let has_room = poll(&mut descriptors, PollTimeout::ZERO).is_ok()
            && descriptors[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT));
        let result = if has_room {
            stderr.lock().write_all(self.line.as_bytes())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        };
        match result {
            Ok(()) => self.losses.end(),
            Err(error) => self.losses.count(1, error),
        }
    }
}
