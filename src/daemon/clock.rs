//! The engine's two clocks, read together once a turn.

use std::time::SystemTime;

use crate::core::time::{Instant, Stamp};
use crate::guardian::lease;

/// The lease's clock, nanoseconds.
pub fn now_ns() -> u64 {
    lease::now()
}

/// Both clocks: time since boot decides, the wall clock is only ever copied into messages and logs.
pub fn stamp() -> Stamp {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Stamp { now: Instant::from_micros(lease::now() / 1000), wall: u32::try_from(wall).unwrap_or(u32::MAX) }
}
