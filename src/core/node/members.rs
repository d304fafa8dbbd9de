//! Who belongs to the cluster, where no groups are managed: nodes come and go while it runs (spec/wire.md 10.3, 10.4).
//!
//! With haresources the nodes are those of the `node` lines, and nothing here changes them: in the original a node that
//! is added and stays silent is taken over by everybody at once (weakness 18 of spec/resources.md section 22).
//!
//! A node keeps its number for as long as this daemon runs, also when it was deleted: what was said about it may be
//! asked for again. So [`NODES_MAX`] counts all that were ever heard of; one more is refused.

use super::Node;
use crate::core::ids::{NodeId, NodeName, NodeSet, RequestId, SiteName, Uuid};
use crate::core::limits::{NODE_NAME_MAX, NODES_MAX};
use crate::core::message::{Body, Message, NodeStatus};
use crate::core::settings::Autojoin;
use crate::core::time::{Instant, Stamp};
use crate::core::{Action, Event, Outcome, Refusal, Request};

/// Weight of a node that nobody has given another one.
pub const WEIGHT: u32 = 100;
/// The number of a request that nobody waits for.
const NOBODY: RequestId = RequestId(u32::MAX);

/// A change that an administrator asks for. Names stand with blanks between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange<'a> {
    /// `hb_addnode`.
    Add {
        /// Which.
        names: &'a str,
    },
    /// `hb_delnode`: of dead nodes, while all others are alive.
    Delete {
        /// Which.
        names: &'a str,
    },
    /// `hb_setweight`.
    SetWeight {
        /// Whose.
        node: &'a str,
        /// Which.
        weight: u32,
    },
    /// `hb_setsite`.
    SetSite {
        /// Whose.
        node: &'a str,
        /// Which.
        site: &'a str,
    },
}

/// What is known of the nodes beside what communication keeps.
#[derive(Debug, Clone)]
pub struct Members {
    weights: [u32; NODES_MAX],
    sites: [SiteName; NODES_MAX],
}

impl Default for Members {
    fn default() -> Self {
        Self { weights: [WEIGHT; NODES_MAX], sites: [const { SiteName::new() }; NODES_MAX] }
    }
}

impl Members {
    /// Weight in quorum votes.
    pub fn weight(&self, node: NodeId) -> u32 {
        self.weights.get(usize::from(node.0)).copied().unwrap_or(WEIGHT)
    }

    /// Site, empty when it has none.
    pub fn site(&self, node: NodeId) -> &str {
        self.sites.get(usize::from(node.0)).map_or("", SiteName::as_str)
    }
}

/// One line of what an earlier daemon kept (spec/wire.md 10.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered<'a> {
    /// Name.
    pub name: &'a str,
    /// Uuid, nil when it was not known.
    pub uuid: Uuid,
    /// Weight.
    pub weight: u32,
    /// Site.
    pub site: &'a str,
    /// It had been deleted.
    pub is_deleted: bool,
}

impl Node {
    /// Weights and sites.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Takes over what an earlier daemon kept, before the first input. What does not fit is left out.
    pub fn recall(&mut self, at: Stamp, line: Remembered<'_>) {
        self.asked = None;
        let known = self.numbered(line.name);
        let Some(node) = known.or_else(|| self.enrol(at.now, line.name).ok()) else { return };
        if line.is_deleted && known.is_none() {
            self.comms.set_member(&self.settings, at.now, node, false);
        }
        self.comms.recall_uuid(node, line.uuid);
        self.members.weights[usize::from(node.0)] = line.weight;
        self.members.sites[usize::from(node.0)] = line.site.try_into().unwrap_or_default();
    }

    /// Takes up the sender of a message whom nobody knows, with `autojoin`. Its message is used for that only.
    pub(super) fn join(&mut self, at: Stamp, message: &Message<'_>) -> bool {
        if self.settings.autojoin == Autojoin::None || self.settings.has_resources {
            return false;
        }
        let is_named = message.src_uuid.is_some_and(|uuid| !uuid.is_nil() && !self.comms.knows_uuid(uuid));
        // On the wire a name in another case is another name, and a node with that one is misconfigured.
        let is_lower = !message.src.bytes().any(|byte| byte.is_ascii_uppercase());
        if !is_named || !is_lower || self.numbered(message.src).is_some() || self.enrol(at.now, message.src).is_err() {
            return false;
        }
        log::info!("process_clustermsg: Adding new node [{}] to configuration.", message.src);
        self.tell_members();
        true
    }

