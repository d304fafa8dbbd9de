//! Timetables: what one node says and tells when it hears this and that at such and such a millisecond.
//!
//! Unless a test says otherwise there are two nodes, alpha (us) and beta, on the links `eth0` and `ttyS0`; keepalive
//! 200 ms, warntime 500 ms, deadtime 1 s, initdead 4 s, max_rexmit_delay 250 ms. Times are milliseconds since start.

mod acks;
mod exchange;
mod identity;
mod lateness;
mod lines;
mod links;
mod liveness;
mod noise;
mod pings;
mod rexmit;
mod sending;
mod sequence;
mod signing;

use super::*;
use crate::core::Event;
use crate::core::message::{Body, Message, Packet};
use crate::core::settings::{AutoFailback, Autojoin, SplitBrainLoser, TakeoverPolicy};

const ALPHA: NodeId = NodeId(0);
const BETA: NodeId = NodeId(1);
const GAMMA: NodeId = NodeId(2);
const ETH: LinkId = LinkId(0);
const TTY: LinkId = LinkId(1);
const ALPHA_UUID: Uuid = Uuid([0xa1; 16]);
const BETA_UUID: Uuid = Uuid([0xbe; 16]);
/// Generation of the first run of every peer.
const G5: Generation = Generation(5);

fn settings(names: &[&str]) -> Settings {
    let ms = Duration::from_millis;
    Settings {
        nodes: names.iter().map(|name| (*name).try_into().unwrap()).collect(),
        local: ALPHA,
        partner: Some(BETA),
        links: ["eth0", "ttyS0"].into_iter().map(|name| name.try_into().unwrap()).collect(),
        groups: heapless::Vec::new(),
        paces: heapless::Vec::new(),
        keepalive: ms(200),
        warntime: ms(500),
        deadtime: ms(1000),
        announced_extra: Duration::ZERO,
        initdead: ms(4000),
        max_rexmit_delay: ms(250),
        signing_key: KeyNumber(1),
        auto_failback: AutoFailback::Off,
        failback_delay: ms(0),
        moves_per_hour: 0,
        takeover_policy: TakeoverPolicy::Available,
        split_brain_loser: SplitBrainLoser::NotPreferred,
        upstream: crate::core::settings::UpstreamSettings::NONE,
        health: crate::core::settings::HealthSettings::NONE,
        fence: crate::core::settings::FenceSettings::NONE,
        interlock: None,
        has_owner_line: false,
        lease: None,
        config_digest: 0,
        resources_digest: 0,
        has_resources: true,
        autojoin: Autojoin::default(),
        random_seed: 1,
        is_generation_guessed: false,
    }
}

fn stamp(ms: u64) -> Stamp {
    Stamp { now: Instant::from_millis(ms), wall: u32::try_from(1_800_000_000 + ms / 1000).unwrap() }
}

/// A message of beta, generation 5, to everybody.
fn message(seq: u64, body: Body<'static>) -> Message<'static> {
    Message {
        src: "beta",
        src_uuid: Some(BETA_UUID),
        dest: None,
        dest_uuid: None,
        seq: (seq > 0).then_some(Seq(seq)),
        generation: G5,
        ts: 1_800_000_000,
        key: KeyNumber(1),
        news: None,
        compact: None,
        body,
    }
}

/// A beat of beta: active, dead time 1 s.
fn beat(seq: u64) -> Message<'static> {
    status(seq, Some(NodeStatus::Active), 1000)
}

fn status(seq: u64, status: Option<NodeStatus>, dead_ms: u32) -> Message<'static> {
    message(
        seq,
        Body::Status { status, dead_ms: Some(dead_ms), has_protocol: true, is_nullbeat: false, extension: None },
    )
}

fn extension(group_count: u8) -> Extension {
    Extension {
        version: 1,
        group_count,
        groups: [crate::core::message::GroupState::Stopped; crate::core::limits::GROUPS_MAX],
        claims: crate::core::ids::GroupSet::EMPTY,
        echo_generation: Generation(0),
        echo_seq: Seq(0),
        hears_partner: true,
        is_stable: true,
        is_held: false,
        is_yielding: false,
        is_asking: false,
        link_count: 0,
        links: [crate::core::message::LinkEcho::default(); LINKS_MAX],
        config_digest: 0,
        resources_digest: 0,
        lease_ms: 0,
        owner_line: crate::core::LineLevel::Unknown,
        health: None,
    }
}

/// One node on the bench: its communication, and what came out of it since last looked at.
struct Bench {
    comms: Comms,
    settings: Settings,
    packets: Vec<Packet>,
    events: Vec<Event>,
    told: Vec<Happening>,
    /// When ping nodes were asked.
    asked: Vec<u64>,
    /// Generations of ours that peers know and we do not.
    outrun: Vec<Generation>,
}

impl Bench {
    fn new() -> Self {
        Self::with(settings(&["alpha", "beta"]))
    }

