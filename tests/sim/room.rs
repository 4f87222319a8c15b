//! A disk that has no room for what the fleet asks for, now and then: what the loop does with such messages, without its
//! figures. Messages that wait are lost when the daemon dies.

use pinnace::core::push::is_in_force;
use pinnace::model::{Effect, Lack, Push, Seen, State};

use crate::broker::Broker;
use crate::crash_backend::Random;

#[derive(Default)]
pub struct Room {
    /// None: there is room for everything.
    short: Option<Random>,
    /// With whether it is refused.
    held: Vec<(Push, bool)>,
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
        self.held.clear();
    }

    /// What the core is shown: one thing a turn while the disk is short, and before it what waits and has room.
    pub fn show(&mut self, inbox: &mut Vec<Seen>, broker: &mut Broker) -> Vec<Seen> {
        let Some(random) = &mut self.short else {
            let waited = self.held.drain(..).map(|(push, _)| Seen::Pushed(Box::new(push)));
            return waited.chain(std::mem::take(inbox)).collect();
        };
        if !self.held.is_empty() && random.chance(3) {
            let at = (random.next() % self.held.len() as u64) as usize;
            return vec![Seen::Pushed(Box::new(self.held.remove(at).0))];
        }
        let first = (!inbox.is_empty()).then(|| inbox.remove(0));
        let shown = first.map(|seen| match seen {
            Seen::Pushed(push) if !push.is_tombstone() && random.chance(2) => {
                // It is settled, and rests on nothing but the broker.
                broker.unsettled.remove(&push.id);
                Seen::NoRoom(push, Lack { bytes: 1, why: "the disk is full (simulated)".into() })
            }
            seen => seen,
        });
        shown.into_iter().collect()
    }

    /// The turn is over.
    pub fn after(&mut self, seen: &[Seen], effects: &[Effect], state: &State) {
        for effect in effects {
            if let Effect::Hold { push, refused, .. } = effect {
                self.held.retain(|(held, is_refused)| held.set != push.set || (*refused && !is_refused));
                self.held.push(((**push).clone(), *refused));
                self.waited += 1;
            }
        }
        for seen in seen {
            if let Seen::Pushed(push) = seen {
                let in_force = is_in_force(state, push);
                self.held.retain(|(held, is_refused)| held.set != push.set || !(in_force || *is_refused));
            }
        }
    }
}
