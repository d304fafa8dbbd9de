//! The picture: two boards, what joins them, who owns the service, which step it is. From values to lines of text.

use super::board::Side;
use super::reading::{LinkReading, Reading, Route};
use super::stage::SERVICE;
use super::story::Step;
use crate::cli::table::is_colourful;

/// Columns inside a box, and between the boxes.
const BOX: usize = 20;
const GAP: usize = 32;
/// Columns of an explanation.
const WHY: usize = 72;

/// Signs and colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// Box-drawing characters; else ASCII.
    pub(super) is_unicode: bool,
    /// Colours; else none.
    pub(super) is_colour: bool,
}

impl Style {
    /// As the environment asks: the locale decides about characters, `NO_COLOR` about colours.
    pub(super) fn of_environment() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let is_unicode = locale.contains("utf-8") || locale.contains("utf8");
        Self { is_unicode, is_colour: is_colourful() }
    }

    const fn sign(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.is_unicode { unicode } else { ascii }
    }

    fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Plain => return text.to_owned(),
            Colour::Good => "32",
            Colour::Bad => "31",
            Colour::Wait => "33",
            Colour::Faint => "2",
            Colour::Strong => "1",
        };
        if self.is_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Plain,
    Good,
    Bad,
    Wait,
    Faint,
    Strong,
}

/// A board from outside and from inside.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoardScene<'a> {
    /// Has power.
    pub(super) is_on: bool,
    /// The observer knows that the service runs there.
    pub(super) owns: bool,
    /// What its node says; nothing so far, or no longer.
    pub(super) reading: Option<&'a Reading>,
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// Since the beginning.
    pub(super) millis: u128,
    /// Both boards.
    pub(super) boards: [BoardScene<'a>; 2],
    /// Whether the plug of each route is pulled.
    pub(super) is_cut: [bool; 2],
    /// All steps so far; the last one is going on unless it has a result.
    pub(super) steps: &'a [Step],
}

/// The lines, at most `rows`: the oldest steps make room.
pub(super) fn draw(scene: &Scene<'_>, style: Style, rows: usize) -> Vec<String> {
    let mut lines = vec![title(scene, style), String::new()];
    lines.extend(boxes(scene, style));
    lines.push(alarms(scene, style));
    lines.push(owners(scene, style));
    lines.push(String::new());
    let mut steps = steps(scene.steps, style);
    let room = rows.saturating_sub(lines.len()).max(2);
    if steps.len() > room {
        steps.drain(..steps.len() - room);
    }
    lines.extend(steps);
    lines.truncate(rows);
    lines
}

fn title(scene: &Scene<'_>, style: Style) -> String {
    let left = "nullbeat demo: two real nodes, joined by a cable and a network";
    let seconds = format!("{}.{} s", scene.millis / 1000, scene.millis % 1000 / 100);
    format!("  {} {seconds:>13}", style.paint(Colour::Strong, left))
}

fn boxes(scene: &Scene<'_>, style: Style) -> Vec<String> {
    let sides = Side::BOTH.map(|side| inside(scene.boards[side.index()], style));
    let middle = between(scene, style);
    let tops = Side::BOTH.map(|side| edge(style, side.name(), true));
    let bottoms = [edge(style, "", false), edge(style, "", false)];
    let gap = " ".repeat(GAP);
    let mut lines = vec![format!("  {}{gap}{}", tops[0], tops[1])];
    for (row, wire) in middle.iter().enumerate() {
        let bar = style.sign("│", "|");
        let joint = if row % 2 == 0 { [style.sign("├", "+"), style.sign("┤", "+")] } else { [bar, bar] };
        lines.push(format!("  {bar}{}{}{wire}{}{}{bar}", sides[0][row], joint[0], joint[1], sides[1][row]));
    }
    lines.push(format!("  {}{gap}{}", bottoms[0], bottoms[1]));
    lines
}

fn edge(style: Style, name: &str, is_top: bool) -> String {
    let line = style.sign("─", "-");
    let (left, right) = if is_top { ("╭", "╮") } else { ("╰", "╯") };
    let name = if name.is_empty() { String::new() } else { format!(" {name} ") };
    let rest = line.repeat(BOX - 1 - name.chars().count());
    format!("{}{line}{}{rest}{}", style.sign(left, "+"), style.paint(Colour::Strong, &name), style.sign(right, "+"))
}

