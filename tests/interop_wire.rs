//! Keys, formats and compression between one nullbeat (alpha) and one packaged Heartbeat 3.0.6 (beta).

mod lab;

use std::time::{Duration, SystemTime};

use lab::Lab;
use lab::tap::Tap;

const NULLBEAT: usize = 0;
const HEARTBEAT: usize = 1;

/// What must not be in any log, apart from nodes that do not exist.
const CALAMITIES: [&str; 5] =
    ["node alpha: is dead", "node beta: is dead", "Late heartbeat", "Bad packet", "ncompress"];

/// A mixed pair with these lines more in the ha.cf of each, on Ethernet alone: there 3.0.6 is choosy about keys.
fn on_ethernet(extra: [&str; 2]) -> Lab {
    let lab = Lab::mixed(lab::AT_HOME);
    for (board, extra) in lab.boards.iter().zip(extra) {
        let path = board.config_dir().join("ha.cf");
        let text = std::fs::read_to_string(&path).expect("ha.cf");
        let kept = text.lines().filter(|line| !line.starts_with("serial ") && !line.starts_with("baud "));
        let text: Vec<&str> = kept.chain(extra.lines()).collect();
        std::fs::write(path, text.join("\n") + "\n").expect("ha.cf");
    }
    lab
}

fn start(lab: &mut Lab) {
    lab.start_both();
    wait_home(lab);
}

#[track_caller]
fn wait_home(lab: &Lab) {
    lab.wait_owner(NULLBEAT, &["web"]);
    lab.wait_owner(HEARTBEAT, &["mail"]);
}

/// Nobody was declared dead, and nothing moved but what each node started first.
#[track_caller]
fn assert_calm(lab: &Lab) {
    for board in &lab.boards {
        let log = board.log();
        let bad: Vec<&str> = log.lines().filter(|line| CALAMITIES.iter().any(|words| line.contains(words))).collect();
        assert_eq!(bad, Vec::<&str>::new(), "on {}", board.name);
    }
    for (node, group) in [("alpha", "web"), ("beta", "mail")] {
        assert_eq!(
            (lab.observer.count(node, group, "start-begin"), lab.observer.count(node, group, "stop-begin")),
            (1, 0)
        );
    }
    lab.assert_exclusive();
}

/// Writes authkeys with a time of change that 3.0.6 notices: it looks at whole seconds.
fn roll(lab: &Lab, index: usize, text: &str, step: u64) {
    let board = &lab.boards[index];
    board.authkeys(text);
    let file = std::fs::File::open(board.config_dir().join("authkeys")).expect("authkeys");
    file.set_modified(SystemTime::now() + Duration::from_secs(10 * step)).expect("its time");
    board.reload();
}

#[track_caller]
fn wait_signing(lab: &Lab, key: u8) {
    let words = format!("\"signing_key\": {key},");
    lab.wait(&words, |lab| lab.boards[NULLBEAT].status_json().contains(&words));
}

#[test]
fn keys_are_rolled_over_one_node_at_a_time_without_a_death() {
    let both = |auth| format!("auth {auth}\n1 sha1 an-old-key\n2 md5 a-new-key\n");
    let mut lab = on_ethernet(["", ""]);
    lab.boards[NULLBEAT].authkeys(&both(2));
    lab.boards[HEARTBEAT].authkeys(&both(1));
    start(&mut lab);
    wait_signing(&lab, 1);
    // Heartbeat first: the next one of its statuses tells.
    roll(&lab, HEARTBEAT, &both(2), 1);
    wait_signing(&lab, 2);
    lab.assert_stays(NULLBEAT, &["web"], Duration::from_secs(4));
    // Then ours, to whatever: a new engine begins with the file's key and learns.
    roll(&lab, NULLBEAT, &both(1), 2);
    wait_signing(&lab, 2);
    lab.assert_stays(NULLBEAT, &["web"], Duration::from_secs(4));
    roll(&lab, HEARTBEAT, &both(1), 3);
    wait_signing(&lab, 1);
    // The end of a rollover: the old key goes.
    roll(&lab, NULLBEAT, "auth 1\n1 sha1 an-old-key\n", 4);
    lab.assert_stays(HEARTBEAT, &["mail"], Duration::from_secs(4));
    assert_calm(&lab);
    // What is under way while a key changes is lost, and what a new engine says before it has heard anything.
    let unheard = unauthentic(&lab);
    assert!(unheard < 50, "{unheard} messages were not heard");
}

/// Packets that Heartbeat has refused because of their signature.
fn unauthentic(lab: &Lab) -> usize {
    lab.boards[HEARTBEAT].log().matches("authentication failed").count()
}

/// Each asks the other one for the list of nodes, which is longer than a kilobyte; without the answer to its question a
/// Heartbeat never becomes active.
fn long_lists_are_understood_both_ways(extra: [&str; 2]) {
    const PACKED: &[u8] = b"(1)_compressed_payload=";
    let absent: String = (0..10).map(|n| format!("node {}{n}\n", "n".repeat(98))).collect();
    let common = format!("traditional_compression on\ncompression_threshold 1\n{absent}");
    let mut lab = on_ethernet(extra.map(|extra| format!("{extra}\n{common}")).each_ref().map(String::as_str));
    for board in &mut lab.boards {
        board.power_on();
    }
    let taps = [NULLBEAT, HEARTBEAT].map(|index| Tap::open(lab.lan(), &lab.boards[index].address));
    for board in &mut lab.boards {
        board.start();
    }
    wait_home(&lab);
    for (tap, board) in taps.iter().zip(&lab.boards) {
        lab.wait(&format!("{} packs something", board.name), |_| {
            tap.heard().iter().any(|datagram| datagram.windows(PACKED.len()).any(|bytes| bytes == PACKED))
        });
    }
    // 3.0.6 says some things in another order than it counts them; what was not understood would stay missing for ever.
    lab.wait("nothing is missing", |lab| {
        let log = lab.boards[NULLBEAT].log();
        log.matches("lost packet(s) for [beta]").count() == log.matches("No pkts missing from beta!").count()
    });
    lab.assert_stays(HEARTBEAT, &["mail"], Duration::from_secs(3));
    assert_calm(&lab);
    assert_eq!(unauthentic(&lab), 0);
    let links = String::from_utf8_lossy(&lab.boards[NULLBEAT].nullbeat(&["links", "--json"]).stdout).into_owned();
    assert!(links.contains("\"rejects\"") && !links.contains("\"reason\""), "{links}");
}

#[test]
fn classic_heartbeat_with_zlib_and_a_netstring_nullbeat_understand_each_other() {
    long_lists_are_understood_both_ways(["msgfmt netstring", "msgfmt classic\ncompression zlib"]);
}

#[test]
fn netstring_heartbeat_with_bz2_and_a_classic_nullbeat_understand_each_other() {
    long_lists_are_understood_both_ways(["msgfmt classic", "msgfmt netstring\ncompression bz2"]);
}
