//! Serial ports that hand received bytes up late.
//!
//! A UART's driver has a switch for that (`ASYNC_LOW_LATENCY`). A USB adapter collects bytes for some milliseconds before it
//! sends them on, an FTDI one for 16 as it comes: longer than a beat takes at 19200 baud. Its driver shows that time as
//! `latency_timer` in sysfs.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use crate::sys::tty;

/// Where the kernel shows terminals.
pub(super) const TERMINALS: &str = "/sys/class/tty";
/// What a USB adapter is set to: the least it knows, milliseconds.
const ADAPTER_MS: u32 = 1;

/// Sets what there is to set, and says so. Nothing here keeps a line from being used.
pub(super) fn lower(device: &Path, terminal: impl AsFd, terminals: &Path) {
    match tty::set_prompt(terminal) {
        Ok(()) => log::info!("{}: low latency is switched on", device.display()),
        Err(error) => log::debug!("{} has no switch for low latency: {error}", device.display()),
    }
    match lower_adapter(device, terminals) {
        None => {}
        Some(Ok(before)) => {
            log::info!("{}: a USB adapter; its latency timer was {before} ms and is {ADAPTER_MS} ms", device.display());
        }
        Some(Err(error)) => log::warn!(
            "{}: a USB adapter whose latency timer cannot be set to {ADAPTER_MS} ms: {error}; received bytes may be late \
             (a udev rule can set latency_timer)",
            device.display()
        ),
    }
}

/// The latency timer of a USB adapter before it was lowered; `None`: there is none.
fn lower_adapter(device: &Path, terminals: &Path) -> Option<std::io::Result<u32>> {
    // Stable names are symbolic links.
    let real = fs::canonicalize(device).ok()?;
    let timer = terminals.join(real.file_name()?).join("device/latency_timer");
    let before: u32 = fs::read_to_string(&timer).ok()?.trim().parse().ok()?;
    if before == ADAPTER_MS {
        return Some(Ok(before));
    }
    Some(fs::write(&timer, format!("{ADAPTER_MS}\n")).map(|()| before))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn adapter_is_found_by_any_name_of_its_device_and_set_to_one_millisecond() {
        let root = std::env::temp_dir().join(format!("nullbeat-latency-{}", std::process::id()));
        let of_adapter = root.join("ttyUSB7/device");
        fs::create_dir_all(&of_adapter).unwrap();
        fs::write(of_adapter.join("latency_timer"), "16\n").unwrap();
        fs::create_dir_all(root.join("dev")).unwrap();
        for name in ["ttyUSB7", "ttyS7"] {
            fs::write(root.join("dev").join(name), "").unwrap();
        }
        symlink(root.join("dev/ttyUSB7"), root.join("dev/peer")).unwrap();
        assert_eq!(lower_adapter(&root.join("dev/peer"), &root).unwrap().unwrap(), 16);
        assert_eq!(fs::read_to_string(of_adapter.join("latency_timer")).unwrap(), "1\n");
        assert_eq!(lower_adapter(&root.join("dev/ttyUSB7"), &root).unwrap().unwrap(), 1, "nothing is left to do");
        assert!(lower_adapter(&root.join("dev/ttyS7"), &root).is_none(), "a UART of the board has no such timer");
        assert!(lower_adapter(&root.join("dev/none"), &root).is_none());
        fs::remove_dir_all(&root).unwrap();
    }
}
