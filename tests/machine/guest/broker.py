"""A real broker on the same machine: a push is a retained message, and what becomes of the broker changes nothing."""

import json
import pathlib

from broker_seen import is_connected
from lib import *


def publish(slot, *objects):
    text = pathlib.Path("/run/machine-set.yaml")
    text.write_text("\n---\n".join(json.dumps(o) for o in objects))
    must(f"mosquitto_pub -r -q 1 -f {text} -t pn/demo/d/all/{slot}")


@case("mosquitto_pub -r -f is all that a push takes")
def _():
    must("systemctl start mosquitto")
    settings("bounds:\n  pod_pids_max: 64\nlabels:\n  disk: ssd\nbroker: mqtt://127.0.0.1\nfleet: demo\nmqtt:\n  reconnect_max_s: 2\n")
    must("systemctl restart pinnace")
    publish("work", daemonset("pushed", "exec sleep 100000"), job("pushed-job", "echo from the broker"))
    running_pod_of("pushed")
    wait("the Job is complete", lambda: is_complete("pushed-job"))
    same("log", pinnace("logs", "job/pushed-job").strip(), "from the broker")


def nothing_restarts(what, act):
    @case(what)
    def _():
        before, jobs = snapshot(), uid(get("job", "pushed-job"))
        act()
        wait("the node is connected", is_connected)
        # What comes in order shows that all before it was taken in.
        publish("probe", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"after-{len(what)}"}, "data": {}})
        wait("the probe has come", lambda: [c for c in get("configmaps") if c["metadata"]["name"] == f"after-{len(what)}"])
        same("pods", snapshot(), before)
        same("job", uid(get("job", "pushed-job")), jobs)


def wipe():
    must("systemctl stop mosquitto && rm -f /var/lib/mosquitto/mosquitto.db && systemctl start mosquitto")


nothing_restarts("a broker that restarts restarts nothing", lambda: must("systemctl restart mosquitto"))
nothing_restarts("a broker that is killed restarts nothing", lambda: must("systemctl kill -s KILL mosquitto; systemctl start mosquitto"))
nothing_restarts("a broker that lost everything restarts nothing", wipe)


@case("a deletion is pushed like everything else")
def _():
    publish("work", job("pushed-job", "echo from the broker"))
    wait("DaemonSet pushed is gone", lambda: not [d for d in get("daemonsets") if d["metadata"]["name"] == "pushed"])
    must("systemctl stop mosquitto")
