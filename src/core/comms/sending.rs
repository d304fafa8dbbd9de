//! Everything that leaves: the beat, changes of our own status, messages for others (spec/wire.md sections 7 and 9.2).

use super::{Comms, Outbox, put};
use crate::core::Action;
use crate::core::ids::{GroupId, LinkSet, NodeId, Seq};
use crate::core::message::{Body, Extension, NodeStatus, Packet};
use crate::core::settings::Settings;
use crate::core::time::{Duration, Instant, Stamp};

/// Added before a restart of this node (spec/wire.md 14.1), so that nobody takes it for dead meanwhile.
const RESTART_GRACE: Duration = Duration::from_millis(30_000);
/// The extension goes out with every so many beats even when nothing changes.
const EXTENSION_EVERY: u32 = 10;

/// How much sooner than due a beat may leave so that it falls on a moment at which this node is awake anyway: this
/// fraction of a keepalive.
const FOLLOW_FRACTION: u32 = 16;
/// How much longer than a keepalive a beat that leaves with another waits for it: this fraction.
const SLACK_FRACTION: u32 = 64;

/// When the next beat is due, and what the last ones said.
#[derive(Debug, Clone)]
pub(super) struct Beats {
    due: Instant,
    /// When the last status left, with the dead time that it announced.
    last: Option<(Instant, Duration)>,
    announced: Duration,
    is_restarting: bool,
    /// The last one left together with the beat of the node that we follow.
    is_following: bool,
    is_extension_wanted: bool,
    plain_in_a_row: u32,
    extension_seq: Option<Seq>,
    /// Number of the newest status.
    newest: Option<Seq>,
}

impl Beats {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            due: now,
            last: None,
            announced: settings.deadtime + settings.announced_extra,
            is_restarting: false,
            is_following: false,
            is_extension_wanted: true,
            plain_in_a_row: 0,
            extension_seq: None,
            newest: None,
        }
    }

    /// Somebody new listens: a beat with everything in it, at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.is_extension_wanted = true;
        self.due = self.due.min(now);
    }

    /// A peer asks for these again: if the last extension was among them it is told anew with the next beat, because
    /// the copy that we keep has none.
    pub(super) fn notice_lost(&mut self, first: Seq, last: Seq) {
        if self.extension_seq.is_some_and(|seq| (first..=last).contains(&seq)) {
            self.is_extension_wanted = true;
        }
    }

    /// A faster link works: the next beat leaves then at the latest.
    pub(super) fn quicken(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    /// Brings the announced dead time up to date; a change is announced at once. Returns whether there was one.
    pub(super) fn update_announced(&mut self, settings: &Settings, now: Instant) -> bool {
        let restarting = if self.is_restarting { RESTART_GRACE } else { Duration::ZERO };
        let announced = settings.deadtime + settings.announced_extra + restarting;
        let is_changed = announced != self.announced;
        if is_changed {
            self.announced = announced;
            self.due = self.due.min(now);
        }
        is_changed
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.due
    }

    /// The dead time that the statuses announce.
    pub(super) const fn announced(&self) -> Duration {
        self.announced
    }

    /// When the last status left and what dead time it announced.
    pub(super) const fn last_said(&self) -> Option<(Instant, Duration)> {
        self.last
    }

    /// The beat that this node follows has come: our own leaves with it if it is nearly due, else a little sooner than
    /// it would have, until the two meet. Then one waking serves both, and the next one waits a trifle longer for the
    /// other's.
    pub(super) fn follow(&mut self, now: Instant, keepalive: Duration) {
        let step = keepalive / FOLLOW_FRACTION;
        let left = self.due.since(now);
        if left > keepalive {
            return;
        }
        self.due = if left <= step { now } else { self.due - step };
        self.is_following = left <= step;
    }

    /// The next beat is due one keepalive after this one was, so that small delays do not add up; after a long delay,
    /// one keepalive from now.
    fn schedule(&mut self, now: Instant, keepalive: Duration) {
        let slack = if self.is_following { keepalive / SLACK_FRACTION } else { Duration::ZERO };
        self.is_following = false;
        let next = self.due + keepalive + slack;
        self.due = if self.due > now || next <= now { now + keepalive } else { next };
    }
}

