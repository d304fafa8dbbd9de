//! Exit codes (design.md section 7; the values are those of `sysexits.h`). Heartbeat's names keep Heartbeat's codes.

/// As asked.
pub const OK: u8 = 0;
/// It was tried and did not succeed.
pub const FAILURE: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 64;
/// The daemon is not running, or does not answer.
pub const NOT_RUNNING: u8 = 69;
/// Not now: try again.
pub const TRY_AGAIN: u8 = 75;
/// Only root, or the user the daemon runs as, may ask for this.
pub const NOT_PERMITTED: u8 = 77;
/// The configuration files have errors.
pub const CONFIGURATION: u8 = 78;
