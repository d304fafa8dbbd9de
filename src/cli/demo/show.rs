//! The script of the show: what is done, and what has to come of it.

use std::time::{Duration, Instant};

use super::board::Side;
use super::observer::Change;
use super::reading::Route;
use super::stage::{DEADTIME, Pace, SERVICE, SLOW_BAUD};
use super::world::{Outcome, Trouble, World};

use Side::{Alpha, Beta};

/// How long a result stays before the next step begins; only where somebody watches.
const RESULT: Duration = Duration::from_millis(800);
/// How long a state in the middle of a step stays.
const GLANCE: Duration = Duration::from_millis(600);

/// How fast the nodes beat over the serial line alone: on a machine that is too busy for the one, the next.
const PACES: [Pace; 3] = [
    Pace { keepalive_ms: 25, deadtime_ms: 75 },
    Pace { keepalive_ms: 60, deadtime_ms: 300 },
    Pace { keepalive_ms: 200, deadtime_ms: 1500 },
];

/// All of it.
pub(super) fn perform(world: &mut World) -> Outcome {
    start(world)?;
    pull_one(world, Route::Serial)?;
    pull_one(world, Route::Network)?;
    hand_over(world)?;
    send_home(world)?;
    cut_power(world)?;
    bring_back(world)?;
    pull_both(world)?;
    heal(world)?;
    stop_owner(world)?;
    stop_last(world)?;
    race(world)?;
    stop_last(world)
}

fn start(world: &mut World) -> Outcome {
    world.begin_step("switch both boards on", "the service belongs to alpha, and starts there once both agree")?;
    let on = world.power_on(Alpha)?;
    world.power_on(Beta)?;
    world.wait_for(&format!("{SERVICE} starts on alpha"), |world| world.observer().owns(Alpha))?;
    let took = since(on, world.observer().last(Alpha, Change::Started));
    for route in Route::BOTH {
        await_link(world, route, true)?;
    }
    finish(world, Some(Alpha), &format!("alpha runs {SERVICE}, {took} ms after power on"))
}

fn pull_one(world: &mut World, route: Route) -> Outcome {
    world.begin_step(&format!("pull the {route}, plug it in again"), "the other way still works: nothing may move")?;
    let moves = world.observer().events().len();
    let pulled = world.set_cut(route, true);
    await_link(world, route, false)?;
    let noticed = pulled.elapsed().as_millis();
    world.linger(GLANCE)?;
    let plugged = world.set_cut(route, false);
    await_link(world, route, true)?;
    let returned = plugged.elapsed().as_millis();
    world.wait_for("no alarm stands", |world| {
        Side::BOTH.iter().all(|side| world.reading(*side).is_some_and(|reading| reading.alarms.is_empty()))
    })?;
    rest(world, Some(Alpha))?;
    if world.observer().events().len() != moves {
        return Err(Trouble::Failed(format!("{SERVICE} moved although only the {route} was pulled; {world}")));
    }
    let result = format!("{route}: loss noticed after {noticed} ms, return after {returned} ms; {SERVICE} stayed");
    finish(world, Some(Alpha), &result)
}

fn hand_over(world: &mut World) -> Outcome {
    world.begin_step("nullbeat standby, on alpha", "alpha stops the service, beta starts it, nobody dies")?;
    let given = world.order(Alpha, "standby all")?;
    let pause = moved(world, Alpha, Beta)?;
    let took = since(given, world.observer().last(Beta, Change::Started));
    finish(world, Some(Beta), &format!("standby: {SERVICE} runs on beta after {took} ms, out for {pause} ms"))
}

fn send_home(world: &mut World) -> Outcome {
    world.begin_step("nullbeat failback, on beta", "the service goes back to where it belongs")?;
    let given = world.order(Beta, "failback")?;
    let pause = moved(world, Beta, Alpha)?;
    let took = since(given, world.observer().last(Alpha, Change::Started));
    finish(world, Some(Alpha), &format!("failback: {SERVICE} runs on alpha after {took} ms, out for {pause} ms"))
}

