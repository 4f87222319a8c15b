//! What a state is looked up by besides its keys: by owner, by a pod's uid, by what is still to be done. All of it follows
//! from the records. A node keeps many pods that have ended and few that have not; who looks after pods meets only those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Key, Kind, Phase, Pod, Record, Timestamp, Uid};

/// Records by key.
pub(super) type Records = BTreeMap<Key, Arc<Record>>;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Index {
    /// By the uid of their owner; no entry is empty.
    pub owned: BTreeMap<Uid, Owned>,
    /// A state has one at most; everything asks for it.
    pub node: Option<Arc<Record>>,
    /// Pods by their own uid, which is what a process is known by.
    pub pods: BTreeMap<Uid, Arc<Record>>,
    /// Pods that are not at rest.
    pub in_hand: Records,
    /// How many pods are `kept_for_reading`.
    pub kept: usize,
    /// Events by when they were told last, told apart by their uid.
    pub events: BTreeSet<(Timestamp, Uid)>,
}

/// What one object owns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Owned {
    pub all: Records,
    /// The pods among them that are not at rest.
    pub in_hand: Records,
    pub at_rest: AtRest,
}

/// What pods come to of which nothing more will be: those that have ended and are not being deleted. What is excused is
/// neither. The counts follow from the pods that exist, as a length does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AtRest {
    pub succeeded: u32,
    pub failed: u32,
}

impl AtRest {
    pub fn add(&mut self, pod: &Pod) {
        if let Some(count) = self.of(pod) {
            *count = count.saturating_add(1);
        }
    }

    /// Takes a pod out that was added before.
    pub fn take(&mut self, pod: &Pod) {
        if let Some(count) = self.of(pod) {
            *count = count.saturating_sub(1);
        }
    }

    /// Where this pod counts.
    fn of(&mut self, pod: &Pod) -> Option<&mut u32> {
        if !pod.is_at_rest() || pod.status.excused.is_some() {
            return None;
        }
        match pod.status.phase {
            Phase::Succeeded => Some(&mut self.succeeded),
            Phase::Failed => Some(&mut self.failed),
            Phase::Pending | Phase::Running => None,
        }
    }
}

impl Index {
    pub fn insert(&mut self, key: &Key, record: &Arc<Record>) {
        if let Some(owner) = &record.meta().owner {
            self.owned.entry(owner.uid.clone()).or_default().insert(key, record);
        }
        if let Some(pod) = record.as_pod() {
            self.pods.insert(pod.meta.uid.clone(), record.clone());
            self.kept += usize::from(pod.is_kept_for_reading());
            if !pod.is_at_rest() {
                self.in_hand.insert(key.clone(), record.clone());
            }
        }
        if record.kind() == Kind::Node {
            self.node = Some(record.clone());
        }
        if let Some(event) = record.as_event() {
            self.events.insert((event.last, event.meta.uid.clone()));
        }
    }

    /// `old` is what was inserted under this key.
    pub fn remove(&mut self, key: &Key, old: &Record) {
        if let Some(owner) = &old.meta().owner
            && let Some(owned) = self.owned.get_mut(&owner.uid)
        {
            owned.remove(key, old);
            if owned.all.is_empty() {
                self.owned.remove(&owner.uid);
            }
        }
        if let Some(pod) = old.as_pod() {
            self.pods.remove(&pod.meta.uid);
            self.kept -= usize::from(pod.is_kept_for_reading());
            self.in_hand.remove(key);
        }
        // A node that was renamed may be there under its new name already.
        self.node.take_if(|node| node.meta().name == key.name && key.kind == Kind::Node);
        if let Some(event) = old.as_event() {
            self.events.remove(&(event.last, event.meta.uid.clone()));
        }
    }
}

impl Owned {
    fn insert(&mut self, key: &Key, record: &Arc<Record>) {
        self.all.insert(key.clone(), record.clone());
        if let Some(pod) = record.as_pod() {
            self.at_rest.add(pod);
            if !pod.is_at_rest() {
                self.in_hand.insert(key.clone(), record.clone());
            }
        }
    }

    fn remove(&mut self, key: &Key, old: &Record) {
        self.all.remove(key);
        if let Some(pod) = old.as_pod() {
            self.at_rest.take(pod);
            self.in_hand.remove(key);
        }
    }
}
