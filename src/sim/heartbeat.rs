//! A model of Heartbeat on one of the two boards: what spec/resources.md sections 8 to 11 say of a daemon that starts, hands
//! over by the standby handshake, and takes over from a dead partner. It knows no groups, only the two sides; claims
//! before its scripts have run; and takes a quick new start of its partner for nothing that concerns a hand-over.
//!
//! It does not fall silent, lose power or end: what it does then is another model's affair ([`super::plan`] sees to that).

use std::collections::VecDeque;

use super::brain::Brain;
use super::lease::Fencing;
use crate::core::comms::{Comms, Happening, Happenings, Outbox};
use crate::core::ids::{GroupId, GroupSet, JobId};
use crate::core::message::{Body, Holds, NodeStatus, ResourceInfo, StandbyWord};
use crate::core::settings::{AutoFailback, Carried, CarriedHandover, CarriedPartner, GroupHealth, Identity, Settings};
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Action, Input, Order, Outcome, Refusal, Request};

const ANSWER_TIME: Duration = Duration::from_secs(10);
const SCRIPT_TIME: Duration = Duration::from_secs(3600);

/// `rstate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Init,
    Starting,
    Received,
    Stable,
}

/// Where it is in a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standby {
    Not,
    Me,
    Other,
    Done,
}

/// A process that runs scripts for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Release,
    Take,
    MachDown,
    Local,
}

/// See the [module](self).
pub(super) struct Heartbeat {
    settings: Settings,
    comms: Comms,
    outbox: Outbox,
    at: Stamp,
    asked: Option<Instant>,
    has_begun: bool,
    progress: Progress,
    holds: Holds,
    other_holds: Holds,
    other_is_stable: bool,
    standby: Standby,
    set: Holds,
    deadline: Option<Instant>,
    take_local_at: Option<Instant>,
    needs_failback: bool,
    children: VecDeque<(Child, Holds)>,
    jobs: Vec<JobId>,
    last_job: u32,
}

impl Heartbeat {
    /// Its [`Maker`](super::brain::Maker).
    pub(super) fn boxed(settings: Settings, identity: Identity, _: Option<Carried>, at: Stamp) -> Box<dyn Brain> {
        let comms = Comms::new(&settings, identity, at);
        Box::new(Self {
            settings,
            comms,
            outbox: Outbox::new(),
            at,
            asked: None,
            has_begun: false,
            progress: Progress::Init,
            holds: Holds::NONE,
            other_holds: Holds::NONE,
            other_is_stable: false,
            standby: Standby::Not,
            set: Holds::NONE,
            deadline: None,
            take_local_at: None,
            needs_failback: false,
            children: VecDeque::new(),
            jobs: Vec::new(),
            last_job: identity.generation.0 << 16,
        })
    }

    fn say(&mut self, body: Body<'static>) {
        self.comms.send(&self.settings, self.at, None, body, &mut self.outbox);
    }

    fn ask(&mut self, set: Holds, word: StandbyWord) {
        self.say(Body::AskResources { set, word, only: None, after_failure: false });
    }

    fn tell(&mut self, is_stable: bool, info: ResourceInfo) {
        self.say(Body::Resource { holds: self.holds, is_full: true, is_stable: Some(is_stable), info });
    }

    fn is_stable(&self) -> bool {
        self.progress == Progress::Stable
    }

    fn groups(&self, set: Holds) -> GroupSet {
        let is_in = |id: &GroupId| {
            let is_local = self.settings.groups[usize::from(id.0)].preferred == self.settings.local;
            if is_local { set.local } else { set.foreign }
        };
        GroupSet::first(self.settings.groups.len()).iter().filter(is_in).collect()
    }

    /// Scripts run one process after the other.
    fn fork(&mut self, child: Child, set: Holds) {
        self.children.push_back((child, set));
        if self.children.len() == 1 {
            self.run_child();
        }
    }

    fn run_child(&mut self) {
        while let Some(&(child, set)) = self.children.front() {
            let order = if child == Child::Release { Order::Stop } else { Order::Start };
            for group in self.groups(set).iter() {
                self.last_job += 1;
                self.jobs.push(JobId(self.last_job));
                let is_full = self.outbox.push_back(Action::Run { job: JobId(self.last_job), group, order }).is_err();
                assert!(!is_full, "few groups");
            }
            if !self.jobs.is_empty() {
                return;
            }
            self.end_child(child, set);
        }
    }

