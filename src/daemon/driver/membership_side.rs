//! The built-in membership service: a client of this daemon by the name of Heartbeat's `ccm`, without a socket between the
//! two. What it says goes the way of every client's messages; what it hears is picked out of what clients would hear.

use std::os::fd::OwnedFd;

use super::{Driver, MEMBERSHIP};
use crate::api::membership::frames::Frames;
use crate::api::membership::message::{ENCODED_MAX, Fields, Message as Said, Reject};
use crate::api::membership::server::{ProgramRooms, Server};
use crate::api::membership::service::{Input as Happening, Output, Service};
use crate::api::membership::{CLIENT, Local, View};
use crate::config::Config;
use crate::core::ids::{MemberId, NodeId};
use crate::core::message::{Body, ClientName, Message};
use crate::core::node::clients::BUILT_IN;
use crate::core::quorum::Quorum;
use crate::core::time::{Duration, Instant};
use crate::core::{Input, Node};
use crate::daemon::report;
use crate::wire::heartbeat::ClientMessage;

/// What the daemon adds to a message of this client.
const SENDER: &[u8] = b"from_id=ccm\nto_id=ccm\nclient_gen=0\n";
const SIGN_ON: &[u8] = b"t=hbapi-clstat\nst=join\nfrom_id=ccm\nto_id=ccm\ninfo=signon\nclient_gen=0\n";
const SIGN_OFF: &[u8] = b"t=hbapi-clstat\nst=leave\nfrom_id=ccm\nto_id=ccm\ninfo=signoff\nclient_gen=0\n";
const QUESTION: &[u8] = b"t=query-cstatus\ncn=ccm\nfrom_id=ccm\n";
/// Types of messages that the services send, and of those about clients.
const KINDS: &str = "CCM_TYPE_";
const CLIENT_STATE: &str = "hbapi-clstat";

/// The service, and who follows it. Empty without `membership on`.
#[derive(Debug)]
pub(super) struct MembershipSide {
    quorum: Option<Quorum>,
    keepalive: Duration,
    /// Once communication is up. Its place is made at start.
    service: Box<Option<Service>>,
    server: Option<Server>,
    /// Until there is one.
    rooms: Option<ProgramRooms>,
    frames: Frames,
    /// Nodes or weights have changed.
    is_roster_old: bool,
    /// With how many nodes another one counts, once told.
    told_count: Option<u32>,
}

