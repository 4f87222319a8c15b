//! Tells systemd how the daemon does, where systemd asked for it (`sd_notify(3)`, `Type=notify`).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The first turn is done: pods are adopted and the API answers. A daemon that took over in place is ready for nobody, but
/// what feeds the watchdog next is half an interval away, and the daemon before may have fed it as long ago.
pub fn ready() {
    send("READY=1\nSTATUS=running\nWATCHDOG=1");
}

pub fn stopping() {
    send("STOPPING=1");
}

pub fn status(text: &str) {
    send(&format!("STATUS={text}"));
}

/// The loop has gone round: whoever keeps the watchdog need not start this daemon anew.
pub fn alive() {
    send("WATCHDOG=1");
}

/// How often the loop must say that it is alive; none where nobody waits for that, and then nothing wakes up for it.
pub fn alive_every() -> Option<Duration> {
    let var = |name| std::env::var(name).ok();
    interval(var("WATCHDOG_USEC").as_deref(), var("WATCHDOG_PID").as_deref(), std::process::id())
}

/// Half of what systemd allows, as `sd_watchdog_enabled(3)` advises. The variables may have been meant for a parent.
fn interval(usec: Option<&str>, pid: Option<&str>, me: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(me)) {
        return None;
    }
    let allowed: u64 = usec?.parse().ok()?;
    (allowed >= 2).then(|| Duration::from_micros(allowed / 2))
}

fn send(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let path = path.to_string_lossy().into_owned();
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(e) = sent {
        tracing::warn!("cannot tell systemd {message:?} at {path}: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_only_where_one_waits_for_this_process() {
        let check = |usec, pid, expected: Option<u64>| {
            assert_eq!(interval(usec, pid, 42), expected.map(Duration::from_micros), "{usec:?} {pid:?}");
        };
        check(Some("180000000"), Some("42"), Some(90_000_000));
        check(Some("180000000"), None, Some(90_000_000));
        check(Some("18446744073709551615"), None, Some(u64::MAX / 2));
        check(None, Some("42"), None);
        check(Some("180000000"), Some("41"), None);
        check(Some("180000000"), Some(""), None);
        check(Some("0"), None, None);
        check(Some("1"), None, None);
        check(Some("-5"), None, None);
        check(Some("3min"), None, None);
    }
}
