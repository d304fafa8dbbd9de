//! Who reaches more ping nodes: `ipfail`'s judgement (spec/resources.md section 17), between two nullbeats as well as with
//! a real `ipfail` on the other node.
//!
//! The node that reaches fewer gives up, and says why. Like everything else here this is decided from facts that stand,
//! not by a message that came once (weakness 20): what was refused, lost or held is looked at again.
//!
//! | partner | what it is told | what it does |
//! |---|---|---|
//! | nullbeat | our count, when it changes and every [`REMIND`] | compares, and gives up when it is behind |
//! | Heartbeat with `ipfail` | our count, when it changes, and every [`ASK_AGAIN`] while it holds groups and is behind | compares, answers `you_are_dead` or `abort_giveup`, or gives up |
//!
//! A real `ipfail` that is asked in vain with equal counts sends its foreign groups home, and runs their scripts when it
//! has none: it is not asked without need.

use core::cmp::Ordering;

use super::{Context, Ownership};
use crate::core::Cause;
use crate::core::ids::GroupSet;
use crate::core::message::{Body, GroupState, Holds, IpfailWord, NodeStatus};
use crate::core::time::{Duration, Instant};

/// How often a nullbeat is told our count although it is the same.
const REMIND: Duration = Duration::from_secs(30);
/// How often a real `ipfail` that should have given up is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How long groups are not offered to a Heartbeat that is ahead and has handed them to us all the same: it may be unable to
/// start them, and has no word for it.
const RETURN_PAUSE: Duration = Duration::from_secs(600);
/// Shortest time between two of our `join`s: two nodes that know no counts yet must not answer each other all the time.
const JOIN_PAUSE: Duration = Duration::from_millis(500);
/// How long nothing goes home to a node that has just come back and has not told its count: a real `ipfail` is started
/// once its Heartbeat is active.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// What is known of both sides.
#[derive(Debug, Clone, Default)]
pub(super) struct Upstream {
    /// How many ping nodes the partner reaches.
    theirs: Option<u32>,
    /// The count that it was told, and when.
    told: Option<(u32, Instant)>,
    /// When it was told that something of ipfail's kind is here, and when it is to be told again.
    joined: Option<Instant>,
    join_at: Option<Instant>,
    /// How its count stands to ours, and since when.
    standing: Option<(Ordering, Instant)>,
    /// In this standing it has been told that it is behind.
    is_verdict_said: bool,
    /// In this standing nothing is offered to it before.
    offer_at: Option<Instant>,
    /// Until when its first word is waited for.
    word_until: Option<Instant>,
}

impl Upstream {
    /// The partner is gone, or begins anew.
    pub(super) fn forget(&mut self, now: Instant) {
        let join_at = Some(self.joined.map_or(now, |joined| joined + JOIN_PAUSE));
        *self = Self { word_until: Some(now + FIRST_WORD), join_at, ..Self::default() };
    }

    /// Whether the partner reaches fewer ping nodes than we do.
    pub(super) fn is_partner_behind(&self) -> bool {
        matches!(self.standing, Some((Ordering::Less, _)))
    }

    /// Since when the partner has stood to us like this.
    fn since(&self, wanted: Ordering) -> Option<Instant> {
        self.standing.and_then(|(standing, since)| (standing == wanted).then_some(since))
    }
}

impl Ownership {
    /// How many ping nodes we reach, when that is compared at all.
    fn own_count(cx: &Context<'_>) -> Option<u32> {
        if cx.settings.upstream.is_compared() { cx.comms.pings_alive() } else { None }
    }

    /// How many ping nodes the partner says it reaches.
    pub const fn partner_pings(&self) -> Option<u32> {
        self.upstream.theirs
    }

    fn is_partner_nullbeat(cx: &Context<'_>) -> bool {
        cx.settings.partner.is_some_and(|partner| cx.comms.peer(partner).extension.is_some())
    }

    /// Whether the partner can be talked to about this.
    fn is_partner_asked(&self, cx: &Context<'_>) -> bool {
        self.is_partner_alive(cx) && !self.partner.has_left && self.partner_status(cx) == Some(NodeStatus::Active)
    }

