//! The state machine (spec/api.md 6.3).
//!
//! ```text
//!                    no other service                    leader: a change
//!   Asking ────────────────────────────▶ Joined ─────────────────────────▶ Changing ──┐ all confirm
//!     │ a leader answers                  ▲ ▲ ▲  member: a change    (Gathering first,  │
//!     │                                   │ │ │   when several were let in at once)       │
//!     ▼                                   │ │ └─────────────── Confirming ◀───────────┤ MEM_LIST
//!   Entering ─────────────────────────────┘ │                      │ time             │
//!     │ time                                │                      ▼                  │
//!     └──────────────────────────────▶ Electing ◀─────────────────────────────────────┘ time, another change
//!                                       │    ▲
//!                  I lead: Collecting ◀─┴────┴─▶ Answered: another leads
//! ```
//!
//! Whoever drives it keeps the core's contract: one input, then all outputs, then sleep until [`Service::poll_timeout`].

mod asking;
mod election;
mod joined;

use super::message::{Body, Cookie, Message, Standing, StateName};
use super::{Local, View};
use crate::core::ids::{MemberId, MemberSet};
use crate::core::limits::NODES_MAX;
use crate::core::quorum::{Count, Quorum};
use crate::core::time::{Duration, Instant};

/// Outputs that one input may cause: an answer to every node, a message to all, what programs are told, and questions.
const OUTPUTS_MAX: usize = 3 * NODES_MAX;
/// States that one input may lead through: a leader's death, a round alone, a change.
const STEPS_MAX: usize = 4;
/// Questions after a leader before a node stops waiting for one (spec/api.md 6.3).
const TRIES_MAX: u8 = 4;

/// What happens to a service.
#[derive(Debug, Clone, Copy)]
pub enum Input<'m> {
    /// Nothing but the passing of time.
    Tick,
    /// The daemon of another node is there, or is gone.
    Node {
        /// Which.
        node: MemberId,
        /// Whether it is there.
        is_up: bool,
    },
    /// Another node's service has signed on, or off; or its daemon has answered whether there is one.
    Client {
        /// Whose.
        node: MemberId,
        /// Whether it is there.
        is_online: bool,
    },
    /// Another node's service says something.
    Said {
        /// Who.
        by: MemberId,
        /// What.
        message: &'m Message,
    },
}

/// What a service asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send {
        /// To whom; `None`: all.
        to: Option<MemberId>,
        /// What.
        message: Message,
    },
    /// Ask that node's daemon whether a service runs there; the answer is an [`Input::Client`].
    Ask(MemberId),
    /// A membership is in force from now on: [`Service::view`].
    View,
    /// The membership is no longer sure.
    Influx,
}

/// Times, all of them from keepalive (spec/api.md 6.3).
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Between two questions after a leader.
    version: Duration,
    /// For whoever has a leader's answer on its way.
    answer: Duration,
    /// For confirmations, for a new list, for the others' `JOIN`.
    change: Duration,
    /// For the lists of the others.
    lists: Duration,
    /// For the result.
    result: Duration,
}

impl Times {
    fn of(keepalive: Duration) -> Self {
        Self {
            version: keepalive * 9,
            answer: keepalive,
            change: keepalive * 5,
            lists: keepalive * 12,
            result: keepalive * 18 + Duration::from_millis(5),
        }
    }
}

/// A change that a leader carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Join(MemberId),
    Leave(MemberId),
}

impl Change {
    const fn node(self) -> MemberId {
        match self {
            Self::Join(node) | Self::Leave(node) => node,
        }
    }
}

