//! The logging daemon (spec/api.md section 8): takes lines of other programs and writes them to files and syslog.
//!
//! Two processes. The `reader` has the clients and a queue with an end for each of them; it never touches a disk. The
//! `writer` has the files. Between them is a socket pair that carries the very bodies the clients send. A disk that is
//! slow holds up the writer alone: lines wait in the queues, and what does not fit is dropped, counted, and said.

mod reader;
mod writer;

pub use reader::Logd;

/// The name of the service and of its first process.
pub const NAME: &str = "ha_logd";
