//! What the engine may still do once it runs: use what it holds and what the guardian passes it, and nothing else.
//!
//! Whoever takes the engine over through a message from outside is then as good as a peer that lies, which the rest of
//! the design has to bear anyway, and no more: it starts nothing, opens nothing, reaches no host but through the links.
//! Four walls, each by itself (docs/security.md): another user, no rights of root, a list of system calls, Landlock.
//!
//! A call that is not listed is refused, counted and logged: a C library or a kernel that needs one more than we know of
//! must not be what ends an engine. What no engine has ever a reason for, starting a program or looking into a process,
//! ends it (SIGSYS); to its guardian that is an engine's death like any other.

use std::io;

use nix::libc;
use nix::sys::prctl;

use crate::api::ipc::Refusals;
use crate::config::Config;
use crate::core::time::Instant;
use crate::sys::seccomp::{self, Rule, Which};
use crate::sys::{capabilities, landlock};

/// Which walls stand, and who ran into them.
#[derive(Debug, Default)]
pub struct Confinement {
    /// Only listed system calls are made.
    pub is_filtered: bool,
    /// Nothing is opened by a name.
    pub is_landlocked: bool,
    /// Calls that were refused.
    pub refused_calls: u32,
    /// When that is said again.
    pub pace: Refusals,
}

impl Confinement {
    /// Says that calls were refused since the last look.
    pub fn look(&mut self, now: Instant) {
        let (count, last) = seccomp::refused();
        if count == self.refused_calls {
            return;
        }
        self.refused_calls = count;
        if self.pace.note(now).is_some() {
            log::error!(
                target: "CRIT",
                "The engine was refused system call {last}, which no engine needs ({count} so far): it was attacked, or \
                 this kernel or C library needs more than nullbeat knows."
            );
        }
    }
}

/// Gives up what the engine does not need. To be called when everything is open, locked and allocated, and the engine has
/// become its user. What the kernel does not have is said, and the engine goes on without it.
///
/// # Errors
/// When rights that are there cannot be given up.
// Not inlined: its frame would stand as long as the engine lives.
#[inline(never)]
pub fn confine(config: &Config) -> io::Result<Confinement> {
    // A client may ask for a signal: as root the engine could always send it.
    capabilities::give_up(config.user.as_deref() == Some("root")).or_else(|_| capabilities::give_up(false))?;
    prctl::set_no_new_privs()?;
    if !config.is_filtered {
        log::warn!("The engine runs without a filter of system calls (`seccomp off`).");
        return Ok(Confinement::default());
    }
    // The kernel writes a core file with the rights of the process that leaves it.
    let is_wanted = config.core_dumps != Some(true);
    let told = |error: &io::Error| log::info!("No Landlock in this kernel: {error}");
    let version = is_wanted.then(|| landlock::forbid_all().inspect_err(told).ok()).flatten();
    let filtered = seccomp::allow_only(ALLOWED, HOSTILE).inspect_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => {
            log::warn!("The engine has no filter of system calls: none is written for this processor.");
        }
        _ => log::warn!("The engine has no filter of system calls: {error}"),
    });
    if filtered.is_ok() {
        let behind = version.map_or_else(String::new, |version| format!(", Landlock version {version}"));
        log::info!("The engine is confined: {} system calls{behind}.", ALLOWED.len());
    }
    Ok(Confinement { is_filtered: filtered.is_ok(), is_landlocked: version.is_some(), ..Confinement::default() })
}

const fn all(call: libc::c_long) -> Rule {
    Rule { call, which: Which::All }
}

/// A number that the compiler knows to be none below zero.
#[expect(clippy::cast_possible_truncation, reason = "numbers of ioctl(2) and the like have 32 bits")]
const fn word(number: libc::c_ulong) -> u32 {
    number as u32
}

/// A memory protection or a command.
const fn int(number: libc::c_int) -> u32 {
    number.cast_unsigned()
}

/// Memory that is no program.
const DATA: &[u32] = &[int(libc::PROT_NONE), int(libc::PROT_READ), int(libc::PROT_READ | libc::PROT_WRITE)];

/// `GPIO_V2_LINE_GET_VALUES_IOCTL` (`linux/gpio.h`).
const GET_LINE_VALUES: u32 = 0xC010_B40E;

/// What ends an engine: it starts no program and looks into no other process, whatever library it is built with.
const HOSTILE: &[libc::c_long] =
    &[libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev];

