//! The core's values in the words of reports.

use crate::core::ids::{CheckId, GroupId, LinkId};
use crate::core::ownership::{FenceStage, Gate, Handover, Phase};
use crate::core::settings::{AutoFailback, TakeoverPolicy};
use crate::core::{Alarm, Cause, FenceStep, InputLine, JobOutcome, LineLevel, Order};

pub(in crate::daemon) const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Startup => "startup",
        Cause::Death => "death",
        Cause::Goodbye => "goodbye",
        Cause::Failback => "failback",
        Cause::Operator => "operator",
        Cause::StartFailure => "start failure",
        Cause::SplitBrain => "split brain",
        Cause::Shutdown => "shutdown",
        Cause::Script => "script",
        Cause::Upstream => "upstream",
        Cause::Health => "health",
    }
}

pub(in crate::daemon) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Starting { .. } => "starting",
        Phase::Settling { .. } => "settling",
        Phase::Stable => "stable",
        Phase::Leaving(_) => "leaving",
    }
}

pub(in crate::daemon) const fn handover(handover: &Handover) -> &'static str {
    match handover {
        Handover::None => "none",
        Handover::Asked(_) => "asked",
        Handover::Releasing(_) => "releasing",
        Handover::Released(_) => "released",
        Handover::Agreed(_) => "agreed",
        Handover::Acquiring(_) => "acquiring",
    }
}

pub(in crate::daemon) const fn auto_failback(mode: AutoFailback) -> &'static str {
    match mode {
        AutoFailback::On => "on",
        AutoFailback::Off => "off",
        AutoFailback::Legacy => "legacy",
    }
}

pub(in crate::daemon) const fn takeover_policy(policy: TakeoverPolicy) -> &'static str {
    match policy {
        TakeoverPolicy::Available => "available",
        TakeoverPolicy::Safe => "safe",
    }
}

pub(in crate::daemon) const fn order(order: Order) -> &'static str {
    match order {
        Order::Start => "start",
        Order::Stop => "stop",
        Order::Restart { .. } => "restart",
        Order::Probe => "status",
        Order::Announce => "announce",
    }
}

pub(in crate::daemon) const fn job_outcome(outcome: JobOutcome) -> &'static str {
    match outcome {
        JobOutcome::Done => "done",
        JobOutcome::Failed => "failed",
        JobOutcome::StopFailed => "stop failed",
        JobOutcome::NoneRunning => "none running",
        JobOutcome::SomeRunning => "some running",
        JobOutcome::AllRunning => "all running",
        JobOutcome::Cancelled => "cancelled",
    }
}

pub(in crate::daemon) const fn fence_stage(stage: FenceStage) -> &'static str {
    match stage {
        FenceStage::Idle => "idle",
        FenceStage::Waiting { .. } => "waiting",
        FenceStage::Shooting { is_cancelled: true, .. } => "breaking off",
        FenceStage::Shooting { .. } => "shooting",
        FenceStage::Leasing { .. } => "leasing",
        FenceStage::Latched => "latched",
    }
}

pub(in crate::daemon) const fn fence_step(step: FenceStep) -> &'static str {
    match step {
        FenceStep::Begun => "begun",
        FenceStep::Confirmed => "confirmed",
        FenceStep::Failed => "failed",
        FenceStep::Cancelled => "cancelled",
        FenceStep::Lied => "lied",
    }
}

pub(in crate::daemon) const fn level(level: LineLevel) -> &'static str {
    match level {
        LineLevel::Active => "active",
        LineLevel::Inactive => "inactive",
        LineLevel::Unknown => "unknown",
    }
}

/// How far the interlock has come.
pub(in crate::daemon) const fn gate(gate: Gate) -> &'static str {
    match gate {
        Gate::Down => "down",
        Gate::Raising { .. } => "raising",
        Gate::Settling { .. } => "settling",
        Gate::Open => "open",
        Gate::BackingOff { .. } => "backing off",
    }
}

/// What an alarm is about.
pub(in crate::daemon) enum Subject {
    Nothing,
    Link(LinkId),
    Group(GroupId),
    Line(InputLine),
    Check(CheckId),
}

/// An alarm's name, what it is about, and a sentence for people.
pub(in crate::daemon) const fn alarm(alarm: Alarm) -> (&'static str, Subject, &'static str) {
    match alarm {
        Alarm::LastLink => ("last_link", Subject::Nothing, "only one link to the partner is left"),
        Alarm::OneWayLink(link) => ("one_way_link", Subject::Link(link), "the partner does not hear us on this link"),
        Alarm::ConfigDiffers => {
            ("config_differs", Subject::Nothing, "the two ha.cf files differ where they must be equal")
        }
        Alarm::ResourcesDiffer => ("resources_differ", Subject::Nothing, "the two haresources files differ"),
        Alarm::SplitBrain(group) => ("split_brain", Subject::Group(group), "both nodes held this group when they met"),
        Alarm::StartFailed(group) => ("start_failed", Subject::Group(group), "this group could not be started"),
        Alarm::StopFailed(group) => {
            ("stop_failed", Subject::Group(group), "this group could not be stopped and may be running here")
        }
        Alarm::Unfenced => {
            ("unfenced", Subject::Nothing, "groups are owned here and nobody knows whether the partner is off")
        }
        Alarm::NeedsOperator => (
            "needs_operator",
            Subject::Nothing,
            "groups stay down until the partner is heard or `nullbeat takeover` vouches for its being off",
        ),
        Alarm::MovesLatched => (
            "moves_latched",
            Subject::Nothing,
            "too many moves within an hour: none by choice until the oldest is an hour old, or `nullbeat resume`",
        ),
        Alarm::Held => ("held", Subject::Nothing, "an operator holds decisions until `nullbeat resume`"),
        Alarm::ServiceDown => (
            "service_down",
            Subject::Nothing,
            "a program of nullbeat's own dies again and again: health checks may say nothing; the log tells why",
        ),
        Alarm::NoGuardian => ("no_guardian", Subject::Nothing, "scripts cannot be run: the guardian does not answer"),
        Alarm::Maintenance => ("maintenance", Subject::Nothing, "the switch on the line `maintenance` holds decisions"),
        Alarm::FencePending => {
            ("fence_pending", Subject::Nothing, "the partner must be fenced before anything of it is taken")
        }
        Alarm::FenceFailed => ("fence_failed", Subject::Nothing, "fencing the partner failed; it is tried again"),
        Alarm::FenceLatched => {
            ("fence_latched", Subject::Nothing, "too many fencings within an hour: none until `nullbeat resume`")
        }
        Alarm::FenceLied => (
            "fence_lied",
            Subject::Nothing,
            "fencing was confirmed, and the partner was heard all the same: check the fence device",
        ),
        Alarm::OwnerLineFailed => {
            ("owner_line_failed", Subject::Nothing, "the line `owner` cannot be set: nothing is started here")
        }
        Alarm::Interlocked => {
            ("interlocked", Subject::Nothing, "the line `peer-owner` forbids to start what nobody seems to run")
        }
        Alarm::LineStuck(line) => {
            ("line_stuck", Subject::Line(line), "this line contradicts the partner's beats: it is not believed")
        }
        Alarm::CheckFailed(check) => ("check_failed", Subject::Check(check), "this health check fails"),
        Alarm::Unhealthy(group) => {
            ("unhealthy", Subject::Group(group), "this group fails its health checks, restarted or not")
        }
        Alarm::MessagesLost => {
            ("messages_lost", Subject::Nothing, "messages between the nodes were lost and cannot be had again")
        }
    }
}
