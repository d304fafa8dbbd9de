//! Health checks of ha.cf: `check` and `monitor`.
//!
//! ```text
//! monitor GROUP|all        [every T] [timeout T] [rise N] [fall N] [restarts N] [watchdog on]
//! check tcp HOST:PORT      [… the same …] [group GROUP [restart RESOURCE]] [name NAME]
//! check http URL           [expect CODE] […]
//! check ping HOST          […]
//! check exec PATH          [user NAME] […]
//! check apphb NAME[:INSTANCE] […]
//! ```
//!
//! A group is named by its first resource, a resource by its word on the group's line. Host names are resolved here, when
//! the files are read, and never again: a name server that hangs hangs no check.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::draft::{Draft, Given};
use super::finding::At;
use super::machine::FileKind;
use super::media::looks_like_address;
use super::services::apphbd::ApplicationName;
use super::token::Word;
use super::value::{self, spoken};
use super::{Config, Group, Purpose};
use crate::core::limits::{CHECKS_MAX, NODE_NAME_MAX};

/// Seldom enough for anything that is worth asking, and soon enough for a person who waits.
const EVERY_LEAST: Duration = Duration::from_millis(100);
const EVERY_MOST: Duration = Duration::from_secs(86_400);
const EVERY: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
/// `status` is a script, and often slow.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(20);
const RISE: u8 = 2;
const FALL: u8 = 3;
const RESTARTS: u8 = 2;
/// Answers in a row, and restarts.
const COUNT_MAX: i64 = 100;
/// Processes that ask, one for each user.
pub const CHECKERS_MAX: usize = 4;
/// Bytes of a URL.
const URL_MAX: usize = 1024;

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// For people, each once.
    pub name: String,
    /// What is asked.
    pub kind: CheckKind,
    /// The group that it looks at while that runs here, by its place; `None`: it looks at what this node needs, always.
    pub group: Option<usize>,
    /// From the beginning of one question to the next.
    pub every: Duration,
    /// An answer that takes longer is none.
    pub timeout: Duration,
    /// Good answers in a row that make it healthy.
    pub rise: u8,
    /// Bad ones that make it fail.
    pub fall: u8,
    /// How often the group is restarted in place within an hour.
    pub restarts: u8,
    /// Place in the group of the first resource that such a restart takes along. `monitor` finds it out itself.
    pub from: u8,
    /// Whom `exec` becomes; `None`: whom the checker is.
    pub user: Option<String>,
    /// Once it was healthy, the watchdogs are kicked no more while it fails.
    pub is_vital: bool,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// `status` of the group's resources, `monitor` of OCF agents: by the guardian.
    Monitor,
    /// By a process without privileges.
    Ask(Question),
}

/// What a checker asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Whether something accepts connections there.
    Tcp(SocketAddr),
    /// What a web server answers to `GET`.
    Http {
        /// Where it is.
        address: SocketAddr,
        /// As in the URL: host, and port if there is one.
        host: String,
        /// From the first slash on.
        path: String,
        /// The status code that is good.
        expect: u16,
    },
    /// Whether a host answers to an echo request.
    Ping(IpAddr),
    /// A program's exit code.
    Exec(PathBuf),
    /// Whether an application beats for `apphbd`.
    Apphb(ApplicationName),
}

/// The word of each question.
pub mod word {
    /// [`Question::Tcp`](super::Question::Tcp)
    pub const TCP: &str = "tcp";
    /// [`Question::Http`](super::Question::Http)
    pub const HTTP: &str = "http";
    /// [`Question::Ping`](super::Question::Ping)
    pub const PING: &str = "ping";
    /// [`Question::Exec`](super::Question::Exec)
    pub const EXEC: &str = "exec";
    /// [`Question::Apphb`](super::Question::Apphb)
    pub const APPHB: &str = "apphb";
    /// All of them.
    pub const ALL: [&str; 5] = [TCP, HTTP, PING, EXEC, APPHB];
}

impl Question {
    /// As in ha.cf.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Tcp(_) => word::TCP,
            Self::Http { .. } => word::HTTP,
            Self::Ping(_) => word::PING,
            Self::Exec(_) => word::EXEC,
            Self::Apphb(_) => word::APPHB,
        }
    }
}

