//! What will be inflicted when: made from the seed alone, whatever the daemons do.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::dice::Dice;

/// Who is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// Two nullbeats that can cut each other's power: whatever happens, a group is never in use twice.
    Fenced,
    /// Two nullbeats without a fence. One path stays whole, and one of the three processes of each.
    Plain,
    /// A nullbeat and a packaged Heartbeat, which is only unplugged and told to move: the same.
    Mixed,
}

/// The processes of a nullbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Engine,
    Guardian,
    Logger,
}

pub(crate) const ROLES: [Role; 3] = [Role::Engine, Role::Guardian, Role::Logger];

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Guardian => "guardian",
            Self::Logger => "logger",
        }
    }
}

/// What a reload finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    Same,
    Changed,
    /// An error in ha.cf.
    Broken,
    /// The same, and the program is replaced as well.
    Program,
}

/// What can go wrong with a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(Role),
    Stop(Role),
    /// Engine and guardian at once.
    KillBoth,
    StopBoth,
    /// All three processes.
    KillAll,
    Freeze,
    /// As the kernel chooses its victim when there is no memory left.
    OutOfMemory,
    Power,
    /// A service manager starts a guardian if none is there.
    Restart,
    /// What this board sends.
    SerialCut,
    SerialLoss,
    SerialNoise,
    /// What this board sends.
    EthernetCut,
    EthernetLoss,
    /// The plug, both directions.
    Unplug,
    DiskFull,
    /// The memory that holds the run directory.
    RunFull,
    NoDescriptors(Role),
    NoMemory(Role),
    Hog,
    /// The guardian gets what nobody else wants, and others want everything.
    Starved,
    ForkBomb,
    /// The wall clock, by so many seconds.
    ClockStep(i64),
    Reload(Files),
    /// `standby`, `takeover` and `failback` at once.
    Storm,
    /// What this board shoots with says that it failed.
    FenceFails,
    FenceHangs,
}

impl Fault {
    /// The kind, for the report.
    pub(crate) fn kind(self) -> String {
        match self {
            Self::Kill(role) => format!("kill {}", role.name()),
            Self::Stop(role) => format!("stop {}", role.name()),
            Self::NoDescriptors(role) => format!("no descriptors {}", role.name()),
            Self::NoMemory(role) => format!("no memory {}", role.name()),
            Self::Reload(files) => format!("reload {files:?}").to_lowercase(),
            Self::ClockStep(_) => "clock step".to_owned(),
            other => format!("{other:?}").chars().fold(String::new(), |mut text, letter| {
                if letter.is_uppercase() && !text.is_empty() {
                    text.push(' ');
                }
                text.extend(letter.to_lowercase());
                text
            }),
        }
    }

    fn medium(self) -> Option<Medium> {
        match self {
            Self::SerialCut | Self::SerialLoss | Self::SerialNoise => Some(Medium::Serial),
            Self::EthernetCut | Self::EthernetLoss | Self::Unplug => Some(Medium::Ethernet),
            _ => None,
        }
    }

    /// The processes that this may end or hold up.
    fn roles(self) -> &'static [Role] {
        match self {
            Self::Kill(role) | Self::Stop(role) | Self::NoDescriptors(role) | Self::NoMemory(role) => match role {
                Role::Engine => &[Role::Engine],
                Role::Guardian => &[Role::Guardian],
                Role::Logger => &[Role::Logger],
            },
            Self::KillBoth | Self::StopBoth => &[Role::Engine, Role::Guardian],
            Self::KillAll | Self::Freeze => &ROLES,
            Self::OutOfMemory => &[Role::Logger],
            Self::Starved => &[Role::Guardian],
            _ => &[],
        }
    }

    /// Whether the board it happens to is itself as good as ever.
    fn spares_the_board(self) -> bool {
        self.medium().is_some() || matches!(self, Self::Restart | Self::Storm | Self::ClockStep(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Medium {
    Serial,
    Ethernet,
}

/// One fault of an episode, from one moment to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blow {
    pub(crate) fault: Fault,
    pub(crate) board: usize,
    pub(crate) begins: Duration,
    pub(crate) ends: Duration,
}

impl fmt::Display for Blow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} on {} from {:?} to {:?}", self.fault, ["alpha", "beta"][self.board], self.begins, self.ends)
    }
}

/// Faults until the next time that everything is healed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Episode {
    pub(crate) blows: Vec<Blow>,
    /// When all that is left is healed.
    pub(crate) ends: Duration,
    /// One board is well all the time and there is a path: before anything is healed each group must be in use once.
    pub(crate) is_one_sided: bool,
}

/// Makes episodes.
pub(crate) struct Planner {
    dice: Dice,
    pair: Pair,
}

impl Planner {
    pub(crate) fn new(seed: u64, pair: Pair) -> Self {
        Self { dice: Dice::new(seed.wrapping_mul(3).wrapping_add(pair as u64)), pair }
    }

