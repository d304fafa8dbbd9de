//! How long a beat takes on a serial line.

use std::time::Duration;

use super::{AuthMethod, Config, Medium, Protocol};
use crate::core::limits::LINKS_MAX;
use crate::core::settings::LinkPace;
use crate::wire::compact::BEAT_LINE_LEN;

/// Bits on the line for each byte: start, eight, stop.
const BITS_PER_BYTE: u32 = 10;
/// Every how many beats the extension goes along (core's `Extension`).
const BEATS_PER_EXTENSION: u32 = 10;

/// Estimated sizes of messages in the text form of serial lines, bytes (spec/wire.md 2.1 and section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageBytes {
    /// `status`, the heartbeat.
    pub beat: u32,
    /// `status` with what only a nullbeat says: every tenth beat, and on change.
    pub long_beat: u32,
    /// `NS_ackmsg`: one for ten messages received.
    pub ack: u32,
}

/// The same in the compact format, in which all beats are of one length.
const COMPACT: MessageBytes = MessageBytes { beat: 28, long_beat: 28, ack: 31 };
const _: () = assert!(BEAT_LINE_LEN == 28);

/// Bytes of a call and of an answer on the line, without the name in it.
const CALL: u32 = 73;
const ANSWER: u32 = 89;

/// One serial line's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTime {
    /// Bits per second.
    pub baud: u32,
    /// Sizes that the times come from.
    pub bytes: MessageBytes,
    /// A beat from its first to its last bit.
    pub beat: Duration,
    /// The same with the extension.
    pub long_beat: Duration,
    /// The line's use for each keepalive, acknowledgements included.
    pub average: Duration,
}

impl LineTime {
    /// Times at `baud`.
    fn new(bytes: MessageBytes, baud: u32) -> Self {
        let time = |bytes: u32| {
            Duration::from_micros(u64::from(bytes) * u64::from(BITS_PER_BYTE) * 1_000_000 / u64::from(baud))
        };
        let (beat, long_beat) = (time(bytes.beat), time(bytes.long_beat));
        let average = (beat * (BEATS_PER_EXTENSION - 1) + long_beat + time(bytes.ack)) / BEATS_PER_EXTENSION;
        let whole =
            |time: Duration| Duration::from_millis(u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX));
        Self { baud, bytes, beat: whole(beat), long_beat: whole(long_beat), average: whole(average) }
    }

    /// `217 bytes of 10 bits each at 9600 bits a second take 227 ms`.
    pub fn arithmetic(&self) -> String {
        format!(
            "{} bytes of {BITS_PER_BYTE} bits each at {} bits a second take {}",
            self.bytes.beat,
            self.baud,
            super::spoken(self.beat)
        )
    }
}

impl Config {
    /// Sizes of the messages that this node sends.
    pub fn message_bytes(&self) -> MessageBytes {
        let name = length(self.node.len());
        // Line by line, `name=value\n`; counters with the digits they have for years.
        let envelope = ">>>\n<<<\n".len() + "src=\n".len() + "(1)srcuuid=012345678901234567890w==\n".len();
        let stamps = "hg=6b03186a\n".len() + "ts=6b031946\n".len() + "ttl=3\n".len();
        let load = "seq=fffffff\n".len() + "ld=0.00 0.00 0.00 1/123 12345\n".len();
        let auth = "auth=1 \n".len() + self.digest_length();
        let common = length(envelope + stamps + auth) + name;
        let offer = if self.compact_partner().is_some() { length("nbp=1\n".len()) } else { 0 };
        let dead = format!("{:x}", self.deadtime.as_millis()).len();
        let status = length("t=status\nst=active\nprotocol=1\nnbv=1\ndt=\n".len() + dead + load);
        let beat = common + status + offer;
        let peer = length(self.nodes.iter().map(String::len).max().unwrap_or(0));
        let ack =
            common + peer + length("t=NS_ackmsg\ndest=\nackseq=fffffff\n(1)destuuid=012345678901234567890w==\n".len());
        MessageBytes { beat, long_beat: beat + self.extension_bytes(), ack }
    }

