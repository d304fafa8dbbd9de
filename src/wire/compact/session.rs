//! One session of one link: its two keys, the numbers, what the partner has told in it.

use crc::{CRC_16_IBM_SDLC, Crc};

use super::bytes::{Reader, Writer, nearest};
use super::pages::{Ears, Heard, Mouth, Place, echo_low, has_echo};
use super::secret::{Direction, Numbers, Root, Speaker, TAG_LEN};
use super::{CRC_LEN, HEADER_LEN, Order, Reject, Telling, WINDOW, kind, pieces, words};
use crate::core::ids::{KeyNumber, Seq};
use crate::core::message::{Body, Extension};
use crate::core::planted::{Bug, is_planted};

static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// Puts the checksum of everything written behind it.
pub(super) fn put_crc(writer: &mut Writer<'_>) {
    let crc = CRC.checksum(writer.written());
    writer.put(&crc.to_be_bytes());
}

/// Whether the last two bytes are the checksum of those before.
pub(super) fn is_crc(frame: &[u8]) -> bool {
    frame.split_last_chunk().is_some_and(|(bytes, crc)| CRC.checksum(bytes).to_be_bytes() == *crc)
}

/// How far an echo may lie behind the number with which the partner began the session. The partner completes the lower half
/// that travels to the number nearest to that: far more than two calls lie apart, half of what can be told.
const ECHO_BEHIND_MAX: u64 = 1 << 14;

/// Which numbers have come.
#[derive(Debug, Clone, Copy)]
struct Window {
    highest: u64,
    /// Bit n: `highest - n` has come.
    seen: u64,
}

impl Window {
    fn place(&self, counter: u64, order: Order) -> Result<Place, Reject> {
        if counter > self.highest {
            return Ok(Place::After(counter - self.highest));
        }
        let age = self.highest - counter;
        let is_new = age < WINDOW && (self.seen >> age & 1 == 0 || is_planted(Bug::TakeFramesTwice));
        if order == Order::Loose && counter > 0 && is_new { Ok(Place::Late) } else { Err(Reject::Replayed) }
    }

    fn note(&mut self, counter: u64) {
        match counter.checked_sub(self.highest) {
            Some(gap) => {
                let moved = u32::try_from(gap).ok().and_then(|gap| self.seen.checked_shl(gap)).unwrap_or(0);
                (self.highest, self.seen) = (counter, moved | 1);
            }
            None => self.seen |= 1 << (self.highest - counter),
        }
    }
}

/// One session.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) own: Speaker,
    pub(super) partner: Speaker,
    pub(super) key: KeyNumber,
    /// We have called.
    is_caller: bool,
    sending: Direction,
    receiving: Direction,
    sent: u64,
    window: Window,
    /// The newest sequence number of the partner, and of ours that it has told.
    pub(super) seq: Seq,
    echo: u64,
    /// The lowest number of the partner that is told as an echo.
    echo_from: u64,
    pub(super) ts: u32,
    mouth: Mouth,
    ears: Ears,
    pub(super) heard: Option<Heard>,
}

/// What a frame says.
pub(super) enum Said<'b> {
    Beat {
        heard: Heard,
        news: &'b str,
    },
    Words {
        ts: u32,
        body: Body<'b>,
    },
    /// Where it stands, how long the message is, the part.
    Piece(usize, usize, &'b [u8]),
}

/// An authentic frame.
pub(super) struct Taken<'b> {
    pub(super) seq: Option<Seq>,
    pub(super) is_addressed: bool,
    pub(super) said: Said<'b>,
}

/// How a session begins.
pub(super) struct Beginning {
    pub(super) own: Speaker,
    pub(super) own_seq: Seq,
    pub(super) partner: Speaker,
    pub(super) partner_seq: Seq,
    pub(super) partner_ts: u32,
    pub(super) key: KeyNumber,
    pub(super) is_caller: bool,
}

