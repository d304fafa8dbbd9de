//! What clients may not do to others, to the daemon and to the cluster.

use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

/// A frame with a message in netstring form, in which a newline is as good as any byte.
fn say_netstring(client: &mut Client, fields: &[(&str, &str)]) {
    let mut body = b"###\n".to_vec();
    for (name, value) in fields {
        let field = format!("(0){name}={value}");
        body.extend_from_slice(format!("{}:{field},", field.len()).as_bytes());
    }
    body.extend_from_slice(b"%%%\n");
    client.0.write_all(&[&header(body.len())[..], &body].concat()).unwrap();
}

fn named(place: &mut Place) -> Client {
    let mut client = place.connect();
    client.sign_on(&honest("mine"));
    place.settle();
    place.take_orders();
    client.hear();
    client
}

impl Place {
    fn is_ready(&self) -> bool {
        poll(&mut [PollFd::new(self.server.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0
    }

    /// One turn in which nobody is read from.
    fn turn_held(&mut self) {
        self.server.turn(self.now, true);
        let facts = Facts { config: &self.config, node: &self.node, log_facility: -1 };
        while let Some(order) = self.server.poll(&facts) {
            self.orders.push((order, String::from_utf8(self.server.lines().to_vec()).unwrap()));
        }
    }
}

#[test]
fn name_that_is_more_than_a_name_is_refused_and_nobody_hears_it() {
    let mut place = Place::new("names");
    let _mine = named(&mut place);
    let pid = std::process::id().to_string();
    let (uid, gid) = (own_ids().0.to_string(), own_ids().1.to_string());
    for name in
        ["x\nhg=7fffffff", "mine\na=1", "x\nsrc=beta", "x\nauth=1 0", "a=b", "x\x13y", &format!("{pid}\nhg=7fffffff")]
    {
        let mut client = place.connect();
        let fields =
            [("t", "hbapi-req"), ("reqtype", "signon"), ("pid", &pid), ("from_id", name), ("uid", &uid), ("gid", &gid)];
        say_netstring(&mut client, &fields);
        place.settle();
        let (bodies, is_over) = client.hear();
        assert!(is_over && bodies[0].contains("\ninfo=cannot add client\nresult=badreq\n"), "{name:?}: {bodies:?}");
        assert_eq!(place.take_orders(), [], "{name:?}");
    }
}

#[test]
fn question_about_a_client_of_an_impossible_name_is_not_passed_on() {
    let mut place = Place::new("questions");
    let mut client = named(&mut place);
    say_netstring(&mut client, &[("t", "query-cstatus"), ("cn", "x\nhg=7fffffff")]);
    place.settle();
    assert_eq!(place.take_orders(), []);
    for (name, value) in [("\nhg", "7fffffff"), ("_compressed_payload", "x")] {
        say_netstring(&mut client, &[("t", "ping"), (name, value)]);
        expect_dropped(&mut place, &mut client, name);
        client = named(&mut place);
    }
    say_netstring(&mut client, &[("t", "ping"), ("info", "two\nlines")]);
    place.settle();
    assert_eq!(place.take_orders()[0].1, "t=ping\ninfo=two\x13lines\nfrom_id=mine\nto_id=mine\nclient_gen=3\n");
}

/// Its words reach nobody, and it learns that.
#[track_caller]
fn expect_dropped(place: &mut Place, client: &mut Client, words: &str) {
    let before = place.server.counters();
    place.settle();
    let orders = place.take_orders();
    assert!(matches!(orders[..], [(Order::Leave { slot: Some(_) }, _)]), "{words}: {orders:?}");
    assert!(
        orders[0].1.contains("\nst=leave\n") && orders[0].1.contains("\ninfo=message not passed on\n"),
        "{orders:?}"
    );
    let (bodies, is_over) = client.hear();
    assert!(is_over && bodies.last().is_some_and(|body| body.contains("\ninfo=message not passed on\n")), "{bodies:?}");
    let after = place.server.counters();
    assert_eq!((after.unfit, after.relayed), (before.unfit + 1, before.relayed), "{words}");
}

#[test]
fn words_that_a_link_cannot_carry_end_their_client() {
    let mut place = Place::new("carried");
    let mut client = named(&mut place);
    client.say("t=ping\noseq=1\ninfo=caf\u{e9}");
    place.settle();
    let orders = place.take_orders();
    let [(Order::Relay { slot: Some(slot), to: None }, _)] = orders[..] else { panic!("{orders:?}") };
    place.server.refuse(slot, "uses more than a link can carry");
    place.settle();
    assert!(client.hear().0.last().is_some_and(|body| body.contains("\ninfo=message not passed on\n")));
    let counters = place.server.counters();
    assert_eq!((counters.relayed, counters.unfit), (0, 1));
}

#[test]
fn words_of_daemons_are_not_passed_on() {
    let mut place = Place::new("words");
    let mut client = named(&mut place);
    for words in [
        "t=shutdone\nst=dead",
        "t=resource\nrsc_hold=none\nisstable=1",
        "t=status\nst=active\nnbv=1\nnbg=R",
        "t=hb_takeover\nrsc_hold=all",
        "t=addnode\nnodelist=x ",
        "t=delnode\nnodelist=beta ",
        "t=setweight\nnode=beta\nweight=1",
        "t=reqnodes",
        "t=starting",
        "t=ask_resources\nrsc_hold=all\ninfo=other",
        "t=ip-request\nipaddr=x",
        "t=stonith\nnode=beta\nresult=OK",
        "t=NS_ackmsg\nackseq=ff",
        "t=hbapi-clstat\nst=leave",
        "t=respond-cstatus\ncn=ccm\ncs=offline",
        "(1)t=AAAA\nt=ping",
        "info=nothing",
    ] {
        client.say(words);
        expect_dropped(&mut place, &mut client, words);
        client = named(&mut place);
    }
    // What ipfail says, and any program of its own.
    for words in ["t=num_ping_nodes\nnum_ping=2", "t=abort_giveup", "t=you_are_dead", "t=ping", "t=CCM_TYPE_ALIVE"] {
        client.say(words);
        place.settle();
        let orders = place.take_orders();
        assert_eq!((orders.len(), orders[0].0), (1, Order::Relay { slot: Some(0), to: None }), "{words}");
    }
}

#[test]
fn client_that_goes_while_nobody_is_read_from_keeps_nobody_awake() {
    let mut place = Place::new("hangup");
    let mut client = named(&mut place);
    place.turn_held();
    client.say("t=ping");
    drop(client);
    for _ in 0..3 {
        place.turn_held();
    }
    assert!(!place.is_ready());
    assert!(place.server.next_deadline().is_none_or(|deadline| deadline > place.now));
    assert_eq!(place.take_orders(), []);
    // Then it is served to its end.
    place.server.turn(place.now, false);
    assert!(place.server.next_deadline().is_some_and(|deadline| deadline <= place.now));
    place.settle();
    let orders: Vec<Order> = place.take_orders().into_iter().map(|(order, _)| order).collect();
    assert!(matches!(orders[..], [Order::Relay { to: None, .. }, Order::Leave { slot: Some(_) }]), "{orders:?}");
    assert!(!place.is_ready());
}

#[test]
fn client_that_talks_much_leaves_room_in_a_turn_for_others() {
    let mut place = Place::new("turns");
    let mut talker = named(&mut place);
    let mut others: Vec<Client> = (0..2).map(|_| casual_beside(&mut place)).collect();
    for _ in 0..100 {
        talker.say("t=ping");
    }
    let request = format!("t=hbapi-req\nreqtype=numnodes\npid={}", std::process::id());
    for other in &mut others {
        other.say(&request);
    }
    place.turn();
    for other in &mut others {
        assert!(other.hear_one().contains("numnodes="));
    }
    assert_eq!(place.take_orders().len(), 4);
    // Alone it is not heard faster, but to the end.
    place.settle();
    assert_eq!(place.take_orders().len(), 96);
}

/// Clients of one process have different names when something stands behind its number.
fn casual_beside(place: &mut Place) -> Client {
    let mut client = place.connect();
    let name = format!("{}x{}", std::process::id(), place.server.counters().accepted);
    client.sign_on(&honest(&name));
    place.settle();
    assert!(client.hear_one().contains("result=OK"));
    client
}
