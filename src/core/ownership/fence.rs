//! Fencing the partner: when it must be off before anything of it is taken, who shoots when, and what counts as proof.
//!
//! ```text
//!   Idle ──needed──▶ Waiting ──own slot, partner still dead──▶ Shooting ──confirmed──▶ FenceConfirmed, Idle
//!     ▲                ▲  └─────────────────────────────────▶ Leasing ──time is over──▶ FenceConfirmed, Idle
//!     │                └── failed: the next method; after the last, the next round
//!     └── the partner is heard, or nothing of it is wanted any more (a running shot is cancelled)
//! ```
//!
//! Two boards that lost each other would shoot at once. So the time after that is cut into slots, each long enough for one
//! round through the whole list ([`FenceSettings::slot`]): the node that comes first in ha.cf shoots only in the even
//! ones, the other only in the odd ones. Both count from the same moment, within a keepalive: the longer of the two dead
//! times that they announce to each other after the last word of the other. A node that holds something begins with its
//! first slot. One that holds nothing leaves the other's first slot to it; the one that comes second, and whose partner
//! held everything and so has no need to shoot, does that anyway.

use super::{Context, Group, Ownership, Phase, requests};
use crate::core::ids::{Generation, GroupSet, RequestId, ShotId};
use crate::core::limits::{FENCE_METHODS_MAX, FENCINGS_MAX};
use crate::core::message::{Body, NodeStatus, StonithResult};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::{Carried, CarriedFencing, CarriedShot, FenceKind, FenceSettings};
use crate::core::time::{Duration, Instant};
use crate::core::{Action, Alarm, Cause, Event, FenceOutcome, FenceStep, InputLine, Outcome, Refusal};

/// How much longer than its own time limit a shot may take before its result counts as lost: the guardian may be late.
const ANSWER_GRACE: Duration = Duration::from_secs(10);
/// Shortest pause between two rounds (spec/resources.md 14.2).
const ROUND_PAUSE: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);
/// In events: not a method of the list but an operator.
const OPERATOR: u8 = u8::MAX;

/// Proof that one run of the partner is off. Made only here, and gone with the first sign of life of the partner. It is
/// cloned only together with the whole state, by what tries every order of events.
#[derive(Debug, Clone)]
#[must_use]
pub(super) struct FenceConfirmed {
    generation: Generation,
    method: u8,
}

impl FenceConfirmed {
    /// Whether it speaks of this run of the partner. Zero: of one that this engine has never heard.
    pub(super) fn is_about(&self, generation: Generation) -> bool {
        self.generation == generation || generation == Generation(0) || is_planted(Bug::ConfirmOtherGeneration)
    }
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FenceStage {
    /// Nothing.
    #[default]
    Idle,
    /// For the moment in which this method may be tried.
    Waiting {
        /// Which; zero begins a round.
        method: u8,
        /// Not before.
        until: Instant,
    },
    /// A shot is under way.
    Shooting {
        /// Which.
        shot: ShotId,
        /// By which method.
        method: u8,
        /// When it was asked for.
        since: Instant,
        /// The run of the partner at which it is aimed.
        generation: Generation,
        /// It is not wanted any more; its answer is awaited all the same.
        is_cancelled: bool,
    },
    /// The partner's own watchdog must have reset it then.
    Leasing {
        /// Place of the method in the list.
        method: u8,
        /// When.
        at: Instant,
    },
    /// Too many rounds in an hour: nothing before an operator resumes.
    Latched,
}

/// Why the partner has to be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceNeed {
    /// Since when.
    pub since: Instant,
    /// Methods tried so far.
    pub tries: u16,
    /// A whole round has failed, or nothing in the list can work by itself: a person is needed.
    pub needs_person: bool,
}

