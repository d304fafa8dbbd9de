//! What a beat carries beside being alive: four bytes, a page, of a little book that rotates over the beats.
//!
//! A change goes first: the beat in which it is told has a new *epoch*. Who has got all beats knows then that nothing else
//! has changed; who has missed some, and finds another epoch, trusts no page until it comes round again. So holdings are
//! never put together from before and after a change, and an [`Extension`] comes out only when it is whole and up to date.

use super::bytes::{Reader, Writer};
use crate::core::ids::{Generation, GroupSet, Seq};
use crate::core::limits::{GROUPS_MAX, LINKS_MAX};
use crate::core::message::{Extension, GroupState, HealthReport, LinkEcho, NodeStatus};
use crate::core::{Cause, LineLevel};

/// Lower half of the echo, flags, epoch, page number, page.
pub(super) const BEAT_PAYLOAD_LEN: usize = FAST_LEN + PAGE_LEN;
/// Of it what every beat says.
pub(super) const FAST_LEN: usize = 5;
/// Bytes of a page.
const PAGE_LEN: usize = 4;

/// A nibble for each of eight groups: state, and claimed or not.
const GROUPS: usize = 0;
const GROUPS_A_PAGE: usize = 8;
/// A byte for each of four links: [`age_code`].
const LINKS: usize = 8;
const LINKS_A_PAGE: usize = 4;
/// Groups, links, whether there is a health report, version.
const COUNTS: usize = 12;
const CONFIG_DIGEST: usize = 13;
const RESOURCES_DIGEST: usize = 14;
const DEAD_TIME: usize = 15;
const LEASE: usize = 16;
/// How long the sender was stalled (two bytes), why it changed last, zero.
const MOMENT: usize = 17;
/// Failing, unknown, two zeros.
const HEALTH: usize = 18;
/// Two pages.
const SPENT: usize = 19;
const WALL_CLOCK: usize = 21;
const PAGES: usize = 22;

/// Pages that change all the time and decide nothing: no epoch goes with them.
const VOLATILE: u32 = 0b1111 << LINKS | 1 << MOMENT | 1 << WALL_CLOCK;

/// An age code for "never".
const NEVER: u8 = 255;
/// The largest code of an age: 43 days.
const OLDEST: u8 = 239;

const VERSION: u8 = 1;

const CAUSES: [Cause; 11] = [
    Cause::Startup,
    Cause::Death,
    Cause::Goodbye,
    Cause::Failback,
    Cause::Operator,
    Cause::StartFailure,
    Cause::SplitBrain,
    Cause::Shutdown,
    Cause::Script,
    Cause::Upstream,
    Cause::Health,
];

const STATUSES: [NodeStatus; 3] = [NodeStatus::Init, NodeStatus::Up, NodeStatus::Active];
const LINE_LEVELS: [LineLevel; 3] = [LineLevel::Unknown, LineLevel::Inactive, LineLevel::Active];

/// What a node tells of itself with its beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// Its status word; `None` on the receiving side: one that says nothing here.
    pub status: Option<NodeStatus>,
    /// The dead time that it announces, milliseconds.
    pub dead_ms: u32,
    /// Its wall clock, seconds since 1970, never zero.
    pub ts: u32,
    /// How long it was last not scheduled although it had something to do, milliseconds; more than 65 s is told as that.
    pub stalled_ms: u16,
    /// Why its holdings changed last.
    pub cause: Option<Cause>,
    /// All the rest. Ages of links arrive rounded up by at most an eighth.
    pub extension: Extension,
}

impl Default for Telling {
    fn default() -> Self {
        Self {
            status: Some(NodeStatus::Init),
            dead_ms: 0,
            ts: 1,
            stalled_ms: 0,
            cause: None,
            extension: Extension::EMPTY,
        }
    }
}

/// An age as one byte: three bits behind the first one, and how far they are shifted. Rounded up.
fn age_code(age_ms: u32) -> u8 {
    if age_ms == u32::MAX { NEVER } else { (0..OLDEST).find(|code| age_of(*code) >= age_ms).unwrap_or(OLDEST) }
}

const fn age_of(code: u8) -> u32 {
    let mantissa = code as u32 & 7;
    if code < 8 { mantissa } else { (8 + mantissa) << ((code >> 3) - 1) }
}

