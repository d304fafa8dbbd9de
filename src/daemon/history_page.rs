//! History that outlives its engine: a file in the run directory, mapped by each engine in turn, in which everything of
//! [`History`](super::history::History) is stored as it happens. Of fixed size; stores, not system calls.
//!
//! ```text
//!   words 0–3      magic, boot, digest of nodes and links, number of groups
//!   words 4–67     digest of each group: numbers of groups mean another one after a reload
//!   words 68–143   the last move
//!   words 144–1167 the ring: 256 entries of number, time, wall clock, what
//! ```
//!
//! An engine may be killed at any moment. The first word of an entry is its number, which is zero while the others are
//! written; that of the move is odd.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::posix_fallocate;

use super::history::{ENTRIES_MAX, Entry, Move, SCRIPTS_MAX, Script, What};
use crate::config::Config;
use crate::core::ids::{GroupId, LinkId, NodeId, PingId};
use crate::core::limits::GROUPS_MAX;
use crate::core::message::{GroupState, NodeStatus};
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Alarm, Event, FenceStep, InputLine, LineLevel};
use crate::guardian::lease::{boot_id, group_digest, paths_digest};
use crate::guardian::protocol::{CAUSES, ORDERS, OUTCOMES};
use crate::sys::mapping::SharedWords;

/// File name in the run directory.
pub const FILE_NAME: &str = "history";

/// Name and version of the layout; another version's file is emptied.
const MAGIC: u64 = u64::from_be_bytes(*b"nbhist01");

const MAGIC_AT: usize = 0;
const BOOT_AT: usize = 1;
const PATHS_AT: usize = 2;
const COUNT_AT: usize = 3;
const GROUPS_AT: usize = 4;
const MOVE_AT: usize = GROUPS_AT + GROUPS_MAX;
const MOVE_HEAD: usize = 12;
const RING_AT: usize = MOVE_AT + MOVE_HEAD + SCRIPTS_MAX;
const ENTRY_WORDS: usize = 4;
const WORDS: usize = RING_AT + ENTRIES_MAX * ENTRY_WORDS;
const BYTES: usize = WORDS * size_of::<u64>();

/// The mapped file.
#[derive(Debug)]
pub struct HistoryPage {
    words: SharedWords,
}

/// What an earlier engine has left, in terms of the present configuration.
#[derive(Debug, Default)]
pub struct Saved {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Of the newest entry, whether or not it could be kept.
    pub last_number: u64,
    /// The last move to this node.
    pub last_move: Option<Box<Move>>,
}

