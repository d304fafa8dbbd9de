//! The classic tutorial's three files, as they stand, on two boards with Debian's resource agents: an address, a file
//! system, a web server; a client fetches the page through the virtual address all the while.
//!
//! Stand-ins: `mount.nfs` mounts a tmpfs under the server's name and copies its folder; `httpd` starts a real lighttpd; `ipfail` is an
//! empty program, because `respawn` checks that it is there. One line is added for safety: `reset_with hook`.

mod lab;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lab::{Lab, write_script};

const HA_CF: &str = include_str!("tutorial/ha.cf");
const HARESOURCES: &str = include_str!("tutorial/haresources");
const AUTHKEYS: &str = include_str!("tutorial/authkeys");

/// Directories that a board sees as its own, at the places where the tutorial has them.
const OWN: [(&str, &str); 6] = [
    ("ha.d", "/etc/ha.d"),
    ("run", "/run/nullbeat"),
    ("state", "/var/lib/nullbeat"),
    ("heartbeat", "/var/lib/heartbeat"),
    ("log", "/var/log"),
    ("local", "/usr/local/heartbeat"),
];

/// The page's address.
const PAGE: &str = "http://192.168.231.111/index.html";

struct Tutorial {
    lab: Lab,
}

impl Tutorial {
    fn new() -> Self {
        let lab = Lab::new(["Rserver1", "Rserver2"]);
        let webroot = lab.dir.join("webroot");
        std::fs::create_dir_all(&webroot).expect("folder");
        std::fs::write(webroot.join("index.html"), "the page\n").expect("page");
        for (index, board) in lab.boards.iter().enumerate() {
            for (name, _) in OWN {
                std::fs::create_dir_all(board.dir.join(name)).expect("folder");
            }
            lab::run("cp", &["-a", "/etc/ha.d/.", &board.config_dir().display().to_string()]);
            // The tutorial's remark on this line: it names the *other* board's address.
            let peer = &lab.boards[1 - index].address;
            let ha_cf = HA_CF.replace("ucast ens33 192.168.231.132", &format!("ucast ens33 {peer}"));
            board.configure(&format!("{ha_cf}\nreset_with hook {}\n", board.reset_hook().display()), HARESOURCES);
            board.authkeys(AUTHKEYS);
            write_httpd(&board.config_dir().join("resource.d/httpd"));
            write_script(&board.dir.join("local/libexec/heartbeat/ipfail"), "#!/bin/sh\nexit 100\n");
            write_script(
                &board.dir.join("mount.nfs"),
                &format!("#!/bin/sh\nmount -i -t tmpfs \"$1\" \"$2\" && cp {}/* \"$2\"\n", webroot.display()),
            );
        }
        for board in &lab.boards {
            // The agent loads the file system's module; a stand-in needs none.
            write_script(&board.dir.join("mount.nfs.modprobe"), "#!/bin/sh\nexit 0\n");
        }
        Self { lab }
    }

    fn power_on(&mut self, index: usize) {
        let board = &mut self.lab.boards[index];
        board.power_on();
        // The agents keep pid files there, and a board has no business with another board's.
        let run = board.on_board(&[
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /run && mkdir -p /run/lock /run/heartbeat/rsctmp /run/resource-agents",
        ]);
        assert!(run.status.success(), "{run:?}");
        for (name, place) in OWN {
            let from = board.dir.join(name);
            let made = board.on_board(&["mkdir", "-p", place]);
            assert!(made.status.success(), "{made:?}");
            let mounted = board.on_board(&["mount", "--bind", &from.display().to_string(), place]);
            assert!(mounted.status.success(), "{mounted:?}");
        }
        let helper = board.dir.join("mount.nfs").display().to_string();
        // A file to mount over has to exist on machines without NFS tools; the folder is the board's own. What is a link in
        // it leads to the machine's own programs, which are not to be written over.
        let script = format!(
            "mkdir -p /var/www/html {0}/sbin && cp -a /usr/sbin/. {0}/sbin/ && \
             cp --remove-destination {helper} {0}/sbin/mount.nfs && \
             cp --remove-destination {helper}.modprobe {0}/sbin/modprobe && mount --bind {0}/sbin /usr/sbin && \
             {{ cat /proc/filesystems; echo 'nodev nfs'; }} > {0}/filesystems && \
             mount --bind {0}/filesystems /proc/filesystems",
            board.dir.display()
        );
        let overlaid = board.on_board(&["sh", "-c", &script]);
        assert!(overlaid.status.success(), "{overlaid:?}");
        board.start_plain();
    }

    fn fetches(&self) -> bool {
        let words = ["curl", "-s", "--max-time", "1", PAGE];
        String::from_utf8_lossy(&self.lab.on_client(&words).stdout).contains("the page")
    }

    /// The client believes in the second board's hardware address, and for longer than any test lasts: by itself it would
    /// not look again. Only an announcement helps.
    fn mislead_client(&self) {
        let link = self.lab.boards[1].on_board(&["ip", "-o", "link", "show", "ens33"]).stdout;
        let link = String::from_utf8_lossy(&link).into_owned();
        let address = link.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
        let script = format!(
            "set -e; dev=$(ip -o route get 192.168.231.111 | sed 's/.* dev \\([^ ]*\\).*/\\1/'); \
             echo 1200000 > /proc/sys/net/ipv4/neigh/$dev/base_reachable_time_ms; \
             echo 0 > /proc/sys/net/ipv4/neigh/$dev/locktime; \
             ip neigh replace 192.168.231.111 lladdr {address} nud reachable dev $dev"
        );
        let output = self.lab.on_client(&["sh", "-c", &script]);
        assert!(output.status.success(), "{output:?}");
    }

