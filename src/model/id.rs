//! Identities that are derived, never drawn: the core has no randomness, so a replay gives the same names.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The identity of one object for its whole life, in UUID form (`metadata.uid`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(Arc<str>);

/// One run of the kernel, from `/proc/sys/kernel/random/boot_id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(Arc<str>);

/// Letters of generated names: no vowels (no words), nothing that looks like another
/// (Kubernetes, `apimachinery/pkg/util/rand`).
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// A generated name is at most a DNS label (63) long, suffix included.
const GENERATED_BASE_MAX: usize = 63 - SUFFIX_LENGTH;

impl Uid {
    pub fn new(text: impl Into<Arc<str>>) -> Uid {
        Uid(text.into())
    }

    /// The same parts give the same uid, on every machine; other parts give another (SHA-256, UUID version 8).
    pub fn derive(parts: &[&str]) -> Uid {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finish();
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&digest.as_ref()[..16]);
        Uid::from_random(bytes)
    }

    /// A uid from 16 bytes of the caller's randomness; the version and variant bits are set.
    pub fn from_random(mut bytes: [u8; 16]) -> Uid {
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let mut text = String::with_capacity(36);
        for (i, byte) in bytes.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Uid(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that Kubernetes' `generateName` makes: the base, cut where needed, and five letters.
    pub fn generated_name(&self, base: &str) -> String {
        let mut end = base.len().min(GENERATED_BASE_MAX);
        while !base.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}{}", &base[..end], self.suffix())
    }

    fn suffix(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.0.as_bytes());
        digest
            .as_ref()
            .iter()
            .take(SUFFIX_LENGTH)
            .map(|b| SUFFIX_LETTERS[*b as usize % SUFFIX_LETTERS.len()] as char)
            .collect()
    }
}

impl BootId {
    pub fn new(text: impl Into<Arc<str>>) -> BootId {
        BootId(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal SHA-256 of some bytes: how sets and templates are compared.
pub fn sha256_hex(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_depends_on_every_part_and_on_where_they_are_cut() {
        let uid = Uid::derive(&["a", "bc"]);
        assert_eq!(uid, Uid::derive(&["a", "bc"]));
        assert_ne!(uid, Uid::derive(&["ab", "c"]));
        assert_eq!(uid.as_str().len(), 36);
        assert_eq!(&uid.as_str()[14..15], "8");
    }

    #[test]
    fn a_generated_name_is_a_dns_label() {
        let name = Uid::derive(&["x"]).generated_name(&"é".repeat(60));
        assert!(name.len() <= 63, "{name}");
        assert_eq!(Uid::derive(&["x"]).generated_name("batch-").len(), 11);
    }
}
