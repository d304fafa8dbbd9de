//! QEMU's control protocol: commands, and the events by which a board's fate is seen from outside.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::PATIENCE;

/// Something that happened to the board.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    /// `RESET`, `WATCHDOG`, `STOP`, …
    pub(crate) name: String,
    /// The whole line, JSON.
    pub(crate) line: String,
}

/// All events of a board over all its power cycles.
#[derive(Default)]
pub(crate) struct Events {
    seen: Mutex<Vec<Event>>,
    more: Condvar,
}

impl Events {
    /// How many there have been: what to hand to [`Self::wait_after`] before causing the next one.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("no panic").len()
    }

    /// Waits for an event of this name that was not among the first `count`.
    #[track_caller]
    pub(crate) fn wait_after(&self, count: usize, name: &str) -> Event {
        let start = Instant::now();
        let mut seen = self.seen.lock().expect("no panic");
        loop {
            if let Some(event) = seen[count..].iter().find(|event| event.name == name) {
                return event.clone();
            }
            let Some(left) = PATIENCE.checked_sub(start.elapsed()) else {
                drop(seen);
                panic!("not within {PATIENCE:?}: event {name}");
            };
            seen = self.more.wait_timeout(seen, left).expect("no panic").0;
        }
    }

    /// All so far.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.seen.lock().expect("no panic").clone()
    }

    fn note(&self, event: Event) {
        self.seen.lock().expect("no panic").push(event);
        self.more.notify_all();
    }
}

/// The connection to one QEMU.
pub(crate) struct Qmp {
    stream: UnixStream,
    replies: Receiver<String>,
}

impl Qmp {
    /// Takes over a fresh connection; `on_event` is called before the event can be waited for.
    pub(crate) fn new(stream: UnixStream, events: Arc<Events>, on_event: impl Fn(&Event) + Send + 'static) -> Self {
        let reader = BufReader::new(stream.try_clone().expect("a copy"));
        let (sender, replies) = channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                match text_of(&line, "event") {
                    Some(name) => {
                        let event = Event { at: Instant::now(), name: name.to_owned(), line };
                        on_event(&event);
                        events.note(event);
                    }
                    None if line.contains("\"QMP\"") => {}
                    None => drop(sender.send(line)),
                }
            }
        });
        let mut qmp = Self { stream, replies };
        qmp.execute("qmp_capabilities", "");
        qmp
    }

    /// Runs a command; `arguments` is JSON between the braces. The reply's line.
    #[track_caller]
    pub(crate) fn execute(&mut self, command: &str, arguments: &str) -> String {
        self.try_execute(command, arguments).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    /// The same for a QEMU that may be gone.
    pub(crate) fn try_execute(&mut self, command: &str, arguments: &str) -> Result<String, String> {
        let line = format!("{{\"execute\": \"{command}\", \"arguments\": {{{arguments}}}}}\n");
        self.stream.write_all(line.as_bytes()).map_err(|e| e.to_string())?;
        let reply = self.replies.recv_timeout(PATIENCE).map_err(|e| e.to_string())?;
        if reply.contains("\"error\":") { Err(reply) } else { Ok(reply) }
    }
}

/// The value of a text member: `"KEY": "VALUE"`.
pub(crate) fn text_of<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let at = json.find(&format!("\"{key}\": \""))? + key.len() + 5;
    json[at..].split('"').next()
}
