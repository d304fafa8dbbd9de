//! Ownership: which groups run here, who may take what, and when.
//!
//! State is kept per group; the two bits that Heartbeat's wire knows (`local`, `foreign`) are derived from it. Messages
//! and job ends only change *facts* (what the partner holds, what runs here). After each input `Ownership::reconcile`
//! looks at the facts and does what they call for, so that no decision depends on the order in which news arrived.
//!
//! ```text
//!   facts                      reconcile, after every input            actions
//!   partner holds / is dead ─▶ conflict: two holders?  ──────────────▶ release
//!   groups run / failed     ─▶ phase: may we judge yet?
//!   operator asked          ─▶ acquire: a permit for an unclaimed group? ─▶ start
//!                              hand-over: due to go home, to be offered? ─▶ ask_resources
//! ```

mod acquiring;
mod alarms;
mod conflict;
mod fence;
mod group;
mod handover;
mod health;
mod interlock;
mod lease;
mod leaving;
mod legacy;
mod lines;
mod negotiation;
mod permit;
mod requests;
mod resuming;
#[cfg(test)]
mod tests;
pub mod transitions;
mod upstream;
mod view;

pub use fence::{Fence, FenceNeed, FenceStage};
pub use group::Group;
pub use handover::Handover;
pub use interlock::Gate;
pub use lines::Lines;
pub use view::LastMove;

use super::comms::{Comms, Happening, Outbox};
use super::ids::{GroupId, GroupSet, JobId, NodeId, Seq};
use super::limits::{GROUPS_MAX, LINKS_MAX, REQUESTS_MAX};
use super::message::{Body, Extension, GroupState, Holds, NodeStatus};
use super::planted::{Bug, is_planted};
use super::settings::{Carried, Identity, Settings};
use super::time::{Duration, Instant, Stamp};
use super::{Action, Alarm, Alarms, Cause, JobOutcome, Order};

use requests::Waiting;
use resuming::Resumed;

/// How long two starting nodes wait for each other (spec/resources.md 9.2: 10 s from the first `resource`).
const SETTLING: Duration = Duration::from_secs(10);
/// After how long at rest a Heartbeat has left what it does not use: ten times what a script may take here.
const LEFT_TIME: Duration = Duration::from_secs(600);

/// What ownership needs of the rest while it works.
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) identity: Identity,
    pub(super) at: Stamp,
    /// Everything that had arrived has been handed over.
    pub(super) has_read_all: bool,
    pub(super) comms: &'a mut Comms,
    pub(super) outbox: &'a mut Outbox,
    pub(super) last_job: &'a mut u32,
}

impl Context<'_> {
    fn next_job(&mut self) -> JobId {
        *self.last_job = self.last_job.wrapping_add(1);
        JobId(*self.last_job)
    }

    pub(super) fn act(&mut self, action: Action) {
        let is_full = self.outbox.push_back(action).is_err();
        assert!(!is_full, "the driver drains after each input, and one input causes fewer actions than fit");
    }

    /// Whether this node has a say in who owns what. A third node only communicates, and so does one without resources.
    fn takes_part(&self) -> bool {
        self.settings.has_resources && (self.settings.partner.is_some() || self.settings.nodes.len() == 1)
    }

    fn send(&mut self, to: Option<NodeId>, body: Body<'static>) {
        self.comms.send(self.settings, self.at, to, body, self.outbox);
    }

    fn partner_name(&self) -> &str {
        self.settings.partner.map_or("", |partner| self.node_name(partner))
    }

    fn local_name(&self) -> &str {
        self.node_name(self.settings.local)
    }

    fn node_name(&self, node: NodeId) -> &str {
        self.settings.nodes.get(usize::from(node.0)).map_or("", |name| name.as_str())
    }
}

/// How far this node has come in agreeing with its partner (spec/resources.md section 8, `rstate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Communication is not up: nothing may be decided.
    Waiting,
    /// `starting` is said; the partner's holdings are not known.
    Starting {
        /// When to say it again.
        again_at: Instant,
    },
    /// The partner starts too: wait for its being stable, at most until then.
    Settling {
        /// When to take our own groups all the same.
        take_at: Instant,
    },
    /// Decisions are taken as facts change.
    Stable,
    /// Going down, see `leaving`.
    Leaving(leaving::Leaving),
}

impl Phase {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting { .. } => "starting",
            Self::Settling { .. } => "settling",
            Self::Stable => "stable",
            Self::Leaving(_) => "leaving",
        }
    }
}

