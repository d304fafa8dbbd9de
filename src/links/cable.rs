//! What is the matter with a serial cable: a verdict from what can be seen at this end.
//!
//! | seen | on a full null-modem cable (7 wires) | on one with 3 wires |
//! |---|---|---|
//! | messages of the peer | ok | ok |
//! | silence, a modem line is on | the peer's port is open or was left open: its daemon does not send | never seen |
//! | silence, all modem lines off | cable out, or peer off, or its port closed: only another link can tell which | the same |
//!
//! RS-232 has no line that says "cable": a receiver takes an open wire, a board without power and a closed port for the same
//! level, "off". So silence without a modem line is [`Verdict::Silent`] unless something else is known of the peer. Modem
//! lines that follow our own are joined in the plug and say nothing about the peer.

use std::fmt::Write as _;
use std::os::fd::AsFd;

use nix::libc;

use crate::core::time::{Duration, Instant};
use crate::sys::tty;

/// Garbage of so many bytes is nothing: a message that was cut off when the port was opened.
const GARBAGE_FREE: u64 = 256;
/// Beyond that, one garbage byte in so many is noise.
const GARBAGE_PART: u64 = 100;
/// One framing error in so many bytes is no noise any more but another speed.
const FRAMING_PART: u64 = 10;

/// Levels of the modem lines that come from the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModemLines {
    /// Clear to send: the peer's RTS.
    pub cts: bool,
    /// Data set ready: the peer's DTR.
    pub dsr: bool,
    /// Carrier detect: the peer's DTR, too.
    pub dcd: bool,
}

impl ModemLines {
    /// Whether any is on.
    pub const fn is_any_on(self) -> bool {
        self.cts || self.dsr || self.dcd
    }

    fn words(self) -> String {
        let all = [("CTS", self.cts), ("DSR", self.dsr), ("DCD", self.dcd)];
        let on: Vec<&str> = all.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
        if on.is_empty() { "CTS, DSR and DCD are off".to_owned() } else { format!("{} on", on.join(", ")) }
    }
}

/// A look at the modem lines that took so long is followed by the next one after so many times that. A UART answers within
/// microseconds. An adapter may have to be asked over USB, which takes a millisecond, and seconds when it is in trouble: a
/// hundredth of the time goes into looks at the most.
const LOOK_SHARE: u32 = 100;

/// Looks at a port's modem lines again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModemWatch {
    seen: Seen,
    next: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Seen {
    /// Not looked at yet.
    #[default]
    New,
    /// The port has none: nobody needs to look again.
    Absent,
    /// What was seen last.
    Lines(ModemLines),
}

impl ModemWatch {
    /// Whether a look at `now` could tell anything, and may be taken.
    pub fn is_worth_a_look(self, now: Instant) -> bool {
        self.seen != Seen::Absent && now >= self.next
    }

    /// Takes one look, which was over at `now` and `took` so long; whether DSR or DCD have dropped since the last one. CTS
    /// falls and rises with the peer's flow control and is no news.
    pub fn note(&mut self, seen: Option<ModemLines>, now: Instant, took: Duration) -> bool {
        let before = self.seen;
        self.seen = seen.map_or(Seen::Absent, Seen::Lines);
        self.next = now + took.saturating_mul(LOOK_SHARE);
        match (before, seen) {
            (Seen::Lines(before), Some(now)) => (before.dsr && !now.dsr) || (before.dcd && !now.dcd),
            _ => false,
        }
    }
}

/// The modem lines of an open terminal; `None` where there are none.
pub fn modem_lines(terminal: impl AsFd) -> Option<ModemLines> {
    let bits = tty::modem_lines(terminal).ok()?;
    let is_on = |bit: libc::c_int| bits & bit != 0;
    Some(ModemLines { cts: is_on(libc::TIOCM_CTS), dsr: is_on(libc::TIOCM_DSR), dcd: is_on(libc::TIOCM_CAR) })
}

