//! Communication: links, peers, sequence numbers, retransmission, acknowledgements, liveness. Knows nothing of groups.
//!
//! | file | holds |
//! |---|---|
//! | `identity` | whose message is this, and is it for us |
//! | `receive` | the order in which a message is accepted or dropped |
//! | `sequence` | which numbers of a peer have come, which are missing |
//! | `ring` | what we sent, kept to be sent again |
//! | `rexmit` | asking for what is missing, answering those who ask |
//! | `asking` | how much of it at once, and when again |
//! | `round_trips` | how long an answer takes, and the pace of what is said at once |
//! | `acks` | acknowledging, and judging who acknowledges us |
//! | `liveness` | dead, returned, restarted; warnings about late ones; communication up |
//! | `links` | the same for each link of each peer |
//! | `pings` | ping nodes: asking, and who answers |
//! | `membership` | nodes that come and go |
//! | `lateness` | whether this node itself was late, and so must not judge |
//! | `pace` | which beat leaves on which link |
//! | `repeats` | saying a beat again near the dead time |
//! | `sending` | beats, own status, every other message |
//! | `signing` | with which key, as an old Heartbeat knows only one |
//!
//! What the caller does with it, in this order, for every input:
//!
//! 1. [`Comms::notice_lateness`];
//! 2. [`Comms::receive`], [`Comms::link_device`] or [`Comms::tick`], as the input says. `tick` may be called at any time
//!    and does nothing early;
//! 3. what ownership makes of the [`Happening`]s;
//! 4. when [`Comms::is_beat_due`]: [`Comms::beat`], with the extension when [`Comms::wants_extension`].
//!
//! [`Event::Link`](super::Event) and [`Event::Node`](super::Event) are put into the outbox here;
//! [`Event::Late`](super::Event) is left to the caller, who learns of it by [`Happening::Late`].

mod acks;
mod asking;
mod complaints;
mod identity;
mod lateness;
mod links;
mod liveness;
mod membership;
mod pace;
mod pings;
mod random;
mod receive;
mod repeats;
mod rexmit;
mod ring;
mod round_trips;
mod sending;
mod sequence;
mod signing;
#[cfg(test)]
mod tests;

use super::Action;
use super::ids::{Generation, KeyNumber, LinkId, LinkSet, NodeId, NodeSet, Seq, Uuid};
use super::limits::{ACTIONS_MAX, LINKS_MAX, NODES_MAX};
use super::message::{Extension, NodeStatus};
use super::settings::{Autojoin, Carried, CarriedPartner, Identity, Settings};
use super::time::{Duration, Instant, Stamp, soonest};

use asking::Asking;
use complaints::Complaints;
use lateness::Lateness;
use pace::Lanes;
use pings::Pings;
pub use pings::{PingNode, PingStatus};
use random::Random;
use repeats::Repeats;
use ring::Ring;
use round_trips::RoundTrips;
use sending::Beats;
use sequence::Tracker;

/// Actions waiting for [`Node::poll_action`](super::Node::poll_action).
pub type Outbox = heapless::Deque<Action, ACTIONS_MAX>;

/// What communication tells ownership, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Every configured node has been heard or was declared dead: negotiation may begin. Once per run.
    CommUp,
    /// A node's status word changed. `Dead` never comes this way.
    Status {
        /// Which.
        node: NodeId,
        /// The new word.
        status: NodeStatus,
    },
    /// A node was silent for its announced dead time.
    Dead {
        /// Which.
        node: NodeId,
        /// Whether any packet of it was received since it was last declared dead, or since our start.
        was_heard: bool,
    },
    /// A node started again: higher generation. `was_dead`: after having been declared dead, or never heard before.
    Restarted {
        /// Which.
        node: NodeId,
        /// It had been dead to us (or unknown).
        was_dead: bool,
    },
    /// A node that we had declared dead is heard again in the same generation: a partition has healed.
    Returned {
        /// Which.
        node: NodeId,
    },
    /// A node's extension arrived (it may be equal to the last one).
    Extension {
        /// Which.
        node: NodeId,
    },
    /// We were not scheduled for longer than the dead time that we had announced: peers may have taken over.
    Overslept,
    /// We were late, less than that.
    Late {
        /// By how much.
        by: Duration,
    },
}

