//! What people and programs see when the daemon itself comes to harm, and how it bears it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;

use crate::device::{Device, lives, signal};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: lives}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, command: [sh, -c, 'echo begun; exec sleep 100000']}
";

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: '1'}\n";

/// The attempt that runs, and since when.
fn running(device: &Device) -> String {
    device.wait_for("condition=ready", "pod/lives");
    let pod = device.json(&["pod", "lives"]);
    let status = &pod["status"]["containerStatuses"][0];
    format!("{} {}", status["containerID"], status["state"]["running"]["startedAt"])
}

/// The process that starts containers for the daemon: its only child.
fn spawner(device: &Device) -> u32 {
    let daemon = device.pid();
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).unwrap();
    let children: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(children.len(), 1, "children of the daemon: {children:?}");
    children[0]
}

/// The daemon ends when its spawner is killed, with an exit code that makes systemd start it again.
fn kill_spawner(device: &mut Device) {
    let spawner = spawner(device);
    signal(spawner, Signal::SIGKILL);
    assert_eq!(device.ends(), 1);
    device.eventually("the spawner is gone", |_| (!lives(spawner.into())).then_some(()));
}

#[test]
fn a_service_manager_is_told_that_the_node_is_ready_and_goes_round() {
    let device = Device::prepare(&[]);
    let path = device.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut node = device.command(&["node", "--name", "gw-7", "--data-dir"]);
    node.arg(device.data()).arg("--run-dir").arg(device.path().join("run"));
    node.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").stderr(Stdio::null());
    let mut node = node.spawn().unwrap();
    let hear = || {
        let mut text = [0; 256];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert_eq!(hear(), "READY=1\nSTATUS=running\nWATCHDOG=1");
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1");
    }
    signal(node.id(), Signal::SIGTERM);
    let last = std::iter::repeat_with(hear).find(|text| text != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert_eq!(node.wait().unwrap().code(), Some(0));
}

#[test]
fn a_daemon_without_its_spawner_ends_and_the_next_one_goes_on() {
    let mut device = Device::start(&[]);
    device.apply(POD);
    let before = running(&device);
    kill_spawner(&mut device);
    assert!(device.log().contains("pods go on"), "{}", device.log());
    device.boot();
    assert_eq!(running(&device), before);
    device.ok(&["delete", "pod", "lives"]);
}

#[test]
fn a_daemon_that_dies_again_and_again_holds_still_and_lets_itself_be_looked_at() {
    let mut device = Device::start(&[]);
    device.apply(POD);
    let before = running(&device);
    for _ in 0..4 {
        kill_spawner(&mut device);
        device.boot();
    }
    kill_spawner(&mut device);
    device.boot();
    assert!(device.log().contains("holds still"), "{}", device.log());
    assert_eq!(running(&device), before, "what there is can be looked at");
    let said = device.with_file("apply", MAP);
    assert!(said.code == 1 && said.err.contains("holds still after repeated failures"), "{said:?}");
    // Somebody stops it and starts it again: that counts as looked after.
    assert_eq!(device.stop(), 0);
    device.boot();
    device.apply(MAP);
    assert_eq!(running(&device), before);
}

/// A client that waits for something, and has been seen to.
fn waiting(device: &Device, arguments: &[&str], until: impl Fn(&str) -> bool) -> (Child, std::path::PathBuf) {
    let printed = device.path().join(arguments.join("-").replace('/', "-"));
    let file = fs::File::create(&printed).unwrap();
    let client = device.command(arguments).stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null()).spawn();
    device.eventually("the client waits", |_| until(&fs::read_to_string(&printed).unwrap()).then_some(()));
    (client.unwrap(), printed)
}

/// Whoever waits goes on with the next daemon, also with what happened while there was none.
#[test]
fn clients_that_wait_outlast_a_restart() {
    let mut device = Device::start(&[]);
    let gate = device.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    // An empty line is what a reader gets that comes while the writer before it is still there.
    let read = format!("x=; while [ -z \"$x\" ]; do read x < {}; done", gate.display());
    let program = format!("echo begun; for n in 1 2 3; do {read}; echo got $x; echo again $x; done");
    let job = |name: &str, program: &str| {
        let spec = serde_json::json!({"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "command": ["sh", "-c", program]}]}}});
        let job =
            serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec});
        job.to_string()
    };
    device.apply(&job("gated", &program));
    device.apply(&job("early", "true"));
    device.wait_for("condition=complete", "job/early");
    device.wait_for("jsonpath={.status.ready}=1", "job/gated");
    let has = |file: &std::path::Path, words: &str| fs::read_to_string(file).unwrap().contains(words).then_some(());
    let (mut log, followed) = waiting(&device, &["logs", "-f", "job/gated"], |printed| printed.contains("begun"));
    let (mut news, latest) =
        waiting(&device, &["logs", "-f", "--tail=1", "--timestamps", "job/gated"], |printed| printed.contains("begun"));
    let (mut wait, waited) =
        waiting(&device, &["wait", "--for=condition=complete", "jobs", "--all", "--timeout=60s"], |printed| {
            printed.contains("early")
        });
    fs::write(&gate, "one\n").unwrap();
    device.eventually("it is followed", |_| has(&followed, "again one").and(has(&latest, "again one")));
    device.crash();
    fs::write(&gate, "two\n").unwrap();
    device.boot();
    device.eventually("it is gone on with", |_| has(&followed, "again two"));
    assert_eq!(device.stop(), 0);
    fs::write(&gate, "three\n").unwrap();
    device.boot();
    for client in [&mut log, &mut news, &mut wait] {
        assert_eq!(client.wait().unwrap().code(), Some(0), "{} {}", fs::read_to_string(&waited).unwrap(), device.log());
    }
    let told = "got one\nagain one\ngot two\nagain two\ngot three\nagain three\n";
    assert_eq!(fs::read_to_string(&followed).unwrap(), format!("begun\n{told}"));
    let latest = fs::read_to_string(&latest).unwrap();
    let words: Vec<&str> = latest.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(words.join("\n"), format!("begun\n{}", told.trim_end()));
    assert!(fs::read_to_string(&waited).unwrap().ends_with("job.batch/gated condition met\n"));
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: '{value}'}}\n")
}

