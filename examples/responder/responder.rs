//! The responder itself: bytes in, bytes out, a clock in milliseconds from outside.

use nullbeat::core::ids::{Generation, KeyNumber, NodeName, Seq, Uuid};
use nullbeat::core::message::{Body, Extension, NodeStatus};
use nullbeat::core::settings::Identity;
use nullbeat::wire::compact::{
    BODY_MAX, LINE_MAX, LineStream, Link, Order, Received, Secrets, Setup, Telling, to_line,
};

/// What the responder announces as its own dead time, milliseconds.
const DEAD_MS: u32 = 1000;
/// It has no wall clock: messages need one that is not zero.
const TS: u32 = 1;

/// What is different on each board; to be kept where a reset does not reach.
pub(crate) struct Provision<'a> {
    /// The key of authkeys, and its number.
    pub(crate) secret: &'a [u8],
    /// Its number there.
    pub(crate) number: u8,
    /// Of this microcontroller.
    pub(crate) uuid: [u8; 16],
    /// Grows by one with each start: a page of flash, or a backup register.
    pub(crate) generation: u32,
    /// Random with each start.
    pub(crate) seed: [u8; 32],
}

/// A node that holds nothing, and answers each beat with one.
pub(crate) struct Responder {
    link: Link,
    stream: LineStream,
    seq: Seq,
    /// When the board's last beat came, and after how long a silence it is dead.
    heard: Option<(u32, u32)>,
}

impl Responder {
    /// Named `name`, for the board that is named `board`. `None`: a name is too long, or there is no secret.
    pub(crate) fn new(name: &str, board: &str, provision: &Provision<'_>) -> Option<Self> {
        let mut secrets = Secrets::new(KeyNumber(provision.number));
        if !secrets.add(KeyNumber(provision.number), provision.secret) {
            return None;
        }
        let setup = Setup {
            secrets,
            identity: Identity { uuid: Uuid(provision.uuid), generation: Generation(provision.generation) },
            name: NodeName::try_from(name).ok()?,
            partner: NodeName::try_from(board).ok()?,
            seed: provision.seed,
            order: Order::Kept,
        };
        let (link, stream) = (Link::new(setup), LineStream::new());
        Some(Self { link, stream, seq: Seq(0), heard: None })
    }

    /// One byte from the line. Returns how many bytes of `out` are to be sent.
    pub(crate) fn byte(&mut self, now_ms: u32, byte: u8, out: &mut [u8; LINE_MAX]) -> usize {
        let mut bytes = &[byte][..];
        let Some(frame) = self.stream.next(&mut bytes) else { return 0 };
        let mut reply = [0; BODY_MAX];
        let heard = match self.link.receive(frame, self.seq, TS, &mut reply) {
            // A call: somebody wants to speak with us.
            Ok(Received::Reply(len)) => return reply.get(..len).and_then(|reply| to_line(reply, out)).unwrap_or(0),
            Ok(Received::Message(message)) => match (message.body, message.seq) {
                (Body::Status { dead_ms, .. }, Some(seq)) => (message.generation, seq, dead_ms),
                _ => return 0,
            },
            Ok(Received::Opened | Received::Piece(_)) | Err(_) => return 0,
        };
        self.answer(now_ms, heard, out)
    }

    fn answer(
        &mut self,
        now_ms: u32,
        (generation, seq, dead_ms): (Generation, Seq, Option<u32>),
        out: &mut [u8; LINE_MAX],
    ) -> usize {
        let last = self.heard.map_or(DEAD_MS, |(_, dead_ms)| dead_ms);
        self.heard = Some((now_ms, dead_ms.unwrap_or(last)));
        self.seq.0 += 1;
        let extension = Extension {
            echo_generation: generation,
            echo_seq: seq,
            hears_partner: true,
            is_stable: true,
            ..Extension::EMPTY
        };
        let telling =
            Telling { status: Some(NodeStatus::Up), dead_ms: DEAD_MS, ts: TS, extension, ..Telling::default() };
        let mut frame = [0; BODY_MAX];
        let len = self.link.beat(self.seq, &telling, &mut frame).unwrap_or(0);
        frame.get(..len).and_then(|frame| to_line(frame, out)).unwrap_or(0)
    }

    /// Whether the board has been silent for its own dead time, after it had been heard. What to do then, a reset for
    /// example, is the firmware's business.
    pub(crate) fn is_board_silent(&self, now_ms: u32) -> bool {
        self.heard.is_some_and(|(at, dead_ms)| now_ms.wrapping_sub(at) > dead_ms)
    }
}