/// Happenings of one input.
pub type Happenings = heapless::Vec<Happening, 64>;

/// What is known of one node.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Last status word, or `Dead`.
    pub status: NodeStatus,
    /// Its uuid, nil until heard.
    pub uuid: Uuid,
    /// Highest generation seen in a status.
    pub generation: Generation,
    /// Highest sequence number accepted in that generation.
    pub highest_seq: Seq,
    /// The dead time it announced; the local `deadtime` before its first status.
    pub deadtime: Duration,
    /// When its last status arrived.
    pub last_status: Option<Instant>,
    /// Only what answers this number of ours, or a later one, tells how things stand now: its last statuses came in a
    /// heap, so one of us two, or what is between us, has kept them back, and our clock need not have run meanwhile.
    pub answers_from: Seq,
    /// Its last status told that it is a nullbeat.
    pub is_nullbeat: bool,
    /// Its last extension in this generation: present means it is a nullbeat.
    pub extension: Option<Extension>,
    /// Highest of our sequence numbers that it has acknowledged.
    pub acked: Seq,
    /// When `acked` last grew.
    pub acked_at: Option<Instant>,
    /// The same on each link.
    pub links: [LinkHealth; LINKS_MAX],
}

/// What communication made of a message, for those who only watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// It counts for nothing: of nobody we know, out of date, without a usable number, or for another node.
    Dropped,
    /// It had come before, on another link most likely.
    Copy,
    /// Communication's own: an acknowledgement, a request for retransmission, its refusal.
    Protocol,
    /// It was taken.
    Taken,
}

/// One link as seen from one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkHealth {
    /// Heard within the dead time.
    pub is_up: bool,
    /// Newest packet.
    pub last_heard: Option<Instant>,
    /// Packets that counted for the link.
    pub received: u64,
    /// Of these, copies of what another link had brought first.
    pub duplicates: u64,
    /// Times the link was declared dead.
    pub deaths: u32,
    /// Between the last two packets.
    pub gap: Duration,
}

/// Counters over all peers, for `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages dropped: unknown node.
    pub unknown_node: u64,
    /// Messages dropped: generation lower than one seen before.
    pub replays: u64,
    /// Sequence numbers found missing.
    pub lost: u64,
    /// Retransmissions we asked for.
    pub rexmit_requested: u64,
    /// Retransmissions we sent.
    pub rexmit_sent: u64,
    /// Retransmissions that we had to refuse.
    pub rexmit_refused: u64,
    /// Times we were late by more than half a keepalive.
    pub late: u64,
    /// Longest lateness, milliseconds.
    pub late_max_ms: u32,
    /// Own messages that came back over a looped or broadcast link.
    pub own: u64,
    /// Messages under our name that we did not send: another daemon uses it.
    pub impostors: u64,
    /// Messages dropped for a sequence number that is missing or zero.
    pub bad_seq: u64,
    /// Second copies on the same link, and messages older than what a dead peer had already said: dropped.
    pub stale: u64,
    /// Sequenced messages for other nodes.
    pub not_for_us: u64,
    /// Messages of peers that can no longer be had: refused, fallen out of the window, or more than 250 in a row.
    pub irretrievable: u64,
}

/// A peer with what only this room needs to know of it.
#[derive(Debug, Clone)]
struct PeerState {
    peer: Peer,
    tracker: Tracker,
    /// The generation whose numbers are being tracked: ahead of the peer's when another message than a status was the
    /// first of a new run to arrive.
    tracked: Generation,
    /// Something of a lower generation has come.
    has_fallen_back: bool,
    /// Newest number on each link: an older one there is a repetition and proves nothing about the link.
    link_seq: [Seq; LINKS_MAX],
    /// Number of the newest status.
    status_seq: Seq,
    /// How many of its statuses have come one directly after the other.
    heap: u32,
    /// Its highest number when it was last declared dead. What came first afterwards may have overtaken its statuses.
    died_at_seq: Seq,
    /// The links on which it is heard.
    links_up: LinkSet,
    /// Number of the status that brought the extension.
    extension_seq: Option<Seq>,
    /// The key that signed the newest status.
    key: Option<KeyNumber>,
    /// Last word it said itself, to go back to after a death.
    spoken: NodeStatus,
    /// Something of it came since we last declared it dead, or since our start.
    is_heard: bool,
    /// Its statuses carry `protocol` (spec/wire.md 8.5).
    has_flow_control: bool,
    /// How long its first status is waited for, when that is not `initdead`.
    first_wait: Option<Duration>,
    /// Our highest number when it joined: it cannot be expected to acknowledge what came before.
    joined_at: Seq,
    /// Since when it has been waited for.
    known_since: Instant,
    /// When to ask (again) for what is missing.
    rexmit_at: Option<Instant>,
    /// How much is asked for at once.
    asking: Asking,
    /// How long its answers take.
    round_trips: RoundTrips,
    /// Since when refusals to it have been counted, and how many there were.
    refusals: (Instant, usize),
}

