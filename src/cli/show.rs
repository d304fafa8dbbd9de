//! `status`, `links` and `history`: what a running node tells, as tables for people or as JSON.

mod past;

use std::fmt::Write as _;

use crate::daemon::report::{Line, Report};

use super::arguments::{Arguments, Flag, Misuse, PLACES};
use super::table::{Cell, Tone, is_colourful, paint, spoken_ms, spoken_us, table};
use super::{ask, exit, fence, json, print_out};

/// Help text of `status`.
pub(super) const STATUS_HELP: &str = "\
nullbeat status [--json] [--run-dir DIR] [--timeout SECONDS]

Tells what this node knows and does: its own state and its partner's, the resource groups with their state on both
nodes, the links in both directions, standing alarms, and how long the phases of the last move took.

  --json              for programs; docs/status.md explains each field
  --timeout SECONDS   how long to wait for the daemon's answer (10)

Needs the permission to connect to the control socket: root, the daemon's user, or the group of the socket's file.
";

/// Help text of `links`.
pub(super) const LINKS_HELP: &str = "\
nullbeat links [--json] [--run-dir DIR] [--timeout SECONDS]

Tells about each link: whether it works, when the peer was last heard on it, when the peer last heard us on it, and what
was counted: messages, second copies, deaths of the link, what could not be sent, bad packets by reason.

  --json              for programs; docs/status.md explains each field
  --timeout SECONDS   how long to wait for the daemon's answer (10)
";

/// Help text of `history`.
pub(super) const HISTORY_HELP: &str = "\
nullbeat history [--json] [--run-dir DIR] [--state-dir DIR]

Tells the last 256 events, oldest first: time of day, what happened, why, and what was known at that moment; also what
the partner's board saw, as far as it told. They outlive restarts, crashes and power cuts. Needs no running daemon.

  --json              for programs; docs/status.md explains each field

Needs the permission to read the file: root, the daemon's user, or the group haclient.
";

/// A verb that asks the daemon.
struct View {
    verb: &'static str,
    /// Sections in JSON.
    sections: &'static [&'static str],
    render: fn(&Report<'_>, bool) -> String,
}

/// `nullbeat status`.
pub(super) fn status(args: &[String]) -> u8 {
    const SECTIONS: &[&str] = &[
        "node",
        "settings",
        "groups",
        "peers",
        "ping_nodes",
        "upstream",
        "checks",
        "health",
        "membership",
        "members",
        "client_socket",
        "clients",
        "links",
        "media",
        "rejects",
        "cables",
        "watchdogs",
        "alarms",
        "fencing",
        "fences",
        "lines",
        "last_move",
        "last_move_scripts",
        "counters",
    ];
    View { verb: "status", sections: SECTIONS, render: render_status }.main(args)
}

/// `nullbeat links`.
pub(super) fn links(args: &[String]) -> u8 {
    const SECTIONS: &[&str] = &["node", "ping_nodes", "links", "media", "rejects", "cables"];
    View { verb: "links", sections: SECTIONS, render: render_links }.main(args)
}

/// `nullbeat history`.
pub(super) fn history(args: &[String]) -> u8 {
    match past::show(args) {
        Ok(text) => print_out(&text),
        Err(code) => code,
    }
}

impl View {
    fn main(&self, args: &[String]) -> u8 {
        match self.show(args) {
            Ok(text) => print_out(&text),
            Err(code) => code,
        }
    }

    fn show(&self, args: &[String]) -> Result<String, u8> {
        let misused = |misuse: Misuse| misuse.report(self.verb);
        let flags = [&PLACES[..], &[Flag::Switch("--json"), Flag::Value("--timeout")]].concat();
        let args = Arguments::parse(args, &flags).map_err(misused)?;
        args.at_most(0).map_err(misused)?;
        let limit = args.seconds("--timeout").map_err(misused)?.unwrap_or(ask::QUESTION_LIMIT);
        let text = ask::question(self.verb, &args.paths().run, "status", limit)?;
        let report = Report::parse(&text).map_err(|bad| {
            eprintln!("nullbeat {}: {bad}", self.verb);
            exit::FAILURE
        })?;
        Ok(if args.has("--json") {
            json::object(&report, self.sections)
        } else {
            let mut text = (self.render)(&report, is_colourful());
            if report.is_truncated {
                text.push_str("(the daemon had more to tell than fits)\n");
            }
            text
        })
    }
}

fn ago(line: &Line<'_>, name: &str) -> String {
    line.number(name).map_or_else(|| "never".to_owned(), spoken_ms)
}

