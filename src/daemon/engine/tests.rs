//! Whole engines in this process, each with a guardian that only says what it would do.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

use super::*;
use crate::config::{Medium, sample};
use crate::core::ids::{Generation, GroupId, LinkId, Uuid};
use crate::core::{JobOutcome, Order};
use crate::guardian::lease;
use crate::guardian::lease_timer::LeaseTimer;
use crate::guardian::roster::Roster;
use crate::links;

/// Generous: a test that waits for an event fails after this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(nix::unistd::mkdtemp(&std::env::temp_dir().join("engine-XXXXXX")).unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Two pseudo-terminals whose far ends are joined by a thread: a null-modem cable that can be cut.
struct Cable {
    names: [PathBuf; 2],
    is_whole: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

fn terminal() -> (PtyMaster, PathBuf) {
    let far = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let name = ptsname_r(&far).unwrap();
    (far, PathBuf::from(name))
}

fn carry(mut from: &PtyMaster, mut to: &PtyMaster, is_whole: bool) {
    let mut buffer = [0; 4096];
    // EIO only says that nobody has opened the near end yet.
    if let Ok(count) = from.read(&mut buffer)
        && is_whole
    {
        let _ = to.write(&buffer[..count]);
    }
}

impl Cable {
    fn new() -> Self {
        let ((one, one_name), (other, other_name)) = (terminal(), terminal());
        let is_whole = Arc::new(AtomicBool::new(true));
        let is_over = Arc::new(AtomicBool::new(false));
        let (whole, over) = (Arc::clone(&is_whole), Arc::clone(&is_over));
        let carrier = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let mut ends = [&one, &other].map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
                let _ = poll(&mut ends, PollTimeout::from(20u8));
                let is_whole = whole.load(Ordering::Relaxed);
                carry(&one, &other, is_whole);
                carry(&other, &one, is_whole);
            }
        });
        Self { names: [one_name, other_name], is_whole, is_over, carrier: Some(carrier) }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}

/// What a guardian was asked for, in order.
type Diary = Arc<Mutex<Vec<ToGuardian>>>;

struct Running {
    engine: JoinHandle<i32>,
    guardian: JoinHandle<()>,
    diary: Diary,
    control: Channel,
}

impl Running {
    /// Waits until the guardian has been asked for something that `is_it`.
    fn wait_for(&self, what: &str, is_it: impl Fn(&ToGuardian) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !self.diary.lock().unwrap().iter().any(&is_it) {
            assert!(Instant::now() < limit, "{what} did not happen: {:?}", self.diary.lock().unwrap());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_start(&self, group: GroupId) {
        let is_it = |request: &ToGuardian| matches!(request, ToGuardian::Run { group: other, order: Order::Start, .. } if *other == group);
        self.wait_for("start", is_it);
    }

    /// Asks for a stop and waits for the end.
    fn stop(self) -> i32 {
        self.control.send(&ToEngine::StopRequested.encode()).unwrap();
        let code = self.engine.join().unwrap();
        self.guardian.join().unwrap();
        assert_eq!(self.diary.lock().unwrap().last(), Some(&ToGuardian::Exit));
        code
    }
}

/// Answers everything at once and with success until the engine is gone.
fn guard(channel: &Channel, config: &Config, page: &Lease, digest: u64, diary: &Diary) {
    loop {
        page.stamp_guardian(lease::now());
        let mut ends = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut ends, PollTimeout::from(20u8));
        loop {
            let incoming = match channel.receive() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break,
                Err(_) => return,
            };
            let (request, its_digest) = ToGuardian::decode(incoming.bytes()).unwrap();
            assert_eq!(its_digest, digest);
            diary.lock().unwrap().push(request);
            match request {
                ToGuardian::OpenLink { link } => answer_link(channel, config, link),
                // The engine may have ended meanwhile.
                ToGuardian::OpenControl => drop(channel.send(&ToEngine::Control { errno: 13 }.encode())),
                ToGuardian::Run { job, order, .. } => {
                    let outcome = if order == Order::Probe { JobOutcome::NoneRunning } else { JobOutcome::Done };
                    let _ = channel.send(&ToEngine::JobDone { job, outcome, resource: 255, ms: 1 }.encode());
                }
                _ => {}
            }
        }
    }
}

