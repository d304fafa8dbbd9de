//! Health checks: asked by a process of their own, without privileges, so that nothing which hangs or goes wrong here
//! touches a beat or a script.
//!
//! ```text
//!   ha.cf ─▶ guardian ── arguments, Watch, socket ──▶ checker ── connect, GET, echo, exec ──▶ the world
//!               ▲                                        │
//!               └──────────── Finding ───────────────────┘
//! ```
//!
//! The guardian starts the checker, one for each user whom checks run as, hands it the sockets for echo requests, and tells
//! it which groups run here. What it finds goes through guardian and engine to the core, which decides. `monitor` is asked
//! by the guardian itself (`guardian::monitor`), with the same [`schedule`].

use crate::config::CHECKERS_MAX;

pub(crate) mod ask;
mod process;
pub(crate) mod record;
pub mod schedule;
mod spec;

pub use process::main;
pub use record::{ToChecker, ToGuardian, Trouble};
pub use spec::Spec;

/// Names under which the program is a checker: one for each user, at most as many.
pub const NAMES: [&str; CHECKERS_MAX] =
    ["nullbeat-checker", "nullbeat-checker-2", "nullbeat-checker-3", "nullbeat-checker-4"];
