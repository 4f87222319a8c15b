//! Fetches a file by HTTP into `DATA/versions/partial`, and goes on where an earlier try broke off: the server is asked for
//! the rest of the very same file (RFC 9110 sections 13.1.5 and 14). What arrives is not believed here.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use hyper::header::{
    CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use hyper::http::HeaderValue;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::model::{Failure, Reason};
use crate::transport::http::{Client, Fault, Patience, Request, Response};
use crate::transport::partial::Partial;
use crate::transport::retry::{self, Retries};
use crate::transport::trust::{Judge, Trust};
use crate::transport::url::{Scheme, Url};

use super::bring::{ARTEFACT_BYTES_MAX, Listener, disk, room};
use super::home::DOWNLOAD;

const FILE: &str = DOWNLOAD[0];
/// What the file is a part of.
const NOTE: &str = DOWNLOAD[1];
const REDIRECTS_MAX: usize = 5;
/// A try that brought so much was no failure: a bad line may break a long file many times.
const PROGRESS_BYTES: u64 = 64 * 1024;
/// Failures on end, without progress.
const TRIES: u32 = 6;

/// How long the client waits, and before the second try.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub patience: Patience,
    pub first_wait: Duration,
}

impl Default for Effort {
    fn default() -> Effort {
        let patience = Patience { connect: Duration::from_secs(10), idle: Duration::from_secs(30) };
        Effort { patience, first_wait: Duration::from_secs(1) }
    }
}

/// Whose beginning lies in the file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    url: String,
    /// An entity tag or a date by which the server knows this very file again.
    validator: Option<String>,
    total: Option<u64>,
}

enum Trouble {
    Passing { why: String, after: Option<Duration> },
    Lasting(Failure),
}

/// The whole file, with its hash.
///
/// # Errors
/// `ServiceUnavailable` where trying later may help, `BadRequest`, `NotFound` or `InternalError` where not.
pub fn fetch(address: &str, dir: &Path, effort: Effort, listener: &dyn Listener) -> Result<Partial, Failure> {
    let url = parse(address)?;
    let note = read_note(dir).filter(|note| note.url == address).unwrap_or_default();
    let is_cancelled = || listener.is_cancelled();
    let mut partial =
        Partial::open(dir, FILE, ARTEFACT_BYTES_MAX, &is_cancelled).map_err(|e| disk("write", dir, &e))?;
    if note.url.is_empty() {
        // The beginning of another file, or of one that nobody remembers.
        partial.restart().map_err(|e| disk("write", dir, &e))?;
    }
    let trust = Trust::default();
    let client =
        Client::new(&trust, effort.patience, &is_cancelled).map_err(|e| disk("open a connection for", dir, &e))?;
    let mut fetch = Fetch { client, url, dir, note: Note { url: address.into(), ..note }, listener };
    let mut retries = Retries::new(TRIES, effort.first_wait);
    loop {
        let before = partial.len();
        let done = fetch.go_on(&mut partial);
        if partial.len() >= before.saturating_add(PROGRESS_BYTES) {
            retries.progressed();
        }
        match done {
            Ok(()) => return Ok(partial),
            Err(trouble) => fetch.wait_after(trouble, &mut retries)?,
        }
    }
}

/// A short text.
///
/// # Errors
/// As [`fetch`].
pub fn text(address: &str, most: usize, effort: Effort, listener: &dyn Listener) -> Result<String, Failure> {
    let (url, trust, is_cancelled) = (parse(address)?, Trust::default(), || listener.is_cancelled());
    let client = Client::new(&trust, effort.patience, &is_cancelled)
        .map_err(|e| Failure::new(Reason::InternalError, format!("cannot open a connection: {e}")))?;
    let note = Note { url: address.into(), ..Note::default() };
    let mut fetch = Fetch { client, url, dir: Path::new(""), note, listener };
    let mut retries = Retries::new(TRIES, effort.first_wait);
    loop {
        match fetch.whole(most) {
            Ok(text) => return Ok(text),
            Err(trouble) => fetch.wait_after(trouble, &mut retries)?,
        }
    }
}

