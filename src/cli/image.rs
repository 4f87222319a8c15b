//! `image`: directories that pods may use under an image's name.

use serde_json::{Value, json};

use crate::model::Kind;
use crate::model::image::{normal_reference, object_name};

use super::args::{ImageAdd, ImageRm};
use super::fail::Fail;
use super::json::{list_at, text_at};
use super::table::Rows;
use super::{Session, duration, target};

/// Adds an image, or changes the one of that name.
pub async fn add(args: &ImageAdd, s: &mut Session) -> Result<(), Fail> {
    let reference = normal_reference(&args.name);
    let name = object_name(&args.name);
    if name.is_empty() {
        return Err(Fail::other(format!("{:?} is no name of an image", args.name)));
    }
    let path = target::object(Kind::Image, "", &name);
    let image = json!({
        "apiVersion": "pinnace.dev/v1", "kind": "Image", "metadata": {"name": name}, "spec": spec(args, &reference)?,
    });
    let word = match s.client.find(&path).await? {
        None => {
            s.client.post(&target::collection(Kind::Image, None), &image).await?;
            "added"
        }
        Some(old) if text_at(&old, "/spec/reference") != reference => {
            let other = text_at(&old, "/spec/reference");
            return Err(Fail::other(format!(
                "{reference} and {other} would both be kept as {name:?}; remove {other} first"
            )));
        }
        Some(_) => {
            s.client.put(&path, &image).await?;
            "changed"
        }
    };
    s.out.line(&format!("image {reference} {word}"))
}

fn spec(args: &ImageAdd, reference: &str) -> Result<Value, Fail> {
    let shown = args.directory.display();
    let directory = args.directory.canonicalize().map_err(|e| Fail::other(format!("the directory {shown}: {e}")))?;
    if !directory.is_dir() {
        return Err(Fail::other(format!("{shown} is no directory; an image is the root of a file system")));
    }
    let directory = directory.to_str().ok_or_else(|| Fail::other(format!("{shown}: the path must be UTF-8")))?;
    if let Some(bad) = args.env.iter().find(|e| e.split_once('=').is_none_or(|(name, _)| name.is_empty())) {
        return Err(Fail::other(format!("--env {bad:?} must be NAME=VALUE")));
    }
    Ok(json!({
        "reference": reference,
        "directory": directory,
        "entrypoint": words(&args.entrypoint).map_err(|why| Fail::other(format!("--entrypoint: {why}")))?,
        "cmd": words(&args.cmd).map_err(|why| Fail::other(format!("--cmd: {why}")))?,
        "env": args.env,
        "workingDir": args.workdir,
    }))
}

pub async fn list(s: &mut Session) -> Result<(), Fail> {
    let list = s.client.get(&target::collection(Kind::Image, None)).await?;
    let images = list_at(&list, "/items");
    if images.is_empty() {
        super::term::say("No images found. Add one with `pinnace image add NAME DIR`.");
        return Ok(());
    }
    let mut rows = vec![["REFERENCE", "DIRECTORY", "ENTRYPOINT", "AGE"].map(str::to_string).to_vec()];
    rows.extend(images.iter().map(row));
    let text = Rows::new(false).print(&rows);
    s.out.text(&text)
}

fn row(image: &Value) -> Vec<String> {
    let entrypoint = list_at(image, "/spec/entrypoint").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    vec![
        text_at(image, "/spec/reference").to_string(),
        text_at(image, "/spec/directory").to_string(),
        if entrypoint.is_empty() { "<none>".into() } else { entrypoint },
        duration::age(text_at(image, "/metadata/creationTimestamp")),
    ]
}

pub async fn remove(args: &ImageRm, s: &mut Session) -> Result<(), Fail> {
    for name in &args.name {
        let reference = normal_reference(name);
        let path = target::object(Kind::Image, "", &object_name(name));
        match s.client.find(&path).await? {
            Some(image) if text_at(&image, "/spec/reference") == reference => {
                s.client.delete(&path, &json!({"kind": "DeleteOptions", "apiVersion": "v1"})).await?;
                s.out.line(&format!("image {reference} removed"))?;
            }
            Some(_) | None => s.report(&Fail::other(format!("there is no image {reference}"))),
        }
    }
    Ok(())
}

/// A line as words: a JSON list, or cut at spaces where quotes and backslashes keep together what they hold.
fn words(line: &str) -> Result<Vec<String>, String> {
    if line.trim_start().starts_with('[') {
        return serde_json::from_str(line).map_err(|e| format!("{line} is no JSON list of texts: {e}"));
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => {
                word.get_or_insert_default().push(chars.next().ok_or("ends with a backslash")?);
            }
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("{line}: a quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        assert_eq!(words(line).unwrap(), expected, "{line}");
    }

    #[test]
    fn a_line_is_cut_as_in_a_shell_or_read_as_json() {
        check("", &[]);
        check("  ", &[]);
        check("/bin/sh -c 'sleep 1; date'", &["/bin/sh", "-c", "sleep 1; date"]);
        check(r#"a"b c"d '' "\"" \ x"#, &["ab cd", "", "\"", " x"]);
        check(r#"["/bin/sh", "a b"]"#, &["/bin/sh", "a b"]);
        for bad in ["'a", "\"a", "a\\", "[1]", "[\"a\"", "[\"a\"] x"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }
}
