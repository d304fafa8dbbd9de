//! The lease: a file of two pages in the run directory, shared by all processes, in which the engine says that it lives and what
//! it holds.
//!
//! A store, not a system call: the engine stamps it before each beat leaves. The lease serves four readers:
//!
//! | who | reads | to know |
//! |---|---|---|
//! | guardian | engine's stamp | that the engine lives; else it is killed and replaced, or its groups are stopped |
//! | engine | guardian's stamp | that scripts can be run |
//! | logger (`daemon::sentinel`) | both stamps, holdings | that somebody must stop the groups when both are gone |
//! | whoever starts next in the same boot | everything | what killed processes left running |
//!
//! Stamps are nanoseconds of CLOCK_BOOTTIME ([`now`]): one clock for all processes, and it counts a suspended board's
//! time. A lease of an earlier boot says nothing: it is emptied when it is opened.
//!
//! ```text
//!   the guardian's page, which the engine can only read ([`Lease::leave_to_guardian`])
//!     head      magic, boot, the guardian's stamps, processes, deadtime, generation, which table is in force
//!     table A ┐ digest, number of groups, what the guardian has started, then for each group: who, script
//!     table B ┘ a new table is written beside the old one and comes into force with one store
//!     long-lived children
//!   the engine's page
//!     head      the engine's stamp, the partner, fencing
//!     table A ┐ claims, flags, then for each group: state, health
//!     table B ┘
//! ```
//!
//! By the guardian's page processes are judged and killed. What the engine's page says is the engine's word and no more: one
//! that somebody has taken over can write anything into it (docs/security.md).

mod digest;
mod fencing;
mod process;
mod table;
mod unfinished;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::posix_fallocate;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

pub use self::digest::{boot_id, group_digest, table_digest};
pub use self::process::ProcessKey;
use crate::core::ids::Generation;
use crate::core::limits::{CHILDREN_MAX, GROUPS_MAX};
use crate::core::time::Instant;
use crate::sys::mapping::{SharedWords, page_size};

/// File name in the run directory.
pub const FILE_NAME: &str = "lease";

/// Name and version of the layout; another version's file is emptied.
const MAGIC: u64 = u64::from_be_bytes(*b"nblease5");

// In the guardian's page.
const MAGIC_AT: usize = 0;
const BOOT_AT: usize = 1;
const GUARDIAN_STAMP_AT: usize = 2;
const RUNNER_STAMP_AT: usize = 3;
const ENGINE_AT: usize = 4;
const GUARDIAN_AT: usize = 6;
const LOGGER_AT: usize = 8;
const DISMISSED_AT: usize = 10;
const DEADTIME_AT: usize = 12;
const GENERATION_AT: usize = 13;
const TABLE_AT: usize = 14;
const METHODS_AT: usize = 15;
const FENCE_PROGRAM_AT: usize = 16;
/// The guardian's part of both tables.
const LISTS_AT: usize = 18;

const DIGEST_OF_LIST: usize = 0;
const COUNT_OF_LIST: usize = 1;
const LEFT_OF_LIST: usize = 2;
const GROUPS_OF_LIST: usize = 3;
/// Who, script.
const LISTED_WORDS: usize = 2;
const LIST_WORDS: usize = GROUPS_OF_LIST + GROUPS_MAX * LISTED_WORDS;

/// Long-lived children, two words each.
const CHILDREN_AT: usize = LISTS_AT + 2 * LIST_WORDS;
const _: () = assert!(CHILDREN_AT + 2 * CHILDREN_MAX <= PAGE_WORDS, "the guardian's words fit into its page");

/// Words of each page that are used; the kernel's own pages may be longer.
const PAGE_WORDS: usize = 512;

// In the engine's page.
const ENGINE_STAMP_AT: usize = PAGE_WORDS;
const PARTNER_AT: usize = PAGE_WORDS + 1;
const FENCING_AT: usize = PAGE_WORDS + 2;
const SHOT_AT: usize = PAGE_WORDS + 3;
const TURNS_AT: usize = PAGE_WORDS + 4;
const SETTLED_AT: usize = PAGE_WORDS + 5;
const LIED_AT: usize = PAGE_WORDS + 6;
const KICKS_UNTIL_AT: usize = PAGE_WORDS + 7;
/// The engine's part of both tables.
const CLAIMS_AT: usize = PAGE_WORDS + 8;

const CLAIMS_OF_TABLE: usize = 0;
const HELD_OF_TABLE: usize = 1;
const GUESTS_OF_TABLE: usize = 2;
const STUCK_OF_TABLE: usize = 3;
const UNFINISHED_OF_TABLE: usize = 4;
const HEARD_OF_TABLE: usize = 5;
const GROUPS_OF_TABLE: usize = 6;
/// State, health in two words.
const GROUP_WORDS: usize = 3;
const TABLE_WORDS: usize = GROUPS_OF_TABLE + GROUPS_MAX * GROUP_WORDS;
const _: () = assert!(CLAIMS_AT + 2 * TABLE_WORDS <= 2 * PAGE_WORDS, "the engine's words fit into its page");

