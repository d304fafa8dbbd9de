//! Engines that somebody has taken over: machine code of ours in the memory of a real, confined one, and hostile records
//! on its channel to the guardian. Needs root, as the other tests here do.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::socket::{MsgFlags, SockType, getsockopt, send, sockopt};
use nullbeat::core::Order;
use nullbeat::core::ids::{GroupId, GroupSet, JobId};
use nullbeat::core::message::GroupState;
use nullbeat::guardian::protocol::ToGuardian;
use nullbeat::sys::pidfd;

use super::ONE;
use super::node::{Node, eventually};

/// Machine code for x86-64, from the address on at which the engine sleeps in the kernel.
struct Code {
    at: u64,
    bytes: Vec<u8>,
}

impl Code {
    /// Bytes in the midst of it, jumped over; their address.
    fn data(&mut self, data: &[u8]) -> u64 {
        self.bytes.extend([0xeb, u8::try_from(data.len()).unwrap()]);
        let address = self.at + u64::try_from(self.bytes.len()).unwrap();
        self.bytes.extend(data);
        address
    }

    /// The same for a text.
    fn text(&mut self, text: &str) -> u64 {
        self.data(&[text.as_bytes(), &[0]].concat())
    }

    /// Stores a word.
    fn store(&mut self, address: u64, value: i32) {
        // mov rax, address; mov qword [rax], value
        self.bytes.extend([0x48, 0xb8]);
        self.bytes.extend(address.to_le_bytes());
        self.bytes.extend([0x48, 0xc7, 0x00]);
        self.bytes.extend(value.to_le_bytes());
    }

    /// A system call whose answer is in rax.
    fn call(&mut self, number: libc::c_long, arguments: [u64; 4]) {
        // rax, rdi, rsi, rdx, r10.
        let registers = [[0x48, 0xb8], [0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba]];
        let values = [number.cast_unsigned()].into_iter().chain(arguments);
        for (register, value) in registers.iter().zip(values) {
            self.bytes.extend(register);
            self.bytes.extend(value.to_le_bytes());
        }
        self.bytes.extend([0x0f, 0x05]);
    }

    /// The same, and ebx counts those that succeed.
    fn counted(&mut self, number: libc::c_long, arguments: [u64; 4]) {
        self.call(number, arguments);
        // test rax, rax; js over; inc ebx
        self.bytes.extend([0x48, 0x85, 0xc0, 0x78, 0x02, 0xff, 0xc3]);
    }

    /// Ends the process with this code and what ebx has counted.
    fn exit(&mut self, code: u8) {
        // mov edi, ebx; add edi, code; mov eax, exit_group; syscall
        self.bytes.extend([0x89, 0xdf, 0x83, 0xc7, code, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05]);
    }
}

/// Puts code of ours where the engine comes back from its sleep.
fn hijack(node: &Node, write: impl Fn(&mut Code)) {
    let engine = node.engine();
    let memory = fs::File::options().write(true).open(format!("/proc/{engine}/mem")).unwrap();
    eventually("it sleeps in epoll_pwait2", || {
        Node::signal(engine, SIGSTOP);
        eventually("it stands still", || fs::read_to_string(format!("/proc/{engine}/stat")).unwrap().contains(") T "));
        let call = fs::read_to_string(format!("/proc/{engine}/syscall")).unwrap();
        let words: Vec<&str> = call.split_whitespace().collect();
        let sleeps = words[0] == libc::SYS_epoll_pwait2.to_string();
        if sleeps {
            let at = u64::from_str_radix(words[8].trim_start_matches("0x"), 16).unwrap();
            let mut code = Code { at, bytes: Vec::new() };
            write(&mut code);
            memory.write_all_at(&code.bytes, at).unwrap();
        }
        Node::signal(engine, SIGCONT);
        sleeps
    });
}

