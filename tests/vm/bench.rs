//! Two emulated boards and everything between them.

use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::board::{Board, Machine, Parts};
use super::image::{BoardFile, Image, make_disk};
use super::observer::Observer;
use super::pump::{Ethernet, NullModem, end_ethernet};
use super::wires::{Fault, Wire, Wires, crossed};

/// The boards' names.
pub(crate) const NAMES: [&str; 2] = ["alpha", "beta"];

/// What a bench is to be like.
pub(crate) struct Plan {
    machine: Machine,
    ha_cf: String,
    haresources: String,
    files: Vec<BoardFile>,
    kernel: String,
    modules: String,
    wires: Vec<Wire>,
    qemu: Vec<String>,
    start: String,
    has_breaks: bool,
}

impl Plan {
    /// Two `virt` boards: keepalive 200 ms, deadtime 3 s, initdead a minute (a slow machine boots one
    /// long after the other), serial and Ethernet, failback off, the group `web` at
    /// home on the first, the usual wires, an i6300esb that nobody has asked to use, the daemon at boot.
    pub(crate) fn usual() -> Self {
        Self {
            machine: Machine::QemuVirtArm64,
            ha_cf: String::new(),
            haresources: "alpha trace::web\n".to_owned(),
            files: Vec::new(),
            kernel: "panic=-1".to_owned(),
            modules: "virtio_pci virtio_net virtio_blk ext4 i6300esb".to_owned(),
            wires: crossed(),
            qemu: Vec::new(),
            start: "exec nullbeat run --foreground".to_owned(),
            has_breaks: false,
        }
    }

    /// Another machine; one without GPIO gets no wires.
    pub(crate) fn machine(mut self, machine: Machine) -> Self {
        self.machine = machine;
        match machine {
            Machine::QemuVirtArm64 => {}
            Machine::QemuPc => self.wires.clear(),
            Machine::Imx6ul => self.modules = "gpio-mxc imx2_wdt".to_owned(),
        }
        self
    }

    /// More lines of ha.cf, on both boards. A later `deadtime` replaces an earlier one.
    pub(crate) fn ha_cf(mut self, lines: &str) -> Self {
        self.ha_cf += &format!("{lines}\n");
        self
    }

    pub(crate) fn haresources(mut self, text: &str) -> Self {
        text.clone_into(&mut self.haresources);
        self
    }

    /// A file on both boards.
    pub(crate) fn file(mut self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.files.push((path.trim_start_matches('/').to_owned(), mode, content.as_ref().to_owned()));
        self
    }

    /// Instead of `panic=-1`, which reboots a crashed kernel at once: `panic=0` leaves it to the watchdog.
    pub(crate) fn kernel(mut self, words: &str) -> Self {
        words.clone_into(&mut self.kernel);
        self
    }

    /// One more kernel module, of those that `tests/vm/prepare` fetches.
    pub(crate) fn module(mut self, name: &str) -> Self {
        self.modules += &format!(" {name}");
        self
    }

    /// What these wires of both boards (`owner`, …) are at when nothing drives them: the resistor at their end.
    pub(crate) fn open(mut self, what: &str, level: bool) -> Self {
        for wire in &mut self.wires {
            if wire.name.split_once('.').is_some_and(|(_, name)| name == what) {
                wire.open = level;
            }
        }
        self
    }

