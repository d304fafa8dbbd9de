//! What the engine knows of each fence line beyond the core's decision: whether its device answers, how its last shot
//! went.

use crate::core::FenceStep;
use crate::core::limits::FENCE_METHODS_MAX;
use crate::core::time::Instant;

/// One fence line.
#[derive(Debug, Clone, Copy, Default)]
pub struct FencePage {
    /// Whether the device answered when it was asked last, and when that was.
    pub checked: Option<(bool, Instant)>,
    /// What happened to its last shot, and when.
    pub last: Option<(FenceStep, Instant)>,
    /// What the last shot that has ended took, milliseconds.
    pub took_ms: Option<u32>,
}

/// All of them, in the order of the files.
#[derive(Debug, Default)]
pub struct FenceBook {
    pages: [FencePage; FENCE_METHODS_MAX],
    /// The line of the shot under way.
    current: Option<u8>,
}

impl FenceBook {
    /// The page of a line.
    pub fn page(&self, method: usize) -> FencePage {
        self.pages.get(method).copied().unwrap_or_default()
    }

    /// Lines whose device did not answer.
    pub fn silent(&self) -> impl Iterator<Item = usize> {
        let is_silent = |page: &FencePage| matches!(page.checked, Some((false, _)));
        self.pages.iter().enumerate().filter(move |(_, page)| is_silent(page)).map(|(method, _)| method)
    }

    /// A device was asked whether it answers.
    pub fn note_check(&mut self, now: Instant, method: u8, is_ok: bool) {
        if let Some(page) = self.pages.get_mut(usize::from(method)) {
            page.checked = Some((is_ok, now));
        }
    }

    /// The guardian was asked for a shot.
    pub fn note_request(&mut self, method: u8) {
        self.current = Some(method);
    }

    /// The guardian says that it is over.
    pub fn note_end(&mut self, ms: u32) {
        if let Some(page) = self.current.take().and_then(|method| self.pages.get_mut(usize::from(method))) {
            page.took_ms = Some(ms);
        }
    }

    /// The core says what happened.
    pub fn note_step(&mut self, now: Instant, method: u8, step: FenceStep) {
        if let Some(page) = self.pages.get_mut(usize::from(method)) {
            page.last = Some((step, now));
        }
    }
}
