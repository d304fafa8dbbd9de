//! One resource group on this node, and the one place where its state changes.

use super::Context;
use super::permit::Permit;
use super::transitions::{Step, witness_step};
use crate::core::ids::{GroupId, JobId};
use crate::core::message::GroupState;
use crate::core::time::{Duration, Instant};
use crate::core::{Action, Cause, Event, JobOutcome, Order};

/// First pause after a failed start; doubled after each further one.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// Longest pause between two tries.
const RETRY_LAST: Duration = Duration::from_secs(640);

/// What a node knows of one group of its own.
///
/// The *claim* is the right to run the group; it is granted by a `Permit` and given up only when nothing of the group
/// can be in use here any more (spec/resources.md section 22, weaknesses 1 and 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    id: GroupId,
    state: GroupState,
    is_claimed: bool,
    is_releasing: bool,
    job: Option<(JobId, Order)>,
    entered_at: Instant,
    entered_by: Cause,
    failures: u8,
    /// Its stop has failed, and none has succeeded since.
    is_stuck: bool,
    retry_at: Option<Instant>,
    /// The failed start has been offered to the partner.
    pub(super) was_offered: bool,
    /// The partner could not start it and gave it to us: it is not given back by itself.
    pub(super) is_refugee: bool,
    /// It goes home when its preferred node is back: we took it because that node was gone.
    pub(super) is_guest: bool,
    /// An earlier daemon of this boot held it: may be adopted when it is found running.
    pub(super) is_inherited: bool,
}

impl Group {
    pub(super) const fn new(id: GroupId, now: Instant) -> Self {
        Self {
            id,
            state: GroupState::Unknown,
            is_claimed: false,
            is_releasing: false,
            job: None,
            entered_at: now,
            entered_by: Cause::Startup,
            failures: 0,
            is_stuck: false,
            retry_at: None,
            was_offered: false,
            is_refugee: false,
            is_guest: false,
            is_inherited: false,
        }
    }

    /// Its number.
    pub const fn id(&self) -> GroupId {
        self.id
    }

    /// Its state here.
    pub const fn state(&self) -> GroupState {
        self.state
    }

    /// Whether this node has the right to run it.
    pub const fn is_claimed(&self) -> bool {
        self.is_claimed
    }

    /// Whether the claim is being given up: the stop is under way.
    pub const fn is_releasing(&self) -> bool {
        self.is_releasing
    }

    /// When the state changed last.
    pub const fn since(&self) -> Instant {
        self.entered_at
    }

    /// Why it changed last.
    pub const fn cause(&self) -> Cause {
        self.entered_by
    }

    /// When a failed start or stop is tried again.
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether a job is under way.
    pub const fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Whether it is claimed and not on its way out: what the two bits of the wire tell.
    pub(super) const fn is_announced(&self) -> bool {
        self.is_claimed && !self.is_releasing
    }

    /// Whether its stop has failed, and none has succeeded since.
    pub(super) const fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Whether an earlier daemon of this boot held it, and it is not known to be down: it is kept or stopped as soon as
    /// the partner is known.
    pub(super) fn is_left_over(&self) -> bool {
        self.is_inherited && self.state == GroupState::Unknown && self.job.is_none()
    }

    /// Whether anything of it may be in use here, or soon will be.
    pub(super) const fn is_held(&self) -> bool {
        self.is_claimed || self.state.is_in_use() || self.job.is_some()
    }

    /// Takes the claim. The script runs as soon as the guardian gets to it.
    pub(super) fn acquire(&mut self, cx: &mut Context<'_>, permit: Permit, cause: Cause) {
        witness_step(self.state, Some(Step::Acquire));
        permit.spend();
        debug_assert!(!self.is_claimed);
        self.is_claimed = true;
        self.is_releasing = false;
        self.entered_by = cause;
        self.was_offered = false;
        self.failures = 0;
        self.retry_at = None;
        self.is_inherited = false;
        if matches!(self.state, GroupState::Stopped | GroupState::StartFailed) {
            self.start(cx, cause);
        }
    }

    /// Keeps what an earlier engine of this boot held.
    pub(super) fn adopt(&mut self, cx: &mut Context<'_>, state: GroupState) {
        witness_step(self.state, Some(Step::Adopt));
        self.is_claimed = true;
        self.is_inherited = false;
        match state {
            GroupState::Running | GroupState::StartFailed | GroupState::StopFailed => {
                self.set(cx, state, Cause::Startup);
                if state != GroupState::Running {
                    self.pause(cx.at.now);
                }
            }
            // A job was under way: `Start` asks for `status` first, so a second one does no harm.
            _ => {
                self.set(cx, GroupState::Stopped, Cause::Startup);
                self.start(cx, Cause::Startup);
            }
        }
    }

    /// Gives the claim up, in the order that keeps others safe: stop first, then let go.
    pub(super) fn release(&mut self, cx: &mut Context<'_>, cause: Cause) {
        self.retry_at = None;
        if !self.is_held() {
            return;
        }
        witness_step(self.state, Some(Step::Release));
        if matches!(self.state, GroupState::Stopped | GroupState::StartFailed) && self.job.is_none() {
            self.is_claimed = false;
            self.is_releasing = false;
            self.set(cx, GroupState::Stopped, cause);
            return;
        }
        if self.is_releasing && matches!(self.job, Some((_, Order::Stop))) {
            return;
        }
        self.is_releasing = true;
        self.run(cx, Order::Stop);
        self.set(cx, GroupState::Stopping, cause);
    }

    /// A planted bug: lets go while the scripts still run.
    pub(super) fn forget_claim(&mut self, cx: &mut Context<'_>) {
        self.is_claimed = false;
        self.is_releasing = false;
        self.job = None;
        self.set(cx, GroupState::Stopped, Cause::Script);
    }

