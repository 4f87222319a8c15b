"""The harness itself: what the disk loses, and what the reconciliation notices. python3 -m unittest, no machine needed."""

import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from disk import MANNERS, PAGE, SECTOR, Disk
from ledger import History


class TheDisk(unittest.TestCase):
    def test_what_is_flushed_survives_and_nothing_is_made_up(self):
        for manner in MANNERS:
            for seed in range(50):
                disk = Disk(bytes(8 * PAGE))
                disk.write(0, b"a" * PAGE)
                disk.flush()
                disk.write(PAGE, b"b" * 2 * PAGE)
                disk.write(PAGE, b"c" * PAGE)
                self.assertEqual(disk.read(PAGE, 1), b"c")
                disk.cut(random.Random(seed), manner)
                self.assertEqual(disk.sure, disk.seen)
                self.assertEqual(disk.sure[:PAGE], b"a" * PAGE, manner)
                self.assertEqual(disk.sure[3 * PAGE :], bytes(5 * PAGE), manner)
                for at in range(PAGE, 3 * PAGE, SECTOR):
                    self.assertIn(bytes(disk.sure[at : at + SECTOR]), [bytes([c]) * SECTOR for c in b"\0bc"], manner)

    def test_each_manner_is_what_its_name_says(self):
        kept = {manner: set() for manner in MANNERS}
        for manner in MANNERS:
            for seed in range(200):
                disk = Disk(bytes(4 * PAGE))
                disk.write(0, b"x" * 2 * PAGE)
                disk.write(2 * PAGE, b"y" * 2 * PAGE)
                disk.cut(random.Random(seed), manner)
                kept[manner].add(bytes(disk.sure[::SECTOR]).replace(b"\0", b"."))
        self.assertEqual(kept["none"], {b"." * 32})
        self.assertEqual(kept["all"], {b"x" * 16 + b"y" * 16})
        self.assertEqual(len(kept["writes"]), 4)
        self.assertEqual({k.lstrip(b"x").lstrip(b"y").strip(b".") for k in kept["prefix"]}, {b""})
        self.assertTrue(all(len(set(k[n : n + 8])) == 1 for k in kept["pages"] for n in range(0, 32, 8)))
        self.assertTrue(any(len(set(k[:8])) == 2 for k in kept["sectors"]))

    def test_an_older_version_may_be_the_one_that_lands(self):
        found = set()
        for seed in range(100):
            disk = Disk(bytes(SECTOR))
            disk.write(0, b"1" * SECTOR)
            disk.write(0, b"2" * SECTOR)
            disk.cut(random.Random(seed), "sectors")
            found.add(bytes(disk.sure[:1]))
        self.assertEqual(sorted(found), [b"\0", b"1", b"2"])

    def test_the_write_of_one_page_is_never_torn(self):
        for manner in MANNERS:
            for seed in range(50):
                disk = Disk(bytes(2 * PAGE))
                disk.write(0, b"x" * PAGE)
                disk.cut(random.Random(seed), manner)
                self.assertIn(disk.sure.count(b"x"), (0, PAGE), manner)

    def test_a_disk_that_lies_loses_what_was_flushed(self):
        disk = Disk(bytes(SECTOR), lies=True)
        disk.write(0, b"1" * SECTOR)
        disk.flush()
        disk.cut(random.Random(1), "none")
        self.assertEqual(disk.sure, bytes(SECTOR))


def job(name="j", succeeded=1, complete=True, completions=1, uid="j1", failed=0, **annotations):
    conditions = [{"kind": "Complete", "status": True}] if complete else []
    status = {"succeeded": succeeded, "failed": failed, "conditions": conditions}
    return {"record": "Job", "meta": {"name": name, "uid": uid, "annotations": annotations}, "spec": {"completions": completions}, "status": status}


def pod(uid="u", restarts=0, state="Starting", owner="j", kind="Job", last=None):
    state = {"Ended": {"exit_code": state}} if isinstance(state, int) else {state: {}}
    container = {"name": "main", "restarts": restarts, "state": state, "last": last and {"exit_code": last}}
    return {"record": "Pod", "meta": {"name": "p", "uid": uid, "owner": {"kind": kind, "name": owner}}, "status": {"containers": [container]}}


