//! What must hold, judged by what the scripts have said themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bench::{Bench, DEADTIME};
use crate::lab::observer::Record;
use crate::plan::{Pair, ROLES};

const GROUPS: [&str; 2] = ["web", "mail"];
/// A stall as long as this part of the dead time may make what nobody guards by a fence too late.
const STALL_MAX: Duration = Duration::from_millis(600);

/// Each group is in use on one board, and runs there.
pub(crate) fn is_served(bench: &Bench) -> bool {
    GROUPS.iter().all(|group| {
        let owners = bench.lab.owners(group);
        owners.len() == 1 && bench.lab.runners(group) == owners
    })
}

/// All processes are there, and nothing is under way.
pub(crate) fn is_whole(bench: &Bench, index: usize) -> bool {
    let board = &bench.lab.boards[index];
    if board.runs_heartbeat() {
        return bench.has_daemon(index);
    }
    bench.is_on(index) && ROLES.iter().all(|role| board.pids(role.name()).len() == 1) && board.is_settled()
}

/// Its status, unless it does not answer in time.
pub(crate) fn status(bench: &Bench, index: usize) -> String {
    let board = &bench.lab.boards[index];
    let directories = board.directories();
    let mut words = vec!["timeout", "-s", "KILL", "10", crate::lab::NULLBEAT, "status"];
    words.extend(directories.iter().map(String::as_str));
    String::from_utf8_lossy(&board.on_board(&words).stdout).into_owned()
}

/// No group has come to be in use on two boards.
///
/// With a fence there is no excuse. Without one a board whose engine and guardian are both gone has its groups stopped
/// by an ordinary process against the clock: a machine that stands still for a good part of the dead time is one.
pub(crate) fn exclusive(bench: &Bench, stalls: &Stalls) -> Result<(), String> {
    for (at, group) in bench.lab.observer.overlap_times() {
        let is_excused = bench.pair != Pair::Fenced && stalls.longest_between(at - DEADTIME * 2, at) > STALL_MAX;
        if !is_excused {
            return Err(format!("{group}: in use on two boards"));
        }
    }
    Ok(())
}

/// The longest time in which a group that had run ran nowhere, until it ran again.
pub(crate) fn longest_gap(records: &[Record]) -> Duration {
    let mut running: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    let mut since: BTreeMap<&str, Instant> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    for record in records {
        let group = record.group.as_str();
        match record.what.as_str() {
            "start-end" => {
                running.insert((&record.node, group), true);
                if let Some(begun) = since.remove(group) {
                    longest = longest.max(record.at - begun);
                }
            }
            "stop-begin" | "stop-end" | "off" => {
                let was_running = running.insert((&record.node, group), false) == Some(true);
                if was_running && !running.iter().any(|(key, is_running)| key.1 == group && *is_running) {
                    since.insert(group, record.at);
                }
            }
            _ => {}
        }
    }
    longest
}

/// Whether the machine itself lets an ordinary process run in time.
pub(crate) struct Stalls {
    seen: Arc<Mutex<Vec<(Instant, Duration)>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stalls {
    pub(crate) fn watch() -> Self {
        let (seen, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (list, flag) = (Arc::clone(&seen), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let (mut last, pause) = (Instant::now(), Duration::from_millis(10));
            while !flag.load(Ordering::SeqCst) {
                std::thread::sleep(pause);
                let late = last.elapsed().saturating_sub(pause);
                last = Instant::now();
                if late > Duration::from_millis(50) {
                    list.lock().expect("not poisoned").push((last, late));
                }
            }
        });
        Self { seen, is_over, thread: Some(thread) }
    }

    pub(crate) fn longest(&self) -> Duration {
        self.seen.lock().expect("not poisoned").iter().map(|stall| stall.1).max().unwrap_or_default()
    }

    /// The longest that ended in this time.
    fn longest_between(&self, from: Instant, to: Instant) -> Duration {
        let seen = self.seen.lock().expect("not poisoned");
        seen.iter().filter(|(end, _)| (from..=to).contains(end)).map(|stall| stall.1).max().unwrap_or_default()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
