//! Heartbeat's own clients as they are packaged, on boards that run nullbeat: they find the socket where they look for it
//! and notice nothing. And `cl_status` as one of our own names, which says the same.
//!
//! `COMPATIBILITY=write cargo test --test api` writes what was seen into docs/compatibility.md; without that variable the
//! tests say what is different there. One section lists every program of the packages with the tests that it rests on.

mod inventory;
mod lab;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use lab::Lab;

/// A host outside of the cluster, which answers.
const PING: &str = "ping 192.168.231.200\n";

/// One section of docs/compatibility.md: its rows as they should be, compared or written.
fn document(section: &str, rows: &[String]) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
    let text = std::fs::read_to_string(path).expect("docs/compatibility.md");
    let (begin, end) = (format!("<!-- {section} -->\n"), format!("<!-- end of {section} -->"));
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{path} has no section {section}"));
    let (there, _) = rest.split_once(&end).unwrap_or_else(|| panic!("{path}: section {section} does not end"));
    let rows = rows.concat();
    if std::env::var_os("COMPATIBILITY").is_some_and(|word| word == "write") {
        // The two sections are written by two tests: one of them at a time reads and writes.
        let _alone = DOCUMENT.lock().expect("no other test has failed here");
        let text = std::fs::read_to_string(path).expect("docs/compatibility.md");
        let now = text.replace(&format!("{begin}{there}{end}"), &format!("{begin}{rows}{end}"));
        std::fs::write(path, now).expect("docs/compatibility.md");
    } else {
        assert_eq!(there, rows, "{path} is old; COMPATIBILITY=write cargo test --test api writes it anew");
    }
}

static DOCUMENT: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// A pair at work whose boards' run directories are where Heartbeat's clients look.
fn pair(extra: &str) -> Lab {
    let lab = Lab::at_home(&format!("{PING}{extra}"));
    show_socket(&lab);
    lab
}

fn show_socket(lab: &Lab) {
    for board in lab.boards.iter().filter(|board| !board.runs_heartbeat()) {
        let run = board.dir.join("run");
        // Some of them have sockets of their own in there.
        let script = format!(
            "cd {} && mkdir -p ccm dopd /run/heartbeat && chown hacluster:haclient ccm dopd && mount --bind . /run/heartbeat",
            run.display()
        );
        let output = board.on_board(&["sh", "-c", &script]);
        assert!(output.status.success(), "{output:?}");
    }
}

/// What a command said: standard output, exit code, and what stands behind the time and number in its errors.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    out: String,
    code: Option<i32>,
    err: Vec<String>,
}

impl Said {
    fn of(output: &Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        let words = |line: &str| line.split_once("]: ").map_or(line, |(_, words)| words).to_owned();
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            code: output.status.code(),
            err: err.lines().map(words).collect(),
        }
    }
}

fn cl_status(lab: &Lab, index: usize, words: &[&str]) -> Said {
    let all: Vec<&str> = ["/usr/bin/cl_status"].iter().chain(words).copied().collect();
    Said::of(&lab.boards[index].on_board(&all))
}

/// The same words for our own program under that name.
fn own_cl_status(lab: &Lab, index: usize, words: &[&str]) -> Said {
    let directory = format!("--run-dir={}", lab.boards[index].dir.join("run").display());
    let all: Vec<&str> = words.iter().copied().chain([directory.as_str()]).collect();
    Said::of(&lab.boards[index].nullbeat_as("cl_status", &all))
}

