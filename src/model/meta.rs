//! What every object carries: names, labels, owner, and whether it is being deleted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Kind, Moment, SetKey, Timestamp, Uid};

pub type Labels = BTreeMap<String, String>;

/// `metadata` of one object. What a manifest may say is checked by `manifest`; the rest is ours to fill in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Empty for kinds without a namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Empty only in a request that gives `generate_name`.
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generate_name: String,
    pub uid: Uid,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    pub created: Timestamp,
    /// Rises by one when the spec changes (`metadata.generation`); 0 for kinds without one.
    #[serde(default)]
    pub generation: u64,
    /// The commit that wrote it last (`metadata.resourceVersion`).
    #[serde(default)]
    pub revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Deleting>,
    /// The fleet's set that owns it; none for what a person applied on the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetKey>,
}

/// The controlling owner (`metadata.ownerReferences[0]`, controller: true).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub kind: Kind,
    pub name: String,
    pub uid: Uid,
}

/// A deletion under way (`deletionTimestamp`, `deletionGracePeriodSeconds`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deleting {
    pub since: Moment,
    pub grace_s: u32,
    /// The object waits until what it owns is gone (`foregroundDeletion`).
    #[serde(default)]
    pub foreground: bool,
}

/// `matchLabels` and `matchExpressions`; an empty selector matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    pub match_labels: Labels,
    pub match_expressions: Vec<Requirement>,
}

/// One line of a selector or of a node affinity term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    #[serde(default)]
    pub values: Vec<String>,
}

/// `Gt` and `Lt` are for node affinity alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

impl Meta {
    /// A new object's metadata; uid and time are filled in when it is admitted.
    pub fn named(namespace: &str, name: &str) -> Meta {
        Meta {
            namespace: namespace.to_string(),
            name: name.to_string(),
            generate_name: String::new(),
            uid: Uid::new(""),
            labels: Labels::new(),
            annotations: Labels::new(),
            created: Timestamp::EPOCH,
            generation: 0,
            revision: 0,
            owner: None,
            deleting: None,
            set: None,
        }
    }

    pub fn is_owned_by(&self, uid: &Uid) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.uid == *uid)
    }
}

impl Selector {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(k, v)| labels.get(k) == Some(v))
            && self.match_expressions.iter().all(|r| r.matches(labels))
    }

    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

impl Requirement {
    /// Kubernetes' label rules: `NotIn` and `DoesNotExist` hold when the key is absent; `Gt` and `Lt` compare whole
    /// numbers and fail on anything else.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => self.compare(value).is_some_and(|(have, bound)| have > bound),
            Operator::Lt => self.compare(value).is_some_and(|(have, bound)| have < bound),
        }
    }

    fn compare(&self, value: Option<&String>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operator: Operator, values: &[&str], value: Option<&str>, expected: bool) {
        let labels: Labels = value.map(|v| ("k".to_string(), v.to_string())).into_iter().collect();
        let values = values.iter().map(|v| (*v).to_string()).collect();
        assert_eq!(Requirement { key: "k".into(), operator, values }.matches(&labels), expected);
    }

    #[test]
    fn requirements_match_as_in_kubernetes() {
        check(Operator::In, &["a", "b"], Some("b"), true);
        check(Operator::In, &["a"], None, false);
        check(Operator::NotIn, &["a"], None, true);
        check(Operator::NotIn, &["a"], Some("a"), false);
        check(Operator::Exists, &[], Some(""), true);
        check(Operator::DoesNotExist, &[], Some(""), false);
        check(Operator::Gt, &["4"], Some("5"), true);
        check(Operator::Gt, &["4"], Some("x"), false);
        check(Operator::Lt, &["4"], Some("4"), false);
    }
}
