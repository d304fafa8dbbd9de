//! A list of the system calls that this process may make from now on (seccomp(2), filter mode).
//!
//! The program for the kernel is written here and not by a crate: a comparison of numbers needs a screenful, runs on
//! 32-bit ARM as well, and the static program has no room for a compiler of filters.
//!
//! ```text
//!   the architecture is ours?      ── no ──▶ kill
//!   hostile whatever it is for?    ── yes ─▶ kill
//!   call 1?  ── yes ──▶ allow, or look at one argument: among the values? ── no ──▶ refuse
//!   call 2?  …
//!   refuse
//! ```
//!
//! What is refused is not done and fails with EPERM: the kernel sends SIGSYS in its place, whose handler counts and gives
//! the answer. Calls that are younger than this file fail with ENOSYS, as on an older kernel: a newer C library then goes
//! the older way.
//!
//! The kernel remembers which calls are allowed whatever their arguments (Linux 5.11), so that the length of the list
//! costs nothing where it counts.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_void, sock_filter};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// This machine as the kernel's audit names it (`linux/audit.h`); `None`: no filter is written for it.
const MACHINE: Option<u32> = if cfg!(target_endian = "big") {
    None
} else if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else {
    None
};

/// Where the number of the call, the architecture and the first argument stand in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const MACHINE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;
const ARGUMENT_LEN: u32 = 8;

/// Which calls of one number are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// With one of these values as the argument of this place, from 0. Its lower 32 bits are compared: all that the
    /// kernel looks at in a number of this kind.
    Only(u32, &'static [u32]),
    /// With none of these values there.
    Except(u32, &'static [u32]),
}

/// A system call that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its number on this machine.
    pub call: c_long,
    /// Which of its calls.
    pub which: Which,
}

/// The program for the kernel; `None` when no filter is written for this machine.
fn program(rules: &[Rule], hostile: &[c_long]) -> Option<Vec<sock_filter>> {
    let machine = MACHINE?;
    let mut program = vec![load(MACHINE_AT), jump_if(machine, 1, 0), done(libc::SECCOMP_RET_KILL_PROCESS)];
    program.push(load(NUMBER_AT));
    for call in hostile {
        program.extend([jump_if(u32::try_from(*call).ok()?, 0, 1), done(libc::SECCOMP_RET_KILL_PROCESS)]);
    }
    for rule in rules {
        add(&mut program, *rule)?;
    }
    program.push(done(libc::SECCOMP_RET_TRAP));
    Some(program)
}

/// Leaves the number of the call where it was when the rule is not about it.
fn add(program: &mut Vec<sock_filter>, rule: Rule) -> Option<()> {
    let number = u32::try_from(rule.call).ok()?;
    let (argument, values, is_allowed) = match rule.which {
        Which::All => {
            program.extend([jump_if(number, 0, 1), done(libc::SECCOMP_RET_ALLOW)]);
            return Some(());
        }
        Which::Only(argument, values) => (argument, values, true),
        Which::Except(argument, values) => (argument, values, false),
    };
    // Behind the comparisons: what happens to all other values, then to these.
    let count = u8::try_from(values.len()).ok()?;
    let [others, these] = if is_allowed {
        [libc::SECCOMP_RET_TRAP, libc::SECCOMP_RET_ALLOW]
    } else {
        [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_TRAP]
    };
    program.extend([jump_if(number, 0, count.checked_add(3)?), load(ARGUMENTS_AT + argument * ARGUMENT_LEN)]);
    program.extend((1..=count).rev().zip(values).map(|(left, value)| jump_if(*value, left, 0)));
    program.extend([done(others), done(these)]);
    Some(())
}

/// Loads 32 bits of the call's data.
const fn load(at: u32) -> sock_filter {
    sock_filter { code: 0x20, jt: 0, jf: 0, k: at }
}

/// Skips so many instructions, by whether what was loaded is `value`.
const fn jump_if(value: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: 0x15, jt: yes, jf: no, k: value }
}

