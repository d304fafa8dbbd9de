//! What the world drives: the real node, or any other model of one.

use std::cell::RefCell;

use super::lease::Fencing;
use crate::core::ids::{Generation, GroupSet, KeyNumber, Uuid};
use crate::core::message::{Body, Message, Packet};
use crate::core::ownership::FenceStage;
use crate::core::settings::{Carried, CarriedHandover, CarriedPartner, GroupHealth, Identity, Settings};
use crate::core::time::{Instant, Stamp};
use crate::core::{Action, Input, Node};
use crate::wire::heartbeat::{Codec, ENCODED_MAX, Keys, Method, Setup};

/// The core's contract (see [`crate::core`]) as a seam, so that another behaviour can sit on a board, such as a model
/// of Heartbeat or a liar for the oracle's own tests.
pub trait Brain {
    /// Takes one input.
    fn handle(&mut self, at: Stamp, input: Input<'_>);
    /// The next thing to do.
    fn poll_action(&mut self) -> Option<Action>;
    /// When to call again at the latest.
    fn poll_timeout(&mut self) -> Option<Instant>;
    /// Which groups it claims, for the lease.
    fn claims(&self) -> GroupSet;
    /// What its successor shall know of the partner.
    fn known_partner(&self) -> Option<CarriedPartner>;
    /// What its successor shall know of fencing.
    fn fencing(&self) -> Fencing;
    /// What its successor shall know of each group's health.
    fn health_records(&self) -> &[GroupHealth];
    /// Whether the board's watchdog may be kicked.
    fn may_kick(&self, now: Instant) -> bool;
    /// Until when its lease allows kicks, for its successor.
    fn kicks_until(&self) -> Option<Instant>;
    /// Which groups go home by themselves, for its successor.
    fn guests(&self) -> GroupSet;
    /// The hand-over that is under way, and whether it yields, for its successor.
    fn unfinished(&self) -> (Option<CarriedHandover>, bool);
    /// Which lines it does not believe, for its successor.
    fn stuck_lines(&self) -> u8;
}

/// Makes the brain of a daemon that starts.
pub type Maker = fn(Settings, Identity, Option<Carried>, Stamp) -> Box<dyn Brain>;

/// Makes the real one.
pub fn real(settings: Settings, identity: Identity, carried: Option<Carried>, at: Stamp) -> Box<dyn Brain> {
    Box::new(Node::new(settings, identity, carried, at))
}

impl Brain for Node {
    fn handle(&mut self, at: Stamp, input: Input<'_>) {
        Self::handle(self, at, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        Self::poll_action(self)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        Some(Self::poll_timeout(self))
    }

    fn claims(&self) -> GroupSet {
        self.ownership().claims_to_carry()
    }

    fn known_partner(&self) -> Option<CarriedPartner> {
        Self::known_partner(self)
    }

    fn fencing(&self) -> Fencing {
        let fence = self.ownership().fence();
        let shot = match fence.stage() {
            FenceStage::Shooting { shot, method, generation, .. } => Some((shot, method, generation)),
            _ => None,
        };
        Fencing { confirmed: fence.confirmed(), shot, turns_from: fence.turns_from(), memory: fence.memory() }
    }

    fn health_records(&self) -> &[GroupHealth] {
        self.ownership().health_records()
    }

    fn may_kick(&self, now: Instant) -> bool {
        Self::may_kick(self, now)
    }

    fn kicks_until(&self) -> Option<Instant> {
        Self::kicks_until(self)
    }

    fn guests(&self) -> GroupSet {
        self.ownership().guests()
    }

    fn unfinished(&self) -> (Option<CarriedHandover>, bool) {
        (self.open_handover(), self.ownership().is_yielding())
    }

    fn stuck_lines(&self) -> u8 {
        self.ownership().alarms().stuck_lines
    }
}

/// A node's encoder and decoder, signing with SHA-1.
pub fn codec(settings: &Settings, identity: Identity, names: &Names) -> Codec {
    let mut keys = Keys::new(1);
    keys.add(1, Method::Sha1, b"a key for the simulator").expect("a good key");
    let group_keys: Vec<&str> = names.keys.iter().map(String::as_str).collect();
    let setup = Setup {
        keys,
        nodes: &settings.nodes,
        local: settings.local,
        identity,
        group_keys: &group_keys,
        hopfudge: 1,
        is_netstring: false,
    };
    Codec::new(setup).expect("a good cluster")
}

/// What `codec` makes of a packet, as a datagram and for a serial line; empty for a form that is not `wanted`.
pub fn encode(codec: &Codec, packet: &Packet, wanted: [bool; 2]) -> Option<[Vec<u8>; 2]> {
    // Zeroed once in a thread, not for each message.
    thread_local! {
        static OUT: RefCell<[u8; ENCODED_MAX]> = const { RefCell::new([0; ENCODED_MAX]) };
    }
    OUT.with_borrow_mut(|out| encode_into(codec, packet, wanted, out))
}

fn encode_into(codec: &Codec, packet: &Packet, wanted: [bool; 2], out: &mut [u8]) -> Option<[Vec<u8>; 2]> {
    let mut forms = [const { Vec::new() }; 2];
    if wanted[0] {
        let len = codec.encode_datagram(packet, out)?;
        forms[0] = out[..len].to_vec();
    }
    if wanted[1] {
        let len = codec.encode_serial(packet, out)?;
        forms[1] = out[..len].to_vec();
    }
    Some(forms)
}

/// Text that messages carry and packets do not.
#[derive(Debug, Clone)]
pub struct Names {
    /// Node names.
    pub nodes: Vec<String>,
    /// All of them, each followed by a blank.
    pub list: String,
    /// Keys of the groups.
    pub keys: Vec<String>,
}

impl Names {
    /// Names for so many nodes and groups.
    pub fn new(nodes: usize, groups: usize) -> Self {
        let nodes: Vec<String> = ["alpha", "beta", "gamma", "delta"][..nodes].iter().map(|n| (*n).to_owned()).collect();
        let list = nodes.iter().map(|node| format!("{node} ")).collect();
        Self { nodes, list, keys: (0..groups).map(|group| format!("10.0.0.{}", group + 1)).collect() }
    }
}

/// A message on its way: what was sent, by whom.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Sender.
    pub src: usize,
    /// Sender's generation.
    pub generation: Generation,
    /// Sender's uuid.
    pub uuid: Uuid,
    /// When it left, true time.
    pub sent_at: u64,
    /// What it said.
    pub packet: Packet,
    /// The same in bytes, as a datagram and for a serial line, when the run uses the real encoder.
    pub bytes: Option<[Vec<u8>; 2]>,
}

impl Letter {
    /// What the receiver's decoder would make of it.
    pub fn open<'a>(&'a self, names: &'a Names) -> Message<'a> {
        let node = |index: usize| names.nodes[index].as_str();
        let key = self.packet.group.map_or("", |group| names.keys[usize::from(group.0)].as_str());
        let mut message = Message {
            src: node(self.src),
            src_uuid: Some(self.uuid),
            dest: self.packet.to.map(|to| node(usize::from(to.0))),
            dest_uuid: None,
            seq: self.packet.seq,
            generation: self.generation,
            ts: self.packet.ts.max(1),
            key: KeyNumber(1),
            news: None,
            compact: None,
            body: self.packet.body,
        };
        match &mut message.body {
            Body::RepNodes { nodes, deleted } => (*nodes, *deleted) = (&names.list, " "),
            Body::Stonith { node: about, .. } => {
                *about = self.packet.about.map_or("", |about| node(usize::from(about.0)));
            }
            Body::IpRequest { key: named, group } | Body::IpRequestResp { key: named, group, .. } => {
                (*named, *group) = (key, self.packet.group);
            }
            _ => {}
        }
        message
    }

    /// Takes out what only a nullbeat says.
    pub fn strip(&mut self) {
        match &mut self.packet.body {
            Body::Status { is_nullbeat, extension, .. } => (*is_nullbeat, *extension) = (false, None),
            Body::AskResources { only, after_failure, .. } => {
                *only = None;
                *after_failure = false;
            }
            _ => {}
        }
    }

    /// About how many bytes it has on a line: with the digests of spec/wire.md.
    pub fn size(&self, is_serial: bool) -> usize {
        let typical = match self.packet.body {
            Body::Status { extension: Some(_), .. } => 400,
            Body::Status { .. } => 190,
            _ => 230,
        };
        self.bytes.as_ref().map_or(typical, |forms| forms[usize::from(is_serial)].len())
    }
}
