//! The engine's links: which are open, when to ask for the others, what came and went on each.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::config::{Config, Medium};
use crate::core::ids::{LinkId, LinkSet, PingId};
use crate::core::limits::LINKS_MAX;
use crate::core::time::{Duration, Instant};
use crate::links::cable::{ModemWatch, Observation, line_errors, modem_lines};
use crate::links::udp::{Datagram, Reach};
use crate::links::{Link, Received};
use crate::wire::compact::{self, CompactEnd, Speaker, Speech, TextNote};
use crate::wire::heartbeat::{Reject, StreamCounters, TextStream};

use super::cable_watch::{CableWatch, Sample};
use super::clock;
use super::speaker::{room, seed};

/// Pauses before a device that is gone is asked for again: the first one, doubled each time up to the last one.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A socket on which no peer has been heard for this long, and for the dead time, is replaced by a new one: an interface
/// that vanished and came back under its old name, or a network with other addresses, leaves sockets that look sound and
/// hear nothing.
const RENEWAL: Duration = Duration::from_secs(5);
/// Bad packets of one link that are logged in [`COMPLAINT_WINDOW`]; further ones are counted.
const COMPLAINTS_MAX: u32 = 5;
const COMPLAINT_WINDOW: Duration = Duration::from_secs(60);

/// Where the device of a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    /// It works.
    Open,
    /// It works as far as is known, and the guardian has been asked for another one.
    Renewing,
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
    /// A ping node's: no messages pass.
    is_ping: bool,
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
    /// How long the link may be silent before its socket is replaced.
    renewal: Duration,
    /// When a peer was last heard on it, or it was opened.
    silent_since: Instant,
    /// Our own messages that came back on it.
    echoes: u64,
    watch: CableWatch,
    modem: ModemWatch,
    /// Where the compact format is spoken.
    compact: Option<Box<CompactEnd>>,
}

/// What became of a descriptor.
#[derive(Debug)]
pub enum Taken {
    /// It was not asked for, and is closed again.
    Unwanted,
    /// The link works.
    Opened,
    /// It takes the place of this one, to be taken out of the reactor and closed.
    Renewed(Option<OwnedFd>),
}

impl Slot {
    /// As in ha.cf.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its device works.
    pub fn is_open(&self) -> bool {
        matches!(self.device, Device::Open | Device::Renewing)
    }

    /// Counters.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            received: self.received,
            sent: self.link.sent(),
            dropped: self.link.dropped(),
            rejects: self.rejects,
            losses: self.losses,
            stream: self.noise().unwrap_or_default(),
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

    /// Its end of the compact format.
    pub fn compact(&mut self) -> Option<&mut CompactEnd> {
        self.compact.as_deref_mut()
    }

    /// What is said on it now.
    pub fn speech(&self, now: Instant) -> Speech {
        self.compact.as_ref().map_or(Speech::Heartbeat, |end| end.speech(now))
    }

    /// Whether Heartbeat's messages are taken here.
    pub fn takes_text(&self) -> bool {
        self.compact.as_ref().is_none_or(|end| end.takes_text())
    }

