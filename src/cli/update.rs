//! `update`: has the node try another version of pinnace and follows what becomes of it, through the change of the daemon.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::model::Kind;
use crate::model::sorted;
use crate::model::update::{Last, Outcome, Program, UpdateStatus, Versions, Which, is_sha256};

use super::args::UpdateArgs;
use super::client::{Stream, escape};
use super::fail::{Fail, Status};
use super::image::{PIECES_MAX, Parts, STDIN, send};
use super::json::{list_at, text_at};
use super::term::{Bar, Progress};
use super::{Session, duration, target};

const PATH: &str = "/apis/pinnace.dev/v1/update";
/// A signature has 300 bytes.
const SIGNATURE_BYTES_MAX: u64 = 16 << 10;
/// How often the node is asked how the trial goes.
const PACE: Duration = Duration::from_millis(250);
/// Beyond the time of its starts: what a service manager waits between them, and what ends a version that hangs.
const PATIENCE: Duration = Duration::from_secs(300);

pub async fn run(args: &UpdateArgs, s: &mut Session) -> Result<(), Fail> {
    let within = duration::parse(&args.within).map_err(|why| Fail::other(format!("--within: {why}")))?;
    let before = running(s).await;
    let stream = match &args.from {
        Some(from) => bring(from, args, within, s).await?,
        None if args.undo => {
            let (_, nothing) = mpsc::channel(1);
            s.client.upload(&format!("{PATH}/undo?within_s={}", within.as_secs()), nothing).await?
        }
        None => return show(s).await,
    };
    let title = args.from.as_deref().map_or_else(|| "going back".to_string(), |from| format!("update from {from}"));
    let Some(to) = follow(stream, Bar::start(title), s).await? else { return Ok(()) };
    if args.no_wait {
        return s.out.line(&format!("pinnace {to} is being tried; `pinnace update` shows what becomes of it"));
    }
    settle(&to, within, &before, s).await
}

async fn status(s: &Session) -> Result<UpdateStatus, Fail> {
    let told = s.client.get(PATH).await?;
    serde_json::from_value(told).map_err(|e| Fail::other(format!("the node tells of its versions in other words: {e}")))
}

/// Which version is in force, which is on trial, and what became of the last one.
async fn show(s: &mut Session) -> Result<(), Fail> {
    let UpdateStatus { running, versions } = status(s).await?;
    let mut lines = vec![("Running", running.to_string())];
    let or_none = |program: Option<&Program>| program.map_or_else(|| "<none>".to_string(), Program::to_string);
    if let Some(Versions { in_force, before, trial, last, .. }) = &versions {
        lines.push(("In force", in_force.to_string()));
        lines.push(("Before", or_none(before.as_ref())));
        if let Some(trial) = trial {
            let broker = if trial.needs_broker { ", must reach the broker" } else { "" };
            let text = format!("{}, start {}, within {} s{broker}", trial.program, trial.starts, trial.within_s);
            lines.push(("On trial", text));
        }
        if let Some(last) = last {
            lines.push(("Last", format!("{}, {}", sentence(last), last.at.rfc3339())));
        }
    }
    let text: String = lines.iter().map(|(name, value)| format!("{:<10}{value}\n", format!("{name}:"))).collect();
    s.out.text(&text)
}

fn sentence(last: &Last) -> String {
    match &last.outcome {
        Outcome::Confirmed => format!("{} came into force", last.tried),
        Outcome::Returned(why) => format!("{} gave way to {}: {why}", last.tried, last.now),
    }
}

async fn bring(from: &str, args: &UpdateArgs, within: Duration, s: &Session) -> Result<Stream, Fail> {
    if let Some(bad) = args.sha256.as_deref().filter(|sha256| !is_sha256(&sha256.to_ascii_lowercase())) {
        return Err(Fail::other(format!("--sha256 must have 64 hexadecimal digits, is {bad:?}")));
    }
    known_scheme("--from", from)?;
    let (size, body) = if is_url(from) { (None, nothing()) } else { open(from)? };
    let mut pairs = vec![("within_s", within.as_secs().to_string())];
    pairs.extend(is_url(from).then(|| ("from", from.to_string())));
    pairs.extend(size.map(|size| ("size", size.to_string())));
    pairs.extend(args.sha256.clone().map(|sha256| ("sha256", sha256)));
    pairs.extend(args.signature.as_deref().map(signature).transpose()?);
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    s.client.upload(&format!("{PATH}?{}", query.join("&")), body).await
}

/// # Errors
/// It is an address from which nothing can be brought.
fn known_scheme(flag: &str, from: &str) -> Result<(), Fail> {
    if from.contains("://") && !is_url(from) && !Path::new(from).exists() {
        let text = format!("{flag} {from}: an address begins with http:// or https://; all else is a file");
        return Err(Fail::other(text));
    }
    Ok(())
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.to_ascii_lowercase().starts_with(scheme))
}

type Body = mpsc::Receiver<io::Result<Bytes>>;

fn nothing() -> Body {
    mpsc::channel(1).1
}

/// The file as it is read, on a thread of its own.
fn open(from: &str) -> Result<(Option<u64>, Body), Fail> {
    let (sender, body) = mpsc::channel(PIECES_MAX);
    if from == STDIN {
        spawn_blocking(move || send(io::stdin(), &sender));
        return Ok((None, body));
    }
    let file = File::open(from).map_err(|e| Fail::other(format!("open {from}: {e}")))?;
    let about = file.metadata().map_err(|e| Fail::other(format!("look at {from}: {e}")))?;
    if about.is_dir() {
        return Err(Fail::other(format!("{from} is a directory; give the program or the release's .tar.gz")));
    }
    spawn_blocking(move || send(file, &sender));
    Ok((about.is_file().then_some(about.len()), body))
}

