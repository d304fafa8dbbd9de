//! Every sub-command of `cl_status`: the packaged program and ours, beside a Heartbeat and beside a nullbeat that has the
//! same ha.cf. What the packaged one says beside the Heartbeat is what is expected of the other three, to the byte and the
//! exit code. All of it stands in docs/compatibility.md, which `tests/run` compares.

mod lab;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab::evidence::{cell, saw, saw_section};
use lab::programs::{DIR, Running, Said, as_hacluster};
use lab::{AT_HOME, Lab};

const OURS: usize = 0;
const THEIRS: usize = 1;
/// Commands asked at a time: a Heartbeat takes its time for each answer.
const AT_ONCE: usize = 8;

/// Hosts that answer: before the nodes in ha.cf, between them, behind them.
const PINGS: [&str; 3] = ["192.168.231.200", "192.168.231.129", "127.0.0.1"];

/// Words after `cl_status`, as they are said on alpha. SERIAL is the serial device.
fn commands() -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |words: &str, options: &[&str]| {
        for option in options {
            let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
            all.push([name, option, rest].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
        }
    };
    let (plain, spoken) = (&[""][..], &["", "-m"][..]);
    let nodes = ["alpha", "beta", "BETA", PINGS[0], "gamma"];
    add("", plain);
    add("-h", plain);
    add("nix", plain);
    add("HBSTATUS", plain);
    add("hbstatus", &["", "-m", "-v", "-mv", "-z", "-h"]);
    add("hbstatus more words", plain);
    add("listnodes", &["", "-m", "-n", "-p", "-np", "-mn", "-mp", "-v", "-mv", "-nv", "-pv", "-z", "-h"]);
    add("listnodes more words", plain);
    for name in ["nodestatus", "nodeweight", "nodesite", "nodetype"] {
        for node in nodes {
            add(&format!("{name} {node}"), spoken);
        }
        add(name, spoken);
        add(&format!("{name} beta"), &["-v", "-z", "-h"]);
        add(&format!("{name} beta gamma"), plain);
        add(&format!("{name} beta -m"), plain);
    }
    for node in nodes {
        add(&format!("listhblinks {node}"), &["", "-m", "-v", "-mv"]);
    }
    add("listhblinks", &["", "-v"]);
    add("listhblinks beta", &["-z", "-h"]);
    for link in ["ens33", "SERIAL", "nix", PINGS[0]] {
        for node in nodes {
            add(&format!("hblinkstatus {node} {link}"), spoken);
        }
    }
    add("hblinkstatus", spoken);
    add("hblinkstatus beta", spoken);
    add("hblinkstatus beta ens33", &["-v", "-z", "-h"]);
    for client in ["nix", "ping"] {
        // Each that is not answered takes half a second.
        for node in nodes.into_iter().filter(|node| *node != "BETA") {
            add(&format!("clientstatus {node} {client}"), spoken);
        }
        add(&format!("clientstatus beta {client} 2000"), spoken);
    }
    // A Heartbeat passes a name on as it was written, and gets no answer under a name in other letters.
    add("clientstatus BETA ping", plain);
    add("clientstatus ALPHA ping", plain);
    add("clientstatus", spoken);
    add("clientstatus beta", spoken);
    add("clientstatus beta nix", &["-v", "-z", "-h"]);
    add("rscstatus", &["", "-m", "-v", "-z", "-h"]);
    add("hbparameter", &["", "-m", "-p", "-z", "-h", "-pkeepalive"]);
    for name in PARAMETERS {
        add(&format!("hbparameter -p {name}"), plain);
    }
    add("hbparameter -p keepalive", &["-m"]);
    add("hbparameter -p nix", &["-m"]);
    add("hbparameter keepalive", plain);
    add("test", &["", "-z", "-m"]);
    all
}

