"""The boot after the package was installed: other versions take over in place, or give way. Ends by a reboot during a trial."""

from broker_seen import is_connected
from updates import *

LAST = "reboot"
# A fraction of what the unit has, and shorter than the trial: it is the watchdog that ends what hangs.
IMPATIENT = "[Service]\nWatchdogSec=30\nTimeoutStartSec=30\n"
DROP_IN = pathlib.Path("/etc/systemd/system/pinnace.service.d/impatient.conf")


@case("after a reboot the node and its pod run")
def _():
    wait("the node is up", lambda: sh("systemctl is-active pinnace").strip() == "active")
    running_pod_of("steady", restarted=1)
    must("systemctl start mosquitto")
    DROP_IN.parent.mkdir()
    DROP_IN.write_text(IMPATIENT)
    CONFIG.write_text(CONFIG.read_text() + "broker: mqtt://127.0.0.1\nfleet: demo\nmqtt: {reconnect_max_s: 2}\n")
    must("systemctl daemon-reload && systemctl restart pinnace")
    wait("the node is connected", is_connected)


FIRST = version("first")


@case("an update takes over in place: the same process for systemd, the same pods, a session again")
def _():
    changes_in_place("--from", FIRST, "--within", "20s")
    is_in_force(short(FIRST))
    assert is_connected(), "there was a session before"
    assert INSTALLED.read_bytes() + b"first" == FIRST.read_bytes(), "the package's file is not written to"


@case("the new version feeds the watchdog of the old one")
def _():
    fed = lambda: int(must("systemctl show -P WatchdogTimestampMonotonic pinnace"))
    begun = fed()
    wait("the watchdog is fed", lambda: fed() > begun)


@case("a restart keeps the update in force")
def _():
    pods, was = snapshot(), main_pid()
    must("systemctl restart pinnace")
    assert main_pid() not in (0, was), "the daemon is another one"
    is_in_force(short(FIRST))
    same("pods", snapshot(), pods)


def gives_way(what, bad, within, bites):
    @case(what)
    def _():
        pods, restarts_before = snapshot(), int(unit()[3])
        gave_way = f"9.9.9 ({short(bad)}) gave way, 0.1.0 ({short(FIRST)}) is in force: it was started 2 times and did not come up"
        refused(gave_way, "--from", bad, "--within", within)
        is_in_force(short(FIRST))
        assert "gave way" in told()["Last"], told()
        state, _, _, started = unit()
        same("state, starts of systemd", (state, int(started) - restarts_before), ("active", 2))
        same("pods", snapshot(), pods)
        assert [e for e in get("events") if e["reason"] == "UpdateReturned" and short(bad) in e["message"]], "no event"
        same("times that the watchdog bit", sh("journalctl -u pinnace -o cat").count("Watchdog timeout"), bites)


gives_way("a version that ends at once is given up after its second start", version("dies", PAYLOAD / "bad"), "20s", bites=0)
gives_way("a version that hangs is ended by the watchdog, and given up as well", version("hang", PAYLOAD / "bad"), "30s", bites=1)


@case("with a key in the settings a good signature is asked for, after a reload")
def _():
    must(f"rm -r {DROP_IN.parent} && systemctl daemon-reload && systemctl restart pinnace")
    key = (PAYLOAD / "release-key.pub").read_text().strip()
    CONFIG.write_text(CONFIG.read_text() + f"update_keys:\n- {key}\n")
    must("systemctl reload pinnace")
    signed, signature, other = PAYLOAD / "signed", PAYLOAD / "signed.sig", version("unsigned")
    # A reload goes on after systemctl; before it a file that is no program is refused for that.
    asked = lambda: "a signature is needed" in sh([lib.PINNACE, "update", "--from", str(PAYLOAD / "pinnace.service")])
    wait("the key counts", asked)
    refused("a signature is needed", "--from", other)
    refused("is not of this file", "--from", other, "--signature", signature)
    is_in_force(short(FIRST))
    said = changes_in_place("--from", signed, "--signature", signature, "--within", "4s")
    assert 'signed by "release key"' in said, said
    is_in_force(short(signed))
    CONFIG.write_text(CONFIG.read_text().split("update_keys:")[0])
    must("systemctl reload pinnace")
    wait("no key counts", lambda: not asked())


@case("a trial that finds no broker is not over when the machine goes down")
def _():
    # Stopped, so that the session stays until it is given up; then nobody answers the version on trial.
    must("systemctl kill -s STOP mosquitto")
    assert is_connected(), "a session is asked for where there is one"
    pinnace("update", "--from", str(version("second")), "--within", "1h", "--no-wait")
    wait("the trial runs", lambda: "start 1, within 3600 s, must reach the broker" in sh([lib.PINNACE, "update", "status"]))
