//! Sense across directives (spec/config.md 2.7, step 4), defaults, and the finished configuration.

use std::path::PathBuf;
use std::time::Duration;

use super::authkeys::Keys;
use super::draft::{Draft, DraftPing, Given, one_of};
use super::finding::{At, quote};
use super::value::spoken;
use super::{
    Config, Group, LogConfig, Medium, OnStopFailure, Paths, Protocol, Purpose, ResetWith, checks, clients, digest,
    exported, fence, gpio, membership, pings, watchdog,
};
use crate::core::settings::{AutoFailback, Autojoin, TakeoverPolicy};

/// How often a failing stop is tried again (spec/resources.md 4.2).
const DEFAULT_STOP_RETRIES: u32 = 10;
/// `script_timeout` when it is not given.
const DEFAULT_SCRIPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Start-up below this is suspicious: networks take longer to come up (spec/config.md 2.1).
const INITDEAD_DOUBTFUL: Duration = Duration::from_secs(10);

/// What is missing where there is no link.
const ANY_LINK: &str = "a `serial`, `ucast`, `bcast`, `mcast`, `ucast6` or `mcast6` line";

/// The five times with their defaults filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) keepalive: Duration,
    pub(super) warntime: Duration,
    pub(super) deadtime: Duration,
    pub(super) initdead: Duration,
    pub(super) deadping: Duration,
}

impl Timing {
    /// Defaults of spec/config.md 2.1.
    pub(super) fn of(draft: &Draft<'_>) -> Self {
        let common = common_keepalive(draft);
        let keepalive = draft.media.iter().map(|medium| value_or(&medium.keepalive, common)).max().unwrap_or(common);
        let deadtime = value_or(&draft.deadtime, Duration::from_secs(30));
        let initdead =
            if deadtime > Duration::from_secs(10) { deadtime } else { (deadtime * 2).max(Duration::from_secs(12)) };
        Self {
            keepalive,
            warntime: value_or(&draft.warntime, deadtime / 2),
            deadtime,
            initdead: value_or(&draft.initdead, initdead),
            deadping: value_or(&draft.deadping, deadtime),
        }
    }
}

/// `keepalive`, that of links which have none of their own.
fn common_keepalive(draft: &Draft<'_>) -> Duration {
    value_or(&draft.keepalive, Duration::from_secs(1))
}

/// Where the longest keepalive is given.
fn place_of_keepalive(draft: &Draft<'_>, longest: Duration) -> Option<At> {
    let own = draft.media.iter().filter_map(|medium| medium.keepalive);
    own.filter(|(time, _)| *time == longest).map(|(_, at)| at).next().or(at(&draft.keepalive))
}

fn value_or<T: Clone>(given: &Given<T>, default: T) -> T {
    given.as_ref().map_or(default, |(value, _)| value.clone())
}

/// The place of the first of these that is given.
fn place(places: &[Option<At>]) -> At {
    places.iter().flatten().next().copied().unwrap_or(At::FILE)
}

fn at<T>(given: &Given<T>) -> Option<At> {
    given.as_ref().map(|(_, at)| *at)
}

/// Checks that need ha.cf alone.
pub(super) fn check(draft: &mut Draft<'_>) {
    check_media(draft);
    check_nodes(draft);
    check_timing(draft);
    check_failback(draft);
    check_logging(draft);
    check_membership(draft);
    membership::check(draft);
    clients::check(draft);
    pings::check(draft);
    checks::check(draft);
    gpio::check(draft);
    fence::check(draft);
    watchdog::check(draft);
}

fn check_media(draft: &mut Draft<'_>) {
    if !draft.media.is_empty() {
        return;
    }
    // A media line that was refused has said what is wrong with it.
    if draft.is_medium_refused {
        return;
    }
    if draft.pings.is_empty() {
        draft.findings.error(At::FILE, "no link to the peer").expected(ANY_LINK);
        return;
    }
    let finding = draft.findings.warning(At::FILE, "no link to the peer, only ping nodes").expected(ANY_LINK);
    finding.hint("this node reaches nobody and acts alone");
}

