//! One question under way. Never blocks.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt::SocketError,
};

use super::record::Trouble;
use super::spec::Spec;
use crate::api::apphb::message::{Reply, written};
use crate::api::ipc::{self, Connection, Peer, Rooms, Taken};
use crate::config::Question;
use crate::config::services::apphbd::ApplicationName;
use crate::core::message::PingKind;
use crate::guardian::script::{Ending, Script};
use crate::links::Received;
use crate::links::ping::PingSocket;
use crate::sys::spawn::{Program, spawn};

/// Bytes of an answer that are looked at: the status line, and its reason however long.
const ANSWER_MAX: usize = 64;
/// Bytes of an answer of `apphbd`.
const REPLY_LEN: usize = 4;
/// `HTTP/1.1 200`.
const STATUS_LEN: usize = 12;

/// What came of a question: nothing is wrong, or something.
pub(super) type Answer = Result<(), Trouble>;

/// A question under way.
#[derive(Debug)]
pub(super) enum Asking {
    /// A connection is being made; it is handed on once it is there.
    Connecting { stream: Option<TcpStream>, request: Option<(String, u16)> },
    /// The request is being sent, the answer read.
    Requesting { stream: TcpStream, request: String, sent: usize, answer: Vec<u8>, expect: u16 },
    /// An echo request is out; this is its data.
    Echo { token: [u8; 8] },
    /// A program runs.
    Running(Script),
    /// `apphbd` has been asked.
    Consulting(Connection),
}

impl Asking {
    /// Begins to ask. `ping` is the socket of a check that wants one; without it nobody can tell anything. Nor can anybody
    /// when this process itself lacks something (`Err(None)`): that says nothing about the service.
    pub(super) fn begin(now: Instant, spec: &Spec, ping: Option<&mut PingSocket>) -> Result<Self, Option<Trouble>> {
        match &spec.question {
            Question::Tcp(address) => Ok(Self::Connecting { stream: Some(start(*address)?), request: None }),
            Question::Http { address, host, path, expect } => {
                let request = format!(
                    "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: nullbeat\r\nAccept: */*\r\nConnection: close\r\n\r\n"
                );
                Ok(Self::Connecting { stream: Some(start(*address)?), request: Some((request, *expect)) })
            }
            Question::Ping(_) => {
                let socket = ping.filter(|socket| socket.descriptor().is_some()).ok_or(None)?;
                let token = token();
                let dropped = socket.dropped;
                socket.ask(&token);
                if socket.dropped > dropped { Err(Some(Trouble::Refused)) } else { Ok(Self::Echo { token }) }
            }
            Question::Exec(program) => {
                run(program, now, spec.pace.timeout).map(Self::Running).map_err(|error| trouble_of(&error))
            }
            Question::Apphb(who) => consult(&spec.apphbd, who).map(Self::Consulting),
        }
    }

