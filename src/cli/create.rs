//! `create` without a file: a Job of a CronJob or of an image, a namespace, a ConfigMap, a Secret, as flags say.
//! Source: `kubectl/pkg/cmd/create`.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::model::Kind;

use super::args::{CreateArgs, CreateData, CreateJob, CreateSecret, CreateVerb, DryRun, How};
use super::fail::Fail;
use super::files::{self, Document};
use super::json::text_at;
use super::{Session, changes, target};

/// Marks a Job that a person has made of a CronJob; kubectl's own.
const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";

pub async fn run(args: &CreateArgs, s: &mut Session) -> Result<(), Fail> {
    let Some(what) = &args.what else { return changes::create_files(&args.file, s).await };
    if !args.file.files.filename.is_empty() || args.file.files.recursive {
        return Err(Fail::other("cannot set --filename and what is to be created at the same time"));
    }
    let outer = &args.file.how;
    match what {
        CreateVerb::Job(args) => {
            let how = args.how.over(outer);
            let namespace = s.namespace(&how.at);
            let job = job(args, &namespace, s).await?;
            send(Kind::Job, job, &how, s).await
        }
        CreateVerb::Namespace(args) => {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": args.name}});
            send(Kind::Namespace, namespace, &args.how.over(outer), s).await
        }
        CreateVerb::Configmap(args) => send(Kind::ConfigMap, config_map(args)?, &args.how.over(outer), s).await,
        CreateVerb::Secret(CreateSecret::Generic(args)) => {
            send(Kind::Secret, secret(args)?, &args.how.over(outer), s).await
        }
    }
}

impl How {
    /// What is said behind the kind goes before what is said in front of it.
    fn over(&self, outer: &How) -> How {
        let mut how = self.clone();
        if how.dry.run == DryRun::None {
            how.dry = outer.dry.clone();
        }
        how.output = how.output.or_else(|| outer.output.clone());
        how.at.namespace = how.at.namespace.or_else(|| outer.at.namespace.clone());
        how
    }
}

async fn send(kind: Kind, value: Value, how: &How, s: &mut Session) -> Result<(), Fail> {
    changes::create_document(Document { value, kind, source: String::new() }, how, s).await
}

// ---- Jobs ------------------------------------------------------------------------------------------------------------

async fn job(args: &CreateJob, namespace: &str, s: &Session) -> Result<Value, Fail> {
    match (args.image.as_deref(), args.from.as_deref()) {
        (Some(image), None) => Ok(job_of_image(&args.name, image, &args.command)),
        (None, Some(_)) if !args.command.is_empty() => Err(Fail::other("cannot specify --from and command")),
        (None, Some(from)) => {
            let named = from.contains('/').then(|| target::slashed(from)).transpose()?;
            let Some((Kind::CronJob, name)) = named else {
                return Err(Fail::other("from must be an existing cronjob"));
            };
            let cron_job = s.client.get(&target::object(Kind::CronJob, namespace, &name)).await?;
            Ok(job_of_cron_job(&args.name, &cron_job))
        }
        (None, None) | (Some(_), Some(_)) => Err(Fail::other("either --image or --from must be specified")),
    }
}

fn job_of_image(name: &str, image: &str, command: &[String]) -> Value {
    let mut container = json!({"name": name, "image": image});
    if !command.is_empty() {
        container["command"] = command.into();
    }
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
    })
}

/// The CronJob owns it, so that it counts for the history and goes with the CronJob.
fn job_of_cron_job(name: &str, cron_job: &Value) -> Value {
    let template = &cron_job["spec"]["jobTemplate"];
    let mut annotations = json!({INSTANTIATE: "manual"});
    if let (Some(all), Some(own)) = (annotations.as_object_mut(), template["metadata"]["annotations"].as_object()) {
        all.extend(own.clone());
    }
    let mut metadata = json!({"name": name, "annotations": annotations});
    if let labels @ Value::Object(_) = &template["metadata"]["labels"] {
        metadata["labels"] = labels.clone();
    }
    metadata["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
        "name": text_at(cron_job, "/metadata/name"), "uid": text_at(cron_job, "/metadata/uid"),
    }]);
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]})
}

// ---- data ------------------------------------------------------------------------------------------------------------

