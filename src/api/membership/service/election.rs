//! A full round: everybody says `JOIN`, the oldest asks all whom they hear, and names those who all hear each other.

use super::{Round, Service, State};
use crate::api::membership::message::{Body, Cookie, Standing};
use crate::core::ids::{MemberId, MemberSet};
use crate::core::limits::NODES_MAX;
use crate::core::time::Instant;

impl Round {
    /// Who leads: the oldest of those heard, the last by name among those that never joined.
    fn first(&self) -> Option<MemberId> {
        // 0 is "not yet", which is later than anything.
        self.heard.iter().min_by_key(|node| self.rank(*node))
    }

    fn rank(&self, node: MemberId) -> (u32, core::cmp::Reverse<MemberId>) {
        let joined = self.joined.get(usize::from(node.0)).copied().unwrap_or_default();
        (joined.wrapping_sub(1), core::cmp::Reverse(node))
    }

    fn hear(&mut self, node: MemberId, joined: u32) {
        self.heard.insert(node);
        if let Some(slot) = self.joined.get_mut(usize::from(node.0)) {
            *slot = joined;
        }
    }
}

impl Service {
    /// Begins a round with this number.
    pub(super) fn elect(&mut self, now: Instant, minor: u32) {
        self.minor = minor;
        self.unsure();
        let mut round = Round { heard: MemberSet::EMPTY, joined: [0; NODES_MAX], asked_by: None, is_late: false };
        round.hear(self.local.place(), self.joined());
        self.send(None, Body::Join);
        self.set(State::Electing { until: now + self.times.change, round });
    }

    /// Begins another one.
    pub(super) fn elect_again(&mut self, now: Instant) {
        self.elect(now, self.minor.saturating_add(1));
    }

    /// Who should be heard before the round goes on.
    fn expected(&self, round: &Round) -> MemberSet {
        let known = (self.view.members | self.entering) & self.present();
        if self.joined() == 0 { self.present() } else { known | round.heard }
    }

    pub(super) fn heard_join(&mut self, now: Instant, by: MemberId, standing: Standing) {
        let is_new = match &mut self.state {
            State::Idle | State::Asking { .. } => return,
            State::Entering { .. }
            | State::Joined
            | State::Gathering { .. }
            | State::Changing { .. }
            | State::Confirming { .. } => true,
            State::Electing { .. } | State::Collecting { .. } | State::Answered { .. }
                if standing.minor > self.minor =>
            {
                true
            }
            State::Electing { round, .. } if standing.minor == self.minor => {
                round.hear(by, standing.joined);
                false
            }
            State::Collecting { round, .. } | State::Answered { round, .. }
                if standing.minor == self.minor && round.heard.contains(by) =>
            {
                false
            }
            State::Collecting { .. } | State::Answered { .. } if standing.minor == self.minor => {
                self.send(Some(by), Body::Abort);
                false
            }
            // Our own JOIN with a higher number is on its way to it.
            State::Electing { .. } | State::Collecting { .. } | State::Answered { .. } => false,
        };
        if is_new {
            self.elect(now, standing.minor.max(self.minor));
            if let State::Electing { round, .. } = &mut self.state {
                round.hear(by, standing.joined);
            }
        }
    }

    /// Goes on when everybody has been heard.
    pub(super) fn look_at_round(&mut self, now: Instant, until: Instant, round: &Round) {
        let is_complete = (self.expected(round) - round.heard).is_empty();
        if is_complete || round.is_late {
            self.go_on(now, until, round);
        }
    }

    /// The time for it is over.
    pub(super) fn heard_long_enough(&mut self, now: Instant, round: &Round) {
        if round.is_late {
            self.elect_again(now);
        } else {
            let round = Round { is_late: true, ..*round };
            self.go_on(now, now + self.times.lists, &round);
        }
    }

    fn go_on(&mut self, now: Instant, until: Instant, round: &Round) {
        let own = self.local.place();
        match round.first() {
            Some(first) if first == own && round.heard.len() == 1 && self.joined() == 0 => self.ask(now, 0),
            Some(first) if first == own && round.heard.len() == 1 => self.remain_alone(now, round),
            Some(first) if first == own => self.collect(now, round),
            Some(first) if round.asked_by == Some(first) => self.answer(now, round, first),
            _ => self.set(State::Electing { until, round: *round }),
        }
    }

    /// Nobody else takes part.
    fn remain_alone(&mut self, now: Instant, round: &Round) {
        let own = self.local.place();
        self.major = self.major.saturating_add(1);
        self.cookie = self.new_cookie();
        self.conclude_with(now, MemberSet::only(own), round, own, None);
    }

    fn collect(&mut self, now: Instant, round: &Round) {
        self.send(None, Body::AskList);
        let own = self.local.place();
        let mut lists = [MemberSet::EMPTY; NODES_MAX];
        if let Some(list) = lists.get_mut(usize::from(own.0)) {
            *list = round.heard;
        }
        self.set(State::Collecting {
            until: now + self.times.lists,
            round: *round,
            answered: MemberSet::only(own),
            lists,
            highest: self.major,
        });
    }

