//! Nodes with a service each, in virtual time: a network that delays, loses and is cut, daemons that notice each other
//! die and come back, services that start and end.

use super::super::View;
use super::super::message::Message;
use super::super::service::{Input, Output, Service};
use super::local;
use crate::core::ids::{MemberId, MemberSet};
use crate::core::quorum::Quorum;
use crate::core::time::{Duration, Instant};

/// Of the daemons.
pub(super) const KEEPALIVE: Duration = Duration::from_millis(200);
const DEADTIME: Duration = Duration::from_millis(2000);

/// What is on its way.
#[derive(Debug, Clone)]
enum Parcel {
    Said {
        from: MemberId,
        message: Message,
    },
    /// A question of one daemon to another: is there a service?
    Asked {
        from: MemberId,
    },
    /// Its answer, and what a daemon tells all when a service signs on or off.
    Client {
        from: MemberId,
        is_online: bool,
        is_news: bool,
    },
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    names: Vec<String>,
    pub(super) services: Vec<Option<Service>>,
    /// What each one's clients were told last; `None`: that it is not sure.
    pub(super) told: Vec<Option<View>>,
    /// Who hears whom, and since when.
    reach: Vec<Vec<bool>>,
    changed: Vec<Vec<Instant>>,
    /// Whom each daemon counts as alive.
    sees: Vec<MemberSet>,
    mail: Vec<(Instant, u64, MemberId, Parcel)>,
    sent: u64,
    pub(super) loss_percent: u64,
    /// Messages that were lost at first and come late.
    pub(super) late_percent: u64,
    random: u64,
    starts: u64,
}

