//! The membership as `cl_status hbstatus -v` shows it: what a service of membership, packaged or built in, tells each
//! program that connects (spec/api.md 6.4).

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use super::library::{FrameStream, Silence};

const EVICTED: u32 = 1;
const NEW_MEMBERSHIP: u32 = 2;
const NODE_LIST: u32 = 4;
/// Bytes of a node in the list: its number, its name, what fills that up.
const NODE_LEN: usize = 4 + 256;

/// Connects and waits for the membership in force.
pub(super) fn seen(socket: &Path, limit: Instant) -> Result<String, Silence> {
    let (mut frames, mut news) = (FrameStream::connect(socket, limit)?, News::default());
    loop {
        if let Some(text) = news.take(&frames.next(limit)?) {
            return Ok(text);
        }
    }
}

/// What a service of membership has said so far.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Which node of the list is this one.
    own: Option<u32>,
    names: Vec<String>,
}

impl News {
    /// Takes the body of a frame; the words for a membership, when it was one.
    pub(crate) fn take(&mut self, body: &[u8]) -> Option<String> {
        let mut numbers = body.chunks_exact(4).map(number);
        match numbers.next()? {
            NODE_LIST => {
                self.own = numbers.nth(1);
                self.names = body.get(12..).unwrap_or_default().chunks_exact(NODE_LEN).map(name).collect();
                None
            }
            EVICTED => Some("\nccm membership evicted\n".to_owned()),
            NEW_MEMBERSHIP => Some(text(&numbers.collect::<Vec<_>>(), self.own, &self.names)),
            _ => None,
        }
    }
}

/// Its words: how many members, number of the membership, quorum, then each member with the number that it joined in.
fn text(numbers: &[u32], own: Option<u32>, names: &[String]) -> String {
    let [count, instance, quorum, members @ ..] = numbers else { return String::new() };
    let mut members: Vec<(u32, u32)> = members.chunks_exact(2).map(|pair| (pair[1], pair[0])).collect();
    crate::order::sort(&mut members, |a, b| a < b);
    let quorum = if *quorum == 0 { "WITHOUT" } else { "with" };
    let mut text = format!("\nccm membership {quorum} quorum\n\tinstance {instance}\n\tmembers {count}\n");
    for (born, id) in &members {
        let name = usize::try_from(*id).ok().and_then(|id| names.get(id)).map_or("", String::as_str);
        let _ = writeln!(text, "\t\t{id} {name}\t(born: {born})");
    }
    let is_member = members.iter().any(|(_, id)| Some(*id) == own);
    text + if is_member { "\tmember of partition\n" } else { "\tNOT member of partition\n" }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}

fn name(node: &[u8]) -> String {
    let name = node.get(4..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_reads_as_the_original_shows_it() {
        let names = ["apa", "apb"].map(str::to_owned);
        let alone =
            "\nccm membership with quorum\n\tinstance 3\n\tmembers 1\n\t\t0 apa\t(born: 3)\n\tmember of partition\n";
        assert_eq!(text(&[1, 3, 1, 0, 3], Some(0), &names), alone);
        let both = "\nccm membership WITHOUT quorum\n\tinstance 2\n\tmembers 2\n\t\t1 apb\t(born: 1)\n\t\t0 apa\t(born: 2)\n\
                    \tNOT member of partition\n";
        assert_eq!(text(&[2, 2, 0, 0, 2, 1, 1], Some(7), &names), both);
        assert_eq!(text(&[], None, &[]), "");
    }
}
