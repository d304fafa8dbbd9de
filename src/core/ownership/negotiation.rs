//! Start-up, announcements, death and return of the partner (spec/resources.md sections 7, 9, 10, 12, 13).

use super::transitions::Event;
use super::{Context, Group, Handover, Ownership, Partner, Phase, SETTLING};
use crate::core::ids::{GroupSet, NodeId, Seq};
use crate::core::message::{Body, GroupState, Holds, NodeStatus, ResourceInfo, StonithResult};
use crate::core::settings::TakeoverPolicy;
use crate::core::{Alarm, Cause};

impl Ownership {
    /// A message that communication has accepted.
    pub(in crate::core) fn message(&mut self, cx: &mut Context<'_>, from: NodeId, seq: Seq, body: &Body<'_>) {
        if cx.settings.partner != Some(from) {
            return;
        }
        self.witness(Event::of_message(body));
        match *body {
            Body::Starting => self.heard_starting(cx),
            Body::Resource { holds, is_full, is_stable, info } => {
                self.heard_resource(cx, seq, holds, is_full, is_stable, info);
            }
            Body::ShutDone => self.heard_shutdone(cx),
            Body::AskResources { set, word, only, after_failure } => {
                self.heard_ask(cx, (from, seq), set, word, only, after_failure);
            }
            Body::Takeover { set } => self.heard_takeover(cx, set),
            Body::Ipfail(word) => self.heard_ipfail(cx, word),
            Body::IpRequest { group, .. } => self.heard_ip_request(cx, group),
            Body::IpRequestResp { group, is_ok, .. } => self.heard_ip_request_resp(cx, group, is_ok),
            Body::Status { .. }
            | Body::Ack { .. }
            | Body::RexmitRequest { .. }
            | Body::RexmitNak { .. }
            | Body::ReqNodes
            | Body::RepNodes { .. }
            | Body::AddNodes { .. }
            | Body::DelNodes { .. }
            | Body::SetWeight { .. }
            | Body::SetSite { .. }
            | Body::Stonith { .. }
            | Body::ClientQuery { .. }
            | Body::ClientAnswer { .. }
            | Body::Relayed { .. }
            | Body::Other { .. } => {}
        }
    }

    /// Every node was heard or is dead.
    pub(super) fn comm_up(&mut self, cx: &mut Context<'_>) {
        cx.comms.set_status(cx.settings, cx.at, NodeStatus::Active, cx.outbox);
        if matches!(self.phase, Phase::Leaving(_)) {
            return;
        }
        if cx.takes_part() && self.speaks_nicely(cx) {
            cx.send(None, Body::Starting);
        }
        self.phase = Phase::Starting { again_at: cx.at.now + SETTLING };
        self.wants_extension = true;
    }

    /// Says `starting` again to a Heartbeat that has not answered. What a node says before its first message that arrives is
    /// never asked for, and of several links one may overtake the other: then nobody has heard it.
    fn start_again(&mut self, cx: &mut Context<'_>) {
        let Phase::Starting { again_at } = &mut self.phase else { return };
        if *again_at > cx.at.now {
            return;
        }
        *again_at = cx.at.now + SETTLING;
        let is_unanswered = self.is_partner_alive(cx) && self.partner_extension(cx).is_none();
        if is_unanswered && cx.takes_part() && self.speaks_nicely(cx) {
            log::warn!("{} has not answered our start: asking again", cx.partner_name());
            cx.send(None, Body::Starting);
        }
    }

