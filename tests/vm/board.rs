//! One emulated board: a QEMU, switched on and off, and all lines to it.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::console::Console;
use super::pump::{NullModem, nic_path, wire_path};
use super::qmp::{Event, Events, Qmp, text_of};
use super::qtest::{Chip, Edge, Qtest};
use super::report::Report;
use super::sockets::Socket;

/// What kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// arm64: console PL011, null-modem on a PCI 16550A (`/dev/ttyS0`), i6300esb, PL061.
    QemuVirtArm64,
    /// x86: console and null-modem (`/dev/ttyS1`) on ISA 16550A, i6300esb, no GPIO.
    QemuPc,
    /// armhf, the evaluation kit of NXP's i.MX6UL: console and null-modem (`/dev/ttymxc1`) on its UARTs, imx2_wdt, its GPIO
    /// banks, of which the harness wires lines 0 to 7 of GPIO2, and a chip without interrupts: see `prepare`. No
    /// Ethernet and no disk.
    Imx6ul,
}

impl Machine {
    /// Its console, its end of the null-modem, and the port of the report.
    pub(crate) const fn ports(self) -> [&'static str; 3] {
        match self {
            Self::QemuVirtArm64 => ["/dev/ttyAMA0", "/dev/ttyS0", "/dev/ttyS1"],
            // Where the one on the PCI bus is, init finds out.
            Self::QemuPc => ["/dev/ttyS0", "/dev/ttyS1", "pci"],
            Self::Imx6ul => ["/dev/ttymxc0", "/dev/ttymxc1", "/dev/ttymxc2"],
        }
    }

    /// With a network card and a disk on a PCI bus.
    pub(crate) fn has_pci(self) -> bool {
        self != Self::Imx6ul
    }

    /// The GPIO chip that the wires lead to.
    fn chip(self, qmp: &mut Qmp) -> Option<Chip> {
        match self {
            Self::QemuVirtArm64 => Some(Chip { path: pl061(qmp), direction: "readb 0x9030400" }),
            Self::QemuPc => None,
            Self::Imx6ul => Some(Chip { path: "/machine/soc/gpio1".to_owned(), direction: "readl 0x20a0004" }),
        }
    }
}

/// A connected QEMU.
struct Running {
    qemu: Child,
    qmp: Qmp,
    qtest: Option<Qtest>,
}

/// What all handles of a board share.
struct Inner {
    name: String,
    index: usize,
    machine: Machine,
    directory: PathBuf,
    /// All of QEMU's words but those that name sockets.
    arguments: Vec<String>,
    has_gpio: bool,
    sockets: [Socket; 5],
    console: Console,
    events: Arc<Events>,
    report: Arc<Report>,
    modem: NullModem,
    has_breaks: bool,
    edges: Mutex<Sender<Edge>>,
    running: Mutex<Option<Running>>,
    is_held: AtomicBool,
}

/// A handle of a board; clones are the same board.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

/// What a board is made of.
pub(crate) struct Parts<'a> {
    pub(crate) name: &'a str,
    pub(crate) index: usize,
    pub(crate) machine: Machine,
    pub(crate) directory: &'a Path,
    pub(crate) arguments: Vec<String>,
    pub(crate) has_gpio: bool,
    pub(crate) modem: NullModem,
    pub(crate) has_breaks: bool,
    pub(crate) edges: Sender<Edge>,
    /// The observer's FIFO.
    pub(crate) observer: PathBuf,
}

