//! Sets of the fleet that the disk has no room for: which of them wait, and what takes their place. They are shown again when
//! there is room, as if they had arrived only then. In memory alone, and no part of the state: a daemon that starts anew is told all
//! of it by the broker.

use serde_json::{Value, json};

use crate::model::{Lack, Push, Seen, State};

use super::is_in_force;

/// What all sets that wait may take on the disk together, and about as much in memory. What is beyond is asked of the broker again.
const HELD_BYTES_MAX: u64 = 64 << 20;
/// Sets that the fleet is told of.
const TOLD_MAX: usize = 32;

#[derive(Default)]
pub struct Waiting {
    /// In the order in which they came.
    held: Vec<Held>,
    /// Some were not kept.
    missed: bool,
}

/// A message that waits.
struct Held {
    push: Push,
    lack: Lack,
    /// It is refused, which has no room to be noted.
    refused: bool,
}

/// What became of a message that was to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Waits,
    /// Its refusal does.
    ToBeRefused,
    /// It waits already, or a newer one does.
    Known,
    /// Too much waits: the broker is to be asked for it.
    Missed,
}

impl Waiting {
    /// Keeps a message, in the place of older ones of its slot. A refused one leaves alone what waits to come into force.
    pub fn hold(&mut self, push: Push, lack: Lack, refused: bool) -> Kept {
        let is_known = |held: &Held| held.push.sha == push.sha || is_behind(&push, &held.push);
        if self.held.iter().any(|held| held.push.set == push.set && is_known(held)) {
            return Kept::Known;
        }
        self.held.retain(|held| held.push.set != push.set || (refused && !held.refused));
        let others = self.held.iter().map(|held| held.lack.bytes).sum::<u64>();
        if others > 0 && others + lack.bytes > HELD_BYTES_MAX {
            self.missed = true;
            return Kept::Missed;
        }
        self.held.push(Held { push, lack, refused });
        if refused { Kept::ToBeRefused } else { Kept::Waits }
    }

    /// A turn is over: what was taken in it takes the place of what waits if it is in force, else of what was refused before it.
    pub fn taken(&mut self, seen: &[Seen], state: &State) {
        if self.is_idle() {
            return;
        }
        for seen in seen {
            if let Seen::Pushed(push) = seen {
                self.came(push, is_in_force(state, push));
            }
        }
    }

    fn came(&mut self, newer: &Push, in_force: bool) {
        let is_over = |held: &Held| (in_force || held.refused) && !is_behind(newer, &held.push);
        self.held.retain(|held| held.push.set != newer.set || !is_over(held));
    }

    /// Takes out what fits so many bytes.
    pub fn take(&mut self, mut room: u64) -> Vec<Push> {
        let fits = |held: &mut Held| {
            let fits = held.lack.bytes <= room;
            room -= if fits { held.lack.bytes } else { 0 };
            fits
        };
        self.held.extract_if(.., fits).map(|held| held.push).collect()
    }

    /// Why the disk is too small at present.
    pub fn why(&self) -> Option<String> {
        self.wishes().next().map(|held| format!("{} (set {}); free some space", held.lack.why, held.push.set))
    }

    /// For the fleet.
    pub fn told(&self) -> Option<Value> {
        let line = |Held { push, lack, .. }: &Held| json!({"to": push.set.scope.to_string(), "slot": push.set.slot, "sha": push.sha, "message": lack.why});
        (self.count() > 0).then(|| self.wishes().take(TOLD_MAX).map(line).collect())
    }

    /// Sets that come into force when there is room.
    pub fn count(&self) -> usize {
        self.wishes().count()
    }

    fn wishes(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|held| !held.refused)
    }

    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && !self.missed
    }

    /// Whether the broker is to be asked for what was not kept, now that all that was has gone; told once.
    pub fn asks_again(&mut self) -> bool {
        self.held.is_empty() && std::mem::take(&mut self.missed)
    }
}

/// By the sender's own count, whatever the order in which they came.
fn is_behind(push: &Push, other: &Push) -> bool {
    push.rev().zip(other.rev()).is_some_and(|(rev, other)| rev < other)
}

