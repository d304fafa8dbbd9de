//! Bad input from outside, on real daemons: whatever arrives, nothing moves, nothing grows, everything is counted.

mod lab;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::Lab;
use lab::tap::{self, Tap};
use nullbeat::core::ids::{Generation, NodeId, Seq, Uuid};
use nullbeat::core::message::{Body, NodeStatus, Packet};
use nullbeat::core::settings::Identity;
use nullbeat::wire::heartbeat::{Codec, ENCODED_MAX, Keys, Method, Setup};

const RESOURCES: &str = "alpha trace::web\nbeta trace::mail\n";
const KEY: &[u8] = b"a-key-for-the-lab";

fn at_home(extra: &str) -> Lab {
    let mut lab = Lab::usual(extra, RESOURCES);
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab
}

/// A well-formed status of a node of this name, signed with this key.
fn status_of(name: &str, key: &[u8], generation: u32, seq: u64) -> Vec<u8> {
    let mut keys = Keys::new(1);
    keys.add(1, Method::Sha1, key).expect("a key");
    let names = [name.try_into().expect("short"), "alpha".try_into().expect("short")];
    let codec = Codec::new(Setup {
        keys,
        nodes: &names,
        local: NodeId(0),
        identity: Identity { uuid: Uuid([9; 16]), generation: Generation(generation) },
        group_keys: &[],
        hopfudge: 1,
        is_netstring: false,
    })
    .expect("a codec");
    let body = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(1000),
        has_protocol: true,
        is_nullbeat: false,
        extension: None,
    };
    let packet = Packet { to: None, seq: Some(Seq(seq)), ts: 1_700_000_000, body, about: None, group: None };
    let mut out = vec![0; ENCODED_MAX];
    let len = codec.encode_datagram(&packet, &mut out).expect("it fits");
    out.truncate(len);
    out
}

/// Sends a datagram from the client to a board's port.
fn send(lab: &Lab, index: usize, bytes: &[u8]) {
    let target = format!("cat > /dev/udp/{}/694", lab.boards[index].address);
    let mut child = Command::new("ip")
        .args(["netns", "exec", lab.lan(), "bash", "-c", &target])
        .stdin(Stdio::piped())
        .spawn()
        .expect("bash");
    child.stdin.take().expect("piped").write_all(bytes).expect("written");
    assert!(child.wait().expect("bash").success());
}

fn links_json(lab: &Lab, index: usize) -> String {
    String::from_utf8_lossy(&lab.boards[index].nullbeat(&["links", "--json"]).stdout).into_owned()
}

#[track_caller]
fn wait_counted(lab: &Lab, index: usize, reason: &str) {
    lab.wait(&format!("`{reason}` is counted"), |lab| {
        let words: String = links_json(lab, index).to_lowercase();
        words.contains(&reason.to_lowercase())
    });
}

/// What a board's engine has of its own, KiB. Pages of the program's file are left out: they come in when a piece of it
/// runs for the first time.
fn own_memory(lab: &Lab, index: usize) -> u64 {
    memory(lab.boards[index].pids("engine")[0], "RssAnon:")
}

/// A process's memory of this kind, KiB.
fn memory(pid: i32, kind: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with(kind)).expect("that line");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// Damaged, foreign and forged packets, one of each kind.
fn send_bad_packets(lab: &Lab) {
    let good = status_of("beta", KEY, 2_000_000_000, 1);
    for cut in [0, 1, 3, 10, good.len() / 2, good.len() - 1] {
        send(lab, 0, &good[..cut]);
    }
    let mut garbled = good.clone();
    garbled[good.len() / 2] ^= 0x20;
    send(lab, 0, &garbled);
    send(lab, 0, &vec![b'#'; 60_000]);
    send(lab, 0, b"###\n5:abcde,%%%\n10:1 25b6e592,");
    send(lab, 0, &good[..good.windows(4).position(|window| window == b"%%%\n").expect("an end") + 4]);
    send(lab, 0, &status_of("beta", b"another key", 2_000_000_000, 2));
    send(lab, 0, &status_of("gamma", KEY, 2_000_000_000, 1));
    // Of a generation long gone: a replay.
    send(lab, 0, &status_of("beta", KEY, 5, 1));
}

