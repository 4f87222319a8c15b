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
    /// Which end is decided; the terminal condition waits until every pod is gone or counted.
    pub finishing: Option<Finish>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Folded {
    pub succeeded: u32,
    pub failed: u32,
    /// Failures since the last success among the folded pods, and when the last of them ended.
    pub failures_in_a_row: u32,
    pub last_failure: Option<Moment>,
    pub last_success: Option<Moment>,
}

/// The decided end of a Job and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    pub complete: bool,
    pub reason: String,
    pub message: String,
}

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

impl JobStatus {
    pub fn condition(&self, kind: JobConditionKind) -> Option<&JobCondition> {
        self.conditions.iter().find(|c| c.kind == kind && c.status)
    }

    /// The condition that ended the Job, if it has ended: Complete or Failed. Absorbing.
    pub fn finished(&self) -> Option<&JobCondition> {
        self.condition(JobConditionKind::Complete).or_else(|| self.condition(JobConditionKind::Failed))
    }
}
