//! Two ends of a link that speak the compact format, with fixed "random" bytes: what they say is the test vectors of
//! docs/protocol.md.

use nullbeat::core::ids::{Generation, GroupSet, KeyNumber, NodeSet, Seq, Uuid};
use nullbeat::core::message::{
    Body, ClientName, Extension, GroupState, HealthReport, Holds, IpfailWord, LinkEcho, ResourceInfo, StandbyWord,
    StonithResult,
};
use nullbeat::core::settings::Identity;
use nullbeat::core::{Cause, LineLevel};
use nullbeat::wire::compact::{BODY_MAX, Link, Order, Received, Reject, Secrets, Setup, Telling};

/// The secret of the vectors.
pub(super) const SECRET: &[u8] = b"a secret of the vectors";
/// The wall clock of all that alpha and beta say.
pub(super) const TS: u32 = 1_700_000_000;

/// Where both sides' numbers stand when a session begins.
pub(super) const ALPHA_SEQ: Seq = Seq(0x1_fffe);
pub(super) const BETA_SEQ: Seq = Seq(0x42);

pub(super) const ALPHA: Identity = Identity { uuid: Uuid([0xa1; 16]), generation: Generation(0x6b03_1868) };
pub(super) const BETA: Identity = Identity { uuid: Uuid([0xb2; 16]), generation: Generation(0x6b03_1869) };

pub(super) fn secrets() -> Secrets {
    let mut secrets = Secrets::new(KeyNumber(2));
    assert!(secrets.add(KeyNumber(2), SECRET));
    secrets
}

pub(super) fn setup(name: &str, partner: &str, identity: Identity, seed: u8, order: Order) -> Setup {
    let (name, partner) = (name.try_into().expect("short"), partner.try_into().expect("short"));
    Setup { secrets: secrets(), identity, name, partner, seed: [seed; 32], order }
}

pub(super) struct Pair {
    pub(super) alpha: Link,
    pub(super) beta: Link,
}

impl Pair {
    pub(super) fn new(order: Order) -> Self {
        let alpha = Link::new(setup("alpha", "beta", ALPHA, 1, order));
        Self { alpha, beta: Link::new(setup("beta", "alpha", BETA, 2, order)) }
    }

    /// After alpha has called, and its first beat has come: both know that the session is open.
    pub(super) fn opened(order: Order) -> Self {
        let mut pair = Self::new(order);
        let call = call(&mut pair.alpha, ALPHA_SEQ);
        let answer = replied(&mut pair.beta, &call, BETA_SEQ);
        assert_eq!(receive(&mut pair.alpha, &answer, ALPHA_SEQ), Ok(Got::Opened));
        let first = say(&mut pair.alpha, ALPHA_SEQ, &Body::Starting);
        assert!(matches!(receive(&mut pair.beta, &first, BETA_SEQ), Ok(Got::Message(_))));
        assert!(pair.alpha.is_open() && pair.beta.is_open());
        pair
    }
}

/// What a frame brought, without what is borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Got {
    Reply(Vec<u8>),
    Opened,
    Message(String),
}

pub(super) fn receive(link: &mut Link, frame: &[u8], seq: Seq) -> Result<Got, Reject> {
    let mut reply = [0; BODY_MAX];
    let got = match link.receive(frame, seq, TS, &mut reply)? {
        Received::Reply(len) => Err(len),
        Received::Opened => Ok(Got::Opened),
        Received::Message(message) => Ok(Got::Message(format!("{message:?}"))),
        Received::Piece(piece) => Ok(Got::Message(format!("{piece:?}"))),
    };
    Ok(got.unwrap_or_else(|len| Got::Reply(reply[..len].to_vec())))
}

pub(super) fn call(link: &mut Link, seq: Seq) -> Vec<u8> {
    with(|out| link.call(seq, TS, out).expect("a call"))
}

