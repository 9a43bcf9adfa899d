# SPDX-License-Identifier: MIT
"""A program that does no more than it must on the chip's line: what espatd is measured against."""
import os
import re
import select
import termios
import time
import tty


class Line:
    """The host's end of a simulator's line; counts what passes."""

    def __init__(self, path, baud=None, rtscts=False):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)
        mode = termios.tcgetattr(self.fd)
        if baud:
            mode[4] = mode[5] = getattr(termios, f"B{baud}")
        if rtscts:
            mode[2] |= termios.CRTSCTS
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)
        self.buffer = b""
        self.received = self.sent = 0

    def read(self, seconds=20):
        if not select.select([self.fd], [], [], seconds)[0]:
            raise RuntimeError(f"silence behind {self.buffer[-100:]!r}")
        data = os.read(self.fd, 65536)
        if not data:
            raise RuntimeError("the line is gone")
        self.received += len(data)
        return data

    def until(self, pattern):
        while not (match := re.search(pattern, self.buffer, re.DOTALL)):
            self.buffer += self.read()
        self.buffer = self.buffer[match.end():]

    def take(self, size):
        while len(self.buffer) < size:
            self.buffer += self.read()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def write(self, data):
        self.sent += len(data)
        data = memoryview(data)
        while data:
            data = data[os.write(self.fd, data):]

    def command(self, text, answer=rb"OK\r\n"):
        self.write(text.encode() + b"\r\n")
        self.until(answer)

    def join(self, password):
        """From power-up to a chip that can connect."""
        self.write(b"\r\n")
        self.until(rb"(ready|ERROR)\r\n")
        self.command("ATE0")
        self.command("AT+CWMODE=1")
        self.command(f'AT+CWJAP="lab","{password}"')

    def connect(self, port):
        self.command("AT+CIPMUX=1")
        self.command(f'AT+CIPSTART=0,"SSL","127.0.0.1",{port}')

    def stream(self, seconds, warm=0.5):
        """Bytes per second of all that comes, framing included."""
        end = time.monotonic() + warm
        while time.monotonic() < end:
            self.read()
        first = last = time.monotonic()
        total = 0
        while last - first < seconds:
            total += len(self.read())
            last = time.monotonic()
        return total / (last - first)

    def push(self, size):
        """Seconds until a line of nonsense of that size is refused."""
        self.buffer = b""
        start = time.monotonic()
        self.write(b"x" * (size - 2) + b"\r\n")
        self.until(rb"ERROR\r\n")
        return time.monotonic() - start

    def pushed(self, seconds, baud):
        """Bytes per second that go out: the difference of two sizes, so that no delay counts."""
        size = int(baud / 10 * seconds / 2)
        short = self.push(size // 4)
        return (size - size // 4) / (self.push(size) - short)

    def settle(self, seconds=0.2):
        """Takes what still comes, until it is silent."""
        while select.select([self.fd], [], [], seconds)[0]:
            self.read()
        self.buffer = b""

    def request(self, data):
        """One request on link 0 and its answer: seconds."""
        start = time.monotonic()
        self.write(b"AT+CIPSEND=0,%d\r\n" % len(data))
        self.until(rb">")
        self.write(data)
        got = b""
        while len(got) < len(data):
            self.until_block()
            got += self.take(self.block)
        taken = time.monotonic() - start
        if got != data:
            raise RuntimeError(f"{got!r} came for {data!r}")
        return taken

    def until_block(self):
        while not (match := re.search(rb"\+IPD,0,(\d+):", self.buffer)):
            self.buffer += self.read()
        self.buffer = self.buffer[match.end():]
        self.block = int(match[1])

    def close(self):
        os.close(self.fd)
