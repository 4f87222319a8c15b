//! `label` and `annotate`: single entries of an object's metadata.

use serde_json::{Map, Value, json};

use crate::model::Kind;

use super::args::{DryRun, LabelArgs};
use super::fail::Fail;
use super::json::{entries_at, list_at, text_at};
use super::target::{self, Target, singular};
use super::{Session, image};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Labels,
    Annotations,
}

/// What to do with one key; none removes it.
type Changes = Vec<(String, Option<String>)>;

pub async fn run(args: &LabelArgs, what: What, s: &mut Session) -> Result<(), Fail> {
    let (words, changes) = split(&args.what)?;
    if changes.is_empty() && !args.list {
        return Err(Fail::other(format!("at least one {} update is required", what.singular())));
    }
    for (kind, name) in subjects(args, words, s).await? {
        match change(args, what, &changes, kind, &name, s).await {
            Ok(()) => {}
            Err(fail) if fail.is_final() => return Err(fail),
            Err(fail) => s.report(&fail),
        }
    }
    Ok(())
}

/// Where the objects end and the changes begin: the first word with an `=`, or with a `-` at its end.
fn split(words: &[String]) -> Result<(&[String], Changes), Fail> {
    let is_change = |word: &String| word.contains('=') || word.ends_with('-');
    let at = words.iter().position(is_change).unwrap_or(words.len());
    let (targets, changes) = words.split_at(at);
    if targets.is_empty() {
        return Err(Fail::other("one or more resources must be specified as <resource> <name> or <resource>/<name>"));
    }
    Ok((targets, changes.iter().map(|word| parse(word)).collect::<Result<_, _>>()?))
}

fn parse(word: &str) -> Result<(String, Option<String>), Fail> {
    match (word.split_once('='), word.strip_suffix('-')) {
        (Some((key, value)), _) if !key.is_empty() => Ok((key.to_string(), Some(value.to_string()))),
        (None, Some(key)) if !key.is_empty() => Ok((key.to_string(), None)),
        (_, _) => Err(Fail::other(format!("unknown change {word:?}, must be KEY=VALUE or KEY-"))),
    }
}

async fn subjects(args: &LabelArgs, words: &[String], s: &Session) -> Result<Vec<(Kind, String)>, Fail> {
    let kinds = match target::parse(words)? {
        Target::Named(named) => return image::resolve(named, s).await,
        Target::Kinds { kinds, .. } if args.all || args.selector.is_some() => kinds,
        Target::Kinds { .. } => {
            return Err(Fail::other("resource(s) were provided, but no name was specified"));
        }
    };
    let mut subjects = Vec::new();
    for kind in kinds {
        let path = target::collection(kind, Some(&s.namespace(&args.at)));
        let parameters: Vec<(&str, &str)> = args.selector.iter().map(|l| ("labelSelector", l.as_str())).collect();
        let list = s.client.get(&target::query(&path, &parameters)).await?;
        subjects.extend(list_at(&list, "/items").iter().map(|o| (kind, text_at(o, "/metadata/name").to_string())));
    }
    Ok(subjects)
}

async fn change(
    args: &LabelArgs,
    what: What,
    changes: &Changes,
    kind: Kind,
    name: &str,
    s: &mut Session,
) -> Result<(), Fail> {
    let path = target::object(kind, &s.namespace(&args.at), name);
    let object = s.client.get(&path).await?;
    let shown = format!("{}/{name}", singular(kind));
    if args.list {
        let entries = entries_at(&object, what.pointer());
        let lines = entries.iter().map(|(key, value)| format!("{key}={}\n", value.as_str().unwrap_or_default()));
        return s.out.text(&lines.collect::<String>());
    }
    if !args.overwrite {
        refuse_overwrites(&object, what, changes)?;
    }
    let patch = patch(&object, what, changes, s)?;
    if patch.is_empty() {
        // kubectl says of labels alone that nothing was done.
        let not = if what == What::Labels { "not " } else { "" };
        return s.out.line(&format!("{shown} {not}{}{}", what.past(), args.dry.run.told()));
    }
    let only_removed = patch.values().all(Value::is_null);
    if args.dry.run != DryRun::Client {
        let path = target::query(&path, args.dry.run.query());
        s.client.patch(&path, &json!({"metadata": {what.field(): patch}})).await?;
    }
    let word = if what == What::Labels && only_removed { "unlabeled" } else { what.past() };
    s.out.line(&format!("{shown} {word}{}", args.dry.run.told()))
}

fn refuse_overwrites(object: &Value, what: What, changes: &Changes) -> Result<(), Fail> {
    let old = &object["metadata"][what.field()];
    for (key, value) in changes {
        if let (Some(value), Some(old)) = (value, old[key].as_str())
            && value != old
        {
            return Err(Fail::other(match what {
                What::Labels => format!("'{key}' already has a value ({old}), and --overwrite is false"),
                What::Annotations => format!(
                    "--overwrite is false but found the following declared annotation(s): '{key}' already has a value ({old})"
                ),
            }));
        }
    }
    Ok(())
}

/// Only what changes something. A label to remove that is not there is told and passed over.
fn patch(object: &Value, what: What, changes: &Changes, s: &mut Session) -> Result<Map<String, Value>, Fail> {
    let old = &object["metadata"][what.field()];
    let mut patch = Map::new();
    for (key, value) in changes {
        match (value, old[key].as_str()) {
            (Some(value), Some(old)) if value == old => {}
            (Some(value), _) => drop(patch.insert(key.clone(), value.clone().into())),
            (None, Some(_)) => drop(patch.insert(key.clone(), Value::Null)),
            (None, None) if what == What::Labels => s.out.line(&format!("label {key:?} not found."))?,
            (None, None) => {}
        }
    }
    Ok(patch)
}

impl What {
    fn field(self) -> &'static str {
        match self {
            What::Labels => "labels",
            What::Annotations => "annotations",
        }
    }

    fn pointer(self) -> &'static str {
        match self {
            What::Labels => "/metadata/labels",
            What::Annotations => "/metadata/annotations",
        }
    }

    fn singular(self) -> &'static str {
        match self {
            What::Labels => "label",
            What::Annotations => "annotation",
        }
    }

    fn past(self) -> &'static str {
        match self {
            What::Labels => "labeled",
            What::Annotations => "annotated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_objects_until_the_first_change() {
        let words: Vec<String> = ["job", "x", "a=b=c", "d-", "e="].map(str::to_string).to_vec();
        let (targets, changes) = split(&words).unwrap();
        assert_eq!(targets, &words[..2]);
        let expected = [("a", Some("b=c")), ("d", None), ("e", Some(""))];
        assert_eq!(changes, expected.map(|(k, v)| (k.to_string(), v.map(str::to_string))));
        for bad in [vec!["a=b"], vec!["job", "x", "=b"], vec!["job", "x", "a=b", "c"], vec!["job", "x", "-"]] {
            let words: Vec<String> = bad.iter().map(|w| (*w).to_string()).collect();
            assert!(split(&words).is_err(), "{bad:?}");
        }
    }
}
