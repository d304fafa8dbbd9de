//! The world: one virtual clock, a heap of what will happen, the boards, the paths between them, the judge.
//!
//! The driver of each engine keeps the contract of [`crate::core`] to the letter: everything that has arrived is handed
//! over first, all actions are drained after each input, and `Input::Tick` comes last, when its time has come.

use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::rc::Rc;

use super::board::{Arrived, Board, Daemon};
use super::brain::{Letter, Maker, Names, real};
use super::fault::Fault;
use super::happening::{Happening, Planned, Timer};
use super::heartbeat::Heartbeat;
use super::net::{Copy, Net};
use super::oracle::{Oracle, Seen, View, Violation};
use super::plan::Plan;
use super::rng::Rng;
use super::scripts::Use;
use super::trace::Trace;
use super::turns::Reader;
use crate::core::ids::{NodeId, RequestId};
use crate::core::message::{GroupState, NodeStatus};
use crate::core::{Alarm, Cause, Event, Outcome, Request};

/// One run.
pub struct World {
    pub(super) plan: Plan,
    pub(super) now: u64,
    heap: BinaryHeap<Planned>,
    /// Per node.
    pub(super) timers: Vec<Option<Timer>>,
    pub(super) planned: u64,
    pub(super) boards: Vec<Board>,
    pub(super) net: Net,
    pub(super) oracle: Oracle,
    pub(super) rng: Rng,
    pub(super) trace: Trace,
    pub(super) names: Rc<Names>,
    pub(super) makers: Vec<Maker>,
    /// Faults with an effect that stands, which nobody can be expected to live with.
    pub(super) standing: Vec<usize>,
    pub(super) is_tidy: bool,
    requests: u32,
    /// Answers to operators, in order.
    pub(super) outcomes: Vec<(usize, RequestId, Outcome)>,
    /// What each node takes each other for.
    pub(super) statuses: Vec<Vec<Option<NodeStatus>>>,
    /// Somebody will say again what was said before.
    pub(super) is_recording: bool,
    /// Per node: what it sent under its present generation, and under older ones.
    pub(super) recorded: Vec<[VecDeque<Rc<Letter>>; 2]>,
    /// Copies of the message that is being sent.
    pub(super) copies: Vec<Copy>,
    /// What reads bytes; away while it does.
    pub(super) reader: Option<Box<Reader>>,
    pub(super) sent: u64,
    pub(super) inflicted: Vec<usize>,
    /// Shots at the other board: asked for, confirmed, broken off.
    pub(super) shots: [u64; 3],
    /// Whose turn comes anyhow.
    pub(super) turning: Option<usize>,
    /// Since when everything has been as it should be.
    in_order_since: u64,
    /// Nothing more is to be expected of this run.
    is_over: bool,
}

/// On which board the model of a Heartbeat sits.
const HEARTBEAT: usize = 1;

impl World {
    /// The world of `plan`, before anything has happened, with real nodes.
    pub fn new(plan: Plan, trace: Trace) -> Self {
        let mut makers = vec![real as Maker; plan.nodes];
        if plan.has_heartbeat {
            makers[HEARTBEAT] = Heartbeat::boxed;
        }
        Self::with_brains(plan, trace, makers)
    }

    /// The same with other brains on the boards.
    pub fn with_brains(plan: Plan, trace: Trace, makers: Vec<Maker>) -> Self {
        let nodes = plan.nodes;
        let mut world = Self {
            now: 0,
            heap: BinaryHeap::new(),
            timers: vec![None; nodes],
            planned: 0,
            boards: (0..nodes).map(|node| Board::new(&plan, node)).collect(),
            net: Net::new(&plan),
            oracle: Oracle::new(&plan),
            rng: Rng::new(plan.seed, 3),
            trace,
            names: Rc::new(Names::new(nodes, plan.groups.len())),
            makers,
            standing: Vec::new(),
            is_tidy: false,
            requests: 0,
            outcomes: Vec::new(),
            statuses: vec![vec![None; nodes]; nodes],
            is_recording: plan.faults.iter().any(|(_, fault)| matches!(fault, Fault::Replay { .. })),
            recorded: vec![Default::default(); nodes],
            copies: Vec::new(),
            reader: None,
            sent: 0,
            inflicted: Vec::new(),
            shots: [0; 3],
            turning: None,
            in_order_since: 0,
            is_over: false,
            plan,
        };
        world.plan_start();
        world
    }

