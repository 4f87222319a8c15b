//! ControllerRevision: one distinct template of a DaemonSet, kept so that it can be rolled back to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Meta;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    pub meta: Meta,
    /// `{"spec":{"template":{…,"$patch":"replace"}}}`, as Kubernetes stores it.
    pub data: Value,
    pub number: i64,
}
