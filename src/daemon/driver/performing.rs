//! The core's actions: links out, jobs, news.

use std::io;

use super::{Driver, Job, STOP_BY_GUARDIAN, StopRequest};
use crate::core::ids::{GroupId, JobId, LinkSet, ShotId};
use crate::core::message::{Body, GroupState, NodeStatus, Packet};
use crate::core::time::Duration;
use crate::core::{Action, Alarm, Cause, Event, FenceOutcome, Input, Order, Outcome};
use crate::daemon::clock;
use crate::daemon::history::words::What;
use crate::guardian::protocol::ToGuardian;
use crate::links::Cargo;
use crate::wire::compact::Speech;
use crate::wire::heartbeat::Codec;

/// How long the last words may take to leave a serial line.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often it is looked whether they have.
const LAST_WORDS_LOOK: Duration = Duration::from_millis(5);

/// Between two answers of the core that it cannot stop yet.
const STOP_PAUSE: Duration = Duration::from_secs(10);

impl Driver<'_> {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Transmit { links, packet } => self.transmit(links, &packet),
            Action::Ping { ts } => self.ask_pings(ts),
            Action::Run { job, group, order } => self.run_job(job, group, order),
            Action::Fence { shot, method } => self.fire(shot, method),
            Action::CancelFence { shot } => self.ask(ToGuardian::CancelFence { shot }),
            Action::NoteFencings { count } => self.ask(ToGuardian::NoteFencings { count }),
            Action::Outrun { known } => self.ask(ToGuardian::Outrun { known }),
            Action::SetOwner { is_owner } => self.set_owner(is_owner),
            Action::Event(event) => self.tell(event),
            Action::Reply { id: STOP_BY_GUARDIAN, outcome } => {
                if !matches!(outcome, Outcome::Done | Outcome::Nothing) {
                    self.record(What::Answered(outcome));
                    log::warn!("Cannot stop yet: {outcome:?}; trying again");
                    self.stop = StopRequest::Refused { again_at: self.now.now + STOP_PAUSE };
                }
            }
            Action::Reply { id, outcome } => {
                self.record(What::Answered(outcome));
                if self.answer_by_log(id, outcome) {
                    return;
                }
                let groups = &self.config.groups;
                let key = |group: GroupId| groups.get(usize::from(group.0)).map_or("", |group| group.key());
                if let Some(control) = &mut self.control {
                    control.reply_outcome(id, outcome, key);
                }
            }
            Action::Exit => self.finish(),
        }
    }

    fn fire(&mut self, shot: ShotId, method: u8) {
        if self.guardian.is_gone() {
            return self.feed(Input::FenceDone { shot, outcome: FenceOutcome::Failed });
        }
        let partner = self.node.settings().partner;
        let generation = partner.map(|partner| self.node.comms().peer(partner).generation).unwrap_or_default();
        self.fences.note_request(method);
        self.ask(ToGuardian::Fence { shot, method, generation });
    }

    pub(super) fn transmit(&mut self, links: LinkSet, packet: &Packet) {
        if matches!(packet.body, Body::Status { .. }) && self.is_heard(links) {
            self.stamp();
        }
        let is_copy = self.moment.is_copy(packet);
        self.moment.note(packet);
        let cargo = self.cargo(packet);
        if matches!(packet.body, Body::Status { .. }) {
            self.choose_news(links, packet, cargo == Cargo::Beat && !is_copy);
        }
        let (mut datagram, mut text) = (None, None);
        for link in links.iter() {
            if !self.speak(link, packet) {
                continue;
            }
            let Some(slot) = self.links.get_mut(link) else { continue };
            let (is_text, codec, limit) = (slot.link().is_text(), &self.codec, self.config.compress_above);
            // There is no room for it on a serial line.
            if is_text && is_copy {
                continue;
            }
            let lines = self.clients.said(packet);
            let (encoded, out) =
                if is_text { (&mut text, &mut self.text) } else { (&mut datagram, &mut self.datagram) };
            // Once for all links of a kind.
            let len = *encoded.get_or_insert_with(|| {
                if is_text {
                    // A serial line never carries packed messages (seen).
                    codec.encode_serial_with(packet, lines, out)
                } else {
                    encode_datagram(codec, (packet, lines), limit, (&mut self.packing, out))
                }
            });
            let Some(len) = len else {
                // On a link of the other kind it may be possible.
                log::error!("A message cannot be encoded: {:?}", packet.body);
                continue;
            };
            if !is_text {
                self.datagram_len = len;
            }
            if self.losses.loses_transmitted() {
                continue;
            }
            if let Err(error) = slot.link().send(&out[..len], cargo, self.now.now) {
                self.lose_link(link, &error);
            }
        }
        self.hear_ourselves(packet);
        self.tell_clients_own(packet);
    }

    /// What a packet is to a line that cannot take it at once. An old beat that is asked for is no sign of life, and must not
    /// take the place of the newest.
    pub(super) fn cargo(&self, packet: &Packet) -> Cargo {
        match packet.body {
            Body::Status { .. } if self.moment.is_copy(packet) => Cargo::Beat,
            Body::Relayed { .. } => Cargo::Client,
            Body::RexmitRequest { .. } => Cargo::Request,
            _ => Cargo::Daemon,
        }
    }

    /// Whether a beat on these links is one. What reaches no device is none. Nor is a call (`protocol compact`), while this
    /// engine has the role of the one before: the partner hears nothing until it has answered, and its dead time runs. So
    /// the guardian ends an engine that comes to no session within the time in which a role is kept, and stops the groups.
    fn is_heard(&self, links: LinkSet) -> bool {
        let open = links & self.links.open();
        let is_call = |link| self.links.speech(link, self.now.now) == Some(Speech::Calls);
        open.iter().any(|link| self.now.now >= self.unheard_until || !is_call(link))
    }

    /// What this beat tells the partner's history; usually nothing. In Heartbeat's format it has no room for that beside an
    /// extension.
    fn choose_news(&mut self, links: LinkSet, beat: &Packet, is_new: bool) {
        let is_bare = matches!(beat.body, Body::Status { extension: None, .. });
        let is_frame = |link| self.links.speech(link, self.now.now) == Some(Speech::Compact);
        if !is_new || !(is_bare || links.iter().all(is_frame)) {
            return self.codec.set_news("");
        }
        let partner = self.node.settings().partner.map(|partner| self.node.comms().peer(partner));
        let partner = partner.filter(|_| self.links.have_room_for_news(self.now.now));
        let audience = partner.filter(|peer| peer.extension.is_some() && peer.status != NodeStatus::Dead);
        let news = audience.and_then(|peer| self.news.poll(peer.generation));
        self.codec.set_news(&news.unwrap_or_default());
    }

    /// One echo request to each host of every ping node.
    fn ask_pings(&mut self, ts: u32) {
        for link in self.links.pings().iter() {
            let Some(socket) = self.links.get_mut(link).and_then(|slot| slot.link().ping()) else { continue };
            if let Some(len) = self.codec.encode_ping(socket.name(), socket.kind(), ts, &mut self.scratch) {
                socket.ask(&self.scratch[..len]);
            }
        }
    }

    pub(super) fn run_job(&mut self, job: JobId, group: GroupId, order: Order) {
        match order {
            Order::Restart { .. } => self.lease.set_group(group, GroupState::Starting),
            Order::Start => {
                self.lease.set_group(group, GroupState::Starting);
                let cause = self.node.ownership().group(group).map_or(Cause::Script, |group| group.cause());
                self.moves.note_start(self.now, cause);
            }
            Order::Stop => self.lease.set_group(group, GroupState::Stopping),
            Order::Probe | Order::Announce => {}
        }
        if self.jobs.push(Job { job, group, order }).is_err() {
            log::debug!("More jobs under way than history can follow");
        }
        self.ask(ToGuardian::Run { job, group, order });
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.record(What::Event(event));
        self.tell_clients(event);
        self.moment.tell(event);
        // News may be dropped when the guardian does not read; the end of the channel is noticed elsewhere.
        match event {
            Event::Group { group, old, new, cause } => {
                self.lease.set_group(group, new);
                let _ = self.guardian.send(ToGuardian::NotifyGroup { group, old, new, cause });
            }
            Event::Node { node, status } => {
                if status == NodeStatus::Dead && self.node.settings().partner == Some(node) {
                    let peer = self.node.comms().peer(node);
                    let heard = peer.links.iter().filter_map(|link| link.last_heard).max();
                    let silence = heard.map_or(Duration::ZERO, |heard| self.now.now.since(heard));
                    self.moves.note_verdict(self.now, silence);
                }
                let status = status.word().as_bytes()[0];
                let _ = self.guardian.send(ToGuardian::NotifyNode { node: node.0, status });
            }
            Event::Link { node, link, is_up } => {
                let _ = self.guardian.send(ToGuardian::NotifyLink { node: node.0, link, is_up });
            }
            Event::Ping { ping, is_alive } => {
                let _ = self.guardian.send(ToGuardian::NotifyPing { ping, is_alive });
            }
            Event::Alarm { alarm: Alarm::Held, is_raised } => self.lease.set_held(is_raised),
            Event::Members => self.note_members(),
            Event::Fence { method, step } => self.fences.note_step(self.now.now, method, step),
            Event::Alarm { .. } | Event::Line { .. } | Event::Late { .. } => {}
        }
    }

    /// Waits until the serial lines have said everything, for at most a second: the peer's takeover depends on it.
    pub(super) fn say_last_words(&mut self) -> io::Result<()> {
        let limit = clock::stamp().now + LAST_WORDS;
        loop {
            self.now = clock::stamp();
            let open = self.links.open();
            let mut is_done = true;
            for link in open.iter() {
                self.flush_link(link);
                is_done &= self.links.get_mut(link).is_none_or(|slot| slot.link().backlog() == 0);
            }
            if is_done || self.now.now >= limit {
                return Ok(());
            }
            self.kicker.kick_one(self.now.now);
            std::thread::sleep(LAST_WORDS_LOOK);
        }
    }
}

/// Packed when it is longer than `limit` (`traditional_compression`, spec/wire.md section 5).
fn encode_datagram(
    codec: &Codec,
    (packet, lines): (&Packet, &[u8]),
    limit: Option<usize>,
    (room, out): (&mut [u8], &mut [u8]),
) -> Option<usize> {
    let len = codec.encode_datagram_with(packet, lines, out)?;
    // What clients say may leave as it is: a receiver takes either.
    if !lines.is_empty() || limit.is_none_or(|limit| len <= limit) {
        return Some(len);
    }
    codec.encode_compressed(packet, room, out).or_else(|| codec.encode_datagram(packet, out))
}
