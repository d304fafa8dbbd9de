//! What scripts and programs get, and what the neighbourhood hears.

use super::*;

#[test]
fn nothing_of_ours_leaks_into_a_script() {
    let yard = Yard::new();
    yard.script(
        "a",
        "test $A = start || exit 0\nexec /usr/bin/env sh -c 'ls -l /proc/self/fd; grep ^Sig /proc/self/status; \
         cat /proc/self/oom_score_adj; pwd; readlink /proc/self/fd/0; ps -o pgid= -p $$; echo $$' >$W/seen",
    );
    let mut blocked = nix::sys::signal::SigSet::empty();
    blocked.add(nix::sys::signal::Signal::SIGTERM);
    blocked.thread_block().unwrap();
    let mut runner = yard.runner(&yard.config(&[("alpha", "a")]));
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    let seen = yard.text("seen");
    let descriptors: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(left, _)| left.rsplit(' ').next().unwrap())
        .collect();
    // 3 is the directory that `ls` itself reads, 10 what the shell keeps of stdout while `exec` replaces it.
    assert!(descriptors.iter().all(|number| ["0", "1", "2", "3", "10"].contains(number)), "{seen}");
    for mask in ["SigBlk", "SigIgn"] {
        let line = seen.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
        let bits = u64::from_str_radix(line[1..].trim(), 16).unwrap();
        // 32 and 33 belong to the C library.
        assert_eq!(bits & 0x7fff_ffff, 0, "{seen}");
    }
    assert!(seen.contains(&format!("{}\n/dev/null\n", yard.root.join("state/cores/root").display())), "{seen}");
    let mut tail = seen.lines().rev();
    assert_eq!(tail.next().unwrap().trim(), tail.next().unwrap().trim(), "a process group of its own");
    blocked.thread_unblock().unwrap();
}

#[test]
fn environment_is_heartbeats() {
    let yard = Yard::new();
    yard.script("a", "test $A = stop || env >$W/env.$A");
    let mut config = yard.config(&[("alpha", "a")]);
    config.directives = vec![("keepalive".into(), "200ms".into()), ("debug".into(), "1".into())];
    config.environment = vec![("STOPRETRYMAX".into(), "3".into()), ("DIR".into(), "/forged".into())];
    config.log.debug = 1;
    config.log.facility = Some("local0".into());
    let mut runner = yard.runner(&config);
    ask(&mut runner, 1, G0, Order::Start);
    finish(&mut runner);
    let text = yard.text("env.start");
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let etc = yard.root.join("ha.d").display().to_string();
    let expected = [
        ("HA_CURHOST", "alpha".to_owned()),
        ("HA_DIR", etc.clone()),
        ("HA_FUNCS", format!("{etc}/shellfuncs")),
        ("HA_RCDIR", format!("{etc}/rc.d")),
        ("HA_RESOURCEDIR", format!("{etc}/resource.d")),
        ("HA_FIFO", "/var/lib/heartbeat/fifo".to_owned()),
        ("HA_BIN", "/usr/libexec/heartbeat".to_owned()),
        ("HA_DOCDIR", "/usr/share/doc/heartbeat".to_owned()),
        ("HA_DATEFMT", "%Y/%m/%d_%T\t".to_owned()),
        ("HA_LOGFILE", "/dev/null".to_owned()),
        ("HA_DEBUGLOG", "/dev/null".to_owned()),
        ("HA_LOGFACILITY", "local0".to_owned()),
        ("HA_LOGD", "no".to_owned()),
        ("HA_debug", "1".to_owned()),
        ("HA_keepalive", "200ms".to_owned()),
        ("HA_STOPRETRYMAX", "3".to_owned()),
        ("HA_NICEFAILBACK", "yes".to_owned()),
        ("OCF_ROOT", yard.root.join("ocf").display().to_string()),
        ("OCF_AGENTS", yard.root.join("ocf/resource.d/heartbeat/").display().to_string()),
        ("LC_ALL", "C".to_owned()),
    ];
    for (name, wanted) in expected {
        assert_eq!(value(name), Some(wanted.as_str()), "{name}");
    }
    let path = value("PATH").unwrap();
    assert!(path.starts_with("/usr/libexec/heartbeat:/usr/sbin:/usr/share/heartbeat:"), "{path}");
    assert!(path.ends_with(":/sbin:/bin:/usr/sbin:/usr/bin:/usr/ucb"), "{path}");
    assert_eq!(value("LANG"), None);
    ask(&mut runner, 2, G0, Order::Probe);
    finish(&mut runner);
    assert!(!yard.text("env.status").contains("HA_NICEFAILBACK"));
}

