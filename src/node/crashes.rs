//! Notices when the daemon keeps dying of itself, so that it can hold still instead of crashing for ever. Kills from
//! outside do not count: only a broken invariant or a failed commit leaves a mark.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// This many deaths within `WINDOW` and the next start holds still.
const DEATHS_MAX: usize = 5;
const WINDOW: Duration = Duration::from_secs(120);

/// Marks in the run directory, one a death: the uptime in milliseconds.
pub struct Crashes {
    file: PathBuf,
}

impl Crashes {
    pub fn new(run_dir: &Path) -> Crashes {
        Crashes { file: run_dir.join("crashes") }
    }

    /// Marks one death. Best effort: a run directory that cannot be written must not hide the error that led here.
    pub fn mark(&self, uptime: Duration) {
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(&self.file);
        if let Ok(mut file) = opened {
            let _ = writeln!(file, "{}", uptime.as_millis());
        }
    }

    /// Whether the daemon died too often of late.
    pub fn too_many(&self, uptime: Duration) -> bool {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let recent = |line: &str| {
            let died = line.parse().ok().map(Duration::from_millis);
            // A mark of an earlier boot shows a later uptime, or one from long ago.
            died.is_some_and(|died| died <= uptime && uptime - died < WINDOW)
        };
        text.lines().filter(|line| recent(line)).count() >= DEATHS_MAX
    }

    pub fn forget(&self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recent_deaths_of_this_boot_count() {
        let dir = tempfile::tempdir().unwrap();
        let crashes = Crashes::new(dir.path());
        let at = Duration::from_secs;
        assert!(!crashes.too_many(at(1000)));
        for death in [10, 900, 950, 960, 970] {
            crashes.mark(at(death));
        }
        assert!(!crashes.too_many(at(1000)), "the first one is long ago");
        crashes.mark(at(990));
        assert!(crashes.too_many(at(1000)));
        assert!(!crashes.too_many(at(2000)));
        assert!(!crashes.too_many(at(5)), "a new boot");
        crashes.forget();
        assert!(!crashes.too_many(at(1000)));
    }
}
