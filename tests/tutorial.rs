//! Golden transcripts: sessions at a terminal with a real node, and exactly what it prints. Each file below
//! `tests/tutorial/` is one session; `PINNACE_BLESS=1 cargo test --test tutorial` writes down what is printed now.

#[path = "support/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "tutorial/normal.rs"]
mod normal;
#[path = "tutorial/transcript.rs"]
mod transcript;

use transcript::check;

/// The session that the tutorial for Kubernetes shows, from its first DaemonSet to its last CronJob.
#[test]
fn tutorial() {
    check("tutorial");
}

/// The same with the tutorial's images, built and imported as the README says, and none of its manifests touched.
#[test]
fn images() {
    if device::is_root() {
        return check("images");
    }
    device::say_past_the_harness("NOT RUN (needs root to run images): images");
}

#[test]
fn get() {
    check("get");
}

#[test]
fn describe() {
    check("describe");
}

#[test]
fn change() {
    check("change");
}

#[test]
fn rollout() {
    check("rollout");
}

#[test]
fn node() {
    check("node");
}

#[test]
fn logs() {
    check("logs");
}

#[test]
fn errors() {
    check("errors");
}

#[test]
fn tools() {
    check("tools");
}
