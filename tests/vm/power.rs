//! Power that goes at the worst moments. The boards' clocks begin anew at each boot, so a generation that grows was kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::bench::{Bench, Plan};
use super::board::Board;

/// Uuid and generation, as the daemon tells them.
fn identity(board: &Board) -> (String, u64) {
    let status = board.run("nullbeat status --json");
    let after = |key: &str| {
        let at = status.find(key).unwrap_or_else(|| panic!("no {key} in {status}")) + key.len();
        status[at..].split(['"', ',']).next().expect("a value").to_owned()
    };
    (after("\"uuid\": \""), after("\"generation\": ").parse().expect("a number"))
}

#[test]
fn power_cut_in_the_middle_of_a_takeover_both_come_back_as_who_they_were() {
    let bench = Bench::start(Plan::usual());
    let before = [0, 1].map(|index| identity(&bench.boards[index]));
    // The takeover never comes to its end.
    bench.boards[1].run("echo 600 >/run/slow-web");
    bench.power_cut(0);
    bench.wait("beta begins to start web", |bench| bench.owners("web") == [1]);
    bench.power_cut(1);
    for board in &bench.boards {
        board.power_on();
        board.await_boot(2);
    }
    bench.await_owner(0, "web");
    for (board, (uuid, generation)) in bench.boards.iter().zip(before) {
        board.await_settled();
        let after = identity(board);
        assert_eq!(after.0, uuid, "{}", board.name());
        assert!(after.1 > generation, "{}: {} after {generation}", board.name(), after.1);
    }
    bench.assert_exclusive();
}

/// How many moments of the loop below are looked at.
const MOMENTS: usize = 24;

#[test]
fn power_cut_in_the_middle_of_writing_state_files_leaves_one_of_two_sound_states() {
    // A daemon that starts and dies without end: each start writes the state files.
    let restless = "while :; do nullbeat run --foreground --no-resources --no-realtime & sleep 0.$((RANDOM % 4 + 1)); \
                    killall -9 nullbeat; wait; done";
    let bench = Bench::new(Plan::usual().start(restless));
    let board = &bench.boards[0];
    board.power_on();
    board.await_log("Heartbeat generation: ");
    let uuid = uuid_of(&disk_at_a_moment(&bench, 0));
    let mut announced = 0;
    for moment in 1..MOMENTS {
        // Whatever has been said by now was on the disk before.
        let said = last_announced(board);
        let disk = disk_at_a_moment(&bench, moment);
        let kept = generation_of(&disk);
        assert!(kept >= said, "moment {moment}: the disk has {kept}, announced was {said}");
        assert_eq!(uuid_of(&disk), uuid, "moment {moment}");
        std::fs::remove_file(disk).expect("its own file");
        // The next moment is in another one of its runs.
        board.await_log_after(board.log_lines(), if moment % 2 == 0 { "validated" } else { "generation: " });
        announced = said.max(announced);
    }
    board.power_cut();
    board.power_on();
    board.await_boot(2);
    let (_, line) = board.await_log_after(board.log_lines(), "Heartbeat generation: ");
    assert!(generation_in(&line) > announced, "{line} after {announced}");
}

fn generation_in(line: &str) -> u64 {
    line.rsplit(": ").next().and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

fn last_announced(board: &Board) -> u64 {
    generation_in(&board.last_log("Heartbeat generation: ").expect("one"))
}

/// The disk as a power cut at this moment would leave it, after the journal was replayed as the next boot does.
fn disk_at_a_moment(bench: &Bench, moment: usize) -> PathBuf {
    let copy = bench.directory.join(format!("moment{moment}"));
    bench.freeze(0);
    let copied = Command::new("cp").arg("--sparse=always").arg(bench.directory.join("0.disk")).arg(&copy).output();
    bench.thaw(0);
    sound(&copied.expect("cp"), 0);
    // 1: mended, which the replay alone is not.
    sound(&Command::new("e2fsck").args(["-p", "-E", "journal_only"]).arg(&copy).output().expect("e2fsck"), 0);
    sound(&Command::new("e2fsck").args(["-f", "-n"]).arg(&copy).output().expect("e2fsck"), 0);
    copy
}

#[track_caller]
fn sound(output: &Output, most: i32) {
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code <= most), "{}: {said}{why}", output.status);
}

/// A state file on the disk.
fn state_file(disk: &Path, name: &str) -> Vec<u8> {
    let output = Command::new("debugfs").args(["-R", &format!("cat /heartbeat/{name}")]).arg(disk).output();
    output.expect("debugfs").stdout
}

/// The uuid's bytes; there must be 16.
fn uuid_of(disk: &Path) -> Vec<u8> {
    let uuid = state_file(disk, "hb_uuid");
    assert_eq!(uuid.len(), 16, "{uuid:?}");
    uuid
}

/// The highest generation that was set aside.
fn generation_of(disk: &Path) -> u64 {
    let text = state_file(disk, "hb_generation");
    let text = String::from_utf8(text).expect("a number");
    text.trim().parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}
