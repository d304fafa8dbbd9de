//! What packaged `ccm`s were seen to say to each other and to their clients.

use super::super::frames::Frames;
use super::super::message::{Body, ENCODED_MAX, Fields, Message, Reject, Standing, StateName};
use super::super::{Local, View};
use super::local;
use crate::core::ids::{MemberId, MemberSet};
use crate::core::limits::NODES_MAX;

/// Messages as they left three Heartbeats 3.0.6, without what the daemon adds.
const SEEN: [&str; 14] = [
    "t=CCM_TYPE_PROTOVERSION\nccmmajor=0\nnumnodes=3\n",
    "t=CCM_TYPE_PROTOVERSION_RESP\nccmmajor=1\nnumnodes=3\nccmcookie=h[)!+)*)sXFC;.\nccmmajor=1\nccmuptime=1\nccmminor=0\n\
     ccmproto=0\nccmclsize=1\ndest=gamma\n",
    "t=CCM_TYPE_ALIVE\nccmmajor=1\nnumnodes=3\nccmcookie=h[)!+)*)sXFC;.\nccmmajor=1\nccmuptime=0\nccmminor=0\n",
    "t=CCM_TYPE_MEM_LIST\nccmmajor=1\nnumnodes=3\nccmcookie=h[)!+)*)sXFC;.\nccmmajor=1\nccmuptime=1\nccmminor=0\n\
     ccmmemlist=BgAAAAAAAAAAAAAAAA==\nccmquorum=1\n(3)ccmuptimelist=8:16777216,8:33554432,\nccmnewcookie=)O-R/I^'|$|?S7\n",
    "t=CCM_TYPE_NEW_NODE\nccmmajor=2\nnumnodes=3\nccmcookie=)O-R/I^'|$|?S7\nccmmajor=2\nccmuptime=2\nccmminor=0\n\
     node=alpha\ndest=beta\n",
    "t=CCM_TYPE_MEM_LIST\nccmmajor=6\nnumnodes=3\nccmcookie=nEPfb4`wBJ,)bE\nccmmajor=6\nccmuptime=2\nccmminor=0\n\
     ccmmemlist=BwAAAAAAAAAAAAAAAA==\nccmquorum=1\n(3)ccmuptimelist=8:83886080,9:117440512,8:33554432,\n\
     ccmnewcookie=7V@Tn%EuL6<0I`\n",
    "t=CCM_TYPE_NODE_LEAVE_NOTICE\nccmmajor=3\nnumnodes=3\nccmcookie=Gt)Q]X8{Nlor_,\nccmmajor=3\nccmuptime=1\nccmminor=0\n\
     node=alpha\n",
    "t=CCM_TYPE_NODE_LEAVE\nccmmajor=3\nnumnodes=3\nccmcookie=Gt)Q]X8{Nlor_,\nccmmajor=3\nccmuptime=2\nccmminor=0\n\
     node=beta\ndest=beta\n",
    "t=CCM_TYPE_JOIN\nccmmajor=3\nnumnodes=3\nccmcookie=Gt)Q]X8{Nlor_,\nccmmajor=3\nccmuptime=1\nccmminor=1\n",
    "t=CCM_TYPE_REQ_MEMLIST\nccmmajor=3\nnumnodes=3\nccmcookie=Gt)Q]X8{Nlor_,\nccmmajor=3\nccmuptime=1\nccmminor=1\n",
    "t=CCM_TYPE_RES_MEMLIST\nccmmajor=3\nnumnodes=3\nccmcookie=Gt)Q]X8{Nlor_,\nccmmajor=3\nccmuptime=2\nccmminor=1\n\
     ccmmaxt=3\nccmmemlist=BgAAAAAAAAAAAAAAAA==\ndest=beta\n",
    "t=CCM_TYPE_FINAL_MEMLIST\nccmmajor=3\nnumnodes=3\nccmcookie=Gt)Q]X8{Nlor_,\nccmmajor=3\nccmuptime=1\nccmminor=1\n\
     ccmmaxt=4\nccmmemlist=BgAAAAAAAAAAAAAAAA==\nccmquorum=1\nccmnewcookie=_<E7\\wls%}@-t]\n",
    "t=CCM_TYPE_STATE_INFO\nccmmajor=8\nnumnodes=3\nccmcookie=ZWSbCS?`[1xgkE\nccmmajor=8\nccmuptime=7\nccmminor=0\n\
     state=CCM_STATE_JOINED\ndest=gamma\n",
    "t=CCM_TYPE_RESTART\nccmmajor=8\nnumnodes=3\n",
];

fn three() -> Local {
    local(&["beta", "gamma", "alpha"], "beta")
}

fn read(text: &str) -> Result<Message, Reject> {
    Message::read(&Fields::of_text(text.as_bytes()), &three())
}

fn written(message: &Message) -> String {
    let mut out = [0; ENCODED_MAX];
    let len = message.write_lines(&three(), &mut out);
    String::from_utf8(out[..len].to_vec()).unwrap()
}

