//! One link's end of the compact format: when it is spoken, when Heartbeat's messages, when both.
//!
//! ```text
//!                     session open             a beat of the partner's in it
//!   Heartbeat's text ─────────────▶ both ─────────────────────────────────▶ compact
//!          ▲                         │  ▲   no frame for the dead time          │
//!          │                         │  └───────────────────────────────────────┤
//!          └─────────────────────────┴──────────────────────────────────────────┘
//!              a status of a higher generation, signed with a secret
//! ```
//!
//! Neither a lost frame nor a forged one costs a beat: text stops only when the partner is heard in the new format, which
//! shows that it has understood the answer, and comes back by itself.

use super::pieces::{Assembly, PIECE_LEAST, PIECE_MIN, PIECE_OVERHEAD, Trickle};
use super::{
    BODY_MAX, LINE_OVERHEAD, LineStream, Link, NEWS_OVERHEAD, Order, Received, Reject, Secrets, Setup, Telling, Unsaid,
    VERSION,
};
use crate::core::ids::{Generation, KeyNumber, NodeName, Seq};
use crate::core::message::{Body, Message};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::Identity;
use crate::core::time::{Duration, Instant};

/// Pauses between two calls: the first one, less where the dead time is short, doubled each time up to the last one.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The first one is this part of the dead time at the most, so that a call which is lost is said again in time: an engine that
/// replaces another one has half of the dead time to be heard.
const PAUSES_IN_PATIENCE: u32 = 8;
const PAUSE_MAX: Duration = Duration::from_millis(1600);

/// What is said on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// Nothing but calls: `protocol compact`, and no session.
    Calls,
    /// Heartbeat's messages.
    Heartbeat,
    /// Heartbeat's messages and compact frames.
    Both,
    /// Compact frames.
    Compact,
}

impl Speech {
    /// For `links`: `calling`, `heartbeat`, `both`, `compact`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Calls => "calling",
            Self::Heartbeat => "heartbeat",
            Self::Both => "both",
            Self::Compact => "compact",
        }
    }
}

/// What a status in Heartbeat's format tells of its sender's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextNote {
    /// Of the sender's run.
    pub generation: Generation,
    /// That has signed it.
    pub key: KeyNumber,
    /// It speaks the compact format.
    pub is_offering: bool,
}

impl TextNote {
    /// Of an authentic message.
    pub const fn of(message: &Message<'_>) -> Option<Self> {
        if !matches!(message.body, Body::Status { .. }) {
            return None;
        }
        let is_offering = matches!(message.compact, Some(VERSION));
        Some(Self { generation: message.generation, key: message.key, is_offering })
    }
}

/// What all links of this node have in common.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// Of authkeys.
    pub secrets: Secrets,
    /// Of this run.
    pub identity: Identity,
    /// Our name.
    pub name: NodeName,
    /// The only node that is spoken with.
    pub partner: NodeName,
    /// Nothing but this format is said or taken.
    pub is_strict: bool,
    /// The dead time: silence in a session after which text is said as well.
    pub patience: Duration,
}

/// What a serial line has room for.
#[derive(Debug, Clone, Copy)]
pub struct LineRoom {
    /// Bytes of the longest frame behind which a beat comes in time, and that leaves together with a beat before another is due.
    pub frame: usize,
    /// Bytes that it carries beside a beat from one beat to the next.
    pub rest: usize,
    /// What a call, its answer and the beat behind that take on it: no call is repeated before.
    pub session: Duration,
}

/// One link's end.
pub struct CompactEnd {
    link: Link,
    /// Of a serial line.
    stream: Option<LineStream>,
    /// Nothing but this format.
    is_strict: bool,
    /// The partner has said that it speaks it, in a signed message of its present run.
    is_offered: bool,
    /// Silence in the session after which text is said as well.
    patience: Duration,
    /// When the last frame of the session came, or it was opened.
    heard: Option<Instant>,
    /// A beat has come in the session.
    is_sure: bool,
    call_at: Instant,
    pause: Duration,
    first_pause: Duration,
    /// Bytes of a serial line that were frames taken.
    line_bytes: u64,
    /// Bytes of the longest frame behind which a beat still comes in time.
    room: usize,
    /// The same where beats follow on each other.
    rest: usize,
    /// Of the partner, in a signed status: older ones are recordings.
    newest: Generation,
    /// What a client of the partner's says, as far as it has come.
    assembly: Assembly,
    /// What a client of ours says, on a line that has no room for it.
    trickle: Trickle,
}

impl core::fmt::Debug for CompactEnd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CompactEnd {{ is_open: {}, is_sure: {} }}", self.link.is_open(), self.is_sure)
    }
}

