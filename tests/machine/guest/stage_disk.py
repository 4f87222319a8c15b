"""The node's disk is full, is made read-only, and fails. Pods go on, and the node comes back by itself or says what it waits
for."""

import os
import pathlib
import time

from lib import *
import disks

LAST = "cut"
GO, SIGNS = pathlib.Path("/run/machine-go"), pathlib.Path("/run/machine-signs")
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"k": "v"}}


def answers():
    return "machine" in sh([PINNACE, "get", "nodes"], timeout=20)


def once(true):
    """Whether it is so; no, while the daemon is down."""

    def look():
        try:
            return true()
        except AssertionError:
            return False

    return look


def counted(name):
    """Signs when it begins, waits until it may, signs when it has done its work."""
    sign = lambda what: f"echo {what} {name} >> {SIGNS}; "
    return job(name, sign("begin") + f"while [ ! -e {GO}-{name} ]; do sleep 0.2; done; " + sign("done"), "Never", backoffLimit=0)


def signs(name):
    return [line.split()[0] for line in SIGNS.read_text().splitlines() if line.split()[1] == name]


@case("the node has its data on a disk of its own")
def _():
    global loop
    settings("{}\n")
    loop = disks.make()
    install()
    apply(daemonset("steady", "exec sleep 100000"), *[counted(f"work-{what}") for what in ("full", "readonly", "unread", "failing")])
    for owner in ("steady", "work-full", "work-readonly", "work-unread", "work-failing"):
        running_pod_of(owner)


def comes_through(what, name, hurt, heal):
    """The Job `name` does its work while the disk is hurt."""

    @case(f"{what}: pods go on, the node says what is wrong, and comes back by itself; work done meanwhile counts once")
    def _():
        steady = wait("the node answers", once(lambda: processes(group(pods_of("steady")[-1]))))
        since = must("date '+%Y-%m-%d %H:%M:%S'").strip()
        hurt()
        said = sh([PINNACE, "apply", "-f", "-"], stdin=json.dumps({**MAP, "data": {"k": what * 4000}}))
        print(f"# {said.strip()[:300]}")
        pathlib.Path(f"{GO}-{name}").touch()
        wait("the work is done", lambda: signs(name) == ["begin", "done"])
        time.sleep(15)
        same("processes of the DaemonSet's pod", [p for p in steady if not os.path.exists(f"/proc/{p}")], [])
        log = sh(f"journalctl -u pinnace --since '{since}' --no-pager -o cat")
        print("# " + "\n# ".join(sorted({line[:200] for line in log.splitlines()})[:8]))
        print("#", sh([PINNACE, "get", "pods"], timeout=20).strip()[:300])
        heal()
        wait("the node answers", answers)
        # A daemon that has died of it five times holds still for five minutes, and then tries again.
        wait("the Job is complete", once(lambda: is_complete(name)), patience=420)
        same("its work", signs(name), ["begin", "done"])
        same("processes of the DaemonSet's pod", processes(group(pods_of("steady")[-1])), steady)
        apply({**MAP, "data": {"k": what}})
        must("systemctl is-active pinnace")


def fill():
    sh(f"dd if=/dev/zero of={disks.DATA}/filler bs=1M; dd if=/dev/zero of={disks.DATA}/filler2 bs=512")
    print("#", must(f"df --output=avail {disks.DATA}").split()[-1], "KiB left")


comes_through("a full disk", "work-full", fill, lambda: must(f"rm {disks.DATA}/filler*"))


def read_only():
    # The daemon and the shims have files open for writing: what a file system does by itself on an error is forced here.
    must("echo u > /proc/sysrq-trigger")
    wait("it is read-only", lambda: not os.access(disks.DATA, os.W_OK))
    # The kernel did it to all of them; the root has the image of the data disk.
    must("mount -o remount,rw /")


comes_through("a disk that is read-only", "work-readonly", read_only, lambda: must(f"mount -o remount,rw {disks.DATA}"))


def waits():
    said = wait("the API says why", lambda: (t := sh([PINNACE, "get", "pods"], timeout=20)) and "waits for its disk" in t and t)
    print("#", said.strip())


def unread():
    # The file may be whole: the good copy must not take its place.
    disks.bad_sectors(disks.DATA / "pinnace.redb", loop)
    must("systemctl kill -s KILL pinnace")
    waits()


def read_again():
    same("files that were moved aside", [f.name for f in disks.DATA.iterdir() if "damaged" in f.name], [])
    disks.whole(loop)


comes_through("a database whose sectors cannot be read", "work-unread", unread, read_again)


def group_of_steady(steady):
    """The node may not answer: the group of a process that is known."""
    return CGROUPS / read(f"/proc/{steady[0]}/cgroup").split("::/")[1]


@case("a disk whose writes fail: pods go on, the node waits for it and says what is wrong")
def _():
    steady = wait("the node answers", once(lambda: processes(group(pods_of("steady")[-1]))))
    since = must("date '+%Y-%m-%d %H:%M:%S'").strip()
    disks.table(f"0 {disks.SECTORS} flakey {loop} 0 0 100000 1 error_writes")
    print("#", sh([PINNACE, "apply", "-f", "-"], stdin=json.dumps({**MAP, "data": {"k": "failing" * 4000}})).strip()[:300])
    pathlib.Path(f"{GO}-work-failing").touch()
    wait("the work is done", lambda: signs("work-failing") == ["begin", "done"])
    time.sleep(20)
    same("processes of the DaemonSet's pod", processes(group_of_steady(steady)), steady)
    log = sh(f"journalctl -u pinnace --since '{since}' --no-pager -o cat")
    print("# " + "\n# ".join(sorted({line[:200] for line in log.splitlines()})[:8]))
    assert "error" in log.lower(), "the journal says why"
    # The kernel keeps that file system read-only from its first write error on.
    waits()
    same("unit", sh("systemctl is-active pinnace").strip(), "active")
    pathlib.Path("/run/machine-steady").write_text("\n".join(map(str, steady)))
