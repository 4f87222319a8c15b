"""Restarts, kills and upgrades of the daemon again and again, while work comes and goes; a daemon that is stuck."""

import os
import pathlib
import random
import threading

from lib import *

ROUNDS = 50
LEDGER = pathlib.Path("/run/machine-ledger")
SIGN = "echo {what} $PINNACE_POD_UID $PINNACE_ATTEMPT {name} >> " + str(LEDGER)


def work_job(name, restart, completions):
    script = SIGN.format(what="begin", name=name) + "; sleep 0.3; " + SIGN.format(what="done", name=name)
    return job(name, script, restart, completions=completions, parallelism=2, backoffLimit=0)


@case("the node and its pods are there")
def _():
    settings("{}\n")
    install()
    apply(daemonset("steady", "exec sleep 100000"), cronjob("minutely", "* * * * *", "true"))
    running_pod_of("steady")


def under_load(act):
    """`act` again and again, while Jobs are asked for. Gives back the completions of each Job that the node took."""
    taken, over = {}, threading.Event()

    def ask():
        n = 0
        while not over.is_set():
            name, restart = f"{act.__name__}-{n}", ("Never", "OnFailure")[n % 2]
            # While the daemon is down nobody takes it, and an answer may be lost: the same one is asked for again.
            said = sh([PINNACE, "apply", "-f", "-"], stdin=json.dumps(work_job(name, restart, 3)), timeout=60)
            if said.rstrip().endswith((" created", " unchanged")):
                taken[name] = 3
                n += 1
            time.sleep(0.5)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for number in range(ROUNDS):
            act()
            # Into its start, a little later, or when it is at work again, however long this machine takes for that.
            if number % 3 == 2:
                before = len(taken)
                wait("a Job is taken", lambda: len(taken) > before)
            else:
                time.sleep(random.choice([0, 0.5]))
    finally:
        over.set()
        asking.join()
    return taken


def came_through(taken, steady, at_least=1):
    assert len(taken) >= at_least, f"there was no load to speak of: {taken}"
    must("systemctl start pinnace")
    for name in taken:
        wait(f"Job {name} is complete", lambda: is_complete(name))
    lines = [line.split() for line in LEDGER.read_text().splitlines()]
    for what in ("begin", "done"):
        attempts = [(l[1], l[2]) for l in lines if l[0] == what]
        same(f"attempts that {what} twice", len(attempts) - len(set(attempts)), 0)
    did = lambda name: sum(l[0] == "done" and l[3] == name for l in lines)
    same("work done of each Job", {name: did(name) for name in taken}, taken)
    same("the DaemonSet's pod", snapshot_of("steady"), steady)
    same("records left", list(pathlib.Path("/var/lib/pinnace/exits").iterdir()), [])
    print(f"# {len(taken)} Jobs were taken meanwhile, {len([l for l in lines if l[0] == 'begin'])} attempts so far")


def snapshot_of(owner):
    it = pods_of(owner)[-1]
    return uid(it), restarts(it), processes(group(it))


def restart():
    # More often than a unit may start by systemd's default.
    must("systemctl restart pinnace")


def kill():
    before = main_pid()
    must("systemctl kill -s KILL pinnace")
    wait("systemd starts it again", lambda: main_pid() not in (0, before))


def storm(what, act):
    @case(f"{what} {ROUNDS} times under load: no work lost, none done twice, no pod restarted")
    def _():
        steady = snapshot_of("steady")
        came_through(under_load(act), steady, at_least=8)


storm("systemctl restart", restart)
storm("kill -9 of the daemon", kill)


@case("an upgrade to another build and back under load leaves pods alone and goes on with the same store")
def _():
    steady = snapshot_of("steady")
    apply(work_job("over-upgrades", "Never", 8))
    other = pathlib.Path("/run/machine-other")
    content = pathlib.Path(PINNACE).read_bytes()
    # The same program under another version.
    other.write_bytes(content.replace(b"0.1.0", b"0.1.9"))
    for binary in (other, HERE.parent / "pinnace"):
        must(f"install -m 0755 {binary} {PINNACE} && systemctl restart pinnace")
        same("the other build runs", '"version":"0.1.9"' in pinnace("store", "dump"), binary == other)
    came_through({"over-upgrades": 8}, steady)


@case("a daemon that goes round no more is started again by the watchdog, and pods keep their processes")
def _():
    same("WatchdogUSec", must("systemctl show -P WatchdogUSec pinnace").strip(), "3min")
    # Nobody waits three minutes here.
    pathlib.Path("/etc/systemd/system/pinnace.service.d").mkdir(exist_ok=True)
    pathlib.Path("/etc/systemd/system/pinnace.service.d/watchdog.conf").write_text("[Service]\nWatchdogSec=8\n")
    must("systemctl daemon-reload && systemctl restart pinnace")
    steady, before = snapshot_of("steady"), main_pid()
    time.sleep(20)
    same("a daemon that goes round stays", main_pid(), before)
    os.kill(before, 19)
    wait("systemd starts another one", lambda: main_pid() not in (0, before))
    wait("it answers", lambda: "machine" in sh([PINNACE, "get", "nodes"], timeout=20))
    same("the DaemonSet's pod", snapshot_of("steady"), steady)
    assert "watchdog" in must("journalctl -u pinnace --no-pager -o cat").lower(), "the journal says why"
