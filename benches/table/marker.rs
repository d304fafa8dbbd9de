//! The resource script of the benches: a static program, so that its first instruction is as near to exec(2) as can be.
//!
//! `n NUMBER start` appends one line to `/etc/ha.d/marks`: nanoseconds since 1970, its process number inside the
//! board, its arguments.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let line = format!("{now} {} {}\n", std::process::id(), arguments.join(" "));
    if let Ok(mut marks) = std::fs::File::options().append(true).create(true).open("/etc/ha.d/marks") {
        let _ = marks.write_all(line.as_bytes());
    }
}
