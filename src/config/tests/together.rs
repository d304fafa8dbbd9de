//! The three files together: what comes out of good ones, and that no bytes whatever do harm.

use std::time::Duration;

use super::*;
use crate::core::ids::NodeId;
use crate::core::message::PingKind;
use crate::core::settings::{SplitBrainLoser, TakeoverPolicy};

fn tutorial() -> Directory {
    let directory = Directory::new();
    directory.write("ha.cf", include_bytes!("../../../tests/tutorial/ha.cf"));
    directory.write("haresources", include_bytes!("../../../tests/tutorial/haresources"));
    directory.write("authkeys", include_bytes!("../../../tests/tutorial/authkeys"));
    directory
}

#[test]
fn tutorial_loads_as_it_stands() {
    let directory = tutorial();
    let machine = FakeMachine::complete("Rserver1");
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    assert_eq!(
        directory.messages(&loaded),
        [
            "ha.cf: note: found no `takeover_policy`; it is then `available`, as in Heartbeat: while all links are cut both nodes may own a group",
            "ha.cf:16:19: note: found `respawn` of `/usr/local/heartbeat/libexec/heartbeat/ipfail`; the program is not started: nullbeat judges ping nodes itself, as with `upstream_failover on`",
            "authkeys:4:7: warning: found a key of 6 bytes; expected 16 or more; `head -c 24 /dev/urandom | base64` makes a good one",
        ]
    );
    let config = loaded.config.expect("loads");
    assert_eq!((config.node.as_str(), config.partner()), ("rserver1", Some("rserver2")));
    assert_eq!(config.nodes, ["rserver1", "rserver2"]);
    let times = [config.keepalive, config.warntime, config.deadtime, config.initdead].map(|time| time.as_secs());
    assert_eq!(times, [2, 10, 30, 60]);
    let link =
        Medium::Ucast { interface: "ens33".into(), peer: Ipv4Addr::new(192, 168, 231, 132), bind: None, port: 694 };
    let ping = Medium::Ping {
        name: "192.168.231.132".into(),
        kind: PingKind::Ping,
        hosts: vec![Ipv4Addr::new(192, 168, 231, 132).into()],
    };
    assert_eq!(config.media, [link, ping]);
    assert!(config.has_upstream_failover, "ipfail's judgement");
    assert_eq!(config.log.logfile, Some("/var/log/ha-log".into()));
    assert_eq!(config.log.debugfile, Some("/var/log/ha-debug".into()));
    assert_eq!(config.log.facility.as_deref(), Some("local0"));
    assert_eq!(config.keys, [AuthKey { number: 3, method: AuthMethod::Md5, key: b"Hello!".to_vec() }]);
    assert_eq!(config.signing_key, 3);
    let [group] = config.groups.as_slice() else { panic!("{:?}", config.groups) };
    assert_eq!(group.node, "rserver1");
    assert_eq!(
        group.text,
        "IPaddr::192.168.231.111/24/ens33 Filesystem::192.168.231.129:/webroot::/var/www/html::nfs httpd"
    );
}

#[test]
fn tutorial_loads_on_a_board_where_little_exists() {
    let directory = tutorial();
    let machine = FakeMachine { node: "rserver2".into(), ..FakeMachine::default() };
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    assert_eq!(loaded.count(Severity::Error), 0, "{:?}", loaded.findings);
    assert_eq!(loaded.config.expect("loads").node, "rserver2");
}

#[test]
fn defaults_are_those_of_the_specification() {
    let directory = Directory::new();
    let config = load_as(&directory, "alpha", &board());
    let times = [config.keepalive, config.warntime, config.deadtime, config.initdead, config.max_rexmit_delay];
    assert_eq!(times.map(|time| time.as_millis()), [1000, 15_000, 30_000, 30_000, 250]);
    assert_eq!((config.script_timeout, config.stop_retries), (Duration::from_secs(60), 10));
    assert_eq!((config.on_stop_failure, config.reset_with), (OnStopFailure::Reboot, ResetWith::Reboot));
    assert!(config.is_realtime && config.log_badpack && config.log.is_syslog_format);
    for (deadtime, initdead) in [("3", 12_000), ("5999ms", 12_000), ("6", 12_000), ("10", 20_000), ("10001ms", 10_001)]
    {
        directory.write("ha.cf", complete(format!("deadtime {deadtime}").as_bytes()));
        assert_eq!(load_as(&directory, "alpha", &board()).initdead.as_millis(), initdead, "{deadtime}");
    }
}

