//! Each board's watchdog, where the plan has a lease: it resets the board some time after the last kick.

use super::board::Arrived;
use super::happening::Happening;
use super::plan::{LeasePlan, MS};
use super::world::World;
use crate::core::settings::LeaseSettings;
use crate::core::time::{Duration, Instant};

impl LeasePlan {
    /// What the nodes promise each other: one percent more than what the device takes at most.
    pub(super) fn settings(self) -> LeaseSettings {
        LeaseSettings {
            kick_for: Duration::from_micros(self.kick_for),
            reset_within: Duration::from_micros(self.reset_within()),
        }
    }
}

impl World {
    /// The watchdog of a board whose engine begins is armed.
    pub(super) fn arm_watchdog(&mut self, node: usize) {
        if self.plan.lease.is_some() {
            self.boards[node].receive(Arrived::Watchdog);
        }
    }

    /// After a turn of the engine: kicks, if the core allows it.
    pub(super) fn kick(&mut self, node: usize) {
        let Some(lease) = self.plan.lease else { return };
        let board = &self.boards[node];
        let own = Instant::from_micros(board.own(self.now));
        let may_kick = board.engine.as_ref().is_some_and(|engine| engine.brain.may_kick(own));
        if !board.is_healthy() || !may_kick {
            return;
        }
        let (life, until) = (board.life, self.now + lease.timeout);
        if self.boards[node].watchdog.replace(until).is_none() {
            self.at(until, Happening::Bite { node, life });
        }
    }

    /// The watchdog's time may be over.
    pub(super) fn bite(&mut self, node: usize, life: u32) {
        let board = &self.boards[node];
        let Some(until) = board.watchdog.filter(|_| board.life == life) else { return };
        if until > self.now {
            self.at(until, Happening::Bite { node, life });
            return;
        }
        self.note(node, "reset by its own watchdog");
        self.lose_power(node, MS);
    }
}