/// The page's bytes as they are now.
fn page(telling: &Telling, index: usize) -> [u8; PAGE_LEN] {
    let extension = &telling.extension;
    let health = extension.health.unwrap_or_default();
    match index {
        GROUPS..LINKS => group_page(extension, (index - GROUPS) * GROUPS_A_PAGE),
        LINKS..COUNTS => core::array::from_fn(|place| {
            extension.links.get((index - LINKS) * LINKS_A_PAGE + place).map_or(NEVER, |link| age_code(link.age_ms))
        }),
        COUNTS => {
            [extension.group_count, extension.link_count, u8::from(extension.health.is_some()), extension.version]
        }
        CONFIG_DIGEST => extension.config_digest.to_be_bytes(),
        RESOURCES_DIGEST => extension.resources_digest.to_be_bytes(),
        DEAD_TIME => telling.dead_ms.to_be_bytes(),
        LEASE => extension.lease_ms.to_be_bytes(),
        MOMENT => {
            let [high, low] = telling.stalled_ms.to_be_bytes();
            [high, low, telling.cause.map_or(0, cause_code), 0]
        }
        HEALTH => [health.failing, health.unknown, 0, 0],
        SPENT..WALL_CLOCK => {
            let bytes = health.spent.0.to_be_bytes();
            core::array::from_fn(|place| bytes[(index - SPENT) * PAGE_LEN + place])
        }
        _ => telling.ts.to_be_bytes(),
    }
}

fn group_page(extension: &Extension, first: usize) -> [u8; PAGE_LEN] {
    let nibble = |group: usize| {
        let state = extension.groups.get(group).filter(|_| group < usize::from(extension.group_count));
        let place = state.and_then(|state| GroupState::ALL.iter().position(|other| other == state)).unwrap_or(0);
        let is_claimed = extension.claims.0 >> group & 1 == 1;
        u8::try_from(place).unwrap_or(0) | u8::from(is_claimed) << 3
    };
    core::array::from_fn(|place| nibble(first + 2 * place) << 4 | nibble(first + 2 * place + 1))
}

fn cause_code(cause: Cause) -> u8 {
    let place = CAUSES.iter().position(|other| *other == cause).and_then(|place| u8::try_from(place).ok());
    place.map_or(0, |place| place + 1)
}

/// The pages that a node with so many groups and links has.
fn pages_of(group_count: u8, link_count: u8, has_health: bool) -> u32 {
    let first = |count: usize| (1u32 << count) - 1;
    let always = [COUNTS, CONFIG_DIGEST, RESOURCES_DIGEST, DEAD_TIME, LEASE, MOMENT, WALL_CLOCK];
    let health = [HEALTH, SPENT, SPENT + 1];
    let fixed = always.iter().chain(health.iter().filter(|_| has_health)).fold(0, |all, index| all | 1 << index);
    fixed
        | first(usize::from(group_count).div_ceil(GROUPS_A_PAGE)) << GROUPS
        | first(usize::from(link_count).div_ceil(LINKS_A_PAGE)) << LINKS
}

fn pages_in_use(extension: &Extension) -> u32 {
    pages_of(extension.group_count, extension.link_count, extension.health.is_some())
}

/// Bytes of all pages of a node, each with its number.
pub(super) fn all_len(telling: &Telling) -> usize {
    usize::try_from(pages_in_use(&telling.extension).count_ones()).unwrap_or(PAGES) * (1 + PAGE_LEN)
}

/// The sending half: what has been told, and what is next.
#[derive(Debug, Clone)]
pub(super) struct Mouth {
    told: [[u8; PAGE_LEN]; PAGES],
    is_told: u32,
    epoch: u8,
    /// Which page was told last.
    last: usize,
}

impl Mouth {
    pub(super) const fn new() -> Self {
        Self { told: [[0; PAGE_LEN]; PAGES], is_told: 0, epoch: 0, last: PAGES - 1 }
    }

