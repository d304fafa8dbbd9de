//! The lines between two boards, and what stands against them.

use super::board::{Arrived, Daemon};
use super::fault::Fault;
use super::happening::Happening;
use super::plan::MS;
use super::world::World;
use crate::core::{InputLine, LineLevel};

impl World {
    /// The guardian is asked to set the line `owner`.
    pub(super) fn set_owner(&mut self, node: usize, is_owner: bool) {
        self.note(node, format_args!("sets its line owner to {is_owner}"));
        let life = self.boards[node].life;
        // Where nothing waits for it, it may take its time.
        let delay = if self.plan.interlock_settle.is_some() { 1 } else { 1 + self.now % 400 };
        self.after(delay * MS, Happening::OwnerSet { node, life, is_owner });
    }

    pub(super) fn owner_is_set(&mut self, node: usize, life: u32, is_owner: bool) {
        let board = &mut self.boards[node];
        if board.life != life || !board.has_guardian || board.freeze.is_some() {
            return;
        }
        board.is_owner = is_owner;
        board.receive(Arrived::OwnerSet(is_owner));
        self.tell_lines();
        self.turn(node);
    }

    /// What a node reads from a line. Nobody drives those of a board without power: their bias decides.
    fn line_level(&self, node: usize, line: InputLine) -> LineLevel {
        let stuck = self.standing.iter().rev().find_map(|index| match self.plan.faults[*index].1 {
            Fault::Line { node: at, line: which, level, .. } if at == node && which == line => Some(level),
            _ => None,
        });
        let other = &self.boards[1 - node];
        let has_daemon = other.is_powered && other.daemon == Daemon::Runs;
        let is_active = match line {
            InputLine::PeerOwner => !has_daemon || other.is_owner,
            InputLine::PeerPower => other.is_powered,
            InputLine::PeerAlive => has_daemon && other.is_healthy(),
            InputLine::Maintenance => false,
        };
        stuck.unwrap_or(if is_active { LineLevel::Active } else { LineLevel::Inactive })
    }

    /// Tells both engines what has changed on their lines.
    pub(super) fn tell_lines(&mut self) {
        if self.plan.interlock_settle.is_none() {
            return;
        }
        for node in 0..2 {
            let mut is_news = false;
            for line in InputLine::ALL {
                let level = self.line_level(node, line);
                let board = &mut self.boards[node];
                if board.engine.is_some() && board.levels[line as usize] != Some(level) {
                    board.levels[line as usize] = Some(level);
                    board.receive(Arrived::Line(line, level));
                    is_news = true;
                }
            }
            if is_news && self.turning != Some(node) {
                self.turn(node);
            }
        }
    }

    /// Whether a line tells `node` that the other board holds nothing although nobody knows. One that the node itself has
    /// named as stuck misleads it no longer.
    pub(super) fn is_misled(&self, node: usize) -> bool {
        let has_named = |line: InputLine| self.boards[node].named_lines & 1 << line as u8 != 0;
        self.standing.iter().any(|index| match self.plan.faults[*index].1 {
            Fault::Line { node: at, line, level: LineLevel::Inactive, .. } if at == node => match line {
                InputLine::PeerOwner | InputLine::PeerPower => !has_named(line),
                InputLine::PeerAlive | InputLine::Maintenance => false,
            },
            _ => false,
        })
    }
}
