//! The built-in membership service: with itself, and with the packaged `ccm` on the other node; the packaged programs that
//! follow a membership. Times are printed (`--nocapture`).

mod lab;

use std::process::Child;
use std::time::Duration;

use lab::{Board, Lab};
use nix::sys::signal::Signal;

const DIR: &str = "/usr/libexec/heartbeat";

/// A command as the user that Heartbeat's clients have.
fn as_hacluster<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let user = ["setpriv", "--reuid", "hacluster", "--regid", "haclient", "--clear-groups"];
    user.iter().chain(words).copied().collect()
}

/// A program that goes on until the test ends it; what it says is in a file of its name in the board's folder.
struct Running(Child);

impl Running {
    fn start(board: &Board, name: &str) -> Self {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(board.dir.join(format!("{name}.log")));
        let file = file.expect("log");
        let program = format!("{DIR}/{name}");
        let mut command = board.command(&as_hacluster(&["stdbuf", "-o0", &program]));
        Self(command.stdout(file.try_clone().expect("log")).stderr(file).spawn().expect("a program"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(board: &Board, name: &str) -> String {
    std::fs::read_to_string(board.dir.join(format!("{name}.log"))).unwrap_or_default()
}

/// The run directory of a board with nullbeat, where Heartbeat's clients look.
fn show_sockets(board: &Board) {
    let run = board.dir.join("run");
    let script = format!("mkdir -p /run/heartbeat && mount --bind {} /run/heartbeat", run.display());
    let output = board.on_board(&["sh", "-c", &script]);
    assert!(output.status.success(), "{output:?}");
}

/// What `cl_status hbstatus -v` says of the membership: instance, whether there is quorum, number of members; and the nodes.
fn seen(lab: &Lab, index: usize) -> String {
    let output = lab.boards[index].on_board(&["/usr/bin/cl_status", "hbstatus", "-v"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until the packaged `cl_status` sees so many members on each of these boards.
#[track_caller]
fn await_members(lab: &Lab, boards: &[usize], count: usize) -> Duration {
    let wanted = format!("\tmembers {count}\n");
    lab.wait(&format!("{count} members on {boards:?}"), |lab| {
        boards.iter().all(|index| seen(lab, *index).contains(&wanted))
    })
}

/// The number of the membership as the packaged `cl_status` tells it.
fn instance(lab: &Lab, index: usize) -> u32 {
    let text = seen(lab, index);
    text.lines().find_map(|line| line.strip_prefix("\tinstance ")).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The members as the packaged `cl_status` lists them.
fn born(lab: &Lab, index: usize) -> Vec<String> {
    seen(lab, index).lines().filter(|line| line.contains("(born: ")).map(|line| line.trim().to_owned()).collect()
}

/// Waits until both tell the same membership of both nodes, and gives back its number.
#[track_caller]
fn await_agreement(lab: &Lab, why: &str) -> u32 {
    let waited = lab.wait(&format!("both say the same: {why}"), |lab| {
        let (one, other) = ((instance(lab, 0), born(lab, 0)), (instance(lab, 1), born(lab, 1)));
        one.1.len() == 2 && one == other
    });
    println!("{why}: after {waited:?} instance {}, {:?}", instance(lab, 0), born(lab, 0));
    instance(lab, 0)
}

/// Cuts or mends every way between the boards.
fn cut(lab: &Lab, is_cut: bool) {
    lab.ethernet(0, !is_cut);
    lab.modem.cut(is_cut);
}

#[test]
fn two_nullbeats_agree_through_deaths_and_cuts() {
    let mut lab = Lab::at_home("membership on\n");
    lab.boards.iter().for_each(show_sockets);
    let first = await_agreement(&lab, "both started");
    // Nobody else signs on under the service's name.
    let twice = lab.boards[0].on_board(&as_hacluster(&[&format!("{DIR}/ccm")]));
    assert!(!twice.status.success(), "{twice:?}");
    // The packaged programs follow it.
    let _clients = ["ccm_testclient", "clmtest"].map(|name| Running::start(&lab.boards[0], name));
    lab.wait("ccm_testclient knows both", |lab| said(&lab.boards[0], "ccm_testclient").contains("uname=beta, born="));
    // An engine dies and is replaced: its service has left and come back.
    lab.boards[1].signal("engine", Signal::SIGKILL);
    lab.wait("another engine joins", |lab| instance(lab, 0) >= first + 2);
    await_agreement(&lab, "engine replaced");
    lab.wait("ccm_testclient saw one leave", |lab| {
        said(&lab.boards[0], "ccm_testclient").contains("nodes=1, new=0, lost=1")
    });

    cut(&lab, true);
    println!("cut: alone after {:?}", await_members(&lab, &[0, 1], 1));
    cut(&lab, false);
    await_agreement(&lab, "healed");

    lab.boards[1].stop();
    println!("beta stopped: alone after {:?}", await_members(&lab, &[0], 1));
    assert!(seen(&lab, 0).contains("ccm membership with quorum"), "two nodes: the rest has quorum");
    assert!(!said(&lab.boards[0], "clmtest").is_empty());
}

#[test]
fn nullbeat_agrees_with_the_packaged_service_under_heartbeat() {
    let mut lab = Lab::mixed(lab::AT_HOME);
    for (index, lines) in [(0, "membership on\ndebug 1\n".to_owned()), (1, format!("respawn hacluster {DIR}/ccm\n"))] {
        let path = lab.boards[index].config_dir().join("ha.cf");
        let text = std::fs::read_to_string(&path).expect("ha.cf") + &lines;
        std::fs::write(&path, text).expect("ha.cf");
    }
    lab.start_both();
    lab.wait("nullbeat's sockets", |lab| lab.boards[0].dir.join("run/register").exists());
    show_sockets(&lab.boards[0]);
    let first = await_agreement(&lab, "both started");
    // Heartbeat starts its service again.
    assert!(lab.boards[1].on_board(&["sh", "-c", "kill -9 $(pidof ccm)"]).status.success());
    println!("ccm killed: alone after {:?}", await_members(&lab, &[0], 1));
    lab.wait("another ccm joins", |lab| instance(lab, 0) >= first + 2);
    await_agreement(&lab, "ccm killed");
    cut(&lab, true);
    println!("cut: alone after {:?}", await_members(&lab, &[0, 1], 1));
    cut(&lab, false);
    await_agreement(&lab, "healed");
    lab.boards[0].stop();
    println!("alpha stopped: beta alone after {:?}", await_members(&lab, &[1], 1));
}
