//! One end of a link: calls, answers, the session that is open and the one that may follow it.

use super::hello::{self, Hello};
use super::pieces::Piece;
use super::secret::{Nonces, Secrets, Speaker};
use super::session::{Beginning, Said, Session, Taken, is_crc};
use super::{BODY_MAX, CRC_LEN, NEWS_OVERHEAD, Nonce, Reject, TAG_LEN, Telling, kind, pages, words};
use crate::core::Cause;
use crate::core::ids::{Generation, KeyNumber, NodeName, Seq};
use crate::core::message::{Body, Message};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::Identity;

/// Whether frames can overtake each other on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Never: a serial line. A frame is newer than the one before, or refused.
    Kept,
    /// They can, by up to [`WINDOW`](super::WINDOW) frames: a network.
    Loose,
}

/// What one end is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The secrets of authkeys.
    pub secrets: Secrets,
    /// Who we are. The generation has to grow with each start: it is what makes old calls old.
    pub identity: Identity,
    /// Our name.
    pub name: NodeName,
    /// The name of the only node that is spoken with.
    pub partner: NodeName,
    /// Random bytes, others for each link and each start: all nonces come from them.
    pub seed: [u8; 32],
    /// Of this link.
    pub order: Order,
}

/// What a frame has brought.
#[expect(clippy::large_enum_variant, reason = "messages are the rule, and there is nowhere to put them but here")]
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A call: send the first so many bytes of the reply, an answer or, when both have called, our own call again.
    Reply(usize),
    /// The answer to our call: beats and messages can be said. A beat with everything is best said at once.
    Opened,
    /// A beat or another message, whose `key` is that with which the session began. Groups of `ip-request` and its answer
    /// are named by their keys only.
    Message(Message<'a>),
    /// A part of what a client says; out of a [`CompactEnd`](super::CompactEnd) all of it, when this was the last part.
    Piece(Piece<'a>),
}

/// Why something was not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// There is no session.
    NoSession,
    /// A beat, which has a call of its own, or the word of a client: these go on as Heartbeat's messages.
    NotOurs,
    /// It needs more than [`BODY_MAX`](super::BODY_MAX) bytes, or than the caller's buffer has.
    TooLong,
    /// A number where there must be none, none where there must be one, or a `ts` of zero.
    BadNumber,
}

/// One end of a link. See the [module](super) for how it is used.
#[derive(Clone)]
pub struct Link {
    setup: Setup,
    nonces: Nonces,
    /// Our call under way.
    calling: Option<Nonce>,
    /// We have answered a call, and nothing was said in that session yet.
    answered: Option<Session>,
    open: Option<Session>,
    /// The newest generation and number of the partner in any session that was open.
    newest: (Generation, Seq),
    sessions: u32,
    accepted: u32,
    rejected: [u32; Reject::NAMES.len()],
}

impl Link {
    /// No session yet.
    pub const fn new(setup: Setup) -> Self {
        let nonces = Nonces::new(setup.seed);
        Self {
            setup,
            nonces,
            calling: None,
            answered: None,
            open: None,
            newest: (Generation(0), Seq(0)),
            sessions: 0,
            accepted: 0,
            rejected: [0; Reject::NAMES.len()],
        }
    }

    /// Whether there is a session.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The partner's run with which there is a session.
    pub fn generation(&self) -> Option<Generation> {
        self.open.as_ref().map(|session| session.partner.generation)
    }

    /// Whether the secret of this key of authkeys is one that this format can be spoken with.
    pub fn has_secret(&self, key: KeyNumber) -> bool {
        self.setup.secrets.root(key).is_some()
    }

    /// Ends the session with an earlier run of the partner than this one, and forgets our call under way. What was heard stays
    /// old; a call of this run that was answered already stays answered.
    pub fn close_before(&mut self, generation: Generation) {
        let is_kept = |session: &Session| session.partner.generation >= generation && !is_planted(Bug::ForgetNewCall);
        self.calling = None;
        self.answered = self.answered.take().filter(is_kept);
        self.open = self.open.take().filter(|session| session.partner.generation >= generation);
    }

    #[cfg(all(feature = "std", any(test, fuzzing)))]
    pub(super) const fn session(&self) -> Option<&Session> {
        self.open.as_ref()
    }

    #[cfg(all(feature = "std", any(test, fuzzing)))]
    pub(super) const fn session_mut(&mut self) -> Option<&mut Session> {
        self.open.as_mut()
    }

    /// Sessions that were opened so far. Wraps.
    pub const fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Frames that were taken. Wraps.
    pub const fn accepted(&self) -> u32 {
        self.accepted
    }

    /// Frames that were not, by the place of the reason in [`Reject::NAMES`]. They wrap.
    pub const fn rejected(&self) -> &[u32; Reject::NAMES.len()] {
        &self.rejected
    }