fn parse(address: &str) -> Result<Url, Failure> {
    let bad = || Failure::new(Reason::BadRequest, format!("{address:?} is no address; write https://HOST/PATH"));
    Url::parse(address).ok_or_else(bad)
}

pub(super) fn cancelled() -> Failure {
    Failure::new(Reason::ServiceUnavailable, "the update was broken off")
}

struct Fetch<'a> {
    client: Client<'a>,
    url: Url,
    dir: &'a Path,
    note: Note,
    listener: &'a dyn Listener,
}

impl Fetch<'_> {
    /// Lets the time pass that a trouble needs.
    ///
    /// # Errors
    /// Waiting does not help any more.
    fn wait_after(&self, trouble: Trouble, retries: &mut Retries) -> Result<(), Failure> {
        let (why, after) = match trouble {
            Trouble::Lasting(failure) => return Err(failure),
            Trouble::Passing { why, after } => (why, after),
        };
        let given_up =
            || Failure::new(Reason::ServiceUnavailable, format!("{why}; what came is kept, try again later"));
        let wait = retries.next(after, retry::random()).ok_or_else(given_up)?;
        self.client.pause(wait).map_err(|_| cancelled())
    }

    fn whole(&mut self, most: usize) -> Result<String, Trouble> {
        let mut response = self.ask(&HeaderMap::new())?;
        self.expect(&response, &[StatusCode::OK])?;
        let bytes = self.client.read_all(&mut response, most).map_err(|fault| self.fault(fault))?;
        let long =
            || self.refused(Reason::BadRequest, &format!("gives more than {most} bytes where a short text belongs"));
        String::from_utf8(bytes.ok_or_else(long)?).map_err(|_| self.refused(Reason::BadRequest, "gives no text"))
    }

    /// One request for what is missing.
    fn go_on(&mut self, partial: &mut Partial) -> Result<(), Trouble> {
        let offset = partial.len();
        if self.note.total == Some(offset) && offset > 0 {
            return Ok(());
        }
        let mut response = self.ask(&range(offset, self.note.validator.as_deref()))?;
        self.expect(&response, &[StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE])?;
        let goes_on = response.status == StatusCode::PARTIAL_CONTENT && begins_at(&response) == Some(offset);
        if offset > 0 && !goes_on {
            partial.restart().map_err(|e| self.disk(&e))?;
        }
        // An answer to a range that is not the one asked for; the whole is asked for next.
        if response.status != StatusCode::OK && !goes_on {
            return Err(self.passing("does not go on where the file broke off"));
        }
        self.begin(partial, &response)?;
        self.receive(partial, &mut response)
    }

    /// Notes what is being fetched, before the first byte of it is kept.
    fn begin(&mut self, partial: &Partial, response: &Response) -> Result<(), Trouble> {
        let total = response.length().map(|missing| partial.len() + missing);
        if total.is_some_and(|total| total > ARTEFACT_BYTES_MAX) {
            return Err(self.refused(
                Reason::BadRequest,
                &format!("gives more than the {ARTEFACT_BYTES_MAX} bytes that a program may have"),
            ));
        }
        room(self.dir, total.unwrap_or_default() - partial.len().min(total.unwrap_or_default()))
            .map_err(Trouble::Lasting)?;
        let note = Note { url: self.note.url.clone(), validator: validator(response), total };
        if note != self.note {
            let text = serde_json::to_string(&note).unwrap_or_default();
            fs::write(self.dir.join(NOTE), text).map_err(|e| self.disk(&e))?;
            self.note = note;
        }
        Ok(())
    }

    fn receive(&mut self, partial: &mut Partial, response: &mut Response) -> Result<(), Trouble> {
        while let Some(bytes) = self.client.read(response).map_err(|fault| self.fault(fault))? {
            let most = self.note.total.unwrap_or(ARTEFACT_BYTES_MAX);
            if partial.len() + bytes.len() as u64 > most {
                return Err(self.refused(Reason::BadRequest, &format!("gives more than {most} bytes")));
            }
            partial.append(&bytes).map_err(|e| self.disk(&e))?;
            self.listener.at("downloading", partial.len(), self.note.total);
        }
        match self.note.total {
            Some(total) if partial.len() < total => {
                Err(self.passing(&format!("ends after {} of {total} bytes", partial.len())))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Follows redirects, from HTTPS to HTTPS alone.
    fn ask(&mut self, headers: &HeaderMap) -> Result<Response, Trouble> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let request = Request {
                method: Method::GET,
                url: &url,
                judge: &Judge::Host,
                headers: headers.clone(),
                body: bytes::Bytes::new(),
            };
            let response = self.client.send(&request).map_err(|fault| self.fault(fault))?;
            let moved = matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = response.header(LOCATION).filter(|_| moved) else { return Ok(response) };
            let next = url.join(location).filter(|next| next.scheme == Scheme::Https || url.scheme == Scheme::Http);
            url = next.ok_or_else(|| {
                self.refused(Reason::BadRequest, "redirects to an address that is not safe to use (no HTTPS)")
            })?;
        }
        Err(self.refused(Reason::BadRequest, &format!("redirects more than {REDIRECTS_MAX} times")))
    }

    fn expect(&self, response: &Response, statuses: &[StatusCode]) -> Result<(), Trouble> {
        let status = response.status;
        if matches!(status.as_u16(), 408 | 429 | 500 | 502..=504) {
            let after =
                response.header(RETRY_AFTER).and_then(|after| retry::retry_after(after, jiff::Timestamp::now()));
            return Err(Trouble::Passing { why: self.says(&format!("answers {status}")), after });
        }
        if !statuses.contains(&status) {
            let reason = if status == StatusCode::NOT_FOUND { Reason::NotFound } else { Reason::BadRequest };
            return Err(self.refused(reason, &format!("answers {status}")));
        }
        match response.header(CONTENT_ENCODING) {
            None | Some("" | "identity") => Ok(()),
            Some(_) => Err(self.refused(Reason::BadRequest, "packs the file on the way, which was not asked for")),
        }
    }

    fn says(&self, what: &str) -> String {
        format!("{} {what}", self.url)
    }

    fn passing(&self, what: &str) -> Trouble {
        Trouble::Passing { why: self.says(what), after: None }
    }

    fn refused(&self, reason: Reason, what: &str) -> Trouble {
        Trouble::Lasting(Failure::new(reason, self.says(what)))
    }

    fn fault(&self, fault: Fault) -> Trouble {
        match fault {
            Fault::Cancelled => Trouble::Lasting(cancelled()),
            Fault::Unconnected(why) => self.passing(&format!("cannot be reached: {why}")),
            Fault::Broken(why) => self.passing(&format!("broke off: {why}")),
            Fault::NoTls(why) => self.refused(Reason::BadRequest, &format!("does not speak HTTPS: {why}")),
            Fault::Untrusted(why) => self.refused(
                Reason::BadRequest,
                &format!("is not trusted: {why}; add its authority to the host's list (or SSL_CERT_FILE), and see that the clock is right"),
            ),
        }
    }

    fn disk(&self, e: &io::Error) -> Trouble {
        Trouble::Lasting(disk("write the download to", self.dir, e))
    }
}

fn range(offset: u64, validator: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if offset > 0
        && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
    {
        headers.insert(RANGE, range);
        // Without one the rest may be of another file; the digest will tell.
        if let Some(Ok(validator)) = validator.map(HeaderValue::from_str) {
            headers.insert(IF_RANGE, validator);
        }
    }
    headers
}

/// A weak tag says that two files mean the same, not that they are the same (RFC 9110 section 13.1.5).
fn validator(response: &Response) -> Option<String> {
    let strong = response.header(ETAG).filter(|tag| !tag.starts_with("W/"));
    strong.or_else(|| response.header(LAST_MODIFIED)).map(str::to_string)
}

/// `Content-Range: bytes FIRST-LAST/SIZE`
fn begins_at(response: &Response) -> Option<u64> {
    let range = response.header(CONTENT_RANGE)?.strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

fn read_note(dir: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(dir.join(NOTE)).ok()?).ok()
}

/// The download is done with, or of no use.
pub fn forget(dir: &Path) {
    // A note without a file, or a file without a note, is begun anew.
    let _ = fs::remove_file(dir.join(NOTE));
    let _ = fs::remove_file(dir.join(FILE));
}

#[cfg(test)]
mod tests;