/// What an engine in other hands might do to the board.
fn write_hostile_calls(code: &mut Code, node: &Node) {
    let guardian = u64::try_from(node.lease().guardian().unwrap().pid.as_raw()).unwrap();
    let (file, new, group) = (code.text("/etc/passwd"), code.text("/tmp/nullbeat-hijacked"), code.text("/"));
    let number = |value: libc::c_int| u64::from(value.cast_unsigned());
    let at_cwd = number(libc::AT_FDCWD);
    let inet = number(libc::AF_INET);
    let program = number(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    let private = number(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // xor ebx, ebx
    code.bytes.extend([0x31, 0xdb]);
    let hostile = [
        (libc::SYS_open, [file, 0, 0, 0]),
        (libc::SYS_openat, [at_cwd, file, 0, 0]),
        (libc::SYS_creat, [new, 0o600, 0, 0]),
        (libc::SYS_chdir, [group, 0, 0, 0]),
        (libc::SYS_stat, [file, new, 0, 0]),
        (libc::SYS_memfd_create, [new, 0, 0, 0]),
        (libc::SYS_socket, [inet, number(libc::SOCK_STREAM), 0, 0]),
        (libc::SYS_socket, [inet, number(libc::SOCK_DGRAM), 0, 0]),
        (libc::SYS_socket, [number(libc::AF_UNIX), number(libc::SOCK_STREAM), 0, 0]),
        (libc::SYS_kill, [guardian, number(libc::SIGTERM), 0, 0]),
        (libc::SYS_kill, [guardian, number(libc::SIGKILL), 0, 0]),
        (libc::SYS_kill, [guardian, number(libc::SIGSTOP), 0, 0]),
        (libc::SYS_setuid, [0, 0, 0, 0]),
        (libc::SYS_unshare, [number(libc::CLONE_NEWUSER), 0, 0, 0]),
        (libc::SYS_mmap, [0, 4096, program, private]),
        (libc::SYS_prctl, [number(libc::PR_SET_DUMPABLE), 1, 0, 0]),
        (libc::SYS_sched_setscheduler, [0, 0, 0, 0]),
        (libc::SYS_reboot, [0, 0, 0, 0]),
        (libc::SYS_dup, [0, 0, 0, 0]),
        (libc::SYS_pidfd_getfd, [0, 0, 0, 0]),
        (libc::SYS_fork, [0, 0, 0, 0]),
    ];
    println!("{} hostile calls, and none may succeed", hostile.len());
    for (number, arguments) in hostile {
        code.counted(number, arguments);
    }
}

#[test]
fn hijacked_engine_reaches_nothing_and_is_replaced() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (old, asked, guardian) = (node.generation(), node.text("calls"), node.guardian());
    hijack(&node, |code| {
        write_hostile_calls(code, &node);
        code.exit(64);
    });
    node.hear_new_generation(old);
    eventually("the new engine has settled", || node.verb(&["status"]) == 0);
    assert_eq!(node.text("calls"), asked, "no script was asked anything");
    // 64 and the number of calls that succeeded.
    eventually("its end is told", || node.text("log").contains("exited with code"));
    assert!(node.text("log").contains("exited with code 64."), "{}", node.text("log"));
    assert_eq!(node.guardian(), guardian);
}

/// Where the engine has the two pages of the lease, and what it may do with each: the guardian's first.
fn pages_of_the_lease(node: &Node) -> Vec<(u64, String)> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", node.engine())).unwrap();
    let words = maps.lines().filter(|line| line.ends_with("/run/lease")).map(|line| line.split_whitespace());
    let mut pages: Vec<(u64, u64, String)> = words
        .map(|mut words| {
            let (start, _) = words.next().unwrap().split_once('-').unwrap();
            let rights = words.next().unwrap().to_owned();
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
            (number(words.next().unwrap()), number(start), rights)
        })
        .collect();
    pages.sort_unstable();
    pages.into_iter().map(|(_, start, rights)| (start, rights)).collect()
}

#[test]
fn hijacked_engine_cannot_write_what_is_the_guardians() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let guardian = node.guardian();
    let open = fs::read_dir(format!("/proc/{}/fd", node.engine())).unwrap();
    let open: Vec<_> = open.map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default()).collect();
    assert!(!open.iter().any(|path| path.ends_with("lease")), "nothing to map it anew by: {open:?}");
    let writable = u64::from((libc::PROT_READ | libc::PROT_WRITE).cast_unsigned());
    // First it asks for the right to write; then it just writes.
    let (made_writable, written) = ("exited with code 64.", "was killed by SIGSEGV.");
    for (is_asking, end) in [(true, made_writable), (false, written)] {
        let (old, asked) = (node.generation(), node.text("calls"));
        let pages = pages_of_the_lease(&node);
        let rights: Vec<&str> = pages.iter().map(|(_, rights)| rights.as_str()).collect();
        assert_eq!(rights, ["r--s", "rw-s"]);
        let page = pages[0].0;
        hijack(&node, |code| {
            // xor ebx, ebx
            code.bytes.extend([0x31, 0xdb]);
            if is_asking {
                code.counted(libc::SYS_mprotect, [page, 4096, writable, 0]);
            } else {
                // The guardian's stamp.
                code.store(page + 16, 0);
            }
            code.exit(64);
        });
        node.hear_new_generation(old);
        eventually("the new engine has settled", || node.verb(&["status"]) == 0);
        assert_eq!(node.text("calls"), asked, "no script was asked anything");
        eventually(end, || node.text("log").contains(end));
    }
    assert_eq!(node.guardian(), guardian);
}

