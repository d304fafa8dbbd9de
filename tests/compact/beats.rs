//! What beats carry: everything, in turn, and never two states mixed.

use nullbeat::core::ids::{GroupSet, Seq};
use nullbeat::core::message::{Body, Extension, GroupState, HealthReport, LinkEcho, NodeStatus};
use nullbeat::core::{Cause, LineLevel};
use nullbeat::sim::rng::Rng;
use nullbeat::wire::compact::{BEAT_LEN, BEAT_LINE_LEN, BODY_MAX, LINE_MAX, Order, Received, Telling, to_line};

use super::pair::{ALPHA_SEQ, BETA, BETA_SEQ, Pair, TS, beat, telling, with};

#[test]
fn beat_is_28_bytes_on_the_line_whatever_it_says() {
    let mut rng = Rng::new(1, 0);
    let Pair { mut alpha, .. } = Pair::opened(Order::Kept);
    let mut said = Telling::default();
    for seq in 1..2000 {
        change(&mut rng, &mut said);
        let frame = beat(&mut alpha, Seq(seq), &said);
        let line_len = to_line(&frame, &mut [0; LINE_MAX]).expect("a frame");
        assert_eq!((frame.len(), line_len), (BEAT_LEN, BEAT_LINE_LEN));
    }
    assert_eq!(BEAT_LINE_LEN, 28);
}

/// Changes something, as a node does in the course of time.
fn change(rng: &mut Rng, said: &mut Telling) {
    let extension = &mut said.extension;
    let byte = rng.draw().to_le_bytes();
    let word = u32::from_le_bytes([byte[4], byte[5], byte[6], byte[7]]);
    let groups = GroupSet::first(usize::from(extension.group_count));
    match rng.below(16) {
        0 if rng.chance(50) => *extension = Extension { group_count: byte[0] % 65, ..*extension },
        1 if rng.chance(50) => extension.link_count = byte[0] % 17,
        2 => extension.groups[rng.index(64)] = rng.pick(&GroupState::ALL),
        3 => extension.claims = GroupSet(rng.draw()),
        4 => extension.hears_partner ^= true,
        5 => extension.is_stable ^= true,
        6 => (extension.is_held, extension.is_yielding) = (byte[0] & 1 == 1, byte[0] & 2 == 2),
        7 => extension.is_asking ^= true,
        8 => extension.owner_line = rng.pick(&[LineLevel::Active, LineLevel::Inactive, LineLevel::Unknown]),
        9 => extension.config_digest = word,
        10 => extension.lease_ms = word,
        11 if rng.chance(200) => extension.health = None,
        11 => extension.health = Some(HealthReport { failing: byte[0], unknown: byte[1], spent: GroupSet(rng.draw()) }),
        12 => said.dead_ms = word,
        13 => said.status = Some(rng.pick(&[NodeStatus::Init, NodeStatus::Up, NodeStatus::Active])),
        14 => extension.echo_seq = Seq(extension.echo_seq.0 + rng.below(50)),
        _ => {
            extension.links[rng.index(16)] = LinkEcho { age_ms: rng.pick(&[7, 100_000, word, u32::MAX]) };
            (said.stalled_ms, said.cause) = (u16::from(byte[0]), rng.pick(&[None, Some(Cause::Health)]));
        }
    }
    let groups = groups & GroupSet::first(usize::from(extension.group_count));
    extension.claims = extension.claims & groups;
    if let Some(health) = &mut extension.health {
        health.spent = health.spent & groups;
    }
}

/// The telling's extension as it can come out: what does not count is empty.
fn expected(said: &Telling) -> Extension {
    let mut extension = said.extension;
    extension.groups[usize::from(extension.group_count)..].fill(GroupState::Unknown);
    extension.links = Extension::EMPTY.links;
    extension
}

