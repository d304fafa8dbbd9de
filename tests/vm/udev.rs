//! The rules of `udev/` in a real systemd-udevd.

use std::path::Path;

use super::bench::{Bench, Plan};
use super::board::Board;
use super::image::tree;

const RULES: &str = include_str!("../../udev/99-nullbeat.rules");

/// A board with Debian's systemd-udevd, its rules and ours, and a group for the operators.
fn with_udev(plan: Plan) -> Plan {
    let plan =
        tree(Path::new("udev")).into_iter().fold(plan, |plan, (path, mode, content)| plan.file(&path, mode, content));
    plan.file("etc/udev/rules.d/99-nullbeat.rules", 0o644, RULES)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\n")
        .file("etc/group", 0o644, "root:x:0:\ntty:x:5:\ndialout:x:20:\nhaclient:x:900:\n")
        .file("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\n")
}

/// Every property that udev keeps of a device.
fn properties(board: &Board, device: &str) -> String {
    board.run(&format!("SYSTEMD_PAGER=cat udevadm info {device}"))
}

fn mode(board: &Board, device: &str) -> String {
    board.run(&format!("stat -c '%a %G' {device}")).trim().to_owned()
}

#[test]
fn udev_gives_stable_names_and_keeps_others_off_the_ports() {
    let bench = Bench::new(with_udev(Plan::usual().usb_adapter().start("")).ha_cf("serial /dev/ttyUSB0 baud 115200"));
    let board = &bench.boards[0];
    board.power_on();
    board.await_boot(1);
    board.run("/lib/systemd/systemd-udevd --daemon 2>/tmp/udevd");
    board.run("udevadm trigger --action=add && udevadm settle");

    let names = board.run("cd /dev/nullbeat && for name in *; do echo $name $(readlink -f $name); done");
    let name_of = |device: &str| {
        let found = names.lines().find_map(|line| line.strip_suffix(device));
        found.unwrap_or_else(|| panic!("no name of {device} in:\n{names}")).trim().to_owned()
    };
    assert_eq!(name_of(" /dev/ttyAMA0"), "serial-amba-9000000.pl011");
    assert!(name_of(" /dev/ttyS0").starts_with("serial-platform-4010000000.pcie-pci-0000:00:"), "{names}");
    assert_eq!(name_of(" /dev/watchdog0"), "watchdog-i6300ESB_timer");
    assert_eq!(name_of(" /dev/gpiochip0"), "gpio-amba-9030000.pl061");
    assert_eq!(names.lines().count(), 5, "the report port besides, and nothing that is not there: {names}");

    assert_eq!(mode(board, "/dev/ttyS0"), "660 haclient");
    assert_eq!(mode(board, "/dev/ttyS1"), "660 dialout", "no link of ha.cf");
    assert_eq!(mode(board, "/dev/watchdog0"), "600 root");
    assert_eq!(mode(board, "/dev/gpiochip0"), "600 root");
    let link = properties(board, "/dev/ttyS0");
    for property in ["ID_MM_DEVICE_IGNORE=1", "ID_MM_PORT_IGNORE=1", "SYSTEMD_READY=0"] {
        assert!(link.contains(property), "{property} is missing in:\n{link}");
        assert!(!properties(board, "/dev/ttyS1").contains(property), "{property} on a port that is no link");
    }

    bench.plug_usb(0);
    board.run("until [ -e /dev/nullbeat/serial-*-usb-* ]; do sleep 0.1; done; udevadm settle");
    assert_eq!(board.run("readlink -f /dev/nullbeat/serial-*-usb-*-port0").trim(), "/dev/ttyUSB0");
    assert_eq!(board.run("cat /sys/bus/usb-serial/devices/ttyUSB0/latency_timer").trim(), "1");
    assert_eq!(mode(board, "/dev/ttyUSB0"), "660 haclient");
    assert!(properties(board, "/dev/ttyUSB0").contains("ID_MM_DEVICE_IGNORE=1"));
    bench.unplug_usb(0);
    board.run("while [ -e /dev/nullbeat/serial-*-usb-* ]; do sleep 0.1; done");

    // A name from the rules in ha.cf is a link as well.
    let by_path = name_of(" /dev/ttyS1");
    board.run(&format!("echo 'serial /dev/nullbeat/{by_path} baud 9600' >/etc/ha.d/ha.cf"));
    // `add`: Debian's own rules give a port its ordinary group then only.
    board.run("udevadm trigger --settle --action=add --subsystem-match=tty");
    assert_eq!(mode(board, "/dev/ttyS1"), "660 haclient");
    assert!(!properties(board, "/dev/ttyS0").contains("ID_MM_DEVICE_IGNORE"), "no link any more");
    assert_eq!(mode(board, "/dev/ttyS0"), "660 dialout", "no link any more");

    let is_link = |device: &str| properties(board, device).contains("ID_MM_PORT_IGNORE=1");
    // The name that a board file gives it, as `board X` and `serial NAME` have it.
    board.run("printf 'board qemu-virt-arm64\\nserial null-modem baud 115200\\n' >/etc/ha.d/ha.cf");
    board.run("udevadm trigger --settle --subsystem-match=tty");
    assert_eq!([is_link("/dev/ttyS0"), is_link("/dev/ttyS1")], [true, false]);
    assert!(properties(board, "/dev/ttyS0").contains("SYSTEMD_READY=0"));

    // A board file may have the names from the rules.
    let file = "/etc/ha.d/boards/own.conf";
    let [watchdog, chip] = [" /dev/watchdog0", " /dev/gpiochip0"].map(name_of);
    let lines = [
        format!("serial-port peer /dev/nullbeat/{by_path}"),
        format!("watchdog-device main /dev/nullbeat/{watchdog}"),
        format!("gpio owner /dev/nullbeat/{chip} 0"),
    ];
    board.run("mkdir -p /etc/ha.d/boards");
    for line in lines {
        board.run(&format!("echo '{line}' >>{file}"));
    }
    board.run(&format!("nullbeat board --check {file}"));
    board.run("printf 'board own\\nserial peer\\n' >/etc/ha.d/ha.cf");
    board.run("udevadm trigger --settle --subsystem-match=tty");
    assert_eq!([is_link("/dev/ttyS0"), is_link("/dev/ttyS1")], [false, true]);

    // Where it is there (systemd 254 and newer) `udevadm verify` reads the rules; here udevd's own complaints tell.
    let said = board.run("udevadm test /sys/class/tty/ttyS0 2>&1; cat /tmp/udevd");
    let complaints = said.lines().filter(|line| line.starts_with("/etc/udev/rules.d/99-nullbeat.rules:"));
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
}
