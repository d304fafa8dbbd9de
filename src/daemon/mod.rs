//! Waits, reads the clock, turns actions into calls.

pub mod clock;
pub mod control;
pub mod driver;
pub mod engine;
pub mod guardian_end;
pub mod history;
pub mod identity;
pub mod link_table;
pub mod load_average;
pub mod log_pipe;
pub mod logger;
pub mod reactor;
pub mod report;
pub mod reset;
pub mod service;
