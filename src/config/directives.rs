//! The directives of ha.cf in one table: how each is read, and what comes of it (spec/config.md section 2).

use std::path::PathBuf;

use super::draft::{Draft, Read};
use super::machine::FileKind;
use super::token::Word;
use super::{ResetWith, board, checks, clients, fence, gpio, media, pings, value, watchdog};
use crate::core::limits::{FENCINGS_MAX, MOVES_MAX};

/// Reads the values of a line at once.
type ReadAll = fn(&mut Draft<'_>, &[Word]);

/// How the values stand on the line.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// One value; of several the last counts.
    One(Read),
    /// One value; a second one is an error.
    Once(Read),
    /// Any number, each for itself.
    Each(Read),
    /// The same; scripts see the last one.
    Several(Read),
    /// Any number, read together.
    Values(ReadAll),
    /// Split at blanks only; the directive looks after missing ones itself.
    Line(ReadAll),
}

/// What comes of it.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// What the specification says.
    Built,
    /// Nothing so far.
    NotYet {
        /// What that means.
        instead: &'static str,
    },
}

/// Which files it may stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    HaCf,
    Board,
    Both,
}

/// One row.
pub(super) struct Directive {
    pub(super) word: &'static str,
    /// For a missing value.
    pub(super) expects: &'static str,
    pub(super) shape: Shape,
    pub(super) effect: Effect,
    pub(super) home: Home,
}

impl Directive {
    /// Whether scripts see it as `HA_<word>`: the directives of one value, not nodes, media and whole lines (seen).
    pub(super) fn is_recorded(&self) -> bool {
        matches!(self.shape, One(_) | Once(_) | Several(_))
    }

    /// Whether it may stand in a board file, or in ha.cf.
    pub(super) fn is_of(&self, is_board: bool) -> bool {
        self.home == Home::Both || is_board == (self.home == Home::Board)
    }
}

const fn row(word: &'static str, expects: &'static str, shape: Shape) -> Directive {
    Directive { word, expects, shape, effect: Effect::Built, home: Home::HaCf }
}

const fn of_board(word: &'static str, home: Home, read: ReadAll) -> Directive {
    Directive { word, expects: "", shape: Line(read), effect: Effect::Built, home }
}

const fn not_yet(word: &'static str, expects: &'static str, shape: Shape, instead: &'static str) -> Directive {
    Directive { word, expects, shape, effect: Effect::NotYet { instead }, home: Home::HaCf }
}

const ONLY_PASSED_ON: &str = "it is only passed on to scripts";
const MILLIS_MAX: i64 = 3_600_000;

use Shape::{Each, Line, Once, One, Several, Values};