/// One line as it was read.
#[derive(Debug, Clone)]
pub(super) struct DraftCheck {
    at: At,
    kind: CheckKind,
    /// What it asks, as written.
    subject: String,
    name: Given<String>,
    group: Option<Word>,
    restart: Option<Word>,
    every: Given<Duration>,
    timeout: Given<Duration>,
    rise: Given<u8>,
    fall: Given<u8>,
    restarts: Given<u8>,
    expect: Given<u16>,
    user: Given<String>,
    is_vital: Given<bool>,
}

impl DraftCheck {
    const fn new(at: At, kind: CheckKind, subject: String) -> Self {
        Self {
            at,
            kind,
            subject,
            name: None,
            group: None,
            restart: None,
            every: None,
            timeout: None,
            rise: None,
            fall: None,
            restarts: None,
            expect: None,
            user: None,
            is_vital: None,
        }
    }

    fn timing(&self) -> (Duration, Duration) {
        let every = self.every.map_or(EVERY, |(every, _)| every);
        let usual = if self.kind == CheckKind::Monitor { MONITOR_TIMEOUT } else { TIMEOUT };
        (every, self.timeout.map_or(usual.min(every), |(timeout, _)| timeout))
    }
}

/// Options that every check has, those of `check` beside `monitor`, and those of one kind.
const COMMON: &[&str] = &["every", "timeout", "rise", "fall", "restarts", "watchdog"];
const OF_CHECK: &[&str] = &["group", "restart", "name"];

/// `monitor GROUP …`.
pub(super) fn read_monitor(draft: &mut Draft<'_>, words: &[Word]) {
    let at = draft.here.1;
    let [group, options @ ..] = words else {
        draft.findings.error(at, "`monitor` without a group").expected("`monitor GROUP` or `monitor all`");
        return;
    };
    let mut check = DraftCheck::new(at, CheckKind::Monitor, group.text.clone());
    check.group = Some(group.clone());
    read_options(draft, check, options, &[]);
}

/// `check KIND WHAT …`.
pub(super) fn read_check(draft: &mut Draft<'_>, words: &[Word]) {
    const EXPECTED: &str =
        "`check tcp HOST:PORT`, `check http URL`, `check ping HOST`, `check exec PATH` or `check apphb NAME`";
    let at = draft.here.1;
    let [kind, subject, options @ ..] = words else {
        draft.findings.error(at, "`check` without what it asks").expected(EXPECTED);
        return;
    };
    let read = match kind.text.as_str() {
        word::TCP => read_tcp(draft, subject),
        word::HTTP => read_http(draft, subject),
        word::PING => draft.check_host(subject, &subject.text).map(Question::Ping),
        word::EXEC => read_exec(draft, subject),
        word::APPHB => read_apphb(draft, subject),
        _ => {
            draft.findings.error(kind.at, kind.quoted()).expected(EXPECTED).nearest(&kind.text, word::ALL);
            return;
        }
    };
    let Some(read) = read else { return };
    let own: &[&str] = match &read {
        Question::Http { .. } => &["expect"],
        Question::Exec(_) => &["user"],
        _ => &[],
    };
    let own: Vec<&str> = OF_CHECK.iter().chain(own).copied().collect();
    read_options(draft, DraftCheck::new(at, CheckKind::Ask(read), subject.text.clone()), options, &own);
}

fn read_tcp(draft: &mut Draft<'_>, word: &Word) -> Option<Question> {
    let Some((host, port)) = word.text.rsplit_once(':') else {
        draft.findings.error(word.at, word.quoted()).expected("HOST:PORT, with an IPv6 address in brackets");
        return None;
    };
    let port = draft.check_port(word, port)?;
    Some(Question::Tcp(SocketAddr::new(draft.check_host(word, bare(host))?, port)))
}

/// Without the brackets around an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn read_http(draft: &mut Draft<'_>, word: &Word) -> Option<Question> {
    const EXPECTED: &str = "a URL that begins with `http://`";
    if word.text.len() > URL_MAX {
        let found = format!("a URL of {} bytes", word.text.len());
        draft.findings.error(word.at, found).expected(format!("at most {URL_MAX}"));
        return None;
    }
    let Some(rest) = word.text.strip_prefix("http://") else {
        let finding = draft.findings.error(word.at, word.quoted()).expected(EXPECTED);
        if word.text.starts_with("https:") {
            finding.hint("TLS is for programs that know it: `check exec PATH`");
        }
        return None;
    };
    if let Some(strange) = rest.chars().find(|character| !character.is_ascii_graphic()) {
        let found = format!("`{}` in a URL", strange.escape_default());
        draft.findings.error(word.at, found).expected("it as `%` and two digits");
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if host.is_empty() || host.contains('@') {
        draft.findings.error(word.at, word.quoted()).expected("`http://HOST/PATH` without a user");
        return None;
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, draft.check_port(word, port)?),
        _ => (host, 80),
    };
    let address = SocketAddr::new(draft.check_host(word, bare(name))?, port);
    Some(Question::Http { address, host: host.to_owned(), path, expect: 200 })
}

