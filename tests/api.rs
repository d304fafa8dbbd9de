//! Heartbeat's own clients as they are packaged, on boards that run nullbeat: they find the socket where they look for it
//! and notice nothing. `cl_status` has tests of its own.

mod lab;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lab::evidence::{saw, saw_parts};
use lab::programs::{DIR, Running, Said, as_hacluster, said};
use lab::{Board, Lab};

/// A host outside of the cluster, which answers.
const PING: &str = "ping 192.168.231.200\n";

/// A pair at work whose boards' run directories are where Heartbeat's clients look.
fn pair(extra: &str) -> Lab {
    let lab = Lab::at_home(&format!("{PING}{extra}"));
    lab.boards.iter().for_each(Board::show_sockets);
    lab
}

#[test]
fn packaged_clients_talk_to_each_other_across_nodes() {
    let lab = pair("apiauth dopd gid=haclient uid=hacluster\n");
    let program = |name: &str| format!("{DIR}/{name}");

    // Clients that say words of their own to their like.
    let api_test = program("api_test");
    let _first = Running::start(&lab.boards[0], &as_hacluster(&[&api_test]));
    lab.wait("the first one waits", |lab| said(&lab.boards[0], "api_test").contains("Sleeping..."));
    let _second = Running::start(&lab.boards[1], &as_hacluster(&[&api_test]));
    lab.wait("the second one sees the first", |lab| {
        said(&lab.boards[1], "api_test").contains("alpha/api_test status: [online]")
    });
    lab.wait("each answers the other", |lab| {
        (0..2).all(|index| said(&lab.boards[index], "api_test").contains("Waiting for messages..."))
    });
    let heard = [0, 1].map(|index| said(&lab.boards[index], "api_test")).concat();
    let parts = ["alpha/api_test status: [online]", "Waiting for messages..."];
    saw_parts(&api_test, "on two nullbeats: its own words", &parts, &heard);
    saw(&api_test, "on two nullbeats: `clientstatus beta ping`", "online", &await_online(&lab, 0, "beta", "ping"));

    // Its judgement of ping nodes, by the program itself.
    let ipfail = program("ipfail");
    let _ipfails = [0, 1].map(|index| Running::start(&lab.boards[index], &as_hacluster(&[&ipfail])));
    for index in 0..2 {
        lab.wait("ipfail is at work", |lab| said(&lab.boards[index], "ipfail").contains("Waiting for messages..."));
    }
    saw(&ipfail, "on two nullbeats: `clientstatus beta ipfail`", "online", &await_online(&lab, 0, "beta", "ipfail"));

    // A client that ha.cf admits.
    let dopd = program("dopd");
    let _dopd = Running::start(&lab.boards[0], &as_hacluster(&[&dopd]));
    saw(&dopd, "on two nullbeats: `clientstatus alpha dopd`", "online", &await_online(&lab, 1, "alpha", "dopd"));

    // Membership, agreed on by two of the packaged programs through our messages.
    let ccm = program("ccm");
    let _ccms = [0, 1].map(|index| Running::start(&lab.boards[index], &as_hacluster(&[&ccm])));
    for index in 0..2 {
        await_members(&lab, index, "two nullbeats");
    }
}

/// Waits until a board's daemon says that a client is there, and gives back its word.
fn await_online(lab: &Lab, index: usize, node: &str, client: &str) -> String {
    let words = ["clientstatus", node, client];
    lab.wait_text(
        &format!("{client} is online on {node}"),
        |lab| lab.boards[index].cl_status(&words).out,
        |word| word == "online\n",
    )
}

/// Waits until a board's membership is of both nodes; notes what was said of it.
fn await_members(lab: &Lab, index: usize, pair: &str) {
    const PARTS: [&str; 3] = ["ccm membership with quorum", "\tmembers 2", "\tmember of partition"];
    let text = lab.wait_text(
        "both are members",
        |lab| lab.boards[index].cl_status(&["hbstatus", "-v"]).out,
        |text| PARTS.iter().all(|part| text.contains(part)),
    );
    let what = format!("on {pair}, told by {}", lab.boards[index].name);
    saw_parts(&format!("{DIR}/ccm"), &what, &PARTS, &text);
}

