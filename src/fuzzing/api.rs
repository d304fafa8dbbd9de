//! The local sockets: frames, the client interface, membership, application heartbeats, logging.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::{choice, pieces, scratch};
use crate::api::apphb::supervisor::{Peer as ApphbPeer, Slot, Supervisor};
use crate::api::client::{Authority, ClientRooms, Facts, Order, Server};
use crate::api::ipc::{BODY_MAX, Connection, Cut, Full, HEADER_LEN, MAGIC, Peer, Rooms, Taken, header};
use crate::api::logd::message::{ENCODED_MAX as LOG_MAX, Message as LogMessage};
use crate::api::membership::Local;
use crate::api::membership::message::{ENCODED_MAX, Fields, Message};
use crate::api::membership::service::{Input, Output, Service};
use crate::cli::heartbeat::membership::News;
use crate::config::{ApiAuth, Config, sample};
use crate::core::Node;
use crate::core::ids::{Generation, MemberId, NodeName, Uuid};
use crate::core::quorum::Quorum;
use crate::core::settings::Identity;
use crate::core::time::{Duration, Instant, Stamp};
use crate::wire::heartbeat::ClientMessage;

const ROOM: usize = 512;

/// Frames out of bytes, however these are cut; each frame is sent back, and comes whole or not at all.
pub(super) fn ipc(data: &[u8]) {
    let (size, bytes) = choice(data);
    let bytes = &bytes[..bytes.len().min(8 * ROOM)];
    let (ours, mut theirs) = pair();
    let peer = Peer { pid: 0, uid: 0, gid: 0 };
    let mut connection = Connection::new(ours.into(), peer, Rooms::new(ROOM, 2 * ROOM), 4);
    let (mut frames, mut returned, mut cut) = (Vec::new(), Vec::new(), None);
    for chunk in bytes.chunks(size % 200 + 1) {
        if cut.is_some() {
            // Nobody reads any more.
            break;
        }
        theirs.write_all(chunk).expect("a socket takes so much");
        while cut.is_none() {
            let frame = match connection.take() {
                Taken::Frame(body) => body.to_vec(),
                Taken::Nothing => break,
                Taken::End(end) => {
                    cut = Some(end);
                    break;
                }
            };
            match connection.send(&frame) {
                Ok(()) => returned.extend([&header(frame.len())[..], &frame].concat()),
                Err(full) => assert!(matches!(full, Full::Queue(_)), "{full:?}"),
            }
            frames.push(frame);
        }
        assert_eq!(connection.has_frame(), cut.is_some(), "nothing whole is left behind");
    }
    assert_eq!((frames, cut), frames_in(bytes));
    let mut read = Vec::new();
    while read.len() < returned.len() {
        let mut chunk = [0; ROOM];
        let count = theirs.read(&mut chunk).expect("what was taken comes");
        read.extend_from_slice(&chunk[..count]);
        connection.flush().expect("the other end is there");
    }
    assert_eq!(read, returned);
}

/// The same in the plainest way.
fn frames_in(mut bytes: &[u8]) -> (Vec<Vec<u8>>, Option<Cut>) {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        let len = i32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
        let magic = u32::from_ne_bytes([head[4], head[5], head[6], head[7]]);
        if magic != MAGIC {
            return (frames, Some(Cut::Magic(magic)));
        }
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= ROOM.min(BODY_MAX)) else {
            return (frames, Some(Cut::Length(len)));
        };
        let Some((body, behind)) = rest.split_at_checked(len) else { break };
        frames.push(body.to_vec());
        bytes = behind;
    }
    (frames, None)
}

fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().expect("a pair of sockets");
    for end in [&one, &other] {
        end.set_nonblocking(true).expect("non-blocking");
    }
    (one, other)
}

/// A server with its socket.
struct Place {
    path: PathBuf,
    server: Server,
    config: Config,
    node: Box<Node>,
    now: Instant,
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(Place::new());
}

impl Place {
    fn new() -> Self {
        let path = scratch("socket");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let uid = nix::unistd::geteuid().as_raw();
        let class = |client: &str| ApiAuth { client: client.to_owned(), uids: vec![uid], gids: vec![] };
        let authority = Authority::new(&[class("anon"), class("mine")]);
        let mut config = sample::config(&std::env::temp_dir(), &[("alpha", "one")]);
        config.directives = vec![("deadtime".into(), "1".into())];
        let identity = Identity { uuid: Uuid([7; 16]), generation: Generation(1) };
        let at = Stamp { now: Instant::from_millis(1000), wall: 1_800_000_000 };
        let mut node = Box::new(Node::new(config.settings(1), identity, None, at));
        node.handle(at, crate::core::Input::Tick);
        while node.poll_action().is_some() {}
        let server = Server::new(listener.into(), ClientRooms::default(), authority).expect("a server");
        Self { path, server, config, node, now: at.now }
    }

