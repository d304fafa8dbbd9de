//! Chaos on real processes: two boards in namespaces, and a walk through faults that a seed makes. An observer outside
//! both, which the scripts tell what they do, knows who had a group when.
//!
//! ```text
//! CHAOS_SEED=7 CHAOS_SECONDS=50 cargo test --test chaos [PAIR]
//! ```
//!
//! An episode of faults, several at a time; if they left one board well and a path between the two, each group must come to
//! run on exactly one board although nothing is healed; then everything is healed, and the same must come true again. A
//! group is never in use on two boards, whatever happens. The faults and their times are the seed's alone; what the
//! daemons make of them depends on the machine as well.

#[path = "../lab/mod.rs"]
mod lab;

mod bench;
mod dice;
mod inflict;
mod judge;
mod plan;
mod walk;

use plan::Pair;

#[test]
fn two_nullbeats_with_a_fence_have_one_owner_whatever_happens() {
    walk::run(Pair::Fenced);
}

#[test]
fn two_nullbeats_with_a_whole_path_have_one_owner() {
    walk::run(Pair::Plain);
}

#[test]
fn nullbeat_and_heartbeat_with_a_whole_path_have_one_owner() {
    walk::run(Pair::Mixed);
}
