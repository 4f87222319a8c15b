"""An ordinary user's node: it runs with what the host allows, and says what it does not enforce."""

import json
import os
import pathlib
import subprocess

from lib import *

AS_USER = "setpriv --reuid=someone --regid=someone --init-groups env -i PATH=/usr/bin:/bin HOME=/home/someone"
BUS = "XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus"


def ask(run, *verb, stdin=None):
    return must([PINNACE, "--socket", f"{run}/pinnace.sock", *verb], stdin=stdin)


def live(run, command):
    """Starts the user's node, has a pod with limits and a Job run on it, and gives back what the node says of itself."""
    log = open(f"/run/machine-user-{os.path.basename(run)}.log", "w")
    daemon = subprocess.Popen(f"exec {AS_USER} {BUS} {command}", shell=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait("the user's node answers", lambda: os.path.exists(f"{run}/pinnace.sock"))
        limited = pod("limited", container("main", "exec sleep 100000", **quota(cpu="100m", memory="32Mi")))
        work = job("work", "id -u")
        ask(run, "apply", "-f", "-", stdin=json.dumps(limited) + "\n---\n" + json.dumps(work))
        ask(run, "wait", "--for=condition=complete", "job/work", "--timeout=120s")
        same("user", ask(run, "logs", "job/work").strip(), "1000")
        wait("the pod runs", lambda: '"running"' in ask(run, "get", "pod", "limited", "-o", "json"))
        said = json.loads(ask(run, "get", "nodes", "-o", "json"))["items"][0]
        events = [e["message"] for e in json.loads(ask(run, "get", "events", "-o", "json"))["items"]]
        ask(run, "delete", "pod", "limited", "--grace-period=1")
        return condition(said, "LimitsEnforced"), events
    finally:
        must(f"{AS_USER} pkill -TERM -u someone -x pinnace")
        daemon.wait(PATIENCE_S)


@case("without delegation it runs, and says that nothing is limited")
def _():
    said, events = live("/tmp/bare", f"{PINNACE} node --data-dir /home/someone/bare --run-dir /tmp/bare --name bare")
    print(f"# {said['message']}")
    same("LimitsEnforced", said["status"], "False")
    assert "no cgroup is delegated" in said["message"], said
    assert any("memory" in e and "cpu" in e for e in events), events


@case("in a delegated scope it limits what the user's manager passes on, and says what not")
def _():
    must("systemctl start user@1000.service")
    wait("the user's bus is there", lambda: os.path.exists("/run/user/1000/bus"))
    scope = "systemd-run --user --scope --unit=pn -p Delegate=yes --quiet"
    node = f"{scope} {PINNACE} node --data-dir /home/someone/scope --run-dir /tmp/scope --name scope"
    said, events = live("/tmp/scope", node)
    print(f"# {said}")
    offered = read(f"{CGROUPS}/user.slice/user-1000.slice/user@1000.service/cgroup.subtree_control").split()
    missing = [c for c in ("cpu", "memory", "pids") if c not in offered]
    same("LimitsEnforced", said["status"], "False" if missing else "True")
    for controller in ("cpu", "memory", "pids"):
        same(f"{controller} is named", controller in said["message"].partition(" are not enforced")[0], controller in missing)
    must("systemctl stop user@1000.service")