    /// Turns until nobody has anything more to say.
    fn settle(&mut self) {
        for _ in 0..8 {
            // Each turn in a second of its own: nobody waits for the limit of connections.
            self.now = self.now + Duration::from_secs(1);
            self.server.turn(self.now, false);
            let facts = Facts { config: &self.config, node: &self.node, log_facility: -1 };
            while let Some(order) = self.server.poll(&facts) {
                if !matches!(order, Order::Standby(_)) {
                    check_lines(self.server.lines());
                }
                if let Order::Join { slot, .. } = order {
                    self.server.welcome(slot, &facts);
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What goes to the cluster is fields, of which the daemon's own are not among those that clients may say.
fn check_lines(lines: &[u8]) {
    assert!(lines.ends_with(b"\n"), "{}", lines.escape_ascii());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        let name = name.strip_prefix(b"(1)").or_else(|| name.strip_prefix(b"(3)")).unwrap_or(name);
        let is_name = !name.is_empty() && name[0] != b'(' && name.len() < line.len() && !name.contains(&b'\n');
        assert!(is_name, "no field: {}", line.escape_ascii());
        let ours: [&[u8]; 9] = [b"src", b"srcuuid", b"dest", b"destuuid", b"seq", b"hg", b"ts", b"ttl", b"auth"];
        assert!(!ours.contains(&name), "the daemon's own field: {}", line.escape_ascii());
    }
}

/// The client interface: a client that has signed on, if the first byte says so, and then says all this.
pub(super) fn client_api(data: &[u8]) {
    let (choice, rest) = choice(data);
    // The signal would hit ourselves: the other end is in this process.
    if rest.windows(9).any(|window| window == b"setsignal") {
        return;
    }
    PLACE.with_borrow_mut(|place| {
        let mut client = UnixStream::connect(&place.path).expect("somebody listens");
        client.set_nonblocking(true).expect("non-blocking");
        let (uid, gid, pid) = (nix::unistd::geteuid(), nix::unistd::getegid(), std::process::id());
        let name = ["mine".to_owned(), pid.to_string()];
        if let Some(name) = name.get(choice % 4) {
            let fields = format!("t=hbapi-req\nreqtype=signon\npid={pid}\nfrom_id={name}\nuid={uid}\ngid={gid}");
            say(&mut client, format!(">>>\n{fields}\n<<<\n\0").as_bytes());
            place.settle();
        }
        if choice >= 0x80 {
            let _ = client.write_all(rest);
        } else {
            // Where it can only be known at the time: the number of the client.
            let pid = pid.to_string();
            for piece in pieces(rest) {
                let piece = piece.split(|byte| *byte == b'$').collect::<Vec<_>>().join(pid.as_bytes());
                say(&mut client, &piece);
                place.settle();
            }
        }
        place.settle();
        let mut heard = Vec::new();
        let _ = client.read_to_end(&mut heard);
        let (frames, cut) = frames_of(&heard);
        assert!(cut.is_none(), "what the server says are frames");
        for frame in frames {
            assert!(frame.starts_with(b">>>\n") && frame.ends_with(b"<<<\n\0"), "{}", frame.escape_ascii());
        }
        drop(client);
        place.settle();
    });
}

/// Frames of any length that the server may write.
fn frames_of(mut bytes: &[u8]) -> (Vec<&[u8]>, Option<usize>) {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        let len = usize::try_from(i32::from_ne_bytes([head[0], head[1], head[2], head[3]])).unwrap_or(usize::MAX);
        let Some((body, behind)) = rest.split_at_checked(len) else { return (frames, Some(len)) };
        frames.push(body);
        bytes = behind;
    }
    (frames, (!bytes.is_empty()).then_some(0))
}

fn say(client: &mut UnixStream, body: &[u8]) {
    let _ = client.write_all(&[&header(body.len())[..], body].concat());
}

fn local() -> Local {
    let names: [NodeName; 3] = ["alpha", "beta", "gamma"].map(|name| name.try_into().unwrap_or_default());
    Local::new(names.iter().zip([100, 100, 50]), "beta").expect("one of them")
}

/// What membership services say: read as text and as fields, said again.
pub(super) fn ccm_message(data: &[u8]) {
    let local = local();
    let mut out = [0; ENCODED_MAX];
    if let Ok(client) = ClientMessage::parse(data) {
        let mut fields = Fields::default();
        client.each_value(|name, value| fields.note(name, value));
        let _ = Message::read(&fields, &local);
    }
    let Ok(message) = Message::read(&Fields::of_text(data), &local) else { return };
    let len = message.write_lines(&local, &mut out);
    assert_eq!(Message::read(&Fields::of_text(&out[..len]), &local), Ok(message), "{}", out[..len].escape_ascii());
}

/// A membership service to which the others say anything, in any order, with time passing.
pub(super) fn ccm_service(data: &[u8]) {
    let mut service = Service::new(local(), Quorum::default(), Duration::from_millis(200), 7);
    let mut now = Instant::from_millis(1000);
    service.begin(now);
    let mut out = [0; ENCODED_MAX];
    for piece in pieces(data) {
        let (choice, text) = choice(piece);
        let node = MemberId([0, 2][choice % 2]);
        match choice >> 1 & 7 {
            0 => service.handle(now, Input::Node { node, is_up: choice & 0x10 != 0 }),
            1 => service.handle(now, Input::Client { node, is_online: choice & 0x10 != 0 }),
            2 => service.signed_on(now, node),
            3 => {
                now = service.poll_timeout().map_or(now, |until| until.max(now));
                service.handle(now, Input::Tick);
                assert!(service.poll_timeout().is_none_or(|until| until > now), "what is due has been done");
            }
            4 => now = now + Duration::from_millis(choice as u64),
            _ => {
                if let Ok(message) = Message::read(&Fields::of_text(text), service.local()) {
                    service.handle(now, Input::Said { by: node, message: &message });
                }
            }
        }
        while let Some(output) = service.poll_output() {
            if let Output::Send { message, .. } = output {
                let len = message.write_lines(service.local(), &mut out);
                assert_eq!(Message::read(&Fields::of_text(&out[..len]), service.local()), Ok(message));
            }
        }
        if let Some(view) = service.view() {
            assert!(view.members.contains(service.local().place()), "nobody is outside of its own membership");
            assert_eq!(view.by_age().count(), view.members.len());
        }
    }
}

/// Requests of applications, with time passing.
pub(super) fn apphbd(data: &[u8]) {
    let mut supervisor = Supervisor::new();
    let mut now = Instant::from_millis(1000);
    let peer = ApphbPeer { pid: 7, uid: 8, gid: 9, may_reset: data.len().is_multiple_of(2) };
    let mut slots: [Option<Slot>; 2] = [supervisor.connect(now, peer), supervisor.connect(now, peer)];
    let (mut events, mut requests) = (0, 0);
    for piece in pieces(data) {
        let (choice, body) = choice(piece);
        let place = choice % 2;
        let Some(slot) = slots[place] else { continue };
        let mut tell = |_: &_, _| events += 1;
        match choice >> 1 & 3 {
            0 => {
                now = now + Duration::from_millis(choice as u64);
                for closed in supervisor.expire(now, &mut tell) {
                    slots.iter_mut().filter(|slot| **slot == Some(closed)).for_each(|slot| *slot = None);
                }
                assert!(supervisor.deadline().is_none_or(|at| at > now), "who is due has been told");
            }
            1 if body.is_empty() => {
                supervisor.hang_up(slot, &mut tell);
                slots[place] = None;
            }
            _ => {
                requests += 1;
                if supervisor.handle(now, slot, body, &mut tell).is_over {
                    slots[place] = None;
                }
            }
        }
    }
    assert!(events <= 3 * (requests + slots.len()) + 2 * data.len());
}

/// A line for the log: read and written again.
pub(super) fn logd(data: &[u8]) {
    let Some(message) = LogMessage::decode(data) else { return };
    let mut room = [0; LOG_MAX];
    let written = message.encode(&mut room);
    let again = LogMessage::decode(written).expect("what is written is read");
    assert_eq!(LogMessage { entity: again.entity, ..message }, again);
    assert!(message.entity.starts_with(again.entity) && message.entity.len() - again.entity.len() <= 1);
}

/// What a service of membership, the packaged one or ours, says to `cl_status`: bodies of frames.
pub(super) fn ccm_client(data: &[u8]) {
    let mut news = News::default();
    for body in pieces(data) {
        let Some(text) = news.take(body) else { continue };
        let is_whole = text.ends_with("member of partition\n") || text == "\nccm membership evicted\n";
        assert!(is_whole || text.is_empty(), "{text:?}");
        assert_eq!(news.take(body), Some(text), "the same is the same");
    }
}
