//! What a running node tells about itself, as text over the control socket, and how the other end reads it.
//!
//! A report is a series of lines `kind⇥name=value⇥name=value…`. Its first line is `report⇥version=1`; a reader ignores
//! kinds and names that it does not know, so both grow without a new version. Times are ages (`…_ms`): the two ends
//! need not agree about the time of day. What is not known is left out. Flags are 0 and 1.
//!
//! [`SCHEMA`] lists the kinds with their fields; docs/status.md explains them.

mod cables;
mod reading;
mod status;
pub(super) mod words;

use std::fmt::{self, Write as _};

use crate::api::client::Server;
use crate::api::membership::service::Service;
use crate::config::{FenceMethod, GpioLine, Group};
use crate::core::Node;
use crate::core::ids::{CheckId, GroupId, LinkId, NodeId, PingId};
use crate::core::settings::Settings;
use crate::core::time::{Duration, Instant, Stamp};
use crate::hardware::watchdog::Device;

use super::confinement::Confinement;
use super::control::server::ControlCounters;
use super::control::{Query, Sheet};
use super::fence_book::FenceBook;
use super::kicker::Kicker;
use super::last_move::Move;
use super::link_table::LinkTable;
use crate::wire::heartbeat::FifoCounters;

pub use reading::{BadReport, Line, Report};

/// Version of the lines and of the JSON made from them.
pub const VERSION: u32 = 1;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A whole number.
    Number,
    /// 0 or 1.
    Flag,
}

/// How the lines of one kind look in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// At most one line: an object.
    One,
    /// Any number: a list of objects.
    List,
    /// Any number, each a name and a value: an object.
    Map,
}

/// One kind of line.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// First word of its lines.
    pub kind: &'static str,
    /// Its name in JSON.
    pub name: &'static str,
    /// How many lines of it there are.
    pub shape: Shape,
    /// Names and types of the values.
    pub fields: &'static [(&'static str, Kind)],
}

use Kind::{Flag, Number, Text};

