//! Fetches one blob: whole into memory, or into its partial file, going on where it broke off (RFC 9110 section 14). What
//! arrives is believed by its digest alone.

use std::io;

use hyper::header::{ACCEPT, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, RANGE};
use hyper::http::HeaderValue;
use hyper::{Method, StatusCode};

use crate::image::{ImageError, Progress};
use crate::model::id::sha256_hex;

use super::document::Blob;
use super::hosts::Endpoint;
use super::meter::Meter;
use super::trouble::Trouble;
use super::wire::Wire;
use crate::transport::http::Response;
use crate::transport::partial::Partial;

/// A try that brought so much was no failure: a bad line may break a large blob many times.
const PROGRESS_BYTES: u64 = 64 * 1024;

/// Where a blob is, and who hears of it.
pub struct Source<'a> {
    pub endpoint: &'a Endpoint,
    pub repository: &'a str,
    pub blob: &'a Blob,
    pub meter: &'a Meter,
    pub progress: &'a dyn Progress,
}

impl Source<'_> {
    fn path(&self) -> String {
        format!("/v2/{}/blobs/{}", self.repository, self.blob.digest())
    }

    fn what(&self) -> String {
        format!("download {}", self.blob.short())
    }

    fn host(&self) -> &str {
        &self.endpoint.host
    }

    fn refused(&self, what: &str) -> Trouble {
        Trouble::refused(format!(
            "{} gives something else for {} than the image names: {what}; the copy there is damaged, push it again",
            self.host(),
            self.blob.digest()
        ))
    }
}

/// The whole of a small blob.
pub fn small(wire: &mut Wire<'_>, source: &Source<'_>) -> Result<Vec<u8>, Trouble> {
    // Its size was held against the bound of its kind when the manifest was read.
    let most = usize::try_from(source.blob.size).unwrap_or(usize::MAX);
    wire.patiently(|wire| {
        let mut response = wire.once(source.endpoint, Method::GET, &source.path(), &accept())?;
        expect(source, &response, &[StatusCode::OK])?;
        let body = wire.client.read_all(&mut response, most).map_err(|fault| Trouble::of(fault, source.host()))?;
        match body {
            Some(body) if sha256_hex(&body) == source.blob.hex => Ok(body),
            Some(_) => Err(source.refused("the digest is another")),
            None => Err(source.refused(&format!("it is longer than {most} bytes"))),
        }
    })
}

/// Brings the partial file to the whole blob.
pub fn fetch(wire: &mut Wire<'_>, source: &Source<'_>, partial: &mut Partial) -> Result<(), Trouble> {
    let mut is_own = partial.len() == 0;
    loop {
        complete(wire, source, partial, &mut is_own)?;
        if partial.is(&source.blob.hex) {
            return Ok(());
        }
        partial.restart().map_err(disk)?;
        // What an earlier try left may be what is wrong; then the whole is fetched, once.
        if is_own {
            return Err(source.refused("the digest is another"));
        }
        is_own = true;
    }
}

/// Until it has all its bytes. `is_own` becomes true where nothing is left of an earlier fetch.
fn complete(wire: &mut Wire<'_>, source: &Source<'_>, partial: &mut Partial, is_own: &mut bool) -> Result<(), Trouble> {
    let mut retries = wire.retries.clone();
    loop {
        let before = partial.len();
        let trouble = match go_on(wire, source, partial, is_own) {
            Ok(()) => return Ok(()),
            Err(trouble) => trouble,
        };
        if partial.len() >= before.saturating_add(PROGRESS_BYTES) {
            retries.progressed();
        }
        wire.wait_after(trouble, &mut retries)?;
    }
}

/// One request for what is missing.
fn go_on(wire: &mut Wire<'_>, source: &Source<'_>, partial: &mut Partial, is_own: &mut bool) -> Result<(), Trouble> {
    let (size, offset) = (source.blob.size, partial.len());
    source.progress.at(&source.what(), offset, Some(size));
    if offset == size {
        return Ok(());
    }
    let mut headers = accept();
    if offset > 0
        && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
    {
        headers.insert(RANGE, range);
    }
    let mut response = wire.once(source.endpoint, Method::GET, &source.path(), &headers)?;
    expect(source, &response, &[StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE])?;
    let goes_on = response.status == StatusCode::PARTIAL_CONTENT && begins_at(&response) == Some(offset);
    if offset > 0 && !goes_on {
        partial.restart().map_err(disk)?;
        *is_own = true;
    }
    // An answer to a range that is not the one asked for; the whole is asked for next.
    if response.status != StatusCode::OK && !goes_on {
        return Err(Trouble::passing(format!(
            "{} does not go on where the {} broke off",
            source.host(),
            source.what()
        )));
    }
    let missing = size - partial.len();
    if response.length().is_some_and(|length| length != missing) {
        return Err(source.refused(&format!("{missing} bytes are missing, and it has another number of them")));
    }
    receive(wire, source, partial, &mut response)
}

fn receive(
    wire: &mut Wire<'_>,
    source: &Source<'_>,
    partial: &mut Partial,
    response: &mut Response,
) -> Result<(), Trouble> {
    let size = source.blob.size;
    while let Some(bytes) = wire.client.read(response).map_err(|fault| Trouble::of(fault, source.host()))? {
        if partial.len() + bytes.len() as u64 > size {
            return Err(source.refused(&format!("it is longer than {size} bytes")));
        }
        partial.append(&bytes).map_err(disk)?;
        source.progress.at(&source.what(), partial.len(), Some(size));
        let wait = source.meter.take(bytes.len());
        if !wait.is_zero() {
            wire.client.pause(wait).map_err(|fault| Trouble::of(fault, source.host()))?;
        }
    }
    if partial.len() < size {
        return Err(Trouble::passing(format!(
            "{} ends the {} after {} of {size} bytes",
            source.host(),
            source.what(),
            partial.len()
        )));
    }
    Ok(())
}

fn expect(source: &Source<'_>, response: &Response, statuses: &[StatusCode]) -> Result<(), Trouble> {
    if !statuses.contains(&response.status) {
        let (host, digest) = (source.host(), source.blob.digest());
        return Err(Trouble::refused(match response.status {
            StatusCode::NOT_FOUND => {
                format!("blob unknown: {host} has the image but not its part {digest}; push it again")
            }
            other => format!("{host} answers {other} for the image's part {digest}"),
        }));
    }
    match response.header(CONTENT_ENCODING) {
        None | Some("" | "identity") => Ok(()),
        Some(_) => Err(source.refused("it was packed on the way, which was not asked for")),
    }
}

/// `Content-Range: bytes FIRST-LAST/SIZE`
fn begins_at(response: &Response) -> Option<u64> {
    let range = response.header(CONTENT_RANGE)?.strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

fn accept() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))])
}

/// An error of the disk, not of the registry.
pub fn disk(e: io::Error) -> Trouble {
    Trouble::Lasting(disk_error(&e))
}

pub fn disk_error(e: &io::Error) -> ImageError {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ImageError::NoRoom(format!("the disk became full while a layer was fetched: {e}; remove images or files"))
        }
        io::ErrorKind::TimedOut => ImageError::Cancelled,
        _ => ImageError::Io(format!("the file of a download cannot be written: {e}; see to the data directory's disk")),
    }
}
