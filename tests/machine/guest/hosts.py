"""A host that cannot limit everything: the node runs all the same, and says what is missing."""

import os

from lib import *


def check(missing):
    """`missing`: controllers that this host does not offer to pods."""

    @case("the node comes up and says what is not enforced")
    def _():
        install()
        said = condition(node(), "LimitsEnforced")
        print(f"# {said['message']}")
        same("LimitsEnforced", said["status"], "False")
        for controller in ("cpu", "memory", "pids"):
            same(f"{controller} is named", controller in said["message"].partition(" are not enforced")[0], controller in missing)

    @case("a pod with limits runs, and its events say which are not enforced")
    def _():
        apply(pod("limited", container("main", "exec sleep 100000", **quota(cpu="300m", memory="20Mi"))))
        it = running_pod("limited")
        told = [e["message"] for e in events_of("limited") if e["type"] == "Warning"]
        print(f"# {told}")
        for controller in {"cpu", "memory"}:
            same(f"{controller} is named", any(controller in t for t in told), controller in missing)
        have = {"cpu": "cpu.max", "memory": "memory.max"}
        for controller, file in have.items():
            same(f"{file} is there", (group(it, "main") / file).exists(), controller not in missing)

    @case("work is done, pods are tracked and deleted as a whole")
    def _():
        apply(job("work", "echo done"))
        wait("the Job is complete", lambda: is_complete("work"))
        # A daemon that leaves its parent is in the pod all the same.
        apply(pod("escapes", container("main", "setsid sh -c 'sleep 100000 & exec sleep 100000' & exec sleep 100000")))
        it = running_pod("escapes")
        where = group(it)
        wait("all are there", lambda: len(processes(where)) == 3)
        mine = processes(where)
        pinnace("delete", "pod", "escapes", "--grace-period=1")
        wait("all of them are gone", lambda: not [p for p in mine if os.path.exists(f"/proc/{p}")])
        assert not where.exists()

    @case("a restart of the daemon leaves pods alone")
    def _():
        before = snapshot()
        must("systemctl restart pinnace")
        same("pods", snapshot(), before)

    @case("with limits: required such a pod does not start, and says why")
    def _():
        settings("limits: required\n")
        must("systemctl restart pinnace")
        apply(pod("picky", container("main", "exec sleep 100000", **quota(memory="20Mi"))))
        waiting = lambda: status(get("pod", "picky")).get("state", {}).get("waiting", {})
        wait("it is refused", lambda: waiting().get("reason") == "CreateContainerConfigError")
        assert "memory" in waiting()["message"] and "limits: required" in waiting()["message"], waiting()
        assert is_running(get("pod", "limited")), "what runs is left alone"
        settings("")
        must("systemctl restart pinnace")
        running_pod("picky")
