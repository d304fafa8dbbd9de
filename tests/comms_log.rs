//! The log lines of communication, word for word: sites grep for them (spec/wire.md sections 8 and 9.3).

use std::cell::RefCell;

use nullbeat::core::comms::{Comms, Happenings, Outbox};
use nullbeat::core::ids::{Generation, KeyNumber, LinkId, NodeId, Seq, Uuid};
use nullbeat::core::message::{Body, Message, NodeStatus};
use nullbeat::core::settings::{AutoFailback, Identity, Settings, SplitBrainLoser, TakeoverPolicy};
use nullbeat::core::time::{Duration, Instant, Stamp};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps each test's lines apart: a test runs in one thread.
struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match (record.target(), record.level()) {
            ("CRIT", _) => "CRIT",
            (_, log::Level::Error) => "ERROR",
            (_, log::Level::Warn) => "WARN",
            (_, log::Level::Info) => "info",
            _ => return,
        };
        LINES.with_borrow_mut(|lines| lines.push(format!("{level}: {}", record.args())));
    }

    fn flush(&self) {}
}

fn lines() -> Vec<String> {
    LINES.take()
}

fn settings() -> Settings {
    let ms = Duration::from_millis;
    Settings {
        nodes: ["alpha", "beta"].into_iter().map(|name| name.try_into().unwrap()).collect(),
        local: NodeId(0),
        partner: Some(NodeId(1)),
        links: ["eth0", "/dev/ttyS0"].into_iter().map(|name| name.try_into().unwrap()).collect(),
        groups: Default::default(),
        paces: Default::default(),
        keepalive: ms(200),
        warntime: ms(500),
        deadtime: ms(1000),
        announced_extra: Duration::ZERO,
        initdead: ms(4000),
        max_rexmit_delay: ms(250),
        signing_key: KeyNumber(1),
        auto_failback: AutoFailback::Off,
        failback_delay: ms(0),
        moves_per_hour: 0,
        takeover_policy: TakeoverPolicy::Available,
        split_brain_loser: SplitBrainLoser::NotPreferred,
        upstream: nullbeat::core::settings::UpstreamSettings::NONE,
        health: nullbeat::core::settings::HealthSettings::NONE,
        fence: nullbeat::core::settings::FenceSettings::NONE,
        interlock: None,
        has_owner_line: false,
        lease: None,
        config_digest: 0,
        resources_digest: 0,
        has_resources: true,
        autojoin: nullbeat::core::settings::Autojoin::default(),
        random_seed: 1,
        is_generation_guessed: false,
    }
}

/// Alpha, and what beta does to it.
struct Alpha {
    settings: Settings,
    comms: Comms,
}

impl Alpha {
    fn new() -> Self {
        // The second test finds the logger in place.
        let _ = log::set_logger(&Capture);
        log::set_max_level(log::LevelFilter::Info);
        let settings = settings();
        let identity = Identity { uuid: Uuid([1; 16]), generation: Generation(1) };
        let comms = Comms::new(&settings, identity, stamp(0));
        Self { settings, comms }
    }

    /// Beta's statuses 1 to 3 came at 0 ms by eth0.
    fn met() -> Self {
        let mut alpha = Self::new();
        for seq in 1..=3 {
            alpha.hear(0, "beta", status(seq, NodeStatus::Active));
        }
        lines();
        alpha
    }

    fn hear(&mut self, ms: u64, src: &str, message: Message<'_>) {
        let (mut outbox, mut happenings) = (Outbox::new(), Happenings::new());
        let message = Message { src, ..message };
        self.comms.notice_lateness(&self.settings, stamp(ms), self.comms.next_deadline(), &mut happenings);
        self.comms.receive(&self.settings, stamp(ms), LinkId(0), &message, &mut outbox, &mut happenings);
        self.comms.beat(&self.settings, stamp(ms), None, &mut outbox);
    }

    fn run_to(&mut self, ms: u64) {
        loop {
            let next = self.comms.next_deadline();
            if next > Instant::from_millis(ms) {
                return;
            }
            let at = Stamp { now: next, wall: 1 };
            let (mut outbox, mut happenings) = (Outbox::new(), Happenings::new());
            self.comms.notice_lateness(&self.settings, at, self.comms.next_deadline(), &mut happenings);
            self.comms.tick(&self.settings, at, &mut outbox, &mut happenings);
            if self.comms.is_beat_due(at) {
                self.comms.beat(&self.settings, at, None, &mut outbox);
            }
        }
    }
}

