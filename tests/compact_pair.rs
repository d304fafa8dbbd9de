//! Two daemons that change over to the compact format, and what cannot make them.

mod lab;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use lab::{AT_HOME, Board, Lab};
use nix::fcntl::OFlag;
use nix::sys::signal::Signal::SIGKILL;
use nix::sys::termios::{SpecialCharacterIndices::VMIN, tcgetattr};
use nullbeat::wire::compact::LINE_MIN;

const LINKS: usize = 2;

/// On how many links a board says this format.
fn says(board: &Board, format: &str) -> usize {
    board.status_json().matches(&format!("\"format\": \"{format}\"")).count()
}

#[track_caller]
fn wait_format(lab: &Lab, index: usize, format: &str) {
    lab.wait(format, |lab| says(&lab.boards[index], format) == LINKS);
}

/// Nobody was declared dead, nor late.
#[track_caller]
fn assert_calm(lab: &Lab) {
    for board in &lab.boards {
        let log = board.log();
        let bad = |line: &&str| ["is dead", "Late heartbeat", "lost packet"].iter().any(|words| line.contains(words));
        assert_eq!(log.lines().filter(bad).collect::<Vec<_>>(), Vec::<&str>::new(), "on {}", board.name);
    }
}

#[test]
fn pair_changes_over_by_itself_and_does_all_of_it_in_the_compact_format() {
    let mut lab = Lab::at_home("");
    (0..2).for_each(|index| wait_format(&lab, index, "compact"));
    assert_calm(&lab);
    // What waited for the line has left, and then nothing is Heartbeat's any more: what comes over the cable from now on has no
    // beginning of a message.
    let is_text = |bytes: &[u8]| bytes.windows(4).any(|bytes| bytes == b">>>\n");
    lab.wait("frames only", |lab| lab.modem.said(0).last_chunk::<600>().is_some_and(|last| !is_text(last)));
    let before = lab.modem.said(0).len();
    lab.wait("many frames", |lab| lab.modem.said(0).len() > before + 600);
    assert!(!is_text(&lab.modem.said(0)[before..]), "text is said on the cable");

    let output = lab.boards[0].nullbeat(&["standby"]);
    assert!(output.status.success(), "{output:?}");
    lab.wait_owner(1, &["web", "mail"]);
    let output = lab.boards[0].nullbeat(&["takeover"]);
    assert!(output.status.success(), "{output:?}");
    lab.wait_owner(0, &["web", "mail"]);
    let output = lab.boards[0].nullbeat(&["failback"]);
    assert!(output.status.success(), "{output:?}");
    lab.wait_at_home();
    assert_calm(&lab);
    assert_eq!((0..2).map(|index| says(&lab.boards[index], "compact")).sum::<usize>(), 2 * LINKS);

    lab.power_off(0);
    lab.wait_owner(1, &["web", "mail"]);
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_at_home();
    (0..2).for_each(|index| wait_format(&lab, index, "compact"));
    lab.assert_exclusive();
}

#[test]
fn engine_that_is_replaced_costs_no_beat_and_changes_over_again() {
    let lab = Lab::at_home("");
    (0..2).for_each(|index| wait_format(&lab, index, "compact"));
    let sessions = |lab: &Lab| lab.boards[1].log().matches("has started anew").count();
    lab.boards[0].signal("engine", SIGKILL);
    lab.wait("the new run is noticed", |lab| sessions(lab) == LINKS);
    (0..2).for_each(|index| wait_format(&lab, index, "compact"));
    lab.wait("both have settled", |lab| lab.boards.iter().all(Board::is_settled));
    assert!(!lab.boards[1].log().contains("is dead"), "{}", lab.boards[1].log());
    assert_eq!(lab.observer.count("alpha", "web", "stop-begin"), 0);
}

#[test]
fn engine_that_is_replaced_and_comes_to_no_session_keeps_no_role() {
    let mut lab = Lab::usual("", AT_HOME);
    for board in &lab.boards {
        let ha_cf = lab.serial_ha_cf(board, "protocol compact");
        board.configure(&ha_cf.replace("deadtime 1\ninitdead 4", "deadtime 8\ninitdead 8"), AT_HOME);
    }
    lab.start_both();
    lab.wait_at_home();
    // From its last beat on nobody hears alpha, and its new engine calls in vain.
    lab.modem.cut(true);
    lab.boards[0].signal("engine", SIGKILL);
    lab.wait("alpha lets go", |lab| lab.observer.count("alpha", "web", "stop-end") == 1);
    lab.wait("beta takes over", |lab| lab.runners("web") == [1]);
    lab.modem.cut(false);
    lab.wait_at_home();
    lab.assert_exclusive();
}