#[test]
fn engine_that_executes_a_program_is_ended_replaced_and_named() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (old, asked) = (node.generation(), node.text("calls"));
    hijack(&node, |code| {
        let shell = code.text("/bin/sh");
        code.call(libc::SYS_execve, [shell, 0, 0, 0]);
        code.exit(64);
    });
    node.hear_new_generation(old);
    eventually("the new engine has settled", || node.verb(&["status"]) == 0);
    assert_eq!(node.text("calls"), asked, "no script was asked anything");
    eventually("it is told", || {
        node.text("log").contains("It tried to start a program or to look into another process")
    });
}

#[test]
fn call_that_is_not_listed_is_refused_counted_and_told_and_the_engine_lives() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (generation, engine) = (node.generation(), node.engine());
    hijack(&node, |code| {
        // push rax; getuid; pop rax; ret: what it slept for is done all the same, now and each time.
        code.bytes.push(0x50);
        code.call(libc::SYS_getuid, [0; 4]);
        code.bytes.extend([0x58, 0xc3]);
    });
    let told = format!("The engine was refused system call {}, which no engine needs", libc::SYS_getuid);
    eventually("it is told", || node.text("log").contains(&told));
    let status = node.command(Node::program(), &["status", "--json"]).output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("\"refused_calls\": ") && !status.contains("\"refused_calls\": 0,"), "{status}");
    assert_eq!((node.generation(), node.engine()), (generation, engine));
    assert_eq!(node.calls(), ["start a"]);
}

/// The engine's ends of what leads to its guardian.
fn engine_channels(node: &Node) -> Vec<OwnedFd> {
    let pidfd = pidfd::open(node.engine()).unwrap();
    let numbers = fs::read_dir(format!("/proc/{}/fd", node.engine())).unwrap();
    let numbers = numbers.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let copies = numbers.filter_map(|number: i32| pidfd::copy_descriptor(&pidfd, number).ok());
    let channels: Vec<OwnedFd> = copies
        .filter(|copy| getsockopt(copy, sockopt::SockType).is_ok_and(|kind| kind == SockType::SeqPacket))
        .collect();
    assert_eq!(channels.len(), 2, "requests, and messages for rc.d");
    channels
}

/// What an engine that somebody has taken over could send.
fn hostile_records() -> Vec<Vec<u8>> {
    let digest = 0x5a5a_5a5a_5a5a_5a5a;
    let run = |group| ToGuardian::Run { job: JobId(7), group: GroupId(group), order: Order::Start };
    let mut records = vec![vec![0], b"/bin/sh -c reboot".to_vec(), vec![0xff; 4096]];
    for record in [run(0), run(63), ToGuardian::Exit, ToGuardian::StopClients, ToGuardian::OpenControl] {
        // By another table than the guardian's, and with each byte changed.
        let good = record.encode(digest).to_vec();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0xff;
            records.push(bad);
        }
        records.push(good);
    }
    // For the guardian the end of the channel: nothing more of it is read.
    records.push(Vec::new());
    records
}

#[test]
fn hijacked_engine_starts_nothing_and_does_not_hold_its_guardian_up() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, old) = (node.engine(), node.generation());
    let channels = engine_channels(&node);
    let is_over = AtomicBool::new(false);
    // It does not beat any more, and only asks. First: what follows is soon its end.
    Node::signal(engine, SIGSTOP);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for (channel, record) in
                    channels.iter().flat_map(|fd| hostile_records().into_iter().map(move |r| (fd, r)))
                {
                    // Full, or nobody reads any more.
                    let _ = send(channel.as_raw_fd(), &record, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
                }
            }
        });
        let heard = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| node.hear_new_generation(old)));
        is_over.store(true, Ordering::Relaxed);
        assert!(heard.is_ok(), "no engine took its place");
    });
    assert!(Node::is_gone(engine));
    eventually("the new engine has settled", || node.verb(&["status"]) == 0);
    assert_eq!(node.calls(), ["start a"], "nothing was started or stopped");
    eventually("it is told", || node.text("log").contains(": refused ("));
    // Whatever it sent, the guardian releases when it is told to.
    Node::signal(node.guardian(), SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert_eq!(node.calls(), ["start a", "stop a"]);
}