/// The kernel's verdict.
const fn done(verdict: u32) -> sock_filter {
    sock_filter { code: 0x06, jt: 0, jf: 0, k: verdict }
}

/// From now on this process makes only these calls: any other one is refused and counted ([`refused`]), one that is
/// `hostile` ends it (SIGSYS). For ever, and for its children. `no_new_privs` has to be set.
///
/// # Errors
/// `Unsupported` on a machine without a filter, else what seccomp(2) says: ENOSYS or EINVAL where the kernel has none.
pub fn allow_only(rules: &[Rule], hostile: &[c_long]) -> io::Result<()> {
    let mut program = program(rules, hostile).ok_or(io::ErrorKind::Unsupported)?;
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    let action = SigAction::new(SigHandler::SigAction(refuse), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches atomics and what the kernel hands it, and nothing else.
    unsafe { sigaction(Signal::SIGSYS, &action) }?;
    // SAFETY: the kernel reads `len` instructions of the program, which lives until the call is over.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(result)?;
    Ok(())
}

static REFUSED: AtomicU32 = AtomicU32::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);

/// How many calls of this process were refused, and the number of the last one.
pub fn refused() -> (u32, i32) {
    (REFUSED.load(Ordering::Relaxed), LAST.load(Ordering::Relaxed))
}

/// The highest number of a call that was there when this was written (Linux 6.10, `mseal`): the same for all machines.
const NEWEST: c_int = 462;

/// `siginfo_t` of a call that the filter has stopped.
#[repr(C)]
struct Stopped {
    signal: c_int,
    errno: c_int,
    code: c_int,
    address: *mut c_void,
    call: c_int,
    machine: libc::c_uint,
}
/// `SYS_SECCOMP` of `asm-generic/siginfo.h`: not from another process.
const BY_FILTER: c_int = 1;

extern "C" fn refuse(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands a handler the address of a filled-in structure, which is larger than this beginning of it.
    let stopped = unsafe { &*info.cast::<Stopped>() };
    if stopped.code != BY_FILTER {
        return;
    }
    LAST.store(stopped.call, Ordering::Relaxed);
    REFUSED.fetch_add(1, Ordering::Relaxed);
    let errno = if stopped.call > NEWEST { libc::ENOSYS } else { libc::EPERM };
    // SAFETY: the third argument of a handler with SA_SIGINFO is the interrupted context, ours to change until we return.
    answer(unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext }, -errno);
}

/// What the interrupted call returns.
#[cfg(target_arch = "x86_64")]
fn answer(registers: &mut libc::mcontext_t, value: c_int) {
    registers.gregs[libc::REG_RAX as usize] = value.into();
}

/// What the interrupted call returns.
#[cfg(target_arch = "aarch64")]
fn answer(registers: &mut libc::mcontext_t, value: c_int) {
    registers.regs[0] = i64::from(value).cast_unsigned();
}

/// What the interrupted call returns.
#[cfg(target_arch = "arm")]
fn answer(registers: &mut libc::mcontext_t, value: c_int) {
    registers.arm_r0 = value.cast_unsigned();
}

/// Without a filter nothing is interrupted.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
fn answer(_: &mut libc::mcontext_t, _: c_int) {}

#[cfg(test)]
mod tests {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::prctl;
    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::sys::process::fork_child;

