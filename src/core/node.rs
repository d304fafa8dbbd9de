//! One node: communication and ownership behind one door.

pub mod clients;
pub mod members;

use super::comms::{Comms, Happening, Happenings, Outbox, Reception};
use super::ids::{CheckId, Seq};
use super::message::{Body, Extension, NodeStatus};
use super::ownership::{Context, Ownership, transitions};
use super::settings::{Carried, CarriedHandover, CarriedPartner, Identity, Settings};
use super::time::{Duration, Instant, Stamp, soonest};
use super::{Action, Event, Input};
use clients::Clients;
use members::Members;

/// Shortest time until the next deadline: what cannot be done yet is looked at again, without spinning.
const DEADLINE_MIN: Duration = Duration::from_millis(20);

/// The state machine of one node. See the [module](super) for the contract.
#[derive(Debug, Clone)]
pub struct Node {
    settings: Settings,
    identity: Identity,
    carried: Option<Carried>,
    comms: Comms,
    ownership: Ownership,
    members: Members,
    clients: Clients,
    outbox: Outbox,
    last_job: u32,
    last_stamp: Stamp,
    /// What communication has asked for, as long as nothing has happened since.
    asked: Option<Instant>,
    /// What ownership has asked for, as long as nothing has come since but copies, from which it learns nothing.
    asked_by_ownership: Option<Option<Instant>>,
    /// The present input is a tick: everything that had arrived before it has been handed over.
    has_read_all: bool,
    has_begun: bool,
    has_delivered: bool,
    last_news: Option<Instant>,
    has_news: bool,
}

impl Node {
    /// A node that has just started. It says nothing until the first [`Node::handle`].
    pub fn new(settings: Settings, identity: Identity, carried: Option<Carried>, at: Stamp) -> Self {
        // Built where it stays: it is large.
        Self {
            comms: Comms::carrying(&settings, identity, carried.as_ref(), at),
            ownership: Ownership::new(&settings, carried.as_ref(), at),
            settings,
            identity,
            carried,
            members: Members::default(),
            clients: Clients::default(),
            outbox: Outbox::new(),
            // Jobs of an earlier engine may still end: theirs must not be taken for ours.
            last_job: identity.generation.0 << 16,
            last_stamp: at,
            asked: None,
            asked_by_ownership: None,
            has_read_all: false,
            has_begun: false,
            has_delivered: false,
            last_news: None,
            has_news: false,
        }
    }

