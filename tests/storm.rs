//! Everything that nobody should send, on every local socket and the FIFO, while the pair beats at 50 ms: random bytes, half messages, huge
//! lengths, wrong credentials, a thousand connects in a second, clients that stop reading, clients that fork and die. Nothing
//! moves, no beat is late, and every service is there afterwards.

mod lab;

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::{Board, Lab};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

const MAGIC: u32 = 0xabcd;
/// Connects in a second, of one client.
const CONNECTS: u32 = 1000;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut draw = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[3]
        };
        (0..count).map(|_| draw()).collect()
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    let len = i32::try_from(body.len()).expect("short");
    [&header(len, MAGIC)[..], body].concat()
}

fn header(len: i32, magic: u32) -> Vec<u8> {
    [len.to_ne_bytes(), magic.to_ne_bytes()].concat()
}

fn message(fields: &str) -> Vec<u8> {
    frame(format!(">>>\n{fields}\n<<<\n\0").as_bytes())
}

/// Requests of a board's process 1, which is this test for sockets on that board.
fn sign_on(name: &str, uid: u32) -> Vec<u8> {
    message(&format!("t=hbapi-req\nreqtype=signon\npid=1\nfrom_id={name}\nuid={uid}\ngid={uid}"))
}

fn registration() -> Vec<u8> {
    let mut body = b"reg\0\0\0\0\0app".to_vec();
    body.resize(788, 0);
    frame(&body)
}

fn log_line(text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [2, 24, 6, i32::try_from(text.len()).expect("short") + 1, 1, 77] {
        body.extend_from_slice(&i32::to_ne_bytes(number));
    }
    body.extend_from_slice(b"stranger");
    body.resize(96, 0);
    body.extend_from_slice(text.as_bytes());
    body.push(0);
    frame(&body)
}

/// One of the sockets in the run directory.
struct Target {
    name: &'static str,
    /// What a good client says first.
    good: Vec<u8>,
    /// What is answered, for as long as somebody asks.
    question: Vec<u8>,
    /// Claims to be somebody else.
    forged: Vec<u8>,
}

fn targets() -> [Target; 5] {
    let line = |text: &str| text.as_bytes().to_vec();
    [
        Target {
            name: "register",
            good: sign_on("1", 0),
            question: message("t=hbapi-req\nreqtype=nodelist\npid=1\nfrom_id=1"),
            forged: sign_on("ccm", 4711),
        },
        Target { name: "ccm/ccm", good: Vec::new(), question: Vec::new(), forged: sign_on("ccm", 0) },
        Target { name: "apphb.comm", good: registration(), question: frame(b"bogus\0\0\0"), forged: registration() },
        Target { name: "log_daemon", good: log_line("good"), question: log_line("more"), forged: log_line("forged") },
        Target {
            name: "control",
            good: line("status\n"),
            question: line("status\n"),
            forged: line("takeover all x\n"),
        },
    ]
}

/// A connection that is not waited for.
fn try_connect(path: &Path) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let end = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&end), &UnixAddr::new(path)?)?;
    Ok(end)
}

/// A client as soon as there is room for it.
fn client(lab: &Lab, path: &Path) -> UnixStream {
    let end = std::cell::RefCell::default();
    lab.wait("somebody listens", |_| match try_connect(path) {
        Ok(connected) => end.replace(Some(UnixStream::from(connected))).is_none(),
        Err(_) => false,
    });
    end.into_inner().expect("connected")
}

/// Says something and goes; whoever was dropped meanwhile need not take it.
fn say(lab: &Lab, path: &Path, bytes: &[u8]) -> UnixStream {
    let mut stream = client(lab, path);
    let _ = stream.write_all(bytes);
    stream
}

/// Random bytes, broken frames, good ones with a byte changed, half ones that stay: all of it on one socket.
fn send_garbage(lab: &Lab, path: &Path, target: &Target, dice: &mut Dice) -> Vec<UnixStream> {
    for len in [-1, i32::MIN, i32::MAX, 300_000, 262_145] {
        say(lab, path, &[header(len, MAGIC), vec![0; 1000]].concat());
    }
    say(lab, path, &header(4, MAGIC + 1));
    say(lab, path, &header(0, MAGIC).repeat(500));
    for count in [1, 7, 8, 9, 63, 64, 65, 5000, 70_000] {
        say(lab, path, &dice.bytes(count));
        say(lab, path, &frame(&dice.bytes(count)));
    }
    for _ in 0..40 {
        let mut broken = target.good.clone();
        if let Some(place) = usize::from(dice.bytes(1)[0]).checked_rem(broken.len()) {
            broken[place] = dice.bytes(1)[0];
        }
        say(lab, path, &broken);
        say(lab, path, &target.forged);
    }
    // More of them than there is room for, but for those who follow the membership: they need not say anything, and stay.
    let count = if target.good.is_empty() { 8 } else { 30 };
    (0..count).map(|_| say(lab, path, &target.good[..target.good.len() / 2])).collect()
}

