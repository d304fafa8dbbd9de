//! After start a quiet turn of the engine allocates nothing (design.md rule 6): two real drivers talk to each other over
//! UDP and a serial line in one thread, under an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nullbeat::api::ipc;
use nullbeat::config::{Config, LoadOptions, Paths, Purpose, load};
use nullbeat::core::ids::{Generation, Uuid};
use nullbeat::core::settings::Identity;
use nullbeat::core::{JobOutcome, Order};
use nullbeat::daemon::driver::Driver;
use nullbeat::daemon::engine::{EngineContext, prepare};
use nullbeat::daemon::history::news::Untold;
use nullbeat::daemon::move_page::MovePage;
use nullbeat::guardian::channel::Channel;
use nullbeat::guardian::lease::{self, Lease};
use nullbeat::guardian::lease_timer::LeaseTimer;
use nullbeat::guardian::messages::MessageOutlet;
use nullbeat::guardian::protocol::{ToEngine, ToGuardian};
use nullbeat::links;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Board<'c> {
    driver: Box<Driver<'c>>,
    guardian: Channel,
    page: Lease,
    /// The socket of the membership service, until the driver gets it.
    programs: Option<UnixListener>,
}

impl<'c> Board<'c> {
    fn new(config: &'c Config, number: u8) -> Self {
        fs::create_dir_all(&config.paths.run).unwrap();
        let page = Lease::open_or_create(&config.paths.run).unwrap();
        page.set_table(config, None);
        let (engine, guardian) = Channel::pair().unwrap();
        for (link, medium) in (0..).zip(&config.media) {
            let opened = links::open_with_locks(medium, Path::new("/nonexistent/lock")).unwrap();
            let link = nullbeat::core::ids::LinkId(link);
            let answer = ToEngine::Link { link, errno: 0, detail: opened.detail };
            guardian.send_with(&answer.encode(), opened.descriptor.as_fd()).unwrap();
        }
        let listener = ipc::listen(&config.paths.run.join("register"), 0o777).unwrap();
        guardian.send_with(&ToEngine::Clients { errno: 0 }.encode(), listener.as_fd()).unwrap();
        let listener = ipc::listen(&config.paths.run.join("ccm"), 0o777).unwrap();
        let context = EngineContext {
            guardian: engine.into(),
            messages: MessageOutlet::default(),
            lease: Lease::open_or_create(&config.paths.run).unwrap(),
            last_move: MovePage::open(&config.paths.run).ok(),
            roster: nullbeat::guardian::roster::Roster::new().unwrap(),
            carried: None,
            identity: Identity { uuid: Uuid([number; 16]), generation: Generation(1) },
            is_generation_guessed: false,
            fencings_before: 0,
            table_digest: lease::table_digest(config),
            timer: LeaseTimer::new().unwrap(),
            watchdogs: Vec::new(),
            untold: Untold::default(),
        };
        let mut driver = prepare(config, context).unwrap();
        driver.begin().unwrap();
        Self { driver, guardian, page, programs: Some(listener) }
    }

    /// One turn, and what the guardian says to it. Returns how many jobs were asked for.
    fn turn(&mut self) -> u32 {
        self.page.stamp_guardian(lease::now());
        self.driver.turn().unwrap();
        let mut jobs = 0;
        while let Some(incoming) = self.guardian.receive().unwrap() {
            if let (ToGuardian::Run { job, order, .. }, _) = ToGuardian::decode(incoming.bytes()).unwrap() {
                let outcome = if order == Order::Probe { JobOutcome::NoneRunning } else { JobOutcome::Done };
                self.guardian.send(&ToEngine::JobDone { job, outcome, resource: 255, ms: 1 }.encode()).unwrap();
                jobs += u32::from(order == Order::Start);
            }
        }
        jobs
    }
}

/// A client without a name, in the same thread: it allocates nothing either.
struct Client {
    stream: UnixStream,
    request: Vec<u8>,
    heard: usize,
}

impl Client {
    fn sign_on(run: &Path) -> Self {
        let stream = UnixStream::connect(run.join("register")).unwrap();
        stream.set_nonblocking(true).unwrap();
        let (pid, uid, gid) = (std::process::id(), nix::unistd::geteuid(), nix::unistd::getegid());
        let frame = |fields: &str| {
            let body =
                format!(">>>\nt=hbapi-req\nreqtype={fields}\npid={pid}\nfrom_id={pid}\nuid={uid}\ngid={gid}\n<<<\n\0");
            [&ipc::header(body.len())[..], body.as_bytes()].concat()
        };
        let mut client = Self { stream, request: frame("nodelist"), heard: 0 };
        client.stream.write_all(&frame("signon")).unwrap();
        client
    }

    fn turn(&mut self) {
        self.stream.write_all(&self.request).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            self.heard += count;
        }
    }
}

fn terminal() -> (PtyMaster, String) {
    let far = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let name = ptsname_r(&far).unwrap();
    (far, name)
}

/// Carries what one far end says to the other one. Returns how many zeros there were: compact frames stand between two.
fn carry(from: &PtyMaster, to: &PtyMaster) -> usize {
    let mut buffer = [0; 4096];
    let mut zeros = 0;
    while let Ok(count @ 1..) = nix::unistd::read(from, &mut buffer) {
        nix::unistd::write(to, &buffer[..count]).unwrap();
        zeros += buffer[..count].iter().filter(|byte| **byte == 0).count();
    }
    zeros
}