impl MembershipSide {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            quorum: config.membership,
            keepalive: config.keepalive,
            service: Box::new(None),
            server: None,
            rooms: config.membership.map(|_| ProgramRooms::default()),
            frames: Frames::default(),
            is_roster_old: false,
            told_count: None,
        }
    }

    pub(super) fn give_back_idle_memory(&mut self) {
        if let Some(rooms) = &mut self.rooms {
            rooms.give_back();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let server = self.server.as_ref().and_then(Server::next_deadline);
        self.service().and_then(Service::poll_timeout).into_iter().chain(server).min()
    }

    const fn service(&self) -> Option<&Service> {
        (*self.service).as_ref()
    }

    /// For `status`; nothing without `membership on`.
    pub(super) fn facts(&self) -> Option<report::Membership<'_>> {
        self.quorum?;
        Some(report::Membership { service: self.service(), programs: self.server.as_ref().map_or(0, Server::count) })
    }

    pub(super) const fn note_roster(&mut self) {
        self.is_roster_old = true;
    }

    /// Tells the service which nodes have come or gone.
    fn follow(&mut self, now: Instant, node: &Node) -> bool {
        let Some(service) = &mut *self.service else { return false };
        for (id, name) in (0..).map(NodeId).zip(&node.settings().nodes) {
            let Some(member) = service.local().of(name).filter(|_| id != node.settings().local) else { continue };
            let is_up = node.comms().is_alive(id);
            if service.sees(member) != is_up {
                service.handle(now, Happening::Node { node: member, is_up });
                return true;
            }
        }
        false
    }

    /// What another node has said, if it is for the service.
    pub(super) fn hear(&mut self, now: Instant, message: &Message<'_>, plain: &[u8]) {
        let Some(service) = &mut *self.service else { return };
        let Some(by) = service.local().of(message.src) else { return };
        match message.body {
            Body::ClientAnswer { client, asker, is_online }
                if client.as_str() == CLIENT && asker.as_str() == CLIENT =>
            {
                service.handle(now, Happening::Client { node: by, is_online });
            }
            Body::Other { kind: CLIENT_STATE } => {
                let Ok(fields) = ClientMessage::parse(plain) else { return };
                match (fields.get("from_id"), fields.get("st")) {
                    (Some(CLIENT), Some("join")) => service.signed_on(now, by),
                    (Some(CLIENT), Some("leave")) => {
                        service.handle(now, Happening::Client { node: by, is_online: false });
                    }
                    _ => {}
                }
            }
            Body::Other { kind } if kind.starts_with(KINDS) => self.take(now, by, plain),
            _ => {}
        }
    }

    fn take(&mut self, now: Instant, by: MemberId, plain: &[u8]) {
        let (Some(service), Ok(message)) = (&mut *self.service, ClientMessage::parse(plain)) else { return };
        let mut fields = Fields::default();
        message.each_value(|name, value| fields.note(name, value));
        match Said::read(&fields, service.local()) {
            Ok(said) => service.handle(now, Happening::Said { by, message: &said }),
            Err(Reject::NodeCount(count)) => {
                if self.told_count.replace(count) != Some(count) {
                    let (name, own) = (service.local().name(by), service.local().names().len());
                    log::error!(
                        "Node count from node {name} does not agree: local count={own}, count in message ={count}"
                    );
                }
            }
            Err(reject) => {
                log::warn!("membership: {} of {} is dropped: {reject}", message.kind(), service.local().name(by));
            }
        }
    }

    /// Tells programs what is in force.
    fn tell(&mut self, output: &Output) {
        let Some(service) = &*self.service else { return };
        let (frames, mut server) = (&mut self.frames, self.server.as_mut());
        match (output, service.view()) {
            (Output::View, Some(view)) => {
                log_view(service.local(), view);
                if let Some(server) = &mut server {
                    server.tell(frames.node_list(service.local()));
                    server.tell(frames.membership(view));
                }
            }
            (Output::Influx, _) => {
                if let Some(server) = &mut server {
                    server.tell(frames.influx());
                }
            }
            _ => {}
        }
    }

    /// Takes programs that connect, and tells them what is in force.
    fn serve(&mut self, now: Instant) {
        let Self { service, server: Some(server), frames, .. } = self else { return };
        server.turn(now, |say| {
            if let Some(service) = &**service
                && let Some(view) = service.view()
            {
                say(frames.node_list(service.local()));
                say(frames.membership(view));
            }
        });
    }
}

fn log_view(local: &Local, view: &View) {
    let quorum = if view.has_quorum { "quorum" } else { "no quorum" };
    log::info!("membership: instance {} of {} members, {quorum}", view.instance, view.members.len());
    for (member, born_on) in view.by_age() {
        log::debug!("membership: nodename={} bornon={born_on}", local.name(member));
    }
}

