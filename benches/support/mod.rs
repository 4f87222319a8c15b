//! What the benches share: a node of their own, the floors of this host, and figures with their spread.
//!
//! A figure alone means little on a machine that others use too. So each is measured in rounds, each round beside a floor
//! that does the least that any program would have to do for the same, and what counts is the ratio of the two.

pub mod broker;
pub mod figures;
pub mod floor;
pub mod http;
pub mod node;

use std::path::{Path, PathBuf};

/// `cargo bench` says so. Without it (`cargo test --all-targets`) a bench runs through once, as small as it can, so that
/// it cannot rot; its figures mean nothing then.
pub fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// `full` when measuring, else `smoke`.
pub fn size<T>(full: T, smoke: T) -> T {
    if is_measuring() { full } else { smoke }
}

/// The first lines of each bench: what is measured and where.
pub fn introduce(what: &str) {
    println!("\n{what}");
    println!("  host: {}", host());
    if !is_measuring() {
        println!("  a run through to see that it works; for figures: cargo bench");
    }
}

fn host() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let groups = match floor::cgroup_mount() {
        None => "no cgroup2: pods are tracked by descent, and so is the floor".to_string(),
        Some(mount) => {
            let controllers = std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
            let controllers = if controllers.trim().is_empty() { "none" } else { controllers.trim() };
            format!("cgroup2 with controllers: {controllers}")
        }
    };
    format!("{cpus} CPUs, Linux {}, {groups}", kernel.trim())
}

/// A directory on the disk that is measured: the one that holds the build.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory can be written")
}

/// A directory such as `/run` is on a device: on tmpfs where the host has one.
pub fn run_scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let place = if shm.is_dir() { PathBuf::from(shm) } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).expect("the directory for temporary files can be written")
}
