//! The `log` logger of the daemon's processes: each line is one bounded record in the pipe to the logger process.
//!
//! Nobody waits for a disk and nobody allocates: a record is formatted on the stack and leaves with one non-blocking
//! `write` that is atomic because it is shorter than `PIPE_BUF`. When the pipe is full the line is dropped and counted;
//! the count rides on the next record that fits, and the logger process says it aloud.
//!
//! ```text
//!   0      1      2      4      8        16       20        24        32
//!   magic  level  length pid    seconds  micros   dropped   process   text…
//! ```
//!
//! An event for the [history](super::history) is a record of the same kind, of a level behind the last one; its bytes are
//! not text.
//!
//! All numbers are in the machine's own byte order: both ends are forks of one program.

use std::fmt::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::config::LogConfig;

/// Longest text of a record in bytes; what is longer is cut and ends in `…`.
pub const TEXT_MAX: usize = 480;
/// Bytes before the text.
const HEAD_LEN: usize = 32;
/// Longest record: well below the 4096 bytes that a pipe takes all or nothing.
pub const RECORD_MAX: usize = HEAD_LEN + TEXT_MAX;
/// First byte of every record.
const MAGIC: u8 = 0xa7;
/// Bytes for the process's name, padded with zeros.
const PROCESS_MAX: usize = 8;
const ELLIPSIS: &str = "…";
/// In place of a level: an event for the history.
const EVENT: u8 = 0xff;

/// Heartbeat's level words (spec/config.md 2.3), worst first, numbered as syslog does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// `EMERG`
    Emerg,
    /// `ALERT`
    Alert,
    /// `CRIT`
    Crit,
    /// `ERROR`
    Error,
    /// `WARN`
    Warn,
    /// `notice`
    Notice,
    /// `info`
    Info,
    /// `debug`
    Debug,
}

impl Level {
    const ALL: [Self; 8] =
        [Self::Emerg, Self::Alert, Self::Crit, Self::Error, Self::Warn, Self::Notice, Self::Info, Self::Debug];

    /// The level that syslog numbers so; beyond the last one it is the last one.
    pub fn of_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Debug)
    }

    /// As it stands in a log line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Emerg => "EMERG",
            Self::Alert => "ALERT",
            Self::Crit => "CRIT",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of a `log` record: a target that is one of the words wins over the record's own level.
    pub fn of(metadata: &log::Metadata<'_>) -> Self {
        Self::ALL.into_iter().find(|level| level.word() == metadata.target()).unwrap_or(match metadata.level() {
            log::Level::Error => Self::Error,
            log::Level::Warn => Self::Warn,
            log::Level::Info => Self::Info,
            log::Level::Debug | log::Level::Trace => Self::Debug,
        })
    }
}

/// The logger that [`install`] puts in place.
pub struct PipeLog {
    sink: Mutex<Option<Sink>>,
    dropped: AtomicU32,
}

struct Sink {
    pipe: OwnedFd,
    process: [u8; PROCESS_MAX],
    pid: u32,
}

static LOG: PipeLog = PipeLog::new();

/// Sends this process's log lines into `pipe`, whose other end the logger process drains, under the name `process`
/// (at most eight letters). Called again after a fork it replaces what the parent had installed. A panic is logged as well.
pub fn install(pipe: OwnedFd, process: &'static str, config: &LogConfig) {
    LOG.attach(pipe, process);
    set_debug(config.debug);
    // A second call finds the logger in place already: it is this very one.
    if log::set_logger(&LOG).is_ok() {
        std::panic::set_hook(Box::new(|info| log::error!(target: "EMERG", "{info}")));
    }
}

/// Sets how much is logged: `debug 0` is everything down to info, 1 adds debug, 2 and above adds traces.
pub fn set_debug(level: u8) {
    log::set_max_level(match level {
        0 => log::LevelFilter::Info,
        1 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    });
}

/// Sends an event for the history, at most [`TEXT_MAX`] bytes, the way of the log lines of this process.
pub fn put_event(body: &[u8]) {
    LOG.put_event(body);
}

