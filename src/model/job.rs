//! Job: run pods until enough of them have succeeded.

use serde::{Deserialize, Serialize};

use super::{Meta, Moment, PodTemplate, Selector, Spec};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub meta: Meta,
    pub spec: Spec<JobSpec>,
    pub status: JobStatus,
}

/// The typed view of `batch/v1` JobSpec; defaults are in the document already.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// None with a parallelism: a work queue; it is complete when one pod has succeeded and none is left.
    pub completions: Option<u32>,
    pub parallelism: Option<u32>,
    pub backoff_limit: Option<u32>,
    pub active_deadline_seconds: Option<u64>,
    pub ttl_seconds_after_finished: Option<u32>,
    pub suspend: bool,
    pub manual_selector: bool,
    pub selector: Option<Selector>,
    pub pod_replacement_policy: Option<PodReplacementPolicy>,
    pub template: PodTemplate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PodReplacementPolicy {
    TerminatingOrFailed,
    Failed,
}

/// Counters are derived from the pods that exist plus what was folded in when finished pods were removed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobStatus {
    pub active: u32,
    pub ready: u32,
    pub terminating: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub started: Option<Moment>,
    /// Only when Complete.
    pub completed: Option<Moment>,
    pub conditions: Vec<JobCondition>,
    /// Ends of pods whose records are gone.
    pub folded: Folded,
}

/// What the removed pods of a Job counted for, so that nothing changes when a finished pod is removed: the counters, and
/// as much of the times as the back-off of new pods can ever need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Folded {
    pub succeeded: u32,
    pub failed: u32,
    /// When the last of them succeeded.
    pub last_success: Option<Moment>,
    /// When the last of them failed: at most `RECENT_FAILURES_MAX`, in no order.
    pub recent_failures: Vec<Moment>,
}

/// More failures in a row than this no longer lengthen the back-off (10 s doubled six times is beyond its cap).
pub const RECENT_FAILURES_MAX: usize = 7;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobCondition {
    pub kind: JobConditionKind,
    pub status: bool,
    pub reason: String,
    pub message: String,
    pub changed: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobConditionKind {
    Suspended,
    SuccessCriteriaMet,
    Complete,
    FailureTarget,
    Failed,
}

impl JobConditionKind {
    pub fn as_str(self) -> &'static str {
        match self {
            JobConditionKind::Suspended => "Suspended",
            JobConditionKind::SuccessCriteriaMet => "SuccessCriteriaMet",
            JobConditionKind::Complete => "Complete",
            JobConditionKind::FailureTarget => "FailureTarget",
            JobConditionKind::Failed => "Failed",
        }
    }
}

/// Kubernetes' defaults, for a document that does not have them. Source: `pkg/apis/batch/v1/defaults.go`.
impl JobSpec {
    /// How many pods must succeed; none for a work queue.
    pub fn wanted(&self) -> Option<u32> {
        self.completions.or(if self.parallelism.is_none() { Some(1) } else { None })
    }

    /// How many pods may be active at once.
    pub fn parallel_max(&self) -> u32 {
        self.parallelism.unwrap_or(1)
    }

    /// How many failures are borne.
    pub fn failures_max(&self) -> u32 {
        self.backoff_limit.unwrap_or(6)
    }

    /// Pods on their way out are not replaced, and not counted, until they have ended.
    pub fn waits_for_terminating(&self) -> bool {
        match self.pod_replacement_policy {
            Some(PodReplacementPolicy::Failed) => true,
            Some(PodReplacementPolicy::TerminatingOrFailed) | None => false,
        }
    }
}

impl JobStatus {
    pub fn condition(&self, kind: JobConditionKind) -> Option<&JobCondition> {
        self.conditions.iter().find(|c| c.kind == kind && c.status)
    }

    /// The end that is decided, while pods may still be on their way out: SuccessCriteriaMet or FailureTarget.
    pub fn finishing(&self) -> Option<&JobCondition> {
        let success = self.condition(JobConditionKind::SuccessCriteriaMet);
        success.or_else(|| self.condition(JobConditionKind::FailureTarget))
    }

    /// The condition that ended the Job, if it has ended: Complete or Failed. Absorbing.
    pub fn finished(&self) -> Option<&JobCondition> {
        self.condition(JobConditionKind::Complete).or_else(|| self.condition(JobConditionKind::Failed))
    }
}