/// A slow cable alone, and what else is said.
fn slow_cable(lab: &Lab, board: &Board, lines: &str) -> String {
    let ha_cf = lab.usual_ha_cf(board, lines);
    let (cable, rest) = ha_cf.split_once("ucast ").expect("a second link");
    let rest = rest.split_once("auto_failback").expect("a line behind it").1;
    let ha_cf = format!("{cable}auto_failback{rest}").replace("baud 115200", "baud 9600");
    ha_cf.replace("keepalive 200ms\nwarntime 500ms\ndeadtime 1\ninitdead 4", "keepalive 1\ndeadtime 4\ninitdead 10")
}

#[test]
fn reload_puts_protocol_compact_on_an_owner_or_is_refused_and_stops_nothing() {
    let mut lab = Lab::usual("", AT_HOME);
    for board in &lab.boards {
        board.configure(&slow_cable(&lab, board, ""), AT_HOME);
    }
    lab.start_both();
    lab.wait_at_home();
    for index in 0..2 {
        lab.boards[index].configure(&slow_cable(&lab, &lab.boards[index], "protocol compact"), AT_HOME);
        lab.boards[index].reload();
        lab.wait("a session", |lab| says(&lab.boards[index], "compact") == 1);
    }
    // A call and its answer take 208 ms; of half a second an engine has 188.
    let ha_cf = slow_cable(&lab, &lab.boards[0], "protocol compact");
    let quick = ha_cf.replace("keepalive 1\ndeadtime 4", "keepalive 100ms\ndeadtime 500ms");
    lab.boards[0].configure(&quick, AT_HOME);
    assert_eq!(lab.boards[0].nullbeat(&["reload"]).status.code(), Some(1), "{}", lab.boards[0].log());
    lab.wait("the reason in the log", |lab| lab.boards[0].log().contains("The groups would be stopped"));
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    assert_eq!(lab.observer.count("alpha", "web", "stop-begin"), 0);
    assert_eq!(lab.observer.count("beta", "mail", "stop-begin"), 0);
    lab.assert_exclusive();
}

#[test]
fn node_that_is_set_to_compact_takes_nothing_else() {
    let mut lab = Lab::usual("protocol compact", AT_HOME);
    lab.start_both();
    lab.wait_at_home();
    (0..2).for_each(|index| wait_format(&lab, index, "compact"));
    assert!(!lab.modem.said(0).windows(4).any(|bytes| bytes == b">>>\n"), "text is said on the cable");
    // The other one speaks Heartbeat's format only, from now on: nobody is there.
    let text = std::fs::read_to_string(lab.boards[1].config_dir().join("ha.cf")).expect("ha.cf");
    lab.power_off(1);
    let ha_cf = text.replace("protocol compact", "protocol heartbeat");
    std::fs::write(lab.boards[1].config_dir().join("ha.cf"), ha_cf).expect("ha.cf");
    lab.wait_owner(0, &["web", "mail"]);
    lab.boards[1].power_on();
    lab.boards[1].start();
    lab.wait("its messages are refused", |lab| lab.boards[0].status_json().contains("\"reason\": \"bad_marker\""));
    assert!(
        lab.boards[0].status_json().contains("\"name\": \"beta\", \"status\": \"dead\""),
        "{}",
        lab.boards[0].status_json()
    );
}

#[test]
fn forged_and_recorded_messages_change_nothing_over() {
    let lab = Lab::at_home("");
    (0..2).for_each(|index| wait_format(&lab, index, "compact"));
    // All that alpha has ever said on the cable comes once more, and a text of a later run with a signature that does not fit.
    let recorded = lab.modem.said(0);
    lab.modem.inject(1, &recorded);
    let forged = b">>>\nt=status\nst=active\ndt=7530\nprotocol=1\nsrc=alpha\n(1)srcuuid=AAAAAAAAAAAAAAAAAAAAAA==\nseq=1\nhg=7fffffff\nts=7fffffff\nttl=3\nauth=1 0123456789012345678901234567890123456789\n<<<\n";
    lab.modem.inject(1, forged);
    // A frame with a good checksum and no key behind it.
    let mut frame = recorded.clone();
    frame.reverse();
    lab.modem.inject(1, &frame);
    let json = |lab: &Lab| lab.boards[1].status_json();
    lab.wait("they are refused", |lab| {
        json(lab).contains("\"reason\": \"bad_digest\"") && json(lab).contains("compact_")
    });
    assert_eq!(says(&lab.boards[1], "compact"), LINKS, "{}", json(&lab));
    assert!(!lab.boards[1].log().contains("has started anew"));
    assert_calm(&lab);
}

