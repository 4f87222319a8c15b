"""cgroup_disable=memory, as Raspberry Pi OS has it by default."""

import hosts

hosts.check(["memory"])
