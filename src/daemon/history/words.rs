//! Events of the engine in the words of the history.

use std::fmt;

use super::Entry;
use crate::core::ids::{GroupId, LinkId};
use crate::core::message::{GroupState, Holds};
use crate::core::time::Instant;
use crate::core::{Alarm, Event, Failure, InputLine, JobOutcome, LineLevel, Node, Order, Outcome, Request};
use crate::daemon::control::refusal_words;
use crate::daemon::report::{Names, words};

/// One thing that happened in the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::daemon) enum What {
    /// As the core told it.
    Event(Event),
    /// A job of the guardian ended.
    Job { group: GroupId, order: Order, outcome: JobOutcome, ms: u32 },
    /// A link's device was opened or lost.
    Device { link: LinkId, is_open: bool },
    /// An operator, or a script of root's, wants something.
    Asked(Request),
    /// What has become of it.
    Answered(Outcome),
    /// The wall clock was set, by so many seconds.
    Clock { seconds: i64 },
}

/// Writes it down, with what the decision rests on.
pub(in crate::daemon) fn entry(what: What, node: &Node, names: &Names<'_>, now: Instant) -> Entry {
    match what {
        What::Event(event) => {
            let mut entry = core_event(event, names);
            if is_decision(event) {
                add_inputs(&mut entry, node, names, now);
            }
            entry
        }
        What::Job { group, order, outcome, ms } => {
            let mut entry = Entry::new(words::order(order));
            entry.field("subject", names.key(group)).field("to", words::job_outcome(outcome)).field("ms", ms);
            entry
        }
        What::Device { link, is_open } => {
            let mut entry = Entry::new("device");
            entry.field("subject", names.link(link)).field("to", if is_open { "open" } else { "lost" });
            entry
        }
        What::Asked(request) => {
            let mut entry = Entry::new("operator");
            entry.field("subject", Asked(request, names)).field("to", "asked");
            entry
        }
        What::Answered(outcome) => {
            let mut entry = Entry::new("operator");
            entry.field("to", Answered(outcome));
            entry
        }
        What::Clock { seconds } => {
            let mut entry = Entry::new("clock");
            entry.field("to", format_args!("{seconds:+} s"));
            entry
        }
    }
}

fn core_event(event: Event, names: &Names<'_>) -> Entry {
    match event {
        Event::Group { group, old, new, cause } => {
            let mut entry = Entry::new("group");
            entry.field("subject", names.key(group)).field("from", old.name()).field("to", new.name());
            entry.field("cause", words::cause(cause));
            entry
        }
        Event::Node { node, status } => {
            let mut entry = Entry::new("node");
            entry.field("subject", names.node(node)).field("to", status.word());
            entry
        }
        Event::Link { node, link, is_up } => {
            let mut entry = Entry::new("link");
            entry
                .field("subject", format_args!("{}:{}", names.node(node), names.link(link)))
                .field("to", if is_up { "up" } else { "dead" });
            entry
        }
        Event::Ping { ping, is_alive } => {
            let mut entry = Entry::new("ping node");
            entry.field("subject", names.ping(ping)).field("to", if is_alive { "ping" } else { "dead" });
            entry
        }
        Event::Alarm { alarm, is_raised } => {
            let (name, subject, _) = words::alarm(alarm);
            let mut entry = Entry::new("alarm");
            match names.subject(&subject) {
                Some(subject) => entry.field("subject", format_args!("{name} {subject}")),
                None => entry.field("subject", name),
            }
            .field("to", if is_raised { "raised" } else { "cleared" });
            entry
        }
        Event::Fence { method, step } => {
            let mut entry = Entry::new("fence");
            entry.field("subject", names.fence(method)).field("to", words::fence_step(step));
            entry
        }
        Event::Line { line, level } => {
            let mut entry = Entry::new("line");
            entry.field("subject", line.name()).field("to", words::level(level));
            entry
        }
        Event::Members => Entry::new("nodes"),
        Event::Late { ms } => {
            let mut entry = Entry::new("late");
            entry.field("ms", ms);
            entry
        }
    }
}

