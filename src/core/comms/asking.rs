//! How much of what is missing is asked for at once, and when again.
//!
//! A fast line answers within milliseconds, over a slow one each message takes a fifth of a second and whatever is asked
//! for twice is sent twice: two nodes that had lost forty messages would keep a line of 9600 baud full for minutes. So a
//! round asks for a few numbers, and the next one begins when these have come. Rounds grow as long as they end soon and
//! shrink when they take long or are in vain; while answers still trickle in nothing is repeated.

use crate::core::ids::Seq;
use crate::core::limits::REXMIT_BURST;
use crate::core::time::{Duration, Instant};

/// Numbers in the first round.
const FIRST: usize = 8;
/// Numbers in the smallest round.
const LEAST: usize = 2;
/// Answers that have come within this let the next question be larger. A Heartbeat takes half a second to answer at all.
const QUICK: Duration = Duration::from_millis(750);
/// Answers that come later than this make the next one smaller.
const SLOW: Duration = Duration::from_secs(2);
/// What does not come at all is asked for after twice the pause each time, this often.
const DOUBLINGS_MAX: u32 = 3;
/// Answers that follow one another within so many pauses are still trickling in.
const TRICKLE_PAUSES: u32 = 2;

/// What to do now that it is time to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Answers are coming: look again after the pause.
    Wait,
    /// Ask for so many numbers at most, and look again after this time.
    Ask {
        /// Of the lowest that are missing.
        numbers: usize,
        /// Not sooner than an answer can come.
        patience: Duration,
    },
}

/// What a number that has come says about the round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Came {
    /// It was the last of it.
    pub(super) has_ended: bool,
    /// How long an answer took, when that can be told.
    pub(super) trip: Option<Duration>,
}

/// The questions to one peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    /// The highest number of the present round; zero: there is none.
    last: Seq,
    size: usize,
    /// When it was asked last.
    asked_at: Instant,
    /// It is asked for the first time.
    is_first: bool,
    /// When something last came since then.
    came_at: Option<Instant>,
    /// How often in a row nothing came of it.
    vain: u32,
}

impl Asking {
    pub(super) const fn new() -> Self {
        Self { last: Seq(0), size: FIRST, asked_at: Instant::ZERO, is_first: true, came_at: None, vain: 0 }
    }

    /// A number that was missing has come. `lowest`: of what still is.
    pub(super) fn came(&mut self, seq: Seq, lowest: Option<Seq>, now: Instant) -> Came {
        if seq > self.last {
            // Nobody has asked for it: it was overtaken.
            return Came::default();
        }
        // What was asked for twice may answer either question.
        let is_telling = self.came_at.replace(now).is_none() && self.is_first;
        let trip = is_telling.then(|| now.since(self.asked_at));
        let has_ended = lowest.is_none_or(|lowest| lowest > self.last);
        if has_ended {
            self.judge();
            self.last = Seq(0);
        }
        Came { has_ended, trip }
    }

    /// It is time to look; `lowest` is missing. `trip`: how long an answer takes at least.
    pub(super) fn look(&mut self, lowest: Seq, now: Instant, (pause, trip): (Duration, Duration)) -> Next {
        if self.last > Seq(0) && lowest <= self.last {
            let trickle = pause.saturating_mul(TRICKLE_PAUSES);
            if self.came_at.is_some_and(|at| now.since(at) < trickle) {
                return Next::Wait;
            }
            self.judge();
            self.is_first = false;
        } else {
            (self.vain, self.is_first) = (0, true);
        }
        (self.asked_at, self.came_at) = (now, None);
        let patience = pause.saturating_mul(1 << self.vain).max(trip + trip / 4);
        Next::Ask { numbers: self.size, patience }
    }

    /// The present round goes up to this number.
    pub(super) fn asked(&mut self, last: Seq) {
        self.last = last;
    }

