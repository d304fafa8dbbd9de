use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::*;
use crate::core::time::Instant;
use crate::sim::rng::Rng;

const NOBODY: Peer = Peer { pid: 1, uid: 2, gid: 3 };

fn pair(body_max: usize, output: usize, frames_max: usize) -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Connection::new(ours.into(), NOBODY, Rooms::new(body_max, output), frames_max), theirs)
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&header(body.len()), body].concat()
}

/// Everything that can be had now.
fn take_all(connection: &mut Connection) -> (Vec<Vec<u8>>, Option<Cut>) {
    let mut frames = Vec::new();
    loop {
        match connection.take() {
            Taken::Frame(body) => frames.push(body.to_vec()),
            Taken::Nothing => return (frames, None),
            Taken::End(cut) => return (frames, Some(cut)),
        }
    }
}

/// The client goes. Closing is not enough: what another test forks meanwhile keeps a copy of the descriptor.
fn hang_up(client: &UnixStream) {
    client.shutdown(std::net::Shutdown::Both).unwrap();
}

#[test]
fn header_is_that_of_the_spec() {
    assert_eq!(frame(b"ab"), [2, 0, 0, 0, 0xcd, 0xab, 0, 0, b'a', b'b']);
    assert_eq!(parse_header(header(83), 100), Ok(83));
    assert_eq!(parse_header(header(101), 100), Err(Cut::Length(101)));
}

#[test]
fn frames_are_the_same_however_they_are_cut() {
    let bodies: Vec<Vec<u8>> = (0..40u8).map(|number| vec![number; usize::from(number) * 7 % 97]).collect();
    let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
    for step in [1, 2, 7, 8, 9, 100, 1000, stream.len()] {
        let (mut connection, mut client) = pair(100, 0, 0);
        let mut frames = Vec::new();
        for part in stream.chunks(step) {
            client.write_all(part).unwrap();
            let (more, cut) = take_all(&mut connection);
            assert_eq!(cut, None);
            frames.extend(more);
        }
        assert_eq!(frames, bodies, "in pieces of {step}");
        hang_up(&client);
        assert_eq!(take_all(&mut connection), (vec![], Some(Cut::Closed)));
    }
}

#[test]
fn frames_before_the_end_are_given_before_it() {
    let (mut connection, mut client) = pair(100, 0, 0);
    client.write_all(&[frame(b"one"), frame(b""), frame(b"three"), b"\x05\0\0".to_vec()].concat()).unwrap();
    hang_up(&client);
    assert_eq!(connection.take(), Taken::Frame(b"one"));
    assert!(connection.has_frame(), "epoll will not tell about it");
    let (frames, cut) = take_all(&mut connection);
    assert_eq!(frames, [b"".as_slice(), b"three"]);
    assert_eq!(cut, Some(Cut::Closed));
    assert!(connection.has_frame(), "the end can be had again");
}

#[test]
fn headers_that_nobody_sends_end_the_connection() {
    let bad = |len: i32, magic: u32| [len.to_ne_bytes(), magic.to_ne_bytes()].concat();
    let cases = [
        (bad(5, 0xabcc), Cut::Magic(0xabcc)),
        (bad(300_000, MAGIC), Cut::Length(300_000)),
        (bad(101, MAGIC), Cut::Length(101)),
        (bad(-1, MAGIC), Cut::Length(-1)),
        (bad(i32::MIN, MAGIC), Cut::Length(i32::MIN)),
        (bad(i32::MAX, MAGIC), Cut::Length(i32::MAX)),
    ];
    for (bytes, expected) in cases {
        let (mut connection, mut client) = pair(100, 0, 0);
        client.write_all(&[frame(b"good"), bytes, vec![0; 500]].concat()).unwrap();
        assert_eq!(take_all(&mut connection), (vec![b"good".to_vec()], Some(expected)));
        assert_eq!(connection.take(), Taken::End(expected));
    }
}

#[test]
fn no_room_is_larger_than_the_longest_body() {
    let (mut connection, mut client) = pair(usize::MAX / 2, 0, 0);
    client.write_all(&[(BODY_MAX + 1).to_ne_bytes()[..4].to_vec(), MAGIC.to_ne_bytes().to_vec()].concat()).unwrap();
    assert_eq!(take_all(&mut connection).1, Some(Cut::Length(262_145)));
}

