//! Terminal calls: a serial port's descriptor as an owned one, and the ioctls that `nix` does not wrap.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use nix::libc;
use serialport::TTYPort;

/// The `serial_struct` of linux/serial.h.
#[repr(C)]
struct SerialStruct {
    kind: libc::c_int,
    line: libc::c_int,
    port: libc::c_uint,
    irq: libc::c_int,
    flags: libc::c_int,
    xmit_fifo_size: libc::c_int,
    custom_divisor: libc::c_int,
    baud_base: libc::c_int,
    close_delay: libc::c_ushort,
    io_type: libc::c_char,
    reserved_char: [libc::c_char; 1],
    hub6: libc::c_int,
    closing_wait: libc::c_ushort,
    closing_wait2: libc::c_ushort,
    iomem_base: *mut libc::c_uchar,
    iomem_reg_shift: libc::c_ushort,
    port_high: libc::c_uint,
    iomap_base: libc::c_ulong,
}

/// The `serial_icounter_struct` of linux/serial.h: what a UART's driver has counted since it was loaded.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SerialCounters {
    modem_line_changes: [libc::c_int; 4],
    bytes: [libc::c_int; 2],
    /// Bytes without a stop bit.
    pub frame: libc::c_int,
    /// Bytes that nobody took in time.
    pub overrun: libc::c_int,
    /// Bytes with a wrong parity.
    pub parity: libc::c_int,
    /// Breaks.
    pub brk: libc::c_int,
    buffer_overruns: libc::c_int,
    reserved: [libc::c_int; 9],
}

/// `ASYNC_LOW_LATENCY` of linux/tty_flags.h.
const LOW_LATENCY: libc::c_int = 1 << 13;
/// `ASYNC_CLOSING_WAIT_NONE` of linux/serial.h.
const NO_CLOSING_WAIT: libc::c_ushort = 65535;

mod ioctl {
    use nix::libc;

    nix::ioctl_none_bad!(tiocnxcl, libc::TIOCNXCL);
    nix::ioctl_read_bad!(tiocoutq, libc::TIOCOUTQ, libc::c_int);
    nix::ioctl_read_bad!(tiocgserial, libc::TIOCGSERIAL, super::SerialStruct);
    nix::ioctl_write_ptr_bad!(tiocsserial, libc::TIOCSSERIAL, super::SerialStruct);
    nix::ioctl_read_bad!(tiocgwinsz, libc::TIOCGWINSZ, libc::winsize);
    nix::ioctl_read_bad!(tiocmget, libc::TIOCMGET, libc::c_int);
    nix::ioctl_write_ptr_bad!(tiocmbis, libc::TIOCMBIS, libc::c_int);
    nix::ioctl_write_ptr_bad!(tiocmbic, libc::TIOCMBIC, libc::c_int);
    nix::ioctl_read_bad!(tiocgicount, libc::TIOCGICOUNT, super::SerialCounters);
}

/// Takes the descriptor out of an open port.
pub fn into_descriptor(port: TTYPort) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives up the port's only descriptor without closing it.
    unsafe { OwnedFd::from_raw_fd(port.into_raw_fd()) }
}

/// Ends the exclusive mode of a terminal (TIOCNXCL).
///
/// # Errors
/// What ioctl(2) says.
pub fn clear_exclusive(terminal: impl AsFd) -> io::Result<()> {
    // SAFETY: the request takes no argument; the descriptor is borrowed for the call.
    unsafe { ioctl::tiocnxcl(terminal.as_fd().as_raw_fd()) }?;
    Ok(())
}

/// Bytes that were written and have not left yet.
///
/// # Errors
/// What ioctl(2) says.
pub fn output_queued(terminal: impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int into the variable that we lend it.
    unsafe { ioctl::tiocoutq(terminal.as_fd().as_raw_fd(), &raw mut count) }?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The modem lines as bits `TIOCM_…`.
///
/// # Errors
/// What ioctl(2) says: `ENOTTY` where there are none.
pub fn modem_lines(terminal: impl AsFd) -> io::Result<libc::c_int> {
    let mut bits: libc::c_int = 0;
    // SAFETY: the kernel writes one int into the variable that we lend it.
    unsafe { ioctl::tiocmget(terminal.as_fd().as_raw_fd(), &raw mut bits) }?;
    Ok(bits)
}

/// Raises or drops DTR and RTS together.
///
/// # Errors
/// What ioctl(2) says.
pub fn set_own_lines(terminal: impl AsFd, is_on: bool) -> io::Result<()> {
    let bits = libc::TIOCM_DTR | libc::TIOCM_RTS;
    let terminal = terminal.as_fd().as_raw_fd();
    // SAFETY: the kernel reads one int from the variable that we lend it.
    unsafe {
        if is_on { ioctl::tiocmbis(terminal, &raw const bits) } else { ioctl::tiocmbic(terminal, &raw const bits) }
    }?;
    Ok(())
}

/// What the UART's driver has counted.
///
/// # Errors
/// What ioctl(2) says: `ENOTTY` where nothing is counted.
pub fn serial_counters(terminal: impl AsFd) -> io::Result<SerialCounters> {
    let mut counters = SerialCounters::default();
    // SAFETY: the kernel fills in a structure of exactly this layout during the call.
    unsafe { ioctl::tiocgicount(terminal.as_fd().as_raw_fd(), &raw mut counters) }?;
    Ok(counters)
}

/// Rows and columns of a terminal; `None` when it does not know.
///
/// # Errors
/// What ioctl(2) says.
pub fn window_size(terminal: impl AsFd) -> io::Result<Option<(u16, u16)>> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel fills in the structure that we lend it.
    unsafe { ioctl::tiocgwinsz(terminal.as_fd().as_raw_fd(), &raw mut size) }?;
    Ok((size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col)))
}

/// Tells a UART's driver two things, where it has such switches: to hand received bytes up at once
/// (`ASYNC_LOW_LATENCY`), and not to wait for waiting output when the port is closed. The latter wait is 30 s with the
/// cable out, and a killed process is not gone before.
///
/// # Errors
/// What ioctl(2) says: terminals without a UART behind them have no such switches.
pub fn set_prompt(terminal: impl AsFd) -> io::Result<()> {
    let terminal = terminal.as_fd().as_raw_fd();
    // SAFETY: an all-zero structure of numbers and a null pointer is a valid value.
    let mut settings: SerialStruct = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in a structure of exactly this layout during the call.
    unsafe { ioctl::tiocgserial(terminal, &raw mut settings) }?;
    if settings.flags & LOW_LATENCY == 0 || settings.closing_wait != NO_CLOSING_WAIT {
        settings.flags |= LOW_LATENCY;
        settings.closing_wait = NO_CLOSING_WAIT;
        // SAFETY: the kernel reads the structure during the call only.
        unsafe { ioctl::tiocsserial(terminal, &raw const settings) }?;
    }
    Ok(())
}
