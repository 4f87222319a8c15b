//! How the node reaches its broker: named here, set in the configuration, used by `link` and by the fleet's verbs.

use std::fmt;
use std::path::PathBuf;

/// The settings of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    pub broker: Broker,
    /// Unique on the broker; two clients with one id throw each other out.
    pub client_id: String,
    pub username: Option<String>,
    /// Its first line is the password; read at each connection.
    pub password_file: Option<PathBuf>,
    /// Seconds between signs of life when nothing else is said; 5 or more.
    pub keep_alive_s: u16,
    pub protocol: Protocol,
    /// Certificates that vouch for the broker, PEM; none: the host's own list. Read at each connection.
    pub ca_file: Option<PathBuf>,
    /// This node's certificate and key, PEM; both or none. Read at each connection.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// Bytes of one set; a larger one is rejected.
    pub set_bytes_max: usize,
    /// The longest wait between two attempts to connect, in seconds.
    pub reconnect_max_s: u64,
    /// Seconds between two publications of the same document, at least.
    pub state_interval_s: u64,
    /// The first level of every topic.
    pub topic_root: String,
}

/// `mqtt://HOST[:PORT]`, or `mqtts://` for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub tls: bool,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// MQTT 5, and 3.1.1 where the broker knows no 5.
    #[default]
    Auto,
    V5,
    V3,
}

impl Mqtt {
    /// The defaults, for one broker.
    pub fn new(broker: Broker, client_id: &str) -> Mqtt {
        Mqtt {
            broker,
            client_id: client_id.to_string(),
            username: None,
            password_file: None,
            keep_alive_s: 60,
            protocol: Protocol::Auto,
            ca_file: None,
            cert_file: None,
            key_file: None,
            set_bytes_max: 1 << 20,
            reconnect_max_s: 300,
            state_interval_s: 5,
            topic_root: "pn".into(),
        }
    }
}

impl Broker {
    /// # Errors
    /// What is wrong with the address, and the form that is expected.
    pub fn parse(text: &str) -> Result<Broker, String> {
        let wrong = |what: &str| format!("{text:?} {what}; write mqtt://HOST[:PORT], or mqtts:// for TLS");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("has no mqtt://"))?;
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(wrong("is neither mqtt:// nor mqtts://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(format!("{scheme}://…@… has a user; give mqtt.username and mqtt.password_file instead"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| wrong("has no valid port"))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(fits) {
            return Err(wrong("has no valid host"));
        }
        Ok(Broker { tls, host: host.to_string(), port: port.unwrap_or(if tls { 8883 } else { 1883 }) })
    }
}

/// Host and port of `host`, `host:1`, `[::1]`, `[::1]:1`; none where the port is none.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        if after.is_empty() { (host, None) } else { (host, Some(after.strip_prefix(':')?)) }
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    let Some(port) = port else { return Some((host, None)) };
    port.parse().ok().filter(|port| *port != 0).map(|port| (host, Some(port)))
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_broker_is_read_and_shown() {
        for (text, expected) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker", "mqtts://broker:8883"),
            ("mqtt://10.0.0.1:99/", "mqtt://10.0.0.1:99"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtts://[fe80::1]:1", "mqtts://[fe80::1]:1"),
        ] {
            assert_eq!(Broker::parse(text).unwrap().to_string(), expected);
        }
        for text in [
            "",
            "broker",
            "broker:1883",
            "http://broker",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://b:0",
            "mqtt://b:65536",
            "mqtt://b:x",
            "mqtt://b/path",
            "mqtt://[::1",
            "mqtt://[::1]1",
            "mqtt://a b",
            "mqtt://me:secret@broker",
            "mqtt://ü",
        ] {
            let error = Broker::parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