    /// Follows the partner's words from start to stability.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        self.start_again(cx);
        let take_at = match self.phase {
            Phase::Starting { .. } => None,
            Phase::Settling { take_at } => Some(take_at),
            Phase::Waiting | Phase::Stable | Phase::Leaving(_) => return,
        };
        if self.groups.iter().any(|group| group.state() == GroupState::Unknown) {
            return;
        }
        let reason = if !self.is_partner_alive(cx) || self.partner.has_left {
            "status"
        } else if self.is_legacy(cx) {
            "ip-request-resp"
        } else if self.is_heard_fresh(cx) {
            "T_RESOURCES(them)"
        } else if self.is_partner_mute(cx) {
            return;
        } else if self.partner.is_known && self.partner.is_stable {
            log::info!("remote resource transition completed.");
            "T_RESOURCES(them)"
        } else if take_at.is_some_and(|at| at <= cx.at.now) {
            log::info!("local resource transition completed.");
            "T_RESOURCES(us)"
        } else {
            return;
        };
        self.phase = Phase::Stable;
        self.wants_extension = true;
        if cx.settings.has_resources {
            log::info!("Initial resource acquisition complete ({reason})");
        }
    }

    /// Adopts or stops what an earlier daemon of this boot had left running, as soon as the partner is known.
    pub(super) fn settle_inherited(&mut self, cx: &mut Context<'_>) {
        if !self.groups.iter().any(Group::is_left_over) {
            return;
        }
        let is_alone = !self.is_partner_alive(cx) || self.partner.has_left;
        let is_known = is_alone
            || match self.partner_extension(cx) {
                Some(_) => self.is_heard_fresh(cx),
                None => !self.is_partner_mute(cx) && (self.partner.is_known || self.is_legacy(cx)),
            };
        if !is_known || !cx.comms.may_judge(cx.at.now) {
            return;
        }
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            if !group.is_left_over() {
                continue;
            }
            let id = group.id();
            let is_claimed_there = !is_alone && self.partner_may_use(cx, id);
            let is_given = self.is_resumed_release(cx, id);
            if self.is_legacy(cx) && !is_claimed_there && !self.has_grant(cx, id) {
                continue;
            }
            if !is_claimed_there && !is_given && !self.may_start(cx, true) {
                continue;
            }
            self.spend_grant(id);
            let group = &mut self.groups[index];
            group.is_inherited = false;
            if is_claimed_there {
                self.leave_to_holder(cx, index);
            } else if is_given {
                group.release(cx, Cause::Operator);
            } else {
                log::info!("group {}: left running by an earlier daemon: keeping it", id.0);
                group.adopt(cx, GroupState::Unknown);
                self.claim_seq[index] = Seq(cx.comms.own_seq().0 + 1);
            }
            self.wants_extension = true;
        }
    }

    /// Before communication is up nothing is decided, and it may be long before a ping node has answered. But what an earlier
    /// daemon left running here, and a partner that hears us claims, is in use on both boards (design.md rule 1).
    pub(super) fn leave_what_is_claimed(&mut self, cx: &mut Context<'_>) {
        let is_known = self.is_partner_alive(cx) && !self.partner.has_left && self.is_heard_fresh(cx);
        if !is_known || !cx.comms.may_judge(cx.at.now) {
            return;
        }
        let claims = self.partner_extension(cx).map_or(GroupSet::EMPTY, |extension| extension.claims);
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            if group.is_left_over() && claims.contains(group.id()) {
                self.leave_to_holder(cx, index);
            }
        }
    }

    fn leave_to_holder(&mut self, cx: &mut Context<'_>, index: usize) {
        let group = &mut self.groups[index];
        let id = group.id();
        log::warn!("group {}: left running here, but {} holds it: stopping it", id.0, cx.partner_name());
        group.is_inherited = false;
        group.release(cx, Cause::SplitBrain);
        self.wants_extension = true;
    }

    fn heard_starting(&mut self, cx: &mut Context<'_>) {
        self.heard_nice_word(cx);
        self.partner.is_stable = false;
        self.partner_stable_since = None;
        match self.phase {
            Phase::Waiting => {
                // The partner is ahead of us; it answers our own `starting` with all that matters.
                log::debug!("Received 'starting' message in state 0");
                return;
            }
            Phase::Starting { .. } => self.phase = Phase::Settling { take_at: cx.at.now + SETTLING },
            Phase::Settling { .. } | Phase::Stable | Phase::Leaving(_) => {}
        }
        self.wants_extension = true;
        if self.has_probed_all() {
            self.send_resource(cx, ResourceInfo::None);
        } else {
            // Said as soon as the probes are over, by `say_holds`.
            self.said = None;
        }
    }

    fn heard_resource(
        &mut self,
        cx: &mut Context<'_>,
        seq: Seq,
        holds: Holds,
        is_full: bool,
        is_stable: Option<bool>,
        info: ResourceInfo,
    ) {
        self.heard_nice_word(cx);
        if matches!(self.phase, Phase::Waiting) {
            log::debug!("resource message received in state 0");
            return;
        }
        if seq < self.partner.resource_seq {
            // An older announcement, sent again: what came later stands.
            return;
        }
        self.partner.resource_seq = seq;
        if is_stable == Some(true) && info == ResourceInfo::None {
            self.giver_is_stable(cx, seq, holds);
        }
        let before = self.partner.holds;
        self.partner.holds = if is_full || holds == Holds::NONE { holds } else { before.union(holds) };
        match info {
            ResourceInfo::Shutdown | ResourceInfo::Standby => {
                self.partner.releasing = self.partner.releasing.union(before).minus(self.partner.holds);
                self.handover_confirmed(cx, seq);
            }
            // Between its release and its word of having finished, an announcement says nothing new about it.
            _ if self.handover.is_partner_releasing() => {}
            _ => self.partner.releasing = Holds::NONE,
        }
        self.partner.is_known = true;
        if is_full && info == ResourceInfo::None {
            self.compare_resumed(cx);
        }
        if matches!(self.phase, Phase::Starting { .. }) {
            self.phase = Phase::Settling { take_at: cx.at.now + SETTLING };
        }
        let was_stable = self.partner.is_stable;
        match is_stable {
            Some(stable) => {
                self.partner.is_stable = stable;
                self.handover.note_stability(stable);
            }
            None if info == ResourceInfo::MachDown => self.partner.is_stable = true,
            None => {}
        }
        if self.partner.is_stable && !was_stable && !matches!(self.phase, Phase::Leaving(_)) {
            log::info!("remote resource transition completed.");
            self.settle(cx);
            if self.has_probed_all() {
                self.send_resource(cx, ResourceInfo::None);
            } else {
                // What an earlier engine left running is not nothing.
                self.said = None;
            }
        }
    }

    fn heard_shutdone(&mut self, cx: &mut Context<'_>) {
        log::info!("Received shutdown notice from '{}'.", cx.partner_name());
        if !self.is_meant_for_this_run(cx) {
            log::info!("It was said before {} heard of this start: it may be back by now", cx.partner_name());
            return;
        }
        if matches!(self.phase, Phase::Leaving(_)) {
            log::info!("Resource takeover cancelled - shutdown in progress.");
        } else if !self.partner.has_left {
            log::info!("Resources being acquired from {}.", cx.partner_name());
            self.note_move(cx, Cause::Goodbye);
            self.note_decision(cx, Cause::Goodbye);
        }
        self.partner.holds = Holds::NONE;
        self.partner.releasing = Holds::NONE;
        self.partner.is_known = true;
        self.partner.is_stable = true;
        self.partner.has_left = true;
        self.mark_guests(cx);
        self.cancel_handover(cx);
        // The partner leaves as soon as it sees that we have heard it.
        self.wants_extension = true;
    }

    /// Whether what the partner says is said to this run of ours, as far as that can be known. On its way through a slow
    /// line a goodbye may meet a daemon that has been started meanwhile, while the partner has started again as well and
    /// has taken our own last goodbye for true.
    fn is_meant_for_this_run(&self, cx: &Context<'_>) -> bool {
        let Some(peer) = cx.settings.partner.map(|partner| cx.comms.peer(partner)) else { return false };
        peer.last_status.is_some() && (self.is_run_known || !peer.is_nullbeat)
    }

    /// What the partner's preferred groups that run here become when it is gone: guests that go home with it.
    fn mark_guests(&mut self, cx: &Context<'_>) {
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            if group.is_claimed() && !self.is_preferred(cx, group.id()) {
                self.groups[index].is_guest = true;
            }
        }
    }

    pub(super) fn partner_died(&mut self, cx: &mut Context<'_>, was_heard: bool) {
        self.upstream.forget(cx.at.now);
        self.partner_stable_since = None;
        self.conflict.clear();
        if !self.handover.is_none() {
            log::info!("Cancelling pending standby operation");
        }
        self.cancel_handover(cx);
        self.mark_guests(cx);
        self.wants_extension = true;
        if matches!(self.phase, Phase::Leaving(_)) {
            return;
        }
        self.fence_begins(cx);
        let owns_all = self.groups.iter().all(Group::is_claimed);
        let is_fenced = cx.settings.fence.is_configured();
        let gave_up = if is_fenced {
            self.partner.has_left || owns_all
        } else {
            was_heard && (self.partner.has_left || self.partner_holds() == Holds::NONE)
        };
        if is_fenced && !gave_up {
            // What comes of it is said then.
            return;
        }
        let result = if gave_up { StonithResult::Unneeded } else { StonithResult::NotConfigured };
        if gave_up {
            log::info!("Dead node {} gave up resources.", cx.partner_name());
        } else {
            log::warn!("No STONITH device configured.");
            log::warn!("Shared disks are not protected.");
        }
        if let Some(partner) = cx.settings.partner {
            let body = Body::Stonith { node: "", result };
            cx.comms.send_about(cx.settings, cx.at, None, body, (Some(partner), None), cx.outbox);
        }
        if !owns_all && !self.partner.has_left {
            if cx.settings.takeover_policy == TakeoverPolicy::Available || cx.settings.interlock.is_some() {
                log::info!("Resources being acquired from {}.", cx.partner_name());
                self.note_move(cx, Cause::Death);
                self.note_decision(cx, Cause::Death);
            } else {
                log::error!(
                    target: "CRIT",
                    "{} is silent and takeover_policy is safe: nothing is taken over until somebody vouches for its \
                     being off (nullbeat takeover)",
                    cx.partner_name()
                );
            }
        }
    }

    pub(super) fn partner_restarted(&mut self, cx: &mut Context<'_>, was_dead: bool) {
        self.void_confirmation(cx, false);
        let holds = if was_dead { Holds::NONE } else { self.partner_holds() };
        self.partner = Partner { holds, ..Partner::UNKNOWN };
        self.upstream.forget(cx.at.now);
        self.forget_losses(cx);
        (self.extension_seq, self.outdated_seq) = (Seq(0), Seq(0));
        self.partner_stable_since = None;
        self.conflict.clear();
        if !self.is_resumed_with_this_run(cx) {
            self.cancel_handover(cx);
        }
        self.restart_legacy(cx);
        self.partner_is_back(cx);
    }

    pub(super) fn partner_returned(&mut self, cx: &mut Context<'_>) {
        self.void_confirmation(cx, true);
        let has_left = self.partner.has_left;
        self.upstream.forget(cx.at.now);
        self.partner =
            Partner { has_left, holds: self.partner.holds, is_known: self.partner.is_known, ..Partner::UNKNOWN };
        self.restart_legacy(cx);
        self.returned_legacy(cx);
        self.partner_is_back(cx);
    }

    fn partner_is_back(&mut self, cx: &mut Context<'_>) {
        self.wants_extension = true;
        self.raise(cx, Alarm::NeedsOperator, false);
        let runs = |group: &&Group| group.state() == GroupState::Running;
        self.unannounced = self.groups.iter().filter(runs).map(Group::id).collect();
    }

    /// The partner's extension has arrived.
    pub(super) fn partner_told(&mut self, cx: &mut Context<'_>) {
        let raw = cx.settings.partner.and_then(|partner| cx.comms.peer(partner).extension.as_ref());
        self.is_run_known |= raw.is_some_and(|extension| extension.echo_generation == cx.identity.generation);
        let Some(extension) = self.partner_extension(cx) else { return };
        let is_stable = extension.is_stable;
        let is_current = extension.echo_generation == cx.identity.generation;
        let extension_hears = extension.hears_partner;
        self.wants_extension |= extension.is_asking;
        let is_deaf = is_current && !extension_hears;
        if is_current {
            self.partner.is_stable = is_stable;
            self.partner.is_known = true;
        }
        if is_current && is_stable && extension_hears {
            self.partner_settled(cx, self.extension_seq);
        }
        if is_deaf && !self.handover.is_none() {
            log::info!("{} does not hear us: the hand-over is off", cx.partner_name());
            self.cancel_handover(cx);
        }
    }

    /// Keeps the moment from which the partner has been stable.
    pub(super) fn note_partner(&mut self, cx: &mut Context<'_>) {
        let is_settled = self.is_partner_alive(cx)
            && !self.partner.has_left
            && self.partner.is_stable
            && self.partner_status(cx) == Some(NodeStatus::Active);
        if !is_settled {
            self.partner_stable_since = None;
        } else if self.partner_stable_since.is_none() {
            self.partner_stable_since = Some(cx.at.now);
        }
        if self.is_held() || self.partner_stable_since.is_none() {
            self.partner_rests_since = None;
        } else if self.partner_rests_since.is_none() {
            self.partner_rests_since = Some(cx.at.now);
        }
    }

    /// Announces holdings and stability when they differ from what was said last. Hand-overs and shutdown say theirs
    /// at the moments that the protocol gives.
    pub(super) fn say_holds(&mut self, cx: &mut Context<'_>) {
        let is_negotiating = matches!(self.phase, Phase::Waiting | Phase::Starting { .. } | Phase::Leaving(_));
        if is_negotiating || !self.handover.is_none() || !self.has_probed_all() {
            return;
        }
        if self.said != Some((self.wire_holds(), self.is_settled())) {
            self.send_resource(cx, ResourceInfo::None);
        }
    }

    pub(super) fn send_resource(&mut self, cx: &mut Context<'_>, info: ResourceInfo) {
        let (holds, is_stable) = match info {
            ResourceInfo::Shutdown => (Holds::NONE, false),
            ResourceInfo::Standby => (self.wire_holds(), false),
            _ => (self.wire_holds(), self.is_settled()),
        };
        if !cx.takes_part() || !self.speaks_nicely(cx) {
            return;
        }
        cx.send(None, Body::Resource { holds, is_full: true, is_stable: Some(is_stable), info });
        self.said = Some((holds, is_stable));
        self.wants_extension = true;
    }

    /// The two bits of the wire.
    pub(super) fn wire_holds(&self) -> Holds {
        self.wire_side.iter().zip(&self.groups).fold(self.phantom_where_empty(), |holds, (is_local, group)| {
            // Outside of a hand-over the wire has no word for a stop that failed: the side is still held.
            let is_held = group.is_announced() || group.is_left_over() || (self.handover.is_none() && group.is_stuck());
            if !is_held {
                holds
            } else if *is_local {
                holds.union(Holds::LOCAL)
            } else {
                holds.union(Holds::FOREIGN)
            }
        })
    }

    fn phantom_where_empty(&self) -> Holds {
        Holds {
            local: self.phantom.local && !self.wire_side.iter().any(|is_local| *is_local),
            foreign: self.phantom.foreign && self.wire_side.iter().all(|is_local| *is_local),
        }
    }

    /// What was left over counts as probed: it waits for the partner's holdings, and the partner may wait for ours.
    pub(super) fn has_probed_all(&self) -> bool {
        self.groups.iter().all(|group| group.state() != GroupState::Unknown || group.is_left_over())
    }

    /// Whether nothing moves here: what `isstable=1` means (weakness 9: only when the scripts are done).
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Stable && self.handover.is_none() && !self.groups.iter().any(Group::is_busy)
    }

    pub(super) fn cancel_handover(&mut self, cx: &mut Context<'_>) {
        self.handover_lost(cx);
        self.handover = Handover::None;
        self.resumed = None;
    }
}