#[test]
fn links_beat_at_their_own_pace_and_a_cut_cable_makes_nobody_dead() {
    let mut lab = Lab::new(["alpha", "beta"]);
    for board in &lab.boards {
        let ha_cf = lab.usual_ha_cf(board, "").replace("flow none\n", "keepalive 50ms flow none\n");
        board.configure(&ha_cf.replace("\nauto_failback", " keepalive 400ms\nauto_failback"), AT_HOME);
    }
    lab.start_both();
    lab.wait_at_home();
    (0..2).for_each(|index| wait_format(&lab, index, "compact"));
    let json = lab.boards[0].status_json();
    assert!(json.contains("\"keepalive_ms\": 50,") && json.contains("\"keepalive_ms\": 400,"), "{json}");
    let before = lab.boards[0].received();
    lab.wait("many beats on the cable", |lab| lab.boards[0].received()[0] > before[0] + 200);
    let after = lab.boards[0].received();
    let (fast, slow) = (after[0] - before[0], after[1] - before[1]);
    assert!(slow > 3 && slow * 3 < fast, "{fast} on the cable, {slow} on the network");

    lab.modem.cut(true);
    let up = |lab: &Lab| {
        lab.boards.iter().map(|board| board.status_json().matches("\"is_up\": true").count()).sum::<usize>()
    };
    lab.wait("the cable is missed", |lab| up(lab) == LINKS);
    let before = lab.boards[0].received()[1];
    lab.wait("the network goes on", |lab| lab.boards[0].received()[1] > before + 10);
    lab.modem.cut(false);
    lab.wait("the cable is back", |lab| up(lab) == 2 * LINKS);
    let before = lab.boards[0].received()[0];
    lab.wait("it is fast again", |lab| lab.boards[0].received()[0] > before + 100);
    for board in &lab.boards {
        assert!(!board.log().contains("is dead"), "{}", board.log());
    }
}

/// A portion of a frame is no reason to wake; what noise leaves over does not hold the next frame back.
#[test]
fn line_at_rest_wakes_for_a_whole_frame_and_noise_keeps_none_from_being_read() {
    let mut lab = Lab::usual("protocol compact", AT_HOME);
    let line = File::options().read(true).custom_flags(OFlag::O_NOCTTY.bits()).open(lab.modem.device(1));
    let line = line.expect("root may");
    let portion = || usize::from(tcgetattr(&line).expect("a terminal").control_chars[VMIN as usize]);
    assert_eq!(portion(), 1);
    lab.start_both();
    lab.wait_at_home();
    lab.wait("it waits for frames", |_| portion() == LINE_MIN - 1);
    for noise in [&b"\x07"[..], b"login: ", &[0x55; 300], &[0; 3]] {
        lab.modem.inject(1, noise);
        let before = lab.boards[1].received()[0];
        lab.wait("beats on the line", |lab| lab.boards[1].received()[0] > before + 5);
        lab.wait("it waits for frames again", |_| portion() == LINE_MIN - 1);
    }
    assert!(lab.boards.iter().all(|board| !board.log().contains("is dead")), "{}", lab.boards[1].log());
}

/// Beats fill two thirds of such a line: what is asked for again because one was late takes the place of the next.
#[test]
fn line_that_is_nearly_full_of_beats_settles_after_the_start() {
    let mut lab = Lab::new(["alpha", "beta"]);
    for board in &lab.boards {
        let ha_cf = lab.usual_ha_cf(board, "protocol compact");
        let ha_cf = ha_cf.replace("keepalive 200ms\nwarntime 500ms\ndeadtime 1\n", "keepalive 45ms\ndeadtime 2\n");
        let ha_cf = ha_cf.lines().filter(|line| !line.starts_with("ucast")).collect::<Vec<_>>().join("\n");
        board.configure(&format!("{}\n", ha_cf.replace("baud 115200", "baud 9600")), AT_HOME);
    }
    lab.start_both();
    lab.wait_at_home();
    let requested = |board: &Board| {
        let json = board.status_json();
        let number = json.split("\"rexmit_requested\": ").nth(1).expect("a counter").split([',', '}']).next();
        number.and_then(|number| number.trim().parse::<u64>().ok()).expect("a number")
    };
    for index in 0..2 {
        let since = std::cell::Cell::new((u64::MAX, 0));
        lab.wait("nothing is asked for again over a hundred beats", |lab| {
            let (now, heard) = (requested(&lab.boards[index]), lab.boards[index].received()[0]);
            let (before, from) = since.get();
            if now != before {
                since.set((now, heard));
            }
            now == before && heard >= from + 100
        });
    }
    assert!(lab.boards.iter().all(|board| !board.log().contains("is dead")), "{}", lab.boards[0].log());
    let told = |lab: &Lab| lab.boards[0].nullbeat(&["history"]);
    lab.wait("each board knows what has happened to the other one", |lab| {
        String::from_utf8_lossy(&told(lab).stdout).lines().any(|line| line.contains(" beta ") && line.contains("group"))
    });
}
