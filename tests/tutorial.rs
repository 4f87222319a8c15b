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
