//! ha.cf: what is said to each kind of mistake in lines about logging, resources, clients and safety.

use super::*;
use crate::core::limits::CLIENT_LINES_MAX;

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
        (b"use_logd on", &[]),
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
                "ha.cf:1:1: warning: found `reset_with` without a value; expected `reboot`, `sysrq`, `watchdog` or `hook PATH`; the line has no effect",
            ],
        ),
        (
            b"reset_with rebot",
            &[
                "ha.cf:1:12: error: found `rebot`; expected `reboot`, `sysrq`, `watchdog` or `hook PATH`; did you mean `reboot`?",
            ],
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
        (b"reassert prog", &["ha.cf:1:10: error: found `prog`; expected the path of a program, beginning with `/`"]),
        (
            b"reassert /none",
            &[
                "ha.cf:1:10: warning: found `/none`, which is no executable file here; expected a program; a group is not announced once more through it",
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
                "ha.cf:1:9: warning: found `nobody9`, who is no user here; expected a user name",
                "ha.cf:1:17: warning: found `/none`, which is no executable file here; expected a program",
            ],
        ),
        (
            b"respawn uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu /bin/x",
            &["ha.cf:1:9: error: found a user name of 64 bytes; expected at most 63"],
        ),
        (b"respawn root /bin/x -a # b", &[]),
        (
            b"apiauth",
            &["ha.cf:1:1: error: found `apiauth` without a client; expected `apiauth CLIENT [uid=USERS] [gid=GROUPS]`"],
        ),
        (b"apiauth ping gid=haclient uid=root,1000", &[]),
        (
            b"apiauth ping",
            &[
                "ha.cf:1:9: error: found `ping` without users and groups; expected `apiauth CLIENT [uid=USERS] [gid=GROUPS]`",
            ],
        ),
        (
            b"apiauth ping uid=root uid=1",
            &["ha.cf:1:23: error: found a second `uid=`; expected `apiauth CLIENT [uid=USERS] [gid=GROUPS]`"],
        ),
        (
            b"apiauth cccccccccccccccccccccccccccccccc uid=root",
            &["ha.cf:1:9: error: found a client name of 32 bytes; expected at most 31"],
        ),
        (
            b"apiauth ping gid=nogroup9 uid=nobody9",
            &[
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
            &["ha.cf:2:9: error: found a second `apiauth` for `ping`; expected one for each client"],
        ),
        (b"crm off", &[]),
        (
            b"crm on",
            &[
                "ha.cf:1:1: error: found `crm on`; expected `off`, or no such line; with it Heartbeat leaves the groups to Pacemaker, which nullbeat does not start; remove the line to have nullbeat run the groups of haresources",
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
                "ha.cf:1:1: error: found `crm on`; expected `off`, or no such line; with it Heartbeat leaves the groups to Pacemaker, which nullbeat does not start; remove the line to have nullbeat run the groups of haresources",
                "ha.cf:2:1: error: found `pacemaker` beside an earlier `crm` or `pacemaker`; expected only the one in line 1",
            ],
        ),
        (
            b"crm on off",
            &[
                "ha.cf:1:1: error: found `crm on`; expected `off`, or no such line; with it Heartbeat leaves the groups to Pacemaker, which nullbeat does not start; remove the line to have nullbeat run the groups of haresources",
                "ha.cf:1:8: error: found a further value of `crm`, `off`; expected one value; the first one stands before it",
            ],
        ),
        (
            b"crm on\ncrm_daemon_dir /x",
            &[
                "ha.cf:1:1: error: found `crm on`; expected `off`, or no such line; with it Heartbeat leaves the groups to Pacemaker, which nullbeat does not start; remove the line to have nullbeat run the groups of haresources",
                "ha.cf:2:1: error: found `crm_daemon_dir` below `crm` or `pacemaker`; expected it above line 1",
            ],
        ),
        (b"crmd_spawns_pengine x", &["ha.cf:1:21: error: found `x`; expected `on` or `off`"]),
        (
            b"failfast root",
            &["ha.cf:1:1: error: found `failfast` without a program; expected `failfast USER /PATH ARGUMENTS`"],
        ),
        (b"failfast root /bin/x", &[]),
    ];
    expect(Purpose::Check, "ha.cf", table);
}

#[test]
fn clients_must_be_there_when_about_to_run() {
    let table: &[(&[u8], &[&str])] = &[(
        b"respawn nobody9 /none\nfailfast root /none a",
        &[
            "ha.cf:1:9: error: found `nobody9`, who is no user here; expected a user name",
            "ha.cf:1:17: error: found `/none`, which is no executable file here; expected a program",
            "ha.cf:2:15: error: found `/none`, which is no executable file here; expected a program",
        ],
    )];
    expect(Purpose::Run, "ha.cf", table);
}

#[test]
fn clients_are_read_with_their_command_as_it_stands() {
    let directory = Directory::new();
    let lines =
        b"respawn hacluster /bin/x  'a  b'\tc # remark\nfailfast root /bin/y\napiauth ping gid=haclient uid=root,7";
    directory.write("ha.cf", complete(lines));
    let config = load_as(&directory, "alpha", &board());
    let seen: Vec<_> = config
        .clients
        .iter()
        .map(|line| (line.user.uid, line.groups.as_slice(), line.command.as_str(), line.is_failfast))
        .collect();
    assert_eq!(seen, [(900, &[900][..], "/bin/x  'a  b' c", false), (0, &[0][..], "/bin/y", true)]);
    assert_eq!(config.clients[0].program(), std::path::Path::new("/bin/x"));
    let auth = ApiAuth { client: "ping".into(), uids: vec![0, 7], gids: vec![901] };
    assert_eq!(config.api_auth, [auth]);
}

#[test]
fn clients_beyond_the_table_are_refused() {
    let directory = Directory::new();
    let lines = "respawn root /bin/x\n".repeat(CLIENT_LINES_MAX + 1);
    directory.write("ha.cf", complete(lines.as_bytes()));
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    assert!(loaded.config.is_none());
    let said = "ha.cf:17:1: error: found a further `respawn`; expected at most 16 lines of `respawn` and `failfast`";
    assert_eq!(directory.messages(&loaded)[0], said);
}
