//! Sets of the fleet that the disk has no room for. What arrived is kept here and shown to the core again when there is
//! room, as if it had arrived only then; in memory alone, for a daemon that starts anew is told all of it by the broker.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::Daemon;
use crate::core::push::is_in_force;
use crate::model::{Lack, LinkSeen, Plan, Push, Seen, State};

/// The disk is looked at so often while a set waits for room; nothing tells of room that was made.
const LOOK_PACE: Duration = Duration::from_secs(10);
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
    looked: Option<Instant>,
}

/// A message that waits.
pub struct Held {
    pub push: Push,
    pub lack: Lack,
    /// It is refused, which has no room to be noted.
    pub refused: bool,
}

impl Waiting {
    /// Keeps a message, in the place of older ones of its slot. A refused one leaves alone what waits to come into force.
    pub fn hold(&mut self, new: Held) {
        let set = &new.push.set;
        let is_known = |held: &Held| held.push.sha == new.push.sha || is_behind(&new.push, &held.push);
        if self.held.iter().any(|held| held.push.set == *set && is_known(held)) {
            return;
        }
        self.held.retain(|held| held.push.set != *set || (new.refused && !held.refused));
        let others = self.held.iter().map(|held| held.lack.bytes).sum::<u64>();
        if others > 0 && others + new.lack.bytes > HELD_BYTES_MAX {
            tracing::warn!("set {set}: {}; too much waits already: the broker is asked for it later", new.lack.why);
            self.missed = true;
            return;
        }
        if !new.refused {
            tracing::warn!("set {set}: {}; it waits and comes into force by itself", new.lack.why);
        }
        self.held.push(new);
    }

    /// A newer message was taken: it takes the place of what waits if it is in force, else of what was refused before it.
    pub fn came(&mut self, newer: &Push, in_force: bool) {
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
        (self.len() > 0).then(|| self.wishes().take(TOLD_MAX).map(line).collect())
    }

    /// Sets that come into force when there is room.
    pub fn len(&self) -> usize {
        self.wishes().count()
    }

    fn wishes(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(|held| !held.refused)
    }

    fn is_idle(&self) -> bool {
        self.held.is_empty() && !self.missed
    }

    fn next_look(&self) -> Option<Instant> {
        self.looked.map(|at| at + LOOK_PACE).filter(|_| !self.is_idle())
    }
}

/// By the sender's own count, whatever the order in which they came.
fn is_behind(push: &Push, other: &Push) -> bool {
    push.rev().zip(other.rev()).is_some_and(|(rev, other)| rev < other)
}

/// Waits until the disk is to be looked at; for ever while no set waits for it.
pub async fn due(waiting: &Waiting) {
    match waiting.next_look() {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Sets that have waited and now have room.
    pub(super) fn room_news(&mut self) -> Vec<Seen> {
        let now = Instant::now();
        if self.waiting.is_idle() {
            self.waiting.looked = None;
            return Vec::new();
        }
        if *self.waiting.looked.get_or_insert(now) + LOOK_PACE > now {
            return Vec::new();
        }
        self.waiting.looked = Some(now);
        let room = self.waiting.take(self.store.room_for_sets());
        for push in &room {
            tracing::info!("the disk has room for set {} now", push.set);
        }
        room.into_iter().map(|push| Seen::Pushed(Box::new(push))).collect()
    }

    /// Why what a message changes does not fit the disk. What takes away is always tried: it is what makes room.
    pub(super) fn lack_for(&self, seen: &[Seen], plan: &Plan) -> Option<Lack> {
        seen.iter().any(may_wait).then(|| self.store.lack_for(&plan.writes)).flatten()
    }

    /// All of a turn does not fit: each message that may wait is looked at by itself, and the others are not held up.
    ///
    /// # Errors
    /// As `turn`.
    pub(super) fn turn_apart(&mut self, mut seen: Vec<Seen>, lack: Lack) -> Result<(), String> {
        if seen.len() == 1
            && let Some(Seen::Pushed(push)) = seen.pop_if(|seen| may_wait(seen))
        {
            return self.turn(vec![Seen::NoRoom(push, lack)]);
        }
        let mut together = Vec::new();
        for seen in seen {
            if may_wait(&seen) {
                self.turn(std::mem::take(&mut together))?;
                self.turn(vec![seen])?;
            } else {
                together.push(seen);
            }
        }
        self.turn(together)
    }

    /// Messages of the turn that is over take the place of older ones that wait.
    pub(super) fn let_go_of_older(&mut self, seen: &[Seen]) {
        if self.waiting.is_idle() {
            return;
        }
        let state: &State = &self.state.borrow();
        for seen in seen {
            if let Seen::Pushed(push) = seen {
                self.waiting.came(push, is_in_force(state, push));
            }
        }
    }

    /// When all that waited has come into force, a new session brings what could not be kept.
    pub(super) async fn ask_for_missed(&mut self) -> Result<(), String> {
        if !self.waiting.missed || !self.waiting.held.is_empty() {
            return Ok(());
        }
        self.waiting.missed = false;
        self.unlink().await;
        self.counters.connected_as_seen(&Seen::Link(LinkSeen::Lost));
        self.turn(vec![Seen::Link(LinkSeen::Lost)])?;
        if let Some(mqtt) = self.config.mqtt.clone() {
            self.link_to(mqtt);
        }
        Ok(())
    }
}

fn may_wait(seen: &Seen) -> bool {
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
        waiting.hold(Held { push, lack: Lack { bytes, why: "too little".into() }, refused: false });
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
        assert_eq!((shas(&waiting.take(99)).len(), waiting.len()), (0, 2));
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
        assert_eq!(waiting.len(), 1, "another slot; one that is not in force");
        waiting.came(&push("a", "1", None), true);
        assert!(waiting.is_idle(), "the fleet has gone back");
    }

    #[test]
    fn a_refusal_waits_beside_what_comes_into_force() {
        let mut waiting = Waiting::default();
        let refused = |sha| Held { refused: true, push: push("a", sha, None), lack: Lack { bytes: 1, why: "".into() } };
        hold(&mut waiting, push("a", "1", None), 1);
        waiting.hold(refused("bad"));
        waiting.hold(refused("worse"));
        assert_eq!(waiting.len(), 1, "the fleet is told of what may come");
        assert_eq!(shas(&waiting.take(2)), ["1", "worse"]);
        waiting.hold(refused("bad"));
        assert!(waiting.why().is_none() && !waiting.is_idle());
        waiting.came(&push("a", "worst", None), false);
        assert!(waiting.is_idle(), "the last refusal is noted");
        waiting.hold(refused("bad"));
        hold(&mut waiting, push("a", "2", None), 1);
        assert_eq!(shas(&waiting.take(2)), ["2"]);
    }

    #[test]
    fn memory_is_bounded_and_the_broker_is_asked_for_the_rest() {
        let mut waiting = Waiting::default();
        hold(&mut waiting, push("large", "1", None), HELD_BYTES_MAX + 1);
        assert!(waiting.len() == 1 && !waiting.missed, "one always waits");
        hold(&mut waiting, push("b", "1", None), 1);
        assert!(waiting.len() == 1 && waiting.missed);
        waiting.came(&push("large", "2", None), true);
        assert!(!waiting.is_idle(), "there is something to ask for");
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
