//! The real binary as a client of a node with canned answers: what is printed where, with which exit code, and what the
//! node is asked.

mod change;
mod create;
mod fake;
mod flags;
mod look;
mod steer;
mod watch;

/// Paths that many tests have in common.
pub const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
pub const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";
pub const EVENTS: &str = "/api/v1/namespaces/default/events";

/// `GET` of a path.
pub fn get(path: &str) -> String {
    format!("GET {path}")
}
