//! DaemonSet: one pod on this node while the node fits.

use serde::{Deserialize, Serialize};

use super::{Meta, Moment, PodTemplate, Selector, Spec};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonSet {
    pub meta: Meta,
    pub spec: Spec<DaemonSetSpec>,
    pub status: DaemonSetStatus,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetSpec {
    pub selector: Selector,
    pub template: PodTemplate,
    pub update_strategy: UpdateStrategy,
    pub min_ready_seconds: u32,
    pub revision_history_limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    #[serde(rename = "type")]
    pub kind: UpdateKind,
    pub rolling_update: RollingUpdate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum UpdateKind {
    #[default]
    RollingUpdate,
    OnDelete,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    pub max_unavailable: Option<IntOrPercent>,
    pub max_surge: Option<IntOrPercent>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    Int(u32),
    Text(String),
}

impl IntOrPercent {
    /// On one node any share above zero is one.
    pub fn on_one_node(&self) -> u32 {
        match self {
            IntOrPercent::Int(n) => (*n).min(1),
            IntOrPercent::Text(t) => u32::from(!t.trim_end_matches('%').trim_start_matches('0').is_empty()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonSetStatus {
    pub desired: u32,
    pub current: u32,
    pub misscheduled: u32,
    pub ready: u32,
    pub updated: u32,
    pub available: u32,
    pub observed_generation: u64,
    /// Hash and number of the revision that the template of `observed_generation` is.
    pub update_hash: String,
    pub update_number: i64,
    /// Back-off of replacing failed pods: 1 s doubling to 15 min.
    pub backoff: Option<Replacing>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replacing {
    pub delay_ms: u64,
    pub updated: Moment,
    pub generation: u64,
}
