//! Keeping pages where they are: a daemon that must answer within milliseconds waits for no disk.

use std::hint::black_box;
use std::io;

use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// Stack that is touched in advance: more than any path of engine or guardian needs.
const STACK_RESERVE: usize = 48 * 1024;

/// Locks what is mapped now and what will be mapped later, and touches the stack that will be needed.
///
/// Where the limit may be raised it is raised first: a process that gives up its privileges afterwards would else be
/// refused its next page (MCL_FUTURE with a small RLIMIT_MEMLOCK turns every allocation into a failure). Where it may
/// not be raised only what is mapped now is locked.
///
/// # Errors
/// `PermissionDenied` or `OutOfMemory` where the limits forbid it: nothing is locked then.
pub fn lock() -> io::Result<()> {
    touch_stack();
    let is_unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    let later = if is_unlimited { MlockAllFlags::MCL_FUTURE } else { MlockAllFlags::empty() };
    mlockall(MlockAllFlags::MCL_CURRENT | later)?;
    give_back_stack();
    give_back_cold_text();
    Ok(())
}

/// Unlocks and frees what the daemon's loops never use of the program: the code of the verbs for people, of the simulator,
/// of reading configuration and of backtraces, which `dist/build-static` has the linker put side by side
/// (`dist/cold-text.ld`). Should it be used all the same it comes again from the file. Part of [`lock`]; by itself for a
/// process that is not locked.
#[cfg(nullbeat_cold_text)]
pub fn give_back_cold_text() {
    unsafe extern "C" {
        static nullbeat_cold_start: u8;
        static nullbeat_cold_end: u8;
    }
    let (start, end) = (&raw const nullbeat_cold_start, &raw const nullbeat_cold_end);
    let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
    let len = (end.addr() & !(PAGE - 1)).saturating_sub(start.addr() + skipped);
    // SAFETY: these pages lie between two marks of the linker, are mapped private from the program's file and never
    // written, so that they come again as they were when they are used.
    unsafe {
        let page = start.add(skipped).cast_mut().cast();
        if libc::munlock(page, len) == 0 {
            libc::madvise(page, len, libc::MADV_DONTNEED);
        }
    }
}

/// Unlocks and frees nothing: without the linker script of `dist/build-static` the code lies mixed.
#[cfg(not(nullbeat_cold_text))]
pub const fn give_back_cold_text() {}

/// Unlocks and frees the whole pages of `buffer`, which reads as zeroes afterwards. They come again one by one when they
/// are written: for memory that is hardly ever needed. Where that cannot be done they stay.
pub fn give_back(buffer: &mut [u8]) {
    let start = buffer.as_mut_ptr();
    let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
    let Some(len) = buffer.len().checked_sub(skipped).map(|rest| rest & !(PAGE - 1)).filter(|len| *len > 0) else {
        return;
    };
    // SAFETY: these pages lie within the buffer, which is borrowed exclusively, and any bytes are valid in it; memory of
    // a Rust allocation is private and anonymous, so that pages given back come again as zeroes.
    unsafe {
        let page = start.add(skipped).cast();
        if libc::munlock(page, len) == 0 {
            libc::madvise(page, len, libc::MADV_DONTNEED);
        }
    }
}

/// Overwrites a secret that is about to be freed, so that it does not lie in memory that nobody owns.
pub fn wipe(secret: &mut [u8]) {
    for byte in &mut *secret {
        // SAFETY: a byte of the slice, which is borrowed exclusively. Volatile, so that the compiler does not leave out
        // what nobody reads any more.
        unsafe { std::ptr::write_volatile(byte, 0) };
    }
    // Nothing that frees it is moved in front.
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// Unlocks and frees the stack below what [`touch_stack`] has touched: starting needs half a megabyte of it that is
/// never needed again. Where that cannot be done it stays.
fn give_back_stack() {
    let Some(bottom) = stack_bottom() else { return };
    let here = (&raw const bottom).addr();
    let top = here.saturating_sub(STACK_RESERVE + PAGE) & !(PAGE - 1);
    if bottom >= top || here - bottom > STACK_MAX {
        return;
    }
    let start = std::ptr::without_provenance_mut(bottom);
    // SAFETY: the range lies within this thread's stack, more than STACK_RESERVE below the frame of this function, so
    // that nothing alive is in it; what is used of it later begins as zeroes, as a stack that grows does.
    unsafe {
        if libc::munlock(start, top - bottom) == 0 {
            libc::madvise(start, top - bottom, libc::MADV_DONTNEED);
        }
    }
}

/// The lowest address that the main thread's stack has grown to.
fn stack_bottom() -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[stack]"))?;
    usize::from_str_radix(line.split('-').next()?, 16).ok()
}

/// Steps of addresses here: with larger pages the kernel refuses some ranges, and the stack stays as it is.
pub const PAGE: usize = 4096;
/// A stack below this address is not the one this thread runs on (tests run on threads of their own).
const STACK_MAX: usize = 64 << 20;

#[inline(never)]
fn touch_stack() {
    let mut reserve = [0u8; STACK_RESERVE];
    for byte in reserve.iter_mut().step_by(1024) {
        *byte = 1;
    }
    black_box(&reserve);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::fork_child;

    #[inline(never)]
    fn use_much_stack() {
        let mut large = [0u8; 1 << 20];
        for byte in large.iter_mut().step_by(1024) {
            *byte = 1;
        }
        black_box(&large);
    }

    #[test]
    fn secret_is_overwritten() {
        let mut secret = *b"a secret of many letters";
        wipe(&mut secret);
        assert_eq!(secret, [0; 24]);
    }

    #[test]
    fn pages_given_back_read_as_zeroes_and_the_rest_stays() {
        let mut buffer = vec![7_u8; 10 * PAGE];
        give_back(&mut buffer[100..]);
        let zeroes = buffer.iter().filter(|byte| **byte == 0).count();
        assert!((8 * PAGE..10 * PAGE).contains(&zeroes) && zeroes.is_multiple_of(PAGE), "{zeroes}");
        assert!(buffer[..100].iter().all(|byte| *byte == 7));
        buffer.fill(8);
        give_back(&mut buffer[..100]);
        give_back(&mut []);
        assert!(buffer.iter().all(|byte| *byte == 8));
    }

    /// Pages of stack in memory, of the thread whose stack has a name.
    fn resident_stack_kb() -> Option<usize> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let mut of_stack = smaps.lines().skip_while(|line| !line.ends_with("[stack]"));
        let line = of_stack.find(|line| line.starts_with("Rss:"))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    #[test]
    fn stack_needed_only_for_the_start_is_given_back_and_can_be_used_again() {
        // A test has a thread's stack, which has no name; a forked child keeps it, so that nothing may happen to it.
        let child = fork_child(|| {
            use_much_stack();
            give_back_stack();
            use_much_stack();
            i32::from(resident_stack_kb().is_none())
        })
        .unwrap();
        let mut fds = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&child.pidfd), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE).unwrap();
        let status = child.try_wait().unwrap().unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child.pid, 0));
    }
}
