//! The logger process: drains the log pipe of the others into files, syslog and standard error.
//!
//! It also keeps the [history](super::history), which comes the same way.
//!
//! It is the only process that waits for a disk. When it cannot keep up or is stopped, the pipe fills, the others drop
//! and count ([`log_pipe`](super::log_pipe)), and the count is written when there is room again. What cannot be written
//! (disk full, syslog daemon away) is counted in the same way, for each place on its own.

mod line;
mod logd_outlet;
mod outlet;

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use crate::config::Config;
use crate::sys::memory;

use super::history::{Files, Keeper};
use super::log_pipe::{Level, LogLine, Parsed, parse};
use super::places::Places;
use line::{Style, Writer};
use logd_outlet::{Fate, LogdOutlet};
pub(super) use outlet::facility_number;
use outlet::{FileOutlet, Outlet, StderrOutlet, SyslogOutlet};

/// Where the system's syslog daemon listens.
const SYSLOG_SOCKET: &str = "/dev/log";
/// The daemon's tag in its own log.
const ENTITY: &str = "heartbeat";
/// Permissions of its log files.
const FILE_MODE: u32 = 0o640;
/// Bytes taken from the pipe at a time; as much as a pipe holds by default.
const CHUNK: usize = 64 * 1024;
/// How often lines that wait for it are tried again while nothing else happens.
const LOGD_PAUSE: Duration = Duration::from_millis(200);

/// Something else that this process looks after while it waits, with a deadline of its own.
pub trait Aside {
    /// When [`check`](Self::check) is due; `None`: never again.
    fn next_check(&self) -> Option<Instant>;
    /// A descriptor to wait for instead: when it is ready, [`next_check`](Self::next_check) is asked again.
    fn alert(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Does what is due.
    fn check(&mut self, now: Instant);
    /// Every writer of the pipe is gone. Returns whether there is a new one, so that reading goes on; the pipe's reading
    /// end is still open.
    fn writers_gone(&mut self) -> bool;
}

/// Where the lines go and what they look like.
#[derive(Debug, Clone)]
pub struct Destinations {
    /// Local node name, in each line.
    pub node: String,
    /// The tag of lines that have none of their own.
    pub entity: String,
    /// The one tag of all lines for syslog; each line's own stands in its text then.
    pub syslog_prefix: Option<String>,
    /// Permissions of new files.
    pub mode: u32,
    /// Format of files and standard error.
    style: Style,
    /// Everything but debug.
    pub logfile: Option<PathBuf>,
    /// Everything.
    pub debugfile: Option<PathBuf>,
    /// Syslog facility by name.
    pub facility: Option<String>,
    /// The syslog daemon's socket.
    pub syslog_socket: PathBuf,
    /// Also to standard error.
    pub is_on_stderr: bool,
    /// To the logging daemon at this socket instead, which is looked for so often while it is not there.
    pub logd: Option<(PathBuf, Duration)>,
}

impl Destinations {
    /// For a service beside the daemon, with this tag: nothing is written anywhere until more is said.
    pub fn of_service(entity: &str, is_syslog_format: bool) -> Self {
        Self {
            node: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            entity: entity.to_owned(),
            syslog_prefix: None,
            mode: 0o644,
            style: Style::new(false, is_syslog_format),
            logfile: None,
            debugfile: None,
            facility: None,
            syslog_socket: PathBuf::from(SYSLOG_SOCKET),
            is_on_stderr: false,
            logd: None,
        }
    }

