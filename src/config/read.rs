//! Values of settings. The file gives them typed, the environment and the flags as text; both forms are read here.
//! An error completes the sentence that begins with the key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::Value;

use crate::model::Labels;
use crate::model::update::UpdateKey;

/// Of a name that becomes a level of a topic.
pub(super) const WORD_MAX: usize = 63;
/// Of labels and groups.
const LIST_MAX: usize = 100;

pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.trim().to_string()),
        Value::String(_) => Err("is empty".into()),
        other => Err(format!("must be text, is {other}")),
    }
}

/// Absolute, since the daemon's working directory is nobody's business.
pub(super) fn path(value: &Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(text(value)?);
    std::path::absolute(&path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A level of a topic: `[a-z0-9.-]`, up to `WORD_MAX` characters, no point or hyphen at the ends.
pub(super) fn word(value: &Value) -> Result<String, String> {
    let word = text(value)?;
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let ends = |c: char| c.is_ascii_alphanumeric();
    let fits = word.len() <= WORD_MAX && word.chars().all(inner) && word.starts_with(ends) && word.ends_with(ends);
    if fits {
        return Ok(word);
    }
    Err(format!(
        "must be 1 to {WORD_MAX} lower case letters, digits, points or hyphens, with a letter or digit at both ends, is {word:?}"
    ))
}

/// A list, or text with commas. Sorted, each once.
pub(super) fn words(value: &Value) -> Result<Vec<String>, String> {
    let items: Vec<Value> = match value {
        Value::Array(items) => items.clone(),
        Value::String(text) => comma_separated(text).map(Value::from).collect(),
        other => return Err(format!("must be a list, is {other}")),
    };
    if items.len() > LIST_MAX {
        return Err(format!("has {} items, at most {LIST_MAX} are possible", items.len()));
    }
    let mut words = items.iter().map(word).collect::<Result<Vec<_>, _>>()?;
    words.sort();
    words.dedup();
    Ok(words)
}

/// A list of keys as `ssh-keygen` writes them, or text with one on each line or commas between.
pub(super) fn update_keys(value: &Value) -> Result<Vec<UpdateKey>, String> {
    let lines: Vec<String> = match value {
        Value::Array(items) => items.iter().map(text).collect::<Result<_, _>>()?,
        Value::String(text) => {
            text.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect()
        }
        other => return Err(format!("must be a list, is {other}")),
    };
    if lines.len() > LIST_MAX {
        return Err(format!("has {} items, at most {LIST_MAX} are possible", lines.len()));
    }
    lines.iter().map(|line| UpdateKey::parse(line)).collect()
}

/// A mapping, or `k=v,k=v`. Keys and values as Kubernetes wants labels.
pub(super) fn label_pairs(value: &Value) -> Result<Labels, String> {
    let pairs: Vec<(String, String)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| Ok((k.clone(), scalar(v)?))).collect::<Result<_, String>>()?,
        Value::String(text) => comma_separated(text).map(split_pair).collect::<Result<_, _>>()?,
        other => return Err(format!("must be a mapping or k=v,k=v, is {other}")),
    };
    if pairs.len() > LIST_MAX {
        return Err(format!("has {} labels, at most {LIST_MAX} are possible", pairs.len()));
    }
    let mut labels = Labels::new();
    for (key, value) in pairs {
        check_label(&key, &value)?;
        if labels.insert(key.clone(), value).is_some() {
            return Err(format!("has {key:?} twice"));
        }
    }
    Ok(labels)
}

fn comma_separated(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn split_pair(item: &str) -> Result<(String, String), String> {
    let (key, value) = item.split_once('=').ok_or_else(|| format!("must be k=v,k=v; {item:?} has no ="))?;
    Ok((key.trim().to_string(), value.trim().to_string()))
}

/// YAML reads `true` and `5` typed; as a label they are text.
fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => Err(format!("has a label with the value {value}; it must be text")),
    }
}

/// Kubernetes, "Labels and Selectors": `[prefix/]name` and value; names and values up to 63 characters, letters or digits
/// at the ends, `-_.` between; the prefix a DNS name of up to 253.
fn check_label(key: &str, value: &str) -> Result<(), String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let dns = |p: &str| {
        let label = |l: &str| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !l.is_empty() && l.chars().all(inner) && !l.starts_with('-') && !l.ends_with('-')
        };
        p.len() <= 253 && p.split('.').all(label)
    };
    if !is_label_text(name) || name.is_empty() || !prefix.is_none_or(dns) {
        return Err(format!(
            "has {key:?}, which is no label key; write [PREFIX/]NAME, such as disk or example.com/disk"
        ));
    }
    if !is_label_text(value) {
        return Err(format!("has {value:?} for {key}; a label's value is up to 63 letters, digits, - _ and points"));
    }
    Ok(())
}

fn is_label_text(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| ends(c) || matches!(c, '-' | '_' | '.');
    text.is_empty() || (text.len() <= 63 && text.chars().all(inner) && text.starts_with(ends) && text.ends_with(ends))
}

/// A whole number from `least` to `most`, which fit the type.
pub(super) fn number<N: TryFrom<u64>>(value: &Value, least: u64, most: u64) -> Result<N, String> {
    let given = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => u64::from_str(text.trim()).ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    given
        .filter(|n| (least..=most).contains(n))
        .and_then(|n| N::try_from(n).ok())
        .ok_or_else(|| format!("must be a whole number from {least} to {most}, is {value}"))
}

pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        other => choice(other, &[("true", true), ("false", false), ("1", true), ("0", false)]),
    }
}

/// An address of this machine alone, with its port: what is served there has no lock.
pub(super) fn loopback(value: &Value) -> Result<SocketAddr, String> {
    let given = text(value)?;
    let address: SocketAddr =
        given.parse().map_err(|_| format!("must be ADDRESS:PORT, such as 127.0.0.1:9464, is {given:?}"))?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "must be a loopback address (127.0.0.1, [::1]), is {given:?}; to serve others put a proxy in front"
        ));
    }
    Ok(address)
}

pub(super) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, String> {
    let given = text(value)?;
    let found = choices.iter().find(|(name, _)| *name == given).map(|(_, choice)| *choice);
    found.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("must be one of {}, is {given:?}", names.join(", "))
    })
}