/// All that an engine which runs asks of the kernel: read from the code, and traced with glibc on x86-64.
const ALLOWED: &[Rule] = &[
    // The turn: wait, receive, send, set the lease's timer.
    all(libc::SYS_epoll_pwait2),
    all(libc::SYS_epoll_pwait),
    #[cfg(not(target_arch = "aarch64"))]
    all(libc::SYS_epoll_wait),
    all(libc::SYS_epoll_ctl),
    // The control socket, once it comes, waits in a set of its own.
    all(libc::SYS_epoll_create1),
    all(libc::SYS_timerfd_settime),
    all(libc::SYS_recvfrom),
    #[cfg(target_arch = "arm")]
    all(libc::SYS_recv),
    #[cfg(target_arch = "arm")]
    all(libc::SYS_send),
    all(libc::SYS_recvmsg),
    all(libc::SYS_sendto),
    all(libc::SYS_sendmsg),
    // Terminals, the log pipe, watchdogs, GPIO events; /proc/loadavg, which is open.
    all(libc::SYS_read),
    all(libc::SYS_write),
    all(libc::SYS_readv),
    all(libc::SYS_writev),
    all(libc::SYS_pread64),
    // The processor tells the time without the kernel; boards without such a clock ask it.
    all(libc::SYS_clock_gettime),
    // 32 bits and times after 2038, under numbers that the C library's headers do not name.
    #[cfg(target_arch = "arm")]
    all(403),
    #[cfg(target_arch = "arm")]
    all(411),
    #[cfg(target_arch = "arm")]
    all(407),
    #[cfg(target_arch = "arm")]
    all(422),
    // The last words wait for a slow line.
    all(libc::SYS_clock_nanosleep),
    all(libc::SYS_nanosleep),
    // Operators and clients: accepting them on sockets that the guardian has made, knowing who they are.
    all(libc::SYS_accept4),
    Rule { call: libc::SYS_getsockopt, which: Which::Only(1, &[int(libc::SOL_SOCKET)]) },
    Rule { call: libc::SYS_setsockopt, which: Which::Only(2, &[int(libc::SO_SNDBUF), int(libc::SO_RCVBUF)]) },
    all(libc::SYS_shutdown),
    all(libc::SYS_close),
    all(libc::SYS_getpid),
    all(libc::SYS_getppid),
    all(libc::SYS_gettid),
    // Which process a client is (before SO_PEERPIDFD), whether it is there, and the signal that it has asked for: none that
    // it could not ignore.
    all(libc::SYS_pidfd_open),
    Rule { call: libc::SYS_pidfd_send_signal, which: Which::Except(1, &[int(libc::SIGKILL), int(libc::SIGSTOP)]) },
    Rule { call: libc::SYS_kill, which: Which::Only(1, &[0]) },
    // Whether a descriptor blocks; a debug build looks whether one that it closes is open.
    Rule {
        call: libc::SYS_fcntl,
        which: Which::Only(1, &[int(libc::F_GETFL), int(libc::F_SETFL), int(libc::F_GETFD), int(libc::F_SETFD)]),
    },
    #[cfg(target_arch = "arm")]
    Rule {
        call: libc::SYS_fcntl64,
        which: Which::Only(1, &[int(libc::F_GETFL), int(libc::F_SETFL), int(libc::F_GETFD), int(libc::F_SETFD)]),
    },
    // The line: what waits in it, its modem lines and its counters; throwing away what does not leave; how many bytes wake us.
    // Not TIOCSTI.
    // A new connection is made non-blocking.
    // The levels of GPIO inputs. Watchdogs are kicked by writing: their countdown is not the engine's to change.
    Rule {
        call: libc::SYS_ioctl,
        which: Which::Only(
            1,
            &[
                word(libc::TIOCOUTQ as libc::c_ulong),
                word(libc::TIOCMGET as libc::c_ulong),
                word(libc::TIOCGICOUNT as libc::c_ulong),
                word(libc::TCFLSH as libc::c_ulong),
                word(libc::TCGETS as libc::c_ulong),
                word(libc::TCSETS as libc::c_ulong),
                word(libc::FIONBIO as libc::c_ulong),
                GET_LINE_VALUES,
            ],
        ),
    },
    // Memory of its own, to be read and written. Nothing is allocated in a quiet turn; a report is.
    all(libc::SYS_brk),
    #[cfg(not(target_arch = "arm"))]
    Rule { call: libc::SYS_mmap, which: Which::Only(2, DATA) },
    #[cfg(target_arch = "arm")]
    Rule { call: libc::SYS_mmap2, which: Which::Only(2, DATA) },
    Rule { call: libc::SYS_mprotect, which: Which::Only(2, DATA) },
    all(libc::SYS_mremap),
    all(libc::SYS_munmap),
    all(libc::SYS_madvise),
    all(libc::SYS_munlock),
    all(libc::SYS_futex),
    all(libc::SYS_sched_yield),
    all(libc::SYS_getrandom),
    // The end, also a bad one: the handler of a crash takes itself away and lets the crash happen again.
    all(libc::SYS_rt_sigreturn),
    all(libc::SYS_rt_sigaction),
    all(libc::SYS_rt_sigprocmask),
    all(libc::SYS_restart_syscall),
    Rule { call: libc::SYS_tgkill, which: Which::Only(2, &[int(libc::SIGABRT)]) },
    Rule { call: libc::SYS_tkill, which: Which::Only(1, &[int(libc::SIGABRT)]) },
    all(libc::SYS_exit),
    all(libc::SYS_exit_group),
];

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpStream, UdpSocket};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::process::Command;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::WaitStatus;
    use nix::unistd::{Pid, Uid, setuid};

    use super::*;
    use crate::config::sample;
    use crate::sys::pidfd;
    use crate::sys::process::{Child, fork_child};

    /// How an engine ends that does `act` once it is confined: with code 0 if that is all that happens.
    fn engine(config: &Config, act: impl FnOnce(&Child)) -> WaitStatus {
        let bystander = fork_child(|| {
            loop {
                nix::unistd::pause();
            }
        })
        .unwrap();
        let child = fork_child(|| {
            let confinement = confine(config).unwrap();
            assert_eq!(confinement.is_filtered, config.is_filtered);
            act(&bystander);
            0
        })
        .unwrap();
        poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        let status = child.try_wait().unwrap().unwrap();
        assert_eq!(bystander.try_wait().unwrap(), None, "it was ended");
        bystander.signal(Signal::SIGKILL).unwrap();
        status
    }

    fn config() -> Config {
        sample::config(Path::new("/x"), &[("alpha", "a")])
    }

    #[test]
    fn hijacked_engine_opens_starts_kills_and_reaches_nothing() {
        /// Whether it was done.
        type Act = fn(&Child) -> bool;
        let hostile: [(&str, Act); 13] = [
            ("open a file", |_| File::open("/etc/passwd").is_ok()),
            ("make a file", |_| File::create("/tmp/nullbeat-hijacked").is_ok()),
            ("list a directory", |_| std::fs::read_dir("/").is_ok()),
            ("remove a file", |_| std::fs::remove_file("/tmp/nullbeat-hijacked").is_ok()),
            ("fork", |_| fork_child(|| 0).is_ok()),
            ("open a UDP socket", |_| UdpSocket::bind("127.0.0.1:0").is_ok()),
            ("reach a host", |_| TcpStream::connect("127.0.0.1:1").is_ok()),
            ("reach a daemon", |_| UnixStream::connect("/dev/log").is_ok()),
            ("kill a process by its number", |other| kill(other.pid, Signal::SIGTERM).is_ok()),
            ("kill a process by its descriptor", |other| other.signal(Signal::SIGKILL).is_ok()),
            ("become root", |_| setuid(Uid::from_raw(0)).is_ok()),
            ("make memory a program", |_| crate::sys::mapping::tests::map_program()),
            ("be looked into", |_| prctl::set_dumpable(true).is_ok()),
        ];
        for (what, act) in hostile {
            let status = engine(&config(), |other| {
                assert!(!act(other), "{what}");
                assert!(seccomp::refused().0 > 0, "{what}: not by the filter");
            });
            assert!(matches!(status, WaitStatus::Exited(_, 0)), "{what}: {status:?}");
        }
    }

    #[test]
    fn engine_that_executes_a_program_is_ended() {
        // The second way forks with all signals held, so that not even the refusal of that can be delivered.
        let ways: [fn(&Child); 2] = [
            |_| assert!(nix::unistd::execv(c"/bin/true", &[c"true"]).is_err()),
            |_| assert!(Command::new("/bin/true").spawn().is_err()),
        ];
        for way in ways {
            let status = engine(&config(), way);
            assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{status:?}");
        }
    }

    #[test]
    fn core_files_are_left_where_that_is_wanted() {
        let config = Config { core_dumps: Some(true), ..config() };
        let status =
            engine(&config, |_| assert_eq!(File::open("/").unwrap_err().kind(), io::ErrorKind::PermissionDenied));
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
        let child = fork_child(|| i32::from(confine(&config).unwrap().is_landlocked)).unwrap();
        poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        assert!(matches!(child.try_wait().unwrap(), Some(WaitStatus::Exited(_, 0))));
    }

    #[test]
    fn confined_engine_does_its_work() {
        let (reader, writer) = io::pipe().unwrap();
        let status = engine(&config(), |other| {
            assert_eq!(nix::unistd::write(&writer, b"x").unwrap(), 1);
            assert_eq!(nix::unistd::read(&reader, &mut [0]).unwrap(), 1);
            // It allocates for a report, and looks whether a client is there.
            assert_eq!(vec![7_u8; 1 << 20].iter().filter(|byte| **byte == 7).count(), 1 << 20);
            let client = pidfd::open(other.pid).unwrap();
            let asked = pidfd::send_signal(&client, None);
            assert!(asked.is_ok() || asked.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM)));
            assert!(kill(Pid::from_raw(i32::MAX), None).is_err());
            assert_eq!(seccomp::refused().0, 0);
        });
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    }

    #[test]
    fn engine_without_filter_still_has_no_rights() {
        let config = Config { is_filtered: false, ..config() };
        let status = engine(&config, |_| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            for line in ["NoNewPrivs:\t1", "Seccomp:\t0", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
                assert!(status.lines().any(|found| found == line), "{line} in {status}");
            }
        });
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    }
}
