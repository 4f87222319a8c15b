"""The first boot of a device that has never known the time: work is put on it, then its power is cut."""

from lib import *
import offline

LAST = "cut"


@case("work is under way on a device without clock, network and broker")
def _():
    settings("broker: mqtt://192.0.2.1\nfleet: demo\nmqtt:\n  reconnect_max_s: 2\n")
    install()
    apply(*offline.OBJECTS)
    running_pod_of("steady")
    running_pod_of("long")
    wait("Job short is complete", lambda: is_complete("short"))
    offline.remember()
