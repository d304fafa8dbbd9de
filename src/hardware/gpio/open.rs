//! Board file to lines of the kernel, and what can be wrong with them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gpiocdev::Request;
use gpiocdev::chip::Chip;
use gpiocdev::line::{EdgeDetection, Offset, Value};
use gpiocdev::request::Builder;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use super::reader::LINES_MAX;
use super::{DrivenLine, InputGroup, LineRow, Lines, os_error};
use crate::config::{Bias, Drive, GpioLine, LinePlace, LineUse, OutputLine};
use crate::core::InputLine;

/// A line that cannot be had.
#[derive(Debug)]
pub struct LineError {
    /// What for.
    pub usage: LineUse,
    /// Which.
    pub place: LinePlace,
    /// Why not.
    pub trouble: Trouble,
}

/// What is wrong with a line.
#[derive(Debug)]
pub enum Trouble {
    /// No GPIO chip of that name, path or label.
    NoChip(String),
    /// Several chips have that label.
    ManyChips(String),
    /// The chip has fewer lines.
    NoLine {
        /// How many it has.
        count: u32,
    },
    /// No line of that name on any chip.
    NoName,
    /// Several lines have that name: which one is meant?
    ManyNames {
        /// Two of them, each as chip and offset.
        places: [String; 2],
    },
    /// It is another use's line, by another name.
    SameAs(LineUse),
    /// Somebody else has it.
    Taken {
        /// The consumer's name, as the kernel tells it; may be empty.
        by: String,
    },
    /// The chip refuses this bias.
    NoBias,
    /// Anything else.
    Io(io::Error),
}

impl fmt::Display for LineError {
    /// What was found, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the line `{}` ({}): ", self.usage.name(), self.place)?;
        match &self.trouble {
            Trouble::NoChip(chip) => {
                write!(f, "no GPIO chip `{chip}`; `nullbeat board` shows those of this machine")
            }
            Trouble::ManyChips(chip) => {
                write!(f, "more than one GPIO chip has the label `{chip}`; give its path")
            }
            Trouble::NoLine { count } => write!(f, "the chip has the lines 0 to {}", count.saturating_sub(1)),
            Trouble::NoName => write!(f, "no line has this name; `nullbeat board` shows those of this machine"),
            Trouble::ManyNames { places: [first, second] } => {
                write!(f, "{first} and {second} have this name; give chip and offset")
            }
            Trouble::SameAs(usage) => write!(f, "it is the line of `{}` too; each line has one use", usage.name()),
            Trouble::Taken { by } if by.is_empty() => write!(f, "taken by the kernel or another program"),
            Trouble::Taken { by } => write!(f, "taken by `{by}`"),
            Trouble::NoBias => {
                write!(
                    f,
                    "the chip has no such bias; use a resistor on the board and `external-pull-up` or `external-pull-down`"
                )
            }
            Trouble::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for LineError {}

/// A line of the board file and where the kernel has it.
struct Found<'l> {
    line: &'l GpioLine,
    chip: PathBuf,
    offset: Offset,
}

impl Found<'_> {
    fn error(&self, error: &gpiocdev::Error) -> LineError {
        let error = os_error(error);
        let trouble = match error.raw_os_error() {
            Some(libc::EBUSY) => Trouble::Taken { by: self.consumer() },
            // ENOTSUPP, the kernel's own, has no name in user space.
            Some(524 | libc::EOPNOTSUPP | libc::EINVAL) if self.line.bias != Bias::AsIs => Trouble::NoBias,
            _ => Trouble::Io(error),
        };
        error_of(self.line, trouble)
    }

    fn consumer(&self) -> String {
        let info = Chip::from_path(&self.chip).and_then(|chip| chip.line_info(self.offset));
        info.map(|info| info.consumer).unwrap_or_default()
    }
}

fn error_of(line: &GpioLine, trouble: Trouble) -> LineError {
    LineError { usage: line.usage, place: line.place.clone(), trouble }
}

