//! The engine's loop: wake up, read the clock, feed the core, drain its actions, perform them.
//!
//! One turn, in this order: what has arrived on the links, the guardian's records, operators' requests, then the tick if
//! it is due. The core takes a tick as "nothing else has come until now", so a turn that was late looks at the links
//! once more before it (design.md rule 4). A quiet turn allocates nothing; a beat of our own costs three system calls
//! on one link (wait, set the lease's timer, send) and one on each further link, a message received costs two (wait, receive).
//!
//! | file | holds |
//! |---|---|
//! | `receiving` | links in: bytes to messages to the core; devices that come and go |
//! | `compact_side` | the compact format |
//! | `clients_side` | Heartbeat's own clients |
//! | `membership_side` | the built-in membership service |
//! | `fifo_side` | what root's scripts ask by the FIFO |
//! | `lines_side` | the GPIO inputs |
//! | `members_side` | the list of nodes as it changes |
//! | `guardian_side` | the guardian's records, and whether it is there |
//! | `performing` | the core's actions: links out, jobs, news |
//! | `site_messages` | messages for a site's own `rc.d` scripts |

mod clients_side;
mod compact_side;
mod fifo_side;
mod guardian_side;
mod lines_side;
mod members_side;
mod membership_side;
mod performing;
mod receiving;
mod site_messages;
mod test_losses;

use std::io;
use std::os::fd::AsFd;

use crate::api::membership::CLIENT;
use crate::config::{Config, Protocol};
use crate::core::ids::{GroupId, GroupSet, JobId, LinkId, LinkSet, RequestId, Uuid};
use crate::core::limits::{GROUPS_MAX, NODES_MAX};
use crate::core::settings::{CarriedHandover, CarriedPartner};
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Input, Node, Order, Request};
use crate::guardian::channel::Incoming;
use crate::guardian::lease::Lease;
use crate::guardian::lease_timer::LeaseTimer;
use crate::guardian::messages::MessageOutlet;
use crate::guardian::protocol::ToGuardian;
use crate::guardian::roster::{Roster, TEXT_MAX};
use crate::hardware::watchdog::Device;
use crate::sys::memory;
use crate::wire::heartbeat::{Codec, ENCODED_MAX, Expander, FifoCounters, PACKET_MAX, TEXT_FRAME_MAX};

use super::clock;
use super::confinement::Confinement;
use super::control::server::FOREIGN_REQUESTS;
use super::control::{Command, ControlServer};
use super::fence_book::FenceBook;
use super::fifo::{Fifo, FifoLog};
use super::guardian_end::GuardianEnd;
use super::history::news::{News, Untold};
use super::history::words::{self, What};
use super::kicker::{Chain, Kicker};
use super::last_move::LastMove;
use super::link_table::LinkTable;
use super::load_average::LoadAverage;
use super::reactor::{Reactor, Ready, Token};
use super::report::{self, Facts, Names};
use super::watch::Limits;
pub use clients_side::ClientsSide;
use compact_side::Moment;
use lines_side::LineReaders;
use membership_side::MembershipSide;
use site_messages::SiteMessages;
use test_losses::Losses;

const GUARDIAN: Token = Token(0);
const CONTROL: Token = Token(1);
/// The number of the guardian's request to stop: none that the control server gives.
const STOP_BY_GUARDIAN: RequestId = RequestId(FOREIGN_REQUESTS);
/// Far behind those of the links.
const FIFO: Token = Token(1 << 16);
/// Beside it.
const CLIENTS: Token = Token((1 << 16) + 1);
const MEMBERSHIP: Token = Token((1 << 16) + 2);
/// Tokens of links begin here.
const LINKS: u32 = 2;

/// A turn that begins this much after its deadline looks at the links again before the tick.
const LATE: Duration = Duration::from_millis(2);
/// Seconds by which the two clocks differ from one turn to the next when one of them was set, and not only rounded.
const CLOCK_STEP: i64 = 2;
/// Jobs under way: a probe and a start or stop of each group.
const JOBS_MAX: usize = 2 * GROUPS_MAX;

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything is released and said.
    Finished,
    /// The guardian and we do not understand each other any more: it shall start a new engine.
    Broken,
}