#[test]
fn clients_of_a_nullbeat_and_of_a_heartbeat_hear_each_other() {
    let mut lab = Lab::mixed(lab::AT_HOME);
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    lab.boards[0].show_sockets();
    let api_test = format!("{DIR}/api_test");
    let _tests = [1, 0].map(|index| Running::start(&lab.boards[index], &as_hacluster(&[&api_test])));
    for (index, other) in [(0, "beta"), (1, "alpha")] {
        let word = await_online(&lab, index, other, "ping");
        saw(&api_test, &format!("on a mixed pair: `clientstatus {other} ping`"), "online", &word);
        assert_eq!(lab.boards[index].cl_status(&["clientstatus", other, "nix"]).out, "offline\n");
    }
    filters_show_what_those_of_heartbeat_show(&lab);
    second_sign_on_ends_as_with_heartbeat(&lab);
    let ccm = format!("{DIR}/ccm");
    let _ccms = [0, 1].map(|index| Running::start(&lab.boards[index], &as_hacluster(&[&ccm])));
    for index in 0..2 {
        await_members(&lab, index, "a mixed pair");
        // The packaged one leaves out a ccm that does not answer at once.
        for words in [["hbstatus", "-v"], ["hbstatus", "-mv"]] {
            lab.wait(&format!("the same of both on {index}: {words:?}"), |lab| {
                let board = &lab.boards[index];
                board.own_cl_status(&words) == board.cl_status(&words)
            });
        }
    }
}

/// A client in a few lines: signs on without a name, wants messages of one kind, prints the type of each.
const WATCHER: &str = r#"use Socket;
my ($path, $mask) = @ARGV;
$| = 1;
socket(my $socket, PF_UNIX, SOCK_STREAM, 0) or die $!;
connect($socket, sockaddr_un($path)) or die $!;
sub ask { my $body = join("\n", '>>>', @_, '<<<', '') . "\0"; syswrite $socket, pack('lL', length $body, 0xabcd) . $body }
sub hear { my ($count, $bytes) = (shift, ''); while (length $bytes < $count) { sysread($socket, $bytes, $count - length $bytes, length $bytes) or exit } $bytes }
my @own = ("dest=x", "pid=$$", "from_id=$$");
ask('t=hbapi-req', 'reqtype=signon', @own, "uid=$>", 'gid=' . ($) + 0));
ask('t=hbapi-req', 'reqtype=setfilter', @own, "fmask=$mask");
while (1) {
    my ($length) = unpack('l', hear(8));
    my $body = hear($length);
    my ($kind) = $body =~ /^t=(.*)$/m;
    my ($request) = $body =~ /^reqtype=(.*)$/m;
    print $kind, defined $request ? " $request" : '', "\n";
}
"#;

/// Bits of a filter, and what a client with just that one must have seen after a while.
const FILTERS: [(&str, &[&str]); 6] = [
    ("1", &[]),
    ("2", &["status"]),
    ("8", &["status"]),
    ("10", &["hbapi-req nodelist", "hbapi-req signoff"]),
    ("20", &[]),
    ("4", &["NS_ackmsg"]),
];

/// Clients on both boards of a mixed pair which has two links want messages of each kind.
fn filters_show_what_those_of_heartbeat_show(lab: &Lab) {
    let script = lab.dir.join("watcher.pl");
    std::fs::write(&script, WATCHER).expect("a script");
    let script = script.to_str().expect("UTF-8");
    let watchers: Vec<Running> = [0, 1]
        .iter()
        .flat_map(|index| FILTERS.map(|(mask, _)| (*index, mask)))
        .map(|(index, mask)| Running::start(&lab.boards[index], &["perl", script, "/run/heartbeat/register", mask]))
        .collect();
    let seen = |lab: &Lab, index: usize, mask: &str| -> BTreeSet<String> {
        let log = said(&lab.boards[index], mask);
        log.lines().filter(|line| !line.starts_with("hbapi-resp")).map(str::to_owned).collect()
    };
    for index in 0..2 {
        for (mask, kinds) in FILTERS {
            lab.wait(&format!("{mask} shows {kinds:?} on board {index}"), |lab| {
                // Somebody asks.
                let _ = lab.boards[index].cl_status(&["listnodes"]);
                let seen = seen(lab, index, mask);
                kinds.iter().all(|kind| seen.contains(*kind))
            });
        }
    }
    for index in 0..2 {
        for (mask, _) in FILTERS {
            println!("board {index}, filter {mask}: {:?}", seen(lab, index, mask));
        }
    }
    drop(watchers);
}

