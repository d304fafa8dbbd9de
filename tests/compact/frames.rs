//! What is refused and counted, and what comes through.

use std::collections::BTreeMap;

use super::pair::{
    ALPHA, ALPHA_SEQ, BETA, BETA_SEQ, Got, Pair, TS, beat, bodies, call, receive, replied, say, secrets, setup,
    telling, vectors, with,
};
use nullbeat::core::ids::{Generation, KeyNumber, Seq, Uuid};
use nullbeat::core::message::Body;
use nullbeat::core::settings::Identity;
use nullbeat::sim::rng::Rng;
use nullbeat::wire::compact::{
    BEAT_LINE_LEN, BODY_MAX, LINE_MAX, LINE_MIN, LineStream, Link, Order, Received, Reject, Telling, Unsaid, WINDOW,
    to_line,
};

fn line(frame: &[u8]) -> Vec<u8> {
    let mut out = vec![0; LINE_MAX];
    let len = to_line(frame, &mut out).expect("a frame");
    out.truncate(len);
    out
}

fn frames(stream: &mut LineStream, mut bytes: &[u8]) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| stream.next(&mut bytes).map(<[u8]>::to_vec)).collect()
}

fn rejected(link: &Link, reject: Reject) -> u32 {
    link.rejected()[reject.index()]
}

#[test]
fn every_truncation_and_every_flipped_bit_of_every_vector_is_refused() {
    for vector in vectors() {
        let mut receiver = vector.receiver();
        assert!(receive(&mut receiver.clone(), &vector.frame, ALPHA_SEQ).is_ok(), "{}", vector.name);
        let mut refused = 0;
        for len in 0..vector.frame.len() {
            assert!(receive(&mut receiver, &vector.frame[..len], ALPHA_SEQ).is_err(), "{} cut to {len}", vector.name);
            refused += 1;
        }
        for bit in 0..8 * vector.frame.len() {
            let mut frame = vector.frame.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            assert!(receive(&mut receiver, &frame, ALPHA_SEQ).is_err(), "{} bit {bit}", vector.name);
            refused += 1;
        }
        assert_eq!(receiver.rejected().iter().sum::<u32>(), refused);
        assert!(receive(&mut receiver, &vector.frame, ALPHA_SEQ).is_ok(), "{}: it has left no trace", vector.name);
    }
}

/// With a checksum that fits, so that the doors behind it are reached.
#[test]
fn every_flipped_bit_is_refused_although_the_checksum_fits() {
    let crc = crc::Crc::<u16>::new(&crc::CRC_16_IBM_SDLC);
    for vector in vectors() {
        let mut receiver = vector.receiver();
        for bit in 0..8 * (vector.frame.len() - 2) {
            let mut frame = vector.frame.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            let (bytes, sum) = frame.split_last_chunk_mut::<2>().expect("longer");
            *sum = crc.checksum(bytes).to_be_bytes();
            assert!(receive(&mut receiver, &frame, ALPHA_SEQ).is_err(), "{} bit {bit}", vector.name);
        }
        assert_eq!(rejected(&receiver, Reject::BadCrc), 0, "{}", vector.name);
        assert!(rejected(&receiver, Reject::BadTag) > 0, "{}", vector.name);
        assert!(receive(&mut receiver, &vector.frame, ALPHA_SEQ).is_ok(), "{}: it has left no trace", vector.name);
    }
}

#[test]
fn bit_flipped_on_the_line_costs_one_frame_and_noise_none() {
    let Pair { mut alpha, beta } = Pair::opened(Order::Kept);
    let said = telling(BETA, BETA_SEQ);
    let hit = beat(&mut alpha, Seq(ALPHA_SEQ.0 + 1), &said);
    let next = beat(&mut alpha, Seq(ALPHA_SEQ.0 + 2), &said);
    for bit in 0..8 * BEAT_LINE_LEN {
        let (mut beta, mut stream) = (beta.clone(), LineStream::new());
        let mut bytes = line(&hit);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes.extend(line(&next));
        let taken: Vec<bool> =
            frames(&mut stream, &bytes).iter().map(|frame| receive(&mut beta, frame, BETA_SEQ).is_ok()).collect();
        assert_eq!(taken.iter().filter(|is_taken| **is_taken).count(), 1, "bit {bit}: {taken:?}");
        assert_eq!(taken.last(), Some(&true), "bit {bit}");
    }
    let mut rng = Rng::new(1, 1);
    for round in 0..1000 {
        let (mut beta, mut stream) = (beta.clone(), LineStream::new());
        let mut bytes: Vec<u8> = (0..rng.below(600)).map(|_| rng.draw().to_le_bytes()[0]).collect();
        bytes.extend(line(&hit));
        let taken = frames(&mut stream, &bytes).iter().filter(|f| receive(&mut beta, f, BETA_SEQ).is_ok()).count();
        assert_eq!(taken, 1, "round {round}");
    }
}