fn answer_link(channel: &Channel, config: &Config, link: LinkId) {
    let medium = &config.media[usize::from(link.0)];
    match links::open_with_locks(medium, Path::new("/nonexistent/lock")) {
        Ok(opened) => {
            let answer = ToEngine::Link { link, errno: 0, detail: opened.detail };
            drop(channel.send_with(&answer.encode(), opened.descriptor.as_fd()));
        }
        Err(error) => {
            let errno = error.raw_os_error().unwrap();
            drop(channel.send(&ToEngine::Link { link, errno, detail: 0 }.encode()));
        }
    }
}

fn start(config: Config, number: u8) -> Running {
    let run_dir = config.paths.run.clone();
    std::fs::create_dir_all(&run_dir).unwrap();
    Lease::open_or_create(&run_dir).unwrap().set_table(&config, None);
    let digest = lease::table_digest(&config);
    let (engine_end, guardian_end) = Channel::pair().unwrap();
    let control = Channel::from(guardian_end.as_fd().try_clone_to_owned().unwrap());
    let diary = Diary::default();
    let guardian = {
        let (config, diary, run_dir) = (config.clone(), Arc::clone(&diary), run_dir.clone());
        thread::spawn(move || {
            let page = Lease::open_or_create(&run_dir).unwrap();
            guard(&guardian_end, &config, &page, digest, &diary);
        })
    };
    let engine = thread::spawn(move || {
        let context = EngineContext {
            guardian: engine_end.into(),
            messages: MessageOutlet::default(),
            lease: Lease::open_or_create(&run_dir).unwrap(),
            last_move: None,
            roster: Roster::new().unwrap(),
            carried: None,
            identity: Identity { uuid: Uuid([number; 16]), generation: Generation(1) },
            is_generation_guessed: false,
            timer: LeaseTimer::new().unwrap(),
            fencings_before: 0,
            watchdogs: Vec::new(),
            untold: Untold::default(),
            table_digest: digest,
        };
        run(&config, context)
    });
    Running { engine, guardian, diary, control }
}

