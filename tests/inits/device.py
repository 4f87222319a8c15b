"""A device in namespaces: an init system as process 1, a root that keeps what is written, control groups below one of its
own. Knows nothing of what is tested on it."""

import json
import os
import pathlib
import shutil
import subprocess
import time
import uuid

HERE = pathlib.Path(__file__).parent
PATIENCE_S = 120
PINNACE = "/usr/local/bin/pinnace"
NAMESPACES = ["--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup"]


def unified():
    """Where the host has cgroup v2."""
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return pathlib.Path(line.split()[1])
    raise SystemExit("this host has no cgroup v2")


class Device:
    def __init__(self, lower, work, init):
        # `lower` is as the overlay file system takes it; what the device has written is below `changes`.
        self.lower, self.upper, self.init = lower, work, init
        self.changes = work / "changes"
        self.group = unified() / f"inits-{os.getpid()}"
        self.process = None
        for name in ("root", "changes", "work"):
            (work / name).mkdir(parents=True)

    def boot(self):
        self.group.mkdir(exist_ok=True)
        log = open(self.upper / "console", "ab")
        command = ["unshare", *NAMESPACES, "--fork", "--kill-child", HERE / "enter", self.lower, self.upper, str(uuid.uuid4()), *self.init]
        # So systemd knows that devices are not its own to look for.
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "TERM": "linux", "container": "pinnace-test"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self._join, env=clean, start_new_session=True
        )
        wait("the device has a first process", self._first)
        self.one = self._first()
        wait("its init runs", lambda: os.path.realpath(f"/proc/{self.one}/root") != "/")

    def _join(self):
        (self.group / "cgroup.procs").write_text("0")

    def _first(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert self.process.poll() is None, f"the device did not come up: {self.console()}"
        return int(children[0]) if children else None

    def console(self):
        return (self.upper / "console").read_text(errors="replace")[-3000:]

    def run(self, command, stdin=None, user=None):
        """A command on the device: its exit code and all that it wrote. Ends what hangs."""
        who = ["--setuid", str(user), "--setgid", str(user)] if user else []
        enter = ["nsenter", "-t", str(self.one), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", *who, "--"]
        shell = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        with open(self.upper / "said", "w+") as said:
            # A file, not a pipe: what a service's start leaves running may hold it open.
            done = subprocess.run(
                enter + shell,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=said,
                stderr=said,
                timeout=PATIENCE_S,
                text=True,
                preexec_fn=self._join,
                env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"},
            )
            said.seek(0)
            return done.returncode, said.read()

    def must(self, command, **how):
        code, said = self.run(command, **how)
        assert code == 0, f"{command} ended with {code}: {said}"
        return said

    def get(self, *what):
        got = json.loads(self.must([PINNACE, "get", *what, "-o", "json"]))
        return got["items"] if "items" in got else got

    def answers(self):
        return self.run([PINNACE, "get", "nodes"])[0] == 0

    def off(self):
        """Waits until the machine has gone down by itself."""
        self.process.wait(timeout=PATIENCE_S)
        self.clear()

    def clear(self):
        for at in sorted(self.group.rglob("*/"), key=lambda p: -len(p.parts)):
            wait(f"{at} is empty", lambda at=at: remove(at))
        wait(f"{self.group} is empty", lambda: remove(self.group))

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.group.exists():
            self.clear()
        shutil.rmtree(self.upper, ignore_errors=True)


def remove(group):
    try:
        group.rmdir()
        return True
    except OSError:
        return False


def wait(what, true, patience=PATIENCE_S):
    end = time.monotonic() + patience
    while True:
        last = true()
        if last:
            return last
        assert time.monotonic() < end, f"still not after {patience} s: {what} (last seen: {last!r})"
        time.sleep(0.2)
