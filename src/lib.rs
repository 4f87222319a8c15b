//! pinnace: a device as a Kubernetes node of its own. The map, one line a module:

/// The command line: verbs a person types; a client of `api` and of MQTT, and nothing else of the node.
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod link;
pub mod manifest;
pub mod model;
pub mod node;
pub mod runtime;
pub mod store;