impl PipeLog {
    /// Not attached: everything is dropped and counted.
    pub const fn new() -> Self {
        Self { sink: Mutex::new(None), dropped: AtomicU32::new(0) }
    }

    /// Attaches the write end of a pipe, which is made non-blocking.
    pub fn attach(&self, pipe: OwnedFd, process: &str) {
        let mut name = [0; PROCESS_MAX];
        for (to, from) in name.iter_mut().zip(process.bytes()) {
            *to = from;
        }
        // Failing here means that the descriptor is none; every write then fails too and is counted.
        let flags = fcntl(&pipe, FcntlArg::F_GETFL).map_or(OFlag::O_WRONLY, OFlag::from_bits_truncate);
        let _ = fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK));
        let sink = Sink { pipe, process: name, pid: std::process::id() };
        let mut slot = self.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if slot.as_ref().is_some_and(|parent| parent.pid != sink.pid) {
            // A fork copied the parent's count; the parent reports it itself.
            self.dropped.store(0, Ordering::Relaxed);
        }
        *slot = Some(sink);
    }

    /// Lines that did not fit and have not been reported yet.
    pub fn dropped(&self) -> u32 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes one line, or counts it as dropped.
    pub fn put(&self, level: Level, text: fmt::Arguments<'_>) {
        // Formatted before the lock is taken: a Display that logs must not find it held.
        let mut record = Draft::new();
        let _ = record.write_fmt(text);
        self.send(level as u8, record);
    }

    /// The same with bytes of the history.
    pub fn put_event(&self, body: &[u8]) {
        let mut record = Draft::new();
        record.push(body);
        self.send(EVENT, record);
    }

    fn send(&self, level: u8, mut record: Draft) {
        let sink = self.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // An event says nothing of lines that were dropped.
        let reported = if level == EVENT { 0 } else { self.dropped() };
        let is_written = sink.as_ref().is_some_and(|sink| {
            let bytes = record.finish(level, sink, reported);
            nix::unistd::write(sink.pipe.as_fd(), bytes).is_ok_and(|count| count == bytes.len())
        });
        if is_written {
            self.dropped.fetch_sub(reported, Ordering::Relaxed);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Default for PipeLog {
    fn default() -> Self {
        Self::new()
    }
}

impl log::Log for PipeLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.put(Level::of(record.metadata()), *record.args());
        }
    }

    fn flush(&self) {}
}

/// A record being formatted on the stack: text first, the head when everything is known.
struct Draft {
    bytes: [u8; RECORD_MAX],
    len: usize,
    is_cut: bool,
}

impl Draft {
    const fn new() -> Self {
        Self { bytes: [0; RECORD_MAX], len: HEAD_LEN, is_cut: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if self.is_cut || end > RECORD_MAX - ELLIPSIS.len() {
            self.is_cut = true;
        } else {
            self.bytes[self.len..end].copy_from_slice(bytes);
            self.len = end;
        }
    }

    fn finish(&mut self, level: u8, sink: &Sink, dropped: u32) -> &[u8] {
        if self.is_cut {
            let end = self.len + ELLIPSIS.len();
            self.bytes[self.len..end].copy_from_slice(ELLIPSIS.as_bytes());
            self.len = end;
            // Once: the draft is finished.
            self.is_cut = false;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let length = u16::try_from(self.len - HEAD_LEN).unwrap_or(u16::MAX);
        self.bytes[0] = MAGIC;
        self.bytes[1] = level;
        self.bytes[2..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[4..8].copy_from_slice(&sink.pid.to_ne_bytes());
        self.bytes[8..16].copy_from_slice(&since.as_secs().to_ne_bytes());
        self.bytes[16..20].copy_from_slice(&since.subsec_micros().to_ne_bytes());
        self.bytes[20..24].copy_from_slice(&dropped.to_ne_bytes());
        self.bytes[24..HEAD_LEN].copy_from_slice(&sink.process);
        &self.bytes[..self.len]
    }
}

impl fmt::Write for Draft {
    /// Takes everything; what does not fit is cut. Characters that could forge or garble a line are written as escapes.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if is_harmless(character) {
                self.push(character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                self.push(escape(character).as_bytes());
            }
        }
        Ok(())
    }
}

/// Bytes of another program as they may stand in a log line; newlines at their end are left out.
pub fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::with_capacity(text.len());
    for character in text.trim_end_matches('\n').chars() {
        if is_harmless(character) {
            clean.push(character);
        } else {
            clean.push_str(&escape(character));
        }
    }
    clean
}

