//! Signatures as `ssh-keygen -Y sign -n pinnace -f KEY FILE` makes them, by ed25519 keys. Knows no file but the one that is
//! hashed. Source: `PROTOCOL.sshsig` of OpenSSH, RFC 8709.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine as _;
use ring::digest::{Algorithm, Context, SHA256, SHA512};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::model::update::UpdateKey;

/// What the signer must have given as `-n`: a signature for something else does not count here.
pub const NAMESPACE: &str = "pinnace";
/// A signature by ed25519 has 300 bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 10;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";
const ED25519_NAME: &[u8] = b"ssh-ed25519";
const PIECE_BYTES: usize = 64 << 10;

/// A signature, taken apart; not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key: [u8; 32],
    hash: Hash,
    signature: [u8; 64],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn name(self) -> &'static [u8] {
        match self {
            Hash::Sha256 => b"sha256",
            Hash::Sha512 => b"sha512",
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Hash::Sha256 => &SHA256,
            Hash::Sha512 => &SHA512,
        }
    }
}

/// The key whose signature of `file` this is; one of `keys`.
///
/// # Errors
/// It is none of them, or not of this file; completes a sentence that begins with the signature.
pub fn verify<'k>(text: &str, file: &Path, keys: &'k [UpdateKey]) -> Result<&'k UpdateKey, String> {
    let signature = parse(text)?;
    let key = keys.iter().find(|key| key.key == signature.key);
    let key = key.ok_or_else(|| match keys.len() {
        0 => "cannot be checked: the settings have no update_keys".to_string(),
        _ => "is by a key that is not among update_keys of the settings".to_string(),
    })?;
    let digest = digest(file, signature.hash).map_err(|e| format!("cannot be checked: read the file: {e}"))?;
    signature.holds_for(&digest).then_some(key).ok_or_else(|| "is not of this file: one of the two was changed".into())
}

fn digest(file: &Path, hash: Hash) -> io::Result<Vec<u8>> {
    let (mut file, mut context, mut piece) = (File::open(file)?, Context::new(hash.algorithm()), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(context.finish().as_ref().to_vec()),
            count => context.update(&piece[..count]),
        }
    }
}

impl Signature {
    fn holds_for(&self, digest: &[u8]) -> bool {
        let mut signed = MAGIC.to_vec();
        for part in [NAMESPACE.as_bytes(), b"", self.hash.name(), digest] {
            signed.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            signed.extend(part);
        }
        UnparsedPublicKey::new(&ED25519, self.key).verify(&signed, &self.signature).is_ok()
    }
}

fn parse(text: &str) -> Result<Signature, String> {
    let inner = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let inner = inner.ok_or_else(|| format!("is none that ssh-keygen makes: it has no {BEGIN:?} and its end"))?;
    let packed: String = inner.split_ascii_whitespace().collect();
    let blob = base64::engine::general_purpose::STANDARD.decode(packed);
    let blob = blob.map_err(|e| format!("is damaged: {e}"))?;
    unpack(&blob)
}

fn unpack(blob: &[u8]) -> Result<Signature, String> {
    let cut = || "is damaged: it ends too early".to_string();
    let mut rest = blob.strip_prefix(MAGIC).ok_or("is damaged: it does not begin with SSHSIG")?;
    let version = number(&mut rest).ok_or_else(cut)?;
    if version != 1 {
        return Err(format!("has version {version}, and only 1 is known"));
    }
    let key = string(&mut rest).ok_or_else(cut)?;
    let namespace = string(&mut rest).ok_or_else(cut)?;
    let _reserved = string(&mut rest).ok_or_else(cut)?;
    let hash = string(&mut rest).ok_or_else(cut)?;
    let signature = string(&mut rest).ok_or_else(cut)?;
    if !rest.is_empty() {
        return Err("is damaged: something follows its end".into());
    }
    if namespace != NAMESPACE.as_bytes() {
        let given = String::from_utf8_lossy(namespace);
        return Err(format!("is for {given:?}; sign with `ssh-keygen -Y sign -n {NAMESPACE}`"));
    }
    let hash = match hash {
        b"sha256" => Hash::Sha256,
        b"sha512" => Hash::Sha512,
        other => return Err(format!("has the unknown hash {:?}", String::from_utf8_lossy(other))),
    };
    let other_key = || "is not by an ed25519 key, the only sort that is known".to_string();
    Ok(Signature {
        key: of_ed25519(key).ok_or_else(other_key)?,
        hash,
        signature: of_ed25519(signature).ok_or_else(other_key)?,
    })
}

/// What stands behind the name of the algorithm, and nothing after it.
fn of_ed25519<const N: usize>(mut blob: &[u8]) -> Option<[u8; N]> {
    let name = string(&mut blob)?;
    let value = string(&mut blob)?;
    (name == ED25519_NAME && blob.is_empty()).then(|| value.try_into().ok())?
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_be_bytes(*head))
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(number(rest)?).ok()?;
    let (value, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by OpenSSH 9.2p1: `ssh-keygen -t ed25519`, then `ssh-keygen -Y sign -n pinnace` of the nine bytes below.
    const SIGNED: &[u8] = b"a program";
    include!("signature_samples.rs");

    fn verified(text: &str, content: &[u8], keys: &[&str]) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let keys: Vec<UpdateKey> = keys.iter().map(|line| UpdateKey::parse(line).unwrap()).collect();
        verify(text, file.path(), &keys).map(|key| key.comment.clone())
    }

    #[track_caller]
    fn refused(text: &str, content: &[u8], keys: &[&str], why: &str) {
        let error = verified(text, content, keys).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn what_ssh_keygen_signed_is_believed_by_its_key_alone() {
        assert_eq!(verified(SHA512_SIGNATURE, SIGNED, &[OTHER_KEY, KEY]).unwrap(), "release");
        assert_eq!(verified(SHA256_SIGNATURE, SIGNED, &[KEY]).unwrap(), "release");
        refused(SHA512_SIGNATURE, b"a pr0gram", &[KEY], "not of this file");
        refused(SHA512_SIGNATURE, SIGNED, &[OTHER_KEY], "not among update_keys");
        refused(SHA512_SIGNATURE, SIGNED, &[], "no update_keys");
        refused(FILE_SIGNATURE, SIGNED, &[KEY], "is for \"file\"; sign with");
        refused(RSA_SIGNATURE, SIGNED, &[KEY], "not by an ed25519 key");
        refused("", SIGNED, &[KEY], "none that ssh-keygen makes");
        refused(&SHA512_SIGNATURE.replace('A', "!"), SIGNED, &[KEY], "is");
    }

    /// Whatever bit is turned, it is no signature of this file by this key any more; and nothing panics.
    #[test]
    fn each_bit_counts() {
        let inner: String = SHA512_SIGNATURE.lines().filter(|line| !line.starts_with('-')).collect();
        let blob = base64::engine::general_purpose::STANDARD.decode(inner).unwrap();
        let digest = ring::digest::digest(&SHA512, SIGNED);
        let key = UpdateKey::parse(KEY).unwrap().key;
        let holds = |blob: &[u8]| unpack(blob).is_ok_and(|s| s.key == key && s.holds_for(digest.as_ref()));
        assert!(holds(&blob));
        for bit in 0..blob.len() * 8 {
            let mut turned = blob.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(&turned), "bit {bit}");
        }
        for len in 0..blob.len() {
            assert!(!holds(&blob[..len]), "{len} bytes");
        }
    }
}
