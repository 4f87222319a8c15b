//! What one durable commit costs, beside the floor: 4 KiB written and synced.

#[allow(dead_code)]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pinnace::model::{ConfigMap, Meta, Record, Spec, Write};
use pinnace::store::Store;
use serde_json::{Value, json};
use support::figures::{Figures, print_head};
use support::floor::Disk;
use support::http::Client;
use support::node::Node;
use support::{introduce, scratch, size};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CALLERS: usize = 32;

fn main() {
    let (commits, rounds) = size((200, 5), (5, 1));
    introduce(&format!("commit: {commits} durable commits, one after the other"));
    let [mut floor, mut one, mut tick, mut asked, mut shared] = std::array::from_fn(|_| Figures::default());
    let [mut one_ratio, mut tick_ratio, mut asked_ratio, mut shared_by] = std::array::from_fn(|_| Figures::default());
    for _ in 0..rounds {
        let disk = Disk::new();
        let bare = median_ms((0..commits).map(|_| disk.commit()));
        let single = store(commits, 1);
        let whole = store(commits, 50);
        let (request, answered, requests_a_commit) = api(commits);
        floor.add(bare);
        one.add(single);
        tick.add(whole);
        asked.add(request);
        shared.add(answered);
        one_ratio.add(single / bare);
        tick_ratio.add(whole / bare);
        asked_ratio.add(request / bare);
        shared_by.add(requests_a_commit);
    }
    print_head(rounds);
    floor.print("floor: pwrite of 4 KiB and fdatasync", "ms");
    one.print("store: a tick that wrote one record", "ms");
    one_ratio.print("  / floor", "");
    tick.print("store: a tick that wrote 50 records", "ms");
    tick_ratio.print("  / floor", "");
    asked.print("API: create a ConfigMap, to the answer", "ms");
    asked_ratio.print("  / floor", "");
    shared.print(&format!("API: the same, {CALLERS} callers at once"), "answers a second");
    shared_by.print("  answers that share one commit", "");
}

fn median_ms(times: impl Iterator<Item = Duration>) -> f64 {
    times.map(|time| time.as_secs_f64() * 1e3).collect::<Figures>().median()
}

fn map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "key": "x".repeat(200) } })
}

/// The store alone: `rows` records a commit, milliseconds each.
fn store(commits: u64, rows: usize) -> f64 {
    let directory = scratch();
    let (mut store, loaded) = Store::open(&directory.path().join("data")).expect("the directory is ours");
    let times = (loaded.revision + 1..=loaded.revision + commits).map(|revision| {
        let writes: Vec<Write> = (0..rows).map(|row| record(&format!("map-{row}"), revision)).collect();
        let begun = Instant::now();
        store.commit(revision, &writes, true).expect("the disk takes it");
        begun.elapsed()
    });
    median_ms(times)
}

fn record(name: &str, revision: u64) -> Write {
    let meta = Meta { revision, ..Meta::named("default", name) };
    let spec = Spec::new(map(name)).expect("a ConfigMap as it should be");
    Write::Put(Arc::new(Record::ConfigMap(ConfigMap { meta, spec })))
}

/// A node: milliseconds from a request to its answer, then answers a second to many callers, and how many of these
/// answers one commit served.
fn api(commits: u64) -> (f64, f64, f64) {
    let node = Node::start(&[]);
    let mut client = node.client();
    let one = median_ms((0..commits).map(|i| create(&mut client, &format!("one-{i}"))));
    let before = node.metric("pinnace_commits_total");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let mut client = node.client();
            let requests = commits as usize / CALLERS + 1;
            scope.spawn(move || {
                for i in 0..requests {
                    create(&mut client, &format!("many-{caller}-{i}"));
                }
            });
        }
    });
    let answers = ((commits as usize / CALLERS + 1) * CALLERS) as f64;
    let rate = answers / begun.elapsed().as_secs_f64();
    (one, rate, answers / (node.metric("pinnace_commits_total") - before) as f64)
}

fn create(client: &mut Client, name: &str) -> Duration {
    let begun = Instant::now();
    client.post(MAPS, &map(name));
    begun.elapsed()
}
