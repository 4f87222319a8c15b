//! What a step decided: writes that are made durable first, effects that are carried out after, and when to look again.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::VolumeOrder;
use super::image::{ImageSpec, Pull};
use super::{AskId, AttemptId, EventType, Failure, Key, Lack, Launch, Push, PushId, Record, Timestamp, Uid};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    pub writes: Vec<Write>,
    /// False when the writes only inform: they may wait in memory for the next commit that a promise forces.
    pub durable: bool,
    pub effects: Vec<Effect>,
    pub wake: Wake,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    Put(Arc<Record>),
    Delete(Key),
}

/// The earliest deadline on each clock; none: nothing is due but what is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wake {
    pub wall: Option<Timestamp>,
    pub uptime: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start an attempt whose intent is durable. Carrying it out twice starts it once.
    Start(Box<Launch>),
    /// Ask the attempt's first process to end.
    Terminate(AttemptId),
    /// End every process of the attempt.
    Kill(AttemptId),
    /// The attempt's end is committed: its evidence may go.
    Forget(AttemptId),
    /// The pod's record is gone: its processes, cgroups, logs and directories may go.
    Remove(Uid),
    /// The content of a volume has changed under a running pod: put the new one in its place, at once as a whole. Of an
    /// empty directory with a bound: look whether it keeps it.
    Project(Uid, Box<VolumeOrder>),
    /// Fetch an image from a registry; told back as `Seen::Pulled`.
    Pull(Pull),
    /// These are all images that have a record: what else the store holds, and nobody is just bringing, may go.
    SweepImages(Vec<Arc<ImageSpec>>),
    Answer {
        id: AskId,
        answer: Result<Arc<Record>, Failure>,
        warnings: Vec<String>,
    },
    /// A line for the daemon's log.
    Log(EventType, String),
    /// The message is dealt with and durable: acknowledge it to the broker.
    Settle(PushId),
    Publish(Publication),
    /// Keep the message and show it again when the disk has room for it. `refused`: for the refusal to be noted.
    Hold {
        push: Box<Push>,
        lack: Lack,
        refused: bool,
    },
    /// Every pod has ended, as `StopPods` asked.
    AllStopped,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Publication {
    /// A row of the outbox; told back as `LinkSeen::Delivered`.
    Ack { key: Key, revision: u64, body: serde_json::Value },
}

impl Wake {
    pub fn at_wall(&mut self, t: Timestamp) {
        self.wall = Some(self.wall.map_or(t, |w| w.min(t)));
    }

    pub fn at_uptime(&mut self, t: Duration) {
        self.uptime = Some(self.uptime.map_or(t, |w| w.min(t)));
    }
}

impl Write {
    pub fn key(&self) -> Key {
        match self {
            Write::Put(record) => record.key(),
            Write::Delete(key) => key.clone(),
        }
    }
}
