//! Two nodes and everything that is undecided about what happens next.

use std::cell::Cell;
use std::rc::Rc;

use nullbeat::core::ids::{Generation, LinkId, NodeId, RequestId, ShotId, Uuid};
use nullbeat::core::message::{Holds, NodeStatus, Packet};
use nullbeat::core::settings::Identity;
use nullbeat::core::time::{Instant, Stamp};
use nullbeat::core::{Action, FenceOutcome, Input, JobOutcome, Node, Request};
use nullbeat::sim::Plan;
use nullbeat::sim::brain::{Letter, Names};

use crate::identity::Digest;
use crate::jobs::{Jobs, Use};

pub(crate) const MS: u64 = 1_000;
/// A message arrives or is lost within this time.
const LATENCY: u64 = 60 * MS;
/// A script ends within this time, at any moment at which something else happens, too.
const SCRIPT: u64 = 100 * MS;
/// A board without power has it back after this time at the earliest.
const BOOT: u64 = 100 * MS;

/// What may still go wrong, or be asked for: how often each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Budget {
    /// Messages that are lost.
    pub(crate) losses: u8,
    /// Messages that come twice.
    pub(crate) copies: u8,
    /// Other things that happen while a message is on its way.
    pub(crate) delays: u8,
    /// Messages that come before one that was sent earlier.
    pub(crate) overtakings: u8,
    /// Power losses.
    pub(crate) crashes: u8,
    /// Requests of operators: standby, takeover, stop, on either node.
    pub(crate) requests: u8,
    /// Scripts and shots that fail.
    pub(crate) failures: u8,
    /// Times at which both directions of the path are cut, until the end of what is explored.
    pub(crate) cuts: u8,
    /// Boards that are not scheduled for longer than the dead time.
    pub(crate) freezes: u8,
}

/// One thing that may happen next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// The message at this place arrives.
    Deliver(usize),
    /// The same, and comes once more later.
    DeliverCopy(usize),
    Lose(usize),
    /// A deadline of the node has come.
    Tick(usize),
    JobEnd(usize, JobOutcome),
    ShotEnd(usize, FenceOutcome),
    Crash(usize),
    Freeze(usize),
    Restart(usize),
    Ask(usize, Request),
    Cut,
    /// The clock goes on to the next moment at which something is due.
    Advance,
}

#[derive(Debug, Clone)]
struct Flying {
    to: usize,
    letter: Rc<Letter>,
}

/// One board.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    node: Option<Rc<Node>>,
    generation: u32,
    fencings: u8,
    jobs: Jobs,
    /// When the node wants to be called.
    timeout: u64,
    shot: Option<(ShotId, u64)>,
    /// Without power: since when.
    off_since: u64,
    /// Not scheduled until then.
    frozen_until: Option<u64>,
    /// What has arrived meanwhile.
    inbox: Vec<Rc<Letter>>,
    /// Requests without an answer.
    asked: Vec<RequestId>,
    /// Digest of `node`, once it was asked for.
    digest: Cell<Option<u128>>,
}

impl Side {
    fn digest(&self) -> u128 {
        let digest = self.digest.get().unwrap_or_else(|| Digest::of(&self.node));
        self.digest.set(Some(digest));
        digest
    }
}

/// The whole state.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) plan: Rc<Plan>,
    names: Rc<Names>,
    pub(crate) now: u64,
    sides: [Side; 2],
    flying: Vec<Flying>,
    pub(crate) left: Budget,
    is_cut: bool,
    requests: u32,
    /// Until when boards fail and operators ask: the nodes repeat themselves every keepalive.
    pub(crate) trouble_until: u64,
    /// What must never be, and was.
    pub(crate) broken: Option<String>,
}

fn node_id(side: usize) -> NodeId {
    NodeId(u8::from(side == 1))
}

fn stamp(now: u64) -> Stamp {
    Stamp { now: Instant::from_micros(now), wall: u32::try_from(now / 1_000_000).expect("a short run") }
}