impl Session {
    pub(super) fn new(root: &Root, with: &Beginning) -> Self {
        Self {
            own: with.own,
            partner: with.partner,
            key: with.key,
            is_caller: with.is_caller,
            sending: root.direction(&with.own, &with.partner, with.is_caller),
            receiving: root.direction(&with.partner, &with.own, !with.is_caller),
            sent: 0,
            window: Window { highest: 0, seen: 0 },
            seq: with.partner_seq,
            echo: with.own_seq.0,
            echo_from: with.partner_seq.0.saturating_sub(ECHO_BEHIND_MAX),
            ts: with.partner_ts,
            mouth: Mouth::new(),
            ears: Ears::new(),
            heard: None,
        }
    }

    /// Under what address the partner speaks to us here.
    pub(super) const fn address(&self) -> u8 {
        self.own.nonce[0]
    }

    /// Whether the first byte of a frame is as this side writes it.
    pub(super) const fn is_own(&self, first: u8) -> bool {
        (first & kind::FROM_ANSWERER == 0) == self.is_caller
    }

    fn begin(&mut self, writer: &mut Writer<'_>, first: u8, seq: Seq) {
        self.sent += 1;
        let direction = if self.is_caller { 0 } else { kind::FROM_ANSWERER };
        writer.put(&[first | direction, self.partner.nonce[0]]);
        writer.put_low(self.sent);
        writer.put_low(seq.0);
    }

    fn end(&self, mut writer: Writer<'_>, seq: Seq, echo: u64) -> Option<usize> {
        let numbers = Numbers { counter: self.sent, seq: seq.0, echo };
        let tag = self.sending.tag(writer.written(), &numbers);
        writer.put(&tag);
        put_crc(&mut writer);
        writer.len()
    }

    /// The echo, when it is of this session's partner, and not from before an outage so long that the lower half of it would
    /// be taken for that of another number: the digest would never fit, and no session ever begin.
    fn echo_of(&self, telling: &Telling) -> Option<u64> {
        let Extension { echo_generation, echo_seq: Seq(echo), .. } = telling.extension;
        (echo_generation == self.partner.generation && echo >= self.echo_from).then_some(echo)
    }

    /// Writes a beat.
    pub(super) fn beat(&mut self, seq: Seq, telling: &Telling, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let echo = self.echo_of(telling);
        self.begin(&mut writer, kind::BEAT, seq);
        self.mouth.beat(telling, echo, &mut writer);
        self.end(writer, seq, echo.unwrap_or(0))
    }

    /// Writes a beat with all pages, and news.
    pub(super) fn all(&mut self, seq: Seq, telling: &Telling, news: &str, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let echo = self.echo_of(telling);
        self.begin(&mut writer, kind::ALL, seq);
        self.mouth.all(telling, echo, news, &mut writer);
        self.end(writer, seq, echo.unwrap_or(0))
    }

    /// Writes news and no page.
    pub(super) fn news(&mut self, seq: Seq, telling: &Telling, news: &str, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let echo = self.echo_of(telling);
        self.begin(&mut writer, kind::ALL, seq);
        self.mouth.news(telling, echo, news, &mut writer);
        self.end(writer, seq, echo.unwrap_or(0))
    }

    pub(super) fn fits_beat(&self, telling: &Telling) -> bool {
        self.mouth.fits_beat(telling)
    }

    /// Writes any other message of the kind `kind`, which is that of its body.
    pub(super) fn words(
        &mut self,
        (kind, is_addressed): (u8, bool),
        (seq, ts): (Seq, u32),
        body: &Body<'_>,
        out: &mut [u8],
    ) -> Option<usize> {
        let mut writer = Writer::new(out);
        self.begin(&mut writer, kind | if is_addressed { kind::ADDRESSED } else { 0 }, seq);
        writer.put_u32(ts);
        words::write(body, &mut writer);
        self.end(writer, seq, 0)
    }

    /// Writes a part of a client's message.
    pub(super) fn piece(&mut self, seq: Seq, place: (usize, usize), bytes: &[u8], out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        self.begin(&mut writer, kind::PIECE, seq);
        pieces::write(place, bytes, &mut writer)?;
        self.end(writer, seq, 0)
    }

