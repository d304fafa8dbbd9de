//! haresources: what is said to each kind of mistake, and what the lines mean.

use super::*;

#[test]
fn lines_and_words_are_answered() {
    let table: &[(&[u8], &[&str])] = &[
        (b"alpha IPaddr::10.0.0.1 httpd", &[]),
        (b" Alpha  IPaddr::10.0.0.1 \t httpd  # remark", &[]),
        (b"gamma httpd", &["haresources:1:1: error: found `gamma`, which is no node; expected a node of ha.cf"]),
        (
            b"alhpa httpd",
            &[
                "haresources:1:1: error: found `alhpa`, which is no node; expected a node of ha.cf; did you mean `alpha`?",
            ],
        ),
        (b"10.9.9.9 httpd", &["haresources:1:1: error: found `10.9.9.9`, which is no node; expected a node of ha.cf"]),
        (
            b"alpha",
            &[
                "haresources: warning: found no resource group; expected a line `NODE RESOURCE…`; nothing is ever moved",
                "haresources:1:1: warning: found node `alpha` without resources; expected resources; the line has no effect",
            ],
        ),
        (
            b"alpha #httpd",
            &[
                "haresources: warning: found no resource group; expected a line `NODE RESOURCE…`; nothing is ever moved",
                "haresources:1:1: warning: found node `alpha` without resources; expected resources; the line has no effect",
            ],
        ),
        (
            b"",
            &["haresources: warning: found no resource group; expected a line `NODE RESOURCE…`; nothing is ever moved"],
        ),
        (
            b"# nothing",
            &["haresources: warning: found no resource group; expected a line `NODE RESOURCE…`; nothing is ever moved"],
        ),
        (
            b"alpha httpd\nbeta httpd",
            &[
                "haresources:2:6: error: found group `httpd`, a second time; expected a first resource that is unique; a group is known by its first resource, and line 1 has the same",
            ],
        ),
        (
            b"alpha httpd\nalpha httpd",
            &[
                "haresources:2:7: error: found group `httpd`, a second time; expected a first resource that is unique; a group is known by its first resource, and line 1 has the same",
            ],
        ),
        (
            b"alpha a c\nbeta b c",
            &[
                "haresources:2:8: warning: found resource `c`, a second time; expected each resource once; it also stands in line 1, and stopping either group stops it",
            ],
        ),
        (
            b"alpha a\nbeta b a",
            &[
                "haresources:2:8: warning: found resource `a`, a second time; expected each resource once; it also stands in line 1; Heartbeat takes the lines of a group's first resource for one",
            ],
        ),
        (
            b"alpha a a",
            &[
                "haresources:1:9: warning: found resource `a`, a second time; expected each resource once; it is started once and stopped twice",
            ],
        ),
        (
            b"alpha 10.0.0.1\nbeta 10.0.0x1",
            &[
                "haresources:1:7: warning: found `10.0.0.1` beside `10.0.0x1` in line 2; expected names that differ in more than a point; they are told apart here; Heartbeat's scripts take a point for any character",
            ],
        ),
        (
            b"alpha a*b",
            &[
                "haresources:1:7: warning: found `*` in `a*b`; expected plain words; it stands for itself here; Heartbeat's scripts hand it to the shell, which interprets it",
            ],
        ),
        (
            b"alpha a$b c;d",
            &[
                "haresources:1:7: warning: found `$` in `a$b`; expected plain words; it stands for itself here; Heartbeat's scripts hand it to the shell, which interprets it",
                "haresources:1:11: warning: found `;` in `c;d`; expected plain words; it stands for itself here; Heartbeat's scripts hand it to the shell, which interprets it",
            ],
        ),
        (
            b"alpha ~a",
            &[
                "haresources:1:7: warning: found `~` in `~a`; expected plain words; it stands for itself here; Heartbeat's scripts hand it to the shell, which interprets it",
            ],
        ),
        (
            b"alpha a \\\nb # c \\\nd",
            &[
                "haresources:2:3: warning: found `#`; expected a resource; on a continued line it does not begin a remark: it and what follows are resources",
            ],
        ),
        (b"alpha a\\\nb", &[]),
        (
            b"alpha a # c \\\nbeta d",
            &[
                "haresources:1:13: warning: found `\\` at the end of a remark; expected it before the remark, or not at all; a remark is not continued, and neither is its line: the next one stands for itself",
            ],
        ),
        (b"# c \\\nbeta d", &[]),
        (
            b"alpha a \\",
            &["haresources:1:9: warning: found `\\` at the end of the file; expected a further line; it is ignored"],
        ),
        (
            b"alpha a\r\nbeta b\r",
            &[
                "haresources:1:8: warning: found a carriage return at the end of a line; expected Unix line ends; it is ignored here; Heartbeat's scripts take it for a part of the last word",
            ],
        ),
        (b"alpha a\0", &["haresources:1:8: error: found the control character 0x00; expected text"]),
        (b"alpha a\x0cb", &["haresources:1:8: error: found the control character 0x0c; expected text"]),
        (
            b"alpha MailTo::a@b::St\xf6rung",
            &[
                "haresources:1:22: error: found the byte 0xf6, which is not UTF-8; expected UTF-8 text; if the file was written in another encoding, `iconv -t UTF-8` converts it",
            ],
        ),
        (
            b"\xef\xbb\xbfalpha a",
            &["haresources:1:1: error: found a byte order mark; expected text; save the file as UTF-8 without it"],
        ),
        (b"alpha ::x", &["haresources:1:7: error: found `::x`; expected the name of a script before `::`"]),
        (
            b"alpha a::::b a::",
            &[
                "haresources:1:7: warning: found an empty argument in `a::::b`; expected text after each `::`; it is left out, as in Heartbeat",
                "haresources:1:14: warning: found an empty argument in `a::`; expected text after each `::`; it is left out, as in Heartbeat",
            ],
        ),
        (
            b"alpha IPaddr",
            &["haresources:1:7: warning: found `IPaddr` without an address; expected `::` and an address"],
        ),
        (
            b"alpha IPaddr::10.0.0.300/24",
            &[
                "haresources:1:7: warning: found `10.0.0.300` in `IPaddr::10.0.0.300/24`; expected an IPv4 address; the script will refuse it",
            ],
        ),
        (
            b"alpha 10.0.0.1/24/eth0 10.0.0.1.5",
            &[
                "haresources:1:24: warning: found `10.0.0.1.5` in `10.0.0.1.5`; expected an IPv4 address; the script will refuse it",
            ],
        ),
        (
            b"alpha IPv6addr::2001:db8::1",
            &[
                "haresources:1:7: warning: found `::` inside the address of `IPv6addr::2001:db8::1`; `::` separates arguments: write the address in full, with `0:0`",
            ],
        ),
        (b"alpha OCF::Dummy", &["haresources:1:7: warning: found `OCF::Dummy`; expected `OCF::TYPE::INSTANCE`"]),
        (b"alpha OCF::Dummy::d1", &[]),
        (b"alpha OCF::Ours::d1", &[]),
        (
            b"alpha OCF::None::d1",
            &[
                "haresources:1:7: warning: found OCF agent `/usr/lib/ocf/resource.d/heartbeat/None`, which does not exist here, nor with 1 other providers; the group cannot be started here",
            ],
        ),
        (b"alpha ocf:heartbeat:Dummy::state=x", &[]),
        (
            b"alpha ocf:own:Dummy",
            &[
                "haresources:1:7: warning: found OCF agent `/usr/lib/ocf/resource.d/own/Dummy`, which does not exist here; the group cannot be started here",
            ],
        ),
        (
            b"alpha plain",
            &[
                "haresources:1:7: warning: found resource script `plain`, which is not executable here; chmod +x resource.d/plain",
            ],
        ),
        (
            b"alpha missing",
            &[
                "haresources:1:7: warning: found resource script `missing`, which does not exist here; expected it in resource.d or /etc/init.d; the group cannot be started here",
            ],
        ),
    ];
    expect(Purpose::Check, "haresources", table);
}