/// The guardian's wish to stop, that is SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopRequest {
    /// There is none.
    None,
    /// The core is to be asked, for the first time or again.
    Wanted,
    /// The core has been asked.
    Asked,
    /// It has said that it cannot: to be asked again then. It goes on trying by itself; asking only tells how it stands.
    Refused { again_at: Instant },
}

#[derive(Debug, Clone, Copy)]
struct Job {
    job: JobId,
    group: GroupId,
    order: Order,
}

/// What a [`Driver`] is made of.
pub struct Parts<'c> {
    /// The files.
    pub config: &'c Config,
    /// Bytes and messages.
    pub codec: Codec,
    /// The shared page.
    pub lease: Lease,
    /// Set with each stamp in it.
    pub timer: LeaseTimer,
    /// The watchdogs.
    pub kicker: Kicker<Device>,
    /// The links, open or not.
    pub links: LinkTable,
    /// The way to the guardian.
    pub guardian: GuardianEnd,
    /// The way to it for messages that `rc.d` wants.
    pub messages: MessageOutlet,
    /// The last move, perhaps of an earlier engine.
    pub moves: LastMove,
    /// Where to wait.
    pub reactor: Reactor,
    /// The list of nodes for the guardian.
    pub roster: Roster,
    /// What `ld` says.
    pub load: LoadAverage,
    /// The memory for clients.
    pub clients: ClientsSide,
    /// Records of the guardian that have come already.
    pub early: Vec<Incoming>,
    /// What the guardian has for the partner's history.
    pub untold: Untold,
}

/// The engine at work.
pub struct Driver<'c> {
    config: &'c Config,
    node: Box<Node>,
    codec: Box<Codec>,
    lease: Lease,
    timer: LeaseTimer,
    /// How old a stamp may become.
    stale_after: Duration,
    kicker: Kicker<Device>,
    links: LinkTable,
    guardian: GuardianEnd,
    site: SiteMessages,
    control: Option<ControlServer>,
    clients: ClientsSide,
    membership: MembershipSide,
    fifo: Option<Fifo>,
    fifo_log: FifoLog,
    readers: LineReaders,
    roster: Roster,
    is_roster_old: bool,
    /// The text of hostcache and delhostcache.
    host_lines: [String; 2],
    is_fifo_paused: bool,
    reactor: Reactor,
    load: LoadAverage,
    early: Vec<Incoming>,
    fences: FenceBook,
    moves: LastMove,
    news: News,
    losses: Losses,
    moment: Moment,
    /// Wall clock less monotonic clock, seconds.
    clock_offset: i64,
    jobs: heapless::Vec<Job, JOBS_MAX>,
    uuids: [Uuid; NODES_MAX],
    claims: GroupSet,
    /// What the lease says of a hand-over, and of yielding.
    unfinished: (Option<CarriedHandover>, bool),
    confinement: Confinement,
    /// Links whose device failed while actions were being performed.
    lost: LinkSet,
    is_watching_guardian_output: bool,
    /// The guardian was told that communication is up.
    is_up_told: bool,
    /// All is done but that the clients which the guardian runs have to end.
    is_awaiting_clients: bool,
    is_ready_told: bool,
    is_stopping_told: bool,
    /// As the lease has it.
    partner: Option<CarriedPartner>,
    /// Until then what the partner cannot hear yet is no beat ([`Driver::is_heard`]).
    unheard_until: Instant,
    stop: StopRequest,
    /// What ends the loop.
    end: Option<End>,
    started: Instant,
    now: Stamp,
    /// Something came of what has arrived in this turn.
    has_heard: bool,
    /// As of the last turn, when nothing did.
    plan: Option<(Instant, Instant)>,
    buffer: Box<[u8]>,
    scratch: Box<[u8]>,
    expander: Box<Expander>,
    /// Where a message is packed; empty when none ever is.
    packing: Box<[u8]>,
    /// The last message that was sent as a datagram is the first `datagram_len` bytes.
    datagram: Box<[u8]>,
    datagram_len: usize,
    text: Box<[u8]>,
}

