//! One event on its way to the logger: made on the stack, sent without waiting.

use std::fmt::{self, Write as _};

use super::slot::{BODY_HEAD, BODY_MAX};
use crate::core::ids::Generation;
use crate::core::time::Stamp;
use crate::daemon::{clock, log_pipe};

/// Bytes of an event's text.
const TEXT_MAX: usize = BODY_MAX - BODY_HEAD;
/// Bytes of one value; a longer one is cut and ends in `~`.
const VALUE_MAX: usize = 64;

/// The run of the partner's daemon that told of an event, and the event's number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Which run.
    pub generation: Generation,
    /// Counted from 1.
    pub number: u32,
}

/// An event being written: `name=value` fields, those of the report's `event` lines. What does not fit is left out, by
/// whole fields: the important ones come first.
///
/// ```
/// use nullbeat::daemon::history::Entry;
///
/// let mut entry = Entry::new("reset");
/// entry.field("to", "watchdog").field("ms", 1200);
/// assert_eq!(entry.text(), "event=reset\tto=watchdog\tms=1200");
/// entry.emit();
/// ```
#[derive(Debug, Clone)]
pub struct Entry {
    text: heapless::String<TEXT_MAX>,
}

impl Entry {
    /// An event of this kind.
    pub fn new(event: &str) -> Self {
        let mut this = Self { text: heapless::String::new() };
        this.field("event", event);
        this
    }

    /// One that the partner's board saw.
    pub fn of_node(node: &str) -> Self {
        let mut this = Self { text: heapless::String::new() };
        this.field("node", node);
        this
    }

    /// Adds a field; control characters in it would garble the file and are replaced. Nothing for an empty value.
    pub fn field(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        let mut text = Value::default();
        let _ = write!(text, "{value}");
        let needed = usize::from(!self.text.is_empty()) + name.len() + 1 + text.0.len();
        if !text.0.is_empty() && needed <= TEXT_MAX - self.text.len() {
            let tab = if self.text.is_empty() { "" } else { "\t" };
            let _ = write!(self.text, "{tab}{name}={}", text.0);
        }
        self
    }

    /// Nothing when there is no value.
    pub fn maybe(&mut self, name: &str, value: Option<impl fmt::Display>) -> &mut Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// The fields.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tells the logger, with both clocks as they are now. When its pipe is full the event is dropped and counted like a
    /// line of the log.
    pub fn emit(&self) {
        self.emit_at(clock::stamp(), None);
    }

    /// The same with a time that is known already, perhaps of what the partner told.
    pub fn emit_at(&self, at: Stamp, origin: Option<Origin>) {
        let mut body = heapless::Vec::<u8, BODY_MAX>::new();
        let origin = origin.unwrap_or(Origin { generation: Generation(0), number: 0 });
        let _ = body.extend_from_slice(&at.now.as_micros().to_le_bytes());
        for word in [at.wall, origin.generation.0, origin.number] {
            let _ = body.extend_from_slice(&word.to_le_bytes());
        }
        let _ = body.extend_from_slice(self.text.as_bytes());
        log_pipe::put_event(&body);
    }
}

/// A value that cannot end its field, or its line.
#[derive(Default)]
struct Value(heapless::String<VALUE_MAX>);

impl fmt::Write for Value {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let character = if character.is_control() { '?' } else { character };
            // Room for the mark is kept: a value that fills it all ends in one.
            if self.0.len() + character.len_utf8() < VALUE_MAX {
                let _ = self.0.push(character);
            } else {
                if !self.0.ends_with('~') {
                    let _ = self.0.push('~');
                }
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_do_not_fit_are_left_out_whole_and_values_are_cut() {
        let mut entry = Entry::new("group");
        entry.field("subject", "é".repeat(60)).field("from", "").field("to", "a\tb\nc");
        let cut = "é".repeat(31);
        assert_eq!(entry.text(), format!("event=group\tsubject={cut}~\tto=a?b?c"));
        for _ in 0..3 {
            entry.field("inputs", "x".repeat(60));
        }
        entry.field("ms", 7);
        let expected = format!("event=group\tsubject={cut}~\tto=a?b?c\tinputs={}\tms=7", "x".repeat(60));
        assert_eq!(entry.text(), expected);
    }
}
