//! The engine's links: which are open, when to ask for the others, what came and went on each.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use crate::config::Config;
use crate::core::ids::{LinkId, LinkSet};
use crate::core::limits::LINKS_MAX;
use crate::core::time::{Duration, Instant};
use crate::links::{Link, Received};
use crate::wire::heartbeat::{Reject, StreamCounters, TextStream};

/// Pauses before a device that is gone is asked for again: the first one, doubled each time up to the last one.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bad packets of one link that are logged in [`COMPLAINT_WINDOW`]; further ones are counted.
const COMPLAINTS_MAX: u32 = 5;
const COMPLAINT_WINDOW: Duration = Duration::from_secs(60);

/// Where the device of a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    /// It works.
    Open,
    /// The guardian has been asked.
    Asked,
    /// It will be asked then.
    Waiting(Instant),
}

/// What has passed over one link since the engine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Authentic messages.
    pub received: u64,
    /// Messages handed to the device.
    pub sent: u64,
    /// Messages that the device did not take.
    pub dropped: u64,
    /// Bad packets by reason, in the order of [`Reject::NAMES`].
    pub rejects: [u64; Reject::NAMES.len()],
    /// Times that the device was lost.
    pub losses: u64,
    /// Noise on a serial line.
    pub stream: StreamCounters,
}

/// One medium of ha.cf.
#[derive(Debug)]
pub struct Slot {
    name: String,
    link: Link,
    stream: Option<Box<TextStream>>,
    device: Device,
    pause: Duration,
    /// A failure has been logged and no success since.
    is_complained: bool,
    /// The reactor watches for writability.
    is_watching_output: bool,
    received: u64,
    rejects: [u64; Reject::NAMES.len()],
    losses: u64,
    complaints: u32,
    hidden: u64,
    complaints_since: Instant,
}

impl Slot {
    /// As in ha.cf.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its device works.
    pub fn is_open(&self) -> bool {
        self.device == Device::Open
    }

    /// Counters.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            received: self.received,
            sent: self.link.sent(),
            dropped: self.link.dropped(),
            rejects: self.rejects,
            losses: self.losses,
            stream: self.stream.as_ref().map(|stream| stream.counters()).unwrap_or_default(),
        }
    }

    /// The transport.
    pub const fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Finds messages in a serial line's bytes; `None` for datagrams.
    pub fn stream(&mut self) -> Option<&mut TextStream> {
        self.stream.as_deref_mut()
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    /// The device is lost: see [`LinkTable::lose`].
    pub fn receive(&mut self, buffer: &mut [u8]) -> std::io::Result<Received> {
        self.link.receive(buffer)
    }

    /// An authentic message came.
    pub const fn count_received(&mut self) {
        self.received += 1;
    }

    /// Counts a bad packet and tells whether it may be logged, with the number of those that were not.
    pub fn count_reject(&mut self, reject: Reject, now: Instant) -> Option<u64> {
        self.rejects[reject.index()] += 1;
        if now.since(self.complaints_since) >= COMPLAINT_WINDOW {
            self.complaints = 0;
            self.complaints_since = now;
        }
        if self.complaints >= COMPLAINTS_MAX {
            self.hidden += 1;
            return None;
        }
        self.complaints += 1;
        Some(std::mem::take(&mut self.hidden))
    }

    /// Whether the reactor's interest has to change, and to what.
    pub fn output_interest(&mut self) -> Option<bool> {
        let is_wanted = self.link.is_output_waiting();
        (self.is_open() && is_wanted != self.is_watching_output).then(|| {
            self.is_watching_output = is_wanted;
            is_wanted
        })
    }
}

/// All of them, in the order of ha.cf.
#[derive(Debug)]
pub struct LinkTable {
    slots: Vec<Slot>,
}