/// Every kind of line with its fields, in the order in which they are written.
pub const SCHEMA: &[Section] = &[
    Section {
        kind: "node",
        name: "node",
        shape: Shape::One,
        fields: &[
            ("place", Number),
            ("name", Text),
            ("status", Text),
            ("phase", Text),
            ("handover", Text),
            ("holds", Text),
            ("is_settled", Flag),
            ("is_held", Flag),
            ("generation", Number),
            ("uuid", Text),
            ("program", Text),
            ("engine_pid", Number),
            ("guardian_pid", Number),
            ("uptime_ms", Number),
            ("signing_key", Number),
            ("config_digest", Text),
            ("resources_digest", Text),
            ("is_filtered", Flag),
            ("is_landlocked", Flag),
            ("refused_calls", Number),
        ],
    },
    Section {
        kind: "settings",
        name: "settings",
        shape: Shape::One,
        fields: &[
            ("keepalive_ms", Number),
            ("warntime_ms", Number),
            ("deadtime_ms", Number),
            ("initdead_ms", Number),
            ("announced_deadtime_ms", Number),
            ("auto_failback", Text),
            ("takeover_policy", Text),
            ("has_resources", Flag),
        ],
    },
    Section {
        kind: "group",
        name: "groups",
        shape: Shape::List,
        fields: &[
            ("key", Text),
            ("preferred", Text),
            ("state", Text),
            ("since_ms", Number),
            ("cause", Text),
            ("is_claimed", Flag),
            ("retry_in_ms", Number),
            ("partner_state", Text),
        ],
    },
    Section {
        kind: "peer",
        name: "peers",
        shape: Shape::List,
        fields: &[
            ("place", Number),
            ("name", Text),
            ("status", Text),
            ("is_partner", Flag),
            ("program", Text),
            ("generation", Number),
            ("heard_ms", Number),
            ("deadtime_ms", Number),
            ("hears_us", Flag),
            ("is_settled", Flag),
            ("is_held", Flag),
            ("holds", Text),
            ("config_digest", Text),
            ("resources_digest", Text),
        ],
    },
    Section {
        kind: "ping",
        name: "ping_nodes",
        shape: Shape::List,
        fields: &[
            ("place", Number),
            ("name", Text),
            ("status", Text),
            ("heard_ms", Number),
            ("answers", Number),
            ("deaths", Number),
        ],
    },
    Section {
        kind: "upstream",
        name: "upstream",
        shape: Shape::One,
        fields: &[("is_compared", Flag), ("here", Number), ("partner", Number), ("holdoff_ms", Number)],
    },
    Section {
        kind: "check",
        name: "checks",
        shape: Shape::List,
        fields: &[("name", Text), ("group", Text), ("health", Text), ("restarts", Number), ("restarts_max", Number)],
    },
    Section {
        kind: "health",
        name: "health",
        shape: Shape::One,
        fields: &[
            ("failing", Number),
            ("unknown", Number),
            ("partner_failing", Number),
            ("partner_unknown", Number),
            ("holdoff_ms", Number),
        ],
    },
    Section {
        kind: "membership",
        name: "membership",
        shape: Shape::One,
        fields: &[("state", Text), ("instance", Number), ("has_quorum", Flag), ("programs", Number)],
    },
    Section {
        kind: "member",
        name: "members",
        shape: Shape::List,
        fields: &[("id", Number), ("name", Text), ("born_on", Number)],
    },
    Section {
        kind: "client_socket",
        name: "client_socket",
        shape: Shape::One,
        fields: &[
            ("connected", Number),
            ("signed_on", Number),
            ("queue_max", Number),
            ("accepted", Number),
            ("granted", Number),
            ("refused", Number),
            ("crowded", Number),
            ("garbage", Number),
            ("unread", Number),
            ("relayed", Number),
            ("too_long", Number),
            ("unfit", Number),
        ],
    },
    Section {
        kind: "client",
        name: "clients",
        shape: Shape::List,
        fields: &[("name", Text), ("pid", Number), ("uid", Number), ("queue", Number), ("queue_max", Number)],
    },
    Section {
        kind: "link",
        name: "links",
        shape: Shape::List,
        fields: &[
            ("name", Text),
            ("peer", Text),
            ("is_up", Flag),
            ("heard_ms", Number),
            ("peer_heard_ms", Number),
            ("received", Number),
            ("duplicates", Number),
            ("deaths", Number),
            ("format", Text),
        ],
    },
    Section {
        kind: "medium",
        name: "media",
        shape: Shape::List,
        fields: &[
            ("name", Text),
            ("is_open", Flag),
            ("sent", Number),
            ("unsent", Number),
            ("losses", Number),
            ("received", Number),
            ("noise_bytes", Number),
            ("torn", Number),
            ("oversize", Number),
        ],
    },
    Section {
        kind: "reject",
        name: "rejects",
        shape: Shape::List,
        fields: &[("link", Text), ("reason", Text), ("count", Number)],
    },
    Section {
        kind: "cable",
        name: "cables",
        shape: Shape::List,
        fields: &[("name", Text), ("verdict", Text), ("advice", Text), ("grounds", Text)],
    },
    Section {
        kind: "watchdog",
        name: "watchdogs",
        shape: Shape::List,
        fields: &[
            ("device", Text),
            ("identity", Text),
            ("timeout_ms", Number),
            ("kicked_ms", Number),
            ("withheld", Text),
            ("failures", Number),
            ("reset_cause", Text),
            ("is_nowayout", Flag),
        ],
    },
    Section {
        kind: "alarm",
        name: "alarms",
        shape: Shape::List,
        fields: &[("name", Text), ("subject", Text), ("text", Text)],
    },
    Section {
        kind: "fencing",
        name: "fencing",
        shape: Shape::One,
        fields: &[
            ("stage", Text),
            ("method", Number),
            ("next_ms", Number),
            ("since_ms", Number),
            ("tries", Number),
            ("needs_person", Flag),
            ("in_hour", Number),
        ],
    },
    Section {
        kind: "fence",
        name: "fences",
        shape: Shape::List,
        fields: &[
            ("place", Number),
            ("name", Text),
            ("kind", Text),
            ("limit_ms", Number),
            ("is_answering", Flag),
            ("checked_ms", Number),
            ("last", Text),
            ("last_ms", Number),
            ("took_ms", Number),
        ],
    },
    Section {
        kind: "line",
        name: "lines",
        shape: Shape::List,
        fields: &[("name", Text), ("line", Text), ("direction", Text), ("level", Text), ("is_believed", Flag)],
    },
    Section {
        kind: "move",
        name: "last_move",
        shape: Shape::One,
        fields: &[
            ("cause", Text),
            ("age_ms", Number),
            ("wall", Number),
            ("detect_us", Number),
            ("decide_us", Number),
            ("total_us", Number),
            ("running", Number),
            ("failed", Number),
            ("more_scripts", Number),
        ],
    },
    Section {
        kind: "script",
        name: "last_move_scripts",
        shape: Shape::List,
        fields: &[("group", Text), ("resource", Text), ("us", Number)],
    },
    Section { kind: "counter", name: "counters", shape: Shape::Map, fields: &[("name", Text), ("value", Number)] },
    Section {
        kind: "event",
        name: "events",
        shape: Shape::List,
        fields: &[
            ("number", Number),
            ("age_ms", Number),
            ("wall", Number),
            ("monotonic_ms", Number),
            ("boot", Text),
            ("node", Text),
            ("event", Text),
            ("subject", Text),
            ("from", Text),
            ("to", Text),
            ("cause", Text),
            ("ms", Number),
            ("heard_ms", Number),
            ("links", Text),
            ("pings", Text),
            ("lines", Text),
            ("gate", Text),
            ("generation", Number),
        ],
    },
];

