//! Ping nodes on real boards: a host in the network that one board, or both, can no longer reach, while the links between
//! them stay whole. First two nullbeats, then one with the packaged Heartbeat and its real `ipfail` on the other board.

mod lab;

use std::io::Write as _;
use std::time::Duration;

use lab::evidence::{saw, saw_parts};
use lab::programs::{DIR, as_hacluster};
use lab::{AT_HOME, Board, Lab};

/// A host outside of the cluster.
const GATEWAY: &str = "192.168.231.200";
const BOTH: [&str; 2] = ["web", "mail"];
/// What both kinds of daemon are told.
const PING: &str = "ping 192.168.231.200\ndeadping 1500ms\n";
const JUDGED: &str = "upstream_failover on\nupstream_holdoff 500ms\n";
/// In the mixed cluster alpha runs nullbeat, beta Heartbeat.
const HEARTBEAT: usize = 1;

/// The gateway from now on drops the pings of boards in a set, which is empty.
fn with_gateway(lab: Lab) -> Lab {
    for words in [
        "add table inet up",
        "add set inet up cut { type ipv4_addr; }",
        "add chain inet up in { type filter hook input priority 0; }",
        "add rule inet up in ip saddr @cut icmp type echo-request drop",
    ] {
        nft(&lab, words);
    }
    lab
}

#[track_caller]
fn nft(lab: &Lab, words: &str) {
    let output = lab.on_client(&["nft", words]);
    assert!(output.status.success(), "nft {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a board reaches the gateway from now on.
fn upstream(lab: &Lab, index: usize, is_there: bool) {
    upstreams(lab, &[index], is_there);
}

/// The same for several at one moment.
fn upstreams(lab: &Lab, boards: &[usize], is_there: bool) {
    let verb = if is_there { "delete" } else { "add" };
    let addresses: Vec<&str> = boards.iter().map(|index| lab.boards[*index].address.as_str()).collect();
    nft(lab, &format!("{verb} element inet up cut {{ {} }}", addresses.join(", ")));
}

/// Two nullbeats, each with its group.
fn pair(extra: &str) -> Lab {
    let mut lab = with_gateway(Lab::usual(&format!("{PING}{JUDGED}{extra}"), AT_HOME));
    lab.start_both();
    lab.wait_at_home();
    lab
}

/// One line of the daemon's log, after it has been written so often.
fn wait_said(lab: &Lab, index: usize, line: &str, times: usize) {
    lab.wait(line, |lab| lab.boards[index].log().matches(line).count() >= times);
}

#[test]
fn upstream_of_one_is_lost_the_other_owns_until_it_is_back() {
    let lab = pair("");
    upstream(&lab, 0, false);
    lab.wait_owner(1, &BOTH);
    wait_said(&lab, 0, &format!("node {GATEWAY}: is dead"), 1);
    lab.assert_stays(1, &BOTH, Duration::from_secs(3));
    upstream(&lab, 0, true);
    lab.wait_at_home();
    upstream(&lab, 1, false);
    lab.wait_owner(0, &BOTH);
    upstream(&lab, 1, true);
    lab.wait_at_home();
    lab.assert_exclusive();
    assert_eq!(lab.boards[0].log().matches("node beta: is dead").count(), 0, "the links were whole");
}

#[test]
fn upstream_of_both_is_lost_nothing_moves() {
    let lab = pair("");
    upstreams(&lab, &[0, 1], false);
    for index in 0..2 {
        wait_said(&lab, index, &format!("node {GATEWAY}: is dead"), 1);
    }
    lab.assert_stays(0, &["web"], Duration::from_secs(3));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    upstreams(&lab, &[0, 1], true);
    for index in 0..2 {
        wait_said(&lab, index, &format!("Status update for node {GATEWAY}: status ping"), 2);
    }
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1);
    assert_eq!(lab.observer.count("beta", "mail", "start-begin"), 1);
}

#[test]
fn upstream_is_back_without_auto_failback_the_group_stays() {
    let lab = pair("auto_failback off\n");
    upstream(&lab, 0, false);
    lab.wait_owner(1, &BOTH);
    upstream(&lab, 0, true);
    wait_said(&lab, 0, &format!("Status update for node {GATEWAY}: status ping"), 2);
    lab.assert_stays(1, &BOTH, Duration::from_secs(3));
    lab.assert_exclusive();
}

#[test]
fn all_kinds_of_ping_nodes_are_asked_through_ping_sockets_and_raw_ones() {
    let extra = format!("{PING}ping 192.168.231.250\nping6 ::1\nping_group routers 192.168.231.251 192.168.231.129\n");
    let mut lab = Lab::usual(&extra, AT_HOME);
    for board in &mut lab.boards {
        board.power_on();
    }
    // One board has the kernel's own ping sockets, the other does not.
    let range = lab.boards[1].on_board(&["sh", "-c", "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range"]);
    assert!(range.status.success(), "{range:?}");
    for board in &mut lab.boards {
        board.start();
    }
    lab.wait_at_home();
    for board in &lab.boards {
        let words = ["ping", "dead", "ping", "ping"];
        lab.wait("ping nodes stand as they are", |lab| {
            let text = String::from_utf8_lossy(&lab.boards[board.index].nullbeat(&["links"]).stdout).into_owned();
            let state = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
                line.split_whitespace().nth(1).unwrap_or_default().to_owned()
            };
            [GATEWAY, "192.168.231.250", "::1", "routers"].map(state) == words
        });
        let kinds = board.on_board(&["sh", "-c", "cat /proc/net/icmp /proc/net/icmp6 | grep -c :"]);
        let kernel = String::from_utf8_lossy(&kinds.stdout).trim().parse::<usize>().expect("a count") > 0;
        assert_eq!(kernel, board.index == 1, "{}", board.name);
        let json = board.status_json();
        assert!(json.contains("\"ping_nodes\"") && json.contains("\"is_compared\": false"), "{json}");
    }
}

