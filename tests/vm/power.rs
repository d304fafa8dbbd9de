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
fn power_cut_in_the_middle_of_writing_state_files_leaves_sound_states_and_the_history() {
    // A daemon that starts and dies without end: each start writes the state files.
    let restless = "while :; do nullbeat run --foreground --no-resources --no-realtime & sleep 0.$((RANDOM % 4 + 1)); \
                    killall -9 nullbeat; wait; done";
    let bench = Bench::new(Plan::usual().start(restless));
    let board = &bench.boards[0];
    board.power_on();
    board.await_log("Heartbeat generation: ");
    let uuid = uuid_of(&disk_at_a_moment(&bench, 0));
    let mut announced = 0;
    let mut known = Vec::new();
    for moment in 1..MOMENTS {
        // Whatever has been said by now was on the disk before.
        let said = last_announced(board);
        let disk = disk_at_a_moment(&bench, moment);
        let kept = generation_of(&disk);
        assert!(kept >= said, "moment {moment}: the disk has {kept}, announced was {said}");
        assert_eq!(uuid_of(&disk), uuid, "moment {moment}");
        known = still_known(&known, events_of(&bench, &disk));
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
    assert!(known.len() > MOMENTS, "{known:?}");
    // Whoever kills the daemon there kills everything by that name.
    let told = board.run("until nullbeat history --json > /tmp/told; do :; done; cat /tmp/told");
    still_known(&known, numbers(&told));
}

/// The numbers of the events that the history on the disk has.
fn events_of(bench: &Bench, disk: &Path) -> Vec<u64> {
    let state = bench.directory.join("state");
    std::fs::create_dir_all(&state).expect("a folder");
    std::fs::write(state.join("history"), file_on(disk, "/nullbeat/history")).expect("a copy");
    let nothing = bench.directory.join("no-run-directory");
    let output = Command::new(env!("CARGO_BIN_EXE_nullbeat"))
        .args(["history", "--json", "--run-dir"])
        .arg(nothing)
        .arg("--state-dir")
        .arg(state)
        .output();
    numbers(&String::from_utf8_lossy(&output.expect("it runs").stdout))
}

fn numbers(history: &str) -> Vec<u64> {
    let after = history.split("\"number\": ").skip(1);
    after.map(|rest| rest.split(',').next().and_then(|number| number.parse().ok()).expect("a number")).collect()
}

/// An event that a disk had is on all later ones, each once, until 256 younger ones have come.
#[track_caller]
fn still_known(before: &[u64], now: Vec<u64>) -> Vec<u64> {
    assert!(now.is_sorted_by(|one, next| one < next), "{now:?}");
    let newest = now.last().copied().unwrap_or(0);
    let is_lost = |number: &&u64| !now.contains(number) && **number + 256 > newest;
    assert_eq!(before.iter().filter(is_lost).count(), 0, "{now:?} after {before:?}");
    now
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

/// A file on the disk.
fn file_on(disk: &Path, path: &str) -> Vec<u8> {
    let output = Command::new("debugfs").args(["-R", &format!("cat {path}")]).arg(disk).output();
    output.expect("debugfs").stdout
}

/// The uuid's bytes; there must be 16.
fn uuid_of(disk: &Path) -> Vec<u8> {
    let uuid = file_on(disk, "/heartbeat/hb_uuid");
    assert_eq!(uuid.len(), 16, "{uuid:?}");
    uuid
}

/// The highest generation that was set aside.
fn generation_of(disk: &Path) -> u64 {
    let text = file_on(disk, "/heartbeat/hb_generation");
    let text = String::from_utf8(text).expect("a number");
    text.trim().parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}
