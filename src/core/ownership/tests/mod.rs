//! One node, alpha, whose partner beta is played by the test. Group 0 is at home on alpha, group 1 on beta; scripts end
//! when the test says so.

mod gate;
mod giving;
mod lease;
mod meeting;
mod owner_line;
mod proofs;
mod resuming;
mod shots;
mod starting;
mod vital;

use crate::core::ids::{Generation, GroupId, GroupSet, JobId, KeyNumber, LinkId, NodeId, RequestId, Seq, Uuid};
use crate::core::limits::GROUPS_MAX;
use crate::core::message::{Body, Extension, GroupState, Holds, Message, NodeStatus, Packet, ResourceInfo};
use crate::core::settings::{
    AutoFailback, Autojoin, Carried, FenceSettings, GroupSettings, Identity, Settings, SplitBrainLoser, TakeoverPolicy,
    UpstreamSettings,
};
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Action, Input, JobOutcome, Node, Order, Request};

const HOME: GroupId = GroupId(0);
const GUEST: GroupId = GroupId(1);
const BOTH: GroupSet = GroupSet(3);
const OURS: Generation = Generation(7);
const KEEPALIVE: u64 = 200;
const DEADTIME: u64 = 1000;

fn settings() -> Settings {
    Settings {
        nodes: ["alpha", "beta"].into_iter().map(|name| name.try_into().unwrap()).collect(),
        local: NodeId(0),
        partner: Some(NodeId(1)),
        links: ["ttyS0".try_into().unwrap()].into_iter().collect(),
        groups: [NodeId(0), NodeId(1)].into_iter().map(|preferred| GroupSettings { preferred }).collect(),
        paces: heapless::Vec::new(),
        keepalive: Duration::from_millis(KEEPALIVE),
        warntime: Duration::from_millis(500),
        deadtime: Duration::from_millis(DEADTIME),
        initdead: Duration::from_secs(4),
        max_rexmit_delay: Duration::from_millis(250),
        signing_key: KeyNumber(1),
        auto_failback: AutoFailback::Off,
        failback_delay: Duration::ZERO,
        moves_per_hour: 0,
        takeover_policy: TakeoverPolicy::Available,
        split_brain_loser: SplitBrainLoser::NotPreferred,
        upstream: UpstreamSettings::NONE,
        health: crate::core::settings::HealthSettings::NONE,
        announced_extra: Duration::ZERO,
        fence: FenceSettings::NONE,
        interlock: None,
        has_owner_line: false,
        lease: None,
        config_digest: 1,
        resources_digest: 2,
        has_resources: true,
        autojoin: Autojoin::None,
        random_seed: 1,
        is_generation_guessed: false,
    }
}

/// What beta tells per group: claims, and a state for each of the two.
fn holding(claims: GroupSet, states: [GroupState; 2]) -> Extension {
    let mut groups = [GroupState::Unknown; GROUPS_MAX];
    groups[..2].copy_from_slice(&states);
    Extension {
        group_count: 2,
        groups,
        claims,
        hears_partner: true,
        is_stable: true,
        config_digest: 1,
        resources_digest: 2,
        ..Extension::EMPTY
    }
}

fn holding_nothing() -> Extension {
    holding(GroupSet::EMPTY, [GroupState::Stopped; 2])
}

fn holding_all() -> Extension {
    holding(BOTH, [GroupState::Running; 2])
}

struct Bench {
    /// It is large, and a test's stack is not.
    node: Box<Node>,
    now: u64,
    /// Beta's run.
    generation: u32,
    /// Its last number.
    seq: u64,
    is_nullbeat: bool,
    jobs: Vec<(JobId, GroupId, Order)>,
    packets: Vec<Packet>,
    /// What was asked of the guardian: a job's order, or the level of the line `owner`.
    asked: Vec<String>,
}

impl Bench {
    /// Alpha has just started, with or without something that an earlier daemon of this boot left.
    fn new(settings: Settings, carried: Option<Carried>) -> Self {
        let identity = Identity { uuid: Uuid([1; 16]), generation: OURS };
        let node = Box::new(Node::new(settings, identity, carried, stamp(0)));
        let mut bench = Self {
            node,
            now: 0,
            generation: 3,
            seq: 0,
            is_nullbeat: true,
            jobs: Vec::new(),
            packets: Vec::new(),
            asked: Vec::new(),
        };
        bench.give(Input::Tick);
        bench
    }