/// A port that was free a moment ago on both addresses.
fn free_port() -> u16 {
    std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The two nodes' configurations: one group each, UDP on loopback, and a cable when there is one.
fn pair(scratch: &Scratch, cable: Option<&Cable>) -> [Config; 2] {
    let port = free_port();
    let address = |last| Ipv4Addr::new(127, 0, 0, last);
    [0usize, 1].map(|index| {
        let root = scratch.0.join(["alpha", "beta"][index]);
        let mut config = sample::config(&root, &[("alpha", "one"), ("beta", "two")]);
        // It is a thread of the tests, which go on after it.
        (config.user, config.is_filtered) = (Some("root".to_owned()), false);
        config.node = ["alpha", "beta"][index].to_owned();
        config.deadtime = Duration::from_secs(2);
        let (own, peer) = if index == 0 { (1, 2) } else { (2, 1) };
        config.media =
            vec![Medium::Ucast { interface: "lo".to_owned(), peer: address(peer), bind: Some(address(own)), port }];
        if let Some(cable) = cable {
            let device = cable.names[index].clone();
            config.media.push(Medium::Serial { device, baud: 115_200, is_rtscts: false });
        }
        config
    })
}

const ONE: GroupId = GroupId(0);
const TWO: GroupId = GroupId(1);

#[test]
fn engine_whose_guardian_dies_before_any_link_is_open_does_not_count_as_beating() {
    let scratch = Scratch::new();
    let [alpha, _] = pair(&scratch, None);
    let (engine_end, guardian_end) = Channel::pair().unwrap();
    let run_dir = alpha.paths.run.clone();
    std::fs::create_dir_all(&run_dir).unwrap();
    let page = Lease::open_or_create(&run_dir).unwrap();
    page.set_table(&alpha, None);
    page.stamp_engine(7);
    let context = EngineContext {
        guardian: engine_end.into(),
        messages: MessageOutlet::default(),
        lease: Lease::open_or_create(&run_dir).unwrap(),
        last_move: None,
        roster: Roster::new().unwrap(),
        carried: None,
        identity: Identity { uuid: Uuid([1; 16]), generation: Generation(1) },
        is_generation_guessed: false,
        timer: LeaseTimer::new().unwrap(),
        fencings_before: 0,
        watchdogs: Vec::new(),
        untold: Untold::default(),
        table_digest: lease::table_digest(&alpha),
    };
    guardian_end.send(&ToEngine::Link { link: LinkId(0), errno: 99, detail: 0 }.encode()).unwrap();
    drop(guardian_end);
    let mut driver = prepare(&alpha, context).unwrap();
    driver.begin().unwrap();
    // A few keepalives.
    for _ in 0..4 {
        driver.turn().unwrap();
    }
    assert_eq!(page.engine_stamp(), 7, "no beat of its has left: the peer counts from its predecessor's last");
}

#[test]
fn engines_start_their_groups_and_the_one_that_stays_takes_over() {
    let (scratch, cable) = (Scratch::new(), Cable::new());
    let [alpha, beta] = pair(&scratch, Some(&cable));
    let (alpha, beta) = (start(alpha, 1), start(beta, 2));
    alpha.wait_for_start(ONE);
    beta.wait_for_start(TWO);
    alpha.wait_for("ready", |request| *request == ToGuardian::Ready);
    for link in [LinkId(0), LinkId(1)] {
        let is_it = |request: &ToGuardian| *request == ToGuardian::NotifyLink { node: 1, link, is_up: true };
        alpha.wait_for("link up", is_it);
    }
    cable.is_whole.store(false, Ordering::Relaxed);
    beta.wait_for("serial link dead", |request| {
        *request == ToGuardian::NotifyLink { node: 0, link: LinkId(1), is_up: false }
    });
    assert_eq!(alpha.stop(), 0);
    beta.wait_for_start(ONE);
    assert_eq!(beta.stop(), 0);
}

#[test]
fn engine_whose_cable_end_vanishes_opens_it_again() {
    let scratch = Scratch::new();
    let [mut config, _] = pair(&scratch, None);
    let (far, name) = terminal();
    let device = scratch.0.join("ttyTEST");
    std::os::unix::fs::symlink(&name, &device).unwrap();
    config.media.push(Medium::Serial { device: device.clone(), baud: 9600, is_rtscts: false });
    let running = start(config, 1);
    let asked = |running: &Running| {
        let is_it = |request: &&ToGuardian| **request == ToGuardian::OpenLink { link: LinkId(1) };
        running.diary.lock().unwrap().iter().filter(is_it).count()
    };
    let wait_asked = |count| {
        let limit = Instant::now() + PATIENCE;
        while asked(&running) < count {
            assert!(Instant::now() < limit, "not asked {count} times");
            thread::sleep(Duration::from_millis(5));
        }
    };
    wait_asked(1);
    drop(far);
    wait_asked(3);
    // The port is back under the same name: what is said on it arrives.
    let (far, name) = terminal();
    std::fs::remove_file(&device).unwrap();
    std::os::unix::fs::symlink(&name, &device).unwrap();
    let mut ends = [PollFd::new(far.as_fd(), PollFlags::POLLIN)];
    let limit = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    while !said.windows(9).any(|window| window == b"\nt=status") {
        assert!(Instant::now() < limit, "nothing is said on the new port");
        let _ = poll(&mut ends, PollTimeout::from(50u8));
        let mut buffer = [0; 4096];
        if let Ok(count) = (&far).read(&mut buffer) {
            said.extend_from_slice(&buffer[..count]);
        }
    }
    assert_eq!(running.stop(), 0);
}

#[test]
fn engine_with_a_stale_table_asks_for_a_new_engine() {
    let scratch = Scratch::new();
    let [config, _] = pair(&scratch, None);
    let running = start(config, 1);
    running.wait_for("first request", |_| true);
    running.control.send(&ToEngine::Stale.encode()).unwrap();
    assert_eq!(running.engine.join().unwrap(), FAILED);
    running.guardian.join().unwrap();
}
