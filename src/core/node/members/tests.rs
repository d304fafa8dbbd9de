//! Nodes come and go: what is accepted, from whom, and what is said about it.

use super::*;
use crate::core::Input;
use crate::core::ids::{Generation, KeyNumber, LinkId, Seq};
use crate::core::message::Packet;
use crate::core::settings::{AutoFailback, Identity, Settings, SplitBrainLoser, TakeoverPolicy, UpstreamSettings};
use crate::core::time::Duration;

const DEAD: Duration = Duration::from_secs(1);

fn settings(names: &[&str], autojoin: Autojoin) -> Settings {
    Settings {
        nodes: names.iter().map(|name| (*name).try_into().unwrap()).collect(),
        local: NodeId(0),
        partner: None,
        links: ["eth0".try_into().unwrap()].into_iter().collect(),
        groups: heapless::Vec::new(),
        paces: heapless::Vec::new(),
        keepalive: Duration::from_millis(200),
        warntime: Duration::from_millis(500),
        deadtime: DEAD,
        announced_extra: Duration::ZERO,
        initdead: Duration::from_secs(2),
        max_rexmit_delay: Duration::from_millis(250),
        auto_failback: AutoFailback::Off,
        failback_delay: Duration::ZERO,
        moves_per_hour: 0,
        takeover_policy: TakeoverPolicy::Available,
        split_brain_loser: SplitBrainLoser::NotPreferred,
        fence: crate::core::settings::FenceSettings::NONE,
        interlock: None,
        has_owner_line: false,
        lease: None,
        config_digest: 0,
        resources_digest: 0,
        has_resources: false,
        autojoin,
        upstream: UpstreamSettings::NONE,
        health: crate::core::settings::HealthSettings::NONE,
        signing_key: KeyNumber(1),
        random_seed: 1,
        is_generation_guessed: false,
    }
}

struct Bench {
    /// It is large, and a test's stack is not.
    node: Box<Node>,
    now: u64,
    /// Last number that each name has used.
    seqs: Vec<(String, u64)>,
    packets: Vec<Packet>,
    replies: Vec<Outcome>,
    changes: usize,
    has_ended: bool,
}

fn stamp(ms: u64) -> Stamp {
    Stamp { now: Instant::from_millis(ms), wall: 1_800_000_000 }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let identity = Identity { uuid: Uuid([1; 16]), generation: Generation(3) };
        let node = Box::new(Node::new(settings, identity, None, stamp(0)));
        let (seqs, packets, replies) = (Vec::new(), Vec::new(), Vec::new());
        let mut bench = Self { node, now: 0, seqs, packets, replies, changes: 0, has_ended: false };
        bench.give(Input::Tick);
        bench
    }

    fn give(&mut self, input: Input<'_>) {
        self.node.handle(stamp(self.now), input);
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Transmit { packet, .. } => self.packets.push(packet),
                Action::Reply { outcome, .. } => self.replies.push(outcome),
                Action::Event(Event::Members) => self.changes += 1,
                Action::Exit => self.has_ended = true,
                _ => {}
            }
        }
    }

    fn hear(&mut self, src: &str, body: Body<'_>) {
        if !self.seqs.iter().any(|(name, _)| name == src) {
            self.seqs.push((src.to_owned(), 0));
        }
        let place = self.seqs.iter().position(|(name, _)| name == src).unwrap();
        self.seqs[place].1 += 1;
        let message = Message {
            src,
            src_uuid: Some(Uuid([10 + u8::try_from(src.len() * 7 + src.as_bytes()[0] as usize % 7).unwrap(); 16])),
            dest: None,
            dest_uuid: None,
            seq: Some(Seq(self.seqs[place].1)),
            generation: Generation(5),
            ts: 1_800_000_000,
            key: KeyNumber(1),
            news: None,
            compact: None,
            body,
        };
        self.give(Input::Received { link: LinkId(0), message: &message });
    }

    fn beat(&mut self, src: &str) {
        let status = Some(NodeStatus::Active);
        self.hear(
            src,
            Body::Status { status, dead_ms: Some(1000), has_protocol: true, is_nullbeat: false, extension: None },
        );
    }

    /// A while in which only these beat.
    fn live(&mut self, ms: u64, beating: &[&str]) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 100;
            for name in beating {
                self.beat(name);
            }
            self.give(Input::Tick);
        }
    }

    fn ask(&mut self, change: MemberChange<'_>) -> Outcome {
        self.give(Input::Members { id: RequestId(7), change });
        self.replies.pop().expect("every request is answered at once")
    }

    fn members(&self) -> Vec<&str> {
        let names = &self.node.settings().nodes;
        self.node.comms().members().iter().map(|node| names[usize::from(node.0)].as_str()).collect()
    }

    fn status(&self, name: &str) -> NodeStatus {
        self.node.comms().peer(self.node.numbered(name).unwrap()).status
    }

    fn said(&self, what: impl Fn(&Body<'_>) -> bool) -> usize {
        self.packets.iter().filter(|packet| what(&packet.body)).count()
    }
}

