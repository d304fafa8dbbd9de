//! Watches a serial line for a while, without the daemon: what comes, what our own words come to, what the modem lines do.
//!
//! Now and then it says a line of its own. A daemon at the other end takes that for garbage between two messages. Another
//! probe there tells whether it hears us, so that two of them see both directions; our own line coming back is an echo.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};

use super::cable::{self, Handshake, LineErrors, ModemLines, Observation};
use crate::sys::tty;
use crate::wire::heartbeat::TextStream;

/// Between two lines of ours.
const SAY_EVERY: Duration = Duration::from_millis(250);
/// Begins a line of ours; not a message's beginning, so that no daemon takes it for one.
const WORD: &str = "nullbeat-cable";
/// How long a modem line may take to follow.
const LINES_SETTLE: Duration = Duration::from_millis(50);
/// The longest line of ours that is looked at.
const LINE_MAX: usize = 80;

/// A port as the probe sees it. Tests put a made-up one behind it: pseudo-terminals and emulated boards have no modem lines
/// that mean anything.
pub trait Port {
    /// What has come within `limit`: the number of bytes put into `buffer`.
    ///
    /// # Errors
    /// The port is lost.
    fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize>;

    /// Sends, as far as the line takes it.
    ///
    /// # Errors
    /// The port is lost.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Modem lines; `None`: there are none.
    fn lines(&self) -> Option<ModemLines>;

    /// Raises or drops our own; returns when the others may have followed.
    fn set_own_lines(&mut self, is_on: bool);

    /// What the UART has counted; `None`: nothing is.
    fn errors(&self) -> Option<LineErrors>;
}

/// A port of this machine, open and raw ([`super::serial::open`]).
#[derive(Debug)]
pub struct TtyPort(pub OwnedFd);