/// All of them.
pub(super) static DIRECTIVES: &[Directive] = &[
    // Nodes and timing (2.1).
    row("node", "node names", Each(read_node)),
    row("keepalive", "a time", One(|d, w| d.time(w, false, |d| &mut d.keepalive))),
    row("deadtime", "a time", One(|d, w| d.time(w, true, |d| &mut d.deadtime))),
    row("warntime", "a time", One(|d, w| d.time(w, false, |d| &mut d.warntime))),
    row("initdead", "a time", One(|d, w| d.time(w, true, |d| &mut d.initdead))),
    row("deadping", "a time", One(|d, w| d.time(w, true, |d| &mut d.deadping))),
    row("hopfudge", "a number", One(|d, w| d.integer(w, 0..=255, |d| &mut d.hopfudge))),
    row("max_rexmit_delay", "milliseconds", One(|d, w| d.integer(w, 1..=MILLIS_MAX, |d| &mut d.max_rexmit_delay))),
    row("uuidfrom", "`file` or `nodename`", One(|d, w| d.word(w, &["file", "nodename"], false, |d| &mut d.uuidfrom))),
    row("hbgenmethod", "`file` or `time`", One(|d, w| d.word(w, &["file", "time"], false, |d| &mut d.hbgenmethod))),
    row(
        "autojoin",
        "`none`, `other` or `any`",
        One(|d, w| d.word(w, &["none", "other", "any"], true, |d| &mut d.autojoin)),
    ),
    not_yet("cluster", "a name", One(unused_text), ONLY_PASSED_ON),
    not_yet("quorum_server", "a host", One(unused_text), "no quorum server is asked"),
    // Media (2.2).
    row("udpport", "a port", One(media::read_udpport)),
    row("baud", "a speed", Once(media::read_baud)),
    row("serial", "device paths", Values(media::read_serial)),
    row("ucast", "an interface and a host", Line(media::read_ucast)),
    row("bcast", "interfaces", Each(media::read_bcast)),
    row("udp", "interfaces", Each(media::read_udp)),
    row("mcast", "an interface, a group, a port, a TTL and a loop flag", Line(media::read_mcast)),
    row("ucast6", "an interface and an address", Line(media::read_ucast6)),
    row("mcast6", "an interface, a group, a port, a hop limit and a loop flag", Line(media::read_mcast6)),
    row("ping", "hosts", Each(pings::read_ping)),
    row("ping6", "IPv6 addresses", Each(pings::read_ping6)),
    row("ping_group", "", Line(pings::read_ping_group)),
    row("upstream_failover", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.upstream_failover))),
    row("upstream_holdoff", "a time", One(|d, w| d.time(w, true, |d| &mut d.upstream_holdoff))),
    row("check", "", Line(checks::read_check)),
    row("monitor", "", Line(checks::read_monitor)),
    row("membership", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.membership))),
    // Logging (2.3).
    row("logfile", "a path", One(|d, w| d.path(w, |d| &mut d.logfile))),
    row("debugfile", "a path", One(|d, w| d.path(w, |d| &mut d.debugfile))),
    row("logfacility", "a syslog facility", One(read_facility)),
    row("use_logd", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.use_logd))),
    row("conn_logd_time", "a time", One(|d, w| d.time(w, false, |d| &mut d.conn_logd_time))),
    row("syslogmsgfmt", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.syslogmsgfmt))),
    row("log_badpack", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.log_badpack))),
    row("debug", "a level", One(|d, w| d.integer(w, 0..=255, |d| &mut d.debug))),
    row(
        "log_format",
        "`heartbeat` or `structured`",
        One(|d, w| d.word(w, &["heartbeat", "structured"], false, |d| &mut d.log_format)),
    ),
    // Message format (2.4).
    row(
        "protocol",
        "`auto`, `heartbeat` or `compact`",
        One(|d, w| d.word(w, &["auto", "heartbeat", "compact"], false, |d| &mut d.protocol)),
    ),
    row(
        "msgfmt",
        "`classic` or `netstring`",
        One(|d, w| d.word(w, &["classic", "netstring"], false, |d| &mut d.msgfmt)),
    ),
    row("compression", "`zlib` or `bz2`", One(|d, w| d.word(w, &["zlib", "bz2"], false, |d| &mut d.compression))),
    row(
        "compression_threshold",
        "kilobytes",
        One(|d, w| d.integer(w, 1..=i64::from(i32::MAX), |d| &mut d.compression_threshold)),
    ),
    row("traditional_compression", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.traditional_compression))),
    // Resources, clients, fencing (2.5).
    row("auto_failback", "`on`, `off` or `legacy`", One(read_auto_failback)),
    row("nice_failback", "`auto_failback` in its place", One(read_nice_failback)),
    row("failback_delay", "a time", One(|d, w| d.time(w, true, |d| &mut d.failback_delay))),
    row("moves_per_hour", "a number", One(|d, w| d.integer(w, 0..=MOVES_MAX as i64, |d| &mut d.moves_per_hour))),
    row(
        "takeover_policy",
        "`safe` or `available`",
        One(|d, w| d.word(w, &["safe", "available"], false, |d| &mut d.takeover_policy)),
    ),
    row("split_brain_loser", "a node", One(read_loser)),
    row("script_timeout", "a time", One(|d, w| d.time(w, false, |d| &mut d.script_timeout))),
    row(
        "on_stop_failure",
        "`reboot` or `hold`",
        One(|d, w| d.word(w, &["reboot", "hold"], false, |d| &mut d.on_stop_failure)),
    ),
    row("reset_with", "`reboot`, `sysrq`, `watchdog` or `hook PATH`", Values(read_reset_with)),
    row("watchdog", "a device path", Several(watchdog::read_device)),
    row("watchdog_timeout", "a time or `heartbeat`", One(watchdog::read_timeout)),
    row("notify", "paths of programs", Each(read_notify)),
    row("reassert", "paths of programs", Each(read_reassert)),
    row("env", "NAME=VALUE", Each(read_env)),
    row("respawn", "", Line(clients::read_respawn)),
    row("failfast", "", Line(clients::read_failfast)),
    row("apiauth", "", Line(clients::read_apiauth)),
    row("use_apphbd", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.use_apphbd))),
    row("pacemaker", "`off`", Once(clients::read_crm)),
    row("crm", "`off`", Once(clients::read_crm)),
    not_yet("crm_daemon_dir", "a path", One(clients::read_before_crm), "no Pacemaker daemon is started"),
    not_yet("crmd_spawns_pengine", "`on` or `off`", One(clients::read_before_crm), "no Pacemaker daemon is started"),
    not_yet("record_config_changes", "`on` or `off`", One(unused_boolean), ONLY_PASSED_ON),
    not_yet("record_pengine_inputs", "`on` or `off`", One(unused_boolean), ONLY_PASSED_ON),
    not_yet("enable_config_writes", "`on` or `off`", One(unused_boolean), ONLY_PASSED_ON),
    row("stonith", "", Line(fence::read_stonith)),
    row("stonith_host", "", Line(fence::read_stonith_host)),
    row("fence", "", Line(fence::read_fence)),
    row("fence_timeout", "a time", One(|d, w| d.time(w, false, |d| &mut d.fence_timeout))),
    row("fence_settle", "a time", One(|d, w| d.time(w, false, |d| &mut d.fence_settle))),
    row("fences_per_hour", "a number", One(|d, w| d.integer(w, 1..=FENCINGS_MAX as i64, |d| &mut d.fences_per_hour))),
    // The board.
    row("board", "the name of a board file", Once(board::read_board)),
    row("interlock", "`gpio` or `off`", One(gpio::read_interlock)),
    row("interlock_settle", "a time", One(gpio::read_settle)),
    of_board("gpio", Home::Both, gpio::read_gpio),
    of_board("serial-port", Home::Board, board::read_serial_port),
    of_board("watchdog-device", Home::Board, board::read_watchdog_device),
    // Process (2.6).
    row("realtime", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.realtime))),
    row("rtprio", "a priority", One(|d, w| d.integer(w, 1..=99, |d| &mut d.rtprio))),
    row("user", "a user name", One(read_user)),
    row("seccomp", "`on` or `off`", One(read_seccomp)),
    not_yet(
        "memreserve",
        "kilobytes",
        One(|d, w| d.integer(w, 1..=i64::from(i32::MAX), |d| &mut d.unused_integer)),
        "all memory is set aside at start anyway",
    ),
    row("coredumps", "`on` or `off`", One(|d, w| d.boolean(w, |d| &mut d.coredumps))),
    row("coreroot", "a path", One(|d, w| d.path(w, |d| &mut d.coreroot))),
];

