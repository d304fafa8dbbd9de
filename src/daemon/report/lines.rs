//! How the lines of a report are written.

use std::fmt::{self, Write as _};

use crate::core::time::Duration;
use crate::daemon::control::Sheet;

/// Writes lines: [`begin`](Self::begin), fields, [`end`](Self::end).
pub(super) struct Lines<'a> {
    pub(super) sheet: &'a mut Sheet,
}

impl Lines<'_> {
    pub(super) fn begin(&mut self, kind: &str) -> &mut Self {
        let _ = self.sheet.write_str(kind);
        self
    }

    pub(super) fn end(&mut self) {
        let _ = self.sheet.write_str("\n");
    }

    /// A value; control characters in it would garble the report and are replaced.
    pub(super) fn field(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        let _ = write!(self.sheet, "\t{name}=");
        let _ = write!(Clean(self.sheet), "{value}");
        self
    }

    pub(super) fn flag(&mut self, name: &str, is_set: bool) -> &mut Self {
        self.field(name, u8::from(is_set))
    }

    /// Nothing when there is no value.
    pub(super) fn maybe(&mut self, name: &str, value: Option<impl fmt::Display>) -> &mut Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }
}

struct Clean<'a>(&'a mut Sheet);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, part) in text.split(char::is_control).enumerate() {
            if at > 0 {
                self.0.write_str("?")?;
            }
            self.0.write_str(part)?;
        }
        Ok(())
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
