//! Loses messages on purpose, as `OnlyForTesting` says (spec/api.md 10.4).

use crate::config::{CERTAIN, TestLosses};
use crate::core::limits::NODES_MAX;
use crate::core::node::Node;

/// Draws the lots.
#[derive(Debug)]
pub(super) struct Losses {
    transmitted: u32,
    received: u32,
    /// By a node's number: everything from it is taken.
    is_allowed: [bool; NODES_MAX],
    /// State of the generator; never zero.
    lots: u64,
}

impl Losses {
    /// `seed`: any number.
    pub(super) fn new(losses: Option<&TestLosses>, node: &Node, seed: u64) -> Self {
        let settings = node.settings();
        let mut is_allowed = [losses.is_none(); NODES_MAX];
        for (is_allowed, name) in is_allowed.iter_mut().zip(&settings.nodes) {
            *is_allowed |= losses.is_some_and(|losses| losses.allowed.split(';').any(|known| known == name.as_str()));
        }
        if let Some(own) = is_allowed.get_mut(usize::from(settings.local.0)) {
            *own = true;
        }
        // With a list everything is sent: the others have lists too.
        let is_list_empty = losses.is_some_and(|losses| losses.allowed.is_empty() || losses.allowed.starts_with(';'));
        Self {
            transmitted: losses.filter(|_| is_list_empty).map_or(0, |losses| losses.transmitted),
            received: losses.map_or(0, |losses| losses.received),
            is_allowed,
            lots: seed | 1,
        }
    }

    /// Whether what is about to be sent is lost.
    pub(super) fn loses_transmitted(&mut self) -> bool {
        self.transmitted > 0 && self.draw() < self.transmitted
    }

    /// Whether a message of the node of this name is lost.
    pub(super) fn loses_received(&mut self, node: &Node, sender: &str) -> bool {
        if self.received == 0 {
            return false;
        }
        let place = node.settings().nodes.iter().position(|name| name.as_str() == sender);
        let is_allowed = place.and_then(|place| self.is_allowed.get(place)).copied().unwrap_or(false);
        !is_allowed && self.draw() < self.received
    }

    /// From zero to a million, without it (xorshift64).
    fn draw(&mut self) -> u32 {
        self.lots ^= self.lots << 13;
        self.lots ^= self.lots >> 7;
        self.lots ^= self.lots << 17;
        u32::try_from((self.lots >> 11) % u64::from(CERTAIN)).unwrap_or(0)
    }
}
