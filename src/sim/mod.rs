//! A virtual world for the core: clock, links with faults, boards that fail; and the oracle that watches them.
//!
//! ```text
//!   plan ── faults with their times ──▶ world ── inputs ──▶ core::Node   (one per board)
//!   (from a seed)                         │ ◀── actions ──┘
//!                                         ├── net       delay, loss, cuts, slow lines
//!                                         ├── scripts   the truth about what is in use where
//!                                         └── oracle    judges the truth
//! ```
//!
//! Everything depends on the seed alone: `nullbeat sim --seed N` shows the same run again, line by line.

pub mod board;
pub mod brain;
pub mod coverage;
pub mod fault;
pub mod fencing;
pub mod lease;
pub mod net;
pub mod oracle;
pub mod plan;
pub mod rng;
pub mod runner;
pub mod scripts;
pub mod trace;
pub mod wires;
pub mod world;

mod engine;
mod guard;
mod happening;
mod health;
mod heartbeat;
mod inflict;
mod jobs;
mod turns;
mod watchdog;

pub use fault::Fault;
pub use oracle::Violation;
pub use plan::Plan;
pub use runner::{Report, Totals, run_many, run_plan, run_seed};
pub use trace::Trace;
pub use world::World;
