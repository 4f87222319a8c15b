//! From when to when a certificate holds. Reads that much of X.509 (RFC 5280, section 4.1) and nothing more; whether the
//! certificate is to be believed is rustls' to say.

use crate::model::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// # Errors
/// The bytes are no certificate.
pub fn validity(der: &[u8]) -> Result<Validity, String> {
    let wrong = || "is no X.509 certificate".to_string();
    read(der).ok_or_else(wrong)
}

const SEQUENCE: u8 = 0x30;
/// `[0]`: the version, which only the first version leaves out.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

fn read(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = value(der, SEQUENCE)?;
    let (mut to_be_signed, _) = value(certificate, SEQUENCE)?;
    if to_be_signed.first() == Some(&VERSION) {
        to_be_signed = element(to_be_signed)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        to_be_signed = element(to_be_signed)?.2;
    }
    let (times, _) = value(to_be_signed, SEQUENCE)?;
    let (tag, not_before, rest) = element(times)?;
    let not_before = time(tag, not_before)?;
    let (tag, not_after, _) = element(rest)?;
    Some(Validity { not_before, not_after: time(tag, not_after)? })
}

/// The content of the first element, where it has this tag, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and rest of the first element. Source: X.690, 8.1.3: lengths up to 127 in a byte, longer ones in up to four.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let bytes = usize::from(first & 0x7f);
        if !(1..=4).contains(&bytes) || rest.len() < bytes {
            return None;
        }
        length = rest[..bytes].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        rest = &rest[bytes..];
    }
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`; two digits below 50 are of this century (RFC 5280, 4.1.2.5.1).
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let full = match tag {
        UTC_TIME if text.len() == 12 => {
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME if text.len() == 14 => text.to_string(),
        _ => return None,
    };
    let part = |from: usize, to: usize| full.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    #[track_caller]
    fn check(tag: u8, text: &str, expected: Option<&str>) {
        assert_eq!(time(tag, text.as_bytes()).map(Timestamp::rfc3339).as_deref(), expected, "{text}");
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        check(UTC_TIME, "261124180524Z", Some("2026-11-24T18:05:24Z"));
        check(UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z"));
        check(GENERALIZED_TIME, "20991231235959Z", Some("2099-12-31T23:59:59Z"));
        for odd in ["", "Z", "261124180524", "26112418052Z", "261324180524Z", "2611241805ü4Z"] {
            check(UTC_TIME, odd, None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = validity(&bytes);
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_no_certificate() {
        for bytes in [&b"\x30\x84\xff\xff\xff\xff"[..], b"\x30\x85\x00\x00\x00\x00\x01", b"\x30\x80", b"\x30"] {
            assert!(validity(bytes).is_err());
        }
    }
}