    fn plan_start(&mut self) {
        for node in 0..self.plan.nodes {
            self.at(self.plan.power_on[node], Happening::Power { node });
        }
        for index in 0..self.plan.faults.len() {
            self.at(self.plan.faults[index].0, Happening::Fault { index });
        }
        if self.plan.calm_at < u64::MAX {
            self.at(self.plan.calm_at, Happening::Calm);
            self.at(self.plan.tidy_at, Happening::Tidy { round: 0 });
        }
        self.at(self.plan.keepalive, Happening::Check);
        if let Some(health) = self.plan.health {
            for node in 0..self.plan.nodes.min(2) {
                let at = 1 + self.rng.below(health.interval);
                self.at(at, Happening::Health { node });
            }
        }
    }

    pub(super) fn at(&mut self, time: u64, happening: Happening) {
        self.planned += 1;
        self.heap.push(Planned::new(time.max(self.now), self.planned, happening));
    }

    pub(super) fn after(&mut self, delay: u64, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    /// Virtual time since the beginning, microseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Lets everything happen until `time`.
    pub fn run_until(&mut self, time: u64) {
        while self.step(time) {}
        self.now = time;
    }

    /// Lets the next thing happen, unless that is later than `time`.
    fn step(&mut self, time: u64) -> bool {
        let timers = self.timers.iter().enumerate();
        let timer = timers.filter_map(|(node, timer)| timer.map(|timer| ((timer.at, timer.number), node))).min();
        let planned = self.heap.peek().map(Planned::at);
        match (timer, planned) {
            (Some((at, node)), planned) if at.0 <= time && planned.is_none_or(|planned| at < planned) => {
                self.now = at.0;
                self.timers[node] = None;
                if self.boards[node].engine.as_ref().is_some_and(|engine| engine.timer == at.1) {
                    self.turn(node);
                }
            }
            (_, Some((at, _))) if at <= time => {
                self.now = at;
                if let Some(Planned { happening, .. }) = self.heap.pop() {
                    self.happen(happening);
                }
            }
            _ => return false,
        }
        true
    }

    /// Runs to the end of the plan and asks for order.
    pub fn finish(&mut self) {
        while !self.is_over && self.step(self.plan.end) {}
        if !self.is_over {
            self.now = self.plan.end;
        }
        self.oracle.finish(self.now);
        for node in 0..self.plan.nodes {
            for other in (0..self.plan.nodes).filter(|other| *other != node) {
                if self.statuses[node][other] != Some(NodeStatus::Active) {
                    let what =
                        format!("node {node} takes node {other} for {:?} at the end", self.statuses[node][other]);
                    self.oracle.accuse(self.now, "live", what);
                }
            }
        }
    }

    /// Broken rules so far.
    pub fn violations(&self) -> &[Violation] {
        &self.oracle.violations
    }

    /// Moves of groups between boards so far.
    pub fn moves(&self) -> u32 {
        self.oracle.moves()
    }

    /// Boards on which `group` is in use.
    pub fn users(&self, group: usize) -> Vec<usize> {
        (0..self.plan.nodes).filter(|node| self.uses(*node)[group].is_in_use).collect()
    }

    /// Whether `group` runs completely on `node`.
    pub fn runs(&self, group: usize, node: usize) -> bool {
        self.uses(node)[group].is_complete
    }

    /// What `node` takes `other` for, as it last announced.
    pub fn status(&self, node: usize, other: usize) -> Option<NodeStatus> {
        self.statuses[node][other]
    }

    /// The answers to operators so far, in order: whom they asked, and what came of it.
    pub fn outcomes(&self) -> Vec<(usize, Outcome)> {
        self.outcomes.iter().map(|(node, _, outcome)| (*node, *outcome)).collect()
    }

    /// Shots at the other board so far: asked for, confirmed, broken off.
    pub const fn shots(&self) -> [u64; 3] {
        self.shots
    }

    /// What the trace kept.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Messages sent, each counted once per link.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Inflicts `fault` now, beside the plan; it ends by itself as [`Fault::lasts`] says.
    pub fn inflict_now(&mut self, fault: Fault) {
        debug_assert!(!matches!(fault, Fault::Replay { .. }), "only the plan tells early enough that all is recorded");
        let index = self.plan.faults.len();
        self.plan.faults.push((self.now, fault));
        self.happen(Happening::Fault { index });
    }

    pub(super) fn uses(&self, node: usize) -> &[Use] {
        self.boards[node].scripts.uses()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { to, link, letter, is_corrupt } => self.arrive(to, link, letter, is_corrupt),
            Happening::Echo { node, engine } => {
                if self.boards[node].engine_life == engine {
                    self.boards[node].receive(Arrived::Echo);
                    self.turn(node);
                }
            }
            Happening::Script { node } => self.run_scripts(node),
            Happening::OwnerSet { node, life, is_owner } => self.owner_is_set(node, life, is_owner),
            Happening::Bite { node, life } => self.bite(node, life),
            Happening::Strike { node, life, shot, is_late } => self.strike(node, life, shot, is_late),
            Happening::ShotEnd { node, life, shot, outcome } => self.shot_ended(node, life, shot, outcome),
            Happening::Power { node } => self.power_up(node),
            Happening::Boot { node, life } => self.boot(node, life),
            Happening::Thaw { node, life } => self.thaw(node, life),
            Happening::StallEnd { node, engine } => self.end_stall(node, engine),
            Happening::Watch { node, engine } => self.watch(node, engine),
            Happening::Respawn { node, life, is_kept } => self.respawn(node, life, is_kept),
            Happening::Deadline { node, life, engine } => self.meet_deadline(node, life, engine),
            Happening::Trap { node, life, off_for } => self.trap(node, life, off_for),
            Happening::StopAction { node, life } => self.run_stop_action(node, life),
            Happening::Restart { node, life } => self.restart(node, life),
            Happening::Health { node } => self.ask_checks(node),
            Happening::Fault { index } => self.inflict(index),
            Happening::Mended { index } => self.mend(index),
            Happening::Calm => self.calm(),
            Happening::Tidy { round } => self.tidy(round),
            Happening::Check => self.check(),
        }
    }

