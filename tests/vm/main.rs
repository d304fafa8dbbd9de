//! Emulated boards: two of them under QEMU, a null-modem, a network, a watchdog that really resets, wires between pins.
//!
//! ```text
//! tests/run hardware                                  all of it, as in the default lane
//! cargo test --test vm -- --test-threads 1 NAME       scenarios whose names contain NAME
//! ```
//!
//! Preparing (once, kept below `target/`): `tests/vm/prepare` fetches Debian's kernel and a static busybox for the board's
//! architecture, `dist/build-cross` builds the program with the profile `vm`. It needs no root. A board boots in 2 to 3 s.
//!
//! # How to write a scenario
//!
//! A scenario is a test in a file of its own here, named after what it is about, with `mod NAME;` below:
//!
//! ```no_run
//! # use crate::bench::{Bench, Plan};
//! #[test]
//! fn owner_loses_its_power_the_other_takes_over() {
//!     let bench = Bench::start(Plan::usual().ha_cf("watchdog /dev/watchdog"));   // both boards up, both daemons settled
//!     bench.await_owner(0, "web");                   // seen by the observer outside, not told by the daemons
//!     bench.power_cut(0);
//!     bench.await_owner(1, "web");
//!     bench.assert_exclusive();
//! }
//! ```
//!
//! * [`Plan`](bench::Plan): what is special: lines for ha.cf, haresources, files, kernel words (`panic=0`), modules
//!   (`softdog`), wires, a USB adapter, no daemon at boot, another machine. The daemon's log, its standard error, is the
//!   board's report; `nullbeat run` starts at each boot, so a board that was reset joins by itself.
//! * [`Bench`](bench::Bench): `cut_serial`, `cut_ethernet`, `flip_bits`, `power_cut`, `power_on`, `reset`, `freeze`, `thaw`,
//!   `plug_usb`, `set_fault` on a wire; `await_owner`, `await_line` (what a pin drives, from outside), `assert_exclusive`.
//! * [`Board`](board::Board): `shell` (one line, exit code and output), `run` (must succeed), `await_log`,
//!   `await_event` (QMP: `WATCHDOG`, `RESET`), `await_boot`.
//! * The observer is that of `tests/lab`: scripts made with `trace::GROUP` tell it; a reset or a power cut of a board ends
//!   what ran there, at the time of QEMU's event. `observer.records()` has the order.
//!
//! GPIO: the board's PL061 is `gpiochip0`, 8 unnamed lines, numbers in [`wires`]; the usual wiring crosses them.
//! `/dev/vda` is an ext4 on `/var/lib` that survives; everything else of a board is new at each boot. The daemon resets the board
//! for real: it is an emulated one.
//!
//! What emulation has not: pacing by baud, framing and parity errors (breaks there are: `Plan::breaks`), modem lines that
//! follow the peer's; and time limits below 50 ms mean nothing. QMP `stop` (`freeze`) stops the board's watchdog too: a hung daemon with a live watchdog is SIGSTOP
//! of all its processes, or a crashed kernel with `panic=0`.

mod bench;
mod board;
mod console;
mod image;
#[path = "../lab/observer.rs"]
#[expect(dead_code, reason = "shared with tests/lab; here a board's power says by itself that it is off")]
mod observer;
mod pump;
mod qmp;
mod qtest;
mod report;
mod sockets;
mod wires;

mod apphb;
mod armv7;
mod cables;
mod fencing;
mod imx;
mod interlock;
mod lines;
mod pc;
mod power;
mod resets;
mod takeover;
mod udev;
mod watchdog;

use std::time::Duration;

/// Longest wait for anything: machines are slow and noisy, and emulated ones more so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
