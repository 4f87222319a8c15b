//! Manifests from files, directories and standard input, each looked through before anything of it is sent.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::manifest::{self, Strictness};
use crate::model::{Cause, Failure, Kind, Reason, sorted};

use super::Session;
use super::args::{FromFiles, Namespace};
use super::fail::Fail;
use super::json::{map_mut, text_at};
use super::target::{self, Object, kind_of_document};
use super::term::warn;

/// One object that a file asks for.
#[derive(Debug, Clone)]
pub struct Document {
    /// As the stable version of its kind says it.
    pub value: Value,
    pub kind: Kind,
    /// The file, as messages name it.
    pub source: String,
}

/// How far a document is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// As the node will: every field.
    Whole,
    /// Only that it names an object: what is to be deleted or shown need not be valid any more.
    NamesOnly,
}

/// In a directory only these are manifests; a file that is named is one whatever its ending.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];
/// Directories within directories.
const DEPTH_MAX: usize = 32;

/// All documents of some files that are good, in order, and what is wrong with the others.
pub fn read(names: &[String], recursive: bool, check: Check) -> (Vec<Document>, Vec<Fail>) {
    let (mut documents, mut fails) = (Vec::new(), Vec::new());
    for name in names {
        let texts = if name == "-" { standard_input() } else { texts(Path::new(name), recursive) };
        for text in texts {
            match text {
                Ok((source, text)) => read_text(&source, &text, check, &mut documents, &mut fails),
                Err(fail) => fails.push(fail),
            }
        }
    }
    if documents.is_empty() && fails.is_empty() {
        fails.push(Fail::other("no objects passed to pinnace: the files hold no documents"));
    }
    (documents, fails)
}

/// The objects that files name. What is wrong with a file is told.
pub fn objects(from: &FromFiles, at: &Namespace, s: &mut Session) -> Vec<Object> {
    let (documents, fails) = read(&from.filename, from.recursive, Check::NamesOnly);
    fails.iter().for_each(|fail| s.report(fail));
    let given = at.namespace.clone().or_else(|| s.namespace.clone());
    let mut objects = Vec::new();
    for document in documents {
        match document.place(given.as_deref()) {
            Ok(namespace) => objects.push(Object { kind: document.kind, namespace, name: document.name().to_string() }),
            Err(fail) => s.report(&fail),
        }
    }
    objects
}

pub type Text = Result<(String, Vec<u8>), Fail>;

fn standard_input() -> Vec<Text> {
    let text = bounded(std::io::stdin().lock());
    vec![
        text.map(|text| ("STDIN".to_string(), text))
            .map_err(|e| Fail::other(format!("cannot read standard input: {e}"))),
    ]
}

/// The most that is read of one file. More than a manifest may have, so that a message can tell how long it is, and
/// little enough that an endless file does no harm.
const READ_BYTES_MAX: u64 = 64 << 20;

fn bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(READ_BYTES_MAX).read_to_end(&mut text).map(|_| text)
}

fn texts(path: &Path, recursive: bool) -> Vec<Text> {
    if !path.is_dir() {
        return vec![read_file(path)];
    }
    let mut files = Vec::new();
    match list(path, recursive, 0, &mut files) {
        Ok(()) if files.is_empty() => vec![Err(Fail::other(format!(
            "error reading {}: recognized file extensions are [.json .yaml .yml]",
            path.display()
        )))],
        Ok(()) => files.iter().map(|file| read_file(file)).collect(),
        Err(fail) => vec![Err(fail)],
    }
}

/// The manifests in a directory, by name.
fn list(directory: &Path, recursive: bool, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Fail> {
    for path in entries(directory)? {
        if path.is_dir() {
            if recursive && depth < DEPTH_MAX {
                list(&path, recursive, depth + 1, files)?;
            }
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDINGS.contains(&e)) {
            files.push(path);
        }
    }
    Ok(())
}

/// The files in a directory, by name; not what lies deeper.
pub fn plain_files(directory: &Path) -> Result<Vec<PathBuf>, Fail> {
    let mut paths = entries(directory)?;
    paths.retain(|path| path.is_file());
    Ok(paths)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Fail> {
    let failed = |e: std::io::Error| Fail::other(format!("cannot read the directory {}: {e}", directory.display()));
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    sorted::by(&mut paths, Ord::cmp);
    Ok(paths)
}

/// A file's name, as messages give it, and what it holds.
pub fn read_file(path: &Path) -> Text {
    let name = path.display().to_string();
    let text = std::fs::File::open(path).and_then(bounded).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound if name.starts_with("https://") || name.starts_with("http://") => Fail::other(
            format!("the path {name:?} does not exist: addresses are not fetched; curl -fsSL URL | pinnace … -f -"),
        ),
        std::io::ErrorKind::NotFound => Fail::other(format!("the path {name:?} does not exist")),
        _ => Fail::other(format!("cannot read {name}: {e}")),
    })?;
    Ok((name, text))
}