    /// What the configuration asks for, on standard error as well when `is_on_stderr` or when nothing is configured.
    pub fn new(config: &Config, is_on_stderr: bool) -> Self {
        let file = |path: &Option<PathBuf>| path.clone().filter(|path| path != Path::new("/dev/null"));
        let log = &config.log;
        let is_unconfigured = log.logfile.is_none() && log.debugfile.is_none() && log.facility.is_none();
        Self {
            node: config.node.clone(),
            entity: ENTITY.to_owned(),
            syslog_prefix: None,
            mode: FILE_MODE,
            style: Style::new(log.is_structured, log.is_syslog_format),
            logfile: file(&log.logfile),
            debugfile: file(&log.debugfile),
            facility: log.facility.clone(),
            syslog_socket: PathBuf::from(SYSLOG_SOCKET),
            is_on_stderr: is_on_stderr || is_unconfigured,
            logd: log.logd_retry.map(|retry| (Places::of_logd(Some(&config.paths.run)).socket, retry)),
        }
    }
}

/// The logger process's whole life: until every writer of the pipe is gone and `aside` knows of no new one.
///
/// Asking it to end does nothing (a service manager asks every process at once): the others still have something to say.
pub fn run(config: &Config, pipe: OwnedFd, is_on_stderr: bool, mut aside: Option<&mut dyn Aside>) -> ! {
    ignore_requests_to_end();
    let mut logger = Logger::new(&Destinations::new(config, is_on_stderr));
    logger.history = Some(Keeper::open(Files::new(&config.paths), Instant::now()));
    memory::give_back_cold_text();
    std::process::exit(logger.live(pipe, &mut aside))
}

/// The same for a service beside the daemon: no history, nothing else to look after. Gives the exit code.
pub fn run_service(to: &Destinations, pipe: OwnedFd) -> i32 {
    ignore_requests_to_end();
    Logger::new(to).live(pipe, &mut None)
}

/// They come to every process at once.
pub(super) fn ignore_requests_to_end() {
    let mut unwanted = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        unwanted.add(signal);
    }
    let _ = unwanted.thread_block();
}

/// One line as it stands in a log file, with its newline, for what is said before there is a log.
pub fn present_line(node: &str, level: Level, text: &str) -> String {
    present_line_of(&Destinations { node: node.to_owned(), ..Destinations::of_service(ENTITY, true) }, level, text)
}

/// The same for a service.
pub fn present_line_of(to: &Destinations, level: Level, text: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (pid, seconds, micros) = (std::process::id(), since.as_secs(), since.subsec_micros());
    let (process, entity, is_worded, dropped) = ("cli", None, true, 0);
    let line = LogLine { level, pid, process, entity, is_worded, seconds, micros, dropped, text };
    let mut out = String::new();
    Writer::new(to).file_line(&line, &mut out);
    out
}

