//! A member: small changes, of which the leader tells the others in one list.

use super::{Change, Service, State};
use crate::api::membership::message::{Body, List};
use crate::core::ids::{MemberId, MemberSet};
use crate::core::time::Instant;

impl Service {
    /// Somebody has left?
    pub(super) fn look_at_members(&mut self, now: Instant) {
        if self.leader == self.local.place() {
            // Who is there and does not come in may be in a cluster of its own.
            for outside in (self.others() - self.view.members).iter() {
                self.note_stranger(now, outside);
            }
        }
        let gone = self.view.members - self.present();
        if gone.contains(self.leader) {
            self.elect(now, self.minor);
        } else if self.leader == self.local.place() && !gone.is_empty() {
            let left = self.view.members - gone;
            let mut gone = gone.iter();
            match (gone.next(), gone.next()) {
                _ if left.len() == 1 => self.publish(left, None),
                (Some(node), None) => {
                    self.send(None, Body::LeaveNotice { node });
                    self.change(now, Change::Leave(node), true, MemberSet::EMPTY);
                }
                // A list is confirmed one change at a time.
                _ => self.elect_again(now),
            }
        }
    }

    fn change(&mut self, now: Instant, change: Change, has_seen: bool, confirmed: MemberSet) {
        self.set(State::Changing { until: now + self.times.change, change, has_seen, confirmed });
    }

    /// Publishes a change that all others have confirmed; gives up on one with which another interferes.
    pub(super) fn look_at_change(
        &mut self,
        now: Instant,
        until: Instant,
        change: Change,
        has_seen: bool,
        confirmed: MemberSet,
    ) {
        let node = change.node();
        let is_there = self.present().contains(node);
        let mut gone = self.view.members - self.present();
        gone.remove(node);
        let is_over = matches!(change, Change::Join(_)) && !is_there;
        if is_over || !gone.is_empty() {
            self.elect_again(now);
            return;
        }
        let has_seen = has_seen || (matches!(change, Change::Leave(_)) && !is_there);
        let mut left = self.view.members;
        left.remove(node);
        let mut asked = left;
        asked.remove(self.local.place());
        if !has_seen || !(asked - confirmed).is_empty() {
            self.set(State::Changing { until, change, has_seen, confirmed });
            return;
        }
        match change {
            Change::Join(node) => self.publish(left, Some(node)),
            Change::Leave(_) => self.publish(left, None),
        }
    }

    /// Tells all of a new membership, and takes it up.
    fn publish(&mut self, mut members: MemberSet, joiner: Option<MemberId>) {
        let mut joined = self.view.born;
        if let Some(joiner) = joiner {
            members.insert(joiner);
            if let Some(slot) = joined.get_mut(usize::from(joiner.0)) {
                *slot = self.major.saturating_add(1);
            }
        }
        let cookie = self.new_cookie();
        let has_quorum = self.has_quorum(members);
        self.send(None, Body::MemList(List { members, has_quorum, joined, cookie: Some(cookie) }));
        self.major = self.major.saturating_add(1);
        self.cookie = cookie;
        self.take_up(members, joined, self.local.place(), Some(has_quorum));
    }

    /// Somebody wants to come in.
    pub(super) fn heard_alive(&mut self, now: Instant, by: MemberId) {
        self.entering.insert(by);
        match self.state {
            State::Joined if self.leader == self.local.place() => {
                self.set(State::Gathering { until: now + self.times.answer, confirmed: MemberSet::EMPTY });
            }
            State::Joined => {
                self.send(Some(self.leader), Body::NewNode { node: by });
                self.set(State::Confirming { until: now + self.times.change });
            }
            State::Changing { until, change, confirmed, .. } if change == Change::Join(by) => {
                self.set(State::Changing { until, change, has_seen: true, confirmed });
            }
            State::Changing { .. } => self.elect_again(now),
            _ => {}
        }
    }

    /// Whether all whom we have let in have come.
    pub(super) fn look_at_gathering(&mut self, now: Instant, confirmed: MemberSet) {
        let has_lost = !(self.view.members - self.present()).is_empty();
        if has_lost || ((self.invited & self.present()) - self.entering).is_empty() {
            self.take_in(now, confirmed);
        }
    }

    /// Takes in who has come: one by a change of the list, several by a round, which takes no longer for all of them than
    /// for two. One after the other each would have to ask again for the name that the cluster has by then.
    pub(super) fn take_in(&mut self, now: Instant, confirmed: MemberSet) {
        let mut coming = self.entering.iter();
        match (coming.next(), coming.next()) {
            (None, _) => self.set(State::Joined),
            (Some(node), None) => {
                self.change(now, Change::Join(node), true, confirmed);
                self.look(now);
            }
            _ => self.elect(now, self.minor),
        }
    }

    /// A member confirms a change, perhaps before we see it ourselves.
    pub(super) fn confirmed(&mut self, now: Instant, by: MemberId, confirmed_change: Change) {
        if !self.is_in_view(by) || self.leader != self.local.place() {
            return;
        }
        match self.state {
            State::Joined => self.change(now, confirmed_change, false, MemberSet::only(by)),
            State::Gathering { until, mut confirmed } if matches!(confirmed_change, Change::Join(_)) => {
                confirmed.insert(by);
                self.set(State::Gathering { until, confirmed });
            }
            State::Changing { until, change, has_seen, mut confirmed } if change == confirmed_change => {
                confirmed.insert(by);
                self.set(State::Changing { until, change, has_seen, confirmed });
            }
            State::Gathering { .. } | State::Changing { .. } => self.elect_again(now),
            _ => {}
        }
    }

    /// The leader has seen somebody leave.
    pub(super) fn heard_leave_notice(&mut self, now: Instant, by: MemberId, node: MemberId) {
        if matches!(self.state, State::Joined) && by == self.leader && node != self.local.place() {
            self.send(Some(by), Body::NodeLeave { node });
            self.set(State::Confirming { until: now + self.times.change });
        }
    }

    /// The leader's list.
    pub(super) fn heard_members(&mut self, now: Instant, by: MemberId, major: u32, list: &List) {
        let is_awaited = matches!(
            self.state,
            State::Joined | State::Confirming { .. } | State::Entering { .. } | State::Electing { .. }
        );
        if by != self.leader || !is_awaited {
            return;
        }
        if !list.members.contains(self.local.place()) {
            self.excluded(now);
            return;
        }
        self.major = major.saturating_add(1);
        self.cookie = list.cookie.unwrap_or(self.cookie);
        self.take_up(list.members, list.joined, by, Some(list.has_quorum));
    }

    /// The others go on without us.
    pub(super) fn excluded(&mut self, now: Instant) {
        self.unsure();
        self.view.members = MemberSet::only(self.local.place());
        self.set_joined(0);
        self.minor = 0;
        self.ask(now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::membership::Local;
    use crate::core::ids::NodeName;
    use crate::core::quorum::Quorum;
    use crate::core::time::Duration;

    #[test]
    fn last_instance_of_all_is_the_last_and_not_the_first_again() {
        let name = NodeName::try_from("a").unwrap();
        let local = Local::new([(&name, 100)], "a").unwrap();
        let mut service = Service::new(local, Quorum::default(), Duration::from_millis(200), 1);
        service.major = u32::MAX - 1;
        for _ in 0..2 {
            service.publish(MemberSet::first(1), Some(MemberId(0)));
            let view = service.view().unwrap();
            assert_eq!((view.instance, view.born[0]), (u32::MAX, u32::MAX));
        }
    }
}