BEGIN, DONE, END = "begin 1 1.0 u main 0 j", "done 1 2.0 u main 0 j", "up 1 2.5"
RECORD = {"u_main_0": '{"attempt":{"pod":"u","container":"main","number":0},"how":{"Code":0}}'}


def check(expected, *boots, settled=None):
    """`boots`: (lines, store, exit records, files) of each; `expected`: a part of the one complaint, or nothing."""
    history = History()
    for n, (lines, store, *more) in enumerate(boots, 1):
        exits, files = (more + [{}, []])[0] if more else {}, more[1] if len(more) > 1 else []
        history.after(n, lines, store, exits, files)
    if settled:
        history.settled(len(boots) + 1, *settled)
    assert bool(history.complaints) == bool(expected), (expected, history.complaints)
    assert not expected or expected in history.complaints[0], (expected, history.complaints)


class TheReconciliation(unittest.TestCase):
    def test_what_may_be(self):
        check(None, ([BEGIN, DONE, END], [job(), pod(state=0)]))
        check(None, ([BEGIN, DONE, END], [job(complete=False), pod()], RECORD))
        # The window: the record was not on the disk; an OnFailure pod goes on, a Never pod is replaced by another.
        check(None, ([BEGIN, DONE, END], [pod()]), (["begin 2 1.0 u main 1 j"], [pod(restarts=1)]))
        check(None, ([BEGIN, DONE, END], [pod()]), (["begin 2 1.0 v main 0 j"], [pod(uid="v")]))
        steady = "begin 2 1.0 d main 1 steady"
        again = ["begin 2 1.0 u main 1 j", "done 2 2.0 u main 1 j", steady]
        check(None, ([BEGIN, DONE, END], [job(complete=False), pod()]), settled=(again, [job(), pod(restarts=1, state=0)]))

    def test_what_may_not_be(self):
        check("begin twice", ([BEGIN, BEGIN], [pod()]))
        check("knows nothing of its pod", ([BEGIN], []))
        check("does not know of it", (["begin 1 1.0 u main 1 j"], [pod()]))
        check("is gone", (["acked 1 1.0 j"], []))
        check("was said to have ended", (["ended 1 1.0 u main 0 0"], [pod(state="Running")]))
        check("before the cut and no record", ([BEGIN, DONE, "up 1 20.0"], [pod()]))
        check("ended with 3 by the record", ([BEGIN, DONE, END], [pod(state=3)]))
        check("after its pod's success", ([BEGIN, DONE, END], [pod(state=0)]), (["begin 2 1.0 u main 1 j"], [pod(restarts=1)]))
        check("after its pod's success", ([BEGIN, DONE, END], [pod()], RECORD), (["begin 2 1.0 u main 1 j"], [pod(restarts=1)]))
        check("Job was Complete", ([BEGIN, DONE, END], [job(), pod(state=0)]), (["begin 2 1.0 v main 0 j"], [job(), pod(uid="v")]))
        check("another one than before", ([], [job()]), ([], [job(uid="j2")]))
        check("was on the disk and is gone", ([], [job()]), ([], []))
        stamp = {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2027-03-01T10:11:00Z"}
        check("has fired 2 times", ([], [job("a", **stamp), job("b", uid="j2", **stamp)]))
        check("store was not sound", ([], [], {}, ["pinnace.redb.damaged-1"]))
        check("the DaemonSet's pod", ([], [pod(kind="DaemonSet")]), ([], [pod("v", kind="DaemonSet")]))

    def test_what_may_not_be_at_the_end(self):
        steady = "begin 2 1.0 d main 1 steady"
        first = ([BEGIN, DONE, END], [job(complete=False), pod()], RECORD)
        check("was done 2 times", first, settled=(["begin 2 1.0 v main 0 j", "done 2 1.0 v main 0 j", steady], [job(), pod("v", state=0)]))
        check("was done 0 times", settled=([steady], [job()]))
        check("has 0 of 1", settled=([steady], [job(succeeded=0, complete=False)]))
        check("counts 1 failures", first, settled=([steady], [job(failed=1)]))
        check("did not run again", first, settled=([], [job(), pod(state=0)]))


if __name__ == "__main__":
    unittest.main()