/// A thousand connects, spread over a second; those for which there is no room do not wait. How many were made.
fn connect_often(path: &Path) -> u32 {
    let began = Instant::now();
    let mut made = 0;
    for number in 0..CONNECTS {
        made += u32::from(try_connect(path).is_ok());
        let next = began + Duration::from_secs(1) * (number + 1) / CONNECTS;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    made
}

/// Asks and never reads, until nothing more is taken or it is dropped. The connection stays.
fn stop_reading(lab: &Lab, path: &Path, target: &Target) -> UnixStream {
    let mut stream = say(lab, path, &target.good);
    for _ in 0..5000 {
        match stream.write(&target.question) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => break,
        }
    }
    stream
}

/// On the board: says something good, forks and dies; the child has the connection, and dies later. Twenty times. For `reg`
/// what is said names the process itself.
const FORKER: &str = r#"use Socket; use Time::HiRes; my ($where, $what) = @ARGV;
for (1 .. 20) {
    my $pid = fork();
    if ($pid == 0) {
        my $s; my $tries = 0;
        do { socket($s, PF_UNIX, SOCK_STREAM, 0) } until connect($s, sockaddr_un($where)) or $tries++ > 1000;
        my $is_app = $what eq "reg";
        my $body = $is_app ? pack("a8a256a256a256lLL", "reg", "forker", "one", "/", $$, $<, $( + 0)
            : join("\n", ">>>", "t=hbapi-req", "reqtype=signon", "pid=$$", "from_id=$$", "uid=$>", "gid=" . ($) + 0), "<<<", "") . "\0";
        syswrite($s, pack("lL", length $body, 0xabcd) . $body);
        sysread($s, my $answer, 12) if $is_app;
        if (fork() == 0) { Time::HiRes::sleep(0.05); kill "KILL", $$ }
        kill "KILL", $$;
    }
    waitpid($pid, 0);
}
"#;

/// The FIFO of the shell tools takes bytes and answers nothing, so there is nothing of it to be read: random bytes, halves,
/// lengths, a thousand writers in a second, halves whose writer stays, writers that fork and die, and somebody who may not.
fn storm_fifo(lab: &Lab, dice: &mut Dice) -> Vec<std::fs::File> {
    let path = lab.boards[0].dir.join("state/fifo");
    let open = || std::fs::OpenOptions::new().write(true).open(&path).expect("somebody reads");
    let write = |bytes: &[u8]| {
        let mut fifo = open();
        fifo.write_all(bytes).expect("it is read");
        fifo
    };
    for len in ["-1", "4294967295", "999999", "00", "99999999999999999999"] {
        write(format!("###\n{len}:(0)t=x,%%%\n").as_bytes());
    }
    for count in [1, 7, 63, 512, 5000, 70_000] {
        write(&dice.bytes(count));
    }
    let kept = (0..8).map(|_| write(b">>>\nt=ask_resources\nrsc_hold=all\n")).collect();
    let began = Instant::now();
    for number in 0..CONNECTS {
        write(&dice.bytes(3));
        let next = began + Duration::from_secs(1) * (number + 1) / CONNECTS;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    println!("fifo: {CONNECTS} writers in {:?}", began.elapsed());
    let fifo = path.to_str().expect("UTF-8");
    let die = "for (1 .. 20) { my $pid = fork(); if ($pid == 0) { open(my $fifo, '>>', $ARGV[0]) or exit 1; \
               if (fork() == 0) { syswrite($fifo, qq(>>>\\nt=half\\n)); select(undef, undef, undef, 0.05); kill 'KILL', $$ } \
               kill 'KILL', $$ } waitpid($pid, 0) }";
    assert!(lab.boards[0].on_board(&["perl", "-e", die, fifo]).status.success());
    let user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "sh", "-c", ": > \"$1\"", "sh"];
    let strange = lab.boards[0].on_board(&[&user[..], &[fifo]].concat());
    assert!(!strange.status.success(), "only root may");
    kept
}

/// One that nobody has a use for, behind the end of whatever is half there.
fn write_good_message(lab: &Lab) {
    let path = lab.boards[0].dir.join("state/fifo");
    let mut fifo = std::fs::OpenOptions::new().write(true).open(path).expect("somebody reads");
    fifo.write_all(b"\n<<<\n>>>\nt=of-no-use\n<<<\n").expect("it is read");
}

/// What its daemon's lines say: they go through our own logging daemon.
fn log(board: &Board) -> String {
    std::fs::read_to_string(board.dir.join("through-logd")).unwrap_or_default() + &board.log()
}

