//! Hardware watchdogs: timers that reset *this* board unless they are kicked in time (kernel:
//! Documentation/watchdog/watchdog-api.rst).
//!
//! Opening a device starts its countdown. Closing it without [`Watchdog::disarm`] leaves it running. [`Watchdog`] is the
//! seam: tests put a fake behind it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::stat::{major, minor};

use crate::sys::watchdog as sys;

/// `WDIOF_…` of linux/watchdog.h.
const OVERHEAT: u32 = 0x0001;
const FAN_FAULT: u32 = 0x0002;
const EXTERN1: u32 = 0x0004;
const EXTERN2: u32 = 0x0008;
const POWER_UNDER: u32 = 0x0010;
const CARD_RESET: u32 = 0x0020;
const POWER_OVER: u32 = 0x0040;
const SET_TIMEOUT: u32 = 0x0080;
const MAGIC_CLOSE: u32 = 0x0100;
const PRETIMEOUT: u32 = 0x0200;
const CAUSES: u32 = OVERHEAT | FAN_FAULT | EXTERN1 | EXTERN2 | POWER_UNDER | CARD_RESET | POWER_OVER;

/// `/dev/watchdog`, which is the same device as `/dev/watchdog0`.
const FIRST_DEVICE: (u64, u64) = (10, 130);

/// With a timeout of so many seconds or more, the kernel is warned one second before the reset.
const PRETIMEOUT_FROM: u32 = 3;

/// Why the board last started, as one watchdog reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResetCause(u32);

impl ResetCause {
    /// From the bits of WDIOC_GETBOOTSTATUS; others mean something else and are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & CAUSES)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether a watchdog has reset the board.
    pub const fn is_watchdog(self) -> bool {
        self.0 & CARD_RESET != 0
    }

    /// One word for each reason: `watchdog`, `overheat`, `fan`, `undervoltage`, `overvoltage`, `external1`, `external2`.
    /// `none`: it reports nothing; after a power cut, an ordinary reboot, and where the hardware does not remember.
    pub fn word(self) -> &'static str {
        const WORDS: [(u32, &str); 7] = [
            (CARD_RESET, "watchdog"),
            (OVERHEAT, "overheat"),
            (FAN_FAULT, "fan"),
            (POWER_UNDER, "undervoltage"),
            (POWER_OVER, "overvoltage"),
            (EXTERN1, "external1"),
            (EXTERN2, "external2"),
        ];
        WORDS.iter().find(|(bit, _)| self.0 & bit != 0).map_or("none", |(_, word)| word)
    }
}

/// What a device is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// Its name.
    pub identity: String,
    options: u32,
}

impl Support {
    /// For these `WDIOF_…` bits.
    pub fn new(identity: &str, options: u32) -> Self {
        Self { identity: identity.to_owned(), options }
    }

    /// Its timeout can be set.
    pub const fn has_timeout(&self) -> bool {
        self.options & SET_TIMEOUT != 0
    }

    /// The kernel can be told before the reset.
    pub const fn has_pretimeout(&self) -> bool {
        self.options & PRETIMEOUT != 0
    }

    /// A plain close leaves it running. Without, each close stops it.
    pub const fn has_magic_close(&self) -> bool {
        self.options & MAGIC_CLOSE != 0
    }
}

/// One watchdog that is open and therefore runs.
pub trait Watchdog {
    /// What it is.
    ///
    /// # Errors
    /// What the device says.
    fn support(&self) -> io::Result<Support>;

    /// Why the board last started.
    ///
    /// # Errors
    /// What the device says.
    fn reset_cause(&self) -> io::Result<ResetCause>;

    /// Sets the timeout in seconds and restarts the countdown; returns what the device has made of it.
    ///
    /// # Errors
    /// What the device says.
    fn set_timeout(&self, seconds: u32) -> io::Result<u32>;

    /// The timeout in force, seconds.
    ///
    /// # Errors
    /// What the device says.
    fn timeout(&self) -> io::Result<u32>;

    /// Has the kernel told so many seconds before the reset.
    ///
    /// # Errors
    /// What the device says.
    fn set_pretimeout(&self, seconds: u32) -> io::Result<()>;

    /// Restarts the countdown. One system call.
    ///
    /// # Errors
    /// What the device says.
    fn kick(&self) -> io::Result<()>;

    /// Stops the countdown once all copies of the descriptor are closed; a driver with `nowayout` does not obey. A kick
    /// takes it back.
    ///
    /// # Errors
    /// What the device says.
    fn disarm(&self) -> io::Result<()>;
}