impl Comms {
    /// Says `body` to `to`, or to all, on every open link. Gives it the next sequence number and keeps it for
    /// retransmission, unless it is one of the `NS_` types, which have no number. A status is said with
    /// [`Comms::beat`] and [`Comms::set_status`] only.
    pub fn send(
        &mut self,
        settings: &Settings,
        at: Stamp,
        to: Option<NodeId>,
        body: Body<'static>,
        outbox: &mut Outbox,
    ) {
        self.send_about(settings, at, to, body, (None, None), outbox);
    }

    /// As [`Comms::send`], for the two messages that name something by number: the node that a `stonith` is about, the
    /// group whose key an `ip-request-resp` carries.
    pub fn send_about(
        &mut self,
        settings: &Settings,
        at: Stamp,
        to: Option<NodeId>,
        body: Body<'static>,
        (about, group): (Option<NodeId>, Option<GroupId>),
        outbox: &mut Outbox,
    ) {
        debug_assert!(to.is_none_or(|node| usize::from(node.0) < settings.nodes.len()), "no such node");
        let packet = self.number(at, Packet { to, seq: None, ts: at.wall, body, about, group });
        if packet.seq.is_some() && (self.open_links.is_empty() || self.is_hushed()) {
            // Our own clients hear what they say.
            put(outbox, Action::Transmit { links: LinkSet::EMPTY, packet });
            return;
        }
        self.transmit(packet, self.open_links, outbox);
    }

    /// Gives it the next sequence number, when its type has one, and keeps it.
    fn number(&mut self, at: Stamp, mut packet: Packet) -> Packet {
        if !is_unsequenced(&packet.body) {
            packet.seq = Some(self.ring.keep(packet, at.now));
            self.warn_if_unacknowledged(at.now);
        }
        packet
    }

    /// Hands a finished packet to these open links.
    pub(super) fn transmit(&mut self, packet: Packet, links: LinkSet, outbox: &mut Outbox) {
        if links.is_empty() || self.is_hushed() {
            return;
        }
        for link in links.iter() {
            self.transmitted[usize::from(link.0)] += 1;
        }
        put(outbox, Action::Transmit { links, packet });
    }

    /// Whether a beat should leave now: a keepalive has passed, the announced dead time has changed, or somebody new
    /// is to be told at once.
    pub fn is_beat_due(&self, at: Stamp) -> bool {
        at.now >= self.beats.due
    }

    /// A beat of `node` has come. Beats of two nodes that leave together cost each of them one waking instead of two. Of two
    /// nullbeats the one named later in ha.cf follows; beside a Heartbeat beats keep their own time.
    pub(super) fn follow(&mut self, settings: &Settings, now: Instant, node: NodeId) {
        let is_leader = node < self.local && self.peer(node).extension.is_some();
        if settings.partner == Some(node) && is_leader {
            let interval = self.beat_interval(now);
            self.beats.follow(now, interval);
        }
    }

    /// Whether the next beat should carry the extension: every tenth one, and after something that makes a peer want
    /// it. The caller adds it on every change besides.
    pub const fn wants_extension(&self) -> bool {
        let is_turn = self.beats.plain_in_a_row + 1 >= EXTENSION_EVERY;
        self.beats.is_extension_wanted || is_turn || self.repeats.is_telling()
    }

    /// The next beat says what everybody has to hear: it leaves on the slow links, too.
    pub const fn call_all(&mut self) {
        self.lanes.call_all();
    }

    /// Sends a status, whether due or not, and schedules the next one.
    pub fn beat(&mut self, settings: &Settings, at: Stamp, extension: Option<&Extension>, outbox: &mut Outbox) {
        if self.beats.is_extension_wanted {
            self.lanes.call_all();
        }
        let links = self.due_links(at.now);
        self.say_status(settings, at, extension, links, outbox);
        let interval = self.beat_interval(at.now);
        self.beats.schedule(at.now, interval);
        if extension.is_some() {
            self.beats.is_extension_wanted = false;
            self.beats.plain_in_a_row = 0;
            self.beats.extension_seq = Some(self.own_seq());
            if extension.is_some_and(|extension| extension.is_asking) {
                self.note_question(settings, at.now);
            }
        } else {
            self.beats.plain_in_a_row = self.beats.plain_in_a_row.saturating_add(1);
        }
    }

