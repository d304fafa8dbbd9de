//! Two nodes in one process, perfect links, scripts that take 10 ms: the core's rules, one timetable each.
//!
//! Faults by the thousand are the simulator's business; here each rule of design.md section 2 and each hand-over of
//! spec/resources.md sections 9 to 13 has one small story that says what happens when.

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

#[test]
fn both_start_each_takes_its_own_within_300_ms() {
    let mut table = Table::new(|_| {});
    table.boot(0);
    table.boot(1);
    let took = table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(took <= 300, "{took} ms");
    table.run(5_000);
    assert_eq!(table.overlaps, 0);
    assert!(table.core(0).ownership().is_settled());
}

#[test]
fn lonely_start_takes_everything_after_initdead_with_an_alarm() {
    let mut table = Table::new(|_| {});
    table.boot(0);
    table.run(3_900);
    assert_eq!(table.owners(), [vec![], vec![], vec![]]);
    table.until(300, |table| table.owners() == [vec![0], vec![0], vec![0]]);
    assert!(table.core(0).ownership().alarms().contains(Alarm::Unfenced));
}

#[test]
fn owner_loses_power_the_other_takes_over_after_its_deadtime() {
    let mut table = Table::at_home(|_| {});
    table.power_off(0);
    let took = table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    assert!((800..=1_030).contains(&took), "{took} ms");
    assert_eq!(table.overlaps, 0);
}

#[test]
fn owner_is_stopped_the_other_takes_over_at_once() {
    let mut table = Table::at_home(|_| {});
    table.request(0, Request::Stop);
    let took = table.until(200, |table| table.exited[0]);
    assert!(took <= 40, "{took} ms");
    table.until(100, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    assert_eq!((table.overlaps, &table.replies[..]), (0, &[(0, Outcome::Done)][..]));
}

#[test]
fn goodbye_is_said_once_to_a_heartbeat_which_takes_over_for_each() {
    let mut table = Table::new(|_| {});
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    let took = table.until(12_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(took >= 10_000, "{took} ms: no Heartbeat would be ready sooner");
    table.run(500);
    table.request(0, Request::Stop);
    table.until(200, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.until(1_000, |table| table.exited[0]);
    assert_eq!((table.overlaps, table.goodbyes), (0, [1, 0]));
}

#[test]
fn returning_node_gets_its_groups_back() {
    let mut table = Table::at_home(|_| {});
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    let took = table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(took <= 300, "{took} ms");
    table.run(3_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![0], vec![0], vec![1]]));
}

#[test]
fn returning_node_waits_with_auto_failback_off() {
    let mut table = Table::at_home(|settings| settings.auto_failback = AutoFailback::Off);
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.run(5_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![1], vec![1], vec![1]]));
    table.request(1, Request::Failback(Holds::ALL));
    table.until(500, |table| !table.replies.is_empty());
    assert_eq!(table.owners(), [vec![0], vec![0], vec![1]]);
    assert_eq!((table.overlaps, &table.replies[..]), (0, &[(1, Outcome::Done)][..]));
}

#[test]
fn failback_delay_holds_the_groups_back() {
    let mut table = Table::at_home(|settings| settings.failback_delay = Duration::from_secs(3));
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.run(2_900);
    assert_eq!(table.owners(), [vec![1], vec![1], vec![1]]);
    table.until(700, |table| table.owners() == [vec![0], vec![0], vec![1]]);
}

#[test]
fn standby_moves_everything_and_it_stays_there() {
    let mut table = Table::at_home(|_| {});
    table.request(0, Request::Standby(Holds::ALL));
    table.until(500, |table| !table.replies.is_empty());
    assert_eq!(table.replies, [(0, Outcome::Done)]);
    assert_eq!(table.owners(), [vec![1], vec![1], vec![1]]);
    table.run(5_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![1], vec![1], vec![1]]));
}