#[test]
fn garbage_and_forged_answers_are_counted_and_wake_nobody() {
    let mut lab = with_gateway(Lab::usual(&format!("{PING}{JUDGED}"), AT_HOME));
    upstream(&lab, 0, false);
    for board in &mut lab.boards {
        board.power_on();
        board.start();
    }
    lab.wait_owner(1, &BOTH);
    // Answers that nobody asked for, from the host itself: its own ping programs' numbers, and ours with other data.
    let sender = r#"use Socket;
socket(my $socket, PF_INET, SOCK_RAW, 1) or die $!;
my $to = sockaddr_in(0, inet_aton($ARGV[0]));
for my $number (0 .. 65535) {
    my $data = '### junk';
    my $sum = unpack('%32n*', pack('CCnnn', 0, 0, 0, $number, 0) . $data . chr 0);
    $sum = ($sum & 65535) + ($sum >> 16) while $sum >> 16;
    send($socket, pack('CCnnn', 0, 0, ~$sum & 65535, $number, 0) . $data, 0, $to);
}
"#;
    let script = lab.dir.join("forge.pl");
    std::fs::File::create(&script).and_then(|mut file| file.write_all(sender.as_bytes())).expect("written");
    let forged = lab.on_client(&["perl", &script.to_string_lossy(), &lab.boards[0].address]);
    assert!(forged.status.success(), "{}", String::from_utf8_lossy(&forged.stderr));
    lab.wait("the forged one is counted", |lab| {
        let links = lab.boards[0].nullbeat(&["links"]);
        let text = String::from_utf8_lossy(&links.stdout).into_owned();
        let rejected = ["unasked", "bad_marker"];
        text.lines().any(|line| line.starts_with(GATEWAY) && rejected.iter().any(|reason| line.contains(reason)))
    });
    lab.assert_stays(1, &BOTH, Duration::from_secs(1));
}

// ---- with Heartbeat and its ipfail ------------------------------------------------------------------------------

/// The packaged program.
fn ipfail() -> String {
    let output = std::process::Command::new("dpkg").args(["-L", "heartbeat"]).output().expect("dpkg");
    let files = String::from_utf8_lossy(&output.stdout).into_owned();
    files.lines().find(|path| path.ends_with("/ipfail")).expect("Debian's heartbeat has it").to_owned()
}

/// alpha runs nullbeat, beta Heartbeat with its ipfail; `lines` go to alpha only. The hold-off is the default one:
/// Heartbeat sees a ping node die, and tells, up to a second later than we do.
fn mixed(lines: &str) -> Lab {
    let mut lab = with_gateway(Lab::mixed(AT_HOME));
    for board in &lab.boards {
        let own = if board.index == HEARTBEAT { format!("respawn hacluster {}\n", ipfail()) } else { lines.to_owned() };
        let path = board.config_dir().join("ha.cf");
        let text = std::fs::read_to_string(&path).expect("configured");
        std::fs::write(path, format!("{text}{PING}{own}")).expect("ha.cf");
    }
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    // The two have compared their counts.
    lab.wait("ipfail counts the same", |lab| lab.boards[0].status_json().contains("\"partner\": 1"));
    lab
}

