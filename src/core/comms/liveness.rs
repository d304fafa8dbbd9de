//! Who is alive (spec/wire.md sections 9.2 to 9.4, and 8.3 step 5).
//!
//! A node lives by its statuses alone: any of them, over any link, refreshes it for the dead time that it announces
//! itself. Until communication is up everybody gets `initdead`, because switches and boards take their time to start.

use super::identity::name_of;
use super::{Comms, Happening, Happenings, Outbox, put, tell};
use crate::core::ids::{Generation, KeyNumber, NodeId, Seq};
use crate::core::message::{Body, Extension, NodeStatus};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::Settings;
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Action, Event};

/// Statuses that come within this of one another had waited somewhere: nobody sends them so fast.
const HEAP_GAP: Duration = Duration::from_millis(2);
/// So many make a heap: a beat and the news that followed it may meet on the way.
const HEAP_MIN: u32 = 3;

/// What a status says, beside being there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) seq: Seq,
    pub(super) status: Option<NodeStatus>,
    pub(super) dead_ms: Option<u32>,
    pub(super) has_protocol: bool,
    pub(super) is_nullbeat: bool,
    pub(super) extension: Option<&'a Extension>,
    pub(super) key: KeyNumber,
}

/// What the generation of a status tells about its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rebirth {
    /// Nothing new.
    None,
    /// Higher generation: it started again.
    Restarted,
    /// It was dead to us and still is what it was.
    Returned,
}

impl Comms {
    /// Silence after which `node` is dead.
    pub(super) fn deadtime_of(&self, node: NodeId) -> Duration {
        let announced = self.peer(node).deadtime;
        match self.state(node).first_wait {
            _ if self.is_up => announced,
            // It has been heard by this engine: what the one before knew of it is over.
            Some(_) if self.peer(node).last_status.is_some() => announced,
            Some(wait) => wait,
            None => announced.max(self.initdead),
        }
    }

    /// Whether its last statuses came in a heap, see [`Peer::answers_from`](super::Peer::answers_from).
    pub(in crate::core) fn is_heaped(&self, node: NodeId) -> bool {
        self.state(node).heap >= HEAP_MIN
    }

    /// When `node` dies if nothing comes; `None` when it is dead.
    pub(super) fn node_deadline(&self, node: NodeId) -> Option<Instant> {
        let peer = self.peer(node);
        let since = peer.last_status.unwrap_or(self.state(node).known_since);
        let deadtime = self.deadtime_of(node) / if is_planted(Bug::JudgeTooSoon) { 2 } else { 1 };
        let is_judged = peer.status != NodeStatus::Dead && !is_planted(Bug::NeverJudge);
        is_judged.then(|| since + deadtime)
    }

    /// Declares dead what has been silent too long. Whoever calls this may judge.
    pub(super) fn judge_nodes(
        &mut self,
        settings: &Settings,
        now: Instant,
        outbox: &mut Outbox,
        happenings: &mut Happenings,
    ) {
        for node in self.others() {
            if self.node_deadline(node).is_some_and(|deadline| now >= deadline) {
                self.bury_node(settings, node, outbox, happenings);
            }
        }
    }

    fn bury_node(&mut self, settings: &Settings, node: NodeId, outbox: &mut Outbox, happenings: &mut Happenings) {
        let own_highest = self.own_seq();
        let state = self.state_mut(node);
        let was_heard = core::mem::take(&mut state.is_heard);
        state.peer.status = NodeStatus::Dead;
        state.died_at_seq = state.peer.highest_seq;
        state.reset_tracking(own_highest);
        if settings.partner == Some(node) {
            self.repeats.forget();
        }
        log::warn!("node {}: is dead", name_of(settings, node));
        put(outbox, Action::Event(Event::Node { node, status: NodeStatus::Dead }));
        tell(happenings, Happening::Dead { node, was_heard });
    }