impl LinkTable {
    /// Links that are not open, to be asked for at once.
    pub fn new(config: &Config, now: Instant) -> Self {
        let slot = |medium| {
            let link = Link::new(medium);
            Slot {
                name: medium.name(),
                stream: link.is_text().then(|| Box::new(TextStream::new())),
                link,
                device: Device::Waiting(now),
                pause: PAUSE_MIN,
                is_complained: false,
                is_watching_output: false,
                received: 0,
                rejects: [0; Reject::NAMES.len()],
                losses: 0,
                complaints: 0,
                hidden: 0,
                complaints_since: now,
            }
        };
        Self { slots: config.media.iter().take(LINKS_MAX).map(slot).collect() }
    }

    /// Every link with its number.
    pub fn iter(&self) -> impl Iterator<Item = (LinkId, &Slot)> {
        (0..).map(LinkId).zip(&self.slots)
    }

    /// One of them.
    pub fn get_mut(&mut self, link: LinkId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(link.0))
    }

    /// Every one.
    pub fn all(&self) -> LinkSet {
        LinkSet::first(self.slots.len())
    }

    /// Those whose devices work.
    pub fn open(&self) -> LinkSet {
        self.iter().filter(|(_, slot)| slot.is_open()).map(|(link, _)| link).collect()
    }

    /// Whether the guardian still owes an answer about any of them.
    pub fn is_asking(&self) -> bool {
        self.slots.iter().any(|slot| slot.device == Device::Asked)
    }

    /// The guardian's answer with a descriptor. `false`: it was not asked for, and is closed again.
    pub fn opened(&mut self, link: LinkId, descriptor: OwnedFd) -> bool {
        let Some(slot) = self.get_mut(link) else { return false };
        if slot.is_open() {
            return false;
        }
        slot.link.attach(descriptor);
        if let Some(stream) = &mut slot.stream {
            stream.reset();
        }
        slot.device = Device::Open;
        slot.is_watching_output = false;
        slot.pause = PAUSE_MIN;
        if std::mem::take(&mut slot.is_complained) {
            log::info!("Link device {} works again", slot.name);
        }
        true
    }

    /// The guardian's answer without one. Logged the first time only.
    pub fn refused(&mut self, link: LinkId, errno: i32, now: Instant) {
        let Some(slot) = self.get_mut(link) else { return };
        if slot.is_open() {
            return;
        }
        if !std::mem::replace(&mut slot.is_complained, true) {
            let reason = nix::errno::Errno::from_raw(errno).desc();
            log::error!("Link device {} cannot be opened: {reason}; trying on", slot.name);
        }
        slot.wait(now);
    }

    /// The device has failed. Returns its descriptor, to be taken out of the reactor and closed.
    pub fn lose(&mut self, link: LinkId, error: &std::io::Error, now: Instant) -> Option<OwnedFd> {
        let slot = self.get_mut(link)?;
        let descriptor = slot.link.detach()?;
        slot.losses += 1;
        if !std::mem::replace(&mut slot.is_complained, true) {
            log::error!("Link device {} is lost: {error}; trying to open it again", slot.name);
        }
        slot.wait(now);
        Some(descriptor)
    }

    /// The next link to ask the guardian for.
    pub fn poll_request(&mut self, now: Instant) -> Option<LinkId> {
        let due = |slot: &Slot| matches!(slot.device, Device::Waiting(at) if at <= now);
        let index = self.slots.iter().position(due)?;
        self.slots[index].device = Device::Asked;
        u8::try_from(index).ok().map(LinkId)
    }

    /// When something here is due: a request to the guardian, a stalled line.
    pub fn deadline(&self) -> Option<Instant> {
        let due = |slot: &Slot| match slot.device {
            Device::Waiting(at) => Some(at),
            Device::Open => slot.link.deadline(),
            Device::Asked => None,
        };
        self.slots.iter().filter_map(due).min()
    }

    /// The link to which a datagram belongs that came in on `link`: several ucast lines may share an interface and a
    /// port, and the kernel then picks the socket. The sender's address decides when it is another line's peer.
    pub fn belongs(&self, link: LinkId, sender: Ipv4Addr) -> LinkId {
        let is_of = |slot: &Slot| slot.link.peer() == Some(sender);
        if self.slots.get(usize::from(link.0)).is_none_or(is_of) {
            return link;
        }
        self.iter().find(|(_, slot)| is_of(slot)).map_or(link, |(other, _)| other)
    }
}

