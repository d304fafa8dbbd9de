//! GPIO lines: what `gpio`, `interlock` and `interlock_settle` say, and whether it makes sense together.

use std::fmt;
use std::time::Duration;

use super::draft::{Draft, one_of};
use super::finding::{At, Finding, Severity, nearest};
use super::token::Word;
use super::value::spoken;
use crate::core::InputLine;

/// Time between raising `owner` and reading `peer-owner`, when `interlock_settle` does not say one: far above what a
/// guardian takes to set a line and an optocoupler to follow.
const DEFAULT_SETTLE: Duration = Duration::from_millis(50);
/// More is a slip: a takeover waits for it.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// Longest name of a chip or line in the kernel's interface, `GPIO_MAX_NAME_SIZE` less the closing NUL.
const NAME_MAX: usize = 31;

/// A GPIO line that is driven, always by the guardian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputLine {
    /// Active: the peer is held in reset.
    FenceReset,
    /// Active: the peer's power is off.
    FencePower,
    /// Active: this board holds the service, or is about to.
    Owner,
    /// Active: the daemon here is healthy.
    Alive,
}

impl OutputLine {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::FenceReset, Self::FencePower, Self::Owner, Self::Alive];

    /// The name in board files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FenceReset => "fence-reset",
            Self::FencePower => "fence-power",
            Self::Owner => "owner",
            Self::Alive => "alive",
        }
    }
}

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineUse {
    /// It is driven.
    Output(OutputLine),
    /// It is read.
    Input(InputLine),
}

impl LineUse {
    /// All of them: outputs, then inputs.
    pub fn all() -> impl Iterator<Item = Self> {
        OutputLine::ALL.into_iter().map(Self::Output).chain(InputLine::ALL.into_iter().map(Self::Input))
    }

    /// The name in board files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Output(line) => line.name(),
            Self::Input(line) => line.name(),
        }
    }
}

/// Which line of the board it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinePlace {
    /// A chip and the number of a line of it.
    Offset {
        /// `gpiochipN`, a path below `/dev`, or the chip's label.
        chip: String,
        /// From 0.
        offset: u32,
    },
    /// The name that the device tree or the firmware gives it; only one chip may have it.
    Name(String),
}

impl fmt::Display for LinePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset { chip, offset } => write!(f, "{chip} {offset}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What pulls an undriven line to a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// Nobody has said: the kernel leaves it as it is.
    AsIs,
    /// Nothing: the chip's own resistors are off.
    Disabled,
    /// The chip's resistor.
    PullUp,
    /// The chip's resistor.
    PullDown,
    /// A resistor on the board or cable; the chip's own are switched off.
    ExternalPullUp,
    /// A resistor on the board or cable; the chip's own are switched off.
    ExternalPullDown,
}

/// How an output drives its two levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// Both.
    PushPull,
    /// Low only; something else pulls it high.
    OpenDrain,
    /// High only; something else pulls it low.
    OpenSource,
}

/// One `gpio` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioLine {
    /// What for.
    pub usage: LineUse,
    /// Which.
    pub place: LinePlace,
    /// The low level is the active one.
    pub is_active_low: bool,
    /// What pulls it when nobody drives it.
    pub bias: Bias,
    /// Of an output.
    pub drive: Drive,
}

impl GpioLine {
    /// Whether it reads as active when the wire is open; `None`: nobody knows.
    pub const fn is_active_when_open(&self) -> Option<bool> {
        match self.bias {
            Bias::PullUp | Bias::ExternalPullUp => Some(!self.is_active_low),
            Bias::PullDown | Bias::ExternalPullDown => Some(self.is_active_low),
            Bias::AsIs | Bias::Disabled => None,
        }
    }
}

/// One `gpio` line and where it stands.
#[derive(Debug, Clone)]
pub(super) struct DraftLine {
    pub(super) line: GpioLine,
    pub(super) at: At,
    /// In the board file, not in ha.cf.
    pub(super) is_in_board: bool,
}

