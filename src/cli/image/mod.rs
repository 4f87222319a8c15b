//! `image`: what pods may use under an image's name. Here: registered directories; `bring` moves archives, `show` looks.

mod bring;
mod show;

use serde_json::{Value, json};

use crate::model::Kind;
use crate::model::image::{Reference, normal_reference, object_name};

use super::args::ImageAdd;
use super::fail::Fail;
use super::json::text_at;
use super::{Session, target};

pub use bring::{PIECES_MAX, Parts, STDIN, export, import, pull, send};
pub use show::{inspect, list, prune, remove, resolve};

/// Adds an image, or changes the one of that name.
pub async fn add(args: &ImageAdd, s: &mut Session) -> Result<(), Fail> {
    // A name that no pod may give (`InvalidImageName`) would lie there unused.
    Reference::parse(&args.name).map_err(Fail::other)?;
    let reference = normal_reference(&args.name);
    let name = object_name(&args.name);
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
    check_env(&args.env)?;
    Ok(json!({
        "reference": reference,
        "directory": directory,
        "entrypoint": flag_words("--entrypoint", &args.entrypoint)?,
        "cmd": flag_words("--cmd", &args.cmd)?,
        "env": args.env,
        "workingDir": args.workdir,
    }))
}

fn check_env(env: &[String]) -> Result<(), Fail> {
    match env.iter().find(|e| e.split_once('=').is_none_or(|(name, _)| name.is_empty())) {
        Some(bad) => Err(Fail::other(format!("--env {bad:?} must be NAME=VALUE"))),
        None => Ok(()),
    }
}

fn flag_words(flag: &str, line: &str) -> Result<Vec<String>, Fail> {
    words(line).map_err(|why| Fail::other(format!("{flag}: {why}")))
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
