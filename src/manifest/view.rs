//! Records as Kubernetes JSON.
