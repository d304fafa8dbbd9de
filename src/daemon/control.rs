//! The control socket: how people and scripts ask a running node.
//!
//! A Unix stream socket, `control` in the run directory. Who may connect is the socket's file mode's business (the owner
//! and one group); who may give orders is decided by the kernel's word about the other end (SO_PEERCRED): root, and the
//! user who started the daemon. One connection carries one request and its answer:
//!
//! ```text
//!   client   standby all⏎                      one line of at most 64 bytes
//!   server   code 0⏎                           an exit code of design.md section 7
//!            …⏎                                a report, or a sentence for people; any number of lines
//!            end⏎                              without it the answer is not whole
//! ```
//!
//! | request | answer |
//! |---|---|
//! | `status` | a [report](super::report) |
//! | `standby`, `takeover`, `failback` with `all`, `local` or `foreign` | when it is finished |
//! | `hold`, `resume`, `confirm-fence` | at once |
//! | `stop` | when everything is released, just before the daemon ends |
//! | `reload`, `reload binary` | only when it is refused; else the connection ends without an answer |
//!
//! The server is part of the engine and must never keep it waiting: see [`server`].

pub mod client;
pub mod server;

use std::fmt::{self, Write as _};

use crate::core::ids::GroupId;
use crate::core::message::Holds;
use crate::core::{Failure, Outcome, Refusal, Request};
use crate::sys::memory;

pub use server::ControlServer;

/// Name of the socket in the run directory.
pub const SOCKET_NAME: &str = "control";
/// Longest request line, newline included.
pub const REQUEST_MAX: usize = 64;

/// What a client can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlRequest {
    /// Tell; for everybody who may connect.
    Query(Query),
    /// Do; for root and the daemon's own user.
    Command(Command),
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Everything about now.
    Status,
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The core's to decide.
    Node(Request),
    /// The guardian's: read the files again, start the new program when `is_binary`.
    Reload {
        /// `reload binary`.
        is_binary: bool,
    },
}

impl ControlRequest {
    /// The request that a line without its newline stands for.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let verb = words.next()?;
        let word = words.next();
        if words.next().is_some() {
            return None;
        }
        let set = || match word {
            None | Some("all") => Some(Holds::ALL),
            Some("local") => Some(Holds::LOCAL),
            Some("foreign") => Some(Holds::FOREIGN),
            Some(_) => None,
        };
        let request = match (verb, word) {
            ("standby", _) => Request::Standby(set()?),
            ("takeover", _) => Request::Takeover(set()?),
            ("failback", _) => Request::Failback(set()?),
            ("hold", None) => Request::Hold,
            ("resume", None) => Request::Resume,
            ("confirm-fence", None) => Request::ConfirmFence,
            ("stop", None) => Request::Stop,
            ("status", None) => return Some(Self::Query(Query::Status)),
            ("reload", None) => return Some(Self::Command(Command::Reload { is_binary: false })),
            ("reload", Some("binary")) => return Some(Self::Command(Command::Reload { is_binary: true })),
            _ => return None,
        };
        Some(Self::Command(Command::Node(request)))
    }
}

/// Exit code and sentence for the outcome of a request; `key` names a group.
pub fn outcome_answer<'a>(outcome: Outcome, key: impl Fn(GroupId) -> &'a str, out: &mut Sheet) -> u8 {
    let mut say = |text: fmt::Arguments<'_>| {
        let _ = out.write_fmt(text);
    };
    match outcome {
        Outcome::Done => 0,
        Outcome::Nothing => {
            say(format_args!("nothing had to be done\n"));
            0
        }
        Outcome::Refused(refusal) => {
            say(format_args!("{}\n", refusal_words(refusal)));
            75
        }
        Outcome::Failed(failure) => {
            match failure {
                Failure::Start(group) => say(format_args!("group {} could not be started\n", key(group))),
                Failure::Stop(group) => {
                    say(format_args!("group {} could not be stopped and may still be running here\n", key(group)));
                }
                Failure::PartnerDied => say(format_args!("the partner died on the way\n")),
                Failure::Cancelled => say(format_args!("a later request or a shutdown put an end to it\n")),
            }
            1
        }
    }
}