/// Whether an event is a verdict or the beginning of a move, and no mere consequence.
const fn is_decision(event: Event) -> bool {
    match event {
        Event::Group { new, .. } => matches!(new, GroupState::Starting | GroupState::Stopping),
        Event::Node { .. } | Event::Fence { .. } | Event::Alarm { is_raised: true, .. } => true,
        _ => false,
    }
}

/// What a decision rests on: when the partner was last heard, which links to it work, what the lines between the boards say,
/// which ping nodes answer.
fn add_inputs(entry: &mut Entry, node: &Node, names: &Names<'_>, now: Instant) {
    if let Some(partner) = node.settings().partner {
        let peer = node.comms().peer(partner);
        let heard = peer.last_status.map(|heard| now.since(heard).as_millis());
        entry.maybe("heard_ms", heard).field("links", LinkStates(node, names));
    }
    entry.field("lines", LineStates(node));
    if node.settings().interlock.is_some() {
        entry.field("gate", words::gate(node.ownership().gate()));
    }
    if let Some(here) = node.comms().pings_alive().filter(|_| !node.settings().upstream.ping_nodes.is_empty()) {
        match node.ownership().partner_pings() {
            Some(partner) => entry.field("pings", format_args!("{here} here, {partner} at the partner")),
            None => entry.field("pings", format_args!("{here} here")),
        };
    }
}

/// `ttyS0:up eth0:dead`
struct LinkStates<'a>(&'a Node, &'a Names<'a>);

impl fmt::Display for LinkStates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(node, names) = self;
        let Some(partner) = node.settings().partner else { return Ok(()) };
        let health = &node.comms().peer(partner).links;
        for ((place, link), health) in (0..).zip(&node.settings().links).zip(health) {
            let name = link.rsplit('/').next().unwrap_or(names.link(LinkId(place)));
            let state = if health.is_up { "up" } else { "dead" };
            write!(f, "{}{name}:{state}", if place > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// `owner:inactive peer-owner:active! peer-power:active`; the mark: not believed.
struct LineStates<'a>(&'a Node);

impl fmt::Display for LineStates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ownership = self.0.ownership();
        let lines = ownership.lines();
        let inputs = [InputLine::PeerOwner, InputLine::PeerPower].map(|line| {
            let is_stuck = ownership.alarms().contains(Alarm::LineStuck(line));
            (line.name(), lines.level(line), if is_stuck { "!" } else { "" })
        });
        let known = core::iter::once(("owner", lines.owner(), "")).chain(inputs);
        for (place, (name, level, mark)) in known.filter(|(_, level, _)| *level != LineLevel::Unknown).enumerate() {
            write!(f, "{}{name}:{}{mark}", if place > 0 { " " } else { "" }, words::level(level))?;
        }
        Ok(())
    }
}

/// `standby local`
struct Asked<'a>(Request, &'a Names<'a>);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(request, names) = self;
        let mut moved = |verb: &str, set: Holds| write!(f, "{verb} {}", set.word());
        match *request {
            Request::Standby(set) => moved("standby", set),
            Request::Takeover(set) => moved("takeover", set),
            Request::Failback(set) => moved("failback", set),
            Request::Obtain(group) => write!(f, "req_resource {}", names.key(group)),
            Request::ConfirmFence => f.write_str("fence --confirm"),
            Request::Hold => f.write_str("hold"),
            Request::Resume => f.write_str("resume"),
            Request::Stop => f.write_str("stop"),
        }
    }
}

/// What has become of a request.
struct Answered(Outcome);

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Outcome::Done => "done",
            Outcome::Nothing => "nothing had to be done",
            Outcome::Refused(refusal) => return write!(f, "refused: {}", refusal_words(refusal)),
            Outcome::Failed(Failure::Start(_)) => "failed: a group did not start",
            Outcome::Failed(Failure::Stop(_)) => "failed: a group did not stop",
            Outcome::Failed(Failure::PartnerDied) => "failed: the partner died on the way",
            Outcome::Failed(Failure::Cancelled) => "cancelled",
        })
    }
}
