//! Services that die while they run, what they need, and checks that tell of it, or lie.
//!
//! Check 0 is one of the node, the others look at a group each. They are asked as often as [`HealthPlan::interval`] says,
//! which stands for `every` times `fall` as well: what is told here has been counted already.

use super::board::{Arrived, Daemon};
use super::fault::Fault;
use super::happening::Happening;
use super::plan::{HealthPlan, Plan};
use super::world::World;
use crate::core::Health;
use crate::core::ids::{CheckId, GroupId};
use crate::core::settings::{CheckSettings, HealthSettings};
use crate::core::time::Duration;

/// What a board's checks have said, and which services are ill there.
#[derive(Debug, Clone)]
pub struct Checker {
    told: Vec<Health>,
    is_ill: Vec<bool>,
}

impl Checker {
    /// Nothing said.
    pub fn new(plan: &Plan) -> Self {
        Self { told: vec![Health::Unknown; plan.groups.len() + 1], is_ill: vec![false; plan.groups.len()] }
    }

    /// A new engine knows nothing.
    pub fn forget(&mut self) {
        self.told.fill(Health::Unknown);
    }

    /// Whether any service is ill.
    pub fn has_ill(&self) -> bool {
        self.is_ill.contains(&true)
    }

    /// The board has lost power.
    pub fn lose_power(&mut self) {
        self.forget();
        self.is_ill.fill(false);
    }
}

impl HealthPlan {
    /// What the core is told.
    pub fn settings(&self, groups: usize) -> HealthSettings {
        let check = |group: Option<usize>| CheckSettings {
            is_vital: false,
            name: heapless::String::new(),
            group: group.and_then(|group| u8::try_from(group).ok()).map(GroupId),
            restarts: self.restarts,
        };
        let checks = std::iter::once(None).chain((0..groups).map(Some)).map(check).collect();
        HealthSettings { checks, holdoff: Duration::from_micros(self.holdoff) }
    }
}

impl World {
    /// The checks of a board are asked.
    pub(super) fn ask_checks(&mut self, node: usize) {
        let Some(plan) = self.plan.health else { return };
        self.after(plan.interval, Happening::Health { node });
        let board = &self.boards[node];
        if !board.is_powered || board.freeze.is_some() || !board.has_guardian || board.daemon != Daemon::Runs {
            return;
        }
        for check in 0..=self.plan.groups.len() {
            let health = self.finding(node, check);
            self.tell_health(node, check, health);
        }
        self.turn(node);
    }

    fn finding(&self, node: usize, check: usize) -> Health {
        let stands = |is_it: &dyn Fn(&Fault) -> bool| self.standing.iter().any(|at| is_it(&self.plan.faults[*at].1));
        if stands(&|fault| matches!(fault, Fault::CheckerGone { node: other, .. } if *other == node)) {
            return Health::Unknown;
        }
        let group = check.checked_sub(1);
        let (now, faults) = (self.now, &self.plan.faults);
        let is_lying = self.standing.iter().any(|at| match faults[*at] {
            (begun, Fault::CheckLies { node: other, group: whose, period, .. }) => {
                other == node && whose == group && (period == 0 || (now - begun) / period % 2 == 0)
            }
            _ => false,
        });
        let is_well = match group {
            None => !stands(
                &|fault| matches!(fault, Fault::UpstreamDead { node: other, .. } if other.is_none_or(|other| other == node)),
            ),
            Some(group) if !self.boards[node].scripts.is_up(group) => return Health::Unknown,
            Some(group) => !self.boards[node].checker.is_ill[group],
        };
        if is_well && !is_lying { Health::Healthy } else { Health::Failed }
    }

    fn tell_health(&mut self, node: usize, check: usize, health: Health) {
        let board = &mut self.boards[node];
        if std::mem::replace(&mut board.checker.told[check], health) != health {
            let check = CheckId(u8::try_from(check).unwrap_or(u8::MAX));
            board.receive(Arrived::Health(check, health));
        }
    }

    /// A job of the group is asked for: what was found before says nothing any more.
    pub(super) fn forget_findings(&mut self, node: usize, group: usize) {
        if self.plan.health.is_some() {
            self.tell_health(node, group + 1, Health::Unknown);
        }
    }

    /// Services on a board die, those of one group or all.
    pub(super) fn sicken(&mut self, node: usize, group: Option<usize>) {
        for index in (0..self.plan.groups.len()).filter(|index| group.is_none_or(|group| group == *index)) {
            let board = &mut self.boards[node];
            if board.scripts.is_up(index) {
                board.checker.is_ill[index] = true;
                board.scripts.sicken(index);
                self.note(node, format_args!("the service of group {index} dies"));
            }
        }
    }

    /// A group comes into use anew: well, unless what killed it before does so again.
    pub(super) fn recover(&mut self, node: usize, group: usize) {
        let is_fatal = |at: &usize| {
            matches!(self.plan.faults[*at].1, Fault::ServiceDies { node: other, group: whose, .. }
                if other == node && whose.is_none_or(|whose| whose == group))
        };
        let is_ill = self.standing.iter().any(is_fatal);
        self.boards[node].checker.is_ill[group] = is_ill;
    }

    /// A start has ended well.
    pub(super) fn started(&mut self, node: usize, group: usize) {
        if self.boards[node].checker.is_ill[group] {
            self.boards[node].scripts.sicken(group);
        }
    }
}
