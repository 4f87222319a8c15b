//! RFC 6902: a list of operations on a document, each at a place that a JSON pointer names.

use serde_json::Value;

use crate::model::{Failure, Reason};

/// So many operations may one patch have, as with the API server.
const OPERATIONS_MAX: usize = 10_000;
/// Bytes that all `copy` operations of a patch may add: each could double the document.
const COPIED_BYTES_MAX: usize = 3 << 20;

/// # Errors
/// `BadRequest` for what is no list of operations; `Invalid` when one of them cannot be carried out or a `test` fails.
pub fn apply(document: &mut Value, patch: &Value) -> Result<(), Failure> {
    let operations = patch.as_array().ok_or_else(|| bad("a JSON patch must be a list of operations"))?;
    if operations.len() > OPERATIONS_MAX {
        return Err(bad(&format!(
            "a JSON patch may have {OPERATIONS_MAX} operations, this one has {}",
            operations.len()
        )));
    }
    let mut copied_bytes = 0;
    for (i, operation) in operations.iter().enumerate() {
        one(document, operation, &mut copied_bytes).map_err(|why| {
            Failure::new(Reason::Invalid, format!("operation {i} of the JSON patch cannot be carried out: {why}"))
        })?;
    }
    Ok(())
}

fn bad(message: &str) -> Failure {
    Failure::new(Reason::BadRequest, message)
}

fn one(document: &mut Value, operation: &Value, copied_bytes: &mut usize) -> Result<(), String> {
    let text = |name: &str| operation[name].as_str().ok_or_else(|| format!("it needs {name:?}"));
    let value = || operation.get("value").cloned().ok_or_else(|| "it needs a \"value\"".to_string());
    let path = text("path")?;
    match text("op")? {
        "add" => add(document, path, value()?),
        "remove" => remove(document, path).map(drop),
        "replace" => {
            *at(document, path)? = value()?;
            Ok(())
        }
        "test" if *at(document, path)? == value()? => Ok(()),
        "test" => Err(format!("the value at {path:?} is another")),
        "copy" => {
            let copied = at(document, text("from")?)?.clone();
            *copied_bytes += copied.to_string().len();
            if *copied_bytes > COPIED_BYTES_MAX {
                return Err(format!("its copies are larger than {COPIED_BYTES_MAX} bytes together"));
            }
            add(document, path, copied)
        }
        "move" => {
            let from = text("from")?;
            if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                return Err(format!("{from:?} cannot be moved into itself"));
            }
            let moved = remove(document, from)?;
            add(document, path, moved)
        }
        other => Err(format!("there is no operation {other:?}")),
    }
}

fn at<'a>(document: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    document.pointer_mut(path).ok_or_else(|| format!("there is nothing at {path:?}"))
}

/// The parent of a place and the last step to it.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| format!("{path:?} is no JSON pointer"))?;
    Ok((at(document, parent)?, last.replace("~1", "/").replace("~0", "~")))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (parent, last) = parent(document, path)?;
    match parent {
        Value::Object(map) => {
            map.insert(last, value);
            Ok(())
        }
        Value::Array(list) => {
            let place = if last == "-" { list.len() } else { index(&last)? };
            if place > list.len() {
                return Err(format!("the list at {path:?} has only {} elements", list.len()));
            }
            list.insert(place, value);
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(format!("nothing can be put at {path:?}"))
        }
    }
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let missing = || format!("there is nothing at {path:?}");
    let (parent, last) = parent(document, path)?;
    match parent {
        Value::Object(map) => map.shift_remove(&last).ok_or_else(missing),
        Value::Array(list) => {
            let place = index(&last)?;
            if place < list.len() { Ok(list.remove(place)) } else { Err(missing()) }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(missing()),
    }
}

/// Digits alone, without a zero before them.
fn index(text: &str) -> Result<usize, String> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    text.parse().ok().filter(|_| plain).ok_or_else(|| format!("{text:?} is no index of a list"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(patch: Value, expected: Option<Value>) {
        let mut document = json!({ "a": { "b": 1, "c/d": 2 }, "l": [1, 2] });
        let result = apply(&mut document, &patch);
        assert_eq!(result.map(|()| document).ok(), expected, "{patch}");
    }

    #[test]
    fn operations_do_what_the_rfc_says() {
        check(
            json!([{ "op": "add", "path": "/a/e", "value": 3 }]),
            Some(json!({ "a": { "b": 1, "c/d": 2, "e": 3 }, "l": [1, 2] })),
        );
        check(json!([{ "op": "remove", "path": "/a/c~1d" }]), Some(json!({ "a": { "b": 1 }, "l": [1, 2] })));
        check(
            json!([{ "op": "add", "path": "/l/-", "value": 3 }, { "op": "add", "path": "/l/0", "value": 0 }]),
            Some(json!({ "a": { "b": 1, "c/d": 2 }, "l": [0, 1, 2, 3] })),
        );
        check(
            json!([{ "op": "move", "from": "/a/b", "path": "/b" }, { "op": "remove", "path": "/a" }]),
            Some(json!({ "l": [1, 2], "b": 1 })),
        );
        check(json!([{ "op": "copy", "from": "/l/1", "path": "/a" }]), Some(json!({ "a": 2, "l": [1, 2] })));
        check(
            json!([{ "op": "test", "path": "/l", "value": [1, 2] }, { "op": "replace", "path": "/l", "value": 9 }]),
            Some(json!({ "a": { "b": 1, "c/d": 2 }, "l": 9 })),
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        check(json!({}), None);
        check(json!([1]), None);
        check(json!([{ "op": "jump", "path": "/a" }]), None);
        check(json!([{ "op": "add", "path": "/a" }]), None);
        check(json!([{ "op": "add", "path": "a", "value": 1 }]), None);
        check(json!([{ "op": "add", "path": "/x/y", "value": 1 }]), None);
        check(json!([{ "op": "add", "path": "/l/3", "value": 1 }]), None);
        check(json!([{ "op": "add", "path": "/l/01", "value": 1 }]), None);
        check(json!([{ "op": "add", "path": "/l/+1", "value": 1 }]), None);
        check(json!([{ "op": "remove", "path": "" }]), None);
        check(json!([{ "op": "remove", "path": "/l/2" }]), None);
        check(json!([{ "op": "replace", "path": "/z", "value": 1 }]), None);
        check(json!([{ "op": "test", "path": "/a/b", "value": 2 }]), None);
        check(json!([{ "op": "move", "from": "/a", "path": "/a/b" }]), None);
        let double = |i: i32| json!({ "op": "copy", "from": "/a", "path": format!("/a/{i}") });
        check((0..40).map(double).collect(), None);
    }
}