/// A device of the kernel.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// Opens and thereby starts it.
    ///
    /// # Errors
    /// What open(2) says: `EBUSY` when somebody else has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(path)?))
    }

    /// A second descriptor of the same opening.
    ///
    /// # Errors
    /// What fcntl(2) says.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}

impl Watchdog for Device {
    fn support(&self) -> io::Result<Support> {
        let info = sys::support(&self.0)?;
        let identity: Vec<u8> = info.identity.iter().copied().take_while(|byte| *byte != 0).collect();
        Ok(Support::new(String::from_utf8_lossy(&identity).trim(), info.options))
    }

    fn reset_cause(&self) -> io::Result<ResetCause> {
        sys::boot_status(&self.0).map(ResetCause::from_bits)
    }

    fn set_timeout(&self, seconds: u32) -> io::Result<u32> {
        sys::set_timeout(&self.0, seconds)
    }

    fn timeout(&self) -> io::Result<u32> {
        sys::timeout(&self.0)
    }

    fn set_pretimeout(&self, seconds: u32) -> io::Result<()> {
        sys::set_pretimeout(&self.0, seconds)
    }

    fn kick(&self) -> io::Result<()> {
        // Any byte but `V`.
        (&self.0).write_all(b"\0")
    }

    fn disarm(&self) -> io::Result<()> {
        (&self.0).write_all(b"V")
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Device {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for Device {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor.into())
    }
}

/// A watchdog as [`arm`] has set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armed {
    /// Its name.
    pub identity: String,
    /// The timeout in force, seconds; perhaps another one than was asked for.
    pub timeout: u32,
    /// Why the board last started.
    pub cause: ResetCause,
    /// Closing it without a word leaves it running.
    pub has_magic_close: bool,
}

/// Sets the timeout of an open watchdog and reads back what came of it. One whose timeout cannot be set keeps its own.
///
/// # Errors
/// With a sentence for people; the watchdog is then told to stop.
pub fn arm(device: &impl Watchdog, seconds: u32) -> Result<Armed, String> {
    try_arm(device, seconds).inspect_err(|_| {
        // As far as it understands: what is no watchdog may take offence at the byte, or show it.
        if device.support().is_ok() {
            let _ = device.disarm();
        }
    })
}

fn try_arm(device: &impl Watchdog, seconds: u32) -> Result<Armed, String> {
    let support = device.support().map_err(|error| format!("it is no watchdog ({error})"))?;
    let timeout = set_timeout(device, &support, seconds)?;
    if timeout == 0 {
        return Err(format!("{} tells a timeout of 0 s", support.identity));
    }
    if support.has_pretimeout() {
        let warning = u32::from(timeout >= PRETIMEOUT_FROM);
        if let Err(error) = device.set_pretimeout(warning) {
            log::debug!("{}: no warning before the reset ({error})", support.identity);
        }
    }
    let cause = device.reset_cause().unwrap_or_default();
    Ok(Armed { has_magic_close: support.has_magic_close(), identity: support.identity, timeout, cause })
}

/// Sets the timeout, which restarts the countdown, and returns the one in force. One that cannot be set stays what it is.
///
/// # Errors
/// With a sentence for people.
pub fn set_timeout(device: &impl Watchdog, support: &Support, seconds: u32) -> Result<u32, String> {
    let name = &support.identity;
    if !support.has_timeout() {
        return device.timeout().map_err(|error| format!("{name} has a timeout that nobody can know ({error})"));
    }
    let set =
        device.set_timeout(seconds).map_err(|error| format!("{name} refuses a timeout of {seconds} s ({error})"))?;
    // A driver that does not write back what it has made of the number tells it when it is asked.
    Ok(device.timeout().map_or(set, |told| told.max(set)))
}

/// What the kernel tells about a watchdog without opening it (`/sys/class/watchdog`). A value is absent where the driver
/// or the kernel does not tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its name.
    pub identity: Option<String>,
    /// Shortest timeout, seconds.
    pub shortest: Option<u32>,
    /// Longest timeout, seconds.
    pub longest: Option<u32>,
    /// It cannot be stopped once it runs.
    pub is_nowayout: bool,
}

impl Facts {
    /// About the device at `path`; `None` when it is no watchdog that sysfs knows.
    pub fn of(path: &Path) -> Option<Self> {
        Self::read(&sysfs(path)?)
    }