fn read_exec(draft: &mut Draft<'_>, word: &Word) -> Option<Question> {
    let program = Path::new(&word.text);
    if !word.text.starts_with('/') {
        draft.findings.error(word.at, word.quoted()).expected("the path of a program, beginning with `/`");
        return None;
    }
    if draft.machine.file(program) != FileKind::Executable {
        let found = format!("{}, which is no executable file here", word.quoted());
        draft.findings.warning(word.at, found).expected("a program").hint("the check fails");
    }
    Some(Question::Exec(program.to_owned()))
}

fn read_apphb(draft: &mut Draft<'_>, word: &Word) -> Option<Question> {
    let name = ApplicationName::parse(&word.text);
    if name.is_none() {
        draft
            .findings
            .error(word.at, word.quoted())
            .expected("`NAME` or `NAME:INSTANCE`, as the application registers");
    }
    name.map(Question::Apphb)
}

impl Draft<'_> {
    fn check_port(&mut self, word: &Word, text: &str) -> Option<u16> {
        let port = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        if port.is_none_or(|port: u16| port == 0) {
            self.findings.error(word.at, word.quoted()).expected("a port from 1 to 65535");
            return None;
        }
        port
    }

    /// The address of a host; one that cannot be had is an error when about to run.
    fn check_host(&mut self, word: &Word, host: &str) -> Option<IpAddr> {
        if let Ok(address) = host.parse() {
            return Some(address);
        }
        let is_name = !host.is_empty() && !looks_like_address(host) && !host.contains(':');
        let resolved = if is_name { self.machine.resolve(host) } else { None };
        if resolved.is_none() {
            let found = format!("{}, whose host is no address and cannot be resolved here", word.quoted());
            let finding = self.missing_here(word.at, found).expected("an address or a host name");
            finding.hint("an address does not depend on a name server");
        }
        let is_check = self.purpose == Purpose::Check;
        resolved.or(is_check.then_some(Ipv4Addr::UNSPECIFIED)).map(IpAddr::V4)
    }

    fn check_time(&mut self, word: &Word, range: RangeInclusive<Duration>) -> Option<(Duration, At)> {
        // Here seconds may be spelt out: `5s`.
        let text = match word.text.strip_suffix('s') {
            Some(number) if number.ends_with(|last: char| last.is_ascii_digit() || last == '.') => number,
            _ => &word.text,
        };
        match value::time(text) {
            Ok(time) if range.contains(&time) => Some((time, word.at)),
            _ => {
                let expected = format!("a time from {} to {}", spoken(*range.start()), spoken(*range.end()));
                self.findings.error(word.at, word.quoted()).expected(expected);
                None
            }
        }
    }

    fn check_count(&mut self, word: &Word, range: RangeInclusive<i64>) -> Option<(u16, At)> {
        let integer = value::integer(&word.text);
        if !integer.is_clean || !range.contains(&integer.value) {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.findings.error(word.at, word.quoted()).expected(expected);
            return None;
        }
        u16::try_from(integer.value).ok().map(|count| (count, word.at))
    }
}

/// Pairs of a word and its value, each once.
fn read_options(draft: &mut Draft<'_>, mut check: DraftCheck, words: &[Word], own: &[&str]) {
    let errors = draft.findings.errors();
    let mut seen: Vec<&str> = Vec::new();
    for pair in words.chunks(2) {
        let option = &pair[0];
        let known = || COMMON.iter().chain(own).copied();
        if !known().any(|word| word == option.text) {
            let expected = known().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            draft.findings.error(option.at, option.quoted()).expected(expected).nearest(&option.text, known());
            return;
        }
        let [_, value] = pair else {
            draft.findings.error(option.at, format!("{} without a value", option.quoted())).expected("one behind it");
            return;
        };
        if seen.contains(&option.text.as_str()) {
            draft.findings.error(option.at, format!("{} a second time", option.quoted())).expected("it once");
        }
        seen.push(&option.text);
        read_option(draft, &mut check, &option.text, value);
    }
    if draft.findings.errors() == errors {
        draft.checks.push(check);
    }
}

