//! The MQTT session: payloads in, committed revisions out. Knows nothing of what a set means or whether it was applied; a
//! message is acknowledged to the broker only when the loop says that it is settled.
//!
//! A broker that is absent, dies, is wiped or sends nonsense changes nothing here: the link says that it is lost, waits,
//! and connects again, with a new session each time (clean start, no expiry), because the retained sets are the truth
//! and a broker's queue is not (on a full one the oldest state survives and the newest is dropped).

mod backoff;
mod certificate;
mod decode;
mod outbox;
mod probe;
mod run;
mod session;
mod suspects;
mod tls;
mod topic;

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::model::{BootId, Key, Mqtt, PushId, Seen};

use suspects::Unheard;

pub use certificate::Validity;
pub use decode::{Decoder, manifests};
pub use probe::{Probe, Probed, Session, Tls, probe};
pub use tls::{OwnFile, own_files, tls_fits};
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
    pub before: Before,
    /// Reads the bytes of a set, `manifests()` for a node; called on a thread of its own, once for the same bytes on the same slot.
    pub decode: Decoder,
}

/// Where a link's numbers begin: after those of the links before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Before {
    /// Connections made; higher than any that an earlier life said, so that a late will of an old connection cannot mark a
    /// new one dead.
    pub connections: u64,
    /// Messages numbered in this life of the daemon, so that a settlement of an old one cannot acknowledge a new one.
    pub pushes: u64,
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
    task: JoinHandle<Before>,
    unheard: Rc<RefCell<Unheard>>,
}

/// Starts a link on the current `LocalSet`. What it sees goes to `seen`; while that is full nothing is read from the
/// broker.
pub fn start(settings: LinkSettings, seen: mpsc::Sender<Seen>) -> LinkHandle {
    let (ups, receiver) = mpsc::unbounded_channel();
    let unheard = Rc::new(RefCell::new(Unheard::default()));
    let task = tokio::task::spawn_local(run::run(settings, receiver, seen, unheard.clone()));
    LinkHandle { ups, task, unheard }
}

impl LinkHandle {
    /// Never waits. Bounded all the same: the link keeps one of each document, one answer for each outbox row, and one
    /// settlement for each message that it gave.
    pub fn send(&self, up: Up) {
        // A link that ended takes nothing any more, and needs nothing.
        let _ = self.ups.send(up);
    }

    /// Filters below which a message may lie that is too large to be read, and that keeps others from being heard.
    pub fn unheard(&self) -> Vec<String> {
        self.unheard.borrow().at(Instant::now()).to_vec()
    }

    /// After `Up::Stop`: returns when the link has said good-bye, or could not within a few seconds, with what a link after
    /// it begins at; none: it ended badly.
    pub async fn ended(self) -> Option<Before> {
        self.task.await.map_err(|e| tracing::warn!("the MQTT link ended badly: {e}")).ok()
    }
}
