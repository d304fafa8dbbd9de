//! ha.cf: what is said to each kind of mistake in lines, times, numbers and nodes.

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
                "ha.cf:1:10: error: found a deadping of 2 s with a keepalive of 1 s; expected more than twice the keepalive, that is more than 2 s",
            ],
        ),
        (b"deadping 3", &[]),
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
        (b"moves_per_hour -1", &["ha.cf:1:16: error: found `-1`; expected a whole number from 0 to 32"]),
        (b"moves_per_hour 32", &[]),
        (b"moves_per_hour 33", &["ha.cf:1:16: error: found `33`; expected a whole number from 0 to 32"]),
        (b"realtime maybe", &["ha.cf:1:10: error: found `maybe`; expected `on` or `off`"]),
        (b"realtime onn", &["ha.cf:1:10: error: found `onn`; expected `on` or `off`; did you mean `on`?"]),
        (b"log_badpack x", &["ha.cf:1:13: error: found `x`; expected `on` or `off`"]),
        (b"syslogmsgfmt x", &["ha.cf:1:14: error: found `x`; expected `on` or `off`"]),
        (b"coredumps x", &["ha.cf:1:11: error: found `x`; expected `on` or `off`"]),
        (b"coredumps yes", &[]),
        (
            b"coreroot cores",
            &[
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
                "ha.cf:1:10: error: found `autojoin any` beside haresources; expected `autojoin none`; with haresources the nodes are those of the `node` lines",
            ],
        ),
        (
            b"crm off\nautojoin any",
            &[
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
        (b"compression zlib", &[]),
        (b"compression bz2", &[]),
        (b"compression_threshold 0", &["ha.cf:1:23: error: found `0`; expected a whole number from 1 to 2147483647"]),
        (b"traditional_compression x", &["ha.cf:1:25: error: found `x`; expected `on` or `off`"]),
        (b"compression zlib\ncompression_threshold 1\ntraditional_compression on", &[]),
        (
            b"traditional_compression on\ncompression bz2",
            &[
                "ha.cf:2:13: warning: found `compression bz2`; expected `zlib`; our own messages are packed with zlib all the same; both are unpacked, whatever is set",
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
        (b"use_apphbd yes", &[]),
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
            "ha.cf: error: found no link to the peer; expected a `serial`, `ucast`, `bcast`, `mcast`, `ucast6` or `mcast6` line",
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
