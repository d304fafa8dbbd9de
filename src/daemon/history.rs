//! What has happened lately: a ring of fixed size, and the phases of the last move of groups to this node. In memory, and
//! in a page ([`HistoryPage`]) from which the next engine takes it.

use super::history_page::HistoryPage;
use crate::config::Config;
use crate::core::ids::{GroupId, LinkId};
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Cause, Event, JobOutcome, Order};

/// Entries that are kept; the oldest is overwritten.
pub const ENTRIES_MAX: usize = 256;
/// Scripts of one move whose duration is kept; further ones are counted only.
pub const SCRIPTS_MAX: usize = 64;
/// A group that starts so long after the last one did begins a new move.
const SAME_MOVE: Duration = Duration::from_secs(10);

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// As the core told it.
    Event(Event),
    /// A job of the guardian ended.
    Job {
        /// Of which group.
        group: GroupId,
        /// What was to be done.
        order: Order,
        /// How it ended.
        outcome: JobOutcome,
        /// Milliseconds from request to end.
        ms: u32,
    },
    /// A link's device was opened or lost.
    Device {
        /// Which.
        link: LinkId,
        /// Opened?
        is_open: bool,
    },
}

/// One thing that happened, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Counts from 1. A missing number was overwritten, or was about what a reload has taken away.
    pub number: u64,
    /// Both clocks.
    pub at: Stamp,
    /// What.
    pub what: What,
}

/// One script of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// Of which group.
    pub group: GroupId,
    /// Place in the group.
    pub resource: u8,
    /// How long it ran.
    pub micros: u32,
}

/// Groups moved to this node: what took how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// Why.
    pub cause: Cause,
    /// When the first group began to start.
    pub at: Stamp,
    /// After a death: from the partner's last sign of life to the verdict.
    pub detect: Option<Duration>,
    /// From the verdict, or from the decision when nobody died, to the first order to the guardian.
    pub decide: Duration,
    /// Scripts in the order in which they ended.
    pub scripts: heapless::Vec<Script, SCRIPTS_MAX>,
    /// Scripts beyond [`SCRIPTS_MAX`].
    pub more_scripts: u32,
    /// Start jobs that have not ended.
    pub running: u32,
    /// Start jobs that failed.
    pub failed: u32,
    /// When the last start job ended so far.
    pub last_end: Option<Instant>,
}

/// The ring and the last move.
#[derive(Debug)]
pub struct History {
    ring: Box<heapless::Deque<Entry, ENTRIES_MAX>>,
    last_number: u64,
    last_move: Option<Box<Move>>,
    spare_move: Option<Box<Move>>,
    /// The partner was declared dead: when, and how long it had been silent.
    verdict: Option<(Instant, Duration)>,
    page: Option<HistoryPage>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            ring: Box::new(heapless::Deque::new()),
            last_number: 0,
            last_move: None,
            // Made now: a move must not be the moment for an allocation.
            spare_move: Some(Box::new(Move::begun(Cause::Startup, Stamp::default()))),
            verdict: None,
            page: None,
        }
    }
}

impl Move {
    pub(super) const fn begun(cause: Cause, at: Stamp) -> Self {
        Self {
            cause,
            at,
            detect: None,
            decide: Duration::ZERO,
            scripts: heapless::Vec::new(),
            more_scripts: 0,
            running: 0,
            failed: 0,
            last_end: None,
        }
    }
}

impl History {
    /// Goes on with what an earlier engine has left in this page, if there is one.
    pub fn new(page: Option<HistoryPage>, config: &Config) -> Self {
        let mut this = Self::default();
        if let Some(page) = &page {
            let saved = page.adopt(config);
            this.last_number = saved.last_number;
            this.last_move = saved.last_move;
            for entry in saved.entries {
                let _ = this.ring.push_back(entry);
            }
        }
        this.page = page;
        this
    }

    fn keep_move(&self) {
        if let (Some(page), Some(last)) = (&self.page, &self.last_move) {
            page.put_move(last);
        }
    }

    /// Adds an entry.
    pub fn record(&mut self, at: Stamp, what: What) {
        if self.ring.is_full() {
            self.ring.pop_front();
        }
        self.last_number = self.last_number.saturating_add(1);
        let entry = Entry { number: self.last_number, at, what };
        let _ = self.ring.push_back(entry);
        if let Some(page) = &self.page {
            page.put_entry(&entry);
        }
    }

