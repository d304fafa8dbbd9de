use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::*;
use crate::api::ipc::{HEADER_LEN, Peer, header};
use crate::config::{ApiAuth, Config, Medium, sample};
use crate::core::ids::{Generation, LinkId, NodeId, Seq, Uuid};
use crate::core::settings::Identity;
use crate::core::time::{Instant, Stamp};
use crate::sim::rng::Rng;

struct Place {
    path: PathBuf,
    server: Server,
    config: Config,
    node: Box<Node>,
    now: Instant,
    orders: Vec<(Order, String)>,
}

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nullbeat-clients-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (uid, gid) = own_ids();
        let class = |client: &str, uids, gids| ApiAuth { client: client.to_owned(), uids, gids };
        let authority = Authority::new(&[
            class("anon", vec![uid], vec![gid]),
            class("mine", vec![], vec![gid]),
            class("other", vec![uid + 1], vec![]),
        ]);
        let mut config = sample::config(&std::env::temp_dir(), &[("alpha", "one")]);
        config.directives = vec![("deadtime".into(), "1".into()), ("pacemaker".into(), "off".into())];
        let identity = Identity { uuid: Uuid([7; 16]), generation: Generation(1) };
        let at = Stamp { now: Instant::from_millis(1000), wall: 1_800_000_000 };
        let mut node = Box::new(Node::new(config.settings(1), identity, None, at));
        node.handle(at, crate::core::Input::Tick);
        while node.poll_action().is_some() {}
        let server = Server::new(listener.into(), ClientRooms::default(), authority).unwrap();
        Self { path, server, config, node, now: at.now, orders: Vec::new() }
    }

    /// The node begins again, with the configuration as it is by now.
    fn begin(&mut self) {
        let identity = Identity { uuid: Uuid([7; 16]), generation: Generation(1) };
        let at = Stamp { now: self.now, wall: 1_800_000_000 };
        *self.node = Node::new(self.config.settings(1), identity, None, at);
        self.give(crate::core::Input::Tick);
    }

    fn give(&mut self, input: crate::core::Input<'_>) {
        self.node.handle(Stamp { now: self.now, wall: 1_800_000_000 }, input);
        while self.node.poll_action().is_some() {}
    }

    /// A beat of beta arrives.
    fn hear_beat(&mut self, seq: u64) {
        let message = sample::beat_of_beta(seq);
        self.give(crate::core::Input::Received { link: LinkId(0), message: &message });
    }

    fn connect(&self) -> Client {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_nonblocking(true).unwrap();
        Client(stream)
    }

    /// Turns until nothing is left to do; orders are noted, and joining is granted.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.server.turn(self.now, false);
        let facts = Facts { config: &self.config, node: &self.node, log_facility: -1 };
        while let Some(order) = self.server.poll(&facts) {
            let lines = String::from_utf8(self.server.lines().to_vec()).unwrap();
            if let Order::Join { slot, .. } = order {
                self.server.welcome(slot, &facts);
            }
            self.orders.push((order, lines));
        }
    }

    fn take_orders(&mut self) -> Vec<(Order, String)> {
        std::mem::take(&mut self.orders)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn own_ids() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

struct Client(UnixStream);

impl Client {
    fn say(&mut self, fields: &str) {
        let body = format!(">>>\n{fields}\n<<<\n\0");
        self.0.write_all(&[&header(body.len())[..], body.as_bytes()].concat()).unwrap();
    }

    fn sign_on(&mut self, fields: &str) {
        self.say(&format!("t=hbapi-req\nreqtype=signon\n{fields}"));
    }

    /// The bodies that have come, and whether that was the end.
    fn hear(&mut self) -> (Vec<String>, bool) {
        let (mut bytes, mut is_over) = (Vec::new(), true);
        if let Err(error) = self.0.read_to_end(&mut bytes) {
            is_over = error.kind() != ErrorKind::WouldBlock;
        }
        let (mut bodies, mut rest) = (Vec::new(), &bytes[..]);
        while let Some((head, behind)) = rest.split_first_chunk::<HEADER_LEN>() {
            let len = usize::try_from(i32::from_ne_bytes(head[..4].try_into().unwrap())).unwrap();
            bodies.push(String::from_utf8(behind[..len].to_vec()).unwrap());
            rest = &behind[len..];
        }
        (bodies, is_over)
    }

    fn hear_one(&mut self) -> String {
        let (bodies, _) = self.hear();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        bodies.into_iter().next().unwrap()
    }
}

/// The usual fields of a sign-on of this process.
fn honest(name: &str) -> String {
    let (uid, gid) = own_ids();
    format!("dest=alpha\npid={}\nfrom_id={name}\nuid={uid}\ngid={gid}", std::process::id())
}

fn casual(place: &mut Place) -> Client {
    let mut client = place.connect();
    client.sign_on(&honest(&std::process::id().to_string()));
    place.settle();
    assert!(client.hear_one().contains("result=OK"));
    client
}

#[test]
fn sign_on_is_answered_as_in_the_spec() {
    let mut place = Place::new("signon");
    let mut client = place.connect();
    client.say("t=hbapi-req\nreqtype=nodelist\npid=1");
    client.0.write_all(&header(0)).unwrap();
    place.settle();
    assert_eq!(client.hear(), (vec![], false), "silently discarded");
    client.sign_on(&honest(&std::process::id().to_string()));
    place.settle();
    assert_eq!(
        client.hear_one(),
        format!(
            ">>>\nt=hbapi-resp\nreqtype=signon\nresult=OK\ndeadtime=3e8\nkeepalive=c8\nnode={}\nhbversion={HB_VERSION}\n\
             pacemaker=off\nlogfacility=-1\n<<<\n\0",
            place.config.node
        )
    );
    assert_eq!(place.take_orders(), [], "nobody hears of a client without a name");
}

#[test]
fn sign_on_that_is_refused_says_why_and_all_that_clients_look_for() {
    let mut place = Place::new("refusals");
    let (uid, gid) = own_ids();
    let pid = std::process::id();
    let mut holder = place.connect();
    holder.sign_on(&honest("mine"));
    place.settle();
    let cases = [
        (format!("pid=0\nfrom_id=x\nuid={uid}\ngid={gid}"), "bad pid"),
        (format!("from_id=x\nuid={uid}\ngid={gid}"), "bad pid"),
        (format!("pid=2147483000\nfrom_id=x\nuid={uid}\ngid={gid}"), "bad pid"),
        (format!("pid={pid}\nfrom_id=mine\nuid={uid}\ngid={gid}"), "duplicate add request"),
        (format!("pid={pid}\nfrom_id=x\nuid={uid}"), "invalid id info"),
        (format!("pid={pid}\nfrom_id=x\nuid=root\ngid={gid}"), "invalid id info"),
        (format!("pid={pid}\nfrom_id=x\nuid={}\ngid={gid}", uid + 1), "incorrect/false credentials"),
        (format!("pid={pid}\nfrom_id=x\nuid={uid}\ngid={gid}"), "no default client auth"),
        (format!("pid={pid}\nfrom_id=other\nuid={uid}\ngid={gid}"), "client failed authorization"),
        (format!("pid=1\nfrom_id=1\nuid={uid}\ngid={gid}"), "pid mismatch"),
    ];
    for (fields, reason) in cases {
        let mut client = place.connect();
        client.sign_on(&fields);
        place.settle();
        let (bodies, is_over) = client.hear();
        assert!(is_over, "{reason}");
        assert!(
            bodies[0].contains(&format!("\ninfo={reason}\nresult=badreq\ndeadtime=3e8\nkeepalive=c8\nnode=")),
            "{bodies:?}"
        );
        let is_casual = reason == "pid mismatch";
        assert_eq!(bodies.len(), if is_casual { 1 } else { 2 }, "{bodies:?}");
        assert!(is_casual || bodies[1].contains("st=leave"), "{bodies:?}");
    }
    assert_eq!(holder.hear().0.len(), 1, "the one of that name has noticed nothing");
}

#[test]
fn named_client_joins_before_its_reply_and_leaves() {
    let mut place = Place::new("named");
    let mut client = place.connect();
    client.sign_on(&honest("mine"));
    place.settle();
    let orders = place.take_orders();
    assert!(matches!(orders[0].0, Order::Join { .. }));
    assert_eq!(orders[0].1, "t=hbapi-clstat\nst=join\nfrom_id=mine\nto_id=mine\ninfo=signon\nclient_gen=1\n");
    client.hear();
    client.say("t=ping\nfrom_id=forged\nto_id=forged\nseq=1\ndest=nobody");
    client.say("t=ping\nfrom_id=forged\nto_id=forged\nseq=1\noseq=1");
    client.say("t=ask_resources\nrsc_hold=foreign\ninfo=me");
    client.say("t=query-cstatus\ncn=ccm\nfrom_id=mine");
    client.say("t=hbapi-req\nreqtype=signoff\npid=0\nfrom_id=mine");
    client.say("t=ping");
    place.settle();
    let orders = place.take_orders();
    let lines: Vec<&str> = orders.iter().map(|(_, lines)| lines.as_str()).collect();
    assert_eq!(
        (orders[0].0, lines[0]),
        (Order::Relay { slot: Some(0), to: None }, "t=ping\noseq=1\nfrom_id=mine\nto_id=mine\nclient_gen=1\n")
    );
    assert_eq!(orders[1].0, Order::Standby(crate::core::message::Holds::FOREIGN));
    assert!(matches!(orders[2].0, Order::Ask { .. }));
    assert!(matches!(orders[3].0, Order::Leave { slot: Some(_) }));
    assert_eq!(lines[3], "t=hbapi-clstat\nst=leave\nfrom_id=mine\nto_id=mine\ninfo=signoff\nclient_gen=1\n");
    assert_eq!(orders.len(), 4, "what came behind the sign-off is not looked at");
    assert_eq!(client.hear(), (vec![], true));
}

#[test]
fn requests_are_answered() {
    let mut place = Place::new("requests");
    let mut client = casual(&mut place);
    let (pid, nodes) = (std::process::id(), place.config.nodes.clone());
    let mut ask = |place: &mut Place, request: &str| {
        client.say(&format!("t=hbapi-req\npid={pid}\n{request}"));
        place.settle();
        let bodies = client.hear().0;
        bodies.iter().map(|body| body.split_once("\nreqtype=").unwrap().1.replace('\n', " ")).collect::<Vec<_>>()
    };
    let mut one = |request: &str| {
        let mut bodies = ask(&mut place, request);
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        bodies.pop().unwrap()
    };
    assert_eq!(one("reqtype=numnodes"), format!("numnodes numnodes={} result=OK <<< \0", nodes.len()));
    assert_eq!(one("reqtype=getparm\npname=deadtime"), "getparm pvalue=1 result=OK <<< \0");
    assert_eq!(one("reqtype=getparm\npname=crm"), "getparm pvalue=off result=OK <<< \0");
    assert_eq!(one("reqtype=getparm\npname=nix"), "getparm result=OK <<< \0");
    assert_eq!(one("reqtype=getparm"), "getparm result=badreq info=EINVAL <<< \0");
    assert_eq!(one("reqtype=nodestatus\nnode=nix"), "nodestatus result=badreq info=EINVAL <<< \0");
    assert_eq!(one(&format!("reqtype=nodeweight\nnode={}", nodes[0])), "nodeweight weight=100 result=OK <<< \0");
    assert_eq!(one(&format!("reqtype=nodesite\nnode={}", nodes[0])), "nodesite site= result=OK <<< \0");
    assert_eq!(one(&format!("reqtype=nodetype\nnode={}", nodes[0])), "nodetype nodetype=normal result=OK <<< \0");
    assert_eq!(
        one(&format!("reqtype=ifstatus\nnode={}\nifname=nix", nodes[0])),
        "ifstatus result=badreq info=EINVAL <<< \0"
    );
    assert_eq!(
        one(&format!("reqtype=clientstatus\nnode={}\ncn=nix", nodes[0])),
        "clientstatus subt=respond-cstatus cs=offline result=OK <<< \0"
    );
    assert_eq!(one("reqtype=setfilter\nfmask=1"), "setfilter result=OK <<< \0");
    assert_eq!(one("reqtype=setfilter\nfmask=40"), "setfilter result=badreq info=EINVAL <<< \0");
    for (signal, info) in
        [("9", " info=EINVAL"), ("19", " info=EINVAL"), ("32", " info=EINVAL"), ("-1", " info=EINVAL")]
    {
        assert_eq!(
            one(&format!("reqtype=setsignal\nsignal={signal}")),
            format!("setsignal result=badreq{info} <<< \0")
        );
    }
    assert_eq!(one("reqtype=setsignal"), "setsignal result=badreq <<< \0");
    assert_eq!(one("reqtype=setsignal\nsignal=0"), "setsignal result=OK <<< \0");
    assert_eq!(one("reqtype=getuuid"), "getuuid result=badreq info=no query node name found <<< \0");
    assert_eq!(one("reqtype=getuuid\nqueryname=nix"), "getuuid result=OK <<< \0");
    let uuid = "(1)queryuuid=BwcHBwcHBwcHBwcHBwcHBw==";
    assert_eq!(
        one(&format!("reqtype=getuuid\nqueryname={}", place_node())),
        format!("getuuid {uuid} result=OK <<< \0")
    );
    assert_eq!(
        one(&format!("reqtype=getnodename\n{uuid}")),
        format!("getnodename queryname={} result=OK <<< \0", place_node())
    );
    assert_eq!(one("reqtype=nix"), "nix result=badreq <<< \0");
    assert_eq!(ask(&mut place, "reqtype=set_sendqlen\nsendqlen=1024"), [""; 0], "never answered");
    let list = ask(&mut place, "reqtype=nodelist");
    assert_eq!(list.len(), nodes.len());
    assert!(list[0].contains("result=ok/more") && list.last().unwrap().contains("result=OK"), "{list:?}");
}

/// The sample's own name.
fn place_node() -> String {
    sample::config(&std::env::temp_dir(), &[("alpha", "one")]).node
}

#[test]
fn request_of_somebody_else_is_not_answered() {
    let mut place = Place::new("impersonation");
    let mut client = casual(&mut place);
    client.say("t=hbapi-req\nreqtype=numnodes\npid=1\nfrom_id=other");
    place.settle();
    assert_eq!(client.hear(), (vec![], false));
    client.say("t=ping");
    place.settle();
    assert!(client.hear().1, "without a name nobody speaks to the cluster");
    assert_eq!(place.take_orders(), []);
}

#[test]
fn nodes_are_listed_in_the_order_of_the_file() {
    let mut place = Place::new("order");
    let medium = |name: &str| Medium::Ping {
        name: name.into(),
        kind: crate::core::message::PingKind::Ping,
        hosts: vec![std::net::IpAddr::from([127, 0, 0, 9])],
    };
    place.config.media.extend(["first", "between", "too", "last"].map(medium));
    place.config.ping_places = vec![0, 1, 1, 2];
    place.begin();
    let mut client = casual(&mut place);
    client.say(&format!("t=hbapi-req\nreqtype=nodelist\npid={}", std::process::id()));
    place.settle();
    let (bodies, _) = client.hear();
    let field = |body: &String, name: &str| {
        body.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap_or_default().to_owned()
    };
    let nodes: Vec<String> = bodies.iter().map(|body| field(body, "node")).collect();
    assert_eq!(nodes, ["first", "alpha", "between", "too", "beta", "last"]);
    let results: Vec<String> = bodies.iter().map(|body| field(body, "result")).collect();
    assert_eq!(results[4..], ["ok/more", "OK"]);
}

#[test]
fn who_signs_on_while_messages_are_missing_hears_nothing_older() {
    let mut place = Place::new("snapshot");
    let mut early = casual(&mut place);
    for seq in [1, 4] {
        place.hear_beat(seq);
    }
    let mut late = place.connect();
    late.sign_on(&honest("mine"));
    place.settle();
    late.hear();
    let sent = |seq, generation| Some(Sent { node: NodeId(1), generation: Generation(generation), seq: Seq(seq) });
    for (text, sent) in [
        ("was missing", sent(2, 5)),
        ("was missing, too", sent(3, 5)),
        ("came later", sent(5, 5)),
        ("of another run", sent(1, 6)),
        ("of another node", Some(Sent { node: NodeId(0), generation: Generation(5), seq: Seq(2) })),
        ("of here", None),
    ] {
        place.server.deliver(text.as_bytes(), None, Hearing::News, sent);
    }
    assert_eq!(late.hear().0, ["came later", "of another run", "of another node", "of here"]);
    assert_eq!(early.hear().0.len(), 6, "it was there before");
    for seq in [2, 3] {
        place.hear_beat(seq);
    }
    drop(late);
    place.settle();
    let mut last = place.connect();
    last.sign_on(&honest("mine"));
    place.settle();
    last.hear();
    place.server.deliver(b"nothing was missing", None, Hearing::News, sent(3, 5));
    assert_eq!(last.hear().0, ["nothing was missing"]);
}

#[test]
fn messages_reach_those_that_want_them() {
    let mut place = Place::new("delivery");
    let mut casual = casual(&mut place);
    let mut named = place.connect();
    named.sign_on(&honest("mine"));
    let mut stranger = place.connect();
    place.settle();
    named.hear();
    place.server.deliver(b"for all", None, Hearing::News, None);
    place.server.deliver(b"for one", Some("mine"), Hearing::News, None);
    place.server.deliver(b"a beat", None, Hearing::NoChange, None);
    assert!(!place.server.is_wanted(Hearing::NoChange));
    assert_eq!(casual.hear().0, ["for all"]);
    assert_eq!(named.hear().0, ["for all", "for one"]);
    assert_eq!(stranger.hear(), (vec![], false));
    casual.say(&format!("t=hbapi-req\nreqtype=setfilter\npid={}\nfmask=2f", std::process::id()));
    place.settle();
    casual.hear();
    place.server.deliver(b"a beat", None, Hearing::NoChange, None);
    assert_eq!(casual.hear().0, ["a beat"]);
}

#[test]
fn client_that_does_not_read_is_dropped_and_the_cluster_told() {
    let mut place = Place::new("unread");
    let mut client = place.connect();
    client.sign_on(&honest("mine"));
    place.settle();
    place.take_orders();
    for _ in 0..5000 {
        place.server.deliver(&[b'x'; 300], None, Hearing::News, None);
    }
    place.settle();
    let orders = place.take_orders();
    let pid = std::process::id();
    assert_eq!(
        orders.iter().map(|(_, lines)| lines.clone()).collect::<Vec<_>>(),
        [format!(
            "t=hbapi-clstat\nst=leave\nfrom_id=mine\nto_id=mine\ninfo=send failed,farside_pid={pid}, sendq length=64(max is \
             64)\nclient_gen=1\n"
        )]
    );
    assert_eq!(place.server.counters().unread, 1);
    let mut bytes = Vec::new();
    client.0.set_nonblocking(false).unwrap();
    let _ = client.0.read_to_end(&mut bytes);
    assert!(bytes.len() > 10_000, "what the system had taken can still be read");
}

#[test]
fn clients_beyond_the_last_place_are_told_and_idle_strangers_make_room() {
    let mut place = Place::new("crowd");
    let strangers: Vec<Client> = (0..crate::core::limits::CLIENTS_MAX * 2).map(|_| place.connect()).collect();
    place.settle();
    let mut casual = casual(&mut place);
    drop(strangers);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..crate::core::limits::CLIENTS_MAX + 3 {
        // The same process under its number with something behind it: as casual as the number, and another id.
        let mut client = place.connect();
        client.sign_on(&honest(&format!("{}x{}", std::process::id(), clients.len())));
        place.settle();
        clients.push(client);
    }
    let refused =
        clients.iter_mut().filter_map(|client| client.hear().0.pop()).filter(|body| body.contains("too many clients"));
    assert_eq!(refused.count(), 4);
    assert_eq!(place.server.counters().crowded, 4);
    casual.say(&format!("t=hbapi-req\nreqtype=numnodes\npid={}", std::process::id()));
    place.settle();
    assert!(casual.hear_one().contains("numnodes="), "who was there before is served");
}

#[test]
fn one_user_gets_half_of_the_places_and_his_own_strangers_make_room() {
    const UID: u32 = 4711;
    let mut place = Place::new("share");
    let bystander = place.connect();
    place.settle();
    let (pid, gid) = (std::process::id(), own_ids().1);
    let admit = |place: &mut Place, name: Option<usize>| {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let peer = Peer { pid: i32::try_from(pid).unwrap(), uid: UID, gid };
        place.server.admit(near.into(), peer);
        let mut client = Client(far);
        if let Some(name) = name {
            client.sign_on(&format!("dest=alpha\npid={pid}\nfrom_id={pid}x{name}\nuid={UID}\ngid={gid}"));
        }
        place.settle();
        client
    };
    let stranger = admit(&mut place, None);
    let half = crate::core::limits::CLIENTS_MAX / 2;
    let mut kept: Vec<Client> = (0..half).map(|name| admit(&mut place, Some(name))).collect();
    assert!(kept.iter_mut().all(|client| client.hear_one().contains("result=OK")), "his stranger has made room");
    assert_eq!(place.server.connected(), half + 1);
    let mut late = admit(&mut place, None);
    let (bodies, is_over) = late.hear();
    assert!(is_over && bodies[0].contains("info=too many clients\n"), "{bodies:?}");
    assert_eq!(place.server.counters().crowded, 1);
    casual(&mut place);
    drop((stranger, bystander));
}

#[test]
fn garbage_ends_only_its_own_connection() {
    let mut place = Place::new("garbage");
    let mut honest = casual(&mut place);
    for seed in 0..60 {
        let mut rng = Rng::new(seed, 0xc11e);
        let mut client = place.connect();
        let mut body: Vec<u8> = (0..rng.index(2000)).map(|_| rng.draw().to_ne_bytes()[0]).collect();
        if rng.chance(500) {
            body.splice(0..0, *b">>>\nt=hbapi-req\nreqtype=");
        }
        let mut bytes = if rng.chance(700) { header(body.len()).to_vec() } else { Vec::new() };
        bytes.extend(&body);
        bytes.truncate(rng.index(bytes.len() + 1));
        let _ = client.0.write_all(&bytes);
        place.turn();
        if rng.chance(500) {
            drop(client);
            place.turn();
        }
    }
    honest.say(&format!("t=hbapi-req\nreqtype=numnodes\npid={}", std::process::id()));
    place.settle();
    assert!(honest.hear_one().contains("numnodes="));
    assert_eq!(place.take_orders(), []);
}

#[test]
fn nobody_is_read_from_while_the_cluster_is_behind() {
    let mut place = Place::new("held");
    let mut client = casual(&mut place);
    place.server.turn(place.now, true);
    client.say(&format!("t=hbapi-req\nreqtype=numnodes\npid={}", std::process::id()));
    let facts = Facts { config: &place.config, node: &place.node, log_facility: -1 };
    place.server.turn(place.now, true);
    assert_eq!(place.server.poll(&facts), None);
    assert_eq!(client.hear(), (vec![], false));
    place.settle();
    assert!(client.hear_one().contains("numnodes="));
}

/// Number 0 to kill(2) means our own process group: the engine would have ended itself.
#[test]
fn client_of_another_pid_namespace_gets_no_signals() {
    use super::requests::serve;
    use super::session::Session;
    use crate::api::ipc::{Connection, Peer, Rooms};
    use crate::wire::heartbeat::ClientMessage;
    let place = Place::new("hidden");
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (uid, gid) = own_ids();
    let connection = Connection::new(ours.into(), Peer { pid: 0, uid, gid }, Rooms::new(1000, 1000), 4);
    let mut session = Session::new(connection, None, 1);
    let facts = Facts { config: &place.config, node: &place.node, log_facility: -1 };
    // None at all is what it gets anyway: the packaged ipfail asks for that.
    for (signal, expected) in [(15, "result=badreq\ninfo=EINVAL\n"), (0, "result=OK\n")] {
        let text = format!(">>>\nt=hbapi-req\nreqtype=setsignal\nsignal={signal}\n<<<\n");
        serve(&mut session, &ClientMessage::parse(text.as_bytes()).unwrap(), &facts, &mut [0; 500]);
        assert_eq!(session.signal, None);
        let mut answer = [0; 500];
        let count = theirs.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.contains(expected), "{answer}");
    }
}

