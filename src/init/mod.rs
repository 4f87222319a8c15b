//! Makes a device ready to be a node: a settings file with every key explained, a key that never leaves the device, and a
//! request for its certificate. Knows no broker and no daemon; changes no file that is there.

mod key;
mod request;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Config, Flags, keys};
use crate::model::Broker;
use key::Key;

/// What is to be made.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Where the files go.
    pub dir: PathBuf,
    pub name: String,
    pub fleet: Option<String>,
    /// `mqtt://…` or `mqtts://…`
    pub broker: Option<String>,
    /// Write the settings anew, though they are there.
    pub force: bool,
}

/// What was made, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub settings: PathBuf,
    pub key: PathBuf,
    /// The key was there before.
    pub key_was_there: bool,
    pub request: PathBuf,
    /// The certificate request, PEM.
    pub request_pem: String,
    /// Where the certificate is looked for; none without TLS.
    pub certificate: Option<PathBuf>,
}

#[derive(Debug)]
pub struct InitError(String);

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InitError {}

/// # Errors
/// The settings are there already, what is wished for is no setting, a key cannot be used, or a file cannot be written.
pub fn init(wish: &Wish) -> Result<Made, InitError> {
    let at = |name: &str| wish.dir.join(name);
    let settings = at("config.yaml");
    if settings.exists() && !wish.force {
        let text = format!("{} is there already; --force writes it anew, --dir another one", settings.display());
        return Err(InitError(text));
    }
    let tls = match wish.broker.as_deref().map(Broker::parse).transpose() {
        Ok(broker) => broker.is_some_and(|broker| broker.tls),
        Err(why) => return Err(InitError(format!("--broker {why}"))),
    };
    check(wish)?;
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&wish.dir);
    made.map_err(|e| wrong("make the directory", &wish.dir, &e))?;
    let (key, key_was_there) = key_at(&at("node.key"))?;
    let request_pem = request::pem(&key, &wish.name);
    write(&at("node.csr"), 0o644, &request_pem)?;
    write(&settings, 0o644, &keys::sample(&given(wish, tls)))?;
    Ok(Made {
        settings,
        key: at("node.key"),
        key_was_there,
        request: at("node.csr"),
        request_pem,
        certificate: tls.then(|| at("node.pem")),
    })
}

/// The settings' own words for what is wished and cannot be.
fn check(wish: &Wish) -> Result<(), InitError> {
    let flags = Flags {
        name: Some(wish.name.clone()),
        fleet: wish.fleet.clone(),
        broker: wish.broker.clone(),
        ..Flags::default()
    };
    Config::load(Some(Path::new("/dev/null")), flags, |_| None).map(drop).map_err(|e| InitError(e.to_string()))
}

fn given(wish: &Wish, tls: bool) -> Vec<(&'static str, String)> {
    let mut given = vec![("name", wish.name.clone())];
    given.extend(wish.broker.clone().map(|broker| ("broker", broker)));
    given.extend(wish.fleet.clone().map(|fleet| ("fleet", quoted(&fleet))));
    if tls {
        let at = |name: &str| quoted(&wish.dir.join(name).to_string_lossy());
        given.extend([("mqtt.cert_file", at("node.pem")), ("mqtt.key_file", at("node.key"))]);
    }
    given
}

/// As YAML, whatever is in it.
fn quoted(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_other =
        ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if plain && is_word && !is_other { text.to_string() } else { serde_json::Value::from(text).to_string() }
}

/// The key that is there, or a new one. A key is never written over: a certificate may belong to it.
fn key_at(path: &Path) -> Result<(Key, bool), InitError> {
    match fs::read_to_string(path) {
        Ok(pem) => {
            let key = Key::read(&pem).map_err(|why| InitError(format!("{}: {why}; move it away", path.display())))?;
            Ok((key, true))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let key = Key::draw().map_err(InitError)?;
            write(path, 0o600, &key.pem())?;
            Ok((key, false))
        }
        Err(e) => Err(wrong("read", path, &e)),
    }
}

/// Whole or not at all: beside its place, synced, then moved there.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), InitError> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let put = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    put().map_err(|e: io::Error| {
        let _ = fs::remove_file(&beside);
        wrong("write", path, &e)
    })
}

fn wrong(tried: &str, path: &Path, e: &io::Error) -> InitError {
    let advice = if e.kind() == io::ErrorKind::PermissionDenied { "; try sudo, or --dir" } else { "" };
    InitError(format!("cannot {tried} {}: {e}{advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn wish(dir: &Path) -> Wish {
        Wish { dir: dir.to_path_buf(), name: "gw-7".into(), ..Wish::default() }
    }

    #[test]
    fn the_files_are_a_configuration_a_key_and_a_request() {
        let dir = tempfile::tempdir().unwrap();
        let wish = Wish {
            broker: Some("mqtts://b.example".into()),
            fleet: Some("true".into()),
            ..wish(&dir.path().join("etc"))
        };
        let made = init(&wish).unwrap();
        assert_eq!(fs::metadata(&made.key).unwrap().permissions().mode() & 0o777, 0o600);
        let config = Config::load(Some(&made.settings), Flags::default(), |_| None).unwrap();
        assert_eq!((config.name.as_str(), config.fleet.as_str()), ("gw-7", "true"));
        let mqtt = config.mqtt.unwrap();
        assert_eq!((mqtt.key_file, mqtt.cert_file), (Some(made.key.clone()), made.certificate.clone()));
        assert!(!made.key_was_there);
        // Nothing but the three files is left.
        assert_eq!(fs::read_dir(&wish.dir).unwrap().count(), 3);
    }

    #[test]
    fn what_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = init(&wish(dir.path())).unwrap();
        let key = fs::read(&first.key).unwrap();
        let error = init(&wish(dir.path())).unwrap_err().to_string();
        assert!(error.contains("is there already; --force"), "{error}");
        let again = init(&Wish { force: true, name: "gw-8".into(), ..wish(dir.path()) }).unwrap();
        assert!(again.key_was_there && fs::read(&again.key).unwrap() == key);
        assert_ne!(again.request_pem, first.request_pem, "the name is in it");
        fs::write(&first.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        let error = init(&Wish { force: true, ..wish(dir.path()) }).unwrap_err().to_string();
        assert!(error.contains("node.key") && error.contains("move it away"), "{error}");
    }

    #[test]
    fn a_wish_that_cannot_be_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        for wish in [
            Wish { name: "A b".into(), ..wish(dir.path()) },
            Wish { broker: Some("http://x".into()), ..wish(dir.path()) },
            Wish { fleet: Some("x/y".into()), ..wish(dir.path()) },
        ] {
            init(&wish).unwrap_err();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
