//! How each fault is inflicted, and taken back.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::Bench;
use crate::lab::Board;
use crate::plan::{Blow, Fault, Files, Pair, ROLES, Role};

/// Users of the programs that waste a board's time and its process table, one for each board of each pair.
const HOGS: u32 = 64_100;
const BOMBS: u32 = 64_200;
/// So many processes a fork bomb may have: it is no danger to the machine.
const BOMB_MAX: u32 = 60;
/// After this a verb of an operator is killed, in seconds.
const VERB_LIMIT: &str = "20";

/// A limit of a process as it was before.
struct Lowered {
    pid: i32,
    /// An option of prlimit.
    option: &'static str,
    was: String,
}

/// Inflicts and takes back.
#[derive(Default)]
pub(crate) struct Tormentor {
    lowered: Vec<Lowered>,
    /// Guardians, and the words for chrt that make them as they were.
    starved: Vec<(i32, Vec<String>)>,
    /// Operators at work.
    verbs: Vec<Child>,
    /// Lines of ha.cf differ each time.
    changes: u32,
}

impl Tormentor {
    /// Inflicts it; whether there was anything to inflict it on.
    pub(crate) fn inflict(&mut self, bench: &mut Bench, blow: &Blow) -> bool {
        let Blow { fault, board: index, begins, ends } = *blow;
        if fault == Fault::Power {
            let was_on = bench.is_on(index);
            bench.power_off(index, Instant::now() + (ends - begins));
            return was_on;
        }
        // A filter at the switch and the cable are no matter of a board's power.
        if let Some(done) = cable(bench, index, fault, true) {
            return done;
        }
        if !bench.is_on(index) {
            return false;
        }
        let board = &bench.lab.boards[index];
        match fault {
            Fault::Kill(role) => signal(board, role, Signal::SIGKILL),
            Fault::Stop(role) => signal(board, role, Signal::SIGSTOP),
            Fault::KillBoth => signal_together(board, &ROLES[..2], Signal::SIGKILL),
            Fault::StopBoth => signal_together(board, &ROLES[..2], Signal::SIGSTOP),
            Fault::KillAll => signal_together(board, &ROLES, Signal::SIGKILL),
            Fault::Freeze => signal_together(board, &ROLES, Signal::SIGSTOP),
            Fault::OutOfMemory => kill_the_largest(board),
            Fault::Restart => restart(bench, index),
            Fault::DiskFull | Fault::RunFull => {
                bench.fill(index, disks(fault), true);
                true
            }
            Fault::NoDescriptors(role) => self.lower(board, role, "--nofile", |pid| {
                Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count().to_string())
            }),
            Fault::NoMemory(role) => self.lower(board, role, "--as", |pid| {
                let pages = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
                Some((pages.split(' ').next()?.parse::<u64>().ok()? * 4096).to_string())
            }),
            Fault::Hog => hog(board, bench.pair),
            Fault::Starved => self.starve(board) && hog(board, bench.pair),
            Fault::ForkBomb => fork_bomb(board, bench.pair),
            Fault::ClockStep(seconds) => {
                bench.clocks[index].set(seconds);
                true
            }
            Fault::Reload(files) => self.reload(bench, index, files),
            Fault::Storm => self.storm(board),
            Fault::FenceFails => set_shoot_mode(board, Some("fail")),
            Fault::FenceHangs => set_shoot_mode(board, Some("hang")),
            other => unreachable!("{other:?} is done above"),
        }
    }

    /// Takes back what does not end of itself.
    pub(crate) fn take_back(&mut self, bench: &mut Bench, blow: &Blow) {
        let index = blow.board;
        if cable(bench, index, blow.fault, false).is_some() {
            return;
        }
        match blow.fault {
            Fault::DiskFull | Fault::RunFull => bench.fill(index, disks(blow.fault), false),
            Fault::ClockStep(_) => bench.clocks[index].set(0),
            Fault::Reload(Files::Broken) => bench.write_ha_cf(index, ""),
            Fault::NoDescriptors(_) | Fault::NoMemory(_) => self.raise_limits(),
            Fault::FenceFails | Fault::FenceHangs => drop(set_shoot_mode(&bench.lab.boards[index], None)),
            _ => {}
        }
        if !bench.is_on(index) {
            return;
        }
        let board = &bench.lab.boards[index];
        match blow.fault {
            Fault::Stop(role) => drop(signal(board, role, Signal::SIGCONT)),
            Fault::Freeze | Fault::StopBoth => board.thaw(),
            Fault::Hog => end_programs(board, user(HOGS, board, bench.pair)),
            Fault::ForkBomb => end_programs(board, user(BOMBS, board, bench.pair)),
            Fault::Starved => {
                end_programs(board, user(HOGS, board, bench.pair));
                self.feed();
            }
            _ => {}
        }
    }

    /// Operators that have come back are forgotten; whether any is still at work.
    pub(crate) fn has_verbs(&mut self) -> bool {
        self.verbs.retain_mut(|verb| verb.try_wait().expect("a child").is_none());
        !self.verbs.is_empty()
    }

    fn lower(&mut self, board: &Board, role: Role, option: &'static str, to: impl Fn(i32) -> Option<String>) -> bool {
        let mut is_done = false;
        for pid in board.pids(role.name()) {
            let of = |words: &[&str]| prlimit(pid, words);
            let Some(was) = of(&["--output=SOFT", "--noheadings", "--raw", option]) else { continue };
            let Some(limit) = to(pid) else { continue };
            is_done |= of(&[&format!("{option}={limit}:")]).is_some();
            self.lowered.push(Lowered { pid, option, was: was.trim().to_owned() });
        }
        is_done
    }

    fn raise_limits(&mut self) {
        for Lowered { pid, option, was } in self.lowered.drain(..).rev() {
            // It may be gone.
            let _ = prlimit(pid, &[&format!("{option}={was}:")]);
        }
    }

    fn starve(&mut self, board: &Board) -> bool {
        let mut is_done = false;
        for pid in board.pids("guardian") {
            let output = Command::new("chrt").args(["-p", &pid.to_string()]).output().expect("chrt");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let word = |line: usize| text.lines().nth(line)?.rsplit(' ').next().map(str::to_owned);
            let (Some(policy), Some(priority)) = (word(0), word(1)) else { continue };
            let mut was = Vec::new();
            if policy.contains("RESET_ON_FORK") {
                was.push("-R");
            }
            was.push(match policy.split('|').next() {
                Some("SCHED_FIFO") => "-f",
                Some("SCHED_RR") => "-r",
                _ => "-o",
            });
            was.extend(["-p", &priority]);
            is_done |= chrt(pid, &["-i", "-p", "0"]);
            self.starved.push((pid, was.iter().map(|&word| word.to_owned()).collect()));
        }
        is_done
    }

    fn feed(&mut self) {
        for (pid, was) in self.starved.drain(..) {
            // It may be gone.
            let _ = chrt(pid, &was.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    fn reload(&mut self, bench: &Bench, index: usize, files: Files) -> bool {
        let board = &bench.lab.boards[index];
        self.changes += 1;
        let change = format!("warntime {}ms\n", 1_000 + self.changes % 500);
        match files {
            Files::Same => {}
            Files::Changed | Files::Program => bench.write_ha_cf(index, &change),
            Files::Broken => bench.write_ha_cf(index, "deadtime never\n"),
        }
        let binary = if files == Files::Program { &["--binary"][..] } else { &[] };
        self.verb(board, &[&["reload"], binary].concat());
        true
    }

    fn storm(&mut self, board: &Board) -> bool {
        if board.runs_heartbeat() {
            // Its own tools: each is heard or not, and nobody waits.
            self.run(board, &["/usr/share/heartbeat/hb_standby", "all"]);
        } else {
            for words in
                [&["standby"][..], &["takeover"], &["standby", "local"], &["failback"], &["takeover", "foreign"]]
            {
                self.verb(board, words);
            }
        }
        true
    }

    /// A verb of ours on a board; nobody waits for it.
    fn verb(&mut self, board: &Board, words: &[&str]) {
        let directories = board.directories();
        let mut all = vec!["timeout", "-s", "KILL", VERB_LIMIT, crate::lab::NULLBEAT, words[0]];
        all.extend(directories.iter().map(String::as_str));
        all.extend(&words[1..]);
        self.run(board, &all);
    }

    fn run(&mut self, board: &Board, words: &[&str]) {
        let verb = board.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.verbs.push(verb.expect("nsenter"));
    }

    /// Everything back as it was, whatever was inflicted.
    pub(crate) fn heal(&mut self, bench: &mut Bench) {
        self.raise_limits();
        self.feed();
        for index in [0, 1] {
            for fault in
                [Fault::SerialCut, Fault::SerialLoss, Fault::SerialNoise, Fault::EthernetCut, Fault::EthernetLoss]
            {
                let _ = cable(bench, index, fault, false);
            }
            for fault in [Fault::DiskFull, Fault::RunFull] {
                bench.fill(index, disks(fault), false);
            }
            bench.clocks[index].set(0);
            let board = &bench.lab.boards[index];
            let _ = set_shoot_mode(board, None);
            if !board.runs_heartbeat() {
                bench.write_ha_cf(index, "");
            }
            bench.power_on(index);
            let _ = cable(bench, index, Fault::Unplug, false);
            let board = &bench.lab.boards[index];
            board.thaw();
            for users in [HOGS, BOMBS] {
                end_programs(board, user(users, board, bench.pair));
            }
            if bench.pair == Pair::Fenced {
                // What was counted of shots and moves.
                self.verb(board, &["resume"]);
            }
            let _ = restart(bench, index);
        }
    }
}

/// Faults of what is between the boards: whether they could be inflicted; none for all others.
fn cable(bench: &Bench, index: usize, fault: Fault, is_on: bool) -> Option<bool> {
    let lab = &bench.lab;
    match fault {
        Fault::SerialCut => lab.modem.cut_from(index, is_on),
        Fault::SerialLoss => lab.modem.lose(if is_on { 30 } else { 0 }),
        Fault::SerialNoise => lab.modem.disturb(if is_on { 30 } else { 0 }),
        Fault::Unplug if bench.is_on(index) => lab.ethernet(index, !is_on),
        Fault::Unplug => return Some(false),
        Fault::EthernetCut => filter(bench, index, "cut", is_on.then_some("drop")),
        Fault::EthernetLoss => filter(bench, index, "loss", is_on.then_some("numgen random mod 100 < 30 drop")),
        _ => return None,
    }
    Some(true)
}

/// A rule at the switch for what this board sends, or none.
fn filter(bench: &Bench, index: usize, name: &str, rule: Option<&str>) {
    let table = format!("table bridge {name}{index}");
    // Deleting needs it to be there.
    let mut text = format!("add {table}; delete {table}");
    if let Some(rule) = rule {
        let port = &bench.lab.boards[index].switch_port;
        text += &format!(
            "; {table} {{ chain forward {{ type filter hook forward priority 0; iifname {port} {rule}; }}; }}"
        );
    }
    crate::lab::in_netns(bench.lab.lan(), &["nft", &text]);
}

/// All are stopped before any goes, so that none sees another one go.
fn signal_together(board: &Board, roles: &[Role], last: Signal) -> bool {
    let pids: Vec<i32> = roles.iter().flat_map(|role| board.pids(role.name())).collect();
    for signal in [Signal::SIGSTOP, last] {
        for &pid in &pids {
            // It may be gone.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
    !pids.is_empty()
}

fn signal(board: &Board, role: Role, signal: Signal) -> bool {
    let sent = board.pids(role.name()).into_iter().map(|pid| kill(Pid::from_raw(pid), signal).is_ok());
    sent.filter(|&is_sent| is_sent).count() > 0
}

/// What is full then.
fn disks(fault: Fault) -> &'static [&'static str] {
    if fault == Fault::RunFull { &["run"] } else { &["state", "log"] }
}

/// The kernel's choice, by its own number.
fn kill_the_largest(board: &Board) -> bool {
    let score = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/oom_score")).ok()?.trim().parse::<u32>().ok();
    let is_ours =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("nullbeat"));
    let victim = board.residents().into_iter().filter(is_ours).max_by_key(|pid| score(pid).unwrap_or(0));
    victim.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
}

/// As a service manager: a daemon, if there is none.
pub(crate) fn restart(bench: &mut Bench, index: usize) -> bool {
    let is_needed = bench.is_on(index) && !bench.has_daemon(index);
    if is_needed {
        bench.lab.boards[index].start();
    }
    is_needed
}

/// As a service manager with a watchdog: ends a guardian that stands still.
pub(crate) fn end_hung_guardian(bench: &Bench, index: usize) -> bool {
    let board = &bench.lab.boards[index];
    let is_stopped = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && line.contains('T'))
    };
    let hung = if bench.is_on(index) { board.pids("guardian") } else { Vec::new() };
    let ended = hung.into_iter().filter(is_stopped).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
    ended.count() > 0
}