    fn end_child(&mut self, child: Child, set: Holds) {
        self.children.pop_front();
        match child {
            Child::Release => {
                self.ask(self.set, StandbyWord::Done);
                if self.standby == Standby::Me {
                    (self.standby, self.deadline) = (Standby::Done, Some(self.at.now + SCRIPT_TIME));
                }
            }
            Child::Take => {
                if self.standby == Standby::Done {
                    (self.standby, self.deadline) = (Standby::Not, None);
                    self.holds = self.holds.union(set);
                    self.tell(true, ResourceInfo::None);
                }
                self.ask(self.set, StandbyWord::Done);
            }
            Child::MachDown => {
                self.say(Body::Resource {
                    holds: Holds::FOREIGN,
                    is_full: false,
                    is_stable: None,
                    info: ResourceInfo::MachDown,
                });
                self.holds = self.holds.union(Holds::FOREIGN);
                (self.other_is_stable, self.needs_failback) = (true, true);
                self.take_local();
            }
            Child::Local => self.tell(true, ResourceInfo::None),
        }
    }

    /// What is its own, unless the partner holds it.
    fn take_local(&mut self) {
        if self.progress == Progress::Stable {
            return;
        }
        self.progress = Progress::Stable;
        if !self.other_holds.foreign {
            self.holds = self.holds.union(Holds::LOCAL);
            self.fork(Child::Local, Holds::LOCAL);
        }
        self.tell(true, ResourceInfo::None);
    }

    fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::CommUp => {
                self.comms.set_status(&self.settings, self.at, NodeStatus::Active, &mut self.outbox);
                self.say(Body::Starting);
                self.progress = Progress::Starting;
                if self.settings.partner.is_some_and(|partner| !self.comms.is_alive(partner)) {
                    self.fork(Child::MachDown, Holds::FOREIGN);
                }
            }
            Happening::Dead { .. } if self.progress != Progress::Init => {
                (self.standby, self.deadline, self.other_holds) = (Standby::Not, None, Holds::NONE);
                self.fork(Child::MachDown, Holds::FOREIGN);
            }
            _ => {}
        }
    }

    fn heard(&mut self, body: &Body<'_>) {
        match *body {
            Body::Starting => self.heard_starting(),
            Body::Resource { holds, is_full, is_stable, .. } => self.heard_resource(holds, is_full, is_stable),
            Body::ShutDone if self.progress != Progress::Init => {
                self.other_holds = Holds::NONE;
                self.fork(Child::MachDown, Holds::FOREIGN);
            }
            Body::AskResources { set, word, .. } => self.heard_ask(set, word),
            Body::Takeover { set } => {
                self.go_standby(set.map_or(Holds::ALL, Holds::swapped));
            }
            _ => {}
        }
    }

    fn heard_starting(&mut self) {
        self.other_is_stable = false;
        match self.progress {
            Progress::Init => {}
            Progress::Starting => {
                self.tell(false, ResourceInfo::None);
                self.receive_first();
            }
            Progress::Received | Progress::Stable => self.tell(self.is_stable(), ResourceInfo::None),
        }
    }

    fn receive_first(&mut self) {
        self.progress = Progress::Received;
        self.take_local_at = Some(self.at.now + ANSWER_TIME);
    }

    fn heard_resource(&mut self, holds: Holds, is_full: bool, is_stable: Option<bool>) {
        if self.progress == Progress::Init {
            return;
        }
        self.other_holds = if is_full { holds } else { self.other_holds.union(holds) };
        if self.progress == Progress::Starting {
            self.receive_first();
        }
        match is_stable {
            Some(true) if !self.other_is_stable => {
                self.other_is_stable = true;
                self.tell(self.is_stable(), ResourceInfo::None);
            }
            Some(stable) => self.other_is_stable = stable,
            None => {}
        }
        if self.other_is_stable {
            self.take_local();
        }
    }

    /// spec/resources.md 11.2, the partner's words.
    fn heard_ask(&mut self, set: Holds, word: StandbyWord) {
        let until = Some(self.at.now + SCRIPT_TIME);
        match (self.standby, word) {
            (Standby::Not, StandbyWord::Me) if self.other_is_stable && self.is_stable() => {
                (self.standby, self.set, self.deadline, self.other_is_stable) = (Standby::Other, set, until, false);
                self.ask(set, StandbyWord::Other);
            }
            (Standby::Me, StandbyWord::Other) => {
                self.deadline = until;
                self.holds = self.holds.minus(self.set);
                self.tell(false, ResourceInfo::Standby);
                self.fork(Child::Release, self.set);
            }
            (Standby::Other, StandbyWord::Done) => {
                (self.standby, self.deadline) = (Standby::Done, until);
                self.fork(Child::Take, self.set.swapped());
            }
            (Standby::Done, StandbyWord::Done) => {
                (self.standby, self.deadline) = (Standby::Not, None);
                self.tell(true, ResourceInfo::None);
            }
            _ => {}
        }
    }

    fn go_standby(&mut self, set: Holds) -> bool {
        let can = self.standby == Standby::Not && self.other_is_stable && self.is_stable() && self.children.is_empty();
        if can {
            let until = Some(self.at.now + ANSWER_TIME);
            (self.standby, self.set, self.deadline, self.other_is_stable) = (Standby::Me, set, until, false);
            self.ask(set, StandbyWord::Me);
        }
        can
    }

    fn requested(&mut self, request: Request) -> Outcome {
        let is_begun = match request {
            Request::Standby(set) | Request::Failback(set) => self.go_standby(set),
            _ => return Outcome::Nothing,
        };
        if is_begun { Outcome::Done } else { Outcome::Refused(Refusal::LocalInFlux) }
    }

    fn look_at_the_time(&mut self) {
        let now = self.at.now;
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            (self.standby, self.deadline, self.other_is_stable) = (Standby::Not, None, true);
        }
        if self.take_local_at.is_some_and(|at| at <= now) {
            self.take_local_at = None;
            self.take_local();
        }
        let is_homesick = self.needs_failback && self.holds.foreign && !self.other_holds.local;
        let is_partner_here = self.settings.partner.is_some_and(|partner| self.comms.is_alive(partner));
        if is_homesick && is_partner_here && self.settings.auto_failback == AutoFailback::On {
            self.needs_failback = !self.go_standby(Holds::FOREIGN);
        }
    }
}

