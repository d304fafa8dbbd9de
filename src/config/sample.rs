//! A small valid configuration for unit tests that need one and have no files.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::{
    AuthKey, AuthMethod, Config, FenceConfig, Group, LogConfig, Medium, OnStopFailure, Paths, PortSource, ResetWith,
    Resource,
};
#[cfg(test)]
use crate::core::ids::{Generation, KeyNumber, Seq, Uuid};
#[cfg(test)]
use crate::core::message::{Body, Message, NodeStatus};
use crate::core::settings::{AutoFailback, TakeoverPolicy};

/// Nodes `alpha` (here) and `beta`, keepalive 200 ms, deadtime 1 s, one UDP link; `groups` are pairs of node and words.
/// All directories are below `root`, and a reset would only run `root/reset`.
pub(crate) fn config(root: &Path, groups: &[(&str, &str)]) -> Config {
    Config {
        paths: Paths { config: root.join("ha.d"), run: root.join("run"), state: root.join("state") },
        node: "alpha".into(),
        nodes: vec!["alpha".into(), "beta".into()],
        ping_places: Vec::new(),
        keepalive: Duration::from_millis(200),
        keepalives: Vec::new(),
        warntime: Duration::from_millis(500),
        deadtime: Duration::from_secs(1),
        initdead: Duration::from_secs(4),
        max_rexmit_delay: Duration::from_millis(250),
        hopfudge: 1,
        media: vec![Medium::Ucast { interface: "lo".into(), peer: Ipv4Addr::new(127, 0, 0, 2), bind: None, port: 694 }],
        deadping: Duration::from_secs(1),
        has_upstream_failover: false,
        upstream_holdoff: Duration::from_secs(2),
        membership: None,
        protocol: crate::config::Protocol::Auto,
        is_netstring: false,
        compress_above: None,
        is_generation_from_time: false,
        is_uuid_from_name: false,
        keys: vec![AuthKey { number: 1, method: AuthMethod::Crc, key: Vec::new() }],
        signing_key: 1,
        log_badpack: true,
        log: LogConfig::default(),
        has_apphbd: false,
        auto_failback: AutoFailback::On,
        failback_delay: Duration::ZERO,
        moves_per_hour: 0,
        checks: Vec::new(),
        udp_port: (694, PortSource::BuiltIn),
        takeover_policy: TakeoverPolicy::Available,
        fence: FenceConfig { methods: Vec::new(), settle: Duration::from_secs(60), per_hour: 3 },
        split_brain_loser: None,
        groups: groups.iter().map(|(node, text)| group(node, text)).collect(),
        script_timeout: Duration::from_secs(60),
        stop_retries: 10,
        on_stop_failure: OnStopFailure::Reboot,
        reset_with: ResetWith::Hook(root.join("reset")),
        watchdog: super::WatchdogConfig::default(),
        notify: Vec::new(),
        reassert: Vec::new(),
        user: None,
        is_filtered: true,
        is_realtime: false,
        rtprio: None,
        directives: Vec::new(),
        environment: Vec::new(),
        clients: Vec::new(),
        api_auth: Vec::new(),
        core_dumps: None,
        core_root: None,
        config_digest: 1,
        resources_digest: 2,
        has_resources: true,
        test_losses: None,
        board: None,
        gpio: Vec::new(),
        interlock: None,
        autojoin: crate::core::settings::Autojoin::None,
    }
}

/// One group; words are split at blanks, `::` separates arguments.
pub(crate) fn group(node: &str, text: &str) -> Group {
    let resource = |word: &str| {
        let mut parts = word.split("::").map(str::to_owned);
        Resource { word: word.into(), script: parts.next().unwrap_or_default(), arguments: parts.collect() }
    };
    Group { node: node.into(), text: text.into(), resources: text.split(' ').map(resource).collect() }
}

/// A beat of the other node, as a Heartbeat in its fifth run says it.
#[cfg(test)]
pub(crate) fn beat_of_beta(seq: u64) -> Message<'static> {
    let body = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(1000),
        has_protocol: true,
        is_nullbeat: false,
        extension: None,
    };
    Message {
        src: "beta",
        src_uuid: Some(Uuid([2; 16])),
        dest: None,
        dest_uuid: None,
        seq: Some(Seq(seq)),
        generation: Generation(5),
        ts: 1_800_000_000,
        key: KeyNumber(1),
        news: None,
        compact: None,
        body,
    }
}
