//! A hand-over that an earlier engine of this boot has begun with a Heartbeat, and this one ends.
//!
//! A Heartbeat takes a quick new start of its partner for nothing that concerns a hand-over: its scripts run on, it waits
//! for the words that are still to come, for an hour, and meanwhile its announcements tell neither what it is starting
//! nor what it is still stopping (spec/resources.md 11.1, 11.2). So the next engine goes on with it, asks for the words
//! that nobody has heard, and starts nothing of it before. A nullbeat breaks a hand-over off when its partner starts
//! anew, and tells per group what it uses: then that counts.

use super::handover::{ANSWER_TIME, Giving, SCRIPT_TIME, Taking};
use super::{Context, Handover, Ownership, Phase};
use crate::core::Cause;
use crate::core::ids::{Generation, GroupId, Seq};
use crate::core::message::{Holds, StandbyWord};
use crate::core::planted::{Bug, is_planted};
use crate::core::settings::{Carried, CarriedHandover, HandoverStep};

/// One that was under way when this engine began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resumed {
    open: CarriedHandover,
    /// [`Ownership::handover`] has it; before that, nothing may be decided.
    is_under_way: bool,
}

impl Resumed {
    pub(super) fn of(carried: Option<&Carried>) -> Option<Self> {
        let open = carried.and_then(|carried| carried.handover).filter(|_| !is_planted(Bug::ForgetHandover));
        open.map(|open| Self { open, is_under_way: false })
    }
}

impl Handover {
    const fn carried(&self) -> Option<(HandoverStep, Holds, bool)> {
        Some(match self {
            Self::None => return None,
            Self::Asked(giving) => (HandoverStep::Asked, giving.set, giving.after_failure),
            Self::Releasing(giving) => (HandoverStep::Releasing, giving.set, giving.after_failure),
            Self::Released(giving) => (HandoverStep::Released, giving.set, giving.after_failure),
            Self::Agreed(taking) if taking.done_seq.0 > 0 => (HandoverStep::Given, taking.set, taking.after_failure),
            Self::Agreed(taking) => (HandoverStep::Agreed, taking.set, taking.after_failure),
            Self::Acquiring(taking) => (HandoverStep::Acquiring, taking.set, taking.after_failure),
        })
    }
}

impl Ownership {
    /// For [`Carried::handover`]; `generation` and `heard` are those of the partner.
    pub(in crate::core) fn open_handover(&self, generation: Generation, heard: Seq) -> Option<CarriedHandover> {
        if let Some(Resumed { open, is_under_way: false }) = self.resumed {
            let is_same = generation == open.generation;
            return Some(CarriedHandover { heard: if is_same { heard.max(open.heard) } else { open.heard }, ..open });
        }
        let (step, set, after_failure) = self.handover.carried()?;
        Some(CarriedHandover { step, set, after_failure, generation, heard })
    }

    /// Whether what an earlier engine had begun is still under way with the run of the partner that was just heard.
    pub(super) fn is_resumed_with_this_run(&self, cx: &Context<'_>) -> bool {
        let run = cx.settings.partner.map(|partner| cx.comms.peer(partner).generation);
        self.resumed.is_some_and(|resumed| Some(resumed.open.generation) == run)
    }

    /// Goes on with it as soon as something may be decided.
    pub(super) fn resume_handover(&mut self, cx: &mut Context<'_>) {
        let Some(resumed) = self.resumed else { return };
        if self.is_partner_heartbeat(cx) {
            if !resumed.is_under_way {
                log::info!("going on with the hand-over [{}] of the engine before", resumed.open.set.word());
                self.handover = self.handover_of(cx, resumed.open);
                self.resumed = Some(Resumed { is_under_way: true, ..resumed });
                if let Handover::Acquiring(taking) = self.handover {
                    self.take_given(cx, taking, Cause::Startup);
                }
            } else if self.handover.is_none() {
                self.resumed = None;
            }
        } else if !self.is_partner_alive(cx) || self.is_run_known {
            self.cancel_handover(cx);
        }
    }

