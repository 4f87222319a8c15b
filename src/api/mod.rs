//! Kubernetes' REST paths, verbs, JSON and Status errors over HTTP/1.1 on a Unix socket. Reads are served from the state,
//! changes are asked of the loop; knows no file, no process and no broker.
//!
//! Shaped so that kubectl can be served later: discovery, Tables, watches and errors are as kubectl wants them.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::model::image::{Disk, ImageSpec, ImportWish, Pull};
use crate::model::update::{Program, UpdateStatus, UpdateWish};
use crate::model::usage::Usage;
use crate::model::{Ask, Failure, LogQuery, Now, Reason, Record, State};

mod age;
mod call;
mod discovery;
mod feed;
mod images;
mod json_patch;
mod logs;
mod query;
mod read;
mod reply;
mod route;
mod scale;
mod selector;
mod serve;
mod show;
mod table;
mod update;
mod usage;
mod watch;
mod write;

pub use feed::{CHANGES_MAX, Feed};
pub use serve::{bind, refuse_all, serve};

/// The loop's reply to an `Ask`: the object as it is now (as it was, when it is gone), and what was taken with a reservation.
pub type Answer = (Result<Arc<Record>, Failure>, Vec<String>);

/// One request to the loop; true: a dry run.
pub type Asked = (Ask, bool, oneshot::Sender<Answer>);

/// The API's way to the loop. Cheap to clone; lives on one thread.
///
/// Guarantees: `state` is borrowed only between two awaits, never across one. Assumes: the loop pushes to `feed` in the same
/// breath in which it applies to `state`.
#[derive(Clone)]
pub struct Handle {
    pub state: Rc<RefCell<State>>,
    /// Its capacity bounds how many changes wait for the loop; a caller beyond it waits.
    pub asks: mpsc::Sender<Asked>,
    pub feed: Rc<Feed>,
    pub logs: Rc<dyn LogReader>,
    pub images: Rc<dyn ImageKeeper>,
    pub updates: Rc<dyn UpdateKeeper>,
    pub clock: Rc<dyn Fn() -> Now>,
    /// The text of `/metrics`, in Prometheus' form.
    pub metrics: Rc<dyn Fn() -> String>,
    /// What containers and the host use now.
    pub usage: Rc<dyn Fn() -> Usage>,
    /// The loop's turns from now on, as JSON lines; nobody pays for them while nobody has asked.
    pub trace: Rc<dyn Fn() -> mpsc::Receiver<Bytes>>,
    pub kept: Kept,
}

/// What a dump says of the store that the state is kept in.
#[derive(Debug, Clone)]
pub struct Kept {
    pub format: u64,
    pub data_dir: PathBuf,
}

/// Reads containers' logs.
pub trait LogReader {
    /// Sends the log piece by piece; the channel ends at the end of the log, or with the attempt when it is followed. A
    /// receiver that is dropped means that nobody listens any more.
    fn read(&self, query: LogQuery) -> mpsc::Receiver<Bytes>;
}

/// Brings images into the store and gives them out; the work is done beside the loop. A receiver that is dropped ends it.
pub trait ImageKeeper {
    /// Reads an archive, which ends with the channel; an error in it means that the sender broke off.
    fn import(&self, wish: ImportWish, archive: mpsc::Receiver<io::Result<Bytes>>) -> mpsc::Receiver<ImageNews>;
    fn pull(&self, pull: Pull) -> mpsc::Receiver<ImageNews>;
    fn export(&self, image: &ImageSpec) -> mpsc::Receiver<io::Result<Bytes>>;
}

/// How an import or a pull goes.
pub enum ImageNews {
    /// Bytes done of one part; the whole is not always known.
    At {
        what: String,
        done: u64,
        total: Option<u64>,
    },
    /// It is in the store, and stays there until it has its name or `pin` is dropped.
    Stored {
        image: Box<ImageSpec>,
        disk: Disk,
        pin: Box<dyn Any + Send>,
    },
    Failed(Failure),
}

/// Brings other versions of this program and has them tried. A receiver that is dropped ends the bringing, not a trial.
pub trait UpdateKeeper {
    /// # Errors
    /// What is known on the disk cannot be read.
    fn status(&self) -> Result<UpdateStatus, Failure>;
    /// `body`: the program, where the wish names no address.
    fn update(&self, wish: UpdateWish, body: mpsc::Receiver<io::Result<Bytes>>) -> mpsc::Receiver<UpdateNews>;
    /// Goes back to what was in force before, or gives up what is on trial.
    fn undo(&self, within: Duration) -> mpsc::Receiver<UpdateNews>;
}

/// How an update goes, up to where the daemon gives way.
pub enum UpdateNews {
    /// As `ImageNews::At`.
    At {
        what: String,
        done: u64,
        total: Option<u64>,
    },
    /// It may be tried. The hash is of what was given, which may be an archive.
    Checked {
        program: Program,
        sha256: String,
        signed_by: Option<String>,
    },
    /// That very program is in force.
    Same(Program),
    /// The trial is on the disk; the daemon ends now, and `to` takes over.
    Switching {
        from: Program,
        to: Program,
    },
    Failed(Failure),
}

impl Handle {
    /// Asks the loop for a change and waits until it is durable.
    ///
    /// # Errors
    /// The core's refusal, with its warnings; `ServiceUnavailable` when the loop is ending.
    async fn ask(&self, ask: Ask, dry_run: bool) -> Answer {
        let (sender, receiver) = oneshot::channel();
        if self.asks.send((ask, dry_run, sender)).await.is_err() {
            return (Err(ending()), Vec::new());
        }
        receiver.await.unwrap_or_else(|_| (Err(ending()), Vec::new()))
    }
}

fn ending() -> Failure {
    Failure::new(
        Reason::ServiceUnavailable,
        "the node is stopping; whether the change was made is not known: look and try again",
    )
}
