//! The data directory and the medium below it: owner, kind, space, and how fast and how honestly it makes things durable.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::sorted;

use super::cgroup::nearest;
use super::node::Seen;
use super::{Check, Host, Space, Subject, fail, ok, skipped, warn};

const MIB: u64 = 1 << 20;
/// The store, its good copy and a commit's room; below it the daemon ends at the next full disk.
const RESERVE_BYTES: u64 = 64 * MIB;
/// Below it a log or two fill the disk.
const COMFORT_BYTES: u64 = 512 * MIB;
const RESERVE_INODES: u64 = 1000;
const FLUSHES: usize = 32;
/// No medium is that quick: the fastest drives with a battery behind their cache need more.
const HONEST: Duration = Duration::from_micros(15);
/// A commit a turn: a slower one is felt at every change.
const SLOW: Duration = Duration::from_millis(100);
/// Slower than that, something is wrong with the medium.
const SICK: Duration = Duration::from_secs(1);

pub(super) fn checks(host: &dyn Host, subject: &Subject, node: &Seen) -> Vec<Check> {
    let data = &subject.config.data_dir;
    let place = nearest(host, data);
    let space = host.space(&place);
    let read_only = space.as_ref().is_ok_and(|space| space.read_only);
    vec![
        directory(host, data, node),
        medium(host, data, read_only),
        room(&space, &place, subject),
        inodes(&space),
        flush(host, &place, read_only),
    ]
}

fn directory(host: &dyn Host, data: &Path, node: &Seen) -> Check {
    let shown = data.display();
    let Ok(stat) = host.stat(data) else {
        let above = nearest(host, data);
        return if host.may_write(&above) {
            ok("data-dir", format!("{shown} is made at the first start"))
        } else {
            fail(
                "data-dir",
                format!("{shown} is not there and cannot be made in {}", above.display()),
                "run as root, or give --data-dir",
            )
        };
    };
    let runs_as = node.user().unwrap_or_else(|| host.user());
    if !stat.is_dir {
        return fail("data-dir", format!("{shown} is no directory"), "remove it, or give --data-dir");
    }
    if stat.user != runs_as {
        return fail(
            "data-dir",
            format!("{shown} belongs to user {}, the node runs as {runs_as}", stat.user),
            format!("chown -R {runs_as} {shown}, or run the node as its owner"),
        );
    }
    // Secrets are in it, not encrypted.
    if stat.mode & 0o027 != 0 {
        return warn(
            "data-dir",
            format!("{shown} has mode {:04o}: others may look into it", stat.mode),
            format!("chmod 0700 {shown}"),
        );
    }
    ok("data-dir", format!("{shown}, mode {:04o}, user {}", stat.mode, stat.user))
}

fn medium(host: &dyn Host, data: &Path, read_only: bool) -> Check {
    let mounts = host.read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let Some((point, kind)) = mounted(&mounts, data) else {
        return skipped("medium", "the file system of the data directory is not in /proc/self/mountinfo");
    };
    let place = format!("{kind} at {}", point.display());
    if read_only {
        return fail(
            "medium",
            format!("{place} is read-only: nothing can be committed"),
            "look at dmesg for its cause; mount -o remount,rw",
        );
    }
    match kind.as_str() {
        "tmpfs" | "ramfs" => {
            fail("medium", format!("{place} is memory: a reboot loses everything"), "put data_dir on a disk")
        }
        "overlay" => warn(
            "medium",
            format!("{place} goes with its container"),
            "put data_dir on a volume, if this is a container that is replaced",
        ),
        "nfs" | "nfs4" | "cifs" | "9p" | "virtiofs" | "fuse.sshfs" => warn(
            "medium",
            format!("{place} is shared or remote: its locks and flushes are another machine's"),
            "put data_dir on a local disk",
        ),
        _ => ok("medium", place),
    }
}

/// The mount that the path is in, and its type.
fn mounted(mounts: &str, path: &Path) -> Option<(PathBuf, String)> {
    let parse = |line: &str| {
        let (mount, rest) = line.split_once(" - ")?;
        let point = PathBuf::from(mount.split(' ').nth(4)?.replace("\\040", " "));
        Some((point, rest.split(' ').next()?.to_string()))
    };
    let all = mounts.lines().filter_map(parse).filter(|(point, _)| path.starts_with(point));
    // Of several at one place the last one counts.
    all.max_by_key(|(point, _)| point.components().count())
}

fn room(space: &std::io::Result<Space>, place: &Path, subject: &Subject) -> Check {
    let space = match space {
        Ok(space) => space,
        Err(e) => return skipped("space", format!("{}: {e}", place.display())),
    };
    let found = format!("{} MiB of {} MiB are free", space.bytes_free / MIB, space.bytes / MIB);
    let remedy = "make room; bounds.log_bytes_max and bounds.log_files_max bound the logs of a container";
    if space.bytes_free < RESERVE_BYTES {
        return fail(
            "space",
            format!("{found}, less than the {} MiB that commits need in reserve", RESERVE_BYTES / MIB),
            remedy,
        );
    }
    let settings = &subject.config.settings;
    let one_container = settings.log_bytes_max.saturating_mul(u64::from(settings.log_files_max)).saturating_mul(2);
    if space.bytes_free < COMFORT_BYTES.min(space.bytes / 10) || space.bytes_free < one_container {
        return warn(
            "space",
            format!("{found}; the logs of one container may take {} MiB", one_container / MIB),
            remedy,
        );
    }
    ok("space", found)
}

fn inodes(space: &std::io::Result<Space>) -> Check {
    match space {
        Err(_) => skipped("inodes", "the file system cannot be asked"),
        Ok(space) if space.inodes == 0 => ok("inodes", "this file system has no fixed number of files"),
        Ok(space) if space.inodes_free < RESERVE_INODES => fail(
            "inodes",
            format!("{} of {} files are left", space.inodes_free, space.inodes),
            "remove small files: df -i, du --inodes",
        ),
        Ok(space) => ok("inodes", format!("{} of {} files are left", space.inodes_free, space.inodes)),
    }
}

fn flush(host: &dyn Host, place: &Path, read_only: bool) -> Check {
    if read_only || !host.may_write(place) {
        return skipped("flush", format!("{} cannot be written by this user; try sudo", place.display()));
    }
    let mut times = match host.flush(place, FLUSHES) {
        Ok(times) if !times.is_empty() => times,
        Ok(_) => return skipped("flush", "nothing was written"),
        Err(e) => {
            return fail(
                "flush",
                format!("{}: {e}", place.display()),
                "the node cannot commit: look at dmesg, the disk's space and its mount options",
            );
        }
    };
    sorted::by(&mut times, Ord::cmp);
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    let found = format!("4 KiB are durable in {}, {} at worst of {}", human(median), human(most), times.len());
    if median < HONEST {
        let remedy = "a power cut may lose what was committed, and work may run again: use a disk without a lying cache, or cache=none \
                      in a virtual machine";
        return warn("flush", format!("{found}: suspiciously fast, no medium is; flushes seem to be ignored"), remedy);
    }
    if median > SICK {
        return fail(
            "flush",
            format!("{found}: the medium is failing or overloaded"),
            "look at dmesg and smartctl; replace the card",
        );
    }
    if median > SLOW {
        return warn("flush", format!("{found}: every change waits that long"), "a better card (A1/A2) or an SSD");
    }
    ok("flush", found)
}

fn human(time: Duration) -> String {
    let us = time.as_micros();
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
        _ => format!("{:.0} ms", time.as_secs_f64() * 1000.0),
    }
}
