//! Tells other programs what has changed: `notify PATH` programs, and a site's own `rc.d` files.
//!
//! A `notify` program gets the words `EVENT NAME OLD NEW CAUSE` and the same as variables:
//!
//! | EVENT | NAME | OLD, NEW | CAUSE |
//! |---|---|---|---|
//! | `group` | first word of the group | stopped, starting, running, stopping, start-failed, stop-failed, unknown | startup, death, goodbye, failback, operator, start-failure, split-brain, shutdown, script |
//! | `node` | node | init, up, active, dead | - |
//! | `link` | `NODE:LINK` | up, dead | - |
//!
//! Variables: `NULLBEAT_EVENT`, `_NAME`, `_OLD`, `_NEW`, `_CAUSE`, and `NULLBEAT_GROUP` (all words of the line),
//! `NULLBEAT_PREFERRED`, or `NULLBEAT_NODE`, `NULLBEAT_LINK`. They run one at a time beside the resource scripts, with
//! the same time limit; nobody waits for them. Of what waits too long the oldest is dropped and counted.
//!
//! Of Heartbeat's `rc.d` work the message type `ifstat` is the one that is left to a site's own file: it runs with
//! `HA_t`, `HA_node`, `HA_ifname`, `HA_st` (up, dead), `HA_OSTATUS`. What Heartbeat's packages put there is done by this
//! daemon itself and never run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use super::launcher::{Launch, Launcher, Run};
use super::lookup::is_plain_name;
use super::script::Ending;
use crate::config::{Config, Group};
use crate::core::Cause;
use crate::core::ids::LinkId;
use crate::core::message::GroupState;
use crate::core::settings::AutoFailback;

/// Runs that wait. Beyond it the oldest is dropped and counted.
const WAITING_MAX: usize = 128;
/// Files of Heartbeat's packages in `rc.d`.
const PACKAGED: &[&str] = &["status", "ip-request", "ip-request-resp", "hb_takeover", "ask_resources"];
/// The message type that still runs a file of `rc.d`.
const LINK_TYPE: &str = "ifstat";

/// Runs the programs that want to know.
#[derive(Debug)]
pub struct Notifier {
    programs: Vec<PathBuf>,
    /// `rc.d/ifstat`, if there is one.
    link_script: Option<PathBuf>,
    is_nice: bool,
    nodes: Vec<String>,
    links: Vec<String>,
    node_states: BTreeMap<u8, &'static str>,
    waiting: VecDeque<Waiting>,
    dropped: u64,
    run: Option<Run>,
    current: PathBuf,
    /// Programs whose failure has been said.
    failed: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    news: Rc<News>,
}

/// Words and variables of one run.
#[derive(Debug, PartialEq, Eq)]
struct News {
    words: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Notifier {
    /// Looks into `rc.d` and says what of it is not run.
    pub fn new(config: &Config) -> Self {
        let mut this = Self {
            programs: Vec::new(),
            link_script: None,
            is_nice: false,
            nodes: Vec::new(),
            links: Vec::new(),
            node_states: BTreeMap::new(),
            waiting: VecDeque::new(),
            dropped: 0,
            run: None,
            current: PathBuf::new(),
            failed: BTreeSet::new(),
        };
        this.replace_config(config);
        this
    }

    /// Other files, other programs. What waits is still run.
    pub fn replace_config(&mut self, config: &Config) {
        self.programs.clone_from(&config.notify);
        self.is_nice = config.auto_failback != AutoFailback::Legacy;
        self.nodes.clone_from(&config.nodes);
        self.links = config.media.iter().map(|medium| medium.name()).collect();
        self.failed.clear();
        self.link_script = find_link_script(&config.paths.config.join("rc.d"));
    }

    /// A group changed here.
    pub fn group(&mut self, group: &Group, old: GroupState, new: GroupState, cause: Cause) {
        let mut news = news("group", group.key(), state_word(old), state_word(new), cause_word(cause));
        news.variables.push(("NULLBEAT_GROUP".into(), group.text.clone()));
        news.variables.push(("NULLBEAT_PREFERRED".into(), group.node.clone()));
        self.tell_programs(news);
    }

    /// A node's status changed; `status` is the first letter of the word.
    pub fn node(&mut self, node: u8, status: u8) {
        let new = match status {
            b'u' => "up",
            b'a' => "active",
            b'd' => "dead",
            _ => "init",
        };
        let old = self.node_states.insert(node, new).unwrap_or("init");
        let name = self.node_name(node);
        let mut news = news("node", &name, old, new, "-");
        news.variables.push(("NULLBEAT_NODE".into(), name));
        self.tell_programs(news);
    }

    /// A link to a node came up or died.
    pub fn link(&mut self, node: u8, link: LinkId, is_up: bool) {
        let (old, new) = if is_up { ("dead", "up") } else { ("up", "dead") };
        let name = self.node_name(node);
        let link = self.links.get(usize::from(link.0)).cloned().unwrap_or_else(|| link.0.to_string());
        if let Some(path) = self.link_script.clone() {
            let news = Rc::new(self.link_message(&name, &link, new));
            self.push(Waiting { path, news });
        }
        let mut news = news("link", &format!("{name}:{link}"), old, new, "-");
        news.variables.push(("NULLBEAT_NODE".into(), name));
        news.variables.push(("NULLBEAT_LINK".into(), link));
        self.tell_programs(news);
    }

    /// What harc would have made of an `ifstat` message (spec/resources.md 5.2): these fields and no other.
    fn link_message(&self, node: &str, link: &str, state: &str) -> News {
        let mut fields = vec![
            ("HA_t", LINK_TYPE),
            ("HA_node", node),
            ("HA_ifname", link),
            ("HA_st", state),
            ("HA_OSTATUS", "active"),
        ];
        if self.is_nice {
            fields.push(("HA_NICEFAILBACK", "yes"));
        }
        let variables = fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        News { words: vec![LINK_TYPE.to_owned()], variables }
    }

    fn node_name(&self, node: u8) -> String {
        self.nodes.get(usize::from(node)).cloned().unwrap_or_else(|| node.to_string())
    }

    fn tell_programs(&mut self, news: News) {
        let news = Rc::new(news);
        for path in self.programs.clone() {
            self.push(Waiting { path, news: Rc::clone(&news) });
        }
    }

    fn push(&mut self, waiting: Waiting) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(waiting);
    }

