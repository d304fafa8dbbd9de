//! The last move of groups to this node: what took how long. In memory, and in a page ([`MovePage`]) from which the next
//! engine takes it.

use super::move_page::MovePage;
use crate::config::Config;
use crate::core::ids::GroupId;
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Cause, JobOutcome};

/// Scripts of one move whose duration is kept; further ones are counted only.
pub const SCRIPTS_MAX: usize = 64;
/// A group that starts so long after the last one did begins a new move.
const SAME_MOVE: Duration = Duration::from_secs(10);

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

/// Follows the moves.
#[derive(Debug)]
pub struct LastMove {
    last: Option<Box<Move>>,
    spare: Option<Box<Move>>,
    /// The partner was declared dead: when, and how long it had been silent.
    verdict: Option<(Instant, Duration)>,
    page: Option<MovePage>,
}

impl Default for LastMove {
    fn default() -> Self {
        Self {
            last: None,
            // Made now: a move must not be the moment for an allocation.
            spare: Some(Box::new(Move::begun(Cause::Startup, Stamp::default()))),
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

impl LastMove {
    /// Goes on with what an earlier engine has left in this page, if there is one.
    pub fn new(page: Option<MovePage>, config: &Config) -> Self {
        let last = page.as_ref().and_then(|page| page.adopt(config));
        Self { last, page, ..Self::default() }
    }

    fn keep(&self) {
        if let (Some(page), Some(last)) = (&self.page, &self.last) {
            page.put(last);
        }
    }

    /// The last move of groups to this node, perhaps still going on.
    pub fn get(&self) -> Option<&Move> {
        self.last.as_deref()
    }

    /// The partner was declared dead after it had been silent for `silence`.
    pub fn note_verdict(&mut self, at: Stamp, silence: Duration) {
        self.verdict = Some((at.now, silence));
    }

    /// A start job is given to the guardian: the beginning of a move, or a part of one that has the same cause and has
    /// just begun.
    pub fn note_start(&mut self, at: Stamp, cause: Cause) {
        self.begin_move(at, cause);
        if let Some(last) = &mut self.last {
            last.running += 1;
        }
        self.keep();
    }

    fn begin_move(&mut self, at: Stamp, cause: Cause) {
        let is_part = self.last.as_ref().is_some_and(|last| {
            last.cause == cause && (last.running > 0 || at.now.since(last.last_end.unwrap_or(last.at.now)) < SAME_MOVE)
        });
        if is_part {
            return;
        }
        let mut next = self.last.take().or_else(|| self.spare.take());
        if let Some(next) = &mut next {
            **next = Move::begun(cause, at);
            if cause == Cause::Death
                && let Some((verdict, silence)) = self.verdict.take()
            {
                next.detect = Some(silence);
                next.decide = at.now.since(verdict);
            }
        }
        self.last = next;
    }

    /// A script of a start job ended well.
    pub fn note_script(&mut self, script: Script) {
        if let Some(last) = &mut self.last
            && last.scripts.push(script).is_err()
        {
            last.more_scripts += 1;
        }
        self.keep();
    }

    /// A start job ended.
    pub fn note_job_end(&mut self, now: Instant, outcome: JobOutcome) {
        if let Some(last) = &mut self.last {
            last.running = last.running.saturating_sub(1);
            last.failed += u32::from(outcome != JobOutcome::Done);
            last.last_end = Some(now);
        }
        self.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Stamp {
        Stamp { now: Instant::from_millis(ms), wall: 1 }
    }

    #[test]
    fn move_after_death_tells_its_phases() {
        let mut moves = LastMove::default();
        moves.note_verdict(at(1000), Duration::from_millis(990));
        moves.note_start(at(1002), Cause::Death);
        moves.note_start(at(1002), Cause::Death);
        let script = Script { group: GroupId(0), resource: 1, micros: 1500 };
        moves.note_script(script);
        moves.note_job_end(Instant::from_millis(1010), JobOutcome::Done);
        moves.note_job_end(Instant::from_millis(1020), JobOutcome::Failed);
        let last = moves.get().unwrap();
        assert_eq!(last.detect, Some(Duration::from_millis(990)));
        assert_eq!(last.decide, Duration::from_millis(2));
        assert_eq!(last.scripts, [script]);
        assert_eq!((last.running, last.failed), (0, 1));
        assert_eq!(last.last_end, Some(Instant::from_millis(1020)));
    }

    #[test]
    fn move_with_another_cause_replaces_the_last_one() {
        let mut moves = LastMove::default();
        moves.note_verdict(at(0), Duration::from_secs(1));
        moves.note_start(at(1), Cause::Death);
        moves.note_start(at(2), Cause::Operator);
        let last = moves.get().unwrap();
        assert_eq!((last.cause, last.detect), (Cause::Operator, None));
        moves.note_job_end(Instant::from_millis(3), JobOutcome::Done);
        moves.note_start(at(20_000), Cause::Operator);
        assert_eq!(moves.get().unwrap().at, at(20_000), "long after: another move");
    }

    #[test]
    fn move_scripts_beyond_the_limit_are_counted() {
        let mut moves = LastMove::default();
        moves.note_start(at(1), Cause::Startup);
        for _ in 0..SCRIPTS_MAX + 3 {
            moves.note_script(Script { group: GroupId(0), resource: 0, micros: 1 });
        }
        let last = moves.get().unwrap();
        assert_eq!((last.scripts.len(), last.more_scripts), (SCRIPTS_MAX, 3));
    }
}
