//! Short numbers that stand for long texts: whether two nodes, or two processes, read the same.

use std::fmt::Write;
use std::time::Duration;

use crc::{CRC_32_ISO_HDLC, CRC_64_XZ, Crc};

use super::{Config, Group};

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const CRC64: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// What must be equal in both nodes' ha.cf: nodes, timing, failback, policy, the time for shots, the interlock. Not the media and log lines, which name
/// what each board has.
pub(super) fn of_config(config: &Config) -> u32 {
    let mut nodes = config.nodes.clone();
    crate::order::sort(&mut nodes, |a, b| a < b);
    let mut text = nodes.join(" ");
    for time in [config.keepalive, config.warntime, config.deadtime, config.initdead, config.failback_delay] {
        let _ = write!(text, "\n{}", time.as_millis());
    }
    // In whatever order the lines are.
    let mut keepalives: Vec<u128> = config.keepalives.iter().map(Duration::as_millis).collect();
    crate::order::sort(&mut keepalives, |a, b| a < b);
    for keepalive in keepalives {
        let _ = write!(text, "\nlink {keepalive}");
    }
    let _ = write!(
        text,
        "\n{:?}\n{}\n{:?}\n{:?}",
        config.auto_failback, config.moves_per_hour, config.takeover_policy, config.split_brain_loser
    );
    // Which hosts each board asks is its own affair; how many there are is what the nodes compare.
    let pings = config.media.iter().filter(|medium| medium.is_ping()).count();
    if pings > 0 {
        let _ = write!(
            text,
            "\n{pings}\n{}\n{}\n{}",
            config.deadping.as_millis(),
            config.has_upstream_failover,
            config.upstream_holdoff.as_millis()
        );
    }
    // Two boards take turns to shoot each other, and a turn is as long as all devices together may take. What these devices
    // are is each board's own affair.
    let devices = config.fence.settings().slot(Duration::ZERO);
    if !devices.is_zero() {
        let _ = write!(text, "\nfence {}", devices.as_millis());
    }
    if let Some(settle) = config.interlock {
        let _ = write!(text, "\ninterlock {}", settle.as_millis());
    }
    // As with ping nodes.
    if !config.checks.is_empty() {
        let of_node = config.checks.iter().filter(|check| check.group.is_none()).count();
        let _ = write!(text, "\nchecks {of_node} {}", config.checks.len());
    }
    CRC32.checksum(text.as_bytes())
}

/// haresources after normalisation.
pub(super) fn of_resources(groups: &[Group]) -> u32 {
    CRC32.checksum(resources(groups).as_bytes())
}

fn resources(groups: &[Group]) -> String {
    groups.iter().fold(String::new(), |text, group| text + &group.node + " " + &group.text + "\n")
}

impl Config {
    /// Digest of the table of groups and resources that group and resource numbers refer to: engine and guardian, and
    /// what an earlier daemon left in the run directory, mean the same by them when it is equal.
    pub fn table_digest(&self) -> u64 {
        CRC64.checksum(resources(&self.groups).as_bytes())
    }
}
