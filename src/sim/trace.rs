//! What a run writes down for people.

use std::cell::Cell;
use std::io::Write;

/// Where the lines go.
#[derive(Debug, Clone)]
pub enum Trace {
    /// Nowhere.
    Off,
    /// To standard output as they happen.
    Print,
    /// Here.
    Keep(Vec<String>),
}

thread_local! {
    static CLOCK: Cell<(u64, usize)> = const { Cell::new((0, 0)) };
}

/// Virtual time and node of the core that is at work in this thread, for its log lines.
pub fn clock() -> (u64, usize) {
    CLOCK.get()
}

impl Trace {
    /// Whether nobody reads it.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Tells the log who speaks next.
    pub(super) fn set_clock(&self, now: u64, node: usize) {
        if !self.is_off() {
            CLOCK.set((now, node));
        }
    }

    /// Writes one line.
    pub(super) fn line(&mut self, now: u64, who: &str, what: &str, letters: &str) {
        let line = format!("{:>8}.{:03} {who:<6} [{letters}] {what}", now / 1000, now % 1000);
        match self {
            Self::Off => {}
            // A reader that went away (`| head`) is no failure.
            Self::Print => drop(writeln!(std::io::stdout(), "{line}")),
            Self::Keep(lines) => lines.push(line),
        }
    }

    /// What was kept.
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Keep(lines) => lines,
            Self::Off | Self::Print => &[],
        }
    }
}
