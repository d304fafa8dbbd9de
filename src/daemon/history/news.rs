//! What the two nodes tell each other of what has happened to them: one event at a time, on beats that have room for it.
//!
//! `nbn`, a field of `status` that 3.0.6 stores and never looks at, holds number and wall clock (hex), then the values of
//! `event`, `subject`, `from`, `to`, `cause` and `ms`, with `|` between them: `1f|65e0a1b2|group|10.0.0.1|stopped|starting|death`.
//!
//! * What is longer than the field goes in parts, the last part first: `1f+2|…`, `1f+1|…`, and then the one with number and
//!   clock, with which the event is complete. A partner that has lost a part takes what comes before it, and so does one
//!   that knows nothing of parts.
//! * A part rides on two beats: the partner keeps what it has not got yet, and one lost beat costs nothing. A beat
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
/// Beats on which a part of an event rides.
const TIMES: u8 = 2;
/// Values of an event on the wire, in this order.
const NAMES: [&str; 6] = ["event", "subject", "from", "to", "cause", "ms"];
/// Parts of an event; the first begins with two numbers of up to eight digits, the others with one and their place.
const PARTS_MAX: usize = 6;
const FIRST_HEAD: usize = 18;
const PART_HEAD: usize = 11;
/// Bytes of an event's values on the wire: all that an [`Entry`] has room for.
const VALUES_MAX: usize = (NEWS_MAX - FIRST_HEAD) + (PARTS_MAX - 1) * (NEWS_MAX - PART_HEAD);
const _: () = assert!(VALUES_MAX >= super::slot::BODY_MAX && PARTS_MAX <= 10, "the place is one digit");

/// An event as it is told.
#[derive(Debug)]
struct Item {
    number: u32,
    wall: u32,
    values: heapless::String<VALUES_MAX>,
}

impl Item {
    /// Which bytes of the values its parts have. Only whole characters.
    fn parts(&self) -> heapless::Vec<&str, PARTS_MAX> {
        let mut parts = heapless::Vec::new();
        let mut rest = self.values.as_str();
        let mut room = NEWS_MAX - FIRST_HEAD;
        loop {
            let end = (0..=room.min(rest.len())).rev().find(|&at| rest.is_char_boundary(at)).unwrap_or(0);
            let (part, left) = rest.split_at(end);
            if parts.push(part).is_err() || left.is_empty() {
                return parts;
            }
            (rest, room) = (left, NEWS_MAX - PART_HEAD);
        }
    }

    /// One of them as it travels.
    fn part(&self, place: usize, text: &str) -> heapless::String<NEWS_MAX> {
        let mut told = heapless::String::new();
        // It fits: the numbers have at most eight digits.
        let _ = match place {
            0 => write!(told, "{:x}|{:x}|{text}", self.number, self.wall),
            place => write!(told, "{:x}+{place}|{text}", self.number),
        };
        told
    }
}

/// What has come of an event whose first part has not.
#[derive(Debug, Default)]
struct Rest {
    of: Option<Origin>,
    /// The lowest place so far; everything behind it is there, as far as it came.
    from: usize,
    values: heapless::String<VALUES_MAX>,
}

impl Rest {
    fn take(&mut self, of: Origin, place: usize, values: &str) {
        if self.of == Some(of) && self.from <= place {
            return;
        }
        if self.of != Some(of) || self.from != place + 1 {
            self.values.clear();
        }
        (self.of, self.from) = (Some(of), place);
        self.put_before(values);
    }

    /// What is too long, which nobody tells, is nothing.
    fn put_before(&mut self, values: &str) {
        let mut whole = heapless::String::new();
        if whole.push_str(values).and_then(|()| whole.push_str(&self.values)).is_ok() {
            self.values = whole;
        }
    }

    /// The values of the event whose first part has these.
    fn complete(&mut self, of: Origin, values: &str) -> heapless::String<VALUES_MAX> {
        if self.of != Some(of) || self.from != 1 {
            self.values.clear();
        }
        self.of = None;
        self.put_before(values);
        std::mem::take(&mut self.values)
    }
}

