//! `apphbd.cf` (spec/api.md 7.3).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Line, lines};
use crate::config::ResetWith;

/// The shortest `watchdog_interval_ms`.
const INTERVAL_MIN: u64 = 10;
const DIRECTIVES: &str = "`debug_level`, `debugfile`, `logfile`, `realtime`, `watchdog_device`, `watchdog_interval_ms`, \
                          `watchdog_needs` or `reset_with`";

/// Applications of one name, or one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationName {
    /// Name of the program.
    pub name: String,
    /// Which of several; `None`: each.
    pub instance: Option<String>,
}

impl ApplicationName {
    /// Reads `NAME` or `NAME:INSTANCE`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, instance) = match text.split_once(':') {
            Some((name, instance)) => (name, Some(instance.to_owned())),
            None => (text, None),
        };
        (!name.is_empty()).then(|| Self { name: name.to_owned(), instance })
    }

    /// Whether it is one of these.
    pub fn is_met_by(&self, name: &str, instance: &str) -> bool {
        self.name == name && self.instance.as_ref().is_none_or(|wanted| wanted == instance)
    }
}

impl fmt::Display for ApplicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.instance.as_ref().map_or(Ok(()), |instance| write!(f, ":{instance}"))
    }
}

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
    /// `watchdog_needs`, ours, any number: applications without which it is not kicked.
    pub watchdog_needs: Vec<ApplicationName>,
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
            watchdog_needs: Vec::new(),
            reset_with: ResetWith::Reboot,
        }
    }
}

impl ApphbdConfig {
    /// Reads the file; what it does not say is as in `usual`.
    ///
    /// # Errors
    /// One sentence about the first thing that is wrong.
    pub fn read(path: &Path, usual: Self) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("Cannot open config file:[{}]: {error}", path.display()))?;
        Self::parse(path, &text, usual)
    }

    /// The same for a text that stands in `file`.
    ///
    /// # Errors
    /// As [`ApphbdConfig::read`].
    pub fn parse(file: &Path, text: &str, usual: Self) -> Result<Self, String> {
        let mut config = usual;
        for line in lines(file, text) {
            config.take(&line)?;
        }
        if config.reset_with == ResetWith::Watchdog && config.watchdog.is_none() {
            return Err(format!("`reset_with watchdog` in {} without a `watchdog_device`", file.display()));
        }
        if !config.watchdog_needs.is_empty() && config.watchdog.is_none() {
            return Err(format!("`watchdog_needs` in {} without a `watchdog_device`", file.display()));
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
            "watchdog_needs" => {
                self.watchdog_needs
                    .push(ApplicationName::parse(value).ok_or_else(|| invalid("`NAME` or `NAME:INSTANCE`"))?);
            }
            "reset_with" => {
                let way = ResetWith::parse(value);
                self.reset_with = way.ok_or_else(|| invalid("`reboot`, `sysrq`, `watchdog` or `hook PATH`"))?;
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
        ApphbdConfig::parse(Path::new("a.cf"), text, ApphbdConfig::default())
    }

    #[test]
    fn everything_can_be_said_and_nothing_needs_to_be() {
        assert_eq!(parse("# nothing\n"), Ok(ApphbdConfig::default()));
        let usual = ApphbdConfig { reset_with: ResetWith::Sysrq, ..ApphbdConfig::default() };
        assert_eq!(ApphbdConfig::parse(Path::new("a.cf"), "debug_level 3", usual.clone()), Ok(usual));
        let text = "debug_level 1\nlogfile /a\ndebugfile /dev/null\nrealtime no\nwatchdog_device /dev/wd\n\
                    watchdog_interval_ms 10\nwatchdog_needs web\nwatchdog_needs db:main\nreset_with hook /bin/x\n";
        let expected = ApphbdConfig {
            debug: 1,
            logfile: Some("/a".into()),
            debugfile: None,
            is_realtime: false,
            watchdog: Some("/dev/wd".into()),
            watchdog_interval: Duration::from_millis(10),
            watchdog_needs: ["web", "db:main"].map(|need| ApplicationName::parse(need).unwrap()).to_vec(),
            reset_with: ResetWith::Hook("/bin/x".into()),
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn applications_are_named_with_and_without_an_instance() {
        assert_eq!(ApplicationName::parse(":x"), None);
        assert_eq!(ApplicationName::parse(""), None);
        let one = ApplicationName::parse("a:b:c").unwrap();
        assert!(one.is_met_by("a", "b:c") && !one.is_met_by("a", "b"));
        assert!(ApplicationName::parse("a").unwrap().is_met_by("a", "whatever"));
        assert_eq!(ApplicationName::parse(&one.to_string()), Some(one));
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
            ("watchdog_needs :x", "invalid watchdog_needs [:x] specified: a.cf:1:16: expected `NAME`"),
            ("watchdog_needs x", "`watchdog_needs` in a.cf without a `watchdog_device`"),
            ("reset_with watchdog", "`reset_with watchdog` in a.cf without a `watchdog_device`"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.starts_with(complaint), "{found}");
        }
        let missing = ApphbdConfig::read(Path::new("/nonexistent/a.cf"), ApphbdConfig::default()).unwrap_err();
        assert!(missing.starts_with("Cannot open config file:[/nonexistent/a.cf]"), "{missing}");
    }
}
