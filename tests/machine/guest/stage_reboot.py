"""The boot after an orderly reboot, without network and without broker. Ends by a power cut."""

import lib
import work

LAST = "cut"

lib.same("uptime is of this boot", float(lib.read("/proc/uptime").split()[0]) < 3600, True)
work.check("after a reboot")
work.remember()