fn read_text(source: &str, text: &[u8], check: Check, documents: &mut Vec<Document>, fails: &mut Vec<Fail>) {
    let values = match manifest::read_stream(text) {
        Ok(values) => values,
        Err(failure) => return fails.push(told(source, &failure)),
    };
    // The whole text first: it alone knows the lines. Where it is not good, each document is asked for itself.
    let mut whole = match check {
        Check::Whole => manifest::decode_stream(text, "default").err(),
        Check::NamesOnly => None,
    };
    let is_whole_good = whole.is_none();
    for (value, line) in values {
        if check == Check::Whole
            && !is_whole_good
            && let Err(failure) = check_alone(&value)
        {
            // The first failure of the whole is that of the first bad document.
            let failure = whole.take().unwrap_or_else(|| at_line(failure, line));
            fails.push(told(source, &failure));
            continue;
        }
        match Document::new(source, value, check) {
            Ok(document) => documents.push(document),
            Err(fail) => fails.push(fail),
        }
    }
    // What is wrong with the whole and with no document by itself: an object that is there twice.
    if let Some(failure) = whole {
        fails.push(told(source, &failure));
    }
}

fn check_alone(value: &Value) -> Result<(), Failure> {
    let namespace = text_at(value, "/metadata/namespace");
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    manifest::decode_value(value.clone(), None, namespace, Strictness::Strict).map(drop)
}

fn at_line(failure: Failure, line: usize) -> Failure {
    let causes = failure.causes.into_iter().map(|c| Cause { message: format!("{} (line {line})", c.message), ..c });
    Failure { message: format!("{} (line {line})", failure.message), causes: causes.collect(), ..failure }
}

/// A refusal in kubectl's words, with the file where the text had a line alone.
fn told(source: &str, failure: &Failure) -> Fail {
    let placed = |text: &str| text.replace("(line ", &format!("({source}:"));
    match (failure.reason, failure.kind) {
        (Reason::Invalid, Some(kind)) if !failure.causes.is_empty() => {
            let lines: Vec<String> = failure.causes.iter().map(|cause| placed(&lined(failure, cause))).collect();
            let text = match lines.as_slice() {
                [one] => one.clone(),
                many => many.iter().map(|line| format!("\n* {line}")).collect(),
            };
            Fail::Told(format!("The {kind} {:?} is invalid: {text}", failure.name))
        }
        (_, _) => Fail::other(format!("error validating {source:?}: {}", placed(&failure.message))),
    }
}

/// A cause with the line that only the whole message has.
fn lined(failure: &Failure, cause: &Cause) -> String {
    let text = format!("{}: {}", cause.field, cause.message);
    let rest = failure.message.split_once(&text).map_or("", |(_, rest)| rest);
    let line = rest.strip_prefix(" (line ").and_then(|r| r.split_once(')')).map(|(line, _)| format!(" (line {line})"));
    format!("{text}{}", line.unwrap_or_default())
}

