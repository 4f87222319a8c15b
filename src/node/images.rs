//! Work on images, beside the loop: it takes long, so it is done on threads, and what comes of it is told. Decides nothing:
//! what is fetched and what is kept is the core's to say.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{spawn_blocking, spawn_local};

use crate::api::{ImageKeeper, ImageNews};
use crate::image::registry::{self, Registries};
use crate::image::{Bounds, ImageError, Pin, Progress, Store, Stored};
use crate::model::image::{ImageSpec, ImportWish, Pull, PullFailure, PullFailureKind, Pulled};
use crate::model::{Failure, Reason, Seen};

/// Images that are fetched at once because pods want them; each fetches several layers at once.
const PULLS_AT_ONCE: usize = 2;
/// Words on progress that wait for whoever listens; what does not fit is left out.
const NEWS_MAX: usize = 16;
/// Pieces of an archive that wait for the client.
const PIECES_MAX: usize = 4;
const PIECE_BYTES: usize = 256 * 1024;

/// Cheap to clone.
#[derive(Clone)]
pub struct Images {
    store: Store,
    registries: Arc<Registries>,
    seen: mpsc::UnboundedSender<Seen>,
    /// Of what was told by `Seen::Pulled` and has no record yet, in that order.
    pins: Arc<Mutex<VecDeque<Option<Pin>>>>,
    /// References that are being fetched for pods.
    under_way: Arc<Mutex<BTreeSet<String>>>,
    turn: Rc<Semaphore>,
}

impl Images {
    pub fn new(store: Store, registries: Registries, seen: mpsc::UnboundedSender<Seen>) -> Images {
        Images {
            store,
            registries: Arc::new(registries),
            seen,
            pins: Arc::default(),
            under_way: Arc::default(),
            turn: Rc::new(Semaphore::new(PULLS_AT_ONCE)),
        }
    }

    /// Other bounds of the store for what is brought from now on.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.store.set_bounds(bounds);
    }

    /// What the store holds.
    pub fn found(&self) -> Vec<ImageSpec> {
        self.store.found()
    }

    /// Fetches an image for pods; its end is told as `Seen::Pulled`.
    pub fn pull_for_pods(&self, pull: Pull) {
        if !lock(&self.under_way).insert(pull.reference.clone()) {
            return;
        }
        let images = self.clone();
        spawn_local(async move {
            let _turn = images.turn.acquire().await;
            let (store, registries, reference) =
                (images.store.clone(), images.registries.clone(), pull.reference.clone());
            let work = spawn_blocking(move || {
                let result = fetch(&store, &registries, &pull, &Quiet);
                (result, store.disk())
            });
            let Ok((result, disk)) = work.await else { return tracing::error!("the fetch of {reference} broke off") };
            lock(&images.under_way).remove(&reference);
            let (outcome, pin) = match result {
                Ok((spec, pin)) => (Ok(Box::new(spec)), pin),
                Err(e) => (Err(failure_of_pull(&e)), None),
            };
            lock(&images.pins).push_back(pin);
            // The loop is ending when nobody receives; the next start asks again.
            let _ = images.seen.send(Seen::Pulled(Pulled { reference, outcome, disk }));
        });
    }

    /// So many fetches were told of and their images have records now: sweeps know them.
    pub fn recorded(&self, fetches: usize) {
        let mut pins = lock(&self.pins);
        let fetches = fetches.min(pins.len());
        pins.drain(..fetches);
    }

    pub fn sweep(&self, kept: Vec<Arc<ImageSpec>>) {
        let store = self.store.clone();
        spawn_blocking(move || store.sweep(&kept));
    }
}

/// The image, and what keeps it while it has no record; an image that the store has already has one.
fn fetch(
    store: &Store,
    registries: &Registries,
    pull: &Pull,
    progress: &dyn Progress,
) -> Result<(ImageSpec, Option<Pin>), ImageError> {
    match registries.pull(store, pull, progress)? {
        registry::Pulled::New(stored) => Ok((stored.spec, Some(stored.pin))),
        registry::Pulled::Same => {
            let same = store.found().into_iter().find(|spec| spec.digest == pull.known);
            same.map(|spec| (spec, None)).ok_or_else(|| {
                ImageError::Io(format!(
                    "the image {} was removed while its registry was asked; try again",
                    pull.reference
                ))
            })
        }
    }
}

impl ImageKeeper for Images {
    fn import(&self, wish: ImportWish, archive: mpsc::Receiver<io::Result<Bytes>>) -> mpsc::Receiver<ImageNews> {
        let (sender, receiver) = mpsc::channel(NEWS_MAX);
        let store = self.store.clone();
        spawn_blocking(move || {
            let mut archive = Archive::new(archive);
            let result = store.import(&mut archive, &wish, &Teller(sender.clone()));
            tell(&store, result, &sender);
        });
        receiver
    }

