"""Work that a reboot meets: what each must look like afterwards is in `work`."""

from lib import *
import work


@case("work for the reboot is under way")
def _():
    apply(*work.OBJECTS)
    wait("Job finished is complete", lambda: is_complete("finished"))
    for owner in work.RUNNING:
        running_pod_of(owner)
    work.remember()
