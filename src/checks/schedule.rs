//! When each check is asked, and what its answers come to. Asks nothing itself and reads no clock.

use std::time::{Duration, Instant};

use crate::core::Health;

/// Counts answers: `rise` good ones in a row make it healthy, `fall` bad ones make it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    rise: u8,
    fall: u8,
    health: Health,
    /// Answers in a row that speak against what it is.
    streak: u8,
    was_good: bool,
}

impl Counter {
    /// Nothing known.
    pub const fn new(rise: u8, fall: u8) -> Self {
        Self { rise, fall, health: Health::Unknown, streak: 0, was_good: false }
    }

    /// What it is.
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Takes an answer. Returns what it has become, if that is new.
    pub fn note(&mut self, is_good: bool) -> Option<Health> {
        self.streak = if self.was_good == is_good { self.streak.saturating_add(1) } else { 1 };
        self.was_good = is_good;
        let (needed, health) = if is_good { (self.rise, Health::Healthy) } else { (self.fall, Health::Failed) };
        if self.streak < needed || self.health == health {
            return None;
        }
        self.health = health;
        Some(health)
    }
}

/// How one check is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the beginning of one question to the next.
    pub every: Duration,
    /// An answer that takes longer is a bad one.
    pub timeout: Duration,
    /// Good answers in a row.
    pub rise: u8,
    /// Bad ones.
    pub fall: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not to be asked.
    Off,
    /// To be asked then.
    Resting { until: Instant },
    /// Asked then.
    Asking { since: Instant },
}

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timetable {
    pace: Pace,
    counter: Counter,
    state: State,
}

impl Timetable {
    /// Not to be asked yet.
    pub const fn new(pace: Pace) -> Self {
        Self { pace, counter: Counter::new(pace.rise, pace.fall), state: State::Off }
    }

    /// What it has come to.
    pub const fn health(&self) -> Health {
        self.counter.health()
    }

    /// Begins anew, with the first question at once; or is asked no more.
    pub fn set_on(&mut self, now: Instant, is_on: bool) {
        self.counter = Counter::new(self.pace.rise, self.pace.fall);
        self.state = if is_on { State::Resting { until: now } } else { State::Off };
    }

    /// Whether it is to be asked now; then it counts as asked.
    pub fn begin(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.state, State::Resting { until } if until <= now);
        if is_due {
            self.state = State::Asking { since: now };
        }
        is_due
    }

    /// Whether a question is open.
    pub const fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { .. })
    }

    /// Whether an open question has had its time.
    pub fn is_over_time(&self, now: Instant) -> bool {
        matches!(self.state, State::Asking { since } if since + self.pace.timeout <= now)
    }

    /// The open question is answered. Returns what it has come to, if that is new. One that was asked late is not asked
    /// more often for it.
    pub fn answer(&mut self, now: Instant, is_good: bool) -> Option<Health> {
        let State::Asking { since } = self.state else { return None };
        self.state = State::Resting { until: (since + self.pace.every).max(now) };
        self.counter.note(is_good)
    }

    /// The open question cannot be judged: it does not count.
    pub fn give_back(&mut self, now: Instant) {
        if let State::Asking { since } = self.state {
            self.state = State::Resting { until: (since + self.pace.every).max(now) };
        }
    }

    /// When to look again.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Off => None,
            State::Resting { until } => Some(until),
            State::Asking { since } => Some(since + self.pace.timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { every: Duration::from_secs(10), timeout: Duration::from_secs(5), rise: 2, fall: 3 };

    fn notes(counter: &mut Counter, answers: &str) -> Vec<Option<Health>> {
        answers.chars().map(|answer| counter.note(answer == '+')).collect()
    }

    #[test]
    fn counter_needs_so_many_in_a_row() {
        let mut counter = Counter::new(2, 3);
        assert_eq!(notes(&mut counter, "+-+"), [None; 3]);
        assert_eq!(counter.health(), Health::Unknown);
        assert_eq!(counter.note(true), Some(Health::Healthy));
        assert_eq!(notes(&mut counter, "+--+--"), [None; 6]);
        assert_eq!(counter.note(false), Some(Health::Failed));
        assert_eq!(notes(&mut counter, "-+-+"), [None; 4]);
        assert_eq!(counter.note(true), Some(Health::Healthy));
    }

    #[test]
    fn counter_that_has_never_been_good_fails_as_well() {
        assert_eq!(notes(&mut Counter::new(1, 2), "--"), [None, Some(Health::Failed)]);
        assert_eq!(notes(&mut Counter::new(1, 1), "+-+").into_iter().flatten().count(), 3);
    }

    #[test]
    fn counter_counts_for_ever() {
        let mut counter = Counter::new(1, 100);
        assert_eq!(notes(&mut counter, &"-".repeat(1_000)).iter().flatten().count(), 1);
    }

    #[test]
    fn questions_come_at_their_pace_and_do_not_pile_up() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut table = Timetable::new(PACE);
        assert!(!table.begin(start) && table.next_deadline().is_none());
        table.set_on(start, true);
        assert!(table.begin(start) && table.is_asking() && !table.begin(start));
        assert!(!table.is_over_time(at(4)) && table.is_over_time(at(5)));
        assert_eq!(table.next_deadline(), Some(at(5)));
        table.answer(at(1), true);
        assert_eq!(table.next_deadline(), Some(at(10)));
        assert!(!table.begin(at(9)) && table.begin(at(25)));
        assert_eq!(table.answer(at(26), true), Some(Health::Healthy));
        assert_eq!(table.next_deadline(), Some(at(35)), "what was missed is not made up for");
        assert!(table.begin(at(35)));
        table.answer(at(60), false);
        assert_eq!(table.next_deadline(), Some(at(60)), "the answer took longer than the pace");
    }

    #[test]
    fn group_that_comes_and_goes_begins_anew() {
        let start = Instant::now();
        let mut table = Timetable::new(PACE);
        for _ in 0..2 {
            table.set_on(start, true);
            assert_eq!(table.health(), Health::Unknown);
            for _ in 0..3 {
                table.state = State::Resting { until: start };
                assert!(table.begin(start));
                table.answer(start, false);
            }
            assert_eq!(table.health(), Health::Failed);
            table.begin(start);
            table.set_on(start, false);
            assert_eq!((table.answer(start, true), table.next_deadline()), (None, None));
        }
    }

    #[test]
    fn question_that_cannot_be_judged_does_not_count() {
        let start = Instant::now();
        let mut table = Timetable::new(Pace { fall: 1, ..PACE });
        table.set_on(start, true);
        table.begin(start);
        table.give_back(start);
        assert_eq!((table.health(), table.next_deadline()), (Health::Unknown, Some(start + PACE.every)));
    }
}
