//! `explain`: which fields a kind has, what they are for, and what pinnace makes of them. Asks no node: it is in the tables
//! that manifests are checked against. Source of its layout: kubectl's `pkg/explain/v2/templates/plaintext.tmpl`.

use std::fmt::Write as _;

use super::Session;
use super::args::ExplainArgs;
use super::fail::Fail;
use super::target;
use crate::manifest::schema::{self, Field, Schema, Shape, Standing, words};
use crate::model::Kind;
use crate::model::sorted;

/// Columns of a description.
const WIDTH: usize = 76;

pub fn run(args: &ExplainArgs, s: &mut Session) -> Result<(), Fail> {
    let text = explain(&args.what, args.recursive, args.api_version.as_deref())?;
    s.out.text(&text)
}

fn explain(what: &str, recursive: bool, version: Option<&str>) -> Result<String, Fail> {
    let mut path = what.split('.').filter(|part| !part.is_empty());
    let word = path.next().ok_or_else(|| Fail::other("You must specify the type of resource to explain"))?;
    let kind = target::kind_of(word)?;
    let names = kind.names();
    if let Some(version) = version.filter(|v| *v != kind.api_version() && !names.also.contains(v)) {
        return Err(Fail::other(format!("couldn't find resource for \"{version}, Resource={}\"", names.plural)));
    }
    let Some(schema) = schema::of(kind) else {
        return Err(Fail::other(format!(
            "{} objects are made by the node alone; no manifest has their fields",
            names.kind
        )));
    };
    let mut out = head(kind);
    let mut at = schema;
    let mut last: Option<(&Schema, &Field)> = None;
    for part in path {
        if let Some((_, field)) = last {
            at = inner(&field.shape).ok_or_else(|| no_field(part, at, field))?;
        }
        let field = at.field(part).ok_or_else(|| unknown(part, at))?;
        last = Some((at, field));
    }
    let below = match last {
        None => {
            describe(&mut out, words::of_type(schema.go));
            Some(schema)
        }
        Some((owner, field)) => {
            let _ = writeln!(out, "FIELD: {} <{}>{}\n", field.name, type_of(&field.shape), mark(field));
            one(&mut out, owner, field);
            inner(&field.shape)
        }
    };
    if let Some(below) = below {
        out.push_str("FIELDS:\n");
        fields(&mut out, below, recursive, 1);
    }
    Ok(out)
}

fn head(kind: Kind) -> String {
    let names = kind.names();
    let group = if names.group.is_empty() { String::new() } else { format!("GROUP:      {}\n", names.group) };
    format!("{group}KIND:       {}\nVERSION:    {}\n\n", names.kind, names.version)
}

fn unknown(part: &str, at: &Schema) -> Fail {
    let near =
        at.fields.iter().map(|f| (strsim::jaro_winkler(part, f.name), f.name)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = near
        .filter(|(score, _)| *score > 0.8)
        .map(|(_, name)| format!(" (did you mean {name:?}?)"))
        .unwrap_or_default();
    Fail::other(format!("field {part:?} does not exist{hint}"))
}

fn no_field(part: &str, at: &Schema, field: &Field) -> Fail {
    match field.standing {
        Standing::Refused | Standing::Never => Fail::other(format!(
            "{}.{} is refused by pinnace, so nothing is known of {part:?} in it",
            at.go, field.name
        )),
        Standing::Dropped => Fail::other(format!("{} is set by the node; pinnace get … -o yaml shows it", field.name)),
        Standing::Done | Standing::Idle | Standing::Only(_) => Fail::other(format!("field {part:?} does not exist")),
    }
}

fn one(out: &mut String, owner: &Schema, field: &Field) {
    let above = words::of_field(owner.go, field.name);
    // Often a type is what its only field is, and is said to be.
    let below = inner(&field.shape).map_or("", |schema| words::of_type(schema.go));
    let below = if below == above { "" } else { below };
    let mut text = [above, below].join(" ").trim().to_string();
    text = format!("{text} {}", standing(field)).trim().to_string();
    describe(out, &text);
}

fn describe(out: &mut String, text: &str) {
    let _ = writeln!(out, "DESCRIPTION:\n{}", wrapped(text, 4));
}

/// In a sentence, what pinnace makes of it.
fn standing(field: &Field) -> String {
    match field.standing {
        Standing::Done => String::new(),
        Standing::Idle => "Taken, and without effect here.".into(),
        Standing::Only(values) => format!("Only {} is taken.", values.join(", ")),
        Standing::Refused | Standing::Never => "Refused: pinnace does not do it.".into(),
        Standing::Dropped => "Set by the node; what is sent of it is dropped.".into(),
    }
}

fn mark(field: &Field) -> &'static str {
    match field.standing {
        Standing::Done | Standing::Idle | Standing::Only(_) => "",
        Standing::Refused | Standing::Never => " -refused-",
        Standing::Dropped => " -set by the node-",
    }
}

