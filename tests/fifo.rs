//! The package's own shell tools, unmodified, on a board that runs nullbeat: they speak by the FIFO.

mod lab;

use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use lab::evidence::saw;
use lab::{Board, Lab};

const BOTH: [&str; 2] = ["web", "mail"];

fn fifo(lab: &Lab, index: usize) -> PathBuf {
    lab.boards[index].dir.join("state/fifo")
}

/// A packaged tool on this board; its exit code.
fn tool(lab: &Lab, index: usize, name: &str, words: &[&str]) -> Option<i32> {
    let board = &lab.boards[index];
    // Every place that the tools know, bound over the machine's own for as long as the tool runs.
    let script = "mount --bind \"$1/ha.d\" /etc/ha.d && mount --bind \"$1/state\" /var/lib/heartbeat || exit 99\n\
                  shift; exec \"$@\"";
    let path = format!("/usr/share/heartbeat/{name}");
    let dir = board.dir.display().to_string();
    let all: Vec<&str> = ["unshare", "--mount", "sh", "-c", script, "sh", &dir, &path]
        .into_iter()
        .chain(words.iter().copied())
        .collect();
    board.on_board(&all).status.code()
}

/// What the packaged tools read beside the three files.
fn add_package_files(lab: &Lab) {
    for board in &lab.boards {
        for file in ["shellfuncs", "harc", "rc.d"] {
            let from = format!("/etc/ha.d/{file}");
            if std::path::Path::new(&from).exists() {
                lab::run("cp", &["-a", &from, &board.config_dir().to_string_lossy()]);
            }
        }
    }
}

fn write(lab: &Lab, index: usize, bytes: &[u8]) {
    let mut open = std::fs::OpenOptions::new();
    open.write(true).open(fifo(lab, index)).expect("the FIFO").write_all(bytes).expect("it is read");
}

