//! Logins for registries from docker's files (`config.json`, the older `.dockercfg`), looked up as Kubernetes' keyring does:
//! <https://kubernetes.io/docs/concepts/containers/images/#config-json>. Knows no request; shows no secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

use crate::model::sorted;

use super::hosts;

/// More entries in one file are not read.
const LOGINS_MAX: usize = 1000;

/// What proves who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    Password {
        user: String,
        password: String,
    },
    /// An OAuth2 refresh token, changed for an access token at the token server.
    Identity(String),
    /// A bearer token that is sent as it is.
    Token(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Login::Password { .. } => "Password(…)",
            Login::Identity(_) => "Identity(…)",
            Login::Token(_) => "Token(…)",
        })
    }
}

/// All logins of a fetch.
#[derive(Debug, Default)]
pub struct Keyring {
    /// Each file's entries, longest key first; files in their order.
    entries: Vec<(Key, Login)>,
}

/// `HOST[:PORT][/PATH]`, where the host may have `*` and `?` within its labels.
#[derive(Debug)]
struct Key {
    host: String,
    path: String,
}

impl Keyring {
    /// Adds what one file holds; those added before go first.
    ///
    /// # Errors
    /// The text is no such file. Never quotes it.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let document: Value = serde_json::from_str(text).map_err(|e| {
            // Its text may quote the document; the place is enough.
            format!("is no JSON (line {}, column {})", e.line(), e.column())
        })?;
        let Value::Object(document) = document else { return Err("is no JSON object".into()) };
        let logins = match document.get("auths") {
            Some(Value::Object(auths)) => auths.clone(),
            Some(Value::Null) => Map::new(),
            Some(_) => return Err("has `auths` that is no object".into()),
            // The older form has the hosts at its top.
            None => document,
        };
        let mut found: Vec<_> =
            logins.iter().take(LOGINS_MAX).filter_map(|(key, entry)| Some((Key::read(key), login(entry)?))).collect();
        sorted::by(&mut found, |(a, _), (b, _)| (&b.host, &b.path).cmp(&(&a.host, &a.path)));
        self.entries.extend(found);
        Ok(())
    }

    /// The logins that fit `host` and `repository`, the best first.
    pub fn logins(&self, host: &str, repository: &str) -> Vec<&Login> {
        self.entries.iter().filter(|(key, _)| key.fits(host, repository)).map(|(_, login)| login).collect()
    }
}

impl Key {
    fn read(text: &str) -> Key {
        let text = text.trim();
        let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        // `docker login` writes `https://index.docker.io/v1/`.
        let path = ["v1/", "v2/"].iter().find_map(|version| path.strip_prefix(version)).unwrap_or(path);
        let path = if path == "v1" || path == "v2" { "" } else { path };
        Key { host: hosts::canonical(host), path: path.to_string() }
    }

    fn fits(&self, host: &str, repository: &str) -> bool {
        host_fits(&self.host, &hosts::canonical(host)) && repository.starts_with(&self.path)
    }
}

/// Label by label, the port being part of the last: `*.example.com` is no `example.com` and no `a.b.example.com`.
fn host_fits(pattern: &str, host: &str) -> bool {
    let (pattern, port) = split_port(pattern);
    let (host, host_port) = split_port(host);
    let (pattern, host): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    port == host_port
        && pattern.len() == host.len()
        && pattern.iter().zip(&host).all(|(p, h)| glob(p.as_bytes(), h.as_bytes()))
}

fn split_port(authority: &str) -> (&str, &str) {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
        _ => (authority, ""),
    }
}

/// `*` for any text, `?` for one character. Takes time in proportion to the product of the lengths at most.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stood, and how much of the text it takes so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == text[t] || pattern[p] == b'?') {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// None: the entry has no secret, as after `docker login` with a credentials store.
fn login(entry: &Value) -> Option<Login> {
    let field = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = field("identitytoken") {
        return Some(Login::Identity(token.to_string()));
    }
    if let Some(token) = field("registrytoken") {
        return Some(Login::Token(token.to_string()));
    }
    let (user, password) = match field("auth") {
        Some(auth) => decode(auth)?,
        None => (field("username")?.to_string(), field("password").unwrap_or_default().to_string()),
    };
    Some(Login::Password { user, password })
}

