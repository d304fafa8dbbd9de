//! The lines between the boards: what they say.

use super::{Context, Ownership};
use crate::core::{Action, Event, InputLine, LineLevel};

/// What is read and set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    levels: [LineLevel; InputLine::ALL.len()],
    owner: LineLevel,
}

impl Lines {
    /// What is read from a line.
    pub const fn level(&self, line: InputLine) -> LineLevel {
        self.levels[line as usize]
    }

    /// The own line `owner`, as it was set last; unknown before, and after a failure.
    pub const fn owner(&self) -> LineLevel {
        self.owner
    }
}

impl Ownership {
    /// The lines between the boards.
    pub const fn lines(&self) -> &Lines {
        &self.lines
    }

    /// A line has this level.
    pub(in crate::core) fn line_changed(&mut self, cx: &mut Context<'_>, line: InputLine, level: LineLevel) {
        let before = core::mem::replace(&mut self.lines.levels[line as usize], level);
        if before != level {
            log::info!("line {}: {level:?}", line.name());
            cx.act(Action::Event(Event::Line { line, level }));
        }
    }

    /// The guardian has set the line `owner`, or could not.
    pub(in crate::core) const fn owner_set(&mut self, is_owner: bool, is_ok: bool) {
        self.lines.owner = match (is_ok, is_owner) {
            (false, _) => LineLevel::Unknown,
            (true, true) => LineLevel::Active,
            (true, false) => LineLevel::Inactive,
        };
        self.wants_extension = true;
    }
}
