//! Volumes and mounts. (`pkg/apis/core/validation/validation.go`, `ValidateVolumes`, `ValidateVolumeMounts`)

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::Cause;
use crate::model::volume::MODE_MAX;

use super::container::{field_ref, no_nul, quantity, resource_ref};
use super::{At, names, shown};

const SOURCES: [&str; 6] = ["emptyDir", "hostPath", "secret", "downwardAPI", "configMap", "projected"];
const PROJECTIONS: [&str; 3] = ["secret", "configMap", "downwardAPI"];
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// What a file of a volume may show of the pod; labels and annotations as a whole, too.
const FIELD_PATHS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const ONE_SOURCE: &str = "may not specify more than 1 volume type";

/// Checks the volumes of a pod; gives the names of those that are right, which mounts may name.
pub(super) fn volumes<'a>(wrong: &mut Vec<Cause>, volumes: &At<'a>) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::new();
    for volume in volumes.items() {
        let before = wrong.len();
        source(wrong, &volume);
        let name = volume.get("name");
        match name.filled() {
            Some(text) => name.all(wrong, names::label(text)),
            None => wrong.push(name.required("")),
        }
        let text = name.text().unwrap_or_default();
        if known.contains(text) {
            wrong.push(name.duplicate(name.value));
        }
        if wrong.len() == before {
            known.insert(text);
        }
    }
    known
}

fn source(wrong: &mut Vec<Cause>, volume: &At<'_>) {
    let mut given = SOURCES.iter().map(|kind| (*kind, volume.get(kind))).filter(|(_, at)| !at.is_absent());
    if let Some((kind, first)) = given.next() {
        one(wrong, kind, &first);
    }
    wrong.extend(given.map(|(_, more)| more.forbidden(ONE_SOURCE)));
}

fn one(wrong: &mut Vec<Cause>, kind: &str, source: &At<'_>) {
    match kind {
        "emptyDir" => empty_dir(wrong, source),
        "hostPath" => host_path(wrong, source),
        "secret" => data(wrong, source, "secretName"),
        "configMap" => data(wrong, source, "name"),
        "downwardAPI" => {
            mode(wrong, &source.get("defaultMode"));
            source.get("items").items().for_each(|file| downward(wrong, &file));
        }
        _ => projected(wrong, source),
    }
}

fn empty_dir(wrong: &mut Vec<Cause>, source: &At<'_>) {
    let limit = source.get("sizeLimit");
    if quantity(&limit).is_some_and(|limit| limit.is_negative()) {
        wrong.push(limit.forbidden("SizeLimit field must be a valid resource quantity"));
    }
}

fn host_path(wrong: &mut Vec<Cause>, source: &At<'_>) {
    let path = source.get("path");
    let Some(text) = path.filled() else { return wrong.push(path.required("")) };
    no_nul(wrong, &path);
    no_backsteps(wrong, &path);
    if !text.starts_with('/') {
        // A kubelet would look from its own directory.
        wrong.push(path.invalid("must be an absolute path"));
    }
    source.get("type").one_of(wrong, &HOST_PATH_TYPES);
}

/// A ConfigMap or Secret, named by the field `name`.
fn data(wrong: &mut Vec<Cause>, source: &At<'_>, name: &str) {
    let name = source.get(name);
    if name.filled().is_none() {
        wrong.push(name.required(""));
    }
    mode(wrong, &source.get("defaultMode"));
    for item in source.get("items").items() {
        let (key, path) = (item.get("key"), item.get("path"));
        if key.filled().is_none() {
            wrong.push(key.required(""));
        }
        file_path(wrong, &path);
        mode(wrong, &item.get("mode"));
    }
}

