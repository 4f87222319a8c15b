//! Containers: image and command, environment, ports, resources.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Cause, Quantity};

use super::{At, names, security, volume};
use crate::manifest::strict::NOT_SUPPORTED;

const ENV_SOURCES: [&str; 4] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"];
const FIELD_PATHS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 4] = ["limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

/// `volumes` are the names that its mounts may name.
pub(super) fn check(wrong: &mut Vec<Cause>, container: &At<'_>, volumes: &BTreeSet<&str>) {
    let name = container.get("name");
    match name.filled() {
        Some(text) => name.all(wrong, names::label(text)),
        None => wrong.push(name.required("")),
    }
    image(wrong, container);
    container.get("imagePullPolicy").one_of(wrong, &["Always", "IfNotPresent", "Never"]);
    working_dir(wrong, &container.get("workingDir"));
    ports(wrong, &container.get("ports"));
    for variable in container.get("env").items() {
        env(wrong, &variable);
    }
    for source in container.get("envFrom").items() {
        env_from(wrong, &source);
    }
    resources(wrong, &container.get("resources"));
    volume::mounts(wrong, &container.get("volumeMounts"), volumes);
    security::of_container(wrong, &container.get("securityContext"));
}

/// Where Kubernetes requires an image, pinnace requires a program.
fn image(wrong: &mut Vec<Cause>, container: &At<'_>) {
    let (image, command) = (container.get("image"), container.get("command"));
    if matches!(image.text(), None | Some("" | "host")) {
        if command.count() == 0 {
            wrong.push(command.required("image is absent or \"host\", so the program must be named"));
        }
    } else if image.text().is_some_and(|text| text.trim() != text) {
        wrong.push(image.invalid("must not have leading or trailing whitespace"));
    }
    let first = command.items().next();
    if let Some(program) = first.filter(|first| first.text() == Some("")) {
        wrong.push(program.required("the program must be named"));
    }
    for word in command.items().chain(container.get("args").items()) {
        no_nul(wrong, &word);
    }
}

fn working_dir(wrong: &mut Vec<Cause>, dir: &At<'_>) {
    no_nul(wrong, dir);
    if dir.filled().is_some_and(|text| !text.starts_with('/')) {
        // A kubelet would join it to the image's root; on the host's file system there is nothing to join it to.
        wrong.push(dir.invalid("must be an absolute path"));
    }
}

/// Nothing that the kernel takes as a text can have a NUL in it.
pub(super) fn no_nul(wrong: &mut Vec<Cause>, text: &At<'_>) {
    if text.text().is_some_and(|text| text.contains('\0')) {
        wrong.push(text.invalid("must not contain a NUL character"));
    }
}

fn ports(wrong: &mut Vec<Cause>, ports: &At<'_>) {
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let (name, number, host) = (port.get("name"), port.get("containerPort"), port.get("hostPort"));
        if let Some(text) = name.filled() {
            name.all(wrong, names::port(text));
            if !seen.insert(text) {
                wrong.push(name.duplicate(name.value));
            }
        }
        if number.int().is_none_or(|n| n == 0) {
            wrong.push(number.required(""));
        } else {
            number.between(wrong, 1, 65535);
        }
        if host.int().is_some_and(|n| n != 0) {
            host.between(wrong, 1, 65535);
            if host.int() != number.int() {
                // Pods share the host's network, so there is nothing that could map one port to another.
                wrong.push(number.invalid("must match `hostPort` when `hostNetwork` is true"));
            }
        }
        port.get("protocol").one_of(wrong, &["SCTP", "TCP", "UDP"]);
    }
}

fn env(wrong: &mut Vec<Cause>, variable: &At<'_>) {
    let (name, from) = (variable.get("name"), variable.get("valueFrom"));
    match name.filled() {
        Some(text) => name.all(wrong, names::env_name(text)),
        None => wrong.push(name.required("")),
    }
    no_nul(wrong, &variable.get("value"));
    if from.is_absent() {
        return;
    }
    let given: Vec<At<'_>> = ENV_SOURCES.iter().map(|s| from.get(s)).filter(|s| !s.is_absent()).collect();
    let empty = Value::from("");
    match given.len() {
        0 => wrong.push(from.invalid_as(&empty, &format!("must specify one of: `{}`", ENV_SOURCES.join("`, `")))),
        1 if variable.get("value").filled().is_some() => {
            wrong.push(from.invalid_as(&empty, "may not be specified when `value` is not empty"));
        }
        1 => {}
        _ => wrong.push(from.invalid_as(&empty, "may not have more than one field specified at a time")),
    }
    field_ref(wrong, &from.get("fieldRef"), &FIELD_PATHS);
    resource_ref(wrong, &from.get("resourceFieldRef"));
    key_ref(wrong, &from.get("configMapKeyRef"));
    key_ref(wrong, &from.get("secretKeyRef"));
}

