//! Pod: what is asked of it, and what is known of its containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meta::Requirement;
use super::node::Taint;
use super::security::{ContainerSecurity, PodSecurity};
use super::volume::{Volume, VolumeMount};
use super::{BootId, Kind, Labels, Meta, Moment, Quantity, Spec};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    pub meta: Meta,
    pub spec: Spec<PodSpec>,
    pub status: PodStatus,
}

/// `spec.template` of a Job or DaemonSet.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub struct PodTemplate {
    pub metadata: TemplateMeta,
    pub spec: PodSpec,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct TemplateMeta {
    pub labels: Labels,
    pub annotations: Labels,
}

/// The typed view of a pod's spec: the fields that pinnace acts on. Defaults are in the document already
/// (`manifest` fills them in), so the serde defaults here are met only in tests and in old stores.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub init_containers: Vec<Container>,
    pub containers: Vec<Container>,
    pub restart_policy: RestartPolicy,
    pub termination_grace_period_seconds: Option<u32>,
    pub active_deadline_seconds: Option<u32>,
    pub node_name: String,
    pub node_selector: Labels,
    pub affinity: Affinity,
    pub tolerations: Vec<Toleration>,
    pub hostname: Option<String>,
    pub security_context: PodSecurity,
    pub image_pull_secrets: Vec<SecretName>,
    pub volumes: Vec<Volume>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct SecretName {
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    /// Empty and `host` mean the host's own file system.
    pub image: String,
    pub image_pull_policy: PullPolicy,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    pub env: Vec<EnvVar>,
    pub env_from: Vec<EnvFrom>,
    pub ports: Vec<Port>,
    pub resources: Resources,
    pub security_context: ContainerSecurity,
    pub volume_mounts: Vec<VolumeMount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    pub name: String,
    pub value: String,
    pub value_from: Option<EnvSource>,
}

/// Exactly one of these is set; `manifest` refuses anything else.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvSource {
    pub config_map_key_ref: Option<KeyRef>,
    pub secret_key_ref: Option<KeyRef>,
    pub field_ref: Option<FieldRef>,
    pub resource_field_ref: Option<ResourceFieldRef>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct KeyRef {
    pub name: String,
    pub key: String,
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldRef {
    pub field_path: String,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceFieldRef {
    pub container_name: String,
    pub resource: String,
    pub divisor: Option<Quantity>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvFrom {
    pub prefix: String,
    pub config_map_ref: Option<SourceRef>,
    pub secret_ref: Option<SourceRef>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct SourceRef {
    pub name: String,
    pub optional: bool,
}

/// With host networking a container port is a port of the host.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    pub name: String,
    pub container_port: u16,
    pub host_port: u16,
    pub protocol: String,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub limits: BTreeMap<String, Quantity>,
    pub requests: BTreeMap<String, Quantity>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    pub node_affinity: NodeAffinity,
}

/// Preferences have no say where there is one node; only what is required is kept.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
}

/// Terms are alternatives (OR); what is inside a term must all hold (AND).
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    pub match_expressions: Vec<Requirement>,
    /// Only `metadata.name` exists as a field.
    pub match_fields: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Empty with `Exists` tolerates every key.
    pub key: String,
    pub operator: TolerationOperator,
    pub value: String,
    /// Empty means every effect.
    pub effect: String,
    pub toleration_seconds: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TolerationOperator {
    Exists,
    #[default]
    Equal,
}

impl Toleration {
    /// Source: `api/core/v1/toleration.go`, `ToleratesTaint`.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect_fits = self.effect.is_empty() || self.effect == taint.effect.as_str();
        let key_fits = self.key.is_empty() || self.key == taint.key;
        let value_fits = match self.operator {
            TolerationOperator::Exists => true,
            TolerationOperator::Equal => !self.key.is_empty() && self.value == taint.value,
        };
        effect_fits && key_fits && value_fits
    }
}

/// Everything that is known of a pod. `phase` follows from the containers; it is stored because history (a pod that
/// failed by deadline) matters too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodStatus {
    pub phase: Phase,
    /// `status.reason` and `status.message` of a pod that failed for a reason of its own (`DeadlineExceeded`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the node took it up (`status.startTime`); none while it is unscheduled.
    pub started: Option<Moment>,
    /// When it reached Succeeded or Failed.
    pub finished: Option<Moment>,
    /// Why it is not scheduled, as the scheduler would say; none once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<String>,
    pub init: Vec<ContainerStatus>,
    pub containers: Vec<ContainerStatus>,
    /// Last change of the Ready condition, and its value then.
    pub ready: Ready,
    /// Set when its end is no fault of its own: surplus of a scaled Job, a suspended Job, a reboot, a drained node.
    /// Its Job does not count such an end as a failure.
    #[serde(default)]
    pub excused: Option<Excuse>,
    /// Since when the node has a NoExecute taint that the pod tolerates for a while only (`tolerationSeconds`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted: Option<Moment>,
    /// What the pod's volumes of files were last made from, by the name of the volume; of those that were made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub projected: BTreeMap<String, ProjectedFiles>,
}

