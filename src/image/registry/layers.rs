//! Fetches the layers of an image, some at once, and unpacks each as it is complete. A layer is a file only between the two.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::image::{ImageError, Ingest, Packing, Progress};
use crate::model::RegistriesConfig;

use super::Effort;
use super::auth::Doorkeeper;
use super::blob::{self, Source};
use super::document::Blob;
use super::hosts::Endpoint;
use super::meter::{Busy, Claim, Meter};
use super::resolve::FoundImage;
use super::wire::Wire;
use crate::transport::http::{Client, Patience};
use crate::transport::partial::{self, Partial};
use crate::transport::retry::Retries;
use crate::transport::trust::Trust;

/// What all threads of one fetch share.
pub struct Visit<'a> {
    pub config: &'a RegistriesConfig,
    pub effort: Effort,
    pub meter: &'a Meter,
    pub busy: &'a Busy,
    pub trust: Trust,
    pub doorkeeper: Doorkeeper,
    pub repository: &'a str,
    pub progress: &'a dyn Progress,
}

impl Visit<'_> {
    /// A thread's own connections.
    pub fn wire<'w>(&'w self, is_cancelled: &'w (dyn Fn() -> bool + Sync)) -> Result<Wire<'w>, ImageError> {
        let patience = Patience { connect: self.effort.connect, idle: self.effort.idle };
        let client = Client::new(&self.trust, patience, is_cancelled)
            .map_err(|e| ImageError::Io(format!("no connection can be made: {e}")))?;
        Ok(Wire {
            client,
            config: self.config,
            doorkeeper: &self.doorkeeper,
            retries: Retries::new(self.effort.tries, self.effort.first_wait),
        })
    }
}

#[derive(Debug, Clone)]
struct Layer {
    blob: Blob,
    packing: Packing,
    diff_id: String,
}

/// The layers that the store lacks, each once.
pub struct Layers(Vec<Layer>);

/// A layer that was fetched and waits to be unpacked.
struct Arrived<'a> {
    layer: Layer,
    partial: Partial,
    /// Until it is unpacked, another fetch must not begin with it.
    _claim: Claim<'a>,
}

impl Layers {
    pub fn missing(image: &FoundImage, ingest: &Ingest) -> Layers {
        let mut missing: Vec<Layer> = Vec::new();
        for ((blob, packing), diff_id) in image.manifest.layers.iter().zip(&image.diff_ids) {
            let is_new = missing.iter().all(|layer| layer.diff_id != *diff_id);
            if is_new && !ingest.has_layer(diff_id) {
                missing.push(Layer { blob: blob.clone(), packing: *packing, diff_id: diff_id.clone() });
            }
        }
        Layers(missing)
    }

    /// What is still to be fetched.
    pub fn bytes(&self, partial_dir: &Path) -> u64 {
        let missing = |layer: &Layer| layer.blob.size.saturating_sub(partial::present(partial_dir, &layer.blob.hex));
        self.0.iter().map(missing).fold(0, u64::saturating_add)
    }

    /// Whether one of them is the blob with these digits.
    pub fn has(&self, hex: &str) -> bool {
        self.0.iter().any(|layer| layer.blob.hex == hex)
    }

