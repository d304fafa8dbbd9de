//! Which numbers of one peer have come, which are missing (spec/wire.md 8.2, 8.3 steps 6 to 9).
//!
//! The missing ones are marked in a window of fixed width that ends at the newest number. A number that falls out of
//! the window is given up: the peer keeps no more than 500 messages, so it could not send it again anyway.

use crate::core::ids::Seq;
use crate::core::limits::{GAP_MAX, MISSING_MAX, REXMIT_BURST};

/// Width of the window in numbers.
const WINDOW: u64 = MISSING_MAX as u64;
const WORD_BITS: usize = u64::BITS as usize;

const _: () = assert!(MISSING_MAX.is_multiple_of(WORD_BITS), "the window is made of whole words");
const _: () = assert!(WINDOW > GAP_MAX, "a gap that is asked for fits in the window");

/// What a number turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The next one, or the first at all.
    InSequence,
    /// Numbers before it are missing.
    Gap {
        /// Newest number before it.
        last: Seq,
        /// How many are missing in between.
        lost: u64,
    },
    /// So many are missing that none is asked for: tracking begins again here.
    TooLarge {
        /// Newest number before it.
        last: Seq,
        /// How many were lost.
        lost: u64,
    },
    /// One of the missing.
    Filled {
        /// No other is missing now.
        was_last: bool,
    },
    /// Had it already.
    Copy,
}

impl Arrival {
    /// Whether the message goes on to those who read it.
    pub(super) const fn is_accepted(self) -> bool {
        !matches!(self, Self::Copy)
    }
}

/// Numbers received from one peer in one generation.
#[derive(Debug, Clone)]
pub(super) struct Tracker {
    last: Option<Seq>,
    missing: [u64; MISSING_MAX / WORD_BITS],
    missing_count: u64,
    given_up: u64,
    acked: Seq,
    trigger: u64,
}

impl Tracker {
    /// Nothing received. `trigger`, 0 to 9: numbers with this last digit are acknowledged.
    pub(super) const fn new(trigger: u64) -> Self {
        Self {
            last: None,
            missing: [0; MISSING_MAX / WORD_BITS],
            missing_count: 0,
            given_up: 0,
            acked: Seq(0),
            trigger,
        }
    }

    /// "Reset tracking": forgets all but the trigger and the count of those given up.
    pub(super) const fn reset(&mut self) {
        *self = Self { given_up: self.given_up, ..Self::new(self.trigger) };
    }

    /// Newest number since the last reset.
    pub(super) const fn last(&self) -> Option<Seq> {
        self.last
    }

    /// The lowest number that is missing.
    pub(super) fn lowest_missing(&self) -> Option<Seq> {
        self.missing_runs().next().map(|(first, _)| first)
    }

    /// Whether any number is missing.
    pub(super) const fn has_missing(&self) -> bool {
        self.missing_count > 0
    }

    /// Numbers that were never received and are not asked for any more, since the start.
    pub(super) const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Takes note of one number, which is not zero.
    pub(super) fn note(&mut self, seq: Seq) -> Arrival {
        let Some(last) = self.last else {
            self.begin(seq);
            return Arrival::InSequence;
        };
        if seq <= last {
            return if self.forget_missing(seq) {
                Arrival::Filled { was_last: !self.has_missing() }
            } else {
                Arrival::Copy
            };
        }
        let lost = seq.0 - last.0 - 1;
        if lost > GAP_MAX {
            self.given_up = self.given_up.saturating_add(self.missing_count).saturating_add(lost);
            self.reset();
            self.begin(seq);
            return Arrival::TooLarge { last, lost };
        }
        for number in last.0 + 1..seq.0 {
            self.advance(number, true);
        }
        self.advance(seq.0, false);
        self.last = Some(seq);
        if lost == 0 { Arrival::InSequence } else { Arrival::Gap { last, lost } }
    }

    /// Strikes a number off the missing ones: it cannot be had. Returns whether it was missing.
    pub(super) fn give_up(&mut self, seq: Seq) -> bool {
        let was_missing = self.forget_missing(seq);
        self.given_up = self.given_up.saturating_add(u64::from(was_missing));
        was_missing
    }

    /// The number to acknowledge now, once: the highest with the trigger digit below which nothing is missing.
    pub(super) fn poll_ack(&mut self) -> Option<Seq> {
        let last = self.last?;
        let complete = self.missing_runs().next().map_or(last.0, |(first, _)| first.0 - 1);
        let acked = complete.checked_sub((complete % 10 + 10 - self.trigger) % 10)?;
        if acked <= self.acked.0 {
            return None;
        }
        self.acked = Seq(acked);
        Some(self.acked)
    }