/// Everything about fencing the partner.
#[derive(Debug, Clone, Default)]
pub struct Fence {
    stage: FenceStage,
    need: Option<FenceNeed>,
    confirmed: Option<FenceConfirmed>,
    /// Where the slots begin.
    turns_from: Option<Instant>,
    /// A result was lost: no shot before.
    settled_at: Option<Instant>,
    rounds: heapless::Deque<Instant, FENCINGS_MAX>,
    /// Rounds of earlier runs, and until when they count.
    before: Option<(u8, Instant)>,
    /// What is on disk of them.
    noted: u8,
    shots: u32,
    /// Methods that have confirmed what was not so, one bit each.
    lied: u8,
}

impl Fence {
    pub(super) fn new(settings: &FenceSettings, carried: Option<&Carried>, now: Instant) -> Self {
        let confirmed = carried.and_then(|carried| carried.confirmed);
        let shot = carried.and_then(|carried| carried.shot);
        let memory = carried.map_or_else(CarriedFencing::default, |carried| carried.fencing);
        let method = memory.confirmed_by.filter(|method| usize::from(*method) < FENCE_METHODS_MAX).unwrap_or(OPERATOR);
        let stage = match shot {
            Some(CarriedShot::Pending { shot, method, generation }) => {
                FenceStage::Shooting { shot, method, since: now, generation, is_cancelled: false }
            }
            Some(CarriedShot::Lost) | None => FenceStage::Idle,
        };
        Self {
            stage,
            confirmed: confirmed.map(|generation| FenceConfirmed { generation, method }),
            // One that the guardian is at began before this engine: nobody here knows whether it will be ended at its limit.
            settled_at: memory.settled_at.max(shot.map(|_| now + settings.settle)),
            lied: memory.lied,
            turns_from: carried.and_then(|carried| carried.turns_from),
            before: (settings.fencings_before > 0).then_some((settings.fencings_before, now + HOUR)),
            noted: settings.fencings_before,
            ..Self::default()
        }
    }

    /// What is under way.
    pub const fn stage(&self) -> FenceStage {
        self.stage
    }

    /// Whether the partner has to be off before anything more of it is taken, and how far that has come.
    pub const fn need(&self) -> Option<FenceNeed> {
        self.need
    }

    /// The run of the partner that is proven to be off; zero: one that was never heard.
    pub fn confirmed(&self) -> Option<Generation> {
        self.confirmed.as_ref().map(|confirmed| confirmed.generation)
    }

    /// The shot under way, for [`Carried::shot`].
    pub const fn shot(&self) -> Option<ShotId> {
        match self.stage {
            FenceStage::Shooting { shot, .. } => Some(shot),
            _ => None,
        }
    }

    /// What else has to be remembered, for [`Carried::fencing`].
    pub fn memory(&self) -> CarriedFencing {
        let confirmed_by = self.confirmed.as_ref().map(|confirmed| confirmed.method).filter(|by| *by != OPERATOR);
        CarriedFencing { confirmed_by, settled_at: self.settled_at, lied: self.lied }
    }

    /// Where the turns of the two nodes begin, for [`Carried::turns_from`].
    pub const fn turns_from(&self) -> Option<Instant> {
        self.turns_from
    }

    /// Fencings that count for the limit of one hour.
    pub fn rounds_in_hour(&self, now: Instant) -> usize {
        let before = self.before.filter(|(_, until)| now < *until).map_or(0, |(count, _)| usize::from(count));
        before + self.rounds.iter().filter(|at| now.since(**at) < HOUR).count()
    }

    fn note_round(&mut self, now: Instant) {
        if self.rounds.is_full() {
            self.rounds.pop_front();
        }
        let is_full = self.rounds.push_back(now).is_err();
        debug_assert!(!is_full);
    }

    const fn has_lied(&self, method: u8) -> bool {
        self.lied & 1 << method != 0
    }
}

impl Ownership {
    /// Fencing the partner.
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Whether it is proven that the partner is off.
    pub(super) const fn is_partner_off(&self) -> bool {
        self.fence.confirmed.is_some() || !self.partner.vouched.is_empty()
    }

    /// The proof that the dead partner is off, if there is one.
    pub(super) fn fence_proof(&self, cx: &Context<'_>) -> Option<&FenceConfirmed> {
        let generation = cx.comms.peer(cx.settings.partner?).generation;
        self.fence.confirmed.as_ref().filter(|confirmed| confirmed.is_about(generation))
    }

