//! The simulation: the real core, store and manifest code in a world where the disk loses power, fills up and fails,
//! processes outlive the daemon or die with the machine, the broker repeats itself, and the clock jumps. Checkers look at
//! every effect, after each turn, and when the faults have stopped and everything must settle.
//!
//! Two kinds of lives. **Seeds**: forty acts and faults by chance, all from one number. **Points**: short scripts in which a
//! blow falls at every operation of the store and at every effect, one after the other, and pairs of them.
//!
//! What fails is replayed with its log by one command, which it prints:
//!
//! ```text
//! PINNACE_SIM_SEED=17 cargo test --test sim replay -- --nocapture
//! PINNACE_SIM_POINT='cron 1 cut@store:17 kill@store:3' cargo test --test sim replay -- --nocapture
//! ```
//!
//! How much is tried: `PINNACE_SIM_SEEDS=1000..20000`, `PINNACE_SIM_POINTS=1..4` (the seeds of the points), `PINNACE_SIM_STRIDE`
//! and `PINNACE_SIM_PAIR_STRIDE` (every nth point and pair). `tests/run simulation` tries the most, with pinnace optimised, which is
//! five times as quick; overflow checks and debug assertions stay on.

#[path = "sim/broker.rs"]
mod broker;
#[path = "sim/bugs.rs"]
mod bugs;
#[path = "sim/checks.rs"]
mod checks;
#[path = "support/crash_backend.rs"]
#[allow(dead_code)]
mod crash_backend;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/flash.rs"]
mod flash;
#[path = "sim/kernel.rs"]
mod kernel;
#[path = "sim/ledger.rs"]
mod ledger;
#[path = "sim/manifests.rs"]
mod manifests;
#[path = "sim/peace.rs"]
mod peace;
#[path = "sim/people.rs"]
mod people;
#[path = "sim/points.rs"]
mod points;
#[path = "sim/room.rs"]
mod room;
#[path = "sim/script.rs"]
mod script;
#[path = "sim/world.rs"]
mod world;

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use bugs::Bug;
use faults::Fault;
use points::Point;
use room::Room;
use world::World;

/// What every run of the tests covers.
const SEEDS: Range<u64> = 0..40;
/// Lives further out that once failed. 2265: a work queue is scaled to none when one of it has succeeded.
const FOUND: [u64; 1] = [2265];
/// Lives on a disk that has no room for half of what the fleet asks for.
const SHORT_SEEDS: Range<u64> = 0..5;
const POINT_SEEDS: Range<u64> = 1..2;
const STRIDE: usize = 23;
const PAIR_STRIDE: usize = 997;
/// A planted bug that no life up to here notices is not noticed.
const BUG_SEEDS: Range<u64> = 0..40;

/// One life of a device from a seed, faults first, then peace.
fn live(seed: u64, bug: Option<Bug>, log: bool) -> World {
    let mut world = World::new(seed, bug, log);
    world.run();
    world
}

#[test]
fn seeds_hold_every_invariant() {
    let seeds = range_of("PINNACE_SIM_SEEDS").map_or_else(|| SEEDS.chain(FOUND).collect(), Iterator::collect);
    let again = |seed: &u64| format!("PINNACE_SIM_SEED={seed}");
    let sum = in_threads(seeds, |seed| live(*seed, None, false), again);
    println!("{} lives, {} crashes in {} turns, faults seen: {:?}", sum.lives, sum.crashes, sum.turns, sum.fired);
    let missing: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| !sum.fired.contains(fault)).collect();
    assert!(missing.is_empty(), "these faults never happened, so nothing was learnt about them: {missing:?}");
}

/// Sets wait for room, come into force later or are replaced, and in the end the fleet has its way all the same.
#[test]
fn a_disk_that_is_short_of_room_keeps_no_set_from_its_slot() {
    let mut waited = 0;
    for seed in SHORT_SEEDS {
        let mut world = World::new(seed, None, false);
        world.room = Room::short(seed);
        world.run();
        waited += world.room.waited;
    }
    println!("{waited} times a message waited");
    assert!(waited > 50, "only {waited} messages waited");
}

