//! Every network medium between two real daemons: up, cut, healed; interfaces that vanish and come back; lost packets.

mod lab;

use std::time::Duration;

use lab::{AT_HOME, Board, Lab, in_netns};

/// Lines of ha.cf for every network medium, all on one interface and, where there is a choice, one port.
const WORDS: [&str; 5] = ["ucast", "bcast", "mcast", "ucast6", "mcast6"];

/// The line of a medium, as this board needs it.
fn line(lab: &Lab, board: &Board, word: &str) -> String {
    let peer = &lab.boards[1 - board.index];
    match word {
        "ucast" => format!("ucast ens33 {}\n", peer.address),
        "bcast" => "bcast ens33\n".to_owned(),
        "mcast" => "mcast ens33 225.0.0.1 694 3 1\n".to_owned(),
        "ucast6" => format!("ucast6 ens33 {}%ens33\n", peer.address6),
        "mcast6" => "mcast6 ens33 ff02::694 694 2 0\n".to_owned(),
        other => panic!("no medium {other}"),
    }
}

/// What keeps the datagrams of a medium from passing the switch.
fn filter(word: &str) -> &'static str {
    match word {
        "ucast" => "ip daddr { 192.168.231.131, 192.168.231.132 } udp dport 694 drop",
        "bcast" => "ip daddr 192.168.231.255 drop",
        "mcast" => "ip daddr 225.0.0.1 drop",
        "ucast6" => "ip6 daddr { fe80::231:131, fe80::231:132 } udp dport 694 drop",
        "mcast6" => "ip6 daddr ff02::694 drop",
        other => panic!("no medium {other}"),
    }
}

/// The configuration with these media instead of its own; `serial` among them is the usual line.
fn configure(lab: &Lab, words: &[&str]) {
    let is_mixed = lab.boards.iter().any(|board| board.heartbeat.is_some());
    for board in &lab.boards {
        let usual = if is_mixed { lab.shared_ha_cf(board) } else { lab.usual_ha_cf(board, "") };
        let is_kept = |line: &&str| match line.split(' ').next() {
            Some("ucast" | "reset_with") => false,
            Some("serial") => words.contains(&"serial"),
            _ => true,
        };
        let mut ha_cf: String = usual.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
        if board.heartbeat.is_none() {
            ha_cf += &format!("reset_with hook {}\n", board.reset_hook().display());
        }
        ha_cf.extend(words.iter().filter(|word| **word != "serial").map(|word| line(lab, board, word)));
        board.configure(&ha_cf, AT_HOME);
    }
}

/// Which links are up, in the order of ha.cf.
fn links_up(board: &Board) -> Vec<bool> {
    board.status_json().split("\"is_up\": ").skip(1).map(|rest| rest.starts_with("true")).collect()
}

#[track_caller]
fn wait_links(lab: &Lab, why: &str, expected: &[bool]) {
    lab.wait(why, |lab| lab.boards.iter().all(|board| links_up(board) == expected));
}

/// A filter at the switch, with this rule for what passes it.
fn filter_at_switch(lab: &Lab, rule: &str) {
    let text = format!("table bridge cut {{ chain forward {{ type filter hook forward priority 0; {rule}; }}; }}");
    in_netns(lab.lan(), &["nft", &text]);
}

fn heal(lab: &Lab) {
    in_netns(lab.lan(), &["nft", "delete table bridge cut"]);
}

