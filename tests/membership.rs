//! The built-in membership service: with itself, and with the packaged `ccm` on the other node; the packaged programs that
//! follow a membership. Times are printed (`--nocapture`).

mod lab;

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use lab::evidence::{saw, saw_parts};
use lab::programs::{DIR, Running, as_hacluster, said};
use lab::{Board, Lab};
use nix::sys::signal::Signal;

/// A packaged program that follows the membership.
fn follow(board: &Board, name: &str) -> Running {
    Running::start(board, &as_hacluster(&[&format!("{DIR}/{name}")]))
}

/// What `cl_status hbstatus -v` says of the membership: instance, whether there is quorum, number of members; and the nodes.
fn seen(lab: &Lab, index: usize) -> String {
    let output = lab.boards[index].on_board(&["/usr/bin/cl_status", "hbstatus", "-v"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A membership as the packaged `cl_status` tells it: its number, and the members with when they were born.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Membership {
    instance: u32,
    born: Vec<String>,
}

/// The membership if the program told it to the end: it leaves it out when a packaged `ccm` does not answer at once.
fn membership(lab: &Lab, index: usize) -> Option<Membership> {
    let text = seen(lab, index);
    let instance = text.lines().find_map(|line| line.strip_prefix("\tinstance "))?.parse().ok()?;
    let born: Vec<_> =
        text.lines().filter(|line| line.contains("(born: ")).map(|line| line.trim().to_owned()).collect();
    text.contains("\tmember of partition").then_some(Membership { instance, born })
}

/// The number of the membership; zero when it is not told.
fn instance(lab: &Lab, index: usize) -> u32 {
    membership(lab, index).map_or(0, |membership| membership.instance)
}

/// Waits until what these boards have told last, each to the end, is as wanted: all of them tell it in the same moment only
/// by chance.
#[track_caller]
fn await_tellings(
    lab: &Lab,
    why: &str,
    boards: &[usize],
    is_wanted: impl Fn(&[&Membership]) -> bool,
) -> (Duration, Membership) {
    let told = std::cell::RefCell::new(vec![None; boards.len()]);
    let waited = lab.wait(why, |lab| {
        let mut told = told.borrow_mut();
        for (last, index) in told.iter_mut().zip(boards) {
            *last = membership(lab, *index).or_else(|| last.take());
        }
        let told: Vec<_> = told.iter().flatten().collect();
        told.len() == boards.len() && is_wanted(&told)
    });
    (waited, told.into_inner().swap_remove(0).expect("told"))
}

/// Waits until each of these boards tells of so many members.
#[track_caller]
fn await_members(lab: &Lab, boards: &[usize], count: usize) -> Duration {
    let is_wanted = |told: &[&Membership]| told.iter().all(|one| one.born.len() == count);
    await_tellings(lab, &format!("{count} members on {boards:?}"), boards, is_wanted).0
}

/// Waits until these boards tell the same membership of so many members.
#[track_caller]
fn await_same(lab: &Lab, why: &str, boards: &[usize], count: usize) -> Membership {
    let is_wanted = |told: &[&Membership]| told.iter().all(|one| one.born.len() == count && *one == told[0]);
    let (waited, membership) = await_tellings(lab, &format!("all say the same: {why}"), boards, is_wanted);
    println!("{why}: after {waited:?} {membership:?}");
    membership
}

/// Waits until both tell the same membership of both nodes, and gives back its number.
#[track_caller]
fn await_agreement(lab: &Lab, why: &str) -> u32 {
    await_same(lab, why, &[0, 1], 2).instance
}

/// Cuts or mends every way between the boards.
fn cut(lab: &Lab, is_cut: bool) {
    lab.ethernet(0, !is_cut);
    lab.modem.cut(is_cut);
}

#[test]
fn two_nullbeats_agree_through_deaths_and_cuts() {
    let mut lab = Lab::at_home("membership on\n");
    lab.boards.iter().for_each(Board::show_sockets);
    let first = await_agreement(&lab, "both started");
    // Nobody else signs on under the service's name.
    let twice = lab.boards[0].on_board(&as_hacluster(&[&format!("{DIR}/ccm")]));
    assert!(!twice.status.success(), "{twice:?}");
    // `status` and our own `cl_status` tell it as well.
    let json = lab.boards[0].status_json();
    let expected = "\"membership\": {\"state\": \"CCM_STATE_JOINED\", \"instance\": 2, \"has_quorum\": true";
    assert!(first != 2 || json.contains(expected), "{json}");
    assert!(json.contains("\"members\": [") && json.contains("\"born_on\": "), "{json}");
    let plain = String::from_utf8_lossy(&lab.boards[0].nullbeat(&["status"]).stdout).into_owned();
    assert!(plain.contains(&format!("\nmembership {first}, quorum: ")), "{plain}");
    for index in 0..2 {
        for options in ["-v", "-mv"] {
            let theirs = lab.boards[index].on_board(&["/usr/bin/cl_status", "hbstatus", options]);
            let directory = format!("--run-dir={}", lab.boards[index].dir.join("run").display());
            let ours = lab.boards[index].nullbeat_as("cl_status", &["hbstatus", options, &directory]);
            assert_eq!(String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&theirs.stdout), "{options}");
        }
    }
    // The packaged programs follow it.
    let _clients = ["ccm_testclient", "clmtest"].map(|name| follow(&lab.boards[0], name));
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
    lab.boards[0].show_sockets();
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

/// Whose membership service the programs follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// The packaged `ccm` beside a packaged Heartbeat.
    Original,
    /// The packaged `ccm` beside nullbeat.
    Packaged,
    /// Ours.
    BuiltIn,
}

/// What `hbstatus -v` prints once it tells of so many members to the end: it says nothing of them when the service takes
/// its time.
#[track_caller]
fn told(lab: &Lab, index: usize, members: usize) -> String {
    let text = std::cell::RefCell::default();
    lab.wait("the membership is told", |lab| {
        let mut text = text.borrow_mut();
        *text = seen(lab, index);
        text.contains(&format!("\tmembers {members}\n")) && text.contains("\tmember of partition")
    });
    text.into_inner()
}

/// What the packaged programs on alpha print while beta comes and goes, and `cl_status hbstatus -v` at each step.
fn story(service: Service) -> Vec<String> {
    let mut lab = Lab::new(["alpha", "beta"]);
    for index in 0..2 {
        if service == Service::Original {
            lab.boards[index].use_heartbeat();
        }
        let board = &lab.boards[index];
        let mut text = lab.shared_ha_cf(board).replace("initdead 10", "initdead 6");
        text += &match service {
            Service::BuiltIn => "membership on\n".to_owned(),
            _ => format!("respawn hacluster {DIR}/ccm\n"),
        };
        if service != Service::Original {
            text += &format!("reset_with hook {}\n", board.reset_hook().display());
        }
        board.configure(&text, lab::AT_HOME);
    }
    let start = |lab: &mut Lab, index: usize| {
        lab.boards[index].power_on();
        if service != Service::Original {
            lab.boards[index].show_sockets();
        }
        lab.boards[index].start();
    };
    start(&mut lab, 0);
    await_members(&lab, &[0], 1);
    let mut said_by = vec![told(&lab, 0, 1)];
    let clients = ["ccm_testclient", "clmtest"].map(|name| follow(&lab.boards[0], name));
    lab.wait("the programs know of one", |lab| said(&lab.boards[0], "ccm_testclient").contains("uname=alpha"));
    start(&mut lab, 1);
    await_members(&lab, &[0, 1], 2);
    said_by.extend([0, 1].map(|index| told(&lab, index, 2)));
    lab.boards[1].stop();
    await_members(&lab, &[0], 1);
    said_by.push(told(&lab, 0, 1));
    lab.wait("the programs know of the loss", |lab| {
        // Both have told it to the end.
        let ends = |name: &str, loss: &str, end: &str| {
            let text = said(&lab.boards[0], name);
            text.split_once(loss).is_some_and(|(_, rest)| rest.contains(end))
        };
        ends("ccm_testclient", "nodes=1, new=0, lost=1", "-----------------------")
            && ends("clmtest", "viewNumber = 3", "SA CLM Track Callback END")
    });
    drop(clients);
    let mut story: Vec<String> = said_by.iter().map(|text| words(text)).collect();
    story.push(words(&said(&lab.boards[0], "ccm_testclient")));
    story.push(followed(&said(&lab.boards[0], "clmtest")));
    story
}

#[test]
fn programs_hear_the_same_of_every_service() {
    let stories = std::thread::scope(|scope| {
        let tellers =
            [Service::Original, Service::Packaged, Service::BuiltIn].map(|service| scope.spawn(move || story(service)));
        tellers.map(|teller| teller.join().expect("a story"))
    });
    let [original, packaged, built_in] = &stories;
    assert!(original[0].contains(" with quorum\n\tinstance 1\n\tmembers 1\n\t\t0 alpha\t(born: 1)\n"));
    assert!(original[4].contains("event=NEW MEMBERSHIP") && original[5].contains("SA_CLM_NODE_LEFT"), "{original:#?}");
    for (service, story) in [("the packaged ccm under nullbeat", packaged), ("the built-in service", built_in)] {
        for (original, seen) in original.iter().zip(story) {
            assert_eq!(seen, original, "{service}");
        }
        let events = |story: &[String], place: usize, word: &str| -> String {
            let lines = story[place].lines().map(str::trim).filter(|line| line.starts_with(word));
            lines.fold(String::new(), |all, line| all + line + "\n")
        };
        let what = format!("{service}: beta comes and goes, as under a Heartbeat");
        let parts = ["event=NEW MEMBERSHIP", "nodes=1, new=0, lost=1"];
        saw_parts(&format!("{DIR}/ccm_testclient"), &what, &parts, &story[4]);
        let views = |story: &[String]| events(story, 5, "viewNumber");
        saw(&format!("{DIR}/clmtest"), &what, &views(original), &views(story));
        let (ours, theirs) = (story[..4].join("\n"), original[..4].join("\n"));
        saw(&format!("{DIR}/ccm"), &format!("{service}: what cl_status tells at each step"), &theirs, &ours);
    }
}

/// What `clmtest` tells after it has begun to follow: whether the first membership still is news to it is chance, and so is
/// how often it is told the second one.
fn followed(text: &str) -> String {
    let rest = text.find("viewNumber = 2").map_or(text, |at| &text[at..]);
    let mut views: Vec<_> = rest.split("SA CLM Track Callback BEGIN").map(str::trim).collect();
    views.dedup_by(|one, other| one.trim_end_matches(['-', '\n']) == other.trim_end_matches(['-', '\n']));
    views.join("\n")
}

/// The lines of a log without time, node and number; of `hbstatus -v` the membership alone.
fn words(text: &str) -> String {
    let block = text.split_once("\nccm membership").map_or(text, |(_, rest)| rest);
    let block = block.split_once("of partition\n").map_or(block, |(block, _)| block);
    let lines = block.lines().map(|line| line.split_once("]: ").map_or(line, |(_, words)| words));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn bad_programs_at_the_socket_disturb_nobody() {
    let lab = Lab::at_home("membership on\nkeepalive 50ms\nwarntime 500ms\n");
    lab.boards.iter().for_each(Board::show_sockets);
    let first = await_agreement(&lab, "both started");
    let socket = lab.boards[0].dir.join("run/ccm/ccm");
    let mut kept = Vec::new();
    for round in 0..400_u32 {
        let mut stream = UnixStream::connect(&socket).expect("somebody listens");
        let bytes = match round % 6 {
            0 => round.to_ne_bytes().repeat(300),
            1 => [i32::MAX.to_ne_bytes(), 0xabcd_u32.to_ne_bytes()].concat(),
            2 => [(-5_i32).to_ne_bytes(), 0xabcd_u32.to_ne_bytes()].concat(),
            3 => vec![0xcd, 0xab],
            4 => [0_i32.to_ne_bytes(), 0xabcd_u32.to_ne_bytes()].concat().repeat(100),
            _ => Vec::new(),
        };
        // Who was dropped meanwhile need not take it.
        let _ = stream.write_all(&bytes);
        // Some stay and never read; far more of them than there is room for.
        if round % 10 < 2 {
            kept.push(stream);
        }
    }
    lab.wait("too many are told so", |lab| lab.boards[0].log().contains("membership: too many programs"));
    drop(kept);
    // Everybody who was dropped has made room.
    assert_eq!(instance(&lab, 0), first);
    let client = follow(&lab.boards[0], "ccm_testclient");
    lab.wait("a program follows", |lab| said(&lab.boards[0], "ccm_testclient").contains("uname=beta, born="));
    drop(client);
    for index in 0..2 {
        let log = lab.boards[index].log();
        assert!(!log.contains(": is dead") && !log.contains("panicked"), "{log}");
    }
    await_agreement(&lab, "nobody has moved");
    lab.assert_stays(0, &["web"], Duration::from_millis(200));
    lab.assert_exclusive();
}

/// Three nodes, one of them a Heartbeat with the packaged service: one after the other comes, one goes.
#[test]
fn three_nodes_of_both_kinds_agree() {
    let names = ["alpha", "beta", "gamma"];
    let mut lab = Lab::with_boards(&names);
    lab.boards[1].use_heartbeat();
    for board in &lab.boards {
        let dir = board.dir.display();
        let others = lab.boards.iter().filter(|other| other.index != board.index);
        let links: String = others.map(|other| format!("ucast ens33 {}\n", other.address)).collect();
        let own = if board.index == 1 {
            format!("respawn hacluster {DIR}/ccm\n")
        } else {
            format!("membership on\nreset_with hook {}\n", board.reset_hook().display())
        };
        let text = format!(
            "logfile {dir}/ha-log\ndebugfile {dir}/ha-debug\nuse_logd off\nkeepalive 200ms\nwarntime 1\ndeadtime 3\n\
             initdead 10\nudpport 694\nauto_failback off\n{links}node alpha beta gamma\n{own}"
        );
        board.configure(&text, "");
    }
    for index in 0..3 {
        lab.boards[index].power_on();
        if index != 1 {
            lab.boards[index].show_sockets();
        }
        lab.boards[index].start_with(&[if index == 1 { "-M" } else { "--no-resources" }]);
    }
    let three = await_same(&lab, "all agree on three", &[0, 1, 2], 3);
    assert!(seen(&lab, 0).contains("ccm membership with quorum"));
    lab.power_off(2);
    let two = await_same(&lab, "two are left", &[0, 1], 2);
    assert!(two.instance > three.instance, "{two:?}");
    // Two of three: a majority. Who is left keeps its age and its place.
    assert!(seen(&lab, 0).contains("ccm membership with quorum"), "{}", seen(&lab, 0));
    lab.boards[1].stop();
    await_members(&lab, &[0], 1);
    assert!(seen(&lab, 0).contains("ccm membership WITHOUT quorum"), "one of three: {}", seen(&lab, 0));
}