const FORM: &str =
    "`gpio USE CHIP OFFSET` or `gpio USE NAME`, then `active-low`, a bias such as `pull-up`, or `open-drain`";

/// `gpio USE (CHIP OFFSET | NAME) [active-high|active-low] [BIAS] [DRIVE]`.
pub(super) fn read_gpio(draft: &mut Draft<'_>, words: &[Word]) {
    let [first, rest @ ..] = words else {
        let at = draft.here.1;
        draft.findings.refuse(at, "`gpio` without arguments", FORM);
        return;
    };
    let Some(usage) = LineUse::all().find(|usage| usage.name() == first.text) else {
        let names: Vec<&str> = LineUse::all().map(LineUse::name).collect();
        let finding = draft.findings.error(first.at, format!("{}, which is no use of a line", first.quoted()));
        finding.expected(one_of(&names)).nearest(&first.text, names);
        return;
    };
    let options = rest.iter().position(|word| OPTIONS.iter().any(|(name, _)| *name == word.text)).unwrap_or(rest.len());
    let (place, options) = rest.split_at(options);
    let Some(place) = read_place(draft, first, place) else { return };
    let line = GpioLine { usage, place, is_active_low: false, bias: Bias::AsIs, drive: Drive::PushPull };
    let Some(line) = read_options(draft, line, options) else { return };
    add_line(draft, first, line);
}

fn read_place(draft: &mut Draft<'_>, usage: &Word, words: &[Word]) -> Option<LinePlace> {
    match words {
        [] => draft.findings.refuse(usage.at, format!("{} without a line", usage.quoted()), FORM),
        [name] if name.text.starts_with("gpiochip") || name.text.starts_with('/') => {
            let found = format!("the chip {} without an offset", name.quoted());
            draft.findings.refuse(name.at, found, "a chip and the number of its line: `gpiochip0 5`");
        }
        [name] if name.text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let finding = draft.findings.error(name.at, format!("{}, a number without a chip", name.quoted()));
            finding.expected("a chip and the number of its line: `gpiochip0 5`");
            finding.hint("the numbers of /sys/class/gpio are not used: they change with the order of the drivers");
        }
        [name] if is_short(draft, name) => return Some(LinePlace::Name(name.text.clone())),
        [chip, offset] if is_short(draft, chip) => match offset.text.parse() {
            Ok(offset) => return Some(LinePlace::Offset { chip: chip.text.clone(), offset }),
            Err(_) => refuse_offset(draft, offset),
        },
        [_, _, third, ..] => refuse_option(draft, third),
        _ => {}
    }
    None
}

/// Where a number should stand; often it is a misspelt option behind a line's name.
fn refuse_offset(draft: &mut Draft<'_>, word: &Word) {
    if nearest(&word.text, OPTIONS.iter().map(|(name, _)| *name)).is_some() {
        refuse_option(draft, word);
    } else {
        draft.findings.refuse(word.at, word.quoted(), "the number of a line of that chip, from 0");
    }
}

fn refuse_option(draft: &mut Draft<'_>, word: &Word) {
    let names: Vec<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
    draft.findings.error(word.at, word.quoted()).expected(one_of(&names)).nearest(&word.text, names);
}

fn is_short(draft: &mut Draft<'_>, word: &Word) -> bool {
    let is_path = word.text.starts_with('/');
    let is_fine = is_path || word.text.len() <= NAME_MAX;
    if !is_fine {
        let found = format!("a name of {} bytes, {}", word.text.len(), word.quoted());
        draft.findings.refuse(word.at, found, format!("at most {NAME_MAX}, as the kernel has them"));
    }
    is_fine
}

/// A word behind the line's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    ActiveLow(bool),
    Bias(Bias),
    Drive(Drive),
}