fn configure(root: &Path, name: &str, port: u16, (own, peer): (u8, u8), device: &str, keepalive: &str) -> Config {
    let directory = root.join(name);
    let paths = Paths { config: directory.join("ha.d"), run: directory.join("run"), state: directory.join("state") };
    fs::create_dir_all(paths.config.join("resource.d")).unwrap();
    let write = |file: &str, text: &str, mode| {
        let path = paths.config.join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let ha_cf = format!(
        "logfacility none\nlogfile /dev/null\nkeepalive {keepalive}\ndeadtime 400ms\nwarntime 300ms\ninitdead 10\nbaud 115200\n\
         serial {device} keepalive 20ms\nucast lo 127.0.0.{peer} bind 127.0.0.{own} port {port}\nauto_failback on\nrealtime off\nmembership on\n\
         node alpha beta\n"
    );
    write("ha.cf", &ha_cf, 0o644);
    write("authkeys", "auth 1\n1 sha1 secret\n", 0o600);
    write("haresources", "alpha one\nbeta two\n", 0o644);
    write("resource.d/one", "#!/bin/sh\n", 0o755);
    write("resource.d/two", "#!/bin/sh\n", 0o755);
    let options = LoadOptions { node: Some(name.to_owned()), ..LoadOptions::new(Purpose::Run) };
    let loaded = load(&paths, &options);
    loaded.config.unwrap_or_else(|| panic!("{:#?}", loaded.findings))
}

/// Beats of an hour at keepalive 200 ms.
const HOUR: u64 = 5 * 3600;

/// How long it goes on once everything has been said once.
#[derive(Clone, Copy)]
struct Length {
    keepalive: &'static str,
    turns: u64,
    /// Of each board.
    beats: u64,
    limit: Duration,
}

#[test]
fn engine_in_a_quiet_turn_allocates_nothing() {
    beat_and_allocate_nothing(Length { keepalive: "20ms", turns: 500, beats: 50, limit: Duration::from_secs(60) });
}

#[test]
#[ignore = "a minute and a half: an hour's beats, 2 ms apart"]
fn engine_allocates_nothing_in_an_hours_beats() {
    beat_and_allocate_nothing(Length { keepalive: "2ms", turns: HOUR, beats: HOUR, limit: Duration::from_secs(600) });
}

fn beat_and_allocate_nothing(length: Length) {
    let scratch = Scratch(nix::unistd::mkdtemp(&std::env::temp_dir().join("no-alloc-XXXXXX")).unwrap());
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let ((far_alpha, near_alpha), (far_beta, near_beta)) = (terminal(), terminal());
    let alpha = configure(&scratch.0, "alpha", port, (1, 2), &near_alpha, length.keepalive);
    let beta = configure(&scratch.0, "beta", port, (2, 1), &near_beta, length.keepalive);
    let run = alpha.paths.run.clone();
    let (mut alpha, mut beta) = (Board::new(&alpha, 1), Board::new(&beta, 2));

    let mut starts = 0;
    let mut quiet_turns = 0;
    let (mut before, mut stamp, mut zeros, mut beats) = (0, 0, 0, 0);
    let mut program = None;
    let mut client = Client::sign_on(&run);
    let limit = Instant::now() + length.limit;
    // Both start their groups; a while after that, everything has been said once and nothing is left to be made.
    while quiet_turns < 100 + length.turns || beats < length.beats {
        assert!(Instant::now() < limit, "{starts} groups were started, {quiet_turns} turns were quiet, {beats} beats");
        let started = alpha.turn() + beta.turn();
        zeros += carry(&far_alpha, &far_beta) + carry(&far_beta, &far_alpha);
        client.turn();
        starts += started;
        if starts < 2 || started > 0 {
            continue;
        }
        quiet_turns += 1;
        if quiet_turns == 50 {
            let listener = alpha.programs.take().unwrap();
            alpha.guardian.send_with(&ToEngine::Membership { errno: 0 }.encode(), listener.as_fd()).unwrap();
        }
        if quiet_turns == 100 {
            program = Some(UnixStream::connect(run.join("ccm")).unwrap());
            (zeros, beats) = (0, 0);
            before = ALLOCATIONS.with(Cell::get);
        }
        let last = std::mem::replace(&mut stamp, alpha.page.engine_stamp());
        beats += u64::from(stamp != last);
        if quiet_turns == 300 {
            // Both are members, and a program that connects late is told.
            let program = program.as_mut().unwrap();
            program.set_nonblocking(true).unwrap();
            let mut heard = [0; 2048];
            let count = program.read(&mut heard).unwrap();
            assert_eq!(count, 8 + 12 + 2 * 260 + 8 + 16 + 2 * 8, "the nodes, the membership of both");
        }
    }
    assert_eq!(starts, 2);
    assert!(client.heard > 500 * 50, "the client was served: {} bytes", client.heard);
    assert!(before > 0, "the allocator counts");
    assert!(zeros > 100, "the two speak the compact format on their cable: {zeros} delimiters");
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "allocations in {quiet_turns} quiet turns of each engine");
    println!("{quiet_turns} turns, {beats} beats, no allocation");
}