/// Words of each sub-command, and what the packaged program says to them on alpha: standard output, exit code, errors.
const TABLE: &[(&[&str], &str, i32, &[&str])] = &[
    (&["hbstatus"], "Heartbeat is running on this machine.\n", 0, &[]),
    (&["listnodes"], "192.168.231.200\nbeta\nalpha\n", 0, &[]),
    (&["listnodes", "-m"], "The nodes are as follow:\n192.168.231.200\nbeta\nalpha\n", 0, &[]),
    (&["listnodes", "-n"], "beta\nalpha\n", 0, &[]),
    (&["listnodes", "-p"], "192.168.231.200\n", 0, &[]),
    (&["listnodes", "-np"], "192.168.231.200\nbeta\nalpha\n", 0, &[]),
    (
        &["listnodes", "-v"],
        "\n192.168.231.200\tping\t(nodetype: ping)\n\t192.168.231.200\tup\n\nbeta\tactive\t(nodetype: normal)\n\tens33\tup\n\
         \tSERIAL\tup\n\nalpha\tactive\t(nodetype: normal)\n\tens33\tdead\n\tSERIAL\tdead\n",
        0,
        &[],
    ),
    (
        &["listnodes", "-z"],
        "",
        11,
        &["listnodes: invalid option -- 'z'", "ERROR: Error: getopt returnedcharacter code ?."],
    ),
    (&["nodestatus", "beta"], "active\n", 0, &[]),
    (&["nodestatus", "-m", "beta"], "The cluster node beta is active\n", 0, &[]),
    (&["nodestatus", "192.168.231.200"], "ping\n", 0, &[]),
    (&["nodestatus", "gamma"], "", 11, &["Error. May be due to incorrect node name"]),
    (&["nodestatus"], "", 11, &["Not enough parameters."]),
    (&["nodeweight", "beta"], "100\n", 0, &[]),
    (&["nodeweight", "-m", "beta"], "The weight of the cluster node beta is 100\n", 0, &[]),
    (&["nodeweight", "gamma"], "", 11, &["Error. Maybe due to incorrect node name."]),
    (&["nodesite", "beta"], "\n", 0, &[]),
    (&["nodesite", "-m", "beta"], "The site of the cluster node beta is \n", 0, &[]),
    (&["nodesite", "gamma"], "", 11, &["Error. May be due to incorrect node name"]),
    (&["nodetype", "beta"], "normal\n", 0, &[]),
    (&["nodetype", "192.168.231.200"], "ping\n", 0, &[]),
    (&["nodetype", "-m", "beta"], "The node beta's type: normal\n", 0, &[]),
    (&["nodetype"], "", 11, &["No enough parameter."]),
    (&["listhblinks", "beta"], "\tens33\n\tSERIAL\n", 0, &[]),
    (&["listhblinks", "-v", "beta"], "\tens33\tup\n\tSERIAL\tup\n", 0, &[]),
    (
        &["listhblinks", "gamma"],
        "",
        13,
        &["ERROR: Cannot start heartbeat link interface walk.", "ERROR: REASON: EINVAL"],
    ),
    (&["hblinkstatus", "beta", "ens33"], "up\n", 0, &[]),
    (&["hblinkstatus", "alpha", "ens33"], "dead\n", 1, &[]),
    (&["hblinkstatus", "-m", "beta", "ens33"], "The node beta's heartbeat link ens33 is up\n", 0, &[]),
    (&["hblinkstatus", "beta", "nix"], "", 13, &["ERROR: Cannot get heartbeat link status", "ERROR: REASON: "]),
    (&["clientstatus", "alpha", "nix"], "offline\n", 1, &[]),
    (&["clientstatus", "beta", "nix"], "offline\n", 1, &[]),
    (&["clientstatus", "192.168.231.200", "nix"], "offline\n", 1, &[]),
    (
        &["clientstatus", "gamma", "nix"],
        "",
        13,
        &["ERROR: Cannot get heartbeat client nix's status", "ERROR: REASON: No timely response."],
    ),
    (&["rscstatus"], "local\n", 0, &[]),
    (&["rscstatus", "-m"], "This node is holding local resources.\n", 0, &[]),
    (&["hbparameter", "-p", "deadtime"], "1\n", 0, &[]),
    (&["hbparameter", "-p", "keepalive"], "200ms\n", 0, &[]),
    (&["hbparameter", "-p", "udpport"], "694\n", 0, &[]),
    (&["hbparameter", "-p", "hopfudge"], "1\n", 0, &[]),
    (&["hbparameter", "-m", "-p", "keepalive"], "Heartbeat parameter keepalive's value: 200ms\n", 0, &[]),
    (&["hbparameter", "-p", "nix"], "", 1, &["ERROR: Cannot get parameter nix's value", "ERROR: REASON: "]),
    (&["hbparameter"], "", 11, &["ERROR: parameter name required"]),
    (&["nodeweight"], "", 11, &["Not enough parameters."]),
    (&["nodesite"], "", 11, &["Not enough parameters."]),
    (&["listhblinks"], "", 11, &["No enough parameter."]),
    (&["hblinkstatus", "beta"], "", 11, &["No enough parameter."]),
    (&["clientstatus", "beta"], "", 11, &["No enough parameter."]),
    (&["rscstatus", "-z"], "", 11, &["rscstatus: invalid option -- 'z'", "ERROR: Error: getopt returnedcharacter ?."]),
    (&["hbstatus", "-z"], "Heartbeat is running on this machine.\n", 0, &["hbstatus: invalid option -- 'z'"]),
    (&["test"], "Dead time: 1000\n keeplive time: 200\n mynodeid: alpha\n rsc: local\n", 0, &[]),
    (&["nix"], "", 11, &["ERROR: nix: invalid sub-command."]),
];

