//! The unit files of `dist` and of Heartbeat's package under a real systemd, and the package's init script.

mod lab;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::Lab;
use nix::sys::signal::Signal;

const RESOURCES: &str = "alpha trace::web\nbeta trace::mail\n";
/// The board with systemd.
const OURS: usize = 0;
const THEIRS: usize = 1;
const PACKAGED: &str = "/lib/systemd/system/heartbeat.service";

/// alpha with systemd, Heartbeat's package and the unit of `dist`; beta a plain board on which nullbeat runs.
fn lab_with_systemd() -> Lab {
    lab_with("", RESOURCES)
}

fn lab_with(extra: &str, resources: &str) -> Lab {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/nullbeat.service");
    let mut lab = Lab::new(["alpha", "beta"]);
    lab.boards[OURS].use_heartbeat();
    lab.boards[OURS].use_systemd(&[&dist, Path::new(PACKAGED)]);
    for board in &lab.boards {
        board.configure(&lab.usual_ha_cf(board, extra), resources);
    }
    for index in [THEIRS, OURS] {
        lab.boards[index].power_on();
    }
    lab.boards[THEIRS].start();
    lab.wait_booted(OURS);
    lab
}

#[track_caller]
fn systemctl(lab: &Lab, verb: &str, unit: &str) {
    let (code, text) = lab.boards[OURS].systemctl(&[verb, unit]);
    assert_eq!(code, Some(0), "systemctl {verb} {unit}: {text}");
}

#[track_caller]
fn wait_home(lab: &Lab) {
    lab.wait_owner(OURS, &["web"]);
    lab.wait_owner(THEIRS, &["mail"]);
}

fn state(lab: &Lab, unit: &str) -> String {
    lab.boards[OURS].systemctl(&["is-active", unit]).1.trim().to_owned()
}

fn main_pid(lab: &Lab) -> String {
    lab.boards[OURS].property("nullbeat", "MainPID")
}

/// What docs/security.md records, in tenths, with the systemd of Debian 12.
const EXPOSURE_MAX: u32 = 95;

#[test]
fn unit_is_not_more_exposed_than_recorded() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/nullbeat.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&unit)
        .output()
        .expect("systemd-analyze");
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = text.split("nullbeat.service: ").nth(1).and_then(|rest| rest.split(' ').next());
    let (whole, tenth) = figure.and_then(|figure| figure.split_once('.')).unwrap_or_else(|| panic!("{text}"));
    let exposure = whole.parse::<u32>().unwrap() * 10 + tenth.parse::<u32>().unwrap();
    assert!(exposure <= EXPOSURE_MAX, "{exposure} tenths:\n{text}");
    let page = include_str!("../docs/security.md");
    assert!(page.contains(&format!("says {}.{} (of 10", EXPOSURE_MAX / 10, EXPOSURE_MAX % 10)));
}

#[test]
fn unit_starts_reloads_stops_and_tells() {
    let lab = lab_with_systemd();
    assert_eq!(state(&lab, "nullbeat"), "inactive");
    // Type=notify: started means settled.
    systemctl(&lab, "start", "nullbeat");
    assert_eq!(state(&lab, "nullbeat"), "active");
    assert_eq!(lab.boards[OURS].property("nullbeat", "StatusText"), "running");
    wait_home(&lab);
    let pid = main_pid(&lab);
    systemctl(&lab, "reload", "nullbeat");
    assert_eq!((state(&lab, "nullbeat").as_str(), main_pid(&lab)), ("active", pid.clone()));
    lab.assert_stays(OURS, &["web"], Duration::from_secs(2));
    let path = lab.boards[OURS].config_dir().join("ha.cf");
    let good = std::fs::read_to_string(&path).expect("ha.cf");
    std::fs::write(&path, good.clone() + "keepalive 1x\n").expect("ha.cf");
    assert_ne!(lab.boards[OURS].systemctl(&["reload", "nullbeat"]).0, Some(0));
    assert_eq!((state(&lab, "nullbeat").as_str(), main_pid(&lab)), ("active", pid));
    lab.assert_stays(OURS, &["web"], Duration::from_secs(1));
    std::fs::write(&path, good).expect("ha.cf");
    systemctl(&lab, "stop", "nullbeat");
    assert_eq!(state(&lab, "nullbeat"), "inactive");
    assert!(!lab.owners("web").contains(&OURS), "stopped means released");
    lab.wait_owner(THEIRS, &["web", "mail"]);
    for role in ["engine", "guardian", "logger"] {
        assert!(lab.boards[OURS].pids(role).is_empty(), "{role}");
    }
    lab.assert_exclusive();
    assert_eq!(lab.boards.iter().map(lab::Board::resets).sum::<usize>(), 0);
}

