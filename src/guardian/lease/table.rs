//! The table in force: which groups there are, what is claimed and in use of them, and what the next engine is told.

use nix::unistd::Pid;

use super::digest::{group_digest, table_digest};
use super::unfinished::unfinished_word;
use super::{
    CLAIMS_AT, CLAIMS_OF_TABLE, COUNT_OF_LIST, DIGEST_OF_LIST, GROUP_WORDS, GROUPS_OF_LIST, GROUPS_OF_TABLE,
    GUESTS_OF_TABLE, HEARD_OF_TABLE, HELD_OF_TABLE, LEFT_OF_LIST, LIST_WORDS, LISTED_WORDS, LISTS_AT, Lease,
    ProcessKey, STUCK_OF_TABLE, TABLE_AT, TABLE_WORDS, TURNS_AT, UNFINISHED_OF_TABLE, UNSEEN, instant_of,
};
use crate::config::{Config, Group};
use crate::core::ids::{GroupId, GroupSet};
use crate::core::limits::GROUPS_MAX;
use crate::core::message::GroupState;
use crate::core::settings::{Carried, CarriedFencing, CarriedShot, GroupHealth};
use crate::core::time::Instant;
use crate::sys::process::process_start;

impl Lease {
    /// Brings the table of `config` into force. With `carried` the groups begin with these states and claims. Without,
    /// nothing is claimed, and the groups are [`GroupState::Unknown`] in the sense that nobody has looked in this boot
    /// yet: such a group is not [in use](Lease::in_use). Only while no engine runs.
    pub fn set_table(&self, config: &Config, carried: Option<&Carried>) {
        self.set_methods(config, carried);
        let in_force = self.load(TABLE_AT);
        // Of the table that is still in force.
        let is_unseen = |group: &Group| self.find(group_digest(group)).is_none_or(|old| self.state_word(old) == UNSEEN);
        let next = if in_force == 1 { 2 } else { 1 };
        let (list, table) = (list_at(next), table_at(next));
        self.store(list + DIGEST_OF_LIST, table_digest(config));
        let count = config.groups.len().min(GROUPS_MAX);
        self.store(list + COUNT_OF_LIST, count as u64);
        let is_left = |group: &Group| self.find(group_digest(group)).is_some_and(|old| self.left().contains(old));
        let numbered = (0..).map(GroupId).zip(config.groups.iter().take(count));
        let left: GroupSet = numbered.filter(|(_, group)| is_left(group)).map(|(id, _)| id).collect();
        self.store(list + LEFT_OF_LIST, left.0);
        self.store(table + CLAIMS_OF_TABLE, carried.map_or(0, |carried| carried.claims.0));
        self.store(table + HELD_OF_TABLE, u64::from(carried.is_some_and(|carried| carried.is_held)));
        self.store(table + GUESTS_OF_TABLE, carried.map_or(0, |carried| carried.guests.0));
        self.store(table + STUCK_OF_TABLE, carried.map_or(0, |carried| carried.stuck_lines.into()));
        let (open, is_yielding) = carried.map_or((None, false), |carried| (carried.handover, carried.is_yielding));
        self.store(table + UNFINISHED_OF_TABLE, unfinished_word(open, is_yielding));
        self.store(table + HEARD_OF_TABLE, open.map_or(0, |open| open.heard.0));
        for (index, group) in config.groups.iter().take(count).enumerate() {
            let (listed, at) = (listed_at(list, index), table + GROUPS_OF_TABLE + index * GROUP_WORDS);
            let letter = match carried.map_or(GroupState::Unknown, |carried| carried.states[index]) {
                GroupState::Unknown if is_unseen(group) => UNSEEN,
                state => u64::from(state.letter()),
            };
            self.store(listed, group_digest(group));
            self.store(listed + 1, 0);
            self.store(at, letter);
            self.store_health(at, carried.map_or_else(GroupHealth::default, |carried| carried.health[index]));
        }
        self.store(TABLE_AT, next);
    }

    /// Whether a table of this boot is in force.
    pub fn has_table(&self) -> bool {
        matches!(self.load(TABLE_AT), 1 | 2)
    }

    /// The guardian's part of the table in force.
    fn list(&self) -> usize {
        list_at(self.load(TABLE_AT))
    }

    /// The engine's part of it.
    pub(super) fn table(&self) -> usize {
        table_at(self.load(TABLE_AT))
    }

