//! `docs/performance.md`: the table, and how each row came about.

use std::fmt::Write;
use std::time::Duration;

use super::contender::Contender;
use super::cycle::Times;
use super::sample::{Sample, number};
use super::steady::Costs;
use super::stress::Case;

/// Everything that was found.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) runs: usize,
    /// Bytes of the static program.
    pub(crate) binary: u64,
    /// Fork and exec alone, in milliseconds.
    pub(crate) limit: Sample,
    /// Processor time of a bare loop of beats, in milliseconds a minute.
    pub(crate) bare: Sample,
    pub(crate) times: Vec<(Contender, Times)>,
    pub(crate) costs: Vec<(Contender, Costs)>,
    /// Bytes and number of packages: heartbeat, keepalived.
    pub(crate) packages: Vec<(u64, usize)>,
    /// Bytes early and late, and the time between.
    pub(crate) memory_later: Option<(f64, f64, Duration)>,
    pub(crate) stress: Vec<Case>,
    pub(crate) took: Duration,
}

/// For people.
pub(crate) const fn name(contender: Contender) -> &'static str {
    match contender {
        Contender::Nullbeat => "nullbeat",
        Contender::Heartbeat => "heartbeat 3.0.6",
        Contender::Keepalived(10) => "keepalived 2.2.7, advert 10 ms",
        Contender::Keepalived(_) => "keepalived 2.2.7, advert 200 ms",
    }
}

const HEAD: &str = "\
# Speed and memory

    cargo bench --bench table

prints this table and writes this file. It needs root (boards are made of namespaces) and Debian's packages `heartbeat`
and `keepalived`, which are measured in the same run, on the same machine, in the same scenario. Times are medians with
[least–greatest]. They are figures of one machine, not promises: no test asserts a time.

";

/// First words of the line about a day's beats.
const DAY: &str = "A day's beats (`cargo bench --bench table -- --day`): ";

/// The page `old` with what a day's beats did: bytes before and after, and how many they were.
pub(crate) fn with_day(old: &str, (early, late, beats): (f64, f64, u32)) -> String {
    let (early, late) = (early / 4096.0, late / 4096.0);
    with_line(old, DAY, &format!("{early} page frames before, {late} after {beats} beats at keepalive 2 ms."))
}

/// First words of the line about a fence.
const FENCE: &str = "A confirmed fence (`cargo bench --bench table -- --fence`): ";

/// The page `old` with the time from a confirmation to the first script.
pub(crate) fn with_fence(old: &str, sample: &Sample, machine: &str) -> String {
    let count = sample.count();
    let rest = format!(
        "confirmation → first script's fork {sample} ms, {count} times, with in-process pins: guardian, channel and core in \
         one process ({machine}). To reach: ≤ 5 ms."
    );
    with_line(old, FENCE, &rest)
}

/// First words of the line about a watchdog's kicks.
const KICK: &str = "A watchdog's kick (`cargo bench --bench table -- --kick`): ";

/// The page `old` with what a turn with kicks costs.
pub(crate) fn with_kick(old: &str, calls: f64) -> String {
    let rest = format!(
        "{} system call (`write`) in a turn in which two watchdogs are due, counted by strace over 1000 turns; none in others. \
         To reach: ≤ 1 a turn.",
        number(calls)
    );
    with_line(old, KICK, &rest)
}

/// First words of the line about a mixed pair.
const MIXED: &str = "One nullbeat beside one Heartbeat (`cargo bench --bench table -- --mixed`): ";

/// The page `old` with what was found of a mixed pair.
pub(crate) fn with_mixed(old: &str, found: &str) -> String {
    with_line(old, MIXED, found)
}

/// Heading of the section about takeovers over one path, and of its parts.
const COMPACT: &str = "## A takeover over one path alone";
const COSTS: &str = "### What beating so fast costs";
const ENDURANCE: &str = "### The same times beside a heavy load";