    fn handover_of(&self, cx: &Context<'_>, open: CarriedHandover) -> Handover {
        let CarriedHandover { step, set, after_failure, heard, .. } = open;
        let given = self.groups_of(cx, set);
        let giving = Giving {
            set,
            groups: given,
            held: given,
            is_partial: false,
            after_failure,
            cause: if set == Holds::FOREIGN { Cause::Failback } else { Cause::Operator },
            request: None,
            word_seq: heard,
            heard_seq: Seq(0),
            until: cx.at.now + SCRIPT_TIME,
        };
        let taking = Taking {
            set,
            groups: self.groups_of(cx, set.swapped()),
            after_failure,
            is_confirmed: true,
            was_stable: false,
            word_seq: heard,
            heard_seq: Seq(0),
            done_seq: if step == HandoverStep::Given { heard } else { Seq(0) },
            proof_seq: Seq(0),
            until: cx.at.now + SCRIPT_TIME,
        };
        match step {
            HandoverStep::Asked => Handover::Asked(Giving { until: cx.at.now + ANSWER_TIME, ..giving }),
            HandoverStep::Releasing => Handover::Releasing(giving),
            HandoverStep::Released => Handover::Released(giving),
            HandoverStep::Agreed | HandoverStep::Given => Handover::Agreed(taking),
            HandoverStep::Acquiring => Handover::Acquiring(taking),
        }
    }

    /// A word of the hand-over that comes before anything may be decided. Returns whether it is dealt with.
    pub(super) fn resumed_hears(&mut self, cx: &Context<'_>, word: StandbyWord) -> bool {
        let Some(resumed) = self.resumed.filter(|resumed| !resumed.is_under_way) else { return false };
        let step = match (resumed.open.step, word) {
            (HandoverStep::Asked, StandbyWord::Other) => HandoverStep::Releasing,
            (HandoverStep::Agreed, StandbyWord::Done) => HandoverStep::Given,
            (HandoverStep::Released, StandbyWord::Done) => {
                self.resumed = None;
                return true;
            }
            _ => {
                log::debug!("Ignored standby message '{word:?}' from {}", cx.partner_name());
                return true;
            }
        };
        self.resumed = Some(Resumed { open: CarriedHandover { step, ..resumed.open }, ..resumed });
        true
    }

    /// The partner has announced what it holds: that ends a hand-over whose last word was lost, or whose first one was.
    pub(super) fn compare_resumed(&mut self, cx: &mut Context<'_>) {
        let Some(resumed) = self.resumed else { return };
        let (step, set) = match self.handover.carried() {
            Some((step, set, _)) if resumed.is_under_way => (step, set),
            _ if resumed.is_under_way => return,
            _ => (resumed.open.step, resumed.open.set),
        };
        let holds = self.partner.holds;
        match step {
            HandoverStep::Released if holds.union(set.swapped()) == holds => match self.handover {
                Handover::Released(giving) => self.given(cx, giving),
                _ => self.resumed = None,
            },
            HandoverStep::Agreed if holds.minus(set) != holds => {
                log::warn!("{} holds what it was to give: the hand-over is off", cx.partner_name());
                self.handover = Handover::None;
                self.resumed = None;
            }
            _ => {}
        }
    }

    /// Whether this group was to be released for a hand-over that an earlier engine has begun.
    pub(super) fn is_resumed_release(&self, cx: &Context<'_>, id: GroupId) -> bool {
        self.is_partner_heartbeat(cx)
            && self.resumed.is_some_and(|resumed| {
                resumed.open.step == HandoverStep::Releasing && self.is_in(cx, resumed.open.set, id)
            })
    }

    /// What an earlier engine was to release and this one has found running.
    pub(super) fn release_resumed(&mut self, cx: &mut Context<'_>, giving: Giving) {
        if self.resumed.is_none() || self.phase != Phase::Stable {
            return;
        }
        for id in giving.groups.iter() {
            let group = &mut self.groups[usize::from(id.0)];
            if group.is_announced() && !group.is_busy() && !group.is_stuck() {
                group.release(cx, giving.cause);
            }
        }
    }
}
