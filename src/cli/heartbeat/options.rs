//! The command line of `heartbeat`: one-letter options, as getopt(3) takes them.

use crate::cli::arguments::{Arguments, PLACES};
use crate::config::Paths;

/// Letters that stand alone; `C` takes a value.
const LETTERS: &str = "dDkMrRsvWlVf";

/// Takes our directory options out of a command line of Heartbeat's.
pub(super) fn split_places(args: &[String]) -> (Paths, Vec<String>) {
    let (mut places, mut rest) = (Vec::new(), Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        if PLACES.iter().any(|place| place.name() == name) {
            places.push(word.clone());
            if name == word {
                places.extend(words.next().cloned());
            }
        } else {
            rest.push(word.clone());
        }
    }
    (Arguments::parse(&places, &PLACES).unwrap_or_default().paths(), rest)
}

/// What the options ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    letters: Vec<char>,
    /// What getopt(3) complains of, in its words, behind the program's name.
    pub(super) complaints: Vec<String>,
}

impl Wish {
    /// Takes the words apart. Those that are no option are ignored, as Heartbeat does.
    pub(super) fn parse(args: &[String]) -> Self {
        let mut wish = Self::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
            while let Some(letter) = letters.next() {
                if letter == 'C' {
                    wish.letters.push(letter);
                    if letters.as_str().is_empty() && words.next().is_none() {
                        wish.complaints.push("option requires an argument -- 'C'".to_owned());
                    }
                    break;
                }
                if LETTERS.contains(letter) {
                    wish.letters.push(letter);
                } else {
                    wish.complaints.push(format!("invalid option -- '{letter}'"));
                }
            }
        }
        wish
    }

    /// Whether the letter was given.
    pub(super) fn has(&self, letter: char) -> bool {
        self.letters.contains(&letter)
    }

    /// Whether it makes no sense (spec/config.md section 4).
    pub(super) fn is_misuse(&self) -> bool {
        !self.complaints.is_empty() || (self.has('C') && !self.has('R'))
    }

    /// By how much `-d` raises the debug level.
    pub(super) fn debug(&self) -> u8 {
        u8::try_from(self.letters.iter().filter(|letter| **letter == 'd').count()).unwrap_or(u8::MAX)
    }

    /// `-d`, `-l` and `-M` as options of `nullbeat run`.
    pub(super) fn for_run(&self) -> Vec<String> {
        let debug = (self.debug() > 0).then(|| format!("--debug={}", self.debug()));
        let switches = [('l', "--no-realtime"), ('M', "--no-resources")];
        let given = switches.into_iter().filter(|(letter, _)| self.has(*letter)).map(|(_, word)| word.to_owned());
        debug.into_iter().chain(given).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn parse(text: &str) -> Wish {
        Wish::parse(&words(text))
    }

    #[test]
    fn options_come_in_clusters_and_words_are_ignored() {
        assert_eq!(parse("-df extra -s -").letters, ['d', 'f', 's']);
        assert_eq!(parse("-R -C all -d").letters, ['R', 'C', 'd']);
        assert_eq!(parse("-RCall -d").letters, ['R', 'C', 'd']);
        assert_eq!(parse("-s -- -x").complaints, Vec::<String>::new());
    }

    #[test]
    fn misuse_is_told_in_the_words_of_getopt() {
        // `l` is an option.
        let complaints = ["-", "h", "e", "p"].map(|letter| format!("invalid option -- '{letter}'"));
        assert_eq!(parse("--help").complaints, complaints);
        assert_eq!(parse("-R -C").complaints, ["option requires an argument -- 'C'"]);
        assert!(parse("-C all").is_misuse() && parse("-C all -s").is_misuse());
        assert!(!parse("-R -C all").is_misuse() && !parse("-r -R").is_misuse());
    }

    #[test]
    fn options_of_the_daemon_go_on_to_it() {
        assert_eq!(parse("-dfd -lM").for_run(), ["--debug=2", "--no-realtime", "--no-resources"]);
        assert_eq!(parse("-f").for_run(), Vec::<String>::new());
    }

    #[test]
    fn directories_may_stand_anywhere() {
        let (paths, rest) = split_places(&words("-s --run-dir=/a --config-dir /b x"));
        assert_eq!((paths.run.to_str(), paths.config.to_str()), (Some("/a"), Some("/b")));
        assert_eq!(paths.state.to_str(), Some("/var/lib/nullbeat"));
        assert_eq!(rest, ["-s", "x"]);
    }
}