/// What we believe of the partner's holdings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Partner {
    /// Its last announcement, in its words.
    holds: Holds,
    /// Announced as given up, but the release is not confirmed (spec/resources.md section 22, weakness 1).
    releasing: Holds,
    /// It has told its holdings in this generation.
    is_known: bool,
    /// It has told that nothing moves there.
    is_stable: bool,
    /// It has released everything and takes nothing until it starts again (`shutdone`).
    has_left: bool,
    /// Groups that an operator wants from it, and so vouches for its being off; ends when it is heard again.
    vouched: GroupSet,
    /// Sequence number of the `resource` message applied last.
    resource_seq: Seq,
}

impl Partner {
    const UNKNOWN: Self = Self {
        holds: Holds::NONE,
        releasing: Holds::NONE,
        is_known: false,
        is_stable: false,
        has_left: false,
        vouched: GroupSet::EMPTY,
        resource_seq: Seq(0),
    };
}

/// Everything about who owns what.
#[derive(Debug, Clone)]
pub struct Ownership {
    groups: heapless::Vec<Group, GROUPS_MAX>,
    /// Of our own claim on each group: the first of our sequence numbers that may have told of it.
    claim_seq: [Seq; GROUPS_MAX],
    /// Of each group, whether this node is its preferred one.
    wire_side: heapless::Vec<bool, GROUPS_MAX>,
    /// The bits of a side that has no groups: they follow the protocol although nothing runs.
    phantom: Holds,
    phase: Phase,
    partner: Partner,
    handover: Handover,
    /// A hand-over that an earlier engine has begun.
    resumed: Option<Resumed>,
    conflict: conflict::Conflict,
    waiting: heapless::Vec<Waiting, REQUESTS_MAX>,
    alarms: Alarms,
    moves: alarms::Moves,
    has_guardian: bool,
    is_held: bool,
    is_yielding: bool,
    /// What the last `resource` message said.
    said: Option<(Holds, bool)>,
    /// The extension should go out at once.
    wants_extension: bool,
    /// Of our groups, those that may have run there as well: neighbours may have learnt the other board's hardware address.
    /// Announced once more as soon as the partner is known not to claim them.
    unannounced: GroupSet,
    /// When the partner became stable, for `failback_delay`.
    partner_stable_since: Option<Instant>,
    /// The same, but not while an operator holds decisions here: whoever resumes both nodes at once gives the preferred one
    /// its time.
    partner_rests_since: Option<Instant>,
    last_move: Option<LastMove>,
    /// Messages lost for good up to the last `resume`, or to the partner's last start.
    lost_before: u64,
    /// Ping nodes here and there.
    upstream: upstream::Upstream,
    health: health::Checks,
    /// The partner did not answer an offer of ours: it is not asked again before.
    offer_not_before: Option<Instant>,
    /// Since when the partner has said that it does not hear us on a link on which we hear it.
    one_way_since: [Option<Instant>; LINKS_MAX],
    /// The partner has told in some run of its own that it has heard this run of ours: whatever it says later it says
    /// after our start.
    is_run_known: bool,
    /// Sequence number of the message that brought the partner's extension.
    extension_seq: Seq,
    /// Nothing that the partner said up to here tells what it does with groups that we have handed over.
    outdated_seq: Seq,
    /// The first of our numbers that left after something was to be started on what the partner had said.
    asked_seq: Option<Seq>,
    /// Something still waits for the answer.
    needs_answer: bool,
    /// Something is to be started as soon as everything that has arrived is read.
    waits_for_tick: bool,
    /// The partner's last words came in a heap, and it is asked for one that answers to us.
    is_in_doubt: bool,
    legacy: legacy::Legacy,
    lease: lease::Lease,
    lines: Lines,
    fence: Fence,
    interlock: interlock::Interlock,
}

