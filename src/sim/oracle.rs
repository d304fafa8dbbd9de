//! What must hold, judged from the truth alone: which groups are in use on which board, what was really delivered, who
//! was really awake. It does not look into the core and shares no code with it.
//!
//! | rule | of design.md section 2 | here |
//! |---|---|---|
//! | exclusive | "A group is never in use on two boards, unless every path between them is cut *and* the operator has chosen availability over safety" | [`Oracle::use_began`] |
//! | healed | "When two holders meet again: … releases" | [`Oracle::check`]: an overlap ends within `Bounds::heal` once either hears the other |
//! | slept | "we overslept the dead time that we had announced: we release" | [`Oracle::let_go`] |
//! | live | "When faults stop, each group is running on exactly one healthy board within deadtime plus its scripts' time" | [`Oracle::check`] |
//! | judge | "A late node does not judge": nobody is called dead who was not silent for his dead time to an awake listener | [`Oracle::declared_dead`] |
//! | answered | each request has exactly one answer, in bounded time | [`Oracle::replied`], [`Oracle::check`] |
//! | clean end | nothing is in use on a board whose daemon says it is done | [`Oracle::exited`] |
//! | steady | a cluster left alone moves nothing; a disturbed one moves a group twice a disturbance at most | [`Oracle::use_began`] |
//! | shot | nobody shoots at a node that he hears, both at once after one partition, or oftener than allowed | [`Oracle::shot`] |
//! | calm | bounded turns and messages per second of virtual time | [`Oracle::turned`] |

use std::fmt;

use super::plan::{MS, Plan, S};
use super::scripts::Use;
use crate::core::ids::{Generation, RequestId, Seq};
use crate::core::settings::TakeoverPolicy;

/// Turns that a node may take in one second of virtual time, plus those that arriving messages cause.
const TICKS_MAX: u32 = 1_500;
/// Messages that a node may send in one second of virtual time.
const SENT_MAX: u32 = 2_500;
/// How long a hand-over that has been agreed waits for the other node to begin (spec/resources.md section 8).
const ANSWER_TIME: u64 = 10 * S;
/// Ordinary imprecision of timers.
const SLACK: u64 = MS;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Virtual time, microseconds.
    pub at: u64,
    /// Name of the rule: first column of the table above.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms: {}: {}", self.at / 1000, self.at % 1000, self.rule, self.what)
    }
}

/// One node as the world sees it at a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Its engine runs and is scheduled, its guardian works.
    pub is_healthy: bool,
    /// It has power and a daemon that owns groups, or shall have.
    pub is_present: bool,
    /// It left with all groups released, at this time.
    pub left_at: Option<u64>,
    /// When its engine began.
    pub since: u64,
    /// An operator holds it.
    pub is_held: bool,
    /// An operator has told it to end.
    pub is_stopping: bool,
    /// The truth about its groups.
    pub uses: &'a [Use],
    /// Groups whose start has failed since the last resume.
    pub start_failed: u64,
    /// It calls for a person: the other cannot be fenced.
    pub needs_person: bool,
}

/// The world at a check.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// True time.
    pub now: u64,
    /// The two nodes that own groups.
    pub nodes: [Seen<'a>; 2],
    /// Something stands in the way that nobody can be expected to live with.
    pub is_disturbed: bool,
    /// Scripts misbehave or are slow.
    pub is_script_trouble: bool,
    /// The operator has tidied up: no excuse is left.
    pub is_tidy: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    generation: Generation,
    seq: Seq,
    /// Listener's own clock; `None`: not since its engine began.
    own: Option<u64>,
    /// True time.
    at: u64,
    /// An operator vouched at this listener for that node being off, and it was silent then and has been since.
    is_vouched: bool,
    /// Highest generation of any numbered message: a lower one is a replay from then on.
    newest: Generation,
}

#[derive(Debug, Clone, Copy, Default)]
struct Listener {
    /// Own clock at the engine's start.
    since: u64,
    /// The dead time before anything was heard.
    first_limit: u64,
    /// Own clock at the end of the last time it was not scheduled.
    awake_since: u64,
    ticks: u32,
    sent: u32,
}

