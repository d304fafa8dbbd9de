//! Links in: bytes to messages to the core; devices that come and go.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::clients_side::Heard;
use super::compact_side::is_frame;
use super::membership_side::MembershipSide;
use super::site_messages::SiteMessages;
use super::test_losses::Losses;
use super::{ClientsSide, Driver, link_of, token_of};
use crate::core::ids::{Generation, LinkId, NodeId, Seq, Uuid};
use crate::core::limits::NODES_MAX;
use crate::core::message::{Body, Message};
use crate::core::time::Stamp;
use crate::core::{Input, Node};
use crate::daemon::history::news::News;
use crate::daemon::history::words::What;
use crate::daemon::link_table::{LinkTable, Taken};
use crate::guardian::protocol::ToGuardian;
use crate::links::Received;
use crate::wire::compact::TextNote;
use crate::wire::heartbeat::{Codec, Expander, Reject};

/// Datagrams, or buffers full of a serial line's bytes, taken from one link in one turn: a flood must not keep the beat
/// waiting.
const RECEIVES_MAX: usize = 64;
/// Rounds of [`RECEIVES_MAX`] in which a turn that was late takes what came during its sleep: more than a socket's buffer holds.
const CATCH_UP_ROUNDS: usize = 16;

impl Driver<'_> {
    /// Takes what has arrived on the links that are ready: everything when `is_tick_due`, else one portion each, which
    /// saves the call that finds nothing more.
    pub(super) fn serve_links(&mut self, is_tick_due: bool) {
        for ready in self.reactor.ready() {
            if let Some(link) = link_of(ready) {
                if ready.is_writable {
                    self.flush_link(link);
                }
                if ready.is_readable {
                    let portions = if is_tick_due { RECEIVES_MAX } else { 1 };
                    self.receive_on(link, portions);
                }
            }
        }
        if !self.lost.is_empty() {
            self.drain();
        }
    }

    /// After a sleep that was too long: takes everything that came meanwhile, as far as it has an end.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        for _ in 0..CATCH_UP_ROUNDS {
            self.reactor.look()?;
            if !self.reactor.ready().any(|ready| link_of(ready).is_some() && ready.is_readable) {
                break;
            }
            self.serve_links(true);
        }
        Ok(())
    }

    pub(super) fn receive_on(&mut self, link: LinkId, portions: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..portions {
            let Some(slot) = self.links.get_mut(link) else { break };
            let received = slot.receive(&mut buffer);
            self.has_heard |= !matches!(received, Ok(Received::Nothing | Received::Bytes(_)));
            match received {
                Ok(Received::Nothing) => break,
                Ok(Received::Foreign) => {}
                Ok(Received::Echo { start, end }) => self.take_echo(link, &buffer[start..end]),
                Ok(Received::Refused(count, reject)) => self.refuse(link, count, reject),
                Ok(Received::Bytes(count)) => {
                    self.take_bytes(link, &buffer[..count]);
                    // There was no more when it was read. What has come since wakes the next turn, and one that was late
                    // looks again.
                    if count < buffer.len() {
                        break;
                    }
                }
                Ok(Received::Datagram(datagram)) => {
                    let is_looped = slot.link().is_looped();
                    let bytes = &buffer[..datagram.len];
                    if slot.compact().is_some() && is_frame(bytes) {
                        if let Some(link) = self.links.belongs(link, &datagram) {
                            self.take_frame(link, bytes);
                        }
                    } else if !slot.takes_text() {
                        self.refuse(link, bytes.len(), Reject::BadMarker);
                    } else if is_looped && *bytes == self.datagram[..self.datagram_len] {
                        self.node.count_own_copy();
                    } else if let Some(link) = self.links.belongs(link, &datagram) {
                        let outcome = self.take_message(link, bytes);
                        self.settle(link, bytes.len(), outcome);
                    }
                }
                Err(error) => {
                    self.lose_link(link, &error);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// A ping node's answer, if it is one.
    fn take_echo(&mut self, link: LinkId, data: &[u8]) {
        let Some(ping) = self.links.ping_of(link) else { return };
        let Some(slot) = self.links.get_mut(link) else { return };
        let Some(socket) = slot.link().ping() else { return };
        match self.codec.check_ping(data, socket.name(), socket.kind()) {
            Ok(()) => {
                slot.count_received(self.now.now);
                self.feed(Input::PingAnswer { ping });
            }
            Err(reject) => self.refuse(link, data.len(), reject),
        }
    }

    pub(super) fn take_stream(&mut self, link: LinkId, mut bytes: &[u8]) {
        loop {
            let (this, mut ears) = self.split();
            let Some(frame) = this.links.get_mut(link).and_then(|slot| slot.stream()?.next(&mut bytes)) else { return };
            let count = frame.len();
            *this.has_heard = true;
            let outcome = read(this.desk.codec, frame, (this.desk.scratch, this.desk.expander), |message, plain| {
                ears.hear_text(link, message, plain)
            });
            let note = ears.note;
            self.note_text(note);
            self.settle(link, count, outcome);
        }
    }

    pub(super) fn take_message(&mut self, link: LinkId, bytes: &[u8]) -> Result<Origin, Reject> {
        let (this, mut ears) = self.split();
        let outcome = read(this.desk.codec, bytes, (this.desk.scratch, this.desk.expander), |message, plain| {
            ears.hear_text(link, message, plain)
        });
        let note = ears.note;
        self.note_text(note);
        outcome
    }

    /// What it takes to read a message, and what a message goes to.
    pub(super) fn split(&mut self) -> (Reading<'_>, Ears<'_>) {
        let Self {
            links,
            codec,
            scratch,
            expander,
            node,
            uuids,
            now,
            site,
            news,
            clients,
            membership,
            losses,
            text,
            has_heard,
            ..
        } = self;
        let ears = Ears { node, uuids, now: *now, site, news, clients, membership, losses, note: None };
        (Reading { links, desk: Desk { codec, scratch, expander, text }, has_heard }, ears)
    }

    /// After a message has been handled, or refused: counts it, keeps the sender's uuid when it is new, performs what the
    /// core wants done.
    pub(super) fn settle(&mut self, link: LinkId, len: usize, outcome: Result<Origin, Reject>) {
        match outcome {
            Ok(origin) => {
                let now = self.now.now;
                match self.links.get_mut(link) {
                    Some(slot) if origin == Origin::Ourselves => slot.count_echo(),
                    Some(slot) => slot.count_received(now),
                    None => {}
                }
                if let Origin::New(node, uuid) = origin {
                    self.note_uuid(node, uuid);
                }
                self.drain();
                self.drain_membership();
            }
            Err(reject) => self.refuse(link, len, reject),
        }
    }

    pub(super) fn refuse(&mut self, link: LinkId, len: usize, reject: Reject) {
        let now = self.now.now;
        let Some(slot) = self.links.get_mut(link) else { return };
        let is_text = slot.stream().is_some();
        let Some(hidden) = slot.count_reject(reject, now) else { return };
        if reject.is_authentication() && !self.config.log_badpack {
            return;
        }
        let name = slot.name();
        if hidden > 0 {
            log::info!("{hidden} more bad packets on link {name} were not logged");
        }
        match reject {
            Reject::UnknownKey { number } => {
                log::warn!("Invalid authentication [{number}] in message! ({len} bytes on {name})");
            }
            Reject::BadDigest { number } if is_text => {
                log::warn!("string2msg_ll: message on {name} failed authentication: {len} bytes, key {number}");
            }
            Reject::BadDigest { number } => {
                log::error!("netstring authentication failed: {len} bytes on {name}, key {number}");
            }
            Reject::Unsigned if is_text => log::warn!("Bad/invalid auth token: {len} bytes on {name} are not signed"),
            Reject::Unsigned => log::error!("peel_netstring() error in getting auth string: {len} bytes on {name}"),
            // Noise is what cables do.
            reject if is_text && !reject.is_authentic() => log::debug!("{len} bytes on {name} dropped: {reject}"),
            reject => log::error!("Bad packet of {len} bytes on {name} dropped: {reject}"),
        }
    }

    pub(super) fn flush_link(&mut self, link: LinkId) {
        let now = self.now.now;
        self.has_heard = true;
        if let Some(slot) = self.links.get_mut(link)
            && let Err(error) = slot.link().flush(now)
        {
            self.lose_link(link, &error);
        }
    }

    // Not inlined: its frame would be part of one that every turn of the loop touches.
    #[inline(never)]
    pub(super) fn open_link(&mut self, link: LinkId, descriptor: OwnedFd, detail: u32) {
        if let Err(error) = self.reactor.add(&descriptor, token_of(link)) {
            log::error!("Link device cannot be watched: {error}");
            self.refuse_link(link, Errno::EIO as i32);
            return;
        }
        match self.links.opened(link, descriptor, detail, self.now.now) {
            Taken::Unwanted => {}
            Taken::Opened => {
                self.record(What::Device { link, is_open: true });
                self.feed(Input::LinkDevice { link, is_open: true });
            }
            Taken::Renewed(replaced) => {
                if let Some(replaced) = replaced {
                    let _ = self.reactor.remove(&replaced);
                }
            }
        }
    }

    pub(super) fn refuse_link(&mut self, link: LinkId, errno: i32) {
        if let Some(descriptor) = self.links.refused(link, errno, self.now.now) {
            self.forget_link(link, &descriptor);
            self.drain();
        }
    }

    /// The core is told with the next [`Driver::drain`].
    pub(super) fn lose_link(&mut self, link: LinkId, error: &io::Error) {
        if let Some(descriptor) = self.links.lose(link, error, self.now.now) {
            self.forget_link(link, &descriptor);
        }
    }

    fn forget_link(&mut self, link: LinkId, descriptor: &OwnedFd) {
        let _ = self.reactor.remove(descriptor);
        self.record(What::Device { link, is_open: false });
        self.lost.insert(link);
    }

    /// Asks for devices that are to be opened, flushes lines that have stalled.
    pub(super) fn look_after_links(&mut self) {
        let now = self.now.now;
        self.links.sample_cables(now);
        while let Some(link) = self.links.poll_request(now) {
            self.ask(ToGuardian::OpenLink { link });
        }
        if self.links.deadline().is_some_and(|deadline| deadline <= now) {
            for link in self.links.open().iter() {
                self.flush_link(link);
            }
            self.drain();
        }
    }
}

/// What it takes to receive a message.
pub(super) struct Reading<'d> {
    pub(super) links: &'d mut LinkTable,
    pub(super) desk: Desk<'d>,
    /// Something has come in this turn.
    pub(super) has_heard: &'d mut bool,
}

/// What it takes to read one.
pub(super) struct Desk<'d> {
    pub(super) codec: &'d Codec,
    pub(super) scratch: &'d mut [u8],
    pub(super) expander: &'d mut Expander,
    pub(super) text: &'d mut [u8],
}

/// What a message goes to.
pub(super) struct Ears<'d> {
    node: &'d mut Node,
    uuids: &'d [Uuid; NODES_MAX],
    pub(super) now: Stamp,
    site: &'d mut SiteMessages,
    news: &'d mut News,
    clients: &'d mut ClientsSide,
    membership: &'d mut MembershipSide,
    losses: &'d mut Losses,
    /// What the message tells of the partner's run.
    note: Option<TextNote>,
}