/// The content of a volume, in short.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProjectedFiles {
    /// Tells what it comes from: as long as this stays, so does the content.
    pub sources: String,
    /// Tells the content.
    pub content: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Excuse {
    /// Its Job wanted fewer pods, was suspended, or had finished.
    Surplus,
    /// The machine went down under it.
    Reboot,
    /// The node was drained or told to stop its pods.
    Drained,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ready {
    pub is: bool,
    pub since: Option<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub name: String,
    pub state: ContainerState,
    /// How the attempt before the present one ended (`lastState`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Ended>,
    /// Number of the current attempt, from 0; it rises when the next attempt's intent is written (`restartCount`).
    pub restarts: u32,
    /// Attempts up to this number may have begun though nothing durable says of each that it did; 0: none beyond `restarts`.
    /// After a reboot the next attempt has a higher number, so none begins twice.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reserved: u32,
    /// The ends of the attempts from this one on only inform as yet: their exit records are kept until a commit of this pod
    /// is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_from: Option<u32>,
    /// How many of the restarts followed a reboot or a drain; a Job does not count those against backoffLimit.
    #[serde(default)]
    pub excused_restarts: u32,
    /// Crash back-off: the delay of the next restart and when it was last doubled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Back-off of looking for the image again; none once a container of it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<Backoff>,
    /// Since when its image is being fetched; a restart of the daemon ends that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulling: Option<Moment>,
    /// The registry was asked for the attempt that comes next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched: bool,
    /// `imageID`: what the current or last attempt was started with; empty for the host's file system.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// A stop that is under way for the current attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ContainerState {
    /// No attempt is under way. `reason` as a kubelet's: `ContainerCreating`, `PodInitializing`, `CrashLoopBackOff`,
    /// `ErrImageNeverPull`, `ImagePullBackOff`, `CreateContainerConfigError`.
    Waiting {
        reason: String,
        message: String,
        retry: Option<Moment>,
    },
    /// The attempt's intent is durable; its process may exist or not. Shown as waiting, `ContainerCreating`.
    Starting {
        since: Moment,
    },
    /// `pid` is the container's first process, as the host numbers it.
    Running {
        started: Moment,
        pid: u32,
    },
    Ended(Ended),
}

/// How one attempt ended (`terminated`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// 128 + n after signal n.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`, `Unknown` (reboot).
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// None when no process came to be.
    pub started: Option<Moment>,
    pub finished: Moment,
    /// Ended by a reboot or a drain, not by itself or by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excused: Option<Excuse>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Delay of the try that comes next.
    pub delay_ms: u64,
    /// When the delay was last set or doubled.
    pub updated: Moment,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    pub since: Moment,
    pub grace_ms: u64,
    /// SIGKILL was decided.
    pub killed: bool,
}

/// The pod as a whole, from requests and limits (`status.qosClass`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Phase {
    /// Succeeded and Failed are absorbing.
    pub fn is_terminal(self) -> bool {
        match self {
            Phase::Succeeded | Phase::Failed => true,
            Phase::Pending | Phase::Running => false,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }
}

impl ContainerState {
    /// An attempt's process may exist.
    pub fn is_live(&self) -> bool {
        match self {
            ContainerState::Starting { .. } | ContainerState::Running { .. } => true,
            ContainerState::Waiting { .. } | ContainerState::Ended(_) => false,
        }
    }

    pub fn ended(&self) -> Option<&Ended> {
        match self {
            ContainerState::Ended(ended) => Some(ended),
            ContainerState::Waiting { .. } | ContainerState::Starting { .. } | ContainerState::Running { .. } => None,
        }
    }
}

impl Pod {
    /// Neither finished nor being deleted: what a Job counts as active.
    pub fn is_active(&self) -> bool {
        !self.status.phase.is_terminal() && self.meta.deleting.is_none()
    }

    /// It has ended and is not being deleted: nothing is to be done for it any more.
    pub fn is_at_rest(&self) -> bool {
        self.status.phase.is_terminal() && self.meta.deleting.is_none()
    }

    /// It has ended and is only there to be read. A finished pod of a DaemonSet is not: it waits to be replaced.
    pub fn is_kept_for_reading(&self) -> bool {
        let of_daemon_set = self.meta.owner.as_ref().is_some_and(|owner| owner.kind == Kind::DaemonSet);
        self.status.phase.is_terminal() && !of_daemon_set
    }

    /// A process of it may exist.
    pub fn is_live(&self) -> bool {
        self.statuses().any(|c| c.state.is_live())
    }

    /// Init containers first.
    pub fn statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.status.init.iter().chain(&self.status.containers)
    }

    pub fn status_of(&self, container: &str) -> Option<&ContainerStatus> {
        self.statuses().find(|c| c.name == container)
    }

    pub fn status_of_mut(&mut self, container: &str) -> Option<&mut ContainerStatus> {
        self.status.init.iter_mut().chain(&mut self.status.containers).find(|c| c.name == container)
    }

    pub fn container(&self, name: &str) -> Option<&Container> {
        self.spec.init_containers.iter().chain(&self.spec.containers).find(|c| c.name == name)
    }
}