/// What stands for a character that could forge or garble a line.
fn escape(character: char) -> heapless::String<12> {
    let mut escape = heapless::String::new();
    let code = u32::from(character);
    let _ = match character {
        '\n' => escape.push_str("\\n").map_err(|_| fmt::Error),
        '\t' => escape.push_str("\\t").map_err(|_| fmt::Error),
        '\r' => escape.push_str("\\r").map_err(|_| fmt::Error),
        _ if code < 0x100 => write!(escape, "\\x{code:02x}"),
        _ => write!(escape, "\\u{{{code:x}}}"),
    };
    escape
}

/// Whether a character may stand in a log line as it is: no control character, no line separator, nothing that turns
/// the direction of writing.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// One line as the logger process receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// How bad.
    pub level: Level,
    /// Who.
    pub pid: u32,
    /// Name of the process: `guardian`, `engine`, `logger`.
    pub process: &'a str,
    /// The program's tag, where it is another one than the log's own.
    pub entity: Option<&'a str>,
    /// The level's word stands before the text.
    pub is_worded: bool,
    /// When, seconds since 1970.
    pub seconds: u64,
    /// And microseconds.
    pub micros: u32,
    /// Lines of the same process that were dropped before this one.
    pub dropped: u32,
    /// What, without control characters.
    pub text: &'a str,
}