fn status_tone(word: &str) -> Tone {
    match word {
        "active" | "running" | "up" | "ping" | "healthy" => Tone::Good,
        "dead" | "failed" | "start failed" | "stop failed" => Tone::Bad,
        "stopped" => Tone::Plain,
        _ => Tone::Doubtful,
    }
}

fn render_status(report: &Report<'_>, is_colourful: bool) -> String {
    let mut out = String::new();
    if let Some(node) = report.first("node") {
        nodes(report, node, is_colourful, &mut out);
    }
    for alarm in report.lines("alarm") {
        let subject = alarm.text("subject").map_or_else(String::new, |subject| format!("{subject}: "));
        let _ = writeln!(out, "{} {subject}{}", paint("ALARM", Tone::Bad, is_colourful), alarm.or_dash("text"));
    }
    if report.first("group").is_some() {
        out.push('\n');
        out.push_str(&groups(report, is_colourful));
    }
    if report.first("link").is_some() {
        out.push('\n');
        out.push_str(&link_states(report, is_colourful));
    }
    for cable in report.lines("cable").filter(|cable| cable.text("verdict") != Some("ok")) {
        out.push_str(&cable_verdict(cable, is_colourful));
    }
    if report.first("ping").is_some() {
        out.push('\n');
        out.push_str(&ping_nodes(report, is_colourful));
    }
    if report.first("check").is_some() {
        out.push('\n');
        out.push_str(&checks(report, is_colourful));
    }
    membership(report, &mut out);
    clients(report, &mut out);
    if report.first("watchdog").is_some() {
        out.push('\n');
        out.push_str(&watchdogs(report, is_colourful));
    }
    if report.first("fence").is_some() {
        out.push('\n');
        out.push_str(&fence::fences(report, is_colourful));
        out.push_str(&fence::pending(report));
    }
    if report.first("line").is_some() {
        out.push('\n');
        out.push_str(&gpio_lines(report, is_colourful));
    }
    if let Some(last) = report.first("move") {
        out.push('\n');
        last_move(report, last, &mut out);
    }
    out
}

/// What each GPIO line reads or is set to.
fn gpio_lines(report: &Report<'_>, is_colourful: bool) -> String {
    let row = |line: &Line<'_>| {
        let level = match line.text("level").unwrap_or("-") {
            "unknown" => Cell::toned("unknown", Tone::Bad),
            level if line.text("is_believed") == Some("0") => Cell::toned(format!("{level}, not believed"), Tone::Bad),
            level => level.into(),
        };
        vec![line.or_dash("name").into(), line.or_dash("direction").into(), line.or_dash("line").into(), level]
    };
    let rows: Vec<Vec<Cell>> = report.lines("line").map(row).collect();
    table(&["LINE", "DIRECTION", "AT", "LEVEL"], &rows, is_colourful)
}

fn nodes(report: &Report<'_>, node: &Line<'_>, is_colourful: bool, out: &mut String) {
    let coloured = |word: &str| paint(word, status_tone(word), is_colourful);
    let _ = writeln!(
        out,
        "{}: {}, {}, holds {}; generation {}, up {}",
        node.or_dash("name"),
        coloured(node.or_dash("status")),
        node.or_dash("phase"),
        node.or_dash("holds"),
        node.or_dash("generation"),
        ago(node, "uptime_ms"),
    );
    for peer in report.lines("peer") {
        let role = if peer.is_set("is_partner") { "partner " } else { "" };
        let _ = write!(out, "{role}{}: {}", peer.or_dash("name"), coloured(peer.or_dash("status")));
        if let Some(program) = peer.text("program") {
            let _ = write!(out, ", {program}, heard {} ago", ago(peer, "heard_ms"));
        }
        if let Some(holds) = peer.text("holds").filter(|_| peer.text("program").is_some()) {
            let _ = write!(out, ", says it holds {holds}");
        }
        if peer.text("hears_us") == Some("0") {
            out.push_str(", does not hear us");
        }
        out.push('\n');
    }
}

fn groups(report: &Report<'_>, is_colourful: bool) -> String {
    let rows: Vec<Vec<Cell>> = report
        .lines("group")
        .map(|group| {
            let state = |name| {
                let word = group.or_dash(name);
                Cell::toned(word, if word == "-" { Tone::Plain } else { status_tone(word) })
            };
            let retry =
                group.number("retry_in_ms").map_or_else(String::new, |ms| format!("again in {}", spoken_ms(ms)));
            vec![
                group.or_dash("key").into(),
                group.or_dash("preferred").into(),
                state("state"),
                ago(group, "since_ms").into(),
                group.or_dash("cause").into(),
                state("partner_state"),
                retry.into(),
            ]
        })
        .collect();
    table(&["GROUP", "PREFERRED", "HERE", "FOR", "CAUSE", "PARTNER", ""], &rows, is_colourful)
}