#[test]
fn random_frames_are_refused_with_and_without_a_session() {
    let mut rng = Rng::new(1, 2);
    let crc = crc::Crc::<u16>::new(&crc::CRC_16_IBM_SDLC);
    let mut links = [Pair::new(Order::Loose).beta, Pair::opened(Order::Loose).beta];
    let mut rounds = 0;
    for _ in 0..20_000 {
        let mut frame: Vec<u8> = (0..rng.below(280)).map(|_| rng.draw().to_le_bytes()[0]).collect();
        if rng.chance(800) {
            let sum = crc.checksum(&frame);
            frame.extend(sum.to_be_bytes());
        }
        rounds += 1;
        for link in &mut links {
            assert!(receive(link, &frame, BETA_SEQ).is_err());
            assert_eq!(link.rejected().iter().sum::<u32>(), rounds);
        }
    }
    assert!(rejected(&links[0], Reject::NoSession) > 1000 && rejected(&links[1], Reject::OtherSession) > 1000);
    assert!(rejected(&links[1], Reject::BadCrc) > 1000 && rejected(&links[1], Reject::UnknownKind) > 1000);
}

#[test]
fn replayed_frame_is_refused_and_counted() {
    let mut is_over = false;
    for vector in vectors() {
        let mut receiver = vector.receiver();
        receive(&mut receiver, &vector.frame, ALPHA_SEQ).expect(vector.name);
        let again = receive(&mut receiver, &vector.frame, ALPHA_SEQ);
        match vector.name {
            // The same call has the same answer: it may have been lost.
            "call" => assert!(matches!(again, Ok(Got::Reply(_)))),
            "answer" => assert_eq!(again, Err(Reject::NotAsked)),
            _ => {
                assert_eq!(again, Err(Reject::Replayed), "{}", vector.name);
                assert_eq!(rejected(&receiver, Reject::Replayed), 1);
                is_over = true;
            }
        }
    }
    assert!(is_over);
}

#[test]
fn reflected_frame_is_refused_and_counted() {
    for vector in vectors() {
        let mut sender = vector.sender();
        assert_eq!(receive(&mut sender, &vector.frame, ALPHA_SEQ), Err(Reject::Reflected), "{}", vector.name);
        assert_eq!(rejected(&sender, Reject::Reflected), 1);
    }
}

#[test]
fn frame_of_another_session_or_link_is_refused_and_counted() {
    let old = vectors();
    let is_of_session = |name: &str| !matches!(name, "call" | "answer");
    // The same two nodes with the same secret on another link, or later: other nonces.
    let open = |seed| {
        let link = |name, partner, identity, seed| Link::new(setup(name, partner, identity, seed, Order::Loose));
        let (mut alpha, mut beta) = (link("alpha", "beta", ALPHA, seed), link("beta", "alpha", BETA, seed + 1));
        let hello = call(&mut alpha, ALPHA_SEQ);
        let answer = replied(&mut beta, &hello, BETA_SEQ);
        receive(&mut alpha, &answer, ALPHA_SEQ).expect("the answer");
        let first = say(&mut alpha, ALPHA_SEQ, &Body::Starting);
        receive(&mut beta, &first, BETA_SEQ).expect("the first frame");
        (alpha, beta, first[1])
    };
    let crc = crc::Crc::<u16>::new(&crc::CRC_16_IBM_SDLC);
    let (_, mut beta, address) = open(40);
    for vector in old.iter().filter(|vector| vector.is_alphas && is_of_session(vector.name)) {
        assert_eq!(receive(&mut beta, &vector.frame, BETA_SEQ), Err(Reject::OtherSession), "{}", vector.name);
        // By chance, or by an attacker, the address may fit.
        let mut frame = vector.frame.clone();
        frame[1] = address;
        // As if it were the newest.
        frame[2..4].copy_from_slice(&[0x70, 0]);
        let (bytes, sum) = frame.split_last_chunk_mut::<2>().expect("longer");
        *sum = crc.checksum(bytes).to_be_bytes();
        assert_eq!(receive(&mut beta, &frame, BETA_SEQ), Err(Reject::BadTag), "{}", vector.name);
    }
    assert!(rejected(&beta, Reject::OtherSession) > 20 && rejected(&beta, Reject::BadTag) > 20);
}

