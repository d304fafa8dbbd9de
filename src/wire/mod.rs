//! Bytes to messages and back; no meaning.

pub mod heartbeat;
