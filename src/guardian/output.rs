//! What scripts print.
//!
//! A service started by a script writes through the stdout it inherited for as long as it lives, whatever becomes of
//! us. So stdout is a regular file opened with O_APPEND in `RUN_DIR/output`: nobody who writes to it is ever blocked or
//! killed by a missing reader. We read the file while the script runs and, now and then, as long as somebody holds it,
//! log what is new line by line within a budget, and cut the file back when it has grown too long. A file that nobody
//! else holds is removed. Files of an earlier guardian are taken over.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;

use crate::sys;

/// A file longer than this is cut back to nothing once it has been read.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of `status` output that are judged.
pub const STATUS_BYTES_MAX: usize = 64 * 1024;
/// What one run of a script may put into the log.
const RUN_BUDGET: Budget = Budget { lines: 400, bytes: 64 * 1024 };
/// What a service may put into the log between two slow looks.
const SERVICE_BUDGET: Budget = Budget { lines: 20, bytes: 4 * 1024 };
/// Longest line in the log, bytes; the rest is cut.
const LINE_BYTES_MAX: usize = 480;
/// Files of services that still write. The oldest is given up (removed, not looked at again) for one more.
const KEPT_MAX: usize = 256;
/// Between two looks at a service's file.
const SLOW: Duration = Duration::from_secs(10);
/// Between two looks at a running script's file: at once after it printed, then less and less often.
const FAST_MIN: Duration = Duration::from_millis(20);
const FAST_MAX: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct Budget {
    lines: u32,
    bytes: u64,
}

/// The files of `RUN_DIR/output`.
#[derive(Debug)]
pub struct Outputs {
    directory: PathBuf,
    next: u64,
    kept: VecDeque<Output>,
    look_at: Option<Instant>,
}

impl Outputs {
    /// Makes the directory if need be and takes over what an earlier guardian has left there.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(run_directory: &Path, now: Instant) -> io::Result<Self> {
        let directory = run_directory.join("output");
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let mut outputs = Self { directory, next: 0, kept: VecDeque::new(), look_at: None };
        outputs.adopt()?;
        outputs.look_at = (!outputs.kept.is_empty()).then_some(now);
        Ok(outputs)
    }

    fn adopt(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((number, script)) = name.split_once('.') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            self.next = self.next.max(number + 1);
            let Ok(file) = open_ours(&path, false) else { continue };
            let mut output = Output::new(file, path.clone(), script.to_owned(), false);
            // What was written before is not ours to repeat.
            output.read = output.length();
            self.keep(output);
        }
        Ok(())
    }

    /// A new file for a run of the script `name`: our side, and the one that becomes its stdout. With `is_status` the
    /// text is kept for judging instead of being logged.
    ///
    /// # Errors
    /// When the run directory is full or gone.
    pub fn create(&mut self, name: &str, is_status: bool) -> io::Result<(Output, File)> {
        let safe: String = name.chars().map(|letter| if letter == '/' { '_' } else { letter }).take(64).collect();
        let path = self.directory.join(format!("{}.{safe}", self.next));
        self.next += 1;
        let ours = open_ours(&path, true)?;
        // A second opening, not a duplicate: flags and offset of the script's side are its own.
        let theirs = File::options().append(true).custom_flags(libc::O_NOFOLLOW).open(&path)?;
        Ok((Output::new(ours, path, name.to_owned(), is_status), theirs))
    }

    /// The run is over: logs what is left, removes the file or keeps it for as long as somebody holds it. Returns the
    /// text of a `status` run.
    pub fn finish(&mut self, now: Instant, mut output: Output) -> Vec<u8> {
        output.look();
        output.end_run();
        let head = std::mem::take(&mut output.head).unwrap_or_default();
        if output.is_held() {
            self.keep(output);
            self.look_at.get_or_insert(now + SLOW);
        } else {
            output.remove();
        }
        head
    }

    fn keep(&mut self, output: Output) {
        if self.kept.len() >= KEPT_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            log::warn!("{}: output file given up: more than {KEPT_MAX} services hold one", oldest.name);
            oldest.remove();
        }
        self.kept.push_back(output);
    }

    /// When [`turn`](Self::turn) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Looks at the files of services.
    pub fn turn(&mut self, now: Instant) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        for mut output in std::mem::take(&mut self.kept) {
            output.budget = SERVICE_BUDGET;
            output.look();
            output.report_skipped();
            if output.is_held() {
                self.kept.push_back(output);
            } else {
                output.flush_partial();
                output.remove();
            }
        }
        self.look_at = (!self.kept.is_empty()).then_some(now + SLOW);
    }
}

