//! The report about now.

use crate::api::membership::message::StateName;
use crate::api::membership::service::Service;
use crate::config::{LineUse, OutputLine};
use crate::core::ids::{CheckId, GroupId, LinkId, NodeId, PingId};
use crate::core::message::{Extension, NodeStatus};
use crate::core::ownership::FenceStage;
use crate::core::{Alarm, Health};
use crate::daemon::kicker::Withheld;
use crate::wire::compact;
use crate::wire::compact::Speech;
use crate::wire::heartbeat::Reject;

use super::cables;
use super::words;
use super::{Facts, Lines, micros, millis};

pub(super) fn write(facts: &Facts<'_>, out: &mut Lines<'_>) {
    node(facts, out);
    settings(facts, out);
    groups(facts, out);
    for id in peers(facts) {
        peer(facts, id, out);
    }
    pings(facts, out);
    checks(facts, out);
    membership(facts, out);
    clients(facts, out);
    for id in peers(facts) {
        links(facts, id, out);
    }
    media(facts, out);
    cables::write(facts, out);
    watchdogs(facts, out);
    for alarm in facts.node.ownership().alarms().iter() {
        write_alarm(facts, alarm, out);
    }
    fences(facts, out);
    lines(facts, out);
    last_move(facts, out);
    counters(facts, out);
}

/// Each fence line, and an alarm for each whose device does not answer.
fn fences(facts: &Facts<'_>, out: &mut Lines<'_>) {
    for method in facts.fences.silent() {
        let name = facts.names.fences.get(method).map(|line| line.name.as_str());
        let sentence = "this fence device did not answer when it was asked";
        out.begin("alarm").field("name", "fence_device").maybe("subject", name).field("text", sentence).end();
    }
    if !facts.names.fences.is_empty() {
        fencing(facts, out);
    }
    for (place, line) in facts.names.fences.iter().enumerate() {
        let page = facts.fences.page(place);
        let (is_ok, checked) = page.checked.unzip();
        let (step, last) = page.last.unzip();
        out.begin("fence").field("place", place).field("name", &line.name).field("kind", line.how.kind());
        if !line.limit.is_zero() {
            out.field("limit_ms", millis(line.limit));
        }
        if let Some(is_ok) = is_ok {
            out.flag("is_answering", is_ok);
        }
        out.maybe("checked_ms", checked.map(|at| facts.age_ms(at)))
            .maybe("last", step.map(words::fence_step))
            .maybe("last_ms", last.map(|at| facts.age_ms(at)))
            .maybe("took_ms", page.took_ms)
            .end();
    }
}

/// Each GPIO line. Of the outputs the engine knows `owner`; the others are the guardian's own affair.
fn lines(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let known = facts.node.ownership().lines();
    for line in facts.gpio {
        let level = match line.usage {
            LineUse::Input(usage) => Some(known.level(usage)),
            LineUse::Output(OutputLine::Owner) => Some(known.owner()),
            LineUse::Output(_) => None,
        };
        out.begin("line").field("name", line.usage.name()).field("line", &line.place);
        match line.usage {
            LineUse::Input(usage) => {
                let is_stuck = facts.node.ownership().alarms().contains(Alarm::LineStuck(usage));
                out.field("direction", "in").maybe("level", level.map(words::level)).flag("is_believed", !is_stuck);
            }
            LineUse::Output(_) => {
                out.field("direction", "out").maybe("level", level.map(words::level));
            }
        }
        out.end();
    }
}

/// What is under way against the partner.
fn fencing(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let fence = facts.node.ownership().fence();
    let (method, next) = match fence.stage() {
        FenceStage::Idle | FenceStage::Latched => (None, None),
        FenceStage::Waiting { method, until: at } | FenceStage::Leasing { method, at } => (Some(method), Some(at)),
        FenceStage::Shooting { method, .. } => (Some(method), None),
    };
    out.begin("fencing")
        .field("stage", words::fence_stage(fence.stage()))
        .maybe("method", method)
        .maybe("next_ms", next.map(|at| millis(at.since(facts.at.now))))
        .maybe("since_ms", fence.need().map(|need| facts.age_ms(need.since)))
        .maybe("tries", fence.need().map(|need| need.tries))
        .flag("needs_person", fence.need().is_some_and(|need| need.needs_person))
        .field("in_hour", fence.rounds_in_hour(facts.at.now))
        .end();
}

/// Every node but ours.
fn peers(facts: &Facts<'_>) -> impl Iterator<Item = NodeId> {
    let settings = facts.node.settings();
    let (local, members) = (settings.local, facts.node.comms().members());
    members.iter().filter(move |id| *id != local)
}

