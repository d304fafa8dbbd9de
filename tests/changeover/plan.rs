//! What happens in one run: who speaks what, and which faults come when. All of it out of the seed.

use nullbeat::sim::rng::Rng;

/// Milliseconds of virtual time.
pub(super) type Ms = u64;

/// Faults begin and end before this; then everything has to come right.
pub(super) const FAULTS_END: Ms = 7_000;
/// Links between the two.
pub(super) const LINKS: usize = 2;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A nullbeat with `protocol auto`.
    Auto,
    /// With `protocol compact`.
    Compact,
    /// With `protocol heartbeat`.
    Heartbeat,
    /// A Heartbeat 3.0.6.
    Original,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Auto, Self::Compact, Self::Heartbeat, Self::Original];

    /// Whether it can speak the compact format.
    pub(super) const fn is_able(self) -> bool {
        matches!(self, Self::Auto | Self::Compact)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Loss,
    Duplication,
    Reordering,
    Delay,
    Corruption,
    OneWayCut,
    Cut,
    Restart,
    OtherProgram,
    Freeze,
    Replay,
    Forgery,
}

impl Fault {
    pub(super) const ALL: [Self; 12] = [
        Self::Loss,
        Self::Duplication,
        Self::Reordering,
        Self::Delay,
        Self::Corruption,
        Self::OneWayCut,
        Self::Cut,
        Self::Restart,
        Self::OtherProgram,
        Self::Freeze,
        Self::Replay,
        Self::Forgery,
    ];
}

/// One fault, for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spell {
    pub(super) fault: Fault,
    pub(super) from: Ms,
    pub(super) to: Ms,
    /// `None`: all.
    pub(super) link: Option<usize>,
    /// The node that it happens to; of links, the one that does not hear.
    pub(super) node: usize,
    /// How many of the messages it hits.
    pub(super) permille: u64,
    /// What the node is afterwards.
    pub(super) kind: Kind,
}

impl Spell {
    fn draw(rng: &mut Rng) -> Self {
        let fault = rng.pick(&Fault::ALL);
        let from = rng.below(FAULTS_END - 500);
        let longest = if matches!(fault, Fault::Restart | Fault::OtherProgram) { 1_500 } else { 3_000 };
        let to = (from + rng.range(50, longest)).min(FAULTS_END);
        let link = if rng.chance(500) { None } else { Some(rng.index(LINKS)) };
        // Somebody who comes back is mostly one that can be spoken with.
        let kind = rng.pick(&[Kind::Auto, Kind::Auto, Kind::Original, Kind::Original, Kind::Compact, Kind::Heartbeat]);
        Self { fault, from, to, link, node: rng.index(2), permille: rng.range(50, 900), kind }
    }

    pub(super) fn hits_link(&self, now: Ms, link: usize, receiver: usize) -> bool {
        let is_both = self.fault != Fault::OneWayCut;
        (self.from..self.to).contains(&now)
            && self.link.is_none_or(|own| own == link)
            && (is_both || self.node == receiver)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) kinds: [Kind; 2],
    pub(super) starts: [Ms; 2],
    pub(super) spells: Vec<Spell>,
}

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let pairs = [
            [Kind::Auto, Kind::Auto],
            [Kind::Auto, Kind::Auto],
            [Kind::Compact, Kind::Compact],
            [Kind::Auto, Kind::Compact],
            [rng.pick(&Kind::ALL), rng.pick(&Kind::ALL)],
        ];
        let mut kinds = rng.pick(&pairs);
        if rng.chance(500) {
            kinds.reverse();
        }
        let starts = [rng.below(600), rng.below(600)];
        let count = rng.range(0, 6);
        let spells = (0..count).map(|_| Spell::draw(&mut rng)).collect();
        Self { kinds, starts, spells }
    }
}