    fn say_ipfail(&mut self, cx: &mut Context<'_>, word: IpfailWord) {
        if let Some(partner) = cx.settings.partner {
            cx.send(Some(partner), Body::Ipfail(word));
        }
    }

    /// Tells the partner what it has to know, and notes how both stand.
    pub(super) fn compare_upstream(&mut self, cx: &mut Context<'_>) {
        let Some(ours) = Self::own_count(cx) else {
            self.upstream.standing = None;
            return;
        };
        if !self.is_partner_asked(cx) {
            return;
        }
        let now = cx.at.now;
        let standing = self.upstream.theirs.map(|theirs| theirs.cmp(&ours));
        if self.upstream.standing.map(|(standing, _)| standing) != standing {
            self.upstream.standing = standing.map(|standing| (standing, now));
            self.upstream.is_verdict_said = false;
            self.upstream.offer_at = None;
        }
        if self.upstream.join_at.is_some_and(|at| at <= now) {
            (self.upstream.joined, self.upstream.join_at) = (Some(now), None);
            // A real ipfail asks whoever joins, and so tells its count.
            cx.send(None, Body::Ipfail(IpfailWord::Join));
        }
        let is_told = self.upstream.told.is_some_and(|(told, _)| told == ours);
        if !is_told || self.tell_again_at(cx).is_some_and(|at| at <= now) {
            if is_told {
                log::debug!("Telling the ping node count again");
            } else {
                log::info!("Asking other side for ping node count.");
            }
            self.upstream.told = Some((ours, now));
            self.say_ipfail(cx, IpfailWord::Count(ours));
        } else if self.verdict_at(cx).is_some_and(|at| at <= now) {
            log::info!("Telling other node that we have more visible ping nodes.");
            self.upstream.is_verdict_said = true;
            self.upstream.told = Some((ours, now));
            self.say_ipfail(cx, IpfailWord::YouAreDead);
        }
    }

    /// When the partner is told our count although it has not changed.
    fn tell_again_at(&self, cx: &Context<'_>) -> Option<Instant> {
        let (_, at) = self.upstream.told?;
        if Self::is_partner_nullbeat(cx) {
            return Some(at + REMIND);
        }
        (self.upstream.is_verdict_said && self.is_partner_holding(cx)).then_some(at + ASK_AGAIN)
    }

    /// When a real `ipfail` that is behind is told so: it judges only when it is asked, and has asked.
    fn verdict_at(&self, cx: &Context<'_>) -> Option<Instant> {
        let since = self.upstream.since(Ordering::Less)?;
        let is_wanted = !self.upstream.is_verdict_said && !Self::is_partner_nullbeat(cx) && self.is_partner_holding(cx);
        is_wanted.then(|| since + cx.settings.upstream.holdoff)
    }

    /// Whether any group may be in use over there.
    fn is_partner_holding(&self, cx: &Context<'_>) -> bool {
        self.groups.iter().any(|group| !group.is_claimed() && self.partner_may_use(cx, group.id()))
    }

    /// A word of the partner's ipfail, or of its like.
    pub(super) fn heard_ipfail(&mut self, cx: &mut Context<'_>, word: IpfailWord) {
        if !cx.settings.upstream.is_compared() {
            return;
        }
        let told = self.upstream.told.map(|(told, _)| told);
        match word {
            IpfailWord::Count(theirs) => {
                self.upstream.theirs = Some(theirs);
                self.upstream.is_verdict_said = false;
                if Self::own_count(cx) == Some(theirs) && !Self::is_partner_nullbeat(cx) {
                    log::info!("Ping node count is balanced.");
                    self.say_ipfail(cx, IpfailWord::AbortGiveup);
                }
            }
            // Both are answers to our count, as it was told last.
            IpfailWord::YouAreDead => {
                let least = told.unwrap_or_default().saturating_add(1);
                self.upstream.theirs = Some(self.upstream.theirs.map_or(least, |theirs| theirs.max(least)));
            }
            IpfailWord::AbortGiveup => self.upstream.theirs = told.or(self.upstream.theirs),
            IpfailWord::Join => {
                self.upstream.told = None;
                if self.upstream.theirs.is_none() {
                    self.upstream.join_at = Some(self.upstream.joined.map_or(cx.at.now, |joined| joined + JOIN_PAUSE));
                }
            }
            IpfailWord::Leave => self.upstream.theirs = None,
        }
    }