#[test]
fn damaged_foreign_and_forged_packets_are_counted_and_change_nothing() {
    let lab = at_home("");
    send_bad_packets(&lab);
    lab.wait("the replay is noticed", |lab| lab.boards[0].log().contains("attempted replay attack"));
    lab.wait("the stranger is noticed", |lab| lab.boards[0].log().contains("bad node [gamma] in message"));
    wait_counted(&lab, 0, "digest");
    // The first of each kind may touch a page that was never written; what follows must not.
    let before = own_memory(&lab, 0);
    for _ in 0..10 {
        send_bad_packets(&lab);
    }
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    lab.assert_exclusive();
    let after = own_memory(&lab, 0);
    assert!(after <= before + 64, "the engine grew from {before} to {after} KiB");
}

#[test]
fn serial_line_full_of_noise_moves_nothing_and_beats_get_through() {
    let lab = at_home("");
    let banner =
        b"\r\n\r\nDebian GNU/Linux 12 alpha ttyS0\r\n\r\nalpha login: AT&F\rATZ\rATE0V1\rRING\r\n>>>\nt=half\n\0\0\0";
    let mut noise = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2_000 {
        noise.extend_from_slice(banner);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    for piece in noise.chunks(700) {
        lab.modem.inject(0, piece);
    }
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    // The line is usable afterwards: with the Ethernet cable out it carries the beats alone.
    lab.ethernet(0, false);
    lab.wait("Ethernet is dead", |lab| lab.boards[0].log().contains("Link beta:ens33 dead."));
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    assert!(!lab.boards[0].log().contains("node beta: is dead"));
    lab.assert_exclusive();
}

#[test]
fn peer_with_another_key_is_not_heard_and_said_to_be_unauthenticated() {
    let mut lab = Lab::usual("", RESOURCES);
    lab.boards[1].authkeys("auth 1\n1 sha1 quite-another-key\n");
    lab.start_both();
    lab.wait("both took everything after initdead", |lab| lab.runners("web") == [0, 1]);
    wait_counted(&lab, 0, "digest");
    assert!(lab.boards[0].log().contains("failed authentication"), "{}", lab.boards[0].log());
}

#[test]
fn peer_with_other_haresources_raises_an_alarm_on_both() {
    let mut lab = Lab::usual("", RESOURCES);
    std::fs::write(lab.boards[1].config_dir().join("haresources"), "alpha trace::web\nbeta trace::mail trace::more\n")
        .expect("haresources");
    lab.start_both();
    for index in [0, 1] {
        lab.wait("the alarm stands", |lab| {
            String::from_utf8_lossy(&lab.boards[index].nullbeat(&["status"]).stdout)
                .contains("the two haresources files differ")
        });
    }
}

#[test]
fn script_that_is_missing_or_not_executable_fails_its_group_and_nothing_else() {
    let mut lab = Lab::usual("", "alpha trace::web\nalpha nothere::x\nbeta trace::mail\n");
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab.wait("the missing script is named", |lab| {
        lab.boards[0].log().contains("Cannot locate resource script nothere")
    });
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
}

/// A bench whose first board has a group `bad` with this script beside the usual ones; `$tell WHAT` tells the observer.
fn with_bad_script(extra: &str, body: &str) -> Lab {
    let lab = Lab::usual(extra, "alpha bad::bad\nalpha trace::web\nbeta trace::mail\n");
    for board in &lab.boards {
        let (name, fifo, dir) = (&board.name, lab.observer.fifo(), board.dir.display());
        let tell = format!("tell() {{ echo \"{name} bad $1\" > {}; }}", fifo.display());
        let text = format!("#!/bin/sh\ncd {dir} || exit 1\n{tell}\n{body}\nexit 0\n");
        lab::write_script(&board.config_dir().join("resource.d/bad"), &text);
    }
    lab
}

/// A script that keeps a mark, and does this while it starts.
fn starting_with(work: &str) -> String {
    format!(
        "case $2 in\nstart) tell start-begin\n{work}\ntouch marks/bad; tell start-end;;\n\
         stop) [ -e marks/bad ] || exit 0; tell stop-begin; rm marks/bad; tell stop-end;;\n\
         status) [ -e marks/bad ] || {{ echo stopped; exit 3; }}; echo running;;\nesac"
    )
}

#[test]
fn script_that_prints_megabytes_fills_neither_log_nor_memory() {
    let mut lab = with_bad_script("", &starting_with("yes this is not worth a line | head -c 20000000"));
    lab.start_both();
    lab.wait_owner(0, &["bad", "web"]);
    lab.wait_owner(1, &["mail"]);
    lab.assert_stays(0, &["bad", "web"], Duration::from_secs(2));
    lab.assert_exclusive();
    assert!(lab.boards[0].log().len() < 1_000_000, "{} bytes of log", lab.boards[0].log().len());
    for role in ["engine", "guardian", "logger"] {
        let peak = memory(lab.boards[0].pids(role)[0], "VmHWM:");
        assert!(peak < 16_000, "{role}: {peak} KiB, not what was printed");
    }
}

#[test]
fn script_that_ignores_term_is_killed_and_holds_up_nobody_else() {
    let mut lab = with_bad_script(
        "script_timeout 1",
        "case $2 in\nstart) trap '' TERM; touch deaf; while :; do sleep 0.1; done;;\nstatus) echo stopped; exit 3;;\nesac",
    );
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    for index in [0, 1] {
        lab.wait("each board has tried once", |lab| lab.boards[index].dir.join("deaf").exists());
        lab.wait("the failure is told", |lab| lab.boards[index].status_json().contains("\"start failed\""));
    }
    lab.assert_stays(0, &["web"], Duration::from_secs(1));
    assert_eq!((lab.boards[0].resets(), lab.boards[1].resets()), (0, 0), "a stop of what never started succeeds");
    lab.assert_exclusive();
}

#[test]
fn service_that_writes_to_what_it_inherited_outlives_guardian_and_logger() {
    use nix::sys::signal::Signal::{SIGKILL, SIGSTOP};
    // More in each round than a pipe holds; a round that cannot be written is the last.
    let service = "( while [ -d marks ] && yes chatter | head -c 100000; do echo >> rounds; sleep 0.05; done ) &";
    let mut lab = with_bad_script("", &starting_with(service));
    lab.start_both();
    lab.wait_owner(0, &["bad", "web"]);
    lab.wait_owner(1, &["mail"]);
    let rounds = |lab: &Lab| std::fs::metadata(lab.boards[0].dir.join("rounds")).map_or(0, |file| file.len());
    let goes_on = |lab: &Lab, why: &str| {
        let begun = rounds(lab);
        lab.wait(why, |lab| rounds(lab) >= begun + 10);
    };
    goes_on(&lab, "it writes");
    lab.boards[0].signal("logger", SIGSTOP);
    goes_on(&lab, "it writes while the logger stands still");
    lab.boards[0].signal("guardian", SIGKILL);
    lab.boards[0].signal("logger", SIGKILL);
    lab.wait("both are gone", |lab| ["guardian", "logger"].iter().all(|role| lab.boards[0].pids(role).is_empty()));
    goes_on(&lab, "it writes when both are gone");
    lab.assert_stays(0, &["bad", "web"], Duration::from_secs(2));
    lab.boards[0].start();
    lab.wait("a new daemon looks after it", |lab| lab.boards[0].is_settled());
    goes_on(&lab, "it writes on");
    lab.assert_stays(0, &["bad", "web"], Duration::from_secs(1));
    assert_eq!(lab.observer.count("alpha", "bad", "start-begin"), 1);
    lab.assert_exclusive();
}

/// Of `TEST_LANE=all` a minute, else as long as it takes to fill every buffer.
fn long_stop() -> Duration {
    let is_long = std::env::var("TEST_LANE").is_ok_and(|lane| lane == "all");
    Duration::from_secs(if is_long { 60 } else { 6 })
}

#[test]
fn logger_stopped_for_long_neither_service_nor_beats_wait_and_what_was_dropped_is_told() {
    use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
    // A loud start says more than the log's pipe holds; the service goes on all the while.
    let service = "[ ! -e loud ] || yes \"$(printf %0150d 0)\" | head -n 1000\n\
                   ( while [ -d marks ] && yes chatter | head -c 100000; do echo >> rounds; sleep 0.05; done ) &";
    let mut lab = with_bad_script("", &starting_with(service));
    lab.start_both();
    lab.wait_owner(0, &["bad", "web"]);
    lab.wait_owner(1, &["mail"]);
    lab.wait("both have settled", |lab| lab.boards.iter().all(lab::Board::is_settled));
    let rounds = |lab: &Lab| std::fs::metadata(lab.boards[0].dir.join("rounds")).map_or(0, |file| file.len());
    std::fs::write(lab.boards[0].dir.join("loud"), "").expect("a file");
    lab.boards[0].signal("logger", SIGSTOP);
    // Away and back, twice: two starts with as many lines as one may log.
    for verb in ["standby", "takeover", "standby", "takeover"] {
        lab.wait(verb, |lab| {
            let output = lab.boards[0].nullbeat(&[verb, "local"]);
            assert!([Some(0), Some(75)].contains(&output.status.code()), "{verb}: {output:?}");
            output.status.success()
        });
    }
    let begun = rounds(&lab);
    lab.assert_stays(0, &["bad", "web"], long_stop());
    assert!(rounds(&lab) > begun + 10, "the service stood still");
    assert_eq!(lab.boards[1].log().matches("node alpha: is dead").count(), 0);
    assert_eq!(lab.boards[1].log().matches("Late heartbeat").count(), 0, "the engine never waits");
    assert!(!lab.boards[0].log().contains("lines of the guardian were dropped"));
    lab.boards[0].signal("logger", SIGCONT);
    lab.wait("what was dropped is told", |lab| {
        // The next line of a process tells of those before it.
        let _ = lab.boards[0].nullbeat(&["status"]);
        lab.boards[0].log().contains("log lines of the guardian were dropped: the log pipe was full")
    });
    lab.assert_exclusive();
}

/// A number of `status --json`.
fn counter(lab: &Lab, index: usize, name: &str) -> u64 {
    let status = lab.boards[index].status_json();
    let (_, rest) = status.split_once(&format!("\"{name}\": ")).unwrap_or_else(|| panic!("no {name} in {status}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

/// Sends each once, and waits until at least as many are counted under this name.
#[track_caller]
fn send_and_count(lab: &Lab, packets: &[Vec<u8>], name: &str) {
    let before = counter(lab, 0, name);
    let socket = tap::sender(lab.lan(), &format!("{}:694", lab.boards[0].address));
    packets.iter().for_each(|packet| assert!(socket.send(packet).is_ok()));
    let sent = u64::try_from(packets.len()).expect("few");
    lab.wait(&format!("`{name}` counts {sent} packets"), |lab| counter(lab, 0, name) >= before + sent);
}

#[test]
fn reflected_repeated_and_earlier_packets_are_refused_and_counted() {
    // Of the compact format tests/compact_pair.rs tells.
    let mut lab = at_home("protocol heartbeat");
    let ears = [0, 1].map(|index| Tap::open(lab.lan(), &lab.boards[index].address));
    lab.wait("enough is heard", |_| ears.iter().all(|tap| tap.heard().len() >= 20));
    let [ours, theirs] = ears.map(|tap| tap.heard());
    send_and_count(&lab, &ours, "own");
    let numbered: Vec<Vec<u8>> =
        theirs.iter().filter(|packet| packet.windows(5).any(|at| at == b"\nseq=")).cloned().collect();
    send_and_count(&lab, &numbered, "stale");
    // The partner's board without power, and started again: what it said in its earlier boot.
    lab.power_off(1);
    lab.wait_owner(0, &["web", "mail"]);
    lab.boards[1].power_on();
    lab.boards[1].start();
    lab.wait_owner(1, &["mail"]);
    send_and_count(&lab, &theirs, "replays");
    lab.assert_stays(0, &["web"], Duration::from_secs(1));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    assert_eq!(counter(&lab, 0, "impostors"), 0);
    lab.assert_exclusive();
}
