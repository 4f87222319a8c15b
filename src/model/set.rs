//! A set: one retained message of the fleet, applied and pruned as a whole.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Failure, Key, Meta, Record, Uid};

/// Whom a set is addressed to. The order is precedence: a later one wins over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    All,
    Group(String),
    /// This node.
    Node,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetKey {
    pub scope: Scope,
    pub slot: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Set {
    pub meta: Meta,
    pub key: SetKey,
    /// From the header; without one, the arrival number that this node gave it. Kept when the set is emptied, so that an
    /// old message cannot bring it back.
    pub rev: u64,
    /// SHA-256 of the message that is in force.
    pub sha: String,
    /// What that message asks for, decoded: needed again when a set that shadows this one goes.
    pub wants: Vec<Record>,
    /// What became of each object.
    #[serde(with = "pairs")]
    pub objects: BTreeMap<Key, Member>,
    /// A newer message that was refused; the one before it stays in force.
    pub rejected: Option<Rejected>,
    /// True when the header had a revision; unsigned plain manifests have none.
    pub has_header: bool,
}

impl Set {
    /// How many objects are as it wants them.
    pub fn objects_met(&self) -> usize {
        self.objects.values().filter(|member| member.state.why().is_none()).count()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub uid: Uid,
    pub state: MemberState,
    /// A Job that finished stays finished though the object be gone, until the set stops listing it.
    #[serde(default)]
    pub finished: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    Applied,
    /// Another set has the right of way.
    ShadowedBy(SetKey),
    /// An object of that name was there first, made locally or by another set of the same scope.
    Conflict(String),
    /// Deleted on the device by a person; it stays deleted until the set's content changes.
    Deleted,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    pub rev: u64,
    pub sha: String,
    pub why: Failure,
}

/// The answer to a message that has a word of its own, else the last one to its slot; durable until the broker has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    pub meta: Meta,
    /// The JSON text to publish on `u/NODE/ack`.
    pub body: serde_json::Value,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all"),
            Scope::Group(group) => write!(f, "grp/{group}"),
            Scope::Node => f.write_str("node"),
        }
    }
}

impl fmt::Display for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scope, self.slot)
    }
}

impl MemberState {
    /// Why the object is not as the set wants it; none when it is.
    pub fn why(&self) -> Option<String> {
        match self {
            MemberState::Applied => None,
            MemberState::ShadowedBy(set) => Some(format!("shadowed by set {set}")),
            MemberState::Conflict(with) => Some(format!("conflict: {with}")),
            MemberState::Deleted => Some("deleted on the device; it comes back when the set changes".into()),
        }
    }
}

/// Maps with structured keys, as JSON has only text ones.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::sorted;

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(map: &BTreeMap<K, V>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(map)
    }

    pub fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(sorted::map(Vec::<(K, V)>::deserialize(d)?))
    }
}