/// No beat between two nodes is longer, in bytes: what it takes stays locked in memory.
const USUAL_MAX: usize = 2048;

impl<'c> Driver<'c> {
    /// Takes over what was made at start. Everything that will ever be needed is allocated here.
    pub fn new(mut parts: Parts<'c>, node: Box<Node>, now: Stamp) -> Self {
        let losses = Losses::new(parts.config.test_losses.as_ref(), &node, clock::now_ns());
        if parts.config.membership.is_some() {
            parts.clients.reserve(CLIENT);
        }
        let (claims, partner) = (parts.lease.claims(), parts.lease.partner(parts.config));
        let unfinished = parts.lease.unfinished();
        let is_strict = parts.config.protocol == Protocol::Compact;
        let is_role_kept = !claims.is_empty() && partner.is_some_and(|known| !known.is_dead && !known.has_left);
        // The time in which a role is kept is over by then.
        let unheard = if is_strict && is_role_kept { parts.config.deadtime / 2 } else { Duration::ZERO };
        Self {
            config: parts.config,
            node,
            codec: Box::new(parts.codec),
            lease: parts.lease,
            timer: parts.timer,
            stale_after: Duration::from_nanos(Limits::new(parts.config.keepalive, parts.config.deadtime).stale_after()),
            kicker: parts.kicker,
            links: parts.links,
            guardian: parts.guardian,
            site: SiteMessages::new(parts.messages),
            control: None,
            clients: parts.clients,
            membership: MembershipSide::new(parts.config),
            fifo: None,
            fifo_log: FifoLog::default(),
            readers: LineReaders::new(),
            roster: parts.roster,
            is_roster_old: false,
            host_lines: [(); 2].map(|()| String::with_capacity(TEXT_MAX)),
            is_fifo_paused: false,
            reactor: parts.reactor,
            load: parts.load,
            early: parts.early,
            fences: FenceBook::default(),
            moves: parts.moves,
            news: News::new(&parts.untold),
            clock_offset: offset(now),
            jobs: heapless::Vec::new(),
            uuids: [Uuid::default(); NODES_MAX],
            claims,
            unfinished,
            confinement: Confinement::default(),
            losses,
            moment: Moment::default(),
            lost: LinkSet::EMPTY,
            is_watching_guardian_output: false,
            is_up_told: false,
            is_awaiting_clients: false,
            is_ready_told: false,
            is_stopping_told: false,
            partner,
            unheard_until: now.now + unheard,
            stop: StopRequest::None,
            end: None,
            started: now.now,
            now,
            has_heard: false,
            plan: None,
            buffer: vec![0; PACKET_MAX + 1].into(),
            scratch: vec![0; TEXT_FRAME_MAX].into(),
            expander: Box::default(),
            packing: vec![0; if parts.config.compress_above.is_some() { 2 * ENCODED_MAX } else { 0 }].into(),
            datagram: vec![0; PACKET_MAX].into(),
            datagram_len: 0,
            text: vec![0; PACKET_MAX].into(),
        }
    }