/// A full round.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Whose `JOIN` has come, our own included.
    heard: MemberSet,
    /// When each of them had joined.
    joined: [u32; NODES_MAX],
    /// Who leads, and has asked for our list.
    asked_by: Option<MemberId>,
    /// All who should be heard had their time; now the one who leads has its own.
    is_late: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Not begun, or ended.
    Idle,
    /// Looks for a leader; before `found_from` an answer to the question may be on its way.
    Asking {
        until: Instant,
        found_from: Instant,
        tries: u8,
    },
    /// Has said `ALIVE` to this leader.
    Entering {
        until: Instant,
        leader: MemberId,
    },
    Joined,
    /// Leads, and has let in several at once: waits until all of them have come, to take them in together.
    Gathering {
        until: Instant,
        confirmed: MemberSet,
    },
    /// Leads. `has_seen`: we have seen the change ourselves, not only been told of it.
    Changing {
        until: Instant,
        change: Change,
        has_seen: bool,
        confirmed: MemberSet,
    },
    /// Has confirmed a change to the leader.
    Confirming {
        until: Instant,
    },
    Electing {
        until: Instant,
        round: Round,
    },
    /// Leads the round.
    Collecting {
        until: Instant,
        round: Round,
        answered: MemberSet,
        lists: [MemberSet; NODES_MAX],
        highest: u32,
    },
    /// Has told this leader of the round whom it hears.
    Answered {
        until: Instant,
        round: Round,
        leader: MemberId,
    },
}

/// The membership service of one node.
#[derive(Debug)]
pub struct Service {
    local: Local,
    quorum: Quorum,
    times: Times,
    random: u64,
    /// Nodes whose daemon is there, our own included.
    up: MemberSet,
    /// Those of them that are known to have no service.
    without: MemberSet,
    state: State,
    cookie: Cookie,
    major: u32,
    minor: u32,
    /// The membership that was in force last; while [`Service::is_sure`] it is.
    view: View,
    leader: MemberId,
    is_sure: bool,
    /// Who has asked for a leader and was not answered, with its instance: it waits for one, or comes with us when we ask.
    waiting: MemberSet,
    majors: [u32; NODES_MAX],
    /// Whom we have let in since the last membership: what they said before they asked may still come.
    invited: MemberSet,
    /// Whose `ALIVE` has come since the last membership.
    entering: MemberSet,
    /// Until when nobody makes us begin anew once more: what was said before we did is still on its way.
    calm_until: Instant,
    /// Who speaks of another partition although we hear it, and when it is told so.
    strangers: MemberSet,
    strangers_at: Instant,
    outputs: heapless::Deque<Output, OUTPUTS_MAX>,
}

impl Service {
    /// A service that has not begun. `seed` is anything random: partitions are told apart by what is made of it.
    pub fn new(local: Local, quorum: Quorum, keepalive: Duration, seed: u64) -> Self {
        let place = local.place();
        let mut service = Self {
            quorum,
            times: Times::of(keepalive),
            random: seed,
            up: MemberSet::only(place),
            without: MemberSet::EMPTY,
            state: State::Idle,
            cookie: Cookie::of(0),
            major: 0,
            minor: 0,
            view: View { members: MemberSet::only(place), instance: 0, has_quorum: false, born: [0; NODES_MAX] },
            leader: place,
            is_sure: false,
            waiting: MemberSet::EMPTY,
            majors: [0; NODES_MAX],
            invited: MemberSet::EMPTY,
            entering: MemberSet::EMPTY,
            calm_until: Instant::ZERO,
            strangers: MemberSet::EMPTY,
            strangers_at: Instant::ZERO,
            outputs: heapless::Deque::new(),
            local,
        };
        service.cookie = service.new_cookie();
        service
    }

    /// Begins. Before it, the daemon has signed the service on for all to see, and told it which nodes are up.
    pub fn begin(&mut self, now: Instant) {
        self.ask(now, 0);
        self.settle(now);
    }

    /// The nodes as this service numbers them.
    pub const fn local(&self) -> &Local {
        &self.local
    }

    /// Other weights for the same nodes: they count from the next membership on.
    pub fn weigh(&mut self, local: Local) {
        debug_assert_eq!(self.local.names(), local.names());
        self.local = local;
    }

    /// Whether the daemon of that node counts as being there.
    pub const fn sees(&self, node: MemberId) -> bool {
        self.up.contains(node)
    }

    /// The membership in force; `None` before the first and while others are being asked.
    pub fn view(&self) -> Option<&View> {
        self.is_sure.then_some(&self.view)
    }

