//! Tells whoever listens what the loop sees, writes and does, turn by turn, by name and never with contents: a manifest may
//! hold secrets. Costs nothing while nobody listens.

use std::cell::RefCell;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::model::update::UpdateSeen;
use crate::model::{Effect, LinkSeen, Now, Plan, Publication, Seen, Write};

/// Turns that wait for a slow listener; beyond them it misses some, and is told how many.
const TURNS_MAX: usize = 256;
const LISTENERS_MAX: usize = 8;

#[derive(Default)]
pub struct Trace {
    listeners: RefCell<Vec<Listener>>,
}

struct Listener {
    out: mpsc::Sender<Bytes>,
    missed: u64,
}

impl Trace {
    /// From the next turn on. Ends at once where too many listen already.
    pub fn listen(&self) -> mpsc::Receiver<Bytes> {
        let (out, receiver) = mpsc::channel(TURNS_MAX);
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| !listener.out.is_closed());
        if listeners.len() < LISTENERS_MAX {
            listeners.push(Listener { out, missed: 0 });
        }
        receiver
    }

    /// What is seen in this turn, where somebody wants to know.
    pub fn seen(&self, seen: &[Seen]) -> Option<Vec<Value>> {
        if self.listeners.borrow().is_empty() {
            return None;
        }
        Some(seen.iter().map(seen_in_words).collect())
    }

    pub fn tell(&self, seen: Vec<Value>, plan: &Plan, now: &Now) {
        let line = json!({
            "wall": now.wall.rfc3339_micro(),
            "uptimeMs": u64::try_from(now.uptime.as_millis()).unwrap_or(u64::MAX),
            "seen": seen,
            "durable": plan.durable,
            "writes": plan.writes.iter().map(write_in_words).collect::<Vec<Value>>(),
            "effects": plan.effects.iter().map(effect_in_words).collect::<Vec<Value>>(),
        });
        self.listeners.borrow_mut().retain_mut(|listener| {
            let mut line = line.clone();
            if listener.missed > 0 {
                line["missed"] = listener.missed.into();
            }
            match listener.out.try_send(Bytes::from(line.to_string() + "\n")) {
                Ok(()) => listener.missed = 0,
                Err(mpsc::error::TrySendError::Full(_)) => listener.missed += 1,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
            true
        });
    }
}

fn seen_in_words(seen: &Seen) -> Value {
    match seen {
        Seen::Booted(booted) => json!({ "booted": booted.node_name, "found": booted.found.len() }),
        Seen::Configured(_) => json!("configured"),
        Seen::Asked { id, ask, dry_run } => json!({ "asked": ask.name(), "id": id.0, "dryRun": dry_run }),
        Seen::Pushed(push) => json!({
            "pushed": push.set.to_string(),
            "sha": push.sha,
            "readable": push.content.is_ok(),
        }),
        Seen::NoRoom(push, lack) => json!({ "noRoom": push.set.to_string(), "sha": push.sha, "bytes": lack.bytes }),
        Seen::Started { attempt, pid, .. } => json!({ "started": attempt.to_string(), "pid": pid }),
        Seen::Exited(exit) => json!({ "exited": exit.attempt.to_string(), "how": format!("{:?}", exit.how) }),
        Seen::Link(LinkSeen::Connected) => json!({ "link": "connected" }),
        Seen::Link(LinkSeen::Lost) => json!({ "link": "lost" }),
        Seen::Link(LinkSeen::Delivered { key, .. }) => json!({ "link": "delivered", "row": key.to_string() }),
        Seen::Outgrown { pod, volume } => json!({ "outgrown": volume, "pod": pod.as_str() }),
        Seen::Pulled(pulled) => json!({ "pulled": pulled.reference, "ok": pulled.outcome.is_ok() }),
        Seen::ClockSynchronised(is) => json!({ "clockSynchronised": is }),
        Seen::Disk { pressure } => json!({ "diskPressure": pressure }),
        Seen::Update(UpdateSeen::Started { to, .. }) => json!({ "updateTo": to.to_string() }),
        Seen::Update(UpdateSeen::Ended(last)) => {
            json!({ "updateEnded": last.tried.to_string(), "now": last.now.to_string() })
        }
        Seen::StopPods => json!("stopPods"),
    }
}

fn write_in_words(write: &Write) -> Value {
    match write {
        Write::Put(record) => json!({ "put": record.key().to_string() }),
        Write::Delete(key) => json!({ "delete": key.to_string() }),
    }
}

fn effect_in_words(effect: &Effect) -> Value {
    match effect {
        Effect::Start(launch) => json!({ "start": launch.attempt.to_string() }),
        Effect::Terminate(attempt) => json!({ "terminate": attempt.to_string() }),
        Effect::Kill(attempt) => json!({ "kill": attempt.to_string() }),
        Effect::Forget(attempt) => json!({ "forget": attempt.to_string() }),
        Effect::Remove(pod) => json!({ "remove": pod.as_str() }),
        Effect::Project(pod, volume) => json!({ "project": volume.name, "pod": pod.as_str() }),
        Effect::Pull(pull) => json!({ "pull": pull.reference }),
        Effect::SweepImages(kept) => json!({ "sweepImagesBut": kept.len() }),
        Effect::Log(_, line) => json!({ "log": line }),
        Effect::Answer { id, answer, .. } => json!({ "answer": id.0, "ok": answer.is_ok() }),
        Effect::Settle(push) => json!({ "settle": push.0 }),
        Effect::Publish(Publication::Ack { key, .. }) => json!({ "publish": key.to_string() }),
        Effect::Hold { push, refused, .. } => {
            json!({ "hold": push.set.to_string(), "sha": push.sha, "refused": refused })
        }
        Effect::AllStopped => json!("allStopped"),
    }
}
