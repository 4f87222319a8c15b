//! From a reference to the one manifest and configuration that are for this machine. Fetches no layer.

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use hyper::http::HeaderValue;
use hyper::{Method, StatusCode};

use crate::image::{Config, ImageError, Platform, Progress, choose};
use crate::model::id::sha256_hex;
use crate::model::image::Reference;

use super::blob::{self, Source};
use super::document::{self, Blob, Document, MANIFEST_BYTES_MAX, Manifest};
use super::hosts::Endpoint;
use super::meter::Meter;
use super::trouble::Trouble;
use super::wire::Wire;
use crate::transport::http::Response;

/// A list may name lists.
const DEPTH_MAX: usize = 3;
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What a fetch looks for.
pub struct Wanted<'a> {
    pub reference: &'a Reference,
    /// `sha256:…` of the manifest that the store has; empty: none.
    pub known: &'a str,
    pub meter: &'a Meter,
    pub progress: &'a dyn Progress,
}

pub enum Found {
    /// The registry has what the store has.
    Same,
    Image(Box<FoundImage>),
}

pub struct FoundImage {
    /// `sha256:…` of what the reference names: the list, where there is one.
    pub digest: String,
    pub manifest: Manifest,
    /// The configuration as it was pushed.
    pub config: Vec<u8>,
    /// SHA-256 of each layer's archive in hexadecimal digits, lowest first; as many as the manifest has layers.
    pub diff_ids: Vec<String>,
}

/// Asks one endpoint.
pub fn at(wire: &mut Wire<'_>, endpoint: &Endpoint, wanted: &Wanted<'_>) -> Result<Found, Trouble> {
    let name = wanted.reference.version();
    if wanted.reference.digest.is_none() && !wanted.known.is_empty() && heads_to(wire, endpoint, wanted, name)? {
        return Ok(Found::Same);
    }
    let (digest, mut document) = get(wire, endpoint, wanted, name)?;
    if digest == wanted.known {
        return Ok(Found::Same);
    }
    for _ in 0..DEPTH_MAX {
        let list = match document {
            Document::Image(manifest) => return whole(wire, endpoint, wanted, digest, manifest),
            Document::List(list) => list,
        };
        let entry = pick(list)?;
        document = get(wire, endpoint, wanted, &entry.digest())?.1;
    }
    Err(Trouble::refused(format!("its lists of manifests are nested more than {DEPTH_MAX} deep")))
}

/// Whether the reference still leads to what is known, by a request without a body; a server that does not know HEAD does not say.
fn heads_to(wire: &mut Wire<'_>, endpoint: &Endpoint, wanted: &Wanted<'_>, name: &str) -> Result<bool, Trouble> {
    let response = wire.call(endpoint, Method::HEAD, &path(wanted, name), &accept())?;
    Ok(response.status == StatusCode::OK && response.header(CONTENT_DIGEST) == Some(wanted.known))
}

/// A manifest and its digest, which is checked against what the name and the server say.
fn get(
    wire: &mut Wire<'_>,
    endpoint: &Endpoint,
    wanted: &Wanted<'_>,
    name: &str,
) -> Result<(String, Document), Trouble> {
    wire.patiently(|wire| {
        let mut response = wire.once(endpoint, Method::GET, &path(wanted, name), &accept())?;
        if response.status != StatusCode::OK {
            return Err(denied(&response, wire, endpoint, wanted, name));
        }
        let host = endpoint.host.as_str();
        let body = wire.client.read_all(&mut response, MANIFEST_BYTES_MAX).map_err(|fault| Trouble::of(fault, host))?;
        let body = body.ok_or_else(|| {
            Trouble::refused(format!("the manifest that {host} sends has more than {MANIFEST_BYTES_MAX} bytes"))
        })?;
        let digest = format!("sha256:{}", sha256_hex(&body));
        let said = response.header(CONTENT_DIGEST).filter(|said| said.starts_with("sha256:"));
        let named = document::sha256(name).map(|_| name);
        if let Some(other) = named.into_iter().chain(said).find(|other| *other != digest) {
            return Err(Trouble::refused(format!(
                "{host} sends a manifest with the digest {digest} where {} belongs; it was damaged or changed on the way",
                document::shown(other)
            )));
        }
        let document = document::read(&body, response.header(CONTENT_TYPE)).map_err(Trouble::Lasting)?;
        Ok((digest, document))
    })
}

fn denied(response: &Response, wire: &Wire<'_>, endpoint: &Endpoint, wanted: &Wanted<'_>, name: &str) -> Trouble {
    let (host, repository) = (endpoint.host.as_str(), wanted.reference.path.as_str());
    Trouble::refused(match response.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let tried = match wire.doorkeeper.logins(host) {
                0 => "no login for it was given".to_string(),
                count => format!("none of the logins given for it ({count}) is enough"),
            };
            format!(
                "pull access denied for {repository} at {host}: it does not exist there or wants a login, and {tried}; give \
                 one by imagePullSecrets or images.docker_config"
            )
        }
        StatusCode::NOT_FOUND => {
            format!(
                "manifest unknown: {host} has no {repository} by the name {name}; see whether name and tag are right"
            )
        }
        other => format!("{host} answers {other} for the manifest of {repository}"),
    })
}

/// The entry for this machine; one that names no platform is taken to fit.
fn pick(list: Vec<(Option<Platform>, Blob)>) -> Result<Blob, Trouble> {
    let here = Platform::here();
    let offered = list.into_iter().map(|(platform, blob)| (platform.unwrap_or_else(|| here.clone()), blob)).collect();
    choose(&here, offered).map_err(Trouble::Lasting)
}

/// Adds the configuration, so that it is known which layers are missing before any is fetched.
fn whole(
    wire: &mut Wire<'_>,
    endpoint: &Endpoint,
    wanted: &Wanted<'_>,
    digest: String,
    manifest: Manifest,
) -> Result<Found, Trouble> {
    let repository = &wanted.reference.path;
    let source =
        Source { endpoint, repository, blob: &manifest.config, meter: wanted.meter, progress: wanted.progress };
    let config = blob::small(wire, &source)?;
    let diff_ids = layers_of(&config, manifest.layers.len()).map_err(Trouble::Lasting)?;
    Ok(Found::Image(Box::new(FoundImage { digest, manifest, config, diff_ids })))
}

fn layers_of(config: &[u8], layers: usize) -> Result<Vec<String>, ImageError> {
    let config = Config::read(config, &Platform::here())?;
    let diff_ids: Vec<String> = config.layers().map(str::to_string).collect();
    if diff_ids.len() != layers {
        return Err(ImageError::Refused(format!(
            "its manifest names {layers} layers, its configuration {}; push the image again",
            diff_ids.len()
        )));
    }
    Ok(diff_ids)
}

fn path(wanted: &Wanted<'_>, name: &str) -> String {
    format!("/v2/{}/manifests/{name}", wanted.reference.path)
}

fn accept() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(document::ACCEPT))])
}
