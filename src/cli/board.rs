//! `nullbeat board`: what this machine has, as a board file to start from; and whether a board file is sound.

use std::fmt::Write as _;
use std::path::Path;

use super::arguments::{Arguments, Flag, Misuse};
use super::table::{Cell, table};
use super::{exit, print_out};
use crate::config::board::{BoardFile, check_file};
use crate::config::{Bias, Drive, GpioLine, ThisMachine, serial_links};
use crate::hardware::inventory::{GpioChip, GpioEntry, Inventory, SerialPort, WatchdogDevice};

/// Help text of `board`.
pub(super) const HELP: &str = "\
nullbeat board
nullbeat board --check FILE
nullbeat board --is-link [--config-dir DIR] NAME...

Prints what this machine has: serial ports with the type of their UART and who uses them, watchdogs with their limits,
GPIO chips and lines. All of it is a board file to start from: what is not certain stands behind `#`.

  nullbeat board > /etc/ha.d/boards/own.conf     then choose the lines, and write `board own` into ha.cf

  --check FILE   says everything that is wrong or doubtful in a board file, and what it means
  --is-link      whether a serial port, by any of its names (ttyS1, /dev/ttyS1), is one on which ha.cf has a link, named
                 there or in its board file: for udev rules

Exit codes: 0 done, 1 no link, 78 the board file has an error.

Shipped files are in boards/; docs/wiring.md tells what to connect.
";

/// `nullbeat board`.
pub(super) fn main(args: &[String]) -> u8 {
    // `--sysfs` looks at a copy of /sys, /proc and /dev elsewhere: for tests.
    const FLAGS: [Flag; 4] =
        [Flag::Value("--check"), Flag::Value("--sysfs"), Flag::Switch("--is-link"), Flag::Value("--config-dir")];
    let limit = |parsed: Arguments| {
        parsed.at_most(if parsed.has("--is-link") { usize::MAX } else { 0 })?;
        Ok(parsed)
    };
    match Arguments::parse(args, &FLAGS).and_then(limit) {
        Ok(parsed) if parsed.has("--is-link") => is_link(&parsed.paths().config, &parsed.words),
        Ok(parsed) => match parsed.value("--check") {
            Some(file) => check(Path::new(file)),
            None => print_out(&show(&Inventory::gather(Path::new(parsed.value("--sysfs").unwrap_or("/"))))),
        },
        Err(misuse) => Misuse::report(&misuse, "board"),
    }
}

/// A name that is a link of udev's counts as the device that it leads to.
fn is_link(config: &Path, names: &[String]) -> u8 {
    let devices = serial_links(config, &ThisMachine);
    let is_it = |name: &String| {
        let path = Path::new("/dev").join(name);
        devices.iter().any(|device| *device == path || device.canonicalize().is_ok_and(|device| device == path))
    };
    if names.iter().any(is_it) { exit::OK } else { exit::FAILURE }
}

fn check(path: &Path) -> u8 {
    let (file, findings) = check_file(path, &ThisMachine);
    let mut text = String::new();
    for finding in &findings {
        let _ = writeln!(text, "{finding}");
    }
    if let Some(file) = &file {
        text.push_str(&meaning(file));
    }
    let printed = print_out(&text);
    if file.is_none() { exit::CONFIGURATION } else { printed }
}

/// What a board file says, in words.
fn meaning(file: &BoardFile) -> String {
    let mut text = String::new();
    for (what, devices) in [("serial port", &file.serial_ports), ("watchdog", &file.watchdogs)] {
        for device in devices {
            let _ = writeln!(text, "{what} {} is {}", device.name, device.path.display());
        }
    }
    for line in &file.gpio {
        let _ = writeln!(text, "line {}", line_meaning(line));
    }
    text
}

fn line_meaning(line: &GpioLine) -> String {
    let level = if line.is_active_low { "low" } else { "high" };
    let drive = match line.drive {
        Drive::PushPull => "",
        Drive::OpenDrain => ", open drain",
        Drive::OpenSource => ", open source",
    };
    let bias = match line.bias {
        Bias::AsIs => "bias left as it is",
        Bias::Disabled => "no bias",
        Bias::PullUp => "pulled up",
        Bias::PullDown => "pulled down",
        Bias::ExternalPullUp => "pulled up outside the chip",
        Bias::ExternalPullDown => "pulled down outside the chip",
    };
    let open = match line.is_active_when_open() {
        Some(true) => "; an open wire reads active",
        Some(false) => "; an open wire reads inactive",
        None => "",
    };
    format!("{} is {}, active {level}{drive}, {bias}{open}", line.usage.name(), line.place)
}