/// Everything a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Now.
    pub at: Stamp,
    /// When this engine started.
    pub started: Instant,
    /// The core.
    pub node: &'a Node,
    /// What the engine has given up.
    pub confinement: &'a Confinement,
    /// What numbers stand for.
    pub names: Names<'a>,
    /// The last move to this node.
    pub last_move: Option<&'a Move>,
    /// What is known of each.
    pub fences: &'a FenceBook,
    /// The GPIO lines of the board.
    pub gpio: &'a [GpioLine],
    /// Devices and sockets.
    pub links: &'a LinkTable,
    /// Watchdogs.
    pub kicker: &'a Kicker<Device>,
    /// The control socket's own.
    pub control: ControlCounters,
    /// The FIFO's.
    pub fifo: FifoCounters,
    /// The socket of Heartbeat's clients.
    pub clients: Option<&'a Server>,
    /// The membership service, with `membership on`.
    pub membership: Option<Membership<'a>>,
}

/// The built-in membership service.
#[derive(Debug, Clone, Copy)]
pub struct Membership<'a> {
    /// Once communication is up.
    pub service: Option<&'a Service>,
    /// Programs that follow it.
    pub programs: usize,
}

/// The names of what the core knows by numbers.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// Knows nodes, links and ping nodes.
    pub settings: &'a Settings,
    /// The groups of haresources.
    pub groups: &'a [Group],
    /// Those of ping nodes have a name, too.
    pub links: &'a LinkTable,
    /// The lines of ha.cf by which the partner is fenced.
    pub fences: &'a [FenceMethod],
}

/// Writes the report that a query asks for.
pub fn write(query: Query, facts: &Facts<'_>, sheet: &mut Sheet) {
    // A Sheet takes everything and says itself when it was too much.
    let _ = writeln!(sheet, "report\tversion={VERSION}");
    let mut out = Lines { sheet };
    match query {
        Query::Status => status::write(facts, &mut out),
    }
}