fn link_states(report: &Report<'_>, is_colourful: bool) -> String {
    let mut rows: Vec<Vec<Cell>> = report.lines("link").map(link_state).collect();
    let mut head = vec!["LINK", "PEER", "STATE", "HEARD", "HEARS US"];
    if report.first("cable").is_some() {
        head.push("CABLE");
        for (link, row) in report.lines("link").zip(&mut rows) {
            let is_its = |cable: &&Line<'_>| cable.text("name") == link.text("name");
            let verdict = report.lines("cable").find(is_its).and_then(|cable| cable.text("verdict"));
            row.push(verdict.map_or_else(|| "-".into(), |word| Cell::toned(word, cable_tone(word))));
        }
    }
    table(&head, &rows, is_colourful)
}

/// Of a verdict about a serial cable.
fn cable_tone(verdict: &str) -> Tone {
    if verdict == "ok" { Tone::Good } else { Tone::Bad }
}

fn link_state(link: &Line<'_>) -> Vec<Cell> {
    let word = if link.is_set("is_up") { "up" } else { "dead" };
    let heard_by_peer = link.number("peer_heard_ms").map_or_else(|| "-".to_owned(), spoken_ms);
    vec![
        link.or_dash("name").into(),
        link.or_dash("peer").into(),
        Cell::toned(word, status_tone(word)),
        ago(link, "heard_ms").into(),
        heard_by_peer.into(),
    ]
}

fn ping_nodes(report: &Report<'_>, is_colourful: bool) -> String {
    let rows: Vec<Vec<Cell>> = report
        .lines("ping")
        .map(|ping| {
            let word = ping.or_dash("status");
            let mut cells = vec![ping.or_dash("name").into(), Cell::toned(word, status_tone(word))];
            cells.push(ago(ping, "heard_ms").into());
            cells.extend(["answers", "deaths"].map(|name| ping.or_dash(name).into()));
            cells
        })
        .collect();
    let mut text = table(&["PING NODE", "STATE", "HEARD", "ANSWERS", "DEATHS"], &rows, is_colourful);
    if let Some(upstream) = report.first("upstream").filter(|upstream| upstream.is_set("is_compared")) {
        let (here, partner) = (upstream.or_dash("here"), upstream.or_dash("partner"));
        let _ = writeln!(text, "answering: {here} here, {partner} at the partner");
    }
    text
}

fn checks(report: &Report<'_>, is_colourful: bool) -> String {
    let rows: Vec<Vec<Cell>> = report
        .lines("check")
        .map(|check| {
            let word = check.or_dash("health");
            let restarts = match (check.number("restarts"), check.number("restarts_max")) {
                (Some(restarts), Some(most)) => format!("{restarts} of {most}"),
                _ => "-".to_owned(),
            };
            vec![
                check.or_dash("name").into(),
                check.text("group").unwrap_or("(this node)").into(),
                Cell::toned(word, status_tone(word)),
                restarts.into(),
            ]
        })
        .collect();
    table(&["CHECK", "OF", "HEALTH", "RESTARTS"], &rows, is_colourful)
}

/// The built-in membership service, in a line.
fn membership(report: &Report<'_>, out: &mut String) {
    let Some(membership) = report.first("membership") else { return };
    let members: Vec<String> = report
        .lines("member")
        .map(|member| format!("{} (since {})", member.or_dash("name"), member.or_dash("born_on")))
        .collect();
    match membership.number("instance") {
        Some(instance) => {
            let quorum = if membership.is_set("has_quorum") { "quorum" } else { "no quorum" };
            let _ = writeln!(out, "\nmembership {instance}, {quorum}: {}", members.join(", "));
        }
        None => {
            let _ = writeln!(out, "\nmembership: none in force ({})", membership.or_dash("state"));
        }
    }
}

/// Heartbeat's clients, in a line, and what befell others.
fn clients(report: &Report<'_>, out: &mut String) {
    let Some(socket) = report.first("client_socket").filter(|socket| socket.number("accepted") != Some(0)) else {
        return;
    };
    let count = |names: &[&str]| names.iter().filter_map(|name| socket.number(name)).sum::<u64>();
    let names: Vec<&str> = report.lines("client").map(|client| client.or_dash("name")).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let _ = writeln!(
        out,
        "\nclients: {names}; {} refused, {} dropped, longest queue {}",
        count(&["refused", "crowded"]),
        count(&["garbage", "unread"]),
        count(&["queue_max"]),
    );
}

