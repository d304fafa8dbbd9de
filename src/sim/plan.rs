//! What happens in one run: the cluster, its settings, the faults with their times. Drawn from a seed, or written by hand.

use std::fmt;

use super::fault::{DeviceFault, FENCE, Fault, HEALTH, LINES, LOST, Noise, RELOAD, ScriptFault, UPSTREAM, WORD};
use super::rng::Rng;
use crate::core::ids::{GroupId, GroupSet, LinkId, LinkSet, NodeId};
use crate::core::message::{Body, Holds, StandbyWord};
use crate::core::settings::{AutoFailback, FenceKind, SplitBrainLoser, TakeoverPolicy};
use crate::core::{InputLine, LineLevel, Request};

/// One millisecond.
pub const MS: u64 = 1_000;
/// One second.
pub const S: u64 = 1_000_000;

/// What a link is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// Datagrams: this long on the way, microseconds from–to.
    Udp {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// A line with a FIFO of 4096 bytes before it.
    Serial {
        /// Bits per second, ten bits a byte.
        baud: u64,
    },
}

/// One resource group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPlan {
    /// Preferred node.
    pub preferred: usize,
    /// Longest time of `status`, microseconds.
    pub status: u64,
    /// Longest time of all `start`s together.
    pub start: u64,
    /// Longest time of all `stop`s together.
    pub stop: u64,
}

/// One way to fence the other board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FencePlan {
    /// What it is.
    pub kind: FenceKind,
    /// Its time limit, microseconds.
    pub limit: u64,
}

/// The watchdog lease of both boards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePlan {
    /// How long a node kicks after the sending of what was acknowledged last, microseconds.
    pub kick_for: u64,
    /// How long after the last kick its watchdog resets the board.
    pub timeout: u64,
}

impl LeasePlan {
    /// What a node promises.
    pub const fn reset_within(&self) -> u64 {
        self.kick_for + self.timeout + 20 * MS
    }
}

/// Health checks, the same on both nodes: one of the node, one of each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthPlan {
    /// From a change to its being told, at most, microseconds.
    pub interval: u64,
    /// How long the other must have been better off.
    pub holdoff: u64,
    /// Restarts in place.
    pub restarts: u8,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything random in the run depends on it.
    pub seed: u64,
    /// Nodes; the first two own groups, further ones only talk.
    pub nodes: usize,
    /// Links, each joining all nodes.
    pub links: Vec<Medium>,
    /// Groups.
    pub groups: Vec<GroupPlan>,
    /// `keepalive`, microseconds.
    pub keepalive: u64,
    /// `deadtime`.
    pub deadtime: u64,
    /// `initdead`.
    pub initdead: u64,
    /// `auto_failback`, the same on both nodes.
    pub auto_failback: AutoFailback,
    /// `failback_delay`.
    pub failback_delay: u64,
    /// `moves_per_hour`.
    pub moves_per_hour: u16,
    /// `takeover_policy`.
    pub policy: TakeoverPolicy,
    /// `split_brain_loser`.
    pub loser: SplitBrainLoser,
    /// `on_stop_failure reboot` rather than `hold`.
    pub is_reset_on_stop_failure: bool,
    /// `script_timeout`.
    pub script_limit: u64,
    /// From power to the daemon's start.
    pub boot: u64,
    /// When each board gets power first.
    pub power_on: Vec<u64>,
    /// Extensions are taken out of all messages: each node takes the other for a Heartbeat.
    pub is_stripped: bool,
    /// Messages go through the real encoder and decoder.
    pub is_wire: bool,
    /// There is a ping node, and groups go to the node that reaches it.
    pub has_upstream: bool,
    /// Ways to fence the other board, the same on both; none: no fence.
    pub fence: Vec<FencePlan>,
    /// `fence_settle`.
    pub fence_settle: u64,
    /// Fencings in an hour.
    pub fencings_per_hour: u8,
    /// Watchdogs, and the lease that `fence watchdog-lease` promises.
    pub lease: Option<LeasePlan>,
    /// `interlock gpio`, and `interlock_settle`.
    pub interlock_settle: Option<u64>,
    /// There is a line that says who owns, whether or not anybody reads it.
    pub has_owner_line: bool,
    /// Health checks.
    pub health: Option<HealthPlan>,
    /// Senders hear their own messages come back on this link.
    pub echo: LinkSet,
    /// Faults in the order of time.
    pub faults: Vec<(u64, Fault)>,
    /// When all faults have ended and every board has been given power again.
    pub calm_at: u64,
    /// When an operator tidies up: resumes, clears what failed.
    pub tidy_at: u64,
    /// End of the run.
    pub end: u64,
}