    fn pull(&self, pull: Pull) -> mpsc::Receiver<ImageNews> {
        let (sender, receiver) = mpsc::channel(NEWS_MAX);
        let (store, registries) = (self.store.clone(), self.registries.clone());
        spawn_blocking(move || {
            let result = match registries.pull(&store, &pull, &Teller(sender.clone())) {
                Ok(registry::Pulled::New(stored)) => Ok(vec![*stored]),
                // It was asked without a word of what is known.
                Ok(registry::Pulled::Same) => Ok(vec![]),
                Err(e) => Err(e),
            };
            tell(&store, result, &sender);
        });
        receiver
    }

    fn export(&self, image: &ImageSpec) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let (store, image) = (self.store.clone(), image.clone());
        spawn_blocking(move || {
            let mut to = io::BufWriter::with_capacity(PIECE_BYTES, Pieces(&sender));
            let written =
                store.export(&image, &mut to).map_err(|e| io::Error::other(e.to_string())).and_then(|()| to.flush());
            drop(to);
            if let Err(e) = written {
                tracing::warn!("export image {}: {e}", image.reference);
                let _ = sender.blocking_send(Err(e));
            }
        });
        receiver
    }
}

fn tell(store: &Store, result: Result<Vec<Stored>, ImageError>, to: &mpsc::Sender<ImageNews>) {
    let disk = store.disk();
    match result {
        Ok(all) => {
            for Stored { spec, pin } in all {
                // With nobody to give it a name, the pin is dropped, and the next sweep takes it.
                let _ = to.blocking_send(ImageNews::Stored { image: Box::new(spec), disk, pin: Box::new(pin) });
            }
        }
        Err(e) => drop(to.blocking_send(ImageNews::Failed(refusal(&e)))),
    }
}

fn refusal(e: &ImageError) -> Failure {
    let reason = match e {
        ImageError::NoRoom(_) => Reason::RequestEntityTooLarge,
        ImageError::Invalid(_) | ImageError::InvalidName(_) | ImageError::Unsupported(_) => Reason::BadRequest,
        ImageError::Refused(_) => Reason::NotFound,
        ImageError::Unreachable(_) | ImageError::Cancelled => Reason::ServiceUnavailable,
        ImageError::Io(_) => Reason::InternalError,
    };
    Failure::new(reason, e.to_string())
}

fn failure_of_pull(e: &ImageError) -> PullFailure {
    let kind = match e {
        ImageError::Unreachable(_) | ImageError::Cancelled | ImageError::Io(_) => PullFailureKind::Unreachable,
        ImageError::NoRoom(_) => PullFailureKind::NoRoom,
        ImageError::InvalidName(_) => PullFailureKind::InvalidName,
        ImageError::Refused(_) | ImageError::Invalid(_) | ImageError::Unsupported(_) => PullFailureKind::Refused,
    };
    PullFailure { kind, message: e.to_string() }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // No change under it can be half done.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nobody listens, and nobody stops it.
struct Quiet;

impl Progress for Quiet {
    fn at(&self, _: &str, _: u64, _: Option<u64>) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// A client listens; when it hangs up, the work ends.
struct Teller(mpsc::Sender<ImageNews>);

impl Progress for Teller {
    fn at(&self, what: &str, done: u64, total: Option<u64>) {
        let _ = self.0.try_send(ImageNews::At { what: what.to_string(), done, total });
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_closed()
    }
}

/// What a client sends, to be read on another thread.
pub struct Archive {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Archive {
    pub fn new(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Archive {
        Archive { pieces, piece: Bytes::new() }
    }
}

impl Read for Archive {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let len = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}

struct Pieces<'a>(&'a mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has hung up");
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_read_as_it_was_sent_and_a_break_is_no_end() {
        let (sender, pieces) = mpsc::channel(4);
        for piece in [Ok(Bytes::from_static(b"ab")), Ok(Bytes::new()), Ok(Bytes::from_static(b"cde"))] {
            sender.blocking_send(piece).unwrap();
        }
        sender.blocking_send(Err(io::ErrorKind::UnexpectedEof.into())).unwrap();
        let mut archive = Archive::new(pieces);
        let mut text = [0; 5];
        archive.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"abcde");
        assert_eq!(archive.read(&mut text).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        drop(sender);
        assert_eq!(archive.read(&mut text).unwrap(), 0);
    }
}
