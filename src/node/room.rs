//! Looks whether the disk has room for the sets of the fleet that wait for it. Which wait is the core's to say.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Daemon;
use crate::core::push::waiting::{Kept, Waiting, may_wait};
use crate::model::{Lack, LinkSeen, Plan, Push, Seen};

/// The disk is looked at so often while a set waits for room; nothing tells of room that was made.
const LOOK_PACE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Room {
    pub waiting: Waiting,
    looked: Option<Instant>,
}

/// Waits until the disk is to be looked at; for ever while no set waits for it.
pub async fn due(room: &Room) {
    match room.looked.filter(|_| !room.waiting.is_idle()) {
        Some(at) => sleep_until(at + LOOK_PACE).await,
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Sets that have waited and now have room.
    pub(super) fn room_news(&mut self) -> Vec<Seen> {
        let now = Instant::now();
        if self.room.waiting.is_idle() {
            self.room.looked = None;
            return Vec::new();
        }
        if *self.room.looked.get_or_insert(now) + LOOK_PACE > now {
            return Vec::new();
        }
        self.room.looked = Some(now);
        let room = self.room.waiting.take(self.store.room_for_sets());
        for push in &room {
            tracing::info!("the disk has room for set {} now", push.set);
        }
        room.into_iter().map(|push| Seen::Pushed(Box::new(push))).collect()
    }

    /// Why what a message changes does not fit the disk.
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

    pub(super) fn hold(&mut self, push: Push, lack: Lack, refused: bool) {
        let (set, why) = (push.set.clone(), lack.why.clone());
        match self.room.waiting.hold(push, lack, refused) {
            Kept::Waits => tracing::warn!("set {set}: {why}; it waits and comes into force by itself"),
            Kept::Missed => {
                tracing::warn!("set {set}: {why}; too much waits already: the broker is asked for it later")
            }
            Kept::ToBeRefused | Kept::Known => {}
        }
    }

    /// When all that waited has come into force, a new session brings what could not be kept.
    pub(super) async fn ask_for_missed(&mut self) -> Result<(), String> {
        if !self.room.waiting.asks_again() {
            return Ok(());
        }
        self.unlink().await;
        self.counters.connected_as_seen(&Seen::Link(LinkSeen::Lost));
        self.turn(vec![Seen::Link(LinkSeen::Lost)])?;
        if let Some(mqtt) = self.config.mqtt.clone() {
            self.link_to(mqtt);
        }
        Ok(())
    }
}