/// What stands at the beginning of some bytes from the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A line, and how many bytes it took.
    Line(LogLine<'a>, usize),
    /// An event for the history, and how many bytes it took.
    Event(&'a [u8], usize),
    /// Not all of a record yet.
    Incomplete,
    /// No record begins here: skip this many bytes.
    Garbage(usize),
}

/// Reads the record at the beginning of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    if bytes.first().is_some_and(|first| *first != MAGIC) {
        return Parsed::Garbage(bytes.iter().position(|byte| *byte == MAGIC).unwrap_or(bytes.len()));
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else { return Parsed::Incomplete };
    let u32_at = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = usize::from(u16::from_ne_bytes([head[2], head[3]]));
    if length > TEXT_MAX {
        return Parsed::Garbage(1);
    }
    let Some(text) = rest.get(..length) else { return Parsed::Incomplete };
    if head[1] == EVENT {
        return Parsed::Event(text, HEAD_LEN + length);
    }
    let process = &head[24..];
    let process = process.split(|byte| *byte == 0).next().unwrap_or_default();
    match (Level::ALL.get(usize::from(head[1])), std::str::from_utf8(text), std::str::from_utf8(process)) {
        (Some(level), Ok(text), Ok(process)) => {
            let mut seconds = [0; 8];
            seconds.copy_from_slice(&head[8..16]);
            let line = LogLine {
                level: *level,
                pid: u32_at(4),
                process,
                entity: None,
                is_worded: true,
                seconds: u64::from_ne_bytes(seconds),
                micros: u32_at(16),
                dropped: u32_at(20),
                text,
            };
            Parsed::Line(line, HEAD_LEN + length)
        }
        _ => Parsed::Garbage(1),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn pipe() -> (std::fs::File, OwnedFd) {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        (read.into(), write)
    }

    fn read_all(pipe: &mut std::fs::File) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..count]);
        }
        bytes
    }

    fn text_of(arguments: fmt::Arguments<'_>) -> String {
        let log = PipeLog::new();
        let (mut read, write) = pipe();
        log.attach(write, "engine");
        log.put(Level::Info, arguments);
        match parse(&read_all(&mut read)) {
            Parsed::Line(line, _) => line.text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_arrives_as_it_was_written() {
        let log = PipeLog::new();
        let (mut read, write) = pipe();
        log.attach(write, "guardian");
        log.put(Level::Crit, format_args!("node {}: is dead", "rsb"));
        let bytes = read_all(&mut read);
        let Parsed::Line(line, length) = parse(&bytes) else { panic!("{bytes:?}") };
        assert_eq!(length, bytes.len());
        assert_eq!((line.level, line.process, line.text), (Level::Crit, "guardian", "node rsb: is dead"));
        assert_eq!(line.pid, std::process::id());
    }

    #[test]
    fn targets_name_the_levels_that_log_lacks() {
        let level = |level, target| Level::of(&log::Metadata::builder().level(level).target(target).build());
        assert_eq!(level(log::Level::Error, "CRIT"), Level::Crit);
        assert_eq!(level(log::Level::Error, "EMERG"), Level::Emerg);
        assert_eq!(level(log::Level::Error, "ALERT"), Level::Alert);
        assert_eq!(level(log::Level::Info, "notice"), Level::Notice);
        assert_eq!(level(log::Level::Warn, "nullbeat::core"), Level::Warn);
        assert_eq!(level(log::Level::Trace, "nullbeat::core"), Level::Debug);
    }

    #[test]
    fn a_full_pipe_drops_counts_and_reports() {
        let log = PipeLog::new();
        let (mut read, write) = pipe();
        log.attach(write, "engine");
        let mut written = 0_u32;
        while log.dropped() == 0 {
            log.put(Level::Info, format_args!("line {written} {}", "x".repeat(400)));
            written += 1;
        }
        for _ in 0..9 {
            log.put(Level::Info, format_args!("{}", "y".repeat(400)));
        }
        assert_eq!(log.dropped(), 10);
        let kept = read_all(&mut read);
        log.put(Level::Info, format_args!("room again"));
        assert_eq!(log.dropped(), 0);
        let bytes = read_all(&mut read);
        let Parsed::Line(line, _) = parse(&bytes) else { panic!("{bytes:?}") };
        assert_eq!((line.dropped, line.text), (10, "room again"));
        let mut rest = kept.as_slice();
        let mut count = 0;
        while let Parsed::Line(line, length) = parse(rest) {
            assert!(line.text.starts_with(&format!("line {count} ")), "{line:?}");
            rest = &rest[length..];
            count += 1;
        }
        assert!(rest.is_empty(), "no torn record");
        assert_eq!(count + 1, written);
    }

    #[test]
    fn a_reader_that_is_gone_is_counted_as_full() {
        let log = PipeLog::new();
        let (read, write) = pipe();
        log.attach(write, "engine");
        drop(read);
        log.put(Level::Info, format_args!("nobody listens"));
        assert_eq!(log.dropped(), 1);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(text_of(format_args!("a\nb\tc\r\u{1b}[2J\u{7f}\u{9b}")), "a\\nb\\tc\\r\\x1b[2J\\x7f\\x9b");
        assert_eq!(text_of(format_args!("\u{202e}\u{2028}ü\0")), "\\u{202e}\\u{2028}ü\\x00");
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let text = text_of(format_args!("{}", "ä".repeat(1000)));
        assert!(text.len() <= TEXT_MAX && text.len() > TEXT_MAX - 4, "{}", text.len());
        assert!(text.ends_with("ä…"));
        let fits = "x".repeat(TEXT_MAX - ELLIPSIS.len());
        assert_eq!(text_of(format_args!("{fits}")), fits);
    }

    #[test]
    fn garbage_is_skipped_to_the_next_record() {
        let log = PipeLog::new();
        let (mut read, write) = pipe();
        log.attach(write, "engine");
        log.put(Level::Warn, format_args!("good"));
        let good = read_all(&mut read);
        let mut bytes = b"noise".to_vec();
        bytes.extend_from_slice(&good);
        assert_eq!(parse(&bytes), Parsed::Garbage(5));
        for cut in 0..good.len() {
            assert_eq!(parse(&good[..cut]), Parsed::Incomplete, "{cut}");
        }
        let mut broken = good.clone();
        broken[1] = 99;
        assert_eq!(parse(&broken), Parsed::Garbage(1));
        broken.clone_from(&good);
        broken[HEAD_LEN] = 0xff;
        assert_eq!(parse(&broken), Parsed::Garbage(1));
    }
}
