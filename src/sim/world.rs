//! The world: one virtual clock, a heap of what will happen, the boards, the paths between them, the judge.
//!
//! The driver of each engine keeps the contract of [`crate::core`] to the letter: everything that has arrived is handed
//! over first, all actions are drained after each input, and `Input::Tick` comes last, when its time has come.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::rc::Rc;

use super::board::{Arrived, Board, Daemon};
use super::brain::{Letter, Maker, Names, codec, encode, real};
use super::fault::Fault;
use super::net::{Copy, Net, link_id};
use super::oracle::{Oracle, Seen, View, Violation};
use super::plan::{FencePlan, MS, Medium, Plan};
use super::rng::Rng;
use super::scripts::{Effect, Job, Use};
use super::trace::Trace;
use crate::core::ids::{
    Generation, GroupId, GroupSet, JobId, KeyNumber, LinkId, LinkSet, NodeId, PingId, RequestId, ShotId,
};
use crate::core::limits::LINK_NAME_MAX;
use crate::core::message::{Body, GroupState, NodeStatus, Packet};
use crate::core::settings::{
    FenceMethod, FenceSettings, GroupSettings, HealthSettings, Identity, InterlockSettings, Settings, UpstreamSettings,
};
use crate::core::time::{Duration, Stamp};
use crate::core::{Action, Alarm, Event, FenceOutcome, Input, InputLine, JobOutcome, Order, Outcome, Request};
use crate::wire::heartbeat::TextStream;

/// Turns in a row that a node may ask for without time passing.
const SPIN_MAX: u32 = 200;
/// From a question to the ping node's answer, microseconds.
const ECHO_TIME: u64 = 700;
/// Letters kept per node for a replay.
const RECORDED: usize = 100;

/// Something that will happen.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// A board gets power.
    Power { node: usize },
    /// The operating system is up: the daemon starts.
    Boot { node: usize, life: u32 },
    /// A copy of a message arrives.
    Arrive { to: usize, link: LinkId, letter: Rc<Letter>, is_corrupt: bool },
    /// The ping node's answer to an engine.
    Echo { node: usize, engine: u32 },
    /// The timer that the engine asked for.
    Timer { node: usize, timer: u64 },
    /// A fence device resets the board that is not `node`.
    Strike { node: usize, life: u32, shot: ShotId, is_late: bool },
    /// A shot of `node` ends.
    ShotEnd { node: usize, life: u32, shot: ShotId, outcome: FenceOutcome },
    /// The guardian of `node` has set its line `owner`.
    OwnerSet { node: usize, life: u32, is_owner: bool },
    /// The watchdog of `node` may have run out.
    Bite { node: usize, life: u32 },
    /// A script ends, or can begin.
    Script { node: usize },
    /// The health checks of a board are asked.
    Health { node: usize },
    /// The fault of this number in the plan begins.
    Fault { index: usize },
    /// It ends.
    Mended { index: usize },
    /// A frozen board thaws.
    Thaw { node: usize, life: u32 },
    /// A stalled engine is scheduled again.
    StallEnd { node: usize, engine: u32 },
    /// The guardian looks at the lease of a stalled engine.
    Watch { node: usize, engine: u32 },
    /// A new engine is ready.
    Respawn { node: usize, life: u32, is_kept: bool },
    /// What is not stopped by now resets the board.
    Deadline { node: usize, life: u32, engine: u32 },
    /// Power is lost in the middle of a script.
    Trap { node: usize, life: u32, off_for: u64 },
    /// The service manager's stop action begins.
    StopAction { node: usize, life: u32 },
    /// The daemon is started again on a board that lived on.
    Restart { node: usize, life: u32 },
    /// The faults are over.
    Calm,
    /// The operator tidies up, this often so far.
    Tidy { round: u32 },
    /// The judge looks.
    Check,
}

