"""One device, three binaries: for aarch64, then for 32 bits in its place, each in 2027 and in 2040."""

from lib import *

LEAP = "2040-01-02"


def put(name):
    must(f"install -m 0755 {HERE}/../pinnace-{name} {PINNACE}.new && mv {PINNACE}.new {PINNACE}")


def width():
    """Bits of the daemon that runs, by its file's own head."""
    with open(f"/proc/{main_pid()}/exe", "rb") as file:
        return {1: 32, 2: 64}[file.read(5)[4]]


def works(name, year):
    """A Job of five, two at a time, with a log, and a CronJob that fires; all of them say the year."""
    jobs, cron = f"{name}-{year}", f"cron-{name}-{year}"
    apply(job(jobs, "date +%Y", completions=5, parallelism=2))
    done = wait("the Job is complete", lambda: is_complete(jobs) and get("job", jobs))
    same("succeeded", done["status"]["succeeded"], 5)
    # Before it, which of the five it is from.
    same("log", pinnace("logs", f"job/{jobs}").splitlines()[-1], year)
    for when in (done["metadata"]["creationTimestamp"], done["status"]["startTime"], done["status"]["completionTime"]):
        same("year", when[:4], year)
    # The minute is over at once.
    must(f"date -u -s \"$(date -u +'%Y-%m-%d %H:%M:58')\"")
    apply(cronjob(cron, "* * * * *", "true"))
    fired = wait("the CronJob has fired", lambda: get("cronjob", cron).get("status", {}).get("lastSuccessfulTime"))
    same("year", fired[:4], year)
    pinnace("delete", "cronjob", cron)


@case("installed as a user would, on a processor that is ARM")
def _():
    print("#", must("uname -srm").strip(), "#", must("systemctl --version").splitlines()[0])
    settings("labels:\n  disk: ssd\n")
    must(f"cp {HERE}/../pinnace-aarch64 {HERE}/../pinnace")
    install()
    same("state", must("systemctl is-active pinnace").strip(), "active")
    same("processor", node()["status"]["nodeInfo"]["architecture"], "arm64")
    same("LimitsEnforced", condition(node(), "LimitsEnforced")["status"], "True")
    same("bits", width(), 64)


@case("a DaemonSet's pod runs, with its limit")
def _():
    apply(daemonset("stays", "exec sleep 100000"))
    running_pod_of("stays")
    apply(pod("limited", container("main", "exec sleep 100000", **quota(cpu="300m", memory="20Mi"))))
    same("cpu.max", read(group(running_pod("limited"), "main") / "cpu.max"), "30000 100000")


@case("aarch64: Job and CronJob")
def _():
    works("aarch64", "2027")


def takes_over(name):
    @case(f"{name} takes over the store and the pods of the binary before it")
    def _():
        before, known = snapshot(), {j["metadata"]["name"]: uid(j) for j in get("jobs")}
        put(name)
        must("systemctl restart pinnace")
        same("bits", width(), 32)
        same("pods", snapshot(), before)
        same("jobs", {j["metadata"]["name"]: uid(j) for j in get("jobs")}, known)

    @case(f"{name}: Job and CronJob")
    def _():
        works(name, "2027")


takes_over("armv7")
takes_over("armv6")


def in_2040(name, bits):
    @case(f"{name} in 2040: it starts, and Job and CronJob run")
    def _():
        put(name)
        must("systemctl restart pinnace")
        same("bits", width(), bits)
        works(name, "2040")
        same("restarts", must("systemctl show -P NRestarts pinnace").strip(), "0")


@case("a clock that passes 2038 under a daemon of 32 bits")
def _():
    before, pid = snapshot(), main_pid()
    must(f"date -u -s {LEAP}")
    works("leap", "2040")
    same("daemon", main_pid(), pid)
    same("pods", snapshot(), before)


in_2040("armv7", 32)
in_2040("armv6", 32)
in_2040("aarch64", 64)