#[test]
fn longest_body_passes_both_ways() {
    let (mut connection, mut client) = pair(BODY_MAX, HEADER_LEN + BODY_MAX, 1);
    let body: Vec<u8> = (0..BODY_MAX).map(|place| place.to_ne_bytes()[0]).collect();
    let mut left = &frame(&body)[..];
    client.set_nonblocking(true).unwrap();
    let received = loop {
        match client.write(left) {
            Ok(count) => left = &left[count..],
            Err(error) => assert!(left.is_empty() || error.kind() == io::ErrorKind::WouldBlock),
        }
        if let Taken::Frame(body) = connection.take() {
            break body.to_vec();
        }
    };
    assert_eq!(received, body);
    connection.send(&body).unwrap();
    let mut back = Vec::new();
    while back.len() < HEADER_LEN + BODY_MAX {
        let mut chunk = [0; 5000];
        match client.read(&mut chunk) {
            Ok(count) => back.extend_from_slice(&chunk[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        connection.flush().unwrap();
    }
    assert_eq!(back, frame(&body));
    assert_eq!((connection.frames(), connection.is_output_waiting()), (0, false));
}

#[test]
fn client_that_does_not_read_fills_its_queue_and_no_more() {
    let (mut connection, mut client) = pair(10, 64 * 1024, QUEUE_MAX);
    let body = [b'x'; 500];
    let mut sent = 0;
    let full = loop {
        match connection.send(&body) {
            Ok(()) => sent += 1,
            Err(full) => break full,
        }
    };
    assert_eq!(full, Full::Queue(QUEUE_MAX));
    assert!(connection.is_output_waiting());
    // What was sent can still be read, in order and whole.
    client.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < sent * frame(&body).len() {
        let mut chunk = [0; 3000];
        match client.read(&mut chunk) {
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        connection.flush().unwrap();
    }
    assert!(bytes.chunks(frame(&body).len()).all(|chunk| chunk == frame(&body)));
    assert_eq!(connection.frames(), 0);
    connection.send(&body).unwrap();
}

#[test]
fn output_that_does_not_fit_the_room_is_refused_whole() {
    let (mut connection, mut client) = pair(10, 100, QUEUE_MAX);
    assert_eq!(connection.send(&[0; 93]), Err(Full::Queue(0)));
    connection.send(&[1; 92]).unwrap();
    let mut bytes = [0; 100];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes[..], frame(&[1; 92])[..]);
    assert_eq!(
        client.set_nonblocking(true).and_then(|()| client.read(&mut bytes)).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[test]
fn client_that_has_gone_is_told_by_sending() {
    let (mut connection, client) = pair(10, 1000, QUEUE_MAX);
    hang_up(&client);
    assert!(matches!(connection.send(b"x"), Err(Full::Failed(_))));
}

#[test]
fn random_bytes_and_honest_frames_never_confuse_a_connection() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed, 0x1bc);
        let (mut connection, mut client) = pair(300, 2000, 4);
        client.set_nonblocking(true).unwrap();
        let (mut expected, mut given) = (Vec::new(), Vec::new());
        let (mut bytes, mut is_good) = (Vec::new(), true);
        for _ in 0..60 {
            if is_good && rng.chance(30) {
                is_good = false;
                bytes.extend((0..8).map(|_| rng.draw().to_ne_bytes()[0] | 0x80));
            } else {
                let body: Vec<u8> = (0..rng.index(301)).map(|_| rng.draw().to_ne_bytes()[0]).collect();
                bytes.extend(frame(&body));
                if is_good {
                    expected.push(body);
                }
            }
            let part = rng.index(bytes.len() + 1);
            let written = client.write(&bytes[..part]).unwrap_or(0);
            bytes.drain(..written);
            if rng.chance(500) {
                let _ = connection.send(&vec![7; rng.index(400)]);
                let _ = client.read(&mut [0; 700]);
                let _ = connection.flush();
            }
            given.extend(take_all(&mut connection).0);
        }
        let _ = client.write(&bytes);
        hang_up(&client);
        let (rest, cut) = take_all(&mut connection);
        given.extend(rest);
        assert!(expected.starts_with(&given) && cut.is_some(), "seed {seed}: {cut:?}");
        assert!(
            !is_good || cut == Some(Cut::Closed) || cut == Some(Cut::Failed(nix::errno::Errno::ECONNRESET)),
            "seed {seed}: {cut:?}"
        );
    }
}

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn place(name: &str) -> Place {
    Place(std::env::temp_dir().join(format!("nullbeat-ipc-{}-{name}", std::process::id())))
}

#[test]
fn listener_replaces_an_old_socket_and_is_open_to_all() {
    let place = place("listen");
    drop(UnixListener::bind(&place.0).unwrap());
    let listener = listen(&place.0, 0o777).unwrap();
    assert_eq!(std::fs::metadata(&place.0).unwrap().permissions().mode() & 0o7777, 0o777);
    assert!(accept(&listener).unwrap().is_none(), "it does not block");
    let _client = UnixStream::connect(&place.0).unwrap();
    let (socket, peer) = accept(&listener).unwrap().unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    let gid = nix::unistd::getegid().as_raw();
    assert_eq!(peer, Peer { pid: std::process::id().cast_signed(), uid, gid });
    let mut connection = Connection::new(socket, peer, Rooms::new(10, 10), 1);
    assert_eq!(connection.take(), Taken::Nothing, "it does not block either");
}

#[test]
fn listener_says_what_is_in_its_way() {
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(110)));
    assert!(listen(&long, 0o777).is_err());
    assert_eq!(listen(&place("none").0.join("socket"), 0o777).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn one_user_gets_half_of_the_places_and_root_any() {
    let taken = |uid| {
        let (socket, _) = UnixStream::pair().unwrap();
        Some(Connection::new(socket.into(), Peer { uid, ..NOBODY }, Rooms::new(1, 1), 1))
    };
    let connections = [taken(7), taken(0), None, taken(7), taken(0), taken(0), None, None];
    let has_share = |connections: &[Option<Connection>], uid| has_its_share(connections.iter().flatten(), 8, uid);
    assert!(!has_share(&connections, 7) && !has_share(&connections, 8));
    let connections = [taken(7), taken(7), None, taken(7), taken(7), taken(0), taken(0), None];
    assert!(has_share(&connections, 7) && !has_share(&connections, 8) && !has_share(&connections, 0));
}

#[test]
fn refusals_are_mentioned_now_and_then() {
    let mut refusals = Refusals::default();
    let noted = [0, 1, 59, 60, 119, 200].map(|second| refusals.note(Instant::from_millis(second * 1000)));
    assert_eq!(noted, [Some(1), None, None, Some(4), None, Some(6)]);
}
