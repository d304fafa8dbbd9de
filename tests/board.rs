//! `nullbeat board`: the shipped board files, files with mistakes, and machines made of files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn board(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nullbeat")).arg("board").args(args).output().expect("runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nullbeat-board-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("written");
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        symlink(target, path).expect("linked");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn shipped() -> Vec<PathBuf> {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("boards")).expect("boards");
    files.map(|file| file.expect("a file").path()).collect()
}

#[test]
fn every_shipped_board_passes_the_check() {
    let files = shipped();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let output = board(&["--check", file.to_str().expect("UTF-8")]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{}: {said}", file.display());
        assert!(!said.contains("error:"), "{said}");
        let has_port = fs::read_to_string(&file).expect("read").contains("\nserial-port ");
        assert_eq!(said.contains("serial port "), has_port, "{}: {said}", file.display());
        assert!(said.contains("watchdog main is /dev/watchdog0"), "{said}");
    }
}

/// Where a value may come from: a page, a document of the kernel's or of a project's, a manual page.
const DOCUMENTS: [&str; 4] = ["https://", "(Linux, ", "(man-pages, ", "(OpenWrt, "];

/// What is wrong with the remark above a value: its first words mark it, and the rest of it names the source.
fn trouble_with(remark: &str) -> Option<&'static str> {
    let is_there = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
    let names_test = remark.split(['(', ')', ',', ' ']).any(|word| word.starts_with("tests/vm/") && is_there(word));
    if remark.to_lowercase().contains("not verified") {
        Some("of what is not verified nothing is said, or the value is left out")
    } else if remark.starts_with("verified (") {
        (!names_test).then_some("`verified` names the test that has seen it")
    } else if remark.starts_with("from documentation: ") {
        let is_named = DOCUMENTS.iter().any(|document| remark.contains(document));
        (!is_named).then_some("`from documentation` names the document")
    } else {
        Some("a value is marked `verified` or `from documentation`")
    }
}

#[test]
fn every_value_of_a_shipped_board_has_a_mark_and_a_source() {
    let mut values = 0;
    for file in shipped() {
        let text = fs::read_to_string(&file).expect("read");
        for line in text.lines() {
            assert!(line.chars().count() <= 126, "{}: {line}", file.display());
        }
        // Nothing is claimed without a value either.
        assert!(!text.to_lowercase().contains("not verified"), "{}", file.display());
        for block in text.split("\n\n") {
            let (remarks, lines): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with('#'));
            if lines.is_empty() {
                continue;
            }
            let remark = remarks.iter().map(|line| line.trim_start_matches(['#', ' '])).collect::<Vec<_>>().join(" ");
            assert_eq!(trouble_with(&remark), None, "{}: {lines:?} below: {remark}", file.display());
            values += lines.len();
        }
    }
    assert!(values >= 25, "{values}");
}

#[test]
fn value_without_a_mark_or_a_source_is_noticed() {
    for (remark, is_fine) in [
        ("", false),
        ("the console is usually on the first", false),
        ("Not verified and from no document at hand: the chip's two ports (https://example.org)", false),
        ("from documentation: the chip's own timer", false),
        (
            "from documentation: the chip's own timer (Linux, Documentation/x.rst). That it is the first is not verified",
            false,
        ),
        ("from documentation: the chip's own timer (Linux, Documentation/x.rst)", true),
        ("verified: the second 16550A", false),
        ("verified (tests/vm/nothing.rs): the second 16550A", false),
        ("verified (tests/vm/pc.rs): the second 16550A", true),
    ] {
        assert_eq!(trouble_with(remark).is_none(), is_fine, "{remark}");
    }
}

#[test]
fn board_file_with_a_mistake_exits_78_and_says_where() {
    let directory = Directory::new("mistake");
    directory.write("own.conf", "serial-port peer /dev/ttyS9\ngpio peer-power gpiochip0 1\n");
    let path = directory.0.join("own.conf");
    let output = board(&["--check", path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(78));
    let expected = format!("{}:2:6: error: found `peer-power` without a pull-up or pull-down", path.display());
    assert!(text(&output).starts_with(&expected), "{}", text(&output));
    assert_eq!(board(&["--check", "/nonexistent.conf"]).status.code(), Some(78));
    assert_eq!(board(&["--chek", "x"]).status.code(), Some(64));
}

#[test]
fn open_wires_read_what_the_guide_says() {
    let directory = Directory::new("open");
    // The row of docs/wiring.md: input, what an open wire reads, the words for a direct wire.
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/wiring.md")).expect("the guide");
    let (_, rest) = guide.split_once("### What an open wire reads").expect("its section");
    let rows = rest.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with("| `"));
    let mut inputs = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let input = cells[1].trim_matches('`');
        let level = cells[2].split(':').next().expect("a level");
        let words = cells[3].split('`').nth(1).expect("its words");
        directory.write("own.conf", &format!("gpio {input} gpiochip0 5 {words}\n"));
        let output = board(&["--check", directory.0.join("own.conf").to_str().expect("UTF-8")]);
        let said = text(&output);
        assert!(said.contains(&format!("; an open wire reads {level}\n")), "{row}: {said}");
        inputs.push((input.to_owned(), level.to_owned()));
    }
    let expected =
        [("peer-owner", "active"), ("peer-power", "active"), ("peer-alive", "inactive"), ("maintenance", "inactive")];
    assert_eq!(inputs, expected.map(|(input, level)| (input.to_owned(), level.to_owned())));
}

