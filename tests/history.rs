//! History with real daemons: over power cuts, broken files and a disk that takes nothing; what a dead board saw last.

mod lab;

use std::process::{Command, Output};

use lab::{AT_HOME, Lab, NULLBEAT};

/// One event as JSON.
type Event = String;

/// What a board's files tell, whether or not anything runs there.
fn history(lab: &Lab, index: usize) -> Vec<Event> {
    let output = read(lab, index);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().filter(|line| line.starts_with("    {")).map(str::to_owned).collect()
}

fn read(lab: &Lab, index: usize) -> Output {
    let dir = lab.boards[index].dir.display();
    let (run, state) = (format!("--run-dir={dir}/run"), format!("--state-dir={dir}/state"));
    Command::new(NULLBEAT).args(["history", "--json", &run, &state]).output().expect("it runs")
}

fn numbers(events: &[Event]) -> Vec<u64> {
    let number = |event: &Event| event.split("\"number\": ").nth(1)?.split(',').next()?.parse().ok();
    events.iter().map(|event| number(event).unwrap_or_else(|| panic!("{event}"))).collect()
}

fn has(events: &[Event], parts: &[&str]) -> bool {
    events.iter().any(|event| parts.iter().all(|part| event.contains(part)))
}

/// Waits until an event with all these parts is told.
#[track_caller]
fn wait_event(lab: &Lab, index: usize, parts: &[&str]) {
    lab.wait(&parts.join(" "), |lab| has(&history(lab, index), parts));
}

/// What is in the run directory is memory, and lost with the power.
fn lose_memory(lab: &Lab, index: usize) {
    std::fs::remove_file(lab.boards[index].dir.join("run/history")).expect("the file in memory");
}

const RUNNING: &[&str] = &["\"event\": \"group\"", "\"subject\": \"trace::web\"", "\"to\": \"running\""];

/// Waits until the disk has what memory has.
fn wait_copied(lab: &Lab, index: usize) {
    let file = |place: &str| std::fs::read(lab.boards[index].dir.join(place).join("history")).unwrap_or_default();
    lab.wait("it is on disk", |_| {
        let (memory, disk) = (file("run"), file("state"));
        !memory.is_empty() && disk.starts_with(&memory)
    });
}

#[test]
fn history_outlives_a_power_cut_and_goes_on_with_its_numbers() {
    let mut lab = Lab::at_home("");
    wait_event(&lab, 0, RUNNING);
    wait_copied(&lab, 0);
    lab.power_off(0);
    lose_memory(&lab, 0);
    let before = history(&lab, 0);
    for parts in [&["\"daemon\"", "\"started\""][..], &["\"engine\"", "\"started\"", "\"generation\": "], RUNNING] {
        assert!(has(&before, parts), "{parts:?}: {before:#?}");
    }
    let decision = ["\"to\": \"starting\"", "\"cause\": \"startup\"", "ens33:up", "\"heard_ms\": "];
    assert!(has(&before, &decision), "{before:#?}");
    lab.wait_owner(1, &["web", "mail"]);
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_at_home();
    lab.boards[0].stop();
    let after = history(&lab, 0);
    assert!(numbers(&after).is_sorted_by(|one, next| one < next), "{after:#?}");
    assert_eq!(numbers(&after)[..before.len()], numbers(&before));
    assert!(has(&after[before.len()..], &["\"daemon\"", "\"started\""]) && has(&after, &["\"daemon\"", "\"stopped\""]));
    lab.assert_exclusive();
}

#[test]
fn survivor_tells_what_the_dead_board_saw_last_and_tells_it_in_turn() {
    let mut lab = Lab::at_home("");
    for verb in ["hold", "resume"] {
        assert!(lab.boards[0].nullbeat(&[verb]).status.success());
    }
    let of_alpha = "\"node\": \"alpha\"";
    // Those of its guardian too.
    wait_event(&lab, 1, &[of_alpha, "\"event\": \"daemon\"", "\"to\": \"started\""]);
    wait_event(&lab, 1, &[of_alpha, "\"event\": \"engine\"", "\"to\": \"started\""]);
    wait_event(&lab, 1, &[of_alpha, "\"event\": \"operator\"", "\"subject\": \"hold\""]);
    wait_event(&lab, 1, &[of_alpha, "\"event\": \"alarm\"", "\"subject\": \"held\"", "\"to\": \"cleared\""]);
    lab.power_off(0);
    lab.wait_owner(1, &["web", "mail"]);
    wait_event(
        &lab,
        1,
        &["\"node\": null", "\"event\": \"node\"", "\"subject\": \"alpha\"", "\"to\": \"dead\"", "\"heard_ms\": "],
    );
    // What brought something else than a beat last may count as up for some milliseconds more.
    let takeover = ["\"subject\": \"trace::web\"", "\"to\": \"starting\"", "\"cause\": \"death\"", "\"links\": \""];
    wait_event(&lab, 1, &takeover);
    let told = |events: &[Event]| events.iter().filter(|event| event.contains(of_alpha)).count();
    let before = told(&history(&lab, 1));

    // The one that comes back learns what has happened meanwhile, and nothing is written down twice.
    lab.wait_owner(1, &["web", "mail"]);
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_at_home();
    wait_event(&lab, 0, &["\"node\": \"beta\"", "\"subject\": \"trace::web\"", "\"cause\": \"death\""]);
    for index in [0, 1] {
        let mut told: Vec<Event> =
            history(&lab, index).into_iter().filter(|event| !event.contains("\"node\": null")).collect();
        let all = told.len();
        // The partner's numbers are not shown; its clock and words are.
        let words = |event: &Event| event.split("\"event\": ").nth(1).map(str::to_owned);
        told.dedup_by_key(|event| words(event));
        assert!(all - told.len() <= 2, "{index}: {told:#?}");
    }
    assert!(told(&history(&lab, 1)) >= before);
    lab.assert_exclusive();
}

