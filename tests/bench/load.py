# SPDX-License-Identifier: MIT
"""The local programs: many clients of tunnels in one loop."""
import random
import selectors
import socket
import time

from pattern import PATTERN, PLUS, Checker
from server import NAME, Samples

READ = 262144
WRITE = 65536
REQUEST = 64
LOOK = 0.002  # seconds between two looks at a condition


class Broken(Exception):
    """A connection that did not carry what it should."""


class Client:
    """A connection of a tunnel: `down`, `up`, `both`, `plus`: see server.py; `echo`: requests."""

    def __init__(self, kind, path, gap=0, seed=1, name=0):
        self.kind = kind
        self.received = Samples()
        self.sent = 0
        self.checker = Checker(PATTERN)
        self.gap = gap  # a request comes up to so long after the answer to the one before
        self.random = random.Random(seed)
        self.times = []  # [when asked, how long the answer took]
        self.asked = None
        self.got = 0
        self.next = 0
        self.number = 0
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        if kind in ("up", "both", "plus"):
            self.sock.sendall(b"%-*d" % (NAME, name))
        self.sock.setblocking(False)

    @property
    def events(self):
        return selectors.EVENT_READ | (
            selectors.EVENT_WRITE if self.kind in ("up", "both", "plus") else 0)

    def ready(self, events):
        if events & selectors.EVENT_READ:
            self.read()
        if events & selectors.EVENT_WRITE:
            self.write()

    def read(self):
        try:
            data = self.sock.recv(READ)
        except BlockingIOError:
            return
        if not data:
            raise Broken(f"a connection of kind {self.kind} was closed")
        if self.kind == "echo":
            self.answered(data)
            return
        self.received.add(len(data))
        self.checker.check(data)
        if self.checker.wrong is not None:
            raise Broken(f"wrong bytes from position {self.checker.wrong}")

    def write(self):
        pattern = PLUS if self.kind == "plus" else PATTERN
        try:
            self.sent += self.sock.send(pattern.at(self.sent, WRITE))
        except BlockingIOError:
            pass

    def ask(self):
        self.number += 1
        self.request = b"%-*d" % (REQUEST, self.number)
        self.got = 0
        self.asked = time.monotonic()
        self.sock.send(self.request)

    def answered(self, data):
        now = time.monotonic()
        if self.asked is None or self.request[self.got:self.got + len(data)] != data:
            raise Broken("an answer to something else")
        self.got += len(data)
        if self.got == REQUEST:
            self.times.append([self.asked, now - self.asked])
            self.asked = None
            self.next = now + self.gap * self.random.random()


class Load:
    """Clients that run together."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.clients = []

    def add(self, client):
        self.clients.append(client)
        self.selector.register(client.sock, client.events, client.ready)
        return client

    def run(self, seconds=None, until=None):
        """For so long, or until a condition holds; returns when that was."""
        end = time.monotonic() + (60 if seconds is None else seconds)
        look = 0
        asking = [x for x in self.clients if x.kind == "echo"]
        while True:
            now = time.monotonic()
            if until and now >= look:
                if until():
                    return now
                look = now + LOOK
            if now >= end:
                if seconds is None:
                    raise Broken("it takes too long")
                return now
            wake = end
            for client in asking:
                if client.asked is None:
                    if client.next <= now:
                        client.ask()
                    else:
                        wake = min(wake, client.next)
            pause = max(0, wake - time.monotonic())
            for key, events in self.selector.select(min(pause, LOOK) if until else pause):
                key.data(events)

    def close(self):
        for client in self.clients:
            self.selector.unregister(client.sock)
            client.sock.close()
        self.clients = []
