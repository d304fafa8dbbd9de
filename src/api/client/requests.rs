//! What a client asks (spec/api.md 2.5).

use nix::sys::signal::Signal;

use super::session::{End, Session};
use super::{Facts, HB_VERSION};
use crate::core::ids::{LinkId, NodeId, PingId};
use crate::core::message::{ClientName, NodeStatus};
use crate::wire::heartbeat::{ClientMessage, ClientText};

/// Bits that a filter may have, and those of them that only show what is the matter with a cluster.
const FILTER: u64 = 0x3f;
const FILTER_DEBUG: u64 = 0x3e;
/// Frames that may wait for a client that asks for more.
const SEND_QUEUE_MAX: u64 = 1024;
/// Signals with a number from here on are refused.
const SIGNALS_END: u64 = 32;

/// What there is still to do for a request.
pub(super) enum Rest {
    /// Nothing.
    Done,
    /// Another node is to be asked whether that client is signed on there: the answer goes to the client by itself.
    Query {
        /// Which node.
        node: NodeId,
        /// Which client.
        client: ClientName,
    },
}

/// A node of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    Normal(NodeId),
    Ping(PingId),
}

impl<'a> Facts<'a> {
    /// All nodes that belong to the cluster, in the order of ha.cf.
    fn listed(&self) -> impl Iterator<Item = Listed> + use<'a> {
        let (settings, comms) = (self.node.settings(), self.node.comms());
        let (places, nodes) = (&self.config.ping_places, settings.nodes.len());
        // Behind the last node stands what has no place before one.
        let pings_before = move |node: usize| {
            let place = move |ping: usize| places.get(ping).map_or(nodes, |place| (*place).min(nodes));
            let pings = (0..).zip(&settings.upstream.ping_nodes).map(|(number, _)| PingId(number));
            pings.filter(move |ping| place(usize::from(ping.0)) == node).map(Listed::Ping)
        };
        let normal = move |node: usize| {
            let node = u8::try_from(node).ok().filter(|_| node < nodes).map(NodeId);
            node.filter(|node| comms.is_member(*node)).map(Listed::Normal)
        };
        (0..=nodes).flat_map(move |node| pings_before(node).chain(normal(node)))
    }

    fn name(&self, listed: Listed) -> &'a str {
        let settings = self.node.settings();
        match listed {
            Listed::Normal(node) => settings.nodes.get(usize::from(node.0)),
            Listed::Ping(ping) => settings.upstream.ping_nodes.get(usize::from(ping.0)),
        }
        .map_or("", |name| name.as_str())
    }

    fn status(&self, listed: Listed) -> &'static str {
        let comms = self.node.comms();
        match listed {
            Listed::Normal(node) => comms.peer(node).status.word(),
            Listed::Ping(ping) => comms.ping_node(ping).map_or("", |ping| ping.status.word()),
        }
    }

    fn find(&self, message: &ClientMessage<'_>, field: &str) -> Option<Listed> {
        let name = message.get(field)?;
        self.listed().find(|listed| self.name(*listed).eq_ignore_ascii_case(name))
    }

    /// The links of a node: ours to it, or a ping node's one way.
    fn links(&self, listed: Listed) -> impl Iterator<Item = (&'a str, bool)> + use<'a> {
        let settings = self.node.settings();
        let ping = match listed {
            Listed::Ping(_) => Some((self.name(listed), self.status(listed) == "ping")),
            Listed::Normal(_) => None,
        };
        let (comms, local) = (self.node.comms(), settings.local);
        let links = (0..).zip(&settings.links).filter_map(move |(place, name)| match listed {
            // It does not hear itself.
            Listed::Normal(node) if node == local => Some((name.as_str(), false)),
            Listed::Normal(node) => {
                let health = comms.peer(node).links.get(usize::from(LinkId(place).0));
                Some((name.as_str(), health.is_some_and(|link| link.is_up)))
            }
            Listed::Ping(_) => None,
        });
        ping.into_iter().chain(links)
    }

    /// The value of a parameter, as it stands in ha.cf.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        let name = if name == "crm" { "pacemaker" } else { name };
        if name == "hbversion" {
            return Some(HB_VERSION);
        }
        self.config.directives.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A reply while it is made.
struct Reply<'r, 's> {
    session: &'s mut Session,
    out: &'r mut [u8],
    kind: &'r str,
}

impl Reply<'_, '_> {
    /// One frame: `fields` writes what stands before the result.
    fn say(&mut self, result: &str, fields: impl FnOnce(&mut ClientText<'_>)) {
        let mut text = ClientText::new(self.out);
        text.string("t", "hbapi-resp").string("reqtype", self.kind);
        fields(&mut text);
        text.string("result", result);
        match text.finish() {
            Some(len) => self.session.say(&self.out[..len]),
            None => self.session.end = Some(End::BadClient),
        }
    }

    fn ok(&mut self, fields: impl FnOnce(&mut ClientText<'_>)) {
        self.say("OK", fields);
    }

    fn bad(&mut self, reason: &str) {
        log::warn!("api: bad request {} of client {}: {reason}", self.kind, self.session.id.as_str());
        let mut text = ClientText::new(self.out);
        text.string("t", "hbapi-resp").string("reqtype", self.kind).string("result", "badreq");
        if !reason.is_empty() {
            text.string("info", reason);
        }
        if let Some(len) = text.finish() {
            self.session.say(&self.out[..len]);
        }
    }

    /// One frame for each of several, all but the last saying that more follow.
    fn list<T>(&mut self, all: impl Iterator<Item = T>, mut fields: impl FnMut(&mut ClientText<'_>, T)) {
        let mut all = all.peekable();
        while let Some(one) = all.next() {
            let result = if all.peek().is_some() { "ok/more" } else { "OK" };
            self.say(result, |text| fields(text, one));
        }
    }
}

/// Answers a request of a client that has signed on.
pub(super) fn serve(session: &mut Session, message: &ClientMessage<'_>, facts: &Facts<'_>, out: &mut [u8]) -> Rest {
    let kind = message.get("reqtype").unwrap_or_default();
    let mut reply = Reply { session, out, kind };
    match kind {
        "signoff" => reply.session.end = Some(End::Signoff),
        "setfilter" => set_filter(&mut reply, message),
        "setsignal" => set_signal(&mut reply, message),
        "set_sendqlen" => match message.decimal("sendqlen").filter(|len| *len > 0) {
            Some(len) => {
                let len = usize::try_from(len.min(SEND_QUEUE_MAX)).unwrap_or(usize::MAX);
                reply.session.connection.set_frames_max(len);
            }
            None => log::warn!("api: client {} asks for no send queue", reply.session.id.as_str()),
        },
        "nodelist" => reply.list(facts.listed(), |text, listed| {
            text.string("node", facts.name(listed)).string("nodetype", node_type(listed));
            text.string("st", facts.status(listed));
        }),
        "numnodes" => {
            let count = facts.listed().filter(|listed| matches!(listed, Listed::Normal(_))).count();
            reply.ok(|text| {
                text.field("numnodes", format_args!("{count}"));
            });
        }
        "getparm" => match message.get("pname") {
            Some(name) => reply.ok(|text| {
                if let Some(value) = facts.parameter(name) {
                    text.string("pvalue", value);
                }
            }),
            None => reply.bad("EINVAL"),
        },
        "getrsc" => {
            let ownership = facts.node.ownership();
            let holds = if ownership.is_settled() { ownership.holds().word() } else { "transition" };
            reply.ok(|text| {
                text.string("rsc_hold", holds);
            });
        }
        "getuuid" | "getnodename" => identify(&mut reply, message, facts),
        "nodestatus" | "nodeweight" | "nodesite" | "nodetype" | "iflist" | "ifstatus" | "clientstatus" => {
            return about_node(&mut reply, message, facts);
        }
        _ => reply.bad(""),
    }
    Rest::Done
}

const fn node_type(listed: Listed) -> &'static str {
    match listed {
        Listed::Normal(_) => "normal",
        Listed::Ping(_) => "ping",
    }
}

fn set_filter(reply: &mut Reply<'_, '_>, message: &ClientMessage<'_>) {
    let Some(mask) = message.hex("fmask").filter(|mask| mask & FILTER != 0) else { return reply.bad("EINVAL") };
    if mask & FILTER_DEBUG != 0 && !reply.session.is_trusted {
        return reply.bad("EPERM");
    }
    reply.session.filter = mask & FILTER;
    reply.ok(|_| ());
}

fn set_signal(reply: &mut Reply<'_, '_>, message: &ClientMessage<'_>) {
    let Some(number) = message.get("signal").and_then(super::session::leading_number) else { return reply.bad("") };
    let signal = u64::try_from(number).ok().filter(|number| *number < SIGNALS_END);
    let signal = match signal.and_then(|number| i32::try_from(number).ok()) {
        Some(0) => Ok(None),
        Some(number) => Signal::try_from(number).map(Some),
        None => return reply.bad("EINVAL"),
    };
    match signal {
        Err(_) | Ok(Some(Signal::SIGKILL | Signal::SIGSTOP)) => reply.bad("EINVAL"),
        // It is in another PID namespace, and to nobody means to our own processes.
        Ok(Some(_)) if reply.session.connection.peer().pid <= 0 => reply.bad("EINVAL"),
        Ok(signal) => {
            reply.session.signal = signal;
            reply.ok(|_| ());
        }
    }
}

/// Uuids and names of nodes.
fn identify(reply: &mut Reply<'_, '_>, message: &ClientMessage<'_>, facts: &Facts<'_>) {
    const MISSING: &str = "no query node name found";
    let (comms, local) = (facts.node.comms(), facts.node.settings().local);
    let uuid_of = |listed| match listed {
        Listed::Normal(node) if node == local => Some(facts.node.identity().uuid),
        Listed::Normal(node) => Some(comms.peer(node).uuid).filter(|uuid| !uuid.is_nil()),
        Listed::Ping(_) => None,
    };
    if reply.kind == "getuuid" {
        if message.get("queryname").is_none() {
            return reply.bad(MISSING);
        }
        let uuid = facts.find(message, "queryname").and_then(uuid_of);
        return reply.ok(|text| {
            if let Some(uuid) = uuid {
                text.uuid("queryuuid", uuid);
            }
        });
    }
    let Some(wanted) = message.query_uuid() else { return reply.bad(MISSING) };
    let known = facts.listed().find(|listed| uuid_of(*listed) == Some(wanted));
    reply.ok(|text| {
        if let Some(listed) = known {
            text.string("queryname", facts.name(listed));
        }
    });
}

/// What is about one node, `node`.
fn about_node(reply: &mut Reply<'_, '_>, message: &ClientMessage<'_>, facts: &Facts<'_>) -> Rest {
    let Some(listed) = facts.find(message, "node") else {
        reply.bad("EINVAL");
        return Rest::Done;
    };
    let members = facts.node.members();
    match reply.kind {
        "nodestatus" => reply.ok(|text| {
            text.string("st", facts.status(listed));
        }),
        "nodeweight" => reply.ok(|text| {
            let weight =
                if let Listed::Normal(node) = listed { members.weight(node) } else { crate::core::members::WEIGHT };
            text.field("weight", format_args!("{weight}"));
        }),
        "nodesite" => reply.ok(|text| {
            text.string("site", if let Listed::Normal(node) = listed { members.site(node) } else { "" });
        }),
        "nodetype" => reply.ok(|text| {
            text.string("nodetype", node_type(listed));
        }),
        "iflist" => reply.list(facts.links(listed), |text, (name, is_up)| {
            text.string("ifname", name).string("st", up_or_dead(is_up));
        }),
        "ifstatus" => match facts.links(listed).find(|(name, _)| Some(*name) == message.get("ifname")) {
            Some((_, is_up)) => reply.ok(|text| {
                text.string("st", up_or_dead(is_up));
            }),
            None => reply.bad("EINVAL"),
        },
        _ => return client_status(reply, message, facts, listed),
    }
    Rest::Done
}

const fn up_or_dead(is_up: bool) -> &'static str {
    if is_up { "up" } else { "dead" }
}

fn client_status(reply: &mut Reply<'_, '_>, message: &ClientMessage<'_>, facts: &Facts<'_>, listed: Listed) -> Rest {
    let Some(name) = message.get("cn") else {
        reply.bad("EINVAL");
        return Rest::Done;
    };
    let local = facts.node.settings().local;
    let is_there = |node| node == local || facts.node.comms().peer(node).status == NodeStatus::Active;
    let is_online = match listed {
        // The original passes the name on as it was written, and a node does not take what is for another name.
        Listed::Normal(node) if is_there(node) && message.get("node") != Some(facts.name(listed)) => return Rest::Done,
        Listed::Normal(node) if node == local => facts.node.is_client_online(name),
        Listed::Normal(node) if is_there(node) => {
            return ClientName::new(name).map_or(Rest::Done, |client| Rest::Query { node, client });
        }
        Listed::Normal(_) | Listed::Ping(_) => false,
    };
    reply.ok(|text| {
        text.string("subt", "respond-cstatus").string("cs", if is_online { "online" } else { "offline" });
    });
    Rest::Done
}