    /// From a directory such as `/sys/class/watchdog/watchdog0`.
    fn read(directory: &Path) -> Option<Self> {
        let text = |name: &str| fs::read_to_string(directory.join(name)).ok().map(|text| text.trim().to_owned());
        // A kernel without CONFIG_WATCHDOG_SYSFS has the directory and nothing in it.
        text("identity").or_else(|| text("nowayout"))?;
        // Zero: the driver sets no limit.
        let limit = |name: &str| text(name).and_then(|text| text.parse().ok()).filter(|limit| *limit > 0);
        Some(Self {
            identity: text("identity"),
            shortest: limit("min_timeout"),
            longest: limit("max_timeout"),
            is_nowayout: text("nowayout").as_deref() == Some("1"),
        })
    }
}

fn sysfs(path: &Path) -> Option<PathBuf> {
    let metadata = fs::metadata(path).ok().filter(|metadata| metadata.file_type().is_char_device())?;
    let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
    if (major, minor) == FIRST_DEVICE {
        return Some(PathBuf::from("/sys/class/watchdog/watchdog0"));
    }
    Some(PathBuf::from(format!("/sys/dev/char/{major}:{minor}")))
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use super::fake::FakeWatchdog;
    use super::*;

    #[test]
    fn watchdog_is_armed_with_what_the_driver_makes_of_the_number() {
        let fake = FakeWatchdog::default();
        let armed = arm(&fake, 4).unwrap();
        assert_eq!((armed.timeout, armed.identity.as_str(), armed.cause.word()), (4, "fake timer", "none"));
        // Some hardware knows only powers of two, or steps of ten seconds.
        let fake = FakeWatchdog { step: 10, ..FakeWatchdog::default() };
        assert_eq!(arm(&fake, 4).unwrap().timeout, 10);
        let fake = FakeWatchdog { is_timeout_fixed: true, ..FakeWatchdog::default() };
        fake.timeout.set(60);
        assert_eq!(arm(&fake, 4).unwrap().timeout, 60, "its own");
    }

    #[test]
    fn watchdog_that_refuses_the_timeout_is_stopped_and_named() {
        let fake = FakeWatchdog { longest: 30, ..FakeWatchdog::default() };
        let error = arm(&fake, 31).unwrap_err();
        assert_eq!(error, "fake timer refuses a timeout of 31 s (Invalid argument (os error 22))");
        assert!(fake.is_disarmed.get(), "opened, so it runs");
        assert_eq!(fake.timeout.get(), 30, "the old value stays");
    }

    #[test]
    fn watchdog_warns_the_kernel_a_second_ahead_where_it_can() {
        let fake = FakeWatchdog { has_pretimeout: true, ..FakeWatchdog::default() };
        arm(&fake, 3).unwrap();
        assert_eq!(fake.pretimeout.get(), Some(1));
        arm(&fake, 2).unwrap();
        assert_eq!(fake.pretimeout.get(), Some(0), "too short for a warning");
        let fake = FakeWatchdog::default();
        arm(&fake, 9).unwrap();
        assert_eq!(fake.pretimeout.get(), None);
    }

    #[test]
    fn file_that_is_no_watchdog_is_refused_and_not_written_to() {
        let device = Device(tempfile());
        assert!(arm(&device, 4).unwrap_err().starts_with("it is no watchdog (Inappropriate ioctl"));
        assert_eq!(device.0.metadata().unwrap().len(), 0);
        assert_eq!(Facts::of(Path::new("/dev/null")), None);
        assert_eq!(Facts::of(Path::new("/nonexistent")), None);
    }

    fn tempfile() -> File {
        nix::sys::memfd::memfd_create(c"watchdog-test", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap().into()
    }

    #[test]
    fn reset_causes_have_words_and_foreign_bits_none() {
        assert_eq!(ResetCause::from_bits(0x20).word(), "watchdog");
        assert!(ResetCause::from_bits(0x20).is_watchdog());
        assert_eq!(ResetCause::from_bits(0x8180), ResetCause::default());
        assert_eq!(ResetCause::from_bits(0).word(), "none");
        assert_eq!(ResetCause::from_bits(0x10).word(), "undervoltage");
    }

    #[test]
    fn facts_are_read_from_sysfs() {
        let root = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-watchdog-XXXXXX")).unwrap();
        assert_eq!(Facts::read(&root), None, "a kernel that does not tell");
        for (name, text) in
            [("identity", "i6300ESB timer\n"), ("min_timeout", "1\n"), ("max_timeout", "0\n"), ("nowayout", "1\n")]
        {
            fs::write(root.join(name), text).unwrap();
        }
        let facts = Facts::read(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let identity = Some("i6300ESB timer".to_owned());
        assert_eq!(facts, Facts { identity, shortest: Some(1), longest: None, is_nowayout: true });
    }
}
