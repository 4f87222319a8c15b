//! Whom to believe in TLS: the host's authorities, a registry's own, or anybody. Files are read once in each fetch, so that a
//! renewed one needs no restart.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Whom one host's certificate has to satisfy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Judge {
    /// The host's own list of authorities.
    Host,
    /// The certificates of this PEM file.
    File(PathBuf),
    /// Nobody: the registry is configured insecure.
    Nobody,
}

/// Made once for a fetch, shared by its threads.
#[derive(Debug, Default)]
pub struct Trust(Mutex<HashMap<Judge, Arc<ClientConfig>>>);

impl Trust {
    /// # Errors
    /// There are no certificates to judge by; the text says which setting gives some.
    pub fn config(&self, judge: &Judge) -> Result<Arc<ClientConfig>, String> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(judge) {
            return Ok(config.clone());
        }
        let config = Arc::new(make(judge)?);
        made.insert(judge.clone(), config.clone());
        Ok(config)
    }
}

fn make(judge: &Judge) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))?;
    let builder = match judge {
        Judge::Host => builder.with_root_certificates(host_roots()?),
        Judge::File(file) => builder.with_root_certificates(file_roots(file)?),
        Judge::Nobody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
    };
    Ok(builder.with_no_client_auth())
}

fn host_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(
            "this host has no list of certificate authorities; install ca-certificates or give the registry's \
                    ca_file in images.registries"
                .into(),
        );
    }
    Ok(roots)
}

fn file_roots(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |e: String| format!("ca_file {} of images.registries: {e}", file.display());
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates.map_err(|e| wrong(e.to_string()))?);
    if added == 0 { Err(wrong("it holds no certificate that can be used".into())) } else { Ok(roots) }
}

/// Takes any certificate; signatures of the handshake are still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for content in [None, Some(""), Some("no PEM"), Some(broken)] {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            let error = Trust::default().config(&Judge::File(file.clone())).unwrap_err();
            assert!(error.contains("images.registries") && error.contains("ca.pem"), "{error}");
        }
    }

    #[test]
    fn nobody_needs_no_file() {
        let trust = Trust::default();
        let first = trust.config(&Judge::Nobody).unwrap();
        assert!(Arc::ptr_eq(&first, &trust.config(&Judge::Nobody).unwrap()));
    }
}
