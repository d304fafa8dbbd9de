//! Each link of each peer, for itself: up with the first packet, dead after the peer's own dead time without one, or its share
//! of that on a link with a shorter keepalive.

use super::identity::name_of;
use super::{Comms, Outbox, put};
use crate::core::ids::{LinkId, LinkSet, NodeId, Seq};
use crate::core::settings::Settings;
use crate::core::time::{Duration, Instant, Stamp};
use crate::core::{Action, Event};

impl Comms {
    /// The device behind a link works or does not. A link without a device is not sent on, and is dead at once for
    /// every peer heard on it.
    pub fn link_device(&mut self, settings: &Settings, at: Stamp, link: LinkId, is_open: bool) {
        if usize::from(link.0) >= settings.links.len() {
            return;
        }
        if is_open {
            self.open_links.insert(link);
            return;
        }
        let had_any = !self.open_links.is_empty();
        self.open_links.remove(link);
        self.device_lost_at = at.now;
        if had_any && self.open_links.is_empty() {
            log::error!(target: "CRIT", "send_to_all_media: No working comm channels to write to.");
        }
    }

    /// The links whose devices work: every message goes out on all of them.
    pub const fn open_links(&self) -> LinkSet {
        self.open_links
    }

    /// One packet of `node` came in on `link`, and it tells of this moment. `is_copy`: another link had brought it first.
    pub(super) fn refresh_link(
        &mut self,
        settings: &Settings,
        now: Instant,
        (node, link): (NodeId, LinkId),
        is_copy: bool,
        outbox: &mut Outbox,
    ) {
        // Whatever was said about the device: it has just read a packet.
        self.open_links.insert(link);
        let health = &mut self.state_mut(node).peer.links[usize::from(link.0)];
        health.gap = health.last_heard.map_or(Duration::ZERO, |last| now.since(last));
        health.last_heard = Some(now);
        health.received += 1;
        health.duplicates += u64::from(is_copy);
        if health.is_up {
            return;
        }
        health.is_up = true;
        self.state_mut(node).links_up.insert(link);
        log::info!("Link {}:{} up.", name_of(settings, node), link_name(settings, link));
        put(outbox, Action::Event(Event::Link { node, link, is_up: true }));
        let interval = self.beat_interval(now);
        self.beats.quicken(now + interval);
    }

    /// Whether `seq` is newer than all that `node` sent on `link` before; if so it is remembered. Only such a packet
    /// shows that the link works: an older one is a repetition.
    pub(super) fn is_news_on_link(&mut self, node: NodeId, link: LinkId, seq: Seq) -> bool {
        let newest = &mut self.state_mut(node).link_seq[usize::from(link.0)];
        let is_news = seq > *newest;
        *newest = (*newest).max(seq);
        is_news
    }

    /// When the next link of `node` dies if nothing comes, as far as that is before `limit`.
    pub(super) fn link_deadline(&self, node: NodeId, limit: Instant) -> Option<Instant> {
        let least = self.least_patience(node);
        let last_heard = |link: LinkId| self.peer(node).links[usize::from(link.0)].last_heard;
        let may_be_before = |heard: &Instant| *heard + least < limit;
        let deadline =
            |link| last_heard(link).filter(may_be_before).map(|heard| heard + self.link_patience(node, link));
        self.links_up(node).iter().filter_map(deadline).min()
    }

    /// When a link of `node` dies because its device is gone: as soon as it is.
    pub(super) fn device_deadline(&self, node: NodeId) -> Option<Instant> {
        let is_stranded = !(self.links_up(node) - self.open_links).is_empty();
        is_stranded.then_some(self.device_lost_at)
    }

    /// Declares dead what has been silent too long. Whoever calls this may judge.
    pub(super) fn judge_links(&mut self, settings: &Settings, now: Instant, outbox: &mut Outbox) {
        for node in self.others() {
            let least = self.least_patience(node);
            for link in self.links_up(node).iter() {
                let heard = self.peer(node).links[usize::from(link.0)].last_heard;
                let is_silent = |heard| now >= heard + least && now >= heard + self.link_patience(node, link);
                if heard.is_none_or(is_silent) {
                    self.bury_link(settings, node, link, outbox);
                }
            }
        }
    }

    /// Declares dead what nobody can be heard on. Needs no judgement: the device is gone.
    pub(super) fn bury_links_without_device(&mut self, settings: &Settings, outbox: &mut Outbox) {
        for node in self.others() {
            for link in (self.links_up(node) - self.open_links).iter() {
                self.bury_link(settings, node, link, outbox);
            }
        }
    }

    pub(super) fn bury_link(&mut self, settings: &Settings, node: NodeId, link: LinkId, outbox: &mut Outbox) {
        let health = &mut self.state_mut(node).peer.links[usize::from(link.0)];
        health.is_up = false;
        health.deaths += 1;
        self.state_mut(node).links_up.remove(link);
        log::info!("Link {}:{} dead.", name_of(settings, node), link_name(settings, link));
        put(outbox, Action::Event(Event::Link { node, link, is_up: false }));
    }
}

fn link_name(settings: &Settings, link: LinkId) -> &str {
    &settings.links[usize::from(link.0)]
}
