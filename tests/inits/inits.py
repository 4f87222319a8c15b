"""The tarball on a device: installed, started by its init, killed, stopped, changed, shut down, booted again, removed.
inits.py TARBALL INIT=DEBIAN-WITH-IT... Lines of TAP."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from device import PINNACE, Device, wait

INSTALL = "cd /opt/pinnace-*/ && ./install.sh"
CONFIG = "/etc/pinnace/config.yaml"
# Takes three seconds to end in order, which is more than an init grants a program that nobody looks after.
BYE = "trap 'sleep 3; echo bye >>/var/bye; exit 0' TERM; while :; do sleep 1; done"
failed = cases = 0


def case(name, test):
    global failed, cases
    cases += 1
    begun = time.monotonic()
    try:
        test()
        print(f"ok - {name} # {time.monotonic() - begun:.1f} s", flush=True)
    except Exception as e:
        failed += 1
        print(f"not ok - {name}", flush=True)
        for line in f"{type(e).__name__}: {e}\n{scene()}".splitlines():
            print(f"# {line}", flush=True)


def scene():
    try:
        return device.run(f"{PINNACE} get pods; {PINNACE} events; ps -ef 2>/dev/null || ps; journalctl -n 20 --no-pager 2>/dev/null")[1][-3000:] + "\n" + device.console()[-1500:]
    except Exception as e:
        return f"(the device does not answer: {e})"


def same(what, got, expected):
    assert got == expected, f"{what}: expected {expected!r}, got {got!r}"


# What a device is, and how its init is spoken to.


class BusyBox:
    name, init = "busybox", ["/sbin/init"]
    start, stop, restart, reload = (f"/etc/init.d/pinnace {verb}" for verb in ("start", "stop", "restart", "reload"))
    off, reboot = "poweroff", "reboot"
    ends_pods = True

    @staticmethod
    def root(root, _):
        for name in "bin sbin usr/bin usr/sbin etc/init.d proc sys dev run tmp var opt lib lib64".split():
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s"], check=True)
        (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        (root / "etc/inittab").write_text("::sysinit:/bin/hostname device\n")

    @staticmethod
    def is_up():
        return "device" in device.run("hostname")[1]

    @staticmethod
    def take(said):
        """As a user would: the lines that install.sh says."""
        lines = re.findall(r"^ +(::\w+:/etc/init.d/pinnace \w+)$", said, re.M)
        assert len(lines) == 2, said
        device.must("cat >>/etc/inittab", stdin="\n".join(lines) + "\n")
        device.must("kill -HUP 1")

    @staticmethod
    def leave():
        device.must("sed -i '/pinnace/d' /etc/inittab && kill -HUP 1")


class OpenRC:
    name, init = "openrc", ["/sbin/init"]
    start, stop, restart, reload = (f"rc-service pinnace {verb}" for verb in ("start", "stop", "restart", "reload"))
    # As Alpine's inittab goes down, and as Debian's does.
    off, reboot = "openrc shutdown; exec halt -d -f -p", "reboot"
    ends_pods = True

    @staticmethod
    def root(root, debian):
        (root / "etc").mkdir()
        # A hierarchy of version 1 would be the host's too.
        (root / "etc/rc.conf").write_text((debian / "etc/rc.conf").read_text() + '\nrc_cgroup_mode="unified"\n')
        lines = (debian / "etc/inittab").read_text().splitlines(True)
        (root / "etc/inittab").write_text("".join(line for line in lines if "getty" not in line))
        (root / "etc/hostname").write_text("device\n")

    @staticmethod
    def is_up():
        """All of the runlevel has been started."""
        return device.run("rc-status -r")[1].strip() == "default" and device.run("pgrep -x openrc")[0] != 0

    @staticmethod
    def take(said):
        assert "it runs" in said, said

    @staticmethod
    def leave():
        pass


class Systemd:
    # It takes the control groups that it finds; a hierarchy of version 1 would be the host's too.
    name, init = "systemd", ["/bin/sh", "-c", "mount -t cgroup2 none /sys/fs/cgroup && exec /sbin/init"]
    start, stop, restart, reload = (f"systemctl {verb} pinnace" for verb in ("start", "stop", "restart", "reload"))
    off, reboot = "systemctl poweroff", "systemctl reboot"
    # It gives every process 90 seconds: pods are told to end by it, and the node takes in how they did at the next start.
    ends_pods = False

    @staticmethod
    def root(root, debian):
        (root / "etc").mkdir()
        (root / "etc/hostname").write_text("device\n")

    @staticmethod
    def is_up():
        return device.run("systemctl is-system-running")[1].strip() in ("running", "degraded")

    @staticmethod
    def take(said):
        assert "it runs" in said, said

    @staticmethod
    def leave():
        pass


def unpack(root, tarball, below):
    """The tarball; a binary that is not static, as a developer's, with what it is linked to."""
    (root / "opt").mkdir(exist_ok=True)
    subprocess.run(["tar", "-C", root / "opt", "--no-same-owner", "-xf", tarball], check=True)
    binary = next((root / "opt").glob("pinnace-*/pinnace"))
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        if not (below / library.lstrip("/")).exists():
            at = root / library.lstrip("/")
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, at)


