//! The value of `images.registries`: what is particular about each registry. The file gives it as a mapping, the environment as
//! JSON. An error completes the sentence that begins with the key.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::RegistryHost;

use super::read::{flag, path, text};

const HOSTS_MAX: usize = 100;
const MIRRORS_MAX: usize = 10;

/// `{HOST: {mirrors: [HOST, …], insecure: true|false, ca_file: PATH}}`; a host as references write it, `NAME[:PORT]`.
pub(super) fn hosts(value: &Value) -> Result<BTreeMap<String, RegistryHost>, String> {
    let entries = match value {
        Value::Object(entries) => entries.clone(),
        Value::String(json) => match serde_json::from_str(json) {
            Ok(Value::Object(entries)) => entries,
            Ok(_) => return Err("must be a JSON object of hosts".into()),
            Err(e) => return Err(format!("must be JSON such as {{\"lab:5000\": {{\"insecure\": true}}}}: {e}")),
        },
        other => return Err(format!("must be a mapping of hosts, is {other}")),
    };
    if entries.len() > HOSTS_MAX {
        return Err(format!("has {} hosts, at most {HOSTS_MAX} are possible", entries.len()));
    }
    let mut hosts = BTreeMap::new();
    for (name, entry) in entries {
        let setting = match entry {
            Value::Null => Ok(RegistryHost::default()),
            Value::Object(entry) => setting(&entry),
            other => Err(format!("must be a mapping of mirrors, insecure and ca_file, is {other}")),
        };
        hosts.insert(host(&name)?, setting.map_err(|why| format!("of {name:?} {why}"))?);
    }
    Ok(hosts)
}

fn setting(entry: &Map<String, Value>) -> Result<RegistryHost, String> {
    let mut setting = RegistryHost::default();
    for (key, value) in entry {
        let within = |why: String| format!("has {key} that {why}");
        match key.as_str() {
            "mirrors" => setting.mirrors = mirrors(value).map_err(within)?,
            "insecure" => setting.insecure = flag(value).map_err(within)?,
            "ca_file" => setting.ca_file = Some(path(value).map_err(within)?),
            other => return Err(format!("has an unknown key {other:?}; there are mirrors, insecure and ca_file")),
        }
    }
    if setting.insecure && setting.ca_file.is_some() {
        return Err("has both insecure and ca_file: a certificate is either checked or not".into());
    }
    Ok(setting)
}

fn mirrors(value: &Value) -> Result<Vec<String>, String> {
    let Value::Array(items) = value else { return Err(format!("must be a list of hosts, is {value}")) };
    if items.len() > MIRRORS_MAX {
        return Err(format!("has {} hosts, at most {MIRRORS_MAX} are possible", items.len()));
    }
    items.iter().map(|item| host(&text(item)?)).collect()
}

/// `NAME[:PORT]`, an IPv6 address in brackets; no scheme and no path, which would be another server's.
fn host(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !text.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_name = !name.is_empty()
        && (name.starts_with('[') == name.ends_with(']'))
        && (name.starts_with('[') || !name.contains(':'));
    if text.chars().all(fits) && is_name && port.is_none_or(is_port) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("has {text:?}, which is no host; write NAME or NAME:PORT, without https:// and without a path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mapping_and_its_json_are_the_same() {
        let value = json!({"Lab:5000": {"insecure": true, "mirrors": ["m", "[::1]:5000"]}, "r.example.com": {"ca_file": "/ca"}, "x": null});
        let read = hosts(&value).unwrap();
        assert_eq!(hosts(&Value::String(value.to_string())).unwrap(), read);
        assert_eq!((read["lab:5000"].insecure, read["lab:5000"].mirrors.len()), (true, 2));
        assert_eq!(read["r.example.com"].ca_file.as_deref(), Some(std::path::Path::new("/ca")));
        assert_eq!(read["x"], RegistryHost::default());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |value: Value, expected: &str| {
            let error = hosts(&value).unwrap_err();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        };
        refused(json!(5), "must be a mapping of hosts, is 5");
        refused(json!("lab"), "must be JSON");
        refused(json!("[]"), "JSON object");
        refused(json!({"lab": true}), "of \"lab\" must be a mapping");
        refused(json!({"lab": {"mirror": []}}), "unknown key \"mirror\"");
        refused(json!({"lab": {"mirrors": "m"}}), "mirrors that must be a list");
        refused(json!({"lab": {"mirrors": ["https://m"]}}), "without https://");
        refused(json!({"lab": {"insecure": "maybe"}}), "insecure that must be one of");
        refused(json!({"lab": {"insecure": true, "ca_file": "/c"}}), "both");
        let many: Map<String, Value> = (0..=HOSTS_MAX).map(|n| (format!("h{n}"), Value::Null)).collect();
        refused(json!(many), "at most 100");
        for bad in ["", "a/b", "http://a", "a:", "a:0", "a:b", "a:70000", ":5000", "a b", "::1", "[::1", "u@a"] {
            refused(json!({bad: {}}), "no host");
        }
    }
}