    fn note_question(&mut self, settings: &Settings, now: Instant) {
        let seq = self.own_seq();
        if let Some(partner) = settings.partner.filter(|partner| self.is_alive(*partner)) {
            self.state_mut(partner).round_trips.ask(seq, now);
        }
    }

    /// Changes our own status word and says so at once, with a status that is no beat: the next beat is due as before.
    pub fn set_status(&mut self, settings: &Settings, at: Stamp, status: NodeStatus, outbox: &mut Outbox) {
        let local = self.local;
        self.state_mut(local).peer.status = status;
        self.say_status(settings, at, None, self.open_links, outbox);
        self.beats.is_extension_wanted = true;
        log::info!("Local status now set to: '{}'", status.word());
    }

    /// Our own status word.
    pub fn status(&self) -> NodeStatus {
        self.peer(self.local).status
    }

    /// The dead time that our statuses announce: `deadtime` and what our watchdog needs, more before a restart. Unlike the original we need no
    /// grace after our start (spec/wire.md 9.2): nothing of ours blocks then, and it would delay a takeover.
    pub const fn announced_deadtime(&self) -> Duration {
        self.beats.announced()
    }

    /// This node is about to start again (a new program, changed files): raises the announced dead time by 30 s and
    /// announces it, so that peers wait (spec/wire.md 14.1). `false`: nothing came of it, takes that back.
    pub fn announce_restart(&mut self, settings: &Settings, at: Stamp, is_coming: bool, outbox: &mut Outbox) {
        self.beats.is_restarting = is_coming;
        self.lanes.call_all();
        self.beat(settings, at, None, outbox);
    }

    fn say_status(
        &mut self,
        settings: &Settings,
        at: Stamp,
        extension: Option<&Extension>,
        links: LinkSet,
        outbox: &mut Outbox,
    ) {
        let links = if self.beats.update_announced(settings, at.now) { self.open_links } else { links };
        let packet =
            Packet { to: None, seq: None, ts: at.wall, body: self.status_body(extension), about: None, group: None };
        let packet = self.number(at, packet);
        self.beats.newest = packet.seq;
        self.transmit(packet, links, outbox);
        self.ask_pings(settings, at, outbox);
        self.note_said(at.now, links);
        let pause = self.lanes.shortest_repeat(self.open_links);
        self.repeats.note_beat(at.now, pause);
    }

    /// Says the newest number again as a beat: whoever has heard it takes it for a copy.
    pub(super) fn say_again(&mut self, at: Stamp, extension: &Extension, links: LinkSet, outbox: &mut Outbox) {
        let Some(seq) = self.beats.newest else { return };
        let body = self.status_body(Some(extension));
        let packet = Packet { to: None, seq: Some(seq), ts: at.wall, body, about: None, group: None };
        self.transmit(packet, links, outbox);
        self.note_said(at.now, links);
    }

    fn status_body(&self, extension: Option<&Extension>) -> Body<'static> {
        Body::Status {
            status: Some(self.status()),
            dead_ms: Some(u32::try_from(self.beats.announced.as_millis()).unwrap_or(u32::MAX)),
            has_protocol: true,
            is_nullbeat: true,
            extension: extension.copied(),
        }
    }

    fn note_said(&mut self, now: Instant, links: LinkSet) {
        self.beats.last = Some((now, self.beats.announced));
        self.lanes.note_left(links, now);
    }
}

/// Whether a message of this type has no sequence number.
pub(super) fn is_unsequenced(body: &Body<'_>) -> bool {
    match body {
        Body::Ack { .. } | Body::RexmitRequest { .. } | Body::RexmitNak { .. } => true,
        Body::Other { kind } => kind.starts_with("NS_"),
        _ => false,
    }
}
