//! What is on the disk, by what the store said when it said it: the yardstick for what a start finds, and for every
//! effect that may only follow a commit. Knows neither the store's file nor the core.

use std::collections::BTreeMap;
use std::sync::Arc;

use pinnace::model::pod::{ContainerState, ContainerStatus};
use pinnace::model::{AttemptId, Effect, Key, Kind, Launch, Pod, Record, SetKey, State, Uid, Write};

type Records = BTreeMap<Key, Arc<Record>>;

#[derive(Default)]
pub struct Ledger {
    durable: Records,
    /// Written and not durable: a crash loses all of it or none of it.
    quiet: Vec<Write>,
    /// The commit that failed: it may be on the disk all the same.
    in_doubt: Option<Records>,
}

impl Ledger {
    /// The store took these; `durable` when it also made them, and all that waited, last.
    pub fn committed(&mut self, writes: &[Write], durable: bool) {
        self.quiet.extend(writes.iter().cloned());
        if durable {
            put(&mut self.durable, &std::mem::take(&mut self.quiet));
        }
    }

    /// The store failed while it took these.
    pub fn failed(&mut self, writes: &[Write]) {
        let mut records = self.durable.clone();
        put(&mut records, &self.quiet);
        put(&mut records, writes);
        self.in_doubt = Some(records);
    }

    /// A start must find what was durable, or that with the whole commit in doubt: nothing less, nothing between.
    pub fn reopened(&mut self, state: &State) {
        let found: Records = state.all().map(|record| (record.key(), record.clone())).collect();
        let in_doubt = self.in_doubt.take();
        if found != self.durable && Some(&found) != in_doubt.as_ref() {
            let not_as_it_was = |key: &&Key| found.get(*key) != self.durable.get(*key);
            let keys: Vec<String> =
                found.keys().chain(self.durable.keys()).filter(not_as_it_was).map(Key::to_string).collect();
            panic!("a start found a state that was never committed; it differs in {keys:?}");
        }
        self.durable = found;
        self.quiet.clear();
    }

    /// Invariants 1, 2 and 3 of the design: whatever is done rests on something durable.
    pub fn may(&self, effect: &Effect, pushed: impl Fn() -> Option<(SetKey, String)>) {
        match effect {
            Effect::Start(launch) => self.may_start(launch),
            Effect::Forget(attempt) => self.may_forget(attempt),
            Effect::Remove(pod) => self.may_remove(pod),
            Effect::Settle(_) => self.may_settle(pushed()),
            Effect::Answer { answer: Ok(record), .. } => self.may_answer(record),
            Effect::Terminate(_)
            | Effect::Kill(_)
            | Effect::Project(..)
            | Effect::Pull(_)
            | Effect::SweepImages(_)
            | Effect::Log(..)
            | Effect::Answer { .. }
            | Effect::Publish(_)
            | Effect::Hold { .. }
            | Effect::AllStopped => {}
        }
    }

    fn pod(&self, uid: &Uid) -> Option<&Pod> {
        self.durable.values().filter_map(|record| record.as_pod()).find(|pod| pod.meta.uid == *uid)
    }

    fn may_start(&self, launch: &Launch) {
        let a = &launch.attempt;
        let status = self.pod(&a.pod).and_then(|pod| pod.status_of(&a.container));
        // An order that a dead daemon left on its way may have been carried out meanwhile; the second one does nothing.
        let is_known = |s: &ContainerStatus| s.restarts > a.number || (s.restarts == a.number && is_begun(&s.state));
        let known = status.is_some_and(|s| s.reserved >= a.number || is_known(s));
        assert!(known, "attempt {a} starts before its intent is durable");
    }

    fn may_forget(&self, attempt: &AttemptId) {
        let Some(status) = self.pod(&attempt.pod).and_then(|pod| pod.status_of(&attempt.container)) else { return };
        let over = status.restarts > attempt.number || !status.state.is_live();
        assert!(over, "the evidence of {attempt} is forgotten before its end is durable: {:?}", status.state);
    }

    fn may_remove(&self, pod: &Uid) {
        assert!(self.pod(pod).is_none(), "what is left of pod {pod} is removed before its record is");
    }

    fn may_settle(&self, pushed: Option<(SetKey, String)>) {
        let Some((key, sha)) = pushed else { return };
        let found =
            self.durable.values().filter(|record| record.kind() == Kind::Set).filter_map(|record| record.as_set());
        let set = found.into_iter().find(|set| set.key == key);
        let refused = set.is_some_and(|set| set.rejected.as_ref().is_some_and(|rejected| rejected.sha == sha));
        let Some(set) = set else {
            // Taking away what never was changes nothing.
            let nothing = sha == pinnace::model::id::sha256_hex(b"");
            return assert!(nothing, "a message for {key} is settled before it is durable: there is no set");
        };
        let emptied = set.sha.is_empty() && set.wants.is_empty();
        let stale = set.has_header;
        assert!(refused || emptied || stale || set.sha == sha, "a message for {key} is settled before it is durable");
    }

    fn may_answer(&self, record: &Record) {
        // An object that the request did not change may have been told of by a write that only informs.
        let quiet = self.quiet.iter().rev().find(|write| write.key() == record.key());
        let found = match quiet {
            Some(Write::Put(found)) => Some(found),
            Some(Write::Delete(_)) => None,
            None => self.durable.get(&record.key()),
        };
        let Some(found) = found else { return };
        let newer = found.meta().uid == record.meta().uid && found.meta().revision >= record.meta().revision;
        assert!(newer, "{} is answered before it is durable", record.key());
    }
}

/// An attempt of the present number is intended at least.
fn is_begun(state: &ContainerState) -> bool {
    !matches!(state, ContainerState::Waiting { .. })
}

fn put(records: &mut Records, writes: &[Write]) {
    for write in writes {
        match write {
            Write::Put(record) => drop(records.insert(record.key(), record.clone())),
            Write::Delete(key) => drop(records.remove(key)),
        }
    }
}