    /// A message of another node that is about the nodes.
    pub(super) fn heard_of_members(&mut self, at: Stamp, from: NodeId, body: &Body<'_>) {
        match *body {
            Body::RepNodes { nodes, deleted } if !self.settings.has_resources => {
                self.adopt_list(at, from, nodes, deleted);
            }
            // A refusal has been logged; nobody waits for the answer.
            Body::AddNodes { names, .. } => {
                let _ = self.add(at, names);
            }
            Body::DelNodes { names, .. } => {
                let _ = self.delete(at, names);
            }
            Body::SetWeight { node, weight } => {
                let _ = self.set_weight(node, weight);
            }
            Body::SetSite { node, site } => {
                let _ = self.set_site(node, site);
            }
            _ => {}
        }
    }

    /// An administrator here asks for a change: it is made, or refused, and told to all.
    pub(super) fn request_members(&mut self, at: Stamp, id: RequestId, change: MemberChange<'_>) {
        let done = match change {
            MemberChange::Add { names } => self.add(at, names).map(|nodes| {
                let body = Body::AddNodes { names: "", nodes };
                (nodes, body, None)
            }),
            MemberChange::Delete { names } => self.delete(at, names).map(|nodes| {
                let body = Body::DelNodes { names: "", nodes };
                (nodes, body, None)
            }),
            MemberChange::SetWeight { node, weight } => self
                .set_weight(node, weight)
                .map(|node| (NodeSet::only(node), Body::SetWeight { node: "", weight }, Some(node))),
            MemberChange::SetSite { node, site } => self
                .set_site(node, site)
                .map(|node| (NodeSet::only(node), Body::SetSite { node: "", site: "" }, Some(node))),
        };
        let outcome = match done {
            Ok((nodes, ..)) if nodes.is_empty() => Outcome::Nothing,
            Ok((_, body, about)) => {
                self.comms.send_about(&self.settings, at, None, body, (about, None), &mut self.outbox);
                Outcome::Done
            }
            Err(refusal) => Outcome::Refused(refusal),
        };
        self.act(Action::Reply { id, outcome });
    }

    /// Those that are new.
    fn add(&mut self, at: Stamp, names: &str) -> Result<NodeSet, Refusal> {
        self.may_change()?;
        let is_new = |name: &&str| self.member(name).is_none();
        let fresh = names.split_ascii_whitespace().filter(is_new);
        if fresh.clone().any(|name| !is_sound(name)) {
            return Err(Refusal::BadName);
        }
        let unnumbered = fresh.filter(|name| self.numbered(name).is_none()).count();
        if self.settings.nodes.len() + unnumbered > NODES_MAX {
            log::warn!("hb_add_one_node: no room for [{}]: at most {NODES_MAX} nodes", names.trim_ascii());
            return Err(Refusal::TooManyNodes);
        }
        let mut added = NodeSet::EMPTY;
        for name in names.split_ascii_whitespace() {
            if self.member(name).is_none() {
                added.insert(self.enrol(at.now, name)?);
                log::info!("hb_add_one_node: Adding new node[{name}] to configuration.");
            }
        }
        self.tell_members();
        Ok(added)
    }

    /// Those that are gone now.
    fn delete(&mut self, at: Stamp, names: &str) -> Result<NodeSet, Refusal> {
        self.may_change()?;
        let mut going = NodeSet::EMPTY;
        for name in names.split_ascii_whitespace() {
            match self.member(name) {
                Some(node) if node == self.settings.local => {
                    log::warn!("This node was deleted from the cluster: shutting down");
                    let (mut cx, ownership) = self.split(at);
                    ownership.request(&mut cx, NOBODY, Request::Stop);
                    return Ok(NodeSet::EMPTY);
                }
                Some(node) => going.insert(node),
                None => return Err(Refusal::UnknownNode),
            }
        }
        let status = |node| self.comms.peer(node).status;
        if let Some(alive) = going.iter().find(|node| status(*node) != NodeStatus::Dead) {
            log::warn!("deletion failed: node {} is not dead", self.settings.nodes[usize::from(alive.0)]);
            return Err(Refusal::NodeAlive);
        }
        let is_up = |node| matches!(status(node), NodeStatus::Up | NodeStatus::Active);
        let missing = self.comms.others().find(|node| !going.contains(*node) && !is_up(*node));
        if let Some(missing) = missing {
            let name = &self.settings.nodes[usize::from(missing.0)];
            log::error!(
                "HBDoMsg_T_DELNODE: deletion failed. We don't have all required nodes alive ({name} is {})",
                status(missing).word()
            );
            return Err(Refusal::NodesMissing);
        }
        for node in going.iter() {
            self.remove(at.now, node);
        }
        self.tell_members();
        Ok(going)
    }

