//! What the fleet is told of this node: one document of what it is, one of how its sets and objects stand. Bounded, so
//! that a node with a thousand Jobs does not flood a thin link.

use serde_json::{Map, Value, json};

use crate::model::pod::Phase;
use crate::model::{Kind, Pod, Record, State};

/// Bytes of the state document; beyond it objects are left out and counted.
pub const STATE_BYTES_MAX: usize = 32 * 1024;
const ERROR_CHARS_MAX: usize = 200;

/// `u/NODE/node`: what this device is.
pub fn node_document(state: &State) -> Value {
    let Some(node) = state.node() else { return Value::Null };
    let facts = &node.status.facts;
    json!({
        "v": 1,
        "name": node.meta.name,
        "uid": node.meta.uid,
        "labels": node.meta.labels,
        "groups": node.status.groups,
        "unschedulable": node.spec.unschedulable,
        "taints": node.spec.taints,
        "version": facts.version,
        "os": facts.os_image,
        "kernel": facts.kernel,
        "arch": facts.architecture,
        "cpus": facts.cpus,
        "memory": facts.memory_bytes,
        "controllers": facts.controllers,
        "shortcomings": facts.shortcomings,
        "security": "unsigned",
    })
}

/// `u/NODE/state`: how far each set is, and each object of the fleet.
pub fn state_document(state: &State) -> Value {
    let mut document = Map::new();
    document.insert("v".into(), json!(1));
    document
        .insert("clock".into(), json!(if state.node().is_some_and(|n| n.status.clock_held) { "held" } else { "ok" }));
    let sets: Vec<Value> = state.of_kind(Kind::Set).filter_map(|record| set_line(record)).collect();
    document.insert("sets".into(), Value::Array(sets));
    let mut used = Value::Object(document.clone()).to_string().len();
    let (mut objects, mut left_out) = (Vec::new(), 0);
    for kind in [Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::Pod] {
        for record in state.of_kind(kind) {
            let Some(line) = object_line(state, record) else { continue };
            let size = line.to_string().len() + 1;
            if used + size > STATE_BYTES_MAX {
                left_out += 1;
                continue;
            }
            used += size;
            objects.push(line);
        }
    }
    document.insert("objects".into(), Value::Array(objects));
    if left_out > 0 {
        document.insert("leftOut".into(), json!(left_out));
    }
    Value::Object(document)
}

fn set_line(record: &Record) -> Option<Value> {
    let set = record.as_set()?;
    let mut line = json!({
        "to": set.key.scope.to_string(),
        "slot": set.key.slot,
        "rev": set.rev,
        "sha": set.sha,
        "phase": if set.rejected.is_some() { "Rejected" } else { "Committed" },
        "objects": set.objects.len(),
    });
    if let Some(rejected) = &set.rejected {
        line["rejected"] = json!({"rev": rejected.rev, "sha": rejected.sha, "message": cut(&rejected.why.message)});
    }
    Some(line)
}

fn object_line(state: &State, record: &Record) -> Option<Value> {
    let meta = record.meta();
    let mut line =
        json!({"kind": record.kind().names().kind, "ns": meta.namespace, "name": meta.name, "uid": meta.uid});
    match record {
        Record::Job(job) => {
            line["gen"] = json!(meta.generation);
            line["active"] = json!(job.status.active);
            line["succeeded"] = json!(job.status.succeeded);
            line["failed"] = json!(job.status.failed);
            if let Some(end) = job.status.finished() {
                line["condition"] = json!(end.kind.as_str());
                line["message"] = json!(cut(&end.message));
            }
        }
        Record::DaemonSet(set) => {
            line["gen"] = json!(meta.generation);
            line["obs"] = json!(set.status.observed_generation);
            line["desired"] = json!(set.status.desired);
            line["ready"] = json!(set.status.ready);
            line["updated"] = json!(set.status.updated);
            let restarts =
                state.owned_by(&meta.uid).filter_map(|key| state.get(key)?.as_pod().map(restarts)).sum::<u32>();
            line["restarts"] = json!(restarts);
        }
        Record::CronJob(cron) => {
            line["gen"] = json!(meta.generation);
            line["active"] = json!(cron.status.active.len());
            line["last"] = json!(cron.status.last_schedule.map(|t| t.rfc3339()));
        }
        // Pods of a controller are told of by it; one that stands alone, or fails, is told of by itself.
        Record::Pod(pod) if meta.owner.is_none() || pod.status.phase == Phase::Failed => {
            line["phase"] = json!(pod.status.phase.as_str());
            line["restarts"] = json!(restarts(pod));
            let message =
                pod.statuses().find_map(|c| c.state.ended().filter(|e| e.exit_code != 0).map(|e| e.message.as_str()));
            if let Some(message) = message.filter(|m| !m.is_empty()) {
                line["message"] = json!(cut(message));
            }
        }
        Record::Pod(_)
        | Record::Namespace(_)
        | Record::Node(_)
        | Record::ConfigMap(_)
        | Record::Secret(_)
        | Record::ControllerRevision(_)
        | Record::Event(_)
        | Record::Image(_)
        | Record::Set(_)
        | Record::Ack(_) => return None,
    }
    Some(line)
}

fn restarts(pod: &Pod) -> u32 {
    pod.statuses().map(|c| c.restarts).sum()
}

fn cut(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CronJob, CronJobStatus, Meta, Spec};

    #[test]
    fn the_document_stays_within_its_bound_and_says_what_it_left_out() {
        let job = |i: usize| {
            let spec = Spec::new(json!({"schedule": "@daily"})).unwrap();
            let meta = Meta::named("default", &format!("cron-{i:04}"));
            Record::CronJob(CronJob { meta, spec, status: CronJobStatus::default() })
        };
        let state = State::new(1, (0..1000).map(job), Default::default());
        let document = state_document(&state);
        assert!(document.to_string().len() <= STATE_BYTES_MAX + 64);
        let (told, left) =
            (document["objects"].as_array().unwrap().len() as u64, document["leftOut"].as_u64().unwrap());
        assert!(told > 0 && told + left == 1000, "{told} {left}");
    }
}
