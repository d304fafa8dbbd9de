//! The standby handshake (spec/resources.md section 11): how groups move between two live nodes.
//!
//! ```text
//!   giver   Asked ──other──▶ Releasing ──stops end, done──▶ Released ──done──▶ None
//!   taker   Agreed ──────────────────────────done─────────▶ Acquiring ──starts end, done──▶ None
//! ```

use super::permit::Permit;
use super::{Context, Group, LEFT_TIME, Ownership, Phase, SETTLING};
use crate::core::ids::{GroupId, GroupSet, NodeId, RequestId, Seq};
use crate::core::message::{Body, GroupState, Holds, NodeStatus, ResourceInfo, StandbyWord};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::AutoFailback;
use crate::core::time::{Duration, Instant};
use crate::core::{Alarm, Cause, Failure, Outcome, Refusal};

/// How long an unanswered request stands (spec/resources.md 11.2).
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long a partner that did not answer an offer of ours is left in peace.
const OFFER_PAUSE: Duration = Duration::from_secs(60);
/// How long scripts may take on either side (spec/resources.md 11.2).
pub(super) const SCRIPT_TIME: Duration = Duration::from_secs(3600);

/// One hand-over between the two nodes. Sets are from the view of the node that gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// None under way.
    None,
    /// We have asked to give and wait for `other`.
    Asked(Giving),
    /// Our stops run.
    Releasing(Giving),
    /// We have said `done` and wait for the partner's.
    Released(Giving),
    /// The partner has asked, we have said `other` and wait for its `done`.
    Agreed(Taking),
    /// Our starts run.
    Acquiring(Taking),
}

/// The giver's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Giving {
    pub(super) set: Holds,
    pub(super) groups: GroupSet,
    /// Of these, the ones that ran here when the release began.
    pub(super) held: GroupSet,
    pub(super) is_partial: bool,
    pub(super) after_failure: bool,
    pub(super) cause: Cause,
    pub(super) request: Option<RequestId>,
    /// Number of the partner's last word in this.
    pub(super) word_seq: Seq,
    /// The highest number heard of the partner when our last word was said: what answers it has a higher one.
    pub(super) heard_seq: Seq,
    pub(super) until: Instant,
}

/// The taker's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taking {
    pub(super) set: Holds,
    pub(super) groups: GroupSet,
    pub(super) after_failure: bool,
    /// The giver has announced that its release begins.
    pub(super) is_confirmed: bool,
    /// Whether it had called itself stable, and has not said otherwise since.
    pub(super) was_stable: bool,
    /// Number of the partner's last word in this.
    pub(super) word_seq: Seq,
    /// The highest number heard of the partner when we agreed: what answers that has a higher one.
    pub(super) heard_seq: Seq,
    /// Number of its `done`; zero: not said.
    pub(super) done_seq: Seq,
    /// The first of our numbers that left after its `done` had come.
    pub(super) proof_seq: Seq,
    pub(super) until: Instant,
}

impl Handover {
    /// Whether none is under way.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether the partner is giving and has not said `done`.
    pub(super) const fn is_partner_releasing(&self) -> bool {
        matches!(self, Self::Agreed(_))
    }

    /// The partner tells whether it is stable.
    pub(super) const fn note_stability(&mut self, is_stable: bool) {
        if let Self::Agreed(taking) = self {
            taking.was_stable = is_stable;
        }
    }

    /// Whether we are to take, have the giver's `done`, and wait for its saying so once more.
    pub(super) const fn waits_for_proof(&self) -> bool {
        matches!(self, Self::Agreed(taking) if taking.done_seq.0 > 0)
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::None | Self::Acquiring(_) => None,
            Self::Asked(giving) | Self::Releasing(giving) | Self::Released(giving) => Some(giving.until),
            Self::Agreed(taking) => Some(taking.until),
        }
    }

    /// For people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Asked(_) => "asked",
            Self::Releasing(_) => "releasing",
            Self::Released(_) => "released",
            Self::Agreed(_) => "agreed",
            Self::Acquiring(_) => "acquiring",
        }
    }
}

