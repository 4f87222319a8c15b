"""Whether the node has a session with the broker, by its own metrics."""

from lib import *


def is_connected():
    return "pinnace_link_connected 1" in sh("python3 -c '" + FETCH + "'")


FETCH = """
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("/run/pinnace/pinnace.sock")
s.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
while b := s.recv(65536): print(b.decode(), end="")
"""
