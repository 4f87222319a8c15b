//! Which fields each kind has, what type each is, and what pinnace makes of it: one table a Kubernetes type. A test
//! holds them against Kubernetes' own types, both ways: no field is invented, none is forgotten.

mod data;
mod meta;
mod pod;
mod volume;
pub mod words;
mod workload;

use crate::model::Kind;

/// One type of Kubernetes' API.
#[derive(Debug)]
pub struct Schema {
    /// Its name in Kubernetes' Go code, as decoding errors give it.
    pub go: &'static str,
    pub fields: &'static [Field],
}

#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub standing: Standing,
}

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    Text,
    Bool,
    Int32,
    Int64,
    /// A whole number or a text such as `50%`.
    IntOrText,
    /// `resource.Quantity`: text or number.
    Amount,
    /// Base64 text.
    Bytes,
    List(&'static Shape),
    /// An object with free keys.
    Map(&'static Shape),
    Object(&'static Schema),
    /// Not looked into: the field is refused or dropped whole.
    Any,
}

/// What pinnace makes of a field.
#[derive(Debug, Clone, Copy)]
pub enum Standing {
    /// It is acted upon.
    Done,
    /// Taken, and rightly without effect on one node without Services and service accounts.
    Idle,
    /// Taken with these JSON values alone, which ask for what is so anyway; refused with any other.
    Only(&'static [&'static str]),
    /// Kubernetes knows it, pinnace does not do it. Empty values (null, "", [], {}) ask for nothing and are taken.
    Refused,
    /// As `Refused`, also when it is an empty object: that is one of several alternatives all the same.
    Never,
    /// The server's to write: what a client sends of it is dropped.
    Dropped,
}

impl Schema {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The names that a writer may have meant.
    pub(super) fn taken(&self) -> impl Iterator<Item = &'static str> {
        self.fields
            .iter()
            .filter(|f| !matches!(f.standing, Standing::Refused | Standing::Never | Standing::Dropped))
            .map(|f| f.name)
    }
}

/// The whole document of a kind; none for kinds that no manifest makes.
pub fn of(kind: Kind) -> Option<&'static Schema> {
    match kind {
        Kind::Namespace => Some(&data::NAMESPACE),
        Kind::Node => Some(&data::NODE),
        Kind::ConfigMap => Some(&data::CONFIG_MAP),
        Kind::Secret => Some(&data::SECRET),
        Kind::DaemonSet => Some(&workload::DAEMON_SET),
        Kind::Job => Some(&workload::JOB),
        Kind::CronJob => Some(&workload::CRON_JOB),
        Kind::Pod => Some(&workload::POD),
        Kind::Image => Some(&data::IMAGE),
        Kind::ControllerRevision | Kind::Event | Kind::Set | Kind::Ack => None,
    }
}

const fn done(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, standing: Standing::Done }
}

const fn idle(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, standing: Standing::Idle }
}

const fn only(name: &'static str, shape: Shape, values: &'static [&'static str]) -> Field {
    Field { name, shape, standing: Standing::Only(values) }
}

const fn refused(name: &'static str) -> Field {
    Field { name, shape: Shape::Any, standing: Standing::Refused }
}

const fn never(name: &'static str) -> Field {
    Field { name, shape: Shape::Any, standing: Standing::Never }
}

const fn dropped(name: &'static str) -> Field {
    Field { name, shape: Shape::Any, standing: Standing::Dropped }
}

const API_VERSION: Field = done("apiVersion", Shape::Text);
const KIND: Field = done("kind", Shape::Text);
const METADATA: Field = done("metadata", Shape::Object(&meta::OBJECT_META));
const STATUS: Field = dropped("status");
const TEXTS: Shape = Shape::List(&Shape::Text);
const TEXT_MAP: Shape = Shape::Map(&Shape::Text);
