//! What has come over a serial line lately: counters of now against those of a while ago, for a verdict about the cable.

use crate::core::time::{Duration, Instant};
use crate::links::cable::{LineErrors, Observation};

/// How far back a verdict looks, at least.
const WINDOW: Duration = Duration::from_secs(10);
/// In beats: a line of few beats needs longer.
const WINDOW_BEATS: u32 = 5;

/// Counters of one line at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Bytes received.
    pub bytes: u64,
    /// Of these, bytes that belong to no message; the counter wraps around.
    pub garbage: u32,
    /// Whole messages, ours among them; the counter wraps around.
    pub frames: u32,
    /// Messages of our own.
    pub echoes: u64,
    /// What the UART has counted.
    pub errors: Option<LineErrors>,
}

/// Two samples, a window apart.
#[derive(Debug, Clone, Copy)]
pub struct CableWatch {
    window: Duration,
    before: Sample,
    last: Sample,
}

impl CableWatch {
    /// Nothing seen yet, on a line with a beat every `keepalive`.
    pub fn new(keepalive: Duration, now: Instant) -> Self {
        let sample = Sample { at: now, ..Sample::default() };
        Self { window: WINDOW.max(keepalive * WINDOW_BEATS), before: sample, last: sample }
    }

    /// The line was opened: what was counted before does not concern it.
    pub const fn restart(&mut self, now: Sample) {
        self.before = now;
        self.last = now;
    }

    /// Whether the next sample is due.
    pub fn is_due(&self, now: Instant) -> bool {
        now.since(self.last.at) >= self.window
    }

    /// The next sample.
    pub const fn note(&mut self, now: Sample) {
        self.before = self.last;
        self.last = now;
    }

    /// What has come since one to two windows ago, or since the line was opened.
    pub fn lately(&self, now: Sample) -> Observation {
        let before = self.before;
        let echoes = now.echoes.saturating_sub(before.echoes);
        Observation {
            time: now.at.since(before.at),
            errors: now.errors.zip(before.errors).map(|(now, before)| now.since(before)),
            bytes: now.bytes.saturating_sub(before.bytes),
            garbage: u64::from(now.garbage.saturating_sub(before.garbage)),
            messages: u64::from(now.frames.wrapping_sub(before.frames)).saturating_sub(echoes),
            echoes,
            ..Observation::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, frames: u32) -> Sample {
        let errors = Some(LineErrors { framing: seconds, ..LineErrors::default() });
        Sample {
            at: Instant::from_millis(seconds * 1000),
            bytes: u64::from(frames) * 180,
            frames,
            errors,
            ..Sample::default()
        }
    }

    #[test]
    fn verdict_looks_back_one_to_two_windows() {
        let mut watch = CableWatch::new(Duration::from_millis(200), Instant::from_millis(0));
        watch.restart(sample(100, 7));
        assert!(!watch.is_due(Instant::from_millis(109_999)));
        let seen = watch.lately(sample(103, 22));
        assert_eq!((seen.time, seen.messages, seen.bytes), (Duration::from_secs(3), 15, 2700));
        assert_eq!(seen.errors.unwrap().framing, 3);
        assert!(watch.is_due(Instant::from_millis(110_000)));
        watch.note(sample(110, 57));
        watch.note(sample(120, 107));
        let seen = watch.lately(sample(125, 107));
        assert_eq!((seen.time, seen.messages), (Duration::from_secs(15), 50));
        watch.note(sample(130, 107));
        assert_eq!(watch.lately(sample(131, 107)).messages, 0, "the talk of long ago is forgotten");
    }

    #[test]
    fn own_messages_are_no_messages_of_the_peer() {
        let mut watch = CableWatch::new(Duration::from_secs(10), Instant::from_millis(0));
        assert!(!watch.is_due(Instant::from_millis(49_999)), "five beats");
        watch.restart(Sample::default());
        let seen = watch.lately(Sample { frames: 5, echoes: 5, ..sample(1, 5) });
        assert_eq!((seen.messages, seen.echoes), (0, 5));
    }
}
