//! What all sets together come to: for each object the set that has the right of way, everything else shadowed, and what
//! no set wants any more pruned. Run when a set or an object's owner changed, not at each step.

use std::collections::BTreeMap;

use crate::core::draft::Draft;
use crate::core::{admit, delete};
use crate::model::set::{Member, MemberState};
use crate::model::{Key, Kind, Propagation, Record, Scope, Set, SetKey, sorted};

use super::accept::may_be_remade;

/// What one set wants of one object.
#[derive(Clone)]
struct Claim {
    set: SetKey,
    wanted: Record,
}

/// Makes the objects as the sets want them. At a fixpoint it changes nothing.
pub fn realise(draft: &mut Draft) {
    let sets: Vec<Set> = draft.list(Kind::Set).iter().filter_map(|record| record.as_set().cloned()).collect();
    let mut claims: BTreeMap<Key, Vec<Claim>> = BTreeMap::new();
    for set in &sets {
        for wanted in &set.wants {
            claims.entry(wanted.key()).or_default().push(Claim { set: set.key.clone(), wanted: wanted.clone() });
        }
    }
    let mut members = sorted::map(sets.iter().map(|set| (set.key.clone(), set.objects.clone())));
    prune(draft, &claims, &mut members);
    for (key, claims) in &claims {
        settle(draft, key, claims, &mut members);
    }
    for mut set in sets {
        set.objects = members.remove(&set.key).unwrap_or_default();
        draft.put(Record::Set(Box::new(set)));
    }
}

/// Removes what a set had and does not want any more; if another set wants it, `settle` gives it to that one.
fn prune(draft: &mut Draft, claims: &BTreeMap<Key, Vec<Claim>>, members: &mut BTreeMap<SetKey, BTreeMap<Key, Member>>) {
    for (set, objects) in members {
        let wants = |key: &Key| claims.get(key).is_some_and(|claims| claims.iter().any(|claim| claim.set == *set));
        let unwanted: Vec<Key> = objects.keys().filter(|key| !wants(key)).cloned().collect();
        for key in unwanted {
            objects.remove(&key);
            let is_ours = draft.get(&key).is_some_and(|object| object.meta().set.as_ref() == Some(set));
            if is_ours && !claims.contains_key(&key) {
                delete::record(draft, &key, None, Propagation::Background);
            }
        }
    }
}

/// Gives one object to the claim that has the right of way.
fn settle(draft: &mut Draft, key: &Key, claims: &[Claim], members: &mut BTreeMap<SetKey, BTreeMap<Key, Member>>) {
    let current = draft.get(key).cloned();
    let owner = current.as_ref().and_then(|object| object.meta().set.clone());
    let is_local = current.is_some() && owner.is_none();
    if is_local && key.kind != Kind::Namespace {
        for claim in claims {
            note(
                members,
                claim,
                key,
                MemberState::Conflict("an object of this name was made on the device".into()),
                None,
            );
        }
        return;
    }
    let winner = right_of_way(claims, owner.as_ref());
    let before = members.get(&winner.set).and_then(|objects| objects.get(key)).cloned();
    let stays_away =
        current.is_none() && before.as_ref().is_some_and(|m| m.finished || m.state == MemberState::Deleted);
    if !stays_away && !is_local {
        install(draft, key, winner);
    }
    let uid = draft.get(key).map(|object| object.meta().uid.clone());
    for claim in claims {
        let state = if claim.set != winner.set && breadth(&claim.set.scope) == breadth(&winner.set.scope) {
            MemberState::Conflict(format!("set {} had it first", winner.set))
        } else if claim.set != winner.set {
            MemberState::ShadowedBy(winner.set.clone())
        } else if before.as_ref().is_some_and(|m| m.state == MemberState::Deleted) && stays_away {
            MemberState::Deleted
        } else {
            MemberState::Applied
        };
        note(members, claim, key, state, uid.clone());
    }
}

/// The narrower scope wins; within one scope who had it first, then the slot's name.
fn right_of_way<'a>(claims: &'a [Claim], owner: Option<&SetKey>) -> &'a Claim {
    let rank =
        |claim: &Claim| (breadth(&claim.set.scope), owner == Some(&claim.set), std::cmp::Reverse(claim.set.clone()));
    claims.iter().max_by_key(|claim| rank(claim)).expect("an object is settled only where a set claims it")
}

/// All groups of a node are equals.
fn breadth(scope: &Scope) -> u8 {
    match scope {
        Scope::All => 0,
        Scope::Group(_) => 1,
        Scope::Node => 2,
    }
}

fn note(
    members: &mut BTreeMap<SetKey, BTreeMap<Key, Member>>,
    claim: &Claim,
    key: &Key,
    state: MemberState,
    uid: Option<crate::model::Uid>,
) {
    let objects = members.entry(claim.set.clone()).or_default();
    let old = objects.get(key);
    let uid = uid.or_else(|| old.map(|m| m.uid.clone())).unwrap_or_else(|| crate::model::Uid::new(""));
    // A new object under the old name (a Job made anew) has not finished.
    let finished = old.is_some_and(|m| m.finished && m.uid == uid);
    objects.insert(key.clone(), Member { uid, state, finished });
}

/// The object as the claim wants it: made, changed, or made anew where it may not be changed.
fn install(draft: &mut Draft, key: &Key, claim: &Claim) {
    let Some(current) = draft.get(key).cloned() else { return make(draft, claim) };
    match admit::replaced(draft, &claim.wanted, None) {
        Ok(mut changed) => {
            changed.meta_mut().set = Some(claim.set.clone());
            if changed != *current {
                draft.put(changed);
            }
        }
        // `accept` let this through: the manifest allows it, or the object comes from another set.
        Err(_) => {
            assert!(
                may_be_remade(&claim.wanted) || current.meta().set.as_ref() != Some(&claim.set),
                "{key} was accepted but cannot be"
            );
            delete::record(draft, key, None, Propagation::Background);
            if draft.get(key).is_none() {
                make(draft, claim);
            }
        }
    }
}

fn make(draft: &mut Draft, claim: &Claim) {
    // A refusal here (its namespace is going) leaves the object out; the set's member says so by having no uid.
    if let Ok(mut object) = admit::created(draft, &claim.wanted) {
        object.meta_mut().set = Some(claim.set.clone());
        draft.put(object);
    }
}