    /// Compact frames that were refused, by reason.
    pub fn refused_frames(&self) -> Option<&[u32; compact::Reject::NAMES.len()]> {
        self.compact.as_ref().map(|end| end.rejected())
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    /// The device is lost: see [`LinkTable::lose`].
    pub fn receive(&mut self, buffer: &mut [u8]) -> std::io::Result<Received> {
        self.link.receive(buffer)
    }

    /// An authentic message of a peer came.
    pub const fn count_received(&mut self, now: Instant) {
        self.received += 1;
        self.silent_since = now;
    }

    /// A message of our own came back.
    pub const fn count_echo(&mut self) {
        self.echoes += 1;
    }

    /// The counters of a serial line that is open.
    fn cable_sample(&self, at: Instant) -> Option<Sample> {
        let Link::Serial(line) = &self.link else { return None };
        let errors = line_errors(line.descriptor()?);
        let StreamCounters { frames, garbage_bytes, .. } = self.noise()?;
        Some(Sample { at, bytes: line.bytes, garbage: garbage_bytes, frames, echoes: self.echoes, errors })
    }

    /// What a serial line brought beside messages: a reader of text takes compact frames for garbage.
    fn noise(&self) -> Option<StreamCounters> {
        let mut counters = self.stream.as_ref()?.counters();
        if let Some((frames, bytes)) = self.compact.as_ref().map(|end| end.taken()) {
            counters.frames = counters.frames.wrapping_add(frames);
            let bytes = u32::try_from(bytes & u64::from(u32::MAX)).unwrap_or(0);
            // It counts a line when that ends, so it may not have come that far.
            let garbage = counters.garbage_bytes.wrapping_sub(bytes);
            counters.garbage_bytes = if garbage > u32::MAX / 2 { 0 } else { garbage };
        }
        Some(counters)
    }

    /// Of a serial line that is open: the terminal, and what has come lately.
    pub fn cable(&self, now: Instant) -> Option<(BorrowedFd<'_>, Observation)> {
        let Link::Serial(line) = &self.link else { return None };
        Some((line.descriptor()?, self.watch.lately(self.cable_sample(now)?)))
    }

    /// Whether DSR or DCD of a serial line have dropped since the last look.
    fn has_modem_dropped(&mut self, now: Instant) -> bool {
        let Link::Serial(line) = &self.link else { return false };
        let Some(terminal) = line.descriptor().filter(|_| self.modem.is_worth_a_look(now)) else { return false };
        let before = clock::now_ns();
        let lines = modem_lines(terminal);
        let after = clock::now_ns();
        self.modem.note(lines, Instant::from_micros(after / 1000), Duration::from_nanos(after.saturating_sub(before)))
    }

    /// When its socket is due to be replaced if nobody is heard before.
    fn renewal_due(&self) -> Option<Instant> {
        (self.device == Device::Open && self.link.network().is_some()).then(|| self.silent_since + self.renewal)
    }

    /// Counts a bad packet and tells whether it may be logged, with the number of those that were not.
    pub fn count_reject(&mut self, reject: Reject, now: Instant) -> Option<u64> {
        self.rejects[reject.index()] += 1;
        self.may_complain(now)
    }

    /// Whether something bad that came may be logged, with the number of those that were not.
    pub fn may_complain(&mut self, now: Instant) -> Option<u64> {
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
        let deadtime = Duration::from_micros(u64::try_from(config.deadtime.as_micros()).unwrap_or(u64::MAX));
        let slot = |(place, medium): (usize, &Medium)| {
            let keepalive = config.keepalive_of(place);
            let mut link = Link::new(medium);
            Slot {
                name: medium.name(),
                stream: link.is_text().then(|| Box::new(TextStream::new())),
                is_ping: link.ping().is_some(),
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
                renewal: RENEWAL.max(deadtime),
                silent_since: now,
                echoes: 0,
                watch: CableWatch::new(keepalive, now),
                modem: ModemWatch::default(),
                compact: None,
            }
        };
        Self { slots: config.media.iter().take(LINKS_MAX).enumerate().map(slot).collect() }
    }

    /// Gives every link to the partner its end of the compact format.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn speak_compact(&mut self, speaker: &Speaker, config: &Config, now: Instant) -> std::io::Result<()> {
        for (place, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| !slot.is_ping) {
            let line = slot.link.line().map(|line| room(config, place, line));
            slot.compact = Some(Box::new(CompactEnd::new(speaker, seed()?, line, now)));
        }
        Ok(())
    }

    /// A signed status of the partner's in Heartbeat's format has come on one of them. Returns those on which it has ended
    /// a session.
    pub fn note_text(&mut self, note: TextNote, now: Instant) -> LinkSet {
        let mut ended = LinkSet::EMPTY;
        for (link, slot) in (0..).map(LinkId).zip(&mut self.slots) {
            if slot.compact.as_mut().is_some_and(|end| end.note_text(note, now)) {
                ended.insert(link);
            }
        }
        ended
    }

    /// What is said on one of them now.
    pub fn speech(&self, link: LinkId, now: Instant) -> Option<Speech> {
        self.slots.get(usize::from(link.0)).map(|slot| slot.speech(now))
    }

    /// Every link with its number.
    pub fn iter(&self) -> impl Iterator<Item = (LinkId, &Slot)> {
        (0..).map(LinkId).zip(&self.slots)
    }

