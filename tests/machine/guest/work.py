"""The work that is there before a reboot or a power cut, and how it must look after it."""

import json
import os
import pathlib

from lib import *

# For the stage in which the clock is not set: three hours of missed minutes could be a storm.
MINUTELY = cronjob("minutely", "* * * * *", "true")

MEMORY = pathlib.Path("/var/lib/machine-memory.json")
TRAP = "trap 'exit 3' TERM; "

OBJECTS = [
    job("finished", "echo once >> /var/lib/machine-finished"),
    job("keeps", "exec sleep 100000", backoffLimit=0),
    # Programs that catch SIGTERM, as an orderly shutdown sends it, and end with a code of their own.
    job("keeps-trap", TRAP + "sleep 100000 & wait", backoffLimit=0),
    job("replaced", "exec sleep 100000", restart="Never", backoffLimit=0),
    job("replaced-trap", TRAP + "sleep 100000 & wait", restart="Never", backoffLimit=0),
    cronjob("hourly", "0 * * * *", "true"),
]
KEPT = ["steady", "keeps", "keeps-trap"]
REPLACED = ["replaced", "replaced-trap"]
RUNNING = KEPT + REPLACED


def remember():
    """On the disk for certain, as a person would remember it."""
    known = {owner: [uid(pods_of(owner)[-1]), restarts(pods_of(owner)[-1])] for owner in RUNNING}
    known["hourly"] = [j["metadata"]["name"] for j in jobs_of("hourly")]
    known["log"] = pinnace("logs", "job/finished")
    MEMORY.write_text(json.dumps(known))
    os.sync()


def jobs_of(cron):
    return [j for j in get("jobs") if any(o["name"] == cron for o in j["metadata"].get("ownerReferences", []))]


def check(how):
    """After the reboot."""
    known = json.loads(MEMORY.read_text())

    @case(f"{how}: DaemonSet and OnFailure pods are the same ones at their next attempt")
    def _():
        for owner in KEPT:
            before, attempts = known[owner]
            it = running_pod_of(owner, restarted=attempts + 1)
            same(f"pods of {owner}", [uid(p) for p in pods_of(owner)], [before])
            same(f"restarts of {owner}", restarts(it), attempts + 1)

    @case(f"{how}: lost Never pods are replaced by others")
    def _():
        for owner in REPLACED:
            before, _ = known[owner]
            it = wait(f"{owner} has a new pod", lambda: (p := pods_of(owner)[-1]) and uid(p) != before and is_running(p) and p)
            same(f"restarts of {owner}", restarts(it), 0)

    @case(f"{how}: backoffLimit 0 is not used up")
    def _():
        for name in ["keeps", "keeps-trap", "replaced", "replaced-trap"]:
            seen = get("job", name)["status"]
            same(f"active, failed of {name}", (seen.get("active", 0), seen.get("failed", 0)), (1, 0))
            same(f"conditions of {name}", [c["type"] for c in seen.get("conditions", [])], [])

    @case(f"{how}: finished work stays finished, and its log can be read")
    def _():
        assert is_complete("finished")
        same("runs", read("/var/lib/machine-finished"), "once")
        same("log", pinnace("logs", "job/finished"), known["log"])

    @case(f"{how}: the missed times of a CronJob are made up by one run")
    def _():
        fresh = lambda: [j for j in jobs_of("hourly") if j["metadata"]["name"] not in known["hourly"]]
        wait("the run is complete", lambda: [j for j in fresh() if condition(j, "Complete").get("status") == "True"])
        same("new runs", len(fresh()), 1)
        now = must("date -u +%Y-%m-%dT%H:00:00Z").strip()
        stamp = fresh()[0]["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
        same("its time is the last one that was missed", stamp, now)
        same("lastScheduleTime", get("cronjob", "hourly")["status"]["lastScheduleTime"], now)

    @case(f"{how}: limits are set again")
    def _():
        same("LimitsEnforced", condition(node(), "LimitsEnforced")["status"], "True")
        apply(pod("limited", container("main", "exec sleep 100000", **quota(cpu="300m", memory="20Mi"))))
        it = running_pod("limited")
        same("cpu.max", read(group(it, "main") / "cpu.max"), "30000 100000")
        pinnace("delete", "pod", "limited", "--grace-period=1")

    @case(f"{how}: nothing is left of the boot before")
    def _():
        live = {uid(p) for p in get("pods") if p["status"]["phase"] == "Running"}
        groups = {g.name for c in ["", "burstable", "besteffort"] for g in (tree() / "pods" / c).iterdir() if g.is_dir() and processes(g)}
        same("groups", groups - {"burstable", "besteffort"}, live)
        same("claims", len(list(pathlib.Path("/run/pinnace/attempts").iterdir())), len(live))