#[test]
fn takeover_moves_everything_here() {
    let mut table = Table::at_home(|_| {});
    table.request(1, Request::Takeover(Holds::ALL));
    table.until(500, |table| !table.replies.is_empty());
    assert_eq!(table.replies, [(1, Outcome::Done)]);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![1], vec![1], vec![1]]));
}

#[test]
fn standby_without_a_partner_is_refused() {
    let mut table = Table::at_home(|_| {});
    table.power_off(1);
    table.run(1_500);
    table.request(0, Request::Standby(Holds::ALL));
    assert_eq!(table.replies, [(0, Outcome::Refused(Refusal::PartnerAbsent))]);
}

#[test]
fn one_link_cut_moves_nothing() {
    let mut table = Table::at_home(|_| {});
    for link in 0..2 {
        table.cut[0][link] = true;
        table.cut[1][link] = true;
        table.run(4_000);
        assert_eq!(table.owners(), [vec![0], vec![0], vec![1]]);
        assert!(table.core(0).ownership().alarms().contains(Alarm::LastLink));
        table.cut_all(false);
        table.run(1_000);
    }
    assert_eq!(table.overlaps, 0);
    assert!(!table.core(0).ownership().alarms().contains(Alarm::LastLink));
}

#[test]
fn both_links_cut_and_healed_the_fixed_loser_of_each_group_releases() {
    let mut table = Table::at_home(|_| {});
    table.cut_all(true);
    table.until(2_000, |table| table.owners() == [vec![0, 1], vec![0, 1], vec![0, 1]]);
    table.cut_all(false);
    let took = table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(took <= 300, "{took} ms");
    table.run(3_000);
    assert_eq!(table.owners(), [vec![0], vec![0], vec![1]]);
}

#[test]
fn heartbeat_that_is_back_after_a_partition_gets_nothing_before_it_has_dropped_everything() {
    let mut table = Table::new(|_| {});
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    table.until(12_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.run(500);
    table.power_off(1);
    table.until(2_000, |table| table.running[0] == [true; 3]);
    let status = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(1_000),
        has_protocol: true,
        is_nullbeat: false,
        extension: None,
    };
    table.say(1, 1_000, status);
    // Its takeover of our groups has just ended there.
    let info = ResourceInfo::MachDown;
    table.say(1, 1_001, Body::Resource { holds: Holds::FOREIGN, is_full: false, is_stable: None, info });
    for seq in 1_002..1_012 {
        table.run(200);
        table.say(1, seq, status);
        assert_eq!((table.core(0).ownership().handover().name(), table.running[0]), ("none", [true; 3]));
    }
}

