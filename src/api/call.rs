//! One request: what it wants back, what it brings, and which part of the API answers it.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tokio::sync::watch::Receiver;

use super::query::Query;
use super::reply::{self, Reply};
use super::route::{self, Part, Route, Target};
use super::{Handle, discovery, images, logs, read, scale, update, usage, write};
use crate::manifest::{self, Strictness};
use crate::model::{Failure, Kind, Reason};

/// A request body may be this large: a set's 100 KiB many times over, and what etcd allows a Kubernetes object.
pub const BODY_BYTES_MAX: usize = 1536 * 1024;
/// A body that is not here after this time is not waited for.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream that its client does not read holds this many pieces.
pub const PIECES_WAITING_MAX: usize = 16;

pub struct Call {
    pub method: Method,
    pub query: Query,
    pub headers: HeaderMap,
    body: Incoming,
    /// True once the daemon is ending: streams are to end.
    pub stopping: Receiver<bool>,
}

/// Answers one request. Whatever goes wrong is a Status.
pub async fn answer(handle: &Handle, request: Request<Incoming>, stopping: Receiver<bool>) -> Reply {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    let route = route::parse(parts.uri.path());
    let call = Call { method: parts.method, query, headers: parts.headers, body, stopping };
    dispatch(handle, route, call).await.unwrap_or_else(|failure| reply::failure(&failure))
}

async fn dispatch(handle: &Handle, route: Route, call: Call) -> Result<Reply, Failure> {
    let target = match route {
        Route::Objects(target) => target,
        Route::Drain if call.method == Method::POST => return write::drain(handle, &call.query).await,
        Route::Import if call.method == Method::POST => return images::import(handle, call),
        Route::Pull if call.method == Method::POST => return images::pull(handle, call).await,
        Route::Prune if call.method == Method::POST => return images::prune(handle, &call.query).await,
        Route::Update if call.method == Method::GET => return update::status(handle),
        Route::Update if call.method == Method::POST => return update::bring(handle, call),
        Route::Undo if call.method == Method::POST => return update::undo(handle, &call.query),
        Route::Drain | Route::Import | Route::Pull | Route::Prune | Route::Update | Route::Undo => {
            return Err(wrong_method());
        }
        Route::Usage(of) if call.method == Method::GET => return usage::answer(handle, of, &call).await,
        Route::Usage(_) => return Err(wrong_method()),
        page => {
            if call.method != Method::GET && !matches!(page, Route::NoPage | Route::NoResource) {
                return Err(wrong_method());
            }
            return read_page(handle, page, &call);
        }
    };
    match (target.name.clone(), target.part) {
        (None, _) => collection(handle, target, call).await,
        (Some(name), Part::Whole) => object(handle, target, &name, call).await,
        (Some(name), Part::Status) => match call.method {
            Method::GET => read::get(handle, &target, &name, &call),
            _ => Err(wrong_method()),
        },
        (Some(name), Part::Log) => match call.method {
            Method::GET => logs::read(handle, &target, &name, &call.query),
            _ => Err(wrong_method()),
        },
        (Some(name), Part::Export) => match call.method {
            Method::GET => images::export(handle, &target, &name),
            _ => Err(wrong_method()),
        },
        (Some(name), Part::Scale) => match call.method {
            Method::GET => scale::get(handle, &target, &name),
            Method::PUT => scale::replace(handle, &target, &name, call).await,
            Method::PATCH => scale::patch(handle, &target, &name, call).await,
            _ => Err(wrong_method()),
        },
        (Some(name), Part::Eviction) => match call.method {
            Method::POST => write::evict(handle, &target, &name, call).await,
            _ => Err(wrong_method()),
        },
    }
}

async fn collection(handle: &Handle, target: Target, call: Call) -> Result<Reply, Failure> {
    match call.method {
        Method::GET => read::list(handle, target, &call),
        Method::POST if allows(&target, "create") => write::create(handle, &target, call).await,
        Method::DELETE if allows(&target, "deletecollection") => write::delete_all(handle, &target, call).await,
        _ => Err(wrong_method()),
    }
}

async fn object(handle: &Handle, target: Target, name: &str, call: Call) -> Result<Reply, Failure> {
    match call.method {
        Method::GET if call.query.is("watch") => read::list(handle, target, &call),
        Method::GET => read::get(handle, &target, name, &call),
        Method::PUT if allows(&target, "update") => write::replace(handle, &target, name, call).await,
        Method::PATCH if allows(&target, "patch") => write::patch(handle, &target, name, call).await,
        // A set is refused there too, with what takes it away.
        Method::DELETE if allows(&target, "delete") || target.kind == Kind::Set => {
            write::delete(handle, &target, name, call).await
        }
        _ => Err(wrong_method()),
    }
}

fn allows(target: &Target, verb: &str) -> bool {
    route::verbs(target.kind).contains(&verb) && !target.is_everywhere()
}

