//! The report about the past: the ring of events, oldest first.

use crate::core::Event;
use crate::daemon::history::{Entry, What};

use super::{Facts, Lines, status, words};

pub(super) fn write(facts: &Facts<'_>, out: &mut Lines<'_>) {
    for entry in facts.history.entries() {
        out.begin("event")
            .field("number", entry.number)
            .field("age_ms", facts.age_ms(entry.at.now))
            .field("wall", entry.at.wall);
        what(facts, entry, out);
        out.end();
    }
}

fn what(facts: &Facts<'_>, entry: &Entry, out: &mut Lines<'_>) {
    match entry.what {
        What::Event(event) => core_event(facts, event, out),
        What::Job { group, order, outcome, ms } => {
            out.field("event", words::order(order))
                .field("subject", facts.key(group))
                .field("to", words::job_outcome(outcome))
                .field("ms", ms);
        }
        What::Device { link, is_open } => {
            out.field("event", "device")
                .field("subject", facts.link_name(link))
                .field("to", if is_open { "open" } else { "lost" });
        }
    }
}

fn core_event(facts: &Facts<'_>, event: Event, out: &mut Lines<'_>) {
    match event {
        Event::Group { group, old, new, cause } => {
            out.field("event", "group")
                .field("subject", facts.key(group))
                .field("from", old.name())
                .field("to", new.name())
                .field("cause", words::cause(cause));
        }
        Event::Node { node, status } => {
            out.field("event", "node").field("subject", facts.node_name(node)).field("to", status.word());
        }
        Event::Link { node, link, is_up } => {
            out.field("event", "link")
                .field("subject", format_args!("{}:{}", facts.node_name(node), facts.link_name(link)))
                .field("to", if is_up { "up" } else { "dead" });
        }
        Event::Ping { ping, is_alive } => {
            out.field("event", "ping node")
                .field("subject", facts.ping_name(ping))
                .field("to", if is_alive { "ping" } else { "dead" });
        }
        Event::Alarm { alarm, is_raised } => {
            let (name, subject, _) = words::alarm(alarm);
            out.field("event", "alarm");
            match status::alarm_subject(facts, &subject) {
                Some(subject) => out.field("subject", format_args!("{name} {subject}")),
                None => out.field("subject", name),
            }
            .field("to", if is_raised { "raised" } else { "cleared" });
        }
        Event::Members => {
            out.field("event", "nodes").field("text", "the list of nodes, a weight or a site has changed");
        }
        Event::Fence { method, step } => {
            out.field("event", "fence").field("method", method).field("to", words::fence_step(step));
        }
        Event::Line { line, level } => {
            out.field("event", "line").field("subject", line.name()).field("to", words::level(level));
        }
        Event::Late { ms } => {
            out.field("event", "late").field("ms", ms);
        }
    }
}
