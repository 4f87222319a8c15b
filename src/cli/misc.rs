//! `version`, `completion`, `api-resources`, `store dump` and `debug trace`.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde_json::{Value, json};

use crate::model::Kind;

use super::Session;
use super::args::{Cli, CompletionArgs, Shell, VersionArgs};
use super::fail::Fail;
use super::json::text_at;
use super::output::{json_text, yaml};
use super::table::Rows;

pub async fn version(args: &VersionArgs, s: &mut Session) -> Result<(), Fail> {
    let own = concat!("v", env!("CARGO_PKG_VERSION"));
    let mut versions = json!({"clientVersion": {"gitVersion": own}});
    let asked = if args.client { Ok(Value::Null) } else { s.client.get("/version").await };
    if let Ok(node @ Value::Object(_)) = &asked {
        versions["serverVersion"] = node.clone();
    }
    let text = match args.output.as_deref() {
        None | Some("") => {
            let server = text_at(&versions, "/serverVersion/gitVersion");
            let server = if server.is_empty() { String::new() } else { format!("Server Version: {server}\n") };
            format!("Client Version: {own}\n{server}")
        }
        Some("json") => json_text(&versions),
        Some("yaml") => yaml(&versions)?,
        Some(_) => return Err(Fail::other("--output must be 'yaml' or 'json'")),
    };
    s.out.text(&text)?;
    asked.map(drop)
}

pub fn completion(args: &CompletionArgs, s: &mut Session) -> Result<(), Fail> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    match args.shell {
        Shell::Bash => clap_complete::generate(clap_complete::shells::Bash, &mut command, "pinnace", &mut script),
        Shell::Zsh => clap_complete::generate(clap_complete::shells::Zsh, &mut command, "pinnace", &mut script),
        Shell::Fish => clap_complete::generate(clap_complete::shells::Fish, &mut command, "pinnace", &mut script),
    }
    s.out.bytes(&script)
}

pub fn api_resources(s: &mut Session) -> Result<(), Fail> {
    let mut rows = vec![["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].map(str::to_string).to_vec()];
    rows.extend(Kind::SERVED.into_iter().map(|kind| {
        let names = kind.names();
        vec![
            names.plural.to_string(),
            names.short.join(","),
            kind.api_version(),
            names.namespaced.to_string(),
            names.kind.to_string(),
        ]
    }));
    let text = Rows::new(false).print(&rows);
    s.out.text(&text)
}

/// The database as the daemon prints it, line by line. `dir`: only if it is the one in there; else where it is.
pub async fn dump(dir: Option<&Path>, s: &mut Session) -> Result<Option<PathBuf>, Fail> {
    let mut stream = s.client.stream("/apis/pinnace.dev/v1/dump", "application/json-seq, */*").await?;
    if let Some(head) = stream.line().await? {
        let said: Value = serde_json::from_slice(&head).unwrap_or_default();
        let place = PathBuf::from(text_at(&said, "/data_dir"));
        let whole = |dir: &Path| dir.canonicalize().ok();
        if dir.is_some_and(|dir| whole(dir).is_none_or(|dir| whole(&place) != Some(dir))) {
            return Ok(Some(place));
        }
        s.out.bytes(&head)?;
    }
    while let Some(line) = stream.line().await? {
        s.out.bytes(&line)?;
    }
    Ok(None)
}

/// The loop's turns, as they happen, until the reader has seen enough.
pub async fn trace(s: &mut Session) -> Result<(), Fail> {
    let mut stream = s.client.stream("/apis/pinnace.dev/v1/trace", "application/json-seq, */*").await?;
    while let Some(line) = stream.line().await? {
        s.out.bytes(&line)?;
    }
    Ok(())
}
