//! Fetches images from registries by the OCI distribution protocol, version 1.1
//! (<https://github.com/opencontainers/distribution-spec>). Blocking: called on a thread beside the loop. Knows neither who wants
//! an image nor when to try again tomorrow.
//!
//! Guarantees: what is stored has the digests that the reference, the manifest and the configuration name. A login goes to
//! the server that it is for, and to the token server that this one names, and nowhere else; never by plain HTTP, unless the
//! settings say so or the server is this machine. No message and no log has a secret.
//!
//! Not done, by name: proxies (`HTTPS_PROXY`), credential helpers (`credHelpers`, `credsStore`), signatures of images, HTTP/2.

mod auth;
mod bandwidth;
mod blob;
mod challenge;
mod document;
mod hosts;
mod keyring;
mod layers;
mod meter;
mod resolve;
mod trouble;
mod wire;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::image::{ImageError, Ingest, Progress, Store, Stored};
use crate::model::RegistriesConfig;
use crate::model::image::{Origin, Pull, Reference};

use self::auth::Doorkeeper;
use self::hosts::Endpoint;
use self::keyring::Keyring;
use self::layers::{Layers, Visit};
use self::meter::{Busy, Meter};
use self::resolve::{Found, FoundImage, Wanted};
use crate::transport::partial;
use crate::transport::trust::Trust;

/// A larger file of logins is none.
const DOCKER_CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How long the client waits, and how often it tries again.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Connection and handshake, each.
    pub connect: Duration,
    /// Without a byte from the server.
    pub idle: Duration,
    /// After a failure, without progress in between.
    pub tries: u32,
    /// The wait before the second try; it doubles.
    pub first_wait: Duration,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            tries: 4,
            first_wait: Duration::from_secs(1),
        }
    }
}

/// The registries as the node knows them; one for the whole daemon, shared by all fetches.
#[derive(Debug)]
pub struct Registries {
    config: RegistriesConfig,
    effort: Effort,
    meter: Meter,
    busy: Busy,
}

/// What came of a fetch.
pub enum Pulled {
    /// The registry has what `Pull::known` names.
    Same,
    New(Box<Stored>),
}

impl Registries {
    pub fn new(config: &RegistriesConfig) -> Registries {
        Registries::with_effort(config, Effort::default())
    }

    pub fn with_effort(config: &RegistriesConfig, effort: Effort) -> Registries {
        Registries { config: config.clone(), effort, meter: Meter::new(config.bandwidth_max), busy: Busy::default() }
    }

    /// Fetches an image into the store: mirrors first, then the registry itself. Layers that the store has are not fetched,
    /// and those of which an earlier try left a part go on from there.
    ///
    /// # Errors
    /// `InvalidName`; `Unreachable` when nobody answered; `Refused`, `Invalid`, `Unsupported` when what was answered is a no, or
    /// no image for this machine; `NoRoom`; `Cancelled`; `Io` for the node's own disk.
    pub fn pull(&self, store: &Store, pull: &Pull, progress: &dyn Progress) -> Result<Pulled, ImageError> {
        let reference = Reference::parse(&pull.reference).map_err(ImageError::InvalidName)?;
        check_digest(&reference)?;
        if !pull.known.is_empty() && reference.digest.as_deref() == Some(&pull.known) {
            return Ok(Pulled::Same);
        }
        let (keyring, note) = self.keyring(&pull.credentials)?;
        let visit = Visit {
            config: &self.config,
            effort: self.effort,
            meter: &self.meter,
            busy: &self.busy,
            trust: Trust::default(),
            doorkeeper: Doorkeeper::new(keyring, &reference.path),
            repository: &reference.path,
            progress,
        };
        self.sweep();
        self.visit(store, pull, &reference, &visit).map_err(|error| told(&reference, &note, error))
    }

    fn visit(
        &self,
        store: &Store,
        pull: &Pull,
        reference: &Reference,
        visit: &Visit<'_>,
    ) -> Result<Pulled, ImageError> {
        let endpoints = hosts::endpoints(&reference.host, &self.config);
        let wanted = Wanted { reference, known: &pull.known, meter: &self.meter, progress: visit.progress };
        visit.progress.at("manifest", 0, None);
        let (image, order) = match first(visit, &endpoints, &wanted)? {
            (Found::Same, _) => return Ok(Pulled::Same),
            (Found::Image(image), order) => (image, order),
        };
        let ingest = self.fill(store.ingest()?, visit, &order, &image)?;
        let stored = ingest.commit(&image.config, &pull.reference, &image.digest, Origin::Registry)?;
        Ok(Pulled::New(Box::new(stored)))
    }

