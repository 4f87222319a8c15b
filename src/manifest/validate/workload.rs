//! Job, CronJob and DaemonSet (`pkg/apis/batch/validation`, `pkg/apis/apps/validation`).

use serde_json::Value;

use crate::model::Cause;
use crate::model::schedule::{Schedule, check_zone};

use super::{At, cut, meta, pod};

/// The only labels in a selector that a node makes for a Job.
const GENERATED: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

pub(super) fn job(wrong: &mut Vec<Cause>, spec: &At<'_>) {
    let (selector, labels) = (spec.get("selector"), spec.get("template").get("metadata").get("labels"));
    if spec.get("manualSelector").is_true() {
        if selector.is_absent() {
            wrong.push(selector.required(""));
        }
        meta::selector_and_template(wrong, &selector, &labels);
    } else if !selector.is_absent() && !is_generated(&selector) {
        wrong.push(selector.invalid("`selector` not auto-generated"));
    }
    job_spec(wrong, spec);
}

/// A Job that was read from the node and comes back has the selector that the node made.
fn is_generated(selector: &At<'_>) -> bool {
    selector.get("matchExpressions").count() == 0
        && selector.get("matchLabels").entries().all(|(key, _)| GENERATED.contains(&key))
}

fn job_spec(wrong: &mut Vec<Cause>, spec: &At<'_>) {
    for field in ["parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished"] {
        spec.get(field).not_negative(wrong);
    }
    spec.get("activeDeadlineSeconds").not_negative(wrong);
    spec.get("podReplacementPolicy").one_of(wrong, &["Failed", "TerminatingOrFailed"]);
    pod::template(wrong, &spec.get("template"));
    let restart = spec.get("template").get("spec").get("restartPolicy");
    match restart.text() {
        Some("OnFailure" | "Never") => {}
        None | Some("Always" | "") => wrong.push(restart.required("valid values: \"OnFailure\", \"Never\"")),
        // Said already for any pod; here as well, as the API server does.
        Some(_) => restart.one_of(wrong, &["OnFailure", "Never"]),
    }
}

pub(super) fn cron_job(wrong: &mut Vec<Cause>, spec: &At<'_>) {
    let job = spec.get("jobTemplate").get("spec");
    schedule(wrong, spec);
    spec.get("startingDeadlineSeconds").not_negative(wrong);
    spec.get("concurrencyPolicy").one_of(wrong, &["Allow", "Forbid", "Replace"]);
    spec.get("successfulJobsHistoryLimit").not_negative(wrong);
    spec.get("failedJobsHistoryLimit").not_negative(wrong);
    let metadata = spec.get("jobTemplate").get("metadata");
    meta::labels(wrong, &metadata.get("labels"));
    meta::annotations(wrong, &metadata.get("annotations"));
    let (selector, manual) = (job.get("selector"), job.get("manualSelector"));
    if !selector.is_absent() {
        wrong.push(selector.invalid("`selector` will be auto-generated"));
    }
    if manual.is_true() {
        wrong.push(Cause::unsupported(manual.path, "true", &["nil", "false"]));
    }
    job_spec(wrong, &job);
}

fn schedule(wrong: &mut Vec<Cause>, spec: &At<'_>) {
    let (schedule, zone) = (spec.get("schedule"), spec.get("timeZone"));
    match schedule.filled() {
        None => wrong.push(schedule.required("")),
        Some(text) if text.contains("TZ") => {
            wrong.push(schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
        }
        Some(text) => wrong.extend(Schedule::parse(text, None).err().map(|why| schedule.invalid(&cut(&why)))),
    }
    if let Some(Err(why)) = zone.text().map(check_zone) {
        wrong.push(zone.invalid(&cut(&why)));
    }
}

pub(super) fn daemon_set(wrong: &mut Vec<Cause>, spec: &At<'_>) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_absent() {
        wrong.push(selector.required(""));
    } else if selector.get("matchLabels").count() + selector.get("matchExpressions").count() == 0 {
        wrong.push(selector.invalid("empty selector is invalid for daemonset"));
    }
    meta::selector_and_template(wrong, &selector, &template.get("metadata").get("labels"));
    pod::template(wrong, &template);
    let (restart, deadline) =
        (template.get("spec").get("restartPolicy"), template.get("spec").get("activeDeadlineSeconds"));
    restart.one_of(wrong, &["Always"]);
    if !deadline.is_absent() {
        wrong.push(deadline.forbidden("activeDeadlineSeconds in DaemonSet is not Supported"));
    }
    spec.get("minReadySeconds").not_negative(wrong);
    update_strategy(wrong, &spec.get("updateStrategy"));
    spec.get("revisionHistoryLimit").not_negative(wrong);
}

fn update_strategy(wrong: &mut Vec<Cause>, strategy: &At<'_>) {
    strategy.get("type").one_of(wrong, &["RollingUpdate", "OnDelete"]);
    if strategy.get("type").text() != Some("RollingUpdate") {
        return;
    }
    let rolling = strategy.get("rollingUpdate");
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    match (share(wrong, &unavailable), share(wrong, &surge)) {
        (Some(0), Some(0)) => wrong.push(unavailable.required("cannot be 0 when maxSurge is 0")),
        (Some(1..), Some(1..)) => wrong.push(surge.invalid("may not be set when maxUnavailable is non-zero")),
        _ => {}
    }
}

/// A number of pods or a percentage, as a number; none when it is wrong, and said.
fn share(wrong: &mut Vec<Cause>, share: &At<'_>) -> Option<i64> {
    let before = wrong.len();
    let number = match share.value {
        Value::String(text) => {
            let digits = text.strip_suffix('%').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
            match digits.map(|d| d.parse::<i64>().unwrap_or(i64::MAX)) {
                Some(101..) => wrong.push(share.invalid("must not be greater than 100%")),
                Some(percent) => return Some(percent),
                None => wrong.push(share.invalid(
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                )),
            }
            None
        }
        other => other.as_i64().or(Some(0)),
    };
    share.not_negative(wrong);
    number.filter(|_| wrong.len() == before)
}
