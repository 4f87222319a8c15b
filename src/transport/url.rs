//! The part of URLs that a registry's client meets: http and https, a host, a path. Knows no request.

use std::fmt;
use std::net::IpAddr;

/// A longer address is no address; presigned ones of object stores stay below 4 KiB.
const URL_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

/// An address that is complete: never relative, without a user, without a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// `HOST[:PORT]` in lower case, an IPv6 address in brackets, a scheme's own port left out.
    pub authority: String,
    /// With the query; begins with `/`.
    pub path: String,
}

impl Scheme {
    pub fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Without path and query: those of an object store carry a signature, which is a secret.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority)
    }
}

impl Url {
    pub fn new(scheme: Scheme, authority: &str, path: &str) -> Url {
        let lower = authority.to_ascii_lowercase();
        let authority = lower.strip_suffix(&format!(":{}", scheme.port())).unwrap_or(&lower).to_string();
        Url { scheme, authority, path: path.to_string() }
    }

    /// `None`: not an address that a registry may give.
    pub fn parse(text: &str) -> Option<Url> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        (is_authority(authority) && is_path(&path)).then(|| Url::new(scheme, authority, &path))
    }

    /// Where `location` leads from here (RFC 3986 section 5.2, without dot segments: servers resolve those).
    pub fn join(&self, location: &str) -> Option<Url> {
        if location.contains("://") {
            return Url::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme.name()));
        }
        let location = location.split('#').next().unwrap_or(location);
        let base = self.path.split('?').next().unwrap_or("/");
        let path = if location.starts_with('/') {
            location.to_string()
        } else if location.starts_with('?') {
            format!("{base}{location}")
        } else {
            let directory = base.rfind('/').map_or("", |end| &base[..end]);
            format!("{directory}/{location}")
        };
        is_path(&path).then(|| Url { path, ..self.clone() })
    }

    /// Without port and brackets, as name lookup and TLS want it.
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }

    pub fn port(&self) -> u16 {
        let port = self.authority[self.host_end()..].strip_prefix(':').and_then(|port| port.parse().ok());
        port.unwrap_or(self.scheme.port())
    }

    fn host_end(&self) -> usize {
        host_end(&self.authority)
    }

    /// What a secret may be sent to again: scheme, host and port are the same.
    pub fn is_same_origin(&self, other: &Url) -> bool {
        self.scheme == other.scheme && self.authority == other.authority
    }
}

/// This machine itself, by name or address.
pub fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn host_of(authority: &str) -> &str {
    authority[..host_end(authority)].trim_start_matches('[').trim_end_matches(']')
}

fn host_end(authority: &str) -> usize {
    match authority.find(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    }
}

/// `HOST[:PORT]`: a name, an IPv4 address, or an IPv6 address in brackets.
pub fn is_authority(text: &str) -> bool {
    let (host, port) = text.split_at(host_end(text));
    let port_fits = match port.strip_prefix(':') {
        Some(port) => port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    let host_fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c))
        }
    };
    host_fits && port_fits
}

fn is_path(path: &str) -> bool {
    path.len() <= URL_BYTES_MAX && path.bytes().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str, u16, &str)>) {
        let url = Url::parse(text);
        let parts = url.as_ref().map(|u| (u.authority.as_str(), u.host(), u.port(), u.path.as_str()));
        assert_eq!(parts, expected, "{text}");
    }

    #[test]
    fn addresses_are_taken_apart() {
        check("https://a.b/c?d=e", Some(("a.b", "a.b", 443, "/c?d=e")));
        check("HTTPS://A.b:443", Some(("a.b", "a.b", 443, "/")));
        check("http://a:5000?x", Some(("a:5000", "a", 5000, "/?x")));
        check("http://[::1]:5000/v2/#f", Some(("[::1]:5000", "::1", 5000, "/v2/")));
        check("https://[::1]", Some(("[::1]", "::1", 443, "/")));
        for bad in [
            "",
            "a",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://u:p@a/",
            "http://a:0/",
            "http://a:70000",
            "http://a:/",
            "http://a b/",
            "http://a/ b",
            "http://a/\r\nX: y",
            "http://[::1/",
            "http://::1/",
            "http://a/ä",
            "http://[a]/",
        ] {
            check(bad, None);
        }
        check(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX)), None);
    }

    #[test]
    fn a_location_leads_on_from_where_it_was_found() {
        let base = Url::parse("https://a:1/v2/x/blobs/y?z").unwrap();
        for (location, expected) in [
            ("http://b/c", "http://b|/c"),
            ("//b/c", "https://b|/c"),
            ("/c?d", "https://a:1|/c?d"),
            ("c", "https://a:1|/v2/x/blobs/c"),
            ("?q", "https://a:1|/v2/x/blobs/y?q"),
        ] {
            let url = base.join(location).unwrap();
            assert_eq!(format!("{url}|{}", url.path), expected, "{location}");
        }
        assert_eq!(base.join("a b"), None);
        assert_eq!(base.join("file:///etc/passwd"), None);
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost:5000", "LOCALHOST", "127.0.0.1", "127.9.9.9:1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "128.0.0.1", "[::2]", "127.0.0.1.example.com", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
