//! What a watchdog's kick costs in system calls: turns of the kicker alone, each with a kick due, under strace(1).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nullbeat::core::time::{Duration, Instant};
use nullbeat::daemon::kicker::{Chain, Kicker};
use nullbeat::daemon::watchdogs::HeldWatchdog;
use nullbeat::hardware::watchdog::{Armed, Device, ResetCause};

/// The word by which this program knows that it is to do those turns.
pub(crate) const WORD: &str = "--kicks";
const TURNS: u32 = 1000;
/// Both are due at each turn.
const WATCHDOGS: usize = 2;

/// System calls of a turn in which kicks are due, beyond those of the program around it.
pub(crate) fn measure() -> io::Result<f64> {
    Ok(f64::from(calls(TURNS)? - calls(0)?) / f64::from(TURNS))
}

fn calls(turns: u32) -> io::Result<u32> {
    let file = std::env::temp_dir().join(format!("nullbeat-bench-kick-{}", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(&file)
        .arg(std::env::current_exe()?)
        .args([WORD, &turns.to_string()])
        .stdout(Stdio::null())
        .status()?;
    let trace = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    if !status.success() {
        return Err(io::Error::other(format!("strace: {status}")));
    }
    u32::try_from(trace.lines().count()).map_err(io::Error::other)
}

/// The turns themselves: as many as the argument says, a timeout apart.
pub(crate) fn turn(arguments: &[String]) -> io::Result<()> {
    let turns: u32 = arguments.first().and_then(|word| word.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let held = |_| -> io::Result<HeldWatchdog<Device>> {
        let path = PathBuf::from("/dev/null");
        let device = Device::open(&path)?;
        let armed = Armed { identity: "none".into(), timeout: 4, cause: ResetCause::default(), has_magic_close: true };
        Ok(HeldWatchdog { path, device, armed, shortest: None, is_nowayout: false })
    };
    let held = (0..WATCHDOGS).map(held).collect::<io::Result<Vec<_>>>()?;
    let mut now = Instant::from_millis(100_000);
    let mut kicker = Kicker::new(held, Duration::from_millis(200), now);
    let chain =
        Chain { is_guardian_present: true, since_beat: Duration::from_millis(0), is_allowed: true, is_healthy: true };
    for _ in 0..turns {
        kicker.turn(now, chain);
        now = now + Duration::from_secs(4);
    }
    Ok(())
}
