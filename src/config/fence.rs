//! How this node makes sure that its silent peer is off: `fence`, and Heartbeat's `stonith` and `stonith_host`
//! (spec/resources.md section 14). The files name everything that can be run; the engine only says which line.

mod classic;
mod files;
mod sense;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use classic::{read_stonith, read_stonith_host};
pub(super) use sense::{build, check};

use super::draft::Draft;
use super::finding::{At, quote};
use super::token::Word;
use crate::core::limits::FENCE_METHODS_MAX;
use crate::core::settings::{self, FenceKind, FenceSettings};
use files::{agent_path, look_at_program, plugin_path, read_secrets};

/// `fence_timeout` when it is not given.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for the device `null`.
const NULL_TIMEOUT: Duration = Duration::from_secs(5);
/// `fence_settle` when it is not given.
const DEFAULT_SETTLE: Duration = Duration::from_secs(60);
/// `fences_per_hour` when it is not given.
const DEFAULT_PER_HOUR: i64 = 3;
/// How long the reset line is held when `pulse` does not say.
const DEFAULT_RESET: Duration = Duration::from_millis(500);
/// How long power is held off when `pulse` does not say: long enough for the capacitors of a small board.
const DEFAULT_POWER_OFF: Duration = Duration::from_secs(5);
/// What a sense line may take beyond the pulse when `limit` does not say.
const DEFAULT_SENSE: Duration = Duration::from_secs(2);
/// Longest pulse: a guardian that is stopped must not find a peer that it has forgotten to let go.
const PULSE_MAX: Duration = Duration::from_secs(60);

/// No program does anything in less.
const PROGRAM_MIN: Duration = Duration::from_millis(100);

/// What `fence` can be followed by.
const METHODS: [&str; 6] = ["gpio", "external/NAME", "fence_NAME", "hook", "meatware", "watchdog-lease"];
const EXPECTED: &str =
    "`gpio`, `external/NAME`, an agent `fence_NAME`, `hook PATH`, `meatware` or `watchdog-lease TIME`";

/// How the peer is fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceConfig {
    /// In the order in which they are tried.
    pub methods: Vec<FenceMethod>,
    /// `fence_settle`: silence that must follow a failed shot before the next one.
    pub settle: Duration,
    /// `fences_per_hour`: more than these are not fired.
    pub per_hour: u8,
}

impl FenceConfig {
    /// As the core takes it.
    pub(super) fn settings(&self) -> FenceSettings {
        let methods = self.methods.iter().map(|method| settings::FenceMethod {
            kind: match method.how {
                FenceHow::Meatware => FenceKind::Manual,
                FenceHow::WatchdogLease(_) => FenceKind::WatchdogLease,
                _ => FenceKind::Device,
            },
            limit: method.limit,
            is_sensed: matches!(method.how, FenceHow::Gpio { is_sensed: true, .. }),
        });
        FenceSettings {
            methods: methods.take(FENCE_METHODS_MAX).collect(),
            settle: self.settle,
            per_hour_max: self.per_hour,
            ..FenceSettings::NONE
        }
    }

    /// The time of our own watchdog lease, when `watchdog-lease` is among the methods.
    pub fn lease(&self) -> Option<Duration> {
        self.methods.iter().find_map(|method| match method.how {
            FenceHow::WatchdogLease(lease) => Some(lease),
            _ => None,
        })
    }
}

/// One way to fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceMethod {
    /// As people know it: `gpio reset`, `external/ipmi`, `fence_apc`, `hook /path`, `meatware`.
    pub name: String,
    /// What is done.
    pub how: FenceHow,
    /// What it may take; zero where nothing is run.
    pub limit: Duration,
}

