//! The built-in membership service, and its rules of quorum.

use super::*;
use crate::core::quorum::Quorum;

fn load(lines: &str) -> (Vec<String>, Option<Config>) {
    let directory = Directory::new();
    let file = "serial /dev/ttyS0\nnode alpha beta\nlogfacility local0\nauto_failback on\ntakeover_policy safe\n";
    directory.write("ha.cf", format!("{file}{lines}").as_bytes());
    directory.write("haresources", b"alpha IPaddr::10.0.0.7\nbeta web\n");
    directory.write("authkeys", b"auth 1\n1 sha1 secret-of-both-nodes\n");
    let machine = FakeMachine::complete("alpha");
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    (directory.messages(&loaded), loaded.config)
}

#[test]
fn service_is_built_in_on_demand_with_the_rules_of_env() {
    let built = |lines: &str| {
        let (said, config) = load(lines);
        assert_eq!(said, Vec::<String>::new(), "{lines}");
        config.unwrap().membership
    };
    assert_eq!(built(""), None);
    assert_eq!(built("membership off\nenv quorum=nonsense"), None, "that is a matter of other programs");
    assert_eq!(built("membership on"), Some(Quorum::default()));
    assert_eq!(built("env quorum=weight:majority\nmembership on"), Quorum::parse("weight:majority"));
}

#[test]
fn unknown_rules_are_refused_and_ccm_is_not_started_beside_the_service() {
    let (said, config) = load("membership on\nenv quorum=quorumd:twonodes");
    let rules = "error: found `quorumd:twonodes`, which are no rules of quorum; expected some of `majority`, `weight`, \
                 `twonodes`, each once, with `:` between them; without them they are `majority:twonodes`";
    assert_eq!(said, [format!("ha.cf:7:5: {rules}")]);
    assert!(config.is_none());
    let (said, config) = load("respawn hacluster /usr/libexec/heartbeat/ccm\nmembership on");
    let note = "note: found `respawn` of `/usr/libexec/heartbeat/ccm`; the program is not started: with `membership on` \
                its service is built in";
    assert_eq!(said, [format!("ha.cf:6:19: {note}")]);
    assert!(config.unwrap().clients.is_empty());
}
