//! The package's own checks, run on a board where nullbeat has taken the place of Heartbeat's program and of `cl_status`:
//! TestHeartbeatComm (spec/api.md 10.4) and BasicSanityCheck (10.1 to 10.3).

mod lab;

use std::process::Output;

use lab::Lab;
use lab::evidence::{saw, saw_parts};

const COMM: &str = "/usr/share/heartbeat/TestHeartbeatComm";
/// The board on which nullbeat has taken the place of Heartbeat's program.
const OURS: usize = 0;
const THEIRS: usize = 1;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The package's TestHeartbeatComm on our board.
#[track_caller]
fn comm(lab: &Lab, words: &[&str]) -> String {
    let output = lab.boards[OURS].heartbeat_tool("TestHeartbeatComm", words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output));
    text(&output)
}

/// Waits for these lines behind what was in the log before.
#[track_caller]
fn await_log(lab: &Lab, from: usize, lines: &[&str]) {
    for line in lines {
        lab.wait(line, |lab| lab.boards[OURS].log().get(from..).is_some_and(|log| log.contains(line)));
    }
}

#[track_caller]
fn await_partner(lab: &Lab, status: &str) {
    lab.wait(status, |lab| {
        let output = lab.boards[OURS].on_board(&["/usr/bin/cl_status", "nodestatus", "beta"]);
        String::from_utf8_lossy(&output.stdout).trim() == status
    });
}

#[test]
fn test_heartbeat_comm_cuts_communication_and_mends_it() {
    // No group: both sides would own it.
    let mut lab = Lab::swapped("");
    assert_eq!(lab.boards[OURS].heartbeat(&[]).status.code(), Some(0));
    lab.boards[THEIRS].start();
    await_partner(&lab, "active");

    let before = lab.boards[OURS].log().len();
    comm(&lab, &["break-communication", "alpha"]);
    let told = [
        "WARNING: Enabling Test Code",
        "Receive loss probability = 1.000",
        "Xmit loss probability = 1.000",
        "Allow nodes = alpha;",
        "WARNING: Above Options Now Enabled.",
        "node beta: is dead",
    ];
    await_log(&lab, before, &told);
    await_partner(&lab, "dead");
    let said = lab.boards[OURS].log().split_off(before);
    saw_parts(COMM, "`break-communication alpha`: what nullbeat logs", &told, &said);

    let before = lab.boards[OURS].log().len();
    let fixed = comm(&lab, &["fix-communication"]);
    await_log(&lab, before, &["Test Code Now disabled."]);
    await_partner(&lab, "active");
    let said = fixed + &lab.boards[OURS].log().split_off(before);
    let parts = ["DeleteTestFileOK", "Test Code Now disabled."];
    saw_parts(COMM, "`fix-communication`: what it says, what nullbeat logs", &parts, &said);

    let before = lab.boards[OURS].log().len();
    comm(&lab, &["reduce-communication", "0.125", "0.25", "beta"]);
    let told = ["Receive loss probability = 0.250", "Xmit loss probability = 0.125", "Allow nodes = beta;"];
    await_log(&lab, before, &told);
    await_partner(&lab, "active");
    let said = lab.boards[OURS].log().split_off(before);
    saw_parts(COMM, "`reduce-communication 0.125 0.25 beta`: what nullbeat logs", &told, &said);
    assert_eq!(lab.boards[OURS].heartbeat(&["-k"]).status.code(), Some(0));
}

/// What BasicSanityCheck needs of a machine: the programs where it looks for them, ours in the places of the services
/// beside the daemon, an interface `eth0` with a default
/// route, and files in `/tmp` that are the board's alone.
const SURROUNDINGS: &str = r#"set -e
exec 3<"$1" # it may lie in /tmp
mount -t tmpfs tmpfs /tmp
mkdir -p /run/resource-agents /run/heartbeat/rsctmp /tmp/lib
cp -a /usr/lib/heartbeat/. /tmp/lib
for program in ccm ipfail apphbtest; do ln -sf /usr/libexec/heartbeat/$program /tmp/lib/$program; done
cat <&3 >/tmp/lib/nullbeat
chmod 755 /tmp/lib/nullbeat
for program in apphbd ha_logd; do ln -sf nullbeat /tmp/lib/$program; done
mount --bind /tmp/lib /usr/lib/heartbeat
rm -f /etc/ha.d/ha.cf /etc/ha.d/haresources /etc/ha.d/authkeys
ip link add eth0 type veth peer name eth0p
ip link set eth0p up
ip addr add 192.168.77.2/24 dev eth0
ip link set eth0 up
ip route add default via 192.168.77.1 dev eth0
"#;

/// The check writes its own ha.cf, without `reset_with hook`: what it starts cannot reset the machine.
const CHECK: [&str; 5] =
    ["setpriv", "--bounding-set=-sys_boot", "--inh-caps=-sys_boot", "--", "/usr/share/heartbeat/BasicSanityCheck"];

/// What the surroundings of the original bring about, whatever the daemon (spec/api.md 10.3).
fn is_of_the_surroundings(line: &str) -> bool {
    const KNOWN: [&str; 3] = ["monitor operation failed", "NULL reset failed", "OOPS! Looks like we had some errors"];
    KNOWN.iter().any(|known| line.contains(known))
}

#[test]
#[ignore = "80 s: tests/run --all"]
fn basic_sanity_check_finds_no_fault_of_ours() {
    let lab = Lab::swapped("");
    let board = &lab.boards[OURS];
    let output = board.on_board(&["sh", "-c", SURROUNDINGS, "sh", lab::NULLBEAT]);
    assert!(output.status.success(), "{}", text(&output));
    let output = board.on_board(&CHECK);
    let said = text(&output);
    let log = String::from_utf8(board.on_board(&["cat", "/tmp/linux-ha.testlog"]).stdout).expect("text");
    // Two of the surroundings, and one for its last look into the log, where a helper has written CRITICAL.
    assert_eq!(output.status.code(), Some(3), "{said}\n{log}");
    let what = "nullbeat in the places of heartbeat, cl_status, apphbd and ha_logd: errors, three by its own helpers";
    let code = output.status.code().unwrap_or_default();
    saw("/usr/share/heartbeat/BasicSanityCheck", what, "3", &code.to_string());
    let complaints = ["failed", "Does not look like", "OOPS", "not successful"];
    for line in said.lines() {
        assert!(
            is_of_the_surroundings(line) || !complaints.iter().any(|bad| line.contains(bad)),
            "{line}\n{said}\n{log}"
        );
    }
    for line in log.lines().filter(|line| line.contains(" heartbeat: [") || line.contains(" apphbd: [")) {
        assert!(!line.contains("ERROR:") && !line.contains("CRIT:"), "{line}\n{log}");
    }
    for line in
        ["node imalwaysdead.com: is dead", "node imalwaysdead.com now reset", "Performing heartbeat restart exec"]
    {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert_eq!(log.matches("to reread config files").count(), 2, "{log}");
    assert!(log.contains("Starting child client \"/usr/lib/heartbeat/ccm\""), "{log}");
}
