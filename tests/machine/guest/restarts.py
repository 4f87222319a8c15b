"""The daemon is not the pods' life line."""

import os
import pathlib

from lib import *

GO = pathlib.Path("/run/machine-go")


def settle():
    """Starts the daemon if need be, and waits until it answers."""
    must("systemctl start pinnace")
    same("node", node()["metadata"]["name"], "machine")


@case("pods to watch are running")
def _():
    apply(daemonset("steady", "exec sleep 100000"))
    # Ends in the first attempt, once, when it may; then runs on.
    apply(job("counted", f"[ $PINNACE_ATTEMPT != 0 ] || {{ while [ ! -e {GO} ]; do sleep 0.2; done; exit 3; }}; exec sleep 100000"))
    apply(job("soon", f"while [ ! -e {GO} ]; do sleep 0.2; done; echo done"))
    apply(job("twice", f"echo run >> /run/machine-twice; while [ ! -e {GO} ]; do sleep 0.2; done", restart="Never"))
    for owner in ["steady", "counted", "soon", "twice"]:
        running_pod_of(owner)


def survives(what, act):
    @case(what)
    def _():
        before, daemon = steady(), main_pid()
        act()
        settle()
        assert main_pid() != daemon, "it is another process"
        same("uid, restarts, processes", steady(), before)


def steady():
    """`sleep 0.2` of those that wait come and go."""
    shells = lambda pids: [p for p in pids if pathlib.Path(f"/proc/{p}/comm").exists() and read(f"/proc/{p}/comm") != "sleep"]
    mine = snapshot()
    return {n: (u, r, p if n in ("guaranteed", "besteffort") or n.startswith("steady") else shells(p)) for n, (u, r, p) in mine.items()}


def killed():
    daemon = main_pid()
    must("systemctl kill -s KILL pinnace")
    wait("systemd starts it again", lambda: main_pid() not in (0, daemon) and sh("systemctl is-active pinnace").strip() == "active")


survives("systemctl restart leaves pods alone", lambda: must("systemctl restart pinnace"))
survives("systemctl kill -s KILL leaves pods alone", killed)
survives(
    "a new binary leaves pods alone",
    lambda: must(f"install -m 0755 {HERE}/../pinnace /usr/local/bin/ && systemctl restart pinnace"),
)


@case("systemctl stop leaves pods alone")
def _():
    mine = {pid for _, _, pids in steady().values() for pid in pids}
    must("systemctl stop pinnace")
    same("state", sh("systemctl is-active pinnace").strip(), "inactive")
    assert len(mine) >= 6, mine
    same("processes that are gone", sorted(p for p in mine if not os.path.exists(f"/proc/{p}")), [])


@case("ends while the daemon is down count once, and nothing runs twice")
def _():
    GO.touch()
    done = lambda: len(list(pathlib.Path("/var/lib/pinnace/exits").iterdir())) == 3
    wait("three exit records", done)
    settle()
    wait("Job soon is complete", lambda: is_complete("soon"))
    wait("Job twice is complete", lambda: is_complete("twice"))
    same("counts", [get("job", n)["status"].get(s, 0) for n in ("soon", "twice") for s in ("succeeded", "failed")], [1, 0, 1, 0])
    same("runs", read("/run/machine-twice"), "run")
    again = running_pod_of("counted", restarted=1)
    same("restarts", restarts(again), 1)
    same("pods", len(pods_of("counted")), 1)
    same("last exit", status(again)["lastState"]["terminated"]["exitCode"], 3)
    same("records left", list(pathlib.Path("/var/lib/pinnace/exits").iterdir()), [])
    same("log", pinnace("logs", "job/soon").strip(), "done")


@case("after all that, a new pod starts with its limits")
def _():
    apply(pod("late", container("main", "exec sleep 100000", **quota(cpu="300m", memory="20Mi"))))
    it = running_pod("late")
    same("cpu.max", read(group(it, "main") / "cpu.max"), "30000 100000")
    same("memory.max", read(group(it, "main") / "memory.max"), str(20 * 1024 * 1024))


@case("a shim that is killed takes its container along, and nothing else")
def _():
    late = get("pod", "late")
    first = processes(group(late))[0]
    shim = int(next(l.split()[1] for l in read(f"/proc/{first}/status").splitlines() if l.startswith("PPid")))
    before = {n: s for n, s in snapshot().items() if n != "late"}
    os.kill(shim, 9)
    wait("it runs again", lambda: restarts(p := get("pod", "late")) == 1 and is_running(p))
    assert not os.path.exists(f"/proc/{first}"), "the old process is gone"
    same("others", {n: s for n, s in snapshot().items() if n != "late"}, before)
    pinnace("delete", "pod", "late", "guaranteed", "besteffort", "--grace-period=1")
    pinnace("delete", "job", "counted", "soon", "twice")