fn decode(auth: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(auth.trim()).or_else(|_| STANDARD_NO_PAD.decode(auth.trim())).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker once padded with zero bytes.
    Some((user.to_string(), password.trim_matches('\0').to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(files: &[&str], host: &str, repository: &str) -> Vec<String> {
        let mut keyring = Keyring::default();
        for file in files {
            keyring.add(file).unwrap();
        }
        let name = |login: &&Login| match login {
            Login::Password { user, password } => format!("{user}:{password}"),
            Login::Identity(token) => format!("identity {token}"),
            Login::Token(token) => format!("token {token}"),
        };
        keyring.logins(host, repository).iter().map(name).collect()
    }

    fn file(keys: &[&str]) -> String {
        let auths: Map<String, Value> =
            keys.iter().map(|key| (key.to_string(), serde_json::json!({"username": key, "password": "p"}))).collect();
        serde_json::json!({"auths": auths}).to_string()
    }

    #[track_caller]
    fn fits(key: &str, host: &str, repository: &str, expected: bool) {
        assert_eq!(!users(&[&file(&[key])], host, repository).is_empty(), expected, "{key} for {host}/{repository}");
    }

    #[test]
    fn keys_fit_as_in_kubernetes() {
        fits("r.example.com", "r.example.com", "a/b", true);
        fits("https://r.example.com", "r.example.com", "a/b", true);
        fits("http://r.example.com/v2/", "r.example.com", "a/b", true);
        fits("https://r.example.com/v1/a", "r.example.com", "a/b", true);
        fits("R.Example.com", "r.example.com", "a/b", true);
        fits("r.example.com/a", "r.example.com", "a/b", true);
        fits("r.example.com/a/b/c", "r.example.com", "a/b", false);
        fits("r.example.com/b", "r.example.com", "a/b", false);
        fits("r.example.com:5000", "r.example.com:5000", "a", true);
        fits("r.example.com", "r.example.com:5000", "a", false);
        fits("r.example.com:5000", "r.example.com", "a", false);
        fits("*.example.com", "r.example.com", "a", true);
        fits("*.example.com", "example.com", "a", false);
        fits("*.example.com", "a.b.example.com", "a", false);
        fits("*.*.example.com", "a.b.example.com", "a", true);
        fits("pre*x.example.com", "prefix.example.com", "a", true);
        fits("r?.example.com", "r1.example.com", "a", true);
        fits("example.com", "example.com.evil.org", "a", false);
        fits("*", "localhost", "a", true);
        fits("[::1]:5000", "[::1]:5000", "a", true);
        for key in ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io", "index.docker.io"] {
            fits(key, "docker.io", "library/busybox", true);
            fits(key, "example.com", "library/busybox", false);
        }
    }

    #[test]
    fn the_longest_key_goes_first_and_files_keep_their_order() {
        let first = file(&["r.io", "r.io/a/b", "r.io/a"]);
        let second = file(&["r.io/a/b/c"]);
        let found = users(&[&first, &second], "r.io", "a/b/c");
        assert_eq!(found, ["r.io/a/b:p", "r.io/a:p", "r.io:p", "r.io/a/b/c:p"]);
    }

    #[test]
    fn every_form_of_a_login_is_read() {
        let of = |entry: &str| users(&[&format!(r#"{{"auths": {{"r": {entry}}}}}"#)], "r", "a").join(",");
        assert_eq!(of(r#"{"auth": "dTpwOnE="}"#), "u:p:q");
        assert_eq!(of(r#"{"auth": "dTpwOnE"}"#), "u:p:q");
        assert_eq!(of(r#"{"username": "u", "password": "p", "email": "e"}"#), "u:p");
        assert_eq!(of(r#"{"auth": "dTpw", "identitytoken": "t"}"#), "identity t");
        assert_eq!(of(r#"{"registrytoken": "t"}"#), "token t");
        for nothing in
            ["{}", r#"{"auth": ""}"#, r#"{"auth": "%%%"}"#, r#"{"auth": "dQ=="}"#, "5", "null", r#"{"auth": 5}"#]
        {
            assert_eq!(of(nothing), "", "{nothing}");
        }
        assert_eq!(users(&[r#"{"r": {"auth": "dTpw"}}"#], "r", "a"), ["u:p"]);
        assert!(users(&["{}", r#"{"auths": null, "credsStore": "desktop"}"#], "r", "a").is_empty());
    }

    #[test]
    fn what_is_no_such_file_is_refused_without_quoting_it() {
        for bad in ["", "hunter2", "[\"hunter2\"]", "{\"hunter2\"", r#"{"auths": "hunter2"}"#, r#"{"auths": hunter2}"#]
        {
            let error = Keyring::default().add(bad).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let login = Login::Password { user: "u".into(), password: "hunter2".into() };
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn patterns_take_no_time_to_speak_of() {
        let pattern = format!("{}b", "*a".repeat(500));
        assert!(!glob(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
        assert!(glob(b"", b"") && glob(b"**", b"") && !glob(b"?", b"") && glob(b"a*c", b"abcbc"));
    }
}
