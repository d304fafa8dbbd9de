//! `nullbeat fence`: how the partner is fenced and how it went, and a person's word that it is off.

use std::fmt::Write as _;

use crate::daemon::report::{Line, Report};

use super::arguments::{Arguments, Flag, Misuse, PLACES};
use super::table::{Cell, Tone, is_colourful, spoken_ms, table};
use super::{ask, exit, json, orders, print_out};

/// Help text of `fence`.
pub(super) const HELP: &str = "\
nullbeat fence [--json] [--run-dir DIR] [--timeout SECONDS]
nullbeat fence --confirm NODE [--run-dir DIR] [--timeout SECONDS]

Tells by which `fence` lines the partner is fenced, in their order, whether each device answers, what came of its last
shot, and whether one is pending.

  --confirm NODE      your word that NODE, the silent partner, is off: as good as a device's. Look first: while it runs,
                      both boards would own the groups. It ends a shot that is pending, and what waits for it is taken
                      over at once
  --json              for programs; docs/status.md explains each field
  --timeout SECONDS   how long to wait for the daemon's answer (10)

exit codes: 0 done; 1 there is no such partner; 75 refused: the partner is alive

docs/fencing.md tells how to choose.
";

/// `nullbeat fence`.
pub(super) fn main(args: &[String]) -> u8 {
    match run(args) {
        Ok(code) | Err(code) => code,
    }
}

fn run(args: &[String]) -> Result<u8, u8> {
    let misused = |misuse: Misuse| misuse.report("fence");
    let own = [Flag::Value("--confirm"), Flag::Switch("--json"), Flag::Value("--timeout")];
    let args = Arguments::parse(args, &[&PLACES[..], &own].concat()).map_err(misused)?;
    args.at_most(0).map_err(misused)?;
    let limit = args.seconds("--timeout").map_err(misused)?.unwrap_or(ask::QUESTION_LIMIT);
    let run_dir = args.paths().run;
    let text = ask::question("fence", &run_dir, "status", limit)?;
    let report = Report::parse(&text).map_err(|bad| {
        eprintln!("nullbeat fence: {bad}");
        exit::FAILURE
    })?;
    let Some(node) = args.value("--confirm") else {
        let is_json = args.has("--json");
        return Ok(print_out(&if is_json {
            json::object(&report, &["fencing", "fences", "alarms"])
        } else {
            render(&report, is_colourful())
        }));
    };
    check_partner(&report, node)?;
    Ok(orders::give("fence", &run_dir, "confirm-fence", limit))
}

/// A slip of the fingers must not vouch for the wrong board.
fn check_partner(report: &Report<'_>, node: &str) -> Result<(), u8> {
    let partner = report.lines("peer").find(|peer| peer.is_set("is_partner"));
    match partner.and_then(|peer| peer.text("name")) {
        Some(name) if name.eq_ignore_ascii_case(node) => Ok(()),
        Some(name) => {
            eprintln!("nullbeat fence: `{node}` is not the partner; that is `{name}`");
            Err(exit::FAILURE)
        }
        None => {
            eprintln!("nullbeat fence: this node has no partner");
            Err(exit::FAILURE)
        }
    }
}

fn render(report: &Report<'_>, is_colourful: bool) -> String {
    let mut text = match report.first("fence") {
        None => "no fence: nothing is known to be off (docs/fencing.md)\n".to_owned(),
        Some(_) => fences(report, is_colourful),
    };
    text += &pending(report);
    for alarm in report.lines("alarm").filter(|alarm| alarm.text("name").is_some_and(|name| name.starts_with("fence")))
    {
        let subject = alarm.text("subject").map_or_else(String::new, |subject| format!("{subject}: "));
        let _ = writeln!(text, "{subject}{}", alarm.or_dash("text"));
    }
    text
}

