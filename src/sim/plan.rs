//! What happens in one run: the cluster, its settings, the faults with their times. Drawn from a seed, or written by hand.

use super::fault::Fault;
use super::rng::Rng;
use crate::core::ids::LinkSet;
use crate::core::settings::{AutoFailback, FenceKind, SplitBrainLoser, TakeoverPolicy};

mod draw;
mod faults;
mod show;

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
    /// `keepalive` of the slowest link, microseconds.
    pub keepalive: u64,
    /// Of each link; nothing: that one.
    pub paces: Vec<u64>,
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
    /// The second node is the model of a Heartbeat (`heartbeat.rs`); then `is_stripped` too.
    pub has_heartbeat: bool,
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
    /// It runs to its end even when all has long been in order.
    pub is_played_out: bool,
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
            paces: Vec::new(),
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
            has_heartbeat: false,
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
            is_played_out: false,
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
        plan.draw_heartbeat();
        plan.part_stalls_from_guardians();
        plan.draw_paces();
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

    /// Whether the run may end as soon as everything has been in order for [`Plan::calm_enough`]. Every sixteenth runs to its
    /// end: what moves late, with nothing to cause it, is found there.
    pub fn has_early_end(&self) -> bool {
        !self.is_played_out && !self.seed.is_multiple_of(16)
    }

    /// So long in order, a cluster is in order: whatever still waits for its time when both boards are well and know each
    /// other has had it. That is the way home, the hold-offs, a dead time from the last silence on, and what is told with
    /// every tenth beat only; a group that moves then has to be stopped and started.
    pub fn calm_enough(&self) -> u64 {
        let upstream = if self.has_upstream { self.deadtime + self.holdoff() } else { 0 };
        let lines = self.interlock_settle.map_or(0, |settle| 12 * self.keepalive + 2 * settle);
        let health = self.health.map_or(0, |health| 2 * health.interval + health.holdoff);
        let told = self.deadtime + 12 * self.keepalive;
        told + self.failback_delay + self.scripts() + self.courtesy() + upstream + lines + health
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
        match (self.is_stripped, self.has_heartbeat) {
            (false, _) => 0,
            (true, false) => 12 * S,
            // It may have asked for something, and waits ten seconds for an answer.
            (true, true) => 24 * S,
        }
    }

    /// `upstream_holdoff`.
    pub fn holdoff(&self) -> u64 {
        2 * self.keepalive
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
