//! ha.cf while it is read: lines to directives to values, each with its place (spec/config.md sections 1 and 2).

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::board::NamedDevice;
use super::checks::DraftCheck;
use super::clients::{ApiAuth, DraftClient};
use super::directives::{DIRECTIVES, Directive, Effect, Home, Shape};
use super::fence::DraftFence;
use super::finding::{At, Finding, Findings, Severity, quote};
use super::gpio::DraftLine;
use super::machine::Machine;
use super::token::{self, Word, column_of, is_blank};
use super::value::{self, TimeFault};
use super::{Medium, Purpose, TextFile};
use crate::core::message::PingKind;

/// Heartbeat reads a line in pieces of this many bytes (spec/config.md section 1).
const HEARTBEAT_LINE_MAX: usize = 5119;

/// A value and where it was given; `None` while it was not.
pub(super) type Given<T> = Option<(T, At)>;

/// One medium and where its line stands.
#[derive(Debug, Clone)]
pub(super) struct DraftMedium {
    pub(super) medium: Medium,
    pub(super) at: At,
    /// Its own.
    pub(super) keepalive: Given<Duration>,
}

/// One ping node, as its line says.
#[derive(Debug, Clone)]
pub(super) struct DraftPing {
    pub(super) name: String,
    pub(super) kind: PingKind,
    pub(super) hosts: Vec<IpAddr>,
    pub(super) at: At,
}

