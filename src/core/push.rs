//! The fleet's sets: which message is in force in each slot, and what is answered to its sender. What the objects of
//! all sets come to is `realise`'s business. Knows no topic and no broker.

mod accept;
mod realise;
mod tell;
pub mod waiting;

use serde_json::{Value, json};

use crate::model::seen::Content;
use crate::model::set::{Member, MemberState, Rejected};
use crate::model::{
    Ack, Effect, EventType, Failure, Key, Kind, Lack, LinkSeen, Meta, Publication, Push, Reason, Record, Scope, Set,
    SetKey, State, id,
};

use super::draft::{Draft, about};
pub use realise::realise;

const SOURCE: &str = "pinnace";

/// How a message was taken, in the words of the ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Committed,
    /// The same bytes are in force already.
    Unchanged,
    /// Its revision is behind the one in force.
    Stale,
    Rejected,
}

/// One message on a set's topic. It is settled with the broker in every case, after this step's commit: what is refused
/// is remembered as refused and would not be better for coming again.
pub fn pushed(draft: &mut Draft, push: &Push) {
    draft.effect(Effect::Settle(push.id));
    let known = find(draft, &push.set);
    if push.empty {
        return emptied(draft, push, known);
    }
    match decide(draft, push, known.as_ref()) {
        Ok(Verdict::Committed) => {
            let Ok(content) = &push.content else { return };
            commit(draft, push, known, content);
        }
        Ok(verdict) => {
            match (verdict, &known) {
                (Verdict::Unchanged, Some(set)) => take_back(draft, set),
                (Verdict::Stale, Some(set)) => tell::stale(draft, set, push),
                (Verdict::Committed | Verdict::Rejected, _) | (_, None) => {}
            }
            answer(draft, push, verdict, None, known.as_ref());
        }
        Err(why) => reject(draft, push, known, why),
    }
}

/// What is in force came again: its sender wants the refused message no more.
fn take_back(draft: &mut Draft, set: &Set) {
    if set.rejected.is_some() {
        tell::taken_back(draft, set);
        draft.put(Record::Set(Box::new(Set { rejected: None, ..set.clone() })));
    }
}

/// A message that the disk has no room for. It is settled all the same: the broker has it for whoever comes again, and one
/// that is not acknowledged would keep those behind it from being heard. Nothing that must be durable is written; what would
/// have come into force, or been noted as refused, is held.
pub fn no_room(draft: &mut Draft, push: &Push, lack: &Lack) {
    draft.effect(Effect::Settle(push.id));
    let known = find(draft, &push.set);
    let (verdict, why) = match decide(draft, push, known.as_ref()) {
        Ok(Verdict::Committed) => (Verdict::Rejected, Some(refuse_for_now(draft, push, lack))),
        Ok(verdict) => (verdict, None),
        Err(why) => {
            draft.effect(Effect::Hold { push: Box::new(push.clone()), lack: lack.clone(), refused: true });
            (Verdict::Rejected, Some(why))
        }
    };
    let body = ack_body(draft, push, verdict, why.as_ref(), known.as_ref());
    say_in_passing(draft, &answer_name(draft, push), body);
}

fn refuse_for_now(draft: &mut Draft, push: &Push, lack: &Lack) -> Failure {
    if let Some(node) = draft.node().cloned() {
        let kib = lack.bytes.div_ceil(1024);
        let text = format!("Set {} waits until the disk has room: it may take {kib} KiB.", push.set);
        draft.event_once(&about(&node.into()), EventType::Warning, "SetWaitsForRoom", &text, SOURCE);
    }
    draft.effect(Effect::Hold { push: Box::new(push.clone()), lack: lack.clone(), refused: false });
    let text = format!("set {}: {}; it comes into force by itself when there is room", push.set, lack.why);
    Failure::new(Reason::ServiceUnavailable, text)
}

/// Whether this message is what its slot holds now, so that one that came before it has no say any more.
pub fn is_in_force(state: &State, push: &Push) -> bool {
    let record = state.get(&Key::new(Kind::Set, "", &record_name(&push.set)));
    let sha = record.and_then(|record| record.as_set()).map_or("", |set| &set.sha);
    if push.empty { sha.is_empty() } else { sha == push.sha }
}

