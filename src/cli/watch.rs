//! Objects as they change, told by the node's watch and not by asking again and again; a node that is restarted
//! meanwhile is waited for. Knows nothing of how changes are shown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::sorted;

use super::client::{Client, JSON, Stream};
use super::fail::Fail;
use super::json::{list_at, text_at};
use super::patience::Patience;
use super::target::query;

/// Objects that were seen, by namespace and name.
pub type Seen = BTreeMap<(String, String), Value>;

/// Between the end of one watch and the next: a node that ends every watch at once must not be asked in a loop.
const PAUSE: Duration = Duration::from_millis(200);

/// What happened to one object: `ADDED`, `MODIFIED` or `DELETED`, as a watch calls it, and the object then.
#[derive(Debug, PartialEq)]
pub struct Change {
    pub event: String,
    pub object: Value,
}

/// A collection that is watched on from a list of it. A watch that ends is begun anew where it ended; where the node no
/// longer remembers that place, as after a restart, a new list tells what has changed since.
pub struct Watch<'a> {
    client: &'a Client,
    patience: &'a mut Patience,
    path: String,
    accept: &'static str,
    seen: Seen,
    revision: String,
    stream: Option<Stream>,
}

impl<'a> Watch<'a> {
    /// `list` is the answer to `path` in the form that `accept` asks for.
    pub fn after(
        list: &Value,
        client: &'a Client,
        patience: &'a mut Patience,
        path: &str,
        accept: &'static str,
    ) -> Watch<'a> {
        let (seen, revision) = (sorted::map(entries(list).map(|entry| (key(&entry), entry))), revision(list));
        Watch { client, patience, path: path.to_string(), accept, seen, revision, stream: None }
    }

    /// The next changes: one, or all that a new list shows.
    ///
    /// # Errors
    /// What the node says; that it does not come back.
    pub async fn next(&mut self) -> Result<Vec<Change>, Fail> {
        loop {
            let mut stream = match self.stream.take() {
                Some(stream) => stream,
                None => match self.begin().await {
                    Err(fail) if fail.is_expired() => return self.list_anew().await,
                    begun => begun?,
                },
            };
            match stream.event().await {
                Ok(Some((event, object))) => {
                    self.stream = Some(stream);
                    if let Some(change) = self.note(event, object) {
                        return Ok(vec![change]);
                    }
                }
                Err(fail) if fail.is_expired() => return self.list_anew().await,
                Err(fail) if !fail.may_pass() => return Err(fail),
                Ok(None) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn begin(&mut self) -> Result<Stream, Fail> {
        let path = query(&self.path, &[("watch", "true"), ("resourceVersion", &self.revision)]);
        let (client, accept) = (self.client, self.accept);
        self.patience.ask(|| client.stream(&path, accept)).await
    }

    /// Remembers how things are now. None for a word that tells of no object.
    fn note(&mut self, event: String, object: Value) -> Option<Change> {
        match event.as_str() {
            "DELETED" => drop(self.seen.remove(&key(&object))),
            "ADDED" | "MODIFIED" => drop(self.seen.insert(key(&object), object.clone())),
            _ => return None,
        }
        self.revision = revision(bare(&object));
        Some(Change { event, object })
    }

    async fn list_anew(&mut self) -> Result<Vec<Change>, Fail> {
        tokio::time::sleep(PAUSE).await;
        let (client, path, accept) = (self.client, &self.path, self.accept);
        let list = self.patience.ask(|| client.get_as(path, accept)).await?;
        self.revision = revision(&list);
        let now: Vec<Value> = entries(&list).collect();
        let seen = sorted::map(now.iter().map(|entry| (key(entry), entry.clone())));
        let before = std::mem::replace(&mut self.seen, seen);
        Ok(differences(before, &self.seen, now))
    }
}

/// What a watch would have told between two lists: what went, then what came or changed, in the order of the new one.
/// An object that has another of its name in its place went and came.
fn differences(before: Seen, after: &Seen, list: Vec<Value>) -> Vec<Change> {
    let change = |event: &str, object| Change { event: event.to_string(), object };
    let uid = |object: &Value| text_at(bare(object), "/metadata/uid").to_string();
    let stays = |key: &_, object: &Value| after.get(key).is_some_and(|now| uid(now) == uid(object));
    let (stayed, gone): (Seen, Seen) = before.into_iter().partition(|(key, object)| stays(key, object));
    let mut changes: Vec<Change> = gone.into_values().map(|object| change("DELETED", object)).collect();
    changes.extend(list.into_iter().filter_map(|object| match stayed.get(&key(&object)) {
        None => Some(change("ADDED", object)),
        Some(was) if looks_the_same(was, &object) => None,
        Some(_) => Some(change("MODIFIED", object)),
    }));
    changes
}

/// Whether a reader has seen this already: a new revision alone is no news, as a restart writes much anew, and an age
/// grows by itself.
fn looks_the_same(was: &Value, now: &Value) -> bool {
    let age = list_at(now, "/columnDefinitions").iter().position(|column| text_at(column, "/name") == "Age");
    let shown = |of: &Value| {
        let mut shown = of.pointer("/rows/0").unwrap_or(of).clone();
        for pointer in ["/metadata/resourceVersion", "/object/metadata/resourceVersion"] {
            shown.pointer_mut(pointer).map(Value::take);
        }
        age.and_then(|at| shown.pointer_mut(&format!("/cells/{at}"))).map(Value::take);
        shown
    };
    shown(was) == shown(now)
}

/// The objects of a list; the rows of a Table as the tables of one row in which a watch tells them.
fn entries(list: &Value) -> impl Iterator<Item = Value> {
    let is_table = text_at(list, "/kind") == "Table";
    list_at(list, if is_table { "/rows" } else { "/items" }).iter().map(move |entry| match is_table {
        true => {
            let columns = list["columnDefinitions"].clone();
            json!({"kind": "Table", "columnDefinitions": columns, "rows": [entry], "metadata": list["metadata"]})
        }
        false => entry.clone(),
    })
}

/// The object itself, which a Table has in its row.
fn bare(object: &Value) -> &Value {
    object.pointer("/rows/0/object").unwrap_or(object)
}

fn key(object: &Value) -> (String, String) {
    let object = bare(object);
    (text_at(object, "/metadata/namespace").to_string(), text_at(object, "/metadata/name").to_string())
}

fn revision(of: &Value) -> String {
    text_at(of, "/metadata/resourceVersion").to_string()
}

/// Asks `judge` about the objects of a collection now and after each change, until it has an answer.
///
/// # Errors
/// What `judge` or the node says.
pub async fn until<T>(
    client: &Client,
    path: &str,
    judge: impl FnMut(&Seen) -> Result<Option<T>, Fail>,
) -> Result<T, Fail> {
    until_with(&mut Patience::default(), client, path, judge).await
}

/// As `until`, for who has asked the node before.
///
/// # Errors
/// As `until`.
pub async fn until_with<T>(
    patience: &mut Patience,
    client: &Client,
    path: &str,
    mut judge: impl FnMut(&Seen) -> Result<Option<T>, Fail>,
) -> Result<T, Fail> {
    let list = patience.ask(|| client.get(path)).await?;
    let mut watch = Watch::after(&list, client, patience, path, JSON);
    loop {
        if let Some(answer) = judge(&watch.seen)? {
            return Ok(answer);
        }
        watch.next().await?;
    }
}

/// The collection of one object: a watch needs one.
pub fn only(collection: &str, name: &str) -> String {
    query(collection, &[("fieldSelector", &format!("metadata.name={name}"))])
}

/// What `work` gives, or `late` when the time is up before; no limit with none.
///
/// # Errors
/// Those of `work`, and `late`.
pub async fn within<T>(
    limit: Option<Duration>,
    late: impl FnOnce() -> Fail,
    work: impl Future<Output = Result<T, Fail>>,
) -> Result<T, Fail> {
    match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late())),
    }
}