    /// What the extension adds (wire::heartbeat): a letter for each group, an age for each link, flags and digests.
    fn extension_bytes(&self) -> u32 {
        let fixed = "nbg=\nnbc=\nnbe=6b031868:fffffff:ps---\nnbl=\nnbd=ffffffff:ffffffff\n".len();
        let age = format!("{:x},", self.deadtime.as_millis()).len();
        length(fixed + self.groups.len() + self.groups.len().div_ceil(4) + age * self.media.len())
    }

    fn digest_length(&self) -> usize {
        let method = self.keys.iter().find(|key| key.number == self.signing_key).map(|key| key.method);
        match method {
            Some(AuthMethod::Md5) => 32,
            Some(AuthMethod::Crc) => 8,
            _ => 40,
        }
    }

    /// What a beat takes on a line of this speed in the compact format.
    pub fn compact_beat(baud: u32) -> Duration {
        LineTime::new(COMPACT, baud).average
    }

    /// From one beat to the next on a medium, by its place.
    pub fn keepalive_of(&self, place: usize) -> Duration {
        self.keepalives.get(place).copied().unwrap_or(self.keepalive)
    }

    /// The pace of each link to the peer. On a network beats may be repeated eight times as often as said; on a serial line
    /// in the compact format, so often that they take [half of its time](Self::REPEATED_SHARE) at the most; in Heartbeat's
    /// format there is no room on it.
    pub fn paces(&self) -> heapless::Vec<LinkPace, LINKS_MAX> {
        let links = self.media.iter().enumerate().filter(|(_, medium)| !medium.is_ping());
        links.take(LINKS_MAX).map(|(place, medium)| self.pace(place, medium)).collect()
    }

    /// A repeated beat takes this part of a serial line's time at the most.
    pub const REPEATED_SHARE: u32 = 2;

    fn pace(&self, place: usize, medium: &Medium) -> LinkPace {
        let usual = LinkPace::of(self.keepalive_of(place));
        let repeat = match medium {
            Medium::Serial { .. } if self.compact_partner().is_none() => usual.keepalive,
            Medium::Serial { baud, .. } => (Self::compact_beat(*baud) * Self::REPEATED_SHARE).max(usual.repeat),
            _ => usual.repeat,
        };
        LinkPace { repeat, ..usual }
    }

    /// Copies of a beat in a keepalive that the budget of a medium allows, the first one counted; 1: nothing is repeated.
    pub fn copies(&self, place: usize) -> u128 {
        let pace = self.media.get(place).map(|medium| self.pace(place, medium));
        pace.filter(|pace| pace.has_room())
            .map_or(1, |pace| pace.keepalive.as_micros() / pace.repeat.as_micros().max(1))
    }

    /// What a new engine needs with `protocol compact` until the partner hears it, on the fastest serial line: a call, its
    /// answer, and the beat behind which that waits. `None`: text is said at once, or a network carries it in no time.
    pub fn session_time(&self) -> Option<Duration> {
        let is_network = |medium: &Medium| !medium.is_ping() && !matches!(medium, Medium::Serial { .. });
        if self.protocol != Protocol::Compact || self.media.iter().any(is_network) {
            return None;
        }
        (0..self.media.len()).filter_map(|place| self.session_time_of(place)).min()
    }

    /// The same on the medium at this place; `None`: no serial line, or nobody who speaks it.
    pub fn session_time_of(&self, place: usize) -> Option<Duration> {
        let Medium::Serial { baud, .. } = self.media.get(place)? else { return None };
        let partner = self.compact_partner()?;
        let beat = CALL + length(self.node.len()) + ANSWER + length(partner.len()) + COMPACT.beat;
        Some(LineTime::new(MessageBytes { beat, ..COMPACT }, *baud).beat)
    }

    /// The time on the line for each medium that is serial, in the order of `media`.
    pub fn line_times(&self) -> Vec<Option<LineTime>> {
        let bytes = if self.protocol == Protocol::Compact { COMPACT } else { self.message_bytes() };
        let time = |medium: &Medium| match medium {
            Medium::Serial { baud, .. } => Some(LineTime::new(bytes, *baud)),
            _ => None,
        };
        self.media.iter().map(time).collect()
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
