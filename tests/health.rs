//! Health checks on real boards: a web server that dies, one that keeps dying, an upstream that is dead for both, a check
//! that hangs, a checker that is killed.

mod lab;

use std::net::TcpListener;
use std::time::Duration;

use lab::{Lab, PATIENCE, write_script};

/// Asked every 200 ms, believed after two answers.
const PACE: &str = "every 200ms timeout 20s rise 1 fall 2";

/// A group `web`, whose mark and server the board has; `mail` on the other board.
const GROUPS: &str = "alpha trace::web server\nbeta trace::mail\n";

/// A web server of a shell's making on each board, which says whether it is well: `resource.d/server`. Its file
/// `fail-server` makes it die again at once.
fn add_server(lab: &Lab) {
    for board in &lab.boards {
        let dir = board.dir.display();
        let text = format!(
            r#"#!/bin/sh
dir={dir}
case $1 in
start) echo start >> $dir/server-starts
       rm -f $dir/www/up; mkdir -p $dir/www; [ -e $dir/fail-server ] || echo fine > $dir/www/up
       setsid python3 -m http.server --bind 127.0.0.1 --directory $dir/www 8080 </dev/null >/dev/null 2>&1 &
       echo $! > $dir/server-pid
       for try in $(seq 200); do grep -q ":1F90 .* 0A " /proc/net/tcp && exit 0; sleep 0.1; done; exit 1;;
stop) [ -e $dir/server-pid ] || exit 0; kill -9 "$(cat $dir/server-pid)" 2>/dev/null; rm -f $dir/server-pid;;
status) if [ -e $dir/server-pid ] && kill -0 "$(cat $dir/server-pid)" 2>/dev/null; then echo running; else echo stopped; exit 3; fi;;
esac
exit 0
"#
        );
        write_script(&board.config_dir().join("resource.d/server"), &text);
    }
}

fn starts(lab: &Lab, index: usize) -> usize {
    std::fs::read_to_string(lab.boards[index].dir.join("server-starts")).map_or(0, |text| text.lines().count())
}

/// What `status` says of a check.
fn health(lab: &Lab, index: usize, check: &str) -> String {
    let text = String::from_utf8_lossy(&lab.boards[index].nullbeat(&["status"]).stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with(check)).unwrap_or_default();
    let word = line.split_whitespace().find(|word| matches!(*word, "healthy" | "failed" | "unknown"));
    word.unwrap_or_default().to_owned()
}

fn wait_health(lab: &Lab, index: usize, check: &str, word: &str) {
    lab.wait(&format!("check {check} is {word} on board {index}"), |lab| health(lab, index, check) == word);
}

#[test]
fn web_server_that_dies_is_restarted_in_place_and_moves_when_that_does_not_help() {
    let extra = format!(
        "monitor trace::web {PACE} restarts 2\n\
         check http http://127.0.0.1:8080/up {PACE} group trace::web restart server restarts 2 name page\n"
    );
    let mut lab = Lab::usual(&extra, GROUPS);
    add_server(&lab);
    lab.start_both();
    lab.wait_at_home();
    wait_health(&lab, 0, "page", "healthy");
    assert_eq!(health(&lab, 1, "page"), "unknown", "it is asked where the group runs");
    // It is gone: `status` tells, and the page as well.
    let pid = std::fs::read_to_string(lab.boards[0].dir.join("server-pid")).expect("it runs");
    lab.boards[0].on_board(&["kill", "-9", pid.trim()]);
    lab.wait("it has been restarted", |lab| starts(lab, 0) == 2);
    wait_health(&lab, 0, "page", "healthy");
    // Another engine goes on counting.
    let engine = lab.boards[0].pids("engine");
    lab.boards[0].signal("engine", nix::sys::signal::Signal::SIGKILL);
    lab.wait("another engine", |lab| {
        let pids = lab.boards[0].pids("engine");
        !pids.is_empty() && pids != engine && lab.boards[0].is_settled()
    });
    wait_health(&lab, 0, "page", "healthy");
    assert_eq!(lab.observer.count("alpha", "web", "stop-begin"), 0, "what comes before it stays");
    // It runs and serves nothing: only the page tells. The next start does not help either.
    std::fs::write(lab.boards[0].dir.join("fail-server"), "").expect("a file");
    std::fs::remove_file(lab.boards[0].dir.join("www/up")).expect("the page");
    lab.wait_owner(1, &["web"]);
    assert_eq!(starts(&lab, 0), 3, "two restarts in an hour");
    wait_health(&lab, 1, "page", "healthy");
    lab.assert_stays(1, &["web"], Duration::from_secs(2));
    lab.assert_exclusive();
    let history = String::from_utf8_lossy(&lab.boards[1].nullbeat(&["history"]).stdout).into_owned();
    assert!(history.contains("health"), "{history}");
    let json = lab.boards[1].status_json();
    assert!(json.contains("\"checks\"") && json.contains("\"cause\": \"health\""), "{json}");
}