fn check_nodes(draft: &mut Draft<'_>) {
    if let Some(("any", at)) = draft.autojoin
        && !draft.has_resources
        && !draft.nodes.iter().any(|(name, _)| *name == draft.local)
    {
        let found = format!("Current node [{}] added to configuration", draft.local);
        draft.findings.note(at, found).hint("`autojoin any` wants no `node` line");
        draft.nodes.push((draft.local.clone(), at));
    }
    let names: Vec<String> = draft.nodes.iter().map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        if draft.attempted.contains("node") {
            return;
        }
        draft.findings.error(At::FILE, "no node").expected("a `node` line that names both nodes");
        return;
    }
    if let [only] = names.as_slice() {
        let finding = draft.findings.warning(draft.nodes[0].1, format!("only one node, {}", quote(only)));
        finding.expected("two").hint("there is no peer to take over");
    }
    let local = draft.local.clone();
    if !names.contains(&local) {
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = format!("no `node` line for the local node {}", quote(&local));
        let short = local.split('.').next().unwrap_or_default().to_owned();
        let is_check = draft.purpose == Purpose::Check;
        let finding = draft.missing_here(At::FILE, found).expected(one_of(&known));
        if is_check {
            finding.hint(format!("checked as {}; --node NAME says which one this is", quote(&names[0])));
        } else if names.contains(&short) {
            finding.hint(format!("the file nodeinfo with the line `{short}`, or --node {short}, says who this is"));
        } else {
            finding.nearest(&local, known);
        }
    }
    if let Some((loser, at)) = draft.split_brain_loser.clone()
        && !names.contains(&loser)
    {
        let finding = draft.findings.error(at, format!("{}, which is no node", quote(&loser)));
        finding.expected("a node of the `node` lines").nearest(&loser, names.iter().map(String::as_str));
    }
}

fn check_timing(draft: &mut Draft<'_>) {
    let time = Timing::of(draft);
    let keepalive = place_of_keepalive(draft, time.keepalive);
    let [warntime, deadtime] = [at(&draft.warntime), at(&draft.deadtime)];
    let (initdead, deadping) = (at(&draft.initdead), at(&draft.deadping));
    let twice = time.keepalive * 2;
    let beat = spoken(time.keepalive);
    if time.deadtime <= twice {
        let found = format!("a deadtime of {} with a keepalive of {beat}", spoken(time.deadtime));
        let finding = draft.findings.error(place(&[deadtime, keepalive]), found);
        finding.expected(format!("more than twice the keepalive, that is more than {}", spoken(twice)));
    }
    if time.deadping <= twice && deadping.is_some() {
        let found = format!("a deadping of {} with a keepalive of {beat}", spoken(time.deadping));
        let finding = draft.findings.error(place(&[deadping]), found);
        finding.expected(format!("more than twice the keepalive, that is more than {}", spoken(twice)));
    }
    if time.initdead < time.deadtime {
        let found = format!("an initdead of {} with a deadtime of {}", spoken(time.initdead), spoken(time.deadtime));
        draft.findings.error(place(&[initdead, deadtime]), found).expected("at least the deadtime");
    } else if time.initdead < INITDEAD_DOUBTFUL && initdead.is_some() {
        let finding = draft.findings.warning(place(&[initdead]), format!("an initdead of {}", spoken(time.initdead)));
        finding.expected("10 s or more").hint("a peer that boots more slowly is taken for dead at start");
    }
    if time.warntime >= time.deadtime && warntime.is_some() {
        let found = format!("a warntime of {} with a deadtime of {}", spoken(time.warntime), spoken(time.deadtime));
        let finding = draft.findings.warning(place(&[warntime]), found);
        finding.expected("less than the deadtime").hint("the peer is dead before it is late");
    } else if time.warntime <= time.keepalive && warntime.is_some() {
        let found = format!("a warntime of {} with a keepalive of {beat}", spoken(time.warntime));
        let finding = draft.findings.warning(place(&[warntime, keepalive]), found);
        finding.expected("more than the keepalive").hint("every beat is late");
    }
}