impl Ears<'_> {
    fn hear_text(&mut self, link: LinkId, message: &Message<'_>, plain: &[u8]) -> Origin {
        let settings = self.node.settings();
        let partner = settings.partner.and_then(|partner| settings.nodes.get(usize::from(partner.0)));
        self.note = TextNote::of(message).filter(|_| partner.is_some_and(|partner| partner.as_str() == message.src));
        self.hear(link, message, plain)
    }

    /// Takes what a client of the partner's says, which has come in pieces with this run and number. A status has a frame of its
    /// own, which nothing else can stand for.
    pub(super) fn hear_client(
        &mut self,
        link: LinkId,
        number: (Generation, Seq),
        message: &Message<'_>,
        plain: &[u8],
    ) -> Origin {
        let is_as_said = (message.generation, message.seq) == (number.0, Some(number.1));
        if !is_as_said || matches!(message.body, Body::Status { .. }) {
            log::debug!("A client's message of {} is not what its frames say: dropped", message.src);
            return Origin::Other;
        }
        self.hear(link, message, plain)
    }

    /// Whether anybody looks at how this message stands in Heartbeat's format. A status only clients hear: a beat is not
    /// written out when there are none.
    pub(super) fn reads_plain(&self, message: &Message<'_>) -> bool {
        !matches!(message.body, Body::Status { .. })
            || self.clients.server().is_some_and(|server| server.connected() > 0)
    }

    /// Takes an authentic message; `plain` is how it stands in Heartbeat's format, or nothing.
    pub(super) fn hear(&mut self, link: LinkId, message: &Message<'_>, plain: &[u8]) -> Origin {
        let origin = Origin::of(self.node, self.uuids, message);
        if self.losses.loses_received(self.node, message.src) {
            return Origin::Other;
        }
        let heard = Heard::before(self.node, message);
        self.node.handle(self.now, Input::Received { link, message });
        heard.after(self.node, message).tell(self.node, self.clients, plain);
        if self.node.has_delivered() {
            self.membership.hear(self.now.now, message, plain);
            self.site.received(self.now.now, &message.body, plain);
        }
        take_news(self.news, self.node, message, self.now);
        origin
    }
}