/// The page `old` with these rows in that section.
pub(crate) fn with_compact(old: &str, rows: &str, machine: &str) -> String {
    let words = "    cargo bench --bench table -- --compact\n\nThe owner's whole tree is killed at any moment of its keepalive; from there \
         to the first instruction of the partner's first script, median and maximum of 20. One path joins the boards, \
         `protocol compact`, the dead time is three keepalives. The serial line is the one of the section below, at its speed.";
    with_section(old, COMPACT, METHOD, words, rows, machine)
}

/// The page `old` with what beating costs at these times.
pub(crate) fn with_costs(old: &str, rows: &str, machine: &str) -> String {
    let words = "    cargo bench --bench table -- --compact --long 600\n\nThe same four, on a machine that does nothing else. Processor \
         time is that of all processes of one board in windows of 5 s, and includes taking the other board's beats. System calls are \
         those of all its processes between two own beats: at these times, then at times that Heartbeat's messages can keep on \
         such a line, in the compact format and in Heartbeat's. Below the bare loop, which only polls, sends and receives as many \
         datagrams of the length of a beat, no daemon can come on this machine.";
    let next = if old.contains(ENDURANCE) { ENDURANCE } else { METHOD };
    with_section(old, COSTS, next, words, rows, machine)
}

/// The page `old` with what became of all of them side by side.
pub(crate) fn with_endurance(old: &str, rows: &str, machine: &str) -> String {
    let words = "    cargo bench --bench table -- --compact --long 600\n\nAll four pairs at once, eight boards on the same cores, beside the load of \
         the last section: harder than each by itself. Lateness and deaths are counted as there. To reach: no false death in 10 minutes.";
    with_section(old, ENDURANCE, METHOD, words, rows, machine)
}

/// The page `old` with a section of its own for `rows`: where it is, or before `next`.
fn with_section(old: &str, title: &str, next: &str, words: &str, rows: &str, machine: &str) -> String {
    let next = old.find(next.trim_start()).unwrap_or(old.len());
    let (before, rest) = old.split_once(title).unwrap_or_else(|| old.split_at(next));
    let is_there = old.contains(title);
    let behind = rest.find("\n##").filter(|_| is_there).map_or(if is_there { "" } else { rest }, |at| &rest[at + 1..]);
    format!("{}\n\n{title}\n\n{words}\n\nThis run: {machine}.\n\n{}\n\n{behind}", before.trim_end(), rows.trim_end())
}

fn with_line(old: &str, first_words: &str, rest: &str) -> String {
    let is_kept = |line: &&str| !line.starts_with(first_words);
    let kept: String = old.lines().filter(is_kept).fold(String::new(), |text, l| text + l + "\n");
    // The blank line before the one that is gone.
    let kept = kept.replace("\n\n\n", "\n\n");
    match kept.split_once(METHOD) {
        Some((before, after)) => format!("{}\n\n{first_words}{rest}\n{METHOD}{after}", before.trim_end()),
        None => kept,
    }
}

const METHOD: &str = "
## How each row is measured

A board is a network, PID, mount and UTS namespace of its own whose process 1 only collects children; two veth cables
join the two boards. Losing power is SIGKILL to process 1, which takes every process of the board at once. An observer
outside both boards listens on the cables with a packet socket and uses the kernel's time stamps. The resource script
is a static program whose first instruction reads the clock and which does nothing but write that down. One clock,
that of the machine, serves all.

- **Dead time expired → first `start`**: from the last beat that the observer saw on the survivor's interface, plus the
  dead time (keepalived: three advertisements and the skew of RFC 5798 for its priority), to the script's first
  instruction. The scripts in question are those of the group of 50; keepalived runs its one notify script.
- **A takeover of 50 scripts**: same cut, first to last `start`, divided by 49. Processes are counted by the process
  numbers that the scripts see inside the board's PID namespace: every fork there takes one.
- **exec → last resource started**: the board with the higher claim comes back while the other one holds everything
  (auto_failback on, preemption): from exec(2) of the daemon to the last script of its group.
- **Clean stop**: SIGTERM with the other board up; from the last `stop` to the moment at which process 1 has no child
  left.
- **Memory**: the page frames of all processes of a board, from `/proc/PID/pagemap`, each frame once however many
  processes map it, program and libraries included, the kernel's own left out.
