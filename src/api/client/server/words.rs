//! What clients say: signing on, words for other nodes, and how one comes to its end.

use std::fmt::Write as _;

use super::{ADDED_MAX, Order, Server};
use crate::api::client::requests::{self, Rest};
use crate::api::client::session::{End, Stage};
use crate::api::client::{Facts, HB_VERSION, Hearing};
use crate::config::Protocol;
use crate::core::ids::NodeId;
use crate::core::limits::{RELAYED_COMPACT_LEN_MAX, RELAYED_LEN_MAX, RELAYED_SERIAL_LEN_MAX};
use crate::core::message::{ClientName, Holds};
use crate::wire::heartbeat::{ClientMessage, ClientText, Unfit, to_client};

impl Server {
    /// Those who watch the interface see what others ask.
    pub(super) fn show_request(&mut self, asker: usize, body: &[u8]) {
        let Some(len) = to_client(body, &mut self.out) else { return };
        for (slot, place) in self.slots.iter_mut().enumerate() {
            if let Some(session) = &mut place.session
                && slot != asker
                && session.wants(Hearing::Request)
            {
                session.say(&self.out[..len]);
            }
        }
    }

    pub(super) fn take_message(
        &mut self,
        slot: usize,
        message: &ClientMessage<'_>,
        facts: &Facts<'_>,
    ) -> Option<Order> {
        let session = self.slots[slot].session.as_mut()?;
        let is_request = message.kind() == "hbapi-req";
        match session.stage {
            Stage::New if is_request && message.get("reqtype") == Some("signon") => self.sign_on(slot, message, facts),
            // Logged by the original, and otherwise passed over.
            Stage::New => None,
            _ if is_request => {
                if !session.is_meant(message) {
                    log::error!(
                        "api: Client mismatch! (impersonation?) from process {}",
                        session.connection.peer().pid
                    );
                    return None;
                }
                match requests::serve(session, message, facts, &mut self.out) {
                    Rest::Done => None,
                    Rest::Query { node, client } => self.query(slot, node, client),
                }
            }
            Stage::Casual => {
                log::error!("api: client {} without a name sends to the cluster", session.id.as_str());
                session.end = Some(End::BadClient);
                None
            }
            Stage::Named => self.relay(slot, message, facts),
        }
    }

    fn sign_on(&mut self, slot: usize, message: &ClientMessage<'_>, facts: &Facts<'_>) -> Option<Order> {
        let mut session = self.slots[slot].session.take()?;
        let (others, reserved) = (&self.slots, self.reserved);
        let is_taken = |id: &str| {
            let sessions = others.iter().filter_map(|slot| slot.session.as_ref());
            reserved == Some(id)
                || sessions.filter(|other| other.stage != Stage::New).any(|other| other.id.as_str() == id)
        };
        let granted = session.sign_on(message, &self.authority, is_taken);
        self.generation += u32::from(granted.is_ok());
        session.generation = self.generation;
        let (stage, name) = (session.stage, session.id);
        match granted {
            Ok(()) => {
                self.counters.signed_on += 1;
                session.note_missing(facts.node);
                log::debug!("api: client {} signed on", name.as_str());
            }
            Err(reason) => {
                self.counters.refused += 1;
                log::warn!("api: client {} is refused: {reason}", message.get("from_id").unwrap_or_default());
                if let Some(len) = signon_reply(&mut self.out, facts, Some(reason)) {
                    session.say(&self.out[..len]);
                }
                session.end = Some(End::Refused(reason));
            }
        }
        let is_joining = granted.is_ok() && stage == Stage::Named;
        self.slots[slot].session = Some(session);
        if is_joining {
            self.write_state(slot, "join", "signon");
            return Some(Order::Join { slot, name });
        }
        if granted.is_ok() {
            self.welcome(slot, facts);
        }
        None
    }

    fn query(&mut self, slot: usize, node: NodeId, client: ClientName) -> Option<Order> {
        let asker = self.slots[slot].session.as_ref()?.id;
        let mut lines = ClientText::lines(&mut self.lines);
        lines.string("t", "query-cstatus").string("cn", client.as_str()).string("from_id", asker.as_str());
        self.lines_len = lines.finish_lines()?;
        Some(Order::Relay { slot: None, to: Some(node) })
    }

