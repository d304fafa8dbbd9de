//! Application heartbeats (spec/api.md section 7): the requests of programs linked with Heartbeat's library, and what is
//! known of each of those programs. Bytes and decisions only; sockets, clock and log are the daemon's.

pub mod message;
pub mod needs;
pub mod supervisor;
