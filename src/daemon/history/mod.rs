//! What has happened: a ring of 256 events on disk, so that "why did it fail over?" has an answer after the reboot, too.
//!
//! ```text
//!   engine, guardian, sentinel           logger                                    its child
//!   Entry::emit ─── log pipe ───▶ Keeper::take ──▶ RUN/history ─ at most 16 + 1 a minute ─▶ STATE/history
//!                                                     └───────────── Ring::read ───────────────┘
//!                                                                   nullbeat history
//! ```
//!
//! * **Nobody who must be in time waits for a disk.** An event leaves its process as one record in the log pipe, without
//!   allocation and without waiting ([`Entry`]). The logger numbers it and writes it into `history` in the run directory,
//!   which is memory on every board that we know, so that it can be read at once and outlives every process. A short-lived
//!   child of the logger copies what is new to the state directory and waits there for the disk; a disk that hangs, is
//!   full or read-only keeps nothing else waiting.
//! * **Whoever reads needs no daemon**: [`Ring::read`] takes both files and counts an event once.
//! * **A power cut costs the event that was being written, never the others.** Slots ([`slot`]) are 256 bytes with a
//!   checksum each, in a file of 64 KiB whose length never changes: no allocation, no name, nothing that a file system
//!   would have to put back in order. A slot whose checksum does not fit is not there. A device that tears a whole sector
//!   of 4 KiB loses at most the sixteen oldest events, which stand there, and the newest.
//! * **Wear.** A copy begins 200 ms after the first event that it takes, so that a takeover with all its steps is one or two copies. There
//!   are 16 at once and one a minute beyond that: at most 1440 + 16 a day, whatever happens. An event changes one sector
//!   of 4 KiB, `fdatasync` of a file whose length stays writes no metadata: a quiet board with 20 events a day writes 80
//!   KiB a day. The worst storm, the whole ring in each copy, is 1456 × 64 KiB = 91 MiB a day; on 4 GiB of flash with
//!   3000 erase cycles and a write amplification of 10 that is 12 TiB / 0.9 GiB = 37 years.
//! * **The partner has it too.** Each event rides on two beats to a partner that is a nullbeat ([`news`]); it keeps them in
//!   its own ring. So the survivor can tell what a dead board saw last.

mod entry;
mod keeper;
pub mod news;
mod ring;
pub mod slot;
pub(in crate::daemon) mod words;

use std::fmt;
use std::path::{Path, PathBuf};

pub use entry::{Entry, Origin};
pub use keeper::Keeper;
pub use ring::Ring;

use crate::config::Paths;

/// Name of both files.
const FILE_NAME: &str = "history";

/// The ring in memory and the ring on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    live: PathBuf,
    disk: PathBuf,
}

impl Files {
    /// Those of one node.
    pub fn new(paths: &Paths) -> Self {
        Self::at(&paths.run, &paths.state)
    }

    fn at(run: &Path, state: &Path) -> Self {
        Self { live: run.join(FILE_NAME), disk: state.join(FILE_NAME) }
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.live.display(), self.disk.display())
    }
}