    /// Groups that would be taken if the partner were known to be off. It may hold any of them: what we do not claim it
    /// can have taken since it was heard last, and what it was releasing it may still have in use.
    fn wanted(&self) -> GroupSet {
        let is_wanted = |group: &&Group| !group.is_claimed() && !group.is_stuck();
        let wanted: GroupSet = self.groups.iter().filter(is_wanted).map(Group::id).collect();
        wanted - self.partner.vouched
    }

    fn is_fence_needed(&self, cx: &Context<'_>) -> bool {
        cx.settings.fence.is_configured()
            && self.phase == Phase::Stable
            && self.partner_status(cx) == Some(NodeStatus::Dead)
            && !self.partner.has_left
            && self.fence.confirmed.is_none()
            && !self.wanted().is_empty()
    }

    /// The partner has died: the slots begin. It counts from when it heard us last, and by the longer of both dead times
    /// as we do, so that slots of the two do not overlap however different these times are.
    pub(super) fn fence_begins(&mut self, cx: &Context<'_>) {
        let heard = self.partner_heard_at(cx);
        if heard.is_none() && self.fence.turns_from.is_some() {
            // An earlier engine of this boot had seen it die.
            return;
        }
        let theirs = cx.settings.partner.map_or(Duration::ZERO, |partner| cx.comms.peer(partner).deadtime);
        let longer = cx.comms.announced_deadtime().max(theirs);
        self.fence.turns_from = Some(heard.map_or(cx.at.now, |heard| heard + longer));
    }

    /// When the partner was last heard by this engine.
    pub(super) fn partner_heard_at(&self, cx: &Context<'_>) -> Option<Instant> {
        let peer = cx.comms.peer(cx.settings.partner?);
        peer.links.iter().filter_map(|link| link.last_heard).chain(peer.last_status).max()
    }

    /// Fences the partner when that is needed, and stops when it is not any more.
    pub(super) fn fence_step(&mut self, cx: &mut Context<'_>) {
        let now = cx.at.now;
        if let FenceStage::Shooting { shot, method, since, .. } = self.fence.stage
            && now >= since + self.limit_of(cx, method) + ANSWER_GRACE
        {
            log::error!("Shot {} at {} was never answered", shot.0, cx.partner_name());
            cx.act(Action::CancelFence { shot });
            self.fence_done(cx, shot, FenceOutcome::Lost);
        }
        if !self.is_fence_needed(cx) {
            // What an earlier engine has fired at is not broken off before this one knows how things are.
            let is_starting = !matches!(self.phase, Phase::Stable | Phase::Leaving(_))
                && self.partner_status(cx) == Some(NodeStatus::Dead);
            if !is_starting {
                self.stand_down(cx);
            }
        } else {
            let need = FenceNeed { since: now, tries: 0, needs_person: false };
            self.fence.need.get_or_insert(need);
            if self.has_guardian && !self.is_held() && cx.comms.may_judge(now) {
                self.aim(cx);
            }
        }
        self.note_fencings(cx);
        self.raise(cx, Alarm::FencePending, self.fence.need.is_some());
        self.raise(cx, Alarm::FenceLatched, self.fence.stage == FenceStage::Latched);
        self.raise(cx, Alarm::FenceLied, self.fence.lied != 0);
    }

    /// Nothing has to be fenced: the partner is back, has left, or has nothing that is wanted.
    fn stand_down(&mut self, cx: &mut Context<'_>) {
        self.fence.need = None;
        self.raise(cx, Alarm::FenceFailed, false);
        match self.fence.stage {
            FenceStage::Shooting { shot, method, is_cancelled: false, since, generation } => {
                if is_planted(Bug::ShootUnchecked) {
                    return;
                }
                log::warn!("Fencing of {} is broken off", cx.partner_name());
                cx.act(Action::CancelFence { shot });
                cx.act(Action::Event(Event::Fence { method, step: FenceStep::Cancelled }));
                // It may have been too late for that.
                self.fence.settled_at = Some(cx.at.now + cx.settings.fence.settle);
                self.fence.stage = FenceStage::Shooting { shot, method, since, generation, is_cancelled: true };
            }
            FenceStage::Shooting { is_cancelled: true, .. } | FenceStage::Idle => {}
            FenceStage::Waiting { .. } if is_planted(Bug::ShootUnchecked) => self.aim(cx),
            FenceStage::Waiting { .. } | FenceStage::Leasing { .. } => self.fence.stage = FenceStage::Idle,
            FenceStage::Latched if self.is_latched(cx) => {}
            FenceStage::Latched => self.fence.stage = FenceStage::Idle,
        }
    }

