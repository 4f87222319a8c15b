//! How many pods a second a Job gets through, beside the floor: fork, exec, wait, and the same control groups.

#[allow(dead_code)]
mod support;

use std::time::Instant;

use support::figures::{Figures, print_head};
use support::floor::{Disk, Spawner};
use support::node::{JOBS, Node, job};
use support::{introduce, size};

const PARALLELISM: usize = 8;

fn main() {
    let (pods, rounds) = size((1000, 5), (10, 1));
    introduce(&format!("spawn: a Job of {pods} x /bin/true at parallelism {PARALLELISM}"));
    let floor = Spawner::new(&["/bin/true"]);
    let (mut bare, mut pinnace, mut ratio, mut durable) = Default::default();
    let mut files = Vec::new();
    for _ in 0..rounds {
        let before = floor.rate(pods, PARALLELISM);
        let node = Node::start(&[]);
        files.push(node.files());
        let own = rate(&node, pods);
        drop(node);
        // What the host gives changes while the node is measured; the floor on both sides of it is the fairer one.
        let floor = f64::midpoint(before, floor.rate(pods, PARALLELISM));
        Figures::add(&mut bare, floor);
        Figures::add(&mut pinnace, own);
        Figures::add(&mut ratio, own / floor);
        let disk = Disk::new();
        let commits: Figures = (0..100).map(|_| disk.commit().as_secs_f64()).collect();
        Figures::add(&mut durable, 1.0 / commits.median());
    }
    print_head(rounds);
    bare.print("floor: fork, exec, wait in two groups", "a second");
    durable.print("one after the other: 4 KiB made durable", "a second");
    pinnace.print("pinnace: pods from the request to Complete", "a second");
    ratio.print("pinnace / floor", "target: 0.5");
}

/// From the request to the Job's condition.
fn rate(node: &Node, pods: usize) -> f64 {
    let begun = Instant::now();
    node.client().post(JOBS, &job("spawn", &["/bin/true"], pods, PARALLELISM));
    node.await_complete("spawn");
    let rate = pods as f64 / begun.elapsed().as_secs_f64();
    println!(
        "  {pods} pods: {} steps, {} durable commits",
        node.metric("pinnace_steps_total"),
        node.metric("pinnace_commits_total")
    );
    rate
}
