//! How a verb goes wrong, and the words that kubectl has for it.

use std::fmt;

use serde_json::Value;

use super::json::{list_at, text_at};

/// Why a verb, or a part of it, did not succeed. Every one of them makes the exit code 1.
#[derive(Debug)]
pub enum Fail {
    /// The node said no.
    Refused(Box<Status>),
    /// Nobody answers at the socket.
    Unreachable { socket: String, why: std::io::Error },
    /// The connection broke while it was used.
    Broken(String),
    /// Anything else; the text is the whole of it, without the leading `error: `.
    Other(String),
    /// The whole of what is to be said, with no word before it.
    Told(String),
    /// All that is to be said was said.
    Silent,
    /// Nobody reads the output any more. There is nobody to tell, and nothing is left to be done: no failure.
    Closed,
}

/// A `metav1.Status`, and what was being done when it came (`error when creating "f"`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    pub code: u16,
    pub reason: String,
    pub message: String,
    pub doing: String,
    kind: String,
    name: String,
    causes: Vec<String>,
}

impl Fail {
    pub fn other(text: impl Into<String>) -> Fail {
        Fail::Other(text.into())
    }

    /// The same refusal, with what was being done put before its message.
    #[must_use]
    pub fn when(self, doing: impl Into<String>) -> Fail {
        match self {
            Fail::Refused(mut status) => {
                status.doing = doing.into();
                Fail::Refused(status)
            }
            Fail::Other(text) => Fail::Other(format!("{}: {text}", doing.into())),
            Fail::Unreachable { .. } | Fail::Broken(_) | Fail::Told(_) | Fail::Silent | Fail::Closed => self,
        }
    }

    /// Whether the next object would fail the same way.
    pub fn is_final(&self) -> bool {
        matches!(self, Fail::Unreachable { .. } | Fail::Broken(_) | Fail::Closed)
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Fail::Refused(status) if status.code == 404)
    }

    /// Whether a node that is just restarted or updated looks like this.
    pub fn may_pass(&self) -> bool {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        match self {
            Fail::Unreachable { why, .. } => matches!(why.kind(), NotFound | ConnectionRefused),
            Fail::Refused(status) => status.code == 503,
            Fail::Broken(_) => true,
            Fail::Other(_) | Fail::Told(_) | Fail::Silent | Fail::Closed => false,
        }
    }

    /// A watch that asked for a revision which is no longer remembered.
    pub fn is_expired(&self) -> bool {
        matches!(self, Fail::Refused(status) if status.code == 410)
    }
}

impl Status {
    /// A Status from the body of a refused request; whatever the body is, something readable comes of it.
    pub fn read(code: u16, body: &[u8]) -> Status {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) if value["kind"] == "Status" => Status::from_value(code, &value),
            Ok(_) | Err(_) => {
                let text = String::from_utf8_lossy(&body[..body.len().min(1024)]).trim().to_string();
                let message = if text.is_empty() { format!("the node answered with HTTP status {code}") } else { text };
                Status { code, reason: "InternalError".into(), message, ..Status::default() }
            }
        }
    }

    pub fn from_value(code: u16, value: &Value) -> Status {
        let own = value["code"].as_u64().and_then(|c| u16::try_from(c).ok()).filter(|c| *c != 0);
        let mut causes: Vec<String> = Vec::new();
        for cause in list_at(value, "/details/causes") {
            let (field, message) = (text_at(cause, "/field"), text_at(cause, "/message"));
            let line = if field.is_empty() { message.to_string() } else { format!("{field}: {message}") };
            if !causes.contains(&line) {
                causes.push(line);
            }
        }
        Status {
            code: own.unwrap_or(code),
            reason: text_at(value, "/reason").into(),
            message: text_at(value, "/message").into(),
            doing: String::new(),
            kind: text_at(value, "/details/kind").into(),
            name: text_at(value, "/details/name").into(),
            causes,
        }
    }

    /// Source: `kubectl/pkg/cmd/util/helpers.go`, `checkErr`: an invalid object is told by its fields, where it came
    /// from or not.
    fn fmt_invalid(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind.is_empty() && self.name.is_empty() {
            f.write_str("The request is invalid")?;
        } else {
            write!(f, "The {} {:?} is invalid", self.kind, self.name)?;
        }
        match self.causes.as_slice() {
            [] => write!(f, ": {}", self.message),
            [one] => write!(f, ": {one}"),
            many => {
                f.write_str(": ")?;
                many.iter().try_for_each(|cause| write!(f, "\n* {cause}"))
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason == "Invalid" {
            return self.fmt_invalid(f);
        }
        f.write_str("Error from server")?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        if !self.doing.is_empty() {
            write!(f, ": {}", self.doing)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fail::Refused(status) => status.fmt(f),
            Fail::Unreachable { socket, why } => fmt_unreachable(socket, why, f),
            Fail::Broken(why) => write!(f, "error: the connection to the node broke: {why}"),
            Fail::Other(text) => write!(f, "error: {text}"),
            Fail::Told(text) => f.write_str(text),
            Fail::Silent | Fail::Closed => Ok(()),
        }
    }
}

/// Whether nobody listens or one may not speak to him is not the same to the reader.
fn fmt_unreachable(socket: &str, why: &std::io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    match why.kind() {
        NotFound | ConnectionRefused => write!(
            f,
            "The connection to the node at {socket} was refused - is pinnace node running? (systemctl status pinnace)"
        ),
        PermissionDenied => write!(
            f,
            "The connection to the node at {socket} is not permitted - use sudo, or join the socket's group (ls -l {socket})"
        ),
        _ => write!(f, "The connection to the node at {socket} failed: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(status: Value, doing: &str, expected: &str) {
        let fail = Fail::Refused(Box::new(Status::read(400, status.to_string().as_bytes())));
        let fail = if doing.is_empty() { fail } else { fail.when(doing) };
        assert_eq!(fail.to_string(), expected);
    }

    #[test]
    fn a_refusal_reads_as_kubectl_prints_it() {
        check(
            json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "jobs.batch \"x\" not found"}),
            "",
            "Error from server (NotFound): jobs.batch \"x\" not found",
        );
        check(
            json!({"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "jobs.batch \"x\" already exists"}),
            "error when creating \"f\"",
            "Error from server (AlreadyExists): error when creating \"f\": jobs.batch \"x\" already exists",
        );
        let cause = |f: &str| json!({"reason": "FieldValueInvalid", "message": "Invalid value: -1: no", "field": f});
        let invalid = |causes: Value| {
            json!({"kind": "Status", "code": 422, "reason": "Invalid", "message": "m",
                "details": {"kind": "Job", "name": "x", "causes": causes}})
        };
        check(invalid(json!([cause("a")])), "d", "The Job \"x\" is invalid: a: Invalid value: -1: no");
        check(
            invalid(json!([cause("a"), cause("b"), cause("a")])),
            "",
            "The Job \"x\" is invalid: \n* a: Invalid value: -1: no\n* b: Invalid value: -1: no",
        );
        check(invalid(json!([])), "", "The Job \"x\" is invalid: m");
    }

    #[test]
    fn a_body_that_is_no_status_is_shown_as_it_is() {
        for (body, expected) in [
            (&b"oops"[..], "Error from server (InternalError): oops"),
            (b"", "Error from server (InternalError): the node answered with HTTP status 500"),
            (b"[1]", "Error from server (InternalError): [1]"),
            (b"\xff", "Error from server (InternalError): \u{fffd}"),
        ] {
            assert_eq!(Status::read(500, body).to_string(), expected);
        }
    }
}