fn read_page(handle: &Handle, page: Route, call: &Call) -> Result<Reply, Failure> {
    match page {
        Route::Version => Ok(reply::json(StatusCode::OK, &discovery::version())),
        Route::Health => Ok(reply::text("ok")),
        Route::Ready if handle.state.borrow().node().is_some() => Ok(reply::text("ok")),
        Route::Ready => {
            Err(Failure::new(Reason::ServiceUnavailable, "the node is starting: it has not read what its host is"))
        }
        Route::Metrics => {
            Ok(reply::typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", (handle.metrics)()))
        }
        Route::CoreVersions => Ok(discovery::core(call.accept())),
        Route::Groups => Ok(discovery::groups(call.accept())),
        Route::Group(group) => discovery::group(&group).ok_or_else(no_resource),
        Route::Resources { group, version } => discovery::resources(&group, &version).ok_or_else(no_resource),
        Route::Dump => Ok(read::dump(handle)),
        Route::Trace => Ok(reply::pieces("application/x-ndjson", (handle.trace)())),
        Route::UsageResources => Ok(reply::json(StatusCode::OK, &usage::resources())),
        Route::Usage(_)
        | Route::Objects(_)
        | Route::Drain
        | Route::Import
        | Route::Pull
        | Route::Prune
        | Route::Update
        | Route::Undo
        | Route::NoResource => Err(no_resource()),
        Route::NoPage => Err(Failure::new(Reason::NotFound, "404 page not found")),
    }
}

pub fn wrong_method() -> Failure {
    Failure::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}

fn no_resource() -> Failure {
    Failure::new(Reason::NotFound, "the server could not find the requested resource")
}

impl Call {
    pub fn accept(&self) -> &str {
        self.header(&ACCEPT)
    }

    pub fn content_type(&self) -> &str {
        let whole = self.header(&CONTENT_TYPE);
        whole.split(';').next().unwrap_or("").trim()
    }

    fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// What becomes of unknown fields. The API server's default is to warn.
    ///
    /// # Errors
    /// `BadRequest` for a word that is none of the three.
    pub fn strictness(&self) -> Result<Strictness, Failure> {
        match self.query.get("fieldValidation") {
            Some("Strict") => Ok(Strictness::Strict),
            None | Some("Warn") => Ok(Strictness::Warn),
            Some("Ignore") => Ok(Strictness::Ignore),
            Some(other) => Err(Failure::new(
                Reason::BadRequest,
                format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                ),
            )),
        }
    }

    /// The body as one JSON object; none when there is no body.
    ///
    /// # Errors
    /// `UnsupportedMediaType`, `RequestEntityTooLarge`, or `BadRequest` with the parser's words.
    pub async fn document(self) -> Result<Option<Value>, Failure> {
        let content_type = self.content_type().to_string();
        let is_yaml = match content_type.as_str() {
            "" | "application/json" => false,
            "application/yaml" | "application/x-yaml" | "text/yaml" => true,
            _ => return Err(unsupported("application/json, application/yaml")),
        };
        let bytes = self.bytes().await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        if is_yaml { yaml(&bytes).map(Some) } else { json(&bytes).map(Some) }
    }

    /// The body, for whoever takes it as it comes.
    pub fn into_body(self) -> Incoming {
        self.body
    }

    /// The body, whole.
    ///
    /// # Errors
    /// `RequestEntityTooLarge` beyond `BODY_BYTES_MAX`; `BadRequest` when it breaks off or does not come.
    pub async fn bytes(self) -> Result<Vec<u8>, Failure> {
        let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(self.body, BODY_BYTES_MAX).collect());
        match whole.await {
            Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
            Ok(Err(e)) if e.is::<LengthLimitError>() => Err(Failure::new(
                Reason::RequestEntityTooLarge,
                format!("Request entity too large: limit is {BODY_BYTES_MAX}"),
            )),
            Ok(Err(e)) => Err(Failure::new(Reason::BadRequest, format!("cannot read the request's body: {e}"))),
            Err(_) => Err(Failure::new(
                Reason::BadRequest,
                format!("the request's body was not complete after {} s", BODY_TIMEOUT.as_secs()),
            )),
        }
    }
}

/// # Errors
/// `BadRequest` with the place where it breaks.
pub fn json(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|e| Failure::new(Reason::BadRequest, format!("the request's body is no JSON: {e}")))
}

fn yaml(bytes: &[u8]) -> Result<Value, Failure> {
    let mut documents = manifest::read_stream(bytes)?;
    match (documents.pop(), documents.is_empty()) {
        (Some((value, _)), true) => Ok(value),
        _ => Err(Failure::new(
            Reason::BadRequest,
            "the request's body must be one YAML document; send several one by one",
        )),
    }
}

pub fn unsupported(accepted: &str) -> Failure {
    Failure::new(
        Reason::UnsupportedMediaType,
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
    )
}