#[test]
fn link_is_known_by_its_path_by_its_name_in_the_board_file_and_by_a_symbolic_link() {
    let directory = Directory::new("link");
    let config = format!("--config-dir={}", directory.0.display());
    let is_link = |names: &[&str]| board(&[&["--is-link", &config], names].concat()).status.code();
    assert_eq!(is_link(&["ttyS1"]), Some(1), "no ha.cf");
    directory.write("boards/own.conf", "serial-port null-modem /dev/ttyS1\nserial-port other /dev/ttyS2\n");
    // What is wrong elsewhere does not matter, and a remark is no link.
    let names =
        "nonsense\nucast eth0 no-such-host.invalid\n# serial /dev/ttyS7\nboard own\n\tserial null-modem baud 9600\n";
    directory.write("ha.cf", names);
    assert_eq!([is_link(&["ttyS1"]), is_link(&["/dev/ttyS1"])], [Some(0), Some(0)]);
    assert_eq!(is_link(&["ttyS10", "serial/by-path/x"]), Some(1));
    assert_eq!([is_link(&["ttyS2"]), is_link(&["ttyS7"]), is_link(&[])], [Some(1); 3]);
    // The device's other names, and a link to it.
    symlink("/dev/null", directory.0.join("port")).expect("linked");
    let lines = format!("serial /dev/nullbeat/serial-x /dev/ttyS3 baud 9600\nserial {}/port\n", directory.0.display());
    directory.write("ha.cf", &lines);
    assert_eq!(is_link(&["ttyUSB0", "serial/by-id/y", "nullbeat/serial-x"]), Some(0));
    assert_eq!([is_link(&["ttyS3"]), is_link(&["null"]), is_link(&["zero"])], [Some(0), Some(0), Some(1)]);
    assert_eq!(board(&["null-modem"]).status.code(), Some(64));
}

/// A machine of files: two UARTs, one of them console and getty's, a port that is not there, a USB adapter, a watchdog.
fn machine() -> Directory {
    let machine = Directory::new("machine");
    machine.write("sys/class/tty/console/active", "tty0 ttyS0\n");
    machine.write("sys/class/tty/tty0/dev", "4:0\n");
    for (name, kind) in [("ttyS0", "4"), ("ttyS1", "4"), ("ttyS2", "0"), ("ttyS10", "4")] {
        machine.write(&format!("sys/class/tty/{name}/type"), kind);
        machine.link(&format!("sys/class/tty/{name}/device/driver"), "../../../../bus/platform/drivers/serial8250");
    }
    machine.link("sys/class/tty/ttyUSB0/device/driver", "../../../../bus/usb-serial/drivers/ftdi_sio");
    for (file, value) in [
        ("identity", "i6300ESB timer"),
        ("timeout", "30"),
        ("min_timeout", "1"),
        ("max_timeout", "2046"),
        ("state", "inactive"),
        ("nowayout", "1"),
    ] {
        machine.write(&format!("sys/class/watchdog/watchdog0/{file}"), &format!("{value}\n"));
    }
    machine.write("proc/812/comm", "agetty\n");
    machine.link("proc/812/fd/0", "/dev/ttyS0");
    machine.link("proc/812/fd/1", "/dev/ttyS0");
    machine.write("proc/99/comm", "minicom\n");
    machine.link("proc/99/fd/3", "/dev/ttyUSB0");
    machine.write("dev/gpiochip0", "");
    machine
}

#[test]
fn machine_is_shown_as_a_board_file_that_passes_the_check() {
    let machine = machine();
    let output = board(&["--sysfs", machine.0.to_str().expect("UTF-8")]);
    let found = text(&output);
    assert_eq!(output.status.code(), Some(0), "{found}");
    for line in [
        "# /dev/ttyS0    16550A    console, agetty (812)",
        "# /dev/ttyS1    16550A    -",
        "# /dev/ttyUSB0  ftdi_sio  minicom (99)",
        "# serial-port ttyS0 /dev/ttyS0",
        "serial-port ttyS1 /dev/ttyS1",
        "serial-port ttyS10 /dev/ttyS10",
        "# serial-port ttyUSB0 /dev/ttyUSB0",
        "# /dev/watchdog0  i6300ESB timer  30 s     1 to 2046 s  inactive  cannot be stopped",
        "watchdog-device watchdog0 /dev/watchdog0",
    ] {
        assert!(found.lines().any(|shown| shown == line), "{line}:\n{found}");
    }
    assert!(!found.contains("ttyS2") && !found.contains("/dev/tty0"), "{found}");
    assert!(found.contains("# gpiochip0: cannot be asked: "), "{found}");
    let ports: Vec<usize> = ["ttyS1 ", "ttyS10 "].map(|port| found.find(port).expect("a port")).into();
    assert!(ports[0] < ports[1], "numbers in their order: {found}");
    machine.write("own.conf", &found);
    let path = machine.0.join("own.conf");
    let checked = board(&["--check", path.to_str().expect("UTF-8")]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
}

#[test]
fn machine_with_nothing_is_told_so() {
    let machine = Directory::new("nothing");
    let found = text(&board(&["--sysfs", machine.0.to_str().expect("UTF-8")]));
    assert!(found.contains("# This machine has none.") && found.contains("modprobe softdog"), "{found}");
    assert!(found.contains("# This machine has no GPIO chip."), "{found}");
}