    /// What it is doing, in the words of the original.
    pub const fn state(&self) -> StateName {
        match self.state {
            State::Idle => StateName::None,
            State::Asking { .. } => StateName::VersionRequest,
            State::Entering { .. } => StateName::NewNodeWaitForMemList,
            State::Joined => StateName::Joined,
            State::Gathering { .. } | State::Changing { .. } => StateName::WaitForChange,
            State::Confirming { .. } => StateName::WaitForMemList,
            State::Electing { .. } => StateName::Joining,
            State::Collecting { .. } => StateName::SentMemListReq,
            State::Answered { .. } => StateName::MemListRes,
        }
    }

    /// The next thing to do; drain until `None` after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call again with [`Input::Tick`] at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.state {
            State::Idle | State::Joined => None,
            State::Asking { found_from, .. } if self.may_found() => Some(found_from),
            State::Asking { until, .. }
            | State::Entering { until, .. }
            | State::Gathering { until, .. }
            | State::Changing { until, .. }
            | State::Confirming { until, .. }
            | State::Electing { until, .. }
            | State::Collecting { until, .. }
            | State::Answered { until, .. } => Some(until),
        };
        let strangers = (!self.strangers.is_empty()).then_some(self.strangers_at);
        own.into_iter().chain(strangers).min()
    }

    /// Takes one input. Drain [`Service::poll_output`] afterwards.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Tick => self.tick(now),
            Input::Node { node, is_up } => self.node(now, node, is_up),
            Input::Client { node, is_online } => self.client(now, node, is_online),
            Input::Said { by, message } => {
                if by != self.local.place() {
                    // Whoever speaks is there.
                    self.node(now, by, true);
                    self.without.remove(by);
                    self.said(now, by, message);
                }
            }
        }
        self.settle(now);
    }

    /// Follows what is known as far as it leads: each state looks at it in its own way.
    fn settle(&mut self, now: Instant) {
        for _ in 0..STEPS_MAX {
            let before = self.state();
            self.look(now);
            if self.state() == before {
                return;
            }
        }
    }

    fn node(&mut self, now: Instant, node: MemberId, is_up: bool) {
        if node == self.local.place() || self.up.contains(node) == is_up {
            return;
        }
        self.without.remove(node);
        self.strangers.remove(node);
        if is_up {
            self.up.insert(node);
            self.push(Output::Ask(node));
            if self.state().is_in_cluster() {
                self.send(Some(node), Body::StateInfo(self.state()));
            }
        } else {
            self.up.remove(node);
            self.gone(now, node);
        }
    }

    fn client(&mut self, now: Instant, node: MemberId, is_online: bool) {
        if node == self.local.place() || !self.up.contains(node) {
            return;
        }
        if !is_online {
            self.without.insert(node);
            self.gone(now, node);
        } else {
            self.without.remove(node);
        }
    }

    /// A service that signs on has just begun: if it was a member, it has left meanwhile.
    pub fn signed_on(&mut self, now: Instant, node: MemberId) {
        if self.is_in_view(node) {
            self.handle(now, Input::Client { node, is_online: false });
        }
        self.handle(now, Input::Client { node, is_online: true });
    }

    /// The service of that node has ended, or cannot be reached.
    fn gone(&mut self, now: Instant, node: MemberId) {
        self.waiting.remove(node);
        self.entering.remove(node);
        match &mut self.state {
            State::Entering { leader, .. } if *leader == node => self.ask(now, 0),
            State::Electing { round, .. } => round.heard.remove(node),
            State::Collecting { round, answered, .. } => {
                round.heard.remove(node);
                answered.remove(node);
            }
            State::Answered { leader, .. } if *leader == node => self.elect_again(now),
            State::Answered { round, .. } => round.heard.remove(node),
            State::Gathering { confirmed, .. } | State::Changing { confirmed, .. } => confirmed.remove(node),
            State::Idle | State::Asking { .. } | State::Entering { .. } | State::Joined | State::Confirming { .. } => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        if !self.strangers.is_empty() && now >= self.strangers_at {
            let strangers = core::mem::take(&mut self.strangers);
            // Whom we have let in and who does not come is in a cluster of its own.
            self.invited = MemberSet::EMPTY;
            if matches!(self.state, State::Joined) {
                for stranger in (strangers & self.present()).iter() {
                    self.send(Some(stranger), Body::StateInfo(StateName::Joined));
                    self.push(Output::Ask(stranger));
                }
            }
        }
        if self.poll_timeout().is_none_or(|until| now < until) {
            return;
        }
        match self.state {
            State::Idle | State::Joined => {}
            State::Asking { until, tries, .. } if until <= now => self.asked_long_enough(now, tries),
            State::Asking { .. } => {}
            // The original begins a full round: it would move all others, and there is nothing to agree on.
            State::Entering { .. } => self.ask(now, 0),
            State::Confirming { .. } => self.elect(now, self.minor),
            State::Gathering { confirmed, .. } => self.take_in(now, confirmed),
            State::Changing { .. } | State::Answered { .. } => self.elect_again(now),
            State::Electing { round, .. } => self.heard_long_enough(now, &round),
            State::Collecting { round, answered, lists, highest, .. } => {
                self.conclude(now, &round, answered, &lists, highest);
            }
        }
    }

    /// What follows from who is there, without any message.
    fn look(&mut self, now: Instant) {
        match self.state {
            State::Idle => {}
            State::Asking { found_from, .. } => {
                if self.may_found() && (now >= found_from || self.others().is_empty()) {
                    self.found();
                }
            }
            State::Entering { .. } | State::Answered { .. } => {}
            State::Joined => self.look_at_members(now),
            State::Gathering { confirmed, .. } => self.look_at_gathering(now, confirmed),
            State::Changing { until, change, has_seen, confirmed } => {
                self.look_at_change(now, until, change, has_seen, confirmed);
            }
            State::Confirming { .. } => {
                if !self.present().contains(self.leader) {
                    self.elect(now, self.minor);
                }
            }
            State::Electing { until, round } => self.look_at_round(now, until, &round),
            State::Collecting { round, answered, lists, highest, .. } => {
                if (round.heard - answered).is_empty() {
                    self.conclude(now, &round, answered, &lists, highest);
                }
            }
        }
    }

    fn said(&mut self, now: Instant, by: MemberId, message: &Message) {
        if message.standing.is_some() {
            // It looks for a leader no longer.
            self.waiting.remove(by);
        }
        match (message.body, message.standing) {
            (Body::Version, _) => self.asked(now, by, message.major),
            (Body::Restart, _) => {
                if self.state().is_in_cluster() && now >= self.calm_until {
                    self.restart(now);
                }
            }
            (Body::StateInfo(state), Some(standing)) => {
                let is_split = state.is_in_cluster() && self.state().is_in_cluster() && standing.cookie != self.cookie;
                if is_split && now >= self.calm_until && !self.invited.contains(by) {
                    self.restart(now);
                } else if is_split {
                    self.note_stranger(now, by);
                }
            }
            (Body::VersionAnswer { .. }, Some(standing)) => {
                let is_news = standing.cookie != self.cookie;
                let is_entering = matches!(self.state, State::Entering { leader, .. } if leader == by);
                if matches!(self.state, State::Asking { .. }) || (is_entering && is_news) {
                    self.enter(now, by, message.major, standing.cookie);
                } else if is_news {
                    self.note_stranger(now, by);
                }
            }
            (_, Some(standing)) if standing.cookie == self.cookie => self.said_inside(now, by, message, standing),
            (Body::Alive, Some(_)) if matches!(self.state, State::Joined) => {
                // The leader's answer was overtaken by its next list.
                self.waiting.insert(by);
                self.answer_waiting();
            }
            (_, Some(_)) => self.note_stranger(now, by),
            (_, None) => {}
        }
    }

    /// Somebody who should be with us speaks of another partition. That may be only late; if it lasts, it is told.
    fn note_stranger(&mut self, now: Instant, node: MemberId) {
        if self.strangers.is_empty() {
            self.strangers_at = now + self.times.result;
        }
        self.strangers.insert(node);
    }

    /// A message of our own partition.
    fn said_inside(&mut self, now: Instant, by: MemberId, message: &Message, standing: Standing) {
        match message.body {
            Body::Join => self.heard_join(now, by, standing),
            // One that is about an earlier try has had its effect.
            Body::Abort => {
                if standing.minor >= self.minor
                    && matches!(self.state, State::Electing { .. } | State::Collecting { .. } | State::Answered { .. })
                {
                    self.elect_again(now);
                }
            }
            Body::AskList => self.asked_for_list(now, by, standing),
            Body::ListAnswer { instance, heard } => self.heard_list(by, instance, heard),
            Body::FinalList { instance, members, has_quorum, cookie } => {
                self.heard_result(now, by, instance, members, has_quorum, cookie);
            }
            Body::MemList(list) => self.heard_members(now, by, message.major, &list),
            Body::Alive => self.heard_alive(now, by),
            Body::NewNode { node } => self.confirmed(now, by, Change::Join(node)),
            // A ccm puts the name of its leader, that is ours, in the place of the one that has left.
            Body::NodeLeave { node } if node == self.local.place() => {
                if let State::Changing { change: change @ Change::Leave(_), .. } = self.state {
                    self.confirmed(now, by, change);
                }
            }
            Body::NodeLeave { node } => self.confirmed(now, by, Change::Leave(node)),
            Body::LeaveNotice { node } => self.heard_leave_notice(now, by, node),
            Body::Version | Body::VersionAnswer { .. } | Body::StateInfo(_) | Body::Restart => {}
        }
    }

    /// Other nodes on which a service may run.
    fn others(&self) -> MemberSet {
        let mut others = self.present();
        others.remove(self.local.place());
        others
    }

    fn present(&self) -> MemberSet {
        self.up - self.without
    }

    /// Whether the membership that was in force last has this node.
    fn is_in_view(&self, node: MemberId) -> bool {
        self.view.members.contains(node)
    }

    /// The instance in which this node joined; zero: not yet.
    fn joined(&self) -> u32 {
        self.view.joined(self.local.place())
    }

    fn set_joined(&mut self, joined: u32) {
        self.view.born = [0; NODES_MAX];
        if let Some(slot) = self.view.born.get_mut(usize::from(self.local.place().0)) {
            *slot = joined;
        }
    }

    fn has_quorum(&self, members: MemberSet) -> bool {
        let count = |set: MemberSet| u32::try_from(set.len()).unwrap_or_default();
        let all = self.local.all();
        self.quorum.has_quorum(&Count {
            members: count(members),
            nodes: count(all),
            member_weight: self.local.weight(members),
            weight: self.local.weight(all),
        })
    }

    /// A membership of instance `self.major` is in force. `has_quorum`: as its leader says.
    fn take_up(&mut self, members: MemberSet, born: [u32; NODES_MAX], leader: MemberId, has_quorum: Option<bool>) {
        let has_quorum = has_quorum.unwrap_or_else(|| self.has_quorum(members));
        self.view = View { members, instance: self.major, has_quorum, born };
        self.leader = leader;
        self.minor = 0;
        self.is_sure = true;
        self.entering = MemberSet::EMPTY;
        self.invited = MemberSet::EMPTY;
        self.waiting = self.waiting - members;
        self.set(State::Joined);
        self.push(Output::View);
        self.answer_waiting();
    }

    /// The membership in force is so no longer.
    fn unsure(&mut self) {
        if core::mem::replace(&mut self.is_sure, false) {
            self.push(Output::Influx);
        }
    }

    fn set(&mut self, state: State) {
        let old = self.state();
        self.state = state;
        if old != self.state() {
            log::debug!("membership: {} -> {}", old.word(), self.state().word());
        }
    }

    fn send(&mut self, to: Option<MemberId>, body: Body) {
        let standing = Standing { cookie: self.cookie, joined: self.joined(), minor: self.minor };
        let is_minimal = matches!(body, Body::Version | Body::Restart);
        let message = Message { major: self.major, standing: (!is_minimal).then_some(standing), body };
        self.push(Output::Send { to, message });
    }

    fn push(&mut self, output: Output) {
        let is_full = self.outputs.push_back(output).is_err();
        assert!(!is_full, "the driver drains after each input, and one input causes fewer outputs than fit");
    }

    /// Random enough to tell partitions apart (splitmix64).
    fn new_cookie(&mut self) -> Cookie {
        let mut half = || {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(mixed ^ (mixed >> 31))
        };
        Cookie::of(half() << 64 | half())
    }
}