#[test]
fn seen_messages_are_read_and_written_the_same() {
    for seen in SEEN {
        let message = read(seen).unwrap_or_else(|reject| panic!("{reject}: {seen}"));
        assert_eq!(written(&message), seen.split("dest=").next().unwrap());
    }
}

#[test]
fn seen_list_means_what_its_programs_were_told() {
    let Body::MemList(list) = read(SEEN[5]).unwrap().body else { panic!("a list") };
    assert_eq!(list.members, MemberSet::first(3));
    assert_eq!(list.joined[..3], [5, 7, 2]);
    assert!(list.has_quorum);
    let view = View { members: list.members, instance: 7, has_quorum: true, born: list.joined };
    let ages: Vec<_> = view.by_age().map(|(member, born_on)| (member.0, born_on)).collect();
    assert_eq!(ages, [(2, 2), (0, 5), (1, 7)]);
    assert_eq!(read(SEEN[12]).unwrap().body, Body::StateInfo(StateName::Joined));
}

#[test]
fn all_numbers_survive() {
    let cookie = read(SEEN[2]).unwrap().standing.unwrap().cookie;
    for number in [0, 1, 127, 128, 255, 256, 0x80, 0x8000_0000, u32::MAX] {
        let list = super::super::message::List {
            members: MemberSet::first(3),
            has_quorum: false,
            joined: [number; NODES_MAX],
            cookie: None,
        };
        let standing = Some(Standing { cookie, joined: number, minor: number });
        let text = written(&Message { major: number, standing, body: Body::MemList(list) });
        let message = read(&text).unwrap();
        assert_eq!((message.major, message.standing), (number, standing));
        let Body::MemList(list) = message.body else { panic!("{text}") };
        assert_eq!(list.joined[..3], [number; 3], "{text}");
    }
}

#[test]
fn every_part_left_out_or_spoilt_is_refused() {
    for seen in SEEN {
        let lines: Vec<&str> = seen.lines().collect();
        for (place, line) in lines.iter().enumerate() {
            let is_needed =
                !["dest=", "ccmproto=", "ccmmajor=", "ccmnewcookie="].iter().any(|name| line.starts_with(name));
            let without: Vec<&str> =
                lines.iter().copied().enumerate().filter(|(at, _)| *at != place).map(|(_, l)| l).collect();
            if is_needed {
                assert!(read(&without.join("\n")).is_err(), "without {line}");
            }
            let (name, value) = line.split_once('=').unwrap();
            let mut spoilt = lines.clone();
            let line = format!("{name}={value}\x7f");
            spoilt[place] = &line;
            if is_needed {
                assert!(read(&spoilt.join("\n")).is_err(), "with {line:?}");
            }
        }
    }
    assert_eq!(read("t=CCM_TYPE_RESTART\nccmmajor=8\nnumnodes=2\n"), Err(Reject::NodeCount(2)));
    assert_eq!(read("t=resource\n"), Err(Reject::Kind));
    // A node of a number that nobody has.
    assert!(read(&SEEN[11].replace("BgAAAAAAAAAAAAAAAA==", "CAAAAAAAAAAAAAAAAA==")).is_err());
    assert!(read(&SEEN[11].replace("BgAAAAAAAAAAAAAAAA==", "BgAAAAAAAAAAAAAAAQ==")).is_err());
}

#[test]
fn clients_are_told_in_the_bytes_that_were_seen() {
    let mut born = [0; NODES_MAX];
    born[..2].copy_from_slice(&[1, 2]);
    let view = View { members: MemberSet::first(2), instance: 2, has_quorum: true, born };
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<u8>>();
    let mut frames = Frames::default();
    assert_eq!(frames.membership(&view), numbers(&[2, 2, 2, 1, 0, 1, 1, 2]));
    assert_eq!(frames.influx(), numbers(&[3]));
    let two = local(&["beta", "alpha"], "beta");
    let list = frames.node_list(&two);
    assert_eq!(list.len(), 532);
    assert_eq!(list[..16], numbers(&[4, 2, 1, 0]));
    assert_eq!(&list[16..22], b"alpha\0");
    assert_eq!(list[272..276], numbers(&[1]));
    assert_eq!(&list[276..281], b"beta\0");
    assert!(list[281..].iter().all(|byte| *byte == 0));
    let names: Vec<String> = (0..NODES_MAX).map(|index| format!("{}{index:x}", "n".repeat(98))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(frames.node_list(&local(&names, names[0])).len(), 12 + 260 * NODES_MAX);
}

#[test]
fn one_left_alone_is_born_now() {
    let mut born = [0; NODES_MAX];
    born[1] = 1;
    let view = View { members: MemberSet::only(MemberId(1)), instance: 3, has_quorum: true, born };
    assert_eq!(view.by_age().collect::<Vec<_>>(), [(MemberId(1), 3)]);
}
