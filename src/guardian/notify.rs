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
//! A site's own `rc.d` file ([`super::rc_d`]) gets the type of the message, and its fields as variables with
//! `HA_OSTATUS` and `HA_NICEFAILBACK`; `ifstat` has `HA_t`, `HA_node`, `HA_ifname`, `HA_st` (up, dead). Messages have a
//! queue of their own, so that those who send many cost nobody his news; of what does not fit the newest is dropped and
//! counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CString;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use super::launcher::{Launch, Launcher, Run};
use super::messages::SiteMessage;
use super::rc_d::{self, LINK_TYPE, RcDirectory};
use super::script::Ending;
use crate::config::{Config, Group};
use crate::core::Cause;
use crate::core::ids::{LinkId, PingId};
use crate::core::message::GroupState;
use crate::core::settings::AutoFailback;

/// Runs that wait. Beyond it the oldest is dropped and counted.
const WAITING_MAX: usize = 128;
/// Messages that wait for their script. One more is dropped and counted.
const MESSAGES_MAX: usize = 32;

/// Runs the programs that want to know.
#[derive(Debug)]
pub struct Notifier {
    programs: Vec<PathBuf>,
    scripts: RcDirectory,
    is_nice: bool,
    nodes: Vec<String>,
    links: Vec<String>,
    ping_nodes: Vec<String>,
    node_states: BTreeMap<u8, &'static str>,
    waiting: VecDeque<Waiting>,
    dropped: u64,
    messages: VecDeque<Waiting>,
    messages_dropped: u64,
    /// Of these, what has been said.
    drops_told: u64,
    run: Option<Run>,
    current: PathBuf,
    /// Programs whose failure has been said.
    failed: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    news: Rc<News>,
    is_rc: bool,
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
            scripts: RcDirectory::default(),
            is_nice: false,
            nodes: Vec::new(),
            links: Vec::new(),
            ping_nodes: Vec::new(),
            node_states: BTreeMap::new(),
            waiting: VecDeque::new(),
            dropped: 0,
            messages: VecDeque::new(),
            messages_dropped: 0,
            drops_told: 0,
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
        let pings = config.media.iter().filter(|medium| medium.is_ping());
        self.ping_nodes = pings.map(|medium| medium.name()).collect();
        self.failed.clear();
        // A Heartbeat without resource management has no use for them either (spec/wire.md section 7).
        let scripts = config.has_resources.then(|| RcDirectory::list(&config.paths.config.join("rc.d")));
        self.scripts = scripts.unwrap_or_default();
    }

    /// Types of messages between nodes for which there is a script.
    pub fn message_types(&self) -> Vec<String> {
        self.scripts.message_types().cloned().collect()
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

    /// Whether a node is a full member, as far as was told.
    pub fn is_anybody_active(&self) -> bool {
        self.node_states.values().any(|state| *state == "active")
    }

    /// A link to a node came up or died.
    pub fn link(&mut self, node: u8, link: LinkId, is_up: bool) {
        let (old, new) = if is_up { ("dead", "up") } else { ("up", "dead") };
        let name = self.node_name(node);
        let link = self.links.get(usize::from(link.0)).cloned().unwrap_or_else(|| link.0.to_string());
        self.tell_link_script((&name, &link), new);
        let mut news = news("link", &format!("{name}:{link}"), old, new, "-");
        news.variables.push(("NULLBEAT_NODE".into(), name));
        news.variables.push(("NULLBEAT_LINK".into(), link));
        self.tell_programs(news);
    }

    /// A ping node has come back or died: a node with one link, of its own name (spec/wire.md 9.3).
    pub fn ping(&mut self, ping: PingId, is_alive: bool) {
        let Some(name) = self.ping_nodes.get(usize::from(ping.0)).cloned() else { return };
        self.tell_link_script((&name, &name), if is_alive { "up" } else { "dead" });
    }

    fn tell_link_script(&mut self, (node, link): (&str, &str), state: &str) {
        if let Some(path) = self.scripts.script(LINK_TYPE) {
            let fields = [("HA_t", LINK_TYPE), ("HA_node", node), ("HA_ifname", link), ("HA_st", state)];
            let variables = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            let news = Rc::new(self.rc_news(LINK_TYPE, variables));
            self.push(Waiting { path, news, is_rc: true });
        }
    }

    /// A node's message, of a type that has a script here.
    pub fn message(&mut self, message: &SiteMessage, launcher: &Launcher) {
        // Whatever the engine says, only a name from our own list becomes a path.
        let Some(path) = self.scripts.script(&message.kind).filter(|_| message.kind != LINK_TYPE) else { return };
        if self.messages.len() >= MESSAGES_MAX {
            if self.messages_dropped == self.drops_told {
                log::warn!("rc.d: {MESSAGES_MAX} messages wait for their scripts: dropping further ones");
            }
            self.messages_dropped += 1;
            return;
        }
        let variables = rc_d::variables(&message.fields, launcher.base_environment());
        let news = Rc::new(self.rc_news(&message.kind, variables));
        self.messages.push_back(Waiting { path, news, is_rc: true });
    }

    /// What harc makes of a message (spec/resources.md 5.2), from its fields.
    fn rc_news(&self, kind: &str, mut variables: Vec<(String, String)>) -> News {
        variables.push(("HA_OSTATUS".into(), "active".into()));
        if self.is_nice {
            variables.push(("HA_NICEFAILBACK".into(), "yes".into()));
        }
        News { words: vec![kind.to_owned()], variables }
    }

    fn node_name(&self, node: u8) -> String {
        self.nodes.get(usize::from(node)).cloned().unwrap_or_else(|| node.to_string())
    }

    fn tell_programs(&mut self, news: News) {
        let news = Rc::new(news);
        for path in self.programs.clone() {
            self.push(Waiting { path, news: Rc::clone(&news), is_rc: false });
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

    /// Messages that were dropped because too many waited for their script.
    pub fn messages_dropped(&self) -> u64 {
        self.messages_dropped
    }

    /// Whether nothing runs or waits.
    pub fn is_idle(&self) -> bool {
        self.run.is_none() && self.waiting.is_empty() && self.messages.is_empty()
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
            let Some(next) = self.waiting.pop_front().or_else(|| self.messages.pop_front()) else {
                self.tell_drops();
                return;
            };
            self.start(now, &next, launcher);
        }
    }

    fn tell_drops(&mut self) {
        let count = self.messages_dropped - self.drops_told;
        if count > 0 {
            log::warn!("rc.d: {count} messages were dropped; {} since the start", self.messages_dropped);
            self.drops_told = self.messages_dropped;
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
        let level = if next.is_rc { log::Level::Info } else { log::Level::Debug };
        log::log!(level, "Running {} {}", next.path.display(), words.join(" "));
        let name = next.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let launch = Launch {
            path: &next.path,
            arguments: &words,
            variables: &variables,
            is_acquiring: false,
            is_unasked: false,
            is_status: false,
            name: &name,
            input: None,
            is_bound: false,
            limit: None,
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
        Cause::Upstream => "upstream",
        Cause::Health => "health",
    }
}
