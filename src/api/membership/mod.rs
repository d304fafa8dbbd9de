//! Membership: who belongs to the cluster now, agreed by all of them (spec/api.md section 6), as Heartbeat's `ccm` does it.
//!
//! | file | holds |
//! |---|---|
//! | [`service`] | the state machine: what is said when, which membership is in force; no I/O, no clock, no heap |
//! | [`message`] | what the services say to each other, as types and as text |
//! | [`frames`] | what local programs are told, as bytes |
//! | [`server`] | the socket at which they are told |
//!
//! Each node runs one service. To the daemon it is a client of the name `ccm`, and its messages go the way of every
//! client's messages (spec/api.md 2.7), so that a packaged `ccm` on another node finds in it another `ccm`.
//!
//! What differs from the original, none of which a `ccm` can see: time is not counted in whole seconds; whether a `ccm`
//! runs on another node is asked, not waited for; the leaving node is named rightly where the original names its leader.

pub mod frames;
pub mod message;
pub mod server;
pub mod service;

#[cfg(test)]
mod tests;

use crate::core::ids::{MemberId, MemberSet, NodeName};
use crate::core::limits::NODES_MAX;

/// The name of the service's client.
pub const CLIENT: &str = "ccm";

/// All nodes as every service numbers them, and which of them we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    names: heapless::Vec<NodeName, NODES_MAX>,
    weights: [u32; NODES_MAX],
    place: MemberId,
}

impl Local {
    /// The nodes with their weights, in any order. `None` when `local` is not among them or they are too many.
    pub fn new<'n>(nodes: impl IntoIterator<Item = (&'n NodeName, u32)>, local: &str) -> Option<Self> {
        let mut sorted = heapless::Vec::<(&NodeName, u32), NODES_MAX>::new();
        for node in nodes {
            sorted.push(node).ok()?;
        }
        crate::order::sort(&mut sorted, |(a, _), (b, _)| a < b);
        let mut weights = [0; NODES_MAX];
        weights.iter_mut().zip(&sorted).for_each(|(slot, (_, weight))| *slot = *weight);
        let names: heapless::Vec<_, NODES_MAX> = sorted.iter().map(|(name, _)| (*name).clone()).collect();
        let place = names.iter().position(|name| name == local)?;
        Some(Self { names, weights, place: MemberId(u8::try_from(place).ok()?) })
    }

    /// Names of all nodes, in the order of their numbers.
    pub fn names(&self) -> &[NodeName] {
        &self.names
    }

    /// This node.
    pub const fn place(&self) -> MemberId {
        self.place
    }

    /// All nodes.
    pub fn all(&self) -> MemberSet {
        MemberSet::first(self.names.len())
    }

    /// The name of a node.
    pub fn name(&self, member: MemberId) -> &str {
        self.names.get(usize::from(member.0)).map_or("", NodeName::as_str)
    }

    /// The node of this name.
    pub fn of(&self, name: &str) -> Option<MemberId> {
        let place = self.names.iter().position(|known| known == name)?;
        u8::try_from(place).ok().map(MemberId)
    }

    fn weight(&self, members: MemberSet) -> u32 {
        members
            .iter()
            .filter_map(|member| self.weights.get(usize::from(member.0)))
            .fold(0, |sum, w| sum.saturating_add(*w))
    }
}

/// One membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Who belongs to it.
    pub members: MemberSet,
    /// Its number: one more than that of the one before, but for a cluster that has been split and begins again.
    pub instance: u32,
    /// Whether the members may act for the whole cluster.
    pub has_quorum: bool,
    born: [u32; NODES_MAX],
}

impl View {
    /// The instance in which a member joined.
    pub fn born_on(&self, member: MemberId) -> u32 {
        // A node left alone counts from now (spec/api.md 6.6), whatever it goes on telling others.
        if self.members.len() == 1 { self.instance } else { self.joined(member) }
    }

    /// Members with the instance in which each joined, the oldest first: the order in which programs are told of them.
    pub fn by_age(&self) -> impl Iterator<Item = (MemberId, u32)> + use<> {
        let mut members: heapless::Vec<_, NODES_MAX> =
            self.members.iter().map(|member| (member, self.born_on(member))).collect();
        crate::order::sort(&mut members, |(a, a_born_on), (b, b_born_on)| (a_born_on, a) < (b_born_on, b));
        members.into_iter()
    }

    fn joined(&self, member: MemberId) -> u32 {
        self.born.get(usize::from(member.0)).copied().unwrap_or_default()
    }
}