/// The daemon has started: sets of groups that the node has left are emptied, the rest is made true again.
pub fn booted(draft: &mut Draft) {
    let groups = draft.node().map(|n| n.status.groups.clone()).unwrap_or_default();
    for record in draft.list(Kind::Set) {
        let Some(set) = record.as_set() else { continue };
        if let Scope::Group(group) = &set.key.scope
            && !groups.contains(group)
            && !set.wants.is_empty()
        {
            draft.put(Set { wants: Vec::new(), sha: String::new(), ..set.clone() });
        }
    }
    realise(draft);
}

/// A session came up or an answer arrived at the broker.
pub fn link(draft: &mut Draft, link: &LinkSeen) {
    match link {
        LinkSeen::Connected => {
            for record in draft.list(Kind::Ack) {
                let Some(ack) = record.as_ack() else { continue };
                let revision = record.meta().revision;
                draft.effect(Effect::Publish(Publication::Ack { key: record.key(), revision, body: ack.body.clone() }));
            }
        }
        LinkSeen::Delivered { key, revision } => {
            // A newer answer to the same slot may have taken its place meanwhile.
            if draft.get(key).is_some_and(|row| row.meta().revision == *revision) {
                draft.delete_quietly(key);
            }
        }
        LinkSeen::Lost => {}
    }
}

/// Makes true again what a set asked for and something else took away: an object that had to go before it could be made
/// anew, a local one that was in the way.
pub fn sync(draft: &mut Draft) {
    let is_due = |key: &Key, member: &Member| {
        let may_come = match &member.state {
            MemberState::Applied => !member.finished,
            MemberState::Conflict(_) => true,
            MemberState::ShadowedBy(_) | MemberState::Deleted => false,
        };
        may_come && draft.get(key).is_none()
    };
    let sets = draft.list(Kind::Set);
    let mut members = sets.iter().filter_map(|record| record.as_set()).flat_map(|set| &set.objects);
    if members.any(|(key, member)| is_due(key, member)) {
        realise(draft);
    }
}

/// A Job or pod of a set that goes after it has finished is not made again when the set comes again: the set keeps a note
/// of it, in the commit that removes the object, until it stops listing it.
pub fn remember_if_finished(draft: &mut Draft, object: &Record) {
    if !is_finished(object) {
        return;
    }
    let Some(mut set) = object.meta().set.as_ref().and_then(|key| find(draft, key)) else { return };
    if let Some(member) = set.objects.get_mut(&object.key()) {
        member.finished = true;
        draft.put(Record::Set(Box::new(set)));
    }
}

fn is_finished(record: &Record) -> bool {
    match record {
        Record::Job(job) => job.status.finished().is_some(),
        Record::Pod(pod) => pod.status.phase.is_terminal(),
        Record::Namespace(_)
        | Record::Node(_)
        | Record::ConfigMap(_)
        | Record::Secret(_)
        | Record::DaemonSet(_)
        | Record::ControllerRevision(_)
        | Record::CronJob(_)
        | Record::Event(_)
        | Record::Image(_)
        | Record::Set(_)
        | Record::Ack(_) => false,
    }
}

/// A person deletes an object of a set on the device: it stays deleted until the set's content changes.
pub fn deleted_by_a_person(draft: &mut Draft, object: &Record) {
    let Some(mut set) = object.meta().set.as_ref().and_then(|key| find(draft, key)) else { return };
    if let Some(member) = set.objects.get_mut(&object.key()) {
        member.state = MemberState::Deleted;
        draft.put(Record::Set(Box::new(set)));
    }
}

/// The name of a set's record: `all:batch`, `grp:pos:shop`, `node:x`. No part can hold a colon.
fn record_name(key: &SetKey) -> String {
    key.to_string().replace('/', ":")
}

fn find(draft: &Draft, key: &SetKey) -> Option<Set> {
    draft.find(Kind::Set, "", &record_name(key))?.as_set().cloned()
}

/// Whether the message comes into force; one that could not be read does not.
fn decide(draft: &Draft, push: &Push, known: Option<&Set>) -> Result<Verdict, Failure> {
    consider(draft, push, known, push.content.as_ref().map_err(Clone::clone)?)
}