impl CompactEnd {
    /// An end that has not said anything. `seed`: random bytes, others for each link and each start. `line`: of a serial
    /// one.
    pub fn new(speaker: &Speaker, seed: [u8; 32], line: Option<LineRoom>, now: Instant) -> Self {
        let link = Link::new(Setup {
            secrets: speaker.secrets.clone(),
            identity: speaker.identity,
            name: speaker.name.clone(),
            partner: speaker.partner.clone(),
            seed,
            // On a serial line, too: a beat overtakes what still waits to be written.
            order: Order::Loose,
        });
        let first_pause = PAUSE_MIN.min(speaker.patience / PAUSES_IN_PATIENCE);
        // A call that comes while the first one is being answered is answered, too, and stands before beats then.
        let first_pause = first_pause.max(line.map_or(Duration::ZERO, |line| line.session));
        let frame = |bytes: usize| bytes.saturating_sub(LINE_OVERHEAD);
        Self {
            link,
            stream: line.map(|_| LineStream::new()),
            is_strict: speaker.is_strict,
            is_offered: false,
            patience: speaker.patience,
            heard: None,
            is_sure: false,
            call_at: now,
            pause: first_pause,
            first_pause,
            line_bytes: 0,
            room: line.map_or(BODY_MAX, |room| frame(room.frame)),
            rest: line.map_or(BODY_MAX, |room| frame(room.rest)),
            newest: Generation(0),
            assembly: Assembly::new(),
            trickle: Trickle::new(),
        }
    }

    /// What is to be said now.
    pub fn speech(&self, now: Instant) -> Speech {
        match (self.link.is_open(), self.is_strict) {
            (false, true) => Speech::Calls,
            (false, false) => Speech::Heartbeat,
            (true, true) => Speech::Compact,
            (true, false) if self.is_sure && !self.is_silent(now) => Speech::Compact,
            (true, false) => Speech::Both,
        }
    }

    /// Whether Heartbeat's messages are taken.
    pub fn takes_text(&self) -> bool {
        !self.is_strict || is_planted(Bug::TakeTextAlways)
    }

    fn is_silent(&self, now: Instant) -> bool {
        !is_planted(Bug::NeverSayTextAgain) && self.heard.is_none_or(|heard| now.since(heard) >= self.patience)
    }

    /// A signed status of the partner's in Heartbeat's format has come, on whatever link. Returns whether it has ended the
    /// session here.
    pub fn note_text(&mut self, note: TextNote, now: Instant) -> bool {
        // `crc` is no signature: anybody could write that.
        let is_signed = self.link.has_secret(note.key) || is_planted(Bug::TrustChecksum);
        if !is_signed || note.generation < self.newest {
            return false;
        }
        self.newest = note.generation;
        let is_any = u32::from(is_planted(Bug::FallBackForAnyStatus));
        let first = Generation(note.generation.0.saturating_add(is_any));
        let is_over = self.link.generation().is_some_and(|known| known < first);
        if is_over {
            self.link.close_before(first);
            self.is_sure = false;
        }
        if !self.link.is_open() && note.is_offering != self.is_offered {
            self.is_offered = note.is_offering;
            (self.call_at, self.pause) = (now, self.first_pause);
        }
        is_over
    }

    /// A call into `out`, when one is due.
    pub fn poll_call(&mut self, (seq, ts): (Seq, u32), now: Instant, out: &mut [u8]) -> Option<usize> {
        let is_wanted = if self.link.is_open() { self.is_silent(now) } else { self.is_strict || self.is_offered };
        if !is_wanted || now < self.call_at {
            return None;
        }
        self.call_at = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.link.call(seq, ts, out)
    }