    /// Notices by a status that its sender has started again or is back, and begins afresh with it. The caller has
    /// dropped lower generations and old numbers of dead nodes.
    pub(super) fn notice_rebirth(
        &mut self,
        settings: &Settings,
        now: Instant,
        (node, generation): (NodeId, Generation),
        happenings: &mut Happenings,
    ) -> Rebirth {
        let own_highest = self.own_seq();
        let state = self.state_mut(node);
        let was_dead = !state.is_alive();
        let old = state.peer.generation;
        let name = name_of(settings, node);
        if generation > old {
            state.track_generation(generation);
            state.forget_acks(own_highest);
            state.peer.generation = generation;
            state.peer.highest_seq = state.tracker.last().unwrap_or_default();
            state.peer.extension = None;
            state.extension_seq = None;
            state.status_seq = Seq(0);
            state.spoken = NodeStatus::Init;
            if old.0 > 0 {
                log::info!("Heartbeat restart on node {name}");
            }
            tell(happenings, Happening::Restarted { node, was_dead });
            self.beats.hurry(now);
            return Rebirth::Restarted;
        }
        if state.peer.status != NodeStatus::Dead {
            return Rebirth::None;
        }
        state.reset_tracking(own_highest);
        log::error!(target: "CRIT", "Cluster node {name} returning after partition.");
        log::info!("For information on cluster partitions, See URL: http://linux-ha.org/wiki/Split_Brain");
        log::warn!("Deadtime value may be too small.");
        log::info!("See FAQ for information on tuning deadtime.");
        log::info!("URL: http://linux-ha.org/wiki/FAQ#Heavy_Load");
        tell(happenings, Happening::Returned { node });
        self.beats.hurry(now);
        Rebirth::Returned
    }

