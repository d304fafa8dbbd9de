//! The lines between the boards: what they say.

use super::Ownership;
use crate::core::{InputLine, LineLevel};

/// What is read and set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    pub(super) levels: [LineLevel; InputLine::ALL.len()],
    pub(super) owner: LineLevel,
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
}