#[test]
fn name_with_a_newline_is_none() {
    let mut place = Place::new("newline");
    let mut client = place.connect();
    let (uid, gid) = own_ids();
    let pid = std::process::id().to_string();
    let fields = [("t", "hbapi-req"), ("reqtype", "signon"), ("pid", &pid), ("from_id", "mine\nsrc=beta")];
    let ids = [("uid", uid.to_string()), ("gid", gid.to_string())];
    let fields = fields.iter().map(|(name, value)| format!("(0){name}={value}"));
    let ids = ids.iter().map(|(name, value)| format!("(0){name}={value}"));
    let body: String = fields.chain(ids).map(|field| format!("{}:{field},", field.len())).collect();
    let body = format!("###\n{body}%%%\n");
    client.0.write_all(&[&header(body.len())[..], body.as_bytes()].concat()).unwrap();
    place.settle();
    let (bodies, is_over) = client.hear();
    assert!(is_over && bodies[0].contains("info=cannot add client\n"), "{bodies:?}");
    assert!(place.take_orders().iter().all(|(_, lines)| !lines.contains("src=beta")));
}

#[test]
fn watchers_see_what_others_ask_and_nobody_hears_twice_what_is_meant_for_him() {
    let mut place = Place::new("watchers");
    let mut watcher = casual(&mut place);
    watcher.say(&format!("t=hbapi-req\nreqtype=setfilter\npid={}\nfmask=1c", std::process::id()));
    place.settle();
    assert!(watcher.hear_one().contains("result=OK"));
    let mut mine = place.connect();
    mine.sign_on(&honest("mine"));
    place.settle();
    let seen = watcher.hear_one();
    assert!(seen.contains("reqtype=signon\n") && seen.contains("from_id=mine\n"), "{seen}");
    mine.hear();
    let body = b">>>\nt=x\nto_id=mine\n<<<\n\0";
    for (hearing, is_watched) in [(Hearing::Duplicate, true), (Hearing::Dropped, true), (Hearing::News, false)] {
        place.server.paper()[..body.len()].copy_from_slice(body);
        place.server.deliver_written(body.len(), hearing, None);
        assert_eq!(watcher.hear().0.len(), usize::from(is_watched), "{hearing:?}");
        assert_eq!(mine.hear().0.len(), usize::from(!is_watched), "{hearing:?}");
    }
}

