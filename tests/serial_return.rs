//! A serial port that vanishes and comes back, as an adapter on USB does: two real daemons, a device path that is a link.

mod lab;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{AT_HOME, Board, Lab, NullModem};

/// The lock file of a device (spec/wire.md 11.3).
fn lock_of(device: &Path) -> PathBuf {
    let name: String = device.to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
    PathBuf::from(format!("/var/lock/LCK..{name}"))
}

/// Processor time of a process so far, in ticks of 10 ms.
fn ticks(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let (_, behind_name) = text.rsplit_once(')').expect("a name");
    behind_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

fn all_ticks(lab: &Lab) -> u64 {
    lab.boards.iter().flat_map(|board| board.pids("engine").into_iter().chain(board.pids("guardian"))).map(ticks).sum()
}

fn count(lab: &Lab, index: usize, line: &str) -> usize {
    lab.boards[index].log().matches(line).count()
}

/// Two daemons at work whose ports are links that can be taken away, and these.
fn lab_with_ports(ha_cf: impl Fn(&Lab, &Board) -> String) -> (Lab, Vec<PathBuf>) {
    let mut lab = Lab::new(["alpha", "beta"]);
    for index in 0..2 {
        let path = lab.dir.join(format!("tty{index}"));
        symlink(lab.modem.device(index), &path).expect("a link");
        lab.boards[index].serial = path;
    }
    for board in &lab.boards {
        board.configure(&ha_cf(&lab, board), AT_HOME);
    }
    lab.start_both();
    lab.wait_at_home();
    let ports = lab.boards.iter().map(|board| board.serial.clone()).collect();
    (lab, ports)
}

/// Both ends go away; what has the link's name meanwhile is nothing.
fn take_away(lab: &mut Lab, ports: &[PathBuf]) {
    for port in ports {
        std::fs::remove_file(port).expect("a link");
    }
    // Made before the old one goes, so that it cannot get the same numbers.
    let new = NullModem::new();
    drop(std::mem::replace(&mut lab.modem, new));
}

fn bring_back(lab: &Lab, ports: &[PathBuf]) {
    for (index, port) in ports.iter().enumerate() {
        symlink(lab.modem.device(index), port).expect("a link");
    }
}

/// The only way between the two ends in the middle of a long keepalive: nobody waits for its end to notice, and nobody takes
/// the end of a port for that of the partner.
#[test]
fn hang_up_of_the_only_port_wakes_at_once_and_permits_nothing() {
    let times = "keepalive 8\nwarntime 15\ndeadtime 20\ninitdead 20";
    let (mut lab, ports) = lab_with_ports(|lab, board| {
        let usual = "keepalive 200ms\nwarntime 500ms\ndeadtime 1\ninitdead 4";
        lab.serial_ha_cf(board, "takeover_policy available").replace(usual, times)
    });
    // When all has been said, what passes is a beat: on its own neither wakes for seconds then.
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    let before = lab.modem.carried();
    lab.wait("a beat", |lab| lab.modem.carried() > before);
    std::thread::sleep(Duration::from_millis(500));
    take_away(&mut lab, &ports);
    for index in [0, 1] {
        let took = lab.wait("the port is lost", |lab| lab.boards[index].log().contains("is lost"));
        assert!(took < Duration::from_secs(4), "noticed after {took:?}");
    }
    lab.assert_stays(0, &["web"], Duration::from_secs(5));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    bring_back(&lab, &ports);
    for index in [0, 1] {
        lab.wait("the device is said to work", |lab| lab.boards[index].log().contains("works again"));
        let heard = lab.boards[index].received();
        lab.wait("the partner is heard again", |lab| lab.boards[index].received() > heard);
    }
    lab.assert_exclusive();
    for index in [0, 1] {
        assert_eq!(count(&lab, index, ": is dead"), 0);
    }
    assert_eq!((lab.owners("web"), lab.owners("mail")), (vec![0], vec![1]));
}

#[test]
fn port_that_vanishes_and_comes_back_is_told_once_each_and_nothing_moves() {
    let (mut lab, ports) = lab_with_ports(|lab, board| lab.usual_ha_cf(board, ""));
    let link = |lab: &Lab, index: usize, word: &str| {
        format!("Link {}:{} {word}.", lab.boards[1 - index].name, ports[index].display())
    };
    for index in [0, 1] {
        lab.wait("the serial link is up", |lab| count(lab, index, &link(lab, index, "up")) == 1);
        assert!(lock_of(&ports[index]).exists(), "{} is locked", ports[index].display());
    }

    take_away(&mut lab, &ports);
    for index in [0, 1] {
        lab.wait("the port is lost", |lab| lab.boards[index].log().contains("is lost"));
        lab.wait("the link is dead", |lab| count(lab, index, &link(lab, index, "dead")) == 1);
    }
    let before = all_ticks(&lab);
    lab.assert_stays(0, &["web"], Duration::from_secs(4));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    let used = all_ticks(&lab) - before;
    assert!(used < 100, "{used} ticks of 10 ms in 4 s: something spins");

    bring_back(&lab, &ports);
    for index in [0, 1] {
        lab.wait("the link is up again", |lab| count(lab, index, &link(lab, index, "up")) == 2);
        lab.wait("the device is said to work", |lab| lab.boards[index].log().contains("works again"));
        assert!(lock_of(&ports[index]).exists(), "{} is locked again", ports[index].display());
    }
    // It carries the beats alone.
    lab.ethernet(0, false);
    lab.wait("Ethernet is dead", |lab| lab.boards[0].log().contains("Link beta:ens33 dead."));
    lab.assert_stays(0, &["web"], Duration::from_secs(2));
    lab.assert_stays(1, &["mail"], Duration::from_millis(10));
    for index in [0, 1] {
        assert_eq!(count(&lab, index, &link(&lab, index, "dead")), 1, "reported once");
        assert_eq!(count(&lab, index, "is lost"), 1, "reported once");
        assert_eq!(count(&lab, index, ": is dead"), 0);
    }
    lab.ethernet(0, true);
    lab.assert_exclusive();
    for index in [0, 1] {
        lab.boards[index].stop();
        assert!(!lock_of(&ports[index]).exists(), "{} is free", ports[index].display());
    }
}
