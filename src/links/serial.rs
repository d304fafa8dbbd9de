//! A serial line: null-modem cable, or a pseudo-terminal standing in for one (spec/wire.md 11.3).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{fstat, major};
use nix::sys::termios::{
    BaudRate, ControlFlags, FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios,
    tcflush, tcgetattr, tcsetattr,
};
use nix::unistd::{read, write};

use super::output::Output;
use super::{Cargo, latency, lock};
use crate::core::time::{Duration, Instant};
use crate::sys::tty;

/// A write that makes no progress for so long is given up.
pub const WRITE_LIMIT: Duration = Duration::from_millis(500);
/// With no more than this left to do the driver takes another message: so the line does not fall idle meanwhile.
const DRIVER_TIME: Duration = Duration::from_millis(3);
/// Shortest time until the driver's queue is looked at again.
const LOOK_MIN: Duration = Duration::from_millis(1);
/// On the line, for each byte: start, eight, stop.
const BITS_PER_BYTE: u64 = 10;
/// The line's complaint about that is repeated at most this often.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(3600);

/// Opens and sets up a line: exclusive, raw, 8 bits, no parity, non-blocking, both directions emptied.
///
/// `lock_directory` may be absent. The lock file stays until [`lock::release`]; the lock on the device (flock(2), and
/// TIOCEXCL except on pseudo-terminals) stands as long as the descriptor.
///
/// # Errors
/// An errno: `EBUSY` when another process has the line, else what open(2) and ioctl(2) say.
pub fn open(device: &Path, baud: u32, is_rtscts: bool, lock_directory: &Path) -> io::Result<OwnedFd> {
    lock::acquire(lock_directory, device).map_err(|_| {
        log::error!("glib: cannot lock line {}", device.display());
        io::Error::from(Errno::EBUSY)
    })?;
    let result = open_locked(device, baud, is_rtscts);
    match &result {
        Ok(_) => log::info!("glib: Starting serial heartbeat on tty {} ({baud} baud)", device.display()),
        Err(_) => lock::release(lock_directory, device),
    }
    result
}

fn open_locked(device: &Path, baud: u32, is_rtscts: bool) -> io::Result<OwnedFd> {
    let builder = serialport::new(device.to_string_lossy(), baud).exclusive(true);
    let port = serialport::TTYPort::open(&builder).map_err(|error| errno_of(&error))?;
    let terminal = tty::into_descriptor(port);
    if is_pseudo(&terminal)? {
        // The mode sticks to a pseudo-terminal until both ends are closed: after a crash nobody but root could open
        // it again.
        tty::clear_exclusive(&terminal)?;
    }
    let mut settings = tcgetattr(&terminal)?;
    apply(&mut settings, is_rtscts);
    if let Some(speed) = speed_of(baud) {
        set_speed(&mut settings, speed);
    }
    tcsetattr(&terminal, SetArg::TCSANOW, &settings)?;
    tcflush(&terminal, FlushArg::TCIOFLUSH)?;
    fcntl(&terminal, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    latency::lower(device, &terminal, Path::new(latency::TERMINALS));
    Ok(terminal)
}

/// `serialport` keeps the kind of an error and loses its number.
fn errno_of(error: &serialport::Error) -> Errno {
    match error.kind {
        serialport::ErrorKind::NoDevice => Errno::EBUSY,
        serialport::ErrorKind::InvalidInput => Errno::EINVAL,
        serialport::ErrorKind::Io(io::ErrorKind::NotFound) => Errno::ENOENT,
        serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => Errno::EACCES,
        serialport::ErrorKind::Io(io::ErrorKind::ResourceBusy) => Errno::EBUSY,
        serialport::ErrorKind::Io(_) | serialport::ErrorKind::Unknown => Errno::EIO,
    }
}

/// Major numbers 136–143 are the slave ends of pseudo-terminals on Linux.
fn is_pseudo(terminal: &OwnedFd) -> io::Result<bool> {
    Ok((136..=143).contains(&major(fstat(terminal)?.st_rdev)))
}

/// cfsetspeed(3), done by hand: the `libc` crate asks for it under a versioned name, which a static program cannot have.
/// On Linux the kernel takes the speed from these bits alone.
fn set_speed(settings: &mut Termios, speed: BaudRate) {
    settings.control_flags.remove(ControlFlags::CBAUD);
    settings.control_flags.insert(ControlFlags::from_bits_retain(speed as u32));
}

/// The speeds that ha.cf knows. `serialport` sets them as numbers, which not every driver gives back.
const fn speed_of(baud: u32) -> Option<BaudRate> {
    Some(match baud {
        9_600 => BaudRate::B9600,
        19_200 => BaudRate::B19200,
        38_400 => BaudRate::B38400,
        57_600 => BaudRate::B57600,
        115_200 => BaudRate::B115200,
        230_400 => BaudRate::B230400,
        460_800 => BaudRate::B460800,
        _ => return None,
    })
}

fn apply(settings: &mut Termios, is_rtscts: bool) {
    settings.input_flags.remove(
        InputFlags::PARMRK
            | InputFlags::INLCR
            | InputFlags::ICRNL
            | InputFlags::IXON
            | InputFlags::IXOFF
            | InputFlags::IXANY
            | InputFlags::BRKINT
            | InputFlags::ISTRIP
            | InputFlags::IGNCR,
    );
    // Unlike the original, a break is ignored: with BRKINT each one, and a peer that opens its port sends one, would
    // empty our queues in the middle of a message.
    // And all eight bits are kept, carriage returns too: compact frames have them, and readers of text skip what is not
    // theirs.
    settings.input_flags.insert(InputFlags::IGNBRK | InputFlags::INPCK);
    settings.output_flags.remove(OutputFlags::OPOST);
    settings.control_flags.remove(ControlFlags::CSIZE | ControlFlags::PARENB | ControlFlags::CSTOPB);
    settings.control_flags.insert(ControlFlags::CS8 | ControlFlags::CREAD | ControlFlags::CLOCAL);
    settings.control_flags.set(ControlFlags::CRTSCTS, is_rtscts);
    settings
        .local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ISIG | LocalFlags::IEXTEN);
    // With VMIN 0 a read of nothing would look like a hang-up.
    settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
}