    /// The missing numbers from the lowest, as runs `(first, last)` of neighbours, none longer than a peer answers at
    /// once.
    pub(super) fn missing_runs(&self) -> impl Iterator<Item = (Seq, Seq)> + '_ {
        // Not missing before the window, nor at its end: `last` itself has come.
        let end = self.last.map_or(0, |last| last.0);
        let mut next = if self.has_missing() { end.saturating_sub(WINDOW - 1) } else { end };
        core::iter::from_fn(move || {
            let first = (next..end).find(|number| self.is_missing(*number))?;
            let longest = end.min(first.saturating_add(REXMIT_BURST as u64));
            next = (first..longest).find(|number| !self.is_missing(*number)).unwrap_or(longest);
            Some((Seq(first), Seq(next - 1)))
        })
    }

    /// What lies before the first number is never asked for and never acknowledged.
    const fn begin(&mut self, first: Seq) {
        self.last = Some(first);
        self.acked = Seq(first.0 - 1);
    }

    /// Moves the end of the window to `number`, whose place may still hold the mark of the one that falls out.
    fn advance(&mut self, number: u64, is_missing: bool) {
        let (word, bit) = Self::place(number);
        if self.missing[word] & bit != 0 {
            self.missing[word] &= !bit;
            self.missing_count -= 1;
            self.given_up = self.given_up.saturating_add(1);
        }
        if is_missing {
            self.missing[word] |= bit;
            self.missing_count += 1;
        }
    }

    fn forget_missing(&mut self, seq: Seq) -> bool {
        let is_inside = self.last.is_some_and(|last| seq < last && last.0 - seq.0 < WINDOW);
        if !is_inside || !self.is_missing(seq.0) {
            return false;
        }
        let (word, bit) = Self::place(seq.0);
        self.missing[word] &= !bit;
        self.missing_count -= 1;
        true
    }

    fn is_missing(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.missing[word] & bit != 0
    }

    fn place(number: u64) -> (usize, u64) {
        let index = usize::try_from(number % WINDOW).unwrap_or(0);
        (index / WORD_BITS, 1 << (index % WORD_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(trigger: u64, numbers: impl IntoIterator<Item = u64>) -> Tracker {
        let mut tracker = Tracker::new(trigger);
        for number in numbers {
            tracker.note(Seq(number));
        }
        tracker
    }

    fn missing(tracker: &Tracker) -> Vec<(u64, u64)> {
        tracker.missing_runs().map(|(first, last)| (first.0, last.0)).collect()
    }

    #[test]
    fn sequence_first_number_is_taken_as_it_is() {
        let mut tracker = Tracker::new(0);
        assert_eq!(tracker.note(Seq(700)), Arrival::InSequence);
        assert_eq!(tracker.note(Seq(701)), Arrival::InSequence);
        assert_eq!(missing(&tracker), []);
    }

    #[test]
    fn sequence_gap_is_filled_in_any_order() {
        let mut tracker = tracker(0, [10]);
        assert_eq!(tracker.note(Seq(14)), Arrival::Gap { last: Seq(10), lost: 3 });
        assert_eq!(missing(&tracker), [(11, 13)]);
        assert_eq!(tracker.note(Seq(12)), Arrival::Filled { was_last: false });
        assert_eq!(missing(&tracker), [(11, 11), (13, 13)]);
        assert_eq!(tracker.note(Seq(12)), Arrival::Copy, "a second copy of a filled one");
        assert_eq!(tracker.note(Seq(13)), Arrival::Filled { was_last: false });
        assert_eq!(tracker.note(Seq(11)), Arrival::Filled { was_last: true });
        assert_eq!(tracker.last(), Some(Seq(14)));
    }

    #[test]
    fn sequence_gap_of_250_is_asked_for_251_is_not() {
        let mut asked = tracker(0, [1]);
        assert_eq!(asked.note(Seq(252)), Arrival::Gap { last: Seq(1), lost: 250 });
        assert_eq!(missing(&asked), [(2, 51), (52, 101), (102, 151), (152, 201), (202, 251)], "50 at a time");
        let mut reset = tracker(0, [1]);
        assert_eq!(reset.note(Seq(253)), Arrival::TooLarge { last: Seq(1), lost: 251 });
        assert_eq!(missing(&reset), []);
        assert_eq!(reset.note(Seq(254)), Arrival::InSequence);
        assert_eq!(reset.given_up(), 251);
    }

    #[test]
    fn sequence_window_moves_on_and_old_holes_are_given_up() {
        let mut tracker = tracker(0, [1, 3]);
        for number in 4..=513 {
            tracker.note(Seq(number));
        }
        assert_eq!((missing(&tracker), tracker.given_up()), (vec![(2, 2)], 0), "513 - 2 is still inside");
        tracker.note(Seq(514));
        assert_eq!((missing(&tracker), tracker.given_up()), (vec![], 1));
        assert_eq!(tracker.note(Seq(2)), Arrival::Copy, "too late: nobody waits for it");
    }

    #[test]
    fn sequence_window_full_of_holes_stays_bounded() {
        let mut tracker = tracker(0, [1]);
        for step in 1..=1000 {
            tracker.note(Seq(1 + step * 251));
        }
        let listed: u64 = missing(&tracker).iter().map(|(first, last)| last - first + 1).sum();
        assert_eq!(tracker.missing_count, listed);
        assert_eq!(listed + tracker.given_up(), 1000 * 250, "each is either waited for or given up");
    }

    #[test]
    fn ack_every_tenth_number_with_the_trigger_digit() {
        let mut tracker = Tracker::new(4);
        let acks: Vec<_> = (1..=30).filter_map(|number| (tracker.note(Seq(number)), tracker.poll_ack()).1).collect();
        assert_eq!(acks, [Seq(4), Seq(14), Seq(24)]);
    }

    #[test]
    fn ack_waits_for_the_gap_then_covers_all_below_the_next() {
        let mut tracker = Tracker::new(5);
        for number in [1, 2, 3, 5, 6, 15, 16, 25] {
            tracker.note(Seq(number));
            assert_eq!(tracker.poll_ack(), None, "4 is missing");
        }
        tracker.note(Seq(4));
        assert_eq!(tracker.poll_ack(), Some(Seq(5)), "7 to 14 are still missing");
        for number in 7..=14 {
            tracker.note(Seq(number));
        }
        assert_eq!(tracker.poll_ack(), Some(Seq(15)));
        assert_eq!(tracker.poll_ack(), None, "once");
    }

    #[test]
    fn nak_closes_the_hole() {
        let mut tracker = tracker(0, [8, 10]);
        assert!(tracker.give_up(Seq(9)));
        assert!(!tracker.give_up(Seq(9)));
        assert!(!tracker.give_up(Seq(700)));
        assert_eq!(tracker.poll_ack(), Some(Seq(10)));
    }
}
