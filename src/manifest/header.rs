//! The first line of a fleet message, `# pinnace: {json}`: a comment to every YAML parser, an envelope to a node.

use crate::model::seen::Header;
use crate::model::{Failure, Reason};

const MARK: &str = "# pinnace:";

/// The header, if the first line that is not blank is one. Fields that this version does not know are passed over: a
/// newer sender may have more to say.
///
/// # Errors
/// `BadRequest` when the line begins like a header and what follows is not a JSON object of the known types.
pub fn read_header(text: &[u8]) -> Result<Option<Header>, Failure> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let first = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
    let Some(json) = first.and_then(|line| line.strip_prefix(MARK.as_bytes())) else { return Ok(None) };
    let json = json.trim_ascii();
    if !json.starts_with(b"{") {
        return Err(bad("it must be a JSON object"));
    }
    serde_json::from_slice(json).map(Some).map_err(|e| bad(&e.to_string()))
}

fn bad(why: &str) -> Failure {
    Failure::new(Reason::BadRequest, format!("header line \"{MARK} {{…}}\" cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, slot: Option<&str>) {
        let header = read_header(text.as_bytes()).unwrap();
        assert_eq!(header.map(|h| h.slot.unwrap()), slot.map(String::from), "{text:?}");
    }

    #[test]
    fn a_header_is_the_first_line_with_content() {
        check("# pinnace: {\"v\":1,\"slot\":\"shop\"}\nkind: Job\n", Some("shop"));
        check("\u{feff}\r\n\n  \n# pinnace:{\"slot\":\"a\",\"sel\":{\"x\":1}}\r\n", Some("a"));
        check("# a comment\n# pinnace: {\"slot\":\"a\"}\n", None);
        check("kind: Job\n# pinnace: {\"slot\":\"a\"}\n", None);
        check("", None);
    }

    #[test]
    fn a_broken_header_is_an_error_and_not_a_comment() {
        for text in
            ["# pinnace:", "# pinnace: {", "# pinnace: [1]", "# pinnace: {\"rev\":-1}", "# pinnace: {\"exp\":\"soon\"}"]
        {
            let failure = read_header(text.as_bytes()).unwrap_err();
            assert!(failure.message.starts_with("header line"), "{failure}");
        }
        assert!(read_header(b"# pinnace: {\"slot\":\"\xff\"}").is_err());
    }

    #[test]
    fn every_field_is_read() {
        let text = br#"# pinnace: {"v":1,"fleet":"prod","to":"grp/pos","slot":"shop","rev":17,"exp":"2027-01-31T00:00:00Z","ack":"c","empty":true,"prune":false}"#;
        let header = read_header(text).unwrap().unwrap();
        assert_eq!((header.v, header.rev, header.empty, header.prune), (1, Some(17), true, Some(false)));
        assert_eq!(header.exp.unwrap().rfc3339(), "2027-01-31T00:00:00Z");
        assert_eq!(
            (header.fleet.unwrap(), header.to.unwrap(), header.ack.unwrap()),
            ("prod".into(), "grp/pos".into(), "c".into())
        );
    }
}
