//! Sense across fence lines, and the finished list.

use std::time::Duration;

use super::super::draft::{Draft, Given};
use super::super::finding::At;
use super::super::gpio::{LineUse, OutputLine};
use super::super::spoken;
use super::{
    DEFAULT_PER_HOUR, DEFAULT_SETTLE, DEFAULT_TIMEOUT, DraftFence, FenceConfig, FenceHow, FenceLine, FenceMethod,
    NULL_TIMEOUT,
};
use crate::core::InputLine;
use crate::core::limits::FENCE_METHODS_MAX;

/// Checks that need ha.cf alone.
pub(in super::super) fn check(draft: &mut Draft<'_>) {
    let fences = ordered(draft);
    let Some(first) = fences.first().map(|(_, at)| *at) else {
        check_without(draft);
        return;
    };
    if let Some((_, at)) = fences.get(FENCE_METHODS_MAX) {
        let found = format!("{} ways to fence", fences.len());
        draft.findings.error(*at, found).expected(format!("at most {FENCE_METHODS_MAX}"));
    }
    if let Some(("available", at)) = draft.takeover_policy {
        let finding = draft.findings.warning(at, "`takeover_policy available` beside a fence");
        finding.expected("`takeover_policy safe`, or no line");
        finding.hint("it has no effect: with a fence a takeover from a silent peer waits for the fence's confirmation");
    }
    for (method, at) in &fences {
        warn_of_price(draft, method, *at);
        look_for_line(draft, method, *at);
    }
    let is_manual = |method: &FenceMethod| method.how == FenceHow::Meatware;
    if fences.iter().all(|(method, _)| is_manual(method)) {
        let finding = draft.findings.warning(first, "`meatware` alone");
        finding.expected("a device before it");
        finding.hint("nothing is taken over from a silent peer until a person says `nullbeat fence --confirm NODE`");
    } else if let Some(place) = fences.iter().position(|(method, _)| is_manual(method))
        && place + 1 < fences.len()
    {
        let found = format!("`{}` behind `meatware`", fences[place + 1].0.name);
        let finding = draft.findings.warning(fences[place + 1].1, found);
        finding.expected("`meatware` last").hint("what waits for a person comes when nothing else is left to try");
    }
    if draft.nodes.len() > 2 {
        let finding = draft.findings.note(first, "a fence in a cluster of more than two nodes");
        finding.hint("only the partner, with which groups are exchanged, is ever fenced");
    }
}

/// What cannot be done without a fence.
fn check_without(draft: &mut Draft<'_>) {
    let settings = [at(&draft.fence_settle), at(&draft.fence_timeout), at(&draft.fences_per_hour)];
    if let Some(at) = settings.into_iter().flatten().next()
        && !draft.attempted.contains("fence")
    {
        draft.findings.warning(at, "a setting for fences").expected("a `fence` line").hint("nothing is fenced");
    }
}

fn at<T>(given: &Given<T>) -> Option<At> {
    given.as_ref().map(|(_, at)| *at)
}

/// A line that is to be driven must be wired, and only a sense line proves that it worked.
fn look_for_line(draft: &mut Draft<'_>, method: &FenceMethod, at: At) {
    let FenceHow::Gpio { line, .. } = method.how else { return };
    let output = match line {
        FenceLine::Reset => OutputLine::FenceReset,
        FenceLine::Power => OutputLine::FencePower,
    };
    let has = |usage: LineUse| draft.gpio.iter().any(|known| known.line.usage == usage);
    if !has(LineUse::Output(output)) {
        let found = format!("`fence gpio {}` without a line `{}`", line.word(), output.name());
        let expected = format!("`gpio {} CHIP OFFSET …`, here or in the board file", output.name());
        draft.findings.refuse(at, found, expected);
    } else if !has(LineUse::Input(InputLine::PeerPower)) {
        let finding = draft.findings.note(at, format!("`fence gpio {}` without a line `peer-power`", line.word()));
        finding.hint("nothing tells whether it worked: the peer counts as off when the line has been driven");
    }
}

/// What a method costs or does not prove.
fn warn_of_price(draft: &mut Draft<'_>, method: &FenceMethod, at: At) {
    if let FenceHow::WatchdogLease(lease) = method.how {
        let found = format!("`watchdog-lease` of {}", spoken(lease));
        let finding = draft.findings.warning(at, found);
        finding.hint(format!(
            "its price: a dead standby or cut cables reset the owner, {} after the last beat that was acknowledged",
            spoken(lease)
        ));
        let keepalive = draft.keepalive.map_or(Duration::from_secs(1), |(time, _)| time);
        if lease < keepalive * 4 {
            let found = format!("`watchdog-lease` of {} with a keepalive of {}", spoken(lease), spoken(keepalive));
            let finding = draft.findings.error(at, found);
            finding.expected(format!("at least four keepalives, that is {}", spoken(keepalive * 4)));
        }
        if !draft.attempted.contains("watchdog") {
            let finding = draft.findings.error(at, "`watchdog-lease` without a watchdog");
            finding.expected("a `watchdog` line").hint("only an armed watchdog can reset this board");
        }
    }
}

/// All methods in the order of their lines, with the limits that depend on other directives.
fn ordered(draft: &Draft<'_>) -> Vec<(FenceMethod, At)> {
    // The device for tests answers at once, and nobody is to wait for its turn as long as for a real one's.
    let is_null = |fence: &DraftFence| matches!(&fence.method.how, FenceHow::Stonith { kind, .. } if kind == "null");
    let timeout = |fence: &DraftFence| match draft.fence_timeout {
        Some((timeout, _)) => timeout,
        None if is_null(fence) => NULL_TIMEOUT,
        None => DEFAULT_TIMEOUT,
    };
    let mut all: Vec<&DraftFence> = draft.fences.iter().chain(&draft.classic_fence).collect();
    crate::order::sort(&mut all, |a, b| a.at < b.at);
    let finish = |fence: &DraftFence| FenceMethod {
        limit: fence.limit.unwrap_or_else(|| timeout(fence)),
        ..fence.method.clone()
    };
    all.into_iter().map(|fence| (finish(fence), fence.at)).collect()
}

/// The finished list.
pub(in super::super) fn build(draft: &Draft<'_>) -> FenceConfig {
    let per_hour = draft.fences_per_hour.map_or(DEFAULT_PER_HOUR, |(count, _)| count);
    FenceConfig {
        methods: ordered(draft).into_iter().map(|(method, _)| method).collect(),
        settle: draft.fence_settle.map_or(DEFAULT_SETTLE, |(settle, _)| settle),
        per_hour: u8::try_from(per_hour).unwrap_or(u8::MAX),
    }
}