/// Parameters that are set in the file, that have a default, that have none, that nobody knows.
const PARAMETERS: [&str; 37] = [
    "deadtime",
    "keepalive",
    "warntime",
    "initdead",
    "deadping",
    "udpport",
    "debug",
    "auto_failback",
    "baud",
    "realtime",
    "compression",
    "compression_threshold",
    "coredumps",
    "autojoin",
    "uuidfrom",
    "cluster",
    "hopfudge",
    "msgfmt",
    "conn_logd_time",
    "log_badpack",
    "hbgenmethod",
    "max_rexmit_delay",
    "syslogmsgfmt",
    "traditional_compression",
    "record_config_changes",
    "use_logd",
    "pacemaker",
    "crm",
    "node",
    "ucast",
    "ping",
    "serial",
    "apiauth",
    "logfacility",
    "watchdog",
    "nix",
    "KEEPALIVE",
];

/// What is said on beta in the words of alpha, and the other way.
fn mirrored(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['a', 'b', 'A', 'B']) {
        out += &rest[..at];
        rest = &rest[at..];
        let swapped = [("alpha", "beta"), ("beta", "alpha"), ("ALPHA", "BETA"), ("BETA", "ALPHA")];
        let found = swapped.iter().find(|(name, _)| rest.starts_with(name));
        let (from, to) = found.copied().unwrap_or((&rest[..1], &rest[..1]));
        out += to;
        rest = &rest[from.len()..];
    }
    out + rest
}

/// In the words of alpha, without what two installations differ in: names of files and devices, the version.
fn common(lab: &Lab, index: usize, said: Said) -> Said {
    let board = &lab.boards[index];
    let (serial, dir) = (board.serial.display().to_string(), board.dir.display().to_string());
    let plain = |text: String| {
        let text = text.replace(&serial, "SERIAL").replace(&dir, "FOLDER");
        let text = if index == THEIRS { mirrored(&text) } else { text };
        match text.split_once("3.0.6 (").and_then(|(head, rest)| Some((head, rest.split_once(')')?.1))) {
            Some((head, rest)) => format!("{head}3.0.6{rest}"),
            None => text,
        }
    };
    Said { out: plain(said.out), code: said.code, err: said.err.into_iter().map(plain).collect() }
}

/// Who says something.
#[derive(Debug, Clone, Copy)]
struct Teller {
    board: usize,
    is_packaged: bool,
}

/// The first is what is expected.
const TELLERS: [Teller; 4] = [
    Teller { board: THEIRS, is_packaged: true },
    Teller { board: OURS, is_packaged: true },
    Teller { board: OURS, is_packaged: false },
    Teller { board: THEIRS, is_packaged: false },
];

impl Teller {
    fn say(self, lab: &Lab, command: &str) -> Said {
        let board = &lab.boards[self.board];
        let command = if self.board == THEIRS { mirrored(command) } else { command.to_owned() };
        let command = command.replace("SERIAL", &board.serial.display().to_string());
        let words: Vec<&str> = command.split_whitespace().collect();
        let said = if self.is_packaged {
            board.cl_status(&words)
        } else {
            // Without a place: where the packaged one looks as well.
            Said::of(&board.nullbeat_as("cl_status", &words))
        };
        common(lab, self.board, said)
    }
}

/// What all four say, once they say the same: an answer may be late on a busy machine.
fn told(lab: &Lab, command: &str) -> [Said; 4] {
    let began = std::time::Instant::now();
    loop {
        let told = TELLERS.map(|teller| teller.say(lab, command));
        if told.iter().all(|said| *said == told[0]) || began.elapsed() > std::time::Duration::from_secs(10) {
            return told;
        }
    }
}

/// A row of the page.
fn row(command: &str, situation: &str, told: &[Said; 4]) -> String {
    let [expected, rest @ ..] = told;
    let text = |said: &Said| {
        let code = said.code.map_or_else(|| "signal".to_owned(), |code| code.to_string());
        format!("{code} | `{}`", cell(&[said.out.trim_end(), &said.err.join("\n")].join("\n")).trim_matches('⏎'))
    };
    let others =
        rest.iter().map(|said| if said == expected { "same".to_owned() } else { text(said).replace(" | ", " ") });
    format!("| `cl_status{command}`{situation} | {} | {} |\n", text(expected), others.collect::<Vec<_>>().join(" | "))
}