/// Signs on twice, prints what it is answered, and whether it may ask once more.
const TWICE: &str = r#"use Socket;
$SIG{PIPE} = 'IGNORE';
socket(my $socket, PF_UNIX, SOCK_STREAM, 0) or die $!;
connect($socket, sockaddr_un('/run/heartbeat/register')) or die $!;
sub ask { my $body = join("\n", '>>>', @_, '<<<', '') . "\0"; syswrite $socket, pack('lL', length $body, 0xabcd) . $body }
sub take { my ($count, $bytes) = (shift, ''); while (length $bytes < $count) { sysread($socket, $bytes, $count - length $bytes, length $bytes) or print("end\n"), exit } $bytes }
sub hear { my $body = take(unpack('l', take(8))); my ($result) = $body =~ /^result=(.*)$/m; print $result eq 'badreq' ? $body : "$result\n" }
my @own = ("dest=x", "pid=$$", "from_id=$$");
for (1 .. 2) { ask('t=hbapi-req', 'reqtype=signon', @own, "uid=$>", 'gid=' . ($) + 0)); hear() }
ask('t=hbapi-req', 'reqtype=numnodes', @own);
hear();
"#;

fn second_sign_on_ends_as_with_heartbeat(lab: &Lab) {
    let script = lab.dir.join("twice.pl");
    std::fs::write(&script, TWICE).expect("a script");
    let [ours, theirs] =
        [0, 1].map(|index| Said::of(&lab.boards[index].on_board(&["perl", script.to_str().expect("UTF-8")])));
    assert_eq!(ours, theirs);
    assert!(theirs.out.starts_with("OK\n>>>\nt=hbapi-resp\n") && theirs.out.ends_with("OK\n"), "{theirs:?}");
}

/// Leaves open as many connections as it gets, then says how many sign-ons and how many memberships that were.
const GREEDY: &str = r#"use Socket;
$SIG{PIPE} = 'IGNORE';
$| = 1;
my @kept;
sub connected { socket(my $socket, PF_UNIX, SOCK_STREAM, 0) or die $!; connect($socket, sockaddr_un($_[0])) or die "$_[0]: $!"; push @kept, $socket; $socket }
my ($granted, $told) = (0, 0);
for my $count (1 .. 24) {
    my $socket = connected('/run/heartbeat/register');
    my $body = join("\n", '>>>', 't=hbapi-req', 'reqtype=signon', 'dest=x', "pid=$$", "from_id=${$}x$count", "uid=$>", 'gid=' . ($) + 0), '<<<', '') . "\0";
    syswrite $socket, pack('lL', length $body, 0xabcd) . $body;
    sysread($socket, my $answer, 8192);
    $granted++ if $answer =~ /^result=OK$/m;
}
for (1 .. 16) { $told++ if sysread(connected('/run/heartbeat/ccm/ccm'), my $news, 64) }
print "granted $granted, told $told\n";
sleep 1 while 1;
"#;

#[test]
fn one_user_cannot_keep_others_from_the_sockets() {
    let lab = pair("membership on\n");
    lab.wait("the boards are members", |lab| {
        lab.boards[0].cl_status(&["hbstatus", "-v"]).out.contains("\tmembers 2\n")
    });
    let script = lab.dir.join("greedy.pl");
    std::fs::write(&script, GREEDY).expect("a script");
    let user = ["setpriv", "--reuid", "nobody", "--regid", "haclient", "--clear-groups", "perl"];
    let words: Vec<&str> = user.into_iter().chain(script.to_str()).collect();
    let _greedy = Running::start(&lab.boards[0], &words);
    lab.wait("it has what it gets", |lab| said(&lab.boards[0], "greedy.pl").contains("granted 12, told 4\n"));
    let seen = lab.boards[0].cl_status(&["hbstatus", "-v"]);
    assert!(seen.code == Some(0) && seen.out.contains("\tmembers 2\n"), "{seen:?}");
    assert_eq!(lab.boards[0].own_cl_status(&["nodestatus", "beta"]).out, "active\n");
}

