//! Heartbeat's own clients: what they ask and say goes to the core, what happens is told to them (spec/api.md 2.7, 2.8).

use std::io;
use std::os::fd::OwnedFd;

use super::{CLIENTS, Driver};
use crate::api::client::{Authority, ClientRooms, Facts, Hearing, Order, Sent, Server};
use crate::config::{Config, Medium};
use crate::core::comms::Reception;
use crate::core::ids::{NodeId, NodeSet, PingId, RelayId, RequestId, Seq};
use crate::core::limits::{RELAYED_LEN_MAX, RELAYED_MAX};
use crate::core::message::{Body, Message, NodeStatus, Packet};
use crate::core::time::Instant;
use crate::core::{Event, Input, Node, Request};
use crate::daemon::control::server::FOREIGN_REQUESTS;
use crate::daemon::logger::facility_number;
use crate::sys::memory;
use crate::wire::heartbeat::{ClientText, PACKET_MAX, TEXT_FRAME_MAX, to_client};

/// The number of a client's request: nobody waits for the answer.
const REQUEST: RequestId = RequestId(FOREIGN_REQUESTS + 8);

/// What clients have said lies in so many places of this size, a long message in several that follow each other: its number
/// is that of the last of them. A power of two, as numbers wrap.
const PLACES: usize = 128;
const PLACE_LEN: usize = 4096;
const _: () = assert!(
    PLACES.is_power_of_two() && RELAYED_MAX + places_for(RELAYED_LEN_MAX) - 1 <= PLACES,
    "nothing is overwritten, not even the first place of the longest, that the core still counts on"
);

/// Type of messages about clients that come and go.
const CLIENT_STATE: &str = "hbapi-clstat";
/// So many of them wait for older messages of their node, none longer than this.
const HELD_MAX: usize = 8;
const HELD_LEN_MAX: usize = 768;

/// The clients, and what they said as long as it may have to be said again.
#[derive(Debug)]
pub struct ClientsSide {
    server: Option<Server>,
    /// Until there is one.
    rooms: Option<ClientRooms>,
    authority: Authority,
    log_facility: i32,
    reserved: Option<&'static str>,
    /// [`PLACES`] of [`PLACE_LEN`] bytes.
    said: Box<[u8]>,
    /// How long the message is that ends in each of them.
    said_len: [u16; PLACES],
    newest: RelayId,
    /// Number of our own last message that clients have heard: sent again it is no new one.
    own_seq: Seq,
    /// Nodes of the configuration, as clients know them.
    members: NodeSet,
    /// Clients that have come or gone on nodes of which something is missing.
    held: Box<heapless::Vec<Held, HELD_MAX>>,
}

/// A message that waits for older ones of its node.
#[derive(Debug)]
struct Held {
    sent: Sent,
    /// As clients hear it.
    text: heapless::Vec<u8, HELD_LEN_MAX>,
}

impl ClientsSide {
    /// Everything that clients will ever need.
    pub fn new(config: &Config) -> Self {
        let facility = config.log.facility.as_deref().and_then(facility_number);
        Self {
            server: None,
            rooms: Some(ClientRooms::default()),
            authority: Authority::new(&config.api_auth),
            reserved: None,
            log_facility: facility.map_or(-1, |number| i32::from(number) * 8),
            said: vec![0; PLACES * PLACE_LEN].into(),
            said_len: [0; PLACES],
            newest: RelayId(0),
            own_seq: Seq(0),
            members: NodeSet::EMPTY,
            held: Box::default(),
        }
    }

    pub(super) fn give_back_idle_memory(&mut self) {
        if let Some(rooms) = &mut self.rooms {
            rooms.give_back();
        }
        memory::give_back(&mut self.said);
    }