/// Both directions.
#[derive(Debug, Default)]
pub struct News {
    items: heapless::Deque<Item, KEPT>,
    /// Number of the newest.
    last: u32,
    /// How many of the newest are to be told.
    left: usize,
    /// On how many beats the one at the head of these has ridden, with all its parts.
    beats: u8,
    /// To which run of the partner's.
    audience: Generation,
    /// The last one taken from the partner.
    heard: Option<Origin>,
    rest: Rest,
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
        let mut values = heapless::String::new();
        for (index, name) in NAMES.into_iter().enumerate() {
            let bar = if index == 0 { "" } else { "|" };
            // It fits: an entry has no more than that.
            let _ = write!(values, "{bar}{}", Plain(value(entry.text(), name)));
        }
        values.truncate(values.trim_end_matches('|').len());
        if self.items.is_full() {
            self.items.pop_front();
            if self.left == KEPT {
                (self.left, self.beats) = (KEPT - 1, 0);
            }
        }
        let _ = self.items.push_back(Item { number: self.last, wall, values });
        self.left += 1;
        if self.left == 1 {
            self.beats = 0;
        }
    }

    /// What the next beat to the partner's run of this generation shall carry.
    pub fn poll(&mut self, audience: Generation) -> Option<heapless::String<NEWS_MAX>> {
        if audience != self.audience {
            self.audience = audience;
            self.left = self.items.len();
            self.beats = 0;
        }
        let at = self.items.len().checked_sub(self.left).filter(|_| self.left > 0)?;
        let item = self.items.iter().nth(at)?;
        let parts = item.parts();
        // The last part first.
        let place = parts.len().saturating_sub(1 + usize::from(self.beats / TIMES));
        let told = item.part(place, parts.get(place)?);
        self.beats += 1;
        if usize::from(self.beats / TIMES) == parts.len() {
            self.beats = 0;
            self.left -= 1;
        }
        Some(told)
    }

    /// What the partner's run of this generation says. Nothing that it has said before, nothing that makes no sense, and
    /// nothing before the first part of an event is there.
    pub fn take(&mut self, node: &str, generation: Generation, text: &str) -> Option<(u32, Origin, Entry)> {
        let (number, text) = text.split_once('|')?;
        let (number, place) = match number.split_once('+') {
            Some((number, place)) => (number, Some(place)),
            None => (number, None),
        };
        let number = u32::from_str_radix(number, 16).ok().filter(|number| *number > 0)?;
        if self.heard.is_some_and(|heard| heard.generation == generation && heard.number >= number) {
            return None;
        }
        let origin = Origin { generation, number };
        if let Some(place) = place {
            let place = place.parse().ok().filter(|place| (1..PARTS_MAX).contains(place))?;
            self.rest.take(origin, place, text);
            return None;
        }
        let (wall, first) = text.split_once('|').unwrap_or((text, ""));
        let wall = u32::from_str_radix(wall, 16).ok()?;
        let values = self.rest.complete(origin, first);
        let mut entry = Entry::of_node(node);
        for (name, value) in NAMES.into_iter().zip(values.split('|')) {
            if name != "ms" || value.parse::<u32>().is_ok() {
                entry.field(name, value);
            }
        }
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
        std::iter::from_fn(|| news.poll(run).map(|text| text.as_str().to_owned())).collect()
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

    /// As long as they come: each value fills its field, and the numbers have all their digits.
    fn long() -> Entry {
        let mut entry = Entry::new("an event of a kind");
        entry.field("subject", "split_brain 10.0.0.1").field("from", "é".repeat(30)).field("to", "released");
        entry.field("cause", "the other node is the fixed winner of a split brain").field("ms", u32::MAX);
        entry
    }

    #[test]
    fn long_values_come_whole_in_parts() {
        let (mut here, mut there) = (News { last: u32::MAX - 3, ..News::default() }, News::default());
        here.push(u32::MAX, &long());
        here.push(7, &event("x"));
        let all = told(&mut here, RUN);
        assert!(all.len() > 6 && all.iter().all(|text| text.len() <= NEWS_MAX), "{all:?}");
        let taken: Vec<_> = all.iter().filter_map(|text| there.take("beta", RUN, text)).collect();
        let whole = format!("node=beta\t{}", long().text());
        assert_eq!(taken.iter().map(|(wall, ..)| *wall).collect::<Vec<_>>(), [u32::MAX, 7]);
        assert_eq!(taken[0].2.text(), whole);
    }

    #[test]
    fn lost_part_costs_what_stands_behind_it_and_no_other_event() {
        let mut here = News::default();
        here.push(5, &long());
        here.push(6, &event("x"));
        let mut all = told(&mut here, RUN);
        all.dedup();
        let whole = format!("node=beta\t{}", long().text());
        for lost in 0..all.len() {
            let mut there = News::default();
            let heard = all.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, text)| text);
            let taken: Vec<_> = heard.filter_map(|text| there.take("beta", RUN, text)).collect();
            let texts: Vec<_> = taken.iter().map(|(_, _, entry)| entry.text()).collect();
            let is_last = |text: &&&str| text.ends_with("cause=death");
            match texts[..] {
                [first, second] => assert!(whole.starts_with(first) && is_last(&&second), "{texts:?}"),
                // The first part itself, of the one event or the other.
                [only] => assert!(only == whole || is_last(&&only), "{texts:?}"),
                _ => panic!("{texts:?}"),
            }
        }
    }

    #[test]
    fn odd_news_are_refused() {
        let mut news = News::default();
        for bad in ["", "1", "|", "0|1|x", "x|1|y", "1|x|y", "100000000|1|x", "1+1|x", "1+0|1|x", "1+6|x", "1+|1|x"] {
            assert!(news.take("beta", RUN, bad).is_none(), "{bad}");
        }
        let (_, _, entry) = News::default().take("beta", RUN, "1|1|a\tb=c|||||x|y|z").unwrap();
        assert_eq!(entry.text(), "node=beta\tevent=a?b=c");
    }
}