/// The highest number heard of the partner.
fn heard_so_far(cx: &Context<'_>) -> Seq {
    cx.settings.partner.map_or(Seq(0), |partner| cx.comms.peer(partner).highest_seq)
}

impl Ownership {
    /// Whether a hand-over to the partner could begin now.
    pub(super) fn can_hand_over(&self, cx: &Context<'_>) -> bool {
        self.refusal(cx).is_none()
    }

    /// Why no hand-over can begin now.
    pub(super) fn refusal(&self, cx: &Context<'_>) -> Option<Refusal> {
        Some(match self.phase {
            Phase::Leaving(_) => Refusal::ShuttingDown,
            _ if cx.settings.partner.is_none() => Refusal::NoPart,
            _ if !self.has_guardian => Refusal::NoGuardian,
            _ if !self.is_partner_alive(cx)
                || self.partner.has_left
                || self.partner_status(cx) != Some(NodeStatus::Active) =>
            {
                Refusal::PartnerAbsent
            }
            Phase::Waiting | Phase::Starting { .. } | Phase::Settling { .. } => Refusal::LocalInFlux,
            Phase::Stable if self.is_legacy(cx) => Refusal::Legacy,
            Phase::Stable if !self.handover.is_none() => Refusal::LocalInFlux,
            Phase::Stable if !self.partner.is_stable => Refusal::PartnerInFlux,
            Phase::Stable => return None,
        })
    }

    /// Asks the partner to take `groups`, which belong to the sides of `set`.
    pub(super) fn offer(
        &mut self,
        cx: &mut Context<'_>,
        set: Holds,
        groups: GroupSet,
        cause: Cause,
        request: Option<RequestId>,
    ) {
        let is_partial = groups != self.groups_of(cx, set) && self.partner_extension(cx).is_some();
        let groups = if is_partial { groups } else { self.groups_of(cx, set) };
        let is_spent = cause == Cause::Health && !(groups & self.health.spent()).is_empty();
        let after_failure = cause == Cause::StartFailure || is_spent;
        log::info!("{} wants to go standby [{}]", cx.local_name(), set.word());
        let only = is_partial.then_some(groups);
        cx.send(None, Body::AskResources { set, word: StandbyWord::Me, only, after_failure });
        let until = cx.at.now + ANSWER_TIME;
        self.resumed = None;
        self.handover = Handover::Asked(Giving {
            set,
            groups,
            held: GroupSet::EMPTY,
            is_partial,
            after_failure,
            cause,
            request,
            word_seq: Seq(0),
            heard_seq: heard_so_far(cx),
            until,
        });
        self.wants_extension = true;
    }