    pub(super) fn note_event(&mut self, node: usize, event: Event) {
        self.note(node, format_args!("{event:?}"));
        match event {
            Event::Group { group, old, new, cause } => {
                self.boards[node].lease.set_group(usize::from(group.0), new);
                // One more that fails after a resume is not told by an alarm: that still stands.
                self.boards[node].start_failed |= u64::from(new == GroupState::StartFailed) << group.0;
                // What an earlier engine left running is another matter.
                if (old, new, cause) == (GroupState::Running, GroupState::Stopping, Cause::SplitBrain) && node < 2 {
                    let uses = [0, 1].map(|node| self.boards[node].scripts.uses()[usize::from(group.0)]);
                    self.oracle.let_go(self.now, node, usize::from(group.0), uses);
                }
            }
            Event::Node { node: other, status } => {
                let other = usize::from(other.0);
                self.statuses[node][other] = Some(status);
                if status == NodeStatus::Dead && other != node {
                    let own = self.boards[node].own(self.now);
                    self.oracle.declared_dead(self.now, own, node, other);
                }
            }
            Event::Alarm { alarm: Alarm::Held, is_raised } => {
                self.boards[node].is_held = is_raised;
                self.boards[node].lease.is_held = is_raised;
            }
            Event::Alarm {
                alarm: alarm @ (Alarm::NeedsOperator | Alarm::FenceLatched | Alarm::Interlocked | Alarm::Unhealthy(_)),
                is_raised,
            } => {
                let calls = &mut self.boards[node].needs_person;
                calls.retain(|other| *other != alarm);
                if is_raised {
                    calls.push(alarm);
                }
            }
            Event::Alarm { alarm: Alarm::LineStuck(line), is_raised } => {
                let named = &mut self.boards[node].named_lines;
                *named = *named & !(1 << line as u8) | u8::from(is_raised) << line as u8;
            }
            Event::Alarm { alarm: Alarm::StartFailed(group), is_raised: true } => {
                self.boards[node].start_failed |= 1 << group.0;
            }
            Event::Alarm { .. }
            | Event::Link { .. }
            | Event::Ping { .. }
            | Event::Fence { .. }
            | Event::Line { .. }
            | Event::Late { .. }
            | Event::Members => {}
        }
    }