    /// One of them.
    pub fn get_mut(&mut self, link: LinkId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(link.0))
    }

    /// A serial line need not wake anybody before another frame can be whole.
    pub fn await_frame(&mut self, link: LinkId) {
        let Some(Slot { link: Link::Serial(line), compact: Some(end), .. }) = self.get_mut(link) else { return };
        line.await_bytes(u8::try_from(end.missing()).unwrap_or(1));
    }

    /// Every one that leads to peers; those of ping nodes come behind them.
    pub fn all(&self) -> LinkSet {
        self.iter().filter(|(_, slot)| !slot.is_ping).map(|(link, _)| link).collect()
    }

    /// Those that lead to peers and whose devices work.
    pub fn open(&self) -> LinkSet {
        self.iter().filter(|(_, slot)| slot.is_open() && !slot.is_ping).map(|(link, _)| link).collect()
    }

    /// Whether no slow line is busy with anything: what can wait goes with a beat only then.
    pub fn have_room_for_news(&self, now: Instant) -> bool {
        self.slots.iter().filter_map(|slot| slot.link.line()).all(|line| line.is_idle(now))
    }

    /// Those of ping nodes whose sockets are open, in the order of ha.cf.
    pub fn pings(&self) -> LinkSet {
        self.iter().filter(|(_, slot)| slot.is_open() && slot.is_ping).map(|(link, _)| link).collect()
    }

    /// Looks at the modem lines of all serial lines and says which have dropped. That wakes the decision and permits nothing:
    /// a closed port, a cut cable and a dead board look the same.
    pub fn look_at_modem_lines(&mut self, now: Instant) {
        for slot in &mut self.slots {
            if slot.has_modem_dropped(now) {
                log::warn!(
                    "Link {}: DSR or DCD has dropped: at the other end the port was closed, or the power is off",
                    slot.name
                );
            }
        }
    }

    /// The ping node behind a link.
    pub fn ping_of(&self, link: LinkId) -> Option<PingId> {
        let first = self.slots.iter().position(|slot| slot.is_ping)?;
        let index = usize::from(link.0).checked_sub(first)?;
        u8::try_from(index).ok().map(PingId)
    }

    /// Whether the guardian still owes an answer about any of them.
    pub fn is_asking(&self) -> bool {
        self.slots.iter().any(|slot| slot.device == Device::Asked)
    }

    /// The guardian's answer with a descriptor.
    pub fn opened(&mut self, link: LinkId, descriptor: OwnedFd, detail: u32, now: Instant) -> Taken {
        let Some(slot) = self.get_mut(link) else { return Taken::Unwanted };
        if slot.device == Device::Open {
            return Taken::Unwanted;
        }
        let is_renewed = slot.device == Device::Renewing;
        let replaced = slot.link.attach(descriptor, detail);
        slot.device = Device::Open;
        slot.silent_since = now;
        if is_renewed {
            return Taken::Renewed(replaced);
        }
        if let Some(stream) = &mut slot.stream {
            stream.reset();
        }
        if let Some(sample) = slot.cable_sample(now) {
            slot.watch.restart(sample);
        }
        slot.modem = ModemWatch::default();
        slot.is_watching_output = false;
        slot.pause = PAUSE_MIN;
        slot.link.tell_open();
        if std::mem::take(&mut slot.is_complained) {
            log::info!("Link device {} works again", slot.name);
        }
        Taken::Opened
    }

    /// The guardian's answer without one. Logged the first time only. Returns the descriptor of a link that was open until
    /// now and is lost with this.
    pub fn refused(&mut self, link: LinkId, errno: i32, now: Instant) -> Option<OwnedFd> {
        let slot = self.get_mut(link)?;
        let errno = Errno::from_raw(errno);
        match slot.device {
            Device::Open => return None,
            Device::Renewing => {
                slot.device = Device::Open;
                slot.silent_since = now;
                // Anything else says nothing about the one that is open.
                let is_gone = matches!(errno, Errno::ENODEV | Errno::ENXIO | Errno::EADDRNOTAVAIL);
                return if is_gone { self.lose(link, &errno.into(), now) } else { None };
            }
            Device::Asked | Device::Waiting(_) => {}
        }
        if !std::mem::replace(&mut slot.is_complained, true) {
            log::error!("Link device {} cannot be opened: {}; trying on", slot.name, errno.desc());
        }
        slot.wait(now);
        None
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

    /// Takes a sample of each serial line now and then.
    pub fn sample_cables(&mut self, now: Instant) {
        for slot in self.slots.iter_mut().filter(|slot| slot.stream.is_some() && slot.watch.is_due(now)) {
            if let Some(sample) = slot.cable_sample(now) {
                slot.watch.note(sample);
            }
        }
    }

    /// The next link to ask the guardian for.
    pub fn poll_request(&mut self, now: Instant) -> Option<LinkId> {
        let due = |slot: &Slot| match slot.device {
            Device::Waiting(at) => at <= now,
            _ => slot.renewal_due().is_some_and(|at| at <= now),
        };
        let index = self.slots.iter().position(due)?;
        let device = &mut self.slots[index].device;
        *device = if *device == Device::Open { Device::Renewing } else { Device::Asked };
        u8::try_from(index).ok().map(LinkId)
    }

    /// When something here is due: a request to the guardian, a stalled line.
    pub fn deadline(&self) -> Option<Instant> {
        let due = |slot: &Slot| match slot.device {
            Device::Waiting(at) => Some(at),
            Device::Open | Device::Renewing => slot.link.deadline().into_iter().chain(slot.renewal_due()).min(),
            Device::Asked => None,
        };
        self.slots.iter().filter_map(due).min()
    }

    /// The link to which a datagram belongs that came in on `link`; `None`: another one has it, too.
    ///
    /// Sockets of one interface and port get each other's datagrams. Several `ucast` lines there: the kernel picks one of
    /// the sockets, and the sender's address tells whose line it is. A `bcast` line beside them: what was sent to everybody
    /// reaches every socket and counts for the `bcast` line only, what was sent to us alone counts for the sender's line.
    /// The original does not tell them apart: it knows the link's name only, which is the same for all of them. Here each
    /// line is a link of its own, and one that is cut shall not look alive because of another.
    pub fn belongs(&self, link: LinkId, datagram: &Datagram) -> Option<LinkId> {
        let Some(slot) = self.slots.get(usize::from(link.0)) else { return Some(link) };
        let is_of = |slot: &Slot| slot.link.peer() == Some(datagram.sender);
        if is_of(slot) && datagram.reach == Reach::One {
            return Some(link);
        }
        let mut siblings = self.iter().filter(|(_, other)| is_same_place(slot, other));
        match (slot.link.peer().is_some(), datagram.reach) {
            (_, Reach::One) => Some(siblings.find(|(_, other)| is_of(other)).map_or(link, |(other, _)| other)),
            (true, Reach::Many) => {
                let is_heard = |other: &Slot| other.is_open() && other.link.peer().is_none();
                if siblings.any(|(_, other)| is_heard(other)) { None } else { Some(link) }
            }
            (false, Reach::Many) => Some(link),
        }
    }
}