/// `paths` are those that the place may name, besides one label or annotation.
pub(super) fn field_ref(wrong: &mut Vec<Cause>, field: &At<'_>, paths: &[&str]) {
    if field.is_absent() {
        return;
    }
    let path = field.get("fieldPath");
    let Some(text) = path.filled() else { return wrong.push(path.required("")) };
    match text.strip_suffix("']").and_then(|text| text.split_once("['")) {
        Some(("metadata.labels" | "metadata.annotations", key)) => path.all(wrong, names::qualified(key)),
        Some(_) => wrong.push(path.invalid("does not support subscript")),
        None => path.one_of(wrong, paths),
    }
}

pub(super) fn resource_ref(wrong: &mut Vec<Cause>, resource: &At<'_>) {
    if resource.is_absent() {
        return;
    }
    let name = resource.get("resource");
    match name.filled() {
        Some(_) => name.one_of(wrong, &RESOURCES),
        None => wrong.push(name.required("")),
    }
    let divisor = resource.get("divisor");
    if quantity(&divisor).is_some_and(|q| q.is_negative()) {
        wrong.push(divisor.invalid("must be greater than or equal to 0"));
    }
}

fn key_ref(wrong: &mut Vec<Cause>, source: &At<'_>) {
    if source.is_absent() {
        return;
    }
    let (name, key) = (source.get("name"), source.get("key"));
    if name.filled().is_none() {
        wrong.push(name.required(""));
    }
    match key.filled() {
        Some(text) => key.all(wrong, names::config_key(text)),
        None => wrong.push(key.required("")),
    }
}

fn env_from(wrong: &mut Vec<Cause>, source: &At<'_>) {
    let prefix = source.get("prefix");
    if let Some(text) = prefix.filled() {
        prefix.all(wrong, names::env_name(text));
    }
    let given: Vec<At<'_>> =
        ["configMapRef", "secretRef"].iter().map(|s| source.get(s)).filter(|s| !s.is_absent()).collect();
    let empty = Value::from("");
    match given.as_slice() {
        [] => wrong.push(source.invalid_as(&empty, "must specify one of: `configMapRef` or `secretRef`")),
        [one] => {
            let name = one.get("name");
            match name.filled() {
                Some(text) => name.all(wrong, names::subdomain(text)),
                None => wrong.push(name.required("")),
            }
        }
        _ => wrong.push(source.invalid_as(&empty, "may not have more than one field specified at a time")),
    }
}

fn resources(wrong: &mut Vec<Cause>, resources: &At<'_>) {
    let limits = amounts(wrong, &resources.get("limits"));
    let requests = amounts(wrong, &resources.get("requests"));
    for (name, (request, at)) in requests {
        let Some((limit, _)) = limits.get(name).filter(|(limit, _)| request > *limit) else { continue };
        let detail = format!("must be less than or equal to {name} limit of {limit}");
        let shown = Value::from(request.as_str());
        wrong.push(At { path: resources.get("requests").path, ..at }.invalid_as(&shown, &detail));
    }
}

fn amounts<'a>(wrong: &mut Vec<Cause>, amounts: &At<'a>) -> BTreeMap<&'a str, (Quantity, At<'a>)> {
    let mut found = BTreeMap::new();
    for (name, at) in amounts.entries() {
        if name != "cpu" && name != "memory" {
            wrong.push(at.forbidden(NOT_SUPPORTED));
            continue;
        }
        let Some(amount) = quantity(&at) else { continue };
        if amount.is_negative() {
            wrong.push(at.invalid("must be greater than or equal to 0"));
        } else if name == "cpu" && !amount.is_milli_precise() {
            wrong.push(at.invalid("must be a whole number of thousandths of a CPU (1m)"));
        }
        found.insert(name, (amount, at));
    }
    found
}

pub(super) fn quantity(at: &At<'_>) -> Option<Quantity> {
    Quantity::deserialize(at.value).ok()
}

pub(super) fn warnings(container: &At<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen = BTreeSet::new();
    for variable in container.get("env").items() {
        let name = variable.get("name").text().unwrap_or_default();
        if !seen.insert(name) {
            warnings.push(format!(
                "{variable}: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
    for list in ["limits", "requests"] {
        let memory = container.get("resources").get(list).entries().find(|(name, _)| *name == "memory");
        let fraction = |at: &At<'_>| quantity(at).is_some_and(|q| q.milli() % 1000 != 0);
        if let Some((_, at)) = memory.filter(|(_, at)| fraction(at)) {
            warnings.push(format!("{at}: fractional byte value {} is invalid, must be an integer", at.value));
        }
    }
    warnings
}
