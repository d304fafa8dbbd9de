//! Talks to people and scripts.

use std::process::ExitCode;

/// Picks the verb and runs it.
pub fn main() -> ExitCode {
    eprintln!("usage: nullbeat VERB");
    ExitCode::from(64)
}
