"""The ARM guest's initrd, which finds the disk and no more: initrd.py BUSYBOX KERNEL OUT."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parent.parent / "cuts"))
from image import Archive

# In this order: the later ones need the earlier ones. Disk formats and the clock are in the kernel itself.
MODULES = "virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk".split()

INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in {modules}; do /bin/busybox insmod /$module.ko; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount -o move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
"""

busybox, kernel, out = map(pathlib.Path, sys.argv[1:])
archive = Archive()
for folder in ["bin", "dev", "new"]:
    archive.folder(folder)
# The kernel opens it before anything can be mounted.
archive.add("dev/console", b"", 0o020600, device=(5, 1))
archive.file("bin/busybox", busybox.read_bytes())
for module in MODULES:
    (found,) = kernel.glob(f"lib/modules/*/kernel/**/{module}.ko")
    archive.file(f"{module}.ko", found.read_bytes())
archive.file("init", INIT.format(modules=" ".join(MODULES)).encode())
out.write_bytes(archive.bytes())