    /// A group that did not start here is offered to the partner once.
    pub(super) fn offer_failed(&mut self, cx: &mut Context<'_>) -> bool {
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            if group.state() != GroupState::StartFailed || !group.is_claimed() || group.was_offered || group.is_refugee
            {
                continue;
            }
            let id = group.id();
            if self.has_failed_there(cx, id) {
                continue;
            }
            let side = if self.is_preferred(cx, id) { Holds::LOCAL } else { Holds::FOREIGN };
            let (set, groups) = match (cx.settings.interlock, self.partner_extension(cx)) {
                // One board holds all or nothing.
                (Some(_), _) => (Holds::ALL, self.claims()),
                (None, Some(_)) => (side, GroupSet::only(id)),
                // The wire of a Heartbeat knows sides only.
                (None, None) => (side, self.groups_of(cx, side)),
            };
            for group in self.groups.iter_mut().filter(|group| groups.contains(group.id())) {
                group.was_offered |= group.state() == GroupState::StartFailed;
            }
            self.offer(cx, set, groups, Cause::StartFailure, None);
            return true;
        }
        false
    }

    /// Guests go home when their preferred node has been stable for `failback_delay`.
    pub(super) fn fail_back(&mut self, cx: &mut Context<'_>) {
        if cx.settings.auto_failback == AutoFailback::Off {
            return;
        }
        let Some(since) = self.partner_stable_since else { return };
        let guests = self.guests();
        let has_phantom =
            self.wire_holds().foreign && self.groups_of(cx, Holds::FOREIGN).is_empty() && !self.partner_holds().local;
        if guests.is_empty() && !has_phantom {
            return;
        }
        if !self.is_home_as_good(cx) || !self.is_home_as_healthy(cx) || cx.at.now < since + cx.settings.failback_delay {
            return;
        }
        let movable: GroupSet = self
            .groups
            .iter()
            // What could not be stopped goes home by itself when a later stop succeeds.
            .filter(|group| group.is_claimed() && !group.is_busy() && !group.is_stuck())
            .map(Group::id)
            .filter(|id| !self.is_stuck_there(cx, *id) && !self.is_spent_there(cx, *id))
            .collect();
        let guests = self.all_or_nothing(cx, movable & guests, movable);
        if guests.is_empty() && !has_phantom {
            return;
        }
        self.offer(cx, Holds::FOREIGN, guests, Cause::Failback, None);
    }

    /// What neither node uses of a Heartbeat's side goes home to it. It takes nothing back by itself after a standby that a
    /// new start of ours broke off; it only logs that nobody owns its resources (spec/resources.md section 8). Taking it
    /// here would be the shorter way, but a Heartbeat calls itself stable to a node that starts, even while the scripts of
    /// its standby run (9.2). It passes over an offer then, and gets it again later (11.2).
    pub(super) fn give_what_is_left(&mut self, cx: &mut Context<'_>) {
        if !self.handover.is_none() || !self.rests(cx, SETTLING) {
            return;
        }
        let groups = self.groups_of(cx, Holds::FOREIGN);
        let is_used_here = |id: GroupId| {
            let group = &self.groups[usize::from(id.0)];
            group.is_claimed() || group.is_busy() || group.is_stuck()
        };
        let is_used = |id: GroupId| is_used_here(id) || self.partner_may_use(cx, id);
        if !groups.is_empty() && !groups.iter().any(is_used) {
            self.offer(cx, Holds::FOREIGN, groups, Cause::Failback, None);
        }
    }

    /// Whether the partner claims the group too, or cannot stop it: a hand-over would only stop the half that works.
    /// (A Heartbeat that is back after a partition calls itself stable for the two seconds before it drops everything.)
    fn is_stuck_there(&self, cx: &Context<'_>, id: GroupId) -> bool {
        self.partner_may_use(cx, id)
    }

    /// One message of the handshake.
    pub(super) fn heard_ask(
        &mut self,
        cx: &mut Context<'_>,
        (from, seq): (NodeId, Seq),
        set: Holds,
        word: StandbyWord,
        only: Option<GroupSet>,
        after_failure: bool,
    ) {
        let name = cx.node_name(from);
        self.heard_nice_word(cx);
        if self.resumed_hears(cx, word) {
            return;
        }
        // An engine asks for what it has not heard, and so may hear words of a hand-over that has ended long ago.
        let is_stale = match (self.handover, word) {
            (Handover::Asked(giving), StandbyWord::Other) => seq <= giving.heard_seq,
            (Handover::Released(giving), StandbyWord::Done) => seq < giving.word_seq || seq <= giving.heard_seq,
            (Handover::Agreed(taking), StandbyWord::Done) => seq < taking.word_seq || seq <= taking.heard_seq,
            _ => false,
        };
        if is_stale {
            log::debug!("Ignored standby message '{word:?}' from {name}: it belongs to an earlier hand-over");
            return;
        }
        match (self.handover, word) {
            (Handover::None, StandbyWord::Me) => self.heard_me(cx, seq, set, only, after_failure),
            (Handover::Asked(giving), StandbyWord::Me) if self.yields_to(cx, from) => {
                // Both asked at once: the node that comes first in the order of names gives way.
                self.end_request(cx, giving.request, Outcome::Refused(Refusal::PartnerInFlux));
                self.handover = Handover::None;
                self.heard_me(cx, seq, set, only, after_failure);
            }
            (Handover::Agreed(taking), StandbyWord::Me)
                if seq > taking.word_seq.max(taking.done_seq) && !self.is_partner_heartbeat(cx) =>
            {
                // It asks only when none is under way there; what it said before its `done` is older, lost and sent again. A
                // Heartbeat also passes on what an operator asks meanwhile, and ignores it itself; an answer would make it
                // release a second time.
                log::warn!("{name} has broken off the hand-over and asks anew");
                self.handover = Handover::None;
                self.heard_me(cx, seq, set, only, after_failure);
            }
            (_, StandbyWord::Me) => {
                log::warn!("Standby in progress- new request from {name} ignored");
            }
            (Handover::Asked(giving), StandbyWord::Other) => self.release_for(cx, Giving { word_seq: seq, ..giving }),
            (Handover::Agreed(taking), StandbyWord::Done) => {
                let proof_seq = Seq(cx.comms.own_seq().0 + 1);
                self.handover = Handover::Agreed(Taking { done_seq: seq, proof_seq, ..taking });
                self.wants_extension = true;
                self.handover_step(cx);
            }
            (Handover::Released(giving), StandbyWord::Done) => {
                // An extension that left before this word does not show what the partner has just taken.
                self.outdated_seq = seq;
                self.given(cx, giving);
            }
            (handover, word) => {
                log::debug!("Ignored standby message '{word:?}' from {name} in state {}", handover.name());
            }
        }
    }

    /// The giver has said `done`. That word may be old: lost and sent again, or kept in the queue of a slow line, while
    /// the giver took us for dead and took everything back. A nullbeat's extension tells whether it still stands, if it
    /// was said in answer to what we said after `done` had come. Our clock alone is no witness of that: it may have stood
    /// still together with the board.
    fn taking_step(&mut self, cx: &mut Context<'_>, taking: Taking) {
        if !cx.has_read_all {
            self.waits_for_tick = true;
            return;
        }
        let Some(extension) = self.partner_extension(cx) else {
            if self.may_take(cx) {
                self.acquire_from(cx, taking);
            }
            return;
        };
        if self.extension_seq < taking.done_seq {
            return;
        }
        let in_use = |id: &GroupId| extension.groups[usize::from(id.0)].is_in_use();
        if !(extension.claims & taking.groups).is_empty() || taking.groups.iter().any(|id| in_use(&id)) {
            log::warn!("{} has taken back what it had given: the hand-over is off", cx.partner_name());
            self.handover = Handover::None;
        } else if self.is_heard_fresh(cx) && extension.echo_seq >= taking.proof_seq && self.may_take(cx) {
            self.acquire_from(cx, taking);
        }
    }

    /// A giver without extension announces that nothing moves there and that it has some of what it was to give, after
    /// it had announced its release and without having said `done`: a stop has failed. Without a claim it may be a
    /// Heartbeat's answer to what we said before, while its scripts run (spec/resources.md 9.2).
    pub(super) fn giver_is_stable(&mut self, cx: &Context<'_>, seq: Seq, holds: Holds) {
        if let Handover::Agreed(taking) = self.handover
            && taking.is_confirmed
            && taking.done_seq == Seq(0)
            && seq > taking.word_seq
            && holds.minus(taking.set) != holds
            // To a node that starts a Heartbeat calls itself stable even while its scripts run (spec/resources.md 9.2).
            && self.resumed.is_none()
        {
            log::warn!("{} has broken off the hand-over", cx.partner_name());
            self.handover = Handover::None;
        }
    }

    /// The partner says, later than its last word in the hand-over, that nothing moves there any more: it has broken it
    /// off (its stop failed), or has ended it and its last word was lost.
    pub(super) fn partner_settled(&mut self, cx: &mut Context<'_>, seq: Seq) {
        match self.handover {
            Handover::Agreed(taking) if seq > taking.word_seq => {
                log::warn!("{} has broken off the hand-over", cx.partner_name());
                self.handover = Handover::None;
            }
            Handover::Released(giving) if giving.word_seq > Seq(0) && seq > giving.word_seq => {
                self.outdated_seq = Seq(seq.0 - 1);
                let taken = self.partner_extension(cx).map_or(GroupSet::EMPTY, |extension| extension.claims);
                if (giving.groups & taken).is_empty() && !giving.held.is_empty() {
                    log::warn!("{} has broken off the hand-over", cx.partner_name());
                    self.handover_lost(cx);
                    self.handover = Handover::None;
                } else {
                    self.given(cx, giving);
                }
            }
            _ => {}
        }
    }

    fn yields_to(&self, cx: &Context<'_>, from: NodeId) -> bool {
        cx.local_name() < cx.node_name(from)
    }

    fn heard_me(
        &mut self,
        cx: &mut Context<'_>,
        word_seq: Seq,
        set: Holds,
        only: Option<GroupSet>,
        after_failure: bool,
    ) {
        let name = cx.partner_name();
        log::info!("{name} wants to go standby [{}]", set.word());
        if self.phase != Phase::Stable || !self.has_guardian || self.is_held() {
            log::warn!("standby message [{}] from {name} ignored.  local resources in flux.", set.word());
            return;
        }
        let ours = self.groups_of(cx, set.swapped());
        let groups = only.map_or(ours, |only| only & ours);
        let until = cx.at.now + ANSWER_TIME;
        let taking = Taking {
            set,
            groups,
            after_failure,
            is_confirmed: false,
            was_stable: self.partner.is_stable,
            word_seq,
            heard_seq: heard_so_far(cx),
            done_seq: Seq(0),
            proof_seq: Seq(0),
            until,
        };
        self.partner.is_stable = false;
        cx.send(None, Body::AskResources { set, word: StandbyWord::Other, only, after_failure });
        self.resumed = None;
        self.handover = Handover::Agreed(taking);
        self.wants_extension = true;
        if is_planted(Bug::StartBeforeDone) {
            self.acquire_from(cx, taking);
        }
    }

    /// The giver has begun: from now on its scripts set the pace.
    pub(super) fn handover_confirmed(&mut self, cx: &Context<'_>, seq: Seq) {
        if let Handover::Agreed(taking) = &mut self.handover
            && seq > taking.heard_seq
        {
            taking.is_confirmed = true;
            taking.until = cx.at.now + SCRIPT_TIME;
        }
    }

    fn release_for(&mut self, cx: &mut Context<'_>, giving: Giving) {
        log::info!("standby: {} can take our {} resources", cx.partner_name(), giving.set.word());
        log::info!("give up {} HA resources (standby).", giving.set.word());
        let held = giving.groups & self.claims();
        if giving.cause == Cause::Health {
            self.health.note_handed(held, cx.at.now);
        }
        for id in giving.groups.iter() {
            if let Some(group) = self.groups.get_mut(usize::from(id.0)) {
                group.release(cx, giving.cause);
                if is_planted(Bug::DropClaimsEarly) {
                    group.forget_claim(cx);
                }
            }
        }
        if giving.set.local {
            self.phantom.local = false;
        }
        if giving.set.foreign {
            self.phantom.foreign = false;
        }
        self.send_resource(cx, ResourceInfo::Standby);
        self.handover = Handover::Releasing(Giving { held, until: cx.at.now + SCRIPT_TIME, ..giving });
        if giving.request.is_none() {
            self.note_move(cx, giving.cause);
        }
        self.note_decision(cx, giving.cause);
        self.handover_step(cx);
    }

    /// Looks whether scripts have ended or time is up.
    pub(super) fn handover_step(&mut self, cx: &mut Context<'_>) {
        match self.handover {
            Handover::None => {}
            Handover::Asked(giving) if giving.until <= cx.at.now => {
                log::warn!("No reply to standby request.  Standby request cancelled.");
                if giving.request.is_none() {
                    self.offer_not_before = Some(cx.at.now + OFFER_PAUSE);
                }
                self.handover = Handover::None;
                self.end_request(cx, giving.request, Outcome::Refused(Refusal::NoAnswer));
            }
            Handover::Agreed(taking) if taking.until <= cx.at.now => {
                log::warn!("{} asked to go standby and did not begin: forgotten", cx.partner_name());
                // A Heartbeat that asked and heard nothing in time has not moved: it has nothing to announce either.
                self.partner.is_stable |= taking.was_stable && !taking.is_confirmed;
                self.handover = Handover::None;
            }
            Handover::Released(giving) if giving.until <= cx.at.now => {
                log::error!("{} did not finish its takeover within an hour", cx.partner_name());
                self.outdated_seq = heard_so_far(cx);
                self.handover = Handover::None;
                self.end_request(cx, giving.request, Outcome::Refused(Refusal::NoAnswer));
            }
            Handover::Agreed(taking) if taking.done_seq > Seq(0) => self.taking_step(cx, taking),
            Handover::Releasing(giving) => self.releasing_step(cx, giving),
            Handover::Acquiring(taking) => self.acquiring_step(cx, taking),
            Handover::Asked(_) | Handover::Agreed(_) | Handover::Released(_) => {}
        }
    }

    fn releasing_step(&mut self, cx: &mut Context<'_>, giving: Giving) {
        self.release_resumed(cx, giving);
        let (mut is_busy, mut failed) = (false, None);
        for group in self.groups.iter().filter(|group| giving.groups.contains(group.id())) {
            is_busy |= group.is_busy();
            if group.state() == GroupState::StopFailed {
                failed = Some(group.id());
            }
        }
        if is_busy && !is_planted(Bug::DropClaimsEarly) {
            return;
        }
        if let Some(id) = failed {
            // Nothing may be started over there: what has been stopped comes back here, the rest waits for a person.
            log::error!("group {} could not be stopped: the hand-over is off", id.0);
            self.handover = Handover::None;
            self.end_request(cx, giving.request, Outcome::Failed(Failure::Stop(id)));
            for id in giving.held.iter() {
                let is_free = self.groups[usize::from(id.0)].state() == GroupState::Stopped;
                if is_free && !self.partner_may_use(cx, id) {
                    self.acquire(cx, id, Permit::never_given_away(), Cause::Script);
                }
            }
            return;
        }
        log::info!("{} HA resource release completed (standby).", giving.set.word());
        let only = giving.is_partial.then_some(giving.groups);
        let after_failure = giving.after_failure;
        cx.send(None, Body::AskResources { set: giving.set, word: StandbyWord::Done, only, after_failure });
        log::info!("Local standby process completed [{}].", giving.set.word());
        let (heard_seq, until) = (heard_so_far(cx), cx.at.now + SCRIPT_TIME);
        self.handover = Handover::Released(Giving { heard_seq, until, ..giving });
        self.wants_extension = true;
    }

    fn acquire_from(&mut self, cx: &mut Context<'_>, taking: Taking) {
        let word = taking.set.word();
        log::info!("standby: acquire [{word}] resources from {}", cx.partner_name());
        log::info!("acquire {} HA resources (standby).", taking.set.swapped().word());
        self.partner.releasing = self.partner.releasing.minus(taking.set);
        self.partner.holds = self.partner.holds.minus(taking.set);
        let cause = match taking.set {
            _ if taking.after_failure && taking.groups.iter().any(|id| self.is_spent_there(cx, id)) => Cause::Health,
            _ if taking.after_failure => Cause::StartFailure,
            _ if self.upstream.is_partner_behind() => Cause::Upstream,
            _ if self.is_partner_unwell(cx) => Cause::Health,
            Holds::FOREIGN => Cause::Failback,
            _ => Cause::Operator,
        };
        self.note_move(cx, cause);
        self.note_decision(cx, cause);
        self.note_return(cx);
        self.take_given(cx, taking, cause);
        self.handover = Handover::Acquiring(taking);
        self.handover_step(cx);
    }

    /// Starts what the giver has given and what does not run here yet.
    pub(super) fn take_given(&mut self, cx: &mut Context<'_>, taking: Taking, cause: Cause) {
        for id in taking.groups.iter() {
            let group = &self.groups[usize::from(id.0)];
            if !group.is_claimed() && !group.is_busy() {
                let has_bounced = self.has_bounced(cx, group);
                self.acquire(cx, id, Permit::released_by_partner(), cause);
                self.groups[usize::from(id.0)].was_offered = has_bounced;
                // What failed there goes home when somebody sends it.
                self.groups[usize::from(id.0)].is_guest &= !taking.after_failure;
            }
        }
        if taking.set.foreign {
            self.phantom.local = true;
        }
        if taking.set.local {
            self.phantom.foreign = true;
        }
    }

    /// Whether a Heartbeat gives back what it was given because it did not start here. It does not say that it could not start
    /// it either, and what failed on both nodes would go to and fro without end.
    fn has_bounced(&self, cx: &Context<'_>, group: &Group) -> bool {
        group.was_offered && self.partner_extension(cx).is_none() && cx.at.now < group.since() + LEFT_TIME
    }

    fn acquiring_step(&mut self, cx: &mut Context<'_>, taking: Taking) {
        if self.groups.iter().any(|group| taking.groups.contains(group.id()) && group.is_busy()) {
            return;
        }
        let word = taking.set.word();
        log::info!("{} HA resource acquisition completed (standby).", taking.set.swapped().word());
        log::info!("Standby resource acquisition done [{word}].");
        cx.send(
            None,
            Body::AskResources {
                set: taking.set,
                word: StandbyWord::Done,
                only: None,
                after_failure: taking.after_failure,
            },
        );
        self.handover = Handover::None;
        self.send_resource(cx, ResourceInfo::None);
    }

    pub(super) fn given(&mut self, cx: &mut Context<'_>, giving: Giving) {
        let word = giving.set.word();
        log::info!("Other node completed standby takeover of {word} resources.");
        self.handover = Handover::None;
        self.partner.holds = self.partner.holds.union(giving.set.swapped());
        let failed = self.partner_extension(cx).and_then(|extension| {
            giving.groups.iter().find(|id| extension.groups[usize::from(id.0)] == GroupState::StartFailed)
        });
        let outcome = failed.map_or(Outcome::Done, |id| Outcome::Failed(Failure::Start(id)));
        self.end_request(cx, giving.request, outcome);
        self.raise(cx, Alarm::MovesLatched, self.moves.is_latched(cx.settings, cx.at.now));
        self.send_resource(cx, ResourceInfo::None);
    }

    /// The partner is gone, or starts anew, in the middle of a hand-over.
    pub(super) fn handover_lost(&mut self, cx: &mut Context<'_>) {
        let (Handover::Asked(giving) | Handover::Releasing(giving) | Handover::Released(giving)) = self.handover else {
            return;
        };
        self.end_request(cx, giving.request, Outcome::Failed(Failure::PartnerDied));
    }

    /// The partner's operator wants groups from us.
    pub(super) fn heard_takeover(&mut self, cx: &mut Context<'_>, set: Option<Holds>) {
        let set = set.map_or(Holds::ALL, Holds::swapped);
        if let Some(refusal) = self.refusal(cx) {
            log::warn!("{} wants our {} resources: refused ({refusal:?})", cx.partner_name(), set.word());
            return;
        }
        let groups = self.groups_of(cx, set);
        self.offer(cx, set, groups, Cause::Operator, None);
    }
}
