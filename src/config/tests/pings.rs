//! Ping nodes, and who judges by them.

use super::*;
use crate::core::message::PingKind;

const FILE: &str = "serial /dev/ttyS0\nnode alpha beta\nlogfacility local0\nauto_failback on\ntakeover_policy safe\n";
const UNUSED: &str = "note: found ping nodes without `upstream_failover on`; they are watched and shown, and no group \
                      moves because of them";

fn load(purpose: Purpose, lines: &str) -> (Vec<String>, Option<Config>) {
    let directory = Directory::new();
    directory.write("ha.cf", format!("{FILE}{lines}").as_bytes());
    directory.write("haresources", b"alpha IPaddr::10.0.0.7\nbeta web\n");
    directory.write("authkeys", b"auth 1\n1 sha1 secret-of-both-nodes\n");
    let machine = FakeMachine::complete("alpha");
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(purpose) });
    (directory.messages(&loaded), loaded.config)
}

#[test]
fn hosts_become_nodes_behind_the_links() {
    let lines =
        "ping 10.0.0.254 peer.example\nping6 2001:db8::1\nping_group Routers 10.0.0.253 10.0.0.252\nserial /dev/ttyS1";
    let (said, config) = load(Purpose::Run, lines);
    assert_eq!(said, [format!("ha.cf:6:6: {UNUSED}")]);
    let config = config.unwrap();
    let ping = |name: &str, kind, hosts: &[&str]| Medium::Ping {
        name: name.into(),
        kind,
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
    };
    assert_eq!(config.media[..2].iter().map(Medium::name).collect::<Vec<_>>(), ["/dev/ttyS0", "/dev/ttyS1"]);
    assert_eq!(
        config.media[2..],
        [
            ping("10.0.0.254", PingKind::Ping, &["10.0.0.254"]),
            ping("peer.example", PingKind::Ping, &["10.0.0.2"]),
            ping("2001:db8::1", PingKind::Ping6, &["2001:db8::1"]),
            ping("routers", PingKind::Group, &["10.0.0.253", "10.0.0.252"]),
        ]
    );
    let settings = config.settings(0);
    assert_eq!(settings.links.len(), 2);
    assert_eq!(settings.upstream.ping_nodes, ["10.0.0.254", "peer.example", "2001:db8::1", "routers"]);
    assert!(!settings.upstream.is_compared());
}

#[test]
fn failover_is_on_by_the_directive_or_by_a_line_for_ipfail() {
    let ipfail = "respawn hacluster /usr/lib/heartbeat/ipfail";
    let note = "note: found `respawn` of `/usr/lib/heartbeat/ipfail`; the program is not started: nullbeat judges ping \
                nodes itself, as with `upstream_failover on`";
    let judged = |lines: &str| {
        let (said, config) = load(Purpose::Run, lines);
        (said, config.unwrap().settings(0).upstream.is_compared())
    };
    assert_eq!(judged("ping 10.0.0.1"), (vec![format!("ha.cf:6:6: {UNUSED}")], false));
    assert_eq!(judged("ping 10.0.0.1\nupstream_failover on"), (vec![], true));
    assert_eq!(judged(&format!("ping 10.0.0.1\n{ipfail}")), (vec![format!("ha.cf:7:19: {note}")], true));
    let both = format!("ping 10.0.0.1\n{ipfail}\nupstream_failover off");
    assert_eq!(judged(&both), (vec![format!("ha.cf:6:6: {UNUSED}")], false), "the program itself is started");
    let empty = "warning: found failover by ping nodes, and no ping node; expected `ping`, `ping6` or `ping_group` lines; \
                 it has no effect";
    assert_eq!(judged("upstream_failover on"), (vec![format!("ha.cf:6:19: {empty}")], false));
    let (said, _) = load(Purpose::Run, "ping 10.0.0.1\nupstream_failover on\nauto_failback legacy");
    let legacy = "failover by ping nodes with `auto_failback legacy`";
    assert!(said.iter().any(|line| line.starts_with("ha.cf:7:19: warning") && line.contains(legacy)), "{said:?}");
}

#[test]
fn holdoff_is_two_keepalives_but_not_less_than_two_seconds() {
    let holdoff = |lines: &str| load(Purpose::Run, lines).1.unwrap().upstream_holdoff.as_millis();
    assert_eq!(holdoff("keepalive 200ms"), 2_000);
    assert_eq!(holdoff("keepalive 3"), 6_000);
    assert_eq!(holdoff("keepalive 3\nupstream_holdoff 100ms"), 100);
}

