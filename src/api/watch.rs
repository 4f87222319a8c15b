//! A watch: what is there, then every change that concerns its selectors, one JSON line each, until the client leaves.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::Handle;
use super::feed::{Change, Next};
use super::read::Filter;
use super::reply::{self, Reply};
use super::show::Form;
use crate::manifest::view;
use crate::model::{Failure, Now, Reason, Record, State};

/// A client that does not read holds this many events; further ones wait in the feed.
const EVENTS_WAITING_MAX: usize = 16;
/// A watch without `timeoutSeconds` ends after this time, as with the API server; its client asks again.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30 * 60);

pub struct Watch {
    pub filter: Filter,
    pub form: Form,
    /// None: tell first what is there.
    pub from: Option<u64>,
    pub timeout: Option<Duration>,
    pub bookmarks: bool,
}

/// Where one watch is.
struct Watching {
    handle: Handle,
    watch: Watch,
    /// The number of the change to tell next.
    place: u64,
    /// The columns of a Table have not been told yet.
    first: bool,
    out: mpsc::Sender<Bytes>,
}

/// The reader has gone.
struct Gone;

/// Begins a watch; it runs as a task of its own until its client leaves, its time is over or the daemon ends.
pub fn begin(handle: &Handle, watch: Watch, mut stopping: watch::Receiver<bool>) -> Reply {
    let (out, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let timeout = watch.timeout.unwrap_or(TIMEOUT_DEFAULT);
    let mut watching = Watching { handle: handle.clone(), watch, place: 0, first: true, out: out.clone() };
    tokio::task::spawn_local(async move {
        tokio::select! {
            _ = watching.run() => {}
            () = out.closed() => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = tokio::time::sleep(timeout) => {}
        }
        watching.bookmark();
    });
    reply::pieces(reply::JSON, receiver)
}

impl Watching {
    async fn run(&mut self) -> Result<(), Gone> {
        let mut news = self.handle.feed.news();
        if !self.start().await? {
            return Ok(());
        }
        loop {
            match self.handle.feed.at(self.place) {
                Next::Change(change) => {
                    self.place += 1;
                    self.tell(&change).await?;
                }
                Next::Nothing if news.changed().await.is_err() => return pending().await,
                Next::Nothing => {}
                Next::Forgotten => return self.expire("the watch fell behind and its place is forgotten").await,
            }
        }
    }

    /// Finds the place to begin at, and tells what is there where the client named none. False: it cannot begin.
    async fn start(&mut self) -> Result<bool, Gone> {
        let current = self.handle.state.borrow().revision;
        let Some(from) = self.watch.from else {
            self.place = self.handle.feed.end();
            let there = self.watch.filter.select(&self.handle.state.borrow());
            for record in there {
                self.send("ADDED", &record).await?;
            }
            return Ok(true);
        };
        match self.handle.feed.after(from, current) {
            Some(place) => self.place = place,
            None => {
                self.expire(&format!("too old resource version: {from} ({current})")).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An object that begins to fit the selectors is added for this client, one that no longer does is deleted.
    async fn tell(&mut self, change: &Change) -> Result<(), Gone> {
        let (was, is) = {
            let state = self.handle.state.borrow();
            let fits = |record: &Option<Arc<Record>>| record.clone().filter(|r| self.watch.filter.fits(r, &state));
            (fits(&change.before), fits(&change.after))
        };
        match (was, is) {
            (None, None) => Ok(()),
            (None, Some(new)) => self.send("ADDED", &new).await,
            (Some(_), Some(new)) => self.send("MODIFIED", &new).await,
            (Some(old), None) => {
                let mut last = (*old).clone();
                last.meta_mut().revision = change.revision;
                self.send("DELETED", &last).await
            }
        }
    }

    async fn send(&mut self, kind: &str, record: &Record) -> Result<(), Gone> {
        let now: Now = (self.handle.clock)();
        let object = {
            let state: &State = &self.handle.state.borrow();
            self.watch.form.event(record, state, &now, self.first)
        };
        self.first = false;
        self.out.send(line(kind, &object)).await.map_err(|_| Gone)
    }

    async fn expire(&mut self, message: &str) -> Result<(), Gone> {
        self.watch.bookmarks = false;
        let status = view::failure(&Failure::new(Reason::Expired, message));
        self.out.send(line("ERROR", &status)).await.map_err(|_| Gone)
    }

    /// Tells how far the watch has come, so that its client can go on from there; only where there is room for it.
    fn bookmark(&self) {
        let is_at_end = self.place == self.handle.feed.end();
        if self.watch.bookmarks && is_at_end {
            let revision = self.handle.state.borrow().revision;
            // Losing it costs the client nothing but a longer way back.
            let _ = self.out.try_send(line("BOOKMARK", &self.watch.form.bookmark(revision)));
        }
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut text = json!({ "type": kind, "object": object }).to_string();
    text.push('\n');
    text.into()
}
