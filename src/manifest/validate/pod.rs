//! A pod's spec and templates (`pkg/apis/core/validation/validation.go`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::Cause;

use super::{At, affinity, container, meta, names, security, volume};

/// Kubernetes' bound of user and group ids, and of seconds that are kept in 32 bits.
pub(super) const INT32_MAX: i64 = 2_147_483_647;

/// A template: labels, annotations and the pod's spec.
pub(super) fn template(wrong: &mut Vec<Cause>, template: &At<'_>) {
    let metadata = template.get("metadata");
    meta::labels(wrong, &metadata.get("labels"));
    meta::annotations(wrong, &metadata.get("annotations"));
    spec(wrong, &template.get("spec"));
}

pub(super) fn spec(wrong: &mut Vec<Cause>, spec: &At<'_>) {
    let volumes = volume::volumes(wrong, &spec.get("volumes"));
    containers(wrong, spec, &volumes);
    spec.get("restartPolicy").one_of(wrong, &["Always", "OnFailure", "Never"]);
    let grace = spec.get("terminationGracePeriodSeconds");
    grace.between(wrong, 0, INT32_MAX);
    spec.get("activeDeadlineSeconds").between(wrong, 1, INT32_MAX);
    meta::labels(wrong, &spec.get("nodeSelector"));
    let (node, host) = (spec.get("nodeName"), spec.get("hostname"));
    if let Some(text) = node.filled() {
        node.all(wrong, names::subdomain(text));
    }
    if let Some(text) = host.filled() {
        host.all(wrong, names::label(text));
    }
    security::of_pod(wrong, &spec.get("securityContext"));
    for secret in spec.get("imagePullSecrets").items() {
        if secret.get("name").filled().is_none() {
            wrong.push(secret.get("name").required(""));
        }
    }
    affinity::tolerations(wrong, &spec.get("tolerations"));
    affinity::node(wrong, &spec.get("affinity").get("nodeAffinity"));
}

fn containers(wrong: &mut Vec<Cause>, spec: &At<'_>, volumes: &BTreeSet<&str>) {
    let list = spec.get("containers");
    if list.count() == 0 {
        wrong.push(list.required(""));
    }
    let (mut seen, mut host_ports) = (BTreeSet::new(), BTreeSet::new());
    for container in list.items().chain(spec.get("initContainers").items()) {
        container::check(wrong, &container, volumes);
        let name = container.get("name");
        if name.filled().is_some_and(|text| !seen.insert(text)) {
            wrong.push(name.duplicate(name.value));
        }
    }
    for port in list.items().flat_map(|container| container.get("ports").items().collect::<Vec<_>>()) {
        let host = port.get("hostPort");
        let claim = (host.int().unwrap_or(0), port.get("protocol").text().unwrap_or("TCP"));
        if claim.0 != 0 && !host_ports.insert(claim) {
            wrong.push(host.duplicate(&Value::from(format!("{}/{}", claim.1, claim.0))));
        }
    }
}

pub(super) fn warnings(spec: &At<'_>) -> Vec<String> {
    let all = spec.get("containers").items().chain(spec.get("initContainers").items());
    all.flat_map(|container| container::warnings(&container)).collect()
}
