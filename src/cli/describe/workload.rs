//! Job, CronJob and DaemonSet.

use serde_json::Value;

use super::page::Page;
use super::pod;
use crate::cli::duration::{human, rfc1123z};
use crate::cli::json::{bool_at, entries_at, int_at, list_at, plain, text_at};

pub fn job(page: &mut Page, job: &Value) {
    page.field(0, "Name", text_at(job, "/metadata/name"));
    page.field(0, "Namespace", text_at(job, "/metadata/namespace"));
    if job.pointer("/spec/selector").is_some() {
        page.field(0, "Selector", selector(job, "/spec/selector"));
    }
    page.labels(0, "Labels", job, "/metadata/labels");
    page.annotations(0, job);
    page.controlled_by(job);
    page.value_if("Parallelism", job, "/spec/parallelism");
    page.value_or("Completions", job, "/spec/completions", "<unset>");
    page.value_if("Completion Mode", job, "/spec/completionMode");
    page.value_if("Suspend", job, "/spec/suspend");
    page.value_if("Backoff Limit", job, "/spec/backoffLimit");
    page.value_if("TTL Seconds After Finished", job, "/spec/ttlSecondsAfterFinished");
    page.time_if(0, "Start Time", job, "/status/startTime");
    page.time_if(0, "Completed At", job, "/status/completionTime");
    duration(page, job);
    if let Some(deadline) = int_at(job, "/spec/activeDeadlineSeconds") {
        page.field(0, "Active Deadline Seconds", format!("{deadline}s"));
    }
    let count = |field: &str| int_at(job, &format!("/status/{field}")).unwrap_or(0);
    let ready = int_at(job, "/status/ready").map(|n| format!(" ({n} Ready)")).unwrap_or_default();
    let (active, succeeded, failed) = (count("active"), count("succeeded"), count("failed"));
    page.field(0, "Pods Statuses", format!("{active} Active{ready} / {succeeded} Succeeded / {failed} Failed"));
    if text_at(job, "/spec/completionMode") == "Indexed" {
        let indexes = text_at(job, "/status/completedIndexes");
        page.field(0, "Completed Indexes", if indexes.is_empty() { "<none>" } else { indexes });
    }
    pod::template(page, &job["spec"]["template"]);
}

fn duration(page: &mut Page, job: &Value) {
    let time = |pointer| text_at(job, pointer).parse::<jiff::Timestamp>().ok();
    if let (Some(start), Some(end)) = (time("/status/startTime"), time("/status/completionTime")) {
        page.field(0, "Duration", human(end.as_second() - start.as_second()));
    }
}

pub fn cron_job(page: &mut Page, job: &Value) {
    page.head(job);
    page.field(0, "Schedule", text_at(job, "/spec/schedule"));
    page.field_if(0, "Time Zone", text_at(job, "/spec/timeZone"));
    page.field(0, "Concurrency Policy", text_at(job, "/spec/concurrencyPolicy"));
    let suspend = match bool_at(job, "/spec/suspend") {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    page.field(0, "Suspend", suspend);
    page.value_or("Successful Job History Limit", job, "/spec/successfulJobsHistoryLimit", "<unset>");
    page.value_or("Failed Job History Limit", job, "/spec/failedJobsHistoryLimit", "<unset>");
    let deadline = int_at(job, "/spec/startingDeadlineSeconds");
    page.field(0, "Starting Deadline Seconds", deadline.map_or("<unset>".to_string(), |n| format!("{n}s")));
    let inner = &job["spec"]["jobTemplate"];
    if inner.pointer("/spec/selector").is_some() {
        page.field(0, "Selector", selector(inner, "/spec/selector"));
    } else {
        page.field(0, "Selector", "<unset>");
    }
    page.value_or("Parallelism", inner, "/spec/parallelism", "<unset>");
    page.value_or("Completions", inner, "/spec/completions", "<unset>");
    if let Some(deadline) = int_at(inner, "/spec/activeDeadlineSeconds") {
        page.field(0, "Active Deadline Seconds", format!("{deadline}s"));
    }
    pod::template(page, &inner["spec"]["template"]);
    let last = text_at(job, "/status/lastScheduleTime");
    page.field(0, "Last Schedule Time", if last.is_empty() { "<unset>".to_string() } else { rfc1123z(last) });
    let active: Vec<&str> = list_at(job, "/status/active").iter().map(|a| text_at(a, "/name")).collect();
    page.field(0, "Active Jobs", if active.is_empty() { "<none>".to_string() } else { active.join(", ") });
}

/// `pods` are those that it owns.
pub fn daemon_set(page: &mut Page, set: &Value, pods: &[Value]) {
    page.field(0, "Name", text_at(set, "/metadata/name"));
    page.field_if(0, "Namespace", text_at(set, "/metadata/namespace"));
    page.field(0, "Selector", selector(set, "/spec/selector"));
    page.field(0, "Node-Selector", pairs(set, "/spec/template/spec/nodeSelector"));
    page.labels(0, "Labels", set, "/metadata/labels");
    page.annotations(0, set);
    for (label, field) in [
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        // No tab: kubectl does not let these long labels widen the column.
        page.line(0, &format!("{label}: {}", int_at(set, &format!("/status/{field}")).unwrap_or(0)));
    }
    let count = |phase: &str| pods.iter().filter(|pod| text_at(pod, "/status/phase") == phase).count();
    let (running, waiting, succeeded, failed) =
        (count("Running"), count("Pending"), count("Succeeded"), count("Failed"));
    page.field(
        0,
        "Pods Status",
        format!("{running} Running / {waiting} Waiting / {succeeded} Succeeded / {failed} Failed"),
    );
    pod::template(page, &set["spec"]["template"]);
}

/// `k=v,…` or `<none>`.
fn pairs(object: &Value, pointer: &str) -> String {
    let pairs: Vec<String> = entries_at(object, pointer).iter().map(|(k, v)| format!("{k}={}", plain(v))).collect();
    if pairs.is_empty() { "<none>".to_string() } else { pairs.join(",") }
}

/// A label selector as text: `a=b,c in (d,e),f,!g`. Source: `metav1.FormatLabelSelector`.
fn selector(object: &Value, pointer: &str) -> String {
    let labels = entries_at(object, &format!("{pointer}/matchLabels"));
    let mut parts: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
    for expression in list_at(object, &format!("{pointer}/matchExpressions")) {
        let key = text_at(expression, "/key");
        let values = list_at(expression, "/values").iter().map(plain).collect::<Vec<_>>().join(",");
        parts.push(match text_at(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_string(),
        });
    }
    if parts.is_empty() { "<none>".to_string() } else { parts.join(",") }
}
