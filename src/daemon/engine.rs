//! The engine process: real-time, locked in memory, without privileges once it runs. Made by the guardian with fork(2).

use std::collections::hash_map::RandomState;
use std::ffi::CStr;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, chdir, setgid, setgroups, setuid};

use crate::config::{AuthMethod, Config, Group, LineUse, names};
use crate::core::Node;
use crate::core::settings::{Carried, Identity};
use crate::guardian::channel::{Channel, Incoming};
use crate::guardian::clients::core_directory;
use crate::guardian::lease::Lease;
use crate::guardian::lease_timer::LeaseTimer;
use crate::guardian::messages::MessageOutlet;
use crate::guardian::protocol::{ToEngine, ToGuardian};
use crate::guardian::roster::{self, Roster};
use crate::hardware::watchdog::Device;
use crate::sys::{child_setup, memory, scheduler};
use crate::wire::heartbeat::{Codec, Keys, Method, Setup};

use super::clock;
use super::confinement::confine;
use super::driver::{ClientsSide, Driver, End, Parts};
use super::guardian_end::GuardianEnd;
use super::history::news::Untold;
use super::kicker::Kicker;
use super::last_move::LastMove;
use super::link_table::LinkTable;
use super::load_average::LoadAverage;
use super::move_page::MovePage;
use super::reactor::{Reactor, Token};
use super::speaker;
use super::watch::Limits;
use super::watchdogs::HeldWatchdog;

/// Exit code when everything was released and said.
pub const FINISHED: i32 = 0;
/// Exit code when a new engine shall take over.
const FAILED: i32 = 1;
/// As `ps` shows it: at most 15 bytes.
const PROCESS_NAME: &CStr = c"nullbeat:engine";
/// How long the first words wait for the links; an eighth of the dead time at the most, so that a replaced engine beats
/// in time.
const OPENING_MAX: Duration = Duration::from_secs(1);
/// Tokens of the opening phase.
const GUARDIAN: Token = Token(0);

/// What the guardian gives its engine.
#[derive(Debug)]
pub struct EngineContext {
    /// The engine's end of the channel (SOCK_SEQPACKET, non-blocking).
    pub guardian: OwnedFd,
    /// Where messages for `rc.d` go.
    pub messages: MessageOutlet,
    /// The shared page, mapped.
    pub lease: Lease,
    /// The last move, mapped.
    pub last_move: Option<MovePage>,
    /// The list of nodes, as an earlier engine left it.
    pub roster: Roster,
    /// What an earlier engine of this boot held.
    pub carried: Option<Carried>,
    /// Fencings of earlier engines that count for the limit of an hour.
    pub fencings_before: u8,
    /// Who this node is in this run.
    pub identity: Identity,
    /// Its generation is a guess: see [`crate::core::settings::Settings::is_generation_guessed`].
    pub is_generation_guessed: bool,
    /// Digest of the table that both have read.
    pub table_digest: u64,
    /// Set with each stamp.
    pub timer: LeaseTimer,
    /// Open and armed.
    pub watchdogs: Vec<HeldWatchdog<Device>>,
    /// What the guardian has for the partner's history.
    pub untold: Untold,
}

/// Runs the engine until it is told to end, and returns the exit code of its process: 0 after an orderly stop, anything
/// else when a new engine shall take over.
pub fn run(config: &Config, context: EngineContext) -> i32 {
    match try_run(config, context) {
        Ok(End::Finished) => FINISHED,
        Ok(End::Broken) => FAILED,
        Err(error) => {
            log::error!(target: "CRIT", "The engine cannot go on: {error}");
            FAILED
        }
    }
}

