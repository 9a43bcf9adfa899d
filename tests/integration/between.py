# SPDX-License-Identifier: MIT
"""A line between daemon and chip, for those who do something to what passes."""
import os
import select
import socket
import threading
import tty


class Between:
    """
    A Unix socket for the daemon in front of the chip's own line, which stays open. Who derives from it overrides
    from_host() and from_chip(), which run in a thread of their own, and calls this __init__() last.
    """

    def __init__(self, path, chip):
        self.path = path
        self.chip = chip
        self.host = None  # the daemon, while it has the line open
        self._tty = os.open(chip.tty, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._tty)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def opened(self):
        """The daemon has opened the line."""

    def from_host(self, data):
        self.to_chip(data)

    def from_chip(self, data):
        self.to_host(data)

    def to_chip(self, data):
        while data:
            data = data[os.write(self._tty, data):]

    def to_host(self, data):
        try:
            if self.host:
                self.host.sendall(data)
        except OSError:
            self.hang_up()

    def hang_up(self):
        """The line is gone for the daemon, which may open it again."""
        if self.host:
            self.host.close()
        self.host = None

    def _run(self):
        try:
            while self._turn():
                pass
        except OSError:
            pass  # the chip is gone

    def _turn(self):
        ready, _, _ = select.select([self.host or self._listener, self._tty, self._wake], [], [])
        if self._wake in ready:
            return False
        if self._listener in ready:
            self.host, _ = self._listener.accept()
            self.opened()
        # Before what the daemon says, which may be that it hangs up.
        if self._tty in ready:
            self.from_chip(os.read(self._tty, 65536))
        if self.host in ready:
            self._receive()
        return True

    def _receive(self):
        try:
            data = self.host.recv(65536)
        except OSError:
            data = b""
        if data:
            self.from_host(data)
        else:
            self.hang_up()

    def close(self):
        os.write(self._waker, b"x")
        self._thread.join()
        self.hang_up()
        self._listener.close()
        for fd in self._tty, self._wake, self._waker:
            os.close(fd)
