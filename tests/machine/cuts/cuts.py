#!/usr/bin/env python3
"""Power cuts with loss of unflushed writes, in a small machine whose data disk is `disk.py`.

    tests/machine/cuts/run [--cuts N] [--chain N] [--first N] [--seed N] [--prove]

A chain is one disk's life: boots that each end by a cut at a random moment, then one in which everything may settle. After
each cut `ledger.py` reconciles what the programs wrote down with what is left on the disk. A seed fixes where the cuts fall
among the disk's writes; the machine itself does not repeat to the instruction.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.dont_write_bytecode = True

import image
from disk import MANNERS, Disk, Server
from ledger import History

ROOT = pathlib.Path(__file__).resolve().parents[3]
# An emulated machine on a busy host: whoever waits longer waits for nothing.
PATIENCE_S = float(os.environ.get("PINNACE_CUTS_TIMEOUT", 180))
# 2027-03-01T10:10:50: a full minute comes while the machine works.
EPOCH = 1_803_895_850
DATA_MB = 96


class Machine:
    """One boot of the guest."""

    def __init__(self, folder, parts, disk, boot, mode="load", preload="none", ledger_from=1, clock=EPOCH):
        self.out = folder / f"out.{boot}"
        self.out.unlink(missing_ok=True)
        self.console = folder / f"console.{boot}"
        socket = folder / "disk.sock"
        self.server = Server(disk, str(socket))
        words = f"console=ttyS0 quiet loglevel=3 rdinit=/init panic=1 pn.boot={boot} pn.mode={mode} pn.preload={preload} pn.from={ledger_from}"
        # On a busy host the emulated timer may not tick within the few milliseconds in which a kernel that boots waits for it.
        words += " no_timer_check"
        drive = lambda what: ["-drive", f"{what},if=virtio,format=raw"]
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512", "-smp", "1", "-display", "none"]
        command += ["-monitor", "none", "-no-reboot", "-nic", "none", "-rtc", "base=" + stamp(clock), "-append", words]
        command += ["-kernel", str(image.kernel(parts)), "-initrd", str(folder / "initramfs")]
        command += drive(f"file=nbd:unix:{socket},cache=none") + drive(f"file={folder}/ledger.img,cache=unsafe")
        command += ["-serial", f"file:{self.console}.serial", "-device", "virtio-serial-pci"]
        command += ["-chardev", f"file,id=host,path={self.out}", "-device", "virtserialport,chardev=host,name=host"]
        with open(self.console, "ab") as log:
            self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)

    def said(self):
        return self.out.read_text(errors="replace") if self.out.exists() else ""

    def wait_for(self, word, patience=PATIENCE_S):
        """Until the guest has said it; false where the disk has frozen before that."""
        end = time.monotonic() + patience
        while word + "\n" not in self.said():
            if self.server.frozen.is_set():
                return False
            if self.qemu.poll() is not None or time.monotonic() > end or "UNMOUNTABLE" in self.said():
                raise Broken(f"the guest did not say {word}: {self.said()[-500:]}\n{self.tail()}")
            time.sleep(0.05)
        return True

    def tail(self):
        logs = [self.console, self.console.with_name(self.console.name + ".serial")]
        return "".join(log.read_text(errors="replace")[-3000:] for log in logs if log.exists())

    def cut(self):
        """The disk first: what is written after it has frozen was never written."""
        self.server.freeze()
        self.qemu.send_signal(signal.SIGKILL)
        self.qemu.wait()
        self.server.close()


class Broken(Exception):
    """The machine does not do what every machine must."""


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def sections(text):
    """What the guest says before the daemon starts: ledger, files, exit records, store."""
    parts, name = {}, None
    for line in text.splitlines():
        if line in ("LEDGER", "FILES", "EXITS", "STORE", "READY", "SETTLED", "UP"):
            # What is said last counts.
            name, parts[line] = line, []
        elif name:
            parts[name].append(line)
    return parts


def store(lines):
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            raise Broken(f"the store could not be read: {line[:300]}")
    for record in records:
        if "damaged" in record:
            raise Broken(f"a row of the store is damaged: {str(record)[:300]}")
    return records


def exit_records(lines):
    found, name = {}, None
    for line in lines:
        if line.startswith("FILE "):
            name, found[line[5:]] = line[5:], ""
        elif name:
            found[name] += line
    return found


class Chain:
    def __init__(self, folder, parts, rng, number, bug=None):
        self.folder, self.parts, self.rng, self.number = folder, parts, rng, number
        self.preload = "/lib/no-sync.so" if bug == "no-sync" else "none"
        image.empty_disk(folder / "data.img", DATA_MB)
        image.empty_disk(folder / "ledger.img", 16)
        self.disk = Disk((folder / "data.img").read_bytes(), lies=bug == "lying-disk")
        self.history = History()
        self.lines = 0
        self.clock = EPOCH

    def boot(self, n, mode="load"):
        machine = Machine(self.folder, self.parts, self.disk, n, mode, self.preload, self.lines + 1, self.clock)
        # Most boots come a little later; some after hours, a few with a clock that is behind.
        self.clock += self.rng.choice([20, 50, 70, 70, 7300, -200])
        return machine

    def look(self, machine, n):
        """What the cut before this boot has left, as the guest finds it."""
        parts = sections(machine.said())
        self.lines += len(parts["LEDGER"])
        if n > 1:
            lines = whole(parts["LEDGER"])
            self.history.after(n - 1, lines, store(parts["STORE"]), exit_records(parts["EXITS"]), parts["FILES"])

    def live(self, n):
        """One boot and its cut. Gives back how it went, as a text."""
        rng, machine = self.rng, self.boot(n)
        try:
            machine.wait_for("READY")
            self.look(machine, n)
            # In the middle of the recovery, at the first work, or under load; at one of the disk's commands or at any time.
            how = "at start" if n > 1 and rng.random() < 0.25 else "under load"
            if how == "under load":
                machine.wait_for("UP")
            self.await_cut(machine.server, how == "at start")
            machine.cut()
        except BaseException:
            machine.cut()
            raise
        manner = rng.choice(MANNERS)
        lost, pieces = self.disk.cut(rng, manner)
        return f"cut {how}; of {pieces} unflushed pieces {lost} lost ({manner})", lost

    def await_cut(self, server, at_start):
        """At a flush, at a write, or at any time."""
        rng = self.rng
        kind = rng.choice(["flush", "flush", "flush", "write", "time"])
        if kind == "flush":
            server.arm_flushes(rng.randrange(1, 6 if at_start else 40))
        elif kind == "write":
            server.arm_writes(rng.randrange(1, 20 if at_start else 300))
        server.frozen.wait(rng.uniform(0, 1.5 if at_start else 8) if kind == "time" else 20)

    def settle(self, n):
        machine = self.boot(n, "settle")
        try:
            machine.wait_for("READY")
            before = self.lines
            self.look(machine, n)
            machine.wait_for("SETTLED")
            parts = sections(machine.said())
            # The ledger is told a second time, with what was added in this boot.
            lines = parts["LEDGER"][self.lines - before :]
            self.history.settled(n, whole(lines), store(parts["STORE"]))
        finally:
            machine.cut()


def whole(lines):
    """A machine that went down in the middle of a line leaves it without its end; nothing rests on that line."""
    return [line for line in lines if len(line.split()) in (3, 4, 7) and "\0" not in line]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--chain", type=int, default=10, help="cuts of one disk's life")
    parser.add_argument("--first", type=int, default=0, help="the number of the first disk, to see one again that failed")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--prove", action="store_true", help="plant bugs, and fail where one is not noticed")
    parser.add_argument("--keep", action="store_true", help="keep the work folder")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    cache = pathlib.Path(os.environ.get("PINNACE_MACHINE_CACHE", ROOT / "target/machine"))
    binary = os.environ.get("PINNACE_MACHINE_BINARY", pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/pinnace")
    cache.mkdir(parents=True, exist_ok=True)
    parts = image.fetch(cache)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cuts.", dir=cache))
    try:
        image.initramfs(parts, binary, [image.no_sync(folder)] if args.prove else [], folder / "initramfs")
        good = prove(folder, parts, seed) if args.prove else cuts(folder, parts, seed, args.cuts, args.chain, args.first)
    finally:
        if not args.keep:
            subprocess.run(["rm", "-rf", str(folder)], check=False)
    sys.exit(0 if good else 1)


def cuts(folder, parts, seed, total, length, first):
    print(f"# {total} power cuts, seed {seed}", flush=True)
    begun, good, made, lossy, number, redoable, attempts = time.monotonic(), True, 0, 0, first, 0, 0
    while made < total:
        chain = Chain(folder, parts, random.Random(f"{seed} {number}"), number)
        count = min(length, total - made)
        fine, lost = one_chain(chain, count)
        good, made, lossy, number = good and fine, made + count, lossy + lost, number + 1
        redoable, attempts = redoable + len(chain.history.redoable), attempts + len(chain.history.begun)
        if not fine:
            print(f"# replay: tests/machine/cuts/run --seed {seed} --cuts {count} --chain {length} --first {chain.number}", flush=True)
            print(f"# kept: {keep(chain, folder.parent / f'failed.{seed}.{chain.number}')}", flush=True)
    if lossy == 0:
        print("not ok - no cut lost anything, so nothing was learnt")
        good = False
    took = time.monotonic() - begun
    print(f"# {made} cuts, {lossy} of them lost writes; {attempts} attempts, {redoable} of them done and not yet recorded when power went; {took:.0f} s")
    return good


def keep(chain, into):
    """What a chain that failed has left: both disks, what the guest said, and its consoles."""
    into.mkdir(exist_ok=True)
    (into / "data.img").write_bytes(chain.disk.sure)
    for path in [chain.folder / "ledger.img", *chain.folder.glob("out.*"), *chain.folder.glob("console.*")]:
        shutil.copy(path, into)
    return into


def one_chain(chain, count):
    """As one line of TAP. Gives back whether all held, and how many cuts lost something."""
    lost = 0
    try:
        for n in range(1, count + 1):
            how, pieces = chain.live(n)
            lost += pieces > 0
            print(f"# chain {chain.number}, boot {n}: {how}", flush=True)
            if chain.history.complaints:
                break
        else:
            chain.settle(count + 1)
    except Broken as e:
        chain.history.complain(str(e))
    except Exception:  # a harness that breaks has proven nothing
        chain.history.complain(traceback.format_exc())
    for line in chain.history.complaints[:20]:
        print("\n".join(f"# {part}" for part in line.splitlines()))
    fine = not chain.history.complaints
    outcome = "all reconciled" if fine else "not reconciled: see above"
    print(f"{'ok' if fine else 'not ok'} - chain {chain.number}: {count} power cuts, {len(chain.history.begun)} attempts, {outcome}", flush=True)
    return fine, lost


def prove(folder, parts, seed):
    """Each planted bug must be noticed, and by the reconciliation or by the store."""
    good = True
    for number, bug in enumerate(["no-sync", "lying-disk"]):
        for n in range(3):
            chain = Chain(folder, parts, random.Random(f"{seed} {bug} {n}"), number, bug)
            fine, _ = one_chain_quietly(chain, 8)
            if not fine:
                break
        good = good and not fine
        print(f"{'not ok' if fine else 'ok'} - the planted bug {bug} is noticed", flush=True)
        for line in chain.history.complaints[:5]:
            print("# " + "\n# ".join(line.splitlines()[:4]))
    return good


def one_chain_quietly(chain, count):
    with contextlib.redirect_stdout(io.StringIO()):
        return one_chain(chain, count)


if __name__ == "__main__":
    main()
