//! Every way on from a beginning, depth first, each state once.

use std::collections::HashSet;
use std::fmt;

use crate::world::{Budget, MS, Step, World};

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Different states.
    pub(crate) states: u64,
    /// Steps that were taken, those to a known state too.
    pub(crate) steps: u64,
    /// States at the end of the time explored, from each of which it was seen to come in order.
    pub(crate) ends: u64,
    /// Longest way to a state, in steps.
    pub(crate) depth: usize,
    /// The first broken rule, and the way to it.
    pub(crate) broken: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, ends, depth, .. } = self;
        write!(f, "{states} states, {steps} steps, {ends} ends, up to {depth} steps deep")
    }
}

struct Explorer {
    seen: HashSet<u128>,
    /// States in the calm from which it comes in order.
    good: HashSet<u128>,
    until: u64,
    way: Vec<(String, Step)>,
    report: Report,
}

/// Everything that can happen to `world` within `lasts` and the bounds of `budget`; up to the first broken rule.
pub(crate) fn explore(mut world: World, budget: Budget, lasts: u64) -> Report {
    world.left = budget;
    world.trouble_until = world.now + world.plan.keepalive;
    let mut explorer = Explorer {
        seen: HashSet::new(),
        good: HashSet::new(),
        until: world.now + lasts,
        way: Vec::new(),
        report: Report::default(),
    };
    explorer.visit(&world);
    explorer.report
}

impl Explorer {
    fn visit(&mut self, world: &World) {
        if !self.seen.insert(world.digest()) {
            return;
        }
        self.report.states += 1;
        self.report.depth = self.report.depth.max(self.way.len());
        if world.now >= self.until {
            self.report.ends += 1;
            return self.see_calm(world);
        }
        for step in world.steps() {
            let mut next = world.clone();
            next.take(step);
            self.report.steps += 1;
            self.way.push((world.story(), step));
            match &next.broken {
                Some(what) => self.accuse(what, &next),
                None => self.visit(&next),
            }
            self.way.pop();
            if self.report.broken.is_some() {
                return;
            }
        }
    }

    /// Rule 2: when faults stop, it comes in order, and stays so for some beats.
    fn see_calm(&mut self, world: &World) {
        let mut world = world.clone();
        world.calm_down();
        let mut on_the_way = Vec::new();
        let limit = world.now + calm_time(&world);
        let mut since = None;
        while world.broken.is_none() {
            let step = world.calm_step();
            if step == Step::Advance {
                let digest = world.digest();
                if self.good.contains(&digest) {
                    break;
                }
                on_the_way.push(digest);
            }
            since = if world.has_each_group_once() { since.or(Some(world.now)) } else { None };
            let is_long = since.is_some_and(|since| world.now >= since + 2 * world.plan.keepalive);
            if is_long && world.is_in_order() {
                break;
            }
            if world.now > limit {
                return self.accuse("it does not come in order", &world);
            }
            world.take(step);
        }
        if world.broken.is_none() {
            self.good.extend(on_the_way);
            return;
        }
        let what = world.broken.clone().unwrap_or_default();
        self.accuse(&format!("{what}, in the calm"), &world);
    }

    fn accuse(&mut self, what: &str, world: &World) {
        let way: Vec<String> = self.way.iter().map(|(story, step)| format!("{story}  {step:?}\n")).collect();
        self.report.broken = Some(format!("{what}\n{}{}", way.concat(), world.story()));
    }
}

/// Within so long it must be in order: what the simulator allows, twice, and an operator's request that nobody answers.
fn calm_time(world: &World) -> u64 {
    2 * world.plan.settling() + 12_000 * MS
}
