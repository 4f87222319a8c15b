//! How long a Job waits before it makes a pod in place of one that failed. Derived from the pods' own times, so the wait
//! goes on where it was after a restart of the daemon (Kubernetes begins anew there).

use std::time::Duration;

use crate::model::job::RECENT_FAILURES_MAX;
use crate::model::{Job, Moment, Now, Pod};

use super::tally::{Outcome, moment, outcome};

/// The wait after one failure; it doubles with each further one. Source: `DefaultJobPodFailureBackOff`.
const FIRST: Duration = Duration::from_secs(10);
/// Source: `MaxJobPodFailureBackOff`.
const LONGEST: Duration = Duration::from_secs(600);

/// What is left of the wait: 10 s · 2^(n−1) from the last failure on, n being the failures since the last success.
pub fn remaining(job: &Job, pods: &[&Pod], now: &Now) -> Duration {
    let folded = &job.status.folded;
    let ended =
        |wanted: Outcome| pods.iter().filter(move |pod| outcome(job, pod) == wanted).filter_map(|pod| moment(pod));
    let mut failures: Vec<&Moment> = ended(Outcome::Failed).chain(&folded.recent_failures).collect();
    if failures.is_empty() {
        return Duration::ZERO;
    }
    let last_success = ended(Outcome::Succeeded).chain(&folded.last_success).map(|m| now.order(m)).max();
    failures.retain(|failure| Some(now.order(failure)) > last_success);
    let Some(last) = failures.iter().max_by_key(|m| now.order(m)) else { return Duration::ZERO };
    delay(failures.len()).saturating_sub(now.since(last))
}

fn delay(failures: usize) -> Duration {
    let doublings = failures.clamp(1, RECENT_FAILURES_MAX) - 1;
    (FIRST * (1 << doublings)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_ten_minutes() {
        let waits: Vec<u64> = [1, 2, 3, 4, 5, 6, 7, 8, 1000].map(|n| delay(n).as_secs()).to_vec();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
    }
}
