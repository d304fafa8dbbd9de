//! What will happen, in the order in which it was planned.

use std::cmp::Reverse;
use std::rc::Rc;

use super::brain::Letter;
use crate::core::FenceOutcome;
use crate::core::ids::{LinkId, ShotId};

/// Something that will happen.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// A board gets power.
    Power { node: usize },
    /// The operating system is up: the daemon starts.
    Boot { node: usize, life: u32 },
    /// A copy of a message arrives.
    Arrive { to: usize, link: LinkId, letter: Rc<Letter>, is_corrupt: bool },
    /// The ping node's answer to an engine.
    Echo { node: usize, engine: u32 },
    /// A fence device resets the board that is not `node`.
    Strike { node: usize, life: u32, shot: ShotId, is_late: bool },
    /// A shot of `node` ends.
    ShotEnd { node: usize, life: u32, shot: ShotId, outcome: FenceOutcome },
    /// The guardian of `node` has set its line `owner`.
    OwnerSet { node: usize, life: u32, is_owner: bool },
    /// The watchdog of `node` may have run out.
    Bite { node: usize, life: u32 },
    /// A script ends, or can begin.
    Script { node: usize },
    /// The health checks of a board are asked.
    Health { node: usize },
    /// The fault of this number in the plan begins.
    Fault { index: usize },
    /// It ends.
    Mended { index: usize },
    /// A frozen board thaws.
    Thaw { node: usize, life: u32 },
    /// A stalled engine is scheduled again.
    StallEnd { node: usize, engine: u32 },
    /// The guardian looks at the lease of a stalled engine.
    Watch { node: usize, engine: u32 },
    /// A new engine is ready.
    Respawn { node: usize, life: u32, is_kept: bool },
    /// What is not stopped by now resets the board.
    Deadline { node: usize, life: u32, engine: u32 },
    /// Power is lost in the middle of a script.
    Trap { node: usize, life: u32, off_for: u64 },
    /// The service manager's stop action begins.
    StopAction { node: usize, life: u32 },
    /// The daemon is started again on a board that lived on.
    Restart { node: usize, life: u32 },
    /// The faults are over.
    Calm,
    /// The operator tidies up, this often so far.
    Tidy { round: u32 },
    /// The judge looks.
    Check,
}

/// Heap entry: time, then order of planning, in one number; the soonest is the greatest.
pub(super) struct Planned {
    order: Reverse<u128>,
    pub(super) happening: Happening,
}

impl Planned {
    pub(super) fn new(at: u64, number: u64, happening: Happening) -> Self {
        Self { order: Reverse(u128::from(at) << 64 | u128::from(number)), happening }
    }

    /// When, and its place in the order of planning.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    pub(super) const fn at(&self) -> (u64, u64) {
        ((self.order.0 >> 64) as u64, self.order.0 as u64)
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

/// The timer that an engine has asked for last. Each asks anew in every turn: kept apart from the heap, which would be
/// full of those that count no more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer {
    pub(super) at: u64,
    /// Its place in the order of planning, and its name.
    pub(super) number: u64,
}
