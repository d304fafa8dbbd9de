//! The cluster, its settings, and which kinds of faults meet it: drawn from a seed.

use super::{FencePlan, GroupPlan, HealthPlan, LeasePlan, MS, Medium, Plan, S};
use crate::core::Request;
use crate::core::ids::{GroupId, GroupSet, LinkId, LinkSet, NodeId};
use crate::core::settings::{AutoFailback, FenceKind, SplitBrainLoser, TakeoverPolicy};
use crate::sim::fault::{DeviceFault, FENCE, Fault, HEALTH, LINES, LOST, RELOAD, ScriptFault, UPSTREAM, WORD};
use crate::sim::rng::Rng;

impl Plan {
    pub(super) fn draw_cluster(&mut self, rng: &mut Rng) {
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

    /// A line must carry at least three times the beats of a node, else `nullbeat check` would complain. A cable has two ends:
    /// one that stands for those to several nodes, which all ask for what they lack, has the speed of as many.
    pub(super) fn draw_medium(&self, rng: &mut Rng) -> Medium {
        if rng.chance(400) {
            let peers = self.nodes.saturating_sub(1) as u64;
            let needed = peers * 3 * 250 * 10 * S / self.keepalive;
            let fit: Vec<u64> = [9_600, 19_200, 38_400, 57_600, 115_200].into_iter().filter(|b| *b >= needed).collect();
            return Medium::Serial { baud: if fit.is_empty() { 115_200 } else { rng.pick(&fit) } };
        }
        let min = rng.range(50, 2000);
        Medium::Udp { min, max: min + rng.range(10, 5000) }
    }

    pub(super) fn draw_settings(&mut self, rng: &mut Rng) {
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

    /// From numbers of their own: they came later, and the seeds that met other faults before still meet them.
    pub(super) fn draw_reloads(&mut self, span: u64) {
        let mut rng = Rng::new(self.seed, 4);
        if rng.chance(150) {
            let at = rng.below(span);
            let fault = self.fault_of_kind(RELOAD, &mut rng);
            self.faults.push((at, fault));
        }
    }

    /// As reloads.
    pub(super) fn draw_upstream(&mut self, span: u64) {
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
    pub(super) fn draw_legacy(&mut self) {
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
    pub(super) fn draw_fence(&mut self) {
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
    pub(super) fn draw_lines(&mut self) {
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
    pub(super) fn draw_lease(&mut self) {
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

    pub(super) fn keep_clocks_running(&mut self) {
        for (_, fault) in &mut self.faults {
            if let Fault::Freeze { is_clock_running, .. } = fault {
                *is_clock_running = true;
            }
        }
    }

    /// As fences; not beside a lease.
    pub(super) fn draw_health(&mut self) {
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
    pub(super) fn draw_lost(&mut self) {
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
    pub(super) fn draw_wishes(&mut self) {
        let mut rng = Rng::new(self.seed, 10);
        for _ in 0..if rng.chance(150) { rng.range(1, 3) } else { 0 } {
            let (at, node) = (rng.below(self.calm_at), rng.index(2));
            let group = GroupId(u8::try_from(rng.index(self.groups.len())).unwrap_or(0));
            self.faults.push((at, Fault::operator(node, Request::Obtain(group))));
        }
    }

    /// As reloads. Beside the model of a Heartbeat: hand-overs in both directions, and whatever befalls the other node's processes
    /// meanwhile. Nothing that silences one of the two for its dead time: after that a Heartbeat starts anew.
    pub(super) fn draw_heartbeat(&mut self) {
        let mut rng = Rng::new(self.seed, 13);
        // What ends daemons is tested by few seeds; these stay as they are.
        let has_end =
            self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Operator { request: Request::Stop, .. }));
        let is_legacy = self.auto_failback == AutoFailback::Legacy;
        if !self.is_stripped || self.nodes > 2 || is_legacy || has_end || !rng.chance(300) {
            return;
        }
        (self.has_heartbeat, self.has_upstream) = (true, false);
        self.faults.clear();
        for _ in 0..rng.range(3, 8) {
            let mut at = rng.below(self.calm_at);
            let kind = rng.pick(&[25, 25, 25, 27, 26]);
            self.faults.push((at, self.fault_of_kind(kind, &mut rng)));
            for _ in 0..rng.range(1, 3) {
                at += rng.below(2 * self.scripts() + 2 * self.keepalive);
                let fault = match rng.below(8) {
                    0 => Fault::Reload { node: 0, changed: GroupSet::EMPTY },
                    1 => Fault::Scripts {
                        node: 1,
                        group: None,
                        kind: ScriptFault::Slow,
                        lasts: self.draw_length(&mut rng),
                    },
                    _ => Fault::EngineCrash { node: 0, respawn_after: rng.range(2, 40) * MS },
                };
                if at < self.calm_at {
                    self.faults.push((at, fault));
                }
            }
        }
    }

    /// Links with a keepalive of their own, one of them with the longest.
    pub(super) fn draw_paces(&mut self) {
        let mut rng = Rng::new(self.seed, 14);
        if self.links.len() < 2 || !rng.chance(300) {
            return;
        }
        let slowest = rng.index(self.links.len());
        let pace = |(index, medium): (usize, &Medium)| match medium {
            // A serial line may have no room for more.
            Medium::Udp { .. } if index != slowest => self.keepalive / rng.pick(&[1, 2, 4, 8]),
            _ => self.keepalive,
        };
        self.paces = self.links.iter().enumerate().map(pace).collect();
    }

    /// As reloads: a hand-over, and in the middle of it whatever hits hardest there.
    pub(super) fn draw_rush(&mut self) {
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
}
