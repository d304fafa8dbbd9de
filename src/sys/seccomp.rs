//! A list of the system calls that this process may make from now on (seccomp(2), filter mode).
//!
//! The program for the kernel is written here and not by a crate: a comparison of numbers needs a screenful, runs on
//! 32-bit ARM as well, and the static program has no room for a compiler of filters.
//!
//! ```text
//!   the architecture is ours?      ── no ──▶ kill
//!   call 1?  ── yes ──▶ allow, or look at one argument: among the values? ── no ──▶ kill
//!   call 2?  …
//!   kill
//! ```
//!
//! The kernel remembers which calls are allowed whatever their arguments (Linux 5.11), so that the length of the list
//! costs nothing where it counts.

use std::io;

use nix::errno::Errno;
use nix::libc::{self, c_long, sock_filter};

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
fn program(rules: &[Rule]) -> Option<Vec<sock_filter>> {
    let machine = MACHINE?;
    let mut program = vec![load(MACHINE_AT), jump_if(machine, 1, 0), done(libc::SECCOMP_RET_KILL_PROCESS)];
    program.push(load(NUMBER_AT));
    for rule in rules {
        add(&mut program, *rule)?;
    }
    program.push(done(libc::SECCOMP_RET_KILL_PROCESS));
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
        [libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_ALLOW]
    } else {
        [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS]
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

/// From now on this process makes only these calls: the kernel kills it (SIGSYS) at any other. For ever, and for its
/// children. `no_new_privs` has to be set.
///
/// # Errors
/// `Unsupported` on a machine without a filter, else what seccomp(2) says: ENOSYS or EINVAL where the kernel has none.
pub fn allow_only(rules: &[Rule]) -> io::Result<()> {
    let mut program = program(rules).ok_or(io::ErrorKind::Unsupported)?;
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the kernel reads `len` instructions of the program, which lives until the call is over.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(result)?;
    Ok(())
}

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
    fn filter_allows_what_is_listed_and_kills_at_the_rest() {
        let rules = [
            Rule { call: 3, which: Which::All },
            Rule { call: 16, which: Which::Only(1, &[7, 9]) },
            Rule { call: 62, which: Which::Except(0, &[5, 6, 8]) },
            Rule { call: 1, which: Which::All },
        ];
        let program = program(&rules).unwrap();
        let own = MACHINE.unwrap();
        let is_allowed = |number, first, second| {
            let found = verdict(&program, own, number, [first, second, 0, 0, 0, 0]);
            assert!(found == libc::SECCOMP_RET_ALLOW || found == libc::SECCOMP_RET_KILL_PROCESS);
            found == libc::SECCOMP_RET_ALLOW
        };
        assert!(is_allowed(3, 0, 0) && is_allowed(1, 0, 0));
        assert!(!is_allowed(0, 0, 0) && !is_allowed(2, 0, 0) && !is_allowed(4, 0, 0));
        assert!(is_allowed(16, 0, 7) && is_allowed(16, 7, 9) && !is_allowed(16, 7, 8) && !is_allowed(16, 9, 0));
        assert!(is_allowed(16, 0, 0xabcd_0000_0007), "the upper half is nothing to the kernel");
        assert!(is_allowed(62, 7, 5) && !is_allowed(62, 5, 0) && !is_allowed(62, 6, 0) && !is_allowed(62, 8, 0));
        // The other table of numbers of the same processor.
        assert!(!is_allowed(0x4000_0003, 0, 0));
        assert_eq!(verdict(&program, own ^ 1, 3, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
    }

    const GETFL: &[u32] = &[libc::F_GETFL.cast_unsigned()];

    #[test]
    fn filter_ends_a_process_that_does_something_else() {
        let rules = [
            Rule { call: libc::SYS_exit_group, which: Which::All },
            Rule { call: libc::SYS_fcntl, which: Which::Only(1, GETFL) },
        ];
        let run = |act: fn()| {
            let child = fork_child(|| {
                prctl::set_no_new_privs().unwrap();
                allow_only(&rules).unwrap();
                act();
                7
            })
            .unwrap();
            poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            child.try_wait().unwrap().unwrap()
        };
        assert!(matches!(run(|| ()), WaitStatus::Exited(_, 7)));
        let allowed: fn() = || assert!(fcntl(io::stdin(), FcntlArg::F_GETFL).is_ok());
        assert!(matches!(run(allowed), WaitStatus::Exited(_, 7)));
        let refused: [fn(); 2] =
            [|| assert!(fcntl(io::stdin(), FcntlArg::F_GETFD).is_ok()), || drop(std::fs::File::open("/"))];
        for act in refused {
            assert!(matches!(run(act), WaitStatus::Signaled(_, Signal::SIGSYS, _)));
        }
    }
}
