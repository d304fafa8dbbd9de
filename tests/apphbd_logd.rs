//! The services `apphbd` and `ha_logd` under their own names, with the packaged clients of the original, and with clients
//! that mean no good. Each on a board of its own.

mod lab;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use lab::evidence::saw;
use lab::{Lab, PATIENCE};

const APPHBTEST: &str = "/usr/libexec/heartbeat/apphbtest";
const LOGTEST: &str = "/usr/lib/heartbeat/logtest";
const HA_LOGGER: &str = "/usr/sbin/ha_logger";
const MAGIC: u32 = 0xabcd;

/// A client of apphbd in Perl: `reg NAME`, `setint MS`, `setboot N`, `hb`, `unreg`, each printing the number of the
/// reply, `burst N`, which sends as many beats and a `setint` in one piece, and `sleep SECONDS`, `exit`.
const CLIENT: &str = r#"use Socket; use Time::HiRes; $| = 1;
socket($s, PF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un("/run/heartbeat/apphb.comm")) or die "connect: $!";
sub ask { my ($body, $is_answered) = @_; syswrite($s, pack("lL", length $body, 0xabcd) . $body); return unless $is_answered;
    my $n = sysread($s, my $answer, 12); die "end" unless $n == 12; print +(unpack("lLl", $answer))[2], "\n"; }