/// Beats with changes all the time and frames lost: whenever an extension comes out it is exactly what the sender had when
/// it said that very beat, and when nothing is lost one soon does.
#[test]
fn extension_is_never_put_together_from_two_states() {
    for seed in 0..40 {
        let mut rng = Rng::new(2, seed);
        let order = if seed % 2 == 0 { Order::Kept } else { Order::Loose };
        let Pair { mut alpha, mut beta } = Pair::opened(order);
        let mut said = telling(BETA, BETA_SEQ);
        let (mut whole, mut quiet) = (0, 0);
        let (loss, change_rate) = (rng.below(500), rng.below(400));
        for seq in 1..3000 {
            let is_calm = seq % 500 > 400;
            if rng.chance(change_rate) && !is_calm {
                change(&mut rng, &mut said);
                quiet = 0;
            }
            let number = Seq(ALPHA_SEQ.0 + seq);
            let frame = if rng.chance(20) {
                with(|out| alpha.tell_all(number, &said, "", out).expect("everything"))
            } else {
                beat(&mut alpha, number, &said)
            };
            if rng.chance(loss) && !is_calm {
                quiet = 0;
                continue;
            }
            quiet += 1;
            let mut reply = [0; BODY_MAX];
            let got = beta.receive(&frame, BETA_SEQ, TS, &mut reply);
            let Ok(Received::Message(message)) = got else { panic!("{got:?}") };
            let Body::Status { status, extension, .. } = message.body else { panic!("{message:?}") };
            assert_eq!((status, message.seq), (said.status, Some(number)));
            if let Some(extension) = extension {
                let told = Extension { links: Extension::EMPTY.links, ..extension };
                assert_eq!(told, expected(&said), "seed {seed}, beat {seq}");
                whole += 1;
            }
            // Changes of all pages, then a rotation.
            assert!(extension.is_some() || quiet < 50, "seed {seed}, beat {seq}: nothing whole for {quiet} beats");
        }
        assert!(whole > 100, "seed {seed}: {whole}");
    }
}

#[test]
fn ages_lateness_and_reason_rotate_over_the_beats() {
    let Pair { mut alpha, mut beta } = Pair::opened(Order::Kept);
    let mut said = telling(BETA, BETA_SEQ);
    said.extension.links[1] = LinkEcho { age_ms: 1000 };
    let mut last = None;
    for seq in 1..30 {
        let frame = beat(&mut alpha, Seq(ALPHA_SEQ.0 + seq), &said);
        let mut reply = [0; BODY_MAX];
        let Ok(Received::Message(message)) = beta.receive(&frame, BETA_SEQ, TS, &mut reply) else { panic!("{seq}") };
        let Body::Status { dead_ms, extension, .. } = message.body else { panic!("{message:?}") };
        last = extension.map(|extension| (dead_ms, extension.links[0].age_ms, extension.links[1].age_ms));
    }
    assert_eq!(last, Some((Some(135), 12, 1024)));
    assert_eq!(beta.moment(), (40, Some(Cause::Death)));
}

/// A beat that was overtaken is a sign of life, and says nothing of holdings.
#[test]
fn overtaken_beat_brings_no_extension() {
    let Pair { mut alpha, mut beta } = Pair::opened(Order::Loose);
    let mut said = telling(BETA, BETA_SEQ);
    let all = with(|out| alpha.tell_all(Seq(ALPHA_SEQ.0 + 1), &said, "", out).expect("everything"));
    let old = beat(&mut alpha, Seq(ALPHA_SEQ.0 + 2), &said);
    said.extension.groups[0] = GroupState::Stopping;
    let new = beat(&mut alpha, Seq(ALPHA_SEQ.0 + 3), &said);
    let mut extensions = Vec::new();
    for frame in [&all, &new, &old] {
        let mut reply = [0; BODY_MAX];
        let Ok(Received::Message(message)) = beta.receive(frame, BETA_SEQ, TS, &mut reply) else { panic!("refused") };
        let Body::Status { extension, .. } = message.body else { panic!("{message:?}") };
        extensions.push(extension.is_some());
    }
    // The change came in a beat whose predecessor was missing: what else has changed is not known.
    assert_eq!(extensions, [true, false, false]);
}
