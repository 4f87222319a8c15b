"""The boot during a trial: it goes on. Then the package is upgraded, downgraded, removed, installed again and purged."""

from updates import *

DEB, OTHER = PAYLOAD / "pinnace.deb", pathlib.Path("/var/tmp/machine-other.deb")


def other():
    """The same program as a package of another version, made by the distribution's own tool."""
    tree_of = pathlib.Path("/var/tmp/machine-other")
    must(f"dpkg-deb -R {DEB} {tree_of}")
    binary, control = tree_of / "usr/bin/pinnace", tree_of / "DEBIAN/control"
    binary.write_bytes(binary.read_bytes().replace(b"0.1.0", b"0.1.9"))
    control.write_text(control.read_text().replace("Version: 0.1.0", "Version: 0.1.9"))
    unit = tree_of / "etc/pinnace/config.yaml"
    unit.write_text(unit.read_text() + "# A newer release says more.\n")
    must(f"dpkg-deb -Znone -b {tree_of} {OTHER}")


@case("the trial goes on after the reboot, and is over when the broker is back")
def _():
    second = version("second")
    said = wait("the node is up", lambda: sh([lib.PINNACE, "update", "status"]).count("start 2") and told())
    assert short(second) in said["On trial"] and short(second) in said["Running"], said
    running_pod_of("steady", restarted=2)
    must("systemctl start mosquitto")
    wait("nothing is on trial", lambda: "On trial" not in told())
    is_in_force(short(second))


@case("undo goes back to the version before, in place")
def _():
    signed, second = PAYLOAD / "signed", version("second")
    assert short(signed) in told()["Before"], told()
    changes_in_place("--undo", "--within", "4s")
    is_in_force(short(signed))
    changes_in_place("--undo", "--within", "4s")
    is_in_force(short(second))


def change(what, deb, release):
    @case(f"{what} wins over an update: settings that were edited stay, pods keep their processes")
    def _():
        before, was = snapshot(), main_pid()
        assert before, "no pod runs"
        assert "(installed)" not in told()["Running"], told()
        must(f"dpkg --force-confdef --force-confold -i {deb}")
        same("the version", pinnace("version").count(release) > 0, True)
        is_in_force("installed")
        assert release in told()["Running"], told()
        assert main_pid() not in (0, was), "the daemon is another one"
        same("settings", CONFIG.read_text(), EDITED)
        same("pods", snapshot(), before)
        wait("versions are gone", lambda: not list(VERSIONS.iterdir()))


EDITED = CONFIG.read_text() + "labels:\n  edited: here\n"
CONFIG.write_text(EDITED)
other()
change("an upgrade", OTHER, "0.1.9")


@case("the upgraded one is updated in place")
def _():
    changes_in_place("--from", version("third"), "--within", "4s")


change("a downgrade", DEB, "0.1.0")


@case("a daemon that was stopped stays stopped on upgrade")
def _():
    must("systemctl stop pinnace")
    must(f"dpkg --force-confdef --force-confold -i {OTHER}")
    same("state", sh("systemctl is-active pinnace").strip(), "inactive")
    must("systemctl start pinnace")


def nothing_runs():
    same("processes", sh("pgrep -l pinnace"), "")
    same("the pod's process", sh(["pgrep", "-f", "sleep 100000"]), "")
    same("trees", list(CGROUPS.glob("pinnace-*")), [])
    same("unit", must("systemctl show -P LoadState pinnace").strip(), "not-found")
    same("wanted", sh("find /etc/systemd /usr/lib/systemd -name 'pinnace*'"), "")
    same("run", pathlib.Path("/run/pinnace").exists(), False)


@case("the same package once more leaves an update in force")
def _():
    changes_in_place("--from", version("fourth"), "--within", "4s")
    must(f"dpkg --force-confdef --force-confold -i {OTHER}")
    is_in_force(short(version("fourth")))


@case("dpkg -r ends pods and daemon and leaves settings and data alone")
def _():
    must("dpkg -r pinnace")
    nothing_runs()
    same("settings", CONFIG.read_text(), EDITED)
    assert pathlib.Path("/var/lib/pinnace/pinnace.redb").exists(), "the store is kept"


@case("installed again, the node and its pod go on")
def _():
    must(f"dpkg --force-confdef --force-confold -i {DEB}")
    same("enabled", must("systemctl is-enabled pinnace").strip(), "enabled")
    running_pod_of("steady")


@case("dpkg -P leaves nothing")
def _():
    must("dpkg -P pinnace")
    nothing_runs()
    left = "find / -xdev -iname '*pinnace*' -not -path '/proc/*' -not -path '/var/log/journal/*' -not -path '/run/machine/*'"
    same("files", [f for f in sh(left).splitlines() if not f.startswith(("/var/tmp/machine", "/sys"))], [])