fn signature(from: &str) -> Result<(&'static str, String), Fail> {
    known_scheme("--signature", from)?;
    if is_url(from) {
        return Ok(("signature_from", from.to_string()));
    }
    let read = std::fs::metadata(from).and_then(|about| match about.len() {
        0..=SIGNATURE_BYTES_MAX => std::fs::read_to_string(from),
        _ => Err(io::Error::other("it is too large for a signature")),
    });
    read.map(|text| ("signature", text)).map_err(|e| Fail::other(format!("--signature {from}: {e}")))
}

/// What is to be tried, once the node gives way to it; none: that very program is in force.
async fn follow(mut stream: Stream, bar: Bar, s: &mut Session) -> Result<Option<Program>, Fail> {
    while let Some(line) = stream.line().await? {
        let news: Value = serde_json::from_slice(&line)
            .map_err(|e| Fail::other(format!("the node told of the update in no JSON: {e}")))?;
        if let Some(progress) = news.get("progress") {
            // One thing after the other: each has the whole bar.
            let mut parts = Parts::default();
            parts.hear(progress);
            bar.set(parts.part(), parts.text());
        } else if let Some(checked) = news.get("checked") {
            bar.clear();
            let program = program(&checked["program"])?;
            let signed = checked["signedBy"].as_str().map(|by| format!(", signed by {by:?}")).unwrap_or_default();
            s.out.line(&format!("pinnace {program} is whole: sha256:{}{signed}", text_at(checked, "/sha256")))?;
        } else if let Some(same) = news.get("same") {
            bar.clear();
            s.out.line(&format!("pinnace {} is in force already", program(same)?))?;
            return Ok(None);
        } else if let Some(switching) = news.get("switching") {
            bar.clear();
            let (from, to) = (program(&switching["from"])?, program(&switching["to"])?);
            s.out.line(&format!("switching from {from} to {to}"))?;
            return Ok(Some(to));
        } else if let Some(status) = news.get("status") {
            return Err(Fail::Refused(Box::new(Status::from_value(500, status))));
        }
    }
    Err(Fail::other("the node ended the update without a word; see its log, and `pinnace update`"))
}

fn program(value: &Value) -> Result<Program, Fail> {
    serde_json::from_value(value.clone())
        .map_err(|e| Fail::other(format!("the node tells of a program in other words: {e}")))
}

/// Waits until the program has proved itself or has given way, while daemons come and go.
async fn settle(to: &Program, within: Duration, before: &BTreeSet<String>, s: &mut Session) -> Result<(), Fail> {
    let bar = Progress::start(format!("waiting until pinnace {to} has proved itself"));
    let until = Instant::now() + within * 2 + PATIENCE;
    let versions = loop {
        // Between two daemons nobody answers; one that has just started knows nothing of its node yet.
        if let Ok(UpdateStatus { versions: Some(versions), running }) = status(s).await
            && versions.trial.is_none()
            && versions.in_force.which == running.which
        {
            break versions;
        }
        if Instant::now() > until {
            return Err(Fail::other(format!(
                "pinnace {to} has neither proved itself nor given way in {} s; see `pinnace update` and the node's log",
                (within * 2 + PATIENCE).as_secs()
            )));
        }
        sleep(PACE).await;
    };
    drop(bar);
    match &versions.last {
        Some(Last { outcome: Outcome::Returned(why), tried, now, .. }) if tried.which == to.which => {
            Err(Fail::other(format!("pinnace {tried} gave way, {now} is in force: {why}")))
        }
        // What was on trial was given up, as it was asked.
        Some(Last { outcome: Outcome::Returned(_), now, .. }) if now.which == to.which => arrived(to, before, s).await,
        Some(Last { outcome: Outcome::Confirmed, now, .. }) if now.which == to.which => arrived(to, before, s).await,
        _ => Err(Fail::other(format!("pinnace {} is in force, by another update meanwhile", versions.in_force))),
    }
}

async fn arrived(now: &Program, before: &BTreeSet<String>, s: &mut Session) -> Result<(), Fail> {
    let after = running(s).await;
    let kept = before.intersection(&after).count();
    let pods = match (kept, before.len() - kept) {
        (0, 0) => String::new(),
        (1, 0) => "; 1 container kept its process".to_string(),
        (kept, 0) => format!("; {kept} containers kept their processes"),
        (kept, ended) => format!("; {kept} containers kept their processes, {ended} ended meanwhile"),
    };
    let mark = if now.which == Which::Installed { "the installed " } else { "" };
    s.out.line(&format!("{mark}pinnace {} is in force{pods}", now.version))
}

/// The containers that run, by an id that a process has for itself.
async fn running(s: &Session) -> BTreeSet<String> {
    let Ok(pods) = s.client.get(&target::collection(Kind::Pod, None)).await else { return BTreeSet::new() };
    let containers = list_at(&pods, "/items").iter().flat_map(|pod| list_at(pod, "/status/containerStatuses"));
    let runs = containers.filter(|container| container.pointer("/state/running").is_some());
    sorted::set(runs.map(|container| text_at(container, "/containerID").to_string()))
}
