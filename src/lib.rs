//! nullbeat: failover for two boards joined by a null-modem cable.
//!
//! | room | does | may use |
//! |---|---|---|
//! | [`core`] | decides | `heapless`, `log` |
//! | [`wire`] | bytes to messages and back | core types |
//! | [`config`] | files to values | core types |
//! | [`links`] | moves bytes | sys |
//! | [`hardware`] | touches the board | config, sys |
//! | [`guardian`] | runs scripts, drives lines, outlives the engine | config, hardware |
//! | [`api`] | serves local programs over Heartbeat's sockets | wire, config, core types, sys |
//! | [`daemon`] | waits, reads the clock, performs | all of the above |
//! | [`cli`] | talks to people | control protocol, config |
//! | [`sim`] | hurts the core | core, wire |
#![cfg_attr(not(any(feature = "std", test)), no_std)]

pub mod core;
pub mod wire;

#[cfg(feature = "std")]
pub mod api;
#[cfg(feature = "std")]
pub mod checks;
#[cfg(feature = "std")]
pub mod cli;
#[cfg(feature = "std")]
pub mod config;
#[cfg(feature = "std")]
pub mod daemon;
#[cfg(all(feature = "std", any(test, fuzzing)))]
pub mod fuzzing;
#[cfg(feature = "std")]
pub mod guardian;
#[cfg(feature = "std")]
pub mod hardware;
#[cfg(feature = "std")]
pub mod links;
#[cfg(any(feature = "std", test))]
mod order;
// Without the rest of `std` as well: `cargo test --lib --no-default-features` is the core with its tests, and small.
#[cfg(any(feature = "sim", test))]
pub mod sim;
#[cfg(feature = "std")]
pub mod sys;
