//! What a node must know to turn messages into bytes and back.

use core::cell::Cell;
use core::fmt;

use super::{GROUP_KEYS_MAX, Keys};
use crate::core::ids::{GroupId, KeyNumber, NodeId, NodeName, NodeSet, SiteName, Uuid};
use crate::core::limits::{GROUPS_MAX, NODES_MAX};
use crate::core::settings::Identity;

/// Bytes of the load average that `ld` shows; the rest is cut off.
const LOAD_MAX: usize = 48;
/// Bytes of what [`Codec::set_news`] takes: with its name no longer than the shortest extension, and never beside one.
pub const NEWS_MAX: usize = 56;

/// What [`Codec::new`] is told.
#[derive(Debug)]
pub struct Setup<'s> {
    /// authkeys.
    pub keys: Keys,
    /// Names of all nodes, in the order of ha.cf.
    pub nodes: &'s [NodeName],
    /// Which of them we are.
    pub local: NodeId,
    /// Uuid and generation of this run.
    pub identity: Identity,
    /// The key of each group, in the order of haresources; for `ip-request` and `ip-request-resp` only.
    pub group_keys: &'s [&'s str],
    /// `hopfudge`; with the number of nodes it makes `ttl`, at which nobody looks.
    pub hopfudge: u8,
    /// `msgfmt netstring`: datagrams carry no inner `auth`.
    pub is_netstring: bool,
}

/// Why there can be no [`Codec`]. The configuration check refuses all of these before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupError {
    /// The key that shall sign is not among the keys.
    NoSigningKey,
    /// More nodes than [`NODES_MAX`], or the local one is not among them.
    BadNodes,
    /// More groups than [`GROUPS_MAX`], or more than [`GROUP_KEYS_MAX`] bytes of keys.
    TooManyGroups,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSigningKey => f.write_str("no key of the number that signs"),
            Self::BadNodes => write!(f, "more than {NODES_MAX} nodes, or the local one is not among them"),
            Self::TooManyGroups => write!(f, "more than {GROUPS_MAX} groups or {GROUP_KEYS_MAX} bytes of group keys"),
        }
    }
}

/// Encodes and decodes for one node. About 10 KiB, no heap.
#[derive(Clone)]
pub struct Codec {
    pub(super) keys: Keys,
    pub(super) nodes: heapless::Vec<NodeName, NODES_MAX>,
    /// Those that belong to the cluster; the others were deleted.
    pub(super) members: NodeSet,
    pub(super) sites: [SiteName; NODES_MAX],
    pub(super) local: NodeId,
    pub(super) identity: Identity,
    pub(super) ttl: u16,
    pub(super) is_netstring: bool,
    pub(super) load: heapless::String<LOAD_MAX>,
    pub(super) news: heapless::String<NEWS_MAX>,
    pub(super) is_compact_offered: bool,
    uuids: [Uuid; NODES_MAX],
    group_keys: heapless::String<GROUP_KEYS_MAX>,
    /// Where each group's key ends in `group_keys`.
    group_key_ends: heapless::Vec<u16, GROUPS_MAX>,
    extension_errors: Cell<u32>,
}

impl Codec {
    /// A codec for the node that `setup` describes.
    pub fn new(setup: Setup<'_>) -> Result<Self, SetupError> {
        setup.keys.signing().ok_or(SetupError::NoSigningKey)?;
        let nodes = heapless::Vec::from_slice(setup.nodes).map_err(|_| SetupError::BadNodes)?;
        nodes.get(usize::from(setup.local.0)).ok_or(SetupError::BadNodes)?;
        let mut codec = Self {
            keys: setup.keys,
            ttl: u16::from(setup.hopfudge) + u16::try_from(nodes.len()).unwrap_or(u16::MAX),
            members: NodeSet::first(nodes.len()),
            sites: [const { SiteName::new() }; NODES_MAX],
            nodes,
            local: setup.local,
            identity: setup.identity,
            is_netstring: setup.is_netstring,
            load: heapless::String::new(),
            news: heapless::String::new(),
            is_compact_offered: false,
            uuids: [Uuid::default(); NODES_MAX],
            group_keys: heapless::String::new(),
            group_key_ends: heapless::Vec::new(),
            extension_errors: Cell::new(0),
        };
        codec.set_load("n/a");
        codec.set_uuid(setup.local, setup.identity.uuid);
        for key in setup.group_keys {
            codec.add_group_key(key).ok_or(SetupError::TooManyGroups)?;
        }
        Ok(codec)
    }

    fn add_group_key(&mut self, key: &str) -> Option<()> {
        self.group_keys.push_str(key).ok()?;
        self.group_key_ends.push(self.group_keys.len().try_into().ok()?).ok()
    }

    /// Remembers a node's uuid: messages to it carry it as `destuuid`. Without it they go by the name.
    pub fn set_uuid(&mut self, node: NodeId, uuid: Uuid) {
        if let Some(slot) = self.uuids.get_mut(usize::from(node.0)) {
            *slot = uuid;
        }
    }

    /// Signs with this key from now on; the core knows which one (spec/wire.md 4.4). `false`: authkeys does not have it.
    pub fn sign_with(&mut self, key: KeyNumber) -> bool {
        self.keys.sign_with(key.0)
    }

    /// The key that signs.
    pub const fn signing_key(&self) -> KeyNumber {
        KeyNumber(self.keys.signing_number())
    }

    /// Ping nodes count as nodes in `ttl`, too.
    pub fn add_ping_nodes(&mut self, count: usize) {
        self.ttl = self.ttl.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
    }

