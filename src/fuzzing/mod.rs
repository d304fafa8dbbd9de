//! What fuzzers run: one function for each decoder of bytes that come from outside.
//!
//! `fuzz/` runs each with libFuzzer; the test below runs each with every file of `fuzz/corpus` and a few thousand mutations
//! of these, without a fuzzer, so that they cannot rot. A function panics when it has found something. "Does not crash" is
//! the least that is asked for: what was understood is said again and must be understood as the same, streams must not
//! depend on how they are cut, and a good message behind any rubbish must be found.

mod api;
mod changeover;
mod compact;
mod config;
mod files;
mod guardian;
mod wire;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

/// One decoder.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the program in `fuzz/fuzz_targets` and of the directory in `fuzz/corpus`.
    pub name: &'static str,
    body: fn(&[u8]),
}

impl Target {
    /// The one of this name.
    ///
    /// # Panics
    /// When there is none, which is a mistake in `fuzz/`.
    pub fn named(name: &str) -> Self {
        let found = TARGETS.iter().find(|target| target.name == name);
        *found.unwrap_or_else(|| panic!("src/fuzzing has no target {name}"))
    }

    /// Tries one input.
    ///
    /// # Panics
    /// When the decoder does something wrong with it.
    pub fn run(&self, data: &[u8]) {
        (self.body)(data);
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "packet", body: wire::packet },
    Target { name: "serial_line", body: wire::serial_line },
    Target { name: "compact_line", body: compact::line },
    Target { name: "compact_frame", body: compact::frame },
    Target { name: "change_over", body: changeover::change_over },
    Target { name: "compressed", body: wire::compressed },
    Target { name: "ping_echo", body: wire::ping_echo },
    Target { name: "fifo", body: wire::fifo },
    Target { name: "client_message", body: wire::client_message },
    Target { name: "ha_cf", body: config::ha_cf },
    Target { name: "haresources", body: config::haresources },
    Target { name: "authkeys", body: config::authkeys },
    Target { name: "board", body: config::board },
    Target { name: "logd_cf", body: config::logd_cf },
    Target { name: "apphbd_cf", body: config::apphbd_cf },
    Target { name: "ipc", body: api::ipc },
    Target { name: "client_api", body: api::client_api },
    Target { name: "ccm_message", body: api::ccm_message },
    Target { name: "ccm_service", body: api::ccm_service },
    Target { name: "ccm_client", body: api::ccm_client },
    Target { name: "apphbd", body: api::apphbd },
    Target { name: "logd", body: api::logd },
    Target { name: "guardian", body: guardian::records },
    Target { name: "site_message", body: guardian::site_message },
    Target { name: "log_pipe", body: guardian::log_pipe },
    Target { name: "control", body: guardian::control },
    Target { name: "check_answer", body: guardian::check_answer },
    Target { name: "history", body: files::history },
    Target { name: "history_news", body: files::news },
    Target { name: "move_page", body: files::move_page },
    Target { name: "state_files", body: files::state_files },
];

/// A path for this thread's own things: in memory where there is such a place, as files are written with every input.
fn scratch(name: &str) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    directory.join(format!("nullbeat-fuzz-{}-{:?}.{name}", std::process::id(), std::thread::current().id()))
}

/// The first byte of an input, which chooses something, and the rest.
fn choice(data: &[u8]) -> (usize, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest))
}

/// Pieces of an input that are given one after the other: 0xff stands between them, which is in no text.
fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == 0xff)
}