#[test]
fn nullbeat_and_ipfail_agree_whoever_loses_the_upstream() {
    let lab = mixed("upstream_failover on\n");
    let present = lab.boards[HEARTBEAT].on_board(&["cl_status", "clientstatus", "alpha", "ipfail"]);
    assert_eq!(String::from_utf8_lossy(&present.stdout).trim(), "online", "{present:?}");
    upstream(&lab, HEARTBEAT, false);
    lab.wait_owner(0, &BOTH);
    lab.assert_stays(0, &BOTH, Duration::from_secs(5));
    let more = "Telling other node that we have more visible ping nodes.";
    wait_said(&lab, 0, more, 1);
    let less = "Giving up because we were told that we have less ping nodes.";
    wait_said(&lab, HEARTBEAT, less, 1);
    let log = lab.boards[HEARTBEAT].log();
    saw_parts(&ipfail(), "on a Heartbeat beside a nullbeat that reaches more: its words", &[less], &log);
    upstream(&lab, HEARTBEAT, true);
    lab.wait_owner(1, &["mail"]);
    lab.wait_owner(0, &["web"]);
    upstream(&lab, 0, false);
    lab.wait_owner(1, &BOTH);
    wait_said(&lab, HEARTBEAT, more, 1);
    let log = lab.boards[HEARTBEAT].log();
    saw_parts(&ipfail(), "on a Heartbeat beside a nullbeat that reaches less: its words", &[more], &log);
    wait_said(&lab, 0, "Giving up because we have less visible ping nodes.", 1);
    lab.assert_stays(1, &BOTH, Duration::from_secs(5));
    upstream(&lab, 0, true);
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab.assert_exclusive();
}

#[test]
fn nullbeat_and_ipfail_move_nothing_when_both_lose_the_upstream() {
    // The line of an old file switches the judgement on as well.
    let lab = mixed(&format!("respawn hacluster {}\n", ipfail()));
    upstreams(&lab, &[0, HEARTBEAT], false);
    for index in 0..2 {
        wait_said(&lab, index, &format!("node {GATEWAY}: is dead"), 1);
    }
    lab.wait("both know of both", |lab| lab.boards[0].status_json().contains("\"partner\": 0"));
    lab.assert_stays(0, &["web"], Duration::from_secs(5));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1);
}

/// The packaged program runs beside both kinds of daemon; nullbeat's own judgement is off.
#[test]
fn packaged_ipfail_beside_nullbeat_gives_up_what_its_board_has_when_only_that_one_loses_the_upstream() {
    let mut lab = with_gateway(Lab::mixed(AT_HOME));
    for board in &lab.boards {
        let path = board.config_dir().join("ha.cf");
        let own = if board.index == HEARTBEAT { format!("respawn hacluster {}\n", ipfail()) } else { String::new() };
        let text = std::fs::read_to_string(&path).expect("configured");
        std::fs::write(path, format!("{text}{PING}{own}")).expect("ha.cf");
        // What each daemon runs when a link changes.
        let script = board.config_dir().join("rc.d/ifstat");
        std::fs::create_dir_all(board.config_dir().join("rc.d")).expect("rc.d");
        let told = board.dir.join("told").display().to_string();
        let text = format!("#!/bin/sh\necho \"$1 $HA_node $HA_ifname $HA_st\" >> {told}\n");
        std::fs::write(&script, text).expect("script");
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    }
    for board in &mut lab.boards {
        board.power_on();
        if board.index != HEARTBEAT {
            // Where the packaged program looks for its daemon.
            let run = board.dir.join("run").display().to_string();
            let place = format!("mkdir -p {run} /run/heartbeat && mount --bind {run} /run/heartbeat");
            let output = board.on_board(&["sh", "-c", &place]);
            assert!(output.status.success(), "{output:?}");
        }
        board.start();
    }
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    // A line `respawn … ipfail` would switch on the judgement that is built in.
    let words = format!("exec setpriv --reuid hacluster --regid haclient --clear-groups {}", ipfail());
    let log = std::fs::File::create(lab.boards[0].dir.join("ipfail.log")).expect("log");
    let mut own = lab.boards[0].command(&["sh", "-c", &words]).stderr(log).spawn().expect("ipfail");
    for (index, other) in [(0, "beta"), (1, "alpha")] {
        lab.wait("the two know of each other", |lab| {
            let output = lab.boards[index].on_board(&["/usr/bin/cl_status", "clientstatus", other, "ipfail"]);
            String::from_utf8_lossy(&output.stdout).trim() == "online"
        });
    }
    let told = |lab: &Lab, index: usize, state: &str| {
        lab.wait("a script of the site hears of it", |lab| {
            let told = std::fs::read_to_string(lab.boards[index].dir.join("told")).unwrap_or_default();
            told.contains(&format!("ifstat {GATEWAY} {GATEWAY} {state}\n"))
        });
    };
    upstream(&lab, 0, false);
    lab.wait_owner(1, &BOTH);
    told(&lab, 0, "dead");
    upstream(&lab, 0, true);
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    upstream(&lab, HEARTBEAT, false);
    lab.wait_owner(0, &BOTH);
    told(&lab, HEARTBEAT, "dead");
    upstream(&lab, HEARTBEAT, true);
    lab.wait_owner(1, &["mail"]);
    for index in 0..2 {
        told(&lab, index, "up");
    }
    lab.assert_exclusive();
    let _ = own.kill();
    let _ = own.wait();
}

