//! `history`: what has happened, read from the files without asking anybody.

use std::fmt::Write as _;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::arguments::{Arguments, Flag, PLACES};
use crate::cli::table::{Cell, Tone, is_colourful, spoken_ms, table};
use crate::cli::{exit, json};
use crate::daemon::history::slot::Record;
use crate::daemon::history::{Files, Ring};
use crate::daemon::report::{Line, Report, VERSION};
use crate::guardian::lease;
use crate::sys::time::local_time;

/// What `nullbeat history` prints.
pub(super) fn show(args: &[String]) -> Result<String, u8> {
    let misused = |misuse: super::Misuse| misuse.report("history");
    // Nobody is asked, and nothing waited for; older scripts may still say how long.
    let flags = [&PLACES[..], &[Flag::Switch("--json"), Flag::Value("--timeout")]].concat();
    let args = Arguments::parse(args, &flags).map_err(misused)?;
    args.at_most(0).map_err(misused)?;
    args.seconds("--timeout").map_err(misused)?;
    let files = Files::new(&args.paths());
    let ring = Ring::read(&files).map_err(|error| complain(&files, &error))?;
    let text = report(&ring, &Now::read());
    let report = Report::parse(&text).map_err(|bad| {
        eprintln!("nullbeat history: {bad}");
        exit::FAILURE
    })?;
    Ok(if args.has("--json") { json::object(&report, &["events"]) } else { render(&report, is_colourful()) })
}

fn complain(files: &Files, error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => {
            eprintln!("nullbeat history: {files} were never written: no daemon has run here");
            exit::NOT_RUNNING
        }
        io::ErrorKind::PermissionDenied => {
            eprintln!("nullbeat history: {files} are not yours to read");
            exit::NOT_PERMITTED
        }
        _ => {
            eprintln!("nullbeat history: {files}: {error}");
            exit::FAILURE
        }
    }
}

/// The clocks of the reader.
struct Now {
    boot: Option<u32>,
    monotonic_us: u64,
    wall: u64,
}