/// What a node does about the other when it takes that for dead.
#[derive(Debug, Clone, Default)]
struct Shooter {
    /// When it called the other dead, true time; `None`: not, or its clock has stood still since.
    called_dead: Option<u64>,
    /// A shot is under way.
    is_shooting: bool,
    /// Shots since an operator resumed.
    shots: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    node: usize,
    id: RequestId,
    since: u64,
}

/// Longest times, microseconds.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    heal: u64,
    live: u64,
    request: u64,
}

/// The judge.
#[derive(Debug)]
pub struct Oracle {
    plan: Plan,
    bounds: Bounds,
    listeners: Vec<Listener>,
    heard: Vec<Vec<Heard>>,
    pending: Vec<Pending>,
    shooters: [Shooter; 2],
    /// Nodes that have slept longer than their dead time with something in use, that somebody else has had ever since, and
    /// that have heard the other one all the time; when they woke.
    sleepers: [Option<u64>; 2],
    /// Nodes that have slept like that, and have perhaps not found out since that nobody else has it.
    drowsy: [bool; 2],
    /// Per group: since when two boards use it although they could know.
    overlap_since: Vec<u64>,
    /// Per group: since when it does not run on exactly one board although it could.
    bad_since: Vec<u64>,
    last_user: Vec<Option<usize>>,
    moves: Vec<u32>,
    disturbances: u32,
    last_disturbed: u64,
    /// When a node last said a word that no node says by itself.
    misspoken: Option<u64>,
    second: u64,
    /// What was found.
    pub violations: Vec<Violation>,
}

impl Oracle {
    /// A judge for one run.
    pub fn new(plan: &Plan) -> Self {
        let groups = plan.groups.len();
        let beats = 12 * plan.keepalive;
        let bounds = Bounds {
            heal: plan.deadtime + beats + 2 * plan.scripts() + plan.courtesy() + S,
            live: plan.settling() - plan.initdead,
            // Ten seconds for the handshake's answer, then the scripts of both nodes, behind those of a request before.
            request: 20 * S + 4 * plan.scripts() + 2 * plan.settling(),
        };
        Self {
            plan: plan.clone(),
            bounds,
            listeners: vec![Listener::default(); plan.nodes],
            heard: vec![vec![Heard::default(); plan.nodes]; plan.nodes],
            pending: Vec::new(),
            shooters: [const { Shooter { called_dead: None, is_shooting: false, shots: Vec::new() } }; 2],
            sleepers: [None; 2],
            drowsy: [false; 2],
            overlap_since: vec![0; groups],
            bad_since: vec![0; groups],
            last_user: vec![None; groups],
            moves: vec![0; groups],
            disturbances: 0,
            last_disturbed: 0,
            misspoken: None,
            second: 0,
            violations: Vec::new(),
        }
    }

    /// Moves of groups from one board to another so far.
    pub fn moves(&self) -> u32 {
        self.moves.iter().sum()
    }