    /// When groups are given up, if nothing changes.
    fn give_up_at(&self, cx: &Context<'_>) -> Option<Instant> {
        let at = self.upstream.since(Ordering::Greater)? + cx.settings.upstream.holdoff;
        Some(self.upstream.offer_at.map_or(at, |later| later.max(at)))
    }

    /// The partner has handed groups to us. A nullbeat tells when it could not start them.
    pub(super) fn note_return(&mut self, cx: &Context<'_>) {
        if self.upstream.since(Ordering::Greater).is_some() && self.partner_extension(cx).is_none() {
            self.upstream.offer_at = Some(cx.at.now + RETURN_PAUSE);
        }
    }

    /// Offers everything to a partner that has reached more ping nodes for the whole hold-off. Groups that would not run
    /// there stay.
    pub(super) fn give_up_for_upstream(&mut self, cx: &mut Context<'_>) -> bool {
        if self.give_up_at(cx).is_none_or(|at| cx.at.now < at) {
            return false;
        }
        let movable = self.movable(cx);
        let groups = self.all_or_nothing(cx, movable, movable);
        if groups.is_empty() {
            return false;
        }
        log::info!("Giving up because we have less visible ping nodes.");
        self.offer(cx, self.sides_of(cx, groups), groups, Cause::Upstream, None);
        true
    }

    /// What may be given to a partner that is better off: groups that would not run there stay.
    pub(super) fn movable(&self, cx: &Context<'_>) -> GroupSet {
        self.groups
            .iter()
            .filter(|group| group.is_claimed() && !group.is_busy() && !group.is_stuck() && !group.is_refugee)
            .map(super::Group::id)
            .filter(|id| !self.partner_may_use(cx, *id) && !self.has_failed_there(cx, *id))
            .collect()
    }

    /// The sides that these groups belong to, from our view.
    pub(super) fn sides_of(&self, cx: &Context<'_>, groups: GroupSet) -> Holds {
        groups.iter().fold(Holds::NONE, |sides, id| {
            sides.union(if self.is_preferred(cx, id) { Holds::LOCAL } else { Holds::FOREIGN })
        })
    }

    /// Whether the group did not start at the partner, or its service failed there lately.
    pub(super) fn has_failed_there(&self, cx: &Context<'_>, id: crate::core::ids::GroupId) -> bool {
        self.partner_extension(cx).is_some_and(|extension| {
            matches!(extension.groups[usize::from(id.0)], GroupState::StartFailed | GroupState::StopFailed)
                || extension.health.is_some_and(|health| health.spent.contains(id))
        })
    }

    /// Whether a group may go home: not to a node that is behind, or has just ceased to be, or has not told yet.
    pub(super) fn is_home_as_good(&self, cx: &Context<'_>) -> bool {
        !cx.settings.upstream.is_compared() || self.home_is_good_at(cx).is_some_and(|at| at <= cx.at.now)
    }

    /// When a group may go home, if nothing changes; `None`: not before something does.
    fn home_is_good_at(&self, cx: &Context<'_>) -> Option<Instant> {
        Self::own_count(cx)?;
        let wait = cx.settings.upstream.holdoff.max(cx.settings.failback_delay);
        match self.upstream.standing {
            Some((Ordering::Less, _)) => None,
            Some((_, since)) => Some(since + wait),
            // Nobody there compares ping nodes.
            None => Some(self.upstream.word_until.unwrap_or(Instant::ZERO)),
        }
    }

    /// When to look again at the latest.
    pub(super) fn upstream_deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        if !cx.settings.upstream.is_compared() || !self.is_partner_asked(cx) {
            return None;
        }
        let give_up = self.give_up_at(cx);
        [give_up, self.upstream.join_at, self.tell_again_at(cx), self.verdict_at(cx), self.home_is_good_at(cx)]
            .into_iter()
            .flatten()
            .filter(|at| *at > cx.at.now)
            .min()
    }
}
