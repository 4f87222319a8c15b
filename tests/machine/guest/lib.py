"""What every scenario needs: run a case and say how it went, ask pinnace, wait until something is true."""

import glob
import json
import pathlib
import subprocess
import time
import traceback

HERE = pathlib.Path(__file__).parent
CGROUPS = pathlib.Path("/sys/fs/cgroup")
# Emulation without KVM is 20 to 40 times slower than the device would be: nothing here is about speed.
PATIENCE_S = 120

_failed = 0


def case(name):
    """Runs the function at once, as one line of TAP."""

    def run(test):
        global _failed
        begun = time.monotonic()
        try:
            test()
            print(f"ok - {name} # {time.monotonic() - begun:.1f} s", flush=True)
        except Exception as e:  # whatever goes wrong in a case is its result
            _failed += 1
            print(f"not ok - {name}", flush=True)
            where = traceback.format_exc() if not isinstance(e, AssertionError) else f"{e}\n{_line(e)}"
            for line in (where + "\n" + scene()).splitlines():
                print(f"# {line}", flush=True)

    return run


def _line(e):
    frames = traceback.extract_tb(e.__traceback__)
    return " < ".join(f"{pathlib.Path(f.filename).name}:{f.lineno}" for f in reversed(frames))


def scene():
    """How the node looks: for whoever reads about a failure."""
    if not pathlib.Path(PINNACE).exists():
        return "no binary is installed\n" + sh("journalctl -u pinnace -n 15 --no-pager -o cat")
    shown = ["get pods,jobs,cronjobs,daemonsets -A -o wide".split(), ["events", "-A"]]
    text = "\n".join(sh([PINNACE, *verb], timeout=30) for verb in shown)
    return text[-4000:] + sh("journalctl -u pinnace -n 15 --no-pager -o cat")


def sh(command, timeout=PATIENCE_S, stdin=None, check=False):
    """Both outputs of a command, as one text."""
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        text=True,
        errors="replace",
    )
    assert not check or done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def must(command, **how):
    return sh(command, check=True, **how)


PINNACE = "/usr/local/bin/pinnace"


def pinnace(*verb, stdin=None):
    return must([PINNACE, *verb], stdin=stdin)


def apply(*objects):
    return pinnace("apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in objects))


def get(kind, name=None, *more):
    """One object, or all of a kind."""
    got = json.loads(pinnace("get", kind, *([name] if name else []), *more, "-o", "json"))
    return got if name else got["items"]


def wait(what, true, patience=PATIENCE_S):
    """Until `true()` is; gives back what it gave."""
    end = time.monotonic() + patience
    while True:
        last = true()
        if last:
            return last
        assert time.monotonic() < end, f"still not after {patience} s: {what} (last seen: {last!r})"
        time.sleep(0.3)


def same(what, got, expected):
    assert got == expected, f"{what}: expected {expected!r}, got {got!r}"


# Objects.


def container(name, script, **more):
    return {"name": name, "command": ["sh", "-c", script], **more}


def pod(name, *containers, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def job(name, script, restart="OnFailure", **spec):
    template = {"spec": {"restartPolicy": restart, "containers": [container("main", script)]}}
    meta = {"name": name}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template, **spec}}


def daemonset(name, script):
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container("main", script)]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name}, "spec": spec}


def cronjob(name, schedule, script):
    template = {"spec": {"template": job(name, script)["spec"]["template"]}}
    spec = {"schedule": schedule, "timeZone": "Etc/UTC", "jobTemplate": template}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


def quota(**of):
    """resources: quota(cpu="1", memory="1Mi") limits both; `requests={...}` asks."""
    requests = of.pop("requests", {})
    return {"resources": {"limits": of, "requests": requests}}


# What is seen of them.


def pods_of(owner):
    """Pods of a Job or a DaemonSet, the oldest first, but one that runs last: not every clock here is right."""
    mine = [p for p in get("pods") if any(o["name"] == owner for o in p["metadata"].get("ownerReferences", []))]
    return sorted(mine, key=lambda p: (is_running(p), p["metadata"]["creationTimestamp"]))


def status(a_pod, name=None):
    """Status of a container; of the only one where none is named."""
    all_of_them = a_pod.get("status", {}).get("containerStatuses", [])
    return next((c for c in all_of_them if name in (None, c["name"])), {})


def is_running(a_pod, name=None):
    return "running" in status(a_pod, name).get("state", {})


def restarts(a_pod, name=None):
    return status(a_pod, name).get("restartCount", 0)


def uid(an_object):
    return an_object["metadata"]["uid"]


def running_pod(name, containers=1):
    def look():
        a_pod = get("pod", name)
        up = sum("running" in c.get("state", {}) for c in a_pod.get("status", {}).get("containerStatuses", []))
        return up >= containers and a_pod

    return wait(f"pod {name} runs", look)


def running_pod_of(owner, restarted=0):
    def look():
        mine = pods_of(owner)
        return len(mine) > 0 and is_running(mine[-1]) and restarts(mine[-1]) >= restarted and mine[-1]

    return wait(f"a pod of {owner} runs", look)


def condition(an_object, kind):
    return next((c for c in an_object.get("status", {}).get("conditions", []) if c["type"] == kind), {})


def is_complete(name):
    return condition(get("job", name), "Complete").get("status") == "True"


def node():
    return get("nodes")[0]


def events_of(name):
    return [e for e in get("events") if e["involvedObject"]["name"] == name]


# Control groups and processes.


def tree():
    """Where the node's tree of control groups stands."""
    found = glob.glob(f"{CGROUPS}/**/pods/besteffort", recursive=True)
    assert len(found) == 1, f"trees of control groups: {found}"
    return pathlib.Path(found[0]).parent.parent


def group(a_pod, name=None):
    found = list((tree() / "pods").glob(f"**/{uid(a_pod)}"))
    assert len(found) == 1, f"groups of pod {a_pod['metadata']['name']}: {found}"
    return found[0] / name if name else found[0]


def read(path):
    return pathlib.Path(path).read_text().strip()


def limits(of):
    files = ["cpu.weight", "cpu.max", "memory.max", "memory.swap.max", "pids.max"]
    return {f: read(of / f) if (of / f).exists() else None for f in files}


def key(path, name):
    return next(int(line.split()[1]) for line in read(path).splitlines() if line.split()[0] == name)


def processes(of):
    return sorted(int(p) for f in of.glob("**/cgroup.procs") for p in read(f).split())


def main_pid():
    return int(must("systemctl show -P MainPID pinnace"))


def snapshot():
    """Every live pod: its uid, restarts and process ids."""
    live = [p for p in get("pods") if p["status"].get("phase") == "Running"]
    return {p["metadata"]["name"]: (uid(p), [restarts(p, c["name"]) for c in p["spec"]["containers"]], processes(group(p))) for p in live}


def install():
    """As a user would."""
    must(f"install -m 0755 {HERE}/../pinnace /usr/local/bin/ && install -m 0644 {HERE}/../pinnace.service /etc/systemd/system/")
    must("systemctl daemon-reload && systemctl enable --now pinnace")


def settings(text):
    pathlib.Path("/etc/pinnace").mkdir(exist_ok=True)
    pathlib.Path("/etc/pinnace/config.yaml").write_text(text)


def failures():
    return _failed
