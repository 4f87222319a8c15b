"""A data disk of its own for the node, whose behaviour can be changed under it (device mapper over a loop device)."""

import pathlib

from lib import *

IMAGE = pathlib.Path("/var/data.img")
DATA = pathlib.Path("/var/lib/pinnace")
SECTORS = 64 * 2048


def table(text):
    must("dmsetup suspend --noflush --nolockfs data && dmsetup reload data && dmsetup resume data", stdin=text)


def bad_sectors(file, loop):
    """Reads and writes of this file's sectors fail from now on, and of nothing else: what lies above the disk goes on."""
    must("sync")
    # "0: 0.. 95: 2304.. 2399: 96: …", in sectors.
    lines = [line.split(":") for line in must(f"filefrag -b512 -e {file}").splitlines() if ".." in line]
    extents = sorted(tuple(int(n) for n in line[2].split("..")) for line in lines)
    assert extents, f"{file} lies nowhere"
    rows, at = [], 0
    for first, last in extents:
        rows += [f"{at} {first - at} linear {loop} {at}"] if first > at else []
        rows.append(f"{first} {last + 1 - first} error")
        at = last + 1
    table("\n".join([*rows, f"{at} {SECTORS - at} linear {loop} {at}"]))
    must("echo 3 > /proc/sys/vm/drop_caches")


def whole(loop):
    """No sector is bad."""
    table(f"0 {SECTORS} linear {loop} 0")


def attach():
    """The image as /dev/mapper/data, mounted where the node has its data."""
    must("modprobe loop; modprobe dm-mod; modprobe dm-flakey")
    loop = must(f"losetup --show -f {IMAGE}").strip()
    must(f"dmsetup create data --table '0 {SECTORS} linear {loop} 0'")
    must(f"mkdir -p {DATA} && mount -t ext4 /dev/mapper/data {DATA} && chmod 0700 {DATA}")
    return loop


def make():
    must(f"truncate -s {SECTORS * 512} {IMAGE} && mkfs.ext4 -q {IMAGE}")
    return attach()