/// All commands in this situation, several at a time: the rows in order, and which commands differ.
fn ask_all(lab: &Lab, situation: &str) -> (Vec<String>, Vec<String>) {
    let commands = commands();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(vec![(String::new(), false); commands.len()]));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < commands.len()) {
                    let told = told(lab, &commands[at]);
                    let command = if commands[at].is_empty() { String::new() } else { format!(" {}", commands[at]) };
                    let is_same = told.iter().all(|said| *said == told[0]);
                    rows.lock().expect("no panic")[at] = (row(&command, situation, &told), is_same);
                }
            });
        }
    });
    let rows = rows.into_inner().expect("no panic");
    let differing = rows.iter().filter(|(_, is_same)| !is_same).map(|(row, _)| row.clone()).collect();
    (rows.into_iter().map(|(row, _)| row).collect(), differing)
}

/// A Heartbeat and a nullbeat with the same ha.cf, seen from each of them: ping nodes before, between and behind the nodes.
fn pair() -> Lab {
    let mut lab = Lab::mixed(AT_HOME);
    for board in &lab.boards {
        let path = board.config_dir().join("ha.cf");
        let text = std::fs::read_to_string(&path).expect("configured").replace("keepalive 200ms", "keepalive 100ms");
        let (own, other) = (&board.name, &lab.boards[1 - board.index].name);
        let nodes = format!("ping {}\nnode {own}\nping {}\nnode {other}\nping {}\n", PINGS[0], PINGS[1], PINGS[2]);
        let text = text.replace("node alpha\nnode beta\n", &nodes);
        assert!(text.contains(&nodes), "{text}");
        std::fs::write(path, text).expect("ha.cf");
    }
    for board in &mut lab.boards {
        board.power_on();
        if !board.runs_heartbeat() {
            board.show_sockets();
        }
        board.start();
    }
    lab.wait_owner(OURS, &["web"]);
    lab.wait_owner(THEIRS, &["mail"]);
    // Each way to each of them.
    for teller in [TELLERS[0], TELLERS[1]] {
        lab.wait("every link is up", |lab| {
            let links = teller.say(lab, "listhblinks -v beta").out;
            let rest =
                teller.say(lab, "rscstatus").out == "local\n" && teller.say(lab, "nodestatus beta").out == "active\n";
            let pings = PINGS.iter().all(|ping| teller.say(lab, &format!("nodestatus {ping}")).out == "ping\n");
            rest && pings && links.matches("\tup").count() == 2
        });
    }
    lab
}

#[test]
fn every_command_says_the_same_packaged_and_ours_beside_heartbeat_and_nullbeat() {
    let mut lab = pair();
    let api_test = format!("{DIR}/api_test");
    let _clients = [OURS, THEIRS].map(|index| Running::start(&lab.boards[index], &as_hacluster(&[&api_test])));
    for teller in [TELLERS[0], TELLERS[1]] {
        for node in ["alpha", "beta"] {
            lab.wait("a client is online", |lab| {
                teller.say(lab, &format!("clientstatus {node} ping")).out == "online\n"
            });
        }
    }
    let (mut rows, mut differing) = ask_all(&lab, "");
    lab.boards[OURS].stop();
    lab.boards[THEIRS].stop();
    let (more_rows, more) = ask_all(&lab, ", no daemon");
    rows.extend(more_rows);
    differing.extend(more);
    saw_section("cl_status", &rows);
    let (all, same) = (rows.len(), rows.len() - differing.len());
    println!("{same} of {all} the same");
    assert!(differing.is_empty(), "they differ:\n{}", differing.concat());
    let what = "the commands of the first table, packaged and ours, beside either daemon and without one";
    saw("/usr/bin/cl_status", what, &format!("{all} of {all} the same"), &format!("{same} of {all} the same"));
    lab.assert_exclusive();
}

#[test]
fn words_are_mirrored() {
    assert_eq!(mirrored("a beta of alpha, balpha, BETA, ALPHA\n"), "a alpha of beta, bbeta, ALPHA, BETA\n");
}
