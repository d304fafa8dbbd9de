//! The last move, kept for the next engine: a file in the run directory, mapped by each engine in turn, in which everything
//! of [`LastMove`](super::last_move::LastMove) is stored as it happens. Of fixed size; stores, not system calls.
//!
//! ```text
//!   words 0–3      magic, boot, number of groups, 0
//!   words 4–67     digest of each group: numbers of groups mean another one after a reload
//!   words 68–143   the last move
//! ```
//!
//! An engine may be killed at any moment. The first word of the move is odd while the others are written.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::posix_fallocate;

use super::last_move::{Move, SCRIPTS_MAX, Script};
use crate::config::Config;
use crate::core::ids::GroupId;
use crate::core::limits::GROUPS_MAX;
use crate::core::time::{Duration, Instant, Stamp};
use crate::guardian::lease::{boot_id, group_digest};
use crate::guardian::protocol::CAUSES;
use crate::sys::mapping::SharedWords;

/// File name in the run directory.
pub const FILE_NAME: &str = "last_move";

/// Name and version of the layout; another version's file is emptied.
const MAGIC: u64 = u64::from_be_bytes(*b"nbmove01");

const MAGIC_AT: usize = 0;
const BOOT_AT: usize = 1;
const COUNT_AT: usize = 2;
const GROUPS_AT: usize = 4;
const MOVE_AT: usize = GROUPS_AT + GROUPS_MAX;
const MOVE_HEAD: usize = 12;
const WORDS: usize = MOVE_AT + MOVE_HEAD + SCRIPTS_MAX;
const BYTES: usize = WORDS * size_of::<u64>();

/// The mapped file.
#[derive(Debug)]
pub struct MovePage {
    words: SharedWords,
}

impl MovePage {
    /// Opens the file in `run_dir`; makes it, or empties it, when there is none of this boot and this version.
    ///
    /// # Errors
    /// What opening, sizing or mapping the file says.
    pub fn open(run_dir: &Path) -> io::Result<Self> {
        let boot = boot_id()?;
        let path = run_dir.join(FILE_NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // Allocated, not only sized: a full tmpfs must be an error here and not a fatal signal later.
        posix_fallocate(&file, 0, BYTES.try_into().map_err(io::Error::other)?)?;
        let page = Self { words: SharedWords::map(&file, 0, WORDS)? };
        if page.load(MAGIC_AT) != MAGIC || page.load(BOOT_AT) != boot {
            page.clear();
            page.store(BOOT_AT, boot);
            page.store(MAGIC_AT, MAGIC);
        }
        Ok(page)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words.words()[at]
    }

    fn load(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }

    fn store(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Release);
    }