/// Puts `stringData` into `data`, as the node does: what is shown has no `stringData`, and an unchanged Secret would
/// look changed.
fn encode_string_data(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|s| s.shift_remove("stringData")) else { return };
    let data = map_mut(secret, &["data"]);
    for (key, text) in texts {
        data.insert(key, STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
}

impl Document {
    fn new(source: &str, value: Value, check: Check) -> Result<Document, Fail> {
        let (mut value, warning) = manifest::to_stable(value);
        if let (Some(warning), Check::Whole) = (warning, check) {
            warn(&warning);
        }
        let (api_version, kind) = (text_at(&value, "/apiVersion"), text_at(&value, "/kind"));
        let Some(kind) = kind_of_document(api_version, kind) else {
            return Err(Fail::other(format!(
                "unable to recognize {source:?}: no matches for kind {kind:?} in version {api_version:?}"
            )));
        };
        if kind == Kind::Secret {
            encode_string_data(&mut value);
        }
        let document = Document { value, kind, source: source.to_string() };
        if document.name().is_empty() && text_at(&document.value, "/metadata/generateName").is_empty() {
            return Err(Fail::other(format!("error when reading {source:?}: {kind} has no metadata.name")));
        }
        Ok(document)
    }

    /// Empty when the name is to be generated.
    pub fn name(&self) -> &str {
        text_at(&self.value, "/metadata/name")
    }

    /// The namespace it is for; empty for kinds without one. `given` is the one on the command line.
    ///
    /// # Errors
    /// When the document names another.
    pub fn place(&self, given: Option<&str>) -> Result<String, Fail> {
        let own = text_at(&self.value, "/metadata/namespace");
        match given {
            _ if !self.kind.names().namespaced => Ok(String::new()),
            Some(given) if !own.is_empty() && own != given => Err(Fail::other(format!(
                "the namespace from the provided object {own:?} does not match the namespace {given:?}. You must pass '--namespace={own}' to perform this operation."
            ))),
            Some(given) => Ok(given.to_string()),
            None if own.is_empty() => Ok("default".into()),
            None => Ok(own.to_string()),
        }
    }

    /// `job.batch/x`.
    pub fn shown(&self) -> String {
        format!("{}/{}", target::singular(self.kind), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: NAME}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {name: main, command: [\"true\"]}\n";

    /// The names that were good, and what was said of the others.
    #[track_caller]
    fn check(text: &str, names: &[&str], said: &[&str]) {
        let (mut documents, mut fails) = (Vec::new(), Vec::new());
        read_text("f.yaml", text.as_bytes(), Check::Whole, &mut documents, &mut fails);
        let found: Vec<&str> = documents.iter().map(Document::name).collect();
        assert_eq!(found, names, "{fails:?}");
        let fails: Vec<String> = fails.iter().map(Fail::to_string).collect();
        assert_eq!(fails.len(), said.len(), "{fails:?}");
        for (fail, said) in fails.iter().zip(said) {
            assert!(fail.contains(said), "{fail}");
        }
    }

    fn job(name: &str) -> String {
        JOB.replace("NAME", name)
    }

    #[test]
    fn good_documents_go_on_and_bad_ones_are_told_with_their_line() {
        check(&job("a"), &["a"], &[]);
        check(&format!("{}---\n{}", job("a"), job("b")), &["a", "b"], &[]);
        check(
            &job("a").replace("command", "comand"),
            &[],
            &[
                "error: error validating \"f.yaml\": Job in version \"v1\" cannot be handled as a Job: strict decoding error: unknown field \"spec.template.spec.containers[0].comand\" (f.yaml:9",
            ],
        );
        check(
            &job("a").replace("Never", "Always"),
            &[],
            &["The Job \"a\" is invalid: spec.template.spec.restartPolicy: "],
        );
        let bad = job("b").replace("command", "comand");
        check(&format!("{}---\n{bad}---\n{}", job("a"), job("c")), &["a", "c"], &["(f.yaml:"]);
        check(&format!("{bad}---\n{}---\n{bad}", job("a")), &["a"], &["unknown field", "unknown field"]);
        check("kind: [", &[], &["error: error validating \"f.yaml\""]);
        check(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
            &[],
            &["no matches for kind \"Deployment\""],
        );
        check("", &[], &[]);
    }

    #[test]
    fn an_older_version_becomes_the_stable_one() {
        let text = "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: c}\nspec: {schedule: '* * * * *', startingDeadlineSecond: 15, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, command: [x]}]}}}}}\n";
        let (mut documents, mut fails) = (Vec::new(), Vec::new());
        read_text("f", text.as_bytes(), Check::Whole, &mut documents, &mut fails);
        assert_eq!(documents[0].value["apiVersion"], "batch/v1", "{fails:?}");
        assert_eq!(documents[0].value["spec"]["startingDeadlineSeconds"], 15);
    }

    #[test]
    fn a_document_belongs_where_it_says_or_where_the_command_line_says() {
        let of = |namespace: &str| Document {
            value: serde_json::json!({"metadata": {"name": "x", "namespace": namespace}}),
            kind: Kind::Job,
            source: "f".into(),
        };
        assert_eq!(of("").place(None).unwrap(), "default");
        assert_eq!(of("a").place(None).unwrap(), "a");
        assert_eq!(of("").place(Some("b")).unwrap(), "b");
        assert!(of("a").place(Some("b")).unwrap_err().to_string().contains("--namespace=a"));
    }
}
