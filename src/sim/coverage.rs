//! Which pairs of state and event the seeds have tried: see [`transitions`](crate::core::ownership::transitions).

use std::fmt;

use crate::core::message::GroupState;
use crate::core::ownership::transitions::{Event, Stage, Step, seen};

/// The pairs of the core's transition tables, as far as this process has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Came.
    pub visited: usize,
    /// Cannot come; the core asserts it of all that it causes itself.
    pub impossible: usize,
    /// Could have come, and did not.
    pub missing: Vec<String>,
    /// Came although it is called impossible.
    pub wrong: Vec<String>,
}

impl Coverage {
    /// Of all seeds that this process has run. `None`: the program was built without debug assertions and has not looked.
    pub fn of_process() -> Option<Self> {
        if !cfg!(debug_assertions) {
            return None;
        }
        let mut coverage = Self::default();
        for &stage in Stage::ALL {
            for &event in Event::ALL {
                let is_possible = stage.forbids(event).is_none();
                coverage.count(seen::has_event(stage, event), is_possible, stage.name(), event.name());
            }
        }
        for state in GroupState::ALL {
            for &step in Step::ALL {
                let is_possible = step.forbidden_in(state).is_none();
                coverage.count(seen::has_step(state, step), is_possible, state.name(), step.name());
            }
        }
        Some(coverage)
    }

    fn count(&mut self, is_visited: bool, is_possible: bool, state: &str, event: &str) {
        match (is_visited, is_possible) {
            (true, true) => self.visited += 1,
            (true, false) => self.wrong.push(format!("{state} / {event}")),
            (false, false) => self.impossible += 1,
            (false, true) => self.missing.push(format!("{state} / {event}")),
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (visited, missing, impossible) = (self.visited, self.missing.len(), self.impossible);
        writeln!(f, "  pairs of state and event: {visited} visited, {missing} not, {impossible} impossible")?;
        self.missing.iter().try_for_each(|pair| writeln!(f, "    not visited: {pair}"))?;
        self.wrong.iter().try_for_each(|pair| writeln!(f, "    called impossible, and came: {pair}"))
    }
}
