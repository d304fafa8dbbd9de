//! What a node says about itself: the parts of `nullbeat status` that the demo shows and waits for.

use std::fmt;
use std::time::Instant;

use super::board::Side;
use super::stage::SERVICE;
use crate::daemon::report::{BadReport, Report};

/// A way between the nodes, in the order of the media lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// The cable.
    Serial,
    /// The network.
    Network,
}

impl Route {
    /// Both, in the order of their index.
    pub(super) const BOTH: [Self; 2] = [Self::Serial, Self::Network];

    /// Place in arrays of two.
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial cable",
            Self::Network => "network",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A link as its node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LinkReading {
    /// Heard within the dead time.
    pub(super) is_up: bool,
    /// Age of what was last heard, milliseconds.
    pub(super) heard_ms: Option<u64>,
}

/// A node's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// When the node was asked: what it says is as old as that at the most.
    pub(super) asked_at: Instant,
    /// `up`, `active`, …
    pub(super) status: String,
    /// Nothing moves there.
    pub(super) is_settled: bool,
    /// State of the group there.
    pub(super) group: String,
    /// What the node thinks of its peer: `init`, `up`, `active`, `dead`.
    pub(super) peer: String,
    /// Its links.
    pub(super) links: [LinkReading; 2],
    /// Names of standing alarms.
    pub(super) alarms: Vec<String>,
}

impl Reading {
    /// Reads the answer to `status`.
    ///
    /// # Errors
    /// When it is no report.
    pub(super) fn parse(body: &str, side: Side, asked_at: Instant) -> Result<Self, BadReport> {
        let report = Report::parse(body)?;
        let text = |kind: &str, name: &str| report.first(kind).map_or("-", |line| line.or_dash(name)).to_owned();
        let peer = side.other().name();
        let mut links = [LinkReading::default(); 2];
        for line in report.lines("link").filter(|line| line.text("peer") == Some(peer)) {
            let is_serial = line.or_dash("name").starts_with('/');
            let route = if is_serial { Route::Serial } else { Route::Network };
            links[route.index()] = LinkReading { is_up: line.is_set("is_up"), heard_ms: line.number("heard_ms") };
        }
        let group = report.lines("group").find(|line| line.text("key") == Some(SERVICE));
        Ok(Self {
            asked_at,
            status: text("node", "status"),
            is_settled: report.first("node").is_some_and(|node| node.is_set("is_settled")),
            group: group.map_or("-", |group| group.or_dash("state")).to_owned(),
            peer: text("peer", "status"),
            links,
            alarms: report.lines("alarm").map(|alarm| alarm.or_dash("name").to_owned()).collect(),
        })
    }

    /// One of its links.
    pub(super) const fn link(&self, route: Route) -> LinkReading {
        self.links[route.index()]
    }

    /// Nothing moves, and the group is where it shall be.
    pub(super) fn is_at_rest(&self, owns: bool) -> bool {
        let group = if owns { "running" } else { "stopped" };
        self.status == "active" && self.is_settled && self.group == group
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = if self.is_settled { "settled" } else { "in transition" };
        write!(f, "{}, {rest}, {SERVICE} {}, peer {}", self.status, self.group, self.peer)?;
        for route in Route::BOTH {
            let state = if self.link(route).is_up { "up" } else { "dead" };
            write!(f, ", {route} {state}")?;
        }
        self.alarms.iter().try_for_each(|alarm| write!(f, ", alarm {alarm}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "report\tversion=1\nnode\tname=beta\tstatus=active\tis_settled=1\ngroup\tkey=web\tstate=stopped\n\
        peer\tname=alpha\tstatus=active\n\
        link\tname=/dev/pts/7\tpeer=alpha\tis_up=0\theard_ms=612\n\
        link\tname=lo\tpeer=alpha\tis_up=1\theard_ms=31\n\
        alarm\tname=last_link\ttext=only one\n";

    #[test]
    fn reading_takes_what_the_demo_needs() {
        let now = Instant::now();
        let reading = Reading::parse(BODY, Side::Beta, now).unwrap();
        assert_eq!(reading.link(Route::Serial), LinkReading { is_up: false, heard_ms: Some(612) });
        assert_eq!(reading.link(Route::Network), LinkReading { is_up: true, heard_ms: Some(31) });
        assert!(reading.is_at_rest(false) && !reading.is_at_rest(true));
        let text =
            "active, settled, web stopped, peer active, serial cable dead, network up, alarm last_link".to_owned();
        assert_eq!(reading.to_string(), text);
        assert!(Reading::parse("nonsense\n", Side::Beta, now).is_err());
    }
}
