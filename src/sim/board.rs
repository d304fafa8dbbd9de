//! One board: power, clocks, and the daemon's processes as far as they matter to the core.

use std::collections::VecDeque;
use std::rc::Rc;

use super::brain::{Brain, Letter};
use super::fencing::Shot;
use super::health::Checker;
use super::lease::Lease;
use super::plan::{Plan, S};
use super::rng::Rng;
use super::scripts::Scripts;
use crate::core::ids::{CheckId, GroupSet, JobId, LinkId, RequestId, ShotId};
use crate::core::message::Body;
use crate::core::time::{Instant, Stamp};
use crate::core::{Alarm, FenceOutcome, Health, InputLine, JobOutcome, LineLevel, Request};
use crate::wire::heartbeat::Codec;

/// Messages per board that wait in the kernel for an engine that is not scheduled.
const BUFFERED_MAX: usize = 200;

/// What waits for the engine.
#[derive(Debug, Clone)]
pub enum Arrived {
    /// A message; whether it was damaged.
    Letter(LinkId, Rc<Letter>, bool),
    /// A job's end.
    Job(JobId, JobOutcome),
    /// A link's descriptor.
    Device(LinkId, bool),
    /// The guardian's presence.
    Guardian(bool),
    /// What came of a shot at the other board.
    Fence(ShotId, FenceOutcome),
    /// The line `owner` is set.
    OwnerSet(bool),
    /// The watchdog is armed.
    Watchdog,
    /// What is read from a line.
    Line(InputLine, LineLevel),
    /// What a health check says.
    Health(CheckId, Health),
    /// The ping node's answer.
    Echo,
    /// An operator.
    Request(RequestId, Request),
    /// Something makes the node say [`Board::slip`].
    Slip,
}

/// The engine's process.
pub struct Engine {
    /// What it runs.
    pub brain: Box<dyn Brain>,
    /// Its encoder, when the run uses the real one.
    pub codec: Option<Rc<Codec>>,
    /// What it has not read yet.
    pub inbox: VecDeque<Arrived>,
    /// Not scheduled until then, true time.
    pub stalled_until: Option<u64>,
    /// Since when, own clock: nobody knows of a time in which that stood still.
    pub stalled_since: u64,
    /// Names the timer that counts; older ones are void.
    pub timer: u64,
}

/// What the daemon of a board is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// Not started, or killed.
    Gone,
    /// Ended by itself, all released.
    Left,
    /// The guardian runs; the engine may be about to be replaced.
    Runs,
}

/// A board that is not scheduled.
#[derive(Debug, Clone, Copy)]
pub struct Freeze {
    /// Since when, true time.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// The monotonic clock runs on.
    pub is_clock_running: bool,
    /// Arriving messages wait rather than get lost.
    pub keeps_arrivals: bool,
}

/// A reload under way.
#[derive(Debug, Clone, Copy)]
pub struct Reload {
    /// Groups whose words are others in the new files.
    pub changed: GroupSet,
    /// Of these, the ones that are still to be stopped by the old files.
    pub stopping: GroupSet,
}