/// kubectl's words for a wait that was too long.
pub fn timed_out(kind: crate::model::Kind, name: &str) -> Fail {
    Fail::other(format!("timed out waiting for the condition on {}/{name}", kind.names().plural))
}

/// A `--timeout` where zero is none.
///
/// # Errors
/// Go's words for what is no duration.
pub fn limit(text: &str) -> Result<Option<Duration>, Fail> {
    let limit = super::duration::parse(text).map_err(|why| Fail::other(format!("invalid --timeout: {why}")))?;
    Ok((!limit.is_zero()).then_some(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, uid: &str, revision: u64) -> Value {
        json!({"metadata": {"name": name, "uid": uid, "resourceVersion": revision.to_string()}})
    }

    #[track_caller]
    fn check(before: &[&Value], after: &[&Value], expected: &[(&str, &Value)]) {
        let seen = |objects: &[&Value]| sorted::map(objects.iter().map(|object| (key(object), (*object).clone())));
        let list = after.iter().map(|object| (*object).clone()).collect();
        let found = differences(seen(before), &seen(after), list);
        let found: Vec<(&str, &Value)> = found.iter().map(|c| (c.event.as_str(), &c.object)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn two_lists_tell_what_happened_between_them() {
        let (a, b) = (object("a", "1", 5), object("b", "2", 6));
        check(&[&a], &[&a], &[]);
        check(&[&a], &[&b, &a], &[("ADDED", &b)]);
        check(&[&a, &b], &[&b], &[("DELETED", &a)]);
        check(&[&a], &[&object("a", "1", 9)], &[]);
        let mut changed = object("a", "1", 9);
        changed["data"] = json!({"v": "1"});
        check(&[&a], &[&changed], &[("MODIFIED", &changed)]);
        let another = object("a", "3", 8);
        check(&[&a], &[&b, &another], &[("DELETED", &a), ("ADDED", &b), ("ADDED", &another)]);
    }

    #[test]
    fn a_row_that_has_only_aged_is_no_news() {
        let row = |status, age, revision| {
            let columns = json!([{"name": "Name"}, {"name": "Status"}, {"name": "Age"}]);
            let rows = json!([{"cells": ["a", status, age], "object": object("a", "1", revision)}]);
            json!({"kind": "Table", "columnDefinitions": columns, "rows": rows})
        };
        assert!(looks_the_same(&row("Ready", "1s", 5), &row("Ready", "9m", 6)));
        assert!(!looks_the_same(&row("Ready", "1s", 5), &row("NotReady", "1s", 6)));
    }

    #[test]
    fn a_table_is_told_row_by_row() {
        let row = |name| json!({"cells": [name], "object": object(name, name, 1)});
        let table = json!({"kind": "Table", "columnDefinitions": [1], "rows": [row("a"), row("b")], "metadata": {"resourceVersion": "9"}});
        let rows: Vec<Value> = entries(&table).collect();
        assert_eq!(rows[1]["rows"], json!([row("b")]));
        assert_eq!((key(&rows[1]).1, revision(bare(&rows[1])), revision(&table)), ("b".into(), "1".into(), "9".into()));
    }
}
