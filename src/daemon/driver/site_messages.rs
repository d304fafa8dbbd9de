//! Messages that a site's own `rc.d` script wants: handed to the guardian, not more of them than anybody needs.

use super::Driver;
use crate::core::ids::Seq;
use crate::core::message::{Body, Packet};
use crate::core::time::{Duration, Instant};
use crate::guardian::messages::MessageOutlet;
use crate::wire::heartbeat::{Codec, STONITH_TYPE};

/// Messages that may come at once.
const BURST: u32 = 32;
/// In the long run one in each of these.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a type of message is called for `rc.d`; `None`: the daemon takes it itself.
fn site_type<'m>(body: &Body<'m>) -> Option<&'m str> {
    match *body {
        Body::Other { kind } => Some(kind),
        Body::Stonith { .. } => Some(STONITH_TYPE),
        _ => None,
    }
}

/// The way to the guardian, and how much has gone it.
#[derive(Debug)]
pub(super) struct SiteMessages {
    outlet: MessageOutlet,
    throttle: Throttle,
    /// Number of our own last message that was handed on: sent again it is no new one.
    own_seq: Seq,
}

/// How many may pass, and what did not.
#[derive(Debug)]
struct Throttle {
    /// When the bucket will be full again.
    full_at: Instant,
    dropped: u64,
    told: u64,
}

impl Throttle {
    const fn new() -> Self {
        Self { full_at: Instant::ZERO, dropped: 0, told: 0 }
    }

    fn admit(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + INTERVAL;
        let is_allowed = full_at.since(now) <= INTERVAL * BURST;
        if is_allowed {
            self.full_at = full_at;
        }
        is_allowed
    }

    /// Counts one more; said when it is the first, and with a number when all is quiet again.
    fn note_drop(&mut self) {
        if self.dropped == self.told {
            log::warn!("rc.d: more messages than scripts can be run for: dropping further ones");
        }
        self.dropped += 1;
    }

    fn tell(&mut self, now: Instant) {
        if self.dropped > self.told && self.full_at <= now {
            log::warn!("rc.d: {} messages were dropped; {} since the start", self.dropped - self.told, self.dropped);
            self.told = self.dropped;
        }
    }
}

impl SiteMessages {
    pub(super) const fn new(outlet: MessageOutlet) -> Self {
        Self { outlet, throttle: Throttle::new(), own_seq: Seq(0) }
    }

    fn hand_on(&mut self, now: Instant, kind: &str, bytes: &[u8]) {
        self.throttle.tell(now);
        if !self.throttle.admit(now) || !self.outlet.send(kind, |each| Codec::strings(bytes, each)) {
            self.throttle.note_drop();
        }
    }

    /// A message that the core has accepted as new and meant for us.
    pub(super) fn received(&mut self, now: Instant, body: &Body<'_>, bytes: &[u8]) {
        if let Some(kind) = site_type(body).filter(|kind| self.outlet.wants(kind)) {
            self.hand_on(now, kind, bytes);
        }
    }

    /// When [`SiteMessages::turn`] has something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.throttle.dropped > self.throttle.told).then_some(self.throttle.full_at)
    }

    pub(super) fn turn(&mut self, now: Instant) {
        self.throttle.tell(now);
    }

    /// Whether a message that we send ourselves, for the first time, has a script here.
    fn wants_own(&self, packet: &Packet) -> bool {
        site_type(&packet.body).is_some_and(|kind| self.outlet.wants(kind))
            && packet.seq.is_some_and(|seq| seq > self.own_seq)
    }
}

impl Driver<'_> {
    /// Heartbeat's daemon hears what it says (spec/resources.md section 7).
    pub(super) fn hear_ourselves(&mut self, packet: &Packet) {
        if !self.site.wants_own(packet) || !self.node.comms().is_up() {
            return;
        }
        self.site.own_seq = packet.seq.unwrap_or_default();
        if let (Some(kind), Some(len)) = (site_type(&packet.body), self.codec.encode_serial(packet, &mut self.text)) {
            self.site.hand_on(self.now.now, kind, &self.text[..len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_lets_a_burst_pass_then_ten_a_second() {
        let mut throttle = Throttle::new();
        let at = Instant::from_millis;
        assert_eq!((0..100).filter(|_| throttle.admit(at(1000))).count(), BURST as usize);
        assert_eq!((0..1000).filter(|ms| throttle.admit(at(1000 + ms))).count(), 9);
        assert_eq!((0..100).filter(|_| throttle.admit(at(60_000))).count(), BURST as usize);
    }

    #[test]
    fn throttle_tells_drops_when_it_is_quiet_again() {
        let mut throttle = Throttle::new();
        throttle.admit(Instant::from_millis(1000));
        throttle.note_drop();
        throttle.note_drop();
        throttle.tell(Instant::from_millis(1050));
        assert_eq!((throttle.dropped, throttle.told), (2, 0));
        throttle.tell(Instant::from_millis(1100));
        assert_eq!((throttle.dropped, throttle.told), (2, 2));
    }
}