/// What a dead partner had told is not how it is.
fn partner_extension<'a>(facts: &Facts<'a>) -> Option<&'a Extension> {
    let peer = facts.node.comms().peer(facts.node.settings().partner?);
    peer.extension.as_ref().filter(|_| peer.status != NodeStatus::Dead)
}

fn node(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let (settings, identity) = (facts.node.settings(), facts.node.identity());
    let (comms, ownership) = (facts.node.comms(), facts.node.ownership());
    let is_settled = ownership.is_settled();
    out.begin("node")
        .field("place", settings.local.0)
        .field("name", facts.names.node(settings.local))
        .field("status", comms.status().word())
        .field("phase", words::phase(ownership.phase()))
        .field("handover", words::handover(ownership.handover()))
        .field("holds", if is_settled { ownership.holds().word() } else { "transition" })
        .flag("is_settled", is_settled)
        .flag("is_held", ownership.is_held())
        .field("generation", identity.generation.0)
        .field("uuid", Hex(&identity.uuid.0))
        .field("program", env!("CARGO_PKG_VERSION"))
        .field("engine_pid", std::process::id())
        .field("guardian_pid", std::os::unix::process::parent_id())
        .field("uptime_ms", facts.age_ms(facts.started))
        .field("signing_key", comms.signing_key(settings).0)
        .field("config_digest", Digest(settings.config_digest))
        .field("resources_digest", Digest(settings.resources_digest))
        .flag("is_filtered", facts.confinement.is_filtered)
        .flag("is_landlocked", facts.confinement.is_landlocked)
        .field("refused_calls", facts.confinement.refused_calls)
        .end();
}

fn settings(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let settings = facts.node.settings();
    out.begin("settings")
        .field("keepalive_ms", millis(settings.keepalive))
        .field("warntime_ms", millis(settings.warntime))
        .field("deadtime_ms", millis(settings.deadtime))
        .field("initdead_ms", millis(settings.initdead))
        .field("announced_deadtime_ms", millis(facts.node.comms().announced_deadtime()))
        .field("auto_failback", words::auto_failback(settings.auto_failback))
        .field("takeover_policy", words::takeover_policy(settings.takeover_policy))
        .flag("has_resources", settings.has_resources)
        .end();
}

fn groups(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let settings = facts.node.settings();
    let extension = partner_extension(facts);
    for group in facts.node.ownership().groups() {
        let place = usize::from(group.id().0);
        let preferred = settings.groups.get(place).map_or("", |group| facts.names.node(group.preferred));
        let known = extension.filter(|extension| place < usize::from(extension.group_count));
        out.begin("group")
            .field("key", facts.names.key(group.id()))
            .field("preferred", preferred)
            .field("state", group.state().name())
            .field("since_ms", facts.age_ms(group.since()))
            .field("cause", words::cause(group.cause()))
            .flag("is_claimed", group.is_claimed())
            .maybe("retry_in_ms", group.retry_at().map(|at| millis(at.since(facts.at.now))))
            .maybe("partner_state", known.and_then(|known| known.groups.get(place)).map(|state| state.name()))
            .end();
    }
}

fn peer(facts: &Facts<'_>, id: NodeId, out: &mut Lines<'_>) {
    let peer = facts.node.comms().peer(id);
    let extension = peer.extension.as_ref();
    let is_partner = facts.node.settings().partner == Some(id);
    let program = match (peer.last_status, extension) {
        (None, _) => None,
        (Some(_), None) => Some("heartbeat"),
        (Some(_), Some(_)) => Some("nullbeat"),
    };
    out.begin("peer")
        .field("place", id.0)
        .field("name", facts.names.node(id))
        .field("status", peer.status.word())
        .flag("is_partner", is_partner)
        .maybe("program", program)
        .maybe("generation", peer.last_status.map(|_| peer.generation.0))
        .maybe("heard_ms", peer.last_status.map(|then| facts.age_ms(then)))
        .field("deadtime_ms", millis(peer.deadtime));
    if let Some(extension) = extension.filter(|_| peer.status != NodeStatus::Dead) {
        out.flag("hears_us", extension.hears_partner)
            .flag("is_settled", extension.is_stable)
            .flag("is_held", extension.is_held);
    }
    if is_partner && peer.status != NodeStatus::Dead {
        out.field("holds", facts.node.ownership().partner_announced().word());
    }
    out.maybe("config_digest", extension.map(|extension| Digest(extension.config_digest)))
        .maybe("resources_digest", extension.map(|extension| Digest(extension.resources_digest)))
        .end();
}

