//! Ping nodes (spec/wire.md 11.6): hosts outside of the cluster that are asked whether they are there.
//!
//! They are nodes only by name. They own nothing, say nothing, are no path to the peer; but communication is not up
//! before each has answered or is dead, and the node that reaches more of them is the better one to own.

use super::{Comms, Happenings, Outbox, put};
use crate::core::ids::PingId;
use crate::core::limits::PING_NODES_MAX;
use crate::core::settings::Settings;
use crate::core::time::{Instant, Stamp};
use crate::core::{Action, Event};

/// Where a ping node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PingStatus {
    /// It has not answered since we started.
    #[default]
    Init,
    /// It answers.
    Ping,
    /// It has been silent for `deadping`.
    Dead,
}

impl PingStatus {
    /// Heartbeat's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Ping => "ping",
            Self::Dead => "dead",
        }
    }
}

/// What is known of one ping node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PingNode {
    /// Where it stands.
    pub status: PingStatus,
    /// When it answered last.
    pub last_heard: Option<Instant>,
    /// Answers.
    pub answers: u64,
    /// Times it was declared dead.
    pub deaths: u32,
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Pings {
    nodes: heapless::Vec<PingNode, PING_NODES_MAX>,
    /// Not to be asked again before.
    ask_at: Instant,
    /// Communication comes up without them: this engine goes on where another one was lost.
    is_optional: bool,
}

impl Pings {
    pub(super) fn new(settings: &Settings) -> Self {
        let nodes = settings.upstream.ping_nodes.iter().map(|_| PingNode::default()).collect();
        Self { nodes, ask_at: Instant::ZERO, is_optional: false }
    }

    pub(super) const fn wait_for_none(&mut self) {
        self.is_optional = true;
    }

    pub(super) fn lets_comm_come_up(&self) -> bool {
        self.is_optional || self.are_known()
    }

    fn are_known(&self) -> bool {
        self.nodes.iter().all(|node| node.status != PingStatus::Init)
    }
}

impl Comms {
    /// One ping node.
    pub fn ping_node(&self, ping: PingId) -> Option<&PingNode> {
        self.pings.nodes.get(usize::from(ping.0))
    }

    /// How many ping nodes answer; `None` until each has answered or is dead.
    pub fn pings_alive(&self) -> Option<u32> {
        let is_alive = |node: &&PingNode| node.status == PingStatus::Ping;
        let count = self.pings.nodes.iter().filter(is_alive).count();
        self.pings.are_known().then_some(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// A ping node has answered.
    pub fn ping_answered(
        &mut self,
        settings: &Settings,
        at: Stamp,
        ping: PingId,
        outbox: &mut Outbox,
        happenings: &mut Happenings,
    ) {
        let may_judge = self.lateness.may_judge(at.now);
        let index = usize::from(ping.0);
        let (Some(node), Some(name)) = (self.pings.nodes.get_mut(index), settings.upstream.ping_nodes.get(index))
        else {
            return;
        };
        let before = node.last_heard.replace(at.now);
        node.answers += 1;
        if node.status == PingStatus::Ping {
            let interval = at.now.since(before.unwrap_or(at.now));
            if may_judge && interval > settings.warntime {
                log::warn!("Late heartbeat: Node {name}: interval {} ms", interval.as_millis());
            }
            return;
        }
        node.status = PingStatus::Ping;
        log::info!("Link {name}:{name} up.");
        log::info!("Status update for node {name}: status ping");
        put(outbox, Action::Event(Event::Ping { ping, is_alive: true }));
        self.check_comm_up(settings, at, outbox, happenings);
    }

    /// Asks them, with a status; statuses that follow each other closely ask once.
    pub(super) fn ask_pings(&mut self, settings: &Settings, at: Stamp, outbox: &mut Outbox) {
        if self.pings.nodes.is_empty() || at.now < self.pings.ask_at {
            return;
        }
        self.pings.ask_at = at.now + settings.keepalive / 2;
        put(outbox, Action::Ping { ts: at.wall });
    }

    /// When the next one dies if none answers.
    pub(super) fn ping_deadline(&self) -> Option<Instant> {
        self.pings.nodes.iter().filter_map(|node| self.deadline_of(node)).min()
    }

    fn deadline_of(&self, node: &PingNode) -> Option<Instant> {
        let wait = match node.status {
            PingStatus::Dead => return None,
            // Networks take their time to come up with the board.
            _ if !self.is_up => self.initdead,
            _ => self.deadping,
        };
        Some(node.last_heard.unwrap_or(self.started) + wait)
    }

    /// Declares dead what has been silent too long. Whoever calls this may judge.
    pub(super) fn judge_pings(&mut self, settings: &Settings, now: Instant, outbox: &mut Outbox) {
        for (id, name) in (0..).map(PingId).zip(&settings.upstream.ping_nodes) {
            let index = usize::from(id.0);
            let is_due = |node: &PingNode| self.deadline_of(node).is_some_and(|deadline| now >= deadline);
            if !self.pings.nodes.get(index).is_some_and(is_due) {
                continue;
            }
            let node = &mut self.pings.nodes[index];
            node.status = PingStatus::Dead;
            node.deaths += 1;
            log::warn!("node {name}: is dead");
            log::info!("Link {name}:{name} dead.");
            put(outbox, Action::Event(Event::Ping { ping: id, is_alive: false }));
        }
    }
}