    fn with(settings: Settings) -> Self {
        let identity = Identity { uuid: ALPHA_UUID, generation: Generation(3) };
        let comms = Comms::new(&settings, identity, stamp(0));
        let (packets, events, told, asked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { comms, settings, packets, events, told, asked, outrun: Vec::new() }
    }

    /// Two nodes that know each other: beta's statuses 1 to 3 came at 0 ms on both links; nothing left to look at.
    fn met() -> Self {
        let mut bench = Self::new();
        for seq in 1..=3 {
            bench.hear_on_both(0, beat(seq));
        }
        bench.run_to(0);
        bench.forget();
        bench
    }

    fn forget(&mut self) {
        self.packets.clear();
        self.events.clear();
        self.told.clear();
    }

    /// One input at `ms`, as `Node` does it, the beat at its end included.
    fn handle<R>(
        &mut self,
        ms: u64,
        input: impl FnOnce(&mut Comms, &Settings, Stamp, &mut Outbox, &mut Happenings) -> R,
    ) -> R {
        let (mut outbox, mut happenings) = (Outbox::new(), Happenings::new());
        let at = stamp(ms);
        let asked = self.comms.next_deadline();
        self.comms.notice_lateness(&self.settings, at, asked, &mut happenings);
        let result = input(&mut self.comms, &self.settings, at, &mut outbox, &mut happenings);
        if self.comms.is_beat_due(at) {
            let extension = self.comms.wants_extension().then(|| extension(0));
            self.comms.beat(&self.settings, at, extension.as_ref(), &mut outbox);
        } else if self.comms.is_repeat_due(at) {
            self.comms.repeat_beat(at, &extension(0), &mut outbox);
        }
        for action in &outbox {
            match action {
                Action::Transmit { packet, .. } => self.packets.push(*packet),
                Action::Event(event) => self.events.push(*event),
                Action::Ping { .. } => self.asked.push(ms),
                Action::Outrun { known } => self.outrun.push(*known),
                other => panic!("communication does not do {other:?}"),
            }
        }
        self.told.extend(happenings);
        result
    }

    fn hear(&mut self, ms: u64, link: LinkId, message: Message<'_>) -> Option<NodeId> {
        self.handle(ms, |comms, settings, at, outbox, happenings| {
            comms.receive(settings, at, link, &message, outbox, happenings)
        })
    }

    /// The same message on eth0, then on ttyS0. Returns what became of the first copy; the second goes nowhere.
    fn hear_on_both(&mut self, ms: u64, message: Message<'_>) -> Option<NodeId> {
        let first = self.hear(ms, ETH, message);
        assert_eq!(self.hear(ms, TTY, message), None, "second copy");
        first
    }

    fn tick(&mut self, ms: u64) {
        self.handle(ms, |comms, settings, at, outbox, happenings| comms.tick(settings, at, outbox, happenings));
    }

    /// A punctual driver up to and including `ms`: each deadline is served when it comes.
    fn run_to(&mut self, ms: u64) {
        for _ in 0..100_000 {
            let next = self.comms.next_deadline();
            if next > Instant::from_millis(ms) {
                return;
            }
            // Deadlines are whole milliseconds here, but for a third of the dead time.
            self.tick(next.as_micros().div_ceil(1000));
        }
        panic!("the deadline does not move on: {:?}", self.comms.next_deadline());
    }

    /// As [`Bench::run_to`], with a beat of beta on both links every 200 ms from `from`. Returns the next number.
    fn run_with_beats(&mut self, from: u64, to: u64, mut seq: u64) -> u64 {
        for ms in (from..=to).step_by(200) {
            self.run_to(ms);
            self.hear_on_both(ms, beat(seq));
            seq += 1;
        }
        self.run_to(to);
        seq
    }

    fn told(&mut self) -> Vec<Happening> {
        core::mem::take(&mut self.told)
    }

    /// Link and node events since last looked at.
    fn events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    /// What was said since last looked at, beats left out.
    fn said(&mut self) -> Vec<Body<'static>> {
        let packets = core::mem::take(&mut self.packets);
        packets.into_iter().map(|packet| packet.body).filter(|body| !matches!(body, Body::Status { .. })).collect()
    }

    /// The statuses said since last looked at.
    fn beats(&mut self) -> Vec<Packet> {
        let packets = core::mem::take(&mut self.packets);
        packets.into_iter().filter(|packet| matches!(packet.body, Body::Status { .. })).collect()
    }

    fn is_alive(&self) -> bool {
        self.comms.is_alive(BETA)
    }

    fn has_links(&self) -> (bool, bool) {
        let up = self.comms.links_up(BETA);
        (up.contains(ETH), up.contains(TTY))
    }
}

fn dead(was_heard: bool) -> Happening {
    Happening::Dead { node: BETA, was_heard }
}

fn link_event(link: LinkId, is_up: bool) -> Event {
    Event::Link { node: BETA, link, is_up }
}

fn node_event(status: NodeStatus) -> Event {
    Event::Node { node: BETA, status }
}