    /// The pages that are not as they were told, or never were; the counts first, then holdings.
    fn changed(&self, telling: &Telling) -> impl Iterator<Item = usize> {
        let used = pages_in_use(&telling.extension) & !VOLATILE;
        let order = core::iter::once(COUNTS).chain((0..PAGES).filter(|index| *index != COUNTS));
        order.filter(move |index| {
            used >> index & 1 == 1
                && (self.is_told >> index & 1 == 0 || self.told.get(*index) != Some(&page(telling, *index)))
        })
    }

    fn tell(&mut self, telling: &Telling, index: usize) -> [u8; PAGE_LEN] {
        let content = page(telling, index);
        if let Some(slot) = self.told.get_mut(index) {
            *slot = content;
        }
        self.is_told |= 1 << index;
        content
    }

    /// Writes what a beat says.
    pub(super) fn beat(&mut self, telling: &Telling, echo: Option<u64>, out: &mut Writer<'_>) {
        let used = pages_in_use(&telling.extension);
        let changed = self.changed(telling).next();
        let index = match changed {
            Some(index) => {
                self.epoch = self.epoch.wrapping_add(1);
                index
            }
            None => {
                let mut behind = (1..=PAGES).map(|step| (self.last + step) % PAGES);
                let next = behind.find(|index| used >> index & 1 == 1).unwrap_or(COUNTS);
                self.last = next;
                next
            }
        };
        let content = self.tell(telling, index);
        let is_current = self.changed(telling).next().is_none();
        self.fast(telling, echo, (index, is_current), out);
        out.put(&content);
    }

    /// Writes everything at once.
    pub(super) fn all(&mut self, telling: &Telling, echo: Option<u64>, news: &str, out: &mut Writer<'_>) {
        let used = pages_in_use(&telling.extension);
        if self.changed(telling).next().is_some() {
            self.epoch = self.epoch.wrapping_add(1);
        }
        let count = usize::try_from(used.count_ones()).unwrap_or(PAGES);
        self.fast(telling, echo, (count, true), out);
        for index in (0..PAGES).filter(|index| used >> index & 1 == 1) {
            let content = self.tell(telling, index);
            out.put_u8(u8::try_from(index).unwrap_or(u8::MAX));
            out.put(&content);
        }
        out.put_text(news);
    }

    /// Writes news and no page: nothing counts as told.
    pub(super) fn news(&self, telling: &Telling, echo: Option<u64>, news: &str, out: &mut Writer<'_>) {
        self.fast(telling, echo, (0, false), out);
        out.put_text(news);
    }

    /// Whether one page holds all that has changed.
    pub(super) fn fits_beat(&self, telling: &Telling) -> bool {
        self.changed(telling).nth(1).is_none()
    }

    fn fast(&self, telling: &Telling, echo: Option<u64>, (number, is_current): (usize, bool), out: &mut Writer<'_>) {
        let extension = &telling.extension;
        let place = STATUSES.iter().position(|status| Some(*status) == telling.status).unwrap_or(3);
        let flags = [
            extension.hears_partner,
            extension.is_stable,
            extension.is_held,
            extension.is_yielding,
            extension.is_asking,
            echo.is_some(),
        ];
        let flags = flags.iter().enumerate().fold(0, |all, (bit, is_set)| all | u8::from(*is_set) << (bit + 2));
        let level = LINE_LEVELS.iter().position(|level| *level == extension.owner_line).unwrap_or(0);
        let low = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        out.put_low(echo.unwrap_or(0));
        out.put_u8(low(place) | flags);
        out.put_u8(self.epoch);
        out.put_u8(low(number) | u8::from(is_current) << 5 | low(level) << 6);
    }
}

/// The receiving half: the pages that are known.
#[derive(Debug, Clone)]
pub(super) struct Ears {
    pages: [[u8; PAGE_LEN]; PAGES],
    known: u32,
    epoch: u8,
}

/// Where a beat stands among the frames that have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A newer one has come before it.
    Late,
    /// The newest, so many after the one before it.
    After(u64),
}

/// The lower half of the echo of a beat or of everything at once.
pub(super) fn echo_low(payload: &[u8]) -> Option<u16> {
    Reader(payload).u16()
}