impl World {
    /// Daemons that all see each other; no service yet.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let all = MemberSet::first(count);
        Self {
            now: Instant::from_millis(1_000_000),
            names: (0..count).map(|index| format!("n{index:02}")).collect(),
            services: (0..count).map(|_| None).collect(),
            told: vec![None; count],
            reach: vec![vec![true; count]; count],
            changed: vec![vec![Instant::ZERO; count]; count],
            sees: vec![all; count],
            mail: Vec::new(),
            sent: 0,
            loss_percent: 0,
            late_percent: 0,
            random: seed,
            starts: 0,
        }
    }

    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// A service signs on at its daemon and begins.
    pub(super) fn start(&mut self, node: u8) {
        let index = usize::from(node);
        assert!(self.services[index].is_none());
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.starts += 1;
        let seed = self.starts.wrapping_mul(7919) ^ u64::from(node);
        let mut service = Service::new(local(&names, names[index]), Quorum::default(), KEEPALIVE, seed);
        self.broadcast(node, &Parcel::Client { from: MemberId(node), is_online: true, is_news: true });
        for other in self.sees[index].iter() {
            service.handle(self.now, Input::Node { node: other, is_up: true });
        }
        service.begin(self.now);
        self.services[index] = Some(service);
        self.drain(node);
    }

    /// A service ends; its daemon tells all.
    pub(super) fn stop(&mut self, node: u8) {
        self.services[usize::from(node)] = None;
        self.told[usize::from(node)] = None;
        self.broadcast(node, &Parcel::Client { from: MemberId(node), is_online: false, is_news: true });
    }

    /// Cuts or mends the way between two nodes, both directions.
    pub(super) fn reach(&mut self, one: u8, other: u8, is_there: bool) {
        for (from, to) in [(one, other), (other, one)] {
            let (from, to) = (usize::from(from), usize::from(to));
            if self.reach[from][to] != is_there {
                self.reach[from][to] = is_there;
                self.changed[from][to] = self.now;
            }
        }
    }

    /// Cuts the network in two, or mends it.
    pub(super) fn split(&mut self, part: MemberSet, is_cut: bool) {
        for one in 0..self.count() {
            for other in 0..one {
                if part.contains(MemberId(one)) != part.contains(MemberId(other)) {
                    self.reach(one, other, !is_cut);
                }
            }
        }
    }

    pub(super) fn count(&self) -> u8 {
        u8::try_from(self.names.len()).unwrap()
    }

    fn broadcast(&mut self, from: u8, parcel: &Parcel) {
        for to in 0..self.count() {
            if to != from {
                self.post(from, to, parcel.clone());
            }
        }
    }

    /// What a daemon sends to another whom it does not reach is not kept. What is lost on a way that works comes later:
    /// the daemons ask for it again; only `loss_percent` is lost for good.
    fn post(&mut self, from: u8, to: u8, parcel: Parcel) {
        let is_there = self.reach[usize::from(from)][usize::from(to)];
        let is_lost = matches!(parcel, Parcel::Said { .. }) && self.random(100) < self.loss_percent;
        if is_there && !is_lost {
            let delay = if self.random(100) < self.late_percent { 250 + self.random(250) } else { 1 + self.random(20) };
            self.sent += 1;
            self.mail.push((self.now + Duration::from_millis(delay), self.sent, MemberId(to), parcel));
        }
    }

    fn drain(&mut self, node: u8) {
        let index = usize::from(node);
        while let Some(output) = self.services[index].as_mut().and_then(Service::poll_output) {
            let from = MemberId(node);
            match output {
                Output::Send { to: Some(to), message } => self.post(node, to.0, Parcel::Said { from, message }),
                Output::Send { to: None, message } => self.broadcast(node, &Parcel::Said { from, message }),
                Output::Ask(to) => self.post(node, to.0, Parcel::Asked { from }),
                Output::View => self.told[index] = self.services[index].as_ref().and_then(|s| s.view().copied()),
                Output::Influx => self.told[index] = None,
            }
        }
    }

    fn deliver(&mut self, to: MemberId, parcel: &Parcel) {
        let index = usize::from(to.0);
        match *parcel {
            Parcel::Asked { from } => {
                let is_online = self.services[index].is_some();
                self.post(to.0, from.0, Parcel::Client { from: to, is_online, is_news: false });
            }
            Parcel::Said { from, ref message } => {
                if let Some(service) = &mut self.services[index] {
                    service.handle(self.now, Input::Said { by: from, message });
                }
            }
            Parcel::Client { from, is_online, is_news } => {
                if let Some(service) = &mut self.services[index] {
                    if is_online && is_news {
                        service.signed_on(self.now, from);
                    } else {
                        service.handle(self.now, Input::Client { node: from, is_online });
                    }
                }
            }
        }
        self.drain(to.0);
    }

    /// Who sees whom change now, if anybody.
    fn notice(&mut self) {
        for index in 0..self.names.len() {
            for other in 0..self.count() {
                let from = usize::from(other);
                let is_there = self.reach[from][index];
                let (node, sees) = (MemberId(other), self.sees[index].contains(MemberId(other)));
                let is_due = is_there || self.now >= self.changed[from][index] + DEADTIME;
                if is_there == sees || !is_due {
                    continue;
                }
                if is_there {
                    self.sees[index].insert(node);
                } else {
                    self.sees[index].remove(node);
                }
                if let Some(service) = &mut self.services[index] {
                    service.handle(self.now, Input::Node { node, is_up: is_there });
                }
                self.drain(u8::try_from(index).unwrap());
            }
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.notice();
            let mail = self.mail.iter().map(|(at, ..)| *at).min();
            let timers = self.services.iter().flatten().filter_map(Service::poll_timeout).min();
            let next = mail.into_iter().chain(timers).chain([self.now + Duration::from_millis(10), end]).min().unwrap();
            self.now = next.max(self.now);
            if self.now >= end {
                return;
            }
            for node in 0..self.count() {
                if let Some(service) = &mut self.services[usize::from(node)]
                    && service.poll_timeout().is_some_and(|until| until <= self.now)
                {
                    service.handle(self.now, Input::Tick);
                    self.drain(node);
                }
            }
            let place =
                (0..self.mail.len()).filter(|at| self.mail[*at].0 <= self.now).min_by_key(|at| self.mail[*at].1);
            if let Some(place) = place {
                let (_, _, to, parcel) = self.mail.swap_remove(place);
                self.deliver(to, &parcel);
            }
        }
    }

    /// Lets time pass until all of these agree on being the members, and gives back how long that took.
    #[track_caller]
    pub(super) fn await_agreement(&mut self, members: MemberSet, patience: Duration) -> Duration {
        let start = self.now;
        while !self.agree(members) {
            assert!(self.now.since(start) < patience, "no agreement on {members:?}: {:#?}", self.summary());
            self.run(Duration::from_millis(5));
        }
        self.now.since(start)
    }

    /// Whether all of these were told the same membership, with just them in it.
    pub(super) fn agree(&self, members: MemberSet) -> bool {
        let mut views = members.iter().map(|member| self.told[usize::from(member.0)]);
        let Some(Some(first)) = views.next() else { return false };
        first.members == members && views.all(|view| view == Some(first))
    }

    pub(super) fn summary(&self) -> Vec<String> {
        let one = |(index, service): (usize, &Option<Service>)| {
            let state = service.as_ref().map(Service::state);
            let view = self.told[index].map(|view| (view.members.0, view.instance, view.by_age().collect::<Vec<_>>()));
            format!("{index}: {state:?} {view:?}")
        };
        self.services.iter().enumerate().map(one).collect()
    }
}
