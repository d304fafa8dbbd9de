//! The loop: cable, network, power, observer, and the terminal, all in one place.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::WaitStatus;

use super::board::{Board, Side};
use super::cable::Cable;
use super::network::Network;
use super::observer::{Change, Observer};
use super::picture::{self, BoardScene, Scene};
use super::question::Question;
use super::reading::{Reading, Route};
use super::screen::Output;
use super::stage::{BAUD, Pace, SERVICE, SLOW_BAUD, Stage, Wiring};
use super::story::Story;
use crate::daemon::control::client::{Answer, NoAnswer};

/// How long anything may take that the show waits for; on a machine at rest it is a fraction of that.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at a node's status.
const LOOK: Duration = Duration::from_millis(40);
/// A node that does not answer is asked again.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// Between two pictures, unless something happens.
const FRAME: Duration = Duration::from_millis(100);
/// How long a person gets to read what is going to happen.
const ANNOUNCEMENT: Duration = Duration::from_millis(600);
/// An order that was refused for now is given again.
const ORDER_PAUSE: Duration = Duration::from_millis(100);

/// Why the show does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Something did not happen as it must.
    Failed(String),
    /// Somebody at the keyboard, or the system, wants it to end.
    Interrupted,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Result of what the show does.
pub(super) type Outcome<T = ()> = Result<T, Trouble>;

/// Looks at one node's status again and again.
#[derive(Debug)]
struct Window {
    question: Option<Question>,
    next_at: Instant,
    reading: Option<Reading>,
}

/// An order that was given to a node.
#[derive(Debug)]
struct Order {
    question: Question,
    answer: Option<Result<Answer, NoAnswer>>,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    boards: [Board; 2],
    /// How a node that was told to stop has ended.
    ended: [Option<WaitStatus>; 2],
    may_end: [bool; 2],
    windows: [Window; 2],
    order: Option<Order>,
    cable: Cable,
    network: Network,
    observer: Observer,
    noted: usize,
    are_two_announced: bool,
    signals: SignalFd,
    story: Story,
    output: Output,
    draw_at: Instant,
    stage: Stage,
}