impl World {
    /// Two boards without power.
    pub(crate) fn new(plan: Plan) -> Self {
        let side = || Side {
            node: None,
            generation: 40,
            fencings: 0,
            jobs: Jobs::new(plan.groups.len()),
            timeout: u64::MAX,
            shot: None,
            off_since: 0,
            frozen_until: None,
            inbox: Vec::new(),
            asked: Vec::new(),
            digest: Cell::new(None),
        };
        Self {
            sides: [side(), side()],
            names: Rc::new(Names::new(2, plan.groups.len())),
            plan: Rc::new(plan),
            now: 1_000 * MS,
            flying: Vec::new(),
            left: Budget::default(),
            is_cut: false,
            requests: 0,
            trouble_until: 0,
            broken: None,
        }
    }

    /// Two states with the same number are taken for one.
    pub(crate) fn digest(&self) -> u128 {
        let mut digest = Digest::new();
        digest.add(&(self.now, self.left, self.is_cut));
        for side in &self.sides {
            digest.add(&(side.generation, side.fencings, &side.jobs, side.timeout, side.shot, side.frozen_until));
            digest.add(&(&side.asked, side.node.is_none().then_some(side.off_since)));
            digest.add(&side.digest());
            side.inbox.iter().for_each(|letter| digest.add(&letter.packet));
        }
        for flying in &self.flying {
            digest.add(&(flying.to, flying.letter.generation, flying.letter.sent_at));
            digest.add(&flying.letter.packet);
        }
        digest.finish()
    }

    pub(crate) fn is_off(&self, side: usize) -> bool {
        self.sides[side].node.is_none()
    }

    fn runs(&self, side: usize) -> bool {
        self.sides[side].node.is_some() && self.sides[side].frozen_until.is_none()
    }

