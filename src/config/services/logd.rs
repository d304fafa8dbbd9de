//! `logd.cf` (spec/api.md 8.3).

use std::path::{Path, PathBuf};

use super::apphbd::path;
use super::{Line, lines};
use crate::config::value;

/// Facilities of syslog by name, with their numbers.
pub const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
const DIRECTIVES: &str = "`logfile`, `debugfile`, `logfacility`, `entity`, `syslogprefix`, `logmode`, `syslogmsgfmt`, \
                          `sendqlen` or `recvqlen`";
/// Lines that may wait, when nothing else is said.
const QUEUE: usize = 128;
/// More are never kept.
const QUEUE_MAX: usize = 10_000;

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogdConfig {
    /// `logfile`: everything but debug.
    pub logfile: Option<PathBuf>,
    /// `debugfile`: everything.
    pub debugfile: Option<PathBuf>,
    /// `logfacility`; `None`: no syslog.
    pub facility: Option<String>,
    /// `entity`: the tag of its own lines.
    pub entity: String,
    /// `syslogprefix`: one tag for all lines in syslog.
    pub syslog_prefix: Option<String>,
    /// `logmode`: permissions of new files, before the umask.
    pub mode: u32,
    /// `syslogmsgfmt`
    pub is_syslog_format: bool,
    /// `sendqlen`: how many lines may be on their way to the process that writes; that many KiB and 32 more.
    pub send_queue: usize,
    /// `recvqlen`: how many lines of one client may wait.
    pub receive_queue: usize,
}

impl Default for LogdConfig {
    fn default() -> Self {
        Self {
            logfile: None,
            debugfile: None,
            facility: Some("daemon".to_owned()),
            entity: "logd".to_owned(),
            syslog_prefix: None,
            mode: 0o644,
            is_syslog_format: true,
            send_queue: QUEUE,
            receive_queue: QUEUE,
        }
    }
}

impl LogdConfig {
    /// Reads the file; one that is not there says nothing.
    ///
    /// # Errors
    /// One sentence about the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("Cannot open config file [{}]: {error}", path.display())),
        }
    }

    /// The same for a text that stands in `file`.
    ///
    /// # Errors
    /// As [`LogdConfig::read`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        for line in lines(file, text) {
            config.take(&line)?;
        }
        Ok(config)
    }

    fn take(&mut self, line: &Line<'_>) -> Result<(), String> {
        let value = line.value.0;
        let word = line.word.0.to_ascii_lowercase();
        let invalid = |expected: &str| line.refuse_value(&format!("invalid {word} [{value}]"), expected);
        let length = || {
            let length = value.parse().ok().filter(|length| *length <= QUEUE_MAX);
            length.ok_or_else(|| invalid(&format!("a number up to {QUEUE_MAX}")))
        };
        match word.as_str() {
            "logfile" => self.logfile = path(value),
            "debugfile" => self.debugfile = path(value),
            "logfacility" if value == "none" => self.facility = None,
            "logfacility" => {
                if !FACILITIES.iter().any(|(name, _)| *name == value) {
                    return Err(invalid("the name of a syslog facility or `none`"));
                }
                self.facility = Some(value.to_owned());
            }
            "entity" => {
                if !value.is_empty() {
                    self.entity = value.to_owned();
                }
            }
            "syslogprefix" => self.syslog_prefix = Some(value.to_owned()).filter(|prefix| !prefix.is_empty()),
            "logmode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                self.mode = mode.ok_or_else(|| invalid("an octal mode, such as 0644"))?;
            }
            "syslogmsgfmt" => {
                self.is_syslog_format = value::boolean(value).ok_or_else(|| invalid("`on` or `off`"))?;
            }
            "sendqlen" => self.send_queue = length()?,
            "recvqlen" => self.receive_queue = length()?,
            _ => {
                let found = format!("Illegal directive [{}] in {}", line.word.0, line.file.display());
                return Err(line.refuse(&found, DIRECTIVES));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LogdConfig, String> {
        LogdConfig::parse(Path::new("l.cf"), text)
    }

    #[test]
    fn everything_can_be_said_in_any_case_and_nothing_needs_to_be() {
        assert_eq!(parse("#	File\n\nlogfile\nentity\n"), Ok(LogdConfig::default()));
        assert_eq!(LogdConfig::read(Path::new("/nonexistent/l.cf")), Ok(LogdConfig::default()));
        let text = "LOGFILE /a b\nDebugfile /dev/null\nlogfacility local7\nentity me\nsyslogprefix all\nlogmode 0600\n\
                    syslogmsgfmt no\nsendqlen 256\nrecvqlen 10\n";
        let expected = LogdConfig {
            logfile: Some("/a b".into()),
            debugfile: None,
            facility: Some("local7".into()),
            entity: "me".into(),
            syslog_prefix: Some("all".into()),
            mode: 0o600,
            is_syslog_format: false,
            send_queue: 256,
            receive_queue: 10,
        };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse("logfacility none").unwrap().facility, None);
    }

    #[test]
    fn complaints_say_what_was_expected() {
        for (text, complaint) in [
            ("bogus x", "Illegal directive [bogus] in l.cf: l.cf:1:1: expected `logfile`"),
            ("logfacility x", "invalid logfacility [x]: l.cf:1:13: expected the name of a syslog facility"),
            ("logmode 9", "invalid logmode [9]: l.cf:1:9: expected an octal mode"),
            ("sendqlen -1", "invalid sendqlen [-1]: l.cf:1:10: expected a number"),
            ("recvqlen abc", "invalid recvqlen [abc]: l.cf:1:10: expected a number"),
            ("syslogmsgfmt maybe", "invalid syslogmsgfmt [maybe]: l.cf:1:14: expected `on` or `off`"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.starts_with(complaint), "{found}");
        }
    }
}