pub(super) const fn refusal_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::PartnerAbsent => "the partner is dead or not yet a full member",
        Refusal::PartnerAlive => "the partner is alive: nobody can vouch for its being off",
        Refusal::PartnerInFlux => "the partner is in the middle of a move of its own; try again",
        Refusal::LocalInFlux => "this node is in the middle of a move; try again",
        Refusal::ShuttingDown => "this node is shutting down",
        Refusal::NoPart => "this node takes no part in ownership",
        Refusal::Busy => "too many requests are waiting; try again",
        Refusal::Legacy => "the other node runs Heartbeat with `auto_failback legacy`, which hands nothing over",
        Refusal::NoGuardian => "scripts cannot be run at the moment: the guardian does not answer",
        Refusal::FixedNodes => "with haresources the nodes are those of the `node` lines",
        Refusal::TooManyNodes => "the table of nodes is full",
        Refusal::BadName => "this can be no name",
        Refusal::UnknownNode => "there is no such node",
        Refusal::NodeAlive => "the node is not dead",
        Refusal::NodesMissing => "not all other nodes are alive to hear of it",
        Refusal::NoAnswer => "the partner did not answer the hand-over",
    }
}

/// Bounded text in memory reserved once. What does not fit is left out, by whole lines, and marked.
#[derive(Debug)]
pub struct Sheet {
    text: String,
    limit: usize,
    is_full: bool,
}

impl Sheet {
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let text = idle_text(vec![0; limit + Self::MARK.len()]);
        Self { text, limit, is_full: false }
    }

    const MARK: &str = "truncated\n";

    /// Starts afresh.
    pub fn clear(&mut self) {
        self.text.clear();
        self.is_full = false;
    }

    /// Starts afresh, and gives back the pages that the text took: answers are rare.
    pub fn give_back(&mut self) {
        self.text = idle_text(std::mem::take(&mut self.text).into_bytes());
        self.is_full = false;
    }

    /// The text; its last line says so when something was left out.
    pub fn finish(&mut self) -> &str {
        if self.is_full && !self.text.ends_with(Self::MARK) {
            let end = self.text.rfind('\n').map_or(0, |at| at + 1);
            self.text.truncate(end);
            self.text.push_str(Self::MARK);
        }
        &self.text
    }
}

/// An empty text in the memory of `bytes`, whose pages come again when they are written.
fn idle_text(mut bytes: Vec<u8>) -> String {
    memory::give_back(&mut bytes);
    bytes.clear();
    String::from_utf8(bytes).unwrap_or_default()
}

impl fmt::Write for Sheet {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_full || self.text.len() + text.len() > self.limit {
            self.is_full = true;
        } else {
            self.text.push_str(text);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole_lines_of_known_words() {
        let node = |request| Some(ControlRequest::Command(Command::Node(request)));
        assert_eq!(ControlRequest::parse("standby"), node(Request::Standby(Holds::ALL)));
        assert_eq!(ControlRequest::parse("takeover local"), node(Request::Takeover(Holds::LOCAL)));
        assert_eq!(ControlRequest::parse("failback  foreign "), node(Request::Failback(Holds::FOREIGN)));
        assert_eq!(ControlRequest::parse("stop"), node(Request::Stop));
        assert_eq!(ControlRequest::parse("status"), Some(ControlRequest::Query(Query::Status)));
        assert_eq!(
            ControlRequest::parse("reload binary"),
            Some(ControlRequest::Command(Command::Reload { is_binary: true }))
        );
        for bad in ["", " ", "Status", "status all", "standby none", "standby all now", "stop now", "reload x", "\0"] {
            assert_eq!(ControlRequest::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_outcome_has_its_code_and_words() {
        let answer = |outcome| {
            let mut sheet = Sheet::new(200);
            let code = outcome_answer(outcome, |_| "10.0.0.1", &mut sheet);
            (code, sheet.finish().to_string())
        };
        assert_eq!(answer(Outcome::Done), (0, String::new()));
        assert_eq!(answer(Outcome::Nothing), (0, "nothing had to be done\n".into()));
        assert_eq!(
            answer(Outcome::Refused(Refusal::PartnerAbsent)),
            (75, "the partner is dead or not yet a full member\n".into())
        );
        assert_eq!(
            answer(Outcome::Failed(Failure::Start(GroupId(0)))),
            (1, "group 10.0.0.1 could not be started\n".into())
        );
    }

    #[test]
    fn a_full_sheet_ends_with_a_whole_line_and_says_so() {
        let mut sheet = Sheet::new(12);
        for text in ["one\n", "two\n", "three", "\n", "x"] {
            sheet.write_str(text).unwrap();
        }
        assert_eq!(sheet.finish(), "one\ntwo\ntruncated\n");
        assert_eq!(sheet.finish(), "one\ntwo\ntruncated\n");
        sheet.clear();
        sheet.write_str("four\n").unwrap();
        assert_eq!(sheet.finish(), "four\n");
    }
}