impl HistoryPage {
    /// Opens the file in `run_dir`; makes it, or empties it, when there is none of this boot and this version.
    ///
    /// # Errors
    /// What opening, sizing or mapping the file says.
    pub fn open(run_dir: &Path) -> io::Result<Self> {
        let boot = boot_id()?;
        let path = run_dir.join(FILE_NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // Allocated, not only sized: a full tmpfs must be an error here and not a fatal signal later.
        posix_fallocate(&file, 0, i64::try_from(BYTES).map_err(io::Error::other)?)?;
        let page = Self { words: SharedWords::map(&file, WORDS)? };
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

    /// Takes what is there, and writes it anew by the numbers of `config`'s groups. What was about a group that is gone,
    /// or about nodes and links when these have changed, is left out.
    pub fn adopt(&self, config: &Config) -> Saved {
        let known = Known::new(self, config);
        let mut saved = Saved::default();
        for slot in 0..ENTRIES_MAX {
            let (number, entry) = self.entry(slot);
            saved.last_number = saved.last_number.max(number);
            saved.entries.extend(entry.and_then(|entry| known.entry(entry)));
        }
        saved.entries.sort_by_key(|entry| entry.number);
        saved.last_move = self.last_move().map(|last| Box::new(known.last_move(last)));

        let boot = self.load(BOOT_AT);
        self.clear();
        self.store(BOOT_AT, boot);
        self.store(PATHS_AT, paths_digest(config));
        let count = config.groups.len().min(GROUPS_MAX);
        self.store(COUNT_AT, count as u64);
        for (at, group) in (GROUPS_AT..).zip(config.groups.iter().take(count)) {
            self.store(at, group_digest(group));
        }
        saved.entries.iter().for_each(|entry| self.put_entry(entry));
        saved.last_move.iter().for_each(|last| self.put_move(last));
        self.store(MAGIC_AT, MAGIC);
        saved
    }

    /// Keeps an entry in the place of the oldest one.
    pub fn put_entry(&self, entry: &Entry) {
        let slot = usize::try_from(entry.number % ENTRIES_MAX as u64).unwrap_or(0);
        let at = RING_AT + slot * ENTRY_WORDS;
        self.store(at, 0);
        self.store(at + 1, entry.at.now.as_micros());
        self.store(at + 2, u64::from(entry.at.wall));
        self.store(at + 3, pack(entry.what));
        self.store(at, entry.number);
    }

    /// The number in this place, and the entry when it makes sense.
    fn entry(&self, slot: usize) -> (u64, Option<Entry>) {
        let at = RING_AT + slot * ENTRY_WORDS;
        let number = self.load(at);
        let stamp = self.stamp(at + 1);
        let what = unpack(self.load(at + 3)).filter(|_| number > 0);
        (number, what.map(|what| Entry { number, at: stamp, what }))
    }

    fn stamp(&self, at: usize) -> Stamp {
        Stamp { now: Instant::from_micros(self.load(at)), wall: u32::try_from(self.load(at + 1)).unwrap_or(0) }
    }

    /// Keeps the last move as it is now.
    pub fn put_move(&self, last: &Move) {
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

    fn last_move(&self) -> Option<Move> {
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

/// How numbers of then translate into those of now.
struct Known {
    groups: [Option<GroupId>; GROUPS_MAX],
    are_paths_same: bool,
}

impl Known {
    fn new(page: &HistoryPage, config: &Config) -> Self {
        let count = usize::try_from(page.load(COUNT_AT)).unwrap_or(0).min(GROUPS_MAX);
        let mut groups = [None; GROUPS_MAX];
        for (place, known) in groups.iter_mut().enumerate().take(count) {
            let digest = page.load(GROUPS_AT + place);
            let now = config.groups.iter().position(|group| group_digest(group) == digest);
            *known = now.and_then(|now| u8::try_from(now).ok()).map(GroupId);
        }
        Self { groups, are_paths_same: page.load(PATHS_AT) == paths_digest(config) }
    }

    fn group(&self, group: &mut GroupId) -> bool {
        let now = self.groups.get(usize::from(group.0)).copied().flatten();
        now.map(|now| *group = now).is_some()
    }

    fn entry(&self, mut entry: Entry) -> Option<Entry> {
        let is_known = match &mut entry.what {
            What::Event(Event::Group { group, .. }) | What::Job { group, .. } => self.group(group),
            What::Event(Event::Alarm { alarm, .. }) => match alarm {
                Alarm::SplitBrain(group) | Alarm::StartFailed(group) | Alarm::StopFailed(group) => self.group(group),
                Alarm::OneWayLink(_) => self.are_paths_same,
                _ => true,
            },
            What::Event(Event::Node { .. } | Event::Link { .. } | Event::Ping { .. }) | What::Device { .. } => {
                self.are_paths_same
            }
            What::Event(Event::Members | Event::Late { .. } | Event::Fence { .. } | Event::Line { .. }) => true,
        };
        is_known.then_some(entry)
    }

    /// What its start jobs have come to nobody tells this engine.
    fn last_move(&self, mut last: Move) -> Move {
        let before = last.scripts.len();
        last.scripts.retain_mut(|script| self.group(&mut script.group));
        last.more_scripts += u32::try_from(before - last.scripts.len()).unwrap_or(0);
        if std::mem::take(&mut last.running) > 0 {
            last.last_end = None;
        }
        last
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}

fn index<T: PartialEq>(table: &[T], value: &T) -> u64 {
    table.iter().position(|known| known == value).unwrap_or(table.len()) as u64
}

fn small<T: PartialEq>(table: &[T], value: &T) -> u8 {
    u8::try_from(index(table, value)).unwrap_or(u8::MAX)
}

/// Alarms about nothing in particular, by place; the others follow them.
const PLAIN_ALARMS: [Alarm; 16] = [
    Alarm::LastLink,
    Alarm::ConfigDiffers,
    Alarm::ResourcesDiffer,
    Alarm::Unfenced,
    Alarm::NeedsOperator,
    Alarm::MovesLatched,
    Alarm::Held,
    Alarm::NoGuardian,
    Alarm::MessagesLost,
    Alarm::Maintenance,
    Alarm::FencePending,
    Alarm::FenceFailed,
    Alarm::FenceLatched,
    Alarm::FenceLied,
    Alarm::OwnerLineFailed,
    Alarm::Interlocked,
];
const ONE_WAY: u8 = 0x80;
const SPLIT_BRAIN: u8 = 0x81;
const START_FAILED: u8 = 0x82;
const STOP_FAILED: u8 = 0x83;
const LINE_STUCK: u8 = 0x84;

fn alarm_code(alarm: Alarm) -> (u8, u8) {
    match alarm {
        Alarm::OneWayLink(link) => (ONE_WAY, link.0),
        Alarm::SplitBrain(group) => (SPLIT_BRAIN, group.0),
        Alarm::StartFailed(group) => (START_FAILED, group.0),
        Alarm::StopFailed(group) => (STOP_FAILED, group.0),
        Alarm::LineStuck(line) => (LINE_STUCK, small(&InputLine::ALL, &line)),
        Alarm::LastLink
        | Alarm::ConfigDiffers
        | Alarm::ResourcesDiffer
        | Alarm::Unfenced
        | Alarm::NeedsOperator
        | Alarm::MovesLatched
        | Alarm::Held
        | Alarm::NoGuardian
        | Alarm::MessagesLost
        | Alarm::Maintenance
        | Alarm::FencePending
        | Alarm::FenceFailed
        | Alarm::FenceLatched
        | Alarm::FenceLied
        | Alarm::OwnerLineFailed
        | Alarm::Interlocked => (small(&PLAIN_ALARMS, &alarm), 0),
    }
}

fn alarm_of(code: u8, subject: u8) -> Option<Alarm> {
    match code {
        ONE_WAY => Some(Alarm::OneWayLink(LinkId(subject))),
        SPLIT_BRAIN => Some(Alarm::SplitBrain(GroupId(subject))),
        START_FAILED => Some(Alarm::StartFailed(GroupId(subject))),
        STOP_FAILED => Some(Alarm::StopFailed(GroupId(subject))),
        LINE_STUCK => InputLine::ALL.get(usize::from(subject)).copied().map(Alarm::LineStuck),
        plain => PLAIN_ALARMS.get(usize::from(plain)).copied(),
    }
}

const STATUSES: [NodeStatus; 4] = [NodeStatus::Init, NodeStatus::Up, NodeStatus::Active, NodeStatus::Dead];

const LEVELS: [LineLevel; 3] = [LineLevel::Active, LineLevel::Inactive, LineLevel::Unknown];

/// Kind, three small numbers, a large one.
fn pack(what: What) -> u64 {
    let ([kind, a, b, c], number) = match what {
        What::Event(Event::Group { group, old, new, cause }) => {
            ([1, group.0, old.letter(), new.letter()], u32::from(small(&CAUSES, &cause)))
        }
        What::Event(Event::Node { node, status }) => ([2, node.0, small(&STATUSES, &status), 0], 0),
        What::Event(Event::Link { node, link, is_up }) => ([3, node.0, link.0, u8::from(is_up)], 0),
        What::Event(Event::Ping { ping, is_alive }) => ([4, ping.0, u8::from(is_alive), 0], 0),
        What::Event(Event::Alarm { alarm, is_raised }) => {
            let (code, subject) = alarm_code(alarm);
            ([5, code, subject, u8::from(is_raised)], 0)
        }
        What::Event(Event::Members) => ([6, 0, 0, 0], 0),
        What::Event(Event::Late { ms }) => ([7, 0, 0, 0], ms),
        What::Event(Event::Fence { method, step }) => ([10, method, small(&FenceStep::ALL, &step), 0], 0),
        What::Event(Event::Line { line, level }) => ([11, small(&InputLine::ALL, &line), small(&LEVELS, &level), 0], 0),
        What::Job { group, order, outcome, ms } => {
            ([8, group.0, small(&ORDERS, &order), small(&OUTCOMES, &outcome)], ms)
        }
        What::Device { link, is_open } => ([9, link.0, u8::from(is_open), 0], 0),
    };
    u64::from(u32::from_le_bytes([kind, a, b, c])) | u64::from(number) << 32
}

fn unpack(word: u64) -> Option<What> {
    let [kind, a, b, c, n0, n1, n2, n3] = word.to_le_bytes();
    let number = u32::from_le_bytes([n0, n1, n2, n3]);
    Some(match kind {
        1 => What::Event(Event::Group {
            group: GroupId(a),
            old: GroupState::from_letter(b)?,
            new: GroupState::from_letter(c)?,
            cause: *CAUSES.get(usize::try_from(number).ok()?)?,
        }),
        2 => What::Event(Event::Node { node: NodeId(a), status: *STATUSES.get(usize::from(b))? }),
        3 => What::Event(Event::Link { node: NodeId(a), link: LinkId(b), is_up: c != 0 }),
        4 => What::Event(Event::Ping { ping: PingId(a), is_alive: b != 0 }),
        5 => What::Event(Event::Alarm { alarm: alarm_of(a, b)?, is_raised: c != 0 }),
        6 => What::Event(Event::Members),
        7 => What::Event(Event::Late { ms: number }),
        8 => What::Job {
            group: GroupId(a),
            order: *ORDERS.get(usize::from(b))?,
            outcome: *OUTCOMES.get(usize::from(c))?,
            ms: number,
        },
        10 => What::Event(Event::Fence { method: a, step: *FenceStep::ALL.get(usize::from(b))? }),
        11 => {
            What::Event(Event::Line { line: *InputLine::ALL.get(usize::from(a))?, level: *LEVELS.get(usize::from(b))? })
        }
        9 => What::Device { link: LinkId(a), is_open: b != 0 },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;
    use crate::core::{Cause, JobOutcome, Order};

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new() -> Self {
            Self(nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-history-XXXXXX")).unwrap())
        }

        fn page(&self) -> HistoryPage {
            HistoryPage::open(&self.0).unwrap()
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

    fn entry(number: u64, what: What) -> Entry {
        Entry { number, at: Stamp { now: Instant::from_millis(number), wall: 7 }, what }
    }

    fn job(group: u8) -> What {
        What::Job { group: GroupId(group), order: Order::Start, outcome: JobOutcome::Done, ms: 12 }
    }

    #[test]
    fn what_comes_back_as_it_was_and_nonsense_is_nothing() {
        let group = GroupId(63);
        let link = LinkId(15);
        let mut all = vec![job(63), What::Device { link, is_open: true }, What::Event(Event::Members)];
        for cause in CAUSES {
            let (old, new) = (GroupState::Unknown, GroupState::StopFailed);
            all.push(What::Event(Event::Group { group, old, new, cause }));
        }
        for status in STATUSES {
            all.push(What::Event(Event::Node { node: NodeId(15), status }));
        }
        let about =
            [Alarm::OneWayLink(link), Alarm::SplitBrain(group), Alarm::StartFailed(group), Alarm::StopFailed(group)];
        let stuck = InputLine::ALL.map(Alarm::LineStuck);
        for alarm in PLAIN_ALARMS.into_iter().chain(about).chain(stuck) {
            all.push(What::Event(Event::Alarm { alarm, is_raised: true }));
        }
        all.push(What::Event(Event::Link { node: NodeId(1), link, is_up: true }));
        all.push(What::Event(Event::Ping { ping: PingId(3), is_alive: true }));
        all.push(What::Event(Event::Late { ms: u32::MAX }));
        all.extend(FenceStep::ALL.map(|step| What::Event(Event::Fence { method: u8::MAX, step })));
        for line in InputLine::ALL {
            all.extend(LEVELS.map(|level| What::Event(Event::Line { line, level })));
        }
        for what in all {
            assert_eq!(unpack(pack(what)), Some(what));
        }
        assert_eq!([0, 12, 0x0101_0101, u64::MAX].map(unpack), [None; 4]);
    }

    #[test]
    fn entries_and_move_outlive_their_engine_and_follow_their_groups() {
        let scratch = Scratch::new();
        let page = scratch.page();
        assert_eq!(page.adopt(&scratch.config(&[("alpha", "a"), ("alpha", "b")])).entries, []);
        for number in 1..=300 {
            page.put_entry(&entry(number, job(u8::try_from(number % 2).unwrap())));
        }
        let mut last = Move::begun(Cause::Death, Stamp { now: Instant::from_millis(1), wall: 2 });
        last.detect = Some(Duration::from_millis(990));
        last.last_end = Some(Instant::from_millis(1020));
        for group in [0, 1] {
            last.scripts.push(Script { group: GroupId(group), resource: 3, micros: 1500 }).unwrap();
        }
        page.put_move(&last);
        drop(page);

        let same = scratch.page().adopt(&scratch.config(&[("alpha", "a"), ("alpha", "b")]));
        assert_eq!(same.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), (45..=300).collect::<Vec<_>>());
        assert_eq!((same.last_number, same.last_move.as_deref()), (300, Some(&last)));

        // `b` is the first group now, `a` is gone.
        let other = scratch.page().adopt(&scratch.config(&[("alpha", "b"), ("alpha", "c")]));
        assert_eq!(other.entries.len(), 128);
        assert!(other.entries.iter().all(|entry| entry.what == job(0) && entry.number % 2 == 1));
        let moved = other.last_move.unwrap();
        assert_eq!((moved.scripts[0].group, moved.scripts.len(), moved.more_scripts), (GroupId(0), 1, 1));
        assert_eq!(other.last_number, 300);
    }

    #[test]
    fn words_half_written_by_a_killed_engine_are_left_out() {
        let scratch = Scratch::new();
        let config = scratch.config(&[("alpha", "a")]);
        let page = scratch.page();
        page.adopt(&config);
        page.put_entry(&entry(1, job(0)));
        page.put_entry(&entry(2, job(0)));
        page.store(RING_AT + 2 * ENTRY_WORDS, 0);
        let mut last = Move::begun(Cause::Startup, Stamp::default());
        last.running = 2;
        last.last_end = Some(Instant::from_millis(5));
        page.put_move(&last);
        let saved = page.adopt(&config);
        assert_eq!((saved.entries.len(), saved.last_number), (1, 1));
        let adopted = saved.last_move.unwrap();
        assert_eq!((adopted.running, adopted.last_end), (0, None), "nobody tells this engine how they ended");
        page.store(MOVE_AT, 3);
        assert!(page.adopt(&config).last_move.is_none());
    }

    #[test]
    fn another_boots_page_and_rubbish_are_emptied_or_harmless() {
        let scratch = Scratch::new();
        let config = scratch.config(&[("alpha", "a")]);
        let page = scratch.page();
        page.adopt(&config);
        page.put_entry(&entry(1, job(0)));
        page.store(BOOT_AT, 1);
        assert_eq!(scratch.page().adopt(&config).entries, []);
        let page = scratch.page();
        for at in PATHS_AT..WORDS {
            page.store(at, u64::MAX - at as u64);
        }
        page.adopt(&config);
        page.put_entry(&entry(1, job(0)));
        assert_eq!(page.adopt(&config).entries.last(), Some(&entry(1, job(0))));
    }
}
