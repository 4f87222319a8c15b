//! What pods and the node use, in the shape of metrics.k8s.io, so that `kubectl top` reads it as well.
//! Source: `k8s.io/metrics/pkg/apis/metrics/v1beta1/types.go`.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::reply::{self, Reply};
use super::{Handle, selector};
use crate::model::usage::{Sample, Usage};
use crate::model::{Failure, Key, Kind, Pod, Record, Timestamp};

pub const GROUP: &str = "metrics.k8s.io";
pub const VERSION: &str = "v1beta1";
const API_VERSION: &str = "metrics.k8s.io/v1beta1";
/// A rate of CPU takes two looks. Nothing is measured while nobody asks, so the second one is waited for.
const WINDOW: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    Nodes,
    Node(String),
    /// Empty: all namespaces.
    Pods(String),
    Pod(String, String),
}

pub fn resources() -> Value {
    let one = |name: &str, kind: &str, namespaced: bool| json!({ "name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"] });
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": API_VERSION,
        "resources": [one("nodes", "NodeMetrics", false), one("pods", "PodMetrics", true)],
    })
}

/// # Errors
/// `NotFound` for an object that is not there or whose containers have no control groups; a selector that is none.
pub async fn answer(handle: &Handle, of: Of, call: &Call) -> Result<Reply, Failure> {
    let labels = selector::labels(call.query.get("labelSelector").unwrap_or(""))?;
    let before = (handle.usage)();
    tokio::time::sleep(WINDOW).await;
    let after = (handle.usage)();
    let measured = Measured { before, after, at: (handle.clock)().wall };
    let state = handle.state.borrow();
    let all = |kind| state.of_kind(kind).filter(|record| labels.matches(&record.meta().labels));
    let value = match &of {
        Of::Nodes => list("NodeMetricsList", all(Kind::Node).map(|record| measured.node(record)).collect()),
        Of::Node(name) => {
            let record = state.get(&Key::new(Kind::Node, "", name));
            measured.node(record.ok_or_else(|| Failure::not_found(Kind::Node, name))?)
        }
        Of::Pods(namespace) => {
            let here = all(Kind::Pod).filter(|r| namespace.is_empty() || r.meta().namespace == *namespace);
            list("PodMetricsList", here.filter_map(|record| measured.pod(record.as_pod()?)).collect())
        }
        Of::Pod(namespace, name) => {
            let record = state.get(&Key::new(Kind::Pod, namespace, name));
            let shown = record.and_then(|record| measured.pod(record.as_pod()?));
            shown.ok_or_else(|| Failure::not_found(Kind::Pod, name))?
        }
    };
    Ok(reply::json(StatusCode::OK, &value))
}

fn list(kind: &str, items: Vec<Value>) -> Value {
    json!({ "kind": kind, "apiVersion": API_VERSION, "metadata": {}, "items": items })
}

struct Measured {
    before: Usage,
    after: Usage,
    at: Timestamp,
}

impl Measured {
    fn node(&self, record: &Record) -> Value {
        let mut shown = self.head("NodeMetrics", record.meta());
        shown["usage"] = self.rate(self.before.host, self.after.host);
        shown
    }

    /// None where nothing of it runs, or it cannot be measured.
    fn pod(&self, pod: &Pod) -> Option<Value> {
        let own = self.after.containers.iter().filter(|((uid, _), _)| *uid == pod.meta.uid);
        let containers: Vec<Value> = own
            .filter_map(|(key, after)| {
                let before = self.before.containers.get(key)?;
                Some(json!({ "name": key.1, "usage": self.rate(*before, *after) }))
            })
            .collect();
        if containers.is_empty() {
            return None;
        }
        let mut shown = self.head("PodMetrics", &pod.meta);
        shown["containers"] = containers.into();
        Some(shown)
    }

    fn head(&self, kind: &str, meta: &crate::model::Meta) -> Value {
        let mut metadata = json!({ "name": meta.name, "creationTimestamp": self.at.rfc3339() });
        if !meta.namespace.is_empty() {
            metadata["namespace"] = meta.namespace.as_str().into();
        }
        if !meta.labels.is_empty() {
            metadata["labels"] = json!(meta.labels);
        }
        let window = format!("{:.3}s", self.window().as_secs_f64());
        json!({ "kind": kind, "apiVersion": API_VERSION, "metadata": metadata, "timestamp": self.at.rfc3339(), "window": window })
    }

    fn window(&self) -> Duration {
        self.after.at.saturating_sub(self.before.at).max(Duration::from_millis(1))
    }

    fn rate(&self, before: Sample, after: Sample) -> Value {
        // A container that was started anew counts from nought.
        let used_us = after.cpu_us.saturating_sub(before.cpu_us);
        let nanos = u128::from(used_us) * 1_000_000_000 / self.window().as_micros().max(1);
        json!({ "cpu": format!("{nanos}n"), "memory": format!("{}Ki", after.memory / 1024) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_window_between_two_looks() {
        let look = |at_ms| Usage { at: Duration::from_millis(at_ms), ..Usage::default() };
        let measured = Measured { before: look(1000), after: look(3000), at: Timestamp::from_secs(1_800_000_000) };
        let sample = |cpu_us| Sample { cpu_us, memory: 2048 };
        assert_eq!(measured.rate(sample(0), sample(500_000)), json!({ "cpu": "250000000n", "memory": "2Ki" }));
        assert_eq!(measured.rate(sample(9), sample(1))["cpu"], "0n", "started anew");
        let same = Measured { before: look(1), after: look(1), at: Timestamp::EPOCH };
        assert_eq!(same.rate(sample(0), sample(1))["cpu"], "1000000n", "no time at all");
    }
}
