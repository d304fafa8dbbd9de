//! Runs resource scripts and knows what to do when the engine is gone. Decides nothing about who owns what.

pub mod channel;
pub mod lease;
pub mod protocol;
