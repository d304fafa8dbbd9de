//! The rules, which know nothing of how the change-over is done.
//!
//! | rule | says |
//! |---|---|
//! | silence | while both live and one link delivers, the time between two accepted beats stays below the dead time |
//! | settled | [`SETTLE`] after the last fault both say on every link what they have in common, and it stays so |
//! | heard | who speaks both formats leaves text out only after a beat of the partner's has come in the session |
//! | keys | who has answered last understands who was answered, as long as that one does not call again |
//! | strict | `protocol compact` says no text and takes none |
//! | forgery | what nobody with the key has said changes nothing that can be seen, not even a counter of frames taken |
//! | replay | what has come before, or was said to an earlier run, opens and ends no session, and is taken for no frame |
//! | truth | what is taken was said by the partner, on this link, with this number |

use nullbeat::wire::compact::Speech;

use super::node::{DEAD, Heard, KEEPALIVE, State, Wire};
use super::plan::{FAULTS_END, Kind, LINKS, Ms};
use super::world::{Origin, Said, World};

/// The longest pause between two calls.
const PAUSE_MAX: Ms = 1_600;
/// Until both have settled: a session that is none any more is noticed after the dead time, then it takes a call.
pub(super) const SETTLE: Ms = DEAD + PAUSE_MAX + 3 * KEEPALIVE;
/// The last copies have come.
pub(super) const QUIET: Ms = FAULTS_END + 2_600;
pub(super) const END: Ms = QUIET + SETTLE + 1_500;

/// A word that a node takes on a link where both only know this, and how many sessions that took.
type Settled = [[(Speech, u32); LINKS]; 2];

#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Since when both have been speaking nothing but the compact format on a link.
    compact_since: [Option<Ms>; LINKS],
    settled: Option<Settled>,
    /// The run of each node, and on each link how many beats have come in how many sessions.
    heard: [(u32, [(u32, u32); LINKS]); 2],
    /// Sessions of runs that have ended, and all text that came back after a session.
    pub(super) sessions: u32,
    pub(super) longest_silence: Ms,
}

/// Whether the receiver has to understand a frame: it was said in a session that the sender has opened with the receiver's
/// answer, nobody has opened another one, and both are the same runs as then.
fn is_owed(world: &World, said: &Said, to: usize) -> bool {
    let [from, link] = [said.from, said.link];
    if said.seq.is_none() || !matches!(said.wire, Wire::Frame(_)) || from == to {
        return false;
    }
    let sender = &world.nodes[from];
    let (sessions, with) = sender.state(world.now).sessions[link];
    let is_present = said.generations == [sender.generation, world.nodes[to].generation] && sessions == said.session;
    let is_last = world.opened[from][link] > world.opened[to][link].max(world.called[from][link]);
    sender.is_up && is_present && is_last && with == Some(world.nodes[to].generation)
}

/// Whether that is what one of the two should say to the other.
fn is_right(said: Speech, own: Kind, other: Kind) -> bool {
    match (own.is_able() && other.is_able(), own) {
        (true, _) => said == Speech::Compact,
        // In a session that nobody hears any more, or in none.
        (false, Kind::Compact) => matches!(said, Speech::Calls | Speech::Compact),
        (false, _) => said == Speech::Heartbeat,
    }
}

fn can_hear(own: Kind, other: Kind) -> bool {
    own.is_able() && other.is_able() || (own != Kind::Compact && other != Kind::Compact)
}

impl Oracle {
    /// Of something that has come.
    pub(super) fn arrival(
        &mut self,
        world: &World,
        (to, link, origin): (usize, usize, Origin),
        (before, after): (&State, &State),
        heard: &Heard,
    ) -> Result<(), String> {
        let node = &world.nodes[to];
        let fail = |rule: &str| Err(format!("{rule}: node {to}, link {link}, {origin:?}, {before:?}, {after:?}"));
        let Origin::Said(id) = origin else {
            return if before == after && heard.beat.is_none() { Ok(()) } else { fail("forgery") };
        };
        let said = &world.said[id];
        let is_text = matches!(said.wire, Wire::Text(_));
        if is_text && node.kind == Kind::Compact && heard.beat.is_some() {
            return fail("strict");
        }
        if heard.is_frame && (said.from == to || said.link != link) {
            return fail("truth");
        }
        if heard.beat.is_some_and(|number| Some(number) != said.seq.map(|seq| (said.generations[0], seq))) {
            return fail("truth");
        }
        let is_copy = node.taken.contains(&(id as u64));
        if is_copy && heard.is_frame {
            return fail("replay");
        }
        if !is_copy && !heard.is_frame && is_owed(world, said, to) {
            return fail("keys");
        }
        let is_for_another = said.generations[1] != node.generation;
        if (is_copy || is_for_another) && (before.sessions, before.speech) != (after.sessions, after.speech) {
            return fail("replay");
        }
        if before.known > after.known || (is_copy && before.known != after.known) {
            return fail("replay");
        }
        self.sessions += u32::from(before.sessions != after.sessions);
        let (run, links) = &mut self.heard[to];
        if std::mem::replace(run, node.generation) != node.generation {
            *links = Default::default();
        }
        let (sessions, beats) = &mut links[link];
        if std::mem::replace(sessions, after.sessions[link].0) != after.sessions[link].0 {
            *beats = 0;
        }
        *beats += u32::from(heard.is_frame);
        if node.kind == Kind::Auto && after.speech[link] == Speech::Compact && *beats == 0 {
            return fail("heard");
        }
        Ok(())
    }

