//! A site's own `rc.d` scripts on a real daemon: run for what a node of the cluster has signed, and for nothing else.

mod lab;

use std::net::UdpSocket;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lab::Lab;
use nix::sched::{CloneFlags, setns};

const KEY: &[u8] = b"a-key-for-the-lab";

/// A message of beta in the form that goes over serial lines, signed with this key.
fn message(key: &[u8], seq: u32, kind: &str, fields: &str) -> Vec<u8> {
    let lines = format!("t={kind}\n{fields}src=beta\nseq={seq:x}\nhg=77359400\nts=65f00000\nld=0.00\nttl=4\n");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(key).expect("any length");
    mac.update(lines.as_bytes());
    let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(">>>\n{lines}auth=1 {digest}\n<<<\n").into_bytes()
}

/// Sends these datagrams from the client to alpha, in this order.
fn send(lab: &Lab, datagrams: &[Vec<u8>]) {
    let namespace = std::fs::File::open(format!("/run/netns/{}", lab.lan())).expect("the client's network");
    let address = (lab.boards[0].address.as_str(), 694);
    std::thread::scope(|scope| {
        // It joins the client's network for the rest of its life.
        let sender = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root");
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            for bytes in datagrams {
                socket.send_to(bytes, address).expect("sent");
            }
        });
        sender.join().expect("all are sent");
    });
}

/// alpha at work with these `rc.d` scripts; what is left of beta is whoever knows the key. Its last number was 2.
fn with_scripts(scripts: &[(&str, &str)]) -> Lab {
    let mut lab = Lab::usual("", "alpha trace::web\n");
    for (name, body) in scripts {
        let text = format!("#!/bin/sh\ncd {} || exit 1\n{body}\n", lab.boards[0].dir.display());
        lab::write_script(&lab.boards[0].config_dir().join("rc.d").join(name), &text);
    }
    lab.boards[0].power_on();
    lab.boards[0].start();
    lab.wait("alpha answers", |lab| !lab.boards[0].status_json().is_empty());
    let says = |seq, status| message(KEY, seq, "status", &format!("st={status}\ndt=ea60\nprotocol=1\n"));
    send(&lab, &[says(1, "up"), says(2, "active")]);
    lab.wait("beta is a member", |lab| lab.boards[0].log().contains("Status update for node beta: status active"));
    lab
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn site_rc_d_script_runs_for_a_new_signed_message_of_its_type_only() {
    let tell = "echo \"${0##*/} $# $1 src=$HA_src x=$HA_x seq=$HA_seq $HA_OSTATUS $HA_FUNCS ${HA_a_b-}\" >> told";
    let names = ["mytype", "last", "status", "hb_takeover", "resource", "MYTYPE"];
    let lab = with_scripts(&names.map(|name| (name, tell)));
    let good = message(KEY, 3, "mytype", "x=1 $(touch hurt)\nFUNCS=/evil\nOSTATUS=dead\na b=1\n");
    send(
        &lab,
        &[
            good.clone(),
            good,
            message(b"another key", 4, "mytype", "x=forged\n"),
            message(KEY, 4, "mytypes", ""),
            message(KEY, 5, "../rc.d/mytype", ""),
            message(KEY, 6, "../../reset-hook", ""),
            message(KEY, 7, "hb_takeover", "rsc_hold=none\n"),
            message(KEY, 8, "MYTYPE", ""),
            message(KEY, 9, "mytype", "dest=gamma\nx=for somebody else\n"),
            message(KEY, 10, "last", "x=2\n"),
        ],
    );
    let told = lab.boards[0].dir.join("told");
    lab.wait("the last message has its script", |_| text(&told).contains("last"));
    let functions = format!("{}/shellfuncs", lab.boards[0].config_dir().display());
    assert_eq!(
        text(&told).lines().collect::<Vec<_>>(),
        [
            format!("mytype 1 mytype src=beta x=1 $(touch hurt) seq=3 active {functions} "),
            format!("last 1 last src=beta x=2 seq=a active {functions} "),
        ]
    );
    assert!(!lab.boards[0].dir.join("hurt").exists());
    assert_eq!(lab.boards[0].resets(), 0);
    let log = lab.boards[0].log();
    let path = lab.boards[0].config_dir().join("rc.d/mytype");
    assert!(log.contains(&format!("Running {} mytype", path.display())), "{log}");
    assert!(log.contains("never run, done by this daemon itself: hb_takeover status"), "{log}");
    assert!(log.contains("no message of such a type is passed on: MYTYPE resource"), "{log}");
}

#[test]
fn flood_of_messages_runs_few_scripts_and_is_counted() {
    // Longer than the flood takes: one runs, a queue waits, the rest is dropped.
    let lab = with_scripts(&[("mytype", "echo >> runs; while [ ! -e go ]; do sleep 0.05; done")]);
    // No more than a socket's buffer holds.
    let flood: Vec<_> = (3..203).map(|seq| message(KEY, seq, "mytype", "x=1\n")).collect();
    send(&lab, &flood);
    lab.wait("drops are said", |lab| lab.boards[0].log().contains("dropping further ones"));
    let runs = || text(&lab.boards[0].dir.join("runs")).len();
    lab.wait("the first one runs", |_| runs() > 0);
    assert_eq!(runs(), 1, "one at a time");
    std::fs::write(lab.boards[0].dir.join("go"), "").expect("a file");
    lab.wait("drops are counted", |lab| lab.boards[0].log().contains("messages were dropped; "));
    let drops = |log: &str| -> usize {
        let told = log.lines().filter_map(|line| line.split("rc.d: ").nth(1)?.split(" messages were dropped; ").next());
        told.filter_map(|number| number.parse::<usize>().ok()).sum()
    };
    lab.wait("nothing is lost from the count", |lab| runs() + drops(&lab.boards[0].log()) == 200);
    assert!(runs() <= 33 + 32, "{} scripts for 200 messages", runs());
    assert!(!lab.boards[0].log().contains("CRIT"), "{}", lab.boards[0].log());
}
