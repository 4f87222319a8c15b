//! What a caller may ask of the node, and how it is told no: Kubernetes' Status errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::image::{Disk, ImageSpec};
use super::{Key, Kind, Record, Uid};

/// Names one request within one life of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// A change that a caller wants. Records come decoded, defaulted and valid in themselves; whether they fit what is
/// there is the core's to say. Reads never come this way: they are served from the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// `POST`. An empty name with a `generate_name` gets a generated one.
    Create(Box<Record>),
    /// `PUT`, and `PATCH` once the patch is applied. `if_revision` is the caller's `resourceVersion`.
    Replace {
        record: Box<Record>,
        if_revision: Option<u64>,
    },
    Delete {
        key: Key,
        grace_s: Option<u32>,
        propagation: Propagation,
        if_uid: Option<Uid>,
    },
    /// An image was brought into the store (`image import`, `image pull`): give it its name.
    Keep {
        image: Box<ImageSpec>,
        disk: Disk,
    },
    /// Remove images that no pod, no template and no set refers to. Answered with the node's record.
    Prune,
    /// Stop every pod and start none until the node is uncordoned (`pinnace drain`).
    Drain,
}

impl Ask {
    /// What is asked, without its contents: `create Job/default/a`.
    pub fn name(&self) -> String {
        match self {
            Ask::Create(record) => format!("create {}", record.key()),
            Ask::Replace { record, .. } => format!("replace {}", record.key()),
            Ask::Delete { key, .. } => format!("delete {key}"),
            Ask::Keep { image, .. } => format!("keep image {}", image.reference),
            Ask::Prune => "prune images".into(),
            Ask::Drain => "drain".into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The owner goes at once, what it owns after it.
    Background,
    /// The owner stays until what it owns is gone.
    Foreground,
    /// What it owns stays, without an owner.
    Orphan,
}

/// A refusal, as Kubernetes' `metav1.Status` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub reason: Reason,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    /// A watch from a revision that is no longer remembered (410).
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldValueInvalid`, `FieldValueNotSupported`, `FieldValueDuplicate`, `FieldValueForbidden`.
    pub reason: String,
    pub message: String,
    /// `spec.template.spec.restartPolicy`.
    pub field: String,
}

impl Reason {
    /// The HTTP status code.
    pub fn code(self) -> u16 {
        match self {
            Reason::BadRequest => 400,
            Reason::Forbidden => 403,
            Reason::NotFound => 404,
            Reason::MethodNotAllowed => 405,
            Reason::NotAcceptable => 406,
            Reason::AlreadyExists | Reason::Conflict => 409,
            Reason::Expired => 410,
            Reason::RequestEntityTooLarge => 413,
            Reason::UnsupportedMediaType => 415,
            Reason::Invalid => 422,
            Reason::TooManyRequests => 429,
            Reason::InternalError => 500,
            Reason::ServiceUnavailable => 503,
        }
    }

    /// The `reason` field of a Status.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::BadRequest => "BadRequest",
            Reason::Forbidden => "Forbidden",
            Reason::NotFound => "NotFound",
            Reason::MethodNotAllowed => "MethodNotAllowed",
            Reason::NotAcceptable => "NotAcceptable",
            Reason::AlreadyExists => "AlreadyExists",
            Reason::Conflict => "Conflict",
            Reason::Expired => "Expired",
            Reason::RequestEntityTooLarge => "RequestEntityTooLarge",
            Reason::UnsupportedMediaType => "UnsupportedMediaType",
            Reason::Invalid => "Invalid",
            Reason::TooManyRequests => "TooManyRequests",
            Reason::InternalError => "InternalError",
            Reason::ServiceUnavailable => "ServiceUnavailable",
        }
    }
}

impl Failure {
    pub fn new(reason: Reason, message: impl Into<String>) -> Failure {
        Failure { reason, message: message.into(), kind: None, name: String::new(), causes: Vec::new() }
    }

    pub fn about(mut self, kind: Kind, name: &str) -> Failure {
        self.kind = Some(kind);
        self.name = name.to_string();
        self
    }

    /// `jobs.batch "x" not found`.
    pub fn not_found(kind: Kind, name: &str) -> Failure {
        Failure::new(Reason::NotFound, format!("{} {name:?} not found", kind.resource())).about(kind, name)
    }

    /// `jobs.batch "x" already exists`.
    pub fn already_exists(kind: Kind, name: &str) -> Failure {
        Failure::new(Reason::AlreadyExists, format!("{} {name:?} already exists", kind.resource())).about(kind, name)
    }

    pub fn conflict(kind: Kind, name: &str) -> Failure {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: the object has been modified; please apply your changes to the latest version and try again",
            kind.resource()
        );
        Failure::new(Reason::Conflict, message).about(kind, name)
    }

    /// 422 with one cause a field. The message lists them as the API server does:
    /// `Job.batch "x" is invalid: spec.parallelism: Invalid value: -1: must be …`, several in brackets.
    pub fn invalid(kind: Kind, name: &str, causes: Vec<Cause>) -> Failure {
        let n = kind.names();
        let qualified = if n.group.is_empty() { n.kind.to_string() } else { format!("{}.{}", n.kind, n.group) };
        let texts: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let list = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{qualified} {name:?} is invalid: {list}");
        Failure { causes, ..Failure::new(Reason::Invalid, message).about(kind, name) }
    }
}

impl Cause {
    pub fn required(field: impl Into<String>, detail: &str) -> Cause {
        let message = if detail.is_empty() { "Required value".into() } else { format!("Required value: {detail}") };
        Cause { reason: "FieldValueRequired".into(), message, field: field.into() }
    }

    /// `shown` is the value as JSON would print it.
    pub fn invalid(field: impl Into<String>, shown: impl fmt::Display, detail: &str) -> Cause {
        Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {shown}: {detail}"),
            field: field.into(),
        }
    }

    pub fn unsupported(field: impl Into<String>, value: &str, supported: &[&str]) -> Cause {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let message = format!("Unsupported value: {value:?}: supported values: {}", list.join(", "));
        Cause { reason: "FieldValueNotSupported".into(), message, field: field.into() }
    }

    /// A name that refers to nothing.
    pub fn not_found(field: impl Into<String>, shown: impl fmt::Display) -> Cause {
        Cause { reason: "FieldValueNotFound".into(), message: format!("Not found: {shown}"), field: field.into() }
    }

    pub fn forbidden(field: impl Into<String>, detail: &str) -> Cause {
        Cause { reason: "FieldValueForbidden".into(), message: format!("Forbidden: {detail}"), field: field.into() }
    }

    pub fn duplicate(field: impl Into<String>, shown: impl fmt::Display) -> Cause {
        Cause {
            reason: "FieldValueDuplicate".into(),
            message: format!("Duplicate value: {shown}"),
            field: field.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
