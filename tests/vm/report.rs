//! The port on which a board reports: the daemon's log, and what the scripts tell the observer.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::PATIENCE;

/// Everything reported over all power cycles.
pub(crate) struct Report {
    node: String,
    lines: Mutex<Vec<(Instant, String)>>,
    more: Condvar,
    port: Mutex<Port>,
}

/// The port of the present QEMU and the way on to the observer.
struct Port {
    stream: Option<UnixStream>,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// A FIFO that always has a reader.
    observer: File,
}

impl Port {
    /// In one piece: the other board's port, and the observer's own marks, come by the same FIFO.
    fn tell(&mut self, words: &str) {
        self.observer.write_all(format!("{words}\n").as_bytes()).expect("the observer");
    }
}

impl Report {
    pub(crate) fn new(node: &str, observer: &Path) -> Self {
        let observer = File::options().write(true).open(observer).expect("the observer");
        let port = Mutex::new(Port { stream: None, rest: Vec::new(), observer });
        Self { node: node.to_owned(), lines: Mutex::default(), more: Condvar::new(), port }
    }

    /// A new QEMU's port.
    pub(crate) fn attach(self: &Arc<Self>, stream: UnixStream) {
        stream.set_nonblocking(true).expect("nonblocking");
        let waiting = stream.try_clone().expect("a copy");
        self.port.lock().expect("no panic").stream = Some(stream);
        let report = Arc::clone(self);
        std::thread::spawn(move || {
            loop {
                poll(&mut [PollFd::new(waiting.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("poll");
                if !report.drain(&mut report.port.lock().expect("no panic")) {
                    return;
                }
            }
        });
    }

    /// Nothing runs on the board any more. What it said before is told before.
    pub(crate) fn tell_off(&self) {
        let mut port = self.port.lock().expect("no panic");
        self.drain(&mut port);
        port.rest.clear();
        port.tell(&format!("{} * off", self.node));
    }

    /// How many lines there are.
    pub(crate) fn count(&self) -> usize {
        self.lines.lock().expect("no panic").len()
    }

    /// Waits for a line with this text that is not among the first `count`.
    #[track_caller]
    pub(crate) fn wait_after(&self, count: usize, text: &str) -> (Instant, String) {
        let start = Instant::now();
        let mut lines = self.lines.lock().expect("no panic");
        loop {
            if let Some(found) = lines.iter().skip(count).find(|(_, line)| line.contains(text)) {
                return found.clone();
            }
            let Some(left) = PATIENCE.checked_sub(start.elapsed()) else {
                drop(lines);
                panic!("{}: not within {PATIENCE:?}: `{text}` in the log", self.node);
            };
            lines = self.more.wait_timeout(lines, left).expect("no panic").0;
        }
    }

    /// The last line with this text.
    pub(crate) fn last(&self, text: &str) -> Option<String> {
        let lines = self.lines.lock().expect("no panic");
        lines.iter().rfind(|(_, line)| line.contains(text)).map(|(_, line)| line.clone())
    }

    /// All lines with their times.
    pub(crate) fn describe(&self, began: Instant) -> String {
        let mut text = String::new();
        for (at, line) in self.lines.lock().expect("no panic").iter() {
            let _ = writeln!(text, "{:>7} ms  {line}", at.duration_since(began).as_millis());
        }
        text
    }

    /// Takes what is there; false when the QEMU is gone. `@ NODE GROUP WHAT` is for the observer.
    fn drain(&self, port: &mut Port) -> bool {
        let mut buffer = [0; 4096];
        loop {
            let Some(stream) = &mut port.stream else { return false };
            match stream.read(&mut buffer) {
                Ok(0) => port.stream = None,
                Ok(count) => port.rest.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return true,
                Err(_) => port.stream = None,
            }
            while let Some(end) = port.rest.iter().position(|&byte| byte == b'\n') {
                let bytes: Vec<u8> = port.rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                if let Some(words) = line.strip_prefix("@ ") {
                    port.tell(words);
                }
                self.lines.lock().expect("no panic").push((Instant::now(), line));
                self.more.notify_all();
            }
        }
    }
}
