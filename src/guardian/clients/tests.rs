use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::unistd::{getgid, getuid};

use super::*;
use crate::config::sample;

/// A directory of its own, removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nullbeat-clients-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", self.0.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn lines(&self, name: &str) -> usize {
        fs::read_to_string(self.0.join(name)).unwrap_or_default().lines().count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(command: &str, is_failfast: bool) -> ClientLine {
    let user = User { name: "tester".into(), uid: getuid().as_raw(), gid: getgid().as_raw() };
    ClientLine { user, groups: vec![getgid().as_raw()], command: command.into(), is_failfast }
}

fn config(scratch: &Scratch, commands: &[&str]) -> Config {
    let mut config = sample::config(&scratch.0, &[]);
    config.clients = commands.iter().map(|command| line(command, false)).collect();
    config
}

/// A table whose clock only moves when the test says so; deaths are real.
struct Bench {
    clients: Clients,
    now: Instant,
}

impl Bench {
    fn new(config: &Config) -> Self {
        let clients = Clients::new(config, Vec::new(), &[c"PATH=/usr/bin:/bin".to_owned()]).unwrap();
        Self { clients, now: Instant::now() }
    }

    fn up(config: &Config) -> Self {
        let mut bench = Self::new(config);
        bench.clients.communication_up(bench.now);
        bench
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.clients.turn(self.now);
    }

    /// Turns, with the clock standing still, until `is_it`.
    #[track_caller]
    fn until(&mut self, why: &str, is_it: impl Fn(&Clients) -> bool) {
        let limit = Instant::now() + Duration::from_secs(30);
        while !is_it(&self.clients) {
            assert!(Instant::now() < limit, "{why}");
            let _ = poll(&mut [PollFd::new(self.clients.as_fd(), PollFlags::POLLIN)], PollTimeout::from(20_u8));
            self.clients.turn(self.now);
        }
    }

    #[track_caller]
    fn await_runs(&mut self, scratch: &Scratch, file: &str, runs: usize) {
        self.until(file, |_| scratch.lines(file) >= runs);
    }
}

fn running(clients: &Clients) -> usize {
    clients.rows.iter().filter(|row| matches!(row.state, State::Running { .. })).count()
}

fn is_done(clients: &Clients) -> bool {
    matches!(clients.rows[0].state, State::Done)
}

fn pid(clients: &Clients) -> Pid {
    clients.processes().next().expect("it runs")
}

#[test]
fn client_is_started_when_communication_is_up_and_again_when_it_was_killed() {
    let scratch = Scratch::new("again");
    let config = config(&scratch, &[&scratch.script("c", "echo >> runs; exec sleep 1000")]);
    let mut bench = Bench::new(&config);
    bench.pass(Duration::from_secs(100));
    assert_eq!((running(&bench.clients), bench.clients.next_deadline()), (0, None), "nobody has asked for it");
    bench.clients.communication_up(bench.now);
    bench.await_runs(&scratch, "runs", 1);
    kill(pid(&bench.clients), Signal::SIGKILL).unwrap();
    bench.until("its death", |clients| running(clients) == 0);
    assert_eq!(bench.clients.next_deadline(), Some(bench.now + PAUSE), "its life was short");
    bench.pass(PAUSE);
    bench.await_runs(&scratch, "runs", 2);
    bench.pass(SHORT_LIFE);
    kill(pid(&bench.clients), Signal::SIGKILL).unwrap();
    bench.await_runs(&scratch, "runs", 3);
    assert_eq!(bench.clients.rows[0].short_lives, 0, "a long life: at once, and nothing is counted");
    bench.clients.stop_clients();
    bench.until("the stop", Clients::is_stopped);
    assert_eq!(bench.clients.processes().count(), 0);
}

#[test]
fn client_with_exit_code_100_stays_away_even_from_the_next_engine() {
    let scratch = Scratch::new("hundred");
    let mut bench = Bench::up(&config(&scratch, &[&scratch.script("c", "echo >> runs; exit 100")]));
    bench.until("its end", is_done);
    bench.clients.stop_clients();
    bench.clients.communication_up(bench.now);
    bench.pass(SHORT_LIFE);
    assert_eq!((scratch.lines("runs"), running(&bench.clients)), (1, 0));
}

