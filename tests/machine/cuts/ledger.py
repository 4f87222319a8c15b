"""Reconciles what programs did with what the node knows of it. Pure: knows no disk, no machine, no clock.

The ledger's lines, each durable when it was written, boot and uptime first:

    begin BOOT UP UID CONTAINER NUMBER NAME   a program's first act
    done  BOOT UP UID CONTAINER NUMBER NAME   its last one; it then ends with code 0
    fail  BOOT UP UID CONTAINER NUMBER NAME   its last one; it then ends with another code
    acked BOOT UP NAME                        the node said that it has taken an object
    ended BOOT UP UID CONTAINER NUMBER CODE   the node said how an attempt ended
    up    BOOT UP                             the node answers
"""

import json
from collections import Counter, defaultdict

# A program's last line and its end's record are less than this apart, in seconds of an emulated machine under load.
WINDOW_S = 10
STAMP = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class History:
    """One disk's life over many boots. `complaints` is what was promised and did not hold."""

    def __init__(self):
        self.complaints = []
        self.begun = {}  # attempt -> boot
        self.done = {}  # attempt -> boot
        self.names = {}  # attempt -> the program's name
        self.acked = {}
        self.told = {}  # attempt -> code that the node told
        self.proven = {}  # attempt -> code that was on the disk after a cut
        self.jobs_of_pods = {}  # pod uid -> job
        self.redoable = set()  # attempts that were done, and power went before their record was on the disk
        self.complete = set()  # jobs that were Complete on the disk after a cut
        self.jobs_of_times = defaultdict(set)
        self.seen_jobs = {}  # name -> uid
        self.steady = None

    def complain(self, text):
        self.complaints.append(text)

    def after(self, boot, lines, store, exits, files):
        """`boot` is over; what it left: its lines of the ledger, records of the store, exit records by name, and files."""
        for name in files:
            if "damaged" in name:
                self.complain(f"the store was not sound: {name}")
        for name, text in exits.items():
            if text and "damaged" in text:
                self.complain(f"exit record {name}: {text}")
        now = _last_uptime(lines)
        fresh = self.take(boot, lines)
        pods, jobs = _of(store, "Pod"), _of(store, "Job")
        known = {pod["meta"]["uid"]: pod for pod in pods}
        ends = {**_ends(pods), **_records(exits)}
        self._objects(store, pods, jobs)
        self._attempts(fresh, known, ends, now)
        for attempt, code in ends.items():
            if self.proven.get(attempt, code) != code:
                self.complain(f"{attempt} ended with {self.proven[attempt]}, and later it is said that with {code}")
            self.proven[attempt] = code
        self.complete |= {job["meta"]["name"] for job in jobs if _is_complete(job)}

    def take(self, boot, lines):
        """Reads the lines of one boot; gives back the attempts that it began and finished, with the time of each."""
        fresh = {"begin": {}, "done": {}}
        for line in lines:
            what, at, up, *rest = line.split()
            if what == "acked":
                self.acked[rest[0]] = int(at)
            elif what == "ended":
                self.told[_attempt(rest)] = int(rest[3])
            elif what in ("begin", "done"):
                attempt = _attempt(rest)
                self.names[attempt] = rest[3]
                fresh[what][attempt] = float(up)
                known = self.begun if what == "begin" else self.done
                if attempt in known:
                    self.complain(f"{attempt} of {rest[3]}: {what} twice, in boots {known[attempt]} and {at}")
                known[attempt] = int(at)
                if what == "begin":
                    self._may_begin(attempt, rest[3])
        return fresh

    def _may_begin(self, attempt, name):
        if name != "steady" and 0 in [c for a, c in self.proven.items() if a[0] == attempt[0]]:
            self.complain(f"{attempt} of {name} began after its pod's success was on the disk")
        job = self.jobs_of_pods.get(attempt[0], name)
        if job in self.complete or name in self.complete:
            self.complain(f"{attempt} of {name} began after its Job was Complete on the disk")

    def _objects(self, store, pods, jobs):
        names = {record["meta"]["name"] for record in store if "meta" in record}
        for name, boot in self.acked.items():
            if name not in names:
                self.complain(f"{name} was acknowledged in boot {boot} and is gone")
        for job in jobs:
            meta = job["meta"]
            if self.seen_jobs.setdefault(meta["name"], meta["uid"]) != meta["uid"]:
                self.complain(f"Job {meta['name']} is another one than before")
            stamp = meta.get("annotations", {}).get(STAMP)
            if stamp:
                self.jobs_of_times[stamp].add(meta["uid"])
        for gone in self.seen_jobs.keys() - {job["meta"]["name"] for job in jobs}:
            self.complain(f"Job {gone} was on the disk and is gone")
        for pod in pods:
            owner = pod["meta"].get("owner") or {}
            if owner.get("kind") == "Job":
                self.jobs_of_pods[pod["meta"]["uid"]] = owner["name"]
            if owner.get("kind") == "DaemonSet":
                self.steady = self.steady or pod["meta"]["uid"]
                if self.steady != pod["meta"]["uid"]:
                    self.complain("the DaemonSet's pod is another one than before")
        for stamp, uids in self.jobs_of_times.items():
            if len(uids) > 1:
                self.complain(f"the CronJob's time {stamp} has fired {len(uids)} times")

    def _attempts(self, fresh, known, ends, now):
        for attempt in fresh["begin"]:
            pod = known.get(attempt[0])
            if pod is None:
                self.complain(f"{attempt} of {self.names[attempt]} ran and the node knows nothing of its pod")
            elif _restarts(pod, attempt[1]) < attempt[2]:
                self.complain(f"{attempt} of {self.names[attempt]} ran and the node does not know of it")
        for attempt, code in self.told.items():
            pod = known.get(attempt[0])
            # A later attempt has its own end; the one before it is remembered.
            if pod and _restarts(pod, attempt[1]) <= attempt[2] + 1 and ends.get(attempt) != code:
                self.complain(f"{attempt} was said to have ended with {code}; now: {ends.get(attempt)}")
        for attempt, at in fresh["done"].items():
            if attempt in ends:
                if ends[attempt] != 0:
                    self.complain(f"{attempt} did its work and ended with {ends[attempt]} by the record")
            elif attempt[0] not in known or _restarts(known[attempt[0]], attempt[1]) <= attempt[2]:
                self.redoable.add(attempt)
                if now - at > WINDOW_S:
                    self.complain(f"{attempt} did its work {now - at:.1f} s before the cut and no record is on the disk")

    def settled(self, boot, lines, store):
        """The end of the chain: everything has been left alone until all Jobs were complete."""
        fresh = self.take(boot, lines)
        jobs = _of(store, "Job")
        self._objects(store, _of(store, "Pod"), jobs)
        did = Counter(self.jobs_of_pods.get(a[0], self.names[a]) for a in self.done)
        again = Counter(self.jobs_of_pods.get(a[0], self.names[a]) for a in self.redoable)
        for job in jobs:
            name, wanted = job["meta"]["name"], job["spec"].get("completions", 1)
            status = job["status"]
            if not _is_complete(job) or status["succeeded"] != wanted:
                self.complain(f"Job {name} has {status['succeeded']} of {wanted} and its conditions are {status['conditions']}")
            if status["failed"] != 0 and not name.startswith("flaky"):
                self.complain(f"Job {name} counts {status['failed']} failures of a program that never fails")
            if did[name] != wanted + again[name]:
                self.complain(f"Job {name}: its work was done {did[name]} times; {wanted} were asked for, {again[name]} may be again")
        if not any(self.names[a] == "steady" for a in fresh["begin"]):
            self.complain("the DaemonSet did not run again")