/// What the driver of an open terminal has counted; `None` where it counts nothing.
pub fn line_errors(terminal: impl AsFd) -> Option<LineErrors> {
    let counters = tty::serial_counters(terminal).ok()?;
    let count = |number: libc::c_int| u64::from(number.cast_unsigned());
    Some(LineErrors {
        framing: count(counters.frame),
        parity: count(counters.parity),
        overrun: count(counters.overrun),
        breaks: count(counters.brk),
    })
}

/// What the modem lines tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handshake {
    /// The port has none (a pseudo-terminal), or they cannot be read.
    #[default]
    Unknown,
    /// As they are.
    Lines(ModemLines),
    /// They follow our own DTR and RTS: joined in the plug.
    Joined,
}

/// Errors that the UART has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineErrors {
    /// Bytes without a stop bit.
    pub framing: u64,
    /// Bytes with a wrong parity.
    pub parity: u64,
    /// Bytes lost because nobody took them in time.
    pub overrun: u64,
    /// Breaks: the line was held at 0.
    pub breaks: u64,
}

impl LineErrors {
    /// Those since an earlier count; the counters wrap around.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            framing: self.framing.saturating_sub(before.framing),
            parity: self.parity.saturating_sub(before.parity),
            overrun: self.overrun.saturating_sub(before.overrun),
            breaks: self.breaks.saturating_sub(before.breaks),
        }
    }
}

/// What is known of the peer from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Peer {
    /// Nothing: there is no other link, or nobody was asked.
    #[default]
    Unknown,
    /// It is heard on another link.
    Alive,
    /// It has said goodbye: its daemon was stopped.
    Left,
    /// It is silent on every other link, too.
    Silent,
}

/// All that was seen at this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observation {
    /// For how long.
    pub time: Duration,
    /// Modem lines.
    pub handshake: Handshake,
    /// Errors of the UART; `None`: the driver counts none.
    pub errors: Option<LineErrors>,
    /// Bytes received.
    pub bytes: u64,
    /// Of these, bytes that belong to no message.
    pub garbage: u64,
    /// Whole messages that are not ours.
    pub messages: u64,
    /// Our own words that came back.
    pub echoes: u64,
    /// Whether the peer hears us on this line, when it says so.
    pub is_heard_by_peer: Option<bool>,
    /// What other links say.
    pub peer: Peer,
}

/// What is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Messages come, and as far as is known ours arrive.
    Ok,
    /// Nothing is plugged in, or the cable is broken.
    NoCable,
    /// The peer has no power, or has not booted.
    PeerOff,
    /// The peer is there and its daemon does not send on this line.
    PeerClosed,
    /// Silence, and nothing that tells why.
    Silent,
    /// The line works badly.
    Noise,
    /// The two ends have different speeds.
    WrongBaud,
    /// One direction works.
    OneWay,
    /// What we send comes back to us.
    Echo,
}

impl Verdict {
    /// For programs: `ok`, `no-cable`, `peer-off`, `peer-daemon-closed`, `silent`, `noise`, `wrong-baud`, `one-way`, `echo`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoCable => "no-cable",
            Self::PeerOff => "peer-off",
            Self::PeerClosed => "peer-daemon-closed",
            Self::Silent => "silent",
            Self::Noise => "noise",
            Self::WrongBaud => "wrong-baud",
            Self::OneWay => "one-way",
            Self::Echo => "echo",
        }
    }

    /// For people: what it means and what to do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Ok => "the line works",
            Self::NoCable => "no cable, or a broken one: look at both plugs",
            Self::PeerOff => "the peer is off or has not booted, or the cable is out as well",
            Self::PeerClosed => {
                "the peer's daemon does not send on this line: is it stopped, or its `serial` line another?"
            }
            Self::Silent => "nothing comes, and this end cannot tell a missing cable from a peer that is off or closed",
            Self::Noise => {
                "the line works badly: a loose plug, a long cable, no common ground, or something else that talks"
            }
            Self::WrongBaud => "the two ends have different speeds: `baud` must be the same in both ha.cf",
            Self::OneWay => {
                "only one direction works: a broken wire, RX and TX not crossed, or no RTS/CTS in the cable"
            }
            Self::Echo => {
                "what is sent comes back: a loopback plug, a shorted cable, or RS-485 without echo suppression"
            }
        }
    }
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// What is the matter.
    pub verdict: Verdict,
    /// What was seen, in words.
    pub grounds: String,
}

