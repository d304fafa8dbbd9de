//! The classic tutorial's three files, as they stand, on two boards with Debian's resource agents: an address, a file
//! system, a web server; a client fetches the page through the virtual address all the while.
//!
//! Stand-ins: `mount.nfs` mounts a tmpfs under the server's name and copies its folder; `httpd` starts a real lighttpd; `ipfail` is an
//! empty program, because `respawn` checks that it is there. One line is added for safety: `reset_with hook`.

mod bench;
#[path = "../lab/mod.rs"]
mod lab;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench::{HARESOURCES, Tutorial};

#[test]
fn tutorial_runs_as_it_stands_through_start_stop_kill_and_return() {
    let long = Duration::from_secs(150);
    let mut tutorial = Tutorial::new();
    tutorial.power_on(0);
    tutorial.power_on(1);
    tutorial.wait_served_by(0, long);

    // Stop: the other one takes over at once, and the group comes home when the node is back.
    let output = tutorial.lab.boards[0].on_board(&[lab::NULLBEAT, "stop"]);
    assert!(output.status.success(), "{output:?}");
    let took = tutorial.wait_served_by(1, long);
    assert!(took < Duration::from_secs(25), "a clean stop does not wait for the dead time: {took:?}");
    tutorial.lab.boards[0].await_end();
    tutorial.lab.boards[0].start_plain();
    tutorial.wait_served_by(0, long);

    // Kill: power loss of the owner; after 30 s of silence the page is back. While it is, it stays.
    tutorial.lab.boards[0].power_off();
    tutorial.wait_served_by(1, long);

    // Return: auto_failback brings it home.
    tutorial.power_on(0);
    tutorial.wait_served_by(0, long);

    // The page is there before the hand-over has ended.
    tutorial.lab.wait("the standby has settled", |lab| lab.boards[1].is_settled());

    // The client sees the page all the while that the standby reads its files again.
    let is_over = Arc::new(AtomicBool::new(false));
    let watch = Arc::clone(&is_over);
    let misses = std::thread::scope(|scope| {
        let tutorial = &tutorial;
        let client = scope.spawn(move || {
            let mut misses = 0;
            while !watch.load(Ordering::SeqCst) {
                misses += u32::from(!tutorial.fetches());
            }
            misses
        });
        let status = tutorial.lab.boards[0].on_board(&[lab::NULLBEAT, "status"]);
        let reload = tutorial.lab.boards[1].on_board(&[lab::NULLBEAT, "reload"]);
        is_over.store(true, Ordering::SeqCst);
        assert!(status.status.success(), "{status:?}");
        assert!(reload.status.success(), "{reload:?}");
        client.join().expect("the client")
    });
    assert_eq!(misses, 0, "a reload of the standby is not seen from outside");
}

/// Both boards answer for the address while every cable between them is out; after the heal one of them lets go, and
/// the client, which had learnt the wrong board's hardware address, reaches the other one at once.
#[test]
fn page_is_back_within_seconds_of_a_heal() {
    let mut tutorial = Tutorial::new();
    for board in &tutorial.lab.boards {
        let quick = tutorial.lab.usual_ha_cf(board, "takeover_policy available");
        board.configure(&quick.replace("serial", "#serial"), HARESOURCES);
    }
    tutorial.power_on(0);
    tutorial.power_on(1);
    tutorial.wait_served_by(0, lab::PATIENCE);
    // The boards lose each other; the client still reaches both.
    for board in &tutorial.lab.boards {
        block(board, "add");
    }
    let start = Instant::now();
    while !(tutorial.holds_address(0) && tutorial.holds_address(1)) {
        assert!(start.elapsed() < lab::PATIENCE, "the second board does not take over");
        std::thread::yield_now();
    }
    tutorial.mislead_client();
    for board in &tutorial.lab.boards {
        block(board, "flush");
    }
    let took = tutorial.wait_served_by(0, lab::PATIENCE);
    eprintln!("the page came from one board again after {took:?}");
    assert!(tutorial.fetches());
}

/// Cuts a board's heartbeats, and nothing else.
fn block(board: &lab::Board, verb: &str) {
    let script = match verb {
        "add" => {
            "nft add table ip lab && nft 'add chain ip lab in { type filter hook input priority 0; }' && \
             nft add rule ip lab in udp dport 694 drop"
        }
        _ => "nft delete table ip lab",
    };
    let output = board.on_board(&["sh", "-c", script]);
    assert!(output.status.success(), "{output:?}");
}