#[test]
fn what_both_nodes_must_agree_upon_is_in_the_digest() {
    let digest = |lines: &str| load(Purpose::Run, lines).1.unwrap().config_digest;
    let one = digest("ping 10.0.0.1");
    assert_eq!(one, digest("ping 10.0.0.2"), "each board may have a gateway of its own");
    for other in ["", "ping 10.0.0.1 10.0.0.2", "ping 10.0.0.1\nupstream_failover on", "ping 10.0.0.1\ndeadping 60"] {
        assert_ne!(one, digest(other), "{other}");
    }
    assert_eq!(digest(""), digest("upstream_holdoff 7"), "without ping nodes nothing of it counts");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let first = |purpose, lines: &str| load(purpose, lines).0.into_iter().find(|line| !line.contains("note")).unwrap();
    let unresolved = "found `nowhere.example`, which is no IPv4 address and cannot be resolved here; expected an IPv4 \
                      address or a host name; an address does not depend on a name server";
    for (purpose, severity) in [(Purpose::Check, "warning"), (Purpose::Run, "error")] {
        assert_eq!(first(purpose, "ping nowhere.example"), format!("ha.cf:6:6: {severity}: {unresolved}"));
        assert_eq!(
            first(purpose, "ping_group g 10.0.0.1 nowhere.example"),
            format!("ha.cf:6:23: {severity}: {unresolved}")
        );
    }
    let check = |lines: &str| first(Purpose::Check, lines);
    assert_eq!(check("ping6 router"), "ha.cf:6:7: error: found `router`; expected an IPv6 address in numbers");
    assert_eq!(
        check("ping ::1"),
        "ha.cf:6:6: error: found `::1`; expected an IPv4 address or a host name; IPv6 is for `ping6`"
    );
    let group = "expected `ping_group NAME HOST…`";
    assert_eq!(check("ping_group"), format!("ha.cf:6:1: error: found `ping_group` without a name; {group}"));
    assert_eq!(check("ping_group g"), format!("ha.cf:6:12: error: found a ping group without hosts; {group}"));
    assert_eq!(
        check("ping 10.0.0.1\nping 10.0.0.1"),
        "ha.cf:7:6: warning: found ping node `10.0.0.1` a second time; expected each once; it stands in line 6 already and counts once"
    );
    assert_eq!(
        check("ping_group beta 10.0.0.1"),
        "ha.cf:6:12: error: found `beta`, which is the name of a node; expected a host outside of the cluster"
    );
    let nine: Vec<String> = (1..=9).map(|last| format!("10.0.0.{last}")).collect();
    assert_eq!(
        check(&format!("ping {}", nine.join(" "))),
        "ha.cf:6:78: error: found `10.0.0.9`, one ping node too many; expected at most 8"
    );
    let hosts: Vec<String> = (1..=17).map(|last| format!("10.0.0.{last}")).collect();
    let many = check(&format!("ping_group g {}", hosts.join(" ")));
    assert!(many.contains("`10.0.0.17`, one host too many; expected at most 16"), "{many}");
}

#[test]
fn ping_nodes_alone_are_no_link() {
    let directory = Directory::new();
    directory.write("ha.cf", FILE.replace("serial /dev/ttyS0", "ping 10.0.0.1").as_bytes());
    directory.write("haresources", b"alpha IPaddr::10.0.0.7\nbeta web\n");
    directory.write("authkeys", b"auth 1\n1 sha1 secret-of-both-nodes\n");
    let machine = FakeMachine::complete("alpha");
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    let said = directory.messages(&loaded);
    let warning = "ha.cf: warning: found no link to the peer, only ping nodes; expected a `serial`, `ucast`, \
                   `bcast`, `mcast`, `ucast6` or `mcast6` line; this node reaches nobody and acts alone";
    assert!(said.iter().any(|line| line == warning), "{said:?}");
    assert!(loaded.config.is_some());
}

#[test]
fn ping_nodes_keep_their_places_among_the_nodes() {
    let directory = Directory::new();
    let lines = "serial /dev/ttyS0\nping 10.0.0.1\nnode beta\nping_group routers 10.0.0.2 10.0.0.3\nping6 2001:db8::1\n\
                 node alpha\nping 10.0.0.4\nlogfacility local0\nauto_failback on\n";
    directory.write("ha.cf", lines.as_bytes());
    directory.write("haresources", b"alpha web\n");
    directory.write("authkeys", b"auth 1\n1 sha1 secret-of-both\n");
    let machine = FakeMachine::complete("alpha");
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    let config = loaded.config.unwrap();
    assert_eq!(config.settings(0).upstream.ping_nodes, ["10.0.0.1", "routers", "2001:db8::1", "10.0.0.4"]);
    assert_eq!(config.ping_places, [0, 1, 1, 2]);
}