    /// How long the partner was last stalled, in milliseconds, and why its holdings changed last, as it has told.
    pub fn moment(&self) -> (u16, Option<Cause>) {
        let heard = self.open.as_ref().and_then(|session| session.heard);
        heard.map_or((0, None), |heard| (heard.stalled_ms, heard.cause))
    }

    /// Writes a call into `out`: now, and again as long as nothing has come of it. `seq` is our newest number, `ts` our wall
    /// clock. `None`: the active key has no secret, or `out` is too short.
    pub fn call(&mut self, seq: Seq, ts: u32, out: &mut [u8]) -> Option<usize> {
        let nonce = match self.calling {
            Some(nonce) => nonce,
            None => self.draw(),
        };
        self.calling = Some(nonce);
        self.hello(seq, ts, None, out)
    }

    fn draw(&mut self) -> Nonce {
        self.nonces.draw(self.open.as_ref().map(Session::address))
    }

    /// A call, or the answer in `answered`.
    fn hello(&self, seq: Seq, ts: u32, answered: Option<&Session>, out: &mut [u8]) -> Option<usize> {
        let key = answered.map_or(self.setup.secrets.active(), |session| session.key);
        let speaker = match answered {
            Some(session) => session.own,
            None => self.speaker(self.calling?),
        };
        let echo = answered.map(|session| session.partner.nonce);
        let hello = Hello { key, speaker, seq, ts: ts.max(1), echo, name: &self.setup.name };
        hello.write(&self.setup.secrets.root(key)?, out)
    }

    const fn speaker(&self, nonce: Nonce) -> Speaker {
        Speaker { uuid: self.setup.identity.uuid, generation: self.setup.identity.generation, nonce }
    }

    /// Says a beat: [`BEAT_LEN`](super::BEAT_LEN) bytes.
    pub fn beat(&mut self, seq: Seq, telling: &Telling, out: &mut [u8]) -> Result<usize, Unsaid> {
        check(seq, telling.ts)?;
        let session = self.open.as_mut().ok_or(Unsaid::NoSession)?;
        session.beat(seq, telling, limited(out)).ok_or(Unsaid::TooLong)
    }

    /// Says a beat with everything that beats tell in turn, and news for the partner's history: when a session has begun, and
    /// when somebody asks.
    pub fn tell_all(&mut self, seq: Seq, telling: &Telling, news: &str, out: &mut [u8]) -> Result<usize, Unsaid> {
        check(seq, telling.ts)?;
        let session = self.open.as_mut().ok_or(Unsaid::NoSession)?;
        session.all(seq, telling, news, limited(out)).ok_or(Unsaid::TooLong)
    }

    /// Says news for the partner's history and nothing else, with the number of a beat that has been said.
    pub fn tell_news(&mut self, seq: Seq, telling: &Telling, news: &str, out: &mut [u8]) -> Result<usize, Unsaid> {
        check(seq, telling.ts)?;
        let session = self.open.as_mut().ok_or(Unsaid::NoSession)?;
        session.news(seq, telling, news, limited(out)).ok_or(Unsaid::TooLong)
    }

    /// Whether a beat can tell all that has changed since the last one; else [`Link::tell_all`] is quicker.
    pub fn fits_beat(&self, telling: &Telling) -> bool {
        self.open.as_ref().is_some_and(|session| session.fits_beat(telling))
    }

    /// Bytes of [`Link::tell_all`] without news.
    pub fn all_len(telling: &Telling) -> usize {
        NEWS_OVERHEAD + pages::all_len(telling)
    }

    /// Says anything else; texts must be in `body`. `is_addressed`: to the partner only, not to everybody.
    pub fn say(
        &mut self,
        (seq, ts): (Option<Seq>, u32),
        is_addressed: bool,
        body: &Body<'_>,
        out: &mut [u8],
    ) -> Result<usize, Unsaid> {
        let kind = words::kind_of(body).ok_or(Unsaid::NotOurs)?;
        if words::is_unsequenced(kind) != seq.is_none() {
            return Err(Unsaid::BadNumber);
        }
        check(seq.unwrap_or(Seq(1)), ts)?;
        let session = self.open.as_mut().ok_or(Unsaid::NoSession)?;
        let numbers = (seq.unwrap_or_default(), ts);
        session.words((kind, is_addressed), numbers, body, limited(out)).ok_or(Unsaid::TooLong)
    }