    fn set_weight(&mut self, name: &str, weight: u32) -> Result<NodeId, Refusal> {
        let node = self.member(name).ok_or(Refusal::UnknownNode)?;
        self.members.weights[usize::from(node.0)] = weight;
        self.tell_members();
        Ok(node)
    }

    fn set_site(&mut self, name: &str, site: &str) -> Result<NodeId, Refusal> {
        let node = self.member(name).ok_or(Refusal::UnknownNode)?;
        let site = Some(site).filter(|site| site.bytes().all(|byte| byte.is_ascii_graphic()));
        let site = site.and_then(|site| site.try_into().ok()).ok_or(Refusal::BadName)?;
        self.members.sites[usize::from(node.0)] = site;
        self.tell_members();
        Ok(node)
    }

    /// Another node's list is newer than ours: it has been running.
    fn adopt_list(&mut self, at: Stamp, from: NodeId, nodes: &str, deleted: &str) {
        let is_listed =
            |list: &str, name: &str| list.split_ascii_whitespace().any(|listed| listed.eq_ignore_ascii_case(name));
        if !is_listed(nodes, &self.settings.nodes[usize::from(self.settings.local.0)]) {
            // A node that does not count us in has nothing to tell us about the others.
            log::warn!("{} does not have this node in its list", self.settings.nodes[usize::from(from.0)]);
            return;
        }
        for name in nodes.split_ascii_whitespace() {
            if self.member(name).is_none() && self.enrol(at.now, name).is_ok() {
                log::info!("hb_add_one_node: Adding new node[{name}] to configuration.");
            }
        }
        for name in deleted.split_ascii_whitespace() {
            if self.numbered(name).is_none()
                && let Ok(node) = self.enrol(at.now, name)
            {
                self.comms.set_member(&self.settings, at.now, node, false);
            }
        }
        for place in 0..self.settings.nodes.len() {
            let node = NodeId(u8::try_from(place).unwrap_or(u8::MAX));
            let name = self.settings.nodes[place].clone();
            if node == self.settings.local || !self.comms.is_member(node) || is_listed(nodes, &name) {
                continue;
            }
            match self.comms.peer(node).status {
                NodeStatus::Dead | NodeStatus::Init => self.remove(at.now, node),
                status => log::error!("remove_node: node {name} is {}. Cannot remove alive node", status.word()),
            }
        }
        self.tell_members();
    }

    fn may_change(&self) -> Result<(), Refusal> {
        if self.settings.has_resources { Err(Refusal::FixedNodes) } else { Ok(()) }
    }

    fn remove(&mut self, now: Instant, node: NodeId) {
        log::info!("Removing node [{}] from configuration.", self.settings.nodes[usize::from(node.0)]);
        self.comms.set_member(&self.settings, now, node, false);
    }

    /// A place for this name, its old one if it had any.
    fn enrol(&mut self, now: Instant, name: &str) -> Result<NodeId, Refusal> {
        if let Some(node) = self.numbered(name) {
            self.comms.set_member(&self.settings, now, node, true);
            return Ok(node);
        }
        let mut sound = NodeName::try_from(name).ok().filter(|name| is_sound(name));
        if let Some(name) = &mut sound {
            name.make_ascii_lowercase();
        }
        let place = u8::try_from(self.settings.nodes.len()).map_err(|_| Refusal::TooManyNodes)?;
        self.settings.nodes.push(sound.ok_or(Refusal::BadName)?).map_err(|_| Refusal::TooManyNodes)?;
        self.comms.set_member(&self.settings, now, NodeId(place), true);
        Ok(NodeId(place))
    }

    /// The node of this name, deleted or not. Names are lower case here; a Heartbeat passes on what somebody typed.
    fn numbered(&self, name: &str) -> Option<NodeId> {
        let place = self.settings.nodes.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        u8::try_from(place).ok().map(NodeId)
    }

    fn member(&self, name: &str) -> Option<NodeId> {
        self.numbered(name).filter(|node| self.comms.is_member(*node))
    }

    /// Before anything is sent about them: the encoder knows the nodes by their numbers.
    fn tell_members(&mut self) {
        self.act(Action::Event(Event::Members));
    }

    fn act(&mut self, action: Action) {
        let is_full = self.outbox.push_back(action).is_err();
        assert!(!is_full, "the driver drains after each input, and one input causes fewer actions than fit");
    }
}

/// Whether it can be a node's name: on the wire and in the files blanks and control characters end it.
fn is_sound(name: &str) -> bool {
    !name.is_empty() && name.len() <= NODE_NAME_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