    /// Whose readiness to wait for; of an echo the socket's, which belongs to the check.
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self {
            Self::Connecting { stream, .. } => stream.as_ref().map(|stream| (stream.as_fd(), PollFlags::POLLOUT)),
            Self::Requesting { stream, request, sent, .. } if *sent < request.len() => {
                Some((stream.as_fd(), PollFlags::POLLOUT))
            }
            Self::Requesting { stream, .. } => Some((stream.as_fd(), PollFlags::POLLIN)),
            Self::Running(script) => Some((script.as_fd(), PollFlags::POLLIN)),
            Self::Consulting(connection) => Some((connection.as_fd(), PollFlags::POLLIN)),
            Self::Echo { .. } => None,
        }
    }

    /// When [`Self::go_on`] wants to be called even if nothing is ready.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Running(script) => script.deadline(),
            _ => None,
        }
    }

    /// Goes on as far as that is possible now. The answer, when there is one.
    pub(super) fn go_on(&mut self, now: Instant, ping: Option<&mut PingSocket>) -> Option<Answer> {
        match self {
            Self::Connecting { stream, request } => {
                if let Some(answer) = connected(stream.as_ref()?) {
                    return answer.err().map(Err);
                }
                let Some((request, expect)) = request.take() else { return Some(Ok(())) };
                let stream = stream.take()?;
                *self = Self::Requesting { stream, request, sent: 0, answer: Vec::new(), expect };
                self.go_on(now, ping)
            }
            Self::Requesting { stream, request, sent, answer, expect } => {
                exchange(stream, request, sent, answer, *expect)
            }
            Self::Echo { token } => listen(ping?, token),
            Self::Consulting(connection) => verdict(connection.take()),
            Self::Running(script) => script.check(now).map(|ending| match ending {
                Ending::Code(0) => Ok(()),
                Ending::Code(code) => Err(Trouble::Code(u16::try_from(code).unwrap_or(u16::MAX))),
                Ending::OverTime | Ending::Unkillable => Err(Trouble::Silence),
            }),
        }
    }

    /// Whether its time is up as soon as the clock says so; a program is asked to end first, and awaited.
    pub(super) const fn ends_by_clock(&self) -> bool {
        !matches!(self, Self::Running(_))
    }

    /// Nobody waits for the answer any more. A program that has to be reaped comes back.
    pub(super) fn abandon(self) -> Option<Script> {
        let Self::Running(script) = self else { return None };
        script.kill();
        Some(script)
    }
}

/// Asks `apphbd` whether an application beats. That it cannot be asked is its own failure: nobody would notice the
/// application's.
fn consult(socket: &Path, who: &ApplicationName) -> Result<Connection, Option<Trouble>> {
    let socket = ipc::connect(socket).map_err(|_| Some(Trouble::Refused))?;
    let body = written::question(&who.name, who.instance.as_deref().unwrap_or_default());
    let nobody = Peer { pid: 0, uid: 0, gid: 0 };
    let mut connection = Connection::new(socket, nobody, Rooms::new(REPLY_LEN, ipc::HEADER_LEN + body.len()), 1);
    connection.send(&body).map_err(|_| Some(Trouble::Refused))?;
    Ok(connection)
}

fn verdict(taken: Taken<'_>) -> Option<Answer> {
    let body = match taken {
        Taken::Nothing => return None,
        Taken::End(_) => return Some(Err(Trouble::Refused)),
        Taken::Frame(body) => body,
    };
    Some(if body == Reply::Ok.bytes() {
        Ok(())
    } else if body == Reply::Failed.bytes() {
        Err(Trouble::Missed)
    } else if body == Reply::NotRegistered.bytes() {
        Err(Trouble::Absent)
    } else {
        // The packaged apphbd knows no such question.
        Err(Trouble::Nonsense)
    })
}

/// Begins to connect.
fn start(address: SocketAddr) -> Result<TcpStream, Option<Trouble>> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(family, SockType::Stream, flags, None).map_err(|_| None)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(trouble_of(&errno.into())),
    }
}

/// `None`: it is connected; `Some(Ok)`: not yet.
fn connected(stream: &TcpStream) -> Option<Answer> {
    match getsockopt(stream, SocketError) {
        Ok(0) if stream.peer_addr().is_ok() => None,
        Ok(0) => Some(Ok(())),
        _ => Some(Err(Trouble::Refused)),
    }
}

fn exchange(
    stream: &mut TcpStream,
    request: &str,
    sent: &mut usize,
    answer: &mut Vec<u8>,
    expect: u16,
) -> Option<Answer> {
    while *sent < request.len() {
        match stream.write(&request.as_bytes()[*sent..]) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => return Some(Err(Trouble::Refused)),
        }
    }
    let mut buffer = [0; ANSWER_MAX];
    while answer.len() <= STATUS_LEN {
        match stream.read(&mut buffer[..ANSWER_MAX - answer.len()]) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Some(Err(Trouble::Refused)),
        }
    }
    Some(match status_code(answer) {
        Some(code) if code == expect => Ok(()),
        Some(code) => Err(Trouble::Code(code)),
        None if answer.is_empty() => Err(Trouble::Refused),
        None => Err(Trouble::Nonsense),
    })
}