/// The whole text: tables as remarks, and the lines that are certain.
fn show(inventory: &Inventory) -> String {
    let mut out =
        String::from("# What `nullbeat board` has found on this machine. Check with `nullbeat board --check FILE`.\n");
    serial_ports(&inventory.serial_ports, &mut out);
    watchdogs(&inventory.watchdogs, &mut out);
    out.push_str("\n# GPIO. Choose the lines (docs/wiring.md), such as\n");
    out.push_str("#   gpio owner CHIP OFFSET active-low\n#   gpio peer-owner CHIP OFFSET active-low pull-down\n");
    if inventory.chips.is_empty() {
        out.push_str("# This machine has no GPIO chip.\n");
    }
    for chip in &inventory.chips {
        gpio_chip(chip, &mut out);
    }
    out
}

fn remark(text: &str, out: &mut String) {
    for line in text.lines() {
        let _ = writeln!(out, "# {line}");
    }
}

fn dash(text: &str) -> Cell {
    if text.is_empty() { "-".into() } else { text.into() }
}

fn serial_ports(ports: &[SerialPort], out: &mut String) {
    out.push_str("\n# Serial ports\n");
    if ports.is_empty() {
        return out.push_str("# This machine has none.\n");
    }
    let row =
        |port: &SerialPort| vec![format!("/dev/{}", port.name).into(), dash(&port.uart), dash(&port.users.join(", "))];
    let rows: Vec<Vec<Cell>> = ports.iter().map(row).collect();
    remark(&table(&["PORT", "UART", "USED BY"], &rows, false), out);
    for port in ports {
        // One that somebody uses has to be freed first.
        let mark = if port.users.is_empty() { "" } else { "# " };
        let _ = writeln!(out, "{mark}serial-port {0} /dev/{0}", port.name);
    }
}

fn watchdogs(devices: &[WatchdogDevice], out: &mut String) {
    out.push_str("\n# Watchdogs\n");
    if devices.is_empty() {
        return out.push_str("# None; `modprobe softdog` makes one of the kernel's timers.\n");
    }
    let row = |device: &WatchdogDevice| {
        let [min, max] = &device.range;
        let range = if max.is_empty() || max == "0" { String::new() } else { format!("{min} to {max} s") };
        let timeout = if device.timeout.is_empty() { String::new() } else { format!("{} s", device.timeout) };
        let stop = if device.is_nowayout { "cannot be stopped" } else { "" };
        let (identity, state) = (dash(&device.identity), dash(&device.state));
        vec![format!("/dev/{}", device.name).into(), identity, dash(&timeout), dash(&range), state, dash(stop)]
    };
    let rows: Vec<Vec<Cell>> = devices.iter().map(row).collect();
    remark(&table(&["WATCHDOG", "IDENTITY", "TIMEOUT", "RANGE", "STATE", "NOWAYOUT"], &rows, false), out);
    for device in devices {
        let _ = writeln!(out, "watchdog-device {0} /dev/{0}", device.name);
    }
}

fn gpio_chip(chip: &GpioChip, out: &mut String) {
    let lines = match &chip.lines {
        Ok(lines) => lines,
        Err(why) => {
            let _ = writeln!(out, "#\n# {}: cannot be asked: {why}", chip.name);
            return;
        }
    };
    let _ = writeln!(out, "#\n# {} ({}), {} lines", chip.name, chip.label, lines.len());
    let row = |line: &GpioEntry| {
        let used = if line.is_used && line.consumer.is_empty() { "yes" } else { &line.consumer };
        let direction = if line.is_output { "out" } else { "in" };
        vec![line.offset.to_string().into(), dash(&line.name), direction.into(), dash(used)]
    };
    let rows: Vec<Vec<Cell>> = lines.iter().map(row).collect();
    remark(&table(&["LINE", "NAME", "DIRECTION", "USED BY"], &rows, false), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_chip_are_shown_with_their_users() {
        let entry = |offset, name: &str, consumer: &str, is_used, is_output| GpioEntry {
            offset,
            name: name.into(),
            consumer: consumer.into(),
            is_used,
            is_output,
        };
        let lines = vec![
            entry(0, "", "nullbeat owner", true, true),
            entry(1, "RESET_BUTTON", "", true, false),
            entry(2, "P8_11", "", false, false),
        ];
        let chips = vec![
            GpioChip { name: "gpiochip0".into(), label: "9030000.pl061".into(), lines: Ok(lines) },
            GpioChip { name: "gpiochip1".into(), label: String::new(), lines: Err("no permission".into()) },
        ];
        let text = show(&Inventory { chips, ..Inventory::default() });
        for line in [
            "# gpiochip0 (9030000.pl061), 3 lines",
            "# LINE  NAME          DIRECTION  USED BY",
            "# 0     -             out        nullbeat owner",
            "# 1     RESET_BUTTON  in         yes",
            "# 2     P8_11         in         -",
            "# gpiochip1: cannot be asked: no permission",
            "# This machine has none.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
    }
}
