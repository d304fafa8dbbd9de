//! Whatever we say is understood as said, in each form, under each method.

use super::{ALPHA, BETA, Node, UUIDS, datagram, decode, packet, serial};
use nullbeat::core::LineLevel;
use nullbeat::core::ids::{Generation, GroupId, GroupSet, NodeId, NodeName, NodeSet, Seq, Uuid};
use nullbeat::core::limits::{GROUPS_MAX, LINKS_MAX, NODE_NAME_MAX, NODES_MAX};
use nullbeat::core::message::{
    Body, Extension, GroupState, HealthReport, Holds, LinkEcho, NodeStatus, Packet, ResourceInfo, StandbyWord,
    StonithResult,
};
use nullbeat::core::settings::Identity;
use nullbeat::wire::heartbeat::{Codec, ENCODED_MAX, Keys, Method, NEWS_MAX, Setup};

const METHODS: [(u8, Method, &str); 3] =
    [(0, Method::Crc, ""), (7, Method::Md5, "a key"), (15, Method::Sha1, "another key")];

fn extension() -> Extension {
    let mut extension = Extension {
        group_count: 7,
        claims: GroupSet(0b100_0001),
        echo_generation: Generation(u32::MAX),
        echo_seq: Seq(u64::MAX),
        is_stable: true,
        is_yielding: true,
        is_asking: true,
        link_count: 2,
        config_digest: 0x8000_0001,
        owner_line: LineLevel::Active,
        health: Some(HealthReport { failing: 3, unknown: 17, spent: GroupSet(1) }),
        ..Extension::EMPTY
    };
    extension.groups[..7].copy_from_slice(&GroupState::ALL);
    extension.links[0] = LinkEcho { age_ms: 1500 };
    extension
}

/// News ride on a beat without an extension, in each form, and make it no longer than one with the shortest of them.
#[test]
fn news_ride_on_a_beat_that_has_room() {
    let beat = |extension| {
        let status = Some(NodeStatus::Active);
        packet(
            None,
            Some(9),
            Body::Status { status, dead_ms: Some(1000), has_protocol: true, is_nullbeat: true, extension },
        )
    };
    let mut codec = Node::new(ALPHA, METHODS[2]).codec();
    let plain = datagram(&codec, &beat(None));
    let longest = "x".repeat(NEWS_MAX);
    let digests = Extension { config_digest: u32::MAX, resources_digest: u32::MAX, ..Extension::EMPTY };
    let shortest = Extension { group_count: 1, link_count: 1, echo_generation: Generation(0x6b03_1868), ..digests };
    for news in ["1|65e0a1b2|late||||| 70", &longest] {
        codec.set_news(news);
        for bytes in [datagram(&codec, &beat(None)), serial(&codec, &beat(None))] {
            decode(&codec, &bytes, |message| assert_eq!(message.news, Some(news))).unwrap();
        }
        let (with_news, long) = (serial(&codec, &beat(None)), serial(&codec, &beat(Some(shortest))));
        assert!(with_news.len() <= long.len(), "{} {}", with_news.len(), long.len());
        decode(&codec, &long, |message| assert_eq!(message.news, None)).unwrap();
    }
    for none in ["", &"x".repeat(NEWS_MAX + 1)] {
        codec.set_news(none);
        assert_eq!(datagram(&codec, &beat(None)), plain);
    }
}

fn full_extension() -> Extension {
    Extension {
        version: 1,
        group_count: u8::try_from(GROUPS_MAX).unwrap(),
        groups: [GroupState::StopFailed; GROUPS_MAX],
        claims: GroupSet(u64::MAX),
        echo_generation: Generation(u32::MAX),
        echo_seq: Seq(u64::MAX),
        hears_partner: true,
        is_stable: true,
        is_held: true,
        is_yielding: true,
        is_asking: true,
        link_count: u8::try_from(LINKS_MAX).unwrap(),
        links: [LinkEcho { age_ms: u32::MAX - 1 }; LINKS_MAX],
        config_digest: u32::MAX,
        resources_digest: u32::MAX,
        lease_ms: u32::MAX,
        owner_line: LineLevel::Inactive,
        health: Some(HealthReport { failing: u8::MAX, unknown: u8::MAX, spent: GroupSet(u64::MAX) }),
    }
}

