//! The lease: a shared page (two of the kernel's, in fact), a file in the run directory, in which the engine says that it lives and what it holds.
//!
//! A store, not a system call: the engine stamps it before each beat leaves. The page serves four readers:
//!
//! | who | reads | to know |
//! |---|---|---|
//! | guardian | engine's stamp | that the engine lives; else it is killed and replaced, or its groups are stopped |
//! | engine | guardian's stamp | that scripts can be run |
//! | logger (`daemon::sentinel`) | both stamps, holdings | that somebody must stop the groups when both are gone |
//! | whoever starts next in the same boot | everything | what killed processes left running |
//!
//! Stamps are nanoseconds of CLOCK_BOOTTIME ([`now`]): one clock for all processes, and it counts a suspended board's
//! time. A page of an earlier boot says nothing: it is emptied when it is opened.
//!
//! ```text
//!   words 0–25    head: magic, boot, stamps, processes, deadtime, generation, which table is in force
//!   words 26–353  table A ┐ digest, number of groups, claims, flags, then for each group: who, state, script, health
//!   words 354–681 table B ┘ a new table is written beside the old one and comes into force with one store
//! ```

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::posix_fallocate;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::config::{Config, Group};
use crate::core::ids::{Generation, GroupId, GroupSet, ShotId};
use crate::core::limits::{CHILDREN_MAX, GROUPS_MAX};
use crate::core::message::GroupState;
use crate::core::settings::{Carried, CarriedFencing, CarriedPartner, CarriedShot, GroupHealth};
use crate::core::time::Instant;
use crate::sys::mapping::SharedWords;
use crate::sys::pidfd;
use crate::sys::process::{process_start, signal_process};

/// File name in the run directory.
pub const FILE_NAME: &str = "lease";

/// Name and version of the layout; another version's page is emptied.
const MAGIC: u64 = u64::from_be_bytes(*b"nblease4");

const MAGIC_AT: usize = 0;
const BOOT_AT: usize = 1;
const ENGINE_STAMP_AT: usize = 2;
const GUARDIAN_STAMP_AT: usize = 3;
const ENGINE_AT: usize = 4;
const GUARDIAN_AT: usize = 6;
const LOGGER_AT: usize = 8;
const DISMISSED_AT: usize = 10;
const DEADTIME_AT: usize = 12;
const GENERATION_AT: usize = 13;
const TABLE_AT: usize = 14;
const PARTNER_AT: usize = 15;
const FENCING_AT: usize = 16;
const SHOT_AT: usize = 17;
const TURNS_AT: usize = 18;
const SETTLED_AT: usize = 19;
const LIED_AT: usize = 20;
const METHODS_AT: usize = 21;
const RUNNER_STAMP_AT: usize = 22;
const KICKS_UNTIL_AT: usize = 23;
const FENCE_PROGRAM_AT: usize = 24;
const HEAD_WORDS: usize = 26;

const DIGEST_OF_TABLE: usize = 0;
const COUNT_OF_TABLE: usize = 1;
const CLAIMS_OF_TABLE: usize = 2;
const HELD_OF_TABLE: usize = 3;
const GUESTS_OF_TABLE: usize = 4;
const STUCK_OF_TABLE: usize = 5;
const GROUPS_OF_TABLE: usize = 8;
const GROUP_WORDS: usize = 5;
const TABLE_WORDS: usize = GROUPS_OF_TABLE + GROUPS_MAX * GROUP_WORDS;

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

/// After so long the number of a process that is gone may have been that of another group, which has lost its leader too.
const LEADERLESS_MAX: Duration = Duration::from_secs(3600);

/// Long-lived children, two words each.
const CHILDREN_AT: usize = HEAD_WORDS + 2 * TABLE_WORDS;
const WORDS: usize = CHILDREN_AT + 2 * CHILDREN_MAX;
/// What is allocated for them.
const BYTES: u16 = 8192;
const _: () = assert!(WORDS * 8 <= BYTES as usize, "it all fits");

/// Nanoseconds of CLOCK_BOOTTIME: the clock of all stamps.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every kernel that has pidfds has this clock");
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

/// One process of this boot: a number alone may have been given to another one since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessKey {
    /// Its number.
    pub pid: Pid,
    /// When it was started ([`process_start`]).
    pub start: u64,
}