impl World {
    /// Sets the stage: files of both nodes, cable and network plugged in, no power yet.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn new(stage: Stage, output: Output) -> io::Result<Self> {
        // Orphans of a board are to be found again.
        prctl::set_child_subreaper(true)?;
        let signals = catch_signals()?;
        let observer = Observer::new(&stage.observer())?;
        let (cable, network) = (Cable::new(BAUD)?, Network::new()?);
        for side in Side::BOTH {
            stage.furnish(side, &Wiring { serial: cable.device(side).to_owned(), port: network.port })?;
        }
        let now = Instant::now();
        let window = || Window { question: None, next_at: now, reading: None };
        Ok(Self {
            boards: Side::BOTH.map(Board::new),
            ended: [None; 2],
            may_end: [false; 2],
            windows: [window(), window()],
            order: None,
            cable,
            network,
            observer,
            noted: 0,
            are_two_announced: false,
            signals,
            story: Story::new(now),
            output,
            draw_at: now,
            stage,
        })
    }

    /// The directory stays.
    pub(super) const fn keep_files(&mut self) {
        self.stage.keep();
    }

    /// Whether it does.
    pub(super) const fn are_files_kept(&self) -> bool {
        self.stage.is_kept()
    }

    /// Whether somebody may be looking at a picture.
    pub(super) const fn is_watched(&self) -> bool {
        matches!(self.output, Output::Screen { .. })
    }

    /// The outside observer.
    pub(super) const fn observer(&self) -> &Observer {
        &self.observer
    }

    /// What a node said last; nothing when it has no power.
    pub(super) fn reading(&self, side: Side) -> Option<&Reading> {
        self.windows[side.index()].reading.as_ref().filter(|_| self.is_on(side))
    }

    /// Whether a board has power.
    pub(super) const fn is_on(&self, side: Side) -> bool {
        self.boards[side.index()].is_on()
    }

    /// When a node last sent anything on any route.
    pub(super) fn last_sign(&self, side: Side) -> Option<Instant> {
        self.cable.spoke_at(side).max(self.network.spoke_at(side))
    }

    /// From now on two owners are what is expected, or they are not.
    pub(super) const fn announce_two(&mut self, are_announced: bool) {
        self.are_two_announced = are_announced;
    }

    /// The next step of the show.
    pub(super) fn begin_step(&mut self, title: &str, why: &str) -> Outcome {
        let text = self.story.begin(title, why);
        self.output.say(&text);
        self.linger(ANNOUNCEMENT)
    }

    /// The step is over.
    pub(super) fn finish_step(&mut self, result: &str) {
        let text = self.story.finish(result);
        self.output.say(&text);
    }

    /// Something for the time line.
    pub(super) fn note(&mut self, at: Instant, who: impl ToString, what: &str) {
        self.story.note(at, who, what);
    }

    /// Pulls a plug or puts it back. Returns when.
    pub(super) fn set_cut(&mut self, route: Route, is_cut: bool) -> Instant {
        match route {
            Route::Serial => self.cable.is_cut = is_cut,
            Route::Network => self.network.is_cut = is_cut,
        }
        let now = Instant::now();
        self.note(now, "plug", &format!("{route} {}", if is_cut { "pulled" } else { "plugged in" }));
        now
    }

    /// Both boards, without power, have nothing but a slow serial line from now on, and beat at this pace.
    pub(super) fn refit(&mut self, pace: Pace) -> Outcome {
        self.cable.baud = SLOW_BAUD;
        for side in Side::BOTH {
            let wiring = Wiring { serial: self.cable.device(side).to_owned(), port: self.network.port };
            self.stage.refit(side, &wiring, pace)?;
        }
        Ok(())
    }

    /// Gives a board power. Returns when.
    pub(super) fn power_on(&mut self, side: Side) -> Outcome<Instant> {
        let now = Instant::now();
        self.may_end[side.index()] = false;
        self.boards[side.index()].power_on(&self.stage)?;
        self.note(now, "power", &format!("{side} on"));
        self.windows[side.index()] = Window { question: None, next_at: now, reading: None };
        Ok(now)
    }

    /// Cuts it. Returns when.
    pub(super) fn power_off(&mut self, side: Side) -> Instant {
        let cut = self.boards[side.index()].power_off(&self.stage);
        // What its scripts said before the cut comes first.
        let _ = self.observer.listen(cut);
        self.observer.lost_power(cut, side);
        self.note(cut, "power", &format!("{side} cut off"));
        cut
    }

    /// Tells a node something and waits for the end of it; what is refused for now is told again. Returns when it was
    /// given in the end.
    pub(super) fn order(&mut self, side: Side, request: &str) -> Outcome<Instant> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let now = Instant::now();
            let answer = self.ask(side, request, now)?;
            match answer {
                Ok(answer) if answer.code == 0 => {
                    self.note(now, side, &format!("told `{request}`"));
                    return Ok(now);
                }
                Ok(answer) if answer.code == 75 && now < deadline => {
                    let again = now + ORDER_PAUSE;
                    self.until("", again + LIMIT, |_| Instant::now() >= again)?;
                }
                Ok(answer) => {
                    let (code, why) = (answer.code, answer.body.trim_end());
                    return Err(Trouble::Failed(format!("{side} answered `{request}` with code {code}: {why}")));
                }
                // The daemon may be gone before its last word is read.
                Err(NoAnswer::Cut) if request == "stop" => return Ok(now),
                Err(error) => return Err(Trouble::Failed(format!("{side} was told `{request}`: {error}"))),
            }
        }
    }

    fn ask(&mut self, side: Side, request: &str, now: Instant) -> Outcome<Result<Answer, NoAnswer>> {
        if request == "stop" {
            self.may_end[side.index()] = true;
        }
        let question = Question::ask(&self.run_dir(side), request, now)?;
        self.order = Some(Order { question, answer: None });
        let what = format!("{side} answers `{request}`");
        let deadline = now + LIMIT;
        self.until(&what, deadline, |world| world.order.as_ref().is_none_or(|order| order.answer.is_some()))?;
        let answer = self.order.take().and_then(|order| order.answer);
        Ok(answer.unwrap_or(Err(NoAnswer::Cut)))
    }

    fn run_dir(&self, side: Side) -> std::path::PathBuf {
        self.stage.of(side).join("run")
    }

    /// Waits for a node that was told to stop, all of whose processes must be gone then. Returns when it was.
    pub(super) fn await_end(&mut self, side: Side) -> Outcome<Instant> {
        self.wait_for(&format!("all of {side} ends"), |world| world.ended[side.index()].is_some())?;
        let status = self.ended[side.index()].take();
        if !matches!(status, Some(WaitStatus::Exited(_, 0))) {
            return Err(Trouble::Failed(format!("{side} was told to stop and ended with {status:?}")));
        }
        self.wait_for(&format!("no process of {side} is left"), |world| world.boards[side.index()].is_gone())?;
        self.boards[side.index()].forget();
        let now = Instant::now();
        self.note(now, side, "all processes gone");
        Ok(now)
    }

    /// Lets the world go on until it is so. `what` tells what is awaited, for who has waited in vain.
    pub(super) fn wait_for(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Outcome {
        self.until(what, Instant::now() + LIMIT, is_so)
    }

    /// Gives people time to look at the picture.
    pub(super) fn linger(&mut self, time: Duration) -> Outcome {
        let end = Instant::now() + time;
        if self.is_watched() {
            self.until("", end + LIMIT, |_| Instant::now() >= end)?;
        }
        Ok(())
    }

    fn until(&mut self, what: &str, deadline: Instant, is_so: impl Fn(&Self) -> bool) -> Outcome {
        while !is_so(self) {
            if Instant::now() >= deadline {
                let seconds = LIMIT.as_secs();
                return Err(Trouble::Failed(format!("waited {seconds} s in vain until {what}; {self}")));
            }
            self.turn(deadline)?;
        }
        Ok(())
    }

    /// One round: sleeps until something happens, and does what there is to do.
    fn turn(&mut self, deadline: Instant) -> Outcome {
        self.sleep(deadline)?;
        let now = Instant::now();
        self.cable.carry(now, Side::BOTH.map(|side| self.is_on(side)));
        self.network.carry(now);
        self.listen(now)?;
        self.watch_boards()?;
        for side in Side::BOTH {
            self.look(side, now);
        }
        self.hear_answer();
        if let Ok(Some(_)) = self.signals.read_signal() {
            return Err(Trouble::Interrupted);
        }
        self.draw(now);
        Ok(())
    }

    fn sleep(&mut self, deadline: Instant) -> Outcome {
        let looks = self.windows.iter().filter(|window| window.question.is_none()).map(|window| window.next_at);
        let frame = self.is_watched().then_some(self.draw_at);
        let wake = looks.chain(frame).chain(self.cable.deadline()).fold(deadline, Instant::min);
        let time = wake.saturating_duration_since(Instant::now());
        // Rounded up: a millisecond too early would be a round for nothing.
        let timeout = PollTimeout::try_from(time.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let questions = self.windows.iter().filter_map(|window| window.question.as_ref());
        let order = self.order.as_ref().filter(|order| order.answer.is_none()).map(|order| &order.question);
        let mut descriptors: Vec<PollFd<'_>> = self
            .cable
            .descriptors()
            .chain(self.network.descriptors())
            .chain([self.observer.descriptor(), self.signals.as_fd()])
            .chain(self.boards.iter().filter_map(Board::ended))
            .chain(questions.chain(order).map(Question::descriptor))
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// The observer: what it heard goes into the time line, and two owners at a time end the show.
    fn listen(&mut self, now: Instant) -> Outcome {
        let before = self.noted;
        let heard = self.observer.listen(now);
        heard.map_err(|line| Trouble::Failed(format!("the observer does not understand `{line}`")))?;
        let news = self.observer.events()[before..].to_vec();
        self.noted += news.len();
        for event in &news {
            let what = match event.change {
                Change::Started => "started",
                Change::Stopped => "stopped",
                Change::Lost => "lost with the power",
                Change::Reset => return Err(Trouble::Failed(format!("{} wanted its board reset", event.side))),
            };
            self.note(event.at, event.side, &format!("{SERVICE} {what}"));
        }
        if !news.is_empty() {
            self.draw_at = now;
        }
        if self.observer.owners().len() > 1 && !self.are_two_announced {
            return Err(Trouble::Failed(format!("both boards own {SERVICE} at the same time; {self}")));
        }
        Ok(())
    }

    fn watch_boards(&mut self) -> Outcome {
        for side in Side::BOTH {
            let Some(status) = self.boards[side.index()].try_wait() else { continue };
            if !self.may_end[side.index()] {
                return Err(Trouble::Failed(format!(
                    "{side} has ended by itself: {status:?}{}",
                    self.last_words(side)
                )));
            }
            self.ended[side.index()] = Some(status);
            self.windows[side.index()].question = None;
        }
        Ok(())
    }

    /// What a node wrote to its console, for who has to find out why it ended.
    fn last_words(&self, side: Side) -> String {
        let text = std::fs::read_to_string(self.stage.of(side).join("console")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(5);
        lines[from..].iter().map(|line| format!("\n  {line}")).collect()
    }

    fn look(&mut self, side: Side, now: Instant) {
        let is_on = self.is_on(side);
        let run_dir = self.run_dir(side);
        let window = &mut self.windows[side.index()];
        if !is_on {
            window.question = None;
            window.next_at = now + LOOK;
        } else if let Some(question) = &mut window.question {
            let is_lost = now.saturating_duration_since(question.asked_at) > LOOK_LIMIT;
            let asked_at = question.asked_at;
            match question.try_answer() {
                None if !is_lost => {}
                answer => {
                    window.question = None;
                    window.next_at = now + LOOK;
                    let body = answer.and_then(Result::ok).filter(|answer| answer.code == 0).map(|answer| answer.body);
                    let reading = body.and_then(|body| Reading::parse(&body, side, asked_at).ok());
                    let before = std::mem::replace(&mut window.reading, reading);
                    self.compare(side, before.as_ref(), now);
                }
            }
        } else if now >= window.next_at {
            window.question = Question::ask(&run_dir, "status", now).ok();
            window.next_at = now + LOOK;
        }
    }

    /// Links that came or went, for the time line.
    fn compare(&mut self, side: Side, before: Option<&Reading>, now: Instant) {
        let (Some(before), Some(after)) = (before, self.windows[side.index()].reading.as_ref()) else { return };
        let changes: Vec<(Route, bool)> = Route::BOTH
            .into_iter()
            .map(|route| (route, after.link(route).is_up))
            .filter(|(route, is_up)| before.link(*route).is_up != *is_up)
            .collect();
        for (route, is_up) in changes {
            self.note(now, side, &format!("sees the {route} {}", if is_up { "alive" } else { "dead" }));
        }
    }

    fn hear_answer(&mut self) {
        if let Some(order) = &mut self.order
            && order.answer.is_none()
        {
            order.answer = order.question.try_answer();
        }
    }

    fn draw(&mut self, now: Instant) {
        let Some((style, rows)) = self.output.style().filter(|_| now >= self.draw_at) else { return };
        self.draw_at = now + FRAME;
        let boards = Side::BOTH.map(|side| BoardScene {
            is_on: self.is_on(side),
            owns: self.observer.owns(side),
            reading: self.reading(side),
        });
        let scene = Scene {
            millis: self.story.millis(now),
            boards,
            is_cut: [self.cable.is_cut, self.network.is_cut],
            steps: self.story.steps(),
        };
        let lines = picture::draw(&scene, style, rows);
        self.output.draw(&lines);
    }

    /// Cuts the power of both boards, gives the terminal back, removes the directory unless it is kept.
    pub(super) fn end(self) -> Story {
        self.story
    }
}

/// What is known at this moment, for who has to find out what went wrong.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners: Vec<&str> = self.observer.owners().into_iter().map(Side::name).collect();
        write!(f, "owners: {}", if owners.is_empty() { "none".to_owned() } else { owners.join(" and ") })?;
        for side in Side::BOTH {
            match self.reading(side) {
                _ if !self.is_on(side) => write!(f, "; {side}: off")?,
                None => write!(f, "; {side}: does not answer")?,
                Some(reading) => write!(f, "; {side}: {reading}")?,
            }
        }
        Ok(())
    }
}

/// Ctrl-C and the like end the show in good order; Ctrl-Z would stop the cable, and with it both nodes' peace.
fn catch_signals() -> io::Result<SignalFd> {
    let mut caught = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        caught.add(signal);
    }
    let mut held = caught;
    held.add(Signal::SIGTSTP);
    held.thread_block()?;
    Ok(SignalFd::with_flags(&caught, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