    /// What a client says to others under its name.
    fn relay(&mut self, slot: usize, message: &ClientMessage<'_>, facts: &Facts<'_>) -> Option<Order> {
        let session = self.slots[slot].session.as_ref()?;
        let (id, generation) = (session.id, session.generation);
        match message.kind() {
            "query-cstatus" => return self.ask_all(id, message),
            "ask_resources" if message.get("info") == Some("me") => {
                let set = message.get("rsc_hold").map_or(Some(Holds::ALL), Holds::from_word)?;
                return Some(Order::Standby(set));
            }
            "" => return self.refuse_words(slot, "says something without a type"),
            _ if message.is_of_daemons() => return self.refuse_words(slot, "says what only daemons do"),
            _ => {}
        }
        let Some(to) = addressee(message, facts) else {
            self.note_astray(id, message);
            return None;
        };
        let limit = match facts.config.protocol {
            Protocol::Compact => RELAYED_COMPACT_LEN_MAX,
            _ if facts.config.has_serial() => RELAYED_SERIAL_LEN_MAX,
            _ => RELAYED_LEN_MAX,
        } - ADDED_MAX;
        let len = match message.write_lines(&mut self.lines[..limit]) {
            Ok(len) => len,
            Err(Unfit::TooLong) => {
                self.counters.too_long += 1;
                let (kind, id) = (message.kind(), id.as_str());
                log::error!("api: a message {kind:?} of client {id} is longer than {limit} bytes");
                self.slots[slot].session.as_mut()?.end = Some(End::TooLong);
                return None;
            }
            Err(Unfit::Refused) => return self.refuse_words(slot, "uses fields that no other node would read"),
        };
        let mut lines = ClientText::lines(&mut self.lines[len..]);
        lines.string("from_id", id.as_str()).string("to_id", id.as_str());
        lines.field("client_gen", format_args!("{generation}"));
        self.lines_len = len + lines.finish_lines()?;
        self.counters.relayed += 1;
        Some(Order::Relay { slot: Some(slot), to })
    }

    /// Somebody speaks to a node that nobody knows: nobody hears it, and nothing is answered (spec/api.md 2.7).
    fn note_astray(&mut self, id: ClientName, message: &ClientMessage<'_>) {
        self.counters.unknown_node += 1;
        if let Some(count) = self.astray.note(self.now) {
            let (id, dest) = (id.as_str(), message.get("dest").unwrap_or("another uuid"));
            log::warn!(
                "api: client {id} speaks to {dest:?}, which is no node of this cluster: nobody hears it ({count} so far)"
            );
        }
    }

    /// Not every link can carry what this client has said: it comes to its end, and is told. A client whose words were left
    /// out would not notice, and the library at the other end would hold back whatever it says in order from then on.
    pub fn refuse(&mut self, slot: usize, why: &str) {
        self.counters.relayed -= 1;
        let _ = self.refuse_words(slot, why);
    }

    fn refuse_words(&mut self, slot: usize, why: &str) -> Option<Order> {
        let session = self.slots.get_mut(slot)?.session.as_mut()?;
        log::error!("api: client {} {why}: that is not passed on, and the client dropped", session.id.as_str());
        session.end.get_or_insert(End::Unfit);
        self.counters.unfit += 1;
        None
    }

    /// A question to every node, this one included.
    fn ask_all(&mut self, asker: ClientName, message: &ClientMessage<'_>) -> Option<Order> {
        let client = message.get("cn").and_then(ClientName::new)?;
        let mut lines = ClientText::lines(&mut self.lines);
        lines.string("t", "query-cstatus").string("cn", client.as_str()).string("from_id", asker.as_str());
        self.lines_len = lines.finish_lines()?;
        Some(Order::Ask { client, asker })
    }