fn check_failback(draft: &mut Draft<'_>) {
    match draft.auto_failback {
        None if draft.attempted.contains("auto_failback") => {}
        None => {
            let finding = draft.findings.warning(At::FILE, "no `auto_failback`");
            finding.expected("`auto_failback on` or `auto_failback off`").hint("as in Heartbeat it is then `legacy`");
        }
        Some(("legacy", at)) => {
            let finding = draft.findings.warning(at, "`auto_failback legacy`, which is obsolete");
            finding.expected("`on` or `off`").hint("between two nullbeats it is the same as `on`");
        }
        Some(_) => {}
    }
    if let Some(("netstring", at)) = draft.msgfmt {
        let finding = draft.findings.warning(at, "`msgfmt netstring`").expected("`classic`");
        finding.hint("a Heartbeat with it loses a message at each takeover and then never ends it");
    }
    if let (Some(("bz2", at)), Some((true, _))) = (draft.compression, draft.traditional_compression) {
        let finding = draft.findings.warning(at, "`compression bz2`").expected("`zlib`");
        finding.hint("our own messages are packed with zlib all the same; both are unpacked, whatever is set");
    }
    if !draft.attempted.contains("takeover_policy") {
        let finding = draft.findings.note(At::FILE, "no `takeover_policy`");
        finding.hint("it is then `available`, as in Heartbeat: while all links are cut both nodes may own a group");
    }
}

fn check_logging(draft: &mut Draft<'_>) {
    let is_none = matches!(&draft.logfacility, Some((name, _)) if name == "none");
    let has_place = |word| draft.attempted.contains(word) && !(word == "logfacility" && is_none);
    if ["logfile", "debugfile", "logfacility"].into_iter().any(has_place) {
        return;
    }
    match draft.use_logd {
        Some((true, _)) => {}
        Some((false, at)) => {
            let finding = draft.findings.error(at, "`use_logd off` without another place for messages");
            finding.expected("`logfile`, `debugfile` or `logfacility`");
        }
        _ => {
            let finding = draft.findings.warning(At::FILE, "no place for messages");
            finding
                .expected("`logfile`, `debugfile` or `logfacility`")
                .hint("Heartbeat would use its logging daemon; here they only go to standard error");
        }
    }
}

fn check_membership(draft: &mut Draft<'_>) {
    let is_crm = matches!(draft.crm, Some((true, _)));
    if let Some((mode, at)) = draft.autojoin
        && mode != "none"
        && !is_crm
        && draft.has_resources
    {
        let finding = draft.findings.error(at, format!("`autojoin {mode}` beside haresources"));
        finding.expected("`autojoin none`").hint("with haresources the nodes are those of the `node` lines");
    }
}

fn ping_places(draft: &Draft<'_>) -> Vec<usize> {
    let is_before = |node: At, ping: At| (node.line, node.column) < (ping.line, ping.column);
    let nodes_before = |ping: At| draft.nodes.iter().filter(|(_, node)| is_before(*node, ping)).count();
    draft.pings.iter().map(|ping| nodes_before(ping.at)).collect()
}

