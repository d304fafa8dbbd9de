//! The outside observer: every script run tells it over a FIFO; it notes when, and never asks the daemons.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: Instant,
    pub(crate) node: String,
    pub(crate) group: String,
    /// `start-begin`, `start-end`, `start-failed`, `stop-begin`, `stop-end`, `stop-failed`, `status`, `off`.
    pub(crate) what: String,
}

#[derive(Default)]
struct Seen {
    records: Vec<Record>,
    /// By node and group: in use, running.
    state: HashMap<(String, String), (bool, bool)>,
    overlaps: Vec<(Instant, String)>,
    /// The last mark that came out of the FIFO.
    mark: u64,
}

/// How long a mark is waited for, and how many are tried.
const MARK_LIMIT: Duration = Duration::from_secs(5);
const MARKS_MAX: usize = 36;

/// The record of who used what when.
pub(crate) struct Observer {
    fifo: PathBuf,
    /// For marks.
    writer: Mutex<(File, u64)>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    began: Instant,
}

impl Observer {
    pub(crate) fn new(dir: &Path) -> Self {
        let fifo = dir.join("observer");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("a fifo");
        // Read and write: it never ends and no script waits for a reader.
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("its end");
        let writer = Mutex::new((file.try_clone().expect("its end"), 0));
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                let mut words = line.split_whitespace().map(str::to_owned);
                if let (Some(node), Some(group), Some(what)) = (words.next(), words.next(), words.next()) {
                    let mut seen = shared.0.lock().expect("not poisoned");
                    match (node.as_str(), group.as_str()) {
                        ("*", mark) => seen.mark = mark.parse().expect("a mark of ours"),
                        (_, "*") => seen.note_off(&node),
                        _ => seen.note(Record { at: Instant::now(), node, group, what }),
                    }
                    drop(seen);
                    shared.1.notify_all();
                }
            }
        });
        Self { fifo, writer, seen, began: Instant::now() }
    }

    /// Where scripts write `NODE GROUP WHAT`; `NODE * off` is the end of everything on a board.
    pub(crate) fn fifo(&self) -> PathBuf {
        self.fifo.clone()
    }

    /// What has been seen, once everything is read that scripts have written until now. A mark that was written behind half a
    /// line of somebody else's is lost: then another one.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        for _ in 0..MARKS_MAX {
            let mark = {
                let mut writer = self.writer.lock().expect("not poisoned");
                writer.1 += 1;
                let line = format!("* {} mark\n", writer.1);
                writer.0.write_all(line.as_bytes()).expect("a FIFO with a reader");
                writer.1
            };
            let seen = self.seen.0.lock().expect("not poisoned");
            let waited = self.seen.1.wait_timeout_while(seen, MARK_LIMIT, |seen| seen.mark < mark);
            let (seen, waited) = waited.expect("not poisoned");
            if !waited.timed_out() {
                return seen;
            }
        }
        panic!("the observer reads no marks");
    }

    /// The board has lost its power: nothing runs there any more.
    pub(crate) fn board_off(&self, node: &str) {
        self.seen().note_off(node);
        self.seen.1.notify_all();
    }

    pub(crate) fn is_in_use(&self, node: &str, group: &str) -> bool {
        self.state(node, group).0
    }

    pub(crate) fn is_running(&self, node: &str, group: &str) -> bool {
        self.state(node, group).1
    }

    fn state(&self, node: &str, group: &str) -> (bool, bool) {
        let seen = self.seen();
        seen.state.get(&(node.to_owned(), group.to_owned())).copied().unwrap_or_default()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.seen().records.clone()
    }

    /// How often this happened.
    pub(crate) fn count(&self, node: &str, group: &str, what: &str) -> usize {
        let is_it = |record: &&Record| record.node == node && record.group == group && record.what == what;
        self.seen().records.iter().filter(is_it).count()
    }

    /// Moments at which a group came to be in use on two boards.
    pub(crate) fn overlaps(&self) -> usize {
        self.seen().overlaps.len()
    }

    /// When, and which group.
    pub(crate) fn overlap_times(&self) -> Vec<(Instant, String)> {
        self.seen().overlaps.clone()
    }

    /// Waits for the next record, at most so long.
    pub(crate) fn wait_for_more(&self, time: Duration) {
        let seen = self.seen.0.lock().expect("not poisoned");
        drop(self.seen.1.wait_timeout(seen, time).expect("not poisoned"));
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for record in self.records() {
            let ms = record.at.duration_since(self.began).as_millis();
            let _ = writeln!(text, "{ms:>7} ms  {:<10} {:<10} {}", record.node, record.group, record.what);
        }
        text
    }
}

impl Seen {
    /// Nothing runs on this board any more.
    fn note_off(&mut self, node: &str) {
        let groups: Vec<String> = self.state.keys().filter(|key| key.0 == node).map(|key| key.1.clone()).collect();
        for group in groups {
            self.note(Record { at: Instant::now(), node: node.to_owned(), group, what: "off".to_owned() });
        }
    }

    fn note(&mut self, record: Record) {
        let key = (record.node.clone(), record.group.clone());
        let state = self.state.entry(key).or_default();
        *state = match record.what.as_str() {
            "start-begin" => (true, state.1),
            "start-end" => (true, true),
            "start-failed" | "stop-end" | "off" => (false, false),
            "stop-begin" | "stop-failed" => (true, false),
            _ => *state,
        };
        let users = self.state.iter().filter(|(key, state)| key.1 == record.group && state.0).count();
        if record.what == "start-begin" && users > 1 {
            self.overlaps.push((record.at, record.group.clone()));
        }
        self.records.push(record);
    }
}