    /// Takes in what a status says. Returns whether it was the newest so far: one that was overtaken says nothing.
    pub(super) fn apply_status(
        &mut self,
        settings: &Settings,
        at: Stamp,
        node: NodeId,
        (said, rebirth): (&Said<'_>, Rebirth),
        outbox: &mut Outbox,
        happenings: &mut Happenings,
    ) -> bool {
        if said.seq <= self.state(node).status_seq {
            return false;
        }
        self.warn_if_late(settings, at.now, node, rebirth);
        let own_seq = self.own_seq();
        let state = self.state_mut(node);
        state.status_seq = said.seq;
        state.key = Some(said.key);
        let last = state.peer.last_status.replace(at.now);
        let is_first = last.is_none();
        state.heap = if last.is_some_and(|last| at.now.since(last) < HEAP_GAP) { state.heap + 1 } else { 1 };
        if state.heap >= HEAP_MIN {
            state.peer.answers_from = Seq(own_seq.0 + 1);
        }
        if let Some(ms) = said.dead_ms {
            state.peer.deadtime = Duration::from_millis(ms.into());
        }
        if state.has_flow_control && !said.has_protocol {
            log::info!("flow control disabled due to different version heartbeat");
        }
        state.has_flow_control = said.has_protocol;
        state.peer.is_nullbeat = said.is_nullbeat;
        if is_first {
            // A status without generation brings no rebirth, but its sender wants to know us all the same.
            self.beats.hurry(at.now);
        }
        self.apply_word(settings, node, said.status, rebirth, outbox, happenings);
        if self.apply_extension(settings, at.now, node, said, happenings) {
            self.notice_outrun(settings, node, outbox);
        }
        // A Heartbeat never tells, and whoever knows a later run of ours has us begin anew above it, unheard.
        let has_told = said.extension.is_some() || !said.is_nullbeat;
        if self.is_hushed() && has_told && !self.is_outrun && settings.partner.is_none_or(|partner| partner == node) {
            self.speak_up(at.now);
        }
        let after = last.map_or(Duration::ZERO, |last| at.now.since(last));
        self.await_partner(settings, at.now, node, after);
        true
    }

    /// The status word. One that we do not know, or `dead` of all things, leaves the last one standing.
    fn apply_word(
        &mut self,
        settings: &Settings,
        node: NodeId,
        word: Option<NodeStatus>,
        rebirth: Rebirth,
        outbox: &mut Outbox,
        happenings: &mut Happenings,
    ) {
        let state = self.state_mut(node);
        if let Some(word) = word.filter(|word| *word != NodeStatus::Dead) {
            state.spoken = word;
        }
        let status = state.spoken;
        let old = core::mem::replace(&mut state.peer.status, status);
        if old != status {
            log::info!("Status update for node {}: status {}", name_of(settings, node), status.word());
            put(outbox, Action::Event(Event::Node { node, status }));
        }
        if old != status || rebirth != Rebirth::None {
            tell(happenings, Happening::Status { node, status });
        }
    }

    /// The extension describes the sender at the moment of that number: only the newest counts. Returns whether it was that.
    fn apply_extension(
        &mut self,
        settings: &Settings,
        now: Instant,
        node: NodeId,
        said: &Said<'_>,
        happenings: &mut Happenings,
    ) -> bool {
        let ours = self.identity.generation;
        let state = self.state_mut(node);
        let Some(extension) = said.extension.filter(|_| state.extension_seq < Some(said.seq)) else { return false };
        state.extension_seq = Some(said.seq);
        state.peer.extension = Some(*extension);
        if extension.echo_generation == ours {
            state.round_trips.heard(extension.echo_seq, now);
            self.note_echo(settings, now, node, extension.echo_seq);
        }
        tell(happenings, Happening::Extension { node });
        true
    }

    /// Whoever knows a later run of ours takes every word of this one for an old one played back; so does who has heard higher
    /// numbers of ours than we have said: that was another run with this very generation. Each node tells what it knows of
    /// its partner.
    fn notice_outrun(&mut self, settings: &Settings, node: NodeId, outbox: &mut Outbox) {
        let ours = self.identity.generation;
        let Some(extension) = self.peer(node).extension.as_ref() else { return };
        let (known, heard) = (extension.echo_generation, extension.echo_seq);
        let is_later = known > ours || known == ours && heard > self.own_seq();
        if is_later && !self.is_outrun && settings.partner == Some(node) {
            self.is_outrun = true;
            let (name, known_number, ours) = (name_of(settings, node), known.0, ours.0);
            log::error!("node {name} knows generation {known_number} of us and hears none below it; ours is {ours}");
            put(outbox, Action::Outrun { known });
        }
    }

    fn warn_if_late(&self, settings: &Settings, now: Instant, node: NodeId, rebirth: Rebirth) {
        let Some(last) = self.peer(node).last_status else { return };
        // After our own delay the interval says more about us than about the peer.
        if rebirth == Rebirth::Restarted || !self.lateness.may_judge(now) {
            return;
        }
        let interval = now.since(last);
        let (name, ms) = (name_of(settings, node), interval.as_millis());
        if interval > settings.deadtime {
            log::error!(target: "CRIT", "Late heartbeat: Node {name}: interval {ms} ms (> deadtime)");
        } else if interval > settings.warntime {
            log::warn!("Late heartbeat: Node {name}: interval {ms} ms");
        }
    }

    /// Every other node is heard or dead: communication is up, once. The first node alive is asked for its list of
    /// nodes, because a Heartbeat expects to be asked; nothing waits for the answer.
    pub(super) fn check_comm_up(
        &mut self,
        settings: &Settings,
        at: Stamp,
        outbox: &mut Outbox,
        happenings: &mut Happenings,
    ) {
        if self.not_up_before.is_some_and(|until| at.now >= until) {
            self.not_up_before = None;
        }
        let is_settled = |node| self.is_alive(node) || self.peer(node).status == NodeStatus::Dead;
        if self.is_up
            || self.not_up_before.is_some()
            || !self.others().all(is_settled)
            || !self.pings.lets_comm_come_up()
        {
            return;
        }
        self.is_up = true;
        if let Some(node) = self.others().find(|node| self.is_alive(*node)) {
            self.send(settings, at, Some(node), Body::ReqNodes, outbox);
        }
        log::info!("Comm_now_up(): updating status to active");
        tell(happenings, Happening::CommUp);
    }
}
