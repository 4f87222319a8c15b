//! Keeps a second node out of the directories of one that runs, and waits a moment for one that is just letting go of them.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tokio::time::{Instant, sleep};

use crate::update::launch::{LETS_GO_PACE, LETS_GO_WITHIN};

/// Why the run directory is not ours.
#[derive(Debug)]
enum Refusal {
    Taken(PathBuf),
    Io(PathBuf, io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Taken(dir) => write!(
                f,
                "cannot use the run directory {}: another pinnace node is using it; stop that one or give --run-dir",
                dir.display()
            ),
            Refusal::Io(file, e) => write!(f, "cannot lock {}: {e}; see --run-dir", file.display()),
        }
    }
}

/// Takes the run directory, for as long as the file is kept open.
///
/// # Errors
/// Another node has it, or the host refuses.
pub async fn take_run_dir(dir: &Path) -> Result<File, String> {
    let taken = patiently(|| lock(dir), |why| matches!(why, Refusal::Taken(_))).await;
    taken.map_err(|why| why.to_string())
}

/// A file and not the directory, which may be the data directory as well, and that is locked by the store.
fn lock(dir: &Path) -> Result<File, Refusal> {
    let path = dir.join("node.lock");
    let failed = |e| Refusal::Io(path.clone(), e);
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Refusal::Taken(dir.to_path_buf())),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// Tries again for a moment where another process has it.
pub async fn patiently<T, E: fmt::Display>(
    attempt: impl Fn() -> Result<T, E>,
    is_taken: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let until = Instant::now() + LETS_GO_WITHIN;
    let mut is_told = false;
    loop {
        match attempt() {
            Err(why) if is_taken(&why) && Instant::now() < until => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!("{why}; waiting up to {LETS_GO_WITHIN:?}, as it may be just letting go");
                }
                sleep(LETS_GO_PACE).await;
            }
            done => return done,
        }
    }
}
