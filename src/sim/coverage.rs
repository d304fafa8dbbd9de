//! Which pairs of state and event the seeds have tried: see [`transitions`](crate::core::ownership::transitions).

use std::fmt;

use crate::core::message::GroupState;
use crate::core::ownership::transitions::{Event, Stage, Step, seen};

/// Pairs that can come and of which no 10 000 seeds can be expected to have all: an answer, or the partner's return, just in
/// the few milliseconds between the start of an engine and its first decision, or in those of a hand-over that follows the
/// partner's return.
const RARE: &[(Stage, &[Event])] = &[
    (Stage::Waiting, &[Event::Returned, Event::ShotFailed]),
    (Stage::Starting, &[Event::Returned, Event::ShotConfirmed, Event::ShotFailed]),
    (Stage::Settling, &[Event::ShotConfirmed, Event::ShotFailed]),
    (Stage::Asked, &[Event::ShotConfirmed, Event::ShotFailed]),
    (Stage::Releasing, &[Event::ShotConfirmed, Event::ShotFailed, Event::OwnerSet]),
    (Stage::Released, &[Event::ShotConfirmed, Event::ShotFailed]),
    (Stage::Agreed, &[Event::ShotConfirmed]),
    (Stage::Acquiring, &[Event::ShotConfirmed, Event::ShotFailed]),
    (Stage::Leaving, &[Event::ShotConfirmed, Event::ShotFailed]),
];
/// The same of groups: one whose leftovers could not be stopped, and which the partner gives us all the same.
const RARE_STEPS: &[(GroupState, Step)] = &[(GroupState::StopFailed, Step::Acquire)];

/// The pairs of the core's transition tables, as far as this process has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Came.
    pub visited: usize,
    /// Cannot come; the core asserts it of all that it causes itself.
    pub impossible: usize,
    /// Could have come, and did not.
    pub missing: Vec<String>,
    /// Likewise, and nobody can expect it of so few seeds.
    pub rare: Vec<String>,
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
                let is_rare = RARE.iter().any(|(rare, events)| *rare == stage && events.contains(&event));
                coverage.count(seen::has_event(stage, event), is_possible, is_rare, (stage.name(), event.name()));
            }
        }
        for state in GroupState::ALL {
            for &step in Step::ALL {
                let is_possible = step.forbidden_in(state).is_none();
                let is_rare = RARE_STEPS.contains(&(state, step));
                coverage.count(seen::has_step(state, step), is_possible, is_rare, (state.name(), step.name()));
            }
        }
        Some(coverage)
    }

    fn count(&mut self, is_visited: bool, is_possible: bool, is_rare: bool, (state, event): (&str, &str)) {
        match (is_visited, is_possible) {
            (true, true) => self.visited += 1,
            (true, false) => self.wrong.push(format!("{state} / {event}")),
            (false, false) => self.impossible += 1,
            (false, true) if is_rare => self.rare.push(format!("{state} / {event}")),
            (false, true) => self.missing.push(format!("{state} / {event}")),
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (visited, missing, rare, impossible) = (self.visited, self.missing.len(), self.rare.len(), self.impossible);
        writeln!(
            f,
            "  pairs of state and event: {visited} came, {missing} not, {impossible} cannot, {rare} rare ones not"
        )?;
        self.rare.iter().try_for_each(|pair| writeln!(f, "    rare, did not come: {pair}"))?;
        self.missing.iter().try_for_each(|pair| writeln!(f, "    did not come: {pair}"))?;
        self.wrong.iter().try_for_each(|pair| writeln!(f, "    called impossible, and came: {pair}"))
    }
}