/// Judges.
pub fn judge(seen: &Observation) -> Diagnosis {
    let verdict = verdict(seen);
    Diagnosis { verdict, grounds: grounds(seen, verdict) }
}

fn verdict(seen: &Observation) -> Verdict {
    if seen.echoes > 0 {
        return Verdict::Echo;
    }
    if seen.messages > 0 {
        return match seen.is_heard_by_peer {
            Some(false) => Verdict::OneWay,
            _ if is_noisy(seen) => Verdict::Noise,
            _ => Verdict::Ok,
        };
    }
    if is_other_speed(seen) {
        return Verdict::WrongBaud;
    }
    if seen.bytes > 0 {
        return Verdict::Noise;
    }
    if seen.is_heard_by_peer == Some(true) {
        return Verdict::OneWay;
    }
    silence(seen)
}

/// Nothing has come at all.
fn silence(seen: &Observation) -> Verdict {
    let is_line_on = matches!(seen.handshake, Handshake::Lines(lines) if lines.is_any_on());
    match seen.peer {
        // Only a peer with power raises a line, and it does so by opening its port.
        _ if is_line_on => Verdict::PeerClosed,
        Peer::Left => Verdict::PeerClosed,
        // One that lives would have its port open and beats on it.
        Peer::Alive => Verdict::NoCable,
        Peer::Silent => Verdict::PeerOff,
        Peer::Unknown => Verdict::Silent,
    }
}

fn is_noisy(seen: &Observation) -> bool {
    let errors = seen.errors.unwrap_or_default();
    let is_garbage = seen.garbage > GARBAGE_FREE + seen.bytes / GARBAGE_PART;
    // A single byte in a thousand costs a beat now and then.
    is_garbage || (errors.framing + errors.parity) * 1000 > seen.bytes && errors.framing + errors.parity > 1
}

/// With another speed most bytes have no stop bit where it is expected, and none of the messages is whole.
fn is_other_speed(seen: &Observation) -> bool {
    let errors = seen.errors.unwrap_or_default();
    let bad = errors.framing + errors.breaks;
    bad > 1 && bad * FRAMING_PART >= seen.bytes
}

