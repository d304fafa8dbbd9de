//! Checks that the watchdogs wait for.

use super::*;
use crate::core::Health;
use crate::core::ids::CheckId;
use crate::core::settings::{CheckSettings, HealthSettings};

/// Two checks of the node, the second with `watchdog on`.
fn watched() -> Settings {
    let check =
        |name: &str, is_vital| CheckSettings { name: name.try_into().unwrap(), group: None, restarts: 0, is_vital };
    let checks = [check("usual", false), check("vital", true)].into_iter().collect();
    Settings { health: HealthSettings { checks, holdoff: Duration::from_secs(1) }, ..settings() }
}

fn say(bench: &mut Bench, check: u8, health: Health) -> Option<CheckId> {
    bench.give(Input::Health { check: CheckId(check), health, from: 0 });
    bench.node.vital_check_failed()
}

#[test]
fn vital_check_that_was_healthy_and_fails_is_waited_for() {
    let mut bench = Bench::owner(watched());
    assert_eq!(say(&mut bench, 0, Health::Healthy), None);
    assert_eq!(say(&mut bench, 0, Health::Failed), None, "it is not for the watchdog");
    assert_eq!(say(&mut bench, 1, Health::Failed), None, "a board that comes up without it is not reset for ever");
    assert_eq!(say(&mut bench, 1, Health::Unknown), None);
    assert_eq!(say(&mut bench, 1, Health::Healthy), None);
    assert_eq!(say(&mut bench, 1, Health::Failed), Some(CheckId(1)));
    assert_eq!(say(&mut bench, 1, Health::Unknown), None, "what it looks at is not here any more, or begins anew");
    assert_eq!(say(&mut bench, 1, Health::Failed), Some(CheckId(1)), "the restart did not help");
    assert_eq!(say(&mut bench, 1, Health::Healthy), None);
}
