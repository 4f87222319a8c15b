//! The query of a URL, and its percent-encoding.

use std::str::FromStr;

use crate::model::{Failure, Reason};

/// Parameters in the order in which they were written.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(name), decode_form(value))
        });
        Query(pairs.collect())
    }

    /// The first value of a parameter; an empty one counts as none, as with the API server.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// True for `1`, `true` and the like; Kubernetes takes everything but `0` and `false` for true.
    pub fn is(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }

    /// # Errors
    /// `BadRequest` naming the parameter when its value is of another type.
    pub fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = |_| {
            Failure::new(
                Reason::BadRequest,
                format!("the query parameter {name}={text:?} must be a whole number in range"),
            )
        };
        text.parse().map(Some).map_err(bad)
    }

    /// `dryRun=All`.
    ///
    /// # Errors
    /// `BadRequest` for any other value.
    pub fn dry_run(&self) -> Result<bool, Failure> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(Failure::new(
                Reason::BadRequest,
                format!("dryRun: Unsupported value: {other:?}: supported values: \"All\""),
            )),
        }
    }
}

/// A part of a path, or of a query when `+` was replaced before. What is no UTF-8 is replaced, what is no escape is kept.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten().and_then(hex_byte);
        plain.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_browsers_and_go_write_it() {
        let q = Query::parse("labelSelector=a%3Db%2Cc&x+y=1+2&watch=1&empty=&bad=%zz%4&&flag&watch=0");
        assert_eq!(q.get("labelSelector"), Some("a=b,c"));
        assert_eq!(q.get("x y"), Some("1 2"));
        assert!(q.is("watch") && !q.is("flag") && !q.is("nothing"));
        assert_eq!(q.get("empty"), None);
        assert_eq!(q.get("bad"), Some("%zz%4"));
        assert_eq!(Query::parse("v=%ff%e2%82%ac").get("v"), Some("\u{fffd}€"));
    }

    #[test]
    fn a_wrong_value_is_named() {
        assert!(Query::parse("limit=-1").number::<u64>("limit").unwrap_err().message.contains("limit=\"-1\""));
        assert_eq!(Query::parse("limit=7").number("limit"), Ok(Some(7u64)));
        assert!(Query::parse("dryRun=Some").dry_run().is_err());
        assert_eq!(Query::parse("dryRun=All").dry_run(), Ok(true));
    }
}