# What is seen of the node.


def ready():
    wait("the node answers", device.answers)


def pod(name):
    def look():
        mine = [p for p in device.get("pods") if p["metadata"]["name"].startswith(name)]
        is_up = mine and "running" in mine[0].get("status", {}).get("containerStatuses", [{}])[0].get("state", {})
        return mine[0] if is_up else None

    return wait(f"a pod of {name} runs", look)


def processes():
    """Of each its number, its parent's, the name that it gives itself, and its command line."""
    look = 'for p in /proc/[0-9]*; do echo "${p#/proc/} $(cut -d" " -f4 $p/stat) $(cat $p/comm) $(tr "\\0" " " <$p/cmdline)"; done'
    found = [line.split(maxsplit=3) for line in device.run(look)[1].splitlines() if len(line.split()) > 3]
    return [(int(pid), parent, name, line) for pid, parent, name, line in found if pid.isdigit() and "/proc/[0-9]" not in line]


def pids():
    """The first processes of the DaemonSet's pods, which are children of their shims."""
    all_of_them = processes()
    shims = [str(pid) for pid, _, name, _ in all_of_them if name == "pinnace-shim"]
    return [pid for pid, parent, _, line in all_of_them if "echo bye" in line and parent in shims]


def main_pid():
    """The daemon's; its spawner and the shims have another name."""
    found = [pid for pid, _, name, line in processes() if name == "pinnace" and line.startswith(f"{PINNACE} node")]
    assert len(found) < 2, f"more than one daemon: {found}"
    return found[0] if found else None


DAEMONSET = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "steady"},
    "spec": {
        "selector": {"matchLabels": {"app": "steady"}},
        "template": {
            "metadata": {"labels": {"app": "steady"}},
            "spec": {"terminationGracePeriodSeconds": 20, "containers": [{"name": "main", "command": ["sh", "-c", BYE]}]},
        },
    },
}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "once"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "command": ["sh", "-c", "echo ran >>/var/once"]}]}}},
}


# The cases, in the order of a device's life.


def refused():
    code, said = device.run(f"{INSTALL}", user=1000)
    assert code == 1 and "must run as root" in said, said
    code, said = device.run("cd /opt/pinnace-*/ && mv pinnace p && echo other >pinnace && chmod +x pinnace && ./install.sh; c=$?; mv -f p pinnace; exit $c")
    assert code == 1 and "does not run on this machine" in said, said
    code, said = device.run(f"{INSTALL} --uninstall")
    assert code == 1 and "there is no /usr/local/bin/pinnace" in said, said
    same("files", device.run(f"ls /etc/pinnace {PINNACE} /etc/init.d/pinnace 2>/dev/null")[1], "")


def installed():
    said = device.must(INSTALL)
    assert f"for {kind.name}:" in said, said
    assert "note: no cgroup" not in said, said
    kind.take(said)
    ready()


def tells():
    conditions = {c["type"]: c for c in device.get("nodes")[0]["status"]["conditions"]}
    limits = conditions["LimitsEnforced"]
    same("LimitsEnforced", limits["status"], "False")
    assert "memory" in limits["message"], limits
    print("#", limits["message"])


def works():
    device.must([PINNACE, "apply", "-f", "-"], stdin=json.dumps(DAEMONSET) + "\n---\n" + json.dumps(JOB))
    pod("steady")
    wait("the Job is complete", lambda: device.get("jobs")[0]["status"].get("succeeded"))


def undisturbed(change, comes_back=True):
    """What is done to the daemon leaves the pods their processes; another daemon runs then."""
    before, was = pids(), main_pid()
    assert before and was, (before, was)
    change(was)
    if comes_back:
        wait("another daemon runs", lambda: main_pid() not in (None, was) and device.answers())
    same("the pods' processes", pids(), before)


def killed():
    for _ in range(2):
        undisturbed(lambda was: device.must(f"kill -9 {was}"))


def reloaded():
    device.must(f"cat >>{CONFIG}", stdin="labels:\n  disk: ssd\n")
    was = main_pid()
    device.must(kind.reload)
    wait("the label", lambda: device.get("nodes")[0]["metadata"]["labels"].get("disk") == "ssd")
    same("the daemon", main_pid(), was)