fn user(users: u32, board: &Board, pair: Pair) -> u32 {
    users + 10 * pair as u32 + u32::try_from(board.index).expect("two")
}

/// Something that runs on the board as this user until that user's programs are ended, and at most for a minute.
fn waste(board: &Board, user: u32, words: &[&str]) -> bool {
    let user = user.to_string();
    let mut all = vec!["timeout", "-s", "KILL", "60", "setpriv", "--reuid", &user, "--clear-groups"];
    all.extend(words);
    let mut command = board.command(&all);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nsenter");
    // Nobody else collects it.
    std::thread::spawn(move || child.wait());
    true
}

/// One for each processor.
fn hog(board: &Board, pair: Pair) -> bool {
    (0..2).all(|_| waste(board, user(HOGS, board, pair), &["sh", "-c", "while :; do :; done"]))
}

fn fork_bomb(board: &Board, pair: Pair) -> bool {
    let limit = format!("--nproc={BOMB_MAX}");
    waste(board, user(BOMBS, board, pair), &["prlimit", &limit, "sh", "-c", "bomb() { bomb | bomb & }; bomb"])
}

/// Ends everything that this user runs on the board. All stand still before any goes, so that none begets another.
fn end_programs(board: &Board, user: u32) {
    let start = Instant::now();
    let of_user = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let is_of = |line: &str| line.split_whitespace().nth(1) == Some(&user.to_string());
        let is_alive = status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'));
        is_alive && status.lines().any(|line| line.starts_with("Uid:") && is_of(line))
    };
    loop {
        let found: Vec<i32> = board.residents().into_iter().filter(of_user).collect();
        if found.is_empty() {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{} of user {user} do not die", found.len());
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for &pid in &found {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }
}

fn set_shoot_mode(board: &Board, mode: Option<&str>) -> bool {
    let path = board.dir.join("shoot-mode");
    match mode {
        Some(mode) => fs::write(path, mode).is_ok(),
        None => fs::remove_file(path).is_ok(),
    }
}

fn prlimit(pid: i32, words: &[&str]) -> Option<String> {
    let output = Command::new("prlimit").args(["--pid", &pid.to_string()]).args(words).output().expect("prlimit");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn chrt(pid: i32, words: &[&str]) -> bool {
    let output = Command::new("chrt").args(words).arg(pid.to_string()).output().expect("chrt");
    output.status.success()
}
