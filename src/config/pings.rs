//! Ping nodes of ha.cf (spec/config.md 2.2), and what follows from them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Purpose;
use super::draft::{Draft, DraftPing};
use super::finding::{At, quote};
use super::media::looks_like_address;
use super::token::Word;
use crate::core::limits::{LINKS_MAX, NODE_NAME_MAX, PING_HOSTS_MAX, PING_NODES_MAX};
use crate::core::message::PingKind;

/// Least hold-off when none is given: both nodes lose a common router at about, but not exactly, the same time.
const HOLDOFF_LEAST: Duration = Duration::from_secs(2);

impl Draft<'_> {
    /// Notes a ping node. Names are lower case, like those of all nodes.
    fn add_ping_node(&mut self, name: &Word, kind: PingKind, hosts: Vec<IpAddr>) {
        let (at, quoted) = (name.at, name.quoted());
        let name = name.text.to_ascii_lowercase();
        if let Some(known) = self.pings.iter().find(|known| known.name == name) {
            let hint = format!("it stands in line {} already and counts once", known.at.line);
            self.findings.warning(at, format!("ping node {quoted} a second time")).expected("each once").hint(hint);
        } else if name.len() > NODE_NAME_MAX {
            let found = format!("a name of {} bytes", name.len());
            self.findings.error(at, found).expected(format!("at most {NODE_NAME_MAX}"));
        } else if self.pings.len() == PING_NODES_MAX {
            let found = format!("{quoted}, one ping node too many");
            self.findings.error(at, found).expected(format!("at most {PING_NODES_MAX}"));
        } else {
            self.pings.push(DraftPing { name, kind, hosts, at });
        }
    }

    /// The address of a host; one that cannot be had is an error when about to run, as in Heartbeat.
    fn ping_host(&mut self, host: &Word) -> Option<IpAddr> {
        let address = host.text.parse::<Ipv4Addr>().ok();
        if address.is_none() && host.text.parse::<Ipv6Addr>().is_ok() {
            let finding = self.findings.error(host.at, host.quoted()).expected("an IPv4 address or a host name");
            finding.hint("IPv6 is for `ping6`");
            return None;
        }
        let resolved =
            address.or_else(|| if looks_like_address(&host.text) { None } else { self.machine.resolve(&host.text) });
        if resolved.is_none() {
            let found = format!("{}, which is no IPv4 address and cannot be resolved here", host.quoted());
            let finding = self.missing_here(host.at, found).expected("an IPv4 address or a host name");
            finding.hint("an address does not depend on a name server");
        }
        let is_check = self.purpose == Purpose::Check;
        resolved.or(is_check.then_some(Ipv4Addr::UNSPECIFIED)).map(IpAddr::V4)
    }
}

/// `ping HOST…`: each a node of its own.
pub(super) fn read_ping(draft: &mut Draft<'_>, host: &Word) -> bool {
    let Some(address) = draft.ping_host(host) else { return false };
    draft.add_ping_node(host, PingKind::Ping, vec![address]);
    true
}

/// `ping6 ADDRESS…`.
pub(super) fn read_ping6(draft: &mut Draft<'_>, host: &Word) -> bool {
    let Ok(address) = host.text.parse::<Ipv6Addr>() else {
        draft.findings.error(host.at, host.quoted()).expected("an IPv6 address in numbers");
        return false;
    };
    draft.add_ping_node(host, PingKind::Ping6, vec![IpAddr::V6(address)]);
    true
}

/// `ping_group NAME HOST…`.
pub(super) fn read_ping_group(draft: &mut Draft<'_>, words: &[Word]) {
    const EXPECTED: &str = "`ping_group NAME HOST…`";
    let [name, hosts @ ..] = words else {
        draft.findings.error(draft.here.1, "`ping_group` without a name").expected(EXPECTED);
        return;
    };
    if hosts.is_empty() {
        draft.findings.error(name.at, "a ping group without hosts").expected(EXPECTED);
        return;
    }
    if let Some(extra) = hosts.get(PING_HOSTS_MAX) {
        let found = format!("{}, one host too many", extra.quoted());
        draft.findings.error(extra.at, found).expected(format!("at most {PING_HOSTS_MAX}"));
        return;
    }
    let addresses = hosts.iter().filter_map(|host| draft.ping_host(host)).collect();
    draft.add_ping_node(name, PingKind::Group, addresses);
}

/// Whether groups follow the ping nodes: by the directive, else by a line that starts Heartbeat's ipfail.
pub(super) fn has_failover(draft: &Draft<'_>) -> bool {
    draft.upstream_failover.map_or(draft.ipfail.is_some(), |(is_on, _)| is_on)
}

/// `upstream_holdoff`, by default ipfail's two keepalives, but at least [`HOLDOFF_LEAST`].
pub(super) fn holdoff(draft: &Draft<'_>, keepalive: Duration) -> Duration {
    draft.upstream_holdoff.map_or((keepalive * 2).max(HOLDOFF_LEAST), |(holdoff, _)| holdoff)
}

/// Sense across directives.
pub(super) fn check(draft: &mut Draft<'_>) {
    for ping in draft.pings.clone() {
        if draft.nodes.iter().any(|(node, _)| *node == ping.name) {
            let found = format!("{}, which is the name of a node", quote(&ping.name));
            draft.findings.error(ping.at, found).expected("a host outside of the cluster");
        }
    }
    if draft.media.len() + draft.pings.len() > LINKS_MAX {
        let found = format!("{} links and {} ping nodes", draft.media.len(), draft.pings.len());
        let at = draft.pings.last().map_or(At::FILE, |ping| ping.at);
        draft.findings.error(at, found).expected(format!("at most {LINKS_MAX} together"));
    }
    let switched_on = draft.upstream_failover.map(|(_, at)| at).or(draft.ipfail).filter(|_| has_failover(draft));
    match switched_on {
        Some(at) if draft.pings.is_empty() => {
            let finding = draft.findings.warning(at, "failover by ping nodes, and no ping node");
            finding.expected("`ping`, `ping6` or `ping_group` lines").hint("it has no effect");
        }
        Some(at) if !matches!(draft.auto_failback, Some(("on" | "off", _))) => {
            let finding = draft.findings.warning(at, "failover by ping nodes with `auto_failback legacy`");
            finding.expected("`auto_failback on` or `auto_failback off`");
            finding.hint("Heartbeat's ipfail on the other node ends with `legacy`");
        }
        None if !draft.pings.is_empty() => {
            let note = draft.findings.note(draft.pings[0].at, "ping nodes without `upstream_failover on`");
            note.hint("they are watched and shown, and no group moves because of them");
        }
        _ => {}
    }
}