fn try_run(config: &Config, context: EngineContext) -> io::Result<End> {
    prctl::set_name(PROCESS_NAME)?;
    hold_signals()?;
    if config.is_realtime {
        enter_real_time(config.rtprio);
    }
    let successor = names::engine_user(config.user.as_deref())?;
    let cores = (config.core_dumps == Some(true)).then(|| core_directory(config, Some(&successor)));
    let mut driver = prepare(config, context)?;
    if config.is_realtime
        && let Err(error) = memory::lock()
    {
        log::warn!("Cannot lock ourselves into memory: {error}; a board short of memory may delay beats");
    }
    driver.give_back_idle_memory();
    become_user(&successor, config.user.is_some())?;
    if let Some(directory) = cores {
        leave_core_files(&directory);
    }
    driver.note_confinement(confine(config)?);
    // What that needed of the program has come back in.
    if config.is_realtime {
        memory::give_back_cold_text();
    }
    driver.begin()?;
    driver.run()
}

/// An engine that has its descriptors and all the memory that it will need, and has not said anything. Waits for the
/// guardian's answers about the links, at most an eighth of the dead time.
///
/// # Errors
/// What epoll and the like say; a configuration that cannot be encoded.
// Not inlined: a quarter of a megabyte of values on their way into boxes would stand in the frame of the engine's whole
// life, and be locked there. Boxed, because what is returned is copied through the frame of the caller.
#[inline(never)]
pub fn prepare(config: &Config, context: EngineContext) -> io::Result<Box<Driver<'_>>> {
    let codec = codec(config, context.identity)?;
    let start = clock::stamp();
    let channel = Channel::from(context.guardian);
    let limit = Duration::from_nanos(Limits::new(config.keepalive, config.deadtime).rest()).saturating_mul(2);
    let guardian = GuardianEnd::new(channel, context.table_digest, limit, start.now);
    let mut parts = Parts {
        config,
        codec,
        lease: context.lease,
        roster: context.roster,
        timer: context.timer,
        kicker: Kicker::new(context.watchdogs, config.keepalive, start.now),
        links: LinkTable::new(config, start.now),
        guardian,
        messages: context.messages,
        moves: LastMove::new(context.last_move, config),
        reactor: Reactor::new()?,
        load: LoadAverage::open(),
        clients: ClientsSide::new(config),
        early: Vec::new(),
        untold: context.untold,
    };
    if let Some(speaker) = speaker::speaker(config, context.identity) {
        parts.links.speak_compact(&speaker, config, start.now)?;
        parts.codec.offer_compact();
    }
    open_links(&mut parts)?;
    let now = clock::stamp();
    let mut settings = config.settings(seed());
    settings.fence.fencings_before = context.fencings_before;
    settings.is_generation_guessed = context.is_generation_guessed;
    let mut node = Box::new(Node::new(settings, context.identity, context.carried, now));
    if !config.has_resources
        && let Some([hostcache, delhostcache]) = parts.roster.read()
    {
        let known = hostcache.lines().filter_map(|line| roster::parse_line(line, false));
        for line in known.chain(delhostcache.lines().filter_map(|line| roster::parse_line(line, true))) {
            node.recall(now, line);
        }
    }
    Ok(Box::new(Driver::new(parts, node, now)))
}

/// The guardian decides when to stop; what a terminal or a service manager sends to all processes is for it alone.
fn hold_signals() -> io::Result<()> {
    let mut held = SigSet::empty();
    held.extend([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP]);
    held.extend([Signal::SIGPIPE, Signal::SIGALRM, Signal::SIGUSR1, Signal::SIGUSR2]);
    held.thread_block()?;
    Ok(())
}

/// The engine's priority: as configured, else one above the lowest, which is the guardian's.
fn enter_real_time(rtprio: Option<i32>) {
    let result = scheduler::priority_range().and_then(|range| {
        let priority = rtprio.unwrap_or(*range.start() + 1).clamp(*range.start(), *range.end());
        scheduler::set_real_time(priority)
    });
    if let Err(error) = result {
        log::warn!("Cannot use real-time scheduling: {error}; a busy board may delay beats");
    }
}