#[test]
fn split_brain_loser_names_the_node_that_releases() {
    let mut table = Table::at_home(|settings| settings.split_brain_loser = SplitBrainLoser::Node(NodeId(0)));
    table.cut_all(true);
    table.until(2_000, |table| table.owners() == [vec![0, 1], vec![0, 1], vec![0, 1]]);
    table.cut_all(false);
    table.until(1_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
}

#[test]
fn safe_policy_never_takes_from_a_silent_peer_without_a_word() {
    let mut table = Table::at_home(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
    table.power_off(0);
    table.run(10_000);
    assert_eq!(table.owners(), [vec![], vec![], vec![1]]);
    assert!(table.core(1).ownership().alarms().contains(Alarm::NeedsOperator));
    table.request(1, Request::Takeover(Holds::ALL));
    table.until(100, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    assert_eq!(table.replies, [(1, Outcome::Done)]);
}

#[test]
fn safe_policy_both_start_apart_neither_takes_then_they_meet() {
    let mut table = Table::new(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
    table.cut_all(true);
    table.boot(0);
    table.boot(1);
    table.run(8_000);
    assert_eq!(table.owners(), [vec![], vec![], vec![]]);
    table.cut_all(false);
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
}

#[test]
fn one_way_cut_the_deaf_node_takes_over_and_the_heard_one_releases() {
    let mut table = Table::at_home(|_| {});
    table.cut[0] = [true, true];
    // Beta no longer hears alpha; alpha hears beta claim everything and knows that it is not heard.
    table.until(4_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
}

#[test]
fn failed_start_is_offered_once_and_never_played_as_ping_pong() {
    let mut table = Table::at_home(|_| {});
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.fails[0][0] = true;
    table.boot(0);
    // Group 0 comes home, does not start, goes back; group 1 stays at home.
    table.until(1_000, |table| table.owners() == [vec![1], vec![0], vec![1]]);
    table.run(60_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![1], vec![0], vec![1]]));
}

#[test]
fn start_that_fails_on_both_is_retried_with_growing_pauses() {
    let mut table = Table::new(|_| {});
    table.fails[0][0] = true;
    table.fails[1][0] = true;
    table.boot(0);
    table.boot(1);
    table.run(5_000);
    assert_eq!(table.state(1, 0), GroupState::StartFailed);
    assert_eq!(table.owners(), [vec![], vec![0], vec![1]]);
    table.fails[1][0] = false;
    table.until(90_000, |table| table.owners() == [vec![1], vec![0], vec![1]]);
    assert_eq!(table.overlaps, 0);
}

#[test]
fn failed_stop_is_never_given_away() {
    let mut table = Table::at_home(|_| {});
    table.stuck[0][0] = true;
    table.request(0, Request::Standby(Holds::ALL));
    table.until(1_000, |table| !table.replies.is_empty());
    assert!(matches!(table.replies[0].1, Outcome::Failed(_)));
    table.run(5_000);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![0], vec![0], vec![1]]));
    assert!(table.core(0).ownership().alarms().contains(Alarm::StopFailed(GroupId(0))));
}

#[test]
fn hold_freezes_takeovers_until_resume() {
    let mut table = Table::at_home(|_| {});
    table.request(1, Request::Hold);
    table.power_off(0);
    table.run(5_000);
    assert_eq!(table.owners(), [vec![], vec![], vec![1]]);
    table.request(1, Request::Resume);
    table.until(100, |table| table.owners() == [vec![1], vec![1], vec![1]]);
}

#[test]
fn moves_latch_after_so_many_an_hour() {
    let mut table = Table::at_home(|settings| settings.moves_per_hour = 4);
    for _ in 0..2 {
        table.power_off(0);
        table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
        table.boot(0);
        table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
        table.run(1_000);
    }
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.run(5_000);
    assert_eq!(table.owners(), [vec![1], vec![1], vec![1]], "latched");
    table.request(1, Request::Resume);
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert_eq!(table.replies, [(1, Outcome::Done)], "the latch was lifted");
}

