//! An engine that starts, and what its files say.

use std::collections::VecDeque;
use std::rc::Rc;

use super::board::Arrived;
use super::brain::{Names, codec};
use super::net::link_id;
use super::plan::{FencePlan, LeasePlan, Medium, Plan};
use super::world::{World, node_id, uuid};
use crate::core::ids::{Generation, GroupSet, KeyNumber};
use crate::core::limits::LINK_NAME_MAX;
use crate::core::settings::{
    Carried, FenceMethod, FenceSettings, GroupSettings, HealthSettings, Identity, InterlockSettings, LinkPace,
    Settings, UpstreamSettings,
};
use crate::core::time::Duration;

impl World {
    /// Starts an engine with everything that a daemon tells it first.
    pub(super) fn start_engine(&mut self, node: usize, carried: Option<Carried>) {
        // Of two nodes that only take each other for Heartbeats each breaks a hand-over off when the other starts anew.
        let is_broken_off = self.plan.is_stripped && !self.plan.has_heartbeat;
        let carried =
            carried.map(|carried| Carried { handover: carried.handover.filter(|_| !is_broken_off), ..carried });
        let board = &self.boards[node];
        let mut settings = self.plan.settings(&self.names, node, Generation(board.generation), board.fencings);
        let board = &mut self.boards[node];
        settings.is_generation_guessed = std::mem::take(&mut board.is_generation_lost);
        board.generation += 1;
        board.engine_life += 1;
        board.engine_since = self.now;
        board.lease.stamp = self.now;
        board.is_held = carried.is_some_and(|carried| carried.is_held);
        board.start_failed = 0;
        board.needs_person.clear();
        board.named_lines = 0;
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
}

impl Plan {
    /// What the engine of `node` is told that is started after the run `last`, with `fencings` noted on its disk.
    pub fn settings(&self, names: &Names, node: usize, last: Generation, fencings: u8) -> Settings {
        let name = |text: &str| heapless::String::try_from(text).expect("short");
        let link = |index: usize| heapless::String::<LINK_NAME_MAX>::try_from(format!("link{index}").as_str());
        let owners = 2;
        Settings {
            nodes: names.nodes.iter().map(|node| name(node)).collect(),
            local: node_id(node),
            partner: (node < owners).then(|| node_id(1 - node)),
            links: (0..self.links.len()).map(|index| link(index).expect("short")).collect(),
            groups: self.groups.iter().map(|group| GroupSettings { preferred: node_id(group.preferred) }).collect(),
            paces: (0..self.links.len()).map(|link| self.pace(link)).collect(),
            keepalive: Duration::from_micros(self.keepalive),
            warntime: Duration::from_micros(self.deadtime / 2),
            deadtime: Duration::from_micros(self.deadtime),
            announced_extra: Duration::ZERO,
            initdead: Duration::from_micros(self.initdead),
            max_rexmit_delay: Duration::from_millis(250),
            signing_key: KeyNumber(1),
            auto_failback: self.auto_failback,
            failback_delay: Duration::from_micros(self.failback_delay),
            moves_per_hour: self.moves_per_hour,
            takeover_policy: self.policy,
            split_brain_loser: self.loser,
            upstream: self.upstream(),
            health: self.health.map_or(HealthSettings::NONE, |health| health.settings(self.groups.len())),
            fence: self.fence_settings(fencings),
            interlock: self.interlock_settle.map(|settle| InterlockSettings { settle: Duration::from_micros(settle) }),
            has_owner_line: self.has_owner_line || self.interlock_settle.is_some(),
            lease: self.lease.filter(|_| node < owners).map(LeasePlan::settings),
            config_digest: 0x1234_5678,
            resources_digest: 0x9abc_def0,
            has_resources: true,
            autojoin: crate::core::settings::Autojoin::default(),
            random_seed: self.seed ^ node as u64 ^ u64::from(last.0) << 32,
            is_generation_guessed: false,
        }
    }

    /// On a serial line nothing is repeated, as everything here has the size of Heartbeat's messages.
    fn pace(&self, link: usize) -> LinkPace {
        let keepalive = self.paces.get(link).copied().unwrap_or(self.keepalive);
        let usual = LinkPace::of(Duration::from_micros(keepalive));
        let is_serial = matches!(self.links[link], Medium::Serial { .. });
        LinkPace { repeat: if is_serial { usual.keepalive } else { usual.repeat }, ..usual }
    }

    fn fence_settings(&self, fencings: u8) -> FenceSettings {
        let method = |method: &FencePlan| FenceMethod {
            kind: method.kind,
            limit: Duration::from_micros(method.limit),
            is_sensed: false,
        };
        FenceSettings {
            methods: self.fence.iter().map(method).collect(),
            settle: Duration::from_micros(self.fence_settle),
            per_hour_max: self.fencings_per_hour,
            fencings_before: fencings,
        }
    }

    fn upstream(&self) -> UpstreamSettings {
        if !self.has_upstream {
            return UpstreamSettings::NONE;
        }
        UpstreamSettings {
            ping_nodes: ["gateway"].into_iter().filter_map(|name| name.try_into().ok()).collect(),
            deadping: Duration::from_micros(self.deadtime),
            has_failover: true,
            holdoff: Duration::from_micros(self.holdoff()),
        }
    }
}