impl Ownership {
    /// Nothing is known yet.
    pub(super) fn new(settings: &Settings, carried: Option<&Carried>, at: Stamp) -> Self {
        let mut groups = heapless::Vec::new();
        for (id, _) in (0..).zip(&settings.groups) {
            let mut group = Group::new(GroupId(id), at.now);
            group.is_inherited = carried.is_some_and(|carried| carried.claims.contains(GroupId(id)));
            group.is_guest = group.is_inherited && carried.is_some_and(|carried| carried.guests.contains(GroupId(id)));
            let is_full = groups.push(group).is_err();
            assert!(!is_full, "settings have no more groups than fit");
        }
        Self {
            groups,
            claim_seq: [Seq(0); GROUPS_MAX],
            wire_side: settings.groups.iter().map(|group| group.preferred == settings.local).collect(),
            phantom: Holds::NONE,
            phase: Phase::Waiting,
            partner: Partner::UNKNOWN,
            handover: Handover::None,
            resumed: Resumed::of(carried),
            conflict: conflict::Conflict::default(),
            waiting: heapless::Vec::new(),
            alarms: Alarms::default(),
            moves: alarms::Moves::default(),
            has_guardian: true,
            is_held: carried.is_some_and(|carried| carried.is_held),
            is_yielding: carried.is_some_and(|carried| carried.is_yielding && !carried.claims.is_empty()),
            said: None,
            wants_extension: true,
            unannounced: GroupSet::EMPTY,
            partner_stable_since: None,
            partner_rests_since: None,
            last_move: None,
            lost_before: 0,
            upstream: upstream::Upstream::default(),
            health: health::Checks::new(settings.groups.len(), carried),
            offer_not_before: None,
            one_way_since: [None; LINKS_MAX],
            is_run_known: false,
            extension_seq: Seq(0),
            outdated_seq: Seq(0),
            asked_seq: None,
            needs_answer: false,
            waits_for_tick: false,
            is_in_doubt: false,
            legacy: legacy::Legacy::default(),
            lease: lease::Lease::new(carried),
            lines: Lines::default(),
            fence: Fence::new(&settings.fence, carried, at.now),
            interlock: interlock::Interlock::default(),
        }
    }

