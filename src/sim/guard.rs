//! Life and death of boards and daemons: power, boot, and what the guardian does about its engine (design.md section 3).

use super::board::{Daemon, Freeze, Reload};
use super::happening::Happening;
use super::jobs::own_stop;
use super::plan::MS;
use super::world::World;
use crate::core::JobOutcome;
use crate::core::ids::{Generation, GroupId, GroupSet};
use crate::core::message::GroupState;

impl World {
    /// Power returns to a board.
    pub(super) fn power_up(&mut self, node: usize) {
        if self.boards[node].is_powered {
            return;
        }
        self.boards[node].power_up(self.now, &mut self.rng);
        let life = self.boards[node].life;
        self.note(node, "power on");
        self.tell_lines();
        self.oracle.disturbed(self.now);
        self.after(self.plan.boot, Happening::Boot { node, life });
    }

    /// Power leaves a board, and comes back after `off_for`.
    pub(super) fn lose_power(&mut self, node: usize, off_for: u64) {
        if !self.boards[node].is_powered {
            return;
        }
        self.note(node, "power lost");
        let board = &mut self.boards[node];
        board.is_powered = false;
        board.life += 1;
        board.engine = None;
        board.daemon = Daemon::Gone;
        board.has_guardian = false;
        board.is_death_unseen = None;
        board.is_releasing = false;
        board.freeze = None;
        board.is_held = false;
        board.is_stopping = false;
        board.start_failed = 0;
        board.shot = None;
        board.is_owner = false;
        board.watchdog = None;
        board.needs_person.clear();
        board.scripts.lose_power();
        board.checker.lose_power();
        board.forget_lease();
        self.oracle.engine_gone(node);
        self.oracle.shot_ended(node);
        self.tell_lines();
        self.oracle.disturbed(self.now);
        self.after(off_for, Happening::Power { node });
    }

    pub(super) fn boot(&mut self, node: usize, life: u32) {
        let board = &self.boards[node];
        if board.life == life && board.is_powered && board.daemon == Daemon::Gone {
            self.start_daemon(node);
        }
    }

    /// What an earlier daemon of this boot left in the lease is certain within half the dead time after its last beat.
    fn start_daemon(&mut self, node: usize) {
        let board = &mut self.boards[node];
        board.daemon = Daemon::Runs;
        board.is_stopping = false;
        board.has_guardian = true;
        board.is_releasing = false;
        board.is_death_unseen = None;
        // What an earlier daemon of this boot has left in use keeps the line up.
        board.is_owner = !board.lease.in_use().is_empty();
        let stamp = board.lease.stamp;
        let is_certain = stamp > 0 && self.now < stamp + self.plan.deadtime / 2;
        let mut carried = board.lease.carried(is_certain, GroupSet::EMPTY, GroupSet::EMPTY);
        if let Some(carried) = carried.as_mut().filter(|_| !is_certain) {
            carried.note_silence();
        }
        self.start_engine(node, carried);
    }

    /// The daemon has ended by itself.
    pub(super) fn exit(&mut self, node: usize) {
        self.note(node, "daemon ends");
        self.oracle.exited(self.now, node, self.boards[node].scripts.uses());
        self.oracle.engine_gone(node);
        let board = &mut self.boards[node];
        board.lose_engine();
        board.daemon = Daemon::Left;
        board.left_at = self.now;
        board.has_guardian = false;
        board.scripts.abandon();
        board.is_owner = false;
        // An orderly end disarms it.
        board.watchdog = None;
        if board.lease.in_use().is_empty() {
            board.forget_lease();
        }
        self.tell_lines();
        self.oracle.disturbed(self.now);
    }

    /// The daemon is started again on a board that lived on.
    pub(super) fn restart(&mut self, node: usize, life: u32) {
        let board = &self.boards[node];
        let is_up = board.daemon == Daemon::Runs;
        if board.life != life || !board.is_powered || (is_up && !board.is_stopping) {
            return;
        }
        if is_up || board.freeze.is_some() || board.is_releasing {
            self.after(20 * MS, Happening::Restart { node, life });
            return;
        }
        self.start_daemon(node);
    }

