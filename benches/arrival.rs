//! From the arrival of a manifest to its process at work, beside the floor: what lies on the path and cannot be left out,
//! one after the other (a hop through the broker, one durable commit, one process in groups of its own).

#[allow(dead_code)]
mod support;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use support::broker::{Broker, Peer};
use support::figures::{Figures, print_head};
use support::floor::{Disk, Spawner};
use support::node::{JOBS, Node, job};
use support::{introduce, run_scratch, size};

fn main() {
    let (arrivals, rounds) = size((40, 5), (2, 1));
    let broker = Broker::start();
    introduce(&format!(
        "arrival: {arrivals} Jobs, one after the other, from the message to the process at work; broker: {}",
        broker.name
    ));
    let bell = Bell::new();
    let command = bell.command();
    let floor = Spawner::new(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let peer = Peer::connect(&broker, "bench/floor");
    let node = Node::start(&["--broker", &broker.url()]);
    await_connection(&node);
    let disk = Disk::new();
    let names = ["hop", "commit", "spawn", "floor_api", "floor_mqtt", "api", "mqtt", "api_ratio", "mqtt_ratio"];
    let mut figures: [Figures; 9] = std::array::from_fn(|_| Figures::default());
    for round in 0..rounds {
        let bells = |measure: &mut dyn FnMut(usize) -> Duration| median_ms((0..arrivals).map(measure));
        let hop = bells(&mut |_| peer.round_trip("bench/floor", &[b'x'; 600]));
        let commit = bells(&mut |_| disk.commit());
        let spawn = bells(&mut |i| bell.after(|| floor.run(i)));
        let mut client = node.client();
        let api = bells(&mut |i| {
            let object = job(&format!("api-{round}-{i}"), &words(&command), 1, 1);
            let took = bell.after(|| client.post(JOBS, &object));
            node.await_complete(&format!("api-{round}-{i}"));
            took
        });
        let mqtt = bells(&mut |i| {
            let name = format!("mqtt-{round}-{i}");
            let manifest = job(&name, &words(&command), 1, 1).to_string();
            let took = bell.after(|| peer.publish(&format!("pn/bench/d/node/bench/{name}"), true, manifest.as_bytes()));
            node.await_complete(&name);
            took
        });
        let (floor_api, floor_mqtt) = (commit + spawn, hop + commit + spawn);
        let all = [hop, commit, spawn, floor_api, floor_mqtt, api, mqtt, api / floor_api, mqtt / floor_mqtt];
        figures.iter_mut().zip(all).for_each(|(figures, figure)| figures.add(figure));
    }
    print_head(rounds);
    let told = [
        "floor: a message through the broker",
        "floor: 4 KiB made durable",
        "floor: fork and exec in two groups, to the bell",
        "floor of the API: the last two",
        "floor of MQTT: all three",
        "pinnace: request to the API, to the bell",
        "pinnace: message to the broker, to the bell",
        "API / floor",
        "MQTT / floor",
    ];
    for ((name, figures), text) in names.iter().zip(&figures).zip(told) {
        figures.print(text, if name.ends_with("ratio") { "" } else { "ms" });
    }
}

fn median_ms(times: impl Iterator<Item = Duration>) -> f64 {
    times.map(|time| time.as_secs_f64() * 1e3).collect::<Figures>().median()
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn await_connection(node: &Node) {
    let begun = Instant::now();
    while node.metric("pinnace_link_connected") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the node does not connect:\n{}", node.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    // Subscriptions follow the connection; retained messages would be passed on in any case.
    std::thread::sleep(Duration::from_millis(200));
}

/// A pipe with a name that the process writes to as its first act.
struct Bell {
    path: PathBuf,
    pipe: File,
    _directory: tempfile::TempDir,
}

impl Bell {
    fn new() -> Bell {
        let directory = run_scratch();
        let path = directory.path().join("bell");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("the directory is ours");
        // Open for writing as well, it never ends and a read waits.
        let pipe = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(&path);
        Bell { pipe: pipe.expect("it was made just now"), path, _directory: directory }
    }

    fn command(&self) -> [String; 3] {
        ["/bin/sh".into(), "-c".into(), format!("echo > {}", Path::display(&self.path))]
    }

    /// The time from the beginning of `act` until it rings.
    fn after(&self, act: impl FnOnce()) -> Duration {
        let begun = Instant::now();
        act();
        (&self.pipe).read_exact(&mut [0]).expect("a byte comes");
        begun.elapsed()
    }
}
