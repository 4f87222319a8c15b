//! When a container that has ended is started again: the policy, and the back-off of what keeps crashing.
//! Sources: `pkg/kubelet/container/helpers.go`, `client-go/util/flowcontrol/backoff.go`.

use std::time::Duration;

use crate::model::pod::{Backoff, RestartPolicy};
use crate::model::{ContainerState, ContainerStatus, Ended, Moment, Now};

/// Delay of the second restart (the first is immediate), and the delay that it doubles up to. Also those of an image.
const DELAY_FIRST: Duration = Duration::from_secs(10);
const DELAY_MAX: Duration = Duration::from_secs(300);
/// A run that lasted longer than this since the last restart was no crash in a row.
const CALM: Duration = Duration::from_secs(600);

/// Whether the policy wants another attempt of an app container that ended with this code.
pub fn wants_restart(policy: RestartPolicy, exit_code: i32) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

/// How the attempt before the next one ended; none when there was none.
pub fn previous(status: &ContainerStatus) -> Option<&Ended> {
    match &status.state {
        ContainerState::Ended(ended) => Some(ended),
        ContainerState::Waiting { .. } | ContainerState::Starting { .. } | ContainerState::Running { .. } => {
            status.last.as_ref()
        }
    }
}

/// The delay that holds the next restart, counted from the end of the last attempt; none when it is not held at all.
pub fn delay(backoff: Option<&Backoff>, ended: &Ended) -> Option<Duration> {
    backoff.filter(|b| !is_over(b, ended)).map(|b| Duration::from_millis(b.delay_ms))
}

/// The back-off after a restart at `now`.
pub fn after_restart(backoff: Option<&Backoff>, ended: &Ended, now: &Now) -> Backoff {
    match backoff.filter(|b| !is_over(b, ended)) {
        Some(backoff) => doubled(backoff, now),
        None => first(now),
    }
}

/// The back-off of what failed for the first time.
pub fn first(now: &Now) -> Backoff {
    Backoff { delay_ms: millis(DELAY_FIRST), updated: now.moment() }
}

/// The back-off of what failed again.
pub fn doubled(backoff: &Backoff, now: &Now) -> Backoff {
    Backoff { delay_ms: backoff.delay_ms.saturating_mul(2).min(millis(DELAY_MAX)), updated: now.moment() }
}

/// It grows no more.
pub fn is_longest(backoff: &Backoff) -> bool {
    backoff.delay_ms == millis(DELAY_MAX)
}

fn is_over(backoff: &Backoff, ended: &Ended) -> bool {
    between(&backoff.updated, &ended.finished) > CALM
}

/// The time from one moment to a later one, by the rule of `Now::since`.
fn between(earlier: &Moment, later: &Moment) -> Duration {
    let then = Now {
        wall: later.wall,
        wall_trusted: later.wall_trusted,
        uptime: Duration::from_millis(later.up_ms),
        boot: later.boot.clone(),
    };
    then.since(earlier)
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Whole seconds as Go prints a duration: `40s`, `1m20s`, `5m0s`.
pub fn go_seconds(d: Duration) -> String {
    let s = d.as_secs();
    if s < 60 { format!("{s}s") } else { format!("{}m{}s", s / 60, s % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, Timestamp};

    fn now(s: u64) -> Now {
        Now {
            wall: Timestamp::from_secs(i64::try_from(s).unwrap()),
            wall_trusted: true,
            uptime: Duration::from_secs(s),
            boot: BootId::new("a"),
        }
    }

    fn ended(s: u64) -> Ended {
        let finished = now(s).moment();
        Ended { exit_code: 1, reason: "Error".into(), message: String::new(), started: None, finished, excused: None }
    }

    /// Runs that last `runs` seconds each; the delay before each restart.
    #[track_caller]
    fn check(runs: &[u64], expected: &[u64]) {
        let (mut t, mut backoff) = (1000, None);
        let mut delays = Vec::new();
        for run in runs {
            t += run;
            let end = ended(t);
            let held = delay(backoff.as_ref(), &end).unwrap_or_default();
            delays.push(held.as_secs());
            t += held.as_secs();
            backoff = Some(after_restart(backoff.as_ref(), &end, &now(t)));
        }
        assert_eq!(delays, expected);
    }

    #[test]
    fn the_delay_doubles_to_five_minutes_and_a_long_run_resets_it() {
        check(&[1; 9], &[0, 10, 20, 40, 80, 160, 300, 300, 300]);
        check(&[1, 1, 1, 601, 1, 1], &[0, 10, 20, 0, 10, 20]);
        check(&[1, 1, 1, 600, 1], &[0, 10, 20, 40, 80]);
    }

    #[test]
    fn durations_are_printed_as_in_go() {
        for (s, text) in [(10, "10s"), (80, "1m20s"), (160, "2m40s"), (300, "5m0s")] {
            assert_eq!(go_seconds(Duration::from_secs(s)), text);
        }
    }
}