    /// Guardian, engine and logger are killed together.
    pub(super) fn kill_all(&mut self, node: usize, back_after: u64, has_stop_action: bool) {
        if self.boards[node].daemon != Daemon::Runs {
            return;
        }
        self.note(node, "guardian, engine and logger are killed");
        let board = &mut self.boards[node];
        let (life, engine, stamp) = (board.life, board.engine_life, board.lease.stamp);
        board.lose_engine();
        board.daemon = Daemon::Gone;
        board.has_guardian = false;
        board.is_releasing = has_stop_action;
        board.is_death_unseen = None;
        board.scripts.abandon();
        board.reload = None;
        board.changed = GroupSet::EMPTY;
        board.is_owner = false;
        // Whoever works for the guardian goes with it.
        board.shot = None;
        self.oracle.engine_gone(node);
        self.oracle.shot_ended(node);
        self.tell_lines();
        self.oracle.disturbed(self.now);
        if has_stop_action {
            self.after(20 * MS, Happening::StopAction { node, life });
            self.at(stamp + self.release_limit(), Happening::Deadline { node, life, engine });
        }
        self.after(back_after.max(50 * MS), Happening::Restart { node, life });
    }

    /// `ExecStopPost`: all groups are stopped.
    pub(super) fn run_stop_action(&mut self, node: usize, life: u32) {
        if self.boards[node].life == life {
            self.stop_groups(node);
        }
    }

    fn stop_groups(&mut self, node: usize) {
        let now = self.now;
        let board = &mut self.boards[node];
        board.is_releasing = true;
        for group in board.lease.in_use().iter().map(|id| usize::from(id.0)) {
            board.lease.set_group(group, GroupState::Stopping);
            board.scripts.ask(own_stop(group, now));
        }
        self.run_scripts(node);
    }

    /// A stop of the guardian's own has ended.
    pub(super) fn own_stop_ended(&mut self, node: usize, group: usize, outcome: JobOutcome) {
        let id = GroupId(u8::try_from(group).expect("few groups"));
        let board = &mut self.boards[node];
        let is_done = outcome == JobOutcome::Done;
        if board.is_releasing && is_done {
            board.lease.set_group(group, GroupState::Stopped);
            board.lease.claims.remove(id);
        } else if let Some(mut reload) = board.reload.take_if(|reload| reload.stopping.contains(id)) {
            if board.is_stopping {
                self.note(node, "reload refused: the daemon ends");
            } else if is_done {
                board.lease.set_group(group, GroupState::Stopped);
                reload.stopping.remove(id);
                self.carry_on_reload(node, reload);
            } else {
                // The engine still believes that the group runs: it is replaced all the same, with the old files.
                board.lease.set_group(group, GroupState::StopFailed);
                self.put_new_engine(node, GroupSet::EMPTY);
            }
        }
    }

    /// New files, in which `changed` groups have other words.
    pub(super) fn reload(&mut self, node: usize, changed: GroupSet) {
        let now = self.now;
        let board = &mut self.boards[node];
        let can_reload = board.is_healthy()
            && board.reload.is_none()
            && !board.is_stopping
            && board.scripts.is_idle()
            && board.lease.unfinished.0.is_none();
        if !can_reload {
            self.note(node, "reload refused");
            return;
        }
        let stopping = board.lease.in_use() & changed;
        for group in stopping.iter().map(|id| usize::from(id.0)) {
            board.lease.set_group(group, GroupState::Stopping);
            board.scripts.ask(own_stop(group, now));
        }
        self.carry_on_reload(node, Reload { changed, stopping });
        self.run_scripts(node);
    }

    fn carry_on_reload(&mut self, node: usize, reload: Reload) {
        if reload.stopping.is_empty() {
            self.put_new_engine(node, reload.changed);
        } else {
            self.boards[node].reload = Some(reload);
        }
    }

    /// The engine ends, another goes on within milliseconds.
    fn put_new_engine(&mut self, node: usize, changed: GroupSet) {
        let board = &mut self.boards[node];
        if !board.lose_engine() {
            return;
        }
        board.changed = changed;
        self.oracle.engine_gone(node);
        self.note(node, "engine is replaced");
        let respawn_after = self.rng.range(2, 30) * MS;
        self.replace_engine(node, respawn_after);
    }

    /// What is not stopped by the dead time minus a margin, after the last stamp, resets the board.
    fn release_limit(&self) -> u64 {
        self.plan.deadtime - self.plan.deadtime / 10
    }