    /// Notes a broken rule.
    pub fn accuse(&mut self, at: u64, rule: &'static str, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(Violation { at, rule, what });
        }
    }

    /// Something was done to the world, or ended.
    pub fn disturbed(&mut self, now: u64) {
        self.disturbances += 1;
        self.last_disturbed = now;
    }

    /// A node says a word out of turn: the other may wait for an answer that never comes, as long as answers are waited for.
    pub fn misspoke(&mut self, now: u64) {
        self.misspoken = Some(now);
    }

    /// An engine begins. `first_limit`: silence after which it may take a node for dead that it has never heard.
    /// `remembers`: what an earlier engine of this boot was told of the others, it knows.
    pub fn engine_began(&mut self, node: usize, own: u64, first_limit: u64, remembers: bool) {
        self.listeners[node] = Listener { since: own, first_limit, awake_since: own, ..self.listeners[node] };
        for heard in &mut self.heard[node] {
            // It knows no generation yet, and cannot tell an old message from a new one.
            *heard = Heard { at: heard.at, is_vouched: heard.is_vouched && remembers, ..Heard::default() };
        }
        self.pending.retain(|pending| pending.node != node);
        if node < 2 {
            (self.sleepers[node], self.drowsy[node]) = (None, false);
        }
    }

    /// An engine is gone, with what it had not answered.
    pub fn engine_gone(&mut self, node: usize) {
        self.pending.retain(|pending| pending.node != node);
    }

    /// A node is scheduled again; its beat is overdue by this much of its own clock. Somebody who has slept through
    /// nothing that he had meant to do cannot know that he slept, and has missed nothing: what arrived meanwhile waits.
    pub fn woke(&mut self, node: usize, own: u64, overdue: u64) {
        if overdue > self.plan.keepalive / 2 {
            self.listeners[node].awake_since = own;
        }
    }

    /// A node that holds something is scheduled again, later than the dead time after its last beat by its own clock.
    pub fn overslept(&mut self, now: u64, node: usize) {
        if node < 2 {
            (self.sleepers[node], self.drowsy[node]) = (Some(now), true);
        }
    }

    /// Rule 1c: `node` stops a group because two boards hold it. If the other one has slept, and hears this one, it is the
    /// other one's to stop. A Heartbeat does not say that it slept.
    pub fn let_go(&mut self, now: u64, node: usize, group: usize, uses: [Use; 2]) {
        let other = 1 - node;
        let is_overlap = uses.iter().all(|use_| use_.is_in_use);
        let is_heard = now < self.heard[other][node].at + 5 * self.plan.keepalive / 2;
        if self.sleepers[other].is_some() && !self.drowsy[node] && is_overlap && is_heard && !self.plan.is_stripped {
            let what = format!("node {node} releases group {group} to node {other}, which has slept");
            self.accuse(now, "slept", what);
        }
    }

    /// A node's engine processed a status of another node. Only news count as a sign of life.
    pub fn heard(&mut self, node: usize, from: usize, generation: Generation, seq: Seq, now: u64, own: u64) {
        let heard = &mut self.heard[node][from];
        if (generation, seq) > (heard.generation, heard.seq) && generation >= heard.newest {
            // One that was deaf for a while keeps what it has (rule 1b).
            if let Some(sleeper) = self.sleepers.get_mut(node) {
                *sleeper = sleeper.filter(|woke| now <= heard.at.max(*woke) + 2 * self.plan.keepalive);
            }
            *heard = Heard { generation, seq, own: Some(own), at: now, is_vouched: false, newest: heard.newest };
        }
    }

    /// A node's engine processed a numbered message of that generation, a status or not.
    pub fn met(&mut self, node: usize, from: usize, generation: Generation) {
        let newest = &mut self.heard[node][from].newest;
        *newest = generation.max(*newest);
    }

    /// Whether `node` cannot help taking `other` for dead: nothing new was delivered to it for the dead time, and it was
    /// awake for a keepalive at the end of it (rules 1 and 4).
    pub fn is_deaf(&self, node: usize, other: usize, own: u64) -> bool {
        own + SLACK >= self.listeners[node].awake_since + self.plan.keepalive && self.is_silent(node, other, own)
    }

    fn is_silent(&self, node: usize, other: usize, own: u64) -> bool {
        let listener = self.listeners[node];
        let (since, limit) = match self.heard[node][other].own {
            Some(heard) => (heard, self.plan.deadtime),
            None => (listener.since, listener.first_limit),
        };
        own + SLACK >= since + limit
    }

    /// Against which nodes an order given by `node` now is excused, one bit each.
    /// `is_misled`: a line between the boards is stuck so that it tells the node that the other holds nothing.
    pub fn excused(&self, node: usize, own: u64, is_misled: bool) -> u8 {
        // With a fence or an interlock nothing but proof allows it.
        let is_allowed = match (self.plan.fence.is_empty(), self.plan.interlock_settle) {
            (true, None) => self.plan.policy == TakeoverPolicy::Available,
            (true, Some(_)) => is_misled,
            (false, _) => false,
        };
        (0..self.plan.nodes)
            .filter(|other| *other != node && self.is_deaf(node, *other, own))
            .filter(|other| is_allowed || self.heard[node][*other].is_vouched)
            .fold(0, |mask, other| mask | 1 << other)
    }

    /// An operator tells `node` to take over: with the partner silent, that is his word that it is off.
    pub fn vouched(&mut self, node: usize, own: u64) {
        for other in 0..self.plan.nodes {
            if other != node && self.is_silent(node, other, own) {
                self.heard[node][other].is_vouched = true;
                // A node that takes the other for off no longer keeps the promise on which that may rest.
                self.heard[other][node].is_vouched |= self.plan.lease.is_some();
            }
        }
    }

    /// The fence device of `node` confirms what is not so: until they hear each other, neither is to blame.
    pub fn lied(&mut self, node: usize, other: usize) {
        self.heard[node][other].is_vouched = true;
        self.heard[other][node].is_vouched = true;
    }

    /// `node` shoots at `other`.
    pub fn shot(&mut self, now: u64, own: u64, node: usize, other: usize, method: u8) {
        if !self.is_deaf(node, other, own) {
            let since = self.heard[node][other].at;
            let what = format!("node {node} shoots at node {other}, heard {} ms ago", (now - since) / 1000);
            self.accuse(now, "shot", what);
        }
        let called = [node, other].map(|node| self.shooters[node].called_dead);
        if let [Some(mine), Some(theirs)] = called
            && mine.abs_diff(theirs) <= self.plan.keepalive / 2
            && self.shooters[other].is_shooting
        {
            self.accuse(now, "shot", format!("node {node} shoots at node {other}, which shoots at it"));
        }
        let shooter = &mut self.shooters[node];
        shooter.is_shooting = true;
        shooter.shots.retain(|at| now < at + 3600 * S);
        shooter.shots.push(now);
        let limit = usize::from(self.plan.fencings_per_hour) * self.plan.devices();
        if shooter.shots.len() > limit {
            self.accuse(now, "shot", format!("node {node}: {} shots in an hour, method {method}", limit + 1));
        }
    }

    /// The shot of `node` that was under way has ended.
    pub fn shot_ended(&mut self, node: usize) {
        if let Some(shooter) = self.shooters.get_mut(node) {
            shooter.is_shooting = false;
        }
    }

    /// The clock of `node` has stood still: nobody can expect it to keep to a time.
    pub fn clock_stood_still(&mut self, node: usize) {
        if let Some(shooter) = self.shooters.get_mut(node) {
            shooter.called_dead = None;
        }
    }

    /// An operator has told `node` to carry on.
    pub fn resumed(&mut self, node: usize) {
        if let Some(shooter) = self.shooters.get_mut(node) {
            shooter.shots.clear();
        }
    }

    /// Rule 1: when a group comes into use where it is in use elsewhere, the later of the two orders must have been
    /// given by a node that could not help taking the other for dead, with the policy or the operator allowing it.
    /// An order that waited (frozen board, busy lane) counts by when it was given.
    pub fn use_began(&mut self, now: u64, node: usize, group: usize, boards: &[&[Use]]) {
        let mine = boards[node][group];
        for (other, uses) in boards.iter().enumerate() {
            let theirs = uses[group];
            if other == node || !theirs.is_in_use {
                continue;
            }
            let later_is_mine = mine.ordered_at >= theirs.ordered_at;
            let is_excused =
                if later_is_mine { mine.excused & 1 << other != 0 } else { theirs.excused & 1 << node != 0 };
            if !is_excused {
                let what = format!(
                    "group {group} comes into use on node {node} (ordered at {} ms) while in use on node {other} \
                     (ordered at {} ms), and the later order was given without need",
                    mine.ordered_at / 1000,
                    theirs.ordered_at / 1000
                );
                self.accuse(now, "exclusive", what);
            }
        }
        self.count_move(now, node, group);
    }

    fn count_move(&mut self, now: u64, node: usize, group: usize) {
        if self.last_user[group].replace(node).is_some_and(|last| last != node) {
            self.moves[group] += 1;
            if self.moves[group] > 2 * self.disturbances + 2 {
                let what = format!("group {group}: {} moves, {} disturbances", self.moves[group], self.disturbances);
                self.accuse(now, "steady", what);
            }
            let quiet = now.saturating_sub(self.last_disturbed);
            if quiet > 2 * self.plan.settling() + self.plan.failback_delay + 12 * S {
                self.accuse(now, "steady", format!("group {group} moves after {} ms of quiet", quiet / 1000));
            }
        }
    }

    /// A node calls another one dead.
    pub fn declared_dead(&mut self, now: u64, own: u64, node: usize, other: usize) {
        if let (Some(shooter), 0..2) = (self.shooters.get_mut(node), other) {
            shooter.called_dead = Some(now);
        }
        if !self.is_deaf(node, other, own) {
            let since = self.heard[node][other].at;
            let what = format!("node {node} calls node {other} dead, heard {} ms ago", (now - since) / 1000);
            self.accuse(now, "judge", what);
        }
    }

    /// A node took a turn because of a deadline and sent so many messages.
    pub fn turned(&mut self, now: u64, node: usize, ticks: u32, sent: u32) {
        if now / S != self.second {
            self.second = now / S;
            for listener in &mut self.listeners {
                listener.ticks = 0;
                listener.sent = 0;
            }
        }
        let listener = &mut self.listeners[node];
        let was_calm = listener.ticks <= TICKS_MAX && listener.sent <= SENT_MAX;
        listener.ticks += ticks;
        listener.sent += sent;
        if was_calm && (listener.ticks > TICKS_MAX || listener.sent > SENT_MAX) {
            let what = format!("node {node}: {} ticks, {} messages in this second", listener.ticks, listener.sent);
            self.accuse(now, "calm", what);
        }
    }

    /// An operator asked.
    pub fn asked(&mut self, now: u64, node: usize, id: RequestId) {
        self.pending.push(Pending { node, id, since: now });
    }

    /// A node answers a request.
    pub fn replied(&mut self, now: u64, node: usize, id: RequestId) {
        let Some(index) = self.pending.iter().position(|pending| pending.node == node && pending.id == id) else {
            self.accuse(now, "answered", format!("node {node} answers request {} that nobody waits for", id.0));
            return;
        };
        self.pending.remove(index);
    }

    /// A daemon says that it has released everything.
    pub fn exited(&mut self, now: u64, node: usize, uses: &[Use]) {
        for (group, _) in uses.iter().enumerate().filter(|(_, group)| group.is_in_use) {
            self.accuse(now, "clean end", format!("node {node} ends with group {group} in use"));
        }
    }

    /// Looks at everything that takes time.
    pub fn check(&mut self, view: &View<'_>) {
        for group in 0..self.plan.groups.len() {
            self.check_overlap(view, group);
            self.check_live(view, group);
        }
        self.check_requests(view);
        let is_contested =
            (0..self.plan.groups.len()).any(|group| view.nodes.iter().all(|node| node.uses[group].is_in_use));
        if !is_contested {
            self.sleepers = [None; 2];
            let can_act = view.nodes.iter().all(|node| node.is_healthy);
            for node in 0..2 {
                let is_heard = view.now < self.heard[node][1 - node].at + 5 * self.plan.keepalive / 2;
                self.drowsy[node] &= !(can_act && is_heard);
            }
        }
    }

    /// Rule 1, second half: an overlap ends once one of the two hears the other, unless a script stands in the way, or
    /// a stop that failed (then the board waits for a person).
    fn check_overlap(&mut self, view: &View<'_>, group: usize) {
        let uses = view.nodes.map(|node| node.uses[group]);
        let is_overlap = uses.iter().all(|group| group.is_in_use);
        let recent = |node: usize, other: usize| view.now < self.heard[node][other].at + 5 * self.plan.keepalive / 2;
        let can_know = recent(0, 1) || recent(1, 0);
        let can_act = view.nodes.iter().all(|node| node.is_healthy && !node.is_held) && !view.is_script_trouble;
        let is_stuck = uses.iter().any(|group| group.is_stuck);
        if !is_overlap || !can_know || !can_act || is_stuck {
            self.overlap_since[group] = view.now;
        } else if view.now > self.overlap_since[group] + self.bounds.heal {
            let lasted = (view.now - self.overlap_since[group]) / 1000;
            self.accuse(view.now, "healed", format!("group {group} on both boards for {lasted} ms although they meet"));
            self.overlap_since[group] = view.now + 60 * S;
        }
    }

    /// Rule 2.
    fn check_live(&mut self, view: &View<'_>, group: usize) {
        let users = view.nodes.iter().filter(|node| node.uses[group].is_in_use).count();
        let runs = view.nodes.iter().any(|node| node.is_healthy && node.uses[group].is_complete);
        if (users == 1 && runs) || !self.must_live(view, group) {
            self.bad_since[group] = view.now;
            return;
        }
        let youngest = view.nodes.iter().filter(|node| node.is_present).map(|node| node.since).max().unwrap_or(0);
        let is_starting = view.now < youngest + 2 * self.bounds.live + self.plan.initdead;
        let is_misled = self.misspoken.is_some_and(|at| view.now < at + 2 * ANSWER_TIME + self.bounds.live);
        let waits = u64::from(is_starting) * self.plan.initdead + u64::from(is_misled) * ANSWER_TIME;
        let bound = self.bounds.live + waits;
        let since = self.bad_since[group].max(self.last_disturbed);
        if view.now > since + bound {
            let what = format!("group {group} in use on {users} boards, {} ms undisturbed", (view.now - since) / 1000);
            self.accuse(view.now, "live", what);
            self.bad_since[group] = view.now + 60 * S;
        }
    }

    /// Whether somebody can be expected to run the group: nothing stands in the way; `safe` waits for a person when
    /// the partner is gone without a word to the engine that runs now; so do a hold, and, until somebody resumes, a start that failed.
    fn must_live(&self, view: &View<'_>, group: usize) -> bool {
        let [a, b] = view.nodes;
        let is_somebody_there = a.is_healthy || b.is_healthy;
        // A goodbye is proof to the engine that was there and could hear it, if whoever said it knew of that engine.
        let has_proof = |node: usize, other: usize| {
            let heard_at = self.heard[node][other].at;
            let (since, told_at) = (view.nodes[node].since, self.heard[other][node].at);
            view.nodes[other]
                .left_at
                .is_some_and(|left| left > since && told_at > since && left < heard_at + 5 * self.plan.keepalive / 2)
        };
        let waits_for_proof = self.plan.policy == TakeoverPolicy::Safe
            && self.plan.fence.is_empty()
            && self.plan.interlock_settle.is_none()
            && !(a.is_healthy && b.is_healthy)
            && !(has_proof(0, 1) || has_proof(1, 0));
        // A daemon that was told to end and cannot stop one group has not said goodbye: nothing of it may be taken.
        let is_stuck_ending = |node: &Seen<'_>| node.is_stopping && node.uses.iter().any(|group| group.is_stuck);
        let needs_person = |node: &Seen<'_>| {
            node.is_held
                || node.needs_person
                || is_stuck_ending(node)
                || node.start_failed & 1 << group != 0
                || node.uses[group].is_stuck
        };
        let waits_for_person = !view.is_tidy && view.nodes.iter().any(needs_person);
        is_somebody_there && !view.is_disturbed && !view.is_script_trouble && !waits_for_proof && !waits_for_person
    }

    /// Whether all is as it shall be: each group runs on one board, nobody waits for anything or for anybody.
    pub fn is_in_order(&self, view: &View<'_>) -> bool {
        let is_placed = |group: usize| {
            let users = view.nodes.iter().filter(|node| node.uses[group].is_in_use).count();
            users == 1 && view.nodes.iter().any(|node| node.is_healthy && node.uses[group].is_complete)
        };
        let is_at_rest = |node: &Seen<'_>| {
            node.is_healthy && !node.is_held && !node.is_stopping && !node.needs_person && node.start_failed == 0
        };
        self.pending.is_empty()
            && !view.is_disturbed
            && !view.is_script_trouble
            && view.nodes.iter().all(is_at_rest)
            && (0..self.plan.groups.len()).all(is_placed)
    }

    fn check_requests(&mut self, view: &View<'_>) {
        let bound = self.bounds.request;
        let start = self.last_disturbed;
        let is_excused = view.is_disturbed || view.is_script_trouble;
        let overdue: Vec<Pending> = self
            .pending
            .iter()
            .filter(|pending| !is_excused && view.now > pending.since.max(start) + bound)
            .copied()
            .collect();
        for pending in overdue {
            let waits = (view.now - pending.since) / 1000;
            self.accuse(
                view.now,
                "answered",
                format!("node {}: request {} waits {waits} ms", pending.node, pending.id.0),
            );
            self.pending.retain(|other| other.id != pending.id || other.node != pending.node);
        }
    }

    /// The end: nothing may be waiting.
    pub fn finish(&mut self, now: u64) {
        for pending in std::mem::take(&mut self.pending) {
            self.accuse(now, "answered", format!("node {}: request {} has no answer", pending.node, pending.id.0));
        }
    }
}

#[cfg(test)]
mod tests;