    /// Keeps on disk how many fencings count.
    fn note_fencings(&mut self, cx: &mut Context<'_>) {
        let count = u8::try_from(self.fence.rounds_in_hour(cx.at.now)).unwrap_or(u8::MAX);
        if count != self.fence.noted {
            self.fence.noted = count;
            cx.act(Action::NoteFencings { count });
        }
    }

    fn is_latched(&self, cx: &Context<'_>) -> bool {
        let limit = usize::from(cx.settings.fence.per_hour_max).min(FENCINGS_MAX);
        limit > 0 && !is_planted(Bug::ShootWithoutEnd) && self.fence.rounds_in_hour(cx.at.now) >= limit
    }

    /// Does what is due. Each method is looked at once in a call.
    fn aim(&mut self, cx: &mut Context<'_>) {
        let now = cx.at.now;
        match self.fence.stage {
            FenceStage::Idle => {
                let until = self.chance_at(cx, now, 0);
                log::warn!(
                    "{} must be fenced; {} ms until the first try",
                    cx.partner_name(),
                    until.since(now).as_millis()
                );
                self.fence.stage = FenceStage::Waiting { method: 0, until };
                self.aim(cx);
            }
            FenceStage::Waiting { method, until } if until <= now => {
                // Whatever of the partner has arrived meanwhile is read before each shot.
                self.waits_for_tick |= !cx.has_read_all;
                if cx.has_read_all {
                    self.try_from(cx, method);
                }
            }
            FenceStage::Leasing { method, at } if at <= now => {
                self.waits_for_tick |= !cx.has_read_all;
                if cx.has_read_all {
                    let generation = self.partner_generation(cx);
                    log::info!("{}: its own watchdog must have reset it by now", cx.partner_name());
                    self.confirm(cx, generation, method);
                }
            }
            FenceStage::Waiting { .. }
            | FenceStage::Leasing { .. }
            | FenceStage::Shooting { .. }
            | FenceStage::Latched => {}
        }
    }

    /// Tries the first method from `from` on that can be tried.
    fn try_from(&mut self, cx: &mut Context<'_>, from: u8) {
        if from == 0 && self.has_devices(cx) && self.is_latched(cx) {
            log::error!(target: "CRIT", "Too many fencings in an hour: none until `nullbeat resume`");
            self.fence.stage = FenceStage::Latched;
            self.ask_person();
            return;
        }
        for method in from..self.method_count(cx) {
            let kind = cx.settings.fence.methods[usize::from(method)].kind;
            let is_first_device = !(0..method).any(|before| self.is_device(cx, before));
            match kind {
                FenceKind::Device if self.fence.has_lied(method) => {
                    log::error!(
                        "Fence method {method} has confirmed what was not so: it is left out until `nullbeat resume`"
                    );
                }
                FenceKind::Device if self.is_blind(cx, method) => {
                    log::error!(
                        "Fence method {method} is confirmed by the line `peer-power`, which is not to be believed: it is \
                         left out"
                    );
                }
                FenceKind::Device => {
                    if let Some(until) = self.too_early(cx, method) {
                        self.fence.stage = FenceStage::Waiting { method, until };
                        return;
                    }
                    if is_first_device {
                        self.fence.note_round(cx.at.now);
                        self.note_fencings(cx);
                    }
                    return self.shoot(cx, method);
                }
                FenceKind::Manual => {
                    let name = cx.partner_name();
                    log::error!(target: "CRIT", "Switch {name} off and say so: `nullbeat fence --confirm {name}`");
                    self.ask_person();
                }
                FenceKind::WatchdogLease => match self.partner_reset_at(cx) {
                    Some(at) => {
                        self.fence.stage = FenceStage::Leasing { method, at };
                        return self.aim(cx);
                    }
                    None => log::warn!("{} has promised no watchdog lease: waiting proves nothing", cx.partner_name()),
                },
            }
        }
        self.end_round(cx);
    }

