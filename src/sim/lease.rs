//! The lease: what outlives a board's engine, as the guardian keeps it.

use crate::core::ids::{Generation, GroupId, GroupSet, ShotId};
use crate::core::limits::GROUPS_MAX;
use crate::core::message::GroupState;
use crate::core::settings::{Carried, CarriedFencing, CarriedHandover, CarriedPartner, CarriedShot, GroupHealth};
use crate::core::time::Instant;

/// Of fencing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fencing {
    /// The run of the partner that is proven to be off.
    pub confirmed: Option<Generation>,
    /// The shot whose outcome has not been taken in, its method and the run at which it is aimed.
    pub shot: Option<(ShotId, u8, Generation)>,
    /// From when on the turns count.
    pub turns_from: Option<Instant>,
    /// What else is remembered.
    pub memory: CarriedFencing,
}

/// What engine and guardian write down for the next engine of this boot. Cleared by a power loss and by an orderly end.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Groups claimed.
    pub claims: GroupSet,
    /// The operator's hold.
    pub is_held: bool,
    /// Groups that go home by themselves.
    pub guests: GroupSet,
    /// The hand-over that is under way, and whether the engine yields.
    pub unfinished: (Option<CarriedHandover>, bool),
    /// Lines that are not believed.
    pub stuck_lines: u8,
    /// What is known of the partner.
    pub partner: Option<CarriedPartner>,
    /// What the engine knew of fencing.
    pub fencing: Fencing,
    /// What was done about the groups' health.
    pub health: [GroupHealth; GROUPS_MAX],
    /// Until when the watchdog lease allows kicks, own clock.
    pub kicks_until: Option<Instant>,
    /// When the last beat left, true time.
    pub stamp: u64,
    states: Vec<GroupState>,
    /// Groups whose state somebody has looked at in this boot.
    seen: GroupSet,
    has_table: bool,
}

impl Lease {
    /// That of a board that has just booted, with so many groups.
    pub fn empty(groups: usize) -> Self {
        Self {
            claims: GroupSet::EMPTY,
            is_held: false,
            guests: GroupSet::EMPTY,
            unfinished: (None, false),
            stuck_lines: 0,
            partner: None,
            fencing: Fencing::default(),
            health: [GroupHealth::default(); GROUPS_MAX],
            kicks_until: None,
            stamp: 0,
            states: vec![GroupState::Unknown; groups],
            seen: GroupSet::EMPTY,
            has_table: false,
        }
    }

    /// States as announced last.
    pub fn states(&self) -> &[GroupState] {
        &self.states
    }

    /// A group's state, noted before a job for it is asked for and when its outcome is known.
    pub fn set_group(&mut self, group: usize, state: GroupState) {
        self.states[group] = state;
        self.seen.insert(id(group));
    }

    /// Groups that are claimed or whose state says that part of them may be in use here.
    pub fn in_use(&self) -> GroupSet {
        let is_seen_in_use = |group: usize| self.seen.contains(id(group)) && self.states[group].is_in_use();
        (0..self.states.len())
            .filter(|group| self.claims.contains(id(*group)) || is_seen_in_use(*group))
            .map(id)
            .collect()
    }

    /// An engine begins with `carried`.
    pub fn set_table(&mut self, carried: Option<&Carried>) {
        self.has_table = true;
        self.claims = carried.map_or(GroupSet::EMPTY, |carried| carried.claims);
        self.is_held = carried.is_some_and(|carried| carried.is_held);
        self.guests = carried.map_or(GroupSet::EMPTY, |carried| carried.guests);
        self.unfinished = carried.map_or((None, false), |carried| (carried.handover, carried.is_yielding));
        self.stuck_lines = carried.map_or(0, |carried| carried.stuck_lines);
        for (group, state) in self.states.iter_mut().enumerate() {
            *state = carried.map_or(GroupState::Unknown, |carried| carried.states[group]);
            if *state != GroupState::Unknown {
                self.seen.insert(id(group));
            }
        }
    }

    /// What a new engine is told; `None` in the first one of a boot. `busy`: groups with a script under way, as far as
    /// a guardian knows. `changed`: groups whose words a reload has changed; those that were claimed are started again.
    pub fn carried(&self, is_certain: bool, busy: GroupSet, changed: GroupSet) -> Option<Carried> {
        if !self.has_table {
            return None;
        }
        let mut states = [GroupState::Unknown; GROUPS_MAX];
        for (group, state) in self.states.iter().enumerate() {
            states[group] = match *state {
                _ if changed.contains(id(group)) => GroupState::Stopped,
                _ if busy.contains(id(group)) => GroupState::Unknown,
                GroupState::Starting | GroupState::Stopping => GroupState::Unknown,
                state => state,
            };
        }
        Some(Carried {
            claims: self.claims,
            states,
            is_certain,
            is_held: self.is_held,
            guests: self.guests,
            handover: self.unfinished.0,
            is_yielding: self.unfinished.1,
            stuck_lines: self.stuck_lines,
            to_restart: self.claims & changed,
            partner: self.partner,
            confirmed: self.fencing.confirmed,
            shot: self.fencing.shot.map(|_| CarriedShot::Lost),
            fencing: self.fencing.memory,
            health: self.health,
            turns_from: self.fencing.turns_from,
            kicks_until: self.kicks_until,
        })
    }
}

fn id(group: usize) -> GroupId {
    GroupId(u8::try_from(group).expect("few groups"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        let mut lease = Lease::empty(2);
        lease.set_table(None);
        lease.set_group(0, GroupState::Running);
        lease.claims.insert(id(0));
        lease
    }

    #[test]
    fn group_that_nobody_has_looked_at_is_not_in_use() {
        assert_eq!(lease().in_use(), GroupSet::only(id(0)));
        assert_eq!(Lease::empty(2).carried(true, GroupSet::EMPTY, GroupSet::EMPTY), None);
    }

    #[test]
    fn state_on_its_way_is_carried_as_unknown() {
        let mut lease = lease();
        lease.set_group(1, GroupState::Stopping);
        let carried = lease.carried(true, GroupSet::only(id(0)), GroupSet::EMPTY).unwrap();
        assert_eq!(carried.states[..2], [GroupState::Unknown; 2]);
        assert_eq!(carried.claims, GroupSet::only(id(0)));
    }

    #[test]
    fn changed_group_is_restarted_when_it_was_claimed() {
        let carried = lease().carried(true, GroupSet::EMPTY, GroupSet::first(2)).unwrap();
        assert_eq!(carried.states[..2], [GroupState::Stopped; 2]);
        assert_eq!(carried.to_restart, GroupSet::only(id(0)));
    }
}
