//! The logging daemon's protocol (spec/api.md section 8): lines of other programs, and what of them waits for a disk.
//! Bytes and decisions only; sockets, clock and files are the daemon's.

pub mod backlog;
pub mod message;
