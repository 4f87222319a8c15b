//! Responses: a whole body or one that comes piece by piece, always with a type, errors always as a Status.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, WARNING};
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::manifest::view;
use crate::model::Failure;

pub const JSON: &str = "application/json";
pub const TEXT: &str = "text/plain; charset=utf-8";

pub type Reply = Response<ReplyBody>;

pub enum ReplyBody {
    /// None: sent.
    Whole(Option<Bytes>),
    /// Sent in chunks as they come; the end of the channel is the end of the body.
    Pieces(mpsc::Receiver<Bytes>),
    /// As `Pieces`; an error cuts the connection, so that the client knows that it has not got all.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            ReplyBody::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            ReplyBody::Pieces(receiver) => receiver.poll_recv(cx).map(|piece| piece.map(|b| Ok(Frame::data(b)))),
            ReplyBody::Stream(receiver) => receiver.poll_recv(cx).map(|piece| piece.map(|b| b.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, ReplyBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            ReplyBody::Pieces(_) | ReplyBody::Stream(_) => SizeHint::default(),
        }
    }
}

pub fn json(code: StatusCode, value: &Value) -> Reply {
    typed(code, JSON, value.to_string())
}

pub fn text(body: impl Into<String>) -> Reply {
    typed(StatusCode::OK, TEXT, body.into())
}

pub fn typed(code: StatusCode, content_type: &'static str, body: String) -> Reply {
    respond(code, content_type, ReplyBody::Whole(Some(body.into())))
}

pub fn pieces(content_type: &'static str, receiver: mpsc::Receiver<Bytes>) -> Reply {
    respond(StatusCode::OK, content_type, ReplyBody::Pieces(receiver))
}

pub fn stream(content_type: &'static str, receiver: mpsc::Receiver<io::Result<Bytes>>) -> Reply {
    respond(StatusCode::OK, content_type, ReplyBody::Stream(receiver))
}

pub fn failure(failure: &Failure) -> Reply {
    let code = StatusCode::from_u16(failure.reason.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, &view::failure(failure))
}

fn respond(code: StatusCode, content_type: &'static str, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = code;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// One `Warning: 299 - "…"` header a sentence, as client-go reads and kubectl prints them.
pub fn with_warnings(mut reply: Reply, warnings: &[String]) -> Reply {
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_bytes(warning_header(warning).as_bytes()) {
            reply.headers_mut().append(WARNING, value);
        }
    }
    reply
}

/// Source: RFC 7234 section 5.5: a quoted string. What a header cannot carry becomes a space.
fn warning_header(text: &str) -> String {
    let mut quoted = String::from("299 - \"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_survives_quotes_and_line_breaks() {
        let reply = with_warnings(text(""), &["unknown field \"spec.x\"".into(), "a\r\nb: c\\é".into()]);
        let shown: Vec<&[u8]> = reply.headers().get_all(WARNING).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(shown, [r#"299 - "unknown field \"spec.x\"""#.as_bytes(), "299 - \"a  b: c\\\\é\"".as_bytes()]);
    }
}