/// What the partner's present run tells the history: an old message of an earlier run says nothing.
fn take_news(news: &mut News, node: &Node, message: &Message<'_>, now: Stamp) {
    let (Some(text), Some(partner)) = (message.news, node.settings().partner) else { return };
    let is_partner = node.settings().nodes.get(usize::from(partner.0)).is_some_and(|name| name.as_str() == message.src);
    if is_partner
        && message.generation == node.comms().peer(partner).generation
        && let Some((wall, origin, entry)) = news.take(message.src, message.generation, text)
    {
        entry.emit_at(Stamp { now: now.now, wall }, Some(origin));
    }
}

/// Shows the message in these bytes to `look`, unpacked if need be, and the bytes that it then stands in.
pub(super) fn read<R>(
    codec: &Codec,
    bytes: &[u8],
    (scratch, expander): (&mut [u8], &mut Expander),
    look: impl FnOnce(&Message<'_>, &[u8]) -> R,
) -> Result<R, Reject> {
    match codec.decode(bytes, scratch) {
        Ok(message) => Ok(look(&message, bytes)),
        Err(Reject::Compressed) => {
            let expanded = codec.expand(bytes, expander)?;
            codec.decode_expanded(&expanded, scratch).map(|message| look(&message, expanded.bytes()))
        }
        Err(reject) => Err(reject),
    }
}

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody who calls itself as we do: a copy of what we sent, most likely.
    Ourselves,
    /// A node whose uuid is not known yet, or is another one now: messages to it carry it.
    New(NodeId, Uuid),
    /// Anybody else.
    Other,
}

impl Origin {
    fn of(node: &Node, known: &[Uuid; NODES_MAX], message: &Message<'_>) -> Self {
        let settings = node.settings();
        let names = (0..).map(NodeId).zip(&settings.nodes);
        let Some((sender, _)) = names.into_iter().find(|(_, name)| name.as_str() == message.src) else {
            return Self::Other;
        };
        if sender == settings.local {
            return Self::Ourselves;
        }
        match message.src_uuid.filter(|uuid| !uuid.is_nil()) {
            Some(uuid) if known.get(usize::from(sender.0)) != Some(&uuid) => Self::New(sender, uuid),
            _ => Self::Other,
        }
    }
}
