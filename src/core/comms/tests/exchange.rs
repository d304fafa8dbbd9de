//! Two nodes over two bad links: each message arrives once, none is left out.

use std::collections::BTreeMap;

use super::*;
use crate::core::comms::random::Random;

/// One end of the cable.
struct End {
    bench: Bench,
    name: &'static str,
    uuid: Uuid,
    /// Numbers of the messages sent, and how often the other end got each.
    sent: BTreeMap<Seq, u32>,
}

impl End {
    fn new(local: NodeId, seed: u64) -> Self {
        let mut settings = settings(&["alpha", "beta"]);
        // Nobody dies of loss here: this is about numbers.
        settings.deadtime = Duration::from_secs(60);
        settings.local = local;
        settings.random_seed = seed;
        let identity = Identity { uuid: Uuid([local.0 + 1; 16]), generation: Generation(1) };
        let mut comms = Comms::new(&settings, identity, stamp(0));
        // Nothing is asked of a node whose word is still init. The status itself is lost: nobody is there yet.
        comms.set_status(&settings, stamp(0), NodeStatus::Active, &mut Outbox::new());
        let bench = Bench { comms, settings, ..Bench::new() };
        let name = ["alpha", "beta"][usize::from(local.0)];
        Self { bench, name, uuid: identity.uuid, sent: BTreeMap::new() }
    }

    /// Says something that must arrive.
    fn say(&mut self, ms: u64) {
        let seq = self.bench.handle(ms, |comms, settings, at, outbox, _| {
            comms.send(settings, at, None, Body::Starting, outbox);
            comms.own_seq()
        });
        self.sent.insert(seq, 0);
    }

    fn message(&self, packet: &Packet) -> Message<'static> {
        Message {
            src: self.name,
            src_uuid: Some(self.uuid),
            dest: packet.to.map(|node| ["alpha", "beta"][usize::from(node.0)]),
            dest_uuid: None,
            seq: packet.seq,
            generation: Generation(1),
            ts: packet.ts,
            key: KeyNumber(1),
            news: None,
            compact: None,
            body: packet.body,
        }
    }
}

/// Both ends, and what is under way: arrival time and a counter to its end, link, message.
struct World {
    ends: [End; 2],
    under_way: BTreeMap<(u64, u64), (usize, LinkId, Message<'static>)>,
    random: Random,
    count: u64,
    /// Percent of the packets that a link loses.
    loss: u64,
}

impl World {
    fn new(seed: u64, loss: u64) -> Self {
        let ends = [End::new(ALPHA, seed), End::new(BETA, seed + 1000)];
        Self { ends, under_way: BTreeMap::new(), random: Random::new(seed), count: 0, loss }
    }

    /// One millisecond: what is due arrives and is done, what is said leaves on both links.
    fn step(&mut self, ms: u64) {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= ms) {
            let (to, link, message) = entry.remove();
            let accepted = self.ends[to].bench.hear(ms, link, message);
            if accepted.is_some() && matches!(message.body, Body::Starting) {
                *self.ends[1 - to].sent.get_mut(&message.seq.unwrap()).expect("never said") += 1;
            }
        }
        for from in [0, 1] {
            self.ends[from].bench.run_to(ms);
            let packets = core::mem::take(&mut self.ends[from].bench.packets);
            for packet in &packets {
                let message = self.ends[from].message(packet);
                // Ethernet is quick and shuffles a little; the serial line takes its time.
                for (link, shortest, spread) in [(ETH, 1, 30), (TTY, 60, 200)] {
                    for _ in 0..1 + u64::from(self.random.below(20) == 0) {
                        self.count += 1;
                        if self.random.below(100) >= self.loss {
                            let arrival = ms + shortest + self.random.below(spread);
                            self.under_way.insert((arrival, self.count), (1 - from, link, message));
                        }
                    }
                }
            }
        }
    }
}

fn exchange(seed: u64, loss: u64) {
    let mut world = World::new(seed, 0);
    for ms in 0..60_000 {
        // They meet first: what is said to somebody who was never heard may well be lost.
        if ms == 1000 {
            world.loss = loss;
        }
        for end in &mut world.ends {
            if ms > 1000 && world.random.below(70) == 0 {
                end.say(ms);
            }
        }
        world.step(ms);
    }
    // The links are mended: what is missing is asked for and comes.
    world.loss = 0;
    for ms in 60_000..66_000 {
        world.step(ms);
    }
    for end in &world.ends {
        let wrong: Vec<_> = end.sent.iter().filter(|(_, times)| **times != 1).take(9).collect();
        assert!(end.sent.len() > 600 && wrong.is_empty(), "seed {seed}, of {}: {wrong:?}", end.name);
        let peer = NodeId(1 - end.bench.settings.local.0);
        let acked = end.bench.comms.peer(peer).acked;
        assert!(end.bench.comms.own_seq().0 - acked.0 <= 20, "seed {seed}: acknowledged {acked:?}");
        assert_eq!(end.bench.comms.counters().irretrievable, 0, "seed {seed} {:?}", end.bench.comms.counters());
    }
}

#[test]
fn exchange_over_good_links_arrives_once() {
    exchange(1, 0);
}

#[test]
fn exchange_over_bad_links_arrives_once() {
    for seed in 2..8 {
        exchange(seed, 30);
    }
}

#[test]
fn exchange_over_dreadful_links_arrives_once() {
    for seed in 8..12 {
        exchange(seed, 60);
    }
}