    /// Brings the layers that are missing.
    fn fill(
        &self,
        ingest: Ingest,
        visit: &Visit<'_>,
        endpoints: &[&Endpoint],
        image: &FoundImage,
    ) -> Result<Ingest, ImageError> {
        let layers = Layers::missing(image, &ingest);
        let bytes = layers.bytes(&self.config.partial_dir);
        if let Err(error) = ingest.room_for(bytes) {
            // Beginnings of other images are the first to go.
            partial::clear(&self.config.partial_dir, &|hex| self.busy.is_held(hex) || layers.has(hex));
            ingest.room_for(bytes).map_err(|_| error)?;
        }
        layers.fetch(visit, endpoints, ingest)
    }

    fn sweep(&self) {
        partial::sweep(&self.config.partial_dir, SystemTime::now(), &|hex| self.busy.is_held(hex));
    }

    /// All logins, those of the pods first, and what is wrong with some of them.
    fn keyring(&self, credentials: &[String]) -> Result<(Keyring, String), ImageError> {
        let (mut keyring, mut note) = (Keyring::default(), String::new());
        for text in credentials {
            if let Err(why) = keyring.add(text) {
                note = format!("; one of the imagePullSecrets was not used: it {why}");
            }
        }
        let file = &self.config.docker_config;
        let failed = |why: String| ImageError::Refused(format!("images.docker_config {}: {why}", file.display()));
        match read_bounded(file) {
            Ok(text) => keyring.add(&text).map_err(|why| failed(format!("it {why}")))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.config.docker_config_required => {}
            Err(e) => return Err(failed(format!("it cannot be read: {e}"))),
        }
        Ok((keyring, note))
    }
}

/// The first endpoint that has the image, and all of them with that one at the head.
fn first<'e>(
    visit: &Visit<'_>,
    endpoints: &'e [Endpoint],
    wanted: &Wanted<'_>,
) -> Result<(Found, Vec<&'e Endpoint>), ImageError> {
    let is_cancelled = || visit.progress.is_cancelled();
    let mut wire = visit.wire(&is_cancelled)?;
    let mut last = None;
    for endpoint in endpoints {
        match resolve::at(&mut wire, endpoint, wanted).map_err(trouble::Trouble::into_error) {
            Ok(found) => {
                let others = endpoints.iter().filter(|other| !std::ptr::eq(*other, endpoint));
                return Ok((found, std::iter::once(endpoint).chain(others).collect()));
            }
            Err(ImageError::Cancelled) => return Err(ImageError::Cancelled),
            Err(error) => {
                tracing::info!(registry = endpoint.host, image = %wanted.reference, %error, "a registry did not give an image");
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| ImageError::Unreachable("no registry was asked".into())))
}

/// Digests by other algorithms than SHA-256 are refused by name.
fn check_digest(reference: &Reference) -> Result<(), ImageError> {
    match &reference.digest {
        Some(digest) if document::sha256(digest).is_none() => Err(ImageError::InvalidName(format!(
            "image {reference}: only digests of the form sha256: and 64 hexadecimal digits can be checked"
        ))),
        Some(_) | None => Ok(()),
    }
}

fn read_bounded(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = File::open(file)?;
    if file.metadata()?.len() > DOCKER_CONFIG_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {DOCKER_CONFIG_BYTES_MAX} bytes")));
    }
    file.take(DOCKER_CONFIG_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Says in every error which image it is about.
fn told(reference: &Reference, note: &str, error: ImageError) -> ImageError {
    let name = reference.familiar();
    let tell = |why: String| format!("pull {name}: {why}");
    match error {
        ImageError::NoRoom(why) => ImageError::NoRoom(tell(why)),
        ImageError::Invalid(why) => ImageError::Invalid(tell(why)),
        ImageError::Unsupported(why) => ImageError::Unsupported(tell(why)),
        ImageError::Unreachable(why) => ImageError::Unreachable(tell(why)),
        ImageError::Refused(why) => ImageError::Refused(format!("{}{note}", tell(why))),
        ImageError::InvalidName(why) => ImageError::InvalidName(why),
        ImageError::Cancelled => ImageError::Cancelled,
        ImageError::Io(why) => ImageError::Io(tell(why)),
    }
}
