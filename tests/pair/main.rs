//! Two nodes in one process, perfect links, scripts that take 10 ms: the core's rules, one timetable each.
//!
//! Faults by the thousand are the simulator's business; here each rule of design.md section 2 and each hand-over of
//! spec/resources.md sections 9 to 13 has one small story that says what happens when.

mod operators;
mod partition;
mod scripts;
mod starting;
mod upstream;

use nullbeat::core::ids::{
    Generation, GroupId, GroupSet, JobId, KeyNumber, LinkId, NodeId, PingId, RequestId, Seq, Uuid,
};
use nullbeat::core::limits::GROUPS_MAX;
use nullbeat::core::message::{
    Body, GroupState, Holds, IpfailWord, Message, NodeStatus, Packet, ResourceInfo, StandbyWord,
};
use nullbeat::core::settings::{
    AutoFailback, Carried, CarriedPartner, GroupSettings, Identity, Settings, SplitBrainLoser, TakeoverPolicy,
    UpstreamSettings,
};
use nullbeat::core::time::{Duration, Instant, Stamp};
use nullbeat::core::{Action, Alarm, Input, JobOutcome, Node, Order, Outcome, Refusal, Request};

const NAMES: [&str; 2] = ["alpha", "beta"];
const STEP: u64 = 1;

fn settings(local: u8) -> Settings {
    let ms = Duration::from_millis;
    Settings {
        nodes: NAMES.iter().map(|name| (*name).try_into().expect("short")).collect(),
        local: NodeId(local),
        partner: Some(NodeId(1 - local)),
        links: ["ttyS0", "eth0"].iter().map(|name| (*name).try_into().expect("short")).collect(),
        groups: [0, 0, 1].iter().map(|node| GroupSettings { preferred: NodeId(*node) }).collect(),
        paces: Default::default(),
        keepalive: ms(200),
        warntime: ms(500),
        deadtime: ms(1000),
        announced_extra: Duration::ZERO,
        initdead: ms(4000),
        max_rexmit_delay: ms(250),
        signing_key: KeyNumber(1),
        auto_failback: AutoFailback::On,
        failback_delay: ms(0),
        moves_per_hour: 0,
        takeover_policy: TakeoverPolicy::Available,
        split_brain_loser: SplitBrainLoser::NotPreferred,
        upstream: UpstreamSettings::NONE,
        health: nullbeat::core::settings::HealthSettings::NONE,
        fence: nullbeat::core::settings::FenceSettings::NONE,
        interlock: None,
        has_owner_line: false,
        lease: None,
        config_digest: 1,
        resources_digest: 1,
        has_resources: true,
        autojoin: nullbeat::core::settings::Autojoin::default(),
        random_seed: 7,
        is_generation_guessed: false,
    }
}

/// Two boards on a table.
struct Table {
    now: u64,
    nodes: [Option<Box<Node>>; 2],
    settings: [Settings; 2],
    generation: [u32; 2],
    /// Which groups run on which board, whoever started them.
    running: [[bool; 3]; 2],
    jobs: Vec<(u64, usize, JobId, GroupId, Order)>,
    /// All that was ever asked for.
    orders: Vec<(usize, u8, Order)>,
    /// How often a node has called itself stable while it was starting something.
    stable_too_early: u32,
    mail: Vec<(usize, LinkId, Packet)>,
    cut: [[bool; 2]; 2],
    /// Neither says what only nullbeats understand: each takes the other for a Heartbeat.
    is_plain: bool,
    /// How often each has said goodbye.
    goodbyes: [u32; 2],
    fails: [[bool; 3]; 2],
    stuck: [[bool; 3]; 2],
    replies: Vec<(usize, Outcome)>,
    exited: [bool; 2],
    overlaps: u32,
    /// Which of the two ping nodes each board reaches.
    reaches: [[bool; 2]; 2],
    /// What each has said to the other's ipfail.
    ipfail: Vec<(usize, IpfailWord)>,
}