/// Heap entry: time, then order of planning.
struct Planned(Reverse<(u64, u64)>, Happening);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// One run.
pub struct World {
    pub(super) plan: Plan,
    pub(super) now: u64,
    heap: BinaryHeap<Planned>,
    planned: u64,
    pub(super) boards: Vec<Board>,
    pub(super) net: Net,
    pub(super) oracle: Oracle,
    pub(super) rng: Rng,
    pub(super) trace: Trace,
    pub(super) names: Rc<Names>,
    makers: Vec<Maker>,
    /// Faults with an effect that stands, which nobody can be expected to live with.
    pub(super) standing: Vec<usize>,
    pub(super) is_tidy: bool,
    requests: u32,
    /// Answers to operators, in order.
    pub(super) outcomes: Vec<(usize, RequestId, Outcome)>,
    /// What each node takes each other for.
    statuses: Vec<Vec<Option<NodeStatus>>>,
    /// Per node: what it sent under its present generation, and under older ones.
    recorded: Vec<[VecDeque<Rc<Letter>>; 2]>,
    /// Copies of the message that is being sent.
    copies: Vec<Copy>,
    pub(super) sent: u64,
    pub(super) inflicted: Vec<usize>,
    /// Shots at the other board: asked for, confirmed, broken off.
    pub(super) shots: [u64; 3],
    /// Whose turn comes anyhow.
    pub(super) turning: Option<usize>,
}

impl World {
    /// The world of `plan`, before anything has happened, with real nodes.
    pub fn new(plan: Plan, trace: Trace) -> Self {
        let makers = vec![real as Maker; plan.nodes];
        Self::with_brains(plan, trace, makers)
    }