/// The places that lines go to.
pub struct Logger {
    writer: Writer,
    outlets: Vec<Outlet>,
    logd: Option<LogdOutlet>,
    /// The tag of lines that have none of their own.
    entity: String,
    history: Option<Keeper>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Logger {
    /// Opens what can be opened; the rest is tried again later.
    pub fn new(to: &Destinations) -> Self {
        let mut outlets = Vec::new();
        for (path, least) in [(&to.logfile, Level::Info), (&to.debugfile, Level::Debug)] {
            if let Some(path) = path {
                outlets.push(Outlet::File(FileOutlet::new(path.clone(), least, to.mode)));
            }
        }
        if let Some(facility) = to.facility.as_deref().and_then(facility_number) {
            outlets.push(Outlet::Syslog(SyslogOutlet::new(to.syslog_socket.clone(), facility)));
        }
        if to.is_on_stderr {
            outlets.push(Outlet::Stderr(StderrOutlet::new()));
        }
        Self {
            writer: Writer::new(to),
            outlets,
            logd: to.logd.clone().map(|(path, retry)| LogdOutlet::new(path, retry, Instant::now())),
            entity: to.entity.clone(),
            history: None,
            buffer: vec![0; CHUNK],
            filled: 0,
        }
    }

    /// Drains `pipe` to its end and gives the exit code.
    fn live(&mut self, pipe: OwnedFd, aside: &mut Option<&mut dyn Aside>) -> i32 {
        match self.drain(pipe, aside) {
            Ok(()) => 0,
            Err(error) => {
                self.say(Level::Error, &format!("the log pipe cannot be read: {error}"));
                self.flush(Instant::now());
                1
            }
        }
    }

    /// Takes records from `pipe` until its writers are gone and `aside` knows of no new one.
    fn drain(&mut self, pipe: OwnedFd, aside: &mut Option<&mut dyn Aside>) -> io::Result<()> {
        let flags = OFlag::from_bits_truncate(fcntl(&pipe, FcntlArg::F_GETFL)?);
        fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let mut pipe = std::fs::File::from(pipe);
        loop {
            let deadline = aside.as_ref().and_then(|aside| aside.next_check());
            let is_waiting = self.logd.as_ref().is_some_and(LogdOutlet::is_waiting);
            let again = is_waiting.then(|| Instant::now() + LOGD_PAUSE);
            let next = self.history.as_ref().and_then(Keeper::deadline).into_iter().chain(deadline).chain(again).min();
            let alerts =
                [aside.as_ref().and_then(|aside| aside.alert()), self.history.as_ref().and_then(Keeper::copier)];
            wait(&pipe, alerts, next)?;
            match pipe.read(&mut self.buffer[self.filled..]) {
                Ok(0) if aside.as_mut().is_some_and(|aside| aside.writers_gone()) => {}
                Ok(0) => break,
                Ok(count) => self.take(count),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
            self.keep_history(Keeper::turn);
            self.flush(Instant::now());
            let now = Instant::now();
            if let Some(aside) = aside
                && deadline.is_some_and(|deadline| now >= deadline)
            {
                aside.check(now);
            }
        }
        self.keep_history(Keeper::finish);
        self.flush(Instant::now());
        Ok(())
    }

    fn keep_history(&mut self, act: impl FnOnce(&mut Keeper, Instant) -> Vec<(Level, String)>) {
        let news = self.history.as_mut().map(|history| act(history, Instant::now()));
        for (level, text) in news.into_iter().flatten() {
            self.say(level, &text);
        }
    }

    /// Hands `count` fresh bytes of the buffer, and what was left before them, to the outlets.
    fn take(&mut self, count: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        let end = self.filled + count;
        let mut at = 0;
        loop {
            match parse(&buffer[at..end]) {
                Parsed::Line(line, length) => {
                    self.put(&line);
                    at += length;
                }
                Parsed::Event(body, length) => {
                    if let Some(history) = &mut self.history {
                        history.take(body, Instant::now());
                    }
                    at += length;
                }
                Parsed::Garbage(length) if at < end => at += length,
                Parsed::Garbage(_) | Parsed::Incomplete => break,
            }
        }
        self.buffer = buffer;
        self.buffer.copy_within(at..end, 0);
        self.filled = end - at;
    }

    /// One line to every place that wants its level, after the news of what its process had to drop.
    pub fn put(&mut self, line: &LogLine<'_>) {
        if line.dropped > 0 {
            let text =
                format!("{} log lines of the {} were dropped: the log pipe was full", line.dropped, line.process);
            self.put(&LogLine { level: Level::Warn, text: &text, dropped: 0, ..*line });
        }
        if let Some(logd) = &mut self.logd {
            match logd.put(line, &self.entity, Instant::now()) {
                Fate::Taken => return,
                Fate::Refused(None) => {}
                Fate::Refused(Some((level, text))) => self.put_here(&own_line(level, &text)),
            }
        }
        self.put_here(line);
    }

    /// One line to every place of our own.
    fn put_here(&mut self, line: &LogLine<'_>) {
        for outlet in &mut self.outlets {
            outlet.put(&mut self.writer, line);
        }
    }

    /// A line of the logger's own.
    pub(super) fn say(&mut self, level: Level, text: &str) {
        self.put(&own_line(level, text));
    }

    /// Opens the files anew before the next line, as after a rotation.
    pub fn reopen(&mut self) {
        for outlet in &mut self.outlets {
            outlet.reopen();
        }
    }

    /// Writes out what was put; what an outlet cannot take is counted there and told to all of them once.
    pub fn flush(&mut self, now: Instant) {
        if let Some((level, text)) = self.logd.as_mut().and_then(|logd| logd.flush(now)) {
            self.put_here(&own_line(level, &text));
        }
        let news: Vec<(Level, String)> = self.outlets.iter_mut().filter_map(|outlet| outlet.flush(now)).collect();
        if !news.is_empty() {
            for (level, text) in news {
                self.say(level, &text);
            }
            for outlet in &mut self.outlets {
                // A failure that the news itself meets is no news.
                let _ = outlet.flush(now);
            }
        }
    }
}

/// A line of the logger's own, now.
fn own_line(level: Level, text: &str) -> LogLine<'_> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogLine {
        level,
        pid: std::process::id(),
        process: "logger",
        entity: None,
        is_worded: true,
        seconds: since.as_secs(),
        micros: since.subsec_micros(),
        dropped: 0,
        text,
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Waits for something to read, an alert, or the deadline.
fn wait(pipe: &std::fs::File, alerts: [Option<BorrowedFd<'_>>; 2], deadline: Option<Instant>) -> io::Result<()> {
    let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
        // Rounded up: waking early would spin.
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    });
    let all = [Some(pipe.as_fd())].into_iter().chain(alerts).flatten();
    let mut all: heapless::Vec<PollFd<'_>, 3> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut all, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::daemon::log_pipe::PipeLog;

    /// A directory of its own, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nullbeat-logger-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn text(&self, name: &str) -> String {
            std::fs::read_to_string(self.file(name)).unwrap_or_default()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn nowhere() -> Destinations {
        Destinations {
            node: "rsa".into(),
            syslog_socket: "/nonexistent".into(),
            ..Destinations::of_service(ENTITY, true)
        }
    }

    fn line(level: Level, text: &str) -> LogLine<'_> {
        let (pid, process, seconds, micros, dropped) = (12, "engine", 1_709_208_000, 0, 0);
        LogLine { level, pid, process, entity: None, is_worded: true, seconds, micros, dropped, text }
    }