    pub(crate) fn episode(&mut self) -> Episode {
        // Half of them leave one board alone.
        let only = self.dice.percent(50).then(|| usize::from(self.dice.percent(50)));
        let medium = self.dice.pick(&[Medium::Serial, Medium::Ethernet]);
        let wanted = 2 + self.dice.below(8);
        let mut blows: Vec<Blow> = Vec::new();
        for _ in 0..wanted {
            let board = only.unwrap_or_else(|| usize::from(self.dice.percent(50)));
            let fault = self.fault();
            let begins = Duration::from_millis(self.dice.below(4_000));
            let lasts = Duration::from_millis(200 + self.dice.below(5_000));
            let blow = Blow { fault, board, begins, ends: begins + lasts };
            if self.is_permitted(&blow, medium, &blows) {
                blows.push(blow);
            }
        }
        blows.sort_by_key(|blow| blow.begins);
        let last = blows.iter().map(|blow| blow.begins).max().unwrap_or_default();
        let ends = last + Duration::from_millis(500 + self.dice.below(4_000));
        let is_one_sided = is_one_sided(&blows);
        Episode { blows, ends, is_one_sided }
    }

    fn fault(&mut self) -> Fault {
        let role = self.dice.pick(&ROLES);
        let files = self.dice.pick(&[Files::Same, Files::Changed, Files::Broken, Files::Program]);
        let seconds = self.dice.pick(&[-86_400, -60, 5, 3_600, 86_400, 315_360_000]);
        let all = [
            (14, Fault::Kill(role)),
            (14, Fault::Stop(role)),
            (4, Fault::KillBoth),
            (4, Fault::StopBoth),
            (3, Fault::KillAll),
            (3, Fault::Freeze),
            (4, Fault::OutOfMemory),
            (7, Fault::Power),
            (8, Fault::Restart),
            (6, Fault::SerialCut),
            (3, Fault::SerialLoss),
            (3, Fault::SerialNoise),
            (6, Fault::EthernetCut),
            (3, Fault::EthernetLoss),
            (4, Fault::Unplug),
            (5, Fault::DiskFull),
            (4, Fault::RunFull),
            (4, Fault::NoDescriptors(role)),
            (4, Fault::NoMemory(role)),
            (3, Fault::Hog),
            (3, Fault::Starved),
            (3, Fault::ForkBomb),
            (4, Fault::ClockStep(seconds)),
            (6, Fault::Reload(files)),
            (6, Fault::Storm),
            (3, Fault::FenceFails),
            (2, Fault::FenceHangs),
        ];
        let mut at = self.dice.below(all.iter().map(|(weight, _)| weight).sum());
        for (weight, fault) in all {
            if at < weight {
                return fault;
            }
            at -= weight;
        }
        unreachable!("less than the sum")
    }

    fn is_permitted(&self, blow: &Blow, medium: Medium, before: &[Blow]) -> bool {
        let fault = blow.fault;
        if self.pair == Pair::Fenced {
            return true;
        }
        if self.pair == Pair::Mixed && blow.board == 1 {
            let is_external = matches!(fault, Fault::Power | Fault::ClockStep(_) | Fault::Hog | Fault::Storm);
            if !is_external && fault.medium().is_none() {
                return false;
            }
        }
        if matches!(fault, Fault::FenceFails | Fault::FenceHangs) || fault.medium().is_some_and(|it| it != medium) {
            return false;
        }
        // A Heartbeat whose partner dies while it starts announces groups that it never starts: it has its power cut only
        // while nullbeat's board is well.
        let is_boot = |blow: &Blow| blow.board == 1 && blow.fault == Fault::Power;
        let upsets = |one: &Blow, other: &Blow| is_boot(one) && other.board == 0 && !other.fault.spares_the_board();
        if self.pair == Pair::Mixed && before.iter().any(|other| upsets(blow, other) || upsets(other, blow)) {
            return false;
        }
        // With all three gone or silent nobody is left to stop anything: docs/guarding.md.
        let of_board = before.iter().filter(|other| other.board == blow.board).chain([blow]);
        let hit: BTreeSet<Role> = of_board.flat_map(|blow| blow.fault.roles()).copied().collect();
        hit.len() < ROLES.len()
    }
}

/// Whether one board is well, one of the links whole, and nothing wrong with what shoots.
fn is_one_sided(blows: &[Blow]) -> bool {
    let hurt: BTreeSet<usize> =
        blows.iter().filter(|blow| !blow.fault.spares_the_board()).map(|blow| blow.board).collect();
    let media: BTreeSet<Medium> = blows.iter().filter_map(|blow| blow.fault.medium()).collect();
    let fence_works = !blows.iter().any(|blow| matches!(blow.fault, Fault::FenceFails | Fault::FenceHangs));
    hurt.len() < 2 && media.len() < 2 && fence_works
}

#[test]
fn same_seed_is_the_same_walk() {
    for pair in [Pair::Fenced, Pair::Plain, Pair::Mixed] {
        let walk = |seed| {
            let mut planner = Planner::new(seed, pair);
            (0..50).map(|_| planner.episode()).collect::<Vec<_>>()
        };
        assert_eq!(walk(7), walk(7));
        assert_ne!(walk(7), walk(8));
    }
}

#[test]
fn walk_without_a_fence_leaves_a_path_and_a_process() {
    for pair in [Pair::Plain, Pair::Mixed] {
        let mut planner = Planner::new(1, pair);
        for episode in (0..2_000).map(|_| planner.episode()) {
            let media: BTreeSet<Medium> = episode.blows.iter().filter_map(|blow| blow.fault.medium()).collect();
            assert!(media.len() < 2, "{episode:?}");
            for board in [0, 1] {
                let of_board = episode.blows.iter().filter(|blow| blow.board == board);
                let hit: BTreeSet<Role> = of_board.flat_map(|blow| blow.fault.roles()).copied().collect();
                assert!(hit.len() < ROLES.len(), "{episode:?}");
            }
        }
    }
}