    /// First input of all: take over what an earlier engine held for sure, ask about the rest.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>, carried: Option<&Carried>) {
        if carried.is_some_and(|carried| !carried.claims.is_empty()) {
            self.show_owner(cx);
        }
        self.carry_doubts(cx, carried.map_or(0, |carried| carried.stuck_lines));
        for index in 0..self.groups.len() {
            let certain = carried.filter(|carried| carried.is_certain);
            let group = &mut self.groups[index];
            match certain {
                Some(carried) if carried.to_restart.contains(group.id()) => {
                    group.adopt(cx, GroupState::Stopped);
                    self.claim_seq[index] = Seq(1);
                }
                Some(carried)
                    if !carried.states[index].is_in_use() && carried.states[index] != GroupState::StartFailed =>
                {
                    // Nothing runs, and whether it was coming or going nobody knows: the claim ends with its engine.
                    group.is_inherited = false;
                    group.set(cx, GroupState::Stopped, Cause::Startup);
                }
                // A job was under way, and it may have been a release: the partner is asked before anything is started.
                Some(carried)
                    if carried.claims.contains(group.id()) && carried.states[index] != GroupState::Unknown =>
                {
                    group.adopt(cx, carried.states[index]);
                    self.claim_seq[index] = Seq(1);
                }
                Some(carried) if !carried.states[index].is_in_use() => {
                    group.set(cx, GroupState::Stopped, Cause::Startup);
                }
                _ => group.probe(cx),
            }
        }
        if let Some(known) = carried.filter(|carried| carried.is_certain).and_then(|carried| carried.partner) {
            self.partner.has_left = known.has_left;
        }
        if self.is_held {
            self.raise(cx, Alarm::Held, true);
        }
    }

    // ---- facts -------------------------------------------------------------------------------------------------

    /// Communication tells something.
    ///
    /// `seq` is the number of the message behind it, zero when there is none.
    pub(super) fn happened(&mut self, cx: &mut Context<'_>, happening: Happening, seq: Seq) {
        self.witness(transitions::Event::of_happening(happening, cx.settings.partner));
        let is_partner = |node: NodeId| cx.settings.partner == Some(node);
        match happening {
            Happening::CommUp => self.comm_up(cx),
            Happening::Status { node, status } => {
                if is_partner(node) && status == NodeStatus::Active {
                    self.wants_extension = true;
                }
            }
            Happening::Dead { node, was_heard } if is_partner(node) => self.partner_died(cx, was_heard),
            Happening::Restarted { node, was_dead } if is_partner(node) => self.partner_restarted(cx, was_dead),
            Happening::Returned { node } if is_partner(node) => self.partner_returned(cx),
            Happening::Extension { node } if is_partner(node) => {
                self.extension_seq = seq;
                self.partner_told(cx);
            }
            Happening::Overslept => {
                // The partner has broken off what was under way between us.
                self.cancel_handover(cx);
                // Whoever holds something now may have been taken for dead (design.md rule 1c).
                if self.groups.iter().any(Group::is_claimed) && !is_planted(Bug::ForgetSleep) {
                    log::warn!("This node was not scheduled for longer than its dead time; it yields to other holders");
                    self.is_yielding = true;
                    self.wants_extension = true;
                }
            }
            Happening::Dead { .. }
            | Happening::Restarted { .. }
            | Happening::Returned { .. }
            | Happening::Extension { .. }
            | Happening::Late { .. } => {}
        }
    }

    /// A job has ended.
    pub(super) fn job_done(&mut self, cx: &mut Context<'_>, job: JobId, outcome: JobOutcome) {
        for index in 0..self.groups.len() {
            let group = &mut self.groups[index];
            let Some(order) = group.job_done(cx, job, outcome) else { continue };
            let id = group.id();
            match order {
                Order::Probe => self.probed(cx, id, outcome),
                Order::Start | Order::Restart { .. } | Order::Stop => {
                    let state = self.groups[index].state();
                    self.raise(cx, Alarm::StartFailed(id), state == GroupState::StartFailed);
                    self.raise(cx, Alarm::StopFailed(id), state == GroupState::StopFailed);
                }
                Order::Announce => {}
            }
            self.wants_extension = true;
            return;
        }
    }

    fn probed(&mut self, cx: &mut Context<'_>, id: GroupId, outcome: JobOutcome) {
        let Some(group) = self.groups.get_mut(usize::from(id.0)) else { return };
        if outcome == JobOutcome::NoneRunning {
            group.is_inherited = false;
            group.set(cx, GroupState::Stopped, Cause::Startup);
        } else if !group.is_inherited {
            log::warn!("group {}: found running although no daemon of this boot held it: stopping it", id.0);
            group.release(cx, Cause::Startup);
        }
        // An inherited group waits as `Unknown` until the partner is known: see `settle_inherited`.
    }

    /// Whether scripts can be run.
    pub(super) fn guardian(&mut self, cx: &mut Context<'_>, is_present: bool) {
        if self.has_guardian != is_present {
            self.has_guardian = is_present;
            self.raise(cx, Alarm::NoGuardian, !is_present);
            self.wants_extension = true;
        }
    }

    // ---- consequences --------------------------------------------------------------------------------------------

    /// Looks at the facts and does what they call for.
    pub(super) fn reconcile(&mut self, cx: &mut Context<'_>) {
        (self.needs_answer, self.waits_for_tick) = (false, false);
        self.note_lease(cx);
        self.note_doubt(cx);
        self.act_on_facts(cx);
        self.gate_step(cx);
        if !self.needs_answer {
            self.asked_seq = None;
        }
    }

    /// What came in a heap calls for an answer to what we say now.
    fn note_doubt(&mut self, cx: &Context<'_>) {
        let is_in_doubt = self.is_partner_alive(cx)
            && !self.partner.has_left
            && self.partner_extension(cx).is_some_and(|extension| {
                extension.echo_generation == cx.identity.generation && self.is_outdated(cx, extension)
            });
        self.wants_extension |= is_in_doubt && !self.is_in_doubt;
        self.is_in_doubt = is_in_doubt;
    }

    fn act_on_facts(&mut self, cx: &mut Context<'_>) {
        if let Phase::Leaving(leaving) = self.phase {
            self.leaving_step(cx, leaving);
            return;
        }
        if !cx.comms.is_up() {
            self.leave_what_is_claimed(cx);
            return;
        }
        self.note_partner(cx);
        self.note_legacy(cx);
        self.settle_inherited(cx);
        self.settle(cx);
        self.resolve_conflicts(cx);
        self.compare_upstream(cx);
        self.compare_health(cx);
        if self.phase == Phase::Stable {
            self.legacy_step(cx);
        }
        self.fence_step(cx);
        if self.has_guardian && self.phase == Phase::Stable {
            self.resume_handover(cx);
            self.handover_step(cx);
            if self.handover.is_none() {
                self.acquire_unclaimed(cx);
                self.retry_failed(cx);
                self.restart_failed(cx);
                self.move_voluntarily(cx);
            }
        }
        self.requests_step(cx);
        self.watch(cx);
        self.say_holds(cx);
    }

    /// Hand-overs that nobody asked for: an offer after a failed start, the way home.
    fn move_voluntarily(&mut self, cx: &mut Context<'_>) {
        if self.is_held() || !self.can_hand_over(cx) {
            return;
        }
        let is_latched = self.moves.is_latched(cx.settings, cx.at.now);
        self.raise(cx, Alarm::MovesLatched, is_latched);
        let is_partner_held = self.partner_extension(cx).is_some_and(|extension| extension.is_held);
        if is_latched || is_partner_held || self.offer_not_before.is_some_and(|at| cx.at.now < at) {
            return;
        }
        if !self.offer_failed(cx) && !self.give_up_for_upstream(cx) && !self.give_up_for_health(cx) {
            self.fail_back(cx);
            self.give_what_is_left(cx);
        }
    }

    /// Whether the group's preferred node is this one.
    fn is_preferred(&self, cx: &Context<'_>, id: GroupId) -> bool {
        cx.settings.groups.get(usize::from(id.0)).is_some_and(|group| group.preferred == cx.settings.local)
    }

    /// The groups of the sides that `set` names, from our view.
    fn groups_of(&self, cx: &Context<'_>, set: Holds) -> GroupSet {
        let is_in = |id: &GroupId| if self.is_preferred(cx, *id) { set.local } else { set.foreign };
        self.groups.iter().map(Group::id).filter(is_in).collect()
    }

    fn partner_status(&self, cx: &Context<'_>) -> Option<NodeStatus> {
        cx.settings.partner.map(|partner| cx.comms.peer(partner).status)
    }

    fn is_partner_alive(&self, cx: &Context<'_>) -> bool {
        cx.settings.partner.is_some_and(|partner| cx.comms.is_alive(partner))
    }

    /// The partner's last word per group, if it is a nullbeat and reads the same haresources.
    fn partner_extension<'c>(&self, cx: &'c Context<'_>) -> Option<&'c Extension> {
        let partner = cx.settings.partner?;
        cx.comms.peer(partner).extension.as_ref().filter(|extension| {
            extension.resources_digest == cx.settings.resources_digest
                && usize::from(extension.group_count) == self.groups.len()
        })
    }

    /// Whether the partner has been heard, and not as a nullbeat.
    fn is_partner_heartbeat(&self, cx: &Context<'_>) -> bool {
        let partner = cx.settings.partner.map(|partner| cx.comms.peer(partner));
        partner.is_some_and(|peer| peer.last_status.is_some() && !peer.is_nullbeat)
    }

    /// Whether the partner is a living nullbeat that has not told per group what it holds since it, or we, started. What it
    /// says beside that may be older than our start, from the queue of a slow line, and proves nothing.
    fn is_partner_mute(&self, cx: &Context<'_>) -> bool {
        let partner = cx.settings.partner.filter(|partner| cx.comms.is_alive(*partner));
        partner.map(|partner| cx.comms.peer(partner)).is_some_and(|peer| peer.is_nullbeat && peer.extension.is_none())
    }

    /// Whether the partner's last extension was said so shortly after it had heard us that it cannot have declared us
    /// dead since: the beat that it answers to left here less than our announced dead time ago.
    fn is_heard_fresh(&self, cx: &Context<'_>) -> bool {
        self.partner_extension(cx).is_some_and(|extension| {
            extension.hears_partner
                && extension.echo_generation == cx.identity.generation
                && !self.is_outdated(cx, extension)
                && cx.comms.sent_at(extension.echo_seq).is_some_and(|sent| {
                    cx.at.now.since(sent).as_micros() * 4 < cx.comms.announced_deadtime().as_micros() * 3
                })
        })
    }

    /// Whether the partner said this before what it has said since came in a heap.
    fn is_outdated(&self, cx: &Context<'_>, extension: &Extension) -> bool {
        cx.settings.partner.is_some_and(|partner| extension.echo_seq < cx.comms.peer(partner).answers_from)
    }

    /// What the partner holds or may still be releasing, in its words.
    fn partner_holds(&self) -> Holds {
        self.partner.holds.union(self.partner.releasing)
    }

    /// Whether anything of the group may be in use at the partner, for all that we know.
    fn partner_may_use(&self, cx: &Context<'_>, id: GroupId) -> bool {
        if self.partner.has_left || cx.settings.partner.is_none() {
            return false;
        }
        match self.partner_extension(cx) {
            Some(extension) => extension.claims.contains(id) || extension.groups[usize::from(id.0)].is_in_use(),
            // It owns what is its, and lets go what is ours before we start it.
            None if self.is_partner_mute(cx) => true,
            None if self.is_legacy(cx) => !self.is_preferred(cx, id),
            None => !self.partner.is_known || self.is_in(cx, self.partner_holds().swapped(), id),
        }
    }

    /// Whether the group belongs to `set`, from our view.
    fn is_in(&self, cx: &Context<'_>, set: Holds, id: GroupId) -> bool {
        if self.is_preferred(cx, id) { set.local } else { set.foreign }
    }
}
