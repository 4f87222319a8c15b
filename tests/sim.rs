//! The simulation: the real core, store and manifest code in a world where the disk loses power, processes outlive the
//! daemon or die with the machine, the broker repeats itself, and the clock jumps. Everything follows from one seed;
//! checkers look after each turn; then the faults stop and everything must settle.
//!
//! A failing seed is replayed with its log: `PINNACE_SIM_SEED=17 cargo test --test sim replay -- --nocapture`.
//! More seeds: `PINNACE_SIM_SEEDS=1000..20000 cargo test --release --test sim seeds`.

#[path = "sim/broker.rs"]
mod broker;
#[path = "sim/checks.rs"]
mod checks;
#[path = "support/crash_backend.rs"]
#[allow(dead_code)]
mod crash_backend;
#[path = "sim/kernel.rs"]
mod kernel;
#[path = "sim/script.rs"]
mod script;
#[path = "sim/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Bug, Fault, World};

/// The seeds that every run of the tests covers.
const SEEDS: Range<u64> = 0..60;

/// One life of a device from a seed, faults first, then peace.
fn live(seed: u64, bug: Option<Bug>, log: bool) -> World {
    let mut world = World::new(seed, bug, log);
    world.run();
    world
}

#[test]
fn seeds_hold_every_invariant() {
    let range = std::env::var("PINNACE_SIM_SEEDS").ok().map_or(SEEDS, |text| parse(&text));
    // One thread a core, each with every nth seed.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let of_thread = |n: usize| range.clone().skip(n).step_by(threads).map(survive).collect::<Vec<World>>();
    let worlds: Vec<World> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || of_thread(n))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a seed failed; its number is above")).collect()
    });
    let fired: BTreeSet<Fault> = worlds.iter().flat_map(|world| world.fired.iter().copied()).collect();
    let (crashes, turns) = worlds.iter().fold((0, 0), |(c, t), world| (c + world.crashes, t + world.turns));
    println!("{crashes} crashes in {turns} turns, faults seen: {fired:?}");
    let missing: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| !fired.contains(fault)).collect();
    assert!(missing.is_empty(), "these faults never happened, so nothing was learnt about them: {missing:?}");
}

fn survive(seed: u64) -> World {
    let lived = catch_unwind(AssertUnwindSafe(|| live(seed, None, false)));
    lived.unwrap_or_else(|_| {
        panic!("seed {seed} failed; replay it: PINNACE_SIM_SEED={seed} cargo test --test sim replay -- --nocapture")
    })
}

#[test]
fn every_planted_bug_is_caught() {
    for bug in Bug::ALL {
        let caught = SEEDS.clone().any(|seed| catch_unwind(AssertUnwindSafe(|| live(seed, Some(bug), false))).is_err());
        assert!(caught, "no seed notices {bug:?}");
    }
}

/// Replays one seed aloud; without one it has nothing to do.
#[test]
fn replay() {
    if let Ok(seed) = std::env::var("PINNACE_SIM_SEED") {
        let seed = seed.parse().expect("PINNACE_SIM_SEED is a number");
        let world = live(seed, None, true);
        println!("seed {seed} settled after {} turns and {} crashes", world.turns, world.crashes);
    }
}

fn parse(text: &str) -> Range<u64> {
    let (from, to) = text.split_once("..").expect("PINNACE_SIM_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}