    pub(super) fn meet_deadline(&mut self, node: usize, life: u32, engine: u32) {
        let board = &self.boards[node];
        let is_same = board.life == life && board.engine_life == engine && board.engine.is_none();
        if is_same && board.scripts.uses().iter().any(|group| group.is_in_use) {
            self.note(node, "groups not stopped in time: the board is reset");
            self.lose_power(node, MS);
        }
    }

    /// An engine has died. Its guardian, if it is at work, replaces it at once: within half the dead time after the
    /// last beat the role is kept; else the groups are stopped first.
    pub(super) fn engine_died(&mut self, node: usize, respawn_after: u64) {
        let board = &mut self.boards[node];
        if !board.lose_engine() {
            return;
        }
        self.oracle.engine_gone(node);
        self.oracle.disturbed(self.now);
        self.note(node, "engine is gone");
        if self.boards[node].has_guardian {
            self.replace_engine(node, respawn_after);
        } else {
            self.boards[node].is_death_unseen = Some(respawn_after);
        }
    }

    /// The other node has heard a later run: the next engine is above it.
    pub(super) fn begin_anew_above(&mut self, node: usize, known: Generation) {
        let board = &mut self.boards[node];
        board.generation = board.generation.max(known.0);
        let respawn_after = self.rng.range(2, 30) * MS;
        self.engine_died(node, respawn_after);
    }

    fn replace_engine(&mut self, node: usize, respawn_after: u64) {
        let board = &mut self.boards[node];
        let (life, engine) = (board.life, board.engine_life);
        board.scripts.forget(engine);
        if let Some(reload) = board.reload.take() {
            // Its stops go on, and whatever is to be started waits behind them.
            board.changed = reload.changed;
        }
        let beat_at = self.now + respawn_after;
        let is_kept = beat_at <= board.lease.stamp + self.plan.deadtime / 2;
        let stamp = board.lease.stamp;
        if !is_kept {
            board.changed = GroupSet::EMPTY;
            self.stop_groups(node);
            self.at(stamp + self.release_limit(), Happening::Deadline { node, life, engine });
        }
        self.after(respawn_after, Happening::Respawn { node, life, is_kept });
    }

    pub(super) fn respawn(&mut self, node: usize, life: u32, is_kept: bool) {
        let board = &mut self.boards[node];
        if board.life != life || board.daemon != Daemon::Runs || board.engine.is_some() {
            return;
        }
        let is_free = board.lease.in_use().is_empty();
        let can_begin = board.freeze.is_none() && board.has_guardian && (is_kept || is_free);
        // Half the dead time may have passed while the board was frozen.
        let is_late = is_kept && self.now > board.lease.stamp + self.plan.deadtime / 2;
        if is_late && can_begin {
            self.replace_engine(node, 0);
        } else if !can_begin {
            self.after(10 * MS, Happening::Respawn { node, life, is_kept });
        } else {
            board.is_releasing &= is_kept;
            let changed = std::mem::take(&mut board.changed);
            let mut carried = board.lease.carried(true, board.scripts.busy(), changed);
            let is_silent = self.now >= board.lease.stamp + self.plan.deadtime / 2;
            if let Some(carried) = &mut carried {
                self.carry_fencing(node, carried);
                if is_silent {
                    carried.note_silence();
                }
            }
            self.start_engine(node, carried);
        }
    }

    /// After a script: has everything been released that was to be?
    pub(super) fn after_release(&mut self, node: usize) {
        let board = &mut self.boards[node];
        let is_free = board.lease.in_use().is_empty();
        if board.is_releasing && board.daemon != Daemon::Runs && is_free {
            board.is_releasing = false;
        }
        // The guardian lowers the line after the last stop of its own.
        if board.is_releasing && is_free && board.is_owner {
            board.is_owner = false;
            self.tell_lines();
        }
    }

    /// The engine is not scheduled for a while; the guardian kills it when its stamp grows old.
    pub(super) fn stall(&mut self, node: usize, lasts: u64) {
        let own = self.boards[node].own(self.now);
        let board = &mut self.boards[node];
        let engine = board.engine_life;
        let Some(process) = &mut board.engine else { return };
        let until = self.now + lasts;
        if process.stalled_until.is_none() {
            process.stalled_since = own;
        }
        process.stalled_until = Some(process.stalled_until.map_or(until, |before| before.max(until)));
        let stamp = board.lease.stamp;
        self.note(node, format_args!("engine is not scheduled for {} ms", lasts / MS));
        self.at(until, Happening::StallEnd { node, engine });
        self.at((stamp + self.patience()).max(self.now), Happening::Watch { node, engine });
    }

