//! `apply`, `create` and `replace`: what files ask for, one object after the other. What is wrong with one does not
//! hold up the others.

use serde_json::{Value, json};

use crate::model::Kind;

use super::args::{DryRun, FileArgs, How, ReplaceArgs};
use super::delete::until_gone;
use super::fail::Fail;
use super::files::{self, Check, Document};
use super::json::{map_mut, sorted, text_at};
use super::merge::three_way;
use super::output::{Format, name};
use super::target::Object;
use super::term::warn;
use super::{Session, target};

/// Where `apply` keeps what it applied; kubectl's own, so that either can go on where the other left.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What was done, for the line that says so.
struct Done {
    object: Value,
    word: &'static str,
}

/// What is done with one document.
enum Verb {
    Apply,
    Create,
    Replace { force: bool },
}

pub async fn apply(args: &FileArgs, s: &mut Session) -> Result<(), Fail> {
    each(args, &Verb::Apply, s).await
}

pub async fn create_files(args: &FileArgs, s: &mut Session) -> Result<(), Fail> {
    each(args, &Verb::Create, s).await
}

pub async fn replace(args: &ReplaceArgs, s: &mut Session) -> Result<(), Fail> {
    each(&args.file, &Verb::Replace { force: args.force }, s).await
}

async fn each(args: &FileArgs, verb: &Verb, s: &mut Session) -> Result<(), Fail> {
    let format = format(&args.how)?;
    let (documents, fails) = files::read(&args.files.filename, args.files.recursive, Check::Whole);
    fails.iter().for_each(|fail| s.report(fail));
    let mut first = true;
    for document in documents {
        match one(&args.how, verb, document, s).await {
            Ok(done) => {
                let text = text(&done, &format, args.how.dry.run, first)?;
                s.out.text(&text)?;
                first = false;
            }
            Err(fail) if fail.is_final() => return Err(fail),
            Err(fail) => s.report(&fail),
        }
    }
    Ok(())
}

/// `create` of one object that no file holds.
pub async fn create_document(document: Document, how: &How, s: &mut Session) -> Result<(), Fail> {
    let format = format(how)?;
    let done = one(how, &Verb::Create, document, s).await?;
    let text = text(&done, &format, how.dry.run, true)?;
    s.out.text(&text)
}

fn format(how: &How) -> Result<Format, Fail> {
    match Format::parse(how.output.as_deref())? {
        Format::Table { wide: true } => {
            Err(Fail::other("unable to match a printer suitable for the output format \"wide\""))
        }
        format => Ok(format),
    }
}

fn text(done: &Done, format: &Format, dry_run: DryRun, first: bool) -> Result<String, Fail> {
    if let Some(text) = if first { format.show(&done.object)? } else { format.show_next(&done.object)? } {
        let separator = if *format == Format::Yaml && !first { "---\n" } else { "" };
        return Ok(format!("{separator}{text}"));
    }
    Ok(format!("{} {}{}\n", name(&done.object), done.word, dry_run.told()))
}

async fn one(how: &How, verb: &Verb, mut document: Document, s: &mut Session) -> Result<Done, Fail> {
    let given = how.at.namespace.clone().or_else(|| s.namespace.clone());
    let namespace = document.place(given.as_deref())?;
    if document.kind.names().namespaced {
        map_mut(&mut document.value, &["metadata"]).insert("namespace".into(), namespace.clone().into());
    }
    match verb {
        Verb::Apply => apply_one(&document, &namespace, how.dry.run, s).await,
        Verb::Create => create_one(&document, &namespace, how.dry.run, "created", s).await,
        Verb::Replace { force } => replace_one(&document, &namespace, how.dry.run, *force, s).await,
    }
}

/// The path of a change, with what every change says beside it.
fn path(path: &str, dry_run: DryRun) -> String {
    target::query(&target::query(path, &[("fieldValidation", "Strict")]), dry_run.query())
}

async fn create_one(
    document: &Document,
    namespace: &str,
    dry_run: DryRun,
    word: &'static str,
    s: &Session,
) -> Result<Done, Fail> {
    if dry_run == DryRun::Client {
        return Ok(Done { object: document.value.clone(), word });
    }
    let path = path(&target::collection(document.kind, Some(namespace)), dry_run);
    let created = s.client.post(&path, &document.value).await;
    Ok(Done { object: created.map_err(|fail| not_created(document, fail))?, word })
}

/// kubectl has other words for what no file asked for, and none for a namespace.
fn not_created(document: &Document, fail: Fail) -> Fail {
    match (fail, document.source.as_str()) {
        (Fail::Refused(no), "") if document.kind != Kind::Namespace => {
            Fail::other(format!("failed to create {}: {}", document.kind.names().singular, no.message))
        }
        (fail, "") => fail,
        (fail, source) => fail.when(format!("error when creating {source:?}")),
    }
}

