//! A long life of the real binary under random load and faults: objects come and go, the daemon is killed, the broker is
//! taken away and comes back. At the end nothing has grown: memory, descriptors, processes, files.
//!
//! `PINNACE_SOAK_SECONDS=3600 cargo test --test soak` (`tests/run soak`); without it a short life that shows that the
//! test works. The seed is printed; `PINNACE_SOAK_SEED` takes one.

#[path = "support/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "support/mosquitto.rs"]
#[allow(dead_code)]
mod mosquitto;
#[path = "support/crash_backend.rs"]
#[allow(dead_code)]
mod random;

use std::fs;
use std::time::{Duration, Instant};

use device::Device;
use mosquitto::Mosquitto;
use random::Random;

const SECONDS: u64 = 15;

/// What a device holds of the host.
#[derive(Debug, Clone, Copy)]
struct Holds {
    /// Resident memory of the daemon in KiB.
    memory: u64,
    descriptors: usize,
    /// The daemon, its spawner, and a shim and a process a container.
    processes: usize,
    files: usize,
}

#[test]
fn nothing_grows() {
    let seconds = number("PINNACE_SOAK_SECONDS").unwrap_or(SECONDS);
    let seed = number("PINNACE_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("PINNACE_SOAK_SECONDS={seconds} PINNACE_SOAK_SEED={seed}");
    let mut broker = Mosquitto::start();
    let mut device = Device::start(&["--broker", &broker.url(), "--fleet", "demo"]);
    let mut random = Random(seed);
    // Caches and pools are filled first: what is compared is one emptied device with another.
    (0..20).for_each(|_| act(&mut device, &mut broker, &mut random));
    let before = emptied(&mut device, &broker);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut acts = 0;
    while Instant::now() < until {
        act(&mut device, &mut broker, &mut random);
        acts += 1;
    }
    let after = emptied(&mut device, &broker);
    println!("{acts} acts in {seconds} s; before: {before:?}; after: {after:?}");
    assert_eq!(after.processes, before.processes, "processes are left: {after:?}");
    assert!(after.descriptors <= before.descriptors + 2, "descriptors are left: {before:?}, {after:?}");
    assert!(after.files <= before.files + 2, "files are left: {before:?}, {after:?}");
    assert!(after.memory <= before.memory + before.memory / 4 + 2048, "memory has grown: {before:?}, {after:?}");
    device.stop();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn job(name: &str, completions: u64, command: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  completions: {completions}\n  parallelism: 3\n  backoffLimit: 2\n  ttlSecondsAfterFinished: 1\n  template:\n    spec:\n      restartPolicy: Never\n      terminationGracePeriodSeconds: 1\n      containers:\n      - {{name: main, command: [sh, -c, '{command}']}}\n"
    )
}

fn agent(version: u64) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  selector: {{matchLabels: {{app: a}}}}\n  template:\n    metadata: {{labels: {{app: a}}, annotations: {{v: '{version}'}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      - {{name: main, command: [sleep, '100000']}}\n"
    )
}

fn act(device: &mut Device, broker: &mut Mosquitto, random: &mut Random) {
    let name = format!("job-{}", random.next() % 5);
    match random.next() % 11 {
        0..=2 => {
            let command = ["true", "exit 3", "sleep 0.1", "seq 2000"][random.next() as usize % 4];
            // A Job of that name may be there with another template: that is refused, and part of the load.
            device.with_file("apply", &job(&name, 1 + random.next() % 5, command));
        }
        3 => drop(device.say(&["delete", "job", &name, "--wait=false"])),
        4 => broker.publish_retained("pn/demo/d/all/agent", agent(random.next() % 3).as_bytes()),
        5 => broker.publish_retained("pn/demo/d/all/agent", b""),
        6 => broker.publish_retained("pn/demo/d/all/x", b"kind: Job\n: ["),
        7 => drop(device.say(&["get", "pods,jobs,events", "-o", "json"])),
        8 => drop(device.say(&["logs", &format!("job/{name}")])),
        9 => {
            // Gone with all it kept, and back at once: what it retained is nobody's wish any more.
            broker.kill();
            *broker = Mosquitto::start_with(broker.port(), "allow_anonymous true\n");
        }
        _ => {
            device.crash();
            device.boot();
        }
    }
}

/// Everything is deleted and gone; then a fresh daemon, which has settled.
fn emptied(device: &mut Device, broker: &Mosquitto) -> Holds {
    for slot in ["agent", "x"] {
        broker.publish_retained(&format!("pn/demo/d/all/{slot}"), b"");
    }
    // A set whose message a broker lost stays in force, and the node may not be connected at present.
    device.say(&["delete", "daemonset", "agent"]);
    device.eventually("the sets are gone", |device| device.items(&["daemonsets"]).is_empty().then_some(()));
    for number in 0..5 {
        device.say(&["delete", "job", &format!("job-{number}")]);
    }
    device.eventually("no pod is left", |device| device.items(&["pods"]).is_empty().then_some(()));
    device.stop();
    device.boot();
    let pods = device.data().join("pods");
    device.eventually("no directory is left", |_| fs::read_dir(&pods).unwrap().next().is_none().then_some(()));
    holds(device)
}

fn holds(device: &Device) -> Holds {
    let process = format!("/proc/{}", device.pid());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Holds {
        memory: memory.trim().trim_end_matches(" kB").parse().unwrap(),
        descriptors: fs::read_dir(format!("{process}/fd")).unwrap().count(),
        processes: processes_of(device),
        files: count_files(&device.data()) + count_files(&device.path().join("run")),
    }
}

/// Shims and what they run do not descend from the daemon; but each has the directory in its words or is a shim.
fn processes_of(device: &Device) -> usize {
    let claims = fs::read_dir(device.path().join("run/attempts")).unwrap().count();
    let children = format!("/proc/{0}/task/{0}/children", device.pid());
    fs::read_to_string(children).unwrap_or_default().split_whitespace().count() + claims
}

fn count_files(directory: &std::path::Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries.map(|entry| if entry.path().is_dir() { 1 + count_files(&entry.path()) } else { 1 }).sum()
}