/// Ping nodes, and what is made of them. Their places are behind those of the nodes.
fn pings(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let settings = facts.node.settings();
    for (index, name) in settings.upstream.ping_nodes.iter().enumerate() {
        let ping = PingId(u8::try_from(index).unwrap_or(u8::MAX));
        let Some(node) = facts.node.comms().ping_node(ping) else { continue };
        out.begin("ping")
            .field("place", settings.nodes.len() + index)
            .field("name", name)
            .field("status", node.status.word())
            .maybe("heard_ms", node.last_heard.map(|then| facts.age_ms(then)))
            .field("answers", node.answers)
            .field("deaths", node.deaths)
            .end();
    }
    if !settings.upstream.ping_nodes.is_empty() {
        out.begin("upstream")
            .flag("is_compared", settings.upstream.is_compared())
            .maybe("here", facts.node.comms().pings_alive())
            .maybe("partner", facts.node.ownership().partner_pings())
            .field("holdoff_ms", millis(settings.upstream.holdoff))
            .end();
    }
}

/// Health checks, and how both nodes stand.
fn checks(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let (settings, ownership) = (facts.node.settings(), facts.node.ownership());
    for (check, line) in (0..).map(CheckId).zip(&settings.health.checks) {
        out.begin("check")
            .field("name", &line.name)
            .maybe("group", line.group.map(|group| facts.names.key(group)))
            .field("health", ownership.check_health(check).name())
            .maybe("restarts", line.group.map(|group| ownership.restarts(group)))
            .maybe("restarts_max", line.group.map(|_| line.restarts))
            .end();
    }
    if settings.health.checks.is_empty() {
        return;
    }
    let count = |wanted: Health| {
        let of_node = (0..).map(CheckId).zip(&settings.health.checks).filter(|(_, check)| check.group.is_none());
        of_node.filter(|(id, _)| ownership.check_health(*id) == wanted).count()
    };
    let partner = partner_extension(facts).and_then(|extension| extension.health);
    out.begin("health")
        .field("failing", count(Health::Failed))
        .field("unknown", count(Health::Unknown))
        .maybe("partner_failing", partner.map(|partner| partner.failing))
        .maybe("partner_unknown", partner.map(|partner| partner.unknown))
        .field("holdoff_ms", millis(settings.health.holdoff))
        .end();
}

/// The built-in membership service, and the members as programs are told of them.
fn membership(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let Some(membership) = facts.membership else { return };
    let view = membership.service.and_then(Service::view);
    out.begin("membership")
        .field("state", membership.service.map_or(StateName::None, Service::state).word())
        .maybe("instance", view.map(|view| view.instance))
        .maybe("has_quorum", view.map(|view| u8::from(view.has_quorum)))
        .field("programs", membership.programs)
        .end();
    if let Some((service, view)) = membership.service.zip(view) {
        for (member, born_on) in view.by_age() {
            let name = service.local().name(member);
            out.begin("member").field("id", member.0).field("name", name).field("born_on", born_on).end();
        }
    }
}

/// The socket of Heartbeat's clients, and who is signed on.
fn clients(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let Some(server) = facts.clients else { return };
    let counters = server.counters();
    out.begin("client_socket")
        .field("connected", server.connected())
        .field("signed_on", server.clients().count())
        .field("queue_max", counters.queue_max)
        .field("accepted", counters.accepted)
        .field("granted", counters.signed_on)
        .field("refused", counters.refused)
        .field("crowded", counters.crowded)
        .field("garbage", counters.garbage)
        .field("unread", counters.unread)
        .field("relayed", counters.relayed)
        .field("too_long", counters.too_long)
        .field("unfit", counters.unfit)
        .field("unknown_node", counters.unknown_node)
        .end();
    for client in server.clients() {
        out.begin("client")
            .field("name", client.name)
            .field("pid", client.pid)
            .field("uid", client.uid)
            .field("queue", client.queue)
            .field("queue_max", client.queue_max)
            .end();
    }
}

/// Each of our links as far as it leads to one peer.
fn links(facts: &Facts<'_>, id: NodeId, out: &mut Lines<'_>) {
    let peer = facts.node.comms().peer(id);
    // What a peer says about its links concerns us only if we are the one it exchanges groups with.
    let echo = peer.extension.as_ref().filter(|_| facts.node.settings().partner == Some(id));
    for (place, health) in peer.links.iter().enumerate().take(facts.node.settings().links.len()) {
        let echo = echo.and_then(|echo| echo.links[..usize::from(echo.link_count).min(echo.links.len())].get(place));
        let link = LinkId(u8::try_from(place).unwrap_or(u8::MAX));
        out.begin("link")
            .field("name", facts.names.link(link))
            .field("peer", facts.names.node(id))
            .flag("is_up", health.is_up)
            .maybe("heard_ms", health.last_heard.map(|then| facts.age_ms(then)))
            .maybe("peer_heard_ms", echo.map(|echo| echo.age_ms).filter(|age| *age != u32::MAX))
            .field("received", health.received)
            .field("duplicates", health.duplicates)
            .field("deaths", health.deaths)
            .field("keepalive_ms", millis(facts.node.settings().pace(link).keepalive))
            .maybe("format", facts.links.speech(link, facts.at.now).map(Speech::word))
            .end();
    }
}