/// All that ha.cf says.
pub(super) struct Draft<'a> {
    pub(super) findings: Findings,
    /// Of the board file.
    pub(super) board_findings: Findings,
    /// A board file is being read.
    pub(super) is_in_board: bool,
    /// The directory of ha.cf.
    pub(super) config_dir: PathBuf,
    pub(super) machine: &'a dyn Machine,
    pub(super) purpose: Purpose,
    /// Others than its owner may read ha.cf.
    pub(super) is_readable_by_others: bool,
    /// The local node name that `stonith_host` lines are compared with.
    pub(super) local: String,
    /// The directive whose line is being read.
    pub(super) here: (&'static str, At),
    seen: HashMap<&'static str, At>,
    /// Directives that have a line, be it wrong.
    pub(super) attempted: HashSet<&'static str>,
    /// Option directives as written, in order, the last value of each.
    pub(super) recorded: Vec<(&'static str, String)>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) stop_retries: Option<u32>,

    pub(super) nodes: Vec<(String, At)>,
    pub(super) pings: Vec<DraftPing>,
    /// The program of a `respawn … ipfail` line that is not started.
    pub(super) ipfail: Option<At>,
    pub(super) upstream_failover: Given<bool>,
    pub(super) upstream_holdoff: Given<Duration>,
    pub(super) checks: Vec<DraftCheck>,
    pub(super) membership: Given<bool>,
    /// `env quorum=RULES`.
    pub(super) quorum: Given<String>,
    pub(super) media: Vec<DraftMedium>,
    /// A media line had an error.
    pub(super) is_medium_refused: bool,
    pub(super) keepalive: Given<Duration>,
    pub(super) warntime: Given<Duration>,
    pub(super) deadtime: Given<Duration>,
    pub(super) initdead: Given<Duration>,
    pub(super) deadping: Given<Duration>,
    pub(super) max_rexmit_delay: Given<i64>,
    pub(super) hopfudge: Given<i64>,
    pub(super) baud: Given<u32>,
    pub(super) udpport: Given<i64>,
    /// The port of the machine's service, once it has been asked.
    pub(super) service_port: Option<Option<u16>>,
    pub(super) protocol: Given<&'static str>,
    pub(super) msgfmt: Given<&'static str>,
    pub(super) compression: Given<&'static str>,
    pub(super) compression_threshold: Given<i64>,
    pub(super) traditional_compression: Given<bool>,
    pub(super) hbgenmethod: Given<&'static str>,
    pub(super) uuidfrom: Given<&'static str>,
    pub(super) autojoin: Given<&'static str>,
    pub(super) crm: Given<bool>,
    pub(super) log_badpack: Given<bool>,
    pub(super) logfile: Given<String>,
    pub(super) debugfile: Given<String>,
    pub(super) logfacility: Given<String>,
    pub(super) use_logd: Given<bool>,
    pub(super) use_apphbd: Given<bool>,
    pub(super) conn_logd_time: Given<Duration>,
    pub(super) syslogmsgfmt: Given<bool>,
    pub(super) debug: Given<i64>,
    pub(super) log_format: Given<&'static str>,
    pub(super) auto_failback: Given<&'static str>,
    pub(super) failback_delay: Given<Duration>,
    pub(super) moves_per_hour: Given<i64>,
    pub(super) takeover_policy: Given<&'static str>,
    pub(super) split_brain_loser: Given<String>,
    /// The board file that was read.
    pub(super) board: Given<PathBuf>,
    pub(super) serial_ports: Vec<NamedDevice>,
    pub(super) watchdog_devices: Vec<NamedDevice>,
    pub(super) gpio: Vec<DraftLine>,
    pub(super) interlock: Given<&'static str>,
    pub(super) interlock_settle: Given<Duration>,
    pub(super) script_timeout: Given<Duration>,
    pub(super) fences: Vec<DraftFence>,
    /// The device of the last valid `stonith` or `stonith_host` line.
    pub(super) classic_fence: Option<DraftFence>,
    pub(super) fence_timeout: Given<Duration>,
    pub(super) fence_settle: Given<Duration>,
    pub(super) fences_per_hour: Given<i64>,
    pub(super) on_stop_failure: Given<&'static str>,
    pub(super) reset_with: Given<super::ResetWith>,
    pub(super) watchdogs: Vec<(PathBuf, At)>,
    pub(super) watchdog_timeout: Given<super::WatchdogTimeout>,
    pub(super) notify: Vec<PathBuf>,
    pub(super) reassert: Vec<PathBuf>,
    pub(super) user: Given<String>,
    pub(super) seccomp: Given<bool>,
    pub(super) realtime: Given<bool>,
    pub(super) rtprio: Given<i64>,
    /// `respawn` and `failfast`; once all is read without what is not started.
    pub(super) clients: Vec<DraftClient>,
    pub(super) api_auth: Vec<ApiAuth>,
    pub(super) coredumps: Given<bool>,
    pub(super) coreroot: Given<String>,
    /// Where values go that are only checked.
    pub(super) unused_bool: Given<bool>,
    pub(super) unused_integer: Given<i64>,
    pub(super) unused_time: Given<Duration>,
    pub(super) unused_text: Given<String>,
    /// Groups are managed here (no `--no-resources`).
    pub(super) has_resources: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(file: &Path, machine: &'a dyn Machine, purpose: Purpose, local: &str) -> Self {
        Self {
            findings: Findings::new(file),
            board_findings: Findings::new(file),
            is_in_board: false,
            config_dir: PathBuf::new(),
            machine,
            purpose,
            is_readable_by_others: false,
            local: local.to_owned(),
            here: ("", At::FILE),
            seen: HashMap::new(),
            attempted: HashSet::new(),
            recorded: Vec::new(),
            environment: Vec::new(),
            stop_retries: None,
            nodes: Vec::new(),
            pings: Vec::new(),
            ipfail: None,
            upstream_failover: None,
            upstream_holdoff: None,
            checks: Vec::new(),
            membership: None,
            quorum: None,
            media: Vec::new(),
            is_medium_refused: false,
            keepalive: None,
            warntime: None,
            deadtime: None,
            initdead: None,
            deadping: None,
            max_rexmit_delay: None,
            hopfudge: None,
            baud: None,
            udpport: None,
            service_port: None,
            protocol: None,
            msgfmt: None,
            compression: None,
            compression_threshold: None,
            traditional_compression: None,
            hbgenmethod: None,
            uuidfrom: None,
            autojoin: None,
            crm: None,
            log_badpack: None,
            logfile: None,
            debugfile: None,
            logfacility: None,
            use_logd: None,
            use_apphbd: None,
            conn_logd_time: None,
            syslogmsgfmt: None,
            debug: None,
            log_format: None,
            auto_failback: None,
            failback_delay: None,
            moves_per_hour: None,
            takeover_policy: None,
            split_brain_loser: None,
            board: None,
            serial_ports: Vec::new(),
            watchdog_devices: Vec::new(),
            gpio: Vec::new(),
            interlock: None,
            interlock_settle: None,
            script_timeout: None,
            fences: Vec::new(),
            classic_fence: None,
            fence_timeout: None,
            fence_settle: None,
            fences_per_hour: None,
            on_stop_failure: None,
            reset_with: None,
            watchdogs: Vec::new(),
            watchdog_timeout: None,
            notify: Vec::new(),
            reassert: Vec::new(),
            user: None,
            seccomp: None,
            realtime: None,
            rtprio: None,
            clients: Vec::new(),
            api_auth: Vec::new(),
            coredumps: None,
            coreroot: None,
            unused_bool: None,
            unused_integer: None,
            unused_time: None,
            unused_text: None,
            has_resources: true,
        }
    }

    /// Reads the whole file.
    pub(super) fn read(&mut self, text: &TextFile) {
        self.is_readable_by_others = text.mode & 0o044 != 0;
        let lines: Vec<(u32, &[u8])> = token::lines(&text.bytes, &mut self.findings).collect();
        for (number, line) in lines {
            self.read_line(number, line);
        }
    }

    fn read_line(&mut self, number: u32, line: &[u8]) {
        if line.len() > HEARTBEAT_LINE_MAX {
            let found = format!("a line of {} bytes", line.len());
            let hint = "Heartbeat cuts it there and takes the rest for a line of its own; here it counts whole";
            let expected = format!("at most {HEARTBEAT_LINE_MAX}");
            self.findings.warning(At { line: number, column: 1 }, found).expected(expected).hint(hint);
        }
        let line = self.cut(number, line);
        let words = token::split(&[(number, line)], is_blank);
        let Some((first, values)) = words.split_first() else { return };
        let Some(directive) = DIRECTIVES.iter().find(|directive| directive.word == first.text) else {
            self.refuse_directive(first);
            return;
        };
        self.here = (directive.word, first.at);
        if self.is_in_its_file(directive, first) {
            self.apply(directive, values);
        }
    }

    /// The line up to a remark or carriage return.
    fn cut<'l>(&mut self, number: u32, line: &'l [u8]) -> &'l [u8] {
        let Some(end) = line.iter().position(|byte| matches!(byte, b'#' | b'\r')) else { return line };
        let rest = &line[end..];
        if rest[0] == b'\r' && !rest.iter().all(u8::is_ascii_whitespace) {
            let at = At { line: number, column: column_of(line, end) };
            let hint = "what follows it is ignored, as in Heartbeat; save the file with Unix line ends";
            self.findings
                .warning(at, "a carriage return in the middle of a line")
                .expected("it at the end only")
                .hint(hint);
        }
        &line[..end]
    }

    fn refuse_directive(&mut self, word: &Word) {
        if !word.is_sound(&mut self.findings) {
            return;
        }
        let found = format!("{}, an unknown directive", word.quoted());
        let kind = self.kind_of_file();
        let is_possible = |directive: &&Directive| directive.is_of(self.is_in_board);
        let known: Vec<&str> = DIRECTIVES.iter().filter(is_possible).map(|directive| directive.word).collect();
        let finding = self.findings.error(word.at, found).expected(format!("a directive of {kind}"));
        let lower = word.text.to_ascii_lowercase();
        if known.contains(&lower.as_str()) {
            finding.hint(format!("directives are written in lower case: {}", quote(&lower)));
        } else {
            finding.nearest(&word.text, known);
        }
    }

    /// Board files hold what a kind of board has, ha.cf what a node does with it.
    fn is_in_its_file(&mut self, directive: &'static Directive, word: &Word) -> bool {
        let expected = match (self.is_in_board, directive.home) {
            (false, Home::HaCf | Home::Both) | (true, Home::Board | Home::Both) => return true,
            (false, Home::Board) => "it in a board file, which `board NAME` reads",
            (true, Home::HaCf) => "it in ha.cf",
        };
        self.findings.refuse(word.at, format!("{} in {}", word.quoted(), self.kind_of_file()), expected);
        false
    }

    const fn kind_of_file(&self) -> &'static str {
        if self.is_in_board { "a board file" } else { "ha.cf" }
    }

    fn apply(&mut self, directive: &'static Directive, words: &[Word]) {
        self.attempted.insert(directive.word);
        if !words.iter().all(|word| word.is_sound(&mut self.findings)) {
            return;
        }
        let errors = self.findings.errors();
        let (words, keepalive) = self.cut_keepalive(directive.word, words);
        let media = self.media.len();
        let values: Vec<Word> = words.iter().flat_map(Word::split_commas).collect();
        match directive.shape {
            Shape::Line(read) => read(self, &words),
            _ if values.is_empty() => {
                let found = format!("`{}` without a value", directive.word);
                self.findings.warning(self.here.1, found).expected(directive.expects).hint("the line has no effect");
                return;
            }
            Shape::Values(read) => read(self, &values),
            Shape::Each(read) | Shape::Several(read) => {
                for value in &values {
                    self.record(directive, value, read);
                }
            }
            Shape::One(read) => self.apply_single(directive, &values, read, Severity::Warning),
            Shape::Once(read) => self.apply_single(directive, &values, read, Severity::Error),
        }
        for medium in &mut self.media[media..] {
            medium.keepalive = keepalive;
        }
        // Of a line that has to be mended anyway nothing more needs to be said.
        if self.findings.errors() == errors {
            self.tell_effect(directive);
        }
    }

    /// Applies each value in turn as Heartbeat does, so that the last one counts, and says so.
    fn apply_single(&mut self, directive: &'static Directive, values: &[Word], read: Read, severity: Severity) {
        for value in values {
            if !self.record(directive, value, read) {
                continue;
            }
            let Some(before) = self.seen.insert(directive.word, value.at) else { continue };
            let found = format!("a further value of `{}`, {}", directive.word, value.quoted());
            let place =
                if before.line == value.at.line { "before it".into() } else { format!("in line {}", before.line) };
            let finding = self.findings.add(severity, value.at, found).expected("one value");
            finding.hint(match severity {
                Severity::Error => format!("the first one stands {place}"),
                _ => format!("this one counts, the one {place} does not"),
            });
        }
    }

    fn record(&mut self, directive: &'static Directive, value: &Word, read: Read) -> bool {
        if !read(self, value) {
            return false;
        }
        if directive.is_recorded() {
            match self.recorded.iter_mut().find(|(word, _)| *word == directive.word) {
                Some((_, text)) => text.clone_from(&value.text),
                None => self.recorded.push((directive.word, value.text.clone())),
            }
        }
        true
    }

    fn tell_effect(&mut self, directive: &'static Directive) {
        match directive.effect {
            Effect::Built => {}
            Effect::NotYet { instead } => {
                let found = format!("`{}`, which has no effect yet", directive.word);
                self.findings.warning(self.here.1, found).hint(instead);
            }
        }
    }

    /// Something that is missing on this machine, where Heartbeat refuses to start: an error only when about to run.
    pub(super) fn missing_here(&mut self, at: At, found: impl Into<String>) -> &mut Finding {
        let severity = if self.purpose == Purpose::Run { Severity::Error } else { Severity::Warning };
        self.findings.add(severity, at, found)
    }
}