/// Committed means: all of it can.
fn consider(draft: &Draft, push: &Push, known: Option<&Set>, content: &Content) -> Result<Verdict, Failure> {
    let in_force = known.is_some_and(|set| set.sha == push.sha);
    if let (Some(rev), Some(set)) = (push.rev(), known) {
        let last = set.rev;
        if rev < last {
            return Ok(Verdict::Stale);
        }
        if rev == last && set.has_header && !in_force {
            let text = format!(
                "set {}: revision {rev} is in force with other bytes; give the new content a higher revision",
                set.key
            );
            return Err(Failure::new(Reason::Conflict, text));
        }
    }
    if in_force {
        return Ok(Verdict::Unchanged);
    }
    if let Some(refused) = known.and_then(|set| set.rejected.as_ref()).filter(|refused| refused.sha == push.sha) {
        return Err(refused.why.clone());
    }
    if let Some(exp) = push.header.as_ref().and_then(|h| h.exp)
        && draft.now().wall_trusted
        && draft.now().wall > exp
    {
        let text = format!(
            "set {}: it expired at {exp} before this node took it; publish it again with a later exp",
            push.set
        );
        return Err(Failure::new(Reason::Expired, text));
    }
    accept::check(draft, &push.set, content)?;
    Ok(Verdict::Committed)
}

fn commit(draft: &mut Draft, push: &Push, known: Option<Set>, content: &Content) {
    let mut set = known.unwrap_or_else(|| new_set(draft, &push.set));
    let rev = push.rev();
    set.rev = rev.unwrap_or(set.rev + 1);
    set.has_header = rev.is_some();
    set.sha.clone_from(&push.sha);
    set.rejected = None;
    set.meta.generation += 1;
    let keeps_others = push.header.as_ref().and_then(|h| h.prune) == Some(false);
    let is_tombstone = push.header.as_ref().is_some_and(|h| h.empty);
    let mut wants = if is_tombstone { Vec::new() } else { content.records.clone() };
    if keeps_others && !is_tombstone {
        let named: Vec<Key> = wants.iter().map(Record::key).collect();
        wants.extend(set.wants.iter().filter(|old| !named.contains(&old.key())).cloned());
    }
    set.wants = wants;
    // New content is a new wish: what a person deleted under the old one is wanted again.
    set.objects.retain(|_, member| member.state != MemberState::Deleted);
    let before = tell::Before::of(draft, &set);
    draft.put(Record::Set(Box::new(set.clone())));
    realise(draft);
    tell::committed(draft, &set, &before);
    answer(draft, push, Verdict::Committed, None, Some(&set));
}

/// An empty message, unsigned: the fleet wants nothing in this slot any more, nor what was refused there.
fn emptied(draft: &mut Draft, push: &Push, known: Option<Set>) {
    let means_something = |set: &Set| !set.wants.is_empty() || !set.sha.is_empty() || set.rejected.is_some();
    let Some(mut set) = known.filter(means_something) else { return };
    let before = tell::Before::of(draft, &set);
    set.wants.clear();
    set.sha.clear();
    set.rejected = None;
    set.meta.generation += 1;
    let was_ever_in_force = set.rev > 0 || set.has_header;
    if was_ever_in_force {
        draft.put(Record::Set(Box::new(set.clone())));
        realise(draft);
        tell::emptied(draft, &set, &before);
    } else {
        // There is no revision to be remembered.
        tell::taken_back(draft, &set);
        draft.delete(&Key::new(Kind::Set, "", &record_name(&set.key)));
    }
    answer(draft, push, Verdict::Committed, None, Some(&set));
}

/// The message before it stays in force; the refusal is kept so that the same bytes are not tried again.
fn reject(draft: &mut Draft, push: &Push, known: Option<Set>, why: Failure) {
    let rev = push.rev().unwrap_or(0);
    let mut set = known.unwrap_or_else(|| new_set(draft, &push.set));
    let rejected = Some(Rejected { rev, sha: push.sha.clone(), why: why.clone() });
    if set.rejected != rejected {
        set.rejected = rejected;
        draft.put(Record::Set(Box::new(set.clone())));
        tell::refused(draft, &set, &why);
    }
    answer(draft, push, Verdict::Rejected, Some(&why), Some(&set));
}