    #[test]
    fn lines_travel_from_the_pipe_to_both_files() {
        let place = Place::new("both");
        let to = Destinations { logfile: Some(place.file("log")), debugfile: Some(place.file("debug")), ..nowhere() };
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let log = PipeLog::new();
        log.put(Level::Info, format_args!("before the pipe"));
        log.attach(write, "engine");
        log.put(Level::Info, format_args!("one"));
        log.put(Level::Debug, format_args!("two"));
        drop(log);
        Logger::new(&to).drain(read, &mut None).unwrap();
        let tail = |line: &str| line.split_once(']').unwrap().1.to_string();
        let tails = |name: &str| place.text(name).lines().map(tail).collect::<Vec<_>>();
        let dropped = ": WARN: 1 log lines of the engine were dropped: the log pipe was full";
        assert_eq!(tails("log"), [dropped, ": info: one"]);
        assert_eq!(tails("debug"), [dropped, ": info: one", ": debug: two"]);
        assert!(place.text("log").contains(&format!(" rsa heartbeat: [{}]: ", std::process::id())));
    }

    #[test]
    fn records_split_between_reads_are_put_together() {
        let place = Place::new("split");
        let mut logger = Logger::new(&Destinations { logfile: Some(place.file("log")), ..nowhere() });
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let log = PipeLog::new();
        log.attach(write, "engine");
        log.put(Level::Info, format_args!("cut in the middle"));
        drop(log);
        let mut bytes = Vec::new();
        std::fs::File::from(read).read_to_end(&mut bytes).unwrap();
        bytes.splice(0..0, *b"noise");
        for byte in bytes {
            let at = logger.filled;
            logger.buffer[at] = byte;
            logger.take(1);
        }
        logger.flush(Instant::now());
        assert!(place.text("log").ends_with("info: cut in the middle\n"), "{}", place.text("log"));
        assert_eq!(logger.filled, 0);
    }

    #[test]
    fn a_rotated_file_is_opened_anew_within_a_second() {
        let place = Place::new("rotate");
        let mut logger = Logger::new(&Destinations { logfile: Some(place.file("log")), ..nowhere() });
        let start = Instant::now();
        let mut write = |text: &str, after_ms| {
            logger.put(&line(Level::Info, text));
            logger.flush(start + Duration::from_millis(after_ms));
        };
        write("one", 0);
        std::fs::rename(place.file("log"), place.file("log.1")).unwrap();
        write("two", 500);
        write("three", 1001);
        std::fs::remove_file(place.file("log")).unwrap();
        write("four", 2500);
        assert!(place.text("log.1").contains("one") && place.text("log.1").contains("two"));
        assert!(!place.text("log.1").contains("three"));
        assert!(place.text("log").contains("four") && !place.text("log").contains("three"));
    }

