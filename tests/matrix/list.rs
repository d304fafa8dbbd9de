//! The cells.

use crate::cell::{Cell, Digest, Format, Pair};
use crate::medium::{MEDIA, Medium};
use crate::scenario::{LOCAL, SCENARIOS, Scenario};

/// Cells of the default lane, which has each medium, digest, format and scenario at least once in a few minutes.
const DEFAULT_LANE: &[&str] = &[
    "both/start together",
    "mcast/nullbeat first",
    "bcast/Heartbeat first",
    "serial/stop nullbeat",
    "ucast6/stop Heartbeat",
    "ucast/kill nullbeat",
    "mcast6/kill Heartbeat",
    "serial/restart nullbeat",
    "ucast/restart Heartbeat",
    "bcast/return, failback off",
    "ucast/return, failback legacy",
    "mcast/hb_standby",
    "ucast6/hb_takeover",
    "serial/partition and heal",
    "mcast6/partition and heal",
    "bcast/5 % loss",
    "ucast/20 % loss",
    "serial/40 % loss",
    "ucast/clock of nullbeat",
    "serial/clock of Heartbeat",
    "ucast/move over",
    "both, serial cut/kill Heartbeat",
    "both, ucast cut/kill nullbeat",
    "mcast/nullbeat preferred",
    "ucast/Heartbeat preferred",
    "ucast/crc/classic/start together",
    "serial/md5/classic/kill",
    "ucast/md5/netstring/start together",
    "ucast/sha1/zlib/kill",
    "serial/sha1/bz2/start together",
    "ucast/key rollover",
    "ucast/packaged hb_standby",
    "serial/packaged hb_takeover",
];

/// Cells known to be red, by a part of their name, and why.
const KNOWN_RED: &[(&str, &str)] = &[("netstring/kill", NETSTRING)];
/// spec/wire.md 3.3.
const NETSTRING: &str =
    "Heartbeat's own: with netstring its FIFO swallows the end of a takeover, which then never ends; the same with two";

/// Digest × format × {start, kill, heal}.
const SIGNED: [Scenario; 3] = [Scenario::StartTogether, Scenario::KillEither, Scenario::Partition];

/// Every cell with one nullbeat.
pub(crate) fn mixed() -> Vec<Cell> {
    let mut cells = Vec::new();
    for medium in MEDIA {
        cells.extend(SCENARIOS.iter().map(|scenario| Cell::usual(medium, *scenario)));
    }
    for medium in [Medium::Serial, Medium::Ucast] {
        for format in [Format::Classic, Format::Netstring] {
            for digest in [Digest::Crc, Digest::Md5, Digest::Sha1] {
                for scenario in SIGNED {
                    cells.push(Cell { medium, digest, format, scenario, pair: Pair::Mixed });
                }
            }
        }
        for format in [Format::Zlib, Format::Bz2] {
            for scenario in SIGNED {
                cells.push(Cell { medium, digest: Digest::Sha1, format, scenario, pair: Pair::Mixed });
            }
        }
        cells.extend(LOCAL.iter().map(|scenario| Cell::usual(medium, *scenario)));
    }
    cells
}

/// Every cell with two Heartbeats: one for each different thing to compare with.
pub(crate) fn originals() -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for cell in mixed().into_iter().filter(|cell| cell.scenario.has_reference()) {
        let original = cell.reference();
        if !cells.contains(&original) {
            cells.push(original);
        }
    }
    cells
}

/// Whether the default lane has this cell.
pub(crate) fn is_default(cell: Cell) -> bool {
    DEFAULT_LANE.contains(&cell.name().as_str())
}

/// Why the cell is known to be red.
pub(crate) fn known_red(cell: Cell) -> Option<&'static str> {
    let name = cell.name();
    KNOWN_RED.iter().find(|(part, _)| name.contains(part)).map(|(_, reason)| *reason)
}

/// Fails when the default lane names something that is not there, or leaves out what must be in it.
pub(crate) fn check() -> Result<(), String> {
    let all = mixed();
    for name in DEFAULT_LANE {
        if !all.iter().any(|cell| cell.name() == *name) {
            return Err(format!("the default lane names {name:?}, which is no cell"));
        }
    }
    let has = |what: &str, test: &dyn Fn(&Cell) -> bool| match all.iter().any(|cell| is_default(*cell) && test(cell)) {
        true => Ok(()),
        false => Err(format!("the default lane has no cell with {what}")),
    };
    for cell in &all {
        has(cell.medium.name(), &|other| other.medium == cell.medium)?;
        has(cell.digest.name(), &|other| other.digest == cell.digest)?;
        has(cell.format.name(), &|other| other.format == cell.format)?;
        has(cell.scenario.name(), &|other| other.scenario == cell.scenario)?;
    }
    Ok(())
}
