"""Other versions for `pinnace update`: another version is the same program with some bytes behind its end."""

import hashlib
import os
import pathlib
import subprocess

import lib
from lib import *

lib.PINNACE = "/usr/bin/pinnace"
PAYLOAD = HERE.parent
INSTALLED = pathlib.Path("/usr/bin/pinnace")
CONFIG = pathlib.Path("/etc/pinnace/config.yaml")
VERSIONS = pathlib.Path("/var/lib/pinnace/versions")


def version(name, of=INSTALLED):
    """A file that is another version; the same one for the same name, in every boot."""
    file = pathlib.Path(f"/var/tmp/machine-{name}")
    file.write_bytes(of.read_bytes() + name.encode())
    file.chmod(0o755)
    return file


def short(file):
    """As pinnace calls it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def told():
    """What `pinnace update status` says, by its names."""
    return {name: text.strip() for name, text in (line.split(":", 1) for line in pinnace("update", "status").splitlines())}


def is_in_force(mark):
    """`mark`: the beginning of a version's SHA-256, or `installed`."""
    said = told()
    assert f"({mark})" in said["Running"] and f"({mark})" in said.get("In force", f"({mark})"), f"{mark}: {said}"
    where = os.readlink(f"/proc/{main_pid()}/exe")
    same("the daemon's program", where, str(INSTALLED) if mark == "installed" else f"{VERSIONS}/{program_of(mark)}/pinnace")


def program_of(mark):
    found = [d.name for d in VERSIONS.iterdir() if d.name.startswith(mark)]
    assert len(found) == 1, f"{mark} in {VERSIONS}: {found}"
    return found[0]


def unit():
    """Of the unit: its state, the daemon's process, and how often systemd had to start it again."""
    return [must(f"systemctl show -P {name} pinnace").strip() for name in ("ActiveState", "SubState", "MainPID", "NRestarts")]


def refused(why, *verb):
    done = subprocess.run([lib.PINNACE, "update", *map(str, verb)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and why in done.stderr, f"{verb}: {done}"


def changes_in_place(*verb):
    """Another version comes into force: for systemd and for the pods nothing has happened."""
    before, pods = unit(), snapshot()
    assert before[:2] == ["active", "running"] and pods, f"{before} {pods}"
    said = pinnace("update", *map(str, verb))
    assert "is in force; 1 container kept its process" in said, said
    same("unit", unit(), before)
    same("pods", snapshot(), pods)
    return said