impl PodSpec {
    pub fn grace_s(&self) -> u32 {
        self.termination_grace_period_seconds.unwrap_or(30)
    }

    /// Source: `pkg/apis/core/v1/helper/qos/qos.go`.
    pub fn qos(&self) -> Qos {
        let all = || self.init_containers.iter().chain(&self.containers);
        let counts = |c: &Container| {
            ["cpu", "memory"].iter().any(|r| {
                [&c.resources.limits, &c.resources.requests].iter().any(|m| m.get(*r).is_some_and(|q| !q.is_zero()))
            })
        };
        if !all().any(counts) {
            return Qos::BestEffort;
        }
        let guaranteed = |c: &Container| {
            ["cpu", "memory"].iter().all(|r| {
                let limit = c.resources.limits.get(*r);
                limit.is_some_and(|q| !q.is_zero()) && c.resources.requests.get(*r).is_none_or(|q| Some(q) == limit)
            })
        };
        if all().all(guaranteed) { Qos::Guaranteed } else { Qos::Burstable }
    }
}

impl PodStatus {
    /// The status of a pod that was just made from this spec.
    pub fn new(spec: &PodSpec) -> PodStatus {
        let waiting = if spec.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        let status = |c: &Container, reason: &str| ContainerStatus {
            name: c.name.clone(),
            state: ContainerState::Waiting { reason: reason.into(), message: String::new(), retry: None },
            last: None,
            restarts: 0,
            reserved: 0,
            evidence_from: None,
            excused_restarts: 0,
            backoff: None,
            pull: None,
            pulling: None,
            fetched: false,
            image_id: String::new(),
            stopping: None,
        };
        PodStatus {
            phase: Phase::Pending,
            reason: String::new(),
            message: String::new(),
            started: None,
            finished: None,
            unschedulable: None,
            init: spec.init_containers.iter().map(|c| status(c, "PodInitializing")).collect(),
            containers: spec.containers.iter().map(|c| status(c, waiting)).collect(),
            ready: Ready::default(),
            excused: None,
            tainted: None,
            projected: BTreeMap::new(),
        }
    }
}

/// The boot in which an attempt lives, as far as its state tells; none when no attempt is under way.
pub fn boot_of(state: &ContainerState) -> Option<&BootId> {
    match state {
        ContainerState::Starting { since } => Some(&since.boot),
        ContainerState::Running { started, .. } => Some(&started.boot),
        ContainerState::Waiting { .. } | ContainerState::Ended(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::node::TaintEffect;
    use super::*;

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        #[track_caller]
        fn check(resources: Value, expected: Qos) {
            let list: Vec<Value> =
                resources.as_array().unwrap().iter().map(|r| json!({"name": "c", "resources": r})).collect();
            let apps: PodSpec = serde_json::from_value(json!({ "containers": list })).unwrap();
            assert_eq!(apps.qos(), expected, "{resources}");
            let init: PodSpec = serde_json::from_value(json!({ "initContainers": list })).unwrap();
            assert_eq!(init.qos(), expected, "{resources} in init containers");
        }
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        check(json!([{}]), Qos::BestEffort);
        check(json!([{"limits": {"cpu": "0"}}]), Qos::BestEffort);
        check(json!([{"requests": {"ephemeral-storage": "1"}}]), Qos::BestEffort);
        check(json!([full]), Qos::Guaranteed);
        check(json!([full, full]), Qos::Guaranteed);
        check(json!([full, {}]), Qos::Burstable);
        check(json!([{"limits": {"cpu": "1"}}]), Qos::Burstable);
        check(json!([{"requests": {"memory": "1"}}]), Qos::Burstable);
        let limits = json!({"cpu": "1", "memory": "1Gi"});
        check(json!([{"limits": limits, "requests": {"cpu": "1000m", "memory": "1024Mi"}}]), Qos::Guaranteed);
        check(json!([{"limits": limits, "requests": {"cpu": "500m"}}]), Qos::Burstable);
    }

    #[test]
    fn tolerations_match_taints_as_in_kubernetes() {
        #[track_caller]
        fn check(toleration: Value, expected: bool) {
            let taint = Taint { key: "k".into(), value: "v".into(), effect: TaintEffect::NoSchedule };
            let parsed: Toleration = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(parsed.tolerates(&taint), expected, "{toleration}");
        }
        check(json!({"key": "k", "value": "v"}), true);
        check(json!({"key": "k", "value": "w"}), false);
        check(json!({"key": "j", "value": "v"}), false);
        check(json!({"key": "k"}), false);
        check(json!({"key": "k", "operator": "Exists"}), true);
        check(json!({"operator": "Exists"}), true);
        check(json!({"operator": "Equal", "value": "v"}), false);
        check(json!({"operator": "Exists", "effect": "NoSchedule"}), true);
        check(json!({"operator": "Exists", "effect": "NoExecute"}), false);
    }
}