    /// What came of the last question. A part that is lost says little about the speed of the line, and so does a question
    /// that is lost once.
    fn judge(&mut self) {
        let Some(at) = self.came_at.take() else {
            self.vain = (self.vain + 1).min(DOUBLINGS_MAX);
            if self.vain > 1 {
                self.size = (self.size / 2).max(LEAST);
            }
            return;
        };
        self.vain = 0;
        match at.since(self.asked_at) {
            took if took <= QUICK => self.size = (self.size * 2).min(REXMIT_BURST),
            took if took > SLOW => self.size = (self.size / 2).max(LEAST),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(250);
    const FAST: (Duration, Duration) = (PAUSE, Duration::ZERO);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn ask(numbers: usize, pauses: u32) -> Next {
        Next::Ask { numbers, patience: PAUSE.saturating_mul(pauses) }
    }

    #[test]
    fn rounds_grow_on_a_quick_line() {
        let mut asking = Asking::new();
        let (mut now, mut lowest, mut sizes) = (0, 1, Vec::new());
        for _ in 0..5 {
            let Next::Ask { numbers, .. } = asking.look(Seq(lowest), at(now), FAST) else { panic!("all have come") };
            sizes.push(numbers);
            lowest += numbers as u64;
            asking.asked(Seq(lowest - 1));
            now += 20;
            assert!(!asking.came(Seq(lowest - 2), Some(Seq(lowest - 1)), at(now)).has_ended);
            assert!(asking.came(Seq(lowest - 1), Some(Seq(lowest)), at(now)).has_ended);
        }
        assert_eq!(sizes, [8, 16, 32, 50, 50]);
    }

    #[test]
    fn rounds_shrink_on_a_slow_line_and_nothing_is_repeated_while_answers_trickle_in() {
        let mut asking = Asking::new();
        assert_eq!(asking.look(Seq(1), at(0), FAST), ask(8, 1));
        asking.asked(Seq(8));
        for number in 1..8 {
            assert!(!asking.came(Seq(number), Some(Seq(number + 1)), at(number * 300)).has_ended);
            assert_eq!(asking.look(Seq(number + 1), at(number * 300 + 250), FAST), Next::Wait);
        }
        assert!(asking.came(Seq(8), Some(Seq(40)), at(2400)).has_ended);
        assert_eq!(asking.look(Seq(40), at(2450), FAST), ask(4, 1));
    }

    #[test]
    fn vain_questions_become_rare_and_small() {
        let mut asking = Asking::new();
        assert_eq!(asking.look(Seq(1), at(0), FAST), ask(8, 1));
        asking.asked(Seq(8));
        let later: Vec<_> = (1..6).map(|time| asking.look(Seq(1), at(time * 5000), FAST)).collect();
        assert_eq!(later, [ask(8, 2), ask(4, 4), ask(2, 8), ask(2, 8), ask(2, 8)]);
        asking.came(Seq(1), Some(Seq(2)), at(26_000));
        assert_eq!(asking.look(Seq(2), at(26_400), FAST), Next::Wait);
        assert_eq!(asking.look(Seq(2), at(26_500), FAST), ask(2, 1), "one has come, the rest of the round is lost");
    }

    #[test]
    fn rounds_keep_their_size_while_a_quick_line_loses_much() {
        let mut asking = Asking::new();
        let mut now = 0;
        for _ in 0..20 {
            let next = asking.look(Seq(1), at(now), FAST);
            asking.asked(Seq(8));
            assert!(matches!(next, Next::Ask { numbers: 8.., .. }), "{next:?} at {now}");
            // Every other question is lost, of the rest half of the answers.
            assert!(!asking.came(Seq(5), Some(Seq(1)), at(now + 100)).has_ended);
            assert!(matches!(asking.look(Seq(1), at(now + 700), FAST), Next::Ask { patience: PAUSE, .. }));
            now += 1400;
        }
        assert_eq!(asking.size, REXMIT_BURST);
    }

    #[test]
    fn nothing_is_asked_for_again_before_an_answer_can_have_come() {
        let mut asking = Asking::new();
        let slow = (PAUSE, Duration::from_secs(4));
        let patience = Duration::from_secs(5);
        assert_eq!(asking.look(Seq(1), at(0), slow), Next::Ask { numbers: 8, patience });
        asking.asked(Seq(8));
        assert_eq!(asking.came(Seq(1), Some(Seq(2)), at(4100)).trip, Some(Duration::from_millis(4100)));
        assert_eq!(asking.came(Seq(2), Some(Seq(3)), at(4200)).trip, None, "the first tells");
        let Next::Ask { .. } = asking.look(Seq(3), at(5000), slow) else { panic!("nothing comes any more") };
        assert_eq!(asking.came(Seq(3), Some(Seq(4)), at(5010)).trip, None, "an answer to which question?");
    }
}