#[test]
fn unit_replaces_a_killed_guardian_and_nothing_moves() {
    let lab = lab_with_systemd();
    systemctl(&lab, "start", "nullbeat");
    wait_home(&lab);
    for restarts in 1..=4 {
        let pid = main_pid(&lab);
        lab.boards[OURS].signal("guardian", Signal::SIGKILL);
        lab.wait("another guardian", |lab| {
            !["0", pid.as_str()].contains(&main_pid(lab).as_str()) && state(lab, "nullbeat") == "active"
        });
        assert_eq!(lab.boards[OURS].property("nullbeat", "NRestarts"), restarts.to_string());
    }
    for role in ["engine", "logger"] {
        let before = lab.boards[OURS].pids(role);
        lab.boards[OURS].signal(role, Signal::SIGKILL);
        lab.wait("another one", |lab| {
            let now = lab.boards[OURS].pids(role);
            !now.is_empty() && now.iter().all(|pid| !before.contains(pid))
        });
    }
    lab.assert_stays(OURS, &["web"], Duration::from_secs(2));
    lab.assert_stays(THEIRS, &["mail"], Duration::from_millis(100));
    assert_eq!(state(&lab, "nullbeat"), "active");
    // Nobody has started or stopped anything.
    assert_eq!(lab.observer.count(&lab.boards[OURS].name, "web", "start-begin"), 1);
    systemctl(&lab, "stop", "nullbeat");
    lab.wait_owner(THEIRS, &["web", "mail"]);
    lab.assert_exclusive();
}

#[test]
fn unit_replaces_a_guardian_that_hangs() {
    let lab = lab_with_systemd();
    // A shorter patience than thirty seconds; the rest of the unit as it is.
    let path = lab.boards[OURS].dir.join("units/nullbeat.service");
    let text = std::fs::read_to_string(&path).expect("the unit");
    let hasty = text.replace("WatchdogSec=30", "WatchdogSec=2").replace("TimeoutAbortSec=5", "TimeoutAbortSec=1");
    assert_ne!(text, hasty);
    std::fs::write(&path, hasty).expect("the unit");
    assert_eq!(lab.boards[OURS].systemctl(&["daemon-reload"]).0, Some(0));
    systemctl(&lab, "start", "nullbeat");
    wait_home(&lab);
    let pid = main_pid(&lab);
    lab.boards[OURS].signal("guardian", Signal::SIGSTOP);
    lab.wait("another guardian", |lab| {
        !["0", pid.as_str()].contains(&main_pid(lab).as_str()) && state(lab, "nullbeat") == "active"
    });
    lab.assert_stays(OURS, &["web"], Duration::from_secs(2));
    assert_eq!(lab.observer.count(&lab.boards[OURS].name, "web", "start-begin"), 1);
    lab.assert_exclusive();
}

#[test]
fn unit_keeps_the_service_while_files_with_an_error_keep_the_guardian_away() {
    let lab = lab_with_systemd();
    systemctl(&lab, "start", "nullbeat");
    wait_home(&lab);
    let path = lab.boards[OURS].config_dir().join("ha.cf");
    let good = std::fs::read_to_string(&path).expect("ha.cf");
    std::fs::write(&path, good.clone() + "keepalive 1x\n").expect("ha.cf");
    lab.boards[OURS].signal("guardian", Signal::SIGKILL);
    lab.wait("it is not started again", |lab| state(lab, "nullbeat") == "failed");
    lab.assert_stays(OURS, &["web"], Duration::from_secs(3));
    std::fs::write(&path, good).expect("ha.cf");
    systemctl(&lab, "start", "nullbeat");
    lab.assert_stays(OURS, &["web"], Duration::from_secs(2));
    assert_eq!(lab.observer.count(&lab.boards[OURS].name, "web", "start-begin"), 1);
    lab.assert_exclusive();
}

