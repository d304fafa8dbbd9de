//! docs/interop.md: read, merged with new results, written.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::cell::{Cell, Digest, Format, Pair};
use crate::list;
use crate::medium::MEDIA;
use crate::scenario::{LOCAL, SCENARIOS};

/// What the table says about one cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) is_green: bool,
    /// Moments at which a group came into use on two boards, those left out which the configuration permits.
    pub(crate) overlaps: Option<usize>,
    /// The scenario's time: the longest gap, if its description says nothing else.
    pub(crate) time: Option<Duration>,
    /// Day of the last run.
    pub(crate) date: String,
    pub(crate) remark: String,
}

/// Rows by the names of their cells.
#[derive(Debug, Default)]
pub(crate) struct Document {
    rows: HashMap<String, Row>,
}

const HEAD: &str =
    "| cell | result | overlaps | time | two Heartbeats | last run | remark |\n|---|---|---|---|---|---|---|\n";
/// How much longer than with two Heartbeats a time may be: what a busy machine adds.
const MARGIN: Duration = Duration::from_secs(1);

impl Document {
    /// Takes the rows out of a document.
    pub(crate) fn parse(text: &str) -> Self {
        let mut rows = HashMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, result @ ("green" | "red" | "known red"), overlaps, time, _, date, remark] = words[..] else {
                continue;
            };
            let row = Row {
                is_green: result == "green",
                overlaps: overlaps.parse().ok(),
                time: time.strip_suffix(" s").and_then(|s| s.parse().ok()).map(Duration::from_secs_f64),
                date: date.to_owned(),
                remark: remark.to_owned(),
            };
            rows.insert(name.to_owned(), row);
        }
        Self { rows }
    }

    /// Replaces or adds the row of a cell.
    pub(crate) fn put(&mut self, cell: Cell, row: Row) {
        self.rows.insert(cell.name(), row);
    }

    fn row(&self, cell: Cell) -> Option<&Row> {
        self.rows.get(&cell.name())
    }

    fn reference(&self, cell: Cell) -> Option<Duration> {
        self.row(cell.reference()).and_then(|row| row.time)
    }

    /// Why a cell that went well takes too long, compared with two Heartbeats.
    pub(crate) fn too_long(&self, cell: Cell, time: Duration) -> Option<String> {
        let reference = self.reference(cell)?;
        (cell.pair == Pair::Mixed && time > reference + reference / 4 + MARGIN)
            .then(|| format!("{} instead of {}", seconds(time), seconds(reference)))
    }

    /// The whole document.
    pub(crate) fn text(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        self.grid(&mut text);
        self.signed(&mut text);
        text += ORIGINALS_OWN;
        text += "## What the scenarios are\n\n| scenario | what happens |\n|---|---|\n";
        for scenario in SCENARIOS.iter().chain(&LOCAL) {
            let _ = writeln!(text, "| {} | {} |", scenario.name(), scenario.meaning());
        }
        text += "\n## Cells\n\n";
        text += CELLS;
        self.table(&list::mixed(), &mut text);
        text += "\n## Two Heartbeats\n\n";
        text += ORIGINALS;
        self.table(&list::originals(), &mut text);
        text
    }

    fn grid(&self, text: &mut String) {
        *text += "## Each medium × each scenario\n\nsha1, classic.\n\n| scenario |";
        for medium in MEDIA {
            let _ = write!(text, " {} |", medium.name());
        }
        *text += "\n|---|";
        *text += &"---|".repeat(MEDIA.len());
        for scenario in SCENARIOS {
            let _ = write!(text, "\n| {} |", scenario.name());
            for medium in MEDIA {
                let _ = write!(text, " {} |", self.short(Cell::usual(medium, scenario)));
            }
        }
        *text += "\n\n";
    }

    fn signed(&self, text: &mut String) {
        let is_usual = |cell: &Cell| (cell.digest, cell.format) == (Digest::Sha1, Format::Classic);
        let rest = |cell: &Cell| !is_usual(cell) || LOCAL.contains(&cell.scenario);
        *text += "## Digests, formats, compression, and what does not depend on the medium

| cell | result |
|---|---|
";
        for cell in list::mixed().into_iter().filter(rest) {
            let _ = writeln!(text, "| {} | {} |", cell.name(), self.short(cell));
        }
        *text += "
";
    }

    fn short(&self, cell: Cell) -> String {
        match self.row(cell) {
            None => "not run".to_owned(),
            Some(row) if row.is_green => row.time.map_or("✔".to_owned(), |time| format!("✔ {}", seconds(time))),
            Some(_) => "✘".to_owned(),
        }
    }

    fn table(&self, cells: &[Cell], text: &mut String) {
        *text += HEAD;
        for cell in cells {
            let Some(row) = self.row(*cell) else {
                let _ = writeln!(text, "| {} | not run | – | – | – | – | |", cell.name());
                continue;
            };
            let known = list::known_red(*cell).filter(|_| !row.is_green);
            let reference = if cell.pair == Pair::Mixed { self.reference(*cell) } else { None };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                cell.name(),
                match (row.is_green, known) {
                    (true, _) => "green",
                    (false, Some(_)) => "known red",
                    (false, None) => "red",
                },
                row.overlaps.map_or("–".to_owned(), |count| count.to_string()),
                row.time.map_or("–".to_owned(), seconds),
                reference.map_or("–".to_owned(), seconds),
                row.date,
                known.unwrap_or(&row.remark),
            );
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

const INTRODUCTION: &str = "\
# One node nullbeat, one node Heartbeat 3.0.6

Every cell below is a real run: alpha runs nullbeat, beta runs Debian's packaged Heartbeat 3.0.6, unmodified, each on a
board of its own made of namespaces, joined by a pseudo-terminal null-modem, a switch, or both. An observer outside, which
asks neither daemon, notes when a resource script starts and stops something where. Green means: all that the scenario says
has happened, no group was ever in use on two boards, nothing stayed without an owner longer than with two Heartbeats in the
same scenario (a quarter and a second more are allowed for what the machine adds). keepalive is 200 ms, deadtime 2 s, initdead
6 s where the scenario does not say otherwise; a time contains them. With 20 % loss so many beats are lost in a row now and
then that a death is right: the best of three tries counts, and the remark tells what the others ended with.

This page is made by a command, which updates the rows of the cells that it runs and leaves the others as they are:

```console
# cargo test --test matrix -- --write                           the default lane, a few minutes
# cargo test --test matrix -- --write --all --labs 6            every cell
# cargo test --test matrix -- --write serial/ 'hb_standby'      cells whose names contain one of these
# cargo test --test matrix -- --list --all
```

";

const ORIGINALS_OWN: &str = "\
## What is Heartbeat's own fault

- `msgfmt netstring`: the end of each takeover gets lost in Heartbeat's FIFO, and it stays in transition for good. Every cell
  in which a Heartbeat with it must settle after a takeover is red, with two Heartbeats too. The service itself runs. After a
  partition such a Heartbeat does not drop anything: two of them go on with every group on both boards for good. Beside one,
  nullbeat waits 10 s, then lets go of what the other keeps, and each group ends where it belongs.
- Two scripts of Heartbeat that write into its FIFO at the same moment can lose a message; a group may then run nowhere. A
  cell that meets this (Heartbeat logs `Message with zero fields` or `NV failure`) is run again, and its remark says so.
- Between two Heartbeats whose active keys differ a key rollover takes both for dead. Beside nullbeat it works.
- A Heartbeat whose processes are killed and which stays away leaves its services running: see the scenario `restart
  Heartbeat`, in which it comes back in time. Only a fence helps there.

Three nodes in one cluster are in `tests/three_nodes.rs`: two Heartbeats with `-M` and a nullbeat, and the reverse.

";

const CELLS: &str = "\
The time is the longest time without an owner, if the scenario does not say otherwise; beside it the same scenario's with two
Heartbeats.

";

const ORIGINALS: &str = "\
The same scenarios with Heartbeat on both boards (\"nullbeat\" then means the board alpha). Red here is the original's own.

";