#[test]
fn node_added_is_told_to_all_waited_for_and_dies_when_silent() {
    let mut bench = Bench::new(settings(&["alpha", "beta"], Autojoin::None));
    bench.live(10_000, &["beta"]);
    assert_eq!(bench.ask(MemberChange::Add { names: "Gamma beta" }), Outcome::Done);
    assert_eq!((bench.members(), bench.changes), (vec!["alpha", "beta", "gamma"], 1));
    assert_eq!(bench.said(|body| *body == Body::AddNodes { names: "", nodes: NodeSet::only(NodeId(2)) }), 1);
    bench.live(500, &["beta"]);
    assert_eq!(bench.status("gamma"), NodeStatus::Init, "it has its dead time from now");
    bench.live(1000, &["beta"]);
    assert_eq!((bench.status("gamma"), bench.status("beta")), (NodeStatus::Dead, NodeStatus::Active));
    bench.live(300, &["beta", "gamma"]);
    assert_eq!(bench.status("gamma"), NodeStatus::Active);
    assert_eq!(bench.ask(MemberChange::Add { names: " gamma " }), Outcome::Nothing);
}

#[test]
fn delete_wants_the_dead_and_all_others_alive() {
    let mut bench = Bench::new(settings(&["alpha", "beta", "gamma", "delta"], Autojoin::None));
    bench.live(3000, &["beta", "gamma"]);
    let delete = |bench: &mut Bench, names| bench.ask(MemberChange::Delete { names });
    assert_eq!(delete(&mut bench, "beta"), Outcome::Refused(Refusal::NodeAlive));
    assert_eq!(delete(&mut bench, "delta beta"), Outcome::Refused(Refusal::NodeAlive));
    assert_eq!(delete(&mut bench, "nobody"), Outcome::Refused(Refusal::UnknownNode));
    bench.live(2000, &["beta"]);
    assert_eq!(delete(&mut bench, "delta"), Outcome::Refused(Refusal::NodesMissing), "gamma is dead");
    assert_eq!(bench.members().len(), 4);
    assert_eq!(delete(&mut bench, "gamma delta"), Outcome::Done);
    assert_eq!(bench.members(), ["alpha", "beta"]);
    let gone: NodeSet = [NodeId(2), NodeId(3)].into_iter().collect();
    assert_eq!(bench.said(|body| *body == Body::DelNodes { names: "", nodes: gone }), 1);
    // Deleted nodes are not heard, nor do they come back to life, until somebody adds them again.
    bench.live(500, &["beta", "gamma"]);
    assert_eq!(bench.status("gamma"), NodeStatus::Dead);
    assert!(bench.node.comms().counters().unknown_node > 0);
    bench.hear("beta", Body::AddNodes { names: "gamma", nodes: NodeSet::EMPTY });
    bench.live(500, &["beta", "gamma"]);
    assert_eq!(bench.status("gamma"), NodeStatus::Active);
}

#[test]
fn peer_may_add_and_delete_and_whoever_is_deleted_itself_ends() {
    let mut bench = Bench::new(settings(&["alpha", "beta"], Autojoin::None));
    bench.live(3000, &["beta"]);
    bench.hear("beta", Body::AddNodes { names: "gamma delta", nodes: NodeSet::EMPTY });
    assert_eq!(bench.members(), ["alpha", "beta", "gamma", "delta"]);
    bench.live(2000, &["beta"]);
    bench.hear("beta", Body::DelNodes { names: "gamma", nodes: NodeSet::EMPTY });
    assert_eq!(bench.members().len(), 4, "delta is dead, too, and would not hear of it");
    bench.hear("beta", Body::DelNodes { names: "gamma delta", nodes: NodeSet::EMPTY });
    assert_eq!(bench.members(), ["alpha", "beta"]);
    bench.hear("beta", Body::SetWeight { node: "beta", weight: 7 });
    bench.hear("beta", Body::SetSite { node: "beta", site: "cellar" });
    bench.hear("beta", Body::SetSite { node: "nobody", site: "attic" });
    let members = bench.node.members();
    assert_eq!((members.weight(NodeId(1)), members.site(NodeId(1)), members.weight(NodeId(0))), (7, "cellar", 100));
    assert_eq!(
        bench.said(|body| matches!(body, Body::AddNodes { .. } | Body::DelNodes { .. })),
        0,
        "nothing is echoed"
    );
    bench.hear("beta", Body::DelNodes { names: "alpha", nodes: NodeSet::EMPTY });
    assert!(bench.has_ended);
}

