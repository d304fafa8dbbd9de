//! How long a word of ours and its answer take, and what that means for the pace of what is said at once.
//!
//! A status that asks is answered without delay, and the answer names the number that it answers to; a number that was
//! asked for once and comes tells the same. Over a slow line whose queue is full that takes seconds, over a lossy one a
//! question or its answer is often lost. What tells them apart is the quickest of the last few answers.

use super::Comms;
use crate::core::ids::Seq;
use crate::core::settings::Settings;
use crate::core::time::{Duration, Instant};

/// Answers that are remembered.
const SAMPLES: usize = 4;
/// Shortest time between two statuses that are sent because something changed.
const NEWS_GAP: Duration = Duration::from_millis(10);
/// Questions that stay unanswered double the gap this often at most.
const DOUBLINGS_MAX: u32 = 16;

/// The last answers of one peer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RoundTrips {
    samples: [Option<Duration>; SAMPLES],
    next: usize,
    /// The first question that waits for its answer: its number, and when it left.
    question: Option<(Seq, Instant)>,
    /// How many more have left since.
    unanswered: u32,
}

impl RoundTrips {
    /// A status that asks leaves under this number.
    pub(super) fn ask(&mut self, seq: Seq, now: Instant) {
        match self.question {
            Some(_) => self.unanswered = (self.unanswered + 1).min(DOUBLINGS_MAX),
            None => (self.question, self.unanswered) = (Some((seq, now)), 0),
        }
    }

    /// The peer has heard everything up to this number, and says so.
    pub(super) fn heard(&mut self, echo: Seq, now: Instant) {
        if let Some((_, asked)) = self.question.take_if(|(question, _)| *question <= echo) {
            self.note(now.since(asked));
        }
    }

    /// An answer took so long.
    pub(super) fn note(&mut self, took: Duration) {
        self.samples[self.next] = Some(took);
        self.next = (self.next + 1) % SAMPLES;
        self.unanswered = 0;
    }

    /// Nobody is there to answer.
    pub(super) fn forget_question(&mut self) {
        (self.question, self.unanswered) = (None, 0);
    }

    /// The quickest of the last answers; zero before the first.
    pub(super) fn quickest(&self) -> Duration {
        self.samples.iter().flatten().min().copied().unwrap_or(Duration::ZERO)
    }

    fn gap(&self) -> Duration {
        self.quickest().max(NEWS_GAP).saturating_mul(1 << self.unanswered)
    }
}

impl Comms {
    /// How long after one status the next may leave because something changed or because the partner asks. What comes
    /// meanwhile goes with the next beat at the latest: more than that a slow line could not carry.
    pub fn news_gap(&self, settings: &Settings) -> Duration {
        let gap = settings.partner.map_or(NEWS_GAP, |partner| self.state(partner).round_trips.gap());
        gap.min(settings.keepalive.max(NEWS_GAP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn quickest_of_the_last_answers_counts_from_the_first_asking() {
        let mut trips = RoundTrips::default();
        let at = Instant::from_millis;
        assert_eq!(trips.quickest(), Duration::ZERO);
        trips.ask(Seq(5), at(100));
        trips.heard(Seq(4), at(200));
        assert_eq!(trips.quickest(), Duration::ZERO, "that is no answer");
        trips.ask(Seq(7), at(400));
        trips.heard(Seq(7), at(4100));
        assert_eq!(trips.quickest(), ms(4000));
        trips.ask(Seq(9), at(5000));
        trips.heard(Seq(12), at(5030));
        assert_eq!(trips.quickest(), ms(30));
        for round in 0..SAMPLES as u64 {
            trips.ask(Seq(20 + round), at(10_000));
            trips.heard(Seq(20 + round), at(12_000 + round));
        }
        assert_eq!(trips.quickest(), ms(2000), "older ones are forgotten");
        trips.ask(Seq(30), at(20_000));
        trips.forget_question();
        trips.heard(Seq(30), at(20_001));
        assert_eq!(trips.quickest(), ms(2000));
    }

    #[test]
    fn gap_doubles_with_each_unanswered_question_and_is_that_of_the_line_afterwards() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.gap(), ms(10));
        let gaps: Vec<_> =
            (0..4).map(|number| (trips.ask(Seq(number), Instant::from_millis(number)), trips.gap()).1).collect();
        assert_eq!(gaps, [ms(10), ms(20), ms(40), ms(80)]);
        trips.heard(Seq(0), Instant::from_millis(300));
        assert_eq!(trips.gap(), ms(300));
        trips.ask(Seq(9), Instant::from_millis(500));
        trips.heard(Seq(9), Instant::from_millis(501));
        assert_eq!(trips.gap(), ms(10), "one quick answer: the line is not slow");
    }
}
