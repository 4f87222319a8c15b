//! CronJob: make a Job at each time of a schedule.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Meta, Spec, Timestamp};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CronJob {
    pub meta: Meta,
    pub spec: Spec<CronJobSpec>,
    pub status: CronJobStatus,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobSpec {
    pub schedule: String,
    /// None: UTC (pinnace's choice where Kubernetes says "the controller's local zone").
    pub time_zone: Option<String>,
    pub concurrency_policy: ConcurrencyPolicy,
    pub starting_deadline_seconds: Option<u64>,
    pub suspend: bool,
    pub successful_jobs_history_limit: Option<u32>,
    pub failed_jobs_history_limit: Option<u32>,
    pub job_template: JobTemplate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum ConcurrencyPolicy {
    #[default]
    Allow,
    Forbid,
    Replace,
}

/// `spec` is a whole Job spec document, defaults filled in.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct JobTemplate {
    pub metadata: super::pod::TemplateMeta,
    pub spec: Value,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CronJobStatus {
    /// Names of its Jobs that have not finished.
    pub active: Vec<ActiveJob>,
    /// The last scheduled time that was acted upon (not when that happened).
    pub last_schedule: Option<Timestamp>,
    pub last_successful: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveJob {
    pub name: String,
    pub uid: super::Uid,
}
