//! How often a beat leaves on which link.
//!
//! Each link has a keepalive of its own. Beats are numbered for all links together, so a link with a longer one gets every
//! so many of them, and the numbers between come over the others. Whoever hears us on the slow link alone would ask for all
//! of these again. Hence the pace is that of the fastest link on which everybody is heard who lives: when that fails, every
//! beat leaves on every link, and slower. What is not heard because only our direction of it has failed is found by what is
//! asked for: a run of numbers, one after another.

use super::Comms;
use crate::core::ids::{LinkId, LinkSet, NodeId, Seq};
use crate::core::limits::LINKS_MAX;
use crate::core::settings::LinkPace;
use crate::core::time::{Duration, Instant};

/// So many numbers in a row that somebody lacks have not been lost by chance.
const RUN_MIN: u64 = 5;
/// For so many dead times every beat then leaves on every link.
const EVEN_DEADTIMES: u32 = 4;
/// A link with a shorter keepalive is dead after so many beats at the earliest.
const BEATS_MIN: u32 = 8;

/// What has left on which link, and what was asked for again.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    paces: heapless::Vec<LinkPace, LINKS_MAX>,
    slowest: Duration,
    quickest: Duration,
    /// When the last beat left on each link.
    left: [Option<Instant>; LINKS_MAX],
    /// The last number that was asked for, and how many before it without a gap.
    asked: (Seq, u64),
    even_until: Instant,
    /// The next beat is for all links.
    is_for_all: bool,
}

impl Lanes {
    pub(super) fn new(paces: heapless::Vec<LinkPace, LINKS_MAX>, slowest: Duration) -> Self {
        Self {
            quickest: paces.iter().map(|pace| pace.keepalive).min().unwrap_or(slowest).min(slowest),
            paces,
            slowest,
            left: [None; LINKS_MAX],
            asked: (Seq(0), 0),
            even_until: Instant::ZERO,
            is_for_all: true,
        }
    }

    /// The next beat says what everybody has to hear.
    pub(super) const fn call_all(&mut self) {
        self.is_for_all = true;
    }

    /// Somebody asks for these again.
    pub(super) fn note_asked(&mut self, first: Seq, last: Seq, now: Instant, deadtime: Duration) {
        let (newest, run) = self.asked;
        let numbers = (last.0 - first.0).saturating_add(1);
        let run = if first.0.checked_sub(newest.0) == Some(1) { run.saturating_add(numbers) } else { numbers };
        self.asked = (last, run);
        if run >= RUN_MIN {
            self.even_until = now + deadtime * EVEN_DEADTIMES;
        }
    }

    /// The pace of one of them.
    pub(super) fn pace(&self, link: LinkId) -> LinkPace {
        self.paces.get(usize::from(link.0)).copied().unwrap_or_else(|| LinkPace::of(self.slowest))
    }

    fn keepalives(&self, links: LinkSet) -> impl Iterator<Item = Duration> + '_ {
        links.iter().map(|link| self.pace(link).keepalive)
    }

    /// Those on which a beat is due.
    fn due(&mut self, links: LinkSet, interval: Duration, now: Instant) -> LinkSet {
        if core::mem::take(&mut self.is_for_all) {
            return links;
        }
        let is_due = |link: &LinkId| {
            let left = self.left[usize::from(link.0)];
            let own = self.pace(*link).keepalive;
            own <= interval || left.is_none_or(|left| now.since(left) + interval / 2 >= own)
        };
        links.iter().filter(is_due).collect()
    }

    /// A beat leaves on these.
    pub(super) fn note_left(&mut self, links: LinkSet, now: Instant) {
        for link in links.iter() {
            self.left[usize::from(link.0)] = Some(now);
        }
    }

    /// Those on which a copy of a beat may leave.
    pub(super) fn with_room(&self, links: LinkSet, now: Instant) -> LinkSet {
        let may = |link: &LinkId| {
            let pace = self.pace(*link);
            pace.has_room() && self.left[usize::from(link.0)].is_none_or(|left| now.since(left) >= pace.repeat)
        };
        links.iter().filter(may).collect()
    }

    /// The shortest time between two copies on any of them; `None`: on none is there room for any.
    pub(super) fn shortest_repeat(&self, links: LinkSet) -> Option<Duration> {
        links.iter().map(|link| self.pace(link)).filter(|pace| pace.has_room()).map(|pace| pace.repeat).min()
    }
}

impl Comms {
    /// From one beat to the next, now.
    pub fn beat_interval(&self, now: Instant) -> Duration {
        if self.lanes.quickest == self.lanes.slowest {
            return self.lanes.slowest;
        }
        let alive = self.others().filter(|node| self.is_alive(*node));
        let heard = alive.map(|node| self.links_up(node)).reduce(|all, links| all & links);
        let (links, is_even) = match heard.map(|links| links & self.open_links) {
            // Nobody is there to miss anything.
            None => (self.open_links, false),
            // Nobody is heard everywhere.
            Some(links) if links.is_empty() => (self.open_links, true),
            Some(links) => (links, now < self.lanes.even_until),
        };
        let keepalives = self.lanes.keepalives(links);
        let interval = if is_even { keepalives.max() } else { keepalives.min() };
        interval.unwrap_or(self.lanes.slowest)
    }

    /// The links on which the beat leaves that is due now.
    pub(super) fn due_links(&mut self, now: Instant) -> LinkSet {
        let interval = self.beat_interval(now);
        self.lanes.due(self.open_links, interval, now)
    }

    /// The links on which every beat leaves: what answers the beats takes these, too.
    pub(super) fn quick_links(&self, now: Instant) -> LinkSet {
        let interval = self.beat_interval(now);
        self.open_links.iter().filter(|link| self.lanes.pace(*link).keepalive <= interval).collect()
    }

    /// No link of `node` dies sooner than after so long a silence.
    pub(super) fn least_patience(&self, node: NodeId) -> Duration {
        (self.lanes.quickest * BEATS_MIN).min(self.deadtime_of(node))
    }

    /// Silence after which `link` of `node` is dead: the node's dead time, or as many beats of a faster link. Of one that brings
    /// beats more seldom, because the peer does not hear us there or is none of ours, some more of these.
    pub(super) fn link_patience(&self, node: NodeId, link: LinkId) -> Duration {
        let deadtime = self.deadtime_of(node);
        let (own, slowest) = (self.lanes.pace(link).keepalive, self.lanes.slowest);
        let peer = self.peer(node);
        if own >= slowest || !peer.is_nullbeat {
            return deadtime;
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let share = micros(deadtime).saturating_mul(micros(own)) / micros(slowest).max(1);
        let gap = peer.links[usize::from(link.0)].gap * 5 / 2;
        Duration::from_micros(share).max(own * BEATS_MIN).max(gap).min(deadtime)
    }
}
