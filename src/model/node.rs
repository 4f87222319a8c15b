//! Node: this device, as Kubernetes would list it.

use serde::{Deserialize, Serialize};

use super::{BootId, Labels, Meta, Moment, Timestamp, Uid};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub meta: Meta,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// Cordoned: no new pods but those of DaemonSets.
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
    /// Drained: no container runs at all until the node is uncordoned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    pub key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    pub effect: TaintEffect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// Kubernetes' names of processors (`kubernetes.io/arch`) are those of Go; ours come from Rust or `uname`.
pub fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "armv6l" | "armv7l" => "arm",
        other => other,
    }
}

impl TaintEffect {
    pub fn as_str(self) -> &'static str {
        match self {
            TaintEffect::NoSchedule => "NoSchedule",
            TaintEffect::PreferNoSchedule => "PreferNoSchedule",
            TaintEffect::NoExecute => "NoExecute",
        }
    }
}

/// Written at each start of the daemon and when one of these changes; never as a heartbeat.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Drawn once from the kernel's randomness; every other uid of this node is derived from it.
    pub identity: Option<Uid>,
    pub boot: Option<BootId>,
    pub started: Option<Moment>,
    /// Labels that came from the configuration, so that one taken out of it is taken off the node.
    pub config_labels: Labels,
    pub groups: Vec<String>,
    pub facts: Facts,
    /// Greatest trusted wall time at a commit: a clock that shows less is wrong.
    pub time_floor: Option<Timestamp>,
    /// Connections made to a broker so far; in will and birth alike (`live`).
    pub connections: u64,
    /// Since when CronJobs are held because the wall clock is not to be trusted.
    pub clock_held: bool,
    /// How far `StopPods` has come in this life of the daemon; cleared at each start.
    pub halt: Halt,
}

/// The daemon was told to end every pod before it ends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Halt {
    #[default]
    No,
    Stopping,
    /// No pod is live, and it was said so (`Effect::AllStopped`).
    Stopped,
}

impl Node {
    /// No container may run: the node is drained, or its daemon was told to stop the pods.
    pub fn holds_pods(&self) -> bool {
        self.spec.drained || self.status.halt != Halt::No
    }
}

/// What the host is and offers; observed by the runtime at each start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    pub version: String,
    pub os_image: String,
    pub kernel: String,
    pub architecture: String,
    pub machine_id: String,
    pub hostname: String,
    pub internal_ip: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    pub pids_max: u64,
    /// A cgroup v2 hierarchy that pods can be tracked and killed by; without one, by descent from the shim.
    pub cgroup: bool,
    /// Controllers that can limit pods here: of `cpu memory pids`.
    pub controllers: Vec<String>,
    pub root: bool,
    /// Why something is not enforced, one sentence each, shown in the node's conditions.
    pub shortcomings: Vec<String>,
    /// Why the disk is short of room, in a sentence; none while the store has its reserve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_pressure: Option<String>,
    /// Whether something (NTP, a GPS receiver) keeps the wall clock right; none where the kernel does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_synchronised: Option<bool>,
}
