//! Two nodes, the links between them, an attacker: one run in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crc::{CRC_16_IBM_SDLC, Crc};
use nullbeat::core::ids::{Generation, Seq};
use nullbeat::sim::rng::Rng;
use nullbeat::wire::compact::{BODY_MAX, Link, Order, Setup, TextNote};

use super::node::{CRC_KEY, KEEPALIVE, KEY, Node, Text, Wire, seed, speaker};
use super::oracle::Oracle;
use super::plan::{FAULTS_END, Fault, LINKS, Ms, Plan, Spell};

/// A message that is later than this was delayed; earlier ones may overtake each other, and nothing may be lost by it.
const LATE: Ms = 300;
/// How long copies lie somewhere before they come.
const COPY_LATE_MAX: Ms = 2_500;
/// How often the rules are looked at.
const TICK: Ms = 50;
/// How often an attacker says something.
const ATTACK: Ms = 40;

/// The lowest bits of the first byte (docs/protocol.md).
const CALL: u8 = 1;
const ANSWER: u8 = 2;

static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// Something that was said, kept for who records everything.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) wire: Wire,
    pub(super) link: usize,
    pub(super) from: usize,
    /// The sender's run, and that of the receiver at that time.
    pub(super) generations: [u32; 2],
    /// Of the beat in it.
    pub(super) seq: Option<u64>,
    /// How many sessions the sender had opened on the link.
    pub(super) session: u32,
}

/// Where something comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The original of this number, or a copy of it.
    Said(usize),
    /// From somebody without the key, or hit on its way.
    Forged,
}

#[derive(Debug)]
enum Happening {
    Arrival { link: usize, to: usize, wire: Wire, origin: Origin },
    Beat { node: usize, generation: u32 },
    Tick,
    Attack { spell: usize },
    Begin { spell: usize },
    End { spell: usize },
    Start { node: usize },
}