- **System calls**: strace of all processes of a board at rest, calls between the first and the last own beat seen by
  the observer, divided by the beats. What the other board's beats cost is included.
- **Processor time**: `/proc/PID/task/*/schedstat` of all processes of a board at rest, windows of 5 s, as a minute. Where
  the bare loop alone takes longer than the goal, the goal is out of reach on that machine, and the two compare.
- **Installed**: for the packages, `Installed-Size` of the package and all it depends on, without essential packages,
  libc and what those need.
- **Limit here**: fork and exec of the same script by a plain program; for processor time a loop of poll, send and
  receive that exchanges datagrams of the same size at the same pace between two boards. Both in the same run.
";

const STRESS_TITLE: &str = "
## Short times beside a heavy load
";
const STRESS_ROWS: [&str; 2] = ["| UDP, ", "| serial line "];
const STRESS: &str = "

    cargo bench --bench table -- --long 300

Two boards, four busy loops and a process that churns 64 MB, all on this machine. The lateness of a beat is how much
more than a keepalive after the one before it left alpha, as seen on the cable. The serial line is a process of the
real-time class between two pseudo-terminals that hands on 11520 bytes a second. To reach: 20/100 ms on UDP, 50/250 ms
on serial, no false death in 5 minutes; shorter ones are searched for in runs of 20 s, and what held is run as long as
the others. Fewer beats than the time has keepalives mean that a board fell silent: a guardian that takes its late engine
for stuck replaces it, and resets the board when the groups cannot be stopped within the rest of so short a dead time. Its
death is counted as false, too.

";

impl Results {
    /// The whole page; of the page `old` only what a day's beats did is kept.
    pub(crate) fn render(&self, old: &str) -> String {
        let mut text = HEAD.to_string();
        let _ = writeln!(
            text,
            "This run: {}; {} runs of each measure, {} s in all.\n",
            self.machine,
            self.runs,
            self.took.as_secs()
        );
        self.table(&mut text);
        let is_kept = |line: &&str| [DAY, FENCE, KICK, MIXED].iter().any(|words| line.starts_with(words));
        let _ = old.lines().filter(is_kept).try_for_each(|line| writeln!(text, "\n{line}"));
        // Sections of another run.
        if let Some(at) = old.find(COMPACT) {
            let end = old[at..].find(METHOD).map_or(old.len(), |len| at + len);
            let _ = writeln!(text, "\n{}", old[at..end].trim_end());
        }
        text.push_str(METHOD);
        self.stress_table(&mut text);
        text
    }

    /// The page `old` with this run's last part.
    pub(crate) fn render_stress_into(&self, old: &str) -> String {
        let (before, part) = old.split_once(STRESS_TITLE).unwrap_or((old, ""));
        let mut text = before.to_string();
        self.stress_table(&mut text);
        // Rows of cases that were not part of this run.
        let is_new = |row: &str| self.stress.iter().any(|case| row.starts_with(&case.key()));
        for row in part.lines().filter(|row| STRESS_ROWS.iter().any(|start| row.starts_with(start)) && !is_new(row)) {
            let _ = writeln!(text, "{row}");
        }
        text
    }