/// Each of our links as a device, whatever it leads to; and the reasons for which packets were refused there.
fn media(facts: &Facts<'_>, out: &mut Lines<'_>) {
    for (_, slot) in facts.links.iter() {
        let traffic = slot.traffic();
        out.begin("medium")
            .field("name", slot.name())
            .flag("is_open", slot.is_open())
            .field("sent", traffic.sent)
            .field("unsent", traffic.dropped)
            .field("losses", traffic.losses)
            .field("received", traffic.received)
            .field("noise_bytes", traffic.stream.garbage_bytes)
            .field("torn", traffic.stream.torn)
            .field("oversize", traffic.stream.oversize)
            .end();
    }
    for (_, slot) in facts.links.iter() {
        let counts = slot.traffic().rejects;
        for (reason, count) in Reject::NAMES.iter().zip(counts).filter(|(_, count)| *count > 0) {
            out.begin("reject").field("link", slot.name()).field("reason", reason).field("count", count).end();
        }
        let frames = compact::Reject::NAMES.iter().zip(slot.refused_frames().into_iter().flatten());
        for (reason, count) in frames.filter(|(_, count)| **count > 0) {
            let reason = format_args!("compact_{reason}");
            out.begin("reject").field("link", slot.name()).field("reason", reason).field("count", count).end();
        }
    }
}

fn watchdogs(facts: &Facts<'_>, out: &mut Lines<'_>) {
    for watchdog in facts.kicker.watchdogs() {
        let armed = &watchdog.held.armed;
        out.begin("watchdog")
            .field("device", watchdog.held.path.display())
            .field("identity", &armed.identity)
            .field("timeout_ms", millis(watchdog.held.timeout()))
            .maybe("kicked_ms", watchdog.kicked_at.map(|at| facts.age_ms(at)))
            .maybe("withheld", facts.kicker.withheld().map(Withheld::word))
            .field("failures", watchdog.failures)
            .field("reset_cause", armed.cause.word())
            .flag("is_nowayout", watchdog.held.is_nowayout)
            .end();
    }
}

fn write_alarm(facts: &Facts<'_>, alarm: Alarm, out: &mut Lines<'_>) {
    let (name, subject, text) = words::alarm(alarm);
    out.begin("alarm").field("name", name).maybe("subject", facts.names.subject(&subject)).field("text", text).end();
}

fn last_move(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let Some(last) = facts.last_move else { return };
    let total = last
        .last_end
        .filter(|_| last.running == 0)
        .map(|end| last.detect.unwrap_or_default() + last.decide + end.since(last.at.now));
    out.begin("move")
        .field("cause", words::cause(last.cause))
        .field("age_ms", facts.age_ms(last.at.now))
        .field("wall", last.at.wall)
        .maybe("detect_us", last.detect.map(micros))
        .field("decide_us", micros(last.decide))
        .maybe("total_us", total.map(micros))
        .field("running", last.running)
        .field("failed", last.failed)
        .field("more_scripts", last.more_scripts)
        .end();
    for script in &last.scripts {
        out.begin("script")
            .field("group", facts.names.key(GroupId(script.group.0)))
            .field("resource", facts.names.resource(script.group, script.resource))
            .field("us", script.micros)
            .end();
    }
}

fn counters(facts: &Facts<'_>, out: &mut Lines<'_>) {
    let core = facts.node.comms().counters();
    let control = facts.control;
    let all = [
        ("unknown_node", core.unknown_node),
        ("replays", core.replays),
        ("stale", core.stale),
        ("bad_seq", core.bad_seq),
        ("own", core.own),
        ("impostors", core.impostors),
        ("not_for_us", core.not_for_us),
        ("lost", core.lost),
        ("irretrievable", core.irretrievable),
        ("rexmit_requested", core.rexmit_requested),
        ("rexmit_sent", core.rexmit_sent),
        ("rexmit_refused", core.rexmit_refused),
        ("late", core.late),
        ("late_max_ms", u64::from(core.late_max_ms)),
        ("control_accepted", control.accepted),
        ("control_crowded", control.crowded),
        ("control_denied", control.denied),
        ("control_garbage", control.garbage),
        ("control_idle", control.idle),
        ("control_unread", control.unread),
        ("fifo_messages", facts.fifo.messages.into()),
        ("fifo_garbage_bytes", facts.fifo.garbage_bytes.into()),
        ("fifo_torn", facts.fifo.torn.into()),
        ("fifo_oversize", facts.fifo.oversize.into()),
    ];
    for (name, value) in all {
        out.begin("counter").field("name", name).field("value", value).end();
    }
}

struct Digest(u32);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

struct Hex<'a>(&'a [u8; 16]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