#[test]
fn list_of_a_running_node_is_taken_over() {
    let mut bench = Bench::new(settings(&["alpha", "beta", "gamma"], Autojoin::None));
    bench.live(3000, &["beta"]);
    bench.hear("beta", Body::RepNodes { nodes: "beta other ", deleted: " " });
    assert_eq!(bench.members(), ["alpha", "beta", "gamma"], "a list without us is not for us");
    bench.hear("beta", Body::RepNodes { nodes: "alpha beta delta ", deleted: "omega " });
    assert_eq!(bench.members(), ["alpha", "beta", "delta"], "gamma was dead");
    bench.hear("omega", Body::Starting);
    assert_eq!(bench.members(), ["alpha", "beta", "delta"]);
    bench.hear("delta", Body::RepNodes { nodes: "alpha delta gamma ", deleted: " " });
    assert_eq!(bench.members(), ["alpha", "beta", "gamma", "delta"], "beta is alive, gamma is back");
}

#[test]
fn autojoin_takes_up_strangers_and_only_then() {
    let mut bench = Bench::new(settings(&["alpha"], Autojoin::Other));
    bench.beat("beta");
    assert_eq!((bench.members(), bench.status("beta")), (vec!["alpha", "beta"], NodeStatus::Init));
    bench.beat("beta");
    assert_eq!(bench.status("beta"), NodeStatus::Active);
    assert!(!bench.node.comms().is_up(), "others may still turn up");
    bench.live(2100, &["beta"]);
    assert!(bench.node.comms().is_up());
    for bad in ["UPPER", "a b", "a\nb", "\u{fc}ber"] {
        bench.beat(bad);
    }
    assert_eq!(bench.members(), ["alpha", "beta"]);
    let mut closed = Bench::new(settings(&["alpha"], Autojoin::None));
    closed.beat("beta");
    assert_eq!(closed.members(), ["alpha"]);
    let with_resources = Settings { has_resources: true, ..settings(&["alpha"], Autojoin::Any) };
    let mut fixed = Bench::new(with_resources);
    fixed.beat("beta");
    assert_eq!(fixed.members(), ["alpha"]);
}

#[test]
fn with_resources_the_nodes_are_those_of_the_file() {
    let mut bench = Bench::new(Settings { has_resources: true, ..settings(&["alpha", "beta"], Autojoin::None) });
    bench.live(3000, &["beta"]);
    let fixed = Outcome::Refused(Refusal::FixedNodes);
    assert_eq!(bench.ask(MemberChange::Add { names: "gamma" }), fixed);
    assert_eq!(bench.ask(MemberChange::Delete { names: "alpha" }), fixed);
    bench.hear("beta", Body::AddNodes { names: "gamma", nodes: NodeSet::EMPTY });
    bench.hear("beta", Body::DelNodes { names: "alpha", nodes: NodeSet::EMPTY });
    bench.hear("beta", Body::RepNodes { nodes: "alpha beta gamma ", deleted: " " });
    assert_eq!((bench.members(), bench.has_ended, bench.changes), (vec!["alpha", "beta"], false, 0));
    assert_eq!(bench.ask(MemberChange::SetWeight { node: "beta", weight: 1 }), Outcome::Done);
}

#[test]
fn full_table_refuses_politely_and_keeps_places_of_the_deleted() {
    let mut bench = Bench::new(settings(&["alpha", "beta"], Autojoin::Other));
    bench.live(3000, &["beta"]);
    let names: Vec<String> = (0..14).map(|number| format!("n{number}")).collect();
    assert_eq!(bench.ask(MemberChange::Add { names: &format!("{} one-more", names.join(" ")) }), refused());
    assert_eq!(bench.members().len(), 2, "all or nothing");
    assert_eq!(bench.ask(MemberChange::Add { names: &names.join(" ") }), Outcome::Done);
    bench.beat("stranger");
    bench.hear("beta", Body::AddNodes { names: "stranger", nodes: NodeSet::EMPTY });
    bench.hear("beta", Body::RepNodes { nodes: "alpha beta stranger ", deleted: "odd " });
    assert!(!bench.members().contains(&"stranger"));
    assert_eq!(bench.ask(MemberChange::Add { names: "stranger" }), refused());
    for bad in ["a\u{7f}", "\u{fc}ber", &"x".repeat(100)] {
        assert_eq!(bench.ask(MemberChange::Add { names: bad }), Outcome::Refused(Refusal::BadName), "{bad}");
    }
    let long = "s".repeat(65);
    assert_eq!(bench.ask(MemberChange::SetSite { node: "beta", site: &long }), Outcome::Refused(Refusal::BadName));
}

fn refused() -> Outcome {
    Outcome::Refused(Refusal::TooManyNodes)
}

