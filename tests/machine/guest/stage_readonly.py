"""A root file system that is read-only, as on many devices; the data are elsewhere."""

from lib import *
import disks


@case("without a place to write it waits for one and says so; with one it comes by itself")
def _():
    same("root", [w.split()[3].split(",")[0] for w in read("/proc/mounts").splitlines() if w.split()[1] == "/"], ["ro"])
    # The boot before has left a store there: this disk was a node's.
    wait("the API says why", lambda: "waits for its disk" in sh([PINNACE, "get", "nodes"], timeout=20))
    log = must("journalctl -b -u pinnace --no-pager -o cat")
    print("# " + "\n# ".join(sorted({line[:200] for line in log.splitlines()})[:6]))
    assert "ead-only file system" in log, log[-500:]
    must(f"mount -t tmpfs -o mode=0700 data {disks.DATA}")
    wait("the node answers", lambda: "machine" in sh([PINNACE, "get", "nodes"], timeout=20))


@case("pods run, with limits, logs and all")
def _():
    apply(daemonset("steady", "exec sleep 100000"), job("work", "echo done"))
    running_pod_of("steady")
    wait("a Job runs", lambda: is_complete("work"))
    same("log", pinnace("logs", "job/work").strip(), "done")
    apply(pod("limited", container("main", "exec sleep 100000", **quota(cpu="300m", memory="20Mi"))))
    same("memory.max", read(group(running_pod("limited"), "main") / "memory.max"), str(20 * 1024 * 1024))
