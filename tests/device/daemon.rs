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

#[test]
fn clients_that_wait_are_told_when_the_daemon_goes() {
    let mut device = Device::start(&[]);
    device.apply(POD);
    running(&device);
    let clients = [
        waiting(&device, &["logs", "-f", "lives"], |printed| printed.contains("begun")),
        waiting(&device, &["get", "pods", "-w"], |printed| printed.contains("lives")),
        waiting(&device, &["wait", "--for=delete", "pod/lives", "--timeout=-1s"], |_| true),
    ];
    device.crash();
    for (mut client, printed) in clients {
        let code = client.wait().unwrap().code();
        let printed = fs::read_to_string(printed).unwrap();
        assert!(code == Some(1) && printed.contains("node"), "{code:?} {printed}");
    }
}

#[test]
fn what_a_container_writes_is_followed_as_it_comes() {
    let device = Device::start(&[]);
    let gate = device.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    device.apply(
        &POD.replace(
            "echo begun; exec sleep 100000",
            &format!("while read x < {}; do echo got $x; done", gate.display()),
        ),
    );
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
