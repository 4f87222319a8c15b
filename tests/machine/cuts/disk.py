"""A disk that forgets: an NBD server that holds what was written and not flushed, and loses a part of it when power goes.

Knows nothing of file systems, of the guest, or of pinnace. Protocol: NetworkBlockDevice/nbd, doc/proto.md; the fixed
newstyle handshake with one export, simple replies.
"""

import os
import socket
import struct
import threading

SECTOR = 512
PAGE = 4096
# How what was not flushed survives a cut; each is something that real media do.
MANNERS = ["none", "all", "prefix", "writes", "pages", "sectors"]


class Disk:
    """What the medium has for certain, what the guest sees, and the writes in between."""

    def __init__(self, content, lies=False):
        self.sure = bytearray(content)
        self.seen = bytearray(content)
        self.pending = []
        # A disk that says "flushed" and has done nothing: the harness must notice.
        self.lies = lies
        self.flushes = 0
        self.written = 0

    def read(self, at, length):
        return bytes(self.seen[at : at + length])

    def write(self, at, data):
        self.seen[at : at + len(data)] = data
        self.pending.append((at, data))
        self.written += len(data)

    def flush(self):
        self.flushes += 1
        if self.lies:
            return
        for at, data in self.pending:
            self.sure[at : at + len(data)] = data
        self.pending.clear()

    def cut(self, rng, manner):
        """The power goes. Gives back how many of the pieces that were at stake are lost."""
        pieces = list(_pieces(self.pending, manner, rng))
        kept = [piece for piece in pieces if piece[2]]
        if manner != "prefix":
            # Nothing orders what lies between two flushes: an older version of a sector may be the last to land.
            rng.shuffle(kept)
        for at, data, _ in kept:
            self.sure[at : at + len(data)] = data
        self.pending.clear()
        self.seen[:] = self.sure
        return len(pieces) - len(kept), len(pieces)


def _pieces(pending, manner, rng):
    """(offset, bytes, whether it survives), in the order of writing."""
    if manner in ("none", "all"):
        yield from ((at, data, manner == "all") for at, data in pending)
    elif manner == "prefix":
        # A queue that was carried out in order and stopped in the middle of one write.
        end = rng.randrange(len(pending) + 1)
        for n, (at, data) in enumerate(pending):
            torn = rng.randrange(0, len(data) + 1, _unit(data)) if n == end else len(data)
            yield at, data[:torn], n <= end
    else:
        likely = rng.choice([0.1, 0.5, 0.9])
        for at, data in pending:
            size = {"writes": len(data), "pages": PAGE, "sectors": _unit(data)}[manner]
            for start in range(0, len(data), size):
                yield at + start, data[start : start + size], rng.random() < likely


def _unit(data):
    """What of this write lands as a whole. One page does: file systems rest on that. Torn 1-KiB writes left an ext4 that did
    not mount ("Structure needs cleaning"), most likely by the block that commits a transaction of its journal."""
    return SECTOR if len(data) > PAGE else PAGE


class Server:
    """Serves one disk to one QEMU, until it freezes: then it answers no more, and `frozen` is set."""

    def __init__(self, disk, path):
        self.disk = disk
        self.frozen = threading.Event()
        self.fails = False
        self._left = None
        self._counted = ()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(path):
            os.unlink(path)
        self._listener.bind(path)
        self._listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    def arm_writes(self, count):
        """Freezes after so many further writes."""
        with self._lock:
            self._left, self._counted = count, (WRITE,)

    def arm_flushes(self, count):
        """Freezes before the flush of that number is done, when the most is at stake; those of nothing do not count."""
        with self._lock:
            self._left, self._counted = count, (FLUSH,)

    def freeze(self):
        """Answers no more from now on. A write that was not answered may have happened or not."""
        with self._lock:
            self.frozen.set()

    def close(self):
        self._listener.close()

    def _serve(self):
        try:
            wire, _ = self._listener.accept()
            with wire:
                _shake(wire, len(self.disk.sure))
                while self._command(wire):
                    pass
        except (OSError, EOFError):
            pass  # QEMU is gone

    def _command(self, wire):
        flags, kind, cookie, at, length = struct.unpack(">4xHH8sQL", _take(wire, 28))
        data = _take(wire, length) if kind == WRITE else b""
        with self._lock:
            if self.frozen.is_set():
                return False
            if kind in self._counted and (kind == WRITE or self.disk.pending):
                self._left -= 1
                if self._left <= 0:
                    if kind == WRITE:
                        self.disk.write(at, data)
                    self.frozen.set()
                    return False
            error, reply = self._carry_out(kind, flags, at, length, data)
        if kind == DISCONNECT:
            return False
        wire.sendall(struct.pack(">LL8s", 0x67446698, error, cookie) + reply)
        return True

    def _carry_out(self, kind, flags, at, length, data):
        if self.fails and kind in (WRITE, FLUSH):
            return EIO, b""
        if kind == READ:
            return 0, self.disk.read(at, length)
        if kind == WRITE:
            self.disk.write(at, data)
            if flags & FUA:
                self.disk.flush()
        elif kind == FLUSH:
            self.disk.flush()
        elif kind != DISCONNECT:
            return EINVAL, b""
        return 0, b""


READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1
EIO, EINVAL = 5, 22
# HAS_FLAGS, SEND_FLUSH, SEND_FUA.
EXPORT_FLAGS = 1 | 4 | 8
OPTION_EXPORT_NAME, OPTION_ABORT, OPTION_GO = 1, 2, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, (1 << 31) + 1


def _shake(wire, size):
    wire.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 1 | 2))
    _take(wire, 4)
    while True:
        option, length = struct.unpack(">8xLL", _take(wire, 16))
        _take(wire, length)
        reply = lambda kind, data=b"": wire.sendall(struct.pack(">QLLL", 0x3E889045565A9, option, kind, len(data)) + data)
        if option == OPTION_EXPORT_NAME:
            wire.sendall(struct.pack(">QH", size, EXPORT_FLAGS))
            return
        if option == OPTION_GO:
            reply(REPLY_INFO, struct.pack(">HQH", 0, size, EXPORT_FLAGS))
            reply(REPLY_ACK)
            return
        reply(REPLY_ACK if option == OPTION_ABORT else REPLY_UNSUPPORTED)


def _take(wire, length):
    got = bytearray()
    while len(got) < length:
        more = wire.recv(length - len(got))
        if not more:
            raise EOFError
        got += more
    return bytes(got)