fn cut_power(world: &mut World) -> Outcome {
    world.begin_step("cut the power of alpha, the owner", "no goodbye: beta has to find out by the silence")?;
    // The last sign of life is taken before the cut: what was in the sockets then still arrives.
    let cut = world.power_off(Alpha);
    world.wait_for(&format!("{SERVICE} starts on beta"), |world| world.observer().owns(Beta))?;
    let started = world.observer().last(Beta, Change::Started);
    let silence = since(world.last_sign(Alpha).unwrap_or(cut), started);
    let after = silence.saturating_sub(DEADTIME.as_millis());
    let took = since(cut, started);
    let dead = DEADTIME.as_millis();
    let result = format!("power cut: beta runs {SERVICE} after {took} ms, {after} ms past the dead time ({dead} ms)");
    finish(world, Some(Beta), &result)
}

fn bring_back(world: &mut World) -> Outcome {
    world.begin_step("switch alpha on again", "auto_failback on: the service comes home, and beta stops it first")?;
    let on = world.power_on(Alpha)?;
    let pause = moved(world, Beta, Alpha)?;
    let took = since(on, world.observer().last(Alpha, Change::Started));
    for route in Route::BOTH {
        await_link(world, route, true)?;
    }
    finish(world, Some(Alpha), &format!("return: {SERVICE} runs on alpha after {took} ms, out for {pause} ms"))
}

fn pull_both(world: &mut World) -> Outcome {
    let why = "with no fence and `takeover_policy available` this configuration permits two owners now";
    world.begin_step("pull both, the serial cable and the network", why)?;
    world.announce_two(true);
    let cut = world.set_cut(Route::Serial, true);
    world.set_cut(Route::Network, true);
    world.wait_for(&format!("{SERVICE} starts on beta too"), |world| world.observer().owners() == Side::BOTH)?;
    let took = since(cut, world.observer().last(Beta, Change::Started));
    world.note(Instant::now(), "observer", "two owners, as announced");
    rest_all(world, &[Alpha, Beta])?;
    world.finish_step(&format!("both cut: beta runs {SERVICE} too after {took} ms; a fence would prevent that"));
    world.linger(RESULT)
}

fn heal(world: &mut World) -> Outcome {
    world.begin_step(
        "plug both in again",
        "two owners meet: beta, where the service does not belong, gives way at once",
    )?;
    let plugged = world.set_cut(Route::Serial, false);
    world.set_cut(Route::Network, false);
    world.wait_for(&format!("{SERVICE} stops on beta"), |world| !world.observer().owns(Beta))?;
    world.announce_two(false);
    let released = world.observer().last(Beta, Change::Stopped);
    let took = since(plugged, released);
    let both = world.observer().last(Beta, Change::Started).map_or(0, |started| since(started, released));
    for route in Route::BOTH {
        await_link(world, route, true)?;
    }
    finish(world, Some(Alpha), &format!("healed: beta gave way after {took} ms; two owners for {both} ms in all"))
}

fn stop_owner(world: &mut World) -> Outcome {
    world.begin_step(
        "nullbeat stop, on alpha, the owner",
        "it says goodbye, so that beta need not wait for a silence",
    )?;
    let given = world.order(Alpha, "stop")?;
    let pause = moved(world, Alpha, Beta)?;
    let took = since(given, world.observer().last(Beta, Change::Started));
    let gone = since(given, Some(world.await_end(Alpha)?));
    finish(
        world,
        Some(Beta),
        &format!("stop: beta runs {SERVICE} after {took} ms, out for {pause} ms; alpha gone after {gone} ms"),
    )
}

fn stop_last(world: &mut World) -> Outcome {
    world.begin_step("nullbeat stop, on beta", "nobody is left: the service ends, and every process with it")?;
    let given = world.order(Beta, "stop")?;
    world.wait_for(&format!("{SERVICE} stops on beta"), |world| !world.observer().owns(Beta))?;
    let gone = since(given, Some(world.await_end(Beta)?));
    finish(world, None, &format!("end: {SERVICE} stopped, all processes of beta gone after {gone} ms"))
}

