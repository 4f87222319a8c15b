//! What the device itself says of a message: a line of the daemon's log, and an event of the set. The event rides in the commit
//! that the set's change forces. What its sender is told is `answer`'s business.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::draft::Draft;
use crate::model::{Effect, EventType, Failure, Key, Kind, ObjectRef, Push, Record, Set};

/// As long as Kubernetes lets the message of an event be.
const MESSAGE_CHARS_MAX: usize = 1024;

/// The objects that a set has or wants, as they are before it changes.
pub struct Before(BTreeMap<Key, Option<Arc<Record>>>);

impl Before {
    pub fn of(draft: &Draft, set: &Set) -> Before {
        let keys = set.objects.keys().cloned().chain(set.wants.iter().map(Record::key));
        Before(keys.map(|key| (key.clone(), draft.get(&key).cloned())).collect())
    }

    /// What has become of them.
    fn compared(&self, draft: &Draft, set: &Set) -> String {
        let (mut made, mut changed, mut pruned) = (0, 0, 0);
        let goes = |record: &Record| record.meta().deleting.is_some();
        for (key, before) in &self.0 {
            match (before, draft.get(key)) {
                (None, None) => {}
                (None, Some(_)) => made += 1,
                (Some(_), None) => pruned += 1,
                (Some(before), Some(now)) if goes(now) => pruned += usize::from(!goes(before)),
                (Some(before), Some(now)) => changed += usize::from(before != now),
            }
        }
        let unmet = super::find(draft, &set.key).map_or(0, |now| now.objects.len() - now.objects_met());
        let counts = [(made, "made"), (changed, "changed"), (pruned, "pruned"), (unmet, "not as wanted")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let counts: Vec<String> = counts.collect();
        if counts.is_empty() { "no object has changed".into() } else { format!("objects: {}", counts.join(", ")) }
    }
}

pub fn committed(draft: &mut Draft, set: &Set, before: &Before) {
    let objects = before.compared(draft, set);
    log(draft, EventType::Normal, set, &format!("revision {} is in force; {objects}", set.rev));
    // Without the revision, so that a set which comes again and again is one event that is counted.
    draft.event(&about(set), EventType::Normal, "Committed", &format!("The set is in force; {objects}"), super::SOURCE);
}

pub fn emptied(draft: &mut Draft, set: &Set, before: &Before) {
    let objects = before.compared(draft, set);
    log(draft, EventType::Normal, set, &format!("an empty message took it away; {objects}"));
    draft.event(&about(set), EventType::Normal, "Emptied", &format!("The set is empty; {objects}"), super::SOURCE);
}

pub fn taken_back(draft: &mut Draft, set: &Set) {
    log(draft, EventType::Normal, set, "the message that was refused is wanted no more");
}

/// Told when it is refused, not when the same message comes again.
pub fn refused(draft: &mut Draft, set: &Set, why: &Failure) {
    let said_already = format!("set {}: ", set.key);
    let why = why.message.strip_prefix(&said_already).unwrap_or(&why.message);
    let why: String = why.chars().take(MESSAGE_CHARS_MAX).collect();
    log(draft, EventType::Warning, set, &format!("refused: {why}"));
    draft.event(&about(set), EventType::Warning, "Rejected", &why, super::SOURCE);
}

pub fn stale(draft: &mut Draft, set: &Set, push: &Push) {
    let came = push.rev().unwrap_or_default();
    log(draft, EventType::Warning, set, &format!("revision {came} is stale, {} is in force", set.rev));
    let text = format!("An older revision came than {}, which is in force", set.rev);
    draft.event_once(&about(set), EventType::Warning, "Stale", &text, super::SOURCE);
}

fn log(draft: &mut Draft, kind: EventType, set: &Set, what: &str) {
    draft.effect(Effect::Log(kind, format!("set {}: {what}", set.key)));
}

fn about(set: &Set) -> ObjectRef {
    let (name, uid) = (set.meta.name.clone(), set.meta.uid.clone());
    ObjectRef { kind: Kind::Set, namespace: String::new(), name, uid, field_path: String::new() }
}
