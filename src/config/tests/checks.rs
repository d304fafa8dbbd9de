//! `check` and `monitor`.

use super::*;
use crate::config::services::apphbd::ApplicationName;
use crate::core::ids::GroupId;

fn load(purpose: Purpose, lines: &str) -> (Vec<String>, Option<Config>) {
    let directory = Directory::new();
    directory.write("ha.cf", complete(lines.as_bytes()));
    directory.write("haresources", "alpha IPaddr::10.0.0.9 httpd\nbeta web\n");
    let mut machine = FakeMachine::complete("alpha");
    machine.files.insert("/none".into(), FileKind::Missing);
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(purpose) });
    (directory.messages(&loaded), loaded.config)
}

fn checks(lines: &str) -> Vec<CheckConfig> {
    let (said, config) = load(Purpose::Run, lines);
    config.unwrap_or_else(|| panic!("{said:?}")).checks
}

#[test]
fn each_kind_is_read_with_its_defaults() {
    let lines = "check tcp 10.0.0.1:80\ncheck tcp [2001:db8::1]:22\ncheck http http://10.0.0.9:8080?a=b\n\
                 check http http://peer.example/x expect 301\ncheck ping 10.0.0.254\ncheck exec /bin/test user hacluster\n\
                 check apphb web:one\ncheck apphb mail watchdog on\nwatchdog /dev/watchdog";
    let read = checks(lines);
    let http = |address: &str, host: &str, path: &str, expect| Question::Http {
        address: address.parse().unwrap(),
        host: host.into(),
        path: path.into(),
        expect,
    };
    let expected = [
        Question::Tcp("10.0.0.1:80".parse().unwrap()),
        Question::Tcp("[2001:db8::1]:22".parse().unwrap()),
        http("10.0.0.9:8080", "10.0.0.9:8080", "/?a=b", 200),
        http("10.0.0.2:80", "peer.example", "/x", 301),
        Question::Ping("10.0.0.254".parse().unwrap()),
        Question::Exec("/bin/test".into()),
        Question::Apphb(ApplicationName::parse("web:one").unwrap()),
        Question::Apphb(ApplicationName::parse("mail").unwrap()),
    ];
    assert!(read.iter().map(|check| check.kind.clone()).eq(expected.map(CheckKind::Ask)), "{read:?}");
    assert!(read.iter().map(|check| check.is_vital).eq([0, 0, 0, 0, 0, 0, 0, 1].map(|is_vital| is_vital == 1)));
    let first = &read[0];
    assert_eq!((first.every, first.timeout), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!((first.rise, first.fall, first.restarts, first.group, first.from), (2, 3, 2, None, 0));
    assert_eq!((first.name.as_str(), read[5].user.as_deref()), ("tcp 10.0.0.1:80", Some("hacluster")));
}

#[test]
fn groups_are_named_by_their_first_resource() {
    let lines = "monitor all every 5s timeout 1.5s fall 4 rise 1 restarts 0\n\
                 check tcp 10.0.0.9:80 group IPaddr::10.0.0.9 restart httpd name shop";
    let (said, config) = load(Purpose::Run, lines);
    let config = config.unwrap_or_else(|| panic!("{said:?}"));
    let names: Vec<_> = config.checks.iter().map(|check| (check.name.as_str(), check.group, check.from)).collect();
    assert_eq!(names, [("monitor IPaddr::10.0.0.9", Some(0), 0), ("monitor web", Some(1), 0), ("shop", Some(0), 1)]);
    let monitor = &config.checks[0];
    assert_eq!((monitor.every, monitor.timeout), (Duration::from_secs(5), Duration::from_millis(1500)));
    assert_eq!((monitor.rise, monitor.fall, monitor.restarts), (1, 4, 0));
    let settings = config.settings(0).health;
    assert_eq!(settings.checks[1].group, Some(GroupId(1)));
    assert_eq!((settings.checks[0].restarts, settings.checks[2].restarts), (0, 2));
}

#[test]
fn hold_off_covers_the_slowest_check_of_the_node() {
    let holdoff = |lines: &str| load(Purpose::Run, lines).1.unwrap().settings(0).health.holdoff.as_millis();
    assert_eq!(holdoff("keepalive 1\ncheck ping 10.0.0.1 every 10 fall 3 timeout 2"), 34_000);
    assert_eq!(holdoff("keepalive 1\nmonitor web every 100"), 2_000);
    assert_eq!(holdoff("upstream_holdoff 90\ncheck ping 10.0.0.1"), 90_000);
}

#[test]
fn what_both_nodes_must_agree_upon_is_in_the_digest() {
    let digest = |lines: &str| load(Purpose::Run, lines).1.unwrap().config_digest;
    let one = digest("check ping 10.0.0.1");
    assert_eq!(one, digest("check tcp 10.0.0.2:1"), "each board may look at what is near it");
    for other in ["", "check ping 10.0.0.1\ncheck ping 10.0.0.2", "monitor web"] {
        assert_ne!(one, digest(other), "{other}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let first = |lines: &str| load(Purpose::Check, lines).0.into_iter().next().unwrap_or_default();
    let kinds =
        "expected `check tcp HOST:PORT`, `check http URL`, `check ping HOST`, `check exec PATH` or `check apphb NAME`";
    for (lines, message) in [
        ("check", format!("1:1: error: found `check` without what it asks; {kinds}")),
        ("check pnig 10.0.0.1", format!("1:7: error: found `pnig`; {kinds}; did you mean `ping`?")),
        ("check tcp 10.0.0.1", "1:11: error: found `10.0.0.1`; expected HOST:PORT, with an IPv6 address in brackets".into()),
        ("check tcp 10.0.0.1:0", "1:11: error: found `10.0.0.1:0`; expected a port from 1 to 65535".into()),
        ("check tcp 10.0.0.1:+8", "1:11: error: found `10.0.0.1:+8`; expected a port from 1 to 65535".into()),
        (
            "check http https://10.0.0.1/",
            "1:12: error: found `https://10.0.0.1/`; expected a URL that begins with `http://`; TLS is for programs that \
             know it: `check exec PATH`"
                .into(),
        ),
        ("check http http://me@10.0.0.1/", "1:12: error: found `http://me@10.0.0.1/`; expected `http://HOST/PATH` without a user".into()),
        ("check exec test", "1:12: error: found `test`; expected the path of a program, beginning with `/`".into()),
        ("check exec /none", "1:12: warning: found `/none`, which is no executable file here; expected a program; the check fails".into()),
        (
            "check apphb :one",
            "1:13: error: found `:one`; expected `NAME` or `NAME:INSTANCE`, as the application registers".into(),
        ),
        (
            "monitor web watchdog on",
            "1:22: error: found a check for the watchdog without one; expected a line `watchdog DEVICE`".into(),
        ),
        ("monitor web watchdog x", "1:22: error: found `x`; expected `on` or `off`".into()),
        ("monitor", "1:1: error: found `monitor` without a group; expected `monitor GROUP` or `monitor all`".into()),
        (
            "monitor wep",
            "1:9: error: found `wep`, which is no group; expected the first resource of a line in haresources; did you mean \
             `web`?"
                .into(),
        ),
        ("monitor web every 5 every 6", "1:21: error: found `every` a second time; expected it once".into()),
        ("monitor web every", "1:13: error: found `every` without a value; expected one behind it".into()),
        ("monitor web every 10ms", "1:19: error: found `10ms`; expected a time from 100 ms to 86400 s".into()),
        ("monitor web fall 0", "1:18: error: found `0`; expected a whole number from 1 to 100".into()),
        (
            "monitor web group x",
            "1:13: error: found `group`; expected `every`, `timeout`, `rise`, `fall`, `restarts`, `watchdog`".into(),
        ),
        ("check ping 10.0.0.1 expect 5", "1:21: error: found `expect`; expected `every`, `timeout`, `rise`, `fall`, `restarts`, `watchdog`, `group`, `restart`, `name`".into()),
        (
            "check ping 10.0.0.1 restarts 3",
            "1:30: error: found restarts for a check of the node; expected `group GROUP` beside them; what the node needs is \
             not mended by restarting what it runs"
                .into(),
        ),
        (
            "check ping 10.0.0.1 group web restart wbe",
            "1:39: error: found `wbe`, which is no resource of that group; expected one; did you mean `web`?".into(),
        ),
        (
            "check ping 10.0.0.1 every 5 timeout 5",
            "1:37: note: found a timeout of 5 s with a question every 5 s; the next question waits for the end of the one \
             before"
                .into(),
        ),
        (
            "check ping 10.0.0.1\ncheck ping 10.0.0.1",
            "2:1: error: found a second check `ping 10.0.0.1`; expected each once, or told apart by `name`".into(),
        ),
    ] {
        assert_eq!(first(lines), format!("ha.cf:{message}"), "{lines}");
    }
    let users: String = ["", " user hacluster", " user root", " user nobody", " user daemon"]
        .map(|user| format!("check exec /bin/test{user} name {}\n", user.len()))
        .concat();
    let said = load(Purpose::Check, &users).0;
    let expected = "found health checks of 5 users, counting the one of those without `user`; expected at most 4";
    assert!(said.iter().any(|said| said.contains(expected)), "{said:?}");
    let many: String = (1..=33).map(|last| format!("check ping 10.0.0.{last}\n")).collect();
    let said = load(Purpose::Check, &many).0;
    assert!(
        said[0].contains("found 33 health checks, counting one for each monitored group; expected at most 32"),
        "{said:?}"
    );
}