pub(super) struct World {
    pub(super) now: Ms,
    pub(super) plan: Plan,
    pub(super) nodes: [Node; 2],
    pub(super) said: Vec<Said>,
    /// When something on this link towards this node was last hit.
    pub(super) harmed: [[Ms; 2]; LINKS],
    /// When each node last opened a session on each link, and called there.
    pub(super) opened: [[Ms; LINKS]; 2],
    pub(super) called: [[Ms; LINKS]; 2],
    /// Which faults have hit something.
    pub(super) hits: BTreeSet<usize>,
    agenda: BinaryHeap<Reverse<(Ms, usize)>>,
    happenings: Vec<Option<Happening>>,
    rng: Rng,
    pub(super) oracle: Oracle,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let plan = Plan::draw(seed);
        let mut world = Self {
            now: 0,
            nodes: [Node::new(0), Node::new(1)],
            said: Vec::new(),
            harmed: [[0; 2]; LINKS],
            opened: [[0; LINKS]; 2],
            called: [[0; LINKS]; 2],
            hits: BTreeSet::new(),
            agenda: BinaryHeap::new(),
            happenings: Vec::new(),
            rng: Rng::new(seed, 2),
            oracle: Oracle::default(),
            plan,
        };
        for node in 0..2 {
            world.plan_at(world.plan.starts[node], Happening::Start { node });
        }
        for index in 0..world.plan.spells.len() {
            let Spell { fault, from, to, .. } = world.plan.spells[index];
            let first = match fault {
                Fault::Replay | Fault::Forgery => Happening::Attack { spell: index },
                _ => Happening::Begin { spell: index },
            };
            world.plan_at(from, first);
            world.plan_at(to, Happening::End { spell: index });
        }
        world.plan_at(TICK, Happening::Tick);
        world
    }

    fn plan_at(&mut self, at: Ms, happening: Happening) {
        self.agenda.push(Reverse((at, self.happenings.len())));
        self.happenings.push(Some(happening));
    }

    /// Runs to the end, or to the first rule that is broken.
    pub(super) fn run(&mut self, end: Ms) -> Result<(), String> {
        while let Some(Reverse((at, index))) = self.agenda.pop() {
            if at > end {
                break;
            }
            self.now = at;
            if let Some(happening) = self.happenings[index].take() {
                self.happen(happening).map_err(|rule| format!("{at} ms: {rule}"))?;
            }
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Arrival { link, to, wire, origin } => self.arrive(link, to, wire, origin)?,
            Happening::Beat { node, generation } => self.beat(node, generation),
            Happening::Tick => {
                self.plan_at(self.now + TICK, Happening::Tick);
                self.tick()?;
            }
            Happening::Attack { spell } => self.attack(spell),
            Happening::Begin { spell } => self.begin(spell),
            Happening::End { spell } => self.end(spell),
            Happening::Start { node } => self.start(node),
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), String> {
        let mut oracle = std::mem::take(&mut self.oracle);
        let outcome = oracle.tick(self);
        self.oracle = oracle;
        outcome
    }

    fn start(&mut self, node: usize) {
        let kind = self.plan.kinds[node];
        let own = &mut self.nodes[node];
        if !own.is_up {
            own.start(kind, self.now, &mut self.rng);
            (self.opened[node], self.called[node]) = Default::default();
            let generation = own.generation;
            self.plan_at(self.now, Happening::Beat { node, generation });
        }
    }

    fn begin(&mut self, index: usize) {
        let spell = self.plan.spells[index];
        let node = &mut self.nodes[spell.node];
        match spell.fault {
            Fault::Restart | Fault::OtherProgram if node.is_up => {
                node.is_up = false;
                self.hits.insert(index);
                if spell.fault == Fault::OtherProgram {
                    self.plan.kinds[spell.node] = spell.kind;
                }
            }
            Fault::Freeze if node.is_up => {
                node.frozen_until = node.frozen_until.max(spell.to);
                self.hits.insert(index);
            }
            _ => {}
        }
    }

    fn end(&mut self, index: usize) {
        let spell = self.plan.spells[index];
        if matches!(spell.fault, Fault::Restart | Fault::OtherProgram) {
            self.start(spell.node);
        }
    }

    fn beat(&mut self, node: usize, generation: u32) {
        let own = &mut self.nodes[node];
        if !own.is_up || own.generation != generation {
            return;
        }
        let frozen_until = own.frozen_until;
        if frozen_until > self.now {
            return self.plan_at(frozen_until, Happening::Beat { node, generation });
        }
        for (link, wire, seq) in own.beat(self.now) {
            self.say(node, link, wire, seq);
        }
        self.plan_at(self.now + KEEPALIVE, Happening::Beat { node, generation });
    }

    fn say(&mut self, from: usize, link: usize, wire: Wire, seq: Option<u64>) {
        let to = 1 - from;
        let generations = [self.nodes[from].generation, self.nodes[to].generation];
        let id = self.said.len();
        let session = self.nodes[from].state(self.now).sessions[link].0;
        if is_kind(&wire, CALL) {
            self.called[from][link] = self.now;
        }
        self.said.push(Said { wire: wire.clone(), link, from, generations, seq, session });
        let mut late = self.rng.range(1, 8);
        let mut wire = wire;
        let mut origin = Origin::Said(id);
        for index in 0..self.plan.spells.len() {
            let spell = self.plan.spells[index];
            let is_cut = matches!(spell.fault, Fault::OneWayCut | Fault::Cut);
            if !spell.hits_link(self.now, link, to) || !(is_cut || self.rng.chance(spell.permille)) {
                continue;
            }
            match spell.fault {
                Fault::Loss | Fault::OneWayCut | Fault::Cut => {
                    self.hits.insert(index);
                    self.harmed[link][to] = self.now;
                    return;
                }
                Fault::Corruption => {
                    self.harmed[link][to] = self.now;
                    wire = self.corrupted(&wire);
                    // Bits may have been flipped back.
                    origin = if self.said[id].wire == wire { Origin::Said(id) } else { Origin::Forged };
                }
                Fault::Delay => {
                    self.harmed[link][to] = self.now;
                    late += self.rng.range(LATE, 2_000);
                }
                Fault::Reordering => late += self.rng.below(LATE - late.min(LATE)),
                Fault::Duplication => {
                    let copy_at = self.now + late + self.rng.below(COPY_LATE_MAX);
                    let (wire, origin) = (wire.clone(), origin);
                    self.plan_at(copy_at, Happening::Arrival { link, to, wire, origin });
                }
                _ => continue,
            }
            self.hits.insert(index);
        }
        self.plan_at(self.now + late, Happening::Arrival { link, to, wire, origin });
        self.disturb(from, link, id);
    }

    /// Somebody who listens, and has an older call come right behind an answer.
    fn disturb(&mut self, answerer: usize, link: usize, id: usize) {
        if !is_kind(&self.said[id].wire, ANSWER) {
            return;
        }
        for index in 0..self.plan.spells.len() {
            let spell = self.plan.spells[index];
            if spell.fault != Fault::Replay || !spell.hits_link(self.now, link, answerer) {
                continue;
            }
            let is_call = |said: &&Said| said.link == link && said.from != answerer && is_kind(&said.wire, CALL);
            let calls = self.said.iter().filter(is_call).map(|said| said.wire.clone());
            let mut older: Vec<Wire> = calls.collect();
            older.dedup();
            // Not the one that is answered.
            older.pop();
            let Some(wire) = older.get(self.rng.index(older.len())).cloned() else { continue };
            let Some(id) = self.said.iter().position(|said| said.wire == wire) else { continue };
            let happening = Happening::Arrival { link, to: answerer, wire, origin: Origin::Said(id) };
            self.plan_at(self.now + 1, happening);
        }
    }

    fn corrupted(&mut self, wire: &Wire) -> Wire {
        match wire {
            Wire::Text(text) => Wire::Text(Text { is_signed: false, ..*text }),
            Wire::Frame(frame) => {
                let mut frame = frame.clone();
                for _ in 0..=self.rng.below(3) {
                    let place = self.rng.index(frame.len());
                    frame[place] ^= 1 << self.rng.below(8);
                }
                // Now and then the checksum fits by chance.
                if self.rng.chance(300) { Wire::Frame(checked(frame)) } else { Wire::Frame(frame) }
            }
        }
    }

    fn arrive(&mut self, link: usize, to: usize, wire: Wire, origin: Origin) -> Result<(), String> {
        if !self.nodes[to].is_up {
            return Ok(());
        }
        if self.nodes[to].frozen_until > self.now {
            // It waits in the socket.
            let awake = self.nodes[to].frozen_until;
            self.plan_at(awake, Happening::Arrival { link, to, wire, origin });
            return Ok(());
        }
        let before = self.nodes[to].state(self.now);
        let heard = self.nodes[to].receive(link, &wire, self.now);
        let after = self.nodes[to].state(self.now);
        let mut oracle = std::mem::take(&mut self.oracle);
        let outcome = oracle.arrival(self, (to, link, origin), (&before, &after), &heard);
        self.oracle = oracle;
        outcome?;
        if before.sessions[link].0 != after.sessions[link].0 {
            self.opened[to][link] = self.now;
        }
        if let (Origin::Said(id), true) = (origin, heard.is_frame) {
            self.nodes[to].taken.insert(id as u64);
        }
        if let Some((wire, seq)) = heard.reply {
            self.say(to, link, wire, seq);
        }
        Ok(())
    }

    fn attack(&mut self, index: usize) {
        let spell = self.plan.spells[index];
        if self.now >= spell.to.min(FAULTS_END) {
            return;
        }
        self.plan_at(self.now + ATTACK, Happening::Attack { spell: index });
        let (to, link) = (spell.node, spell.link.unwrap_or_else(|| self.rng.index(LINKS)));
        let attacked = if spell.fault == Fault::Replay { self.recorded(link, to) } else { self.forged(link, to) };
        if let Some((wire, origin)) = attacked {
            self.hits.insert(index);
            self.plan_at(self.now + 1, Happening::Arrival { link, to, wire, origin });
        }
    }

    /// Something that was said to this node on this link; of what was said there many times, mostly calls and answers.
    fn recorded(&mut self, link: usize, to: usize) -> Option<(Wire, Origin)> {
        let is_rare = |said: &Said| matches!(said.wire, Wire::Frame(_)) && said.seq.is_none();
        let is_hello = self.rng.chance(500);
        let fits = |said: &Said| said.link == link && said.from != to && (!is_hello || is_rare(said));
        let ids: Vec<usize> = (0..self.said.len()).filter(|id| fits(&self.said[*id])).collect();
        let id = *ids.get(self.rng.index(ids.len()))?;
        Some((self.said[id].wire.clone(), Origin::Said(id)))
    }

    /// What somebody without the key can come up with.
    fn forged(&mut self, link: usize, to: usize) -> Option<(Wire, Origin)> {
        let any = self.rng.index(self.said.len());
        let wire = match self.rng.below(6) {
            0 => self.forged_text(to),
            1 => Wire::Frame(self.forged_call(to)),
            2 => {
                let len = self.rng.range(1, BODY_MAX as u64);
                let frame = (0..len).map(|_| self.rng.draw().to_le_bytes()[0]).collect();
                Wire::Frame(checked(frame))
            }
            3 => {
                // Its own words, or the partner's on the other link.
                let said = self.said.get(any).filter(|said| said.from == to || said.link != link)?;
                let is_hello = matches!(said.wire, Wire::Frame(_)) && said.seq.is_none();
                // A call may be heard on any link: it is answered, and that is all.
                if is_hello && said.from != to || matches!(said.wire, Wire::Text(_)) {
                    return None;
                }
                said.wire.clone()
            }
            _ => {
                let Wire::Frame(mut frame) = self.said.get(any)?.wire.clone() else { return None };
                // Not in the checksum, which is put right.
                let place = self.rng.index(frame.len() - 2);
                frame[place] ^= 1 << self.rng.below(8);
                Wire::Frame(checked(frame))
            }
        };
        Some((wire, Origin::Forged))
    }

    fn forged_text(&mut self, to: usize) -> Wire {
        let generation = Generation(self.nodes[1 - to].generation + u32::from(self.rng.chance(700)));
        let key = if self.rng.chance(500) { CRC_KEY } else { KEY };
        let note = TextNote { generation, key, is_offering: self.rng.chance(500) };
        Wire::Text(Text { note, seq: self.nodes[1 - to].seq + 1, is_signed: false })
    }

    /// A call of the next run, well formed, with a guessed secret.
    fn forged_call(&mut self, to: usize) -> Vec<u8> {
        let speaker = speaker(1 - to, self.nodes[1 - to].generation + 1, false, b"guessed");
        let mut link = Link::new(Setup {
            secrets: speaker.secrets,
            identity: speaker.identity,
            name: speaker.name,
            partner: speaker.partner,
            seed: seed(&mut self.rng),
            order: Order::Loose,
        });
        let mut frame = [0; BODY_MAX];
        let len = link.call(Seq(1_000), 1, &mut frame).expect("a secret");
        frame[..len].to_vec()
    }
}

fn is_kind(wire: &Wire, kind: u8) -> bool {
    matches!(wire, Wire::Frame(frame) if frame.first().is_some_and(|first| first & 0x1f == kind))
}

/// With a checksum that fits.
fn checked(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(end) = frame.len().checked_sub(2) {
        let crc = CRC.checksum(&frame[..end]);
        frame.truncate(end);
        frame.extend(crc.to_be_bytes());
    }
    frame
}
