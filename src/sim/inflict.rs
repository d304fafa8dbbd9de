//! Faults happen and end; then calm comes, and an operator who tidies up.

use super::board::{Arrived, Daemon, Freeze};
use super::fault::Fault;
use super::happening::Happening;
use super::plan::MS;
use super::world::World;
use crate::core::Request;
use crate::core::ids::LinkSet;

/// How often the operator looks after the board that needs him.
const ROUNDS: u32 = 3;

impl World {
    pub(super) fn inflict(&mut self, index: usize) {
        let fault = self.plan.faults[index].1;
        if !self.trace.is_off() {
            self.note(fault_node(&fault), format_args!("--- {fault:?}"));
        }
        self.inflicted.push(fault.kind(self.plan.links.len()));
        self.oracle.disturbed(self.now);
        if fault.lasts() > 0 {
            self.standing.push(index);
            self.at((self.now + fault.lasts()).min(self.plan.calm_at), Happening::Mended { index });
        }
        match fault {
            Fault::PowerLoss { node, off_for } => self.lose_power(node, off_for),
            Fault::GenerationLost { node, off_for, by } => {
                self.lose_power(node, off_for);
                let board = &mut self.boards[node];
                // An old copy of the flash, which is taken for good; or none at all, and a clock that is behind, or is not.
                board.is_generation_lost = by.is_multiple_of(2);
                let is_clock_good = by.is_multiple_of(8);
                board.generation =
                    if is_clock_good { board.generation + by } else { board.generation.saturating_sub(by) };
            }
            Fault::Word { node, word } => {
                self.oracle.misspoke(self.now);
                self.say(node, word);
            }
            Fault::PowerLossInScript { node, off_for } => self.boards[node].power_trap = Some(off_for),
            Fault::EngineCrash { node, respawn_after } => self.engine_died(node, respawn_after),
            Fault::EngineStall { node, lasts } => self.stall(node, lasts),
            Fault::Freeze { node, lasts, is_clock_running, keeps_arrivals } => {
                let until = self.now + lasts;
                self.freeze(node, Freeze { since: self.now, until, is_clock_running, keeps_arrivals });
            }
            Fault::KillAll { node, back_after, has_stop_action } => self.kill_all(node, back_after, has_stop_action),
            Fault::GuardianGone { node, .. } => self.set_guardian(node, false),
            Fault::Cut { links, from, .. } => self.net.cut(index, links, from),
            Fault::Flap { links, period, .. } => self.net.flap(index, links, self.now, period),
            Fault::Noise { links, noise, .. } => self.net.make_noise(index, links, noise),
            Fault::DeviceLost { node, links, .. } => {
                self.net.lose_device(index, links, node);
                self.tell_devices(node, links);
            }
            // Looked up when they matter.
            Fault::UpstreamLost { .. }
            | Fault::Device { .. }
            | Fault::UpstreamDead { .. }
            | Fault::CheckLies { .. }
            | Fault::CheckerGone { .. } => {}
            Fault::ServiceDies { node, group, .. } => self.sicken(node, group),
            Fault::Line { .. } => self.tell_lines(),
            Fault::Replay { to, count } => self.replay(to, count),
            Fault::Scripts { node, group, kind, .. } => self.boards[node].scripts.break_down(index, group, kind),
            Fault::WallStep { node, by } => self.boards[node].step_wall(by),
            Fault::Reload { node, changed } => self.reload(node, changed),
            Fault::Operator { node, request, back_after } => self.operate(node, request, back_after),
        }
    }

    fn operate(&mut self, node: usize, request: Request, back_after: u64) {
        let life = self.boards[node].life;
        let is_there = self.boards[node].engine.is_some();
        self.boards[node].is_stopping |= request == Request::Stop && is_there;
        self.ask(node, request);
        if request == Request::Stop {
            self.after(back_after, Happening::Restart { node, life });
        }
    }

