//! A wall clock of a board's own.
//!
//! The kernel has one wall clock for all namespaces, so the board's programs are shown another one by a small library
//! that they are made to load (`clock.c`). Monotonic clocks are left alone, as a real step leaves them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Board, run};

/// The library, compiled into this folder.
pub(crate) fn library(folder: &Path) -> PathBuf {
    let built = folder.join("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/clock.c");
    run("cc", &["-shared", "-fPIC", "-O1", "-o", &built.to_string_lossy(), source]);
    built
}

/// A clock for the board's daemon, and the words that start the daemon with it ([`Board::through`]).
pub(crate) fn of_board(board: &Board, library: &Path) -> (Clock, Vec<String>) {
    let path = board.dir.join("clock");
    let clock = Clock(File::create(&path).expect("clock"));
    clock.set(0);
    let words =
        ["env".to_owned(), format!("LD_PRELOAD={}", library.display()), format!("CLOCK_OFFSET={}", path.display())];
    (clock, words.to_vec())
}

/// How far a board's wall clock is from the machine's.
pub(crate) struct Clock(File);

impl Clock {
    /// So many seconds from now on.
    pub(crate) fn set(&self, offset: i64) {
        // Written in place: whoever has mapped the file sees it at once.
        self.0.write_all_at(&offset.to_ne_bytes(), 0).expect("clock");
    }
}
