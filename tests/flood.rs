//! The packets of a real cluster, captured, damaged and sent back at ten thousand a second: nothing moves, nothing grows,
//! everything is counted, and the beats stay on time. Ten seconds; a minute with `tests/run --all`.

mod lab;

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use lab::Lab;
use lab::tap::{self, Tap};

const NULLBEAT: usize = 0;
const HEARTBEAT: usize = 1;
/// Datagrams in one burst, and bursts in a second.
const BURST: u64 = 100;
const BURSTS: u64 = 100;
/// Sent once each, over and over.
const KINDS: usize = 4_000;
/// Lines of log for any flood: five for each link a minute, one for each kind of complaint in ten seconds.
const LOG_LINES_MAX: usize = 100;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("48 bits") % limit
    }
}

/// One packet of `from`, damaged in one of these ways.
fn damaged(from: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    loop {
        let mut packet = from[dice.below(from.len())].clone();
        match dice.below(4) {
            0 => {
                let at = dice.below(packet.len());
                packet[at] ^= 1 << dice.below(8);
            }
            1 => packet.truncate(dice.below(packet.len())),
            2 => {
                let other = &from[dice.below(from.len())];
                packet.truncate(dice.below(packet.len()));
                packet.extend_from_slice(&other[dice.below(other.len())..]);
            }
            _ => {
                for _ in 0..20 {
                    let at = dice.below(packet.len());
                    packet[at] = u8::try_from(dice.below(256)).expect("a byte");
                }
            }
        }
        // Nothing that is as it was, and no bytes behind a whole packet, which are ignored.
        if !from.iter().any(|whole| packet.starts_with(whole)) {
            return packet;
        }
    }
}

/// What a node says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    /// Authentic messages on the Ethernet link.
    received: u64,
    /// Others.
    rejected: u64,
    /// Authentic ones of an older generation.
    replays: u64,
    /// Datagrams that found the socket's buffer full; the kernel's word.
    overflown: u64,
    /// Bytes and frames of noise on the serial line.
    noise: u64,
}

fn number(object: &str, name: &str) -> u64 {
    let (_, rest) = object.split_once(&format!("\"{name}\": ")).unwrap_or_else(|| panic!("no {name} in {object}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} is no number in {object}"))
}

fn counted(lab: &Lab) -> Counted {
    let board = &lab.boards[NULLBEAT];
    let links = String::from_utf8_lossy(&board.nullbeat(&["links", "--json"]).stdout).into_owned();
    let serial = board.serial.display().to_string();
    let objects: Vec<&str> = links.split('{').collect();
    let sum = |link: &str| {
        let of = format!("\"link\": \"{link}\"");
        objects.iter().filter(|object| object.contains(&of)).map(|object| number(object, "count")).sum::<u64>()
    };
    let medium = |link: &str| {
        let named = format!("\"name\": \"{link}\"");
        *objects.iter().find(|it| it.contains(&named) && it.contains("noise_bytes")).expect("that medium")
    };
    let status = board.status_json();
    let sockets = std::fs::read_to_string(format!("/proc/{}/net/udp", board.pids("engine")[0])).expect("sockets");
    let drops =
        sockets.lines().filter(|line| line.contains(":02B6 ")).filter_map(|line| line.split_whitespace().last());
    Counted {
        received: number(medium("ens33"), "received"),
        rejected: sum("ens33"),
        replays: number(&status, "replays"),
        overflown: drops.map(|count| count.parse::<u64>().expect("a number")).sum(),
        noise: number(medium(&serial), "noise_bytes") + sum(&serial),
    }
}

/// Memory of a process in KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// All that is resident; pages of the program's file are among it, which come in when a piece of it runs for the first
    /// time, and belong to all processes.
    resident: u64,
    /// What it has of its own: heap, stack, changed data.
    anonymous: u64,
}

fn memory(pid: i32) -> Memory {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps");
    let of = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind)).unwrap_or_else(|| panic!("no {kind} in {text}"));
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    Memory { resident: of("Rss:"), anonymous: of("Anonymous:") }
}

fn events(lab: &Lab) -> String {
    let output = lab.boards[NULLBEAT].nullbeat(&["history", "--json"]);
    assert!(output.status.success(), "{output:?}");
    // The numbers of what happened; ages pass.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(['{', '}', ',']).filter(|part| !part.contains("age_ms")).collect()
}

/// A pair at home, and what beta said in its first run: now it is in its second.
fn pair_with_a_past() -> (Lab, Vec<Vec<u8>>) {
    let mut lab = Lab::mixed(lab::AT_HOME);
    for board in &mut lab.boards {
        board.power_on();
    }
    let tap = Tap::open(lab.lan(), &lab.boards[HEARTBEAT].address);
    for board in &mut lab.boards {
        board.start();
    }
    wait_home(&lab);
    lab.wait("enough is heard", |_| tap.heard().len() >= 40);
    let old = tap.heard();
    let path = lab.boards[HEARTBEAT].config_dir().join("ha.cf");
    let file = std::fs::File::open(path).expect("ha.cf");
    file.set_modified(SystemTime::now() + Duration::from_secs(10)).expect("its time");
    lab.boards[HEARTBEAT].reload();
    lab.wait("Heartbeat has restarted itself", |lab| {
        lab.boards[NULLBEAT].log().contains("Heartbeat restart on node beta")
    });
    wait_home(&lab);
    (lab, old)
}

