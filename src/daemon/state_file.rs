//! Small files that outlive a power cut: the one way in which they are written.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Replaces a file in one step: after a power cut at any moment it is the old one or the new one, never a part of it, and
/// when this returns it is the new one. Waits for the disk.
///
/// The way: a new file beside it, written and on disk, takes the name, and then the name is on disk.
///
/// # Errors
/// What the system says. The old file stands then, unless only the last step failed: then it is either.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = beside(path);
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    if let Err(error) = write() {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes into the blocks that a file of the same length has, for a disk on which there is no room for a new one. A power
/// cut may leave it broken: only for files of which there are two.
///
/// # Errors
/// What the system says, or that the file has another length.
pub fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() != content.len() as u64 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    file.write_all(content)?;
    file.sync_all()
}

/// Where the new content waits: the whole name counts, so that a file and its copy do not share the place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_has_the_new_content_and_leaves_nothing_behind() {
        let directory = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-state-XXXXXX")).unwrap();
        let path = directory.join("number");
        for content in ["1", "twenty-two"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert!(overwrite(&path, b"short").is_err());
        overwrite(&path, b"ten  bytes").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "ten  bytes");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