    /// Takes in what is new about a node: a known one or the next. What does not fit is left as it was.
    pub fn set_node(&mut self, node: NodeId, name: &NodeName, site: &str, is_member: bool) {
        let place = usize::from(node.0);
        if place == self.nodes.len() && self.nodes.push(name.clone()).is_ok() {
            self.ttl = self.ttl.saturating_add(1);
        }
        if place < self.nodes.len() {
            if is_member {
                self.members.insert(node);
            } else {
                self.members.remove(node);
            }
            self.sites[place] = site.try_into().unwrap_or_default();
        }
    }

    /// What `ld` says from now on: the first line of `load`, cut to 48 bytes. `n/a` before the first call.
    pub fn set_load(&mut self, load: &str) {
        self.load.clear();
        for character in load.lines().next().unwrap_or_default().chars().filter(|character| !character.is_control()) {
            if self.load.push(character).is_err() {
                break;
            }
        }
    }

    /// What `nbn` says in every `status` without an extension from now on: something for the other node's history. Nothing,
    /// and no `nbn`, when it is empty or too long.
    pub fn set_news(&mut self, news: &str) {
        self.news = news.try_into().unwrap_or_default();
    }

    /// What was set with [`Codec::set_news`].
    pub fn news(&self) -> &str {
        &self.news
    }

    /// Every `status` says from now on that we speak the compact format, too (`nbp`).
    pub const fn offer_compact(&mut self) {
        self.is_compact_offered = true;
    }

    /// How many authentic messages had fields of ours that could not be read; it wraps. The extension of such a
    /// `status` is dropped, such an `ask_resources` is [`Body::Other`](crate::core::message::Body::Other).
    pub fn extension_errors(&self) -> u32 {
        self.extension_errors.get()
    }

    pub(super) fn count_extension_error(&self) {
        self.extension_errors.set(self.extension_errors.get().wrapping_add(1));
    }

    pub(super) fn node(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(usize::from(node.0)).map(NodeName::as_str)
    }

    /// A node's uuid, when known.
    pub(super) fn uuid(&self, node: NodeId) -> Option<Uuid> {
        self.uuids.get(usize::from(node.0)).copied().filter(|uuid| !uuid.is_nil())
    }

    pub(super) fn group_key(&self, group: GroupId) -> Option<&str> {
        let index = usize::from(group.0);
        let end = usize::from(*self.group_key_ends.get(index)?);
        let start =
            index.checked_sub(1).and_then(|before| self.group_key_ends.get(before)).map_or(0, |end| usize::from(*end));
        self.group_keys.get(start..end)
    }

    /// The group of this key.
    pub(super) fn group_of(&self, key: &str) -> Option<GroupId> {
        let count = u8::try_from(self.group_key_ends.len()).unwrap_or(u8::MAX);
        (0..count).map(GroupId).find(|group| self.group_key(*group) == Some(key))
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("local", &self.node(self.local))
            .field("identity", &self.identity)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Method;
    use super::*;
    use crate::core::ids::Generation;

    fn setup<'s>(keys: Keys, nodes: &'s [NodeName], group_keys: &'s [&'s str]) -> Setup<'s> {
        let identity = Identity { uuid: Uuid([1; 16]), generation: Generation(1) };
        Setup { keys, nodes, local: NodeId(1), identity, group_keys, hopfudge: 1, is_netstring: false }
    }

    fn crc() -> Keys {
        let mut keys = Keys::new(1);
        keys.add(1, Method::Crc, b"").unwrap();
        keys
    }

    fn names(count: usize) -> Vec<NodeName> {
        (0..count).map(|index| format!("n{index}").as_str().try_into().unwrap()).collect()
    }

    #[test]
    fn setup_is_checked() {
        let error = |keys, nodes: usize, groups: &[&str]| Codec::new(setup(keys, &names(nodes), groups)).err();
        assert_eq!(error(Keys::new(1), 2, &[]), Some(SetupError::NoSigningKey));
        assert_eq!(error(crc(), 1, &[]), Some(SetupError::BadNodes));
        assert_eq!(error(crc(), NODES_MAX + 1, &[]), Some(SetupError::BadNodes));
        assert_eq!(error(crc(), 2, &["k"; GROUPS_MAX + 1]), Some(SetupError::TooManyGroups));
        assert_eq!(error(crc(), 2, &[&"k".repeat(GROUP_KEYS_MAX + 1)]), Some(SetupError::TooManyGroups));
        assert_eq!(error(crc(), NODES_MAX, &[&"k".repeat(GROUP_KEYS_MAX)]), None);
    }

    #[test]
    fn group_keys_are_found_by_group() {
        let codec = Codec::new(setup(crc(), &names(2), &["a", "", "ccc"])).unwrap();
        let keys: Vec<_> = (0..4).map(|group| codec.group_key(GroupId(group))).collect();
        assert_eq!(keys, [Some("a"), Some(""), Some("ccc"), None]);
    }

    #[test]
    fn load_is_one_short_line() {
        let mut codec = Codec::new(setup(crc(), &names(2), &[])).unwrap();
        assert_eq!(codec.load, "n/a");
        codec.set_load("0.00 0.01\t0.05 1/80 4711\nmore");
        assert_eq!(codec.load, "0.00 0.010.05 1/80 4711");
        codec.set_load(&"é".repeat(40));
        assert_eq!(codec.load, *"é".repeat(24));
    }
}
