//! Runs resource scripts and knows what to do when the engine is gone. Decides nothing about who owns what.

pub mod announce;
pub mod channel;
pub mod clients;
pub mod directory;
pub mod environment;
pub mod fence;
pub mod health;
pub mod job;
pub mod jobs;
pub mod lane;
pub mod launcher;
pub mod lease;
pub mod lease_timer;
pub mod lookup;
pub mod messages;
pub mod notify;
pub mod ocf;
pub mod output;
pub mod protocol;
pub mod rc_d;
pub mod reassert;
pub mod roster;
pub mod script;
pub mod status_text;
