//! Fills a template in. Knows no template text.

use serde_json::Value;

use crate::model::sorted;

use super::{Node, Op, Slice, Step};

/// The most values that one expression may find: `..` on `..` multiplies.
const FOUND_MAX: usize = 1_000_000;

/// # Errors
/// An index beyond its list, a wrong comparison, or too much.
pub fn render(nodes: &[Node], root: &Value) -> Result<String, String> {
    let mut out = String::new();
    render_at(nodes, root, root, &mut out)?;
    Ok(out)
}

/// # Errors
/// As `render`.
pub fn find(nodes: &[Node], root: &Value) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for node in nodes {
        match node {
            Node::Text(text) => all.push(Value::String(text.clone())),
            Node::Path(steps) => all.extend(walk(steps, root, root)?),
            Node::Range { over, body } => {
                for item in walk(over, root, root)? {
                    all.extend(find(body, &item)?);
                }
            }
        }
    }
    Ok(all)
}

fn render_at(nodes: &[Node], root: &Value, here: &Value, out: &mut String) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Path(steps) => out.push_str(&walk(steps, root, here)?.iter().map(text).collect::<Vec<_>>().join(" ")),
            Node::Range { over, body } => {
                for item in walk(over, root, here)? {
                    render_at(body, root, &item, out)?;
                }
            }
        }
    }
    Ok(())
}

/// How kubectl prints a value among others.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => super::super::json::sorted(value).to_string(),
    }
}

fn walk(steps: &[Step], root: &Value, here: &Value) -> Result<Vec<Value>, String> {
    let mut values = vec![here.clone()];
    for step in steps {
        let mut next = Vec::new();
        // A constant and the root are the same from wherever one comes.
        match step {
            Step::Constant(value) => next.push(value.clone()),
            Step::Root => next.push(root.clone()),
            Step::Field(_) | Step::All | Step::Deep | Step::Slice(_) | Step::Union(_) | Step::Filter { .. } => {
                for value in &values {
                    next.extend(from_one(step, root, value)?);
                    if next.len() > FOUND_MAX {
                        return Err(format!("the expression finds more than {FOUND_MAX} values"));
                    }
                }
            }
        }
        values = next;
    }
    Ok(values)
}

fn from_one(step: &Step, root: &Value, value: &Value) -> Result<Vec<Value>, String> {
    match step {
        Step::Field(name) => Ok(value.get(name).cloned().into_iter().collect()),
        Step::All => Ok(children(value)),
        Step::Deep => {
            let mut all = Vec::new();
            collect(value, &mut all);
            Ok(all)
        }
        Step::Slice(slice) => sliced(*slice, value),
        Step::Union(choices) => {
            let mut all = Vec::new();
            for choice in choices {
                all.extend(walk(choice, root, value)?);
            }
            Ok(all)
        }
        Step::Filter { left, op, right } => filtered(left, *op, right, root, value),
        Step::Root => Ok(vec![root.clone()]),
        Step::Constant(constant) => Ok(vec![constant.clone()]),
    }
}

/// Entries of a list, or of a map by key.
fn children(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            sorted::by_key(&mut entries, |(key, _)| *key);
            entries.into_iter().map(|(_, v)| v.clone()).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn collect(value: &Value, all: &mut Vec<Value>) {
    if matches!(value, Value::Array(_) | Value::Object(_)) {
        all.push(value.clone());
    }
    for child in children(value) {
        collect(&child, all);
    }
}

/// The items of a list; none of nothing.
fn items<'v>(value: &'v Value, wanted: &str) -> Result<&'v [Value], String> {
    let what = match value {
        Value::Array(items) => return Ok(items),
        Value::Null => return Ok(&[]),
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Object(_) => "a map",
    };
    Err(format!("{what} is not array or slice{wanted}"))
}

/// Source: `evalArray`: negative bounds count from the end; what is asked for must exist, unless it is nothing.
fn sliced(slice: Slice, value: &Value) -> Result<Vec<Value>, String> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let items = items(value, "")?;
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_end = |bound: i64| if bound < 0 { bound.saturating_add(length) } else { bound };
    let start = from_end(slice.start.unwrap_or(0));
    if slice.is_index {
        let item = usize::try_from(start).ok().and_then(|i| items.get(i));
        let item = item.ok_or_else(|| format!("array index out of bounds: index {start}, length {length}"))?;
        return Ok(vec![item.clone()]);
    }
    let end = from_end(slice.end.unwrap_or(length));
    let step = slice.step.unwrap_or(1);
    if step <= 0 {
        return Err("step must be > 0".into());
    }
    if start == end {
        return Ok(Vec::new());
    }
    let beyond = |index: i64| Err(format!("array index out of bounds: index {index}, length {length}"));
    if start < 0 || start >= length {
        return beyond(start);
    }
    if end < 0 || end > length {
        return beyond(end.saturating_sub(1));
    }
    if start > end {
        return Err(format!("starting index {start} is greater than ending index {end}"));
    }
    let bounded = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(items[bounded(start)..bounded(end)].iter().step_by(bounded(step)).cloned().collect())
}

fn filtered(left: &[Step], op: Op, right: &[Step], root: &Value, value: &Value) -> Result<Vec<Value>, String> {
    let mut kept = Vec::new();
    for item in items(value, " and cannot be filtered")? {
        let found = walk(left, root, item)?;
        let keep = match op {
            Op::Exists => !found.is_empty(),
            Op::Equal | Op::NotEqual | Op::Less | Op::Greater | Op::LessOrEqual | Op::GreaterOrEqual => {
                let other = walk(right, root, item)?;
                match (found.as_slice(), other.as_slice()) {
                    ([a], [b]) => holds(a, op, b)?,
                    ([], _) | (_, []) => false,
                    (_, _) => return Err("can only compare one element at a time".into()),
                }
            }
        };
        if keep {
            kept.push(item.clone());
        }
    }
    Ok(kept)
}

fn holds(a: &Value, op: Op, b: &Value) -> Result<bool, String> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
        (Value::Bool(a), Value::Bool(b)) if matches!(op, Op::Equal | Op::NotEqual) => Some(a.cmp(b)),
        (_, _) => None,
    };
    let order = order.ok_or("incompatible types for comparison")?;
    Ok(match op {
        Op::Equal => order == Equal,
        Op::NotEqual => order != Equal,
        Op::Less => order == Less,
        Op::Greater => order == Greater,
        Op::LessOrEqual => order != Greater,
        Op::GreaterOrEqual => order != Less,
        Op::Exists => true,
    })
}
