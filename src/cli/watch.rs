//! Waiting for objects to become what a verb wants, told by the node's watch and not by asking again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::model::sorted;

use super::client::Client;
use super::fail::Fail;
use super::json::{list_at, text_at};
use super::patience::Patience;
use super::target::query;

/// Objects that were seen, by namespace and name.
pub type Seen = BTreeMap<(String, String), Value>;

/// Between the end of one watch and the next list: a node that ends every watch at once must not be asked in a loop.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks `judge` about the objects of a collection now and after each change, until it has an answer. A watch that ends
/// or is too old begins anew with a list; a node that is restarted meanwhile is waited for.
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
    loop {
        let list = patience.ask(|| client.get(path)).await?;
        let mut seen: Seen = sorted::map(list_at(&list, "/items").iter().map(|item| (key(item), item.clone())));
        if let Some(answer) = judge(&seen)? {
            return Ok(answer);
        }
        let revision = text_at(&list, "/metadata/resourceVersion");
        let path = query(path, &[("watch", "true"), ("resourceVersion", revision)]);
        let mut stream = match patience.ask(|| client.stream(&path, "application/json")).await {
            Err(fail) if fail.is_expired() => continue,
            other => other?,
        };
        // A broken connection is a watch that ended; the next list waits for the node.
        while let Ok(Some((event, object))) = stream.event().await {
            match event.as_str() {
                "DELETED" => drop(seen.remove(&key(&object))),
                "ADDED" | "MODIFIED" => drop(seen.insert(key(&object), object)),
                _ => continue,
            }
            if let Some(answer) = judge(&seen)? {
                return Ok(answer);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn key(object: &Value) -> (String, String) {
    (text_at(object, "/metadata/namespace").to_string(), text_at(object, "/metadata/name").to_string())
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