const OPTIONS: [(&str, Choice); 9] = [
    ("active-high", Choice::ActiveLow(false)),
    ("active-low", Choice::ActiveLow(true)),
    ("pull-up", Choice::Bias(Bias::PullUp)),
    ("pull-down", Choice::Bias(Bias::PullDown)),
    ("external-pull-up", Choice::Bias(Bias::ExternalPullUp)),
    ("external-pull-down", Choice::Bias(Bias::ExternalPullDown)),
    ("bias-disabled", Choice::Bias(Bias::Disabled)),
    ("open-drain", Choice::Drive(Drive::OpenDrain)),
    ("open-source", Choice::Drive(Drive::OpenSource)),
];

fn read_options(draft: &mut Draft<'_>, mut line: GpioLine, words: &[Word]) -> Option<GpioLine> {
    let mut seen: Vec<(Choice, &Word)> = Vec::new();
    for word in words {
        let Some((_, choice)) = OPTIONS.iter().find(|(name, _)| *name == word.text) else {
            refuse_option(draft, word);
            return None;
        };
        let is_same = |other: &Choice| std::mem::discriminant(other) == std::mem::discriminant(choice);
        if let Some((_, before)) = seen.iter().find(|(other, _)| is_same(other)) {
            let found = format!("{} behind {}", word.quoted(), before.quoted());
            draft.findings.refuse(word.at, found, "one of them");
            return None;
        }
        seen.push((*choice, word));
        match choice {
            Choice::ActiveLow(is_active_low) => line.is_active_low = *is_active_low,
            Choice::Bias(bias) => line.bias = *bias,
            Choice::Drive(_) if matches!(line.usage, LineUse::Input(_)) => {
                let found = format!("{} of `{}`, which is an input", word.quoted(), line.usage.name());
                draft.findings.refuse(word.at, found, "polarity and bias only");
                return None;
            }
            Choice::Drive(drive) => line.drive = *drive,
        }
    }
    Some(line)
}

fn add_line(draft: &mut Draft<'_>, word: &Word, line: GpioLine) {
    let place = |before: &DraftLine, is_in_board: bool| match before.is_in_board {
        is_same if is_same == is_in_board => format!("line {}", before.at.line),
        true => format!("line {} of the board file", before.at.line),
        false => format!("line {} of ha.cf", before.at.line),
    };
    let is_in_board = draft.is_in_board;
    if let Some(before) = draft.gpio.iter().find(|before| before.line.usage == line.usage) {
        let hint = format!("it is {} in {} already", before.line.place, place(before, is_in_board));
        let finding = draft.findings.error(word.at, format!("a second `{}`", line.usage.name()));
        finding.expected("each use once").hint(hint);
        return;
    }
    if let Some(before) = draft.gpio.iter().find(|before| before.line.place == line.place) {
        let hint = format!("{} names it as `{}`", place(before, is_in_board), before.line.usage.name());
        let finding = draft.findings.error(word.at, format!("the line {} a second time", line.place));
        finding.expected("each line once").hint(hint);
        return;
    }
    draft.gpio.push(DraftLine { line, at: word.at, is_in_board });
}

/// `interlock gpio`.
pub(super) fn read_interlock(draft: &mut Draft<'_>, word: &Word) -> bool {
    if word.text == "off" {
        draft.interlock = None;
        return true;
    }
    draft.word(word, &["gpio"], false, |draft| &mut draft.interlock)
}

/// `interlock_settle TIME`.
pub(super) fn read_settle(draft: &mut Draft<'_>, word: &Word) -> bool {
    if !draft.time(word, false, |draft| &mut draft.interlock_settle) {
        return false;
    }
    let Some((settle, _)) = draft.interlock_settle.filter(|(settle, _)| *settle > SETTLE_MAX) else { return true };
    draft.interlock_settle = None;
    let found = format!("{}, which is {}", word.quoted(), spoken(settle));
    let finding = draft.findings.error(word.at, found).expected(format!("at most {}", spoken(SETTLE_MAX)));
    if word.text.bytes().all(|byte| byte.is_ascii_digit()) {
        finding.hint(format!("a number alone is seconds: did you mean `{}ms`?", word.text));
    }
    false
}