/// One board.
pub struct Board {
    /// Has power and has booted, or boots.
    pub is_powered: bool,
    /// Counts power cycles: what was planned in an earlier life of the board is void.
    pub life: u32,
    /// Counts engines over all lives.
    pub engine_life: u32,
    /// Highest generation used; on flash.
    pub generation: u32,
    /// Both copies of it are lost: the next engine begins with a guess.
    pub is_generation_lost: bool,
    /// The daemon.
    pub daemon: Daemon,
    /// Its engine.
    pub engine: Option<Engine>,
    /// When the daemon ended by itself, true time.
    pub left_at: u64,
    /// An operator has stopped the daemon and means to start it again.
    pub is_stopping: bool,
    /// When the engine began, true time.
    pub engine_since: u64,
    /// The guardian runs jobs.
    pub has_guardian: bool,
    /// An engine died while the guardian was away: a new one after so long.
    pub is_death_unseen: Option<u64>,
    /// The guardian stops all groups before it starts a new engine.
    pub is_releasing: bool,
    /// Scripts and groups.
    pub scripts: Scripts,
    /// What outlives the engine.
    pub lease: Lease,
    /// A reload waits until these are stopped.
    pub reload: Option<Reload>,
    /// Groups whose words the next engine reads anew.
    pub changed: GroupSet,
    /// Groups that a reload has stopped, to be started again under the order that had started them.
    pub restarting: GroupSet,
    /// A shot at the other board is under way.
    pub shot: Option<Shot>,
    /// Fencings of the last hour, as the core had them noted; on flash.
    pub fencings: u8,
    /// Alarms that call for a person.
    pub needs_person: Vec<Alarm>,
    /// When the watchdog resets the board, true time; `None`: it is not armed.
    pub watchdog: Option<u64>,
    /// The own line `owner` is up.
    pub is_owner: bool,
    /// Which lines the engine has named as stuck, one bit each.
    pub named_lines: u8,
    /// What its health checks say.
    pub checker: Checker,
    /// What the engine was told of each line.
    pub levels: [Option<LineLevel>; InputLine::ALL.len()],
    /// Not scheduled.
    pub freeze: Option<Freeze>,
    /// The next script that begins here is interrupted by a power loss of this length.
    pub power_trap: Option<u64>,
    /// A word that is said out of turn, in the place of a client's next message.
    pub slip: Option<Body<'static>>,
    /// An operator holds the node, as the node itself announced.
    pub is_held: bool,
    /// Groups whose start has failed since the last resume, as announced.
    pub start_failed: u64,
    /// Own clock at true time `clock_origin`.
    clock: u64,
    clock_origin: u64,
    /// Wall clock minus own clock, seconds.
    wall: i64,
}

impl Board {
    /// A board without power.
    pub fn new(plan: &Plan, node: usize) -> Self {
        Self {
            is_powered: false,
            life: 0,
            engine_life: 0,
            generation: 40,
            is_generation_lost: false,
            daemon: Daemon::Gone,
            engine: None,
            left_at: 0,
            is_stopping: false,
            engine_since: 0,
            has_guardian: false,
            is_death_unseen: None,
            is_releasing: false,
            scripts: Scripts::new(plan, node),
            checker: Checker::new(plan),
            lease: Lease::empty(plan.groups.len()),
            reload: None,
            changed: GroupSet::EMPTY,
            restarting: GroupSet::EMPTY,
            shot: None,
            fencings: 0,
            needs_person: Vec::new(),
            watchdog: None,
            is_owner: false,
            named_lines: 0,
            levels: [None; InputLine::ALL.len()],
            freeze: None,
            power_trap: None,
            slip: None,
            is_held: false,
            start_failed: 0,
            clock: 0,
            clock_origin: 0,
            wall: 1_700_000_000,
        }
    }

    /// The switch `maintenance` holds the node.
    pub fn is_held_by_switch(&self) -> bool {
        self.levels[InputLine::Maintenance as usize] == Some(LineLevel::Active)
    }

    /// The engine is no more. What it had written down for its successor after every input is read from it now, which is
    /// the same and cheaper. Returns whether there was one.
    pub fn lose_engine(&mut self) -> bool {
        let Some(engine) = self.engine.take() else { return false };
        let (lease, brain) = (&mut self.lease, &engine.brain);
        lease.partner = brain.known_partner().or(lease.partner);
        lease.fencing = brain.fencing();
        let records = brain.health_records();
        lease.health[..records.len()].copy_from_slice(records);
        lease.kicks_until = brain.kicks_until();
        lease.guests = brain.guests();
        lease.unfinished = brain.unfinished();
        lease.stuck_lines = brain.stuck_lines();
        true
    }

    /// Power on: the own clock starts somewhere.
    pub fn power_up(&mut self, now: u64, rng: &mut Rng) {
        self.is_powered = true;
        self.life += 1;
        self.clock = rng.range(1, 1000 * S);
        self.clock_origin = now;
    }

