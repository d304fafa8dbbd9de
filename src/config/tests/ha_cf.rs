//! ha.cf: what is said to each kind of mistake.

use super::*;

#[test]
fn lines_and_words_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (
            b"KEEPALIVE 1",
            &[
                "ha.cf:1:1: error: found `KEEPALIVE`, an unknown directive; expected a directive of ha.cf; directives are written in lower case: `keepalive`",
            ],
        ),
        (
            b"keepalvie 1",
            &[
                "ha.cf:1:1: error: found `keepalvie`, an unknown directive; expected a directive of ha.cf; did you mean `keepalive`?",
            ],
        ),
        (b"xyzzy 1", &["ha.cf:1:1: error: found `xyzzy`, an unknown directive; expected a directive of ha.cf"]),
        (b"hbaping x", &["ha.cf:1:1: error: found `hbaping`, an unknown directive; expected a directive of ha.cf"]),
        (
            b"keepalive",
            &["ha.cf:1:1: warning: found `keepalive` without a value; expected a time; the line has no effect"],
        ),
        (
            b"keepalive 1 2",
            &[
                "ha.cf:1:13: warning: found a further value of `keepalive`, `2`; expected one value; this one counts, the one before it does not",
            ],
        ),
        (
            b"keepalive 1\nkeepalive 2",
            &[
                "ha.cf:2:11: warning: found a further value of `keepalive`, `2`; expected one value; this one counts, the one in line 1 does not",
            ],
        ),
        (
            b"keepalive\t1,2 # three",
            &[
                "ha.cf:1:13: warning: found a further value of `keepalive`, `2`; expected one value; this one counts, the one before it does not",
            ],
        ),
        (b"  keepalive 1#2", &[]),
        (b"# keepalive x", &[]),
        (b"keepalive 1\r", &[]),
        (
            b"keepalive 1\rdeadtime 9",
            &[
                "ha.cf:1:12: warning: found a carriage return in the middle of a line; expected it at the end only; what follows it is ignored, as in Heartbeat; save the file with Unix line ends",
            ],
        ),
        (b"keepalive 1 # a\rb", &[]),
        (b"keepalive 1\0", &["ha.cf:1:12: error: found the control character 0x00; expected text"]),
        (b"keep\x1balive 1", &["ha.cf:1:5: error: found the control character 0x1b; expected text"]),
        (
            b"\xef\xbb\xbfkeepalive 1",
            &["ha.cf:1:1: error: found a byte order mark; expected text; save the file as UTF-8 without it"],
        ),
        (
            b"keepalive \xe4",
            &[
                "ha.cf:1:11: error: found the byte 0xe4, which is not UTF-8; expected UTF-8 text; if the file was written in another encoding, `iconv -t UTF-8` converts it",
            ],
        ),
        (
            b"\xc3\xa4 keepalive 1",
            &["ha.cf:1:1: error: found `ä`, an unknown directive; expected a directive of ha.cf"],
        ),
        (b"keepalive 1 # \xe4\xf6", &[]),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn times_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (
            b"keepalive 10 ms",
            &[
                "ha.cf:1:14: error: found `ms`; expected a time above zero; write the unit behind the number without a blank: `10ms`",
            ],
        ),
        (
            b"keepalive 1x",
            &[
                "ha.cf:1:11: error: found `1x`; expected a time above zero; units are ms and us; seconds are written without one: `1`",
            ],
        ),
        (
            b"keepalive 5s",
            &[
                "ha.cf:1:11: error: found `5s`; expected a time above zero; units are ms and us; seconds are written without one: `5`",
            ],
        ),
        (
            b"keepalive 2m",
            &[
                "ha.cf:1:11: error: found `2m`; expected a time above zero; units are ms and us; seconds are written without one: `2`",
            ],
        ),
        (b"keepalive abc", &["ha.cf:1:11: error: found `abc`; expected a time above zero"]),
        (b"keepalive 0", &["ha.cf:1:11: error: found `0`; expected a time above zero"]),
        (
            b"keepalive 499us",
            &["ha.cf:1:11: error: found `499us`, which is 0 to the nearest millisecond; expected a time above zero"],
        ),
        (b"keepalive 500us", &[]),
        (b"keepalive -1", &["ha.cf:1:11: error: found `-1`; expected a time above zero"]),
        (b"keepalive 9999999", &["ha.cf:1:11: error: found `9999999`; expected a time of at most 24 days"]),
        (b"warntime 0", &["ha.cf:1:10: error: found `0`; expected a time above zero"]),
        (
            b"warntime 30",
            &[
                "ha.cf:1:10: warning: found a warntime of 30 s with a deadtime of 30 s; expected less than the deadtime; the peer is dead before it is late",
            ],
        ),
        (
            b"warntime 500ms",
            &[
                "ha.cf:1:10: warning: found a warntime of 500 ms with a keepalive of 1 s; expected more than the keepalive; every beat is late",
            ],
        ),
        (
            b"deadtime 2",
            &[
                "ha.cf:1:10: error: found a deadtime of 2 s with a keepalive of 1 s; expected more than twice the keepalive, that is more than 2 s",
            ],
        ),
        (b"deadtime 2001ms", &[]),
        (
            b"keepalive 15",
            &[
                "ha.cf:1:11: error: found a deadtime of 30 s with a keepalive of 15 s; expected more than twice the keepalive, that is more than 30 s",
            ],
        ),
        (b"deadtime -3", &["ha.cf:1:10: error: found `-3`; expected a time: seconds, or with ms or us behind"]),
        (
            b"initdead 29",
            &["ha.cf:1:10: error: found an initdead of 29 s with a deadtime of 30 s; expected at least the deadtime"],
        ),
        (
            b"deadtime 3\ninitdead 4",
            &[
                "ha.cf:2:10: warning: found an initdead of 4 s; expected 10 s or more; a peer that boots more slowly is taken for dead at start",
            ],
        ),
        (
            b"deadtime 3\ninitdead 2",
            &["ha.cf:2:10: error: found an initdead of 2 s with a deadtime of 3 s; expected at least the deadtime"],
        ),
        (
            b"deadping 2",
            &[
                "ha.cf:1:1: warning: found `deadping`, which has no effect yet; there are no ping nodes yet",
                "ha.cf:1:10: error: found a deadping of 2 s with a keepalive of 1 s; expected more than twice the keepalive, that is more than 2 s",
            ],
        ),
        (
            b"deadping 3",
            &["ha.cf:1:1: warning: found `deadping`, which has no effect yet; there are no ping nodes yet"],
        ),
        (b"failback_delay x", &["ha.cf:1:16: error: found `x`; expected a time: seconds, or with ms or us behind"]),
        (b"script_timeout 0", &["ha.cf:1:16: error: found `0`; expected a time above zero"]),
        (b"conn_logd_time 0", &["ha.cf:1:16: error: found `0`; expected a time above zero"]),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn numbers_and_words_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (b"hopfudge 256", &["ha.cf:1:10: error: found `256`; expected a whole number from 0 to 255"]),
        (b"hopfudge -1", &["ha.cf:1:10: error: found `-1`; expected a whole number from 0 to 255"]),
        (
            b"hopfudge 2x",
            &["ha.cf:1:10: warning: found `2x`; expected a whole number; it counts as 2, as in Heartbeat"],
        ),
        (
            b"hopfudge on",
            &["ha.cf:1:10: warning: found `on`; expected a whole number; it counts as 0, as in Heartbeat"],
        ),
        (b"debug 256", &["ha.cf:1:7: error: found `256`; expected a whole number from 0 to 255"]),
        (b"max_rexmit_delay 0", &["ha.cf:1:18: error: found `0`; expected a whole number from 1 to 3600000"]),
        (b"rtprio 100", &["ha.cf:1:8: error: found `100`; expected a whole number from 1 to 99"]),
        (b"memreserve 0", &["ha.cf:1:12: error: found `0`; expected a whole number from 1 to 2147483647"]),
        (
            b"memreserve 1000",
            &[
                "ha.cf:1:1: warning: found `memreserve`, which has no effect yet; all memory is set aside at start anyway",
            ],
        ),
        (b"moves_per_hour -1", &["ha.cf:1:16: error: found `-1`; expected a whole number from 0 to 10000"]),
        (b"realtime maybe", &["ha.cf:1:10: error: found `maybe`; expected `on` or `off`"]),
        (b"realtime onn", &["ha.cf:1:10: error: found `onn`; expected `on` or `off`; did you mean `on`?"]),
        (b"log_badpack x", &["ha.cf:1:13: error: found `x`; expected `on` or `off`"]),
        (b"syslogmsgfmt x", &["ha.cf:1:14: error: found `x`; expected `on` or `off`"]),
        (b"coredumps x", &["ha.cf:1:11: error: found `x`; expected `on` or `off`"]),
        (
            b"coredumps yes",
            &[
                "ha.cf:1:1: warning: found `coredumps`, which has no effect yet; the limits that the daemon was started with hold",
            ],
        ),
        (
            b"coreroot cores",
            &[
                "ha.cf:1:1: warning: found `coreroot`, which has no effect yet; the system's core_pattern holds",
                "ha.cf:1:10: warning: found `cores`; expected a path that begins with `/`; it is looked for where the daemon was started",
            ],
        ),
        (b"uuidfrom File", &["ha.cf:1:10: error: found `File`; expected `file` or `nodename`; did you mean `file`?"]),
        (b"hbgenmethod clock", &["ha.cf:1:13: error: found `clock`; expected `file` or `time`"]),
        (b"msgfmt net", &["ha.cf:1:8: error: found `net`; expected `classic` or `netstring`"]),
        (
            b"msgfmt netstring",
            &[
                "ha.cf:1:8: warning: found `msgfmt netstring`; expected `classic`; a Heartbeat with it loses a message at each takeover and then never ends it",
            ],
        ),
        (b"autojoin x", &["ha.cf:1:10: error: found `x`; expected `none`, `other` or `any`"]),
        (b"autojoin none", &[]),
        (
            b"autojoin Any",
            &[
                "ha.cf:1:1: warning: found `autojoin`, which has no effect yet; nodes are those of the `node` lines",
                "ha.cf:1:10: error: found `autojoin any` beside haresources; expected `autojoin none`; with haresources the nodes are those of the `node` lines",
            ],
        ),
        (
            b"crm off\nautojoin any",
            &[
                "ha.cf:2:1: warning: found `autojoin`, which has no effect yet; nodes are those of the `node` lines",
                "ha.cf:2:10: error: found `autojoin any` beside haresources; expected `autojoin none`; with haresources the nodes are those of the `node` lines",
            ],
        ),
        (b"log_format json", &["ha.cf:1:12: error: found `json`; expected `heartbeat` or `structured`"]),
        (b"takeover_policy safe", &[]),
        (
            b"takeover_policy save",
            &["ha.cf:1:17: error: found `save`; expected `safe` or `available`; did you mean `safe`?"],
        ),
        (b"on_stop_failure panic", &["ha.cf:1:17: error: found `panic`; expected `reboot` or `hold`"]),
        (b"compression gzip", &["ha.cf:1:13: error: found `gzip`; expected `zlib` or `bz2`"]),
        (
            b"compression zlib",
            &["ha.cf:1:1: warning: found `compression`, which has no effect yet; messages are never compressed"],
        ),
        (b"compression_threshold 0", &["ha.cf:1:23: error: found `0`; expected a whole number from 1 to 2147483647"]),
        (b"traditional_compression x", &["ha.cf:1:25: error: found `x`; expected `on` or `off`"]),
        (
            b"traditional_compression on",
            &[
                "ha.cf:1:1: warning: found `traditional_compression`, which has no effect yet; messages are never compressed",
            ],
        ),
        (b"traditional_compression off", &[]),
        (
            b"cluster x",
            &["ha.cf:1:1: warning: found `cluster`, which has no effect yet; it is only passed on to scripts"],
        ),
        (
            b"quorum_server q",
            &["ha.cf:1:1: warning: found `quorum_server`, which has no effect yet; no quorum server is asked"],
        ),
        (b"use_apphbd x", &["ha.cf:1:12: error: found `x`; expected `on` or `off`"]),
        (b"use_apphbd no", &[]),
        (b"record_config_changes maybe", &["ha.cf:1:23: error: found `maybe`; expected `on` or `off`"]),
        (
            b"record_config_changes on",
            &[
                "ha.cf:1:1: warning: found `record_config_changes`, which has no effect yet; it is only passed on to scripts",
            ],
        ),
        (
            b"record_pengine_inputs on",
            &[
                "ha.cf:1:1: warning: found `record_pengine_inputs`, which has no effect yet; it is only passed on to scripts",
            ],
        ),
        (
            b"enable_config_writes on",
            &[
                "ha.cf:1:1: warning: found `enable_config_writes`, which has no effect yet; it is only passed on to scripts",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn nodes_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (b"node alpha", &["ha.cf:1:6: warning: found only one node, `alpha`; expected two; there is no peer to take over"]),
        (b"node Gamma", &["ha.cf: warning: found no `node` line for the local node `alpha`; expected `gamma`; checked as `gamma`; --node NAME says which one this is", "ha.cf:1:6: warning: found only one node, `gamma`; expected two; there is no peer to take over", "haresources:1:1: error: found `alpha`, which is no node; expected a node of ha.cf"]),
        (b"node xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", &["ha.cf:1:6: error: found a node name of 100 bytes; expected at most 99"]),
        (b"node n0 n1 n2 n3 n4 n5 n6 n7 n8 n9 n10 n11 n12 n13 n14", &["ha.cf: warning: found no `node` line for the local node `alpha`; expected `n0`, `n1`, `n2`, `n3`, `n4`, `n5`, `n6`, `n7`, `n8`, `n9`, `n10`, `n11`, `n12`, `n13` or `n14`; checked as `n0`; --node NAME says which one this is", "haresources:1:1: error: found `alpha`, which is no node; expected a node of ha.cf", "haresources:1:1: error: found only `alpha`, while ha.cf has 15 nodes; expected two: ownership moves between exactly two nodes; give the partner a line with a group of its own, so that it is known"]),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

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
                "ha.cf:1:8: error: found `ttyS0`; expected the full path of a device, `baud N` or `flow none|rtscts`; did you mean `/dev/ttyS0`?",
            ],
        ),
        (
            b"serial dev/ttyS0",
            &[
                "ha.cf:1:8: error: found `dev/ttyS0`; expected the full path of a device, `baud N` or `flow none|rtscts`; did you mean `/dev/ttyS0`?",
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
                "ha.cf:1:19: error: found `buad`; expected the full path of a device, `baud N` or `flow none|rtscts`; did you mean `baud`?",
            ],
        ),
        (b"serial /dev/ttyS0 flow", &["ha.cf:1:19: error: found `flow` without a kind; expected `flow none|rtscts`"]),
        (
            b"serial /dev/ttyS0 flow nine",
            &["ha.cf:1:24: error: found `nine`; expected `none` or `rtscts`; did you mean `none`?"],
        ),
        (b"serial /dev/ttyS0,/dev/ttyS1 baud 115200 flow none", &[]),
        (
            b"serial /dev/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            &[
                "ha.cf:1:8: error: found a name of 65 bytes, `/dev/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`; expected at most 63 bytes",
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
            &["ha.cf:1:1: error: found `ucast` without arguments; expected `ucast DEV HOST [bind ADDRESS] [port N]`"],
        ),
        (
            b"ucast eth0",
            &[
                "ha.cf:1:1: error: found `ucast` without the peer's address; expected `ucast DEV HOST [bind ADDRESS] [port N]`",
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
            &["ha.cf:1:21: error: found `694`; expected `bind ADDRESS`, `port N` or nothing more"],
        ),
        (
            b"ucast eth0 10.0.0.3 prot 694",
            &[
                "ha.cf:1:21: error: found `prot`; expected `bind ADDRESS`, `port N` or nothing more; did you mean `port`?",
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
            b"ucast eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee 10.0.0.3",
            &[
                "ha.cf:1:7: warning: found `eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…`, which is no network interface here; expected a network interface",
                "ha.cf:1:7: error: found a name of 64 bytes, `eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…`; expected at most 63 bytes",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn media_without_effect_are_checked_and_named() {
    let table: &[(&[u8], &[&str])] = &[
        (b"bcast eth0", &["ha.cf:1:1: warning: found `bcast`, which has no effect yet; the line opens no link"]),
        (
            b"bcast eth9",
            &[
                "ha.cf:1:1: warning: found `bcast`, which has no effect yet; the line opens no link",
                "ha.cf:1:7: warning: found `eth9`, which is no network interface here; expected a network interface",
            ],
        ),
        (b"bcast", &["ha.cf:1:1: warning: found `bcast` without a value; expected interfaces; the line has no effect"]),
        (
            b"udp eth0",
            &[
                "ha.cf:1:1: warning: found `udp`, the old name of `bcast`; expected `bcast`",
                "ha.cf:1:1: warning: found `udp`, which has no effect yet; the line opens no link",
            ],
        ),
        (
            b"mcast eth0 225.0.0.1 694 1 0",
            &["ha.cf:1:1: warning: found `mcast`, which has no effect yet; the line opens no link"],
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
                "ha.cf:1:1: warning: found `mcast`, which has no effect yet; the line opens no link",
                "ha.cf:1:30: warning: found `9`; expected `mcast DEV GROUP PORT TTL LOOP`; it is ignored, as in Heartbeat",
            ],
        ),
        (
            b"ucast6 eth0",
            &["ha.cf:1:1: error: found `ucast6` without the peer's address; expected `ucast6 DEV ADDRESS`"],
        ),
        (
            b"ucast6 eth0 fe80::1%eth0",
            &["ha.cf:1:1: warning: found `ucast6`, which has no effect yet; the line opens no link"],
        ),
        (
            b"ucast6 eth0 fe80::1%eth1",
            &["ha.cf:1:13: error: found scope `eth1` beside interface `eth0`; expected one and the same interface"],
        ),
        (b"ucast6 eth0 ff02::1", &["ha.cf:1:13: error: found `ff02::1`; expected the peer's IPv6 address"]),
        (
            b"mcast6 eth0 ff02::1 694 1 0",
            &["ha.cf:1:1: warning: found `mcast6`, which has no effect yet; the line opens no link"],
        ),
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
        (
            b"ping 10.0.0.254",
            &[
                "ha.cf:1:1: warning: found `ping`, which has no effect yet; the host is not asked, and no takeover depends on it",
            ],
        ),
        (
            b"ping nowhere.example",
            &[
                "ha.cf:1:1: warning: found `ping`, which has no effect yet; the host is not asked, and no takeover depends on it",
                "ha.cf:1:6: warning: found `nowhere.example`, which is no IPv4 address and cannot be resolved here; expected an IPv4 address or a host name",
            ],
        ),
        (
            b"ping6 2001:db8::1",
            &[
                "ha.cf:1:1: warning: found `ping6`, which has no effect yet; the host is not asked, and no takeover depends on it",
            ],
        ),
        (b"ping6 router", &["ha.cf:1:7: error: found `router`; expected an IPv6 address in numbers"]),
        (b"ping_group", &["ha.cf:1:1: error: found `ping_group` without a name; expected `ping_group NAME HOST…`"]),
        (b"ping_group g", &["ha.cf:1:12: error: found a ping group without hosts; expected `ping_group NAME HOST…`"]),
        (
            b"ping_group g 10.0.0.254 nowhere.example",
            &[
                "ha.cf:1:1: warning: found `ping_group`, which has no effect yet; the hosts are not asked, and no takeover depends on them",
                "ha.cf:1:25: warning: found `nowhere.example`, which is no IPv4 address and cannot be resolved here; expected an IPv4 address or a host name",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn logging_is_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (
            b"logfacility locale0",
            &["ha.cf:1:13: error: found `locale0`; expected a syslog facility or `none`; did you mean `local0`?"],
        ),
        (
            b"logfile ha.log",
            &[
                "ha.cf:1:9: warning: found `ha.log`; expected a path that begins with `/`; it is looked for where the daemon was started",
            ],
        ),
        (b"logfile", &["ha.cf:1:1: warning: found `logfile` without a value; expected a path; the line has no effect"]),
        (b"use_logd maybe", &["ha.cf:1:10: error: found `maybe`; expected `on` or `off`"]),
        (
            b"use_logd on",
            &[
                "ha.cf:1:1: warning: found `use_logd`, which has no effect yet; messages go where logfile, debugfile and logfacility say",
            ],
        ),
        (b"use_logd off", &[]),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn resources_and_clients_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (b"auto_failback maybe", &["ha.cf:1:15: error: found `maybe`; expected `on`, `off` or `legacy`"]),
        (
            b"auto_failback legasy",
            &["ha.cf:1:15: error: found `legasy`; expected `on`, `off` or `legacy`; did you mean `legacy`?"],
        ),
        (
            b"auto_failback legacy",
            &[
                "ha.cf:1:15: warning: found `auto_failback legacy`, which is obsolete; expected `on` or `off`; between two nullbeats it is the same as `on`",
            ],
        ),
        (
            b"nice_failback on",
            &[
                "ha.cf:1:1: warning: found `nice_failback`, which is obsolete; expected `auto_failback on` or `auto_failback off`; as in Heartbeat its value is ignored and it counts as `auto_failback legacy`",
            ],
        ),
        (
            b"auto_failback on\nnice_failback off",
            &[
                "ha.cf:2:1: warning: found `nice_failback`, which is obsolete; expected `auto_failback on` or `auto_failback off`; as in Heartbeat its value is ignored and it counts as `auto_failback off`",
            ],
        ),
        (b"nice_failback x", &["ha.cf:1:15: error: found `x`; expected `on` or `off`"]),
        (
            b"split_brain_loser gamma",
            &["ha.cf:1:19: error: found `gamma`, which is no node; expected a node of the `node` lines"],
        ),
        (b"split_brain_loser Beta", &[]),
        (
            b"reset_with",
            &[
                "ha.cf:1:1: warning: found `reset_with` without a value; expected `reboot`, `sysrq` or `hook PATH`; the line has no effect",
            ],
        ),
        (
            b"reset_with rebot",
            &["ha.cf:1:12: error: found `rebot`; expected `reboot`, `sysrq` or `hook PATH`; did you mean `reboot`?"],
        ),
        (
            b"reset_with watchdog",
            &["ha.cf:1:12: error: found `watchdog`, which is not built yet; expected `reboot`, `sysrq` or `hook PATH`"],
        ),
        (b"reset_with hook", &["ha.cf:1:12: error: found `hook` without a program; expected `hook PATH`"]),
        (
            b"reset_with hook bin/reset",
            &["ha.cf:1:17: error: found `bin/reset`; expected the path of a program, beginning with `/`"],
        ),
        (
            b"reset_with hook /none",
            &[
                "ha.cf:1:17: warning: found `/none`, which is no executable file here; expected the program that resets the board",
            ],
        ),
        (b"reset_with hook /bin/reset now", &["ha.cf:1:28: error: found `now`; expected nothing more"]),
        (b"reset_with reboot now", &["ha.cf:1:19: error: found `now`; expected nothing more"]),
        (
            b"reset_with reboot\nreset_with sysrq",
            &[
                "ha.cf:2:12: warning: found a further `reset_with`; expected one; this one counts, the one in line 1 does not",
            ],
        ),
        (b"notify prog", &["ha.cf:1:8: error: found `prog`; expected the path of a program, beginning with `/`"]),
        (
            b"notify /none",
            &[
                "ha.cf:1:8: warning: found `/none`, which is no executable file here; expected a program; nobody is told of changes through it",
            ],
        ),
        (b"user nobody9", &["ha.cf:1:6: warning: found `nobody9`, who is no user here; expected a user name"]),
        (b"user root", &[]),
        (b"env A=b", &[]),
        (
            b"env A",
            &[
                "ha.cf:1:5: warning: found `A`; expected NAME=VALUE; it has no effect; commas and blanks separate values here",
            ],
        ),
        (
            b"env =b",
            &[
                "ha.cf:1:5: warning: found `=b`; expected NAME=VALUE; it has no effect; commas and blanks separate values here",
            ],
        ),
        (
            b"env STOPRETRYMAX=many",
            &[
                "ha.cf:1:5: warning: found `STOPRETRYMAX=many`; expected STOPRETRYMAX=NUMBER; a failing stop is tried again 10 times",
            ],
        ),
        (
            b"respawn",
            &[
                "ha.cf:1:1: error: found `respawn` without a user and a program; expected `respawn USER /PATH ARGUMENTS`",
            ],
        ),
        (
            b"respawn root",
            &["ha.cf:1:1: error: found `respawn` without a program; expected `respawn USER /PATH ARGUMENTS`"],
        ),
        (b"respawn root ipfail", &["ha.cf:1:14: error: found `ipfail`; expected the full path of a program"]),
        (
            b"respawn nobody9 /none",
            &[
                "ha.cf:1:1: warning: found `respawn`, which has no effect yet; the program is not started",
                "ha.cf:1:9: warning: found `nobody9`, who is no user here; expected a user name",
                "ha.cf:1:17: warning: found `/none`, which is no executable file here; expected a program",
            ],
        ),
        (
            b"respawn uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu /bin/x",
            &["ha.cf:1:9: error: found a user name of 64 bytes; expected at most 63"],
        ),
        (
            b"respawn root /bin/x -a # b",
            &["ha.cf:1:1: warning: found `respawn`, which has no effect yet; the program is not started"],
        ),
        (
            b"apiauth",
            &["ha.cf:1:1: error: found `apiauth` without a client; expected `apiauth CLIENT [uid=USERS] [gid=GROUPS]`"],
        ),
        (
            b"apiauth ping gid=haclient uid=root,1000",
            &["ha.cf:1:1: warning: found `apiauth`, which has no effect yet; there is no client interface to guard"],
        ),
        (
            b"apiauth ping gid=nogroup9 uid=nobody9",
            &[
                "ha.cf:1:1: warning: found `apiauth`, which has no effect yet; there is no client interface to guard",
                "ha.cf:1:14: warning: found `nogroup9`, which is no group here; expected a group name",
                "ha.cf:1:27: warning: found `nobody9`, which is no user here; expected a user name",
            ],
        ),
        (
            b"apiauth ping ui=root",
            &[
                "ha.cf:1:14: error: found `ui=root`; expected `apiauth CLIENT [uid=USERS] [gid=GROUPS]`; did you mean `uid`?",
            ],
        ),
        (
            b"apiauth ping uid=root\napiauth ping uid=root",
            &[
                "ha.cf:1:1: warning: found `apiauth`, which has no effect yet; there is no client interface to guard",
                "ha.cf:2:9: error: found a second `apiauth` for `ping`; expected one for each client",
            ],
        ),
        (b"crm off", &[]),
        (
            b"crm on",
            &[
                "ha.cf:1:1: warning: found `crm`, which has no effect yet; no Pacemaker is started; the groups are managed here, from haresources",
            ],
        ),
        (
            b"crm respwan",
            &[
                "ha.cf:1:5: error: found `respwan`; expected `on`, `off`, `respawn`, `minimal` or `manual`; did you mean `respawn`?",
            ],
        ),
        (
            b"crm on\npacemaker on",
            &[
                "ha.cf:1:1: warning: found `crm`, which has no effect yet; no Pacemaker is started; the groups are managed here, from haresources",
                "ha.cf:2:1: error: found `pacemaker` beside an earlier `crm` or `pacemaker`; expected only the one in line 1",
            ],
        ),
        (
            b"crm on off",
            &[
                "ha.cf:1:8: error: found a further value of `crm`, `off`; expected one value; the first one stands before it",
            ],
        ),
        (
            b"crm on\ncrm_daemon_dir /x",
            &[
                "ha.cf:1:1: warning: found `crm`, which has no effect yet; no Pacemaker is started; the groups are managed here, from haresources",
                "ha.cf:2:1: error: found `crm_daemon_dir` below `crm` or `pacemaker`; expected it above line 1",
            ],
        ),
        (b"crmd_spawns_pengine x", &["ha.cf:1:21: error: found `x`; expected `on` or `off`"]),
        (
            b"stonith",
            &[
                "ha.cf:1:1: error: found `stonith` without a type; expected `stonith TYPE CONFIGFILE`",
                "ha.cf:1:1: warning: found `stonith`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"stonith meatware",
            &[
                "ha.cf:1:1: error: found `stonith` without a configuration file; expected `stonith TYPE CONFIGFILE`",
                "ha.cf:1:1: warning: found `stonith`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"stonith meatware /etc/ha.d/st.cfg",
            &[
                "ha.cf:1:1: warning: found `stonith`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"stonith_host",
            &["ha.cf:1:1: error: found `stonith_host` without a host; expected `stonith_host HOST TYPE PARAMETERS`"],
        ),
        (
            b"stonith_host beta meatware alpha",
            &["ha.cf:1:1: note: found `stonith_host` for `beta`; it is not looked at on `alpha`"],
        ),
        (
            b"stonith_host *",
            &[
                "ha.cf:1:1: warning: found `stonith_host`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
                "ha.cf:1:14: error: found `stonith_host` without a type; expected `stonith_host HOST TYPE PARAMETERS`",
            ],
        ),
        (
            b"stonith_host alpha meatware beta",
            &[
                "ha.cf:1:1: warning: found `stonith_host`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"watchdog /dev/watchdog",
            &[
                "ha.cf:1:1: warning: found `watchdog`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"watchdog /dev/watchdog /dev/watchdog1",
            &[
                "ha.cf:1:1: warning: found `watchdog`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
                "ha.cf:1:24: error: found a further value of `watchdog`, `/dev/watchdog1`; expected one value; the first one stands before it",
            ],
        ),
        (
            b"failfast root",
            &[
                "ha.cf:1:1: error: found `failfast` without a program; expected `failfast USER /PATH ARGUMENTS`",
                "ha.cf:1:1: warning: found `failfast`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"failfast root /bin/x",
            &[
                "ha.cf:1:1: warning: found `failfast`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"fence gpio 1",
            &[
                "ha.cf:1:1: warning: found `fence`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"interlock gpio 2",
            &[
                "ha.cf:1:1: warning: found `interlock`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
        (
            b"board apu2",
            &[
                "ha.cf:1:1: warning: found `board`, which asks for a safety that is not built yet; `nullbeat run` refuses to start with it (exit 78) unless --unfenced is given",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn long_lines_and_long_names_are_answered() {
    let long = "keepalive 1 # ".to_owned() + &"x".repeat(5200);
    let said_of = |text: &str| said(Purpose::Check, "ha.cf", &complete(text.as_bytes()));
    assert_eq!(
        said_of(&long),
        [
            "ha.cf:1:1: warning: found a line of 5214 bytes; expected at most 5119; Heartbeat cuts it there and takes the rest for a line of its own; here it counts whole"
        ]
    );
    assert!(
        said_of(&("node ".to_owned() + &"x".repeat(100)))[0]
            .contains("found a node name of 100 bytes; expected at most 99")
    );
    let many: Vec<String> = (0..17).map(|number| format!("n{number}")).collect();
    let said = said_of(&("node alpha beta ".to_owned() + &many.join(" ")));
    assert_eq!(said[0], "ha.cf:1:63: error: found `n14`, one node too many; expected at most 16 nodes");
    let lines: Vec<String> = (0..17).map(|number| format!("ucast eth0 10.0.1.{number}")).collect();
    assert_eq!(said_of(&lines.join("\n")), ["ha.cf:17:1: error: found one medium too many; expected at most 16"]);
}

#[test]
fn what_is_missing_altogether_is_said_once() {
    let directory = Directory::new();
    directory.write("ha.cf", "");
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
    assert_eq!(
        directory.messages(&loaded),
        [
            "ha.cf: error: found no link to the peer; expected a `serial` or `ucast` line",
            "ha.cf: error: found no node; expected a `node` line that names both nodes",
            "ha.cf: warning: found no `auto_failback`; expected `auto_failback on` or `auto_failback off`; as in Heartbeat it is then `legacy`",
            "ha.cf: note: found no `takeover_policy`; it is then `available`, as in Heartbeat: while all links are cut both nodes may own a group",
            "ha.cf: warning: found no place for messages; expected `logfile`, `debugfile` or `logfacility`; Heartbeat would use its logging daemon; here they only go to standard error",
        ]
    );
    directory.write("ha.cf", "use_logd off\nlogfacility none");
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
    assert!(
        directory.messages(&loaded).contains(
            &"ha.cf:1:10: error: found `use_logd off` without another place for messages; expected `logfile`, `debugfile` or `logfacility`".into()
        )
    );
}

#[test]
fn media_that_open_no_link_are_no_link() {
    let text =
        b"bcast eth0\nping 10.0.0.254\nnode alpha beta\nlogfacility local0\nauto_failback on\ntakeover_policy safe";
    assert_eq!(
        said(Purpose::Check, "ha.cf", text),
        [
            "ha.cf: error: found no link to the peer but what has no effect yet: `bcast` in line 1, `ping` in line 2; expected a `serial` or `ucast` line",
            "ha.cf:1:1: warning: found `bcast`, which has no effect yet; the line opens no link",
            "ha.cf:2:1: warning: found `ping`, which has no effect yet; the host is not asked, and no takeover depends on it",
        ]
    );
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
            &[
                "ha.cf:1:1: warning: found `bcast`, which has no effect yet; the line opens no link",
                "ha.cf:1:7: warning: found `eth9`, which is no network interface here; expected a network interface",
            ],
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
                "ha.cf: error: found no link to the peer; expected a `serial` or `ucast` line",
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
fn safety_that_is_not_built_refuses_to_run_unless_waived() {
    let directory = Directory::new();
    directory.write(
        "ha.cf",
        complete(b"watchdog /dev/watchdog\nstonith_host * meatware beta\nstonith_host beta x\nboard apu2\nboard x"),
    );
    let machine = board();
    let run = LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) };
    let loaded = directory.load(&run);
    assert!(loaded.config.is_none());
    assert_eq!(
        directory.messages(&loaded)[..3],
        [
            "ha.cf:1:1: error: found `watchdog`, which asks for a safety that is not built yet; remove the line, or give --unfenced to run without it",
            "ha.cf:2:1: error: found `stonith_host`, which asks for a safety that is not built yet; remove the line, or give --unfenced to run without it",
            "ha.cf:3:1: note: found `stonith_host` for `beta`; it is not looked at on `alpha`",
        ]
    );
    for options in [
        LoadOptions { is_unfenced: true, ..run.clone() },
        LoadOptions { purpose: Purpose::Check, is_unfenced: true, ..run },
    ] {
        let loaded = directory.load(&options);
        assert_eq!(
            directory.messages(&loaded)[0],
            "ha.cf:1:1: warning: found `watchdog`, which asks for a safety that is not built yet; the daemon runs without it, because of --unfenced"
        );
        assert_eq!(loaded.config.expect("loads").unbuilt_safety, ["watchdog", "stonith_host", "board"]);
    }
}

#[test]
fn serial_lines_that_cannot_carry_the_beats_are_told_with_the_arithmetic() {
    let table: &[(&[u8], &[&str])] = &[
        (
            b"serial /dev/ttyS0 baud 9600\nkeepalive 200ms\ndeadtime 5",
            &[
                "ha.cf:1:8: error: found a keepalive of 200 ms at 9600 baud; expected at least 221 ms: 212 bytes of 10 bits each at 9600 bits a second take 221 ms; raise keepalive or baud",
            ],
        ),
        (
            b"serial /dev/ttyS0 baud 9600\nkeepalive 240ms\ndeadtime 5",
            &[
                "ha.cf:1:8: warning: found a keepalive of 240 ms at 9600 baud; expected more than 251 ms, with a longer beat and an acknowledgement every tenth time; 212 bytes of 10 bits each at 9600 bits a second take 221 ms; the line is always busy and falls behind",
            ],
        ),
        (
            b"serial /dev/ttyS0\nkeepalive 200ms\ndeadtime 500ms\ninitdead 12",
            &[
                "ha.cf:1:8: warning: found a deadtime of 500 ms at 19200 baud; expected at least 552 ms: twice the keepalive of 200 ms and the 152 ms that a long beat takes",
            ],
        ),
        (b"serial /dev/ttyS0 baud 115200\nkeepalive 200ms\ndeadtime 500ms\ninitdead 12", &[]),
        (
            b"baud 115200\nserial /dev/ttyS0\nserial /dev/ttyS1 baud 9600\nkeepalive 200ms\ndeadtime 5",
            &[
                "ha.cf:3:8: error: found a keepalive of 200 ms at 9600 baud; expected at least 221 ms: 212 bytes of 10 bits each at 9600 bits a second take 221 ms; raise keepalive or baud",
            ],
        ),
    ];
    expect(Purpose::Check, "ha.cf", table);
}