    /// Says a part of a client's message, which is Heartbeat's: `bytes` stand at the first number of `place` in it, the
    /// second one is its length, [`PIECED_MAX`](super::PIECED_MAX) at the most.
    ///
    /// # Errors
    /// There is no session, or it does not fit.
    pub fn piece(&mut self, seq: Seq, place: (usize, usize), bytes: &[u8], out: &mut [u8]) -> Result<usize, Unsaid> {
        check(seq, 1)?;
        let session = self.open.as_mut().ok_or(Unsaid::NoSession)?;
        session.piece(seq, place, bytes, limited(out)).ok_or(Unsaid::TooLong)
    }

    /// Takes a frame, without what a serial line adds. `reply` is for what may have to be answered at once, with our newest
    /// number and wall clock in it.
    ///
    /// # Errors
    /// Why it was dropped, counted already.
    pub fn receive<'l>(
        &'l mut self,
        frame: &'l [u8],
        seq: Seq,
        ts: u32,
        reply: &mut [u8],
    ) -> Result<Received<'l>, Reject> {
        let count = |counter: &mut u32| *counter = counter.wrapping_add(1);
        let outcome = match check_frame(frame) {
            Err(reject) => Err(reject),
            Ok(first) if matches!(first & kind::MASK, kind::CALL | kind::ANSWER) => {
                self.take_hello(frame, seq, ts, reply).map(Outcome::Hello)
            }
            Ok(first) => self.take(first, frame).map(Outcome::Frame),
        };
        match outcome {
            Err(reject) => {
                count(&mut self.rejected[reject.index()]);
                Err(reject)
            }
            Ok(outcome) => {
                count(&mut self.accepted);
                Ok(match outcome {
                    Outcome::Hello(None) => Received::Opened,
                    Outcome::Hello(Some(len)) => Received::Reply(len),
                    Outcome::Frame(taken) => self.received(taken),
                })
            }
        }
    }

    /// A frame of a session: the open one, or the one that we have answered to, which is open then.
    fn take<'b>(&mut self, first: u8, frame: &'b [u8]) -> Result<Taken<'b>, Reject> {
        let address = frame.get(1).copied().ok_or(Reject::TooShort)?;
        let order = self.setup.order;
        let sessions = [&self.answered, &self.open];
        if sessions.iter().all(|session| session.is_none()) {
            return Err(Reject::NoSession);
        }
        // Addresses are single bytes: that of the partner in one session may be ours in the other one. So nothing is taken for
        // our own words that is for us.
        let is_own = |session: &Session| session.is_own(first) && session.partner.nonce[0] == address;
        let is_reflected = sessions.iter().any(|session| session.as_ref().is_some_and(is_own));
        if is_reflected && is_planted(Bug::RefuseByAddress) {
            return Err(Reject::Reflected);
        }
        let is_meant = |session: &&mut Session| session.address() == address && !session.is_own(first);
        if let Some(session) = self.open.as_mut().filter(is_meant) {
            let taken = session.take(frame, order)?;
            self.newest = self.newest.max((session.partner.generation, session.seq));
            return Ok(taken);
        }
        let stranger = if is_reflected { Reject::Reflected } else { Reject::OtherSession };
        let session = self.answered.as_mut().filter(is_meant).ok_or(stranger)?;
        let taken = session.take(frame, order)?;
        self.open = self.answered.take();
        self.begun();
        Ok(taken)
    }

    /// A session is open: the nonce that called, if any, is used up, and whatever was told before counts no more.
    fn begun(&mut self) {
        self.calling = None;
        self.answered = None;
        self.sessions = self.sessions.wrapping_add(1);
        if let Some(session) = &self.open {
            self.newest = self.newest.max((session.partner.generation, session.seq));
        }
    }

    /// `Some`: so many bytes are to be sent; `None`: the session is open.
    fn take_hello(&mut self, frame: &[u8], seq: Seq, ts: u32, reply: &mut [u8]) -> Result<Option<usize>, Reject> {
        let key = Hello::key_of(frame)?;
        let root = self.setup.secrets.root(key).ok_or(Reject::UnknownKey { number: key })?;
        let hello = hello::read(frame, &root)?;
        if hello.speaker.uuid == self.setup.identity.uuid {
            return Err(Reject::Reflected);
        }
        if hello.name != self.setup.partner.as_str() {
            return Err(Reject::Stranger);
        }
        if (hello.speaker.generation, hello.seq) < self.newest {
            return Err(Reject::Stale);
        }
        match hello.echo {
            Some(echo) => {
                let nonce = self.calling.filter(|nonce| *nonce == echo).ok_or(Reject::NotAsked)?;
                let beginning = self.beginning(&hello, nonce, seq, true);
                self.open = Some(Session::new(&root, &beginning));
                self.begun();
                Ok(None)
            }
            None => self.answer(&hello, seq, ts, reply).map(Some),
        }
    }

    fn beginning(&self, hello: &Hello<'_>, nonce: Nonce, own_seq: Seq, is_caller: bool) -> Beginning {
        Beginning {
            own: self.speaker(nonce),
            own_seq,
            partner: hello.speaker,
            partner_seq: hello.seq,
            partner_ts: hello.ts,
            key: hello.key,
            is_caller,
        }
    }

    /// When both call, the call of the lower uuid counts: the other side gives up its own, this side repeats its own.
    fn answer(&mut self, hello: &Hello<'_>, seq: Seq, ts: u32, reply: &mut [u8]) -> Result<usize, Reject> {
        let is_overtaken = self.answered.as_ref().is_some_and(|session| is_older(hello, session));
        if is_overtaken && !is_planted(Bug::AnswerOlderCall) {
            return Err(Reject::Stale);
        }
        if self.calling.is_some() && self.setup.identity.uuid.0 < hello.speaker.uuid.0 {
            return self.hello(seq, ts, None, reply).ok_or(Reject::NoRoom);
        }
        self.calling = None;
        let is_repeated = self.answered.as_ref().is_some_and(|session| session.partner.nonce == hello.speaker.nonce);
        if !is_repeated {
            let root = self.setup.secrets.root(hello.key).ok_or(Reject::UnknownKey { number: hello.key })?;
            let nonce = self.draw();
            let beginning = self.beginning(hello, nonce, seq, false);
            self.answered = Some(Session::new(&root, &beginning));
        }
        if is_planted(Bug::OpenWhenCalled) {
            self.open.clone_from(&self.answered);
        }
        self.hello(seq, ts, self.answered.as_ref(), reply).ok_or(Reject::NoRoom)
    }

    fn received<'l>(&'l self, taken: Taken<'l>) -> Received<'l> {
        let session = self.open.as_ref();
        let partner = session.map(|session| session.partner);
        let told_ts = session.map_or(1, |session| session.ts);
        let (ts, news, body) = match taken.said {
            Said::Words { ts, body } => (ts, None, body),
            Said::Piece(at, total, bytes) => {
                let generation = partner.map_or(Generation(0), |partner| partner.generation);
                return Received::Piece(Piece {
                    number: (generation, taken.seq.unwrap_or_default()),
                    at,
                    total,
                    bytes,
                });
            }
            Said::Beat { heard, news } => {
                let body = Body::Status {
                    status: heard.status,
                    dead_ms: heard.dead_ms,
                    has_protocol: true,
                    is_nullbeat: true,
                    extension: heard.extension,
                };
                (heard.ts.unwrap_or(told_ts), Some(news).filter(|news| !news.is_empty()), body)
            }
        };
        Received::Message(Message {
            src: &self.setup.partner,
            src_uuid: partner.map(|partner| partner.uuid),
            dest: taken.is_addressed.then_some(self.setup.name.as_str()),
            dest_uuid: taken.is_addressed.then_some(self.setup.identity.uuid),
            seq: taken.seq,
            generation: partner.map_or(Generation(0), |partner| partner.generation),
            ts,
            key: session.map(|session| session.key).unwrap_or_default(),
            news,
            compact: None,
            body,
        })
    }
}

