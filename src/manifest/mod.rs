//! Kubernetes YAML and JSON, every accepted apiVersion, to and from `model`; each error with its field path and line.
//! Knows nothing of what is there already: that is for `core::admit`.
pub mod view;