fn sequenced_bodies() -> Vec<Body<'static>> {
    let mut bodies = vec![Body::ReqNodes, Body::Starting, Body::ShutDone, Body::Takeover { set: None }];
    for status in [NodeStatus::Init, NodeStatus::Up, NodeStatus::Active, NodeStatus::Dead] {
        for extension in [None, Some(extension()), Some(full_extension()), Some(Extension::EMPTY)] {
            bodies.push(Body::Status {
                status: Some(status),
                dead_ms: Some(0x1770),
                has_protocol: true,
                is_nullbeat: extension.is_some(),
                extension,
            });
        }
        bodies.push(Body::Status {
            status: Some(status),
            dead_ms: None,
            has_protocol: false,
            is_nullbeat: false,
            extension: None,
        });
    }
    for holds in [Holds::NONE, Holds::LOCAL, Holds::FOREIGN, Holds::ALL] {
        bodies.push(Body::Takeover { set: Some(holds) });
        for word in [StandbyWord::Me, StandbyWord::Other, StandbyWord::Done, StandbyWord::Not] {
            bodies.push(Body::AskResources { set: holds, word, only: None, after_failure: false });
            let only = Some(GroupSet(u64::MAX - 1));
            bodies.push(Body::AskResources { set: holds, word, only, after_failure: true });
        }
        for is_stable in [None, Some(false), Some(true)] {
            for info in [
                ResourceInfo::None,
                ResourceInfo::Standby,
                ResourceInfo::Shutdown,
                ResourceInfo::MachDown,
                ResourceInfo::ReqOurResources,
            ] {
                bodies.push(Body::Resource { holds, is_full: is_stable.is_some(), is_stable, info });
            }
        }
    }
    bodies
}

fn unsequenced_bodies() -> Vec<Body<'static>> {
    vec![
        Body::Ack { acked: Seq(u64::MAX) },
        Body::RexmitRequest { first: Seq(26), last: Seq(u64::MAX) },
        Body::RexmitNak { first: Seq(26), too_low: true },
        Body::RexmitNak { first: Seq(26), too_low: false },
    ]
}

/// Packets whose text the encoder fills in, with what must come out.
fn filled_in() -> Vec<(Packet, Body<'static>)> {
    let mut all = Vec::new();
    let empty = Body::RepNodes { nodes: "", deleted: "" };
    all.push((packet(Some(ALPHA), Some(6), empty), Body::RepNodes { nodes: "alpha beta ", deleted: " " }));
    for result in [
        StonithResult::Ok,
        StonithResult::Bad,
        StonithResult::BadHost,
        StonithResult::NotConfigured,
        StonithResult::Unneeded,
    ] {
        let packet = Packet { about: Some(BETA), ..packet(None, Some(7), Body::Stonith { node: "", result }) };
        all.push((packet, Body::Stonith { node: "beta", result }));
    }
    for is_ok in [true, false] {
        let body = Body::IpRequestResp { key: "", group: None, is_ok };
        let packet = Packet { group: Some(GroupId(1)), ..packet(Some(BETA), Some(8), body) };
        all.push((packet, Body::IpRequestResp { key: "trace::ga::x1", group: Some(GroupId(1)), is_ok }));
    }
    let both = [ALPHA, BETA].into_iter().collect();
    let names = "alpha beta ";
    let nodes = NodeSet::EMPTY;
    all.push((packet(None, Some(10), Body::AddNodes { names: "", nodes: both }), Body::AddNodes { names, nodes }));
    all.push((packet(None, Some(11), Body::DelNodes { names: "", nodes: both }), Body::DelNodes { names, nodes }));
    let weight = Packet { about: Some(BETA), ..packet(None, Some(12), Body::SetWeight { node: "", weight: 50 }) };
    all.push((weight, Body::SetWeight { node: "beta", weight: 50 }));
    let request = Packet { group: Some(GroupId(2)), ..packet(None, Some(9), Body::IpRequest { key: "", group: None }) };
    all.push((request, Body::IpRequest { key: "apache", group: Some(GroupId(2)) }));
    all
}

fn all_packets() -> Vec<(Packet, Body<'static>)> {
    let mut all = filled_in();
    for to in [None, Some(ALPHA), Some(BETA)] {
        all.extend(sequenced_bodies().into_iter().map(|body| (packet(to, Some(0x1f), body), body)));
        all.extend(unsequenced_bodies().into_iter().map(|body| (packet(to, None, body), body)));
    }
    all
}

