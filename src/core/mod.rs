//! Decides: state and what was seen in, writes and effects out. Knows no clock, no file, no socket, no task and no
//! randomness; the same input gives the same plan, in a test and on the device.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::wildcard_enum_match_arm)]

pub mod admit;
pub mod cronjob;
pub mod daemonset;
pub mod delete;
pub mod draft;
pub mod fit;
pub mod gc;
pub mod image;
pub mod job;
pub mod job_admit;
pub mod node;
pub mod pod;
pub mod push;
pub mod status;
pub mod step;
pub mod template;
#[cfg(test)]
mod world;

pub use step::step;
