"""The small guest: Debian's kernel and BusyBox, the binary with its libraries, all in one initramfs. Needs no root."""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
PACKAGES = ["busybox-static"]
KERNEL = "linux-image-cloud-amd64"
MODULES = "virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk virtio_console".split()
FOLDERS = "bin dev proc sys sys/fs/cgroup run data ledger lib lib64 etc tmp root var usr usr/bin".split()


def run(*command, **how):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **how).stdout


def fetch(cache):
    """Unpacks the kernel and BusyBox into `cache`, once. Gives back the folder."""
    into = cache / "parts"
    if (into / "done").exists():
        return into
    debs = cache / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    named = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", KERNEL))
    assert named, f"apt knows no kernel behind {KERNEL}"
    for package in [named.group(1), *PACKAGES]:
        run("apt-get", "download", "-qq", package, cwd=debs, stderr=subprocess.DEVNULL)
        (deb,) = debs.glob(f"{package}_*.deb")
        run("dpkg-deb", "-x", str(deb), str(into))
        deb.unlink()
    (into / "done").touch()
    return into


def kernel(parts):
    (found,) = parts.glob("boot/vmlinuz-*")
    return found


def initramfs(parts, binary, extra, out):
    """`extra`: host paths of more files for /lib."""
    archive = Archive()
    for folder in FOLDERS:
        archive.folder(folder)
    # The kernel opens it before anything can be mounted.
    archive.add("dev/console", b"", 0o020600, device=(5, 1))
    archive.file("bin/busybox", (parts / "bin/busybox").read_bytes())
    for name in run(str(parts / "bin/busybox"), "--list").split():
        if name != "busybox":
            archive.link(f"bin/{name}", "/bin/busybox")
    archive.link("init", "/bin/busybox")
    archive.link("usr/bin/env", "/bin/busybox")
    for module in MODULES:
        (found,) = parts.glob(f"lib/modules/*/kernel/**/{module}.ko")
        archive.file(f"lib/{module}.ko", found.read_bytes())
    for library in libraries(binary):
        archive.file(library.lstrip("/"), pathlib.Path(library).read_bytes())
    for path in extra:
        archive.file(f"lib/{path.name}", path.read_bytes())
    archive.file("bin/pinnace", stripped(binary, out))
    for script in (HERE / "guest").iterdir():
        archive.file(f"etc/{script.name}" if script.name == "inittab" else f"bin/{script.name}", script.read_bytes())
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    archive.file("etc/hostname", b"machine\n")
    out.write_bytes(archive.bytes())


def libraries(binary):
    """What a dynamic binary is linked with; nothing for a static one."""
    told = subprocess.run(["ldd", str(binary)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return re.findall(r"(?:=> )?(/\S+) \(0x", told)


def stripped(binary, out):
    small = out.with_suffix(".pinnace")
    run("strip", "-o", str(small), str(binary))
    content = small.read_bytes()
    small.unlink()
    return content


class Archive:
    """cpio, format newc. Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst."""

    def __init__(self):
        self._parts = []
        self._folders = set()
        self._number = 0

    def folder(self, path):
        if path not in self._folders:
            if "/" in path:
                self.folder(path.rsplit("/", 1)[0])
            self._folders.add(path)
            self.add(path, b"", 0o040755)

    def file(self, path, content):
        if "/" in path:
            self.folder(path.rsplit("/", 1)[0])
        self.add(path, content, 0o100755)

    def link(self, path, target):
        self.add(path, target.encode(), 0o120777)

    def add(self, path, content, mode, device=(0, 0)):
        self._number += 1
        name = path.encode() + b"\0"
        fields = [self._number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0]
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name
        self._parts += [head, b"\0" * (-len(head) % 4), content, b"\0" * (-len(content) % 4)]

    def bytes(self):
        self.add("TRAILER!!!", b"", 0)
        return b"".join(self._parts)


def empty_disk(path, megabytes):
    with open(path, "wb") as file:
        file.truncate(megabytes << 20)
    run("env", "PATH=/sbin:/usr/sbin:/bin:/usr/bin", "mke2fs", "-q", "-F", "-b", "4096", "-t", "ext4", str(path))


NO_SYNC = """
/* The planted bug: nothing is made durable, and everybody is told that it is. */
int fsync(int fd) { (void)fd; return 0; }
int fdatasync(int fd) { (void)fd; return 0; }
int syncfs(int fd) { (void)fd; return 0; }
int msync(void *at, unsigned long size, int flags) { (void)at; (void)size; (void)flags; return 0; }
"""


def no_sync(folder):
    """A shim for LD_PRELOAD. Wants a C compiler, which Rust's linker is."""
    out = folder / "no-sync.so"
    source = folder / "no-sync.c"
    source.write_text(NO_SYNC)
    run("cc", "-shared", "-fPIC", "-O1", "-nostdlib", "-o", str(out), str(source))
    return out


if __name__ == "__main__":
    # What must come from the network, so that whoever calls can tell its absence from a failed test.
    fetch(pathlib.Path(sys.argv[1]))
