//! Waits, reads the clock, turns actions into calls.

pub mod control;
pub mod guardian_end;
pub mod history;
pub mod identity;
pub mod log_pipe;
pub mod logger;
pub mod reactor;
pub mod report;
pub mod reset;
pub mod service;
