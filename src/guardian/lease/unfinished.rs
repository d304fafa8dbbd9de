//! What an engine was in the middle of with its partner, for the next one: a hand-over, and yielding.

use super::{HEARD_OF_TABLE, Lease, UNFINISHED_OF_TABLE};
use crate::core::ids::{Generation, Seq};
use crate::core::message::Holds;
use crate::core::settings::{CarriedHandover, HandoverStep};

/// In the word about what is unfinished, below the generation: the step of a hand-over in three bits, and these.
const OPEN_LOCAL: u64 = 1 << 3;
const OPEN_FOREIGN: u64 = 1 << 4;
const OPEN_AFTER_FAILURE: u64 = 1 << 5;
const YIELDING: u64 = 1 << 6;

/// In the order of their numbers in that word; zero: none.
pub(super) const STEPS: [HandoverStep; 6] = [
    HandoverStep::Asked,
    HandoverStep::Releasing,
    HandoverStep::Released,
    HandoverStep::Agreed,
    HandoverStep::Given,
    HandoverStep::Acquiring,
];

impl Lease {
    /// What the next engine must go on with (`handover` and `is_yielding` of [`Carried`](crate::core::settings::Carried)):
    /// stored before anything of it is said or asked for.
    pub fn set_unfinished(&self, handover: Option<CarriedHandover>, is_yielding: bool) {
        let (open, heard) = (self.table() + UNFINISHED_OF_TABLE, self.table() + HEARD_OF_TABLE);
        let word = unfinished_word(handover, is_yielding);
        // An older number than the step would have has messages said once more, a newer one would lose them.
        let is_new = step_of(self.load(open)).is_none();
        let number = handover.map_or(0, |handover| handover.heard.0);
        let order = if is_new { [(heard, number), (open, word)] } else { [(open, word), (heard, number)] };
        for (at, value) in order {
            self.store(at, value);
        }
    }

    /// The last [`Lease::set_unfinished`].
    pub fn unfinished(&self) -> (Option<CarriedHandover>, bool) {
        let is_yielding = self.has_table() && self.load(self.table() + UNFINISHED_OF_TABLE) & YIELDING != 0;
        (self.handover(), is_yielding)
    }

    /// The hand-over of the last [`Lease::set_unfinished`].
    pub fn handover(&self) -> Option<CarriedHandover> {
        let word = self.has_table().then(|| self.load(self.table() + UNFINISHED_OF_TABLE))?;
        Some(CarriedHandover {
            step: step_of(word)?,
            set: Holds { local: word & OPEN_LOCAL != 0, foreign: word & OPEN_FOREIGN != 0 },
            after_failure: word & OPEN_AFTER_FAILURE != 0,
            generation: Generation(u32::try_from(word >> 32).unwrap_or(0)),
            heard: Seq(self.load(self.table() + HEARD_OF_TABLE)),
        })
    }
}

pub(super) fn unfinished_word(handover: Option<CarriedHandover>, is_yielding: bool) -> u64 {
    let yielding = if is_yielding { YIELDING } else { 0 };
    let Some(open) = handover else { return yielding };
    let step = (1..).zip(STEPS).find(|(_, step)| *step == open.step).map_or(0, |(number, _)| number);
    let set = if open.set.local { OPEN_LOCAL } else { 0 } | if open.set.foreign { OPEN_FOREIGN } else { 0 };
    let cause = if open.after_failure { OPEN_AFTER_FAILURE } else { 0 };
    yielding | step | set | cause | u64::from(open.generation.0) << 32
}

fn step_of(word: u64) -> Option<HandoverStep> {
    let number = usize::try_from(word & 7).unwrap_or(0).checked_sub(1)?;
    STEPS.get(number).copied()
}