    fn shoot(&mut self, cx: &mut Context<'_>, method: u8) {
        let now = cx.at.now;
        self.fence.shots += 1;
        // Shots of an earlier engine may still be answered: theirs must not be taken for ours.
        let shot = ShotId((cx.identity.generation.0 << 16).wrapping_add(self.fence.shots));
        if let Some(need) = &mut self.fence.need {
            need.tries = need.tries.saturating_add(1);
        }
        let generation = self.partner_generation(cx);
        self.fence.stage = FenceStage::Shooting { shot, method, since: now, generation, is_cancelled: false };
        cx.act(Action::Fence { shot, method });
        cx.act(Action::Event(Event::Fence { method, step: FenceStep::Begun }));
        self.wants_extension = true;
    }

    /// Every method has failed or waits for a person.
    fn end_round(&mut self, cx: &mut Context<'_>) {
        self.ask_person();
        let until = self.chance_at(cx, cx.at.now + ROUND_PAUSE, 0);
        self.fence.stage = FenceStage::Waiting { method: 0, until };
    }

    fn ask_person(&mut self) {
        if let Some(need) = &mut self.fence.need {
            need.needs_person = true;
        }
    }

    /// A shot has ended.
    pub(in crate::core) fn fence_done(&mut self, cx: &mut Context<'_>, done: ShotId, outcome: FenceOutcome) {
        let FenceStage::Shooting { shot, method, generation, is_cancelled, .. } = self.fence.stage else {
            log::debug!("Shot {}, which nobody waits for, ended: {outcome:?}", done.0);
            return;
        };
        if shot != done {
            log::debug!("Shot {}, which nobody waits for, ended: {outcome:?}", done.0);
            return;
        }
        self.wants_extension = true;
        let now = cx.at.now;
        let is_current = !is_cancelled && self.is_about_silent_partner(cx, generation);
        let is_taken = is_current || is_planted(Bug::ConfirmOtherGeneration);
        match outcome {
            FenceOutcome::Confirmed if is_taken => self.confirm(cx, generation, method),
            FenceOutcome::Confirmed => {
                log::warn!("{} was heard while it was being fenced: the confirmation is void", cx.partner_name());
                self.fence.stage = FenceStage::Idle;
            }
            FenceOutcome::Failed | FenceOutcome::Lost | FenceOutcome::BadHost => {
                if outcome == FenceOutcome::Lost {
                    // It may come true later: no shot on top of it.
                    self.fence.settled_at = Some(now + cx.settings.fence.settle);
                }
                if is_cancelled {
                    // That was said when it was broken off.
                    self.fence.stage = FenceStage::Idle;
                    return;
                }
                let name = cx.partner_name();
                log::error!("Host {name} not reset!");
                log::error!("STONITH of {name} failed.  Retrying...");
                let is_unknown = outcome == FenceOutcome::BadHost;
                self.say_stonith(cx, if is_unknown { StonithResult::BadHost } else { StonithResult::Bad });
                cx.act(Action::Event(Event::Fence { method, step: FenceStep::Failed }));
                self.raise(cx, Alarm::FenceFailed, true);
                if method + 1 >= self.method_count(cx) {
                    self.end_round(cx);
                } else {
                    self.fence.stage = FenceStage::Waiting { method: method + 1, until: now };
                }
            }
        }
    }

    /// Whether what was fired at this run of the partner was fired at what is silent now. An engine that has not heard it
    /// knows of no other run.
    fn is_about_silent_partner(&self, cx: &Context<'_>, generation: Generation) -> bool {
        let current = self.partner_generation(cx);
        let is_unheard = current == Generation(0);
        let is_silent = is_unheard || self.partner_status(cx) == Some(NodeStatus::Dead);
        is_silent && !self.partner.has_left && (is_unheard || generation == current)
    }