impl Table {
    fn new(change: impl Fn(&mut Settings)) -> Self {
        let mut settings = [settings(0), settings(1)];
        settings.iter_mut().for_each(&change);
        Self {
            now: 1_000,
            nodes: [None, None],
            settings,
            generation: [10, 20],
            running: [[false; 3]; 2],
            jobs: Vec::new(),
            orders: Vec::new(),
            stable_too_early: 0,
            mail: Vec::new(),
            cut: [[false; 2]; 2],
            is_plain: false,
            goodbyes: [0; 2],
            fails: [[false; 3]; 2],
            stuck: [[false; 3]; 2],
            replies: Vec::new(),
            exited: [false; 2],
            overlaps: 0,
            reaches: [[true; 2]; 2],
            ipfail: Vec::new(),
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            now: Instant::from_millis(self.now),
            wall: 1_700_000_000 + u32::try_from(self.now / 1000).expect("small"),
        }
    }

    fn boot(&mut self, node: usize) {
        self.generation[node] += 1;
        let uuid = [if node == 0 { 1 } else { 2 }; 16];
        let identity = Identity { uuid: Uuid(uuid), generation: Generation(self.generation[node]) };
        self.nodes[node] = Some(Box::new(Node::new(self.settings[node].clone(), identity, None, self.stamp())));
        self.exited[node] = false;
        self.give(node, Input::Tick);
    }

    /// The whole board: daemon and services.
    fn power_off(&mut self, node: usize) {
        self.nodes[node] = None;
        self.running[node] = [false; 3];
        self.jobs.retain(|job| job.1 != node);
    }

    fn give(&mut self, node: usize, input: Input<'_>) {
        let stamp = self.stamp();
        let Some(core) = self.nodes[node].as_mut() else { return };
        core.handle(stamp, input);
        let mut actions = Vec::new();
        while let Some(action) = core.poll_action() {
            actions.push(action);
        }
        let mut is_asking = false;
        for action in actions {
            match action {
                Action::Transmit { links, packet } => {
                    if let Body::Ipfail(word) = packet.body {
                        self.ipfail.push((node, word));
                    }
                    let is_starting = self.jobs.iter().any(|job| job.1 == node && job.4 == Order::Start);
                    let is_called_stable = matches!(packet.body, Body::Resource { is_stable: Some(true), .. });
                    self.stable_too_early += u32::from(is_starting && is_called_stable);
                    self.goodbyes[node] += u32::from(packet.body == Body::ShutDone);
                    self.mail.extend(links.iter().map(|link| (node, link, packet)));
                }
                Action::Run { job, group, order } => {
                    self.jobs.push((self.now + 10, node, job, group, order));
                    self.orders.push((node, group.0, order));
                }
                Action::Reply { outcome, .. } => self.replies.push((node, outcome)),
                Action::Exit => self.exited[node] = true,
                Action::Ping { .. } => is_asking = true,
                Action::Event(_) => {}
                Action::Fence { .. }
                | Action::NoteFencings { .. }
                | Action::CancelFence { .. }
                | Action::Outrun { .. }
                | Action::SetOwner { .. } => {
                    panic!("nothing of the kind is configured: {action:?}")
                }
            }
        }
        if self.exited[node] {
            self.nodes[node] = None;
        }
        for (ping, is_reached) in (0..).zip(self.reaches[node]) {
            if is_asking && is_reached {
                self.give(node, Input::PingAnswer { ping: PingId(ping) });
            }
        }
    }

    fn deliver(&mut self) {
        for (from, link, packet) in std::mem::take(&mut self.mail) {
            let to = 1 - from;
            if self.cut[from][usize::from(link.0)] {
                continue;
            }
            let mut body = packet.body;
            if let Body::Status { extension, is_nullbeat, .. } = &mut body
                && self.is_plain
            {
                (*extension, *is_nullbeat) = (None, false);
            }
            if let Body::AskResources { only, after_failure, .. } = &mut body
                && self.is_plain
            {
                (*only, *after_failure) = (None, false);
            }
            let message = Message {
                src: NAMES[from],
                src_uuid: Some(Uuid([if from == 0 { 1 } else { 2 }; 16])),
                dest: packet.to.map(|node| NAMES[usize::from(node.0)]),
                dest_uuid: None,
                seq: packet.seq,
                generation: Generation(self.generation[from]),
                ts: packet.ts,
                key: KeyNumber(1),
                news: None,
                compact: None,
                body,
            };
            self.give(to, Input::Received { link, message: &message });
        }
    }