    /// More words for QEMU; `{dir}` and `{index}` are replaced.
    pub(crate) fn qemu(mut self, words: &[&str]) -> Self {
        self.qemu.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// A USB serial adapter in each board, one cable between them; plugged in with [`Bench::plug_usb`].
    pub(crate) fn usb_adapter(self) -> Self {
        let words = "-device qemu-xhci -chardev socket,id=usb,path={dir}/{index}.usb,server=on,wait=off \
                     -device usb-serial,chardev=usb";
        self.qemu(&words.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>())
            .module("xhci_pci")
            .module("ftdi_sio")
    }

    /// The null-modem can carry breaks (`modem.send_break`), and no byte 1 any more: the one error of a line that QEMU's UARTs
    /// can be made to count.
    pub(crate) fn breaks(mut self) -> Self {
        self.has_breaks = true;
        self
    }

    /// What a board runs at boot instead of the daemon; nothing if empty.
    pub(crate) fn start(mut self, line: &str) -> Self {
        line.clone_into(&mut self.start);
        self
    }

    /// ha.cf of both boards.
    fn whole_ha_cf(&self) -> String {
        let [_, serial, _] = self.machine.ports();
        let usual = [("keepalive", "200ms"), ("deadtime", "3"), ("initdead", "60"), ("auto_failback", "off")];
        let mut text = format!("node alpha beta\nserial {serial} baud 115200\n");
        if self.machine.has_pci() {
            text += "ucast eth0 192.168.7.1\nucast eth0 192.168.7.2\n";
        }
        for (word, value) in usual {
            if !self.ha_cf.lines().any(|line| line.split_whitespace().next() == Some(word)) {
                text += &format!("{word} {value}\n");
            }
        }
        text + &self.ha_cf
    }

    /// The files that make a board this one.
    fn board_files(&self, index: usize) -> Vec<BoardFile> {
        let [console, _, report] = self.machine.ports();
        let board = format!(
            "CONSOLE={console} REPORT={report} NAME={} ADDRESS=192.168.7.{}/24\nMODULES='{}'\nSTART='{}'\n",
            NAMES[index],
            index + 1,
            self.modules,
            self.start,
        );
        let mut files = vec![
            ("etc/board".to_owned(), 0o644, board.into_bytes()),
            ("etc/ha.d/ha.cf".to_owned(), 0o644, self.whole_ha_cf().into_bytes()),
            ("etc/ha.d/haresources".to_owned(), 0o644, self.haresources.clone().into_bytes()),
            ("etc/ha.d/authkeys".to_owned(), 0o600, b"auth 1\n1 sha1 a-key-for-the-bench\n".to_vec()),
        ];
        files.extend(self.files.iter().cloned());
        files
    }
}

/// Two boards, their cables and wires, an observer outside.
pub(crate) struct Bench {
    pub(crate) boards: Vec<Board>,
    pub(crate) modem: NullModem,
    /// The cable between the USB adapters.
    pub(crate) usb: NullModem,
    pub(crate) ethernet: Ethernet,
    pub(crate) observer: Observer,
    pub(crate) wires: Wires,
    pub(crate) directory: PathBuf,
    began: Instant,
}

impl Bench {
    /// Both boards up, both daemons settled, every group running somewhere.
    #[track_caller]
    pub(crate) fn start(plan: Plan) -> Self {
        let groups: Vec<String> = plan.haresources.split("trace::").skip(1).map(first_word).collect();
        let bench = Self::power_on(plan);
        bench.settle(&groups.iter().map(String::as_str).collect::<Vec<_>>());
        bench
    }

    /// Waits until both have booted, the groups run and both nodes have settled.
    #[track_caller]
    pub(crate) fn settle(&self, groups: &[&str]) {
        for board in &self.boards {
            board.await_boot(1);
        }
        for group in groups {
            self.wait(&format!("somebody runs {group}"), |bench| bench.runners(group).len() == 1);
        }
        for board in &self.boards {
            board.await_settled();
        }
    }

    /// Both boards switched on; they have not booted yet.
    #[track_caller]
    pub(crate) fn power_on(plan: Plan) -> Self {
        let bench = Self::new(plan);
        for board in &bench.boards {
            board.power_on();
        }
        bench
    }

    /// Everything on the table and no power.
    #[track_caller]
    pub(crate) fn new(plan: Plan) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let image = match plan.machine {
            Machine::QemuVirtArm64 => Image::arm64(),
            Machine::QemuPc => Image::amd64(),
            Machine::Imx6ul => Image::armhf(),
        };
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("nullbeat-vm-{}-{id}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("temporary directory");
        let modem = NullModem::default();
        let ethernet = Ethernet::new(&directory);
        let observer = Observer::new(&directory);
        let (sender, edges) = Wires::edges();
        let make = |index: usize| {
            let place = |name: &str| directory.join(format!("{index}.{name}"));
            image.write(&place("initrd"), &plan.board_files(index));
            make_disk(&place("disk"));
            let mut arguments = machine_words(&plan);
            let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
            add(&["-kernel", &image.kernel.display().to_string()]);
            add(&["-initrd", &place("initrd").display().to_string()]);
            if let Some(tree) = &image.device_tree {
                add(&["-dtb", &tree.display().to_string()]);
            }
            if plan.machine.has_pci() {
                let disk = format!("if=none,id=disk,format=raw,file={}", place("disk").display());
                add(&["-drive", &disk, "-device", "virtio-blk-pci,drive=disk", "-device", "i6300esb"]);
            }
            let own = |word: &String| {
                word.replace("{dir}", &directory.display().to_string()).replace("{index}", &index.to_string())
            };
            arguments.extend(plan.qemu.iter().map(own));
            Board::new(Parts {
                name: NAMES[index],
                index,
                machine: plan.machine,
                directory: &directory,
                arguments,
                has_gpio: plan.machine != Machine::QemuPc,
                modem: modem.clone(),
                has_breaks: plan.has_breaks,
                edges: sender.clone(),
                observer: observer.fifo(),
            })
        };
        let boards: Vec<Board> = (0..2).map(make).collect();
        let wires = Wires::new(plan.wires.clone(), boards.clone(), edges);
        Self { boards, modem, usb: NullModem::default(), ethernet, observer, wires, directory, began: Instant::now() }
    }

    /// Cuts the null-modem cable, both ways.
    pub(crate) fn cut_serial(&self) {
        self.set_serial(true);
    }

    pub(crate) fn heal_serial(&self) {
        self.set_serial(false);
    }

    /// Cuts the Ethernet silently: the carrier stays.
    pub(crate) fn cut_ethernet(&self) {
        self.set_ethernet(true);
    }

    pub(crate) fn heal_ethernet(&self) {
        self.set_ethernet(false);
    }

