//! Patches on documents.

use pinnace::manifest::{merge_patch, strategic_merge_patch};
use serde_json::{Value, json};

#[track_caller]
fn check(patch: fn(&mut Value, &Value), mut target: Value, change: Value, expected: Value) {
    patch(&mut target, &change);
    assert_eq!(target.to_string(), expected.to_string());
}

/// The table of RFC 7386, appendix A.
#[test]
fn merge_patches_as_the_rfc_says() {
    for (target, change, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        (json!({"containers": [{"name": "a"}]}), json!({"containers": []}), json!({"containers": []})),
        (json!({"env": [{"name": "a"}]}), json!({"env": [{"name": "b"}]}), json!({"env": [{"name": "b"}]})),
    ] {
        check(merge_patch, target, change, expected);
    }
}

#[test]
fn strategic_patches_merge_some_lists_by_key() {
    let strategic =
        |target: Value, change: Value, expected: Value| check(strategic_merge_patch, target, change, expected);
    let two = || json!({"containers": [{"name": "a", "image": "x", "args": ["1", "2"]}, {"name": "b", "image": "y"}]});
    strategic(
        two(),
        json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b", "image": "z"}]}),
        json!({"containers": [{"name": "a", "image": "x", "args": ["1", "2"]}, {"name": "b", "image": "z"}]}),
    );
    strategic(
        two(),
        json!({"containers": [{"name": "a", "args": ["3"]}, {"name": "c"}, {"name": "b", "$patch": "delete"}]}),
        json!({"containers": [{"name": "a", "image": "x", "args": ["3"]}, {"name": "c"}]}),
    );
    strategic(
        two(),
        json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
        json!({"containers": [{"name": "c"}]}),
    );
    strategic(two(), json!({"containers": [{"name": "q", "$patch": "delete"}]}), two());
    strategic(json!({"a": {"b": 1}}), json!({"a": {"$patch": "replace", "c": 2}}), json!({"a": {"c": 2}}));
    strategic(json!({"a": {"b": 1}, "c": 1}), json!({"a": {"$patch": "delete"}}), json!({"c": 1}));
    strategic(
        json!({"ports": 3}),
        json!({"ports": [{"containerPort": 80}]}),
        json!({"ports": [{"containerPort": 80}]}),
    );
    strategic(
        json!({"tolerations": [{"key": "a"}]}),
        json!({"tolerations": [{"key": "b"}]}),
        json!({"tolerations": [{"key": "b"}]}),
    );
    strategic(
        json!({"template": {"metadata": {"labels": {"a": "1"}}}}),
        json!({"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}),
        json!({"template": {"metadata": {"labels": {"a": "1"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}),
    );
}
