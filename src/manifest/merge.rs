//! Patches of documents: RFC 7386 (`application/merge-patch+json`), and Kubernetes' strategic merge
//! (`application/strategic-merge-patch+json`), which knows by what key some lists are merged.

use serde_json::{Map, Value};

/// RFC 7386: objects are merged, null removes, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    merge(target, patch, Style::Plain);
}

/// Kubernetes' strategic merge: as `merge_patch`, but the elements of some lists are merged by a key (containers and
/// variables by name, ports by number), and `$patch: delete` or `replace` in an object says what is to become of it.
/// Other lists are replaced (`tolerations`, `taints`, `args`), as in Kubernetes.
pub fn strategic_merge_patch(target: &mut Value, patch: &Value) {
    merge(target, patch, Style::Strategic);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Strategic,
}

/// What an object in a strategic patch says of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

/// The `patchMergeKey` of Kubernetes' types, for the lists that pinnace's kinds have.
fn merge_key(list: &str, style: Style) -> Option<&'static str> {
    match (style, list) {
        (Style::Strategic, "containers" | "initContainers" | "env") => Some("name"),
        (Style::Strategic, "ports") => Some("containerPort"),
        (Style::Strategic | Style::Plain, _) => None,
    }
}

fn directive(change: &Value, style: Style) -> Directive {
    match change.get("$patch").and_then(Value::as_str).filter(|_| style == Style::Strategic) {
        Some("replace") => Directive::Replace,
        Some("delete") => Directive::Delete,
        _ => Directive::Merge,
    }
}

fn merge(target: &mut Value, patch: &Value, style: Style) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if directive(patch, style) == Directive::Replace || !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        // `$patch`, `$setElementOrder/…`: instructions, not fields.
        if style == Style::Plain || !name.starts_with('$') {
            merge_field(fields, name, change, style);
        }
    }
}

fn merge_field(fields: &mut Map<String, Value>, name: &str, change: &Value, style: Style) {
    if change.is_null() || directive(change, style) == Directive::Delete {
        fields.shift_remove(name);
        return;
    }
    let field = fields.entry(name).or_insert(Value::Null);
    match (merge_key(name, style), change) {
        (Some(key), Value::Array(elements)) => merge_list(field, elements, key, style),
        (Some(_) | None, _) => merge(field, change, style),
    }
}

fn merge_list(list: &mut Value, elements: &[Value], key: &str, style: Style) {
    let replaces = |element: &Value| element.get(key).is_none() && directive(element, style) == Directive::Replace;
    if !list.is_array() || elements.iter().any(replaces) {
        *list = Value::Array(Vec::new());
    }
    let Value::Array(items) = list else { return };
    for element in elements.iter().filter(|element| !replaces(element)) {
        let id = element.get(key);
        let known = id.and_then(|id| items.iter().position(|item| item.get(key) == Some(id)));
        match (directive(element, style), known) {
            (Directive::Delete, Some(at)) => drop(items.remove(at)),
            (Directive::Delete, None) => {}
            (Directive::Merge | Directive::Replace, Some(at)) => merge(&mut items[at], element, style),
            (Directive::Merge | Directive::Replace, None) => {
                let mut new = Value::Null;
                merge(&mut new, element, style);
                items.push(new);
            }
        }
    }
}