#[test]
fn ocf_agents_are_spoken_to_natively() {
    let yard = Yard::new();
    let root = yard.root.display();
    let body = format!(
        "#!/bin/sh\necho \"$* $OCF_RESKEY_ip $OCF_RESOURCE_INSTANCE\" >>{root}/runs\n\
         case $1 in monitor) test -e {root}/on && exit 0; exit 7;; start) : >{root}/on;; stop) rm -f {root}/on;; esac\n"
    );
    yard.write("ocf/resource.d/heartbeat/Addr", &body);
    fs::create_dir_all(yard.root.join("ha.d/conf/OCF/Addr")).unwrap();
    fs::write(yard.root.join("ha.d/conf/OCF/Addr/one"), "OCF_RESKEY_ip=10.0.0.1\n").unwrap();
    yard.script("OCF", "exit 1");
    let groups = [("alpha", "OCF::Addr::one"), ("alpha", "ocf:heartbeat:Addr::ip=fe80::1")];
    let mut runner = yard.runner(&yard.config(&groups));
    ask(&mut runner, 1, G0, Order::Start);
    ask(&mut runner, 2, G0, Order::Probe);
    ask(&mut runner, 3, G0, Order::Stop);
    ask(&mut runner, 4, G1, Order::Start);
    assert_eq!(
        finish(&mut runner),
        [
            (1, JobOutcome::Done, 255),
            (2, JobOutcome::AllRunning, 255),
            (3, JobOutcome::Done, 255),
            (4, JobOutcome::Done, 255)
        ]
    );
    assert_eq!(
        yard.runs(),
        [
            "monitor 10.0.0.1 one",
            "start 10.0.0.1 one",
            "monitor 10.0.0.1 one",
            "stop 10.0.0.1 one",
            "monitor fe80::1 Addr_fe80::1",
            "start fe80::1 Addr_fe80::1"
        ]
    );
}

#[test]
fn notify_programs_get_words_and_variables() {
    let yard = Yard::new();
    let root = yard.root.display();
    let program = yard.write(
        "tell",
        &format!(
            "#!/bin/sh\necho \"$* ($NULLBEAT_EVENT $NULLBEAT_NEW $NULLBEAT_GROUP$NULLBEAT_LINK)\" >>{root}/told\n"
        ),
    );
    let mut config = yard.config(&[("beta", "a::1 b")]);
    config.notify = vec![program];
    let mut runner = yard.runner(&config);
    runner.notify_group(Instant::now(), G0, GroupState::Stopped, GroupState::Starting, Cause::Death);
    runner.notify_node(Instant::now(), 1, b'a');
    runner.notify_node(Instant::now(), 1, b'd');
    runner.notify_link(Instant::now(), 1, LinkId(0), false);
    drive(&mut runner, Runner::has_notified);
    assert_eq!(
        yard.text("told").lines().collect::<Vec<_>>(),
        [
            "group a::1 stopped starting death (group starting a::1 b)",
            "node beta init active - (node active )",
            "node beta active dead - (node dead )",
            "link beta:lo up dead - (link dead lo)",
        ]
    );
}

#[test]
fn packaged_rc_d_files_never_run_and_a_sites_ifstat_does() {
    let yard = Yard::new();
    let root = yard.root.display();
    for name in ["status", "ip-request", "ip-request-resp", "hb_takeover", "ask_resources", "custom", "ifstat"] {
        let body =
            format!("#!/bin/sh\necho \"${{0##*/}} $* $HA_t $HA_node $HA_ifname $HA_st $HA_OSTATUS\" >>{root}/told\n");
        yard.write(&format!("ha.d/rc.d/{name}"), &body);
    }
    let mut runner = yard.runner(&yard.config(&[("beta", "a")]));
    runner.notify_node(Instant::now(), 1, b'd');
    runner.notify_group(Instant::now(), G0, GroupState::Stopped, GroupState::Starting, Cause::Death);
    runner.notify_link(Instant::now(), 1, LinkId(0), true);
    drive(&mut runner, Runner::has_notified);
    assert_eq!(yard.text("told"), "ifstat ifstat ifstat beta lo up active\n");
}

