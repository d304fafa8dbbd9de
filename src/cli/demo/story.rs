//! What the show has told so far: its steps, and the time line of the outside observer.

use std::fmt::Write as _;
use std::time::Instant;

/// One step of the show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What is done.
    pub(super) title: String,
    /// What is to be seen.
    pub(super) why: String,
    /// What came of it, once it is over.
    pub(super) result: Option<String>,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    who: String,
    what: String,
}

/// Steps and time line.
#[derive(Debug)]
pub(super) struct Story {
    began: Instant,
    steps: Vec<Step>,
    entries: Vec<Entry>,
}

impl Story {
    /// An empty one; times count from `began`.
    pub(super) const fn new(began: Instant) -> Self {
        Self { began, steps: Vec::new(), entries: Vec::new() }
    }

    /// Milliseconds since the beginning.
    pub(super) fn millis(&self, at: Instant) -> u128 {
        at.saturating_duration_since(self.began).as_millis()
    }

    /// Begins a step and gives its headline.
    pub(super) fn begin(&mut self, title: &str, why: &str) -> String {
        self.steps.push(Step { title: title.to_owned(), why: why.to_owned(), result: None });
        format!("\n{:>2}. {title}\n    {why}\n", self.steps.len())
    }

    /// Ends the step and gives the line about it.
    pub(super) fn finish(&mut self, result: &str) -> String {
        if let Some(step) = self.steps.last_mut() {
            step.result = Some(result.to_owned());
        }
        format!("    ok: {result}\n")
    }

    /// Adds to the time line.
    pub(super) fn note(&mut self, at: Instant, who: impl ToString, what: &str) {
        self.entries.push(Entry { at, who: who.to_string(), what: what.to_owned() });
    }

    /// All steps so far.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps with their results.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        for (place, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "{:>2}. {}", place + 1, step.title);
            let _ = writeln!(text, "    {}", step.result.as_deref().unwrap_or("not finished"));
        }
        text
    }

    /// The time line, in order of time.
    pub(super) fn time_line(&self) -> String {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        crate::order::sort(&mut entries, |a, b| a.at < b.at);
        let mut text = "time line, in milliseconds, taken by the observer outside both nodes\n".to_owned();
        for entry in entries {
            let _ = writeln!(text, "{:>7}  {:<8} {}", self.millis(entry.at), entry.who, entry.what);
        }
        text
    }

    /// The last word after a success.
    pub(super) fn verdict(&self) -> String {
        let count = self.steps.len();
        format!(
            "{count} steps done: exactly one owner after each, but two, as announced,\n\
             while every way was cut, and none where nobody was left\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn story_is_told_in_order_of_time() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut story = Story::new(began);
        assert_eq!(story.begin("pull it", "nothing moves"), "\n 1. pull it\n    nothing moves\n");
        story.note(at(1234), "beta", "web started");
        story.note(at(700), "power", "alpha off");
        assert_eq!(story.finish("as expected"), "    ok: as expected\n");
        let line = story.time_line();
        assert_eq!(line.lines().nth(1), Some("    700  power    alpha off"));
        assert_eq!(line.lines().nth(2), Some("   1234  beta     web started"));
        story.begin("next", "");
        assert_eq!(story.summary(), " 1. pull it\n    as expected\n 2. next\n    not finished\n");
    }
}