impl Driver<'_> {
    // Not inlined: its frame would be part of one that every turn of the loop touches.
    #[inline(never)]
    pub(super) fn open_membership(&mut self, listener: OwnedFd) {
        let Some(rooms) = self.membership.rooms.take() else { return };
        let server = Server::new(listener, rooms).and_then(|server| {
            self.reactor.add(&server, MEMBERSHIP)?;
            Ok(server)
        });
        match server {
            Ok(server) => self.membership.server = Some(server),
            Err(error) => log::error!("No socket for programs that follow the membership: {error}"),
        }
    }

    /// What is due: the service begins when communication is up; nodes, time, programs.
    pub(super) fn serve_membership(&mut self) {
        let Some(quorum) = self.membership.quorum else { return };
        let now = self.now.now;
        if self.membership.service.is_none() {
            if !self.node.comms().is_up() || self.end.is_some() || self.is_awaiting_clients {
                return self.membership.serve(now);
            }
            self.begin_membership(quorum);
        } else if std::mem::take(&mut self.membership.is_roster_old) {
            self.renew_membership(quorum);
        }
        self.follow_nodes();
        if let Some(service) = &mut *self.membership.service
            && service.poll_timeout().is_some_and(|until| until <= now)
        {
            service.handle(now, Happening::Tick);
        }
        self.drain_membership();
        self.membership.serve(now);
    }

    /// Nodes that have come or gone since.
    pub(super) fn follow_nodes(&mut self) {
        while self.membership.follow(self.now.now, &self.node) {
            self.drain_membership();
        }
    }

    fn local_members(&self) -> Option<Local> {
        let (settings, comms) = (self.node.settings(), self.node.comms());
        let is_member = |node: NodeId| node == settings.local || comms.is_member(node);
        let nodes = (0..).map(NodeId).zip(&settings.nodes).filter(|(node, _)| is_member(*node));
        let weighed = nodes.map(|(node, name)| (name, self.node.members().weight(node)));
        Local::new(weighed, settings.nodes.get(usize::from(settings.local.0))?)
    }

    /// Signs on for all nodes to see, then looks for a cluster: of two that begin at once each sees the other.
    fn begin_membership(&mut self, quorum: Quorum) {
        let Some(local) = self.local_members() else { return };
        self.feed(Input::Client { slot: BUILT_IN, name: ClientName::new(CLIENT) });
        self.relay_own(None, SIGN_ON);
        let identity = self.node.identity();
        let run = u64::from(identity.generation.0) << 32 ^ self.now.now.as_micros();
        let seed = identity.uuid.0.iter().fold(run, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
        let service = Service::new(local, quorum, self.membership.keepalive, seed);
        *self.membership.service = Some(service);
        self.membership.is_roster_old = false;
        self.follow_nodes();
        if let Some(service) = &mut *self.membership.service {
            service.begin(self.now.now);
        }
        self.drain_membership();
    }

    /// Nodes or weights are others: with other nodes everybody begins anew.
    fn renew_membership(&mut self, quorum: Quorum) {
        let (Some(local), Some(service)) = (self.local_members(), &mut *self.membership.service) else { return };
        if service.local().names() == local.names() {
            service.weigh(local);
            return;
        }
        log::info!("membership: the nodes have changed");
        self.membership.tell(&Output::Influx);
        self.end_membership();
        self.begin_membership(quorum);
    }

    /// Signs off: the others go on without this node at once.
    pub(super) fn end_membership(&mut self) {
        if self.membership.service.take().is_some() {
            self.feed(Input::Client { slot: BUILT_IN, name: None });
            self.relay_own(None, SIGN_OFF);
        }
    }

    /// Carries out what the service wants.
    pub(super) fn drain_membership(&mut self) {
        while let Some(output) = (*self.membership.service).as_mut().and_then(Service::poll_output) {
            match output {
                Output::Send { to, message } => self.say_for_membership(to, &message),
                Output::Ask(node) => {
                    if let Some(to) = self.node_of(node) {
                        self.relay_own(Some(to), QUESTION);
                    }
                }
                Output::View | Output::Influx => self.membership.tell(&output),
            }
        }
    }

    fn node_of(&self, member: MemberId) -> Option<NodeId> {
        let name = self.membership.service()?.local().name(member);
        let place = self.node.settings().nodes.iter().position(|known| known.as_str() == name)?;
        u8::try_from(place).ok().map(NodeId)
    }

    fn say_for_membership(&mut self, to: Option<MemberId>, message: &Said) {
        let Some(service) = self.membership.service() else { return };
        let mut lines = [0; ENCODED_MAX];
        let len = message.write_lines(service.local(), &mut lines);
        let Some(rest) = lines.get_mut(len..len + SENDER.len()) else { return };
        rest.copy_from_slice(SENDER);
        let node = to.and_then(|member| self.node_of(member));
        if to.is_none() || node.is_some() {
            self.relay_own(node, &lines[..len + SENDER.len()]);
        }
    }

    fn relay_own(&mut self, to: Option<NodeId>, lines: &[u8]) {
        if let Some(id) = self.clients.keep_own(lines) {
            self.feed(Input::Relay { to, id });
        }
    }
}