#[test]
fn client_of_eleven_short_lives_is_given_up() {
    let scratch = Scratch::new("eleven");
    let mut bench = Bench::up(&config(&scratch, &[&scratch.script("c", "echo >> runs; exit 0")]));
    for run in 1..=11 {
        bench.until("its end", |clients| running(clients) == 0);
        assert_eq!(is_done(&bench.clients), run == 11, "run {run}");
        bench.pass(PAUSE);
    }
    bench.pass(SHORT_LIFE);
    assert_eq!(scratch.lines("runs"), 11);
}

#[test]
fn clients_end_from_the_last_to_the_first_and_a_deaf_one_is_killed() {
    let scratch = Scratch::new("order");
    let polite =
        scratch.script("polite", "trap 'echo polite >> ends; exit 0' TERM; echo >> runs; while :; do sleep 0.05; done");
    let deaf = scratch.script("deaf", "trap '' TERM; echo >> runs; while :; do sleep 0.05; done");
    let mut bench = Bench::up(&config(&scratch, &[&polite, &deaf]));
    bench.await_runs(&scratch, "runs", 2);
    bench.clients.stop_clients();
    bench.pass(Duration::ZERO);
    bench.clients.communication_up(bench.now);
    bench.pass(GRACE / 2);
    assert_eq!(running(&bench.clients), 0, "nothing new beside what is on its way out");
    assert_eq!((bench.clients.leaving.len(), scratch.lines("ends")), (2, 0), "the first one waits for the last one");
    bench.pass(GRACE / 2);
    bench.await_runs(&scratch, "ends", 1);
    bench.await_runs(&scratch, "runs", 4);
    bench.clients.stop_all();
    bench.pass(Duration::ZERO);
    bench.pass(GRACE);
    bench.until("the stop", Clients::is_stopped);
}

#[test]
fn failfast_client_that_fails_is_reported_and_one_that_ends_well_is_not() {
    let scratch = Scratch::new("failfast");
    let mut config = config(&scratch, &[]);
    for (script, is_failure) in [("exit 0", false), ("exit 3", true), ("exit 100", true), ("kill -9 $$", true)] {
        let command = scratch.script("c", script);
        config.clients = vec![line(&command, true)];
        let mut bench = Bench::up(&config);
        bench.until(script, |clients| running(clients) == 0);
        assert_eq!(bench.clients.poll_failure(), is_failure.then(|| Failure { name: command.clone() }), "{script}");
        config.clients[0].is_failfast = false;
        let mut bench = Bench::up(&config);
        bench.until(script, |clients| running(clients) == 0);
        assert_eq!(bench.clients.poll_failure(), None, "{script}");
    }
}

#[test]
fn client_of_an_earlier_guardian_ends_before_the_next_one_starts() {
    let scratch = Scratch::new("leftover");
    let config = config(&scratch, &[&scratch.script("c", "echo >> runs; exec sleep 1000")]);
    let mut first = Bench::up(&config);
    first.await_runs(&scratch, "runs", 1);
    let left = ProcessKey::of(pid(&first.clients)).unwrap();
    let mut second = Bench::new(&config);
    second.clients.end_leftover(left);
    second.clients.communication_up(second.now);
    assert_eq!(running(&second.clients), 0);
    second.await_runs(&scratch, "runs", 2);
    assert!(left.open().is_none(), "it is gone");
    second.clients.stop_all();
    second.until("the stop", Clients::is_stopped);
}

#[test]
fn client_inherits_nothing_of_the_guardian() {
    let scratch = Scratch::new("clean");
    let script = "env > env; readlink /proc/$$/fd/* > fds; cut -d' ' -f5 /proc/$$/stat > group; echo $$ > pid
        grep Sig[BI] /proc/self/status > signals; pwd -P > where; exec sleep 1000";
    let command = scratch.script("c", script).replace("/c", "/c 'a  b'");
    let mut bench = Bench::up(&config(&scratch, &[&command]));
    bench.until("it has looked", |_| scratch.lines("where") == 1);
    let text = |name: &str| fs::read_to_string(scratch.0.join(name)).unwrap();
    assert!(text("env").contains("PATH=/usr/bin:/bin\n"), "{}", text("env"));
    assert!(!text("env").contains("CARGO"), "{}", text("env"));
    assert_eq!(text("group"), text("pid"), "its own process group");
    // The shell has the script open besides.
    let own = scratch.0.display().to_string();
    assert!(text("fds").lines().all(|path| path == "/dev/null" || path.starts_with(&own)), "{}", text("fds"));
    // What the shell's child inherits: the shell itself blocks all while it begins to wait. Those above 31 are the C
    // library's own.
    let masks = text("signals");
    let masks = masks.lines().filter_map(|line| u64::from_str_radix(line.split('\t').nth(1)?, 16).ok());
    let sigalrm = 1 << 13;
    assert_eq!(masks.map(|mask| mask & 0x7fff_ffff).collect::<Vec<_>>(), [0, sigalrm]);
    bench.clients.stop_all();
    bench.until("the stop", Clients::is_stopped);
}