#[test]
fn replayed_calls_and_answers_open_no_session_and_close_none() {
    let Pair { mut alpha, mut beta } = Pair::new(Order::Kept);
    let hello = call(&mut alpha, ALPHA_SEQ);
    let answer = replied(&mut beta, &hello, BETA_SEQ);
    receive(&mut alpha, &answer, ALPHA_SEQ).expect("the answer");
    let seq = Seq(ALPHA_SEQ.0 + 1);
    let first = beat(&mut alpha, seq, &Telling::default());
    receive(&mut beta, &first, BETA_SEQ).expect("a beat");
    assert_eq!(receive(&mut beta, &hello, BETA_SEQ), Err(Reject::Stale), "something newer was heard");
    assert_eq!(receive(&mut alpha, &answer, ALPHA_SEQ), Err(Reject::NotAsked));
    // An answer to another call than the one under way.
    call(&mut alpha, seq);
    assert_eq!(receive(&mut alpha, &answer, ALPHA_SEQ), Err(Reject::NotAsked));
    let next = beat(&mut alpha, Seq(seq.0 + 1), &Telling::default());
    assert!(receive(&mut beta, &next, BETA_SEQ).is_ok(), "the session goes on");
    assert_eq!((alpha.sessions(), beta.sessions()), (1, 1));
}

#[test]
fn call_of_an_older_run_or_of_a_stranger_is_refused() {
    let Pair { mut beta, .. } = Pair::opened(Order::Kept);
    let older = Identity { generation: Generation(ALPHA.generation.0 - 1), ..ALPHA };
    let hello = call(&mut Link::new(setup("alpha", "beta", older, 9, Order::Kept)), Seq(u64::MAX));
    assert_eq!(receive(&mut beta, &hello, BETA_SEQ), Err(Reject::Stale));
    let gamma = Identity { uuid: Uuid([0xc3; 16]), generation: Generation(1) };
    let hello = call(&mut Link::new(setup("gamma", "beta", gamma, 9, Order::Kept)), Seq(1));
    assert_eq!(receive(&mut beta, &hello, BETA_SEQ), Err(Reject::Stranger));
    let mut other = setup("alpha", "beta", ALPHA, 9, Order::Kept);
    other.secrets.add(KeyNumber(2), b"another secret");
    assert_eq!(receive(&mut beta, &call(&mut Link::new(other.clone()), ALPHA_SEQ), BETA_SEQ), Err(Reject::BadTag));
    let number = KeyNumber(3);
    other.secrets = nullbeat::wire::compact::Secrets::new(number);
    other.secrets.add(number, super::pair::SECRET);
    let hello = call(&mut Link::new(other), ALPHA_SEQ);
    assert_eq!(receive(&mut beta, &hello, BETA_SEQ), Err(Reject::UnknownKey { number }));
    let mut frame = hello.clone();
    frame[1] = 2;
    let (bytes, sum) = frame.split_last_chunk_mut::<2>().expect("longer");
    *sum = crc::Crc::<u16>::new(&crc::CRC_16_IBM_SDLC).checksum(bytes).to_be_bytes();
    assert_eq!(receive(&mut beta, &frame, BETA_SEQ), Err(Reject::UnknownVersion { version: 2 }));
    assert_eq!(beta.sessions(), 1);
}

/// Delivers what both say to each other until nobody has to reply.
fn settle(alpha: &mut Link, beta: &mut Link, mut to_beta: Vec<Vec<u8>>, mut to_alpha: Vec<Vec<u8>>) {
    for _ in 0..8 {
        let heard = |link: &mut Link, frames: Vec<Vec<u8>>, seq| {
            let got = frames.into_iter().filter_map(|frame| receive(link, &frame, seq).ok());
            let replies = got.filter_map(|got| if let Got::Reply(frame) = got { Some(frame) } else { None });
            replies.collect::<Vec<_>>()
        };
        let from_beta = heard(beta, std::mem::take(&mut to_beta), BETA_SEQ);
        let from_alpha = heard(alpha, std::mem::take(&mut to_alpha), ALPHA_SEQ);
        (to_beta, to_alpha) = (from_alpha, from_beta);
    }
    assert!(to_beta.is_empty() && to_alpha.is_empty(), "they go on for ever");
}

