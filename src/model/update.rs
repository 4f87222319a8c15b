//! Versions of this program on one device: which is in force, which is on trial, what became of the last one. The shape of
//! `versions/state.json`, which releases before and after this one read: fields are added, never changed or taken away.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A program that a node may be run by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Which {
    /// The one that the service manager starts; a package owns it.
    Installed,
    /// One that an update brought, by its SHA-256 in lower-case hexadecimal.
    Version(String),
}

/// A program with the version that it says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub which: Which,
    /// `0.2.0`
    pub version: String,
}

/// What the installed program was when an update was last made; when it is another, a package came and all versions go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installed {
    pub version: String,
    pub sha256: String,
    pub mark: Mark,
}

/// How the file lay on the disk. Decides nothing (another file may have the same); kept for releases that read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub size: u64,
    pub inode: u64,
    /// Nanoseconds since 1970.
    pub modified: i128,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    pub installed: Installed,
    pub in_force: Program,
    /// What was in force before, for `--undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Program>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
}

/// A program that has still to prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    pub program: Program,
    /// Starts so far.
    pub starts: u32,
    /// Seconds of each start within which it has to confirm itself.
    pub within_s: u64,
    /// There was a session with the broker before, so there must be one again.
    pub needs_broker: bool,
    pub begun: Timestamp,
}

/// What became of the last trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Last {
    pub tried: Program,
    /// What is in force after it.
    pub now: Program,
    pub outcome: Outcome,
    pub at: Timestamp,
    /// The node's events have it.
    #[serde(default)]
    pub told: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Confirmed,
    /// In a sentence without its end.
    Returned(String),
}

/// Who runs, and what is known of the others: the answer to `GET update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStatus {
    /// The program that answers.
    pub running: Program,
    /// None: there was never an update, or a package has replaced all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
}

/// What an operator wants tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateWish {
    /// None: the bytes come with the request.
    pub url: Option<String>,
    /// Bytes that will come with the request, where the sender knows.
    pub size: Option<u64>,
    pub sha256: Option<String>,
    pub signature: Option<SignatureFrom>,
    pub within: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureFrom {
    Text(String),
    Url(String),
}

/// How long a trial may take to confirm itself, where nobody says.
pub const WITHIN: Duration = Duration::from_secs(300);
pub const WITHIN_LEAST: Duration = Duration::from_secs(2);
pub const WITHIN_MOST: Duration = Duration::from_secs(24 * 3600);

/// Told of the node when it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateSeen {
    Started { from: Program, to: Program },
    Ended(Last),
}

/// A key whose signatures are believed: `ssh-ed25519 AAAA… COMMENT`, as `ssh-keygen` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateKey {
    pub key: [u8; 32],
    pub comment: String,
}

const ED25519: &str = "ssh-ed25519";

impl UpdateKey {
    /// # Errors
    /// What it must be; completes a sentence that begins with the key's place.
    pub fn parse(line: &str) -> Result<UpdateKey, String> {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        if kind != ED25519 {
            return Err(format!(
                "must be a line `{ED25519} AAAA… COMMENT`, the only sort of key that is known, is {line:?}"
            ));
        }
        let blob = words.next().and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        // Source: RFC 8709 section 4: string "ssh-ed25519", string of 32 bytes; a length is four bytes.
        let head = [&[0, 0, 0, 11][..], ED25519.as_bytes(), &[0, 0, 0, 32]].concat();
        let key = blob.as_deref().and_then(|blob| blob.strip_prefix(&head[..])?.try_into().ok());
        let key = key.ok_or_else(|| format!("has a key that is cut off or damaged: {line:?}"))?;
        Ok(UpdateKey { key, comment: words.collect::<Vec<_>>().join(" ") })
    }
}

impl Which {
    /// The name of its directory.
    pub fn directory(&self) -> Option<&str> {
        match self {
            Which::Installed => None,
            Which::Version(sha256) => Some(sha256.get(..16).unwrap_or(sha256)),
        }
    }
}

impl From<Which> for String {
    fn from(which: Which) -> String {
        match which {
            Which::Installed => "installed".into(),
            Which::Version(sha256) => sha256,
        }
    }
}

impl TryFrom<String> for Which {
    type Error = String;

    fn try_from(text: String) -> Result<Which, String> {
        match text.as_str() {
            "installed" => Ok(Which::Installed),
            sha256 if is_sha256(sha256) => Ok(Which::Version(text)),
            other => Err(format!("{other:?} is neither \"installed\" nor 64 hexadecimal digits in lower case")),
        }
    }
}

/// 64 hexadecimal digits in lower case.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

/// `0.2.0 (ab12cd34ef56)`, `0.1.0 (installed)`.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::Installed => write!(f, "{} (installed)", self.version),
            Which::Version(sha256) => write!(f, "{} ({})", self.version, sha256.get(..12).unwrap_or(sha256)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_ssh_keygen_writes_it() {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g release key";
        let key = UpdateKey::parse(line).unwrap();
        assert_eq!((key.key[0], key.key[31], key.comment.as_str()), (1, 32, "release key"));
        for bad in
            ["", "ssh-rsa AAAA x", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 !", &line.replace("Hh8g", "Hh8")]
        {
            assert!(UpdateKey::parse(bad).is_err(), "{bad}");
        }
    }

    /// Other releases read this file.
    #[test]
    fn the_shape_of_the_file_stays() {
        let text = r#"{"installed":{"version":"0.1.0","sha256":"aa","mark":{"size":1,"inode":2,"modified":3}},"inForce":{"which":"installed","version":"0.1.0"},"trial":{"program":{"which":"abababababababababababababababababababababababababababababababab","version":"0.2.0"},"starts":1,"withinS":300,"needsBroker":true,"begun":"2026-01-01T00:00:00Z"},"last":{"tried":{"which":"installed","version":"0.1.0"},"now":{"which":"installed","version":"0.1.0"},"outcome":{"returned":"why"},"at":"2026-01-01T00:00:00Z","told":true}}"#;
        let versions: Versions = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&versions).unwrap(), text);
        let later = text.replace(r#""starts":1"#, r#""starts":1,"laterField":[1]"#);
        assert_eq!(serde_json::from_str::<Versions>(&later).unwrap(), versions);
        for bad in ["Installed", "ab", &"AB".repeat(32), ""] {
            assert!(Which::try_from(bad.to_string()).is_err(), "{bad}");
        }
    }
}