#[test]
fn client_that_says_too_much_is_told_so_and_the_cluster_too() {
    // With a serial line among the links, without, and more than a frame may be.
    for (has_serial, len) in [(true, 6_000), (true, 6_200), (false, 61_000), (false, 62_000), (false, 70_000)] {
        let mut place = Place::new("too-long");
        if has_serial {
            place.config.media.push(Medium::Serial { device: "/dev/ttyS0".into(), baud: 19_200, is_rtscts: false });
        }
        let mut mine = place.connect();
        mine.sign_on(&honest("mine"));
        place.settle();
        mine.hear();
        place.take_orders();
        let body = format!(">>>\nt=data\nvalue={}\n<<<\n\0", "x".repeat(len));
        let bytes = [&header(body.len())[..], body.as_bytes()].concat();
        let mut rest = &bytes[..];
        for _ in 0..100 {
            let count = mine.0.write(rest).unwrap_or(0);
            rest = &rest[count..];
            place.turn();
        }
        place.settle();
        let orders = place.take_orders();
        if [6_000, 61_000].contains(&len) {
            assert!(matches!(orders[..], [(Order::Relay { to: None, .. }, _)]), "{len} bytes are passed on");
            continue;
        }
        let (bodies, is_over) = mine.hear();
        assert!(is_over && bodies.last().is_some_and(|body| body.contains("info=message too long\n")), "{bodies:?}");
        assert!(orders.iter().any(|(order, lines)| {
            matches!(order, Order::Leave { slot: Some(_) }) && lines.contains("info=message too long\n")
        }));
        assert_eq!(place.server.counters().too_long, 1, "{len}");
    }
}

#[test]
fn words_to_a_node_that_nobody_knows_are_counted_and_nothing_is_answered() {
    let mut place = Place::new("astray");
    let mut mine = place.connect();
    mine.sign_on(&honest("mine"));
    place.settle();
    mine.hear();
    place.take_orders();
    mine.say("t=data\ndest=nowhere");
    mine.say("t=data\n(1)destuuid=CQkJCQkJCQkJCQkJCQkJCQ==");
    mine.say("t=data\ndest=beta");
    place.settle();
    let orders = place.take_orders();
    assert!(matches!(orders[..], [(Order::Relay { to: Some(NodeId(1)), .. }, _)]), "{orders:?}");
    assert_eq!(mine.hear(), (Vec::new(), false), "it goes on");
    let counters = place.server.counters();
    assert_eq!((counters.unknown_node, counters.relayed), (2, 1));
}

mod hostile;