    /// Takes one frame; `reply` is for what has to be answered at once.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn take<'l>(
        &'l mut self,
        frame: &'l [u8],
        own: (Seq, u32),
        now: Instant,
        reply: &mut [u8],
    ) -> Result<Received<'l>, Reject> {
        let Self { link, heard, is_sure, pause, call_at, first_pause, assembly, .. } = self;
        let hearing = Hearing { heard, is_sure, pause, call_at, first_pause: *first_pause };
        receive(link, frame, own, (now, hearing), reply).map(|received| whole(received, assembly))
    }

    /// How many bytes a serial line has to bring at least until there is anything to take ([`LineStream::missing`]). One where
    /// anything but frames may come.
    pub fn missing(&self) -> usize {
        self.stream.as_ref().filter(|_| self.link.is_open()).map_or(1, LineStream::missing)
    }

    /// Takes the next frame in a serial line's bytes, with its length; `None` when all bytes are taken.
    pub fn next<'l>(
        &'l mut self,
        bytes: &mut &[u8],
        own: (Seq, u32),
        now: Instant,
        reply: &mut [u8],
    ) -> Option<(usize, Result<Received<'l>, Reject>)> {
        let Self { link, stream, heard, is_sure, pause, call_at, first_pause, line_bytes, assembly, .. } = self;
        let frame = stream.as_mut()?.next(bytes)?;
        let len = frame.len();
        let hearing = Hearing { heard, is_sure, pause, call_at, first_pause: *first_pause };
        let received = receive(link, frame, own, (now, hearing), reply);
        if received.is_ok() {
            *line_bytes += (len + LINE_OVERHEAD) as u64;
        }
        Some((len, received.map(|received| whole(received, assembly))))
    }

    /// See [`Link::beat`] and [`Link::tell_all`]: the one that is quicker and no risk to the next beat, everything when
    /// `is_all`.
    ///
    /// # Errors
    /// As those.
    pub fn beat(&mut self, seq: Seq, telling: &Telling, is_all: bool, out: &mut [u8]) -> Result<usize, Unsaid> {
        if is_all || (Link::all_len(telling) <= self.room && !self.link.fits_beat(telling)) {
            self.link.tell_all(seq, telling, "", out)
        } else {
            self.link.beat(seq, telling, out)
        }
    }

    /// See [`Link::tell_news`]: as much as puts the next beat at no risk, whole values.
    ///
    /// # Errors
    /// As that; [`Unsaid::TooLong`] when the line is too slow for any.
    pub fn tell_news(&mut self, seq: Seq, telling: &Telling, news: &str, out: &mut [u8]) -> Result<usize, Unsaid> {
        let room = self.room.checked_sub(NEWS_OVERHEAD).ok_or(Unsaid::TooLong)?;
        let ends = news.match_indices('|').map(|(at, _)| at).chain([news.len()]);
        let end = ends.take_while(|end| *end <= room).last().ok_or(Unsaid::TooLong)?;
        self.link.tell_news(seq, telling, news.get(..end).unwrap_or_default(), out)
    }

    /// How long the pieces of clients' messages are here, when they follow on each other: a beat waits for one of them at the
    /// most, and none takes its place meanwhile. `None`: there is no room for that, see [`Self::say_slowly`].
    pub fn piece_len(&self) -> Option<usize> {
        let len = self.room.min(self.rest).min(BODY_MAX).saturating_sub(PIECE_OVERHEAD);
        (len >= PIECE_MIN).then_some(len)
    }

    /// Says a client's message of [`PIECED_MAX`](super::PIECED_MAX) bytes at the most by [`Self::poll_piece`]. While another one
    /// is under way it is missed, and asked for.
    pub fn say_slowly(&mut self, seq: Seq, message: &[u8]) {
        self.trickle.begin(seq, message);
    }

    /// A piece into `out`, to go behind a beat that goes at once; `None`: there is none, or no session.
    pub fn poll_piece(&mut self, out: &mut [u8]) -> Option<usize> {
        let len = self.room.min(BODY_MAX).saturating_sub(PIECE_OVERHEAD).max(PIECE_LEAST);
        let (seq, place, piece) = self.trickle.next(len)?;
        let step = piece.len();
        let len = self.link.piece(seq, place, piece, out).ok()?;
        self.trickle.advance(step);
        Some(len)
    }

    /// The codec's end, for everything else.
    pub const fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Sessions that were opened so far. Wraps.
    pub const fn sessions(&self) -> u32 {
        self.link.sessions()
    }

    /// The partner's run with which there is a session.
    pub fn generation(&self) -> Option<Generation> {
        self.link.generation()
    }

    /// Frames taken, and bytes of a serial line that they were: no garbage.
    pub const fn taken(&self) -> (u32, u64) {
        (self.link.accepted(), self.line_bytes)
    }

    /// Frames refused, by reason.
    pub const fn rejected(&self) -> &[u32; Reject::NAMES.len()] {
        self.link.rejected()
    }
}

/// What a frame changes beside the session.
struct Hearing<'e> {
    heard: &'e mut Option<Instant>,
    is_sure: &'e mut bool,
    pause: &'e mut Duration,
    call_at: &'e mut Instant,
    first_pause: Duration,
}

/// A piece becomes the whole message, when all of it has come.
fn whole<'l>(received: Received<'l>, assembly: &'l mut Assembly) -> Received<'l> {
    match received {
        Received::Piece(piece) => Received::Piece(assembly.add(piece)),
        other => other,
    }
}

fn receive<'l>(
    link: &'l mut Link,
    frame: &'l [u8],
    (seq, ts): (Seq, u32),
    (now, hearing): (Instant, Hearing<'_>),
    reply: &mut [u8],
) -> Result<Received<'l>, Reject> {
    let received = link.receive(frame, seq, ts, reply)?;
    match &received {
        Received::Message(message) => *hearing.is_sure |= matches!(message.body, Body::Status { .. }),
        Received::Opened => *hearing.is_sure = is_planted(Bug::StopTextAtOnce),
        Received::Piece(_) => {}
        Received::Reply(_) => return Ok(received),
    }
    *hearing.heard = Some(now);
    (*hearing.pause, *hearing.call_at) = (hearing.first_pause, now);
    Ok(received)
}
