//! A file's page shared between processes, seen as atomic words.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Words of a file, shared with everybody who maps the same file and with the children of this process.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    count: usize,
}

impl SharedWords {
    /// Maps the first `count` words of `file`. The file shall be at least that long and shall never be cut: touching a
    /// page that is gone is fatal (SIGBUS).
    ///
    /// # Errors
    /// What mmap(2) says; `InvalidInput` for no words at all.
    pub fn map(file: &File, count: usize) -> io::Result<Self> {
        let len = NonZeroUsize::new(count * size_of::<AtomicU64>()).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that Rust knows of.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Self { start: start.cast(), count })
    }

    /// The words. Others store into them at any time.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page aligned, `count` words long, initialised by the kernel and lives as long as
        // `self`; the words are only ever accessed as atomics, here and in the other processes.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and no reference outlives `self`.
        let _ = unsafe { munmap(self.start.cast(), self.count * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn mapping_two_maps_of_a_file_share_words() {
        let file =
            File::from(nix::sys::memfd::memfd_create(c"words-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap());
        file.set_len(4096).unwrap();
        let one = SharedWords::map(&file, 512).unwrap();
        let other = SharedWords::map(&file, 512).unwrap();
        one.words()[511].store(77, Ordering::Release);
        assert_eq!(other.words()[511].load(Ordering::Acquire), 77);
        assert_eq!(one.words().len(), 512);
    }

    #[test]
    fn mapping_of_nothing_is_refused() {
        let file =
            File::from(nix::sys::memfd::memfd_create(c"words-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap());
        assert_eq!(SharedWords::map(&file, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