fn config_map(args: &CreateData) -> Result<Value, Fail> {
    let (mut texts, mut bytes) = (Map::new(), Map::new());
    for (key, value) in entries(args, "ConfigMap")? {
        match String::from_utf8(value) {
            Ok(text) => texts.insert(key, text.into()),
            Err(e) => bytes.insert(key, STANDARD.encode(e.as_bytes()).into()),
        };
    }
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": args.name}});
    for (field, entries) in [("data", texts), ("binaryData", bytes)] {
        if !entries.is_empty() {
            object[field] = entries.into();
        }
    }
    Ok(object)
}

fn secret(args: &CreateData) -> Result<Value, Fail> {
    let entries = entries(args, "Secret")?.into_iter();
    let data: Map<String, Value> = entries.map(|(key, value)| (key, STANDARD.encode(value).into())).collect();
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": args.name}, "type": "Opaque"});
    if !data.is_empty() {
        object["data"] = data.into();
    }
    Ok(object)
}

type Entries = Vec<(String, Vec<u8>)>;

/// What the flags ask for, each key once.
fn entries(args: &CreateData, kind: &str) -> Result<Entries, Fail> {
    let mut entries = Entries::new();
    for source in &args.from_file {
        entries.extend(of_file(source)?);
    }
    for source in &args.from_literal {
        entries.push(literal(source)?);
    }
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(entries),
        Some(twice) => Err(Fail::other(format!(
            "cannot add key {:?}, another key by that name already exists in Data for {kind} {:?}",
            twice[0], args.name
        ))),
    }
}

fn literal(source: &str) -> Result<(String, Vec<u8>), Fail> {
    match source.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.as_bytes().to_vec())),
        Some(_) | None => Err(Fail::other(format!("invalid literal source {source}, expected key=value"))),
    }
}

fn of_file(source: &str) -> Result<Entries, Fail> {
    let (key, path) = match source.split_once('=') {
        None => (None, Path::new(source)),
        Some(("", _)) => return Err(Fail::other(format!("key name for file path {source:?} missing"))),
        Some((_, "")) => return Err(Fail::other(format!("file path for key name {source:?} missing"))),
        Some((key, path)) => (Some(key), Path::new(path)),
    };
    match (key, path.is_dir()) {
        (None, true) => files::plain_files(path)?.iter().map(|file| Ok((own_name(file)?, content(file)?))).collect(),
        (Some(_), true) => Err(Fail::other("cannot give a key name for a directory path")),
        (None, false) => Ok(vec![(own_name(path)?, content(path)?)]),
        (Some(key), false) => Ok(vec![(key.to_string(), content(path)?)]),
    }
}

fn own_name(path: &Path) -> Result<String, Fail> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_string).ok_or_else(|| Fail::other(format!("{} has no name for a key", path.display())))
}

fn content(path: &Path) -> Result<Vec<u8>, Fail> {
    files::read_file(path).map(|(_, content)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_cut_at_its_first_equals_sign() {
        assert_eq!(literal("a=b=c").unwrap(), ("a".to_string(), b"b=c".to_vec()));
        assert_eq!(literal("a=").unwrap(), ("a".to_string(), Vec::new()));
        for bad in ["a", "=b", ""] {
            let expected = format!("error: invalid literal source {bad}, expected key=value");
            assert_eq!(literal(bad).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_file_goes_under_its_own_name_or_a_given_one() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("b.conf", "two"), ("a.conf", "one")] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        std::fs::create_dir(directory.path().join("sub")).unwrap();
        let (root, pair) = (directory.path().display(), |key: &str, text: &str| (key.to_string(), text.into()));
        assert_eq!(of_file(&format!("{root}/a.conf")).unwrap(), [pair("a.conf", "one")]);
        assert_eq!(of_file(&format!("k={root}/a.conf")).unwrap(), [pair("k", "one")]);
        assert_eq!(of_file(&format!("{root}")).unwrap(), [pair("a.conf", "one"), pair("b.conf", "two")]);
        for bad in [format!("k={root}"), format!("={root}/a.conf"), "k=".into(), format!("{root}/nope")] {
            assert!(of_file(&bad).is_err(), "{bad}");
        }
    }
}
