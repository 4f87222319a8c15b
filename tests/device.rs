//! The node as its owner meets it: the real binary, real processes and signals, a real broker.

#[path = "device/broker.rs"]
mod broker;
#[path = "device/clocks.rs"]
mod clocks;
#[path = "device/crash.rs"]
mod crash;
#[path = "device/daemon.rs"]
mod daemon;
#[path = "support/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "device/ends.rs"]
mod ends;
#[path = "device/full.rs"]
mod full;
#[path = "device/images.rs"]
mod images;
#[path = "device/input.rs"]
mod input;
#[path = "support/mosquitto.rs"]
#[allow(dead_code)]
mod mosquitto;
#[path = "device/operate.rs"]
mod operate;
#[path = "support/peer.rs"]
#[allow(dead_code)]
mod peer;
#[path = "device/pods.rs"]
mod pods;
#[path = "support/registry.rs"]
mod registry;
#[path = "device/store.rs"]
mod store;
#[path = "device/update.rs"]
mod update;
#[path = "device/volumes.rs"]
mod volumes;

/// A DaemonSet whose pod runs until it is told to end.
const AGENT: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: main, command: [sleep, '100000']}
";

/// A test that only root can make says so where it is not made.
fn needs_root(test: &str) -> bool {
    if !device::is_root() {
        device::say_past_the_harness(&format!("NOT RUN (needs root): {test}"));
    }
    device::is_root()
}
