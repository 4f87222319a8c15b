//! CronJob: make a Job at each time of a schedule.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventType, Meta, Schedule, Spec, Timestamp};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CronJob {
    pub meta: Meta,
    pub spec: Spec<CronJobSpec>,
    pub status: CronJobStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
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
    /// Kept once read: to read a schedule takes a hundred times as long as to ask it.
    #[serde(skip)]
    read: OnceLock<Schedule>,
}

impl CronJobSpec {
    /// `schedule` in `time_zone`.
    ///
    /// # Errors
    /// As `Schedule::parse`. Manifests were checked, so it is an older spec, or a zone that the system has lost.
    pub fn times(&self) -> Result<&Schedule, String> {
        if let Some(read) = self.read.get() {
            return Ok(read);
        }
        let schedule = Schedule::parse(&self.schedule, self.time_zone.as_deref())?;
        Ok(self.read.get_or_init(|| schedule))
    }
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
    /// When this node first had it and knew the time; times before that are not made up. It stands where Kubernetes has
    /// `creationTimestamp`, which is 1970 on a device that has booted without a clock.
    pub since: Option<Timestamp>,
    /// Why it starts nothing at present; each is told in one event.
    pub held: Option<Held>,
    /// Its unfinished Jobs that it did not start (`kubectl create job --from`); each is told in one event.
    pub strangers: Vec<super::Uid>,
}

/// A reason to start nothing, in the words of its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub kind: EventType,
    pub reason: String,
    pub message: String,
    /// The scheduled time that is not acted upon, where it is about one.
    pub time: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveJob {
    pub name: String,
    pub uid: super::Uid,
}
