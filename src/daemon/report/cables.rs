//! The verdict about each serial cable.

use crate::core::ids::LinkId;
use crate::core::message::NodeStatus;
use crate::links::cable::{Handshake, Observation, Peer, judge, modem_lines};

use super::{Facts, Lines};

/// One line for each serial link that is open.
pub(super) fn write(facts: &Facts<'_>, out: &mut Lines<'_>) {
    for (link, slot) in facts.links.iter() {
        let Some((terminal, lately)) = slot.cable(facts.at.now) else { continue };
        let handshake = modem_lines(terminal).map_or(Handshake::Unknown, Handshake::Lines);
        let seen = Observation {
            handshake,
            is_heard_by_peer: is_heard_by_peer(facts, link),
            peer: peer(facts, link),
            ..lately
        };
        let diagnosis = judge(&seen);
        out.begin("cable")
            .field("name", slot.name())
            .field("verdict", diagnosis.verdict.word())
            .field("advice", diagnosis.verdict.advice())
            .field("grounds", diagnosis.grounds)
            .end();
    }
}

/// Whether the partner hears us on this link, when it says so lately.
fn is_heard_by_peer(facts: &Facts<'_>, link: LinkId) -> Option<bool> {
    if facts.node.ownership().alarms().one_way.contains(link) {
        return Some(false);
    }
    let peer = facts.node.comms().peer(facts.node.settings().partner?);
    let extension = peer.extension.as_ref().filter(|_| peer.status != NodeStatus::Dead)?;
    let ages = &extension.links[..usize::from(extension.link_count).min(extension.links.len())];
    let age = ages.get(usize::from(link.0))?.age_ms;
    // An old age is no proof yet: the alarm has the patience for it.
    (u128::from(age) < facts.node.settings().deadtime.as_millis()).then_some(true)
}

/// What the other links know of the partner.
fn peer(facts: &Facts<'_>, link: LinkId) -> Peer {
    let Some(partner) = facts.node.settings().partner else { return Peer::Unknown };
    let links = &facts.node.comms().peer(partner).links[..facts.node.settings().links.len()];
    let mut others = links.iter().enumerate().filter(|(place, _)| *place != usize::from(link.0)).peekable();
    if facts.node.known_partner().is_some_and(|known| known.has_left) {
        Peer::Left
    } else if others.peek().is_none() {
        Peer::Unknown
    } else if others.any(|(_, health)| health.is_up) {
        Peer::Alive
    } else {
        Peer::Silent
    }
}