fn unused_text(draft: &mut Draft<'_>, word: &Word) -> bool {
    draft.text(word, |draft| &mut draft.unused_text)
}

fn unused_boolean(draft: &mut Draft<'_>, word: &Word) -> bool {
    draft.boolean(word, |draft| &mut draft.unused_bool)
}

fn read_node(draft: &mut Draft<'_>, word: &Word) -> bool {
    use crate::core::limits::{NODE_NAME_MAX, NODES_MAX};

    let name = word.text.to_ascii_lowercase();
    if name.len() > NODE_NAME_MAX {
        let found = format!("a node name of {} bytes", name.len());
        draft.findings.error(word.at, found).expected(format!("at most {NODE_NAME_MAX}"));
        return false;
    }
    if let Some((_, before)) = draft.nodes.iter().find(|(known, _)| *known == name) {
        let found = format!("node {} a second time", word.quoted());
        let hint = format!("it stands in line {} already and counts once", before.line);
        draft.findings.warning(word.at, found).expected("each node once").hint(hint);
        return true;
    }
    if draft.nodes.len() == NODES_MAX {
        let found = format!("{}, one node too many", word.quoted());
        draft.findings.error(word.at, found).expected(format!("at most {NODES_MAX} nodes"));
        return false;
    }
    draft.nodes.push((name, word.at));
    true
}

