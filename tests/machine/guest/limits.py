"""Limits bite, with a kubelet's values, and hit only whom they are for."""

import time

from lib import *


def shares(milli):
    """cpu.weight of a request, as a kubelet and runc compute it."""
    return str(1 + (max(2, milli * 1024 // 1000) - 2) * 9999 // 262142)


MI = 1024 * 1024


@case("a Guaranteed pod: limits of its containers, and their sum on the pod")
def _():
    one = container("one", "exec sleep 100000", **quota(cpu="500m", memory="64Mi"))
    two = container("two", "exec sleep 100000", **quota(cpu="250m", memory="32Mi"))
    apply(pod("guaranteed", one, two))
    it = running_pod("guaranteed", 2)
    same("class", it["status"]["qosClass"], "Guaranteed")
    same("parent", group(it).parent, tree() / "pods")
    of = lambda cpu, memory, pids: {
        "cpu.weight": shares(cpu),
        "cpu.max": f"{cpu * 100} 100000",
        "memory.max": str(memory * MI),
        "memory.swap.max": "0",
        "pids.max": pids,
    }
    same("pod", limits(group(it)), of(750, 96, "64"))
    same("one", limits(group(it, "one")), of(500, 64, "max"))
    same("two", limits(group(it, "two")), of(250, 32, "max"))
    same("score", {read(f"/proc/{p}/oom_score_adj") for p in processes(group(it))}, {"-997"})


@case("a Burstable pod: no bound on the pod where a container has none")
def _():
    one = container("one", "exec sleep 100000", **quota(memory="64Mi", requests={"cpu": "100m", "memory": "32Mi"}))
    apply(pod("burstable", one, container("two", "exec sleep 100000")))
    it = running_pod("burstable", 2)
    same("class", it["status"]["qosClass"], "Burstable")
    same("parent", group(it).parent, tree() / "pods/burstable")
    open_ended = {"cpu.max": "max 100000", "memory.max": "max", "memory.swap.max": "max", "pids.max": "max"}
    same("pod", limits(group(it)), {**open_ended, "cpu.weight": shares(100), "pids.max": "64"})
    bounded = {"memory.max": str(64 * MI), "memory.swap.max": "0"}
    same("one", limits(group(it, "one")), {**open_ended, **bounded, "cpu.weight": shares(100)})
    same("two", limits(group(it, "two")), {**open_ended, "cpu.weight": "1"})
    total = key("/proc/meminfo", "MemTotal:") * 1024
    score = lambda name: {read(f"/proc/{p}/oom_score_adj") for p in processes(group(it, name))}
    same("score of one", score("one"), {str(1000 - 1000 * 32 * MI // total)})
    same("score of two", score("two"), {"999"})


@case("the class of Burstable pods weighs what its pods ask for, not more than a Guaranteed pod beside it")
def _():
    burstable = tree() / "pods/burstable"
    apply(pod("asks", container("main", "exec sleep 100000", resources={"requests": {"cpu": "1"}})))
    running_pod("asks")
    pods = [g for g in burstable.iterdir() if g.is_dir()]
    same("pods", len(pods), 2)
    asked = sum(int(read(g / "cpu.weight")) for g in pods)
    wait("it weighs both", lambda: int(read(burstable / "cpu.weight")) == asked)
    pinnace("delete", "pod", "asks", "--grace-period=1")
    wait("it weighs the one that is left", lambda: read(burstable / "cpu.weight") == shares(100))


@case("a BestEffort pod weighs least and dies first")
def _():
    apply(pod("besteffort", container("main", "exec sleep 100000")))
    it = running_pod("besteffort")
    same("parent", group(it).parent, tree() / "pods/besteffort")
    same("pod's weight", read(group(it) / "cpu.weight"), "1")
    same("class's weight", read(group(it).parent / "cpu.weight"), "1")
    same("score", {read(f"/proc/{p}/oom_score_adj") for p in processes(group(it))}, {"1000"})


@case("scores and limits of the daemon and the shims stay theirs")
def _():
    same("daemon", read(f"/proc/{main_pid()}/oom_score_adj"), "-900")
    same("shims", {read(f"/proc/{p}/oom_score_adj") for p in processes(tree() / "shims")}, {"-999"})
    apply(pod("ulimits", container("main", "ulimit -n; ulimit -Hn; ulimit -c; grep -E 'Sig(Blk|Ign)' /proc/self/status"), restartPolicy="Never"))
    wait("pod ulimits is done", lambda: get("pod", "ulimits")["status"]["phase"] == "Succeeded")
    same("ulimits", pinnace("logs", "ulimits").split()[:3], ["1024", "524288", "0"])
    same("signals", {int(w, 16) for w in pinnace("logs", "ulimits").split()[4::2]}, {0})


@case("a container over its memory is OOMKilled: itself, as a whole, and nobody else")
def _():
    # The first process is not the one that eats.
    eater = container("eater", "(sleep 100000 & tail /dev/zero); sleep 100000", **quota(memory="24Mi"))
    apply(pod("hungry", eater, container("calm", "exec sleep 100000"), restartPolicy="Never"))
    before = processes(group(get("pod", "guaranteed")))
    ended = lambda: status(get("pod", "hungry"), "eater").get("state", {}).get("terminated")
    end = wait("eater is killed", ended)
    same("reason and code", (end["reason"], end["exitCode"]), ("OOMKilled", 137))
    assert is_running(get("pod", "hungry"), "calm"), "the container beside it runs on"
    same("another pod", processes(group(get("pod", "guaranteed"))), before)
    row = pinnace("get", "pod", "hungry", "--no-headers").split()
    same("row", row[1:3], ["1/2", "OOMKilled"])
    described = pinnace("describe", "pod", "hungry")
    assert "OOMKilled" in described and "137" in described, described
    assert not list(group(get("pod", "hungry")).glob("eater")), "nothing of it is left"


@case("restarted after an OOM kill, with the reason on record")
def _():
    apply(pod("again", container("main", "[ $PINNACE_ATTEMPT = 0 ] && tail /dev/zero; sleep 100000", **quota(memory="24Mi"))))
    it = wait("pod again runs again", lambda: (p := get("pod", "again")) and is_running(p) and restarts(p) == 1 and p)
    same("last state", status(it)["lastState"]["terminated"]["reason"], "OOMKilled")


@case("cpu.max throttles")
def _():
    apply(pod("busy", container("main", "while :; do :; done", **quota(cpu="100m", memory="16Mi"))))
    it = running_pod("busy")
    wait("it is throttled", lambda: key(group(it, "main") / "cpu.stat", "nr_throttled") > 3)
    pinnace("delete", "pod", "busy", "--grace-period=1")


@case("a fork bomb stops at pod_pids_max, and goes when its pod is deleted")
def _():
    bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
    command = {"command": ["python3", "-c", bomb]}
    apply(pod("bomb", {"name": "main", **command, **quota(cpu="200m", memory="256Mi")}))
    it = running_pod("bomb")
    # The kernel counts the refusal where the fork was tried, below the group that has the bound.
    wait("it meets its bound", lambda: key(group(it, "main") / "pids.events", "max") > 0)
    same("processes of the pod", int(read(group(it) / "pids.current")), 64)
    assert running_pod("guaranteed", 2), "the node answers"
    where = group(it)
    pinnace("delete", "pod", "bomb", "--grace-period=1")
    wait("its group is gone", lambda: not where.exists())


@case("the node answers while a pod without limits burns all CPU and all memory, and only that pod is killed")
def _():
    guaranteed, daemon = processes(group(get("pod", "guaranteed"))), main_pid()
    burn = "for i in 1 2 3 4; do (while :; do :; done) & done; tail /dev/zero"
    apply(pod("hog", container("main", burn), restartPolicy="Never"))
    slowest = 0

    def ended():
        nonlocal slowest
        begun = time.monotonic()
        end = status(get("pod", "hog")).get("state", {}).get("terminated")
        slowest = max(slowest, time.monotonic() - begun)
        return end

    # Until the last page is gone the kernel takes back everybody's; emulated, that lasts for minutes.
    end = wait("it is killed", ended, patience=400)
    print(f"# the slowest answer took {slowest:.1f} s")
    same("reason", end["reason"], "OOMKilled")
    same("the daemon", main_pid(), daemon)
    same("another pod", processes(group(get("pod", "guaranteed"))), guaranteed)
    pinnace("delete", "pod", "hog", "--grace-period=1")


@case("one byte of memory: a clear end, and the next pod starts")
def _():
    apply(pod("byte", container("main", "sleep 100000", **quota(memory="1")), restartPolicy="Never"))
    end = wait("it ends", lambda: status(get("pod", "byte")).get("state", {}).get("terminated"))
    print(f"# {end}")
    assert end["reason"] in ("OOMKilled", "StartError"), end
    assert end["reason"] == "OOMKilled" or "memory limit of 1 bytes is too low" in end["message"], end
    assert end["exitCode"] in (128, 137), end
    apply(pod("after-byte", container("main", "exit 0"), restartPolicy="Never"))
    wait("the next one ends well", lambda: get("pod", "after-byte")["status"]["phase"] == "Succeeded")


@case("deleted pods leave no group behind")
def _():
    names = ["burstable", "ulimits", "hungry", "again", "byte", "after-byte", "place"]
    pinnace("delete", "pod", *names, "--grace-period=1")
    left = lambda: sorted(g.name for c in ["", "burstable", "besteffort"] for g in (tree() / "pods" / c).iterdir() if g.is_dir())
    expected = sorted(["burstable", "besteffort", uid(get("pod", "guaranteed")), uid(get("pod", "besteffort"))])
    wait(f"groups are {expected}", lambda: left() == expected)