impl ProcessKey {
    /// The key of a process that lives.
    ///
    /// # Errors
    /// As [`process_start`].
    pub fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, start: process_start(pid)? })
    }

    /// A descriptor for just this process, or `None` when it is gone. One that has ended is gone, even while its
    /// parent has not collected it.
    pub fn open(self) -> Option<OwnedFd> {
        // Opened before it is looked at: from here on the number cannot be given to somebody else unnoticed.
        let process = pidfd::open(self.pid).ok()?;
        let is_same = process_start(self.pid).ok()? == self.start;
        (is_same && !has_ended(&process, Duration::ZERO)).then_some(process)
    }

    /// Whether it is gone, or gone within `limit`.
    pub fn ends_within(self, limit: Duration) -> bool {
        self.open().is_none_or(|process| has_ended(&process, limit))
    }

    /// Kills the whole process group that it leads or, if it is gone, has led. Returns whether there was one.
    pub fn kill_group(self) -> bool {
        let is_its_own = match process_start(self.pid) {
            Ok(start) => start == self.start,
            // While somebody is left in the group the kernel gives the number to nobody else. After a long time it may
            // have done so, and that one's group be without a leader as well.
            Err(_) => ticks_since(self.start).is_some_and(|age| age < LEADERLESS_MAX),
        };
        is_its_own && killpg(self.pid, Signal::SIGKILL).is_ok()
    }

    /// Ends it, if it lives, and waits until it has ended, for at most `limit`. Returns whether it is gone.
    pub fn kill(self, limit: Duration) -> bool {
        let Some(process) = self.open() else { return true };
        // ESRCH: it has ended in the meantime.
        let _ = signal_process(process.as_fd(), Signal::SIGKILL);
        has_ended(&process, limit)
    }
}

/// How long before now that was, `start` being that of a [`ProcessKey`].
fn ticks_since(start: u64) -> Option<Duration> {
    let rate = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    Some(Duration::from_nanos(now()).saturating_sub(Duration::from_millis(start.saturating_mul(1000) / rate)))
}

fn has_ended(process: &OwnedFd, limit: Duration) -> bool {
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout), Ok(1))
}

/// The mapped page. Children made by fork share it.
#[derive(Debug)]
pub struct Lease {
    page: Rc<SharedWords>,
}