while (@ARGV) { my $verb = shift;
    if ($verb eq "sleep") { Time::HiRes::sleep(shift) }
    elsif ($verb eq "reg") { ask(pack("a8a256a256a256lLL", "reg", shift, "one", "/", $$, $<, $( + 0), 1) }
    elsif ($verb eq "hb" or $verb eq "unreg") { ask(pack("a8", $verb), $verb eq "unreg") }
    elsif ($verb eq "beats") { for (1 .. shift) { ask(pack("a8", "hb"), 0); Time::HiRes::sleep(0.1) } }
    elsif ($verb eq "burst") { my $n = shift; syswrite($s, (pack("lL", 8, 0xabcd) . pack("a8", "hb")) x $n
        . pack("lL", 16, 0xabcd) . pack("a8Q", "setint", 60000)); sysread($s, my $a, 12) == 12 or die; print +(unpack("lLl", $a))[2], "\n"; }
    else { ask(pack("a8Q", $verb, shift), 1) } }
"#;

/// A board with the packaged programs' directories, on which the services run.
struct Bench {
    lab: Lab,
}

impl Bench {
    fn new() -> Self {
        let mut lab = Lab::with_boards(&["alpha"]);
        lab.boards[0].use_heartbeat();
        lab.boards[0].power_on();
        let bench = Self { lab };
        std::fs::write(bench.path("client"), CLIENT).expect("the client");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lab.boards[0].dir.join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn on_board(&self, words: &[&str]) -> Output {
        self.lab.boards[0].on_board(words)
    }

    fn spawn(&self, words: &[&str]) -> Child {
        let mut command = self.lab.boards[0].command(words);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a program")
    }

    /// One of our names, with its exit code and everything it prints.
    fn ours(&self, name: &str, words: &[&str]) -> (i32, String) {
        let output = self.lab.boards[0].nullbeat_as(name, words);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code().expect("a code"), text.into_owned())
    }

    /// Starts `apphbd` with this configuration beside what every test needs.
    fn start_apphbd(&self, more: &str) {
        let dir = self.lab.boards[0].dir.display().to_string();
        let text = format!(
            "debug_level 1\nlogfile {dir}/log\ndebugfile {dir}/debug\nreset_with hook {dir}/reset-hook\n{more}\n"
        );
        std::fs::write(self.path("apphbd.cf"), text).expect("apphbd.cf");
        // The socket lies where the test can reach it too.
        let link = format!("ln -sf {dir}/state/apphb.comm /run/heartbeat/apphb.comm");
        assert!(self.on_board(&["sh", "-c", &link]).status.success());
        let socket = format!("--socket={dir}/state/apphb.comm");
        let (code, text) = self.ours("apphbd", &["-c", &format!("{dir}/apphbd.cf"), &socket]);
        assert_eq!((code, text.as_str()), (0, ""));
    }

    fn start_logd(&self, more: &str) {
        let dir = self.lab.boards[0].dir.display().to_string();
        let text = format!("logfile {dir}/log\ndebugfile {dir}/debug\nlogfacility none\n{more}\n");
        std::fs::write(self.path("logd.cf"), text).expect("logd.cf");
        let (code, text) = self.ours("ha_logd", &["-d", "-c", &format!("{dir}/logd.cf")]);
        assert_eq!((code, text.as_str()), (0, ""));
    }

    fn client(&self, words: &[&str]) -> Vec<String> {
        let output = self.client_command(words).output().expect("perl");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    fn client_command(&self, words: &[&str]) -> std::process::Command {
        let client = self.path("client").display().to_string();
        let all: Vec<&str> = ["perl", &client].into_iter().chain(words.iter().copied()).collect();
        self.lab.boards[0].command(&all)
    }

    #[track_caller]
    fn wait(&self, why: &str, what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {why}\n{}", self.text("debug"));
            self.lab.observer.wait_for_more(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn wait_line(&self, file: &str, part: &str) {
        self.wait(part, || self.text(file).contains(part));
    }

    fn count(&self, file: &str, parts: &[&str]) -> usize {
        self.text(file).lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// Sends a signal to every process of the board that is called so.
    fn signal(&self, name: &str, signal: &str) {
        let words = format!(
            "for p in /proc/[0-9]*; do [ \"$(cat $p/comm 2>/dev/null)\" = {name} ] && kill -{signal} ${{p#/proc/}}; done; true"
        );
        assert!(self.on_board(&["sh", "-c", &words]).status.success());
    }

    /// Memory of the process called so, KiB.
    fn memory(&self, name: &str) -> u64 {
        let words = format!("for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = {name} ] && grep VmRSS $p/status; done");
        let text = String::from_utf8_lossy(&self.on_board(&["sh", "-c", &words]).stdout).into_owned();
        text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("VmRSS")
    }
}

/// Everything that no client should send: the service must be there afterwards.
fn abuse(socket: &std::path::Path, good: &[u8]) {
    let header = |length: i32, magic: u32| [length.to_ne_bytes(), magic.to_ne_bytes()].concat();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |length: usize| -> Vec<u8> {
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| draw()).collect()
    };
    let mut cases: Vec<Vec<u8>> = Vec::new();
    for length in [-1, i32::MIN, i32::MAX, 300_000, 262_145] {
        cases.push([header(length, MAGIC), vec![0; 1000]].concat());
    }
    cases.push(header(4, MAGIC + 1));
    cases.push(header(0, MAGIC).repeat(500));
    for length in [1, 7, 8, 9, 100, 5000] {
        cases.push(random(length));
        cases.push([header(i32::try_from(length).unwrap(), MAGIC), random(length)].concat());
    }
    // Half a message, and many broken in one place.
    cases.push(good[..good.len() / 2].to_vec());
    for _ in 0..200 {
        let mut broken = good.to_vec();
        let (at, byte) = (random(2), random(1)[0]);
        let at = 8 + usize::from(u16::from_ne_bytes([at[0], at[1]])) % (good.len() - 8);
        broken[at] = byte;
        cases.push(broken);
    }
    for case in &cases {
        let mut stream = UnixStream::connect(socket).expect("the service is there");
        // Refused in the middle is refused as well.
        let _ = stream.write_all(case);
    }
    // Many that say nothing, all at once, and a thousand that go at once.
    let silent: Vec<_> = (0..200).map_while(|_| UnixStream::connect(socket).ok()).collect();
    drop(silent);
    for _ in 0..1000 {
        drop(UnixStream::connect(socket).expect("the service is there"));
    }
}

fn good_registration() -> Vec<u8> {
    let mut body = b"reg\0\0\0\0\0app".to_vec();
    body.resize(788, 0);
    [&788_i32.to_ne_bytes()[..], &MAGIC.to_ne_bytes(), &body].concat()
}

fn good_line(text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [2, 24, 6, i32::try_from(text.len()).unwrap() + 1, 1, 77] {
        body.extend_from_slice(&i32::to_ne_bytes(number));
    }
    body.extend_from_slice(b"stranger");
    body.resize(96, 0);
    body.extend_from_slice(text.as_bytes());
    body.push(0);
    [&i32::try_from(body.len()).unwrap().to_ne_bytes()[..], &MAGIC.to_ne_bytes(), &body].concat()
}

#[test]
fn packaged_apphbtest_counts_what_the_sanity_check_counts() {
    let bench = Bench::new();
    let status = |code, text: &str| assert_eq!(bench.ours("apphbd", &["-s"]), (code, text.to_owned()));
    status(3, "apphbd is stopped.\n");
    let (code, text) = bench.ours("apphbd", &["-c", "/nonexistent"]);
    assert!(code == 6 && text.contains(" apphbd: [") && text.contains("ERROR: Cannot open config file:[/nonexistent]"));
    assert_eq!(bench.ours("apphbd", &["-z"]).0, 1);
    assert_eq!(bench.ours("apphbd", &["-h"]).0, 0);
    bench.start_apphbd("");
    let pid = String::from_utf8(bench.on_board(&["cat", "/run/apphbd.pid"]).stdout).unwrap();
    assert!(pid.len() == 11 && pid.ends_with('\n'), "{pid:?}");
    status(0, &format!("apphbd is running [pid: {}]\n", pid.trim()));
    let again = bench.ours("apphbd", &["-c", &bench.path("apphbd.cf").display().to_string()]);
    assert!(again.0 == 0 && again.1.contains(&format!("CRIT: already running: [pid {}].", pid.trim())), "{again:?}");

    // Both at once: the one that fails takes its time.
    let mut failing = bench.spawn(&[APPHBTEST, "-F", "-i", "1000", "-p", "1", "-n", "1", "-l", "1"]);
    let passed = bench.on_board(&[APPHBTEST, "-i", "400", "-p", "5", "-n", "3", "-l", "1"]);
    assert_eq!(passed.status.code(), Some(0));
    // While nobody is disturbed by what others send.
    abuse(&bench.path("state/apphb.comm"), &good_registration());
    assert!(failing.wait().expect("it ends").success());
    bench.wait_line("debug", "hangup");
    let normal = ["[apphb_normal]", "apphb_client_register:"];
    assert_eq!(bench.count("debug", &normal), 6, "five, and one before the failing one");
    let expected = [
        (&["type=setint"][..], 7),
        (&["'apphb_normal'"], 0),
        (&["WARN: ", "'failtest'", " failed to heartbeat"], 1),
        (&["info: ", "'failtest'", " resumed heartbeats"], 1),
        (&["WARN: ", "hangup"], 1),
        (&["info: apphb_client_remove:"], 8),
        (&["ERROR"], 0),
    ];
    for (parts, count) in expected {
        bench.wait(&format!("{parts:?} {count}"), || bench.count("debug", parts) == count);
    }
    let told = |count: &dyn Fn(&[&str], usize) -> usize| -> String {
        let lines = expected.iter().map(|(parts, wanted)| format!("{} × {}", count(parts, *wanted), parts.join(" … ")));
        lines.collect::<Vec<_>>().join("; ")
    };
    let what = "six processes with our apphbd, one of which fails and hangs up: lines that it logs";
    saw(APPHBTEST, what, &told(&|_, wanted| wanted), &told(&|parts, _| bench.count("debug", parts)));
    assert_eq!(bench.count("log", &["debug:"]), 0);
    assert!(bench.memory("apphbd") < 40_000, "{} KiB", bench.memory("apphbd"));
    assert_eq!(bench.ours("apphbd", &["-k"]), (0, String::new()));
    status(3, "apphbd is stopped.\n");
    assert_eq!(bench.count("debug", &["info: [apphbd] stopped"]), 1);
    assert!(!bench.path("state/apphb.comm").exists());
    let (code, text) = bench.ours("apphbd", &["-s"]);
    let place = "/usr/libexec/heartbeat/apphbd";
    saw(place, "nullbeat in its place, stopped by `-k`: `-s`", "3 apphbd is stopped.", &format!("{code} {text}"));
}

#[test]
fn failing_application_that_asked_for_it_resets_the_board() {
    let bench = Bench::new();
    let wd = bench.path("wd").display().to_string();
    std::fs::write(&wd, "").expect("a file for a watchdog");
    bench.start_apphbd(&format!("realtime no\nwatchdog_device {wd}\nwatchdog_interval_ms 20"));
    assert_eq!(bench.client(&["reg", "fine", "setboot", "1", "setint", "300", "hb", "unreg"]), ["0"; 4]);
    // More than a turn takes, all in one piece: nothing waits for the next byte.
    assert_eq!(bench.client(&["reg", "many", "burst", "40", "burst", "200", "unreg"]), ["0"; 4]);
    let mut failing = bench.client_command(&["reg", "slow", "setboot", "1", "setint", "300", "sleep", "50"]);
    let mut failing = failing.stdout(Stdio::null()).spawn().expect("perl");
    bench.wait_line("debug", "EMERG: Critical apphb client 'slow' / 'one' (pid ");
    bench.wait("the hook has run", || bench.text("resets") == "application-failed\n");
    failing.kill().expect("it runs");
    failing.wait().expect("it ends");
    assert_eq!(bench.client(&["reg", "gone", "setboot", "1"]), ["0", "0"]);
    bench.wait_line("debug", "hangup");
    bench.wait("the hook has run again", || bench.text("resets").lines().count() >= 2);
    // Somebody else may not.
    let words = ["setpriv", "--reuid=nobody", "--regid=haclient", "--clear-groups", "perl"];
    let client = bench.path("client").display().to_string();
    let all: Vec<&str> = words.into_iter().chain([client.as_str(), "reg", "x", "setboot", "1"]).collect();
    assert_eq!(String::from_utf8_lossy(&bench.on_board(&all).stdout), "0\n1\n");
    // Nor may one user keep all others out.
    let crowd = "use Socket; for (1 .. 70) { socket(my $s, PF_UNIX, SOCK_STREAM, 0); push @s, $s;
        connect($s, sockaddr_un('/run/heartbeat/apphb.comm')) or die } sleep 1000";
    let all: Vec<&str> = words.into_iter().take(5).chain(["-e", crowd]).collect();
    let mut crowd = bench.spawn(&all);
    bench.wait_line("debug", "WARN: connections refused so far: 1, the last one to process ");
    assert_eq!(bench.client(&["reg", "late", "unreg"]), ["0", "0"]);
    crowd.kill().expect("it runs");
    crowd.wait().expect("it ends");

    // A daemon that stands still itself blames nobody who beat meanwhile.
    let mut beating = bench.client_command(&["reg", "steady", "setint", "500", "beats", "25", "unreg"]);
    let beating = beating.stdout(Stdio::piped()).spawn().expect("perl");
    bench.wait_line("debug", "client: [steady]/[one]");
    bench.signal("apphbd", "STOP");
    std::thread::sleep(Duration::from_millis(1500));
    bench.signal("apphbd", "CONT");
    let output = beating.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n0\n0\n");
    assert_eq!(bench.count("debug", &["'steady'", "failed"]), 0, "{}", bench.text("debug"));

    assert_eq!(bench.ours("apphbd", &["-k"]).0, 0);
    let kicks = std::fs::read(&wd).expect("the watchdog");
    assert!(kicks.len() > 20 && kicks[..kicks.len() - 1].iter().all(|byte| *byte == 0) && kicks.ends_with(b"V"));
}

#[test]
fn packaged_clients_log_through_our_logd() {
    let bench = Bench::new();
    assert_eq!(bench.ours("ha_logd", &["-s"]), (3, "logging daemon is stopped.\n".to_owned()));
    assert_eq!(bench.on_board(&[HA_LOGGER, "x"]).status.code(), Some(1));
    assert_eq!(bench.ours("ha_logger", &["x"]), (1, "logd is not running".to_owned()));
    std::fs::write(bench.path("bad.cf"), "bogus x\n").expect("bad.cf");
    let (code, text) = bench.ours("ha_logd", &["-d", "-c", &bench.path("bad.cf").display().to_string()]);
    assert!(code == 6 && text.starts_with("Illegal directive [bogus] in "), "{text}");
    bench.start_logd("logmode 0600\nENTITY own-tag\nsendqlen 256\nrecvqlen 64");
    let (code, text) = bench.ours("ha_logd", &["-s"]);
    assert!(code == 0 && text.starts_with("logging daemon is running [pid = "), "{text}");
    assert!(bench.ours("ha_logd", &[]).1.contains(": already running [pid "));

    for logger in [HA_LOGGER, &bench.path("names/ha_logger").display().to_string()] {
        assert_eq!(bench.on_board(&[logger, "-t", "tag", "two", "words"]).status.code(), Some(0));
        assert_eq!(bench.on_board(&[logger, "-D", "ha-debug", "only debug\nforged"]).status.code(), Some(0));
        assert_eq!(bench.on_board(&[logger, "-D", "bogus"]).status.code(), Some(1));
    }
    // It always fails, with the original too (spec/api.md 8.5).
    assert_eq!(bench.on_board(&[LOGTEST, "5"]).status.code(), Some(1));
    bench.wait_line("debug", "info: total message dropped: 0");
    let ends = |file: &str| -> Vec<String> {
        let text = bench.text(file);
        let ends = text.lines().filter(|line| !line.contains(" own-tag: "));
        ends.map(|line| line.split_once(" alpha ").expect("the node").1.to_owned()).collect()
    };
    let without_pids = |lines: Vec<String>| -> Vec<String> {
        let keep = |line: String| line.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        lines.into_iter().map(keep).collect()
    };
    let once = ["tag: []: two", "tag: []: words", "cluster: []: only debug\\nforged"];
    let messages = ["logtest: []: Message "; 5];
    let expected: Vec<&str> = once.iter().chain(&once).chain(&messages).copied().collect();
    let expected = [&expected[..], &["logtest: []: info: total message dropped: "]].concat();
    assert_eq!(without_pids(ends("debug")), expected);
    for (program, tag) in [(HA_LOGGER, "tag: "), (LOGTEST, "logtest: ")] {
        let of_it = |lines: &[String]| {
            lines.iter().filter(|line| line.starts_with(tag)).cloned().collect::<Vec<_>>().join("\n")
        };
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        let what = "through our ha_logd: lines of its debug file, without numbers";
        saw(program, what, &of_it(&expected), &of_it(&without_pids(ends("debug"))));
    }
    let (code, text) = bench.ours("ha_logd", &["-s"]);
    let text = text.split(" [").next().unwrap_or_default();
    let what = "nullbeat in its place: `-s`";
    saw("/usr/lib/heartbeat/ha_logd", what, "0 logging daemon is running", &format!("{code} {text}"));
    assert_eq!(
        without_pids(ends("log")),
        expected.iter().filter(|line| !line.contains("only")).copied().collect::<Vec<_>>()
    );
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(bench.path("log")).expect("the log").permissions().mode() & 0o777, 0o600);

    bench.wait_line("log", " own-tag: [");

    // Rotated, and told.
    std::fs::rename(bench.path("log"), bench.path("log.1")).expect("rotated");
    bench.signal("ha_logd", "HUP");
    bench.wait_line("log", "info: SIGHUP received, re-opened log files");

    // What no client should send; then a good line from the same side.
    let socket = bench.path("state/log_daemon");
    abuse(&socket, &good_line("perhaps broken"));
    let mut client = UnixStream::connect(&socket).expect("the service is there");
    client.write_all(&good_line("still here")).expect("room");
    bench.wait_line("log", "stranger: [77]: info: still here");
    assert!(bench.memory("ha_logd") < 60_000, "{} KiB", bench.memory("ha_logd"));
    // More than a turn takes, all in one piece: nothing waits for the next byte, and nothing is lost at the end.
    let lines = |what: &str| (0..90).flat_map(|number| good_line(&format!("{what} {number}."))).collect::<Vec<u8>>();
    client.write_all(&lines("burst")).expect("room");
    bench.wait_line("log", "info: burst 89.");
    assert_eq!(bench.count("log", &["info: burst "]), 90);
    bench.signal("ha_logd", "STOP");
    client.write_all(&lines("last")).expect("room");
    let mut late = UnixStream::connect(&socket).expect("the service is there");
    late.write_all(&lines("late")).expect("room");
    bench.signal("ha_logd", "TERM");
    bench.signal("ha_logd", "CONT");
    bench.wait("its end", || bench.ours("ha_logd", &["-s"]).0 == 3);
    assert_eq!((bench.count("log", &["info: last "]), bench.count("log", &["info: late "])), (90, 90));
    bench.start_logd("");
    client = UnixStream::connect(&socket).expect("the service is there");

    let (code, text) = bench.ours("ha_logd", &["-k"]);
    assert!(code == 0 && text.contains("info: Waiting for pid="), "{text}");
    assert_eq!(client.read(&mut [0; 1]).expect("its end"), 0);
    assert_eq!(bench.ours("ha_logd", &["-s"]).0, 3);
    assert_eq!(bench.ours("ha_logd", &["-k"]).0, 0);
}

#[test]
fn slow_disk_and_stopped_logd_cost_counted_lines_and_nobodys_time() {
    let bench = Bench::new();
    bench.start_logd("");
    // The disk is slow: whoever writes to it stands still.
    bench.signal("ha_logd:writer", "STOP");
    let sent = 3000;
    let flood = bench.on_board(&[LOGTEST, &sent.to_string()]);
    let told = String::from_utf8_lossy(&flood.stderr).into_owned();
    assert!(told.contains(&format!("sending Message {}", sent - 1)), "it got to its end");
    assert_eq!(bench.on_board(&[HA_LOGGER, "-t", "other", "quiet one"]).status.code(), Some(0));
    bench.signal("ha_logd:writer", "CONT");
    bench.wait_line("log", "other: [");
    bench.wait_line("log", "messages of logtest[");
    bench.wait("all are accounted for", || {
        let delivered = bench.count("log", &["logtest: [", "]: Message "]);
        let number = |line: &str, marker: &str| -> usize {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|word| *word == marker).expect("the marker");
            words[at - 1].parse().expect("a number")
        };
        let text = bench.text("log");
        let dropped =
            text.lines().filter(|line| line.contains("messages of logtest[")).map(|line| number(line, "messages"));
        let dropped: usize = dropped.sum();
        // Its own last words, and what it dropped itself.
        let by_client = text.lines().filter(|line| line.contains("messages were dropped"));
        let by_client: usize = by_client.map(|line| number(line, "messages")).sum();
        let last_words = text.lines().filter(|line| line.contains("logtest: [") && !line.contains("Message ")).count();
        delivered + dropped + by_client + last_words > sent
    });
    assert!(bench.memory("ha_logd") < 20_000, "{} KiB", bench.memory("ha_logd"));

    // A writer that is killed is replaced, and what waited is written.
    bench.signal("ha_logd:writer", "KILL");
    assert_eq!(bench.on_board(&[HA_LOGGER, "-t", "after", "its death"]).status.code(), Some(0));
    bench.wait_line("log", "ERROR: The write process has ended; another one goes on.");
    bench.wait_line("log", "after: [");

    // A logd that stands still: the packaged clients count themselves what they drop.
    bench.signal("ha_logd", "STOP");
    let mut client = bench.spawn(&[LOGTEST, "2000"]);
    bench.lab.observer.wait_for_more(Duration::from_millis(500));
    bench.signal("ha_logd", "CONT");
    client.wait().expect("it ends");
    assert_eq!(bench.on_board(&[HA_LOGGER, "-t", "later", "all is well"]).status.code(), Some(0));
    bench.wait_line("log", "later: [");
}

#[test]
fn init_script_of_logd_has_the_codes_of_lsb() {
    let bench = Bench::new();
    let dir = bench.lab.boards[0].dir.display().to_string();
    assert_eq!(bench.ours("ha_logd", &["-s"]).0, 3);
    std::fs::write(bench.path("logd.cf"), format!("logfile {dir}/log\nlogfacility none\n")).expect("logd.cf");
    let defaults = format!("LOGD={dir}/names/ha_logd\nLOGD_OPTIONS='-c {dir}/logd.cf'\n");
    std::fs::write(bench.path("defaults"), defaults).expect("defaults");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/sysvinit/logd");
    let run = |verb: &str, code: i32| {
        let output = bench.on_board(&["env", &format!("NULLBEAT_DEFAULTS={dir}/defaults"), "sh", script, verb]);
        assert_eq!(output.status.code(), Some(code), "{verb}: {output:?}");
    };
    for (verb, code) in [("status", 3), ("stop", 0), ("start", 0), ("status", 0), ("start", 0), ("restart", 0)] {
        run(verb, code);
    }
    assert_eq!(bench.on_board(&[HA_LOGGER, "-t", "tag", "hello"]).status.code(), Some(0));
    bench.wait_line("log", "tag: [");
    for (verb, code) in [("force-reload", 0), ("stop", 0), ("status", 3), ("bogus", 2)] {
        run(verb, code);
    }
    assert_eq!(bench.count("log", &["logd started with"]), 3);
}

#[test]
fn syslog_prefix_old_format_and_queue_limits_are_as_logd_cf_says() {
    let bench = Bench::new();
    // A device directory of its own, with a socket that stands in for syslog's.
    let syslog = bench.path("syslog").display().to_string();
    let dev = bench.path("dev").display().to_string();
    let script = "mkdir -p $1; mount -t tmpfs tmpfs $1; cp -a /dev/null $1; mount --bind $1 /dev";
    assert!(bench.on_board(&["sh", "-c", script, "sh", &dev]).status.success());
    let server = r#"use Socket; $| = 1; socket($s, PF_UNIX, SOCK_DGRAM, 0); bind($s, sockaddr_un("/dev/log")) or die;
        open($out, ">", $ARGV[0]); select($out); $| = 1; while (recv($s, $line, 65536, 0) || 1) { print $out "$line\n" }"#;
    let mut server = bench.spawn(&["perl", "-e", server, &syslog]);
    bench.wait("syslog is there", || bench.path("syslog").exists());
    bench.start_logd("logfacility local3\nsyslogprefix site\nsyslogmsgfmt no\nrecvqlen 5");
    assert_eq!(bench.on_board(&[HA_LOGGER, "-t", "tag", "hello"]).status.code(), Some(0));
    // local3.info, the one prefix, and the line's own tag in its text.
    bench.wait("the line", || {
        let text = bench.text("syslog");
        text.lines().any(|line| line.starts_with("<158>") && line.contains(" site: tag[") && line.ends_with("]: hello"))
    });
    let old = |line: &str| line.starts_with("tag[") && line.contains("]: 20") && line.ends_with(" hello");
    bench.wait("the older format", || bench.text("log").lines().any(old));
    // Five lines of one client wait, the others are dropped, counted, and said.
    bench.signal("ha_logd:writer", "STOP");
    bench.on_board(&[LOGTEST, "2000"]);
    bench.signal("ha_logd:writer", "CONT");
    bench.wait_line("log", "messages of logtest[");
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    assert_eq!(bench.ours("ha_logd", &["-k"]).0, 0);
}

/// ha.cf of a board alone.
fn alone(bench: &Bench, more: &str) -> String {
    let (dir, serial) = (bench.lab.boards[0].dir.display(), bench.lab.boards[0].serial.display());
    format!(
        "logfile {dir}/direct\nkeepalive 200ms\ndeadtime 5\ninitdead 10\nserial {serial}\nucast ens33 192.168.231.250\n\
         auto_failback on\nnode alpha\nnode beta\n{more}\n"
    )
}

/// Beside what only our daemon understands.
fn ours_alone(bench: &Bench, more: &str) -> String {
    alone(bench, &format!("reset_with hook {}\n{more}", bench.lab.boards[0].reset_hook().display()))
}

fn stop(bench: &mut Bench) {
    let output = bench.on_board(&[lab::NULLBEAT, "stop"]);
    assert!(output.status.success(), "{output:?}");
    bench.lab.boards[0].await_end();
}

#[test]
fn our_daemon_and_the_packaged_one_log_through_logd() {
    let mut bench = Bench::new();
    let uses = "use_logd on\nuse_apphbd yes";
    // Its own cannot be started: said, and everything goes to the usual places.
    std::fs::write(bench.lab.boards[0].config_dir().join("logd.cf"), "nonsense\n").expect("logd.cf");
    bench.lab.boards[0].configure(&ours_alone(&bench, &format!("{uses}\nconn_logd_time 500ms")), "alpha trace::web\n");
    bench.lab.boards[0].swap_to_nullbeat();
    // As something made it that knew nothing of Heartbeat: not everybody may come to the sockets in there.
    let made = "rm -rf /run/heartbeat && mkdir -m 755 -p /run/heartbeat/ccm && chown root:root /run/heartbeat";
    assert!(bench.on_board(&["sh", "-c", made]).status.success());
    bench.lab.boards[0].start_plain();
    bench.wait_line("direct", "ERROR: ha_logd is not started: Illegal directive [nonsense]");
    bench.start_logd("");
    let private = ["", "/ccm", "/dopd", "/rsctmp"].map(|name| format!("/run/heartbeat{name}"));
    let stat = [&["stat", "-c", "%a %U %G"][..], &private.each_ref().map(String::as_str)].concat();
    let expected = format!("{}1755 root root\n", "750 hacluster haclient\n".repeat(3));
    let modes = || String::from_utf8(bench.on_board(&stat).stdout).expect("text");
    bench.wait("its directories", || modes() == expected);
    bench.wait_line("log", " alpha heartbeat: [");
    bench.lab.wait_owner(0, &["web"]);
    stop(&mut bench);

    // And Heartbeat's own daemon through ours.
    bench.lab.boards[0].swap_to_heartbeat();
    bench.lab.boards[0].configure(&alone(&bench, uses), "alpha trace::web\n");
    bench.start_apphbd("");
    bench.lab.boards[0].start();
    bench.wait_line("log", "info: Configuration validated. Starting heartbeat 3.0.6");
    bench.wait_line("debug", "apphb_client_register: client: [heartbeat]/[master_control_process]");
    bench.lab.boards[0].stop();
    bench.wait_line("debug", "info: apphb_client_remove");
    assert_eq!(bench.count("debug", &["hangup"]), 0, "it signs off");
}

#[test]
fn guardian_starts_both_services_and_the_packaged_programs_find_them() {
    let mut bench = Bench::new();
    let dir = bench.lab.boards[0].dir.display().to_string();
    let write = |name: &str, text: String| {
        std::fs::write(bench.lab.boards[0].config_dir().join(name), text).expect("a file");
    };
    write("logd.cf", format!("logfile {dir}/log\ndebugfile {dir}/debug\nlogfacility none\n"));
    write("apphbd.cf", format!("debug_level 1\ndebugfile {dir}/beats\nrealtime no\n"));
    let ha_cf = ours_alone(&bench, "use_logd on\nuse_apphbd yes");
    bench.lab.boards[0].configure(&ha_cf, "alpha trace::web\n");
    bench.lab.boards[0].swap_to_nullbeat();
    bench.lab.boards[0].start_plain();
    bench.lab.wait_owner(0, &["web"]);
    bench.wait_line("log", " alpha heartbeat: [");
    let registered = ["apphb_client_register: client: [heartbeat]/[master_control_process]"];
    let is_registered = |times| bench.wait("it has registered", || bench.count("beats", &registered) == times);
    is_registered(1);

    // The packaged programs.
    assert_eq!(bench.on_board(&[HA_LOGGER, "-t", "shell", "good day"]).status.code(), Some(0));
    bench.wait_line("log", "shell: [");
    bench.on_board(&[LOGTEST, "20"]);
    bench.wait("its lines", || bench.count("log", &["logtest: [", "]: Message "]) == 20);
    let passed = bench.on_board(&[APPHBTEST, "-i", "400", "-p", "2", "-n", "2", "-l", "1"]);
    assert_eq!(passed.status.code(), Some(0));
    bench.wait("both came and went", || bench.count("beats", &["apphb_client_remove"]) == 2);
    assert_eq!(bench.count("beats", &["WARN"]), 0);

    // What dies is started again, and the daemon finds it.
    bench.signal("apphbd", "KILL");
    is_registered(2);
    bench.signal("ha_logd", "KILL");
    let logs = || bench.on_board(&[HA_LOGGER, "-t", "later", "again"]).status.success();
    bench.wait("somebody takes lines", logs);
    bench.wait_line("log", "later: [");
    // The end of the daemon is that of its services, and nobody is told that it hung up.
    stop(&mut bench);
    assert_eq!(bench.ours("apphbd", &["-s"]).0, 3);
    assert_eq!(bench.ours("ha_logd", &["-s"]).0, 3);
    assert_eq!(bench.count("beats", &["[heartbeat]", "hangup"]), 0);
    assert_eq!(bench.count("beats", &["info: [apphbd] stopped"]), 1);
}

#[test]
fn service_that_runs_already_is_left_alone_and_followed() {
    let mut bench = Bench::new();
    bench.start_apphbd("");
    bench.start_logd("");
    bench.lab.boards[0].configure(&ours_alone(&bench, "use_logd on\nuse_apphbd yes"), "alpha trace::web\n");
    let dir = bench.lab.boards[0].dir.display().to_string();
    for (name, file) in [("apphbd.cf", "apphbd.cf"), ("logd.cf", "logd.cf")] {
        // As the guardian finds them: the same words, but for lines of a log of their own.
        let text = bench.text(file).replace(&format!("{dir}/debug"), &format!("{dir}/debug2"));
        std::fs::write(bench.lab.boards[0].config_dir().join(name), text).expect("a file");
    }
    bench.lab.boards[0].swap_to_nullbeat();
    bench.lab.boards[0].start_plain();
    let registered = "apphb_client_register: client: [heartbeat]/[master_control_process]";
    bench.wait_line("debug", registered);
    bench.wait_line("log", " alpha heartbeat: [");
    for name in ["apphbd", "ha_logd"] {
        bench.wait("the other one stands by", || {
            let names = bench.on_board(&["sh", "-c", "cat /proc/[0-9]*/comm"]);
            let names = String::from_utf8_lossy(&names.stdout).into_owned();
            let count = |wanted: &str| names.lines().filter(|line| *line == wanted).count();
            count(name) == 1 && count(&format!("{name}:standby")) == 1
        });
        // Its end is the beginning of the other one.
        let before = bench.ours(name, &["-s"]);
        assert_eq!(bench.ours(name, &["-k"]).0, 0);
        bench.wait("the other one serves", || {
            let now = bench.ours(name, &["-s"]);
            now.0 == 0 && now.1 != before.1
        });
    }
    bench.wait_line("debug2", registered);
    assert_eq!(bench.on_board(&[HA_LOGGER, "-t", "later", "again"]).status.code(), Some(0));
    bench.wait_line("debug2", "later: [");
    stop(&mut bench);
}

#[test]
fn watchdog_is_not_kicked_while_a_needed_application_is_missing() {
    let bench = Bench::new();
    let wd = bench.path("wd").display().to_string();
    std::fs::write(&wd, "").expect("a file for a watchdog");
    bench.start_apphbd(&format!(
        "realtime no\nwatchdog_device {wd}\nwatchdog_interval_ms 20\nwatchdog_needs steady:one"
    ));
    let kicks = || std::fs::metadata(&wd).expect("the watchdog").len();
    let is_kicked = |why: &str| {
        let before = kicks();
        bench.wait(why, || kicks() > before);
    };
    is_kicked("nobody has come yet");
    let words = ["reg", "steady", "setint", "300", "sleep", "1.5", "hb", "beats", "3", "sleep", "50"];
    let mut client = bench.client_command(&words).stdout(Stdio::null()).spawn().expect("perl");
    bench.wait_line("debug", "EMERG: No more kicks for the watchdog: 'steady' / 'one' is missing.");
    bench.wait_line("debug", "The watchdog is kicked again.");
    // It fails again, and then it is gone for good.
    bench.wait("it fails again", || bench.count("debug", &["EMERG: No more kicks for the watchdog"]) == 2);
    let before = kicks();
    client.kill().expect("it runs");
    client.wait().expect("it ends");
    bench.wait_line("debug", "hangup");
    bench.lab.observer.wait_for_more(Duration::from_millis(300));
    assert_eq!(kicks(), before);
    // One that says goodbye is not missed.
    assert_eq!(bench.client(&["reg", "steady", "unreg"]), ["0", "0"]);
    is_kicked("it is not missed any more");
    assert_eq!(bench.ours("apphbd", &["-k"]).0, 0);
}
