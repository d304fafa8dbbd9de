//! ha.cf: what is said to each kind of mistake in media lines.

use super::*;

#[test]
fn media_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (b"udpport 0", &["ha.cf:1:9: error: found `0`; expected a whole number from 1 to 65535"]),
        (b"udpport 65536", &["ha.cf:1:9: error: found `65536`; expected a whole number from 1 to 65535"]),
        (b"udpport x", &["ha.cf:1:9: error: found `x`; expected a whole number from 1 to 65535"]),
        (
            b"baud 1200",
            &["ha.cf:1:6: error: found `1200`; expected one of 9600 19200 38400 57600 115200 230400 460800 921600"],
        ),
        (
            b"baud 9600 9600",
            &[
                "ha.cf:1:11: error: found a further value of `baud`, `9600`; expected one value; the first one stands before it",
            ],
        ),
        (
            b"baud 9600\nbaud 19200",
            &[
                "ha.cf:2:6: error: found a further value of `baud`, `19200`; expected one value; the first one stands in line 1",
            ],
        ),
        (
            b"serial ttyS0",
            &[
                "ha.cf:1:8: error: found `ttyS0`; expected the full path of a device, `baud N`, `flow none|rtscts` or `keepalive TIME`; did you mean `/dev/ttyS0`?",
            ],
        ),
        (
            b"serial dev/ttyS0",
            &[
                "ha.cf:1:8: error: found `dev/ttyS0`; expected the full path of a device, `baud N`, `flow none|rtscts` or `keepalive TIME`; did you mean `/dev/ttyS0`?",
            ],
        ),
        (
            b"serial /dev/ttyS0 /dev/ttyS0",
            &["ha.cf:1:19: error: found serial device `/dev/ttyS0` a second time; expected each device once"],
        ),
        (
            b"serial /dev/ttyS0\nbaud 9600",
            &[
                "ha.cf:2:1: warning: found `baud` below a `serial` line; expected it above them; lines above it keep the speed they had, as in Heartbeat",
            ],
        ),
        (
            b"serial",
            &["ha.cf:1:1: warning: found `serial` without a value; expected device paths; the line has no effect"],
        ),
        (
            b"serial baud 9600",
            &["ha.cf:1:1: error: found `serial` without a device; expected the path of a serial device"],
        ),
        (b"serial /dev/ttyS0 baud", &["ha.cf:1:19: error: found `baud` without a speed; expected `baud N`"]),
        (
            b"serial /dev/ttyS0 baud 9601",
            &["ha.cf:1:24: error: found `9601`; expected one of 9600 19200 38400 57600 115200 230400 460800 921600"],
        ),
        (
            b"serial /dev/ttyS0 buad 9600",
            &[
                "ha.cf:1:19: error: found `buad`; expected the full path of a device, `baud N`, `flow none|rtscts` or `keepalive TIME`; did you mean `baud`?",
            ],
        ),
        (b"serial /dev/ttyS0 flow", &["ha.cf:1:19: error: found `flow` without a kind; expected `flow none|rtscts`"]),
        (
            b"serial /dev/ttyS0 flow nine",
            &["ha.cf:1:24: error: found `nine`; expected `none` or `rtscts`; did you mean `none`?"],
        ),
        (b"serial /dev/ttyS0,/dev/ttyS1 baud 115200 flow none", &[]),
        (
            b"serial /dev/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            &[
                "ha.cf:1:8: error: found a name of 100 bytes, `/dev/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`; expected at most 99 bytes; a symbolic link, made by a udev rule, gives the device a shorter path",
            ],
        ),
        (
            b"serial /dev/ttyS9",
            &["ha.cf:1:8: warning: found `/dev/ttyS9`, which does not exist here; expected a serial device"],
        ),
        (
            b"serial /dev/null0",
            &["ha.cf:1:8: warning: found `/dev/null0`, which is no character device; expected a serial device"],
        ),
        (
            b"ucast",
            &["ha.cf:1:1: error: found `ucast` without arguments; expected `ucast DEV HOST [bind ADDRESS] [port N] [keepalive TIME]`"],
        ),
        (
            b"ucast eth0",
            &[
                "ha.cf:1:1: error: found `ucast` without the peer's address; expected `ucast DEV HOST [bind ADDRESS] [port N] [keepalive TIME]`",
            ],
        ),
        (
            b"ucast eth9 10.0.0.3",
            &["ha.cf:1:7: warning: found `eth9`, which is no network interface here; expected a network interface"],
        ),
        (
            b"ucast eth0 10.0.0.256",
            &["ha.cf:1:12: error: found `10.0.0.256`; expected an IPv4 address: four numbers from 0 to 255"],
        ),
        (
            b"ucast eth0 fe80::1",
            &["ha.cf:1:12: error: found `fe80::1`; expected an IPv4 address or a host name; IPv6 is for `ucast6`"],
        ),
        (
            b"ucast eth0 nowhere.example",
            &[
                "ha.cf:1:12: warning: found `nowhere.example`, which is no IPv4 address and cannot be resolved here; expected an IPv4 address or a host name; an address does not depend on a name server",
            ],
        ),
        (b"ucast eth0 peer.example bind 10.0.0.1 port 700", &[]),
        (
            b"ucast eth0 224.0.0.1",
            &["ha.cf:1:12: error: found `224.0.0.1`, which is no address of one node; expected the peer's address"],
        ),
        (
            b"ucast eth0 0.0.0.0",
            &["ha.cf:1:12: error: found `0.0.0.0`, which is no address of one node; expected the peer's address"],
        ),
        (
            b"ucast eth0 10.0.0.3 694",
            &["ha.cf:1:21: error: found `694`; expected `bind ADDRESS`, `port N`, `keepalive TIME` or nothing more"],
        ),
        (
            b"ucast eth0 10.0.0.3 prot 694",
            &[
                "ha.cf:1:21: error: found `prot`; expected `bind ADDRESS`, `port N`, `keepalive TIME` or nothing more; did you mean `port`?",
            ],
        ),
        (b"ucast eth0 10.0.0.3 bind", &["ha.cf:1:21: error: found `bind` without an address; expected `bind ADDRESS`"]),
        (b"ucast eth0 10.0.0.3 bind x", &["ha.cf:1:26: error: found `x`; expected an IPv4 address of this machine"]),
        (b"ucast eth0 10.0.0.3 port", &["ha.cf:1:21: error: found `port` without a number; expected `port N`"]),
        (b"ucast eth0 10.0.0.3 port 0", &["ha.cf:1:26: error: found `0`; expected a UDP port from 1 to 65535"]),
        (b"ucast eth0 10.0.0.2", &[]),
        (
            b"ucast eth0 10.0.0.1",
            &[
                "ha.cf:1:12: note: found `10.0.0.1`, an address of this machine; this line is for the other node and opens no link here",
            ],
        ),
        (
            b"ucast eth0 10.0.0.3\nudpport 700",
            &[
                "ha.cf:2:1: warning: found `udpport` below a media line; expected it above them; media lines above it keep the port they had, as in Heartbeat",
            ],
        ),
        (
            b"ucast eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee 10.0.0.3",
            &[
                "ha.cf:1:7: warning: found `eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…`, which is no network interface here; expected a network interface",
                "ha.cf:1:7: error: found a name of 100 bytes, `eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…`; expected at most 99 bytes",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn broadcast_group_and_ipv6_media_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (b"bcast eth0", &[]),
        (b"bcast eth0 eth1", &[]),
        (
            b"bcast eth9",
            &["ha.cf:1:7: warning: found `eth9`, which is no network interface here; expected a network interface"],
        ),
        (b"bcast", &["ha.cf:1:1: warning: found `bcast` without a value; expected interfaces; the line has no effect"]),
        (
            b"bcast eth0\nbcast eth1 eth0",
            &["ha.cf:2:12: warning: found the same `bcast` line a second time; expected each path once"],
        ),
        (
            b"bcast eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
            &[
                "ha.cf:1:7: warning: found `eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…`, which is no network interface here; expected a network interface",
                "ha.cf:1:7: error: found a name of 100 bytes, `eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…`; expected at most 99 bytes",
            ],
        ),
        (
            b"bcast eth0\nudpport 700",
            &[
                "ha.cf:2:1: warning: found `udpport` below a media line; expected it above them; media lines above it keep the port they had, as in Heartbeat",
            ],
        ),
        (b"mcast eth0 225.0.0.1 694 1 0\nudpport 700", &[]),
        (
            b"udp eth0",
            &["ha.cf:1:1: warning: found `udp`, the old name of `bcast`; expected `bcast`"],
        ),
        (b"mcast eth0 225.0.0.1 694 1 0", &[]),
        (b"mcast eth0 225.0.0.1 694 0 1", &[]),
        (
            b"mcast eth0 225.0.0.1 694 1 0\nmcast eth0 225.0.0.1 694 2 1\nmcast eth0 225.0.0.2 694 1 0",
            &["ha.cf:2:1: warning: found the same `mcast` line a second time; expected each path once"],
        ),
        (
            b"mcast eth9 225.0.0.1 694 1 0",
            &["ha.cf:1:7: warning: found `eth9`, which is no network interface here; expected a network interface"],
        ),
        (
            b"mcast eth0 10.0.0.1 694 1 0",
            &["ha.cf:1:12: error: found `10.0.0.1`; expected an address from 224.0.0.0 to 239.255.255.255"],
        ),
        (
            b"mcast eth0 225.0.0.1 0 5 2",
            &[
                "ha.cf:1:22: error: found `0`; expected a UDP port from 1 to 65535",
                "ha.cf:1:24: error: found `5`; expected a TTL from 0 to 4",
                "ha.cf:1:26: error: found `2`; expected a loop flag from 0 to 1",
            ],
        ),
        (
            b"mcast eth0 225.0.0.1 694",
            &["ha.cf:1:1: error: found `mcast` without TTL; expected `mcast DEV GROUP PORT TTL LOOP`"],
        ),
        (b"mcast", &["ha.cf:1:1: error: found `mcast` without DEV; expected `mcast DEV GROUP PORT TTL LOOP`"]),
        (
            b"mcast eth0 225.0.0.1 694 1 0 9",
            &[
                "ha.cf:1:30: warning: found `9`; expected `mcast DEV GROUP PORT TTL LOOP`; it is ignored, as in Heartbeat",
            ],
        ),
        (
            b"ucast6 eth0",
            &["ha.cf:1:1: error: found `ucast6` without the peer's address; expected `ucast6 DEV ADDRESS`"],
        ),
        (b"ucast6 eth0 fe80::1%eth0", &[]),
        (b"ucast6 eth0 2001:db8::2", &[]),
        (
            b"ucast6 eth0 2001:db8::1",
            &[
                "ha.cf:1:13: note: found `2001:db8::1`, an address of this machine; this line is for the other node and opens no link here",
            ],
        ),
        (
            b"ucast6 eth0 fe80::1%eth1",
            &["ha.cf:1:13: error: found scope `eth1` beside interface `eth0`; expected one and the same interface"],
        ),
        (
            b"ucast6 eth0 fe80::1%2",
            &[
                "ha.cf:1:13: warning: found the number 2 for a scope; expected `fe80::1%eth0`; numbers of interfaces change; the scope is that of the line's interface",
            ],
        ),
        (b"ucast6 eth0 ff02::1", &["ha.cf:1:13: error: found `ff02::1`; expected the peer's IPv6 address"]),
        (b"ucast6 eth0 ::1", &["ha.cf:1:13: error: found `::1`; expected the peer's IPv6 address"]),
        (b"ucast6 eth0 10.0.0.2", &["ha.cf:1:13: error: found `10.0.0.2`; expected the peer's IPv6 address"]),
        (b"mcast6 eth0 ff02::1 694 1 0", &[]),
        (
            b"mcast6 eth0 ff03::1 694 1 0",
            &["ha.cf:1:13: error: found `ff03::1`; expected an address ff0S:: or ff1S:: with scope S 2, 4, 5 or 8"],
        ),
        (
            b"mcast6 eth0 ff02:: 694 5 2",
            &[
                "ha.cf:1:13: error: found `ff02::`; expected an address ff0S:: or ff1S:: with scope S 2, 4, 5 or 8",
                "ha.cf:1:24: error: found `5`; expected a hop limit from 0 to 4",
                "ha.cf:1:26: error: found `2`; expected a loop flag from 0 to 1",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn every_kind_of_network_line_is_a_link() {
    for line in ["bcast eth0", "mcast eth0 225.0.0.1 694 1 0", "ucast6 eth0 fe80::2", "mcast6 eth0 ff02::1 694 1 0"] {
        let text =
            format!("{line}\nnode alpha beta\nlogfacility local0\nauto_failback on\ntakeover_policy available\n");
        let directory = Directory::new();
        directory.write("ha.cf", &text);
        let machine = board();
        let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
        let media = loaded.config.expect(line).media;
        assert_eq!(media.len(), 1, "{line}");
        assert_eq!((media[0].name().as_str(), media[0].word()), ("eth0", line.split(' ').next().unwrap()), "{line}");
    }
}

#[test]
fn media_take_the_port_that_stands_above_them() {
    let text = b"bcast eth0\nudpport 700\nbcast eth1\nucast6 eth0 fe80::2\nmcast eth0 225.0.0.1 701 1 0";
    let directory = Directory::new();
    directory.write("ha.cf", complete(text));
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    let ports: Vec<u16> = loaded
        .config
        .expect("a configuration")
        .media
        .iter()
        .map(|medium| match medium {
            Medium::Serial { .. } | Medium::Ping { .. } => 0,
            Medium::Ucast { port, .. }
            | Medium::Bcast { port, .. }
            | Medium::Mcast { port, .. }
            | Medium::Ucast6 { port, .. }
            | Medium::Mcast6 { port, .. } => *port,
        })
        .collect();
    assert_eq!(ports, [694, 700, 700, 701, 700], "the last one is the line that completes the file");
}

#[test]
fn ping_nodes_are_answered() {
    let table: &[(&[u8], &[&str])] = &[];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn what_depends_on_the_machine_is_an_error_of_run_where_it_is_one_for_heartbeat() {
    let table: &[(&[u8], &[&str])] = &[
        (
            b"serial /dev/ttyS9",
            &["ha.cf:1:8: error: found `/dev/ttyS9`, which does not exist here; expected a serial device"],
        ),
        (
            b"ucast eth9 10.0.0.3",
            &["ha.cf:1:7: warning: found `eth9`, which is no network interface here; expected a network interface"],
        ),
        (
            b"ucast eth0 nowhere.example",
            &[
                "ha.cf:1:12: error: found `nowhere.example`, which is no IPv4 address and cannot be resolved here; expected an IPv4 address or a host name; an address does not depend on a name server",
            ],
        ),
        (
            b"bcast eth9",
            &["ha.cf:1:7: warning: found `eth9`, which is no network interface here; expected a network interface"],
        ),
        (b"user nobody9", &["ha.cf:1:6: error: found `nobody9`, who is no user here; expected a user name"]),
        (
            b"reset_with hook /none",
            &[
                "ha.cf:1:17: error: found `/none`, which is no executable file here; expected the program that resets the board",
            ],
        ),
        (
            b"notify /none",
            &[
                "ha.cf:1:8: warning: found `/none`, which is no executable file here; expected a program; nobody is told of changes through it",
            ],
        ),
        (
            b"node beta gamma alhpa",
            &[
                "ha.cf: error: found no `node` line for the local node `alpha`; expected `beta`, `gamma` or `alhpa`; did you mean `alhpa`?",
                "haresources:1:1: error: found `alpha`, which is no node; expected a node of ha.cf; did you mean `alhpa`?",
                "haresources:1:1: error: found only `alpha`, while ha.cf has 3 nodes; expected two: ownership moves between exactly two nodes; give the partner a line with a group of its own, so that it is known",
            ],
        ),
        (
            b"ucast eth0 10.0.0.1",
            &[
                "ha.cf: error: found no link to the peer; expected a `serial`, `ucast`, `bcast`, `mcast`, `ucast6` or `mcast6` line",
                "ha.cf:1:12: note: found `10.0.0.1`, an address of this machine; this line is for the other node and opens no link here",
            ],
        ),
        (
            b"ucast eth0 10.0.0.1\nucast eth0 10.0.0.2",
            &[
                "ha.cf:1:12: note: found `10.0.0.1`, an address of this machine; this line is for the other node and opens no link here",
            ],
        ),
        (
            b"ucast lo 127.0.0.1 bind 127.0.0.2 port 700",
            &["ha.cf:1:7: warning: found `lo`, which is no network interface here; expected a network interface"],
        ),
    ];
    expect(Purpose::Run, "ha.cf", table);
}

#[test]
fn serial_lines_that_cannot_carry_the_beats_are_told_with_the_arithmetic() {
    let table: &[(&[u8], &[&str])] = &[
        (
            b"serial /dev/ttyS0 baud 9600\nkeepalive 200ms\ndeadtime 5",
            &[
                "ha.cf:1:8: error: found a keepalive of 200 ms at 9600 baud; expected at least 234 ms: 224 bytes of 10 bits each at 9600 bits a second take 234 ms; raise keepalive or baud, or say `protocol compact` on both nodes: then a beat is 28 bytes",
            ],
        ),
        (
            b"serial /dev/ttyS0 baud 9600\nkeepalive 240ms\ndeadtime 5",
            &[
                "ha.cf:1:8: warning: found a keepalive of 240 ms at 9600 baud; expected more than 263 ms, with a longer beat and an acknowledgement every tenth time; 224 bytes of 10 bits each at 9600 bits a second take 234 ms; the line is always busy and falls behind",
            ],
        ),
        (
            b"serial /dev/ttyS0\nkeepalive 200ms\ndeadtime 500ms\ninitdead 12",
            &[
                "ha.cf:1:8: warning: found a deadtime of 500 ms at 19200 baud; expected at least 555 ms: twice the keepalive of 200 ms and the 155 ms that a long beat takes",
            ],
        ),
        (b"serial /dev/ttyS0 baud 115200\nkeepalive 200ms\ndeadtime 500ms\ninitdead 12", &[]),
        (b"protocol compact\nserial /dev/ttyS0 baud 9600\nkeepalive 45ms\ndeadtime 135ms\ninitdead 12", &[]),
        (b"protocol compact\nserial /dev/ttyS0 baud 19200\nkeepalive 25ms\ndeadtime 75ms\ninitdead 12", &[]),
        (b"protocol compact\nserial /dev/ttyS0 baud 115200\nkeepalive 10ms\ndeadtime 30ms\ninitdead 12", &[]),
        (
            b"protocol compact\nserial /dev/ttyS0 baud 9600\nkeepalive 25ms\ndeadtime 135ms\ninitdead 12",
            &[
                "ha.cf:2:8: error: found a keepalive of 25 ms at 9600 baud; expected at least 30 ms: 28 bytes of 10 bits each at 9600 bits a second take 30 ms; raise keepalive or baud",
            ],
        ),
        (
            b"baud 115200\nserial /dev/ttyS0\nserial /dev/ttyS1 baud 9600\nkeepalive 200ms\ndeadtime 5",
            &[
                "ha.cf:3:8: error: found a keepalive of 200 ms at 9600 baud; expected at least 234 ms: 224 bytes of 10 bits each at 9600 bits a second take 234 ms; raise keepalive or baud, or say `protocol compact` on both nodes: then a beat is 28 bytes",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn link_with_a_keepalive_of_its_own_is_checked_and_beats_at_that() {
    let table: &[(&[u8], &[&str])] = &[
        (b"serial /dev/ttyS0 keepalive 500ms baud 19200\nucast eth0 10.0.0.2 port 700 keepalive 50ms\ndeadtime 2", &[]),
        (
            b"serial /dev/ttyS0 keepalive 1 baud 19200\nkeepalive 100ms\ndeadtime 2",
            &[
                "ha.cf:3:10: error: found a deadtime of 2 s with a keepalive of 1 s; expected more than twice the keepalive, that is more than 2 s",
            ],
        ),
        (
            b"serial /dev/ttyS0 keepalive",
            &["ha.cf:1:19: error: found `keepalive` without a time; expected `keepalive TIME`"],
        ),
        (b"bcast eth0 keepalive 0", &["ha.cf:1:22: error: found `0`; expected a time above zero"]),
        (
            b"bcast eth0\nserial /dev/ttyS0 baud 9600 keepalive 100ms\nkeepalive 1\ndeadtime 5",
            &[
                "ha.cf:2:8: error: found a keepalive of 100 ms at 9600 baud; expected at least 234 ms: 224 bytes of 10 bits each at 9600 bits a second take 234 ms; raise keepalive or baud, or say `protocol compact` on both nodes: then a beat is 28 bytes",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
    let machine = board();
    let load = |text: &[u8]| {
        let directory = Directory::new();
        directory.write("ha.cf", complete(text));
        directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) }).config.expect("fine")
    };
    let ms = Duration::from_millis;
    let config = load(b"bcast eth0\nserial /dev/ttyS0 baud 9600 keepalive 400ms\nmcast eth1 225.0.0.1 694 1 0 keepalive 50ms\nkeepalive 100ms\ndeadtime 5");
    assert_eq!((config.keepalive, &config.keepalives[..3]), (ms(400), &[ms(100), ms(400), ms(50)][..]));
    let plain = load(b"bcast eth0\nkeepalive 400ms\ndeadtime 5");
    assert_ne!(config.config_digest, plain.config_digest, "the nodes notice when they differ");
    assert_eq!(plain.keepalives, Vec::new());
    assert_eq!(
        load(b"ucast eth0 10.0.0.2 keepalive 400ms\nkeepalive 1\ndeadtime 5").keepalive,
        ms(400),
        "none is left at 1 s"
    );
}

#[test]
fn repeated_beats_take_half_of_a_serial_line_at_the_most() {
    let mut config = sample::config(std::path::Path::new("/"), &[("alpha", "x")]);
    let serial = |baud| Medium::Serial { device: "/dev/ttyS0".into(), baud, is_rtscts: false };
    config.media.extend([serial(9600), serial(115_200)]);
    let copies = |config: &Config| (0..3).map(|place| config.copies(place)).collect::<Vec<_>>();
    assert_eq!(copies(&config), [8, 1, 1], "crc is no secret, and for Heartbeat's messages there is no room");
    config.keys[0].method = AuthMethod::Sha1;
    // 33 ms for each with a part of the acknowledgements.
    assert_eq!(copies(&config), [8, 3, 8]);
    config.keepalive = Duration::from_millis(45);
    assert_eq!(copies(&config), [8, 1, 7]);
}
