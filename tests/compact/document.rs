//! docs/protocol.md: its vectors are those of the code, byte for byte, and its numbers are right.

use nullbeat::wire::compact::{
    BEAT_LEN, BEAT_LINE_LEN, BODY_MAX, HELLO_TAG_LEN, LINE_MAX, LINE_OVERHEAD, Reject, TAG_LEN, VERSION, WINDOW,
    to_line,
};

use super::pair::vectors;

const PAGE: &str = include_str!("../../docs/protocol.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The block of vectors as it has to stand in the page: name, length, bytes in lines of 48.
fn block() -> String {
    let mut text = String::new();
    for vector in vectors() {
        text += &format!("{}: {} bytes\n", vector.name, vector.frame.len());
        for row in vector.frame.chunks(48) {
            text += &format!("    {}\n", hex(row));
        }
    }
    let beat = vectors().into_iter().find(|vector| vector.name == "beat").expect("a beat");
    let mut line = [0; LINE_MAX];
    let len = to_line(&beat.frame, &mut line).expect("a frame");
    text + &format!("beat, on a serial line: {len} bytes\n    {}\n", hex(&line[..len]))
}

#[test]
fn vectors_of_the_document_are_those_of_the_code() {
    let (_, rest) = PAGE.split_once("```vectors\n").expect("a block of vectors");
    let (there, _) = rest.split_once("```\n").expect("its end");
    assert_eq!(there, block(), "docs/protocol.md should have:\n{}", block());
}

#[test]
fn numbers_of_the_document_are_those_of_the_code() {
    for (name, value) in [
        ("BEAT_LINE_LEN", BEAT_LINE_LEN),
        ("BEAT_LEN", BEAT_LEN),
        ("LINE_OVERHEAD", LINE_OVERHEAD),
        ("BODY_MAX", BODY_MAX),
        ("TAG_LEN", TAG_LEN),
        ("HELLO_TAG_LEN", HELLO_TAG_LEN),
        ("WINDOW", usize::try_from(WINDOW).expect("small")),
        ("VERSION", usize::from(VERSION)),
    ] {
        assert!(PAGE.contains(&format!("| `{name}` | {value} |")), "{name} is {value}");
    }
    for name in Reject::NAMES {
        assert!(PAGE.contains(&format!("| `{name}` |")), "the counter {name} is not explained");
    }
}