/// Something waits for the driver's queue to become short.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// When that was last seen to become shorter.
    since: Instant,
    /// Its length then.
    queued: Duration,
    look_at: Instant,
}

/// The engine's side of a line. It survives the loss of the device.
#[derive(Debug)]
pub struct SerialLine {
    device: PathBuf,
    terminal: Option<OwnedFd>,
    output: Output,
    /// Since when nothing has left although something waits.
    stalled_since: Option<Instant>,
    /// What waits here until the driver's queue is short.
    held: Option<Held>,
    baud: u32,
    /// When all frames that were written have left, by arithmetic: pseudo-terminals do not tell how long their queue is, and
    /// adapters have one that their driver does not see. Heartbeat's messages are held back by what the driver tells alone:
    /// one that is replaced while it waits is a lost packet to a Heartbeat.
    clear_at: Instant,
    complained_at: Option<Instant>,
    /// The last message was cut off somewhere: the next one must not join its last line.
    is_mid_line: bool,
    /// How many bytes there must be until the line counts as readable, as far as the terminal has been told.
    portion: Option<u8>,
    /// Bytes received.
    pub bytes: u64,
    /// Messages of which the last byte has been handed to the driver.
    pub sent: u64,
    /// Times that a stalled line was emptied.
    pub stalls: u64,
}

impl SerialLine {
    /// A line that is not open yet.
    pub fn new(device: &Path, baud: u32) -> Self {
        Self {
            device: device.to_owned(),
            terminal: None,
            output: Output::default(),
            stalled_since: None,
            held: None,
            baud,
            clear_at: Instant::default(),
            complained_at: None,
            is_mid_line: false,
            portion: None,
            bytes: 0,
            sent: 0,
            stalls: 0,
        }
    }

    /// Takes a descriptor from [`open`].
    pub fn attach(&mut self, terminal: OwnedFd) {
        self.output.clear();
        (self.stalled_since, self.held) = (None, None);
        // Whatever stands in the peer's buffer from our last time.
        self.is_mid_line = true;
        self.terminal = Some(terminal);
        // An earlier engine may have told it something else.
        self.portion = None;
        self.await_bytes(1);
    }

    /// Gives the descriptor up; what waited is dropped.
    pub fn detach(&mut self) -> Option<OwnedFd> {
        self.output.clear();
        (self.stalled_since, self.held) = (None, None);
        self.terminal.take()
    }

    /// The descriptor, while there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Messages dropped because the line was too slow, cut or gone.
    pub const fn dropped(&self) -> u64 {
        self.output.dropped
    }

