//! Directories for other users, made without following anything that those have put in their place.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::Uid;

/// What becomes of a directory that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is.
    Kept,
    /// Owner and mode are put right, as far as this process may do that.
    Repaired,
}

/// Makes the directory `path`, whose parent is there, with just this mode and, by root, this owner (user, group). A
/// symbolic link in its place is an error.
///
/// # Errors
/// What mkdir(2), open(2), fchown(2) and fchmod(2) say.
pub fn make(path: &Path, mode: u32, owner: Option<(u32, u32)>, existing: Existing) -> io::Result<()> {
    let is_new = match DirBuilder::new().mode(mode & 0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        made => made.map(|()| true)?,
    };
    let is_root = Uid::effective().is_root();
    if !is_new && (existing == Existing::Kept || !is_root) {
        return Ok(());
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let directory = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    let found = directory.metadata()?;
    let owner = owner.filter(|owner| is_root && *owner != (found.uid(), found.gid()));
    let found_mode = found.mode() & 0o7777;
    if !is_new && (owner.is_some() || found_mode != mode) {
        let (uid, gid) = (found.uid(), found.gid());
        log::warn!("{}: its mode was {found_mode:o}, its owner {uid}:{gid}: put right", path.display());
    }
    if let Some((uid, gid)) = owner {
        fchown(&directory, Some(uid), Some(gid))?;
    }
    if found_mode != mode {
        directory.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn scratch() -> Scratch {
        Scratch(nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-directory-XXXXXX")).unwrap())
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn directory_gets_its_mode_whatever_was_there() {
        let scratch = scratch();
        let path = scratch.0.join("new");
        make(&path, 0o1755, None, Existing::Kept).unwrap();
        assert_eq!(mode(&path), 0o1755, "whatever the umask is");
        let is_root = Uid::effective().is_root();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        make(&path, 0o750, None, Existing::Kept).unwrap();
        assert_eq!(mode(&path), 0o777);
        let owner = is_root.then_some((65_534, 65_534));
        make(&path, 0o750, owner, Existing::Repaired).unwrap();
        if is_root {
            let found = fs::metadata(&path).unwrap();
            assert_eq!((mode(&path), found.uid(), found.gid()), (0o750, 65_534, 65_534));
        }
    }

    #[test]
    fn directory_is_not_looked_for_behind_a_link() {
        let scratch = scratch();
        let (target, link) = (scratch.0.join("target"), scratch.0.join("link"));
        fs::create_dir(&target).unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let made = make(&link, 0o777, None, Existing::Repaired);
        assert_eq!(mode(&target), 0o700, "{made:?}");
        assert!(made.is_err() || !Uid::effective().is_root());
        assert!(make(&scratch.0.join("none/there"), 0o700, None, Existing::Kept).is_err());
    }
}