fn grounds(seen: &Observation, verdict: Verdict) -> String {
    let mut text =
        format!("in {}.{} s {} messages", seen.time.as_secs(), seen.time.subsec_millis() / 100, seen.messages);
    let _ = write!(text, ", {} bytes of which {} belong to none", seen.bytes, seen.garbage);
    match seen.errors {
        Some(errors) => {
            let LineErrors { framing, parity, overrun, breaks } = errors;
            let _ = write!(text, "; {framing} framing, {parity} parity, {overrun} overrun errors, {breaks} breaks");
        }
        None => text.push_str("; the driver counts no errors"),
    }
    if seen.echoes > 0 {
        let _ = write!(text, "; {} of our own words came back", seen.echoes);
    }
    match seen.handshake {
        Handshake::Unknown => text.push_str("; the port has no modem lines"),
        Handshake::Joined => text.push_str("; modem lines follow our own: they are joined in the plug"),
        Handshake::Lines(lines) => {
            let _ = write!(text, "; {}", lines.words());
            if seen.messages > 0 && !lines.is_any_on() {
                text.push_str(
                    " (a cable of 3 wires: silence on it will not tell a missing cable from a peer that is off)",
                );
            }
        }
    }
    match seen.is_heard_by_peer {
        Some(true) => text.push_str("; the peer hears us here"),
        Some(false) => text.push_str("; the peer does not hear us here"),
        None if verdict == Verdict::Ok => text.push_str("; whether the peer hears us it does not say"),
        None => {}
    }
    text.push_str(match seen.peer {
        Peer::Alive => "; it is heard on another link",
        Peer::Left => "; it has said goodbye",
        Peer::Silent => "; it is silent on every other link, too",
        Peer::Unknown => "",
    });
    if verdict == Verdict::Noise && seen.messages == 0 && seen.errors.is_none() {
        text.push_str("; without a count of framing errors this may be another speed");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Handshake = Handshake::Lines(ModemLines { cts: false, dsr: false, dcd: false });
    const ON: Handshake = Handshake::Lines(ModemLines { cts: true, dsr: true, dcd: true });
    const NOW: Instant = Instant::from_millis(1000);
    /// What a UART takes.
    const QUICK: Duration = Duration::from_micros(2);

    #[test]
    fn line_that_drops_is_news_once_and_one_that_rises_or_stays_is_none() {
        let lines = |cts, dsr, dcd| Some(ModemLines { cts, dsr, dcd });
        let mut watch = ModemWatch::default();
        for (seen, is_news) in [
            (lines(true, false, false), false),
            (lines(true, true, true), false),
            (lines(false, true, true), false),
            (lines(true, true, false), true),
            (lines(true, true, false), false),
            (lines(true, false, true), true),
            (lines(false, false, false), true),
        ] {
            assert_eq!(watch.note(seen, NOW, QUICK), is_news, "{seen:?}");
        }
        assert!(watch.is_worth_a_look(NOW + QUICK * LOOK_SHARE));
        assert!(
            !watch.note(None, NOW, QUICK) && !watch.is_worth_a_look(NOW + Duration::from_secs(60)),
            "a pseudo-terminal"
        );
        // The port was opened anew, with everything off: nothing has dropped.
        watch = ModemWatch::default();
        assert!(watch.is_worth_a_look(Instant::ZERO) && !watch.note(lines(false, false, false), NOW, QUICK));
    }

    #[test]
    fn lines_that_take_long_to_read_are_looked_at_less_often() {
        let on = Some(ModemLines { cts: true, dsr: true, dcd: true });
        let mut watch = ModemWatch::default();
        for (took, pause) in [(QUICK, 200), (Duration::from_millis(1), 100_000), (Duration::from_secs(5), 500_000_000)]
        {
            watch.note(on, NOW, took);
            let next = NOW + Duration::from_micros(pause);
            assert!(watch.is_worth_a_look(next) && !watch.is_worth_a_look(next - Duration::from_micros(1)), "{took:?}");
        }
    }

    const NO_ERRORS: Option<LineErrors> = Some(LineErrors { framing: 0, parity: 0, overrun: 0, breaks: 0 });

    fn silent(handshake: Handshake) -> Observation {
        Observation { time: Duration::from_secs(3), handshake, errors: NO_ERRORS, ..Observation::default() }
    }

    fn talking() -> Observation {
        Observation { bytes: 2700, garbage: 40, messages: 15, ..silent(ON) }
    }

    #[track_caller]
    fn expect(verdict: Verdict, seen: Observation) -> String {
        let diagnosis = judge(&seen);
        assert_eq!(diagnosis.verdict, verdict, "{}", diagnosis.grounds);
        diagnosis.grounds
    }

    #[test]
    fn messages_are_ok_whatever_the_wires() {
        let grounds = expect(Verdict::Ok, talking());
        assert_eq!(
            grounds,
            "in 3.0 s 15 messages, 2700 bytes of which 40 belong to none; 0 framing, 0 parity, 0 overrun errors, 0 breaks; CTS, DSR, DCD on; whether the peer hears us it does not say"
        );
        let grounds = expect(Verdict::Ok, Observation { handshake: OFF, ..talking() });
        assert!(grounds.contains("a cable of 3 wires"), "{grounds}");
        expect(Verdict::Ok, Observation { handshake: Handshake::Unknown, errors: None, ..talking() });
        let grounds = expect(Verdict::Ok, Observation { is_heard_by_peer: Some(true), ..talking() });
        assert!(grounds.ends_with("the peer hears us here"), "{grounds}");
    }

    #[test]
    fn silence_with_all_lines_off_is_told_apart_by_other_links_only() {
        let grounds = expect(Verdict::Silent, silent(OFF));
        assert!(grounds.contains("CTS, DSR and DCD are off"), "{grounds}");
        expect(Verdict::Silent, silent(Handshake::Unknown));
        expect(Verdict::Silent, silent(Handshake::Joined));
        expect(Verdict::NoCable, Observation { peer: Peer::Alive, ..silent(OFF) });
        expect(Verdict::NoCable, Observation { peer: Peer::Alive, ..silent(Handshake::Joined) });
        expect(Verdict::PeerOff, Observation { peer: Peer::Silent, ..silent(OFF) });
        expect(Verdict::PeerClosed, Observation { peer: Peer::Left, ..silent(OFF) });
    }

    #[test]
    fn silence_with_a_line_on_is_a_peer_that_does_not_send() {
        expect(Verdict::PeerClosed, silent(ON));
        let cts = Handshake::Lines(ModemLines { cts: true, ..ModemLines::default() });
        expect(Verdict::PeerClosed, Observation { peer: Peer::Silent, ..silent(cts) });
    }

    #[test]
    fn garbage_beside_messages_is_noise_and_a_little_is_not() {
        expect(Verdict::Noise, Observation { garbage: 600, ..talking() });
        expect(Verdict::Ok, Observation { garbage: 200, ..talking() });
        let errors = |framing| Some(LineErrors { framing, ..LineErrors::default() });
        expect(Verdict::Noise, Observation { errors: errors(5), ..talking() });
        expect(Verdict::Ok, Observation { errors: errors(1), ..talking() });
    }

    #[test]
    fn garbage_alone_is_noise_or_another_speed_by_the_framing_errors() {
        let garbage = Observation { bytes: 900, garbage: 900, ..silent(OFF) };
        expect(Verdict::Noise, garbage);
        let errors = |framing, breaks| Some(LineErrors { framing, breaks, ..LineErrors::default() });
        expect(Verdict::Noise, Observation { errors: errors(80, 0), ..garbage });
        expect(Verdict::WrongBaud, Observation { errors: errors(300, 0), ..garbage });
        // Much slower than we are: whole bytes look like breaks, and none is received.
        expect(Verdict::WrongBaud, Observation { bytes: 0, garbage: 0, errors: errors(0, 200), ..garbage });
        let grounds = expect(Verdict::Noise, Observation { errors: None, ..garbage });
        assert!(grounds.ends_with("this may be another speed"), "{grounds}");
    }

    #[test]
    fn one_direction_is_found_from_either_end() {
        expect(Verdict::OneWay, Observation { is_heard_by_peer: Some(false), ..talking() });
        let deaf = Observation { is_heard_by_peer: Some(true), peer: Peer::Alive, ..silent(ON) };
        expect(Verdict::OneWay, deaf);
    }

    #[test]
    fn own_words_that_come_back_are_an_echo_before_anything_else() {
        expect(Verdict::Echo, Observation { echoes: 3, bytes: 300, ..silent(Handshake::Joined) });
        expect(Verdict::Echo, Observation { echoes: 3, ..talking() });
    }

    #[test]
    fn every_verdict_has_a_word_and_advice_of_its_own() {
        use std::collections::BTreeSet;
        let all = [
            Verdict::Ok,
            Verdict::NoCable,
            Verdict::PeerOff,
            Verdict::PeerClosed,
            Verdict::Silent,
            Verdict::Noise,
            Verdict::WrongBaud,
            Verdict::OneWay,
            Verdict::Echo,
        ];
        assert_eq!(all.iter().map(|it| it.word()).collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(all.iter().map(|it| it.advice()).collect::<BTreeSet<_>>().len(), all.len());
    }
}