#[test]
fn dead_upstream_moves_to_who_reaches_it_and_nothing_when_nobody_does() {
    // The server is the client's, out there.
    let extra = "check tcp 192.168.231.200:8081 every 200ms timeout 150ms rise 1 fall 2 name db\n\
                 check ping 192.168.231.129 every 200ms timeout 150ms rise 1 fall 2 name gateway\n\
                 check exec /bin/true every 200ms rise 1 fall 2 name own\nupstream_holdoff 1\n";
    let mut lab = Lab::usual(extra, lab::AT_HOME);
    let (dir, lan) = (lab.dir.clone(), lab.lan().to_owned());
    let server = |is_up: bool| {
        let pid = dir.join("db-pid");
        let command = if is_up {
            format!(
                "cd {}; setsid python3 -m http.server --bind 192.168.231.200 8081 </dev/null >/dev/null 2>&1 & \
                 echo $! > {}",
                dir.display(),
                pid.display()
            )
        } else {
            format!("kill -9 $(cat {})", pid.display())
        };
        lab::in_netns(&lan, &["sh", "-c", &command]);
    };
    server(true);
    lab.start_both();
    lab.wait_at_home();
    for board in 0..2 {
        for check in ["db", "gateway", "own"] {
            wait_health(&lab, board, check, "healthy");
        }
    }
    server(false);
    for board in 0..2 {
        wait_health(&lab, board, "db", "failed");
    }
    lab.assert_stays(0, &["web"], Duration::from_secs(3));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    server(true);
    for board in 0..2 {
        wait_health(&lab, board, "db", "healthy");
    }
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1);
    // Out of reach for one of them: its Ethernet is out, the cable is whole.
    lab.ethernet(0, false);
    lab.wait_owner(1, &["web", "mail"]);
    lab.ethernet(0, true);
    lab.wait_at_home();
    server(false);
    lab.assert_exclusive();
}

#[test]
fn check_that_hangs_and_checker_that_is_killed_change_nothing_else() {
    let mut lab = Lab::usual("", lab::AT_HOME);
    let dir = lab.dir.clone();
    let hanging = dir.join("hanging");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    drop(listener);
    write_script(&hanging, "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\nwhile :; do sleep 1; done\n");
    let extra = format!(
        "check exec {} every 300ms timeout 1s fall 2 rise 1 group trace::web restarts 0 name hanging\n\
         check exec /bin/true every 100ms fall 2 rise 1 name good\nauto_failback off\n",
        hanging.display()
    );
    for board in &lab.boards {
        board.configure(&lab.usual_ha_cf(board, &extra), "alpha trace::web\n");
    }
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait_owner(0, &["web"]);
    // It hangs, and the other one is asked all the same.
    wait_health(&lab, 0, "good", "healthy");
    wait_health(&lab, 0, "hanging", "failed");
    assert_eq!(health(&lab, 0, "good"), "healthy");
    lab.assert_stays(0, &["web"], Duration::from_millis(500));
    let checkers = || {
        let output = lab.boards[0].on_board(&["pgrep", "-f", "nullbeat-checker"]);
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = checkers();
    assert_eq!(first.len(), 1, "{first:?}");
    let status = lab.boards[0].on_board(&["cat", &format!("/proc/{}/status", first[0])]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(!status.contains("Uid:\t0\t"), "{status}");
    let killed = lab.boards[0].on_board(&["kill", "-9", &first[0]]);
    assert!(killed.status.success());
    let is_replaced = |lab: &Lab| {
        let log = lab.boards[0].log();
        log.contains("health check good: unknown") && log.matches("health check good: healthy").count() == 2
    };
    lab.wait("another checker asks", is_replaced);
    assert_ne!(checkers(), first);
    lab.assert_stays(0, &["web"], Duration::from_millis(500));
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 1);
    // The end of the daemon is that of its checker.
    lab.boards[0].stop();
    let start = std::time::Instant::now();
    while !String::from_utf8_lossy(&lab.boards[0].on_board(&["pgrep", "-f", "nullbeat-checker"]).stdout).is_empty() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

/// `resource.d/application` on each board: a program that beats for `apphbd`, until its board has a file `mute`.
fn add_application(lab: &Lab) {
    for board in &lab.boards {
        let dir = board.dir.display();
        let program = format!(
            r#"use Socket; use Time::HiRes;
socket($s, PF_UNIX, SOCK_STREAM, 0);
until (connect($s, sockaddr_un("{dir}/run/apphb.comm"))) {{ Time::HiRes::sleep(0.05) }}
sub say_it {{ my ($body) = @_; syswrite($s, pack("lL", length $body, 0xabcd) . $body) }}
say_it(pack("a8a256a256a256lLL", "reg", "shop", "one", "/", $$, $<, $( + 0));
say_it(pack("a8Q", "setint", 1000));
while (1) {{ say_it(pack("a8", "hb")) unless -e "{dir}/mute"; Time::HiRes::sleep(0.1) }}
"#
        );
        std::fs::write(board.dir.join("application.pl"), program).expect("the application");
        let text = format!(
            r#"#!/bin/sh
dir={dir}
case $1 in
start) setsid perl $dir/application.pl </dev/null >/dev/null 2>&1 & echo $! > $dir/application-pid;;
stop) [ -e $dir/application-pid ] || exit 0; kill -9 "$(cat $dir/application-pid)" 2>/dev/null; rm -f $dir/application-pid;;
status) if [ -e $dir/application-pid ] && kill -0 "$(cat $dir/application-pid)" 2>/dev/null; then echo running; else echo stopped; exit 3; fi;;
esac
exit 0
"#
        );
        write_script(&board.config_dir().join("resource.d/application"), &text);
    }
}