/// Fills in the defaults. The result is for use only when nothing was an error.
pub(super) fn build(draft: &mut Draft<'_>, paths: &Paths, keys: Keys, groups: Vec<Group>) -> Config {
    let time = Timing::of(draft);
    let fence = fence::build(draft);
    let checks = checks::build(draft, &groups);
    let mut config = Config {
        paths: paths.clone(),
        ping_places: ping_places(draft),
        node: local_node(draft),
        nodes: draft.nodes.iter().map(|(name, _)| name.clone()).collect(),
        keepalive: time.keepalive,
        keepalives: keepalives(draft),
        warntime: time.warntime,
        deadtime: time.deadtime,
        initdead: time.initdead,
        max_rexmit_delay: Duration::from_millis(small(&draft.max_rexmit_delay, 250)),
        hopfudge: small(&draft.hopfudge, 1),
        media: media(draft),
        deadping: time.deadping,
        has_upstream_failover: pings::has_failover(draft),
        upstream_holdoff: pings::holdoff(draft, time.keepalive),
        membership: membership::build(draft),
        protocol: match draft.protocol {
            Some(("heartbeat", _)) => Protocol::Heartbeat,
            Some(("compact", _)) => Protocol::Compact,
            _ => Protocol::Auto,
        },
        is_netstring: is_word(&draft.msgfmt, "netstring"),
        compress_above: compress_above(draft),
        is_generation_from_time: is_word(&draft.hbgenmethod, "time"),
        is_uuid_from_name: is_word(&draft.uuidfrom, "nodename"),
        keys: keys.keys,
        signing_key: keys.signing,
        log_badpack: value_or(&draft.log_badpack, true),
        log: log(draft),
        auto_failback: match draft.auto_failback {
            Some(("on", _)) => AutoFailback::On,
            Some(("off", _)) => AutoFailback::Off,
            _ => AutoFailback::Legacy,
        },
        failback_delay: value_or(&draft.failback_delay, Duration::ZERO),
        moves_per_hour: small(&draft.moves_per_hour, 0),
        checks,
        udp_port: draft.default_port(),
        takeover_policy: match draft.takeover_policy {
            Some(("safe", _)) => TakeoverPolicy::Safe,
            // With a fence nothing is ever taken on silence alone.
            _ if !fence.methods.is_empty() => TakeoverPolicy::Safe,
            _ => TakeoverPolicy::Available,
        },
        fence,
        split_brain_loser: draft.split_brain_loser.as_ref().map(|(name, _)| name.clone()),
        groups,
        script_timeout: value_or(&draft.script_timeout, DEFAULT_SCRIPT_TIMEOUT),
        stop_retries: draft.stop_retries.unwrap_or(DEFAULT_STOP_RETRIES),
        on_stop_failure: if is_word(&draft.on_stop_failure, "hold") {
            OnStopFailure::Hold
        } else {
            OnStopFailure::Reboot
        },
        has_apphbd: value_or(&draft.use_apphbd, false),
        reset_with: value_or(&draft.reset_with, ResetWith::Reboot),
        watchdog: watchdog::build(draft),
        notify: draft.notify.clone(),
        reassert: draft.reassert.clone(),
        user: draft.user.as_ref().map(|(name, _)| name.clone()),
        is_filtered: value_or(&draft.seccomp, true),
        is_realtime: value_or(&draft.realtime, true),
        rtprio: draft.rtprio.map(|(priority, _)| i32::try_from(priority).unwrap_or(i32::MAX)),
        directives: Vec::new(),
        environment: draft.environment.clone(),
        clients: draft.clients.iter().map(|client| client.line.clone()).collect(),
        api_auth: draft.api_auth.clone(),
        core_dumps: draft.coredumps.map(|(is_on, _)| is_on),
        test_losses: None,
        core_root: draft.coreroot.as_ref().map(|(path, _)| path.into()),
        config_digest: 0,
        resources_digest: 0,
        has_resources: draft.has_resources,
        board: draft.board.as_ref().map(|(path, _)| path.clone()),
        gpio: draft.gpio.iter().map(|draft| draft.line.clone()).collect(),
        interlock: gpio::interlock(draft),
        autojoin: match draft.autojoin {
            Some(("other", _)) => Autojoin::Other,
            Some(("any", _)) => Autojoin::Any,
            _ => Autojoin::None,
        },
    };
    config.directives = exported::directives(draft, &config, &time);
    config.config_digest = digest::of_config(&config);
    config.resources_digest = digest::of_resources(&config.groups);
    check_loser(draft, &config);
    check_homes(draft, &config);
    check_lines(draft, &config);
    check_protocol(draft, &config);
    config
}

/// The local node; on a check of a foreign configuration the first one.
fn local_node(draft: &Draft<'_>) -> String {
    let names = || draft.nodes.iter().map(|(name, _)| name);
    match names().find(|name| **name == draft.local).or(names().next()) {
        Some(name) => name.clone(),
        None => draft.local.clone(),
    }
}

/// Bytes above which a datagram is packed. Single fields, the other kind of compression, only come from clients.
fn compress_above(draft: &Draft<'_>) -> Option<usize> {
    let threshold: usize = small(&draft.compression_threshold, 2);
    value_or(&draft.traditional_compression, false).then(|| threshold.saturating_mul(1024))
}

fn small<T: TryFrom<i64> + Default>(given: &Given<i64>, default: i64) -> T {
    T::try_from(value_or(given, default)).unwrap_or_default()
}

fn is_word(given: &Given<&'static str>, word: &str) -> bool {
    given.is_some_and(|(value, _)| value == word)
}

fn media(draft: &Draft<'_>) -> Vec<Medium> {
    let ping = |ping: &DraftPing| Medium::Ping { name: ping.name.clone(), kind: ping.kind, hosts: ping.hosts.clone() };
    let links = draft.media.iter().map(|draft| draft.medium.clone());
    links.chain(draft.pings.iter().map(ping)).collect()
}

/// Nothing where they are all the same.
fn keepalives(draft: &Draft<'_>) -> Vec<Duration> {
    let common = common_keepalive(draft);
    let all: Vec<Duration> = draft.media.iter().map(|medium| value_or(&medium.keepalive, common)).collect();
    if all.windows(2).all(|pair| pair[0] == pair[1]) { Vec::new() } else { all }
}

/// `conn_logd_time` when nothing is said.
const CONN_LOGD_TIME: Duration = Duration::from_secs(60);