    #[test]
    fn a_full_disk_is_counted_and_told_elsewhere() {
        let place = Place::new("full");
        std::os::unix::fs::symlink("/dev/full", place.file("log")).unwrap();
        let to = Destinations { logfile: Some(place.file("log")), debugfile: Some(place.file("debug")), ..nowhere() };
        let mut logger = Logger::new(&to);
        let start = Instant::now();
        for text in ["one", "two"] {
            logger.put(&line(Level::Info, text));
            logger.flush(start);
        }
        std::fs::remove_file(place.file("log")).unwrap();
        logger.put(&line(Level::Info, "three"));
        logger.flush(start + Duration::from_secs(2));
        let debug = place.text("debug");
        assert_eq!(debug.matches("cannot write the log to").count(), 1, "{debug}");
        assert!(debug.contains("one") && debug.contains("two") && debug.contains("three"));
        // Two lines of ours and the complaint itself, which is an ERROR and belongs there too.
        let log = place.text("log");
        assert!(log.contains("three") && log.contains(" 3 log lines could not be written to "), "{log}");
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_tried_again() {
        let place = Place::new("later");
        let mut logger = Logger::new(&Destinations { logfile: Some(place.file("dir/log")), ..nowhere() });
        let start = Instant::now();
        logger.put(&line(Level::Info, "lost"));
        logger.flush(start);
        std::fs::create_dir(place.file("dir")).unwrap();
        logger.put(&line(Level::Info, "kept"));
        logger.flush(start + Duration::from_secs(2));
        let text = place.text("dir/log");
        assert!(text.contains("kept") && !text.contains("lost"), "{text}");
        assert!(text.contains("2 log lines could not be written"), "{text}");
    }

    #[test]
    fn a_fifo_without_reader_does_not_block() {
        let place = Place::new("fifo");
        nix::unistd::mkfifo(&place.file("log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let to = Destinations { logfile: Some(place.file("log")), debugfile: Some(place.file("debug")), ..nowhere() };
        let mut logger = Logger::new(&to);
        logger.put(&line(Level::Info, "one"));
        logger.flush(Instant::now());
        assert!(place.text("debug").contains("cannot write the log to"));
    }

    #[test]
    fn syslog_gets_datagrams_and_is_found_again_after_its_restart() {
        let place = Place::new("syslog");
        let path = place.file("dev-log");
        let bind = || {
            let daemon = UnixDatagram::bind(&path).unwrap();
            daemon.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            daemon
        };
        let receive = |daemon: &UnixDatagram| {
            let mut buffer = [0; 1024];
            let count = daemon.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        let daemon = bind();
        let to = Destinations { facility: Some("local0".into()), syslog_socket: path.clone(), ..nowhere() };
        let mut logger = Logger::new(&to);
        logger.put(&line(Level::Crit, "one"));
        let text = receive(&daemon);
        assert!(text.starts_with("<130>") && text.ends_with(" heartbeat: [12]: CRIT: one"), "{text}");
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        let daemon = bind();
        logger.put(&line(Level::Info, "two"));
        assert!(receive(&daemon).ends_with("info: two"));
        // Nobody reads: the queue fills up, and still nothing waits.
        for _ in 0..10_000 {
            logger.put(&line(Level::Info, "flood"));
        }
        logger.flush(Instant::now());
        let _ = receive(&daemon);
    }

    #[test]
    fn unconfigured_means_standard_error() {
        assert_eq!(facility_number("local7"), Some(23));
        assert_eq!(facility_number("none"), None);
        assert_eq!(Logger::new(&Destinations { is_on_stderr: true, ..nowhere() }).outlets.len(), 1);
    }

    /// Due a few times at once, then never again; may bring a new writer once.
    struct Countdown {
        left: u32,
        writer: Option<OwnedFd>,
        ends: u32,
    }

    impl Aside for Countdown {
        fn next_check(&self) -> Option<Instant> {
            (self.left > 0).then(Instant::now)
        }

        fn check(&mut self, _: Instant) {
            self.left -= 1;
            if self.left == 0 {
                self.writer = None;
            }
        }

        fn writers_gone(&mut self) -> bool {
            self.ends += 1;
            false
        }
    }

    #[test]
    fn what_is_looked_after_aside_is_checked_when_due_and_told_of_the_end() {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let mut countdown = Countdown { left: 5, writer: Some(write), ends: 0 };
        Logger::new(&nowhere()).drain(read, &mut Some(&mut countdown)).unwrap();
        assert_eq!((countdown.left, countdown.ends), (0, 1));
    }

    /// Has a second writer at hand.
    struct Second {
        reader: OwnedFd,
        is_used: bool,
    }

    impl Aside for Second {
        fn next_check(&self) -> Option<Instant> {
            None
        }

        fn check(&mut self, _: Instant) {}

        fn writers_gone(&mut self) -> bool {
            if std::mem::replace(&mut self.is_used, true) {
                return false;
            }
            use std::os::fd::AsRawFd as _;
            let path = format!("/proc/self/fd/{}", self.reader.as_raw_fd());
            let writer = std::fs::File::options().write(true).open(path).unwrap();
            let log = PipeLog::new();
            log.attach(writer.into(), "second");
            log.put(Level::Info, format_args!("one more line"));
            true
        }
    }

    #[test]
    fn a_new_writer_is_read_after_the_end_of_the_others() {
        let place = Place::new("second");
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        drop(write);
        let mut second = Second { reader: read.try_clone().unwrap(), is_used: false };
        let to = Destinations { logfile: Some(place.file("log")), ..nowhere() };
        Logger::new(&to).drain(read, &mut Some(&mut second)).unwrap();
        assert!(place.text("log").ends_with("one more line\n"), "{}", place.text("log"));
    }
}