    /// Fetches and unpacks all; the first error ends all.
    pub fn fetch(self, visit: &Visit<'_>, endpoints: &[&Endpoint], ingest: Ingest) -> Result<Ingest, ImageError> {
        let threads = visit.config.concurrency.clamp(1, self.0.len().max(1));
        let work = Work {
            visit,
            endpoints,
            queue: Mutex::new(self.0.into()),
            ingest: Mutex::new(ingest),
            stop: AtomicBool::new(false),
        };
        std::thread::scope(|scope| {
            // Without a place to wait in: no more is fetched ahead than there are threads.
            let (sender, arrivals) = sync_channel(0);
            for number in 0..threads {
                let (sender, work) = (sender.clone(), &work);
                let name = format!("fetch-{number}");
                let started = std::thread::Builder::new().name(name).spawn_scoped(scope, move || work.run(&sender));
                // Fewer threads do the same work.
                if let (Err(e), 0) = (started, number) {
                    return Err(ImageError::Io(format!("no thread can be started to fetch layers: {e}")));
                }
            }
            drop(sender);
            let mut outcome = Ok(());
            for arrived in arrivals {
                let unpacked = if outcome.is_ok() { arrived.and_then(|arrived| work.unpack(arrived)) } else { Ok(()) };
                if let Err(error) = unpacked {
                    work.stop.store(true, Ordering::Relaxed);
                    outcome = Err(error);
                }
            }
            outcome
        })?;
        Ok(work.ingest.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Work<'a> {
    visit: &'a Visit<'a>,
    endpoints: &'a [&'a Endpoint],
    queue: Mutex<VecDeque<Layer>>,
    ingest: Mutex<Ingest>,
    /// One has failed; the others need not go on.
    stop: AtomicBool,
}

type Outcome<'a> = Result<Arrived<'a>, ImageError>;

impl<'a> Work<'a> {
    /// Brings layers until there are no more; the first failure is the last thing it says.
    fn run(&self, sender: &SyncSender<Outcome<'a>>) {
        let is_cancelled = || self.stop.load(Ordering::Relaxed) || self.visit.progress.is_cancelled();
        let done = self.visit.wire(&is_cancelled).and_then(|mut wire| {
            while let Some(layer) = self.next() {
                let arrived = self.bring(layer, &mut wire, &is_cancelled)?;
                // Nobody listens any more: another one has failed.
                if arrived.is_some_and(|arrived| sender.send(Ok(arrived)).is_err()) {
                    break;
                }
            }
            Ok(())
        });
        if let Err(error) = done {
            // As above.
            drop(sender.send(Err(error)));
        }
    }

    fn next(&self) -> Option<Layer> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Fetches a layer; none: another fetch of the node has brought it meanwhile.
    fn bring(
        &self,
        layer: Layer,
        wire: &mut Wire<'_>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Arrived<'a>>, ImageError> {
        let hex = &layer.blob.hex;
        let claim = self.visit.busy.claim(hex, is_cancelled).ok_or(ImageError::Cancelled)?;
        if claim.waited && self.ingest().has_layer(&layer.diff_id) {
            return Ok(None);
        }
        let partial_dir = &self.visit.config.partial_dir;
        let opened = Partial::open(partial_dir, hex, layer.blob.size, is_cancelled);
        let mut partial = opened.map_err(|e| blob::disk_error(&e))?;
        let mut last = ImageError::Cancelled;
        for endpoint in self.endpoints {
            let source = Source {
                endpoint,
                repository: self.visit.repository,
                blob: &layer.blob,
                meter: self.visit.meter,
                progress: self.visit.progress,
            };
            match blob::fetch(wire, &source, &mut partial) {
                Ok(()) => return Ok(Some(Arrived { partial, _claim: claim, layer })),
                Err(trouble) => last = trouble.into_error(),
            }
            // Another server does not help against these.
            if matches!(last, ImageError::Cancelled | ImageError::NoRoom(_) | ImageError::Io(_)) {
                break;
            }
        }
        if partial.len() == 0 || matches!(last, ImageError::NoRoom(_)) {
            partial.remove();
        }
        Err(last)
    }

    fn unpack(&self, mut arrived: Arrived<'a>) -> Result<(), ImageError> {
        let Layer { packing, diff_id, .. } = &arrived.layer;
        let from = arrived.partial.rewind().map_err(|e| blob::disk_error(&e))?;
        let mut from = io::BufReader::new(from);
        let unpacked = self.ingest().layer(diff_id, *packing, &mut from, self.visit.progress);
        // What the node itself stopped may go on from here; the rest would be as bad the next time.
        if !matches!(unpacked, Err(ImageError::Cancelled | ImageError::Io(_))) {
            arrived.partial.remove();
        }
        unpacked
    }

    fn ingest(&self) -> MutexGuard<'_, Ingest> {
        self.ingest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