#[test]
fn application_that_stops_beating_moves_to_the_board_where_it_beats() {
    let extra = "use_apphbd yes\n\
                 check apphb shop:one every 200ms timeout 20s rise 1 fall 15 group trace::web restarts 0 name beats\n";
    let mut lab = Lab::usual(extra, "alpha trace::web application\nbeta trace::mail\n");
    add_application(&lab);
    lab.start_both();
    lab.wait_at_home();
    wait_health(&lab, 0, "beats", "healthy");
    assert_eq!(health(&lab, 1, "beats"), "unknown", "it is asked where the group runs");
    // It runs, and does nothing: only its beats tell.
    std::fs::write(lab.boards[0].dir.join("mute"), "").expect("a file");
    lab.wait_owner(1, &["web"]);
    wait_health(&lab, 1, "beats", "healthy");
    assert!(lab.boards[0].log().contains("health check beats: its heartbeats stay away"));
    lab.assert_stays(1, &["web"], Duration::from_secs(1));
    lab.assert_exclusive();
    let history = String::from_utf8_lossy(&lab.boards[1].nullbeat(&["history"]).stdout).into_owned();
    assert!(history.contains("health"), "{history}");
}

#[test]
fn beside_a_heartbeat_a_spent_group_is_offered_and_the_health_of_the_node_moves_nothing() {
    let mut lab = Lab::mixed(lab::AT_HOME);
    let dir = lab.dir.clone();
    for name in ["of-node", "of-group"] {
        write_script(&dir.join(name), &format!("#!/bin/sh\n[ ! -e {}/{name}-fails ]\n", dir.display()));
    }
    // The checker has no rights: it shall get there.
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("mode");
    let path = lab.boards[0].config_dir().join("ha.cf");
    let lines = format!(
        "check exec {0}/of-node every 200ms rise 1 fall 2 name of-node\nupstream_holdoff 500ms\n\
         check exec {0}/of-group every 200ms rise 1 fall 2 group trace::web restarts 1 name of-group\n",
        dir.display()
    );
    std::fs::write(&path, std::fs::read_to_string(&path).expect("configured") + &lines).expect("ha.cf");
    lab.start_both();
    lab.wait_owner(0, &["web"]);
    lab.wait_owner(1, &["mail"]);
    wait_health(&lab, 0, "of-node", "healthy");
    wait_health(&lab, 0, "of-group", "healthy");
    // Heartbeat tells nothing of its own health: there is nothing to compare with.
    std::fs::write(dir.join("of-node-fails"), "").expect("a file");
    wait_health(&lab, 0, "of-node", "failed");
    lab.assert_stays(0, &["web"], Duration::from_secs(3));
    // A group that restarts do not help is offered, as after a failed start.
    std::fs::write(dir.join("of-group-fails"), "").expect("a file");
    lab.wait_owner(1, &["web", "mail"]);
    assert_eq!(lab.observer.count("alpha", "web", "start-begin"), 2, "one restart in place");
    lab.assert_stays(1, &["web"], Duration::from_secs(3));
    lab.assert_exclusive();
}