    pub(super) fn mend(&mut self, index: usize) {
        if !self.standing.contains(&index) {
            return;
        }
        self.standing.retain(|standing| *standing != index);
        self.oracle.disturbed(self.now);
        let fault = self.plan.faults[index].1;
        if !self.trace.is_off() {
            self.note(fault_node(&fault), format_args!("--- over: {fault:?}"));
        }
        match fault {
            Fault::GuardianGone { node, .. } => {
                let is_still_gone = self.standing.iter().any(|standing| {
                    matches!(self.plan.faults[*standing].1, Fault::GuardianGone { node: other, .. } if other == node)
                });
                if !is_still_gone {
                    self.set_guardian(node, true);
                }
            }
            Fault::Cut { .. } | Fault::Flap { .. } | Fault::Noise { .. } => self.net.mend(index),
            Fault::DeviceLost { node, links, .. } => {
                self.net.mend(index);
                self.tell_devices(node, links);
            }
            Fault::Scripts { node, .. } => self.boards[node].scripts.mend(index),
            Fault::Line { .. } => self.tell_lines(),
            Fault::PowerLoss { .. }
            | Fault::PowerLossInScript { .. }
            | Fault::GenerationLost { .. }
            | Fault::Word { .. }
            | Fault::EngineCrash { .. }
            | Fault::EngineStall { .. }
            | Fault::Freeze { .. }
            | Fault::KillAll { .. }
            | Fault::Replay { .. }
            | Fault::WallStep { .. }
            | Fault::UpstreamLost { .. }
            | Fault::UpstreamDead { .. }
            | Fault::ServiceDies { .. }
            | Fault::CheckLies { .. }
            | Fault::CheckerGone { .. }
            | Fault::Device { .. }
            | Fault::Reload { .. }
            | Fault::Operator { .. } => {}
        }
    }

    fn tell_devices(&mut self, node: usize, links: LinkSet) {
        for link in links.iter() {
            let is_open = self.net.is_open(node, link);
            self.boards[node].receive(Arrived::Device(link, is_open));
        }
        self.turn(node);
    }

    /// Every fault ends; every board has power, every daemon is started.
    pub(super) fn calm(&mut self) {
        self.note(0, "--- calm: all faults end");
        for index in self.standing.clone() {
            self.mend(index);
        }
        for node in 0..self.plan.nodes {
            self.boards[node].power_trap = None;
            self.power_up(node);
            let life = self.boards[node].life;
            if let Some(freeze) = self.boards[node].freeze {
                self.at(freeze.until.min(self.now + 50 * MS), Happening::Thaw { node, life });
            }
            if self.boards[node].engine.as_ref().is_some_and(|engine| engine.stalled_until.is_some()) {
                self.wake_engine(node);
            }
        }
        self.oracle.disturbed(self.now);
    }

    fn wake_engine(&mut self, node: usize) {
        let engine = self.boards[node].engine_life;
        if let Some(process) = &mut self.boards[node].engine {
            process.stalled_until = Some(self.now);
        }
        self.end_stall(node, engine);
    }

    /// The operator starts daemons that were stopped, resumes what is held or latched or has failed to start, and
    /// switches a board off and on whose stop had failed.
    pub(super) fn tidy(&mut self, round: u32) {
        self.note(0, "--- an operator tidies up");
        self.oracle.disturbed(self.now);
        self.is_tidy = round + 1 == ROUNDS;
        for node in 0..self.plan.nodes {
            let board = &self.boards[node];
            let life = board.life;
            let is_stuck = board.scripts.uses().iter().any(|group| group.is_stuck);
            match board.daemon {
                Daemon::Left => self.restart(node, life),
                Daemon::Gone if board.is_powered && board.engine.is_none() => {}
                _ if is_stuck => self.lose_power(node, MS),
                _ => self.ask(node, Request::Resume),
            }
        }
        if round + 1 < ROUNDS {
            let pause = self.plan.boot + self.plan.settling() / 3;
            self.after(pause, Happening::Tidy { round: round + 1 });
        }
    }
}

/// The node to name in the trace.
fn fault_node(fault: &Fault) -> usize {
    match *fault {
        Fault::PowerLoss { node, .. }
        | Fault::PowerLossInScript { node, .. }
        | Fault::GenerationLost { node, .. }
        | Fault::Word { node, .. }
        | Fault::EngineCrash { node, .. }
        | Fault::EngineStall { node, .. }
        | Fault::Freeze { node, .. }
        | Fault::KillAll { node, .. }
        | Fault::GuardianGone { node, .. }
        | Fault::DeviceLost { node, .. }
        | Fault::Scripts { node, .. }
        | Fault::WallStep { node, .. }
        | Fault::UpstreamLost { node, .. }
        | Fault::ServiceDies { node, .. }
        | Fault::CheckLies { node, .. }
        | Fault::CheckerGone { node, .. }
        | Fault::Device { node, .. }
        | Fault::Line { node, .. }
        | Fault::Reload { node, .. }
        | Fault::Operator { node, .. } => node,
        Fault::Replay { to, .. } => to,
        Fault::UpstreamDead { node, .. } => node.unwrap_or(0),
        Fault::Cut { from, .. } => from.unwrap_or(0),
        Fault::Flap { .. } | Fault::Noise { .. } => 0,
    }
}
