//! TLS from PEM files. They are read at each connection, so that a renewed certificate needs no restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::model::Mqtt;

use super::certificate::{self, Validity};

/// Where distributions keep the list of authorities that everybody trusts.
const HOST_LISTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// # Errors
/// A file is missing, is no PEM, or its parts do not fit together; the text names it and its key.
pub fn client(mqtt: &Mqtt) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))?
        .with_root_certificates(authorities(mqtt.ca_file.as_deref())?);
    let config = match (&mqtt.cert_file, &mqtt.key_file) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, "mqtt.cert_file")?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong("mqtt.key_file", key, &e))?;
            builder.with_client_auth_cert(chain, private).map_err(|e| wrong("mqtt.cert_file", cert, &e))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Whether the files that the settings name can be used together.
///
/// # Errors
/// As `client`.
pub fn tls_fits(mqtt: &Mqtt) -> Result<(), String> {
    client(mqtt).map(drop)
}

/// A file with certificates that the settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    pub setting: &'static str,
    pub path: PathBuf,
    /// How long its first certificate holds, or what is wrong with the file.
    pub validity: Result<Validity, String>,
}

/// The node's own certificate first, then the authorities'. Whether they fit together is `tls_fits`' to say.
pub fn own_files(mqtt: &Mqtt) -> Vec<OwnFile> {
    let named = [("mqtt.cert_file", &mqtt.cert_file), ("mqtt.ca_file", &mqtt.ca_file)];
    let given = named.into_iter().filter_map(|(setting, file)| Some((setting, file.clone()?)));
    let first = |file: &Path, setting| {
        let first = certificates(file, setting)?.into_iter().next();
        first.ok_or_else(|| "holds no certificate".to_string()).and_then(|der| certificate::validity(&der))
    };
    given.map(|(setting, path)| OwnFile { setting, validity: first(&path, setting), path }).collect()
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, String> {
    let file = match file {
        Some(file) => file.to_path_buf(),
        None => host_list().ok_or("this host has no list of certificate authorities; give mqtt.ca_file")?,
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(&file, "mqtt.ca_file")?);
    if added == 0 {
        return Err(format!("mqtt.ca_file {} holds no certificate that can be used", file.display()));
    }
    Ok(roots)
}

fn host_list() -> Option<PathBuf> {
    HOST_LISTS.iter().map(PathBuf::from).find(|path| path.exists())
}

fn certificates(file: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let all = all.map_err(|e| wrong(setting, file, &e))?;
    if all.is_empty() { Err(format!("{setting} {} holds no certificate", file.display())) } else { Ok(all) }
}

fn wrong(setting: &str, file: &Path, e: &dyn std::error::Error) -> String {
    format!("{setting} {}: {e}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Broker;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let mut mqtt = Mqtt::new(Broker::parse("mqtts://b").unwrap(), "c");
        for content in
            [None, Some(""), Some("no PEM"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
        {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            mqtt.ca_file = Some(file.clone());
            let error = client(&mqtt).unwrap_err();
            assert!(error.contains("mqtt.ca_file") && error.contains("ca.pem"), "{error}");
        }
    }
}
