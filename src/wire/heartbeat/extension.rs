//! What only a nullbeat says, as extra string fields of `status` that 3.0.6 stores and never looks at.
//!
//! | field | value | example |
//! |---|---|---|
//! | `nbv` | version of these fields | `1` |
//! | `nbg` | one letter per group, [`GroupState::letter`] | `RRs` |
//! | `nbc` | claims as a hex set, bit 0 = first group | `3` |
//! | `nbe` | generation and sequence number heard of the partner, hex; what holds: `p`artner heard, `s`table, operator's `h`old, `y`ielding, `a`sks for an answer, each or `-` | `6b031868:1f:ps---` |
//! | `nbl` | milliseconds since the partner was heard on each link, hex, `-` for never | `64,-` |
//! | `nbd` | digests of ha.cf and haresources, hex | `8a1f:0` |
//! | `nbk` | checks of the node that fail, that say nothing, hex; groups whose service failed for good as a hex set | `1:0:4` |
//! | `nbh` | watchdog lease in milliseconds, hex, `-` for none; own line `owner`: `u`p, `d`own, `-` for none | `4e20:d` |
//!
//! Beside them, with `protocol auto` and a partner to speak with: `nbp`, the version of the compact format, [`VERSION`](crate::wire::compact::VERSION).
//!
//! A beat without the others carries `nbv` all the same: who has just started must not take its sender for a Heartbeat.
//! All of the first six, or `nbv` alone, or nothing; the others where there is something to tell: anything else is dropped
//! and counted, the `status` itself stands.

use core::fmt::{self, Write};

use super::fields::{Fields, Name, decimal, hex};
use crate::core::LineLevel;
use crate::core::ids::{Generation, GroupSet, Seq};
use crate::core::message::{Extension, GroupState, HealthReport, LinkEcho};

const VERSION: u8 = 1;
const NAMES: [Name; 8] = [
    Name::NbVersion,
    Name::NbGroups,
    Name::NbClaims,
    Name::NbEcho,
    Name::NbLinks,
    Name::NbDigests,
    Name::NbHardware,
    Name::NbHealth,
];

/// The extension could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Whether these fields are a nullbeat's, and the extension among them, if there is one.
pub(super) fn read(fields: &Fields<'_>) -> Result<(bool, Option<Extension>), Malformed> {
    let is_marked = fields.has(Name::NbVersion);
    if !NAMES.into_iter().any(|name| name != Name::NbVersion && fields.has(name)) {
        return if is_marked { read_version(fields).map(|_| (true, None)).ok_or(Malformed) } else { Ok((false, None)) };
    }
    read_all(fields).map(|extension| (true, Some(extension))).ok_or(Malformed)
}

fn read_version(fields: &Fields<'_>) -> Option<u8> {
    let version = u8::try_from(decimal(fields.raw(Name::NbVersion)?)?).ok()?;
    (version == VERSION).then_some(version)
}

fn read_all(fields: &Fields<'_>) -> Option<Extension> {
    let mut extension = Extension::EMPTY;
    extension.version = read_version(fields)?;
    read_groups(&mut extension, fields.raw(Name::NbGroups)?)?;
    extension.claims = GroupSet(hex(fields.raw(Name::NbClaims)?)?);
    let beyond = extension.claims - GroupSet::first(usize::from(extension.group_count));
    if !beyond.is_empty() {
        return None;
    }
    read_echo(&mut extension, fields.raw(Name::NbEcho)?)?;
    read_links(&mut extension, fields.raw(Name::NbLinks)?)?;
    let (config, resources) = halves(fields.raw(Name::NbDigests)?)?;
    extension.config_digest = hex(config)?.try_into().ok()?;
    extension.resources_digest = hex(resources)?.try_into().ok()?;
    if let Some(hardware) = fields.raw(Name::NbHardware) {
        read_hardware(&mut extension, hardware)?;
    }
    extension.health = match fields.raw(Name::NbHealth) {
        Some(text) => Some(read_health(text, usize::from(extension.group_count))?),
        None => None,
    };
    Some(extension)
}

fn read_hardware(extension: &mut Extension, text: &[u8]) -> Option<()> {
    let (lease, line) = halves(text)?;
    extension.lease_ms = if lease == b"-" { 0 } else { hex(lease)?.try_into().ok()? };
    extension.owner_line = match line {
        b"u" => LineLevel::Active,
        b"d" => LineLevel::Inactive,
        b"-" => LineLevel::Unknown,
        _ => return None,
    };
    Some(())
}

fn read_health(text: &[u8], groups: usize) -> Option<HealthReport> {
    let (failing, rest) = halves(text)?;
    let (unknown, spent) = halves(rest)?;
    let spent = GroupSet(hex(spent)?);
    let is_within = (spent - GroupSet::first(groups)).is_empty();
    is_within.then_some(HealthReport {
        failing: hex(failing)?.try_into().ok()?,
        unknown: hex(unknown)?.try_into().ok()?,
        spent,
    })
}