/// Groups as `node: word, word`.
fn groups(text: &str) -> Vec<String> {
    let directory = Directory::new();
    directory.write("haresources", text);
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.findings));
    let words =
        |group: &Group| group.resources.iter().map(|resource| resource.word.as_str()).collect::<Vec<_>>().join(", ");
    config.groups.iter().map(|group| format!("{}: {}", group.node, words(group))).collect()
}

#[test]
fn lines_are_joined_and_remarks_cut_as_the_shell_side_does_it() {
    assert_eq!(groups("alpha a \\\nb # c \\\nd"), ["alpha: a, b, #, c, d"]);
    assert_eq!(groups("alpha a\\\nb"), ["alpha: ab"]);
    assert_eq!(groups("alpha a\\\n\\\n\\\nb c"), ["alpha: ab, c"]);
    assert_eq!(groups("al\\\npha a"), ["alpha: a"]);
    assert_eq!(groups("alpha a # b \\\nbeta c"), ["alpha: a", "beta: c"]);
    assert_eq!(groups("alpha a \\ \nbeta c"), ["alpha: a, \\", "beta: c"]);
    assert_eq!(groups("# x \\\nalpha a#b\n\n \t \nBETA\tc  d \r\n"), ["alpha: a", "beta: c, d"]);
    assert_eq!(groups("alpha a \\"), ["alpha: a"]);
}

