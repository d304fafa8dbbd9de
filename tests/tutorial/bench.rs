//! The two boards of the tutorial: its files, Debian's agents, a page that a client fetches.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::lab::{self, Lab, write_script};

const HA_CF: &str = include_str!("ha.cf");
pub(crate) const HARESOURCES: &str = include_str!("haresources");
const AUTHKEYS: &str = include_str!("authkeys");

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

pub(crate) struct Tutorial {
    pub(crate) lab: Lab,
}

impl Tutorial {
    pub(crate) fn new() -> Self {
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

    /// Power, and the daemon with no option at all.
    pub(crate) fn power_on(&mut self, index: usize) {
        self.boot(index);
        self.lab.boards[index].start_plain();
    }

    /// Power, and everything in its place; no daemon.
    pub(crate) fn boot(&mut self, index: usize) {
        let board = &mut self.lab.boards[index];
        board.power_on();
        // The agents keep pid files there, and a board has no business with another board's.
        let run = board.on_board(&[
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /run && mkdir -p /run/lock /run/heartbeat/rsctmp /run/resource-agents",
        ]);
        assert!(run.status.success(), "{run:?}");
        // Of an earlier life.
        for left in std::fs::read_dir(board.dir.join("run")).expect("its run directory").flatten() {
            let _ = std::fs::remove_file(left.path());
        }
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
    }

    pub(crate) fn fetches(&self) -> bool {
        let words = ["curl", "-s", "--max-time", "1", PAGE];
        String::from_utf8_lossy(&self.lab.on_client(&words).stdout).contains("the page")
    }

    /// The client believes in the second board's hardware address, and for longer than any test lasts: by itself it would
    /// not look again. Only an announcement helps.
    pub(crate) fn mislead_client(&self) {
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

    pub(crate) fn holds_address(&self, index: usize) -> bool {
        self.lab.boards[index].is_on()
            && String::from_utf8_lossy(&self.lab.boards[index].on_board(&["ip", "-o", "addr", "show", "ens33"]).stdout)
                .contains("192.168.231.111/")
    }

    /// Waits until the page comes from just this board.
    #[track_caller]
    pub(crate) fn wait_served_by(&self, index: usize, limit: Duration) -> Duration {
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

impl Tutorial {
    /// A copy of the tutorial's files with a serial line and short times, on both boards; `extra` stands in ha.cf.
    pub(crate) fn configure_quick(&self, haresources: &str, extra: &str) {
        for board in &self.lab.boards {
            board.configure(&self.lab.usual_ha_cf(board, extra), haresources);
        }
    }
}