    /// For `status`; nothing before the socket is there.
    pub(super) const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.server.as_ref().and_then(Server::next_deadline)
    }

    /// The fields of a client's message; none of any other.
    pub(super) fn said(&self, packet: &Packet) -> &[u8] {
        let Body::Relayed { id } = packet.body else { return &[] };
        let place = place_of(id);
        let len = usize::from(self.said_len[place]);
        // The first place of several.
        let Some(first) = (place + 1).checked_sub(places_for(len)) else { return &[] };
        self.said.get(first * PLACE_LEN..first * PLACE_LEN + len).unwrap_or_default()
    }

    /// Keeps what the server has written.
    fn keep(&mut self) -> Option<RelayId> {
        let Self { server, said, said_len, newest, .. } = self;
        keep_lines((said, said_len), newest, server.as_ref()?.lines())
    }

    /// Keeps what the built-in client says.
    pub(super) fn keep_own(&mut self, lines: &[u8]) -> Option<RelayId> {
        keep_lines((&mut self.said, &mut self.said_len), &mut self.newest, lines)
    }

    /// That a client has gone must not overtake what it had said: it waits while older messages of its node are missing.
    /// What there is no room for does not wait.
    fn hold(&mut self, node: &Node, sent: Sent, plain: &[u8]) -> bool {
        if !node.comms().is_missing_before(sent.node, sent.seq) {
            return false;
        }
        let mut text = [0; HELD_LEN_MAX];
        let text = to_client(plain, &mut text).and_then(|len| heapless::Vec::from_slice(&text[..len]).ok());
        text.is_some_and(|text| self.held.push(Held { sent, text }).is_ok())
    }

    /// Tells what has waited long enough.
    fn tell_held(&mut self, node: &Node) {
        let is_due = |held: &Held| !node.comms().is_missing_before(held.sent.node, held.sent.seq);
        while let Some(place) = self.held.iter().position(is_due) {
            let held = self.held.remove(place);
            if let Some(server) = &mut self.server
                && let Some(paper) = server.paper().get_mut(..held.text.len())
            {
                paper.copy_from_slice(&held.text);
                server.deliver_written(held.text.len(), Hearing::News, Some(held.sent));
            }
        }
    }

    /// Nobody signs on under this name.
    pub(super) fn reserve(&mut self, name: &'static str) {
        self.reserved = Some(name);
        if let Some(server) = &mut self.server {
            server.reserve(name);
        }
    }
}

fn keep_lines(said: (&mut [u8], &mut [u16]), newest: &mut RelayId, lines: &[u8]) -> Option<RelayId> {
    let len = u16::try_from(lines.len()).ok().filter(|len| usize::from(*len) <= RELAYED_LEN_MAX && *len > 0)?;
    let count = places_for(lines.len());
    let next = place_of(RelayId(newest.0.wrapping_add(1)));
    // Places that are too few up to the end stay as they are.
    let first = if next + count > PLACES { 0 } else { next };
    let left_out = if first == next { 0 } else { PLACES - next };
    said.0[first * PLACE_LEN..][..lines.len()].copy_from_slice(lines);
    let last = first + count - 1;
    said.1[last] = len;
    *newest = RelayId(newest.0.wrapping_add(u32::try_from(left_out + count).ok()?));
    Some(*newest)
}

/// So many places a message of this length takes.
const fn places_for(len: usize) -> usize {
    if len == 0 { 1 } else { len.div_ceil(PLACE_LEN) }
}

/// The last place of a message.
fn place_of(id: RelayId) -> usize {
    usize::try_from(id.0).unwrap_or(0) % PLACES
}

/// What becomes of a message that clients may hear, whether it was new.
pub(super) struct Heard {
    hearing: Option<Hearing>,
    status: Option<(NodeId, NodeStatus)>,
    /// Which message it is, if it has a number.
    sent: Option<Sent>,
    /// It tells that a client has come or gone.
    is_client_state: bool,
}

impl Heard {
    /// Before the core takes a message.
    pub(super) fn before(node: &Node, message: &Message<'_>) -> Self {
        let is_status = matches!(message.body, Body::Status { .. });
        let sender = || (0..).map(NodeId).zip(&node.settings().nodes).find(|(_, name)| name.as_str() == message.src);
        let status = sender().filter(|_| is_status).map(|(sender, _)| (sender, node.comms().peer(sender).status));
        let is_client_state = matches!(message.body, Body::Other { kind: CLIENT_STATE });
        let numbered = sender().zip(message.seq);
        let sent = numbered.map(|((node, _), seq)| Sent { node, generation: message.generation, seq });
        Self { hearing: None, status, sent, is_client_state }
    }

