"""The work of a device without clock, network and broker, and what is known of it before its power is cut."""

import json
import os
import pathlib

from lib import *

MEMORY = pathlib.Path("/var/lib/machine-memory.json")
OBJECTS = [
    daemonset("steady", "exec sleep 100000"),
    job("short", "true"),
    job("long", "exec sleep 100000", backoffLimit=0),
    cronjob("hourly", "0 * * * *", "true"),
    cronjob("daily", "0 4 * * *", "true"),
]


def remember():
    MEMORY.write_text(json.dumps({owner: uid(pods_of(owner)[-1]) for owner in ("steady", "long")}))
    os.sync()


def known():
    return json.loads(MEMORY.read_text())


def runs(cron):
    return [j for j in get("jobs") if any(o["name"] == cron for o in j["metadata"].get("ownerReferences", []))]


def stamps(cron):
    return sorted(j["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] for j in runs(cron))
