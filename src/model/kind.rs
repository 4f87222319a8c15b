//! Every kind of record, with the names that Kubernetes' API and kubectl give it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The order is the order in which the store and lists keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Namespace,
    Node,
    ConfigMap,
    Secret,
    DaemonSet,
    ControllerRevision,
    Job,
    CronJob,
    Pod,
    Event,
    /// A registered image; ours, served below `/apis/pinnace.dev/v1`.
    Image,
    /// One retained message of the fleet; ours, shown as `sets`.
    Set,
    /// An answer that waits to be delivered to the broker; internal.
    Ack,
}

/// The names of one kind. `group` is empty for the core group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short: &'static [&'static str],
    pub group: &'static str,
    /// The version that is stored and shown.
    pub version: &'static str,
    /// Further versions that are taken, as group/version.
    pub also: &'static [&'static str],
    pub namespaced: bool,
}

impl Kind {
    /// Kinds that the API serves, in the order of `api-resources`.
    pub const SERVED: [Kind; 12] = [
        Kind::ConfigMap,
        Kind::Event,
        Kind::Namespace,
        Kind::Node,
        Kind::Pod,
        Kind::Secret,
        Kind::ControllerRevision,
        Kind::DaemonSet,
        Kind::CronJob,
        Kind::Job,
        Kind::Image,
        Kind::Set,
    ];

    pub fn names(self) -> &'static Names {
        match self {
            Kind::Namespace => &NAMESPACE,
            Kind::Node => &NODE,
            Kind::ConfigMap => &CONFIG_MAP,
            Kind::Secret => &SECRET,
            Kind::DaemonSet => &DAEMON_SET,
            Kind::ControllerRevision => &CONTROLLER_REVISION,
            Kind::Job => &JOB,
            Kind::CronJob => &CRON_JOB,
            Kind::Pod => &POD,
            Kind::Event => &EVENT,
            Kind::Image => &IMAGE,
            Kind::Set => &SET,
            Kind::Ack => &ACK,
        }
    }

    /// `batch/v1`, or `v1` for the core group.
    pub fn api_version(self) -> String {
        let n = self.names();
        if n.group.is_empty() { n.version.to_string() } else { format!("{}/{}", n.group, n.version) }
    }

    /// The form in messages and in `-o name`: `jobs.batch`, `pods`.
    pub fn resource(self) -> String {
        let n = self.names();
        if n.group.is_empty() { n.plural.to_string() } else { format!("{}.{}", n.plural, n.group) }
    }

    /// What a person types: `job`, `jobs`, `jobs.batch`, `cronjobs.v1beta1.batch`, `ds`, `Job`; any case.
    pub fn from_word(word: &str) -> Option<Kind> {
        let word = word.to_ascii_lowercase();
        let bare = word.split_once('.').map_or(word.as_str(), |(first, _)| first);
        Kind::SERVED.into_iter().find(|kind| {
            let n = kind.names();
            let known = bare == n.plural || bare == n.singular || n.short.contains(&bare);
            let version_fits = |version: &str, group: &str| {
                let both = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
                group == n.group && (version == n.version || n.also.contains(&both.as_str()))
            };
            let fits = |rest: &str| {
                rest == n.group || rest.split_once('.').is_some_and(|(version, group)| version_fits(version, group))
            };
            known && word.split_once('.').is_none_or(|(_, rest)| fits(rest))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names().kind)
    }
}

const CORE: Names =
    Names { kind: "", plural: "", singular: "", short: &[], group: "", version: "v1", also: &[], namespaced: true };
const NAMESPACE: Names =
    Names { kind: "Namespace", plural: "namespaces", singular: "namespace", short: &["ns"], namespaced: false, ..CORE };
const NODE: Names =
    Names { kind: "Node", plural: "nodes", singular: "node", short: &["no"], namespaced: false, ..CORE };
const CONFIG_MAP: Names =
    Names { kind: "ConfigMap", plural: "configmaps", singular: "configmap", short: &["cm"], ..CORE };
const SECRET: Names = Names { kind: "Secret", plural: "secrets", singular: "secret", ..CORE };
const DAEMON_SET: Names = Names {
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short: &["ds"],
    group: "apps",
    also: &["apps/v1beta2", "extensions/v1beta1"],
    ..CORE
};
const CONTROLLER_REVISION: Names = Names {
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    group: "apps",
    ..CORE
};
const JOB: Names = Names { kind: "Job", plural: "jobs", singular: "job", group: "batch", ..CORE };
const CRON_JOB: Names = Names {
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short: &["cj"],
    group: "batch",
    also: &["batch/v1beta1"],
    ..CORE
};
const POD: Names = Names { kind: "Pod", plural: "pods", singular: "pod", short: &["po"], ..CORE };
const EVENT: Names = Names { kind: "Event", plural: "events", singular: "event", short: &["ev"], ..CORE };
const IMAGE: Names =
    Names { kind: "Image", plural: "images", singular: "image", group: "pinnace.dev", namespaced: false, ..CORE };
const SET: Names =
    Names { kind: "Set", plural: "sets", singular: "set", group: "pinnace.dev", namespaced: false, ..CORE };
const ACK: Names =
    Names { kind: "Ack", plural: "acks", singular: "ack", group: "pinnace.dev", namespaced: false, ..CORE };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_may_name_a_kind_in_every_way_kubectl_allows() {
        for word in ["job", "jobs", "Job", "jobs.batch", "jobs.v1.batch"] {
            assert_eq!(Kind::from_word(word), Some(Kind::Job), "{word}");
        }
        assert_eq!(Kind::from_word("ds"), Some(Kind::DaemonSet));
        assert_eq!(Kind::from_word("po"), Some(Kind::Pod));
        assert_eq!(Kind::from_word("jobs.apps"), None);
        assert_eq!(Kind::from_word("deployment"), None);
    }
}