fn message(kind: &str) -> SiteMessage {
    SiteMessage { digest: 0, kind: kind.to_owned(), fields: vec![("src".into(), "beta".into())] }
}

#[test]
fn messages_reach_scripts_that_rc_d_names_and_no_other_file() {
    let yard = Yard::new();
    let body = format!("#!/bin/sh\necho \"${{0##*/}} $* $HA_src\" >>{}/told\n", yard.root.display());
    for place in ["ha.d/rc.d/mytype", "ha.d/rc.d/status", "ha.d/rc.d/.hidden", "ha.d/resource.d/a", "ha.d/rc.d/ifstat"]
    {
        yard.write(place, &body);
    }
    let mut runner = yard.runner(&yard.config(&[("beta", "a")]));
    assert_eq!(runner.message_types(), ["mytype"]);
    for kind in ["status", "../resource.d/a", "ifstat", ".hidden", "", ".", "..", "nothing", "mytype"] {
        runner.notify_message(Instant::now(), &message(kind));
    }
    drive(&mut runner, Runner::has_notified);
    assert_eq!(yard.text("told"), "mytype mytype beta\n");
}

#[test]
fn messages_are_bounded_and_cost_nobody_his_news() {
    let yard = Yard::new();
    let root = yard.root.display();
    let body = format!("#!/bin/sh\necho $1 >>{root}/told\nwhile test ! -e {root}/go; do sleep 0.01; done\n");
    yard.write("ha.d/rc.d/mytype", &body);
    let mut config = yard.config(&[("alpha", "a")]);
    config.notify = vec![yard.write("tell", &body)];
    let mut runner = yard.runner(&config);
    for _ in 0..200 {
        runner.notify_message(Instant::now(), &message("mytype"));
    }
    runner.notify_node(Instant::now(), 1, b'd');
    // One runs, 32 wait.
    assert_eq!((runner.notifier.messages_dropped(), runner.notifications_dropped()), (200 - 33, 0));
    fs::write(yard.root.join("go"), "").unwrap();
    drive(&mut runner, Runner::has_notified);
    let told = yard.text("told");
    assert_eq!(told.lines().filter(|line| *line == "mytype").count(), 33);
    assert_eq!(told.lines().nth(1), Some("node"), "news come first");
}

#[test]
fn notifications_are_bounded_and_do_not_delay_jobs() {
    let yard = Yard::new();
    let root = yard.root.display();
    let body = format!("#!/bin/sh\necho \"$2 $4\" >>{root}/told\nwhile test ! -e {root}/go; do sleep 0.01; done\n");
    let mut config = yard.config(&[("alpha", "a")]);
    config.notify = vec![yard.write("tell", &body)];
    yard.switch("a");
    let mut runner = yard.runner(&config);
    for _ in 0..150 {
        runner.notify_node(Instant::now(), 0, b'a');
    }
    runner.notify_node(Instant::now(), 1, b'd');
    // One runs, 128 wait.
    assert_eq!(runner.notifications_dropped(), 151 - 129);
    ask(&mut runner, 1, G0, Order::Start);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    assert!(!runner.has_notified());
    fs::write(yard.root.join("go"), "").unwrap();
    drive(&mut runner, Runner::has_notified);
    assert_eq!(yard.text("told").lines().count(), 129);
    assert_eq!(yard.text("told").lines().last(), Some("beta dead"));
}

/// Runs `ip` in the network namespace of this thread.
fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