fn stamp(ms: u64) -> Stamp {
    Stamp { now: Instant::from_millis(ms), wall: 1_800_000_000 }
}

fn message(seq: u64, body: Body<'static>) -> Message<'static> {
    Message {
        src: "beta",
        src_uuid: Some(Uuid([2; 16])),
        dest: None,
        dest_uuid: None,
        seq: (seq > 0).then_some(Seq(seq)),
        generation: Generation(5),
        ts: 1_800_000_000,
        key: KeyNumber(1),
        news: None,
        compact: None,
        body,
    }
}

fn status(seq: u64, status: NodeStatus) -> Message<'static> {
    let body = Body::Status {
        status: Some(status),
        dead_ms: Some(1000),
        has_protocol: true,
        is_nullbeat: false,
        extension: None,
    };
    message(seq, body)
}

#[test]
fn start_of_a_peer() {
    let mut alpha = Alpha::new();
    alpha.hear(0, "beta", status(1, NodeStatus::Init));
    alpha.hear(10, "beta", status(2, NodeStatus::Up));
    alpha.hear(20, "beta", status(3, NodeStatus::Active));
    let expected = [
        "info: Link beta:eth0 up.",
        "info: Comm_now_up(): updating status to active",
        "info: Status update for node beta: status up",
        "info: Status update for node beta: status active",
    ];
    assert_eq!(lines(), expected);
}

#[test]
fn death_and_return_after_partition() {
    let mut alpha = Alpha::met();
    alpha.run_to(1000);
    assert_eq!(lines(), ["WARN: node beta: is dead", "info: Link beta:eth0 dead."]);
    alpha.run_to(3000);
    alpha.hear(3000, "beta", status(18, NodeStatus::Active));
    let expected = [
        "CRIT: Cluster node beta returning after partition.",
        "info: For information on cluster partitions, See URL: http://linux-ha.org/wiki/Split_Brain",
        "WARN: Deadtime value may be too small.",
        "info: See FAQ for information on tuning deadtime.",
        "info: URL: http://linux-ha.org/wiki/FAQ#Heavy_Load",
        "info: Link beta:eth0 up.",
        "CRIT: Late heartbeat: Node beta: interval 3000 ms (> deadtime)",
        "info: Status update for node beta: status active",
    ];
    assert_eq!(lines(), expected);
}

#[test]
fn restart_and_replay() {
    let mut alpha = Alpha::met();
    alpha.hear(100, "beta", Message { generation: Generation(6), ..status(1, NodeStatus::Init) });
    alpha.hear(110, "beta", status(4, NodeStatus::Active));
    let expected = [
        "info: Heartbeat restart on node beta",
        "info: Status update for node beta: status init",
        "ERROR: should_drop_message: attempted replay attack [beta]? [gen = 5, curgen = 6]",
    ];
    assert_eq!(lines(), expected);
}

#[test]
fn late_heartbeats() {
    let mut alpha = Alpha::met();
    alpha.run_to(500);
    alpha.hear(500, "beta", status(4, NodeStatus::Active));
    assert_eq!(lines(), [""; 0], "warntime is 500 ms");
    alpha.run_to(1001);
    alpha.hear(1001, "beta", status(5, NodeStatus::Active));
    assert_eq!(lines(), ["WARN: Late heartbeat: Node beta: interval 501 ms"]);
}

#[test]
fn lost_packets() {
    let mut alpha = Alpha::met();
    alpha.hear(0, "beta", status(6, NodeStatus::Active));
    alpha.hear(1, "beta", message(4, Body::Starting));
    alpha.hear(2, "beta", message(5, Body::Starting));
    alpha.hear(3, "beta", status(8, NodeStatus::Active));
    let nak = Body::RexmitNak { first: Seq(7), too_low: true };
    alpha.hear(4, "beta", Message { dest: Some("alpha"), ..message(0, nak) });
    alpha.hear(5, "beta", status(260, NodeStatus::Active));
    let expected = [
        "WARN: 2 lost packet(s) for [beta] [3:6]",
        "info: No pkts missing from beta!",
        "WARN: 1 lost packet(s) for [beta] [6:8]",
        "info: No pkts missing from beta!",
        "ERROR: Irretrievably lost packet: node beta seq 7",
        "WARN: 251 lost packet(s) for [beta] [8:260]",
        "ERROR: lost a lot of packets!",
    ];
    assert_eq!(lines(), expected);
}