#[test]
fn words_are_split_into_script_and_arguments() {
    let directory = Directory::new();
    directory.write(
        "haresources",
        "alpha IPaddr::10.0.0.9/24/eth0 10.0.0.8/24 1x.2y.3z.4 Filesystem::nas:/web::/srv::nfs a::::b:: c:::d OCF::Dummy::x httpd\n",
    );
    let machine = board();
    let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
    let config = loaded.config.expect("loads");
    let shown: Vec<String> = config.groups[0]
        .resources
        .iter()
        .map(|resource| format!("{}({})", resource.script, resource.arguments.join(" ")))
        .collect();
    assert_eq!(
        shown,
        [
            "IPaddr(10.0.0.9/24/eth0)",
            "IPaddr(10.0.0.8/24)",
            "IPaddr(1x.2y.3z.4)",
            "Filesystem(nas:/web /srv nfs)",
            "a(b)",
            "c(:d)",
            "OCF(Dummy x)",
            "httpd()"
        ]
    );
    assert_eq!(config.groups[0].key(), "IPaddr::10.0.0.9/24/eth0");
}

#[test]
fn ownership_moves_between_exactly_two_nodes() {
    let directory = Directory::new();
    directory.write("ha.cf", complete(b"node alpha beta gamma delta\nping 10.0.0.254"));
    let machine = board();
    let said = |text: &str| {
        directory.write("haresources", text);
        let loaded = directory.load(&LoadOptions { machine: &machine, ..LoadOptions::new(Purpose::Run) });
        directory.messages(&loaded)[1..].to_vec()
    };
    assert_eq!(
        said("alpha a\nBeta b\nbeta c\ngamma d\ndelta e"),
        [
            "haresources:4:1: error: found `gamma`, a third node beside `alpha` and `beta`; expected two: ownership moves between exactly two nodes"
        ]
    );
    assert_eq!(
        said("alpha a\nalpha b"),
        [
            "haresources:1:1: error: found only `alpha`, while ha.cf has 4 nodes; expected two: ownership moves between exactly two nodes; give the partner a line with a group of its own, so that it is known"
        ]
    );
    assert_eq!(
        said("10.0.0.254 a\nbeta b"),
        [
            "haresources:1:1: error: found `10.0.0.254`, a ping node; expected a node of ha.cf; a ping node cannot own resources"
        ]
    );
    assert_eq!(said("gamma a\ndelta b"), [""; 0]);
}

#[test]
fn too_many_groups_and_too_long_names_are_refused() {
    let lines: Vec<String> = (0..65).map(|number| format!("alpha g{number}\n")).collect();
    assert_eq!(
        said(Purpose::Check, "haresources", lines.concat().as_bytes()),
        ["haresources:65:1: error: found one group too many; expected at most 64"]
    );
    let line = "alpha ".to_owned() + &"g".repeat(7000);
    assert_eq!(
        said(Purpose::Check, "haresources", line.as_bytes()),
        ["haresources: error: found 7000 bytes of first resources; expected at most 6144 in all lines together"]
    );
}