/// The serial cable alone, a fast pace, and the owner's power is cut.
fn race(world: &mut World) -> Outcome {
    world.begin_step(
        &format!("the serial cable alone, {SLOW_BAUD} baud, in the compact format; cut the power of alpha"),
        "a beat is 28 bytes, not 200, so that the dead time can be short",
    )?;
    world.set_cut(Route::Network, true);
    for pace in PACES {
        if let Some(took) = try_race(world, pace)? {
            let dead = pace.deadtime_ms;
            let result = format!("serial alone: beta runs {SERVICE} after {took} ms, with a dead time of {dead} ms");
            return finish(world, Some(Beta), &result);
        }
        let busy = format!("this machine is too busy for a dead time of {} ms: once more", pace.deadtime_ms);
        world.note(Instant::now(), "observer", &busy);
        for side in Side::BOTH {
            world.power_off(side);
        }
    }
    Err(Trouble::Failed(format!("beta took alpha for dead, again and again; {world}")))
}

/// Milliseconds from the cut to the service's start; `None`: alpha was taken for dead before.
fn try_race(world: &mut World, pace: Pace) -> Outcome<Option<u128>> {
    world.refit(pace)?;
    world.announce_two(true);
    let on = world.power_on(Alpha)?;
    world.power_on(Beta)?;
    let is_false = |world: &World| world.observer().last(Beta, Change::Started) > Some(on);
    world.wait_for("both are at rest over the serial cable alone", |world| {
        let is_ready = |side: Side| {
            world.reading(side).is_some_and(|reading| {
                reading.is_at_rest(side == Alpha) && reading.link(Route::Serial).is_up && reading.peer == "active"
            })
        };
        is_false(world) || Side::BOTH.into_iter().all(is_ready)
    })?;
    world.announce_two(false);
    if is_false(world) {
        return Ok(None);
    }
    let cut = world.power_off(Alpha);
    world.wait_for(&format!("{SERVICE} starts on beta"), |world| world.observer().owns(Beta))?;
    let took = since(cut, world.observer().last(Beta, Change::Started));
    let least = pace.deadtime_ms.saturating_sub(2 * pace.keepalive_ms);
    Ok(Some(took).filter(|took| *took >= u128::from(least)))
}

/// Milliseconds between two moments.
fn since(from: Instant, to: Option<Instant>) -> u128 {
    to.map_or(0, |to| to.saturating_duration_since(from).as_millis())
}

/// Waits until the service has moved; returns for how long it ran nowhere, in milliseconds.
fn moved(world: &mut World, from: Side, to: Side) -> Outcome<u128> {
    world.wait_for(&format!("{SERVICE} moves from {from} to {to}"), |world| world.observer().owners() == [to])?;
    let started = world.observer().last(to, Change::Started);
    Ok(world.observer().last(from, Change::Stopped).map_or(0, |stopped| since(stopped, started)))
}

/// Waits until both nodes say that a link is up, or dead.
fn await_link(world: &mut World, route: Route, is_up: bool) -> Outcome {
    let what = format!("both nodes see the {route} {}", if is_up { "alive" } else { "dead" });
    world.wait_for(&what, |world| {
        Side::BOTH.iter().all(|side| world.reading(*side).is_some_and(|reading| reading.link(route).is_up == is_up))
    })
}

/// The step is over when exactly the one owner runs the service and both nodes have come to rest.
fn finish(world: &mut World, owner: Option<Side>, result: &str) -> Outcome {
    rest(world, owner)?;
    world.finish_step(result);
    world.linger(RESULT)
}

fn rest(world: &mut World, owner: Option<Side>) -> Outcome {
    rest_all(world, owner.as_slice())
}

/// Waits until every node with power has said, after now, that it is at rest, and these are the owners.
fn rest_all(world: &mut World, owners: &[Side]) -> Outcome {
    let now = Instant::now();
    let names: Vec<&str> = owners.iter().map(|side| side.name()).collect();
    let what = format!(
        "all is at rest, {SERVICE} running on {}",
        if names.is_empty() { "none".into() } else { names.join(" and ") }
    );
    world.wait_for(&what, |world| {
        let is_at_rest = |side: &Side| {
            let owns = owners.contains(side);
            !world.is_on(*side)
                || world.reading(*side).is_some_and(|reading| reading.asked_at >= now && reading.is_at_rest(owns))
        };
        world.observer().owners() == owners && Side::BOTH.iter().all(is_at_rest)
    })
}