#[test]
fn requests_that_cannot_be_met() {
    let mut alpha = Alpha::met();
    let ask = |first, last| {
        let body = Body::RexmitRequest { first: Seq(first), last: Seq(last) };
        Message { dest: Some("alpha"), ..message(0, body) }
    };
    let mut outbox = Outbox::new();
    while alpha.comms.own_seq() < Seq(510) {
        alpha.comms.send(&alpha.settings, stamp(0), None, Body::Starting, &mut outbox);
        outbox.clear();
    }
    let filling = [
        "WARN: Message hist queue is filling up (376 messages in queue)",
        "ERROR: Message hist queue is filling up (451 messages in queue)",
    ];
    assert_eq!(lines(), filling, "once each, not with every message");
    alpha.hear(10, "beta", ask(3, 2));
    alpha.hear(20, "beta", ask(600, 600));
    alpha.hear(30, "beta", ask(1, 2));
    let expected = [
        "ERROR: Invalid rexmit seqnos",
        "WARN: Rexmit of seq 600 requested. 511 is max.",
        "ERROR: Cannot rexmit pkt 1 for beta: seqno too low",
        "info: fromnode =beta, fromnode's ackseq = 0",
        "info: hist information:",
        "info: hiseq =512, lowseq=12,ackseq=0,lastmsg=12",
    ];
    assert_eq!(lines(), expected);
    alpha.hear(40, "beta", Message { dest: Some("alpha"), ..message(0, Body::Ack { acked: Seq(0x1000) }) });
    assert_eq!(lines(), ["ERROR: HBDoMsg_T_ACK: corrupted ackseq current hiseq = 201 ackseq =1000 in this message"]);
}

#[test]
fn strangers_are_complained_about_every_ten_seconds() {
    let mut alpha = Alpha::met();
    for ms in [0, 100, 9_999, 10_000] {
        alpha.run_to(ms);
        alpha.hear(ms, "delta", Message { src_uuid: None, ..status(1, NodeStatus::Up) });
    }
    let bad: Vec<_> = lines().into_iter().filter(|line| line.contains("bad node")).collect();
    let expected = [
        "ERROR: process_status_message: bad node [delta] in message",
        "ERROR: process_status_message: bad node [delta] in message (2 more like this before)",
    ];
    assert_eq!(bad, expected);
}

#[test]
fn identities() {
    let mut alpha = Alpha::met();
    alpha.hear(0, "BETA", status(4, NodeStatus::Active));
    alpha.hear(0, "beta", Message { src_uuid: Some(Uuid([0x5d; 16])), ..status(5, NodeStatus::Active) });
    alpha.hear(0, "beta", Message { src_uuid: Some(Uuid([1; 16])), ..status(6, NodeStatus::Active) });
    alpha.hear(0, "alpha", status(7, NodeStatus::Active));
    let expected = [
        "WARN: nodename beta uuid changed to BETA",
        "info: node beta changed its uuid to 5d5d5d5d-5d5d-5d5d-5d5d-5d5d5d5d5d5d",
        "ERROR: nodes alpha and beta have the same uuid: remove hb_uuid on one of them",
        "ERROR: another daemon calls itself alpha like this one: every node needs a name of its own",
    ];
    assert_eq!(lines(), expected);
}

#[test]
fn own_side() {
    let mut alpha = Alpha::met();
    let (mut outbox, mut happenings) = (Outbox::new(), Happenings::new());
    alpha.comms.set_status(&alpha.settings, stamp(0), NodeStatus::Up, &mut outbox);
    for link in [0, 1] {
        alpha.comms.link_device(&alpha.settings, stamp(0), LinkId(link), false);
    }
    alpha.comms.notice_lateness(&alpha.settings, stamp(800), alpha.comms.next_deadline(), &mut happenings);
    let expected = [
        "info: Local status now set to: 'up'",
        "CRIT: send_to_all_media: No working comm channels to write to.",
        "WARN: this node was late by 800 ms: judging nobody for 200 ms",
    ];
    assert_eq!(lines(), expected);
}

#[test]
fn peers_of_other_kinds() {
    let mut alpha = Alpha::met();
    let plain = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(1000),
        has_protocol: false,
        is_nullbeat: false,
        extension: None,
    };
    alpha.hear(0, "beta", message(4, plain));
    alpha.hear(0, "beta", message(5, plain));
    alpha.hear(0, "beta", message(6, Body::RepNodes { nodes: "alpha beta gamma ", deleted: " " }));
    alpha.hear(0, "beta", message(7, Body::RepNodes { nodes: "beta alpha ", deleted: " " }));
    let expected = [
        "info: flow control disabled due to different version heartbeat",
        "WARN: the node lists differ: beta has [alpha beta gamma]",
    ];
    assert_eq!(lines(), expected);
}