    /// Turns a bit in so many of a thousand bytes of the null-modem cable.
    pub(crate) fn flip_bits(&self, of_thousand: u64) {
        self.modem.flip_bits(of_thousand);
    }

    /// Plugs a board's USB adapter in; the guest has `/dev/ttyUSB0` half a second later.
    pub(crate) fn plug_usb(&self, index: usize) {
        let path = self.directory.join(format!("{index}.usb"));
        self.usb.attach(index, UnixStream::connect(path).expect("a plan with `usb_adapter`"));
    }

    /// Pulls it out of the board.
    pub(crate) fn unplug_usb(&self, index: usize) {
        self.usb.detach(index);
    }

    /// Takes away a board's power.
    pub(crate) fn power_cut(&self, index: usize) {
        self.boards[index].power_cut();
    }

    /// Stops a board as a whole, its watchdog included.
    pub(crate) fn freeze(&self, index: usize) {
        self.boards[index].qmp("stop", "");
    }

    pub(crate) fn thaw(&self, index: usize) {
        self.boards[index].qmp("cont", "");
    }

    /// Breaks a wire or, with nothing, mends it.
    #[track_caller]
    pub(crate) fn set_fault(&self, wire: &str, fault: Option<Fault>) {
        self.wires.set_fault(wire, fault);
    }

    /// Boards that use the group now, as the observer saw it.
    pub(crate) fn owners(&self, group: &str) -> Vec<usize> {
        (0..2).filter(|&index| self.observer.is_in_use(NAMES[index], group)).collect()
    }

    /// Boards on which the group has started completely.
    pub(crate) fn runners(&self, group: &str) -> Vec<usize> {
        (0..2).filter(|&index| self.observer.is_running(NAMES[index], group)).collect()
    }

    /// Waits until just this board runs the group.
    #[track_caller]
    pub(crate) fn await_owner(&self, index: usize, group: &str) -> Duration {
        self.wait(&format!("{} runs {group}", NAMES[index]), |bench| {
            bench.runners(group) == [index] && bench.owners(group) == [index]
        })
    }

    /// Waits until `what` holds; looks again after each event of the observer.
    #[track_caller]
    pub(crate) fn wait(&self, why: &str, what: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !what(self) {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {why}");
            self.observer.wait_for_more(Duration::from_millis(20));
        }
        start.elapsed()
    }

    /// Asserts that just this board uses the group, all the time.
    #[track_caller]
    pub(crate) fn assert_stays(&self, index: usize, group: &str, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            assert_eq!(self.owners(group), [index], "{group} did not stay");
            self.observer.wait_for_more(Duration::from_millis(20));
        }
    }

    /// Asserts that no group was ever in use on two boards.
    #[track_caller]
    pub(crate) fn assert_exclusive(&self) {
        assert_eq!(self.observer.overlaps(), 0, "a group was in use on two boards");
    }

    /// What a failed scenario needs.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.observer.describe();
        for change in self.wires.changes() {
            let ms = change.at.duration_since(self.began).as_millis();
            let _ = writeln!(text, "{ms:>7} ms  wire {} {}", change.wire, if change.is_high { "high" } else { "low" });
        }
        self.boards.iter().fold(text, |text, board| text + &board.describe(self.began))
    }

    fn set_serial(&self, is_cut: bool) {
        self.modem.cut_from(0, is_cut);
        self.modem.cut_from(1, is_cut);
    }

    fn set_ethernet(&self, is_cut: bool) {
        self.ethernet.cut_from(0, is_cut);
        self.ethernet.cut_from(1, is_cut);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Whatever a scenario is about: what its engines needed from the kernel stands in src/daemon/confinement.rs.
        let refused = self.boards.iter().find_map(|board| board.last_log("was refused system call"));
        if refused.is_some() || std::thread::panicking() {
            eprintln!("{}", self.describe());
        }
        for board in &self.boards {
            board.power_cut();
        }
        end_ethernet(&self.directory);
        let _ = std::fs::remove_dir_all(&self.directory);
        assert!(refused.is_none() || std::thread::panicking(), "{refused:?}");
    }
}

/// QEMU's words for the machine. Its clock begins anew at each power on: no battery.
fn machine_words(plan: &Plan) -> Vec<String> {
    let machine = match plan.machine {
        Machine::QemuVirtArm64 => "-M virt -cpu cortex-a53 -m 192",
        Machine::QemuPc => "-M pc -cpu qemu64 -m 160",
        Machine::Imx6ul => "-M mcimx6ul-evk -m 256",
    };
    let all = format!("-accel tcg {machine} -nodefaults -display none -rtc base=2000-01-01 -action watchdog=reset");
    let [console, ..] = plan.machine.ports();
    let console = console.trim_start_matches("/dev/");
    // On a busy machine the kernel would take the emulated PC's timer for broken.
    let append = format!("console={console},115200 quiet no_timer_check {}", plan.kernel);
    all.split(' ').map(str::to_owned).chain(["-append".to_owned(), append]).collect()
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