impl PeerState {
    fn new(settings: &Settings, random: &mut Random, now: Instant) -> Self {
        Self {
            peer: Peer {
                status: NodeStatus::Init,
                uuid: Uuid::default(),
                generation: Generation(0),
                highest_seq: Seq(0),
                deadtime: settings.deadtime,
                last_status: None,
                answers_from: Seq(0),
                is_nullbeat: false,
                extension: None,
                acked: Seq(0),
                acked_at: None,
                links: [LinkHealth::default(); LINKS_MAX],
            },
            tracker: Tracker::new(random.below(10)),
            tracked: Generation(0),
            has_fallen_back: false,
            link_seq: [Seq(0); LINKS_MAX],
            status_seq: Seq(0),
            heap: 0,
            died_at_seq: Seq(0),
            links_up: LinkSet::EMPTY,
            extension_seq: None,
            key: None,
            spoken: NodeStatus::Init,
            is_heard: false,
            has_flow_control: true,
            first_wait: None,
            joined_at: Seq(0),
            known_since: now,
            rexmit_at: None,
            asking: Asking::new(),
            round_trips: RoundTrips::default(),
            refusals: (Instant::ZERO, 0),
        }
    }

    /// Whether it has said a status and is not dead.
    fn is_alive(&self) -> bool {
        self.peer.status != NodeStatus::Dead && self.peer.last_status.is_some()
    }

    /// Takes over what an earlier engine of this boot knew of it: it is not waited for as at a cold start, but as long as a
    /// living one is; one that was dead already gets two keepalives to prove the contrary.
    fn carry(&mut self, settings: &Settings, known: CarriedPartner) {
        let wait = if known.is_dead { settings.keepalive.saturating_mul(2) } else { settings.deadtime };
        self.first_wait = Some(wait);
    }

    /// Goes on where an earlier engine stopped to hear it in that run of its: what it has said since is asked for.
    fn resume(&mut self, generation: Generation, heard: Seq) {
        if heard.0 > 0 {
            self.track_generation(generation);
            self.tracker.note(heard);
        }
    }

    /// Turns to the numbers of a new run, unless that has been done.
    fn track_generation(&mut self, generation: Generation) {
        if generation > self.tracked {
            self.tracked = generation;
            self.tracker.reset();
            self.rexmit_at = None;
            self.asking = Asking::new();
            self.round_trips.forget_question();
            self.link_seq.fill(Seq(0));
        }
    }

    /// "Reset tracking" (spec/wire.md 8.2). The generation and the highest number in it stay, so that nothing which was
    /// said before can be played back.
    fn reset_tracking(&mut self, own_highest: Seq) {
        self.tracker.reset();
        self.rexmit_at = None;
        self.asking = Asking::new();
        self.round_trips.forget_question();
        self.forget_acks(own_highest);
    }

    /// It starts to count our messages anew.
    const fn forget_acks(&mut self, own_highest: Seq) {
        self.peer.acked = Seq(0);
        self.peer.acked_at = None;
        self.joined_at = own_highest;
    }
}