def _attempt(words):
    return (words[0], words[1], int(words[2]))


def _last_uptime(lines):
    return max((float(line.split()[2]) for line in lines), default=0.0)


def _of(store, kind):
    return [record for record in store if record.get("record") == kind]


def _restarts(pod, container):
    return next((c["restarts"] for c in pod["status"]["containers"] if c["name"] == container), -1)


def _ends(pods):
    """What the store says of ends: of the current attempt and of the one before."""
    ends = {}
    for pod in pods:
        for c in pod["status"]["containers"]:
            id = lambda number: (pod["meta"]["uid"], c["name"], number)
            state = c["state"]
            if isinstance(state, dict) and "Ended" in state:
                ends[id(c["restarts"])] = state["Ended"]["exit_code"]
                before = c["restarts"] - 1
            else:
                before = c["restarts"] - (0 if isinstance(state, dict) and "Waiting" in state else 1)
            if c.get("last"):
                ends[id(before)] = c["last"]["exit_code"]
    return ends


def _records(exits):
    """Whole exit records. One that is torn counts as none, for the node too."""
    ends = {}
    for text in exits.values():
        try:
            record = json.loads(text)
            attempt = record["attempt"]
            ends[(attempt["pod"], attempt["container"], attempt["number"])] = record["how"].get("Code", -1)
        except (ValueError, KeyError, AttributeError, TypeError):
            continue
    return ends


def _is_complete(job):
    return any(c["kind"] == "Complete" and c["status"] for c in job["status"].get("conditions", []))
