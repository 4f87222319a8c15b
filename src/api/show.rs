//! In which form objects are sent back: whole, as rows of a Table, or their metadata alone.

use serde_json::{Value, json};

use super::query::Query;
use super::table;
use crate::manifest::view;
use crate::model::{Failure, Kind, Now, Reason, Record, State};

/// The form that a request asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    kind: Kind,
    /// The version of the path; shown instead of the stored one, which differs in name alone.
    api_version: String,
    shape: Shape,
    include: Include,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Object,
    /// With the version of meta.k8s.io.
    Table(String),
    Metadata(String),
}

/// What a row carries beside its cells (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

impl Form {
    /// # Errors
    /// `NotAcceptable` when `accept` has nothing that can be served; `BadRequest` for an unknown `includeObject`.
    pub fn negotiate(kind: Kind, api_version: &str, accept: &str, query: &Query) -> Result<Form, Failure> {
        let include = match query.get("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("None") => Include::None,
            Some("Object") => Include::Object,
            Some(other) => {
                let text = format!("includeObject={other:?} must be None, Metadata or Object");
                return Err(Failure::new(Reason::BadRequest, text));
            }
        };
        let shape = shape(accept).ok_or_else(|| {
            Failure::new(Reason::NotAcceptable, "only the following media types are accepted: application/json, application/json;as=Table;g=meta.k8s.io;v=v1")
        })?;
        Ok(Form { kind, api_version: api_version.to_string(), shape, include })
    }

    pub fn one(&self, record: &Record, state: &State, now: &Now) -> Value {
        match &self.shape {
            Shape::Object => self.object(record, state),
            Shape::Table(version) => {
                self.table(version, vec![self.row(record, state, now)], record.meta().revision, true)
            }
            Shape::Metadata(version) => metadata(record, version),
        }
    }

    /// An event of a watch. The columns of a Table are told in the first alone.
    pub fn event(&self, record: &Record, state: &State, now: &Now, first: bool) -> Value {
        match &self.shape {
            Shape::Table(version) => {
                self.table(version, vec![self.row(record, state, now)], record.meta().revision, first)
            }
            Shape::Object | Shape::Metadata(_) => self.one(record, state, now),
        }
    }

    pub fn many<'a>(&self, records: impl Iterator<Item = &'a Record>, state: &State, now: &Now) -> Value {
        match &self.shape {
            Shape::Object => {
                let mut list = view::list(self.kind, records.map(|r| self.object(r, state)).collect(), state.revision);
                list["apiVersion"] = self.api_version.as_str().into();
                list
            }
            Shape::Table(version) => {
                self.table(version, records.map(|r| self.row(r, state, now)).collect(), state.revision, true)
            }
            Shape::Metadata(version) => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": { "resourceVersion": state.revision.to_string() },
                "items": records.map(|r| metadata(r, version)).collect::<Vec<Value>>(),
            }),
        }
    }

    /// An object of the watched kind that says nothing but how far the watch is (`BOOKMARK`).
    pub fn bookmark(&self, revision: u64) -> Value {
        let metadata = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        let bare = json!({ "kind": self.kind.names().kind, "apiVersion": self.api_version, "metadata": metadata });
        match &self.shape {
            Shape::Object | Shape::Metadata(_) => bare,
            Shape::Table(version) => self.table(version, vec![json!({ "cells": [], "object": bare })], revision, false),
        }
    }

    fn object(&self, record: &Record, state: &State) -> Value {
        let mut shown = view::object(record, state);
        shown["apiVersion"] = self.api_version.as_str().into();
        shown
    }

    fn table(&self, version: &str, rows: Vec<Value>, revision: u64, with_columns: bool) -> Value {
        let columns = if with_columns { table::columns(self.kind) } else { json!([]) };
        json!({
            "kind": "Table",
            "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": { "resourceVersion": revision.to_string() },
            "columnDefinitions": columns,
            "rows": rows,
        })
    }

    fn row(&self, record: &Record, state: &State, now: &Now) -> Value {
        let cells = table::cells(record, state, now);
        match self.include {
            Include::None => json!({ "cells": cells }),
            Include::Metadata => json!({ "cells": cells, "object": metadata(record, "v1") }),
            Include::Object => json!({ "cells": cells, "object": self.object(record, state) }),
        }
    }
}

fn metadata(record: &Record, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": view::metadata(record),
    })
}

/// The first clause of an Accept header that can be served; an empty header takes anything.
fn shape(accept: &str) -> Option<Shape> {
    if accept.trim().is_empty() {
        return Some(Shape::Object);
    }
    accept.split(',').find_map(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let media = parts.next()?;
        let parameters: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
        let parameter = |name| parameters.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        if !matches!(media, "application/json" | "application/*" | "*/*") {
            return None;
        }
        let version = parameter("v").filter(|v| matches!(*v, "v1" | "v1beta1"));
        match (parameter("as"), version) {
            (None, _) => Some(Shape::Object),
            (Some("Table"), Some(v)) => Some(Shape::Table(v.to_string())),
            (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some(v)) => {
                Some(Shape::Metadata(v.to_string()))
            }
            (Some(_), _) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Option<Shape>) {
        assert_eq!(shape(accept), expected, "{accept}");
    }

    #[test]
    fn the_first_form_that_can_be_served_is_served() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        check(kubectl, Some(Shape::Table("v1".into())));
        check(
            "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some(Shape::Table("v1beta1".into())),
        );
        check("application/json;as=Table;v=v3;g=meta.k8s.io, application/json", Some(Shape::Object));
        check("application/vnd.kubernetes.protobuf,application/json", Some(Shape::Object));
        check("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Shape::Metadata("v1".into())));
        check("", Some(Shape::Object));
        check("text/html, */*;q=0.8", Some(Shape::Object));
        check("application/vnd.kubernetes.protobuf", None);
        check("application/json;as=Nonsense", None);
    }
}
