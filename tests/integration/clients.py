# SPDX-License-Identifier: MIT
"""What local programs do with a tunnel's socket."""
import socket
import threading
import time


def read_all(s, most=None):
    """Until the end, or until there is so much; a reset is an end, too."""
    data = bytearray()
    try:
        while (most is None or len(data) < most) and (piece := s.recv(65536)):
            data += piece
    except ConnectionResetError:
        pass
    return bytes(data)


def read_exactly(s, size):
    data = bytearray()
    while len(data) < size:
        piece = s.recv(min(65536, size - len(data)))
        assert piece, f"the end after {len(data)} of {size} bytes"
        data += piece
    return bytes(data)


def send_in_background(s, data):
    """Whoever sends much must read at the same time."""
    def run():
        try:
            s.sendall(data)
        except OSError:
            pass  # the reader notices

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def exchange(s, data):
    """Sends @data and reads as much."""
    thread = send_in_background(s, data)
    got = read_exactly(s, len(data))
    thread.join()
    return got


def works(daemon, tunnel="broker", data=b"are you there?"):
    """One whole connection through an echoing server."""
    with daemon.connect(tunnel) as s:
        return exchange(s, data) == data


def works_again(daemon, timeout=25):
    """Connections may fail for a while, but not for ever."""
    end = time.monotonic() + timeout
    while True:
        try:
            if works(daemon):
                return True
        except (AssertionError, OSError):
            pass
        assert time.monotonic() < end, "\n".join(["it does not come back", *daemon.log()[-15:]])


def refused(daemon, tunnel="broker", data=b"hello?"):
    """True if the connection is closed and nothing came through it."""
    with daemon.connect(tunnel) as s:
        try:
            s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_all(s, 1) == b""


def half_close(s):
    s.shutdown(socket.SHUT_WR)
