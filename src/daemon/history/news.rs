//! What the two nodes tell each other of what has happened to them: one event at a time, on beats that have room for it.
//!
//! `nbn`, a field of `status` that 3.0.6 stores and never looks at, holds number and wall clock (hex), then the values of
//! `event`, `subject`, `from`, `to`, `cause` and `ms`, with `|` between them: `1f|65e0a1b2|group|10.0.0.1|stopped|starting|death`.
//!
//! * An event rides on two beats: the partner keeps what it has not got yet, and one lost beat costs nothing. A beat
//!   without news is as long as ever, and one with news no longer than the one with the extension, with which it never
//!   goes together.
//! * The last 32 are told again to a partner whose daemon is another one than before.
//! * Only a partner that is a nullbeat is told anything.

use std::fmt::{self, Write as _};

use super::{Entry, Origin};
use crate::core::ids::Generation;
use crate::daemon::clock;
use crate::wire::heartbeat::NEWS_MAX;

/// Events that are told again to a new run of the partner's.
const KEPT: usize = 32;
/// Beats on which an event rides.
const TIMES: u8 = 2;
/// Values of an event on the wire, in this order.
const NAMES: [&str; 6] = ["event", "subject", "from", "to", "cause", "ms"];
/// Bytes of a value on the wire; the rest is cut off.
const VALUE_MAX: usize = 20;

/// Both directions.
#[derive(Debug, Default)]
pub struct News {
    items: heapless::Deque<heapless::String<NEWS_MAX>, KEPT>,
    /// Number of the newest.
    last: u32,
    /// How many of the newest are to be told.
    left: usize,
    /// On how many beats the one at the head of these has ridden.
    times: u8,
    /// To which run of the partner's.
    audience: Generation,
    /// The last one taken from the partner.
    heard: Option<Origin>,
}

impl News {
    /// Begins with these.
    pub fn new(untold: &Untold) -> Self {
        let mut news = Self::default();
        untold.0.iter().for_each(|(wall, entry)| news.push(*wall, entry));
        news
    }

    /// An event of this board.
    pub fn push(&mut self, wall: u32, entry: &Entry) {
        self.last = self.last.wrapping_add(1).max(1);
        let mut item = heapless::String::new();
        let _ = write!(item, "{:x}|{wall:x}", self.last);
        for name in NAMES {
            let value = value(entry.text(), name);
            let end =
                value.char_indices().map(|(at, _)| at).chain([value.len()]).take_while(|at| *at <= VALUE_MAX).last();
            // What does not fit is left out, with everything behind it.
            if write!(item, "|{}", Plain(&value[..end.unwrap_or(0)])).is_err() {
                break;
            }
        }
        item.truncate(item.trim_end_matches('|').len());
        if self.items.is_full() {
            self.items.pop_front();
            self.left = self.left.min(KEPT - 1);
        }
        let _ = self.items.push_back(item);
        self.left += 1;
        if self.left == 1 {
            self.times = 0;
        }
    }

    /// What the next beat to the partner's run of this generation shall carry.
    pub fn poll(&mut self, audience: Generation) -> Option<&str> {
        if audience != self.audience {
            self.audience = audience;
            self.left = self.items.len();
            self.times = 0;
        }
        let at = self.items.len().checked_sub(self.left).filter(|_| self.left > 0)?;
        self.times += 1;
        if self.times >= TIMES {
            self.times = 0;
            self.left -= 1;
        }
        self.items.iter().nth(at).map(heapless::String::as_str)
    }

    /// What the partner's run of this generation says. Nothing that it has said before, and nothing that makes no sense.
    pub fn take(&mut self, node: &str, generation: Generation, text: &str) -> Option<(u32, Origin, Entry)> {
        let mut values = text.split('|');
        let number = u32::from_str_radix(values.next()?, 16).ok().filter(|number| *number > 0)?;
        let wall = u32::from_str_radix(values.next()?, 16).ok()?;
        if self.heard.is_some_and(|heard| heard.generation == generation && heard.number >= number) {
            return None;
        }
        let mut entry = Entry::of_node(node);
        for (name, value) in NAMES.into_iter().zip(values) {
            if name != "ms" || value.parse::<u32>().is_ok() {
                entry.field(name, value);
            }
        }
        let origin = Origin { generation, number };
        self.heard = Some(origin);
        Some((wall, origin, entry))
    }
}

