//! The files in which a cluster without resource management remembers its nodes: `hostcache` and `delhostcache`
//! (spec/wire.md 10.4).

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::state_file::replace;
use crate::guardian::roster::{Roster, TEXT_MAX};

/// Names of the files; the second holds deleted nodes.
pub const NAMES: [&str; 2] = ["hostcache", "delhostcache"];

/// Takes what an earlier daemon, or a Heartbeat, has left. Files that cannot be read count as empty.
pub fn read(directory: &Path, roster: &Roster) {
    let texts = NAMES.map(|name| {
        let mut text = Vec::new();
        match fs::File::open(directory.join(name)).and_then(|file| file.take(TEXT_MAX as u64).read_to_end(&mut text)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => log::warn!("{name} is not read: {error}"),
            _ => {}
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    roster.write(&texts[0], &texts[1]);
}

/// Writes both; each file is the old one or the new one at every moment.
///
/// # Errors
/// What writing says.
pub fn write(directory: &Path, texts: &[String; 2]) -> io::Result<()> {
    for (name, text) in NAMES.iter().zip(texts) {
        replace(&directory.join(name), text.as_bytes())?;
    }
    Ok(())
}
