//! What `apply` changes: the difference between what a file says and what is there, mindful of what the file said the
//! last time. Knows no node; a pure function of three documents.

use serde_json::{Map, Value};

/// The JSON merge patch (RFC 7386) that brings `current` to what `modified` says:
/// - a field in `modified` that is missing or different in `current` is set;
/// - a field in `original` (the last applied) that is gone from `modified` is removed;
/// - everything else in `current` (defaults, status, what others set) stays.
///
/// A list is a whole: it is replaced by the file's when it differs. One that the file has not changed since and whose
/// elements hold all that the file says does not differ, though the node has filled in defaults.
///
/// A null in a document is as good as nothing. `apiVersion` and `kind` name the object and are never changed.
pub fn three_way(original: &Value, modified: &Value, current: &Value) -> Value {
    let mut patch = differences(original, modified, current);
    patch.shift_remove("apiVersion");
    patch.shift_remove("kind");
    Value::Object(patch)
}

fn differences(original: &Value, modified: &Value, current: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, wanted) in modified.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
        let (before, now) = (&original[key], &current[key]);
        if wanted.is_object() && now.is_object() {
            let inner = differences(before, wanted, now);
            if !inner.is_empty() {
                patch.insert(key.clone(), Value::Object(inner));
            }
        } else if !holds(before, wanted, now) {
            patch.insert(key.clone(), without_nulls(wanted));
        }
    }
    for (key, _) in original.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
        if modified[key].is_null() && !current[key].is_null() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

/// True when what is there need not be changed.
fn holds(before: &Value, wanted: &Value, now: &Value) -> bool {
    wanted == now || (before == wanted && contains(now, wanted))
}

/// All that `part` says is so in `whole`; lists have the same length.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| value.is_null() || whole.get(key).is_some_and(|w| contains(w, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(w, p)| contains(w, p))
        }
        (whole, part) => whole == part,
    }
}

/// A null in a merge patch would remove.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(original: Value, modified: Value, current: Value, expected: Value) {
        let patch = three_way(&original, &modified, &current);
        assert_eq!(patch, expected);
        // Applied, the patch leaves nothing to do.
        let mut after = current;
        crate::manifest::merge_patch(&mut after, &patch);
        assert_eq!(three_way(&modified, &modified, &after), json!({}), "after {after}");
    }

    #[test]
    fn what_the_file_says_is_set_and_what_it_no_longer_says_is_removed() {
        check(json!({}), json!({"a": 1}), json!({"a": 1, "b": 2}), json!({}));
        check(json!({}), json!({"a": 1}), json!({"b": 2}), json!({"a": 1}));
        check(json!({"a": 1}), json!({"a": 2}), json!({"a": 1}), json!({"a": 2}));
        check(json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"a": 1, "b": 2, "c": 3}), json!({"b": null}));
        check(json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"a": 1}), json!({}));
        // Somebody else changed what the file says: the file wins.
        check(json!({"a": 1}), json!({"a": 1}), json!({"a": 5}), json!({"a": 1}));
    }

    #[test]
    fn maps_are_merged_at_every_depth() {
        check(
            json!({"m": {"x": {"a": 1, "b": 2}}}),
            json!({"m": {"x": {"a": 1}, "y": {}}}),
            json!({"m": {"x": {"a": 1, "b": 2, "c": 3}, "z": 1}}),
            json!({"m": {"x": {"b": null}, "y": {}}}),
        );
        check(json!({"m": {"a": 1}}), json!({}), json!({"m": {"a": 1, "d": 2}}), json!({"m": null}));
        check(json!({"m": 1}), json!({"m": {"a": 1}}), json!({"m": 1}), json!({"m": {"a": 1}}));
        check(json!({}), json!({"m": "t"}), json!({"m": {"a": 1}}), json!({"m": "t"}));
    }

    #[test]
    fn a_list_is_a_whole_but_defaults_in_it_are_no_difference() {
        let file = json!({"c": [{"n": "a", "env": [{"k": "v"}]}]});
        let filled = json!({"c": [{"n": "a", "env": [{"k": "v", "d": 1}], "pull": "Always"}]});
        check(file.clone(), file.clone(), filled.clone(), json!({}));
        let changed = json!({"c": [{"n": "b"}]});
        check(file.clone(), changed.clone(), filled.clone(), changed.clone());
        // A field that the file has dropped within a list: the list as a whole is sent.
        check(file.clone(), json!({"c": [{"n": "a"}]}), filled.clone(), json!({"c": [{"n": "a"}]}));
        // Shorter, longer, emptied.
        check(file.clone(), file.clone(), json!({"c": []}), file.clone());
        check(file.clone(), json!({"c": []}), filled, json!({"c": []}));
    }

    #[test]
    fn nulls_say_nothing() {
        check(json!({}), json!({"t": null, "a": {"b": null}}), json!({"t": 1}), json!({"a": {}}));
        check(json!({"t": 1}), json!({"t": null}), json!({"t": 1}), json!({"t": null}));
        check(json!(null), json!({"a": 1}), json!({"a": 1}), json!({}));
    }

    #[test]
    fn what_names_the_object_is_never_changed() {
        let old = json!({"apiVersion": "batch/v1beta1", "kind": "CronJob"});
        let now = json!({"apiVersion": "batch/v1", "kind": "CronJob"});
        assert_eq!(three_way(&old, &old, &now), json!({}));
    }
}