    fn holds_address(&self, index: usize) -> bool {
        self.lab.boards[index].is_on()
            && String::from_utf8_lossy(&self.lab.boards[index].on_board(&["ip", "-o", "addr", "show", "ens33"]).stdout)
                .contains("192.168.231.111/")
    }

    /// Waits until the page comes from just this board.
    #[track_caller]
    fn wait_served_by(&self, index: usize, limit: Duration) -> Duration {
        let start = Instant::now();
        while !(self.holds_address(index) && !self.holds_address(1 - index) && self.fetches()) {
            if start.elapsed() > limit {
                self.lab.dump();
                panic!("{} does not serve the page within {limit:?}", self.lab.boards[index].name);
            }
            std::thread::yield_now();
        }
        start.elapsed()
    }
}

fn write_httpd(path: &Path) {
    let text = r#"#!/bin/sh
pidfile=/run/nullbeat/httpd.pid
running() { [ -s $pidfile ] && kill -0 "$(cat $pidfile)" 2>/dev/null; }
case $1 in
start)
    running && exit 0
    printf 'server.document-root="/var/www/html"\nserver.port=80\nserver.pid-file="%s"\n' $pidfile > /run/nullbeat/httpd.conf
    exec lighttpd -f /run/nullbeat/httpd.conf;;
stop)
    running || exit 0
    pid=$(cat $pidfile); kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do :; done
    rm -f $pidfile;;
status)
    if running; then echo running; else echo stopped; exit 3; fi;;
esac
"#;
    write_script(path, text);
}

#[test]
fn tutorial_runs_as_it_stands_through_start_stop_kill_and_return() {
    let long = Duration::from_secs(150);
    let mut tutorial = Tutorial::new();
    tutorial.power_on(0);
    tutorial.power_on(1);
    tutorial.wait_served_by(0, long);

    // Stop: the other one takes over at once, and the group comes home when the node is back.
    let output = tutorial.lab.boards[0].on_board(&[lab::NULLBEAT, "stop"]);
    assert!(output.status.success(), "{output:?}");
    let took = tutorial.wait_served_by(1, long);
    assert!(took < Duration::from_secs(25), "a clean stop does not wait for the dead time: {took:?}");
    tutorial.lab.boards[0].await_end();
    tutorial.lab.boards[0].start_plain();
    tutorial.wait_served_by(0, long);

    // Kill: power loss of the owner; after 30 s of silence the page is back. While it is, it stays.
    tutorial.lab.boards[0].power_off();
    tutorial.wait_served_by(1, long);

    // Return: auto_failback brings it home.
    tutorial.power_on(0);
    tutorial.wait_served_by(0, long);

    // The client sees the page all the while that the standby reads its files again.
    let is_over = Arc::new(AtomicBool::new(false));
    let watch = Arc::clone(&is_over);
    let misses = std::thread::scope(|scope| {
        let tutorial = &tutorial;
        let client = scope.spawn(move || {
            let mut misses = 0;
            while !watch.load(Ordering::SeqCst) {
                misses += u32::from(!tutorial.fetches());
            }
            misses
        });
        let status = tutorial.lab.boards[0].on_board(&[lab::NULLBEAT, "status"]);
        let reload = tutorial.lab.boards[1].on_board(&[lab::NULLBEAT, "reload"]);
        is_over.store(true, Ordering::SeqCst);
        assert!(status.status.success(), "{status:?}");
        assert!(reload.status.success(), "{reload:?}");
        client.join().expect("the client")
    });
    assert_eq!(misses, 0, "a reload of the standby is not seen from outside");
}

/// Both boards answer for the address while every cable between them is out; after the heal one of them lets go, and
/// the client, which had learnt the wrong board's hardware address, reaches the other one at once.
#[test]
fn page_is_back_within_seconds_of_a_heal() {
    let mut tutorial = Tutorial::new();
    for (index, board) in tutorial.lab.boards.iter().enumerate() {
        let quick = tutorial.lab.usual_ha_cf(board, "takeover_policy available");
        board.configure(&quick.replace("serial", "#serial"), HARESOURCES);
        assert_eq!(board.index, index);
    }
    tutorial.power_on(0);
    tutorial.power_on(1);
    tutorial.wait_served_by(0, lab::PATIENCE);
    // The boards lose each other; the client still reaches both.
    for board in &tutorial.lab.boards {
        block(board, "add");
    }
    let start = Instant::now();
    while !(tutorial.holds_address(0) && tutorial.holds_address(1)) {
        assert!(start.elapsed() < lab::PATIENCE, "the second board does not take over");
        std::thread::yield_now();
    }
    tutorial.mislead_client();
    for board in &tutorial.lab.boards {
        block(board, "flush");
    }
    let took = tutorial.wait_served_by(0, lab::PATIENCE);
    eprintln!("the page came from one board again after {took:?}");
    assert!(tutorial.fetches());
}

/// Cuts a board's heartbeats, and nothing else.
fn block(board: &lab::Board, verb: &str) {
    let script = match verb {
        "add" => {
            "nft add table ip lab && nft 'add chain ip lab in { type filter hook input priority 0; }' && \
             nft add rule ip lab in udp dport 694 drop"
        }
        _ => "nft delete table ip lab",
    };
    let output = board.on_board(&["sh", "-c", script]);
    assert!(output.status.success(), "{output:?}");
}
