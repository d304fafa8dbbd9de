//! The serial console of a board, on which `init` runs the lines that are typed.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::PATIENCE;

/// What `init` says when a board is up.
const READY: &str = "BOARD READY\n";

/// The text of all boots so far, and the way to type.
pub(crate) struct Console {
    name: String,
    seen: Arc<(Mutex<String>, Condvar)>,
    stream: Mutex<Option<UnixStream>>,
    count: AtomicU32,
    /// One line at a time.
    typing: Mutex<()>,
}

impl Console {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seen: Arc::default(),
            stream: Mutex::new(None),
            count: AtomicU32::new(0),
            typing: Mutex::new(()),
        }
    }

    /// A new QEMU's console.
    pub(crate) fn attach(&self, stream: UnixStream) {
        let mut reader = stream.try_clone().expect("a copy");
        *self.stream.lock().expect("no panic") = Some(stream);
        let seen = Arc::clone(&self.seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).replace('\r', "");
                seen.0.lock().expect("no panic").push_str(&text);
                seen.1.notify_all();
            }
        });
    }

    /// How often the board has come up.
    pub(crate) fn boots(&self) -> usize {
        self.seen.0.lock().expect("no panic").matches(READY).count()
    }

    /// Waits until it has come up that often.
    #[track_caller]
    pub(crate) fn await_boot(&self, count: usize) {
        self.wait(&format!("boot number {count}"), |text| (text.matches(READY).count() >= count).then_some(()));
    }

    /// Runs one shell line; its exit code and what it said.
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) -> (i32, String) {
        assert!(!line.contains('\n'), "one line");
        let _one = self.typing.lock().expect("no panic");
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let from = self.seen.0.lock().expect("no panic").len();
        // Torn apart, so that an echo of the line cannot be taken for its end.
        self.type_line(&format!("{line}; echo END{number}''OF $?"));
        let end = format!("END{number}OF ");
        self.wait(&format!("the end of `{line}`"), |text| {
            let text = &text[from..];
            let at = text.find(&end)?;
            let (code, _) = text[at + end.len()..].split_once('\n')?;
            Some((code.trim().parse().expect("an exit code"), text[..at].to_owned()))
        })
    }

    /// Types a line whose end nobody sees: one that crashes the kernel.
    pub(crate) fn type_line(&self, line: &str) {
        let mut stream = self.stream.lock().expect("no panic");
        stream.as_mut().expect("switched on").write_all(format!("{line}\n").as_bytes()).expect("a console");
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> String {
        let text = self.seen.0.lock().expect("no panic");
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let start = Instant::now();
        let mut text = self.seen.0.lock().expect("no panic");
        loop {
            if let Some(value) = found(&text) {
                return value;
            }
            let Some(left) = PATIENCE.checked_sub(start.elapsed()) else {
                drop(text);
                panic!("{}: not within {PATIENCE:?}: {what}; console:\n{}", self.name, self.tail());
            };
            text = self.seen.1.wait_timeout(text, left).expect("no panic").0;
        }
    }
}
