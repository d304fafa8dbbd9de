//! authkeys: what is said to each kind of mistake, and which key signs.

use super::*;

#[test]
fn lines_and_words_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (
            b"auth 1\n1 crc",
            &[
                "authkeys:1:1: warning: found `crc`, a checksum without a secret, beside a network link; expected `sha1` and a key; with it everybody on the network can speak for the peer",
            ],
        ),
        (b"auth 2\n2 sha1 secret-of-both-nodes", &[]),
        (b"  # remark\n\n auth 15\n15 md5 secret-of-both-nodes # remark", &[]),
        (b"", &["authkeys: error: found no `auth` line; expected a line `auth N` above the key N that signs"]),
        (
            b"1 sha1 secret-of-both-nodes",
            &["authkeys: error: found no `auth` line; expected a line `auth N` above the key N that signs"],
        ),
        (b"auth 1", &["authkeys:1:1: error: found `auth 1`; expected a line `1 METHOD KEY` below it"]),
        (
            b"auth 1\n2 sha1 secret-of-both-nodes",
            &["authkeys:1:1: error: found `auth 1`; expected a line `1 METHOD KEY` below it; the only key is number 2"],
        ),
        (
            b"auth 1\n2 sha1 secret-of-both-nodes\n3 sha1 secret-of-both-nodes",
            &["authkeys:1:1: error: found `auth 1`; expected a line `1 METHOD KEY` below it"],
        ),
        (
            b"1 sha1 secret-of-both-nodes\nauth 1",
            &[
                "authkeys:2:1: error: found `auth 1`; expected a line `1 METHOD KEY` below it; the `auth` line has to stand above the key that it selects",
            ],
        ),
        (b"auth 1\n1 sha1 secret-of-both-nodes\nauth 2\n2 md5 other-secret-of-both", &[]),
        (
            b"auth 1\n1 sha1 secret-of-both-nodes\nauth 1",
            &[
                "authkeys:3:1: error: found `auth 1`; expected a line `1 METHOD KEY` below it; the `auth` line has to stand above the key that it selects",
            ],
        ),
        (b"auth\n1 crc", &["authkeys:1:1: error: found `auth` without a number; expected `auth N`"]),
        (
            b"auth x\n1 crc",
            &["authkeys:1:6: error: found a word that is no number; expected a key number from 0 to 15"],
        ),
        (b"auth 16\n1 crc", &["authkeys:1:6: error: found `16`; expected a key number from 0 to 15"]),
        (
            b"auth -1\n1 crc",
            &["authkeys:1:6: error: found a word that is no number; expected a key number from 0 to 15"],
        ),
        (b"authorize 1\n1 crc", &["authkeys:1:1: error: found an unknown word; expected `auth N` or `N METHOD KEY`"]),
        (
            b"auth 1 2\n1 crc",
            &[
                "authkeys:1:1: warning: found `crc`, a checksum without a secret, beside a network link; expected `sha1` and a key; with it everybody on the network can speak for the peer",
                "authkeys:1:8: warning: found a further word; expected nothing more, as a key ends at the first blank; it is ignored",
            ],
        ),
        (b"auth 1\n1", &["authkeys:2:1: error: found a line of one word; expected `auth N` or `N METHOD KEY`"]),
        (
            b"auth 1\n1 SHA1 secret-of-both-nodes",
            &["authkeys:2:3: error: found an unknown method; expected `crc`, `md5` or `sha1`; did you mean `sha1`?"],
        ),
        (b"auth 1\n1 secret", &["authkeys:2:3: error: found an unknown method; expected `crc`, `md5` or `sha1`"]),
        (
            b"auth 1\n1 sha256 secret-of-both-nodes",
            &["authkeys:2:3: error: found an unknown method; expected `crc`, `md5` or `sha1`"],
        ),
        (b"auth 1\n1 sha1", &["authkeys:2:3: error: found `sha1` without a key; expected `1 sha1 KEY`"]),
        (
            b"auth 1\n1 crc secret",
            &["authkeys:2:7: error: found a key for `crc`; expected `crc` alone, or `sha1` before the key"],
        ),
        (
            b"auth 1\n1 crc # remark",
            &["authkeys:2:7: error: found a key for `crc`; expected `crc` alone, or `sha1` before the key"],
        ),
        (
            b"auth 1\n16 sha1 secret-of-both-nodes",
            &["authkeys:2:1: error: found `16`; expected a key number from 0 to 15"],
        ),
        (
            b"auth 1\nx sha1 secret-of-both-nodes",
            &["authkeys:2:1: error: found an unknown word; expected `auth N` or `N METHOD KEY`"],
        ),
        (
            b"ath 1\n1 sha1 secret-of-both-nodes",
            &["authkeys:1:1: error: found an unknown word; expected `auth N` or `N METHOD KEY`; did you mean `auth`?"],
        ),
        (
            b"auth 1\n1 sha1 my-secret-of-both-nodes secret",
            &[
                "authkeys:2:32: warning: found a further word; expected nothing more, as a key ends at the first blank; it is ignored",
            ],
        ),
        (b"auth 1\n1 sha1 #secret-of-both-nodes", &[]),
        (
            b"auth 1\n1 sha1 secret-of-both-nodes\n1 md5 other-secret-of-both",
            &["authkeys:3:1: warning: found key 1 a second time; expected each number once; the last one counts"],
        ),
        (b"auth 1\n1 sha1 se\0cret", &["authkeys:2:8: error: found a NUL byte in a key; expected text"]),
        (b"auth 1\n1 sha1 \xe4\xf6-secret-of-both", &[]),
        (b"auth 1\n1 md5 sixteen-letters!", &[]),
        (
            b"auth 1\n1 md5 fifteen-letters",
            &[
                "authkeys:2:7: warning: found a key of 15 bytes; expected 16 or more; `head -c 24 /dev/urandom | base64` makes a good one",
            ],
        ),
        (b"auth 1\r\n1 sha1 secret-of-both-nodes\r\n", &[]),
    ];
    expect(Purpose::Check, "authkeys", table);
}