    /// The first inputs, among them which links work, and the first words.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn begin(&mut self) -> io::Result<()> {
        self.reactor.add(&self.guardian, GUARDIAN)?;
        self.now = clock::stamp();
        self.note_members();
        for link in (self.links.all() - self.links.open()).iter() {
            self.feed(Input::LinkDevice { link, is_open: false });
        }
        if !self.kicker.is_empty() {
            self.feed(Input::Watchdog { is_armed: true });
        }
        for incoming in std::mem::take(&mut self.early) {
            self.take_record(incoming);
        }
        self.feed(Input::Tick);
        Ok(())
    }

    /// What this process has given up, for the report.
    pub fn note_confinement(&mut self, confinement: Confinement) {
        self.confinement = confinement;
    }

    /// Gives pages back that only a compressed or a long message needs; they come again when one does. To be called once,
    /// when memory has been locked.
    pub fn give_back_idle_memory(&mut self) {
        for part in self.expander.idle_memory() {
            memory::give_back(part);
        }
        for room in [&mut self.buffer, &mut self.scratch, &mut self.datagram, &mut self.text] {
            memory::give_back(&mut room[USUAL_MAX..]);
        }
        memory::give_back(&mut self.packing);
        self.clients.give_back_idle_memory();
        self.membership.give_back_idle_memory();
    }

    /// Turns until the end.
    ///
    /// # Errors
    /// What epoll says; nothing that a peer or a device can cause.
    pub fn run(&mut self) -> io::Result<End> {
        while self.end.is_none() {
            self.turn()?;
        }
        let end = self.end.unwrap_or(End::Broken);
        if end == End::Finished {
            self.say_last_words()?;
            let _ = self.guardian.send(ToGuardian::Exit);
        }
        Ok(end)
    }

    /// One turn: sleeps until something is to be done, and does it.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn turn(&mut self) -> io::Result<()> {
        let (tick, deadline) = self.plan.unwrap_or_else(|| self.next_plan());
        self.reactor.wait(Some(deadline))?;
        self.now = clock::stamp();
        self.has_heard = false;
        self.serve_links(tick <= self.now.now);
        if self.now.now < deadline && !self.has_heard && self.reactor.ready().all(|ready| link_of(ready).is_some()) {
            // A piece of a message, as a serial line brings them: nobody knows more than before.
            self.plan = Some((tick, deadline));
            return Ok(());
        }
        self.plan = None;
        let lateness = self.now.now.since(deadline);
        self.watch_clock();
        self.confinement.look(self.now.now);
        self.serve_others();
        if lateness > LATE {
            self.catch_up()?;
        }
        self.site.turn(self.now.now);
        self.judge_guardian(lateness);
        self.look_after_links();
        if self.is_stop_due() {
            self.stop = StopRequest::Asked;
            self.feed(Input::Request { id: STOP_BY_GUARDIAN, request: Request::Stop });
        }
        if self.node.poll_timeout() <= self.now.now {
            self.poll_lines();
            self.links.look_at_modem_lines(self.now.now);
            self.feed(Input::Tick);
            if self.links.open().is_empty() && !self.guardian.is_gone() {
                // No beat leaves, and the guardian shall not take us for dead because of that. Without a guardian nobody
                // will open a link again: unless another one comes, the logger stops our groups before the peer starts them.
                self.stamp();
            }
            self.load.refresh(self.now.now, &mut self.codec);
        }
        if self.node.comms().is_hushed() && !self.guardian.is_gone() {
            // As above. It hears others meanwhile, and each of their words may be the end of a keepalive.
            self.stamp();
        }
        self.tell_up();
        self.tell_ready();
        self.keep_members();
        self.update_interest()?;
        self.serve_membership();
        self.serve_clients()?;
        self.kick();
        Ok(())
    }

    /// When the core is to be called, and when the next turn begins at the latest.
    fn next_plan(&mut self) -> (Instant, Instant) {
        let tick = self.node.poll_timeout();
        (tick, self.other_deadline().map_or(tick, |other| other.min(tick)))
    }

    /// The end of a full turn.
    fn kick(&mut self) {
        if self.kicker.is_empty() {
            return;
        }
        // Kept first: the next engine must not kick longer than this one might have.
        self.lease.set_kicks_until(self.node.kicks_until());
        // Not the turn's beginning: what happened since then counts.
        let now = Instant::from_micros(clock::now_ns() / 1000);
        let chain = Chain {
            is_guardian_present: self.guardian.is_present(),
            // Until then it is the guardian who ends an engine that is not heard, and stops the groups in good order.
            since_beat: now.since(self.unheard_until.max(Instant::from_micros(self.lease.engine_stamp() / 1000))),
            is_allowed: self.node.may_kick(now),
            is_healthy: self.node.vital_check_failed().is_none(),
        };
        self.kicker.turn(now, chain);
    }

    /// This engine lives: whoever waits for its silence waits anew.
    fn stamp(&self) {
        self.lease.stamp_engine(clock::now_ns());
        self.timer.arm(self.stale_after);
    }

    fn is_stop_due(&self) -> bool {
        match self.stop {
            StopRequest::None | StopRequest::Asked => false,
            StopRequest::Wanted => true,
            StopRequest::Refused { again_at } => again_at <= self.now.now,
        }
    }

    fn other_deadline(&self) -> Option<Instant> {
        let control = self.control.as_ref().and_then(ControlServer::next_deadline);
        let stop = match self.stop {
            StopRequest::Refused { again_at } => Some(again_at),
            _ => None,
        };
        let fifo = self.fifo.as_ref().filter(|_| self.is_fifo_paused).and_then(Fifo::paused_until);
        let clients = self.clients.next_deadline().map(|at| at.max(self.now.now));
        let membership = self.membership.next_deadline();
        let others = [control, stop, fifo, clients, membership, self.site.deadline(), self.kicker.deadline()];
        self.links.deadline().into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Guardian and operators.
    fn serve_others(&mut self) {
        for ready in self.reactor.ready() {
            if ready.token == GUARDIAN {
                self.serve_guardian(ready);
            } else {
                self.serve_lines_of(ready);
            }
        }
        self.serve_control();
        self.serve_fifo();
    }

    // Not inlined: its frame would be part of one that every turn of the loop touches.
    #[inline(never)]
    fn open_control(&mut self, listener: std::os::fd::OwnedFd) {
        let server = ControlServer::new(listener).and_then(|server| {
            self.reactor.add(&server, CONTROL)?;
            Ok(server)
        });
        match server {
            Ok(server) => self.control = Some(server),
            Err(error) => log::error!("No control socket: {error}"),
        }
    }

    fn serve_control(&mut self) {
        let is_ready = self.reactor.ready().any(|ready| ready.token == CONTROL);
        let now = self.now.now;
        let Some(control) = &mut self.control else { return };
        if !is_ready && control.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let facts = Facts {
            at: self.now,
            started: self.started,
            node: &self.node,
            confinement: &self.confinement,
            names: Names {
                settings: self.node.settings(),
                groups: &self.config.groups,
                links: &self.links,
                fences: &self.config.fence.methods,
            },
            last_move: self.moves.get(),
            fences: &self.fences,
            gpio: &self.config.gpio,
            links: &self.links,
            kicker: &self.kicker,
            control: control.counters(),
            fifo: self.fifo.as_ref().map_or_else(FifoCounters::default, Fifo::counters),
            clients: self.clients.server(),
            membership: self.membership.facts(),
        };
        control.turn(now, &mut |query, sheet| report::write(query, &facts, sheet));
        while let Some((id, command)) = self.control.as_mut().and_then(ControlServer::poll_request) {
            match command {
                Command::Node(request) => self.request(id, request),
                Command::Reload { is_binary } => self.ask_reload(id, is_binary),
            }
        }
    }

    fn ask_reload(&mut self, request: RequestId, is_binary: bool) {
        if self.guardian.is_present() {
            self.ask(ToGuardian::Reload { request, is_binary });
        } else if let Some(control) = &mut self.control {
            control.reply(request, 75, format_args!("the guardian does not answer; try again\n"));
        }
    }

    /// What an operator wants.
    fn request(&mut self, id: RequestId, request: Request) {
        self.record(What::Asked(request));
        self.feed(Input::Request { id, request });
    }

    /// For the history, here and at the partner.
    fn record(&mut self, what: What) {
        let (groups, fences) = (&self.config.groups, &self.config.fence.methods);
        let names = Names { settings: self.node.settings(), groups, links: &self.links, fences };
        let entry = words::entry(what, &self.node, &names, self.now.now);
        entry.emit_at(self.now, None);
        self.news.push(self.now.wall, &entry);
    }

    /// The wall clock decides nothing, but whoever reads times later wants to know that it was set.
    fn watch_clock(&mut self) {
        let seconds = offset(self.now) - self.clock_offset;
        self.clock_offset += seconds;
        if seconds.abs() >= CLOCK_STEP {
            self.record(What::Clock { seconds });
        }
    }

    /// One input, and everything that the core wants done because of it.
    fn feed(&mut self, input: Input<'_>) {
        self.node.handle(self.now, input);
        self.tell_stopping();
        self.note_partner();
        self.drain();
    }

    fn drain(&mut self) {
        self.choose_key();
        loop {
            // Claims grow before the first script is asked for, and shrink after everything is said.
            let claims = self.node.ownership().claims_to_carry();
            self.set_claims(self.claims | claims);
            // So is a hand-over known before anything of it is said, and open until all of it is.
            let unfinished = (self.node.open_handover(), self.node.ownership().is_yielding());
            if unfinished != (None, false) {
                self.set_unfinished(unfinished);
            }
            while let Some(action) = self.node.poll_action() {
                self.perform(action);
            }
            self.set_claims(claims);
            self.set_unfinished(unfinished);
            let Some(link) = self.lost.iter().next() else { return };
            self.lost.remove(link);
            self.node.handle(self.now, Input::LinkDevice { link, is_open: false });
        }
    }

    /// Follows a Heartbeat whose keys are being rolled over.
    fn choose_key(&mut self) {
        let key = self.node.comms().signing_key(self.node.settings());
        if key != self.codec.signing_key() && self.codec.sign_with(key) {
            log::info!("Signing with key {} from now on: the one that the other side verifies with", key.0);
        }
    }

    /// Keeps what is known of the partner for the next engine.
    fn note_partner(&mut self) {
        let known = self.node.known_partner();
        if let Some(news) = known.filter(|_| known != self.partner) {
            self.partner = known;
            self.lease.set_partner(self.config, news);
        }
        let ownership = self.node.ownership();
        self.lease.set_guests(ownership.guests());
        self.lease.set_stuck_lines(ownership.alarms().stuck_lines);
        let fence = ownership.fence();
        self.lease.set_fencing(fence.confirmed(), fence.shot(), fence.turns_from(), fence.memory());
        if !self.node.settings().health.checks.is_empty() {
            for (group, record) in (0..).map(GroupId).zip(self.node.ownership().health_records()) {
                self.lease.set_health(group, *record);
            }
        }
    }

    fn set_claims(&mut self, claims: GroupSet) {
        if claims != self.claims {
            self.claims = claims;
            self.lease.set_claims(claims);
        }
    }

    fn set_unfinished(&mut self, unfinished: (Option<CarriedHandover>, bool)) {
        if unfinished != self.unfinished {
            self.unfinished = unfinished;
            self.lease.set_unfinished(unfinished.0, unfinished.1);
        }
    }

    fn update_interest(&mut self) -> io::Result<()> {
        for link in self.links.open().iter() {
            if let Some(slot) = self.links.get_mut(link)
                && let Some(is_wanted) = slot.output_interest()
                && let Some(descriptor) = slot.link().descriptor()
            {
                self.reactor.watch_writable(descriptor, token_of(link), is_wanted)?;
            }
        }
        let is_wanted = self.guardian.is_output_waiting();
        if is_wanted != self.is_watching_guardian_output && !self.guardian.is_gone() {
            self.is_watching_guardian_output = is_wanted;
            self.reactor.watch_writable(self.guardian.as_fd(), GUARDIAN, is_wanted)?;
        }
        Ok(())
    }
}

/// Wall clock less monotonic clock, seconds.
fn offset(at: Stamp) -> i64 {
    i64::from(at.wall) - i64::try_from(at.now.as_micros() / 1_000_000).unwrap_or(0)
}

/// The reactor's name for a link.
pub(super) fn token_of(link: LinkId) -> Token {
    Token(LINKS + u32::from(link.0))
}

fn link_of(ready: Ready) -> Option<LinkId> {
    ready.token.0.checked_sub(LINKS).and_then(|index| u8::try_from(index).ok()).map(LinkId)
}