impl Lease {
    /// Opens the page in `run_dir`; makes it, or empties it, when there is none of this boot and this version. Only
    /// for the holder of the run directory's lock.
    ///
    /// # Errors
    /// What opening, sizing or mapping the file says.
    pub fn open_or_create(run_dir: &Path) -> io::Result<Self> {
        let boot = boot_id()?;
        let path = run_dir.join(FILE_NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // Allocated, not only sized: a full tmpfs must be an error here and not a fatal signal later.
        posix_fallocate(&file, 0, BYTES.into())?;
        let lease = Self { page: Rc::new(SharedWords::map(&file, WORDS)?) };
        if lease.load(MAGIC_AT) != MAGIC || lease.load(BOOT_AT) != boot {
            for word in lease.page.words() {
                word.store(0, Ordering::Relaxed);
            }
            lease.store(BOOT_AT, boot);
            lease.store(MAGIC_AT, MAGIC);
        }
        Ok(lease)
    }

    /// The same page once more: whatever becomes of the file's name, both are one.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { page: Rc::clone(&self.page) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.page.words()[at]
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

    /// The last [`Lease::stamp_engine`]; zero: never in this boot.
    pub fn engine_stamp(&self) -> u64 {
        self.load(ENGINE_STAMP_AT)
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

    /// Until when the watchdog lease allows kicks ([`Carried::kicks_until`]).
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

    /// What the engine knows of the partner that `config` names. Kept until the next one: an engine that has not heard
    /// anything yet knows nothing better.
    pub fn set_partner(&self, config: &Config, known: CarriedPartner) {
        let flags = PARTNER_KNOWN
            | if known.is_dead { PARTNER_DEAD } else { 0 }
            | if known.has_left { PARTNER_LEFT } else { 0 };
        self.store(PARTNER_AT, nodes_digest(config) & !PARTNER_FLAGS | flags);
    }

    /// The last [`Lease::set_partner`], unless the nodes were others.
    pub fn partner(&self, config: &Config) -> Option<CarriedPartner> {
        let word = self.load(PARTNER_AT);
        let is_same = word & !PARTNER_FLAGS == nodes_digest(config) & !PARTNER_FLAGS;
        (is_same && word & PARTNER_KNOWN != 0)
            .then_some(CarriedPartner { is_dead: word & PARTNER_DEAD != 0, has_left: word & PARTNER_LEFT != 0 })
    }

    /// What the next engine must know about fencing: the run of the partner that is proven to be off, the shot whose
    /// outcome has not been taken in, from when on the turns of the two nodes count, and the rest. Methods are those of
    /// the last [`Lease::set_table`].
    pub fn set_fencing(
        &self,
        confirmed: Option<Generation>,
        shot: Option<ShotId>,
        turns_from: Option<Instant>,
        memory: CarriedFencing,
    ) {
        // A shot is forgotten only after its outcome is there, a confirmation after it was found to be a lie.
        self.store(TURNS_AT, instant_word(turns_from));
        self.store(SETTLED_AT, instant_word(memory.settled_at));
        self.store(LIED_AT, memory.lied.into());
        let by = memory.confirmed_by.map_or(0, |method| u64::from(method) + 1) << FENCING_METHOD_SHIFT;
        self.store(FENCING_AT, confirmed.map_or(0, |generation| FENCING_CONFIRMED | by | u64::from(generation.0)));
        self.store(SHOT_AT, shot.map_or(0, |shot| u64::from(shot.0) + 1));
    }

    fn confirmed_fence(&self) -> Option<Generation> {
        let word = self.load(FENCING_AT);
        let generation = Generation(u32::try_from(word & 0xffff_ffff).unwrap_or(0));
        (word & FENCING_CONFIRMED != 0).then_some(generation)
    }

    /// What else the last engine remembered of fencing. Of methods nothing, when `config` has others.
    fn fencing(&self, config: &Config) -> CarriedFencing {
        let settled_at = instant_of(self.load(SETTLED_AT));
        if self.load(METHODS_AT) != methods_digest(config) {
            return CarriedFencing { settled_at, ..CarriedFencing::default() };
        }
        let by = (self.load(FENCING_AT) >> FENCING_METHOD_SHIFT).checked_sub(1);
        let confirmed_by = by.and_then(|method| u8::try_from(method).ok());
        CarriedFencing { confirmed_by, settled_at, lied: u8::try_from(self.load(LIED_AT)).unwrap_or(0) }
    }

    /// The shot whose outcome the last engine has not taken in.
    pub fn shot(&self) -> Option<ShotId> {
        let number = self.load(SHOT_AT).checked_sub(1)?;
        u32::try_from(number).ok().map(ShotId)
    }

    /// What is remembered of fence methods is about those of `config` from now on.
    fn set_methods(&self, config: &Config, carried: Option<&Carried>) {
        let Some(carried) = carried else { return self.store(METHODS_AT, methods_digest(config)) };
        // Half done it is about none.
        self.store(METHODS_AT, 0);
        let shot = self.shot();
        self.set_fencing(carried.confirmed, shot, carried.turns_from, carried.fencing);
        self.store(METHODS_AT, methods_digest(config));
    }

    /// Brings the table of `config` into force. With `carried` the groups begin with these states and claims. Without,
    /// nothing is claimed, and the groups are [`GroupState::Unknown`] in the sense that nobody has looked in this boot
    /// yet: such a group is not [in use](Lease::in_use). Only while no engine runs.
    pub fn set_table(&self, config: &Config, carried: Option<&Carried>) {
        self.set_methods(config, carried);
        let in_force = self.load(TABLE_AT);
        // Of the table that is still in force.
        let is_unseen = |group: &Group| self.find(group_digest(group)).is_none_or(|old| self.state_word(old) == UNSEEN);
        let next = if in_force == 1 { 2 } else { 1 };
        let table = HEAD_WORDS + (usize::from(next == 2)) * TABLE_WORDS;
        self.store(table + DIGEST_OF_TABLE, table_digest(config));
        let count = config.groups.len().min(GROUPS_MAX);
        self.store(table + COUNT_OF_TABLE, count as u64);
        self.store(table + CLAIMS_OF_TABLE, carried.map_or(0, |carried| carried.claims.0));
        self.store(table + HELD_OF_TABLE, u64::from(carried.is_some_and(|carried| carried.is_held)));
        self.store(table + GUESTS_OF_TABLE, carried.map_or(0, |carried| carried.guests.0));
        self.store(table + STUCK_OF_TABLE, carried.map_or(0, |carried| carried.stuck_lines.into()));
        for (index, group) in config.groups.iter().take(count).enumerate() {
            let at = table + GROUPS_OF_TABLE + index * GROUP_WORDS;
            let letter = match carried.map_or(GroupState::Unknown, |carried| carried.states[index]) {
                GroupState::Unknown if is_unseen(group) => UNSEEN,
                state => u64::from(state.letter()),
            };
            self.store(at, group_digest(group));
            self.store(at + 1, letter);
            self.store(at + 2, 0);
            self.store_health(at, carried.map_or_else(GroupHealth::default, |carried| carried.health[index]));
        }
        self.store(TABLE_AT, next);
    }

    /// Whether a table of this boot is in force.
    pub fn has_table(&self) -> bool {
        matches!(self.load(TABLE_AT), 1 | 2)
    }

    fn table(&self) -> usize {
        HEAD_WORDS + usize::from(self.load(TABLE_AT) == 2) * TABLE_WORDS
    }

    fn group_at(&self, group: GroupId) -> usize {
        assert!(usize::from(group.0) < GROUPS_MAX);
        self.table() + GROUPS_OF_TABLE + usize::from(group.0) * GROUP_WORDS
    }

    /// [`table_digest`] of the table in force.
    pub fn table_digest(&self) -> u64 {
        self.load(self.table() + DIGEST_OF_TABLE)
    }

    /// How many groups the table in force has; zero without one.
    pub fn group_count(&self) -> usize {
        if !self.has_table() {
            return 0;
        }
        usize::try_from(self.load(self.table() + COUNT_OF_TABLE)).unwrap_or(0).min(GROUPS_MAX)
    }

    /// Which groups the engine claims: stored before the first script of a start is asked for, taken back after the
    /// last of a stop.
    pub fn set_claims(&self, claims: GroupSet) {
        self.store(self.table() + CLAIMS_OF_TABLE, claims.0);
    }

    /// The last [`Lease::set_claims`].
    pub fn claims(&self) -> GroupSet {
        if self.has_table() { GroupSet(self.load(self.table() + CLAIMS_OF_TABLE)) } else { GroupSet::EMPTY }
    }

    /// Whether an operator holds decisions.
    pub fn set_held(&self, is_held: bool) {
        self.store(self.table() + HELD_OF_TABLE, u64::from(is_held));
    }

    /// The last [`Lease::set_held`].
    pub fn is_held(&self) -> bool {
        self.has_table() && self.load(self.table() + HELD_OF_TABLE) != 0
    }

    /// Which of the claimed groups go home by themselves when the partner is back ([`Carried::guests`]).
    pub fn set_guests(&self, guests: GroupSet) {
        self.store(self.table() + GUESTS_OF_TABLE, guests.0);
    }

    fn guests(&self) -> GroupSet {
        GroupSet(self.load(self.table() + GUESTS_OF_TABLE))
    }

    /// Which lines are not believed ([`Carried::stuck_lines`]).
    pub fn set_stuck_lines(&self, lines: u8) {
        self.store(self.table() + STUCK_OF_TABLE, lines.into());
    }

    fn stuck_lines(&self) -> u8 {
        u8::try_from(self.load(self.table() + STUCK_OF_TABLE)).unwrap_or(0)
    }

    /// A group's state, stored before a job for it is asked for and when its outcome is known.
    pub fn set_group(&self, group: GroupId, state: GroupState) {
        self.store(self.group_at(group) + 1, u64::from(state.letter()));
    }

    fn state_word(&self, group: GroupId) -> u64 {
        self.load(self.group_at(group) + 1)
    }

    /// The last [`Lease::set_group`].
    pub fn group(&self, group: GroupId) -> GroupState {
        let letter = u8::try_from(self.state_word(group)).unwrap_or(0);
        GroupState::from_letter(letter).unwrap_or(GroupState::Unknown)
    }

    /// What was done about its health; of the moments the seconds are kept.
    pub fn set_health(&self, group: GroupId, health: GroupHealth) {
        self.store_health(self.group_at(group), health);
    }

    fn store_health(&self, at: usize, health: GroupHealth) {
        for (word, value) in (at + 3..).zip(health_words(health)) {
            self.store(word, value);
        }
    }

    fn health(&self, group: GroupId) -> GroupHealth {
        let at = self.group_at(group);
        health_of([self.load(at + 3), self.load(at + 4)])
    }

    /// The process group of the script that runs for this group, so that whoever comes after a killed guardian can
    /// end it before it runs another one.
    pub fn set_script(&self, group: GroupId, script: Option<ProcessKey>) {
        let word = script.map_or(0, |key| u64::from(key.pid.as_raw().unsigned_abs()) << 32 | key.start & 0xffff_ffff);
        self.store(self.group_at(group) + 2, word);
    }

    /// Process group of the script that was last started for this group, when its leader still lives.
    pub fn script(&self, group: GroupId) -> Option<Pid> {
        let word = self.load(self.group_at(group) + 2);
        let pid = Pid::from_raw(i32::try_from(word >> 32).ok()?);
        if pid.as_raw() == 0 {
            return None;
        }
        let start = process_start(pid).ok()?;
        (start & 0xffff_ffff == word & 0xffff_ffff).then_some(pid)
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

    /// Groups of the table in force that are claimed or whose state says that part of them may be in use here.
    pub fn in_use(&self) -> GroupSet {
        let is_seen_in_use = |group| self.state_word(group) != UNSEEN && self.group(group).is_in_use();
        let all = GroupSet::first(self.group_count());
        all.iter().filter(|&group| self.claims().contains(group) || is_seen_in_use(group)).collect()
    }

    /// What the last engine of this boot held, in terms of `config`'s groups: a group is the same when its node and
    /// all its words are. `None` when no table of this boot is in force. A state that was on its way is
    /// [`GroupState::Unknown`]. `is_certain` is false: only the caller knows.
    pub fn carried(&self, config: &Config) -> Option<Carried> {
        if !self.has_table() {
            return None;
        }
        let partner = self.partner(config);
        // It is about that partner.
        let (confirmed, shot) = partner.map_or((None, None), |_| (self.confirmed_fence(), self.shot()));
        let fencing = partner.map_or_else(CarriedFencing::default, |_| self.fencing(config));
        let mut carried = Carried {
            to_restart: GroupSet::EMPTY,
            partner,
            confirmed,
            shot: shot.map(|_| CarriedShot::Lost),
            fencing,
            health: [GroupHealth::default(); GROUPS_MAX],
            turns_from: partner.and_then(|_| instant_of(self.load(TURNS_AT))),
            kicks_until: self.kicks_until(),
            claims: GroupSet::EMPTY,
            states: [GroupState::Unknown; GROUPS_MAX],
            is_certain: false,
            is_held: self.is_held(),
            guests: GroupSet::EMPTY,
            stuck_lines: self.stuck_lines(),
        };
        for (index, group) in config.groups.iter().take(GROUPS_MAX).enumerate() {
            let Some(old) = self.find(group_digest(group)) else { continue };
            carried.states[index] = match self.group(old) {
                GroupState::Starting | GroupState::Stopping => GroupState::Unknown,
                state => state,
            };
            carried.health[index] = self.health(old);
            let Ok(id) = u8::try_from(index) else { continue };
            if self.claims().contains(old) {
                carried.claims.insert(GroupId(id));
            }
            if self.guests().contains(old) {
                carried.guests.insert(GroupId(id));
            }
        }
        Some(carried)
    }

    /// Groups in use by the table in force that `config` does not have in the same words: nobody can stop them any
    /// more.
    pub fn unmatched(&self, config: &Config) -> GroupSet {
        let is_known = |digest| config.groups.iter().any(|group| group_digest(group) == digest);
        self.in_use().iter().filter(|&group| !is_known(self.load(self.group_at(group)))).collect()
    }

    fn find(&self, digest: u64) -> Option<GroupId> {
        GroupSet::first(self.group_count()).iter().find(|&group| self.load(self.group_at(group)) == digest)
    }
}

/// Seconds of the boot that fit into the 28 bits of a moment: eight years.
const SECOND_MAX: u64 = (1 << 28) - 1;

/// What was done about a group's health as two words. A moment is its second plus one, zero is none.
fn health_words(health: GroupHealth) -> [u64; 2] {
    let second = |at: Option<Instant>| at.map_or(0, |at| (at.as_micros() / 1_000_000 + 1).min(SECOND_MAX));
    let first = u64::from(health.restarts) | second(health.restarted_at) << 8 | second(health.spent_at) << 36;
    [first, u64::from(health.is_retried) | second(health.handed_at) << 8]
}

fn health_of([first, second]: [u64; 2]) -> GroupHealth {
    let moment = |word: u64| (word & SECOND_MAX).checked_sub(1).map(|at| Instant::from_micros(at * 1_000_000));
    GroupHealth {
        restarts: first.to_le_bytes()[0],
        restarted_at: moment(first >> 8),
        spent_at: moment(first >> 36),
        handed_at: moment(second >> 8),
        is_retried: second & 1 != 0,
    }
}

/// A moment as one word; zero: none.
fn instant_word(at: Option<Instant>) -> u64 {
    at.map_or(0, |at| at.as_micros().saturating_add(1))
}

fn instant_of(word: u64) -> Option<Instant> {
    word.checked_sub(1).map(Instant::from_micros)
}

/// Digest of a group: its node and all its words.
pub fn group_digest(group: &Group) -> u64 {
    fnv(fnv(fnv(FNV_START, group.node.as_bytes()), b" "), group.text.as_bytes())
}

/// Digest of what engine and guardian must have read alike: nodes, media, groups.
pub fn table_digest(config: &Config) -> u64 {
    let mut digest = fnv(FNV_START, format!("{} {:?} {:?}", config.node, config.nodes, config.media).as_bytes());
    for group in &config.groups {
        digest = fnv(digest, &group_digest(group).to_le_bytes());
    }
    digest
}

/// Digest of the ways to fence, in their order.
fn methods_digest(config: &Config) -> u64 {
    fnv(FNV_START, format!("{:?}", config.fence.methods).as_bytes())
}

/// Digest of who the nodes are, and which of them this one is.
fn nodes_digest(config: &Config) -> u64 {
    config.nodes.iter().fold(fnv(FNV_START, config.node.as_bytes()), |hash, node| fnv(fnv(hash, b" "), node.as_bytes()))
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: these digests tell versions of a file apart; they protect against nobody.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Digest of the kernel's name for this boot.
///
/// # Errors
/// What reading it says.
pub fn boot_id() -> io::Result<u64> {
    Ok(fnv(FNV_START, std::fs::read("/proc/sys/kernel/random/boot_id")?.as_slice()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::sample;

    /// A directory of its own, removed at the end of the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            let template = std::env::temp_dir().join("nullbeat-lease-XXXXXX");
            Self(nix::unistd::mkdtemp(&template).unwrap())
        }

        fn lease(&self) -> Lease {
            Lease::open_or_create(&self.0).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const A: GroupId = GroupId(0);
    const B: GroupId = GroupId(1);

    #[test]
    fn lease_fresh_page_says_nothing() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        assert_eq!((lease.engine_stamp(), lease.guardian_stamp(), lease.generation()), (0, 0, Generation(0)));
        assert_eq!((lease.engine(), lease.guardian(), lease.logger()), (None, None, None));
        assert!(!lease.has_table());
        assert_eq!(lease.in_use(), GroupSet::EMPTY);
        assert_eq!(lease.carried(&sample::config(&scratch.0, &[("alpha", "a")])), None);
    }

    #[test]
    fn lease_opened_again_in_the_same_boot_keeps_all() {
        let scratch = Scratch::new();
        let config = sample::config(&scratch.0, &[("alpha", "a"), ("beta", "b")]);
        let lease = scratch.lease();
        lease.set_table(&config, None);
        assert_eq!(lease.in_use(), GroupSet::EMPTY, "nobody has looked yet, nobody has started anything");
        lease.stamp_engine(11);
        lease.stamp_guardian(12);
        lease.set_deadtime(Duration::from_millis(1500));
        lease.set_generation(Generation(7));
        lease.set_claims(GroupSet::only(A));
        lease.set_group(A, GroupState::Running);
        lease.set_group(B, GroupState::Stopped);
        drop(lease);
        let lease = scratch.lease();
        assert_eq!((lease.engine_stamp(), lease.guardian_stamp()), (11, 12));
        assert_eq!((lease.deadtime(), lease.generation()), (Duration::from_millis(1500), Generation(7)));
        let carried = lease.carried(&config).unwrap();
        assert_eq!(carried.claims, GroupSet::only(A));
        assert_eq!(carried.states[..2], [GroupState::Running, GroupState::Stopped]);
        assert!(!carried.is_certain);
        assert_eq!(lease.in_use(), GroupSet::only(A));
    }

    #[test]
    fn lease_of_another_boot_is_emptied() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        lease.set_table(&sample::config(&scratch.0, &[("alpha", "a")]), None);
        lease.stamp_engine(11);
        lease.store(BOOT_AT, 1);
        drop(lease);
        let lease = scratch.lease();
        assert!(!lease.has_table());
        assert_eq!(lease.engine_stamp(), 0);
    }

    #[test]
    fn lease_what_was_on_its_way_is_unknown() {
        let scratch = Scratch::new();
        let config = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b")]);
        let lease = scratch.lease();
        lease.set_table(&config, None);
        lease.set_group(A, GroupState::Starting);
        lease.set_group(B, GroupState::Stopping);
        assert_eq!(lease.carried(&config).unwrap().states[..2], [GroupState::Unknown; 2]);
    }

    #[test]
    fn lease_group_that_nobody_has_looked_at_is_carried_as_such() {
        let scratch = Scratch::new();
        let config = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b"), ("alpha", "c")]);
        let lease = scratch.lease();
        lease.set_table(&config, None);
        lease.set_group(B, GroupState::Starting);
        lease.set_claims(GroupSet::only(GroupId(2)));
        for _ in 0..3 {
            let carried = lease.carried(&config).unwrap();
            assert_eq!(carried.states[..3], [GroupState::Unknown; 3]);
            lease.set_table(&config, Some(&carried));
            assert_eq!(
                lease.in_use(),
                GroupSet::only(B) | GroupSet::only(GroupId(2)),
                "b was on its way, c is claimed"
            );
        }
    }

    #[test]
    fn lease_groups_are_matched_by_words_not_by_place() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        lease.set_table(&sample::config(&scratch.0, &[("alpha", "a::1 x"), ("beta", "b"), ("alpha", "c")]), None);
        lease.set_claims(GroupSet::first(3));
        lease.set_guests(GroupSet::only(B));
        lease.set_stuck_lines(4);
        lease.set_held(true);
        for group in GroupSet::first(3).iter() {
            lease.set_group(group, GroupState::Running);
        }
        let changed = sample::config(&scratch.0, &[("beta", "b"), ("alpha", "a::2 x"), ("beta", "c")]);
        assert_eq!(lease.unmatched(&changed), GroupSet::only(A) | GroupSet::only(GroupId(2)));
        let carried = lease.carried(&changed).unwrap();
        assert_eq!(carried.claims, GroupSet::only(A), "only b is the same: a has another argument, c another node");
        assert_eq!(carried.states[..3], [GroupState::Running, GroupState::Unknown, GroupState::Unknown]);
        assert!(carried.is_held);
        assert_eq!((carried.guests, carried.stuck_lines), (GroupSet::only(A), 4));

        lease.set_table(&changed, Some(&carried));
        assert_eq!(
            lease.carried(&changed).map(|again| (again.guests, again.stuck_lines)),
            Some((GroupSet::only(A), 4))
        );
        assert_eq!(lease.claims(), GroupSet::only(A));
        assert_eq!(lease.group(A), GroupState::Running);
        assert!(lease.is_held());
        assert_eq!(lease.table_digest(), table_digest(&changed));
    }

    #[test]
    fn lease_new_table_leaves_the_old_one_alone_until_it_is_in_force() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        let one = sample::config(&scratch.0, &[("alpha", "a")]);
        let two = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b")]);
        for config in [&one, &two, &one, &two] {
            lease.set_table(config, lease.carried(config).as_ref());
            assert_eq!(lease.group_count(), config.groups.len());
            assert_eq!(lease.table_digest(), table_digest(config));
            lease.set_group(A, GroupState::Running);
        }
        assert_eq!(lease.carried(&one).unwrap().states[0], GroupState::Running);
    }

    #[test]
    fn lease_keeps_what_was_done_about_health_with_its_group() {
        let scratch = Scratch::new();
        let config = sample::config(&scratch.0, &[("alpha", "a"), ("alpha", "b")]);
        let lease = scratch.lease();
        lease.set_table(&config, None);
        let at = |second: u64| Some(Instant::from_micros(second * 1_000_000));
        let health = GroupHealth {
            restarts: 255,
            restarted_at: at(0),
            spent_at: at(200_000_000),
            handed_at: at(7),
            is_retried: true,
        };
        lease.set_health(A, health);
        let turned = sample::config(&scratch.0, &[("alpha", "b"), ("alpha", "a"), ("alpha", "c")]);
        let carried = lease.carried(&turned).unwrap();
        assert_eq!(carried.health[..3], [GroupHealth::default(), health, GroupHealth::default()]);
        lease.set_table(&turned, Some(&carried));
        assert_eq!(lease.carried(&config).unwrap().health[..2], [health, GroupHealth::default()]);
    }

    fn method() -> crate::config::FenceMethod {
        let how = crate::config::FenceHow::Meatware;
        crate::config::FenceMethod { name: "meatware".into(), how, limit: Duration::ZERO }
    }

    #[test]
    fn lease_keeps_what_is_known_of_the_partner_while_it_is_the_same() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        let config = sample::config(&scratch.0, &[("alpha", "a")]);
        lease.set_table(&config, None);
        assert_eq!(lease.carried(&config).unwrap().partner, None, "nobody has said anything");
        for (is_dead, has_left) in [(true, false), (false, false), (true, true), (false, true)] {
            let known = CarriedPartner { is_dead, has_left };
            lease.set_partner(&config, known);
            assert_eq!(lease.carried(&config).unwrap().partner, Some(known));
        }
        let (shot, from) = (Some(ShotId(u32::MAX)), Some(Instant::from_micros(0)));
        let told = [(Some(Generation(0)), None, from), (Some(Generation(u32::MAX)), shot, None), (None, shot, from)];
        for (confirmed, shot, from) in told {
            let by = confirmed.map(|_| 7);
            let fencing = CarriedFencing { confirmed_by: by, settled_at: from, lied: 0x81 };
            lease.set_fencing(confirmed, shot, from, fencing);
            let carried = lease.carried(&config).unwrap();
            assert_eq!(carried.fencing, fencing);
            let mut fenced = sample::config(&scratch.0, &[("alpha", "a")]);
            fenced.fence.methods.push(method());
            let unknown = CarriedFencing { confirmed_by: None, lied: 0, ..fencing };
            assert_eq!(lease.carried(&fenced).unwrap().fencing, unknown, "these are other methods");
            lease.set_table(&config, Some(&carried));
            assert_eq!(lease.carried(&config).unwrap().fencing, fencing);
            assert_eq!((carried.confirmed, lease.shot(), carried.turns_from), (confirmed, shot, from));
            assert_eq!(carried.shot, shot.map(|_| CarriedShot::Lost), "a page knows no more");
        }
        let mut other = sample::config(&scratch.0, &[("alpha", "a")]);
        other.nodes.push("gamma".into());
        let carried = lease.carried(&other).unwrap();
        assert_eq!(
            (carried.partner, carried.shot, carried.turns_from),
            (None, None, None),
            "it may be about another node"
        );
    }

    #[test]
    fn lease_shared_stays_one_page_when_its_file_is_removed() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        std::fs::remove_file(scratch.0.join(FILE_NAME)).unwrap();
        lease.share().stamp_engine(7);
        assert_eq!(lease.engine_stamp(), 7);
    }

