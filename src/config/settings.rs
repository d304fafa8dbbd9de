//! The configuration as the core takes it.

use super::watchdog::MARGIN;
use super::{AuthKey, AuthMethod, CheckConfig, Config, LineUse, Medium, OutputLine, Protocol};
use crate::core::ids::{GroupId, KeyNumber, NodeId};
use crate::core::settings::{
    Autojoin, CheckSettings, GroupSettings, HealthSettings, InterlockSettings, LeaseSettings, Settings,
    SplitBrainLoser, UpstreamSettings,
};

impl Config {
    /// Whether a serial line is among the links.
    pub fn has_serial(&self) -> bool {
        self.media.iter().any(|medium| matches!(medium, Medium::Serial { .. }))
    }

    /// The nodes that groups prefer, in the order of haresources: at most two.
    pub fn owners(&self) -> Vec<&str> {
        let mut owners: Vec<&str> = Vec::new();
        for group in &self.groups {
            if !owners.contains(&group.node.as_str()) {
                owners.push(&group.node);
            }
        }
        owners
    }

    /// The one node that groups are exchanged with: of two nodes the other; of more the other of the two that
    /// haresources names, `None` on a node that it does not name, and where no groups are managed.
    pub fn partner(&self) -> Option<&str> {
        if !self.has_resources {
            return None;
        }
        let owners = self.owners();
        let pair: Vec<&str> = match self.nodes.len() {
            2 => self.nodes.iter().map(String::as_str).collect(),
            _ => owners,
        };
        match pair.as_slice() {
            [first, second] if *first == self.node => Some(second),
            [first, second] if *second == self.node => Some(first),
            _ => None,
        }
    }

    /// The one node that the compact format is spoken with: there are two nodes, and a secret that nobody else has.
    pub fn compact_partner(&self) -> Option<&str> {
        let has_secret = |key: &AuthKey| key.number == self.signing_key && key.method != AuthMethod::Crc;
        let is_possible = self.nodes.len() == 2 && self.keys.iter().any(has_secret);
        self.partner().filter(|_| is_possible && self.protocol != Protocol::Heartbeat)
    }

    /// What the core is told at its start. `seed` feeds its random delays.
    pub fn settings(&self, seed: u64) -> Settings {
        let local = self.node_id(&self.node).unwrap_or(NodeId(0));
        Settings {
            nodes: self.nodes.iter().map(|name| bounded(name)).collect(),
            local,
            partner: self.partner().and_then(|name| self.node_id(name)),
            links: self.media.iter().filter(|medium| !medium.is_ping()).map(|medium| bounded(&medium.name())).collect(),
            groups: self
                .groups
                .iter()
                .map(|group| GroupSettings { preferred: self.node_id(&group.node).unwrap_or(local) })
                .collect(),
            keepalive: self.keepalive,
            paces: self.paces(),
            warntime: self.warntime,
            deadtime: self.deadtime,
            announced_extra: self.announced_extra(),
            initdead: self.initdead,
            max_rexmit_delay: self.max_rexmit_delay,
            signing_key: KeyNumber(self.signing_key),
            auto_failback: self.auto_failback,
            failback_delay: self.failback_delay,
            moves_per_hour: self.moves_per_hour,
            takeover_policy: self.takeover_policy,
            split_brain_loser: match self.split_brain_loser.as_deref().and_then(|name| self.node_id(name)) {
                Some(node) => SplitBrainLoser::Node(node),
                None => SplitBrainLoser::NotPreferred,
            },
            upstream: UpstreamSettings {
                ping_nodes: self.media.iter().filter(|m| m.is_ping()).map(|medium| bounded(&medium.name())).collect(),
                deadping: self.deadping,
                has_failover: self.has_upstream_failover,
                holdoff: self.upstream_holdoff,
            },
            health: self.health(),
            fence: self.fence.settings(),
            interlock: self.interlock.map(|settle| InterlockSettings { settle }),
            has_owner_line: self.has_output(OutputLine::Owner),
            lease: self.lease(),
            config_digest: self.config_digest,
            resources_digest: self.resources_digest,
            has_resources: self.has_resources,
            autojoin: if self.has_resources { Autojoin::None } else { self.autojoin },
            random_seed: seed,
            is_generation_guessed: false,
        }
    }

    /// Whether the board drives this line.
    pub fn has_output(&self, output: OutputLine) -> bool {
        self.gpio.iter().any(|line| line.usage == LineUse::Output(output))
    }

    fn health(&self) -> HealthSettings {
        let check = |check: &CheckConfig| CheckSettings {
            is_vital: check.is_vital,
            name: bounded(&check.name),
            group: check.group.and_then(|group| u8::try_from(group).ok()).map(GroupId),
            restarts: check.restarts,
        };
        HealthSettings { checks: self.checks.iter().map(check).collect(), holdoff: self.health_holdoff() }
    }

    /// What `fence watchdog-lease` promises the partner, with the watchdogs that are in force. Of several the shortest
    /// resets the board first; the longest counts, so that the promise is kept when a shorter one does not work.
    fn lease(&self) -> Option<LeaseSettings> {
        let (kick_for, timeout) = (self.fence.lease()?, self.watchdog.in_force?);
        Some(LeaseSettings { kick_for, reset_within: kick_for + timeout + MARGIN })
    }

    fn node_id(&self, name: &str) -> Option<NodeId> {
        let index = self.nodes.iter().position(|node| node == name)?;
        u8::try_from(index).ok().map(NodeId)
    }
}

/// The check has refused what does not fit.
fn bounded<const N: usize>(text: &str) -> heapless::String<N> {
    let mut bounded = heapless::String::new();
    for character in text.chars() {
        if bounded.push(character).is_err() {
            break;
        }
    }
    bounded
}