#[test]
fn unit_releases_what_a_killed_daemon_has_left() {
    let lab = lab_with_systemd();
    systemctl(&lab, "start", "nullbeat");
    wait_home(&lab);
    // Everything of the unit at once, and with it whatever services its scripts have started.
    let (code, text) = lab.boards[OURS].systemctl(&["kill", "--signal=KILL", "nullbeat"]);
    assert_eq!(code, Some(0), "{text}");
    lab.wait("it was released", |lab| lab.observer.count(&lab.boards[OURS].name, "web", "stop-end") == 1);
    lab.wait("another daemon", |lab| state(lab, "nullbeat") == "active");
    wait_home(&lab);
    lab.assert_exclusive();
    assert_eq!(lab.boards[OURS].resets(), 0);
}

#[test]
fn unit_of_the_package_runs_the_swapped_binary() {
    let lab = lab_with_systemd();
    lab.boards[OURS].swap_program();
    systemctl(&lab, "start", "heartbeat");
    wait_home(&lab);
    assert_eq!(state(&lab, "heartbeat"), "active");
    assert!(lab.boards[OURS].heartbeat(&["-s"]).status.success());
    // The package's unit has no reload; Heartbeat's own way stays.
    let (code, text) = lab.boards[OURS].systemctl(&["reload", "heartbeat"]);
    assert!(code != Some(0) && text.contains("not applicable"), "{text}");
    assert!(lab.boards[OURS].heartbeat(&["-r"]).status.success());
    systemctl(&lab, "restart", "heartbeat");
    wait_home(&lab);
    systemctl(&lab, "stop", "heartbeat");
    assert_eq!(state(&lab, "heartbeat"), "inactive");
    assert!(!lab.owners("web").contains(&OURS));
    lab.wait_owner(THEIRS, &["web", "mail"]);
    // Either unit ends the other.
    systemctl(&lab, "start", "heartbeat");
    systemctl(&lab, "start", "nullbeat");
    assert_eq!((state(&lab, "heartbeat").as_str(), state(&lab, "nullbeat").as_str()), ("inactive", "active"));
    wait_home(&lab);
    lab.assert_exclusive();
}

#[test]
fn init_script_of_the_package_runs_the_swapped_binary() {
    let lab = Lab::swapped(RESOURCES);
    let code = |index: usize, verb: &str| lab.boards[index].on_board(&["/etc/init.d/heartbeat", verb]).status.code();
    let both = |verb: &str, wanted: i32| {
        for index in [OURS, THEIRS] {
            assert_eq!(code(index, verb), Some(wanted), "{verb} on {}", lab.boards[index].name);
        }
    };
    both("status", 3);
    both("start", 0);
    wait_home(&lab);
    for verb in ["status", "start", "reload", "force-reload", "status"] {
        both(verb, 0);
    }
    both("nonsense", 1);
    lab.assert_stays(OURS, &["web"], Duration::from_secs(1));
    let pid = || String::from_utf8(lab.boards[OURS].on_board(&["cat", "/run/heartbeat.pid"]).stdout).expect("text");
    let before = pid();
    assert_eq!(code(OURS, "restart"), Some(0));
    assert_ne!(pid(), before);
    wait_home(&lab);
    assert_eq!(code(OURS, "stop"), Some(0));
    assert!(!lab.owners("web").contains(&OURS));
    lab.wait_owner(THEIRS, &["web", "mail"]);
    assert_eq!(code(OURS, "status"), Some(3));
    assert_eq!(code(OURS, "stop"), Some(0));
    lab.assert_exclusive();
}