impl Plan {
    /// Two nodes, a UDP path and a serial line, one group at home on node 0, no faults, no randomness but small delays.
    pub fn quiet() -> Self {
        Self {
            seed: 0,
            nodes: 2,
            links: vec![Medium::Udp { min: 200, max: 400 }, Medium::Serial { baud: 115_200 }],
            groups: vec![GroupPlan { preferred: 0, status: 10 * MS, start: 50 * MS, stop: 50 * MS }],
            keepalive: 200 * MS,
            deadtime: S,
            initdead: 4 * S,
            auto_failback: AutoFailback::On,
            failback_delay: 0,
            moves_per_hour: 0,
            policy: TakeoverPolicy::Available,
            loser: SplitBrainLoser::NotPreferred,
            is_reset_on_stop_failure: false,
            script_limit: 5 * S,
            boot: 500 * MS,
            power_on: vec![0, 0],
            is_stripped: false,
            is_wire: false,
            has_upstream: false,
            fence: Vec::new(),
            fence_settle: 3 * S,
            fencings_per_hour: 3,
            lease: None,
            interlock_settle: None,
            has_owner_line: false,
            health: None,
            echo: LinkSet::EMPTY,
            faults: Vec::new(),
            calm_at: u64::MAX,
            tidy_at: u64::MAX,
            end: u64::MAX,
        }
    }

    /// The plan of `seed`.
    pub fn generate(seed: u64) -> Self {
        let mut plan = Self::generate_plain(seed);
        plan.draw_legacy();
        plan.draw_fence();
        plan.draw_lines();
        plan.draw_lease();
        plan.draw_health();
        plan.draw_lost();
        plan.draw_wishes();
        plan.draw_rush();
        crate::order::sort(&mut plan.faults, |(a, _), (b, _)| a < b);
        plan.set_end();
        plan
    }

    /// The plan that `seed` had before there were fences: seeds that broke a rule then are played as they were.
    pub fn generate_plain(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let mut plan = Self { seed, ..Self::quiet() };
        plan.draw_cluster(&mut rng);
        plan.draw_settings(&mut rng);
        let span = (plan.deadtime * rng.range(20, 40)).max(30 * S);
        for _ in 0..rng.range(6, 11) {
            let at = rng.below(span);
            if let Some(fault) = plan.draw_fault(&mut rng) {
                plan.faults.push((at, fault));
            }
        }
        plan.draw_reloads(span);
        plan.draw_upstream(span);
        crate::order::sort(&mut plan.faults, |(a, _), (b, _)| a < b);
        plan.calm_at = span;
        plan.set_end();
        plan
    }

    fn set_end(&mut self) {
        self.tidy_at = self.calm_at + self.boot + self.settling();
        self.end = self.tidy_at + self.boot + 2 * self.settling() + self.failback_delay + 5 * S;
    }

    /// Whether the run may end as soon as everything has been in order for [`Plan::calm_enough`]. Every eighth runs to its end:
    /// what moves late, with nothing to cause it, is found there.
    pub fn has_early_end(&self) -> bool {
        !self.seed.is_multiple_of(8)
    }

    /// So long in order, a cluster is in order.
    pub fn calm_enough(&self) -> u64 {
        self.settling() / 2 + self.failback_delay
    }

    /// An upper bound for the time in which all groups can be stopped and started once, one after another.
    pub fn scripts(&self) -> u64 {
        self.groups.iter().map(|group| group.status * 2 + group.start + group.stop).sum()
    }

