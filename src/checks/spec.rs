//! What a checker asks, as its arguments say: a fixed number of words for each check.
//!
//! ```text
//! NUMBER GROUP|- EVERY TIMEOUT RISE FALL  tcp ADDRESS - - | http ADDRESS HOST PATH:EXPECT | ping ADDRESS - - | exec PATH - -
//!                                         | apphb NAME -|:INSTANCE SOCKET
//! ```
//!
//! Times are in milliseconds. Files are not read: they are not for the eyes of whoever the checker runs as.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::schedule::Pace;
use crate::config::services::apphbd::ApplicationName;
use crate::config::{CheckConfig, CheckKind, Question, question_word as word};
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
    /// Where `apphbd` is asked; empty for other questions.
    pub apphbd: PathBuf,
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
    /// `None` for what no checker asks: `monitor` is for the guardian. `apphbd` is that service's socket.
    pub fn new(number: u8, config: &CheckConfig, apphbd: &Path) -> Option<Self> {
        let CheckKind::Ask(question) = &config.kind else { return None };
        let group = config.group.and_then(|group| u8::try_from(group).ok());
        let apphbd = if matches!(question, Question::Apphb(_)) { apphbd.to_owned() } else { PathBuf::new() };
        Some(Self { number, group, pace: pace_of(config), question: question.clone(), apphbd })
    }

    /// The words that stand for it.
    pub fn words(&self) -> [String; WORDS] {
        let none = || "-".to_owned();
        let (what, host, path) = match &self.question {
            Question::Tcp(address) => (address.to_string(), none(), none()),
            Question::Http { address, host, path, expect } => {
                (address.to_string(), host.clone(), format!("{expect}:{path}"))
            }
            Question::Ping(host) => (host.to_string(), none(), none()),
            Question::Exec(program) => (program.display().to_string(), none(), none()),
            Question::Apphb(ApplicationName { name, instance }) => {
                let instance = instance.as_ref().map_or_else(none, |instance| format!(":{instance}"));
                (name.clone(), instance, self.apphbd.display().to_string())
            }
        };
        let group = self.group.map_or_else(none, |group| group.to_string());
        let Pace { every, timeout, rise, fall } = self.pace;
        let numbers =
            [every.as_millis(), timeout.as_millis(), rise.into(), fall.into()].map(|number| number.to_string());
        let [every, timeout, rise, fall] = numbers;
        [self.number.to_string(), group, every, timeout, rise, fall, self.question.word().to_owned(), what, host, path]
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
            word::TCP => Question::Tcp(what.parse().ok()?),
            word::HTTP => {
                let (expect, path) = path.split_once(':')?;
                let (address, expect) = (what.parse().ok()?, expect.parse().ok()?);
                Question::Http { address, host: host.clone(), path: path.to_owned(), expect }
            }
            word::PING => Question::Ping(what.parse().ok()?),
            word::EXEC => Question::Exec(what.into()),
            word::APPHB => {
                let instance = match host.strip_prefix(':') {
                    Some(instance) => Some(instance.to_owned()),
                    None if host == "-" => None,
                    None => return None,
                };
                Question::Apphb(ApplicationName { name: what.clone(), instance })
            }
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
            apphbd: if kind == word::APPHB { path.into() } else { PathBuf::new() },
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
            Question::Apphb(ApplicationName { name: "-".into(), instance: None }),
            Question::Apphb(ApplicationName { name: "web".into(), instance: Some("-".into()) }),
        ];
        let specs: Vec<Spec> = (0..)
            .zip(questions)
            .map(|(number, question)| {
                let is_apphb = matches!(question, Question::Apphb(_));
                let apphbd = if is_apphb { "/run/x".into() } else { PathBuf::new() };
                Spec { number, group: (number == 1).then_some(63), pace, question, apphbd }
            })
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
