//! How big the binary is, what a node at rest holds and does, and what each container adds.

#[allow(dead_code)]
mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use support::broker::Broker;
use support::figures::print_one;
use support::node::{JOBS, Node, job};
use support::{introduce, size};

fn main() {
    introduce("size: the binary, a node at rest, and the shims");
    let binary = fs::metadata(env!("CARGO_BIN_EXE_pinnace")).map_or(0, |file| file.len());
    print_one("binary", binary as f64 / 1e6, "MB", "5");
    at_rest("alone", &[]);
    let broker = Broker::start();
    at_rest(&format!("with a broker ({})", broker.name), &["--broker", &broker.url()]);
    for containers in size([50, 200], [2, 4]) {
        with_containers(containers);
    }
}

/// What the node holds and how often it wakes when nothing happens.
fn at_rest(how: &str, more: &[&str]) {
    let node = Node::start(more);
    settle();
    let (daemon, spawner) = (pss_kb(node.daemon()), pss_kb(node.spawner()));
    print_one(&format!("memory {how}: daemon"), daemon / 1e3, "MB", "");
    print_one(&format!("memory {how}: spawner"), spawner / 1e3, "MB", "");
    print_one(&format!("memory {how}: both"), (daemon + spawner) / 1e3, "MB", "6");
    let commits = node.metric("pinnace_commits_total");
    settle();
    let window = Duration::from_secs(size(30, 1));
    let before = [switches(node.daemon()), switches(node.spawner())];
    std::thread::sleep(window);
    let after = [switches(node.daemon()), switches(node.spawner())];
    let name = format!("wake-ups {how} in {} s: daemon", window.as_secs());
    print_one(&name, woken(&before[0], &after[0]), "", if more.is_empty() { "0" } else { "keep-alive alone" });
    print_one("  spawner", woken(&before[1], &after[1]), "", "0");
    print_one("  durable commits", (node.metric("pinnace_commits_total") - commits) as f64, "", "0");
}

fn with_containers(containers: usize) {
    let node = Node::start(&[]);
    node.client().post(JOBS, &job("rest", &["/bin/sleep", "1000000"], containers, containers));
    node.await_ready("rest", containers);
    settle();
    let shims = node.shims();
    assert_eq!(shims.len(), containers, "one shim for each container:\n{}", node.log());
    let total: f64 = shims.iter().map(|shim| pss_kb(*shim)).sum();
    print_one(&format!("memory of a shim, {containers} containers"), total / containers as f64, "kB", "90");
    print_one("  daemon and spawner", (pss_kb(node.daemon()) + pss_kb(node.spawner())) / 1e3, "MB", "");
    let before = switches(node.daemon());
    std::thread::sleep(Duration::from_secs(size(5, 1)));
    print_one("  wake-ups in 5 s", woken(&before, &switches(node.daemon())), "", "0");
}

/// Until what the start or the last request set off is over; the threads that did it end ten seconds later.
fn settle() {
    std::thread::sleep(Duration::from_secs(size(12, 1)));
}

/// The process's share of memory: a page that n processes have counts 1/n.
fn pss_kb(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process is ours and lives");
    let kib: Option<f64> = text.lines().find_map(|l| l.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.expect("the kernel tells it") * 1.024
}

/// How often each of its threads went from waiting to work, and was interrupted in it.
fn switches(pid: i32) -> BTreeMap<OsString, u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is ours and lives").flatten();
    let of = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        let sum = counts.filter_map(|line| line.rsplit('\t').next()?.parse::<u64>().ok()).sum();
        (thread.file_name(), sum)
    };
    threads.map(of).collect()
}

/// What came between two looks; a thread that has ended since woke up for that at least.
fn woken(before: &BTreeMap<OsString, u64>, after: &BTreeMap<OsString, u64>) -> f64 {
    let ended = before.keys().filter(|thread| !after.contains_key(*thread)).count() as u64;
    let more: u64 = after.iter().map(|(thread, count)| count - before.get(thread).copied().unwrap_or(0)).sum();
    (ended + more) as f64
}
