//! What all fetches of the node share: the bandwidth, and who is fetching which blob. The only part that reads a clock for
//! the bandwidth.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bandwidth::Bucket;

/// How often a wait for another fetch looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Meter {
    began: Instant,
    bucket: Mutex<Bucket>,
}

impl Meter {
    /// `rate` in bytes a second; 0: no bound.
    pub fn new(rate: u64) -> Meter {
        Meter { began: Instant::now(), bucket: Mutex::new(Bucket::new(rate)) }
    }

    /// Counts bytes that came; how long their receiver has to wait now.
    pub fn take(&self, bytes: usize) -> Duration {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, self.began.elapsed())
    }
}

/// Blobs that are being fetched, by their digests.
#[derive(Debug, Default)]
pub struct Busy {
    held: Mutex<HashSet<String>>,
    freed: Condvar,
}

/// The right to write one blob's file, until it is dropped.
#[derive(Debug)]
pub struct Claim<'a> {
    busy: &'a Busy,
    hex: String,
    /// Somebody else had it meanwhile, and may have brought the layer.
    pub waited: bool,
}

impl Busy {
    /// Waits until nobody else fetches it; none: cancelled.
    pub fn claim(&self, hex: &str, is_cancelled: &dyn Fn() -> bool) -> Option<Claim<'_>> {
        let mut held = self.lock();
        let mut waited = false;
        while held.contains(hex) {
            if is_cancelled() {
                return None;
            }
            waited = true;
            held = self.freed.wait_timeout(held, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        held.insert(hex.to_string());
        Some(Claim { busy: self, hex: hex.to_string(), waited })
    }

    pub fn is_held(&self, hex: &str) -> bool {
        self.lock().contains(hex)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.hex);
        self.busy.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_writes_a_blob() {
        let busy = Busy::default();
        let first = busy.claim("a", &|| false).unwrap();
        assert!(!first.waited && busy.is_held("a"));
        assert!(!busy.claim("b", &|| false).unwrap().waited);
        assert!(busy.claim("a", &|| true).is_none());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| busy.claim("a", &|| false).map(|claim| claim.hex.clone()));
            drop(first);
            assert_eq!(second.join().unwrap().as_deref(), Some("a"));
        });
        assert!(!busy.is_held("a"));
    }
}