/// See [`Lines::open`].
pub(super) fn all(lines: &[GpioLine], is_active: impl Fn(OutputLine) -> bool) -> Result<Lines, Vec<LineError>> {
    let mut errors = Vec::new();
    let mut found: Vec<Found<'_>> = Vec::new();
    for line in lines {
        match find(line) {
            Ok(new) => match found.iter().find(|known| known.chip == new.chip && known.offset == new.offset) {
                Some(known) => errors.push(error_of(line, Trouble::SameAs(known.line.usage))),
                None => found.push(new),
            },
            Err(trouble) => errors.push(error_of(line, trouble)),
        }
    }
    let mut opened = Lines::default();
    let mut inputs: Vec<(Found<'_>, InputLine)> = Vec::new();
    for found in found {
        match found.line.usage {
            LineUse::Output(usage) => match request_output(&found, usage, is_active(usage)) {
                Ok(line) => opened.outputs.push((usage, line)),
                Err(error) => errors.push(found.error(&error)),
            },
            LineUse::Input(usage) => inputs.push((found, usage)),
        }
    }
    // The request has its lines in the order of their offsets.
    crate::order::sort(&mut inputs, |(a, _), (b, _)| (&a.chip, a.offset) < (&b.chip, b.offset));
    for group in inputs.chunk_by(|(a, _), (b, _)| a.chip == b.chip) {
        match request_inputs(group) {
            Ok(group) => opened.groups.push(group),
            Err(error) => errors.extend(blame(group, &error)),
        }
    }
    if errors.is_empty() { Ok(opened) } else { Err(errors) }
}

/// Which lines of a group a refusal is about: those that are refused alone too.
fn blame(group: &[(Found<'_>, InputLine)], error: &gpiocdev::Error) -> Vec<LineError> {
    let refused = |line: &(Found<'_>, InputLine)| {
        request_inputs(std::slice::from_ref(line)).err().map(|error| line.0.error(&error))
    };
    let blamed: Vec<LineError> = group.iter().filter_map(refused).collect();
    if blamed.is_empty() { group.iter().take(1).map(|(found, _)| found.error(error)).collect() } else { blamed }
}

fn find(line: &GpioLine) -> Result<Found<'_>, Trouble> {
    let (chip, offset) = match &line.place {
        LinePlace::Offset { chip, offset } => (find_chip(chip)?, *offset),
        LinePlace::Name(name) => find_name(name)?,
    };
    // One path for each chip, so that two names of a line are noticed.
    let chip = chip.canonicalize().map_err(Trouble::Io)?;
    let info = Chip::from_path(&chip).and_then(|chip| chip.info()).map_err(|error| Trouble::Io(os_error(&error)))?;
    if offset >= info.num_lines {
        return Err(Trouble::NoLine { count: info.num_lines });
    }
    Ok(Found { line, chip, offset })
}

fn chips() -> Vec<PathBuf> {
    gpiocdev::chip::chips().unwrap_or_default()
}

fn find_chip(word: &str) -> Result<PathBuf, Trouble> {
    let path = Path::new("/dev").join(word);
    if gpiocdev::chip::is_chip(&path).is_ok() {
        return Ok(path);
    }
    let has_label =
        |path: &PathBuf| Chip::from_path(path).and_then(|chip| chip.info()).is_ok_and(|info| info.label == word);
    let mut labelled = chips().into_iter().filter(has_label);
    match (labelled.next(), labelled.next()) {
        (Some(path), None) => Ok(path),
        (None, _) => Err(Trouble::NoChip(word.to_owned())),
        _ => Err(Trouble::ManyChips(word.to_owned())),
    }
}

fn find_name(name: &str) -> Result<(PathBuf, Offset), Trouble> {
    let mut places = Vec::new();
    for path in chips() {
        let Ok(chip) = Chip::from_path(&path) else { continue };
        let Ok(lines) = chip.line_info_iter() else { continue };
        places.extend(lines.flatten().filter(|info| info.name == name).map(|info| (path.clone(), info.offset)));
    }
    match places.as_slice() {
        [place] => Ok(place.clone()),
        [] => Err(Trouble::NoName),
        [first, second, ..] => {
            let shown = [first, second].map(|(path, offset)| format!("{} {offset}", path.display()));
            Err(Trouble::ManyNames { places: shown })
        }
    }
}

/// What is common to inputs and outputs; polarity and bias count for the line that was added last.
fn shape<'b>(builder: &'b mut Builder, line: &GpioLine) -> &'b mut Builder {
    use gpiocdev::line::Bias as Wanted;
    match line.bias {
        Bias::AsIs => {}
        Bias::Disabled | Bias::ExternalPullUp | Bias::ExternalPullDown => {
            builder.with_bias(Wanted::Disabled);
        }
        Bias::PullUp => {
            builder.with_bias(Wanted::PullUp);
        }
        Bias::PullDown => {
            builder.with_bias(Wanted::PullDown);
        }
    }
    if line.is_active_low { builder.as_active_low() } else { builder.as_active_high() }
}

