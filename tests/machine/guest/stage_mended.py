"""After the disk that failed has been put right by a reboot."""

from lib import *
import disks


@case("the node goes on from what the disk had taken")
def _():
    must("systemctl stop pinnace")
    disks.attach()
    must("systemctl start pinnace")
    running_pod_of("steady", restarted=1)
    for name in ("work-full", "work-readonly", "work-unread"):
        assert is_complete(name), name
    # Its record could not be written, and the power went: the one case in which work is done again.
    running_pod_of("work-failing")
    same("failed", get("job", "work-failing")["status"].get("failed", 0), 0)
    same("files", [f.name for f in disks.DATA.iterdir() if "damaged" in f.name], [])