/// With `coredumps on`: what is left of a crash lies where the user's core files are.
fn leave_core_files(directory: &CStr) {
    let left = child_setup::stay_dumpable().and_then(|()| Ok(chdir(directory)?));
    if let Err(error) = left {
        log::warn!("coredumps: {error}");
    }
}

// Not inlined, as above.
#[inline(never)]
fn become_user(user: &names::User, is_wished: bool) -> io::Result<()> {
    if Uid::effective().as_raw() == user.uid && Gid::effective().as_raw() == user.gid {
        return Ok(());
    }
    if !Uid::effective().is_root() {
        if is_wished {
            log::warn!("Only root can become user {}: going on as we are", user.name);
        }
        return Ok(());
    }
    setgroups(&[])?;
    setgid(Gid::from_raw(user.gid))?;
    setuid(Uid::from_raw(user.uid))?;
    Ok(())
}

fn codec(config: &Config, identity: Identity) -> io::Result<Codec> {
    let invalid = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut keys = Keys::new(config.signing_key);
    for entry in &config.keys {
        let method = match entry.method {
            AuthMethod::Crc => Method::Crc,
            AuthMethod::Md5 => Method::Md5,
            AuthMethod::Sha1 => Method::Sha1,
        };
        keys.add(entry.number, method, &entry.key).map_err(|error| invalid(&error))?;
    }
    let settings = config.settings(0);
    let group_keys: Vec<&str> = config.groups.iter().map(Group::key).collect();
    let mut codec = Codec::new(Setup {
        keys,
        nodes: &settings.nodes,
        local: settings.local,
        identity,
        group_keys: &group_keys,
        hopfudge: config.hopfudge,
        is_netstring: config.is_netstring,
    })
    .map_err(|error| invalid(&error))?;
    codec.add_ping_nodes(settings.upstream.ping_nodes.len());
    Ok(codec)
}

/// The one source of randomness that needs no file: the keys of a new hash map.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Asks for all links and the control socket and waits a little for the links, so that the first words are heard.
fn open_links(parts: &mut Parts<'_>) -> io::Result<()> {
    let start = clock::stamp().now;
    let limit = start + OPENING_MAX.min(parts.config.deadtime / 8);
    parts.reactor.add(&parts.guardian, GUARDIAN)?;
    while let Some(link) = parts.links.poll_request(start) {
        let _ = parts.guardian.send(ToGuardian::OpenLink { link });
    }
    let _ = parts.guardian.send(ToGuardian::OpenControl);
    let _ = parts.guardian.send(ToGuardian::OpenFifo);
    let _ = parts.guardian.send(ToGuardian::OpenClients);
    if parts.config.membership.is_some() {
        let _ = parts.guardian.send(ToGuardian::OpenMembership);
    }
    if parts.config.gpio.iter().any(|line| matches!(line.usage, LineUse::Input(_))) {
        let _ = parts.guardian.send(ToGuardian::OpenLines);
    }
    while parts.links.is_asking() && !parts.guardian.is_gone() {
        parts.guardian.flush();
        while let Some(incoming) = parts.guardian.receive() {
            parts.take_link(incoming)?;
        }
        let now = clock::stamp().now;
        if !parts.links.is_asking() || now >= limit {
            break;
        }
        parts.reactor.wait(Some(limit))?;
    }
    parts.reactor.remove(&parts.guardian)?;
    Ok(())
}

impl Parts<'_> {
    /// Takes a record about a link; keeps any other one for later.
    fn take_link(&mut self, incoming: Incoming) -> io::Result<()> {
        let Ok(ToEngine::Link { link, errno, detail }) = ToEngine::decode(incoming.bytes()) else {
            self.early.push(incoming);
            return Ok(());
        };
        let now = clock::stamp().now;
        match incoming.descriptor {
            Some(descriptor) if errno == 0 => {
                self.reactor.add(&descriptor, super::driver::token_of(link))?;
                self.links.opened(link, descriptor, detail, now);
            }
            _ => {
                self.links.refused(link, errno, now);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