    /// Builds the one proof.
    fn confirm(&mut self, cx: &mut Context<'_>, generation: Generation, method: u8) {
        log::info!("node {} now reset.", cx.partner_name());
        self.fence.confirmed = Some(FenceConfirmed { generation, method });
        self.fence.stage = FenceStage::Idle;
        self.fence.need = None;
        self.raise(cx, Alarm::FenceFailed, false);
        self.raise(cx, Alarm::NeedsOperator, false);
        cx.act(Action::Event(Event::Fence { method, step: FenceStep::Confirmed }));
        self.say_stonith(cx, StonithResult::Ok);
        self.wants_extension = true;
        if !self.wanted().is_empty() {
            log::info!("Resources being acquired from {}.", cx.partner_name());
            self.note_move(cx, Cause::Death);
            self.note_decision(cx, Cause::Death);
        }
    }

    /// The partner is heard again: no proof of its being off outlives that. `is_same_run`: it has never been off.
    pub(super) fn void_confirmation(&mut self, cx: &mut Context<'_>, is_same_run: bool) {
        self.fence.turns_from = None;
        if is_planted(Bug::ConfirmOtherGeneration) {
            return;
        }
        let Some(confirmed) = self.fence.confirmed.take() else { return };
        if !is_same_run && confirmed.generation != self.partner_generation(cx) {
            return;
        }
        let name = cx.partner_name();
        log::error!(target: "CRIT", "{name} was confirmed to be off, and is heard in the same run: fencing cannot be trusted");
        cx.act(Action::Event(Event::Fence { method: confirmed.method, step: FenceStep::Lied }));
        if confirmed.method != OPERATOR {
            self.fence.lied |= 1 << confirmed.method;
        }
    }

    /// This node leaves: what it knows of the partner will be old when it comes back.
    pub(super) fn forget_confirmation(&mut self) {
        self.fence.confirmed = None;
    }

    /// An operator vouches for the partner's being off.
    pub(super) fn request_confirm_fence(&mut self, cx: &mut Context<'_>, id: RequestId) {
        let outcome = if cx.settings.partner.is_none() {
            Outcome::Refused(Refusal::NoPart)
        } else if matches!(self.phase, Phase::Leaving(_)) {
            Outcome::Refused(Refusal::ShuttingDown)
        } else if self.fence.confirmed.is_some() || self.partner.has_left {
            Outcome::Nothing
        } else if self.partner_status(cx) != Some(NodeStatus::Dead) {
            Outcome::Refused(Refusal::PartnerAlive)
        } else {
            log::warn!("An operator vouches for {} being off", cx.partner_name());
            if let FenceStage::Shooting { shot, method, .. } = self.fence.stage {
                cx.act(Action::CancelFence { shot });
                cx.act(Action::Event(Event::Fence { method, step: FenceStep::Cancelled }));
            }
            let generation = self.partner_generation(cx);
            self.confirm(cx, generation, OPERATOR);
            Outcome::Done
        };
        requests::reply(cx, id, outcome);
    }

    /// Whether an operator's `resume` changes anything about fencing.
    pub(super) fn has_fence_grudge(&self) -> bool {
        self.fence.lied != 0 || self.fence.stage == FenceStage::Latched || self.fence.need.is_some()
    }

    /// An operator has repaired something: rounds are counted anew, and begin at once.
    pub(super) fn forgive_fence(&mut self) {
        self.fence.lied = 0;
        self.fence.rounds.clear();
        self.fence.before = None;
        match self.fence.stage {
            FenceStage::Latched | FenceStage::Waiting { .. } => self.fence.stage = FenceStage::Idle,
            FenceStage::Idle | FenceStage::Shooting { .. } | FenceStage::Leasing { .. } => {}
        }
    }