#[test]
fn every_directive_reaches_the_configuration() {
    let directory = Directory::new();
    directory.write(
        "ha.cf",
        "keepalive 250ms\nwarntime .5\ndeadtime 2\ninitdead 20\nmax_rexmit_delay 100\nhopfudge 3\nuuidfrom nodename\n\
         hbgenmethod time\nudpport 700\nbaud 115200\nserial /dev/ttyS0,/dev/ttyS1 flow none\n\
         ucast eth0 peer.example\nucast eth1 10.1.0.2 port 701 bind 10.1.0.1\nlogfile /l\ndebugfile /d\nlogfacility none\n\
         syslogmsgfmt no\nlog_badpack off\ndebug 2\nlog_format structured\nauto_failback off\nfailback_delay 5\n\
         moves_per_hour 6\ntakeover_policy safe\nsplit_brain_loser BETA\nscript_timeout 7\non_stop_failure hold\n\
         reset_with hook /bin/reset\nnotify /bin/a /bin/b\nreassert /bin/c\nenv A=1\nenv A=2 STOPRETRYMAX=0\nrealtime off\nrtprio 50\n\
         user root\nnode Alpha\nnode BETA\n",
    );
    let config = load_as(&directory, "ALPHA", &board());
    let times = [config.keepalive, config.warntime, config.deadtime, config.initdead, config.max_rexmit_delay];
    assert_eq!(times.map(|time| time.as_millis()), [250, 500, 2000, 20_000, 100]);
    assert_eq!((config.hopfudge, config.is_uuid_from_name, config.is_generation_from_time), (3, true, true));
    let serial = |device: &str| Medium::Serial { device: device.into(), baud: 115_200, is_rtscts: false };
    let ucast = |interface: &str, peer, bind, port| Medium::Ucast { interface: interface.into(), peer, bind, port };
    assert_eq!(
        config.media,
        [
            serial("/dev/ttyS0"),
            serial("/dev/ttyS1"),
            ucast("eth0", Ipv4Addr::new(10, 0, 0, 2), None, 700),
            ucast("eth1", Ipv4Addr::new(10, 1, 0, 2), Some(Ipv4Addr::new(10, 1, 0, 1)), 701),
        ]
    );
    let log = LogConfig {
        logfile: Some("/l".into()),
        debugfile: Some("/d".into()),
        facility: None,
        debug: 2,
        is_syslog_format: false,
        is_structured: true,
        logd_retry: None,
    };
    assert_eq!((config.log, config.log_badpack), (log, false));
    assert_eq!((config.failback_delay, config.moves_per_hour), (Duration::from_secs(5), 6));
    assert_eq!((config.takeover_policy, config.split_brain_loser.as_deref()), (TakeoverPolicy::Safe, Some("beta")));
    assert_eq!((config.script_timeout, config.on_stop_failure), (Duration::from_secs(7), OnStopFailure::Hold));
    assert_eq!(config.reset_with, ResetWith::Hook("/bin/reset".into()));
    assert_eq!(config.notify, [PathBuf::from("/bin/a"), PathBuf::from("/bin/b")]);
    assert_eq!(config.reassert, [PathBuf::from("/bin/c")]);
    let environment = [("A", "2"), ("STOPRETRYMAX", "0")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!((config.environment, config.stop_retries), (environment.to_vec(), u32::MAX));
    assert_eq!((config.is_realtime, config.rtprio, config.user.as_deref()), (false, Some(50), Some("root")));
}

/// As printed by `env` in a script below 3.0.6 with the same file.
#[test]
fn scripts_see_the_directives_that_heartbeat_shows_them() {
    let directory = Directory::new();
    directory.write(
        "ha.cf",
        "logfacility local0\nserial /dev/ttyS0\nauto_failback on\ncrm off\ndeadtime 3\nnode alpha beta\n",
    );
    let mut list: Vec<String> =
        load_as(&directory, "alpha", &board()).directives.iter().map(|(name, text)| format!("{name}={text}")).collect();
    list.sort();
    assert_eq!(
        list,
        [
            "auto_failback=on",
            "autojoin=none",
            "baud=19200",
            "cluster=linux-ha",
            "compression=zlib",
            "compression_threshold=2",
            "conn_logd_time=60",
            "coredumps=true",
            "deadping=3000ms",
            "deadtime=3",
            "debug=0",
            "debugfile=/dev/null",
            "enable_config_writes=on",
            "hbgenmethod=file",
            "hopfudge=1",
            "initdead=12000ms",
            "keepalive=1000ms",
            "log_badpack=true",
            "logfacility=local0",
            "logfile=/dev/null",
            "max_rexmit_delay=250",
            "memreserve=6500",
            "msgfmt=classic",
            "pacemaker=off",
            "realtime=true",
            "record_config_changes=on",
            "record_pengine_inputs=on",
            "syslogmsgfmt=true",
            "traditional_compression=no",
            "udpport=694",
            "uuidfrom=file",
            "warntime=1500ms",
        ]
    );
}

#[test]
fn local_name_comes_from_the_option_then_nodeinfo_then_the_kernel() {
    let directory = Directory::new();
    let mut machine = board();
    machine.node = "ALPHA".into();
    let node = |directory: &Directory, name: Option<&str>| {
        let options =
            LoadOptions { node: name.map(str::to_owned), machine: &machine, ..LoadOptions::new(Purpose::Run) };
        let loaded = directory.load(&options);
        let messages = directory.messages(&loaded).join("\n");
        loaded.config.map_or(messages, |config| config.node)
    };
    assert_eq!(node(&directory, None), "alpha");
    directory.write("nodeinfo", " Beta \r\nrest\n");
    assert_eq!(node(&directory, None), "beta");
    assert_eq!(node(&directory, Some("Alpha")), "alpha");
    assert_eq!(
        node(&directory, Some("beta.example")),
        "ha.cf: error: found no `node` line for the local node `beta.example`; expected `alpha` or `beta`; the file nodeinfo with the line `beta`, or --node beta, says who this is"
    );
    directory.write("nodeinfo", "\n");
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    assert_eq!(loaded.config.as_ref().expect("loads").node, "alpha");
    assert!(directory.messages(&loaded)[0].starts_with("ha.cf: warning: found no name in the first line of nodeinfo"));
}

#[test]
fn settings_name_the_partner_and_the_preferred_nodes() {
    let directory = Directory::new();
    directory.write("ha.cf", complete(b"node alpha beta gamma\nsplit_brain_loser gamma\nserial /dev/ttyS0"));
    directory.write("haresources", "gamma a\nbeta b\n");
    let settings = load_as(&directory, "gamma", &board()).settings(7);
    assert_eq!((settings.local, settings.partner), (NodeId(2), Some(NodeId(1))));
    assert_eq!(settings.groups.iter().map(|group| group.preferred).collect::<Vec<_>>(), [NodeId(2), NodeId(1)]);
    assert_eq!(settings.links.iter().map(|link| link.as_str()).collect::<Vec<_>>(), ["/dev/ttyS0", "eth0"]);
    assert_eq!((settings.split_brain_loser, settings.random_seed), (SplitBrainLoser::Node(NodeId(2)), 7));
    assert_eq!(load_as(&directory, "alpha", &board()).settings(7).partner, None);
    let loaded = {
        directory.write("ha.cf", complete(b"node alpha beta gamma\nsplit_brain_loser alpha"));
        directory.load(&LoadOptions { machine: &board(), ..LoadOptions::new(Purpose::Run) })
    };
    assert_eq!(
        directory.messages(&loaded),
        ["ha.cf:2:19: error: found `alpha`, which owns nothing; expected `gamma` or `beta`"]
    );
}

#[test]
fn digests_cover_what_must_be_equal_and_nothing_else() {
    let directory = Directory::new();
    let digests = |text: &[u8], resources: &str| {
        directory.write("ha.cf", complete(text));
        directory.write("haresources", resources);
        let config = load_as(&directory, "alpha", &board());
        (config.config_digest, config.resources_digest, config.table_digest())
    };
    let first = digests(b"", "alpha a b");
    let same = digests(
        b"node beta ALPHA\nkeepalive 1000ms\nlogfile /x\nserial /dev/ttyS0\nudpport 700\nuser root",
        " Alpha\ta  b # x",
    );
    assert_eq!(first, same);
    let other_times =
        ["keepalive 2", "deadtime 29", "initdead 31", "warntime 9", "failback_delay 1", "moves_per_hour 1"];
    let other_words =
        ["auto_failback off", "takeover_policy safe", "split_brain_loser beta", "node alpha beta gamma delta"];
    for line in other_times.into_iter().chain(other_words) {
        let other = digests(line.as_bytes(), "alpha a b\nbeta c");
        assert_ne!(other.0, first.0, "{line}");
        assert_ne!((other.1, other.2), (first.1, first.2));
    }
    assert_ne!(digests(b"", "alpha b a").1, first.1);
    assert_ne!(digests(b"", "beta a b").2, first.2);
}

#[test]
fn message_sizes_are_those_of_the_wire() {
    use crate::core::ids::{Generation, Seq, Uuid};
    use crate::core::message::{Body, Extension, GroupState, LinkEcho, NodeStatus, Packet};
    use crate::core::settings::Identity;
    use crate::wire::heartbeat::{Codec, ENCODED_MAX, Keys, Method, Setup};

    let directory = Directory::new();
    directory.write("ha.cf", complete(b"serial /dev/ttyS0\nnode alpha a-longer-name"));
    directory.write("haresources", "alpha a\nalpha b\nalpha c\nalpha d\nalpha e\n");
    let config = load_as(&directory, "alpha", &board());
    let settings = config.settings(1);
    let mut keys = Keys::new(1);
    keys.add(1, Method::Sha1, b"secret").expect("key");
    let identity = Identity { uuid: Uuid([7; 16]), generation: Generation(0x6b03_186a) };
    let setup = Setup {
        keys,
        nodes: &settings.nodes,
        local: settings.local,
        identity,
        group_keys: &[],
        hopfudge: 1,
        is_netstring: false,
    };
    let mut codec = Codec::new(setup).expect("codec");
    codec.set_load("0.00 0.00 0.00 1/123 12345");
    codec.set_uuid(NodeId(1), Uuid([8; 16]));
    codec.offer_compact();
    let length = |body, to, seq| {
        let packet = Packet { to, seq, ts: 0x6b03_1946, body, about: None, group: None };
        u32::try_from(codec.encode_serial(&packet, &mut [0; ENCODED_MAX]).expect("encodes")).expect("fits")
    };
    let mut extension = Extension::EMPTY;
    extension.version = 1;
    extension.group_count = 5;
    extension.groups[..5].fill(GroupState::Running);
    extension.claims = crate::core::ids::GroupSet::first(5);
    extension.echo_generation = identity.generation;
    extension.echo_seq = Seq(0x0fff_ffff);
    extension.link_count = 2;
    extension.links[..2].fill(LinkEcho { age_ms: 30_000 });
    (extension.config_digest, extension.resources_digest) = (u32::MAX, u32::MAX);
    let status = |extension: Option<Extension>| Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(30_000),
        has_protocol: true,
        is_nullbeat: true,
        extension,
    };
    let seq = Some(Seq(0x0fff_ffff));
    let estimate = config.message_bytes();
    assert_eq!(estimate.beat, length(status(None), None, seq));
    assert_eq!(estimate.long_beat, length(status(Some(extension)), None, seq) + 1, "one comma more than needed");
    assert_eq!(estimate.ack, length(Body::Ack { acked: Seq(0x0fff_ffff) }, Some(NodeId(1)), None));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = Directory::new();
    for name in ["ha.cf", "haresources", "authkeys"] {
        std::fs::remove_file(directory.0.join(name)).expect("remove");
    }
    std::fs::create_dir(directory.0.join("haresources")).expect("mkdir");
    directory.write("authkeys", vec![b'#'; (1 << 20) + 1]);
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
    assert_eq!(
        directory.messages(&loaded),
        [
            "ha.cf: error: found no readable file (No such file or directory (os error 2)); expected the configuration",
            "haresources: error: found no readable file (not a regular file); expected the resource groups",
            "authkeys: error: found no readable file (longer than 1048576 bytes); expected the keys",
        ]
    );
}