fn read_option(draft: &mut Draft<'_>, check: &mut DraftCheck, option: &str, value: &Word) {
    let small = |(count, at): (u16, At)| (u8::try_from(count).unwrap_or(u8::MAX), at);
    match option {
        "every" => check.every = draft.check_time(value, EVERY_LEAST..=EVERY_MOST),
        "timeout" => check.timeout = draft.check_time(value, Duration::from_millis(1)..=EVERY_MOST),
        "rise" => check.rise = draft.check_count(value, 1..=COUNT_MAX).map(small),
        "fall" => check.fall = draft.check_count(value, 1..=COUNT_MAX).map(small),
        "restarts" => check.restarts = draft.check_count(value, 0..=COUNT_MAX).map(small),
        "expect" => check.expect = draft.check_count(value, 100..=599),
        "group" => check.group = Some(value.clone()),
        "restart" => check.restart = Some(value.clone()),
        "name" if value.text.len() > NODE_NAME_MAX => {
            let found = format!("a name of {} bytes", value.text.len());
            draft.findings.error(value.at, found).expected(format!("at most {NODE_NAME_MAX}"));
        }
        "watchdog" => {
            check.is_vital = value::boolean(&value.text).map(|is_vital| (is_vital, value.at));
            if check.is_vital.is_none() {
                draft.findings.error(value.at, value.quoted()).expected("`on` or `off`");
            }
        }
        "name" => check.name = Some((value.text.clone(), value.at)),
        _ => {
            if draft.machine.user(&value.text).is_none() {
                draft
                    .missing_here(value.at, format!("{}, who is no user here", value.quoted()))
                    .expected("a user name");
            }
            check.user = Some((value.text.clone(), value.at));
        }
    }
}

/// Sense within each line, and the number of lines.
pub(super) fn check(draft: &mut Draft<'_>) {
    for check in draft.checks.clone() {
        let (every, timeout) = check.timing();
        if timeout >= every
            && let Some((_, at)) = check.timeout
        {
            let found = format!("a timeout of {} with a question every {}", spoken(timeout), spoken(every));
            let finding = draft.findings.note(at, found);
            finding.hint("the next question waits for the end of the one before");
        }
        if check.group.is_none()
            && let Some(at) = check.restarts.map(|(_, at)| at).or(check.restart.as_ref().map(|word| word.at))
        {
            let finding =
                draft.findings.error(at, "restarts for a check of the node").expected("`group GROUP` beside them");
            finding.hint("what the node needs is not mended by restarting what it runs");
        }
    }
}

/// Looks the groups up. Lines that do not fit anything are errors.
pub(super) fn build(draft: &mut Draft<'_>, groups: &[Group]) -> Vec<CheckConfig> {
    let mut built: Vec<CheckConfig> = Vec::new();
    for check in draft.checks.clone() {
        let places: Vec<Option<usize>> = match &check.group {
            None => vec![None],
            Some(word) if check.kind == CheckKind::Monitor && word.text == "all" => {
                (0..groups.len()).map(Some).collect()
            }
            Some(word) => match groups.iter().position(|group| group.key() == word.text) {
                Some(place) => vec![Some(place)],
                None => {
                    refuse_group(draft, word, groups);
                    continue;
                }
            },
        };
        for place in places {
            let from = first_restarted(draft, &check, place.and_then(|place| groups.get(place)));
            let name = name_of(&check, place.and_then(|place| groups.get(place)));
            if let Some(before) = built.iter().find(|before| before.name == name) {
                let finding = draft.findings.error(check.at, format!("a second check `{}`", before.name));
                finding.expected("each once, or told apart by `name`");
            }
            built.push(finished(&check, place, name, from));
        }
    }
    if built.len() > CHECKS_MAX {
        let at = draft.checks.last().map_or(At::FILE, |check| check.at);
        let found = format!("{} health checks, counting one for each monitored group", built.len());
        draft.findings.error(at, found).expected(format!("at most {CHECKS_MAX}"));
    }
    count_users(draft, &built);
    count_watchdogs(draft);
    built
}