    fn say_stonith(&self, cx: &mut Context<'_>, result: StonithResult) {
        if let Some(partner) = cx.settings.partner {
            let body = Body::Stonith { node: "", result };
            cx.comms.send_about(cx.settings, cx.at, None, body, (Some(partner), None), cx.outbox);
        }
    }

    fn partner_generation(&self, cx: &Context<'_>) -> Generation {
        cx.settings.partner.map_or(Generation(0), |partner| cx.comms.peer(partner).generation)
    }

    fn method_count(&self, cx: &Context<'_>) -> u8 {
        u8::try_from(cx.settings.fence.methods.len()).unwrap_or(u8::MAX)
    }

    fn limit_of(&self, cx: &Context<'_>, method: u8) -> Duration {
        cx.settings.fence.methods.get(usize::from(method)).map_or(Duration::ZERO, |method| method.limit)
    }

    fn is_device(&self, cx: &Context<'_>, method: u8) -> bool {
        let kind = cx.settings.fence.methods.get(usize::from(method)).map(|method| method.kind);
        kind == Some(FenceKind::Device) && !self.fence.has_lied(method) && !self.is_blind(cx, method)
    }

    /// Whether nothing that can be believed would tell that this shot has worked.
    fn is_blind(&self, cx: &Context<'_>, method: u8) -> bool {
        let is_sensed = cx.settings.fence.methods.get(usize::from(method)).is_some_and(|method| method.is_sensed);
        is_sensed && self.is_stuck_line(InputLine::PeerPower)
    }

    fn has_devices(&self, cx: &Context<'_>) -> bool {
        (0..self.method_count(cx)).any(|method| self.is_device(cx, method))
    }

    /// When a shot by `method` may be tried next, if not now: this node may have overslept its slot.
    fn too_early(&self, cx: &Context<'_>, method: u8) -> Option<Instant> {
        let at = self.chance_at(cx, cx.at.now, method);
        (at > cx.at.now).then_some(at)
    }

    /// The first moment from `not_before` on, and after a lost result has settled, in which a slot of this node leaves
    /// room for a shot by `method`.
    fn chance_at(&self, cx: &Context<'_>, not_before: Instant, method: u8) -> Instant {
        let not_before = self.fence.settled_at.map_or(not_before, |settled| settled.max(not_before));
        if is_planted(Bug::ShootTogether) {
            return not_before;
        }
        let (keepalive, slot) = (cx.settings.keepalive, cx.settings.fence.slot(cx.settings.keepalive));
        let from = self.fence.turns_from.unwrap_or(cx.at.now);
        let first = from + slot.saturating_mul(self.first_slot(cx));
        let cycle = u64::try_from(slot.as_micros()).unwrap_or(u64::MAX).saturating_mul(2).max(1);
        let place = not_before.since(first).as_micros() % u128::from(cycle);
        let place = Duration::from_micros(u64::try_from(place).unwrap_or(0));
        if not_before <= first {
            first
        } else if place + self.limit_of(cx, method) + keepalive <= slot {
            not_before
        } else {
            not_before + (Duration::from_micros(cycle) - place)
        }
    }

    /// Even for the first node of ha.cf, odd for the other, whatever either holds: it may have lost something since.
    fn first_slot(&self, cx: &Context<'_>) -> u32 {
        let is_first = cx.settings.partner.is_none_or(|partner| cx.settings.local < partner);
        let is_holder = self.groups.iter().any(Group::is_held);
        let all = GroupSet::first(self.groups.len());
        let held_all_there = self.partner_extension(cx).is_some_and(|extension| extension.claims == all);
        match (is_holder, is_first) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) if held_all_there => 1,
            (false, false) => 3,
        }
    }

    /// When fencing has something to do.
    pub(super) fn fence_deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        let at = match self.fence.stage {
            FenceStage::Waiting { until, .. } => until,
            FenceStage::Leasing { at, .. } => at,
            FenceStage::Shooting { method, since, .. } => since + self.limit_of(cx, method) + ANSWER_GRACE,
            FenceStage::Idle | FenceStage::Latched => return None,
        };
        (at > cx.at.now).then_some(at)
    }
}