impl FenceMethod {
    /// The least time that is worth beginning a shot with, or the question whether it has worked.
    pub const fn least_time(&self) -> Duration {
        match self.how {
            FenceHow::Gpio { pulse, .. } => pulse,
            _ => PROGRAM_MIN,
        }
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FenceHow {
    /// A line to the peer's reset or power.
    Gpio {
        /// Which.
        line: FenceLine,
        /// For how long it is driven, at least.
        pulse: Duration,
        /// The line `peer-power`, where there is one, has the last word.
        is_sensed: bool,
    },
    /// A plugin of cluster-glue, run by us.
    External {
        /// The program.
        path: PathBuf,
        /// Become its environment.
        parameters: Parameters,
    },
    /// An agent of fence-agents.
    Agent {
        /// The program.
        path: PathBuf,
        /// Become its standard input.
        parameters: Parameters,
        /// `action=off`: the peer stays off, which can be verified.
        is_off: bool,
    },
    /// Any plugin, through the packaged program `stonith`.
    Stonith {
        /// The program `stonith`.
        program: PathBuf,
        /// Plugin, such as `external/ipmi`.
        kind: String,
        /// What it is told.
        parameters: StonithParameters,
    },
    /// A program of the operator's own, called with the node's name.
    Hook(PathBuf),
    /// A person looks, and says so.
    Meatware,
    /// No device: the peer's own watchdog resets it when it is no longer acknowledged for this long.
    WatchdogLease(Duration),
}

impl FenceHow {
    /// What it is, in one word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Gpio { .. } => "gpio",
            Self::External { .. } => "plugin",
            Self::Agent { .. } => "agent",
            Self::Stonith { .. } => "stonith",
            Self::Hook(_) => "hook",
            Self::Meatware => "person",
            Self::WatchdogLease(_) => "lease",
        }
    }
}

/// Which line to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FenceLine {
    /// `fence-reset`.
    Reset,
    /// `fence-power`.
    Power,
}

impl FenceLine {
    /// The word behind `gpio`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Power => "power",
        }
    }
}

/// What a plugin of `stonith` is told, by position.
#[derive(Clone, PartialEq, Eq)]
pub enum StonithParameters {
    /// The first line of this file that is no remark.
    File(PathBuf),
    /// This text.
    Text(String),
}

impl fmt::Debug for StonithParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            // Passwords stay out of logs.
            Self::Text(_) => f.write_str("Text"),
        }
    }
}

/// Names with values, in order. Passwords among them stay out of logs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// These.
    pub fn new(parameters: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(parameters.into_iter().collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A method and where its line stands.
#[derive(Debug)]
pub(super) struct DraftFence {
    pub(super) method: FenceMethod,
    pub(super) at: At,
    /// `limit`, where it is given; else it depends on other directives.
    limit: Option<Duration>,
}

/// `fence METHOD …`.
pub(super) fn read_fence(draft: &mut Draft<'_>, words: &[Word]) {
    let [first, rest @ ..] = words else {
        draft.findings.error(draft.here.1, "`fence` without a method").expected(EXPECTED);
        return;
    };
    let read = match first.text.as_str() {
        "gpio" => read_gpio(draft, rest),
        "meatware" => read_meatware(draft, rest),
        "watchdog-lease" => read_lease(draft, first, rest),
        "hook" => read_hook(draft, first, rest),
        name if name.starts_with("external/") => read_external(draft, first, rest),
        name if name.starts_with("fence_") => read_agent(draft, first, rest),
        _ => {
            let finding = draft.findings.error(first.at, first.quoted()).expected(EXPECTED);
            finding.nearest(&first.text, METHODS);
            None
        }
    };
    let Some((method, limit)) = read else { return };
    if let Some(other) = draft.fences.iter().find(|other| other.method.how == method.how) {
        let found = format!("`{}` a second time", method.name);
        let hint =
            format!("it stands in line {} already, and one that has failed is tried again anyway", other.at.line);
        draft.findings.warning(first.at, found).expected("each once").hint(hint);
        return;
    }
    draft.fences.push(DraftFence { method, at: first.at, limit });
}

type Read = Option<(FenceMethod, Option<Duration>)>;

/// Which words may follow a method.
#[derive(Clone, Copy)]
struct Allowed {
    has_pulse: bool,
    has_limit: bool,
    has_parameters: bool,
    expected: &'static str,
}

const NO_PARAMETERS: Allowed = Allowed { has_pulse: false, has_limit: true, has_parameters: false, expected: "" };

/// The words behind a method.
#[derive(Default)]
struct Options {
    pulse: Option<(Duration, At)>,
    is_unsensed: bool,
    limit: Option<Duration>,
    parameters: Vec<(String, String)>,
}

impl Options {
    /// Reads them; `None`, when something was refused.
    fn read(draft: &mut Draft<'_>, words: &[Word], allowed: Allowed) -> Option<Self> {
        let errors = draft.findings.errors();
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "pulse" if allowed.has_pulse => {
                    options.pulse = time_behind(draft, word, words.next());
                }
                "unsensed" if allowed.has_pulse => options.is_unsensed = true,
                "limit" if allowed.has_limit => {
                    options.limit = time_behind(draft, word, words.next()).map(|(time, _)| time);
                }
                "secret_file" if allowed.has_parameters => match words.next() {
                    Some(path) => {
                        let secrets = read_secrets(draft, path);
                        secrets.into_iter().for_each(|(name, value)| options.take(draft, path.at, name, value));
                    }
                    None => {
                        draft.findings.error(word.at, "`secret_file` without a path").expected("`secret_file PATH`");
                    }
                },
                text => match text.split_once('=') {
                    Some((name, value)) if allowed.has_parameters => {
                        warn_of_open_secret(draft, word.at, name);
                        options.take(draft, word.at, name.to_owned(), value.to_owned());
                    }
                    // What stands behind `=` may be a secret.
                    Some((name, _)) => draft.findings.refuse(word.at, quote(&format!("{name}=…")), allowed.expected),
                    None => {
                        let finding = draft.findings.error(word.at, word.quoted()).expected(allowed.expected);
                        finding.nearest(text, ["pulse", "limit", "secret_file"]);
                    }
                },
            }
        }
        (draft.findings.errors() == errors).then_some(options)
    }

    fn take(&mut self, draft: &mut Draft<'_>, at: At, name: String, value: String) {
        let is_name = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            draft.findings.refuse(at, format!("a parameter {}", quote(&name)), "a name of letters, digits and `_`");
        } else if self.parameters.iter().any(|(known, _)| *known == name) {
            draft.findings.refuse(at, format!("a second {}", quote(&name)), "each parameter once");
        } else {
            self.parameters.push((name, value));
        }
    }
}

