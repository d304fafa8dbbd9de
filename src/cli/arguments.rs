//! Options of the verbs: long names, `--name VALUE` or `--name=VALUE`, anywhere among the words.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Paths, time};

use super::exit;

/// An option that a verb knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Stands alone, such as `--json`.
    Switch(&'static str),
    /// Takes a value, such as `--run-dir DIR`.
    Value(&'static str),
}

impl Flag {
    /// As typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Switch(name) | Self::Value(name) => name,
        }
    }
}

/// Where the node keeps its things: known to every verb that has to do with a node.
pub const PLACES: [Flag; 3] = [Flag::Value("--config-dir"), Flag::Value("--run-dir"), Flag::Value("--state-dir")];

/// A command line that makes no sense, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misuse(pub String);

impl Misuse {
    /// Tells the user and gives the exit code for it.
    pub fn report(&self, verb: &str) -> u8 {
        eprintln!("nullbeat {verb}: {}; see `nullbeat help {verb}`", self.0);
        exit::USAGE
    }
}

/// A command line taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    flags: Vec<(&'static str, Option<String>)>,
    /// What is no option, in order.
    pub words: Vec<String>,
}

impl Arguments {
    /// Sorts `args` into the options in `known` and plain words. After `--` everything is a word.
    pub fn parse(args: &[String], known: &[Flag]) -> Result<Self, Misuse> {
        let mut parsed = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                parsed.words.extend(rest.by_ref().cloned());
            } else if arg.len() < 2 || !arg.starts_with('-') {
                parsed.words.push(arg.clone());
            } else {
                let (name, given) =
                    arg.split_once('=').map_or((arg.as_str(), None), |(name, value)| (name, Some(value)));
                let flag = known.iter().find(|flag| flag.name() == name).ok_or_else(|| unknown(name, known))?;
                let value = match (*flag, given) {
                    (Flag::Switch(_), None) => None,
                    (Flag::Switch(_), Some(_)) => return Err(Misuse(format!("option `{name}` takes no value"))),
                    (Flag::Value(_), Some(value)) => Some(value.to_string()),
                    (Flag::Value(_), None) => {
                        Some(rest.next().ok_or_else(|| Misuse(format!("option `{name}` needs a value")))?.clone())
                    }
                };
                parsed.flags.push((flag.name(), value));
            }
        }
        Ok(parsed)
    }

    /// Whether the switch was given.
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(flag, _)| *flag == name)
    }

    /// The value of an option; the last one given wins.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(flag, _)| *flag == name).and_then(|(_, value)| value.as_deref())
    }

    /// Refuses plain words beyond the first `count`.
    pub fn at_most(&self, count: usize) -> Result<(), Misuse> {
        self.words.get(count).map_or(Ok(()), |word| Err(Misuse(format!("unexpected argument `{word}`"))))
    }

    /// The directories of [`PLACES`], each with its default.
    pub fn paths(&self) -> Paths {
        let place = |name, default: &str| PathBuf::from(self.value(name).unwrap_or(default));
        Paths {
            config: place("--config-dir", "/etc/ha.d"),
            run: place("--run-dir", "/run/nullbeat"),
            state: place("--state-dir", "/var/lib/nullbeat"),
        }
    }

    /// An option in seconds (`1.5`) or as ha.cf takes a time (`1500ms`), at most a day; `None` when it was not given.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>, Misuse> {
        let Some(text) = self.value(name) else { return Ok(None) };
        time(text)
            .ok()
            .filter(|time| (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(time))
            .map(Some)
            .ok_or_else(|| Misuse(format!("option `{name}` expects seconds from 0.001 to 86400, found `{text}`")))
    }
}

fn unknown(name: &str, known: &[Flag]) -> Misuse {
    let hint = nearest(name, known.iter().map(|flag| flag.name()));
    let hint = hint.map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
    Misuse(format!("unknown option `{name}`{hint}"))
}

/// The word of `known` that is closest to `word`, when a slip of the fingers explains the difference: at most a third of
/// its letters, rounded up, were changed, added, left out or swapped with their neighbour.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to change, add, drop or swap to get from one word to the other (restricted Damerau–Levenshtein).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
                let is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if is_swap { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Flag; 2] = [Flag::Switch("--json"), Flag::Value("--run-dir")];

    fn parse(text: &str) -> Result<Arguments, Misuse> {
        Arguments::parse(&text.split_whitespace().map(str::to_string).collect::<Vec<_>>(), &KNOWN)
    }

    #[test]
    fn options_may_stand_anywhere_and_the_last_one_wins() {
        let parsed = parse("all --run-dir=/a --json --run-dir /b more").unwrap();
        assert!(parsed.has("--json"));
        assert_eq!(parsed.value("--run-dir"), Some("/b"));
        assert_eq!(parsed.words, ["all", "more"]);
        assert_eq!(parsed.at_most(1), Err(Misuse("unexpected argument `more`".into())));
        assert_eq!(parse("-- --json").unwrap().words, ["--json"]);
    }

    #[test]
    fn mistakes_are_named() {
        let text = |line| parse(line).unwrap_err().0;
        assert_eq!(text("--jsno"), "unknown option `--jsno`, did you mean `--json`?");
        assert_eq!(text("--xyzzyfoo"), "unknown option `--xyzzyfoo`");
        assert_eq!(text("--json=1"), "option `--json` takes no value");
        assert_eq!(text("--run-dir"), "option `--run-dir` needs a value");
    }

    #[test]
    fn seconds_are_bounded() {
        let seconds = |value: &str| {
            let args = [format!("--timeout={value}")];
            Arguments::parse(&args, &[Flag::Value("--timeout")]).unwrap().seconds("--timeout")
        };
        assert_eq!(seconds("1.5"), Ok(Some(Duration::from_millis(1500))));
        for bad in ["0", "-1", "NaN", "inf", "1e9", "x", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nearest_finds_slips_only() {
        let verbs = ["standby", "status", "stop"];
        let near = |word| nearest(word, verbs.into_iter());
        assert_eq!(near("stauts"), Some("status"));
        assert_eq!(near("stnadby"), Some("standby"));
        assert_eq!(near("reboot"), None);
    }
}