#[test]
fn what_was_kept_is_recalled() {
    let mut node = Node::new(
        settings(&["alpha"], Autojoin::Other),
        Identity { uuid: Uuid([1; 16]), generation: Generation(3) },
        None,
        stamp(0),
    );
    let line = |name, is_deleted| Remembered { name, uuid: Uuid([9; 16]), weight: 3, site: "cellar", is_deleted };
    for line in [line("alpha", false), line("beta", false), line("gamma", true), line("bad name", false)] {
        node.recall(stamp(0), line);
    }
    assert_eq!(node.settings().nodes.len(), 3);
    assert_eq!(node.comms().members().len(), 2);
    let known = node.numbered("beta").unwrap();
    assert_eq!((node.members().weight(known), node.members().site(known)), (3, "cellar"));
    assert_eq!(node.comms().peer(known).uuid, Uuid([9; 16]));
    assert!(node.comms().peer(node.numbered("gamma").unwrap()).uuid.is_nil(), "a uuid stands for one node only");
}

// Clients of this node, on the same bench.

use crate::core::ids::RelayId;
use crate::core::limits::RELAYED_MAX;
use crate::core::message::ClientName;

fn client(name: &str) -> ClientName {
    ClientName::new(name).unwrap()
}

#[test]
fn client_is_online_while_it_is_signed_on() {
    let mut bench = Bench::new(settings(&["alpha", "beta"], Autojoin::None));
    bench.live(500, &["beta"]);
    let asked = |bench: &mut Bench, name: &str| {
        bench.packets.clear();
        bench.hear("beta", Body::ClientQuery { client: name, asker: "4711" });
        assert!(!bench.node.has_delivered(), "nobody's message");
        bench.packets.iter().find_map(|packet| match packet.body {
            Body::ClientAnswer { client, asker, is_online } => {
                assert_eq!((packet.to, client.as_str(), asker.as_str()), (Some(NodeId(1)), name, "4711"));
                Some(is_online)
            }
            _ => None,
        })
    };
    assert_eq!(asked(&mut bench, "ccm"), Some(false));
    bench.give(Input::Client { slot: 3, name: Some(client("ccm")) });
    assert_eq!(asked(&mut bench, "ccm"), Some(true));
    assert_eq!(asked(&mut bench, "ipfail"), Some(false), "its judgement is not switched on");
    bench.give(Input::Client { slot: 3, name: None });
    assert_eq!(asked(&mut bench, "ccm"), Some(false));
    assert_eq!(asked(&mut bench, "a-client-whose-name-is-longer-than-any"), None, "nobody has such a name");
}

#[test]
fn ipfail_is_online_exactly_when_ping_nodes_are_compared() {
    let mut compared = settings(&["alpha", "beta"], Autojoin::None);
    compared.upstream.ping_nodes.push("gateway".try_into().unwrap()).unwrap();
    assert!(!Bench::new(compared.clone()).node.is_client_online("ipfail"));
    compared.upstream.has_failover = true;
    assert!(Bench::new(compared).node.is_client_online("ipfail"));
}

#[test]
fn message_of_a_client_is_sent_again_while_the_caller_still_has_it() {
    let mut bench = Bench::new(settings(&["alpha", "beta"], Autojoin::None));
    bench.live(500, &["beta"]);
    bench.packets.clear();
    for id in 1..=u32::try_from(RELAYED_MAX).unwrap() + 1 {
        bench.give(Input::Relay { to: None, id: RelayId(id) });
    }
    let seqs: Vec<(Seq, RelayId)> = bench
        .packets
        .iter()
        .filter_map(|packet| match packet.body {
            Body::Relayed { id } => Some((packet.seq?, id)),
            _ => None,
        })
        .collect();
    assert_eq!(seqs.len(), RELAYED_MAX + 1);
    assert!(bench.node.is_congested(), "nobody has acknowledged that many");
    bench.packets.clear();
    bench.now += 500;
    bench.hear("beta", Body::RexmitRequest { first: seqs[0].0, last: seqs[1].0 });
    let refused = bench.said(|body| *body == Body::RexmitNak { first: seqs[0].0, too_low: true });
    let again = bench.said(|body| *body == Body::Relayed { id: seqs[1].1 });
    assert_eq!((refused, again), (1, 1));
}

#[test]
fn message_of_a_client_is_heard_here_without_any_link() {
    let mut bench = Bench::new(settings(&["alpha", "beta"], Autojoin::None));
    bench.give(Input::LinkDevice { link: LinkId(0), is_open: false });
    bench.packets.clear();
    bench.give(Input::Relay { to: None, id: RelayId(1) });
    assert_eq!(bench.said(|body| *body == Body::Relayed { id: RelayId(1) }), 1);
    bench.live(1000, &[]);
    assert_eq!(bench.said(|body| matches!(body, Body::Status { .. })), 0, "beats are for others");
}