/// Whether there is an echo.
pub(super) fn has_echo(payload: &[u8]) -> bool {
    payload.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

impl Ears {
    pub(super) const fn new() -> Self {
        Self { pages: [[0; PAGE_LEN]; PAGES], known: 0, epoch: 0 }
    }

    /// Takes what a beat says; `echo`: our generation and the whole number. `None`: it makes no sense, and nothing was
    /// taken.
    pub(super) fn beat(&mut self, payload: &[u8], echo: (Generation, u64), place: Place) -> Option<Heard> {
        let mut reader = Reader(payload);
        let fast = Fast::read(&mut reader)?;
        let content = reader.array()?;
        reader.end()?;
        let index = usize::from(fast.number);
        if !is_page(index, content) {
            return None;
        }
        let Place::After(gap) = place else { return Some(self.heard(&fast, echo, false)) };
        let is_next = gap == 1 && fast.epoch == self.epoch.wrapping_add(1);
        // An epoch is at least one frame long: 256 frames on, the same one may be another.
        if !is_next && (fast.epoch != self.epoch || gap > u64::from(u8::MAX)) {
            self.known &= VOLATILE;
        }
        self.epoch = fast.epoch;
        self.set(index, content);
        Some(self.heard(&fast, echo, fast.is_current))
    }

    /// Takes everything at once, and news for the history.
    pub(super) fn all<'b>(
        &mut self,
        payload: &'b [u8],
        echo: (Generation, u64),
        place: Place,
    ) -> Option<(Heard, &'b str)> {
        let mut reader = Reader(payload);
        let fast = Fast::read(&mut reader)?;
        let mut next = Self { epoch: fast.epoch, ..Self::new() };
        for _ in 0..fast.number {
            let (index, content) = (usize::from(reader.u8()?), reader.array()?);
            if !is_page(index, content) {
                return None;
            }
            next.set(index, content);
        }
        let news = reader.text()?;
        reader.end()?;
        if fast.number == 0 {
            // News alone: pages stay as they are known.
            return Some((self.heard(&fast, echo, false), news));
        }
        if place == Place::Late {
            return Some((self.heard(&fast, echo, false), ""));
        }
        *self = next;
        Some((self.heard(&fast, echo, fast.is_current), news))
    }

    fn set(&mut self, index: usize, content: [u8; PAGE_LEN]) {
        if let Some(slot) = self.pages.get_mut(index) {
            *slot = content;
            self.known |= 1 << index;
        }
    }

    fn number(&self, index: usize) -> Option<u32> {
        let content = self.pages.get(index).filter(|_| self.known >> index & 1 == 1)?;
        Some(u32::from_be_bytes(*content))
    }

    fn heard(&self, fast: &Fast, echo: (Generation, u64), is_current: bool) -> Heard {
        let [high, low, cause, _] = self.number(MOMENT).unwrap_or(0).to_be_bytes();
        Heard {
            status: fast.status,
            dead_ms: self.number(DEAD_TIME),
            ts: self.number(WALL_CLOCK),
            stalled_ms: u16::from_be_bytes([high, low]),
            cause: usize::from(cause).checked_sub(1).and_then(|place| CAUSES.get(place).copied()),
            extension: if is_current { self.extension(fast, echo) } else { None },
        }
    }

    /// What the pages say together, when none is missing.
    fn extension(&self, fast: &Fast, (generation, seq): (Generation, u64)) -> Option<Extension> {
        let [group_count, link_count, has_health, version] = self.number(COUNTS)?.to_be_bytes();
        let needed = pages_of(group_count, link_count, has_health != 0) & !VOLATILE;
        if self.known & needed != needed {
            return None;
        }
        let groups = GroupSet::first(usize::from(group_count));
        let nibble = |group: usize| {
            let byte = self.pages[GROUPS + group / GROUPS_A_PAGE][group % GROUPS_A_PAGE / 2];
            if group.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
        };
        let mut extension = Extension { version, group_count, link_count, ..fast.extension };
        for group in groups.iter() {
            let nibble = nibble(usize::from(group.0));
            extension.groups[usize::from(group.0)] = GroupState::ALL[usize::from(nibble & 7)];
            if nibble & 8 != 0 {
                extension.claims.insert(group);
            }
        }
        let links = extension.links.iter_mut().take(usize::from(link_count)).enumerate();
        for (link, echo) in links {
            let page = self.pages[LINKS + link / LINKS_A_PAGE];
            let is_known = self.known >> (LINKS + link / LINKS_A_PAGE) & 1 == 1;
            let code = if is_known { page[link % LINKS_A_PAGE] } else { NEVER };
            *echo = LinkEcho { age_ms: if code == NEVER { u32::MAX } else { age_of(code) } };
        }
        if fast.has_echo {
            (extension.echo_generation, extension.echo_seq) = (generation, Seq(seq));
        }
        extension.config_digest = self.number(CONFIG_DIGEST)?;
        extension.resources_digest = self.number(RESOURCES_DIGEST)?;
        extension.lease_ms = self.number(LEASE)?;
        if has_health != 0 {
            let [failing, unknown, ..] = self.number(HEALTH)?.to_be_bytes();
            let spent = u64::from(self.number(SPENT)?) << 32 | u64::from(self.number(SPENT + 1)?);
            extension.health = Some(HealthReport { failing, unknown, spent: GroupSet(spent) & groups });
        }
        Some(extension)
    }
}

