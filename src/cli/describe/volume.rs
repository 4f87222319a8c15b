//! The volumes of a pod or of a template. Source: `kubectl/pkg/describe/describe.go`, `describeVolumes`.

use serde_json::Value;

use super::page::Page;
use crate::cli::json::{bool_at, list_at, plain, text_at};
use crate::model::Quantity;

/// The level of a volume's fields, also in a template.
const LEVEL: usize = 2;

pub fn describe(page: &mut Page, level: usize, spec: &Value) {
    let volumes = list_at(spec, "/volumes");
    if volumes.is_empty() {
        return page.field(level, "Volumes", "<none>");
    }
    page.line(level, "Volumes:");
    for volume in volumes {
        // As with containers, a template's names stand one column further in.
        page.line(1, &format!("{}{}:", " ".repeat(level), text_at(volume, "/name")));
        one(page, volume);
    }
}

fn one(page: &mut Page, volume: &Value) {
    let source = |kind: &str| volume.get(kind).filter(|source| source.is_object());
    if let Some(host) = source("hostPath") {
        page.field(LEVEL, "Type", "HostPath (bare host directory volume)");
        page.field(LEVEL, "Path", text_at(host, "/path"));
        page.field(LEVEL, "HostPathType", text_at(host, "/type"));
    } else if let Some(empty) = source("emptyDir") {
        page.field(LEVEL, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
        page.field(LEVEL, "Medium", text_at(empty, "/medium"));
        page.field(LEVEL, "SizeLimit", size_limit(empty));
    } else if let Some(secret) = source("secret") {
        page.field(LEVEL, "Type", "Secret (a volume populated by a Secret)");
        named(page, "SecretName", text_at(secret, "/secretName"), secret);
    } else if let Some(map) = source("configMap") {
        page.field(LEVEL, "Type", "ConfigMap (a volume populated by a ConfigMap)");
        named(page, "Name", text_at(map, "/name"), map);
    } else if let Some(downward) = source("downwardAPI") {
        page.field(LEVEL, "Type", "DownwardAPI (a volume populated by information about the pod)");
        items(page, downward);
    } else if let Some(projected) = source("projected") {
        page.field(LEVEL, "Type", "Projected (a volume that contains injected data from multiple sources)");
        list_at(projected, "/sources").iter().for_each(|source| projection(page, source));
    } else {
        page.line(LEVEL, "<unknown>");
    }
}

fn size_limit(empty: &Value) -> String {
    let limit = empty
        .get("sizeLimit")
        .map(plain)
        .filter(|text| Quantity::parse(text).is_ok_and(|limit| !limit.is_zero() && !limit.is_negative()));
    limit.unwrap_or_else(|| "<unset>".to_string())
}

fn named(page: &mut Page, label: &str, name: &str, source: &Value) {
    page.field(LEVEL, label, name);
    page.field(LEVEL, "Optional", bool_at(source, "/optional").unwrap_or(false));
}

fn items(page: &mut Page, downward: &Value) {
    page.line(LEVEL, "Items:");
    for item in list_at(downward, "/items") {
        for what in ["/fieldRef/fieldPath", "/resourceFieldRef/resource"] {
            let what = text_at(item, what);
            if !what.is_empty() {
                page.line(LEVEL + 1, &format!("{what} -> {}", text_at(item, "/path")));
            }
        }
    }
}

fn projection(page: &mut Page, source: &Value) {
    if let Some(secret) = source.get("secret") {
        named(page, "SecretName", text_at(secret, "/name"), secret);
    } else if source.get("downwardAPI").is_some() {
        page.field(LEVEL, "DownwardAPI", "true");
    } else if let Some(map) = source.get("configMap") {
        named(page, "ConfigMapName", text_at(map, "/name"), map);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(level: usize, volume: Value, expected: &str) {
        let mut page = Page::new();
        describe(&mut page, level, &json!({ "volumes": [volume] }));
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn each_kind_is_told_as_kubectl_tells_it() {
        check(
            0,
            json!({"name": "v", "hostPath": {"path": "/srv", "type": "Directory"}}),
            "Volumes:\n  v:\n    Type:          HostPath (bare host directory volume)\n    Path:          /srv\n    HostPathType:  Directory\n",
        );
        check(
            0,
            json!({"name": "v", "emptyDir": {"sizeLimit": 0}}),
            "Volumes:\n  v:\n    Type:       EmptyDir (a temporary directory that shares a pod's lifetime)\n    Medium:     \n    SizeLimit:  <unset>\n",
        );
        check(
            1,
            json!({"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
            "  Volumes:\n   v:\n    Type:       EmptyDir (a temporary directory that shares a pod's lifetime)\n    Medium:     Memory\n    SizeLimit:  1Mi\n",
        );
        check(
            0,
            json!({"name": "v", "secret": {"secretName": "s", "optional": true}}),
            "Volumes:\n  v:\n    Type:        Secret (a volume populated by a Secret)\n    SecretName:  s\n    Optional:    true\n",
        );
        check(
            0,
            json!({"name": "v", "configMap": {"name": "m"}}),
            "Volumes:\n  v:\n    Type:      ConfigMap (a volume populated by a ConfigMap)\n    Name:      m\n    Optional:  false\n",
        );
        let items = json!([{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "c", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]);
        check(
            0,
            json!({"name": "v", "downwardAPI": {"items": items}}),
            "Volumes:\n  v:\n    Type:  DownwardAPI (a volume populated by information about the pod)\n    Items:\n      metadata.labels -> l\n      limits.cpu -> c\n",
        );
        let sources = json!([{"secret": {"name": "s"}}, {"configMap": {"name": "m"}}, {"downwardAPI": {}}]);
        check(
            0,
            json!({"name": "v", "projected": {"sources": sources}}),
            "Volumes:\n  v:\n    Type:           Projected (a volume that contains injected data from multiple sources)\n    SecretName:     s\n    Optional:       false\n    ConfigMapName:  m\n    Optional:       false\n    DownwardAPI:    true\n",
        );
        check(0, json!({"name": "v", "nfs": {}}), "Volumes:\n  v:\n    <unknown>\n");
    }
}