/// Each user has a process of its own, and there are so many.
fn count_users(draft: &mut Draft<'_>, built: &[CheckConfig]) {
    let mut users: Vec<Option<&str>> = Vec::new();
    for check in built.iter().filter(|check| check.kind != CheckKind::Monitor) {
        if !users.contains(&check.user.as_deref()) {
            users.push(check.user.as_deref());
        }
    }
    if users.len() > CHECKERS_MAX {
        let last = draft.checks.iter().rev().find_map(|check| check.user.as_ref());
        let at = last.map_or(At::FILE, |(_, at)| *at);
        let found = format!("health checks of {} users, counting the one of those without `user`", users.len());
        draft.findings.error(at, found).expected(format!("at most {CHECKERS_MAX}"));
    }
}

/// Nothing resets a board without a watchdog.
fn count_watchdogs(draft: &mut Draft<'_>) {
    let vital = draft.checks.iter().find_map(|check| check.is_vital.filter(|(is_vital, _)| *is_vital));
    if let Some((_, at)) = vital.filter(|_| draft.watchdogs.is_empty()) {
        let finding = draft.findings.error(at, "a check for the watchdog without one");
        finding.expected("a line `watchdog DEVICE`");
    }
}

fn finished(check: &DraftCheck, group: Option<usize>, name: String, from: u8) -> CheckConfig {
    let (every, timeout) = check.timing();
    let mut kind = check.kind.clone();
    if let (CheckKind::Ask(Question::Http { expect, .. }), Some((code, _))) = (&mut kind, check.expect) {
        *expect = code;
    }
    CheckConfig {
        name,
        kind,
        group,
        every,
        timeout,
        rise: check.rise.map_or(RISE, |(rise, _)| rise),
        fall: check.fall.map_or(FALL, |(fall, _)| fall),
        restarts: check.restarts.map_or(RESTARTS, |(restarts, _)| restarts),
        from,
        user: check.user.as_ref().map(|(user, _)| user.clone()),
        is_vital: check.is_vital.is_some_and(|(is_vital, _)| is_vital),
    }
}

fn refuse_group(draft: &mut Draft<'_>, word: &Word, groups: &[Group]) {
    // Without resources there are no groups to look at, and nothing fails.
    if !draft.has_resources {
        let finding = draft.findings.warning(word.at, format!("group {} without resource management", word.quoted()));
        finding.hint("it is not checked");
        return;
    }
    let finding = draft.findings.error(word.at, format!("{}, which is no group", word.quoted()));
    finding.expected("the first resource of a line in haresources").nearest(&word.text, groups.iter().map(Group::key));
}

/// Place of the first resource that a restart takes along: all, unless said otherwise.
fn first_restarted(draft: &mut Draft<'_>, check: &DraftCheck, group: Option<&Group>) -> u8 {
    let (Some(word), Some(group)) = (&check.restart, group) else { return 0 };
    let is_it = |resource: &super::Resource| resource.word == word.text || resource.script == word.text;
    let Some(place) = group.resources.iter().position(is_it) else {
        let finding = draft.findings.error(word.at, format!("{}, which is no resource of that group", word.quoted()));
        finding.expected("one").nearest(&word.text, group.resources.iter().map(|resource| resource.word.as_str()));
        return 0;
    };
    u8::try_from(place).unwrap_or(u8::MAX)
}

fn name_of(check: &DraftCheck, group: Option<&Group>) -> String {
    let mut name = match (&check.name, group) {
        (Some((name, _)), _) => name.clone(),
        (None, group) => match (&check.kind, group) {
            (CheckKind::Monitor, group) => format!("monitor {}", group.map_or(check.subject.as_str(), Group::key)),
            (CheckKind::Ask(question), _) => format!("{} {}", question.word(), check.subject),
        },
    };
    while name.len() > NODE_NAME_MAX {
        name.pop();
    }
    name
}

impl Config {
    /// How long the partner's node checks must have been better before anything moves: `upstream_holdoff`, and no less than
    /// the two nodes may be apart in noticing one fault.
    pub(super) fn health_holdoff(&self) -> Duration {
        let of_node = self.checks.iter().filter(|check| check.group.is_none());
        let slowest =
            of_node.map(|check| check.every * u32::from(check.fall) + check.timeout).max().unwrap_or_default();
        (slowest + self.keepalive * 2).max(self.upstream_holdoff)
    }
}