#[test]
fn cl_status_is_answered_packaged_and_ours_alike() {
    let lab = pair("");
    let serial = lab.boards[0].serial.display().to_string();
    let mut rows = Vec::new();
    for (words, out, code, err) in TABLE {
        let expected = Said {
            out: out.replace("SERIAL", &serial),
            code: Some(*code),
            err: err.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(cl_status(&lab, 0, words), expected, "{words:?}");
        assert_eq!(own_cl_status(&lab, 0, words), expected, "ours: {words:?}");
        let said = [out.trim_end_matches('\n').replace('\n', "⏎").replace('\t', "→"), err.join("⏎")].join(" ");
        rows.push(format!("| `cl_status {}` | {code} | `{}` | same | same |\n", words.join(" "), said.trim()));
    }
    for words in [&["hbstatus", "-v"][..], &["hbstatus", "-mv"], &["listnodes", "-mv"], &["listhblinks", "-mv", "beta"]]
    {
        let theirs = cl_status(&lab, 0, words);
        assert_eq!(own_cl_status(&lab, 0, words), theirs, "{words:?}");
        assert_eq!(theirs.code, Some(0), "{words:?}");
        rows.push(format!(
            "| `cl_status {}` | 0 | as `listnodes -v`, with its head | same | same |\n",
            words.join(" ")
        ));
    }
    let verbose = cl_status(&lab, 0, &["hbstatus", "-v"]).out;
    assert!(verbose.starts_with("version:\t3.0.6 (nullbeat ") && verbose.contains("\nmanaged by:\t\"haresources\"\n"));

    // Where nobody listens.
    lab.boards[0].signal("guardian", nix::sys::signal::Signal::SIGTERM);
    lab.wait("alpha's daemon has ended", |lab| lab.boards[0].pids("guardian").is_empty());
    for words in [&["hbstatus"][..], &["hbstatus", "-v"], &["rscstatus"], &["nodestatus"]] {
        let theirs = cl_status(&lab, 0, words);
        assert_eq!((theirs.code, own_cl_status(&lab, 0, words)), (Some(1), theirs), "{words:?}");
        rows.push(format!("| `cl_status {}`, no daemon | 1 | that it is stopped | same | same |\n", words.join(" ")));
    }
    document("cl_status", &rows);
}

/// A command of a packaged client as the user that Heartbeat's clients have.
fn as_hacluster<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let user = ["setpriv", "--reuid", "hacluster", "--regid", "haclient", "--clear-groups"];
    user.iter().chain(words).copied().collect()
}

/// A client that goes on until the test ends it.
struct Running(Child);