    /// Takes one input. Drain [`Node::poll_action`] afterwards.
    pub fn handle(&mut self, at: Stamp, input: Input<'_>) {
        self.last_stamp = at;
        self.has_read_all = matches!(input, Input::Tick);
        let mut happenings = Happenings::new();
        let asked_by_ownership = self.asked_by_ownership.take();
        let asked = self.asked.take().unwrap_or_else(|| self.comms.next_deadline());
        self.comms.notice_lateness(&self.settings, at, asked, &mut happenings);
        if !self.has_begun {
            self.begin(at);
        }
        let (mut delivery, mut is_copy) = (None, false);
        match input {
            Input::Tick => self.comms.tick(&self.settings, at, &mut self.outbox, &mut happenings),
            Input::Received { message, .. } if self.join(at, message) => {}
            Input::Received { link, message } => {
                let from = self.comms.receive(&self.settings, at, link, message, &mut self.outbox, &mut happenings);
                delivery = from.map(|from| (from, message));
                is_copy = self.comms.reception() == Reception::Copy && happenings.is_empty();
            }
            Input::PingAnswer { ping } => {
                self.comms.ping_answered(&self.settings, at, ping, &mut self.outbox, &mut happenings);
            }
            Input::LinkDevice { link, is_open } => self.comms.link_device(&self.settings, at, link, is_open),
            Input::Members { id, change } => self.request_members(at, id, change),
            Input::Client { slot, name } => self.clients.set(slot, name),
            Input::ClientQuery { client, asker } => {
                let local = self.settings.local;
                self.answer_client_query(at, local, (client.as_str(), asker.as_str()));
            }
            Input::Relay { to, id } => {
                self.comms.send(&self.settings, at, to, Body::Relayed { id }, &mut self.outbox);
            }
            Input::JobDone { .. }
            | Input::FenceDone { .. }
            | Input::Line { .. }
            | Input::OwnerSet { .. }
            | Input::Watchdog { .. }
            | Input::Health { .. }
            | Input::Services { .. }
            | Input::Guardian { .. }
            | Input::Request { .. } => {}
        }
        self.has_delivered = false;
        if is_copy {
            // Nobody knows more than before; what has come due meanwhile comes with the tick.
            self.asked_by_ownership = asked_by_ownership;
            return;
        }
        if let Some((from, message)) = delivery {
            self.heard_of_members(at, from, &message.body);
            if let Body::ClientQuery { client, asker } = message.body {
                self.answer_client_query(at, from, (client, asker));
                delivery = None;
            }
        }
        self.has_delivered = delivery.is_some();
        let (mut cx, ownership) = self.split(at);
        let seq = delivery_seq(input);
        for happening in &happenings {
            if let Happening::Late { by } = happening {
                let ms = u32::try_from(by.as_millis()).unwrap_or(u32::MAX);
                cx.act(Action::Event(Event::Late { ms }));
            }
            ownership.happened(&mut cx, *happening, seq);
        }
        if let Some((from, message)) = delivery {
            ownership.message(&mut cx, from, seq, &message.body);
        }
        ownership.witness(transitions::Event::of_input(&input));
        match input {
            Input::JobDone { job, outcome } => ownership.job_done(&mut cx, job, outcome),
            Input::Guardian { is_present } => ownership.guardian(&mut cx, is_present),
            Input::Request { id, request } => ownership.request(&mut cx, id, request),
            Input::FenceDone { shot, outcome } => ownership.fence_done(&mut cx, shot, outcome),
            Input::Line { line, level } => ownership.line_changed(&mut cx, line, level),
            Input::OwnerSet { is_owner, is_ok } => ownership.owner_set(&mut cx, is_owner, is_ok),
            Input::Watchdog { is_armed } => ownership.watchdog(is_armed),
            Input::Services { is_down } => {
                ownership.raise(&mut cx, super::Alarm::ServiceDown, is_down);
            }
            Input::Health { check, health, from } => ownership.health_changed(&mut cx, check, health, from),
            Input::Tick
            | Input::Received { .. }
            | Input::PingAnswer { .. }
            | Input::LinkDevice { .. }
            | Input::Members { .. }
            | Input::Client { .. }
            | Input::ClientQuery { .. }
            | Input::Relay { .. } => {}
        }
        ownership.reconcile(&mut cx);
        ownership.note_finish(at.now);
        self.beat(at);
    }

    /// A message of our own came back over a looped or broadcast link, byte for byte as it went out. That says nothing, and
    /// is only counted: no input, no actions.
    pub const fn count_own_copy(&mut self) {
        self.comms.count_own_copy();
    }

    /// The next thing to do; drain until `None` after every input.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    /// Whether the last input was a message that came for the first time, is meant for us, and was not settled by
    /// communication alone, with communication up: the ones that may interest others on this node.
    pub const fn has_delivered(&self) -> bool {
        self.has_delivered && self.comms.is_up()
    }

    /// When to call again with [`Input::Tick`] at the latest.
    pub fn poll_timeout(&mut self) -> Instant {
        if self.ownership.waits_for_tick() {
            return self.last_stamp.now;
        }
        let news = self
            .has_news
            .then(|| self.last_news.map_or(Instant::ZERO, |last| last + self.comms.news_gap(&self.settings)));
        let own = soonest(self.ownership_deadline(), news);
        let comms = self.comms.next_deadline();
        self.asked = Some(comms);
        own.map_or(comms, |deadline| deadline.min(comms))
    }

    /// What it was started with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who it is in this run.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// What a beat would tell the partner now, as of the last input.
    pub fn extension(&mut self) -> Extension {
        let at = self.last_stamp;
        let (cx, ownership) = self.split(at);
        ownership.extension(&cx)
    }

    /// Links and peers.
    pub const fn comms(&self) -> &Comms {
        &self.comms
    }

    /// Groups, alarms, hand-overs.
    pub const fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// What the next engine of this boot is told of the partner ([`Carried::partner`]); `None` while nothing is known:
    /// then what the engine before had noted stands.
    pub fn known_partner(&self) -> Option<CarriedPartner> {
        let partner = self.settings.partner?;
        let is_dead = self.comms.peer(partner).status == NodeStatus::Dead;
        (is_dead || self.comms.is_alive(partner))
            .then(|| CarriedPartner { is_dead, has_left: self.ownership.partner_has_left() })
    }