fn fields(out: &mut String, schema: &Schema, recursive: bool, depth: usize) {
    let mut all: Vec<&Field> = schema.fields.iter().collect();
    sorted::by_key(&mut all, |field| field.name);
    for field in all {
        let _ = writeln!(
            out,
            "{:indent$}{}\t<{}>{}",
            "",
            field.name,
            type_of(&field.shape),
            mark(field),
            indent = 2 * depth
        );
        if recursive {
            if let Some(inner) = inner(&field.shape) {
                fields(out, inner, true, depth + 1);
            }
            continue;
        }
        let text = format!("{} {}", words::of_field(schema.go, field.name), standing(field));
        let _ = writeln!(out, "{}", wrapped(text.trim(), 4));
    }
}

/// The type of an object, or of a list's or map's values.
fn inner(shape: &Shape) -> Option<&'static Schema> {
    match shape {
        Shape::Object(schema) => Some(schema),
        Shape::List(inner_shape) | Shape::Map(inner_shape) => inner(inner_shape),
        Shape::Text
        | Shape::Bool
        | Shape::Int32
        | Shape::Int64
        | Shape::IntOrText
        | Shape::Amount
        | Shape::Bytes
        | Shape::Any => None,
    }
}

/// kubectl's names of types.
fn type_of(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::Bytes => "string".into(),
        Shape::Bool => "boolean".into(),
        Shape::Int32 | Shape::Int64 => "integer".into(),
        Shape::IntOrText => "IntOrString".into(),
        Shape::Amount => "Quantity".into(),
        Shape::List(inner) => format!("[]{}", type_of(inner)),
        Shape::Map(inner) => format!("map[string]{}", type_of(inner)),
        Shape::Object(schema) => schema.go.into(),
        Shape::Any => "Object".into(),
    }
}

/// Lines of words, each behind `indent` spaces, and an empty one.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut out, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{:indent$}{line}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{:indent$}{line}", "");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(what: &str, expected: &str) {
        let text = explain(what, false, None).unwrap();
        assert!(text.contains(expected), "{text}");
    }

    #[track_caller]
    fn refused(what: &str, expected: &str) {
        let error = explain(what, false, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn fields_are_explained_as_kubectl_lays_them_out() {
        check("jobs", "GROUP:      batch\nKIND:       Job\nVERSION:    v1\n\nDESCRIPTION:\n    Runs pods until");
        check("job.spec", "FIELD: spec <JobSpec>\n\nDESCRIPTION:\n");
        check("job.spec", "  backoffLimit\t<integer>\n    Failures before the Job is given up. Default 6.\n\n");
        check("job.spec.template.spec.containers", "FIELD: containers <[]Container>\n");
        check("job.spec.template.spec.containers.env", "  valueFrom\t<EnvVarSource>\n");
        check("pod.spec.volumes", "FIELD: volumes <[]Volume>\n");
        check("pod.spec.volumes.nfs", "FIELD: nfs <Object> -refused-\n");
        check("pod.spec.dnsConfig", "FIELD: dnsConfig <Object> -refused-\n");
        check("pod.spec.volumes.projected.sources.secret.items", "  path\t<string>\n    The file, below the volume.\n");
        check("pod.spec.hostPID", "Only false is taken.");
        check("pods", "KIND:       Pod\n");
        check("ds.spec.updateStrategy", "DESCRIPTION:\n    How a changed template comes into force.\n\nFIELDS");
        assert!(explain("ds", true, None).unwrap().contains("\n            containerPort\t<integer>\n"));
    }

    #[test]
    fn what_is_not_there_is_refused_with_the_nearest_word() {
        refused("job.spec.paralelism", "did you mean \"parallelism\"?");
        refused("job.spec.parallelism.x", "field \"x\" does not exist");
        refused("pod.spec.volumes.nfs.server", "is refused by pinnace");
        refused("pod.spec.dnsConfig.options", "is refused by pinnace");
        refused("pod.status.phase", "set by the node");
        refused("jop", "doesn't have a resource type \"jop\"");
        refused("events.reason", "made by the node alone");
        refused("", "You must specify");
        assert!(explain("job", false, Some("batch/v2")).is_err() && explain("job", false, Some("batch/v1")).is_ok());
    }
}