fn log(draft: &Draft<'_>) -> LogConfig {
    let path = |given: &Given<String>| given.as_ref().map(|(path, _)| PathBuf::from(path));
    LogConfig {
        logfile: path(&draft.logfile).filter(|path| path.as_os_str() != "/dev/null"),
        debugfile: path(&draft.debugfile).filter(|path| path.as_os_str() != "/dev/null"),
        facility: draft.logfacility.as_ref().map(|(name, _)| name.clone()).filter(|name| name != "none"),
        debug: small(&draft.debug, 0),
        is_syslog_format: value_or(&draft.syslogmsgfmt, true),
        is_structured: is_word(&draft.log_format, "structured"),
        logd_retry: value_or(&draft.use_logd, false).then(|| value_or(&draft.conn_logd_time, CONN_LOGD_TIME)),
    }
}

/// The loser must be one of the two that exchange groups.
fn check_loser(draft: &mut Draft<'_>, config: &Config) {
    let owners = config.owners();
    if let (Some((loser, at)), 2) = (&draft.split_brain_loser, owners.len())
        && config.nodes.contains(loser)
        && !owners.contains(&loser.as_str())
    {
        let finding = draft.findings.error(*at, format!("{}, which owns nothing", quote(loser)));
        finding.expected(one_of(&owners));
    }
}

/// The line `owner` says that a board holds the service, not which part of it.
fn check_homes(draft: &mut Draft<'_>, config: &Config) {
    let owners = config.owners();
    if let (Some((_, at)), [first, second, ..]) = (draft.interlock, owners.as_slice()) {
        let found = format!("`interlock gpio` with groups at home on {} and on {}", quote(first), quote(second));
        let finding = draft.findings.error(at, found);
        finding.expected("one preferred node for all groups of haresources");
        finding
            .hint("one line `owner` tells of all groups: a board that held a part would keep the other from the rest");
    }
}

/// Whether there is somebody to speak the compact format with where nothing else is wanted.
fn check_protocol(draft: &mut Draft<'_>, config: &Config) {
    if let Some(("compact", at)) = draft.protocol
        && config.compact_partner().is_none()
    {
        let found = match (config.nodes.len(), config.partner()) {
            (2, Some(_)) => "`protocol compact` with a key that is no secret",
            (2, None) => "`protocol compact` without groups",
            _ => "`protocol compact` with more or fewer than two nodes",
        };
        let finding = draft.findings.error(at, found);
        finding.expected("two nodes that exchange groups, and a key of the method md5 or sha1");
    }
}

/// Whether the serial lines can carry the beats: 10 bits a byte (start, 8, stop).
fn check_lines(draft: &mut Draft<'_>, config: &Config) {
    let places: Vec<At> = draft.media.iter().map(|medium| medium.at).collect();
    let deadtime = spoken(config.deadtime);
    for (index, (line, at)) in config.line_times().iter().zip(places).enumerate() {
        let Some(line) = line else { continue };
        let own = config.keepalive_of(index);
        let (keepalive, beat, long) = (spoken(own), spoken(line.beat), spoken(line.long_beat));
        if own < line.beat {
            let found = format!("a keepalive of {keepalive} at {} baud", line.baud);
            let finding = draft.findings.error(at, found);
            finding.expected(format!("at least {beat}: {}", line.arithmetic())).hint(match config.protocol {
                Protocol::Auto if own >= Config::compact_beat(line.baud) => {
                    "raise keepalive or baud, or say `protocol compact` on both nodes: then a beat is 28 bytes"
                }
                _ => "raise keepalive or baud",
            });
        } else if own < line.average {
            let found = format!("a keepalive of {keepalive} at {} baud", line.baud);
            let finding = draft.findings.warning(at, found);
            finding
                .expected(format!(
                    "more than {}, with a longer beat and an acknowledgement every tenth time",
                    spoken(line.average)
                ))
                .hint(format!("{}; the line is always busy and falls behind", line.arithmetic()));
        }
        let needed = own * 2 + line.long_beat;
        if config.deadtime < needed && config.deadtime > own * 2 {
            let found = format!("a deadtime of {deadtime} at {} baud", line.baud);
            let finding = draft.findings.warning(at, found);
            finding.expected(format!(
                "at least {}: twice the keepalive of {keepalive} and the {long} that a long beat takes",
                spoken(needed)
            ));
        }
    }
}