/// Takes one value; false when it was refused.
pub(super) type Read = fn(&mut Draft<'_>, &Word) -> bool;

/// Values of the simple kinds.
impl<'a> Draft<'a> {
    /// A time; `field` says where it goes.
    pub(super) fn time(
        &mut self,
        word: &Word,
        is_zero_fine: bool,
        field: fn(&mut Self) -> &mut Given<Duration>,
    ) -> bool {
        let time = self.read_time(word, is_zero_fine);
        if time.is_some() {
            *field(self) = time;
        }
        time.is_some()
    }

    /// A time; `None`: it was refused.
    pub(super) fn read_time(&mut self, word: &Word, is_zero_fine: bool) -> Given<Duration> {
        let expected = if is_zero_fine { "a time: seconds, or with ms or us behind" } else { "a time above zero" };
        match value::time(&word.text) {
            Ok(time) if is_zero_fine || !time.is_zero() => return Some((time, word.at)),
            Ok(_) if word.text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) => {
                let found = format!("{}, which is 0 to the nearest millisecond", word.quoted());
                self.findings.error(word.at, found).expected(expected);
            }
            Ok(_) => {
                self.findings.error(word.at, word.quoted()).expected(expected);
            }
            Err(TimeFault::TooLong) => {
                self.findings.error(word.at, word.quoted()).expected("a time of at most 24 days");
            }
            Err(TimeFault::Unit) => {
                let number: String = word.text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                let hint = format!("units are ms and us; seconds are written without one: `{number}`");
                self.findings.error(word.at, word.quoted()).expected(expected).hint(hint);
            }
            Err(TimeFault::NotANumber) => {
                let finding = self.findings.error(word.at, word.quoted()).expected(expected);
                if matches!(word.text.to_ascii_lowercase().as_str(), "ms" | "us" | "msec" | "usec") {
                    finding.hint(format!("write the unit behind the number without a blank: `10{}`", word.text));
                }
            }
        }
        None
    }

    /// A truth value.
    pub(super) fn boolean(&mut self, word: &Word, field: fn(&mut Self) -> &mut Given<bool>) -> bool {
        match value::boolean(&word.text) {
            Some(value) => *field(self) = Some((value, word.at)),
            None => {
                let known = ["true", "on", "yes", "false", "off", "no"];
                self.findings.error(word.at, word.quoted()).expected("`on` or `off`").nearest(&word.text, known);
                return false;
            }
        }
        true
    }

    /// A whole number: leading digits count, as in Heartbeat.
    pub(super) fn integer(
        &mut self,
        word: &Word,
        range: RangeInclusive<i64>,
        field: fn(&mut Self) -> &mut Given<i64>,
    ) -> bool {
        let integer = value::integer(&word.text);
        if !range.contains(&integer.value) {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.findings.error(word.at, word.quoted()).expected(expected);
            return false;
        }
        if !integer.is_clean {
            let hint = format!("it counts as {}, as in Heartbeat", integer.value);
            self.findings.warning(word.at, word.quoted()).expected("a whole number").hint(hint);
        }
        *field(self) = Some((integer.value, word.at));
        true
    }

    /// One of the words `known`; in any case of letters when `is_any_case`.
    pub(super) fn word(
        &mut self,
        word: &Word,
        known: &[&'static str],
        is_any_case: bool,
        field: fn(&mut Self) -> &mut Given<&'static str>,
    ) -> bool {
        let is_it = |known: &str| if is_any_case { known.eq_ignore_ascii_case(&word.text) } else { known == word.text };
        match known.iter().find(|known| is_it(known)) {
            Some(found) => *field(self) = Some((found, word.at)),
            None => {
                let expected = one_of(known);
                self.findings
                    .error(word.at, word.quoted())
                    .expected(expected)
                    .nearest(&word.text, known.iter().copied());
                return false;
            }
        }
        true
    }

    /// Any word.
    pub(super) fn text(&mut self, word: &Word, field: fn(&mut Self) -> &mut Given<String>) -> bool {
        *field(self) = Some((word.text.clone(), word.at));
        true
    }

    /// A file that we write: relative paths are doubtful.
    pub(super) fn path(&mut self, word: &Word, field: fn(&mut Self) -> &mut Given<String>) -> bool {
        if !word.text.starts_with('/') {
            let hint = "it is looked for where the daemon was started";
            self.findings.warning(word.at, word.quoted()).expected("a path that begins with `/`").hint(hint);
        }
        self.text(word, field)
    }
}

/// "`a`, `b` or `c`".
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