/// Whether two sockets can get each other's datagrams. Those of groups are bound to the group.
fn is_same_place(one: &Slot, other: &Slot) -> bool {
    fn place(slot: &Slot) -> Option<(&str, u16, bool)> {
        match slot.link.network()? {
            Medium::Ucast { interface, port, .. } | Medium::Bcast { interface, port } => {
                Some((interface, *port, false))
            }
            Medium::Ucast6 { interface, port, .. } => Some((interface, *port, true)),
            _ => None,
        }
    }
    place(one).is_some() && place(one) == place(other)
}

impl Slot {
    fn wait(&mut self, now: Instant) {
        self.device = Device::Waiting(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::PathBuf;

    use super::*;
    use crate::config::sample;

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
        let bcast = Medium::Bcast { interface: "eth0".to_owned(), port: 694 };
        config.media = vec![serial, ucast(1), ucast(2), bcast];
        LinkTable::new(&config, at(0))
    }

    fn open(table: &mut LinkTable, link: LinkId, now: Instant) -> Taken {
        table.opened(link, descriptor(), 0, now)
    }

    fn descriptor() -> OwnedFd {
        std::io::pipe().unwrap().0.into()
    }

    #[test]
    fn links_are_asked_for_once_until_answered() {
        let mut table = table();
        let asked: Vec<LinkId> = std::iter::from_fn(|| table.poll_request(at(0))).collect();
        assert_eq!(asked, [LinkId(0), LinkId(1), LinkId(2), LinkId(3)]);
        assert!(table.is_asking());
        assert_eq!(table.poll_request(at(60_000)), None);
        for link in asked {
            assert!(matches!(open(&mut table, link, at(0)), Taken::Opened));
        }
        assert!(!table.is_asking());
        assert_eq!(table.open(), LinkSet::first(4));
        for link in [0, 9] {
            let taken = open(&mut table, LinkId(link), at(0));
            assert!(matches!(taken, Taken::Unwanted), "a second descriptor is not taken");
        }
    }

    #[test]
    fn link_gone_is_asked_for_with_growing_pauses() {
        let mut table = table();
        while table.poll_request(at(0)).is_some() {}
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(table.refused(LinkId(0), 2, now).is_none());
            let due = table.deadline().unwrap();
            pauses.push(due.since(now).as_millis());
            assert_eq!(table.poll_request(due - Duration::from_millis(1)), None);
            assert_eq!(table.poll_request(due), Some(LinkId(0)));
            now = due;
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!(matches!(open(&mut table, LinkId(0), now), Taken::Opened));
        assert!(table.lose(LinkId(0), &std::io::ErrorKind::BrokenPipe.into(), now).is_some());
        assert!(table.lose(LinkId(0), &std::io::ErrorKind::BrokenPipe.into(), now).is_none());
        assert_eq!(table.deadline(), Some(now + PAUSE_MIN), "after a success the pauses begin anew");
        assert_eq!(table.iter().next().unwrap().1.traffic().losses, 1);
    }

    #[test]
    fn datagram_belongs_to_the_line_of_its_sender() {
        let mut table = table();
        let from = |last, reach| Datagram { len: 1, sender: Ipv4Addr::new(10, 0, 0, last).into(), reach };
        let belongs = |table: &LinkTable, link, last, reach| table.belongs(LinkId(link), &from(last, reach));
        assert_eq!(belongs(&table, 1, 1, Reach::One), Some(LinkId(1)));
        assert_eq!(belongs(&table, 1, 2, Reach::One), Some(LinkId(2)));
        assert_eq!(belongs(&table, 3, 2, Reach::One), Some(LinkId(2)), "not what the broadcast line's socket is for");
        assert_eq!(belongs(&table, 2, 9, Reach::One), Some(LinkId(2)), "a stranger stays where it came in");
        assert_eq!(belongs(&table, 3, 1, Reach::Many), Some(LinkId(3)));
        assert_eq!(belongs(&table, 1, 1, Reach::Many), Some(LinkId(1)), "no other socket hears it");
        while table.poll_request(at(0)).is_some() {}
        open(&mut table, LinkId(3), at(0));
        assert_eq!(belongs(&table, 1, 1, Reach::Many), None, "the broadcast line's socket has it, too");
    }

    #[test]
    fn socket_that_hears_nobody_is_renewed_and_a_serial_line_is_not() {
        let mut table = table();
        while table.poll_request(at(0)).is_some() {}
        for link in 0..4 {
            open(&mut table, LinkId(link), at(0));
        }
        assert_eq!(table.deadline(), Some(at(5000)));
        table.get_mut(LinkId(1)).unwrap().count_received(at(4000));
        assert_eq!(table.poll_request(at(5000)), Some(LinkId(2)));
        assert_eq!(table.poll_request(at(5000)), Some(LinkId(3)));
        assert_eq!(table.poll_request(at(5000)), None);
        assert_eq!(table.open(), LinkSet::first(4), "the old ones are in use meanwhile");
        assert!(matches!(open(&mut table, LinkId(2), at(5000)), Taken::Renewed(Some(_))));
        assert!(table.refused(LinkId(3), Errno::EMFILE as i32, at(5000)).is_none());
        assert_eq!(table.open(), LinkSet::first(4));
        assert_eq!(table.deadline(), Some(at(9000)));
        assert_eq!(table.poll_request(at(9000)), Some(LinkId(1)));
        assert!(table.refused(LinkId(1), Errno::ENODEV as i32, at(9000)).is_some(), "the interface is gone");
        assert!(!table.open().contains(LinkId(1)));
        assert_eq!(table.deadline(), Some(at(9000) + PAUSE_MIN));
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
