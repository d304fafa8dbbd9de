//! The wire protocol of Heartbeat 3.0.6 (spec/wire.md): bytes to messages and back, both of its forms, signed.
//!
//! ```text
//!   datagram ─────────────────────┐
//!                                 ├─▶ Codec::decode ──▶ core::message::Message
//!   serial ──▶ TextStream::next ──┘
//!
//!   core::message::Packet ──▶ Codec::encode_datagram   ### netstring, signature behind the end
//!                         └─▶ Codec::encode_serial     >>> text, signature the last field
//! ```
//!
//! * A packet passes two doors. First its outer structure and its signature, over the bytes as they came; only then
//!   are its fields read. 3.0.6 does it the other way round, and one unsigned datagram can end it (spec/wire.md 3.2).
//! * Whatever arrives is taken in either form, whatever we send ourselves.
//! * Nothing here allocates, panics, or has a meaning: an odd but authentic message comes out as [`Body::Other`], so
//!   that its sequence number counts and nobody asks for it again for ever.
//! * Only the packets' bytes and the key decide: no clock, no word size, no byte order.
//!
//! ```
//! use nullbeat::core::ids::{Generation, NodeId, Seq, Uuid};
//! use nullbeat::core::message::{Body, Packet};
//! use nullbeat::core::settings::Identity;
//! use nullbeat::wire::heartbeat::{Codec, ENCODED_MAX, Keys, Method, Setup};
//!
//! let mut keys = Keys::new(1);
//! keys.add(1, Method::Sha1, b"no secret").unwrap();
//! let codec = Codec::new(Setup {
//!     keys,
//!     nodes: &["alpha".try_into().unwrap(), "beta".try_into().unwrap()],
//!     local: NodeId(0),
//!     identity: Identity { uuid: Uuid([7; 16]), generation: Generation(5) },
//!     group_keys: &["IPaddr::10.0.0.1"],
//!     hopfudge: 1,
//!     is_netstring: false,
//! })
//! .unwrap();
//!
//! let packet = Packet { to: None, seq: Some(Seq(1)), ts: 1_700_000_000, body: Body::Starting, about: None, group: None };
//! let mut bytes = [0; ENCODED_MAX];
//! let length = codec.encode_datagram(&packet, &mut bytes).unwrap();
//! let message = codec.decode(&bytes[..length], &mut []).unwrap();
//! assert_eq!((message.src, message.body), ("alpha", Body::Starting));
//! ```

mod bz2;
mod client;
mod codec;
mod compressed;
mod decode;
mod deflate;
mod encode;
mod extension;
mod fields;
mod fifo;
mod keys;
mod nested;
mod netstring;
mod ping;
mod reject;
mod relayed;
mod retell;
#[cfg(all(feature = "std", any(test, fuzzing)))]
mod sealing;
mod stream;
mod text;

pub use client::{ClientMessage, ClientText, Unfit, to_client};
pub use codec::{Codec, NEWS_MAX, Setup, SetupError};
pub use compressed::{Expanded, Expander};
pub use fifo::{FIFO_MESSAGE_MAX, FifoCounters, FifoMessage, FifoReject, FifoStream};
pub use keys::{KEYS_MAX, KeyError, Keys, Method};
pub use reject::Reject;
#[cfg(all(feature = "std", any(test, fuzzing)))]
pub(crate) use sealing::pack;
pub use stream::{StreamCounters, TextStream};

#[cfg(doc)]
use crate::core::message::Body;

/// Bytes of the longest packet that is looked at: what UDP can carry. Longer ones are [`Reject::TooLong`].
pub const PACKET_MAX: usize = 65_507;

/// Bytes in which everything fits that [`Codec`] encodes, in either form.
pub const ENCODED_MAX: usize = 8192;

/// Bytes of the longest message taken from a serial line. Everything that a daemon says itself is far below; what
/// clients send through it may be longer, but at 9600 baud this already keeps the line busy for eight seconds.
pub const TEXT_FRAME_MAX: usize = 8192;

/// Bytes of all group keys together (first words of haresources lines).
pub const GROUP_KEYS_MAX: usize = 6144;

/// `t` of [`Body::Stonith`], which no daemon but only clients and scripts read.
pub const STONITH_TYPE: &str = kind::STONITH;