#[test]
fn every_crash_point_of_the_scripts_holds_every_invariant() {
    let seeds = range_of("PINNACE_SIM_POINTS").unwrap_or(POINT_SEEDS);
    let (stride, pair_stride) =
        (number_of("PINNACE_SIM_STRIDE", STRIDE), number_of("PINNACE_SIM_PAIR_STRIDE", PAIR_STRIDE));
    let again = |point: &Point| format!("PINNACE_SIM_POINT='{point}'");
    for (what, points) in [
        ("single", seeds.clone().flat_map(|seed| points::singles(seed, stride)).collect::<Vec<_>>()),
        ("paired", seeds.clone().flat_map(|seed| points::pairs(seed, pair_stride)).collect()),
    ] {
        let sum = in_threads(points, |point| point.run(None, false), again);
        println!("{} {what} points, {} of them met, {} crashes", sum.lives, sum.struck, sum.crashes);
        assert!(sum.struck * 3 > sum.lives, "most of the {what} points were never met");
    }
}

#[test]
fn every_planted_bug_is_caught_by_its_checker() {
    say_no_panics();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let of_thread = |n: usize| Bug::ALL.iter().skip(n).step_by(threads).filter_map(|bug| notices(*bug).err()).collect();
    let missed: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || -> Vec<String> { of_thread(n) })).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("it catches what it provokes")).collect()
    });
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Whether a life ends with the words of the checker that is meant; else what the lives said instead.
fn notices(bug: Bug) -> Result<(), String> {
    let mut said = BTreeSet::new();
    let short = points::peaceful().into_iter().map(|point| quietly(|| point.run(Some(bug), false)));
    let long = BUG_SEEDS.map(|seed| quietly(|| live(seed, Some(bug), false)));
    for (life, ended) in short.chain(long).enumerate() {
        let Err(panic) = ended else { continue };
        let text = words(&*panic);
        if text.contains(bug.caught_by()) {
            println!("{bug:?} is noticed in life {life}: {}", text.chars().take(120).collect::<String>());
            return Ok(());
        }
        said.insert(text.chars().take(160).collect::<String>());
    }
    Err(format!("{bug:?} is not noticed by {:?}, but by: {said:#?}", bug.caught_by()))
}

/// Replays one seed or point aloud; without one it has nothing to do.
#[test]
fn replay() {
    if let Ok(seed) = std::env::var("PINNACE_SIM_SEED") {
        let seed = seed.parse().expect("PINNACE_SIM_SEED is a number");
        let world = live(seed, None, true);
        println!("seed {seed} settled after {} turns and {} crashes", world.turns, world.crashes);
    }
    if let Ok(point) = std::env::var("PINNACE_SIM_POINT") {
        let point: Point = point.parse().expect("PINNACE_SIM_POINT is SCRIPT SEED BLOW…");
        let world = point.run(None, true);
        println!("{point} settled after {} turns and {} crashes", world.turns, world.crashes);
    }
}

// ---- many lives ------------------------------------------------------------------------------------------------------

/// What many lives came to.
#[derive(Default)]
struct Sum {
    lives: usize,
    /// Lives in which something fell.
    struck: usize,
    crashes: u64,
    turns: u64,
    fired: BTreeSet<Fault>,
}

/// One thread a core, each with every nth of them.
fn in_threads<T: Sync>(all: Vec<T>, live: impl Fn(&T) -> World + Sync, again: impl Fn(&T) -> String + Sync) -> Sum {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let of_thread = |n: usize| {
        let mut sum = Sum::default();
        for one in all.iter().skip(n).step_by(threads) {
            let world = catch_unwind(AssertUnwindSafe(|| live(one)))
                .unwrap_or_else(|_| panic!("{}", how_to_replay(&again(one))));
            sum.lives += 1;
            sum.struck += usize::from(world.crashes > 0);
            sum.crashes += world.crashes;
            sum.turns += world.turns;
            sum.fired.extend(world.fired);
        }
        sum
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || of_thread(n))).collect();
        running.into_iter().fold(Sum::default(), |mut all, thread| {
            let sum = thread.join().expect("a life failed; how to replay it is said above");
            all.lives += sum.lives;
            all.struck += sum.struck;
            all.crashes += sum.crashes;
            all.turns += sum.turns;
            all.fired.extend(sum.fired);
            all
        })
    })
}

fn how_to_replay(which: &str) -> String {
    format!("a life failed; replay it: {which} cargo test --test sim replay -- --nocapture")
}

fn range_of(name: &str) -> Option<Range<u64>> {
    let text = std::env::var(name).ok()?;
    let numbers = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    Some(numbers.unwrap_or_else(|| panic!("{name} is FROM..TO, as in 0..100, not {text:?}")))
}

fn number_of(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

// ---- panics that are meant --------------------------------------------------------------------------------------------

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Panics that a test provokes are not printed.
fn say_no_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                usual(info);
            }
        }));
    });
}

fn quietly<T>(run: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    IS_QUIET.set(true);
    let ran = catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(false);
    ran
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string())).unwrap_or_default()
}
