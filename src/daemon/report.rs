//! What a running node tells about itself, as text over the control socket, and how the other end reads it.
//!
//! A report is a series of lines `kind⇥name=value⇥name=value…`. Its first line is `report⇥version=1`; a reader ignores
//! kinds and names that it does not know, so both grow without a new version. Times are ages (`…_ms`): the two ends
//! need not agree about the time of day. What is not known is left out. Flags are 0 and 1.
//!
//! [`SCHEMA`] lists the kinds with their fields; docs/status.md explains them.

mod cables;
mod lines;
mod reading;
mod schema;
mod status;
pub(super) mod words;

use std::fmt::Write as _;

use crate::api::client::Server;
use crate::api::membership::service::Service;
use crate::config::{FenceMethod, GpioLine, Group};
use crate::core::Node;
use crate::core::ids::{CheckId, GroupId, LinkId, NodeId, PingId};
use crate::core::settings::Settings;
use crate::core::time::{Instant, Stamp};
use crate::hardware::watchdog::Device;

use super::confinement::Confinement;
use super::control::server::ControlCounters;
use super::control::{Query, Sheet};
use super::fence_book::FenceBook;
use super::kicker::Kicker;
use super::last_move::Move;
use super::link_table::LinkTable;
use crate::wire::heartbeat::FifoCounters;

use lines::{Lines, micros, millis};
pub use reading::{BadReport, Line, Report};
pub use schema::{Kind, SCHEMA, Section, Shape, VERSION};

/// Everything a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Now.
    pub at: Stamp,
    /// When this engine started.
    pub started: Instant,
    /// The core.
    pub node: &'a Node,
    /// What the engine has given up.
    pub confinement: &'a Confinement,
    /// What numbers stand for.
    pub names: Names<'a>,
    /// The last move to this node.
    pub last_move: Option<&'a Move>,
    /// What is known of each.
    pub fences: &'a FenceBook,
    /// The GPIO lines of the board.
    pub gpio: &'a [GpioLine],
    /// Devices and sockets.
    pub links: &'a LinkTable,
    /// Watchdogs.
    pub kicker: &'a Kicker<Device>,
    /// The control socket's own.
    pub control: ControlCounters,
    /// The FIFO's.
    pub fifo: FifoCounters,
    /// The socket of Heartbeat's clients.
    pub clients: Option<&'a Server>,
    /// The membership service, with `membership on`.
    pub membership: Option<Membership<'a>>,
}

/// The built-in membership service.
#[derive(Debug, Clone, Copy)]
pub struct Membership<'a> {
    /// Once communication is up.
    pub service: Option<&'a Service>,
    /// Programs that follow it.
    pub programs: usize,
}

/// The names of what the core knows by numbers.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// Knows nodes, links and ping nodes.
    pub settings: &'a Settings,
    /// The groups of haresources.
    pub groups: &'a [Group],
    /// Those of ping nodes have a name, too.
    pub links: &'a LinkTable,
    /// The lines of ha.cf by which the partner is fenced.
    pub fences: &'a [FenceMethod],
}

/// Writes the report that a query asks for.
pub fn write(query: Query, facts: &Facts<'_>, sheet: &mut Sheet) {
    // A Sheet takes everything and says itself when it was too much.
    let _ = writeln!(sheet, "report\tversion={VERSION}");
    let mut out = Lines { sheet };
    match query {
        Query::Status => status::write(facts, &mut out),
    }
}

impl<'a> Names<'a> {
    /// A method of fencing; what is none was an operator's word.
    pub(super) fn fence(&self, method: u8) -> &'a str {
        self.fences.get(usize::from(method)).map_or("operator", |method| method.name.as_str())
    }

    pub(super) fn key(&self, group: GroupId) -> &'a str {
        self.groups.get(usize::from(group.0)).map_or("", |group| group.key())
    }

    fn resource(&self, group: GroupId, place: u8) -> &'a str {
        let group = self.groups.get(usize::from(group.0));
        group.and_then(|group| group.resources.get(usize::from(place))).map_or("", |resource| resource.word.as_str())
    }

    pub(super) fn node(&self, node: NodeId) -> &'a str {
        self.settings.nodes.get(usize::from(node.0)).map_or("", |name| name.as_str())
    }

    pub(super) fn link(&self, link: LinkId) -> &'a str {
        let peers = self.settings.links.get(usize::from(link.0)).map(|name| name.as_str());
        // Those of ping nodes come behind.
        let pings = || self.links.iter().find(|(id, _)| *id == link).map(|(_, slot)| slot.name());
        peers.or_else(pings).unwrap_or("")
    }

    pub(super) fn ping(&self, ping: PingId) -> &'a str {
        self.settings.upstream.ping_nodes.get(usize::from(ping.0)).map_or("", |name| name.as_str())
    }

    pub(super) fn check(&self, check: CheckId) -> &'a str {
        self.settings.health.checks.get(usize::from(check.0)).map_or("", |check| check.name.as_str())
    }

    pub(super) fn subject(&self, subject: &words::Subject) -> Option<&'a str> {
        match subject {
            words::Subject::Nothing => None,
            words::Subject::Link(link) => Some(self.link(*link)),
            words::Subject::Group(group) => Some(self.key(*group)),
            words::Subject::Line(line) => Some(line.name()),
            words::Subject::Check(check) => Some(self.check(*check)),
        }
    }
}

impl Facts<'_> {
    fn age_ms(&self, then: Instant) -> u64 {
        millis(self.at.now.since(then))
    }
}

#[cfg(test)]
mod tests;