#[test]
fn unit_in_haresources_is_started_watched_restarted_and_stopped() {
    let monitor = "monitor trace::web every 200ms timeout 20s fall 2 rise 1";
    let lab = lab_with(monitor, "alpha trace::web systemd::shop\nbeta trace::mail\n");
    let board = &lab.boards[OURS];
    let unit = "[Unit]\nDescription=shop\n[Service]\nExecStart=/bin/sleep infinity\n";
    std::fs::write(board.dir.join("units/shop.service"), unit).expect("a unit");
    assert_eq!(board.systemctl(&["daemon-reload"]).0, Some(0));
    systemctl(&lab, "start", "nullbeat");
    lab.wait_owner(OURS, &["web"]);
    lab.wait("the unit runs", |lab| state(lab, "shop") == "active");
    let pid = board.property("shop", "MainPID");
    assert_eq!(board.systemctl(&["kill", "--signal=KILL", "shop"]).0, Some(0));
    lab.wait("it is restarted", |lab| {
        state(lab, "shop") == "active" && lab.boards[OURS].property("shop", "MainPID") != pid
    });
    lab.assert_stays(OURS, &["web"], Duration::from_millis(500));
    assert_eq!(lab.observer.count("alpha", "web", "stop-begin"), 0, "what comes before it stays");
    systemctl(&lab, "stop", "nullbeat");
    assert_eq!(state(&lab, "shop"), "inactive");
}

#[test]
fn units_of_the_services_beside_the_daemon_start_come_back_and_stop() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist");
    let units = ["apphbd.service", "logd.service"].map(|unit| dist.join(unit));
    let mut lab = Lab::with_boards(&["alpha"]);
    lab.boards[OURS].use_heartbeat();
    lab.boards[OURS].use_systemd(&[&units[0], &units[1]]);
    let (dir, hook) = (lab.boards[OURS].dir.display().to_string(), lab.boards[OURS].reset_hook().display().to_string());
    let apphbd = format!("debug_level 1\ndebugfile {dir}/beats\nreset_with hook {hook}\n");
    std::fs::write(lab.boards[OURS].config_dir().join("apphbd.cf"), apphbd).expect("apphbd.cf");
    lab.boards[OURS].power_on();
    lab.wait_booted(OURS);
    let run = |words: &str| {
        let output = lab.boards[OURS].on_board(&["sh", "-c", words]);
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let links = "ln -sf nullbeat /usr/sbin/apphbd && ln -sf nullbeat /usr/sbin/ha_logd";
    assert_eq!(run(links).0, Some(0));
    let logd = |text: &str| assert_eq!(run(&format!("printf '{text}' >/etc/logd.cf")).0, Some(0));
    logd(&format!("logfile {dir}/through-logd\\nlogfacility none\\n"));
    let words = format!("systemd-analyze verify --man=no {dir}/units/apphbd.service {dir}/units/logd.service");
    let (code, said) = run(&words);
    assert!(code == Some(0) && !said.contains("apphbd.service") && !said.contains("logd.service"), "{said}");

    for (unit, status) in [("apphbd", "apphbd -s"), ("logd", "ha_logd -s")] {
        systemctl(&lab, "start", unit);
        lab.wait("it serves", |_| run(status).0 == Some(0));
        let pid = lab.boards[OURS].property(unit, "MainPID");
        assert_eq!(run(&format!("kill -9 {pid}")).0, Some(0));
        lab.wait("it is back", |lab| {
            let now = lab.boards[OURS].property(unit, "MainPID");
            now != pid && now != "0" && run(status).0 == Some(0)
        });
    }
    systemctl(&lab, "reload", "logd");
    let log = || std::fs::read_to_string(lab.boards[OURS].dir.join("through-logd")).unwrap_or_default();
    lab.wait("it has opened its files anew", |_| log().contains("SIGHUP received"));
    for (unit, status) in [("apphbd", "apphbd -s"), ("logd", "ha_logd -s")] {
        systemctl(&lab, "stop", unit);
        assert_eq!((run(status).0, state(&lab, unit).as_str()), (Some(3), "inactive"));
    }
    // A file that is wrong is not tried again.
    logd("bogus\\n");
    // Whether systemctl sees it depends on who is faster.
    let _ = lab.boards[OURS].systemctl(&["start", "logd"]);
    lab.wait("it has failed", |lab| state(lab, "logd") == "failed");
    assert_eq!(lab.boards[OURS].property("logd", "NRestarts"), "0");
}