    /// Age of the lease's stamp at which the guardian gives an engine up: a quarter of the dead time, where beats are
    /// that frequent.
    fn patience(&self) -> u64 {
        (self.plan.deadtime / 4).max(self.plan.keepalive * 3 / 2)
    }

    pub(super) fn watch(&mut self, node: usize, engine: u32) {
        let board = &self.boards[node];
        let is_stalled = board.engine.as_ref().is_some_and(|engine| engine.stalled_until.is_some());
        if board.engine_life != engine || !is_stalled {
            return;
        }
        let is_old = self.now >= board.lease.stamp + self.patience();
        if board.freeze.is_some() || !board.has_guardian || !is_old {
            self.after(20 * MS, Happening::Watch { node, engine });
            return;
        }
        self.note(node, "guardian kills the hanging engine");
        let respawn_after = self.rng.range(5, 60) * MS;
        self.engine_died(node, respawn_after);
    }

    pub(super) fn end_stall(&mut self, node: usize, engine: u32) {
        let own = self.boards[node].own(self.now);
        let board = &mut self.boards[node];
        let Some(process) = &mut board.engine else { return };
        if board.engine_life != engine || process.stalled_until.is_none_or(|until| until > self.now) {
            return;
        }
        process.stalled_until = None;
        let lasted = own - process.stalled_since;
        self.oracle.woke(node, own, lasted.min(self.overdue(node)));
        self.turn(node);
    }

    /// By how much the next beat of a node is late: it is due one keepalive after the last at the latest.
    fn overdue(&self, node: usize) -> u64 {
        self.now.saturating_sub(self.boards[node].lease.stamp + self.plan.keepalive)
    }

    /// Nothing on the board is scheduled for a while.
    pub(super) fn freeze(&mut self, node: usize, freeze: Freeze) {
        let board = &mut self.boards[node];
        if !board.is_powered || board.freeze.is_some() {
            return;
        }
        let life = board.life;
        board.freeze = Some(freeze);
        self.note(node, format_args!("board freezes for {} ms", (freeze.until - freeze.since) / MS));
        self.at(freeze.until, Happening::Thaw { node, life });
    }

    pub(super) fn thaw(&mut self, node: usize, life: u32) {
        let board = &mut self.boards[node];
        if board.life != life || board.freeze.is_none() {
            return;
        }
        let is_clock_running = board.freeze.is_some_and(|freeze| freeze.is_clock_running);
        if !is_clock_running {
            self.oracle.clock_stood_still(node);
        }
        let lasted = board.thaw(self.now);
        let own = board.own(self.now);
        let is_holding = board.engine.is_some() && !board.lease.claims.is_empty();
        if is_clock_running && is_holding && lasted.min(self.overdue(node)) >= self.plan.deadtime {
            self.oracle.overslept(self.now, node);
        }
        self.oracle.woke(node, own, lasted.min(self.overdue(node)));
        self.oracle.disturbed(self.now);
        self.note(node, "board thaws");
        // Who runs first is the scheduler's choice.
        if self.rng.chance(500) {
            self.run_scripts(node);
            self.turn(node);
        } else {
            self.turn(node);
            self.run_scripts(node);
        }
    }

    /// The guardian stops working, or works again.
    pub(super) fn set_guardian(&mut self, node: usize, is_present: bool) {
        let board = &mut self.boards[node];
        if board.daemon != Daemon::Runs || board.has_guardian == is_present {
            return;
        }
        board.has_guardian = is_present;
        board.receive(super::board::Arrived::Guardian(is_present));
        self.note(node, if is_present { "guardian is back" } else { "guardian does not answer" });
        self.turn(node);
        if is_present {
            self.run_scripts(node);
            if let Some(respawn_after) = self.boards[node].is_death_unseen.take() {
                self.replace_engine(node, respawn_after);
            }
        }
    }

    /// Power will be lost in the middle of a script that has just begun.
    pub(super) fn spring_trap(&mut self, node: usize, life: u32, off_for: u64, delay: u64) {
        self.after(delay, Happening::Trap { node, life, off_for });
    }

    pub(super) fn trap(&mut self, node: usize, life: u32, off_for: u64) {
        if self.boards[node].life == life {
            self.lose_power(node, off_for);
        }
    }
}
