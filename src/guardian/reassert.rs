//! Runs the programs of `reassert PATH` for a group whose addresses are announced once more, because the other board may
//! have held it as well: for neighbours that need more than ARP and neighbour advertisements, such as a switch with an
//! interface of its own or a name server.
//!
//! They get the group's first word and then its resources, all as in haresources, and as variables `NULLBEAT_EVENT`
//! (`reassert`), `NULLBEAT_NAME`, `NULLBEAT_GROUP` and `NULLBEAT_PREFERRED`, as the programs of `notify` do. They run one
//! at a time beside everything else, with the time limit of scripts; nobody waits for them. When the group is to be
//! stopped they are ended: what they say is no longer true.

use std::collections::VecDeque;
use std::ffi::CString;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use super::job::Member;
use super::launcher::{Launch, Launcher, Run};
use super::script::Ending;
use crate::config::Config;
use crate::core::limits::GROUPS_MAX;

/// Runs that wait: some for each group. One more is dropped, and that is logged.
const WAITING_MAX: usize = 4 * GROUPS_MAX;

/// A program, and the group that it is run for.
type Errand = (Rc<Member>, PathBuf);

/// Runs the programs.
#[derive(Debug, Default)]
pub struct Reasserter {
    programs: Vec<PathBuf>,
    waiting: VecDeque<Errand>,
    run: Option<Run>,
    /// What runs.
    current: Option<Errand>,
}

impl Reasserter {
    /// For the programs of `config`.
    pub fn new(config: &Config) -> Self {
        Self { programs: config.reassert.clone(), ..Self::default() }
    }

    /// Other files, other programs. What waits is still run.
    pub fn replace_config(&mut self, config: &Config) {
        self.programs.clone_from(&config.reassert);
    }

    /// The group's addresses have just been announced once more.
    pub fn reassert(&mut self, now: Instant, member: &Rc<Member>, launcher: &mut Launcher) {
        self.waiting.retain(|(other, _)| !Rc::ptr_eq(other, member));
        for program in self.programs.clone() {
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push_back((Rc::clone(member), program));
            } else {
                log::warn!("{} is not run: too many wait", program.display());
            }
        }
        self.turn(now, launcher);
    }

    /// The group is about to be stopped.
    pub fn withdraw(&mut self, now: Instant, member: &Rc<Member>) {
        self.waiting.retain(|(other, _)| !Rc::ptr_eq(other, member));
        if let (Some(run), Some((current, _))) = (&mut self.run, &self.current)
            && Rc::ptr_eq(current, member)
        {
            run.cut(now);
        }
    }

    /// Kills the program that runs.
    pub fn kill(&self) {
        if let Some(run) = &self.run {
            run.kill();
        }
    }

    /// When [`turn`](Self::turn) is due even if no program ends.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.run.as_ref()?.next_deadline()
    }

    /// Sees to the program that runs, starts the next.
    pub fn turn(&mut self, now: Instant, launcher: &mut Launcher) {
        loop {
            if self.run.is_some() {
                let Some(ended) = launcher.check(now, &mut self.run) else { return };
                if let Some((_, path)) = self.current.take() {
                    match ended.ending {
                        Ending::Code(0) => {}
                        Ending::Code(code) => log::warn!("Return code {code} from {}", path.display()),
                        Ending::OverTime | Ending::Unkillable => log::warn!("{} was ended", path.display()),
                    }
                }
            }
            let Some((member, path)) = self.waiting.pop_front() else { return };
            match start(now, &member, &path, launcher) {
                Ok(run) => (self.run, self.current) = (Some(run), Some((member, path))),
                Err(error) => log::warn!("cannot run {}: {error}", path.display()),
            }
        }
    }
}

fn start(now: Instant, member: &Member, path: &PathBuf, launcher: &mut Launcher) -> std::io::Result<Run> {
    let group = &member.group;
    let words: Vec<&str> =
        std::iter::once(group.key()).chain(group.resources.iter().map(|resource| resource.word.as_str())).collect();
    let variables: Vec<CString> =
        [("EVENT", "reassert"), ("NAME", group.key()), ("GROUP", &group.text), ("PREFERRED", &group.node)]
            .into_iter()
            .filter_map(|(name, value)| CString::new(format!("NULLBEAT_{name}={value}")).ok())
            .collect();
    log::info!("Running {} {}", path.display(), words.join(" "));
    launcher.launch(
        now,
        &Launch {
            path,
            arguments: &words,
            variables: &variables,
            is_acquiring: false,
            is_unasked: false,
            is_status: false,
            name: &path.file_name().unwrap_or_default().to_string_lossy(),
            input: None,
            is_bound: false,
            limit: None,
        },
    )
}