async fn replace_one(
    document: &Document,
    namespace: &str,
    dry_run: DryRun,
    force: bool,
    s: &mut Session,
) -> Result<Done, Fail> {
    let doing = |fail: Fail| fail.when(format!("error when replacing {:?}", document.source));
    if document.name().is_empty() {
        return Err(Fail::other(format!("error when replacing {:?}: metadata.name is needed", document.source)));
    }
    let object = target::object(document.kind, namespace, document.name());
    if dry_run == DryRun::Client {
        s.client.get(&object).await.map_err(doing)?;
        return Ok(Done { object: document.value.clone(), word: "replaced" });
    }
    if !force {
        let object = s.client.put(&path(&object, dry_run), &document.value).await.map_err(doing)?;
        return Ok(Done { object, word: "replaced" });
    }
    if let Some(old) = s.client.find(&object).await? {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"});
        s.client.delete(&path(&object, dry_run), &options).await.map_err(doing)?;
        s.out.line(&format!("{} {:?} deleted", target::singular(document.kind), document.name()))?;
        if dry_run == DryRun::None {
            let (kind, name) = (document.kind, document.name().to_string());
            let victim = Object { kind, namespace: namespace.to_string(), name };
            until_gone(&victim, text_at(&old, "/metadata/uid"), s).await?;
        }
    }
    create_one(document, namespace, dry_run, "replaced", s).await
}

/// Source: `kubectl/pkg/cmd/apply/patcher.go`.
async fn apply_one(document: &Document, namespace: &str, dry_run: DryRun, s: &Session) -> Result<Done, Fail> {
    if document.name().is_empty() {
        let generate = text_at(&document.value, "/metadata/generateName");
        return Err(Fail::other(format!("from {generate}: cannot use generate name with apply")));
    }
    let modified = with_last_applied(&document.value);
    let object = target::object(document.kind, namespace, document.name());
    let current = s.client.find(&object).await;
    let reading = |fail: Fail| fail.when(format!("error when retrieving the current state of {}", document.shown()));
    let Some(current) = current.map_err(reading)? else {
        let document = Document { value: modified, ..document.clone() };
        return create_one(&document, namespace, dry_run, "created", s).await;
    };
    let original = last_applied(&current);
    if original.is_none() && dry_run == DryRun::None {
        warn(&format!(
            "resource {}/{} is missing the {LAST_APPLIED} annotation which is required by pinnace apply. \
             pinnace apply should only be used on resources created by pinnace apply. \
             The missing annotation will be patched automatically.",
            document.kind.names().plural,
            document.name()
        ));
    }
    let patch = three_way(&original.unwrap_or_default(), &modified, &current);
    if patch.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(Done { object: current, word: "unchanged" });
    }
    if dry_run == DryRun::Client {
        return Ok(Done { object: modified, word: "configured" });
    }
    let patched = s.client.patch(&path(&object, dry_run), &patch).await;
    let object = patched.map_err(|fail| fail.when(format!("error when applying {:?}", document.source)))?;
    Ok(Done { object, word: "configured" })
}

/// The document with itself in the annotation, as kubectl writes it: keys in order, one line, with its end.
fn with_last_applied(document: &Value) -> Value {
    let mut bare = document.clone();
    map_mut(&mut bare, &["metadata", "annotations"]).shift_remove(LAST_APPLIED);
    let text = format!("{}\n", sorted(&bare));
    map_mut(&mut bare, &["metadata", "annotations"]).insert(LAST_APPLIED.into(), text.into());
    bare
}

/// What was applied last; none where nobody has.
fn last_applied(current: &Value) -> Option<Value> {
    let text = current["metadata"]["annotations"][LAST_APPLIED].as_str()?;
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_is_kept_as_kubectl_keeps_it() {
        let document = json!({"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "x", "annotations": {"a": "b", LAST_APPLIED: "old"}}});
        let kept = with_last_applied(&document);
        let text = kept["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
        assert_eq!(
            text,
            "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"annotations\":{\"a\":\"b\"},\"name\":\"x\"}}\n"
        );
        assert_eq!(last_applied(&kept).unwrap()["metadata"]["annotations"], json!({"a": "b"}));
        assert_eq!(last_applied(&json!({})), None);
        // Applied again, nothing is to be done.
        assert_eq!(three_way(&last_applied(&kept).unwrap(), &with_last_applied(&document), &kept), json!({}));
    }
}
