//! Which servers are asked for an image, in which order, and how each may be spoken to. Knows no request.

use std::sync::OnceLock;

use crate::model::{RegistriesConfig, RegistryHost};

use crate::transport::trust::Judge;
use crate::transport::url::{Scheme, Url, is_loopback};

/// How references, logins and settings name the registry of images without a host.
const DOCKER: &str = "docker.io";
/// Where it answers.
const DOCKER_SERVER: &str = "registry-1.docker.io";

/// One name for each registry, in lower case.
pub fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host.as_str()) { DOCKER.into() } else { host }
}

/// A server that may have the image.
#[derive(Debug)]
pub struct Endpoint {
    /// As references name it; logins are looked up by it.
    pub host: String,
    /// As it is connected to.
    authority: String,
    setting: RegistryHost,
    /// By which it answered first.
    scheme: OnceLock<Scheme>,
}

impl Endpoint {
    fn new(host: &str, config: &RegistriesConfig) -> Endpoint {
        let host = canonical(host);
        let authority = if host == DOCKER { DOCKER_SERVER.to_string() } else { host.clone() };
        Endpoint { setting: setting(&host, config), authority, host, scheme: OnceLock::new() }
    }

    /// What to try, in this order: plain HTTP only where nothing can be lost by it.
    pub fn schemes(&self) -> &'static [Scheme] {
        match self.scheme.get() {
            Some(Scheme::Http) => &[Scheme::Http],
            Some(Scheme::Https) => &[Scheme::Https],
            None if may_be_plain(&self.authority, &self.setting) => &[Scheme::Https, Scheme::Http],
            None => &[Scheme::Https],
        }
    }

    /// It has answered by this one, and stays with it.
    pub fn answered(&self, scheme: Scheme) {
        // The first answer holds; another thread may have been faster.
        let _ = self.scheme.set(scheme);
    }

    /// `path` begins with `/`.
    pub fn url(&self, scheme: Scheme, path: &str) -> Url {
        Url::new(scheme, &self.authority, path)
    }
}

/// The mirrors in their order, then the registry itself.
pub fn endpoints(host: &str, config: &RegistriesConfig) -> Vec<Endpoint> {
    let own = Endpoint::new(host, config);
    let mut all: Vec<Endpoint> = own.setting.mirrors.iter().map(|mirror| Endpoint::new(mirror, config)).collect();
    all.retain(|mirror| mirror.host != own.host);
    all.push(own);
    all
}

/// Whom to believe for an address, wherever it came from.
pub fn judge(url: &Url, config: &RegistriesConfig) -> Judge {
    let setting = setting(&canonical(&url.authority), config);
    match setting.ca_file {
        _ if setting.insecure => Judge::Nobody,
        Some(file) => Judge::File(file),
        None => Judge::Host,
    }
}

/// Whether an address that a server gave may be used: HTTPS always, plain HTTP where the settings allow it, and on this
/// machine if the server that gave it was spoken to in plain HTTP as well.
pub fn may_follow(from: &Url, to: &Url, config: &RegistriesConfig) -> bool {
    let insecure = || setting(&canonical(&to.authority), config).insecure;
    to.scheme == Scheme::Https || insecure() || (from.scheme == Scheme::Http && is_loopback(&to.authority))
}

fn may_be_plain(authority: &str, setting: &RegistryHost) -> bool {
    setting.insecure || is_loopback(authority)
}

fn setting(host: &str, config: &RegistriesConfig) -> RegistryHost {
    let found = config.hosts.iter().find(|(name, _)| canonical(name) == host);
    found.map(|(_, setting)| setting.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(hosts: &[(&str, &[&str], bool)]) -> RegistriesConfig {
        let mut config = RegistriesConfig::new("/p".into());
        for (host, mirrors, insecure) in hosts {
            let mirrors = mirrors.iter().map(|m| m.to_string()).collect();
            config.hosts.insert(host.to_string(), RegistryHost { mirrors, insecure: *insecure, ca_file: None });
        }
        config
    }

    #[test]
    fn mirrors_go_first_and_the_registry_itself_is_always_asked() {
        let config = config(&[("index.docker.io", &["m1:5000", "docker.io", "m2"], false)]);
        let hosts: Vec<String> = endpoints("docker.io", &config).iter().map(|e| e.authority.clone()).collect();
        assert_eq!(hosts, ["m1:5000", "m2", "registry-1.docker.io"]);
        assert_eq!(endpoints("other", &config).len(), 1);
    }

    #[test]
    fn plain_http_is_for_insecure_hosts_and_this_machine() {
        let config = config(&[("lab:5000", &[], true)]);
        let schemes = |host: &str| endpoints(host, &config)[0].schemes().to_vec();
        assert_eq!(schemes("lab:5000"), [Scheme::Https, Scheme::Http]);
        assert_eq!(schemes("localhost:5000"), [Scheme::Https, Scheme::Http]);
        assert_eq!(schemes("lab"), [Scheme::Https]);
        assert_eq!(schemes("docker.io"), [Scheme::Https]);
        let endpoint = &endpoints("lab:5000", &config)[0];
        endpoint.answered(Scheme::Https);
        endpoint.answered(Scheme::Http);
        assert_eq!(endpoint.schemes(), [Scheme::Https]);
    }

    #[test]
    fn an_address_from_a_server_leads_to_no_plain_http_by_itself() {
        let config = config(&[("lab:5000", &[], true)]);
        let follow = |from: &str, to: &str| may_follow(&Url::parse(from).unwrap(), &Url::parse(to).unwrap(), &config);
        assert!(follow("https://a", "https://b"));
        assert!(follow("https://a", "http://lab:5000/x"));
        assert!(follow("http://127.0.0.1", "http://127.0.0.2"));
        assert!(!follow("https://a", "http://a"));
        assert!(!follow("https://a", "http://127.0.0.1"));
        assert!(!follow("http://127.0.0.1", "http://b"));
        assert!(!follow("http://lab:5000", "http://b"));
    }

    #[test]
    fn certificates_are_judged_by_what_is_said_of_their_host() {
        let mut config = config(&[("lab:5000", &[], true)]);
        let ca = RegistryHost { ca_file: Some("/ca".into()), ..RegistryHost::default() };
        config.hosts.insert("r.example.com".into(), ca);
        let judge = |url: &str| judge(&Url::parse(url).unwrap(), &config);
        assert_eq!(judge("https://lab:5000"), Judge::Nobody);
        assert_eq!(judge("https://r.example.com"), Judge::File("/ca".into()));
        assert_eq!(judge("https://lab"), Judge::Host);
    }
}
