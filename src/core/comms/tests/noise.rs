//! Well signed nonsense: whatever a broken or hostile peer says, nothing panics, overflows or hangs.

use super::*;
use crate::core::comms::random::Random;

const SEQS: [u64; 12] = [0, 1, 2, 3, 10, 250, 251, 252, 500, 1 << 40, u64::MAX - 1, u64::MAX];
const NAMES: [&str; 5] = ["alpha", "beta", "gamma", "delta", ""];

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[usize::try_from(random.below(from.len() as u64)).unwrap()]
}

/// A number near the last one used, or one of the awkward.
fn number(random: &mut Random, near: &mut u64) -> Seq {
    *near = if random.below(20) == 0 { pick(random, &SEQS) } else { near.saturating_add(random.below(8)) };
    Seq(near.saturating_sub(random.below(6)))
}

fn nonsense(random: &mut Random, near: &mut u64) -> Message<'static> {
    let words = [None, Some(NodeStatus::Init), Some(NodeStatus::Up), Some(NodeStatus::Active), Some(NodeStatus::Dead)];
    let times = [None, Some(0), Some(1), Some(1000), Some(u32::MAX)];
    let (first, last) = (number(random, near), number(random, near));
    let body = match random.below(12) {
        0 => Body::Ack { acked: first },
        1 => Body::RexmitRequest { first, last },
        2 => Body::RexmitNak { first, too_low: true },
        3 => Body::ReqNodes,
        4 => Body::RepNodes { nodes: "a b c", deleted: "" },
        5 => Body::Other { kind: "NS_x" },
        6 => Body::Starting,
        _ => Body::Status {
            status: pick(random, &words),
            dead_ms: pick(random, &times),
            has_protocol: random.below(9) > 0,
            is_nullbeat: random.below(2) > 0,
            extension: (random.below(9) == 0).then(|| extension(1)),
        },
    };
    let uuids = [None, Some(Uuid::default()), Some(ALPHA_UUID), Some(BETA_UUID), Some(Uuid([7; 16]))];
    let seq = number(random, near);
    Message {
        src: pick(random, &NAMES),
        src_uuid: pick(random, &uuids),
        dest: (random.below(3) == 0).then(|| pick(random, &NAMES)),
        dest_uuid: pick(random, &uuids),
        seq: (random.below(30) > 0).then_some(seq),
        generation: Generation(pick(random, &[0, 4, 5, 5, 5, 5, 5, 5, 6, u32::MAX])),
        ts: 1,
        key: KeyNumber(1),
        news: None,
        compact: None,
        body,
    }
}

#[test]
fn nonsense_neither_panics_nor_hangs() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut bench = Bench::with(settings(&["alpha", "beta", "gamma"]));
        let (mut ms, mut near) = (0, 1);
        for _ in 0..2000 {
            // Now and then we are late, or asleep.
            let pause = pick(&mut random, &[0, 0, 1, 5, 20, 20, 150, 900, 40_000]);
            if random.below(4) > 0 {
                bench.run_to(ms + pause);
            }
            ms += pause;
            let link = LinkId(u8::try_from(random.below(2)).unwrap());
            if random.below(50) == 0 {
                bench.handle(ms, |comms, settings, at, _, _| comms.link_device(settings, at, link, ms % 2 == 0));
            }
            let message = nonsense(&mut random, &mut near);
            bench.hear(ms, link, message);
            bench.forget();
        }
        // Every deadline can still be served, and our own beat goes on.
        let before = bench.comms.own_seq();
        bench.run_to(ms + 10_000);
        assert!(bench.comms.own_seq().0 >= before.0 + 50, "seed {seed}");
    }
}
