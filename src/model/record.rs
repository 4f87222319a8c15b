//! The whole of a node's state: records by key, and the revision that the last commit gave.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::index::{AtRest, Index, Records};
use super::{
    Ack, ConfigMap, CronJob, DaemonSet, Event, Image, Job, Kind, Meta, Namespace, Node, Pod, Revision, Secret, Set,
    Settings, Timestamp, Uid, Write,
};

/// The order groups records by kind, then namespace, then name: a list is a range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub kind: Kind,
    /// Empty for kinds without one.
    pub namespace: String,
    pub name: String,
}

/// Stored as JSON with its kind under `record`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "record")]
pub enum Record {
    Namespace(Namespace),
    Node(Node),
    ConfigMap(ConfigMap),
    Secret(Secret),
    DaemonSet(DaemonSet),
    ControllerRevision(Revision),
    Job(Job),
    CronJob(CronJob),
    Pod(Pod),
    Event(Event),
    Image(Image),
    Set(Box<Set>),
    Ack(Ack),
}

/// Everything the core decides from. Changed only by `apply`, with what a step wrote.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Of the last commit; the next one has one more.
    pub revision: u64,
    pub settings: Settings,
    records: Records,
    /// Follows from the records.
    index: Index,
}

impl Key {
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Key {
        Key { kind, namespace: namespace.to_string(), name: name.to_string() }
    }
}

impl fmt::Display for Key {
    /// `Job default/batch-job`, `Node gateway-7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.kind, self.namespace, self.name)
    }
}

impl Record {
    pub fn kind(&self) -> Kind {
        match self {
            Record::Namespace(_) => Kind::Namespace,
            Record::Node(_) => Kind::Node,
            Record::ConfigMap(_) => Kind::ConfigMap,
            Record::Secret(_) => Kind::Secret,
            Record::DaemonSet(_) => Kind::DaemonSet,
            Record::ControllerRevision(_) => Kind::ControllerRevision,
            Record::Job(_) => Kind::Job,
            Record::CronJob(_) => Kind::CronJob,
            Record::Pod(_) => Kind::Pod,
            Record::Event(_) => Kind::Event,
            Record::Image(_) => Kind::Image,
            Record::Set(_) => Kind::Set,
            Record::Ack(_) => Kind::Ack,
        }
    }

    pub fn meta(&self) -> &Meta {
        match self {
            Record::Namespace(x) => &x.meta,
            Record::Node(x) => &x.meta,
            Record::ConfigMap(x) => &x.meta,
            Record::Secret(x) => &x.meta,
            Record::DaemonSet(x) => &x.meta,
            Record::ControllerRevision(x) => &x.meta,
            Record::Job(x) => &x.meta,
            Record::CronJob(x) => &x.meta,
            Record::Pod(x) => &x.meta,
            Record::Event(x) => &x.meta,
            Record::Image(x) => &x.meta,
            Record::Set(x) => &x.meta,
            Record::Ack(x) => &x.meta,
        }
    }

    pub fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Record::Namespace(x) => &mut x.meta,
            Record::Node(x) => &mut x.meta,
            Record::ConfigMap(x) => &mut x.meta,
            Record::Secret(x) => &mut x.meta,
            Record::DaemonSet(x) => &mut x.meta,
            Record::ControllerRevision(x) => &mut x.meta,
            Record::Job(x) => &mut x.meta,
            Record::CronJob(x) => &mut x.meta,
            Record::Pod(x) => &mut x.meta,
            Record::Event(x) => &mut x.meta,
            Record::Image(x) => &mut x.meta,
            Record::Set(x) => &mut x.meta,
            Record::Ack(x) => &mut x.meta,
        }
    }

    pub fn key(&self) -> Key {
        let meta = self.meta();
        Key::new(self.kind(), &meta.namespace, &meta.name)
    }
}

