//! The list of nodes as it changes: the encoder is told, the guardian keeps it in files.

use std::fmt::Write as _;

use super::Driver;
use crate::core::ids::{NodeId, Uuid};
use crate::guardian::protocol::ToGuardian;
use crate::guardian::roster::Hyphenated;

impl Driver<'_> {
    /// Before anything is sent that may name a new node.
    pub(super) fn note_members(&mut self) {
        let (comms, members) = (self.node.comms(), self.node.members());
        for (place, name) in (0..).zip(&self.node.settings().nodes) {
            let node = NodeId(place);
            self.codec.set_node(node, name, members.site(node), comms.is_member(node));
            let uuid = comms.peer(node).uuid;
            if !uuid.is_nil() && node != self.node.settings().local {
                self.uuids[usize::from(place)] = uuid;
                self.codec.set_uuid(node, uuid);
            }
        }
        self.is_roster_old = true;
        self.membership.note_roster();
        self.tell_clients_deleted();
    }

    /// Hands the list to the guardian, once for all that a turn has changed.
    pub(super) fn keep_members(&mut self) {
        if !std::mem::take(&mut self.is_roster_old) || self.node.settings().has_resources {
            return;
        }
        let (comms, members, settings) = (self.node.comms(), self.node.members(), self.node.settings());
        let [hostcache, delhostcache] = &mut self.host_lines;
        hostcache.clear();
        delhostcache.clear();
        for (place, name) in (0..).zip(&settings.nodes) {
            let node = NodeId(place);
            let uuid = if node == settings.local { self.node.identity().uuid } else { comms.peer(node).uuid };
            let text = if comms.is_member(node) { &mut *hostcache } else { &mut *delhostcache };
            let (weight, site) = (members.weight(node), members.site(node));
            // Room for all lines was reserved at start.
            let _ = writeln!(text, "{name}\t{}\t{weight}\t{site}", Hyphenated(uuid));
        }
        self.roster.write(hostcache, delhostcache);
        self.ask(ToGuardian::KeepNodes);
    }

    /// A uuid has been learnt: it stands in the files, too.
    pub(super) fn note_uuid(&mut self, node: NodeId, uuid: Uuid) {
        self.uuids[usize::from(node.0)] = uuid;
        self.codec.set_uuid(node, uuid);
        self.is_roster_old = true;
    }
}