/// Types of messages (`t`, spec/wire.md section 7).
mod kind {
    pub(super) const STATUS: &str = "status";
    pub(super) const ACK: &str = "NS_ackmsg";
    pub(super) const REXMIT: &str = "NS_rexmit";
    pub(super) const NAK: &str = "NS_nak_rexmit";
    pub(super) const REQ_NODES: &str = "reqnodes";
    pub(super) const REP_NODES: &str = "repnodes";
    pub(super) const ADD_NODE: &str = "addnode";
    pub(super) const DEL_NODE: &str = "delnode";
    pub(super) const SET_WEIGHT: &str = "setweight";
    pub(super) const SET_SITE: &str = "setsite";
    pub(super) const STARTING: &str = "starting";
    pub(super) const RESOURCE: &str = "resource";
    pub(super) const ASK_RESOURCES: &str = "ask_resources";
    pub(super) const TAKEOVER: &str = "hb_takeover";
    pub(super) const IP_REQUEST: &str = "ip-request";
    pub(super) const IP_REQUEST_RESP: &str = "ip-request-resp";
    pub(super) const SHUT_DONE: &str = "shutdone";
    pub(super) const STONITH: &str = "stonith";
    pub(super) const PING_COUNT: &str = "num_ping_nodes";
    pub(super) const YOU_ARE_DEAD: &str = "you_are_dead";
    pub(super) const ABORT_GIVEUP: &str = "abort_giveup";
    pub(super) const CLIENT_STATE: &str = "hbapi-clstat";
    pub(super) const CLIENT_QUERY: &str = "query-cstatus";
    pub(super) const CLIENT_ANSWER: &str = "respond-cstatus";
    /// Data of an echo.
    pub(super) const PING: &str = "NS_st";
    /// What types without sequence number begin with.
    pub(super) const UNSEQUENCED: &str = "NS_";

    /// Types that daemons understand although a program may have said them: ipfail's, and questions about programs.
    pub(super) fn is_of_clients(kind: &str) -> bool {
        matches!(kind, ASK_RESOURCES | PING_COUNT | YOU_ARE_DEAD | ABORT_GIVEUP | CLIENT_STATE | CLIENT_QUERY)
    }

    /// Types that only a daemon, or root through the FIFO, says to other daemons. What clients send to each other never
    /// has one of them.
    pub(super) fn is_of_daemons(kind: &str) -> bool {
        const OTHERS: [&str; 16] = [
            STATUS,
            REQ_NODES,
            REP_NODES,
            ADD_NODE,
            DEL_NODE,
            SET_WEIGHT,
            SET_SITE,
            STARTING,
            RESOURCE,
            ASK_RESOURCES,
            TAKEOVER,
            IP_REQUEST,
            IP_REQUEST_RESP,
            SHUT_DONE,
            STONITH,
            CLIENT_ANSWER,
        ];
        kind.starts_with(UNSEQUENCED) || kind == CLIENT_STATE || OTHERS.contains(&kind)
    }
}

/// Words inside messages (spec/resources.md section 7).
mod word {
    use crate::core::message::{NodeStatus, ResourceInfo, StandbyWord, StonithResult};

    pub(super) const FULL: &str = "full";
    pub(super) const FAILED: &str = "failed";
    pub(super) const OK: &str = "OK";
    pub(super) const FAILBACK: &str = "failback";
    pub(super) const IPFAIL: &str = "ipfail";
    pub(super) const JOIN: &str = "join";
    pub(super) const LEAVE: &str = "leave";
    pub(super) const PING: &str = "ping";
    pub(super) const TOO_LOW: &str = "seqno too low";
    pub(super) const NOT_FOUND: &str = "seqno not found";

    pub(super) const STATUSES: [NodeStatus; 4] =
        [NodeStatus::Init, NodeStatus::Up, NodeStatus::Active, NodeStatus::Dead];

    pub(super) const STANDBY: [(StandbyWord, &str); 4] = [
        (StandbyWord::Me, "me"),
        (StandbyWord::Other, "other"),
        (StandbyWord::Done, "done"),
        (StandbyWord::Not, "not"),
    ];

    pub(super) const RESOURCE: [(ResourceInfo, &str); 4] = [
        (ResourceInfo::Standby, "standby"),
        (ResourceInfo::Shutdown, "shutdown"),
        (ResourceInfo::MachDown, "mach_down"),
        (ResourceInfo::ReqOurResources, "req_our_resources()"),
    ];

    pub(super) const STONITH: [(StonithResult, &str); 5] = [
        (StonithResult::Ok, "OK"),
        (StonithResult::Bad, "bad"),
        (StonithResult::BadHost, "badhost"),
        (StonithResult::NotConfigured, "n_stnth"),
        (StonithResult::Unneeded, "unneeded"),
    ];

    /// The word for a value.
    pub(super) fn of<T: PartialEq>(table: &[(T, &'static str)], value: &T) -> Option<&'static str> {
        table.iter().find(|(other, _)| other == value).map(|(_, word)| *word)
    }

    /// The value of a word.
    pub(super) fn value<T: Copy>(table: &[(T, &'static str)], word: &[u8]) -> Option<T> {
        table.iter().find(|(_, other)| other.as_bytes() == word).map(|(value, _)| *value)
    }
}
