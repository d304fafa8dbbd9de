//! The compact format: what two nullbeats say to each other where Heartbeat's 200 bytes of text are too slow. A beat is
//! [`BEAT_LINE_LEN`] bytes on a serial line, delimiters and digest included: 29 ms at 9600 baud. The whole format, its
//! state machine and what it holds out against: `docs/protocol.md`.
//!
//! ```text
//!   serial ──▶ LineStream::next ──┐
//!                                 ├─▶ Link::receive ──▶ core::message::Message, or a reply to send
//!   datagram ─────────────────────┘
//!
//!   Link::call, Link::beat, Link::tell_all, Link::say ──┬─▶ datagram
//!                                                       └─▶ to_line ──▶ serial
//! ```
//!
//! * A frame passes four doors, the cheap ones first: the checksum; who speaks and in which session; the number, which
//!   must be new; the digest. Only then anything in it is read, and only then anything is remembered.
//! * A session is one link's, and begins with a random nonce of each side. Its keys, one for each direction, depend on
//!   both nonces: what was recorded in another session, on another link, or came from ourselves never fits.
//! * No clock, no allocation, no panic: random bytes and the moments to call, or to beat, are the caller's.
//!
//! ```
//! use nullbeat::core::ids::{Generation, KeyNumber, Seq, Uuid};
//! use nullbeat::core::settings::Identity;
//! use nullbeat::wire::compact::{BODY_MAX, Link, Order, Received, Secrets, Setup, Telling};
//!
//! let mut secrets = Secrets::new(KeyNumber(1));
//! secrets.add(KeyNumber(1), b"no secret");
//! let link = |name: &str, partner: &str, byte| Link::new(Setup {
//!     secrets: secrets.clone(),
//!     identity: Identity { uuid: Uuid([byte; 16]), generation: Generation(5) },
//!     name: name.try_into().unwrap(),
//!     partner: partner.try_into().unwrap(),
//!     seed: [byte; 32], // 32 random bytes
//!     order: Order::Kept,
//! });
//! let (mut alpha, mut beta) = (link("alpha", "beta", 1), link("beta", "alpha", 2));
//!
//! let (mut there, mut back) = ([0; BODY_MAX], [0; BODY_MAX]);
//! let len = alpha.call(Seq(7), 1_700_000_000, &mut there).unwrap();
//! let Ok(Received::Reply(len)) = beta.receive(&there[..len], Seq(3), 1_700_000_000, &mut back) else { panic!() };
//! assert!(matches!(alpha.receive(&back[..len], Seq(7), 1_700_000_000, &mut there), Ok(Received::Opened)));
//!
//! let len = alpha.beat(Seq(8), &Telling::default(), &mut there).unwrap();
//! let Ok(Received::Message(message)) = beta.receive(&there[..len], Seq(3), 1_700_000_000, &mut back) else { panic!() };
//! assert_eq!((message.src, message.seq, len), ("alpha", Some(Seq(8)), 25));
//! ```

mod bytes;
mod end;
mod hello;
mod line;
mod link;
mod pages;
mod pieces;
mod reject;
#[cfg(all(feature = "std", any(test, fuzzing)))]
mod sealing;
mod secret;
mod session;
mod words;

pub use end::{CompactEnd, LineRoom, Speaker, Speech, TextNote};
pub use line::{LINE_MAX, LINE_MIN, LINE_OVERHEAD, LineCounters, LineStream, to_line};
pub use link::{Link, Order, Received, Setup, Unsaid};
pub use pages::Telling;
pub use pieces::{PIECED_MAX, PIECES_MAX, Piece};
pub use reject::Reject;
pub use secret::{HELLO_TAG_LEN, Secrets, TAG_LEN};

/// Version of the format, told in calls and answers.
pub const VERSION: u8 = 1;

/// Bytes of the longest frame, without what a serial line adds.
pub const BODY_MAX: usize = 250;

/// Bytes of a beat, without what a serial line adds.
pub const BEAT_LEN: usize = HEADER_LEN + pages::BEAT_PAYLOAD_LEN + TAG_LEN + CRC_LEN;

/// Bytes of news for the history beside their text.
pub const NEWS_OVERHEAD: usize = HEADER_LEN + pages::FAST_LEN + 1 + TAG_LEN + CRC_LEN;

/// Bytes of a beat on a serial line.
pub const BEAT_LINE_LEN: usize = BEAT_LEN + LINE_OVERHEAD;

/// Numbers behind the newest one in which a frame may still arrive, where frames overtake each other.
pub const WINDOW: u64 = 64;

const _: () = assert!(BEAT_LINE_LEN == 28, "the beat of docs/protocol.md");
const _: () = assert!(BODY_MAX < 254, "stuffing adds one byte");

/// Random bytes of one side for one session. The first one is the address under which that side is spoken to.
pub type Nonce = [u8; 16];

/// Kind, address, counter, sequence number.
const HEADER_LEN: usize = 6;
/// Of the checksum at the end.
const CRC_LEN: usize = 2;

/// The wall clock, in front of the payload of everything but beats and pieces.
const WALL_LEN: usize = 4;

/// The lowest bits of the first byte.
mod kind {
    pub(super) const CALL: u8 = 1;
    pub(super) const ANSWER: u8 = 2;
    pub(super) const BEAT: u8 = 3;
    pub(super) const ALL: u8 = 4;
    pub(super) const ACK: u8 = 8;
    pub(super) const REXMIT: u8 = 9;
    pub(super) const NAK: u8 = 10;
    pub(super) const REQ_NODES: u8 = 11;
    pub(super) const REP_NODES: u8 = 12;
    pub(super) const ADD_NODES: u8 = 13;
    pub(super) const DEL_NODES: u8 = 14;
    pub(super) const SET_WEIGHT: u8 = 15;
    pub(super) const SET_SITE: u8 = 16;
    pub(super) const STARTING: u8 = 17;
    pub(super) const RESOURCE: u8 = 18;
    pub(super) const ASK_RESOURCES: u8 = 19;
    pub(super) const TAKEOVER: u8 = 20;
    pub(super) const IP_REQUEST: u8 = 21;
    pub(super) const IP_REQUEST_RESP: u8 = 22;
    pub(super) const SHUT_DONE: u8 = 23;
    pub(super) const STONITH: u8 = 24;
    pub(super) const IPFAIL: u8 = 25;
    pub(super) const CLIENT_QUERY: u8 = 26;
    pub(super) const CLIENT_ANSWER: u8 = 27;
    pub(super) const PIECE: u8 = 28;

    /// Of the first byte: which of these.
    pub(super) const MASK: u8 = 0x1f;
    /// Always zero: `#` and `>`, with which Heartbeat's messages begin, have it.
    pub(super) const RESERVED: u8 = 0x20;
    /// For the addressee only; else for everybody.
    pub(super) const ADDRESSED: u8 = 0x40;
    /// From the side that has answered the call to the one that has called.
    pub(super) const FROM_ANSWERER: u8 = 0x80;
}
