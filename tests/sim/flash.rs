//! What a node writes to its medium, counted at the store's file over virtual time: the budgets that are promised.

use std::time::Duration;

use crate::manifests::{self as say, Daemons, Work};
use crate::script::all;
use crate::world::World;

const KB: u64 = 1000;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node on which one message has been published, and so much time has passed.
fn node_with(text: &str, settle: Duration) -> World {
    let mut world = World::new(1, None, false);
    world.settle();
    world.publish(&all("jobs"), text);
    world.live_until(world.kernel.lived + settle);
    world
}

fn bytes_within(world: &mut World, span: Duration) -> u64 {
    let before = world.disk.written();
    world.live_until(world.kernel.lived + span);
    world.disk.written() - before
}

#[test]
fn an_idle_day_writes_nothing() {
    let agent = say::daemon_set(&Daemons { version: 1, strategy: "RollingUpdate", command: "[\"forever\"]" });
    let mut world = node_with(&agent, Duration::from_secs(60));
    assert_eq!(bytes_within(&mut world, DAY), 0, "bytes of an idle day");
}

#[test]
fn a_pods_life_is_within_its_budget() {
    let mut world = node_with("", Duration::from_secs(60));
    let before = world.disk.written();
    world.publish(&all("jobs"), &say::job(&Work::default()));
    world.live_until(world.kernel.lived + Duration::from_secs(60));
    let bytes = world.disk.written() - before;
    println!("flash: {bytes} bytes of the store for a Job of one pod, from the message to Complete");
    // A pod alone costs less than a Job with its pod, and the shim's record is a file of one block beside it.
    assert!(bytes > 0 && bytes <= 64 * KB + 64 * KB, "{bytes} bytes for a message, its Job and its pod");
    let mut world = node_with(&say::job(&Work { completions: Some(21), ..Work::default() }), Duration::from_secs(2));
    let bytes = bytes_within(&mut world, Duration::from_secs(600)) / 20;
    println!("flash: {bytes} bytes of the store for each further pod");
    assert!(bytes > 0 && bytes <= 64 * KB, "{bytes} bytes for a pod's life");
}

#[test]
fn a_day_of_crashing_is_within_its_budget() {
    let agent =
        say::daemon_set(&Daemons { version: 1, strategy: "RollingUpdate", command: "[\"work\", \"1\", \"1\"]" });
    let mut world = node_with(&agent, Duration::ZERO);
    let (bytes, starts) = (bytes_within(&mut world, DAY), world.kernel.started.len());
    println!("flash: {bytes} bytes of the store for {starts} starts of a pod that crashes for a day");
    assert!(starts > 200, "{starts} starts");
    // Two commits each time, an end and an intent, made it 18 MB.
    assert!(bytes <= 5_000 * KB, "{bytes} bytes");
}

/// A run of more than ten minutes is no crash in a row, so no numbers are reserved and each restart is a commit.
#[test]
fn a_day_of_ends_that_are_no_crash_loop_is_within_the_same_budget() {
    let agent =
        say::daemon_set(&Daemons { version: 1, strategy: "RollingUpdate", command: "[\"work\", \"660\", \"1\"]" });
    let mut world = node_with(&agent, Duration::ZERO);
    let (bytes, starts) = (bytes_within(&mut world, DAY), world.kernel.started.len());
    println!("flash: {bytes} bytes of the store for {starts} starts of a pod that ends every eleven minutes for a day");
    assert!(starts > 100, "{starts} starts");
    assert!(bytes <= 5_000 * KB, "{bytes} bytes");
}
