//! The files of TLS: whether they can be used together, and how long they hold.

use std::time::Duration;

use super::{Check, Host, Subject, fail, ok, skipped, warn};
use crate::link::{self, Validity};
use crate::model::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);
/// Time to renew it without haste.
const SOON: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn checks(host: &dyn Host, subject: &Subject) -> Vec<Check> {
    let Some(mqtt) = subject.config.mqtt.as_ref().filter(|mqtt| mqtt.broker.tls) else {
        return vec![skipped("certificates", "the broker is not reached over TLS")];
    };
    if let Err(why) = link::tls_fits(mqtt) {
        return vec![fail(
            "certificates",
            why,
            "PEM files that the node's user may read, and a key that belongs to its certificate",
        )];
    }
    let now = host.now().map_or(Timestamp::EPOCH, |now| now.wall);
    let files = link::own_files(mqtt);
    if files.is_empty() {
        return vec![ok("certificates", "the host's list of authorities; the node has no certificate of its own")];
    }
    let judge_one = |file: link::OwnFile| {
        let what = format!("{} {}", file.setting, file.path.display());
        match file.validity {
            Ok(validity) => judge("certificates", &what, validity, now),
            Err(why) => fail("certificates", format!("{what}: {why}"), "a PEM file with certificates"),
        }
    };
    files.into_iter().map(judge_one).collect()
}

/// How long it still holds.
pub(super) fn judge(name: &'static str, what: &str, validity: Validity, now: Timestamp) -> Check {
    let Validity { not_before, not_after } = validity;
    if now < not_before {
        return fail(
            name,
            format!("{what} holds from {not_before} on, and the clock shows {now}"),
            "set the clock; see the check of it",
        );
    }
    if now > not_after {
        return fail(
            name,
            format!("{what} ended at {not_after}"),
            "renew it; a new file is read at the next connection",
        );
    }
    let left = not_after.since(now);
    let found = format!("{what} holds until {not_after}, {} days", left.as_secs() / DAY.as_secs());
    if left < SOON {
        warn(name, found, "renew it soon; a new file is read at the next connection")
    } else {
        ok(name, found)
    }
}
