//! Waits, reads the clock, turns actions into calls.

pub mod clock;
pub mod control;
pub mod driver;
pub mod engine;
pub mod fence_book;
pub mod fifo;
pub mod guardian_end;
pub mod guarding;
pub mod history;
pub mod history_page;
pub mod host_files;
pub mod identity;
pub mod link_table;
pub mod load_average;
pub mod log_pipe;
pub mod logger;
pub mod pid_file;
pub mod reactor;
pub mod release;
pub mod report;
pub mod reset;
pub mod run;
pub mod run_directory;
pub mod sentinel;
pub mod service;
pub mod watch;
