//! The lease: one shared page, a file in the run directory, in which the engine says that it lives and what it holds.
//!
//! A store, not a system call: the engine stamps it before each beat leaves. The guardian reads the stamp; whoever
//! starts next in the same boot reads what was held.

/// File name in the run directory.
pub const FILE_NAME: &str = "lease";