fn watchdogs(report: &Report<'_>, is_colourful: bool) -> String {
    let rows: Vec<Vec<Cell>> = report
        .lines("watchdog")
        .map(|watchdog| {
            let state = match watchdog.text("withheld") {
                None => Cell::toned("kicked", Tone::Good),
                Some(why) => Cell::toned(format!("no kicks: {why}"), Tone::Bad),
            };
            vec![
                watchdog.or_dash("device").into(),
                watchdog.or_dash("identity").into(),
                state,
                ago(watchdog, "kicked_ms").into(),
                watchdog.number("timeout_ms").map_or_else(String::new, spoken_ms).into(),
                watchdog.or_dash("reset_cause").into(),
            ]
        })
        .collect();
    table(&["WATCHDOG", "NAME", "STATE", "KICKED", "RESETS AFTER", "LAST RESET"], &rows, is_colourful)
}

fn last_move(report: &Report<'_>, last: &Line<'_>, out: &mut String) {
    let _ = write!(out, "last move to this node: {}, {} ago", last.or_dash("cause"), ago(last, "age_ms"));
    let phases = [("detect_us", "detected in"), ("decide_us", "decided in"), ("total_us", "altogether")];
    for (name, words) in phases {
        // A decision that took no time is not worth a word.
        if let Some(us) = last.number(name).filter(|us| *us > 0) {
            let _ = write!(out, ", {words} {}", spoken_us(us));
        }
    }
    match (last.number("running").unwrap_or(0), last.number("failed").unwrap_or(0)) {
        (0, 0) => {}
        (0, failed) => {
            let _ = write!(out, ", {failed} groups failed");
        }
        (running, _) => {
            let _ = write!(out, ", {running} groups still starting");
        }
    }
    out.push('\n');
    for script in report.lines("script") {
        let us = script.number("us").map_or_else(String::new, spoken_us);
        let _ = writeln!(out, "  {us:>8}  {} ({})", script.or_dash("resource"), script.or_dash("group"));
    }
    if let Some(more) = last.number("more_scripts").filter(|more| *more > 0) {
        let _ = writeln!(out, "  and {more} more");
    }
}

fn render_links(report: &Report<'_>, is_colourful: bool) -> String {
    let rows: Vec<Vec<Cell>> = report
        .lines("link")
        .map(|link| {
            let mut cells = link_state(link);
            cells.extend(["received", "duplicates", "deaths", "format"].map(|name| link.or_dash(name).into()));
            cells.push(link.number("keepalive_ms").map_or_else(|| "-".to_owned(), spoken_ms).into());
            cells
        })
        .collect();
    let head = ["LINK", "PEER", "STATE", "HEARD", "HEARS US", "RECEIVED", "COPIES", "DEATHS", "FORMAT", "BEATS EVERY"];
    let mut out = table(&head, &rows, is_colourful);
    if report.first("ping").is_some() {
        out.push('\n');
        out.push_str(&ping_nodes(report, is_colourful));
    }
    let rows: Vec<Vec<Cell>> = report
        .lines("medium")
        .map(|medium| {
            let word = if medium.is_set("is_open") { "open" } else { "closed" };
            let tone = if word == "open" { Tone::Good } else { Tone::Bad };
            let mut cells = vec![medium.or_dash("name").into(), Cell::toned(word, tone)];
            cells.extend(["sent", "unsent", "losses", "received"].map(|name| medium.or_dash(name).into()));
            cells.push(rejects(report, medium.or_dash("name")).into());
            cells
        })
        .collect();
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(
            &["DEVICE", "STATE", "SENT", "UNSENT", "LOSSES", "RECEIVED", "REJECTED"],
            &rows,
            is_colourful,
        ));
    }
    if report.first("cable").is_some() {
        out.push('\n');
    }
    for cable in report.lines("cable") {
        out.push_str(&cable_verdict(cable, is_colourful));
        let _ = writeln!(out, "  {}", cable.or_dash("grounds"));
    }
    out
}

fn cable_verdict(cable: &Line<'_>, is_colourful: bool) -> String {
    let verdict = cable.or_dash("verdict");
    let verdict = paint(verdict, cable_tone(verdict), is_colourful);
    format!("cable at {}: {verdict}: {}\n", cable.or_dash("name"), cable.or_dash("advice"))
}