impl Board {
    /// A board without power.
    pub(crate) fn new(parts: Parts) -> Self {
        let names = ["con", "report", "nm", "qmp", "qtest"];
        let sockets = names.map(|name| Socket::new(parts.directory, &format!("{}.{name}", parts.index)));
        Self(Arc::new(Inner {
            name: parts.name.to_owned(),
            index: parts.index,
            machine: parts.machine,
            directory: parts.directory.to_owned(),
            arguments: parts.arguments,
            has_gpio: parts.has_gpio,
            sockets,
            console: Console::new(parts.name),
            events: Arc::default(),
            report: Arc::new(Report::new(parts.name, &parts.observer)),
            modem: parts.modem,
            has_breaks: parts.has_breaks,
            edges: Mutex::new(parts.edges),
            running: Mutex::new(None),
            is_held: AtomicBool::new(false),
        }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Switches the board on; returns before it has booted. Nothing happens when it is on.
    pub(crate) fn power_on(&self) {
        let mut running = self.0.running.lock().expect("no panic");
        if running.is_some() {
            return;
        }
        let inner = &self.0;
        let _ = std::fs::remove_file(nic_path(&inner.directory, inner.index));
        let mut qemu = self.command().spawn().expect("setpriv, of util-linux");
        let [console, report, modem, qmp, qtest] = &inner.sockets;
        let qtest = inner.has_gpio.then(|| qtest.accept(&mut qemu));
        let qmp = qmp.accept(&mut qemu);
        inner.console.attach(console.accept(&mut qemu));
        inner.report.attach(report.accept(&mut qemu));
        inner.modem.attach(inner.index, modem.accept(&mut qemu));
        let report = Arc::clone(&inner.report);
        let mut qmp = Qmp::new(qmp, Arc::clone(&inner.events), move |event| {
            if event.name == "RESET" {
                report.tell_off();
            }
        });
        let qtest = qtest.map(|stream| {
            let edges = inner.edges.lock().expect("no panic").clone();
            Qtest::new(stream, inner.index, inner.machine.chip(&mut qmp).expect("a chip"), edges)
        });
        *running = Some(Running { qemu, qmp, qtest });
    }

    /// Cuts its power: QEMU is killed. Nothing happens when it is off.
    pub(crate) fn power_cut(&self) {
        if let Some(mut running) = self.0.running.lock().expect("no panic").take() {
            let _ = running.qemu.kill();
            let _ = running.qemu.wait();
            self.0.report.tell_off();
        }
    }

    /// Has power and is not held in reset.
    pub(crate) fn is_powered(&self) -> bool {
        !self.0.is_held.load(Ordering::SeqCst) && self.0.running.lock().expect("no panic").is_some()
    }

    /// The reset line: held while it is active, boots when it is let go. A board without power does nothing.
    pub(crate) fn hold_in_reset(&self, is_held: bool) {
        let was_held = self.0.is_held.swap(is_held, Ordering::SeqCst);
        if was_held == is_held {
            return;
        }
        if let Some(running) = &mut *self.0.running.lock().expect("no panic") {
            let commands: &[&str] = if is_held { &["stop", "system_reset"] } else { &["cont"] };
            for command in commands {
                // It may be losing its power at this moment.
                let _ = running.qmp.try_execute(command, "");
            }
        }
    }

    /// A QMP command; `arguments` is JSON between the braces.
    #[track_caller]
    pub(crate) fn qmp(&self, command: &str, arguments: &str) -> String {
        let mut running = self.0.running.lock().expect("no panic");
        running.as_mut().expect("switched on").qmp.execute(command, arguments)
    }

    /// Which GPIO lines are outputs; nothing without power or GPIO.
    pub(crate) fn outputs(&self) -> Option<u8> {
        self.0.running.lock().expect("no panic").as_mut()?.qtest.as_mut()?.outputs()
    }

    /// A byte of the board's memory, for a chip without wires.
    #[track_caller]
    pub(crate) fn poke(&self, address: u32, byte: u8) {
        let mut running = self.0.running.lock().expect("no panic");
        running.as_mut().and_then(|it| it.qtest.as_mut()).expect("switched on").poke(address, byte);
    }

    /// Puts a level on a GPIO input.
    pub(crate) fn drive(&self, line: u8, is_high: bool) {
        if let Some(qtest) = self.0.running.lock().expect("no panic").as_mut().and_then(|it| it.qtest.as_mut()) {
            qtest.drive(line, is_high);
        }
    }

    /// How often it has booted so far.
    pub(crate) fn boots(&self) -> usize {
        self.0.console.boots()
    }

    /// Waits until it has booted so often; a bench that was started has booted once.
    #[track_caller]
    pub(crate) fn await_boot(&self, count: usize) {
        self.0.console.await_boot(count);
    }

    /// Runs a shell line on the console: its exit code and what it said.
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) -> (i32, String) {
        self.0.console.shell(line)
    }

    /// The same for a line that must succeed.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> String {
        let (code, said) = self.shell(line);
        assert_eq!(code, 0, "{}: `{line}`: {said}", self.0.name);
        said
    }

    /// Waits until the board's daemon has settled: negotiation is over and no group moves.
    #[track_caller]
    pub(crate) fn await_settled(&self) {
        self.run("until nullbeat status --json 2>/dev/null | grep -q '\"is_settled\": true'; do sleep 0.1; done");
    }

    /// Types a line that has no end, like one that crashes the kernel.
    pub(crate) fn type_line(&self, line: &str) {
        self.0.console.type_line(line);
    }

    /// How many QMP events there were: for [`Self::await_event`].
    pub(crate) fn event_count(&self) -> usize {
        self.0.events.count()
    }

    /// Waits for an event (`WATCHDOG`, `RESET`, …) that was not among the first `count`.
    #[track_caller]
    pub(crate) fn await_event(&self, count: usize, name: &str) -> Event {
        self.0.events.wait_after(count, name)
    }

    /// How many lines the report has: for [`Self::await_log_after`].
    pub(crate) fn log_lines(&self) -> usize {
        self.0.report.count()
    }

    /// Waits for a line of the daemon's log that contains the text, whenever it came; the line.
    #[track_caller]
    pub(crate) fn await_log(&self, text: &str) -> String {
        self.await_log_after(0, text).1
    }

    /// The same, for a line that is not among the first `count`; with the time when it came.
    #[track_caller]
    pub(crate) fn await_log_after(&self, count: usize, text: &str) -> (Instant, String) {
        self.0.report.wait_after(count, text)
    }

    /// The last line of the log with this text.
    pub(crate) fn last_log(&self, text: &str) -> Option<String> {
        self.0.report.last(text)
    }

    /// What a failed scenario needs, with times since the bench began.
    pub(crate) fn describe(&self, began: Instant) -> String {
        let mut text = format!("---- {} ----\n", self.0.name);
        for event in self.0.events.all() {
            let _ = writeln!(text, "{:>7} ms  {}", event.at.duration_since(began).as_millis(), event.line);
        }
        text + &self.0.report.describe(began) + "-- console --\n" + &self.0.console.tail() + "\n"
    }

    /// QEMU with all that is the board's own; it dies with the thread that started it.
    fn command(&self) -> Command {
        let inner = &self.0;
        let said = File::create(inner.directory.join(format!("{}.qemu", inner.index))).expect("a file");
        let program = match inner.machine {
            Machine::QemuVirtArm64 => "qemu-system-aarch64",
            Machine::QemuPc => "qemu-system-x86_64",
            Machine::Imx6ul => "qemu-system-arm",
        };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(&inner.arguments);
        for (id, socket) in ["con", "report", "nm"].iter().zip(&inner.sockets) {
            let escape = if *id == "nm" && inner.has_breaks { ",mux=on" } else { "" };
            command.arg("-chardev").arg(format!("socket,id={id},path={}{escape}", socket.path.display()));
        }
        let serial: &[&str] = match inner.machine {
            Machine::QemuVirtArm64 => {
                &["-serial", "chardev:con", "-device", "pci-serial,chardev=nm", "-device", "pci-serial,chardev=report"]
            }
            Machine::QemuPc => {
                &["-serial", "chardev:con", "-serial", "chardev:nm", "-device", "pci-serial,chardev=report"]
            }
            Machine::Imx6ul => {
                &["-serial", "chardev:con", "-serial", "chardev:nm", "-serial", "chardev:report", "-nic", "none"]
            }
        };
        command.args(serial);
        command.arg("-qmp").arg(format!("unix:{}", inner.sockets[3].path.display()));
        if inner.has_gpio {
            command.arg("-qtest").arg(format!("unix:{}", inner.sockets[4].path.display())).args(["-qtest-log", "none"]);
        }
        if inner.machine.has_pci() {
            command.arg("-netdev").arg(format!(
                "dgram,id=n0,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                nic_path(&inner.directory, inner.index).display(),
                wire_path(&inner.directory, inner.index).display()
            ));
            let mac = format!("virtio-net-pci,netdev=n0,id=nic0,romfile=,mac=52:54:00:00:00:{:02x}", inner.index + 1);
            command.arg("-device").arg(mac);
        }
        command.stdin(Stdio::null()).stdout(said.try_clone().expect("a copy")).stderr(said);
        command
    }
}

/// Where the GPIO chip is in QEMU's tree.
fn pl061(qmp: &mut Qmp) -> String {
    let tree = qmp.execute("qom-list", "\"path\": \"/machine/unattached\"");
    let object = tree.split('{').find(|object| object.contains("child<pl061>")).expect("a PL061");
    format!("/machine/unattached/{}", text_of(object, "name").expect("its name"))
}