    /// After it.
    pub(super) fn after(mut self, node: &Node, message: &Message<'_>) -> Self {
        match node.comms().reception() {
            Reception::Taken => {}
            Reception::Dropped => return Self { hearing: Some(Hearing::Dropped), ..self },
            Reception::Copy => return Self { hearing: Some(Hearing::Duplicate), ..self },
            // As the original shows them.
            Reception::Protocol if matches!(message.body, Body::Ack { .. }) => {
                return Self { hearing: Some(Hearing::Dropped), ..self };
            }
            Reception::Protocol => return Self { hearing: Some(Hearing::Protocol), ..self },
        }
        self.hearing = match (self.status, message.body) {
            (Some((sender, before)), _) if node.comms().peer(sender).status != before => Some(Hearing::News),
            (Some(_), _) => Some(Hearing::NoChange),
            (None, Body::ClientQuery { .. }) => Some(Hearing::Dropped),
            (None, Body::ReqNodes | Body::RepNodes { .. } | Body::Status { .. }) => None,
            (None, _) => node.has_delivered().then_some(Hearing::News),
        };
        self
    }

    /// Tells the clients.
    pub(super) fn tell(&self, node: &Node, clients: &mut ClientsSide, plain: &[u8]) {
        let Some(hearing) = self.hearing else { return };
        if let Some(sent) = self.sent.filter(|_| self.is_client_state && hearing == Hearing::News) {
            clients.tell_held(node);
            if clients.hold(node, sent, plain) {
                return;
            }
        }
        let Some(server) = &mut clients.server else { return };
        if (hearing == Hearing::News || server.is_wanted(hearing))
            && let Some(len) = to_client(plain, server.paper())
        {
            server.deliver_written(len, hearing, self.sent);
        }
        clients.tell_held(node);
    }
}

