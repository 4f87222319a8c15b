"""A cold boot: the clock says 1970, there is no network card, the broker cannot be reached. Then the clock is set, and set
again, forwards and backwards by years."""

import os
import pathlib
import time

from lib import *
from offline import known, runs, stamps

SIGNS = pathlib.Path("/run/machine-signs")


def uptime():
    return float(read("/proc/uptime").split()[0])


def started(pid):
    """Seconds from power-on to the start of a process."""
    after_name = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


@case("DaemonSet and Job go on by themselves, in the order: unit, pods, and nobody is asked")
def _():
    same("network cards", os.listdir("/sys/class/net"), ["lo"])
    for owner in ("steady", "long"):
        it = running_pod_of(owner, restarted=1)
        same(f"pod of {owner}", uid(it), known()[owner])
    daemon = started(main_pid())
    begun = {owner: started(processes(group(pods_of(owner)[-1]))[0]) for owner in ("steady", "long")}
    print(f"# the unit starts {daemon:.1f} s after power-on; pods' processes {[round(b - daemon, 1) for b in begun.values()]} s later")
    assert all(b >= daemon for b in begun.values()), (daemon, begun)
    assert is_complete("short"), "finished work stays finished"
    apply(job("fresh", "true"))
    wait("a new Job runs", lambda: is_complete("fresh"))


@case("CronJobs are held, and the node, an event and the metrics say so")
def _():
    same("ClockTrusted", condition(node(), "ClockTrusted")["status"], "False")
    print("#", must("date -u").strip(), condition(node(), "ClockTrusted")["message"])
    assert any(e["reason"] == "ClockNotTrusted" for e in events_of("machine")), events_of("machine")
    same("runs", (runs("hourly"), runs("daily")), ([], []))


def settled():
    """Whoever fires twice does it at once; a turn has passed for certain when something new is done."""
    name = f"probe-{int(uptime() * 100)}"
    apply(job(name, "true"))
    wait("a probe runs", lambda: is_complete(name))


@case("the clock jumps forward by years: at most one run of each CronJob, no storm, nothing restarts")
def _():
    before = snapshot()
    must("date -u -s '2033-05-05 12:20:00'")
    wait("the node trusts it", lambda: condition(node(), "ClockTrusted")["status"] == "True")
    settled()
    print("#", stamps("hourly"), stamps("daily"))
    assert stamps("hourly") in ([], ["2033-05-05T12:00:00Z"]), stamps("hourly")
    assert stamps("daily") in ([], ["2033-05-05T04:00:00Z"]), stamps("daily")
    same("pods", snapshot(), before)


@case("a step of six more years: the last missed time alone is made up")
def _():
    before = len(runs("hourly"))
    must("date -u -s '2039-05-05 12:20:00'")
    settled()
    wait("hourly has run", lambda: len(runs("hourly")) > before)
    same("last", stamps("hourly")[-1], "2039-05-05T12:00:00Z")
    same("runs", len(runs("hourly")), before + 1)


@case("back-off and deadlines do not care about steps of years and hours in either direction")
def _():
    # A back-off of ten seconds, and a deadline of twenty.
    sign = f"read up _ < /proc/uptime; echo $up >> {SIGNS}; "
    apply(pod("looping", container("main", sign + "exit 1")))
    apply({**job("bounded", "exec sleep 100000"), "spec": {**job("bounded", "exec sleep 100000")["spec"], "activeDeadlineSeconds": 20}})
    running_pod_of("bounded")
    begun = uptime()
    for wall in ("2045-05-05 12:20:00", "2039-05-05 12:20:05", "2039-05-05 10:20:00", "2039-05-05 12:21:00"):
        must(f"date -u -s '{wall}'")
        time.sleep(1)
    if uptime() - begun < 15:
        same("bounded", condition(get("job", "bounded"), "Failed"), {})
    wait("three restarts", lambda: SIGNS.exists() and len(SIGNS.read_text().split()) >= 4)
    signs = [float(s) for s in SIGNS.read_text().split()]
    print(f"# attempts at {signs}")
    # The first restart comes at once, the second after ten seconds, the third after twenty, as a kubelet's.
    assert signs[2] - signs[1] >= 9.5 and signs[3] - signs[2] >= 19.5, signs
    end = wait("the deadline comes", lambda: condition(get("job", "bounded"), "Failed"))
    same("reason", end["reason"], "DeadlineExceeded")
    assert uptime() - begun >= 19, "not before its time"
    pinnace("delete", "pod", "looping", "--grace-period=1")


@case("six years and two hours back: nothing is fired again, and the node says that it holds")
def _():
    fired = stamps("hourly"), stamps("daily")
    for wall in ("2039-05-05 09:59:58", "2033-05-05 11:59:58"):
        must(f"date -u -s '{wall}'")
        time.sleep(4)
        settled()
        same(f"fired at {wall}", (stamps("hourly"), stamps("daily")), fired)
        same("ClockTrusted", condition(node(), "ClockTrusted")["status"], "False")
    must("date -u -s '2046-01-01 12:00:30'")
    wait("it goes on", lambda: condition(node(), "ClockTrusted")["status"] == "True")


@case("an hour that summer time leaves out or repeats fires once each time it begins")
def _():
    berlin = cronjob("berlin", "0 * * * *", "true")
    berlin["spec"]["timeZone"] = "Europe/Berlin"
    must("date -u -s '2046-03-25 00:30:00'")
    apply(berlin)
    # The hour from two to three is not there; then the same hour comes a second time, in winter time.
    for wall, fires in (("2046-03-25 00:59:57", "2046-03-25T03:00:00+02:00"), ("2046-10-28 00:59:57", "2046-10-28T02:00:00+01:00")):
        must(f"date -u -s '{wall}'")
        wait(f"{fires} has fired", lambda: fires in stamps("berlin"))
        settled()
        same("once", stamps("berlin").count(fires), 1)
