"""systemd.unified_cgroup_hierarchy=0: controllers belong to cgroup v1, the bare cgroup2 is mounted elsewhere."""

import hosts

hosts.check(["cpu", "memory", "pids"])
