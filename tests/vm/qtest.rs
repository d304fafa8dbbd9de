//! QEMU's test protocol beside a running guest: what the pins of a GPIO chip drive, and levels on its inputs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::PATIENCE;

/// A GPIO chip of the machine.
pub(crate) struct Chip {
    /// Where it is in the tree of devices.
    pub(crate) path: String,
    /// Reads the register that has a one for each line that is an output.
    pub(crate) direction: &'static str,
}

/// A change of a pin that is driven.
pub(crate) struct Edge {
    pub(crate) board: usize,
    pub(crate) line: u8,
    pub(crate) is_high: bool,
}

/// The connection to one QEMU.
pub(crate) struct Qtest {
    stream: UnixStream,
    replies: Receiver<String>,
    chip: Chip,
}

impl Qtest {
    /// Takes over a fresh connection; edges of `chip` go to `edges`.
    pub(crate) fn new(stream: UnixStream, board: usize, chip: Chip, edges: Sender<Edge>) -> Self {
        let reader = BufReader::new(stream.try_clone().expect("a copy"));
        let (sender, replies) = channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let words: Vec<&str> = line.split(' ').collect();
                if let ["IRQ", level, number] = words[..] {
                    let line = number.parse().expect("a line's number");
                    let _ = edges.send(Edge { board, line, is_high: level == "raise" });
                } else {
                    drop(sender.send(line));
                }
            }
        });
        let mut qtest = Self { stream, replies, chip };
        qtest.command(&format!("irq_intercept_out {}", qtest.chip.path)).expect("a QEMU that is there");
        qtest
    }

    /// Which of the first eight lines are outputs, a bit for each; nothing when the board is gone.
    pub(crate) fn outputs(&mut self) -> Option<u8> {
        let reply = self.command(self.chip.direction)?;
        let all = u64::from_str_radix(reply.trim_start_matches("0x"), 16).ok()?;
        Some(all.to_le_bytes()[0])
    }

    /// Writes a byte of the guest's memory.
    pub(crate) fn poke(&mut self, address: u32, byte: u8) {
        self.command(&format!("writeb {address:#x} {byte:#x}"));
    }

    /// Puts a level on an input.
    pub(crate) fn drive(&mut self, line: u8, is_high: bool) {
        // A pin that does not exist would abort QEMU.
        assert!(line < 8, "each chip has eight lines");
        let level = i32::from(is_high);
        self.command(&format!("set_irq_in {} unnamed-gpio-in {line} {level}", self.chip.path));
    }

    /// The words behind `OK`; nothing when the board is gone.
    fn command(&mut self, line: &str) -> Option<String> {
        self.stream.write_all(format!("{line}\n").as_bytes()).ok()?;
        let reply = self.replies.recv_timeout(PATIENCE).ok()?;
        let rest = reply.strip_prefix("OK").unwrap_or_else(|| panic!("{line}: {reply}"));
        Some(rest.trim().to_owned())
    }
}
