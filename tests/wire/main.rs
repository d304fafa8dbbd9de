//! Heartbeat's wire protocol from outside: captured packets, round trips, everything that must be refused.

mod captured;
mod compressed;
mod fields;
mod keys;
mod mutations;
mod round_trips;
mod serial_noise;

use nullbeat::core::ids::{Generation, NodeId, NodeName, Seq, Uuid};
use nullbeat::core::message::{Body, Message, Packet};
use nullbeat::core::settings::Identity;
use nullbeat::wire::heartbeat::{Codec, ENCODED_MAX, Keys, Method, Reject, Setup};

const ALPHA: NodeId = NodeId(0);
const BETA: NodeId = NodeId(1);
/// Uuids of the two nodes in spec/wire.md 4.6.
const UUIDS: [Uuid; 2] = [
    Uuid(0x5d8b_f211_e1bc_459f_b1c4_9b20_0d17_e764_u128.to_be_bytes()),
    Uuid(0x17fd_1f17_9037_4d25_b5c5_50e1_37ba_6303_u128.to_be_bytes()),
];
const GROUP_KEYS: [&str; 3] = ["IPaddr::10.0.0.1", "trace::ga::x1", "apache"];

/// A node of the two, with one key.
#[derive(Clone, Copy)]
struct Node {
    id: NodeId,
    generation: u32,
    key: (u8, Method, &'static str),
    is_netstring: bool,
}

impl Node {
    const fn new(id: NodeId, key: (u8, Method, &'static str)) -> Self {
        Self { id, generation: 0x6b03_1868, key, is_netstring: false }
    }

    /// Its codec; it knows the other node's uuid.
    fn codec(self) -> Codec {
        let (number, method, key) = self.key;
        let mut keys = Keys::new(number);
        keys.add(number, method, key.as_bytes()).unwrap();
        self.codec_with(keys)
    }

    fn codec_with(self, keys: Keys) -> Codec {
        let nodes: [NodeName; 2] = ["alpha".try_into().unwrap(), "beta".try_into().unwrap()];
        let identity = Identity { uuid: UUIDS[usize::from(self.id.0)], generation: Generation(self.generation) };
        let mut codec = Codec::new(Setup {
            keys,
            nodes: &nodes,
            local: self.id,
            identity,
            group_keys: &GROUP_KEYS,
            hopfudge: 1,
            is_netstring: self.is_netstring,
        })
        .unwrap();
        for (id, uuid) in [ALPHA, BETA].into_iter().zip(UUIDS) {
            codec.set_uuid(id, uuid);
        }
        codec
    }
}

fn packet(to: Option<NodeId>, seq: Option<u64>, body: Body<'static>) -> Packet {
    Packet { to, seq: seq.map(Seq), ts: 0x6b03_1869, body, about: None, group: None }
}

fn datagram(codec: &Codec, packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![0; ENCODED_MAX];
    let length = codec.encode_datagram(packet, &mut bytes).expect("encodes");
    bytes.truncate(length);
    bytes
}

fn serial(codec: &Codec, packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![0; ENCODED_MAX];
    let length = codec.encode_serial(packet, &mut bytes).expect("encodes");
    bytes.truncate(length);
    bytes
}

/// Decodes and looks at the message while it is there.
fn decode<T>(codec: &Codec, bytes: &[u8], look: impl FnOnce(&Message<'_>) -> T) -> Result<T, Reject> {
    let mut scratch = vec![0; bytes.len()];
    codec.decode(bytes, &mut scratch).map(|message| look(&message))
}

fn reject(codec: &Codec, bytes: &[u8]) -> Option<Reject> {
    decode(codec, bytes, |_| ()).err()
}

/// A small deterministic source of numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}