fn open_ours(path: &Path, is_new: bool) -> io::Result<File> {
    File::options().read(true).write(true).create_new(is_new).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// One file that a script, or a service it started, writes to.
#[derive(Debug)]
pub struct Output {
    file: File,
    path: PathBuf,
    name: String,
    /// Up to where it has been read.
    read: u64,
    partial: Vec<u8>,
    budget: Budget,
    /// Bytes that the log did not get.
    skipped: u64,
    /// The beginning of what a `status` run printed; `None`: to be logged.
    head: Option<Vec<u8>>,
    interval: Duration,
    look_at: Option<Instant>,
}

impl Output {
    fn new(file: File, path: PathBuf, name: String, is_status: bool) -> Self {
        Self {
            file,
            path,
            name,
            read: 0,
            partial: Vec::new(),
            budget: RUN_BUDGET,
            skipped: 0,
            head: is_status.then(Vec::new),
            interval: FAST_MIN,
            look_at: None,
        }
    }

    /// Sets the first look at the file of a script that begins now.
    pub fn begin(&mut self, now: Instant) {
        self.look_at = Some(now + FAST_MIN);
    }

    /// When [`turn`](Self::turn) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Reads what is new while the script runs.
    pub fn turn(&mut self, now: Instant) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        let has_printed = self.look();
        self.interval = if has_printed { FAST_MIN } else { FAST_MAX.min(self.interval * 2) };
        self.look_at = Some(now + self.interval);
    }

    /// Reads and logs what is new, cuts the file back. Returns whether there was anything.
    fn look(&mut self) -> bool {
        let length = self.length();
        // Somebody cut it: a script may do `: >/dev/stdout`.
        self.read = self.read.min(length);
        let has_news = length > self.read;
        let mut chunk = [0; 4096];
        while self.read < length {
            if self.is_sated() {
                self.skipped += length - self.read;
                self.read = length;
                break;
            }
            let want = chunk.len().min(usize::try_from(length - self.read).unwrap_or(chunk.len()));
            match self.file.read_at(&mut chunk[..want], self.read) {
                Ok(0) | Err(_) => break,
                Ok(got) => {
                    self.read += got as u64;
                    self.take(&chunk[..got]);
                }
            }
        }
        if self.read > FILE_BYTES_MAX {
            self.cut();
        }
        has_news
    }

    /// Whether nothing more is wanted.
    fn is_sated(&self) -> bool {
        match &self.head {
            Some(head) => head.len() >= STATUS_BYTES_MAX,
            None => self.budget.lines == 0 || self.budget.bytes == 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if let Some(head) = &mut self.head {
            let room = STATUS_BYTES_MAX - head.len().min(STATUS_BYTES_MAX);
            head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return;
        }
        for &byte in bytes {
            if byte == b'\n' {
                self.flush_partial();
            } else if self.partial.len() < LINE_BYTES_MAX {
                self.partial.push(byte);
            } else {
                self.skipped += 1;
            }
        }
    }

    fn flush_partial(&mut self) {
        if self.partial.is_empty() {
            return;
        }
        let size = self.partial.len() as u64;
        if self.budget.lines == 0 || self.budget.bytes < size {
            self.skipped += size;
        } else {
            self.budget.lines -= 1;
            self.budget.bytes -= size;
            log::info!("{}: {}", self.name, printable(&self.partial));
        }
        self.partial.clear();
    }

    fn cut(&mut self) {
        let lost = self.length().saturating_sub(self.read);
        match self.file.set_len(0) {
            Ok(()) => {
                self.skipped += lost;
                self.read = 0;
            }
            Err(error) => log::warn!("{}: cannot cut {}: {error}", self.name, self.path.display()),
        }
    }

    fn end_run(&mut self) {
        self.flush_partial();
        if self.head.is_none() {
            self.report_skipped();
        }
        self.look_at = None;
    }

    fn report_skipped(&mut self) {
        if self.skipped > 0 {
            log::warn!("{}: {} bytes of output not logged", self.name, self.skipped);
            self.skipped = 0;
        }
    }

    fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |data| data.len())
    }

    /// Where it cannot be told, somebody may hold it.
    fn is_held(&self) -> bool {
        sys::holders::is_open_elsewhere(self.file.as_fd()).unwrap_or(true)
    }

    fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Text that cannot do anything to a terminal or forge a line.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for letter in String::from_utf8_lossy(bytes).chars() {
        match letter {
            '\t' => text.push(' '),
            letter if letter.is_control() => text.extend(letter.escape_default()),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Room(PathBuf);

    impl Room {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nullbeat-output-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn status_text_is_bounded_and_the_file_cut_back() {
        let room = Room::new("status");
        let now = Instant::now();
        let mut outputs = Outputs::open(&room.0, now).unwrap();
        let (mut output, mut theirs) = outputs.create("a", true).unwrap();
        theirs.write_all(&vec![b'x'; 3 * STATUS_BYTES_MAX]).unwrap();
        output.look();
        theirs.write_all(&vec![b'y'; 3 * STATUS_BYTES_MAX]).unwrap();
        output.look();
        assert_eq!(output.length(), 0);
        drop(theirs);
        assert_eq!(outputs.finish(now, output), vec![b'x'; STATUS_BYTES_MAX]);
    }

    #[test]
    fn log_gets_no_more_than_the_budget_and_the_rest_is_counted() {
        let room = Room::new("budget");
        let mut outputs = Outputs::open(&room.0, Instant::now()).unwrap();
        let (mut output, mut theirs) = outputs.create("a", false).unwrap();
        for _ in 0..1000 {
            theirs.write_all(b"123456789\n").unwrap();
        }
        output.look();
        assert_eq!(output.budget.lines, 0);
        // 400 lines of a thousand; the line ends of those that were read are not text.
        let unread = output.skipped;
        assert!((590 * 9..=6000).contains(&unread), "{unread}");
        // One endless line is cut, not kept.
        output.budget = RUN_BUDGET;
        let begun = output.partial.len();
        theirs.write_all(&vec![b'x'; 10_000]).unwrap();
        output.look();
        assert_eq!(output.partial.len(), LINE_BYTES_MAX);
        assert_eq!(output.skipped, unread + (10_000 + begun - LINE_BYTES_MAX) as u64);
    }

    #[test]
    fn file_is_kept_as_long_as_somebody_holds_it() {
        let room = Room::new("held");
        let now = Instant::now();
        let mut outputs = Outputs::open(&room.0, now).unwrap();
        let (output, theirs) = outputs.create("a/b", false).unwrap();
        let path = output.path.clone();
        outputs.finish(now, output);
        assert!(path.exists());
        outputs.turn(now + SLOW);
        assert!(path.exists());
        drop(theirs);
        outputs.turn(now + 2 * SLOW);
        assert!(!path.exists());
        assert_eq!(outputs.next_deadline(), None);
    }

    #[test]
    fn control_characters_do_no_harm() {
        assert_eq!(printable(b"a\tb\x1b[31mc\r\xff"), "a b\\u{1b}[31mc\\r\u{fffd}");
    }
}
