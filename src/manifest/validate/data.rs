//! ConfigMap, Secret, Node, and pinnace's Image.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::image::Reference;
use crate::model::{Cause, image};

use super::{At, affinity, names};

/// Bytes of all values of a ConfigMap or Secret.
const DATA_MAX: usize = 1024 * 1024;

pub(super) fn config_map(wrong: &mut Vec<Cause>, data: &At<'_>, binary: &At<'_>) {
    let mut seen = BTreeSet::new();
    for (key, at) in data.entries().chain(binary.entries()) {
        keys(wrong, key, &at);
        if !seen.insert(key) {
            wrong.push(at.invalid_as(&Value::from(key), "duplicate of key present in data"));
        }
    }
    if bytes(data) + decoded_bytes(binary) > DATA_MAX {
        wrong.push(data.too_long(DATA_MAX));
    }
}

/// `stringData` was merged into `data` before.
pub(super) fn secret(wrong: &mut Vec<Cause>, data: &At<'_>) {
    data.entries().for_each(|(key, at)| keys(wrong, key, &at));
    if decoded_bytes(data) > DATA_MAX {
        wrong.push(data.too_long(DATA_MAX));
    }
}

fn keys(wrong: &mut Vec<Cause>, key: &str, at: &At<'_>) {
    wrong.extend(names::config_key(key).iter().map(|rule| at.invalid_as(&Value::from(key), rule)));
}

fn bytes(map: &At<'_>) -> usize {
    map.entries().map(|(_, value)| value.text().unwrap_or_default().len()).sum()
}

fn decoded_bytes(map: &At<'_>) -> usize {
    map.entries().map(|(_, value)| value.text().unwrap_or_default().trim_end_matches('=').len() * 3 / 4).sum()
}

pub(super) fn node(wrong: &mut Vec<Cause>, spec: &At<'_>) {
    affinity::taints(wrong, &spec.get("taints"));
}

pub(super) fn image(wrong: &mut Vec<Cause>, meta: &At<'_>, spec: &At<'_>) {
    let (reference, directory) = (spec.get("reference"), spec.get("directory"));
    match reference.filled().map(|text| (text, Reference::parse(text))) {
        None => wrong.push(reference.required("the name that manifests use")),
        Some(("host", _)) => wrong.push(reference.invalid("\"host\" means the host's own file system")),
        Some((_, Err(why))) => wrong.push(reference.invalid(&why)),
        Some((text, Ok(_))) => {
            let (name, wanted) = (meta.get("name"), image::object_name(text));
            if name.filled().is_some_and(|name| name != wanted) {
                wrong.push(name.invalid(&format!("must be {wanted:?}, which is made from spec.reference, or absent")));
            }
        }
    }
    match directory.filled() {
        None => wrong.push(directory.required("the directory that the image stands for")),
        Some(text) if !text.starts_with('/') => wrong.push(directory.invalid("must be an absolute path")),
        Some(_) => {}
    }
    for (index, variable) in spec.get("env").items().enumerate() {
        let name = variable.text().unwrap_or_default().split_once('=').map(|(name, _)| name);
        if name.is_none_or(str::is_empty) {
            wrong.push(spec.get(&format!("env[{index}]")).invalid_as(variable.value, "must have the form NAME=VALUE"));
        }
    }
}
