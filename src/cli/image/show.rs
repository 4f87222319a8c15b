//! What images the node has; and which go.

use serde_json::{Value, json};

use crate::model::Kind;
use crate::model::image::{normal_reference, short_id, size_text};
use crate::model::sorted;

use super::super::args::{ImageName, ImageRm};
use super::super::fail::Fail;
use super::super::json::{list_at, text_at};
use super::super::table::Rows;
use super::super::{Session, duration, target, term};

pub async fn list(s: &mut Session) -> Result<(), Fail> {
    let images = all(s).await?;
    if images.is_empty() {
        term::say("No images found. Bring one with `pinnace image import FILE` or `pinnace image pull NAME`.");
        return Ok(());
    }
    let mut rows = vec![["REFERENCE", "IMAGE ID", "SIZE", "SOURCE", "AGE"].map(str::to_string).to_vec()];
    rows.extend(images.iter().map(row));
    let text = Rows::new(false).print(&rows);
    s.out.text(&text)
}

async fn all(s: &Session) -> Result<Vec<Value>, Fail> {
    let list = s.client.get(&target::collection(Kind::Image, None)).await?;
    Ok(list_at(&list, "/items").to_vec())
}

fn row(image: &Value) -> Vec<String> {
    let or_none = |text: &str| if text.is_empty() { "<none>".to_string() } else { text.to_string() };
    let source = match text_at(image, "/status/origin") {
        "" => text_at(image, "/spec/directory").to_string(),
        origin => origin.to_lowercase(),
    };
    vec![
        or_none(text_at(image, "/spec/reference")),
        or_none(short_id(text_at(image, "/status/id"))),
        size(image).map_or_else(|| or_none(""), size_text),
        source,
        duration::age(text_at(image, "/metadata/creationTimestamp")),
    ]
}

/// None: a directory.
fn size(image: &Value) -> Option<u64> {
    image.pointer("/status/sizeBytes")?.as_u64()
}

/// What a person calls it in messages.
pub fn shown(image: &Value) -> String {
    match text_at(image, "/spec/reference") {
        "" => text_at(image, "/status/id").to_string(),
        reference => reference.to_string(),
    }
}

/// The image that a word means: a reference, or the first digits of an ID that only one image has.
pub async fn find(word: &str, s: &Session) -> Result<Value, Fail> {
    match among(&all(s).await?, word)? {
        Some(image) => Ok(image.clone()),
        None => Err(Fail::other(format!("there is no image {}", normal_reference(word)))),
    }
}

/// Puts the names of objects where images were named in another way. A word that means no image stays, so that the node's
/// answer has it as it was typed.
pub async fn resolve(mut named: Vec<(Kind, String)>, s: &Session) -> Result<Vec<(Kind, String)>, Fail> {
    if named.iter().all(|(kind, _)| *kind != Kind::Image) {
        return Ok(named);
    }
    let images = all(s).await?;
    for (_, word) in named.iter_mut().filter(|(kind, _)| *kind == Kind::Image) {
        let is_name = images.iter().any(|image| text_at(image, "/metadata/name") == word);
        if let (false, Some(image)) = (is_name, among(&images, word)?) {
            *word = text_at(image, "/metadata/name").to_string();
        }
    }
    Ok(named)
}

fn among<'i>(images: &'i [Value], word: &str) -> Result<Option<&'i Value>, Fail> {
    let reference = normal_reference(word);
    let named = images.iter().find(|image| normal_reference(text_at(image, "/spec/reference")) == reference);
    if named.is_some() {
        return Ok(named);
    }
    let digits = word.strip_prefix("sha256:").unwrap_or(word);
    let has =
        |image: &&Value| text_at(image, "/status/id").strip_prefix("sha256:").is_some_and(|id| id.starts_with(digits));
    let mut found: Vec<&Value> = images.iter().filter(|image| digits.len() >= 4 && has(image)).collect();
    found.dedup_by_key(|image| text_at(image, "/status/id"));
    match found.as_slice() {
        [image] => Ok(Some(image)),
        [] => Ok(None),
        _ => Err(Fail::other(format!("{word} is the beginning of more than one image's ID; give more digits"))),
    }
}

pub async fn inspect(args: &ImageName, s: &mut Session) -> Result<(), Fail> {
    let image = find(&args.name, s).await?;
    let text = serde_json::to_string_pretty(&image).map_err(|e| Fail::other(format!("cannot write JSON: {e}")))?;
    s.out.line(&text)
}

pub async fn remove(args: &ImageRm, s: &mut Session) -> Result<(), Fail> {
    for name in &args.name {
        if let Err(fail) = remove_one(name, s).await {
            s.report(&fail);
        }
    }
    Ok(())
}

async fn remove_one(name: &str, s: &mut Session) -> Result<(), Fail> {
    let image = find(name, s).await?;
    let path = target::object(Kind::Image, "", text_at(&image, "/metadata/name"));
    s.client.delete(&path, &json!({"kind": "DeleteOptions", "apiVersion": "v1"})).await?;
    s.out.line(&format!("image {} removed", shown(&image)))
}

pub async fn prune(s: &mut Session) -> Result<(), Fail> {
    let before = all(s).await?;
    s.client.post("/apis/pinnace.dev/v1/prune", &Value::Null).await?;
    let after = all(s).await?;
    let name = |image: &Value| text_at(image, "/metadata/name").to_string();
    let left: Vec<String> = after.iter().map(name).collect();
    for image in before.iter().filter(|image| !left.contains(&name(image))) {
        s.out.line(&format!("image {} removed", shown(image)))?;
    }
    let freed = taken(&before).saturating_sub(taken(&after));
    s.out.line(&format!("{} freed", size_text(freed)))
}

/// Bytes of all layers, each counted once.
fn taken(images: &[Value]) -> u64 {
    let layers = images.iter().flat_map(|image| list_at(image, "/status/layers"));
    let sizes = layers.filter_map(|l| Some((l.get("diffID")?.as_str()?, l.get("sizeBytes")?.as_u64()?)));
    sorted::map(sizes).values().sum()
}