/// An engine in other hands that does nothing more, and has a stamp that never becomes old.
fn fall_asleep(node: &Node) {
    let stamp = pages_of_the_lease(node)[1].0;
    hijack(node, |code| {
        code.store(stamp, -1);
        let hour = code.data(&[3600_u64.to_le_bytes(), [0; 8]].concat());
        code.call(libc::SYS_nanosleep, [hour, 0, 0, 0]);
    });
}

/// In other hands it lives on, says that it stamps, and does nothing that it is told; the test speaks for it on its channel.
#[test]
fn hijacked_engine_that_does_not_stop_is_ended_after_a_while_and_starts_nothing_meanwhile() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let channels = engine_channels(&node);
    let start = ToGuardian::Run { job: JobId(7), group: GroupId(0), order: Order::Start };
    let stop = ToGuardian::Run { job: JobId(8), group: GroupId(0), order: Order::Stop };
    let send_all = |record: ToGuardian| {
        for channel in &channels {
            // One of them is for messages.
            let _ = send(channel.as_raw_fd(), &record.encode(node.lease().table_digest()), MsgFlags::MSG_NOSIGNAL);
        }
    };
    let engine = node.engine();
    fall_asleep(&node);
    Node::signal(node.guardian(), SIGTERM);
    let asked = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    send_all(stop);
    eventually("it stops what it is asked to stop", || !node.is_running("a"));
    // The stop is over, and more of them, and starts, are no reason to wait.
    eventually("it is ended", || {
        std::thread::sleep(Duration::from_millis(100));
        send_all(start);
        send_all(stop);
        Node::is_gone(engine)
    });
    let took = asked.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert_eq!(node.exit_code(), Some(0));
    assert!(node.calls().iter().skip(1).all(|call| call == "stop a"), "{:?}", node.calls());
    let log = node.text("log");
    assert!(log.contains("The engine was told to stop, and goes on for 10 s without a reason"), "{log}");
    assert!(log.contains(": refused ("), "{log}");
}

#[test]
fn hijacked_engine_that_keeps_its_group_has_it_stopped_after_a_while() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    fall_asleep(&node);
    Node::signal(node.guardian(), SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert_eq!(node.calls(), ["start a", "stop a"]);
    assert!(!node.root.join("was-reset").exists());
}

/// An engine in other hands says in its page of the lease that it has released everything.
fn lie_about_holdings(node: &Node) {
    node.lease().set_claims(GroupSet::EMPTY);
    node.lease().set_group(GroupId(0), GroupState::Stopped);
}

#[test]
fn lie_of_a_hijacked_engine_does_not_keep_the_sentinel_from_stopping_its_groups() {
    let mut node = Node::new(ONE, "");
    node.run_until_running("a");
    let (engine, guardian) = (node.engine(), node.guardian());
    Node::signal(engine, SIGSTOP);
    lie_about_holdings(&node);
    Node::signal(guardian, SIGKILL);
    Node::signal(engine, SIGKILL);
    eventually("the group is stopped", || !node.is_running("a"));
    assert_eq!(node.calls(), ["start a", "stop a"]);
}

/// It says so, and ends or asks for the end.
fn leave_by_a_lie(node: &Node, is_asked: bool) {
    let lie = || lie_about_holdings(node);
    if is_asked {
        let exit = ToGuardian::Exit.encode(node.lease().table_digest());
        lie();
        for channel in engine_channels(node) {
            // One of them is for messages; both are closed once it is believed.
            let _ = send(channel.as_raw_fd(), &exit, MsgFlags::MSG_NOSIGNAL);
        }
    } else {
        hijack(node, |code| {
            lie();
            // xor ebx, ebx
            code.bytes.extend([0x31, 0xdb]);
            code.exit(0);
        });
    }
}

#[test]
fn hijacked_engine_that_says_it_holds_nothing_leaves_nothing_running() {
    for is_asked in [false, true] {
        let mut node = Node::new(ONE, "");
        node.run_until_running("a");
        leave_by_a_lie(&node, is_asked);
        assert_eq!(node.exit_code(), Some(0));
        assert_eq!(
            (node.calls(), node.is_running("a")),
            (vec!["start a".into(), "stop a".into()], false),
            "{is_asked}"
        );
    }
}
