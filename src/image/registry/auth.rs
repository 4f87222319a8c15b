//! Proves to a server who asks: from a challenge and a login to the header `Authorization` (distribution spec, "Token
//! Authentication" and "OAuth2 Token Authentication"). Keeps what it got for the length of one fetch; shows no secret.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use hyper::http::HeaderValue;
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::challenge::{self, Challenge};
use super::hosts;
use super::keyring::{Keyring, Login};
use super::trouble::Trouble;
use super::wire::{Ask, Wire};
use crate::transport::http::Response;
use crate::transport::url::Url;

/// A token server says a few kilobytes.
const TOKEN_BYTES_MAX: usize = 256 * 1024;
/// Sent to OAuth2 servers, which want a name.
const CLIENT_ID: &str = "pinnace";

/// What satisfied a server, or may.
#[derive(Clone)]
pub struct Proof {
    /// The value of `Authorization`.
    pub header: HeaderValue,
    /// By which of the host's logins.
    pub login: usize,
    /// What it answers, to be answered again.
    pub challenges: Vec<Challenge>,
}

/// The logins of a fetch and what they brought, shared by its threads.
pub struct Doorkeeper {
    keyring: Keyring,
    repository: String,
    /// By the endpoint's host.
    proofs: Mutex<HashMap<String, Proof>>,
}

impl Doorkeeper {
    pub fn new(keyring: Keyring, repository: &str) -> Doorkeeper {
        Doorkeeper { keyring, repository: repository.to_string(), proofs: Mutex::default() }
    }

    pub fn proof(&self, host: &str) -> Option<Proof> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    pub fn logins(&self, host: &str) -> usize {
        self.keyring.logins(host, &self.repository).len()
    }

    /// Answers the challenges with the login of that number, or one after it; none: none of them satisfies.
    pub fn answer(
        &self,
        wire: &mut Wire<'_>,
        (host, from): (&str, &Url),
        challenges: &[Challenge],
        first: usize,
    ) -> Result<Option<Proof>, Trouble> {
        let logins = self.keyring.logins(host, &self.repository);
        // Nobody's name is a login too.
        let all: Vec<Option<&Login>> =
            if logins.is_empty() { vec![None] } else { logins.into_iter().map(Some).collect() };
        for (number, login) in all.into_iter().enumerate().skip(first) {
            if let Some(header) = self.header(wire, from, challenges, login)? {
                let proof = Proof { header, login: number, challenges: challenges.to_vec() };
                self.proofs.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_string(), proof.clone());
                return Ok(Some(proof));
            }
        }
        Ok(None)
    }

    fn header(
        &self,
        wire: &mut Wire<'_>,
        from: &Url,
        challenges: &[Challenge],
        login: Option<&Login>,
    ) -> Result<Option<HeaderValue>, Trouble> {
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service, scope } => Some((realm, service, scope)),
            Challenge::Basic => None,
        });
        match (bearer, login) {
            (Some(_), Some(Login::Token(token))) => Ok(secret(&format!("Bearer {token}"))),
            (Some((realm, service, scope)), login) => {
                let own = format!("repository:{}:pull", self.repository);
                let scope = if scope.is_empty() { &own } else { scope };
                self.token(wire, from, &TokenWish { realm, service, scope }, login)
            }
            (None, Some(Login::Password { user, password })) => Ok(secret(&basic(user, password))),
            (None, Some(Login::Identity(_) | Login::Token(_)) | None) => Ok(None),
        }
    }

    fn token(
        &self,
        wire: &mut Wire<'_>,
        from: &Url,
        wish: &TokenWish<'_>,
        login: Option<&Login>,
    ) -> Result<Option<HeaderValue>, Trouble> {
        let realm = from.join(wish.realm).filter(|realm| hosts::may_follow(from, realm, wire.config));
        let realm = realm.ok_or_else(|| {
            Trouble::refused(format!(
                "{from} sends its logins to a token server at an address that is not safe to use; it must be HTTPS, or its \
                 host insecure in images.registries"
            ))
        })?;
        let mut headers = HeaderMap::new();
        if let Some(Login::Password { user, password }) = login
            && let Some(value) = secret(&basic(user, password))
        {
            headers.insert(AUTHORIZATION, value);
        }
        let ask = match login {
            Some(Login::Identity(token)) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                Ask { method: Method::POST, url: realm.clone(), headers, body: Bytes::from(wish.form(token)) }
            }
            Some(Login::Password { .. } | Login::Token(_)) | None => {
                Ask { method: Method::GET, url: wish.address(&realm), headers, body: Bytes::new() }
            }
        };
        let (mut response, _) = wire.patiently(|wire| wire.follow(&ask))?;
        if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST].contains(&response.status) {
            return Ok(None);
        }
        if response.status != StatusCode::OK {
            return Err(Trouble::refused(format!("the token server {realm} answers {}", response.status)));
        }
        let body = wire.body(&mut response, TOKEN_BYTES_MAX, &realm)?;
        read_token(&body).map(Some).ok_or_else(|| {
            Trouble::refused(format!(
                "the token server {realm} gives no token; is it the right address for a registry?"
            ))
        })
    }
}

struct TokenWish<'a> {
    realm: &'a str,
    service: &'a str,
    scope: &'a str,
}

impl TokenWish<'_> {
    fn address(&self, realm: &Url) -> Url {
        let mark = if realm.path.contains('?') { '&' } else { '?' };
        let mut path = format!("{}{mark}", realm.path);
        if !self.service.is_empty() {
            path.push_str(&format!("service={}&", encoded(self.service)));
        }
        path.push_str(&format!("scope={}", encoded(self.scope)));
        Url { path, ..realm.clone() }
    }

    fn form(&self, token: &str) -> String {
        format!(
            "grant_type=refresh_token&service={}&client_id={CLIENT_ID}&scope={}&refresh_token={}",
            encoded(self.service),
            encoded(self.scope),
            encoded(token)
        )
    }
}

/// What the server wants to see; empty: nothing that is understood.
pub fn challenges(response: &Response) -> Vec<Challenge> {
    challenge::read(response.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()))
}

fn read_token(body: &[u8]) -> Option<HeaderValue> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let field = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    secret(&format!("Bearer {}", field("token").or_else(|| field("access_token"))?))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// None: no header can carry it. Marked so that no debug output shows it.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// As a value in a query (RFC 3986 section 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
