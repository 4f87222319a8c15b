//! Versions of this program: which is in force, another one to be tried, back to the one before. Who does the work tells
//! how it goes, and that is passed on line by line. Knows no file of a version.
//!
//! An answer to POST is a stream of JSON lines: `{"progress": {"what", "done", "total"}}` again and again, then
//! `{"checked": …}`, and at the end one of `{"same": …}`, `{"switching": {"from", "to"}}` and `{"status": …}`.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::call::{Call, PIECES_WAITING_MAX};
use super::images::{BODY_PIECES_MAX, LINES, Pace, line_of, send_on};
use super::query::Query;
use super::reply::{self, Reply};
use super::{Handle, UpdateNews};
use crate::manifest::view;
use crate::model::update::{SignatureFrom, UpdateWish, WITHIN, WITHIN_LEAST, WITHIN_MOST, is_sha256};
use crate::model::{Failure, Reason};

/// `GET update`.
pub fn status(handle: &Handle) -> Result<Reply, Failure> {
    let status = handle.updates.status()?;
    let body = serde_json::to_value(&status);
    let body = body.map_err(|e| Failure::new(Reason::InternalError, format!("the versions are no JSON: {e}")))?;
    Ok(reply::json(StatusCode::OK, &body))
}

/// `POST update`: the body is the program, or empty where the query has `from`.
pub fn bring(handle: &Handle, call: Call) -> Result<Reply, Failure> {
    let wish = wish(&call.query)?;
    let (sender, body) = mpsc::channel(BODY_PIECES_MAX);
    let news = handle.updates.update(wish, body);
    tokio::task::spawn_local(send_on(call.into_body(), sender));
    Ok(tell(news))
}

/// `POST update/undo`.
pub fn undo(handle: &Handle, query: &Query) -> Result<Reply, Failure> {
    Ok(tell(handle.updates.undo(within(query)?)))
}

fn wish(query: &Query) -> Result<UpdateWish, Failure> {
    let text = |name: &str| query.get(name).filter(|text| !text.is_empty()).map(str::to_string);
    let sha256 = text("sha256").map(|sha256| sha256.to_ascii_lowercase());
    if let Some(bad) = sha256.as_deref().filter(|sha256| !is_sha256(sha256)) {
        return Err(wrong(format!("the SHA-256 must have 64 hexadecimal digits, is {bad:?}")));
    }
    let size = text("size")
        .map(|size| size.parse().map_err(|_| wrong(format!("size must be a number of bytes, is {size:?}"))));
    let signature = text("signature").map(SignatureFrom::Text);
    Ok(UpdateWish {
        url: text("from"),
        size: size.transpose()?,
        sha256,
        signature: signature.or_else(|| text("signature_from").map(SignatureFrom::Url)),
        within: within(query)?,
    })
}

fn within(query: &Query) -> Result<Duration, Failure> {
    let Some(text) = query.get("within_s") else { return Ok(WITHIN) };
    let bounds = WITHIN_LEAST.as_secs()..=WITHIN_MOST.as_secs();
    let given = text.parse().ok().filter(|within| bounds.contains(within)).map(Duration::from_secs);
    given.ok_or_else(|| {
        wrong(format!("a trial may take from {} to {} seconds, not {text:?}", bounds.start(), bounds.end()))
    })
}

fn wrong(text: String) -> Failure {
    Failure::new(Reason::BadRequest, text)
}

fn tell(mut news: mpsc::Receiver<UpdateNews>) -> Reply {
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_WAITING_MAX);
    tokio::task::spawn_local(async move {
        let mut pace = Pace::default();
        while let Some(one) = news.recv().await {
            let Some(line) = line(one, &mut pace) else { continue };
            if sender.send(line_of(&line)).await.is_err() {
                // Nobody listens: dropping the news ends the bringing.
                return;
            }
        }
    });
    reply::pieces(LINES, receiver)
}

fn line(news: UpdateNews, pace: &mut Pace) -> Option<Value> {
    Some(match news {
        UpdateNews::At { what, done, total } if pace.lets(&what, Some(done) == total) => {
            json!({"progress": {"what": what, "done": done, "total": total}})
        }
        UpdateNews::At { .. } => return None,
        UpdateNews::Checked { program, sha256, signed_by } => {
            json!({"checked": {"program": program, "sha256": sha256, "signedBy": signed_by}})
        }
        UpdateNews::Same(program) => json!({"same": program}),
        UpdateNews::Switching { from, to } => json!({"switching": {"from": from, "to": to}}),
        UpdateNews::Failed(failure) => json!({"status": view::failure(&failure)}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_and_bounded() {
        let read = |query: &str| wish(&Query::parse(query));
        let sha = "AB".repeat(32);
        let wanted =
            read(&format!("from=http://a/b&sha256={sha}&size=7&signature_from=http://a/s&within_s=9")).unwrap();
        assert_eq!((wanted.url.as_deref(), wanted.size), (Some("http://a/b"), Some(7)));
        assert_eq!((wanted.sha256, wanted.within), (Some(sha.to_lowercase()), Duration::from_secs(9)));
        assert_eq!(wanted.signature, Some(SignatureFrom::Url("http://a/s".into())));
        let bare = read("").unwrap();
        assert_eq!((bare.url, bare.sha256, bare.within), (None, None, WITHIN));
        for bad in ["sha256=abc", "size=x", "within_s=1", "within_s=-1", "within_s=99999999", "within_s=5m"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