    /// Now and then.
    pub(super) fn tick(&mut self, world: &World) -> Result<(), String> {
        let now = world.now;
        let states = [0, 1].map(|node| world.nodes[node].state(now));
        for link in 0..LINKS {
            let is_compact = (0..2).all(|node| {
                let own = &world.nodes[node];
                own.is_awake(now) && states[node].speech[link] == Speech::Compact
            });
            let harmed = world.harmed[link].iter().copied().max().unwrap_or(0);
            let is_hit = now.saturating_sub(harmed) < KEEPALIVE;
            self.compact_since[link] =
                if is_compact && !is_hit { self.compact_since[link].or(Some(now)) } else { None };
        }
        for (node, state) in states.iter().enumerate() {
            let own = &world.nodes[node];
            let says_text = state.speech.iter().any(|said| matches!(said, Speech::Heartbeat | Speech::Both));
            if own.is_up && own.kind == Kind::Compact && says_text {
                return Err(format!("strict: node {node} says {:?}", state.speech));
            }
            self.silence(world, node)?;
        }
        self.settle(world, &states)
    }

    /// How long the node has not accepted a beat although there was one to accept.
    fn silence(&mut self, world: &World, node: usize) -> Result<(), String> {
        let (own, other) = (&world.nodes[node], &world.nodes[1 - node]);
        if !own.is_awake(world.now) || !other.is_awake(world.now) || !can_hear(own.kind, other.kind) {
            return Ok(());
        }
        let clean = world.harmed.iter().map(|link| link[0].max(link[1])).min().unwrap_or(0);
        let lives = [own.born, other.born, own.frozen_until, other.frozen_until, own.accepted_at, clean];
        let since = lives.into_iter().max().unwrap_or(0);
        let silence = world.now - since;
        self.longest_silence = self.longest_silence.max(silence);
        // Who says nothing but calls has no text to go on with when the session of before is lost.
        let is_strict = own.kind == Kind::Compact || other.kind == Kind::Compact;
        let was_settled = self.compact_since.iter().flatten().any(|from| *from <= since);
        // A new run that knows nothing else calls at once, whatever pauses the other one has come to.
        let is_fresh = since == own.born.max(other.born) && own.kind == other.kind;
        let limit = if is_strict && !was_settled && !is_fresh { DEAD + PAUSE_MAX + 2 * KEEPALIVE } else { DEAD };
        if silence < limit {
            return Ok(());
        }
        let states = [0, 1].map(|node| world.nodes[node].state(world.now));
        Err(format!("silence: node {node} has accepted nothing for {silence} ms: {states:?}"))
    }

    fn settle(&mut self, world: &World, states: &[State; 2]) -> Result<(), String> {
        if world.now < QUIET + SETTLE {
            return Ok(());
        }
        let kinds = [world.nodes[0].kind, world.nodes[1].kind];
        for (node, state) in states.iter().enumerate() {
            let is_wrong = |said: &Speech| !is_right(*said, kinds[node], kinds[1 - node]);
            if state.speech.iter().any(is_wrong) {
                return Err(format!("settled: node {node} of {kinds:?} says {:?}", state.speech));
            }
        }
        let now: Settled = [0, 1].map(|node: usize| {
            let state = &states[node];
            std::array::from_fn(|link| (state.speech[link], state.sessions[link].0))
        });
        match self.settled {
            Some(settled) if settled != now => Err(format!("settled: {settled:?} became {now:?}")),
            _ => {
                self.settled = Some(now);
                Ok(())
            }
        }
    }
}