#[track_caller]
fn wait_home(lab: &Lab) {
    lab.wait_owner(NULLBEAT, &["web"]);
    lab.wait_owner(HEARTBEAT, &["mail"]);
    let active = "Status update for node beta: status active";
    lab.wait("all is said", |lab| lab.boards[NULLBEAT].log().contains(active) && lab.boards[NULLBEAT].is_settled());
}

/// Sends for so long; returns how many were sent, and how many of them were authentic but old.
fn flood(lab: &Lab, kinds: &[(Vec<u8>, bool)], lines: &[Vec<u8>], time: Duration) -> (u64, u64) {
    let socket = tap::sender(lab.lan(), &format!("{}:694", lab.boards[NULLBEAT].address));
    let (began, mut sent, mut old) = (Instant::now(), 0, 0);
    let mut next = kinds.iter().cycle();
    let mut lines = lines.iter().cycle();
    while began.elapsed() < time {
        for (packet, is_old) in next.by_ref().take(usize::try_from(BURST).expect("small")) {
            socket.send(packet).expect("sent");
            sent += 1;
            old += u64::from(*is_old);
        }
        let bursts = sent / BURST;
        if bursts.is_multiple_of(3) {
            lab.modem.inject(NULLBEAT, lines.next().expect("endless"));
        }
        std::thread::sleep(
            (began + Duration::from_millis(1000 / BURSTS) * u32::try_from(bursts).expect("few"))
                .saturating_duration_since(Instant::now()),
        );
    }
    (sent, old)
}

#[test]
fn flood_of_damaged_and_old_packets_changes_nothing_and_delays_no_beat() {
    let (lab, old) = pair_with_a_past();
    let tap = Tap::open(lab.lan(), &lab.boards[HEARTBEAT].address);
    lab.wait("enough is heard", |_| tap.heard().len() >= 40);
    let new = tap.heard();
    drop(tap);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let all: Vec<Vec<u8>> = old.iter().chain(&new).cloned().collect();
    let kinds: Vec<(Vec<u8>, bool)> = (0..KINDS)
        .map(|index| match index % 8 {
            0 => (old[dice.below(old.len())].clone(), true),
            1 => (new[dice.below(new.len())].clone(), false),
            _ => (damaged(&all, &mut dice), false),
        })
        .collect();
    let frames: Vec<Vec<u8>> =
        lab.modem.said(HEARTBEAT).split_inclusive(|byte| *byte == b'<').map(<[u8]>::to_vec).collect();
    let lines: Vec<Vec<u8>> = (0..500).map(|_| damaged(&frames, &mut dice)).collect();

    let pids = ["engine", "guardian", "logger"].map(|role| lab.boards[NULLBEAT].pids(role)[0]);
    let (history, memories, before) = (events(&lab), pids.map(memory), counted(&lab));
    let logs = [NULLBEAT, HEARTBEAT].map(|index| lab.boards[index].log().len());
    let time = Duration::from_secs(if lab::is_long_lane() { 60 } else { 10 });
    let (sent, sent_old) = flood(&lab, &kinds, &lines, time);

    let all_of = |after: Counted| {
        (after.received - before.received) + (after.rejected - before.rejected) + (after.overflown - before.overflown)
    };
    lab.wait("everything is counted", |lab| all_of(counted(lab)) >= sent);
    let after = counted(&lab);
    // Beta goes on: five beats a second, an acknowledgement, a little more.
    let of_beta = 20 * (time.as_secs() + 10);
    assert!(all_of(after) <= sent + of_beta, "{sent} sent, {before:?}, {after:?}");
    let overflown = after.overflown - before.overflown;
    assert!(after.replays - before.replays + overflown >= sent_old, "{sent_old} were old, {before:?}, {after:?}");
    assert!(after.noise > before.noise, "{before:?}, {after:?}");

    let mut report = format!("{sent} in {time:?}, {overflown} of them not taken by the socket");
    for ((role, pid), before) in ["engine", "guardian", "logger"].iter().zip(pids).zip(memories) {
        let after = memory(pid);
        let _ = write!(report, "; {role} {} -> {} KiB", before.resident, after.resident);
        assert!(after.anonymous <= before.anonymous + 16, "{report}: {before:?}, {after:?}");
        // The engine is locked into memory as a whole, and the guardian; the logger is not.
        let is_locked = role != &"logger";
        assert!(!is_locked || after.resident <= before.resident + 16, "{report}: {before:?}, {after:?}");
    }
    assert_eq!(events(&lab), history, "something has happened");
    let said = [NULLBEAT, HEARTBEAT].map(|index| lab.boards[index].log().split_off(logs[index]));
    let late: Vec<&str> = said.iter().flat_map(|log| log.lines()).filter(|line| is_about_lateness(line)).collect();
    assert_eq!(late, Vec::<&str>::new());
    let lines = said[NULLBEAT].lines().count();
    let _ = write!(
        report,
        "; {lines} lines of log; late at most {} ms",
        number(&lab.boards[NULLBEAT].status_json(), "late_max_ms")
    );
    assert!(lines <= LOG_LINES_MAX, "{report}\n{}", said[NULLBEAT]);
    lab.assert_exclusive();
    println!("{report}");
}

fn is_about_lateness(line: &str) -> bool {
    ["Late heartbeat", "is dead", " dead.", "lost packet", "returning after partition"]
        .iter()
        .any(|word| line.contains(word))
}
