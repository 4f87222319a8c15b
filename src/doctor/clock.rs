//! The wall clock: whether it can be right, what keeps it so, what the node has seen of it, and the time zones.

use std::path::Path;
use std::time::Duration;

use super::node::Seen;
use super::{Check, Host, fail, ok, skipped, warn};
use crate::model::Timestamp;

/// Two clocks of one machine that differ by more were not set together.
const DRIFT_MAX: Duration = Duration::from_secs(300);

pub(super) fn checks(host: &dyn Host, node: &Seen) -> Vec<Check> {
    vec![clock(host), real_time_clock(host), synchronised(host), floor(host, node), zones(host)]
}

fn clock(host: &dyn Host) -> Check {
    let Some(now) = host.now() else {
        return fail("clock", "the clocks cannot be read", "mount /proc");
    };
    if now.wall_trusted {
        return ok("clock", format!("{}", now.wall));
    }
    fail(
        "clock",
        format!(
            "it shows {}, which was never set: CronJobs are held, and TLS certificates are not valid yet",
            now.wall
        ),
        "set it: NTP (systemctl enable --now systemd-timesyncd), or date -s",
    )
}

/// Source: kernel, Documentation/admin-guide/rtc.rst.
fn real_time_clock(host: &dyn Host) -> Check {
    let file = Path::new("/sys/class/rtc/rtc0/since_epoch");
    let Some(shown) = host.read(file).ok().and_then(|text| text.trim().parse().ok()).map(Timestamp::from_secs) else {
        return warn(
            "rtc",
            "the device has no clock that outlives a power cut: until NTP answers, CronJobs are held after each boot",
            "fit a battery-backed clock, or let the unit wait for the time: After=time-sync.target",
        );
    };
    let wall = host.now().map_or(shown, |now| now.wall);
    let apart = wall.since(shown).max(shown.since(wall));
    if apart > DRIFT_MAX {
        return warn(
            "rtc",
            format!("the battery-backed clock shows {shown}, {} s apart from the system's", apart.as_secs()),
            "hwclock --systohc once the system's clock is right; a new battery if it comes back",
        );
    }
    ok("rtc", "a battery-backed clock agrees with the system's")
}

fn synchronised(host: &dyn Host) -> Check {
    let remedy = "systemctl enable --now systemd-timesyncd (or chrony), and let UDP port 123 through";
    match host.clock_is_synchronised() {
        Some(true) => ok("time-source", "the clock is kept right (NTP or the like)"),
        // timesyncd leaves the kernel's flag alone for a while; its own mark is as good.
        Some(false) if host.stat(Path::new("/run/systemd/timesync/synchronized")).is_ok() => {
            ok("time-source", "systemd-timesyncd has set the clock")
        }
        Some(false) => {
            warn("time-source", "nothing keeps the clock right: the kernel says that it is not synchronised", remedy)
        }
        None => skipped("time-source", "the kernel does not say whether the clock is kept right"),
    }
}

fn floor(host: &dyn Host, node: &Seen) -> Check {
    let (Some(now), Some(floor)) = (host.now(), node.time_floor()) else {
        return skipped("clock-jump", "the node has not noted a time yet, or its store cannot be read");
    };
    if floor <= now.wall {
        return ok("clock-jump", format!("the latest time that the node has noted is {floor}"));
    }
    fail(
        "clock-jump",
        format!(
            "the node has noted {floor}, the clock shows {}: it went back, or was in the future then; CronJobs are held",
            now.wall
        ),
        "if the clock is wrong now, set it; if it was wrong then, CronJobs go on at that time, or with a new store (drain, stop, \
         move pinnace.redb* away, start)",
    )
}

fn zones(host: &dyn Host) -> Check {
    let lists = [
        "/usr/share/zoneinfo/tzdata.zi",
        "/usr/share/zoneinfo/Europe/Berlin",
        "/etc/zoneinfo/Europe/Berlin",
        "/usr/share/lib/zoneinfo/Europe/Berlin",
    ];
    if lists.iter().any(|file| host.stat(Path::new(file)).is_ok()) {
        return ok("time-zones", "time zone data is installed");
    }
    warn(
        "time-zones",
        "there is no time zone data: a CronJob with spec.timeZone is refused with UnknownTimeZone",
        "install tzdata",
    )
}
