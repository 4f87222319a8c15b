//! Kubernetes Events: what a person reads to learn why. They inform and promise nothing, so they ride with the next
//! commit that something else needs.

use serde::{Deserialize, Serialize};

use super::{Kind, Meta, Timestamp, Uid};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub meta: Meta,
    pub about: ObjectRef,
    pub kind: EventType,
    pub reason: String,
    pub message: String,
    /// The component that says it: `job-controller`, `kubelet`.
    pub source: String,
    pub count: u32,
    pub first: Timestamp,
    pub last: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    Normal,
    Warning,
}

/// `involvedObject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    pub kind: Kind,
    #[serde(default)]
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    /// `spec.containers{main}`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}