/// What one beat tells, together with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) status: Option<NodeStatus>,
    /// `None`: not told yet in this session.
    pub(super) dead_ms: Option<u32>,
    pub(super) ts: Option<u32>,
    pub(super) stalled_ms: u16,
    pub(super) cause: Option<Cause>,
    /// `None`: not whole, or a change is still to come.
    pub(super) extension: Option<Extension>,
}

/// What every beat carries.
struct Fast {
    status: Option<NodeStatus>,
    /// With the flags and the line.
    extension: Extension,
    has_echo: bool,
    epoch: u8,
    /// Of the page, or how many pages.
    number: u8,
    is_current: bool,
}

impl Fast {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [_, _, flags, epoch, page] = reader.array()?;
        let is_set = |bit: u8| flags >> bit & 1 == 1;
        let extension = Extension {
            hears_partner: is_set(2),
            is_stable: is_set(3),
            is_held: is_set(4),
            is_yielding: is_set(5),
            is_asking: is_set(6),
            owner_line: *LINE_LEVELS.get(usize::from(page >> 6))?,
            ..Extension::EMPTY
        };
        Some(Self {
            status: STATUSES.get(usize::from(flags & 3)).copied(),
            extension,
            has_echo: is_set(7),
            epoch,
            number: page & 0x1f,
            is_current: page & 0x20 != 0,
        })
    }
}

/// Whether this can stand on the page of that number.
fn is_page(index: usize, content: [u8; PAGE_LEN]) -> bool {
    let [first, second, third, fourth] = content;
    match index {
        GROUPS..LINKS => content.iter().all(|byte| [byte >> 4, byte & 15].iter().all(|nibble| nibble & 7 < 7)),
        LINKS..COUNTS => content.iter().all(|code| *code <= OLDEST || *code == NEVER),
        COUNTS => {
            usize::from(first) <= GROUPS_MAX && usize::from(second) <= LINKS_MAX && third < 2 && fourth == VERSION
        }
        MOMENT => usize::from(third) <= CAUSES.len() && fourth == 0,
        HEALTH => third == 0 && fourth == 0,
        WALL_CLOCK => content != [0; PAGE_LEN],
        _ => index < PAGES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rounded_up_by_an_eighth_at_most() {
        for code in 0..OLDEST {
            assert!(age_of(code) < age_of(code + 1));
            assert_eq!(age_code(age_of(code)), code);
        }
        let mut rng = crate::sim::rng::Rng::new(7, 4);
        for _ in 0..10_000 {
            let age = u32::try_from(rng.draw() >> 32 >> rng.below(32)).unwrap().min(age_of(OLDEST));
            let told = age_of(age_code(age));
            assert!(told >= age && told - age <= age / 8, "{age} {told}");
        }
        assert_eq!((age_code(u32::MAX), age_code(u32::MAX - 1)), (NEVER, OLDEST));
    }

    #[test]
    fn a_book_of_the_largest_node_has_every_page_once() {
        assert_eq!(pages_of(64, 16, true), (1 << PAGES) - 1);
        assert_eq!(pages_of(2, 2, false).count_ones(), 9);
        assert_eq!(pages_of(0, 0, false).count_ones(), 7);
    }
}