    /// What the guardian has about a group.
    fn listed(&self, group: GroupId) -> usize {
        assert!(usize::from(group.0) < GROUPS_MAX);
        listed_at(self.list(), group.0.into())
    }

    /// What the engine says of it.
    fn group_at(&self, group: GroupId) -> usize {
        assert!(usize::from(group.0) < GROUPS_MAX);
        self.table() + GROUPS_OF_TABLE + usize::from(group.0) * GROUP_WORDS
    }

    /// [`table_digest`] of the table in force.
    pub fn table_digest(&self) -> u64 {
        self.load(self.list() + DIGEST_OF_LIST)
    }

    /// How many groups the table in force has; zero without one.
    pub fn group_count(&self) -> usize {
        if !self.has_table() {
            return 0;
        }
        usize::try_from(self.load(self.list() + COUNT_OF_LIST)).unwrap_or(0).min(GROUPS_MAX)
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

    /// Which groups the guardian has running here, in part at least: what it knows by itself, whatever its engine says.
    pub fn set_left(&self, groups: GroupSet) {
        if self.has_table() {
            self.store(self.list() + LEFT_OF_LIST, groups.0);
        }
    }

    /// The last [`Lease::set_left`].
    pub fn left(&self) -> GroupSet {
        if self.has_table() { GroupSet(self.load(self.list() + LEFT_OF_LIST)) } else { GroupSet::EMPTY }
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
        self.store(self.group_at(group), u64::from(state.letter()));
    }

    fn state_word(&self, group: GroupId) -> u64 {
        self.load(self.group_at(group))
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
        for (word, value) in (at + 1..).zip(health_words(health)) {
            self.store(word, value);
        }
    }

    fn health(&self, group: GroupId) -> GroupHealth {
        let at = self.group_at(group);
        health_of([self.load(at + 1), self.load(at + 2)])
    }

    /// The process group of the script that runs for this group, so that whoever comes after a killed guardian can
    /// end it before it runs another one.
    pub fn set_script(&self, group: GroupId, script: Option<ProcessKey>) {
        let word = script.map_or(0, |key| u64::from(key.pid.as_raw().unsigned_abs()) << 32 | key.start & 0xffff_ffff);
        self.store(self.listed(group) + 1, word);
    }

    /// Process group of the script that was last started for this group, when its leader still lives.
    pub fn script(&self, group: GroupId) -> Option<Pid> {
        let word = self.load(self.listed(group) + 1);
        let pid = Pid::from_raw(i32::try_from(word >> 32).ok()?);
        if pid.as_raw() == 0 {
            return None;
        }
        let start = process_start(pid).ok()?;
        (start & 0xffff_ffff == word & 0xffff_ffff).then_some(pid)
    }

    /// Groups of the table in force that are claimed or whose state says that part of them may be in use here, and those
    /// of which the guardian knows it.
    pub fn in_use(&self) -> GroupSet {
        let is_seen_in_use = |group| self.state_word(group) != UNSEEN && self.group(group).is_in_use();
        let all = GroupSet::first(self.group_count());
        let is_known = |group| (self.claims() | self.left()).contains(group);
        all.iter().filter(|&group| is_known(group) || is_seen_in_use(group)).collect()
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
            // It is with that partner.
            handover: partner.and_then(|_| self.handover()),
            is_yielding: self.unfinished().1,
            stuck_lines: self.stuck_lines(),
        };
        for (index, group) in config.groups.iter().take(GROUPS_MAX).enumerate() {
            let Some(old) = self.find(group_digest(group)) else { continue };
            carried.states[index] = match self.group(old) {
                GroupState::Starting | GroupState::Stopping => GroupState::Unknown,
                // An engine that has not told the truth.
                state if !state.is_in_use() && self.left().contains(old) => GroupState::Unknown,
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
        self.in_use().iter().filter(|&group| !is_known(self.load(self.listed(group)))).collect()
    }

    fn find(&self, digest: u64) -> Option<GroupId> {
        GroupSet::first(self.group_count()).iter().find(|&group| self.load(self.listed(group)) == digest)
    }
}

/// The guardian's part of a table.
fn list_at(table: u64) -> usize {
    LISTS_AT + usize::from(table == 2) * LIST_WORDS
}

/// The engine's part of a table.
fn table_at(table: u64) -> usize {
    CLAIMS_AT + usize::from(table == 2) * TABLE_WORDS
}

const fn listed_at(list: usize, group: usize) -> usize {
    list + GROUPS_OF_LIST + group * LISTED_WORDS
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
