//! The MQTT session: payloads in, committed revisions out. Knows nothing of what a set means or whether it was applied; a
//! message is acknowledged to the broker only when the loop says that it is settled.
//!
//! A broker that is absent, dies, is wiped or sends nonsense changes nothing here: the link says that it is lost, waits,
//! and connects again, with a new session each time (clean start, no expiry), because the retained sets are the truth
//! and a broker's queue is not (on a full one the oldest state survives and the newest is dropped).

mod backoff;
mod decode;
mod outbox;
mod run;
mod session;
mod tls;
mod topic;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::model::{BootId, Key, Mqtt, PushId, Seen};

pub use decode::{Decoder, manifests};
pub use topic::Topics;

/// What a link needs to know. Read once; a change of it is a new link.
#[derive(Clone)]
pub struct LinkSettings {
    pub mqtt: Mqtt,
    pub fleet: String,
    /// This node's name.
    pub node: String,
    pub groups: Vec<String>,
    pub boot: BootId,
    /// Added to the number of connections in this life; higher than any that an earlier life said, so that a late will
    /// of an old connection cannot mark a new one dead.
    pub connections_before: u64,
    /// Reads the bytes of a set, `manifests()` for a node; called on a thread of its own, once for the same bytes on the same slot.
    pub decode: Decoder,
}

/// What the loop tells the link.
#[derive(Debug, Clone, PartialEq)]
pub enum Up {
    /// The message is dealt with and what it changed is durable.
    Settle(PushId),
    /// A row of the durable outbox; told back as `LinkSeen::Delivered`. All rows come again at each `LinkSeen::Connected`.
    Ack { key: Key, revision: u64, body: Value },
    /// The node's description; the latest counts.
    Node(Value),
    /// The state of its sets; the latest counts.
    State(Value),
    /// Say good-bye and end.
    Stop,
}

/// The loop's end of a running link.
pub struct LinkHandle {
    ups: mpsc::UnboundedSender<Up>,
    task: JoinHandle<()>,
}

/// Starts a link on the current `LocalSet`. What it sees goes to `seen`; while that is full nothing is read from the
/// broker.
pub fn start(settings: LinkSettings, seen: mpsc::Sender<Seen>) -> LinkHandle {
    let (ups, receiver) = mpsc::unbounded_channel();
    let task = tokio::task::spawn_local(run::run(settings, receiver, seen));
    LinkHandle { ups, task }
}

impl LinkHandle {
    /// Never waits. Bounded all the same: the link keeps one of each document, one answer for each outbox row, and one
    /// settlement for each message that it gave.
    pub fn send(&self, up: Up) {
        // A link that ended takes nothing any more, and needs nothing.
        let _ = self.ups.send(up);
    }

    /// After `Up::Stop`: returns when the link has said good-bye, or could not within a few seconds.
    pub async fn ended(self) {
        if let Err(e) = self.task.await {
            tracing::warn!("the MQTT link ended badly: {e}");
        }
    }
}