fn rejects(report: &Report<'_>, link: &str) -> String {
    let all: Vec<String> = report
        .lines("reject")
        .filter(|reject| reject.text("link") == Some(link))
        .map(|reject| format!("{} {}", reject.or_dash("count"), reject.or_dash("reason")))
        .collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "report\tversion=1\n\
        node\tname=rsa\tstatus=active\tphase=stable\tholds=local\tgeneration=77\tuptime_ms=7300000\n\
        group\tkey=10.0.0.1\tpreferred=rsa\tstate=running\tsince_ms=3000\tcause=death\tis_claimed=1\tpartner_state=stopped\n\
        group\tkey=b\tpreferred=rsb\tstate=start failed\tsince_ms=90\tcause=operator\tis_claimed=1\tretry_in_ms=4000\n\
        peer\tname=rsb\tstatus=dead\tis_partner=1\tprogram=nullbeat\theard_ms=65000\tholds=foreign\thears_us=0\n\
        peer\tname=rsc\tstatus=init\tis_partner=0\tdeadtime_ms=1000\n\
        link\tname=/dev/ttyS0\tpeer=rsb\tis_up=1\theard_ms=12\tpeer_heard_ms=15\treceived=100\tduplicates=50\tdeaths=1\tkeepalive_ms=25\tformat=compact\n\
        link\tname=eth0\tpeer=rsb\tis_up=0\treceived=0\tduplicates=0\tdeaths=0\n\
        medium\tname=eth0\tis_open=1\tsent=5\tunsent=2\tlosses=1\treceived=9\n\
        reject\tlink=eth0\treason=bad digest\tcount=3\n\
        alarm\tname=last_link\ttext=only one link to the partner is left\n\
        alarm\tname=start_failed\tsubject=b\ttext=this group could not be started\n\
        move\tcause=death\tage_ms=3000\tdetect_us=990000\tdecide_us=1100\ttotal_us=1003000\trunning=0\tfailed=1\tmore_scripts=2\n\
        script\tgroup=10.0.0.1\tresource=httpd\tus=1234\n";

    #[test]
    fn status_is_a_page_for_people() {
        let text = render_status(&Report::parse(REPORT).unwrap(), false);
        let expected = "\
rsa: active, stable, holds local; generation 77, up 2 h
partner rsb: dead, nullbeat, heard 65.0 s ago, says it holds foreign, does not hear us
rsc: init
ALARM only one link to the partner is left
ALARM b: this group could not be started

GROUP     PREFERRED  HERE          FOR    CAUSE     PARTNER
10.0.0.1  rsa        running       3.0 s  death     stopped
b         rsb        start failed  90 ms  operator  -        again in 4.0 s

LINK        PEER  STATE  HEARD  HEARS US
/dev/ttyS0  rsb   up     12 ms  15 ms
eth0        rsb   dead   never  -

last move to this node: death, 3.0 s ago, detected in 990 ms, decided in 1.1 ms, altogether 1.0 s, 1 groups failed
    1.2 ms  httpd (10.0.0.1)
  and 2 more
";
        assert_eq!(text, expected);
    }

    #[test]
    fn status_has_a_verdict_for_each_serial_link_and_advice_where_it_is_not_ok() {
        let with = |cables: &str| render_status(&Report::parse(&format!("{REPORT}{cables}")).unwrap(), false);
        let text = with("cable\tname=/dev/ttyS0\tverdict=ok\tadvice=the line works\tgrounds=x\n");
        let expected = "\
LINK        PEER  STATE  HEARD  HEARS US  CABLE
/dev/ttyS0  rsb   up     12 ms  15 ms     ok
eth0        rsb   dead   never  -         -

last move";
        assert!(text.contains(expected), "{text}");
        let text = with("cable\tname=/dev/ttyS0\tverdict=no-cable\tadvice=look at both plugs\tgrounds=x\n");
        assert!(text.contains("15 ms     no-cable\n"), "{text}");
        assert!(text.contains("\ncable at /dev/ttyS0: no-cable: look at both plugs\n"), "{text}");
    }

    #[test]
    fn links_tell_what_was_counted() {
        let text = render_links(&Report::parse(REPORT).unwrap(), false);
        let expected = "\
LINK        PEER  STATE  HEARD  HEARS US  RECEIVED  COPIES  DEATHS  FORMAT   BEATS EVERY
/dev/ttyS0  rsb   up     12 ms  15 ms     100       50      1       compact  25 ms
eth0        rsb   dead   never  -         0         0       0       -        -

DEVICE  STATE  SENT  UNSENT  LOSSES  RECEIVED  REJECTED
eth0    open   5     2       1       9         3 bad digest
";
        assert_eq!(text, expected);
    }

    #[test]
    fn colours_mark_trouble_on_a_terminal() {
        let text = render_status(&Report::parse(REPORT).unwrap(), true);
        assert!(text.contains("\x1b[31mALARM\x1b[0m") && text.contains("\x1b[32mrunning\x1b[0m"), "{text}");
    }
}