impl Brain for Heartbeat {
    fn handle(&mut self, at: Stamp, input: Input<'_>) {
        self.at = at;
        let mut happenings = Happenings::new();
        let asked = self.asked.take().unwrap_or_else(|| self.comms.next_deadline());
        self.comms.notice_lateness(&self.settings, at, asked, &mut happenings);
        if !self.has_begun {
            self.has_begun = true;
            self.comms.beat(&self.settings, at, None, &mut self.outbox);
            self.comms.set_status(&self.settings, at, NodeStatus::Up, &mut self.outbox);
        }
        let mut heard = None;
        match input {
            Input::Tick => self.comms.tick(&self.settings, at, &mut self.outbox, &mut happenings),
            Input::Received { link, message } => {
                let from = self.comms.receive(&self.settings, at, link, message, &mut self.outbox, &mut happenings);
                heard = from.map(|_| message.body);
            }
            Input::LinkDevice { link, is_open } => self.comms.link_device(&self.settings, at, link, is_open),
            _ => {}
        }
        for happening in &happenings {
            self.happened(*happening);
        }
        if let Some(body) = heard {
            self.heard(&body);
        }
        match input {
            Input::JobDone { job, .. } if self.jobs.contains(&job) => {
                self.jobs.retain(|other| *other != job);
                if let Some(&(child, set)) = self.children.front().filter(|_| self.jobs.is_empty()) {
                    self.end_child(child, set);
                    self.run_child();
                }
            }
            Input::Request { id, request } => {
                let outcome = self.requested(request);
                let is_full = self.outbox.push_back(Action::Reply { id, outcome }).is_err();
                assert!(!is_full, "one answer");
            }
            _ => {}
        }
        self.look_at_the_time();
        if self.comms.is_beat_due(at) {
            self.comms.beat(&self.settings, at, None, &mut self.outbox);
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let comms = self.comms.next_deadline();
        self.asked = Some(comms);
        let own = self.deadline.into_iter().chain(self.take_local_at).filter(|at| *at > self.at.now).min();
        Some(own.map_or(comms, |own| own.min(comms)))
    }

    fn claims(&self) -> GroupSet {
        self.groups(self.holds)
    }

    fn known_partner(&self) -> Option<CarriedPartner> {
        None
    }

    fn fencing(&self) -> Fencing {
        Fencing::default()
    }

    fn health_records(&self) -> &[GroupHealth] {
        &[]
    }

    fn may_kick(&self, _: Instant) -> bool {
        true
    }

    fn kicks_until(&self) -> Option<Instant> {
        None
    }

    fn guests(&self) -> GroupSet {
        GroupSet::EMPTY
    }

    fn unfinished(&self) -> (Option<CarriedHandover>, bool) {
        (None, false)
    }

    fn stuck_lines(&self) -> u8 {
        0
    }
}