    /// What is kept, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ring.iter()
    }

    /// The last move of groups to this node, perhaps still going on.
    pub fn last_move(&self) -> Option<&Move> {
        self.last_move.as_deref()
    }

    /// The partner was declared dead after it had been silent for `silence`.
    pub fn note_verdict(&mut self, at: Stamp, silence: Duration) {
        self.verdict = Some((at.now, silence));
    }

    /// A start job is given to the guardian: the beginning of a move, or a part of one that has the same cause and has
    /// just begun.
    pub fn note_start(&mut self, at: Stamp, cause: Cause) {
        self.begin_move(at, cause);
        if let Some(last) = &mut self.last_move {
            last.running += 1;
        }
        self.keep_move();
    }

    fn begin_move(&mut self, at: Stamp, cause: Cause) {
        let is_part = self.last_move.as_ref().is_some_and(|last| {
            last.cause == cause && (last.running > 0 || at.now.since(last.last_end.unwrap_or(last.at.now)) < SAME_MOVE)
        });
        if is_part {
            return;
        }
        let mut next = self.last_move.take().or_else(|| self.spare_move.take());
        if let Some(next) = &mut next {
            **next = Move::begun(cause, at);
            if cause == Cause::Death
                && let Some((verdict, silence)) = self.verdict.take()
            {
                next.detect = Some(silence);
                next.decide = at.now.since(verdict);
            }
        }
        self.last_move = next;
    }

    /// A script of a start job ended well.
    pub fn note_script(&mut self, script: Script) {
        if let Some(last) = &mut self.last_move
            && last.scripts.push(script).is_err()
        {
            last.more_scripts += 1;
        }
        self.keep_move();
    }

    /// A start job ended.
    pub fn note_job_end(&mut self, now: Instant, outcome: JobOutcome) {
        if let Some(last) = &mut self.last_move {
            last.running = last.running.saturating_sub(1);
            last.failed += u32::from(outcome != JobOutcome::Done);
            last.last_end = Some(now);
        }
        self.keep_move();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Stamp {
        Stamp { now: Instant::from_millis(ms), wall: 1 }
    }

    fn late(ms: u32) -> What {
        What::Event(Event::Late { ms })
    }

    #[test]
    fn history_keeps_the_newest_and_numbers_without_gaps() {
        let mut history = History::default();
        for ms in 0..300 {
            history.record(at(u64::from(ms)), late(ms));
        }
        let numbers: Vec<u64> = history.entries().map(|entry| entry.number).collect();
        assert_eq!(numbers, (45..=300).collect::<Vec<u64>>());
        assert_eq!(history.entries().last().unwrap().what, late(299));
    }

    #[test]
    fn move_after_death_tells_its_phases() {
        let mut history = History::default();
        history.note_verdict(at(1000), Duration::from_millis(990));
        history.note_start(at(1002), Cause::Death);
        history.note_start(at(1002), Cause::Death);
        let script = Script { group: GroupId(0), resource: 1, micros: 1500 };
        history.note_script(script);
        history.note_job_end(Instant::from_millis(1010), JobOutcome::Done);
        history.note_job_end(Instant::from_millis(1020), JobOutcome::Failed);
        let last = history.last_move().unwrap();
        assert_eq!(last.detect, Some(Duration::from_millis(990)));
        assert_eq!(last.decide, Duration::from_millis(2));
        assert_eq!(last.scripts, [script]);
        assert_eq!((last.running, last.failed), (0, 1));
        assert_eq!(last.last_end, Some(Instant::from_millis(1020)));
    }

    #[test]
    fn move_with_another_cause_replaces_the_last_one() {
        let mut history = History::default();
        history.note_verdict(at(0), Duration::from_secs(1));
        history.note_start(at(1), Cause::Death);
        history.note_start(at(2), Cause::Operator);
        let last = history.last_move().unwrap();
        assert_eq!((last.cause, last.detect), (Cause::Operator, None));
        history.note_job_end(Instant::from_millis(3), JobOutcome::Done);
        history.note_start(at(20_000), Cause::Operator);
        assert_eq!(history.last_move().unwrap().at, at(20_000), "long after: another move");
    }

    #[test]
    fn move_scripts_beyond_the_limit_are_counted() {
        let mut history = History::default();
        history.note_start(at(1), Cause::Startup);
        for _ in 0..SCRIPTS_MAX + 3 {
            history.note_script(Script { group: GroupId(0), resource: 0, micros: 1 });
        }
        let last = history.last_move().unwrap();
        assert_eq!((last.scripts.len(), last.more_scripts), (SCRIPTS_MAX, 3));
    }
}
