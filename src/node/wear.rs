//! What is written to the medium: by this daemon, and by everybody on the disk that holds its data. Reads what the kernel
//! counts; keeps no count of its own, so nothing is written in order to know it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::{major, minor};
use serde_json::{Value, json};

const DAY_S: f64 = 86_400.0;
/// A figure a day from less than this would tell of the start alone.
const SPAN_MIN: Duration = Duration::from_secs(3600);
/// A block device counts in these, whatever its own are. Source: `Documentation/block/stat.rst`.
const SECTOR_BYTES: u64 = 512;
/// Of `/sys/dev/block/MAJOR:MINOR/stat`.
const WRITE_SECTORS: usize = 6;

#[derive(Debug)]
pub struct Wear {
    /// Time since boot when the daemon started.
    begun: Duration,
    /// What the process had written by then: the kernel counts on when another program takes it over.
    before: u64,
    /// The counts of the block device of the data directory; none for a file system that has no one device.
    counts: Option<PathBuf>,
}

impl Wear {
    /// `before`: see `written`.
    pub fn of(data_dir: &Path, uptime: Duration, before: u64) -> Wear {
        let device = fs::metadata(data_dir).map(|meta| meta.dev());
        let counts = device.ok().map(|dev| format!("/sys/dev/block/{}:{}/stat", major(dev), minor(dev)).into());
        Wear { begun: uptime, before, counts: counts.filter(|path: &PathBuf| path.exists()) }
    }

    pub fn age(&self, uptime: Duration) -> Duration {
        uptime.saturating_sub(self.begun)
    }

    /// Bytes that this daemon has sent to the medium: its database, images, volumes, versions of itself; not what shims and
    /// pods write. 0 where the kernel does not count.
    pub fn by_daemon(&self) -> u64 {
        written().saturating_sub(self.before)
    }

    /// Bytes that the device has taken since boot, of everybody: shims' records, logs, pods, the file system's journal.
    pub fn on_disk(&self) -> Option<u64> {
        let text = fs::read_to_string(self.counts.as_ref()?).ok()?;
        let sectors: u64 = text.split_whitespace().nth(WRITE_SECTORS)?.parse().ok()?;
        Some(sectors * SECTOR_BYTES)
    }

    /// For the fleet: megabytes a day, in steps, so that the document does not change with each write.
    pub fn told(&self, uptime: Duration) -> Option<Value> {
        let daemon = step_mb_a_day(self.by_daemon(), self.age(uptime))?;
        let disk = self.on_disk().and_then(|bytes| step_mb_a_day(bytes, uptime));
        Some(json!({ "daemonMbPerDay": daemon, "diskMbPerDay": disk }))
    }
}

/// Bytes that this process has sent to the medium, under whatever program: to be asked before a daemon writes anything.
pub fn written() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.trim().parse().ok()).unwrap_or(0)
}

/// The next of 1, 2, 5, 10, 20, 50, … that is not less; none as long as there is little to tell from.
fn step_mb_a_day(bytes: u64, span: Duration) -> Option<u64> {
    if span < SPAN_MIN {
        return None;
    }
    let mb = bytes as f64 / 1e6 * DAY_S / span.as_secs_f64();
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|first| first * 10_u64.saturating_pow(power)));
    steps.take(60).find(|step| *step as f64 >= mb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_in_steps_from_an_hour_on() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        for (mb, span, expected) in [
            (1, Duration::from_secs(3599), None),
            (0, hours(1), Some(1)),
            (1, hours(24), Some(1)),
            (1, hours(1), Some(50)),
            (3, hours(24), Some(5)),
            (501, hours(48), Some(500)),
        ] {
            assert_eq!(step_mb_a_day(mb * 1_000_000, span), expected, "{mb} MB in {span:?}");
        }
        assert_eq!(step_mb_a_day(u64::MAX, hours(1)), Some(500_000_000_000_000));
    }

    /// An update is written by the daemon before, in the same process.
    #[test]
    fn what_the_process_wrote_before_is_not_the_daemons() {
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        fs::write(file.path(), vec![1; 1 << 20]).unwrap();
        file.as_file().sync_all().unwrap();
        let before = written();
        let wear = Wear::of(file.path(), Duration::ZERO, before);
        assert!(before > 0, "the kernel counts");
        // Tests beside this one write as well.
        assert!(
            wear.by_daemon() <= written() - before && Wear::of(file.path(), Duration::ZERO, 0).by_daemon() >= before
        );
    }

    #[test]
    fn what_no_device_holds_is_not_told_of() {
        let of_nothing = Wear::of(Path::new("/proc"), Duration::ZERO, 0);
        assert_eq!(of_nothing.on_disk(), None);
        assert_eq!(Wear::of(Path::new("/nowhere"), Duration::ZERO, 0).on_disk(), None);
    }
}