/// The four rows in a box.
fn inside(board: BoardScene<'_>, style: Style) -> [String; 4] {
    let cell = |colour, text: &str| style.paint(colour, &format!(" {text:<width$}", width = BOX - 1));
    let power = if board.is_on { cell(Colour::Plain, "power on") } else { cell(Colour::Bad, "NO POWER") };
    let (node, state) = match board.reading {
        _ if !board.is_on => (cell(Colour::Plain, ""), cell(Colour::Plain, "")),
        None => (cell(Colour::Wait, "starting"), cell(Colour::Plain, "")),
        Some(reading) => {
            let rest = if reading.is_settled { "settled" } else { "moving" };
            let colour = if reading.is_settled { Colour::Plain } else { Colour::Wait };
            (
                cell(colour, &format!("{}, {rest}", reading.status)),
                cell(
                    if reading.peer == "dead" { Colour::Bad } else { Colour::Plain },
                    &format!("peer {}", reading.peer),
                ),
            )
        }
    };
    let service = if board.owns {
        cell(Colour::Good, &format!("{} runs {SERVICE}", style.sign("●", "*")))
    } else {
        cell(Colour::Faint, style.sign("○", "-"))
    };
    [power, node, state, service]
}

/// Two rows for each route: the wire, and what both ends hear through it.
fn between(scene: &Scene<'_>, style: Style) -> Vec<String> {
    let mut rows = Vec::new();
    for route in Route::BOTH {
        let ends = scene.boards.map(|board| board.reading.filter(|_| board.is_on).map(|reading| reading.link(route)));
        let is_up = ends.iter().all(|end| end.is_some_and(|link| link.is_up));
        let is_cut = scene.is_cut[route.index()];
        rows.push(wire(route, is_cut, is_up, style));
        let [left, right] = ends.map(|end| heard(end, style));
        let width = |text: &str| text.chars().count();
        let space = " ".repeat(GAP.saturating_sub(2 + width(&left.0) + width(&right.0)));
        rows.push(format!(" {}{space}{} ", style.paint(left.1, &left.0), style.paint(right.1, &right.0)));
    }
    rows
}

fn wire(route: Route, is_cut: bool, is_up: bool, style: Style) -> String {
    let line = match route {
        Route::Serial => style.sign("═", "="),
        Route::Network => style.sign("─", "-"),
    };
    let name = if is_cut { format!(" {route} {} pulled ", style.sign("✗", "X")) } else { format!(" {route} ") };
    let left = (GAP - name.chars().count()) / 2;
    let right = GAP - left - name.chars().count();
    let colour = match (is_cut, is_up) {
        (true, _) => Colour::Bad,
        (false, true) => Colour::Good,
        (false, false) => Colour::Wait,
    };
    style.paint(colour, &format!("{}{name}{}", line.repeat(left), line.repeat(right)))
}

fn heard(link: Option<LinkReading>, style: Style) -> (String, Colour) {
    match link {
        None => (style.sign("·", ".").to_owned(), Colour::Faint),
        Some(LinkReading { is_up: true, heard_ms: Some(age) }) => (format!("up, {age} ms"), Colour::Plain),
        Some(LinkReading { is_up: true, heard_ms: None }) => ("up".to_owned(), Colour::Plain),
        Some(LinkReading { is_up: false, heard_ms: Some(_) }) => ("dead".to_owned(), Colour::Bad),
        Some(LinkReading { is_up: false, heard_ms: None }) => ("not heard".to_owned(), Colour::Wait),
    }
}

/// The standing alarms of both nodes.
fn alarms(scene: &Scene<'_>, style: Style) -> String {
    let of = |side: Side| {
        let reading = scene.boards[side.index()].reading.filter(|_| scene.boards[side.index()].is_on)?;
        let names: Vec<String> = reading.alarms.iter().map(|name| name.replace('_', " ")).collect();
        (!names.is_empty()).then(|| format!("{side}: {}", names.join(", ")))
    };
    let all: Vec<String> = Side::BOTH.into_iter().filter_map(of).collect();
    if all.is_empty() {
        return format!("  {}", style.paint(Colour::Faint, "no alarm"));
    }
    let text: String = format!("alarm: {}", all.join("; ")).chars().take(76).collect();
    format!("  {}", style.paint(Colour::Wait, &text))
}