#[test]
fn both_boards_keep_the_evidence_of_a_split_brain() {
    let lab = Lab::at_home("");
    lab.modem.cut(true);
    lab.ethernet(0, false);
    lab.wait("both own everything", |lab| ["web", "mail"].iter().all(|group| lab.runners(group) == [0, 1]));
    lab.modem.cut(false);
    lab.ethernet(0, true);
    lab.wait_at_home();
    let own = "\"node\": null";
    for (index, (kept, let_go)) in [(0, ("trace::web", "trace::mail")), (1, ("trace::mail", "trace::web"))] {
        // Why each took the other's group, and what it knew then.
        let of_group = format!("\"subject\": \"{let_go}\"");
        wait_event(&lab, index, &[own, &of_group, "\"to\": \"starting\"", "\"cause\": \"death\"", "\"links\": \""]);
        // That both had it, when they met. Of what it keeps it may hear when the other has let go already.
        let alarm = format!("\"subject\": \"split_brain {let_go}\"");
        wait_event(&lab, index, &[own, "\"event\": \"alarm\"", &alarm, "\"to\": \"raised\"", "\"links\": \""]);
        // Who let go of what: of its own, and as the other one tells it.
        let released = ["\"event\": \"group\"", "\"to\": \"stopping\"", "\"cause\": \"split brain\""];
        wait_event(&lab, index, &[&[own, &of_group], &released[..]].concat());
        let (partner, of_partner) = (["beta", "alpha"][index], format!("\"subject\": \"{kept}\""));
        let partner = format!("\"node\": \"{partner}\"");
        wait_event(&lab, index, &[&[&*partner, &*of_partner], &released[..]].concat());
    }
}

#[test]
fn disk_that_takes_nothing_is_a_warning_and_history_goes_on() {
    let mut lab = Lab::usual("", AT_HOME);
    // No file can be written where a directory stands: root or not, full or not.
    std::fs::create_dir(lab.boards[0].dir.join("state/history")).expect("a directory");
    lab.start_both();
    lab.wait_at_home();
    lab.wait("it is said", |lab| lab.boards[0].log().contains("does not outlive a power cut"));
    wait_event(&lab, 0, RUNNING);
    assert_eq!(lab.boards[0].log().matches("does not outlive a power cut").count(), 1);
    lab.assert_exclusive();
}

#[test]
fn torn_and_cut_files_keep_the_rest() {
    let mut lab = Lab::at_home("");
    wait_copied(&lab, 0);
    lab.power_off(0);
    lose_memory(&lab, 0);
    let path = lab.boards[0].dir.join("state/history");
    let mut bytes = std::fs::read(&path).expect("the file");
    let whole = numbers(&history(&lab, 0));
    assert!(whole.len() >= 6, "{whole:?}");
    // Event n stands in slot n: the second one is torn, the file ends in the middle of the last.
    bytes[2 * 256 + 100] ^= 0x55;
    let last = usize::try_from(whole[whole.len() - 1]).expect("few");
    bytes.truncate(last * 256 + 77);
    std::fs::write(&path, &bytes).expect("written");
    let left = numbers(&history(&lab, 0));
    let expected: Vec<u64> = whole[..whole.len() - 1].iter().copied().filter(|number| *number != 2).collect();
    assert_eq!(left, expected);
    lab.wait_owner(1, &["web", "mail"]);
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_at_home();
    wait_copied_again(&lab);
    assert_eq!(numbers(&history(&lab, 0))[..expected.len()], expected);
    lab.assert_exclusive();
}

/// The file on disk has its length again.
fn wait_copied_again(lab: &Lab) {
    let path = lab.boards[0].dir.join("state/history");
    lab.wait("the file is whole", |_| std::fs::metadata(&path).is_ok_and(|file| file.len() == 64 * 1024));
}

#[test]
fn board_where_nothing_ever_ran_has_no_history() {
    let dir = std::env::temp_dir().join("nullbeat-no-history");
    let place = |name: &str| format!("--{name}-dir={}", dir.join(name).display());
    let output = Command::new(NULLBEAT).args(["history", &place("run"), &place("state")]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no daemon has run here"), "{output:?}");
}