#[test]
fn user_without_the_group_is_told_what_the_packaged_cl_status_says_and_why() {
    let lab = pair("");
    let board = &lab.boards[0];
    let closed = board.on_board(&["sh", "-c", "chown hacluster:haclient /run/heartbeat && chmod 750 /run/heartbeat"]);
    assert!(closed.status.success(), "{closed:?}");
    let copy = lab.dir.join("cl_status");
    let text = copy.to_str().expect("UTF-8");
    // Without its set-gid bit, and where everybody gets at it.
    lab::run("install", &["-m", "755", "/usr/bin/cl_status", text]);
    std::fs::set_permissions(&lab.dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"];
    let said = |program: &[&str], words: &[&str]| {
        let all: Vec<&str> = nobody.iter().chain(program).chain(words).copied().collect();
        Said::of(&board.on_board(&all))
    };
    let named = lab.dir.join("named");
    std::fs::create_dir_all(&named).expect("directory");
    let ours = named.join("cl_status");
    lab::run("install", &["-m", "755", lab::NULLBEAT, ours.to_str().expect("UTF-8")]);
    for words in [&["hbstatus"][..], &["hbstatus", "-v"], &["nodestatus", "beta"]] {
        let theirs = said(&[text], words);
        let mut own = said(&[ours.to_str().expect("UTF-8")], words);
        let why = "ERROR: /run/heartbeat/register: no permission; this is for root and the group haclient";
        assert_eq!(own.err.first().map(String::as_str), Some(why), "{words:?}");
        own.err.remove(0);
        assert_eq!(own, theirs, "{words:?}");
    }
    // The packaged one as it is installed asks for everybody.
    let installed = said(&["/usr/bin/cl_status"], &["nodestatus", "beta"]);
    assert_eq!((installed.out.as_str(), installed.code), ("active\n", Some(0)), "{installed:?}");
}

/// A frame with this body behind a header of that length.
fn frame(len: i32, magic: u32, body: &[u8]) -> Vec<u8> {
    [&len.to_ne_bytes()[..], &magic.to_ne_bytes(), body].concat()
}

fn message(fields: &str) -> Vec<u8> {
    let body = format!(">>>\n{fields}\n<<<\n\0");
    frame(i32::try_from(body.len()).expect("short"), 0xabcd, body.as_bytes())
}

#[test]
fn bad_clients_disturb_nobody() {
    let lab = pair("keepalive 50ms\nwarntime 500ms\napiauth mine uid=root\n");
    let socket = lab.boards[0].dir.join("run/register");
    let connect = || UnixStream::connect(&socket).expect("somebody listens");
    let mut kept = Vec::new();
    let began = Instant::now();
    for round in 0..1000_u32 {
        let mut stream = connect();
        let bytes = match round % 8 {
            0 => round.to_ne_bytes().repeat(300),
            1 => frame(i32::MAX, 0xabcd, b"much to come"),
            2 => frame(-5, 0xabcd, b"x"),
            3 => frame(100, 0xabcd, b">>>\nt=hbapi-req\nreqty"),
            4 => message("t=hbapi-req\nreqtype=signon\npid=1\nfrom_id=1\nuid=4711\ngid=4711"),
            5 => message("t=hbapi-req\nreqtype=signon\npid=1\nfrom_id=ccm\nuid=0\ngid=0"),
            6 => message(&"=\n(1)x=!!\n".repeat(100)),
            _ => Vec::new(),
        };
        // Who was dropped meanwhile need not take it.
        let _ = stream.write_all(&bytes);
        if round % 50 == 0 {
            kept.push(stream);
        }
    }
    eprintln!("1000 connections in {:?}", began.elapsed());
    assert_eq!(lab.boards[0].cl_status(&["nodestatus", "beta"]).out, "active\n");

    // One that says much and never reads. Its number is that of the board's process 1: out here it has none there.
    let mut flood = connect();
    flood.set_write_timeout(Some(Duration::from_secs(30))).expect("timeout");
    flood.write_all(&message("t=hbapi-req\nreqtype=signon\npid=1\nfrom_id=mine\nuid=0\ngid=0")).expect("taken");
    let word = message(&format!("t=noise\nvalue={}", "x".repeat(400)));
    let sent = (0..20_000).take_while(|_| flood.write_all(&word).is_ok()).count();
    assert!(sent < 20_000, "it was never cut off");
    lab.wait("it is told why", |lab| lab.boards[0].log().contains("client mine is removed: send failed,farside_pid="));
    assert_eq!(lab.boards[0].cl_status(&["clientstatus", "alpha", "mine"]).out, "offline\n");

    // One whose words the serial line would spoil.
    let mut singer = connect();
    singer.write_all(&message("t=hbapi-req\nreqtype=signon\npid=1\nfrom_id=mine\nuid=0\ngid=0")).expect("taken");
    singer.write_all(&message("t=song\noseq=1\nvalue=caf\u{e9}")).expect("taken");
    lab.wait("it is told why", |lab| lab.boards[0].log().contains("client mine is removed: message not passed on"));
    assert!(lab.boards[0].status_json().contains("\"unfit\": 1"), "{}", lab.boards[0].status_json());

    for index in 0..2 {
        let log = lab.boards[index].log();
        assert!(!log.contains(": is dead") && !log.contains("panicked"), "{log}");
    }
    lab.assert_stays(0, &["web"], Duration::from_secs(1));
    lab.assert_exclusive();
}