fn speak_both_ways(alpha: &mut Link, beta: &mut Link) {
    // Who has called speaks first: the other one opens the session with that.
    for _ in 0..2 {
        for (from, to, seq) in [(0, 1, ALPHA_SEQ), (1, 0, BETA_SEQ)] {
            let links = [&mut *alpha, &mut *beta];
            if links[from].is_open() {
                let frame = beat(links[from], Seq(seq.0 + 10), &Telling::default());
                let _ = receive(links[to], &frame, seq);
            }
        }
    }
    let there = beat(alpha, Seq(ALPHA_SEQ.0 + 11), &Telling::default());
    assert!(matches!(receive(beta, &there, BETA_SEQ), Ok(Got::Message(_))));
    let back = beat(beta, Seq(BETA_SEQ.0 + 11), &Telling::default());
    assert!(matches!(receive(alpha, &back, ALPHA_SEQ), Ok(Got::Message(_))));
}

#[test]
fn both_call_at_once_and_one_session_comes_of_it() {
    // In every order in which the two calls, or none, arrive before anything else.
    for lost in 0..4 {
        let Pair { mut alpha, mut beta } = Pair::new(Order::Kept);
        let (there, back) = (call(&mut alpha, ALPHA_SEQ), call(&mut beta, BETA_SEQ));
        let some = |frame: Vec<u8>, bit: u32| if lost >> bit & 1 == 0 { vec![frame] } else { vec![] };
        settle(&mut alpha, &mut beta, some(there, 0), some(back, 1));
        if lost == 3 {
            let again = call(&mut beta, BETA_SEQ);
            settle(&mut alpha, &mut beta, vec![], vec![again]);
        }
        speak_both_ways(&mut alpha, &mut beta);
        assert_eq!((alpha.sessions(), beta.sessions()), (1, 1), "lost {lost}");
    }
}

#[test]
fn partner_that_starts_again_gets_a_new_session_and_the_old_one_serves_until_then() {
    let Pair { mut alpha, mut beta } = Pair::opened(Order::Kept);
    let reborn = Identity { generation: Generation(BETA.generation.0 + 1), ..BETA };
    let mut new_beta = Link::new(setup("beta", "alpha", reborn, 3, Order::Kept));
    let hello = call(&mut new_beta, Seq(1));
    let answer = replied(&mut alpha, &hello, ALPHA_SEQ);
    // The old one is not dead after all.
    let old = beat(&mut beta, Seq(BETA_SEQ.0 + 1), &Telling::default());
    assert!(receive(&mut alpha, &old, ALPHA_SEQ).is_ok());
    assert_eq!(receive(&mut new_beta, &answer, Seq(1)), Ok(Got::Opened));
    let first = beat(&mut new_beta, Seq(2), &Telling::default());
    let Ok(Got::Message(message)) = receive(&mut alpha, &first, ALPHA_SEQ) else { panic!("not taken") };
    assert!(message.contains(&format!("{:?}", reborn.generation)), "{message}");
    let old = beat(&mut beta, Seq(BETA_SEQ.0 + 2), &Telling::default());
    assert_eq!(receive(&mut alpha, &old, ALPHA_SEQ), Err(Reject::OtherSession));
    let hello = call(&mut beta, Seq(BETA_SEQ.0 + 3));
    assert_eq!(receive(&mut alpha, &hello, ALPHA_SEQ), Err(Reject::Stale), "of a run that is over");
}

#[test]
fn keys_can_be_rolled_over_one_node_at_a_time() {
    let with_two = |name, partner, identity, seed, active| {
        let mut setup = setup(name, partner, identity, seed, Order::Kept);
        setup.secrets = nullbeat::wire::compact::Secrets::new(KeyNumber(active));
        setup.secrets.add(KeyNumber(1), b"old");
        setup.secrets.add(KeyNumber(2), b"new");
        Link::new(setup)
    };
    let mut alpha = with_two("alpha", "beta", ALPHA, 1, 2);
    let mut beta = with_two("beta", "alpha", BETA, 2, 1);
    let (there, back) = (call(&mut alpha, ALPHA_SEQ), call(&mut beta, BETA_SEQ));
    settle(&mut alpha, &mut beta, vec![there], vec![back]);
    speak_both_ways(&mut alpha, &mut beta);
}