    /// The same with other brains on the boards.
    pub fn with_brains(plan: Plan, trace: Trace, makers: Vec<Maker>) -> Self {
        let nodes = plan.nodes;
        let mut world = Self {
            now: 0,
            heap: BinaryHeap::new(),
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
            recorded: vec![Default::default(); nodes],
            copies: Vec::new(),
            sent: 0,
            inflicted: Vec::new(),
            shots: [0; 3],
            turning: None,
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
        self.heap.push(Planned(Reverse((time.max(self.now), self.planned)), happening));
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
        while self.heap.peek().is_some_and(|next| next.0.0.0 <= time) {
            if let Some(Planned(Reverse((at, _)), happening)) = self.heap.pop() {
                self.now = at;
                self.happen(happening);
            }
        }
        self.now = time;
    }

    /// Runs to the end of the plan and asks for order.
    pub fn finish(&mut self) {
        self.run_until(self.plan.end);
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
            Happening::Timer { node, timer } => {
                if self.boards[node].engine.as_ref().is_some_and(|engine| engine.timer == timer) {
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

    /// Starts an engine with everything that a daemon tells it first.
    pub(super) fn start_engine(&mut self, node: usize, carried: Option<crate::core::settings::Carried>) {
        let settings = self.settings(node);
        let board = &mut self.boards[node];
        board.generation += 1;
        board.engine_life += 1;
        board.engine_since = self.now;
        board.lease.stamp = self.now;
        board.is_held = carried.is_some_and(|carried| carried.is_held);
        board.start_failed = 0;
        board.needs_person.clear();
        board.has_named_line = false;
        let stamp = board.stamp(self.now);
        let identity = Identity { uuid: uuid(node), generation: Generation(board.generation) };
        board.lease.set_table(carried.as_ref());
        board.restarting = carried.map_or(GroupSet::EMPTY, |carried| carried.to_restart);
        let certain = carried.filter(|carried| carried.is_certain).and_then(|carried| carried.partner);
        let first_limit = match certain {
            // Its predecessor has judged already; it only asks whether that still holds.
            Some(known) if known.is_dead => 2 * self.plan.keepalive,
            Some(_) => self.plan.deadtime,
            None => self.plan.initdead,
        };
        self.oracle.engine_began(node, stamp.now.as_micros(), first_limit, carried.is_some());
        let what = format!("engine starts, generation {}, carried {:?}", board.generation, carried.map(|c| c.claims));
        let old: Vec<_> = self.recorded[node][0].drain(..).collect();
        if !old.is_empty() {
            self.recorded[node][1] = old.into();
        }
        self.statuses[node].fill(None);
        let codec = self.plan.is_wire.then(|| Rc::new(codec(&settings, identity, &self.names)));
        let brain = self.makers[node](settings, identity, carried, stamp);
        let board = &mut self.boards[node];
        board.engine = Some(super::board::Engine {
            brain,
            codec,
            inbox: VecDeque::new(),
            stalled_until: None,
            stalled_since: 0,
            timer: self.planned,
        });
        for link in (0..self.plan.links.len()).map(link_id) {
            board.receive(Arrived::Device(link, self.net.is_open(node, link)));
        }
        let has_guardian = board.has_guardian;
        board.receive(Arrived::Guardian(has_guardian));
        board.levels = Default::default();
        board.checker.forget();
        self.arm_watchdog(node);
        self.turning = Some(node);
        self.tell_lines();
        self.turning = None;
        self.note(node, &what);
        self.oracle.disturbed(self.now);
        self.turn(node);
    }

    fn settings(&self, node: usize) -> Settings {
        let plan = &self.plan;
        let name = |text: &str| heapless::String::try_from(text).expect("short");
        let link = |index: usize| heapless::String::<LINK_NAME_MAX>::try_from(format!("link{index}").as_str());
        let owners = 2;
        Settings {
            nodes: self.names.nodes.iter().map(|node| name(node)).collect(),
            local: node_id(node),
            partner: (node < owners).then(|| node_id(1 - node)),
            links: (0..plan.links.len()).map(|index| link(index).expect("short")).collect(),
            groups: plan.groups.iter().map(|group| GroupSettings { preferred: node_id(group.preferred) }).collect(),
            keepalive: Duration::from_micros(plan.keepalive),
            warntime: Duration::from_micros(plan.deadtime / 2),
            deadtime: Duration::from_micros(plan.deadtime),
            announced_extra: Duration::ZERO,
            initdead: Duration::from_micros(plan.initdead),
            max_rexmit_delay: Duration::from_millis(250),
            signing_key: KeyNumber(1),
            auto_failback: plan.auto_failback,
            failback_delay: Duration::from_micros(plan.failback_delay),
            moves_per_hour: plan.moves_per_hour,
            takeover_policy: plan.policy,
            split_brain_loser: plan.loser,
            upstream: self.upstream(),
            health: plan.health.map_or(HealthSettings::NONE, |health| health.settings(plan.groups.len())),
            fence: self.fence_settings(node),
            interlock: plan.interlock_settle.map(|settle| InterlockSettings { settle: Duration::from_micros(settle) }),
            has_owner_line: plan.interlock_settle.is_some(),
            lease: self.lease_settings().filter(|_| node < owners),
            config_digest: 0x1234_5678,
            resources_digest: 0x9abc_def0,
            has_resources: true,
            autojoin: crate::core::settings::Autojoin::default(),
            random_seed: plan.seed ^ node as u64 ^ u64::from(self.boards[node].generation) << 32,
        }
    }

    fn fence_settings(&self, node: usize) -> FenceSettings {
        let method = |method: &FencePlan| FenceMethod { kind: method.kind, limit: Duration::from_micros(method.limit) };
        FenceSettings {
            methods: self.plan.fence.iter().map(method).collect(),
            settle: Duration::from_micros(self.plan.fence_settle),
            per_hour_max: self.plan.fencings_per_hour,
            fencings_before: self.boards[node].fencings,
        }
    }

    fn upstream(&self) -> UpstreamSettings {
        if !self.plan.has_upstream {
            return UpstreamSettings::NONE;
        }
        UpstreamSettings {
            ping_nodes: ["gateway"].into_iter().filter_map(|name| name.try_into().ok()).collect(),
            deadping: Duration::from_micros(self.plan.deadtime),
            has_failover: true,
            holdoff: Duration::from_micros(self.plan.holdoff()),
        }
    }

    /// A ping node answers whom it can hear.
    fn ask_ping_node(&mut self, node: usize) {
        let is_cut = |index: &usize| matches!(self.plan.faults[*index].1, Fault::UpstreamLost { node: other, .. } if other == node);
        if !self.standing.iter().any(is_cut) {
            let engine = self.boards[node].engine_life;
            self.after(ECHO_TIME, Happening::Echo { node, engine });
        }
    }

    fn arrive(&mut self, to: usize, link: LinkId, letter: Rc<Letter>, is_corrupt: bool) {
        if !self.net.carries(letter.src, to, link, self.now) {
            return;
        }
        self.boards[to].receive(Arrived::Letter(link, letter, is_corrupt));
        self.turn(to);
    }

    /// One turn of a node's engine.
    pub(super) fn turn(&mut self, node: usize) {
        while self.boards[node].is_awake() {
            let engine = self.boards[node].engine.as_mut().expect("awake");
            let Some(arrived) = engine.inbox.pop_front() else { break };
            self.hand_over(node, &arrived);
        }
        let mut spins = 0;
        while self.boards[node].is_awake() {
            let stamp = self.boards[node].stamp(self.now);
            let engine = self.boards[node].engine.as_mut().expect("awake");
            let Some(timeout) = engine.brain.poll_timeout() else { break };
            if timeout > stamp.now {
                self.set_timer(node, timeout.as_micros());
                break;
            }
            spins += 1;
            if spins > SPIN_MAX {
                self.oracle.accuse(self.now, "calm", format!("node {node} spins without time passing"));
                break;
            }
            self.handle(node, stamp, Input::Tick);
            self.oracle.turned(self.now, node, 1, 0);
        }
        self.kick(node);
    }

    fn set_timer(&mut self, node: usize, own: u64) {
        let jitter = if self.rng.chance(20) { self.rng.below(4 * MS) } else { self.rng.below(100) };
        let at = self.boards[node].true_time(own, self.now) + jitter;
        let timer = self.planned + 1;
        if let Some(engine) = &mut self.boards[node].engine {
            engine.timer = timer;
        }
        self.at(at, Happening::Timer { node, timer });
    }

    fn hand_over(&mut self, node: usize, arrived: &Arrived) {
        let stamp = self.boards[node].stamp(self.now);
        match *arrived {
            Arrived::Letter(link, ref letter, is_corrupt) => self.deliver(node, stamp, link, letter, is_corrupt),
            Arrived::Job(job, outcome) => self.handle(node, stamp, Input::JobDone { job, outcome }),
            Arrived::Device(link, is_open) => self.handle(node, stamp, Input::LinkDevice { link, is_open }),
            Arrived::Fence(shot, outcome) => self.handle(node, stamp, Input::FenceDone { shot, outcome }),
            Arrived::OwnerSet(is_owner) => self.handle(node, stamp, Input::OwnerSet { is_owner, is_ok: true }),
            Arrived::Line(line, level) => self.handle(node, stamp, Input::Line { line, level }),
            Arrived::Watchdog => self.handle(node, stamp, Input::Watchdog { is_armed: true }),
            Arrived::Health(check, health) => self.handle(node, stamp, Input::Health { check, health, from: 0 }),
            Arrived::Echo => self.handle(node, stamp, Input::PingAnswer { ping: PingId(0) }),
            Arrived::Guardian(is_present) => self.handle(node, stamp, Input::Guardian { is_present }),
            Arrived::Request(id, request) => {
                if matches!(request, Request::Takeover(_) | Request::ConfirmFence) {
                    self.oracle.vouched(node, stamp.now.as_micros());
                }
                self.handle(node, stamp, Input::Request { id, request });
            }
        }
    }

    fn deliver(&mut self, node: usize, stamp: Stamp, link: LinkId, letter: &Letter, is_corrupt: bool) {
        if letter.bytes.is_some() {
            return self.deliver_bytes(node, stamp, link, letter, is_corrupt);
        }
        if is_corrupt {
            // The signature does not fit: the decoder drops it and counts.
            return;
        }
        self.note_heard(node, stamp, letter);
        let names = Rc::clone(&self.names);
        let message = letter.open(&names);
        self.handle(node, stamp, Input::Received { link, message: &message });
    }

    fn note_heard(&mut self, node: usize, stamp: Stamp, letter: &Letter) {
        if let (Body::Status { .. }, Some(seq)) = (&letter.packet.body, letter.packet.seq) {
            self.oracle.heard(node, letter.src, letter.generation, seq, self.now, stamp.now.as_micros());
        }
    }

    /// The same through the real decoder, which must take what is whole and nothing else.
    fn deliver_bytes(&mut self, node: usize, stamp: Stamp, link: LinkId, letter: &Letter, is_corrupt: bool) {
        let is_serial = self.is_serial(link);
        let Some(forms) = &letter.bytes else { return };
        let mut bytes = forms[usize::from(is_serial)].clone();
        if is_corrupt {
            let place = self.rng.index(bytes.len());
            bytes[place] ^= 1 << self.rng.below(8);
        }
        let Some(codec) = self.boards[node].engine.as_ref().and_then(|engine| engine.codec.clone()) else { return };
        let mut scratch = vec![0; bytes.len()];
        let mut stream = TextStream::new();
        let mut rest = bytes.as_slice();
        let frame = if is_serial { stream.next(&mut rest).unwrap_or_default() } else { &bytes };
        match codec.decode(frame, &mut scratch) {
            Ok(message) if !is_corrupt => {
                self.note_heard(node, stamp, letter);
                self.handle(node, stamp, Input::Received { link, message: &message });
            }
            Err(reject) if !is_corrupt => {
                self.oracle.accuse(self.now, "wire", format!("{:?} was not taken: {reject:?}", letter.packet));
            }
            // A flipped bit outside of what is signed, such as the case of a digit of the digest, may do no harm.
            Ok(_) | Err(_) => {}
        }
    }

    fn is_serial(&self, link: LinkId) -> bool {
        matches!(self.plan.links[usize::from(link.0)], Medium::Serial { .. })
    }

    fn handle(&mut self, node: usize, stamp: Stamp, input: Input<'_>) {
        self.trace.set_clock(self.now, node);
        let board = &mut self.boards[node];
        let Some(engine) = &mut board.engine else { return };
        engine.brain.handle(stamp, input);
        // Claims grow before the first script is asked for, and shrink after everything is said.
        let claims = engine.brain.claims();
        board.lease.claims = board.lease.claims | claims;
        board.lease.partner = engine.brain.known_partner().or(board.lease.partner);
        board.lease.fencing = engine.brain.fencing();
        board.lease.kicks_until = engine.brain.kicks_until();
        let life = board.engine_life;
        while let Some(action) = self.boards[node].engine.as_mut().and_then(|engine| engine.brain.poll_action()) {
            self.perform(node, action);
        }
        let board = &mut self.boards[node];
        if board.engine.is_some() && board.engine_life == life {
            board.lease.claims = claims;
        }
    }

    fn perform(&mut self, node: usize, action: Action) {
        match action {
            Action::Transmit { links, packet } => self.transmit(node, links, packet),
            Action::Ping { .. } => self.ask_ping_node(node),
            Action::Run { job, group, order } => self.run_job(node, job, group, order),
            Action::Event(event) => self.note_event(node, event),
            Action::Reply { id, outcome } => {
                self.note(node, format_args!("answers request {}: {outcome:?}", id.0));
                self.outcomes.push((node, id, outcome));
                self.oracle.replied(self.now, node, id);
            }
            Action::Exit => self.exit(node),
            Action::Fence { shot, method } => self.fence(node, shot, method),
            Action::CancelFence { shot } => self.cancel_shot(node, shot),
            Action::NoteFencings { count } => self.boards[node].fencings = count,
            Action::SetOwner { is_owner } => self.set_owner(node, is_owner),
        }
    }

    fn transmit(&mut self, node: usize, links: LinkSet, packet: Packet) {
        let board = &mut self.boards[node];
        if matches!(packet.body, Body::Status { .. }) {
            board.lease.stamp = self.now;
        }
        let generation = Generation(board.generation);
        let mut letter = Letter { src: node, generation, uuid: uuid(node), sent_at: self.now, packet, bytes: None };
        if self.plan.is_stripped {
            letter.strip();
        }
        if let Some(codec) = self.boards[node].engine.as_ref().and_then(|engine| engine.codec.as_ref()) {
            letter.bytes = encode(codec, &letter.packet);
            if letter.bytes.is_none() {
                self.oracle.accuse(self.now, "wire", format!("{:?} cannot be said", letter.packet));
            }
        }
        let letter = Rc::new(letter);
        let recorded = &mut self.recorded[node][0];
        if recorded.len() == RECORDED {
            recorded.pop_front();
        }
        recorded.push_back(Rc::clone(&letter));
        for link in links.iter() {
            self.sent += 1;
            let size = letter.size(self.is_serial(link));
            let mut copies = std::mem::take(&mut self.copies);
            self.net.send(node, link, size, self.now, &mut copies);
            for copy in copies.drain(..) {
                let letter = Rc::clone(&letter);
                self.at(copy.at, Happening::Arrive { to: copy.to, link, letter, is_corrupt: copy.is_corrupt });
            }
            self.copies = copies;
        }
        self.oracle.turned(self.now, node, 0, 1);
    }

    /// Sends recorded messages of other nodes to `to` again: those of an older generation if there are any.
    pub(super) fn replay(&mut self, to: usize, count: usize) {
        let mut letters = Vec::new();
        for src in (0..self.plan.nodes).filter(|src| *src != to) {
            let [present, old] = &self.recorded[src];
            let source = if old.is_empty() { present } else { old };
            letters.extend(source.iter().skip(source.len().saturating_sub(count)).cloned());
        }
        for (index, letter) in letters.into_iter().enumerate() {
            let arrive = Happening::Arrive { to, link: LinkId(0), letter, is_corrupt: false };
            self.after(index as u64 * MS, arrive);
        }
    }

    fn run_job(&mut self, node: usize, job: JobId, id: GroupId, order: Order) {
        let group = usize::from(id.0);
        self.note(node, format_args!("asks for {order:?} of group {group} (job {})", job.0));
        let (own, is_misled) = (self.boards[node].own(self.now), self.is_misled(node));
        let board = &mut self.boards[node];
        match order {
            Order::Start | Order::Restart { .. } => board.lease.set_group(group, GroupState::Starting),
            Order::Stop => board.lease.set_group(group, GroupState::Stopping),
            Order::Probe | Order::Announce => {}
        }
        let engine = board.engine_life;
        let is_restart = board.restarting.contains(id) && order == Order::Start;
        board.restarting.remove(id);
        let ended = board.scripts.ended(group);
        let (ordered_at, excused) = if is_restart {
            (ended.ordered_at, ended.excused)
        } else {
            (self.now, self.oracle.excused(node, own, is_misled))
        };
        let job = Job { id: Some(job), engine, group, order, ordered_at, excused };
        let cancelled = board.scripts.ask(job);
        if !matches!(order, Order::Probe | Order::Announce) {
            self.forget_findings(node, group);
        }
        for cancelled in cancelled {
            self.job_ended(node, cancelled, JobOutcome::Cancelled);
        }
        self.after(self.plan.boot.min(500), Happening::Script { node });
    }

    /// Lets the scripts of a board go on.
    pub(super) fn run_scripts(&mut self, node: usize) {
        let board = &mut self.boards[node];
        if !board.is_powered || board.freeze.is_some() {
            return;
        }
        let is_manager_at_work = board.is_releasing && board.daemon != Daemon::Runs;
        if !board.has_guardian && !is_manager_at_work {
            return;
        }
        for effect in board.scripts.turn(self.now) {
            self.take_effect(node, effect);
        }
        self.after_release(node);
        if let Some(next) = self.boards[node].scripts.next() {
            self.at(next.max(self.now + 1), Happening::Script { node });
        }
    }

    fn take_effect(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Began(job) => {
                if let Some(off_for) = self.boards[node].power_trap.take() {
                    let life = self.boards[node].life;
                    let longest = self.plan.groups[job.group].start.max(2);
                    let delay = self.rng.below(longest);
                    self.spring_trap(node, life, off_for, delay);
                }
            }
            Effect::UseBegan(group) => {
                self.note(node, format_args!("group {group} comes into use"));
                self.recover(node, group);
                let boards: Vec<&[Use]> = self.boards.iter().map(|board| board.scripts.uses()).collect();
                self.oracle.use_began(self.now, node, group, &boards);
            }
            Effect::UseEnded(group) => self.note(node, format_args!("group {group} is no longer in use")),
            Effect::Finished(job, outcome) => self.job_ended(node, job, outcome),
        }
    }

    fn job_ended(&mut self, node: usize, job: Job, outcome: JobOutcome) {
        self.note(node, format_args!("{:?} of group {} ends: {outcome:?}", job.order, job.group));
        if matches!(job.order, Order::Start | Order::Restart { .. }) && outcome == JobOutcome::Done {
            self.started(node, job.group);
        }
        if outcome == JobOutcome::StopFailed && self.plan.is_reset_on_stop_failure {
            self.note(node, "stop failure resets the board");
            self.lose_power(node, MS);
            return;
        }
        if job.id.is_none() {
            return self.own_stop_ended(node, job.group, outcome);
        }
        let board = &mut self.boards[node];
        if let (Some(id), true) = (job.id, job.engine == board.engine_life) {
            board.receive(Arrived::Job(id, outcome));
            self.turn(node);
        }
    }

    fn note_event(&mut self, node: usize, event: Event) {
        self.note(node, format_args!("{event:?}"));
        match event {
            Event::Group { group, new, .. } => {
                self.boards[node].lease.set_group(usize::from(group.0), new);
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
            Event::Alarm { alarm: Alarm::LineStuck(InputLine::PeerOwner), is_raised } => {
                self.boards[node].has_named_line = is_raised;
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
        self.after(self.plan.keepalive / 2, Happening::Check);
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

fn uuid(node: usize) -> crate::core::ids::Uuid {
    crate::core::ids::Uuid([u8::try_from(node + 1).expect("few nodes"); 16])
}

/// The guardian's own stop of a group.
pub(super) fn own_stop(group: usize, now: u64) -> Job {
    Job { id: None, engine: 0, group, order: Order::Stop, ordered_at: now, excused: 0 }
}
