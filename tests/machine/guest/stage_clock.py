"""A device whose clock says 1970, and which has known better before."""

import time

from lib import *
import work


@case("while the clock is not set, CronJobs are held and the node says so")
def _():
    same("ClockTrusted", condition(node(), "ClockTrusted")["status"], "False")
    print("#", must("date").strip())
    before = {c: [j["metadata"]["name"] for j in work.jobs_of(c)] for c in ("hourly", "minutely")}
    # Past the next full minute: a schedule on this clock would have fired.
    time.sleep(61)
    after = {c: [j["metadata"]["name"] for j in work.jobs_of(c)] for c in ("hourly", "minutely")}
    same("jobs", after, before)
    assert any(e["reason"] == "ClockNotTrusted" for e in events_of("machine")), "an event tells"


@case("everything else runs")
def _():
    for owner in work.RUNNING:
        running_pod_of(owner)
    apply(job("timeless", "true"))
    wait("a Job runs", lambda: is_complete("timeless"))


@case("when the clock is set, CronJobs go on with one run each, and nothing restarts")
def _():
    pods = {owner: [(uid(p), restarts(p)) for p in pods_of(owner)] for owner in work.RUNNING}
    before = {c: [j["metadata"]["name"] for j in work.jobs_of(c)] for c in ("hourly", "minutely")}
    must("date -u -s '2027-03-01 18:40:30'")
    fresh = lambda c: [j for j in work.jobs_of(c) if j["metadata"]["name"] not in before[c]]
    stamps = lambda c: [j["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] for j in fresh(c)]
    wait("both have run", lambda: stamps("hourly") and stamps("minutely"))
    same("hourly", stamps("hourly"), ["2027-03-01T18:00:00Z"])
    assert len(stamps("minutely")) <= 2, stamps("minutely")
    assert stamps("minutely")[0] >= "2027-03-01T18:40:00Z", stamps("minutely")
    same("ClockTrusted", condition(node(), "ClockTrusted")["status"], "True")
    same("pods", {owner: [(uid(p), restarts(p)) for p in pods_of(owner)] for owner in work.RUNNING}, pods)


@case("a clock that is set back fires no time again")
def _():
    stamps = lambda: [j["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] for j in work.jobs_of("hourly")]
    before = stamps()
    must("date -u -s '2027-03-01 17:59:58'")
    time.sleep(5)
    same("runs", stamps(), before)
