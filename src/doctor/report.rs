//! All that a report of a bug needs in one document: versions, settings, findings, figures, the state, where logs stand.
//! Contents of Secrets are taken out; environment variables in manifests are not, so a person should look before sending it.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Check, Host, Subject, show};

/// Log files that are listed.
const LOGS_MAX: usize = 1000;
/// Deep enough for any manifest.
const DEPTH_MAX: usize = 64;

pub fn report(host: &dyn Host, subject: &Subject, checks: &[Check]) -> Value {
    let config = &subject.config;
    let get = |path: &str| host.ask(&config.socket(), path).ok().filter(|answer| answer.code == 200).map(|a| a.body);
    let lines = get("/apis/pinnace.dev/v1/dump").or_else(|| host.stored(&config.data_dir).ok()).unwrap_or_default();
    let state: Vec<Value> =
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).map(|v| clean(v, 0)).collect();
    json!({
        "pinnace": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "time": host.now().map(|now| now.wall.rfc3339()),
        "kernel": host.read(Path::new("/proc/version")).unwrap_or_default().trim(),
        "settings": settings(host, subject),
        "doctor": show::json(checks),
        "metrics": get("/metrics"),
        "logs": logs(&config.data_dir.join("pods")),
        "state": state,
    })
}

/// The file as it is written: it has no secrets, only the names of files that have.
fn settings(host: &dyn Host, subject: &Subject) -> Value {
    match &subject.settings {
        Ok(file) => {
            let flags = subject.running.as_ref().map(|running| &running.flags);
            json!({ "file": file, "text": host.read(file).ok(), "flags": flags })
        }
        Err(why) => json!({ "error": why }),
    }
}

/// Sizes of the log files below the pods' directories.
fn logs(pods: &Path) -> Value {
    let mut found = Map::new();
    let mut waiting = vec![pods.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                waiting.push(entry.path());
            } else if entry.path().extension().is_some_and(|e| e == "log") && found.len() < LOGS_MAX {
                let name = entry.path().strip_prefix(pods).unwrap_or(&entry.path()).display().to_string();
                found.insert(name, meta.len().into());
            }
        }
    }
    found.into()
}

/// Takes the contents of Secrets out, wherever they stand: as a record, in a set's wishes, in an annotation.
fn clean(value: Value, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    match value {
        Value::Object(map) => {
            if map.get("record").is_some_and(|record| record == "Secret") {
                return secret(&map);
            }
            let is_secret = map.get("kind").is_some_and(|kind| kind == "Secret");
            let one = |(key, value): (String, Value)| {
                let hidden = (is_secret && matches!(key.as_str(), "data" | "stringData"))
                    || key == "kubectl.kubernetes.io/last-applied-configuration";
                let value = match value {
                    _ if hidden => "removed".into(),
                    value => clean(value, depth + 1),
                };
                (key, value)
            };
            map.into_iter().map(one).collect::<Map<String, Value>>().into()
        }
        Value::Array(items) => items.into_iter().map(|item| clean(item, depth + 1)).collect(),
        other => other,
    }
}

/// Its name and nothing else.
fn secret(record: &Map<String, Value>) -> Value {
    let name = |field: &str| record.get("meta").and_then(|meta| meta.get(field)).cloned().unwrap_or(Value::Null);
    let meta = json!({ "namespace": name("namespace"), "name": name("name"), "uid": name("uid") });
    json!({ "record": "Secret", "meta": meta, "contents": "removed" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_content_of_a_secret_is_left() {
        let meta = json!({"name": "s", "annotations": {"a": "hunter2"}});
        let record = json!({"record": "Secret", "meta": meta, "data": {"k": "hunter2"}});
        let kept = json!({"record": "ConfigMap", "meta": {"name": "c"}, "data": {"k": "kept"}});
        let set = json!({"record": "Set", "wants": [record.clone(), kept]});
        let document = json!({"items": [{"kind": "Secret", "stringData": {"k": "hunter2"}, "data": {"k": "hunter2"}}]});
        let applied = json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}});
        for value in [record, set, document, applied] {
            let cleaned = clean(value, 0).to_string();
            assert!(!cleaned.contains("hunter2") && cleaned.contains("removed"), "{cleaned}");
        }
        assert_eq!(clean(json!({"record": "ConfigMap", "data": {"k": "v"}}), 0)["data"]["k"], "v");
    }
}
