//! pinnace makes a Linux device a Kubernetes node of its own: DaemonSets, Jobs and CronJobs arrive over MQTT, run as
//! processes, and go on without network, broker or control plane. This page is the map; ARCHITECTURE.md is the tour.
//!
//! Everything turns around one loop, and its order is law: observe, step, commit, apply, act, report. A module knows what
//! stands in its line and deliberately nothing more; `tests/architecture.rs` holds the imports against that.

/// HTTP on a Unix socket, in Kubernetes' paths and words. Reads the state and asks the loop for changes; knows no file, no
/// process, no broker.
pub mod api;
/// The verbs a person types. A client of `api` and nothing else; does not know how a node does what it is asked.
pub mod cli;
/// The one reader of the wall clock, the time since boot and the boot id. Does not know what is due.
pub mod clock;
/// The node's own settings, read once. Does not know what they do.
pub mod config;
/// Decides: state and what was seen in, writes and effects out. Knows no clock, no file, no socket, no task, no randomness.
pub mod core;
/// Examines a device and its way to the broker, with a daemon or without. Does not know what the node runs.
pub mod doctor;
/// Images on the disk: brought from archives and registries, unpacked by layer, swept. Does not know which are wanted.
pub mod image;
/// Makes a device ready to be a node: settings, key, certificate request. Knows no broker and no daemon.
pub mod init;
/// The MQTT session: payloads in, answers and state out. Does not know what a set means or whether it was applied.
pub mod link;
/// Kubernetes YAML and JSON to and from `model`, each error with its path and line. Does not know what is there already.
pub mod manifest;
/// The nouns that all others share. Knows none of the others, and of the world only the time zones' files.
pub mod model;
/// The loop. Joins all of the above but `cli`, carries events in and effects out, and decides nothing.
pub mod node;
/// Effects carried out on Linux: processes, control groups, logs, evidence. Makes no choices and knows no Job.
pub mod runtime;
/// redb: one transaction a turn, the whole state back at boot. Does not know what a record means, nor what time it is.
pub mod store;
/// Addresses, HTTP with TLS, downloads that go on where they broke off. Knows neither registries nor versions.
pub mod transport;
/// Other versions of this program, tried in place of the installed one, and given up where they do not come up.
pub mod update;