impl Driver<'_> {
    // Not inlined: its frame would be part of one that every turn of the loop touches.
    #[inline(never)]
    pub(super) fn open_clients(&mut self, listener: OwnedFd) {
        let Some(rooms) = self.clients.rooms.take() else { return };
        let authority = std::mem::take(&mut self.clients.authority);
        let server = Server::new(listener, rooms, authority).and_then(|server| {
            self.reactor.add(&server, CLIENTS)?;
            Ok(server)
        });
        match server {
            Ok(mut server) => {
                if let Some(name) = self.clients.reserved {
                    server.reserve(name);
                }
                self.clients.server = Some(server);
            }
            Err(error) => log::error!("No socket for Heartbeat's clients: {error}"),
        }
    }

    /// The last thing in a turn: a bounded number of what clients want.
    pub(super) fn serve_clients(&mut self) -> io::Result<()> {
        let is_ready = self.reactor.ready().any(|ready| ready.token == CLIENTS);
        let now = self.now.now;
        let is_congested = self.node.is_congested();
        self.clients.tell_held(&self.node);
        let Some(server) = &mut self.clients.server else { return Ok(()) };
        let is_same = server.is_held() == is_congested;
        if !is_ready && is_same && server.next_deadline().is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        server.turn(now, is_congested);
        loop {
            let facts = Facts { config: self.config, node: &self.node, log_facility: self.clients.log_facility };
            let Some(order) = self.clients.server.as_mut().and_then(|server| server.poll(&facts)) else { break };
            self.obey(order);
        }
        self.update_interest()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Join { slot, name } => {
                self.feed(Input::Client { slot: u8::try_from(slot).unwrap_or(u8::MAX), name: Some(name) });
                self.relay(None);
                let facts = Facts { config: self.config, node: &self.node, log_facility: self.clients.log_facility };
                if let Some(server) = &mut self.clients.server {
                    server.welcome(slot, &facts);
                }
            }
            Order::Leave { slot } => {
                if let Some(slot) = slot {
                    self.feed(Input::Client { slot: u8::try_from(slot).unwrap_or(u8::MAX), name: None });
                }
                self.relay(None);
            }
            Order::Relay { slot, to } => {
                let is_refused = self.try_relay(to);
                if let (Err(why), Some(slot), Some(server)) = (is_refused, slot, &mut self.clients.server) {
                    server.refuse(slot, why);
                }
            }
            Order::Ask { client, asker } => {
                self.feed(Input::ClientQuery { client, asker });
                self.relay(None);
            }
            Order::Standby(set) => self.request(REQUEST, Request::Standby(set)),
        }
    }

    /// Sends what the daemon itself says about a client.
    fn relay(&mut self, to: Option<NodeId>) {
        if let Err(why) = self.try_relay(to) {
            log::error!("api: the nodes are not told of a client, which {why}");
        }
    }

    /// Sends what the server has written, if every node can read it. Once it has a number it must arrive.
    ///
    /// # Errors
    /// What the client has done that this is not so.
    fn try_relay(&mut self, to: Option<NodeId>) -> Result<(), &'static str> {
        let Some(server) = &self.clients.server else { return Ok(()) };
        let lines = server.lines();
        let has_serial = self.config.has_serial();
        // Such a line takes the eighth bit off, and carriage returns out (spec/wire.md 11.3).
        if has_serial && !lines.iter().all(|byte| byte.is_ascii() && *byte != b'\r') {
            return Err("uses more than plain ASCII, and there is a serial line");
        }
        let longest = if has_serial { TEXT_FRAME_MAX } else { PACKET_MAX };
        if !self.codec.can_relay(to, lines, &mut self.text[..longest], &mut self.scratch) {
            return Err("uses a form that nodes would not read");
        }
        if let Some(id) = self.clients.keep() {
            self.feed(Input::Relay { to, id });
        }
        Ok(())
    }

    /// Clients hear what their own node says to others, too.
    pub(super) fn tell_clients_own(&mut self, packet: &Packet) {
        let is_new = packet.seq.is_some_and(|seq| seq > self.clients.own_seq);
        if !is_new || self.clients.server.is_none() {
            return;
        }
        self.clients.own_seq = packet.seq.unwrap_or_default();
        let is_for_others = packet.to.is_some_and(|node| node != self.node.settings().local);
        let is_of_nodes = matches!(packet.body, Body::Status { .. } | Body::ReqNodes | Body::RepNodes { .. });
        // A question for another node is the daemon's own, although a client has caused it.
        let is_question = self.clients.said(packet).starts_with(b"t=query-cstatus\n");
        if is_for_others || is_of_nodes || is_question {
            return;
        }
        let Some(len) = self.codec.encode_serial_with(packet, self.clients.said(packet), &mut self.text) else {
            return;
        };
        if let Some(server) = &mut self.clients.server
            && let Some(len) = to_client(&self.text[..len], server.paper())
        {
            server.deliver_written(len, Hearing::News, None);
        }
    }

    /// Nodes that were taken out of the configuration.
    pub(super) fn tell_clients_deleted(&mut self) {
        let members = self.node.comms().members();
        let deleted = std::mem::replace(&mut self.clients.members, members) - members;
        let Some(server) = &mut self.clients.server else { return };
        for node in deleted.iter() {
            let Some(name) = self.node.settings().nodes.get(usize::from(node.0)) else { continue };
            let mut text = ClientText::new(server.paper());
            text.string("t", "delnode").string("node", name);
            if let Some(len) = text.finish() {
                server.deliver_written(len, Hearing::News, None);
            }
        }
    }

    /// Changes that no message has brought.
    pub(super) fn tell_clients(&mut self, event: Event) {
        if let Event::Ping { ping, is_alive } = event {
            return self.tell_clients_ping(ping, is_alive);
        }
        let (settings, wall) = (self.node.settings(), self.now.wall);
        let Some(server) = &mut self.clients.server else { return };
        let mut text = ClientText::new(server.paper());
        match event {
            Event::Node { node, status: NodeStatus::Dead } => {
                let Some(name) = settings.nodes.get(usize::from(node.0)) else { return };
                text.string("t", "status").string("seq", "1").field("ts", format_args!("{wall:x}"));
                text.string("src", name).string("st", NodeStatus::Dead.word());
            }
            Event::Link { node, link, is_up } => {
                let Some(name) = settings.nodes.get(usize::from(node.0)) else { return };
                let Some(link) = settings.links.get(usize::from(link.0)) else { return };
                write_link(&mut text, (name, link), is_up);
            }
            _ => return,
        }
        if let Some(len) = text.finish() {
            server.deliver_written(len, Hearing::News, None);
        }
    }

    /// A ping node is a node with one link of its own name (spec/wire.md 9.3): the link is told up before the node comes
    /// back, and dead after it has died. The packaged `ipfail` counts, and asks its peer, when it hears of the dead link.
    fn tell_clients_ping(&mut self, ping: PingId, is_alive: bool) {
        let (settings, wall) = (self.node.settings(), self.now.wall);
        let Some(server) = &mut self.clients.server else { return };
        let Some(name) = settings.upstream.ping_nodes.get(usize::from(ping.0)) else { return };
        let kind = self.config.media.iter().find_map(|medium| match medium {
            Medium::Ping { name: known, kind, .. } if *known == name.as_str() => Some(kind.word()),
            _ => None,
        });
        for is_of_link in [is_alive, !is_alive] {
            let mut text = ClientText::new(server.paper());
            if is_of_link {
                write_link(&mut text, (name, name), is_alive);
            } else if is_alive {
                text.string("t", "NS_st").string("st", "ping").string("info", kind.unwrap_or("ping"));
                text.string("src", name).field("ts", format_args!("{wall:x}"));
            } else {
                text.string("t", "status").string("seq", "1").field("ts", format_args!("{wall:x}"));
                text.string("src", name).string("st", "dead").string("info", kind.unwrap_or("ping"));
            }
            if let Some(len) = text.finish() {
                server.deliver_written(len, Hearing::News, None);
            }
        }
    }
}

