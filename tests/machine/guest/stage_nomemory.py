"""A new Raspberry Pi: cgroup_disable=memory is its system's default, and it has no clock."""

from lib import *
import hosts

hosts.check(["memory"])


@case("a clock that only systemd has set is none: CronJobs are held until it is set")
def _():
    same("ClockTrusted", condition(node(), "ClockTrusted")["status"], "False")
    print("#", must("date -u").strip())
    apply(cronjob("often", "* * * * *", "true"))
    time.sleep(61)
    often = lambda: [j for j in get("jobs") if j["metadata"]["name"].startswith("often-")]
    same("runs", often(), [])
    must("date -u -s '2027-03-01 18:40:58'")
    wait("it goes on", often)
    same("ClockTrusted", condition(node(), "ClockTrusted")["status"], "True")