fn time_behind(draft: &mut Draft<'_>, word: &Word, value: Option<&Word>) -> Option<(Duration, At)> {
    let Some(value) = value else {
        let found = format!("{} without a time", word.quoted());
        draft.findings.error(word.at, found).expected(format!("`{} TIME`", word.text));
        return None;
    };
    draft.unused_time = None;
    draft.time(value, false, |draft| &mut draft.unused_time).then_some(())?;
    draft.unused_time.take()
}

/// Somebody who may read ha.cf reads the peer's power switch's password in it.
fn warn_of_open_secret(draft: &mut Draft<'_>, at: At, name: &str) {
    let name = name.to_ascii_lowercase();
    let is_secret = ["passw", "secret", "token", "community"].iter().any(|part| name.contains(part));
    if draft.is_readable_by_others && is_secret && !name.ends_with("_file") && !name.ends_with("_script") {
        let finding = draft.findings.warning(at, format!("{} in a file that others may read", quote(&name)));
        finding.expected("`secret_file PATH`, a file of mode 0600 with lines NAME=VALUE");
    }
}

fn read_gpio(draft: &mut Draft<'_>, words: &[Word]) -> Read {
    let (line, words) = match words {
        [first, rest @ ..] if first.text == "reset" => (FenceLine::Reset, rest),
        [first, rest @ ..] if first.text == "power" => (FenceLine::Power, rest),
        words => (FenceLine::Reset, words),
    };
    let expected = "`fence gpio [reset|power] [unsensed] [pulse TIME] [limit TIME]`";
    let allowed = Allowed { has_pulse: true, expected, ..NO_PARAMETERS };
    let options = Options::read(draft, words, allowed)?;
    let default = if line == FenceLine::Reset { DEFAULT_RESET } else { DEFAULT_POWER_OFF };
    let (pulse, at) = options.pulse.unwrap_or((default, draft.here.1));
    if pulse > PULSE_MAX {
        draft.findings.refuse(at, format!("a pulse of {}", super::spoken(pulse)), "at most 60 s");
        return None;
    }
    let limit = options.limit.unwrap_or(pulse + DEFAULT_SENSE);
    if limit <= pulse {
        let found = format!("a limit of {} with a pulse of {}", super::spoken(limit), super::spoken(pulse));
        draft.findings.refuse(at, found, "more than the pulse");
        return None;
    }
    let name = format!("gpio {}", line.word());
    Some((
        FenceMethod { name, how: FenceHow::Gpio { line, pulse, is_sensed: !options.is_unsensed }, limit },
        Some(limit),
    ))
}

fn read_meatware(draft: &mut Draft<'_>, words: &[Word]) -> Read {
    let allowed = Allowed { has_limit: false, expected: "nothing behind `meatware`", ..NO_PARAMETERS };
    Options::read(draft, words, allowed)?;
    Some((meatware(), Some(Duration::ZERO)))
}