/// A counter of `status --json`.
fn counter(board: &Board, name: &str) -> u64 {
    let json = board.status_json();
    let rest = json.split(&format!("\"{name}\": ")).nth(1).unwrap_or_else(|| panic!("no {name} in {json}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

/// Nothing has moved, no daemon has started anew, nobody was taken for dead.
#[track_caller]
fn assert_undisturbed(lab: &Lab) {
    lab.assert_stays(0, &["web"], Duration::from_millis(1));
    lab.assert_stays(1, &["mail"], Duration::from_millis(1));
    for board in &lab.boards {
        let log = board.log();
        assert!(!log.contains("is dead"), "{log}");
        assert_eq!(log.matches("Local status now set to: 'up'").count(), 1, "{log}");
        assert!(!log.contains("calls itself"), "own packets taken for somebody else's\n{log}");
    }
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1);
    assert_eq!(lab.observer.count("beta", "mail", "start-begin"), 1);
    lab.assert_exclusive();
}

#[test]
fn each_medium_is_a_link_of_its_own_on_one_interface_and_port() {
    let mut lab = Lab::new(["alpha", "beta"]);
    configure(&lab, &WORDS);
    lab.start_both();
    lab.wait_at_home();
    wait_links(&lab, "all links are up", &[true; 5]);
    for (index, word) in WORDS.iter().enumerate() {
        filter_at_switch(&lab, filter(word));
        let expected: Vec<bool> = (0..5).map(|other| other != index).collect();
        wait_links(&lab, &format!("{word} is dead and the others are not"), &expected);
        heal(&lab);
        wait_links(&lab, &format!("{word} is up again"), &[true; 5]);
    }
    // TTL 3 and hop limit 2 leave the board as they are configured.
    filter_at_switch(&lab, "ip daddr 225.0.0.1 ip ttl != 3 drop; ip6 daddr ff02::694 ip6 hoplimit != 2 drop");
    let before: Vec<u64> = lab.boards.iter().map(|board| counter(board, "own")).collect();
    // Two beats a second and more come back from each of bcast and mcast, none from mcast6.
    lab.wait("own packets are counted", |lab| {
        lab.boards.iter().zip(&before).all(|(board, before)| counter(board, "own") >= before + 10)
    });
    wait_links(&lab, "all links are up", &[true; 5]);
    for board in &lab.boards {
        assert_eq!(counter(board, "impostors"), 0);
        let log = board.log();
        for words in [
            "glib: ucast: started on port 694 interface ens33 to 192.168.231.13",
            "glib: UDP Broadcast heartbeat started on port 694 (694) interface ens33",
            "glib: UDP multicast heartbeat started for group 225.0.0.1 port 694 interface ens33 (ttl=3 loop=1)",
            "%ens33]:694 on interface ens33",
            "glib: UDP multicast heartbeat started for [ff02::694]:694 on interface ens33 (hops=2 loop=0)",
        ] {
            assert_eq!(log.matches(words).count(), 1, "{words} once in\n{log}");
        }
    }
    assert_undisturbed(&lab);
}

#[test]
fn interface_that_goes_and_comes_back_works_again_on_every_medium() {
    let mut lab = Lab::new(["alpha", "beta"]);
    let words: Vec<&str> = ["serial"].into_iter().chain(WORDS).collect();
    configure(&lab, &words);
    lab.start_both();
    lab.wait_at_home();
    let serial_only = [true, false, false, false, false, false];
    wait_links(&lab, "all links are up", &[true; 6]);
    let board = &lab.boards[0];

    board.in_network(&["ip", "link", "set", "ens33", "down"]);
    wait_links(&lab, "the interface is down", &serial_only);
    let log = board.log();
    for (word, to) in [
        ("ucast", " 192.168.231.132:694"),
        ("bcast", " 192.168.231.255:694"),
        ("mcast", " 225.0.0.1:694"),
        ("ucast6", "[fe80::231:132%ens33]:694"),
        ("mcast6", "[ff02::694]:694"),
    ] {
        // In Heartbeat's words.
        let failure = format!("ERROR: glib: {word}_write: Unable to send HBcomm packet ens33{to} len=");
        assert!(log.contains(&failure), "{failure} in\n{log}");
    }
    board.in_network(&["ip", "link", "set", "ens33", "up"]);
    // The kernel forgets IPv6 addresses of an interface that is down.
    board.in_network(&["ip", "addr", "add", &format!("{}/64", board.address6), "dev", "ens33", "nodad"]);
    wait_links(&lab, "the interface is up again", &[true; 6]);

    board.in_network(&["ip", "addr", "flush", "dev", "ens33"]);
    // It may still hear groups, which need no address.
    lab.wait("nobody hears an interface without address", |lab| links_up(&lab.boards[1]) == serial_only);
    board.add_addresses();
    wait_links(&lab, "the interface has its addresses again", &[true; 6]);

    board.in_network(&["ip", "link", "del", "ens33"]);
    wait_links(&lab, "the interface is gone", &serial_only);
    board.add_ethernet();
    wait_links(&lab, "a new interface has its name", &[true; 6]);

    // One that has the number of the old one, too: sockets seem sound and are members of nothing.
    let number = board.on_board(&["cat", "/sys/class/net/ens33/ifindex"]).stdout;
    let number = String::from_utf8_lossy(&number).trim().to_owned();
    board.in_network(&["ip", "link", "del", "ens33"]);
    board.add_ethernet_numbered(Some(&number));
    wait_links(&lab, "a new interface has its name and number", &[true; 6]);

    assert_undisturbed(&lab);
    // IPv4 links notice at the first beat, unless the new interface is there before; each tells once, not with each attempt.
    let told = board.log().matches("Link device ens33 is lost").count();
    assert!((3..=8).contains(&told), "{told} times\n{}", board.log());
}

#[test]
fn start_does_not_wait_for_an_interface_and_uses_it_when_it_is_there() {
    let mut lab = Lab::new(["alpha", "beta"]);
    configure(&lab, &["serial", "bcast", "mcast", "ucast6", "mcast6"]);
    for board in &mut lab.boards {
        board.power_on();
    }
    lab.boards[0].in_network(&["ip", "link", "del", "ens33"]);
    for board in &mut lab.boards {
        board.start();
    }
    lab.wait_at_home();
    wait_links(&lab, "serial works", &[true, false, false, false, false]);
    let log = lab.boards[0].log();
    assert_eq!(log.matches("Link device ens33 cannot be opened: No such device; trying on").count(), 4, "{log}");
    lab.boards[0].add_ethernet();
    wait_links(&lab, "the interface has come", &[true; 5]);
    let log = lab.boards[0].log();
    assert_eq!(log.matches("Link device ens33 works again").count(), 4, "{log}");
    assert_undisturbed(&lab);
}

/// How long each medium has to carry the mixed pair alone: longer than its dead time of 3 s.
const ALONE: Duration = Duration::from_secs(4);

#[test]
fn heartbeat_and_nullbeat_talk_over_each_medium_alone() {
    let mut lab = Lab::new(["alpha", "beta"]);
    lab.boards[1].use_heartbeat();
    configure(&lab, &WORDS);
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab.wait("all links are up", |lab| links_up(&lab.boards[0]) == [true; 5]);
    for (index, word) in WORDS.iter().enumerate() {
        let others: Vec<&str> = WORDS.iter().filter(|other| *other != word).map(|other| filter(other)).collect();
        filter_at_switch(&lab, &others.join("; "));
        let expected: Vec<bool> = (0..5).map(|other| other == index).collect();
        lab.wait(&format!("{word} alone is up"), |lab| links_up(&lab.boards[0]) == expected);
        lab.assert_stays(0, &["web"], ALONE);
        heal(&lab);
        lab.wait("all links are up", |lab| links_up(&lab.boards[0]) == [true; 5]);
    }
    lab.assert_stays(1, &["mail"], Duration::from_millis(1));
    for board in &lab.boards {
        assert!(!board.log().contains("is dead"), "{}", board.log());
    }
    assert!(lab.boards[1].log().contains("Link alpha:ens33 up."), "{}", lab.boards[1].log());
    lab.assert_exclusive();
}

/// How long packets are lost: with `tests/run --all` a minute.
fn lossy_time() -> Duration {
    let is_long = std::env::var("TEST_LANE").is_ok_and(|lane| lane == "all");
    Duration::from_secs(if is_long { 60 } else { 12 })
}

/// A pair on these media loses packets by this rule at the switch: nobody is taken for dead, nothing moves, and what was
/// lost has come in the end.
fn lose(words: &[&str], deadtime: &str, rule: &str) {
    let mut lab = Lab::new(["alpha", "beta"]);
    configure(&lab, words);
    for board in &lab.boards {
        let ha_cf = board.config_dir().join("ha.cf");
        let text = std::fs::read_to_string(&ha_cf).expect("ha.cf");
        let text = text.replace("deadtime 1\n", &format!("deadtime {deadtime}\n"));
        std::fs::write(&ha_cf, text.replace("initdead 4\n", "initdead 12\n")).expect("ha.cf");
    }
    lab.start_both();
    lab.wait_at_home();
    wait_links(&lab, "all links are up", &vec![true; words.len()]);
    filter_at_switch(&lab, rule);
    lab.assert_stays(0, &["web"], lossy_time());
    lab.assert_stays(1, &["mail"], Duration::from_millis(1));
    // Asking and answering get lost, too; nothing may be left missing for good.
    heal(&lab);
    lab.wait("what was missing has come", |lab| {
        let mut logs = lab.boards.iter().map(Board::log);
        logs.all(|log| log.rfind("lost packet(s) for").is_none_or(|lost| log[lost..].contains("No pkts missing from")))
    });
    for (board, partner) in lab.boards.iter().zip(lab.boards.iter().rev()) {
        // What is said again before anybody asks for it has been lost as well.
        let (heard, sent) = (board.received()[0], counter(partner, "sent"));
        assert!(heard * 100 < sent * 95, "{} has heard {heard} of {sent}: nothing was lost", board.name);
        assert_eq!(counter(board, "irretrievable"), 0);
    }
    assert_undisturbed(&lab);
}

#[test]
fn every_fifth_packet_lost_on_the_only_link_and_nobody_is_dead_at_five_keepalives() {
    lose(&["ucast"], "1", "udp dport 694 numgen inc mod 5 == 0 drop");
}

#[test]
fn a_quarter_lost_at_random_on_each_of_two_links_and_nobody_is_dead_at_five_keepalives() {
    // On one link five beats in a row would be lost once in a few minutes, and no daemon could tell that from a death.
    lose(&["ucast", "mcast"], "1", "udp dport 694 numgen random mod 100 < 27 drop");
}

#[test]
fn two_fifths_lost_at_random_on_the_only_link_and_nobody_is_dead_at_twenty_keepalives() {
    lose(&["ucast6"], "4", "udp dport 694 numgen random mod 100 < 40 drop");
}