#[test]
fn addresses_are_announced_to_the_other_end_of_the_wire() {
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};
    use std::os::fd::{AsFd, AsRawFd};

    // Ends with this thread. Without root there is nothing to be tried.
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("no network namespace without root");
        return;
    }
    for words in [
        "link set lo up",
        "link add nb0 type veth peer name nb1",
        "link set nb0 address 02:00:00:00:00:09 up",
        "link set nb1 up",
        "addr add 10.9.9.1/24 dev nb0 label nb0:7",
        "addr add fd09::1/64 dev nb0 nodad",
        "addr add 10.9.9.2/32 dev lo",
    ] {
        ip(words);
    }
    let ear = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    let other_end = nix::net::if_::if_nametoindex("nb1").unwrap();

    let yard = Yard::new();
    yard.switches(&["IPaddr", "IPv6addr"]);
    let words = "IPaddr::10.9.9.1/24/nb0 IPv6addr::fd09:0:0:0:0:0:0:1/64 IPaddr::10.9.9.2 IPaddr::10.9.9.3";
    let mut runner = yard.runner(&yard.config(&[("alpha", words)]));
    ask(&mut runner, 1, G0, Order::Announce);
    assert_eq!(finish(&mut runner), [(1, JobOutcome::Done, 255)]);
    let begin = Instant::now();
    while runner.announcer.next_deadline().is_some() {
        wait(&mut runner);
    }
    assert!(begin.elapsed() > Duration::from_millis(1900), "spread over two seconds");

    let (mut requests, mut replies, mut advertisements) = (0, 0, 0);
    let mut frame = [0; 2048];
    while poll(&mut [PollFd::new(ear.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0 {
        let (length, from) = recvfrom::<LinkAddr>(ear.as_raw_fd(), &mut frame).unwrap();
        let from = from.unwrap();
        if from.ifindex() != other_end as usize || from.pkttype() == 4 {
            continue;
        }
        let frame = &frame[..length];
        match (&frame[12..14], frame.get(20..22), frame.get(54)) {
            ([8, 6], Some(&[0, operation]), _) => {
                assert_eq!(frame[..12], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9]);
                assert_eq!((&frame[28..32], &frame[38..42]), (&[10, 9, 9, 1][..], &[10, 9, 9, 1][..]));
                if operation == 1 { requests += 1 } else { replies += 1 }
            }
            ([0x86, 0xdd], _, Some(136)) if frame[58] & 0x20 != 0 && frame[62..64] == [0xfd, 9] => advertisements += 1,
            _ => {}
        }
    }
    assert_eq!((requests, replies, advertisements), (5, 5, 5));
}

#[test]
fn start_announces_and_stop_takes_back() {
    let yard = Yard::new();
    yard.switch("IPaddr");
    let mut runner = yard.runner(&yard.config(&[("alpha", "IPaddr::192.0.2.77")]));
    ask(&mut runner, 1, G0, Order::Start);
    finish(&mut runner);
    assert!(runner.announcer.next_deadline().is_some());
    ask(&mut runner, 2, G0, Order::Stop);
    assert!(runner.announcer.next_deadline().is_none());
    finish(&mut runner);
}

#[test]
fn dont_ask_is_set_for_the_first_status_of_an_own_group_while_nobody_else_is_active() {
    let yard = Yard::new();
    let body = format!("#!/bin/sh\necho \"$1 $2 ${{HA_DONTASK-}}\" >>{}/told\n", yard.root.display());
    yard.write("ha.d/resource.d/a", &body);
    let mut runner = yard.runner(&yard.config(&[("alpha", "a::1 a::2"), ("beta", "a::3")]));
    ask(&mut runner, 1, G0, Order::Start);
    finish(&mut runner);
    ask(&mut runner, 2, G0, Order::Stop);
    finish(&mut runner);
    ask(&mut runner, 3, GroupId(1), Order::Start);
    finish(&mut runner);
    runner.notify_node(Instant::now(), 1, b'a');
    ask(&mut runner, 4, G0, Order::Start);
    finish(&mut runner);
    runner.notify_node(Instant::now(), 1, b'd');
    ask(&mut runner, 5, G0, Order::Probe);
    finish(&mut runner);
    let told = yard.text("told");
    assert_eq!(told.lines().filter(|line| line.ends_with("yes")).collect::<Vec<_>>(), ["1 status yes"], "{told}");
}
