//! Fence devices: what a shot does to the other board, and what the guardian tells of it.

use super::board::{Arrived, Daemon};
use super::fault::{DeviceFault, Fault};
use super::happening::Happening;
use super::plan::MS;
use super::world::World;
use crate::core::FenceOutcome;
use crate::core::ids::ShotId;
use crate::core::settings::{Carried, CarriedShot};

/// One shot under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot {
    /// The core's number.
    pub id: ShotId,
    /// The guardian has ended its agent.
    is_cancelled: bool,
}

impl World {
    /// The guardian is asked for a shot at the other board.
    pub(super) fn fence(&mut self, node: usize, id: ShotId, method: u8) {
        let other = 1 - node;
        self.note(node, format_args!("shoots at node {other} by method {method} (shot {})", id.0));
        let own = self.boards[node].own(self.now);
        self.oracle.shot(self.now, own, node, other, method);
        self.shots[0] += 1;
        if !self.boards[node].has_guardian {
            return;
        }
        let life = self.boards[node].life;
        self.boards[node].shot = Some(Shot { id, is_cancelled: false });
        let limit = self.plan.fence[usize::from(method)].limit;
        let quick = self.rng.range(limit / 10, limit * 6 / 10);
        let fault = self.device_fault(node, method);
        let strike =
            |delay| (delay, Happening::Strike { node, life, shot: id, is_late: fault == Some(DeviceFault::Late) });
        let end = |delay, outcome| (delay, Happening::ShotEnd { node, life, shot: id, outcome });
        let planned = match fault {
            None => vec![strike(quick), end(quick + self.rng.range(1, 30) * MS, FenceOutcome::Confirmed)],
            Some(DeviceFault::Fails) => vec![end(quick, FenceOutcome::Failed)],
            Some(DeviceFault::Lies) => vec![end(limit - limit / 20, FenceOutcome::Confirmed)],
            Some(DeviceFault::Hangs) => vec![end(limit, FenceOutcome::Lost)],
            Some(DeviceFault::Late) => {
                let delay = limit + self.rng.below(self.plan.fence_settle / 2);
                vec![end(limit, FenceOutcome::Lost), strike(delay)]
            }
        };
        for (delay, happening) in planned {
            self.after(delay, happening);
        }
    }

    /// What stands against a node's device; the latest counts.
    fn device_fault(&self, node: usize, method: u8) -> Option<DeviceFault> {
        self.standing.iter().rev().find_map(|index| match self.plan.faults[*index].1 {
            Fault::Device { node: at, method: only, kind, .. }
                if at == node && only.is_none_or(|only| only == method) =>
            {
                Some(kind)
            }
            _ => None,
        })
    }

    /// What the guardian adds about fencing to what the last engine wrote down.
    pub(super) fn carry_fencing(&self, node: usize, carried: &mut Carried) {
        let board = &self.boards[node];
        if let (Some((shot, method, generation)), Some(current)) = (board.lease.fencing.shot, board.shot)
            && current.id == shot
            && !current.is_cancelled
        {
            carried.shot = Some(CarriedShot::Pending { shot, method, generation });
        }
    }

    pub(super) fn cancel_shot(&mut self, node: usize, id: ShotId) {
        let life = self.boards[node].life;
        if let Some(shot) = self.boards[node].shot.as_mut().filter(|shot| shot.id == id) {
            shot.is_cancelled = true;
            self.note(node, format_args!("breaks off shot {}", id.0));
            self.shots[2] += 1;
            // An agent that hangs, or has made up its answer, is not ended sooner.
            let is_stubborn = (0..self.plan.fence.len()).any(|method| {
                let method = u8::try_from(method).unwrap_or(u8::MAX);
                matches!(self.device_fault(node, method), Some(DeviceFault::Hangs | DeviceFault::Lies))
            });
            if is_stubborn {
                return;
            }
            self.after(5 * MS, Happening::ShotEnd { node, life, shot: id, outcome: FenceOutcome::Failed });
        }
    }

    /// The device resets the other board. A late one does so whatever has become of whoever asked.
    pub(super) fn strike(&mut self, node: usize, life: u32, id: ShotId, is_late: bool) {
        let board = &self.boards[node];
        let is_wanted = board.shot.is_some_and(|shot| shot.id == id && !shot.is_cancelled);
        let is_at_work = board.life == life && board.daemon == Daemon::Runs;
        if !(is_late || is_wanted && is_at_work) {
            return;
        }
        self.note(1 - node, "reset by the other board's fence");
        self.lose_power(1 - node, MS);
    }

    /// The guardian tells what came of a shot.
    pub(super) fn shot_ended(&mut self, node: usize, life: u32, id: ShotId, outcome: FenceOutcome) {
        let board = &mut self.boards[node];
        if board.life != life || board.shot.take_if(|shot| shot.id == id).is_none() || !board.has_guardian {
            return;
        }
        self.oracle.shot_ended(node);
        let other = &self.boards[1 - node];
        let is_off =
            !other.is_powered || other.engine.is_none() && !other.scripts.uses().iter().any(|use_| use_.is_in_use);
        if outcome == FenceOutcome::Confirmed {
            self.shots[1] += 1;
            if !is_off {
                self.oracle.lied(node, 1 - node);
            }
        }
        let board = &mut self.boards[node];
        if let (None, FenceOutcome::Confirmed, Some((asked, method, generation))) =
            (&board.engine, outcome, board.lease.fencing.shot)
            && asked == id
        {
            // The guardian keeps it for the next engine.
            board.lease.fencing.confirmed = Some(generation);
            board.lease.fencing.memory.confirmed_by = Some(method);
            board.lease.fencing.shot = None;
        }
        board.receive(Arrived::Fence(id, outcome));
        self.turn(node);
    }
}
