//! From a path to what it names. Knows no method and no query.

use super::{query, usage};
use crate::model::Kind;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Version,
    /// `/healthz` and `/livez`: the daemon answers.
    Health,
    /// `/readyz`: the node has taken up its work.
    Ready,
    Metrics,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` and `/apis/GROUP/VERSION`.
    Resources {
        group: String,
        version: String,
    },
    Objects(Target),
    /// `POST /apis/pinnace.dev/v1/drain`.
    Drain,
    /// `POST /apis/pinnace.dev/v1/import`, with an archive.
    Import,
    /// `POST /apis/pinnace.dev/v1/pull`.
    Pull,
    /// `POST /apis/pinnace.dev/v1/prune`.
    Prune,
    /// `GET` and `POST /apis/pinnace.dev/v1/update`: versions of this program.
    Update,
    /// `POST /apis/pinnace.dev/v1/update/undo`.
    Undo,
    /// `GET /apis/pinnace.dev/v1/dump`.
    Dump,
    /// `GET /apis/pinnace.dev/v1/trace`.
    Trace,
    /// `GET /apis/metrics.k8s.io/v1beta1`.
    UsageResources,
    /// Below it.
    Usage(usage::Of),
    /// Below `/api` or `/apis`, but nothing that is served.
    NoResource,
    NoPage,
}

/// A collection, an object, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub kind: Kind,
    /// As the path says it: one of the accepted ones.
    pub api_version: String,
    /// Empty: all namespaces, or a kind without one.
    pub namespace: String,
    /// None: the collection.
    pub name: Option<String>,
    pub part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    Status,
    Scale,
    Log,
    Eviction,
    /// An image as an archive.
    Export,
}

impl Target {
    /// A namespaced kind over all namespaces: only lists are made of it.
    pub fn is_everywhere(&self) -> bool {
        self.kind.names().namespaced && self.namespace.is_empty()
    }
}

pub fn parse(path: &str) -> Route {
    let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(query::decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["version"] => Route::Version,
        ["healthz" | "livez"] => Route::Health,
        ["readyz"] => Route::Ready,
        ["metrics"] => Route::Metrics,
        ["api"] => Route::CoreVersions,
        ["api", version, rest @ ..] => in_version("", version, rest),
        ["apis"] => Route::Groups,
        ["apis", group] => Route::Group((*group).to_string()),
        ["apis", "pinnace.dev", "v1", "drain"] => Route::Drain,
        ["apis", "pinnace.dev", "v1", "import"] => Route::Import,
        ["apis", "pinnace.dev", "v1", "pull"] => Route::Pull,
        ["apis", "pinnace.dev", "v1", "prune"] => Route::Prune,
        ["apis", "pinnace.dev", "v1", "update"] => Route::Update,
        ["apis", "pinnace.dev", "v1", "update", "undo"] => Route::Undo,
        ["apis", "pinnace.dev", "v1", "dump"] => Route::Dump,
        ["apis", "pinnace.dev", "v1", "trace"] => Route::Trace,
        ["apis", usage::GROUP, usage::VERSION, rest @ ..] => used(rest),
        ["apis", group, version, rest @ ..] => in_version(group, version, rest),
        _ => Route::NoPage,
    }
}

fn used(rest: &[&str]) -> Route {
    let of = match rest {
        [] => return Route::UsageResources,
        ["nodes"] => usage::Of::Nodes,
        ["nodes", name] => usage::Of::Node((*name).to_string()),
        ["pods"] => usage::Of::Pods(String::new()),
        ["namespaces", namespace, "pods"] => usage::Of::Pods((*namespace).to_string()),
        ["namespaces", namespace, "pods", name] => usage::Of::Pod((*namespace).to_string(), (*name).to_string()),
        _ => return Route::NoResource,
    };
    Route::Usage(of)
}

fn in_version(group: &str, version: &str, rest: &[&str]) -> Route {
    let api_version = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
    let target = match rest {
        [] => return Route::Resources { group: group.to_string(), version: version.to_string() },
        // The Namespace object itself, unless what follows is a resource inside it.
        ["namespaces", name] => target(&api_version, "", "namespaces", Some(name), None),
        ["namespaces", name, "status"] => target(&api_version, "", "namespaces", Some(name), Some("status")),
        ["namespaces", namespace, plural] => target(&api_version, namespace, plural, None, None),
        ["namespaces", namespace, plural, name] => target(&api_version, namespace, plural, Some(name), None),
        ["namespaces", namespace, plural, name, part] => {
            target(&api_version, namespace, plural, Some(name), Some(part))
        }
        [plural] => target(&api_version, "", plural, None, None),
        [plural, name] => target(&api_version, "", plural, Some(name), None),
        [plural, name, part] => target(&api_version, "", plural, Some(name), Some(part)),
        _ => None,
    };
    target.map_or(Route::NoResource, Route::Objects)
}

fn target(api_version: &str, namespace: &str, plural: &str, name: Option<&str>, part: Option<&str>) -> Option<Target> {
    let kind = served(api_version).find(|kind| kind.names().plural == plural)?;
    let namespaced = kind.names().namespaced;
    // A single object of a namespaced kind needs its namespace; a kind without one has none.
    if namespaced == namespace.is_empty() && (name.is_some() || !namespaced) {
        return None;
    }
    let part = match part {
        None => Part::Whole,
        Some(text) => part_of(kind, text)?,
    };
    let (namespace, name) = (namespace.to_string(), name.map(str::to_string));
    Some(Target { kind, api_version: api_version.to_string(), namespace, name, part })
}

/// The kinds that one version of a group has.
pub fn served(api_version: &str) -> impl Iterator<Item = Kind> {
    Kind::SERVED
        .into_iter()
        .filter(move |kind| kind.api_version() == api_version || kind.names().also.contains(&api_version))
}

fn part_of(kind: Kind, text: &str) -> Option<Part> {
    parts(kind).iter().find(|(name, _)| *name == text).map(|(_, part)| *part)
}

/// The subresources of a kind.
pub fn parts(kind: Kind) -> &'static [(&'static str, Part)] {
    match kind {
        Kind::Pod => &[("eviction", Part::Eviction), ("log", Part::Log), ("status", Part::Status)],
        Kind::Job => &[("scale", Part::Scale), ("status", Part::Status)],
        Kind::Namespace | Kind::Node | Kind::DaemonSet | Kind::CronJob | Kind::Set => &[("status", Part::Status)],
        Kind::Image => &[("export", Part::Export)],
        Kind::ConfigMap | Kind::Secret | Kind::ControllerRevision | Kind::Event | Kind::Ack => &[],
    }
}

/// What may be done with objects of a kind. Events, revisions and sets are made by the node alone.
pub fn verbs(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod | Kind::Job | Kind::CronJob | Kind::DaemonSet => &ALL,
        Kind::ConfigMap | Kind::Secret | Kind::Namespace | Kind::Image => &ALL,
        Kind::Node => &["get", "list", "patch", "update", "watch"],
        Kind::Event | Kind::ControllerRevision => &["delete", "deletecollection", "get", "list", "watch"],
        Kind::Set | Kind::Ack => &["get", "list", "watch"],
    }
}

const ALL: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, kind: Kind, namespace: &str, name: Option<&str>, part: Part) {
        let Route::Objects(target) = parse(path) else { panic!("{path} names no objects: {:?}", parse(path)) };
        let found = (target.kind, target.namespace.as_str(), target.name.as_deref(), target.part);
        assert_eq!(found, (kind, namespace, name, part), "{path}");
    }

    #[test]
    fn paths_name_what_they_name_in_kubernetes() {
        check("/api/v1/pods", Kind::Pod, "", None, Part::Whole);
        check("/api/v1/namespaces/x/pods/", Kind::Pod, "x", None, Part::Whole);
        check("/api/v1/namespaces/x/pods/p/log", Kind::Pod, "x", Some("p"), Part::Log);
        check("/api/v1/namespaces", Kind::Namespace, "", None, Part::Whole);
        check("/api/v1/namespaces/pods", Kind::Namespace, "", Some("pods"), Part::Whole);
        check("/api/v1/namespaces/x/status", Kind::Namespace, "", Some("x"), Part::Status);
        check("/api/v1/nodes/n%2d1", Kind::Node, "", Some("n-1"), Part::Whole);
        check("/apis/batch/v1/namespaces/x/jobs/j/scale", Kind::Job, "x", Some("j"), Part::Scale);
        check("/apis/batch/v1beta1/cronjobs", Kind::CronJob, "", None, Part::Whole);
        check("/apis/extensions/v1beta1/namespaces/x/daemonsets/d", Kind::DaemonSet, "x", Some("d"), Part::Whole);
        check("/apis/pinnace.dev/v1/images/i", Kind::Image, "", Some("i"), Part::Whole);
        check("/apis/pinnace.dev/v1/sets", Kind::Set, "", None, Part::Whole);
    }

    #[test]
    fn what_is_not_served_is_not_found() {
        for path in [
            "/api/v2/pods",
            "/apis/batch/v1beta1/jobs",
            "/api/v1/pods/p",
            "/api/v1/namespaces/x/nodes",
            "/api/v1/namespaces/x/pods/p/exec",
            "/api/v1/namespaces/x/pods/p/log/y",
            "/apis/batch/v1/namespaces/x/cronjobs/c/scale",
            "/apis/apps/v1/deployments",
            "/apis/pinnace.dev/v1/acks",
            "/apis/pinnace.dev/v1/state",
        ] {
            assert_eq!(parse(path), Route::NoResource, "{path}");
        }
        assert_eq!(parse("/"), Route::NoPage);
        assert_eq!(parse("/api"), Route::CoreVersions);
        assert_eq!(parse("/apis/nope"), Route::Group("nope".into()));
        assert_eq!(parse("/favicon.ico"), Route::NoPage);
    }
}