/// Events of the guardian's, which has no way to the partner: the next engine tells them.
#[derive(Debug, Clone, Default)]
pub struct Untold(Vec<(u32, Entry)>);

impl Untold {
    /// Tells the logger now and the partner later; of many the newest.
    pub fn emit(&mut self, entry: &Entry) {
        let at = clock::stamp();
        entry.emit_at(at, None);
        if self.0.len() >= KEPT / 2 {
            self.0.remove(0);
        }
        self.0.push((at.wall, entry.clone()));
    }

    /// An engine has them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A field's value in an entry; empty when there is none.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let mut fields = text.split('\t').filter_map(|field| field.split_once('='));
    fields.find(|(field, _)| *field == name).map_or("", |(_, value)| value)
}

/// Without what separates values on the wire.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| f.write_char(if letter == '|' { '?' } else { letter }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Generation = Generation(7);

    fn event(subject: &str) -> Entry {
        let mut entry = Entry::new("group");
        entry.field("subject", subject).field("from", "stopped").field("to", "starting").field("cause", "death");
        entry
    }

    fn told(news: &mut News, run: Generation) -> Vec<String> {
        std::iter::from_fn(|| news.poll(run).map(str::to_owned)).collect()
    }

    #[test]
    fn event_rides_on_two_beats_and_again_to_another_run() {
        let mut news = News::default();
        assert_eq!(news.poll(RUN), None);
        news.push(0x65e0_a1b2, &event("10.0.0.1"));
        news.push(0x65e0_a1b3, &event("a|b"));
        let first = "1|65e0a1b2|group|10.0.0.1|stopped|starting|death";
        let second = "2|65e0a1b3|group|a?b|stopped|starting|death";
        assert_eq!(told(&mut news, RUN), [first, first, second, second]);
        assert_eq!(told(&mut news, Generation(8)), [first, first, second, second]);
        for second in 0..40 {
            news.push(second, &event("x"));
        }
        let all = told(&mut news, Generation(8));
        assert_eq!((all.len(), all[0].split('|').next()), (64, Some("b")), "{all:?}");
    }

    #[test]
    fn news_come_out_at_the_other_end_once() {
        let (mut here, mut there) = (News::default(), News::default());
        here.push(5, &event("10.0.0.1"));
        let mut late = Entry::new("late");
        late.field("ms", 70);
        here.push(6, &late);
        let all = told(&mut here, RUN);
        let taken: Vec<_> = all.iter().filter_map(|text| there.take("beta", RUN, text)).collect();
        let texts: Vec<_> = taken.iter().map(|(wall, origin, entry)| (*wall, origin.number, entry.text())).collect();
        let group = "node=beta\tevent=group\tsubject=10.0.0.1\tfrom=stopped\tto=starting\tcause=death";
        assert_eq!(texts, [(5, 1, group), (6, 2, "node=beta\tevent=late\tms=70")]);
        assert!(there.take("beta", Generation(8), &all[0]).is_some(), "another run counts anew");
    }

    #[test]
    fn guardian_s_newest_events_are_told_by_the_next_engine() {
        let mut untold = Untold::default();
        (0..20).for_each(|number: u8| untold.emit(Entry::new("engine").field("to", number)));
        let all = told(&mut News::new(&untold), RUN);
        assert_eq!(all.len(), 32, "each twice");
        assert!(all[0].ends_with("|engine|||4") && all[31].ends_with("|engine|||19"), "{all:?}");
        untold.clear();
        assert_eq!(told(&mut News::new(&untold), RUN), [""; 0]);
    }

    #[test]
    fn long_and_odd_news_are_cut_or_refused() {
        let mut news = News::default();
        let mut entry = event(&"é".repeat(30));
        entry.field("ms", 1);
        news.push(u32::MAX, &entry);
        let text = news.poll(RUN).unwrap().to_owned();
        assert!(text.len() <= NEWS_MAX, "{text}");
        assert!(text.starts_with(&format!("1|ffffffff|group|{}|stopped", "é".repeat(10))), "{text}");
        for bad in ["", "1", "|", "0|1|x", "x|1|y", "1|x|y", "100000000|1|x"] {
            assert!(News::default().take("beta", RUN, bad).is_none(), "{bad}");
        }
        let (_, _, entry) = News::default().take("beta", RUN, "1|1|a\tb=c|||||x|y|z").unwrap();
        assert_eq!(entry.text(), "node=beta\tevent=a?b=c");
    }
}