    fn table(&self, text: &mut String) {
        text.push_str("| measure | nullbeat | Heartbeat 3.0.6 | keepalived 2.2.7 | limit here | to reach |\n");
        text.push_str("|---|---|---|---|---|---|\n");
        let limit = &self.limit;
        let per_script = format!("{} ms a script, 2 processes", number(2.0 * limit.median()));
        let rows: [(&str, [String; 3], String, &str); 8] = [
            (
                "dead time expired → first script's `start` (keepalive 200 ms, dead time 1 s, owner's power cut)",
                self.each_time("ms", |times| &times.detect),
                format!("{limit} ms (fork + exec)"),
                "≤ 3 ms",
            ),
            (
                "takeover of 50 no-op scripts, first to last start",
                self.takeover(),
                per_script,
                "≤ 2 ms a script, 2 processes",
            ),
            (
                "exec → last resource started, peer already up",
                self.each_time("ms", |times| &times.start),
                String::new(),
                "≤ 300 ms",
            ),
            (
                "clean stop: last stop script → all processes gone",
                self.each_time("ms", |times| &times.stop),
                String::new(),
                "≤ 20 ms",
            ),
            (
                "memory of all processes, distinct page frames",
                self.each_cost("MB", |costs| &costs.memory),
                String::new(),
                "≤ 2.5 MB, not growing",
            ),
            ("system calls per own beat, 1 link; per further link", self.calls(), String::new(), "≤ 8; +4"),
            (
                "processor time per minute at keepalive 200 ms, 1 link",
                self.each_cost("ms", |costs| &costs.cpu),
                format!("{} ms (bare loop)", self.bare),
                "≤ 15 ms",
            ),
            (
                "installed: program, and what it needs beyond libc",
                self.sizes(),
                String::new(),
                "one static file ≤ 2 MB",
            ),
        ];
        for (measure, [nullbeat, heartbeat, keepalived], limit, goal) in rows {
            let _ = writeln!(text, "| {measure} | {nullbeat} | {heartbeat} | {keepalived} | {limit} | {goal} |");
        }
        if let Some((early, late, time)) = self.memory_later {
            let _ = writeln!(
                text,
                "\nMemory of a nullbeat board that had been left beating: {:.0} page frames at first, {:.0} after {} s.",
                early / 4096.0,
                late / 4096.0,
                time.as_secs()
            );
        }
    }

    fn each_time(&self, unit: &str, pick: impl Fn(&Times) -> &Sample) -> [String; 3] {
        self.columns(&self.times, |contender, times| {
            let value = format!("{} {unit}", pick(times));
            match contender {
                Contender::Keepalived(advert) => format!("{value} (advert {advert} ms)"),
                _ => value,
            }
        })
    }

    fn each_cost(&self, unit: &str, pick: impl Fn(&Costs) -> &Sample) -> [String; 3] {
        self.columns(&self.costs, |_, costs| format!("{} {unit}", pick(costs)))
    }

    fn takeover(&self) -> [String; 3] {
        self.columns(&self.times, |_, times| match times.per_script.count() {
            0 => "–".into(),
            _ => format!("{} ms a script, {} processes", times.per_script, number(times.processes.median())),
        })
    }

    fn calls(&self) -> [String; 3] {
        self.columns(&self.costs, |_, costs| match costs.calls_on_two.count() {
            0 => costs.calls.to_string(),
            _ => format!("{}; +{}", costs.calls, number(costs.calls_on_two.median() - costs.calls.median())),
        })
    }

    fn sizes(&self) -> [String; 3] {
        let package = |index: usize| {
            self.packages
                .get(index)
                .map_or_else(String::new, |(bytes, count)| format!("{:.0} MB in {count} packages", *bytes as f64 / 1e6))
        };
        [format!("{:.2} MB, one static file", self.binary as f64 / 1e6), package(0), package(1)]
    }

    /// One cell for each program; keepalived's intervals share theirs.
    fn columns<T>(&self, found: &[(Contender, T)], cell: impl Fn(Contender, &T) -> String) -> [String; 3] {
        let mut columns = [const { String::new() }; 3];
        for (contender, value) in found {
            let column = match contender {
                Contender::Nullbeat => &mut columns[0],
                Contender::Heartbeat => &mut columns[1],
                Contender::Keepalived(_) => &mut columns[2],
            };
            let text = cell(*contender, value);
            if column.is_empty() {
                *column = text;
            } else if text != "–" && !text.starts_with("– ") {
                let _ = write!(column, "; {text}");
            }
        }
        columns
    }

    fn stress_table(&self, text: &mut String) {
        text.push_str(STRESS_TITLE);
        text.push_str(STRESS);
        if self.stress.is_empty() {
            text.push_str("Not part of this run.\n");
            return;
        }
        let _ = writeln!(text, "The last of these runs: {}.\n", self.machine);
        text.push_str(&Case::head());
        for case in &self.stress {
            case.describe(text);
        }
    }
}