fn read_groups(extension: &mut Extension, letters: &[u8]) -> Option<()> {
    for (index, letter) in letters.iter().enumerate() {
        *extension.groups.get_mut(index)? = GroupState::from_letter(*letter)?;
        extension.group_count += 1;
    }
    Some(())
}

fn read_echo(extension: &mut Extension, text: &[u8]) -> Option<()> {
    let (generation, rest) = halves(text)?;
    let (seq, flags) = halves(rest)?;
    extension.echo_generation = Generation(hex(generation)?.try_into().ok()?);
    extension.echo_seq = Seq(hex(seq)?);
    let [partner, stable, held, yielding, asking] = flags else { return None };
    extension.hears_partner = flag(*partner, b'p')?;
    extension.is_stable = flag(*stable, b's')?;
    extension.is_held = flag(*held, b'h')?;
    extension.is_yielding = flag(*yielding, b'y')?;
    extension.is_asking = flag(*asking, b'a')?;
    Some(())
}

fn read_links(extension: &mut Extension, text: &[u8]) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    for (index, age) in text.split(|byte| *byte == b',').enumerate() {
        let age_ms = if age == b"-" { u32::MAX } else { hex(age)?.try_into().ok()? };
        *extension.links.get_mut(index)? = LinkEcho { age_ms };
        extension.link_count += 1;
    }
    Some(())
}

/// Around the first colon.
fn halves(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

fn flag(byte: u8, letter: u8) -> Option<bool> {
    match byte {
        b'-' => Some(false),
        byte if byte == letter => Some(true),
        _ => None,
    }
}

/// The one field of a nullbeat's beat without extension.
pub(super) fn write_mark(mut field: impl FnMut(Name, fmt::Arguments<'_>)) {
    field(Name::NbVersion, format_args!("{VERSION}"));
}

/// Hands each field's name and value to `field`.
pub(super) fn write(extension: &Extension, mut field: impl FnMut(Name, fmt::Arguments<'_>)) {
    let on = |is_on, letter| if is_on { letter } else { '-' };
    field(Name::NbVersion, format_args!("{}", extension.version));
    field(Name::NbGroups, format_args!("{}", Letters(extension)));
    field(Name::NbClaims, format_args!("{:x}", extension.claims.0));
    field(
        Name::NbEcho,
        format_args!(
            "{:x}:{:x}:{}{}{}{}{}",
            extension.echo_generation.0,
            extension.echo_seq.0,
            on(extension.hears_partner, 'p'),
            on(extension.is_stable, 's'),
            on(extension.is_held, 'h'),
            on(extension.is_yielding, 'y'),
            on(extension.is_asking, 'a'),
        ),
    );
    field(Name::NbLinks, format_args!("{}", Ages(extension)));
    field(Name::NbDigests, format_args!("{:x}:{:x}", extension.config_digest, extension.resources_digest));
    let line = match extension.owner_line {
        LineLevel::Active => 'u',
        LineLevel::Inactive => 'd',
        LineLevel::Unknown => '-',
    };
    if let Some(health) = extension.health {
        field(Name::NbHealth, format_args!("{:x}:{:x}:{:x}", health.failing, health.unknown, health.spent.0));
    }
    match extension.lease_ms {
        0 if line == '-' => {}
        0 => field(Name::NbHardware, format_args!("-:{line}")),
        lease => field(Name::NbHardware, format_args!("{lease:x}:{line}")),
    }
}

struct Letters<'e>(&'e Extension);

impl fmt::Display for Letters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.0.groups.iter().take(usize::from(self.0.group_count));
        groups.map(|state| char::from(state.letter())).try_for_each(|letter| f.write_char(letter))
    }
}

struct Ages<'e>(&'e Extension);