    /// Writes anything.
    #[cfg(all(feature = "std", any(test, fuzzing)))]
    pub(super) fn seal(&mut self, first: u8, payload: &[u8], echo: u64, mut writer: Writer<'_>) -> Option<usize> {
        let is_numbered = !words::is_unsequenced(first & kind::MASK);
        let seq = if is_numbered { Seq(self.sent + 1) } else { Seq(0) };
        self.begin(&mut writer, first & !kind::FROM_ANSWERER, seq);
        writer.put(payload);
        self.end(writer, seq, echo)
    }

    /// The number to which the lower halves of echoes are added.
    #[cfg(all(feature = "std", any(test, fuzzing)))]
    pub(super) const fn echo_base(&self) -> u64 {
        self.echo
    }

    /// Takes a frame whose checksum, address and direction are right.
    pub(super) fn take<'b>(&mut self, frame: &'b [u8], order: Order) -> Result<Taken<'b>, Reject> {
        let end =
            frame.len().checked_sub(TAG_LEN + CRC_LEN).filter(|end| *end >= HEADER_LEN).ok_or(Reject::TooShort)?;
        let (bytes, rest) = frame.split_at(end);
        let mut reader = Reader(bytes);
        let [first, _] = reader.array().ok_or(Reject::TooShort)?;
        let counter_low = reader.u16().ok_or(Reject::TooShort)?;
        let seq_low = reader.u16().ok_or(Reject::TooShort)?;
        let kind = first & kind::MASK;
        let is_beat = matches!(kind, kind::BEAT | kind::ALL);
        let is_unsequenced = words::is_unsequenced(kind);
        let echo = match echo_low(reader.0) {
            Some(low) if is_beat && has_echo(reader.0) => nearest(self.echo, low),
            _ => 0,
        };
        let counter = nearest(self.window.highest, counter_low);
        let seq = if is_unsequenced { 0 } else { nearest(self.seq.0, seq_low) };
        let place = self.window.place(counter, order)?;
        let tag = rest.get(..TAG_LEN).unwrap_or_default();
        if !self.receiving.is_tag(bytes, &Numbers { counter, seq, echo }, tag) {
            return Err(Reject::BadTag);
        }
        self.window.note(counter);
        // Said once more, for who has lost it: what its sender tells today is not what it told then.
        let is_again = is_beat && seq < self.seq.0;
        if place != Place::Late {
            self.seq = self.seq.max(Seq(seq));
            self.echo = self.echo.max(echo);
        }
        let said = match kind {
            _ if is_beat => self.hear(kind, reader.0, (echo, is_again), place),
            kind::PIECE => pieces::read(reader.0).map(|(at, total, bytes)| Said::Piece(at, total, bytes)),
            _ => self.read(kind, &mut reader),
        };
        let Some(said) = said else {
            // What it would have changed is not known.
            self.ears = Ears::new();
            return Err(Reject::Malformed);
        };
        let seq = if is_unsequenced { None } else { Some(Seq(seq)) };
        Ok(Taken { seq, is_addressed: first & kind::ADDRESSED != 0, said })
    }

    fn read<'b>(&mut self, kind: u8, reader: &mut Reader<'b>) -> Option<Said<'b>> {
        let ts = reader.u32().filter(|ts| *ts != 0)?;
        self.ts = ts;
        Some(Said::Words { ts, body: words::read(kind, reader.0)? })
    }

    fn hear<'b>(
        &mut self,
        kind: u8,
        payload: &'b [u8],
        (echo, is_again): (u64, bool),
        place: Place,
    ) -> Option<Said<'b>> {
        let echo = (self.own.generation, echo);
        let (mut heard, news) = if kind == kind::BEAT {
            (self.ears.beat(payload, echo, place)?, "")
        } else {
            self.ears.all(payload, echo, place)?
        };
        if is_again {
            heard.extension = None;
        }
        self.heard = Some(heard);
        self.ts = heard.ts.unwrap_or(self.ts);
        Some(Said::Beat { heard, news })
    }
}