#[test]
fn every_message_comes_back_in_every_form_under_every_method() {
    for key in METHODS {
        for is_netstring in [false, true] {
            let sender = Node { is_netstring, ..Node::new(BETA, key) }.codec();
            let receiver = Node::new(ALPHA, key).codec();
            for (packet, body) in all_packets() {
                for bytes in [datagram(&sender, &packet), serial(&sender, &packet)] {
                    let look = decode(&receiver, &bytes, |message| {
                        assert_eq!(message.body, body);
                        assert_eq!((message.src, message.src_uuid), ("beta", Some(UUIDS[1])));
                        assert_eq!(message.dest, packet.to.map(|node| ["alpha", "beta"][usize::from(node.0)]));
                        assert_eq!(message.dest_uuid, packet.to.map(|node| UUIDS[usize::from(node.0)]));
                        assert_eq!((message.seq, message.ts), (packet.seq, packet.ts));
                        assert_eq!(message.generation, Generation(0x6b03_1868));
                    });
                    assert_eq!(look, Ok(()), "{}", bytes.escape_ascii());
                }
            }
            assert_eq!(receiver.extension_errors(), 0);
        }
    }
}

#[test]
fn no_packet_fits_less_room_than_it_takes() {
    let codec = Node::new(ALPHA, METHODS[2]).codec();
    for (packet, _) in all_packets().into_iter().step_by(7) {
        let length = datagram(&codec, &packet).len();
        for room in (0..length).step_by(3) {
            assert_eq!(codec.encode_datagram(&packet, &mut vec![0; room]), None);
        }
        assert_eq!(codec.encode_datagram(&packet, &mut vec![0; length]), Some(length));
        let length = serial(&codec, &packet).len();
        for room in (0..length).step_by(3) {
            assert_eq!(codec.encode_serial(&packet, &mut vec![0; room]), None);
        }
        assert_eq!(codec.encode_serial(&packet, &mut vec![0; length]), Some(length));
    }
}

#[test]
fn what_cannot_be_said_is_not_said() {
    let codec = Node::new(ALPHA, METHODS[0]).codec();
    let status = Body::Status { status: None, dead_ms: None, has_protocol: true, is_nullbeat: false, extension: None };
    let other = Body::Resource { holds: Holds::ALL, is_full: true, is_stable: None, info: ResourceInfo::Other };
    let mut room = [0; ENCODED_MAX];
    for packet in [
        packet(None, Some(1), Body::Other { kind: "x" }),
        packet(None, Some(1), status),
        packet(None, Some(1), other),
        packet(Some(NodeId(2)), Some(1), Body::Starting),
        packet(None, Some(1), Body::Stonith { node: "beta", result: StonithResult::Ok }),
        packet(None, Some(1), Body::SetSite { node: "beta", site: "cellar" }),
        packet(None, Some(1), Body::IpRequestResp { key: "apache", group: None, is_ok: true }),
        Packet { group: Some(GroupId(3)), ..packet(None, Some(1), Body::IpRequest { key: "", group: None }) },
    ] {
        assert_eq!(codec.encode_datagram(&packet, &mut room), None, "{packet:?}");
        assert_eq!(codec.encode_serial(&packet, &mut room), None, "{packet:?}");
    }
}

/// The longest names everywhere.
#[test]
fn the_largest_cluster_fits() {
    let name = |index: usize| {
        let text = format!("{index:0>width$}", width = NODE_NAME_MAX);
        NodeName::try_from(text.as_str()).unwrap()
    };
    let nodes: Vec<NodeName> = (0..NODES_MAX).map(name).collect();
    let mut keys = Keys::new(15);
    keys.add(15, Method::Sha1, &[b'k'; 1000]).unwrap();
    let key = "k".repeat(nullbeat::wire::heartbeat::GROUP_KEYS_MAX);
    let mut codec = Codec::new(Setup {
        keys,
        nodes: &nodes,
        local: NodeId(3),
        identity: Identity { uuid: Uuid([0xff; 16]), generation: Generation(u32::MAX) },
        group_keys: &[&key],
        hopfudge: u8::MAX,
        is_netstring: false,
    })
    .unwrap();
    codec.set_load(&"9".repeat(100));
    codec.set_uuid(NodeId(15), Uuid([0xee; 16]));
    let status = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(u32::MAX),
        has_protocol: true,
        is_nullbeat: true,
        extension: Some(full_extension()),
    };
    for body in
        [Body::RepNodes { nodes: "", deleted: "" }, Body::IpRequestResp { key: "", group: None, is_ok: true }, status]
    {
        let packet = Packet { group: Some(GroupId(0)), ..packet(Some(NodeId(15)), Some(u64::MAX), body) };
        for bytes in [datagram(&codec, &packet), serial(&codec, &packet)] {
            let seq = decode(&codec, &bytes, |message| message.seq);
            assert_eq!(seq, Ok(Some(Seq(u64::MAX))));
        }
    }
}