    /// Alpha's probes have found nothing.
    fn clean() -> Self {
        let mut bench = Self::new(settings(), None);
        bench.end_all(Order::Probe, JobOutcome::NoneRunning);
        bench
    }

    /// Beta is a nullbeat that holds nothing; both groups run on alpha.
    fn owner(settings: Settings) -> Self {
        let mut bench = Self::new(settings, None);
        bench.end_all(Order::Probe, JobOutcome::NoneRunning);
        bench.live(5000, |_| {});
        bench.end_all(Order::Start, JobOutcome::Done);
        bench.live(1000, |bench| bench.tell(holding_nothing()));
        assert!(bench.runs(HOME) && bench.runs(GUEST));
        bench
    }

    fn give(&mut self, input: Input<'_>) {
        self.node.handle(stamp(self.now), input);
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Transmit { packet, .. } => self.packets.push(packet),
                Action::Run { job, group, order } => {
                    self.asked.push(format!("{order:?}"));
                    self.jobs.push((job, group, order));
                }
                Action::SetOwner { is_owner } => self.asked.push(format!("owner {is_owner}")),
                _ => {}
            }
        }
    }

    /// Beta says this.
    fn hear(&mut self, body: Body<'_>) {
        self.arrive(body);
        self.give(Input::Tick);
    }

    /// Beta has said this, and more of it may wait.
    fn arrive(&mut self, body: Body<'_>) {
        self.seq += 1;
        let message = Message {
            src: "beta",
            src_uuid: Some(Uuid([2; 16])),
            dest: None,
            dest_uuid: None,
            seq: Some(Seq(self.seq)),
            generation: Generation(self.generation),
            ts: 1_800_000_000,
            key: KeyNumber(1),
            news: None,
            compact: None,
            body,
        };
        self.give(Input::Received { link: LinkId(0), message: &message });
    }

    fn status(&mut self, extension: Option<Extension>) {
        self.hear(self.status_of(extension));
    }

    fn status_of(&self, extension: Option<Extension>) -> Body<'static> {
        Body::Status {
            status: Some(NodeStatus::Active),
            dead_ms: Some(1000),
            has_protocol: true,
            is_nullbeat: self.is_nullbeat,
            extension,
        }
    }

    /// A beat without extension.
    fn beat(&mut self) {
        self.status(None);
    }

    /// A beat that tells this, in answer to all that alpha has said.
    fn tell(&mut self, extension: Extension) {
        let echo_seq = self.node.comms().own_seq();
        self.status(Some(Extension { echo_generation: OURS, echo_seq, ..extension }));
    }

    /// `resource`: beta holds nothing and is stable.
    fn hear_of_nothing(&mut self) {
        let body =
            Body::Resource { holds: Holds::NONE, is_full: true, is_stable: Some(true), info: ResourceInfo::None };
        self.hear(body);
    }

    /// A while in which beta does this every keepalive.
    fn live(&mut self, ms: u64, mut beta: impl FnMut(&mut Self)) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 20;
            if self.now.is_multiple_of(KEEPALIVE) {
                beta(self);
            }
            self.give(Input::Tick);
        }
    }

    /// Whether alpha has asked for this and it has not ended.
    fn waits_for(&self, group: GroupId, order: Order) -> bool {
        self.jobs.iter().any(|(_, other, asked)| *other == group && *asked == order)
    }

    /// All jobs of this kind end like this, in their order.
    fn end_all(&mut self, order: Order, outcome: JobOutcome) {
        while let Some(place) = self.jobs.iter().position(|(_, _, asked)| *asked == order) {
            let (job, _, _) = self.jobs.remove(place);
            self.give(Input::JobDone { job, outcome });
        }
    }

    fn runs(&self, group: GroupId) -> bool {
        self.node.ownership().group(group).is_some_and(|group| group.state() == GroupState::Running)
    }

    /// The last extension that alpha said.
    fn said(&self) -> Extension {
        let extension = |packet: &Packet| match packet.body {
            Body::Status { extension, .. } => extension,
            _ => None,
        };
        self.packets.iter().rev().find_map(extension).expect("never told")
    }

    /// The holdings that alpha announced last.
    fn announced(&self) -> Option<Holds> {
        let holds = |packet: &Packet| match packet.body {
            Body::Resource { holds, .. } => Some(holds),
            _ => None,
        };
        self.packets.iter().rev().find_map(holds)
    }
}

fn stamp(ms: u64) -> Stamp {
    Stamp { now: Instant::from_millis(ms), wall: 1_800_000_000 }
}