#[test]
fn service_that_dies_again_and_again_is_down_and_never_given_up() {
    let scratch = Scratch::new("down");
    // The test program takes no such option, and ends.
    let service = Service {
        name: "service",
        arguments: vec!["--no-such-option".into()],
        user: None,
        group: None,
        has_channel: false,
    };
    let clients = Clients::new(&config(&scratch, &[]), vec![service], &[]).unwrap();
    let mut bench = Bench { clients, now: Instant::now() };
    bench.clients.start_services(bench.now);
    let mut pauses = Vec::new();
    for life in 1..=14 {
        bench.until("its end", |clients| running(clients) == 0);
        assert_eq!(bench.clients.is_service_down(), life >= 3, "life {life}");
        let pause = bench.clients.next_deadline().expect("there is always another one") - bench.now;
        pauses.push(pause.as_secs());
        bench.pass(pause);
    }
    assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    // One that stays alive is well again, and nothing has to happen for that.
    let child = fork_child(|| {
        std::thread::sleep(Duration::from_secs(1000));
        0
    });
    let child = child.unwrap();
    let (excuse, _) = pipe2(OFlag::O_CLOEXEC).unwrap();
    bench.clients.rows[0].state = State::Running { child, started: bench.now, excuse };
    assert_eq!((bench.clients.is_service_down(), bench.clients.next_deadline()), (true, Some(bench.now + SHORT_LIFE)));
    bench.pass(SHORT_LIFE);
    assert_eq!((bench.clients.is_service_down(), bench.clients.next_deadline()), (false, None));
    kill(pid(&bench.clients), Signal::SIGKILL).unwrap();
    bench.clients.stop_all();
    bench.until("the stop", Clients::is_stopped);
}

#[test]
fn client_that_cannot_become_its_program_leaves_a_word_why() {
    let scratch = Scratch::new("excuse");
    let mut config = config(&scratch, &["/bin/true"]);
    // Without the right to do so nobody becomes somebody else, and nobody has such a shell.
    config.clients[0].user.uid = u32::MAX;
    let mut bench = Bench::up(&config);
    let excuse = match &bench.clients.rows[0].state {
        State::Running { child, excuse, .. } => {
            let _ = poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(30_000_u16));
            read_excuse(excuse)
        }
        other => panic!("{other:?}"),
    };
    assert!(excuse.as_deref().is_some_and(|words| words.contains("os error") || words.contains('E')), "{excuse:?}");
    bench.until("its end", |clients| running(clients) == 0);
}

#[test]
fn service_outlives_a_reload_that_keeps_it_and_finds_its_channel() {
    let scratch = Scratch::new("service");
    let config = config(&scratch, &[]);
    let service = |argument: &str| Service {
        // The test program lists this one, and ends.
        name: "client_is_started_when_communication_is_up_and_again_when_it_was_killed",
        arguments: vec!["--list".into(), argument.into()],
        user: None,
        group: None,
        has_channel: true,
    };
    let mut clients = Clients::new(&config, vec![service("--quiet")], &[]).unwrap();
    let now = Instant::now();
    clients.start_services(now);
    let first = pid(&clients);
    assert!(clients.poll_channel().is_some() && clients.poll_channel().is_none());
    clients.replace_table(&config, vec![service("--quiet")], &[]);
    assert_eq!((pid(&clients), clients.is_stopped()), (first, true), "it runs on");
    clients.replace_table(&config, vec![service("--test")], &[]);
    assert!(!clients.is_stopped(), "the old one ends");
    let mut bench = Bench { clients, now };
    bench.until("the new one", |clients| {
        clients.is_stopped() && clients.processes().next().is_some_and(|pid| pid != first)
    });
    bench.clients.stop_all();
    bench.until("the stop", Clients::is_stopped);
}

#[test]
fn every_signal_of_the_original_has_its_words() {
    assert_eq!(meaning(Signal::SIGKILL), "Kill, unblockable");
    assert_eq!(format!("{} - {}", Signal::SIGSEGV, meaning(Signal::SIGSEGV)), "SIGSEGV - Segmentation violation");
}