#[test]
fn window_takes_each_number_once_within_64_and_serial_lines_none_behind() {
    let Pair { mut alpha, mut beta } = Pair::opened(Order::Loose);
    let sent: Vec<Vec<u8>> = (1..=200).map(|n| say(&mut alpha, Seq(ALPHA_SEQ.0 + n), &Body::Starting)).collect();
    let mut kept = Pair::opened(Order::Kept);
    for _ in 1..=200 {
        // The same bytes: the same nonces.
        say(&mut kept.alpha, ALPHA_SEQ, &Body::Starting);
    }
    assert!(receive(&mut beta, &sent[100], BETA_SEQ).is_ok());
    assert!(receive(&mut kept.beta, &sent[100], BETA_SEQ).is_ok());
    let width = usize::try_from(WINDOW).expect("small");
    for (index, frame) in sent.iter().enumerate().take(101) {
        let is_new = index < 100 && index + width > 100;
        let expected = if is_new { Ok(()) } else { Err(Reject::Replayed) };
        assert_eq!(receive(&mut beta, frame, BETA_SEQ).map(drop), expected, "{index}");
        assert_eq!(receive(&mut beta, frame, BETA_SEQ).map(drop), Err(Reject::Replayed), "{index} again");
        assert_eq!(receive(&mut kept.beta, frame, BETA_SEQ).map(drop), Err(Reject::Replayed), "{index} on a line");
    }
    for frame in sent.iter().skip(101).rev().step_by(3).rev() {
        assert!(receive(&mut beta, frame, BETA_SEQ).is_ok());
    }
    assert_eq!(receive(&mut beta, &sent[102], BETA_SEQ).map(drop), Err(Reject::Replayed), "out of the window");
}

#[test]
fn session_outlives_the_loss_of_thirty_thousand_frames() {
    let Pair { mut alpha, mut beta } = Pair::opened(Order::Kept);
    let mut seq = ALPHA_SEQ.0;
    for lost in [1, 255, 256, 257, 30_000, 32_767] {
        let mut last = Vec::new();
        for _ in 0..=lost {
            seq += 1;
            last = beat(&mut alpha, Seq(seq), &Telling::default());
        }
        let mut reply = [0; BODY_MAX];
        let Ok(Received::Message(message)) = beta.receive(&last, BETA_SEQ, TS, &mut reply) else { panic!("{lost}") };
        assert_eq!(message.seq, Some(Seq(seq)));
    }
}

/// Both were cut off from each other for longer than the lower half of a number lasts: what they then tell of having heard
/// of each other is older than that.
#[test]
fn session_begins_however_long_ago_the_partner_was_heard() {
    let Pair { alpha, beta } = Pair::new(Order::Loose);
    for outage in [1, 0x3fff, 0x4000, 0x7fff, 0x8000, 0xffff, 0x1_0000, 70_000, 1 << 33] {
        let (of_alpha, of_beta) = (Seq(ALPHA_SEQ.0 + outage), Seq(BETA_SEQ.0 + outage));
        let (mut alpha, mut beta) = (alpha.clone(), beta.clone());
        let frame = call(&mut alpha, of_alpha);
        let answer = replied(&mut beta, &frame, of_beta);
        receive(&mut alpha, &answer, of_alpha).expect("the answer");
        let first =
            with(|out| alpha.tell_all(Seq(of_alpha.0 + 1), &telling(BETA, BETA_SEQ), "", out).expect("everything"));
        receive(&mut beta, &first, of_beta).unwrap_or_else(|reject| panic!("{outage}: {reject:?}"));
        let frame = beat(&mut beta, Seq(of_beta.0 + 1), &telling(ALPHA, Seq(of_alpha.0 + 1)));
        receive(&mut alpha, &frame, Seq(of_alpha.0 + 1)).unwrap_or_else(|reject| panic!("{outage}: {reject:?}"));
    }
}