fn downward(wrong: &mut Vec<Cause>, file: &At<'_>) {
    file_path(wrong, &file.get("path"));
    let (field, resource) = (file.get("fieldRef"), file.get("resourceFieldRef"));
    if !field.is_absent() {
        field_ref(wrong, &field, &FIELD_PATHS);
        if !resource.is_absent() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            wrong.push(file.invalid_as(&Value::from("resource"), detail));
        }
    } else if resource.is_absent() {
        wrong.push(file.required("one of fieldRef and resourceFieldRef is required"));
    } else if resource.get("containerName").filled().is_none() {
        wrong.push(resource.get("containerName").required(""));
    } else {
        resource_ref(wrong, &resource);
    }
    mode(wrong, &file.get("mode"));
}

fn projected(wrong: &mut Vec<Cause>, projected: &At<'_>) {
    mode(wrong, &projected.get("defaultMode"));
    let mut paths = BTreeSet::new();
    for source in projected.get("sources").items() {
        let given: Vec<_> =
            PROJECTIONS.iter().map(|kind| (*kind, source.get(kind))).filter(|(_, at)| !at.is_absent()).collect();
        if given.len() > 1 {
            wrong.push(source.forbidden(ONE_SOURCE));
        }
        for (kind, at) in given {
            match kind {
                "downwardAPI" => at.get("items").items().for_each(|file| downward(wrong, &file)),
                _ => data(wrong, &at, "name"),
            }
            for path in at.get("items").items().map(|item| item.get("path")) {
                if path.filled().is_some_and(|text| !paths.insert(text)) {
                    wrong.push(path.invalid("conflicting duplicate paths"));
                }
            }
        }
    }
}

/// Where below the volume a file is to be.
fn file_path(wrong: &mut Vec<Cause>, path: &At<'_>) {
    let Some(text) = path.filled() else { return wrong.push(path.required("")) };
    descending(wrong, path);
    if text.starts_with("..") && !text.starts_with("../") {
        wrong.push(path.invalid("must not start with '..'"));
    }
}

/// A relative path that does not lead out.
fn descending(wrong: &mut Vec<Cause>, path: &At<'_>) {
    no_nul(wrong, path);
    if path.text().is_some_and(|text| text.starts_with('/')) {
        wrong.push(path.invalid("must be a relative path"));
    }
    no_backsteps(wrong, path);
}

fn no_backsteps(wrong: &mut Vec<Cause>, path: &At<'_>) {
    if path.text().is_some_and(|text| text.split('/').any(|part| part == "..")) {
        wrong.push(path.invalid("must not contain '..'"));
    }
}

fn mode(wrong: &mut Vec<Cause>, mode: &At<'_>) {
    if mode.int().is_some_and(|bits| !(0..=i64::from(MODE_MAX)).contains(&bits)) {
        wrong.push(mode.invalid(MODE));
    }
}

/// The mounts of one container.
pub(super) fn mounts(wrong: &mut Vec<Cause>, mounts: &At<'_>, volumes: &BTreeSet<&str>) {
    let mut taken = BTreeSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if name.filled().is_none() {
            wrong.push(name.required(""));
        }
        if !volumes.contains(name.text().unwrap_or_default()) {
            wrong.push(Cause::not_found(name.path.clone(), shown(&name.text().unwrap_or_default().into())));
        }
        mount_path(wrong, &path);
        if !taken.insert(path.text().unwrap_or_default()) {
            wrong.push(path.invalid_as(&Value::from(path.text().unwrap_or_default()), "must be unique"));
        }
        let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        descending(wrong, &sub);
        if expression.filled().is_some() && sub.filled().is_some() {
            wrong.push(expression.invalid("subPathExpr and subPath are mutually exclusive"));
        }
        descending(wrong, &expression);
        mount.get("mountPropagation").one_of(wrong, &["Bidirectional", "HostToContainer", "None"]);
    }
}

fn mount_path(wrong: &mut Vec<Cause>, path: &At<'_>) {
    let Some(text) = path.filled() else { return wrong.push(path.required("")) };
    no_nul(wrong, path);
    // Kubernetes takes these two; where the first leads depends on the image, and with the second nothing starts.
    no_backsteps(wrong, path);
    if text.split('/').all(|part| matches!(part, "" | "." | "..")) {
        wrong.push(path.invalid("must not be the root of the file system"));
    }
}