impl<'a> Names<'a> {
    /// A method of fencing; what is none was an operator's word.
    pub(super) fn fence(&self, method: u8) -> &'a str {
        self.fences.get(usize::from(method)).map_or("operator", |method| method.name.as_str())
    }

    pub(super) fn key(&self, group: GroupId) -> &'a str {
        self.groups.get(usize::from(group.0)).map_or("", |group| group.key())
    }

    fn resource(&self, group: GroupId, place: u8) -> &'a str {
        let group = self.groups.get(usize::from(group.0));
        group.and_then(|group| group.resources.get(usize::from(place))).map_or("", |resource| resource.word.as_str())
    }

    pub(super) fn node(&self, node: NodeId) -> &'a str {
        self.settings.nodes.get(usize::from(node.0)).map_or("", |name| name.as_str())
    }

    pub(super) fn link(&self, link: LinkId) -> &'a str {
        let peers = self.settings.links.get(usize::from(link.0)).map(|name| name.as_str());
        // Those of ping nodes come behind.
        let pings = || self.links.iter().find(|(id, _)| *id == link).map(|(_, slot)| slot.name());
        peers.or_else(pings).unwrap_or("")
    }

    pub(super) fn ping(&self, ping: PingId) -> &'a str {
        self.settings.upstream.ping_nodes.get(usize::from(ping.0)).map_or("", |name| name.as_str())
    }

    pub(super) fn check(&self, check: CheckId) -> &'a str {
        self.settings.health.checks.get(usize::from(check.0)).map_or("", |check| check.name.as_str())
    }

    pub(super) fn subject(&self, subject: &words::Subject) -> Option<&'a str> {
        match subject {
            words::Subject::Nothing => None,
            words::Subject::Link(link) => Some(self.link(*link)),
            words::Subject::Group(group) => Some(self.key(*group)),
            words::Subject::Line(line) => Some(line.name()),
            words::Subject::Check(check) => Some(self.check(*check)),
        }
    }
}

impl Facts<'_> {
    fn age_ms(&self, then: Instant) -> u64 {
        millis(self.at.now.since(then))
    }
}

/// Writes lines: [`begin`](Self::begin), fields, [`end`](Self::end).
struct Lines<'a> {
    sheet: &'a mut Sheet,
}

impl Lines<'_> {
    fn begin(&mut self, kind: &str) -> &mut Self {
        let _ = self.sheet.write_str(kind);
        self
    }

    fn end(&mut self) {
        let _ = self.sheet.write_str("\n");
    }

    /// A value; control characters in it would garble the report and are replaced.
    fn field(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        let _ = write!(self.sheet, "\t{name}=");
        let _ = write!(Clean(self.sheet), "{value}");
        self
    }

    fn flag(&mut self, name: &str, is_set: bool) -> &mut Self {
        self.field(name, u8::from(is_set))
    }

    /// Nothing when there is no value.
    fn maybe(&mut self, name: &str, value: Option<impl fmt::Display>) -> &mut Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }
}