#[test]
fn every_type_of_message_comes_out_as_it_went_in() {
    let Pair { mut alpha, mut beta } = Pair::opened(Order::Kept);
    let mut kinds = BTreeMap::new();
    let mut shortest = LINE_MAX;
    for (offset, (name, body)) in (1..).zip(bodies()) {
        let seq = Seq(ALPHA_SEQ.0 + offset);
        let frame = say(&mut alpha, seq, &body);
        shortest = shortest.min(line(&frame).len());
        let mut reply = [0; BODY_MAX];
        let Ok(Received::Message(message)) = beta.receive(&frame, BETA_SEQ, TS, &mut reply) else { panic!("{name}") };
        assert_eq!((message.body, message.ts, message.src, message.dest), (body, TS, "alpha", Some("beta")));
        assert_eq!((message.src_uuid, message.dest_uuid), (Some(ALPHA.uuid), Some(BETA.uuid)));
        assert_eq!((message.generation, message.key, message.news), (ALPHA.generation, KeyNumber(2), None));
        assert!(message.seq.is_none_or(|number| number == seq));
        assert!(kinds.insert(frame[0], name).is_none(), "{name}");
    }
    assert_eq!(kinds.len(), 20);
    assert_eq!(shortest, LINE_MIN, "for so many bytes a line at rest waits");
    const { assert!(BEAT_LINE_LEN >= LINE_MIN) };
}

#[test]
fn line_waits_for_a_whole_frame_at_rest_and_for_any_byte_within_one() {
    let Pair { mut alpha, .. } = Pair::opened(Order::Kept);
    let frame = line(&say(&mut alpha, Seq(ALPHA_SEQ.0 + 1), &Body::ShutDone));
    let mut stream = LineStream::new();
    for cut in 0..=frame.len() {
        let (front, back) = frame.split_at(cut);
        assert_eq!(frames(&mut stream, front).len(), usize::from(cut == frame.len()));
        // Of the two delimiters each may be the first one's.
        let is_at_rest = cut <= 1 || cut == frame.len();
        assert_eq!(stream.missing(), if is_at_rest { LINE_MIN - 1 } else { 1 }, "behind {cut} bytes");
        assert!(stream.missing() <= back.len().max(1) || cut == frame.len());
        frames(&mut stream, back);
    }
    // Noise, however long: what ends it may be the front of a frame.
    for noise in [&b"login: "[..], &[7; 2 * LINE_MAX]] {
        frames(&mut stream, noise);
        assert_eq!(stream.missing(), 1);
        frames(&mut stream, &[0]);
        assert_eq!(stream.missing(), LINE_MIN - 1);
    }
}

#[test]
fn what_cannot_be_said_is_not_said() {
    let Pair { mut alpha, .. } = Pair::opened(Order::Kept);
    let out = &mut [0; BODY_MAX];
    let (seq, long) = (Some(Seq(1)), "x".repeat(300));
    assert_eq!(Pair::new(Order::Kept).alpha.beat(Seq(1), &Telling::default(), out), Err(Unsaid::NoSession));
    assert_eq!(alpha.say((seq, TS), false, &Body::Other { kind: "site" }, out), Err(Unsaid::NotOurs));
    let many = Body::RepNodes { nodes: &long, deleted: " " };
    assert_eq!(alpha.say((seq, TS), false, &many, out), Err(Unsaid::TooLong));
    assert_eq!(alpha.say((seq, TS), false, &Body::ReqNodes, &mut out[..9]), Err(Unsaid::TooLong));
    assert_eq!(alpha.say((None, TS), false, &Body::ReqNodes, out), Err(Unsaid::BadNumber));
    assert_eq!(alpha.say((seq, TS), false, &Body::Ack { acked: Seq(1) }, out), Err(Unsaid::BadNumber));
    assert_eq!(alpha.say((seq, 0), false, &Body::ReqNodes, out), Err(Unsaid::BadNumber));
    assert_eq!(alpha.beat(Seq(0), &Telling::default(), out), Err(Unsaid::BadNumber));
    // Without a secret there is nothing to speak with.
    let mut bare = setup("alpha", "beta", ALPHA, 1, Order::Kept);
    bare.secrets = nullbeat::wire::compact::Secrets::new(KeyNumber(1));
    assert_eq!(Link::new(bare).call(Seq(1), TS, out), None);
    assert!(format!("{:?}", secrets()).contains("known: [2]"));
}