/// Who owns the service, in so many words.
fn owners(scene: &Scene<'_>, style: Style) -> String {
    let (text, colour) = match scene.boards.map(|board| board.owns) {
        [true, true] => (format!("BOTH own {SERVICE}"), Colour::Bad),
        [true, false] => (format!("{} owns {SERVICE}", Side::Alpha), Colour::Good),
        [false, true] => (format!("{} owns {SERVICE}", Side::Beta), Colour::Good),
        [false, false] => (format!("nobody owns {SERVICE}"), Colour::Wait),
    };
    format!("  {}", style.paint(colour, &text))
}

fn steps(steps: &[Step], style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let number = place + 1;
        match &step.result {
            Some(result) => {
                let sign = style.paint(Colour::Good, style.sign("✓", "+"));
                lines.push(format!("{sign}{number:>3}  {result}"));
            }
            None => {
                let sign = style.paint(Colour::Wait, style.sign("▶", ">"));
                lines.push(format!("{sign}{number:>3}  {}", style.paint(Colour::Strong, &step.title)));
                lines.extend(wrap(&step.why, WHY).into_iter().map(|line| format!("      {line}")));
            }
        }
    }
    lines
}

/// Lines of at most `width` columns, broken between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const ASCII: Style = Style { is_unicode: false, is_colour: false };

    fn reading(links: [LinkReading; 2], alarms: &[&str]) -> Reading {
        Reading {
            asked_at: Instant::now(),
            status: "active".into(),
            is_settled: true,
            group: "running".into(),
            peer: "active".into(),
            links,
            alarms: alarms.iter().map(ToString::to_string).collect(),
        }
    }

    fn step(title: &str, result: Option<&str>) -> Step {
        Step { title: title.into(), why: "see".into(), result: result.map(Into::into) }
    }

    #[test]
    fn picture_of_a_pulled_cable() {
        let up = LinkReading { is_up: true, heard_ms: Some(31) };
        let dead = LinkReading { is_up: false, heard_ms: Some(900) };
        let alpha = reading([dead, up], &["last_link"]);
        let beta = reading([dead, up], &[]);
        let steps = [step("first", Some("done")), step("pull the serial cable", None)];
        let boards = [(&alpha, true), (&beta, false)];
        let scene = Scene {
            millis: 12_345,
            boards: boards.map(|(reading, owns)| BoardScene { is_on: true, owns, reading: Some(reading) }),
            is_cut: [true, false],
            steps: &steps,
        };
        let expected = "
  nullbeat demo: two real nodes, joined by a cable and a network        12.3 s

  +- alpha ------------+                                +- beta -------------+
  | power on           +==== serial cable X pulled =====+ power on           |
  | active, settled    | dead                      dead | active, settled    |
  | peer active        +----------- network ------------+ peer active        |
  | * runs web         | up, 31 ms            up, 31 ms | -                  |
  +--------------------+                                +--------------------+
  alarm: alpha: last link
  alpha owns web

+  1  done
>  2  pull the serial cable
      see";
        assert_eq!(format!("\n{}", draw(&scene, ASCII, 24).join("\n")), expected);
        let unicode = draw(&scene, Style { is_unicode: true, is_colour: false }, 24);
        let wide: Vec<usize> = unicode[2..8].iter().map(|line| line.chars().count()).collect();
        assert_eq!(wide, [78; 6]);
    }

    #[test]
    fn picture_fits_the_rows_and_shows_the_last_step() {
        let steps: Vec<Step> = (0..30).map(|number| step(&format!("step {number}"), None)).collect();
        let dark = BoardScene { is_on: false, owns: false, reading: None };
        let scene = Scene { millis: 0, boards: [dark; 2], is_cut: [true; 2], steps: &steps };
        for rows in [5, 12, 24] {
            let lines = draw(&scene, ASCII, rows);
            assert!(lines.len() <= rows, "{rows}");
        }
        let lines = draw(&scene, ASCII, 24);
        assert!(lines[lines.len() - 2].contains("step 29") && lines[3].contains("NO POWER"), "{lines:#?}");
    }
    #[test]
    fn explanation_is_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("everything", 3), ["everything"]);
    }
}