    /// Whether writability is worth a wake-up.
    pub fn is_output_waiting(&self) -> bool {
        // What is held waits for the queue to become shorter than epoll tells.
        self.terminal.is_some() && !self.output.is_empty() && self.held.is_none()
    }

    /// Whether everything that was said has left, by arithmetic and without asking the driver.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.output.is_empty() && self.clear_at <= now
    }

    /// How many bytes the line carries in so long a time.
    pub fn bytes_in(&self, time: Duration) -> usize {
        usize::try_from(time.as_micros() * u128::from(self.baud) / u128::from(BITS_PER_BYTE * 1_000_000))
            .unwrap_or(usize::MAX)
    }

    /// When to call [`SerialLine::flush`] although nothing became writable.
    pub fn deadline(&self) -> Option<Instant> {
        self.stalled_since.map(|since| since + WRITE_LIMIT).or(self.held.map(|held| held.look_at))
    }

    /// How many messages of clients wait here.
    pub fn of_clients(&self) -> usize {
        self.output.of_clients()
    }

    /// Bytes handed to the driver that are not on the line yet, and bytes that wait here.
    pub fn backlog(&self) -> usize {
        let queued = self.descriptor().and_then(|terminal| tty::output_queued(terminal).ok());
        self.output.waiting() + queued.unwrap_or(0)
    }

    /// What has arrived: the number of bytes put into `buffer`, zero when there is nothing more.
    ///
    /// # Errors
    /// The device is lost: hang-up, or what read(2) says.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(terminal) = &self.terminal else { return Ok(0) };
        match read(terminal, buffer) {
            Ok(0) => Err(Errno::EIO.into()),
            Ok(count) => {
                self.bytes += count as u64;
                Ok(count)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// From now on the line wakes nobody before there are so many bytes (VMIN of termios(3)): a beat comes in portions, as a
    /// UART's FIFO or an adapter passes them on, and each would be a turn of the loop. What a read takes is not changed by it.
    pub fn await_bytes(&mut self, portion: u8) {
        if self.portion == Some(portion) {
            return;
        }
        let Some(terminal) = &self.terminal else { return };
        self.portion = Some(portion);
        // What cannot be set costs turns, and nothing else.
        if let Ok(mut settings) = tcgetattr(terminal) {
            settings.control_chars[SpecialCharacterIndices::VMIN as usize] = portion;
            let _ = tcsetattr(terminal, SetArg::TCSANOW, &settings);
        }
    }

    /// Sends one message, now as far as the line takes it, the rest later.
    ///
    /// # Errors
    /// The device is lost.
    pub fn send(&mut self, message: &[u8], cargo: Cargo, now: Instant) -> io::Result<()> {
        if self.terminal.is_none() {
            return Ok(());
        }
        if self.is_mid_line {
            self.is_mid_line = false;
            self.output.end_line();
        }
        self.output.push(message, cargo);
        // While the line is blocked the driver tells when it is worth trying again.
        if self.stalled_since.is_some() { Ok(()) } else { self.flush(now) }
    }

    /// Writes what waits; empties the line when nothing has moved for [`WRITE_LIMIT`].
    ///
    /// # Errors
    /// The device is lost.
    pub fn flush(&mut self, now: Instant) -> io::Result<()> {
        while let Some(terminal) = &self.terminal {
            if self.output.is_empty() {
                (self.stalled_since, self.held) = (None, None);
                return Ok(());
            }
            let is_frame = self.output.is_frame_next();
            let told = self.time_of(tty::output_queued(terminal).unwrap_or(0));
            let queued = if is_frame { told.max(self.clear_at.since(now)) } else { told };
            let pending = self.output.pending(queued <= DRIVER_TIME);
            if pending.is_empty() {
                self.stalled_since = None;
                self.hold(queued, now);
                return Ok(());
            }
            self.held = None;
            match write(terminal, pending) {
                Ok(count) if count > 0 => {
                    self.sent += self.output.advance(count);
                    self.stalled_since = None;
                    if is_frame {
                        self.clear_at = self.clear_at.max(now) + self.time_of(count);
                    }
                }
                Ok(_) | Err(Errno::EAGAIN) => {
                    let since = *self.stalled_since.get_or_insert(now);
                    if now.since(since) >= WRITE_LIMIT {
                        self.give_up(now);
                    }
                    return Ok(());
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What so many bytes take on the line.
    fn time_of(&self, bytes: usize) -> Duration {
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(BITS_PER_BYTE * 1_000_000);
        Duration::from_micros(bits.div_ceil(u64::from(self.baud.max(1))))
    }

    /// What is left waits until the driver's queue, which takes so long now, has become short.
    fn hold(&mut self, queued: Duration, now: Instant) {
        let since = self.held.filter(|held| queued >= held.queued).map_or(now, |held| held.since);
        let silence = now.since(since);
        if silence >= WRITE_LIMIT {
            return self.give_up(now);
        }
        let time = queued.saturating_sub(DRIVER_TIME);
        // Longer and longer on a line that does not move.
        self.held = Some(Held { since, queued, look_at: now + time.max(LOOK_MIN).max(silence / 2) });
    }

    fn give_up(&mut self, now: Instant) {
        if let Some(terminal) = &self.terminal {
            let _ = tcflush(terminal, FlushArg::TCOFLUSH);
        }
        self.output.clear();
        (self.stalled_since, self.held) = (None, None);
        self.clear_at = now;
        self.is_mid_line = true;
        self.stalls += 1;
        if self.complained_at.is_none_or(|at| now.since(at) >= COMPLAINT_PAUSE) {
            self.complained_at = Some(now);
            log::warn!(
                "glib: TTY write timeout on [{}] (no connection or bad cable? [see documentation])",
                self.device.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

    use super::*;

    /// The far end of a cable, and the name of the near end.
    fn cable() -> (PtyMaster, PathBuf) {
        let far = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let name = ptsname_r(&far).unwrap();
        (far, PathBuf::from(name))
    }

    fn no_locks() -> &'static Path {
        Path::new("/nonexistent/lock")
    }

    fn line() -> (PtyMaster, SerialLine) {
        let (far, name) = cable();
        let mut line = SerialLine::new(&name, 19_200);
        line.attach(open(&name, 19_200, true, no_locks()).unwrap());
        (far, line)
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// Everything that has arrived at the far end.
    fn drain(far: &mut PtyMaster) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count) = far.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    #[test]
    fn line_carries_bytes_both_ways_unchanged() {
        let (mut far, mut line) = line();
        line.send(b">>>\nt=status\n<<<\n", Cargo::Beat, at(0)).unwrap();
        assert_eq!(drain(&mut far), b"\n>>>\nt=status\n<<<\n");
        assert_eq!(line.sent, 2);
        // Every byte arrives as it is.
        far.write_all(b"a\r\n\x03\x04\x11\x13\xc1z").unwrap();
        let mut buffer = [0; 64];
        let count = line.receive(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"a\r\n\x03\x04\x11\x13\xc1z");
        assert_eq!(line.receive(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn line_settings_are_those_of_the_specification() {
        let (_far, line) = line();
        let settings = tcgetattr(line.descriptor().unwrap()).unwrap();
        assert!(settings.input_flags.contains(InputFlags::INPCK));
        assert!(!settings.input_flags.intersects(InputFlags::ISTRIP | InputFlags::IGNCR), "frames have all eight bits");
        assert!(!settings.input_flags.intersects(InputFlags::IXON | InputFlags::IXOFF | InputFlags::ICRNL));
        assert!(!settings.output_flags.contains(OutputFlags::OPOST));
        assert!(!settings.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
        assert!(settings.control_flags.contains(ControlFlags::CREAD | ControlFlags::CLOCAL | ControlFlags::CS8));
        assert_eq!(nix::sys::termios::cfgetospeed(&settings), BaudRate::B19200);
    }

    #[test]
    fn line_is_exclusive_while_open_and_free_after_close() {
        let (_far, name) = cable();
        let first = open(&name, 115_200, false, no_locks()).unwrap();
        let error = open(&name, 115_200, false, no_locks()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EBUSY as i32));
        drop(first);
        open(&name, 115_200, false, no_locks()).unwrap();
    }

    #[test]
    fn line_device_missing_or_no_terminal_is_an_errno() {
        let error = open(Path::new("/dev/nonexistent"), 9600, false, no_locks()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ENOENT as i32));
        let error = open(Path::new("/dev/null"), 9600, false, no_locks()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32));
    }

    #[test]
    fn line_nobody_reads_never_blocks_then_gives_up_then_works_again() {
        let (mut far, mut line) = line();
        let beat = [b'x'; 400];
        let mut now = at(0);
        while line.stalled_since.is_none() {
            now = now + Duration::from_millis(210);
            line.send(&beat, Cargo::Beat, now).unwrap();
            assert!(line.sent < 1_000_000 / 400, "the kernel's buffer has no end");
        }
        // The cable is out: each beat replaces the one before, nothing piles up.
        for _ in 0..100 {
            now = now + Duration::from_millis(4);
            line.send(&beat, Cargo::Beat, now).unwrap();
            assert!(line.output.waiting() <= 2 * beat.len());
        }
        assert_eq!(line.stalls, 0);
        line.flush(line.deadline().unwrap()).unwrap();
        assert_eq!(line.stalls, 1);
        assert!(!line.is_output_waiting());
        drain(&mut far);
        line.send(b">>>\n", Cargo::Beat, now + Duration::from_secs(2)).unwrap();
        assert_eq!(drain(&mut far), b"\n>>>\n", "a cut message is closed by a line end");
    }

    #[test]
    fn line_wakes_for_as_many_bytes_as_are_awaited_and_gives_all_that_are_there() {
        let (mut far, mut line) = line();
        let is_readable = |line: &SerialLine| {
            let mut polled = [PollFd::new(line.descriptor().unwrap(), PollFlags::POLLIN)];
            poll(&mut polled, PollTimeout::ZERO).unwrap() == 1
        };
        let mut buffer = [0; 64];
        line.await_bytes(22);
        far.write_all(&[b'a'; 21]).unwrap();
        assert!(!is_readable(&line));
        far.write_all(b"b").unwrap();
        assert!(is_readable(&line));
        assert_eq!(line.receive(&mut buffer).unwrap(), 22);
        far.write_all(b"cd").unwrap();
        assert_eq!(line.receive(&mut buffer).unwrap(), 2, "less is there for those who ask");
        far.write_all(b"e").unwrap();
        assert!(!is_readable(&line));
        line.await_bytes(1);
        assert!(is_readable(&line), "what has come already counts at once");
    }

    #[test]
    fn line_keeps_its_own_account_of_frames_where_the_driver_s_queue_is_not_told() {
        let (mut far, mut line) = line();
        let frame = |text: &[u8]| [b"\0", text].concat();
        line.send(&frame(&[b'a'; 191]), Cargo::Daemon, at(0)).unwrap();
        assert_eq!(drain(&mut far).len(), 193, "100 ms, and the line end that goes first");
        line.send(&frame(b"beat 1"), Cargo::ShortBeat, at(10)).unwrap();
        line.send(&frame(&[b'b'; 95]), Cargo::Daemon, at(20)).unwrap();
        line.send(&frame(b"beat 2"), Cargo::ShortBeat, at(90)).unwrap();
        assert_eq!(drain(&mut far), b"");
        // Times are rounded to microseconds.
        assert!(line.deadline().is_some_and(|due| due >= at(97) && due < at(98)), "{:?}", line.deadline());
        line.flush(line.deadline().unwrap()).unwrap();
        assert_eq!(drain(&mut far), b"\0beat 2", "the older one is stale");
        line.flush(line.deadline().unwrap()).unwrap();
        assert_eq!((drain(&mut far), line.deadline()), (frame(&[b'b'; 95]), None));
        assert_eq!(line.stalls, 0);
    }

    #[test]
    fn line_slow_reader_gets_whole_messages_in_order() {
        let (mut far, mut line) = line();
        let mut received = drain(&mut far);
        let mut now = at(0);
        for n in 0..200u32 {
            now = now + Duration::from_millis(100);
            line.send(format!("{n:>499}\n").as_bytes(), Cargo::Daemon, now).unwrap();
            if n % 8 == 7 {
                received.extend(drain(&mut far));
                line.flush(now).unwrap();
            }
        }
        while !line.output.is_empty() {
            now = now + Duration::from_millis(100);
            received.extend(drain(&mut far));
            line.flush(now).unwrap();
        }
        received.extend(drain(&mut far));
        let text = String::from_utf8(received).unwrap();
        let numbers: Vec<u32> = text.lines().skip(1).map(|line| line.trim().parse().unwrap()).collect();
        assert!(numbers.is_sorted());
        assert_eq!(numbers.len() as u64 + line.dropped(), 200);
    }

    #[test]
    fn line_hung_up_is_lost_for_reading_and_writing() {
        let (far, mut line) = line();
        drop(far);
        assert!(line.receive(&mut [0; 16]).is_err());
        assert!(line.send(b"x", Cargo::Daemon, at(0)).is_err());
        assert!(line.detach().is_some());
        line.send(b"x", Cargo::Daemon, at(0)).unwrap();
        assert_eq!(line.receive(&mut [0; 16]).unwrap(), 0);
    }
}
