//! Tables and durations for people.

use std::io::IsTerminal as _;

/// How a cell is to be read at a glance. Shown by colour on a terminal only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), tone: Tone::Plain }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: Tone::Plain }
    }
}

impl Cell {
    pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

/// Whether standard output shows colours: a terminal, and `NO_COLOR` is not set.
pub(super) fn is_colourful() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A word in its colour.
pub(super) fn paint(text: &str, tone: Tone, is_colourful: bool) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Doubtful => "33",
        Tone::Bad => "31",
        Tone::Plain => return text.to_owned(),
    };
    if is_colourful { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Columns padded to their widest cell, two blanks apart; no blanks at the end of a line.
pub(super) fn table(head: &[&str], rows: &[Vec<Cell>], is_colourful: bool) -> String {
    let head: Vec<Cell> = head.iter().map(|title| Cell::from(*title)).collect();
    let all = || std::iter::once(&head).chain(rows);
    let widths: Vec<usize> =
        (0..head.len()).map(|column| all().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in all() {
        for (at, cell) in row.iter().enumerate() {
            out.push_str(&paint(&cell.text, cell.tone, is_colourful));
            if at + 1 < row.len() {
                let padding = widths.get(at).map_or(0, |widest| widest.saturating_sub(width(cell)));
                out.push_str(&" ".repeat(padding + 2));
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

fn width(cell: &Cell) -> usize {
    cell.text.chars().count()
}

/// A duration in the unit that suits it: `12 ms`, `3.4 s`, `5 min`, `7 h`, `9 d`.
pub(super) fn spoken_ms(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// The same from microseconds: `1.2 ms` below ten milliseconds.
pub(super) fn spoken_us(us: u64) -> String {
    if us < 100 {
        return format!("{us} µs");
    }
    if us < 10_000 { format!("{}.{} ms", us / 1000, us % 1000 / 100) } else { spoken_ms(us / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_colour() {
        let rows = [
            vec![Cell::from("ttyS0"), Cell::toned("up", Tone::Good), "1".into()],
            vec![Cell::from("ö"), Cell::toned("dead", Tone::Bad), "".into()],
        ];
        assert_eq!(table(&["LINK", "STATE", "N"], &rows, false), "LINK   STATE  N\nttyS0  up     1\nö      dead\n");
        assert!(table(&["A", "B", "C"], &rows, true).contains("\x1b[31mdead\x1b[0m"));
    }

    #[test]
    fn durations_have_a_fitting_unit() {
        let spoken = [0, 999, 1000, 119_999, 120_000, 7_200_000, 172_800_000].map(spoken_ms);
        assert_eq!(spoken, ["0 ms", "999 ms", "1.0 s", "119.9 s", "2 min", "2 h", "2 d"]);
        assert_eq!([1234, 9_999, 10_000, 2_500_000].map(spoken_us), ["1.2 ms", "9.9 ms", "10 ms", "2.5 s"]);
    }
}
