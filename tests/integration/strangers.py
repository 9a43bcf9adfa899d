# SPDX-License-Identifier: MIT
"""Programs of other users, who connect to a tunnel's socket. Needs root."""
import os
import subprocess
import sys

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")

CLIENT = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
try:
    s.connect(sys.argv[1])
except PermissionError:
    sys.exit("denied")
try:
    s.sendall(b"who?")
    got = s.recv(100)
except (BrokenPipeError, ConnectionResetError):
    got = b""
sys.exit("served" if got == b"who?" else "closed")
"""


def connect_as(path, uid, gid=65000, groups=()):
    """How an echoing tunnel treats him: served, closed (after connecting), or denied (by the file)."""
    result = subprocess.run([sys.executable, "-B", "-c", CLIENT, str(path)], user=uid, group=gid,
                            extra_groups=list(groups), capture_output=True, text=True, timeout=40)
    return result.stderr.strip()


def open_up(bench):
    """Others may go through the bench's folder."""
    bench.dir.chmod(0o711)