    /// Nothing of an earlier daemon is known any more.
    pub fn forget_lease(&mut self) {
        self.lease = Lease::empty(self.lease.states().len());
        self.reload = None;
        self.changed = GroupSet::EMPTY;
    }

    /// Own monotonic clock, microseconds.
    pub fn own(&self, now: u64) -> u64 {
        let until = match self.freeze {
            Some(freeze) if !freeze.is_clock_running => freeze.since,
            _ => now,
        };
        self.clock + until.saturating_sub(self.clock_origin)
    }

    /// True time at which the own clock will show `own`, if nothing happens to it.
    pub fn true_time(&self, own: u64, now: u64) -> u64 {
        now + own.saturating_sub(self.own(now))
    }

    /// Both clocks.
    pub fn stamp(&self, now: u64) -> Stamp {
        let own = self.own(now);
        let wall = self.wall + i64::try_from(own / S).unwrap_or(0);
        Stamp { now: Instant::from_micros(own), wall: u32::try_from(wall.max(1)).unwrap_or(u32::MAX) }
    }

    /// Sets the wall clock.
    pub fn step_wall(&mut self, by: i64) {
        self.wall += by;
    }

    /// The freeze is over. Returns how long the own clock ran on without anybody being scheduled.
    pub fn thaw(&mut self, now: u64) -> u64 {
        let own = self.own(now);
        let Some(freeze) = self.freeze.take() else {
            return 0;
        };
        if !freeze.is_clock_running {
            self.clock = own;
            self.clock_origin = now;
            return 0;
        }
        now - freeze.since
    }

    /// Whether the engine can take a turn.
    pub fn is_awake(&self) -> bool {
        self.freeze.is_none() && self.engine.as_ref().is_some_and(|engine| engine.stalled_until.is_none())
    }

    /// Whether all processes are at work.
    pub fn is_healthy(&self) -> bool {
        self.is_awake() && self.has_guardian && !self.is_releasing
    }

    /// Hands `arrived` to the engine, if there is one and there is room.
    pub fn receive(&mut self, arrived: Arrived) {
        let is_losing = self.freeze.is_some_and(|freeze| !freeze.keeps_arrivals);
        if let Some(engine) = &mut self.engine {
            let is_letter = matches!(arrived, Arrived::Letter(..) | Arrived::Echo);
            if !is_letter || (!is_losing && engine.inbox.len() < BUFFERED_MAX) {
                engine.inbox.push_back(arrived);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let mut board = Board::new(&Plan::quiet(), 0);
        board.power_up(S, &mut Rng::new(1, 1));
        board
    }

    fn freeze(is_clock_running: bool) -> Freeze {
        Freeze { since: 2 * S, until: 5 * S, is_clock_running, keeps_arrivals: true }
    }

    #[test]
    fn clock_that_stands_still_in_a_freeze_knows_nothing_of_it() {
        let mut board = board();
        let before = board.own(2 * S);
        board.freeze = Some(freeze(false));
        assert_eq!(board.own(4 * S), before);
        assert_eq!(board.thaw(5 * S), 0);
        assert_eq!(board.own(6 * S), before + S);
        assert_eq!(board.true_time(before + 3 * S, 6 * S), 8 * S);
    }

    #[test]
    fn clock_that_runs_on_in_a_freeze_shows_it() {
        let mut board = board();
        let before = board.own(2 * S);
        board.freeze = Some(freeze(true));
        assert_eq!(board.thaw(5 * S), 3 * S);
        assert_eq!(board.own(5 * S), before + 3 * S);
    }

    #[test]
    fn wall_clock_steps_leave_the_own_clock_alone() {
        let mut board = board();
        let before = board.stamp(2 * S);
        board.step_wall(-2_000_000_000);
        let after = board.stamp(2 * S);
        assert_eq!(after.now, before.now);
        assert_eq!(after.wall, 1);
    }
}
