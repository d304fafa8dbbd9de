//! Looking for a cluster: a leader lets us in, or the first of all who look becomes one.

use super::{Service, State, TRIES_MAX};
use crate::api::membership::message::{Body, Cookie};
use crate::core::ids::{MemberId, MemberSet};
use crate::core::time::Instant;

impl Service {
    pub(super) fn ask(&mut self, now: Instant, tries: u8) {
        let until = now + self.times.version;
        // Of more than two not all will have asked by old questions.
        let found_from = if self.local.names().len() == 2 { now + self.times.answer } else { now };
        self.set(State::Asking { until, found_from, tries });
        self.send(None, Body::Version);
    }

    /// Begins anew, the cluster with us unless we are alone in it.
    pub(super) fn restart(&mut self, now: Instant) {
        if self.view.members.len() > 1 && self.is_in_view(self.local.place()) {
            self.send(None, Body::Restart);
        } else {
            self.major = 0;
        }
        self.unsure();
        self.view.members = MemberSet::only(self.local.place());
        self.set_joined(0);
        self.minor = 0;
        self.calm_until = now + self.times.change;
        self.ask(now, 0);
    }

    /// Another one looks for a leader.
    pub(super) fn asked(&mut self, now: Instant, by: MemberId, major: u32) {
        if self.state().is_in_cluster() && self.leader == by {
            // It has begun anew, and nobody has told us that it had ended.
            self.view.members.remove(by);
            self.elect(now, self.minor);
        }
        self.waiting.insert(by);
        if let Some(slot) = self.majors.get_mut(usize::from(by.0)) {
            *slot = major;
        }
        if matches!(self.state, State::Joined) {
            self.answer_waiting();
        }
    }

    /// Tells those who look for a leader, if we are one. Others keep in mind that they were asked.
    pub(super) fn answer_waiting(&mut self) {
        if self.leader == self.local.place() {
            let waiting = core::mem::take(&mut self.waiting);
            self.invited = self.invited | waiting;
            let size = u32::try_from(self.view.members.len()).unwrap_or_default();
            for node in waiting.iter() {
                self.send(Some(node), Body::VersionAnswer { size });
            }
        }
    }

    /// Whether nobody seems to lead, and of those who look for a leader we come first. A question may be an old one,
    /// kept in a line until we came: whoever has asked it may have become a leader since, and then answers ours.
    pub(super) fn may_found(&self) -> bool {
        (self.others() - self.waiting).is_empty() && self.is_first_joiner()
    }

    /// Of those who look for a leader, whether we come first.
    pub(super) fn is_first_joiner(&self) -> bool {
        let rank = |node: MemberId| (self.majors.get(usize::from(node.0)).copied().unwrap_or_default(), node);
        let own = (self.major, self.local.place());
        self.waiting.iter().all(|joiner| rank(joiner) < own)
    }

    pub(super) fn asked_long_enough(&mut self, now: Instant, tries: u8) {
        if tries + 1 >= TRIES_MAX && self.is_first_joiner() {
            self.found();
        } else {
            self.ask(now, (tries + 1) % TRIES_MAX);
        }
    }

    /// Becomes a cluster of one; the others may come in.
    pub(super) fn found(&mut self) {
        self.major = self.major.saturating_add(1);
        self.cookie = self.new_cookie();
        self.set_joined(1);
        let members = MemberSet::only(self.local.place());
        self.take_up(members, self.view.born, self.local.place(), None);
    }

    /// A leader lets us in.
    pub(super) fn enter(&mut self, now: Instant, leader: MemberId, major: u32, cookie: Cookie) {
        self.major = major;
        self.minor = 0;
        self.cookie = cookie;
        self.leader = leader;
        self.waiting = MemberSet::EMPTY;
        self.set_joined(0);
        self.send(None, Body::Alive);
        self.set(State::Entering { until: now + self.times.change, leader });
    }
}