    /// Time within which a cluster that nothing disturbs any more is in order (design.md rule 2): a node that just
    /// started waits for `initdead`, a death takes `deadtime`, then all scripts may have to run, and what a node says
    /// only with every tenth beat may have to be heard. Towards a Heartbeat come the ten seconds of resources.md 9.2.
    pub fn settling(&self) -> u64 {
        // A ping node takes its dead time and the hold-off; its news lead to one move more.
        let upstream = if self.has_upstream { self.deadtime + self.holdoff() + 2 * self.scripts() } else { 0 };
        // Backing off and a line that has to be found out; each hand-over waits for the lines.
        let lines =
            self.interlock_settle.map_or(0, |settle| 24 * self.keepalive + 2 * self.deadtime + 8 * settle + 10 * S);
        // Each restart is told anew; then the hold-off, and the way to the other node and back.
        let health = self.health.map_or(0, |health| {
            (2 + u64::from(health.restarts)) * (health.interval + self.scripts()) + health.holdoff + 2 * self.scripts()
        });
        let fencing = self.fencing() + lines + health;
        self.initdead
            + self.deadtime
            + 12 * self.keepalive
            + 2 * self.scripts()
            + self.courtesy()
            + upstream
            + fencing
            + S
    }

    /// Time within which a fence that works has confirmed: the slots of the other board, a result that was lost before,
    /// with the ten seconds until that is noticed, and the pause between two rounds.
    pub fn fencing(&self) -> u64 {
        if self.fence.is_empty() {
            return 0;
        }
        let slot: u64 = self.fence.iter().filter(|method| method.kind == FenceKind::Device).map(|m| m.limit).sum();
        let lease = self.lease.map_or(0, |lease| lease.reset_within() * 11 / 10 + self.boot);
        6 * (slot + 2 * self.keepalive) + self.fence_settle + self.boot + lease + 15 * S
    }

    /// How many of the ways to fence are devices.
    pub fn devices(&self) -> usize {
        self.fence.iter().filter(|method| method.kind == FenceKind::Device).count()
    }

    /// How much longer a node waits when it takes the other for a Heartbeat: ten seconds for its start (resources.md
    /// 9.2), as long for it to drop what both hold after a partition (resources.md 13).
    pub fn courtesy(&self) -> u64 {
        if self.is_stripped { 12 * S } else { 0 }
    }

    fn draw_cluster(&mut self, rng: &mut Rng) {
        self.keepalive = rng.pick(&[100, 200, 200, 250, 500, 1000]) * MS;
        self.deadtime = self.keepalive * rng.pick(&[4, 5, 5, 6, 10]);
        self.initdead = self.deadtime * rng.pick(&[2, 2, 3, 4]);
        self.is_stripped = rng.chance(80);
        self.is_wire = rng.chance(100);
        self.nodes = if rng.chance(60) { rng.pick(&[3, 4]) } else { 2 };
        self.links = (0..rng.pick(&[1, 2, 2, 2, 3])).map(|_| self.draw_medium(rng)).collect();
        if rng.chance(80) {
            self.echo = LinkSet::only(LinkId(0));
        }
        self.boot = rng.range(100 * MS, 2 * self.deadtime);
        self.power_on = (0..self.nodes).map(|_| rng.below(2 * self.initdead) * u64::from(rng.chance(500))).collect();
        let scale = rng.pick(&[1, 1, 4, 20]);
        let home = rng.pick(&[0, 1, 2, 2]);
        self.groups = (0..rng.range(1, 6))
            .map(|_| GroupPlan {
                preferred: if home == 2 { rng.index(2) } else { home },
                status: scale * rng.range(2, 10) * MS,
                start: scale * rng.range(5, 50) * MS,
                stop: scale * rng.range(5, 50) * MS,
            })
            .collect();
        self.script_limit = rng.range(2, 6) * S;
    }

    /// A line must carry at least three times the beats of all nodes, else `nullbeat check` would complain.
    fn draw_medium(&self, rng: &mut Rng) -> Medium {
        if rng.chance(400) {
            let needed = 3 * 250 * 10 * S / self.keepalive;
            let fit: Vec<u64> = [9_600, 19_200, 38_400, 57_600, 115_200].into_iter().filter(|b| *b >= needed).collect();
            return Medium::Serial { baud: if fit.is_empty() { 115_200 } else { rng.pick(&fit) } };
        }
        let min = rng.range(50, 2000);
        Medium::Udp { min, max: min + rng.range(10, 5000) }
    }