/// By way of a `Value`, as manifests are read: one reader of each type in the program instead of three.
impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Record, D::Error> {
        Record::from_json(&Value::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl Record {
    fn from_json(json: &Value) -> Result<Record, serde_json::Error> {
        use serde::de::Error;
        Ok(match json.get("record").and_then(Value::as_str) {
            Some("Namespace") => Record::Namespace(Deserialize::deserialize(json)?),
            Some("Node") => Record::Node(Deserialize::deserialize(json)?),
            Some("ConfigMap") => Record::ConfigMap(Deserialize::deserialize(json)?),
            Some("Secret") => Record::Secret(Deserialize::deserialize(json)?),
            Some("DaemonSet") => Record::DaemonSet(Deserialize::deserialize(json)?),
            Some("ControllerRevision") => Record::ControllerRevision(Deserialize::deserialize(json)?),
            Some("Job") => Record::Job(Deserialize::deserialize(json)?),
            Some("CronJob") => Record::CronJob(Deserialize::deserialize(json)?),
            Some("Pod") => Record::Pod(Deserialize::deserialize(json)?),
            Some("Event") => Record::Event(Deserialize::deserialize(json)?),
            Some("Image") => Record::Image(Deserialize::deserialize(json)?),
            Some("Set") => Record::Set(Box::new(Deserialize::deserialize(json)?)),
            Some("Ack") => Record::Ack(Deserialize::deserialize(json)?),
            other => return Err(serde_json::Error::custom(format!("a record of the kind {other:?} is not known"))),
        })
    }
}

impl State {
    /// A state from what the store held.
    pub fn new(revision: u64, records: impl IntoIterator<Item = Record>, settings: Settings) -> State {
        let mut state = State { revision, settings, ..State::default() };
        for record in records {
            state.insert(Arc::new(record));
        }
        state
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Record>> {
        self.records.get(key)
    }

    /// All records of a kind, in all namespaces, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Record>> {
        self.entries(kind).map(|(_, record)| record)
    }

    /// As `of_kind`, with the keys.
    pub fn entries(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        self.records.range(Key::new(kind, "", "")..).take_while(move |(key, _)| key.kind == kind)
    }

    pub fn of_namespace(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Arc<Record>> {
        self.records
            .range(Key::new(kind, namespace, "")..)
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
            .map(|(_, r)| r)
    }

    pub fn owned_by(&self, uid: &Uid) -> impl Iterator<Item = &Key> {
        self.owned_entries(uid).map(|(key, _)| key)
    }

    /// As `owned_by`, with the records.
    pub fn owned_entries(&self, uid: &Uid) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        self.index.owned.get(uid).into_iter().flat_map(|owned| &owned.all)
    }

    /// The pods among `owned_entries` that are not at rest.
    pub fn owned_in_hand(&self, uid: &Uid) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        self.index.owned.get(uid).into_iter().flat_map(|owned| &owned.in_hand)
    }

    /// What the pods come to that this uid owns and that are at rest.
    pub fn at_rest(&self, uid: &Uid) -> AtRest {
        self.index.owned.get(uid).map_or_else(AtRest::default, |owned| owned.at_rest)
    }

    /// All pods that are not at rest.
    pub fn in_hand(&self) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        self.index.in_hand.iter()
    }

    /// How many pods are kept for reading only.
    pub fn kept_pods(&self) -> usize {
        self.index.kept
    }

    pub fn events(&self) -> usize {
        self.index.events.len()
    }

    /// When the event was told last that was not told again for the longest time.
    pub fn oldest_event(&self) -> Option<Timestamp> {
        self.index.events.first().map(|(last, _)| *last)
    }

    pub fn pod_by_uid(&self, uid: &Uid) -> Option<&Arc<Record>> {
        self.index.pods.get(uid)
    }

    /// One record of each owner that any record names; the owner may be gone.
    pub fn one_of_each_owner(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.index.owned.values().filter_map(|owned| owned.all.values().next())
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values()
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// This node; none before the first `Booted`.
    pub fn node(&self) -> Option<&super::Node> {
        self.index.node.as_ref().and_then(|record| record.as_node())
    }

    /// Makes a step's writes part of the state; the revision rises by one, and every written record carries it already.
    pub fn apply(&mut self, writes: &[Write]) {
        if writes.is_empty() {
            return;
        }
        self.revision += 1;
        for write in writes {
            match write {
                Write::Put(record) => {
                    assert_eq!(
                        record.meta().revision,
                        self.revision,
                        "{} was written for another revision",
                        record.key()
                    );
                    self.insert(record.clone());
                }
                Write::Delete(key) => self.delete(key),
            }
        }
    }

    fn insert(&mut self, record: Arc<Record>) {
        let key = record.key();
        self.delete(&key);
        self.index.insert(&key, &record);
        self.records.insert(key, record);
    }

    /// The index is what the records alone would give.
    #[cfg(test)]
    pub fn check_index(&self) {
        let records = self.records.values().map(|record| (**record).clone());
        assert_eq!(State::new(self.revision, records, self.settings.clone()).index, self.index);
    }

    fn delete(&mut self, key: &Key) {
        if let Some(old) = self.records.remove(key) {
            self.index.remove(key, &old);
        }
    }
}

/// `From` a typed object, and `TryFrom`-like access back, for each kind.
macro_rules! records {
    ($($variant:ident, $type:ty, $get:ident);* $(;)?) => {$(
        impl From<$type> for Record {
            fn from(x: $type) -> Record { Record::$variant(x.into()) }
        }
        impl Record {
            pub fn $get(&self) -> Option<&$type> {
                if let Record::$variant(x) = self { Some(x) } else { None }
            }
        }
    )*};
}

records! {
    Namespace, Namespace, as_namespace;
    Node, Node, as_node;
    ConfigMap, ConfigMap, as_config_map;
    Secret, Secret, as_secret;
    DaemonSet, DaemonSet, as_daemon_set;
    ControllerRevision, Revision, as_revision;
    Job, Job, as_job;
    CronJob, CronJob, as_cron_job;
    Pod, Pod, as_pod;
    Event, Event, as_event;
    Image, Image, as_image;
    Set, Set, as_set;
    Ack, Ack, as_ack;
}
