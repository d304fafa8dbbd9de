//! Heartbeat's services beside the daemon that run here (`use_logd`, `use_apphbd`), and the daemon as an application of
//! `apphbd` itself.
//!
//! The services are children like any other in the table of long-lived ones. Where one serves already, a unit of the
//! distribution's or the packaged one, ours stands by until that has ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Pid, Uid, getgid};

use super::{Guarding, nanos};
use crate::api::apphb::message::{Reply, written};
use crate::api::ipc::{self, Connection, Peer, Rooms, Taken};
use crate::config::services::apphbd::ApphbdConfig;
use crate::config::services::logd::LogdConfig;
use crate::config::{Config, ResetWith};
use crate::daemon::places::Places;
use crate::daemon::{apphbd, logd};
use crate::guardian::clients::Service;

/// Where Heartbeat's logging daemon has its file when there is none beside ha.cf.
const LOGD_CONFIG: &str = "/etc/logd.cf";
/// From one try to register to the next.
const RETRY: u64 = 1_000_000_000;
/// Room for a registration and what follows it, and for a reply.
const OUTPUT: usize = 2048;
const REPLY_LEN: usize = 4;
/// Frames that wait for an `apphbd` that does not read.
const FRAMES_MAX: usize = 8;
/// What the daemon is called there, as in the original (seen).
const NAME: &str = "heartbeat";
const INSTANCE: &str = "master_control_process";

/// Those that ha.cf asks for and that can read their files.
pub(super) fn services(config: &Config) -> Vec<Service> {
    let run = Some(config.paths.run.as_path());
    let mut services = Vec::new();
    if config.log.logd_retry.is_some() {
        let file = logd_file(config);
        match LogdConfig::read(&file) {
            Ok(_) => services.push(service(logd::NAME, Places::of_logd(run), &file, &[])),
            Err(complaint) => log::error!("{} is not started: {complaint}", logd::NAME),
        }
    }
    if config.has_apphbd {
        let file = config.paths.config.join("apphbd.cf");
        let reset_with = match &config.reset_with {
            // The engine's watchdog, not that service's.
            ResetWith::Watchdog => &ResetWith::Reboot,
            other => other,
        };
        let is_good = if file.exists() { ApphbdConfig::read(&file, ApphbdConfig::default()).map(drop) } else { Ok(()) };
        match is_good {
            Ok(()) => {
                let reset_with = format!("--reset-with={}", reset_with.text());
                services.push(service(apphbd::NAME, Places::of_apphbd(run), &file, &[reset_with]));
            }
            Err(complaint) => log::error!("{} is not started: {complaint}", apphbd::NAME),
        }
    }
    services
}

fn logd_file(config: &Config) -> PathBuf {
    let own = config.paths.config.join("logd.cf");
    if own.exists() { own } else { PathBuf::from(LOGD_CONFIG) }
}

fn service(name: &'static str, places: Places, file: &Path, more: &[String]) -> Service {
    let mut arguments = vec![
        "--stand-by".to_owned(),
        format!("--socket={}", places.socket.display()),
        format!("--pid-file={}", places.pid_file.display()),
        "-c".to_owned(),
        file.display().to_string(),
    ];
    arguments.extend_from_slice(more);
    Service { name, arguments, user: None, group: None, has_channel: false }
}

/// The daemon's own application heartbeats: one comes while the guardian's loop turns and an engine beats. Nobody waits for
/// `apphbd`: when it is not there or does not read, it is tried again a second later.
#[derive(Debug, Default)]
pub(super) struct OwnBeats {
    connection: Option<Connection>,
    due: u64,
    /// The registration is not answered yet.
    is_new: bool,
    /// That it cannot be had has been said.
    is_told: bool,
}

impl OwnBeats {
    /// When to beat next.
    pub(super) const fn due(&self) -> u64 {
        self.due
    }

    fn connect(&mut self, config: &Config) -> Result<(), String> {
        let places = Places::of_apphbd(Some(&config.paths.run));
        let socket = ipc::connect(&places.socket).map_err(|error| error.to_string())?;
        let nobody = Peer { pid: 0, uid: 0, gid: 0 };
        let mut connection = Connection::new(socket, nobody, Rooms::new(REPLY_LEN, OUTPUT), FRAMES_MAX);
        let ids = (Pid::this().as_raw(), Uid::current().as_raw(), getgid().as_raw());
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let said = [
            written::registration(NAME, INSTANCE, ids),
            written::number("setint", ms(config.deadtime)),
            written::number("setwarn", ms(config.deadtime / 2)),
        ];
        for body in said {
            connection.send(&body).map_err(|_| "it does not read".to_owned())?;
        }
        self.connection = Some(connection);
        self.is_new = true;
        Ok(())
    }

    /// Beats, or tries to be somebody who may.
    fn turn(&mut self, config: &Config) {
        if self.connection.is_none() {
            match self.connect(config) {
                Ok(()) => {}
                Err(error) if !self.is_told => {
                    self.is_told = true;
                    log::warn!("Unable to register with apphbd: {error}");
                }
                Err(_) => {}
            }
        }
        let Some(connection) = &mut self.connection else { return };
        let mut failure = connection.send(&written::plain("hb")).err().map(|_| "apphb_hb() failed.");
        loop {
            match connection.take() {
                Taken::Nothing => break,
                Taken::Frame(body) if body == Reply::Ok.bytes() => {
                    if std::mem::take(&mut self.is_new) {
                        self.is_told = false;
                        log::info!("Registered with apphbd as {NAME}/{INSTANCE}.");
                    }
                }
                Taken::Frame(_) => failure = Some("Unable to setup with apphbd."),
                Taken::End(_) => failure = Some("apphb_hb() failed."),
            }
            if failure.is_some() {
                break;
            }
        }
        if let Some(failure) = failure {
            log::warn!("{failure}");
            (self.connection, self.is_told) = (None, true);
        }
    }

    /// Signs off.
    pub(super) fn end(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let _ = connection.send(&written::plain("unreg"));
        }
    }
}

impl Guarding {
    /// Beats when it is time and an engine decides.
    pub(super) fn beat_for_apphbd(&mut self, now: u64) {
        if !self.config.has_apphbd || now < self.beats.due {
            return;
        }
        if self.is_engine_steady() {
            self.beats.turn(&self.config);
        }
        // As often as the original beats.
        let pause = nanos(self.config.keepalive);
        self.beats.due = now + if self.beats.connection.is_some() { pause } else { pause.max(RETRY) };
    }
}
