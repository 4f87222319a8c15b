"""Runs the stage that the host names on the kernel's command line; its TAP lines go to the second serial port."""

import importlib
import sys

from lib import failures, read, sh

stage = next(w.split("=")[1] for w in read("/proc/cmdline").split() if w.startswith("machine.stage="))
print(f"# stage {stage}", flush=True)
try:
    importlib.import_module(f"stage_{stage}")
except BaseException as e:
    print(f"not ok - stage {stage} came to its end: {e!r}", flush=True)
print(f"# end of stage {stage}, {failures()} failed", flush=True)
# The host reads this line, and cuts the power where the stage asks for it instead of ending by itself.
last = getattr(sys.modules.get(f"stage_{stage}"), "LAST", "poweroff")
print(f"# last: {last}", flush=True)
sh("sync" if last != "cut" else "true")
if last != "cut":
    sh(f"systemctl {last}")