def stopped():
    def stop(_):
        device.must(kind.stop)
        same("daemon", main_pid(), None)
        time.sleep(3)
        same("daemon after three seconds", main_pid(), None)

    undisturbed(stop, comes_back=False)
    before, begun = pids(), time.monotonic()
    device.must(kind.start)
    ready()
    assert time.monotonic() - begun < 30, "a start takes seconds"
    same("the pods' processes", pids(), before)
    undisturbed(lambda _: device.must(kind.restart))


def again():
    device.must(f"echo '# edited' >>{CONFIG}")
    before = device.must(f"cat {CONFIG}")
    said = []
    undisturbed(lambda _: said.append(device.must(INSTALL)))
    assert "stays as it is" in said[0], said
    same("settings", device.must(f"cat {CONFIG}"), before)


def statuses():
    assert "started" in device.must("rc-service pinnace status")
    assert re.search(r"pinnace +\[ +started", device.must("rc-status default")), device.must("rc-status default")


def goes_down(verb):
    device.must("rm -f /var/bye")
    device.run(verb)
    device.off()
    bye = device.changes / "var/bye"
    same("what the pod did before it ended", bye.exists() and bye.read_text(), "bye\n")
    # The node has taken in how the pod ended, or will.
    same("exit records", len(list((device.changes / "var/lib/pinnace/exits").iterdir())), 0 if kind.ends_pods else 1)


def boots():
    device.boot()
    ready()
    steady = pod("steady")
    same("the Job ran once", device.must("cat /var/once"), "ran\n")
    assert steady["status"]["containerStatuses"][0]["restartCount"] >= 1, steady["status"]
    return steady


def removed():
    said = device.must("/usr/local/lib/pinnace/install.sh --uninstall")
    kind.leave()
    assert "settings and data stay" in said, said
    same("pods", pids(), [])
    wait("nothing runs", lambda: not any(name.startswith("pinnace") for _, _, name, _ in processes()))
    same("files", device.run(f"ls {PINNACE} /usr/local/lib/pinnace /etc/init.d/pinnace /run/pinnace 2>/dev/null")[1], "")
    same("groups", device.run("ls -d /sys/fs/cgroup/pinnace-*")[0] != 0, True)
    assert device.must(f"ls {CONFIG} /var/lib/pinnace/pinnace.redb")


def purged():
    kind.take(device.must(INSTALL))
    ready()
    pod("steady")
    device.must("/usr/local/lib/pinnace/install.sh --uninstall --purge")
    kind.leave()
    left = device.must("find / -xdev -name '*pinnace*' -not -path '/opt/*' -not -path '/proc/*' -not -path '/sys/*'")
    same("files", left, "")


tarball, *roots = sys.argv[1:]
for name, debian in (root.split("=", 1) for root in roots):
    kind = next(kind for kind in (BusyBox, OpenRC, Systemd) if kind.name == name)
    with tempfile.TemporaryDirectory(prefix="inits-") as work:
        work = pathlib.Path(work)
        own, below = work / "own", pathlib.Path(debian or work / "empty")
        own.mkdir()
        (work / "empty").mkdir()
        kind.root(own, below)
        unpack(own, tarball, below)
        device = Device(f"{own}:{below}", work / "upper", kind.init)
        try:
            device.boot()
            wait("the device is up", kind.is_up)
            say = lambda text: f"{kind.name}: {text}"
            case(say("install.sh refuses what cannot be, and changes nothing"), refused)
            case(say("install.sh installs, and the node runs"), installed)
            case(say("the node says which limits are not enforced"), tells)
            case(say("a DaemonSet's pod and a Job run"), works)
            case(say("a daemon that is killed is started again, pods keep their processes"), killed)
            case(say("reload takes settings without a restart"), reloaded)
            case(say("stop leaves pods running and lasts, start and restart bring the node back"), stopped)
            if kind is OpenRC:
                case(say("status tells"), statuses)
            case(say("installed again: settings stay, pods keep their processes, another daemon runs"), again)
            case(say("power off gives a pod its grace period"), lambda: goes_down(kind.off))
            case(say("the next boot starts the node, and the pod goes on"), boots)
            case(say("a reboot too"), lambda: goes_down(kind.reboot))
            case(say("and the boot after it"), boots)
            case(say("uninstalled: pods end, settings and data stay"), removed)
            case(say("installed again the pod goes on; purged, nothing is left"), purged)
        finally:
            device.end()
print(f"1..{cases}")
sys.exit(1 if failed else 0)