/// In the word about the partner; the rest of it tells whose word it is.
const PARTNER_KNOWN: u64 = 1;
const PARTNER_DEAD: u64 = 2;
const PARTNER_LEFT: u64 = 4;
const PARTNER_FLAGS: u64 = PARTNER_KNOWN | PARTNER_DEAD | PARTNER_LEFT;

/// Beside the generation in the word about fencing.
const FENCING_CONFIRMED: u64 = 1 << 32;
/// Above it: the number of the method that has confirmed it, plus one.
const FENCING_METHOD_SHIFT: u32 = 40;

/// In the place of a state's letter: nobody has looked in this boot.
const UNSEEN: u64 = 0;

/// Nanoseconds of CLOCK_BOOTTIME: the clock of all stamps.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every kernel that has pidfds has this clock");
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

/// Both pages, mapped.
#[derive(Debug)]
struct Mapped {
    guardians: SharedWords,
    engines: SharedWords,
    /// The same file, opened for reading only: what is mapped by it nobody can make writable.
    reader: File,
}

/// The mapped lease. Children made by fork share it.
#[derive(Debug)]
pub struct Lease {
    pages: Rc<Mapped>,
}

impl Lease {
    /// Opens the lease in `run_dir`; makes it, or empties it, when there is none of this boot and this version. Only
    /// for the holder of the run directory's lock.
    ///
    /// # Errors
    /// What opening, sizing or mapping the file says.
    pub fn open_or_create(run_dir: &Path) -> io::Result<Self> {
        let boot = boot_id()?;
        let path = run_dir.join(FILE_NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let page = page_size();
        // Allocated, not only sized: a full tmpfs must be an error here and not a fatal signal later.
        posix_fallocate(&file, 0, 2 * page)?;
        // Not by its name: somebody may have put another one there meanwhile.
        let reader = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let (guardians, engines) =
            (SharedWords::map(&file, 0, PAGE_WORDS)?, SharedWords::map(&file, page, PAGE_WORDS)?);
        let lease = Self { pages: Rc::new(Mapped { guardians, engines, reader }) };
        if lease.load(MAGIC_AT) != MAGIC || lease.load(BOOT_AT) != boot {
            for word in lease.pages.guardians.words().iter().chain(lease.pages.engines.words()) {
                word.store(0, Ordering::Relaxed);
            }
            lease.store(BOOT_AT, boot);
            lease.store(MAGIC_AT, MAGIC);
        }
        Ok(lease)
    }

    /// The same lease once more: whatever becomes of the file's name, both are one.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { pages: Rc::clone(&self.pages) }
    }

    /// For the engine, before it closes descriptors that are not its own: from here on this process can only read the
    /// guardian's page, whatever becomes of its code. All copies of the mapping that it has inherited are one.
    ///
    /// # Errors
    /// What mmap(2) says: nothing has changed then.
    pub fn leave_to_guardian(&self) -> io::Result<()> {
        self.pages.guardians.make_read_only(&self.pages.reader)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        match at.checked_sub(PAGE_WORDS) {
            None => &self.pages.guardians.words()[at],
            Some(at) => &self.pages.engines.words()[at],
        }
    }

    fn load(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }

    fn store(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Release);
    }

    /// The engine lives at `ns`: stored before each beat leaves, so that no beat is younger than the stamp.
    pub fn stamp_engine(&self, ns: u64) {
        self.store(ENGINE_STAMP_AT, ns);
    }

    /// The last [`Lease::stamp_engine`], but never one that is still to come, which no engine of ours would store; zero: never
    /// in this boot.
    pub fn engine_stamp(&self) -> u64 {
        let stamp = self.load(ENGINE_STAMP_AT);
        // Looked at after it was read.
        stamp.min(now())
    }

    /// Whether the engine's stamp is one that no engine of ours has stored. While such an engine lives it counts as stamping;
    /// once it is gone nobody knows when it was heard last.
    pub fn is_stamp_forged(&self) -> bool {
        let stamp = self.load(ENGINE_STAMP_AT);
        // Looked at after it was read.
        stamp > now()
    }

    /// The guardian lives at `ns`.
    pub fn stamp_guardian(&self, ns: u64) {
        self.store(GUARDIAN_STAMP_AT, ns);
    }

    /// The last [`Lease::stamp_guardian`]; zero: never in this boot.
    pub fn guardian_stamp(&self) -> u64 {
        self.load(GUARDIAN_STAMP_AT)
    }

    /// The guardian has turned, and nothing was left undone by its script runner, at `ns`.
    pub fn stamp_runner(&self, ns: u64) {
        self.store(RUNNER_STAMP_AT, ns);
    }

    /// The last [`Lease::stamp_runner`]; zero: never in this boot.
    pub fn runner_stamp(&self) -> u64 {
        self.load(RUNNER_STAMP_AT)
    }

    /// Until when the watchdog lease allows kicks ([`Carried::kicks_until`](crate::core::settings::Carried::kicks_until)).
    pub fn set_kicks_until(&self, until: Option<Instant>) {
        self.store(KICKS_UNTIL_AT, instant_word(until));
    }

    /// The last [`Lease::set_kicks_until`].
    pub fn kicks_until(&self) -> Option<Instant> {
        instant_of(self.load(KICKS_UNTIL_AT))
    }

    fn set_process(&self, at: usize, process: Option<ProcessKey>) {
        // The start is taken away first and comes last: a half-written pair matches no process.
        self.store(at + 1, 0);
        if let Some(key) = process {
            self.store(at, u64::from(key.pid.as_raw().unsigned_abs()));
            self.store(at + 1, key.start);
        }
    }

    fn process(&self, at: usize) -> Option<ProcessKey> {
        let (pid, start) = (i32::try_from(self.load(at)).ok()?, self.load(at + 1));
        (pid > 0 && start > 0).then(|| ProcessKey { pid: Pid::from_raw(pid), start })
    }

    /// Which process is the engine.
    pub fn set_engine(&self, process: Option<ProcessKey>) {
        self.set_process(ENGINE_AT, process);
    }

    /// The engine's process, which may be gone.
    pub fn engine(&self) -> Option<ProcessKey> {
        self.process(ENGINE_AT)
    }

    /// Which process is the guardian.
    pub fn set_guardian(&self, process: Option<ProcessKey>) {
        self.set_process(GUARDIAN_AT, process);
    }

    /// The guardian's process, which may be gone.
    pub fn guardian(&self) -> Option<ProcessKey> {
        self.process(GUARDIAN_AT)
    }

    /// Which process is the logger.
    pub fn set_logger(&self, process: Option<ProcessKey>) {
        self.set_process(LOGGER_AT, process);
    }

    /// The logger's process, which may be gone.
    pub fn logger(&self) -> Option<ProcessKey> {
        self.process(LOGGER_AT)
    }

    /// The logger is about to see the end of its pipe, and nobody has died: a reload, or the end.
    pub fn dismiss_logger(&self) {
        self.set_process(DISMISSED_AT, self.logger());
        self.set_logger(None);
    }

    /// The logger that was last dismissed.
    pub fn dismissed_logger(&self) -> Option<ProcessKey> {
        self.process(DISMISSED_AT)
    }

    /// The dead time that the engine announces to its peer: nobody takes over before this long after its last stamp.
    pub fn set_deadtime(&self, deadtime: Duration) {
        self.store(DEADTIME_AT, u64::try_from(deadtime.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The announced dead time; zero: none yet.
    pub fn deadtime(&self) -> Duration {
        Duration::from_nanos(self.load(DEADTIME_AT))
    }

    /// The generation that the engine runs under.
    pub fn set_generation(&self, generation: Generation) {
        self.store(GENERATION_AT, u64::from(generation.0));
    }

    /// The generation of the last engine; zero: none in this boot.
    pub fn generation(&self) -> Generation {
        Generation(u32::try_from(self.load(GENERATION_AT)).unwrap_or(u32::MAX))
    }

    /// The program that is shooting at the partner, the leader of its process group, so that whoever comes after a killed
    /// guardian can end what is left of it: nothing may fire when nobody waits for it any more.
    pub fn set_fence_program(&self, program: Option<ProcessKey>) {
        self.set_process(FENCE_PROGRAM_AT, program);
    }

    /// The last [`Lease::set_fence_program`]; it may be gone, and its children not.
    pub fn fence_program(&self) -> Option<ProcessKey> {
        self.process(FENCE_PROGRAM_AT)
    }

    /// Which long-lived children the guardian has; more than there is room for are left out.
    pub fn set_children(&self, children: &[ProcessKey]) {
        for place in 0..CHILDREN_MAX {
            self.set_process(CHILDREN_AT + 2 * place, children.get(place).copied());
        }
    }

    /// The last [`Lease::set_children`]; some may be gone.
    pub fn children(&self) -> impl Iterator<Item = ProcessKey> {
        (0..CHILDREN_MAX).filter_map(|place| self.process(CHILDREN_AT + 2 * place))
    }
}

/// A moment as one word; zero: none.
fn instant_word(at: Option<Instant>) -> u64 {
    at.map_or(0, |at| at.as_micros().saturating_add(1))
}

fn instant_of(word: u64) -> Option<Instant> {
    word.checked_sub(1).map(Instant::from_micros)
}

#[cfg(test)]
mod tests;