struct Clean<'a>(&'a mut Sheet);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, part) in text.split(char::is_control).enumerate() {
            if at > 0 {
                self.0.write_str("?")?;
            }
            self.0.write_str(part)?;
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FenceHow, Resource};
    use crate::core::ids::{Generation, KeyNumber, Uuid};
    use crate::core::message::GroupState;
    use crate::core::message::Holds;
    use crate::core::settings::{AutoFailback, GroupSettings, Identity, SplitBrainLoser, TakeoverPolicy};
    use crate::core::{
        Alarm, Cause, Event, FenceStep, Input, InputLine, JobOutcome, LineLevel, Order, Outcome, Request,
    };
    use crate::daemon::history::words::{What, entry};
    use crate::daemon::last_move::{LastMove, Script};
    use crate::daemon::watchdogs::HeldWatchdog;
    use crate::hardware::watchdog::{Armed, ResetCause};

    fn settings() -> Settings {
        Settings {
            nodes: ["rsa", "rsb"].iter().map(|name| (*name).try_into().unwrap()).collect(),
            local: NodeId(0),
            partner: Some(NodeId(1)),
            links: ["/dev/ttyS0", "eth0"].iter().map(|name| (*name).try_into().unwrap()).collect(),
            groups: [GroupSettings { preferred: NodeId(1) }].into_iter().collect(),
            keepalive: Duration::from_millis(200),
            warntime: Duration::from_millis(500),
            deadtime: Duration::from_secs(1),
            announced_extra: Duration::ZERO,
            initdead: Duration::from_secs(4),
            max_rexmit_delay: Duration::from_millis(250),
            signing_key: KeyNumber(1),
            auto_failback: AutoFailback::Off,
            failback_delay: Duration::ZERO,
            moves_per_hour: 0,
            takeover_policy: TakeoverPolicy::Safe,
            split_brain_loser: SplitBrainLoser::NotPreferred,
            upstream: crate::core::settings::UpstreamSettings::NONE,
            health: crate::core::settings::HealthSettings::NONE,
            fence: crate::core::settings::FenceSettings::NONE,
            interlock: None,
            has_owner_line: false,
            lease: None,
            config_digest: 0xabc,
            resources_digest: 1,
            has_resources: true,
            autojoin: crate::core::settings::Autojoin::default(),
            random_seed: 1,
        }
    }

    fn groups() -> Vec<Group> {
        let resource = |word: &str| Resource { word: word.into(), script: word.into(), arguments: Vec::new() };
        let resources = vec![resource("10.0.0.1"), resource("httpd")];
        vec![Group { node: "rsb".into(), text: "10.0.0.1 httpd".into(), resources }]
    }

    /// The sample's one UDP link, which met two bad packets.
    fn links(now: Instant) -> LinkTable {
        let mut links = LinkTable::new(&crate::config::sample::config(std::path::Path::new("/"), &[]), now);
        let slot = links.get_mut(LinkId(0)).unwrap();
        for _ in 0..2 {
            slot.count_reject(crate::wire::heartbeat::Reject::Unsigned, now);
        }
        slot.count_received(now);
        links
    }

    /// One that was never kicked.
    fn kicker() -> Kicker<Device> {
        let file = nix::sys::memfd::memfd_create(c"report-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        let armed = Armed {
            identity: "i6300ESB timer".into(),
            timeout: 4,
            cause: ResetCause::from_bits(0x20),
            has_magic_close: true,
        };
        let path = "/dev/watchdog".into();
        let held = HeldWatchdog { path, device: Device::from(file), armed, shortest: Some(1), is_nowayout: false };
        Kicker::new(vec![held], Duration::from_millis(200), Instant::from_millis(1000))
    }

    fn at(ms: u64) -> Stamp {
        Stamp { now: Instant::from_millis(ms), wall: 1_709_208_000 }
    }

    /// A node that has just begun.
    fn node() -> Node {
        let identity = Identity { uuid: Uuid([0x5a; 16]), generation: Generation(77) };
        let mut node = Node::new(settings(), identity, None, at(1000));
        node.handle(at(1000), Input::Tick);
        node.handle(at(2000), Input::Line { line: InputLine::PeerPower, level: LineLevel::Active });
        while node.poll_action().is_some() {}
        node
    }

    /// Its report, after a move.
    fn with_report(check: impl FnOnce(&str, &Report<'_>)) {
        let node = node();
        let mut moves = LastMove::default();
        moves.note_verdict(at(1600), Duration::from_millis(990));
        moves.note_start(at(1601), Cause::Death);
        moves.note_script(Script { group: GroupId(0), resource: 1, micros: 1234 });
        moves.note_job_end(Instant::from_millis(1610), JobOutcome::Done);
        let (groups, links) = (groups(), links(at(2000).now));
        let kicker = kicker();
        let facts = Facts {
            at: at(2000),
            started: Instant::from_millis(1000),
            node: &node,
            confinement: &Confinement { is_filtered: true, refused_calls: 3, ..Confinement::default() },
            names: Names { settings: node.settings(), groups: &groups, links: &links, fences: &[] },
            last_move: moves.get(),
            fences: &FenceBook::default(),
            gpio: &sample_lines(),
            links: &links,
            kicker: &kicker,
            control: ControlCounters::default(),
            fifo: FifoCounters::default(),
            clients: None,
            membership: None,
        };
        let mut sheet = Sheet::new(64 * 1024);
        write(Query::Status, &facts, &mut sheet);
        let text = sheet.finish();
        check(text, &Report::parse(text).unwrap());
    }

    fn sample_lines() -> [GpioLine; 3] {
        use crate::config::{Bias, Drive, LinePlace, LineUse, OutputLine};
        let place = |offset| LinePlace::Offset { chip: "gpiochip0".into(), offset };
        let line =
            |usage, place| GpioLine { usage, place, is_active_low: false, bias: Bias::PullUp, drive: Drive::PushPull };
        [
            line(LineUse::Output(OutputLine::Owner), place(4)),
            line(LineUse::Output(OutputLine::FenceReset), LinePlace::Name("RESET_OUT".into())),
            line(LineUse::Input(InputLine::PeerPower), place(2)),
        ]
    }

    #[test]
    fn status_tells_what_each_line_reads() {
        with_report(|_, report| {
            let line = |line: &Line<'_>| {
                let text = |name| line.text(name).unwrap_or("-").to_owned();
                [text("name"), text("line"), text("direction"), text("level"), text("is_believed")].join(" ")
            };
            let lines: Vec<String> = report.lines("line").map(line).collect();
            assert_eq!(
                lines,
                [
                    "owner gpiochip0 4 out unknown -",
                    "fence-reset RESET_OUT out - -",
                    "peer-power gpiochip0 2 in active 1",
                ]
            );
        });
    }

    #[test]
    fn status_tells_groups_links_and_the_last_move() {
        with_report(|text, report| {
            let node = report.first("node").unwrap();
            assert_eq!((node.text("name"), node.text("generation")), (Some("rsa"), Some("77")));
            assert_eq!(node.text("uuid"), Some("5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a"));
            assert_eq!((node.text("config_digest"), node.number("uptime_ms")), (Some("00000abc"), Some(1000)));
            assert!(node.is_set("is_filtered") && !node.is_set("is_landlocked"));
            assert_eq!(node.number("refused_calls"), Some(3));
            let group = report.first("group").unwrap();
            assert_eq!((group.text("key"), group.text("preferred")), (Some("10.0.0.1"), Some("rsb")));
            let links: Vec<_> = report.lines("link").map(|link| link.or_dash("name")).collect();
            assert_eq!(links, ["/dev/ttyS0", "eth0"]);
            let medium = report.first("medium").unwrap();
            assert_eq!((medium.text("name"), medium.is_set("is_open")), (Some("lo"), false));
            assert_eq!(medium.number("received"), Some(1));
            let reject = report.first("reject").unwrap();
            assert_eq!((reject.text("reason"), reject.number("count")), (Some("unsigned"), Some(2)));
            let last = report.first("move").unwrap();
            assert_eq!((last.number("detect_us"), last.number("decide_us")), (Some(990_000), Some(1000)));
            assert_eq!(last.number("total_us"), Some(990_000 + 1000 + 9000));
            let script = report.first("script").unwrap();
            assert_eq!((script.text("resource"), script.number("us")), (Some("httpd"), Some(1234)), "{text}");
        });
    }

    #[test]
    fn history_tells_each_kind_of_event() {
        let group = GroupId(0);
        let (old, new) = (GroupState::Stopped, GroupState::Starting);
        let events = [
            What::Event(Event::Group { group, old, new, cause: Cause::StartFailure }),
            What::Event(Event::Group { group, old: new, new: GroupState::Running, cause: Cause::StartFailure }),
            What::Event(Event::Node { node: NodeId(1), status: crate::core::message::NodeStatus::Dead }),
            What::Event(Event::Link { node: NodeId(1), link: LinkId(0), is_up: false }),
            What::Event(Event::Alarm { alarm: Alarm::StartFailed(group), is_raised: true }),
            What::Event(Event::Alarm { alarm: Alarm::Held, is_raised: false }),
            What::Event(Event::Fence { method: 0, step: FenceStep::Begun }),
            What::Event(Event::Fence { method: u8::MAX, step: FenceStep::Confirmed }),
            What::Event(Event::Members),
            What::Event(Event::Late { ms: 12 }),
            What::Job { group, order: Order::Start, outcome: JobOutcome::Done, ms: 3 },
            What::Device { link: LinkId(1), is_open: true },
            What::Asked(Request::Standby(Holds::LOCAL)),
            What::Asked(Request::Obtain(group)),
            What::Answered(Outcome::Refused(crate::core::Refusal::PartnerAbsent)),
            What::Clock { seconds: -7200 },
        ];
        let (node, groups, links) = (node(), groups(), links(at(2000).now));
        let how = FenceHow::Hook("/x".into());
        let fences = [FenceMethod { name: "hook /x".into(), how, limit: Duration::ZERO }];
        let names = Names { settings: node.settings(), groups: &groups, links: &links, fences: &fences };
        let inputs = "\tlinks=ttyS0:dead eth0:dead\tlines=peer-power:active";
        let expected = [
            &format!("event=group\tsubject=10.0.0.1\tfrom=stopped\tto=starting\tcause=start failure{inputs}"),
            "event=group\tsubject=10.0.0.1\tfrom=starting\tto=running\tcause=start failure",
            &format!("event=node\tsubject=rsb\tto=dead{inputs}"),
            "event=link\tsubject=rsb:/dev/ttyS0\tto=dead",
            &format!("event=alarm\tsubject=start_failed 10.0.0.1\tto=raised{inputs}"),
            "event=alarm\tsubject=held\tto=cleared",
            &format!("event=fence\tsubject=hook /x\tto=begun{inputs}"),
            &format!("event=fence\tsubject=operator\tto=confirmed{inputs}"),
            "event=nodes",
            "event=late\tms=12",
            "event=start\tsubject=10.0.0.1\tto=done\tms=3",
            "event=device\tsubject=eth0\tto=open",
            "event=operator\tsubject=standby local\tto=asked",
            "event=operator\tsubject=req_resource 10.0.0.1\tto=asked",
            "event=operator\tto=refused: the partner is dead or not yet a full member",
            "event=clock\tto=-7200 s",
        ];
        for (what, expected) in events.into_iter().zip(expected) {
            assert_eq!(entry(what, &node, &names, at(1500).now).text(), expected);
        }
    }

    #[test]
    fn everything_that_is_written_stands_in_the_schema() {
        {
            with_report(|text, _| {
                for line in text.lines().skip(1) {
                    let mut parts = line.split('\t');
                    let kind = parts.next().unwrap();
                    let section =
                        SCHEMA.iter().find(|section| section.kind == kind).unwrap_or_else(|| panic!("{line}"));
                    for part in parts {
                        let (name, value) = part.split_once('=').unwrap();
                        let (_, kind) = section
                            .fields
                            .iter()
                            .find(|(field, _)| *field == name)
                            .unwrap_or_else(|| panic!("{line}: {name}"));
                        match kind {
                            Number => assert!(value.parse::<u64>().is_ok(), "{line}"),
                            Flag => assert!(matches!(value, "0" | "1"), "{line}"),
                            Text => assert!(!value.is_empty(), "{line}"),
                        }
                    }
                }
            });
        }
    }

    #[test]
    fn the_documentation_explains_every_field() {
        let text = include_str!("../../docs/status.md");
        for section in SCHEMA {
            let (_, part) =
                text.split_once(&format!("\n## {}\n", section.name)).unwrap_or_else(|| panic!("{}", section.name));
            let part = part.split("\n## ").next().unwrap();
            for (name, _) in section.fields.iter().filter(|_| section.shape != Shape::Map) {
                assert!(part.contains(&format!("`{name}`")), "{} lacks {name}", section.name);
            }
        }
        with_report(|_, report| {
            for counter in report.lines("counter") {
                let name = counter.or_dash("name");
                assert!(text.contains(&format!("`{name}`")), "{name}");
            }
        });
        for reason in crate::wire::heartbeat::Reject::NAMES {
            assert!(text.contains(&format!("`{reason}`")), "{reason}");
        }
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        let mut sheet = Sheet::new(100);
        Lines { sheet: &mut sheet }.begin("node").field("name", "a\tb=c\nnode").end();
        assert_eq!(sheet.finish(), "node\tname=a?b=c?node\n");
    }
}
