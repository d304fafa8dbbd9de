//! What a log line looks like (spec/config.md 2.3).

use std::fmt::Write as _;

use crate::daemon::log_pipe::LogLine;
use crate::sys::time::{LocalTime, local_time};

use super::Destinations;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The three formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `syslogmsgfmt true`: `Mmm dd HH:MM:SS NODE ENTITY: [PID]: LEVEL: text`.
    Syslog,
    /// `syslogmsgfmt false`: `ENTITY[PID]: YYYY/MM/DD_HH:MM:SS LEVEL: text`.
    Dated,
    /// `log_format structured`: `time=… level=… node=… process=… pid=… text="…"`.
    Structured,
}

impl Style {
    pub(super) const fn new(is_structured: bool, is_syslog_format: bool) -> Self {
        match (is_structured, is_syslog_format) {
            (true, _) => Self::Structured,
            (false, true) => Self::Syslog,
            (false, false) => Self::Dated,
        }
    }
}

/// Writes lines; keeps the calendar of the current second.
pub(super) struct Writer {
    node: String,
    /// The tag of lines that have none of their own.
    entity: String,
    /// `syslogprefix`: the one tag of all lines for syslog.
    prefix: Option<String>,
    style: Style,
    second: u64,
    local: LocalTime,
}

impl Writer {
    pub(super) fn new(to: &Destinations) -> Self {
        let (node, entity, prefix) = (to.node.clone(), to.entity.clone(), to.syslog_prefix.clone());
        Self { node, entity, prefix, style: to.style, second: 0, local: calendar(0) }
    }

    /// The line for files and standard error, with its newline.
    pub(super) fn file_line(&mut self, line: &LogLine<'_>, out: &mut String) {
        self.set_second(line.seconds);
        let (word, text, pid) = (Word(line), line.text, line.pid);
        let (time, entity) = (self.local, line.entity.unwrap_or(&self.entity));
        // Writing into a String does not fail.
        let _ = match self.style {
            Style::Syslog => {
                let _ = write!(out, "{} {:02}", month(time), time.day);
                clock(time, out);
                writeln!(out, " {} {entity}: [{pid}]: {word}{text}", self.node)
            }
            Style::Dated => writeln!(
                out,
                "{entity}[{pid}]: {:04}/{:02}/{:02}_{:02}:{:02}:{:02} {word}{text}",
                time.year, time.month, time.day, time.hour, time.minute, time.second,
            ),
            Style::Structured => {
                structured_time(time, line.micros, out);
                let level = line.level.word();
                let _ = write!(out, " level={level} node={} process={} pid={pid} text=", self.node, line.process);
                quoted(text, out);
                writeln!(out)
            }
        };
    }

    /// The datagram for syslog: priority, time, and the rest as Heartbeat has it; the syslog daemon adds the host.
    pub(super) fn syslog_line(&mut self, line: &LogLine<'_>, facility: u8, out: &mut String) {
        self.set_second(line.seconds);
        let _ = write!(out, "<{}>", u16::from(facility) * 8 + line.level as u16);
        // The day is padded with a blank here, as the C library's syslog(3) does.
        let _ = write!(out, "{} {:2}", month(self.local), self.local.day);
        clock(self.local, out);
        let (entity, pid, word, text) = (line.entity.unwrap_or(&self.entity), line.pid, Word(line), line.text);
        // Writing into a String does not fail.
        let _ = match &self.prefix {
            Some(prefix) => write!(out, " {prefix}: {entity}[{pid}]: {word}{text}"),
            None => write!(out, " {entity}: [{pid}]: {word}{text}"),
        };
    }

    fn set_second(&mut self, second: u64) {
        if self.second != second {
            self.second = second;
            self.local = calendar(second);
        }
    }
}

/// The level's word before the text, where there is to be one.
struct Word<'a>(&'a LogLine<'a>);

impl std::fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_worded { write!(f, "{}: ", self.0.level.word()) } else { Ok(()) }
    }
}

/// The calendar of a second; the origin's when none reaches so far.
fn calendar(second: u64) -> LocalTime {
    const ORIGIN: LocalTime =
        LocalTime { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, offset_minutes: 0 };
    local_time(second).unwrap_or(ORIGIN)
}

fn month(time: LocalTime) -> &'static str {
    MONTHS.get(usize::from(time.month).wrapping_sub(1)).unwrap_or(&MONTHS[0])
}

fn clock(time: LocalTime, out: &mut String) {
    let _ = write!(out, " {:02}:{:02}:{:02}", time.hour, time.minute, time.second);
}

/// RFC 3339 with milliseconds.
fn structured_time(time: LocalTime, micros: u32, out: &mut String) {
    let offset = time.offset_minutes.unsigned_abs();
    let sign = if time.offset_minutes < 0 { '-' } else { '+' };
    let _ = write!(
        out,
        "time={:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}{sign}{:02}:{:02}",
        time.year,
        time.month,
        time.day,
        time.hour,
        time.minute,
        time.second,
        micros / 1000,
        offset / 60,
        offset % 60,
    );
}

/// Text in double quotes; control characters are escaped already.
fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::log_pipe::Level;

    const MOMENT: LocalTime =
        LocalTime { year: 2024, month: 3, day: 7, hour: 4, minute: 5, second: 6, offset_minutes: -210 };

    /// A writer whose calendar is set by hand, so that the time zone of the machine does not matter.
    fn writer(style: Style) -> Writer {
        let (node, entity) = ("rsa".into(), "heartbeat".into());
        Writer { node, entity, prefix: None, style, second: 7, local: MOMENT }
    }

    fn line(text: &str) -> LogLine<'_> {
        let (entity, is_worded, dropped) = (None, true, 0);
        let (pid, process, seconds, micros) = (4711, "engine", 7, 98_765);
        LogLine { level: Level::Warn, pid, process, entity, is_worded, seconds, micros, dropped, text }
    }

    fn file_line(style: Style, text: &str) -> String {
        let mut out = String::new();
        writer(style).file_line(&line(text), &mut out);
        out
    }

    #[test]
    fn formats_are_exact() {
        let text = "node rsb: is dead";
        assert_eq!(
            file_line(Style::new(false, true), text),
            "Mar 07 04:05:06 rsa heartbeat: [4711]: WARN: node rsb: is dead\n"
        );
        assert_eq!(
            file_line(Style::new(false, false), text),
            "heartbeat[4711]: 2024/03/07_04:05:06 WARN: node rsb: is dead\n"
        );
        assert_eq!(
            file_line(Style::new(true, true), "say \"a\\b\""),
            "time=2024-03-07T04:05:06.098-03:30 level=WARN node=rsa process=engine pid=4711 text=\"say \\\"a\\\\b\\\"\"\n"
        );
    }

    #[test]
    fn syslog_priority_is_facility_and_level() {
        let mut out = String::new();
        writer(Style::Syslog).syslog_line(&line("x"), 16, &mut out);
        assert_eq!(out, "<132>Mar  7 04:05:06 heartbeat: [4711]: WARN: x");
    }

    #[test]
    fn the_calendar_follows_the_second() {
        let mut writer = writer(Style::Dated);
        let mut out = String::new();
        writer.file_line(&LogLine { seconds: 1_709_208_000, ..line("x") }, &mut out);
        let expected = calendar(1_709_208_000);
        assert!(out.contains(&format!("2024/02/{:02}", expected.day)) || out.contains("2024/03/01"), "{out}");
    }
}
