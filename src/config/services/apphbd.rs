//! `apphbd.cf` (spec/api.md 7.3).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Line, lines};
use crate::config::ResetWith;

/// The shortest `watchdog_interval_ms`.
const INTERVAL_MIN: u64 = 10;
const DIRECTIVES: &str = "`debug_level`, `debugfile`, `logfile`, `realtime`, `watchdog_device`, `watchdog_interval_ms` or \
                          `reset_with`";

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApphbdConfig {
    /// `debug_level`: from 1 on requests are logged, from 2 on their arrival as well. With 0 neither file is used.
    pub debug: u8,
    /// `debugfile`: everything.
    pub debugfile: Option<PathBuf>,
    /// `logfile`: everything but debug.
    pub logfile: Option<PathBuf>,
    /// `realtime`
    pub is_realtime: bool,
    /// `watchdog_device`
    pub watchdog: Option<PathBuf>,
    /// `watchdog_interval_ms`: from one kick to the next.
    pub watchdog_interval: Duration,
    /// `reset_with`, ours: how the board is reset for an application that has asked for it.
    pub reset_with: ResetWith,
}

impl Default for ApphbdConfig {
    fn default() -> Self {
        Self {
            debug: 3,
            debugfile: None,
            logfile: None,
            is_realtime: true,
            watchdog: None,
            watchdog_interval: Duration::from_secs(1),
            reset_with: ResetWith::Reboot,
        }
    }
}

impl ApphbdConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// One sentence about the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("Cannot open config file:[{}]: {error}", path.display()))?;
        Self::parse(path, &text)
    }

    /// The same for a text that stands in `file`.
    ///
    /// # Errors
    /// As [`ApphbdConfig::read`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        for line in lines(file, text) {
            config.take(&line)?;
        }
        if config.reset_with == ResetWith::Watchdog && config.watchdog.is_none() {
            return Err(format!("`reset_with watchdog` in {} without a `watchdog_device`", file.display()));
        }
        Ok(config)
    }

    fn take(&mut self, line: &Line<'_>) -> Result<(), String> {
        let (word, value) = (line.word.0, line.value.0);
        let invalid = |expected: &str| line.refuse_value(&format!("invalid {word} [{value}] specified"), expected);
        match word {
            "debug_level" => self.debug = value.parse().map_err(|_| invalid("a number from 0 to 255"))?,
            "debugfile" => self.debugfile = path(value),
            "logfile" => self.logfile = path(value),
            "realtime" => {
                self.is_realtime = match value {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(invalid("`yes` or `no`")),
                }
            }
            "watchdog_device" => self.watchdog = path(value),
            "watchdog_interval_ms" => {
                let ms = value.parse().ok().filter(|ms| *ms >= INTERVAL_MIN);
                let ms = ms.ok_or_else(|| invalid(&format!("a number of milliseconds, at least {INTERVAL_MIN}")))?;
                self.watchdog_interval = Duration::from_millis(ms);
            }
            "reset_with" => {
                self.reset_with = match (value, value.strip_prefix("hook").map(str::trim_start)) {
                    ("reboot", _) => ResetWith::Reboot,
                    ("sysrq", _) => ResetWith::Sysrq,
                    ("watchdog", _) => ResetWith::Watchdog,
                    (_, Some(program)) if program.starts_with('/') => ResetWith::Hook(program.into()),
                    _ => return Err(invalid("`reboot`, `sysrq`, `watchdog` or `hook PATH`")),
                }
            }
            // No such plugin is in any package, and a program that is one static file loads none.
            "notify_plugin" => return Err(line.refuse_value(&format!("cannot load plugin {value}"), "no plugin")),
            _ => return Err(line.refuse(&format!("Illegal directive [{word}] in {}", line.file.display()), DIRECTIVES)),
        }
        Ok(())
    }
}

/// `/dev/null` and nothing at all stand for none.
pub(super) fn path(value: &str) -> Option<PathBuf> {
    Some(value).filter(|value| !value.is_empty() && *value != "/dev/null").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ApphbdConfig, String> {
        ApphbdConfig::parse(Path::new("a.cf"), text)
    }

    #[test]
    fn everything_can_be_said_and_nothing_needs_to_be() {
        assert_eq!(parse("# nothing\n"), Ok(ApphbdConfig::default()));
        let text = "debug_level 1\nlogfile /a\ndebugfile /dev/null\nrealtime no\nwatchdog_device /dev/wd\n\
                    watchdog_interval_ms 10\nreset_with hook /bin/x\n";
        let expected = ApphbdConfig {
            debug: 1,
            logfile: Some("/a".into()),
            debugfile: None,
            is_realtime: false,
            watchdog: Some("/dev/wd".into()),
            watchdog_interval: Duration::from_millis(10),
            reset_with: ResetWith::Hook("/bin/x".into()),
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn complaints_begin_as_those_of_the_original() {
        for (text, complaint) in [
            ("bogus 1", "Illegal directive [bogus] in a.cf: a.cf:1:1: expected `debug_level`"),
            ("\nREALTIME no", "Illegal directive [REALTIME] in a.cf: a.cf:2:1: expected"),
            ("debug_level x", "invalid debug_level [x] specified: a.cf:1:13: expected a number"),
            ("realtime maybe", "invalid realtime [maybe] specified: a.cf:1:10: expected `yes` or `no`"),
            ("watchdog_interval_ms 5", "invalid watchdog_interval_ms [5] specified: a.cf:1:22: expected"),
            ("notify_plugin nope", "cannot load plugin nope: a.cf:1:15: expected no plugin"),
            ("reset_with hook x", "invalid reset_with [hook x] specified: a.cf:1:12: expected `reboot`"),
            ("reset_with watchdog", "`reset_with watchdog` in a.cf without a `watchdog_device`"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.starts_with(complaint), "{found}");
        }
        let missing = ApphbdConfig::read(Path::new("/nonexistent/a.cf")).unwrap_err();
        assert!(missing.starts_with("Cannot open config file:[/nonexistent/a.cf]"), "{missing}");
    }
}