    /// The hand-over under way, for the next engine of this boot ([`Carried::handover`]).
    pub fn open_handover(&self) -> Option<CarriedHandover> {
        let partner = self.comms.peer(self.settings.partner?);
        self.ownership.open_handover(partner.generation, partner.highest_seq)
    }

    /// Whether the watchdog may be kicked at `now`: false stops the kicks, so that this board is reset before the partner
    /// takes that for granted. A node without a lease always may.
    pub fn may_kick(&self, now: Instant) -> bool {
        self.ownership.may_kick(&self.settings, now)
    }

    /// The check that the watchdogs wait for (`watchdog on`), if one fails: this board is to be reset unless it is mended or
    /// what it looks at has been stopped here.
    pub fn vital_check_failed(&self) -> Option<CheckId> {
        self.ownership.vital_check_failed(&self.settings)
    }

    /// Until when the lease allows kicks, for the next engine of this boot ([`Carried::kicks_until`]).
    pub fn kicks_until(&self) -> Option<Instant> {
        self.ownership.kicks_until()
    }

    fn ownership_deadline(&mut self) -> Option<Instant> {
        let at = self.last_stamp;
        let is_ahead = |kept: &Option<Instant>| kept.is_none_or(|deadline| deadline > at.now);
        if let Some(kept) = self.asked_by_ownership.filter(is_ahead) {
            return kept;
        }
        let (cx, ownership) = self.split(at);
        let deadline = ownership.next_deadline(&cx);
        self.asked_by_ownership = Some(deadline);
        let floor = at.now + DEADLINE_MIN;
        deadline.map(|deadline| if deadline <= at.now { floor } else { deadline })
    }

    fn split(&mut self, at: Stamp) -> (Context<'_>, &mut Ownership) {
        let cx = Context {
            settings: &self.settings,
            identity: self.identity,
            at,
            has_read_all: self.has_read_all,
            comms: &mut self.comms,
            outbox: &mut self.outbox,
            last_job: &mut self.last_job,
        };
        (cx, &mut self.ownership)
    }

    fn begin(&mut self, at: Stamp) {
        self.has_begun = true;
        self.comms.beat(&self.settings, at, None, &mut self.outbox);
        self.comms.set_status(&self.settings, at, NodeStatus::Up, &mut self.outbox);
        let carried = self.carried.take();
        let (mut cx, ownership) = self.split(at);
        ownership.begin(&mut cx, carried.as_ref());
    }

    /// Sends the heartbeat when it is due, and at once when there are news for the partner.
    fn beat(&mut self, at: Stamp) {
        self.has_news |= self.ownership.take_wants_extension();
        let may_tell = |last| at.now >= last + self.comms.news_gap(&self.settings);
        let is_news_due = self.has_news && self.last_news.is_none_or(may_tell);
        if !self.comms.is_beat_due(at) && !is_news_due {
            self.repeat_beat(at);
            return;
        }
        if is_news_due {
            self.comms.call_all();
        }
        let (cx, ownership) = self.split(at);
        let is_wanted = is_news_due || cx.comms.wants_extension() || ownership.is_asking(&cx);
        let extension = is_wanted.then(|| ownership.extension(&cx));
        self.comms.beat(&self.settings, at, extension.as_ref(), &mut self.outbox);
        if is_wanted {
            self.ownership.told_extension(self.comms.own_seq());
            self.has_news = false;
            self.last_news = Some(at.now);
        }
    }
}

impl Node {
    /// Says the last beat again when that is due: one of the two nodes is hard to hear.
    fn repeat_beat(&mut self, at: Stamp) {
        if self.comms.is_repeat_due(at) {
            let (cx, ownership) = self.split(at);
            let extension = ownership.extension(&cx);
            self.comms.repeat_beat(at, &extension, &mut self.outbox);
        }
    }
}

/// The number of the message that came in; zero for everything without one.
fn delivery_seq(input: Input<'_>) -> Seq {
    match input {
        Input::Received { message, .. } => message.seq.unwrap_or_default(),
        _ => Seq(0),
    }
}
