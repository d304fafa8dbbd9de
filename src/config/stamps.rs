//! Which state of the files was read: SIGHUP acts on what has changed since (spec/config.md section 5).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Paths, board, testing};

/// Time of last change in whole seconds and nanoseconds, inode and size: a file that was replaced by an older one is
/// another one too.
type Stamp = (i64, i64, u64, u64);

/// What the files looked like at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamps {
    ha_cf: Option<Stamp>,
    haresources: Option<Stamp>,
    authkeys: Option<Stamp>,
    testing: Option<Stamp>,
    /// Of all board files: which one is read, ha.cf says.
    boards: u64,
}

/// What differs between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// authkeys alone.
    Keys,
    /// `OnlyForTesting` alone, or with authkeys.
    Testing,
    /// ha.cf, haresources or a board file.
    Configuration,
}

impl FileStamps {
    /// Now. Taken before the files are read, so that what changes while they are read is a change.
    pub fn of(paths: &Paths) -> Self {
        let stamp = |name: &str| stamp(&paths.config.join(name));
        Self {
            ha_cf: stamp("ha.cf"),
            haresources: stamp("haresources"),
            authkeys: stamp("authkeys"),
            testing: stamp(testing::FILE_NAME),
            boards: boards(paths),
        }
    }

    /// What has changed since `before`.
    pub fn change_since(&self, before: &Self) -> Change {
        if (self.ha_cf, self.haresources, self.boards) != (before.ha_cf, before.haresources, before.boards) {
            Change::Configuration
        } else if self.testing != before.testing {
            Change::Testing
        } else if self.authkeys != before.authkeys {
            Change::Keys
        } else {
            Change::None
        }
    }
}

fn boards(paths: &Paths) -> u64 {
    let mut hasher = DefaultHasher::new();
    for directory in board::directories(&paths.config) {
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut stamps: Vec<_> = files.map(|file| (file.file_name(), stamp(&file.path()))).collect();
        crate::order::sort(&mut stamps, |a, b| a < b);
        stamps.hash(&mut hasher);
    }
    hasher.finish()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.ino(), metadata.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_apart() {
        let dir = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-stamps-XXXXXX")).unwrap();
        let paths = Paths { config: dir.clone(), run: dir.clone(), state: dir.clone() };
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        write("ha.cf", "a");
        write("authkeys", "a");
        let first = FileStamps::of(&paths);
        assert_eq!(FileStamps::of(&paths).change_since(&first), Change::None);
        write("authkeys", "other");
        let second = FileStamps::of(&paths);
        assert_eq!(second.change_since(&first), Change::Keys);
        write("OnlyForTesting", "");
        assert_eq!(FileStamps::of(&paths).change_since(&second), Change::Testing);
        std::fs::remove_file(dir.join("OnlyForTesting")).unwrap();
        // It came, which is a change as well.
        write("haresources", "");
        let third = FileStamps::of(&paths);
        assert_eq!(third.change_since(&second), Change::Configuration);
        std::fs::create_dir(dir.join("boards")).unwrap();
        write("boards/own.conf", "");
        let fourth = FileStamps::of(&paths);
        assert_eq!(fourth.change_since(&third), Change::Configuration);
        write("boards/own.conf", "serial-port peer /dev/ttyS1");
        assert_eq!(FileStamps::of(&paths).change_since(&fourth), Change::Configuration);
        assert_eq!(FileStamps::of(&paths).change_since(&FileStamps::of(&paths)), Change::None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
