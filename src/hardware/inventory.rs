//! What the running machine has: serial ports and who uses them, watchdogs, GPIO chips and their lines.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gpiocdev::chip::Chip as Device;
use gpiocdev::line::Direction;

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPort {
    /// Such as `ttyS0`.
    pub name: String,
    /// The UART's type where the kernel tells it, else the driver's name.
    pub uart: String,
    /// The kernel's console, and processes that have it open: `getty (812)`.
    pub users: Vec<String>,
}

/// A watchdog; what its driver does not tell is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchdogDevice {
    /// Such as `watchdog0`.
    pub name: String,
    /// What it calls itself.
    pub identity: String,
    /// Seconds.
    pub timeout: String,
    /// Shortest and longest timeout, seconds.
    pub range: [String; 2],
    /// `active` or `inactive`.
    pub state: String,
    /// Once it runs it cannot be stopped.
    pub is_nowayout: bool,
}

/// A line of a GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioEntry {
    /// On its chip.
    pub offset: u32,
    /// From the device tree or the firmware; may be empty.
    pub name: String,
    /// Who has it; may be empty although it is used.
    pub consumer: String,
    /// Somebody has it, or it is reserved.
    pub is_used: bool,
    /// Driven, not read.
    pub is_output: bool,
}

/// A GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioChip {
    /// Such as `gpiochip0`.
    pub name: String,
    /// What the driver calls it.
    pub label: String,
    /// Its lines, or why they are not known.
    pub lines: Result<Vec<GpioEntry>, String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// By name.
    pub serial_ports: Vec<SerialPort>,
    /// By name.
    pub watchdogs: Vec<WatchdogDevice>,
    /// By name.
    pub chips: Vec<GpioChip>,
}

impl Inventory {
    /// Looks at `sys`, `proc` and `dev` below `root`. What cannot be read is left out.
    pub fn gather(root: &Path) -> Self {
        Self { serial_ports: serial_ports(root), watchdogs: watchdogs(root), chips: chips(root) }
    }
}

/// The names in a directory: letters in their order, numbers in theirs.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let parts = |name: &str| {
        let letters = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let number: u32 = name[letters.len()..].parse().unwrap_or(0);
        (letters.to_owned(), number)
    };
    crate::order::sort(&mut names, |a, b| parts(a) < parts(b));
    names
}

fn value(path: &Path) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn link_name(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned())
}

fn serial_ports(root: &Path) -> Vec<SerialPort> {
    let class = root.join("sys/class/tty");
    let consoles = value(&class.join("console/active"));
    let users = tty_users(root);
    let port = |name: String| {
        let directory = class.join(&name);
        // Terminals of people and programs have no device; a 16550 that is not there has the type 0.
        let driver = link_name(&directory.join("device/driver"));
        let kind = value(&directory.join("type"));
        if !directory.join("device").exists() || kind == "0" {
            return None;
        }
        let is_console = consoles.split_whitespace().any(|console| console == name);
        let mut used: Vec<String> = is_console.then(|| "console".to_owned()).into_iter().collect();
        used.extend(users.get(&name).into_iter().flatten().cloned());
        let uart = uart_name(&kind).map(str::to_owned).or(driver).unwrap_or_default();
        Some(SerialPort { name, uart, users: used })
    };
    names(&class).into_iter().filter(|name| name != "console").filter_map(port).collect()
}

/// `PORT_…` of linux/serial.h and linux/serial_core.h, those of boards with a 16550 of some kind.
fn uart_name(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "1" => "8250",
        "2" => "16450",
        "3" => "16550",
        "4" => "16550A",
        "6" => "16650",
        "7" => "16650V2",
        "8" => "16750",
        "10" => "16C950",
        "11" => "16654",
        "12" => "16850",
        _ => return None,
    })
}

/// Processes by the terminal below `/dev` that they have open.
fn tty_users(root: &Path) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for process in names(&root.join("proc")) {
        if process.parse::<u32>().is_err() {
            continue;
        }
        let directory = root.join("proc").join(&process);
        let who = format!("{} ({process})", value(&directory.join("comm")));
        for descriptor in names(&directory.join("fd")) {
            let Ok(target) = fs::read_link(directory.join("fd").join(descriptor)) else { continue };
            let Some(name) = target.to_str().and_then(|path| path.strip_prefix("/dev/")) else { continue };
            let of_tty = users.entry(name.to_owned()).or_default();
            if !of_tty.contains(&who) {
                of_tty.push(who.clone());
            }
        }
    }
    users
}

fn watchdogs(root: &Path) -> Vec<WatchdogDevice> {
    let class = root.join("sys/class/watchdog");
    let device = |name: String| {
        let read = |file: &str| value(&class.join(&name).join(file));
        WatchdogDevice {
            identity: read("identity"),
            timeout: read("timeout"),
            range: [read("min_timeout"), read("max_timeout")],
            state: read("state"),
            is_nowayout: read("nowayout") == "1",
            name: name.clone(),
        }
    };
    names(&class).into_iter().map(device).collect()
}

fn chips(root: &Path) -> Vec<GpioChip> {
    let devices = names(&root.join("dev")).into_iter().filter(|name| name.starts_with("gpiochip"));
    devices.map(|name| chip(root.join("dev").join(&name), name)).collect()
}

fn chip(path: PathBuf, name: String) -> GpioChip {
    let opened = Device::from_path(path).and_then(|device| {
        let label = device.info()?.label;
        let lines = device.line_info_iter()?.collect::<gpiocdev::Result<Vec<_>>>()?;
        Ok((label, lines))
    });
    let (label, lines) = match opened {
        Ok((label, lines)) => (label, Ok(lines)),
        Err(error) => (String::new(), Err(error.to_string())),
    };
    let entry = |info: gpiocdev::line::Info| GpioEntry {
        offset: info.offset,
        name: info.name,
        consumer: info.consumer,
        is_used: info.used,
        is_output: info.direction == Direction::Output,
    };
    GpioChip { name, label, lines: lines.map(|lines| lines.into_iter().map(entry).collect()) }
}