    /// Everything that may happen next. While a message is on its way nothing else goes on, unless one of the delays is
    /// spent on that; faults and requests come at any moment.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.add_messages(&mut steps);
        let may_go_on = self.flying.is_empty() || self.left.delays > 0;
        for side in 0..2 {
            if may_go_on && self.runs(side) {
                if self.sides[side].timeout <= self.now {
                    steps.push(Step::Tick(side));
                }
                self.add_scripts(side, &mut steps);
            }
            if may_go_on && self.is_off(side) && self.now >= self.sides[side].off_since + BOOT {
                steps.push(Step::Restart(side));
            }
            if self.runs(side) && self.now < self.trouble_until {
                self.add_faults(side, &mut steps);
            }
        }
        if self.left.cuts > 0 && !self.is_cut && self.now < self.trouble_until {
            steps.push(Step::Cut);
        }
        if may_go_on && self.may_advance() {
            steps.push(Step::Advance);
        }
        steps
    }

    fn add_messages(&self, steps: &mut Vec<Step>) {
        for place in 0..self.flying.len() {
            if place == 0 || self.left.overtakings > 0 {
                steps.push(Step::Deliver(place));
            }
            if place == 0 && self.left.copies > 0 {
                steps.push(Step::DeliverCopy(place));
            }
            if place == 0 && self.left.losses > 0 {
                steps.push(Step::Lose(place));
            }
        }
    }

    fn add_scripts(&self, side: usize, steps: &mut Vec<Step>) {
        let jobs = &self.sides[side].jobs;
        if let Some((job, _)) = jobs.current() {
            let [good, bad] = jobs.outcomes(job);
            steps.push(Step::JobEnd(side, good));
            if good != bad && self.left.failures > 0 {
                steps.push(Step::JobEnd(side, bad));
            }
        }
        if self.sides[side].shot.is_some() {
            steps.push(Step::ShotEnd(side, FenceOutcome::Confirmed));
            if self.left.failures > 0 {
                steps.push(Step::ShotEnd(side, FenceOutcome::Failed));
            }
        }
    }

    fn add_faults(&self, side: usize, steps: &mut Vec<Step>) {
        if self.left.crashes > 0 {
            steps.push(Step::Crash(side));
        }
        if self.left.freezes > 0 {
            steps.push(Step::Freeze(side));
        }
        if self.left.requests > 0 {
            let requests = [Request::Standby(Holds::ALL), Request::Takeover(Holds::ALL), Request::Stop];
            steps.extend(requests.map(|request| Step::Ask(side, request)));
        }
    }

    /// Deadlines are kept: what is due comes first.
    fn may_advance(&self) -> bool {
        let is_due = |side: usize| self.runs(side) && self.due(side) <= self.now;
        let is_message_due = self.flying.iter().any(|flying| flying.letter.sent_at + LATENCY <= self.now);
        !is_due(0) && !is_due(1) && !is_message_due
    }

    /// When a side must do something.
    fn due(&self, side: usize) -> u64 {
        let side = &self.sides[side];
        let job = side.jobs.current().map(|(_, began)| began + SCRIPT);
        let shot = side.shot.map(|(_, began)| began + SCRIPT);
        job.into_iter().chain(shot).fold(side.timeout, u64::min)
    }

    fn next_moment(&self) -> u64 {
        let side = |side: usize| match self.sides[side].frozen_until {
            _ if self.is_off(side) => self.sides[side].off_since + BOOT,
            Some(until) => until,
            None => self.due(side),
        };
        let messages = self.flying.iter().map(|flying| flying.letter.sent_at + LATENCY);
        let moments = [side(0), side(1)].into_iter().chain(messages);
        // A board that stays without power is due no more.
        moments.filter(|moment| *moment > self.now).min().expect("somebody is alive")
    }

    /// Lets it happen.
    pub(crate) fn take(&mut self, step: Step) {
        let goes_on =
            matches!(step, Step::Tick(_) | Step::JobEnd(..) | Step::ShotEnd(..) | Step::Restart(_) | Step::Advance);
        self.left.delays -= u8::from(goes_on && !self.flying.is_empty());
        match step {
            Step::Deliver(place) => {
                let flying = self.flying.remove(place);
                self.left.overtakings -= u8::from(place > 0);
                self.deliver(flying.to, flying.letter);
            }
            Step::DeliverCopy(place) => {
                self.left.copies -= 1;
                let Flying { to, letter } = self.flying[place].clone();
                self.deliver(to, letter);
            }
            Step::Lose(place) => {
                self.left.losses -= 1;
                self.flying.remove(place);
            }
            Step::Tick(side) => self.handle(side, Input::Tick),
            Step::JobEnd(side, outcome) => self.end_job(side, outcome),
            Step::ShotEnd(side, outcome) => self.end_shot(side, outcome),
            Step::Crash(side) => {
                self.left.crashes -= 1;
                self.lose_power(side);
            }
            Step::Freeze(side) => {
                self.left.freezes -= 1;
                self.sides[side].frozen_until = Some(self.now + self.plan.deadtime * 3 / 2);
            }
            Step::Restart(side) => self.start(side),
            Step::Ask(side, request) => {
                self.left.requests -= 1;
                self.ask(side, request);
            }
            Step::Cut => {
                self.left.cuts -= 1;
                self.is_cut = true;
                self.flying.clear();
            }
            Step::Advance => {
                self.now = self.next_moment();
                self.thaw();
            }
        }
        self.check();
    }

    pub(crate) fn ask(&mut self, side: usize, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.sides[side].asked.push(id);
        self.handle(side, Input::Request { id, request });
    }

    fn deliver(&mut self, to: usize, letter: Rc<Letter>) {
        if self.sides[to].frozen_until.is_some() {
            self.sides[to].inbox.push(letter);
        } else if self.sides[to].node.is_some() {
            let names = Rc::clone(&self.names);
            self.handle(to, Input::Received { link: LinkId(0), message: &letter.open(&names) });
        }
    }

    fn thaw(&mut self) {
        for side in 0..2 {
            if self.sides[side].frozen_until.take_if(|until| *until <= self.now).is_some() {
                for letter in std::mem::take(&mut self.sides[side].inbox) {
                    self.deliver(side, letter);
                }
            }
        }
    }

    fn end_job(&mut self, side: usize, outcome: JobOutcome) {
        if matches!(outcome, JobOutcome::Failed | JobOutcome::StopFailed) {
            self.left.failures -= 1;
        }
        let (job, _) = self.sides[side].jobs.current().expect("a job is under way");
        self.sides[side].jobs.end(self.now, outcome);
        self.handle(side, Input::JobDone { job: job.id, outcome });
    }

    fn end_shot(&mut self, side: usize, outcome: FenceOutcome) {
        let (shot, _) = self.sides[side].shot.take().expect("a shot is under way");
        match outcome {
            FenceOutcome::Confirmed => self.lose_power(1 - side),
            _ => self.left.failures = self.left.failures.saturating_sub(1),
        }
        self.handle(side, Input::FenceDone { shot, outcome });
    }

    pub(crate) fn lose_power(&mut self, side: usize) {
        let groups = self.plan.groups.len();
        let board = &mut self.sides[side];
        board.node = None;
        board.digest.set(None);
        board.timeout = u64::MAX;
        board.jobs = Jobs::new(groups);
        board.shot = None;
        board.off_since = self.now;
        board.frozen_until = None;
        board.inbox.clear();
        board.asked.clear();
        self.flying.retain(|flying| flying.to != side);
    }

    /// Power and daemon are back.
    pub(crate) fn start(&mut self, side: usize) {
        let board = &mut self.sides[side];
        let settings = self.plan.settings(&self.names, side, Generation(board.generation), board.fencings);
        board.generation += 1;
        let identity = identity(side, board.generation);
        board.node = Some(Rc::new(Node::new(settings, identity, None, stamp(self.now))));
        self.handle(side, Input::LinkDevice { link: LinkId(0), is_open: true });
        self.handle(side, Input::Guardian { is_present: true });
    }

    fn handle(&mut self, side: usize, input: Input<'_>) {
        let at = stamp(self.now);
        self.sides[side].digest.set(None);
        let Some(node) = &mut self.sides[side].node else { return };
        Rc::make_mut(node).handle(at, input);
        while let Some(action) = self.sides[side].node.as_mut().and_then(|node| Rc::make_mut(node).poll_action()) {
            self.perform(side, action);
        }
        let board = &mut self.sides[side];
        board.timeout = board.node.as_mut().map_or(u64::MAX, |node| Rc::make_mut(node).poll_timeout().as_micros());
    }

    fn perform(&mut self, side: usize, action: Action) {
        let board = &mut self.sides[side];
        match action {
            Action::Transmit { packet, .. } => self.send(side, packet),
            Action::Run { job, group, order } => {
                for cancelled in board.jobs.ask(self.now, job, group, order) {
                    self.handle(side, Input::JobDone { job: cancelled.id, outcome: JobOutcome::Cancelled });
                }
            }
            Action::Fence { shot, .. } => board.shot = Some((shot, self.now)),
            Action::CancelFence { shot } if board.shot.take_if(|(other, _)| *other == shot).is_some() => {
                self.handle(side, Input::FenceDone { shot, outcome: FenceOutcome::Failed });
            }
            Action::NoteFencings { count } => board.fencings = count,
            Action::Reply { id, .. } => {
                let waiting = board.asked.len();
                board.asked.retain(|other| *other != id);
                if board.asked.len() == waiting {
                    self.accuse(format!("board {side} answers request {} twice", id.0));
                }
            }
            Action::Exit => {
                if board.jobs.uses.iter().any(|place| place.is_in_use) {
                    self.accuse(format!("board {side} says goodbye with a group in use"));
                }
                self.lose_power(side);
            }
            Action::CancelFence { .. }
            | Action::Ping { .. }
            | Action::SetOwner { .. }
            | Action::Outrun { .. }
            | Action::Event(_) => {}
        }
    }

    fn send(&mut self, side: usize, packet: Packet) {
        if self.is_cut || self.is_off(1 - side) {
            return;
        }
        let Identity { uuid, generation } = identity(side, self.sides[side].generation);
        let letter = Letter { src: side, generation, uuid, sent_at: self.now, packet, bytes: None };
        self.flying.push(Flying { to: 1 - side, letter: Rc::new(letter) });
    }

    fn accuse(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Rule 1, with nothing to excuse it: here no fault makes a false death that would permit a takeover.
    fn check(&mut self) {
        for group in 0..self.plan.groups.len() {
            if self.sides.iter().all(|side| side.jobs.uses[group].is_in_use) {
                self.accuse(format!("group {group} is in use on both boards"));
            }
        }
    }

    /// What happens next if everything goes as it should: it is calm.
    pub(crate) fn calm_step(&self) -> Step {
        let is_good = |step: &Step| match step {
            Step::JobEnd(side, outcome) => {
                let jobs = &self.sides[*side].jobs;
                jobs.current().is_some_and(|(job, _)| jobs.outcomes(job)[0] == *outcome)
            }
            Step::ShotEnd(_, outcome) => *outcome == FenceOutcome::Confirmed,
            Step::Deliver(_) | Step::Tick(_) | Step::Restart(_) | Step::Advance => true,
            _ => false,
        };
        self.steps().into_iter().find(is_good).expect("something is due")
    }

    /// The path is whole again, nothing goes wrong any more, and a person looks after what waits for one.
    pub(crate) fn calm_down(&mut self) {
        self.left = Budget::default();
        self.is_cut = false;
        for side in 0..2 {
            let is_stuck = |place: &Use| place.is_in_use && !place.is_complete;
            let is_idle = self.sides[side].jobs.current().is_none();
            if is_idle && self.sides[side].jobs.uses.iter().any(is_stuck) {
                self.lose_power(side);
            } else if self.runs(side) {
                self.ask(side, Request::Resume);
            }
        }
    }

    /// Rule 2: both are there and know it, nothing is under way, each group runs once.
    pub(crate) fn is_in_order(&self) -> bool {
        let is_settled = |side: usize| {
            self.runs(side)
                && self.sides[side].jobs.current().is_none()
                && self.sides[side].asked.is_empty()
                && self.sides[side].node.as_ref().is_some_and(|node| {
                    let partner = node.comms().peer(node_id(1 - side));
                    partner.status == NodeStatus::Active && node.ownership().handover().is_none()
                })
        };
        self.flying.is_empty() && is_settled(0) && is_settled(1) && self.has_each_group_once()
    }

    /// Each group runs on exactly one board.
    pub(crate) fn has_each_group_once(&self) -> bool {
        (0..self.plan.groups.len()).all(|group| {
            let uses = [0, 1].map(|side| self.sides[side].jobs.uses[group]);
            uses.iter().filter(|place| place.is_in_use).count() == 1 && uses.iter().any(|place| place.is_complete)
        })
    }

    /// For people: who runs what.
    pub(crate) fn story(&self) -> String {
        let board = |side: usize| {
            let uses: String = self.sides[side].jobs.uses.iter().map(letter).collect();
            if self.is_off(side) { "off".to_owned() } else { uses }
        };
        format!("{:>6} ms  {:>3} {:>3}", self.now / MS, board(0), board(1))
    }
}

fn letter(place: &Use) -> char {
    match place {
        Use { is_complete: true, .. } => 'R',
        Use { is_in_use: true, .. } => 'u',
        Use { .. } => '-',
    }
}

fn identity(side: usize, generation: u32) -> Identity {
    Identity { uuid: Uuid([1 + u8::from(side == 1); 16]), generation: Generation(generation) }
}