impl fmt::Display for Ages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, link) in self.0.links.iter().take(usize::from(self.0.link_count)).enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            match link.age_ms {
                u32::MAX => f.write_char('-')?,
                age => write!(f, "{age:x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::{Field, Kind};
    use super::*;

    const GOOD: [(&str, &str); 6] = [
        ("nbv", "1"),
        ("nbg", "RsF"),
        ("nbc", "5"),
        ("nbe", "6b031868:1f:p-h-a"),
        ("nbl", "64,-,0"),
        ("nbd", "8a1f:ffffffff"),
    ];

    fn read_pairs(pairs: &[(&str, &str)]) -> Result<(bool, Option<Extension>), Malformed> {
        let fields = pairs
            .iter()
            .map(|(name, value)| Ok(Field { name: name.as_bytes(), kind: Kind::Text, value: value.as_bytes() }));
        read(&Fields::collect(fields).unwrap())
    }

    fn with(name: &str, value: Option<&str>) -> Result<(bool, Option<Extension>), Malformed> {
        let mut pairs = GOOD.to_vec();
        pairs.retain(|(other, _)| *other != name);
        pairs.extend(value.map(|value| (name, value)));
        read_pairs(&pairs)
    }

    #[test]
    fn good_one_is_read_and_written_alike() {
        let extension = read_pairs(&GOOD).unwrap().1.unwrap();
        assert_eq!(extension.group_count, 3);
        assert_eq!(extension.groups[..3], [GroupState::Running, GroupState::Stopped, GroupState::StopFailed]);
        assert_eq!(extension.claims, GroupSet(5));
        assert_eq!((extension.echo_generation, extension.echo_seq), (Generation(0x6b03_1868), Seq(0x1f)));
        assert!(extension.hears_partner && !extension.is_stable && extension.is_held && !extension.is_yielding);
        assert!(extension.is_asking);
        assert_eq!(extension.link_count, 3);
        assert_eq!(extension.links.map(|link| link.age_ms)[..4], [100, u32::MAX, 0, u32::MAX]);
        assert_eq!((extension.config_digest, extension.resources_digest), (0x8a1f, u32::MAX));
        let mut written = Vec::new();
        write(&extension, |name, value| written.push((name.word(), format!("{value}"))));
        assert!(written.iter().map(|(name, value)| (*name, value.as_str())).eq(GOOD));
    }

    #[test]
    fn hardware_is_told_where_there_is_some() {
        assert_eq!(with("nbh", None).unwrap().1.unwrap().lease_ms, 0);
        for (text, lease_ms, owner_line) in [
            ("4e20:d", 20_000, LineLevel::Inactive),
            ("4e20:-", 20_000, LineLevel::Unknown),
            ("-:u", 0, LineLevel::Active),
        ] {
            let extension = with("nbh", Some(text)).unwrap().1.unwrap();
            assert_eq!((extension.lease_ms, extension.owner_line), (lease_ms, owner_line));
            let mut written = Vec::new();
            write(&extension, |name, value| written.push((name.word(), format!("{value}"))));
            assert_eq!(written.last(), Some(&("nbh", text.to_owned())));
        }
    }

    #[test]
    fn health_is_told_where_there_are_checks() {
        assert_eq!(with("nbk", None).unwrap().1.unwrap().health, None);
        let extension = with("nbk", Some("a:1:5")).unwrap().1.unwrap();
        assert_eq!(extension.health, Some(HealthReport { failing: 10, unknown: 1, spent: GroupSet(5) }));
        let mut written = Vec::new();
        write(&extension, |name, value| written.push((name.word(), format!("{value}"))));
        assert_eq!(written.last(), Some(&("nbk", "a:1:5".to_owned())));
    }

    #[test]
    fn none_is_none_and_a_part_is_an_error() {
        assert_eq!(read_pairs(&[("t", "status")]), Ok((false, None)));
        assert_eq!(read_pairs(&[("nbv", "1")]), Ok((true, None)));
        assert_eq!(read_pairs(&[("nbv", "2")]), Err(Malformed));
        for (name, _) in GOOD {
            assert_eq!(with(name, None), Err(Malformed), "{name}");
        }
    }

    #[test]
    fn empty_lists_are_fine() {
        let mut pairs = GOOD.to_vec();
        pairs[1].1 = "";
        pairs[2].1 = "0";
        pairs[4].1 = "";
        let extension = read_pairs(&pairs).unwrap().1.unwrap();
        assert_eq!((extension.group_count, extension.link_count), (0, 0));
    }

    #[test]
    fn limits_are_kept() {
        assert!(with("nbg", Some(&"s".repeat(64))).is_ok());
        assert_eq!(with("nbg", Some(&"s".repeat(65))), Err(Malformed));
        assert!(with("nbl", Some(&["-"; 16].join(","))).is_ok());
        assert_eq!(with("nbl", Some(&["-"; 17].join(","))), Err(Malformed));
    }

    #[test]
    fn anything_else_is_an_error() {
        for (name, value) in [
            ("nbv", "2"),
            ("nbv", ""),
            ("nbg", "RsX"),
            ("nbg", "Rs "),
            ("nbc", "8"),
            ("nbc", "-1"),
            ("nbc", ""),
            ("nbe", ""),
            ("nbe", "1:2"),
            ("nbe", "1:2:"),
            ("nbe", "1:2:psh"),
            ("nbe", "1:2:psh-x"),
            ("nbe", "1:2:s---"),
            ("nbe", "100000000:2:psh-"),
            ("nbe", "1:10000000000000000:psh-"),
            ("nbl", ","),
            ("nbl", "1,"),
            ("nbl", "100000000"),
            ("nbd", "1"),
            ("nbd", "1:2:3"),
            ("nbd", "100000000:1"),
            ("nbh", ""),
            ("nbh", "4e20"),
            ("nbh", "4e20:x"),
            ("nbh", "100000000:u"),
            ("nbh", ":u"),
            ("nbk", ""),
            ("nbk", "1:0"),
            ("nbk", "1:0:8"),
            ("nbk", "100:0:1"),
            ("nbk", "1::1"),
        ] {
            assert_eq!(with(name, Some(value)), Err(Malformed), "{name}={value}");
        }
    }
}
