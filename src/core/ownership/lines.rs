//! The lines between the boards: what they say, and whether it can be believed.
//!
//! A line is compared with the beats while these come: `peer-owner` with what the partner says of its own line, and
//! `peer-power` with its being heard at all, for whoever beats has power. One that contradicts them for long is named
//! ([`Alarm::LineStuck`]) and not believed until they agree again, however silent the partner is by then.

use super::{Context, Ownership};
use crate::core::time::{Duration, Instant};
use crate::core::{Alarm, InputLine, LineLevel};

/// What is read and set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    levels: [LineLevel; InputLine::ALL.len()],
    owner: LineLevel,
    /// Since when a line contradicts the beats.
    doubtful_since: [Option<Instant>; InputLine::ALL.len()],
}

impl Lines {
    /// What is read from a line.
    pub const fn level(&self, line: InputLine) -> LineLevel {
        self.levels[line as usize]
    }

    /// The own line `owner`, as it was set last; unknown before, and after a failure.
    pub const fn owner(&self) -> LineLevel {
        self.owner
    }

    /// Whether that changes anything.
    pub(super) fn set(&mut self, line: InputLine, level: LineLevel) -> bool {
        core::mem::replace(&mut self.levels[line as usize], level) != level
    }

    pub(super) const fn set_owner(&mut self, is_owner: bool, is_ok: bool) {
        self.owner = match (is_ok, is_owner) {
            (false, _) => LineLevel::Unknown,
            (true, true) => LineLevel::Active,
            (true, false) => LineLevel::Inactive,
        };
    }
}

impl Ownership {
    /// The lines between the boards.
    pub const fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Whether what the line says is not to be believed.
    pub(super) fn is_stuck_line(&self, line: InputLine) -> bool {
        self.alarms.contains(Alarm::LineStuck(line))
    }

    /// What an earlier engine did not believe: nothing has been heard since that could clear it. Its files may have had lines
    /// that these do not have.
    pub(super) fn carry_doubts(&mut self, cx: &mut Context<'_>, stuck: u8) {
        for line in InputLine::ALL.into_iter().filter(|line| stuck & 1 << *line as u8 != 0) {
            if line != InputLine::PeerOwner || cx.settings.interlock.is_some() {
                self.raise(cx, Alarm::LineStuck(line), true);
            }
        }
    }

    /// Compares the lines with the partner's beats.
    pub(super) fn note_contradictions(&mut self, cx: &mut Context<'_>) {
        let told = self.partner_extension(cx).map(|extension| extension.owner_line);
        let told = told.filter(|told| *told != LineLevel::Unknown && cx.settings.interlock.is_some());
        self.compare(cx, InputLine::PeerOwner, told);
        let is_there = self.lines.level(InputLine::PeerPower) != LineLevel::Unknown;
        let is_doubted = self.is_stuck_line(InputLine::PeerPower);
        self.compare(cx, InputLine::PeerPower, (is_there || is_doubted).then_some(LineLevel::Active));
    }

    /// `told`: what the line should say, if the beats tell.
    fn compare(&mut self, cx: &mut Context<'_>, line: InputLine, told: Option<LineLevel>) {
        let level = self.lines.level(line);
        let since = &mut self.lines.doubtful_since[line as usize];
        let Some(told) = told.filter(|_| cx.settings.partner.is_some_and(|partner| cx.comms.is_alive(partner))) else {
            // It stays as it was: a line that could not be believed before the partner fell silent cannot be now.
            *since = None;
            return;
        };
        if level == told {
            *since = None;
            self.raise(cx, Alarm::LineStuck(line), false);
            return;
        }
        let since = *since.get_or_insert(cx.at.now);
        // Who was late itself may be about to find that the partner is silent.
        if cx.at.now >= since + patience(cx) && cx.comms.may_judge(cx.at.now) {
            // One that is gone from the files, or cannot be read, is no permission: there is nothing to doubt.
            let is_gone = line == InputLine::PeerPower && level == LineLevel::Unknown;
            self.raise(cx, Alarm::LineStuck(line), !is_gone);
        }
    }

    /// When a line that contradicts the beats is named.
    pub(super) fn doubts_deadline(&self, cx: &Context<'_>) -> Option<Instant> {
        self.lines.doubtful_since.iter().flatten().min().map(|since| *since + patience(cx))
    }
}

/// How long line and beats may contradict each other: what the partner tells may be ten beats old, and one that has lost
/// its power counts as alive for the dead time that it has announced.
fn patience(cx: &Context<'_>) -> Duration {
    let settle = cx.settings.interlock.map_or(Duration::ZERO, |interlock| interlock.settle);
    let theirs = cx.settings.partner.map_or(Duration::ZERO, |partner| cx.comms.peer(partner).deadtime);
    cx.settings.deadtime.max(theirs) + settle + cx.settings.keepalive.saturating_mul(11)
}