    fn draw_settings(&mut self, rng: &mut Rng) {
        self.auto_failback = rng.pick(&[AutoFailback::On, AutoFailback::On, AutoFailback::Off, AutoFailback::Legacy]);
        self.failback_delay = rng.pick(&[0, 0, 2 * S, 5 * S]);
        self.moves_per_hour = rng.pick(&[0, 0, 0, 6, 20]);
        self.policy = rng.pick(&[TakeoverPolicy::Available, TakeoverPolicy::Available, TakeoverPolicy::Safe]);
        self.loser = rng.pick(&[
            SplitBrainLoser::NotPreferred,
            SplitBrainLoser::NotPreferred,
            SplitBrainLoser::Node(NodeId(0)),
            SplitBrainLoser::Node(NodeId(1)),
        ]);
        self.is_reset_on_stop_failure = rng.chance(500);
    }

    /// A length of time that matters: a fraction of the dead time, about the dead time, or several.
    fn draw_length(&self, rng: &mut Rng) -> u64 {
        let permille = match rng.below(4) {
            0 => rng.range(20, 500),
            1 => rng.range(500, 1000),
            2 => rng.range(1000, 2000),
            _ => rng.range(2000, 8000),
        };
        self.deadtime * permille / 1000
    }

    fn draw_fault(&self, rng: &mut Rng) -> Option<Fault> {
        let kind = rng.index(RELOAD);
        let fault = self.fault_of_kind(kind, rng);
        (!self.is_stripped || self.is_fair_to_heartbeats(&fault)).then_some(fault)
    }

    /// Two nodes which both take the other for a Heartbeat each wait for the other to release everything after a
    /// partition (rule 1a), as only a Heartbeat does. So no partition there: nothing that silences a living node for
    /// its dead time.
    fn is_fair_to_heartbeats(&self, fault: &Fault) -> bool {
        match fault {
            Fault::KillAll { has_stop_action, .. } => *has_stop_action,
            Fault::Cut { links, .. } | Fault::Flap { links, .. } => links.len() < self.links.len(),
            Fault::Freeze { lasts, .. } => *lasts < self.deadtime / 2,
            // What is damaged is lost.
            Fault::Noise { links, noise, .. } => {
                noise.loss == 0 && (noise.corrupt == 0 || links.len() < self.links.len())
            }
            Fault::DeviceLost { .. } => false,
            _ => true,
        }
    }

    /// From numbers of their own: they came later, and the seeds that met other faults before still meet them.
    fn draw_reloads(&mut self, span: u64) {
        let mut rng = Rng::new(self.seed, 4);
        if rng.chance(150) {
            let at = rng.below(span);
            let fault = self.fault_of_kind(RELOAD, &mut rng);
            self.faults.push((at, fault));
        }
    }

    /// As reloads.
    fn draw_upstream(&mut self, span: u64) {
        let mut rng = Rng::new(self.seed, 5);
        self.has_upstream = rng.chance(200);
        if self.has_upstream {
            for _ in 0..rng.range(1, 4) {
                let at = rng.below(span);
                let fault = self.fault_of_kind(UPSTREAM, &mut rng);
                self.faults.push((at, fault));
            }
        }
    }

    /// More pairs that take each other for Heartbeats in legacy mode than chance would make, over links that work: several
    /// bad ones at once are a partition.
    fn draw_legacy(&mut self) {
        if Rng::new(self.seed, 11).chance(40) {
            (self.is_stripped, self.auto_failback) = (true, AutoFailback::Legacy);
            let is_of_links =
                |fault: &Fault| matches!(fault, Fault::Cut { .. } | Fault::Flap { .. } | Fault::Noise { .. });
            let faults = std::mem::take(&mut self.faults);
            let is_fair = |fault: &Fault| self.is_fair_to_heartbeats(fault) && !is_of_links(fault);
            self.faults = faults.into_iter().filter(|(_, fault)| is_fair(fault)).collect();
        }
    }

