//! Images in and out: an archive that a client sends, a name that it wants fetched, an image that it takes away. Who does
//! the work tells how it goes, and that is passed on line by line. Knows no archive and no registry.
//!
//! An answer is a stream of JSON lines: `{"progress": {"what", "done", "total"}}` again and again, `{"image": …}` for each
//! image that got its name, `{"status": …}` at the end where it failed.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::call::{Call, PIECES_WAITING_MAX};
use super::query::Query;
use super::read;
use super::reply::{self, Reply};
use super::route::Target;
use super::{Handle, ImageNews};
use crate::manifest::view;
use crate::model::image::{ImportWish, Pull};
use crate::model::{Ask, Failure, Kind, Reason};

pub const LINES: &str = "application/x-ndjson";
const TAR: &str = "application/x-tar";
/// Pieces of an archive that wait for the one who reads it.
pub const BODY_PIECES_MAX: usize = 4;
/// Progress is passed on no more often than this.
const PROGRESS_STEP: Duration = Duration::from_millis(100);

/// `POST import`: the body is the archive.
pub fn import(handle: &Handle, call: Call) -> Result<Reply, Failure> {
    let wish = wish(&call.query)?;
    let (sender, archive) = mpsc::channel(BODY_PIECES_MAX);
    let news = handle.images.import(wish, archive);
    tokio::task::spawn_local(send_on(call.into_body(), sender));
    Ok(tell(handle, news))
}

/// `POST pull`: the body is empty, or a docker configuration with credentials.
pub async fn pull(handle: &Handle, call: Call) -> Result<Reply, Failure> {
    let reference = call.query.get("reference").ok_or_else(|| bad("the query parameter reference is needed".into()))?;
    let reference = reference.to_string();
    let text = String::from_utf8(call.bytes().await?).map_err(|e| bad(format!("the credentials: {e}")))?;
    let credentials = if text.trim().is_empty() { vec![] } else { vec![text] };
    Ok(tell(handle, handle.images.pull(Pull { reference, known: String::new(), credentials })))
}

/// `GET images/NAME/export`: an OCI layout as an archive. A body that breaks off was no whole archive.
pub fn export(handle: &Handle, target: &Target, name: &str) -> Result<Reply, Failure> {
    let record = read::find(&handle.state.borrow(), target, name)?;
    let image = record.as_image().ok_or_else(|| Failure::not_found(Kind::Image, name))?;
    if image.spec.layers.is_empty() {
        let text = format!("image {} is the directory {}; archive that", image.spec.reference, image.spec.directory);
        return Err(bad(text).about(Kind::Image, name));
    }
    Ok(reply::stream(TAR, handle.images.export(&image.spec)))
}

/// `POST prune`.
pub async fn prune(handle: &Handle, query: &Query) -> Result<Reply, Failure> {
    let (result, warnings) = handle.ask(Ask::Prune, query.dry_run()?).await;
    let body = view::object(&*result?, &handle.state.borrow());
    Ok(reply::with_warnings(reply::json(StatusCode::OK, &body), &warnings))
}

fn bad(text: String) -> Failure {
    Failure::new(Reason::BadRequest, text)
}

fn wish(query: &Query) -> Result<ImportWish, Failure> {
    Ok(ImportWish {
        reference: query.get("reference").map(str::to_string),
        entrypoint: words(query, "entrypoint")?,
        cmd: words(query, "cmd")?,
        env: words(query, "env")?,
        workdir: query.get("workdir").unwrap_or_default().to_string(),
        user: query.get("user").unwrap_or_default().to_string(),
    })
}

/// A list of words as JSON.
fn words(query: &Query, name: &str) -> Result<Vec<String>, Failure> {
    let Some(text) = query.get(name) else { return Ok(Vec::new()) };
    serde_json::from_str(text)
        .map_err(|e| bad(format!("the query parameter {name} must be a JSON list of strings: {e}")))
}

/// The client's archive to the one who reads it. Who hangs up in the middle has sent no archive.
pub async fn send_on(mut body: hyper::body::Incoming, to: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => Ok(data),
            // Trailers.
            Ok(Err(_)) => continue,
            Err(e) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the archive broke off: {e}"))),
        };
        let is_broken = piece.is_err();
        if to.send(piece).await.is_err() || is_broken {
            return;
        }
    }
}

/// Gives each image that came its name, and passes on how it goes.
fn tell(handle: &Handle, mut news: mpsc::Receiver<ImageNews>) -> Reply {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let handle = handle.clone();
    tokio::task::spawn_local(async move {
        let mut pace = Pace::default();
        while let Some(one) = news.recv().await {
            let line = match one {
                ImageNews::At { what, done, total } if pace.lets(&what, Some(done) == total) => {
                    json!({"progress": {"what": what, "done": done, "total": total}})
                }
                ImageNews::At { .. } => continue,
                // Its layers stay pinned until the commit that names it.
                ImageNews::Stored { image, disk, pin } => {
                    let answer = handle.ask(Ask::Keep { image, disk }, false).await.0;
                    drop(pin);
                    match answer {
                        Ok(record) => json!({"image": view::object(&record, &handle.state.borrow())}),
                        Err(failure) => json!({"status": view::failure(&failure)}),
                    }
                }
                ImageNews::Failed(failure) => json!({"status": view::failure(&failure)}),
            };
            if sender.send(line_of(&line)).await.is_err() {
                // Nobody listens: dropping the news ends the work.
                return;
            }
        }
    });
    reply::pieces(LINES, receiver)
}

pub fn line_of(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

/// Lets the first and the last word of each subject through, and between them one now and then.
#[derive(Default)]
pub struct Pace {
    last: Option<(String, Instant)>,
}

impl Pace {
    pub fn lets(&mut self, what: &str, is_last: bool) -> bool {
        let is_news = self.last.as_ref().is_none_or(|(of, at)| of != what || at.elapsed() >= PROGRESS_STEP);
        if is_news || is_last {
            self.last = Some((what.to_string(), Instant::now()));
        }
        is_news || is_last
    }
}