/// A number of the report, added up over all places where it stands.
fn sum(report: &str, name: &str) -> u64 {
    let field = format!("\"{name}\": ");
    let numbers =
        report.split(&field).skip(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    numbers.filter_map(|digits| digits.parse::<u64>().ok()).sum()
}

/// Both at work with every local service, and nothing that a busy machine could upset.
fn pair() -> Lab {
    let extra = "keepalive 50ms\nwarntime 900ms\ndeadtime 4\ninitdead 8\nuse_apphbd on\nuse_logd on\nmembership on\n";
    let mut lab = Lab::usual("", lab::AT_HOME);
    for board in &lab.boards {
        let dir = board.dir.display();
        let path = board.config_dir().join("ha.cf");
        let replaced = ["keepalive ", "warntime ", "deadtime ", "initdead "];
        let text = std::fs::read_to_string(&path).expect("configured");
        let kept = text.lines().filter(|line| !replaced.iter().any(|word| line.starts_with(word)));
        let text: String = kept.map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text + extra).expect("ha.cf");
        let logd = format!("logfile {dir}/through-logd\nlogfacility none\n");
        std::fs::write(board.config_dir().join("logd.cf"), logd).expect("logd.cf");
        let apphbd = format!("debug_level 1\ndebugfile {dir}/beats\n");
        std::fs::write(board.config_dir().join("apphbd.cf"), apphbd).expect("apphbd.cf");
    }
    for board in &mut lab.boards {
        board.power_on();
        board.show_sockets();
        board.start();
    }
    lab.wait_at_home();
    lab.wait("the daemon beats for apphbd", |lab| beats(lab).contains("[heartbeat]/[master_control_process]"));
    let members = |lab: &Lab| lab.boards[0].cl_status(&["hbstatus", "-v"]).out;
    lab.wait_text("both are members", members, |text| text.contains("\tmembers 2\n"));
    lab
}

/// What apphbd of the first board has noted.
fn beats(lab: &Lab) -> String {
    std::fs::read_to_string(lab.boards[0].dir.join("beats")).unwrap_or_default()
}

#[test]
fn storms_on_every_socket_move_nothing_and_delay_no_beat() {
    let lab = pair();
    let run = lab.boards[0].dir.join("run");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut kept = Vec::new();
    for target in targets() {
        let path = run.join(target.name);
        kept.extend(send_garbage(&lab, &path, &target, &mut dice));
        let began = Instant::now();
        let made = connect_often(&path);
        println!("{}: {made} of {CONNECTS} connects taken in {:?}", target.name, began.elapsed());
        kept.push(stop_reading(&lab, &path, &target));
        let what = if target.name == "apphb.comm" { "reg" } else { "sign on" };
        let forker = lab.boards[0].on_board(&["perl", "-e", FORKER, path.to_str().expect("UTF-8"), what]);
        assert!(forker.status.success(), "{forker:?}");
    }
    let halves = storm_fifo(&lab, &mut dice);
    // Somebody who may not: the order is refused, whether he gets as far as that or not.
    let strange = "use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un($ARGV[0])) or exit 0;
        syswrite($s, \"standby all\\n\"); sysread($s, my $answer, 100); exit($answer =~ /done/ ? 1 : 0)";
    let control = run.join("control").display().to_string();
    let user =
        ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "perl", "-e", strange, &control];
    assert!(lab.boards[0].on_board(&user).status.success());

    // Everybody is served while those who do not read are still there.
    lab.wait("clients are served", |lab| lab.boards[0].cl_status(&["nodestatus", "beta"]).out == "active\n");
    let members = |lab: &Lab| lab.boards[0].cl_status(&["hbstatus", "-v"]).out;
    lab.wait_text("followers of the membership are", members, |text| text.contains("\tmembers 2\n"));
    lab.wait("people are", |lab| lab.boards[0].nullbeat(&["status"]).status.success());
    say(&lab, &run.join("log_daemon"), &log_line("still here"));
    lab.wait("lines are written", |lab| log(&lab.boards[0]).contains("stranger: [77]: info: still here"));
    lab.wait("those that died are noticed", |lab| beats(lab).matches("'forker' / 'one'").count() == 20);
    let mut forged = say(&lab, &run.join("register"), &sign_on("ccm", 4711));
    forged.set_nonblocking(false).expect("a flag");
    forged.set_read_timeout(Some(lab::PATIENCE)).expect("a limit");
    let mut answer = Vec::new();
    forged.read_to_end(&mut answer).expect("an answer and an end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("result=badreq"), "{answer}");
    drop((kept, halves));
    let messages = sum(&lab.boards[0].status_json(), "fifo_messages");
    write_good_message(&lab);
    lab.wait("the FIFO is in step again", |lab| sum(&lab.boards[0].status_json(), "fifo_messages") > messages);
    assert!(sum(&lab.boards[0].status_json(), "fifo_garbage_bytes") > 70_000);

    for board in &lab.boards {
        let (report, log) = (board.status_json(), log(board));
        let links = String::from_utf8_lossy(&board.nullbeat(&["links", "--json"]).stdout).into_owned();
        assert_eq!((sum(&report, "deaths"), sum(&links, "deaths")), (0, 0), "{links}");
        for bad in ["Late heartbeat", ": is dead", " dead.", "panicked", "lost packet"] {
            assert!(!log.contains(bad), "{bad}: {log}");
        }
        assert_eq!(board.resets(), 0);
        println!("{}: late at most {} ms, {} times", board.name, sum(&report, "late_max_ms"), sum(&report, "late"));
    }
    assert!(
        !beats(&lab).contains("'heartbeat' / 'master_control_process'"),
        "it never failed to beat: {}",
        beats(&lab)
    );
    lab.assert_stays(0, &["web"], Duration::from_millis(500));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    lab.assert_exclusive();
}
