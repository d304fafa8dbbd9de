//! What a checker asks, as its arguments say: a fixed number of words for each check.
//!
//! ```text
//! NUMBER GROUP|- EVERY TIMEOUT RISE FALL  tcp ADDRESS - - | http ADDRESS HOST PATH:EXPECT | ping ADDRESS - - | exec PATH - -
//! ```
//!
//! Times are in milliseconds. Files are not read: they are not for the eyes of whoever the checker runs as.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::schedule::Pace;
use crate::config::{CheckConfig, CheckKind};
use crate::core::limits::{CHECKS_MAX, GROUPS_MAX};

const WORDS: usize = 10;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Its place in ha.cf.
    pub number: u8,
    /// It is asked only while this group runs.
    pub group: Option<u8>,
    /// How often.
    pub pace: Pace,
    /// What.
    pub question: Question,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Whether something accepts connections.
    Tcp(SocketAddr),
    /// What a web server answers.
    Http {
        /// Where it is.
        address: SocketAddr,
        /// For its line `Host`.
        host: String,
        /// What is wanted.
        path: String,
        /// The good status code.
        expect: u16,
    },
    /// Whether a host answers.
    Ping(IpAddr),
    /// A program's exit code.
    Exec(PathBuf),
}

fn pace_of(config: &CheckConfig) -> Pace {
    Pace { every: config.every, timeout: config.timeout, rise: config.rise, fall: config.fall }
}

impl From<&CheckConfig> for Pace {
    fn from(config: &CheckConfig) -> Self {
        pace_of(config)
    }
}

impl Spec {
    /// `None` for what no checker asks: `monitor` is for the guardian.
    pub fn new(number: u8, config: &CheckConfig) -> Option<Self> {
        let question = match &config.kind {
            CheckKind::Monitor => return None,
            CheckKind::Tcp(address) => Question::Tcp(*address),
            CheckKind::Http { address, host, path, expect } => {
                Question::Http { address: *address, host: host.clone(), path: path.clone(), expect: *expect }
            }
            CheckKind::Ping(host) => Question::Ping(*host),
            CheckKind::Exec(program) => Question::Exec(program.clone()),
        };
        let group = config.group.and_then(|group| u8::try_from(group).ok());
        Some(Self { number, group, pace: pace_of(config), question })
    }

    /// The words that stand for it.
    pub fn words(&self) -> [String; WORDS] {
        let none = || "-".to_owned();
        let (kind, what, host, path) = match &self.question {
            Question::Tcp(address) => ("tcp", address.to_string(), none(), none()),
            Question::Http { address, host, path, expect } => {
                ("http", address.to_string(), host.clone(), format!("{expect}:{path}"))
            }
            Question::Ping(host) => ("ping", host.to_string(), none(), none()),
            Question::Exec(program) => ("exec", program.display().to_string(), none(), none()),
        };
        let group = self.group.map_or_else(none, |group| group.to_string());
        let Pace { every, timeout, rise, fall } = self.pace;
        let numbers =
            [every.as_millis(), timeout.as_millis(), rise.into(), fall.into()].map(|number| number.to_string());
        let [every, timeout, rise, fall] = numbers;
        [self.number.to_string(), group, every, timeout, rise, fall, kind.to_owned(), what, host, path]
    }

    /// All checks that these words stand for. `None`: they do not.
    pub fn read_all(words: &[String]) -> Option<Vec<Self>> {
        let pieces = words.chunks_exact(WORDS);
        if !pieces.remainder().is_empty() || words.len() > WORDS * CHECKS_MAX {
            return None;
        }
        pieces.map(Self::read).collect()
    }

    fn read(words: &[String]) -> Option<Self> {
        let [number, group, every, timeout, rise, fall, kind, what, host, path] = words else { return None };
        let millis = |word: &String| word.parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        let group = match group.as_str() {
            "-" => None,
            group => Some(group.parse().ok().filter(|group: &u8| usize::from(*group) < GROUPS_MAX)?),
        };
        let question = match kind.as_str() {
            "tcp" => Question::Tcp(what.parse().ok()?),
            "http" => {
                let (expect, path) = path.split_once(':')?;
                let (address, expect) = (what.parse().ok()?, expect.parse().ok()?);
                Question::Http { address, host: host.clone(), path: path.to_owned(), expect }
            }
            "ping" => Question::Ping(what.parse().ok()?),
            "exec" => Question::Exec(what.into()),
            _ => return None,
        };
        Some(Self {
            number: number.parse().ok().filter(|number: &u8| usize::from(*number) < CHECKS_MAX)?,
            group,
            pace: Pace {
                every: millis(every)?,
                timeout: millis(timeout)?,
                rise: rise.parse().ok()?,
                fall: fall.parse().ok()?,
            },
            question,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_were_written() {
        let pace = Pace { every: Duration::from_millis(100), timeout: Duration::from_secs(86_400), rise: 1, fall: 100 };
        let http = Question::Http {
            address: "[2001:db8::1]:80".parse().unwrap(),
            host: "-".into(),
            path: "/a:b?-".into(),
            expect: 404,
        };
        let questions = [
            Question::Tcp("10.0.0.1:1".parse().unwrap()),
            http,
            Question::Ping("::1".parse().unwrap()),
            Question::Exec("/bin/a b".into()),
        ];
        let specs: Vec<Spec> = (0..)
            .zip(questions)
            .map(|(number, question)| Spec { number, group: (number == 1).then_some(63), pace, question })
            .collect();
        let words: Vec<String> = specs.iter().flat_map(Spec::words).collect();
        assert_eq!(Spec::read_all(&words), Some(specs));
        assert_eq!(Spec::read_all(&[]), Some(Vec::new()));
        assert_eq!(Spec::read_all(&words[1..]), None);
        for at in 0..WORDS - 2 {
            let mut bad = words.clone();
            bad[at] = "x".into();
            assert_eq!(Spec::read_all(&bad), None, "word {at}");
        }
        let many: Vec<String> = words.iter().cycle().take(9 * words.len()).cloned().collect();
        assert_eq!(Spec::read_all(&many), None);
    }
}