impl Running {
    fn start(lab: &Lab, index: usize, words: &[&str]) -> Self {
        let log = lab.boards[index].dir.join(format!("{}.log", words.last().unwrap().rsplit('/').next().unwrap()));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log");
        let mut command = lab.boards[index].command(words);
        Self(command.stdout(file.try_clone().expect("log")).stderr(file).spawn().expect("a client"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log_of(lab: &Lab, index: usize, name: &str) -> String {
    std::fs::read_to_string(lab.boards[index].dir.join(format!("{name}.log"))).unwrap_or_default()
}

const DIR: &str = "/usr/libexec/heartbeat";

#[test]
fn packaged_clients_talk_to_each_other_across_nodes() {
    let lab = pair("apiauth dopd gid=haclient uid=hacluster\n");
    let program = |name: &str| format!("{DIR}/{name}");

    // Clients that say words of their own to their like.
    let api_test = program("api_test");
    let _first = Running::start(&lab, 0, &as_hacluster(&[&api_test]));
    lab.wait("the first one waits", |lab| log_of(lab, 0, "api_test").contains("Sleeping..."));
    let _second = Running::start(&lab, 1, &as_hacluster(&[&api_test]));
    lab.wait("the second one sees the first", |lab| {
        log_of(lab, 1, "api_test").contains("alpha/api_test status: [online]")
    });
    lab.wait("each answers the other", |lab| {
        (0..2).all(|index| log_of(lab, index, "api_test").contains("Waiting for messages..."))
    });
    assert_eq!(cl_status(&lab, 0, &["clientstatus", "beta", "ping"]).out, "online\n");

    // Its judgement of ping nodes, by the program itself.
    let ipfail = program("ipfail");
    let _ipfails = [0, 1].map(|index| Running::start(&lab, index, &as_hacluster(&[&ipfail])));
    for index in 0..2 {
        lab.wait("ipfail is at work", |lab| log_of(lab, index, "ipfail").contains("Waiting for messages..."));
    }
    lab.wait("ipfail is online there", |lab| cl_status(lab, 0, &["clientstatus", "beta", "ipfail"]).out == "online\n");

    // A client that ha.cf admits.
    let dopd = program("dopd");
    let _dopd = Running::start(&lab, 0, &as_hacluster(&[&dopd]));
    lab.wait("dopd is online", |lab| cl_status(lab, 1, &["clientstatus", "alpha", "dopd"]).out == "online\n");

    // Membership, agreed on by two of the packaged programs through our messages.
    let ccm = program("ccm");
    let _ccms = [0, 1].map(|index| Running::start(&lab, index, &as_hacluster(&[&ccm])));
    for index in 0..2 {
        lab.wait("both are members", |lab| {
            let said = cl_status(lab, index, &["hbstatus", "-v"]).out;
            said.contains("ccm membership with quorum") && said.contains("\tmembers 2\n")
        });
    }
    let rows = [
        ("api_test", "signs on, walks nodes and links, asks parameters, sees its like online, ends its walk"),
        ("ipfail", "signs on on both nodes, waits for messages, is online for `cl_status clientstatus`"),
        ("dopd", "signs on by its `apiauth` line, is online for the other node"),
        ("ccm", "both nodes agree on two members, with quorum"),
    ];
    document("programs", &rows.map(|(name, what)| format!("| `{name}` | {what} | ✔ |\n")));
}

#[test]
fn clients_of_a_nullbeat_and_of_a_heartbeat_hear_each_other() {
    let mut lab = Lab::mixed(lab::AT_HOME);
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    show_socket(&lab);
    let api_test = format!("{DIR}/api_test");
    let _tests = [1, 0].map(|index| Running::start(&lab, index, &as_hacluster(&[&api_test])));
    for (index, other) in [(0, "beta"), (1, "alpha")] {
        lab.wait("each one's daemon knows of the other's client", |lab| {
            cl_status(lab, index, &["clientstatus", other, "ping"]).out == "online\n"
        });
        assert_eq!(cl_status(&lab, index, &["clientstatus", other, "nix"]).out, "offline\n");
    }
    filters_show_what_those_of_heartbeat_show(&lab);
    second_sign_on_ends_as_with_heartbeat(&lab);
    let ccm = format!("{DIR}/ccm");
    let _ccms = [0, 1].map(|index| Running::start(&lab, index, &as_hacluster(&[&ccm])));
    for index in 0..2 {
        lab.wait("both are members", |lab| cl_status(lab, index, &["hbstatus", "-v"]).out.contains("\tmembers 2\n"));
    }
    // Ours asks a Heartbeat as well as a nullbeat, and both say what they say to the packaged one.
    let more: [&[&str]; 4] =
        [&["hbstatus", "-v"], &["hbstatus", "-mv"], &["listnodes", "-mv"], &["listhblinks", "-mv", "beta"]];
    for words in TABLE.iter().map(|(words, ..)| *words).chain(more) {
        // The packaged one leaves out a ccm that does not answer at once.
        lab.wait(&format!("the same beside a Heartbeat: {words:?}"), |lab| {
            Said::of(&lab.boards[1].nullbeat_as("cl_status", words)) == cl_status(lab, 1, words)
        });
    }
    document("mixed", &["api_test", "ccm"].map(|name| format!("| `{name}` | ✔ |\n")));
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
        .map(|(index, mask)| Running::start(lab, index, &["perl", script, "/run/heartbeat/register", mask]))
        .collect();
    let seen = |lab: &Lab, index: usize, mask: &str| -> BTreeSet<String> {
        let log = log_of(lab, index, mask);
        log.lines().filter(|line| !line.starts_with("hbapi-resp")).map(str::to_owned).collect()
    };
    for index in 0..2 {
        for (mask, kinds) in FILTERS {
            lab.wait(&format!("{mask} shows {kinds:?} on board {index}"), |lab| {
                // Somebody asks.
                let _ = cl_status(lab, index, &["listnodes"]);
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
    lab.wait("the boards are members", |lab| cl_status(lab, 0, &["hbstatus", "-v"]).out.contains("\tmembers 2\n"));
    let script = lab.dir.join("greedy.pl");
    std::fs::write(&script, GREEDY).expect("a script");
    let user = ["setpriv", "--reuid", "nobody", "--regid", "haclient", "--clear-groups", "perl"];
    let words: Vec<&str> = user.into_iter().chain(script.to_str()).collect();
    let _greedy = Running::start(&lab, 0, &words);
    lab.wait("it has what it gets", |lab| log_of(lab, 0, "greedy.pl").contains("granted 12, told 8\n"));
    let seen = cl_status(&lab, 0, &["hbstatus", "-v"]);
    assert!(seen.code == Some(0) && seen.out.contains("\tmembers 2\n"), "{seen:?}");
    assert_eq!(own_cl_status(&lab, 0, &["nodestatus", "beta"]).out, "active\n");
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

#[test]
fn every_program_of_the_packages_has_its_row() {
    inventory::check_plumbing();
    document("packages", &inventory::rows());
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
    assert_eq!(cl_status(&lab, 0, &["nodestatus", "beta"]).out, "active\n");

    // One that says much and never reads. Its number is that of the board's process 1: out here it has none there.
    let mut flood = connect();
    flood.set_write_timeout(Some(Duration::from_secs(30))).expect("timeout");
    flood.write_all(&message("t=hbapi-req\nreqtype=signon\npid=1\nfrom_id=mine\nuid=0\ngid=0")).expect("taken");
    let word = message(&format!("t=noise\nvalue={}", "x".repeat(400)));
    let sent = (0..20_000).take_while(|_| flood.write_all(&word).is_ok()).count();
    assert!(sent < 20_000, "it was never cut off");
    lab.wait("it is told why", |lab| lab.boards[0].log().contains("client mine is removed: send failed,farside_pid="));
    assert_eq!(cl_status(&lab, 0, &["clientstatus", "alpha", "mine"]).out, "offline\n");

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
