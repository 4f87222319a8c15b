//! Reads: one object, a list, a watch, everything. Served from the state as it is; nothing waits for the loop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;
use tokio::sync::mpsc;

use super::call::Call;
use super::query::Query;
use super::reply::{self, Reply};
use super::route::Target;
use super::selector::{self, Fields};
use super::show::Form;
use super::watch::{self, Watch};
use super::{Handle, call};
use crate::model::{Failure, Key, Kind, Reason, Record, Selector, State};

/// Which objects a list, a watch or a delete of many is about.
pub struct Filter {
    kind: Kind,
    /// Empty: all.
    namespace: String,
    labels: Selector,
    fields: Fields,
}

impl Filter {
    /// # Errors
    /// `BadRequest` for a selector that cannot be read.
    pub fn new(target: &Target, query: &Query) -> Result<Filter, Failure> {
        let fields = selector::fields(query.get("fieldSelector").unwrap_or(""), target.kind)?;
        Ok(Filter {
            kind: target.kind,
            namespace: target.namespace.clone(),
            labels: selector::labels(query.get("labelSelector").unwrap_or(""))?,
            fields: target.name.as_ref().map_or(fields.clone(), |name| fields.and(Fields::name(name))),
        })
    }

    pub fn fits(&self, record: &Record, state: &State) -> bool {
        let meta = record.meta();
        record.kind() == self.kind
            && (self.namespace.is_empty() || meta.namespace == self.namespace)
            && self.labels.matches(&meta.labels)
            && self.fields.matches(record, state)
    }

    pub fn select(&self, state: &State) -> Vec<Arc<Record>> {
        let all = state.entries(self.kind).map(|(_, record)| record);
        all.filter(|record| self.fits(record, state)).cloned().collect()
    }
}

/// The record that a path names.
///
/// # Errors
/// `NotFound`.
pub fn find(state: &State, target: &Target, name: &str) -> Result<Arc<Record>, Failure> {
    let found = state.get(&Key::new(target.kind, &target.namespace, name));
    found.cloned().ok_or_else(|| Failure::not_found(target.kind, name))
}

pub fn get(handle: &Handle, target: &Target, name: &str, call: &Call) -> Result<Reply, Failure> {
    let form = Form::negotiate(target.kind, &target.api_version, call.accept(), &call.query)?;
    let state = handle.state.borrow();
    let record = find(&state, target, name)?;
    Ok(reply::json(StatusCode::OK, &form.one(&record, &state, &(handle.clock)())))
}

/// A list, or a watch with `watch=true`. `limit` is not needed by so small a store: everything comes at once.
pub fn list(handle: &Handle, target: Target, call: &Call) -> Result<Reply, Failure> {
    let form = Form::negotiate(target.kind, &target.api_version, call.accept(), &call.query)?;
    let filter = Filter::new(&target, &call.query)?;
    if call.query.is("watch") {
        let watch = watch_of(filter, form, &call.query)?;
        return Ok(watch::begin(handle, watch, call.stopping.clone()));
    }
    if call.query.get("continue").is_some() {
        return Err(Failure::new(
            Reason::Expired,
            "lists come whole and are not continued; list again without `continue`",
        ));
    }
    let state = handle.state.borrow();
    let mut found = filter.select(&state);
    // Kubernetes' names of events rise with the time within an object; ours are hashes. Other kinds keep their order.
    found.sort_by_key(|record| record.as_event().map(|event| (event.last, event.meta.revision)));
    let list = form.many(found.iter().map(|r| &**r), &state, &(handle.clock)());
    Ok(reply::json(StatusCode::OK, &list))
}

fn watch_of(filter: Filter, form: Form, query: &Query) -> Result<Watch, Failure> {
    let from = match query.get("resourceVersion") {
        None | Some("0") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::new(
                Reason::BadRequest,
                format!("resourceVersion={text:?} must be one that a list or an object carried"),
            )
        })?),
    };
    // Nought means the default, as with the API server.
    let timeout = query.number("timeoutSeconds")?.filter(|s| *s != 0).map(Duration::from_secs);
    Ok(Watch { filter, form, from, timeout, bookmarks: query.is("allowWatchBookmarks") })
}

/// Every record as the store keeps it, one JSON line each, after the line that a dump of the file begins with as well.
pub fn dump(handle: &Handle) -> Reply {
    let (revision, records) = {
        let state = handle.state.borrow();
        (state.revision, state.all().cloned().collect::<Vec<Arc<Record>>>())
    };
    let kept = handle.kept.clone();
    let (out, receiver) = mpsc::channel(call::PIECES_WAITING_MAX);
    tokio::task::spawn_local(async move {
        let head = json!({"format": kept.format, "revision": revision, "data_dir": kept.data_dir.to_string_lossy()})
            .to_string();
        let lines = records.iter().filter_map(|record| serde_json::to_string(&**record).ok());
        for line in std::iter::once(head).chain(lines) {
            if out.send(Bytes::from(line + "\n")).await.is_err() {
                return;
            }
        }
    });
    reply::pieces("application/x-ndjson", receiver)
}
