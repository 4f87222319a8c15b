//! Names of images in registries: host, path, tag, digest. Asks no registry.
//!
//! Source: the grammar of Docker's `distribution/reference` package, and its rules for short names, which the kubelet uses.

use std::fmt;

/// What a name without a host means.
pub const DEFAULT_HOST: &str = "docker.io";
/// What a name without a host and without a slash lies below.
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Bytes of host and path together (`NameTotalLengthMax`).
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;
const DIGEST_HEX_MIN: usize = 32;

/// The full name of an image. It has a tag, a digest, or both; with a digest the tag decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// With its port: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub host: String,
    /// `library/busybox`.
    pub path: String,
    pub tag: Option<String>,
    /// `sha256:` and hexadecimal digits.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a name as a manifest writes it.
    ///
    /// # Errors
    /// No image can have such a name (`InvalidImageName`); the text says why.
    pub fn parse(text: &str) -> Result<Reference, String> {
        let fail = |why: &str| Err(format!("image name {:?}: {why}", text.chars().take(300).collect::<String>()));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_string())),
            Some(_) => return fail("behind @ belongs a digest such as sha256: and 64 hexadecimal digits"),
            None => (text, None),
        };
        let (host, remainder) = split_host(rest);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_string())),
            Some(_) => {
                return fail(
                    "a tag has letters, digits, `_`, `.` and `-`, at most 128, and starts with none of the last two",
                );
            }
            None => (remainder, None),
        };
        if !is_host(host) {
            return fail("the part before the first slash is no host with or without a port");
        }
        if path.to_lowercase() != path {
            return fail("a repository has lower case letters only");
        }
        if !path.split('/').all(is_component) {
            return fail(
                "a repository has parts of letters and digits between slashes, joined by one `.`, `_`, `__` or some `-`",
            );
        }
        if host == DEFAULT_HOST && rest == path && is_id(path) {
            return fail("64 hexadecimal digits are an image's ID, not its name");
        }
        let path =
            if host == DEFAULT_HOST && !path.contains('/') { format!("{OFFICIAL}{path}") } else { path.to_string() };
        if host.len() + 1 + path.len() > NAME_MAX {
            return fail("it is longer than 255 bytes");
        }
        let tag = if tag.is_none() && digest.is_none() { Some(DEFAULT_TAG.to_string()) } else { tag };
        Ok(Reference { host: host.to_string(), path, tag, digest })
    }

    /// As people write it: without `docker.io` and `library/`, always with the tag or digest.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full.strip_prefix("docker.io/") else { return full };
        let official = short.strip_prefix(OFFICIAL).filter(|short| !short.contains('/'));
        // `library/localhost` without its prefix would be a host.
        official.filter(|short| split_host(short).0 == DEFAULT_HOST).unwrap_or(short).to_string()
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or(DEFAULT_TAG)
    }
}

impl fmt::Display for Reference {
    /// In full: `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The first part is a host when it cannot be anything else (`splitDockerDomain`).
fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_HOST, rest),
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first => {
            (first, rest)
        }
        _ => (DEFAULT_HOST, text),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            return is_address && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    port.is_none_or(is_port)
        && name.split('.').all(|label| {
            let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
        })
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(is_alphanumeric)
        && part.ends_with(is_alphanumeric)
        && part
            .split(is_alphanumeric)
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, digits)) = digest.split_once(':') else { return false };
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let has_length = match algorithm {
        "sha256" => digits.len() == 64,
        "sha512" => digits.len() == 128,
        _ => digits.len() >= DIGEST_HEX_MIN && digits.len() <= 256,
    };
    let mut parts = algorithm.split(['+', '.', '-', '_']);
    let is_algorithm = parts.all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    has_length && is_algorithm && digits.bytes().all(is_hex)
}

fn is_id(path: &str) -> bool {
    path.len() == 64 && path.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::Reference;
    use crate::model::image::normal_reference;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn short_names_mean_full_ones() {
        let with_digest = format!("busybox@{DIGEST}");
        let with_both = format!("localhost:5000/a/b:1@{DIGEST}");
        let cases = [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("luksa/batch-job", "docker.io/luksa/batch-job:latest", "luksa/batch-job:latest"),
            ("docker.io/busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("library/localhost", "docker.io/library/localhost:latest", "localhost:latest"),
            ("host:5000/x", "host:5000/x:latest", "host:5000/x:latest"),
            ("host:5000/x:y", "host:5000/x:y", "host:5000/x:y"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("Host/x", "Host/x:latest", "Host/x:latest"),
            ("a__b/c---d.e_f", "docker.io/a__b/c---d.e_f:latest", "a__b/c---d.e_f:latest"),
            ("x:_T.a-g", "docker.io/library/x:_T.a-g", "x:_T.a-g"),
            (&with_digest, &format!("docker.io/library/busybox@{DIGEST}"), &with_digest),
            (&with_both, &with_both, &with_both),
        ];
        for (text, full, familiar) in cases {
            let read = Reference::parse(text).unwrap();
            assert_eq!(read.to_string(), full, "{text}");
            assert_eq!(read.familiar(), familiar, "{text}");
            assert_eq!(Reference::parse(&read.familiar()).unwrap(), read, "{text}");
            assert_eq!(normal_reference(&read.familiar()), read.familiar(), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("x/{}", "a".repeat(255));
        let long_tag = format!("x:{}", "t".repeat(129));
        let id = "a".repeat(64);
        let bad = [
            "",
            " ",
            "/",
            "x/",
            "/x",
            "a//b",
            "x:",
            "x:-t",
            "x:a b",
            "X",
            "a/B",
            "x@",
            "x@sha256:12",
            "x@sha256",
            "-x",
            "x-",
            "a..b",
            "a___b",
            "a._b",
            "host:port/x",
            "host:99999/x",
            "[::1/x",
            "[x]/y",
            "-host.a/x",
            "http://host/x",
            "x\n",
            "é",
            &long,
            &long_tag,
            &id,
        ];
        for text in bad {
            assert!(Reference::parse(text).is_err(), "{text:?}: {:?}", Reference::parse(text));
        }
        assert!(Reference::parse(&format!("x@{}", DIGEST.to_uppercase())).is_err());
    }

    #[test]
    fn a_digest_goes_before_a_tag() {
        assert_eq!(Reference::parse(&format!("x:1@{DIGEST}")).unwrap().version(), DIGEST);
        assert_eq!(Reference::parse("x:1").unwrap().version(), "1");
    }
}