/// Whether it may wait for room. What takes away never does: it is what makes room.
pub fn may_wait(seen: &Seen) -> bool {
    matches!(seen, Seen::Pushed(push) if !push.is_tombstone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::seen::{Content, Header};
    use crate::model::{PushId, Scope, SetKey};

    fn push(slot: &str, sha: &str, rev: Option<u64>) -> Push {
        let header = rev.map(|rev| Header { rev: Some(rev), ..Header::default() });
        let content = Ok(Content { records: vec![], warnings: vec![] });
        let set = SetKey { scope: Scope::All, slot: slot.into() };
        Push { id: PushId(1), set, sha: sha.into(), empty: false, header, content }
    }

    fn hold(waiting: &mut Waiting, push: Push, bytes: u64) {
        waiting.hold(push, Lack { bytes, why: "too little".into() }, false);
    }

    fn shas(pushes: &[Push]) -> Vec<&str> {
        pushes.iter().map(|push| push.sha.as_str()).collect()
    }

    #[test]
    fn what_fits_goes_in_its_order_and_the_rest_waits() {
        let mut waiting = Waiting::default();
        for (slot, bytes) in [("a", 500), ("b", 100), ("c", 300), ("d", 100)] {
            hold(&mut waiting, push(slot, slot, None), bytes);
        }
        assert_eq!(shas(&waiting.take(450)), ["b", "c"], "not more than there is room for");
        assert_eq!((shas(&waiting.take(99)).len(), waiting.count()), (0, 2));
        assert_eq!(shas(&waiting.take(600)), ["a", "d"]);
        assert!(waiting.is_idle() && waiting.why().is_none() && waiting.told().is_none());
    }

    #[test]
    fn a_newer_message_takes_the_place_of_an_older_one() {
        let mut waiting = Waiting::default();
        hold(&mut waiting, push("a", "1", None), 500);
        hold(&mut waiting, push("b", "1", Some(5)), 100);
        hold(&mut waiting, push("a", "2", None), 50);
        hold(&mut waiting, push("b", "0", Some(4)), 10);
        assert_eq!(waiting.told().unwrap()[1]["sha"], "2");
        // Older by the sender's count, though it came into force meanwhile.
        waiting.came(&push("b", "0", Some(4)), true);
        assert_eq!(shas(&waiting.take(150)), ["1", "2"]);
        hold(&mut waiting, push("a", "3", None), 500);
        waiting.came(&push("b", "9", None), true);
        waiting.came(&push("a", "bad", None), false);
        assert_eq!(waiting.count(), 1, "another slot; one that is not in force");
        waiting.came(&push("a", "1", None), true);
        assert!(waiting.is_idle(), "the fleet has gone back");
    }

    #[test]
    fn a_refusal_waits_beside_what_comes_into_force() {
        let mut waiting = Waiting::default();
        let refused =
            |waiting: &mut Waiting, sha| waiting.hold(push("a", sha, None), Lack { bytes: 1, why: "".into() }, true);
        hold(&mut waiting, push("a", "1", None), 1);
        refused(&mut waiting, "bad");
        refused(&mut waiting, "worse");
        assert_eq!(waiting.count(), 1, "the fleet is told of what may come");
        assert_eq!(shas(&waiting.take(2)), ["1", "worse"]);
        refused(&mut waiting, "bad");
        assert!(waiting.why().is_none() && !waiting.is_idle());
        waiting.came(&push("a", "worst", None), false);
        assert!(waiting.is_idle(), "the last refusal is noted");
        refused(&mut waiting, "bad");
        hold(&mut waiting, push("a", "2", None), 1);
        assert_eq!(shas(&waiting.take(2)), ["2"]);
    }

    #[test]
    fn memory_is_bounded_and_the_broker_is_asked_for_the_rest() {
        let mut waiting = Waiting::default();
        hold(&mut waiting, push("large", "1", None), HELD_BYTES_MAX + 1);
        assert!(waiting.count() == 1 && !waiting.missed, "one always waits");
        let lack = Lack { bytes: 1, why: "too little".into() };
        assert_eq!(waiting.hold(push("b", "1", None), lack, false), Kept::Missed);
        assert!(waiting.count() == 1 && !waiting.asks_again(), "one after the other");
        waiting.came(&push("large", "2", None), true);
        assert!(
            !waiting.is_idle() && waiting.asks_again() && !waiting.asks_again(),
            "there is something to ask for, once"
        );
    }

    #[test]
    fn tombstones_do_not_wait() {
        let tombstone = Push { header: Some(Header { empty: true, ..Header::default() }), ..push("a", "1", None) };
        for (push, expected) in
            [(push("a", "1", None), true), (tombstone, false), (Push { empty: true, ..push("a", "1", None) }, false)]
        {
            assert_eq!(may_wait(&Seen::Pushed(Box::new(push))), expected);
        }
        assert!(!may_wait(&Seen::StopPods));
    }
}
