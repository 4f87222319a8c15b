//! The records of a PAX extended header. Knows no file.

use super::super::ImageError;

/// What an extended header says of the member behind it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file is sparse, form 1.0, and so many bytes long; its map comes before its bytes.
    pub(super) sparse: Option<u64>,
}

impl Pax {
    /// Records are `LENGTH KEY=VALUE\n`; the length counts itself, and the value may hold any byte.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Pax, ImageError> {
        let mut pax = Pax::default();
        let mut real_size = None;
        while !bytes.is_empty() && bytes[0] != 0 {
            let (key, value, rest) = record(bytes).ok_or_else(|| damaged("its records are not LENGTH KEY=VALUE"))?;
            pax.note(key, value, &mut real_size)?;
            bytes = rest;
        }
        match (pax.sparse, real_size) {
            (Some(_), Some(size)) => pax.sparse = Some(size),
            (Some(_), None) => return Err(damaged("a sparse file has no GNU.sparse.realsize")),
            (None, _) => {}
        }
        Ok(pax)
    }

    fn note(&mut self, key: &[u8], value: &[u8], real_size: &mut Option<u64>) -> Result<(), ImageError> {
        match key {
            b"path" if self.sparse.is_none() => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value, "size")?),
            b"uid" => self.uid = Some(decimal(value, "uid")?),
            b"gid" => self.gid = Some(decimal(value, "gid")?),
            b"mtime" => self.mtime = Some(time(value)),
            b"GNU.sparse.major" if value == b"1" => self.sparse = Some(0),
            b"GNU.sparse.major" | b"GNU.sparse.map" | b"GNU.sparse.offset" => {
                let text =
                    "a sparse file in GNU tar's form 0.x is not read; make the archive with --sparse-version=1.0";
                return Err(ImageError::Invalid(text.into()));
            }
            b"GNU.sparse.name" => self.path = Some(value.to_vec()),
            b"GNU.sparse.realsize" => *real_size = Some(decimal(value, "GNU.sparse.realsize")?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let text = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((&text[..equals], &text[equals + 1..], rest))
}

fn decimal(value: &[u8], key: &str) -> Result<u64, ImageError> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| damaged(&format!("{key} is no number")))
}

/// `1350244992.023960108`; what makes no sense is 1970: nothing depends on it.
fn time(value: &[u8]) -> (i64, u32) {
    let text = std::str::from_utf8(value).unwrap_or("");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let Ok(seconds) = whole.parse::<i64>() else { return (0, 0) };
    let digits: String = part.chars().take_while(char::is_ascii_digit).take(9).collect();
    let nanoseconds: u32 = format!("{digits:0<9}").parse().unwrap_or(0);
    // -1.5 is half a second before -1.
    if whole.starts_with('-') && nanoseconds > 0 {
        return (seconds.saturating_sub(1), 1_000_000_000 - nanoseconds);
    }
    (seconds, nanoseconds)
}

fn damaged(what: &str) -> ImageError {
    ImageError::Invalid(format!("an extended tar header is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::{Pax, time};

    #[test]
    fn records_hold_any_byte() {
        let pax = Pax::read(b"12 path=a\nb\n32 SCHILY.xattr.user.x=\x00\n1 a=b\n\n11 size=17\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(pax.attributes, [(b"user.x".to_vec(), b"\x00\n1 a=b\n".to_vec())]);
        assert_eq!(pax.size, Some(17));
    }

    #[test]
    fn damage_is_an_error() {
        let bad: [&[u8]; 8] =
            [b"x", b"3 a", b"99 a=b\n", b"0 a=b\n", b"6 a=bc", b"5 ab\n", b"11 size=1x\n", b"22 GNU.sparse.major=0\n"];
        for bytes in bad {
            assert!(Pax::read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn times_have_parts_and_signs() {
        let cases: [(&[u8], (i64, u32)); 6] = [
            (b"5", (5, 0)),
            (b"5.5", (5, 500_000_000)),
            (b"5.1234567891", (5, 123_456_789)),
            (b"-1.5", (-2, 500_000_000)),
            (b"x", (0, 0)),
            (b"9e9", (0, 0)),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text), expected, "{:?}", String::from_utf8_lossy(text));
        }
    }
}