/// Bytes from a seed: noise, or words that mean something in wrong places.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).expect("below")
    }

    fn file(&mut self) -> Vec<u8> {
        const WORDS: [&[u8]; 32] = [
            b"node",
            b"alpha",
            b"beta",
            b"keepalive",
            b"deadtime",
            b"serial",
            b"/dev/ttyS0",
            b"baud",
            b"9600",
            b"ucast",
            b"eth0",
            b"10.0.0.2",
            b"bind",
            b"port",
            b"auth",
            b"1",
            b"15",
            b"sha1",
            b"crc",
            b"key",
            b"::",
            b"IPaddr",
            b"#",
            b"\\\n",
            b"\r\n",
            b"\0",
            b"\xff\xfe",
            b"reset_with",
            b"hook",
            b"mcast",
            b"apiauth",
            b"99999999999999999999",
        ];
        let mut file = Vec::new();
        for _ in 0..self.next(40) {
            match self.next(8) {
                0 => file.extend((0..self.next(20)).map(|_| u8::try_from(self.next(256)).expect("byte"))),
                1 => file.push(b'\n'),
                2 => file.extend_from_slice(DIRECTIVE_WORDS[self.next(DIRECTIVE_WORDS.len())].as_bytes()),
                _ => file.extend_from_slice(WORDS[self.next(WORDS.len())]),
            }
            if self.next(4) > 0 {
                file.push(if self.next(3) == 0 { b'\n' } else { b' ' });
            }
        }
        file
    }
}

