//! Memory from the kernel rather than from the allocator: a file's page shared between processes, seen as atomic words, and
//! pages of one's own.

use std::alloc::{Layout, handle_alloc_error};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::libc::off_t;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::unistd::{SysconfVar, sysconf};

use super::memory;

/// Words of a file, shared with everybody who maps the same file and with the children of this process.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    offset: off_t,
    count: usize,
}

/// Bytes of a page of the kernel: 4096, on some boards more.
pub fn page_size() -> off_t {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, off_t::from)
}

impl SharedWords {
    /// Maps `count` words of `file`, the first of them `offset` bytes into it, a multiple of [`page_size`]. The file shall be
    /// at least that long and shall never be cut: touching a page that is gone is fatal (SIGBUS).
    ///
    /// # Errors
    /// What mmap(2) says; `InvalidInput` for no words at all.
    pub fn map(file: &File, offset: off_t, count: usize) -> io::Result<Self> {
        let len = NonZeroUsize::new(count * size_of::<AtomicU64>()).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that Rust knows of.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, file, offset) }?;
        Ok(Self { start: start.cast(), offset, count })
    }

    /// From here on this process can only read the words: a store ends it (SIGSEGV). `reader` is the same file, opened for
    /// reading only, so that the kernel refuses to make them writable again.
    ///
    /// # Errors
    /// What mmap(2) says: nothing has changed then.
    pub fn make_read_only(&self, reader: &File) -> io::Result<()> {
        let len = NonZeroUsize::new(self.count * size_of::<AtomicU64>()).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        // SAFETY: takes the place of this very mapping, in one step, and shows the same words of the same file; whoever
        // reads them meanwhile reads them as atomics.
        unsafe { mmap(Some(self.start.addr()), len, ProtFlags::PROT_READ, flags, reader, self.offset) }?;
        Ok(())
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

/// Zeroed bytes in pages of their own. When they are given back nothing of them stays, while of an allocation the page stays
/// in which the allocator has noted its length.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: nobody else knows of the pages: they are owned like a box of bytes.
unsafe impl Send for Pages {}

impl Pages {
    /// So many bytes. Ends the process where there is no memory, as an allocation does.
    pub fn new(len: usize) -> Self {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that Rust knows of.
        match unsafe { mmap_anonymous(None, whole_pages(len), protection, MapFlags::MAP_PRIVATE) } {
            Ok(start) => Self { start: start.cast(), len },
            Err(_) => handle_alloc_error(Layout::array::<u8>(len).unwrap_or(Layout::new::<u8>())),
        }
    }

    /// Gives all of it back to the system ([`memory::give_back`]): it reads as zeroes, and comes again when it is written.
    pub fn give_back(&mut self) {
        // SAFETY: the mapping has this length, lives as long as `self`, and `self` is borrowed exclusively.
        memory::give_back(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), whole_pages(self.len).get()) });
    }
}

fn whole_pages(len: usize) -> NonZeroUsize {
    NonZeroUsize::new(len.next_multiple_of(memory::PAGE)).unwrap_or(NonZeroUsize::MIN)
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is at least `len` bytes long, zeroed by the kernel, lives as long as `self` and is reached
        // only by it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference outlives `self`.
        let _ = unsafe { munmap(self.start.cast(), whole_pages(self.len).get()) };
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    use std::sync::atomic::Ordering;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;

    use super::*;
    use crate::sys::process::fork_child;

    /// Whether there is memory whose bytes can be executed.
    pub(crate) fn map_program() -> bool {
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
        let len = NonZeroUsize::new(4096).unwrap();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that Rust knows of.
        unsafe { mmap_anonymous(None, len, rights, MapFlags::MAP_PRIVATE) }.is_ok()
    }

    fn file(len: i64) -> File {
        let made = nix::sys::memfd::memfd_create(c"words-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        let file = File::from(made);
        file.set_len(len.cast_unsigned()).unwrap();
        file
    }

    #[test]
    fn mapping_two_maps_of_a_file_share_words() {
        let page = page_size();
        let file = file(2 * page);
        let one = SharedWords::map(&file, page, 512).unwrap();
        let other = SharedWords::map(&file, page, 512).unwrap();
        one.words()[511].store(77, Ordering::Release);
        assert_eq!(other.words()[511].load(Ordering::Acquire), 77);
        assert_eq!(one.words().len(), 512);
        let first = SharedWords::map(&file, 0, 512).unwrap();
        assert!(first.words().iter().all(|word| word.load(Ordering::Acquire) == 0));
    }

    #[test]
    fn mapping_of_nothing_is_refused() {
        assert_eq!(SharedWords::map(&file(4096), 0, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn mapping_read_only_still_shows_what_others_store_and_cannot_be_made_writable() {
        let file = file(page_size());
        let reader = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let (writer, words) = (SharedWords::map(&file, 0, 8).unwrap(), SharedWords::map(&file, 0, 8).unwrap());
        words.make_read_only(&reader).unwrap();
        writer.words()[7].store(77, Ordering::Release);
        assert_eq!(words.words()[7].load(Ordering::Acquire), 77);
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the words are reached as atomics only, whatever may be done with them.
        let made = unsafe { nix::sys::mman::mprotect(words.start.cast(), 64, rights) };
        assert_eq!(made, Err(nix::errno::Errno::EACCES));
        let child = fork_child(|| {
            words.words()[7].store(78, Ordering::Release);
            0
        })
        .unwrap();
        poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        let status = child.try_wait().unwrap();
        assert!(matches!(status, Some(WaitStatus::Signaled(_, Signal::SIGSEGV, _))), "{status:?}");
        assert_eq!(writer.words()[7].load(Ordering::Acquire), 77);
    }

    #[test]
    fn pages_are_zeroed_and_come_again_as_zeroes_when_given_back() {
        let mut pages = Pages::new(3 * memory::PAGE + 5);
        assert_eq!(pages.len(), 3 * memory::PAGE + 5);
        assert!(pages.iter().all(|byte| *byte == 0));
        pages.fill(7);
        pages.give_back();
        assert!(pages.iter().all(|byte| *byte == 0), "the last page is not whole, and goes all the same");
        assert!(Pages::new(0).is_empty());
    }
}