    /// One who thinks that it leads asks whom we hear.
    pub(super) fn asked_for_list(&mut self, now: Instant, by: MemberId, standing: Standing) {
        let is_in_round =
            matches!(self.state, State::Electing { .. } | State::Collecting { .. } | State::Answered { .. });
        if matches!(self.state, State::Idle | State::Asking { .. }) || (is_in_round && standing.minor < self.minor) {
            return;
        }
        if !is_in_round || standing.minor > self.minor {
            self.elect(now, standing.minor.max(self.minor));
        }
        let (State::Electing { until, mut round }
        | State::Collecting { until, mut round, .. }
        | State::Answered { until, mut round, .. }) = self.state
        else {
            return;
        };
        round.hear(by, standing.joined);
        if round.first() == Some(by) {
            round.asked_by = Some(by);
            self.set(State::Electing { until, round });
        } else {
            self.send(Some(by), Body::ListAnswer { instance: self.major, heard: MemberSet::EMPTY });
        }
    }

    fn answer(&mut self, now: Instant, round: &Round, leader: MemberId) {
        self.send(Some(leader), Body::ListAnswer { instance: self.major, heard: round.heard });
        self.set(State::Answered { until: now + self.times.result, round: *round, leader });
    }

    pub(super) fn heard_list(&mut self, by: MemberId, instance: u32, heard: MemberSet) {
        if let State::Collecting { round, answered, lists, highest, .. } = &mut self.state
            && round.heard.contains(by)
            && let Some(list) = lists.get_mut(usize::from(by.0))
        {
            answered.insert(by);
            *list = heard;
            *highest = instance.max(*highest);
        }
    }

    /// Names the members: the most who all hear each other.
    pub(super) fn conclude(
        &mut self,
        now: Instant,
        round: &Round,
        answered: MemberSet,
        lists: &[MemberSet; NODES_MAX],
        highest: u32,
    ) {
        let own = self.local.place();
        let list = |node: MemberId| lists.get(usize::from(node.0)).copied().unwrap_or_default();
        let hear_each_other = |one: MemberId, other: MemberId| list(one).contains(other) && list(other).contains(one);
        let candidates = answered.iter().filter(|node| *node != own && hear_each_other(own, *node)).collect();
        let members = largest(MemberSet::only(own), candidates, &hear_each_other);
        let instance = highest.saturating_add(1);
        let (cookie, has_quorum) = (self.new_cookie(), self.has_quorum(members));
        self.send(None, Body::FinalList { instance, members, has_quorum, cookie });
        self.major = instance;
        self.cookie = cookie;
        self.conclude_with(now, members, round, own, Some(has_quorum));
    }

    /// Whoever led the round names its members.
    pub(super) fn heard_result(
        &mut self,
        now: Instant,
        by: MemberId,
        instance: u32,
        members: MemberSet,
        has_quorum: bool,
        cookie: Cookie,
    ) {
        let State::Answered { round, leader, .. } = self.state else { return };
        if leader != by {
            return;
        }
        if !members.contains(self.local.place()) {
            self.excluded(now);
            return;
        }
        self.major = instance;
        self.cookie = cookie;
        self.conclude_with(now, members, &round, by, Some(has_quorum));
    }

    /// Takes up the result. Who never joined before has joined now; who was a member and is there all the same hears of it.
    fn conclude_with(
        &mut self,
        now: Instant,
        members: MemberSet,
        round: &Round,
        leader: MemberId,
        has_quorum: Option<bool>,
    ) {
        let mut born = [0; NODES_MAX];
        for member in members.iter() {
            let place = usize::from(member.0);
            born[place] = if round.joined[place] == 0 { self.major } else { round.joined[place] };
        }
        for stranger in ((self.view.members & self.present()) - members).iter() {
            self.note_stranger(now, stranger);
        }
        self.take_up(members, born, leader, has_quorum);
    }
}

/// The largest set of `candidates` with `members` in which all hear each other; of several the one with the lowest numbers.
///
/// At most [`NODES_MAX`] calls deep. Nodes mostly hear all others or none: then it is one straight way.
fn largest(
    members: MemberSet,
    candidates: MemberSet,
    hear_each_other: &impl Fn(MemberId, MemberId) -> bool,
) -> MemberSet {
    let Some(first) = candidates.iter().next() else { return members };
    let mut rest = candidates;
    rest.remove(first);
    let mut grown = members;
    grown.insert(first);
    let heard: MemberSet = rest.iter().filter(|other| hear_each_other(first, *other)).collect();
    let with = largest(grown, heard, hear_each_other);
    // Without `first` there may be more only if somebody is lost with it.
    if heard == rest || members.len() + rest.len() <= with.len() {
        return with;
    }
    let without = largest(members, rest, hear_each_other);
    if without.len() > with.len() { without } else { with }
}