    #[test]
    fn lease_process_is_found_while_it_lives() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        let own = ProcessKey::of(Pid::this()).unwrap();
        lease.set_engine(Some(own));
        assert_eq!(lease.engine(), Some(own));
        assert!(own.open().is_some());
        let other = ProcessKey { start: own.start + 1, ..own };
        assert!(other.open().is_none(), "same number, another process");
        lease.set_engine(None);
        assert_eq!(lease.engine(), None);
        lease.set_logger(Some(own));
        assert_eq!(lease.dismissed_logger(), None);
        lease.dismiss_logger();
        assert_eq!((lease.logger(), lease.dismissed_logger()), (None, Some(own)));
    }

    #[test]
    fn lease_process_that_is_killed_is_gone_before_it_is_collected() {
        let child = crate::sys::process::fork_child(|| {
            loop {
                nix::unistd::pause();
            }
        })
        .unwrap();
        let key = ProcessKey::of(child.pid).unwrap();
        assert!(key.open().is_some());
        assert!(key.kill(Duration::from_secs(60)));
        assert!(key.open().is_none());
        assert!(key.kill(Duration::ZERO), "nothing to do");
        child.try_wait().unwrap().unwrap();
    }

    #[test]
    fn lease_script_is_forgotten_once_its_leader_is_gone() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        lease.set_table(&sample::config(&scratch.0, &[("alpha", "a")]), None);
        let own = ProcessKey::of(Pid::this()).unwrap();
        lease.set_script(A, Some(own));
        assert_eq!(lease.script(A), Some(own.pid));
        lease.set_script(A, Some(ProcessKey { start: own.start + 1, ..own }));
        assert_eq!(lease.script(A), None);
        lease.set_script(A, None);
        assert_eq!(lease.script(A), None);
    }

    #[test]
    fn lease_store_by_a_forked_child_is_seen_here() {
        let scratch = Scratch::new();
        let lease = scratch.lease();
        let child = crate::sys::process::fork_child(|| {
            lease.stamp_engine(now());
            0
        })
        .unwrap();
        nix::sys::wait::waitpid(child.pid, None).unwrap();
        let age = now() - lease.engine_stamp();
        assert!(lease.engine_stamp() > 0 && age < 60_000_000_000);
    }
}
