//! Waits, reads the clock, turns actions into calls.

pub mod log_pipe;
pub mod logger;