/// Communication of one node with all others. See the [module](self) for what the caller owes.
#[derive(Debug, Clone)]
pub struct Comms {
    identity: Identity,
    local: NodeId,
    peers: heapless::Vec<PeerState, NODES_MAX>,
    /// Those that belong to the cluster: they were not deleted.
    members: NodeSet,
    ring: Ring,
    beats: Beats,
    lanes: Lanes,
    repeats: Repeats,
    lateness: Lateness,
    random: Random,
    complaints: Complaints,
    counters: Counters,
    reception: Reception,
    transmitted: [u64; LINKS_MAX],
    pings: Pings,
    open_links: LinkSet,
    /// When the last device went away.
    device_lost_at: Instant,
    started: Instant,
    initdead: Duration,
    deadping: Duration,
    is_up: bool,
    /// With `autojoin` others may still turn up until then.
    not_up_before: Option<Instant>,
    /// A peer knows a later run of ours, and that has been said.
    is_outrun: bool,
    /// Nothing is said until then, or until the partner has told which run of ours it knows.
    hushed_until: Option<Instant>,
}

impl Comms {
    /// Communication that has said and heard nothing. All links count as open until [`Comms::link_device`] says
    /// otherwise. The first beat is due at once.
    pub fn new(settings: &Settings, identity: Identity, at: Stamp) -> Self {
        Self::carrying(settings, identity, None, at)
    }

    /// The same of an engine that goes on where another one was lost.
    pub fn carrying(settings: &Settings, identity: Identity, carried: Option<&Carried>, at: Stamp) -> Self {
        let mut random = Random::new(settings.random_seed);
        let mut peers: heapless::Vec<_, NODES_MAX> =
            settings.nodes.iter().map(|_| PeerState::new(settings, &mut random, at.now)).collect();
        let mut pings = Pings::new(settings);
        let partner = settings.partner.and_then(|partner| peers.get_mut(usize::from(partner.0)));
        if let (Some(partner), Some(carried)) = (partner, carried) {
            if let Some(known) = carried.partner.filter(|_| carried.is_certain) {
                partner.carry(settings, known);
                pings.wait_for_none();
            }
            if let Some(open) = carried.handover {
                partner.resume(open.generation, open.heard);
            }
        }
        Self {
            identity,
            local: settings.local,
            peers,
            members: NodeSet::first(settings.nodes.len()),
            ring: Ring::new(),
            beats: Beats::new(settings, at.now),
            lanes: Lanes::new(settings.paces.clone(), settings.keepalive),
            repeats: Repeats::default(),
            lateness: Lateness::default(),
            random,
            complaints: Complaints::default(),
            counters: Counters::default(),
            reception: Reception::Dropped,
            transmitted: [0; LINKS_MAX],
            pings,
            open_links: LinkSet::first(settings.links.len()),
            device_lost_at: at.now,
            started: at.now,
            initdead: settings.initdead,
            deadping: settings.upstream.deadping,
            is_up: false,
            not_up_before: (settings.autojoin != Autojoin::None).then(|| at.now + settings.initdead),
            is_outrun: false,
            // The other half is left to be heard in, by a node that has started together with this one.
            hushed_until: settings.is_generation_guessed.then(|| at.now + settings.initdead / 2),
        }
    }

    /// What a node is told of how far it is heard here: in which of its runs, and up to which number.
    ///
    /// Where an earlier engine has heard a run of it that says nothing any more, that run is told as soon as the node counts as
    /// dead, or something of an earlier run comes: it may have lost its generation since, and a run below the one that is known is
    /// not heard before it has learnt so.
    pub(in crate::core) fn echo_of(&self, node: NodeId) -> (Generation, Seq) {
        let state = self.state(node);
        let is_overdue = state.peer.status == NodeStatus::Dead || state.has_fallen_back;
        if state.tracked > state.peer.generation && is_overdue {
            return (state.tracked, Seq(0));
        }
        (state.peer.generation, state.peer.highest_seq)
    }

    /// Everything that has come due: requests for retransmission, nodes and links that have died, the end of the
    /// raised dead time after the start.
    pub fn tick(&mut self, settings: &Settings, at: Stamp, outbox: &mut Outbox, happenings: &mut Happenings) {
        if self.beats.update_announced(settings, at.now) {
            self.lanes.call_all();
        }
        if self.hushed_until.is_some_and(|until| at.now >= until) {
            log::warn!("Nobody has told what runs of this node it knows: beginning with a generation from the clock");
            self.speak_up(at.now);
        }
        self.request_missing(settings, at, outbox);
        self.bury_links_without_device(settings, outbox);
        if self.lateness.may_judge(at.now) {
            self.judge_nodes(settings, at.now, outbox, happenings);
            self.judge_links(settings, at.now, outbox);
            self.judge_pings(settings, at.now, outbox);
        }
        self.check_comm_up(settings, at, outbox, happenings);
    }

