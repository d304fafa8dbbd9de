//! One fault of a kind, with its node, links, lengths.

use super::{MS, Plan, S};
use crate::core::ids::{GroupId, GroupSet, LinkId, LinkSet};
use crate::core::message::{Body, Holds, StandbyWord};
use crate::core::{InputLine, LineLevel, Request};
use crate::sim::fault::{DeviceFault, FENCE, Fault, HEALTH, LINES, LOST, Noise, RELOAD, ScriptFault, UPSTREAM, WORD};
use crate::sim::rng::Rng;

impl Plan {
    /// A length of time that matters: a fraction of the dead time, about the dead time, or several.
    pub(super) fn draw_length(&self, rng: &mut Rng) -> u64 {
        let permille = match rng.below(4) {
            0 => rng.range(20, 500),
            1 => rng.range(500, 1000),
            2 => rng.range(1000, 2000),
            _ => rng.range(2000, 8000),
        };
        self.deadtime * permille / 1000
    }

    pub(super) fn draw_fault(&self, rng: &mut Rng) -> Option<Fault> {
        let kind = rng.index(RELOAD);
        let fault = self.fault_of_kind(kind, rng);
        (!self.is_stripped || self.is_fair_to_heartbeats(&fault)).then_some(fault)
    }

    /// Two nodes which both take the other for a Heartbeat each wait for the other to release everything after a
    /// partition (rule 1a), as only a Heartbeat does. So no partition there: nothing that silences a living node for
    /// its dead time.
    pub(super) fn is_fair_to_heartbeats(&self, fault: &Fault) -> bool {
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

    /// What a guardian ends in time, an engine that hangs, is a partition while there is no guardian: see
    /// [`Plan::is_fair_to_heartbeats`].
    pub(super) fn part_stalls_from_guardians(&mut self) {
        if !self.is_stripped {
            return;
        }
        let gone: Vec<(usize, u64, u64)> = self
            .faults
            .iter()
            .filter_map(|(at, fault)| match fault {
                Fault::GuardianGone { node, lasts } => Some((*node, *at, at + lasts)),
                _ => None,
            })
            .collect();
        let longest = self.deadtime / 2;
        self.faults.retain(|(at, fault)| match fault {
            Fault::EngineStall { node, lasts } if *lasts >= longest => {
                !gone.iter().any(|(other, from, until)| other == node && at < until && at + lasts > *from)
            }
            _ => true,
        });
    }

    pub(super) fn fault_of_kind(&self, kind: usize, rng: &mut Rng) -> Fault {
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
    pub(super) fn word(rng: &mut Rng) -> Body<'static> {
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

    pub(super) fn health_fault(&self, kind: usize, node: usize, lasts: u64, rng: &mut Rng) -> Fault {
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

    pub(super) fn script_fault(&self, kind: usize, node: usize, lasts: u64, rng: &mut Rng) -> Fault {
        let kind = match kind {
            20 => ScriptFault::StartFails,
            21 => ScriptFault::StopFails,
            22 => rng.pick(&[ScriptFault::StartHangs, ScriptFault::StopHangs]),
            _ => ScriptFault::Slow,
        };
        let group = rng.chance(500).then(|| rng.index(self.groups.len()));
        Fault::Scripts { node, group, kind, lasts: lasts * 3 }
    }

    pub(super) fn operator_verb(kind: usize, node: usize, lasts: u64, rng: &mut Rng) -> Fault {
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