/// Order of fields as in captures of 3.0.6 (spec/wire.md sections 6, 7 and 13).
#[test]
fn fields_stand_in_the_original_order() {
    let codec = Node::new(ALPHA, METHODS[0]).codec();
    let status = Body::Status {
        status: Some(NodeStatus::Active),
        dead_ms: Some(0xfa0),
        has_protocol: true,
        is_nullbeat: false,
        extension: None,
    };
    let resource = Body::Resource {
        holds: Holds::LOCAL,
        is_full: true,
        is_stable: Some(true),
        info: ResourceInfo::ReqOurResources,
    };
    let tail = |seq: &str| format!("src=alpha\n(1)srcuuid=XYvyEeG8RZ+xxJsgDRfnZA==\n{seq}hg=6b031868\nts=6b031869\n");
    let common = tail("seq=1f\n") + "ld=n/a\nttl=3\n";
    let unsequenced = tail("") + "ttl=3\n";
    let to = "(1)destuuid=F/0fF5A3TSW1xVDhN7pjAw==\n";
    let nak = Body::RexmitNak { first: Seq(26), too_low: false };
    let rexmit = Body::RexmitRequest { first: Seq(26), last: Seq(27) };
    let reply = Packet {
        group: Some(GroupId(0)),
        ..packet(Some(BETA), Some(0x1f), Body::IpRequestResp { key: "", group: None, is_ok: true })
    };
    for (packet, expected) in [
        (packet(None, Some(0x1f), status), format!("t=status\nst=active\ndt=fa0\nprotocol=1\n{common}")),
        (
            packet(None, Some(0x1f), resource),
            format!("t=resource\nrsc_hold=local\nrtype=full\nisstable=1\ninfo=req_our_resources()\n{common}"),
        ),
        (packet(Some(BETA), Some(0x1f), Body::ReqNodes), format!("t=reqnodes\ndest=beta\n{to}{common}")),
        (
            packet(Some(BETA), Some(0x1f), Body::RepNodes { nodes: "", deleted: "" }),
            format!("t=repnodes\ndest=beta\nnodelist=alpha beta \ndelnodelist= \n{to}{common}"),
        ),
        (
            packet(Some(BETA), None, nak),
            format!("t=NS_nak_rexmit\nfirstseq=1a\ndest=beta\ninfo=seqno not found\n{to}{unsequenced}"),
        ),
        (
            packet(Some(BETA), None, rexmit),
            format!("t=NS_rexmit\ndest=beta\nfirstseq=26\nlastseq=27\n{to}{unsequenced}"),
        ),
        (reply, format!("t=ip-request-resp\ndest=beta\nipaddr=IPaddr::10.0.0.1\nweown=yes\nok=OK\n{to}{common}")),
        (packet(None, Some(0x1f), Body::ShutDone), format!("t=shutdone\nst=dead\n{common}")),
    ] {
        let written = String::from_utf8(serial(&codec, &packet)).unwrap();
        let fields = written.strip_prefix(">>>\n").unwrap();
        let fields = &fields[..fields.find("auth=").unwrap()];
        assert_eq!(fields, expected);
    }
}

#[test]
fn peer_without_known_uuid_is_addressed_by_name() {
    let mut codec = Node::new(ALPHA, METHODS[0]).codec();
    codec.set_uuid(BETA, Uuid::default());
    let bytes = datagram(&codec, &packet(Some(BETA), Some(1), Body::ReqNodes));
    let look = decode(&codec, &bytes, |message| (message.dest == Some("beta"), message.dest_uuid));
    assert_eq!(look, Ok((true, None)));
}
