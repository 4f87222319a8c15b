"""The first boot: install as a user would, then everything that does not need another boot."""

import os

from lib import *

LAST = "reboot"


@case("systemd-analyze finds nothing wrong with the unit")
def _():
    install_only = f"install -m 0644 {HERE}/../pinnace.service {HERE}/../pinnace.slice /etc/systemd/system/ && install -m 0755 {HERE}/../pinnace /usr/local/bin/"
    must(install_only)
    settings("bounds:\n  pod_pids_max: 64\nlabels:\n  disk: ssd\n")
    # Settings of a later systemd (254) than the guest's, which this one says that it passes over.
    later = ("RestartSteps", "RestartMaxDelaySec")
    said = must("systemd-analyze verify /etc/systemd/system/pinnace.service").splitlines()
    known = [line for line in said if "Unknown key" in line and any(f"'{key}'" in line for key in later)]
    same("systemd-analyze verify", [line for line in said if line not in known], [])


@case("systemctl enable --now returns when the node is ready")
def _():
    install()
    same("state", must("systemctl is-active pinnace").strip(), "active")
    same("name", node()["metadata"]["name"], "machine")
    same("socket's mode", oct(os.stat("/run/pinnace/pinnace.sock").st_mode & 0o777), "0o660")


@case("the node enforces limits, and knows the time")
def _():
    same("LimitsEnforced", condition(node(), "LimitsEnforced")["status"], "True")
    same("ClockTrusted", condition(node(), "ClockTrusted")["status"], "True")


@case("daemon, shims and pods have their places, and pods the controllers")
def _():
    apply(pod("place", container("main", "exec sleep 100000")))
    place = running_pod("place")
    unit = "/pinnace.slice/pinnace.service"
    assert read(f"/proc/{main_pid()}/cgroup").startswith("0::" + unit), read(f"/proc/{main_pid()}/cgroup")
    for below in [tree(), tree() / "pods", group(place).parent, group(place)]:
        have = read(below / "cgroup.subtree_control").split()
        assert {"cpu", "memory", "pids"} <= set(have), f"{below}: {have}"
    # The spawner and one shim.
    same("processes in shims", len(processes(tree() / "shims")), 2)
    same("processes of the pod", len(processes(group(place))), 1)
    # systemctl kill and systemd's own stop reach what is in the unit's group, and nothing else.
    same("processes of the unit", processes(CGROUPS / unit.strip("/")), [main_pid()])


import limits
import restarts
import broker
import user
import before_reboot