    /// When to call again at the latest, with [`Comms::tick`] and, if then due, [`Comms::beat`].
    pub fn next_deadline(&self) -> Instant {
        let mut next = self.beats.next_deadline();
        next = self.repeats.next_deadline().map_or(next, |at| next.min(at));
        next = self.not_up_before.map_or(next, |at| next.min(at));
        next = self.hushed_until.map_or(next, |at| next.min(at));
        for node in self.others() {
            let verdict = soonest(self.node_deadline(node), self.link_deadline(node, next));
            let judged = verdict.map(|verdict| self.lateness.postpone(verdict));
            for due in [judged, self.state(node).rexmit_at, self.device_deadline(node)] {
                next = due.map_or(next, |due| next.min(due));
            }
        }
        let ping = self.ping_deadline().map(|verdict| self.lateness.postpone(verdict));
        ping.map_or(next, |ping| next.min(ping))
    }

    /// Whether this node says nothing yet, because it does not know with which generation it would be heard.
    pub const fn is_hushed(&self) -> bool {
        self.hushed_until.is_some()
    }

    fn speak_up(&mut self, now: Instant) {
        self.hushed_until = None;
        self.beats.hurry(now);
    }

    /// Whether every other node has been heard or declared dead once ("comm up", spec/wire.md 9.4). Never taken back.
    pub const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether this node was punctual for long enough that it may judge others, and act upon its judgement (rule 4).
    pub fn may_judge(&self, now: Instant) -> bool {
        self.lateness.may_judge(now)
    }

    /// What is known of a node. For the local node only the status word means anything.
    pub fn peer(&self, node: NodeId) -> &Peer {
        &self.state(node).peer
    }

    /// Whether the node has said a status and has not been silent for its dead time since. The local node always is.
    pub fn is_alive(&self, node: NodeId) -> bool {
        node == self.local || self.state(node).is_alive()
    }

    /// The links on which the node is being heard.
    pub fn links_up(&self, node: NodeId) -> LinkSet {
        self.state(node).links_up
    }

    /// As [`Node::count_own_copy`](crate::core::Node::count_own_copy).
    pub const fn count_own_copy(&mut self) {
        self.counters.own = self.counters.own.saturating_add(1);
    }

    /// Counters over all peers.
    pub fn counters(&self) -> Counters {
        Counters { irretrievable: self.given_up(), ..self.counters }
    }

    fn given_up(&self) -> u64 {
        self.peers.iter().fold(0, |sum, state| sum.saturating_add(state.tracker.given_up()))
    }

    /// Messages that one of the nodes asked for in vain.
    pub(in crate::core) fn lost_for_good(&self) -> u64 {
        self.given_up().saturating_add(self.counters.rexmit_refused)
    }

    /// Messages handed out for sending on `link`, whether or not the device took them.
    pub fn transmitted(&self, link: LinkId) -> u64 {
        self.transmitted[usize::from(link.0)]
    }

    /// Our highest sequence number; zero before the first message.
    pub const fn own_seq(&self) -> Seq {
        self.ring.highest()
    }

    /// When our own message of this number first left; `None` when it never did, or when it is so old (500 messages)
    /// that it has been forgotten.
    pub fn sent_at(&self, seq: Seq) -> Option<Instant> {
        self.ring.sent_at(seq)
    }

    /// All nodes of the cluster but this one.
    pub(in crate::core) fn others(&self) -> impl Iterator<Item = NodeId> + use<> {
        (self.members - NodeSet::only(self.local)).iter()
    }

    fn state(&self, node: NodeId) -> &PeerState {
        &self.peers[usize::from(node.0)]
    }

    fn state_mut(&mut self, node: NodeId) -> &mut PeerState {
        &mut self.peers[usize::from(node.0)]
    }
}

/// Appends to a queue that is drained after every input: when it is full, a promise of this program is broken.
fn put(outbox: &mut Outbox, action: Action) {
    assert!(outbox.push_back(action).is_ok(), "outbox full: actions were not drained after the last input");
}

/// As [`put`].
fn tell(happenings: &mut Happenings, happening: Happening) {
    assert!(happenings.push(happening).is_ok(), "happenings were not taken after the last input");
}
