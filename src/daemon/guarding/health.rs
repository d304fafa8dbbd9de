//! The checker processes: which there are, what they are told, what they find.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use super::{CHECKERS, Guarding};
use crate::checks::{NAMES, Spec, ToChecker, ToGuardian};
use crate::config::names::{self, User};
use crate::config::{CheckConfig, CheckKind, Config, Question};
use crate::core::ids::{CheckId, CheckSet};
use crate::core::message::PingKind;
use crate::core::time;
use crate::daemon::places::Places;
use crate::daemon::reactor::Token;
use crate::daemon::run_directory::READERS;
use crate::guardian::channel::Channel;
use crate::guardian::clients::Service;
use crate::guardian::lease;
use crate::links;

/// Findings taken from one checker in one turn.
const FINDINGS_MAX: usize = 64;

/// One checker that runs.
#[derive(Debug)]
pub(super) struct Checker {
    channel: Channel,
    /// Which checks it asks.
    checks: CheckSet,
}

/// All of them, in the order of [`NAMES`].
pub(super) type Checkers = [Option<Checker>; NAMES.len()];

/// The user whom a checker becomes, and its checks.
type Part<'c> = (Option<String>, Vec<(CheckId, &'c CheckConfig)>);

/// One part for each checker.
fn plan(config: &Config) -> Vec<Part<'_>> {
    let mut plan: Vec<Part<'_>> = Vec::new();
    for (check, line) in (0..).map(CheckId).zip(&config.checks).filter(|(_, line)| line.kind != CheckKind::Monitor) {
        match plan.iter_mut().find(|(user, _)| *user == line.user) {
            Some((_, checks)) => checks.push((check, line)),
            None => plan.push((line.user.clone(), vec![(check, line)])),
        }
    }
    plan
}

/// The processes that ask the checks of `config`.
pub(super) fn services(config: &Config) -> Vec<Service> {
    let mut services = Vec::new();
    for (name, (user, checks)) in NAMES.into_iter().zip(plan(config)) {
        let apphbd = Places::of_apphbd(Some(&config.paths.run)).socket;
        let specs = || checks.iter().filter_map(|(check, line)| Spec::new(check.0, line, &apphbd));
        let arguments = specs().flat_map(|spec| spec.words()).collect();
        // Its socket is in a directory for that group alone.
        let asks_apphbd = specs().any(|spec| matches!(spec.question, Question::Apphb(_)));
        let group = asks_apphbd.then(|| names::group(READERS)).flatten();
        let user = match successor(config, user.as_deref()) {
            Ok(user) => user,
            Err(error) => {
                log::error!("no health check runs: {error}");
                continue;
            }
        };
        services.push(Service { name, arguments, user, group, has_channel: true });
    }
    services
}

/// Whom to become: who is named, else somebody who can do nothing to the engine. As somebody else than root this process stays
/// who it is.
fn successor(config: &Config, named: Option<&str>) -> io::Result<Option<User>> {
    if !nix::unistd::Uid::effective().is_root() {
        return Ok(None);
    }
    let engine = names::engine_user(config.user.as_deref())?;
    let Some(name) = named else { return Ok(Some(names::checker_user(&engine))) };
    let user = names::user(name).ok_or_else(|| io::Error::other(format!("{name} is no user here")))?;
    if user.uid == engine.uid {
        log::warn!("health checks run as {name}, as the engine does: who takes one over can end the engine");
    }
    Ok(Some(user))
}

fn token(place: usize) -> Token {
    Token(CHECKERS.0 + u32::try_from(place).unwrap_or_default())
}

impl Guarding {
    /// A checker has been started: it is told which groups run, and gets its sockets.
    pub(super) fn checker_started(&mut self, name: &str, channel: Channel) {
        let Some(place) = NAMES.iter().position(|known| *known == name) else { return };
        self.checker_gone(place);
        let checks: Vec<(CheckId, Option<IpAddr>)> = plan(&self.config)
            .get(place)
            .map(|(_, checks)| checks.iter().map(|(check, line)| (*check, host(line))).collect())
            .unwrap_or_default();
        for (check, host) in checks.iter().filter_map(|(check, host)| Some((check, (*host)?))) {
            let kind = if host.is_ipv6() { PingKind::Ping6 } else { PingKind::Ping };
            let sent = links::ping::open(&[host], kind).and_then(|opened| {
                channel.send_with(&ToChecker::Socket { check: check.0 }.encode(), opened.descriptor.as_fd())
            });
            if let Err(error) = sent {
                log::error!("no echo request can be sent to {host}: {error}");
            }
        }
        for order in self.runner.health().orders_for_new() {
            // A new channel has room for as many as there are groups.
            let _ = channel.send(&order.encode());
        }
        if let Err(error) = self.reactor.add(&channel, token(place)) {
            log::error!("a checker is not heard: {error}");
        }
        let checks = checks.into_iter().map(|(check, _)| check).collect();
        self.checkers[place] = Some(Checker { channel, checks });
    }

    /// What it had found does not count any more.
    fn checker_gone(&mut self, place: usize) {
        if let Some(checker) = self.checkers[place].take() {
            let _ = self.reactor.remove(&checker.channel);
            self.runner.health().lost(checker.checks);
        }
    }

    /// All are on their way out.
    pub(super) fn forget_checkers(&mut self) {
        (0..self.checkers.len()).for_each(|place| self.checker_gone(place));
    }

    /// A checker has something to say, or is gone.
    pub(super) fn hear_checker(&mut self, token: Token) {
        let place = token.0.checked_sub(CHECKERS.0).and_then(|place| usize::try_from(place).ok());
        let Some(place) = place else { return };
        for _ in 0..FINDINGS_MAX {
            let Some(Some(checker)) = self.checkers.get(place) else { return };
            let incoming = match checker.channel.receive() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return,
                // Its end is noticed, and another one started, by the table of long-lived children.
                Err(_) => return self.checker_gone(place),
            };
            match ToGuardian::decode(incoming.bytes()) {
                Ok(ToGuardian::Finding { check, health, trouble, epoch })
                    if checker.checks.contains(CheckId(check)) =>
                {
                    self.runner.health().found(Instant::now(), check, health, trouble, epoch);
                }
                _ => {
                    let now = time::Instant::from_micros(lease::now() / 1000);
                    if let Some(count) = self.checker_refusals.note(now) {
                        log::error!("a checker sent what makes no sense: refused ({count} so far)");
                    }
                }
            }
        }
    }

    /// Tells the checkers which groups run here.
    pub(super) fn instruct_checkers(&mut self) {
        while let Some(order) = self.runner.health().poll_order() {
            for place in 0..self.checkers.len() {
                let Some(checker) = &self.checkers[place] else { continue };
                // One that does not listen is worth nothing; the table starts another one.
                if checker.channel.send(&order.encode()).is_err() {
                    log::error!("a checker does not listen: its checks say nothing any more");
                    self.checker_gone(place);
                }
            }
        }
    }
}

/// Whom a check sends echo requests to.
const fn host(line: &CheckConfig) -> Option<IpAddr> {
    match line.kind {
        CheckKind::Ask(Question::Ping(host)) => Some(host),
        _ => None,
    }
}
