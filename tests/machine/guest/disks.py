"""A data disk of its own for the node, whose behaviour can be changed under it (device mapper over a loop device)."""

import pathlib

from lib import *

IMAGE = pathlib.Path("/var/data.img")
DATA = pathlib.Path("/var/lib/pinnace")
SECTORS = 64 * 2048


def table(text):
    must(f"dmsetup suspend --noflush --nolockfs data && dmsetup reload data --table '{text}' && dmsetup resume data")


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