const DIRECTIVE_WORDS: [&str; 17] = [
    "warntime",
    "initdead",
    "udpport",
    "bcast",
    "ucast6",
    "mcast6",
    "ping_group",
    "respawn",
    "stonith_host",
    "env",
    "crm",
    "crm_daemon_dir",
    "logfacility",
    "nice_failback",
    "split_brain_loser",
    "watchdog",
    "watchdog_timeout",
];

#[test]
fn no_bytes_whatever_do_harm() {
    use crate::config::{authkeys, draft::Draft, finding::Findings, haresources, load::TextFile, sense};
    use std::path::Path;

    let machine = board();
    let paths = Paths { config: "/etc/ha.d".into(), run: "/run/x".into(), state: "/var/x".into() };
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut built = 0;
    // Three files a round.
    for round in 0..70_000 {
        let file = |noise: &mut Noise| TextFile { path: "/x".into(), bytes: noise.file(), mode: 0o600 };
        let purpose = if round % 2 == 0 { Purpose::Run } else { Purpose::Check };
        let mut draft = Draft::new(Path::new("ha.cf"), &machine, purpose, "alpha");
        let mut text = file(&mut noise);
        if round % 5 == 0 {
            text.bytes = complete(&text.bytes);
        }
        draft.read(&text);
        sense::check(&mut draft);
        let mut findings = Findings::new(Path::new("authkeys"));
        let keys = authkeys::read(&file(&mut noise), &mut findings);
        let mut findings = Findings::new(Path::new("haresources"));
        let groups = haresources::read(&file(&mut noise), &paths.config, &draft, &mut findings);
        let keys = keys.or_else(|| {
            let text = TextFile { path: "/x".into(), bytes: b"auth 1\n1 crc".to_vec(), mode: 0 };
            authkeys::read(&text, &mut Findings::new(Path::new("authkeys")))
        });
        let config = sense::build(&mut draft, &paths, keys.expect("keys"), groups);
        if !draft.findings.has_error() {
            built += 1;
            let settings = config.settings(round);
            assert_eq!(settings.nodes.len(), config.nodes.len());
        }
        for finding in draft.findings.into_sorted().into_iter().chain(findings.into_sorted()) {
            assert!(finding.to_string().len() < 600, "{finding}");
        }
    }
    assert!(built > 300, "only {built} were read to the end");
}

