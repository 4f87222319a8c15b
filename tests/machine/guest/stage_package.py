"""A device on which the package is installed."""

import grp
import os

import lib
from lib import *

LAST = "reboot"
lib.PINNACE = "/usr/bin/pinnace"
DEB = HERE.parent / "pinnace.deb"


@case("dpkg -i leaves a node that runs, with a slice, and a socket for its group")
def _():
    must(f"dpkg -i {DEB}")
    same("state", must("systemctl is-active pinnace").strip(), "active")
    same("enabled", must("systemctl is-enabled pinnace").strip(), "enabled")
    same("group", read(f"/proc/{main_pid()}/cgroup"), "0::/pinnace.slice/pinnace.service")
    same("socket's group", grp.getgrgid(os.stat("/run/pinnace/pinnace.sock").st_gid).gr_name, "pinnace")
    same("verify", sh("systemd-analyze verify /usr/lib/systemd/system/pinnace.slice"), "")
    said = sh("systemd-analyze verify /usr/lib/systemd/system/pinnace.service")
    # Settings of systemd 254 that an older one passes over.
    same("verify", [l for l in said.splitlines() if "RestartSteps" not in l and "RestartMaxDelaySec" not in l], [])


@case("a DaemonSet's pod runs, and nothing of the daemon's score is left in it")
def _():
    apply(daemonset("steady", "exec sleep 100000"))
    steady = running_pod_of("steady")
    pid = processes(group(steady))[0]
    assert int(read(f"/proc/{pid}/oom_score_adj")) >= 0, read(f"/proc/{pid}/oom_score_adj")
    same("no_new_privs and seccomp", [key(f"/proc/{pid}/status", k) for k in ("NoNewPrivs:", "Seccomp:")], [0, 0])
    for space in ("mnt", "net", "ipc", "uts", "pid"):
        same(space, os.readlink(f"/proc/{pid}/ns/{space}"), os.readlink(f"/proc/1/ns/{space}"))
