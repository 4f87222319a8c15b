//! kubectl's columns for every kind, and the cells of one object. Columns with priority 1 are shown with `-o wide` alone.
//! Source of columns and cells: `pkg/printers/internalversion/printers.go`.

use serde_json::{Value, json};

use crate::model::meta::{Operator, Requirement};
use crate::model::{Container, Kind, Labels, Now, Record, Selector, State, sorted};

use super::age;

mod pod;
mod rest;
mod workload;

#[cfg(test)]
mod tests;

/// Name, type, format, priority, and what it says.
struct Column(&'static str, &'static str, &'static str, u8, &'static str);

const NAME: Column = Column("Name", "string", "name", 0, "The object's name, unique within its kind and namespace.");
const AGE: Column = Column("Age", "string", "", 0, "Time since it was made.");
const CONTAINERS: Column = Column("Containers", "string", "", 1, "Names of the containers in its template.");
const IMAGES: Column = Column("Images", "string", "", 1, "Images of the containers in its template.");
const SELECTOR: Column = Column("Selector", "string", "", 1, "Labels of the pods that belong to it.");

/// `columnDefinitions` of a kind's Table.
pub fn columns(kind: Kind) -> Value {
    let columns = match kind {
        Kind::Pod => pod::COLUMNS,
        Kind::Job => workload::JOB,
        Kind::CronJob => workload::CRON_JOB,
        Kind::DaemonSet => workload::DAEMON_SET,
        Kind::Node => rest::NODE,
        Kind::Event => rest::EVENT,
        Kind::ConfigMap => rest::CONFIG_MAP,
        Kind::Secret => rest::SECRET,
        Kind::Namespace => rest::NAMESPACE,
        Kind::ControllerRevision => rest::REVISION,
        Kind::Image => rest::IMAGE,
        Kind::Set => rest::SET,
        Kind::Ack => &[NAME, AGE],
    };
    columns
        .iter()
        .map(|Column(name, kind, format, priority, description)| {
            json!({ "name": name, "type": kind, "format": format, "description": description, "priority": priority })
        })
        .collect()
}

/// The cells of one row, in the order of `columns`.
pub fn cells(record: &Record, state: &State, now: &Now) -> Vec<Value> {
    match record {
        Record::Pod(x) => pod::cells(x, state.node(), now),
        Record::Job(x) => workload::job(x, now),
        Record::CronJob(x) => workload::cron_job(x, now),
        Record::DaemonSet(x) => workload::daemon_set(x, now),
        Record::Node(x) => rest::node(x, now),
        Record::Event(x) => rest::event(x, state.node(), now),
        Record::ConfigMap(x) => rest::config_map(x, now),
        Record::Secret(x) => rest::secret(x, now),
        Record::Namespace(x) => rest::namespace(x, now),
        Record::ControllerRevision(x) => rest::revision(x, now),
        Record::Image(x) => rest::image(x, now),
        Record::Set(x) => rest::set(x, now),
        Record::Ack(x) => vec![x.meta.name.as_str().into(), age::since(x.meta.created, now.wall).into()],
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".into() } else { text }
}

/// `a,b` of the containers' names and of their images.
fn containers(containers: &[Container]) -> [Value; 2] {
    let join = |of: fn(&Container) -> &str| containers.iter().map(of).collect::<Vec<&str>>().join(",");
    [join(|c| &c.name).into(), join(|c| &c.image).into()]
}

/// `k=v,l=w`, or `<none>`.
fn labels(labels: &Labels) -> String {
    or_none(labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<String>>().join(","))
}

/// A selector as a person types it: `a=b,c in (d,e),!f`; empty for none.
/// Source: `apimachinery/pkg/labels/selector.go`, `String`: by key.
pub fn selector_text(selector: &Selector) -> String {
    let mut parts: Vec<(&str, String)> =
        selector.match_labels.iter().map(|(k, v)| (k.as_str(), format!("{k}={v}"))).collect();
    parts.extend(selector.match_expressions.iter().map(|r| (r.key.as_str(), requirement(r))));
    sorted::by(&mut parts, |a, b| a.0.cmp(b.0));
    parts.into_iter().map(|(_, text)| text).collect::<Vec<String>>().join(",")
}

fn requirement(r: &Requirement) -> String {
    let mut values = r.values.clone();
    values.sort();
    let list = values.join(",");
    let key = &r.key;
    match r.operator {
        Operator::In => format!("{key} in ({list})"),
        Operator::NotIn => format!("{key} notin ({list})"),
        Operator::Exists => key.clone(),
        Operator::DoesNotExist => format!("!{key}"),
        Operator::Gt => format!("{key}>{list}"),
        Operator::Lt => format!("{key}<{list}"),
    }
}

fn selector(selector: Option<&Selector>) -> String {
    or_none(selector.map_or(String::new(), selector_text))
}
