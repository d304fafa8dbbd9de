//! The ioctls of linux/watchdog.h.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::c_int;

/// `struct watchdog_info`.
#[repr(C)]
pub struct WatchdogInfo {
    /// `WDIOF_…`: what the device can do.
    pub options: u32,
    firmware_version: u32,
    /// Name of the device, filled up with zeros.
    pub identity: [u8; 32],
}

mod ioctl {
    use nix::libc::c_int;

    nix::ioctl_read!(get_support, b'W', 0, super::WatchdogInfo);
    nix::ioctl_read!(get_boot_status, b'W', 2, c_int);
    nix::ioctl_readwrite!(set_timeout, b'W', 6, c_int);
    nix::ioctl_read!(get_timeout, b'W', 7, c_int);
    nix::ioctl_readwrite!(set_pretimeout, b'W', 8, c_int);
}

/// What the device is and can do (WDIOC_GETSUPPORT).
///
/// # Errors
/// What ioctl(2) says: `ENOTTY` for a file that is no watchdog.
pub fn support(device: impl AsFd) -> io::Result<WatchdogInfo> {
    let mut info = WatchdogInfo { options: 0, firmware_version: 0, identity: [0; 32] };
    // SAFETY: the kernel fills in a structure of exactly this layout during the call.
    unsafe { ioctl::get_support(device.as_fd().as_raw_fd(), &raw mut info) }?;
    Ok(info)
}

/// Why the board last started (WDIOC_GETBOOTSTATUS): the same bits as `options`.
///
/// # Errors
/// What ioctl(2) says.
pub fn boot_status(device: impl AsFd) -> io::Result<u32> {
    let mut bits: c_int = 0;
    // SAFETY: the kernel writes one int into the variable that we lend it.
    unsafe { ioctl::get_boot_status(device.as_fd().as_raw_fd(), &raw mut bits) }?;
    Ok(bits.cast_unsigned())
}

/// Sets the seconds after which the board is reset, and restarts the countdown (WDIOC_SETTIMEOUT). Returns what the
/// driver has made of it.
///
/// # Errors
/// What ioctl(2) says: `EINVAL` outside of the device's range, `EOPNOTSUPP` when it cannot be set.
pub fn set_timeout(device: impl AsFd, seconds: u32) -> io::Result<u32> {
    let mut value = c_int::try_from(seconds).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads and writes the one int that we lend it.
    unsafe { ioctl::set_timeout(device.as_fd().as_raw_fd(), &raw mut value) }?;
    Ok(u32::try_from(value).unwrap_or(seconds))
}

/// The seconds in force (WDIOC_GETTIMEOUT).
///
/// # Errors
/// What ioctl(2) says.
pub fn timeout(device: impl AsFd) -> io::Result<u32> {
    let mut value: c_int = 0;
    // SAFETY: the kernel writes one int into the variable that we lend it.
    unsafe { ioctl::get_timeout(device.as_fd().as_raw_fd(), &raw mut value) }?;
    u32::try_from(value).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Sets how many seconds before the reset the kernel is told of it; zero: not at all (WDIOC_SETPRETIMEOUT).
///
/// # Errors
/// What ioctl(2) says.
pub fn set_pretimeout(device: impl AsFd, seconds: u32) -> io::Result<()> {
    let mut value = c_int::try_from(seconds).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads and writes the one int that we lend it.
    unsafe { ioctl::set_pretimeout(device.as_fd().as_raw_fd(), &raw mut value) }?;
    Ok(())
}