/// The facilities of syslog(3).
const FACILITIES: &[&str] = &[
    "none", "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "security", "syslog", "user",
    "uucp", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

fn read_facility(draft: &mut Draft<'_>, word: &Word) -> bool {
    if !FACILITIES.contains(&word.text.as_str()) {
        let finding = draft.findings.error(word.at, word.quoted()).expected("a syslog facility or `none`");
        finding.nearest(&word.text, FACILITIES.iter().copied());
        return false;
    }
    draft.text(word, |draft| &mut draft.logfacility)
}

fn read_auto_failback(draft: &mut Draft<'_>, word: &Word) -> bool {
    let setting = match value::boolean(&word.text) {
        Some(true) => "on",
        Some(false) => "off",
        None if word.text == "legacy" => "legacy",
        None => {
            let finding = draft.findings.error(word.at, word.quoted()).expected("`on`, `off` or `legacy`");
            finding.nearest(&word.text, ["on", "off", "yes", "no", "true", "false", "legacy"]);
            return false;
        }
    };
    draft.auto_failback = Some((setting, word.at));
    true
}

/// Obsolete: the value is ignored; what counts is whether `auto_failback on|off` stands above (spec/config.md 2.5).
fn read_nice_failback(draft: &mut Draft<'_>, word: &Word) -> bool {
    if !draft.boolean(word, |draft| &mut draft.unused_bool) {
        return false;
    }
    let was_nice = matches!(draft.auto_failback, Some(("on" | "off", _)));
    let setting = if was_nice { "off" } else { "legacy" };
    draft.auto_failback = Some((setting, word.at));
    let hint = format!("as in Heartbeat its value is ignored and it counts as `auto_failback {setting}`");
    draft
        .findings
        .warning(draft.here.1, "`nice_failback`, which is obsolete")
        .expected("`auto_failback on` or `auto_failback off`")
        .hint(hint);
    true
}

fn read_loser(draft: &mut Draft<'_>, word: &Word) -> bool {
    draft.split_brain_loser = Some((word.text.to_ascii_lowercase(), word.at));
    true
}

fn read_reset_with(draft: &mut Draft<'_>, words: &[Word]) {
    let [first, rest @ ..] = words else { return };
    let way = match (first.text.as_str(), rest) {
        ("reboot", []) => ResetWith::Reboot,
        ("sysrq", []) => ResetWith::Sysrq,
        ("watchdog", []) => ResetWith::Watchdog,
        ("hook", [path]) if path.text.starts_with('/') => {
            let program = PathBuf::from(&path.text);
            if draft.machine.file(&program) != FileKind::Executable {
                let found = format!("{}, which is no executable file here", path.quoted());
                draft.missing_here(path.at, found).expected("the program that resets the board");
            }
            ResetWith::Hook(program)
        }
        ("hook", [path, ..]) if !path.text.starts_with('/') => {
            draft.findings.error(path.at, path.quoted()).expected("the path of a program, beginning with `/`");
            return;
        }
        ("hook", []) => {
            draft.findings.error(first.at, "`hook` without a program").expected("`hook PATH`");
            return;
        }
        ("reboot" | "sysrq" | "watchdog", [extra, ..]) | ("hook", [_, extra, ..]) => {
            draft.findings.error(extra.at, extra.quoted()).expected("nothing more");
            return;
        }
        _ => {
            let expected = "`reboot`, `sysrq`, `watchdog` or `hook PATH`";
            let finding = draft.findings.error(first.at, first.quoted()).expected(expected);
            finding.nearest(&first.text, ["reboot", "sysrq", "watchdog", "hook"]);
            return;
        }
    };
    if let Some((_, before)) = &draft.reset_with {
        let hint = format!("this one counts, the one in line {} does not", before.line);
        draft.findings.warning(first.at, "a further `reset_with`").expected("one").hint(hint);
    }
    draft.reset_with = Some((way, first.at));
}

fn read_notify(draft: &mut Draft<'_>, word: &Word) -> bool {
    let program = read_program(draft, word, "nobody is told of changes through it");
    let is_good = program.is_some();
    draft.notify.extend(program);
    is_good
}

fn read_reassert(draft: &mut Draft<'_>, word: &Word) -> bool {
    let program = read_program(draft, word, "a group is not announced once more through it");
    let is_good = program.is_some();
    draft.reassert.extend(program);
    is_good
}

/// `hint` says what does not happen when it cannot be run.
fn read_program(draft: &mut Draft<'_>, word: &Word, hint: &str) -> Option<PathBuf> {
    if !word.text.starts_with('/') {
        draft.findings.error(word.at, word.quoted()).expected("the path of a program, beginning with `/`");
        return None;
    }
    let program = PathBuf::from(&word.text);
    if draft.machine.file(&program) != FileKind::Executable {
        let found = format!("{}, which is no executable file here", word.quoted());
        draft.findings.warning(word.at, found).expected("a program").hint(hint);
    }
    Some(program)
}

fn read_user(draft: &mut Draft<'_>, word: &Word) -> bool {
    if draft.machine.user(&word.text).is_none() {
        draft.missing_here(word.at, format!("{}, who is no user here", word.quoted())).expected("a user name");
    }
    draft.text(word, |draft| &mut draft.user)
}

fn read_seccomp(draft: &mut Draft<'_>, word: &Word) -> bool {
    let is_read = draft.boolean(word, |draft| &mut draft.seccomp);
    if matches!(draft.seccomp, Some((false, _))) {
        let hint = "for debugging only: an engine that is taken over could then use every system call";
        draft.findings.warning(word.at, word.quoted()).expected("`on`").hint(hint);
    }
    is_read
}

/// `env NAME=VALUE` becomes `HA_NAME=VALUE`. A value without `=` is accepted by Heartbeat, to no effect.
fn read_env(draft: &mut Draft<'_>, word: &Word) -> bool {
    let Some((name, value)) = word.text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        let hint = "it has no effect; commas and blanks separate values here";
        draft.findings.warning(word.at, word.quoted()).expected("NAME=VALUE").hint(hint);
        return false;
    };
    match name {
        "STOPRETRYMAX" => read_stop_retries(draft, word, value),
        "quorum" => draft.quorum = Some((value.to_owned(), word.at)),
        _ => {}
    }
    draft.environment.retain(|(known, _)| known != name);
    draft.environment.push((name.to_owned(), value.to_owned()));
    true
}

fn read_stop_retries(draft: &mut Draft<'_>, word: &Word, text: &str) {
    let integer = value::integer(text);
    if !integer.is_clean {
        let finding = draft.findings.warning(word.at, word.quoted()).expected("STOPRETRYMAX=NUMBER");
        finding.hint("a failing stop is tried again 10 times");
        return;
    }
    // Zero or less: for ever (spec/resources.md 4.2).
    let retries = if integer.value <= 0 { u32::MAX } else { u32::try_from(integer.value).unwrap_or(u32::MAX) };
    draft.stop_retries = Some(retries);
}