fn new_set(draft: &mut Draft, key: &SetKey) -> Set {
    let meta = draft.new_meta(Kind::Set, Meta { generation: 0, ..Meta::named("", &record_name(key)) });
    Set {
        meta: Meta { generation: 0, ..meta },
        key: key.clone(),
        rev: 0,
        sha: String::new(),
        wants: Vec::new(),
        objects: Default::default(),
        rejected: None,
        has_header: false,
    }
}

/// Answers that may wait for the broker; from then on those of a slot share a row again, and the latest counts.
const ACKS_MAX: usize = 256;

/// Tells the sender. What changed something waits in the outbox until the broker has it; that nothing changed is said
/// once and forgotten, so that a message that comes a thousand times writes nothing.
fn answer(draft: &mut Draft, push: &Push, verdict: Verdict, why: Option<&Failure>, set: Option<&Set>) {
    let name = answer_name(draft, push);
    let body = ack_body(draft, push, verdict, why, set);
    let key = Key::new(Kind::Ack, "", &name);
    let waiting = draft.get(&key).and_then(|record| record.as_ack()).map(|ack| ack.body.clone());
    let is_news = match verdict {
        Verdict::Committed => true,
        Verdict::Rejected => {
            waiting.as_ref().is_none_or(|old| old.get("sha") != body.get("sha")) && draft.wrote(Kind::Set)
        }
        Verdict::Unchanged | Verdict::Stale => false,
    };
    if !is_news {
        return say_in_passing(draft, &name, body);
    }
    let revision = draft.next_revision();
    let meta = draft.new_meta(Kind::Ack, Meta::named("", &name));
    draft.put(Ack { meta, body: body.clone() });
    draft.effect(Effect::Publish(Publication::Ack { key, revision, body }));
}

/// An answer that is not kept: the same message would be answered so again. Beside the one that may be waiting, not in its
/// place.
fn say_in_passing(draft: &mut Draft, name: &str, body: Value) {
    let key = Key::new(Kind::Ack, "", &format!("{name}:again"));
    let revision = draft.next_revision();
    draft.effect(Effect::Publish(Publication::Ack { key, revision, body }));
}

/// Who gives a message a word of its own waits for that word, whatever comes after it in the slot. The word may be any
/// text, so it is its hash.
fn answer_name(draft: &Draft, push: &Push) -> String {
    let slot = record_name(&push.set);
    match push.header.as_ref().and_then(|header| header.ack.as_ref()) {
        Some(id) if draft.list(Kind::Ack).len() < ACKS_MAX => {
            format!("{slot}:{}", &id::sha256_hex(id.as_bytes())[..16])
        }
        Some(_) | None => slot,
    }
}

fn ack_body(draft: &Draft, push: &Push, verdict: Verdict, why: Option<&Failure>, set: Option<&Set>) -> Value {
    let result = match verdict {
        Verdict::Committed => "Committed",
        Verdict::Unchanged => "Unchanged",
        Verdict::Stale => "Stale",
        Verdict::Rejected => "Rejected",
    };
    let mut body = json!({
        "to": push.set.scope.to_string(),
        "slot": push.set.slot,
        "rev": set.map_or(0, |set| set.rev),
        "sha": push.sha,
        "result": result,
        "rv": draft.next_revision(),
    });
    if let Some(id) = push.header.as_ref().and_then(|h| h.ack.as_ref()) {
        body["id"] = json!(id);
    }
    if let Some(why) = why {
        body["status"] = json!({
            "code": why.reason.code(),
            "reason": why.reason.as_str(),
            "message": why.message,
            "details": { "causes": why.causes },
        });
    }
    let warnings = push.content.as_ref().map(|content| content.warnings.as_slice()).unwrap_or_default();
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    let unmet: Vec<Value> = set.map(|set| unmet(draft, set)).unwrap_or_default();
    if !unmet.is_empty() {
        body["unmet"] = json!(unmet);
    }
    body
}

/// Objects of the set that are not as it wants them, because something else has the right of way.
fn unmet(draft: &Draft, set: &Set) -> Vec<Value> {
    let Some(now) = find(draft, &set.key) else { return Vec::new() };
    now.objects
        .iter()
        .filter_map(|(key, member)| Some(json!({"object": key.to_string(), "why": member.state.why()?})))
        .collect()
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm)]
mod tests;