    /// What the kernel would do, by the same rules as the kernel's own machine.
    fn verdict(program: &[sock_filter], machine: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match step.code {
                0x20 => {
                    loaded = match step.k {
                        0 => number,
                        4 => machine,
                        offset => {
                            let place = usize::try_from((offset - 16) / 8).unwrap();
                            u32::try_from(arguments[place] & 0xffff_ffff).unwrap()
                        }
                    }
                }
                0x15 => at += usize::from(if loaded == step.k { step.jt } else { step.jf }),
                0x06 => return step.k,
                code => panic!("{code:#x}"),
            }
        }
    }

    #[test]
    fn filter_allows_what_is_listed_refuses_the_rest_and_kills_at_what_is_hostile() {
        use libc::{SECCOMP_RET_ALLOW as ALLOW, SECCOMP_RET_KILL_PROCESS as KILL, SECCOMP_RET_TRAP as REFUSE};
        let rules = [
            Rule { call: 3, which: Which::All },
            Rule { call: 16, which: Which::Only(1, &[7, 9]) },
            Rule { call: 62, which: Which::Except(0, &[5, 6, 8]) },
            Rule { call: 1, which: Which::All },
        ];
        let program = program(&rules, &[59, 101]).unwrap();
        let own = MACHINE.unwrap();
        let verdict_of = |number, first, second| verdict(&program, own, number, [first, second, 0, 0, 0, 0]);
        for (number, first, second) in [(3, 0, 0), (1, 0, 0), (16, 0, 7), (16, 7, 9), (62, 7, 5)] {
            assert_eq!(verdict_of(number, first, second), ALLOW, "{number} {first} {second}");
        }
        assert_eq!(verdict_of(16, 0, 0xabcd_0000_0007), ALLOW, "the upper half is nothing to the kernel");
        let refused = [(0, 0, 0), (2, 0, 0), (4, 0, 0), (16, 7, 8), (16, 9, 0), (62, 5, 0), (62, 6, 0), (62, 8, 0)];
        for (number, first, second) in refused {
            assert_eq!(verdict_of(number, first, second), REFUSE, "{number} {first} {second}");
        }
        assert_eq!(verdict_of(0x4000_0003, 0, 0), REFUSE, "the other table of numbers of the same processor");
        assert!([59, 101].iter().all(|number| verdict_of(*number, 0, 0) == KILL));
        assert_eq!(verdict(&program, own ^ 1, 3, [0; 6]), KILL);
    }

    const GETFL: &[u32] = &[libc::F_GETFL.cast_unsigned()];

    /// How a process ends that does `act` behind a filter; `Exited(7)`: it went on.
    fn behind_filter(act: impl FnOnce()) -> WaitStatus {
        let rules = [
            Rule { call: libc::SYS_exit_group, which: Which::All },
            Rule { call: libc::SYS_rt_sigreturn, which: Which::All },
            Rule { call: libc::SYS_getpid, which: Which::All },
            Rule { call: libc::SYS_kill, which: Which::All },
            Rule { call: libc::SYS_fcntl, which: Which::Only(1, GETFL) },
        ];
        let child = fork_child(|| {
            prctl::set_no_new_privs().unwrap();
            allow_only(&rules, &[libc::SYS_execve]).unwrap();
            act();
            7
        })
        .unwrap();
        poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        child.try_wait().unwrap().unwrap()
    }

    #[test]
    fn what_is_not_listed_fails_and_is_counted() {
        let status = behind_filter(|| {
            assert!(fcntl(io::stdin(), FcntlArg::F_GETFL).is_ok());
            assert_eq!(refused(), (0, 0));
            assert_eq!(fcntl(io::stdin(), FcntlArg::F_GETFD), Err(Errno::EPERM));
            assert_eq!(i64::from(refused().1), libc::SYS_fcntl);
            assert_eq!(std::fs::File::open("/").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(refused().0, 2);
            // SAFETY: nobody has made such a call.
            assert_eq!(unsafe { libc::syscall(9999) }, -1);
            assert_eq!((Errno::last(), refused()), (Errno::ENOSYS, (3, 9999)));
            // From a process, not from the filter.
            nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGSYS).unwrap();
        });
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }

    #[test]
    fn what_is_hostile_ends_the_process() {
        let status = behind_filter(|| assert!(nix::unistd::execv(c"/bin/true", &[c"true"]).is_err()));
        assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{status:?}");
    }
}