    fn finish_jobs(&mut self) {
        let (due, rest) = std::mem::take(&mut self.jobs).into_iter().partition(|job| job.0 <= self.now);
        self.jobs = rest;
        let due: Vec<_> = due;
        for (_, node, job, group, order) in due {
            let index = usize::from(group.0);
            let running = &mut self.running[node][index];
            let outcome = match order {
                Order::Start if self.fails[node][index] => {
                    *running = false;
                    JobOutcome::Failed
                }
                Order::Start | Order::Restart { .. } => {
                    *running = true;
                    JobOutcome::Done
                }
                Order::Stop if self.stuck[node][index] => JobOutcome::StopFailed,
                Order::Stop => {
                    *running = false;
                    JobOutcome::Done
                }
                Order::Probe if *running => JobOutcome::AllRunning,
                Order::Probe => JobOutcome::NoneRunning,
                Order::Announce => JobOutcome::Done,
            };
            self.give(node, Input::JobDone { job, outcome });
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += STEP;
            self.deliver();
            self.finish_jobs();
            for node in 0..2 {
                let is_due =
                    self.nodes[node].as_mut().is_some_and(|core| core.poll_timeout() <= Instant::from_millis(self.now));
                if is_due {
                    self.give(node, Input::Tick);
                }
            }
            if (0..3).any(|group| self.running[0][group] && self.running[1][group]) {
                self.overlaps += 1;
            }
        }
    }

    /// Lets time pass until it is so; returns how long it took.
    #[track_caller]
    fn until(&mut self, limit_ms: u64, what: impl Fn(&Self) -> bool) -> u64 {
        let start = self.now;
        while !what(self) {
            assert!(self.now - start < limit_ms, "not within {limit_ms} ms: running {:?}", self.running);
            self.run(1);
        }
        self.now - start
    }

    /// A message from a node whose daemon does not run here.
    fn say(&mut self, from: usize, seq: u64, body: Body<'_>) {
        let message = Message {
            src: NAMES[from],
            src_uuid: Some(Uuid([if from == 0 { 1 } else { 2 }; 16])),
            dest: None,
            dest_uuid: None,
            seq: Some(Seq(seq)),
            generation: Generation(self.generation[from]),
            ts: self.stamp().wall,
            key: KeyNumber(1),
            news: None,
            compact: None,
            body,
        };
        self.give(1 - from, Input::Received { link: LinkId(0), message: &message });
    }

    fn request(&mut self, node: usize, request: Request) {
        self.give(node, Input::Request { id: RequestId(1), request });
    }

    fn cut_all(&mut self, is_cut: bool) {
        self.cut = [[is_cut; 2]; 2];
    }

    fn owners(&self) -> [Vec<usize>; 3] {
        [0, 1, 2].map(|group| (0..2).filter(|node| self.running[*node][group]).collect())
    }

    fn core(&self, node: usize) -> &Node {
        self.nodes[node].as_ref().expect("it runs")
    }

    fn state(&self, node: usize, group: u8) -> GroupState {
        self.core(node).ownership().group(GroupId(group)).expect("exists").state()
    }

    /// Both are up and everything is at home.
    fn at_home(change: impl Fn(&mut Settings)) -> Self {
        let mut table = Self::new(change);
        table.boot(0);
        table.boot(1);
        table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
        table.run(500);
        assert_eq!(table.overlaps, 0);
        table
    }
}

const ALL_HERE: [Vec<usize>; 3] = [vec![], vec![], vec![]];

/// Two ping nodes, deadping 600 ms, hold-off 500 ms.
fn with_upstream(settings: &mut Settings) {
    settings.upstream = UpstreamSettings {
        ping_nodes: ["gw", "dns"].iter().map(|name| (*name).try_into().expect("short")).collect(),
        deadping: Duration::from_millis(600),
        has_failover: true,
        holdoff: Duration::from_millis(500),
    };
}

fn all_on(node: usize) -> [Vec<usize>; 3] {
    ALL_HERE.map(|_| vec![node])
}

const HOME: fn() -> [Vec<usize>; 3] = || [vec![0], vec![0], vec![1]];