fn request_output(found: &Found<'_>, usage: OutputLine, is_active: bool) -> gpiocdev::Result<DrivenLine> {
    let mut builder = Request::builder();
    builder.on_chip(&found.chip).with_consumer(format!("nullbeat {}", usage.name()));
    let level = if is_active { Value::Active } else { Value::Inactive };
    builder.with_line(found.offset).as_output(level);
    shape(&mut builder, found.line).with_drive(match found.line.drive {
        Drive::PushPull => gpiocdev::line::Drive::PushPull,
        Drive::OpenDrain => gpiocdev::line::Drive::OpenDrain,
        Drive::OpenSource => gpiocdev::line::Drive::OpenSource,
    });
    Ok(DrivenLine { request: builder.request()?, offset: found.offset })
}

/// With edges, and where the chip tells none without.
fn request_inputs(group: &[(Found<'_>, InputLine)]) -> gpiocdev::Result<InputGroup> {
    let (request, is_polled) = match try_inputs(group, Some(EdgeDetection::BothEdges)) {
        Ok(request) => (request, false),
        Err(error) => match try_inputs(group, None) {
            Ok(request) => (request, true),
            Err(_) => return Err(error),
        },
    };
    // Edges are taken until there is none.
    fcntl(&request, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
    let mut row = LineRow { lines: [None; LINES_MAX], is_polled };
    for (place, (_, usage)) in row.lines.iter_mut().zip(group) {
        *place = Some(*usage);
    }
    let lines = group.iter().map(|(found, usage)| (found.offset, *usage)).collect();
    Ok(InputGroup { request: Rc::new(request), lines, row })
}

fn try_inputs(group: &[(Found<'_>, InputLine)], edges: Option<EdgeDetection>) -> gpiocdev::Result<Request> {
    let mut builder = Request::builder();
    builder.with_consumer(match group {
        [(_, usage)] => format!("nullbeat {}", usage.name()),
        _ => "nullbeat".to_owned(),
    });
    for (found, _) in group {
        builder.on_chip(&found.chip).with_line(found.offset).as_input();
        shape(&mut builder, found.line).with_edge_detection(edges);
    }
    builder.request()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(usage: LineUse, place: LinePlace) -> GpioLine {
        GpioLine { usage, place, is_active_low: false, bias: Bias::AsIs, drive: Drive::PushPull }
    }

    #[test]
    fn every_missing_line_is_told_at_once() {
        let chip = LinePlace::Offset { chip: "no-such-chip".into(), offset: 4 };
        let file = LinePlace::Offset { chip: "/dev/null".into(), offset: 0 };
        let name = LinePlace::Name("NO_SUCH_LINE".into());
        let lines = [
            line(LineUse::Output(OutputLine::Owner), chip),
            line(LineUse::Output(OutputLine::Alive), file),
            line(LineUse::Input(InputLine::PeerPower), name),
        ];
        let errors = all(&lines, |_| false).unwrap_err();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "the line `owner` (no-such-chip 4): no GPIO chip `no-such-chip`; `nullbeat board` shows those of this machine",
                "the line `alive` (/dev/null 0): no GPIO chip `/dev/null`; `nullbeat board` shows those of this machine",
                "the line `peer-power` (NO_SUCH_LINE): no line has this name; `nullbeat board` shows those of this machine",
            ]
        );
    }

    #[test]
    fn troubles_say_what_to_do() {
        let place = LinePlace::Offset { chip: "gpiochip0".into(), offset: 4 };
        let told = |trouble| error_of(&line(LineUse::Output(OutputLine::Owner), place.clone()), trouble).to_string();
        assert_eq!(told(Trouble::Taken { by: "led0".into() }), "the line `owner` (gpiochip0 4): taken by `led0`");
        assert_eq!(told(Trouble::NoLine { count: 8 }), "the line `owner` (gpiochip0 4): the chip has the lines 0 to 7");
        assert_eq!(
            told(Trouble::SameAs(LineUse::Input(InputLine::PeerOwner))),
            "the line `owner` (gpiochip0 4): it is the line of `peer-owner` too; each line has one use"
        );
        assert!(told(Trouble::NoBias).contains("external-pull-up"));
        let places = ["/dev/gpiochip0 1", "/dev/gpiochip1 1"].map(str::to_owned);
        assert!(told(Trouble::ManyNames { places }).contains("/dev/gpiochip0 1 and /dev/gpiochip1 1 have this name"));
    }
}
