//! Whose message is this, and is it for us (spec/wire.md sections 7 and 10.2).
//!
//! The original looks a node up by uuid first and renames its entry when the name differs. Names decide who owns which
//! group, so here a configured name always means its own entry, even when two boards were flashed with one image and
//! share a uuid; only a name that nobody has is looked up by uuid, and never changes an entry.

use super::Comms;
use super::complaints::Complaint;
use crate::core::ids::{NodeId, Uuid};
use crate::core::message::Message;
use crate::core::settings::Settings;
use crate::core::time::Instant;

impl Comms {
    /// The peer that sent `message`. `None`: ourselves, or nobody we know; counted.
    pub(super) fn identify(&mut self, settings: &Settings, now: Instant, message: &Message<'_>) -> Option<NodeId> {
        match node_named(settings, message.src) {
            Some(node) if node == settings.local => {
                self.notice_own(now, message);
                None
            }
            Some(node) if self.is_member(node) => Some(node),
            Some(_) => {
                self.complain_bad_node(now, message.src);
                None
            }
            None => self.identify_by_uuid(settings, now, message),
        }
    }

    fn identify_by_uuid(&mut self, settings: &Settings, now: Instant, message: &Message<'_>) -> Option<NodeId> {
        let src = message.src;
        let known = message.src_uuid.filter(|uuid| !uuid.is_nil()).and_then(|uuid| self.peer_with(uuid));
        if let Some(node) = known {
            if let Some(swallowed) = self.complaints.admit(Complaint::Renamed, now) {
                let old = name_of(settings, node);
                log::warn!("nodename {old} uuid changed to {src}{swallowed}");
            }
        } else {
            self.complain_bad_node(now, src);
        }
        known
    }

    fn complain_bad_node(&mut self, now: Instant, src: &str) {
        self.counters.unknown_node += 1;
        if let Some(swallowed) = self.complaints.admit(Complaint::BadNode, now) {
            log::error!("process_status_message: bad node [{src}] in message{swallowed}");
        }
    }

    /// A message under our own name: looped back by a broadcast medium, or from another daemon that uses it too.
    fn notice_own(&mut self, now: Instant, message: &Message<'_>) {
        let is_ours = message.src_uuid.is_none_or(|uuid| uuid.is_nil() || uuid == self.identity.uuid)
            && message.generation <= self.identity.generation;
        if is_ours {
            self.counters.own += 1;
            return;
        }
        self.counters.impostors += 1;
        if let Some(swallowed) = self.complaints.admit(Complaint::OwnName, now) {
            let src = message.src;
            log::error!(
                "another daemon calls itself {src} like this one: every node needs a name of its own{swallowed}"
            );
        }
    }

    /// Takes the uuid of an accepted message into the table. A uuid that already stands for another node is left out,
    /// so that it never points to two.
    pub(super) fn learn_uuid(&mut self, settings: &Settings, now: Instant, node: NodeId, message: &Message<'_>) {
        let Some(uuid) = message.src_uuid.filter(|uuid| !uuid.is_nil()) else { return };
        let old = self.peer(node).uuid;
        if old == uuid {
            return;
        }
        let name = name_of(settings, node);
        let owner = if uuid == self.identity.uuid { Some(self.local) } else { self.peer_with(uuid) };
        if let Some(owner) = owner {
            if let Some(swallowed) = self.complaints.admit(Complaint::UuidClash, now) {
                let owner = name_of(settings, owner);
                log::error!("nodes {owner} and {name} have the same uuid: remove hb_uuid on one of them{swallowed}");
            }
            return;
        }
        if !old.is_nil()
            && let Some(swallowed) = self.complaints.admit(Complaint::UuidChanged, now)
        {
            log::info!("node {name} changed its uuid to {}{swallowed}", Hyphenated(uuid));
        }
        self.state_mut(node).peer.uuid = uuid;
    }

    /// Whether a sequenced message is for this node: by uuid when it names one, else by name. A uuid of ours beside
    /// another node's name is that of a twin (see [`Comms::learn_uuid`]), and the name decides.
    pub(super) fn is_for_us(&self, settings: &Settings, message: &Message<'_>) -> bool {
        match message.dest_uuid.filter(|uuid| !uuid.is_nil()) {
            Some(uuid) if uuid == self.identity.uuid => {
                message.dest.and_then(|dest| node_named(settings, dest)).is_none_or(|node| node == self.local)
            }
            Some(_) => false,
            None => is_for_our_name(settings, message),
        }
    }

    fn peer_with(&self, uuid: Uuid) -> Option<NodeId> {
        self.others().find(|node| self.peer(*node).uuid == uuid)
    }
}

/// Whether an `NS_` message is for this node: only the name counts.
pub(super) fn is_for_our_name(settings: &Settings, message: &Message<'_>) -> bool {
    message.dest.is_none_or(|dest| dest == name_of(settings, settings.local))
}

/// The name of a configured node.
pub(super) fn name_of(settings: &Settings, node: NodeId) -> &str {
    &settings.nodes[usize::from(node.0)]
}

/// The configured node of exactly this name: on the wire, case counts.
fn node_named(settings: &Settings, name: &str) -> Option<NodeId> {
    (0..).map(NodeId).zip(&settings.nodes).find(|(_, known)| known.as_str() == name).map(|(node, _)| node)
}

/// A uuid as people write it.
struct Hyphenated(Uuid);

impl core::fmt::Display for Hyphenated {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (index, byte) in self.0.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
