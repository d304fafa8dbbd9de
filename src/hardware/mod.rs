//! Touches the board. Never decides: it is told what to set, and tells what it sees.

pub mod gpio;
pub mod inventory;
pub mod watchdog;
