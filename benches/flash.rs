//! What a node writes to its medium: the daemon's bytes as the kernel counts them, a commit and a pod, beside what another
//! agent of this class writes for one deployment.

#[allow(dead_code)]
mod support;

use support::figures::print_one;
use support::introduce;
use support::node::{JOBS, Node, job};
use support::size;

/// Greengrass nucleus lite, one deployment, in KB: 24 to 47 MB (figure of others, not measured here).
const OTHER_KB: f64 = 24_000.0;

/// Of a data directory on a block device alone.
const DEVICE: &str = "pinnace_disk_bytes_written_total";

fn main() {
    let pods = size(200, 2);
    introduce(&format!(
        "flash: bytes that the daemon sends to the medium for a Job of {pods} pods, one after the other"
    ));
    let node = Node::start(&[]);
    let mut client = node.client();
    let read =
        || (node.metric("pinnace_store_bytes_written_total") as f64, node.metric("pinnace_commits_total") as f64);
    let ((bytes_before, commits_before), device_before) = (read(), node.metric(DEVICE) as f64);
    client.post(JOBS, &job("flash", &["/bin/true"], pods, 1));
    node.await_complete("flash");
    let (bytes, commits) = read();
    let (kb, commits) = ((bytes - bytes_before) / 1e3, commits - commits_before);
    println!("  on tmpfs the kernel counts nothing; the medium is the one that holds the build");
    print_one("a pod, from its record to its end", kb / pods as f64, "KB", "64");
    print_one("  durable commits a pod", commits / pods as f64, "", "");
    print_one("  KB a commit", kb / commits, "KB", "");
    let device = (node.metric(DEVICE) as f64 - device_before) / 1e3;
    print_one(
        "all that the device took meanwhile, of everybody: records, logs, journal, others",
        device / pods as f64,
        "KB a pod",
        "",
    );
    print_one(
        "Greengrass nucleus lite, one deployment / one pod here",
        OTHER_KB * pods as f64 / kb.max(1e-9),
        "times",
        "",
    );
}
