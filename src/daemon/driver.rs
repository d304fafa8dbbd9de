//! The engine's loop: wake up, read the clock, feed the core, drain its actions, perform them.
//!
//! One turn, in this order: what has arrived on the links, the guardian's records, operators' requests, then the tick if
//! it is due. The core takes a tick as "nothing else has come until now", so a turn that was late looks at the links
//! once more before it (design.md rule 4). A quiet turn allocates nothing and makes four system calls for a beat of our
//! own on one link (epoll, timer, send) and two for each message received (epoll, receive).

use std::io;
use std::os::fd::AsFd;

use crate::config::Config;
use crate::core::ids::{GroupId, GroupSet, JobId, LinkId, LinkSet, NodeId, RequestId, Uuid};
use crate::core::limits::{GROUPS_MAX, NODES_MAX};
use crate::core::message::{Body, GroupState, Message, NodeStatus, Packet};
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Action, Alarm, Cause, Event, Input, JobOutcome, Node, Order, Request};
use crate::guardian::channel::Incoming;
use crate::guardian::lease::Lease;
use crate::guardian::protocol::{ToEngine, ToGuardian};
use crate::links::Received;
use crate::wire::heartbeat::{Codec, ENCODED_MAX, PACKET_MAX, Reject, TEXT_FRAME_MAX};

use super::clock;
use super::control::server::FOREIGN_REQUESTS;
use super::control::{Command, ControlServer};
use super::guardian_end::{GuardianEnd, Overflow};
use super::history::{History, Script, What};
use super::link_table::LinkTable;
use super::load_average::LoadAverage;
use super::reactor::{Reactor, Ready, Token};
use super::report::{self, Facts};

const GUARDIAN: Token = Token(0);
const CONTROL: Token = Token(1);
/// Tokens of links begin here.
const LINKS: u32 = 2;

/// Datagrams, or buffers full of a serial line's bytes, taken from one link in one turn: a flood must not keep the beat
/// waiting.
const RECEIVES_MAX: usize = 64;
/// Records of the guardian taken in one turn.
const RECORDS_MAX: usize = 128;
/// A turn that begins this much after its deadline looks at the links again before the tick.
const LATE: Duration = Duration::from_millis(2);
/// Jobs under way: a probe and a start or stop of each group.
const JOBS_MAX: usize = 2 * GROUPS_MAX;
/// How long the last words may take to leave a serial line.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often it is looked whether they have.
const LAST_WORDS_LOOK: Duration = Duration::from_millis(5);

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything is released and said.
    Finished,
    /// The guardian and we do not understand each other any more: it shall start a new engine.
    Broken,
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
    /// The links, open or not.
    pub links: LinkTable,
    /// The way to the guardian.
    pub guardian: GuardianEnd,
    /// Where to wait.
    pub reactor: Reactor,
    /// What `ld` says.
    pub load: LoadAverage,
    /// Records of the guardian that have come already.
    pub early: Vec<Incoming>,
}

/// The engine at work.
pub struct Driver<'c> {
    config: &'c Config,
    node: Box<Node>,
    codec: Box<Codec>,
    lease: Lease,
    links: LinkTable,
    guardian: GuardianEnd,
    control: Option<ControlServer>,
    reactor: Reactor,
    load: LoadAverage,
    early: Vec<Incoming>,
    history: History,
    jobs: heapless::Vec<Job, JOBS_MAX>,
    uuids: [Uuid; NODES_MAX],
    claims: GroupSet,
    /// Links whose device failed while actions were being performed.
    lost: LinkSet,
    is_watching_guardian_output: bool,
    is_ready_told: bool,
    is_stop_requested: bool,
    /// What ends the loop.
    end: Option<End>,
    started: Instant,
    now: Stamp,
    buffer: Box<[u8]>,
    scratch: Box<[u8]>,
    datagram: Box<[u8]>,
    text: Box<[u8]>,
}

impl<'c> Driver<'c> {
    /// Takes over what was made at start. Everything that will ever be needed is allocated here.
    pub fn new(parts: Parts<'c>, node: Box<Node>, now: Stamp) -> Self {
        let claims = parts.lease.claims();
        Self {
            config: parts.config,
            node,
            codec: Box::new(parts.codec),
            lease: parts.lease,
            links: parts.links,
            guardian: parts.guardian,
            control: None,
            reactor: parts.reactor,
            load: parts.load,
            early: parts.early,
            history: History::default(),
            jobs: heapless::Vec::new(),
            uuids: [Uuid::default(); NODES_MAX],
            claims,
            lost: LinkSet::EMPTY,
            is_watching_guardian_output: false,
            is_ready_told: false,
            is_stop_requested: false,
            end: None,
            started: now.now,
            now,
            buffer: vec![0; PACKET_MAX + 1].into(),
            scratch: vec![0; TEXT_FRAME_MAX].into(),
            datagram: vec![0; ENCODED_MAX].into(),
            text: vec![0; ENCODED_MAX].into(),
        }
    }