    /// As reloads. Two nodes that take each other for Heartbeats have none.
    fn draw_fence(&mut self) {
        let mut rng = Rng::new(self.seed, 6);
        if self.is_stripped || !rng.chance(300) {
            return;
        }
        let device = |rng: &mut Rng| FencePlan { kind: FenceKind::Device, limit: rng.range(200, 1500) * MS };
        let manual = FencePlan { kind: FenceKind::Manual, limit: 0 };
        self.fence = match rng.below(8) {
            0 => vec![manual],
            1 => vec![device(&mut rng), manual],
            2 | 3 => vec![device(&mut rng), device(&mut rng)],
            _ => vec![device(&mut rng)],
        };
        self.fence_settle = rng.range(2, 6) * S;
        self.fencings_per_hour = rng.pick(&[2, 3, 3, 6]);
        let span = self.calm_at;
        for _ in 0..rng.range(1, 5) {
            let kind = rng.pick(&[0, 1, 10, 10, 12, FENCE, FENCE + 1, FENCE + 2, FENCE + 3, FENCE + 4]);
            let at = rng.below(span);
            let fault = self.fault_of_kind(kind, &mut rng);
            self.faults.push((at, fault));
        }
    }

    /// As fences. Lines make sense where one board holds all.
    fn draw_lines(&mut self) {
        let mut rng = Rng::new(self.seed, 7);
        if self.is_stripped || !rng.chance(250) {
            return;
        }
        self.interlock_settle = Some(rng.range(20, 200) * MS);
        // One line for all groups: they have one home.
        let home = self.groups[0].preferred;
        self.groups.iter_mut().for_each(|group| group.preferred = home);
        let span = self.calm_at;
        for _ in 0..rng.range(1, 5) {
            let kind = rng.pick(&[0, 1, 10, 10, 12, LINES, LINES, LINES + 1, LINES + 2, LINES + 3]);
            let at = rng.below(span);
            let fault = self.fault_of_kind(kind, &mut rng);
            self.faults.push((at, fault));
        }
    }

    /// As fences. A watchdog runs on while its board does not, and so does the board's clock: a paused virtual machine,
    /// for which both stand still, can promise nothing.
    fn draw_lease(&mut self) {
        let mut rng = Rng::new(self.seed, 8);
        if self.is_stripped || !self.fence.is_empty() || self.interlock_settle.is_some() || !rng.chance(200) {
            return;
        }
        self.fence = vec![FencePlan { kind: FenceKind::WatchdogLease, limit: 0 }];
        self.lease = Some(LeasePlan {
            kick_for: self.keepalive * rng.range(4, 20),
            timeout: self.deadtime * rng.range(500, 2500) / 1000,
        });
        let span = self.calm_at;
        for _ in 0..rng.range(1, 5) {
            let kind = rng.pick(&[0, 2, 3, 4, 8, 10, 10, 10, 12, 12, 25]);
            let at = rng.below(span);
            let fault = self.fault_of_kind(kind, &mut rng);
            self.faults.push((at, fault));
        }
        self.keep_clocks_running();
    }

    fn keep_clocks_running(&mut self) {
        for (_, fault) in &mut self.faults {
            if let Fault::Freeze { is_clock_running, .. } = fault {
                *is_clock_running = true;
            }
        }
    }

    /// As fences; not beside a lease.
    fn draw_health(&mut self) {
        let mut rng = Rng::new(self.seed, 8);
        if self.lease.is_some() || !rng.chance(250) {
            return;
        }
        let interval = rng.range(200, 2000) * MS;
        let holdoff = 2 * interval + rng.range(0, 1000) * MS;
        self.health = Some(HealthPlan { interval, holdoff, restarts: u8::try_from(rng.below(4)).unwrap_or(0) });
        let span = self.calm_at;
        for _ in 0..rng.range(1, 6) {
            let kind = HEALTH + rng.pick(&[0, 0, 0, 1, 1, 2, 3, 4]);
            let at = rng.below(span);
            let fault = self.fault_of_kind(kind, &mut rng);
            self.faults.push((at, fault));
        }
    }

