//! What is served, told in both of Kubernetes' forms: resource by resource, and all at once as kubectl asks for it.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::reply::{self, Reply};
use super::route::{self, Part};
use super::usage;
use crate::manifest::view::KUBERNETES_VERSION;
use crate::model::Kind;
use crate::model::node::go_architecture;

/// Groups beside the core one, each with its versions, the preferred one first.
const GROUPS: [(&str, &[&str]); 4] = [
    ("apps", &["v1", "v1beta2"]),
    ("batch", &["v1", "v1beta1"]),
    ("extensions", &["v1beta1"]),
    ("pinnace.dev", &["v1"]),
];

/// Measured, not stored: it has no kinds in the table.
const USAGE: (&str, &[&str]) = (usage::GROUP, &[usage::VERSION]);

/// The form that kubectl asks for; it wants exactly this type back.
const AGGREGATED: [(&str, &str); 2] = [
    ("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    ("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
];

/// `/version`.
pub fn version() -> Value {
    json!({
        "major": "1",
        "minor": "32",
        "gitVersion": KUBERNETES_VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_architecture(std::env::consts::ARCH)),
    })
}

/// `/api`.
pub fn core(accept: &str) -> Reply {
    let plain = || json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] });
    either(accept, plain, || vec![aggregated("", &["v1"])])
}

/// `/apis`.
pub fn groups(accept: &str) -> Reply {
    let plain = || {
        let groups = GROUPS.iter().chain(&[USAGE]).map(|(name, versions)| plain_group(name, versions));
        let groups: Vec<Value> = groups.collect();
        json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
    };
    let items = || {
        let kept = GROUPS.iter().map(|(name, versions)| aggregated(name, versions));
        kept.chain([aggregated_usage()]).collect()
    };
    either(accept, plain, items)
}

/// `/apis/GROUP`; none for a group that is not served.
pub fn group(name: &str) -> Option<Reply> {
    let (name, versions) = GROUPS.iter().chain(&[USAGE]).find(|(group, _)| *group == name)?;
    let mut group = plain_group(name, versions);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(reply::json(StatusCode::OK, &group))
}

/// `/api/v1` and `/apis/GROUP/VERSION`; none for what is not served.
pub fn resources(group: &str, version: &str) -> Option<Reply> {
    let api_version = joined(group, version);
    let list: Vec<Value> = route::served(&api_version).flat_map(plain_resources).collect();
    (!list.is_empty()).then(|| {
        let body =
            json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": list });
        reply::json(StatusCode::OK, &body)
    })
}

fn either(accept: &str, plain: impl FnOnce() -> Value, items: impl FnOnce() -> Vec<Value>) -> Reply {
    let wanted = |version: &str| {
        accept.split(',').any(|clause| {
            let has = |wanted: &str| clause.split(';').any(|p| p.trim() == wanted);
            has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io") && has(&format!("v={version}"))
        })
    };
    let Some((version, content_type)) = AGGREGATED.into_iter().find(|(version, _)| wanted(version)) else {
        return reply::json(StatusCode::OK, &plain());
    };
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items(),
    });
    reply::typed(StatusCode::OK, content_type, body.to_string())
}

fn joined(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_string() } else { format!("{group}/{version}") }
}

fn plain_group(name: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({ "groupVersion": joined(name, version), "version": version });
    json!({
        "name": name,
        "versions": versions.iter().map(entry).collect::<Vec<Value>>(),
        "preferredVersion": versions.first().map(entry),
    })
}

fn plain_resources(kind: Kind) -> Vec<Value> {
    let names = kind.names();
    let whole = json!({
        "name": names.plural,
        "singularName": names.singular,
        "namespaced": names.namespaced,
        "kind": names.kind,
        "verbs": route::verbs(kind),
        "shortNames": names.short,
        "categories": categories(kind),
    });
    let part = |(name, part): &(&str, Part)| {
        let shown = part_kind(kind, *part);
        json!({
            "name": format!("{}/{name}", names.plural),
            "singularName": "",
            "namespaced": names.namespaced,
            "group": shown.0,
            "version": shown.1,
            "kind": shown.2,
            "verbs": part_verbs(*part),
        })
    };
    std::iter::once(whole).chain(route::parts(kind).iter().map(part)).collect()
}

fn aggregated(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let api_version = joined(group, version);
            let resources: Vec<Value> =
                route::served(&api_version).map(|kind| aggregated_resource(kind, group, version)).collect();
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        })
        .collect();
    json!({ "metadata": { "name": group, "creationTimestamp": null }, "versions": versions })
}

fn aggregated_usage() -> Value {
    let one = |name: &str, kind: &str, scope: &str| {
        let (group, version) = (usage::GROUP, usage::VERSION);
        json!({
            "resource": name,
            "responseKind": { "group": group, "version": version, "kind": kind },
            "scope": scope,
            "singularResource": "",
            "verbs": ["get", "list"],
        })
    };
    let resources = [one("nodes", "NodeMetrics", "Cluster"), one("pods", "PodMetrics", "Namespaced")];
    let version = json!({ "version": usage::VERSION, "resources": resources, "freshness": "Current" });
    json!({ "metadata": { "name": usage::GROUP, "creationTimestamp": null }, "versions": [version] })
}

fn aggregated_resource(kind: Kind, group: &str, version: &str) -> Value {
    let names = kind.names();
    let parts: Vec<Value> = route::parts(kind)
        .iter()
        .map(|(name, part)| {
            let (group, version, kind) = part_kind(kind, *part);
            json!({
                "subresource": name,
                "responseKind": { "group": group, "version": version, "kind": kind },
                "verbs": part_verbs(*part),
            })
        })
        .collect();
    json!({
        "resource": names.plural,
        "responseKind": { "group": group, "version": version, "kind": names.kind },
        "scope": if names.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": names.singular,
        "verbs": route::verbs(kind),
        "shortNames": names.short,
        "categories": categories(kind),
        "subresources": parts,
    })
}

/// What `kubectl get all` lists.
fn categories(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod | Kind::DaemonSet | Kind::Job | Kind::CronJob => &["all"],
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::ControllerRevision
        | Kind::Event
        | Kind::Image
        | Kind::Set
        | Kind::Ack => &[],
    }
}

fn part_kind(kind: Kind, part: Part) -> (&'static str, &'static str, &'static str) {
    match part {
        Part::Scale => ("autoscaling", "v1", "Scale"),
        Part::Eviction => ("policy", "v1", "Eviction"),
        Part::Whole | Part::Status | Part::Log | Part::Export => {
            (kind.names().group, kind.names().version, kind.names().kind)
        }
    }
}

fn part_verbs(part: Part) -> &'static [&'static str] {
    match part {
        Part::Scale => &["get", "patch", "update"],
        Part::Eviction => &["create"],
        Part::Whole | Part::Status | Part::Log | Part::Export => &["get"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_version_is_told_and_nothing_else() {
        let told: Vec<String> = GROUPS.iter().flat_map(|(g, versions)| versions.iter().map(|v| joined(g, v))).collect();
        for kind in Kind::SERVED {
            let all = std::iter::once(kind.api_version()).chain(kind.names().also.iter().map(|v| (*v).to_string()));
            for version in all.filter(|v| v != "v1") {
                assert!(told.contains(&version), "{version} of {kind} is not told");
            }
        }
        for version in &told {
            assert!(route::served(version).next().is_some(), "{version} has nothing");
        }
    }
}