/// The code in `HTTP/1.x NNN`, with whatever behind it.
pub(crate) fn status_code(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.")?;
    let [version, b' ', digits @ ..] = line else { return None };
    let (digits, rest) = digits.split_at_checked(3)?;
    let ends = rest.first().is_none_or(|next| matches!(next, b' ' | b'\r' | b'\n'));
    if !version.is_ascii_digit() || !digits.iter().all(u8::is_ascii_digit) || !ends {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Tells this question's answer from those to earlier ones, and from other programs'.
fn token() -> [u8; 8] {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish().to_le_bytes()
}

/// A socket for one host.
pub(super) fn ping_socket(host: IpAddr) -> PingSocket {
    let kind = if host.is_ipv6() { PingKind::Ping6 } else { PingKind::Ping };
    PingSocket::new("check", kind, &[host])
}

fn listen(socket: &mut PingSocket, token: &[u8; 8]) -> Option<Answer> {
    let mut buffer = [0; 2048];
    loop {
        match socket.receive(&mut buffer) {
            Received::Echo { start, end } if buffer.get(start..end) == Some(token) => return Some(Ok(())),
            Received::Nothing => return None,
            _ => {}
        }
    }
}

/// What an error says about the service; `None`: nothing, as it is this board that lacks something.
fn trouble_of(error: &io::Error) -> Option<Trouble> {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    let is_ours = matches!(
        errno,
        Errno::EAGAIN | Errno::ENOMEM | Errno::ENOBUFS | Errno::EMFILE | Errno::ENFILE | Errno::ETXTBSY
    );
    (!is_ours).then_some(Trouble::Refused)
}

fn run(program: &Path, now: Instant, timeout: Duration) -> io::Result<Script> {
    let path = CString::new(program.as_os_str().as_bytes())?;
    let null = File::options().write(true).open("/dev/null")?;
    let pid = spawn(&Program {
        path: &path,
        arguments: &[&path],
        environment: &[c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        directory: c"/",
        stdin: None,
        stdout: null.as_fd(),
        stderr: null.as_fd(),
    })?;
    Script::watch(pid, now, timeout)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use nix::poll::{PollFd, PollTimeout, poll};
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::wait::{WaitStatus, waitpid};

    use super::super::schedule::Pace;
    use super::*;
    use crate::sys::process::fork_child;

    fn spec(question: &Question, apphbd: &Path) -> Spec {
        let minute = Duration::from_secs(60);
        let pace = Pace { every: minute, timeout: minute, rise: 1, fall: 1 };
        Spec { number: 0, group: None, pace, question: question.clone(), apphbd: apphbd.to_owned() }
    }

    /// Lets a question come to its end.
    fn answer(question: &Question) -> Answer {
        answer_at(question, Path::new(""))
    }

    fn answer_at(question: &Question, apphbd: &Path) -> Answer {
        let now = Instant::now();
        let mut asking = match Asking::begin(now, &spec(question, apphbd), None) {
            Ok(asking) => asking,
            Err(trouble) => return Err(trouble.unwrap()),
        };
        loop {
            let (fd, flags) = asking.interest().unwrap();
            assert_eq!(poll(&mut [PollFd::new(fd, flags)], PollTimeout::from(20_000u16)), Ok(1), "{asking:?}");
            if let Some(answer) = asking.go_on(Instant::now(), None) {
                return answer;
            }
        }
    }

    /// A server that answers one request with `text`; what it was asked comes back.
    fn server(text: &'static [u8]) -> (SocketAddr, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            // Whoever has read enough may be gone already.
            let _ = stream.write_all(text);
            asked
        };
        (address, std::thread::spawn(serve))
    }

    fn http(text: &'static [u8]) -> (Answer, String) {
        let (address, server) = server(text);
        let question = Question::Http { address, host: "shop".into(), path: "/up?x".into(), expect: 200 };
        let answer = answer(&question);
        (answer, String::from_utf8(server.join().unwrap()).unwrap())
    }

    #[test]
    fn connection_that_is_accepted_is_good_and_one_that_is_refused_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(answer(&Question::Tcp(address)), Ok(()));
        drop(listener);
        assert_eq!(answer(&Question::Tcp(address)), Err(Trouble::Refused));
    }

    #[test]
    fn web_server_is_judged_by_its_status_line() {
        let (good, asked) = http(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody");
        assert_eq!(good, Ok(()));
        assert!(asked.starts_with("GET /up?x HTTP/1.0\r\nHost: shop\r\n"), "{asked}");
        assert_eq!(http(b"HTTP/1.0 200").0, Ok(()));
        assert_eq!(http(b"HTTP/1.1 503 Busy\r\n\r\n").0, Err(Trouble::Code(503)));
        assert_eq!(http(b"HTTP/1.1 2000\r\n").0, Err(Trouble::Nonsense));
        assert_eq!(http(b"SSH-2.0-x\r\n----------------").0, Err(Trouble::Nonsense));
        assert_eq!(http(b"").0, Err(Trouble::Refused));
    }

    #[test]
    fn status_lines_are_read_strictly() {
        assert_eq!(status_code(b"HTTP/1.1 301 Moved"), Some(301));
        for bad in ["HTTP/2 200", "HTTP/1.1  20", "HTTP/1.x 200 ", "http/1.1 200 ", "HTTP/1.1 +20 ", "HTTP/1.1 2", ""] {
            assert_eq!(status_code(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_this_board_lacks_says_nothing_about_the_service() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let http = Question::Http { address, host: "shop".into(), path: "/".into(), expect: 404 };
        let now = Instant::now();
        let begin = |question: &Question| Asking::begin(now, &spec(question, Path::new("")), None);
        let mut asking = begin(&http).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        // In a process of its own: others go on opening things.
        let child = fork_child(|| {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
            for question in [Question::Exec("/bin/false".into()), Question::Tcp(address), http.clone()] {
                assert!(matches!(begin(&question), Err(None)), "{question:?}");
            }
            // It has its connection: nothing more is needed to ask, and nothing less.
            loop {
                std::thread::yield_now();
                match asking.go_on(Instant::now(), None) {
                    None => {}
                    Some(Err(Trouble::Code(200))) => return 0,
                    other => panic!("{other:?}"),
                }
            }
        });
        let pid = child.unwrap().pid;
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
        assert_eq!(trouble_of(&Errno::ECONNREFUSED.into()), Some(Trouble::Refused));
        assert_eq!(trouble_of(&io::Error::other("?")), Some(Trouble::Refused));
    }

    #[test]
    fn program_is_judged_by_its_exit_code() {
        assert_eq!(answer(&Question::Exec("/bin/true".into())), Ok(()));
        assert_eq!(answer(&Question::Exec("/bin/false".into())), Err(Trouble::Code(1)));
        assert_eq!(answer(&Question::Exec("/nonexistent".into())), Err(Trouble::Refused));
    }

    #[test]
    fn application_is_judged_by_what_apphbd_knows_of_it() {
        let dir = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-ask-XXXXXX")).unwrap();
        let path = dir.join("apphb.comm");
        let who = || ApplicationName::parse("web:one").unwrap();
        let question = || Question::Apphb(who());
        assert_eq!(answer_at(&question(), &path), Err(Trouble::Refused));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let replies = [
            (Some(0), Ok(())),
            (Some(62), Err(Trouble::Missed)),
            (Some(3), Err(Trouble::Absent)),
            (Some(22), Err(Trouble::Nonsense)),
            (None, Err(Trouble::Refused)),
        ];
        for (reply, expected) in replies {
            let listener = listener.try_clone().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = vec![0; 8 + written::question("", "").len()];
                stream.read_exact(&mut asked).unwrap();
                if let Some(reply) = reply {
                    let frame = [&ipc::header(REPLY_LEN)[..], &i32::to_ne_bytes(reply)].concat();
                    stream.write_all(&frame).unwrap();
                }
                asked
            });
            assert_eq!(answer_at(&question(), &path), expected);
            assert_eq!(server.join().unwrap()[8..], written::question("web", "one"));
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