/// What is under way, in words; nothing when nothing is.
pub(super) fn pending(report: &Report<'_>) -> String {
    let Some(fencing) = report.first("fencing").filter(|fencing| fencing.text("since_ms").is_some()) else {
        return String::new();
    };
    let time = |name: &str| fencing.number(name).map_or_else(|| "-".to_owned(), spoken_ms);
    let name = |line: &&Line<'_>| line.text("place").is_some() && line.text("place") == fencing.text("method");
    let method = report.lines("fence").find(name).map_or("-", |line| line.or_dash("name"));
    let stage = match fencing.or_dash("stage") {
        "waiting" => format!("next {method} in {}", time("next_ms")),
        "leasing" => format!("{method} proves it in {}", time("next_ms")),
        "shooting" => format!("{method} is at work"),
        other => other.to_owned(),
    };
    let person = if fencing.is_set("needs_person") { "; a person is needed" } else { "" };
    format!("pending for {}, tries: {}; {stage}{person}\n", time("since_ms"), fencing.or_dash("tries"))
}

/// The fence lines as a table; also for `status`.
pub(super) fn fences(report: &Report<'_>, is_colourful: bool) -> String {
    let rows: Vec<Vec<Cell>> = report.lines("fence").map(row).collect();
    table(&["FENCE", "KIND", "LIMIT", "DEVICE", "ASKED", "LAST SHOT", "AGE", "TOOK"], &rows, is_colourful)
}

fn row(line: &Line<'_>) -> Vec<Cell> {
    let time = |name: &str| line.number(name).map_or_else(|| "-".to_owned(), spoken_ms);
    let device = match line.text("is_answering") {
        Some("1") => Cell::toned("answers", Tone::Good),
        Some(_) => Cell::toned("silent", Tone::Bad),
        None => "-".into(),
    };
    let last = line.text("last").unwrap_or("never");
    let tone = match last {
        "confirmed" => Tone::Good,
        "failed" | "lied" => Tone::Bad,
        "begun" => Tone::Doubtful,
        _ => Tone::Plain,
    };
    let last = if last == "begun" { "pending" } else { last };
    vec![
        line.or_dash("name").into(),
        line.or_dash("kind").into(),
        time("limit_ms").into(),
        device,
        time("checked_ms").into(),
        Cell::toned(last, tone),
        time("last_ms").into(),
        time("took_ms").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "report\tversion=1\n\
        peer\tname=rsb\tstatus=dead\tis_partner=1\n\
        alarm\tname=fence_device\tsubject=external/ipmi\ttext=this fence device did not answer when it was asked\n\
        alarm\tname=last_link\ttext=x\n\
        fencing\tstage=shooting\tmethod=1\tsince_ms=3400\ttries=2\tneeds_person=1\tin_hour=1\n\
        fence\tplace=0\tname=gpio reset\tkind=gpio\tlimit_ms=2500\tis_answering=1\tchecked_ms=100\tlast=failed\tlast_ms=3000\ttook_ms=2500\n\
        fence\tplace=1\tname=external/ipmi\tkind=plugin\tlimit_ms=30000\tis_answering=0\tchecked_ms=100\tlast=begun\tlast_ms=400\n\
        fence\tplace=2\tname=meatware\tkind=person\n";

    #[test]
    fn lines_are_a_table_with_what_is_wrong_below() {
        let text = render(&Report::parse(REPORT).unwrap(), false);
        let expected = "\
FENCE          KIND    LIMIT   DEVICE   ASKED   LAST SHOT  AGE     TOOK
gpio reset     gpio    2.5 s   answers  100 ms  failed     3.0 s   2.5 s
external/ipmi  plugin  30.0 s  silent   100 ms  pending    400 ms  -
meatware       person  -       -        -       never      -       -
pending for 3.4 s, tries: 2; external/ipmi is at work; a person is needed
external/ipmi: this fence device did not answer when it was asked
";
        assert_eq!(text, expected);
        assert!(render(&Report::parse("report\tversion=1\n").unwrap(), false).starts_with("no fence"));
    }

    #[test]
    fn word_for_another_node_than_the_partner_is_refused() {
        let report = Report::parse(REPORT).unwrap();
        assert_eq!(check_partner(&report, "RSB"), Ok(()));
        assert_eq!(check_partner(&report, "rsa"), Err(exit::FAILURE));
        assert_eq!(check_partner(&Report::parse("report\tversion=1\n").unwrap(), "rsb"), Err(exit::FAILURE));
    }
}