    /// Runs that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether nothing runs or waits.
    pub fn is_idle(&self) -> bool {
        self.run.is_none() && self.waiting.is_empty()
    }

    /// Kills the program that runs.
    pub fn kill(&self) {
        if let Some(run) = &self.run {
            run.kill();
        }
    }

    /// When [`turn`](Self::turn) is due even if no program ends.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.run.as_ref()?.next_deadline()
    }

    /// Sees to the program that runs, starts the next.
    pub fn turn(&mut self, now: Instant, launcher: &mut Launcher) {
        loop {
            if self.run.is_some() {
                let Some(ended) = launcher.check(now, &mut self.run) else { return };
                self.judge(ended.ending);
            }
            let Some(next) = self.waiting.pop_front() else { return };
            self.start(now, &next, launcher);
        }
    }

    fn start(&mut self, now: Instant, next: &Waiting, launcher: &mut Launcher) {
        let words: Vec<&str> = next.news.words.iter().map(String::as_str).collect();
        let variables: Vec<CString> = next
            .news
            .variables
            .iter()
            .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok())
            .collect();
        log::debug!("Running {} {}", next.path.display(), words.join(" "));
        let name = next.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let launch = Launch {
            path: &next.path,
            arguments: &words,
            variables: &variables,
            is_acquiring: false,
            is_status: false,
            name: &name,
        };
        self.current.clone_from(&next.path);
        match launcher.launch(now, &launch) {
            Ok(run) => self.run = Some(run),
            Err(error) => self.complain(&format!("cannot run {}: {error}", next.path.display())),
        }
    }

    fn judge(&mut self, ending: Ending) {
        let path = self.current.display().to_string();
        match ending {
            Ending::Code(0) => {
                self.failed.remove(&self.current);
            }
            Ending::Code(code) => self.complain(&format!("Return code {code} from {path}")),
            Ending::OverTime | Ending::Unkillable => self.complain(&format!("{path} took too long and was killed")),
        }
    }

    /// Once, until it works again.
    fn complain(&mut self, text: &str) {
        if self.failed.insert(self.current.clone()) {
            log::warn!("{text}");
        }
    }
}

fn news(event: &str, name: &str, old: &str, new: &str, cause: &str) -> News {
    let words = [event, name, old, new, cause].map(str::to_owned);
    let names = ["EVENT", "NAME", "OLD", "NEW", "CAUSE"];
    let variables = names.iter().zip(&words).map(|(name, word)| (format!("NULLBEAT_{name}"), word.clone())).collect();
    News { words: words.to_vec(), variables }
}

/// Lists `rc.d` once, as Heartbeat does (spec/resources.md 5.1).
fn find_link_script(directory: &Path) -> Option<PathBuf> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && is_plain_name(name))
        .collect();
    names.sort();
    let (packaged, own): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| PACKAGED.contains(&name.as_str()));
    if !packaged.is_empty() {
        log::info!("{}: never run, done by this daemon itself: {}", directory.display(), packaged.join(" "));
    }
    let (links, others): (Vec<String>, Vec<String>) = own.into_iter().partition(|name| name == LINK_TYPE);
    if !others.is_empty() {
        log::warn!(
            "{}: not run, as no such message is passed on: {} (see `notify`)",
            directory.display(),
            others.join(" ")
        );
    }
    links.first().map(|name| directory.join(name))
}

fn state_word(state: GroupState) -> &'static str {
    match state {
        GroupState::Unknown => "unknown",
        GroupState::Stopped => "stopped",
        GroupState::Starting => "starting",
        GroupState::Running => "running",
        GroupState::Stopping => "stopping",
        GroupState::StartFailed => "start-failed",
        GroupState::StopFailed => "stop-failed",
    }
}

fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Startup => "startup",
        Cause::Death => "death",
        Cause::Goodbye => "goodbye",
        Cause::Failback => "failback",
        Cause::Operator => "operator",
        Cause::StartFailure => "start-failure",
        Cause::SplitBrain => "split-brain",
        Cause::Shutdown => "shutdown",
        Cause::Script => "script",
    }
}