/// That a link of a node has come up or died.
fn write_link(text: &mut ClientText<'_>, (node, link): (&str, &str), is_up: bool) {
    text.string("t", "ifstat").string("node", node).string("ifname", link);
    text.string("st", if is_up { "up" } else { "dead" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;
    use crate::core::ids::{Generation, LinkId, Uuid};
    use crate::core::settings::Identity;
    use crate::core::time::Stamp;

    const BETA: NodeId = NodeId(1);

    fn hear(node: &mut Node, seq: u64) {
        let message = sample::beat_of_beta(seq);
        let at = Stamp { now: Instant::from_millis(1000), wall: 1_800_000_000 };
        node.handle(at, Input::Received { link: LinkId(0), message: &message });
        while node.poll_action().is_some() {}
    }

    /// Whatever lengths follow each other: what the core still counts on is there as it was.
    #[test]
    fn long_messages_take_several_places_and_none_is_cut_by_another() {
        let config = sample::config(&std::env::temp_dir(), &[("alpha", "one")]);
        let mut clients = ClientsSide::new(&config);
        // Also where numbers wrap.
        clients.newest = RelayId(u32::MAX - 500);
        let mut kept: Vec<(RelayId, Vec<u8>)> = Vec::new();
        let lengths = [1, 100, PLACE_LEN, PLACE_LEN + 1, RELAYED_LEN_MAX, 300, 3 * PLACE_LEN, RELAYED_LEN_MAX - 1];
        for (count, len) in (0..2000_u32).zip(lengths.iter().cycle()) {
            let text = count.to_be_bytes().repeat(len.div_ceil(4));
            let id = clients.keep_own(&text[..*len]).unwrap();
            kept.push((id, text[..*len].to_vec()));
            let max = u32::try_from(RELAYED_MAX).unwrap();
            for (old, text) in kept.iter().rev().take_while(|(old, _)| id.0.wrapping_sub(old.0) < max) {
                let body = Body::Relayed { id: *old };
                let packet = Packet { to: None, seq: None, ts: 1, body, about: None, group: None };
                assert!(clients.said(&packet) == text, "message {count}, {} later", id.0.wrapping_sub(old.0));
            }
        }
        assert!(clients.keep_own(&vec![b'x'; RELAYED_LEN_MAX + 1]).is_none());
        assert!(clients.keep_own(b"").is_none());
    }

    #[test]
    fn end_of_a_client_waits_for_what_its_node_had_said_before() {
        let config = sample::config(&std::env::temp_dir(), &[("alpha", "one")]);
        let identity = Identity { uuid: Uuid([1; 16]), generation: Generation(1) };
        let at = Stamp { now: Instant::from_millis(1000), wall: 1_800_000_000 };
        let mut node = Node::new(config.settings(1), identity, None, at);
        let mut clients = ClientsSide::new(&config);
        let sent = |seq| Sent { node: BETA, generation: Generation(5), seq: Seq(seq) };
        let leave = b">>>\nt=hbapi-clstat\nst=leave\nfrom_id=x\nto_id=x\n<<<\n";
        hear(&mut node, 1);
        hear(&mut node, 4);
        assert!(clients.hold(&node, sent(4), leave), "2 and 3 are missing");
        clients.tell_held(&node);
        hear(&mut node, 3);
        clients.tell_held(&node);
        assert_eq!(clients.held.len(), 1, "2 is missing");
        hear(&mut node, 2);
        clients.tell_held(&node);
        assert_eq!(clients.held.len(), 0);
        assert!(!clients.hold(&node, sent(4), leave), "nothing to wait for");
        // No room: it is told at once.
        hear(&mut node, 9);
        let held = (0..=HELD_MAX).filter(|_| clients.hold(&node, sent(9), leave)).count();
        assert_eq!(held, HELD_MAX);
    }
}
