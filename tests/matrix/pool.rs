//! Runs cells, several laboratories side by side.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::cell::{Cell, Pair};
use crate::document::Row;
use crate::list;

/// How a cell ended.
pub(crate) struct Done {
    pub(crate) cell: Cell,
    pub(crate) row: Row,
}

impl Done {
    /// Whether the run fails for it.
    pub(crate) fn is_failure(&self) -> bool {
        !self.row.is_green && self.cell.pair == Pair::Mixed && list::known_red(self.cell).is_none()
    }
}

/// Runs the cells on so many laboratories at a time; `report` sees each as it ends. Logs of red cells go into `logs`.
pub(crate) fn run(
    cells: &[Cell],
    labs: usize,
    date: &str,
    logs: &Path,
    report: impl Fn(&Done, Duration) + Sync,
) -> Vec<Done> {
    let queue: Mutex<VecDeque<Cell>> = Mutex::new(cells.iter().copied().collect());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..labs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("not poisoned").pop_front();
                    let Some(cell) = next else { break };
                    let start = Instant::now();
                    let one = Done { cell, row: play(cell, date, logs) };
                    report(&one, start.elapsed());
                    done.lock().expect("not poisoned").push(one);
                }
            });
        }
    });
    done.into_inner().expect("not poisoned")
}

/// What 3.0.6 says when a message of its own scripts has got lost in its FIFO (spec/resources.md section 20): what that
/// message was for is never done. It happens to any pair of Heartbeats too.
const LOST_IN_FIFO: [&str; 3] =
    ["msg2string: Message with zero fields", "NV failure (msgfromsteam)", "NV failure (string2msg_ll)"];
/// How often a cell may meet that.
const TRIES: usize = 3;

fn play(cell: Cell, date: &str, logs: &Path) -> Row {
    let mut before = String::new();
    for attempt in 1.. {
        let (mut row, is_heartbeats) = once(cell, date, logs);
        let is_over = row.is_green || attempt >= if is_heartbeats { TRIES } else { cell.scenario.tries() };
        if is_over {
            row.remark = format!("{before}{}", row.remark);
            return row;
        }
        let why = if is_heartbeats { "Heartbeat lost a message in its own FIFO" } else { &row.remark };
        before += &format!("try {attempt}: {why}; ");
    }
    unreachable!("the last try returns")
}

/// Its row, and whether the original has lost what it needed.
fn once(cell: Cell, date: &str, logs: &Path) -> (Row, bool) {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let mut bench = Bench::new(cell);
        let played = catch_unwind(AssertUnwindSafe(|| cell.scenario.play(&mut bench))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default())
        });
        let overlaps = bench.overlaps();
        let complaint = match played {
            Ok(()) if overlaps > 0 => Err("a group was in use on two boards".to_owned()),
            other => other,
        };
        let log = bench.lab.boards[1].log();
        let is_heartbeats = complaint.is_err() && overlaps == 0 && LOST_IN_FIFO.iter().any(|words| log.contains(words));
        if complaint.is_err() {
            let name: String = cell.name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let text = format!("{complaint:?}\n{}", bench.lab.describe());
            std::fs::write(logs.join(name), text).expect("a log");
        }
        let remark = complaint.as_ref().err().map_or(String::new(), |text| one_line(text));
        let row = Row {
            is_green: complaint.is_ok(),
            overlaps: Some(overlaps),
            time: complaint.is_ok().then(|| bench.measured()),
            date: date.to_owned(),
            remark,
        };
        (row, is_heartbeats)
    }));
    attempt.unwrap_or_else(|_| {
        let remark = "the laboratory could not be set up".to_owned();
        (Row { is_green: false, overlaps: None, time: None, date: date.to_owned(), remark }, false)
    })
}

/// Fit for a cell of a table.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().replace('|', "/");
    line.chars().take(160).collect()
}