    /// An operator asks `node`. With no daemon there his tool tells him so.
    pub(super) fn ask(&mut self, node: usize, request: Request) {
        if self.boards[node].engine.is_none() {
            return;
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        self.note(node, format_args!("operator asks for {request:?} (request {})", id.0));
        if request == Request::Resume {
            self.boards[node].start_failed = 0;
            self.oracle.resumed(node);
        }
        self.oracle.asked(self.now, node, id);
        self.boards[node].receive(Arrived::Request(id, request));
        self.turn(node);
    }

    fn check(&mut self) {
        let seen = |node: usize| {
            let board = &self.boards[node];
            Seen {
                is_healthy: board.is_healthy(),
                is_present: board.is_powered && board.daemon == Daemon::Runs,
                left_at: (board.daemon == Daemon::Left).then_some(board.left_at),
                since: board.engine_since,
                is_held: board.is_held || board.is_held_by_switch(),
                is_stopping: board.is_stopping,
                uses: board.scripts.uses(),
                start_failed: board.start_failed,
                needs_person: !board.needs_person.is_empty(),
            }
        };
        let kinds = |index: &usize| self.plan.faults[*index].1;
        let is_script_trouble = self.standing.iter().map(kinds).any(|fault| matches!(fault, Fault::Scripts { .. }))
            || self.boards.iter().any(|board| board.scripts.is_hampered());
        let is_somebody_between = (0..2).any(|node| {
            let board = &self.boards[node];
            board.is_powered && board.daemon != Daemon::Left && !board.is_healthy()
        });
        let view = View {
            now: self.now,
            nodes: [seen(0), seen(1)],
            is_disturbed: !self.standing.is_empty() && !self.is_livable() || is_somebody_between,
            is_script_trouble,
            is_tidy: self.is_tidy,
        };
        self.oracle.check(&view);
        let is_in_order = self.now > self.plan.calm_at && self.oracle.is_in_order(&view) && self.has_met();
        if is_in_order {
            self.is_over = self.plan.has_early_end() && self.now > self.in_order_since + self.plan.calm_enough();
        } else {
            self.in_order_since = self.now;
        }
        self.after(self.plan.keepalive / 2, Happening::Check);
    }

    /// Whether all nodes take each other for full members.
    fn has_met(&self) -> bool {
        (0..self.plan.nodes).all(|node| {
            let statuses = self.statuses[node].iter().enumerate();
            statuses.filter(|(other, _)| *other != node).all(|(_, status)| *status == Some(NodeStatus::Active))
        })
    }

    /// Whether what stands now leaves the nodes able to talk and act.
    fn is_livable(&self) -> bool {
        let is_harmless = |index: &usize| match self.plan.faults[*index].1 {
            Fault::Cut { .. }
            | Fault::DeviceLost { .. }
            | Fault::UpstreamLost { .. }
            | Fault::UpstreamDead { .. }
            | Fault::CheckLies { .. }
            | Fault::Line { .. } => true,
            // Nobody can notice what is ill there.
            Fault::CheckerGone { node, .. } => !self.boards[node].checker.has_ill(),
            _ => false,
        };
        self.standing.iter().all(is_harmless) && self.net.has_clean_path()
    }

    pub(super) fn note(&mut self, node: usize, what: impl fmt::Display) {
        if self.trace.is_off() {
            return;
        }
        let letters: Vec<String> = (0..self.plan.nodes.min(2)).map(|node| self.letters(node)).collect();
        self.trace.line(self.now, &self.names.nodes[node], &what.to_string(), &letters.join(" "));
    }

    /// States of a board's groups in letters: what the node believes, an exclamation mark where the truth differs.
    fn letters(&self, node: usize) -> String {
        let board = &self.boards[node];
        if !board.is_powered {
            return "-".repeat(self.plan.groups.len());
        }
        let mut text = String::new();
        for (state, group) in board.lease.states().iter().zip(board.scripts.uses()) {
            text.push(char::from(state.letter()));
            if *state == GroupState::Running && !group.is_in_use || *state == GroupState::Stopped && group.is_in_use {
                text.push('!');
            }
        }
        text
    }
}

/// The core's number of a node.
pub(super) fn node_id(index: usize) -> NodeId {
    NodeId(u8::try_from(index).expect("few nodes"))
}

/// The uuid of a node.
pub(super) fn uuid(node: usize) -> crate::core::ids::Uuid {
    crate::core::ids::Uuid([u8::try_from(node + 1).expect("few nodes"); 16])
}