    /// Asks the guardian what runs.
    pub(super) fn probe(&mut self, cx: &mut Context<'_>) {
        witness_step(self.state, Some(Step::Probe));
        self.run(cx, Order::Probe);
    }

    /// Asks the guardian to tell the neighbourhood where the addresses are.
    pub(super) fn announce(&self, cx: &mut Context<'_>) {
        let job = cx.next_job();
        cx.act(Action::Run { job, group: self.id, order: Order::Announce });
    }

    /// Starts again what failed, or stops again what did not stop, when the pause is over.
    pub(super) fn retry(&mut self, cx: &mut Context<'_>, cause: Cause) {
        self.retry_at = None;
        if self.job.is_some() {
            return;
        }
        witness_step(self.state, Some(Step::Retry));
        match self.state {
            GroupState::StartFailed | GroupState::Stopped if self.is_announced() => self.start(cx, cause),
            // Claimed or not: it may be in use here and must not be.
            GroupState::StopFailed => {
                self.run(cx, Order::Stop);
                self.set(cx, GroupState::Stopping, cause);
            }
            _ => {}
        }
    }

    /// Restarts what runs, from the resource at place `from` on. The claim stays.
    pub(super) fn restart(&mut self, cx: &mut Context<'_>, from: u8) {
        witness_step(self.state, Some(Step::Restart));
        debug_assert!(self.is_claimed && self.job.is_none() && self.state == GroupState::Running);
        self.run(cx, Order::Restart { from });
        self.set(cx, GroupState::Starting, Cause::Health);
    }

    /// Ends the pause after a failure: an operator does not want to wait.
    pub(super) fn retry_soon(&mut self, now: Instant) {
        let is_down = matches!(self.state, GroupState::StartFailed | GroupState::Stopped) && self.is_announced();
        if self.job.is_none() && (is_down || self.state == GroupState::StopFailed) {
            self.retry_at = Some(now);
        }
    }

    /// Lets the pauses begin anew: an operator has repaired something.
    pub(super) const fn forgive(&mut self) {
        self.failures = 0;
        self.was_offered = false;
        self.is_refugee = false;
    }

    fn start(&mut self, cx: &mut Context<'_>, cause: Cause) {
        self.run(cx, Order::Start);
        self.set(cx, GroupState::Starting, cause);
    }

    fn run(&mut self, cx: &mut Context<'_>, order: Order) {
        let job = cx.next_job();
        self.job = Some((job, order));
        cx.act(Action::Run { job, group: self.id, order });
    }

    /// Takes a job's end. Returns the order that ended, or `None` when the job is not the current one.
    pub(super) fn job_done(&mut self, cx: &mut Context<'_>, job: JobId, outcome: JobOutcome) -> Option<Order> {
        let (current, order) = self.job?;
        if current != job {
            return None;
        }
        self.job = None;
        witness_step(self.state, Step::of_end(order, outcome));
        match order {
            Order::Start | Order::Restart { .. } => self.start_done(cx, outcome),
            Order::Stop => self.stop_done(cx, outcome),
            Order::Probe | Order::Announce => {}
        }
        Some(order)
    }

    fn start_done(&mut self, cx: &mut Context<'_>, outcome: JobOutcome) {
        match outcome {
            JobOutcome::Done => {
                self.failures = 0;
                self.was_offered = false;
                self.set(cx, GroupState::Running, Cause::Script);
            }
            JobOutcome::StopFailed => {
                self.set(cx, GroupState::StopFailed, Cause::Script);
                self.pause(cx.at.now);
            }
            JobOutcome::Cancelled => self.set(cx, GroupState::Stopped, Cause::Script),
            JobOutcome::Failed | JobOutcome::NoneRunning | JobOutcome::SomeRunning | JobOutcome::AllRunning => {
                self.set(cx, GroupState::StartFailed, Cause::Script);
                self.pause(cx.at.now);
            }
        }
    }

    fn stop_done(&mut self, cx: &mut Context<'_>, outcome: JobOutcome) {
        let is_ignored = crate::core::planted::is_planted(crate::core::planted::Bug::IgnoreStopFailure);
        if outcome == JobOutcome::Done || is_ignored {
            if !self.is_releasing && self.is_claimed {
                // A start that could not be undone has been undone at last: it is a failed start like any other.
                self.set(cx, GroupState::StartFailed, Cause::Script);
                self.pause(cx.at.now);
                return;
            }
            self.is_claimed = false;
            self.is_releasing = false;
            self.failures = 0;
            self.set(cx, GroupState::Stopped, Cause::Script);
        } else {
            self.set(cx, GroupState::StopFailed, Cause::Script);
            self.pause(cx.at.now);
        }
    }

    fn pause(&mut self, now: Instant) {
        let pause = RETRY_FIRST.saturating_mul(1 << self.failures.min(6)).min(RETRY_LAST);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + pause);
    }

    pub(super) fn set(&mut self, cx: &mut Context<'_>, new: GroupState, cause: Cause) {
        let old = self.state;
        if old == new {
            return;
        }
        self.is_stuck = match new {
            GroupState::StopFailed => true,
            GroupState::Stopping => self.is_stuck,
            _ => false,
        };
        log::debug!("group {}: {} -> {} ({cause:?})", self.id.0, old.name(), new.name());
        self.state = new;
        self.entered_at = cx.at.now;
        if cause != Cause::Script {
            self.entered_by = cause;
        }
        if new == GroupState::Stopped && !self.is_claimed {
            self.is_guest = false;
            self.is_refugee = false;
        }
        cx.act(Action::Event(Event::Group { group: self.id, old, new, cause: self.entered_by }));
    }
}