#[expect(clippy::large_enum_variant, reason = "as `Received`")]
enum Outcome<'b> {
    Hello(Option<usize>),
    Frame(Taken<'b>),
}

/// Whether a call is from before the one that was answered with this session. Its sender has forgotten it: whoever went over
/// to it would not be understood in the session that the sender has by now.
fn is_older(hello: &Hello<'_>, answered: &Session) -> bool {
    let is_other = hello.speaker.nonce != answered.partner.nonce;
    is_other && (hello.speaker.generation, hello.seq) < (answered.partner.generation, answered.seq)
}

fn limited(out: &mut [u8]) -> &mut [u8] {
    let len = out.len().min(BODY_MAX);
    out.get_mut(..len).unwrap_or_default()
}

fn check(seq: Seq, ts: u32) -> Result<(), Unsaid> {
    if seq.0 == 0 || ts == 0 { Err(Unsaid::BadNumber) } else { Ok(()) }
}

/// Size, checksum and first byte.
fn check_frame(frame: &[u8]) -> Result<u8, Reject> {
    if frame.len() > BODY_MAX {
        return Err(Reject::TooLong);
    }
    let first = frame.first().copied().filter(|_| frame.len() > TAG_LEN + CRC_LEN).ok_or(Reject::TooShort)?;
    if !is_crc(frame) {
        return Err(Reject::BadCrc);
    }
    let kind = first & kind::MASK;
    let is_known = matches!(kind, kind::CALL..=kind::ALL | kind::ACK..=kind::PIECE);
    let is_plain = !matches!(kind, kind::CALL | kind::ANSWER) || first == kind;
    if first & kind::RESERVED != 0 || !is_known || !is_plain { Err(Reject::UnknownKind) } else { Ok(first) }
}
