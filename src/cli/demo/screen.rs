//! Where the show is seen: plain lines, or a terminal with a picture that is drawn anew.

use std::io::Write as _;
use std::os::fd::AsFd as _;

use crate::cli::print_out;
use crate::sys::tty::window_size;

use super::picture::Style;

/// Rows and columns of a terminal that does not tell.
const USUAL_SIZE: (u16, u16) = (24, 80);
/// Alternate screen, no cursor, no line wrap; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// One of the two. Dropping it gives the terminal back.
#[derive(Debug)]
pub(super) enum Output {
    /// Lines, one after the other.
    Plain,
    /// A picture.
    Screen {
        /// What is on it.
        drawn: String,
        /// How to draw.
        style: Style,
    },
}

impl Output {
    /// Plain lines.
    pub(super) const fn plain() -> Self {
        Self::Plain
    }

    /// A picture on the terminal at standard output.
    pub(super) fn screen() -> Self {
        print_out(ENTER);
        Self::Screen { drawn: String::new(), style: Style::of_environment() }
    }

    /// How a picture is to be drawn, when there is one, and how many rows it may have.
    pub(super) fn style(&self) -> Option<(Style, usize)> {
        match self {
            Self::Plain => None,
            Self::Screen { style, .. } => {
                let (rows, _) = window_size(std::io::stdout().as_fd()).ok().flatten().unwrap_or(USUAL_SIZE);
                Some((*style, usize::from(rows)))
            }
        }
    }

    /// Lines for who has no picture.
    pub(super) fn say(&self, text: &str) {
        if matches!(self, Self::Plain) {
            print_out(text);
        }
    }

    /// Draws the picture when it has changed.
    pub(super) fn draw(&mut self, lines: &[String]) {
        let Self::Screen { drawn, .. } = self else { return };
        let text = format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"));
        if *drawn != text {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            *drawn = text;
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if matches!(self, Self::Screen { .. }) {
            print_out(LEAVE);
        }
    }
}