fn meatware() -> FenceMethod {
    FenceMethod { name: "meatware".into(), how: FenceHow::Meatware, limit: Duration::ZERO }
}

fn read_lease(draft: &mut Draft<'_>, first: &Word, words: &[Word]) -> Read {
    let [time, rest @ ..] = words else {
        let found = "`watchdog-lease` without a time";
        let expected = "`watchdog-lease TIME`: how long a node that is not acknowledged goes on kicking its watchdog";
        draft.findings.error(first.at, found).expected(expected);
        return None;
    };
    let (lease, _) = time_behind(draft, first, Some(time))?;
    let allowed = Allowed { has_limit: false, expected: "nothing behind the time", ..NO_PARAMETERS };
    Options::read(draft, rest, allowed)?;
    let method =
        FenceMethod { name: "watchdog-lease".into(), how: FenceHow::WatchdogLease(lease), limit: Duration::ZERO };
    Some((method, Some(Duration::ZERO)))
}

fn read_hook(draft: &mut Draft<'_>, first: &Word, words: &[Word]) -> Read {
    let [path, rest @ ..] = words else {
        draft.findings.error(first.at, "`hook` without a program").expected("`fence hook PATH [limit TIME]`");
        return None;
    };
    if !path.text.starts_with('/') {
        draft.findings.error(path.at, path.quoted()).expected("the path of a program, beginning with `/`");
        return None;
    }
    let allowed = Allowed { expected: "`fence hook PATH [limit TIME]`", ..NO_PARAMETERS };
    let options = Options::read(draft, rest, allowed)?;
    let program = PathBuf::from(&path.text);
    look_at_program(draft, path.at, &program, "the program that turns the peer off");
    let name = format!("hook {}", path.text);
    Some((FenceMethod { name, how: FenceHow::Hook(program), limit: DEFAULT_TIMEOUT }, options.limit))
}

/// The word behind a prefix, when it can be the name of a file.
fn file_name<'a>(draft: &mut Draft<'_>, word: &'a Word, prefix: &str) -> Option<&'a str> {
    let name = word.text.strip_prefix(prefix).unwrap_or_default();
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
    if name.is_empty() || name.starts_with('.') || !is_name {
        draft.findings.refuse(word.at, word.quoted(), format!("`{prefix}NAME`, the name of a file"));
        return None;
    }
    Some(name)
}

fn read_external(draft: &mut Draft<'_>, first: &Word, words: &[Word]) -> Read {
    let name = file_name(draft, first, "external/")?;
    let expected = "`fence external/NAME NAME=VALUE… [secret_file PATH] [limit TIME]`";
    let options = Options::read(draft, words, Allowed { has_parameters: true, expected, ..NO_PARAMETERS })?;
    let path = plugin_path(draft, first.at, name);
    classic::compare_names(draft, first, &options.parameters);
    let how = FenceHow::External { path, parameters: Parameters(options.parameters) };
    Some((FenceMethod { name: first.text.clone(), how, limit: DEFAULT_TIMEOUT }, options.limit))
}

fn read_agent(draft: &mut Draft<'_>, first: &Word, words: &[Word]) -> Read {
    file_name(draft, first, "")?;
    let expected = "`fence fence_NAME NAME=VALUE… [secret_file PATH] [limit TIME]`";
    let options = Options::read(draft, words, Allowed { has_parameters: true, expected, ..NO_PARAMETERS })?;
    let mut parameters = options.parameters;
    let action = parameters.iter().position(|(name, _)| name == "action" || name == "option");
    let is_off = match action.map(|place| parameters.remove(place).1).as_deref() {
        None | Some("reboot") => false,
        Some("off") => true,
        Some(other) => {
            draft.findings.refuse(first.at, format!("the action {}", quote(other)), "`off` or `reboot`");
            return None;
        }
    };
    let path = agent_path(draft, first.at, &first.text);
    let how = FenceHow::Agent { path, parameters: Parameters(parameters), is_off };
    Some((FenceMethod { name: first.text.clone(), how, limit: DEFAULT_TIMEOUT }, options.limit))
}

/// Where a program is looked for.
fn find(draft: &Draft<'_>, folders: &[&str], name: &str) -> Option<PathBuf> {
    let places = folders.iter().map(|folder| Path::new(folder).join(name));
    let mut places = places.filter(|path| draft.machine.file(path) != super::FileKind::Missing);
    places.next()
}
