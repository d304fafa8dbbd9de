//! Scenarios in virtual time, written like timetables.
//!
//! The cluster of all of them: keepalive 200 ms, deadtime 1 s, initdead 4 s, boot 0.5 s, a UDP path and a serial line,
//! one group at home on node 0 (`ALPHA`), scripts of at most 50 ms.
#![allow(dead_code, reason = "each test file uses its part")]

use nullbeat::core::Request;
use nullbeat::core::ids::LinkSet;
use nullbeat::sim::fault::Fault;
use nullbeat::sim::{Plan, Trace, World};

pub(crate) const ALPHA: usize = 0;
pub(crate) const BETA: usize = 1;
pub(crate) const MS: u64 = 1_000;
pub(crate) const S: u64 = 1_000_000;
pub(crate) const UDP: LinkSet = LinkSet(1);
pub(crate) const BOTH: LinkSet = LinkSet(3);
/// Longer than any scenario.
pub(crate) const FOR_EVER: u64 = 3_600 * S;

pub(crate) struct Timetable {
    pub(crate) world: World,
}

impl Timetable {
    pub(crate) fn new(change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan::quiet();
        change(&mut plan);
        Self { world: World::new(plan, Trace::Keep(Vec::new())) }
    }

    /// The two have met and the group runs at home: 0.5 s boot, some beats, 50 ms scripts.
    pub(crate) fn settled(change: impl FnOnce(&mut Plan)) -> Self {
        let mut table = Self::new(change);
        table.at(2_000).expect(&[ALPHA]);
        table
    }

    pub(crate) fn at(&mut self, ms: u64) -> &mut Self {
        self.world.run_until(ms * MS);
        self
    }

    pub(crate) fn inflict(&mut self, fault: Fault) -> &mut Self {
        self.world.inflict_now(fault);
        self
    }

    pub(crate) fn operator(&mut self, node: usize, request: Request) -> &mut Self {
        self.inflict(Fault::Operator { node, request, back_after: FOR_EVER })
    }

    /// The group is in use on exactly these boards, and no rule is broken.
    pub(crate) fn expect(&mut self, boards: &[usize]) -> &mut Self {
        assert_eq!(self.world.users(0), boards, "{}", self.story());
        assert!(self.world.violations().is_empty(), "{:?}\n{}", self.world.violations(), self.story());
        self
    }

    /// No rule is broken, and the group is in use on one board or none.
    pub(crate) fn expect_at_most_one(&mut self) -> &mut Self {
        assert!(self.world.users(0).len() <= 1, "{}", self.story());
        assert!(self.world.violations().is_empty(), "{:?}\n{}", self.world.violations(), self.story());
        self
    }

    pub(crate) fn expect_running(&mut self, node: usize) -> &mut Self {
        self.expect(&[node]);
        assert!(self.world.runs(0, node), "{}", self.story());
        self
    }

    pub(crate) fn story(&self) -> String {
        format!("at {} ms\n{}", self.world.now() / MS, self.world.trace().lines().join("\n"))
    }
}

pub(crate) fn power_loss(node: usize, off_for: u64) -> Fault {
    Fault::PowerLoss { node, off_for }
}

pub(crate) fn cut(links: LinkSet, lasts: u64) -> Fault {
    Fault::Cut { links, from: None, lasts }
}