impl Slot {
    fn wait(&mut self, now: Instant) {
        self.device = Device::Waiting(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Medium, sample};

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn table() -> LinkTable {
        let mut config = sample::config(&std::env::temp_dir(), &[]);
        let ucast = |last| Medium::Ucast {
            interface: "eth0".to_owned(),
            peer: Ipv4Addr::new(10, 0, 0, last),
            bind: None,
            port: 694,
        };
        let serial = Medium::Serial { device: PathBuf::from("/dev/ttyS0"), baud: 19_200, is_rtscts: true };
        config.media = vec![serial, ucast(1), ucast(2)];
        LinkTable::new(&config, at(0))
    }

    fn descriptor() -> OwnedFd {
        std::io::pipe().unwrap().0.into()
    }

    #[test]
    fn links_are_asked_for_once_until_answered() {
        let mut table = table();
        let asked: Vec<LinkId> = std::iter::from_fn(|| table.poll_request(at(0))).collect();
        assert_eq!(asked, [LinkId(0), LinkId(1), LinkId(2)]);
        assert!(table.is_asking());
        assert_eq!(table.poll_request(at(60_000)), None);
        for link in asked {
            assert!(table.opened(link, descriptor()));
        }
        assert!(!table.is_asking());
        assert_eq!(table.open(), LinkSet::first(3));
        assert!(!table.opened(LinkId(0), descriptor()), "a second descriptor is not taken");
        assert!(!table.opened(LinkId(9), descriptor()));
    }

    #[test]
    fn link_gone_is_asked_for_with_growing_pauses() {
        let mut table = table();
        while table.poll_request(at(0)).is_some() {}
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            table.refused(LinkId(0), 2, now);
            let due = table.deadline().unwrap();
            pauses.push(due.since(now).as_millis());
            assert_eq!(table.poll_request(due - Duration::from_millis(1)), None);
            assert_eq!(table.poll_request(due), Some(LinkId(0)));
            now = due;
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!(table.opened(LinkId(0), descriptor()));
        assert!(table.lose(LinkId(0), &std::io::ErrorKind::BrokenPipe.into(), now).is_some());
        assert!(table.lose(LinkId(0), &std::io::ErrorKind::BrokenPipe.into(), now).is_none());
        assert_eq!(table.deadline(), Some(now + PAUSE_MIN), "after a success the pauses begin anew");
        assert_eq!(table.iter().next().unwrap().1.traffic().losses, 1);
    }

    #[test]
    fn datagram_belongs_to_the_line_of_its_sender() {
        let table = table();
        let peer = |last| Ipv4Addr::new(10, 0, 0, last);
        assert_eq!(table.belongs(LinkId(1), peer(1)), LinkId(1));
        assert_eq!(table.belongs(LinkId(1), peer(2)), LinkId(2));
        assert_eq!(table.belongs(LinkId(2), peer(9)), LinkId(2), "a stranger stays where it came in");
    }

    #[test]
    fn bad_packets_are_all_counted_and_few_are_logged() {
        let mut table = table();
        let slot = table.get_mut(LinkId(1)).unwrap();
        let logged = (0..100).filter(|_| slot.count_reject(Reject::BadMarker, at(1)).is_some()).count();
        assert_eq!(logged, 5);
        assert_eq!(slot.count_reject(Reject::Unsigned, at(61_000)), Some(95));
        let rejects = slot.traffic().rejects;
        assert_eq!((rejects[Reject::BadMarker.index()], rejects[Reject::Unsigned.index()]), (100, 1));
    }
}