pub(super) fn replied(link: &mut Link, frame: &[u8], seq: Seq) -> Vec<u8> {
    match receive(link, frame, seq) {
        Ok(Got::Reply(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

pub(super) fn beat(link: &mut Link, seq: Seq, telling: &Telling) -> Vec<u8> {
    with(|out| link.beat(seq, telling, out).expect("a beat"))
}

pub(super) fn say(link: &mut Link, seq: Seq, body: &Body<'_>) -> Vec<u8> {
    let is_numbered = !matches!(body, Body::Ack { .. } | Body::RexmitRequest { .. } | Body::RexmitNak { .. });
    with(|out| link.say((is_numbered.then_some(seq), TS), true, body, out).expect("it can be said"))
}

pub(super) fn with(write: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut out = vec![0; BODY_MAX];
    let len = write(&mut out);
    out.truncate(len);
    out
}

/// What a node with three groups and two links tells of itself.
pub(super) fn telling(partner: Identity, echo: Seq) -> Telling {
    let mut extension = Extension {
        group_count: 3,
        claims: GroupSet(0b101),
        echo_generation: partner.generation,
        echo_seq: echo,
        hears_partner: true,
        is_stable: true,
        link_count: 2,
        config_digest: 0x8a1f_0000,
        resources_digest: 0x1234_5678,
        lease_ms: 20_000,
        owner_line: LineLevel::Active,
        health: Some(HealthReport { failing: 1, unknown: 0, spent: GroupSet(0b100) }),
        ..Extension::EMPTY
    };
    extension.groups[..3].copy_from_slice(&[GroupState::Running, GroupState::Stopped, GroupState::Starting]);
    extension.links[0] = LinkEcho { age_ms: 12 };
    Telling {
        status: Some(nullbeat::core::message::NodeStatus::Active),
        dead_ms: 135,
        ts: TS,
        stalled_ms: 40,
        cause: Some(Cause::Death),
        extension,
    }
}

/// One message of every type but beats.
pub(super) fn bodies() -> Vec<(&'static str, Body<'static>)> {
    let name = |text| ClientName::new(text).expect("a name");
    let nodes = NodeSet::EMPTY;
    vec![
        ("NS_ackmsg", Body::Ack { acked: Seq(0x2_0001) }),
        ("NS_rexmit", Body::RexmitRequest { first: Seq(0x1_fffe), last: Seq(0x2_0000) }),
        ("NS_nak_rexmit", Body::RexmitNak { first: Seq(7), too_low: true }),
        ("reqnodes", Body::ReqNodes),
        ("repnodes", Body::RepNodes { nodes: "alpha beta ", deleted: " " }),
        ("addnode", Body::AddNodes { names: "gamma", nodes }),
        ("delnode", Body::DelNodes { names: "gamma", nodes }),
        ("setweight", Body::SetWeight { node: "beta", weight: 100 }),
        ("setsite", Body::SetSite { node: "beta", site: "roof" }),
        ("starting", Body::Starting),
        (
            "resource",
            Body::Resource {
                holds: Holds::LOCAL,
                is_full: true,
                is_stable: Some(true),
                info: ResourceInfo::ReqOurResources,
            },
        ),
        (
            "ask_resources",
            Body::AskResources {
                set: Holds::ALL,
                word: StandbyWord::Me,
                only: Some(GroupSet(0b100)),
                after_failure: false,
            },
        ),
        ("hb_takeover", Body::Takeover { set: None }),
        ("ip-request", Body::IpRequest { key: "IPaddr::10.0.0.1", group: None }),
        ("ip-request-resp", Body::IpRequestResp { key: "IPaddr::10.0.0.1", group: None, is_ok: true }),
        ("shutdone", Body::ShutDone),
        ("stonith", Body::Stonith { node: "beta", result: StonithResult::Unneeded }),
        ("num_ping_nodes", Body::Ipfail(IpfailWord::Count(2))),
        ("query-cstatus", Body::ClientQuery { client: "ipfail", asker: "api_test" }),
        ("respond-cstatus", Body::ClientAnswer { client: name("ipfail"), asker: name("api_test"), is_online: true }),
    ]
}

/// A frame, its name in docs/protocol.md, whether alpha says it, and both ends just before it arrives.
pub(super) struct Vector {
    pub(super) name: &'static str,
    pub(super) frame: Vec<u8>,
    pub(super) is_alphas: bool,
    pub(super) before: (Link, Link),
}

impl Vector {
    /// Who receives it, as it was before.
    pub(super) fn receiver(&self) -> Link {
        if self.is_alphas { self.before.1.clone() } else { self.before.0.clone() }
    }

    /// Who has said it, as it was afterwards.
    pub(super) fn sender(&self) -> Link {
        if self.is_alphas { self.before.0.clone() } else { self.before.1.clone() }
    }
}

/// A dialogue: a session begins, beats go both ways, one message of every type.
pub(super) fn vectors() -> Vec<Vector> {
    let Pair { mut alpha, mut beta } = Pair::new(Order::Kept);
    let mut vectors = Vec::new();
    let mut note = |name, frame: &Vec<u8>, is_alphas, alpha: &Link, beta: &Link| {
        vectors.push(Vector { name, frame: frame.clone(), is_alphas, before: (alpha.clone(), beta.clone()) });
    };
    let frame = call(&mut alpha, ALPHA_SEQ);
    note("call", &frame, true, &alpha, &beta);
    let frame = replied(&mut beta, &frame, BETA_SEQ);
    note("answer", &frame, false, &alpha, &beta);
    receive(&mut alpha, &frame, ALPHA_SEQ).expect("the answer");
    let of_alpha = telling(BETA, BETA_SEQ);
    let frame = with(|out| alpha.tell_all(Seq(ALPHA_SEQ.0 + 1), &of_alpha, "5|1|start", out).expect("everything"));
    note("everything", &frame, true, &alpha, &beta);
    receive(&mut beta, &frame, BETA_SEQ).expect("everything");
    let frame = beat(&mut beta, Seq(BETA_SEQ.0 + 1), &telling(ALPHA, ALPHA_SEQ));
    note("beat of beta", &frame, false, &alpha, &beta);
    receive(&mut alpha, &frame, ALPHA_SEQ).expect("a beat");
    let frame = beat(&mut alpha, Seq(ALPHA_SEQ.0 + 2), &of_alpha);
    note("beat", &frame, true, &alpha, &beta);
    receive(&mut beta, &frame, BETA_SEQ).expect("a beat");
    let mut changed = of_alpha;
    changed.extension.groups[2] = GroupState::Running;
    let frame = beat(&mut alpha, Seq(ALPHA_SEQ.0 + 3), &changed);
    note("beat with a change", &frame, true, &alpha, &beta);
    receive(&mut beta, &frame, BETA_SEQ).expect("a beat");
    for (offset, (name, body)) in (4..).zip(bodies()) {
        let frame = say(&mut alpha, Seq(ALPHA_SEQ.0 + offset), &body);
        note(name, &frame, true, &alpha, &beta);
        receive(&mut beta, &frame, BETA_SEQ).expect(name);
    }
    let frame = with(|out| alpha.piece(Seq(ALPHA_SEQ.0 + 24), (4, 300), b"t=words\n", out).expect("a piece"));
    note("piece", &frame, true, &alpha, &beta);
    receive(&mut beta, &frame, BETA_SEQ).expect("a piece");
    vectors
}