    /// The first inputs, among them which links work, and the first words.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn begin(&mut self) -> io::Result<()> {
        self.reactor.add(&self.guardian, GUARDIAN)?;
        self.now = clock::stamp();
        for link in (self.links.all() - self.links.open()).iter() {
            self.feed(Input::LinkDevice { link, is_open: false });
        }
        for incoming in std::mem::take(&mut self.early) {
            self.take_record(incoming);
        }
        self.feed(Input::Tick);
        Ok(())
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
        let tick = self.node.poll_timeout();
        let deadline = self.other_deadline().map_or(tick, |other| other.min(tick));
        self.reactor.wait(Some(deadline))?;
        self.now = clock::stamp();
        let lateness = self.now.now.since(deadline);
        self.serve_links(tick <= self.now.now);
        self.serve_others();
        if lateness > LATE {
            self.reactor.look()?;
            self.serve_links(true);
        }
        self.judge_guardian(lateness);
        self.look_after_links();
        if self.node.poll_timeout() <= self.now.now {
            self.feed(Input::Tick);
            if self.links.open().is_empty() {
                // No beat leaves, and the guardian shall not take us for dead because of that.
                self.lease.stamp_engine(clock::now_ns());
            }
            self.load.refresh(self.now.now, &mut self.codec);
        }
        self.tell_ready();
        self.update_interest()
    }

    fn other_deadline(&self) -> Option<Instant> {
        let control = self.control.as_ref().and_then(ControlServer::next_deadline);
        self.links.deadline().into_iter().chain(control).min()
    }

    /// Takes what has arrived on the links that are ready: everything when `is_tick_due`, else one portion each, which
    /// saves the call that finds nothing more.
    fn serve_links(&mut self, is_tick_due: bool) {
        for ready in self.reactor.ready() {
            if let Some(link) = link_of(ready) {
                if ready.is_writable {
                    self.flush_link(link);
                }
                if ready.is_readable {
                    let portions = if is_tick_due { RECEIVES_MAX } else { 1 };
                    self.receive_on(link, portions);
                }
            }
        }
        if !self.lost.is_empty() {
            self.drain();
        }
    }

    fn receive_on(&mut self, link: LinkId, portions: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..portions {
            let Some(slot) = self.links.get_mut(link) else { break };
            match slot.receive(&mut buffer) {
                Ok(Received::Nothing) => break,
                Ok(Received::Bytes(count)) => self.take_stream(link, &buffer[..count]),
                Ok(Received::Datagram(count, sender)) => {
                    let link = self.links.belongs(link, sender);
                    let outcome = self.take_message(link, &buffer[..count]);
                    self.settle(link, count, outcome);
                }
                Err(error) => {
                    self.lose_link(link, &error);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    fn take_stream(&mut self, link: LinkId, mut bytes: &[u8]) {
        loop {
            let Self { links, codec, scratch, node, uuids, now, .. } = self;
            let Some(frame) = links.get_mut(link).and_then(|slot| slot.stream()?.next(&mut bytes)) else { return };
            let count = frame.len();
            let outcome = codec.decode(frame, scratch).map(|message| {
                let origin = origin_of(node, uuids, &message);
                node.handle(*now, Input::Received { link, message: &message });
                origin
            });
            self.settle(link, count, outcome);
        }
    }

    fn take_message(&mut self, link: LinkId, bytes: &[u8]) -> Result<Option<(NodeId, Uuid)>, Reject> {
        let Self { codec, scratch, node, uuids, now, .. } = self;
        let message = codec.decode(bytes, scratch)?;
        let origin = origin_of(node, uuids, &message);
        node.handle(*now, Input::Received { link, message: &message });
        Ok(origin)
    }

    /// After a message has been handled, or refused: counts it, keeps the sender's uuid when it is new, performs what the
    /// core wants done.
    fn settle(&mut self, link: LinkId, len: usize, outcome: Result<Option<(NodeId, Uuid)>, Reject>) {
        match outcome {
            Ok(origin) => {
                if let Some(slot) = self.links.get_mut(link) {
                    slot.count_received();
                }
                if let Some((node, uuid)) = origin {
                    self.uuids[usize::from(node.0)] = uuid;
                    self.codec.set_uuid(node, uuid);
                }
                self.drain();
            }
            Err(reject) => self.refuse(link, len, reject),
        }
    }

    fn refuse(&mut self, link: LinkId, len: usize, reject: Reject) {
        let now = self.now.now;
        let Some(slot) = self.links.get_mut(link) else { return };
        let is_text = slot.stream().is_some();
        let Some(hidden) = slot.count_reject(reject, now) else { return };
        if reject.is_authentication() && !self.config.log_badpack {
            return;
        }
        let name = slot.name();
        if hidden > 0 {
            log::info!("{hidden} more bad packets on link {name} were not logged");
        }
        match reject {
            Reject::UnknownKey { number } => {
                log::warn!("Invalid authentication [{number}] in message! ({len} bytes on {name})");
            }
            Reject::BadDigest { number } if is_text => {
                log::warn!("string2msg_ll: message on {name} failed authentication: {len} bytes, key {number}");
            }
            Reject::BadDigest { number } => {
                log::error!("netstring authentication failed: {len} bytes on {name}, key {number}");
            }
            Reject::Unsigned if is_text => log::warn!("Bad/invalid auth token: {len} bytes on {name} are not signed"),
            Reject::Unsigned => log::error!("peel_netstring() error in getting auth string: {len} bytes on {name}"),
            // Noise is what cables do.
            reject if is_text && !reject.is_authentic() => log::debug!("{len} bytes on {name} dropped: {reject}"),
            reject => log::error!("Bad packet of {len} bytes on {name} dropped: {reject}"),
        }
    }

    /// Guardian and operators.
    fn serve_others(&mut self) {
        for ready in self.reactor.ready() {
            if ready.token == GUARDIAN {
                self.serve_guardian(ready);
            }
        }
        self.serve_control();
    }

    fn serve_guardian(&mut self, ready: Ready) {
        if ready.is_writable {
            self.guardian.flush();
        }
        for _ in 0..RECORDS_MAX {
            let Some(incoming) = self.guardian.receive() else { break };
            self.take_record(incoming);
        }
        if self.guardian.is_gone() {
            log::error!(target: "CRIT", "The guardian is gone: beating on, nothing can be started or stopped here");
            let _ = self.reactor.remove(&self.guardian);
        }
    }

    fn take_record(&mut self, incoming: Incoming) {
        let Ok(record) = ToEngine::decode(incoming.bytes()) else {
            log::error!("A record of {} bytes from the guardian makes no sense", incoming.bytes().len());
            return;
        };
        match record {
            ToEngine::JobDone { job, outcome, resource: _, ms } => self.finish_job(job, outcome, ms),
            ToEngine::JobStep { job, resource, micros } => {
                if let Some(Job { group, order: Order::Start, .. }) = self.jobs.iter().find(|known| known.job == job) {
                    self.history.note_script(Script { group: *group, resource, micros });
                }
            }
            ToEngine::Link { link, errno } => match incoming.descriptor {
                Some(descriptor) if errno == 0 => self.open_link(link, descriptor),
                _ => self.links.refused(link, errno, self.now.now),
            },
            ToEngine::Control { errno } => match incoming.descriptor {
                Some(listener) if errno == 0 => self.open_control(listener),
                _ => log::error!("No control socket: {}", nix::errno::Errno::from_raw(errno).desc()),
            },
            ToEngine::ReloadRefused { request, code } => {
                if let Some(control) = &mut self.control {
                    control.reply(request, code, format_args!("not reloaded: the reasons are in the log\n"));
                }
            }
            ToEngine::Stale => {
                log::error!(target: "CRIT", "The guardian has read other files than this engine");
                self.end = Some(End::Broken);
            }
            ToEngine::StopRequested => {
                if !std::mem::replace(&mut self.is_stop_requested, true) {
                    self.feed(Input::Request { id: RequestId(FOREIGN_REQUESTS), request: Request::Stop });
                }
            }
        }
    }

    fn finish_job(&mut self, job: JobId, outcome: JobOutcome, ms: u32) {
        if let Some(at) = self.jobs.iter().position(|known| known.job == job) {
            let Job { group, order, .. } = self.jobs.swap_remove(at);
            if order == Order::Start {
                self.history.note_job_end(self.now.now, outcome);
            }
            self.history.record(self.now, What::Job { group, order, outcome, ms });
        }
        self.feed(Input::JobDone { job, outcome });
    }

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
            groups: &self.config.groups,
            history: &self.history,
            links: &self.links,
            control: control.counters(),
        };
        control.turn(now, &mut |query, sheet| report::write(query, &facts, sheet));
        while let Some((id, command)) = self.control.as_mut().and_then(ControlServer::poll_request) {
            match command {
                Command::Node(request) => self.feed(Input::Request { id, request }),
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

    /// A request that must not be lost.
    fn ask(&mut self, request: ToGuardian) {
        if self.guardian.send(request) == Err(Overflow) {
            log::error!(target: "CRIT", "The guardian has not read its requests for too long");
            self.end = Some(End::Broken);
        }
    }

    fn judge_guardian(&mut self, lateness: Duration) {
        let stamp = match self.lease.guardian_stamp() {
            0 => None,
            ns => Some(Instant::from_micros(ns / 1000)),
        };
        if let Some(is_present) = self.guardian.judge(self.now.now, lateness, stamp) {
            if is_present {
                log::info!("The guardian answers again");
            } else {
                log::error!("The guardian is silent: no script can be run");
            }
            self.feed(Input::Guardian { is_present });
        }
    }

    /// Asks for devices that are to be opened, flushes lines that have stalled.
    fn look_after_links(&mut self) {
        let now = self.now.now;
        while let Some(link) = self.links.poll_request(now) {
            self.ask(ToGuardian::OpenLink { link });
        }
        if self.links.deadline().is_some_and(|deadline| deadline <= now) {
            for link in self.links.open().iter() {
                self.flush_link(link);
            }
            self.drain();
        }
    }

    fn flush_link(&mut self, link: LinkId) {
        let now = self.now.now;
        if let Some(slot) = self.links.get_mut(link)
            && let Err(error) = slot.link().flush(now)
        {
            self.lose_link(link, &error);
        }
    }

    fn open_link(&mut self, link: LinkId, descriptor: std::os::fd::OwnedFd) {
        if let Err(error) = self.reactor.add(&descriptor, token_of(link)) {
            log::error!("Link device cannot be watched: {error}");
            self.links.refused(link, nix::errno::Errno::EIO as i32, self.now.now);
            return;
        }
        if self.links.opened(link, descriptor) {
            self.history.record(self.now, What::Device { link, is_open: true });
            self.feed(Input::LinkDevice { link, is_open: true });
        }
    }

    /// The core is told with the next [`Driver::drain`].
    fn lose_link(&mut self, link: LinkId, error: &io::Error) {
        if let Some(descriptor) = self.links.lose(link, error, self.now.now) {
            let _ = self.reactor.remove(&descriptor);
            self.history.record(self.now, What::Device { link, is_open: false });
            self.lost.insert(link);
        }
    }

    /// One input, and everything that the core wants done because of it.
    fn feed(&mut self, input: Input<'_>) {
        self.node.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            // Claims grow before the first script is asked for, and shrink after everything is said.
            let claims = self.node.ownership().claims();
            self.set_claims(self.claims | claims);
            while let Some(action) = self.node.poll_action() {
                self.perform(action);
            }
            self.set_claims(claims);
            let Some(link) = self.lost.iter().next() else { return };
            self.lost.remove(link);
            self.node.handle(self.now, Input::LinkDevice { link, is_open: false });
        }
    }

    fn set_claims(&mut self, claims: GroupSet) {
        if claims != self.claims {
            self.claims = claims;
            self.lease.set_claims(claims);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Transmit { links, packet } => self.transmit(links, &packet),
            Action::Run { job, group, order } => self.run_job(job, group, order),
            Action::Event(event) => self.tell(event),
            Action::Reply { id, outcome } => {
                let groups = &self.config.groups;
                let key = |group: GroupId| groups.get(usize::from(group.0)).map_or("", |group| group.key());
                if let Some(control) = &mut self.control {
                    control.reply_outcome(id, outcome, key);
                }
            }
            Action::Exit => self.end = Some(End::Finished),
        }
    }

    fn transmit(&mut self, links: LinkSet, packet: &Packet) {
        let is_beat = matches!(packet.body, Body::Status { .. });
        if is_beat {
            self.lease.stamp_engine(clock::now_ns());
        }
        let (mut datagram, mut text) = (None, None);
        for link in links.iter() {
            let Some(slot) = self.links.get_mut(link) else { continue };
            let (is_text, codec) = (slot.link().is_text(), &self.codec);
            let (encoded, out) =
                if is_text { (&mut text, &mut self.text) } else { (&mut datagram, &mut self.datagram) };
            // Once for all links of a kind.
            let len = *encoded.get_or_insert_with(|| {
                if is_text { codec.encode_serial(packet, out) } else { codec.encode_datagram(packet, out) }
            });
            let Some(len) = len else {
                log::error!("A message cannot be encoded: {:?}", packet.body);
                return;
            };
            if let Err(error) = slot.link().send(&out[..len], is_beat, self.now.now) {
                self.lose_link(link, &error);
            }
        }
    }

    fn run_job(&mut self, job: JobId, group: GroupId, order: Order) {
        match order {
            Order::Start => {
                self.lease.set_group(group, GroupState::Starting);
                let cause = self.node.ownership().group(group).map_or(Cause::Script, |group| group.cause());
                self.history.note_start(self.now, cause);
            }
            Order::Stop => self.lease.set_group(group, GroupState::Stopping),
            Order::Probe | Order::Announce => {}
        }
        if self.jobs.push(Job { job, group, order }).is_err() {
            log::debug!("More jobs under way than history can follow");
        }
        self.ask(ToGuardian::Run { job, group, order });
    }

    fn tell(&mut self, event: Event) {
        self.history.record(self.now, What::Event(event));
        // News may be dropped when the guardian does not read; the end of the channel is noticed elsewhere.
        match event {
            Event::Group { group, old, new, cause } => {
                self.lease.set_group(group, new);
                let _ = self.guardian.send(ToGuardian::NotifyGroup { group, old, new, cause });
            }
            Event::Node { node, status } => {
                if status == NodeStatus::Dead && self.node.settings().partner == Some(node) {
                    let peer = self.node.comms().peer(node);
                    let heard = peer.links.iter().filter_map(|link| link.last_heard).max();
                    let silence = heard.map_or(Duration::ZERO, |heard| self.now.now.since(heard));
                    self.history.note_verdict(self.now, silence);
                }
                let status = status.word().as_bytes()[0];
                let _ = self.guardian.send(ToGuardian::NotifyNode { node: node.0, status });
            }
            Event::Link { node, link, is_up } => {
                let _ = self.guardian.send(ToGuardian::NotifyLink { node: node.0, link, is_up });
            }
            Event::Alarm { alarm: Alarm::Held, is_raised } => self.lease.set_held(is_raised),
            Event::Alarm { .. } | Event::Late { .. } => {}
        }
    }

    fn tell_ready(&mut self) {
        if !self.is_ready_told && self.node.ownership().is_settled() {
            self.is_ready_told = true;
            self.ask(ToGuardian::Ready);
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

    /// Waits until the serial lines have said everything, for at most a second: the peer's takeover depends on it.
    fn say_last_words(&mut self) -> io::Result<()> {
        let limit = clock::stamp().now + LAST_WORDS;
        loop {
            self.now = clock::stamp();
            let open = self.links.open();
            let mut is_done = true;
            for link in open.iter() {
                self.flush_link(link);
                is_done &= self.links.get_mut(link).is_none_or(|slot| slot.link().backlog() == 0);
            }
            if is_done || self.now.now >= limit {
                return Ok(());
            }
            std::thread::sleep(LAST_WORDS_LOOK);
        }
    }
}

/// The reactor's name for a link.
pub(super) fn token_of(link: LinkId) -> Token {
    Token(LINKS + u32::from(link.0))
}

fn link_of(ready: Ready) -> Option<LinkId> {
    ready.token.0.checked_sub(LINKS).and_then(|index| u8::try_from(index).ok()).map(LinkId)
}

/// The sender's number and uuid when they are not known yet: messages to it carry the uuid.
fn origin_of(node: &Node, known: &[Uuid; NODES_MAX], message: &Message<'_>) -> Option<(NodeId, Uuid)> {
    let uuid = message.src_uuid.filter(|uuid| !uuid.is_nil())?;
    let names = &node.settings().nodes;
    let index = names.iter().position(|name| name.as_str() == message.src)?;
    (known.get(index) != Some(&uuid)).then(|| u8::try_from(index).ok().map(|index| (NodeId(index), uuid)))?
}