    fn clear(&self) {
        for word in self.words.words() {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Takes what is there, and writes it anew by the numbers of `config`'s groups. Scripts of a group that is gone are
    /// only counted; what has become of start jobs under way nobody tells this engine.
    pub fn adopt(&self, config: &Config) -> Option<Box<Move>> {
        let known = self.known_groups(config);
        let last = self.read().map(|mut last| {
            let before = last.scripts.len();
            last.scripts.retain_mut(|script| {
                let now = known.get(usize::from(script.group.0)).copied().flatten();
                now.map(|now| script.group = now).is_some()
            });
            let gone = u32::try_from(before - last.scripts.len()).unwrap_or(0);
            last.more_scripts = last.more_scripts.saturating_add(gone);
            if std::mem::take(&mut last.running) > 0 {
                last.last_end = None;
            }
            Box::new(last)
        });
        let boot = self.load(BOOT_AT);
        self.clear();
        self.store(BOOT_AT, boot);
        let count = config.groups.len().min(GROUPS_MAX);
        self.store(COUNT_AT, count as u64);
        for (at, group) in (GROUPS_AT..).zip(config.groups.iter().take(count)) {
            self.store(at, group_digest(group));
        }
        last.iter().for_each(|last| self.put(last));
        self.store(MAGIC_AT, MAGIC);
        last
    }

    /// How numbers of then translate into those of now.
    fn known_groups(&self, config: &Config) -> [Option<GroupId>; GROUPS_MAX] {
        let count = usize::try_from(self.load(COUNT_AT)).unwrap_or(0).min(GROUPS_MAX);
        let mut groups = [None; GROUPS_MAX];
        for (place, known) in groups.iter_mut().enumerate().take(count) {
            let digest = self.load(GROUPS_AT + place);
            let now = config.groups.iter().position(|group| group_digest(group) == digest);
            *known = now.and_then(|now| u8::try_from(now).ok()).map(GroupId);
        }
        groups
    }

    fn stamp(&self, at: usize) -> Stamp {
        Stamp { now: Instant::from_micros(self.load(at)), wall: u32::try_from(self.load(at + 1)).unwrap_or(0) }
    }

    /// Keeps the last move as it is now.
    pub fn put(&self, last: &Move) {
        let turn = self.load(MOVE_AT) | 1;
        self.store(MOVE_AT, turn);
        let fields = [
            index(&CAUSES, &last.cause),
            last.at.now.as_micros(),
            u64::from(last.at.wall),
            // Zero: none.
            last.detect.map_or(0, |detect| micros(detect) + 1),
            micros(last.decide),
            u64::from(last.more_scripts),
            u64::from(last.running),
            u64::from(last.failed),
            last.last_end.map_or(0, |end| end.as_micros() + 1),
            last.scripts.len() as u64,
        ];
        for (at, value) in (MOVE_AT + 1..).zip(fields) {
            self.store(at, value);
        }
        for (at, script) in (MOVE_AT + MOVE_HEAD..).zip(&last.scripts) {
            let small = u64::from(script.group.0) | u64::from(script.resource) << 8;
            self.store(at, small | u64::from(script.micros) << 32);
        }
        self.store(MOVE_AT, turn + 1);
    }

    fn read(&self) -> Option<Move> {
        let turn = self.load(MOVE_AT);
        if turn == 0 || turn % 2 == 1 {
            return None;
        }
        let field = |number: usize| self.load(MOVE_AT + number);
        let small = |number: usize| u32::try_from(field(number)).unwrap_or(u32::MAX);
        let mut last = Move::begun(*CAUSES.get(usize::try_from(field(1)).ok()?)?, self.stamp(MOVE_AT + 2));
        last.detect = field(4).checked_sub(1).map(Duration::from_micros);
        last.decide = Duration::from_micros(field(5));
        last.more_scripts = small(6);
        last.running = small(7);
        last.failed = small(8);
        last.last_end = field(9).checked_sub(1).map(Instant::from_micros);
        let count = usize::try_from(field(10)).ok()?.min(SCRIPTS_MAX);
        for at in MOVE_AT + MOVE_HEAD..MOVE_AT + MOVE_HEAD + count {
            let [group, resource, ..] = self.load(at).to_le_bytes();
            let micros = u32::try_from(self.load(at) >> 32).unwrap_or(0);
            let _ = last.scripts.push(Script { group: GroupId(group), resource, micros });
        }
        Some(last)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}

fn index<T: PartialEq>(table: &[T], value: &T) -> u64 {
    table.iter().position(|known| known == value).unwrap_or(table.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;
    use crate::core::Cause;

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new() -> Self {
            Self(nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-move-XXXXXX")).unwrap())
        }

        fn page(&self) -> MovePage {
            MovePage::open(&self.0).unwrap()
        }

        fn config(&self, groups: &[(&str, &str)]) -> Config {
            sample::config(&self.0, groups)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn move_outlives_its_engine_and_follows_its_groups() {
        let scratch = Scratch::new();
        let page = scratch.page();
        assert_eq!(page.adopt(&scratch.config(&[("alpha", "a"), ("alpha", "b")])), None);
        let mut last = Move::begun(Cause::Death, Stamp { now: Instant::from_millis(1), wall: 2 });
        last.detect = Some(Duration::from_millis(990));
        last.last_end = Some(Instant::from_millis(1020));
        for group in [0, 1] {
            last.scripts.push(Script { group: GroupId(group), resource: 3, micros: 1500 }).unwrap();
        }
        page.put(&last);
        drop(page);

        let same = scratch.page().adopt(&scratch.config(&[("alpha", "a"), ("alpha", "b")]));
        assert_eq!(same.as_deref(), Some(&last));

        // `b` is the first group now, `a` is gone.
        let moved = scratch.page().adopt(&scratch.config(&[("alpha", "b"), ("alpha", "c")])).unwrap();
        assert_eq!((moved.scripts[0].group, moved.scripts.len(), moved.more_scripts), (GroupId(0), 1, 1));
    }

    #[test]
    fn words_half_written_by_a_killed_engine_are_left_out() {
        let scratch = Scratch::new();
        let config = scratch.config(&[("alpha", "a")]);
        let page = scratch.page();
        page.adopt(&config);
        let mut last = Move::begun(Cause::Startup, Stamp::default());
        last.running = 2;
        last.last_end = Some(Instant::from_millis(5));
        page.put(&last);
        let adopted = page.adopt(&config).unwrap();
        assert_eq!((adopted.running, adopted.last_end), (0, None), "nobody tells this engine how they ended");
        page.store(MOVE_AT, 3);
        assert_eq!(page.adopt(&config), None);
    }

    #[test]
    fn another_boots_page_and_rubbish_are_emptied_or_harmless() {
        let scratch = Scratch::new();
        let config = scratch.config(&[("alpha", "a")]);
        let page = scratch.page();
        page.adopt(&config);
        let last = Move::begun(Cause::Startup, Stamp::default());
        page.put(&last);
        page.store(BOOT_AT, 1);
        assert_eq!(scratch.page().adopt(&config), None);
        let page = scratch.page();
        for at in COUNT_AT..WORDS {
            page.store(at, u64::MAX - at as u64);
        }
        page.adopt(&config);
        page.put(&last);
        assert_eq!(page.adopt(&config).as_deref(), Some(&last));
    }
}
