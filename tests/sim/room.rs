//! A disk that has no room for what the fleet asks for, now and then: what the loop does with such messages, without its
//! figures. Messages that wait are lost when the daemon dies.

use pinnace::core::push::waiting::{Waiting, may_wait};
use pinnace::model::{Effect, Lack, Seen, State};

use crate::broker::Broker;
use crate::crash_backend::Random;

#[derive(Default)]
pub struct Room {
    /// None: there is room for everything.
    short: Option<Random>,
    /// As on the device; the figures are by chance.
    waiting: Waiting,
    /// How many messages waited.
    pub waited: u64,
}

impl Room {
    pub fn short(seed: u64) -> Room {
        Room { short: Some(Random(seed)), ..Room::default() }
    }

    /// Somebody made room, for good.
    pub fn is_made(&mut self) {
        self.short = None;
    }

    pub fn died(&mut self) {
        self.waiting = Waiting::default();
    }

    /// What the core is shown. While the disk is short: what waits and has room, else one thing.
    pub fn show(&mut self, inbox: &mut Vec<Seen>, broker: &mut Broker) -> Vec<Seen> {
        let Some(random) = &mut self.short else {
            let waited = self.waiting.take(u64::MAX).into_iter().map(|push| Seen::Pushed(Box::new(push)));
            return waited.chain(std::mem::take(inbox)).collect();
        };
        let room = if random.chance(3) { random.next() % 6 } else { 0 };
        let waited = self.waiting.take(room);
        if !waited.is_empty() {
            return waited.into_iter().map(|push| Seen::Pushed(Box::new(push))).collect();
        }
        let first = (!inbox.is_empty()).then(|| inbox.remove(0));
        let shown = first.map(|seen| match seen {
            seen if !may_wait(&seen) => seen,
            Seen::Pushed(push) if random.chance(2) => {
                // It is settled, and rests on nothing but the broker.
                broker.unsettled.remove(&push.id);
                Seen::NoRoom(push, Lack { bytes: 1 + random.next() % 5, why: "the disk is full (simulated)".into() })
            }
            seen => seen,
        });
        shown.into_iter().collect()
    }

    /// The turn is over.
    pub fn after(&mut self, seen: &[Seen], effects: &[Effect], state: &State) {
        for effect in effects {
            if let Effect::Hold { push, lack, refused } = effect {
                self.waiting.hold((**push).clone(), lack.clone(), *refused);
                self.waited += 1;
            }
        }
        self.waiting.taken(seen, state);
    }
}
