//! Bytes to messages and back; no meaning.

pub mod compact;
pub mod heartbeat;
