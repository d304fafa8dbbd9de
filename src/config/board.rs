//! Board files: what a kind of board has, by names (`board NAME` in ha.cf reads `boards/NAME.conf`).

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::finding::{At, Finding, Findings, nearest};
use super::load::{self, TextFile};
use super::machine::{FileKind, Machine};
use super::token::Word;
use super::{GpioLine, Purpose, gpio};

/// Where packages put the board files that come with nullbeat. Those in `boards` beside ha.cf come first.
pub const BOARDS: &str = "/usr/share/nullbeat/boards";

/// A device that a board file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDevice {
    /// As ha.cf may call it.
    pub name: String,
    /// The device.
    pub path: PathBuf,
}

/// What a board file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoardFile {
    /// `serial-port NAME PATH`.
    pub serial_ports: Vec<NamedDevice>,
    /// `watchdog-device NAME PATH`.
    pub watchdogs: Vec<NamedDevice>,
    /// `gpio …`.
    pub gpio: Vec<GpioLine>,
}

/// The directories in which `board NAME` looks, the first one first.
pub fn directories(config: &Path) -> [PathBuf; 2] {
    [config.join("boards"), PathBuf::from(BOARDS)]
}

/// The names of the board files in the directories of [`directories`].
fn known(config: &Path) -> Vec<String> {
    let files = directories(config).into_iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten().flatten();
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".conf")?.to_owned())).collect();
    crate::order::sort(&mut names, |a, b| a < b);
    names.dedup();
    names
}

/// `board NAME`.
pub(super) fn read_board(draft: &mut Draft<'_>, word: &Word) -> bool {
    let is_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if word.text.starts_with('.') || !word.text.chars().all(is_name) {
        let found = format!("{}, which is no name of a board", word.quoted());
        let finding = draft.findings.error(word.at, found).expected("letters, digits, `-`, `_` and `.`");
        finding.hint("the file is `boards/NAME.conf` beside ha.cf, or in /usr/share/nullbeat");
        return false;
    }
    let name = format!("{}.conf", word.text);
    let places = directories(&draft.config_dir);
    let Some(path) = places.iter().map(|place| place.join(&name)).find(|path| path.exists()) else {
        let names = known(&draft.config_dir);
        let found = format!("the board {}, for which there is no file", word.quoted());
        let finding = draft.findings.error(word.at, found);
        finding.expected(format!("`{name}` in {} or {}", places[0].display(), places[1].display()));
        let near = nearest(&word.text, names.iter().map(String::as_str));
        finding.hint(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`nullbeat board` prints one to start from".into(),
        });
        return false;
    };
    match TextFile::read(&path) {
        Ok(text) => read_file(draft, &text),
        Err(error) => {
            draft.findings.refuse(word.at, format!("{}, unreadable ({error})", path.display()), "a board file");
            return false;
        }
    }
    draft.board = Some((path, word.at));
    true
}

/// Reads the lines of a board file into the draft, with findings of its own.
fn read_file(draft: &mut Draft<'_>, text: &TextFile) {
    let here = draft.here;
    draft.board_findings = Findings::new(&text.path);
    load::warn_of_writers(text, load::WRITABLE_BY_ALL, &mut draft.board_findings);
    std::mem::swap(&mut draft.findings, &mut draft.board_findings);
    draft.is_in_board = true;
    draft.read(text);
    draft.is_in_board = false;
    std::mem::swap(&mut draft.findings, &mut draft.board_findings);
    draft.here = here;
}

/// Reads one board file alone: what `nullbeat board --check FILE` does. `None` with an error.
pub fn check_file(path: &Path, machine: &dyn Machine) -> (Option<BoardFile>, Vec<Finding>) {
    let mut draft = Draft::new(path, machine, Purpose::Check, "");
    match TextFile::read(path) {
        Ok(text) => {
            load::warn_of_writers(&text, load::WRITABLE_BY_ALL, &mut draft.findings);
            read_alone(&mut draft, &text);
        }
        Err(error) => draft.findings.refuse(At::FILE, format!("no readable file ({error})"), "a board file"),
    }
    let is_fine = !draft.findings.has_error();
    let file = BoardFile {
        serial_ports: draft.serial_ports,
        watchdogs: draft.watchdog_devices,
        gpio: draft.gpio.into_iter().map(|draft| draft.line).collect(),
    };
    (is_fine.then_some(file), draft.findings.into_sorted())
}

fn read_alone(draft: &mut Draft<'_>, text: &TextFile) {
    draft.is_in_board = true;
    draft.read(text);
    draft.is_in_board = false;
    // The findings of both are in one list here.
    for line in &mut draft.gpio {
        line.is_in_board = false;
    }
    gpio::check(draft);
}

/// `serial-port NAME PATH`.
pub(super) fn read_serial_port(draft: &mut Draft<'_>, words: &[Word]) {
    if let Some(device) = read_device(draft, words) {
        draft.serial_ports.push(device);
    }
}

/// `watchdog-device NAME PATH`.
pub(super) fn read_watchdog_device(draft: &mut Draft<'_>, words: &[Word]) {
    if let Some(device) = read_device(draft, words) {
        draft.watchdog_devices.push(device);
    }
}

fn read_device(draft: &mut Draft<'_>, words: &[Word]) -> Option<NamedDevice> {
    let (directive, at) = draft.here;
    let form = format!("`{directive} NAME /dev/…`");
    let (name, path) = match words {
        [name, path] => (name, path),
        [] => {
            draft.findings.refuse(at, format!("`{directive}` without arguments"), form);
            return None;
        }
        [name] => {
            draft.findings.refuse(name.at, format!("{} without a device", name.quoted()), form);
            return None;
        }
        [_, _, extra, ..] => {
            draft.findings.refuse(extra.at, extra.quoted(), "nothing more");
            return None;
        }
    };
    if name.text.starts_with('/') || name.text == "baud" || name.text == "flow" {
        draft.findings.refuse(name.at, format!("{} for a name", name.quoted()), form);
        return None;
    }
    if !path.text.starts_with('/') {
        draft.findings.refuse(path.at, path.quoted(), "the full path of a device");
        return None;
    }
    let others = draft.serial_ports.iter().chain(&draft.watchdog_devices);
    if others.clone().any(|known| known.name == name.text) {
        draft.findings.refuse(name.at, format!("{} a second time", name.quoted()), "each name once");
        return None;
    }
    let path_buf = PathBuf::from(&path.text);
    if let Some(before) = others.clone().find(|known| known.path == path_buf) {
        let hint = format!("it is called `{}` already", before.name);
        draft
            .findings
            .error(path.at, format!("the device {} a second time", path.quoted()))
            .expected("each once")
            .hint(hint);
        return None;
    }
    if matches!(draft.machine.file(&path_buf), FileKind::Plain | FileKind::Executable | FileKind::Other) {
        draft
            .findings
            .warning(path.at, format!("{}, which is no character device here", path.quoted()))
            .expected("a device");
    }
    Some(NamedDevice { name: name.text.clone(), path: path_buf })
}
