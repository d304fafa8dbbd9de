//! The load average that each message carries in `ld`, for people who look at packets.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::core::time::{Duration, Instant};
use crate::wire::heartbeat::Codec;

/// A one-minute average is not news every beat.
const REFRESH: Duration = Duration::from_secs(10);

/// `/proc/loadavg`, opened at start; after that the engine opens nothing.
#[derive(Debug)]
pub struct LoadAverage {
    file: Option<File>,
    next: Instant,
}

impl LoadAverage {
    /// Opens it; without it messages say `n/a`.
    pub fn open() -> Self {
        Self { file: File::open("/proc/loadavg").ok(), next: Instant::ZERO }
    }

    /// Tells the codec when it is time to.
    pub fn refresh(&mut self, now: Instant, codec: &mut Codec) {
        if now < self.next {
            return;
        }
        self.next = now + REFRESH;
        let mut buffer = [0; 64];
        if let Some(file) = &self.file
            && let Ok(count) = file.read_at(&mut buffer, 0)
            && let Ok(text) = std::str::from_utf8(&buffer[..count])
        {
            codec.set_load(text);
        }
    }
}