#[test]
fn what_an_operator_sends_home_does_not_count_for_the_latch() {
    let mut table = Table::at_home(|settings| {
        settings.moves_per_hour = 2;
        settings.auto_failback = AutoFailback::Off;
    });
    table.power_off(0);
    table.until(2_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.run(5_000);
    table.request(1, Request::Failback(Holds::ALL));
    table.until(2_000, |table| table.owners() == HOME());
    table.run(5_000);
    assert_eq!(table.replies, [(1, Outcome::Done)]);
    assert!(!table.core(1).ownership().alarms().contains(Alarm::MovesLatched), "only the death counts");
}

#[test]
fn leftovers_of_an_unknown_past_are_stopped_before_anything_is_said() {
    let mut table = Table::new(|_| {});
    table.running[1][0] = true;
    table.boot(1);
    table.until(100, |table| !table.running[1][0]);
    table.boot(0);
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert_eq!(table.overlaps, 0);
}

#[test]
fn both_stopped_at_once_nobody_takes_over() {
    let mut table = Table::at_home(|_| {});
    table.request(0, Request::Stop);
    table.request(1, Request::Stop);
    table.until(3_000, |table| table.exited == [true, true]);
    assert_eq!((table.overlaps, table.owners()), (0, [vec![], vec![], vec![]]));
}

#[test]
fn lonely_starting_node_stops_at_once() {
    let mut table = Table::new(|_| {});
    table.boot(0);
    table.run(500);
    table.request(0, Request::Stop);
    table.until(50, |table| table.exited[0]);
}

#[test]
fn crossing_standby_requests_end_both_with_an_answer() {
    let mut table = Table::at_home(|_| {});
    table.request(0, Request::Standby(Holds::LOCAL));
    table.request(1, Request::Standby(Holds::LOCAL));
    table.until(12_000, |table| table.replies.len() == 2);
    table.run(1_000);
    assert_eq!(table.overlaps, 0);
    for owners in table.owners() {
        assert_eq!(owners.len(), 1);
    }
}

#[test]
fn leftover_that_would_not_stop_is_stopped_again_after_the_repair() {
    let mut table = Table::new(|_| {});
    table.running[0][2] = true;
    table.stuck[0][2] = true;
    table.boot(0);
    table.boot(1);
    table.run(5_000);
    assert_eq!(table.state(0, 2), GroupState::StopFailed);
    table.stuck[0][2] = false;
    table.until(700_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.request(0, Request::Stop);
    table.until(3_000, |table| table.exited[0]);
}

#[test]
fn unanswered_offers_are_no_moves_and_are_not_repeated_at_once() {
    let mut table = Table::at_home(|settings| settings.moves_per_hour = 4);
    table.power_off(0);
    table.until(5_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    table.boot(0);
    table.request(0, Request::Hold);
    table.run(200_000);
    assert_eq!(table.owners(), [vec![1], vec![1], vec![1]]);
    table.request(0, Request::Resume);
    table.until(70_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert_eq!(table.overlaps, 0);
}

#[test]
fn losers_that_contradict_give_way_to_the_rule_that_both_know() {
    let mut table = Table::new(|_| {});
    table.settings[0].split_brain_loser = SplitBrainLoser::Node(NodeId(1));
    table.settings[1].split_brain_loser = SplitBrainLoser::Node(NodeId(0));
    table.settings[1].config_digest = 2;
    table.cut_all(true);
    table.boot(0);
    table.boot(1);
    table.run(8_000);
    table.cut_all(false);
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    assert!(table.core(0).ownership().alarms().contains(Alarm::ConfigDiffers));
}

#[test]
fn holders_with_other_haresources_part_at_once_too() {
    let mut table = Table::new(|_| {});
    table.settings[1].resources_digest = 2;
    table.boot(0);
    table.boot(1);
    table.until(30_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.cut_all(true);
    table.until(5_000, |table| table.owners() == [vec![0, 1], vec![0, 1], vec![0, 1]]);
    table.cut_all(false);
    table.until(2_000, |table| table.owners().iter().all(|owners| owners.len() == 1));
}

#[test]
fn takeover_without_a_guardian_is_refused_and_stop_never_for_want_of_room() {
    let mut table = Table::at_home(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
    table.give(1, Input::Guardian { is_present: false });
    table.power_off(0);
    table.run(5_000);
    table.request(1, Request::Takeover(Holds::ALL));
    assert_eq!(table.replies, [(1, Outcome::Refused(Refusal::NoGuardian))]);
    table.give(1, Input::Guardian { is_present: true });
    for _ in 0..12 {
        table.request(1, Request::Stop);
    }
    table.until(3_000, |table| table.exited[1]);
    assert_eq!(table.replies.len(), 13, "each is answered once");
}

#[test]
fn takeover_of_one_side_from_a_dead_partner_takes_that_side() {
    let mut table = Table::at_home(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
    table.request(0, Request::Takeover(Holds::ALL));
    table.until(1_000, |table| table.owners() == [vec![0], vec![0], vec![0]]);
    table.power_off(0);
    table.run(5_000);
    table.request(1, Request::Takeover(Holds::LOCAL));
    table.run(5_000);
    assert_eq!(table.owners(), [vec![], vec![], vec![1]]);
}

#[test]
fn replaced_engine_judges_its_partner_by_deadtime_not_by_initdead() {
    let mut table = Table::at_home(|settings| settings.initdead = Duration::from_secs(60));
    table.power_off(0);
    table.generation[1] += 1;
    let identity = Identity { uuid: Uuid([2; 16]), generation: Generation(table.generation[1]) };
    let mut states = [GroupState::Stopped; GROUPS_MAX];
    states[2] = GroupState::Running;
    let carried = Carried {
        claims: GroupSet::only(GroupId(2)),
        states,
        is_certain: true,
        is_held: false,
        guests: GroupSet::EMPTY,
        handover: None,
        is_yielding: false,
        stuck_lines: 0,
        to_restart: GroupSet::EMPTY,
        partner: Some(CarriedPartner::default()),
        confirmed: None,
        shot: None,
        fencing: Default::default(),
        health: [Default::default(); GROUPS_MAX],
        turns_from: None,
        kicks_until: None,
    };
    table.nodes[1] = Some(Box::new(Node::new(table.settings[1].clone(), identity, Some(carried), table.stamp())));
    table.give(1, Input::Tick);
    let took = table.until(100_000, |table| table.owners() == [vec![1], vec![1], vec![1]]);
    assert!(took <= 1_300, "{took} ms");
    assert_eq!(table.overlaps, 0);
}

// ---- ping nodes ---------------------------------------------------------------------------------------------------

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

#[test]
fn upstream_of_one_lost_groups_go_to_the_other_and_home_when_it_is_back() {
    let mut table = Table::at_home(with_upstream);
    table.reaches[0][1] = false;
    let took = table.until(3_000, |table| table.owners() == all_on(1));
    assert!((900..=1_500).contains(&took), "deadping and hold-off: {took} ms");
    table.run(70_000);
    assert_eq!(table.owners(), all_on(1), "nothing goes home to a node that is behind");
    table.reaches[0][1] = true;
    let took = table.until(3_000, |table| table.owners() == HOME());
    assert!(took >= 500, "{took} ms: a returned upstream is mistrusted for the hold-off");
    table.run(70_000);
    assert_eq!((table.owners(), table.overlaps), (HOME(), 0));
}

#[test]
fn upstream_back_without_auto_failback_groups_stay() {
    let mut table = Table::at_home(|settings| {
        with_upstream(settings);
        settings.auto_failback = AutoFailback::Off;
    });
    table.reaches[0] = [false; 2];
    table.until(3_000, |table| table.owners() == all_on(1));
    table.reaches[0] = [true; 2];
    table.run(70_000);
    assert_eq!((table.owners(), table.overlaps), (all_on(1), 0));
}

#[test]
fn upstream_of_both_lost_nothing_moves() {
    let mut table = Table::at_home(with_upstream);
    table.reaches[1] = [false; 2];
    table.run(150);
    table.reaches[0] = [false; 2];
    table.run(70_000);
    assert_eq!(table.owners(), HOME());
    // Nor when one of two is lost by each, nor when they come back one after the other within the hold-off.
    table.reaches[0] = [true; 2];
    table.run(300);
    table.reaches[1] = [true; 2];
    table.run(70_000);
    table.reaches = [[true, false], [false, true]];
    table.run(70_000);
    assert_eq!(table.owners(), HOME());
    assert_eq!(table.core(0).ownership().last_move(), None);
}

#[test]
fn upstream_off_or_without_ping_nodes_nothing_moves() {
    let mut table = Table::at_home(|settings| {
        with_upstream(settings);
        settings.upstream.has_failover = false;
    });
    table.reaches[0] = [false; 2];
    table.run(10_000);
    assert_eq!((table.owners(), table.ipfail.len()), (HOME(), 0));
}

#[test]
fn upstream_lost_while_held_moves_after_resume() {
    let mut table = Table::at_home(with_upstream);
    table.request(0, Request::Hold);
    table.reaches[0] = [false; 2];
    table.run(10_000);
    assert_eq!(table.owners(), HOME());
    table.request(0, Request::Resume);
    table.until(1_000, |table| table.owners() == all_on(1));
    table.reaches[0] = [true; 2];
    table.request(1, Request::Hold);
    table.run(10_000);
    assert_eq!(table.owners(), all_on(1));
    table.request(1, Request::Resume);
    table.until(1_000, |table| table.owners() == HOME());
    assert_eq!(table.overlaps, 0);
}

#[test]
fn upstream_moves_count_for_the_latch() {
    let mut table = Table::at_home(|settings| {
        with_upstream(settings);
        settings.moves_per_hour = 3;
    });
    let mut seen = Vec::new();
    for _ in 0..4 {
        table.reaches[0] = [false; 2];
        table.run(5_000);
        seen.push(table.owners());
        table.reaches[0] = [true; 2];
        table.run(5_000);
        seen.push(table.owners());
    }
    assert_eq!(seen[..3], [all_on(1), HOME(), all_on(1)]);
    assert!(seen[4..].windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    assert!((0..2).any(|node| table.core(node).ownership().alarms().contains(Alarm::MovesLatched)));
}

#[test]
fn returning_node_without_upstream_gets_nothing_until_it_has_it() {
    let mut table = Table::at_home(with_upstream);
    table.power_off(0);
    table.reaches[0] = [false; 2];
    table.until(2_000, |table| table.owners() == all_on(1));
    table.boot(0);
    table.run(20_000);
    assert_eq!(table.owners(), all_on(1), "no visit at home either");
    assert_eq!(table.core(1).ownership().last_move().map(|last| last.cause), Some(nullbeat::core::Cause::Death));
    table.reaches[0] = [true; 2];
    table.until(3_000, |table| table.owners() == HOME());
    assert_eq!(table.overlaps, 0);
}

#[test]
fn group_that_failed_to_start_at_the_better_node_stays_at_the_worse_one() {
    let mut table = Table::at_home(with_upstream);
    table.fails[1][0] = true;
    table.reaches[0] = [false; 2];
    table.run(30_000);
    assert_eq!(table.owners(), [vec![0], vec![1], vec![1]]);
    assert_eq!(table.overlaps, 0);
}

#[test]
fn operator_puts_groups_on_the_worse_node_they_come_back() {
    let mut table = Table::at_home(with_upstream);
    table.reaches[0] = [false; 2];
    table.until(3_000, |table| table.owners() == all_on(1));
    table.run(1_000);
    table.request(1, Request::Standby(Holds::ALL));
    table.until(1_000, |table| table.owners() == all_on(0));
    table.until(3_000, |table| table.owners() == all_on(1));
    assert_eq!(table.overlaps, 0);
}

/// Each takes the other for a Heartbeat, and what it says for ipfail's words.
#[test]
fn partner_without_extension_is_told_to_give_up() {
    let mut table = Table::new(with_upstream);
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    table.until(12_000, |table| table.owners() == HOME());
    table.run(500);
    assert!(table.ipfail.contains(&(1, IpfailWord::Join)) && table.ipfail.contains(&(1, IpfailWord::Count(2))));
    table.ipfail.clear();
    table.reaches[0] = [true, false];
    table.until(5_000, |table| table.owners() == all_on(1));
    assert_eq!(table.ipfail[0], (0, IpfailWord::Count(1)), "who loses one asks");
    assert!(table.ipfail.contains(&(1, IpfailWord::YouAreDead)));
    table.run(1_000);
    table.ipfail.clear();
    table.run(200_000);
    assert_eq!(table.ipfail, [], "who has given up is not asked again");
    table.reaches[0] = [true, true];
    table.until(5_000, |table| table.owners() == HOME());
    assert!(table.ipfail.contains(&(1, IpfailWord::AbortGiveup)));
    assert_eq!(table.overlaps, 0);
}

/// What node 1 gives up is announced before it is done, and then it dies (spec/resources.md section 22, number 1).
#[test]
fn partner_that_dies_in_the_middle_of_a_release_has_not_given_up() {
    for request in [Request::Stop, Request::Standby(Holds::ALL)] {
        let mut table = Table::new(|settings| settings.takeover_policy = TakeoverPolicy::Safe);
        table.is_plain = true;
        table.boot(0);
        table.boot(1);
        table.until(20_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
        table.run(2_000);
        table.request(1, request);
        table.until(2_000, |table| table.jobs.iter().any(|job| job.1 == 1 && job.4 == Order::Stop));
        // Its words have arrived, its scripts have not ended.
        for job in table.jobs.iter_mut().filter(|job| job.1 == 1) {
            job.0 += 5_000;
        }
        table.until(1_000, |table| table.core(0).ownership().partner_announced() == Holds::NONE);
        table.power_off(1);
        table.run(5_000);
        assert_eq!(table.owners()[2], [], "{request:?}: nobody vouches for its being off");
        assert!(table.core(0).ownership().alarms().contains(Alarm::NeedsOperator), "{request:?}");
    }
}

#[test]
fn node_calls_itself_stable_only_when_its_scripts_are_done() {
    let mut table = Table::at_home(|_| {});
    table.power_off(1);
    table.until(3_000, |table| table.running[0] == [true; 3]);
    table.run(1_000);
    table.boot(1);
    table.until(3_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.run(1_000);
    table.request(0, Request::Standby(Holds::ALL));
    table.until(3_000, |table| table.running[1] == [true; 3]);
    table.run(1_000);
    assert_eq!(table.stable_too_early, 0);
}

#[test]
fn stop_and_standby_run_no_script_of_groups_that_are_not_held() {
    let mut table = Table::at_home(|_| {});
    table.orders.clear();
    table.request(0, Request::Standby(Holds::LOCAL));
    table.until(2_000, |table| table.running[1] == [true; 3]);
    table.run(500);
    let stops = |table: &Table, node: usize| -> Vec<u8> {
        table.orders.iter().filter(|order| order.0 == node && order.2 == Order::Stop).map(|order| order.1).collect()
    };
    assert_eq!((stops(&table, 0), stops(&table, 1)), (vec![0, 1], vec![]));
    table.orders.clear();
    table.request(0, Request::Stop);
    table.until(2_000, |table| table.exited[0]);
    assert_eq!(table.orders, [], "it held nothing");
}

/// A tool had written it while the other daemon was down (spec/resources.md 21 G11).
#[test]
fn stale_request_for_a_standby_locks_nobody_for_long() {
    let mut table = Table::new(|_| {});
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    table.until(20_000, |table| table.owners() == [vec![0], vec![0], vec![1]]);
    table.run(2_000);
    let seq = table.core(1).comms().own_seq().0 + 1;
    let (set, word) = (Holds::FOREIGN, StandbyWord::Me);
    table.say(1, seq, Body::AskResources { set, word, only: None, after_failure: false });
    assert_ne!(table.core(0).ownership().handover().name(), "none", "it has answered");
    let took = table.until(15_000, |table| table.core(0).ownership().handover().name() == "none");
    assert!(took <= 12_000, "{took} ms");
    table.request(0, Request::Standby(Holds::ALL));
    table.until(15_000, |table| table.running[1] == [true; 3]);
}

#[test]
fn partner_without_extension_that_cannot_start_a_group_is_not_given_it_again_and_again() {
    let mut table = Table::new(with_upstream);
    table.is_plain = true;
    table.boot(0);
    table.boot(1);
    table.until(12_000, |table| table.owners() == HOME());
    table.run(500);
    table.fails[1][0] = true;
    table.reaches[0] = [false; 2];
    table.until(5_000, |table| !table.running[0][0]);
    table.until(30_000, |table| table.running[0][0]);
    let since = table.now;
    let took = table.until(1_200_000, |table| !table.running[0][0]);
    assert!(took >= 599_000, "offered again after {took} ms");
    assert!(table.now - since < 700_000, "and not never");
    assert_eq!(table.overlaps, 0);
}