/// What a board needs for `dopd`: sockets where it looks, a `drbdadm` that notes its words.
fn add_drbdadm(board: &Board) {
    let script = format!(
        "set -e; mount -t tmpfs tmpfs /usr/local/sbin; cd {0}; chmod 755 .; install -m 666 /dev/null outdated\n\
         printf '#!/bin/sh\\necho \"$*\" >> {0}/outdated\\nexit 5\\n' > /usr/local/sbin/drbdadm\n\
         chmod 755 /usr/local/sbin/drbdadm",
        board.dir.display()
    );
    let output = board.on_board(&["sh", "-c", &script]);
    assert!(output.status.success(), "{output:?}");
}

/// A Heartbeat and a nullbeat each ask the other's `dopd`, by DRBD's own helper. The packaged `dopd` crashes when whoever
/// asked has gone, beside either daemon, and is started again by `respawn`.
#[test]
fn packaged_dopd_outdates_the_disk_of_the_other_kind_of_node() {
    let mut lab = Lab::mixed(AT_HOME);
    for board in &lab.boards {
        let path = board.config_dir().join("ha.cf");
        let lines = format!("apiauth dopd gid=haclient uid=hacluster\nrespawn hacluster {DIR}/dopd\n");
        let text = std::fs::read_to_string(&path).expect("configured") + &lines;
        std::fs::write(path, text).expect("ha.cf");
    }
    for board in &mut lab.boards {
        board.power_on();
        if !board.runs_heartbeat() {
            board.show_sockets();
        }
        add_drbdadm(board);
        board.through = vec!["env".to_owned(), "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
        board.start();
    }
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    let outdater = format!("{DIR}/drbd-peer-outdater");
    for (asker, peer) in [(0, "beta"), (1, "alpha")] {
        for (index, node) in [(asker, peer), (1 - asker, lab.boards[asker].name.as_str())] {
            lab.wait_text(
                "dopd is online",
                |lab| lab.boards[index].cl_status(&["clientstatus", node, "dopd"]).out,
                |it| it == "online\n",
            );
        }
        let disk = format!("disk{asker}");
        let outcome = lab.wait_text(
            &format!("{peer} has outdated its disk"),
            |lab| {
                let words = as_hacluster(&[&outdater, "-p", peer, "-r", &disk, "-t", "5"]);
                let code = lab.boards[asker].on_board(&words).status.code();
                let told = std::fs::read_to_string(lab.boards[1 - asker].dir.join("outdated")).unwrap_or_default();
                format!("{code:?} {}", told.lines().next_back().unwrap_or_default())
            },
            |it| it.ends_with(&format!("outdate {disk}")) && it.starts_with("Some(5)"),
        );
        let what = format!("asked on {}: exit code, and what drbdadm is told there", lab.boards[asker].name);
        let expected = format!("Some(5) outdate {disk}");
        for program in ["dopd", "drbd-peer-outdater"] {
            saw(&format!("{DIR}/{program}"), &format!("on a mixed pair, {what}"), &expected, &outcome);
        }
    }
    lab.assert_exclusive();
}