impl Port for TtyPort {
    fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
        let timeout = PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        if poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            return Ok(0);
        }
        match read(&self.0, buffer) {
            Ok(0) => Err(Errno::EIO.into()),
            Ok(count) => Ok(count),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match write(&self.0, bytes) {
            // What the line does not take is not waited for.
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn lines(&self) -> Option<ModemLines> {
        cable::modem_lines(&self.0)
    }

    fn set_own_lines(&mut self, is_on: bool) {
        // A port without them has said so before.
        let _ = tty::set_own_lines(&self.0, is_on);
        std::thread::sleep(LINES_SETTLE);
    }

    fn errors(&self) -> Option<LineErrors> {
        cable::line_errors(&self.0)
    }
}

/// What has been heard so far.
struct Ear {
    own: String,
    stream: Box<TextStream>,
    line: Vec<u8>,
    heard: Option<String>,
    probe_bytes: u64,
    seen: Observation,
}

/// Watches `port` for `time`. `own` tells our words from those of another probe: a number that nobody else has.
///
/// # Errors
/// The port is lost.
pub fn observe(port: &mut impl Port, own: u32, time: Duration) -> io::Result<Observation> {
    let before = port.errors();
    let handshake = handshake(port);
    let stream = Box::new(TextStream::new());
    let own = format!("{own:08x}");
    let mut ear = Ear { own, stream, line: Vec::new(), heard: None, probe_bytes: 0, seen: Observation::default() };
    let start = Instant::now();
    let (end, mut say_at) = (start + time, start);
    let mut buffer = [0; 1024];
    while Instant::now() < end {
        if Instant::now() >= say_at {
            let heard = ear.heard.as_deref().unwrap_or("-");
            port.send(format!("\n{WORD} {} {heard}\n", ear.own).as_bytes())?;
            say_at += SAY_EVERY;
        }
        let limit = say_at.min(end).saturating_duration_since(Instant::now());
        let count = port.receive(&mut buffer, limit)?;
        ear.take(&buffer[..count]);
    }
    let errors = port.errors().zip(before).map(|(now, before)| now.since(before));
    let handshake = match handshake {
        Handshake::Lines(_) => port.lines().map_or(handshake, Handshake::Lines),
        other => other,
    };
    Ok(Observation { time, handshake, errors, ..ear.finish() })
}

/// Lets our own lines drop for a moment: those that follow are joined in the plug.
fn handshake(port: &mut impl Port) -> Handshake {
    let Some(before) = port.lines() else { return Handshake::Unknown };
    if !before.is_any_on() {
        return Handshake::Lines(before);
    }
    port.set_own_lines(false);
    let dropped = port.lines().unwrap_or(before);
    port.set_own_lines(true);
    let after = port.lines().unwrap_or(before);
    // Whatever the peer does at this moment, it would have to do it twice.
    if !dropped.is_any_on() && after == before { Handshake::Joined } else { Handshake::Lines(after) }
}

impl Ear {
    fn take(&mut self, bytes: &[u8]) {
        self.seen.bytes += bytes.len() as u64;
        let mut rest = bytes;
        while self.stream.next(&mut rest).is_some() {
            self.seen.messages += 1;
        }
        for byte in bytes {
            match byte {
                b'\n' => self.take_line(),
                // A longer one is none of ours.
                _ if self.line.len() < LINE_MAX => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn take_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let Ok(text) = std::str::from_utf8(&line) else { return };
        let words: Vec<&str> = text.split(' ').collect();
        let [WORD, who, heard] = words.as_slice() else { return };
        // With the line's end, and the empty line before it.
        self.probe_bytes += line.len() as u64 + 2;
        if **who == self.own {
            self.seen.echoes += 1;
            return;
        }
        self.seen.messages += 1;
        self.seen.is_heard_by_peer = Some(**heard == self.own);
        self.heard = Some((*who).to_owned());
    }

    fn finish(mut self) -> Observation {
        let garbage = u64::from(self.stream.counters().garbage_bytes);
        self.seen.garbage = garbage.saturating_sub(self.probe_bytes);
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::cable::{Verdict, judge};
    use super::*;

    const TIME: Duration = Duration::from_millis(600);
    const BEAT: &[u8] = b">>>\nt=status\nst=active\nsrc=beta\nauth=1 0123\n<<<\n";

    /// A port that says the same again and again.
    #[derive(Default)]
    struct Fake {
        says: Vec<u8>,
        is_echoing: bool,
        lines: Option<ModemLines>,
        /// Our own lines, when they come back in the plug.
        joined: Option<bool>,
        errors: Option<LineErrors>,
        /// Each receive counts so many framing errors more.
        framing: u64,
        queue: VecDeque<u8>,
    }

    impl Port for Fake {
        fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
            std::thread::sleep(limit.min(Duration::from_millis(50)));
            if let Some(errors) = &mut self.errors {
                errors.framing += self.framing;
            }
            let said = self.says.clone();
            self.queue.extend(said);
            let count = self.queue.len().min(buffer.len());
            for (place, byte) in buffer.iter_mut().zip(self.queue.drain(..count)) {
                *place = byte;
            }
            Ok(count)
        }

        fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
            if self.is_echoing {
                self.queue.extend(bytes);
            }
            Ok(())
        }

        fn lines(&self) -> Option<ModemLines> {
            match self.joined {
                Some(is_on) => Some(ModemLines { cts: is_on, dsr: is_on, dcd: is_on }),
                None => self.lines,
            }
        }

        fn set_own_lines(&mut self, is_on: bool) {
            self.joined = self.joined.map(|_| is_on);
        }

        fn errors(&self) -> Option<LineErrors> {
            self.errors
        }
    }

    #[track_caller]
    fn expect(verdict: Verdict, mut port: Fake) -> Observation {
        let seen = observe(&mut port, 7, TIME).unwrap();
        let diagnosis = judge(&seen);
        assert_eq!(diagnosis.verdict, verdict, "{}", diagnosis.grounds);
        seen
    }

    fn on() -> Option<ModemLines> {
        Some(ModemLines { cts: true, dsr: true, dcd: true })
    }

    #[test]
    fn beats_of_a_daemon_are_ok_without_keys() {
        let seen = expect(Verdict::Ok, Fake { says: BEAT.to_vec(), lines: on(), ..Fake::default() });
        assert!(seen.messages > 5 && seen.garbage == 0, "{seen:?}");
        assert_eq!(seen.handshake, Handshake::Lines(on().unwrap()));
    }

    #[test]
    fn loopback_plug_is_an_echo_with_joined_lines() {
        let seen = expect(Verdict::Echo, Fake { is_echoing: true, joined: Some(true), ..Fake::default() });
        assert_eq!(seen.handshake, Handshake::Joined);
        assert_eq!((seen.echoes > 0, seen.messages), (true, 0));
    }

    #[test]
    fn silence_is_told_apart_by_the_lines() {
        expect(Verdict::PeerClosed, Fake { lines: on(), ..Fake::default() });
        expect(Verdict::Silent, Fake { lines: Some(ModemLines::default()), ..Fake::default() });
        expect(Verdict::Silent, Fake { joined: Some(true), ..Fake::default() });
        expect(Verdict::Silent, Fake::default());
    }

    #[test]
    fn garbage_with_framing_errors_is_another_speed() {
        let says = vec![0x81; 100];
        let errors = Some(LineErrors { framing: 4_000_000, ..LineErrors::default() });
        expect(Verdict::WrongBaud, Fake { says: says.clone(), errors, framing: 40, ..Fake::default() });
        expect(Verdict::Noise, Fake { says, errors, ..Fake::default() });
    }

    #[test]
    fn other_probe_tells_whether_it_hears_us() {
        let says = |heard: &str| format!("\n{WORD} 0000002a {heard}\n").into_bytes();
        let seen = expect(Verdict::Ok, Fake { says: says("00000007"), ..Fake::default() });
        assert_eq!((seen.is_heard_by_peer, seen.garbage), (Some(true), 0));
        expect(Verdict::OneWay, Fake { says: says("-"), ..Fake::default() });
    }
}