    /// Drops a client that has come to its end, and tells.
    pub(super) fn drop_session(&mut self, slot: usize) -> Option<Order> {
        let session = self.slots[slot].session.as_mut()?;
        let end = session.end?;
        let stage = session.stage;
        let mut info = heapless::String::<96>::new();
        let _ = write!(info, "{end}");
        if let End::Unread { waiting, max } = end {
            self.counters.unread += 1;
            let pid = session.connection.peer().pid;
            let _ = write!(info, ",farside_pid={pid}, sendq length={waiting}(max is {max})");
        }
        if stage != Stage::New && !matches!(end, End::Signoff | End::Eof) {
            log::warn!("api: client {} is removed: {info}", session.id.as_str());
        }
        let is_granted = !matches!(end, End::Refused(_));
        // Those who were refused before their name was looked at hear of nobody's leaving.
        let is_told = stage == Stage::Named || (matches!(end, End::Refused(_)) && stage == Stage::New);
        if is_told {
            self.write_state(slot, "leave", &info);
            self.say_leave(slot, &info);
        }
        self.free(slot);
        (stage == Stage::Named).then_some(Order::Leave { slot: is_granted.then_some(slot) })
    }

    /// The client itself, when it still can be told.
    fn say_leave(&mut self, slot: usize, info: &str) {
        let Some(session) = self.slots[slot].session.as_mut() else { return };
        if matches!(session.end, Some(End::Signoff | End::Eof | End::Unread { .. })) {
            return;
        }
        let id = session.id;
        let mut text = ClientText::new(&mut self.out);
        text.string("t", "hbapi-clstat").string("st", "leave").string("from_id", id.as_str());
        text.string("to_id", id.as_str()).string("info", info);
        if let Some(len) = text.finish() {
            let _ = session.connection.send(&self.out[..len]);
        }
    }

    /// What the cluster hears of a client's coming and going.
    fn write_state(&mut self, slot: usize, state: &str, info: &str) {
        let Some(session) = self.slots[slot].session.as_ref() else { return };
        let mut lines = ClientText::lines(&mut self.lines);
        lines.string("t", "hbapi-clstat").string("st", state).string("from_id", session.id.as_str());
        lines.string("to_id", session.id.as_str()).string("info", info);
        lines.field("client_gen", format_args!("{}", session.generation));
        self.lines_len = lines.finish_lines().unwrap_or(0);
    }
}

/// Whom a message is for: `Some(None)` is everybody; `None`: a node that nobody knows, and it is not sent.
fn addressee(message: &ClientMessage<'_>, facts: &Facts<'_>) -> Option<Option<NodeId>> {
    let (settings, comms) = (facts.node.settings(), facts.node.comms());
    let nodes = || (0..).map(NodeId).take(settings.nodes.len()).filter(|node| comms.is_member(*node));
    if let Some(uuid) = message.dest_uuid() {
        let own = facts.node.identity().uuid;
        let is_it = |node: &NodeId| comms.peer(*node).uuid == uuid || (*node == settings.local && own == uuid);
        return nodes().find(is_it).map(Some);
    }
    let Some(name) = message.get("dest") else { return Some(None) };
    nodes().find(|node| settings.nodes[usize::from(node.0)].eq_ignore_ascii_case(name)).map(Some)
}

/// The reply to a sign-on; with a reason it refuses. Clients look for all fields in either.
pub(super) fn signon_reply(out: &mut [u8], facts: &Facts<'_>, refusal: Option<&str>) -> Option<usize> {
    let config = facts.config;
    let mut text = ClientText::new(out);
    text.string("t", "hbapi-resp").string("reqtype", "signon");
    if let Some(reason) = refusal {
        text.string("info", reason);
    }
    text.string("result", if refusal.is_some() { "badreq" } else { "OK" });
    text.field("deadtime", format_args!("{:x}", config.deadtime.as_millis()));
    text.field("keepalive", format_args!("{:x}", config.keepalive.as_millis()));
    text.string("node", &config.node).string("hbversion", HB_VERSION);
    text.string("pacemaker", facts.parameter("pacemaker").unwrap_or("false"));
    text.field("logfacility", format_args!("{}", facts.log_facility));
    text.finish()
}
