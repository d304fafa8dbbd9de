//! Why this board last started, for the history: told once in a boot, however often the daemon is started in it.
//!
//! A watchdog remembers its reset until the next one. What has been told stands in the run directory, with the boot in
//! which it was: there are boards on which that directory outlives one.

use std::fs;
use std::path::Path;

use super::history::Entry;
use crate::hardware::watchdog::ResetCause;

/// Name in the run directory.
const FILE_NAME: &str = "reset-causes";

/// Of what these devices (by identity) remember, that which no daemon of this boot ([`boot_id`]) has told yet. From here
/// on it counts as told. Where nothing can be written down it is told again: better twice than never.
///
/// [`boot_id`]: crate::guardian::lease::boot_id
pub fn untold<'a>(run: &Path, boot: u64, causes: impl Iterator<Item = (&'a str, ResetCause)>) -> Vec<Entry> {
    let path = run.join(FILE_NAME);
    let line = |entry: &Entry| format!("{boot:016x}\t{}\n", entry.text());
    let mut known = fs::read_to_string(&path).unwrap_or_default();
    let mut entries = Vec::new();
    for (identity, cause) in causes.filter(|(_, cause)| cause.bits() != 0) {
        let mut entry = Entry::new("reset cause");
        entry.field("subject", identity).field("to", cause.word());
        if !known.contains(&line(&entry)) {
            known += &line(&entry);
            entries.push(entry);
        }
    }
    if !entries.is_empty() {
        let told: String = known.split_inclusive('\n').filter(|old| old.starts_with(&format!("{boot:016x}"))).collect();
        if let Err(error) = fs::write(&path, told) {
            log::warn!("{}: {error}: another start of the daemon tells again why the board started", path.display());
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHDOG: ResetCause = ResetCause::from_bits(0x20);

    #[test]
    fn cause_is_told_once_in_a_boot_and_again_in_the_next() {
        let run = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-causes-XXXXXX")).unwrap();
        let told = |boot, causes: &[(&'static str, ResetCause)]| {
            let entries = untold(&run, boot, causes.iter().copied());
            entries.iter().map(|entry| entry.text().to_owned()).collect::<Vec<_>>()
        };
        let first = "event=reset cause\tsubject=i6300ESB timer\tto=watchdog";
        assert_eq!(told(7, &[("i6300ESB timer", WATCHDOG), ("softdog", ResetCause::default())]), [first]);
        assert_eq!(told(7, &[("i6300ESB timer", WATCHDOG)]), [""; 0]);
        // One that was not there at the first start.
        let second = "event=reset cause\tsubject=iTCO_wdt\tto=overheat";
        assert_eq!(told(7, &[("i6300ESB timer", WATCHDOG), ("iTCO_wdt", ResetCause::from_bits(1))]), [second]);
        assert_eq!(told(8, &[("i6300ESB timer", WATCHDOG)]), [first]);
        assert_eq!(told(8, &[("i6300ESB timer", WATCHDOG)]), [""; 0]);
        assert_eq!(fs::read_to_string(run.join(FILE_NAME)).unwrap().lines().count(), 1, "of this boot only");
        fs::remove_dir_all(&run).unwrap();
        assert_eq!(told(8, &[("i6300ESB timer", WATCHDOG)]), [first], "where nothing is kept it is told again");
    }
}