impl Now {
    fn read() -> Self {
        Self {
            boot: lease::boot_id().ok().map(Record::boot_of),
            monotonic_us: lease::now() / 1000,
            wall: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }
}

/// Lines as the daemon's reports have them.
fn report(ring: &Ring, now: &Now) -> String {
    let mut out = format!("report\tversion={VERSION}\n");
    for record in &ring.records {
        let is_ours = record.origin.is_none();
        let is_now = Some(record.boot) == now.boot;
        let age_ms = if is_now && is_ours {
            Some(now.monotonic_us.saturating_sub(record.monotonic_us) / 1000)
        } else {
            now.wall.checked_sub(record.wall.into()).map(|seconds| seconds * 1000)
        };
        let _ = write!(out, "event\tnumber={}\twall={}", record.number, record.wall);
        if let Some(age_ms) = age_ms {
            let _ = write!(out, "\tage_ms={age_ms}");
        }
        let boot = if is_now { "this" } else { "earlier" };
        let _ = writeln!(out, "\tmonotonic_ms={}\tboot={boot}\t{}", record.monotonic_us / 1000, record.text);
    }
    out
}

fn render(report: &Report<'_>, is_colourful: bool) -> String {
    let rows: Vec<Vec<Cell>> = report
        .lines("event")
        .map(|event| {
            vec![
                clock(event.number("wall").unwrap_or(0)).into(),
                event.text("node").unwrap_or("here").into(),
                event.or_dash("event").into(),
                event.text("subject").unwrap_or_default().into(),
                change(event),
                event.text("cause").unwrap_or_default().into(),
                inputs(event).into(),
            ]
        })
        .collect();
    table(&["TIME", "BOARD", "EVENT", "OF", "WHAT", "CAUSE", "KNOWN THEN"], &rows, is_colourful)
}

/// `stopped -> starting`, `dead`, `done after 12 ms`.
fn change(event: &Line<'_>) -> Cell {
    let mut text = event.text("from").map_or_else(String::new, |from| format!("{from} -> "));
    text.push_str(event.text("to").unwrap_or_default());
    if let Some(ms) = event.number("ms") {
        let link = if text.is_empty() { "by" } else { " after" };
        let _ = write!(text, "{link} {}", spoken_ms(ms));
    }
    let is_bad = event.text("to").is_some_and(|to| super::status_tone(to) == Tone::Bad);
    Cell::toned(text, if is_bad { Tone::Bad } else { Tone::Plain })
}

/// What a decision rests on.
fn inputs(event: &Line<'_>) -> String {
    let heard = event.number("heard_ms").map(|ms| format!("partner heard {} before", spoken_ms(ms)));
    let links = event.text("links").map(str::to_owned);
    let pings = event.text("pings").map(|pings| format!("ping nodes: {pings}"));
    let generation = event.text("generation").map(|generation| format!("generation {generation}"));
    let lines = event.text("lines").map(|lines| format!("lines: {lines}"));
    let gate = event.text("gate").map(|gate| format!("interlock {gate}"));
    let all: Vec<String> = [heard, links, lines, gate, pings, generation].into_iter().flatten().collect();
    all.join(", ")
}

fn clock(wall: u64) -> String {
    local_time(wall).map_or_else(String::new, |time| {
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            time.year, time.month, time.day, time.hour, time.minute, time.second
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Generation;
    use crate::daemon::history::Origin;
    use crate::daemon::report::{Kind, SCHEMA};

    fn record(number: u64, boot: u32, origin: Option<Origin>, text: &str) -> Record {
        Record { number, boot, monotonic_us: 5_000_000, wall: 1_709_208_000, origin, text: text.to_owned() }
    }

    fn ring() -> Ring {
        let told = Some(Origin { generation: Generation(7), number: 1 });
        let starting = "event=group\tsubject=b\tfrom=stopped\tto=starting\tcause=death\theard_ms=1002\tlinks=ttyS0:up eth0:dead\tlines=peer-owner:active!\tgate=down\tpings=2 here";
        let records = vec![
            record(1, 1, None, "event=daemon\tto=started\tgeneration=7"),
            record(2, 2, told, "node=rsb\tevent=late\tms=70"),
            record(3, 2, None, starting),
            record(4, 2, None, "event=start\tsubject=b\tto=done\tms=12"),
        ];
        Ring { records }
    }

    const NOW: Now = Now { boot: Some(2), monotonic_us: 8_000_000, wall: 1_709_208_060 };

    #[test]
    fn history_tells_time_event_cause_and_what_was_known() {
        let text = report(&ring(), &NOW);
        let text = render(&Report::parse(&text).unwrap(), false);
        let lines: Vec<&str> = text.lines().map(|line| line.get(21..).unwrap_or(line)).collect();
        assert_eq!(
            lines,
            [
                "BOARD  EVENT   OF  WHAT                 CAUSE  KNOWN THEN",
                "here   daemon      started                     generation 7",
                "rsb    late        by 70 ms",
                "here   group   b   stopped -> starting  death  partner heard 1.0 s before, ttyS0:up eth0:dead, lines: peer-owner:active!, interlock down, ping nodes: 2 here",
                "here   start   b   done after 12 ms"
            ]
        );
    }

    #[test]
    fn ages_are_by_the_clock_that_both_have() {
        let text = report(&ring(), &NOW);
        let report = Report::parse(&text).unwrap();
        let ages: Vec<_> = report.lines("event").map(|event| (event.number("age_ms"), event.or_dash("boot"))).collect();
        let expected = [(Some(60_000), "earlier"), (Some(60_000), "this"), (Some(3000), "this"), (Some(3000), "this")];
        assert_eq!(ages, expected);
    }

    #[test]
    fn every_field_stands_in_the_schema() {
        let text = report(&ring(), &NOW);
        let events = SCHEMA.iter().find(|section| section.kind == "event").unwrap();
        for part in text.lines().skip(1).flat_map(|line| line.split('\t').skip(1)) {
            let (name, value) = part.split_once('=').unwrap();
            let (_, kind) = events.fields.iter().find(|(field, _)| *field == name).unwrap_or_else(|| panic!("{name}"));
            assert!(*kind != Kind::Number || value.parse::<u64>().is_ok(), "{part}");
        }
    }
}