/// A watch shows what changed while it was blind, and nothing twice. It is held still meanwhile, as it would look again
/// before anything can happen.
#[test]
fn watches_outlast_a_restart() {
    let mut device = Device::start(&[]);
    device.apply(&[map("gone", "1"), map("kept", "1"), map("other", "1")].join("---\n"));
    let sees = |words: &'static str| move |printed: &str| printed.contains(words);
    let values = "jsonpath={.metadata.name}={.data.v}{\"\\n\"}";
    let mut clients = [
        waiting(&device, &["get", "cm", "-w", "-o", values], sees("other")),
        waiting(&device, &["get", "cm", "-w", "--output-watch-events", "--no-headers"], sees("other")),
        waiting(&device, &["get", "cm", "kept", "-w", "-o", "name"], sees("kept")),
        waiting(&device, &["events", "-w", "--no-headers"], sees("Starting")),
    ];
    let all = |word| clients.iter().for_each(|(client, _)| signal(client.id(), word));
    let eventually = |device: &Device, at: usize, words: &str| {
        let printed: &std::path::Path = &clients[at].1;
        let shown = || fs::read_to_string(printed).unwrap();
        device.eventually(&format!("{words} is shown, {}", shown()), |_| shown().contains(words).then_some(()));
    };
    all(Signal::SIGSTOP);
    device.crash();
    device.boot();
    device.ok(&["delete", "cm", "gone"]);
    device.apply(&[map("new", "1"), map("other", "2")].join("---\n"));
    all(Signal::SIGCONT);
    (0..2).for_each(|at| eventually(&device, at, "new"));
    // The same with a node that is told to end, and watches that look at once.
    assert_eq!(device.stop(), 0);
    device.boot();
    device.apply(&map("last", "1"));
    (0..2).for_each(|at| eventually(&device, at, "last"));
    eventually(&device, 3, "(x3 over");
    device.ok(&["delete", "cm", "kept"]);
    eventually(&device, 0, "last=1\nkept=1\n");
    eventually(&device, 2, "kept\nconfigmap/kept\n");
    for (client, _) in &mut clients {
        assert!(client.try_wait().unwrap().is_none(), "it goes on");
        signal(client.id(), Signal::SIGTERM);
        client.wait().unwrap();
    }
    let shown = clients.map(|(_, printed)| fs::read_to_string(printed).unwrap());
    let first = "gone=1\nkept=1\nother=1\n";
    assert_eq!(shown[0], format!("{first}gone=1\nnew=1\nother=2\nlast=1\nkept=1\n"));
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let rows: Vec<String> = shown[1].lines().map(words).collect();
    assert_eq!(rows[..3], ["ADDED gone", "ADDED kept", "ADDED other"]);
    assert_eq!(rows[3..], ["DELETED gone", "ADDED new", "MODIFIED other", "ADDED last", "DELETED kept"]);
    assert_eq!(shown[2], "configmap/kept\nconfigmap/kept\n");
    let starts: Vec<&str> = shown[3].lines().filter(|line| line.contains("Starting pinnace.")).collect();
    assert_eq!(starts.len(), 3, "{}", shown[3]);
}

#[test]
fn what_a_container_writes_is_followed_as_it_comes() {
    let device = Device::start(&[]);
    let gate = device.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    // Open for writing too: so no reading ends with the writer before it.
    let program = format!("exec 3<> {}; while read x <&3; do echo got $x; done", gate.display());
    device.apply(&POD.replace("echo begun; exec sleep 100000", &program));
    running(&device);
    let (mut client, printed) = waiting(&device, &["logs", "-f", "lives"], |_| true);
    for word in ["one", "two"] {
        fs::write(&gate, format!("{word}\n")).unwrap();
        device.eventually("it is printed", |_| fs::read_to_string(&printed).unwrap().contains(word).then_some(()));
    }
    device.ok(&["delete", "pod", "lives"]);
    assert_eq!(client.wait().unwrap().code(), Some(0), "it ends with the container");
    assert_eq!(fs::read_to_string(&printed).unwrap(), "got one\ngot two\n");
}
