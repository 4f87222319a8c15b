//! The node's own key: Ed25519, in the plain form of PKCS#8 (RFC 8410, section 7), which OpenSSL and rustls both read. The
//! longer form that ring writes by itself is not read by OpenSSL 3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// Version 0, the algorithm 1.3.101.112, and an octet string in an octet string.
const HEAD: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const SEED_BYTES: usize = 32;
const LABEL: &str = "PRIVATE KEY";
/// Characters of a line of PEM (RFC 7468).
const LINE: usize = 64;

pub struct Key {
    seed: [u8; SEED_BYTES],
    pair: Ed25519KeyPair,
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// The kernel gives no randomness.
    pub fn draw() -> Result<Key, String> {
        let mut seed = [0; SEED_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| "the kernel gives no randomness for a key".to_string())?;
        Key::of(seed)
    }

    /// # Errors
    /// It is no PEM, or no Ed25519 key in that form.
    pub fn read(pem: &str) -> Result<Key, String> {
        let wrong = || "is no Ed25519 key (PKCS#8, PEM)".to_string();
        let body = pem.split_once(&format!("-----BEGIN {LABEL}-----")).map(|(_, rest)| rest);
        let body = body.and_then(|rest| rest.split_once("-----END")).map(|(body, _)| body).ok_or_else(wrong)?;
        let text: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        let der = STANDARD.decode(text).map_err(|_| wrong())?;
        let seed = der.strip_prefix(&HEAD).and_then(|seed| seed.try_into().ok()).ok_or_else(wrong)?;
        Key::of(seed)
    }

    fn of(seed: [u8; SEED_BYTES]) -> Result<Key, String> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|e| format!("the key cannot be used: {e}"))?;
        Ok(Key { seed, pair })
    }

    pub fn pem(&self) -> String {
        pem(LABEL, &[&HEAD[..], &self.seed].concat())
    }

    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(LINE) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = Key::draw().unwrap();
        let again = Key::read(&key.pem()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_ne!(Key::draw().unwrap().public(), key.public());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in
            ["", "x", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nü\n-----END PRIVATE KEY-----"]
        {
            assert!(Key::read(text).is_err(), "{text:?}");
        }
        let other = pem(LABEL, &[0; 48]);
        assert!(Key::read(&other).is_err());
    }
}