#[test]
fn huge_lines_are_read_in_reasonable_time() {
    let directory = Directory::new();
    let machine = board();
    let check = |name: &str, text: &[u8]| {
        directory.write(name, text);
        directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) }).findings.len()
    };
    let mut words = b"alpha ".to_vec();
    words.extend(b"a.b ".repeat(250_000));
    assert!(check("haresources", &words) > 0);
    assert!(check("haresources", &b"alpha 1.2.3.4\n".repeat(70_000)) > 0);
    assert!(check("haresources", &b"\\\n".repeat(500_000)) > 0);
    assert!(check("haresources", &vec![0xff; 1_000_000]) > 0);
    assert!(check("haresources", &vec![b':'; 1_000_000]) > 0);
    directory.write("haresources", "alpha a");
    assert!(check("ha.cf", &b"node a,".repeat(140_000)) > 0);
    assert!(check("ha.cf", &b"keepalvie ".repeat(100_000)) > 0);
    assert!(check("ha.cf", &b"xeepalvie\n".repeat(100_000)) > 0);
    assert!(check("ha.cf", &b"ucast a 1.2.3.4\n".repeat(60_000)) > 0);
    assert!(check("ha.cf", &b"env A=1\n".repeat(120_000)) > 0);
    assert!(check("ha.cf", &vec![0; 1_000_000]) > 0);
    directory.write("ha.cf", complete(b""));
    assert!(check("authkeys", &b"1 sha1 ".repeat(140_000)) > 0);
}

