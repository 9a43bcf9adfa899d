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

    def connect(self, port, link=0):
        if link == 0:
            self.command("AT+CIPMUX=1")
        self.write(b'AT+CIPSTART=%d,"SSL","127.0.0.1",%d\r\n' % (link, port))
        self.until(rb"%d,CONNECT\r\n" % link)

    def stream(self, seconds, warm=0.5):
        """Bytes per second of all that comes, framing included."""
        end = time.monotonic() + warm
        while time.monotonic() < end:
            self.read()
        first = last = time.monotonic()
        total = 0
        self.buffer = b""
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

    def skip_to_block(self):
        """Behind stream(), which does not look at what it takes: to the head of the next block."""
        while not (match := re.search(rb"\r\n\+IPD,\d,\d+:", self.buffer)):
            self.buffer = self.buffer[-20:] + self.read()
        self.buffer = self.buffer[match.start():]

    def skip_blocks(self):
        """What is not of link 0; True if what comes next is known."""
        while match := re.match(rb"\r\n\+IPD,([1-4]),(\d+):", self.buffer):
            self.buffer = self.buffer[match.end():]
            self.take(int(match[2]) + 2)
        return len(self.buffer) > 8

    def await_line(self, pattern):
        """A line or a prompt among blocks of other links; what stands before it is dropped."""
        while True:
            if self.skip_blocks() or self.buffer:
                if match := re.match(pattern, self.buffer):
                    self.buffer = self.buffer[match.end():]
                    return match
                # Another whole line goes; a block's head is not one before it is complete.
                if not self.buffer.startswith(b"\r\n+IPD") and \
                        (other := re.match(rb"(\r\n)?[^\r+>]+\r\n", self.buffer)):
                    self.buffer = self.buffer[other.end():]
                    continue
            if len(self.buffer) > 1000000:
                raise RuntimeError(f"not understood: {self.buffer[:60]!r}")
            self.buffer += self.read()

    def request(self, data):
        """One request on link 0 and its answer: seconds."""
        start = time.monotonic()
        self.write(b"AT+CIPSEND=0,%d\r\n" % len(data))
        self.await_line(rb"\r\n>")
        self.write(data)
        got = b""
        while len(got) < len(data):
            got += self.take(int(self.await_line(rb"\r\n\+IPD,0,(\d+):")[1]))
            self.take(2)
        taken = time.monotonic() - start
        if got != data:
            raise RuntimeError(f"{got!r} came for {data!r}")
        return taken

    def close(self):
        os.close(self.fd)