fn keys(text: &[u8]) -> (u8, Vec<AuthKey>) {
    let directory = Directory::new();
    directory.write("authkeys", text);
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings));
    (config.signing_key, config.keys)
}

fn key(number: u8, method: AuthMethod, key: &[u8]) -> AuthKey {
    AuthKey { number, method, key: key.to_vec() }
}

#[test]
fn keys_are_read_and_the_last_selection_signs() {
    use AuthMethod::{Crc, Md5, Sha1};
    let text = b" # x\nauth 1\n1 crc\r\nauth 3 # y\n0 sha1 #k\n3 md5 Hello! # no part of it\n15 sha1 \xe4\xf6\n";
    let expected = vec![key(1, Crc, b""), key(0, Sha1, b"#k"), key(3, Md5, b"Hello!"), key(15, Sha1, b"\xe4\xf6")];
    assert_eq!(keys(text), (3, expected));
    assert_eq!(keys(b"auth 1\n1 sha1 a\n1 md5 b"), (1, vec![key(1, Md5, b"b")]));
}

#[test]
fn files_that_others_may_read_are_refused() {
    let directory = Directory::new();
    let machine = board();
    for (mode, is_fine) in [(0o600, true), (0o700, true), (0o611, true), (0o640, false), (0o604, false), (0o644, false)]
    {
        directory.permit("authkeys", mode);
        let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
        let messages = directory.messages(&loaded);
        if is_fine {
            assert_eq!(messages, [""; 0], "{mode:o}");
        } else {
            let expected = format!(
                "authkeys: error: found a file that others may read (mode {mode:04o}); expected mode 0600; chmod 600 authkeys"
            );
            assert_eq!(messages, [expected]);
        }
    }
}

#[test]
fn files_that_others_may_write_are_warned_of() {
    let directory = Directory::new();
    let mut machine = board();
    let load = |machine: &_| directory.load(&LoadOptions { machine, ..LoadOptions::new(Purpose::Check) });
    let warning = |name: &str, mode: u32| {
        format!(
            "{name}: warning: found a file that others may write (mode {mode:04o}); \
             expected a file that only its owner may write; chmod go-w {name}"
        )
    };
    for (name, mode) in
        [("ha.cf", 0o666), ("haresources", 0o602), ("authkeys", 0o602), ("authkeys", 0o620), ("authkeys", 0o622)]
    {
        directory.permit(name, mode);
        let loaded = load(&machine);
        assert!(loaded.config.is_some());
        assert_eq!(directory.messages(&loaded), [warning(name, mode)]);
        directory.permit(name, 0o600);
    }
    directory.permit("ha.cf", 0o664);
    assert_eq!(directory.messages(&load(&machine)), [""; 0], "a group that works together may have it");
    let script = directory.0.join("resource.d/httpd");
    machine.open_files.insert(script);
    let messages = directory.messages(&load(&machine));
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains("resource.d/httpd\u{60}, which everybody may write"), "{messages:?}");
}

#[test]
fn keys_are_never_repeated() {
    for text in [
        "auth 1\n1 hunter2",
        "auth 1\n1 sha1 a hunter2",
        "auth 1\nhunter2 sha1",
        "ahunter2\n",
        "auth hunter2\n",
        "auth 1\n1 sha1\nhunter2\n",
        "hunter2\n",
        "auth 1\n1 crc hunter2",
    ] {
        let said = said(Purpose::Check, "authkeys", text.as_bytes());
        assert!(!said.is_empty() && !said.concat().contains("hunter2"), "{said:?}");
    }
}

#[test]
fn checksums_are_fine_on_a_cable() {
    let directory = Directory::new();
    directory.write("authkeys", "auth 1\n1 crc\n");
    directory.write(
        "ha.cf",
        "serial /dev/ttyS0\nnode alpha beta\nlogfacility local0\nauto_failback on\ntakeover_policy safe",
    );
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Check) });
    assert_eq!(directory.messages(&loaded), [""; 0]);
}