fn counter(lab: &Lab, index: usize, name: &str) -> u64 {
    let text = lab.boards[index].status_json();
    let (_, digits) = text.split_once(&format!("\"{name}\": ")).unwrap_or_else(|| panic!("no {name} in {text}"));
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

/// Asks until the groups are where they shall be: a request is refused while the last move has not ended on both sides.
#[track_caller]
fn move_by(lab: &Lab, index: usize, name: &str, words: &[&str], web: usize, mail: usize) {
    lab.wait("both have settled", |lab| lab.boards.iter().all(Board::is_settled));
    assert_eq!(tool(lab, index, name, words), Some(0), "{name} {words:?}");
    lab.wait_owner(web, &["web"]);
    lab.wait_owner(mail, &["mail"]);
    let expected = format!("web on {}, mail on {}", lab.boards[web].name, lab.boards[mail].name);
    let owner = |group: &str| {
        let names: Vec<&str> = lab.owners(group).iter().map(|owner| lab.boards[*owner].name.as_str()).collect();
        format!("{group} on {}", names.join(" and "))
    };
    let command = [&[name], words].concat().join(" ");
    let what = format!("two nullbeats, `{command}` on {}", lab.boards[index].name);
    saw(&format!("/usr/share/heartbeat/{name}"), &what, &expected, &[owner("web"), owner("mail")].join(", "));
}

#[test]
fn packaged_tools_move_groups_with_each_of_their_words() {
    let lab = Lab::at_home("auto_failback off");
    add_package_files(&lab);
    let found = std::fs::symlink_metadata(fifo(&lab, 0)).expect("it is there");
    assert!(found.file_type().is_fifo() && found.mode() & 0o7777 == 0o600, "{found:?}");
    move_by(&lab, 0, "hb_standby", &[], 1, 1);
    move_by(&lab, 0, "hb_takeover", &["local"], 0, 1);
    move_by(&lab, 0, "hb_takeover", &["foreign"], 0, 0);
    move_by(&lab, 0, "hb_standby", &["foreign"], 0, 1);
    move_by(&lab, 0, "hb_takeover", &["all"], 0, 0);
    move_by(&lab, 0, "hb_standby", &["failback"], 0, 1);
    move_by(&lab, 0, "hb_standby", &["local"], 1, 1);
    move_by(&lab, 0, "hb_takeover", &["failback"], 0, 0);
    move_by(&lab, 0, "hb_standby", &["all"], 1, 1);
    move_by(&lab, 0, "req_resource", &["trace::web"], 0, 1);
    for line in ["hb_standby: done", "hb_takeover: done", "req_resource: done"] {
        lab.wait(line, |lab| lab.boards[0].log().contains(line));
    }
    // Nothing to be done, nothing known, nothing asked: the tools have no other way to learn of it.
    assert_eq!(tool(&lab, 0, "req_resource", &["trace::other"]), Some(0));
    lab.wait("it is said", |lab| lab.boards[0].log().contains("no line of haresources begins with this resource"));
    assert_eq!(tool(&lab, 0, "hb_standby", &["bogus"]), Some(1));
    assert_eq!(tool(&lab, 0, "hb_takeover", &["all", "local"]), Some(1));
    assert_eq!(tool(&lab, 0, "hb_standby", &["--help"]), Some(1));
    lab.assert_exclusive();
}

#[test]
fn torn_messages_noise_and_a_writer_that_never_ends_harm_nothing() {
    let lab = Lab::at_home("auto_failback off");
    // A writer with half a message holds it open all the while.
    let mut slow = std::fs::OpenOptions::new().write(true).open(fifo(&lab, 0)).expect("the FIFO");
    slow.write_all(b">>>\nt=ask_resources\nrsc_hold=all\n").expect("it is read");
    write(&lab, 0, b">>>\nt=hb_takeover\nrsc_hold=foreign\n<<<\n");
    lab.wait_owner(0, &BOTH);
    slow.write_all(b"info=me\n<<<\n").expect("it is read");
    lab.wait("the rest of it is noise", |lab| counter(lab, 0, "fifo_garbage_bytes") >= 7);
    assert_eq!(counter(&lab, 0, "fifo_torn"), 1);
    lab.assert_stays(0, &BOTH, Duration::from_millis(300));

    // As fast as it is taken, five times what a second allows.
    let noise: Vec<u8> = (0..320_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    write(&lab, 0, &noise);
    write(&lab, 0, b"\n###\n13:(0)t=oversize,4090:(0)x=");
    write(&lab, 0, &[b'y'; 10_000]);
    write(&lab, 0, b"\n###\n18:(0)t=ask_resources,19:(0)rsc_hold=foreign,10:(0)info=me,%%%");
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    assert!(counter(&lab, 0, "fifo_garbage_bytes") > 300_000);
    let log = lab.boards[0].log();
    assert!(!log.contains("Late heartbeat") && !log.contains("is dead") && !log.contains("late by"), "{log}");
    assert!(log.lines().count() < 500, "the log does not flood: {} lines", log.lines().count());
    lab.assert_exclusive();
}

#[test]
fn what_is_written_while_no_engine_lives_reaches_the_next_one_and_nobody_hangs_when_no_daemon_runs() {
    let mut lab = Lab::at_home("auto_failback off");
    let generation = |lab: &Lab| lab.boards[0].log().matches("Heartbeat generation").count();
    let before = generation(&lab);
    lab.boards[0].signal("engine", nix::sys::signal::Signal::SIGKILL);
    lab.wait("a new engine", |lab| generation(lab) > before && lab.boards[0].is_settled());
    write(&lab, 0, b">>>\nt=ask_resources\nrsc_hold=all\ninfo=me\n<<<\n");
    lab.wait_owner(1, &BOTH);
    lab.boards[0].stop();
    let refused = std::fs::OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(fifo(&lab, 0));
    assert_eq!(refused.expect_err("nobody reads").raw_os_error(), Some(nix::libc::ENXIO));
    // The original would send it before it negotiates, and block the other node for an hour (weakness 11a).
    let path = fifo(&lab, 0);
    let stale = std::thread::spawn(move || {
        let mut fifo = std::fs::OpenOptions::new().write(true).open(path).expect("opened by the next daemon");
        fifo.write_all(b">>>\nt=ask_resources\nrsc_hold=all\ninfo=me\n<<<\n").expect("it is read");
    });
    lab.boards[0].start();
    stale.join().expect("the daemon reads it");
    lab.wait("both have settled", |lab| lab.boards.iter().all(Board::is_settled));
    lab.wait("it is refused", |lab| lab.boards[0].log().contains("WARN: hb_standby: "));
    let output = lab.boards[0].nullbeat(&["takeover", "local"]);
    assert!(output.status.success(), "the other node is not blocked: {output:?}");
    lab.wait_owner(0, &["web"]);
    lab.assert_exclusive();
}