/// How long the interlock waits, when there is one.
pub(super) fn interlock(draft: &Draft<'_>) -> Option<Duration> {
    draft.interlock.map(|_| draft.interlock_settle.map_or(DEFAULT_SETTLE, |(settle, _)| settle))
}

/// Whether the lines make sense together; a wire that is cut must be no permission.
pub(super) fn check(draft: &mut Draft<'_>) {
    check_interlock(draft);
    for index in 0..draft.gpio.len() {
        let DraftLine { line, at, is_in_board } = draft.gpio[index].clone();
        if let LineUse::Input(input) = line.usage
            && let Some(complaint) = judge_open_wire(&line, input, draft.interlock.is_some())
        {
            let findings = if is_in_board { &mut draft.board_findings } else { &mut draft.findings };
            complaint.add_to(findings.add(complaint.severity, at, complaint.found.clone()));
        }
    }
}

fn check_interlock(draft: &mut Draft<'_>) {
    let Some((_, at)) = draft.interlock else {
        if let Some((_, at)) = draft.interlock_settle {
            let finding = draft.findings.warning(at, "`interlock_settle` without an interlock");
            finding.expected("`interlock gpio`").hint("the line has no effect");
        }
        return;
    };
    for usage in [LineUse::Output(OutputLine::Owner), LineUse::Input(InputLine::PeerOwner)] {
        if !draft.gpio.iter().any(|known| known.line.usage == usage) {
            let name = usage.name();
            let finding = draft.findings.error(at, format!("`interlock gpio` without a line `{name}`"));
            finding.expected(format!("`gpio {name} CHIP OFFSET …`, here or in the board file"));
        }
    }
}

/// What is wrong with a line when its wire is cut.
struct Complaint {
    severity: Severity,
    found: String,
    expected: &'static str,
    hint: &'static str,
}

impl Complaint {
    fn add_to(&self, finding: &mut Finding) {
        finding.expected(self.expected).hint(self.hint);
    }
}

fn judge_open_wire(line: &GpioLine, input: InputLine, is_interlocked: bool) -> Option<Complaint> {
    let is_best_active = matches!(input, InputLine::PeerOwner | InputLine::PeerPower);
    let open = line.is_active_when_open();
    if open == Some(is_best_active) {
        return (input == InputLine::PeerOwner && !line.is_active_low).then(|| Complaint {
            severity: Severity::Note,
            found: "`peer-owner` with its active level high".into(),
            expected: "",
            hint: "on a direct wire a peer without power may pull it low, which says \"not owner\"; with `active-low \
                   pull-down` here and `active-low` at its `owner`, or with an optocoupler, it cannot (docs/wiring.md)",
        });
    }
    let found = match open {
        None => format!("`{}` without a pull-up or pull-down", input.name()),
        Some(true) => format!("`{}`, which reads as active when its wire is open", input.name()),
        Some(false) => format!("`{}`, which reads as inactive when its wire is open", input.name()),
    };
    const OPEN_ACTIVE: &str = "`active-low pull-down` or `active-high pull-up`, the pull may be `external-…`";
    const OPEN_INACTIVE: &str = "`active-low pull-up` or `active-high pull-down`, the pull may be `external-…`";
    let (severity, expected, hint) = match input {
        InputLine::PeerOwner => (
            if is_interlocked { Severity::Error } else { Severity::Warning },
            OPEN_ACTIVE,
            "a cut wire must read as \"the peer owns\": else it is a permission to start beside the peer",
        ),
        InputLine::PeerPower => (
            Severity::Error,
            OPEN_ACTIVE,
            "a cut wire must read as \"the peer has power\": else it proves a death that never was",
        ),
        InputLine::PeerAlive => (Severity::Warning, OPEN_INACTIVE, "a cut wire should read as \"not alive\""),
        InputLine::Maintenance => (Severity::Warning, OPEN_INACTIVE, "a cut wire should not hold decisions"),
    };
    Some(Complaint { severity, found, expected, hint })
}
