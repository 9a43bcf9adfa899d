#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The TLS server at the far end, in a process of its own: python3 server.py CERT KEY MODE...

Each mode has a port, and the first line of output is {mode: port} in JSON. Before `up`, `both` and `plus` the client sends
a number of NAME bytes, which names the connection.

  down   sends PATTERN without end     up     takes what comes, which must be PATTERN
  both   does both                     plus   takes what comes, which must be `+`
  echo   sends back what comes         hello  sends one byte at once, then takes what comes

A line on standard input is answered by a line of JSON: `tell`: all connections since the last `reset`;
`count`: the modes of those that are established.
"""
import json
import os
import selectors
import socket
import ssl
import sys
import time

from pattern import PATTERN, PLUS, Checker

RECORD = 16384
NAME = 8  # bytes
SEND_BUFFER = 32768  # or each connection would have megabytes encrypted that nobody waits for
MERGE = 0.0005  # arrivals closer than this are one sample


class Samples(list):
    """[when, bytes] of what moved, in the order of time."""

    def add(self, size):
        now = time.monotonic()
        if self and now - self[-1][0] < MERGE:
            self[-1][1] += size
        else:
            self.append([now, size])


class Connection:
    def __init__(self, server, mode, raw):
        self.server = server
        self.mode = mode
        self.established = False
        self.ended = False
        self.received = Samples()
        self.checker = {"up": Checker(PATTERN), "both": Checker(PATTERN),
                        "plus": Checker(PLUS)}.get(mode)
        self.sent = 0
        self.name = b""
        self.waiting = b"!" if mode == "hello" else b""
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.tls = server.context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        self.events = selectors.EVENT_READ
        server.selector.register(self.tls, self.events, self.ready)

    def ready(self, events):
        try:
            if not self.established:
                self.tls.do_handshake()
                self.established = True
                self.tls_write()
            if events & selectors.EVENT_READ:
                self.tls_read()
            if events & selectors.EVENT_WRITE:
                self.tls_write()
        except ssl.SSLWantReadError:
            pass
        except (OSError, ValueError):
            self.end()
            return
        if not self.ended:
            self.want()

    def tls_read(self):
        for _ in range(8):  # then it is somebody else's turn
            try:
                data = self.tls.recv(RECORD)
            except ssl.SSLWantReadError:
                return
            if not data:
                self.end()
                return
            self.received.add(len(data))
            if self.checker:
                missing = NAME - len(self.name)
                self.name += data[:missing]
                self.checker.check(data[missing:])
            if self.mode == "echo":
                self.waiting += data
                self.tls_write()
        if self.tls.pending():
            self.server.again.append(self)

    def tls_write(self):
        if self.ended or not self.established:
            return
        try:
            if self.mode in ("down", "both"):
                for _ in range(4):
                    # The same bytes again after a refusal, as OpenSSL demands.
                    self.sent += self.tls.send(PATTERN.at(self.sent, RECORD))
            while self.waiting:
                self.waiting = self.waiting[self.tls.send(self.waiting):]
        except ssl.SSLWantWriteError:
            pass

    def want(self):
        events = selectors.EVENT_READ
        if self.established and (self.mode in ("down", "both") or self.waiting):
            events |= selectors.EVENT_WRITE
        if events != self.events:
            self.events = events
            self.server.selector.modify(self.tls, events, self.ready)

    def end(self):
        if self.ended:
            return
        self.ended = True
        self.server.selector.unregister(self.tls)
        self.tls.close()

    def told(self):
        return {"mode": self.mode, "name": int(self.name or 0), "established": self.established, "ended": self.ended,
                "received": self.received, "sent": self.sent,
                "wrong": self.checker.wrong if self.checker else None}


class Server:
    def __init__(self, cert, key, modes):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.selector = selectors.DefaultSelector()
        self.connections = []
        self.again = []  # those in whose TLS more is ready than their socket tells
        self.ports = {}
        for mode in modes:
            listener = socket.create_server(("127.0.0.1", 0), backlog=512)
            listener.setblocking(False)
            self.ports[mode] = listener.getsockname()[1]
            self.selector.register(listener, selectors.EVENT_READ,
                                   lambda _, mode=mode, listener=listener: self.accept(mode, listener))
        self.selector.register(sys.stdin, selectors.EVENT_READ, lambda _: self.asked())
        self.line = b""

    def accept(self, mode, listener):
        try:
            while True:
                self.connections.append(Connection(self, mode, listener.accept()[0]))
        except BlockingIOError:
            pass

    def asked(self):
        data = os.read(0, 4096)
        if not data:
            sys.exit(0)  # whoever has started us is gone
        *lines, self.line = (self.line + data).split(b"\n")
        for line in lines:
            print(json.dumps(self.answer(line)), flush=True)

    def answer(self, line):
        if line == b"reset":
            for connection in self.connections:
                connection.end()
            self.connections = []
        if line == b"count":
            return [x.mode for x in self.connections if x.established]
        return [x.told() for x in self.connections]

    def run(self):
        print(json.dumps(self.ports), flush=True)
        while True:
            for key, events in self.selector.select(0 if self.again else None):
                key.data(events)
            again, self.again = self.again, []
            for connection in again:
                if not connection.ended:
                    connection.ready(selectors.EVENT_READ)


if __name__ == "__main__":
    Server(sys.argv[1], sys.argv[2], sys.argv[3:]).run()
