//! What the loop has seen since its last turn, in the order in which it was seen.

use super::attempt::Stamp;
use super::image::{ImageSpec, Pulled};
use super::node::Facts;
use super::update::UpdateSeen;
use super::{Ask, AskId, AttemptId, Exit, Failure, Found, Key, Labels, Record, SetKey, Uid};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    pub seen: Vec<Seen>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// First thing after the start of the daemon: what the host is and what was found running.
    Booted(Box<Booted>),
    /// The settings were read again (SIGHUP). The bounds are in the state's settings already.
    Configured(Configured),
    Asked {
        id: AskId,
        ask: Ask,
        dry_run: bool,
    },
    Pushed(Box<Push>),
    /// Such a message, of which what it changes has no room on the disk. Comes alone.
    NoRoom(Box<Push>, Lack),
    /// The attempt's process exists.
    Started {
        attempt: AttemptId,
        pid: u32,
        at: Stamp,
    },
    /// The attempt is over and its cgroup is empty; the record is on disk.
    Exited(Exit),
    Link(LinkSeen),
    /// An `emptyDir` on the disk holds more than its `sizeLimit`; told at most once in the life of a daemon.
    Outgrown {
        pod: Uid,
        volume: String,
    },
    Pulled(Pulled),
    /// The disk became short of room, for this reason, or has room again.
    Disk {
        pressure: Option<String>,
    },
    /// Another version of this program is about to be tried, or one has been.
    Update(UpdateSeen),
    /// Something began or ceased to keep the wall clock right; none: the kernel does not say.
    ClockSynchronised(Option<bool>),
    /// SIGTERM with `--stop-pods`: end every pod; they go on at the next start.
    StopPods,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Booted {
    pub node_name: String,
    /// Fresh randomness, used when the store has no identity yet.
    pub identity: Uid,
    pub labels: Labels,
    pub groups: Vec<String>,
    pub facts: Facts,
    pub found: Vec<Found>,
    /// What the image store holds.
    pub images: Vec<ImageSpec>,
    /// Pods that have directories or cgroups here; those without a record are to be removed.
    pub pods_on_disk: Vec<Uid>,
}

/// What the core keeps of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    pub labels: Labels,
    pub groups: Vec<String>,
}

/// Names one arrival of a message, for the acknowledgement to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PushId(pub u64);

/// One message on a set's topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    pub id: PushId,
    pub set: SetKey,
    pub sha: String,
    /// Length zero: in unsigned mode the set's objects are to go.
    pub empty: bool,
    /// Also of a message whose content could not be read, so that its sender is answered by the word it gave.
    pub header: Option<Header>,
    pub content: Result<Content, Failure>,
}

impl Push {
    /// It takes away all that its slot has brought.
    pub fn is_tombstone(&self) -> bool {
        self.empty || self.header.as_ref().is_some_and(|header| header.empty)
    }

    pub fn rev(&self) -> Option<u64> {
        self.header.as_ref().and_then(|header| header.rev)
    }
}

/// How much room on the disk something lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Writing it may take as many, beside what must stay free.
    pub bytes: u64,
    /// With figures, for a person.
    pub why: String,
}

/// A message that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    pub records: Vec<Record>,
    /// What was taken with a reservation (`startingDeadlineSecond`).
    pub warnings: Vec<String>,
}

/// The `# pinnace: {…}` line.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(default)]
pub struct Header {
    pub v: u32,
    pub fleet: Option<String>,
    pub to: Option<String>,
    pub slot: Option<String>,
    pub rev: Option<u64>,
    pub exp: Option<super::Timestamp>,
    /// The sender's word for this message, given back in the ack.
    pub ack: Option<String>,
    /// A tombstone: the set has no objects any more.
    pub empty: bool,
    pub prune: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LinkSeen {
    Connected,
    Lost,
    /// The broker has the publication of this outbox row as it was at that revision.
    Delivered {
        key: Key,
        revision: u64,
    },
}