#[test]
fn without_resources_haresources_is_not_read_and_there_is_no_partner() {
    let directory = Directory::new();
    let machine = board();
    let options = LoadOptions { machine: &machine, is_without_resources: true, ..LoadOptions::new(Purpose::Run) };
    directory.write("ha.cf", complete(b"autojoin other"));
    directory.write("haresources", b"nonsense ((\n");
    let loaded = directory.load(&options);
    let config = loaded.config.as_ref().expect("nothing of haresources counts");
    assert!(config.groups.is_empty() && config.partner().is_none() && !config.settings(0).has_resources);
    let said = directory.messages(&loaded);
    let note = "haresources: note: found a file that is not read; resource management is off: no group is started here";
    assert!(said.contains(&note.to_owned()), "{said:?}");
}

#[test]
fn udp_port_is_that_of_the_directive_then_of_the_service_then_the_registered_one() {
    let port = |text: &[u8], service: Option<u16>| {
        let directory = Directory::new();
        directory.write("ha.cf", complete(text));
        let mut machine = board();
        machine.services = service.map(|port| ("ha-cluster".to_owned(), port)).into_iter().collect();
        let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings));
        let Some(Medium::Ucast { port, .. }) = config.media.last() else { panic!("{:?}", config.media) };
        let exported = config.directives.iter().find(|(name, _)| name == "udpport").map(|(_, value)| value.clone());
        assert_eq!(exported, Some(config.udp_port.0.to_string()));
        (*port, config.udp_port.1)
    };
    let line = b"udpport 700\nucast eth0 10.0.0.2";
    assert_eq!(port(line, Some(701)), (700, PortSource::Directive));
    assert_eq!(port(b"ucast eth0 10.0.0.2", Some(701)), (701, PortSource::Service));
    assert_eq!(port(b"ucast eth0 10.0.0.2", None), (694, PortSource::BuiltIn));
    assert_eq!(port(b"ucast eth0 10.0.0.2 port 800", Some(701)), (800, PortSource::Service));
}

#[test]
fn autojoin_any_wants_no_node_line_without_resources() {
    let directory = Directory::new();
    let machine = board();
    directory.write("ha.cf", complete(b"autojoin any\nnode other"));
    let options = LoadOptions { machine: &machine, is_without_resources: true, ..LoadOptions::new(Purpose::Run) };
    let loaded = directory.load(&options);
    let config = loaded.config.as_ref().expect("it can be used");
    assert_eq!(config.nodes, ["other", "alpha"]);
    let said = directory.messages(&loaded);
    assert!(said.iter().any(|line| line.contains("Current node [alpha] added to configuration")), "{said:?}");
    let with = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    assert!(with.config.is_none(), "beside haresources it is an error");
}