    /// As reloads. A Heartbeat cannot tell what it has heard, nor does a third node; and where messages of the past are said again, one of a run
    /// that this node has forgotten cannot be told from one of a run to come.
    fn draw_lost(&mut self) {
        let mut rng = Rng::new(self.seed, 9);
        let has_replay = self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Replay { .. }));
        if self.is_stripped || self.nodes > 2 || has_replay || !rng.chance(150) {
            return;
        }
        let at = rng.below(self.calm_at);
        let fault = self.fault_of_kind(LOST, &mut rng);
        self.faults.push((at, fault));
    }

    /// As reloads: a script of somebody's that wants a group here (`req_resource`).
    fn draw_wishes(&mut self) {
        let mut rng = Rng::new(self.seed, 10);
        for _ in 0..if rng.chance(150) { rng.range(1, 3) } else { 0 } {
            let (at, node) = (rng.below(self.calm_at), rng.index(2));
            let group = GroupId(u8::try_from(rng.index(self.groups.len())).unwrap_or(0));
            self.faults.push((at, Fault::operator(node, Request::Obtain(group))));
        }
    }

    /// As reloads: a hand-over, and in the middle of it whatever hits hardest there.
    fn draw_rush(&mut self) {
        let mut rng = Rng::new(self.seed, 12);
        self.has_owner_line = rng.chance(200);
        // Two nodes that take each other for Heartbeats have no proof of anything, as two Heartbeats have none.
        if self.is_stripped || !rng.chance(400) {
            return;
        }
        let mut begin = rng.below(self.calm_at);
        let span = 2 * self.scripts() + 2 * self.keepalive;
        let kinds = [0, 2, 2, 2, 4, 5, 6, 7, 8, 10, 12, 21, 25, 25, 26, 26, 27, 28, 29, FENCE + 4];
        if self.devices() > 0 {
            // They have just lost each other, and an agent has not noticed that they are together again.
            let lasts = self.deadtime + rng.range(50, 600) * MS;
            let kind = rng.pick(&[DeviceFault::Hangs, DeviceFault::Lies]);
            let links = LinkSet::first(self.links.len());
            let (node, stands) = (rng.index(2), 3 * self.deadtime);
            self.faults.push((begin, Fault::Cut { links, from: None, lasts }));
            self.faults.push((begin, Fault::Device { node, method: None, kind, lasts: stands }));
            begin += lasts + rng.range(10, 500) * MS;
        }
        for number in 0..rng.range(3, 9) {
            let kind = match number {
                0 => 25,
                // The encoder knows no messages but those of the core.
                _ if !self.is_wire && rng.chance(400) => WORD,
                _ => rng.pick(&kinds),
            };
            let fault = self.fault_of_kind(kind, &mut rng);
            let at = if number == 0 { begin } else { begin + rng.below(span) };
            if at < self.calm_at {
                self.faults.push((at, fault));
            }
        }
        if self.lease.is_some() {
            self.keep_clocks_running();
        }
    }

    /// `upstream_holdoff`.
    pub fn holdoff(&self) -> u64 {
        2 * self.keepalive
    }

    fn fault_of_kind(&self, kind: usize, rng: &mut Rng) -> Fault {
        let node = rng.index(self.nodes.min(2));
        let lasts = self.draw_length(rng);
        let one = LinkSet::only(LinkId(u8::try_from(rng.index(self.links.len())).unwrap_or(0)));
        let all = LinkSet::first(self.links.len());
        let some = if rng.chance(500) { one } else { all };
        let noise = |noise| Fault::Noise { links: some, noise, lasts: lasts * 2 };
        let bad = rng.range(20, 500);
        let back_after = lasts;
        match kind {
            0 => Fault::PowerLoss { node, off_for: lasts },
            1 => Fault::PowerLossInScript { node, off_for: lasts },
            2 => {
                Fault::EngineCrash { node, respawn_after: if rng.chance(700) { rng.range(2, 80) * MS } else { lasts } }
            }
            3 => Fault::EngineStall { node, lasts },
            4 | 5 => Fault::Freeze { node, lasts, is_clock_running: kind == 4, keeps_arrivals: rng.chance(500) },
            6 | 7 => Fault::KillAll { node, back_after, has_stop_action: kind == 6 },
            8 => Fault::GuardianGone { node, lasts },
            9 => Fault::Cut { links: one, from: None, lasts },
            10 => Fault::Cut { links: all, from: None, lasts },
            11 => Fault::Cut { links: one, from: Some(node), lasts },
            12 => Fault::Cut { links: all, from: Some(node), lasts },
            13 => Fault::Flap { links: some, period: (lasts / 8).max(20 * MS), lasts: lasts * 2 },
            14 => noise(Noise { loss: bad, ..Noise::default() }),
            15 => noise(Noise { duplicate: bad, ..Noise::default() }),
            16 => noise(Noise { reorder: bad, delay: rng.range(1, self.deadtime / 2), ..Noise::default() }),
            17 => noise(Noise { corrupt: bad, ..Noise::default() }),
            18 => Fault::DeviceLost { node, links: some, lasts },
            19 => Fault::Replay { to: node, count: usize::try_from(rng.range(1, 40)).unwrap_or(1) },
            20..=23 => self.script_fault(kind, node, lasts, rng),
            RELOAD => {
                let is_changed = |_: &GroupId| rng.chance(500);
                Fault::Reload { node, changed: GroupSet::first(self.groups.len()).iter().filter(is_changed).collect() }
            }
            UPSTREAM => Fault::UpstreamLost { node, lasts: lasts * 2 },
            FENCE.. if kind < FENCE + 4 => {
                let method = rng.chance(500).then(|| u8::try_from(rng.index(self.fence.len().max(1))).unwrap_or(0));
                let kinds = [DeviceFault::Fails, DeviceFault::Hangs, DeviceFault::Lies, DeviceFault::Late];
                Fault::Device { node, method, kind: kinds[kind - FENCE], lasts: lasts * 3 }
            }
            FENCE..LINES => Fault::operator(node, Request::ConfirmFence),
            LOST => Fault::GenerationLost { node, off_for: lasts, by: u32::try_from(rng.range(1, 40)).unwrap_or(1) },
            WORD => Fault::Word { node, word: Self::word(rng) },
            HEALTH.. => self.health_fault(kind, node, lasts, rng),
            LINES.. => {
                let any = rng.pick(&[LineLevel::Active, LineLevel::Inactive]);
                let other = rng.pick(&[InputLine::PeerAlive, InputLine::Maintenance]);
                let (line, level) = match kind - LINES {
                    0 => (InputLine::PeerOwner, LineLevel::Active),
                    1 => (InputLine::PeerOwner, LineLevel::Inactive),
                    2 => (InputLine::PeerPower, any),
                    _ => (other, any),
                };
                Fault::Line { node, line, level, lasts: lasts * 3 }
            }
            24 => Fault::WallStep { node, by: rng.pick(&[-2_000_000_000, -3600, -1, 1, 3600, 1_000_000_000]) },
            _ => Self::operator_verb(kind, node, lasts, rng),
        }
    }

    /// A word that says nothing of what runs where: that nobody could see through.
    fn word(rng: &mut Rng) -> Body<'static> {
        let set = rng.pick(&[Holds::ALL, Holds::LOCAL, Holds::FOREIGN]);
        let standby = |word| Body::AskResources { set, word, only: None, after_failure: false };
        match rng.below(7) {
            0 => Body::Starting,
            1 => standby(StandbyWord::Me),
            2 => standby(StandbyWord::Other),
            3 => standby(StandbyWord::Done),
            4 => Body::Takeover { set: Some(set) },
            5 => Body::IpRequest { key: "", group: None },
            _ => Body::IpRequestResp { key: "", group: None, is_ok: false },
        }
    }

    fn health_fault(&self, kind: usize, node: usize, lasts: u64, rng: &mut Rng) -> Fault {
        let group = rng.chance(700).then(|| rng.index(self.groups.len()));
        let holdoff = self.health.map_or(S, |health| health.holdoff);
        match kind - HEALTH {
            0 => Fault::ServiceDies { node, group, lasts: if rng.chance(500) { MS } else { lasts * 2 } },
            1 => Fault::UpstreamDead { node: rng.chance(400).then_some(node), lasts: lasts * 4 + holdoff },
            2 => Fault::CheckLies { node, group, period: 0, lasts: lasts * 3 },
            3 => Fault::CheckLies { node, group, period: rng.range(1, holdoff / 2), lasts: lasts * 3 },
            _ => Fault::CheckerGone { node, lasts: lasts * 3 },
        }
    }

    fn script_fault(&self, kind: usize, node: usize, lasts: u64, rng: &mut Rng) -> Fault {
        let kind = match kind {
            20 => ScriptFault::StartFails,
            21 => ScriptFault::StopFails,
            22 => rng.pick(&[ScriptFault::StartHangs, ScriptFault::StopHangs]),
            _ => ScriptFault::Slow,
        };
        let group = rng.chance(500).then(|| rng.index(self.groups.len()));
        Fault::Scripts { node, group, kind, lasts: lasts * 3 }
    }

    fn operator_verb(kind: usize, node: usize, lasts: u64, rng: &mut Rng) -> Fault {
        let set = rng.pick(&[Holds::ALL, Holds::LOCAL, Holds::FOREIGN]);
        let request = match kind {
            25 => Request::Standby(set),
            26 => Request::Takeover(set),
            27 => Request::Failback(set),
            28 => rng.pick(&[Request::Hold, Request::Hold, Request::Resume]),
            _ => Request::Stop,
        };
        Fault::Operator { node, request, back_after: lasts }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: u64| micros / MS;
        writeln!(
            f,
            "seed {}: {} nodes, power at {:?} ms",
            self.seed,
            self.nodes,
            self.power_on.iter().map(|at| ms(*at)).collect::<Vec<_>>()
        )?;
        writeln!(f, "  links {:?}, echo on {:?}", self.links, self.echo)?;
        for (index, group) in self.groups.iter().enumerate() {
            let (status, start, stop) = (ms(group.status), ms(group.start), ms(group.stop));
            writeln!(
                f,
                "  group {index} at home on node {}, status {status} ms, start {start} ms, stop {stop} ms",
                group.preferred
            )?;
        }
        writeln!(
            f,
            "  keepalive {} ms, deadtime {} ms, initdead {} ms, boot {} ms, scripts' limit {} ms",
            ms(self.keepalive),
            ms(self.deadtime),
            ms(self.initdead),
            ms(self.boot),
            ms(self.script_limit)
        )?;
        writeln!(
            f,
            "  auto_failback {:?} after {} ms, moves_per_hour {}, takeover_policy {:?}, split_brain_loser {:?}",
            self.auto_failback,
            ms(self.failback_delay),
            self.moves_per_hour,
            self.policy,
            self.loser
        )?;
        writeln!(
            f,
            "  reset on stop failure {}, without extensions {}, through the encoder {}, ping node {}",
            self.is_reset_on_stop_failure, self.is_stripped, self.is_wire, self.has_upstream
        )?;
        if !self.fence.is_empty() {
            let methods: Vec<_> = self.fence.iter().map(|method| (method.kind, ms(method.limit))).collect();
            let (settle, limit) = (ms(self.fence_settle), self.fencings_per_hour);
            writeln!(f, "  fence {methods:?}, settle {settle} ms, {limit} an hour")?;
        }
        if let Some(lease) = self.lease {
            writeln!(f, "  lease {} ms, watchdog {} ms", ms(lease.kick_for), ms(lease.timeout))?;
        }
        if self.has_owner_line {
            writeln!(f, "  line owner")?;
        }
        if let Some(settle) = self.interlock_settle {
            writeln!(f, "  interlock, settle {} ms", ms(settle))?;
        }
        if let Some(health) = self.health {
            let (interval, holdoff) = (ms(health.interval), ms(health.holdoff));
            writeln!(f, "  checks told within {interval} ms, hold-off {holdoff} ms, {} restarts", health.restarts)?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "  {:>8} ms {fault:?}", ms(*at))?;
        }
        writeln!(f, "  {:>8} ms calm, {} ms tidy, {} ms end", ms(self.calm_at), ms(self.tidy_at), ms(self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::fault::KINDS;

    #[test]
    fn same_seed_same_plan() {
        assert_eq!(format!("{:?}", Plan::generate(3)), format!("{:?}", Plan::generate(3)));
        assert_ne!(format!("{:?}", Plan::generate(3)), format!("{:?}", Plan::generate(4)));
    }

    #[test]
    fn every_fault_kind_is_drawn_as_itself() {
        let plan = Plan::quiet();
        let mut rng = Rng::new(0, 0);
        for (kind, name) in KINDS.iter().enumerate() {
            let drawn = plan.fault_of_kind(kind, &mut rng);
            assert_eq!(KINDS[drawn.kind(plan.links.len())], *name, "{drawn:?}");
        }
    }

    #[test]
    fn faults_come_in_order_and_before_calm() {
        for seed in 0..50 {
            let plan = Plan::generate(seed);
            assert!(plan.faults.is_sorted_by_key(|(at, _)| *at));
            assert!(plan.faults.iter().all(|(at, _)| *at < plan.calm_at));
            assert!(plan.calm_at < plan.tidy_at && plan.tidy_at < plan.end);
        }
    }
}
